//! One end of a connection: an engine with an owner, who answers or asks, reads and sends, as it is told to; and what must
//! hold of both after every step.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use http::{Method, StatusCode};
use proto::h2::{
    CONTROL_BYTES_MIN, Code, Engine, Error, Event, FRAME_BYTES_MAX, Key, Limits, Pseudo, Role, Scratch, Standing,
};
use proto::head::{Fields, HeadTable};
use proto::message::{BodyLength, WriteError};

use super::message::{Message, piece, sorted};
use super::witness::Witness;
use crate::cut::check_field;
use crate::hpack::plain::Field;

pub(super) struct End {
    pub(super) engine: Engine,
    scratch: Scratch,
    table: HeadTable,
    pub(super) limits: Limits,
    pub(super) now: Duration,
    /// What was received and not consumed.
    input: Vec<u8>,
    pub(super) witness: Witness,
    pub(super) exchanges: BTreeMap<u32, Exchange>,
    /// What was received, in words.
    pub(super) told: String,
    /// What was sent.
    pub(super) wire: Vec<u8>,
    pub(super) is_over: bool,
    /// Why, if the peer has made a mistake.
    pub(super) error: Option<Error>,
    /// What was received, if someone compares it, and sends bodies that can be compared.
    pub(super) messages: Option<BTreeMap<u32, Message>>,
}

/// A stream that the owner has in hand.
pub(super) struct Exchange {
    pub(super) key: Key,
    pub(super) is_answered: bool,
    /// Bytes that are still to be sent, and whether trailers follow.
    left: usize,
    trails: bool,
    sent: usize,
    pub(super) unread: usize,
    received: usize,
    has_ended: bool,
    is_reset: bool,
}

/// Decides: a number below the one given.
pub(super) type Choose<'a> = &'a mut dyn FnMut(usize) -> usize;

