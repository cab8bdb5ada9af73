//! What is known to have brought servers down, over the whole loop: each is told to stop, costs no more than a bound, and harms
//! nobody else.

use std::time::Duration;

use net::quic::{Closed, Config as QuicConfig, Dir, StreamId};
use proto::h3::{Code, Own};
use shardwise::http::Method;
use shardwise::test::Plan;

use super::app;
use super::client::{Client, Host, run, serve};

/// A frame of HTTP/3; its payload is short.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u16 | 0x4000;
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CANCEL_PUSH: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const MAX_PUSH_ID: u8 = 13;

/// `POST` to a path, without a table.
fn post(path: &str) -> Vec<u8> {
    section(&[b"\xd4\xd7\x50\x09localhost", &literal_path(path)[..]])
}

fn literal_path(path: &str) -> Vec<u8> {
    [&[0x51, path.len() as u8], path.as_bytes()].concat()
}

fn section(parts: &[&[u8]]) -> Vec<u8> {
    frame(HEADERS, &[&[0, 0][..], &parts.concat()].concat())
}

/// Goes on with something until the server closes, which must say why; others are served all the same, and what it cost
/// comes back.
#[track_caller]
fn check(name: &'static str, expect: Code, mut next: impl AsyncFnMut(&mut Client) + 'static) {
    let server = serve(1, Plan::CALM, app);
    server.run(async move |kit| {
        let host = Host::new(&kit).await;
        let mut other = host.connected().await;
        let before = pool(&mut other).await;
        let mut client = host.connected().await;
        for _ in 0..2000 {
            if client.closed.is_some() {
                break;
            }
            next(&mut client).await;
            client.flush().await;
            if client.is_busy() {
                client.rest(Duration::from_millis(1)).await;
            }
        }
        let code = match client.closed {
            None => client.end().await,
            Some(Closed::ByPeer(code, _)) => Code(code),
            Some(why) => panic!("{name}: {why:?}"),
        };
        assert_eq!(code, expect, "{name}");
        client.close().await;
        host.sleep(Duration::from_secs(1)).await;
        assert_eq!(pool(&mut other).await, before, "{name}");
        other.close().await;
    });
}

async fn pool(client: &mut Client) -> usize {
    let id = client.get("/pool").await;
    client.answer(id).await.text().parse().unwrap()
}

#[test]
fn rapid_resets() {
    check("resets", Code::EXCESSIVE_LOAD, async |client| {
        let Some(id) = client.try_get("/for-ever").await else { return };
        client.flush().await;
        client.reset(id, Code::REQUEST_CANCELLED);
    });
}

#[test]
fn rapid_stops() {
    check("stops", Code::EXCESSIVE_LOAD, async |client| {
        let Some(id) = client.try_get("/stream/3000000").await else { return };
        client.rest(Duration::from_micros(100)).await;
        client.stop(id, Code::REQUEST_CANCELLED);
    });
}

#[test]
fn malformed_requests_without_end() {
    check("a head without a path", Code::EXCESSIVE_LOAD, async |client| {
        client.raw(Dir::Bi, &section(&[b"\xd1\xd7\x50\x09localhost"]), false).await;
    });
    check("streams without a request", Code::EXCESSIVE_LOAD, async |client| {
        client.raw(Dir::Bi, b"", false).await;
    });
}

#[test]
fn floods_of_small_frames() {
    async fn flood(client: &mut Client, first: &[u8], more: &[u8]) {
        match client.streams.first() {
            None => {
                let id = client.raw(Dir::Bi, &[&post("/held"), first].concat(), true).await;
                client.streams.extend(id);
            }
            Some(&id) => client.put(id, &more.repeat(50)),
        }
    }
    check("unknown frames", Code::EXCESSIVE_LOAD, async |client| {
        flood(client, b"", &frame(0x21, b"")).await;
    });
    check("empty data", Code::EXCESSIVE_LOAD, async |client| {
        flood(client, b"", &frame(DATA, b"")).await;
    });
    check("tiny data", Code::EXCESSIVE_LOAD, async |client| {
        flood(client, b"", &frame(DATA, b"x").repeat(20)).await;
    });
    check("unknown frames of the connection", Code::EXCESSIVE_LOAD, async |client| {
        client.put(client.own(Own::Control), &frame(0x21, b"").repeat(50));
    });
    check("streams of unknown types", Code::EXCESSIVE_LOAD, async |client| {
        client.raw(Dir::Uni, b"\x21hello", false).await;
    });
}

