//! The streams of HTTP/3 go through those of QUIC, which keeps what was written until the peer has it: so there is nothing to
//! gather, and what one stream does not take holds up no other.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use platform::Buf;
use platform::limits::CHUNK_BYTES_MAX;
use proto::h3::{CONTROL_BYTES_MIN, Code, Engine, Key, Limits, Own, Priority, Rest, Role, Standing};
use proto::message::{Checked, WriteError};
use shards::Counter;

use super::answers::Written;
use crate::conn::outbox::Supplies;
use crate::conn::streams::client::{Asked, Asks};
use crate::conn::streams::{self, Answer, Cut, Refusal, Wire};
use crate::conn::{Config, Exhausted, HEAD_BYTES_USUAL};
use crate::limits::{COPY_BODY_BYTES_MAX, H3_BATCH_MAX, H3_BODY_AHEAD_BYTES_MAX};
use crate::quic::{self, Dir, StreamId};
use crate::stats::NetStats;
use crate::{Headers, client};

/// A connection's engine, and the streams that it writes to.
pub(crate) struct Carrier {
    pub(super) engine: Engine,
    pub(super) quic: quic::Connection,
    /// The streams that the engine has to itself, once they are open.
    own: [Option<StreamId>; 3],
    /// A client's: a stream for the next request, once it is open.
    next: Option<StreamId>,
    /// By the places of the streams' keys.
    flows: Vec<Flow>,
    /// What is written to a stream is put together here, so that a head and a short body are one write, and leaves the rest of
    /// the memory to the next stream.
    written: Option<(StreamId, BytesMut)>,
    /// The ends of streams, and the last that is written to each: they are given to QUIC a batch at a time.
    ends: Vec<(StreamId, Bytes)>,
    /// What streams have not taken of what was written, and whether they are to be finished then. Heads, and short bodies.
    unwritten: Vec<(StreamId, Vec<u8>, bool)>,
    /// Streams that have pieces to be written, and may take some.
    offered: VecDeque<Key>,
    /// Streams that may have something to be read. QUIC knows those that have not any more.
    readable: VecDeque<StreamId>,
    /// Streams of which no more is read until somebody has taken of what was.
    paused: Vec<StreamId>,
}

/// How both ways of a stream stand.
#[derive(Clone, Copy, Default)]
struct Flow {
    key: Option<Key>,
    /// What was announced of the present piece and is not written.
    frame_bytes_left: usize,
    /// It takes no more, until it says so.
    is_shut: bool,
    /// What was read and nobody has taken.
    ahead: usize,
}

impl Flow {
    fn is_of(&self, id: StreamId) -> bool {
        self.key.is_some_and(|key| number(key) == id)
    }
}

/// What a connection is served with.
pub(super) type Means<'a> = streams::Means<'a, Carrier>;

impl Carrier {
    pub(super) fn new(engine: Engine, mut quic: quic::Connection) -> Self {
        // Who waits until all is acknowledged asks for how much is not.
        quic.without_finished();
        Carrier {
            engine,
            quic,
            own: [None; 3],
            next: None,
            flows: Vec::new(),
            written: None,
            ends: Vec::new(),
            unwritten: Vec::new(),
            offered: VecDeque::new(),
            readable: VecDeque::new(),
            paused: Vec::new(),
        }
    }

    fn flow(&self, key: Key) -> Flow {
        self.flows.get(key.place()).copied().filter(|flow| flow.key == Some(key)).unwrap_or_default()
    }

    fn flow_mut(&mut self, key: Key) -> &mut Flow {
        let place = key.place();
        if self.flows.len() <= place {
            self.flows.resize(place + 1, Flow::default());
        }
        let flow = &mut self.flows[place];
        if flow.key != Some(key) {
            *flow = Flow { key: Some(key), ..Flow::default() };
        }
        flow
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    /// The next event of QUIC's, but for those that only say of a stream that it has something to be read: these it remembers.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<quic::Event> {
        loop {
            while let Some(id) = self.quic.next_opened() {
                self.readable(id);
            }
            match ready!(self.quic.poll(cx)) {
                quic::Event::Opened(id) | quic::Event::Readable(id) => self.readable(id),
                event => return Poll::Ready(event),
            }
        }
    }

