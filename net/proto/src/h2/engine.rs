//! The state of a connection, and what its owner may ask of it between receiving and sending.

use std::time::Duration;

use super::Code;
use super::error::Error;
use super::limits::{Limits, PINGS_MAX, RECENT_MAX, RESETS_MAX};
use super::streams::{Key, Side, Stream, Streams};
use crate::budget::Budget;
use crate::hpack::{Decoder, Encoder};
use crate::message::Role;

/// The engine of one connection.
#[derive(Debug)]
pub struct Engine {
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) streams: Streams,
    /// A field block of which more frames are to come.
    pub(super) block: Option<Box<Block>>,
    /// A frame of data that is being received.
    pub(super) data: Option<Receiving>,
    /// The last stream that the peer has opened, and the one before.
    pub(super) last_id: u32,
    pub(super) before_last_id: u32,
    /// The next that we open.
    pub(super) next_id: u32,
    pub(super) peer: Peer,
    /// What we may send on all streams together, and what the peer may; received and not consumed; what these come to.
    pub(super) send_window: i32,
    pub(super) recv_window: i32,
    pub(super) buffered: u32,
    pub(super) window: u32,
    pub(super) pending: Pending,
    pub(super) budget: Budget,
    /// Window updates that the data we have sent accounts for.
    pub(super) updates: u32,
    /// The last streams that were reset here, round and round.
    pub(super) recent: Vec<u32>,
    pub(super) recent_next: usize,
    pub(super) ending: Ending,
    pub(super) refused: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client's first bytes are to come.
    Preface,
    /// The peer's first frame is.
    Settings,
    Open,
    Closed,
}

/// How a graceful end stands (RFC 9113 section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// The peer has been told that the end is near, and a ping follows: when it comes back, the peer has heard.
    Announced,
    /// What comes above this stream is not looked at.
    Last(u32),
}

/// What the peer has set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) stream_window: u32,
    pub(super) frame_bytes_max: u32,
    pub(super) streams_max: u32,
    pub(super) connects: bool,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) frames: u8,
}

/// What is left of a frame of data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiving {
    /// `None`: nobody wants it.
    pub(super) key: Option<Key>,
    pub(super) left: usize,
    pub(super) padding: usize,
    pub(super) end: bool,
}

/// What the connection itself has to say, as soon as there is room.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) preface: bool,
    pub(super) settings_acks: u8,
    pub(super) pings: Vec<[u8; 8]>,
    pub(super) resets: Vec<(u32, Code)>,
    pub(super) grants: Vec<Key>,
    pub(super) goaway: Option<(u32, Code, &'static str)>,
    pub(super) ping: bool,
}

impl Engine {
    /// The engine of a connection that has just been opened. Settings are the first that it has to [say](Engine::control).
    pub fn new(role: Role, limits: &Limits) -> Engine {
        debug_assert!(usize::from(limits.head_bytes_max) <= super::HEAD_BYTES_MAX);
        Engine {
            role,
            phase: if role == Role::Server { Phase::Preface } else { Phase::Settings },
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            streams: Streams::default(),
            block: None,
            data: None,
            last_id: 0,
            before_last_id: 0,
            next_id: 1,
            peer: Peer { stream_window: 65_535, frame_bytes_max: 16_384, streams_max: u32::MAX, connects: false },
            send_window: 65_535,
            recv_window: 65_535,
            buffered: 0,
            window: limits.connection_window.max(65_535),
            pending: Pending { preface: true, ..Pending::default() },
            budget: Budget::new(limits.idle_work_max),
            updates: 0,
            recent: Vec::new(),
            recent_next: 0,
            ending: Ending::No,
            refused: 0,
        }
    }

