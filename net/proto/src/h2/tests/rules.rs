//! What RFC 9113 demands of a server, clause by clause: what is sent after the hello, what comes of it, and what is said.

use super::*;

/// Cut in every way into two, and byte by byte, it comes to the same.
#[track_caller]
fn check(clause: &str, input: &[Vec<u8>], told: &str, said: &str) {
    let input = input.concat();
    let mut whole = End::server();
    assert_eq!((&*whole.tell(&input), &*whole.said()), (told, said), "{clause}");
    let mut bytewise = End::server();
    let mut all = String::new();
    for byte in &input {
        let more = bytewise.tell(&[*byte]);
        if !more.is_empty() && more != "closed" {
            all = if all.is_empty() { more } else { format!("{all} {more}") };
        }
    }
    let data = told.contains("bytes");
    assert!(data || all == told.trim_end_matches("closed").trim_end(), "{clause}, byte by byte: {all}");
    assert_eq!(bytewise.said(), said, "{clause}, byte by byte");
}

fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, END_BOTH, stream, &block(fields))
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&GET[..], more].concat()
}

#[test]
fn section_3_4_the_preface() {
    let mut end = End::new(Role::Server, Limits::default());
    assert_eq!(end.tell(b"GET / HTTP/1.1\r\n"), "error PROTOCOL_ERROR");
    assert_eq!(end.said(), "settings; goaway 0 PROTOCOL_ERROR;");
    let mut end = End::new(Role::Server, Limits::default());
    assert_eq!(end.tell(&[PREFACE, &frame(kind::PING, 0, 0, &[1; 8])].concat()), "error PROTOCOL_ERROR");
    let mut end = End::new(Role::Server, Limits::default());
    assert_eq!((&*end.tell(&hello()), &*end.said()), ("", "settings; settings ack; 0: window 196609;"));
}

#[test]
fn section_4_frames() {
    check("4.1: an unknown kind is ignored", &[frame(0xbb, 0xff, 1, b"what"), get(1)], "1: GET here / end;", "");
    check(
        "4.2: too long",
        &[frame(kind::PING, 0, 0, &[0; 8]), vec![0, 0x40, 1, 6, 0, 0, 0, 0, 0]],
        "error FRAME_SIZE_ERROR",
        "ping ack 0; goaway 0 FRAME_SIZE_ERROR;",
    );
    check(
        "4.1: the reserved bit is ignored",
        &[frame(kind::HEADERS, END_BOTH, 1 | 1 << 31, &block(&GET))],
        "1: GET here / end;",
        "",
    );
    check(
        "4.3: what cannot be decoded",
        &[frame(kind::HEADERS, END_BOTH, 1, &[0x80])],
        "error COMPRESSION_ERROR",
        "goaway 1 COMPRESSION_ERROR;",
    );
}

#[test]
fn section_5_1_states() {
    let protocol = ("error PROTOCOL_ERROR", "goaway 0 PROTOCOL_ERROR;");
    check("idle: data", &[data(1, 3)], protocol.0, protocol.1);
    check("idle: reset", &[frame(kind::RST_STREAM, 0, 1, &[0; 4])], protocol.0, protocol.1);
    check("idle: window", &[frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])], protocol.0, protocol.1);
    check("idle: continuation", &[frame(kind::CONTINUATION, 4, 1, b"")], protocol.0, protocol.1);
    check("5.1.1: even", &[get(2)], protocol.0, protocol.1);
    check("5.1.1: nought", &[get(0)], protocol.0, protocol.1);
    check(
        "5.1.1: less than before",
        &[get(5), get(3)],
        "5: GET here / end; error PROTOCOL_ERROR",
        "goaway 5 PROTOCOL_ERROR;",
    );
    check(
        "half closed: data",
        &[get(1), data(1, 3)],
        "1: GET here / end; 1: reset STREAM_CLOSED;",
        "1: reset STREAM_CLOSED;",
    );
    check(
        "half closed: a head",
        &[get(1), get(1)],
        "1: GET here / end; 1: reset STREAM_CLOSED;",
        "1: reset STREAM_CLOSED;",
    );
    check(
        "half closed: a window is fine",
        &[get(1), frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])],
        "1: GET here / end;",
        "",
    );
    check(
        "closed by its reset: data",
        &[post(1), frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]), data(1, 3)],
        "1: POST here /; 1: reset CANCEL;",
        "1: reset STREAM_CLOSED;",
    );
}

#[test]
fn what_comes_for_a_stream_that_has_ended() {
    let mut end = End::server();
    end.tell(&get(1));
    assert_eq!(end.answer(1, 0), "1: head end;");
    assert_eq!((&*end.tell(&data(1, 3)), &*end.said()), ("", "1: reset STREAM_CLOSED;"));
    // Once it has been told so, what was on its way is no further mistake.
    assert_eq!((&*end.tell(&data(1, 3)), &*end.said()), ("", ""));
    assert_eq!(end.tell(&frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])), "");
    assert_eq!(end.tell(&frame(kind::RST_STREAM, 0, 1, &[0; 4])), "");
    end.tell(&get(3));
    end.answer(3, 0);
    assert_eq!((&*end.tell(&get(3)), &*end.said()), ("error STREAM_CLOSED", "goaway 3 STREAM_CLOSED;"));
}

