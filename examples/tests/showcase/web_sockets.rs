//! `/ws` and independent clients: tungstenite, and frames written by hand for what it cannot say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::protocol::{WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

use crate::served::Served;
use crate::wire::{WAIT_MAX, pattern};

type Client = WebSocket<TcpStream>;

/// A client that has opened its WebSocket.
#[track_caller]
pub(crate) fn open(served: &Served) -> Client {
    let stream = TcpStream::connect_timeout(&served.address, WAIT_MAX).expect("the server accepts");
    stream.set_read_timeout(Some(WAIT_MAX)).expect("an option of a socket");
    stream.set_write_timeout(Some(WAIT_MAX)).expect("an option of a socket");
    stream.set_nodelay(true).expect("an option of a socket");
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let url = format!("ws://{}/ws", served.address);
    let (client, answer) = tungstenite::client::client_with_config(url, stream, Some(config)).expect("a hand-shake");
    assert_eq!(answer.status(), 101);
    client
}

/// Sends while the echo is read, as neither side holds a large message for the other.
#[track_caller]
pub(crate) fn check_echo(client: &mut Client, message: &Message) {
    if message.len() < 16 * 1024 {
        client.send(message.clone()).expect("the server takes it");
    } else {
        let mut writer = WebSocket::from_raw_socket(
            client.get_ref().try_clone().expect("a descriptor"),
            tungstenite::protocol::Role::Client,
            None,
        );
        let message = message.clone();
        thread::spawn(move || writer.send(message).expect("the server takes it"));
    }
    assert!(client.read().expect("the echo comes") == *message, "the echo of {} bytes is another", message.len());
}

/// Reads to the end, of which there is no doubt.
#[track_caller]
fn check_end(client: &mut Client) {
    match client.read() {
        Err(Error::ConnectionClosed) => {}
        other => panic!("the connection ends: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn closed(client: &mut Client) -> Option<CloseFrame> {
    match client.read() {
        Ok(Message::Close(close)) => close,
        other => panic!("a close: {other:?}"),
    }
}

pub(crate) fn messages_of_all_sizes_come_back(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = open(&served);
    for size in [0, 1, 125, 126, 127, 1023, 1024, 1025, 4095, 4096, 65_535, 65_536, 1_000_000, 16 << 20] {
        check_echo(&mut client, &Message::binary(pattern(size)));
        let text: String = "Grüße, 世界 🌍 ".chars().cycle().take(size / 3).collect();
        check_echo(&mut client, &Message::text(text));
    }
    // Many that are on their way at once.
    for number in 0..1000 {
        client.write(Message::text(format!("message {number}"))).expect("the server takes it");
    }
    client.flush().expect("the server takes it");
    for number in 0..1000 {
        assert_eq!(client.read().expect("the echo comes"), Message::text(format!("message {number}")));
    }
    client.close(None).expect("it is open");
    assert_eq!(closed(&mut client), None);
    check_end(&mut client);
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn fragments_and_pings_come_in_any_order(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = open(&served);
    let parts: Vec<Vec<u8>> = (0..50).map(|number| pattern(number * 37)).collect();
    for (number, part) in parts.iter().enumerate() {
        let code = if number == 0 { Data::Binary } else { Data::Continue };
        let frame = Frame::message(part.clone(), OpCode::Data(code), number + 1 == parts.len());
        client.write(Message::Frame(frame)).expect("the server takes it");
        if number % 10 == 5 {
            client.write(Message::Ping(vec![number as u8].into())).expect("the server takes it");
            client.flush().expect("the server takes it");
            assert_eq!(client.read().expect("a pong"), Message::Pong(vec![number as u8].into()));
        }
    }
    client.flush().expect("the server takes it");
    assert_eq!(client.read().expect("the echo comes"), Message::binary(parts.concat()));
}

pub(crate) fn closes_are_answered_with_their_code(backend: &'static str) {
    let served = Served::start(backend, &[]);
    for code in [1000, 1001, 1003, 1007, 1008, 1009, 1011, 3000, 4999] {
        let mut client = open(&served);
        client.send(Message::text("first")).expect("the server takes it");
        let code = CloseCode::from(code);
        client.close(Some(CloseFrame { code, reason: "enough".into() })).expect("it is open");
        // What came before the close is still answered.
        assert_eq!(client.read().expect("the echo comes"), Message::text("first"));
        assert_eq!(closed(&mut client).map(|close| close.code), Some(code));
        check_end(&mut client);
    }
}

pub(crate) fn faults_are_told_by_their_code(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let bad_text = Frame::message(vec![0xc3, 0x28], OpCode::Data(Data::Text), true);
    let unexpected = Frame::message(vec![1], OpCode::Data(Data::Continue), true);
    let too_long = Message::binary(vec![0; (16 << 20) + 1]);
    for (message, code) in [(Message::Frame(bad_text), 1007), (Message::Frame(unexpected), 1002), (too_long, 1009)] {
        let mut client = open(&served);
        // The server may have closed before all is sent.
        let _ = client.send(message);
        assert_eq!(closed(&mut client).map(|close| u16::from(close.code)), Some(code));
    }
    assert_eq!(served.client().ask("GET /ws").status, 426);
}

/// A deflated `Hello` as RFC 7692 section 7.2.3.1 has it, and a stored block as in section 7.2.3.3.
pub(crate) fn compression_is_agreed_on_and_works(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = served.client();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("upgrade")), (101, "websocket"));
    assert!(answer.header("sec-websocket-extensions").starts_with("permessage-deflate"), "{answer:?}");
    // Behind a mask of zeros.
    client.send(b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00");
    client.send(b"\xc1\x8b\0\0\0\0\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00");
    // A kilobyte of the same comes back in a few bytes; which, is the engine's to choose.
    client.send([&b"\x82\xfe\x04\x00\0\0\0\0"[..], &[b'a'; 1024]].concat());
    client.send(b"\x88\x82\0\0\0\0\x03\xe8");
    let mut said = Vec::new();
    client.writer().read_to_end(&mut said).expect("a clean end");
    let rest = said.strip_prefix(b"\x81\x05Hello\x81\x05Hello\xc2").expect("what is short is not compressed");
    assert!(rest.len() < 40 && rest.ends_with(b"\x88\x02\x03\xe8"), "{rest:?}");
}

pub(crate) fn a_slow_reader_gets_all(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = open(&served);
    let mut writer = client.get_ref().try_clone().expect("a descriptor");
    let sends = thread::spawn(move || {
        // 24 MiB: more than the sockets and the server hold.
        let frame = [&b"\x82\xff\0\0\0\0\0\x01\0\0\0\0\0\0"[..], &[7; 65_536]].concat();
        for _ in 0..384 {
            writer.write_all(&frame).expect("the server takes it, some day");
        }
    });
    thread::sleep(Duration::from_millis(300));
    for _ in 0..384 {
        assert_eq!(client.read().expect("the echo comes").len(), 65_536);
    }
    sends.join().expect("all was sent");
}

pub(crate) fn sigterm_closes_with_1001(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let mut client = open(&served);
    check_echo(&mut client, &Message::text("before"));
    served.terminate();
    assert_eq!(closed(&mut client).map(|close| close.code), Some(CloseCode::Away));
    // The answer was written by that read; it leaves with the next.
    check_end(&mut client);
    let (code, log) = served.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("limit has passed"), "{log}");
}
