//! What is no HTTP any more: WebSockets through the gateway, whatever the client speaks; and what is no request for one.

use std::net::TcpStream;

use tungstenite::Message;

use crate::frames::Frames;
use crate::gateway::{Gateway, to_one};
use crate::lax::Lax;
use crate::served::Served;
use crate::wire::{WAIT_MAX, pattern};

pub(crate) fn web_sockets_go_through(backend: &'static str) {
    let showcase = Served::start(backend, &["--shards", "1"]);
    let gateway = Gateway::start(backend, &to_one(&[showcase.address]));
    let stream = TcpStream::connect(gateway.address()).expect("it accepts");
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
    let (mut socket, response) = tungstenite::client("ws://here/ws", stream).expect("an upgrade");
    assert_eq!(response.status().as_u16(), 101);
    for count in [0, 5, 1000, 300_000] {
        socket.send(Message::binary(pattern(count))).expect("an open socket");
        assert!(socket.read().expect("a message").into_data() == pattern(count), "{count} bytes");
    }
    socket.close(None).expect("an open socket");
    while socket.read().is_ok() {}
    drop(socket);
    // The same connection's shard serves others all the while, and the line is written when all is over.
    assert_eq!(gateway.client().ask("GET /plaintext").text(), "Hello, World!");
    let log = gateway.stopped();
    assert!(log.lines().any(|line| line.contains("path=\"/ws\"") && line.contains("status=101")), "{log}");
    showcase.stopped();
}

/// The client speaks HTTP/2, the server behind HTTP/1.1.
pub(crate) fn and_so_they_do_over_a_stream(backend: &'static str) {
    let showcase = Served::start(backend, &["--shards", "1"]);
    let gateway = Gateway::start(backend, &to_one(&[showcase.address]));
    let mut frames = Frames::connect(gateway.address());
    let asks = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/ws"),
        (":authority", "here"),
        ("sec-websocket-version", "13"),
    ];
    frames.fields(1, &asks, false);
    // A text, masked by zeros; and the same back, unmasked.
    frames.data(1, b"\x81\x85\0\0\0\0hello", false);
    assert_eq!(frames.received(1, 7), b"\x81\x05hello");
    frames.request(3, "GET", "/plaintext", &[], true);
    assert_eq!(frames.received(3, 13), b"Hello, World!");
    frames.data(1, b"\x82\x82\0\0\0\0hi", false);
    assert_eq!(frames.received(1, 4), b"\x82\x02hi");
    frames.data(1, b"\x88\x82\0\0\0\0\x03\xe8", true);
    assert_eq!(frames.received(1, 4), b"\x88\x02\x03\xe8");
    gateway.stopped();
    showcase.stopped();
}

pub(crate) fn what_is_no_upgrade_goes_no_further(backend: &'static str) {
    let server = Lax::start();
    let gateway = Gateway::start(backend, &to_one(&[server.address]));
    // None of these may make the server behind think that HTTP is over.
    for fields in [
        "Upgrade: websocket",
        "Connection: upgrade",
        "Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Connection: upgrade\r\nUpgrade: h2c-14",
        "Connection: upgrade\r\nUpgrade: websocket, h2c",
        "Connection: upgrade, HTTP2-Settings\r\nUpgrade: TLS/1.0, h2c",
    ] {
        let mut client = gateway.client();
        client.send(format!("GET /a HTTP/1.1\r\nHost: here\r\n{fields}\r\n\r\n"));
        assert_eq!(client.answer().text(), "seen /a", "{fields}");
        assert_eq!(client.ask("GET /b").text(), "seen /b", "{fields}");
    }
    let came = server.connections().concat();
    let came = String::from_utf8_lossy(&came).to_ascii_lowercase();
    assert!(!came.contains("upgrade") && !came.contains("http2-settings"), "{came}");
    // A server that switches unasked has not answered as it should.
    let rogue =
        Lax::answering(|_| b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec());
    let gateway = Gateway::start(backend, &to_one(&[rogue.address]));
    assert_eq!(gateway.client().ask("GET /").status, 502);
}
