//! The conformance tables of WebSocket: every entry whole, byte by byte and cut at random, with one result.

mod autobahn;
mod compression;
mod frames;
mod handshake;
mod oracle;
mod pairs;
mod sending;

use std::fmt::Write as _;

use super::*;

/// Feeds `input` to an engine in reads, as `cut` says: what is not consumed is shown again. What the engine has to say is
/// asked for after every event. Returns all that happened, in words.
fn transcript(
    role: Role,
    agreed: Option<Agreed>,
    input: &[u8],
    limits: &Limits,
    mut cut: impl FnMut(usize) -> usize,
) -> String {
    let (mut engine, mut contexts) = (Engine::new(role, agreed), Contexts::new());
    let mut assembly = Assembly::new(usize::MAX);
    let (mut said, mut held, mut at, mut sent) = (String::new(), Vec::new(), 0, 0);
    loop {
        let shown_input = &mut held[at..];
        let step = match engine.receive(shown_input, &mut contexts, limits) {
            Ok(step) => step,
            Err(error) => {
                write!(said, "{error:?} ").unwrap();
                answers(&mut said, &mut engine);
                assert_eq!(engine.wait(), Wait::HangUp);
                let after = engine.receive(&mut [0x81, 0], &mut contexts, limits);
                assert_eq!(after, Ok(Step { consumed: 2, event: Event::Closed }), "nothing is read after an error");
                return said;
            }
        };
        match step.event {
            Event::NeedMore => {
                assert_eq!(step.consumed, shown_input.len());
                if sent == input.len() {
                    let idle = if engine.is_idle() { "." } else { "…" };
                    return said + idle;
                }
                let count = cut(input.len() - sent).clamp(1, input.len() - sent);
                held.clear();
                held.extend_from_slice(&input[sent..sent + count]);
                (at, sent) = (0, sent + count);
                continue;
            }
            Event::Data(piece) => {
                assert!(!piece.range.is_empty() || piece.is_final, "an empty piece says nothing");
                let bytes = engine.bytes(&piece, shown_input);
                if let Some(message) = assembly.push(&piece, bytes).unwrap() {
                    assert_eq!(message.text().is_some(), message.kind == Kind::Text);
                    let kind = if message.kind == Kind::Text { "text" } else { "binary" };
                    write!(said, "{kind} {} ", shown(message.bytes)).unwrap();
                }
            }
            Event::Ping => write!(said, "ping {} ", shown(engine.control())).unwrap(),
            Event::Pong => write!(said, "pong {} ", shown(engine.control())).unwrap(),
            Event::Close(code) => {
                let code = code.map_or("none".to_owned(), |code| code.to_string());
                write!(said, "close {code} {} ", shown(engine.reason().as_bytes())).unwrap();
            }
            Event::Closed => {
                assert_eq!(step.consumed, shown_input.len());
                return said + "closed";
            }
        }
        at += step.consumed;
        answers(&mut said, &mut engine);
    }
}

