//! What the unit tests share: an app on a simulated shard, asked without a connection.

use std::fmt::Write;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use net::{Body, Content, Head, Peer, Reply, Response};
use platform::Chunk;
use proto::h1::{Event, Limits, Server};
use shards::{Shard, Simulation};

use crate::App;
use crate::site::Service;

/// Runs `test` on a shard of a simulated machine.
pub(crate) fn on_a_shard(test: impl AsyncFnOnce(Shard) + 'static) {
    Simulation::new(1).run(test);
}

/// Asks an app, request by request, and compares the answers as [`told`] tells them. A request is a line (`GET /path`),
/// then header lines, then an empty line and the body.
#[track_caller]
pub(crate) fn check(app: fn() -> App, table: &'static [(&'static str, &'static str)]) {
    on_a_shard(async move |shard| {
        let service = app().build(&shard).expect("the routes fit together");
        for (request, expect) in table {
            assert_eq!(told(ask(&service, &shard, request).await).await, *expect, "{request}");
        }
        assert_eq!(shard.pool().stats().pooled_bytes, 0, "what was leased has come home");
    });
}

/// Asks, and waits for the response.
pub(crate) async fn ask(service: &Service, shard: &Shard, request: &str) -> Response {
    match net::Service::call(service, received(shard, request)) {
        Reply::Ready(response) => response.into_inner(),
        Reply::Later(mut future) => poll_fn(|cx| Pin::new(&mut future).poll(cx)).await.into_inner(),
    }
}

/// A request as a connection would make it; its body is there if it is one byte, and comes in two chunks if it is longer.
pub(crate) fn received(shard: &Shard, request: &str) -> net::Request {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{line} HTTP/1.1\r\nHost: here\r\n");
    headers.lines().for_each(|header| write!(text, "{header}\r\n").expect("a string takes it"));
    if !body.is_empty() {
        write!(text, "Content-Length: {}\r\n", body.len()).expect("a string takes it");
    }
    text.push_str("\r\n");
    let mut table = Box::default();
    let step = Server::new().receive(text.as_bytes(), &mut table, &Limits::default()).expect("a good head");
    assert!(matches!(step.event, Event::Head(_)), "a whole head");
    let head = Head::new(chunk(shard, text.as_bytes()), table, Rc::default());
    net::Request::new(head, fed(shard, body), Peer::none(shard))
}

fn fed(shard: &Shard, text: &str) -> Body {
    match text.len() {
        0 => return Body::empty(),
        1 => return Body::whole(chunk(shard, text.as_bytes())),
        _ => {}
    }
    let (incoming, body) = Body::channel(Some(text.len() as u64));
    let (first, second) = text.as_bytes().split_at(text.len() / 2);
    for piece in [first, second] {
        incoming.push(chunk(shard, piece));
    }
    incoming.finish(Ok(()));
    body
}

fn chunk(shard: &Shard, bytes: &[u8]) -> Chunk {
    let mut chunk = shard.pool().lease(bytes.len()).expect("the pool has room");
    chunk.put(bytes);
    chunk.freeze()
}

/// A response in one line for each: status, header lines, content.
pub(crate) async fn told(response: Response) -> String {
    let mut text = response.status.as_u16().to_string();
    for (name, value) in response.headers.iter() {
        write!(text, "\n{name}: {}", String::from_utf8_lossy(value.as_bytes())).expect("a string takes it");
    }
    let content = gathered(response.content).await;
    if !content.is_empty() {
        write!(text, "\n\n{content}").expect("a string takes it");
    }
    text
}

/// Content as text, read to its end.
pub(crate) async fn gathered(content: Content) -> String {
    let mut bytes = Vec::new();
    match content {
        Content::Empty | Content::Tunnel(_) => {}
        Content::Full(buf) => bytes.extend_from_slice(&buf),
        Content::Body(mut body) => {
            while let Some(chunk) = body.chunk().await.expect("the body comes whole") {
                bytes.extend_from_slice(&chunk);
            }
        }
        Content::Stream(mut stream) => {
            while let Some(piece) = poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
                match piece {
                    Ok(buf) => bytes.extend_from_slice(&buf),
                    Err(error) => bytes.extend_from_slice(format!("[{error}]").as_bytes()),
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