/// Who has reset a stream says no more on it; of one that we have reset that is no mistake.
#[test]
fn what_comes_for_a_stream_that_was_reset() {
    for more in [data(1, 3), get(1)] {
        let mut end = End::server();
        end.tell(&[post(1), frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat());
        assert_eq!((&*end.tell(&more), &*end.said()), ("", "1: reset STREAM_CLOSED;"));
        assert_eq!((&*end.tell(&more), &*end.said()), ("", ""), "once");
        let mut end = End::server();
        end.tell(&post(1));
        let key = end.key(1);
        end.engine.reset(key, Code::CANCEL);
        assert_eq!((&*end.tell(&more), &*end.said()), ("", "1: reset CANCEL;"));
    }
}

#[test]
fn numbers_do_not_go_back() {
    for (opened, then, code) in [
        (&[1, 5][..], 3, "PROTOCOL_ERROR"),
        (&[5], 1, "PROTOCOL_ERROR"),
        (&[1, 3], 1, "STREAM_CLOSED"),
        (&[1, 5], 5, "STREAM_CLOSED"),
    ] {
        let mut end = End::server();
        for &id in opened {
            end.tell(&get(id));
            end.answer(id, 0);
        }
        assert_eq!(end.tell(&get(then)), format!("error {code}"), "{then} after {opened:?}");
    }
}

#[test]
fn section_6_1_data() {
    check("with padding", &[post(1), frame(kind::DATA, 0x9, 1, b"\x03abcxxx")], "1: POST here /; 1: 3 bytes end;", "");
    check(
        "nothing but padding",
        &[post(1), frame(kind::DATA, 0x9, 1, b"\x03xxx")],
        "1: POST here /; 1: 0 bytes end;",
        "",
    );
    check(
        "too much padding",
        &[post(1), frame(kind::DATA, 0x8, 1, b"\x04xxx")],
        "1: POST here /; error PROTOCOL_ERROR",
        "goaway 1 PROTOCOL_ERROR;",
    );
    check(
        "padding without its length",
        &[post(1), frame(kind::DATA, 0x8, 1, b"")],
        "1: POST here /; error FRAME_SIZE_ERROR",
        "goaway 1 FRAME_SIZE_ERROR;",
    );
    check("for no stream", &[data(0, 1)], "error PROTOCOL_ERROR", "goaway 0 PROTOCOL_ERROR;");
    check("an empty end", &[post(1), end_data(1, 0)], "1: POST here /; 1: 0 bytes end;", "");
}

#[test]
fn section_6_2_heads() {
    let padded = [&[2][..], &block(&GET), b"xx"].concat();
    check("with padding", &[frame(kind::HEADERS, 0xd, 1, &padded)], "1: GET here / end;", "");
    let weighed = [&[0, 0, 0, 0, 16][..], &block(&GET)].concat();
    check("with a priority", &[frame(kind::HEADERS, 0x25, 1, &weighed)], "1: GET here / end;", "");
    check(
        "too much padding",
        &[frame(kind::HEADERS, 0xd, 1, b"\x09x")],
        "error PROTOCOL_ERROR",
        "goaway 0 PROTOCOL_ERROR;",
    );
    check(
        "too short for a priority",
        &[frame(kind::HEADERS, 0x25, 1, b"xxx")],
        "error FRAME_SIZE_ERROR",
        "goaway 0 FRAME_SIZE_ERROR;",
    );
    let (first, rest) = (block(&GET[..2]), block(&GET[2..]));
    let begun = frame(kind::HEADERS, flag::END_STREAM, 1, &first);
    check("continued", &[begun.clone(), frame(kind::CONTINUATION, 4, 1, &rest)], "1: GET here / end;", "");
    check(
        "continued within a field",
        &[
            frame(kind::HEADERS, 1, 1, &first[..7]),
            frame(kind::CONTINUATION, 0, 1, &first[7..]),
            frame(kind::CONTINUATION, 4, 1, &rest),
        ],
        "1: GET here / end;",
        "",
    );
    check(
        "interrupted",
        &[begun.clone(), frame(kind::PING, 0, 0, &[0; 8])],
        "error PROTOCOL_ERROR",
        "goaway 0 PROTOCOL_ERROR;",
    );
    check(
        "continued by another",
        &[begun, frame(kind::CONTINUATION, 4, 3, &rest)],
        "error PROTOCOL_ERROR",
        "goaway 0 PROTOCOL_ERROR;",
    );
}

#[test]
fn section_6_3_to_6_9_the_other_frames() {
    let goaway = |code: &str| (format!("error {code}"), format!("goaway 0 {code};"));
    for (clause, input, code) in [
        ("6.3: for no stream", frame(kind::PRIORITY, 0, 0, &[0; 5]), "PROTOCOL_ERROR"),
        ("6.4: length", frame(kind::RST_STREAM, 0, 1, &[0; 3]), "FRAME_SIZE_ERROR"),
        ("6.4: for no stream", frame(kind::RST_STREAM, 0, 0, &[0; 4]), "PROTOCOL_ERROR"),
        ("6.5: for a stream", frame(kind::SETTINGS, 0, 1, b""), "PROTOCOL_ERROR"),
        ("6.5: length", frame(kind::SETTINGS, 0, 0, b"abc"), "FRAME_SIZE_ERROR"),
        ("6.5: an acknowledgement with more", frame(kind::SETTINGS, 1, 0, &[0; 6]), "FRAME_SIZE_ERROR"),
        ("6.5.2: pushes", frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]), "PROTOCOL_ERROR"),
        ("6.5.2: window", frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]), "FLOW_CONTROL_ERROR"),
        ("6.5.2: small frames", frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff]), "PROTOCOL_ERROR"),
        ("6.5.2: large frames", frame(kind::SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]), "PROTOCOL_ERROR"),
        ("8441 3: connect", frame(kind::SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 2]), "PROTOCOL_ERROR"),
        ("9218 2.1: priorities", frame(kind::SETTINGS, 0, 0, &[0, 9, 0, 0, 0, 2]), "PROTOCOL_ERROR"),
        ("6.6: a push", frame(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2]), "PROTOCOL_ERROR"),
        ("6.7: length", frame(kind::PING, 0, 0, &[0; 6]), "FRAME_SIZE_ERROR"),
        ("6.7: for a stream", frame(kind::PING, 0, 1, &[0; 8]), "PROTOCOL_ERROR"),
        ("6.8: for a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), "PROTOCOL_ERROR"),
        ("6.8: length", frame(kind::GOAWAY, 0, 0, &[0; 7]), "FRAME_SIZE_ERROR"),
        ("6.9: length", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), "FRAME_SIZE_ERROR"),
        ("6.9: by nothing", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), "PROTOCOL_ERROR"),
        ("6.9.1: too large", frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), "FLOW_CONTROL_ERROR"),
        ("9218 7.1: for a stream", frame(kind::PRIORITY_UPDATE, 0, 1, &[0; 4]), "PROTOCOL_ERROR"),
    ] {
        let (told, said) = goaway(code);
        check(clause, &[input], &told, &said);
    }
    check(
        "6.5: unknown settings are ignored",
        &[frame(kind::SETTINGS, 0, 0, &[0x99, 0x99, 1, 2, 3, 4])],
        "",
        "settings ack;",
    );
    check("6.7: a ping is answered", &[frame(kind::PING, 0, 0, &[7; 8])], "", "ping ack 7;");
    check("6.7: an answer is not", &[frame(kind::PING, 1, 0, &[7; 8])], "", "");
    check("6.8: told on", &[frame(kind::GOAWAY, 0, 0, &[0; 8])], "goaway 0 NO_ERROR;", "");
    check(
        "6.3: length",
        &[get(1), frame(kind::PRIORITY, 0, 1, &[0; 4])],
        "1: GET here / end; 1: reset FRAME_SIZE_ERROR;",
        "1: reset FRAME_SIZE_ERROR;",
    );
    check(
        "6.4: what is idle cannot be reset",
        &[get(1), frame(kind::PRIORITY, 0, 3, &[0; 4])],
        "1: GET here / end; error FRAME_SIZE_ERROR",
        "goaway 1 FRAME_SIZE_ERROR;",
    );
    check("6.3: of an idle stream", &[frame(kind::PRIORITY, 0, 9, &[0; 5]), get(1)], "1: GET here / end;", "");
    check(
        "6.9: a stream's by nothing",
        &[get(1), frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4])],
        "1: GET here / end; 1: reset PROTOCOL_ERROR;",
        "1: reset PROTOCOL_ERROR;",
    );
    check(
        "6.9.1: a stream's too large",
        &[get(1), frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])],
        "1: GET here / end; 1: reset FLOW_CONTROL_ERROR;",
        "1: reset FLOW_CONTROL_ERROR;",
    );
}

