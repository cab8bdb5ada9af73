//! Bad input gets a clear error, its connection is closed, and nobody else notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::malformed::TABLE;
use crate::served::Served;
use crate::wire::{Client, request};

pub(crate) fn malformed_requests_are_refused_and_others_served(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let over = Over(is_over);
        let clients = (0..4).map(|_| served.client());
        let (begun, all_begun) = mpsc::channel();
        let good: Vec<_> = clients
            .map(|client| {
                let begun = begun.clone();
                scope.spawn(move || ask_well(client, &begun, is_over))
            })
            .collect();
        drop(begun);
        good.iter().for_each(|_| all_begun.recv().expect("each good client is served"));
        for (request, status, text) in TABLE {
            check(&served, request.as_bytes(), *status, text);
        }
        let head = |line: &str, fields: String| format!("{line} HTTP/1.1\r\nHost: here\r\n{fields}\r\n");
        let long_target = head(&format!("GET /{}", "a".repeat(9_000)), String::new());
        check(&served, long_target.as_bytes(), 414, "target");
        let long_field = head("GET /plaintext", format!("A: {}\r\n", "a".repeat(20_000)));
        check(&served, long_field.as_bytes(), 431, "too long");
        let endless = "GET /plaintext HTTP/1.1\r\nA: ".to_owned() + &"a".repeat(100_000);
        check(&served, endless.as_bytes(), 431, "too long");
        let many_fields = head("GET /plaintext", (0..500).map(|index| format!("A{index}: b\r\n")).collect());
        check(&served, many_fields.as_bytes(), 431, "too many");
        // A good request before the bad one is answered first.
        let mut client = served.client();
        client.send(request("GET /plaintext") + "bad\r\n\r\n");
        assert_eq!(client.answer().text(), "Hello, World!");
        assert_eq!(client.answer().status, 400);
        client.expect_end();
        drop(over);
        for asking in good {
            asking.join().expect("no good client sees an error");
        }
    });
    let (code, log) = served.stopped();
    assert_eq!(code, Some(0));
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

/// The error is told in whole, and then the connection ends.
#[track_caller]
fn check(served: &Served, request: &[u8], status: u16, text: &str) {
    let mut client = served.client();
    client.send(request);
    let answer = client.answer();
    let told = String::from_utf8_lossy(&request[..request.len().min(80)]);
    assert_eq!(answer.status, status, "{told:?}: {}", answer.text());
    assert!(answer.text().contains(text) && answer.closes(), "{told:?}: {answer:?}");
    client.expect_end();
}

/// Says so when dropped: at the end, or when a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks without pause, and says when it has begun to, until told that it is over.
fn ask_well(mut client: Client, begun: &Sender<()>, is_over: &AtomicBool) {
    let mut ask = || assert_eq!(client.ask("GET /plaintext").text(), "Hello, World!");
    ask();
    begun.send(()).expect("somebody waits for it");
    while !is_over.load(Ordering::Relaxed) {
        ask();
    }
    ask();
}
