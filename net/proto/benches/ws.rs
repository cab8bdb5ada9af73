//! What WebSocket costs in the engine: payloads unmasked and judged, small messages in and out, and compression.
//!
//! `cargo bench -p shardwise-proto --bench ws`. Prints the best of many short runs, which neighbours on the machine
//! disturb least.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use shardwise_proto::ws::{Agreed, Contexts, Engine, Event, Kind, Limits, Mask, Role, Terms};

/// What a connection receives at a time.
const READ_BYTES: usize = 16 * 1024;

fn main() {
    let limits = Limits { frame_bytes_max: 1 << 40, message_bytes_max: 1 << 40, fragment_count_max: u32::MAX };
    let mut contexts = Contexts::new();

    println!("reads of {READ_BYTES} bytes");
    let ascii = "The quick brown fox jumps over the lazy dog. ".repeat(400);
    let mixed = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich — 日本語も。".repeat(400);
    let mut bytes = ascii.as_bytes()[..READ_BYTES].to_vec();
    let mut mask = Mask::new(KEY);
    bytes_per_second("unmask", bytes.len(), || mask.apply(black_box(&mut bytes)));
    let source = bytes.clone();
    bytes_per_second("copy, as in each below", source.len(), || {
        black_box(&mut bytes).copy_from_slice(black_box(&source));
    });

    // One frame without end, of which a read is a piece: as many bytes as are turns of the key, and no half character.
    for (what, first, text) in
        [("receive binary", 0x02, &ascii), ("receive text, ASCII", 0x01, &ascii), ("receive text, mixed", 0x01, &mixed)]
    {
        let count = (0..=READ_BYTES).rev().find(|&count| count % 4 == 0 && text.is_char_boundary(count));
        let mut masked = text.as_bytes()[..count.unwrap()].to_vec();
        Mask::new(KEY).apply(&mut masked);
        let mut engine = Engine::new(Role::Server, None);
        let mut head = [first, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0, KEY[0], KEY[1], KEY[2], KEY[3]];
        engine.receive(&mut head, &mut contexts, &limits).unwrap();
        let mut input = masked.clone();
        bytes_per_second(what, input.len(), || {
            input.copy_from_slice(&masked);
            black_box(engine.receive(black_box(&mut input), &mut contexts, &limits)).unwrap();
        });
    }

    for size in [16, 125, 1000] {
        let payload = vec![b'a'; size];
        let mut client = Engine::new(Role::Client, None);
        let mut frames = Vec::new();
        let mut out = [0; 2048];
        while frames.len() + size + 14 < READ_BYTES {
            client.set_key(KEY);
            let count = client.message(Kind::Text, &payload, &mut out).unwrap();
            frames.extend_from_slice(&out[..count]);
        }
        let count = frames.len() / (size + if size < 126 { 6 } else { 8 });
        let (mut engine, mut input) = (Engine::new(Role::Server, None), frames.clone());
        per_second(&format!("texts of {size} bytes received"), count, || {
            input.copy_from_slice(&frames);
            let mut at = 0;
            loop {
                let step = engine.receive(&mut input[at..], &mut contexts, &limits).unwrap();
                at += step.consumed;
                if step.event == Event::NeedMore {
                    break;
                }
            }
        });
        let mut server = Engine::new(Role::Server, None);
        per_second(&format!("texts of {size} bytes written"), 100, || {
            for _ in 0..100 {
                black_box(server.message(Kind::Text, black_box(&payload), black_box(&mut out))).unwrap();
            }
        });
        let mut server = Engine::new(Role::Server, None);
        per_second(&format!("heads for {size} bytes written"), 100, || {
            for _ in 0..100 {
                black_box(server.fragment(Kind::Text, black_box(size), true, black_box(&mut out))).unwrap();
            }
        });
    }

    let json =
        br#"{"id": 4711, "symbol": "ACME", "price": 101.25, "size": 300, "side": "buy", "at": "2026-11-24T12:00:00Z"}"#;
    let mut varied = Vec::new();
    for index in 0..2000_u32 {
        varied.extend_from_slice(json);
        varied.extend_from_slice(index.wrapping_mul(2_654_435_761).to_string().as_bytes());
    }
    for (takeover, how) in [(false, "nothing kept"), (true, "context kept")] {
        for size in [200, 4_000, 60_000] {
            let terms = Terms { takeover, window_bits: 15 };
            let agreed = Some(Agreed { sending: terms, receiving: terms });
            let (mut server, mut client) = (Engine::new(Role::Server, agreed), Engine::new(Role::Client, agreed));
            let mut out = vec![0; 32 * 1024];
            let (mut sent, mut at) = (Vec::new(), 0);
            let what = format!("{size} bytes, {how}");
            bytes_per_second(&format!("compress {what}"), size, || {
                at = (at + 977) % 50_000;
                let mut payload = &varied[at..at + size];
                sent.clear();
                loop {
                    let step = server.compress(Kind::Text, payload, true, &mut contexts, &mut out).unwrap();
                    payload = &payload[step.taken..];
                    sent.extend_from_slice(&out[..step.written]);
                    if step.is_end {
                        break;
                    }
                }
            });
            println!("  to {:.1} %", sent.len() as f64 * 100.0 / size as f64);
            // The first message of a connection, again and again: it refers to none before it.
            let mut server = Engine::new(Role::Server, agreed);
            let mut first = vec![0; 64 * 1024];
            let mut count = 0;
            let mut payload = &varied[..size];
            loop {
                let step = server.compress(Kind::Text, payload, true, &mut contexts, &mut first[count..]).unwrap();
                payload = &payload[step.taken..];
                count += step.written;
                if step.is_end {
                    break;
                }
            }
            first.truncate(count);
            let mut input = first.clone();
            bytes_per_second(&format!("inflate {what}"), size, || {
                input.copy_from_slice(&first);
                let mut at = 0;
                loop {
                    let step = client.receive(&mut input[at..], &mut contexts, &limits).unwrap();
                    at += step.consumed;
                    if step.event == Event::NeedMore {
                        break;
                    }
                }
            });
        }
    }
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn bytes_per_second(what: &str, bytes: usize, once: impl FnMut()) {
    let least = least(once, (4 << 20) / bytes.max(1) / 8 + 1);
    let per_nanosecond = bytes as f64 / least.as_secs_f64() / 1e9;
    match per_nanosecond {
        1.0.. => println!("{what}: {per_nanosecond:.1} GB/s"),
        _ => println!("{what}: {:.0} MB/s, {:.1} µs", per_nanosecond * 1e3, least.as_secs_f64() * 1e6),
    }
}

fn per_second(what: &str, count: usize, once: impl FnMut()) {
    let least = least(once, 20_000 / count);
    println!("{what}: {:.1} million/s", count as f64 / least.as_secs_f64() / 1e6);
}

/// What `once` takes, in the best of many runs.
fn least(mut once: impl FnMut(), times: usize) -> Duration {
    let run = |once: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..times {
            once();
        }
        start.elapsed()
    };
    let least = (0..RUNS).map(|_| run(&mut once)).min().unwrap_or(Duration::ZERO);
    least / times as u32
}

const RUNS: u32 = 200;
