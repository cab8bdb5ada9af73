//! Whether what an engine says may be said to a peer that has said what it has heard (RFC 9113).
//!
//! The one idea: both directions are read once more, frame by frame, by something that knows the rules and nothing of the
//! engine. What the peer sets holds when its acknowledgement has been said, since only then the peer may insist.

use std::collections::{BTreeMap, VecDeque};

use proto::h2::{FRAME_BYTES_MAX, Limits, Role};
use proto::hpack::TABLE_BYTES;

use super::frame::{FrameHead, PREFACE, flag, kind, number, setting};
use super::message::{Message, sorted};
use crate::hpack::plain;

pub(super) struct Witness {
    role: Role,
    limits: Limits,
    /// Bytes of a frame of data that are to come, and whose they are.
    heard_data_left: usize,
    heard_data_of: u32,
    /// The stream of a head of which more is to be heard.
    heard_head_of: Option<u32>,
    heard_preface: usize,
    is_begun: bool,
    said_preface: bool,
    /// A head that is being said: its stream, its end, what there is of its block.
    continuing: Option<(u32, bool, Vec<u8>)>,
    decoder: plain::Decoder,
    pub(super) streams: BTreeMap<u32, Line>,
    /// The last stream that the peer has opened, or we have.
    last: u32,
    /// Settings that were heard, and whose acknowledgement is to be said.
    unacknowledged: VecDeque<Vec<u8>>,
    frame_bytes_max: usize,
    stream_window: i64,
    streams_max: usize,
    send_window: i64,
    pub(super) recv_window: i64,
    pings: Vec<[u8; 8]>,
    goaway: Option<u32>,
    /// What the connection was ended with.
    pub(super) failed: Option<u32>,
    /// What was heard last is not known, since the engine has found a fault in it.
    has_lost_track: bool,
}

/// A stream, as one who looks on knows it.
pub(super) struct Line {
    send_window: i64,
    pub(super) recv_window: i64,
    /// The peer says no more.
    pub(super) heard_all: bool,
    /// It has said its head.
    pub(super) heard_head: bool,
    said: Said,
    is_reset: bool,
    /// What was said, and what a reset was said with.
    pub(super) message: Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Head,
    All,
}

impl Witness {
    pub(super) fn new(role: Role, limits: &Limits) -> Witness {
        Witness {
            role,
            limits: limits.clone(),
            heard_data_left: 0,
            heard_data_of: 0,
            heard_head_of: None,
            heard_preface: if role == Role::Server { PREFACE.len() } else { 0 },
            is_begun: false,
            said_preface: role == Role::Server,
            continuing: None,
            decoder: plain::Decoder::new(TABLE_BYTES),
            streams: BTreeMap::new(),
            last: 0,
            unacknowledged: VecDeque::new(),
            frame_bytes_max: FRAME_BYTES_MAX,
            stream_window: 65_535,
            streams_max: usize::MAX,
            send_window: 65_535,
            recv_window: 65_535,
            pings: Vec::new(),
            goaway: None,
            failed: None,
            has_lost_track: false,
        }
    }

    /// The engine has found a fault in what the peer said, and it is not known how much it took before.
    pub(super) fn lose_track(&mut self) {
        self.has_lost_track = true;
    }

