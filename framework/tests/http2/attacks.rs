//! What is known to have brought servers down, over the whole loop: each is told to stop, and costs no more than a bound.

use proto::h2::{Code, Limits};
use shardwise::http::Method;
use shardwise::test;

use super::app;
use super::client::Client;

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// `GET /for-ever`, without a table.
fn get(id: u32) -> Vec<u8> {
    let block = b"\x82\x86\x04\x09/for-ever\x01\x04here";
    frame(HEADERS, 5, id, block)
}

fn post(id: u32) -> Vec<u8> {
    let block = b"\x83\x86\x04\x06/count\x01\x04here";
    frame(HEADERS, 4, id, block)
}

/// Sends bytes as they are, behind a client's first words; gives the code by which the server ends the connection.
async fn attack(kit: &test::Client, mut next: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let mut connection = kit.open().await;
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, b"")[..]].concat();
    for round in 0..2000 {
        bytes.extend(next(1 + 2 * round));
        if round % 50 == 49 && connection.send(std::mem::take(&mut bytes)).await.is_err() {
            break;
        }
    }
    let (mut received, mut code) = (Vec::new(), None);
    while let Ok(Some(more)) = connection.receive().await {
        received.extend(more);
        while received.len() >= 9 {
            let length = usize::from(received[0]) << 16 | usize::from(received[1]) << 8 | usize::from(received[2]);
            if received.len() < 9 + length {
                break;
            }
            let frame: Vec<u8> = received.drain(..9 + length).collect();
            if frame[3] == GOAWAY {
                code = Some(u32::from_be_bytes(frame[13..17].try_into().unwrap()));
            }
        }
    }
    code
}

/// Sends a flood to the server, which must say why it ends, and must serve others all the same.
#[track_caller]
fn check(name: &str, expect: Code, next: impl FnMut(u32) -> Vec<u8> + 'static) {
    let server = test::run(app());
    let code = server.run(async move |kit| {
        let code = attack(&kit, next).await;
        let mut other = Client::open(&kit, Limits::default()).await;
        let id = other.get("/");
        assert_eq!(other.answer(id).await.text(), "hello");
        code
    });
    assert_eq!(code, Some(expect.0), "{name}");
}

#[test]
fn rapid_resets() {
    check("resets", Code::ENHANCE_YOUR_CALM, |id| [get(id), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat());
}

#[test]
fn made_you_reset() {
    check("window updates by nothing", Code::ENHANCE_YOUR_CALM, |id| {
        [get(id), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat()
    });
    check("priorities cut off", Code::ENHANCE_YOUR_CALM, |id| [get(id), frame(PRIORITY, 0, id, &[0; 4])].concat());
    check("data without a request", Code::ENHANCE_YOUR_CALM, |id| [get(id), frame(DATA, 0, id, &[0])].concat());
}

#[test]
fn continuations_without_end() {
    check("continuations", Code::ENHANCE_YOUR_CALM, |id| match id {
        1 => frame(HEADERS, 1, 1, b""),
        _ => frame(CONTINUATION, 0, 1, b""),
    });
}

#[test]
fn floods_of_small_frames() {
    check("pings", Code::ENHANCE_YOUR_CALM, |_| frame(PING, 0, 0, &[0; 8]));
    check("settings", Code::ENHANCE_YOUR_CALM, |_| frame(SETTINGS, 0, 0, b""));
    check("unknown", Code::ENHANCE_YOUR_CALM, |_| frame(0xee, 0, 0, b""));
    check("window updates", Code::ENHANCE_YOUR_CALM, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    check("empty data", Code::ENHANCE_YOUR_CALM, |id| match id {
        1 => post(1),
        _ => frame(DATA, 0, 1, b""),
    });
}

#[test]
fn what_breaks_the_rules_ends_the_connection() {
    check("a stream of ours", Code::PROTOCOL_ERROR, |_| get(2));
    check("a frame too long", Code::FRAME_SIZE_ERROR, |_| frame(DATA, 0, 1, &[0; 16_385]));
    check("a block that is none", Code::COMPRESSION_ERROR, |id| frame(HEADERS, 5, id, &[0xff; 20]));
    check("data beyond the window", Code::FLOW_CONTROL_ERROR, |id| {
        let (stream, place) = (1 + 2 * (id / 8), id / 2 % 4);
        match place {
            0 => frame(HEADERS, 4, stream, b"\x83\x86\x04\x05/held\x01\x04here"),
            _ => frame(DATA, 0, stream, &[0; 16_384]),
        }
    });
}

/// Bodies in frames of one byte that nobody reads cost what they hold, and not a buffer for each.
#[test]
fn tiny_frames_pin_no_buffers() {
    let server = test::run(app());
    server.run(async |kit| {
        let mut connection = kit.open().await;
        let head = frame(HEADERS, 4, 1, b"\x83\x86\x04\x05/held\x01\x04here");
        let settings = frame(SETTINGS, 0, 0, b"");
        let body = frame(DATA, 0, 1, b"x").repeat(20_000);
        let all = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], &head, &body].concat();
        connection.send(all).await.unwrap();
        kit.sleep(std::time::Duration::from_millis(100)).await;
        let mut client = Client::open(&kit, Limits::default()).await;
        let id = client.get("/pool");
        let bytes: usize = client.answer(id).await.text().parse().unwrap();
        assert!(bytes < 64 * 1024, "{bytes} bytes of the pool are in use");
    });
}

/// Who asks for much and opens no window, or does not read at all, holds what the outbox and the pieces in hand come to.
#[test]
fn zero_windows_hold_little() {
    let server = test::run(app());
    server.run(async |kit| {
        let limits = Limits { stream_window: 0, ..Limits::default() };
        let mut client = Client::open(&kit, limits).await;
        let ids: Vec<u32> = (0..100).map(|_| client.ask(&Method::GET, "/stream/10000000", &[], b"", &[])).collect();
        client.flush().await;
        let begun = kit.now();
        for id in ids {
            assert_eq!(client.answer(id).await.reset, Some(Code::CANCEL));
        }
        assert_eq!((kit.now() - begun).as_secs(), 30);
        let id = client.get("/ignored");
        assert_eq!(client.answer(id).await.status, 405);
    });
}
