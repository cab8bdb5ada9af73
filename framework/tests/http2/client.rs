//! A client of HTTP/2: an engine over a connection of the test kit's.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::h2::{CONTROL_BYTES_MIN, Code, Engine, Event, Key, Limits, Pseudo, Role, Scratch};
use proto::head::HeadTable;
use proto::message::BodyLength;
use shardwise::http::Method;
use shardwise::test;

/// What has come of one exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) interim: Vec<u16>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) has_ended: bool,
    pub(crate) reset: Option<Code>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Whether nothing more comes of it.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended || self.reset.is_some()
    }
}

/// What is to be sent on one stream.
struct Sending {
    body: Vec<u8>,
    sent: usize,
    trailers: Vec<(String, String)>,
    /// More is to come.
    stays_open: bool,
}

pub(crate) struct Client {
    pub(crate) wire: test::Connection,
    pub(crate) engine: Engine,
    scratch: Box<Scratch>,
    table: HeadTable,
    pub(crate) limits: Limits,
    input: Vec<u8>,
    pub(crate) out: Vec<u8>,
    sending: BTreeMap<u32, (Key, Sending)>,
    pub(crate) answers: BTreeMap<u32, Answer>,
    keys: BTreeMap<u32, Key>,
    /// Data that has come and whose reader is slow, if readers are.
    pub(crate) unread: Vec<(Key, usize)>,
    pub(crate) reads_at_once: bool,
    pub(crate) resets: Vec<(u32, Code)>,
    pub(crate) goaways: Vec<(u32, Code)>,
    pub(crate) is_closed: bool,
    /// The network may fail.
    pub(crate) bears_faults: bool,
}

impl Client {
    pub(crate) async fn open(client: &test::Client, limits: Limits) -> Client {
        Client::over(client.open().await, limits)
    }

    pub(crate) fn over(wire: test::Connection, limits: Limits) -> Client {
        Client {
            wire,
            engine: Engine::new(Role::Client, &limits),
            scratch: Box::new(Scratch::new(limits.head_bytes_max)),
            table: HeadTable::new(),
            limits,
            input: Vec::new(),
            out: Vec::new(),
            sending: BTreeMap::new(),
            answers: BTreeMap::new(),
            keys: BTreeMap::new(),
            unread: Vec::new(),
            reads_at_once: true,
            resets: Vec::new(),
            goaways: Vec::new(),
            is_closed: false,
            bears_faults: false,
        }
    }

    /// Asks, and names the stream.
    pub(crate) fn ask(
        &mut self,
        method: &Method,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
        trailers: &[(&str, &str)],
    ) -> u32 {
        let length = match (body.len(), trailers.len()) {
            (0, 0) => BodyLength::None,
            (length, 0) if length % 2 == 0 => BodyLength::Known(length as u64),
            _ => BodyLength::Unknown,
        };
        let pseudo =
            Pseudo { method, is_secure: false, authority: b"here:80", path: target.as_bytes(), protocol: None };
        let key = self.request(pseudo, fields, length);
        if !matches!(length, BodyLength::None) {
            let trailers = trailers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let sending = Sending { body: body.to_vec(), sent: 0, trailers, stays_open: false };
            self.sending.insert(key.id(), (key, sending));
            self.engine.offer(key);
        }
        key.id()
    }

    /// Asks for a tunnel, by an extended CONNECT or, without a protocol, by a plain one.
    pub(crate) async fn connect(&mut self, target: &str, protocol: Option<&str>, fields: &[(&str, &str)]) -> u32 {
        while protocol.is_some() && !self.engine.peer_connects() {
            self.flush().await;
            assert!(self.receive().await);
        }
        let path = if protocol.is_some() { target } else { "" };
        let pseudo = Pseudo {
            method: &Method::CONNECT,
            is_secure: false,
            authority: b"here:80",
            path: path.as_bytes(),
            protocol: protocol.map(str::as_bytes),
        };
        let key = self.request(pseudo, fields, BodyLength::Unknown);
        let sending = Sending { body: Vec::new(), sent: 0, trailers: Vec::new(), stays_open: true };
        self.sending.insert(key.id(), (key, sending));
        key.id()
    }

