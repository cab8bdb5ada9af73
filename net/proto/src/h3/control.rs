//! What comes on streams that go one way: what the connection itself is told, and the tables.

use super::engine::Engine;
use super::error::{Code, Error};
use super::frame::{At, Beginning, FrameHead, Kind, NUMBER_MAX, number, setting, uni};
use super::limits::{
    CONTROL_PAYLOAD_BYTES_MAX, EARLY_PRIORITIES_MAX, SKIPPED_BYTES_PER_WORK, TABLE_BYTES_PER_WORK, UNTYPED_MAX,
};
use super::receive::With;
use super::{Event, Role};
use crate::message::Priority;
use crate::qpack::Arena;

/// The peer's streams that go one way.
#[derive(Debug, Default)]
pub(super) struct Control {
    control: Option<u64>,
    encoder: Option<u64>,
    decoder: Option<u64>,
    /// Those whose type has not come whole.
    untyped: Vec<(u64, Beginning)>,
    pub(super) has_settings: bool,
    /// Where the frames of the control stream are read, and what has come of one's payload.
    at: At,
    held: Vec<u8>,
    /// Of the tables' streams, what has come of an instruction.
    encoder_held: Vec<u8>,
    decoder_held: Vec<u8>,
    /// Priorities of requests that have not come, the last ones, round and round.
    early: Vec<(u64, Priority)>,
    early_next: usize,
}

impl Control {
    /// Whether the connection cannot be without this stream.
    pub(super) fn is_critical(&self, id: u64) -> bool {
        [self.control, self.encoder, self.decoder].contains(&Some(id))
    }

    /// A stream has ended that may not have had a type yet (RFC 9114 section 6.2).
    pub(super) fn forget(&mut self, id: u64) {
        self.untyped.retain(|&(untyped, _)| untyped != id);
    }

    /// The priority that a request was given before it came.
    #[inline]
    pub(super) fn early_priority(&self, id: u64) -> Option<Priority> {
        self.early.iter().find(|early| early.0 == id).map(|early| early.1)
    }

    fn set_early_priority(&mut self, id: u64, priority: Priority) {
        if let Some(early) = self.early.iter_mut().find(|early| early.0 == id) {
            early.1 = priority;
        } else if self.early.len() < EARLY_PRIORITIES_MAX {
            self.early.push((id, priority));
        } else {
            self.early[self.early_next] = (id, priority);
            self.early_next = (self.early_next + 1) % EARLY_PRIORITIES_MAX;
        }
    }
}

impl Engine {
    /// What has come on a stream that goes one way.
    pub(super) fn uni(
        &mut self,
        id: u64,
        input: &[u8],
        at: &mut usize,
        end: bool,
        with: &mut With<'_>,
    ) -> Result<Event, Error> {
        if !self.control.is_critical(id)
            && let Some(event) = self.uni_type(id, input, at, end, with)?
        {
            return Ok(event);
        }
        let event = match Some(id) {
            id if id == self.control.control => self.control_frames(input, at, with)?,
            id if id == self.control.encoder => {
                self.instructions(&input[std::mem::replace(at, input.len())..], with)?
            }
            _ => self.acknowledgements(&input[std::mem::replace(at, input.len())..], with)?,
        };
        if end && *at == input.len() {
            return Err(Error::critical("a stream of the connection has ended"));
        }
        Ok(event)
    }

    /// The type of a new stream. `None` if it is one that we read.
    fn uni_type(
        &mut self,
        id: u64,
        input: &[u8],
        at: &mut usize,
        end: bool,
        with: &With<'_>,
    ) -> Result<Option<Event>, Error> {
        let place = self.control.untyped.iter().position(|untyped| untyped.0 == id);
        let mut beginning = place.map_or_else(Beginning::default, |place| self.control.untyped[place].1);
        let found = beginning.number(input);
        let Some((kind, count)) = found else {
            *at = input.len();
            match place {
                _ if end => {
                    self.control.forget(id);
                    self.idle_work(1, with.now, with.limits, "too many streams without a type")?;
                }
                Some(place) => self.control.untyped[place].1 = beginning,
                None if self.control.untyped.len() == UNTYPED_MAX => {
                    return Err(Error::load("too many streams whose type is not complete"));
                }
                None => self.control.untyped.push((id, beginning)),
            }
            return Ok(Some(Event::NeedMore));
        };
        self.control.forget(id);
        *at = count;
        let place = match kind {
            uni::CONTROL => &mut self.control.control,
            uni::ENCODER => &mut self.control.encoder,
            uni::DECODER => &mut self.control.decoder,
            uni::PUSH if self.role == Role::Server => return Err(Error::creation("a client pushes")),
            uni::PUSH => return Err(Error::id("a push, none of which was allowed")),
            _ => {
                // RFC 9114 section 6.2: not an error, and not read.
                self.idle_work(1, with.now, with.limits, "too many streams of an unknown type")?;
                *at = input.len();
                return Ok(Some(Event::Refused { id, code: Code::STREAM_CREATION_ERROR }));
            }
        };
        match place.replace(id) {
            None => Ok(None),
            Some(_) => Err(Error::creation("a second stream of a kind of which there is one")),
        }
    }

