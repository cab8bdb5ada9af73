//! The cases of the Autobahn test suite, by number, over a socket and against clients that are not ours: tungstenite says
//! sections 1 to 10. Of 12 and 13 here is what they are made of, by a zlib in all its windows; `.ci/clients/compressed-web-sockets`
//! has each case of these. `net/proto/src/ws/tests/autobahn.rs` has them for the engine, cut in all ways.

use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tungstenite::Message;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::served::Served;
use crate::web_sockets::{check_echo, closed, open};

/// What becomes of a case: these messages come back, and then the connection still works, or is closed with a code.
enum Then {
    Open,
    Closed(u16),
    /// Answered without a code.
    ClosedSilently,
}
use Then::{Closed, ClosedSilently, Open};

fn data(code: Data, payload: impl Into<Vec<u8>>, is_last: bool) -> Frame {
    Frame::message(payload.into(), OpCode::Data(code), is_last)
}

fn text(payload: impl Into<Vec<u8>>) -> Frame {
    data(Data::Text, payload, true)
}

fn control(code: Control, payload: impl Into<Vec<u8>>) -> Frame {
    let mut frame = text(payload);
    frame.header_mut().opcode = OpCode::Control(code);
    frame
}

fn ping(payload: impl Into<Vec<u8>>) -> Frame {
    control(Control::Ping, payload)
}

fn close(code: u16, reason: &[u8]) -> Frame {
    control(Control::Close, [&code.to_be_bytes()[..], reason].concat())
}

/// A message in frames of `size` bytes.
fn fragments(code: Data, payload: &[u8], size: usize) -> Vec<Frame> {
    let count = payload.len().div_ceil(size).max(1);
    let part = |index: usize| &payload[index * size..payload.len().min((index + 1) * size)];
    (0..count)
        .map(|index| data(if index == 0 { code } else { Data::Continue }, part(index), index + 1 == count))
        .collect()
}

fn reserved(mut frame: Frame, bits: u8) -> Frame {
    let header = frame.header_mut();
    (header.rsv1, header.rsv2, header.rsv3) = (bits & 4 != 0, bits & 2 != 0, bits & 1 != 0);
    frame
}

#[track_caller]
fn check(served: &Served, case: &str, frames: Vec<Frame>, expect: Vec<Message>, then: Then) {
    let mut client = open(served);
    for frame in frames {
        // The server may have closed before all is sent.
        let _ = client.write(Message::Frame(frame));
    }
    let _ = client.flush();
    for expect in expect {
        match client.read() {
            // A fault may overtake what came just before it: the suite calls that non-strict, and no clause forbids it.
            Ok(Message::Close(Some(close))) if u16::from(close.code) == 1002 && matches!(then, Closed(1002)) => return,
            Ok(message) => assert!(message == expect, "{case}: {message:.40} in place of {expect:.40}"),
            Err(error) => panic!("{case}: {error} in place of {expect:.40}"),
        }
    }
    let code = match then {
        Open => {
            client
                .close(Some(tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "".into() }))
                .expect("it is open");
            Some(1000)
        }
        Closed(code) => Some(code),
        ClosedSilently => None,
    };
    assert_eq!(closed(&mut client).map(|close| u16::from(close.code)), code, "{case}");
}

