//! The cases of the Autobahn test suite, by number, as they come to a server: what is sent, and what comes of it. The suite
//! itself asks for echoes over a socket; whether a message is told apart and handed on is the engine's part in that.
//!
//! Cases that differ only in the pieces that are sent at a time are one entry here, since every entry is cut in all ways.

use super::*;

const REFUSED: &str = " >close 1002 ";

/// Frames with everything in them that a case is about.
type Case = (&'static str, Vec<Vec<u8>>, String);

#[track_caller]
fn check_all(cases: Vec<Case>) {
    for (case, input, expect) in cases {
        check(case, &input, &expect);
    }
}

fn star(count: usize) -> Vec<u8> {
    vec![b'*'; count]
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    format!("text {} ", shown(bytes.as_ref()))
}

fn binary(bytes: impl AsRef<[u8]>) -> String {
    format!("binary {} ", shown(bytes.as_ref()))
}

fn ping(bytes: impl AsRef<[u8]>) -> String {
    format!("ping {0} >pong {0} ", shown(bytes.as_ref()))
}

/// Several strings, and that all was well to the end.
fn all(said: &[String]) -> String {
    said.concat() + "."
}

#[test]
fn case_1_framing() {
    let text_of = |count| (vec![frame(TEXT, star(count))], all(&[text(star(count))]));
    let binary_of = |count| (vec![frame(BINARY, vec![0xfe; count])], all(&[binary(vec![0xfe; count])]));
    let numbers = [0, 125, 126, 127, 128, 65_535, 65_536];
    for (index, count) in numbers.into_iter().enumerate() {
        let (input, expect) = text_of(count);
        check(&format!("1.1.{}", index + 1), &input, &expect);
        let (input, expect) = binary_of(count);
        check(&format!("1.2.{}", index + 1), &input, &expect);
    }
    // 1.1.8 and 1.2.8 are 1.1.7 and 1.2.7 in pieces of 997 bytes.
}

#[test]
fn case_2_pings_and_pongs() {
    let bytes = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let many: Vec<String> = (0..10).map(|index| format!("payload-{index}")).collect();
    check_all(vec![
        ("2.1", vec![frame(PING, "")], all(&[ping("")])),
        ("2.2", vec![frame(PING, "Hello, world!")], all(&[ping("Hello, world!")])),
        ("2.3", vec![frame(PING, bytes)], all(&[ping(bytes)])),
        ("2.4, 2.6", vec![frame(PING, [0xfe; 125])], all(&[ping([0xfe; 125])])),
        ("2.5", vec![frame(PING, [0xfe; 126])], format!("ControlTooLong{REFUSED}")),
        ("2.7", vec![frame(PONG, "")], "pong '' .".into()),
        ("2.8", vec![frame(PONG, "unsolicited")], "pong 'unsolicited' .".into()),
        (
            "2.9",
            vec![frame(PONG, "unsolicited"), frame(PING, "ping")],
            format!("pong 'unsolicited' {}", all(&[ping("ping")])),
        ),
        (
            "2.10, 2.11",
            many.iter().map(|payload| frame(PING, payload)).collect(),
            all(&many.iter().map(ping).collect::<Vec<_>>()),
        ),
    ]);
}

#[test]
fn case_3_reserved_bits() {
    let refused = format!("ReservedBit{REFUSED}");
    let after = |frame: Vec<u8>| vec![super::frame(TEXT, "Hello, world!"), frame, super::frame(PING, "")];
    let after_one = text("Hello, world!") + &refused;
    check_all(vec![
        ("3.1", vec![frame(0x40 | TEXT, "Hello, world!")], refused.clone()),
        ("3.2", after(frame(0x20 | TEXT, "Hello, world!")), after_one.clone()),
        ("3.3, 3.4", after(frame(0x30 | TEXT, "Hello, world!")), after_one.clone()),
        ("3.4", after(frame(0x40 | TEXT, "Hello, world!")), after_one),
        ("3.5", vec![frame(0x50 | BINARY, [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff])], refused.clone()),
        ("3.6", vec![frame(0x60 | PING, "Hello, world!")], refused.clone()),
        ("3.7", vec![frame(0x70 | CLOSE, "")], refused),
    ]);
}

#[test]
fn case_4_opcodes() {
    // 4.1.1 to 4.1.5 are the opcodes 3 to 7, 4.2.1 to 4.2.5 are 11 to 15: alone, with payload, after a text.
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let refused = format!("Opcode{REFUSED}");
        check("4.x.1", &[frame(0x80 | opcode, "")], &refused);
        check("4.x.2", &[frame(0x80 | opcode, "reserved opcode")], &refused);
        let after = |payload: &str| vec![frame(TEXT, "Hello, world!"), frame(0x80 | opcode, payload), frame(PING, "")];
        check("4.x.3", &after(""), &(text("Hello, world!") + &refused));
        check("4.x.4, 4.x.5", &after("reserved opcode"), &(text("Hello, world!") + &refused));
    }
}