    /// Sends more on a stream that stays open.
    pub(crate) fn tell(&mut self, id: u32, bytes: &[u8]) {
        let (key, sending) = self.sending.get_mut(&id).expect("it is open");
        sending.body.extend_from_slice(bytes);
        self.engine.offer(*key);
    }

    /// Ends it.
    pub(crate) fn hang_up(&mut self, id: u32) {
        let (key, sending) = self.sending.get_mut(&id).expect("it is open");
        sending.stays_open = false;
        self.engine.offer(*key);
    }

    fn request(&mut self, pseudo: Pseudo<'_>, fields: &[(&str, &str)], length: BodyLength) -> Key {
        let mut room = [0; 4096];
        let fields = fields.iter().map(|(name, value)| (*name, *value));
        let (key, count) =
            self.engine.request(pseudo, fields, length, &self.limits, &mut room).expect("a request may be sent");
        // What the engine has to say goes first: at the beginning that is the preface.
        self.say();
        self.out.extend_from_slice(&room[..count]);
        self.keys.insert(key.id(), key);
        self.answers.insert(key.id(), Answer::default());
        key
    }

    pub(crate) fn get(&mut self, target: &str) -> u32 {
        self.ask(&Method::GET, target, &[], b"", &[])
    }

    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> u32 {
        self.ask(&Method::POST, target, &[], body, &[])
    }

    pub(crate) fn reset(&mut self, id: u32, code: Code) {
        self.engine.reset(self.keys[&id], code);
        self.answers.get_mut(&id).expect("it was asked").reset = Some(code);
        self.done(id);
    }

    pub(crate) fn is_sending(&self, id: u32) -> bool {
        self.sending.contains_key(&id)
    }

    fn done(&mut self, id: u32) {
        if let Some(key) = self.keys.remove(&id) {
            self.sending.remove(&id);
            self.unread.retain(|(unread, _)| *unread != key);
            self.engine.release(key, &self.limits);
        }
    }

    /// What the engine itself has to say.
    fn say(&mut self) {
        while self.engine.has_control() {
            let mut room = [0; CONTROL_BYTES_MIN];
            let count = self.engine.control(&self.limits, &mut room);
            self.out.extend_from_slice(&room[..count]);
        }
    }

    /// Writes all that may be sent.
    pub(crate) fn write(&mut self) {
        self.say();
        while let Some(key) = self.engine.pick() {
            let Some((_, sending)) = self.sending.get_mut(&key.id()) else { continue };
            let rest = &sending.body[sending.sent..];
            let mut room = [0; 4096];
            let is_last = sending.trailers.is_empty() && !sending.stays_open;
            let data = self.engine.data(key, rest.len(), is_last, &mut room).expect("it may be sent");
            self.out.extend_from_slice(&room[..data.head]);
            self.out.extend_from_slice(&rest[..data.count]);
            sending.sent += data.count;
            if data.end {
                self.sending.remove(&key.id());
            } else if sending.sent == sending.body.len() && !sending.trailers.is_empty() {
                let (_, sending) = self.sending.remove(&key.id()).expect("it is there");
                let fields = sending.trailers.iter().map(|(name, value)| (name, value));
                let count = self.engine.trailers(key, fields, &mut room).expect("it may be sent");
                self.out.extend_from_slice(&room[..count]);
            } else if sending.sent < sending.body.len() {
                self.engine.offer(key);
            }
        }
    }

    /// Sends all that may be sent.
    pub(crate) async fn flush(&mut self) {
        self.write();
        if !self.out.is_empty() && !self.is_closed && self.wire.send(std::mem::take(&mut self.out)).await.is_err() {
            self.is_closed = true;
        }
    }

