//! Servers that do what no server should: the client says so and goes, holds and does a bounded amount for them, and is through
//! with them in time.

use std::time::Duration;

use platform::sim::Plan;
use proto::h2::Code;
use shards::Shard;
use shardwise_net::Client;
use shardwise_net::client::{self, Error};

use super::kit::*;

/// What becomes of a request when the server says `before` at once, and then `after` again and again. The client ends the
/// connection, or the stream, within a bound.
#[track_caller]
fn check(what: &str, before: Vec<u8>, after: Vec<u8>, expect: &str) {
    for seed in 0..5 {
        let (before, after, name) = (before.clone(), after.clone(), what.to_owned());
        let script = script(async move |wire| {
            wire.say(frame(SETTINGS, 0, 0, b"")).await;
            wire.hear(HEADERS).await;
            wire.say(before.clone()).await;
            for round in 0.. {
                assert!(round < 20_000, "{name} never ends");
                if after.is_empty() || !wire.say(after.clone()).await {
                    return wire.end().await;
                }
                // Whoever floods reads nothing, but gives way.
                wire.sleep(0).await;
            }
        });
        let ask = async |client: &Client, shard: &Shard| {
            let told = async {
                let mut response = client.get(URL).send().await?;
                response.bytes().await.map(drop)
            };
            let told = shard.timeout(Duration::from_secs(100), told).await.expect("it ends");
            assert!(shard.pool().bytes() < 1 << 20, "{} bytes are held", shard.pool().bytes());
            match told {
                Ok(()) => "answered".to_owned(),
                Err(Error::Broken { code, .. }) => format!("broken {code}"),
                Err(Error::Reset(code)) => format!("reset {code}"),
                Err(error) => format!("{error:?}"),
            }
        };
        assert_eq!(play(seed, Plan::CALM, script, ask).0, expect, "{what}, seed {seed}");
    }
}

#[test]
fn floods_are_calmed() {
    let calm = "broken ENHANCE_YOUR_CALM";
    check("settings", vec![], frame(SETTINGS, 0, 0, b""), calm);
    check("pings", vec![], frame(PING, 0, 0, &[7; 8]), calm);
    check("empty data", head(1, 0), data(1, 0, b""), calm);
    check("window updates", vec![], frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), calm);
    check("goaway", vec![], goaway(1, NO_ERROR), calm);
    check("interim responses", vec![], frame(HEADERS, END_HEADERS, 1, b"\x08\x03103"), calm);
    check("unknown frames", vec![], frame(0xbb, 0, 0, b"what"), calm);
    check("priorities", vec![], frame(2, 0, 1, &[0; 5]), calm);
}

#[test]
fn what_breaks_the_rules_ends_the_connection() {
    let protocol = "broken PROTOCOL_ERROR";
    check("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, OK]), vec![], protocol);
    check("a stream that nobody has opened", head(3, 0), vec![], protocol);
    check("an even stream", head(2, 0), vec![], protocol);
    check("a reset of it", reset(5, CANCEL), vec![], protocol);
    check("pushes", setting(2, 1), vec![], protocol);
    check(
        "not HTTP/2",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
        vec![],
        "broken FRAME_SIZE_ERROR",
    );
    check("a block that is none", frame(HEADERS, END_HEADERS, 1, &[0x80]), vec![], "broken COMPRESSION_ERROR");
    check("too long a frame", [&[0xff; 3][..], &[0; 6]].concat(), vec![], "broken FRAME_SIZE_ERROR");
    check(
        "a window that is too large",
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        vec![],
        "broken FLOW_CONTROL_ERROR",
    );
    check("a ping among fields", [frame(HEADERS, 0, 1, &[OK]), frame(PING, 0, 0, &[0; 8])].concat(), vec![], protocol);
}

#[test]
fn what_breaks_those_of_a_stream_ends_that() {
    let protocol = "reset PROTOCOL_ERROR";
    check("no status", frame(HEADERS, END_HEADERS, 1, b"\0\x01a\x01b"), vec![], protocol);
    check("a field in capitals", frame(HEADERS, END_HEADERS, 1, b"\x88\0\x01A\x01b"), vec![], protocol);
    check("data before the head", data(1, 0, b"x"), vec![], "reset STREAM_CLOSED");
    let length = frame(HEADERS, END_HEADERS, 1, b"\x88\0\x0econtent-length\x013");
    check("more than its length", [length.clone(), data(1, 0, b"four")].concat(), vec![], protocol);
    check("less than its length", [length, data(1, END_STREAM, b"2!")].concat(), vec![], protocol);
    check("a head twice", [head(1, 0), head(1, 0)].concat(), vec![], protocol);
}

/// Data beyond the window of a stream that nobody reads resets it; what came before is held, and no more.
#[test]
fn more_than_a_window_is_not_held() {
    let script = script(async |wire| {
        wire.say(frame(SETTINGS, 0, 0, b"")).await;
        wire.hear(HEADERS).await;
        wire.say(head(1, 0)).await;
        for _ in 0..100 {
            wire.say(data(1, 0, &[7; 16_384])).await;
        }
        wire.end().await;
    });
    let ask = async |client: &Client, shard: &Shard| {
        let mut response = client.get(URL).send().await.unwrap();
        shard.sleep(Duration::from_secs(10)).await;
        assert!(shard.pool().bytes() < 1 << 20, "{} bytes are held", shard.pool().bytes());
        let mut bytes = 0;
        loop {
            match response.chunk().await {
                Ok(chunk) => bytes += chunk.expect("it does not end").len(),
                Err(Error::Reset(client::Code::Http2(code))) => return (bytes, code),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let (given, connections) = play(1, Plan::CALM, script, ask);
    assert_eq!((given, connections), ((3 * 16_384, Code::FLOW_CONTROL_ERROR), 1));
}

#[test]
fn large_heads_are_not_held() {
    // One entry in the table, of 4,000 bytes, and then a byte for each time it comes again.
    let entry = [&b"\x88\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    let bomb = [entry, vec![0xbe; 10_000]].concat();
    check("a bomb", frame(HEADERS, END_HEADERS, 1, &bomb), vec![], "reset ENHANCE_YOUR_CALM");
    check("many frames", frame(HEADERS, 0, 1, &[OK]), frame(CONTINUATION, 0, 1, b""), "broken ENHANCE_YOUR_CALM");
    check(
        "long frames",
        frame(HEADERS, 0, 1, &[OK]),
        frame(CONTINUATION, 0, 1, &[0; 16_000]),
        "broken ENHANCE_YOUR_CALM",
    );
}
