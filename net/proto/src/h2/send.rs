//! From messages to frames, straight into the caller's slice.
//!
//! The one idea: what is asked for once is written once. Heads and trailers are measured first, since a table that has
//! been told of a field cannot be untold; so [`WriteError::Full`] means: a larger slice, please; nothing has happened.
//!
//! What the peer has set holds for it from our acknowledgement on (RFC 9113 section 6.5.3), and so that goes first, whoever
//! writes next.

use http::{Method, StatusCode};

use super::engine::{Ending, Engine, Phase};
use super::frame::{self, FrameHead, HEAD_BYTES, PREFACE, flag, kind, setting};
use super::limits::{DATA_BYTES_MAX, Limits, RESETS_MAX};
use super::streams::{Key, Side};
use crate::head::Known;
use crate::hpack::START_BYTES_MAX;
use crate::message::written::{Answer, measure, put_length, request_fields, trailer_fields};
use crate::message::{BodyLength, Field, Pseudo, Role, Standing, WriteError};

/// What may be sent of a stream's data now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// So many bytes were written to the slice; they go before the data.
    pub head: usize,
    /// So many bytes of the data follow.
    pub count: usize,
    /// Whether the stream has ended with them.
    pub end: bool,
}

/// The ping that tells that the peer has heard of the end.
pub(super) const DRAIN_PING: [u8; 8] = *b"shutdown";

/// Window updates that one frame of data accounts for: its stream's, its connection's, and as many for peers that update
/// twice a frame.
const UPDATES_PER_FRAME: u32 = 4;
const UPDATES_MAX: u32 = 4096;

/// Indices of the static table.
const METHOD_GET: usize = 2;
const METHOD_POST: usize = 3;
const AUTHORITY: usize = 1;
const PATH: usize = 4;
const SCHEME_HTTP: usize = 6;
const SCHEME_HTTPS: usize = 7;
const STATUS: usize = 8;
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// A head that is being written.
struct Writing<'o> {
    /// What was written before.
    before: usize,
    out: &'o mut [u8],
    count: usize,
}

