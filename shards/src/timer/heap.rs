//! The precise timers. Its one idea: a binary heap whose entries know their place, so that a timer can be disarmed or
//! moved without being searched for, and nothing stale stays behind.

use std::time::Instant;

use super::Id;
use super::slab::Slab;

#[derive(Debug)]
pub(super) struct Heap<W> {
    nodes: Slab<Node<W>>,
    /// Each entry comes no later than the two at twice its place plus one and two.
    entries: Vec<Entry>,
    /// Counts what is armed, so that equal deadlines fire in that order.
    armed: u64,
}

#[derive(Debug)]
struct Node<W> {
    place: u32,
    waiter: W,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline: Instant,
    order: u64,
    index: u32,
}

impl<W> Heap<W> {
    pub(super) fn new() -> Self {
        Heap { nodes: Slab::new(), entries: Vec::new(), armed: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn insert(&mut self, deadline: Instant, waiter: W) -> Option<Id> {
        let place = self.entries.len();
        let id = self.nodes.insert(Node { place: place as u32, waiter })?;
        let entry = self.entry(deadline, id.index);
        self.entries.push(entry);
        self.settle(place);
        Some(id)
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<W> {
        self.nodes.get_mut(id)?;
        Some(self.take(id.index))
    }

    pub(super) fn rearm(&mut self, id: Id, deadline: Instant) -> bool {
        let Some(node) = self.nodes.get_mut(id) else { return false };
        let place = node.place as usize;
        self.entries[place] = self.entry(deadline, id.index);
        self.settle(place);
        true
    }

    pub(super) fn waiter_mut(&mut self, id: Id) -> Option<&mut W> {
        Some(&mut self.nodes.get_mut(id)?.waiter)
    }

    pub(super) fn expire(&mut self, now: Instant, fire: &mut impl FnMut(W)) {
        while let Some(first) = self.entries.first()
            && first.deadline <= now
        {
            let index = first.index;
            fire(self.take(index));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.entries.first().map(|first| first.deadline)
    }

    fn entry(&mut self, deadline: Instant, index: u32) -> Entry {
        self.armed += 1;
        Entry { deadline, order: self.armed, index }
    }

    /// Takes a timer out; the last entry takes its place.
    fn take(&mut self, index: u32) -> W {
        let node = self.nodes.take(index);
        let place = node.place as usize;
        self.entries.swap_remove(place);
        if place < self.entries.len() {
            self.settle(place);
        }
        node.waiter
    }

    /// Moves the entry at this place up or down to where it belongs.
    fn settle(&mut self, mut place: usize) {
        let entry = self.entries[place];
        while place > 0 && entry < self.entries[(place - 1) / 2] {
            self.put(place, self.entries[(place - 1) / 2]);
            place = (place - 1) / 2;
        }
        while let Some(child) = self.earlier_child(place)
            && self.entries[child] < entry
        {
            self.put(place, self.entries[child]);
            place = child;
        }
        self.put(place, entry);
    }

    fn earlier_child(&self, place: usize) -> Option<usize> {
        let (left, right) = (2 * place + 1, 2 * place + 2);
        match (self.entries.get(left)?, self.entries.get(right)) {
            (earlier, Some(later)) if later < earlier => Some(right),
            _ => Some(left),
        }
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.entries[place] = entry;
        self.nodes.at(entry.index).place = place as u32;
    }
}
