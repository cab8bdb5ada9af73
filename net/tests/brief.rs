//! A connection for one request: it is received, answered and ended without one operation in flight, where it comes with its
//! request. Over a real socket, as a simulated one gives connections before their first bytes.

mod beside;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::Location;
use std::time::Duration;

use http::StatusCode;
use platform::{BackendKind, ListenOptions};
use shards::Shard;
use shardwise_net::{Config, Content, Reply, Request, Response, Server, Service};

use beside::{is_here, serve_beside};

/// Connections that are looked at.
const CONNECTIONS: usize = 10;

/// Answers by the number of operations that its shard has given to the kernel so far, behind so many bytes as the path says.
struct Submissions;

impl Service for Submissions {
    fn call(&self, request: Request) -> Reply {
        let shard = request.peer().shard();
        let count = shard.with_reactor(|reactor| reactor.stats().submissions);
        let padding = request.path()[1..].parse().expect("a number");
        let content = Content::from(format!("{}{count}", " ".repeat(padding)).into_bytes());
        Reply::ready(shard, || Response::new(StatusCode::OK).with_content(content))
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
    let serve = async |shard: Shard, tell: &dyn Fn(SocketAddr)| {
        let address = "127.0.0.1:0".parse().expect("an address");
        let options = ListenOptions { silence_max: Some(Duration::from_secs(1)), ..ListenOptions::default() };
        let bound = Server::bind(&shard, address, &options, Location::caller()).await.map_err(|e| e.to_string())?;
        tell(bound.address());
        bound.serve(Submissions, Config::default(), Default::default()).await.map_err(|e| e.to_string())
    };
    serve_beside(kind, serve, move |address| {
        // In one buffer with its head, and in one of its own.
        for padding in [0, 20_000] {
            let counts: Vec<u64> = (0..CONNECTIONS).map(|_| ask(address, padding)).collect();
            assert!(
                counts.windows(2).all(|pair| pair[0] == pair[1]),
                "{kind}: no operation for a connection: {counts:?}"
            );
        }
        // What the kernel does not take at once comes all the same.
        ask(address, 30_000_000);
    });
}

fn ask(address: SocketAddr, padding: usize) -> u64 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let request = format!("GET /{padding} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an end in order");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(body.len() > padding, "{} bytes of {padding}", body.len());
    body.trim().parse().expect("a number")
}
