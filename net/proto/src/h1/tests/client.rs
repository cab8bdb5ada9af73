//! The client: what it writes, how it reads responses (RFC 9112 section 6.3), and that both ends understand each other.

use http::{Method, StatusCode};

use super::*;

/// A client that has sent a whole request.
fn asked(method: &Method, fields: &[(&str, &str)]) -> Client {
    let mut client = Client::new();
    let target: &[u8] = if *method == Method::CONNECT { b"a:1" } else { b"/" };
    client.request(method, target, b"a", fields.iter().copied(), BodyLength::None, &mut [0; 200]).unwrap();
    client.finish(&mut []).unwrap();
    client
}

/// Feeds a response to a client in pieces, then the end of the connection, and says all that happened.
fn transcript(mut client: Client, input: &[u8], mut cut: impl FnMut(usize) -> usize) -> String {
    let (mut table, limits) = (HeadTable::new(), Limits { interim_count_max: 2, ..Limits::default() });
    let (mut said, mut held, mut data, mut sent) = (String::new(), Vec::new(), Vec::new(), 0);
    let mut has_ended = false;
    loop {
        let step = match client.receive(&held, &mut table, &limits) {
            Ok(step) => step,
            Err(error) => {
                flush(&mut said, &mut data);
                let after = client.receive(b"x", &mut table, &limits);
                assert_eq!(after, Ok(Step { consumed: 1, event: Event::Closed }), "nothing is parsed after an error");
                return format!("{said}{error:?}");
            }
        };
        if !matches!(step.event, Event::Data(_) | Event::NeedMore) {
            flush(&mut said, &mut data);
        }
        match step.event {
            Event::NeedMore if sent < input.len() => {
                held.drain(..step.consumed);
                let count = cut(input.len() - sent).clamp(1, input.len() - sent);
                held.extend_from_slice(&input[sent..sent + count]);
                sent += count;
                continue;
            }
            Event::NeedMore => {
                flush(&mut said, &mut data);
                said.push_str(if client.is_idle() && client.keep_alive() { "idle" } else { "" });
                match client.end_of_input() {
                    Ok(()) if !said.ends_with("idle") && !has_ended => has_ended = true,
                    Ok(()) => return said,
                    Err(_) => return said + "…",
                }
            }
            Event::Head(head) => {
                let body = match head.body {
                    Body::None => String::new(),
                    Body::Length(count) => format!(" length={count}"),
                    other => format!(" {other:?}"),
                };
                let close = if head.keep_alive { "" } else { " close" };
                write!(said, "{}{body}{close}; ", table.status().as_u16()).unwrap();
            }
            Event::Data(range) => data.extend_from_slice(&held[range]),
            Event::End { trailers } => {
                for (name, value) in table.trailers().iter(&held[trailers]) {
                    write!(said, "+{}={} ", name.escape_ascii(), value.escape_ascii()).unwrap();
                }
                said.push_str("end ");
            }
            Event::Tunnel => return format!("{said}tunnel '{}'", held[step.consumed..].escape_ascii()),
            Event::Closed => return said + "closed",
            Event::Http2Preface => unreachable!("only servers are sent a preface"),
        }
        held.drain(..step.consumed);
    }
}

/// Checks how `input` is read as the response to `method`: whatever the cuts, the same.
#[track_caller]
fn check(clause: &str, method: Method, fields: &[(&str, &str)], input: &str, expect: &str) {
    let input = input.replace("{OK}", "HTTP/1.1 200 OK\r\n");
    let run = |cut: &mut dyn FnMut(usize) -> usize| transcript(asked(&method, fields), input.as_bytes(), cut);
    assert_eq!(run(&mut |left| left), expect, "{clause}, whole: {input:?}");
    for seed in 1..=20 {
        let mut random = Random(seed);
        let cut = run(&mut |left| 1 + random.below(left.min(40)));
        assert_eq!(cut, expect, "{clause}, cut at random with seed {seed}: {input:?}");
    }
    // A tunnel's first bytes arrive with the cuts; all else must not depend on them.
    if !expect.contains("tunnel '") || expect.ends_with("''") {
        assert_eq!(run(&mut |_| 1), expect, "{clause}, byte by byte: {input:?}");
    }
}

