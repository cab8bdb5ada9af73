//! What is written, and how an end comes.

use super::*;

/// Frames as their kinds and lengths.
fn frames(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some((kind, first)) = number(bytes) {
        let (length, second) = number(&bytes[first..]).unwrap();
        let payload = &bytes[first + second..];
        text += &match kind {
            kind::HEADERS => "head; ".to_owned(),
            kind::DATA => {
                bytes = payload;
                text += &format!("{length} bytes; ");
                continue;
            }
            kind::SETTINGS => "settings; ".to_owned(),
            kind::GOAWAY => format!("goaway {}; ", number(payload).unwrap().0),
            grease => {
                assert_eq!(grease % 0x1f, 0x21 % 0x1f);
                "grease; ".to_owned()
            }
        };
        bytes = &payload[length as usize..];
    }
    text.trim_end().to_owned()
}

#[test]
fn what_is_said_first() {
    for role in [Role::Server, Role::Client] {
        let mut end = End::new(role, Limits::default());
        let said = end.bytes_said(Own::Control);
        assert_eq!((said[0], &*frames(&said[1..])), (0, "settings; grease;"));
        assert!(!end.engine.has_to_say(Own::Encoder) && !end.engine.has_to_say(Own::Decoder), "they cost nothing");
        // Whoever receives it takes it.
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        let id = if role == Role::Server { SERVER_CONTROL } else { CLIENT_CONTROL };
        let mut peer = End::new(other, Limits::default());
        assert!(peer.engine.awaits_settings());
        assert_eq!(peer.tell(id, &said, false), "");
        assert!(!peer.engine.awaits_settings() && peer.engine.peer_takes_datagrams());
        assert_eq!(peer.engine.peer_connects(), role == Role::Server);
    }
}

#[test]
fn responses_have_what_they_must_and_no_more() {
    let mut end = End::server();
    end.tell(0, &head(&[&[(":method", "HEAD")], &GET[1..]].concat()), true);
    let (key, mut out) = (end.key(0), [0; 1024]);
    let mut respond = |end: &mut End, status: u16, fields: &[(&str, &str)], body| {
        let status = StatusCode::from_u16(status).unwrap();
        let (fields, standing) = (fields.iter().copied(), Standing::default());
        let written = end.engine.respond(key, status, fields, standing, body, &mut Vec::new(), &mut out);
        written.map(|count| frames(&out[..count]))
    };
    assert_eq!(respond(&mut end, 103, &[("link", "</a>")], BodyLength::None).as_deref(), Ok("head;"));
    assert_eq!(respond(&mut end, 200, &[("X", "y")], BodyLength::None), Err(WriteError::FieldName));
    assert_eq!(respond(&mut end, 200, &[("x", "y\r\nz")], BodyLength::None), Err(WriteError::FieldValue));
    assert_eq!(respond(&mut end, 101, &[], BodyLength::None), Err(WriteError::Upgrade));
    assert!(end.engine.can_send(key));
    // To HEAD: a length, and no body.
    assert_eq!(respond(&mut end, 200, &[("connection", "close")], BodyLength::Known(17)).as_deref(), Ok("head;"));
    assert!(!end.engine.can_send(key));
    assert_eq!(respond(&mut end, 200, &[], BodyLength::None), Err(WriteError::NotExpected));
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        for body in [BodyLength::None, BodyLength::Known(3), BodyLength::Unknown] {
            let mut end = End::server();
            end.tell(0, &get(), true);
            let key = end.key(0);
            let (standing, out) = (Standing::default(), &mut [0; 1024]);
            end.engine.respond(key, status, NOTHING, standing, body, &mut Vec::new(), out).unwrap();
            assert!(!end.engine.can_send(key));
        }
    }
}

#[test]
fn an_answer_that_comes_again_is_written_as_it_was() {
    let fields = [("content-type", "text/plain"), ("x-to", "ada"), ("content-length", "12")];
    let standing = Standing { server: b"shardwise", date: b"Mon, 21 Oct 2013 20:13:21 GMT" };
    for status in [200, 204, 304, 404, 418].map(|status| StatusCode::from_u16(status).unwrap()) {
        let mut known = Vec::new();
        for (round, method) in ["GET", "HEAD", "GET", "HEAD"].into_iter().enumerate() {
            for body in [BodyLength::None, BodyLength::Unknown, BodyLength::Known(0), BodyLength::Known(123_456)] {
                let write = |section: &mut Vec<u8>| {
                    let (mut end, mut out) = (End::server(), [0; 1024]);
                    end.tell(0, &head(&[&[(":method", method)], &GET[1..]].concat()), true);
                    let key = end.key(0);
                    let count = end.engine.respond(key, status, fields, standing, body, section, &mut out).unwrap();
                    (out[..count].to_vec(), end.engine.can_send(key))
                };
                assert_eq!(write(&mut known), write(&mut Vec::new()), "{status}, round {round}");
            }
        }
        // What says more than others that have the same fields is not kept.
        assert_eq!(known.is_empty(), status == StatusCode::NOT_MODIFIED);
    }
}

