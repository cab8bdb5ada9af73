//! A raw loop on compio.

use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;
use peer::http::{Conversation, Life, READ_BYTES};

/// Entries of the ring: a read and a write for each connection of a figure.
const ENTRIES: u32 = 1024;

fn main() {
    let mut driver = ProactorBuilder::new();
    driver.capacity(ENTRIES).single_issuer(true).coop_taskrun(true).defer_taskrun(true);
    let runtime = RuntimeBuilder::new().with_proactor(driver).build().expect("io_uring can be had");
    runtime.block_on(serve());
}

async fn serve() {
    let listener = TcpListener::from_std(peer::listener()).expect("the socket is registered");
    peer::say(listener.local_addr().expect("a listening socket has an address"));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        compio::runtime::spawn(converse(stream)).detach();
    }
}

async fn converse(mut stream: TcpStream) {
    let mut conversation = Conversation::default();
    let (mut input, mut output) = (Vec::with_capacity(READ_BYTES), Vec::new());
    loop {
        let BufResult(received, buffer) = stream.read(input).await;
        input = buffer;
        let Ok(1..) = received else { return };
        let life = conversation.answer(&input, &mut output);
        input.clear();
        let BufResult(sent, buffer) = stream.write_all(output).await;
        output = buffer;
        output.clear();
        if sent.is_err() || life == Life::Ended {
            return;
        }
    }
}
