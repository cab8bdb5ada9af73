//! The streams of a connection: found by their number, kept in slots that are used again; and the order in which those that
//! have something to send may.

use crate::message::priority::{Priority, URGENCIES};
use crate::slots::{NONE, Numbered, Slots};

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

#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Slots<Stream>,
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

impl Numbered for Stream {
    type Number = u32;

    const FREE: u32 = 0;

    #[inline]
    fn number(&self) -> u32 {
        self.id
    }

    #[inline]
    fn order(id: u32) -> usize {
        (id >> 1) as usize
    }

    fn clear(&mut self) {
        self.id = Stream::FREE;
    }
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The slot of this stream, if it has one.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<Key> {
        self.slots.find(id).map(|slot| Key { slot, id })
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.slots.get(key.slot, key.id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key.slot, key.id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut()
    }

    /// Who wants to send and may.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Key> {
        let waiting = self.slots.iter().filter(|(_, stream)| stream.wants && stream.send_window > 0);
        waiting.map(|(slot, stream)| Key { slot, id: stream.id })
    }

    /// Adds a stream, whose number is new. `windows` are what we may send, and what the peer may.
    pub(super) fn open(&mut self, id: u32, (send_window, window): (i32, u32)) -> Key {
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
        Key { slot: self.slots.open(stream), id }
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, key: Key) {
        self.unlist(key);
        self.slots.close(key.slot);
    }

    // ---- who may send ------------------------------------------------------------------------------------------------

    /// Lists a stream that has something to send and may. The most urgent are first; of these, one that has begun goes on
    /// until it is done, unless it is of use in pieces: then it goes behind the others (RFC 9218 section 10).
    pub(super) fn list(&mut self, key: Key) {
        let slot = key.slot;
        let stream = &mut self.slots[slot];
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
                next => self.slots[next].before = slot,
            }
        } else {
            (stream.before, stream.after) = (list.last, NONE);
            let last = std::mem::replace(&mut list.last, slot);
            match last {
                NONE => list.first = slot,
                last => self.slots[last].after = slot,
            }
        }
    }

    pub(super) fn unlist(&mut self, key: Key) {
        let stream = &mut self.slots[key.slot];
        if !std::mem::take(&mut stream.is_listed) {
            return;
        }
        let (before, after, urgency) = (stream.before, stream.after, usize::from(stream.priority.urgency));
        match before {
            NONE => self.ready[urgency].first = after,
            before => self.slots[before].after = after,
        }
        match after {
            NONE => self.ready[urgency].last = before,
            after => self.slots[after].before = before,
        }
    }

    /// Who is next. It leaves the list.
    pub(super) fn pick(&mut self) -> Option<Key> {
        let slot = self.ready.iter().map(|list| list.first).find(|&slot| slot != NONE)?;
        let key = Key { slot, id: self.slots[slot].id };
        self.unlist(key);
        self.slots[slot].is_begun = true;
        Some(key)
    }

    /// Changes a stream's place, which it keeps if it is listed.
    pub(super) fn set_priority(&mut self, key: Key, priority: Priority) {
        let was_listed = self.slots[key.slot].is_listed;
        self.unlist(key);
        let stream = &mut self.slots[key.slot];
        stream.priority = priority;
        if was_listed {
            self.list(key);
        }
    }
}
