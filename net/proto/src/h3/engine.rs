//! The state of a connection, and what its owner may ask of it between receiving and sending.

use std::time::Duration;

use super::control::Control;
use super::error::Error;
use super::frame::{NUMBER_MAX, number};
use super::limits::Limits;
use super::streams::{Key, Side, Stream, Streams};
use super::{Code, Event};
use crate::budget::Budget;
use crate::message::{Priority, Role};
use crate::qpack::{Decoder, Encoder};

/// The engine of one connection.
#[derive(Debug)]
pub struct Engine {
    pub(super) role: Role,
    /// Why the connection is to be closed.
    pub(super) failure: Option<Error>,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) streams: Streams,
    /// What all streams hold of field sections.
    pub(super) held_bytes: usize,
    /// The first number after those of all requests that have come, or were sent.
    pub(super) next_id: u64,
    pub(super) control: Control,
    pub(super) peer: Peer,
    pub(super) pending: Pending,
    pub(super) budget: Budget,
    /// What was read over, what has come for the tables, and the tiny pieces of data, that have not been counted as work.
    pub(super) skipped_bytes: u64,
    pub(super) table_bytes: u64,
    pub(super) tiny_data: u8,
    pub(super) ending: Ending,
    pub(super) refused: u32,
}

/// How a graceful end stands (RFC 9114 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// The peer has been told that the end is near.
    Announced,
    /// What comes from this stream on is not looked at.
    Last(u64),
}

/// What the peer has said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    pub(super) connects: bool,
    pub(super) datagrams: bool,
    pub(super) goaway: Option<u64>,
    pub(super) max_push: Option<u64>,
}

/// What the connection itself has to say, as soon as there is room.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) settings: bool,
    pub(super) goaway: Option<u64>,
    /// The types of the streams of the tables, before the first that is said on them.
    pub(super) encoder_type: bool,
    pub(super) decoder_type: bool,
}

/// What is left to be done to a stream that its owner is through with. What has ended needs nothing.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Nothing more of it is read: the peer is to be told to stop, with this code.
    pub stop: Option<Code>,
    /// It is not finished: it is to be reset, with this code.
    pub reset: Option<Code>,
}

impl Rest {
    const NOTHING: Rest = Rest { stop: None, reset: None };
}

impl Engine {
    /// The engine of a connection that has just been opened. Settings are the first that it has to [say](Engine::say).
    pub fn new(role: Role, limits: &Limits) -> Engine {
        Engine {
            role,
            failure: None,
            decoder: Decoder::new(limits.table_bytes_max.into(), limits.blocked_streams_max.into()),
            encoder: Encoder::new(),
            streams: Streams::default(),
            held_bytes: 0,
            next_id: 0,
            control: Control::default(),
            peer: Peer::default(),
            pending: Pending { settings: true, goaway: None, encoder_type: true, decoder_type: true },
            budget: Budget::new(limits.idle_work_max),
            skipped_bytes: 0,
            table_bytes: 0,
            tiny_data: 0,
            ending: Ending::No,
            refused: 0,
        }
    }