#[test]
fn a_whole_answer_is_repeated_where_it_would_be_the_same_and_nowhere_else() {
    let mut end = End::server();
    end.tell(0, &get(), true);
    let key = end.key(0);
    assert!(end.engine.can_send(key) && end.engine.repeat(key));
    assert!(!end.engine.can_send(key) && !end.engine.repeat(key), "it is answered");
    assert_eq!(end.engine.data(key, 3, true, &mut [0; 9]), Err(WriteError::NotExpected));
    assert_eq!(end.engine.release(key), Rest { stop: None, reset: None });
    assert!(!end.engine.repeat(key), "it is over");
    // What is still to come of its request is not needed.
    end.tell(4, &post(), false);
    let key = end.key(4);
    assert!(end.engine.repeat(key));
    assert_eq!(end.engine.release(key), Rest { stop: Some(Code::NO_ERROR), reset: None });
    // To HEAD there is no body.
    end.tell(8, &head(&[&[(":method", "HEAD")], &GET[1..]].concat()), true);
    let key = end.key(8);
    assert!(!end.engine.repeat(key) && end.engine.can_send(key));
    // A part of another answer is written.
    end.tell(12, &get(), true);
    let key = end.key(12);
    let (standing, body, out) = (Standing::default(), BodyLength::Known(3), &mut [0; 999]);
    end.engine.respond(key, StatusCode::OK, NOTHING, standing, body, &mut Vec::new(), out).unwrap();
    assert!(!end.engine.repeat(key) && end.engine.can_send(key));
    // It was reset.
    end.tell(16, &get(), true);
    let key = end.key(16);
    let _ = end.engine.reset(key, Code::INTERNAL_ERROR);
    assert!(!end.engine.repeat(key));
    // With a table no two connections write the same.
    end.engine.encoder.allow(4096, 16);
    end.tell(20, &get(), true);
    let key = end.key(20);
    assert!(!end.engine.repeat(key) && end.engine.can_send(key));
}

#[test]
fn what_refers_to_a_table_is_not_kept() {
    let (mut end, mut section) = (End::server(), Vec::new());
    end.engine.encoder.allow(4096, 16);
    end.tell(0, &get(), true);
    let (key, fields) = (end.key(0), [("x-to", "ada")]);
    let written = end.engine.respond(
        key,
        StatusCode::OK,
        fields,
        Standing::default(),
        BodyLength::None,
        &mut section,
        &mut [0; 999],
    );
    assert!(written.is_ok() && section.is_empty() && end.engine.peer_has_table());
}

#[test]
fn what_does_not_fit_is_not_begun() {
    let mut end = End::server();
    end.tell(0, &get(), true);
    let (key, mut out) = (end.key(0), vec![0; 50_000]);
    let long = "v".repeat(40_000);
    let fields = [("x-long", &*long), ("x-short", "s")];
    let standing = Standing { server: b"shardwise", date: b"Mon, 21 Oct 2013 20:13:21 GMT" };
    let respond = |end: &mut End, out: &mut [u8]| {
        end.engine.respond(key, StatusCode::OK, fields, standing, BodyLength::Known(3), &mut Vec::new(), out)
    };
    for room in [0, 9, 100, 39_000] {
        assert_eq!(respond(&mut end, &mut out[..room]), Err(WriteError::Full));
    }
    let count = respond(&mut end, &mut out).unwrap();
    assert_eq!(end.engine.data(key, 3, true, &mut [0; 1]), Err(WriteError::Full));
    assert_eq!(end.engine.data(key, 3, true, &mut out[count..]), Ok(2));
    assert_eq!(end.engine.data(key, 3, true, &mut out[count..]), Err(WriteError::NotExpected));
    assert_eq!(frames(&out[..count + 2]), "head; 3 bytes;");
    assert_eq!(end.engine.release(key), Rest { stop: None, reset: None });
    let limits = Limits { head_bytes_max: 60_000, section_bytes_max: 60_000, ..Limits::default() };
    let mut client = End { limits: limits.clone(), scratch: Scratch::new(60_000), ..End::client(&Method::GET) };
    let expect =
        format!("0: 200 x-long={long} x-short=s server=shardwise date=Mon, 21 Oct 2013 20:13:21 GMT content-length=3;");
    assert_eq!(client.tell(0, &out[..count], false), expect);
}