#[test]
fn case_5_fragments() {
    let (one, two) = ("fragment1", "fragment2");
    let nothing = format!("ContinuationUnexpected{REFUSED}");
    let whole = text("fragment1fragment2");
    let five = |index: usize| format!("fragment{index}");
    check_all(vec![
        ("5.1", vec![frame(PING & 0x7f, one), frame(LAST, two)], format!("ControlFragmented{REFUSED}")),
        ("5.2", vec![frame(PONG & 0x7f, one), frame(LAST, two)], format!("ControlFragmented{REFUSED}")),
        ("5.3, 5.4, 5.5", vec![frame(TEXT_FIRST, one), frame(LAST, two)], all(std::slice::from_ref(&whole))),
        (
            "5.6, 5.7, 5.8",
            vec![frame(TEXT_FIRST, one), frame(PING, "ping"), frame(LAST, two)],
            all(&[ping("ping"), whole]),
        ),
        ("5.9, 5.10, 5.11", vec![frame(LAST, "non-continuation"), frame(TEXT, "Hello, world!")], nothing.clone()),
        ("5.12, 5.13, 5.14", vec![frame(MORE, "non-continuation"), frame(TEXT, "Hello, world!")], nothing.clone()),
        (
            "5.15",
            vec![frame(TEXT_FIRST, one), frame(LAST, two), frame(MORE, "fragment3"), frame(TEXT, "fragment4")],
            text("fragment1fragment2") + &nothing,
        ),
        ("5.16", vec![frame(MORE, one), frame(TEXT_FIRST, two), frame(LAST, "fragment3")], nothing.clone()),
        ("5.17", vec![frame(LAST, one), frame(TEXT_FIRST, two), frame(LAST, "fragment3")], nothing),
        ("5.18", vec![frame(TEXT_FIRST, one), frame(TEXT, two)], format!("MessageUnfinished{REFUSED}")),
        (
            "5.19, 5.20",
            vec![
                frame(TEXT_FIRST, five(1)),
                frame(MORE, five(2)),
                frame(PING, "pingme 1!"),
                frame(MORE, five(3)),
                frame(MORE, five(4)),
                frame(PING, "pingme 2!"),
                frame(LAST, five(5)),
            ],
            all(&[ping("pingme 1!"), ping("pingme 2!"), text((1..=5).map(five).collect::<String>())]),
        ),
    ]);
}