#[test]
fn section_8_malformed_requests() {
    let fields: [(&str, Vec<(&str, &str)>); 24] = [
        ("8.2.1: a capital letter", with(&[("X-Test", "1")])),
        ("8.2.1: a known name in capitals", with(&[("Accept", "1")])),
        ("8.2.1: an empty name", with(&[("", "1")])),
        ("8.2.1: a space in a name", with(&[("a b", "1")])),
        ("8.2.1: a colon in a name", with(&[("a:b", "1")])),
        ("8.2.1: a line feed in a value", with(&[("a", "1\n2")])),
        ("8.2.1: a carriage return", with(&[("a", "1\r2")])),
        ("8.2.1: NUL", with(&[("a", "\0")])),
        ("8.2.1: white space before", with(&[("a", " 1")])),
        ("8.2.1: white space after", with(&[("a", "1\t")])),
        ("8.2.2: connection", with(&[("connection", "close")])),
        ("8.2.2: keep-alive", with(&[("keep-alive", "1")])),
        ("8.2.2: transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("8.2.2: upgrade", with(&[("upgrade", "h2c")])),
        ("8.2.2: te", with(&[("te", "gzip")])),
        ("8.3: pseudo after fields", vec![GET[0], GET[1], ("a", "1"), GET[2], GET[3]]),
        ("8.3: unknown pseudo", with(&[(":test", "1")])),
        ("8.3: a response's", with(&[(":status", "200")])),
        ("8.3.1: no method", GET[1..].to_vec()),
        ("8.3.1: no path", GET[..3].to_vec()),
        ("8.3.1: no scheme", vec![GET[0], GET[2], GET[3]]),
        ("8.3.1: twice", [&GET[..1], &GET[..]].concat()),
        ("8.3.1: empty path", vec![GET[0], GET[1], GET[2], (":path", "")]),
        ("8.3.1: two authorities", with(&[("host", "there")])),
    ];
    for (clause, fields) in fields {
        check(clause, &[head(1, &fields)], "", "1: reset PROTOCOL_ERROR;");
    }
    for (clause, fields) in [
        ("8.3.1: a path without a slash", vec![GET[0], GET[1], GET[2], (":path", "x")]),
        ("8.3.1: an asterisk", vec![GET[0], GET[1], GET[2], (":path", "*")]),
        ("8.3.1: a space in a path", vec![GET[0], GET[1], GET[2], (":path", "/a b")]),
        ("8.3.1: a fragment", vec![GET[0], GET[1], GET[2], (":path", "/a#b")]),
        ("8.3.1: user information", vec![GET[0], GET[1], (":authority", "me@here"), GET[3]]),
        ("8.3.1: a method that is none", vec![(":method", "G T"), GET[1], GET[2], GET[3]]),
        ("8.1.1: a length and no body", with(&[("content-length", "3")])),
        ("8.1.1: two lengths", with(&[("content-length", "0"), ("content-length", "1")])),
        ("8.1.1: a length that is none", with(&[("content-length", "x")])),
        ("8.5: a path to CONNECT", vec![(":method", "CONNECT"), GET[2], GET[3]]),
        ("8.5: no authority to CONNECT", vec![(":method", "CONNECT")]),
        ("8.5: no port", vec![(":method", "CONNECT"), (":authority", "here")]),
    ] {
        check(clause, &[head(1, &fields)], "", "1: reset PROTOCOL_ERROR;");
    }
}

/// An extended CONNECT, with one thing changed.
fn extended(change: impl FnOnce(&mut Vec<(&'static str, &'static str)>)) -> Vec<(&'static str, &'static str)> {
    let mut fields = vec![(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], (":path", "/ws")];
    change(&mut fields);
    fields
}

/// A stream that asks for a tunnel and stays open.
fn tunnel(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &block(&extended(|_| ())))
}

