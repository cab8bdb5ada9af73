//! Right answers from every route, over every way that HTTP/1.1 has to ask.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::served::Served;
use crate::wire::{Answer, Client, Framing, pattern, request};

/// The whole of an answer but its date, which is checked for its form.
#[track_caller]
fn check(answer: &Answer, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    assert_eq!(answer.status, status, "{answer:?}");
    let mut told: Vec<(&str, &str)> = answer.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let dates = told.extract_if(.., |(name, _)| *name == "date").collect::<Vec<_>>();
    let [(_, date)] = dates[..] else { panic!("one date: {answer:?}") };
    assert!(date.len() == 29 && date.ends_with(" GMT") && date.as_bytes()[3..5] == *b", ", "a date: {date}");
    let mut expect = headers.to_vec();
    expect.push(("server", "shardwise"));
    told.sort_unstable();
    expect.sort_unstable();
    assert_eq!(told, expect);
    assert!(answer.body == body, "{} bytes of body are not the {} expected", answer.body.len(), body.len());
}

pub(crate) fn plaintext(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let answer = served.client().ask("GET /plaintext");
    let headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", "13")];
    check(&answer, 200, &headers, b"Hello, World!");
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn json(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let answer = served.client().ask("GET /json");
    let headers = [("content-type", "application/json"), ("content-length", "27")];
    check(&answer, 200, &headers, br#"{"message":"Hello, World!"}"#);
}

pub(crate) fn echo(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for size in [0, 1, 100, 16 * 1024, 1024 * 1024] {
        let body = pattern(size);
        let length = size.to_string();
        let fixed = [format!("Content-Length: {length}\r\n\r\n").as_bytes(), &body].concat();
        // What comes again, heads of requests and of answers, is known by then, and goes other ways.
        for _ in 0..6 {
            let answer = post(&mut client, "Content-Type: application/x-own; a=b\r\n", fixed.clone());
            check(&answer, 200, &[("content-type", "application/x-own; a=b"), ("content-length", &length)], &body);
        }

        let answer = post(&mut client, "Content-Type: text/plain\r\n", chunked(&body));
        check(&answer, 200, &[("content-type", "text/plain"), ("transfer-encoding", "chunked")], &body);
        assert_eq!(answer.framing, Framing::Chunked);
    }
    let answer = post(&mut client, "", b"\r\n".to_vec());
    check(&answer, 200, &[("content-length", "0")], b"");
}

/// By the hash's published vectors.
pub(crate) fn sum(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for (body, expect) in [
        ("", r#"{"bytes":0,"hash":2166136261}"#),
        ("a", r#"{"bytes":1,"hash":3826002220}"#),
        ("foobar", r#"{"bytes":6,"hash":3214735720}"#),
    ] {
        let head = format!("POST /sum HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send([head.as_bytes(), body.as_bytes()].concat());
        assert_eq!(client.answer().text(), expect, "{body:?}");
    }
}

/// Posts while the answer is read, as neither side holds a mebibyte for the other.
#[track_caller]
fn post(client: &mut Client, headers: &str, rest: Vec<u8>) -> Answer {
    let mut writer = client.writer();
    let head = format!("POST /echo HTTP/1.1\r\nHost: here\r\n{headers}");
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&[head.as_bytes(), &rest].concat()).expect("the server reads"));
        client.answer()
    })
}

/// A chunked body in chunks of 1, 2, 4 … bytes, with the line before it.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    let (mut left, mut size) = (body, 1);
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(size.min(left.len()));
        write!(out, "{:x}\r\n", chunk.len()).expect("a vector takes it");
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        (left, size) = (rest, size * 2);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

pub(crate) fn bytes(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for count in [0, 1, 1000, 1024, 1025, 64 * 1024, 64 * 1024 + 1, 10_000_000] {
        let answer = client.ask(&format!("GET /bytes/{count}"));
        let length = count.to_string();
        check(
            &answer,
            200,
            &[("content-type", "application/octet-stream"), ("content-length", &length)],
            &vec![b'x'; count],
        );
    }
    for wrong in ["x", "-1", "1.5", "99999999999999999999999"] {
        let answer = client.ask(&format!("GET /bytes/{wrong}"));
        assert!(answer.status == 400 && answer.text().contains(wrong), "{answer:?}");
    }
}

pub(crate) fn streams(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for count in [0, 1, 2, 100] {
        let answer = client.ask(&format!("GET /stream/{count}"));
        let headers = [("content-type", "application/octet-stream"), ("transfer-encoding", "chunked")];
        check(&answer, 200, &headers, &vec![b'x'; count * 16 * 1024]);
    }
}

pub(crate) fn headers(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    client.send(
        "GET /headers HTTP/1.1\r\nZ: 1\r\nhOST: here\r\nA: 2\r\nz:   3\t\r\nQuote: \"\\\r\nEmpty:\r\nZ: 4\r\n\r\n",
    );
    let answer = client.answer();
    let expect = r#"{"z":["1","3","4"],"host":["here"],"a":["2"],"quote":["\"\\"],"empty":[""]}"#;
    let length = expect.len().to_string();
    check(&answer, 200, &[("content-type", "application/json"), ("content-length", &length)], expect.as_bytes());
}

pub(crate) fn sleep(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    let begin = Instant::now();
    let answer = client.ask("GET /sleep/50");
    assert!(begin.elapsed() >= Duration::from_millis(50), "never early");
    check(&answer, 204, &[], b"");
    check(&client.ask("GET /sleep/0"), 204, &[], b"");
}

pub(crate) fn head_everywhere(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for path in
        ["/plaintext", "/json", "/bytes/7", "/bytes/100000", "/stream/2", "/headers", "/sleep/1", "/shard", "/no"]
    {
        let head = client.ask(&format!("HEAD {path}"));
        let mut get = client.ask(&format!("GET {path}"));
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        // A HEAD may leave out what only the body makes known (RFC 9110 section 9.3.2).
        get.headers.retain(|(name, _)| !matches!(&**name, "date" | "transfer-encoding"));
        let mut told = head.headers;
        told.retain(|(name, _)| !matches!(&**name, "date" | "transfer-encoding"));
        assert_eq!(told, get.headers, "{path}");
    }
}

pub(crate) fn wrong_paths_and_methods(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for path in ["/", "/nope", "/plaintext/", "/plaintext/more", "/bytes", "/bytes/", "//plaintext"] {
        assert_eq!(client.ask(&format!("GET {path}")).status, 404, "{path}");
    }
    let table = [
        ("DELETE /json", "GET, HEAD"),
        ("POST /plaintext", "GET, HEAD"),
        ("GET /echo", "POST"),
        ("HEAD /echo", "POST"),
        ("BREW /bytes/1", "GET, HEAD"),
    ];
    for (line, allow) in table {
        let answer = client.ask(line);
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{line}");
    }
    assert_eq!(client.ask("GET /plaintext?a=b").text(), "Hello, World!");
    assert_eq!(client.ask("GET http://there/plaintext").text(), "Hello, World!");
}

pub(crate) fn keep_alive_and_close(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    for _ in 0..1000 {
        let answer = client.ask("GET /plaintext");
        assert!(answer.text() == "Hello, World!" && !answer.closes());
    }
    client.send("GET /json HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    let answer = client.answer();
    assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    client.expect_end();

    // The end of the client's side is not the end of what it asked for.
    let mut client = served.client();
    client.send(request("GET /sleep/20"));
    client.end_output();
    assert_eq!(client.answer().status, 204);
    client.expect_end();
}

pub(crate) fn old_version(backend: &'static str) {
    let served = Served::start(backend, &[]);
    for (path, bytes, framing) in [
        ("/plaintext", 13, Framing::Length),
        ("/bytes/70000", 70_000, Framing::Length),
        ("/stream/2", 32 * 1024, Framing::Close),
    ] {
        let mut client = served.client();
        client.send(format!("GET {path} HTTP/1.0\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len(), answer.framing), (200, bytes, framing), "{path}");
        client.expect_end();
    }
    let mut client = served.client();
    for _ in 0..2 {
        client.send("GET /plaintext HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer().header("connection"), "keep-alive");
    }
}

/// A hundred requests of all kinds.
const PIPELINE: usize = 100;

fn pipeline() -> String {
    (0..PIPELINE)
        .map(|index| match index % 5 {
            0 => request("GET /plaintext"),
            1 => request(&format!("GET /bytes/{}", index * 37)),
            2 => request("GET /sleep/1"),
            3 => format!("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n{index:05}"),
            _ => request("GET /json"),
        })
        .collect()
}

#[track_caller]
fn check_pipeline(client: &mut Client) {
    for index in 0..PIPELINE {
        let answer = client.answer();
        let expect = match index % 5 {
            0 => "Hello, World!".to_owned(),
            1 => "x".repeat(index * 37),
            2 => String::new(),
            3 => format!("{index:05}"),
            _ => r#"{"message":"Hello, World!"}"#.to_owned(),
        };
        assert_eq!(answer.text(), expect, "answer {index}");
    }
}

pub(crate) fn pipelines(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    client.send(pipeline());
    check_pipeline(&mut client);
    // And the same again on the same connection, with an end.
    client.send(pipeline());
    client.end_output();
    check_pipeline(&mut client);
    client.expect_end();
}

pub(crate) fn byte_by_byte(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    let mut writer = client.writer();
    thread::scope(|scope| {
        scope.spawn(move || {
            for byte in pipeline().bytes() {
                writer.write_all(&[byte]).expect("the server reads");
            }
        });
        check_pipeline(&mut client);
    });
}

pub(crate) fn expectations(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    // Nobody reads the body of this one, so nobody asks for it.
    client.send("GET /plaintext HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 200);

    let mut client = served.client();
    client.send("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let interim = client.answer();
    assert_eq!((interim.status, interim.headers.len()), (100, 0));
    client.send("hello");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "hello".to_owned()));

    client.send("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nExpect: 200-ok\r\n\r\n");
    assert_eq!(client.answer().status, 417);
}

pub(crate) fn files(backend: &'static str) {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("showcase-{backend}"));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    let data = pattern(500_000);
    fs::write(root.join("data"), &data).unwrap();
    let served = Served::start(backend, &["--root", root.to_str().expect("a path of text")]);
    let mut client = served.client();
    let whole = client.ask("GET /files/data");
    let (tag, modified) = (whole.header("etag").to_owned(), whole.header("last-modified").to_owned());
    let headers = [
        ("content-type", "application/octet-stream"),
        ("content-length", "500000"),
        ("etag", &*tag),
        ("last-modified", &*modified),
        ("accept-ranges", "bytes"),
    ];
    check(&whole, 200, &headers, &data);
    check(&client.ask("HEAD /files/data"), 200, &headers, b"");
    let mut ask = |line: &str| {
        client.send(format!("GET /files/data HTTP/1.1\r\nHost: here\r\n{line}\r\n\r\n"));
        client.answer()
    };
    let part = ask(&format!("Range: bytes=400000-\r\nIf-Range: {tag}"));
    let mut headers = headers.to_vec();
    headers[1] = ("content-length", "100000");
    headers.push(("content-range", "bytes 400000-499999/500000"));
    check(&part, 206, &headers, &data[400_000..]);
    check(&ask(&format!("If-None-Match: {tag}")), 304, &[("etag", &*tag)], b"");
    assert_eq!(ask("If-Match: \"other\"").status, 412);
    assert_eq!(ask("Range: bytes=500000-").header("content-range"), "bytes */500000");
    for path in ["none", "..%2f", "%2e%2e/", ".%00"] {
        assert_eq!(client.ask(&format!("GET /files/{path}")).status, 404, "{path}");
    }
    assert_eq!(served.stopped().0, Some(0));
    assert_eq!(Served::start(backend, &[]).client().ask("GET /files/data").status, 404, "no root, no files");
    fs::remove_dir_all(&root).unwrap();
}
