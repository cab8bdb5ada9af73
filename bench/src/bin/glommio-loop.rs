//! The ceilings' loop on glommio: what a server on that runtime could cost at best.
//!
//! One executor, and a task for each connection: a read, then one write of all answers owed. It answers every request as if it
//! were `GET /plaintext`.

use std::cell::RefCell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;

use bench::answer::{Answers, Outbox};
use bench::args::Args;
use bench::scan::Heads;
use bench::{Result, limits, machine};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

const USAGE: &str = "usage: glommio-loop [--addr 127.0.0.1:0]";

fn main() -> ExitCode {
    bench::run(|| {
        let mut args = Args::from_env(USAGE);
        let addr: String = args.value("--addr", "127.0.0.1:0".to_owned())?;
        args.finish()?;
        machine::raise_descriptor_limit()?;
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().map_err(|error| error.to_string())?;
        executor.run(serve(addr))
    })
}

async fn serve(addr: String) -> Result<()> {
    let listener = TcpListener::bind(&*addr).map_err(|error| error.to_string())?;
    println!("listening http://{}", listener.local_addr().map_err(|error| error.to_string())?);
    let answers = Rc::new(RefCell::new(Answers::default()));
    loop {
        let stream = listener.accept().await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let answers = Rc::clone(&answers);
        glommio::spawn_local(async move { converse(stream, &answers).await }).detach();
    }
}

async fn converse(mut stream: TcpStream, answers: &RefCell<Answers>) -> io::Result<()> {
    let mut buffer = vec![0; limits::READ_BYTES];
    let (mut heads, mut outbox) = (Heads::default(), Outbox::default());
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        outbox.owe(heads.count(&buffer[..count]));
        answers.borrow_mut().renew();
        // The block stays where it is though it may be renewed meanwhile: the outbox holds it.
        loop {
            let current = Answers::clone(&answers.borrow());
            let Some(bytes) = outbox.next(&current) else { break };
            let sent = stream.write(bytes).await?;
            outbox.advance(sent);
        }
    }
}
