//! HTTP/3 by h3, on whatever QUIC: the part of a server that its QUIC does not change.

use bytes::{Buf, Bytes, BytesMut};
use h3::error::StreamError;
use h3::quic::Connection;
use h3::server::{RequestResolver, RequestStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue, SERVER};
use http::{Method, Request, Response, StatusCode};
use peer::{BYTES, JSON, Message, PLAINTEXT, TEXT};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::version::TLS13;
use tokio::task::spawn_local;

/// Requests at a time on a connection: as many as the load asks, and some more.
pub const STREAMS_MAX: u32 = 256;

/// TLS by a certificate made now.
pub fn tls() -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let tls = tls.expect("the provider has TLS 1.3").with_no_client_auth();
    let mut tls = tls.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls
}

/// Serves one connection. A client that leaves is no news.
pub async fn speak<C>(connection: C)
where
    C: Connection<Bytes> + 'static,
    C::BidiStream: 'static,
{
    let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(connection).await else { return };
    while let Ok(Some(request)) = connection.accept().await {
        spawn_local(async move {
            let _ = exchange(request).await;
        });
    }
}

async fn exchange<C: Connection<Bytes>>(request: RequestResolver<C, Bytes>) -> Result<(), StreamError> {
    let (request, mut stream) = request.resolve_request().await?;
    let (response, body) = answer(&request, &mut stream).await?;
    stream.send_response(response).await?;
    if !body.is_empty() {
        stream.send_data(body).await?;
    }
    stream.finish().await
}

async fn answer<S: h3::quic::RecvStream>(
    request: &Request<()>,
    stream: &mut RequestStream<S, Bytes>,
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
