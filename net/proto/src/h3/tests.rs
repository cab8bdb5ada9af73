//! The engine by itself, driven by bytes written out, and two of them against each other.

mod attacks;
mod pairs;
mod rules;
mod sending;

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode};

use super::frame::{kind, number, put_number, setting, uni};
use super::*;
use crate::head::{Fields, HeadTable};
use crate::message::{BodyLength, WriteError};

/// One end, with what its owner would have.
struct End {
    engine: Engine,
    scratch: Scratch,
    table: HeadTable,
    limits: Limits,
    now: Duration,
    /// What streams have that wait for the table, and whether they end with it.
    waiting: BTreeMap<u64, (Vec<u8>, bool)>,
}

const NOTHING: [(&[u8], &[u8]); 0] = [];

/// Streams of a client's, and of a server's.
const CLIENT_CONTROL: u64 = 2;
const CLIENT_ENCODER: u64 = 6;
const CLIENT_DECODER: u64 = 10;
const CLIENT_OTHER: u64 = 14;
const SERVER_CONTROL: u64 = 3;
const SERVER_OTHER: u64 = 15;

impl End {
    fn new(role: Role, limits: Limits) -> End {
        let (engine, scratch) = (Engine::new(role, &limits), Scratch::new(limits.head_bytes_max));
        End { engine, scratch, table: HeadTable::new(), limits, now: Duration::ZERO, waiting: BTreeMap::new() }
    }

    /// A server whose client has said its settings.
    fn server() -> End {
        End::server_with(Limits::default())
    }

    fn server_with(limits: Limits) -> End {
        let mut end = End::new(Role::Server, limits);
        assert_eq!(end.tell(CLIENT_CONTROL, &hello(), false), "");
        end
    }

    /// A client whose server has, and which has asked on stream 0.
    fn client(method: &Method) -> End {
        let mut end = End::new(Role::Client, Limits::default());
        let settings = [frame(kind::SETTINGS, &[setting::ENABLE_CONNECT_PROTOCOL as u8, 1])].concat();
        assert_eq!(end.tell(SERVER_CONTROL, &[&[0], &*settings].concat(), false), "");
        let path: &[u8] = if *method == Method::CONNECT { b"" } else { b"/" };
        let limits = end.limits.clone();
        end.engine.request(0, asks(method, path), NOTHING, BodyLength::Unknown, &limits, &mut [0; 500]).unwrap();
        end
    }

    /// All events of what is received, as text.
    fn tell(&mut self, id: u64, bytes: &[u8], is_end: bool) -> String {
        if let Some((input, ends)) = self.waiting.get_mut(&id) {
            input.extend_from_slice(bytes);
            *ends |= is_end;
            return String::new();
        }
        self.tell_on(id, bytes.to_vec(), is_end)
    }

    fn tell_on(&mut self, id: u64, input: Vec<u8>, ends: bool) -> String {
        let (mut told, mut at) = (String::new(), 0);
        loop {
            let End { engine, scratch, table, now, limits, .. } = self;
            let step = match engine.receive(id, &input[at..], ends, scratch, table, *now, limits) {
                Ok(step) => step,
                Err(error) => {
                    assert_eq!(engine.failure(), Some(error));
                    return told + &format!("error {}", error.code);
                }
            };
            told += &self.text(&step.event);
            at += step.consumed;
            match step.event {
                Event::NeedMore | Event::Closed => {
                    assert_eq!(at, input.len(), "all is consumed");
                    break;
                }
                Event::Refused { .. } | Event::Reset { .. } => break,
                Event::Blocked { .. } => {
                    self.waiting.insert(id, (input[at..].to_vec(), ends));
                    break;
                }
                _ => {}
            }
        }
        // Whoever was waited for has come.
        while let Some(id) = self.engine.unblocked() {
            let (input, ends) = self.waiting.remove(&id).expect("it waits");
            told += &(self.tell_on(id, input, ends) + " ");
        }
        told.trim_end().to_owned()
    }

