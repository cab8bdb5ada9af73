//! Real files over real sockets, on each backend: links that lead out, a pipe among the files, a file that shrinks, ranges
//! beyond 4 GiB's half, many downloads at once, beside clients that do not read.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "clients outside of any shard: real threads and a real clock")]

mod served;
mod wire;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use shardwise::BackendKind::{Epoll, Polling, Uring};
use shardwise::{App, Files};

use served::{Served, check};
use wire::{Client, WAIT_MAX, pattern};

macro_rules! on_each_backend {
    ($($test:ident),* $(,)?) => {
        mod uring {
            $(#[test] fn $test() { super::check(super::Uring, super::app, super::$test); })*
        }

        mod epoll {
            $(#[test] fn $test() { super::check(super::Epoll, super::app, super::$test); })*
        }

        mod polling {
            $(#[test] fn $test() { super::check(super::Polling, super::app, super::$test); })*
        }
    };
}

on_each_backend! {
    nothing_leads_out_and_nothing_waits,
    ranges_reach_the_edges_of_numbers,
    a_file_that_shrinks_ends_the_connection,
    a_hundred_downloads_at_once,
    clients_that_do_not_read_keep_nobody,
}

/// Bytes of the file that many ask for.
const LARGE: usize = 1_000_003;

/// Bytes of the sparse file: the pieces of it that matter lie at 2 and 4 GiB.
const SPARSE: u64 = (1 << 32) + 100;

/// What is served, made once for all tests, in place of what an earlier run has left.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("files");
        let _ = fs::remove_dir_all(&folder);
        let root = folder.join("root");
        fs::create_dir_all(root.join("within")).unwrap();
        fs::write(folder.join("secret"), "secret").unwrap();
        fs::write(root.join("within/file"), "inside").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink(folder.join("secret"), root.join("absolute")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        // Not every system has the call that makes one in a directory.
        assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
        fs::write(root.join("large"), pattern(LARGE)).unwrap();
        let mut sparse = File::create(root.join("sparse")).unwrap();
        sparse.set_len(SPARSE).unwrap();
        for at in [1 << 31, 1 << 32] {
            sparse.seek(SeekFrom::Start(at - 4)).unwrap();
            sparse.write_all(b"beforeafter").unwrap();
        }
        folder
    })
}

fn app() -> App {
    let files = Files::new(folder().join("root"));
    App::new().get("/files/{*path}", files.clone()).get("/unchanging/{*path}", files.unchanging())
}

/// A request with one more header.
fn request(path: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\n{header}\r\n\r\n")
}

fn nothing_leads_out_and_nothing_waits(server: &Served) {
    let mut client = server.client();
    assert_eq!(client.ask("GET /files/within/file").text(), "inside");
    for path in [
        "out",
        "up/secret",
        "absolute",
        "loop",
        "pipe",
        "within",
        "..%2fsecret",
        "%2e%2e/secret",
        "/etc/passwd",
        "within/../../secret",
    ] {
        assert_eq!(client.ask(&format!("GET /files/{path}")).status, 404, "{path}");
    }
    assert_eq!(client.ask("GET /files/within/file").text(), "inside");
}

fn ranges_reach_the_edges_of_numbers(server: &Served) {
    let mut client = server.client();
    let mut ask = |range: &str| {
        client.send(request("/files/sparse", &format!("Range: bytes={range}")));
        client.answer()
    };
    for edge in [1u64 << 31, 1 << 32] {
        let part = ask(&format!("{}-{}", edge - 4, edge + 6));
        assert_eq!((part.status, part.text().as_str()), (206, "beforeafter"), "{edge}");
        assert_eq!(part.header("content-range"), format!("bytes {}-{}/{SPARSE}", edge - 4, edge + 6));
        let part = ask(&format!("{}-{}", edge - 1, edge));
        assert_eq!(part.text(), "or");
    }
    let suffix = ask("-104");
    assert_eq!((suffix.status, &suffix.body[..11]), (206, &b"beforeafter"[..]));
    assert_eq!(ask(&format!("{SPARSE}-")).status, 416);
    assert_eq!(ask(&format!("0-0,{}-", SPARSE - 1)).status, 206);
    client = server.client();
    let head = client.ask("HEAD /files/sparse");
    assert_eq!(head.header("content-length"), SPARSE.to_string());
}

/// It is never padded, and never longer than announced.
fn a_file_that_shrinks_ends_the_connection(server: &Served) {
    let name = format!("shrinking-{}", server.address.port());
    let path = folder().join("root").join(&name);
    let data = pattern(64 << 20);
    fs::write(&path, &data).unwrap();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.write_all(wire::request(&format!("GET /files/{name}")).as_bytes()).unwrap();
    // The head is there, and what the sockets hold; the rest is not asked for until the file is short.
    let mut received = vec![0; 1000];
    stream.read_exact(&mut received).unwrap();
    thread::sleep(Duration::from_millis(100));
    File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    // An end of the connection, in whatever way.
    let _ = stream.read_to_end(&mut received);
    let body = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let body = &received[body..];
    assert!(body.len() < data.len() && body == &data[..body.len()], "{} bytes", body.len());
    fs::remove_file(&path).unwrap();
    assert_eq!(server.client().ask("GET /files/within/file").text(), "inside");
}

fn a_hundred_downloads_at_once(server: &Served) {
    let expect = pattern(LARGE);
    let paths = ["/files/large", "/unchanging/large"];
    thread::scope(|scope| {
        for at in 0..100usize {
            let (server, expect) = (&server, &expect);
            scope.spawn(move || {
                let mut client = Client::connect(server.address);
                let whole = client.ask(&format!("GET {}", paths[at % 2]));
                assert!(whole.status == 200 && whole.body == *expect);
                let start = at * 10_000;
                client.send(request(paths[at / 2 % 2], &format!("Range: bytes={start}-")));
                let part = client.answer();
                assert!(part.status == 206 && part.body == expect[start..], "from {start}");
            });
        }
    });
}

/// They may hold all pipes that a shard has; the others' files are read then.
fn clients_that_do_not_read_keep_nobody(server: &Served) {
    let expect = pattern(LARGE);
    let stalled: Vec<_> = (0..40)
        .map(|_| {
            let mut client = TcpStream::connect(server.address).unwrap();
            client.write_all(wire::request("GET /unchanging/sparse").as_bytes()).unwrap();
            client.set_read_timeout(Some(WAIT_MAX)).unwrap();
            client.read_exact(&mut [0; 1000]).unwrap();
            client
        })
        .collect();
    for start in [0, 1, 4097, 300_001] {
        let mut client = server.client();
        client.send(request("/unchanging/large", &format!("Range: bytes={start}-")));
        let part = client.answer();
        assert!(part.status == 206 && part.body == expect[start..], "from {start}");
    }
    drop(stalled);
    assert_eq!(server.client().ask("GET /files/within/file").text(), "inside");
}