    /// Which end it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Streams that have come, or were opened, and have been neither refused nor released.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Whether something can still be sent on this stream: it has neither ended here nor been reset.
    pub fn can_send(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| !stream.is_reset && stream.sent != Side::Ended)
    }

    /// Whether more of the peer's message may come.
    pub fn is_receiving(&self, key: Key) -> bool {
        let is_open = |stream: &Stream| !stream.is_reset && matches!(stream.received, Side::Head | Side::Body);
        self.streams.get(key).is_some_and(is_open)
    }

    /// Whether the peer's settings are to come, which are the first that it says.
    pub fn awaits_settings(&self) -> bool {
        !self.control.has_settings
    }

    /// How urgent an answer is: what its request says, or what the client has said since (RFC 9218).
    pub fn priority(&self, key: Key) -> Priority {
        self.streams.get(key).map_or_else(Priority::default, |stream| stream.priority)
    }

    /// A stream whose [wait](Event::Blocked) is over: it is to be shown the rest of what has come on it, or nothing. Each is said
    /// once.
    pub fn unblocked(&mut self) -> Option<u64> {
        while let Some(id) = self.decoder.unblocked() {
            if self.streams.find(id).is_some() {
                return Some(id);
            }
        }
        None
    }

    /// Whether a graceful end has begun, by [`drain`](Engine::drain) or [`finish`](Engine::finish).
    pub fn is_draining(&self) -> bool {
        self.ending != Ending::No
    }

    /// Whether new streams are still looked at.
    pub fn takes_streams(&self) -> bool {
        !matches!(self.ending, Ending::Last(_)) && self.failure.is_none()
    }

    /// Streams that were refused because as many were open as may be.
    pub fn refused_count(&self) -> u32 {
        self.refused
    }

    /// Whether no more is read: the connection has failed.
    pub fn is_closed(&self) -> bool {
        self.failure.is_some()
    }

    /// Why it has: the connection is to be closed with this.
    pub fn failure(&self) -> Option<Error> {
        self.failure
    }

    /// Whether a graceful end has come: all that was begun has been released, and nothing new is looked at.
    pub fn is_drained(&self) -> bool {
        matches!(self.ending, Ending::Last(_)) && self.streams.len() == 0
    }

    /// The owner has no more use for a stream, which it shows and asks no more. What is unfinished is to be ended: a request
    /// whose answer is complete is told that the rest of its body is not needed (RFC 9114 section 4.1).
    #[inline]
    pub fn release(&mut self, key: Key) -> Rest {
        let Some(stream) = self.streams.get(key) else { return Rest::NOTHING };
        if stream.sent == Side::Ended && stream.received == Side::Ended && !stream.is_lost {
            self.streams.close(key);
            return Rest::NOTHING;
        }
        self.release_unfinished(key)
    }

    fn release_unfinished(&mut self, key: Key) -> Rest {
        let Some(stream) = self.streams.get(key) else { return Rest::NOTHING };
        let code = match (self.role, stream.sent) {
            (Role::Server, Side::Ended) => Code::NO_ERROR,
            (Role::Server, _) => Code::INTERNAL_ERROR,
            (Role::Client, _) => Code::REQUEST_CANCELLED,
        };
        let rest = self.reset(key, code);
        self.streams.close(key);
        rest
    }

    /// Ends a stream at once, with a code; it is still to be released.
    pub fn reset(&mut self, key: Key, code: Code) -> Rest {
        let Some(stream) = self.streams.get(key).filter(|stream| !stream.is_reset) else {
            return Rest::NOTHING;
        };
        let rest = Rest {
            stop: (stream.received != Side::Ended || stream.is_lost).then_some(code),
            reset: (stream.sent != Side::Ended).then_some(code),
        };
        if let Err(error) = self.end(key) {
            self.fail(error);
        }
        rest
    }

    /// The peer has reset what it sends on a stream.
    pub fn peer_reset(&mut self, id: u64, code: Code, now: Duration, limits: &Limits) -> Result<Option<Event>, Error> {
        let left = self.left(id, code, now, limits);
        left.inspect_err(|&error| self.fail(error))
    }

    fn left(&mut self, id: u64, code: Code, now: Duration, limits: &Limits) -> Result<Option<Event>, Error> {
        if self.control.is_critical(id) {
            return Err(Error::critical("a stream of the connection was reset"));
        }
        self.idle_work(1, now, limits, "too many streams are reset")?;
        self.control.forget(id);
        let Some(key) = self.streams.find(id) else { return Ok(None) };
        let stream = self.streams.get(key).expect("it was found");
        let (is_out, is_reset) = (stream.is_out, stream.is_reset);
        self.end(key)?;
        match is_out {
            true => Ok((!is_reset).then_some(Event::Reset { key, code })),
            false => {
                self.streams.close(key);
                Ok(None)
            }
        }
    }

    /// The peer wants no more of what we send on a stream. A client may still be answered: its request is not sent on.
    pub fn peer_stopped(
        &mut self,
        id: u64,
        code: Code,
        now: Duration,
        limits: &Limits,
    ) -> Result<Option<Event>, Error> {
        let stopped = self.stopped(id, code, now, limits);
        stopped.inspect_err(|&error| self.fail(error))
    }

    fn stopped(&mut self, id: u64, code: Code, now: Duration, limits: &Limits) -> Result<Option<Event>, Error> {
        if id & 2 != 0 {
            return Err(Error::critical("a stream of the connection is not read"));
        }
        self.idle_work(1, now, limits, "too many streams are not read")?;
        let Some(key) = self.streams.find(id) else { return Ok(None) };
        let stream = self.streams.get_mut(key).expect("it was found");
        if stream.is_reset || stream.sent == Side::Ended {
            return Ok(None);
        }
        match self.role {
            Role::Client => {
                stream.sent = Side::Ended;
                Ok(None)
            }
            Role::Server if stream.is_out => {
                self.end(key)?;
                Ok(Some(Event::Reset { key, code }))
            }
            Role::Server => self.refuse(key, Code::REQUEST_CANCELLED).map(Some),
        }
    }

    /// A datagram has come: whose it is, and how many bytes go before what it carries. `None`: it is late or early, and dropped
    /// (RFC 9297 section 2.1).
    pub fn receive_datagram(&mut self, input: &[u8], limits: &Limits) -> Result<Option<(Key, usize)>, Error> {
        let error = match number(input) {
            Some((quarter, count)) if quarter <= NUMBER_MAX / 4 => {
                let id = 4 * quarter;
                if self.role == Role::Server && !self.can_be_open(id, limits) {
                    Error::id("a datagram is for a stream that nobody may open")
                } else {
                    let key = self.streams.find(id).filter(|&key| self.is_receiving(key) && self.is_out(key));
                    return Ok(key.map(|key| (key, count)));
                }
            }
            _ => Error::new(Code::DATAGRAM_ERROR, "a datagram is for no stream"),
        };
        self.fail(error);
        Err(error)
    }

    fn is_out(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.is_out)
    }

    /// Whether QUIC can have let a client open this stream: it grants as many as may be open, beyond those that have come.
    pub(super) fn can_be_open(&self, id: u64, limits: &Limits) -> bool {
        id < self.next_id + 4 * u64::from(limits.streams_max)
    }

    /// Begins a graceful end: the peer is told to open no more streams, and those on their way are still looked at (RFC 9114
    /// section 5.2). When it has surely heard, [`finish`](Engine::finish).
    pub fn drain(&mut self) {
        if self.ending == Ending::No && self.failure.is_none() {
            self.ending = Ending::Announced;
            match self.role {
                Role::Server => self.pending.goaway = Some(NUMBER_MAX & !3),
                Role::Client => self.finish(),
            }
        }
    }

    /// Ends the grace of [`drain`](Engine::drain): no new stream is looked at any more.
    pub fn finish(&mut self) {
        if self.takes_streams() {
            // What a client names is the first push that it does not take.
            let from = if self.role == Role::Server { self.next_id } else { 0 };
            self.ending = Ending::Last(from);
            self.pending.goaway = Some(from);
        }
    }

    /// The connection has failed: nothing more is read.
    pub(super) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Nothing more is received or sent on a stream, and nothing is held of it.
    pub(super) fn end(&mut self, key: Key) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.is_reset) else { return Ok(()) };
        let was_receiving = stream.received != Side::Ended;
        stream.is_reset = true;
        stream.is_blocked = false;
        (stream.received, stream.sent) = (Side::Ended, Side::Ended);
        self.held_bytes -= std::mem::take(&mut stream.held).len();
        // RFC 9204 section 2.2.2.2: field sections may have come that are not looked at.
        if was_receiving { Ok(self.decoder.cancel(key.id)?) } else { Ok(()) }
    }

    /// Gives up a stream that was not handed out.
    pub(super) fn refuse(&mut self, key: Key, code: Code) -> Result<Event, Error> {
        self.end(key)?;
        self.streams.close(key);
        Ok(Event::Refused { id: key.id, code })
    }

    /// Something that serves nobody.
    pub(super) fn idle_work(
        &mut self,
        cost: u32,
        now: Duration,
        limits: &Limits,
        what: &'static str,
    ) -> Result<(), Error> {
        if self.budget.spend(cost, now, limits.idle_work_per_second) { Ok(()) } else { Err(Error::load(what)) }
    }
}