    /// Streams that were handed out and have not been released.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Whether something can still be sent on this stream: it has neither ended here nor been reset.
    pub fn can_send(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| !stream.is_reset && stream.sent != Side::Ended)
    }

    /// Whether more of the peer's message may come.
    pub fn is_receiving(&self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|stream| !stream.is_reset && stream.received != Side::Ended)
    }

    /// Whether something that was [offered](Engine::offer) waits for the peer to open a window.
    pub fn is_held(&self, key: Key) -> bool {
        let shut = |stream: &Stream| stream.wants && (stream.send_window <= 0 || self.send_window <= 0);
        self.streams.get(key).is_some_and(shut)
    }

    /// Whether the peer is in the middle of something that has to come to its end: its first frame, or a field block.
    pub fn is_in_head(&self) -> bool {
        matches!(self.phase, Phase::Preface | Phase::Settings) || self.block.is_some()
    }

    /// Whether a graceful end has begun, by [`drain`](Engine::drain) or [`finish`](Engine::finish).
    pub fn is_draining(&self) -> bool {
        self.ending != Ending::No
    }

    /// Whether new streams are still looked at.
    pub fn takes_streams(&self) -> bool {
        !matches!(self.ending, Ending::Last(_)) && self.phase != Phase::Closed
    }

    /// Streams that were refused because as many were open as may be.
    pub fn refused_count(&self) -> u32 {
        self.refused
    }

    /// Whether no more is read: the connection has failed, or the peer has been told so.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether a graceful end has come: all that was begun has been released, and nothing new is looked at.
    pub fn is_drained(&self) -> bool {
        matches!(self.ending, Ending::Last(_)) && self.streams.len() == 0
    }

    /// So many bytes of a stream's data have found their reader, or nobody wants them. The peer may send as many more, and if it
    /// waited for that, then more than before.
    pub fn consume(&mut self, key: Key, count: usize, limits: &Limits) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let count = (count as u32).min(stream.buffered);
        stream.buffered -= count;
        if stream.received != Side::Ended && !stream.is_reset {
            if stream.buffered == 0 && stream.recv_window.unsigned_abs() <= stream.window / 4 {
                stream.window = (2 * stream.window).clamp(stream.window, limits.stream_window_max.max(stream.window));
            }
            let grant = i64::from(stream.window) - i64::from(stream.recv_window) - i64::from(stream.buffered);
            if grant >= i64::from(stream.window / 2) && !stream.is_granting {
                stream.is_granting = true;
                self.pending.grants.push(key);
            }
        }
        self.credit(count, limits);
    }

    /// So many bytes are no longer held on behalf of the connection.
    pub(super) fn credit(&mut self, count: u32, limits: &Limits) {
        self.buffered -= count;
        if self.buffered == 0 && self.recv_window.unsigned_abs() <= self.window / 4 {
            self.window = (2 * self.window).clamp(self.window, limits.connection_window_max.max(self.window));
        }
    }

    /// What the peer may be granted on the connection, if that is worth a frame.
    pub(super) fn connection_grant(&self) -> Option<u32> {
        let grant = i64::from(self.window) - i64::from(self.recv_window) - i64::from(self.buffered);
        u32::try_from(grant).ok().filter(|&grant| grant > 0 && grant >= self.window / 2)
    }

    /// The owner has no more use for a stream. What is unfinished is reset: a request whose answer is complete is told that
    /// the rest of its body is not needed (RFC 9113 section 8.1).
    pub fn release(&mut self, key: Key, limits: &Limits) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let buffered = std::mem::take(&mut stream.buffered);
        let code = match (stream.is_reset, stream.received, stream.sent) {
            (true, ..) | (_, Side::Ended, Side::Ended) => None,
            (false, _, Side::Ended) if self.role == Role::Server => Some(Code::NO_ERROR),
            (false, Side::Ended, _) if self.role == Role::Server => Some(Code::INTERNAL_ERROR),
            _ => Some(Code::CANCEL),
        };
        if stream.is_granting {
            self.pending.grants.retain(|granted| *granted != key);
        }
        if let Some(code) = code {
            self.say_reset(key.id, code);
        }
        self.streams.close(key);
        self.credit(buffered, limits);
    }

    /// Ends a stream at once, with a code; it is still to be released.
    pub fn reset(&mut self, key: Key, code: Code) {
        if let Some(stream) = self.streams.get_mut(key)
            && !stream.is_reset
        {
            end(stream);
            self.streams.unlist(key);
            self.say_reset(key.id, code);
        }
    }

    /// Queues a reset. What the peer has sent on the stream before it hears of it is read over.
    pub(super) fn say_reset(&mut self, id: u32, code: Code) {
        if self.pending.resets.len() < RESETS_MAX {
            self.pending.resets.push((id, code));
        } else {
            self.fail(Error::calm("more streams are reset than the peer takes note of"));
        }
        if self.recent.len() < RECENT_MAX {
            self.recent.push(id);
        } else {
            self.recent[self.recent_next] = id;
            self.recent_next = (self.recent_next + 1) % RECENT_MAX;
        }
    }

    /// Begins a graceful end: the peer is told to open no more streams, those on their way are still looked at, and when it
    /// has surely heard, what comes later is not (RFC 9113 section 6.8).
    pub fn drain(&mut self) {
        if self.ending == Ending::No && self.phase != Phase::Closed {
            self.ending = Ending::Announced;
            self.pending.goaway = Some((super::frame::NUMBER_MAX, Code::NO_ERROR, ""));
            self.pending.ping = self.phase == Phase::Open;
            if !self.pending.ping {
                self.finish();
            }
        }
    }

    /// Ends the grace of [`drain`](Engine::drain): no new stream is looked at any more.
    pub fn finish(&mut self) {
        if !matches!(self.ending, Ending::Last(_)) && self.phase != Phase::Closed {
            self.ending = Ending::Last(self.last_id);
            self.pending.goaway = Some((self.last_id, Code::NO_ERROR, ""));
        }
    }

    /// The connection has failed: the peer is told why, and nothing more is read.
    pub(super) fn fail(&mut self, error: Error) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.pending.goaway = Some((self.last_id, error.code, error.what));
            self.block = None;
        }
    }

    /// Something that serves nobody.
    pub(super) fn idle_work(
        &mut self,
        cost: u32,
        now: Duration,
        limits: &Limits,
        what: &'static str,
    ) -> Result<(), Error> {
        if self.budget.spend(cost, now, limits.idle_work_per_second) { Ok(()) } else { Err(Error::calm(what)) }
    }

    pub(super) fn has_room_for_ping(&self) -> bool {
        self.pending.pings.len() < PINGS_MAX
    }
}

/// A stream that has come to its end before its time.
pub(super) fn end(stream: &mut Stream) {
    stream.is_reset = true;
    stream.received = Side::Ended;
    stream.sent = Side::Ended;
    stream.wants = false;
}
