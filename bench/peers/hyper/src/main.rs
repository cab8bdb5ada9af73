//! hyper on tokio's current-thread runtime; under TLS with tokio-rustls.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use peer::{BYTES, JSON, Message, PLAINTEXT, Protocol, TEXT};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::TLS13;

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("the runtime starts");
    LocalSet::new().block_on(&runtime, serve());
}

async fn serve() {
    let (addr, protocol) = peer::options();
    assert!(protocol != Protocol::Http3, "it does not speak HTTP/3");
    let listener = TcpListener::from_std(peer::listener_at(addr)).expect("the socket is registered");
    let tls = (protocol == Protocol::Tls).then(acceptor);
    peer::say_with(listener.local_addr().expect("a listening socket has an address"), protocol);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let tls = tls.clone();
        spawn_local(async move {
            let Some(tls) = tls else { return speak(stream, protocol == Protocol::Http2).await };
            if let Ok(stream) = tls.accept(stream).await {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                speak(stream, is_http2).await;
            }
        });
    }
}

/// Serves one connection. A client that leaves is no news.
async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, is_http2: bool) {
    let stream = TokioIo::new(stream);
    if is_http2 {
        let _ = http2::Builder::new(Local).serve_connection(stream, service_fn(answer)).await;
    } else {
        let _ = http1::Builder::new().pipeline_flush(true).serve_connection(stream, service_fn(answer)).await;
    }
}

/// TLS by a certificate made now.
fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_protocol_versions(&[&TLS13]).with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("they belong together");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Runs what HTTP/2 spawns on this thread.
#[derive(Clone)]
struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, task: F) {
        spawn_local(async move {
            task.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/plaintext") => respond(TEXT, Bytes::from_static(PLAINTEXT.as_bytes())),
        (&Method::GET, "/json") => {
            respond(JSON, serde_json::to_vec(&Message::HELLO).expect("the message is text").into())
        }
        (&Method::GET, "/bytes/1048576") => respond(BYTES, Bytes::from_static(&[b'x'; 1024 * 1024])),
        (&Method::POST, "/echo") => match request.into_body().collect().await {
            Ok(body) => respond(BYTES, body.to_bytes()),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        _ => status(StatusCode::NOT_FOUND),
    };
    response.headers_mut().insert(SERVER, HeaderValue::from_static(peer::SERVER));
    Ok(response)
}

fn respond(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
