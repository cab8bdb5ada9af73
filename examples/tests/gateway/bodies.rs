//! Bodies that stream: large ones, slow ones, with something behind them, and too large ones.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::gateway::{Gateway, to_one, wait_for};
use crate::lax::Lax;
use crate::served::Served;
use crate::wire::{WAIT_MAX, pattern};

pub(crate) fn large_ones_go_both_ways(backend: &'static str) {
    let showcase = Served::start(backend, &["--shards", "1"]);
    let text = to_one(&[showcase.address]).replace("prefix = \"/\"", "prefix = \"/\"\nbody_bytes_max = \"64MiB\"");
    let gateway = Gateway::start(backend, &text);
    let body = pattern(20_000_000);
    let mut client = gateway.client();
    for is_chunked in [false, true] {
        let mut writer = client.writer();
        let sent = body.clone();
        let sender = thread::spawn(move || {
            let framing = if is_chunked {
                "Transfer-Encoding: chunked".to_owned()
            } else {
                format!("Content-Length: {}", sent.len())
            };
            writer.write_all(format!("POST /echo HTTP/1.1\r\nHost: here\r\n{framing}\r\n\r\n").as_bytes())?;
            for piece in sent.chunks(100_000) {
                match is_chunked {
                    true => {
                        writer.write_all(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())?
                    }
                    false => writer.write_all(piece)?,
                }
            }
            if is_chunked { writer.write_all(b"0\r\n\r\n") } else { Ok(()) }
        });
        assert!(client.answer().body == body, "chunked: {is_chunked}");
        sender.join().expect("no panic").expect("all is taken");
    }
    assert_eq!(client.ask("GET /stream/500").body.len(), 500 * 16 * 1024);
    assert_eq!(client.ask("GET /bytes/30000000").body.len(), 30_000_000);
    gateway.stopped();
    showcase.stopped();
}

pub(crate) fn a_slow_reader_holds_up_the_server_behind(backend: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let made = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&made);
    // It sends on without end.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        assert!(stream.read(&mut [0; 4096]).expect("a request") > 0);
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while sent.is_ok() {
            sent = stream.write_all(&[&b"4000\r\n"[..], &[b'x'; 0x4000], b"\r\n"].concat());
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    let gateway = Gateway::start(backend, &to_one(&[address]));
    let mut client = TcpStream::connect(gateway.address()).expect("it accepts");
    client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").expect("a socket");
    let mut last = 0;
    wait_for("a stop", || {
        thread::sleep(Duration::from_millis(500));
        let now = made.load(Ordering::Relaxed);
        std::mem::replace(&mut last, now) == now && now > 0
    });
    assert!(last * 0x4000 < 32 << 20, "{last} pieces are on their way");
    // Whoever reads on gets more.
    let mut room = vec![0; 8 << 20];
    client.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
    client.read_exact(&mut room).expect("there is more");
    wait_for("more", || made.load(Ordering::Relaxed) > last);
    drop(client);
    server.join().expect("it ends when its reader has gone");
    gateway.stopped();
}

pub(crate) fn trailers_go_both_ways(backend: &'static str) {
    let server = Lax::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n".to_vec()
    });
    let gateway = Gateway::start(backend, &to_one(&[server.address]));
    let mut client = TcpStream::connect(gateway.address()).expect("it accepts");
    client.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
    let head = "POST / HTTP/1.1\r\nHost: here\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(format!("{head}2\r\nhi\r\n0\r\nX-Product: 7\r\n\r\n").as_bytes()).expect("a socket");
    let mut answer = Vec::new();
    while !answer.ends_with(b"0\r\nX-Sum: 6\r\n\r\n") && !answer.ends_with(b"0\r\nx-sum: 6\r\n\r\n") {
        let mut room = [0; 1024];
        let count = client.read(&mut room).unwrap_or_default();
        answer.extend_from_slice(&room[..count]);
        assert!(count > 0, "no trailers: {}", answer.escape_ascii());
    }
    let came = server.connections().concat();
    let came = String::from_utf8_lossy(&came).to_ascii_lowercase();
    assert!(came.ends_with("2\r\nhi\r\n0\r\nx-product: 7\r\n\r\n"), "{came}");
    assert!(came.contains("te: trailers\r\n"), "{came}");
    gateway.stopped();
}

pub(crate) fn what_is_too_long_is_refused(backend: &'static str) {
    let server = Lax::start();
    let text = to_one(&[server.address]).replace("prefix = \"/\"", "prefix = \"/\"\nbody_bytes_max = 1000");
    let gateway = Gateway::start(backend, &text);
    let mut client = gateway.client();
    client.send(format!("POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000)));
    assert_eq!(client.answer().status, 200);
    client.send("POST /b HTTP/1.1\r\nHost: here\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.answer().status, 413, "by what is announced");
    let mut client = gateway.client();
    client.send("POST /c HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("3e8\r\n{}\r\n", "x".repeat(1000)));
    client.send("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 413, "by what comes");
    assert_eq!(server.seen(), ["/a"], "nothing that was too long was there in whole");
    gateway.stopped();
}
