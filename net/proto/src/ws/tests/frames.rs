//! What a server and a client make of frames, by section of RFC 6455.

use super::*;

#[test]
fn masks() {
    check("5.7", &[b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec()], "text 'Hello' .");
    check("5.1: unmasked", &[bare(TEXT, "Hello")], "MaskMissing >close 1002 ");
    check("5.1: unmasked ping", &[bare(PING, "")], "MaskMissing >close 1002 ");
    check("5.3: a key of zeros", &[b"\x81\x82\0\0\0\0hi".to_vec()], "text 'hi' .");
    client("5.7", &[bare(TEXT, "Hello")], "text 'Hello' .");
    client("5.1: masked", &[frame(TEXT, "Hello")], "MaskForbidden >close 1002 ");
    client("5.1: masked pong", &[bare(TEXT, "a"), frame(PONG, "")], "text 'a' MaskForbidden >close 1002 ");
}

#[test]
fn masks_of_any_length_and_place() {
    let mut random = Random(1);
    for _ in 0..2_000 {
        let key = (random.next() as u32 | 1).to_le_bytes();
        let (offset, count) = (random.below(9), random.below(200));
        let plain: Vec<u8> = (0..offset + count).map(|_| random.next() as u8).collect();
        let expect: Vec<u8> = plain[offset..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let (mut masked, mut mask) = (plain[offset..].to_vec(), Mask::new(key));
        let (first, second) = masked.split_at_mut(random.below(count));
        mask.apply(first);
        mask.apply(&mut []);
        mask.apply(second);
        assert_eq!(masked, expect, "key {key:?}, {count} bytes");
    }
}

#[test]
fn lengths() {
    let with = |head: &[u8], count: usize| [head, &[0; 4], &vec![b'a'; count]].concat();
    check("5.2", &[with(&[BINARY, 0x80 | 125], 125)], "binary 125*'a' .");
    check("5.2", &[with(&[BINARY, 0x80 | 126, 0, 126], 126)], "binary 126*'a' .");
    check("5.2", &[with(&[BINARY, 0x80 | 126, 0xff, 0xff], 65_535)], "binary 65535*'a' .");
    check("5.2", &[with(&[BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536)], "binary 65536*'a' .");
    check("5.2: minimal", &[with(&[BINARY, 0x80 | 126, 0, 125], 125)], "LengthNotMinimal >close 1002 ");
    check("5.2: minimal", &[with(&[BINARY, 0x80 | 126, 0, 0], 0)], "LengthNotMinimal >close 1002 ");
    let long = [BINARY, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    check("5.2: minimal", &[with(&long, 10)], "LengthNotMinimal >close 1002 ");
    check("5.2: top bit", &[with(&[BINARY, 0x80 | 127, 0x80, 0, 0, 0, 0, 1, 0, 0], 9)], "LengthTopBit >close 1002 ");
    // Judged as soon as it is there.
    check("5.2: top bit", &[vec![BINARY, 0x80 | 127, 0xff]], "LengthTopBit >close 1002 ");
    check(
        "5.2: all ones",
        &[with(&[BINARY, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255], 0)],
        "FrameTooLong >close 1009 ",
    );
    check("5.2: incomplete", &[vec![BINARY, 0x80 | 126, 1]], "…");
    check("5.2: incomplete", &[vec![BINARY]], "…");
    check("5.2: incomplete", &[frame(BINARY, "abc")[..7].to_vec()], "…");
    client("5.2", &[bare(BINARY, [b'a'; 70_000])], "binary 70000*'a' .");
}

#[test]
fn control_frames() {
    check("5.5.2", &[frame(PING, "abc")], "ping 'abc' >pong 'abc' .");
    check("5.5.2", &[frame(PING, [b'a'; 125])], "ping 125*'a' >pong 125*'a' .");
    check("5.5.3", &[frame(PONG, "abc")], "pong 'abc' .");
    check("5.5: length", &[frame(PING, [b'a'; 126])], "ControlTooLong >close 1002 ");
    check("5.5: length", &[frame(CLOSE, [b'a'; 70_000])], "ControlTooLong >close 1002 ");
    check("5.5: length", &[vec![PONG, 0x80 | 127]], "ControlTooLong >close 1002 ");
    for opcode in [CLOSE, PING, PONG] {
        check("5.5: fragmented", &[frame(opcode & 0x7f, "")], "ControlFragmented >close 1002 ");
        check("5.5: fragmented", &[vec![opcode & 0x7f]], "ControlFragmented >close 1002 ");
    }
    client("5.5.2", &[bare(PING, "abc"), bare(PING, "")], "ping 'abc' >pong 'abc' ping '' >pong '' .");
}

#[test]
fn reserved_bits_and_opcodes() {
    for bits in [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70] {
        for first in [TEXT, BINARY, TEXT_FIRST, CLOSE, PING, PONG] {
            check("5.2: reserved bits", &[frame(bits | first, "a")], "ReservedBit >close 1002 ");
            check("5.2: at once", &[vec![bits | first]], "ReservedBit >close 1002 ");
        }
        check("5.2: continued", &[frame(TEXT_FIRST, "a"), frame(bits | LAST, "b")], "ReservedBit >close 1002 ");
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        check("5.2: opcodes", &[frame(0x80 | opcode, "a")], "Opcode >close 1002 ");
        check("5.2: opcodes", &[frame(opcode, "a")], "Opcode >close 1002 ");
        check("5.2: at once", &[vec![opcode]], "Opcode >close 1002 ");
        check("5.2: within", &[frame(TEXT_FIRST, "a"), frame(0x80 | opcode, "")], "Opcode >close 1002 ");
    }
}

#[test]
fn fragments() {
    check("5.4", &[frame(TEXT_FIRST, "Hel"), frame(LAST, "lo")], "text 'Hello' .");
    check("5.4", &[frame(BINARY_FIRST, "a"), frame(MORE, "b"), frame(LAST, "c")], "binary 'abc' .");
    check("5.4: empty", &[frame(TEXT_FIRST, ""), frame(MORE, ""), frame(LAST, "")], "text '' .");
    check("5.4: empty end", &[frame(TEXT_FIRST, "a"), frame(LAST, "")], "text 'a' .");
    check("5.4: unfinished", &[frame(TEXT_FIRST, "a"), frame(MORE, "b")], "…");
    let between = [frame(TEXT_FIRST, "a"), frame(PING, "p"), frame(MORE, "b"), frame(PONG, "q"), frame(LAST, "c")];
    check("5.4: between", &between, "ping 'p' >pong 'p' pong 'q' text 'abc' .");
    let close = [frame(TEXT_FIRST, "a"), frame(CLOSE, b"\x03\xe8"), frame(LAST, "c")];
    check("5.4: close within", &close, "close 1000 '' >close 1000 closed");
    check("5.4: nothing", &[frame(LAST, "a")], "ContinuationUnexpected >close 1002 ");
    check("5.4: nothing", &[frame(MORE, "a")], "ContinuationUnexpected >close 1002 ");
    let again = [frame(TEXT, "a"), frame(LAST, "b")];
    check("5.4: nothing more", &again, "text 'a' ContinuationUnexpected >close 1002 ");
    let two = [frame(TEXT_FIRST, "a"), frame(TEXT, "b")];
    check("5.4: a second", &two, "MessageUnfinished >close 1002 ");
    let two = [frame(BINARY_FIRST, "a"), frame(BINARY_FIRST, "b")];
    check("5.4: a second", &two, "MessageUnfinished >close 1002 ");
}

#[test]
fn text_is_utf8_and_refused_at_once() {
    let text = "κόσμε \u{10ffff} \u{7ff}\u{800}";
    check("8.1", &[frame(TEXT, text)], &format!("text {} .", shown(text.as_bytes())));
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let parts = [frame(TEXT_FIRST, &bytes[..at]), frame(MORE, ""), frame(PING, ""), frame(LAST, &bytes[at..])];
        check("8.1: cut", &parts, &format!("ping '' >pong '' text {} .", shown(bytes)));
    }
    // Each is refused at its last byte, although the frame goes on.
    for bad in [
        &b"\x80"[..],
        b"\xbf",
        b"\xc0",
        b"\xc1",
        b"\xf5",
        b"\xfe",
        b"\xff", // these never stand, or never first
        b"\xc2a",
        b"\xc2\xc2",
        b"\xe0\x9f",
        b"\xe0\x80",
        b"\xed\xa0",
        b"\xef\xbf\x7f",
        b"\xe1\x80a", // overlong, surrogates
        b"\xf0\x8f",
        b"\xf0\x80",
        b"\xf4\x90",
        b"\xf4\x8f\xbfa",
        b"\xf1\x80\x80\x7f",
    ] {
        for before in ["", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ä", "aé\u{ffff}"] {
            let whole = frame(TEXT, [before.as_bytes(), bad, b"more"].concat());
            let cut = whole.len() - 4;
            check("8.1", &[whole[..cut].to_vec()], "Utf8 >close 1007 ");
            check("8.1", &[whole], "Utf8 >close 1007 ");
            let later = [frame(TEXT_FIRST, before), frame(LAST, bad)];
            check("8.1", &later, "Utf8 >close 1007 ");
            let binary = [before.as_bytes(), bad].concat();
            check("5.6", &[frame(BINARY, &binary)], &format!("binary {} .", shown(&binary)));
        }
    }
    for half in [&b"\xc2"[..], b"\xe0\xa0", b"\xef", b"\xf0\x90", b"\xf4\x8f\xbf"] {
        check("8.1: ends within", &[frame(TEXT, half)], "Utf8Incomplete >close 1007 ");
        check("8.1: ends within", &[frame(TEXT_FIRST, half), frame(LAST, "")], "Utf8Incomplete >close 1007 ");
        check("8.1: goes on", &[frame(TEXT_FIRST, half), frame(MORE, "")], "…");
        check("8.1: not over", &[frame(TEXT, [half, b"a"].concat())[..6 + half.len()].to_vec()], "…");
    }
    // The next text begins anew.
    check(
        "8.1",
        &[frame(TEXT, "ä"), frame(BINARY, b"\xc3"), frame(TEXT, "b")],
        "text '\\xc3\\xa4' binary '\\xc3' text 'b' .",
    );
}

#[test]
fn closes() {
    check("5.5.1: empty", &[frame(CLOSE, "")], "close none '' >close closed");
    check("5.5.1", &[frame(CLOSE, b"\x03\xe9going")], "close 1001 'going' >close 1001 closed");
    check("5.5.1", &[frame(CLOSE, [&b"\x03\xe8"[..], &[b'a'; 123]].concat())], "close 1000 123*'a' >close 1000 closed");
    check("5.5.1: half a code", &[frame(CLOSE, b"\x03")], "CloseLength >close 1002 ");
    check("5.5.1: reason", &[frame(CLOSE, b"\x03\xe8\xff")], "CloseReason >close 1002 ");
    check("5.5.1: reason", &[frame(CLOSE, b"\x03\xe8\xc3")], "CloseReason >close 1002 ");
    for code in 0..=u16::MAX {
        // RFC 6455 section 7.4.2, and the registry.
        let may = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(CloseCode::new(code).map(CloseCode::get), may.then_some(code));
    }
    for code in [1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999_u16] {
        let expect = format!("close {code} '' >close {code} closed");
        check("7.4", &[frame(CLOSE, code.to_be_bytes())], &expect);
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535_u16] {
        check("7.4", &[frame(CLOSE, code.to_be_bytes())], "CloseCode >close 1002 ");
    }
    let after = [frame(CLOSE, ""), frame(TEXT, "a"), frame(PING, "b"), vec![0xff, 0xff], frame(CLOSE, "")];
    check("5.5.1: nothing after", &after, "close none '' >close closed");
    client("5.5.1", &[bare(CLOSE, b"\x03\xe8")], "close 1000 '' >close 1000 closed");
}

#[test]
fn limits() {
    let limits = Limits { frame_bytes_max: 10, message_bytes_max: 25, fragment_count_max: 3 };
    let check = |case: &str, input: &[Vec<u8>], expect: &str| {
        check_with(case, Role::Server, None, &input.concat(), &limits, expect);
    };
    check("frame", &[frame(BINARY, [b'a'; 10])], "binary 'aaaaaaaaaa' .");
    check("frame", &[frame(BINARY, [b'a'; 11])], "FrameTooLong >close 1009 ");
    check("frame: by its head", &[frame(BINARY, [b'a'; 11])[..6].to_vec()], "FrameTooLong >close 1009 ");
    check("frame: not a ping", &[frame(PING, [b'a'; 20])], "ping 20*'a' >pong 20*'a' .");
    let of = |counts: &[usize]| -> Vec<Vec<u8>> {
        let frames = counts.iter().enumerate().map(|(index, &count)| {
            let is_last = index + 1 == counts.len();
            let first = if index == 0 { BINARY_FIRST } else { MORE } | if is_last { 0x80 } else { 0 };
            frame(first, vec![b'a'; count])
        });
        frames.collect()
    };
    check("message", &of(&[10, 10, 5]), "binary 25*'a' .");
    check("message", &of(&[10, 10, 6]), "MessageTooLong >close 1009 ");
    check("message: each anew", &[of(&[10, 10, 5]), of(&[10])].concat(), "binary 25*'a' binary 'aaaaaaaaaa' .");
    check("fragments", &of(&[0, 0, 0, 0]), "TooManyFragments >close 1008 ");
    check("fragments: each anew", &[of(&[0, 0, 0]), of(&[0, 0, 1])].concat(), "binary '' binary 'a' .");
    let pings = [&of(&[1, 1])[..1], &vec![frame(PING, ""); 9], &[frame(LAST, "")]].concat();
    check("fragments: not pings", &pings, &("ping '' >pong '' ".repeat(9) + "binary 'a' ."));
}

#[test]
fn only_the_latest_ping_is_answered() {
    let (mut engine, mut contexts, limits) = (Engine::new(Role::Server, None), Contexts::new(), Limits::default());
    let mut input: Vec<u8> = (0..10).flat_map(|index: u8| frame(PING, [index; 3])).collect();
    let mut at = 0;
    for _ in 0..10 {
        let step = engine.receive(&mut input[at..], &mut contexts, &limits).unwrap();
        assert_eq!(step.event, Event::Ping);
        at += step.consumed;
    }
    let mut out = [0; CONTROL_FRAME_BYTES_MAX];
    assert_eq!(engine.transmit(&mut out), Ok(5));
    assert_eq!(out[..5], [PONG, 3, 9, 9, 9]);
    assert_eq!(engine.transmit(&mut out), Ok(0));
}

#[test]
fn pieces_lie_in_the_input() {
    let (mut engine, mut contexts, limits) = (Engine::new(Role::Server, None), Contexts::new(), Limits::default());
    let whole = [frame(TEXT_FIRST, "Hello"), frame(LAST, "you")].concat();
    let mut first = whole[..9].to_vec();
    let step = engine.receive(&mut first, &mut contexts, &limits).unwrap();
    let piece = |range, is_first, is_final| {
        Event::Data(Piece { kind: Kind::Text, range, is_inflated: false, is_first, is_final })
    };
    assert_eq!(step, Step { consumed: 9, event: piece(6..9, true, false) });
    assert_eq!(&first[6..9], b"Hel");
    let mut rest = whole[9..].to_vec();
    let step = engine.receive(&mut rest, &mut contexts, &limits).unwrap();
    assert_eq!(step, Step { consumed: 2, event: piece(0..2, false, false) });
    let step = engine.receive(&mut rest[2..], &mut contexts, &limits).unwrap();
    assert_eq!(step, Step { consumed: 9, event: piece(6..9, false, true) });
    assert_eq!((&rest[..2], &rest[8..]), (&b"lo"[..], &b"you"[..]));
}

/// The close of either end, step by step, as a caller sees it.
#[test]
fn the_close_is_a_hand_shake() {
    let (mut contexts, limits, mut out) = (Contexts::new(), Limits::default(), [0; 200]);
    let open = || (Engine::new(Role::Server, None), Engine::new(Role::Client, None));
    let key = [1, 2, 3, 4];

    // The client is first; what it sent before is reported, what the server sent meanwhile too.
    let (mut server, mut client) = open();
    assert_eq!((server.wait(), client.wait()), (Wait::Nothing, Wait::Nothing));
    client.set_key(key);
    let count = client.close(CloseCode::NORMAL, "bye", &mut out).unwrap();
    assert_eq!(client.wait(), Wait::Close);
    client.set_key(key);
    assert_eq!(client.message(Kind::Text, b"a", &mut [0; 20]), Err(WriteError::Closed));
    assert_eq!(client.close(CloseCode::NORMAL, "", &mut [0; 20]), Err(WriteError::Closed));
    let step = client.receive(&mut bare(TEXT, "late"), &mut contexts, &limits).unwrap();
    assert!(matches!(step.event, Event::Data(_)), "what was on its way is reported");
    let step = client.receive(&mut bare(PING, "late"), &mut contexts, &limits).unwrap();
    assert_eq!((step.event, client.wants_transmit()), (Event::Ping, false), "nothing follows a close");
    let step = server.receive(&mut out[..count], &mut contexts, &limits).unwrap();
    assert_eq!((step.event, server.reason()), (Event::Close(Some(CloseCode::NORMAL)), "bye"));
    assert_eq!(server.wait(), Wait::Transmit);
    assert!(server.message(Kind::Text, b"last words", &mut [0; 20]).is_ok(), "before the answer");
    let count = server.transmit(&mut out).unwrap();
    assert_eq!(&out[..count], b"\x88\x02\x03\xe8");
    assert_eq!(server.wait(), Wait::HangUp);
    let step = client.receive(&mut out[..count], &mut contexts, &limits).unwrap();
    assert_eq!(step.event, Event::Close(Some(CloseCode::NORMAL)));
    assert_eq!(client.wait(), Wait::End, "the server hangs up first");
    assert_eq!((client.end_of_input(), server.end_of_input()), (Ok(()), Ok(())));

    // Both at once: neither answers.
    let (mut server, mut client) = open();
    let mut ours = [0; 20];
    client.set_key(key);
    let count = client.close(CloseCode::NORMAL, "", &mut out).unwrap();
    let our_count = server.close(CloseCode::GOING_AWAY, "", &mut ours).unwrap();
    server.receive(&mut out[..count], &mut contexts, &limits).unwrap();
    client.receive(&mut ours[..our_count], &mut contexts, &limits).unwrap();
    assert_eq!((server.wait(), client.wait()), (Wait::HangUp, Wait::End));
    assert_eq!((server.transmit(&mut out), client.transmit(&mut out)), (Ok(0), Ok(0)));

    // A fault after our close: nothing more can be said.
    let (mut server, _) = open();
    server.close(CloseCode::NORMAL, "", &mut out).unwrap();
    assert_eq!(server.receive(&mut [0xff], &mut contexts, &limits), Err(Error::ReservedBit));
    assert_eq!((server.wait(), server.transmit(&mut out)), (Wait::HangUp, Ok(0)));

    // The peer vanishes.
    for mut engine in [open().0, open().1] {
        assert_eq!((engine.end_of_input(), engine.wait()), (Err(Error::Incomplete), Wait::HangUp));
    }
    let (mut server, _) = open();
    server.close(CloseCode::NORMAL, "", &mut out).unwrap();
    assert_eq!((server.end_of_input(), server.wait()), (Err(Error::Incomplete), Wait::HangUp));

    // A ping's answer comes before the close's, and not after.
    let (mut server, _) = open();
    server.receive(&mut frame(PING, "a"), &mut contexts, &limits).unwrap();
    server.receive(&mut [0xff], &mut contexts, &limits).unwrap_err();
    assert_eq!(server.transmit(&mut out), Ok(3));
    assert_eq!(server.transmit(&mut out), Ok(4));
    assert_eq!(server.transmit(&mut out), Ok(0));
}

#[test]
fn an_assembly_has_a_bound_of_its_own() {
    let mut assembly = Assembly::new(5);
    let piece = |is_first, is_final| Piece { kind: Kind::Text, range: 0..0, is_inflated: false, is_first, is_final };
    assert_eq!(assembly.push(&piece(true, true), b"123456"), Err(Error::MessageTooLong));
    assert_eq!(assembly.push(&piece(true, false), b"123"), Ok(None));
    assert_eq!(assembly.push(&piece(false, false), b"456"), Err(Error::MessageTooLong));
    assert_eq!(assembly.push(&piece(false, true), b"7"), Err(Error::MessageTooLong), "the rest is no message");
    assert_eq!(assembly.push(&piece(true, false), b"12"), Ok(None));
    let message = assembly.push(&piece(false, true), b"345").unwrap().unwrap();
    assert_eq!((message.text(), message.bytes), (Some("12345"), &b"12345"[..]));
}

/// What a client makes of a server's frames.
#[track_caller]
fn client(case: &str, input: &[Vec<u8>], expect: &str) {
    check_with(case, Role::Client, None, &input.concat(), &Limits::default(), expect);
}
