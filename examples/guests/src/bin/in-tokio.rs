//! A service on tokio, and a Shardwise app as its guest, on one thread. It says where both listen, and ends when standard
//! input does.

use std::process::ExitCode;
use std::rc::Rc;

use futures_lite::FutureExt;
use shardwise::{Result, Runtime};
use shardwise_guests::in_tokio::InTokio;
use shardwise_guests::{ACCEPT_PAUSE, Asker, LINE_BYTES_MAX, answer_line, end_with_input, questions, serve_new};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = LocalSet::new().block_on(&runtime, run());
    match outcome {
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
    tokio::task::spawn_local(asked_of_old.answer("the old service"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("old {}", listener.local_addr()?);

    // What is new.
    let shard = Runtime::builder().guest()?;
    let end = end_with_input(&shard);
    let host = InTokio::new(&shard)?;
    let life =
        tokio::task::spawn_local(shard.run(host, async move |shard| serve_new(shard, old, asked_of_guest).await));

    accept(listener, guest).or(end.notified()).await;
    life.await?
}

async fn accept(listener: TcpListener, guest: Asker) {
    let guest = Rc::new(guest);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // There is no descriptor left, say.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let guest = Rc::clone(&guest);
        tokio::task::spawn_local(async move { converse(stream, &guest).await });
    }
}

/// Answers line by line.
async fn converse(mut stream: TcpStream, guest: &Asker) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader);
    loop {
        let mut line = String::new();
        (&mut lines).take(LINE_BYTES_MAX as u64).read_line(&mut line).await?;
        let Some(text) = line.strip_suffix('\n') else { return Ok(()) };
        let answer = answer_line(text, guest).await;
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}
