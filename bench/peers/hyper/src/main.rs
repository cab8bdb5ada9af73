//! hyper on tokio's current-thread runtime.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use peer::{BYTES, JSON, Message, PLAINTEXT, TEXT};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("the runtime starts");
    LocalSet::new().block_on(&runtime, serve());
}

async fn serve() {
    let listener = TcpListener::from_std(peer::listener()).expect("the socket is registered");
    peer::say(listener.local_addr().expect("a listening socket has an address"));
    let mut http = http1::Builder::new();
    http.pipeline_flush(true);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(answer));
        spawn_local(async move {
            let _ = connection.await; // a client that leaves is no news
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/plaintext") => respond(TEXT, Bytes::from_static(PLAINTEXT.as_bytes())),
        (&Method::GET, "/json") => {
            respond(JSON, serde_json::to_vec(&Message::HELLO).expect("the message is text").into())
        }
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
