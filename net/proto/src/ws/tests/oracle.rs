//! The same streams to this engine and to others: frames to tungstenite, compressed messages to a zlib.
//!
//! Streams are valid, or were damaged. Both must hear the same and come to the same verdict; where they do not, the
//! reason is one of those listed in [`Difference`], each of which is met.

use std::io::{self, Read, Write};
use std::ops::Range;

use flate2::{Compress, Compression as Level, Decompress, FlushCompress, FlushDecompress};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Message as TheirMessage, WebSocket, error::ProtocolError};

use super::*;

/// Why the verdicts may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// We refuse what cannot be mended any more as soon as it is there: a reserved bit, a byte of text, a length. They
    /// wait for the end of the head or of the frame, and that does not come.
    TheyWait,
    /// RFC 6455 section 5.2: "the minimal number of bytes MUST be used to encode the length". They do not look.
    LengthNotMinimal,
    /// Section 7.4: a code that must not be sent. They too answer 1002, but call it a close and not a fault.
    CloseCode,
    /// 1014 was registered after RFC 6455, and they do not know it.
    CloseCode1014,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All was well, and more may come.
    Waits,
    Closed,
    Refused,
}

const MESSAGE_BYTES_MAX: usize = 3_000;
const FRAME_BYTES_MAX: usize = 1_000;

/// What this engine hears, its verdict, and its reason.
fn ours(role: Role, input: &[u8]) -> (Vec<String>, Verdict, Option<Error>) {
    let limits = Limits {
        frame_bytes_max: FRAME_BYTES_MAX as u64,
        message_bytes_max: MESSAGE_BYTES_MAX as u64,
        fragment_count_max: u32::MAX,
    };
    let (mut engine, mut contexts, mut assembly) = (Engine::new(role, None), Contexts::new(), Assembly::new(1 << 20));
    let (mut heard, mut input, mut at) = (Vec::new(), input.to_vec(), 0);
    loop {
        let input = &mut input[at..];
        match engine.receive(input, &mut contexts, &limits) {
            Err(error) => return (heard, Verdict::Refused, Some(error)),
            Ok(Step { consumed, event }) => {
                match event {
                    Event::NeedMore => return (heard, Verdict::Waits, None),
                    Event::Closed => return (heard, Verdict::Closed, None),
                    Event::Data(piece) => {
                        let bytes = engine.bytes(&piece, input);
                        if let Some(message) = assembly.push(&piece, bytes).unwrap() {
                            heard.push(format!("{:?} {}", message.kind, shown(message.bytes)));
                        }
                    }
                    Event::Ping => heard.push(format!("ping {}", shown(engine.control()))),
                    Event::Pong => heard.push(format!("pong {}", shown(engine.control()))),
                    Event::Close(code) => {
                        heard.push(format!(
                            "close {:?} {}",
                            code.map(CloseCode::get),
                            shown(engine.reason().as_bytes())
                        ));
                    }
                }
                at += consumed;
            }
        }
    }
}

/// A stream of bytes that has been received. What is written is of no interest.
struct Wire<'b>(&'b [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite hears, and its verdict.
fn theirs(role: Role, input: &[u8]) -> (Vec<String>, Verdict) {
    let role = if role == Role::Server { TheirRole::Server } else { TheirRole::Client };
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(FRAME_BYTES_MAX);
    config.read_buffer_size = 1_000;
    let mut socket = WebSocket::from_raw_socket(Wire(input), role, Some(config));
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(TheirMessage::Text(text)) => heard.push(format!("Text {}", shown(text.as_bytes()))),
            Ok(TheirMessage::Binary(bytes)) => heard.push(format!("Binary {}", shown(&bytes))),
            Ok(TheirMessage::Ping(bytes)) => heard.push(format!("ping {}", shown(&bytes))),
            Ok(TheirMessage::Pong(bytes)) => heard.push(format!("pong {}", shown(&bytes))),
            Ok(TheirMessage::Close(close)) => {
                let code = close.as_ref().map(|close| u16::from(close.code));
                let reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                heard.push(format!("close {code:?} {}", shown(reason.as_bytes())));
                return (heard, Verdict::Closed);
            }
            Ok(TheirMessage::Frame(_)) => unreachable!("only written ones are of this kind"),
            Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (heard, Verdict::Waits);
            }
            Err(_) => return (heard, Verdict::Refused),
        }
    }
}

