//! What is known to have brought servers down, and how far it gets here: to an error, with a bound on what it cost.

use super::*;

/// Does the same again and again; how often until the connection is closed.
#[track_caller]
fn flood(end: &mut End, most: u64, mut next: impl FnMut(&mut End, u64) -> String) -> u64 {
    for round in 0..most {
        if next(end, round).ends_with("error H3_EXCESSIVE_LOAD") {
            assert_eq!(end.tell(4 * most, &get(), true), "closed", "nothing more is read");
            return round;
        }
    }
    panic!("it went on for {most} rounds");
}

#[test]
fn rapid_resets() {
    let mut end = End::server();
    let count = flood(&mut end, 1000, |end, round| {
        end.tell(4 * round, &post(), false);
        let told = end.reset(4 * round, Code::REQUEST_CANCELLED);
        let rest = end.engine.release(end.key(4 * round));
        assert_eq!(rest.stop.is_none(), told.contains("reset"));
        end.bytes_said(Own::Decoder);
        told
    });
    assert!(count <= 500, "{count}");
    let mut end = End::server();
    let count = flood(&mut end, 1000, |end, round| {
        end.tell(4 * round, &get(), true);
        let told = end.stop(4 * round, Code::REQUEST_CANCELLED);
        end.engine.streams.find(4 * round).map(|key| end.engine.release(key));
        told
    });
    assert!(count <= 500, "{count}");
}

/// Handlers that work on count, though their streams are reset; and so do streams on which nothing comes.
#[test]
fn resets_do_not_make_room_for_more_work() {
    let mut end = End::server();
    let mut refused = 0;
    for round in 0..200 {
        refused += usize::from(end.tell(4 * round, &post(), false).contains("refused H3_REQUEST_REJECTED"));
        end.reset(4 * round, Code::REQUEST_CANCELLED);
    }
    assert_eq!((end.engine.stream_count(), refused, end.engine.refused_count()), (128, 72, 72));
    let mut end = End::server();
    for round in 0..128 {
        assert_eq!(end.tell(4 * round, b"", false), "");
    }
    assert_eq!(end.tell(512, b"", false), "512: refused H3_REQUEST_REJECTED;");
}

#[test]
fn floods_of_what_serves_nobody() {
    let update = frame(kind::PRIORITY_UPDATE, b"\0u=1");
    let floods: [(&str, u64, Vec<u8>); 8] = [
        ("unknown frames", CLIENT_CONTROL, frame(0x21, b"")),
        ("unknown frames of a request", 0, frame(0x21, b"")),
        ("priority updates", CLIENT_CONTROL, update),
        ("pushes that may be", CLIENT_CONTROL, frame(kind::MAX_PUSH_ID, &[5])),
        ("ends", CLIENT_CONTROL, frame(kind::GOAWAY, &[5])),
        ("empty data", 0, data(0)),
        ("tiny data", 0, data(1).repeat(64)),
        ("what is said of the tables", CLIENT_ENCODER, vec![0x20; 1024]),
    ];
    for (name, id, bytes) in floods {
        let mut end = End::server();
        end.tell(0, &post(), false);
        end.tell(CLIENT_ENCODER, &[2], false);
        let count = flood(&mut end, 1000, |end, _| end.tell(id, &bytes, false));
        assert!(count <= 500, "{name}: {count}");
        assert_eq!(end.engine.held_bytes, 0, "{name}");
    }
    let mut end = End::server();
    let count = flood(&mut end, 1000, |end, round| end.tell(4 * round, b"", true));
    assert!(count <= 500, "streams without a request: {count}");
    let mut end = End::server();
    let count = flood(&mut end, 1000, |end, round| end.tell(4 * round, &head(&GET[1..]), true));
    assert!(count <= 500, "malformed requests: {count}");
    let mut end = End::server();
    let count = flood(&mut end, 1000, |end, round| end.tell(CLIENT_OTHER + 4 * round, &[0x21, 1, 2], false));
    assert!(count <= 500, "streams of unknown types: {count}");
    let mut client = End::client(&Method::GET);
    let count = flood(&mut client, 1000, |end, _| end.tell(0, &head(&[(":status", "103")]), false));
    assert!(count <= 500, "interim responses: {count}");
}