    // ---- the control stream ------------------------------------------------------------------------------------------

    fn control_frames(&mut self, input: &[u8], at: &mut usize, with: &mut With<'_>) -> Result<Event, Error> {
        loop {
            let rest = &input[*at..];
            match &mut self.control.at {
                At::Head(beginning) => match beginning.frame(rest) {
                    None => {
                        *at = input.len();
                        return Ok(Event::NeedMore);
                    }
                    Some((head, count)) => {
                        *at += count;
                        self.control_head(head, with)?;
                    }
                },
                At::Payload { kind: Kind::Unknown, left } => {
                    let count = (*left).min(rest.len() as u64);
                    *left -= count;
                    if *left == 0 {
                        self.control.at = At::default();
                    }
                    *at += count as usize;
                    self.skip(count, with)?;
                    if count == 0 && *at == input.len() && self.control.at != At::default() {
                        return Ok(Event::NeedMore);
                    }
                }
                At::Payload { kind, left } => {
                    let (kind, length) = (*kind, *left as usize);
                    let mut held = std::mem::take(&mut self.control.held);
                    let count = (length - held.len()).min(rest.len());
                    *at += count;
                    if held.is_empty() && count == length {
                        self.control.at = At::default();
                        if let Some(event) = self.control_frame(kind, &rest[..count], with)? {
                            return Ok(event);
                        }
                        continue;
                    }
                    held.extend_from_slice(&rest[..count]);
                    if held.len() < length {
                        self.control.held = held;
                        return Ok(Event::NeedMore);
                    }
                    self.control.at = At::default();
                    if let Some(event) = self.control_frame(kind, &held, with)? {
                        return Ok(event);
                    }
                }
            }
        }
    }

    /// Whether a frame may come here and now, before anything of it is held.
    fn control_head(&mut self, head: FrameHead, with: &With<'_>) -> Result<(), Error> {
        let FrameHead { mut kind, length } = head;
        match (kind, self.role) {
            (Kind::Settings, _) if self.control.has_settings => return Err(Error::unexpected("settings come twice")),
            (Kind::Settings, _) => {}
            _ if !self.control.has_settings => {
                return Err(Error::new(Code::MISSING_SETTINGS, "the first frame is not of settings"));
            }
            (Kind::Data | Kind::Headers | Kind::PushPromise, _) => {
                return Err(Error::unexpected("a message is on the control stream"));
            }
            (Kind::OfHttp2, _) => return Err(Error::unexpected("a frame that only HTTP/2 has")),
            (Kind::MaxPushId | Kind::PriorityUpdate | Kind::PriorityUpdatePush, Role::Client) => {
                return Err(Error::unexpected("a frame that a server cannot send"));
            }
            (Kind::Unknown, _) => {
                self.idle_work(1, with.now, with.limits, "too many frames of an unknown kind")?;
            }
            _ => {
                self.idle_work(1, with.now, with.limits, "too many frames on the control stream")?;
            }
        }
        if length > CONTROL_PAYLOAD_BYTES_MAX as u64 {
            match kind {
                Kind::Unknown | Kind::PriorityUpdate => kind = Kind::Unknown,
                Kind::Settings => return Err(Error::load("the settings are too long")),
                _ => return Err(Error::frame("a frame of a number is longer than one")),
            }
        }
        self.control.at = At::Payload { kind, left: length };
        Ok(())
    }

    fn control_frame(&mut self, kind: Kind, payload: &[u8], with: &With<'_>) -> Result<Option<Event>, Error> {
        match kind {
            Kind::Settings => self.settings(payload).map(|()| None),
            Kind::GoAway => {
                let from = only_number(payload)?;
                if self.role == Role::Client && !from.is_multiple_of(4) {
                    return Err(Error::id("a GOAWAY is for no request"));
                }
                if self.peer.goaway.is_some_and(|before| from > before) {
                    return Err(Error::id("a GOAWAY takes one back"));
                }
                self.peer.goaway = Some(from);
                Ok(Some(Event::GoAway { from }))
            }
            Kind::MaxPushId => {
                let id = only_number(payload)?;
                if self.peer.max_push.is_some_and(|before| id < before) {
                    return Err(Error::id("fewer pushes are allowed than before"));
                }
                self.peer.max_push = Some(id);
                Ok(None)
            }
            Kind::CancelPush => {
                only_number(payload)?;
                Err(Error::id("a push is cancelled, of which there is none"))
            }
            Kind::PriorityUpdate | Kind::PriorityUpdatePush => self.priority_update(kind, payload, with),
            _ => unreachable!("it was looked at, or is read over"),
        }
    }

