//! HTTP/3's engine in both roles: what it takes, and what it says, whatever its peer sends on whichever stream.
//!
//! The one idea: an input is a list of records, each for one stream: bytes that come, perhaps its end, or that it is given up.
//! Whatever the cuts within a record, and whether a request was known at once, the engine tells and says the same. What it
//! says a witness reads: frames that may stand where they do, with field sections that can be decoded at once.

mod frames;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode};
use proto::h3::{
    CONTROL_BYTES_MIN, Code, Engine, Error, Event, Head, Key, Limits, Own, Pseudo, Rest, Role, Scratch, Standing,
};
use proto::head::{Fields, HeadTable, KnownHead};
use proto::message::{BodyLength, WriteError};
use proto::qpack::{Arena, Decoded, Decoder, Outcome, Sink};

pub use self::frames::h3_frames;
pub(crate) use self::frames::sent;
use crate::cut::{Cut, Random, check_field};

/// A server is sent any bytes on any of a client's streams.
pub fn h3_server(input: &[u8]) {
    check(Role::Server, &records(input));
}

/// The same of a client, which has asked for a few things.
pub fn h3_client(input: &[u8]) {
    check(Role::Client, &records(input));
}

/// What comes on a stream.
#[derive(Clone, Debug)]
struct Record {
    /// Its place among the [streams](ids).
    place: u8,
    what: What,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Bytes,
    End,
    Reset,
    Stop,
}

/// Four for requests, and four of the peer's that go one way.
fn ids(role: Role) -> [u64; 8] {
    match role {
        Role::Server => [0, 4, 8, 12, 2, 6, 10, 14],
        Role::Client => [0, 4, 8, 1, 3, 7, 11, 15],
    }
}

/// The first byte says what the owner is like; each record has a byte of stream and kind, its length, and its bytes.
fn records(input: &[u8]) -> (u64, Vec<Record>) {
    let Some((&manner, mut input)) = input.split_first() else { return (0, Vec::new()) };
    let mut records = Vec::new();
    while let [first, length, rest @ ..] = input {
        let (bytes, rest) = rest.split_at(rest.len().min((*length).into()));
        let what = [What::Bytes, What::End, What::Reset, What::Stop][usize::from(first >> 3 & 3)];
        records.push(Record { place: first & 7, what, bytes: bytes.to_vec() });
        input = rest;
    }
    (manner.into(), records)
}

/// Records as bytes.
fn written(manner: u8, records: &[Record]) -> Vec<u8> {
    let mut bytes = vec![manner];
    for Record { place, what, bytes: said } in records {
        let pieces: Vec<&[u8]> = if said.is_empty() { vec![&[]] } else { said.chunks(255).collect() };
        for (index, piece) in pieces.iter().enumerate() {
            let what = if index + 1 == pieces.len() { *what as u8 } else { What::Bytes as u8 };
            bytes.extend_from_slice(&[place | what << 3, piece.len() as u8]);
            bytes.extend_from_slice(piece);
        }
    }
    bytes
}

fn check(role: Role, (manner, records): &(u64, Vec<Record>)) {
    let all: Vec<u8> = records.iter().flat_map(|record| record.bytes.iter().copied()).collect();
    let [whole, others @ ..] = Cut::all(&all);
    let expect = course(role, *manner, records, whole);
    for cut in others {
        let course = course(role, *manner, records, cut);
        assert_eq!(course.told, expect.told, "{cut:?}");
        assert!(course.said == expect.said, "{cut:?}: what is said differs");
    }
}