#[test]
fn rfc_8441_section_4_what_is_no_extended_connect() {
    for (clause, fields) in [
        ("4: no CONNECT", with(&[(":protocol", "websocket")])),
        ("4: no scheme", extended(|fields| fields.retain(|(name, _)| *name != ":scheme"))),
        ("4: no path", extended(|fields| fields.truncate(4))),
        ("4: an empty path", extended(|fields| fields[4].1 = "")),
        ("4: an asterisk", extended(|fields| fields[4].1 = "*")),
        ("4: two protocols", extended(|fields| fields.push((":protocol", "websocket")))),
        ("4: no protocol", extended(|fields| fields[1].1 = "")),
        ("4: a protocol that is no token", extended(|fields| fields[1].1 = "web socket")),
        ("4: a protocol behind fields", extended(|fields| fields.splice(1..1, [("a", "b")]).for_each(drop))),
        ("4: user information", extended(|fields| fields[3].1 = "me@here")),
        ("5: upgrade", extended(|fields| fields.push(("upgrade", "websocket")))),
        ("5: connection", extended(|fields| fields.push(("connection", "upgrade")))),
    ] {
        check(clause, &[head(1, &fields)], "", "1: reset PROTOCOL_ERROR;");
    }
    let mut end = End::server_with(Limits { connects: false, ..Limits::default() });
    assert_eq!((&*end.tell(&tunnel(1)), &*end.said()), ("", "1: reset PROTOCOL_ERROR;"), "3: it was not offered");
}

#[test]
fn rfc_8441_section_5_a_tunnel_carries_data() {
    let asked = "1: GET here /ws websocket;";
    let mut token = extended(|fields| fields[1].1 = "connect-ip/2");
    check("4: any token", &[head(1, &token)], "1: GET here /ws connect-ip/2 end;", "");
    token.push(("content-length", "3"));
    check("9110 9.3.6: no length counts", &[head(1, &token)], "1: GET here /ws connect-ip/2 content-length=3 end;", "");
    check("data", &[tunnel(1), data(1, 5), end_data(1, 0)], &format!("{asked} 1: 5 bytes; 1: 0 bytes end;"), "");
    check(
        "5: reset",
        &[tunnel(1), frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])],
        &format!("{asked} 1: reset CANCEL;"),
        "",
    );
    check(
        "9113 8.5: trailers",
        &[tunnel(1), head(1, &[("a", "b")])],
        &format!("{asked} 1: reset PROTOCOL_ERROR;"),
        "1: reset PROTOCOL_ERROR;",
    );
}

