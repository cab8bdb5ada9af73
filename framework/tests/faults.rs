//! What goes wrong in one exchange stays there: bodies that are too long, peers that are too slow, handlers that panic,
//! over real sockets, while others are served.

#![allow(clippy::disallowed_methods, reason = "clients outside of any shard: real threads and a real clock")]

mod served;
mod wire;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use shardwise::BackendKind::{self, Epoll, Polling, Uring};
use shardwise::prelude::*;
use shardwise::{Config, Stream};

use served::{Served, check};
use wire::{Client, request};

macro_rules! on_each_backend {
    ($($test:ident),* $(,)?) => {
        mod uring {
            $(#[test] fn $test() { super::check_on(super::Uring, super::$test); })*
        }

        mod epoll {
            $(#[test] fn $test() { super::check_on(super::Epoll, super::$test); })*
        }

        mod polling {
            $(#[test] fn $test() { super::check_on(super::Polling, super::$test); })*
        }
    };
}

on_each_backend! {
    long_bodies_are_refused,
    slow_heads_are_refused,
    slow_bodies_are_refused,
    idle_connections_end,
    a_panic_is_a_500_and_the_shard_lives_on,
    a_handler_that_blocks_ends_no_idle_connection,
    work_ends_with_its_client,
    a_client_that_has_only_ended_its_side_is_answered,
}

fn check_on(kind: BackendKind, test: fn(&Served)) {
    keep_the_log();
    check(kind, app, test);
}

/// Bytes of a body that handlers gather.
const BODY_BYTES_MAX: u64 = 1000;

/// The time limits of this app: short, so that the tests are.
const TIME_MAX: Duration = Duration::from_millis(150);

fn app() -> App {
    let config =
        Config { head_time_max: TIME_MAX, body_pause_max: TIME_MAX, idle_time_max: 3 * TIME_MAX, ..Config::default() };
    App::new()
        .config(config)
        .body_limit(BODY_BYTES_MAX)
        .get("/", || "good")
        .post("/length", async |body: Bytes| body.len().to_string())
        .get("/wait", async |shard: Shard| {
            shard.sleep(TIME_MAX).await;
            "waited"
        })
        .get("/scoped", async |shard: Shard, scope: ScopeHandle| {
            let query = scope.child("query").unwrap();
            let _ = query.run(std::future::pending::<()>()).await;
            reasons(&shard).borrow_mut().extend(query.reason().map(|reason| reason.to_string()));
            "given up"
        })
        .get("/reasons", |shard: Shard| reasons(&shard).borrow().join("; "))
        .get("/block", || {
            thread::sleep(4 * TIME_MAX);
            "blocked"
        })
        .get("/panic/plain", || -> &'static str { panic!("plain boom") })
        .get("/panic/later", async |shard: Shard| -> &'static str {
            shard.sleep(Duration::from_millis(1)).await;
            panic!("late boom")
        })
        .post("/panic/body", async |_: Bytes| -> &'static str { panic!("boom of the body") })
        .get("/panic/stream", || {
            Stream::new(async |mut sink| {
                sink.send("begun").await?;
                panic!("boom in the stream")
            })
        })
}

/// Why work in scopes has ended, on this shard.
fn reasons(shard: &Shard) -> Rc<RefCell<Vec<String>>> {
    shard.local(RefCell::default)
}

/// Does something while a good client asks, which must not notice.
fn beside_a_good_client(served: &Served, work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let work = scope.spawn(work);
        let mut client = served.client();
        while !work.is_finished() {
            assert_eq!(client.ask("GET /").text(), "good");
        }
        if let Err(panic) = work.join() {
            std::panic::resume_unwind(panic);
        }
        assert_eq!(client.ask("GET /").text(), "good");
    });
}

fn long_bodies_are_refused(served: &Served) {
    beside_a_good_client(served, || {
        for length in [0, 1, BODY_BYTES_MAX] {
            let mut client = served.client();
            client.send(post(length));
            client.send(vec![b'x'; length as usize]);
            assert_eq!(client.answer().text(), length.to_string());
        }
        // Announced: refused before it comes, and what would come is not waited for.
        for length in [BODY_BYTES_MAX + 1, 1 << 20, u64::MAX] {
            let mut client = served.client();
            client.send(post(length));
            let answer = client.answer();
            assert!(answer.status == 413 && answer.text().contains("1000"), "{answer:?}");
        }
        // Not announced: refused when it is too long.
        let mut client = served.client();
        client.send("POST /length HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("1f4\r\n".to_owned() + &"x".repeat(500) + "\r\n");
        client.send("1f5\r\n".to_owned() + &"x".repeat(501) + "\r\n");
        assert_eq!(client.answer().status, 413);
        // A client that waits to be asked for its body is spared sending it.
        let mut client = served.client();
        client.send("POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!(client.answer().status, 413);
        // A rest that is short is read over, and the connection goes on.
        let mut client = served.client();
        client.send(post(2000) + &"x".repeat(2000));
        assert_eq!(client.answer().status, 413);
        assert_eq!(client.ask("GET /").text(), "good");
    });
}

fn post(length: u64) -> String {
    format!("POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n")
}

/// The answer is a 408 that comes after the time limit, not long after it, and ends the connection.
#[track_caller]
fn expect_timeout(client: &mut Client, begin: Instant) {
    let answer = client.answer();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(begin.elapsed() >= TIME_MAX, "never early");
    assert!(answer.closes(), "{answer:?}");
    client.expect_end();
}

fn slow_heads_are_refused(served: &Served) {
    beside_a_good_client(served, || {
        // One that stops.
        let (mut client, begin) = (served.client(), Instant::now());
        client.send("GET / HTTP/1.1\r\nHo");
        expect_timeout(&mut client, begin);
        // One that goes on, slowly: the whole head counts.
        let (mut client, begin) = (served.client(), Instant::now());
        let mut writer = client.writer();
        thread::scope(|scope| {
            scope.spawn(move || {
                for byte in b"GET / HTTP/1.1\r\nHost: here\r\nSlow: ".iter().chain([&b'x'; 1000]) {
                    if writer.write_all(&[*byte]).is_err() {
                        break;
                    }
                    thread::sleep(TIME_MAX / 20);
                }
            });
            assert_eq!(client.answer().status, 408);
            assert!(begin.elapsed() < 10 * TIME_MAX, "a byte now and then does not prolong it");
        });
        // The second of a pipeline.
        let mut client = served.client();
        client.send(request("GET /") + "GET / HT");
        assert_eq!(client.answer().text(), "good");
        expect_timeout(&mut client, Instant::now() - TIME_MAX);
    });
}

fn slow_bodies_are_refused(served: &Served) {
    beside_a_good_client(served, || {
        let (mut client, begin) = (served.client(), Instant::now());
        client.send(post(10) + "x");
        expect_timeout(&mut client, begin);
    });
}

fn idle_connections_end(served: &Served) {
    let (mut client, begin) = (served.client(), Instant::now());
    assert_eq!(client.ask("GET /").text(), "good");
    client.expect_end();
    assert!(begin.elapsed() >= 3 * TIME_MAX, "not before its time");
}

fn a_panic_is_a_500_and_the_shard_lives_on(served: &Served) {
    let mut waiting: Vec<_> = (0..8).map(|_| served.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(request("GET /wait")));
    let mut client = served.client();
    for path in ["GET /panic/plain", "GET /panic/later", "POST /panic/body"] {
        let answer = client.ask(path);
        assert!(answer.status == 500 && !answer.text().contains("boom"), "{answer:?}");
    }
    // An answer that has begun can only be broken off.
    let mut broken = served.client();
    broken.send(request("GET /panic/stream"));
    assert!(!matches!(broken.next(false), Ok(Some(_))), "no whole answer");

    for client in &mut waiting {
        assert_eq!(client.answer().text(), "waited", "a request in hand is unharmed");
    }
    assert_eq!(client.ask("GET /").text(), "good");
    assert_eq!(served.metric("shardwise_handler_panics_total"), 4);
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8(log).expect("text");
    for panic in ["plain boom", "late boom", "boom of the body", "boom in the stream"] {
        let line = log.lines().find(|line| line.contains(panic)).unwrap_or_else(|| panic!("{panic} in {log}"));
        assert!(line.contains("ERROR") || line.contains("WARN"), "{line}");
    }
}

/// Time limits count from when something is waited for, and not from the beginning of the turn, which a handler has made long:
/// the printing of a panic, say.
fn a_handler_that_blocks_ends_no_idle_connection(served: &Served) {
    let mut client = served.client();
    assert_eq!(client.ask("GET /block").text(), "blocked");
    thread::sleep(TIME_MAX);
    assert_eq!(client.ask("GET /").text(), "good", "the connection has been idle for a third of its limit");
    // What arrives while a handler blocks has arrived, although its limit has passed when the shard looks again.
    let mut blocking = served.client();
    blocking.send(request("GET /block"));
    thread::sleep(TIME_MAX / 3);
    client.send(request("GET /"));
    assert_eq!(client.answer().text(), "good", "the request came in time");
    assert_eq!(blocking.answer().text(), "blocked");
}

/// What was logged since the first call.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn keep_the_log() {
    struct Log;

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LOG.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).init());
}

fn work_ends_with_its_client(served: &Served) {
    let mut client = served.client();
    // By an end, and by a reset: that is what the system sends for a socket that is closed with something unread in it.
    for before in ["", "GET /"] {
        let mut leaver = served.client();
        if !before.is_empty() {
            leaver.send(request(before));
        }
        leaver.send(request("GET /scoped"));
        // The server is at work, and what it said is here.
        thread::sleep(TIME_MAX);
        drop(leaver);
    }
    let deadline = Instant::now() + wire::WAIT_MAX;
    let expect = "client disconnected → request 1 → query; client disconnected → request 2 → query";
    while client.ask("GET /reasons").text() != expect {
        assert!(Instant::now() < deadline, "{}", client.ask("GET /reasons").text());
        thread::sleep(Duration::from_millis(5));
    }
}

fn a_client_that_has_only_ended_its_side_is_answered(served: &Served) {
    for (path, expect) in [("GET /wait", "waited"), ("GET /scoped", "given up")] {
        let mut client = served.client();
        client.send(request(path));
        client.end_output();
        assert_eq!(client.answer().text(), expect);
        client.expect_end();
    }
}
