//! A service on glommio, and a Shardwise app as its guest, on one thread. It says where both listen, and ends when standard
//! input does.

use std::process::ExitCode;
use std::rc::Rc;

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use shardwise::{Error, Result, Runtime};
use shardwise_guests::in_glommio::InGlommio;
use shardwise_guests::{ACCEPT_PAUSE, Asker, LINE_BYTES_MAX, answer_line, end_with_input, questions, serve_new};

/// Memory for its own files, of which there are none here: the least that it takes, for hosts where little may be locked.
const IO_MEMORY_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    let executor = match LocalExecutorBuilder::new(Placement::Unbound).io_memory(IO_MEMORY_BYTES).make() {
        Ok(executor) => executor,
        Err(error) => {
            eprintln!("error: glommio does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match executor.run(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let (old, asked_of_old) = questions();
    let (guest, asked_of_guest) = questions();

    // What is there already.
    glommio::spawn_local(asked_of_old.answer("the old service")).detach();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| Error::new(error.to_string()))?;
    println!("old {}", listener.local_addr().map_err(|error| Error::new(error.to_string()))?);

    // What is new.
    let shard = Runtime::builder().guest()?;
    let end = end_with_input(&shard);
    let host = InGlommio::new(&shard)?;
    let life = glommio::spawn_local(shard.run(host, async move |shard| serve_new(shard, old, asked_of_guest).await));

    accept(listener, guest).or(end.notified()).await;
    life.await
}

async fn accept(listener: TcpListener, guest: Asker) {
    let guest = Rc::new(guest);
    loop {
        let Ok(stream) = listener.accept().await else {
            // There is no descriptor left, say.
            glommio::timer::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let guest = Rc::clone(&guest);
        glommio::spawn_local(async move { converse(stream, &guest).await }).detach();
    }
}

/// Answers line by line.
async fn converse(stream: TcpStream, guest: &Asker) -> std::io::Result<()> {
    let (reader, mut writer) = futures_lite::io::split(stream);
    let mut lines = BufReader::new(reader);
    loop {
        let mut line = String::new();
        (&mut lines).take(LINE_BYTES_MAX as u64).read_line(&mut line).await?;
        let Some(text) = line.strip_suffix('\n') else { return Ok(()) };
        let answer = answer_line(text, guest).await;
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}
