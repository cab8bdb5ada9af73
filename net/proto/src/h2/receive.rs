//! From bytes to events.

use std::time::Duration;

use http::{Method, Version};

use super::engine::{Block, Ending, Engine, Phase, Receiving, end};
use super::error::{Code, Error};
use super::frame::{self, FrameHead, HEAD_BYTES, NUMBER_MAX, PREFACE, flag, kind, setting};
use super::limits::{FRAME_BYTES_MAX, Limits, SETTINGS_MAX};
use super::streams::{Key, Side};
use super::{Event, Role, Scratch, Step};
use crate::head::{HeadTable, Known};
use crate::hpack::Arena;
use crate::message::Priority;
use crate::message::head::{Bounds, Filling, Kind, Verdict};

/// Where what is received goes, and what is known besides.
struct With<'a> {
    scratch: &'a mut Scratch,
    table: &'a mut HeadTable,
    now: Duration,
    limits: &'a Limits,
}

impl Engine {
    /// Looks at all input not yet consumed and says what comes first in it. To be called until it says [`Event::NeedMore`],
    /// and again when there is more.
    ///
    /// A frame other than of data must be contiguous, up to [`FRAME_BYTES_MAX`] and nine bytes: what is not consumed must
    /// be shown again with more behind it. Data is always consumed. `table` and `scratch` belong to this call; what they hold
    /// after a head or trailers stays until the next. `now` is the time of any clock that goes forwards.
    ///
    /// After an error nothing more is read, and [`control`](Engine::control) has the GOAWAY to send.
    pub fn receive(
        &mut self,
        input: &[u8],
        scratch: &mut Scratch,
        table: &mut HeadTable,
        now: Duration,
        limits: &Limits,
    ) -> Result<Step, Error> {
        let mut at = 0;
        match self.receive_frames(input, &mut at, With { scratch, table, now, limits }) {
            // A failure may also have been found on the way to an event.
            Ok(Some(event)) => Ok(Step { consumed: at, event }),
            Ok(None) if self.phase == Phase::Closed => Ok(Step { consumed: input.len(), event: Event::Closed }),
            Ok(None) => Ok(Step { consumed: at, event: Event::NeedMore }),
            Err(error) => {
                self.fail(error);
                Err(error)
            }
        }
    }

