//! A raw loop on monoio, its ring set up as its users do who want the most of it.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use peer::http::{Conversation, Life, READ_BYTES};

/// Entries of the ring: a read and a write for each connection of a figure.
const ENTRIES: u32 = 1024;

fn main() {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    let runtime = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(ENTRIES).build();
    runtime.expect("io_uring can be had").block_on(serve());
}

async fn serve() {
    let listener = TcpListener::from_std(peer::listener()).expect("the socket is registered");
    peer::say(listener.local_addr().expect("a listening socket has an address"));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        monoio::spawn(converse(stream));
    }
}

async fn converse(mut stream: TcpStream) {
    let mut conversation = Conversation::default();
    let (mut input, mut output) = (Vec::with_capacity(READ_BYTES), Vec::new());
    loop {
        let (received, buffer) = stream.read(input).await;
        input = buffer;
        let Ok(1..) = received else { return };
        let life = conversation.answer(&input, &mut output);
        input.clear();
        let (sent, buffer) = stream.write_all(output).await;
        output = buffer;
        output.clear();
        if sent.is_err() || life == Life::Ended {
            return;
        }
    }
}