/// One frame that never ends costs nothing to hold, and does not go on for ever.
#[test]
fn an_unknown_frame_without_an_end() {
    for id in [0, CLIENT_CONTROL] {
        let mut end = End::server();
        end.tell(id, &[0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], false);
        let count = flood(&mut end, 10_000, |end, _| end.tell(id, &[0; 1024], false));
        assert!(count <= 2000, "{count}");
    }
}

/// What is declared is measured before anything of it is held.
#[test]
fn declared_lengths() {
    let long = |kind: u64| [&*numbers(&[kind]), &[0xff; 8]].concat();
    let mut end = End::server();
    assert_eq!(end.tell(0, &long(kind::HEADERS), false), "0: too large;");
    assert_eq!(end.tell(0, &[0; 100_000], false), "", "what follows is read over");
    assert_eq!(end.answer(0, 0), Rest { stop: Some(Code::NO_ERROR), reset: None });
    assert_eq!(end.engine.held_bytes, 0);
    let mut end = End::server();
    assert_eq!(end.tell(0, &post(), false), "0: POST here /;");
    assert_eq!(end.tell(0, &long(kind::HEADERS), false), "0: reset H3_EXCESSIVE_LOAD;");
    for (kind, code) in
        [(kind::GOAWAY, "H3_FRAME_ERROR"), (kind::MAX_PUSH_ID, "H3_FRAME_ERROR"), (kind::CANCEL_PUSH, "H3_FRAME_ERROR")]
    {
        assert_eq!(End::server().tell(CLIENT_CONTROL, &long(kind), false), format!("error {code}"));
    }
    let mut end = End::new(Role::Server, Limits::default());
    assert_eq!(end.tell(2, &[&[0], &*long(kind::SETTINGS)].concat(), false), "error H3_EXCESSIVE_LOAD");
}

/// Heads that are begun and never whole: what is held of them has a bound, and whoever is beyond it may ask again.
#[test]
fn heads_that_never_end() {
    let mut end = End::server();
    let begun = &frame(kind::HEADERS, &[0; 30_000])[..20_000];
    let told: Vec<String> = (0..100).map(|round| end.tell(4 * round, begun, false)).collect();
    assert!(end.engine.held_bytes <= end.limits.held_bytes_max as usize);
    assert_eq!(told.iter().filter(|told| told.contains("refused H3_REQUEST_REJECTED")).count(), 94);
    for round in 0..6 {
        end.reset(4 * round, Code::REQUEST_CANCELLED);
    }
    assert_eq!((end.engine.held_bytes, end.engine.stream_count()), (0, 0));
}

/// RFC 9204 section 2.1.2: streams wait for the table up to a number that was granted, within what may be held.
#[test]
fn streams_that_wait_for_ever() {
    let mut end = End::server();
    let waits = frame(kind::HEADERS, &[2, 0, 0x80]);
    for round in 0..16 {
        assert_eq!(end.tell(4 * round, &waits, true), format!("{}: blocked;", 4 * round));
    }
    assert_eq!(end.engine.held_bytes, 16 * 3);
    assert_eq!(end.tell(64, &waits, true), "error QPACK_DECOMPRESSION_FAILED");
    // Those that are reset wait no more.
    let mut end = End::server();
    for round in 0..100 {
        assert_eq!(end.tell(4 * round, &waits, false), format!("{}: blocked;", 4 * round));
        assert_eq!(end.reset(4 * round, Code::REQUEST_CANCELLED), "");
    }
    assert_eq!((end.engine.held_bytes, end.engine.stream_count()), (0, 0));
    // And large ones are refused before they are too many.
    let mut end = End::server();
    let large = frame(kind::HEADERS, &[&[2, 0, 0x80][..], &[0; 30_000]].concat());
    let told: Vec<String> = (0..8).map(|round| end.tell(4 * round, &large, true)).collect();
    assert_eq!(told.iter().filter(|told| told.contains("blocked")).count(), 4);
    assert_eq!(told.iter().filter(|told| told.contains("refused H3_REQUEST_REJECTED")).count(), 4);
}