    fn priority_update(&mut self, kind: Kind, payload: &[u8], with: &With<'_>) -> Result<Option<Event>, Error> {
        let Some((id, count)) = number(payload) else {
            return Err(Error::frame("a priority update is cut off"));
        };
        // RFC 9218 section 7.2.
        if kind == Kind::PriorityUpdatePush {
            return Err(Error::id("a priority is of a push, of which there is none"));
        }
        if !id.is_multiple_of(4) || !self.can_be_open(id, with.limits) {
            return Err(Error::id("a priority is of a stream that is no request"));
        }
        let priority = Priority::of(&payload[count..]);
        match self.streams.find(id) {
            Some(key) => {
                let stream = self.streams.get_mut(key).expect("it was found");
                (stream.priority, stream.has_said_priority) = (priority, true);
                Ok((stream.is_out && !stream.is_reset).then_some(Event::Priority { key }))
            }
            None => {
                if id >= self.next_id {
                    self.control.set_early_priority(id, priority);
                }
                Ok(None)
            }
        }
    }

    /// RFC 9114 section 7.2.4.
    fn settings(&mut self, mut payload: &[u8]) -> Result<(), Error> {
        let (mut capacity, mut blocked, mut seen) = (0, 0, 0_u64);
        while !payload.is_empty() {
            let pair = number(payload).and_then(|(name, first)| {
                let (value, second) = number(&payload[first..])?;
                Some((name, value, first + second))
            });
            let Some((name, value, count)) = pair else { return Err(Error::frame("the settings are cut off")) };
            payload = &payload[count..];
            // Of those that mean something.
            let bit = 1_u64.checked_shl(u32::try_from(name).unwrap_or(u32::MAX)).unwrap_or(0);
            if seen & bit != 0 {
                return Err(Error::settings("a setting comes twice"));
            }
            seen |= bit;
            match name {
                0x0 | 0x2..=0x5 => return Err(Error::settings("a setting that only HTTP/2 has")),
                setting::QPACK_MAX_TABLE_CAPACITY => capacity = value,
                setting::QPACK_BLOCKED_STREAMS => blocked = value,
                setting::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(Error::settings("a setting of CONNECT that there is not"));
                }
                setting::ENABLE_CONNECT_PROTOCOL => self.peer.connects = value == 1,
                setting::H3_DATAGRAM if value > 1 => {
                    return Err(Error::settings("a setting of datagrams that there is not"));
                }
                setting::H3_DATAGRAM => self.peer.datagrams = value == 1,
                _ => {}
            }
        }
        self.control.has_settings = true;
        self.encoder.allow(capacity, blocked);
        Ok(())
    }

    // ---- the tables --------------------------------------------------------------------------------------------------

    fn instructions(&mut self, input: &[u8], with: &mut With<'_>) -> Result<Event, Error> {
        self.table_work(input.len(), with)?;
        let mut arena = Arena::new(&mut with.scratch.room);
        let held = &mut self.control.encoder_held;
        if held.is_empty() {
            let count = self.decoder.instruct(input, &mut arena)?;
            held.extend_from_slice(&input[count..]);
        } else {
            held.extend_from_slice(input);
            let count = self.decoder.instruct(held, &mut arena)?;
            held.drain(..count);
        }
        if held.is_empty() {
            *held = Vec::new();
        }
        Ok(Event::NeedMore)
    }

    fn acknowledgements(&mut self, input: &[u8], with: &With<'_>) -> Result<Event, Error> {
        self.table_work(input.len(), with)?;
        let held = &mut self.control.decoder_held;
        if held.is_empty() {
            let count = self.encoder.acknowledge(input)?;
            held.extend_from_slice(&input[count..]);
        } else {
            held.extend_from_slice(input);
            let count = self.encoder.acknowledge(held)?;
            held.drain(..count);
        }
        Ok(Event::NeedMore)
    }

    fn table_work(&mut self, count: usize, with: &With<'_>) -> Result<(), Error> {
        let bytes = self.table_bytes + count as u64;
        self.table_bytes = bytes % TABLE_BYTES_PER_WORK;
        let work = u32::try_from(bytes / TABLE_BYTES_PER_WORK).unwrap_or(u32::MAX);
        self.idle_work(work, with.now, with.limits, "too much is said of the tables")
    }

    /// So many bytes were read over.
    pub(super) fn skip(&mut self, count: u64, with: &With<'_>) -> Result<(), Error> {
        let bytes = self.skipped_bytes + count;
        self.skipped_bytes = bytes % SKIPPED_BYTES_PER_WORK;
        let work = u32::try_from(bytes / SKIPPED_BYTES_PER_WORK).unwrap_or(u32::MAX);
        self.idle_work(work, with.now, with.limits, "too much that means nothing")
    }
}

/// A payload that is one number and nothing else.
fn only_number(payload: &[u8]) -> Result<u64, Error> {
    match number(payload) {
        Some((number, count)) if count == payload.len() && number <= NUMBER_MAX => Ok(number),
        _ => Err(Error::frame("a frame of a number is no such")),
    }
}
