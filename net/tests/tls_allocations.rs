//! What a request over TLS costs in heap allocations, in steady state: none; and two for an answer in several buffers, whose list
//! is not given back when its send ends unheard.
//! Counted on the shard's own thread, over a real socket.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod beside;
#[path = "../../shards/tests/counting/mod.rs"]
mod counting;
#[allow(dead_code, reason = "each test program uses its part")]
#[path = "tls/kit.rs"]
mod kit;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use platform::BackendKind;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use shards::Shard;
use shardwise_net::{Config, Content, Reply, Request, Response, Server, Service};

use beside::{is_here, serve_beside};
use counting::COUNT;
use kit::Setup;

/// Requests that are counted.
const REQUESTS: u64 = 2000;

/// Requests before that: what is made once and kept is made here, and records have their full length.
const WARM_UP: u64 = 200;

/// Answers by so many bytes, in two buffers: head and body.
struct Counted;

impl Service for Counted {
    fn call(&self, request: Request) -> Reply {
        static BYTES: [u8; 60_000] = [b'x'; 60_000];
        let text = match request.path() {
            "/begin" => {
                COUNT.set(Some(0));
                Content::Empty
            }
            "/end" => Content::from(COUNT.take().expect("it has begun").to_string().into_bytes()),
            path => Content::from(&BYTES[..path[1..].parse().expect("a number")]),
        };
        Reply::ready(request.peer().shard(), || Response::new(StatusCode::OK).with_content(text))
    }
}

#[test]
fn on_uring() {
    check(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    check(BackendKind::Epoll);
}

fn check(kind: BackendKind) {
    if !is_here(kind) {
        return;
    }
    let Setup { server, client, .. } = Setup::new();
    let server = Arc::new(server);
    let serve = async move |shard: Shard, tell: &dyn Fn(SocketAddr)| {
        let address = "127.0.0.1:0".parse().expect("an address");
        let bound = Server::bind(&shard, address, &Default::default(), Location::caller()).await;
        let (bound, server) = (bound.map_err(|error| error.to_string())?, Arc::clone(&server));
        tell(bound.address());
        let bound = bound.secured(move || Arc::clone(&server));
        bound.serve(Counted, Config::default(), Arc::default()).await.map_err(|error| error.to_string())
    };
    serve_beside(kind, serve, move |address| {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::new(client), name).expect("a configuration that works");
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        let mut stream = StreamOwned::new(tls, stream);
        for (bytes, allocations) in [(13, 0), (1000, 0), (16_000, 2)] {
            let mut counted = |count: u64| {
                ask(&mut stream, "begin");
                (0..count).for_each(|_| assert_eq!(ask(&mut stream, &bytes.to_string()).len(), bytes));
                let count = String::from_utf8(ask(&mut stream, "end")).expect("text");
                count.parse::<u64>().expect("a number")
            };
            counted(WARM_UP);
            // Those of asking for the count.
            let own = counted(0);
            let count = counted(REQUESTS) - own;
            println!("{bytes} bytes: {:.3} allocations for each request", count as f64 / REQUESTS as f64);
            assert_eq!(count / REQUESTS, allocations, "{bytes} bytes: {count} in {REQUESTS} requests");
            assert!(count % REQUESTS < 20, "{bytes} bytes: {count} in {REQUESTS} requests");
        }
    });
}

/// Asks for a path, and gives the answer's body.
fn ask(stream: &mut StreamOwned<ClientConnection, TcpStream>, path: &str) -> Vec<u8> {
    stream.write_all(format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).expect("it is taken");
    let (mut answer, mut room) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let count = stream.read(&mut room).expect("an answer");
        assert!(count > 0, "it goes on");
        answer.extend_from_slice(&room[..count]);
        let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..head]).into_owned();
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map(str::parse::<usize>);
        if answer.len() >= head + 4 + length.expect("a length").expect("a number") {
            return answer.split_off(head + 4);
        }
    }
}