    /// Something the peer has said, and the engine has taken without finding a fault in it.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) {
        let skip = self.heard_preface.min(bytes.len());
        self.heard_preface -= skip;
        bytes = &bytes[skip..];
        loop {
            let skip = self.heard_data_left.min(bytes.len());
            self.heard_data_left -= skip;
            bytes = &bytes[skip..];
            // All but data is taken whole, and so only what begins data may be a piece of a frame.
            let Some(head) = FrameHead::read(bytes) else { return assert!(bytes.is_empty(), "a piece of a frame") };
            let payload = &bytes[FrameHead::BYTES..];
            if head.kind == kind::DATA {
                self.hear_data(head);
                (self.heard_data_left, self.heard_data_of) = (head.length, head.stream);
                bytes = payload;
                continue;
            }
            self.hear_frame(head, &payload[..head.length]);
            bytes = &payload[head.length..];
        }
    }

    fn hear_data(&mut self, head: FrameHead) {
        self.recv_window -= head.length as i64;
        assert!(self.recv_window >= 0, "more data than was granted was taken");
        if let Some(line) = self.streams.get_mut(&head.stream) {
            line.recv_window -= head.length as i64;
            line.heard_all |= head.has(flag::END_STREAM);
        }
    }

    fn hear_frame(&mut self, head: FrameHead, payload: &[u8]) {
        if let kind::HEADERS | kind::CONTINUATION = head.kind {
            self.heard_head_of = Some(head.stream).filter(|_| !head.has(flag::END_HEADERS));
        }
        match head.kind {
            kind::HEADERS => {
                if head.stream > self.last && self.role == Role::Server {
                    self.last = head.stream;
                    self.open(head.stream);
                }
                if let Some(line) = self.streams.get_mut(&head.stream) {
                    line.heard_head = true;
                    line.heard_all |= head.has(flag::END_STREAM);
                }
            }
            kind::RST_STREAM => {
                if let Some(line) = self.streams.get_mut(&head.stream) {
                    (line.heard_all, line.is_reset) = (true, true);
                }
            }
            kind::SETTINGS if !head.has(flag::ACK) => self.unacknowledged.push_back(payload.to_vec()),
            kind::PING if !head.has(flag::ACK) => self.pings.push(payload.try_into().expect("eight bytes")),
            kind::WINDOW_UPDATE => {
                let increment = i64::from(number(payload) & 0x7fff_ffff);
                match self.streams.get_mut(&head.stream) {
                    _ if head.stream == 0 => self.send_window += increment,
                    Some(line) => line.send_window += increment,
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, id: u32) {
        let line = Line {
            send_window: self.stream_window,
            recv_window: self.limits.stream_window.into(),
            heard_all: false,
            heard_head: false,
            said: Said::Nothing,
            is_reset: false,
            message: Message::default(),
        };
        self.streams.insert(id, line);
    }

    /// Something that the engine says: whole frames, as all of its calls write them.
    pub(super) fn say(&mut self, mut bytes: &[u8]) {
        if !self.said_preface && !bytes.is_empty() {
            bytes = bytes.strip_prefix(PREFACE).expect("the preface is first");
            self.said_preface = true;
        }
        while !bytes.is_empty() {
            let head = FrameHead::read(bytes).expect("whole frames");
            assert!(head.length <= self.frame_bytes_max, "a frame of {} bytes", head.length);
            let (payload, rest) = bytes[FrameHead::BYTES..].split_at(head.length);
            assert!(self.is_begun || head.kind == kind::SETTINGS && !head.has(flag::ACK), "settings are first");
            self.is_begun = true;
            assert_eq!(self.continuing.is_some(), head.kind == kind::CONTINUATION, "nothing comes within a head");
            match self.has_lost_track {
                true => assert!(![kind::DATA, kind::HEADERS].contains(&head.kind), "it has failed and goes on"),
                false => assert!(head.kind != kind::DATA, "data is said by itself"),
            }
            if !self.has_lost_track || head.kind == kind::GOAWAY {
                self.say_frame(head, payload);
            }
            bytes = rest;
        }
    }

    /// A frame of data, of which the engine writes the head.
    pub(super) fn say_data(&mut self, head: &[u8], count: usize) {
        let head = FrameHead::read(head).expect("the head of a frame");
        assert!(head.kind == kind::DATA && head.length == count && count <= self.frame_bytes_max);
        assert!(self.continuing.is_none() && !self.has_lost_track);
        let (id, length) = (head.stream, count as i64);
        let line = self.streams.get_mut(&id).expect("data is for a stream");
        assert!(line.said == Said::Head && !line.is_reset, "{id}: data has its place");
        line.send_window -= length;
        self.send_window -= length;
        assert!(length == 0 || line.send_window >= 0 && self.send_window >= 0, "{id}: more than the windows admit");
        line.message.bytes += count;
        if head.has(flag::END_STREAM) {
            line.said = Said::All;
            line.message.has_ended = true;
        }
    }

    fn say_frame(&mut self, head: FrameHead, payload: &[u8]) {
        let id = head.stream;
        match head.kind {
            kind::HEADERS => {
                let block = payload.to_vec();
                self.continuing = Some((id, head.has(flag::END_STREAM), block));
                self.say_end_of_head(head);
            }
            kind::CONTINUATION => {
                let (of, _, block) = self.continuing.as_mut().expect("it is continued");
                assert_eq!(*of, id);
                block.extend_from_slice(payload);
                self.say_end_of_head(head);
            }
            kind::RST_STREAM => {
                assert_eq!(payload.len(), 4);
                assert!(id != 0 && id % 2 == 1 && id <= self.last, "{id} is reset, which nobody has opened");
                if let Some(line) = self.streams.get_mut(&id) {
                    line.is_reset = true;
                    line.message.reset.get_or_insert(number(payload));
                }
            }
            kind::SETTINGS if head.has(flag::ACK) => {
                assert_eq!((id, payload.len()), (0, 0));
                let settings = self.unacknowledged.pop_front().expect("there is something to acknowledge");
                settings.chunks(6).for_each(|entry| self.set(entry));
            }
            kind::SETTINGS => {
                assert_eq!((id, payload.len() % 6), (0, 0));
                assert!(payload.len() <= 6 * 6);
            }
            kind::PING => {
                assert_eq!((id, payload.len()), (0, 8));
                if head.has(flag::ACK) {
                    let place = self.pings.iter().position(|ping| ping == payload).expect("it was asked");
                    self.pings.swap_remove(place);
                }
            }
            kind::GOAWAY => {
                let (last, code) = (number(payload), number(&payload[4..]));
                assert_eq!(id, 0);
                if self.has_lost_track {
                    self.last = self.last.max(last);
                }
                assert!(self.goaway.is_none_or(|before| last <= before), "what is looked at becomes more");
                assert!(last == 0x7fff_ffff || last <= self.last || self.role == Role::Client);
                assert!(code <= 0xd && self.failed.is_none(), "{code}");
                self.goaway = Some(last);
                self.failed = Some(code).filter(|&code| code != 0);
            }
            kind::WINDOW_UPDATE => self.say_grant(id, number(payload)),
            other => panic!("a frame of kind {other} is said"),
        }
    }

    fn set(&mut self, entry: &[u8]) {
        let value = number(&entry[2..]);
        match u16::from_be_bytes([entry[0], entry[1]]) {
            setting::HEADER_TABLE_SIZE => self.decoder.grant(value as usize),
            setting::MAX_CONCURRENT_STREAMS => self.streams_max = value as usize,
            setting::INITIAL_WINDOW_SIZE => {
                let change = i64::from(value) - self.stream_window;
                self.stream_window = value.into();
                self.streams.values_mut().for_each(|line| line.send_window += change);
            }
            setting::MAX_FRAME_SIZE => self.frame_bytes_max = value as usize,
            _ => {}
        }
    }

    /// The frame of a head is said, and perhaps all of it.
    fn say_end_of_head(&mut self, head: FrameHead) {
        if !head.has(flag::END_HEADERS) {
            return;
        }
        let (id, ends, block) = self.continuing.take().expect("a head was begun");
        let fields = self.decoder.decode(&block).expect("a block that can be decoded");
        if self.role == Role::Client && id > self.last {
            assert!(id % 2 == 1);
            self.last = id;
            let open = |line: &&Line| !line.is_reset && (!line.heard_all || line.said != Said::All);
            let open = self.streams.values().filter(open).count();
            assert!(open < self.streams_max, "{open} are open of {}", self.streams_max);
            self.open(id);
        }
        let line = self.streams.get_mut(&id).expect("a head is for a stream");
        assert!(!line.is_reset, "{id}: what was reset is silent");
        let status = fields.iter().find(|(name, _)| name == b":status").map(|(_, value)| &value[..]);
        let is_interim = matches!(status, Some([b'1', ..]));
        let pseudo = fields.iter().take_while(|(name, _)| name.starts_with(b":")).count();
        match line.said {
            Said::Nothing if self.role == Role::Server => assert!(pseudo == 1 && status.is_some()),
            Said::Nothing => assert!(pseudo > 1 && status.is_none()),
            Said::Head => assert!(pseudo == 0 && ends, "{id}: trailers end a message"),
            Said::All => panic!("{id}: a head comes after the end"),
        }
        assert!(!(is_interim && ends));
        line.said = match ends {
            true => Said::All,
            false if is_interim => Said::Nothing,
            false => Said::Head,
        };
        for (name, value) in &fields[pseudo..] {
            crate::cut::check_field(name, value);
            assert!(!name.iter().any(u8::is_ascii_uppercase), "{}", name.escape_ascii());
            assert!(!OF_THE_CONNECTION.contains(&&name[..]), "{}", name.escape_ascii());
        }
        line.message.has_ended = ends;
        match pseudo {
            0 => line.message.trailers = sorted(fields),
            _ => line.message.heads.push(sorted(fields)),
        }
    }

    fn say_grant(&mut self, id: u32, grant: u32) {
        assert!(grant > 0 && grant <= 0x7fff_ffff);
        let (window, max) = match id {
            0 => (
                &mut self.recv_window,
                self.limits.connection_window.max(65_535).max(self.limits.connection_window_max),
            ),
            _ => {
                let line = self.streams.get_mut(&id).expect("a window is of a stream");
                // The end is heard with a frame's beginning, or with a head's, and it has come when that is whole.
                let is_ending = self.heard_data_left > 0 && self.heard_data_of == id || self.heard_head_of == Some(id);
                assert!(!line.heard_all || is_ending, "{id}: a window for nothing");
                (&mut line.recv_window, self.limits.stream_window.max(self.limits.stream_window_max))
            }
        };
        *window += i64::from(grant);
        assert!(*window <= max.into(), "{id}: a window of {window}");
    }

    /// Of the engine.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Whether this stream is one that the peer may say something on.
    pub(super) fn hears(&self, id: u32) -> bool {
        self.streams.get(&id).is_some_and(|line| !line.heard_all && !line.is_reset)
    }
}

/// What HTTP/2 has no fields for (RFC 9113 section 8.2.2).
const OF_THE_CONNECTION: [&[u8]; 5] =
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
