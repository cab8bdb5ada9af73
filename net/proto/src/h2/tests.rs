//! The engine by itself, driven by bytes written out, and two of them against each other.

mod attacks;
mod pairs;
mod rules;

use std::time::Duration;

use http::{Method, StatusCode};

use super::frame::{self, FrameHead, HEAD_BYTES, PREFACE, flag, kind};
use super::*;
use crate::head::{HeadTable, Known};
use crate::hpack::{Encoder, START_BYTES_MAX, field_bytes_max};
use crate::message::{BodyLength, WriteError};

/// One end, with what its owner would have.
struct End {
    engine: Engine,
    scratch: Scratch,
    table: HeadTable,
    limits: Limits,
    now: Duration,
    input: Vec<u8>,
}

const NOTHING: [(&[u8], &[u8]); 0] = [];

impl End {
    fn new(role: Role, limits: Limits) -> End {
        let (engine, scratch) = (Engine::new(role, &limits), Scratch::new(limits.head_bytes_max));
        End { engine, scratch, table: HeadTable::new(), limits, now: Duration::ZERO, input: Vec::new() }
    }

    /// A server whose client has said hello, and whose own hello is out of the way.
    fn server() -> End {
        End::server_with(Limits::default())
    }

    fn server_with(limits: Limits) -> End {
        let mut end = End::new(Role::Server, limits);
        assert_eq!(end.tell(&hello()), "");
        end.said();
        end
    }

    /// All events of what is received, as text.
    fn tell(&mut self, bytes: &[u8]) -> String {
        self.input.extend_from_slice(bytes);
        let mut told = String::new();
        loop {
            let step =
                match self.engine.receive(&self.input, &mut self.scratch, &mut self.table, self.now, &self.limits) {
                    Ok(step) => step,
                    Err(error) => {
                        self.input.clear();
                        return told + &format!("error {}", error.code);
                    }
                };
            told += &self.text(&step.event);
            self.input.drain(..step.consumed);
            if matches!(step.event, Event::NeedMore | Event::Closed) {
                return told.trim_end().to_owned();
            }
        }
    }

    fn text(&self, event: &Event) -> String {
        let block = self.scratch.block();
        let fields = |fields: &crate::head::Fields| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            fields.iter(block).map(|(name, value)| format!(" {}={}", text(name), text(value))).collect::<String>()
        };
        match event {
            Event::NeedMore => String::new(),
            Event::Head { key, head } => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let table = &self.table;
                let line = match self.engine.role {
                    Role::Server => {
                        let protocol = table.protocol(block).map(|protocol| format!(" {}", text(protocol)));
                        let (authority, target) = (text(table.authority(block)), text(table.target(block)));
                        format!("{} {authority} {target}{}", table.method(), protocol.unwrap_or_default())
                    }
                    Role::Client => table.status().as_str().to_owned(),
                };
                let end = if head.end { " end" } else { "" };
                format!("{}: {line}{}{end}; ", key.id(), fields(table.fields()))
            }
            Event::HeadTooLarge { key } => format!("{}: too large; ", key.id()),
            Event::Data { key, range, end } => {
                format!("{}: {} bytes{}; ", key.id(), range.len(), if *end { " end" } else { "" })
            }
            Event::Trailers { key } => format!("{}: trailers{}; ", key.id(), fields(self.table.trailers())),
            Event::Reset { key, code } => format!("{}: reset {code}; ", key.id()),
            Event::GoAway { last, code } => format!("goaway {last} {code}; "),
            Event::Closed => "closed".to_owned(),
        }
    }

    /// The frames that the connection itself has to say, as text.
    fn said(&mut self) -> String {
        let mut bytes = Vec::new();
        while self.engine.has_control() {
            let mut out = [0; CONTROL_BYTES_MIN];
            let count = self.engine.control(&self.limits, &mut out);
            assert!(count > 0, "there is something to say, and it has room");
            bytes.extend_from_slice(&out[..count]);
        }
        frames(&bytes)
    }

    fn key(&self, id: u32) -> Key {
        self.engine.streams.find(id).expect("the stream is open")
    }

    /// Answers a request at once, with so many bytes, and is done with it.
    fn answer(&mut self, id: u32, length: usize) -> String {
        let key = self.key(id);
        let mut out = [0; 4096];
        let body = BodyLength::Known(length as u64);
        let mut count = self.engine.respond(key, StatusCode::OK, NOTHING, Standing::default(), body, &mut out).unwrap();
        if length > 0 {
            let data = self.engine.data(key, length, true, &mut out[count..]).unwrap();
            assert_eq!(data, Data { head: HEAD_BYTES, count: length, end: true });
            count += data.head + length;
        }
        self.engine.release(key, &self.limits);
        frames(&out[..count])
    }
}

/// A client's first bytes.
fn hello() -> Vec<u8> {
    [PREFACE, &frame(kind::SETTINGS, 0, 0, b"")].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    FrameHead { length: payload.len(), kind, flags, stream }.write(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

/// A field block that keeps nothing in the table.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        for text in [name, value] {
            if text == name {
                bytes.push(0);
            }
            assert!(text.len() < 127 + 128);
            match text.len() {
                length @ ..127 => bytes.push(length as u8),
                length => bytes.extend([127, (length - 127) as u8]),
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "here"), (":path", "/")];
const POST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":authority", "here"), (":path", "/")];

/// What a client asks for.
fn asks<'a>(method: &'a Method, path: &'a [u8]) -> Pseudo<'a> {
    Pseudo { method, is_secure: false, authority: b"here", path, protocol: None }
}

const END_HEADERS: u8 = flag::END_HEADERS;
const END_BOTH: u8 = flag::END_HEADERS | flag::END_STREAM;

fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_BOTH, stream, &block(&GET))
}

fn post(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &block(&POST))
}

fn data(stream: u32, count: usize) -> Vec<u8> {
    frame(kind::DATA, 0, stream, &vec![b'd'; count])
}

fn end_data(stream: u32, count: usize) -> Vec<u8> {
    frame(kind::DATA, flag::END_STREAM, stream, &vec![b'd'; count])
}

/// Frames as text: their kind, stream and what matters of them.
fn frames(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some(head) = FrameHead::read(bytes) {
        let payload = &bytes[HEAD_BYTES..HEAD_BYTES + head.length];
        let number = |at: usize| frame::number(&payload[at..]).unwrap();
        let ends = if head.has(flag::END_STREAM) { " end" } else { "" };
        text += &match head.kind {
            kind::DATA => format!("{}: {} bytes{ends}; ", head.stream, head.length),
            kind::HEADERS => format!("{}: head{ends}; ", head.stream),
            kind::CONTINUATION => format!("{}: continued; ", head.stream),
            kind::SETTINGS if head.has(flag::ACK) => "settings ack; ".to_owned(),
            kind::SETTINGS => "settings; ".to_owned(),
            kind::PING if head.has(flag::ACK) => format!("ping ack {}; ", payload[0]),
            kind::PING => "ping; ".to_owned(),
            kind::RST_STREAM => format!("{}: reset {}; ", head.stream, Code(number(0))),
            kind::GOAWAY => format!("goaway {} {}; ", number(0), Code(number(4))),
            kind::WINDOW_UPDATE => format!("{}: window {}; ", head.stream, number(0)),
            other => panic!("we send no frame of kind {other}"),
        };
        bytes = &bytes[HEAD_BYTES + head.length..];
    }
    assert!(bytes.is_empty(), "whole frames");
    text.trim_end().to_owned()
}