/// How the two differ, if they do. Panics if that is not one of the known ways.
#[track_caller]
fn compare(role: Role, input: &[u8], what: &str) -> (Verdict, Option<Difference>) {
    let (heard, verdict, error) = ours(role, input);
    let (their_heard, their_verdict) = theirs(role, input);
    if (&heard, verdict) == (&their_heard, their_verdict) {
        return (verdict, None);
    }
    let violation = "close Some(1002) 'Protocol violation'";
    let is_prefix = their_heard.starts_with(&heard);
    let difference = match (verdict, error, their_verdict) {
        (Verdict::Refused, Some(Error::LengthNotMinimal), _) if is_prefix => Difference::LengthNotMinimal,
        // Of a control frame, any longer form says that it is too long.
        (Verdict::Refused, Some(Error::ControlTooLong), _) if is_prefix && their_heard.len() > heard.len() => {
            Difference::LengthNotMinimal
        }
        (Verdict::Refused, Some(Error::CloseCode), Verdict::Closed)
            if is_prefix && their_heard[heard.len()..] == [violation] =>
        {
            Difference::CloseCode
        }
        (Verdict::Refused, Some(_), Verdict::Waits) if heard == their_heard => Difference::TheyWait,
        (Verdict::Closed, None, Verdict::Closed)
            if heard.last().is_some_and(|heard| heard.starts_with("close Some(1014)"))
                && their_heard.last().is_some_and(|heard| heard == violation) =>
        {
            Difference::CloseCode1014
        }
        _ => panic!(
            "{what}: {}\nours {heard:?} {verdict:?} {error:?}\ntheirs {their_heard:?} {their_verdict:?}",
            input.escape_ascii()
        ),
    };
    (verdict, Some(difference))
}

/// A stream of frames, mostly well-formed.
fn stream(role: Role, random: &mut Random) -> Vec<u8> {
    let mut all = Vec::new();
    let mut is_in_message = false;
    for _ in 0..1 + random.below(6) {
        let is_final = random.below(3) > 0;
        let opcode = match random.below(10) {
            0 => 9,
            1 => 10,
            2 if random.below(3) == 0 => 8,
            3 if random.below(5) == 0 => random.below(16) as u8,
            _ if is_in_message => 0,
            _ => 1 + random.below(2) as u8,
        };
        let is_final = is_final || opcode >= 8;
        is_in_message = if opcode < 8 { !is_final } else { is_in_message };
        let most = [0, 4, 20, 126, 200, 1_000][random.below(6)];
        let payload: Vec<u8> = match opcode {
            8 => match random.below(6) {
                0 => Vec::new(),
                1 => (random.next() as u16 % 5_200).to_be_bytes().to_vec(),
                2 => (1_000 + random.next() as u16 % 20).to_be_bytes().to_vec(),
                3 => [&1_001_u16.to_be_bytes()[..], "geh — und komm nicht wieder".as_bytes()].concat(),
                _ => 1_000_u16.to_be_bytes().to_vec(),
            },
            9 | 10 => vec![b'p'; random.below(126)],
            _ => {
                let text: String =
                    (0..random.below(most + 1)).map(|_| ['a', 'b', 'ü', '€', '😀'][random.below(5)]).collect();
                text.into_bytes()
            }
        };
        let first = opcode | if is_final { 0x80 } else { 0 };
        let one = if role == Role::Server { frame(first, &payload) } else { bare(first, &payload) };
        // Now and then a length longer than need be.
        if random.below(30) == 0 && payload.len() < 126 {
            let length = (payload.len() as u16).to_be_bytes();
            all.extend_from_slice(&[one[0], one[1] & 0x80 | 126, length[0], length[1]]);
            all.extend_from_slice(&one[2..]);
        } else {
            all.extend_from_slice(&one);
        }
    }
    all
}

