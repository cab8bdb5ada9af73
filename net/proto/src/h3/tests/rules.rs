//! What RFC 9114, RFC 9204, RFC 9218 and RFC 9297 demand, clause by clause: what comes on which stream, and what is made of it.

use super::*;

/// What comes on one stream, and whether it ends with that.
type Said = (u64, Vec<u8>, bool);

/// What each clause is about: on which streams it is said, and what comes of it.
type Case = (&'static str, Vec<Said>, &'static str);

fn tell_all(end: &mut End, said: &[Said], bytewise: bool) -> String {
    let mut all = Vec::new();
    for (id, bytes, ends) in said {
        let mut pieces: Vec<(&[u8], bool)> = vec![(bytes, *ends)];
        if bytewise && bytes.len() > 1 {
            let last = bytes.len() - 1;
            pieces = bytes.chunks(1).enumerate().map(|(place, byte)| (byte, *ends && place == last)).collect();
        }
        for (piece, ends) in pieces {
            all.push(end.tell(*id, piece, ends));
            let told = all.last().expect("it was pushed");
            if told.contains("refused") || told.contains("reset") {
                break;
            }
        }
    }
    all.retain(|told| !told.is_empty() && told != "closed");
    all.join(" ")
}

/// Whole, and byte by byte, it comes to the same; and nothing is held that is over.
#[track_caller]
fn check(new: impl Fn() -> End, cases: &[Case]) {
    for (clause, said, told) in cases {
        for bytewise in [false, true] {
            let mut end = new();
            let all = tell_all(&mut end, said, bytewise);
            match bytewise {
                true => assert_eq!(without_data(&all), without_data(told), "{clause}, byte by byte"),
                false => assert_eq!(&all, told, "{clause}"),
            }
            assert_eq!(end.engine.is_closed(), told.contains("error"), "{clause}, byte by byte: {bytewise}");
            if !told.contains("blocked") && !told.contains("error") {
                assert_eq!(end.engine.held_bytes, 0, "{clause}, byte by byte: {bytewise}");
            }
        }
    }
}

/// What was told, but for the pieces of data, which are cut as the input is.
fn without_data(told: &str) -> String {
    told.split_inclusive(';').filter(|told| !told.contains(" bytes")).map(str::trim_start).collect()
}

fn server(cases: &[Case]) {
    check(End::server, cases);
}

fn client(cases: &[Case]) {
    check(|| End::client(&Method::GET), cases);
}

/// On the stream of a request, or after the settings, and no end.
fn on(id: u64, bytes: impl AsRef<[u8]>) -> Vec<Said> {
    vec![(id, bytes.as_ref().to_vec(), false)]
}