fn course(role: Role, manner: u64, records: &[Record], mut cut: Cut) -> End {
    let mut random = Random(manner);
    let mut end = End::new(role, limits(&mut random));
    end.say();
    if role == Role::Client {
        (0..3).for_each(|index| end.ask(4 * index, &mut random));
    }
    for record in records {
        let id = ids(role)[usize::from(record.place)];
        match record.what {
            What::Reset | What::Stop => end.left(id, record.what),
            What::Bytes | What::End => {
                let (mut rest, is_end) = (&record.bytes[..], record.what == What::End);
                loop {
                    let (piece, after) = rest.split_at(cut.next(rest.len()));
                    rest = after;
                    end.receive(id, piece, is_end && rest.is_empty());
                    if rest.is_empty() {
                        break;
                    }
                }
            }
        }
        end.go_on();
        if end.error.is_some() {
            break;
        }
        end.act(&mut random);
        end.now += Duration::from_millis(random.below(20) as u64);
    }
    end
}

/// Limits that are soon reached, or the usual ones. What is held is not among them: that depends on the cuts.
fn limits(random: &mut Random) -> Limits {
    let usual = Limits { connects: random.below(2) == 1, ..Limits::default() };
    match random.below(2) {
        0 => usual,
        _ => Limits {
            streams_max: 3,
            head_bytes_max: 400,
            field_count_max: 8,
            section_bytes_max: 300,
            table_bytes_max: 200,
            blocked_streams_max: 2,
            idle_work_max: 20,
            datagrams: false,
            ..usual
        },
    }
}

/// One end of a connection: an engine with an owner.
struct End {
    engine: Engine,
    scratch: Scratch,
    table: HeadTable,
    limits: Limits,
    now: Duration,
    role: Role,
    exchanges: BTreeMap<u64, Exchange>,
    /// What has come and waits for the table, and whether the stream ends with it.
    waiting: BTreeMap<u64, (Vec<u8>, bool)>,
    /// Streams that are shown no more.
    over: Vec<u64>,
    /// What was received, in words, and what was said.
    told: String,
    said: Vec<u8>,
    /// Reads what is said of fields.
    witness: Decoder,
    is_witness_able: bool,
    error: Option<Error>,
    /// The head that was last received, if it was known: then it is neither in the table nor in the scratch.
    known: Option<Rc<KnownHead>>,
}

struct Exchange {
    key: Key,
    is_answered: bool,
    received: usize,
    has_ended: bool,
    is_reset: bool,
}

impl Exchange {
    fn new(key: Key, is_answered: bool, has_ended: bool) -> Exchange {
        Exchange { key, is_answered, received: 0, has_ended, is_reset: false }
    }
}

