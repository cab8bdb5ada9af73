//! In steady state a request costs no heap allocation: counted on the shard's own thread, over a real socket, while a
//! client on another thread asks ten thousand times.

#![allow(clippy::disallowed_methods, reason = "a client outside of any shard: real threads and a real clock")]
#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

#[path = "../../shards/tests/counting/mod.rs"]
mod counting;
mod served;
mod wire;

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::rc::Rc;

use shardwise::BackendKind::{self, Epoll, Uring};
use shardwise::Client;
use shardwise::http;
use shardwise::prelude::*;

use counting::COUNT;
use served::{Served, check};
use wire::request;

/// Requests that are counted, of each kind.
const REQUESTS: usize = 10_000;

/// Requests before that: what is made once and kept (pools, lists, series of metrics) is made here.
const WARM_UP: usize = 1_000;

/// Requests of one pipeline.
const DEPTH: usize = 16;

/// Answers with a field of their own, more than a connection's table of 4,096 bytes holds: each takes 40 at the least.
const FIELDS: usize = 200;

/// Clients that ask at the same time before that.
const CROWD: usize = 8;

#[derive(serde::Serialize)]
struct Message {
    message: &'static str,
}

const MESSAGE: Message = Message { message: "Hello, World!" };

fn app() -> App {
    App::new()
        .get("/plaintext", || "Hello, World!")
        .get("/plaintext/later", async || "Hello, World!")
        .get("/json", || Json(MESSAGE))
        .get("/json/later", async || {
            shardwise::yield_now().await;
            Json(MESSAGE)
        })
        .post("/echo", |mut request: Request| request.take_body().respond())
        .get("/sleep", async |shard: Shard| shard.sleep(std::time::Duration::from_micros(10)).await)
        .state(Rc::<OnceCell<String>>::default())
        .get("/upstream", upstream)
        .get("/allocate", || drop(std::hint::black_box(Box::new(1))))
        .get("/field/{value}", |Path(value): Path<String>| ([("x-field", value)], ()))
        .get("/begin", || COUNT.set(Some(0)))
        .get("/end", || COUNT.take().expect("it has begun").to_string())
}

/// Asks this same server for plaintext, over a connection that is kept, and reads the answer.
async fn upstream(client: Client, State(url): State<Rc<OnceCell<String>>>, request: Request) -> Result<String> {
    let here = || format!("http://{}/plaintext", request.peer().local().expect("it is connected"));
    let mut response = client.get(url.get_or_init(here)).send().await?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await? {
        bytes += chunk.len();
    }
    assert_eq!((response.status(), bytes), (StatusCode::OK, 13));
    Ok(String::new())
}

/// The same, with three layers around everything.
fn layered() -> App {
    async fn by_state(State(message): State<&'static str>, request: Request, next: Next) -> Response {
        assert_eq!(message, MESSAGE.message);
        next.run(request).await
    }
    async fn waiting(request: Request, next: Next) -> Response {
        shardwise::yield_now().await;
        next.run(request).await
    }
    app()
        .state(MESSAGE.message)
        .get("/items/{id}", async |Path(id): Path<u32>, State(message): State<&'static str>| {
            assert_eq!(id, 7);
            message
        })
        .layer(by_state)
        .layer(waiting)
        .layer(async |request: Request, next: Next| {
            let mut response = next.run(request).await;
            response.headers.append(http::header::VARY, http::HeaderValue::from_static("accept"));
            response
        })
}

/// What the shard allocates while it answers `count` requests for a path, asked one by one or in pipelines.
fn allocations(served: &Served, path: &str, count: usize, depth: usize) -> u64 {
    allocations_of(served, path, &request(&format!("GET {path}")), count, depth)
}

/// The same for posts of so many bytes, which are echoed.
fn allocations_of_echo(served: &Served, bytes: usize, count: usize, depth: usize) -> u64 {
    let body = "x".repeat(bytes);
    let request = format!("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: {bytes}\r\n\r\n{body}");
    allocations_of(served, "/echo", &request, count, depth)
}

fn allocations_of(served: &Served, path: &str, request: &str, count: usize, depth: usize) -> u64 {
    let mut client = served.client();
    let pipeline = request.repeat(depth);
    let mut ask = |count: usize| {
        for _ in 0..count / depth {
            client.send(&pipeline);
            assert!((0..depth).all(|_| client.answer().status / 100 == 2), "{path}");
        }
    };
    // What the shard keeps for the next requests is made for a crowd, so that one client never needs more of it.
    let mut crowd: Vec<_> = (0..CROWD).map(|_| served.client()).collect();
    let busy = request.repeat(DEPTH);
    for _ in 0..10 {
        crowd.iter_mut().for_each(|client| client.send(&busy));
        crowd.iter_mut().for_each(|client| (0..DEPTH).for_each(|_| drop(client.answer())));
    }
    let mut control = served.client();
    let mut counted = |count: usize| {
        assert_eq!(control.ask("GET /begin").status, 200);
        ask(count);
        control.ask("GET /end").text().parse().expect("a count")
    };
    counted(WARM_UP);
    counted(count)
}

