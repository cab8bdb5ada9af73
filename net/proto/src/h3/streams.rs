//! The streams of a connection that carry requests: found by their number, kept in slots that are used again.

use super::frame::At;
use crate::message::Priority;

/// Names a stream of one connection. A stale one names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) slot: u16,
    pub(super) id: u64,
}

impl Key {
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
    /// [`FREE`] if the slot is.
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

/// No slot.
const NONE: u16 = u16::MAX;

/// No stream.
pub(super) const FREE: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    free: Vec<u16>,
    /// Slots by stream number: open addressing, at most half full. Numbers come one after the other, so few collide.
    index: Vec<u16>,
    count: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    fn home(&self, id: u64) -> usize {
        (id >> 2) as usize & (self.index.len() - 1)
    }

    /// The slot of this stream, if it has one.
    #[inline]
    pub(super) fn find(&self, id: u64) -> Option<Key> {
        if self.index.is_empty() {
            return None;
        }
        let mut at = self.home(id);
        loop {
            match self.index[at] {
                NONE => return None,
                slot if self.slots[usize::from(slot)].id == id => return Some(Key { slot, id }),
                _ => at = (at + 1) & (self.index.len() - 1),
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.slots.get(usize::from(key.slot)).filter(|stream| stream.id == key.id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(usize::from(key.slot)).filter(|stream| stream.id == key.id)
    }

    /// Adds a stream, whose number is new.
    pub(super) fn open(&mut self, id: u64) -> Key {
        if 2 * (self.count + 1) > self.index.len() {
            self.grow();
        }
        let stream = Stream {
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
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[usize::from(slot)] = stream;
                slot
            }
            None => {
                self.slots.push(stream);
                (self.slots.len() - 1) as u16
            }
        };
        self.place(slot, id);
        self.count += 1;
        Key { slot, id }
    }

    fn place(&mut self, slot: u16, id: u64) {
        let mut at = self.home(id);
        while self.index[at] != NONE {
            at = (at + 1) & (self.index.len() - 1);
        }
        self.index[at] = slot;
    }

    /// As many streams as are open at once are few in most connections.
    #[cold]
    fn grow(&mut self) {
        self.index = vec![NONE; (4 * (self.count + 1)).next_power_of_two()];
        for slot in 0..self.slots.len() {
            let id = self.slots[slot].id;
            if id != FREE {
                self.place(slot as u16, id);
            }
        }
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, key: Key) {
        let mask = self.index.len() - 1;
        let mut hole = self.home(key.id);
        while self.index[hole] != key.slot {
            hole = (hole + 1) & mask;
        }
        // Whoever comes after and would rather stand here moves up.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.index[at];
            if slot == NONE {
                break;
            }
            let home = self.home(self.slots[usize::from(slot)].id);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.index[hole] = slot;
                hole = at;
            }
        }
        self.index[hole] = NONE;
        let stream = &mut self.slots[usize::from(key.slot)];
        stream.id = FREE;
        stream.held = Vec::new();
        self.free.push(key.slot);
        self.count -= 1;
    }
}

/// Few are open in most connections, and one that is costs little.
const _: () = assert!(size_of::<Stream>() <= 96);