/// One entry of the table, and then references to it: a kilobyte becomes megabytes, field by field or crumb by crumb, and
/// none of it may be held.
#[test]
fn bombs_of_compressed_fields() {
    for (name, value) in [("x-bomb", "v".repeat(4000)), ("cookie", "c".repeat(4000)), ("a", String::new())] {
        let mut end = End::server();
        let insert = [
            vec![2, 0x3f, 0xe1, 0x1f],
            integer(0x40, 5, name.len()),
            name.as_bytes().to_vec(),
            integer(0, 7, value.len()),
            value.as_bytes().to_vec(),
        ];
        assert_eq!(end.tell(CLIENT_ENCODER, &insert.concat(), false), "");
        for round in 0..100 {
            let bomb = frame(kind::HEADERS, &[&[2, 0][..], &lines(&GET), &[0x80; 16_000]].concat());
            assert_eq!(end.tell(4 * round, &bomb, true), format!("{}: too large;", 4 * round));
            assert!(end.scratch.block().len() <= usize::from(end.limits.head_bytes_max));
            let rest = end.answer(4 * round, 0);
            assert_eq!(rest.reset, None);
            end.bytes_said(Own::Decoder);
        }
    }
}

/// Many fields, or large ones, written out.
#[test]
fn floods_of_fields() {
    let many: Vec<_> = GET.into_iter().chain((0..100).map(|_| ("a", "b"))).collect();
    assert_eq!(End::server().tell(0, &head(&many), true), "0: too large;");
    let long = "v".repeat(17_000);
    assert_eq!(End::server().tell(0, &head(&[&GET[..], &[("a", &*long)]].concat()), true), "0: too large;");
    let mut client = End::client(&Method::GET);
    assert_eq!(client.tell(0, &head(&[(":status", "200"), ("a", &*long)]), true), "0: reset H3_EXCESSIVE_LOAD;");
}

#[test]
fn types_of_streams_that_do_not_come() {
    let mut end = End::server();
    for round in 0..8 {
        assert_eq!(end.tell(CLIENT_OTHER + 4 * round, &[0x40], false), "");
    }
    assert_eq!(end.tell(CLIENT_OTHER + 32, &[0x40], false), "error H3_EXCESSIVE_LOAD");
}

/// A peer that does not read what it must know: what waits for it has a bound.
#[test]
fn a_decoder_stream_that_is_not_read() {
    let mut end = End::server();
    let count = flood(&mut end, 5000, |end, round| {
        end.now += Duration::from_secs(1);
        end.tell(4 * round, &post(), false);
        let told = end.reset(4 * round, Code::REQUEST_CANCELLED);
        end.engine.streams.find(4 * round).map(|key| end.engine.release(key));
        told
    });
    assert!(count <= 4096, "{count}");
}

/// Who has exchanges, or waits, may err as well.
#[test]
fn work_and_time_give_back() {
    let mut end = End::server();
    for round in 0..2000 {
        end.tell(8 * round, &get(), true);
        let _ = end.answer(8 * round, 5);
        end.tell(CLIENT_CONTROL, &frame(0x21, b""), false);
        assert!(!end.engine.is_closed(), "round {round}");
    }
    let mut end = End::server();
    for round in 0..2000 {
        end.now += Duration::from_millis(100);
        end.tell(CLIENT_CONTROL, &frame(0x21, b""), false);
        assert!(!end.engine.is_closed(), "round {round}");
    }
}
