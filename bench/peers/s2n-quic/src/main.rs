//! HTTP/3 by h3 on s2n-quic, on tokio's current-thread runtime.

use peer::Protocol;
use peer_h3::{STREAMS_MAX, speak};
use s2n_quic::Server;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::rustls;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    LocalSet::new().block_on(&runtime, serve());
}

async fn serve() {
    #[allow(deprecated)] // the way it offers to be told everything
    let tls = rustls::Server::new(peer_h3::tls());
    let limits =
        Limits::new().with_max_open_remote_bidirectional_streams(STREAMS_MAX.into()).expect("it is no large number");
    let server = Server::builder().with_tls(tls).expect("TLS").with_limits(limits).expect("limits");
    let mut server = server.with_io(peer::http3_addr()).expect("the address is free").start().expect("it starts");
    peer::say_with(server.local_addr().expect("a bound socket has an address"), Protocol::Http3);
    while let Some(connection) = server.accept().await {
        spawn_local(speak(h3_s2n::Connection::new(connection)));
    }
}
