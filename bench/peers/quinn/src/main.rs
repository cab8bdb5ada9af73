//! HTTP/3 by h3 on quinn, on tokio's current-thread runtime.

use std::net::UdpSocket;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use h3::error::StreamError;
use h3::server::{RequestResolver, RequestStream};
use h3_quinn::quinn::crypto::rustls::QuicServerConfig;
use h3_quinn::quinn::{self, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, VarInt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue, SERVER};
use http::{Method, Request, Response, StatusCode};
use peer::{BYTES, JSON, Message, PLAINTEXT, Protocol, TEXT};
use rustls::pki_types::PrivateKeyDer;
use rustls::version::TLS13;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

/// Requests at a time on a connection: as many as the load asks, and some more.
const STREAMS_MAX: u32 = 256;

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
                speak(connection).await;
            }
        });
    }
}

/// By a certificate made now.
fn config() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let tls = tls.expect("the provider has TLS 1.3").with_no_client_auth();
    let mut tls = tls.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = QuicServerConfig::try_from(tls).expect("the provider has QUIC's first cipher");
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    let transport = Arc::get_mut(&mut config.transport).expect("it is nobody else's yet");
    transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    config
}

/// Serves one connection. A client that leaves is no news.
async fn speak(connection: quinn::Connection) {
    let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(h3_quinn::Connection::new(connection)).await
    else {
        return;
    };
    while let Ok(Some(request)) = connection.accept().await {
        spawn_local(async move {
            let _ = exchange(request).await;
        });
    }
}

async fn exchange(request: RequestResolver<h3_quinn::Connection, Bytes>) -> Result<(), StreamError> {
    let (request, mut stream) = request.resolve_request().await?;
    let (response, body) = answer(&request, &mut stream).await?;
    stream.send_response(response).await?;
    if !body.is_empty() {
        stream.send_data(body).await?;
    }
    stream.finish().await
}

async fn answer(
    request: &Request<()>,
    stream: &mut RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>,
) -> Result<(Response<()>, Bytes), StreamError> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/plaintext") => respond(TEXT, Bytes::from_static(PLAINTEXT.as_bytes())),
        (&Method::GET, "/json") => {
            respond(JSON, serde_json::to_vec(&Message::HELLO).expect("the message is text").into())
        }
        (&Method::GET, "/bytes/1048576") => respond(BYTES, Bytes::from_static(&[b'x'; 1024 * 1024])),
        (&Method::POST, "/echo") => {
            let mut body = BytesMut::new();
            while let Some(piece) = stream.recv_data().await? {
                body.extend_from_slice(piece.chunk());
            }
            respond(BYTES, body.freeze())
        }
        _ => {
            let (mut response, body) = respond(TEXT, Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            (response, body)
        }
    })
}

fn respond(content_type: &'static str, body: Bytes) -> (Response<()>, Bytes) {
    let mut response = Response::new(());
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(SERVER, HeaderValue::from_static(peer::SERVER));
    fields.insert(DATE, HeaderValue::from_maybe_shared(peer::date()).expect("a date is text"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    (response, body)
}