    fn text(&self, event: &Event) -> String {
        let block = self.scratch.block();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = |fields: &Fields| {
            fields.iter(block).map(|(name, value)| format!(" {}={}", text(name), text(value))).collect::<String>()
        };
        let end = |is_end: bool| if is_end { " end" } else { "" };
        match event {
            Event::NeedMore => String::new(),
            Event::Head { key, head } => {
                let table = &self.table;
                let line = match self.engine.role {
                    Role::Server => {
                        let protocol = table.protocol(block).map(|protocol| format!(" {}", text(protocol)));
                        let (authority, target) = (text(table.authority(block)), text(table.target(block)));
                        format!("{} {authority} {target}{}", table.method(), protocol.unwrap_or_default())
                    }
                    Role::Client => table.status().as_str().to_owned(),
                };
                format!("{}: {line}{}{}; ", key.id(), fields(table.fields()), end(head.end))
            }
            Event::HeadTooLarge { key } => format!("{}: too large; ", key.id()),
            Event::Data { key, range, end: is_end } => {
                format!("{}: {} bytes{}; ", key.id(), range.len(), end(*is_end))
            }
            Event::Trailers { key } => format!("{}: trailers{}; ", key.id(), fields(self.table.trailers())),
            Event::Ended { key } => format!("{}: end; ", key.id()),
            Event::Blocked { id } => format!("{id}: blocked; "),
            Event::Reset { key, code } => format!("{}: reset {code}; ", key.id()),
            Event::Refused { id, code } => format!("{id}: refused {code}; "),
            Event::Priority { key } => {
                let Priority { urgency, is_incremental } = self.engine.priority(*key);
                format!("{}: u={urgency} i={is_incremental}; ", key.id())
            }
            Event::GoAway { from } => format!("goaway {from}; "),
            Event::Closed => "closed".to_owned(),
        }
    }

    /// What is said on one of our streams.
    fn bytes_said(&mut self, own: Own) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.engine.has_to_say(own) {
            let mut out = [0; CONTROL_BYTES_MIN];
            let count = self.engine.say(own, &self.limits.clone(), &mut out);
            assert!(count > 0, "there is something to say, and it has room");
            bytes.extend_from_slice(&out[..count]);
        }
        bytes
    }

    fn key(&self, id: u64) -> Key {
        self.engine.streams.find(id).expect("the stream is open")
    }

    /// Answers a request at once, with so many bytes, and is done with it.
    fn answer(&mut self, id: u64, length: usize) -> Rest {
        let key = self.key(id);
        let mut out = [0; 4096];
        let body = BodyLength::Known(length as u64);
        let (ok, standing) = (StatusCode::OK, Standing::default());
        self.engine.respond(key, ok, NOTHING, standing, body, &mut Vec::new(), &mut out).unwrap();
        if length > 0 {
            self.engine.data(key, length, true, &mut out).unwrap();
        }
        self.engine.release(key)
    }

    fn reset(&mut self, id: u64, code: Code) -> String {
        match self.engine.peer_reset(id, code, self.now, &self.limits) {
            Ok(event) => event.map_or_else(String::new, |event| self.text(&event)).trim_end().to_owned(),
            Err(error) => format!("error {}", error.code),
        }
    }

    fn stop(&mut self, id: u64, code: Code) -> String {
        match self.engine.peer_stopped(id, code, self.now, &self.limits) {
            Ok(event) => event.map_or_else(String::new, |event| self.text(&event)).trim_end().to_owned(),
            Err(error) => format!("error {}", error.code),
        }
    }
}

/// A control stream's first bytes.
fn hello() -> Vec<u8> {
    [&[uni::CONTROL as u8], &*frame(kind::SETTINGS, b"")].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &number in numbers {
        let mut out = [0; 8];
        let count = put_number(number, &mut out);
        bytes.extend_from_slice(&out[..count]);
    }
    bytes
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [&*numbers(&[kind, payload.len() as u64]), payload].concat()
}

/// An integer of the compression, behind the first bits.
fn integer(first: u8, bits: u32, number: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if number < most {
        return vec![first | number as u8];
    }
    let (mut bytes, mut rest) = (vec![first | most as u8], number - most);
    while rest >= 128 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// Field lines that neither table has a part in.
fn lines(fields: &[(&str, &str)]) -> Vec<u8> {
    let line = |(name, value): &(&str, &str)| {
        [integer(0x20, 3, name.len()), name.as_bytes().to_vec(), integer(0, 7, value.len()), value.as_bytes().to_vec()]
            .concat()
    };
    fields.iter().flat_map(line).collect()
}

/// A frame of a head or of trailers.
fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, &[&[0, 0], &*lines(fields)].concat())
}

fn data(count: usize) -> Vec<u8> {
    frame(kind::DATA, &vec![b'd'; count])
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "here"), (":path", "/")];
const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "https"), (":authority", "here"), (":path", "/")];

fn get() -> Vec<u8> {
    head(&GET)
}

fn post() -> Vec<u8> {
    head(&POST)
}

/// What a client asks for.
fn asks<'a>(method: &'a Method, path: &'a [u8]) -> Pseudo<'a> {
    let authority: &[u8] = if path.is_empty() { b"here:1" } else { b"here" };
    Pseudo { method, is_secure: true, authority, path, protocol: None }
}