impl Engine {
    /// Writes the head of a response, and says how many bytes that took. With [`BodyLength::None`], and to `HEAD`, the stream
    /// ends with it; else its data follows.
    ///
    /// `Content-Length` is the engine's, and so is what HTTP/2 has no fields for (`Connection` and its kind): what
    /// `fields` say of them is left out, except that an answer to `HEAD` without a body, or a 304, may state a length. An
    /// interim status leaves the response to come. Names must be in lower case.
    pub fn respond<F: Field>(
        &mut self,
        key: Key,
        status: StatusCode,
        fields: impl IntoIterator<Item = F> + Clone,
        standing: Standing<'_>,
        body: BodyLength,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let stream = self.streams.get(key).filter(|stream| stream.sent == Side::Head && !stream.is_reset);
        let is_head = stream.ok_or(WriteError::NotExpected)?.is_head;
        let is_interim = status.is_informational();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(WriteError::Upgrade);
        }
        let measured = measure(fields.clone())?;
        let mut writing = self.begin_block(measured.bytes + standing.bytes_max(), out)?;
        writing.status(self, status);
        let answer = Answer { status, is_head, standing, body };
        answer.fields(fields, &measured, |known, name, value| writing.field(self, known, name, value));
        if let Some(length) = answer.length() {
            put_length(length, |known, name, value| writing.field(self, known, name, value));
        }
        let ends = answer.ends();
        let count = writing.finish(key.id, ends, self.peer.frame_bytes_max as usize);
        if !is_interim {
            self.sent_head(key, ends);
        }
        Ok(count)
    }

    /// Writes the head of a request on a new stream, which it names. With [`BodyLength::None`] the stream ends with it.
    ///
    /// Fields are as for [`respond`](Engine::respond).
    pub fn request<F: Field>(
        &mut self,
        pseudo: Pseudo<'_>,
        fields: impl IntoIterator<Item = F> + Clone,
        body: BodyLength,
        limits: &Limits,
        out: &mut [u8],
    ) -> Result<(Key, usize), WriteError> {
        pseudo.check(self.peer.connects)?;
        let Pseudo { method, is_secure, authority, path, protocol } = pseudo;
        let is_connect = *method == Method::CONNECT;
        if !self.can_open(limits) {
            return Err(WriteError::NotExpected);
        }
        let measured = measure(fields.clone())?;
        let mut writing = self.begin_block(measured.bytes + pseudo.bytes_max(), out)?;
        match *method {
            Method::GET => writing.fixed(self, METHOD_GET),
            Method::POST => writing.fixed(self, METHOD_POST),
            _ => writing.fixed_name(self, METHOD_GET, method.as_str().as_bytes()),
        }
        if !path.is_empty() {
            writing.fixed(self, if is_secure { SCHEME_HTTPS } else { SCHEME_HTTP });
        }
        if !authority.is_empty() {
            writing.pseudo(self, AUTHORITY, b":authority", authority);
        }
        match path {
            b"" => {}
            b"/" => writing.fixed(self, PATH),
            _ => writing.fixed_name(self, PATH, path),
        }
        if let Some(protocol) = protocol {
            writing.field(self, Known::Other, b":protocol", protocol);
        }
        request_fields(fields, body, |known, name, value| writing.field(self, known, name, value));
        let ends = matches!(body, BodyLength::None | BodyLength::Known(0)) && !is_connect;
        let id = self.next_id;
        let count = writing.finish(id, ends, self.peer.frame_bytes_max as usize);
        self.next_id += 2;
        let key = self.streams.open(id, (self.peer.stream_window as i32, limits.stream_window));
        let stream = self.streams.get_mut(key).expect("it was opened");
        (stream.is_head, stream.is_connect) = (*method == Method::HEAD, is_connect);
        self.sent_head(key, ends);
        Ok((key, count))
    }

    /// Whether the server lets a client speak another protocol on a stream (RFC 8441 section 3), as far as it has said.
    pub fn peer_connects(&self) -> bool {
        self.peer.connects
    }

    /// Whether a client has numbers left for further streams.
    pub fn has_numbers(&self) -> bool {
        self.next_id < frame::NUMBER_MAX
    }

    /// Whether a client may open one more stream now. One that was reset counts until the peer is [told](Engine::control).
    pub fn can_open(&self, limits: &Limits) -> bool {
        let max = self.peer.streams_max.min(u32::from(limits.streams_max)) as usize;
        self.role == Role::Client
            && self.phase != Phase::Closed
            && self.ending == Ending::No
            && self.streams.len() + self.pending.resets.len() < max
            && self.has_numbers()
            // Whoever opens and resets lets the resets be written first.
            && self.pending.resets.len() < RESETS_MAX / 2
    }

    /// Room for a field block that takes at most `bytes`, and for the heads of its frames.
    fn begin_block<'o>(&mut self, bytes: usize, out: &'o mut [u8]) -> Result<Writing<'o>, WriteError> {
        let bytes = START_BYTES_MAX + bytes;
        let frames = usize::from(self.pending.settings_acks) + 1 + bytes / self.peer.frame_bytes_max as usize;
        if out.len() < bytes + frames * HEAD_BYTES {
            return Err(WriteError::Full);
        }
        let before = self.acknowledge(out);
        let out = &mut out[before..];
        let count = HEAD_BYTES + self.encoder.begin(&mut out[HEAD_BYTES..]);
        Ok(Writing { before, out, count })
    }

    /// Acknowledges the settings that have come, before anything is written that they concern. There must be room.
    #[inline]
    fn acknowledge(&mut self, out: &mut [u8]) -> usize {
        let mut count = 0;
        for _ in 0..std::mem::take(&mut self.pending.settings_acks) {
            count += frame::put(&mut out[count..], kind::SETTINGS, flag::ACK, 0, &[]).expect("it was looked at");
        }
        count
    }

    fn sent_head(&mut self, key: Key, ends: bool) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.sent = if ends { Side::Ended } else { Side::Body };
        }
        if ends {
            self.has_served();
        }
    }

    /// An exchange has come to its end: whoever has those may err now and then.
    fn has_served(&mut self) {
        self.budget.earn();
    }

    // ---- data --------------------------------------------------------------------------------------------------------

    /// A stream has something to send: it is [picked](Engine::pick) when it is its turn and its windows admit.
    pub fn offer(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && !stream.is_reset
            && stream.sent == Side::Body
        {
            stream.wants = true;
            if stream.send_window > 0 {
                self.streams.list(key);
            }
        }
    }

    /// Whose turn it is to send data, if anyone may. It is to be given [`data`](Engine::data), and to be
    /// [offered](Engine::offer) again if it has more.
    pub fn pick(&mut self) -> Option<Key> {
        if self.send_window <= 0 {
            return None;
        }
        let key = self.streams.pick()?;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.wants = false;
        }
        Some(key)
    }

    /// Writes what goes before a piece of a stream's data, of which there are `available` bytes, and says how many of them
    /// may follow: none while a window is shut, and nothing is written then. The end needs no window, if it comes by itself.
    ///
    /// Errors: the stream has ended or was reset, or the slice is too small: [`CONTROL_BYTES_MIN`](super::CONTROL_BYTES_MIN)
    /// is enough.
    pub fn data(&mut self, key: Key, available: usize, is_last: bool, out: &mut [u8]) -> Result<Data, WriteError> {
        let stream = self.streams.get_mut(key).filter(|stream| stream.sent == Side::Body && !stream.is_reset);
        let stream = stream.ok_or(WriteError::NotExpected)?;
        let window = stream.send_window.min(self.send_window).max(0) as usize;
        let count = available.min(window).min(DATA_BYTES_MAX).min(self.peer.frame_bytes_max as usize);
        let end = is_last && count == available;
        if count == 0 && !end {
            return Ok(Data { head: 0, count: 0, end: false });
        }
        if out.len() < HEAD_BYTES * (1 + usize::from(self.pending.settings_acks)) {
            return Err(WriteError::Full);
        }
        let flags = if end { flag::END_STREAM } else { 0 };
        stream.send_window -= count as i32;
        self.send_window -= count as i32;
        self.updates = (self.updates + UPDATES_PER_FRAME).min(UPDATES_MAX);
        if end {
            stream.sent = Side::Ended;
            self.has_served();
        }
        let before = self.acknowledge(out);
        FrameHead { length: count, kind: kind::DATA, flags, stream: key.id }.write(&mut out[before..]);
        Ok(Data { head: before + HEAD_BYTES, count, end })
    }

    /// Ends a stream's data with trailer fields, in lower case. Those that may not stand there are left out.
    pub fn trailers<F: Field>(
        &mut self,
        key: Key,
        fields: impl IntoIterator<Item = F> + Clone,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let stream = self.streams.get(key).filter(|stream| stream.sent == Side::Body && !stream.is_reset);
        stream.ok_or(WriteError::NotExpected)?;
        let measured = measure(fields.clone())?;
        let mut writing = self.begin_block(measured.bytes, out)?;
        trailer_fields(fields, |known, name, value| writing.field(self, known, name, value));
        let count = writing.finish(key.id, true, self.peer.frame_bytes_max as usize);
        self.sent_head(key, true);
        Ok(count)
    }

    // ---- what the connection itself says -----------------------------------------------------------------------------

    /// Whether there is something to [say](Engine::control).
    pub fn has_control(&self) -> bool {
        let pending = &self.pending;
        pending.preface
            || pending.settings_acks > 0
            || pending.ping
            || pending.goaway.is_some()
            || !pending.pings.is_empty()
            || !pending.resets.is_empty()
            || !pending.grants.is_empty()
            || self.phase == Phase::Open && self.connection_grant().is_some()
    }

    /// Writes what the connection itself has to say, as much as has room, and says how many bytes that took. Whoever gives
    /// [`CONTROL_BYTES_MIN`](super::CONTROL_BYTES_MIN) gets at least one frame; it is to be asked again while there
    /// [is more](Engine::has_control).
    pub fn control(&mut self, limits: &Limits, out: &mut [u8]) -> usize {
        let mut count = 0;
        while let Some(more) = self.control_frame(limits, &mut out[count..]) {
            count += more;
        }
        count
    }

    fn control_frame(&mut self, limits: &Limits, out: &mut [u8]) -> Option<usize> {
        if self.pending.preface {
            let count = self.put_preface(limits, out)?;
            self.pending.preface = false;
            return Some(count);
        }
        if self.pending.settings_acks > 0 {
            let count = frame::put(out, kind::SETTINGS, flag::ACK, 0, &[])?;
            self.pending.settings_acks -= 1;
            return Some(count);
        }
        if let Some(ping) = self.pending.pings.last() {
            let count = frame::put(out, kind::PING, flag::ACK, 0, &[ping])?;
            self.pending.pings.pop();
            return Some(count);
        }
        if let Some(&(id, code)) = self.pending.resets.last() {
            let count = frame::put_reset(out, id, code)?;
            self.pending.resets.pop();
            return Some(count);
        }
        if let Some((last, code, what)) = self.pending.goaway {
            let payload: [&[u8]; 3] = [&last.to_be_bytes(), &code.0.to_be_bytes(), what.as_bytes()];
            let count = frame::put(out, kind::GOAWAY, 0, 0, &payload)?;
            self.pending.goaway = None;
            return Some(count);
        }
        if std::mem::take(&mut self.pending.ping) {
            let count = frame::put(out, kind::PING, 0, 0, &[&DRAIN_PING]);
            self.pending.ping = count.is_none();
            return count;
        }
        while let Some(&key) = self.pending.grants.last() {
            let (id, grant) = match self.streams.get_mut(key) {
                Some(stream) if !stream.is_reset && stream.received != Side::Ended => {
                    let grant = i64::from(stream.window) - i64::from(stream.recv_window) - i64::from(stream.buffered);
                    (key.id, u32::try_from(grant).unwrap_or(0))
                }
                _ => (key.id, 0),
            };
            let count = if grant > 0 { frame::put_window(out, id, grant)? } else { 0 };
            self.pending.grants.pop();
            if let Some(stream) = self.streams.get_mut(key) {
                stream.is_granting = false;
                stream.recv_window += grant as i32;
            }
            if count > 0 {
                return Some(count);
            }
        }
        if self.phase != Phase::Closed
            && let Some(grant) = self.connection_grant()
        {
            let count = frame::put_window(out, 0, grant)?;
            self.recv_window += grant as i32;
            return Some(count);
        }
        None
    }

    /// What each end says first.
    fn put_preface(&self, limits: &Limits, out: &mut [u8]) -> Option<usize> {
        let mut payload = [0; 6 * 6];
        let mut count = 0;
        let is_server = self.role == Role::Server;
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, is_server.then_some(u32::from(limits.streams_max))),
            (setting::INITIAL_WINDOW_SIZE, (limits.stream_window != 65_535).then_some(limits.stream_window)),
            (setting::MAX_HEADER_LIST_SIZE, Some(u32::from(limits.head_bytes_max))),
            (setting::ENABLE_CONNECT_PROTOCOL, (is_server && limits.connects).then_some(1)),
            (setting::NO_RFC7540_PRIORITIES, is_server.then_some(1)),
            (setting::ENABLE_PUSH, (!is_server).then_some(0)),
        ];
        for (name, value) in settings {
            if let Some(value) = value {
                payload[count..count + 2].copy_from_slice(&name.to_be_bytes());
                payload[count + 2..count + 6].copy_from_slice(&value.to_be_bytes());
                count += 6;
            }
        }
        let preface = if is_server { 0 } else { PREFACE.len() };
        let frames = frame::put(out.get_mut(preface..)?, kind::SETTINGS, 0, 0, &[&payload[..count]])?;
        out[..preface].copy_from_slice(&PREFACE[..preface]);
        Some(preface + frames)
    }
}