impl End {
    pub(super) fn new(role: Role, limits: Limits) -> End {
        End {
            engine: Engine::new(role, &limits),
            scratch: Scratch::new(limits.head_bytes_max),
            table: HeadTable::new(),
            now: Duration::ZERO,
            input: Vec::new(),
            witness: Witness::new(role, &limits),
            exchanges: BTreeMap::new(),
            told: String::new(),
            wire: Vec::new(),
            is_over: false,
            error: None,
            messages: None,
            limits,
        }
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    /// Takes what has come, up to the next event, which is told. False if there is none.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> bool {
        self.input.extend_from_slice(bytes);
        let step = self.engine.receive(&self.input, &mut self.scratch, &mut self.table, self.now, &self.limits);
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                assert!(CONNECTION_CODES.contains(&error.code), "{error}");
                let _ = write!(self.told, "{error}; ");
                self.witness.lose_track();
                self.say_control();
                assert_eq!(self.witness.failed, Some(error.code.0), "the peer is told why");
                self.input.clear();
                (self.is_over, self.error) = (true, Some(error));
                return false;
            }
        };
        assert!(step.consumed <= self.input.len());
        if step.event == Event::Closed {
            self.is_over = true;
            return false;
        }
        let goes_on = step.event != Event::NeedMore;
        if !goes_on && step.consumed == 0 {
            assert!(self.input.len() < FRAME_BYTES_MAX + 9, "what is not consumed is less than a frame");
            return false;
        }
        self.witness.hear(&self.input[..step.consumed]);
        self.happen(&step.event);
        self.input.drain(..step.consumed);
        self.check();
        goes_on
    }

    fn happen(&mut self, event: &Event) {
        self.note(event);
        let block = self.scratch.block();
        match event {
            Event::NeedMore | Event::Closed => {}
            Event::Head { key, head } => {
                let (table, id) = (&self.table, key.id());
                assert!(table.protocol(block).is_none() || head.is_connect && self.limits.connects);
                if self.witness.role() == Role::Server {
                    let (target, authority) = (table.target(block), table.authority(block));
                    assert!(target.iter().chain(authority).all(u8::is_ascii_graphic));
                    let _ = (table.path(block), table.query(block), table.scheme(block));
                    let _ = write!(self.told, "{id} {} {} ", table.method(), target.escape_ascii());
                    let exchange = Exchange::new(*key, false, head.end);
                    assert!(self.exchanges.insert(id, exchange).is_none(), "a stream is opened once");
                } else {
                    let _ = write!(self.told, "{id} {} ", table.status());
                    let exchange = self.exchanges.get_mut(&id).expect("it was asked for");
                    assert!(!exchange.has_ended && !exchange.is_reset);
                    exchange.has_ended = head.end;
                }
                tell(&mut self.told, table.fields(), block, &self.limits);
            }
            Event::HeadTooLarge { key } => {
                let _ = write!(self.told, "{} too large; ", key.id());
                // What is left of its message is of no use, and still comes.
                let exchange = Exchange::new(*key, false, !self.engine.is_receiving(*key));
                assert!(self.exchanges.insert(key.id(), exchange).is_none());
            }
            Event::Data { key, range, end } => {
                assert!(range.end <= self.input.len() && (*end || !range.is_empty()));
                let exchange = self.exchanges.get_mut(&key.id()).expect("data has a head");
                assert!(!exchange.has_ended && !exchange.is_reset);
                exchange.unread += range.len();
                exchange.received += range.len();
                exchange.has_ended = *end;
                if *end {
                    let _ = write!(self.told, "{} {} bytes; ", key.id(), exchange.received);
                }
            }
            Event::Trailers { key } => {
                let exchange = self.exchanges.get_mut(&key.id()).expect("trailers have a head");
                assert!(!exchange.has_ended && !exchange.is_reset);
                exchange.has_ended = true;
                let _ = write!(self.told, "{} {} bytes and ", key.id(), exchange.received);
                tell(&mut self.told, self.table.trailers(), block, &self.limits);
            }
            Event::Reset { key, code } => {
                let exchange = self.exchanges.get_mut(&key.id()).expect("what is reset was open");
                assert!(!exchange.is_reset, "a reset is told once");
                (exchange.is_reset, exchange.has_ended, exchange.left) = (true, true, 0);
                assert!(!self.engine.can_send(*key) && !self.engine.is_receiving(*key));
                let _ = write!(self.told, "{} {code}; ", key.id());
            }
            Event::GoAway { last, code } => {
                let _ = write!(self.told, "goaway {last} {code}; ");
            }
        }
    }

    /// Notes a message as it comes.
    fn note(&mut self, event: &Event) {
        let Some(messages) = &mut self.messages else { return };
        let (block, table) = (self.scratch.block(), &self.table);
        let owned = |fields: &Fields| fields.iter(block).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        match event {
            Event::Head { key, head } => {
                let mut fields: Vec<Field> = owned(table.fields());
                let mut pseudo = |name: &str, value: &[u8]| fields.push((name.into(), value.into()));
                if self.witness.role() == Role::Server {
                    pseudo(":method", table.method().as_str().as_bytes());
                    pseudo(":scheme", table.scheme(block).unwrap_or_default());
                    pseudo(":authority", table.authority(block));
                    pseudo(":path", table.target(block));
                } else {
                    pseudo(":status", table.status().as_str().as_bytes());
                }
                let message = messages.entry(key.id()).or_default();
                message.heads.push(sorted(fields));
                message.has_ended = head.end;
            }
            Event::Data { key, range, end } => {
                let message = messages.entry(key.id()).or_default();
                message.receive(&self.input[range.clone()]);
                message.has_ended = *end;
            }
            Event::Trailers { key } => {
                let message = messages.entry(key.id()).or_default();
                (message.trailers, message.has_ended) = (sorted(owned(table.trailers())), true);
            }
            Event::Reset { key, code } => messages.entry(key.id()).or_default().reset = Some(code.0),
            _ => {}
        }
    }

    /// What the engine holds is bounded.
    fn check(&self) {
        assert_eq!(self.engine.stream_count(), self.exchanges.len());
        assert!(self.exchanges.len() <= usize::from(self.limits.streams_max));
        let stream_max = self.limits.stream_window.max(self.limits.stream_window_max) as usize;
        let all_max = self.limits.connection_window.max(65_535).max(self.limits.connection_window_max) as usize;
        let unread = |exchange: &Exchange| exchange.unread;
        assert!(self.exchanges.values().all(|exchange| exchange.unread <= stream_max));
        assert!(self.exchanges.values().map(unread).sum::<usize>() <= all_max);
    }

    // ---- what an owner does ------------------------------------------------------------------------------------------

    /// Those that are to be answered.
    pub(super) fn unanswered(&self) -> Vec<u32> {
        self.exchanges.iter().filter(|(_, exchange)| !exchange.is_answered).map(|(&id, _)| id).collect()
    }

    /// Answers a request in one way or another, once.
    pub(super) fn answer(&mut self, id: u32, choose: Choose<'_>) {
        let Some(exchange) = self.exchanges.get_mut(&id).filter(|exchange| !exchange.is_answered) else { return };
        let key = exchange.key;
        if !exchange.is_reset && choose(8) == 7 {
            let status = [StatusCode::CONTINUE, StatusCode::EARLY_HINTS][choose(2)];
            self.respond(key, status, BodyLength::None, choose);
        }
        let status = STATUSES[choose(STATUSES.len())];
        let (body, bytes, trails) = body(choose);
        if choose(16) == 15 {
            self.reset(id, CODES[choose(CODES.len())]);
        }
        self.respond(key, status, body, choose);
        self.begin(key, bytes, trails);
    }

    fn respond(&mut self, key: Key, status: StatusCode, body: BodyLength, choose: Choose<'_>) {
        let fields = fields(choose);
        let standing = Standing { server: b"fuzz", date: b"" };
        let can_send = self.engine.can_send(key);
        let mut out = [0; 2048];
        match self.engine.respond(key, status, fields.iter().copied(), standing, body, &mut out) {
            Ok(count) => {
                assert!(can_send);
                self.say(&out[..count]);
            }
            Err(error) => assert!(error == WriteError::NotExpected && !can_send, "{error}"),
        }
    }

    /// Sends a request, if one more may be.
    pub(super) fn ask(&mut self, choose: Choose<'_>) {
        let method = [Method::GET, Method::POST, Method::HEAD, Method::PUT][choose(4)].clone();
        let (body, bytes, trails) = body(choose);
        let fields = fields(choose);
        let may = self.engine.can_open(&self.limits);
        let mut out = [0; 2048];
        let target: &[u8] = [&b"/"[..], b"/a?b=c"][choose(2)];
        let pseudo = Pseudo { method: &method, is_secure: false, authority: b"here", path: target, protocol: None };
        let asked = self.engine.request(pseudo, fields.iter().copied(), body, &self.limits, &mut out);
        match asked {
            Ok((key, count)) => {
                assert!(may);
                self.say(&out[..count]);
                self.exchanges.insert(key.id(), Exchange::new(key, true, false));
                self.begin(key, bytes, trails);
            }
            Err(error) => assert!(error == WriteError::NotExpected && !may, "{error}"),
        }
        self.check();
    }

    /// The head is sent; so much follows, if anything may.
    fn begin(&mut self, key: Key, bytes: usize, trails: bool) {
        let can_send = self.engine.can_send(key);
        let exchange = self.exchanges.get_mut(&key.id()).expect("it is in hand");
        exchange.is_answered = true;
        if can_send {
            (exchange.left, exchange.trails) = (bytes, trails);
            self.engine.offer(key);
        }
    }

    /// The reader has taken so much.
    pub(super) fn consume(&mut self, id: u32, count: usize) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        let count = count.min(exchange.unread);
        exchange.unread -= count;
        self.engine.consume(exchange.key, count, &self.limits);
    }

    pub(super) fn reset(&mut self, id: u32, code: Code) {
        let Some(exchange) = self.exchanges.get_mut(&id) else { return };
        self.engine.reset(exchange.key, code);
        (exchange.is_reset, exchange.has_ended, exchange.left) = (true, true, 0);
        assert!(!self.engine.can_send(exchange.key) && !self.engine.is_receiving(exchange.key));
    }

    pub(super) fn release(&mut self, id: u32) {
        let Some(exchange) = self.exchanges.remove(&id) else { return };
        self.engine.release(exchange.key, &self.limits);
        assert!(!self.engine.can_send(exchange.key), "its key names nothing any more");
        self.check();
    }

    /// Releases all that is done with.
    pub(super) fn release_ended(&mut self) {
        let has_ended = |exchange: &Exchange| {
            exchange.is_answered && exchange.has_ended && !self.engine.can_send(exchange.key) || exchange.is_reset
        };
        let ended: Vec<u32> =
            self.exchanges.iter().filter(|(_, exchange)| has_ended(exchange)).map(|(&id, _)| id).collect();
        ended.into_iter().for_each(|id| self.release(id));
    }

    /// Says what the connection has to say.
    pub(super) fn say_control(&mut self) {
        let mut fuel = CONTROL_FRAMES_MAX + 2 * self.exchanges.len();
        while self.engine.has_control() {
            fuel = fuel.checked_sub(1).expect("what waits to be said is bounded");
            let mut out = [0; CONTROL_BYTES_MIN];
            let count = self.engine.control(&self.limits, &mut out);
            // A grant may have become void.
            assert!(count > 0 || !self.engine.has_control(), "a frame has room");
            self.say(&out[..count]);
        }
    }

    /// Sends data as it may be sent, at most so many frames.
    pub(super) fn send(&mut self, frames_max: usize, choose: Choose<'_>) {
        for _ in 0..frames_max {
            let Some(key) = self.engine.pick() else { return };
            let exchange = self.exchanges.get_mut(&key.id()).expect("who sends is in hand");
            let available = exchange.left.min(PIECES[choose(PIECES.len())]);
            let is_last = available == exchange.left && !exchange.trails;
            let mut out = [0; 512];
            let data = self.engine.data(key, available, is_last, &mut out).expect("it was picked");
            assert!(data.count <= available && data.end == (is_last && data.count == available));
            exchange.left -= data.count;
            if data.head > 0 {
                let (before, head) = out[..data.head].split_at(data.head - 9);
                self.witness.say(before);
                self.witness.say_data(head, data.count);
                self.wire.extend_from_slice(&out[..data.head]);
                match self.messages {
                    Some(_) => self.wire.extend(piece(key.id(), exchange.sent, data.count)),
                    None => self.wire.resize(self.wire.len() + data.count, b'd'),
                }
                exchange.sent += data.count;
            }
            if data.end {
                continue;
            }
            if exchange.left == 0 && exchange.trails {
                let fields = fields(choose);
                let count = self.engine.trailers(key, fields.iter().copied(), &mut out).expect("trailers fit");
                self.say(&out[..count]);
            } else {
                self.engine.offer(key);
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.witness.say(bytes);
        self.wire.extend_from_slice(bytes);
    }
}

impl Exchange {
    fn new(key: Key, is_answered: bool, has_ended: bool) -> Exchange {
        Exchange {
            key,
            is_answered,
            left: 0,
            trails: false,
            sent: 0,
            unread: 0,
            received: 0,
            has_ended,
            is_reset: false,
        }
    }
}

/// Fields as words, and that they are as they must be.
fn tell(told: &mut String, fields: &Fields, block: &[u8], limits: &Limits) {
    assert!(fields.len() <= usize::from(limits.field_count_max));
    let mut bytes = 0;
    for (name, value) in fields.iter(block) {
        check_field(name, value);
        assert!(!name.iter().any(u8::is_ascii_uppercase));
        bytes += name.len() + value.len();
        let _ = write!(told, "{}={} ", name.escape_ascii(), value.escape_ascii());
    }
    assert!(bytes <= usize::from(limits.head_bytes_max));
    told.push_str("; ");
}

/// What a body is: how it is declared, how long it is, whether trailers follow.
fn body(choose: Choose<'_>) -> (BodyLength, usize, bool) {
    match choose(8) {
        0 | 1 => (BodyLength::None, 0, false),
        2 => (BodyLength::Known(0), 0, false),
        3 => (BodyLength::Known(5), 5, false),
        4 => (BodyLength::Unknown, 0, false),
        5 => (BodyLength::Unknown, 300, true),
        6 => (BodyLength::Unknown, 20_000, false),
        _ => (BodyLength::Known(70_000), 70_000, true),
    }
}

fn fields(choose: Choose<'_>) -> &'static [(&'static str, &'static str)] {
    const FIELDS: [(&str, &str); 9] = [
        ("content-type", "text/plain"),
        ("x", "y"),
        ("set-cookie", "a=b"),
        ("connection", "close"),
        ("content-length", "7"),
        ("cache-control", "no-cache"),
        ("x", "y"),
        ("x-long", "0123456789012345678901234567890123456789012345678901234567890123456789"),
        ("authorization", "secret"),
    ];
    let from = choose(FIELDS.len());
    let to = (from + choose(4)).min(FIELDS.len());
    &FIELDS[from..to]
}

const STATUSES: [StatusCode; 6] = [
    StatusCode::OK,
    StatusCode::OK,
    StatusCode::NO_CONTENT,
    StatusCode::NOT_MODIFIED,
    StatusCode::NOT_FOUND,
    StatusCode::IM_A_TEAPOT,
];

const CODES: [Code; 3] = [Code::CANCEL, Code::NO_ERROR, Code::INTERNAL_ERROR];

/// What is offered at once.
const PIECES: [usize; 5] = [100_000, 1, 100, 16_384, 0];

/// What a connection may fail with (RFC 9113 section 7).
const CONNECTION_CODES: [Code; 6] = [
    Code::PROTOCOL_ERROR,
    Code::FLOW_CONTROL_ERROR,
    Code::STREAM_CLOSED,
    Code::FRAME_SIZE_ERROR,
    Code::COMPRESSION_ERROR,
    Code::ENHANCE_YOUR_CALM,
];

/// Frames that may wait to be said: pings, resets and settings up to their bounds, and a few that there is one of.
const CONTROL_FRAMES_MAX: usize = 16 + 256 + 16 + 8;