/// The same over HTTP/2, on `depth` streams at a time. Each second brings another `Date` for the connection's table of fields,
/// which is as large as it may be before anything is counted.
fn allocations_of_streams(served: &Served, path: &str, count: usize, depth: usize) -> u64 {
    let mut client = Streams::open(served);
    let mut control = served.client();
    // The connection's own memory, and what is kept for tasks, is made for as many as there ever are.
    client.ask(path, 10 * DEPTH, DEPTH);
    for number in 0..FIELDS {
        client.ask(&format!("/field/{number}"), 1, 1);
    }
    let mut counted = |count: usize| {
        assert_eq!(control.ask("GET /begin").status, 200);
        client.ask(path, count, depth);
        control.ask("GET /end").text().parse().expect("a count")
    };
    counted(WARM_UP);
    counted(count)
}

/// A client of HTTP/2 that says and reads no more than it must.
struct Streams {
    socket: std::net::TcpStream,
    next: u32,
    received: Vec<u8>,
}

impl Streams {
    fn open(served: &Served) -> Streams {
        let mut socket = std::net::TcpStream::connect(served.address).expect("a connection");
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(wire::WAIT_MAX)).expect("a time limit");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("it is sent");
        Streams { socket, next: 1, received: Vec::new() }
    }

    fn ask(&mut self, path: &str, count: usize, depth: usize) {
        let block = [b"\x82\x86\x04", &[path.len() as u8][..], path.as_bytes(), b"\x01\x04here"].concat();
        for _ in 0..count / depth {
            let mut bytes = Vec::new();
            for _ in 0..depth {
                bytes.extend([0, 0, block.len() as u8, 1, 5]);
                bytes.extend(self.next.to_be_bytes());
                bytes.extend_from_slice(&block);
                self.next += 2;
            }
            self.socket.write_all(&bytes).expect("it is sent");
            let (mut ends, mut data) = (0, 0);
            while ends < depth {
                let (kind, flags, length) = self.frame();
                assert!(kind < 2 || kind == 4 || kind == 8, "a frame of kind {kind}");
                ends += usize::from(kind < 2 && flags & 1 == 1);
                data += if kind == 0 { length as u32 } else { 0 };
            }
            let update = [&[0, 0, 4, 8, 0, 0, 0, 0, 0][..], &data.to_be_bytes()].concat();
            if data > 0 {
                self.socket.write_all(&update).expect("it is sent");
            }
        }
    }

    /// The next frame's kind, flags and length.
    fn frame(&mut self) -> (u8, u8, usize) {
        loop {
            if let [high, middle, low, kind, flags, ..] = self.received[..] {
                let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if self.received.len() >= 9 + length {
                    self.received.drain(..9 + length);
                    return (kind, flags, length);
                }
            }
            let mut bytes = [0; 4096];
            let count = self.socket.read(&mut bytes).expect("an answer in time");
            assert!(count > 0, "the server has closed");
            self.received.extend_from_slice(&bytes[..count]);
        }
    }
}

#[track_caller]
fn check_backend(kind: BackendKind) {
    check(kind, app, |served| {
        for path in ["/plaintext", "/plaintext/later", "/json", "/json/later"] {
            for depth in [1, DEPTH] {
                assert_eq!(allocations(served, path, REQUESTS, depth), 0, "{path}, pipelined {depth} deep");
            }
        }
        for path in ["/plaintext", "/plaintext/later", "/json", "/json/later"] {
            for depth in [1, DEPTH] {
                let count = allocations_of_streams(served, path, REQUESTS, depth);
                assert_eq!(count, 0, "{path} over HTTP/2, on {depth} streams");
            }
        }
        for bytes in [1, 1000, 5000, 16 * 1024] {
            assert_eq!(allocations_of_echo(served, bytes, REQUESTS / 5, 1), 0, "{bytes} bytes echoed");
        }
        // Each takes a turn of the timer wheel, so these are fewer.
        assert_eq!(allocations(served, "/sleep", REQUESTS / 10, 1), 0, "/sleep");
        assert_eq!(allocations(served, "/upstream", REQUESTS / 10, 1), 0, "/upstream");
        assert_eq!(allocations(served, "/allocate", 100, 1), 100, "what allocates is counted");
    });
    check(kind, layered, |served| {
        for path in ["/plaintext", "/json/later", "/items/7"] {
            for depth in [1, DEPTH] {
                assert_eq!(allocations(served, path, REQUESTS, depth), 0, "{path} with layers, pipelined {depth} deep");
            }
        }
        assert_eq!(allocations(served, "/allocate", 100, 1), 100, "what allocates is counted");
    });
}

#[test]
fn a_request_allocates_nothing_on_uring() {
    check_backend(Uring);
}

#[test]
fn a_request_allocates_nothing_on_epoll() {
    check_backend(Epoll);
}