/// A section of a row that nobody adds: it requires 99 of them, and refers to the last.
const WAITS: &[u8] = &[100, 0, 0x80];

/// What the peer does once, and the code of RFC 9114 or RFC 9204 that it is told.
#[test]
fn what_breaks_the_rules_ends_the_connection() {
    async fn once(client: &mut Client, dir: Dir, bytes: &[u8]) {
        if client.streams.is_empty() {
            let id = client.raw(dir, bytes, true).await;
            client.streams.extend(id);
        }
    }
    for (name, code, bytes) in [
        ("data before a head", Code::FRAME_UNEXPECTED, frame(DATA, b"x")),
        ("settings on a request", Code::FRAME_UNEXPECTED, frame(SETTINGS, b"")),
        ("a push of the client's", Code::FRAME_UNEXPECTED, frame(PUSH_PROMISE, b"\x00")),
        ("a kind of HTTP/2", Code::FRAME_UNEXPECTED, frame(6, b"")),
        ("a section that is none", Code::QPACK_DECOMPRESSION_FAILED, frame(HEADERS, &[0, 0, 0xff, 0xff, 0xff, 0x7f])),
        ("a row that is not there", Code::QPACK_DECOMPRESSION_FAILED, frame(HEADERS, &[0, 0, 0x80])),
    ] {
        check(name, code, async move |client| once(client, Dir::Bi, &bytes).await);
    }
    for (name, code, bytes) in [
        ("a second control stream", Code::STREAM_CREATION_ERROR, vec![0]),
        ("a second encoder stream", Code::STREAM_CREATION_ERROR, vec![2]),
        ("a push stream", Code::STREAM_CREATION_ERROR, vec![1]),
    ] {
        check(name, code, async move |client| once(client, Dir::Uni, &bytes).await);
    }
    for (name, code, own, bytes) in [
        ("a second settings", Code::FRAME_UNEXPECTED, Own::Control, frame(SETTINGS, b"")),
        ("data of the connection", Code::FRAME_UNEXPECTED, Own::Control, frame(DATA, b"")),
        ("a push that was not promised", Code::ID_ERROR, Own::Control, frame(CANCEL_PUSH, b"\x07")),
        (
            "fewer pushes",
            Code::ID_ERROR,
            Own::Control,
            [frame(MAX_PUSH_ID, b"\x07"), frame(MAX_PUSH_ID, b"\x06")].concat(),
        ),
        ("a table too large", Code::QPACK_ENCODER_STREAM_ERROR, Own::Encoder, vec![0x3f, 0xff, 0xff, 0xff, 0x7f]),
        ("more rows than were told", Code::QPACK_DECODER_STREAM_ERROR, Own::Decoder, vec![0x3f, 0x00]),
    ] {
        check(name, code, async move |client| {
            if client.streams.is_empty() {
                client.flush().await;
                match client.try_own(own) {
                    Some(id) => client.put(id, &bytes),
                    None => {
                        let kind = [0, 2, 3][own as usize];
                        client.raw(Dir::Uni, &[&[kind][..], &bytes].concat(), true).await;
                    }
                }
                client.streams.push(client.own(Own::Control));
            }
        });
    }
    check("the control stream ends", Code::CLOSED_CRITICAL_STREAM, async |client| {
        client.quic.reset(client.own(Own::Control), 0x100);
    });
}

/// A request that is malformed is told so, and harms no other.
#[test]
fn a_malformed_request_harms_no_other() {
    run(app, async |client, _| {
        let held = client.get("/later").await;
        for (bytes, code) in [
            (section(&[b"\xd1\xd7\x50\x09localhost"]), Code::MESSAGE_ERROR),
            (section(&[b"\xd1\xd7\x50\x09localhost", &literal_path("/"), b"\x23Bad\x01x"]), Code::MESSAGE_ERROR),
            (b"".to_vec(), Code::REQUEST_INCOMPLETE),
        ] {
            let id = client.raw(Dir::Bi, &bytes, false).await.unwrap();
            assert_eq!(reset_of(client, id).await, code);
        }
        assert_eq!(client.answer(held).await.text(), "later");
    });
}

