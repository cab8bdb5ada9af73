//! HTTP/3 by h3 on quinn, on tokio's current-thread runtime.

use std::net::UdpSocket;
use std::sync::Arc;

use h3_quinn::quinn::crypto::rustls::QuicServerConfig;
use h3_quinn::quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, VarInt};
use peer::Protocol;
use peer_h3::{STREAMS_MAX, speak};
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
    LocalSet::new().block_on(&runtime, serve());
}

async fn serve() {
    let socket = UdpSocket::bind(peer::http3_addr()).expect("the address is free");
    let addr = socket.local_addr().expect("a bound socket has an address");
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config()), socket, Arc::new(TokioRuntime));
    let endpoint = endpoint.expect("the socket is registered");
    peer::say_with(addr, Protocol::Http3);
    while let Some(incoming) = endpoint.accept().await {
        spawn_local(async move {
            if let Ok(connection) = incoming.await {
                speak(h3_quinn::Connection::new(connection)).await;
            }
        });
    }
}

fn config() -> ServerConfig {
    let tls = QuicServerConfig::try_from(peer_h3::tls()).expect("the provider has QUIC's first cipher");
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    let transport = Arc::get_mut(&mut config.transport).expect("it is nobody else's yet");
    transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    config
}
