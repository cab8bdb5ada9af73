//! Over real sockets, on each backend of this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use platform::BackendKind;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use shards::Shard;
use shardwise_net::{Config, Server};

use crate::beside::{is_here, serve_beside};
use crate::kit::{Setup, get, pattern, post, routes};

#[test]
fn on_uring() {
    over_real_sockets(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    over_real_sockets(BackendKind::Epoll);
}

#[test]
fn on_polling() {
    over_real_sockets(BackendKind::Polling);
}

fn over_real_sockets(kind: BackendKind) {
    if !is_here(kind) {
        return;
    }
    let setup = Setup::new();
    let (server, client) = (Arc::new(setup.server), Arc::new(setup.client));
    let serve = async move |shard: Shard, tell: &dyn Fn(SocketAddr)| {
        let address = "127.0.0.1:0".parse().expect("an address");
        let location = std::panic::Location::caller();
        let bound = Server::bind(&shard, address, &Default::default(), location).await.map_err(|e| e.to_string())?;
        let server = Arc::clone(&server);
        tell(bound.address());
        let bound = bound.secured(move || Arc::clone(&server));
        bound.serve(routes(&shard), Config::default(), Arc::default()).await.map_err(|e| e.to_string())
    };
    serve_beside(kind, serve, move |address| {
        for _ in 0..3 {
            let name = ServerName::try_from("localhost").expect("a name");
            let tls = ClientConnection::new(Arc::clone(&client), name).expect("a configuration that works");
            let stream = TcpStream::connect(address).expect("it listens");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
            let mut stream = BufReader::new(StreamOwned::new(tls, stream));
            for bytes in [0, 10, 5000, 100_000, 10_000_000] {
                stream.get_mut().write_all(get(&format!("/bytes/{bytes}")).as_bytes()).expect("it is taken");
                assert!(body(&mut stream) == pattern(bytes), "{bytes} bytes");
            }
            let upload = pattern(5_000_000);
            stream.get_mut().write_all(post("/sum", upload.len()).as_bytes()).expect("it is taken");
            stream.get_mut().write_all(&upload).expect("it is taken");
            let sum: u64 = upload.iter().map(|&byte| u64::from(byte)).sum();
            assert_eq!(body(&mut stream), sum.to_string().into_bytes());
            let last = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.get_mut().write_all(last.as_bytes()).expect("it is taken");
            assert_eq!(body(&mut stream), b"hello");
            let mut rest = Vec::new();
            // An end without the last word would be an error.
            assert_eq!(stream.read_to_end(&mut rest).expect("an end in order"), 0);
        }
    });
}

/// The next answer's body.
fn body(stream: &mut BufReader<StreamOwned<ClientConnection, TcpStream>>) -> Vec<u8> {
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).expect("a line");
        if let Some(digits) = line.strip_prefix("Content-Length: ") {
            length = digits.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("all of it");
    body
}