fn damage(input: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(input.len());
        match random.below(6) {
            0 => input.truncate(at),
            1 => input.insert(at, random.next() as u8),
            2 if at < input.len() => drop(input.remove(at)),
            3 if at < input.len() => input[at] = random.next() as u8,
            4 => {
                let end = at + random.below((input.len() - at).min(60) + 1);
                input.extend_from_within(at..end);
            }
            _ if at < input.len() => input[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

#[test]
fn tungstenite_comes_to_the_same_verdicts() {
    let mut differences = std::collections::BTreeMap::new();
    let mut verdicts = [0; 3];
    for seed in 1..=20_000 {
        let mut random = Random(seed);
        let role = if random.below(3) == 0 { Role::Client } else { Role::Server };
        let mut input = stream(role, &mut random);
        if random.below(3) > 0 {
            damage(&mut input, &mut random);
        }
        let (verdict, difference) = compare(role, &input, &format!("seed {seed}"));
        verdicts[verdict as usize] += 1;
        if let Some(difference) = difference {
            *differences.entry(difference).or_insert(0) += 1;
        }
    }
    // 1014 by chance takes more streams.
    for code in 0..=u16::MAX {
        let (_, difference) = compare(Role::Server, &frame(CLOSE, code.to_be_bytes()), "codes");
        if let Some(difference) = difference {
            *differences.entry(difference).or_insert(0) += 1;
        }
    }
    println!("waits, closed, refused: {verdicts:?}; differences: {differences:?}");
    assert!(verdicts.iter().all(|&count| count > 1_000), "{verdicts:?}");
    use Difference::*;
    let met: Vec<Difference> = differences.into_keys().collect();
    assert_eq!(met, [TheyWait, LengthNotMinimal, CloseCode, CloseCode1014], "a difference that is listed is met");
}

/// Messages of a zlib with any window and level, with and without takeover, are inflated.
#[test]
fn what_a_zlib_compresses_is_inflated() {
    for seed in 1..=150 {
        let mut random = Random(seed);
        let window_bits = 9 + random.below(7) as u8;
        let terms = Terms { takeover: random.below(2) == 0, window_bits };
        let agreed = Agreed { sending: terms, receiving: terms };
        let (mut engine, mut contexts, limits) =
            (Engine::new(Role::Server, Some(agreed)), Contexts::new(), Limits::default());
        let mut zlib = Compress::new_with_window_bits(Level::new(random.below(10) as u32), false, window_bits);
        for _ in 0..4 {
            let plain = message(&mut random);
            if !terms.takeover {
                zlib.reset();
            }
            let mut compressed = Vec::with_capacity(plain.len() * 2 + 100);
            let flush = if random.below(2) == 0 { FlushCompress::Sync } else { FlushCompress::Full };
            let before = zlib.total_in();
            zlib.compress_vec(&plain, &mut compressed, flush).unwrap();
            assert_eq!(zlib.total_in() - before, plain.len() as u64);
            match compressed.len().checked_sub(4) {
                Some(count) => compressed.truncate(count),
                // A zlib does not flush twice: RFC 7692 section 7.2.3.6 has what is sent instead.
                None => compressed.push(0),
            }
            let at = random.below(compressed.len() + 1);
            let (first, second) = compressed.split_at(at);
            let mut input = [frame(0x40 | BINARY_FIRST, first), frame(LAST, second)].concat();
            let inflated = receive(&mut engine, &mut contexts, &mut input, &limits);
            assert!(inflated == plain, "seed {seed}, {terms:?}, {} bytes", plain.len());
        }
    }
}

/// And the other way, in the window that was agreed on: a zlib with a smaller one would refuse.
#[test]
fn a_zlib_inflates_what_is_compressed() {
    for seed in 1..=150 {
        let mut random = Random(seed);
        let window_bits = 9 + random.below(7) as u8;
        let terms = Terms { takeover: random.below(2) == 0, window_bits };
        let agreed = Agreed { sending: terms, receiving: terms };
        let (mut engine, mut contexts) = (Engine::new(Role::Server, Some(agreed)), Contexts::new());
        let mut zlib = Decompress::new_with_window_bits(false, window_bits);
        for _ in 0..4 {
            let plain = message(&mut random);
            if !terms.takeover {
                zlib.reset(false);
            }
            let room = 64 + random.below(9_000);
            let frames = compress(&mut engine, &mut contexts, Kind::Binary, &plain, room);
            let mut compressed = payloads(&frames);
            compressed.extend_from_slice(&[0, 0, 0xff, 0xff]);
            let mut inflated = Vec::with_capacity(plain.len() + 100);
            zlib.decompress_vec(&compressed, &mut inflated, FlushDecompress::Sync).unwrap();
            assert!(inflated == plain, "seed {seed}, {terms:?}, {} bytes", plain.len());
        }
    }
}

/// Damaged messages: whatever is inflated here is what a zlib makes of it, and what a zlib refuses is refused. We refuse
/// more: what does not end where its sender says.
#[test]
fn a_zlib_comes_to_the_same_verdicts() {
    let terms = Terms { takeover: false, window_bits: 15 };
    let agreed = Agreed { sending: terms, receiving: terms };
    let (mut contexts, limits) = (Contexts::new(), Limits { message_bytes_max: 1 << 20, ..Limits::default() });
    let (mut both, mut neither, mut only_theirs) = (0, 0, 0);
    for seed in 1..=3_000 {
        let mut random = Random(seed);
        let mut sender = Engine::new(Role::Server, Some(agreed));
        let plain: Vec<u8> = message(&mut random).into_iter().take(5_000).collect();
        let mut compressed = payloads(&compress(&mut sender, &mut contexts, Kind::Binary, &plain, 4_096));
        damage(&mut compressed, &mut random);

        let mut engine = Engine::new(Role::Server, Some(agreed));
        let (mut input, mut at, mut inflated) = (frame(0x40 | BINARY, &compressed), 0, Vec::new());
        let ours = loop {
            match engine.receive(&mut input[at..], &mut contexts, &limits) {
                Ok(Step { consumed, event: Event::Data(piece) }) => {
                    inflated.extend_from_slice(engine.bytes(&piece, &input[at..]));
                    at += consumed;
                }
                Ok(step) => break Ok(step.event),
                Err(error) => break Err(error),
            }
        };
        compressed.extend_from_slice(&[0, 0, 0xff, 0xff]);
        let mut zlib = Decompress::new(false);
        let mut their_inflated = Vec::with_capacity((1 << 20) + 1);
        let theirs = zlib.decompress_vec(&compressed, &mut their_inflated, FlushDecompress::Sync);
        match (ours, theirs) {
            (Ok(_), Ok(flate2::Status::StreamEnd)) => assert!(inflated.starts_with(&their_inflated), "seed {seed}"),
            (Ok(_), Ok(_)) => {
                assert!(inflated == their_inflated, "seed {seed}");
                both += 1;
            }
            (Err(Error::Deflate), Err(_)) => neither += 1,
            (Err(Error::Deflate), Ok(_)) => only_theirs += 1,
            (ours, theirs) => panic!("seed {seed}: ours {ours:?}, theirs {theirs:?}: {}", compressed.escape_ascii()),
        }
    }
    println!("both {both}, neither {neither}, only theirs {only_theirs}");
    assert!(both > 500 && neither > 500 && only_theirs > 10);
}

/// Of a random length and redundancy.
fn message(random: &mut Random) -> Vec<u8> {
    let count = [0, 1, 30, 500, 5_000, 90_000][random.below(6)];
    let letters = [1, 2, 30, 256][random.below(4)];
    let mut message = Vec::new();
    while message.len() < count {
        if random.below(3) == 0 && !message.is_empty() {
            let start = random.below(message.len());
            let range: Range<usize> = start..start + random.below((message.len() - start).min(300));
            message.extend_from_within(range);
        } else {
            message.push(random.below(letters) as u8);
        }
    }
    message
}
