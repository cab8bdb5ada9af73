//! The streams of a connection that carry requests: found by their number, kept in slots that are used again.

use super::frame::At;
use crate::message::Priority;
use crate::slots::{NONE, Numbered, Slots};

/// Names a stream of one connection. A stale one names nothing, nor does that of a request that was
/// [known](super::Engine::receive_known) and is not [kept](super::Engine::keep).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) slot: u16,
    pub(super) id: u64,
}

impl Key {
    /// Of a stream that has no place.
    pub(super) fn loose(id: u64) -> Key {
        Key { slot: NONE, id }
    }

    pub(super) fn is_loose(self) -> bool {
        self.slot == NONE
    }

    /// The stream's number, as QUIC has it.
    pub fn id(self) -> u64 {
        self.id
    }

    /// Its place among the streams of its connection: less than as many as were ever open at once, and used again.
    pub fn place(self) -> usize {
        self.slot.into()
    }
}

/// How far one direction of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Its head is to come.
    Head,
    /// More of its body, or its end.
    Body,
    /// Its end alone, since its trailers have come.
    End,
    Ended,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u64,
    /// Where its frames are read.
    pub(super) at: At,
    /// Of a field section that has not come whole, or that waits for the table: what has come.
    pub(super) held: Vec<u8>,
    /// What is to come of a body whose length was declared; `u64::MAX` if it was not.
    pub(super) left: u64,
    pub(super) received: Side,
    pub(super) sent: Side,
    pub(super) priority: Priority,
    /// The client has said it in a frame, and that holds, whatever the request says (RFC 9218 section 7).
    pub(super) has_said_priority: bool,
    /// The owner knows of it.
    pub(super) is_out: bool,
    /// The field section that is held is whole, and waits for the table.
    pub(super) is_blocked: bool,
    /// The request is a HEAD: its answer has no body.
    pub(super) is_head: bool,
    /// The request is a CONNECT: its data is what a tunnel carries.
    pub(super) is_connect: bool,
    /// Its head is lost, and so is what follows it: it has not ended, though it is received no further.
    pub(super) is_lost: bool,
    /// Nothing more is sent or received, and no more is said of it.
    pub(super) is_reset: bool,
}

#[derive(Debug, Default)]
pub(super) struct Streams(Slots<Stream>);

impl Numbered for Stream {
    type Number = u64;

    const FREE: u64 = u64::MAX;

    #[inline]
    fn number(&self) -> u64 {
        self.id
    }

    #[inline]
    fn order(id: u64) -> usize {
        (id >> 2) as usize
    }

    fn clear(&mut self) {
        self.id = Stream::FREE;
        self.held = Vec::new();
    }
}

impl Stream {
    /// One of which nothing has come.
    #[inline(always)]
    pub(super) fn new(id: u64) -> Stream {
        Stream {
            id,
            at: At::default(),
            held: Vec::new(),
            left: u64::MAX,
            received: Side::Head,
            sent: Side::Head,
            priority: Priority::default(),
            has_said_priority: false,
            is_out: false,
            is_blocked: false,
            is_head: false,
            is_connect: false,
            is_lost: false,
            is_reset: false,
        }
    }

    /// One whose request has come to its end.
    pub(super) fn received(id: u64) -> Stream {
        Stream { is_out: true, received: Side::Ended, ..Stream::new(id) }
    }
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(super) fn find(&self, id: u64) -> Option<Key> {
        self.0.find(id).map(|slot| Key { slot, id })
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.0.get(key.slot, key.id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.0.get_mut(key.slot, key.id)
    }

    /// Adds a stream, whose number is new.
    pub(super) fn open(&mut self, id: u64) -> Key {
        self.add(Stream::new(id))
    }

    /// The same for one of which something is known.
    #[inline(always)]
    pub(super) fn add(&mut self, stream: Stream) -> Key {
        let id = stream.id;
        Key { slot: self.0.open(stream), id }
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, key: Key) {
        self.0.close(key.slot);
    }
}

/// Few are open in most connections, and one that is costs little.
const _: () = assert!(size_of::<Stream>() <= 96);
