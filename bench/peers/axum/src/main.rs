//! axum on tokio's current-thread runtime, over hyper's HTTP/1 connections, so that pipelined answers are gathered.

use axum::body::Bytes;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_TYPE, SERVER};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use peer::{BYTES, Message, PLAINTEXT};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::task::{LocalSet, spawn_local};

const NAME: [(HeaderName, &str); 1] = [(SERVER, peer::SERVER)];

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("the runtime starts");
    LocalSet::new().block_on(&runtime, serve());
}

async fn serve() {
    let app = Router::new().route("/plaintext", get(plaintext)).route("/json", get(json)).route("/echo", post(echo));
    let listener = TcpListener::from_std(peer::listener()).expect("the socket is registered");
    peer::say(listener.local_addr().expect("a listening socket has an address"));
    let mut http = http1::Builder::new();
    http.pipeline_flush(true);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        spawn_local(async move {
            let _ = connection.await; // a client that leaves is no news
        });
    }
}

async fn plaintext() -> impl IntoResponse {
    (NAME, PLAINTEXT)
}

async fn json() -> impl IntoResponse {
    (NAME, Json(Message::HELLO))
}

async fn echo(body: Bytes) -> impl IntoResponse {
    (NAME, [(CONTENT_TYPE, BYTES)], body)
}