#[test]
fn a_graceful_end_loses_nothing_that_was_on_its_way() {
    let mut end = End::server();
    end.bytes_said(Own::Control);
    end.tell(4, &get(), true);
    end.engine.drain();
    assert_eq!(frames(&end.bytes_said(Own::Control)), format!("goaway {};", (1_u64 << 62) - 4));
    assert_eq!(end.tell(8, &get(), true), "8: GET here / end;");
    end.engine.finish();
    assert_eq!(frames(&end.bytes_said(Own::Control)), "goaway 12;");
    assert_eq!(end.tell(12, &get(), true), "12: refused H3_REQUEST_REJECTED;");
    assert_eq!(end.tell(0, &get(), true), "0: GET here / end;", "it was overtaken");
    for id in [4, 8] {
        let _ = end.answer(id, 0);
        assert!(!end.engine.is_drained());
    }
    let _ = end.answer(0, 10);
    assert!(end.engine.is_drained());
    let mut client = End::client(&Method::GET);
    client.bytes_said(Own::Control);
    assert!(client.engine.can_open(&client.limits));
    client.engine.drain();
    assert_eq!(frames(&client.bytes_said(Own::Control)), "goaway 0;");
    assert!(!client.engine.can_open(&client.limits));
}

#[test]
fn what_is_unfinished_is_ended() {
    let rest = |stop, reset| Rest { stop, reset };
    // An answer is complete, and its request is not.
    let mut end = End::server();
    end.tell(0, &post(), false);
    assert_eq!(end.answer(0, 3), rest(Some(Code::NO_ERROR), None));
    // Nobody answers.
    end.tell(4, &get(), true);
    assert_eq!(end.engine.release(end.key(4)), rest(None, Some(Code::INTERNAL_ERROR)));
    // The owner gives a code.
    end.tell(8, &post(), false);
    let (key, code) = (end.key(8), Code::REQUEST_CANCELLED);
    assert_eq!(end.engine.reset(key, code), rest(Some(code), Some(code)));
    assert!(!end.engine.can_send(key) && !end.engine.is_receiving(key));
    assert_eq!(end.engine.release(key), rest(None, None));
    assert_eq!(end.engine.stream_count(), 0);
    let mut client = End::client(&Method::GET);
    let key = client.key(0);
    assert_eq!(client.stop(0, Code::NO_ERROR), "", "9114 4.1: the response comes all the same");
    assert!(!client.engine.can_send(key) && client.engine.is_receiving(key));
    assert_eq!(client.tell(0, &head(&[(":status", "200")]), false), "0: 200;");
    assert_eq!(client.engine.release(key), rest(Some(Code::REQUEST_CANCELLED), None));
}

#[test]
fn requests_are_checked() {
    let mut client = End::client(&Method::GET);
    let limits = client.limits.clone();
    let mut ask = |id, pseudo: Pseudo<'_>| {
        let asked = client.engine.request(id, pseudo, NOTHING, BodyLength::None, &limits, &mut [0; 500]);
        asked.map(|(key, _)| key.id())
    };
    assert_eq!(ask(4, asks(&Method::GET, b"/a b")), Err(WriteError::Target));
    assert_eq!(ask(4, asks(&Method::GET, b"")), Err(WriteError::Target));
    assert_eq!(ask(0, asks(&Method::GET, b"/")), Err(WriteError::NotExpected), "it is open");
    assert_eq!(ask(3, asks(&Method::GET, b"/")), Err(WriteError::NotExpected), "not a client's");
    let websocket = Pseudo { protocol: Some(b"websocket"), ..asks(&Method::CONNECT, b"/") };
    assert_eq!(ask(4, websocket), Ok(4));
    assert_eq!(ask(8, Pseudo { method: &Method::GET, ..websocket }), Err(WriteError::Upgrade));
}

/// A connection that does nothing, and a request that waits, cost little.
#[test]
fn an_idle_connection_costs_little() {
    assert!(size_of::<Engine>() <= 1024, "{}", size_of::<Engine>());
    let mut end = End::server();
    end.bytes_said(Own::Control);
    end.tell(0, &get(), true);
    let _ = end.answer(0, 0);
    assert_eq!((end.engine.held_bytes, end.engine.streams.len()), (0, 0));
}