/// By which code the server ends a stream of which our engine knows nothing.
async fn reset_of(client: &mut Client, id: StreamId) -> Code {
    loop {
        assert!(client.turn().await, "{:?}", client.closed);
        match client.quic.read(id, usize::MAX) {
            net::quic::Read::Reset(code) => return Code(code),
            net::quic::Read::Pending => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Heads that refer to rows which never come wait, up to a bound; what refers to more rows than may be is an error.
#[test]
fn blocked_streams_are_bounded() {
    check("blocked streams", Code::QPACK_DECOMPRESSION_FAILED, async |client| {
        client.raw(Dir::Bi, &frame(HEADERS, WAITS), true).await;
    });
    run(app, async |client, _| {
        for _ in 0..15 {
            client.raw(Dir::Bi, &frame(HEADERS, WAITS), true).await;
        }
        let id = client.get("/").await;
        assert_eq!(client.answer(id).await.text(), "hello", "others go on");
        assert_eq!(client.end().await, Code::REQUEST_INCOMPLETE, "they are not waited for without end");
    });
}

/// A waiting stream that is reset is no more waited for.
#[test]
fn a_blocked_stream_may_be_given_up() {
    run(app, async |client, _| {
        for _ in 0..100 {
            let id = client.raw(Dir::Bi, &frame(HEADERS, WAITS), true).await.unwrap();
            client.rest(Duration::from_millis(1)).await;
            client.quic.reset(id, Code::REQUEST_CANCELLED.0);
            client.rest(Duration::from_millis(1)).await;
        }
        let id = client.get("/").await;
        assert_eq!(client.answer(id).await.text(), "hello");
    });
}

/// A small section that stands for a large head is answered 431 and costs no more than a head may.
#[test]
fn a_bomb_of_fields() {
    run(app, async |client, _| {
        // One name and value of the static table, many times over: `content-security-policy` and its longest value.
        let bytes = section(&[b"\xd1\xd7\x50\x09localhost", &literal_path("/"), &b"\xff\x16".repeat(2000)]);
        for _ in 0..5 {
            let id = client.raw(Dir::Bi, &bytes, false).await.unwrap();
            loop {
                assert!(client.turn().await, "{:?}", client.closed);
                match client.quic.read(id, usize::MAX) {
                    net::quic::Read::Chunk(bytes, _) => {
                        // `:status` without a row of its own, and 431.
                        assert!(bytes.windows(3).any(|part| part == b"431") || bytes.len() > 10, "{bytes:?}");
                        break;
                    }
                    net::quic::Read::Pending => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let id = client.get("/").await;
        assert_eq!(client.answer(id).await.text(), "hello");
    });
}

/// Bodies in frames of one byte that nobody reads cost what they hold, and not a buffer for each.
#[test]
fn tiny_frames_pin_no_buffers() {
    run(app, async |client, _| {
        let id = client.raw(Dir::Bi, &[post("/held"), frame(DATA, b"x").repeat(20_000)].concat(), true).await.unwrap();
        client.rest(Duration::from_millis(500)).await;
        let pool = client.get("/pool").await;
        let bytes: usize = client.answer(pool).await.text().parse().unwrap();
        assert!(bytes < 64 * 1024, "{bytes} bytes of the pool are in use");
        client.quic.reset(id, Code::REQUEST_CANCELLED.0);
    });
}

/// Who asks for much and reads nothing holds what is sent ahead of it, and is given up.
#[test]
fn answers_that_nobody_reads_hold_little() {
    let config = QuicConfig { keep_alive: Some(Duration::from_secs(10)), ..QuicConfig::default() };
    let config = QuicConfig { stream_window_bytes: 100, ..config };
    let server = serve(1, Plan::CALM, app);
    server.run(async move |kit| {
        let host = Host::with(&kit, config).await;
        let mut client = host.connected().await;
        let mut other = Host::new(&kit).await.connected().await;
        let before = pool(&mut other).await;
        client.reads_at_once = false;
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(client.ask(&Method::GET, "/stream/10000000", &[], b"", &[]).await);
        }
        client.rest(Duration::from_secs(5)).await;
        let bytes = pool(&mut other).await;
        assert!(bytes < 1_500_000, "{bytes} bytes of the pool are in use");
        client.rest(Duration::from_secs(31)).await;
        client.reads_at_once = true;
        for id in all {
            client.read(id);
            assert_eq!(client.answer(id).await.reset, Some(Code::REQUEST_CANCELLED));
        }
        client.close().await;
        host.sleep(Duration::from_secs(1)).await;
        let mut other = Host::new(&kit).await.connected().await;
        assert_eq!(pool(&mut other).await, before);
        other.close().await;
    });
}
