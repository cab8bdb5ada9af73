//! The coarse timers. Its one idea: a hierarchy of wheels with 64 slots each, the slot of a wheel being a whole turn of
//! the wheel below, and a timer waits on the lowest wheel on which it differs from the present. Arming, disarming and
//! moving is linking a node into a list, whatever the number of timers; when time reaches a slot of a higher wheel, its
//! timers go down to where they now belong.
//!
//! All timers of wheel `n` share the present's digits above `n` (in base 64) and have a greater digit at `n`, so the
//! first occupied slot of the lowest occupied wheel comes first of all.

use super::Id;
use super::slab::Slab;

#[derive(Debug)]
pub(super) struct Wheel<W> {
    nodes: Slab<Node<W>>,
    /// The tick up to which timers have fired.
    present: u64,
    /// For each level a bit for each slot that has timers; and for the spans.
    occupied: [u64; LEVELS + 1],
    /// Those of the levels, and last the spans whose time has not begun.
    slots: Box<[List; LEVELS * SLOTS + 1]>,
}

#[derive(Debug)]
struct Node<W> {
    /// When it fires; of a span, how many nanoseconds it has.
    tick: u64,
    next: u32,
    previous: u32,
    /// The slot that it is linked into.
    slot: u32,
    waiter: W,
}

/// The timers of one slot in the order in which they came.
#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

impl<W> Wheel<W> {
    pub(super) fn new() -> Self {
        let empty = List { first: NONE, last: NONE };
        Wheel { nodes: Slab::new(), present: 0, occupied: [0; LEVELS + 1], slots: Box::new([empty; SPANS + 1]) }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn insert(&mut self, tick: u64, waiter: W) -> Option<Id> {
        self.insert_into(self.slot_of(tick), tick, waiter)
    }

    /// A timer whose time has not begun.
    pub(super) fn insert_span(&mut self, nanos: u64, waiter: W) -> Option<Id> {
        self.insert_into(SPANS, nanos, waiter)
    }

    #[inline]
    fn insert_into(&mut self, slot: usize, tick: u64, waiter: W) -> Option<Id> {
        // Linking at the end here spares a second visit to the node.
        let previous = self.slots[slot].last;
        let id = self.nodes.insert(Node { tick, next: NONE, previous, slot: slot as u32, waiter })?;
        self.append(slot, previous, id.index);
        Some(id)
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<W> {
        self.nodes.get_mut(id)?;
        let node = self.nodes.take(id.index);
        self.unlink(node.slot, node.previous, node.next);
        Some(node.waiter)
    }

    pub(super) fn rearm(&mut self, id: Id, tick: u64) -> bool {
        let Some(node) = self.nodes.get_mut(id) else { return false };
        node.tick = tick;
        let (slot, previous, next) = (node.slot, node.previous, node.next);
        if slot as usize != self.slot_of(tick) {
            self.unlink(slot, previous, next);
            self.link(id.index);
        }
        true
    }

    /// Whether the time of some has not begun.
    #[inline]
    pub(super) fn has_spans(&self) -> bool {
        self.slots[SPANS].first != NONE
    }

    /// Begins the time of all spans: `tick_of` says when one of so many nanoseconds is over.
    pub(super) fn begin(&mut self, tick_of: impl Fn(u64) -> u64) {
        while let Some(index) = self.pop(SPANS) {
            let node = self.nodes.at(index);
            node.tick = tick_of(node.tick);
            self.link(index);
        }
    }

    pub(super) fn waiter_mut(&mut self, id: Id) -> Option<&mut W> {
        Some(&mut self.nodes.get_mut(id)?.waiter)
    }

    pub(super) fn expire(&mut self, now: u64, fire: &mut impl FnMut(W)) {
        while let Some((slot, tick)) = self.first_slot()
            && tick <= now
        {
            self.present = tick;
            // One at a time, so that everything is in order whenever `fire` is called.
            while let Some(index) = self.pop(slot) {
                match slot < SLOTS {
                    true => fire(self.nodes.take(index).waiter),
                    false => self.link(index),
                }
            }
        }
        self.present = self.present.max(now);
    }

    /// The tick at which a timer fires or moves down.
    pub(super) fn next_tick(&self) -> Option<u64> {
        self.first_slot().map(|(_, tick)| tick)
    }

    /// The first occupied slot, and the tick at which it begins.
    fn first_slot(&self) -> Option<(usize, u64)> {
        let level = self.occupied[..LEVELS].iter().position(|&slots| slots != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        let above = self.present >> (DIGIT * (level + 1)) << (DIGIT * (level + 1));
        Some((level * SLOTS + digit, above | (digit as u64) << (DIGIT * level)))
    }

    /// Where a timer for this tick waits: at the highest digit in which it differs from the present. What is due already
    /// waits in the present's own slot.
    #[inline]
    fn slot_of(&self, tick: u64) -> usize {
        let tick = tick.clamp(self.present, TICKS_MAX);
        let level = ((tick ^ self.present) | 1).ilog2() as usize / DIGIT;
        level * SLOTS + (tick >> (DIGIT * level)) as usize % SLOTS
    }

    fn link(&mut self, index: u32) {
        let tick = self.nodes.at(index).tick;
        let slot = self.slot_of(tick);
        let previous = self.slots[slot].last;
        let node = self.nodes.at(index);
        (node.slot, node.previous, node.next) = (slot as u32, previous, NONE);
        self.append(slot, previous, index);
    }

    /// Makes `index` the last of a slot whose last was `previous`.
    #[inline]
    fn append(&mut self, slot: usize, previous: u32, index: u32) {
        match previous {
            NONE => self.slots[slot].first = index,
            _ => self.nodes.at(previous).next = index,
        }
        self.slots[slot].last = index;
        self.occupied[slot / SLOTS] |= 1 << (slot % SLOTS);
    }

    /// Closes the gap that a node leaves.
    #[inline]
    fn unlink(&mut self, slot: u32, previous: u32, next: u32) {
        let slot = slot as usize;
        match previous {
            NONE => self.slots[slot].first = next,
            _ => self.nodes.at(previous).next = next,
        }
        match next {
            NONE => self.slots[slot].last = previous,
            _ => self.nodes.at(next).previous = previous,
        }
        if self.slots[slot].first == NONE {
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        }
    }

    fn pop(&mut self, slot: usize) -> Option<u32> {
        let index = self.slots[slot].first;
        if index == NONE {
            return None;
        }
        let next = self.nodes.at(index).next;
        self.unlink(slot as u32, NONE, next);
        Some(index)
    }
}

const NONE: u32 = u32::MAX;
/// Bits of a digit: each wheel has 64 slots, one bit of a word each.
const DIGIT: usize = 6;
const SLOTS: usize = 1 << DIGIT;
/// Seven wheels reach 139 years. What is later waits there and does not matter.
const LEVELS: usize = 7;
/// The slot behind those of the levels.
const SPANS: usize = LEVELS * SLOTS;
pub(super) const TICKS_MAX: u64 = (1 << (DIGIT * LEVELS)) - 1;
