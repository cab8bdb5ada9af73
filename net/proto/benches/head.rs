//! What a request costs in the engine: a browser-like head read, indexed and judged; then with the answer to it.
//!
//! `cargo bench -p shardwise-proto`. Prints the least of many short runs, which neighbours on the machine disturb
//! least.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::StatusCode;
use shardwise_proto::h1::{Limits, Server, Standing};
use shardwise_proto::head::HeadTable;

const HEAD: &[u8] = b"GET /plaintext?utm_source=runs HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Connection: keep-alive\r\n\
    Cookie: uid=12345678901234567890; session=abcdef0123456789\r\n\
    Cache-Control: max-age=0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    \r\n";

const STANDING: Standing = Standing {
    server_and_date: b"Server: shardwise\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    server_bytes: "Server: shardwise\r\n".len(),
    other: b"",
    again: None,
};

fn main() {
    let (mut table, limits, mut out) = (HeadTable::new(), Limits::default(), [0; 512]);
    println!("head of {} bytes", HEAD.len());

    report("read", || {
        black_box(Server::new().receive(black_box(HEAD), &mut table, &limits)).unwrap();
    });

    let mut server = Server::new();
    report("read and answered", || {
        black_box(server.receive(black_box(HEAD), &mut table, &limits)).unwrap();
        black_box(server.receive(b"", &mut table, &limits)).unwrap();
        let fields = black_box([("Content-Type", "text/plain")]);
        server.respond_whole(StatusCode::OK, fields, STANDING, b"Hello, World!", black_box(&mut out)).unwrap();
    });

    report("read byte by byte", || {
        let mut server = Server::new();
        for end in 1..=HEAD.len() {
            black_box(server.receive(&HEAD[..end], &mut table, &limits)).unwrap();
        }
    });
}

fn report(what: &str, mut once: impl FnMut()) {
    let run = |once: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..TIMES {
            once();
        }
        start.elapsed()
    };
    let least = (0..RUNS).map(|_| run(&mut once)).min().unwrap_or(Duration::ZERO);
    println!("{what}: {:.1} ns", least.as_secs_f64() * 1e9 / f64::from(TIMES));
}

const RUNS: u32 = 300;
const TIMES: u32 = 1_000;