#[test]
fn responses_are_read() {
    let check = |clause: &str, input: &str, expect: &str| check(clause, Method::GET, &[], input, expect);
    check("9112 6.3", "{OK}Content-Length: 2\r\n\r\nhi", "200 length=2; 'hi' end idle");
    check("9112 6.3", "{OK}Content-Length: 0\r\n\r\n", "200; end idle");
    check(
        "9112 6.3",
        "{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y\r\n\r\n",
        "200 Chunked; 'hi' +x=y end idle",
    );
    check("9112 6.3: until close", "{OK}\r\nhi", "200 UntilClose close; 'hi' end closed");
    check("9112 6.3: until close", "HTTP/1.0 200 OK\r\n\r\n", "200 UntilClose close; end closed");
    check("9112 6.3: 204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204; end idle");
    check("9112 6.3: 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304; end idle");
    check("9112 8: short", "{OK}Content-Length: 3\r\n\r\nhi", "200 length=3; 'hi' …");
    check("9112 8: short", "{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "200 Chunked; 'hi' …");
    check("9112 8: short", "{OK}", "…");
    check("9112 8: nothing", "", "…");
    check("9112 9.3", "{OK}Connection: close\r\nContent-Length: 1\r\n\r\na", "200 length=1 close; 'a' end closed");
    check("9112 9.3", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "200 length=1 close; 'a' end closed");
    let kept = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na";
    check("9112 9.3", kept, "200 length=1; 'a' end idle");
    check("9110 15.2", "HTTP/1.1 100 Continue\r\n\r\n{OK}Content-Length: 0\r\n\r\n", "100; 200; end idle");
    let interims = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(3);
    check("9110 15.2: bound", &interims, "103; 103; TooManyInterims");
    check("9112 9.2", "{OK}Content-Length: 0\r\n\r\n{OK}Content-Length: 0\r\n\r\n", "200; end Unexpected");
    check("9112 4", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200; end idle");
    check("9112 4", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200; end idle");
    check("9112 4", "HTTP/1.1 599 très long\r\nContent-Length: 0\r\n\r\n", "599; end idle");
    for line in
        ["HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "http/1.1 200 OK", "HTTP/1.1 099 OK", "hello"]
    {
        check("9112 4", &format!("{line}\r\n\r\n"), "StatusLine");
    }
    check("9112 4: control", "HTTP/1.1 200 O\0K\r\n\r\n", "StatusLine");
    check("9112 4: bare CR", "HTTP/1.1 200 O\rK\r\n\r\n", "StatusLine");
    check("9112 2.2: bare LF", "HTTP/1.1 200 OK\n\r\n", "BareLf");
    check("9112 2.3", "HTTP/2.0 200 OK\r\n\r\n", "VersionNotSupported");
    check("9112 6.3", "{OK}Content-Length: 1\r\nContent-Length: 1\r\n\r\na", "LengthRepeated");
    check("9112 6.3", "{OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "LengthWithCoding");
    check("9112 6.1", "{OK}Transfer-Encoding: gzip, chunked\r\n\r\n", "CodingUnknown");
    check("9112 6.1", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "CodingInOldVersion");
    check("9112 5.2", "{OK}a: b\r\n c\r\n\r\n", "LineFolding");
}

#[test]
fn the_request_decides_how_the_response_is_read() {
    check("9112 6.3: HEAD", Method::HEAD, &[], "{OK}Content-Length: 5\r\n\r\n", "200; end idle");
    check("9112 6.3: HEAD", Method::HEAD, &[], "{OK}Transfer-Encoding: chunked\r\n\r\n", "200; end idle");
    check("9112 6.3: CONNECT", Method::CONNECT, &[], "{OK}Content-Length: 5\r\n\r\n", "200; tunnel ''");
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\na";
    check("9112 6.3: CONNECT", Method::CONNECT, &[], refused, "403 length=1; 'a' end idle");
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    check("9110 7.8", Method::GET, &[("Upgrade", "x")], switched, "101; tunnel ''");
    check("9110 7.8: not offered", Method::GET, &[], switched, "Unexpected");
    check("9112 9.6", Method::GET, &[("Connection", "close")], "{OK}Content-Length: 0\r\n\r\n", "200; end closed");
}

#[test]
fn requests_are_written() {
    let out = &mut [0; 300];
    let mut write = |method: Method, target: &str, host: &str, fields: &[(&str, &str)], body: BodyLength| {
        let fields = fields.iter().copied();
        let mut client = Client::new();
        let result = client.request(&method, target.as_bytes(), host.as_bytes(), fields, body, out);
        result.map(|count| String::from_utf8_lossy(&out[..count]).into_owned())
    };
    use BodyLength::{Known, None, Unknown};
    let get = write(Method::GET, "/a?b", "h:1", &[("x", "y"), ("HOST", "other"), ("te", "gzip")], None);
    assert_eq!(get.unwrap(), "GET /a?b HTTP/1.1\r\nHost: h:1\r\nx: y\r\n\r\n");
    // RFC 9110 section 10.1.4.
    let te = write(Method::GET, "/", "h", &[("te", "gzip, Trailers"), ("connection", "close")], None);
    let te_lines = "TE: trailers\r\nConnection: TE\r\nConnection: close\r\n";
    assert_eq!(te.unwrap(), format!("GET / HTTP/1.1\r\nHost: h\r\n{te_lines}\r\n"));
    let post = write(Method::POST, "/", "h", &[("content-length", "9")], None);
    assert_eq!(post.unwrap(), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let put = write(Method::PUT, "/", "h", &[("connection", "close")], Known(3));
    assert_eq!(put.unwrap(), "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
    let stream = write(Method::POST, "/", "h", &[], Unknown);
    assert_eq!(stream.unwrap(), "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let upgrade = write(Method::GET, "/", "h", &[("Upgrade", "x")], None);
    assert_eq!(upgrade.unwrap(), "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    for target in ["", "/ ", "/\r\n", "/#a", "/ü"] {
        assert_eq!(write(Method::GET, target, "h", &[], None), Err(WriteError::Target), "{target:?}");
    }
    assert_eq!(write(Method::GET, "/", "h\r\nx: y", &[], None), Err(WriteError::FieldValue));
    assert_eq!(write(Method::GET, "/", "h", &[("x", "\n")], None), Err(WriteError::FieldValue));
    assert_eq!(write(Method::GET, "/", "h", &[("x", &"y".repeat(300))], None), Err(WriteError::Full));
}

#[test]
fn one_request_at_a_time() {
    let out = &mut [0; 200];
    let mut again = |client: &mut Client| client.request(&Method::GET, b"/", b"a", NONE, BodyLength::None, out);
    let (mut table, limits) = (HeadTable::new(), Limits::default());
    let mut client = asked(&Method::GET, &[]);
    assert_eq!(again(&mut client), Err(WriteError::NotExpected));
    let input = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let step = client.receive(input, &mut table, &limits).unwrap();
    assert_eq!(step.consumed, input.len());
    assert_eq!(client.receive(b"", &mut table, &limits).unwrap().event, Event::End { trailers: 0..0 });
    assert!(again(&mut client).is_ok());
    let mut idle = Client::new();
    let unasked = idle.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n", &mut table, &limits);
    assert_eq!(unasked, Err(Error::Unexpected));
    assert_eq!(again(&mut idle), Err(WriteError::NotExpected));
}

/// Bodies of random lengths in random pieces, there and back over one connection, everything cut at random.
#[test]
fn both_ends_understand_each_other() {
    for seed in 1..=200 {
        let mut random = Random(seed);
        let (mut client, mut server) = (Client::new(), Server::new());
        let (mut asked, mut answered) = (HeadTable::new(), HeadTable::new());
        let limits = Limits::default();
        for _ in 0..4 {
            let body: Vec<u8> = (0..random.below(600)).map(|_| random.below(256) as u8).collect();
            let length = |random: &mut Random| match random.below(2) {
                0 => BodyLength::Known(body.len() as u64),
                _ => BodyLength::Unknown,
            };
            let mut out = [0; 200];
            let declared = length(&mut random);
            let count = client.request(&Method::POST, b"/echo", b"a", NONE, declared, &mut out).unwrap();
            let mut wire = out[..count].to_vec();
            pieces(&body, &mut wire, &mut random, |count, out| client.data(count, out));
            let count = client.finish(&mut out).unwrap();
            wire.extend_from_slice(&out[..count]);
            let received = read(&wire, &mut random, |input| server.receive(input, &mut asked, &limits));
            assert_eq!(received, body, "request, seed {seed}");

            let declared = length(&mut random);
            let count = server.respond(StatusCode::OK, NONE, Standing::default(), declared, &mut out).unwrap();
            let mut wire = out[..count].to_vec();
            pieces(&received, &mut wire, &mut random, |count, out| server.data(count, out));
            let count = server.finish(&mut out).unwrap();
            wire.extend_from_slice(&out[..count]);
            let echoed = read(&wire, &mut random, |input| client.receive(input, &mut answered, &limits));
            assert_eq!(echoed, body, "response, seed {seed}");
        }
        assert!(client.keep_alive() && server.keep_alive(), "seed {seed}");
    }
}

/// Writes `body` to the wire in random pieces.
fn pieces(
    body: &[u8],
    wire: &mut Vec<u8>,
    random: &mut Random,
    mut frame: impl FnMut(usize, &mut [u8]) -> Result<Frame, WriteError>,
) {
    let mut at = 0;
    while at < body.len() {
        let count = 1 + random.below(body.len() - at);
        let mut out = [0; FRAME_BYTES_MAX];
        let framed = frame(count, &mut out).unwrap();
        wire.extend_from_slice(&out[..framed.head]);
        wire.extend_from_slice(&body[at..at + count]);
        wire.extend_from_slice(framed.tail);
        at += count;
    }
}

/// Reads one message off the wire, cut at random, and returns its body.
fn read(wire: &[u8], random: &mut Random, mut receive: impl FnMut(&[u8]) -> Result<Step, Error>) -> Vec<u8> {
    let (mut body, mut at, mut end) = (Vec::new(), 0, 0);
    loop {
        let step = receive(&wire[at..end]).unwrap();
        match step.event {
            Event::Data(range) => body.extend_from_slice(&wire[at..end][range]),
            Event::End { .. } => {
                assert_eq!(at + step.consumed, wire.len());
                return body;
            }
            Event::NeedMore => {
                assert!(end < wire.len(), "the message does not end");
                end += 1 + random.below(wire.len() - end);
            }
            _ => {}
        }
        at += step.consumed;
    }
}
