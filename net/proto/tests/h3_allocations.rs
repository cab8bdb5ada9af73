//! In the steady state a request over HTTP/3 and its answer cost no heap allocation, at neither end, tables of fields included.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

#[path = "../../../shards/tests/counting/mod.rs"]
mod counting;

use std::time::Duration;

use counting::COUNT;
use http::{Method, StatusCode};
use shardwise_proto::h3::{CONTROL_BYTES_MIN, Engine, Event, Key, Limits, Own, Pseudo, Role, Scratch, Standing};
use shardwise_proto::head::HeadTable;
use shardwise_proto::message::BodyLength;

struct End {
    engine: Engine,
    scratch: Scratch,
    table: HeadTable,
    section: Vec<u8>,
    limits: Limits,
}

impl End {
    fn new(role: Role, limits: Limits) -> End {
        let scratch = Scratch::new(limits.head_bytes_max);
        let engine = Engine::new(role, &limits);
        End { engine, scratch, table: HeadTable::new(), section: Vec::new(), limits }
    }

    /// What comes first of a message.
    fn receive(&mut self, id: u64, input: &[u8], end: bool) -> (usize, Event) {
        let End { engine, scratch, table, limits, .. } = self;
        let step = engine.receive(id, input, end, scratch, table, Duration::ZERO, limits).expect("nobody errs");
        (step.consumed, step.event)
    }

    /// Takes what the other end says on its own streams.
    fn hear(&mut self, other: &mut End, bit: u64) {
        for (own, id) in [(Own::Control, 2), (Own::Encoder, 6), (Own::Decoder, 10)] {
            let mut out = [0; CONTROL_BYTES_MIN];
            while other.engine.has_to_say(own) {
                let count = other.engine.say(own, &other.limits, &mut out);
                assert_eq!(self.receive(id | bit, &out[..count], false), (count, Event::NeedMore));
            }
        }
    }
}

const ASKED: [(&str, &str); 3] = [("user-agent", "a client"), ("accept", "text/plain"), ("x-from", "ada")];
const ANSWERED: [(&str, &str); 2] = [("content-type", "text/plain; charset=utf-8"), ("x-to", "grace")];

/// A request, and its answer with a body.
fn exchange(client: &mut End, server: &mut End, id: u64) {
    let mut out = [0; 1024];
    let pseudo = Pseudo { method: &Method::GET, is_secure: true, authority: b"here", path: b"/hello", protocol: None };
    let (asked, count) =
        client.engine.request(id, pseudo, ASKED, BodyLength::None, &client.limits, &mut out).expect("it may");
    server.hear(client, 0);
    let (consumed, Event::Head { key, head }) = server.receive(id, &out[..count], true) else { panic!("no head") };
    assert!(consumed == count && head.end && server.table.fields().len() == ASKED.len());
    let standing = Standing { server: b"shardwise", date: b"Mon, 21 Oct 2013 20:13:21 GMT" };
    let (End { engine, section, .. }, body) = (&mut *server, BodyLength::Known(2));
    let mut count = engine.respond(key, StatusCode::OK, ANSWERED, standing, body, section, &mut out).expect("it may");
    count += engine.data(key, 2, true, &mut out[count..]).expect("it may");
    out[count..count + 2].copy_from_slice(b"hi");
    client.hear(server, 1);
    let (at, Event::Head { .. }) = client.receive(id, &out[..count + 2], true) else { panic!("no head") };
    let (_, Event::Data { range, end: true, .. }) = client.receive(id, &out[at..count + 2], true) else {
        panic!("no end")
    };
    assert_eq!(&out[at..][range], b"hi");
    release(server, key);
    release(client, asked);
}

fn release(end: &mut End, key: Key) {
    let rest = end.engine.release(key);
    assert!(rest.stop.is_none() && rest.reset.is_none());
}

#[test]
fn a_request_and_its_answer_never_touch_the_heap() {
    for limits in [Limits::default(), Limits { table_bytes_max: 0, ..Limits::default() }] {
        never_touch_the_heap(&limits);
    }
}

#[track_caller]
fn never_touch_the_heap(limits: &Limits) {
    let (mut client, mut server) = (End::new(Role::Client, limits.clone()), End::new(Role::Server, limits.clone()));
    client.hear(&mut server, 1);
    server.hear(&mut client, 0);
    for id in 0..1000 {
        exchange(&mut client, &mut server, 4 * id);
    }
    COUNT.set(Some(0));
    for id in 1000..2000 {
        exchange(&mut client, &mut server, 4 * id);
    }
    assert_eq!(COUNT.take(), Some(0));
}
