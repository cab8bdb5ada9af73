use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::head::Head;
use super::schedule::Schedule;
use super::{Load, Plan, ask, open_idle};
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

/// What is answered to the n-th request of a connection.
type Answers = fn(u64) -> String;

/// A server of requests without a body that gives its n-th answer in pieces of `piece` bytes.
fn serve(answer: Answers, piece: usize) -> SocketAddr {
    serve_requests(answer, piece, 0, false)
}

/// The same for requests with so many bytes of body, and one that closes behind its first answer.
fn serve_requests(answer: Answers, piece: usize, body: usize, close: bool) -> SocketAddr {
    serve_by(move |stream| answer_all(stream, answer, piece, body, close))
}

/// The same over TLS; each piece is a record of its own.
fn serve_by_tls(answer: Answers, piece: usize, body: usize) -> SocketAddr {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], signing_key.into())
        .unwrap();
    let config = Arc::new(config);
    serve_by(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        answer_all(StreamOwned::new(session, stream), answer, piece, body, false);
    })
}

/// Each connection on a thread of its own.
fn serve_by(connection: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, connection) = (stream.unwrap(), connection.clone());
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || connection(stream));
        }
    });
    addr
}

fn answer_all(mut stream: impl Read + Write, answer: Answers, piece: usize, body: usize, close: bool) {
    let (mut heads, mut number, mut buffer) = (Heads::with_bodies(body), 0, [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        for _ in 0..heads.count(&buffer[..count]) {
            number += 1;
            for part in answer(number).as_bytes().chunks(piece) {
                if stream.write_all(part).is_err() {
                    return;
                }
            }
            if close {
                return;
            }
        }
    }
}

fn hello(number: u64) -> String {
    format!("HTTP/1.1 200 OK\r\nDate: {number}\r\nContent-Length: 13\r\n\r\nHello, World!")
}

/// Three connections, one request in flight on each.
fn plan() -> Plan {
    Plan {
        path: "/".into(),
        body: 0,
        close: false,
        connections: 3,
        pipeline: 1,
        rate: None,
        streams: None,
        tls: false,
        http3: false,
    }
}

/// Runs shortly against such a server; the report must have right answers, and wrong ones as told.
#[track_caller]
fn check(answer: Answers, piece: usize, pipeline: usize, expect_errors: bool) {
    let plan = Plan { pipeline, ..plan() };
    let report = Load::connect(serve(answer, piece), &plan).unwrap().run(Duration::from_millis(30)).unwrap();
    assert!(report.requests > 0);
    assert_eq!(report.errors > 0, expect_errors, "{} errors", report.errors);
    assert_eq!(report.latency.len(), report.requests);
}

#[test]
fn counts_right_answers_whatever_the_pieces() {
    for (piece, pipeline) in [(1, 1), (1, 5), (7, 16), (60, 3), (4096, 1), (4096, 16)] {
        check(hello, piece, pipeline, false);
    }
}

/// Answers and requests of less than a record, of several, and of more than one read takes.
#[test]
fn counts_right_answers_over_tls() {
    let long = |_| format!("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n{}", "x".repeat(200_000));
    let cases: [(Answers, usize, usize, usize); 5] =
        [(hello, 1, 1, 0), (hello, 60, 16, 0), (hello, 4096, 3, 100_000), (long, 300_000, 1, 0), (long, 7000, 2, 0)];
    for (answer, piece, pipeline, body) in cases {
        let plan = Plan { tls: true, pipeline, body, ..plan() };
        let addr = serve_by_tls(answer, piece, body);
        assert!(ask(addr, &plan).unwrap().head.starts_with(b"HTTP/1.1 200"));
        let report = Load::connect(addr, &plan).unwrap().run(Duration::from_millis(30)).unwrap();
        assert!(report.requests >= 3, "{} requests", report.requests);
        assert_eq!(report.errors, 0);
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
        true,
    );
}

#[test]
fn refuses_what_it_cannot_measure() {
    let refuse = |plan: Plan, expect: &str| {
        let error = Load::connect(serve(hello, 4096), &plan).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    refuse(Plan { pipeline: 1000, ..plan() }, "requests in flight");
    refuse(Plan { pipeline: 2, close: true, ..plan() }, "takes one request");
    refuse(Plan { tls: true, close: true, ..plan() }, "a hand-shake for each request");
    refuse(Plan { body: usize::MAX, ..plan() }, "a batch has at most");
    refuse(Plan { rate: Some(0.0), ..plan() }, "a rate is");
    refuse(Plan { rate: Some(f64::NAN), ..plan() }, "a rate is");
    let missing = serve(|_| "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".into(), 4096);
    let plan = Plan { path: "/x".into(), ..plan() };
    assert_eq!(Load::connect(missing, &plan).unwrap_err().to_string(), "GET /x answers 404");
}

#[test]
fn posts_more_than_a_socket_takes_at_once() {
    for body in [1, 5000, 8 * 1024 * 1024] {
        let plan = Plan { body, ..plan() };
        let addr = serve_requests(hello, 4096, body, false);
        let report = Load::connect(addr, &plan).unwrap().run(Duration::from_millis(30)).unwrap();
        assert!(report.requests >= 3, "{} requests", report.requests);
        assert_eq!(report.errors, 0);
    }
}

#[test]
fn each_request_on_a_connection_of_its_own() {
    let plan = Plan { close: true, ..plan() };
    let addr = serve_requests(hello, 4096, 0, true);
    let report = Load::connect(addr, &plan).unwrap().run(Duration::from_millis(100)).unwrap();
    assert!(report.requests > 3, "{} requests", report.requests);
    assert_eq!(report.errors, 0);
    assert_eq!(ask(addr, &plan).unwrap().body, b"Hello, World!");
}

/// The times are fixed: so many requests whatever the server does.
#[test]
fn an_open_load_asks_as_often_as_it_was_told() {
    let plan = Plan { rate: Some(1000.0), ..plan() };
    let report = Load::connect(serve(hello, 4096), &plan).unwrap().run(Duration::from_millis(200)).unwrap();
    assert_eq!((report.requests, report.errors), (200, 0));
    assert_eq!(report.latency.len(), 200);
}

/// A server that stalls once for a tenth of a second delays a hundred requests, though there is one connection to ask on.
#[test]
fn an_open_load_counts_the_wait_of_requests_that_could_not_be_sent() {
    let stalls_once = |number| {
        if number == 50 {
            thread::sleep(Duration::from_millis(100));
        }
        hello(number)
    };
    let plan = Plan { rate: Some(1000.0), connections: 1, ..plan() };
    let report = Load::connect(serve(stalls_once, 4096), &plan).unwrap().run(Duration::from_millis(200)).unwrap();
    assert_eq!((report.requests, report.errors), (200, 0));
    let waited = report.latency.count_between(40_000_000, u64::MAX);
    assert!(waited >= 50, "{waited} requests waited for 40 ms");
}

#[test]
fn a_schedule_is_counted_from_its_start() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut schedule = Schedule::new(start, at(100), Some(100.0));
    assert_eq!(schedule.next(start), Some(start));
    assert_eq!(schedule.next(at(9)), None);
    assert_eq!(schedule.next(at(25)), Some(at(10)));
    assert_eq!(schedule.next(at(25)), Some(at(20)));
    assert_eq!(schedule.next(at(25)), None);
    assert_eq!((schedule.left(), schedule.is_over(at(500))), (7, false));
    for number in 3..10 {
        assert_eq!(schedule.next(at(500)), Some(at(10 * number)));
    }
    assert_eq!((schedule.next(at(500)), schedule.left(), schedule.is_over(at(500))), (None, 0, true));

    let mut closed = Schedule::new(start, at(100), None);
    assert_eq!((closed.next(at(99)), closed.is_over(at(99))), (Some(at(99)), false));
    assert_eq!((closed.next(at(100)), closed.left(), closed.is_over(at(100))), (None, 0, true));
}

#[test]
fn idle_connections_stay_open() {
    let open = open_idle(serve(hello, 4096), "/", 20).unwrap();
    assert_eq!(open.len(), 20);
    for mut stream in open {
        stream.set_nonblocking(true).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
