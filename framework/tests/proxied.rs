//! A server behind a proxy, over real sockets: what a handler and the access log learn of the client is what the PROXY header
//! says, whoever wrote it: a table of bytes, or curl.

#![allow(clippy::disallowed_methods, reason = "clients outside of any shard: real threads and a real clock")]

mod served;
mod wire;

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{io, io::Write};

use shardwise::BackendKind::{self, Epoll, Polling, Uring};
use shardwise::prelude::*;
use shardwise::{Config, ConnectInfo, layers};

use served::{Served, check};
use wire::request;

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
    headers_of_both_versions_name_the_client,
    curl_names_itself,
    who_sends_no_header_is_closed_and_counted,
}

fn check_on(kind: BackendKind, test: fn(&Served)) {
    keep_the_log();
    check(kind, app, test);
}

fn app() -> App {
    let config = Config { proxy_protocol: true, ..Config::default() };
    App::new().config(config).layer(layers::access_log()).get("/ip", |ConnectInfo(peer): ConnectInfo| peer.to_string())
}

fn headers_of_both_versions_name_the_client(served: &Served) {
    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
        \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xdc\x04\x01\xbb";
    for (header, expect) in
        [(&b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"[..], "192.0.2.7:56324"), (binary, "[2001:db8::7]:56324")]
    {
        let mut client = served.client();
        client.send([header, request("GET /ip").as_bytes()].concat());
        assert_eq!(client.answer().text(), expect);
        assert_eq!(client.ask("GET /ip").text(), expect, "for the whole connection");
        assert!(log().contains(&format!("peer={expect}")), "{}", log());
    }
}

/// Its header names the two ends of the connection that it has.
fn curl_names_itself(served: &Served) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "--haproxy-protocol", "-w", " %{local_ip}:%{local_port}"]);
    match curl.arg(format!("http://{}/ip", served.address)).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let (told, own) = said.split_once(' ').expect("what curl was told, and what it knows");
            assert_eq!(told, own, "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => println!("skipped: there is no curl here"),
        Err(error) => panic!("{error}"),
    }
}

fn who_sends_no_header_is_closed_and_counted(served: &Served) {
    let refused = || served.metric("shardwise_proxy_headers_refused_total{");
    let before = refused();
    let mut client = served.client();
    client.send(request("GET /ip"));
    assert_eq!(client.next(false), Ok(None), "not a word");
    assert_eq!(refused(), before + 1);
}

// ---- the log -----------------------------------------------------------------------------------------------------------

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn log() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

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

    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_writer(|| Log).with_ansi(false).init());
}
