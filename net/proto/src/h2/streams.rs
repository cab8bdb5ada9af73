//! The streams of a connection: found by their number, kept in slots that are used again; and the order in which those that
//! have something to send may.

use super::limits::Limits;
use crate::message::priority::{Priority, URGENCIES};

/// Names a stream of one connection. A stale one names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) slot: u16,
    pub(super) id: u32,
}

impl Key {
    /// The stream's number on the wire.
    pub fn id(self) -> u32 {
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
    Ended,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// What we may send, less than nothing when the peer has lessened it.
    pub(super) send_window: i32,
    /// What the peer may send.
    pub(super) recv_window: i32,
    /// What it has sent and nobody has consumed.
    pub(super) buffered: u32,
    /// What these two come to when all is granted.
    pub(super) window: u32,
    /// What is to come of a body whose length was declared; `u64::MAX` if it was not.
    pub(super) left: u64,
    pub(super) received: Side,
    pub(super) sent: Side,
    /// The request is a HEAD: its answer has no body.
    pub(super) is_head: bool,
    /// The request is a CONNECT: its data is what a tunnel carries.
    pub(super) is_connect: bool,
    /// Nothing more is sent or received, and no more is said of it.
    pub(super) is_reset: bool,
    /// The peer has reset it, and so says no more itself.
    pub(super) is_left: bool,
    pub(super) priority: Priority,
    /// It has been picked before, since it began to send.
    pub(super) is_begun: bool,
    /// Someone has something to send.
    pub(super) wants: bool,
    is_listed: bool,
    /// It is in the list of those whose window is to be granted.
    pub(super) is_granting: bool,
    before: u16,
    after: u16,
}

/// No slot.
const NONE: u16 = u16::MAX;

#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Stream>,
    free: Vec<u16>,
    /// Slots by stream number: open addressing, at most half full. Numbers come one after the other, so few collide.
    index: Vec<u16>,
    count: usize,
    ready: [List; URGENCIES],
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u16,
    last: u16,
}

impl Default for List {
    fn default() -> List {
        List { first: NONE, last: NONE }
    }
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.index.len() - 1)
    }

    /// The slot of this stream, if it has one.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<Key> {
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

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter(|stream| stream.id != 0)
    }

    /// Who wants to send and may.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Key> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, stream)| stream.id != 0 && stream.wants && stream.send_window > 0)
            .map(|(slot, stream)| Key { slot: slot as u16, id: stream.id })
    }

    /// Adds a stream, whose number is new. `windows` are what we may send, and what the peer may.
    pub(super) fn open(&mut self, id: u32, (send_window, window): (i32, u32), limits: &Limits) -> Key {
        if self.index.is_empty() {
            // One more than may be open, for the one that is told that its head is too large; twice that, and a power of two.
            self.index = vec![NONE; (2 * (usize::from(limits.streams_max) + 1)).next_power_of_two()];
        }
        let stream = Stream {
            id,
            send_window,
            recv_window: window as i32,
            buffered: 0,
            window,
            left: u64::MAX,
            received: Side::Head,
            sent: Side::Head,
            is_head: false,
            is_connect: false,
            is_reset: false,
            is_left: false,
            priority: Priority::default(),
            is_begun: false,
            wants: false,
            is_listed: false,
            is_granting: false,
            before: NONE,
            after: NONE,
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
        let mut at = self.home(id);
        while self.index[at] != NONE {
            at = (at + 1) & (self.index.len() - 1);
        }
        self.index[at] = slot;
        self.count += 1;
        Key { slot, id }
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, key: Key) {
        self.unlist(key);
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
        self.slots[usize::from(key.slot)].id = 0;
        self.free.push(key.slot);
        self.count -= 1;
    }

    // ---- who may send ------------------------------------------------------------------------------------------------

    /// Lists a stream that has something to send and may. The most urgent are first; of these, one that has begun goes on
    /// until it is done, unless it is of use in pieces: then it goes behind the others (RFC 9218 section 10).
    pub(super) fn list(&mut self, key: Key) {
        let slot = key.slot;
        let stream = &mut self.slots[usize::from(slot)];
        if stream.is_listed {
            return;
        }
        stream.is_listed = true;
        let goes_on = stream.is_begun && !stream.priority.is_incremental;
        let list = &mut self.ready[usize::from(stream.priority.urgency)];
        if goes_on {
            (stream.before, stream.after) = (NONE, list.first);
            let next = std::mem::replace(&mut list.first, slot);
            match next {
                NONE => list.last = slot,
                next => self.slots[usize::from(next)].before = slot,
            }
        } else {
            (stream.before, stream.after) = (list.last, NONE);
            let last = std::mem::replace(&mut list.last, slot);
            match last {
                NONE => list.first = slot,
                last => self.slots[usize::from(last)].after = slot,
            }
        }
    }

    pub(super) fn unlist(&mut self, key: Key) {
        let stream = &mut self.slots[usize::from(key.slot)];
        if !std::mem::take(&mut stream.is_listed) {
            return;
        }
        let (before, after, urgency) = (stream.before, stream.after, usize::from(stream.priority.urgency));
        match before {
            NONE => self.ready[urgency].first = after,
            before => self.slots[usize::from(before)].after = after,
        }
        match after {
            NONE => self.ready[urgency].last = before,
            after => self.slots[usize::from(after)].before = before,
        }
    }

    /// Who is next. It leaves the list.
    pub(super) fn pick(&mut self) -> Option<Key> {
        let slot = self.ready.iter().map(|list| list.first).find(|&slot| slot != NONE)?;
        let key = Key { slot, id: self.slots[usize::from(slot)].id };
        self.unlist(key);
        self.slots[usize::from(slot)].is_begun = true;
        Some(key)
    }

    /// Changes a stream's place, which it keeps if it is listed.
    pub(super) fn set_priority(&mut self, key: Key, priority: Priority) {
        let was_listed = self.slots[usize::from(key.slot)].is_listed;
        self.unlist(key);
        let stream = &mut self.slots[usize::from(key.slot)];
        stream.priority = priority;
        if was_listed {
            self.list(key);
        }
    }
}