fn ends(id: u64, bytes: impl AsRef<[u8]>) -> Vec<Said> {
    vec![(id, bytes.as_ref().to_vec(), true)]
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<u8> {
    head(&[&GET[..], more].concat())
}

fn both(first: Vec<u8>, second: Vec<u8>) -> Vec<u8> {
    [first, second].concat()
}

const UNEXPECTED: &str = "error H3_FRAME_UNEXPECTED";
const FRAME: &str = "error H3_FRAME_ERROR";
const ID: &str = "error H3_ID_ERROR";
const SETTINGS: &str = "error H3_SETTINGS_ERROR";
const CREATION: &str = "error H3_STREAM_CREATION_ERROR";
const CRITICAL: &str = "error H3_CLOSED_CRITICAL_STREAM";
const MALFORMED: &str = "0: refused H3_MESSAGE_ERROR;";

#[test]
fn section_4_1_framing_of_messages() {
    server(&[
        ("9114 4.1: a request", ends(0, get()), "0: GET here / end;"),
        ("9114 4.1: and its end behind it", vec![(0, get(), false), (0, vec![], true)], "0: GET here /; 0: end;"),
        ("9114 4.1: with content", ends(0, both(post(), data(3))), "0: POST here /; 0: 3 bytes end;"),
        (
            "9114 4.1: with trailers",
            ends(0, [post(), data(3), head(&[("x", "y")])].concat()),
            "0: POST here /; 0: 3 bytes; 0: trailers x=y;",
        ),
        (
            "9114 4.1: trailers, and an unknown frame",
            ends(0, [post(), head(&[("x", "y")]), frame(0x21, b"abc")].concat()),
            "0: POST here /; 0: trailers x=y;",
        ),
        ("9114 4.1: data before a head", on(0, data(3)), UNEXPECTED),
        (
            "9114 4.1: a head after trailers",
            on(0, [post(), head(&[("x", "y")]), head(&[("x", "y")])].concat()),
            "0: POST here /; 0: trailers x=y; error H3_FRAME_UNEXPECTED",
        ),
        (
            "9114 4.1: data after trailers",
            on(0, [post(), head(&[("x", "y")]), data(1)].concat()),
            "0: POST here /; 0: trailers x=y; error H3_FRAME_UNEXPECTED",
        ),
        ("9114 4.1: an end before a request", ends(0, b""), "0: refused H3_REQUEST_INCOMPLETE;"),
        ("9114 4.1: an end after an unknown frame", ends(0, frame(0x21, b"abc")), "0: refused H3_REQUEST_INCOMPLETE;"),
        (
            "9114 4.1: several requests",
            vec![(4, get(), true), (0, get(), true)],
            "4: GET here / end; 0: GET here / end;",
        ),
    ]);
    client(&[
        ("9114 4.1: a response", ends(0, head(&[(":status", "200")])), "0: 200 end;"),
        (
            "9114 4.1: after an interim one",
            ends(0, both(head(&[(":status", "103"), ("link", "x")]), head(&[(":status", "204")]))),
            "0: 103 link=x; 0: 204 end;",
        ),
        (
            "9114 4.1: data after an interim one",
            on(0, both(head(&[(":status", "103")]), data(1))),
            "0: 103; error H3_FRAME_UNEXPECTED",
        ),
        ("9114 4.1: nothing after an interim one", ends(0, head(&[(":status", "103")])), "0: reset H3_MESSAGE_ERROR;"),
        ("9114 4.1: an end before a response", ends(0, b""), "0: reset H3_MESSAGE_ERROR;"),
        ("9114 4.1: data before a response", on(0, data(1)), UNEXPECTED),
        ("9114 4.5: 101", on(0, head(&[(":status", "101")])), "0: reset H3_MESSAGE_ERROR;"),
        (
            "9114 4.1: with trailers",
            ends(0, [head(&[(":status", "200")]), data(2), head(&[("x", "y")])].concat()),
            "0: 200; 0: 2 bytes; 0: trailers x=y;",
        ),
    ]);
}

#[test]
fn section_4_1_2_malformed_messages() {
    let length = |length: &'static str| head(&[&POST[..], &[("content-length", length)]].concat());
    server(&[
        (
            "9114 4.1.2: as long as declared",
            ends(0, both(length("5"), data(5))),
            "0: POST here / content-length=5; 0: 5 bytes end;",
        ),
        (
            "9114 4.1.2: longer",
            on(0, both(length("5"), data(6))),
            "0: POST here / content-length=5; 0: reset H3_MESSAGE_ERROR;",
        ),
        (
            "9114 4.1.2: shorter",
            vec![(0, length("5"), false), (0, data(4), false), (0, vec![], true)],
            "0: POST here / content-length=5; 0: 4 bytes; 0: reset H3_MESSAGE_ERROR;",
        ),
        (
            "9114 4.1.2: shorter, in one",
            ends(0, both(length("5"), data(4))),
            "0: POST here / content-length=5; 0: reset H3_MESSAGE_ERROR;",
        ),
        (
            "9114 4.1.2: shorter, with trailers",
            on(0, [length("5"), data(4), head(&[("x", "y")])].concat()),
            "0: POST here / content-length=5; 0: 4 bytes; 0: reset H3_MESSAGE_ERROR;",
        ),
        ("9114 4.1.2: a length and no content", ends(0, length("5")), MALFORMED),
        ("9114 4.1.2: two lengths", on(0, with(&[("content-length", "0"), ("content-length", "1")])), MALFORMED),
        ("9114 4.1.2: a length that is none", on(0, with(&[("content-length", "x")])), MALFORMED),
        ("9114 4.2: a capital letter", on(0, with(&[("X-Test", "1")])), MALFORMED),
        ("9114 4.2: an empty name", on(0, with(&[("", "1")])), MALFORMED),
        ("9114 4.2: a line feed in a value", on(0, with(&[("a", "1\n2")])), MALFORMED),
        ("9114 4.2: NUL", on(0, with(&[("a", "\0")])), MALFORMED),
        ("9114 4.2: connection", on(0, with(&[("connection", "close")])), MALFORMED),
        ("9114 4.2: keep-alive", on(0, with(&[("keep-alive", "1")])), MALFORMED),
        ("9114 4.2: transfer-encoding", on(0, with(&[("transfer-encoding", "chunked")])), MALFORMED),
        ("9114 4.2: upgrade", on(0, with(&[("upgrade", "h2c")])), MALFORMED),
        ("9114 4.2: te", on(0, with(&[("te", "gzip")])), MALFORMED),
        ("9114 4.2: te of trailers", ends(0, with(&[("te", "trailers")])), "0: GET here / te=trailers end;"),
        (
            "9114 4.2.1: crumbs of cookies",
            ends(0, with(&[("cookie", "a=b"), ("cookie", "c=d")])),
            "0: GET here / cookie=a=b; c=d end;",
        ),
        ("9114 4.3: pseudo after fields", on(0, head(&[GET[0], GET[1], GET[2], ("a", "1"), GET[3]])), MALFORMED),
        ("9114 4.3: unknown pseudo", on(0, with(&[(":test", "1")])), MALFORMED),
        ("9114 4.3: a response's", on(0, with(&[(":status", "200")])), MALFORMED),
        (
            "9114 4.3: in trailers",
            on(0, both(post(), head(&[(":path", "/")]))),
            "0: POST here /; 0: reset H3_MESSAGE_ERROR;",
        ),
        ("9114 4.3.1: no method", on(0, head(&GET[1..])), MALFORMED),
        ("9114 4.3.1: no scheme", on(0, head(&[GET[0], GET[2], GET[3]])), MALFORMED),
        ("9114 4.3.1: no path", on(0, head(&GET[..3])), MALFORMED),
        ("9114 4.3.1: an empty path", on(0, head(&[GET[0], GET[1], GET[2], (":path", "")])), MALFORMED),
        ("9114 4.3.1: twice", on(0, head(&[&GET[..1], &GET[..]].concat())), MALFORMED),
        ("9114 4.3.1: no authority", on(0, head(&[GET[0], GET[1], GET[3]])), MALFORMED),
        ("9114 4.3.1: an empty one", on(0, head(&[GET[0], GET[1], (":authority", ""), GET[3]])), MALFORMED),
        (
            "9114 4.3.1: Host will do",
            ends(0, head(&[GET[0], GET[1], GET[3], ("host", "there")])),
            "0: GET there / end;",
        ),
        ("9114 4.3.1: two of them", on(0, with(&[("host", "there")])), MALFORMED),
        ("9114 4.3.1: user information", on(0, head(&[GET[0], GET[1], (":authority", "me@here"), GET[3]])), MALFORMED),
        ("9114 4.3.1: an asterisk", on(0, head(&[GET[0], GET[1], GET[2], (":path", "*")])), MALFORMED),
    ]);
    let status = |status, more: &[(&'static str, &'static str)]| head(&[&[(":status", status)], more].concat());
    client(&[
        ("9114 4.3.2: no status", on(0, head(&[("a", "b")])), "0: reset H3_MESSAGE_ERROR;"),
        ("9114 4.3.2: one that is none", on(0, status("2000", &[])), "0: reset H3_MESSAGE_ERROR;"),
        ("9114 4.3: a request's", on(0, status("200", &[(":path", "/")])), "0: reset H3_MESSAGE_ERROR;"),
        (
            "9114 4.1.2: shorter than declared",
            ends(0, status("200", &[("content-length", "3")])),
            "0: reset H3_MESSAGE_ERROR;",
        ),
        (
            "9114 4.1.2: a 304 declares another's",
            ends(0, status("304", &[("content-length", "3")])),
            "0: 304 content-length=3 end;",
        ),
        ("9114 4.1.2: a 204 has none", on(0, both(status("204", &[]), data(1))), "0: 204; 0: reset H3_MESSAGE_ERROR;"),
    ]);
    check(
        || End::client(&Method::HEAD),
        &[
            (
                "9114 4.1.2: an answer to HEAD declares another's",
                ends(0, status("200", &[("content-length", "3")])),
                "0: 200 content-length=3 end;",
            ),
            (
                "9114 4.1.2: and has none",
                on(0, both(status("200", &[]), data(1))),
                "0: 200; 0: reset H3_MESSAGE_ERROR;",
            ),
        ],
    );
}

#[test]
fn section_4_4_tunnels() {
    let connect = head(&[(":method", "CONNECT"), (":authority", "here:1")]);
    let extended = head(&[(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]]);
    server(&[
        ("9114 4.4: CONNECT", on(0, both(connect.clone(), data(2))), "0: CONNECT here:1 here:1; 0: 2 bytes;"),
        (
            "9114 4.4: something else than data",
            on(0, both(connect.clone(), head(&[("x", "y")]))),
            "0: CONNECT here:1 here:1; error H3_FRAME_UNEXPECTED",
        ),
        ("9114 4.4: what is unknown", on(0, both(connect, frame(0x40, b"abc"))), "0: CONNECT here:1 here:1;"),
        (
            "9114 4.4: with a path",
            on(0, head(&[(":method", "CONNECT"), (":authority", "here:1"), (":path", "/")])),
            MALFORMED,
        ),
        ("9114 4.4: for no port", on(0, head(&[(":method", "CONNECT"), (":authority", "here")])), MALFORMED),
        ("9220 3: extended", on(0, extended.clone()), "0: GET here / websocket;"),
        ("9220 3: a protocol of another method", on(0, with(&[(":protocol", "websocket")])), MALFORMED),
    ]);
    let without = || End::server_with(Limits { connects: false, ..Limits::default() });
    check(without, &[("9220 3: not offered", on(0, extended), MALFORMED)]);
    check(
        || End::client(&Method::CONNECT),
        &[
            (
                "9114 4.4: something else than data",
                on(0, [head(&[(":status", "200")]), data(1), head(&[("x", "y")])].concat()),
                "0: 200; 0: 1 bytes; error H3_FRAME_UNEXPECTED",
            ),
            (
                "9114 4.4: refused like others",
                ends(0, [head(&[(":status", "403")]), data(1), head(&[("x", "y")])].concat()),
                "0: 403; 0: 1 bytes; 0: trailers x=y;",
            ),
        ],
    );
}

#[test]
fn section_4_6_pushes() {
    server(&[
        ("9114 4.6: a push of a client's", on(CLIENT_OTHER, [1, 0]), CREATION),
        (
            "9114 7.2.5: PUSH_PROMISE",
            on(0, both(get(), frame(kind::PUSH_PROMISE, &[0, 0, 0]))),
            "0: GET here /; error H3_FRAME_UNEXPECTED",
        ),
        ("9114 7.2.5: on the control stream", on(CLIENT_CONTROL, frame(kind::PUSH_PROMISE, &[0, 0, 0])), UNEXPECTED),
        ("9114 7.2.3: CANCEL_PUSH of none", on(CLIENT_CONTROL, frame(kind::CANCEL_PUSH, &[0])), ID),
        (
            "9114 7.2.7: MAX_PUSH_ID",
            on(CLIENT_CONTROL, both(frame(kind::MAX_PUSH_ID, &[3]), frame(kind::MAX_PUSH_ID, &[3]))),
            "",
        ),
        (
            "9114 7.2.7: fewer",
            on(CLIENT_CONTROL, both(frame(kind::MAX_PUSH_ID, &[3]), frame(kind::MAX_PUSH_ID, &[2]))),
            ID,
        ),
        ("9114 7.2.7: on a request's stream", on(0, frame(kind::MAX_PUSH_ID, &[3])), UNEXPECTED),
    ]);
    client(&[
        ("9114 4.6: a push that was not allowed", on(SERVER_OTHER, [1, 0]), ID),
        ("9114 7.2.5: a promise", on(0, frame(kind::PUSH_PROMISE, &[0, 0, 0])), ID),
        ("9114 7.2.3: CANCEL_PUSH of none", on(SERVER_CONTROL, frame(kind::CANCEL_PUSH, &[0])), ID),
        ("9114 7.2.7: MAX_PUSH_ID of a server's", on(SERVER_CONTROL, frame(kind::MAX_PUSH_ID, &[3])), UNEXPECTED),
    ]);
}

#[test]
fn section_5_2_the_end() {
    let goaway = |id| frame(kind::GOAWAY, &numbers(&[id]));
    client(&[
        ("9114 5.2: GOAWAY", on(SERVER_CONTROL, goaway(4)), "goaway 4;"),
        ("9114 5.2: and less", on(SERVER_CONTROL, both(goaway(8), goaway(4))), "goaway 8; goaway 4;"),
        ("9114 5.2: and more", on(SERVER_CONTROL, both(goaway(4), goaway(8))), "goaway 4; error H3_ID_ERROR"),
        ("9114 7.2.6: for no request", on(SERVER_CONTROL, goaway(3)), ID),
        ("9114 7.2.6: on a request's stream", on(0, goaway(4)), UNEXPECTED),
    ]);
    server(&[
        ("9114 5.2: of pushes", on(CLIENT_CONTROL, goaway(3)), "goaway 3;"),
        ("9114 5.2: and more of them", on(CLIENT_CONTROL, both(goaway(3), goaway(4))), "goaway 3; error H3_ID_ERROR"),
        ("9114 7.1: with more than a number", on(CLIENT_CONTROL, frame(kind::GOAWAY, &[3, 3])), FRAME),
        ("9114 7.1: with less", on(CLIENT_CONTROL, frame(kind::GOAWAY, &[0x40])), FRAME),
        ("9114 7.1: with nothing", on(CLIENT_CONTROL, frame(kind::GOAWAY, b"")), FRAME),
    ]);
}

#[test]
fn section_6_streams() {
    server(&[
        ("9114 6.1: a server's stream that goes both ways", on(1, get()), CREATION),
        ("9114 6.2.1: a second control stream", on(CLIENT_OTHER, [0]), CREATION),
        ("9114 6.2.1: the control stream ends", ends(CLIENT_CONTROL, b""), CRITICAL),
        ("9114 6.2.1: within a frame", ends(CLIENT_CONTROL, [7, 1]), CRITICAL),
        ("9204 4.2: a second encoder stream", vec![(6, vec![2], false), (10, vec![2], false)], CREATION),
        ("9204 4.2: a second decoder stream", vec![(6, vec![3], false), (10, vec![3], false)], CREATION),
        ("9204 4.2: the encoder stream ends", ends(CLIENT_ENCODER, [2]), CRITICAL),
        ("9204 4.2: the decoder stream ends", ends(CLIENT_DECODER, [3]), CRITICAL),
        ("9114 6.2: an unknown type", on(CLIENT_OTHER, [0x21, 1, 2, 3]), "14: refused H3_STREAM_CREATION_ERROR;"),
        (
            "9114 6.2: a long one",
            on(CLIENT_OTHER, [0xc0, 0, 0, 0, 0, 0, 0, 0x21]),
            "14: refused H3_STREAM_CREATION_ERROR;",
        ),
        ("9114 6.2: an end before the type", ends(CLIENT_OTHER, b""), ""),
        ("9114 6.2: an end within the type", ends(CLIENT_OTHER, [0x40]), ""),
    ]);
    client(&[
        ("9114 6.1: a server's stream that goes both ways", on(1, head(&[(":status", "200")])), CREATION),
        ("9114 6.2.1: the control stream ends", ends(SERVER_CONTROL, b""), CRITICAL),
    ]);
    let new = || End::new(Role::Server, Limits::default());
    check(
        new,
        &[
            ("9114 6.2.1: settings are not first", on(2, [0, 7, 1, 0]), "error H3_MISSING_SETTINGS"),
            ("9114 6.2.1: not even after what is unknown", on(2, [0, 0x21, 0]), "error H3_MISSING_SETTINGS"),
            ("9114 6.2.1: data is first", on(2, [0, 0, 1, 0]), "error H3_MISSING_SETTINGS"),
            ("9114 7.2.4.2: requests may come before settings", ends(0, get()), "0: GET here / end;"),
        ],
    );
    for id in [CLIENT_CONTROL, CLIENT_ENCODER, CLIENT_DECODER] {
        let mut end = End::server();
        end.tell(CLIENT_ENCODER, &[2], false);
        end.tell(CLIENT_DECODER, &[3], false);
        assert_eq!(end.reset(id, Code::NO_ERROR), CRITICAL, "9114 6.2.1: it is reset");
    }
    assert_eq!(End::server().stop(SERVER_CONTROL, Code::NO_ERROR), CRITICAL, "9114 6.2.1: ours is not read");
    let mut end = End::server();
    end.tell(CLIENT_OTHER, &[0x40], false);
    assert_eq!(end.reset(CLIENT_OTHER, Code::NO_ERROR), "", "9114 6.2: one without a type may be reset");
    assert_eq!(end.tell(18, &[0x40], false), "");
}

#[test]
fn section_7_frames() {
    server(&[
        ("9114 7.1: the stream ends within a frame's head", ends(0, [1]), FRAME),
        ("9114 7.1: within a long kind", ends(0, [0xc0, 0, 0]), FRAME),
        ("9114 7.1: within a head", ends(0, &get()[..20]), FRAME),
        (
            "9114 7.1: within data",
            ends(0, [post(), data(5)[..4].to_vec()].concat()),
            "0: POST here /; 0: 2 bytes; error H3_FRAME_ERROR",
        ),
        ("9114 7.1: before data", ends(0, [post(), vec![0, 3]].concat()), "0: POST here /; error H3_FRAME_ERROR"),
        (
            "9114 7.1: within what is unknown",
            ends(0, [get(), vec![0x21, 9, 1]].concat()),
            "0: GET here /; error H3_FRAME_ERROR",
        ),
        (
            "9114 7.1: numbers may be longer than they need",
            ends(0, [vec![0x40, 1, 0x80, 0, 0, get()[1]], get()[2..].to_vec()].concat()),
            "0: GET here / end;",
        ),
        ("9114 7.2.1: data on the control stream", on(CLIENT_CONTROL, data(1)), UNEXPECTED),
        ("9114 7.2.2: a head on the control stream", on(CLIENT_CONTROL, get()), UNEXPECTED),
        ("9114 7.2.3: CANCEL_PUSH on a request's stream", on(0, frame(kind::CANCEL_PUSH, &[0])), UNEXPECTED),
        ("9114 7.1: CANCEL_PUSH with more than a number", on(CLIENT_CONTROL, frame(kind::CANCEL_PUSH, &[0, 0])), FRAME),
        ("9114 7.1: MAX_PUSH_ID that is long", on(CLIENT_CONTROL, frame(kind::MAX_PUSH_ID, &[0; 600])), FRAME),
        ("9114 7.2.4: settings on a request's stream", on(0, frame(kind::SETTINGS, b"")), UNEXPECTED),
        ("9114 7.2.4: settings twice", on(CLIENT_CONTROL, frame(kind::SETTINGS, b"")), UNEXPECTED),
        ("9114 7.2.8: PRIORITY of HTTP/2", on(0, frame(0x2, &[0; 5])), UNEXPECTED),
        ("9114 7.2.8: PING of HTTP/2", on(0, frame(0x6, &[0; 8])), UNEXPECTED),
        ("9114 7.2.8: WINDOW_UPDATE of HTTP/2", on(CLIENT_CONTROL, frame(0x8, &[0; 4])), UNEXPECTED),
        ("9114 7.2.8: CONTINUATION of HTTP/2", on(CLIENT_CONTROL, frame(0x9, b"")), UNEXPECTED),
        (
            "9114 7.2.8: what is reserved is ignored",
            ends(0, [frame(0x21, b""), get(), frame(0x5f, b"abc")].concat()),
            "0: GET here /; 0: end;",
        ),
        (
            "9114 9: what is unknown is ignored",
            on(CLIENT_CONTROL, [frame(0x3fff_ffff, b"abc"), frame(kind::GOAWAY, &[0])].concat()),
            "goaway 0;",
        ),
    ]);
    client(&[
        ("9114 7.2.4: settings on a request's stream", on(0, frame(kind::SETTINGS, b"")), UNEXPECTED),
        ("9114 7.2.8: PING of HTTP/2", on(0, frame(0x6, &[0; 8])), UNEXPECTED),
        ("9114 7.1: the stream ends within a head", ends(0, &head(&[(":status", "200")])[..5]), FRAME),
    ]);
}

#[test]
fn section_7_2_4_settings() {
    let settings = |settings: &[u64]| on(2, [&[0], &*frame(kind::SETTINGS, &numbers(settings))].concat());
    let new = || End::new(Role::Server, Limits::default());
    check(
        new,
        &[
            ("9114 7.2.4: none", settings(&[]), ""),
            ("9114 7.2.4: all that are known", settings(&[1, 4096, 6, 10_000, 7, 16, 8, 1, 0x33, 1]), ""),
            ("9114 7.2.4: unknown ones", settings(&[0x21, 0, 0x3fff_ffff_ffff, 77]), ""),
            ("9114 7.2.4: twice", settings(&[6, 1, 6, 1]), SETTINGS),
            ("9114 7.2.4.1: reserved", settings(&[0, 0]), SETTINGS),
            ("9114 7.2.4.1: ENABLE_PUSH", settings(&[2, 0]), SETTINGS),
            ("9114 7.2.4.1: MAX_CONCURRENT_STREAMS", settings(&[3, 100]), SETTINGS),
            ("9114 7.2.4.1: INITIAL_WINDOW_SIZE", settings(&[4, 100]), SETTINGS),
            ("9114 7.2.4.1: MAX_FRAME_SIZE", settings(&[5, 16_384]), SETTINGS),
            ("9220 3: CONNECT", settings(&[8, 2]), SETTINGS),
            ("9297 2.1.1: datagrams", settings(&[0x33, 2]), SETTINGS),
            ("9114 7.1: without a value", settings(&[6]), FRAME),
            ("9114 7.1: cut off", on(2, [0, 4, 2, 6, 0x40]), FRAME),
            ("9114 10.5: longer than makes sense", on(2, [0, 4, 0x7f, 0xff]), "error H3_EXCESSIVE_LOAD"),
        ],
    );
}

#[test]
fn rfc_9204_field_sections() {
    let section = |bytes: &[u8]| frame(kind::HEADERS, bytes);
    let failed = "error QPACK_DECOMPRESSION_FAILED";
    server(&[
        ("9204 4.5.1: cut off", on(0, section(&[])), failed),
        ("9204 4.5.1: without a base", on(0, section(&[0])), failed),
        ("9204 4.5.1.1: more inserts than there can be", on(0, section(&[0xff, 0xff, 0x7f, 0])), failed),
        ("9204 4.5.1.2: a negative base", on(0, section(&[0, 0x80])), failed),
        ("9204 3.1: no such entry of the static table", on(0, section(&[0, 0, 0xff, 0x30])), failed),
        ("9204 2.2.3: an entry of an empty table", on(0, section(&[0, 0, 0x80])), failed),
        ("9204 4.5.6: a value that is cut off", on(0, section(&[0, 0, 0x21, b'a', 9])), failed),
        ("9204 2.1.2: waits", on(0, section(&[2, 0, 0x80])), "0: blocked;"),
        (
            "9204 4.3.1: a capacity that was not granted",
            on(CLIENT_ENCODER, [2, 0x3f, 0xe2, 0x1f]),
            "error QPACK_ENCODER_STREAM_ERROR",
        ),
        (
            "9204 3.2.2: an entry larger than the table",
            on(CLIENT_ENCODER, [2, 0x41, b'a', 1, b'b']),
            "error QPACK_ENCODER_STREAM_ERROR",
        ),
        (
            "9204 4.3.4: a duplicate of nothing",
            on(CLIENT_ENCODER, [2, 0x3f, 0xe1, 0x1f, 0]),
            "error QPACK_ENCODER_STREAM_ERROR",
        ),
        (
            "9204 4.3.2: a name of no entry",
            on(CLIENT_ENCODER, [2, 0x3f, 0xe1, 0x1f, 0xff, 0x30, 0]),
            "error QPACK_ENCODER_STREAM_ERROR",
        ),
        ("9204 4.4.1: a section that was not sent", on(CLIENT_DECODER, [3, 0x80]), "error QPACK_DECODER_STREAM_ERROR"),
        ("9204 4.4.3: an increment of nothing", on(CLIENT_DECODER, [3, 0]), "error QPACK_DECODER_STREAM_ERROR"),
        ("9204 4.4.3: more inserts than there were", on(CLIENT_DECODER, [3, 1]), "error QPACK_DECODER_STREAM_ERROR"),
        ("9204 4.4.2: a stream that is cancelled", on(CLIENT_DECODER, [3, 0x41]), ""),
    ]);
    // The table gets one entry, x: y, and then a request that refers to it.
    let insert = vec![2, 0x3f, 0xe1, 0x1f, 0x41, b'x', 1, b'y'];
    let asks = section(&[&[2, 0][..], &lines(&GET), &[0x80]].concat());
    server(&[
        (
            "9204 2.1.1: an entry of the table",
            vec![(CLIENT_ENCODER, insert.clone(), false), (0, asks.clone(), true)],
            "0: GET here / x=y end;",
        ),
        (
            "9204 2.2.1: it comes late",
            vec![(0, asks.clone(), true), (CLIENT_ENCODER, insert.clone(), false)],
            "0: blocked; 0: GET here / x=y end;",
        ),
        (
            "9204 2.2.1: and so does what follows",
            vec![(0, both(asks.clone(), data(3)), false), (CLIENT_ENCODER, insert, false), (0, data(2), true)],
            "0: blocked; 0: GET here / x=y; 0: 3 bytes; 0: 2 bytes end;",
        ),
    ]);
    // RFC 9204 section 4.4: what the encoder is told.
    let mut end = End::server();
    end.tell(CLIENT_ENCODER, &[2, 0x3f, 0xe1, 0x1f, 0x41, b'x', 1, b'y'], false);
    end.tell(0, &asks, true);
    assert_eq!(end.bytes_said(Own::Decoder), [3, 0x80], "9204 4.4.1: acknowledged");
    end.tell(4, &post(), false);
    end.reset(4, Code::REQUEST_CANCELLED);
    assert_eq!(end.bytes_said(Own::Decoder), [0x44], "9204 4.4.2: cancelled");
    end.tell(CLIENT_ENCODER, &[0x41, b'z', 1, b'y'], false);
    assert_eq!(end.bytes_said(Own::Decoder), [1], "9204 4.4.3: one more");
}

#[test]
fn rfc_9218_priorities() {
    let update = |id: u64, value: &str| frame(kind::PRIORITY_UPDATE, &[&*numbers(&[id]), value.as_bytes()].concat());
    let asks = with(&[("priority", "u=5, i")]);
    server(&[
        (
            "9218 7: changed",
            vec![(0, get(), false), (CLIENT_CONTROL, update(0, "u=1"), false)],
            "0: GET here /; 0: u=1 i=false;",
        ),
        ("9218 7.2: on a request's stream", on(0, update(0, "")), UNEXPECTED),
        ("9218 7.2: of no request", on(CLIENT_CONTROL, update(3, "")), ID),
        ("9218 7.2: of a stream that was not granted", on(CLIENT_CONTROL, update(4 * 128, "")), ID),
        ("9218 7.2: of a push", on(CLIENT_CONTROL, frame(kind::PRIORITY_UPDATE_PUSH, &[0])), ID),
        ("9114 7.1: without a number", on(CLIENT_CONTROL, frame(kind::PRIORITY_UPDATE, b"")), FRAME),
        ("9218 7.2: too long to be understood", on(CLIENT_CONTROL, update(0, &"x".repeat(600))), ""),
    ]);
    client(&[("9218 7.2: of a server's", on(SERVER_CONTROL, update(0, "u=1")), UNEXPECTED)]);
    let mut end = End::server();
    end.tell(0, &asks, true);
    assert_eq!(end.engine.priority(end.key(0)), Priority { urgency: 5, is_incremental: true }, "9218 5: the field");
    end.tell(CLIENT_CONTROL, &update(4, "u=0"), false);
    end.tell(4, &asks, true);
    assert_eq!(
        end.engine.priority(end.key(4)),
        Priority { urgency: 0, is_incremental: false },
        "9218 7: before it came"
    );
}

#[test]
fn rfc_9297_datagrams() {
    let mut end = End::server();
    end.tell(0, &head(&[(":method", "CONNECT"), (":protocol", "x"), GET[1], GET[2], GET[3]]), false);
    let limits = end.limits.clone();
    let key = end.key(0);
    assert_eq!(end.engine.receive_datagram(&[0, 1, 2], &limits), Ok(Some((key, 1))));
    assert_eq!(end.engine.receive_datagram(&[1, 1, 2], &limits), Ok(None), "2.1: its stream may come");
    assert_eq!(end.engine.datagram(key, &mut [0; 8]), Err(WriteError::NotExpected), "2.1.1: it takes none");
    for (input, code) in [
        (&[][..], Code::DATAGRAM_ERROR),
        (&[0x40], Code::DATAGRAM_ERROR),
        (&[0xff; 8], Code::DATAGRAM_ERROR),
        (&[0x40, 0x80], Code::ID_ERROR),
    ] {
        let mut end = End::server();
        assert_eq!(
            end.engine.receive_datagram(input, &limits).map_err(|error| error.code),
            Err(code),
            "2.1: {input:?}"
        );
    }
    let mut end = End::new(Role::Server, limits);
    end.tell(CLIENT_CONTROL, &[&[0], &*frame(kind::SETTINGS, &[0x33, 1])].concat(), false);
    end.tell(0, &get(), false);
    let mut out = [0; 8];
    assert_eq!(end.engine.datagram(end.key(0), &mut out), Ok(1));
    assert_eq!(out[0], 0);
}