impl End {
    fn new(role: Role, limits: Limits) -> End {
        End {
            engine: Engine::new(role, &limits),
            scratch: Scratch::new(limits.head_bytes_max),
            table: HeadTable::new(),
            now: Duration::ZERO,
            role,
            exchanges: BTreeMap::new(),
            waiting: BTreeMap::new(),
            over: Vec::new(),
            told: String::new(),
            said: Vec::new(),
            witness: Decoder::new(4096, 0),
            is_witness_able: true,
            error: None,
            known: None,
            limits,
        }
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    fn receive(&mut self, id: u64, bytes: &[u8], is_end: bool) {
        if self.error.is_some() || self.over.contains(&id) {
            return;
        }
        match self.waiting.get_mut(&id) {
            Some((input, ends)) => {
                input.extend_from_slice(bytes);
                *ends |= is_end;
            }
            None => self.take(id, bytes, is_end),
        }
        if is_end && !self.waiting.contains_key(&id) {
            self.over.push(id);
        }
    }

    fn take(&mut self, id: u64, input: &[u8], is_end: bool) {
        let mut at = 0;
        loop {
            let End { engine, scratch, table, now, limits, known, .. } = &mut *self;
            *known = None;
            // As a server's owner does: only what comes uncut can be known at once, and must mean what it means in pieces.
            if is_end
                && at == 0
                && let Some((key, head)) = engine.receive_known(id, input, scratch, limits)
            {
                *known = Some(head);
                let key = engine.keep(key);
                self.happen(&Event::Head { key, head: Head { end: true, ..Head::default() } }, &[]);
                return self.check();
            }
            let step = match engine.receive(id, &input[at..], is_end, scratch, table, *now, limits) {
                Ok(step) => step,
                Err(error) => return self.fail(error),
            };
            assert!(step.consumed <= input.len() - at);
            self.happen(&step.event, &input[at..]);
            at += step.consumed;
            self.check();
            match step.event {
                Event::NeedMore => return assert_eq!(at, input.len(), "all is consumed"),
                Event::Closed => panic!("it has not failed"),
                Event::Blocked { id: blocked } => {
                    assert_eq!(blocked, id);
                    assert!(self.waiting.len() < usize::from(self.limits.blocked_streams_max));
                    self.waiting.insert(id, (input[at..].to_vec(), is_end));
                    return;
                }
                Event::Refused { .. } | Event::Reset { .. } => return self.over.push(id),
                _ => {}
            }
        }
    }

    /// Shows again what waited.
    fn go_on(&mut self) {
        while self.error.is_none()
            && let Some(id) = self.engine.unblocked()
        {
            let (input, is_end) = self.waiting.remove(&id).expect("it waits");
            self.take(id, &input, is_end);
        }
    }

    fn left(&mut self, id: u64, what: What) {
        // Whoever stops reading what we send means one of the streams that are open.
        if self.over.contains(&id) || what == What::Stop && !self.exchanges.contains_key(&id) {
            return;
        }
        let result = match what {
            What::Reset => self.engine.peer_reset(id, Code::REQUEST_CANCELLED, self.now, &self.limits),
            _ => self.engine.peer_stopped(id, Code::REQUEST_CANCELLED, self.now, &self.limits),
        };
        match result {
            Ok(event) => {
                if what == What::Reset {
                    self.waiting.remove(&id);
                    self.over.push(id);
                }
                if let Some(event) = event {
                    self.happen(&event, &[]);
                    self.over.push(id);
                    self.waiting.remove(&id);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: Error) {
        assert_eq!(self.engine.failure(), Some(error));
        assert!(self.engine.is_closed());
        let _ = write!(self.told, "{error}; ");
        self.error = Some(error);
    }

    fn happen(&mut self, event: &Event, input: &[u8]) {
        let (table, block) = match &self.known {
            Some(head) => (head.table(), head.block()),
            None => (&self.table, self.scratch.block()),
        };
        let told = &mut self.told;
        match event {
            Event::NeedMore | Event::Closed => {}
            Event::Head { key, head } => {
                let id = key.id();
                assert!(table.protocol(block).is_none() || head.is_connect && self.limits.connects);
                if self.role == Role::Server {
                    let (target, authority) = (table.target(block), table.authority(block));
                    assert!(target.iter().chain(authority).all(u8::is_ascii_graphic));
                    let _ = (table.path(block), table.query(block), table.scheme(block));
                    let _ = write!(told, "{id} {} {} ", table.method(), target.escape_ascii());
                    let exchange = Exchange::new(*key, false, head.end);
                    assert!(self.exchanges.insert(id, exchange).is_none(), "a stream is handed out once");
                } else {
                    let _ = write!(told, "{id} {} ", table.status());
                    let exchange = self.exchanges.get_mut(&id).expect("it was asked for");
                    assert!(!exchange.has_ended && !exchange.is_reset);
                    exchange.has_ended = head.end;
                }
                tell(told, table.fields(), block, &self.limits);
            }
            Event::HeadTooLarge { key } => {
                let _ = write!(told, "{} too large; ", key.id());
                let exchange = Exchange::new(*key, false, true);
                assert!(!self.engine.is_receiving(*key));
                assert!(self.exchanges.insert(key.id(), exchange).is_none());
            }
            Event::Data { key, range, end } => {
                assert!(range.end <= input.len() && !range.is_empty());
                let exchange = self.exchanges.get_mut(&key.id()).expect("data has a head");
                assert!(!exchange.has_ended && !exchange.is_reset);
                exchange.received += range.len();
                exchange.has_ended = *end;
                if *end {
                    let _ = write!(told, "{} {} bytes; ", key.id(), exchange.received);
                }
            }
            Event::Trailers { key } | Event::Ended { key } => {
                let exchange = self.exchanges.get_mut(&key.id()).expect("an end has a head");
                assert!(!exchange.has_ended && !exchange.is_reset);
                exchange.has_ended = true;
                let _ = write!(told, "{} {} bytes; ", key.id(), exchange.received);
                if matches!(event, Event::Trailers { .. }) {
                    tell(told, self.table.trailers(), block, &self.limits);
                }
            }
            Event::Blocked { id } => {
                let _ = write!(told, "{id} waits; ");
            }
            Event::Reset { key, code } => {
                let exchange = self.exchanges.get_mut(&key.id()).expect("what is reset was open");
                assert!(!exchange.is_reset, "a reset is told once");
                (exchange.is_reset, exchange.has_ended) = (true, true);
                assert!(!self.engine.can_send(*key) && !self.engine.is_receiving(*key));
                let _ = write!(told, "{} {code}; ", key.id());
            }
            Event::Refused { id, code } => {
                assert!(!self.exchanges.contains_key(id));
                let _ = write!(told, "{id} {code}; ");
            }
            Event::Priority { key } => {
                let _ = write!(told, "{} {:?}; ", key.id(), self.engine.priority(*key));
            }
            Event::GoAway { from } => {
                let _ = write!(told, "goaway {from}; ");
            }
        }
    }

    /// What the engine holds is bounded.
    fn check(&self) {
        assert!(self.exchanges.len() <= self.engine.stream_count());
        assert!(self.engine.stream_count() <= usize::from(self.limits.streams_max));
    }

    // ---- what an owner does ------------------------------------------------------------------------------------------

    /// Answers mostly all that there is, and releases what is done with.
    fn act(&mut self, random: &mut Random) {
        let ids: Vec<u64> = self.exchanges.keys().copied().collect();
        for id in ids {
            let exchange = &self.exchanges[&id];
            let (key, is_reset) = (exchange.key, exchange.is_reset);
            if !exchange.is_answered && random.below(8) < 7 {
                self.answer(key, random);
            }
            let exchange = &self.exchanges[&id];
            let is_done = exchange.is_answered && exchange.has_ended && !self.engine.can_send(key);
            if is_done || is_reset || random.below(30) == 0 {
                let Rest { stop, reset } = self.engine.release(key);
                assert!(!is_done || reset.is_none());
                let _ = write!(self.told, "{id} released {stop:?} {reset:?}; ");
                self.exchanges.remove(&id);
                self.waiting.remove(&id);
                self.over.push(id);
            }
        }
        match random.below(60) {
            0 => self.engine.drain(),
            1 => self.engine.finish(),
            _ => {}
        }
        self.say();
        self.check();
    }

    fn answer(&mut self, key: Key, random: &mut Random) {
        let can_send = self.engine.can_send(key);
        let mut out = [0; 2048];
        let status = [StatusCode::OK, StatusCode::NO_CONTENT, StatusCode::IM_A_TEAPOT][random.below(3)];
        let body = [BodyLength::None, BodyLength::Known(70), BodyLength::Unknown][random.below(3)];
        let standing = Standing { server: b"fuzz", date: b"" };
        let fields = fields(random);
        match self.engine.respond(key, status, fields, standing, body, &mut Vec::new(), &mut out) {
            Ok(count) => {
                assert!(can_send);
                self.section(key.id(), &out[..count]);
            }
            Err(error) => assert!(error == WriteError::NotExpected && !can_send, "{error}"),
        }
        self.begin(key, random);
        if let Some(exchange) = self.exchanges.get_mut(&key.id()) {
            exchange.is_answered = true;
        }
    }

    fn ask(&mut self, id: u64, random: &mut Random) {
        let method = [Method::GET, Method::POST, Method::HEAD, Method::CONNECT][random.below(4)].clone();
        let (authority, path): (&[u8], &[u8]) =
            if method == Method::CONNECT { (b"here:1", b"") } else { (b"here", b"/a?b") };
        let pseudo = Pseudo { method: &method, is_secure: true, authority, path, protocol: None };
        let body = [BodyLength::None, BodyLength::Unknown][random.below(2)];
        let mut out = [0; 2048];
        let asked = self.engine.request(id, pseudo, fields(random), body, &self.limits, &mut out);
        let (key, count) = asked.expect("so many may be");
        self.section(id, &out[..count]);
        self.exchanges.insert(id, Exchange::new(key, true, false));
        self.begin(key, random);
    }

    /// Sends what follows a head.
    fn begin(&mut self, key: Key, random: &mut Random) {
        let mut out = [0; 1024];
        if self.engine.can_send(key) && random.below(8) > 0 {
            let trails = random.below(3) == 0;
            let count = self.engine.data(key, 70, !trails, &mut out).expect("it may");
            assert_eq!(out[..count], [0, 0x40, 70]);
            if trails {
                let count = self.engine.trailers(key, fields(random), &mut out).expect("it may");
                self.section(key.id(), &out[..count]);
            }
        }
    }

    /// Says what the connection has to say.
    fn say(&mut self) {
        for own in [Own::Control, Own::Encoder, Own::Decoder] {
            let mut fuel = 1000;
            while self.engine.has_to_say(own) {
                fuel -= 1;
                assert!(fuel > 0, "what waits to be said is bounded");
                let mut out = [0; CONTROL_BYTES_MIN];
                let count = self.engine.say(own, &self.limits, &mut out);
                assert!(count > 0, "there is room");
                self.said.extend_from_slice(&out[..count]);
            }
        }
    }

    /// A head or trailers are said: one frame, and the witness can decode it with what the table has been told.
    fn section(&mut self, id: u64, frame: &[u8]) {
        self.said.extend_from_slice(frame);
        let mut instructions = Vec::new();
        while self.engine.has_to_say(Own::Encoder) {
            let mut out = [0; CONTROL_BYTES_MIN];
            let count = self.engine.say(Own::Encoder, &self.limits, &mut out);
            instructions.extend_from_slice(&out[..count]);
        }
        self.said.extend_from_slice(&instructions);
        // The peer's settings may have granted a larger table than ours is, and then counts are others.
        self.is_witness_able &= instructions.is_empty();
        let (length, width) = match frame[1] >> 6 {
            0 => (usize::from(frame[1]), 1),
            1 => (usize::from(frame[1] & 0x3f) << 8 | usize::from(frame[2]), 2),
            _ => panic!("a head that is not so long"),
        };
        assert_eq!((frame[0], length), (1, frame.len() - 1 - width));
        if self.is_witness_able {
            let mut room = [0; 4096];
            let outcome = self.witness.decode(id, &frame[1 + width..], &mut Arena::new(&mut room), &mut Checked);
            assert_eq!(outcome, Ok(Outcome::Decoded));
        }
    }
}

/// Looks at each field.
struct Checked;

impl Sink for Checked {
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool {
        let name = field.text.of(arena.as_slice());
        check_field(name.strip_prefix(b":").unwrap_or(name), field.value.of(arena.as_slice()));
        false
    }

    fn overflow(&mut self) {
        panic!("it has room");
    }
}

fn fields(random: &mut Random) -> Vec<(&'static str, &'static str)> {
    let all =
        [("x", "y"), ("etag", "\"z\""), ("content-type", "text/plain"), ("x-long", "0123456789012345678901234567")];
    (0..random.below(4)).map(|_| all[random.below(all.len())]).collect()
}

fn tell(told: &mut String, fields: &Fields, block: &[u8], limits: &Limits) {
    assert!(fields.len() <= limits.field_count_max.into());
    for (name, value) in fields.iter(block) {
        check_field(name, value);
        let _ = write!(told, "{}={} ", name.escape_ascii(), value.escape_ascii());
    }
    told.push_str("; ");
}
