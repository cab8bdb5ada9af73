//! Responses: what is written, how the body is framed, and what becomes of the connection.

use http::{HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::message::Checked;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const OLD_KEEP: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const WAITS: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";

/// A server that has just been given `request`, read as far as it goes.
fn given(request: &str) -> Server {
    let (mut server, mut table, mut at) = (Server::new(), HeadTable::new(), 0);
    loop {
        let step = server.receive(&request.as_bytes()[at..], &mut table, &Limits::default()).unwrap();
        at += step.consumed;
        if let Event::NeedMore | Event::End { .. } = step.event {
            return server;
        }
    }
}

/// Answers `request` with `pieces`, and checks every byte and whether the connection stays open. The same must come
/// of it whatever room there is at first: `Full` changes nothing.
#[track_caller]
fn check(
    request: &str,
    status: u16,
    fields: &[(&str, &str)],
    body: BodyLength,
    pieces: &[&str],
    expect: &str,
    keep: bool,
) {
    let status = StatusCode::from_u16(status).unwrap();
    let mut server = given(request);
    let mut sent = Vec::new();
    let mut out = [0; 512];
    let mut retry = |write: &mut dyn FnMut(&mut [u8]) -> Result<usize, WriteError>| {
        let room = (0..).find(|&room| write(&mut out[..room]) != Err(WriteError::Full)).unwrap();
        out[..room].to_vec()
    };
    let fields = || fields.iter().copied();
    // Each write is tried with 0, 1, 2 … bytes of room until it succeeds, which must use all of it.
    sent.extend(retry(&mut |out| server.respond(status, fields(), Standing::default(), body, out)));
    for piece in pieces {
        if !server.takes_body() {
            break;
        }
        let mut tail: &[u8] = b"";
        sent.extend(retry(&mut |out| {
            let frame = server.data(piece.len(), out)?;
            tail = frame.tail;
            Ok(frame.head)
        }));
        sent.extend_from_slice(piece.as_bytes());
        sent.extend_from_slice(tail);
    }
    if !server.is_tunnel() {
        sent.extend(retry(&mut |out| server.finish(out)));
    }
    assert_eq!(String::from_utf8_lossy(&sent), expect);
    assert_eq!(server.keep_alive(), keep, "keep-alive");
}

#[test]
fn framing_of_bodies() {
    use BodyLength::{Known, None, Unknown};
    let ok = "HTTP/1.1 200 OK\r\n";
    check(GET, 200, &[], None, &[], &format!("{ok}Content-Length: 0\r\n\r\n"), true);
    check(GET, 200, &[], Known(2), &["hi"], &format!("{ok}Content-Length: 2\r\n\r\nhi"), true);
    check(GET, 200, &[], Known(2), &["h", "i"], &format!("{ok}Content-Length: 2\r\n\r\nhi"), true);
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    check(GET, 200, &[], Unknown, &[], &format!("{chunked}0\r\n\r\n"), true);
    check(GET, 200, &[], Unknown, &["hi", "", "you"], &format!("{chunked}2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n"), true);
    let long = "x".repeat(0x1a);
    check(GET, 200, &[], Unknown, &[&long], &format!("{chunked}1a\r\n{long}\r\n0\r\n\r\n"), true);
    // RFC 9112 section 6.3: no body with these, whatever was meant.
    check(HEAD, 200, &[], Known(2), &["hi"], &format!("{ok}Content-Length: 2\r\n\r\n"), true);
    check(HEAD, 200, &[], Unknown, &["hi"], &format!("{ok}\r\n"), true);
    check(HEAD, 200, &[("content-length", "7")], None, &[], &format!("{ok}Content-Length: 7\r\n\r\n"), true);
    check(HEAD, 200, &[("content-length", "x")], None, &[], &format!("{ok}\r\n"), true);
    check(GET, 204, &[("content-length", "7")], Known(2), &["hi"], "HTTP/1.1 204 No Content\r\n\r\n", true);
    check(GET, 205, &[], Known(2), &["hi"], "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", true);
    check(GET, 304, &[("ETag", "\"a\"")], Known(0), &[], "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", true);
    let stated = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    check(GET, 304, &[("Content-Length", "9")], None, &[], stated, true);
    check(GET, 599, &[], None, &[], "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n", true);
}

#[test]
fn closing_and_old_clients() {
    use BodyLength::{Known, Unknown};
    let ok = "HTTP/1.1 200 OK\r\n";
    check(CLOSE, 200, &[], Known(1), &["a"], &format!("{ok}Content-Length: 1\r\nConnection: close\r\n\r\na"), false);
    let closing = [("connection", "x, Close")];
    check(GET, 200, &closing, Known(1), &["a"], &format!("{ok}Content-Length: 1\r\nConnection: close\r\n\r\na"), false);
    check(OLD, 200, &[], Known(1), &["a"], &format!("{ok}Content-Length: 1\r\nConnection: close\r\n\r\na"), false);
    let kept = format!("{ok}Content-Length: 1\r\nConnection: keep-alive\r\n\r\na");
    check(OLD_KEEP, 200, &[], Known(1), &["a"], &kept, true);
    // RFC 9112 section 6.1: no chunks for HTTP/1.0.
    check(OLD_KEEP, 200, &[], Unknown, &["a", "b"], &format!("{ok}Connection: close\r\n\r\nab"), false);
    // RFC 9110 section 10.1.1: a final answer to one who waits; whether the body follows is anyone's guess.
    check(
        WAITS,
        413,
        &[],
        Known(0),
        &[],
        "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        false,
    );
}

#[test]
fn trailers_go_behind_chunks_to_those_who_take_them() {
    const TAKES: &str = "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE\r\n\r\n";
    let finish = |request: &str, body: BodyLength, trailers: &[(&str, &str)]| {
        let (mut server, out) = (given(request), &mut [0; 200]);
        server.respond(StatusCode::OK, NONE, Standing::default(), body, out).unwrap();
        // Each attempt that finds no room changes nothing.
        let mut write = |room: usize| server.finish_with(trailers.iter().copied(), &mut out[..room]);
        let room = (0..).find(|&room| write(room) != Err(WriteError::Full));
        String::from_utf8_lossy(&out[..room.unwrap()]).into_owned()
    };
    let trailers = [("x-sum", " 1 "), ("ETag", "\"2\"")];
    assert_eq!(finish(TAKES, BodyLength::Unknown, &trailers), "0\r\nx-sum: 1\r\nETag: \"2\"\r\n\r\n");
    assert_eq!(finish(TAKES, BodyLength::Unknown, &[]), "0\r\n\r\n");
    assert_eq!(finish(TAKES, BodyLength::Known(0), &trailers), "");
    assert_eq!(finish(GET, BodyLength::Unknown, &trailers), "0\r\n\r\n");

    // RFC 9110 section 6.5.1, and what would end the line.
    let refused = |trailer: (&str, &str)| {
        let (mut server, out) = (given(TAKES), &mut [0; 200]);
        server.respond(StatusCode::OK, NONE, Standing::default(), BodyLength::Unknown, out).unwrap();
        let error = server.finish_with([trailer], out).unwrap_err();
        assert_eq!(server.finish(out), Ok(5), "and the body can end without it");
        error
    };
    for name in ["Content-Length", "transfer-encoding", "Host", "Trailer", "Set-Cookie", "Authorization"] {
        assert_eq!(refused((name, "1")), WriteError::TrailerField, "{name}");
    }
    assert_eq!(refused(("x y", "1")), WriteError::FieldName);
    assert_eq!(refused(("", "1")), WriteError::FieldName);
    assert_eq!(refused(("x", "1\r\ny: 2")), WriteError::FieldValue);
}

#[test]
fn fields_of_the_handler() {
    use BodyLength::None;
    let fields = [
        ("Server", "s"),
        ("content-length", "9"),
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("connection", "x-own"),
        ("x-own", " \tv w\t "),
        ("set-cookie", "a"),
        ("set-cookie", "b"),
    ];
    let expect =
        "HTTP/1.1 200 OK\r\nServer: s\r\nx-own: v w\r\nset-cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n";
    check(GET, 200, &fields, None, &[], expect, true);
    let offered = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\nConnection: upgrade\r\n\r\n";
    check(GET, 426, &[("Upgrade", "x")], None, &[], offered, true);

    for (name, value, error) in [
        ("x", "a\r\nb: c", WriteError::FieldValue),
        ("x", "a\nb", WriteError::FieldValue),
        ("x", "a\0b", WriteError::FieldValue),
        ("Location", "/\r\n\r\n<html>", WriteError::FieldValue),
        ("", "a", WriteError::FieldName),
        ("x y", "a", WriteError::FieldName),
        ("x:", "a", WriteError::FieldName),
        ("x\r\n", "a", WriteError::FieldName),
    ] {
        let mut server = given(GET);
        let result = server.respond(StatusCode::OK, [(name, value)], Standing::default(), None, &mut [0; 99]);
        assert_eq!(result, Err(error), "{name:?}: {value:?}");
        // Nothing has been said yet: an answer is still possible.
        assert!(
            server.respond(StatusCode::INTERNAL_SERVER_ERROR, NONE, Standing::default(), None, &mut [0; 99]).is_ok()
        );
    }
}

#[test]
fn server_and_date_are_written_once() {
    let standing = Standing {
        server_and_date: b"Server: s\r\nDate: d\r\n",
        server_bytes: 11,
        other: b"Other: o\r\n",
        again: None,
    };
    for (fields, expect) in [
        (&[][..], "Other: o\r\nServer: s\r\nDate: d\r\n"),
        (&[("date", "x")][..], "date: x\r\nOther: o\r\nServer: s\r\n"),
        (&[("server", "x")][..], "server: x\r\nOther: o\r\nDate: d\r\n"),
        (&[("server", "x"), ("date", "y")][..], "server: x\r\ndate: y\r\nOther: o\r\n"),
    ] {
        let expect = format!("HTTP/1.1 200 OK\r\n{expect}Content-Length: 1\r\n\r\na");
        let mut out = [0; 200];
        let count = given(GET).respond_whole(StatusCode::OK, fields.iter().copied(), standing, b"a", &mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out[..count]), expect);
    }
}