#[test]
fn rfc_8441_section_3_who_may_ask() {
    let connects = |value| frame(kind::SETTINGS, 0, 0, &[0, 8, 0, 0, 0, value]);
    let (method, limits) = (Method::CONNECT, Limits::default());
    let asks = Pseudo { protocol: Some(b"websocket"), ..asks(&method, b"/ws") };
    let ask = |end: &mut End| {
        let mut out = [0; 500];
        let written = end.engine.request(asks, NOTHING, BodyLength::Unknown, &limits, &mut out);
        written.map(|(_, count)| out[..count].to_vec())
    };
    let mut client = End::new(Role::Client, limits.clone());
    client.tell(&frame(kind::SETTINGS, 0, 0, b""));
    assert_eq!(ask(&mut client), Err(WriteError::Upgrade), "it was not offered");
    assert_eq!(client.tell(&connects(1)), "");
    let asked = ask(&mut client).expect("it was offered");
    assert_eq!(End::server().tell(&asked), "1: GET here /ws websocket;");
    assert_eq!(client.tell(&connects(0)), "error PROTOCOL_ERROR", "what was offered is not taken back");
    // To a server it says nothing.
    check("from a client", &[connects(1), connects(1)], "", "settings ack; settings ack;");

    // The answer's length, which it should not have, counts only where the tunnel is refused.
    for (status, rest, told) in [
        ("200", vec![data(1, 9)], "1: 200 content-length=3; 1: 9 bytes;"),
        ("403", vec![end_data(1, 3)], "1: 403 content-length=3; 1: 3 bytes end;"),
        ("403", vec![data(1, 9)], "1: 403 content-length=3; 1: reset PROTOCOL_ERROR;"),
        ("200", vec![head(1, &[("a", "b")])], "1: 200 content-length=3; 1: reset PROTOCOL_ERROR;"),
    ] {
        let mut client = End::new(Role::Client, limits.clone());
        client.tell(&connects(1));
        ask(&mut client).expect("it was offered");
        let answer = block(&[(":status", status), ("content-length", "3")]);
        assert_eq!(client.tell(&[vec![frame(kind::HEADERS, END_HEADERS, 1, &answer)], rest].concat().concat()), told);
    }
}

#[test]
fn section_8_requests_that_are_well_formed() {
    for (clause, fields, told) in [
        ("te", with(&[("te", "trailers")]), "1: GET here / te=trailers end;"),
        ("a host besides", with(&[("host", "HERE")]), "1: GET here / end;"),
        ("a host alone", vec![GET[0], GET[1], GET[3], ("host", "there:80")], "1: GET there:80 / end;"),
        ("a query", vec![GET[0], GET[1], GET[2], (":path", "/a?b=c?d")], "1: GET here /a?b=c?d end;"),
        ("pseudo in any order", vec![GET[3], GET[2], GET[1], GET[0]], "1: GET here / end;"),
        ("an asterisk", vec![(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")], "1: OPTIONS here * end;"),
        ("a length of nothing", with(&[("content-length", "0")]), "1: GET here / content-length=0 end;"),
        ("connect", vec![(":method", "CONNECT"), (":authority", "here:443")], "1: CONNECT here:443 here:443 end;"),
        (
            "extended connect",
            vec![(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], (":path", "/ws")],
            "1: GET here /ws websocket end;",
        ),
        (
            "crumbs",
            with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "")]),
            "1: GET here / cookie=a=1; b=2 x=y end;",
        ),
        (
            "empty crumbs",
            with(&[("cookie", ""), ("cookie", "a=1"), ("cookie", ""), ("cookie", "b=2"), ("cookie", "")]),
            "1: GET here / cookie=a=1; b=2 end;",
        ),
    ] {
        check(clause, &[head(1, &fields)], told, "");
    }
}

#[test]
fn section_8_1_bodies_are_as_long_as_they_say() {
    let post = |length: &str| {
        frame(kind::HEADERS, END_HEADERS, 1, &block(&[&POST[..], &[("content-length", length)]].concat()))
    };
    let told = |rest: &str| format!("1: POST here / content-length=5;{rest}");
    for (clause, input, rest) in [
        ("as long", vec![post("5"), data(1, 2), end_data(1, 3)], " 1: 2 bytes; 1: 3 bytes end;"),
        ("in time for trailers", vec![post("5"), data(1, 5), head(1, &[("x", "y")])], " 1: 5 bytes; 1: trailers x=y;"),
        ("longer", vec![post("5"), data(1, 6)], " 1: reset PROTOCOL_ERROR;"),
        ("shorter", vec![post("5"), end_data(1, 4)], " 1: reset PROTOCOL_ERROR;"),
        (
            "shorter, with trailers",
            vec![post("5"), data(1, 4), head(1, &[("x", "y")])],
            " 1: 4 bytes; 1: reset PROTOCOL_ERROR;",
        ),
    ] {
        let said = if rest.contains("reset") { "1: reset PROTOCOL_ERROR;" } else { "" };
        check(clause, &input, &told(rest), said);
    }
}

