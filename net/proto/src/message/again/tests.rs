use std::time::Duration;

use http::Method;

use super::*;
use crate::h3::{CONTROL_BYTES_MIN, Code, Engine, Event, Key, Limits, Own, Pseudo, Rest, Role, Scratch};
use crate::message::BodyLength;

/// What a request is, and what comes of it at a server, which may know it from others: of all connections of its shard.
#[derive(Debug, PartialEq)]
struct Seen {
    said: Head,
    method: Method,
    target: Vec<u8>,
    path: Vec<u8>,
    authority: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Room {
    scratch: Scratch,
    table: HeadTable,
    /// All that were lent.
    lent: Vec<Rc<KnownHead>>,
}

impl Room {
    fn new() -> Room {
        Room::with(Scratch::new)
    }

    fn with(scratch: impl Fn(u16) -> Scratch) -> Room {
        Room { scratch: scratch(Limits::default().head_bytes_max), table: HeadTable::new(), lent: Vec::new() }
    }
}

/// Shows a section to a connection that is new.
fn see(room: &mut Room, limits: &Limits, section: &[u8], end: bool) -> Option<Seen> {
    let input = [&[1, 0x40 | (section.len() >> 8) as u8, section.len() as u8], section].concat();
    let mut engine = Engine::new(Role::Server, limits);
    let Room { scratch, table, lent } = room;
    let step = engine.receive(0, &input, end, scratch, table, Duration::ZERO, limits).ok()?;
    let Event::Head { head: said, .. } = step.event else { return None };
    let known = scratch.lent();
    lent.extend(known.clone());
    let (table, block) = match &known {
        Some(head) => (head.table(), head.block()),
        None => (&*table, scratch.block()),
    };
    Some(Seen {
        said,
        method: table.method().clone(),
        target: table.target(block).to_vec(),
        path: table.path(block).to_vec(),
        authority: table.authority(block).to_vec(),
        fields: table.iter(block).map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
    })
}

/// A request as it is written to a server that grants no table.
fn section(method: &Method, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let (limits, mut out) = (Limits::default(), [0; 4096]);
    let mut client = Engine::new(Role::Client, &limits);
    let pseudo = Pseudo { method, is_secure: true, authority: b"here:8443", path: path.as_bytes(), protocol: None };
    let (_, count) =
        client.request(0, pseudo, fields.iter().copied(), BodyLength::None, &limits, &mut out).expect("it may");
    out[3..count].to_vec()
}

fn requests() -> Vec<Vec<u8>> {
    let long = "v".repeat(2000);
    vec![
        section(&Method::GET, "/hello?to=ada", &[("user-agent", "a client"), ("x-from", "grace")]),
        section(&Method::GET, "/hello?to=bob", &[("user-agent", "a client"), ("x-from", "grace")]),
        section(&Method::HEAD, "/", &[]),
        section(&Method::OPTIONS, "*", &[("accept", "*/*")]),
        section(&Method::GET, "/", &[("cookie", "a=b"), ("cookie", "c=d")]),
        section(&Method::POST, "/", &[("expect", "100-continue")]),
        section(&Method::GET, "/", &[("x-long", &long)]),
    ]
}

#[test]
fn a_request_that_comes_again_is_seen_as_it_was_the_first_time() {
    let (requests, limits) = (requests(), Limits::default());
    for mut known in [Room::new(), Room::with(Scratch::lending)] {
        for round in 0..3 {
            for section in &requests {
                for end in [true, false] {
                    let expect = see(&mut Room::new(), &limits, section, end);
                    assert_eq!(see(&mut known, &limits, section, end), expect, "round {round}");
                }
            }
        }
        assert!(known.scratch.requests.slots.iter().filter(|slot| slot.judged_by.is_some()).count() >= 3);
        assert_eq!(known.lent.len() >= 12, known.scratch.lends);
    }
}

#[test]
fn requests_in_hand_keep_their_head_when_another_takes_its_place() {
    let (mut room, limits) = (Room::with(Scratch::lending), Limits::default());
    let first = section(&Method::GET, "/first", &[]);
    for _ in 0..3 {
        see(&mut room, &limits, &first, true).expect("it is a request");
    }
    let [head, again] = &room.lent[..] else { panic!("the first was decoded, and then lent twice") };
    assert!(Rc::ptr_eq(head, again), "both are one");
    let head = Rc::clone(head);
    for count in 0..1000 {
        let other = section(&Method::GET, &format!("/{count}"), &[]);
        see(&mut room, &limits, &other, true).expect("it is a request");
    }
    assert!(room.scratch.requests.recall(&first, (bounds(&limits), limits.connects)).is_none());
    assert_eq!(head.table().path(head.block()), b"/first");
}

fn bounds(limits: &Limits) -> Bounds {
    let &Limits { head_bytes_max: bytes_max, field_count_max: count_max, .. } = limits;
    Bounds { version: http::Version::HTTP_3, bytes_max, count_max }
}

#[test]
fn other_bounds_judge_anew() {
    let (mut room, limits) = (Room::new(), Limits::default());
    let section = section(&Method::GET, "/", &[("a", "1"), ("b", "2"), ("c", "3")]);
    assert!(see(&mut room, &limits, &section, true).is_some());
    let narrow = Limits { field_count_max: 3, ..limits.clone() };
    assert_eq!(see(&mut room, &narrow, &section, true), None);
    assert!(see(&mut room, &limits, &section, true).is_some());
}

#[test]
fn what_means_more_than_its_head_is_not_remembered() {
    let sections = [
        section(&Method::POST, "/", &[("expect", "100-continue")]),
        section(&Method::GET, "/", &[("x-long", &"~".repeat(2000))]),
    ];
    let mut room = Room::new();
    for section in &sections {
        assert!(see(&mut room, &Limits::default(), section, true).is_some());
    }
    assert!(room.scratch.requests.slots.is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let (mut room, limits) = (Room::new(), Limits::default());
    for count in 0..10_000 {
        let section = section(&Method::GET, &format!("/{count}"), &[("x", &"~".repeat(count % 1500))]);
        let seen = see(&mut room, &limits, &section, true).expect("it is a request");
        assert_eq!(seen.path, format!("/{count}").into_bytes());
    }
    let slots = &room.scratch.requests.slots;
    let bytes = |slot: &Request| slot.section.capacity().max(slot.head.block().len());
    assert!(slots.len() == SLOTS && slots.iter().all(|slot| bytes(slot) <= 2 * SECTION_BYTES_MAX));
}

/// What `receive_known` makes of a request on this stream, beside what `receive` makes of it on another connection. It is kept.
#[track_caller]
fn check_known(server: &mut Engine, room: &mut Room, id: u64, input: &[u8], is_known: bool) -> Option<Key> {
    let limits = Limits::default();
    let known = server.receive_known(id, input, &room.scratch, &limits);
    assert_eq!(known.is_some(), is_known);
    let (key, head) = known?;
    let is_kept = server.can_send(key);
    let key = server.keep(key);
    assert_eq!((server.keep(key), server.stream_count()), (key, 1), "once");
    let mut usual = Engine::new(Role::Server, &limits);
    let Room { scratch, table, .. } = room;
    let step = usual.receive(id, input, true, scratch, table, Duration::ZERO, &limits).expect("it is one");
    let Event::Head { key: as_usual, head: said } = step.event else { panic!("a request") };
    assert!(Rc::ptr_eq(&head, &scratch.lent().expect("it has come before")));
    assert_eq!(said, Head { end: true, ..Head::default() });
    assert_eq!(server.priority(key), usual.priority(as_usual));
    assert_eq!(
        (server.can_send(key), server.is_receiving(key), key.id()),
        (usual.can_send(as_usual), usual.is_receiving(as_usual), as_usual.id())
    );
    assert_eq!(server.repeat(key), usual.repeat(as_usual), "to HEAD there is no body");
    let plain = Priority::default() == server.priority(key) && *head.table().method() != Method::HEAD;
    assert_eq!(is_kept, !plain, "what is answered as before at once is not kept");
    Some(key)
}

#[test]
fn a_whole_request_that_comes_again_is_known_at_once() {
    let (mut room, limits) = (Room::with(Scratch::lending), Limits::default());
    let mut server = Engine::new(Role::Server, &limits);
    let whole = |section: &[u8]| [&[1, 0x40 | (section.len() >> 8) as u8, section.len() as u8], section].concat();
    let mut id = 0;
    for (method, fields) in [
        (Method::GET, vec![("x-from", "ada")]),
        (Method::HEAD, vec![("x-from", "ada")]),
        (Method::GET, vec![("priority", "u=1, i")]),
    ] {
        let section = section(&method, "/hello", &fields);
        check_known(&mut server, &mut room, id, &whole(&section), false);
        see(&mut room, &limits, &section, true).expect("it is one");
        let key = check_known(&mut server, &mut room, id, &whole(&section), true).expect("it is known");
        // Some of it, or all of it once more.
        let all = whole(&section);
        check_known(&mut server, &mut room, id + 4, &all[..all.len() - 1], false);
        check_known(&mut server, &mut room, id, &all, false);
        let _ = server.release(key);
        id += 8;
    }
    assert_eq!(server.stream_count(), 0, "what is not known opens nothing");
}

/// All of a plain request, which has come before.
fn whole_known(room: &mut Room, limits: &Limits) -> Vec<u8> {
    let section = section(&Method::GET, "/", &[]);
    see(room, limits, &section, true).expect("it is one");
    [&[1, 0x40, section.len() as u8], &*section].concat()
}

#[test]
fn a_request_that_is_known_counts_as_others_do() {
    let (mut room, limits) = (Room::with(Scratch::lending), Limits { streams_max: 2, ..Limits::default() });
    let whole = whole_known(&mut room, &limits);
    let known = |engine: &mut Engine, id| engine.receive_known(id, &whole, &room.scratch, &limits);
    let receive = |engine: &mut Engine, id| known(engine, id).map(|(key, _)| engine.keep(key)).is_some();
    let mut server = Engine::new(Role::Server, &limits);
    assert!(receive(&mut server, 0) && receive(&mut server, 4));
    assert!(!receive(&mut server, 8), "as many are open as may be");
    server = Engine::new(Role::Server, &limits);
    for id in [1, 2, 3] {
        assert!(!receive(&mut server, id), "no stream of requests");
    }
    assert!(receive(&mut server, 8));
    server.drain();
    server.finish();
    assert!(!receive(&mut server, 12), "none is looked at any more");
    assert!(!receive(&mut Engine::new(Role::Client, &limits), 0), "a client is asked nothing");
}

#[test]
fn a_request_that_is_known_is_answered_as_before_without_being_kept() {
    let (mut room, limits) = (Room::with(Scratch::lending), Limits { streams_max: 1, ..Limits::default() });
    let whole = whole_known(&mut room, &limits);
    let mut server = Engine::new(Role::Server, &limits);
    for id in [0, 4, 8] {
        let (key, _) = server.receive_known(id, &whole, &room.scratch, &limits).expect("it is known");
        assert_eq!((server.stream_count(), server.can_send(key), server.is_receiving(key)), (0, false, false));
        assert!(server.repeat(key));
        assert_eq!(server.release(key), Rest { stop: None, reset: None });
    }
    // Where it would not be the same, it is one as others.
    let (key, _) = server.receive_known(12, &whole, &room.scratch, &limits).expect("it is known");
    let key = server.keep(key);
    assert!(server.can_send(key) && server.stream_count() == 1);
    assert!(server.receive_known(12, &whole, &room.scratch, &limits).is_none(), "it has come");
    assert_eq!(server.reset(key, Code::INTERNAL_ERROR), Rest { stop: None, reset: Some(Code::INTERNAL_ERROR) });
    let _ = server.release(key);
    // The last word names those too that were not kept.
    let (key, _) = server.receive_known(16, &whole, &room.scratch, &limits).expect("it is known");
    assert!(server.repeat(key));
    server.drain();
    server.finish();
    let mut said = Vec::new();
    while server.has_to_say(Own::Control) {
        let mut out = [0; 2 * CONTROL_BYTES_MIN];
        let count = server.say(Own::Control, &limits, &mut out);
        said.extend_from_slice(&out[..count]);
    }
    assert!(said.ends_with(&[7, 1, 20]), "GOAWAY: {said:?}");
}

#[test]
fn what_was_said_of_a_request_before_it_came_holds_for_one_that_is_known() {
    let (mut room, limits) = (Room::with(Scratch::lending), Limits::default());
    let whole = whole_known(&mut room, &limits);
    let mut server = Engine::new(Role::Server, &limits);
    let Room { scratch, table, .. } = &mut room;
    // A control stream: SETTINGS, and the priority of stream 0 (RFC 9218 section 7.2).
    let control = [&[0, 4, 0, 0x80, 0x0f, 0x07, 0x00, 4, 0][..], b"u=1"].concat();
    let mut at = 0;
    while at < control.len() {
        let step = server.receive(2, &control[at..], false, scratch, table, Duration::ZERO, &limits);
        at += step.expect("it is in order").consumed;
    }
    assert!(server.receive_known(0, &whole, scratch, &limits).is_none());
    assert!(server.receive_known(4, &whole, scratch, &limits).is_some(), "nothing was said of this one");
    let step = server.receive(0, &whole, true, scratch, table, Duration::ZERO, &limits).expect("it is one");
    let Event::Head { key, .. } = step.event else { panic!("a request") };
    assert_eq!(server.priority(key), Priority::of(b"u=1"));
}