pub(crate) fn sections_1_to_4(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let check = |case: &str, frames, expect, then| check(&served, case, frames, expect, then);
    for size in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let star = "*".repeat(size);
        check("1.1", vec![text(star.clone())], vec![Message::text(star)], Open);
        let bytes = vec![0xfe; size];
        check("1.2", vec![data(Data::Binary, bytes.clone(), true)], vec![Message::binary(bytes)], Open);
    }
    let pong = |payload: &[u8]| Message::Pong(payload.to_vec().into());
    for (case, payload) in
        [("2.1", &b""[..]), ("2.2", b"Hello, world!"), ("2.3", b"\0\xff\xfe\xfd"), ("2.4", &[0xfe; 125])]
    {
        check(case, vec![ping(payload)], vec![pong(payload)], Open);
    }
    check("2.5", vec![ping([0xfe; 126])], vec![], Closed(1002));
    check("2.7", vec![control(Control::Pong, "")], vec![], Open);
    check("2.9", vec![control(Control::Pong, "unasked"), ping("asked")], vec![pong(b"asked")], Open);
    let many: Vec<String> = (0..10).map(|number| format!("payload-{number}")).collect();
    let pongs = many.iter().map(|payload| pong(payload.as_bytes())).collect();
    check("2.10", many.iter().map(|payload| ping(payload.as_bytes())).collect(), pongs, Open);
    for bits in 1..8 {
        check("3.1", vec![reserved(text("Hello"), bits)], vec![], Closed(1002));
        let good = Message::text("Hello");
        check("3.2", vec![text("Hello"), reserved(text("Hello"), bits), ping("")], vec![good], Closed(1002));
        check("3.5", vec![reserved(data(Data::Binary, "Hello", true), bits)], vec![], Closed(1002));
        check("3.6", vec![reserved(ping("Hello"), bits)], vec![], Closed(1002));
        check("3.7", vec![reserved(close(1000, b""), bits)], vec![], Closed(1002));
    }
    for code in [3, 4, 5, 6, 7] {
        let good = || vec![Message::text("Hello")];
        check("4.1.1", vec![data(Data::Reserved(code), "", true)], vec![], Closed(1002));
        check("4.1.3", vec![text("Hello"), data(Data::Reserved(code), "x", true), ping("")], good(), Closed(1002));
        let code = code + 8;
        check("4.2.1", vec![control(Control::Reserved(code), "")], vec![], Closed(1002));
        check("4.2.3", vec![text("Hello"), control(Control::Reserved(code), "x"), ping("")], good(), Closed(1002));
    }
}

pub(crate) fn sections_5_and_6(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let check = |case: &str, frames, expect, then| check(&served, case, frames, expect, then);
    let (first, next, last) = (Data::Text, Data::Continue, true);
    let whole = || Message::text("fragment1fragment2");
    let pong = || Message::Pong("p".as_bytes().into());
    let begun = || data(first, "fragment1", !last);
    let ended = || data(next, "fragment2", last);
    let part = |code| {
        let mut frame = control(code, "x");
        frame.header_mut().is_final = false;
        frame
    };
    check("5.1", vec![part(Control::Ping), ended()], vec![], Closed(1002));
    check("5.2", vec![part(Control::Pong), ended()], vec![], Closed(1002));
    check("5.3", vec![begun(), ended()], vec![whole()], Open);
    check("5.6", vec![begun(), ping("p"), ended()], vec![pong(), whole()], Open);
    for code in [first, Data::Binary] {
        check("5.9", vec![ended(), data(code, "Hello", last)], vec![], Closed(1002));
        check("5.12", vec![data(next, "part", !last), data(code, "Hello", last)], vec![], Closed(1002));
        check("5.18", vec![begun(), data(code, "fragment2", last)], vec![], Closed(1002));
    }
    check("5.15", vec![begun(), ended(), data(next, "part", !last), text("x")], vec![whole()], Closed(1002));
    let five =
        ["1", "2", "3", "4", "5"].map(|number| data(if number == "1" { first } else { next }, number, number == "5"));
    let mut pinged: Vec<Frame> = five.to_vec();
    pinged.insert(4, ping("p"));
    pinged.insert(2, ping("p"));
    check("5.19", pinged, vec![pong(), pong(), Message::text("12345")], Open);

    let empty = |code, is_last| data(code, "", is_last);
    check("6.1.2", vec![empty(first, false), empty(next, false), empty(next, true)], vec![Message::text("")], Open);
    check(
        "6.1.3",
        vec![empty(first, false), data(next, "middle", false), empty(next, true)],
        vec![Message::text("middle")],
        Open,
    );
    let greek = "Hello-µ@ßöäüàá-UTF-8!! κόσμε";
    check("6.2.1", vec![text(greek)], vec![Message::text(greek)], Open);
    check("6.2.3", fragments(first, greek.as_bytes(), 1), vec![Message::text(greek)], Open);
    let bad = [greek.as_bytes(), b"\xed\xa0\x80edited"].concat();
    check("6.3.1", vec![text(bad.clone())], vec![], Closed(1007));
    check("6.3.2", fragments(first, &bad, 1), vec![], Closed(1007));
    // What cannot become UTF-8 any more is told before the message ends.
    check("6.4.1", vec![data(first, bad.clone(), false)], vec![], Closed(1007));
    check("6.4.2", vec![data(first, greek, false), data(next, b"\xf4\x90", false)], vec![], Closed(1007));
    for valid in [
        "\u{0}",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{1fffe}",
    ] {
        check("6.5 to 6.22", vec![text(valid)], vec![Message::text(valid)], Open);
        check("6.5 to 6.22", fragments(first, valid.as_bytes(), 1), vec![Message::text(valid)], Open);
    }
    for invalid in [
        &b"\x80"[..],
        b"\xbf",
        b"\xc0",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xce",
        b"\xce\xba\xe1\xbd",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
    ] {
        check("6.6 to 6.21", vec![text(invalid)], vec![], Closed(1007));
    }
}

