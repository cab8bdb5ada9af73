//! What lies ahead: a queue ordered by when, then by when it was decided. Its one idea: the heap holds names only, and an
//! event that is called off leaves its name behind, to be skipped when its time comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::limits::{CALLED_OFF_MAX, EVENTS_MAX};
use crate::arena::{Arena, Key};

/// Values of one kind, each with its moment.
pub(super) struct Queue<E> {
    events: Arena<E>,
    order: BinaryHeap<Reverse<Place>>,
    /// How many were ever scheduled.
    decided: u64,
}

/// Ordered by moment, then by number.
type Place = (Duration, u64, Key);

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Queue { events: Arena::new(EVENTS_MAX), order: BinaryHeap::new(), decided: 0 }
    }

    /// Appends an event, and names it.
    pub(super) fn push(&mut self, at: Duration, event: E) -> Key {
        let Ok(key) = self.events.insert(event) else {
            panic!("a simulated machine has {EVENTS_MAX} events ahead of it")
        };
        self.decided += 1;
        self.order.push(Reverse((at, self.decided, key)));
        key
    }

    /// Takes an event out before its time.
    pub(super) fn call_off(&mut self, key: Key) -> Option<E> {
        let event = self.events.remove(key);
        if self.order.len() > CALLED_OFF_MAX + 2 * self.events.len() {
            self.order.retain(|Reverse((_, _, key))| self.events.contains(*key));
        }
        self.skip();
        event
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next one, if it is due.
    pub(super) fn pop(&mut self, until: Duration) -> Option<(Duration, E)> {
        let at = self.next_at().filter(|at| *at <= until)?;
        let Reverse((_, _, key)) = self.order.pop()?;
        let event = self.events.remove(key)?;
        self.skip();
        Some((at, event))
    }

    /// Takes out all that `wanted` wants, in order.
    pub(super) fn take_all(&mut self, wanted: impl Fn(&E) -> bool) -> Vec<E> {
        let mut places: Vec<Place> = self.order.iter().map(|Reverse(place)| *place).collect();
        places.sort_unstable();
        let keys = places.into_iter().map(|(_, _, key)| key);
        let keys: Vec<Key> = keys.filter(|key| self.events.get(*key).is_some_and(&wanted)).collect();
        let taken = keys.into_iter().filter_map(|key| self.events.remove(key)).collect();
        self.skip();
        taken
    }

    /// Lets the first name in the heap be one of an event that will happen.
    fn skip(&mut self) {
        while let Some(Reverse((_, _, key))) = self.order.peek()
            && !self.events.contains(*key)
        {
            self.order.pop();
        }
    }
}