#[test]
fn case_6_utf8() {
    let greek = "κόσμε";
    let (before, after) = (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", b"edited");
    let bad = [&before[..], b"\xed\xa0\x80", after].concat();
    let refused = " >close 1007 ";
    check_all(vec![
        ("6.1.1", vec![frame(TEXT, "")], all(&[text("")])),
        ("6.1.2", vec![frame(TEXT_FIRST, ""), frame(MORE, ""), frame(LAST, "")], all(&[text("")])),
        (
            "6.1.3",
            vec![frame(TEXT_FIRST, ""), frame(MORE, "middle frame payload"), frame(LAST, "")],
            all(&[text("middle frame payload")]),
        ),
        ("6.2.1", vec![frame(TEXT, "Hello-µ@ßöäüàá-UTF-8!!")], all(&[text("Hello-µ@ßöäüàá-UTF-8!!")])),
        (
            "6.2.2",
            vec![frame(TEXT_FIRST, "Hello-µ@ßöä"), frame(LAST, "üàá-UTF-8!!")],
            all(&[text("Hello-µ@ßöäüàá-UTF-8!!")]),
        ),
        ("6.2.3", one_byte_each("Hello-µ@ßöäüàá-UTF-8!!".as_bytes()), all(&[text("Hello-µ@ßöäüàá-UTF-8!!")])),
        ("6.2.4", one_byte_each(greek.as_bytes()), all(&[text(greek)])),
        ("6.3.1", vec![frame(TEXT, &bad)], format!("Utf8{refused}")),
        ("6.3.2", one_byte_each(&bad), format!("Utf8{refused}")),
    ]);
    // 6.4: fail fast. What follows the byte that decides never comes: between frames (6.4.1, 6.4.2), within one (6.4.3, 6.4.4).
    let (good, decides) = (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", b"\xf4\x90");
    check("6.4.1", &[frame(TEXT_FIRST, good), frame(MORE, b"\xf4\x90\x80\x80")], &format!("Utf8{refused}"));
    check(
        "6.4.2",
        &[frame(TEXT_FIRST, [&good[..], b"\xf4"].concat()), frame(MORE, b"\x90")],
        &format!("Utf8{refused}"),
    );
    let whole = frame(TEXT, [&good[..], decides, b"\x80\x80edited"].concat());
    let until = 6 + good.len() + decides.len();
    check("6.4.3, 6.4.4", &[whole[..until].to_vec()], &format!("Utf8{refused}"));
    check("6.4.3: not before", &[whole[..until - 1].to_vec()], "…");
}

fn one_byte_each(bytes: &[u8]) -> Vec<Vec<u8>> {
    let frames =
        bytes.iter().enumerate().map(|(index, byte)| frame(if index == 0 { TEXT_FIRST } else { MORE }, [*byte]));
    frames.chain([frame(LAST, "")]).collect()
}

/// 6.5 to 6.23: sequences by class, each as a message of its own.
#[test]
fn case_6_sequences() {
    let valid: &[(&str, &[u8])] = &[
        ("6.5", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
        ("6.6: first of a length", b"\x00"),
        ("6.7.1", b"\xc2\x80"),
        ("6.7.2", b"\xe0\xa0\x80"),
        ("6.7.3", b"\xf0\x90\x80\x80"),
        ("6.9.1: last of a length", b"\x7f"),
        ("6.9.2", b"\xdf\xbf"),
        ("6.9.3", b"\xef\xbf\xbf"),
        ("6.9.4", b"\xf4\x8f\xbf\xbf"),
        ("6.11.1: bounds", b"\xed\x9f\xbf"),
        ("6.11.2", b"\xee\x80\x80"),
        ("6.11.3", b"\xef\xbf\xbd"),
        ("6.11.4", b"\xf4\x8f\xbf\xbf"),
        ("6.22: non-characters", b"\xef\xbf\xbe"),
        ("6.22", b"\xef\xbf\xbf"),
        ("6.22", b"\xf0\x9f\xbf\xbe"),
        ("6.22", b"\xf0\x9f\xbf\xbf"),
        ("6.22", b"\xf3\xbf\xbf\xbe"),
        ("6.22", b"\xf4\x8f\xbf\xbe"),
        ("6.23: specials", b"\xef\xbf\xb9"),
        ("6.23", b"\xef\xbf\xba"),
        ("6.23", b"\xef\xbf\xbb"),
        ("6.23", b"\xef\xbf\xbc"),
    ];
    for (case, bytes) in valid {
        check(case, &[frame(TEXT, bytes)], &all(&[text(bytes)]));
        check(case, &one_byte_each(bytes), &all(&[text(bytes)]));
        // 6.6: what ends before a sequence does.
        for end in 1..bytes.len() {
            if std::str::from_utf8(&bytes[..end]).is_err() {
                check("6.6", &[frame(TEXT, &bytes[..end])], "Utf8Incomplete >close 1007 ");
            }
        }
    }
    let first_past = ("6.8.1, 6.10", &b"\xf8\x88\x80\x80\x80"[..]);
    let invalid: &[(&str, &[u8])] = &[
        first_past,
        ("6.8.2", b"\xfc\x84\x80\x80\x80\x80"),
        ("6.10.1", b"\xf7\xbf\xbf\xbf"),
        ("6.10.2", b"\xfb\xbf\xbf\xbf\xbf"),
        ("6.10.3", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
        ("6.11.5", b"\xf4\x90\x80\x80"),
        ("6.12.1: continuations", b"\x80"),
        ("6.12.2", b"\xbf"),
        ("6.12.3", b"\x80\xbf"),
        ("6.12.8", b"\x80\xbf\x80\xbf\x80\xbf\xbe"),
        ("6.13.1: first bytes alone", b"\xc0 \xc1 \xc2 \xc3 "),
        ("6.13.2", b"\xe0 \xe1 \xe2 "),
        ("6.13.3", b"\xf0 \xf1 \xf2 "),
        ("6.13.4", b"\xf8 \xf9 "),
        ("6.13.5", b"\xfc \xfd "),
        ("6.14.1: without the last byte", b"\xc0"),
        ("6.14.2", b"\xe0\x80"),
        ("6.14.3", b"\xf0\x80\x80"),
        ("6.14.4", b"\xf8\x80\x80\x80"),
        ("6.14.5", b"\xfc\x80\x80\x80\x80"),
        ("6.14.8", b"\xf7\xbf\xbf"),
        ("6.15: one after another", b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80"),
        ("6.16.1: impossible", b"\xfe"),
        ("6.16.2", b"\xff"),
        ("6.16.3", b"\xfe\xfe\xff\xff"),
        ("6.17.1: overlong", b"\xc0\xaf"),
        ("6.17.2", b"\xe0\x80\xaf"),
        ("6.17.3", b"\xf0\x80\x80\xaf"),
        ("6.17.4", b"\xf8\x80\x80\x80\xaf"),
        ("6.17.5", b"\xfc\x80\x80\x80\x80\xaf"),
        ("6.18.1", b"\xc1\xbf"),
        ("6.18.2", b"\xe0\x9f\xbf"),
        ("6.18.3", b"\xf0\x8f\xbf\xbf"),
        ("6.18.4", b"\xf8\x87\xbf\xbf\xbf"),
        ("6.18.5", b"\xfc\x83\xbf\xbf\xbf\xbf"),
        ("6.19.1", b"\xc0\x80"),
        ("6.19.2", b"\xe0\x80\x80"),
        ("6.19.3", b"\xf0\x80\x80\x80"),
        ("6.20.1: surrogates", b"\xed\xa0\x80"),
        ("6.20.2", b"\xed\xad\xbf"),
        ("6.20.3", b"\xed\xae\x80"),
        ("6.20.4", b"\xed\xaf\xbf"),
        ("6.20.5", b"\xed\xb0\x80"),
        ("6.20.6", b"\xed\xbe\x80"),
        ("6.20.7", b"\xed\xbf\xbf"),
        ("6.21.1: in pairs", b"\xed\xa0\x80\xed\xb0\x80"),
        ("6.21.8", b"\xed\xaf\xbf\xed\xbf\xbf"),
    ];
    for (case, bytes) in invalid {
        check(case, &[frame(TEXT, bytes)], "Utf8 >close 1007 ");
        check(case, &one_byte_each(bytes), "Utf8 >close 1007 ");
    }
}

#[test]
fn case_7_closes() {
    let close = |code: u16, reason: &[u8]| frame(CLOSE, [&code.to_be_bytes(), reason].concat());
    let after = "close 1000 '' >close 1000 closed";
    check_all(vec![
        ("7.1.1", vec![frame(TEXT, "Hello World!"), close(1000, b"")], text("Hello World!") + after),
        ("7.1.2", vec![close(1000, b""), close(1000, b"")], after.into()),
        ("7.1.3", vec![close(1000, b""), frame(PING, "")], after.into()),
        ("7.1.4", vec![close(1000, b""), frame(TEXT, "Hello World!")], after.into()),
        ("7.1.5", vec![frame(TEXT_FIRST, "fragment1"), close(1000, b""), frame(LAST, "fragment2")], after.into()),
        (
            "7.1.6",
            vec![frame(TEXT, star(256 * 1024)), frame(TEXT, "Hello World!"), close(1000, b""), frame(PING, "")],
            text(star(256 * 1024)) + &text("Hello World!") + after,
        ),
        ("7.3.1", vec![frame(CLOSE, "")], "close none '' >close closed".into()),
        ("7.3.2", vec![frame(CLOSE, "a")], format!("CloseLength{REFUSED}")),
        ("7.3.3", vec![close(1000, b"")], after.into()),
        ("7.3.4", vec![close(1000, b"Hello World!")], "close 1000 'Hello World!' >close 1000 closed".into()),
        ("7.3.5", vec![close(1000, &star(123))], "close 1000 123*'*' >close 1000 closed".into()),
        ("7.3.6", vec![close(1000, &star(124))], format!("ControlTooLong{REFUSED}")),
        (
            "7.5.1",
            vec![close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited")],
            format!("CloseReason{REFUSED}"),
        ),
    ]);
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        check("7.7", &[close(code, b"")], &format!("close {code} '' >close {code} closed"));
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999] {
        check("7.9", &[close(code, b"")], &format!("CloseCode{REFUSED}"));
    }
    for code in [5000, 65_535] {
        check("7.13", &[close(code, b"")], &format!("CloseCode{REFUSED}"));
    }
}

/// 9 measures time; what it sends must be taken. 9.7 and 9.8 are a thousand small messages.
#[test]
fn case_9_sizes() {
    let limits = Limits { frame_bytes_max: 16 << 20, message_bytes_max: 16 << 20, ..Limits::default() };
    let check = |case: &str, input: &[Vec<u8>], expect: &str| {
        check_with(case, Role::Server, None, &input.concat(), &limits, expect);
    };
    for count in [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20] {
        check("9.1", &[frame(TEXT, star(count))], &all(&[text(star(count))]));
        check("9.2", &[frame(BINARY, vec![0xfe; count])], &all(&[binary(vec![0xfe; count])]));
    }
    for size in [64, 1 << 10, 64 << 10, 1 << 20, 4 << 20] {
        let payload = star(4 << 20);
        check("9.3", &fragments(TEXT_FIRST, &payload, size), &all(&[text(&payload)]));
        check("9.4", &fragments(BINARY_FIRST, &payload, size), &all(&[binary(&payload)]));
    }
    for size in [0, 16, 64, 256, 1024, 4096] {
        let (input, one) = (frame(TEXT, star(size)).repeat(1000), text(star(size)));
        check("9.7", &[input], &(one.repeat(1000) + "."));
        let (input, one) = (frame(BINARY, vec![0xfe; size]).repeat(1000), binary(vec![0xfe; size]));
        check("9.8", &[input], &(one.repeat(1000) + "."));
    }
}

#[test]
fn case_10_automatic_fragments() {
    let payload = star(65_536);
    check("10.1.1", &fragments(TEXT_FIRST, &payload, 1300), &all(&[text(&payload)]));
}

/// A message in frames of `size` bytes.
fn fragments(first: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let frames = payload.chunks(size).enumerate().map(|(index, part)| {
        let last = if index + 1 == count { LAST } else { MORE };
        frame(last | if index == 0 { first } else { MORE }, part)
    });
    frames.collect()
}

/// 12 and 13: compressed messages of growing size, with every set of parameters that 13 agrees on. Sent by our client, read
/// by our server, and echoed.
#[test]
fn case_12_and_13_compression() {
    let parameters = [
        ("12, 13.1", "permessage-deflate"),
        ("13.2", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
        ("13.3", "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9"),
        ("13.4", "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15"),
        (
            "13.5",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=9; server_max_window_bits=9",
        ),
        (
            "13.6",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=15; server_max_window_bits=15",
        ),
        (
            "13.7",
            "permessage-deflate; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate",
        ),
    ];
    let limits = Limits::default();
    for (case, offer) in parameters {
        let wishes = Compression { keeps_sending: true, keeps_receiving: true, receiving_window_bits_max: 15 };
        let (agreed, _) = super::extension::accept([offer.as_bytes()].into_iter(), Some(&wishes)).unwrap().unwrap();
        let theirs = Agreed { sending: agreed.receiving, receiving: agreed.sending };
        let (mut server, mut client) =
            (Engine::new(Role::Server, Some(agreed)), Engine::new(Role::Client, Some(theirs)));
        let mut contexts = Contexts::new();
        let mut random = Random(1);
        for size in [16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072] {
            for _ in 0..if size < 10_000 { 20 } else { 3 } {
                let payload: Vec<u8> =
                    (0..size).map(|index| b"{\"id\": 7, tt}"[(index + random.below(2)) % 13]).collect();
                let mut sent = compress(&mut client, &mut contexts, Kind::Text, &payload, 4096);
                let got = receive(&mut server, &mut contexts, &mut sent, &limits);
                assert!(got == payload, "{case}, {size} bytes to the server");
                let mut sent = compress(&mut server, &mut contexts, Kind::Text, &got, 4096);
                let got = receive(&mut client, &mut contexts, &mut sent, &limits);
                assert!(got == payload, "{case}, {size} bytes back");
            }
        }
    }
}