    fn receive_frames(&mut self, input: &[u8], at: &mut usize, mut with: With<'_>) -> Result<Option<Event>, Error> {
        loop {
            match self.phase {
                Phase::Closed => return Ok(None),
                Phase::Preface => {
                    let count = input.len().min(PREFACE.len());
                    if input[..count] != PREFACE[..count] {
                        return Err(Error::protocol("the connection does not begin with the preface of HTTP/2"));
                    }
                    if count < PREFACE.len() {
                        return Ok(None);
                    }
                    *at = count;
                    self.phase = Phase::Settings;
                }
                Phase::Settings | Phase::Open => {}
            }
            if self.data.is_some() {
                if let Some(event) = self.data_piece(input, at, &mut with)? {
                    return Ok(Some(event));
                }
                if self.data.is_some() {
                    return Ok(None);
                }
                continue;
            }
            let rest = &input[*at..];
            let Some(head) = FrameHead::read(rest) else { return Ok(None) };
            if head.length > FRAME_BYTES_MAX {
                return Err(Error::size("a frame is longer than was granted"));
            }
            if self.phase == Phase::Settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
                return Err(Error::protocol("the first frame is not of settings"));
            }
            if let Some(block) = &self.block
                && (head.kind != kind::CONTINUATION || head.stream != block.stream)
            {
                return Err(Error::protocol("a field block is not continued"));
            }
            if head.kind == kind::DATA {
                match self.data_head(head, &rest[HEAD_BYTES..], &mut with)? {
                    None => return Ok(None),
                    Some((count, event)) => {
                        *at += HEAD_BYTES + count;
                        if event.is_some() {
                            return Ok(event);
                        }
                    }
                }
                continue;
            }
            let Some(payload) = rest.get(HEAD_BYTES..HEAD_BYTES + head.length) else { return Ok(None) };
            *at += HEAD_BYTES + head.length;
            if let Some(event) = self.frame(head, payload, &mut with)? {
                return Ok(Some(event));
            }
        }
    }

    fn frame(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        let (now, limits) = (with.now, with.limits);
        match head.kind {
            kind::HEADERS => self.headers(head, payload, with),
            kind::CONTINUATION => self.continuation(head, payload, with),
            kind::SETTINGS => self.settings(head, payload, with).map(|()| None),
            kind::WINDOW_UPDATE => self.window_update(head, payload, with),
            kind::RST_STREAM => self.rst_stream(head, payload, with),
            kind::PING => self.ping(head, payload, with).map(|()| None),
            kind::GOAWAY => {
                if head.stream != 0 {
                    return Err(Error::protocol("a GOAWAY is for a stream"));
                }
                let (Some(last), Some(code)) =
                    (frame::number(payload), frame::number(payload.get(4..).unwrap_or_default()))
                else {
                    return Err(Error::size("a GOAWAY is too short"));
                };
                self.idle_work(1, now, limits, "too many GOAWAY")?;
                Ok(Some(Event::GoAway { last: last & NUMBER_MAX, code: Code(code) }))
            }
            kind::PRIORITY => {
                if head.stream == 0 {
                    return Err(Error::protocol("a PRIORITY is for no stream"));
                }
                self.idle_work(1, now, limits, "too many PRIORITY frames")?;
                if payload.len() != 5 {
                    return self.stream_error(head.stream, Code::FRAME_SIZE_ERROR, with);
                }
                Ok(None)
            }
            kind::PRIORITY_UPDATE => self.priority_update(head, payload, with).map(|()| None),
            kind::PUSH_PROMISE => Err(Error::protocol("a push, which we have disabled or which a client cannot send")),
            // RFC 9113 section 4.1.
            _ => self.idle_work(1, now, limits, "too many frames of an unknown kind").map(|()| None),
        }
    }

    // ---- data --------------------------------------------------------------------------------------------------------

    /// The beginning of a frame of data. `None` if more of it must come first; else how much of the payload is done with.
    #[inline]
    fn data_head(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        with: &mut With<'_>,
    ) -> Result<Option<(usize, Option<Event>)>, Error> {
        if head.stream == 0 {
            return Err(Error::protocol("data is for no stream"));
        }
        let (mut skip, mut padding) = (0, 0);
        if head.has(flag::PADDED) {
            if head.length == 0 {
                return Err(Error::size("padded data has no length of its padding"));
            }
            let Some(&count) = payload.first() else { return Ok(None) };
            (skip, padding) = (1, usize::from(count));
            if padding >= head.length {
                return Err(Error::protocol("data has more padding than the frame has room for"));
            }
        }
        let (length, count) = (head.length as i32, head.length - skip - padding);
        if length > self.recv_window {
            return Err(Error::flow("more data than the connection's window admits"));
        }
        self.recv_window -= length;
        self.buffered += head.length as u32;
        let end = head.has(flag::END_STREAM);
        if count == 0 && !end {
            self.idle_work(1, with.now, with.limits, "too many empty frames of data")?;
        }
        let mut receiving = Receiving { key: None, left: count, padding, end };
        let event = match self.streams.find(head.stream) {
            None => {
                self.data_of_closed(head.stream, with)?;
                None
            }
            Some(key) => {
                let stream = self.streams.get_mut(key).expect("it was found");
                if stream.is_reset {
                    self.after_reset(key, with)?;
                    None
                } else if stream.received != Side::Body {
                    self.reset_by(key, Code::STREAM_CLOSED, with)?
                } else if length > stream.recv_window {
                    self.reset_by(key, Code::FLOW_CONTROL_ERROR, with)?
                } else if stream.left != u64::MAX && (stream.left < count as u64 || end && stream.left != count as u64)
                {
                    self.reset_by(key, Code::PROTOCOL_ERROR, with)?
                } else {
                    stream.recv_window -= length;
                    stream.buffered += head.length as u32;
                    if stream.left != u64::MAX {
                        stream.left -= count as u64;
                    }
                    receiving.key = Some(key);
                    // What is no data has no reader.
                    let overhead = skip + padding;
                    if overhead > 0 {
                        self.consume(key, overhead, with.limits);
                    }
                    None
                }
            }
        };
        if receiving.key.is_none() {
            self.credit(head.length as u32, with.limits);
        }
        self.data = Some(receiving);
        Ok(Some((skip, event)))
    }

    /// What there is of a frame of data.
    #[inline]
    fn data_piece(&mut self, input: &[u8], at: &mut usize, with: &mut With<'_>) -> Result<Option<Event>, Error> {
        let Some(data) = &mut self.data else { return Ok(None) };
        let count = data.left.min(input.len() - *at);
        let range = *at..*at + count;
        *at += count;
        data.left -= count;
        let is_last = data.left == 0;
        let (key, end) = (data.key, data.end && is_last);
        if is_last {
            let skipped = data.padding.min(input.len() - *at);
            data.padding -= skipped;
            *at += skipped;
            // The end is said once, though padding is to come.
            data.end = false;
            if data.padding == 0 {
                self.data = None;
            }
        }
        let Some(key) = key.filter(|_| count > 0 || end) else { return Ok(None) };
        let Some(stream) = self.streams.get_mut(key) else {
            // It was released while its data was on the way: the connection has its credit already.
            return Ok(None);
        };
        if stream.is_reset {
            self.consume(key, count, with.limits);
            return Ok(None);
        }
        if end {
            stream.received = Side::Ended;
        }
        Ok(Some(Event::Data { key, range, end }))
    }

    // ---- heads -------------------------------------------------------------------------------------------------------

    fn headers(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        if head.stream == 0 || head.stream.is_multiple_of(2) {
            return Err(Error::protocol("a head is for a stream that a client cannot open"));
        }
        let mut block = payload;
        if head.has(flag::PADDED) {
            let (&padding, rest) =
                block.split_first().ok_or(Error::size("a padded head has no length of its padding"))?;
            let count = rest.len().checked_sub(usize::from(padding));
            block = &rest[..count.ok_or(Error::protocol("a head has more padding than the frame has room for"))?];
        }
        if head.has(flag::PRIORITY) {
            // RFC 9113 section 5.3.2: there, and without a meaning.
            block = block.get(5..).ok_or(Error::size("a head is too short for its priority"))?;
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.field_block(head.stream, end_stream, block, with);
        }
        self.block = Some(Box::new(Block { stream: head.stream, end_stream, bytes: block.to_vec(), frames: 0 }));
        Ok(None)
    }

    fn continuation(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        let Some(block) = &mut self.block else {
            return Err(Error::protocol("a CONTINUATION continues nothing"));
        };
        block.frames += 1;
        if block.frames > with.limits.continuation_count_max {
            return Err(Error::calm("a field block has too many frames"));
        }
        if block.bytes.len() + payload.len() > with.limits.block_bytes_max as usize {
            return Err(Error::calm("a field block is too long"));
        }
        block.bytes.extend_from_slice(payload);
        if !head.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let block = self.block.take().expect("it was there");
        self.field_block(block.stream, block.end_stream, &block.bytes, with)
    }

    /// A whole field block. Whatever it is for, it is decoded: those that come after build on it.
    fn field_block(&mut self, id: u32, end: bool, block: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        match self.streams.find(id) {
            Some(key) => self.block_of(key, end, block, with),
            None if self.role == Role::Server && id > self.last_id => self.request_block(id, end, block, with),
            None => {
                let is_recent = self.recent.contains(&id) || self.is_beyond_end(id);
                self.decode(Kind::Ignored, end, block, with)?.ok();
                match is_recent {
                    true => Ok(None),
                    false if self.is_idle(id) => Err(Error::protocol("a head is for a stream that nobody has opened")),
                    // RFC 9113 section 5.1.1, as far as it is remembered: this one was left out.
                    false if id > self.before_last_id && id < self.last_id => {
                        Err(Error::protocol("a stream has a smaller number than one before it"))
                    }
                    false => Err(Error::closed("a head is for a stream that has ended")),
                }
            }
        }
    }

    /// The head of a request.
    fn request_block(&mut self, id: u32, end: bool, block: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        if self.is_beyond_end(id) {
            self.decode(Kind::Ignored, end, block, with)?.ok();
            return Ok(None);
        }
        self.before_last_id = self.last_id;
        self.last_id = id;
        if self.streams.len() >= usize::from(with.limits.streams_max) {
            self.decode(Kind::Ignored, end, block, with)?.ok();
            self.idle_work(1, with.now, with.limits, "too many streams that were refused")?;
            self.refused = self.refused.wrapping_add(1);
            self.say_reset(id, Code::REFUSED_STREAM);
            return Ok(None);
        }
        let verdict = self.decode(Kind::Request, end, block, with)?;
        if let Err(Verdict::Malformed(_)) = verdict {
            self.idle_work(1, with.now, with.limits, "too many malformed requests")?;
            self.say_reset(id, Code::PROTOCOL_ERROR);
            return Ok(None);
        }
        // The last numbers: a new connection has more (RFC 9113 section 5.1.1).
        if id > NUMBER_MAX - 1024 {
            self.drain();
        }
        let key = self.streams.open(id, (self.peer.stream_window as i32, with.limits.stream_window));
        let stream = self.streams.get_mut(key).expect("it was opened");
        stream.received = if end { Side::Ended } else { Side::Body };
        let Ok(head) = verdict else { return Ok(Some(Event::HeadTooLarge { key })) };
        stream.left = head.length.unwrap_or(u64::MAX);
        stream.is_head = with.table.method == Method::HEAD;
        stream.is_connect = head.is_connect;
        if let Some(value) = with.table.get(with.scratch.block(), Known::Priority) {
            stream.priority = Priority::of(value);
        }
        Ok(Some(Event::Head { key, head }))
    }

    /// A field block of a stream that is open: a response, or trailers.
    fn block_of(&mut self, key: Key, end: bool, block: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        let stream = self.streams.get(key).expect("it was found");
        let (received, is_reset) = (stream.received, stream.is_reset);
        let (is_head, is_connect) = (stream.is_head, stream.is_connect);
        let kind = match received {
            _ if is_reset => Kind::Ignored,
            Side::Head => Kind::Response,
            Side::Body => Kind::Trailers,
            Side::Ended => Kind::Ignored,
        };
        let verdict = self.decode(kind, end, block, with)?;
        if is_reset {
            return self.after_reset(key, with).map(|()| None);
        }
        let stream = self.streams.get_mut(key).expect("it was found");
        match (kind, verdict) {
            (Kind::Ignored, _) => self.reset_by(key, Code::STREAM_CLOSED, with),
            (Kind::Request, _) => unreachable!("a request opens a stream"),
            (_, Err(Verdict::Malformed(_))) => self.reset_by(key, Code::PROTOCOL_ERROR, with),
            (_, Err(Verdict::TooLarge)) => self.reset_by(key, Code::ENHANCE_YOUR_CALM, with),
            // RFC 9113 section 8.5: a tunnel carries data and nothing else.
            (Kind::Trailers, Ok(_)) if is_connect => self.reset_by(key, Code::PROTOCOL_ERROR, with),
            // RFC 9113 section 8.1: trailers end the message; and so they must end it where it was to end.
            (Kind::Trailers, Ok(_)) if !end || stream.left != u64::MAX && stream.left != 0 => {
                self.reset_by(key, Code::PROTOCOL_ERROR, with)
            }
            (Kind::Trailers, Ok(_)) => {
                stream.received = Side::Ended;
                Ok(Some(Event::Trailers { key }))
            }
            (Kind::Response, Ok(head)) => {
                let status = with.table.status;
                if status.is_informational() {
                    if end {
                        return self.reset_by(key, Code::PROTOCOL_ERROR, with);
                    }
                    self.idle_work(1, with.now, with.limits, "too many interim responses")?;
                    return Ok(Some(Event::Head { key, head }));
                }
                // What is refused is an answer like others.
                stream.is_connect &= status.is_success();
                let is_bodiless = is_head || status == http::StatusCode::NOT_MODIFIED;
                let length = head.length.filter(|_| !stream.is_connect);
                stream.left = if is_bodiless { 0 } else { length.unwrap_or(u64::MAX) };
                if end && stream.left != 0 && stream.left != u64::MAX {
                    return self.reset_by(key, Code::PROTOCOL_ERROR, with);
                }
                stream.received = if end { Side::Ended } else { Side::Body };
                Ok(Some(Event::Head { key, head }))
            }
        }
    }

    fn decode(
        &mut self,
        kind: Kind,
        end: bool,
        block: &[u8],
        with: &mut With<'_>,
    ) -> Result<Result<super::Head, Verdict>, Error> {
        let mut arena = Arena::new(&mut with.scratch.room);
        let Limits { head_bytes_max, field_count_max, .. } = *with.limits;
        let bounds = Bounds { version: Version::HTTP_2, bytes_max: head_bytes_max, count_max: field_count_max };
        let mut filling = Filling::new(kind, with.table, bounds);
        self.decoder
            .decode(block, &mut arena, &mut filling)
            .map_err(|_| Error { code: Code::COMPRESSION_ERROR, what: "a field block cannot be decoded" })?;
        let verdict = filling.finish(&mut arena, end, with.limits.connects);
        with.scratch.count = arena.len();
        Ok(verdict)
    }

    // ---- what concerns the connection --------------------------------------------------------------------------------

    fn settings(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<(), Error> {
        if head.stream != 0 {
            return Err(Error::protocol("settings are for a stream"));
        }
        if head.has(flag::ACK) {
            return if payload.is_empty() {
                Ok(())
            } else {
                Err(Error::size("settings acknowledge with more than a word"))
            };
        }
        let (entries, []) = payload.as_chunks::<6>() else {
            return Err(Error::size("settings are cut off"));
        };
        if self.phase == Phase::Open {
            self.idle_work(1 + entries.len() as u32 / 16, with.now, with.limits, "too many settings")?;
        }
        for &[high, low, a, b, c, d] in entries {
            self.setting(u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]))?;
        }
        self.phase = Phase::Open;
        if self.pending.settings_acks == SETTINGS_MAX {
            return Err(Error::calm("more settings than the peer takes acknowledgements of"));
        }
        self.pending.settings_acks += 1;
        Ok(())
    }

    fn setting(&mut self, name: u16, value: u32) -> Result<(), Error> {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.set_size_max(value),
            setting::ENABLE_PUSH if value > 1 || value == 1 && self.role == Role::Client => {
                return Err(Error::protocol("a setting of pushes that there is not"));
            }
            setting::MAX_CONCURRENT_STREAMS => self.peer.streams_max = value,
            setting::INITIAL_WINDOW_SIZE => {
                if value > NUMBER_MAX {
                    return Err(Error::flow("a window is set that is too large"));
                }
                let change = i64::from(value) - i64::from(self.peer.stream_window);
                self.peer.stream_window = value;
                for stream in self.streams.iter_mut() {
                    let window = i64::from(stream.send_window) + change;
                    stream.send_window = i32::try_from(window)
                        .map_err(|_| Error::flow("a window is set that is too large for a stream"))?;
                }
                if change > 0 {
                    self.list_all();
                }
            }
            setting::MAX_FRAME_SIZE => {
                if !(16_384..=0xff_ffff).contains(&value) {
                    return Err(Error::protocol("a frame size is set that is none"));
                }
                self.peer.frame_bytes_max = value;
            }
            setting::ENABLE_CONNECT_PROTOCOL => {
                if value > 1 || value == 0 && self.peer.connects {
                    return Err(Error::protocol("a setting of CONNECT that there is not"));
                }
                self.peer.connects = value == 1;
            }
            setting::NO_RFC7540_PRIORITIES if value > 1 => {
                return Err(Error::protocol("a setting of priorities that there is not"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Lists whoever wants to send and may again.
    fn list_all(&mut self) {
        let may: Vec<Key> = self.streams.waiting().collect();
        for key in may {
            self.streams.list(key);
        }
    }

    fn window_update(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        let [a, b, c, d] = *payload else { return Err(Error::size("a window update is not of four bytes")) };
        let increment = (u32::from_be_bytes([a, b, c, d]) & NUMBER_MAX) as i32;
        // Those that answer data are of use.
        match self.updates.checked_sub(1) {
            Some(left) => self.updates = left,
            None => self.idle_work(1, with.now, with.limits, "too many window updates")?,
        }
        if head.stream == 0 {
            if increment == 0 {
                return Err(Error::protocol("the connection's window is updated by nothing"));
            }
            let window = self.send_window.checked_add(increment);
            self.send_window = window.ok_or(Error::flow("the connection's window is too large"))?;
            return Ok(None);
        }
        let Some(key) = self.streams.find(head.stream) else {
            return match self.is_idle(head.stream) {
                true => Err(Error::protocol("a window update is for a stream that nobody has opened")),
                false => Ok(None),
            };
        };
        let stream = self.streams.get_mut(key).expect("it was found");
        if stream.is_reset {
            return Ok(None);
        }
        if increment == 0 {
            return self.reset_by(key, Code::PROTOCOL_ERROR, with);
        }
        match stream.send_window.checked_add(increment) {
            None => self.reset_by(key, Code::FLOW_CONTROL_ERROR, with),
            Some(window) => {
                stream.send_window = window;
                if stream.wants && window > 0 {
                    self.streams.list(key);
                }
                Ok(None)
            }
        }
    }

    fn rst_stream(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<Option<Event>, Error> {
        let [a, b, c, d] = *payload else { return Err(Error::size("a reset is not of four bytes")) };
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Error::protocol("a reset is for a stream that nobody has opened"));
        }
        self.idle_work(1, with.now, with.limits, "too many streams are reset")?;
        let Some(key) = self.streams.find(head.stream) else { return Ok(None) };
        let stream = self.streams.get_mut(key).expect("it was found");
        if stream.is_reset {
            return Ok(None);
        }
        end(stream);
        stream.is_left = true;
        self.streams.unlist(key);
        Ok(Some(Event::Reset { key, code: Code(u32::from_be_bytes([a, b, c, d])) }))
    }

    fn ping(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<(), Error> {
        let Some(&bytes) = payload.first_chunk::<8>().filter(|_| payload.len() == 8) else {
            return Err(Error::size("a ping is not of eight bytes"));
        };
        if head.stream != 0 {
            return Err(Error::protocol("a ping is for a stream"));
        }
        if head.has(flag::ACK) {
            if self.ending == Ending::Announced && bytes == super::send::DRAIN_PING {
                self.finish();
            }
            return Ok(());
        }
        self.idle_work(1, with.now, with.limits, "too many pings")?;
        if !self.has_room_for_ping() {
            return Err(Error::calm("more pings than the peer takes answers to"));
        }
        self.pending.pings.push(bytes);
        Ok(())
    }

    fn priority_update(&mut self, head: FrameHead, payload: &[u8], with: &mut With<'_>) -> Result<(), Error> {
        if head.stream != 0 {
            return Err(Error::protocol("a priority update is for a stream"));
        }
        let Some(id) = frame::number(payload) else { return Err(Error::size("a priority update is cut off")) };
        self.idle_work(1, with.now, with.limits, "too many priority updates")?;
        if let Some(key) = self.streams.find(id & NUMBER_MAX) {
            self.streams.set_priority(key, Priority::of(&payload[4..]));
        }
        Ok(())
    }

    // ---- streams that are not open -----------------------------------------------------------------------------------

    /// Whether nobody has opened this stream yet.
    fn is_idle(&self, id: u32) -> bool {
        match (self.role, id % 2) {
            (Role::Server, 1) => id > self.last_id,
            (Role::Client, 1) => id >= self.next_id,
            // Pushes there are none.
            _ => true,
        }
    }

    /// Whether this stream is one of those that are not looked at any more.
    fn is_beyond_end(&self, id: u32) -> bool {
        matches!(self.ending, Ending::Last(last) if id > last && self.role == Role::Server)
    }

    /// Data came for a stream that is not known.
    fn data_of_closed(&mut self, id: u32, with: &With<'_>) -> Result<(), Error> {
        if self.recent.contains(&id) || self.is_beyond_end(id) {
            return Ok(());
        }
        if self.is_idle(id) {
            return Err(Error::protocol("data is for a stream that nobody has opened"));
        }
        self.idle_work(1, with.now, with.limits, "too much data for streams that have ended")?;
        self.say_reset(id, Code::STREAM_CLOSED);
        Ok(())
    }

    /// Something came for a stream that was reset: of one that we have reset that is no mistake (RFC 9113 section 5.1).
    fn after_reset(&mut self, key: Key, with: &With<'_>) -> Result<(), Error> {
        if self.streams.get_mut(key).is_some_and(|stream| std::mem::take(&mut stream.is_left)) {
            self.idle_work(1, with.now, with.limits, "too much for streams that were reset")?;
            self.say_reset(key.id, Code::STREAM_CLOSED);
        }
        Ok(())
    }

    /// An error of one stream, whether it is open or not.
    fn stream_error(&mut self, id: u32, code: Code, with: &mut With<'_>) -> Result<Option<Event>, Error> {
        match self.streams.find(id) {
            Some(key) => self.reset_by(key, code, with),
            // RFC 9113 section 6.4: what nobody has opened cannot be reset.
            None if self.is_idle(id) => {
                Err(Error { code, what: "a mistake was made on a stream that nobody has opened" })
            }
            None => {
                self.say_reset(id, code);
                Ok(None)
            }
        }
    }

    /// Resets a stream for what the peer has done on it.
    fn reset_by(&mut self, key: Key, code: Code, with: &mut With<'_>) -> Result<Option<Event>, Error> {
        self.idle_work(1, with.now, with.limits, "too many streams were reset for its mistakes")?;
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.is_reset) else { return Ok(None) };
        end(stream);
        self.streams.unlist(key);
        self.say_reset(key.id, code);
        Ok(Some(Event::Reset { key, code }))
    }
}
