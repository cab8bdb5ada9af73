use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use super::head::Head;
use super::{Load, Plan, open_idle};
use crate::scan::Heads;

#[track_caller]
fn check_head(input: &str, expect: Result<Option<Head>, &str>) {
    match (Head::parse(input.as_bytes()), expect) {
        (Ok(head), Ok(expect)) => assert_eq!(head, expect, "{input:?}"),
        (Err(error), Err(expect)) => assert!(error.to_string().starts_with(expect), "{input:?}: {error}"),
        (got, expect) => panic!("{input:?}: {got:?}, not {expect:?}"),
    }
}

#[test]
fn heads() {
    let head = |bytes, status, body_bytes| Ok(Some(Head { bytes, status, body_bytes }));
    check_head("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", head(38, 200, 2));
    check_head("HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n", head(44, 404, 0));
    check_head("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", Ok(None));
    check_head("HTTP/1.1 200 OK\r\n\r\n", Err("an answer without Content-Length"));
    check_head("HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", Err("Content-Length: \"two\""));
    check_head("SSH-2.0\r\n\r\n", Err("not a status line"));
    check_head(&"x".repeat(20_000), Err("an answer's head has no end"));
}

/// A server that gives its n-th answer in pieces of `piece` bytes.
fn serve(answer: fn(u64) -> String, piece: usize, body: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut heads, mut number, mut buffer) = (Heads::with_bodies(body), 0, [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    for _ in 0..heads.count(&buffer[..count]) {
                        number += 1;
                        for part in answer(number).as_bytes().chunks(piece) {
                            if stream.write_all(part).is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    addr
}

fn hello(number: u64) -> String {
    format!("HTTP/1.1 200 OK\r\nDate: {number}\r\nContent-Length: 13\r\n\r\nHello, World!")
}

/// Runs shortly against such a server; the report must have right answers, and wrong ones as told.
#[track_caller]
fn check(answer: fn(u64) -> String, piece: usize, pipeline: usize, body: usize, expect_errors: bool) {
    let plan = Plan { addr: serve(answer, piece, body), path: "/".into(), body, connections: 3, pipeline };
    let report = Load::connect(&plan).unwrap().run(Duration::from_millis(30)).unwrap();
    assert!(report.requests > 0);
    assert_eq!(report.errors > 0, expect_errors, "{} errors", report.errors);
    assert_eq!(report.latency.len(), report.requests);
}

#[test]
fn counts_right_answers_whatever_the_pieces() {
    for (piece, pipeline) in [(1, 1), (1, 5), (7, 16), (60, 3), (4096, 1), (4096, 16)] {
        check(hello, piece, pipeline, 0, false);
        check(hello, piece, pipeline, 5000, false);
    }
}

#[test]
fn counts_wrong_status_and_wrong_length() {
    check(
        |number| match number {
            2 => "HTTP/1.1 500 Oh\r\nContent-Length: 13\r\n\r\nHello, World!".into(),
            3 => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHi".into(),
            _ => hello(number),
        },
        4096,
        1,
        0,
        true,
    );
}

#[test]
fn refuses_what_it_cannot_measure() {
    let plan =
        |answer, pipeline| Plan { addr: serve(answer, 4096, 0), path: "/x".into(), body: 0, connections: 1, pipeline };
    let missing = Load::connect(&plan(|_| "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".into(), 1));
    assert_eq!(missing.unwrap_err().to_string(), "GET /x answers 404");
    let deep = Load::connect(&plan(hello, 1000));
    assert!(deep.unwrap_err().to_string().contains("requests in flight"));
}

#[test]
fn idle_connections_stay_open() {
    let open = open_idle(serve(hello, 4096, 0), "/", 20).unwrap();
    assert_eq!(open.len(), 20);
    for mut stream in open {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