/// A head that comes again is copied: it must say what it would say if it were written, to whoever it goes, and nothing of
/// before its lines were renewed.
#[test]
fn a_head_that_was_written_before_says_the_same() {
    let requests = [
        GET,
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
    ];
    let statuses = [200, 204, 205, 304, 404].map(|status| StatusCode::from_u16(status).unwrap());
    let others: [&'static [u8]; 3] = [b"", b"Content-Type: text/plain\r\n", b"Content-Type: text/css\r\n"];
    let dates: [&[u8]; 2] = [b"Server: s\r\nDate: d\r\n", b"Server: s\r\nDate: e\r\n"];
    let bodies: [&[u8]; 4] = [b"", b"a", b"b", b"abcdefghi"];
    let lines = [("x", "y"), ("x", "z"), ("x-y", "z"), ("vary", "y: z"), ("server", "t"), ("date", "f"), ("x", " y ")];
    let engines =
        [("content-length", "1"), ("connection", "close"), ("connection", "te"), ("upgrade", "h2c"), ("te", "")];
    let known: Vec<(HeaderName, HeaderValue)> = [&lines[..], &lines, &lines, &engines]
        .concat()
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let (again, mut random, mut date, mut short_cuts) = (Again::default(), Random(11), 0, [0; 2]);
    let (mut chosen, mut status, mut other, mut body) = (Vec::new(), statuses[0], others[0], bodies[0]);
    for round in 0..60_000 {
        if random.below(50) == 0 {
            date ^= 1;
            again.clear();
        }
        if random.below(3) == 0 {
            let count = random.below(4).saturating_sub(random.below(3));
            chosen = (0..count).map(|_| &known[random.below(known.len())]).collect();
            (status, other, body) = (statuses[random.below(5)], others[random.below(3)], bodies[random.below(4)]);
        }
        let fields = chosen.iter().map(|(name, value)| Checked(name, value));
        let request = requests[random.below(5).saturating_sub(random.below(5))];
        let is_whole = random.below(2) == 0;
        let room = if random.below(8) == 0 { random.below(150) } else { 300 };
        // First, as what is written anew is kept.
        let mut server = given(request);
        let before = format!("{server:?}");
        let length = body.len() as u64;
        let short_cut = server.head_again(status, fields.clone(), other, length, &again.heads()).and_then(|head| {
            let whole = [head, body].concat();
            (whole.len() <= room).then(|| whole.escape_ascii().to_string())
        });
        if short_cut.is_some() {
            server.answered();
        }
        let short_cut_state = format!("{server:?}");
        let [written, copied] = [None, Some(&again)].map(|again| {
            let (mut server, mut out) = (given(request), [0; 300]);
            let standing = Standing { server_and_date: dates[date], server_bytes: 11, other, again };
            let length = BodyLength::Known(length);
            let written = match is_whole {
                true => server.respond_whole(status, fields.clone(), standing, body, &mut out[..room]),
                false => server.respond(status, fields.clone(), standing, length, &mut out[..room]),
            };
            (written.map(|count| out[..count].escape_ascii().to_string()), format!("{server:?}"))
        });
        assert_eq!(copied, written, "round {round}");
        match short_cut {
            None => assert_eq!(short_cut_state, before, "round {round}: nothing has happened"),
            Some(short_cut) if is_whole => {
                assert_eq!((Ok(short_cut), short_cut_state), written, "round {round}");
                short_cuts[chosen.len().min(1)] += 1;
            }
            Some(_) => {}
        }
    }
    assert!(short_cuts[0] > 1_000 && short_cuts[1] > 1_000, "without fields, and with some: {short_cuts:?}");
}

/// One whose name holds what ends a name is refused, though its line has been written for another.
#[test]
fn fields_that_nobody_has_checked_are_not_taken_for_others() {
    let (again, mut out) = (Again::default(), [0; 99]);
    let standing = Standing { again: Some(&again), ..Standing::default() };
    // As long as each other by a multiple of the places, so that they are looked for in the same.
    let checked = [Checked(&HeaderName::from_static("x"), &HeaderValue::from_static("abcdef: z"))];
    given(GET).respond_whole(StatusCode::OK, checked, standing, b"a", &mut out).unwrap();
    assert!(given(GET).head_again(StatusCode::OK, checked, &[], 1, &again.heads()).is_some());
    let refused = given(GET).respond_whole(StatusCode::OK, [("x: abcdef", "z")], standing, b"a", &mut out);
    assert_eq!(refused, Err(WriteError::FieldName));
}

/// What has other fields each time is not kept each time, and what stands there comes again meanwhile.
#[test]
fn heads_that_never_come_again_are_not_kept_for_long() {
    let (again, name) = (Again::default(), HeaderName::from_static("x"));
    let value = |number: u32| HeaderValue::from(10 + number);
    let is_known = |number: u32| {
        let value = value(number);
        given(GET).head_again(StatusCode::OK, [Checked(&name, &value)], &[], 0, &again.heads()).is_some()
    };
    let write = |number: u32| {
        let (value, standing) = (value(number), Standing { again: Some(&again), ..Standing::default() });
        given(GET).respond_whole(StatusCode::OK, [Checked(&name, &value)], standing, b"", &mut [0; 99]).unwrap();
    };
    for number in 0..50 {
        write(number);
        assert!(is_known(number), "each is asked for before the next, so nothing is missed");
    }
    (0..50).for_each(write);
    let known: Vec<u32> = (0..50).filter(|&number| is_known(number)).collect();
    assert_eq!(known, [7], "the eighth is the last that was kept");
    write(8);
    assert!(is_known(8), "one that was asked for makes room for others");
    (0..50).for_each(write);
    again.clear();
    write(60);
    assert!(is_known(60));
}

#[test]
fn a_body_has_the_length_it_declares() {
    let mut server = given(GET);
    let out = &mut [0; 200];
    assert_eq!(server.data(1, out), Err(WriteError::NotExpected));
    assert_eq!(server.finish(out), Err(WriteError::NotExpected));
    server.respond(StatusCode::OK, NONE, Standing::default(), BodyLength::Known(3), out).unwrap();
    assert_eq!(
        server.respond(StatusCode::OK, NONE, Standing::default(), BodyLength::Known(3), out),
        Err(WriteError::NotExpected)
    );
    assert_eq!(server.data(4, out), Err(WriteError::BodyTooLong));
    assert_eq!(server.data(2, out), Ok(Frame { head: 0, tail: b"" }));
    assert_eq!(server.data(2, out), Err(WriteError::BodyTooLong));
    assert!(server.keep_alive());
    assert_eq!(server.finish(out), Err(WriteError::BodyTooShort));
    assert!(!server.keep_alive());
    let step = server.receive(GET.as_bytes(), &mut HeadTable::new(), &Limits::default());
    assert_eq!(step, Ok(Step { consumed: GET.len(), event: Event::Closed }));
}

#[test]
fn interim_responses() {
    let out = &mut [0; 200];
    let mut server = given(WAITS);
    let hints = server
        .respond(StatusCode::EARLY_HINTS, [("Link", "</a>")], Standing::default(), BodyLength::None, out)
        .unwrap();
    assert_eq!(&out[..hints], b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(server.continue_line(), b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(server.continue_line(), b"");
    let count = server.respond_whole(StatusCode::OK, NONE, Standing::default(), b"", out).unwrap();
    assert_eq!(&out[..count], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(server.keep_alive());

    assert_eq!(given(GET).continue_line(), b"");
    assert_eq!(given(&format!("{WAITS}a")).continue_line(), b"", "the body came unasked");
    let mut old = given(OLD);
    assert_eq!(old.respond(StatusCode::EARLY_HINTS, NONE, Standing::default(), BodyLength::None, out), Ok(0));
    assert!(old.respond(StatusCode::OK, NONE, Standing::default(), BodyLength::None, out).is_ok());
}

#[test]
fn tunnels() {
    use BodyLength::None;
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    check(UPGRADE, 101, &[("Upgrade", "x")], None, &[], switched, true);
    check(UPGRADE, 200, &[], None, &[], "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true);
    let connect = "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n";
    check(connect, 200, &[], BodyLength::Known(3), &[], "HTTP/1.1 200 OK\r\n\r\n", true);
    check(connect, 403, &[], None, &[], "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true);

    let out = &mut [0; 200];
    let switch = |server: &mut Server, out: &mut [u8]| {
        server.respond(StatusCode::SWITCHING_PROTOCOLS, [("Upgrade", "x")], Standing::default(), None, out)
    };
    assert_eq!(switch(&mut given(GET), out), Err(WriteError::Upgrade), "nobody asked");
    let unread = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(switch(&mut given(&unread), out), Err(WriteError::Upgrade), "the body has not ended");
    let mut server = given(UPGRADE);
    switch(&mut server, out).unwrap();
    let step = server.receive(b"\0\x01", &mut HeadTable::new(), &Limits::default());
    assert_eq!(step, Ok(Step { consumed: 0, event: Event::Tunnel }));
    assert!(server.is_tunnel());
}

#[test]
fn one_exchange_at_a_time() {
    let (mut server, mut table, limits) = (Server::new(), HeadTable::new(), Limits::default());
    let input = format!("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi{GET}");
    let mut at = 0;
    let mut next = |server: &mut Server| {
        let step = server.receive(&input.as_bytes()[at..], &mut table, &limits).unwrap();
        at += step.consumed;
        step.event
    };
    let out = &mut [0; 200];
    assert!(matches!(next(&mut server), Event::Head(_)));
    // Answered before its body is read: the body is still this request's.
    server.respond_whole(StatusCode::OK, NONE, Standing::default(), b"", out).unwrap();
    assert_eq!(server.body_left(), Some(2));
    assert!(server.keep_alive() && !server.is_request_ended());
    assert_eq!(next(&mut server), Event::Data(0..2));
    assert_eq!(next(&mut server), Event::End { trailers: 0..0 });
    assert!(matches!(next(&mut server), Event::Head(_)));
    // And the other way: read to its end, and not answered.
    assert!(server.is_request_ended());
    assert_eq!(next(&mut server), Event::NeedMore);
    assert!(!server.is_idle());
    server.close_after_response();
    let count = server.respond_whole(StatusCode::OK, NONE, Standing::default(), b"", out).unwrap();
    assert_eq!(&out[..count], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(next(&mut server), Event::Closed);
}

#[test]
fn refusals() {
    let expect = "HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 41\r\n\
        Connection: close\r\n\r\nthe request's head did not arrive in time";
    let out = &mut [0; 400];
    let (mut server, mut table, limits) = (Server::new(), HeadTable::new(), Limits::default());
    server.receive(b"GET / HT", &mut table, &limits).unwrap();
    assert_eq!(server.refuse(Error::HeadTimeout, Standing::default(), &mut [0; 10]), Err(WriteError::Full));
    let count = server.refuse(Error::HeadTimeout, Standing::default(), out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out[..count]), expect);
    assert_eq!(server.refuse(Error::HeadTimeout, Standing::default(), out), Err(WriteError::NotExpected), "once");
    assert_eq!(server.receive(b"x", &mut table, &limits), Ok(Step { consumed: 1, event: Event::Closed }));

    let mut begun = given(GET);
    begun.respond(StatusCode::OK, NONE, Standing::default(), BodyLength::Unknown, out).unwrap();
    assert_eq!(begun.refuse(Error::BodyTooLong, Standing::default(), out), Err(WriteError::NotExpected));

    let mut head = given(&HEAD.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n"));
    let count = head.refuse(Error::BodyTimeout, Standing::default(), out).unwrap();
    assert!(out[..count].ends_with(b"\r\n\r\n"), "no body in an answer to HEAD");

    let mut preface = Server::new();
    let step = preface.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &mut table, &limits);
    assert_eq!(step, Ok(Step { consumed: 0, event: Event::Http2Preface }));
    assert!(preface.refuse(Error::VersionNotSupported, Standing::default(), out).is_ok());

    let mut idle = Server::new();
    idle.close_after_response();
    assert!(!idle.keep_alive());
    assert_eq!(idle.receive(b"GET", &mut table, &limits), Ok(Step { consumed: 3, event: Event::Closed }));
}

/// A server that lingers after every last answer makes two system calls more for a connection than it must.
#[test]
fn who_says_that_it_was_the_last_request_sends_no_more() {
    for (input, own_close, expect) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, false),
        ("GET / HTTP/1.0\r\n\r\n", false, true),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, true),
        ("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", false, true),
    ] {
        let (mut server, mut table, mut out) = (Server::new(), HeadTable::new(), [0; 256]);
        let step = server.receive(input.as_bytes(), &mut table, &Limits::default()).unwrap();
        assert!(matches!(step.event, Event::Head(_)));
        if own_close {
            server.close_after_response();
        }
        let fields: [(&str, &str); 0] = [];
        server.respond_whole(StatusCode::OK, fields, Standing::default(), b"hi", &mut out).unwrap();
        assert!(!server.keep_alive());
        assert_eq!(server.may_be_sending(), expect, "{input}");
    }
}

/// A head's table goes along with its request, and the body is read with another, which may have been somebody else's: what
/// trailers that one held are not this message's.
#[test]
fn trailers_of_another_message_are_forgotten() {
    let (limits, head) = (Limits::default(), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut used = HeadTable::new();
    for trailers in ["x-secret: of another\r\nx-more: too\r\n\r\n", "x-a: 1\r\n\r\n"] {
        let (mut server, body) = (Server::new(), format!("0\r\n{trailers}"));
        assert!(matches!(
            server.receive(head.as_bytes(), &mut HeadTable::new(), &limits).unwrap().event,
            Event::Head(_)
        ));
        let Event::End { trailers: range } = server.receive(body.as_bytes(), &mut used, &limits).unwrap().event else {
            panic!("the body has ended");
        };
        let lines: Vec<_> = used.trailers().iter(&body.as_bytes()[range]).collect();
        assert_eq!(lines.len(), trailers.matches(':').count(), "{lines:?}");
    }
}