#[test]
fn section_8_1_trailers() {
    let trailers =
        |fields: &[(&str, &str)], flags| vec![post(1), data(1, 1), frame(kind::HEADERS, flags, 1, &block(fields))];
    check(
        "fields",
        &trailers(&[("x", "y"), ("etag", "z")], END_BOTH),
        "1: POST here /; 1: 1 bytes; 1: trailers x=y etag=z;",
        "",
    );
    check(
        "6.5.1 of RFC 9110: not what was needed before",
        &trailers(&[("authorization", "x"), ("x", "y")], END_BOTH),
        "1: POST here /; 1: 1 bytes; 1: trailers x=y;",
        "",
    );
    check(
        "without an end",
        &trailers(&[("x", "y")], END_HEADERS),
        "1: POST here /; 1: 1 bytes; 1: reset PROTOCOL_ERROR;",
        "1: reset PROTOCOL_ERROR;",
    );
    check(
        "with pseudo",
        &trailers(&[(":path", "/")], END_BOTH),
        "1: POST here /; 1: 1 bytes; 1: reset PROTOCOL_ERROR;",
        "1: reset PROTOCOL_ERROR;",
    );
}

#[test]
fn a_head_that_is_too_large_is_told_and_the_tables_stay_equal() {
    let limits = Limits { head_bytes_max: 1000, ..Limits::default() };
    let mut end = End::server_with(limits);
    let mut encoder = Encoder::new();
    let mut encoded = |fields: &[(&str, &str)]| {
        let room: usize = fields.iter().map(|(name, value)| field_bytes_max(name.as_bytes(), value.as_bytes())).sum();
        let mut out = vec![0; START_BYTES_MAX + room];
        let mut count = encoder.begin(&mut out);
        for (name, value) in fields {
            let known = Known::of(name.as_bytes());
            count += match name.starts_with(':') {
                true => encoder.pseudo(1, name.as_bytes(), value.as_bytes(), &mut out[count..]),
                false => encoder.field(known, name.as_bytes(), value.as_bytes(), &mut out[count..]),
            };
        }
        out.truncate(count);
        out
    };
    let long = "v".repeat(900);
    let large = [&[("x-long", &*long), ("x-kept", "one")][..], &[("x-more", "two")]].concat();
    let begin = block(&GET);
    let first = [begin.clone(), encoded(&large)].concat();
    assert_eq!(end.tell(&frame(kind::HEADERS, END_BOTH, 1, &first)), "1: too large;");
    // The table has what was too large, and what came behind it.
    let second = [begin, encoded(&[("x-kept", "one"), ("x-more", "two")])].concat();
    assert_eq!(end.tell(&frame(kind::HEADERS, END_BOTH, 3, &second)), "3: GET here / x-kept=one x-more=two end;");
    assert_eq!(end.answer(1, 0), "1: head end;");
    // Fields are counted besides.
    let many: Vec<_> = GET.into_iter().chain((0..100).map(|_| ("a", "b"))).collect();
    let mut end = End::server();
    assert_eq!(end.tell(&frame(kind::HEADERS, END_BOTH, 1, &block(&many))), "1: too large;");
}

#[test]
fn windows_are_kept_and_granted_again() {
    let mut end = End::server();
    end.tell(&post(1));
    let key = end.key(1);
    assert_eq!(end.tell(&[data(1, 16_000), data(1, 16_000)].concat()), "1: 16000 bytes; 1: 16000 bytes;");
    assert_eq!(end.said(), "", "nobody has read it");
    end.engine.consume(key, 16_000, &end.limits.clone());
    assert_eq!(end.said(), "", "not worth a frame");
    end.engine.consume(key, 16_768, &end.limits.clone());
    assert_eq!(end.said(), "");
    end.tell(&data(1, 1000));
    end.engine.consume(key, 1000, &end.limits.clone());
    assert_eq!(end.said(), "1: window 33000;");
    // One that waited for it gets more than before.
    for _ in 0..4 {
        end.tell(&data(1, 16_000));
    }
    end.tell(&data(1, 1535));
    assert_eq!(end.engine.streams.get(key).unwrap().recv_window, 0);
    end.engine.consume(key, 65_535, &end.limits.clone());
    assert_eq!(end.said(), "1: window 131070;");
    // And one byte too many is too many.
    for _ in 0..8 {
        end.tell(&data(1, 16_000));
        end.engine.consume(key, 0, &end.limits.clone());
    }
    assert_eq!(end.tell(&data(1, 3071)), "1: reset FLOW_CONTROL_ERROR;");
    assert_eq!(end.said(), "1: reset FLOW_CONTROL_ERROR;");
    // What nobody read is given back to the connection when the stream is.
    end.engine.release(key, &end.limits.clone());
    assert_eq!(end.engine.buffered, 0);
}

#[test]
fn the_connections_window_is_kept_across_streams() {
    let limits = Limits { connection_window: 65_535, ..Limits::default() };
    let mut end = End::server_with(limits);
    for stream in [1, 3, 5, 7, 9] {
        end.tell(&post(stream));
    }
    for stream in [1, 3, 5, 7] {
        end.tell(&data(stream, 16_000));
    }
    assert_eq!(end.tell(&data(9, 1536)), "error FLOW_CONTROL_ERROR");
}