pub(crate) fn sections_7_to_10(backend: &'static str) {
    let served = Served::start(backend, &[]);
    let check_case = |case: &str, frames, expect, then| check(&served, case, frames, expect, then);
    check_case("7.1.1", vec![text("Hello"), close(1000, b"")], vec![Message::text("Hello")], Closed(1000));
    check_case("7.1.2", vec![close(1000, b""), close(1000, b"")], vec![], Closed(1000));
    check_case("7.1.3", vec![close(1000, b""), ping("after")], vec![], Closed(1000));
    check_case("7.1.4", vec![close(1000, b""), text("after")], vec![], Closed(1000));
    check_case(
        "7.1.5",
        vec![data(Data::Text, "begun", false), close(1000, b""), data(Data::Continue, "", true)],
        vec![],
        Closed(1000),
    );
    check_case("7.3.1", vec![control(Control::Close, "")], vec![], ClosedSilently);
    check_case("7.3.2", vec![control(Control::Close, "a")], vec![], Closed(1002));
    check_case("7.3.4", vec![close(1000, b"Hello World!")], vec![], Closed(1000));
    check_case("7.3.5", vec![close(1000, &[b'*'; 123])], vec![], Closed(1000));
    check_case("7.3.6", vec![close(1000, &[b'*'; 124])], vec![], Closed(1002));
    // The suite admits 1007 and 1002 here.
    check_case("7.5.1", vec![close(1000, b"\xed\xa0\x80edited")], vec![], Closed(1002));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        check_case("7.7", vec![close(code, b"")], vec![], Closed(code));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check_case("7.9, 7.13", vec![close(code, b"")], vec![], Closed(1002));
    }
    let mut client = open(&served);
    for size in [64 << 10, 256 << 10, 1 << 20, 4 << 20] {
        check_echo(&mut client, &Message::text("*".repeat(size)));
        check_echo(&mut client, &Message::binary(vec![0xfe; size]));
    }
    for size in [64, 4096, 256 << 10] {
        for (code, payload) in [(Data::Text, vec![b'*'; 1 << 20]), (Data::Binary, vec![0xfe; 1 << 20])] {
            for frame in fragments(code, &payload, size) {
                client.write(Message::Frame(frame)).expect("the server takes it");
            }
            client.flush().expect("the server takes it");
            assert!(
                client.read().expect("the echo comes").into_data() == payload,
                "9.3, 9.4: in frames of {size} bytes"
            );
        }
    }
    for size in [0, 16, 64, 256, 1024, 4096] {
        for _ in 0..200 {
            check_echo(&mut client, &Message::text("*".repeat(size)));
            check_echo(&mut client, &Message::binary(vec![0xfe; size]));
        }
    }
    let payload = "*".repeat(65_536);
    check_case("10.1.1", fragments(Data::Text, payload.as_bytes(), 1300), vec![Message::text(payload)], Open);
}