impl Writing<'_> {
    #[inline]
    fn status(&mut self, engine: &mut Engine, status: StatusCode) {
        match STATUSES.iter().position(|&fixed| fixed == status.as_u16()) {
            Some(place) => self.fixed(engine, STATUS + place),
            None => self.fixed_name(engine, STATUS, status.as_str().as_bytes()),
        }
    }

    fn fixed(&mut self, engine: &Engine, index: usize) {
        self.count += engine.encoder.fixed(index, &mut self.out[self.count..]);
    }

    fn fixed_name(&mut self, engine: &Engine, index: usize, value: &[u8]) {
        self.count += engine.encoder.fixed_name(index, value, &mut self.out[self.count..]);
    }

    fn pseudo(&mut self, engine: &mut Engine, index: usize, name: &[u8], value: &[u8]) {
        self.count += engine.encoder.pseudo(index, name, value, &mut self.out[self.count..]);
    }

    #[inline]
    fn field(&mut self, engine: &mut Engine, known: Known, name: &[u8], value: &[u8]) {
        self.count += engine.encoder.field(known, name, value, &mut self.out[self.count..]);
    }

    /// Writes the heads of the frames, and says what all takes.
    fn finish(self, stream: u32, ends: bool, frame_bytes_max: usize) -> usize {
        let (before, out, mut block) = (self.before, self.out, self.count - HEAD_BYTES);
        let end_stream = if ends { flag::END_STREAM } else { 0 };
        if block <= frame_bytes_max {
            let flags = end_stream | flag::END_HEADERS;
            FrameHead { length: block, kind: kind::HEADERS, flags, stream }.write(out);
            return before + self.count;
        }
        FrameHead { length: frame_bytes_max, kind: kind::HEADERS, flags: end_stream, stream }.write(out);
        let mut at = HEAD_BYTES + frame_bytes_max;
        block -= frame_bytes_max;
        while block > 0 {
            let length = block.min(frame_bytes_max);
            // Once for every frame: blocks of more than one are rare, and those of more than two are not met.
            out.copy_within(at..at + block, at + HEAD_BYTES);
            let flags = if length == block { flag::END_HEADERS } else { 0 };
            FrameHead { length, kind: kind::CONTINUATION, flags, stream }.write(&mut out[at..]);
            at += HEAD_BYTES + length;
            block -= length;
        }
        before + at
    }
}
