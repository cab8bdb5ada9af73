//! actix-web with one worker.

use std::time::Duration;

use actix_web::http::KeepAlive;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use peer::{BYTES, JSON, Message, PLAINTEXT, TEXT};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let listener = peer::listener();
    peer::say(listener.local_addr()?);
    let app = || {
        App::new()
            .route("/plaintext", web::get().to(plaintext))
            .route("/json", web::get().to(json))
            .route("/echo", web::post().to(echo))
    };
    // No deadline for a request's head: the others have none either.
    HttpServer::new(app)
        .workers(1)
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .listen(listener)?
        .run()
        .await
}

async fn plaintext() -> HttpResponse {
    respond(TEXT, Bytes::from_static(PLAINTEXT.as_bytes()))
}

async fn json() -> HttpResponse {
    respond(JSON, serde_json::to_vec(&Message::HELLO).expect("the message is text").into())
}

async fn echo(body: Bytes) -> HttpResponse {
    respond(BYTES, body)
}

fn respond(content_type: &'static str, body: Bytes) -> HttpResponse {
    let mut response = HttpResponse::Ok().body(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(SERVER, HeaderValue::from_static(peer::SERVER));
    response
}
