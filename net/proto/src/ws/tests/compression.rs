//! permessage-deflate, by section of RFC 7692: what is inflated, what is refused, what is held; and that both directions
//! understand each other and a zlib.

use super::deflate::{Deflater, Inflater};
use super::*;

const FRESH: Terms = Terms { takeover: false, window_bits: 15 };
const KEPT: Terms = Terms { takeover: true, window_bits: 15 };

fn both(terms: Terms) -> Option<Agreed> {
    Some(Agreed { sending: terms, receiving: terms })
}

#[track_caller]
fn check(case: &str, terms: Terms, input: &[Vec<u8>], expect: &str) {
    check_with(case, Role::Server, both(terms), &input.concat(), &Limits::default(), expect);
}

/// RSV1, at the first frame of a compressed message.
const RSV1: u8 = 0x40;

#[test]
fn messages_are_inflated() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    check("7.2.3.1", FRESH, &[frame(RSV1 | TEXT, hello)], "text 'Hello' .");
    check("7.2.3.1", FRESH, &[frame(RSV1 | TEXT_FIRST, &hello[..3]), frame(LAST, &hello[3..])], "text 'Hello' .");
    for at in 0..=hello.len() {
        let parts = [frame(RSV1 | TEXT_FIRST, &hello[..at]), frame(PING, ""), frame(LAST, &hello[at..])];
        check("6.1: control frames between", KEPT, &parts, "ping '' >pong '' text 'Hello' .");
    }
    let twice = [frame(RSV1 | TEXT, hello), frame(RSV1 | TEXT, b"\xf2\x00\x11\x00\x00")];
    check("7.2.3.2", KEPT, &twice, "text 'Hello' text 'Hello' .");
    check("7.2.3.2: without takeover", FRESH, &twice, "text 'Hello' Deflate >close 1007 ");
    check(
        "7.2.3.3: not compressed",
        FRESH,
        &[frame(RSV1 | TEXT, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")],
        "text 'Hello' .",
    );
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    check(
        "7.2.3.4: BFINAL",
        KEPT,
        &[frame(RSV1 | TEXT, last), frame(RSV1 | TEXT, last)],
        "text 'Hello' text 'Hello' .",
    );
    check("7.2.3.4: BFINAL, kept", KEPT, &[frame(RSV1 | TEXT, last), twice[1].clone()], "text 'Hello' text 'Hello' .");
    let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    check("7.2.3.5: two blocks", FRESH, &[frame(RSV1 | TEXT, two)], "text 'Hello' .");
    check(
        "7.2.3.6: empty",
        FRESH,
        &[frame(RSV1 | TEXT, b"\x00"), frame(RSV1 | BINARY, b"\x02\x00")],
        "text '' binary '' .",
    );
    check(
        "6: some are not compressed",
        KEPT,
        &[frame(TEXT, "a"), frame(RSV1 | TEXT, hello), frame(TEXT, "b")],
        "text 'a' text 'Hello' text 'b' .",
    );
    check(
        "6.1: only at the first",
        KEPT,
        &[frame(RSV1 | TEXT_FIRST, &hello[..3]), frame(RSV1 | LAST, &hello[3..])],
        "ReservedBit >close 1002 ",
    );
    check("6.1: not at control frames", KEPT, &[frame(RSV1 | PING, "")], "ReservedBit >close 1002 ");
    check(
        "6455 5.4",
        KEPT,
        &[frame(RSV1 | TEXT_FIRST, &hello[..3]), frame(TEXT, "a")],
        "MessageUnfinished >close 1002 ",
    );
    check("unfinished", KEPT, &[frame(RSV1 | TEXT_FIRST, hello)], "…");
}

#[test]
fn what_cannot_be_inflated_is_refused() {
    let refused = "Deflate >close 1007 ";
    check("1951 3.2.3: type", FRESH, &[frame(RSV1 | TEXT, b"\x06\x00")], refused);
    check("1951 3.2.4: lengths", FRESH, &[frame(RSV1 | TEXT, b"\x00\x05\x00\xfa\xfeHello\x00")], refused);
    check("1951 3.2.5: distance", FRESH, &[frame(RSV1 | TEXT, b"\xf2\x00\x11\x00\x00")], refused);
    // The four bytes that are left away must end a block, and be none of its content.
    check("7.2.2: within a block", FRESH, &[frame(RSV1 | TEXT, b"\xf2\x48\xcd\xc9")], refused);
    check("7.2.2: within a block", FRESH, &[frame(RSV1 | BINARY, b"\x00\x09\x00\xf6\xffHello")], refused);
    check("7.2.2: no block", FRESH, &[frame(RSV1 | TEXT, "")], refused);
    check("7.2.2: the end left in", FRESH, &[frame(RSV1 | TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00")], refused);
    // A text is judged as it is inflated, whatever follows.
    let bad = compressed(b"abc\xff", FRESH);
    check("6455 8.1", FRESH, &[frame(RSV1 | TEXT, &bad)], "Utf8 >close 1007 ");
    let half = compressed("abä".as_bytes().split_last().unwrap().1, FRESH);
    check("6455 8.1", FRESH, &[frame(RSV1 | TEXT, &half)], "Utf8Incomplete >close 1007 ");
    check("6455 5.6", FRESH, &[frame(RSV1 | BINARY, &bad)], "binary 'abc\\xff' .");
}

/// The bytes of a message as the deflater gives them.
fn compressed(message: &[u8], terms: Terms) -> Vec<u8> {
    let mut engine = Engine::new(Role::Server, both(terms));
    payloads(&compress(&mut engine, &mut Contexts::new(), Kind::Binary, message, 4096))
}

#[test]
fn a_bomb_goes_off_within_the_limit() {
    let bomb = compressed(&vec![0; 16 << 20], FRESH);
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    let limits = Limits { message_bytes_max: 100_000, ..Limits::default() };
    let input = frame(RSV1 | BINARY, &bomb);
    check_with("bomb", Role::Server, both(FRESH), &input, &limits, "MessageTooLong >close 1009 ");
    // As soon as a byte too many is inflated, of whatever little input.
    let (mut engine, mut contexts) = (Engine::new(Role::Server, both(FRESH)), Contexts::new());
    let (mut input, mut at, mut inflated) = (input, 0, 0);
    let error = loop {
        match engine.receive(&mut input[at..], &mut contexts, &limits) {
            Ok(Step { consumed, event: Event::Data(piece) }) => {
                assert!(piece.range.len() <= 32 * 1024, "a piece at a time");
                inflated += piece.range.len();
                at += consumed;
            }
            other => break other,
        }
    };
    assert_eq!((error, inflated), (Err(Error::MessageTooLong), 3 * 32 * 1024));
    assert!(at < 1_000, "{at} bytes of input");

    for (count, expect) in [(1000, "binary 1000*'a' ."), (1001, "MessageTooLong >close 1009 ")] {
        let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
        let input = frame(RSV1 | BINARY, compressed(&vec![b'a'; count], FRESH));
        check_with("bound", Role::Server, both(FRESH), &input, &limits, expect);
    }
    let limits = Limits { message_bytes_max: 0, ..Limits::default() };
    check_with("bound", Role::Server, both(FRESH), &frame(RSV1 | BINARY, [0]), &limits, "binary '' .");
}

/// Text that compresses like text does, with some that does not.
fn message(random: &mut Random, count: usize) -> Vec<u8> {
    let words = ["shard", "reactor", " ", ", ", "{\"price\": ", "ü", "\n", "0123456789", "}", "buffer"];
    let mut message = Vec::new();
    while message.len() < count {
        match random.below(20) {
            0 => message.extend((0..random.below(100)).map(|_| random.next() as u8)),
            1 if !message.is_empty() => {
                let start = random.below(message.len());
                let end = start + random.below((message.len() - start).min(500));
                message.extend_from_within(start..end);
            }
            _ => message.extend_from_slice(words[random.below(words.len())].as_bytes()),
        }
    }
    message.truncate(count);
    message
}

#[test]
fn whatever_is_compressed_is_inflated_in_every_window() {
    for seed in 1..=60 {
        let mut random = Random(seed);
        let terms = Terms { takeover: random.below(2) == 0, window_bits: 8 + random.below(8) as u8 };
        let (mut server, mut client) = (Engine::new(Role::Server, both(terms)), Engine::new(Role::Client, both(terms)));
        let (mut contexts, limits) = (Contexts::new(), Limits::default());
        for _ in 0..6 {
            let count = [0, 1, 50, 300, 5_000, 40_000, 100_000][random.below(7)];
            let plain = message(&mut random, count);
            let room = [64, 70, 200, 4_096, 60_000][random.below(5)];
            let mut input = compress(&mut server, &mut contexts, Kind::Binary, &plain, room);
            let inflated = receive(&mut client, &mut contexts, &mut input, &limits);
            assert!(inflated == plain, "seed {seed}, {terms:?}, {count} bytes in {room}");
        }
    }
}

/// Found by Autobahn's case 12.2.10: where a block has more bytes than there is room for, the library's next call gives the
/// rest and does nothing else, and that was taken for the flush at the message's end.
#[test]
fn what_is_left_of_a_block_is_not_taken_for_the_end_of_a_message() {
    let mut random = Random(1);
    let noise: Vec<u8> = (0..140_000).map(|_| random.next() as u8).collect();
    for terms in [FRESH, KEPT, Terms { takeover: true, window_bits: 10 }] {
        for (room, step) in [(64, 19_001), (1_000, 4_001), (16 * 1024, 977), (60_000, 3_001)] {
            for count in (20_000..noise.len()).step_by(step) {
                let (mut server, mut client) =
                    (Engine::new(Role::Server, both(terms)), Engine::new(Role::Client, both(terms)));
                let (mut contexts, limits) = (Contexts::new(), Limits::default());
                let mut input = compress(&mut server, &mut contexts, Kind::Binary, &noise[..count], room);
                let inflated = receive(&mut client, &mut contexts, &mut input, &limits);
                assert!(inflated == noise[..count], "{terms:?}, {count} bytes in {room}");
            }
        }
    }
}

#[test]
fn a_message_may_be_compressed_as_it_comes() {
    let (mut server, mut contexts, mut out) = (Engine::new(Role::Server, both(FRESH)), Contexts::new(), [0; 4096]);
    let mut sent = Vec::new();
    for (part, is_last) in [(&b"Hel"[..], false), (b"", false), (b"lo", false), (b"", true)] {
        let compressed = server.compress(Kind::Text, part, is_last, &mut contexts, &mut out).unwrap();
        assert_eq!((compressed.taken, compressed.is_end), (part.len(), is_last));
        sent.extend_from_slice(&out[..compressed.written]);
    }
    assert_eq!(sent, bare(RSV1 | TEXT, payloads(&sent)));
    let says = transcript(Role::Client, both(FRESH), &sent, &Limits::default(), |left| left);
    assert_eq!(says, "text 'Hello' .");
    assert_eq!(server.compress(Kind::Text, b"a", false, &mut contexts, &mut [0; 63]), Err(WriteError::Full));
    server.compress(Kind::Text, b"a", false, &mut contexts, &mut out).unwrap();
    assert_eq!(server.fragment(Kind::Text, 1, true, &mut out), Err(WriteError::OtherMessage));
    assert_eq!(server.compress(Kind::Binary, b"a", true, &mut contexts, &mut out), Err(WriteError::OtherMessage));
}

#[test]
fn a_connection_that_keeps_nothing_holds_nothing() {
    let (mut contexts, limits, mut out) = (Contexts::new(), Limits::default(), [0; 4096]);
    let mut server = Engine::new(Role::Server, both(FRESH));
    let mut run = |server: &mut Engine, contexts: &mut Contexts| {
        let mut input = frame(RSV1 | TEXT, compressed(&[b'a'; 100], FRESH));
        let step = server.receive(&mut input, contexts, &limits).unwrap();
        let rest = server.receive(&mut input[step.consumed..], contexts, &limits).unwrap();
        assert_eq!(rest.event, Event::NeedMore);
        server.compress(Kind::Text, &[b'a'; 100], true, contexts, &mut out).unwrap();
    };
    run(&mut server, &mut contexts);
    assert!(server.inflater.is_none() && server.deflater.is_none());
    assert_eq!((contexts.inflaters.len(), contexts.deflaters.len()), (1, 1));
    run(&mut server, &mut contexts);
    assert_eq!((contexts.inflaters.len(), contexts.deflaters.len()), (1, 1), "they are used again");

    let mut keeps = Engine::new(Role::Server, both(KEPT));
    run(&mut keeps, &mut contexts);
    assert!(keeps.inflater.is_some() && keeps.deflater.is_some());

    // What the documentation says that they hold.
    assert_eq!((Deflater::BYTES.div_ceil(1024), Inflater::BYTES.div_ceil(1024)), (312, 43));
}

/// One connection must not be able to read in another's messages: what is used again begins empty.
#[test]
fn nothing_of_a_connection_is_seen_by_the_next() {
    let (mut contexts, limits) = (Contexts::new(), Limits::default());
    let mut first = Engine::new(Role::Server, both(FRESH));
    let mut secret = frame(RSV1 | BINARY, compressed(&b"secret".repeat(20_000), FRESH));
    let mut at = 0;
    loop {
        let step = first.receive(&mut secret[at..], &mut contexts, &limits).unwrap();
        at += step.consumed;
        if step.event == Event::NeedMore {
            break;
        }
    }
    assert_eq!(contexts.inflaters.len(), 1);
    // "Hello", by reference to a message that this connection never had.
    let mut second = Engine::new(Role::Server, both(KEPT));
    let mut asks = frame(RSV1 | BINARY, b"\xf2\x00\x11\x00\x00");
    let step = second.receive(&mut asks, &mut contexts, &limits).unwrap();
    let Event::Data(piece) = step.event else { panic!("{step:?}") };
    assert_eq!(second.bytes(&piece, &asks), b"H", "what it says itself");
    assert_eq!(second.receive(&mut asks[step.consumed..], &mut contexts, &limits), Err(Error::Deflate));

    // And the deflater refers to nothing before its message.
    let mut server = Engine::new(Role::Server, both(FRESH));
    let one = compress(&mut server, &mut contexts, Kind::Text, b"a text of some length", 200);
    let two = compress(&mut server, &mut contexts, Kind::Text, b"a text of some length", 200);
    assert_eq!(one, two);
}

/// Whatever the bytes: nothing panics, and what becomes of them does not depend on the reads.
#[test]
fn damaged_streams_end_the_same_however_they_are_cut() {
    let limits = Limits { frame_bytes_max: 1_500, message_bytes_max: 2_000, fragment_count_max: 8 };
    let mut ends = std::collections::BTreeMap::new();
    for seed in 1..=3_000 {
        let mut random = Random(seed);
        let terms = Terms { takeover: random.below(2) == 0, window_bits: [8, 10, 15][random.below(3)] };
        let agreed = both(terms);
        let role = if random.below(3) == 0 { Role::Client } else { Role::Server };
        let (mut sender, mut contexts) = (Engine::new(Role::Server, agreed), Contexts::new());
        let mut input = Vec::new();
        for _ in 0..1 + random.below(4) {
            let count = [0, 3, 100, 900, 2_300][random.below(5)];
            let text = "Hällo €! ".repeat(count / 9 + 1).into_bytes();
            let plain = if random.below(2) == 0 { text } else { message(&mut random, count) };
            let frames = if random.below(3) == 0 {
                bare(TEXT + random.below(2) as u8, &plain)
            } else {
                let kind = if random.below(3) == 0 { Kind::Binary } else { Kind::Text };
                compress(&mut sender, &mut contexts, kind, &plain, 64 + random.below(1_000))
            };
            let mut rest = &frames[..];
            while let [first, length, ..] = rest {
                let (start, count) = match length {
                    126 => (4, u16::from_be_bytes([rest[2], rest[3]]) as usize),
                    &length => (2, length as usize),
                };
                let mut payload = rest[start..start + count].to_vec();
                if random.below(6) == 0 && count > 0 {
                    payload[random.below(count)] ^= 1 << random.below(8);
                }
                input.extend(if role == Role::Server { frame(*first, &payload) } else { bare(*first, &payload) });
                rest = &rest[start + count..];
            }
        }
        for _ in 0..random.below(3) {
            let at = random.below(input.len());
            match random.below(3) {
                0 => input[at] = random.next() as u8,
                1 => input.truncate(at + 1),
                _ => drop(input.remove(at)),
            }
        }
        let whole = transcript(role, agreed, &input, &limits, |left| left);
        let bytewise = transcript(role, agreed, &input, &limits, |_| 1);
        assert_eq!(whole, bytewise, "seed {seed}, byte by byte");
        let cut = transcript(role, agreed, &input, &limits, |left| 1 + random.below(left.min(200)));
        assert_eq!(whole, cut, "seed {seed}, cut at random");
        let error = whole.rsplit(' ').find(|word| word.starts_with(char::is_uppercase) && !word.contains('\''));
        *ends.entry(error.unwrap_or("none").to_owned()).or_insert(0) += 1;
    }
    println!("{ends:?}");
    for end in ["Deflate", "Utf8", "MessageTooLong", "FrameTooLong", "ReservedBit"] {
        assert!(ends.get(end).is_some_and(|&count| count > 10), "{end}: {ends:?}");
    }
}
