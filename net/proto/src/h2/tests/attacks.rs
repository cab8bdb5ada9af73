//! What is known to have brought servers down, and how far it gets here: to a GOAWAY, with a bound on what it cost.

use super::*;

/// Sends the same again and again; how often until the connection is ended, and what it said.
#[track_caller]
fn flood(end: &mut End, most: usize, mut next: impl FnMut(&mut End, u32) -> Vec<u8>) -> usize {
    for round in 0..most {
        let bytes = next(end, 1 + 2 * round as u32);
        if end.tell(&bytes).ends_with("error ENHANCE_YOUR_CALM") {
            assert!(end.said().ends_with("ENHANCE_YOUR_CALM;"));
            assert_eq!(end.tell(&get(99_999)), "closed", "nothing more is read");
            return round;
        }
    }
    panic!("it went on for {most} rounds");
}

#[test]
fn rapid_resets() {
    let mut end = End::server();
    let count = flood(&mut end, 1000, |end, id| {
        if let Some(before) = id.checked_sub(2).filter(|_| id > 1) {
            end.engine.release(end.key(before), &end.limits.clone());
        }
        [get(id), frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
    });
    assert!(count <= 500, "{count}");
}

/// Handlers that work on count, though their streams are reset.
#[test]
fn resets_do_not_make_room_for_more_work() {
    let mut end = End::server();
    for id in (1..).step_by(2).take(200) {
        end.tell(&[get(id), frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8])].concat());
    }
    assert_eq!(end.engine.stream_count(), 128);
    assert_eq!(end.said().matches("REFUSED_STREAM").count(), 72);
}

/// MadeYouReset: the server itself is made to reset.
#[test]
fn made_you_reset() {
    for mistake in [frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), frame(kind::PRIORITY, 0, 0, &[0; 4]), data(0, 1)] {
        let mut end = End::server();
        let count = flood(&mut end, 1000, |end, id| {
            if id > 1 {
                end.engine.release(end.key(id - 2), &end.limits.clone());
            }
            end.said();
            let mut mistake = mistake.clone();
            mistake[5..9].copy_from_slice(&id.to_be_bytes());
            [get(id), mistake].concat()
        });
        assert!(count <= 500, "{count}");
    }
}

#[test]
fn continuations_without_end() {
    let mut end = End::server();
    end.tell(&frame(kind::HEADERS, 1, 1, b""));
    let count = flood(&mut end, 64, |_, _| frame(kind::CONTINUATION, 0, 1, b""));
    assert_eq!(count, 8);
    let mut end = End::server();
    end.tell(&frame(kind::HEADERS, 1, 1, &[0; 16_384]));
    let count = flood(&mut end, 64, |_, _| frame(kind::CONTINUATION, 0, 1, &[0; 16_384]));
    assert_eq!(count, 1);
}

#[test]
fn floods_of_small_frames() {
    let none: [u8; 0] = [];
    let frames: [(&str, Vec<u8>); 6] = [
        ("pings", frame(kind::PING, 0, 0, &[0; 8])),
        ("settings", frame(kind::SETTINGS, 0, 0, &none)),
        ("priorities", frame(kind::PRIORITY, 0, 1, &[0; 5])),
        ("priority updates", frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1")),
        ("unknown", frame(0xee, 0, 0, &none)),
        ("window updates", frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ];
    for (name, bytes) in frames {
        let mut end = End::server();
        let count = flood(&mut end, 1000, |end, _| {
            end.said();
            bytes.clone()
        });
        assert!(count <= 500, "{name}: {count}");
    }
    let mut end = End::server();
    end.tell(&post(1));
    let count = flood(&mut end, 1000, |_, _| data(1, 0));
    assert!(count <= 500, "empty data: {count}");
}

/// A peer that reads nothing: its pings and settings are answered so often and no more.
#[test]
fn answers_that_nobody_reads() {
    let mut end = End::server();
    assert_eq!(flood(&mut end, 100, |_, _| frame(kind::PING, 0, 0, &[0; 8])), 16);
    let mut end = End::server();
    assert_eq!(flood(&mut end, 100, |_, _| frame(kind::SETTINGS, 0, 0, b"")), 16);
}

/// Who has exchanges, or waits, may ping and reset as well.
#[test]
fn work_and_time_give_back() {
    let mut end = End::server();
    for round in 0..2000_u32 {
        let id = 1 + 4 * round;
        end.tell(&[get(id), frame(kind::PING, 0, 0, &[0; 8])].concat());
        end.answer(id, 5);
        end.said();
        assert!(!end.engine.is_closed(), "round {round}");
    }
    let mut end = End::server();
    for round in 0..2000 {
        end.now += Duration::from_millis(100);
        end.tell(&frame(kind::PING, 0, 0, &[0; 8]));
        end.said();
        assert!(!end.engine.is_closed(), "round {round}");
    }
}

/// One field in the table, and then indices of it: a kilobyte becomes megabytes, field by field or crumb by crumb, and
/// nothing of it may be held while its stream waits with a window of nothing.
#[test]
fn bombs_of_compressed_fields() {
    for (name, value) in [("x-bomb", "v".repeat(4000)), ("cookie", "c".repeat(4000)), ("a", String::new())] {
        let limits = Limits::default();
        let mut end = End::server_with(limits.clone());
        end.tell(&frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
        let mut literal = vec![0x40, name.len() as u8];
        literal.extend_from_slice(name.as_bytes());
        let mut length = [0; 6];
        let count = crate::hpack::integer_for_tests(value.len(), &mut length);
        literal.extend_from_slice(&length[..count]);
        literal.extend_from_slice(value.as_bytes());
        assert!(end.tell(&frame(kind::HEADERS, END_BOTH, 1, &[block(&GET), literal].concat())).starts_with("1: GET"));
        for round in 1..100 {
            let id = 1 + 2 * round;
            let bomb = [block(&GET), vec![0xbe; 16_000]].concat();
            assert_eq!(end.tell(&frame(kind::HEADERS, END_BOTH, id, &bomb)), format!("{id}: too large;"));
            assert!(end.scratch.block().len() <= usize::from(limits.head_bytes_max));
            end.answer(id, 0);
        }
    }
}

#[test]
fn numbers_of_streams_come_to_their_end() {
    let mut end = End::server();
    let last = frame::NUMBER_MAX;
    assert_eq!(end.tell(&get(last - 2)), format!("{}: GET here / end;", last - 2));
    assert_eq!(end.said(), "goaway 2147483647 NO_ERROR; ping;");
    assert_eq!(end.tell(&get(last)), format!("{last}: GET here / end;"));
    assert_eq!(end.tell(&get(1)), "error STREAM_CLOSED");
}

#[test]
fn streams_are_refused_when_there_are_too_many() {
    let mut end = End::server();
    for id in (1..).step_by(2).take(128) {
        end.tell(&get(id));
    }
    assert_eq!((&*end.tell(&get(257)), &*end.said()), ("", "257: reset REFUSED_STREAM;"));
    end.answer(1, 0);
    assert_eq!(end.tell(&get(259)), "259: GET here / end;");
}