/// What the engine has to write by itself: `>opcode payload`.
fn answers(said: &mut String, engine: &mut Engine) {
    while engine.wants_transmit() {
        engine.set_key([0; 4]);
        let mut out = [0; CONTROL_FRAME_BYTES_MAX];
        let count = engine.transmit(&mut out).unwrap();
        let head = if engine.role == Role::Client { 6 } else { 2 };
        assert_eq!(out[1] & 0x7f, (count - head) as u8);
        let payload = &out[head..count];
        match (out[0], payload) {
            (0x8a, payload) => write!(said, ">pong {} ", shown(payload)).unwrap(),
            (0x88, []) => said.push_str(">close "),
            (0x88, [high, low]) => write!(said, ">close {} ", u16::from_be_bytes([*high, *low])).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// Bytes in quotes; many of one kind as their number.
fn shown(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if bytes.len() > 16 && rest.iter().all(|byte| byte == first) => {
            format!("{}*'{}'", bytes.len(), [*first].escape_ascii())
        }
        _ => format!("'{}'", bytes.escape_ascii()),
    }
}

/// Checks one entry: whatever the cuts, the same result.
#[track_caller]
fn check_with(case: &str, role: Role, agreed: Option<Agreed>, input: &[u8], limits: &Limits, expect: &str) {
    let head = input[..input.len().min(100)].escape_ascii();
    let run = |cut: &mut dyn FnMut(usize) -> usize| transcript(role, agreed, input, limits, cut);
    assert_eq!(run(&mut |left| left), expect, "{case}, whole: {head}");
    if input.len() <= EVERY_BYTE_MAX {
        assert_eq!(run(&mut |_| 1), expect, "{case}, byte by byte: {head}");
    }
    if input.len() <= EVERY_SPLIT_MAX {
        for at in 1..input.len() {
            let mut first = Some(at);
            let split = run(&mut |left| first.take().unwrap_or(left));
            assert_eq!(split, expect, "{case}, split at {at}: {head}");
        }
    }
    let seeds = if input.len() <= EVERY_BYTE_MAX { 1..=20 } else { 1..=2 };
    for seed in seeds {
        let mut random = Random(seed);
        let most = if random.below(2) == 0 { 20 } else { 5_000 };
        let most = most.max(input.len() / 1_000);
        let cut = run(&mut |left| 1 + random.below(left.min(most)));
        assert_eq!(cut, expect, "{case}, cut at random with seed {seed}: {head}");
    }
}

/// What a server makes of a client's frames.
#[track_caller]
fn check(case: &str, input: &[Vec<u8>], expect: &str) {
    check_with(case, Role::Server, None, &input.concat(), &Limits::default(), expect);
}

/// A masked frame: its first byte as it is, and its payload, with the length written as short as can be.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = match payload.len() {
        count @ 0..126 => vec![first, 0x80 | count as u8],
        count @ 126..0x1_0000 => [&[first, 0x80 | 126][..], &(count as u16).to_be_bytes()].concat(),
        count => [&[first, 0x80 | 127][..], &(count as u64).to_be_bytes()].concat(),
    };
    let key = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The same as a server sends it.
fn bare(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut frame = frame(first, payload.as_ref());
    frame[1] &= 0x7f;
    frame.truncate(frame.len() - payload.as_ref().len() - 4);
    frame.extend_from_slice(payload.as_ref());
    frame
}

/// All frames of a compressed message, written into slices of `room`.
fn compress(engine: &mut Engine, contexts: &mut Contexts, kind: Kind, mut message: &[u8], room: usize) -> Vec<u8> {
    let (mut all, mut out) = (Vec::new(), vec![0; room]);
    for _ in 0..1_000_000 {
        engine.set_key([9, 8, 7, 6]);
        let compressed = engine.compress(kind, message, true, contexts, &mut out).unwrap();
        all.extend_from_slice(&out[..compressed.written]);
        message = &message[compressed.taken..];
        if compressed.is_end {
            assert!(message.is_empty());
            return all;
        }
    }
    panic!("no end");
}

/// The one message in `input`.
fn receive(engine: &mut Engine, contexts: &mut Contexts, input: &mut [u8], limits: &Limits) -> Vec<u8> {
    let (mut at, mut message, mut is_final) = (0, Vec::new(), false);
    loop {
        let step = engine.receive(&mut input[at..], contexts, limits).unwrap();
        match step.event {
            Event::NeedMore => {
                assert!(is_final);
                return message;
            }
            Event::Data(piece) => {
                assert_eq!(piece.is_first, message.is_empty() && !is_final);
                message.extend_from_slice(engine.bytes(&piece, &input[at..]));
                is_final = piece.is_final;
            }
            other => panic!("{other:?}"),
        }
        at += step.consumed;
    }
}

/// The payloads of a server's frames, all in one.
fn payloads(mut frames: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    while let [_, length, ..] = frames {
        let (start, count) = match length {
            126 => (4, u16::from_be_bytes([frames[2], frames[3]]) as usize),
            &length => (2, length as usize),
        };
        payload.extend_from_slice(&frames[start..start + count]);
        frames = &frames[start + count..];
    }
    payload
}

// First bytes: the frame that is its message, and fragments of one.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const TEXT_FIRST: u8 = 0x01;
const BINARY_FIRST: u8 = 0x02;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// Longer inputs are not fed byte by byte, and not split in two at every byte.
const EVERY_BYTE_MAX: usize = 150_000;
const EVERY_SPLIT_MAX: usize = 300;

/// Splitmix64: enough to cut at random, the same twice.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