    /// Receives once; false when the server has closed.
    pub(crate) async fn receive(&mut self) -> bool {
        match self.wire.receive().await {
            Ok(Some(bytes)) => self.take(&bytes),
            Ok(None) | Err(test::Failure::Cut) => self.is_closed = true,
            Err(_) if self.bears_faults => self.is_closed = true,
            Err(failure) => panic!("{failure:?}: {:?}", self.answers),
        }
        !self.is_closed
    }

    fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        loop {
            let now = Duration::ZERO;
            let step = self
                .engine
                .receive(&self.input, &mut self.scratch, &mut self.table, now, &self.limits)
                .expect("the server keeps the rules");
            let block = self.scratch.block();
            let owned = |fields: &proto::head::Fields| -> Vec<(String, String)> {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                fields.iter(block).map(|(name, value)| (text(name), text(value))).collect()
            };
            let mut over = None;
            match &step.event {
                Event::NeedMore | Event::Closed => {}
                Event::Head { key, head } => {
                    let answer = self.answers.get_mut(&key.id()).expect("it was asked");
                    let status = self.table.status();
                    if status.is_informational() {
                        answer.interim.push(status.as_u16());
                    } else {
                        answer.status = status.as_u16();
                        answer.fields = owned(self.table.fields());
                        answer.has_ended = head.end;
                        over = head.end.then_some(key.id());
                    }
                }
                Event::Data { key, range, end } => {
                    let answer = self.answers.get_mut(&key.id()).expect("it was asked");
                    answer.body.extend_from_slice(&self.input[range.clone()]);
                    answer.has_ended = *end;
                    over = end.then_some(key.id());
                    if self.reads_at_once {
                        self.engine.consume(*key, range.len(), &self.limits);
                    } else {
                        self.unread.push((*key, range.len()));
                    }
                }
                Event::Trailers { key } => {
                    let answer = self.answers.get_mut(&key.id()).expect("it was asked");
                    answer.trailers = owned(self.table.trailers());
                    answer.has_ended = true;
                    over = Some(key.id());
                }
                Event::Reset { key, code } => {
                    self.resets.push((key.id(), *code));
                    if let Some(answer) = self.answers.get_mut(&key.id()) {
                        answer.reset = Some(*code);
                    }
                    over = Some(key.id());
                }
                Event::GoAway { last, code } => self.goaways.push((*last, *code)),
                Event::HeadTooLarge { key } => panic!("{key:?}"),
            }
            self.input.drain(..step.consumed);
            if let Some(id) = over
                && (!self.is_sending(id) || self.resets.iter().any(|(reset, _)| *reset == id))
            {
                self.done(id);
            }
            if matches!(step.event, Event::NeedMore | Event::Closed) {
                return;
            }
        }
    }

    /// Reads a little of what readers are slow with.
    pub(crate) fn read(&mut self, place: usize) {
        if !self.unread.is_empty() {
            let (key, count) = self.unread.swap_remove(place % self.unread.len());
            self.engine.consume(key, count, &self.limits);
        }
    }

    /// Goes on until a stream is over, and gives what has come.
    pub(crate) async fn answer(&mut self, id: u32) -> Answer {
        self.until(id, Answer::is_over).await;
        self.answers.remove(&id).expect("it was asked")
    }

    /// Goes on until that is so of what has come.
    pub(crate) async fn until(&mut self, id: u32, is_enough: impl Fn(&Answer) -> bool) -> &Answer {
        loop {
            self.flush().await;
            if is_enough(&self.answers[&id]) {
                return &self.answers[&id];
            }
            let goes_on = self.receive().await || is_enough(&self.answers[&id]);
            assert!(goes_on, "the server closes: {:?} {:?}", self.answers[&id], self.goaways);
        }
    }

    /// Goes on until the server has closed.
    pub(crate) async fn end(&mut self) {
        loop {
            self.flush().await;
            if !self.receive().await {
                return;
            }
        }
    }
}
