//! A raw loop on glommio.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use peer::http::{Conversation, Life, READ_BYTES};

fn main() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().expect("io_uring can be had");
    executor.run(serve());
}

async fn serve() {
    let listener = TcpListener::bind(peer::addr()).expect("the address is free");
    peer::say(listener.local_addr().expect("a listening socket has an address"));
    loop {
        let Ok(stream) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        glommio::spawn_local(converse(stream)).detach();
    }
}

async fn converse(mut stream: TcpStream) {
    let mut conversation = Conversation::default();
    let (mut input, mut output) = (vec![0; READ_BYTES], Vec::new());
    loop {
        let Ok(count @ 1..) = stream.read(&mut input).await else { return };
        let life = conversation.answer(&input[..count], &mut output);
        let sent = stream.write_all(&output).await;
        output.clear();
        if sent.is_err() || life == Life::Ended {
            return;
        }
    }
}