/// Compressed messages of all sizes, in whole and in fragments, with every window that a zlib has and what contexts are kept.
pub(crate) fn sections_12_and_13(backend: &'static str) {
    let served = Served::start(backend, &[]);
    for takeover in [true, false] {
        for bits in 9..=15 {
            let (path, kept) = match takeover {
                true => ("/ws/kept", ""),
                false => ("/ws", "; client_no_context_takeover; server_no_context_takeover"),
            };
            let offer =
                format!("permessage-deflate; client_max_window_bits={bits}; server_max_window_bits={bits}{kept}");
            let mut client = served.client();
            client.send(format!(
                "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
            ));
            let answer = client.answer();
            let agreed = answer.header("sec-websocket-extensions");
            assert_eq!(answer.status, 101);
            assert!(agreed.contains(&format!("server_max_window_bits={bits}")), "{offer} is answered by {agreed}");
            assert_eq!(agreed.contains("no_context_takeover"), !takeover, "{offer} is answered by {agreed}");
            let mut peer = Deflating {
                stream: client.writer(),
                sends: Compress::new_with_window_bits(Compression::new(6), false, bits),
                receives: Decompress::new_with_window_bits(false, bits),
                keeps_sending: takeover && !agreed.contains("client_no_context_takeover"),
                keeps_receiving: !agreed.contains("server_no_context_takeover"),
            };
            for size in [0, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072] {
                for (round, fragment) in [usize::MAX, 1000, 77].into_iter().enumerate() {
                    let plain: Vec<u8> =
                        (0..size).map(|at| b"{\"id\": 7, \"name\": tt}"[(at * (round + 1) + at / 50) % 21]).collect();
                    peer.send(&plain, fragment);
                    let echoed = peer.receive();
                    assert!(echoed == plain, "{size} bytes in frames of {fragment}, {offer}: {} came", echoed.len());
                }
            }
        }
    }
}

/// A client with a zlib, and frames written by hand: tungstenite knows no compression.
struct Deflating {
    stream: TcpStream,
    sends: Compress,
    receives: Decompress,
    keeps_sending: bool,
    keeps_receiving: bool,
}

impl Deflating {
    /// Sends a text message behind masks of zeros.
    fn send(&mut self, plain: &[u8], fragment: usize) {
        if !self.keeps_sending {
            self.sends.reset();
        }
        let mut deflated = Vec::with_capacity(plain.len() * 2 + 100);
        self.sends.compress_vec(plain, &mut deflated, FlushCompress::Sync).expect("room");
        match deflated.len().checked_sub(4) {
            Some(count) => deflated.truncate(count),
            // A zlib does not flush twice: RFC 7692 section 7.2.3.6 has what is sent instead.
            None => deflated.push(0),
        }
        let count = deflated.len().div_ceil(fragment);
        for (index, part) in deflated.chunks(fragment).enumerate() {
            let first = if index == 0 { 0x41 } else { 0 } | if index + 1 == count { 0x80 } else { 0 };
            let mut frame = vec![first];
            match part.len() {
                length @ ..126 => frame.push(0x80 | length as u8),
                length @ ..65_536 => frame.extend([&[0xfe][..], &(length as u16).to_be_bytes()].concat()),
                length => frame.extend([&[0xff][..], &(length as u64).to_be_bytes()].concat()),
            }
            frame.extend([0; 4]);
            frame.extend(part);
            self.stream.write_all(&frame).expect("the server takes it");
        }
    }

    /// The next message, inflated if it says that it is deflated.
    fn receive(&mut self) -> Vec<u8> {
        let (mut payload, mut is_deflated, mut is_last) = (Vec::new(), false, false);
        while !is_last {
            let mut read = |count: usize| {
                let mut bytes = vec![0; count];
                self.stream.read_exact(&mut bytes).expect("the echo comes");
                bytes
            };
            let head = read(2);
            let length = match head[1] {
                126 => u16::from_be_bytes(read(2).try_into().expect("two bytes")) as usize,
                127 => u64::from_be_bytes(read(8).try_into().expect("eight bytes")) as usize,
                length => usize::from(length),
            };
            payload.extend(read(length));
            assert!(matches!(head[0] & 0x0f, 0 | 1), "a frame of a text comes, not {head:?} {payload:?}");
            is_deflated |= head[0] & 0x40 != 0;
            is_last = head[0] & 0x80 != 0;
        }
        if !is_deflated {
            return payload;
        }
        payload.extend([0, 0, 0xff, 0xff]);
        if !self.keeps_receiving {
            self.receives.reset(false);
        }
        let mut inflated = Vec::with_capacity(200_000);
        self.receives.decompress_vec(&payload, &mut inflated, FlushDecompress::Sync).expect("it is deflated");
        inflated
    }
}