#[test]
fn what_is_sent_keeps_to_the_windows() {
    let mut end = End::server();
    end.tell(&get(1));
    let key = end.key(1);
    let mut out = [0; 1024];
    let unknown = BodyLength::Unknown;
    end.engine.respond(key, StatusCode::OK, NOTHING, Standing::default(), unknown, &mut out).unwrap();
    end.engine.offer(key);
    let mut sent = 0;
    while let Some(next) = end.engine.pick() {
        let data = end.engine.data(next, 100_000 - sent, true, &mut out).unwrap();
        assert!(data.count > 0 && data.count <= 16_384 && !data.end);
        sent += data.count;
        end.engine.offer(next);
    }
    assert_eq!(sent, 65_535);
    assert_eq!(end.engine.data(key, 10, true, &mut out), Ok(Data { head: 0, count: 0, end: false }));
    // The stream's window alone does not help, nor does the connection's.
    end.tell(&frame(kind::WINDOW_UPDATE, 0, 1, &[0, 1, 0, 0]));
    assert_eq!(end.engine.pick(), None);
    end.tell(&frame(kind::WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]));
    while let Some(next) = end.engine.pick() {
        let data = end.engine.data(next, 100_000 - sent, true, &mut out).unwrap();
        sent += data.count;
        if !data.end {
            end.engine.offer(next);
        }
    }
    assert_eq!(sent, 100_000);
    assert!(!end.engine.can_send(key));
    assert_eq!(end.engine.data(key, 1, true, &mut out), Err(WriteError::NotExpected));
    // RFC 9113 section 6.9.2: settings may take a window below nothing.
    end.tell(&get(3));
    let key = end.key(3);
    end.engine.respond(key, StatusCode::OK, NOTHING, Standing::default(), unknown, &mut out).unwrap();
    end.engine.data(key, 1000, false, &mut out).unwrap();
    end.tell(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    assert_eq!(end.engine.streams.get(key).unwrap().send_window, -1000);
    end.engine.offer(key);
    assert_eq!(end.engine.pick(), None);
    end.tell(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0x10, 0]));
    assert_eq!(end.engine.pick(), Some(key));
}

/// RFC 9113 section 6.5.3: the peer insists on what it has set, and may be sent what it admits, from then on. So nothing that
/// its settings concern overtakes the acknowledgement.
#[test]
fn settings_are_acknowledged_before_they_are_used() {
    let mut end = End::server();
    let window = |size: u8| frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, size]);
    let table = |size: u8| frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, size, 0]);
    end.tell(&[window(0), get(1), table(0)].concat());
    let (key, mut out) = (end.key(1), [0; 1024]);
    let unknown = BodyLength::Unknown;
    let count = end.engine.respond(key, StatusCode::OK, NOTHING, Standing::default(), unknown, &mut out).unwrap();
    assert_eq!(frames(&out[..count]), "settings ack; settings ack; 1: head;");
    end.tell(&window(5));
    assert_eq!(end.engine.data(key, 3, false, &mut out[..17]), Err(WriteError::Full));
    assert_eq!(end.engine.data(key, 3, false, &mut out), Ok(Data { head: 18, count: 3, end: false }));
    assert_eq!(frames(&out[..9]), "settings ack;");
    // RFC 7541 section 6.3: a larger table is announced to one who knows that we know.
    end.tell(&table(16));
    let count = end.engine.trailers(key, [("x", "y")], &mut out).unwrap();
    assert_eq!(frames(&out[..count]), "settings ack; 1: head end;");
    assert_eq!(end.said(), "");
}