    /// A stream has something to be read.
    pub(super) fn readable(&mut self, id: StreamId) {
        self.readable.push_back(id);
    }

    /// The same, before all others.
    #[cold]
    pub(super) fn readable_first(&mut self, id: StreamId) {
        self.readable.push_front(id);
    }

    pub(super) fn has_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    pub(super) fn next_readable(&mut self) -> Option<StreamId> {
        self.readable.pop_front()
    }

    /// So much of a stream's body was read, to the end or not. Whether no more is to be read for now, since nobody takes it.
    pub(super) fn fed(&mut self, key: Key, count: usize, end: bool) -> bool {
        let flow = self.flow_mut(key);
        flow.ahead += count;
        let pauses = !end && flow.ahead > H3_BODY_AHEAD_BYTES_MAX;
        if pauses && !self.is_paused(number(key)) {
            self.paused.push(number(key));
        }
        pauses
    }

    pub(super) fn is_paused(&self, id: StreamId) -> bool {
        self.paused.contains(&id)
    }

    /// Has QUIC send a stream as urgently as its client wants it.
    pub(super) fn prioritize(&mut self, key: Key) {
        let usual = Priority::default().urgency;
        let priority = i32::from(usual) - i32::from(self.engine.priority(key).urgency);
        self.quic.set_priority(number(key), priority);
    }

    // ---- sending -----------------------------------------------------------------------------------------------------

    /// Lets the engine write for a stream, behind what was written for it.
    fn write<T>(
        &mut self,
        supplies: &Supplies,
        id: StreamId,
        mut bytes: usize,
        mut write: impl FnMut(&mut Engine, &mut [u8]) -> Result<(T, usize), WriteError>,
    ) -> Result<T, WriteError> {
        if self.written.as_ref().is_some_and(|(at, _)| *at != id) {
            self.pass_on(supplies, false);
        }
        let (_, block) = self.written.get_or_insert_with(|| (id, supplies.take_block()));
        let start = block.len();
        loop {
            block.resize(start + bytes, 0);
            let written = write(&mut self.engine, &mut block[start..]);
            block.truncate(start + written.as_ref().map_or(0, |(_, count)| *count));
            match written {
                Ok((written, _)) => return Ok(written),
                Err(WriteError::Full) if bytes < CHUNK_BYTES_MAX => bytes = (4 * bytes).min(CHUNK_BYTES_MAX),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives QUIC what was put together, and finishes the stream with it if nothing more is to come.
    fn pass_on(&mut self, supplies: &Supplies, is_last: bool) {
        if let Some((id, bytes)) = self.take_written(supplies) {
            self.put(id, bytes, is_last);
        }
    }

    fn take_written(&mut self, supplies: &Supplies) -> Option<(StreamId, Bytes)> {
        let (id, block) = self.written.take()?;
        Some((id, supplies.split_block(block)))
    }

    /// Writes to a stream; what it does not take waits.
    fn put(&mut self, id: StreamId, bytes: Bytes, is_last: bool) {
        if let Some((_, waiting, ends)) = self.unwritten.iter_mut().find(|(at, ..)| *at == id) {
            waiting.extend_from_slice(&bytes);
            *ends |= is_last;
            return;
        }
        if is_last {
            self.ends.push((id, bytes));
            if self.ends.len() >= H3_BATCH_MAX {
                self.pass_on_ends();
            }
            return;
        }
        let mut rest = [bytes];
        // Only what it takes nothing of will it say that it takes again.
        while !rest[0].is_empty() {
            match self.quic.write_chunks(id, &mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                // Nobody wants it any more; the reason comes as an event.
                Err(_) => rest[0].clear(),
            }
        }
        if !rest[0].is_empty() {
            self.unwritten.push((id, rest[0].to_vec(), false));
        }
    }

    /// Gives QUIC the last of streams, and finishes them; what they do not take waits.
    fn pass_on_ends(&mut self) {
        for (id, bytes) in self.ends.drain(..) {
            let mut rest = [bytes];
            // Only what it takes nothing of will it say that it takes again.
            loop {
                match self.quic.write_last(id, &mut rest) {
                    // Nobody wants it any more; the reason comes as an event.
                    Err(_) => break,
                    Ok(_) if rest[0].is_empty() => break,
                    Ok(0) => {
                        self.unwritten.push((id, rest[0].to_vec(), true));
                        break;
                    }
                    Ok(_) => {}
                }
            }
        }
    }

    /// Whether something that was written for a stream waits until that takes more.
    fn is_behind(&self, id: StreamId) -> bool {
        self.unwritten.iter().any(|(at, ..)| *at == id)
    }

    /// A stream takes more again.
    pub(super) fn writable(&mut self, id: StreamId) {
        if let Some(place) = self.unwritten.iter().position(|(at, ..)| *at == id) {
            let (_, bytes, is_last) = self.unwritten.swap_remove(place);
            self.put(id, bytes.into(), is_last);
            if self.is_behind(id) {
                return;
            }
        }
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.is_shut && flow.is_of(id)) {
            flow.is_shut = false;
            self.offered.extend(flow.key);
        }
    }

    /// Ends a stream as the engine says.
    pub(super) fn end_stream(&mut self, id: StreamId, rest: Rest) {
        if let Some(code) = rest.stop {
            self.quic.stop(id, code.0);
        }
        if let Some(code) = rest.reset {
            self.abandon(id, code);
        }
    }

    /// Resets what is sent on a stream, and forgets what was still to be.
    fn abandon(&mut self, id: StreamId, code: Code) {
        if self.written.as_ref().is_some_and(|(at, _)| *at == id) {
            self.written = None;
        }
        self.ends.retain(|(at, _)| *at != id);
        self.unwritten.retain(|(at, ..)| *at != id);
        self.quic.reset(id, code.0);
    }

    /// The peer wants no more of a stream, whatever is to become of it. Gives the stream of a piece that is cut off by that,
    /// if all of it was announced: to the engine it is as good as sent.
    pub(super) fn stopped(&mut self, id: StreamId, code: Code) -> Option<Key> {
        self.abandon(id, code);
        let cut = self.flows.iter_mut().find(|flow| flow.frame_bytes_left > 0 && flow.is_of(id))?;
        (cut.frame_bytes_left, cut.is_shut) = (0, false);
        cut.key
    }

    fn reset_with(&mut self, key: Key, code: Code) {
        let rest = self.engine.reset(key, code);
        let was_cut = std::mem::take(&mut self.flow_mut(key).frame_bytes_left) > 0;
        let reset = rest.reset.or(was_cut.then_some(code));
        self.end_stream(number(key), Rest { reset, ..rest });
    }

    /// Whether a message of ours has not been acknowledged to its end.
    pub(super) fn has_unacknowledged(&mut self) -> bool {
        let own = self.own.iter().flatten().count();
        self.quic.unacknowledged_streams() > own
    }
}

/// Room that most heads have enough of: they are measured before they are compressed.
const HEAD_ROOM_BYTES: usize = 2 * HEAD_BYTES_USUAL;

/// The stream that a key names.
pub(super) fn number(key: Key) -> StreamId {
    stream(key.id())
}

/// The stream of a number.
pub(super) fn stream(id: u64) -> StreamId {
    quic::stream(id)
}

impl Wire for Carrier {
    type Key = Key;
    type Code = Code;
    type Limits = Limits;

    fn limits(config: &Config) -> &Limits {
        &config.h3
    }

    fn streams_open(stats: &NetStats) -> &Counter {
        &stats.h3_streams_open
    }

    fn can_send(&self, key: Key) -> bool {
        self.engine.can_send(key) || self.flow(key).frame_bytes_left > 0
    }

    fn is_receiving(&self, key: Key) -> bool {
        self.engine.is_receiving(key)
    }

    fn is_held(&self, key: Key) -> bool {
        self.flow(key).is_shut || self.is_behind(number(key))
    }

    fn is_draining(&self) -> bool {
        self.engine.is_draining()
    }

    /// What waits to be written is bounded by the number of streams, and all else by windows.
    fn is_full(&self, _: Means<'_>) -> bool {
        false
    }

    fn has_control(&self) -> bool {
        self.written.is_some()
            || !self.ends.is_empty()
            || !self.readable.is_empty()
            || [Own::Control, Own::Encoder, Own::Decoder].into_iter().any(|own| self.engine.has_to_say(own))
    }

    fn control(&mut self, means: Means<'_>) -> Result<(), Exhausted> {
        // What the fields of an answer refer to goes before it.
        for own in [Own::Control, Own::Encoder, Own::Decoder] {
            while self.engine.has_to_say(own) {
                let id = match self.own[own as usize] {
                    Some(id) => id,
                    None => match self.quic.open(Dir::Uni) {
                        Some(id) => *self.own[own as usize].insert(id),
                        // The peer admits none yet.
                        None => break,
                    },
                };
                if self.is_behind(id) {
                    break;
                }
                let mut room = [0; 2 * CONTROL_BYTES_MIN];
                let count = self.engine.say(own, means.limits, &mut room);
                self.put(id, Bytes::copy_from_slice(&room[..count]), false);
            }
        }
        self.pass_on(means.supplies, false);
        self.pass_on_ends();
        Ok(())
    }

    fn keep(&mut self, key: Key) -> Key {
        self.engine.keep(key)
    }

    fn repeat(
        &mut self,
        means: Means<'_>,
        key: Key,
        (status, headers): (StatusCode, &Headers),
        standing: Standing<'_>,
        content: &mut Buf,
    ) -> bool {
        if self.engine.peer_has_table() || content.len() > COPY_BODY_BYTES_MAX {
            return false;
        }
        let mut answers = means.supplies.answers();
        let written = answers.of(status, headers, standing);
        let Some(beginning) = written.beginning(content.len()) else { return false };
        if !self.engine.repeat(key) {
            return false;
        }
        let body = content.as_slice();
        let whole = written.with(body).unwrap_or_else(|| {
            let mut block = means.supplies.take_block();
            block.extend_from_slice(beginning);
            block.extend_from_slice(body);
            means.supplies.split_block(block)
        });
        *content = Buf::EMPTY;
        self.pass_on(means.supplies, false);
        self.put(number(key), whole, true);
        true
    }

    fn head(
        &mut self,
        means: Means<'_>,
        key: Key,
        answer: Answer<'_>,
        standing: Standing<'_>,
        content: &mut Buf,
    ) -> Result<bool, Refusal> {
        let Answer { status, headers, length } = answer;
        let fields = headers.iter().map(|(name, value)| Checked(name, value));
        let id = number(key);
        let body = if content.len() <= COPY_BODY_BYTES_MAX { content.as_slice() } else { &[] };
        let (mut answers, mut unknown);
        let written = match self.engine.peer_has_table() {
            true => {
                unknown = Written::default();
                &mut unknown
            }
            false => {
                answers = means.supplies.answers();
                answers.of(status, headers, standing)
            }
        };
        let is_first = self.written.as_ref().is_none_or(|(at, _)| *at != id);
        let body_room = CONTROL_BYTES_MIN + body.len();
        let is_whole = self.write(means.supplies, id, HEAD_ROOM_BYTES + body_room, |engine, room| {
            let section = &mut written.section;
            let mut count = engine.respond(key, status, fields.clone(), standing, length, section, room)?;
            let is_whole = !body.is_empty() && engine.can_send(key) && room.len() - count >= body_room;
            if is_whole {
                count += engine.data(key, body.len(), true, &mut room[count..])?;
                room[count..count + body.len()].copy_from_slice(body);
                count += body.len();
            }
            Ok((is_whole, count))
        })?;
        if is_whole {
            if let Some((_, whole)) = self.take_written(means.supplies) {
                if is_first {
                    written.keep(&whole, body.len());
                }
                self.put(id, whole, true);
            }
            *content = Buf::EMPTY;
        }
        let goes_on = self.engine.can_send(key);
        if !goes_on {
            self.pass_on(means.supplies, true);
        }
        Ok(goes_on)
    }

    /// All of it as one frame, of which the stream takes as much as windows admit.
    fn piece(&mut self, means: Means<'_>, key: Key, buf: &mut Buf, is_last: bool) -> Result<(), Exhausted> {
        let id = number(key);
        if self.is_held(key) {
            return Ok(());
        }
        let mut left = self.flow(key).frame_bytes_left;
        if left == 0 {
            let bytes = match buf.len() <= COPY_BODY_BYTES_MAX {
                true => buf.len() + CONTROL_BYTES_MIN,
                false => CONTROL_BYTES_MIN,
            };
            let short = bytes > CONTROL_BYTES_MIN;
            let announced = self.write(means.supplies, id, bytes, |engine, room| {
                let head = engine.data(key, buf.len(), is_last, room)?;
                if short {
                    room[head..head + buf.len()].copy_from_slice(buf.as_slice());
                }
                Ok(((), head + if short { buf.len() } else { 0 }))
            });
            match announced {
                Ok(()) if short || buf.is_empty() => {
                    *buf = Buf::EMPTY;
                    if is_last {
                        self.pass_on(means.supplies, true);
                    }
                    return Ok(());
                }
                Ok(()) => left = buf.len(),
                Err(_) => {
                    *buf = Buf::EMPTY;
                    return Ok(());
                }
            }
        }
        self.pass_on(means.supplies, false);
        self.flow_mut(key).frame_bytes_left = left;
        if self.is_behind(id) {
            return Ok(());
        }
        let mut bytes = [into_bytes(std::mem::take(buf))];
        let mut is_wanted = true;
        while is_wanted && !bytes[0].is_empty() {
            match self.quic.write_chunks(id, &mut bytes) {
                Ok(0) => break,
                written => is_wanted = written.is_ok(),
            }
        }
        let [rest] = bytes;
        if !is_wanted || rest.is_empty() {
            self.flow_mut(key).frame_bytes_left = 0;
            if is_last {
                let _ = self.quic.finish(id);
            }
        } else {
            let flow = self.flow_mut(key);
            (flow.frame_bytes_left, flow.is_shut) = (rest.len(), true);
            *buf = Buf::Bytes(rest);
        }
        Ok(())
    }

    fn end(&mut self, means: Means<'_>, key: Key, trailers: &Headers) -> Result<(), Refusal> {
        let fields = trailers.iter().map(|(name, value)| Checked(name, value));
        let id = number(key);
        self.write(means.supplies, id, HEAD_ROOM_BYTES, |engine, room| match trailers.is_empty() {
            true => engine.data(key, 0, true, room).map(|count| ((), count)),
            false => engine.trailers(key, fields.clone(), room).map(|count| ((), count)),
        })?;
        self.pass_on(means.supplies, true);
        Ok(())
    }

    fn offer(&mut self, key: Key) {
        if !self.is_held(key) {
            self.offered.push_back(key);
        } else {
            // It is offered when the stream says that it takes more.
            self.flow_mut(key).is_shut = true;
        }
    }

    fn pick(&mut self) -> Option<Key> {
        self.offered.pop_front()
    }

    fn reset(&mut self, key: Key, cut: Cut) {
        let code = match cut {
            Cut::Internal => Code::INTERNAL_ERROR,
            Cut::Cancel => Code::REQUEST_CANCELLED,
        };
        self.reset_with(key, code);
    }

    fn consume(&mut self, key: Key, count: usize, _: &Limits) {
        let flow = self.flow_mut(key);
        flow.ahead = flow.ahead.saturating_sub(count);
        if flow.ahead <= H3_BODY_AHEAD_BYTES_MAX / 2
            && let Some(place) = self.paused.iter().position(|id| *id == number(key))
        {
            self.paused.swap_remove(place);
            self.readable(number(key));
        }
    }

    fn carries_datagrams(&self) -> bool {
        true
    }

    fn datagram_bytes_max(&mut self, key: Key) -> Option<usize> {
        let head = self.engine.datagram(key, &mut [0; CONTROL_BYTES_MIN]).ok()?;
        self.quic.datagram_bytes_max()?.checked_sub(head)
    }

    fn datagram(&mut self, key: Key, payload: &[u8]) -> bool {
        let mut head = [0; CONTROL_BYTES_MIN];
        let Ok(count) = self.engine.datagram(key, &mut head) else { return false };
        self.quic.send_datagram([&head[..count], payload].concat().into()).is_ok()
    }

    fn release(&mut self, key: Key, _: &Limits) {
        let place = key.place();
        let has_flow = self.flows.get(place).is_some_and(|flow| flow.key == Some(key));
        if has_flow && self.flows[place].frame_bytes_left > 0 {
            let code = match self.engine.role() {
                Role::Server => Code::INTERNAL_ERROR,
                Role::Client => Code::REQUEST_CANCELLED,
            };
            self.reset_with(key, code);
        }
        let rest = self.engine.release(key);
        self.end_stream(number(key), rest);
        if has_flow {
            self.flows[place] = Flow::default();
            self.paused.retain(|id| *id != number(key));
        }
    }

    fn drain(&mut self) -> bool {
        let is_news = !self.engine.is_draining() && !self.engine.is_closed();
        if is_news {
            self.engine.drain();
        }
        is_news
    }

    fn finish(&mut self) {
        self.engine.finish();
    }
}

impl Asks for Carrier {
    const UNPROCESSED: Code = Code::REQUEST_REJECTED;

    fn limits_of(config: &client::Config) -> &Limits {
        &config.h3
    }

    fn code(code: Code) -> client::Code {
        client::Code::Http3(code)
    }

    fn takes_requests(&self) -> bool {
        !self.engine.is_draining() && !self.engine.is_closed() && !self.quic.is_closed()
    }

    fn can_ask(&mut self, limits: &Limits) -> bool {
        if !self.engine.can_open(limits) {
            return false;
        }
        self.next = self.next.or_else(|| self.quic.open(Dir::Bi));
        self.next.is_some()
    }

    fn ask(&mut self, means: Means<'_>, asked: Asked<'_>) -> Result<Key, Refusal> {
        let Some(id) = self.next else { return Err(Refusal::Unwritable(WriteError::NotExpected)) };
        let lines = asked.lines().map(|(name, value)| Checked(name, value));
        let key = self.write(means.supplies, id, HEAD_ROOM_BYTES, |engine, room| {
            engine.request(id.into(), asked.pseudo, lines.clone(), asked.length, means.limits, room)
        })?;
        self.next = None;
        if !self.engine.can_send(key) {
            self.pass_on(means.supplies, true);
        }
        Ok(key)
    }

    fn stream_count(&self) -> usize {
        self.engine.stream_count()
    }

    fn close(&mut self) {
        self.quic.close(Code::NO_ERROR.0, b"");
    }
}

impl streams::Key for Key {
    fn place(self) -> usize {
        Key::place(self)
    }

    fn number(self) -> u32 {
        self.id() as u32
    }
}

/// In a form that QUIC may keep until the peer has it.
pub(in crate::conn) fn into_bytes(buf: Buf) -> Bytes {
    match buf {
        Buf::Chunk(chunk) => chunk.share(),
        Buf::Bytes(bytes) => bytes,
        Buf::Vec(bytes) => bytes.into(),
        Buf::Static(bytes) => Bytes::from_static(bytes),
    }
}