#[test]
fn the_urgent_are_first_and_the_incremental_take_turns() {
    let mut end = End::server();
    let mut out = [0; 1024];
    let with_priority =
        |stream, value| frame(kind::HEADERS, END_BOTH, stream, &block(&[&GET[..], &[("priority", value)]].concat()));
    let urgencies = ["u=5", "u=1, i", "u=1, i", "u=3", ""];
    for (place, value) in urgencies.into_iter().enumerate() {
        end.tell(&with_priority(1 + 2 * place as u32, value));
    }
    let ids = [1, 3, 5, 7, 9];
    for id in ids {
        let key = end.key(id);
        end.engine.respond(key, StatusCode::OK, NOTHING, Standing::default(), BodyLength::Unknown, &mut out).unwrap();
        end.engine.offer(key);
    }
    let mut left = [2; 5];
    let mut order = Vec::new();
    while let Some(key) = end.engine.pick() {
        order.push(key.id());
        end.engine.data(key, 100, false, &mut out).unwrap();
        let place = ids.iter().position(|&id| id == key.id()).unwrap();
        left[place] -= 1;
        if left[place] > 0 {
            end.engine.offer(key);
        }
    }
    assert_eq!(order, [3, 5, 3, 5, 7, 7, 9, 9, 1, 1]);
    // RFC 9218 section 7.1: it may be changed.
    for id in [7, 9] {
        end.engine.offer(end.key(id));
    }
    end.tell(&frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x09u=0"));
    assert_eq!(end.engine.pick().map(Key::id), Some(9));
}

#[test]
fn a_graceful_end_loses_nothing_that_was_on_its_way() {
    let mut end = End::server();
    end.tell(&get(1));
    end.engine.drain();
    assert_eq!(end.said(), "goaway 2147483647 NO_ERROR; ping;");
    assert_eq!(end.tell(&get(3)), "3: GET here / end;");
    assert_eq!(end.tell(&frame(kind::PING, flag::ACK, 0, b"shutdown")), "");
    assert_eq!(end.said(), "goaway 3 NO_ERROR;");
    assert_eq!((&*end.tell(&get(5)), &*end.said()), ("", ""));
    end.answer(1, 0);
    assert!(!end.engine.is_drained());
    end.answer(3, 10);
    assert!(end.engine.is_drained());
}

#[test]
fn heads_that_do_not_fit_are_not_begun() {
    let mut end = End::server();
    end.tell(&get(1));
    let key = end.key(1);
    let long = "v".repeat(40_000);
    let fields = [("x-long", &*long), ("x-short", "s")];
    let mut out = vec![0; 50_000];
    let standing = Standing { server: b"shardwise", date: b"Mon, 21 Oct 2013 20:13:21 GMT" };
    let respond = |end: &mut End, out: &mut [u8]| {
        end.engine.respond(key, StatusCode::OK, fields, standing, BodyLength::Known(3), out)
    };
    for room in [0, 9, 100, 39_000] {
        assert_eq!(respond(&mut end, &mut out[..room]), Err(WriteError::Full));
    }
    let count = respond(&mut end, &mut out).unwrap();
    assert!(frames(&out[..count]).starts_with("1: head; 1: continued;"), "{}", frames(&out[..count]));
    let mut client =
        End::new(Role::Client, Limits { head_bytes_max: 60_000, block_bytes_max: 60_000, ..Limits::default() });
    client.tell(&frame(kind::SETTINGS, 0, 0, b""));
    let limits = client.limits.clone();
    client.engine.request(asks(&Method::GET, b"/"), NOTHING, BodyLength::None, &limits, &mut [0; 500]).unwrap();
    let told = client.tell(&out[..count]);
    let expect =
        format!("1: 200 x-long={long} x-short=s server=shardwise date=Mon, 21 Oct 2013 20:13:21 GMT content-length=3;");
    assert_eq!(told, expect);
}

#[test]
fn responses_have_what_they_must_and_no_more() {
    let mut end = End::server();
    let mut out = [0; 1024];
    let head = frame(kind::HEADERS, END_BOTH, 1, &block(&[&[(":method", "HEAD")], &GET[1..]].concat()));
    end.tell(&head);
    let key = end.key(1);
    let mut respond = |end: &mut End, status: u16, fields: &[(&str, &str)], body| {
        let status = StatusCode::from_u16(status).unwrap();
        end.engine
            .respond(key, status, fields.iter().copied(), Standing::default(), body, &mut out)
            .map(|count| frames(&out[..count]))
    };
    assert_eq!(respond(&mut end, 103, &[("link", "</a>")], BodyLength::None).as_deref(), Ok("1: head;"));
    assert_eq!(respond(&mut end, 200, &[("X", "y")], BodyLength::None), Err(WriteError::FieldName));
    assert_eq!(respond(&mut end, 200, &[("x", "y\r\nz")], BodyLength::None), Err(WriteError::FieldValue));
    assert_eq!(respond(&mut end, 101, &[], BodyLength::None), Err(WriteError::Upgrade));
    // To HEAD: a length, and no body.
    assert_eq!(
        respond(&mut end, 200, &[("connection", "close")], BodyLength::Known(17)).as_deref(),
        Ok("1: head end;")
    );
    assert_eq!(respond(&mut end, 200, &[], BodyLength::None), Err(WriteError::NotExpected));
}

/// RFC 9113 section 5.1.2: to the peer a stream is open until it hears of its reset.
#[test]
fn a_new_stream_does_not_overtake_the_reset_that_makes_room_for_it() {
    let mut client = End::new(Role::Client, Limits::default());
    let (limits, mut out) = (client.limits.clone(), [0; 256]);
    client.engine.control(&limits, &mut out);
    client.tell(&frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]));
    let mut ask = |end: &mut End| {
        let asked = end.engine.request(asks(&Method::GET, b"/"), NOTHING, BodyLength::None, &limits, &mut out);
        asked.map(|(key, _)| key)
    };
    let key = ask(&mut client).unwrap();
    assert_eq!(ask(&mut client), Err(WriteError::NotExpected));
    client.engine.release(key, &Limits::default());
    assert_eq!(ask(&mut client), Err(WriteError::NotExpected));
    assert_eq!(client.said(), "1: reset CANCEL;");
    assert!(ask(&mut client).is_ok());
}

/// Whatever is declared of their bodies, which they do not have.
#[test]
fn answers_without_content_end_with_their_head() {
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        for body in [BodyLength::None, BodyLength::Known(3), BodyLength::Unknown] {
            let mut end = End::server();
            end.tell(&get(1));
            let (key, mut out) = (end.key(1), [0; 1024]);
            let count = end.engine.respond(key, status, NOTHING, Standing::default(), body, &mut out).unwrap();
            assert_eq!(frames(&out[..count]), "1: head end;");
            assert!(!end.engine.can_send(key));
        }
    }
}
