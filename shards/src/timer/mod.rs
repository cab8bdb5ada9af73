//! When to wake whom. Its one idea: time is handed in, so a shard reads the clock once a turn and a simulator makes its
//! own. Timeouts, which are many and mostly cancelled, go to a wheel with coarse steps; the few sleeps that must be
//! exact go to a heap. What a waiter is, and how it is woken, is left to the caller.

use std::fmt;
use std::time::{Duration, Instant};

use crate::limits::{TICK, TIMERS_MAX};

mod heap;
mod slab;
mod wheel;

use heap::Heap;
use wheel::{TICKS_MAX, Wheel};

/// The timers of one shard. A waiter is whatever the caller wakes by: a [`TaskNumber`](crate::task::TaskNumber), a
/// `Waker`, a number of its own.
#[derive(Debug)]
pub struct Timers<W> {
    /// Where tick 0 is.
    start: Instant,
    wheel: Wheel<W>,
    heap: Heap<W>,
}

impl<W> Timers<W> {
    /// No timers; time begins `now`.
    pub fn new(now: Instant) -> Self {
        Timers { start: now, wheel: Wheel::new(), heap: Heap::new() }
    }

    /// Arms a coarse timer: it fires less than a [`TICK`] late, and never early.
    pub fn insert(&mut self, deadline: Instant, waiter: W) -> Result<TimerKey, TimersFull> {
        let id = self.wheel.insert(self.tick_from(deadline), waiter).ok_or(TimersFull)?;
        Ok(TimerKey { id, kind: Kind::Coarse })
    }

    /// Arms a coarse timer for a span of time that [begins](Timers::begin) later: so that many cost one look at the clock, and those
    /// that are cancelled before it none.
    pub fn insert_span(&mut self, time: Duration, waiter: W) -> Result<TimerKey, TimersFull> {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let id = self.wheel.insert_span(nanos, waiter).ok_or(TimersFull)?;
        Ok(TimerKey { id, kind: Kind::Coarse })
    }

    /// Whether there are spans whose time has not begun: they are not among the [deadlines](Timers::next_deadline) yet.
    #[inline]
    pub fn has_spans(&self) -> bool {
        self.wheel.has_spans()
    }

    /// The time of all spans begins `now`.
    pub fn begin(&mut self, now: Instant) {
        let start = now.saturating_duration_since(self.start);
        self.wheel.begin(|nanos| tick_after(start.saturating_add(Duration::from_nanos(nanos))));
    }

    /// Arms a precise timer: it fires at the first look at or after the deadline. Costs the logarithm of the number of
    /// precise timers.
    pub fn insert_precise(&mut self, deadline: Instant, waiter: W) -> Result<TimerKey, TimersFull> {
        let id = self.heap.insert(deadline, waiter).ok_or(TimersFull)?;
        Ok(TimerKey { id, kind: Kind::Precise })
    }

    /// Disarms a timer and gives its waiter back; none if it has fired.
    pub fn cancel(&mut self, key: TimerKey) -> Option<W> {
        match key.kind {
            Kind::Coarse => self.wheel.remove(key.id),
            Kind::Precise => self.heap.remove(key.id),
        }
    }

    /// Gives an armed timer another deadline; false if it has fired.
    pub fn rearm(&mut self, key: &TimerKey, deadline: Instant) -> bool {
        match key.kind {
            Kind::Coarse => self.wheel.rearm(key.id, self.tick_from(deadline)),
            Kind::Precise => self.heap.rearm(key.id, deadline),
        }
    }

    /// The waiter of an armed timer; none if it has fired.
    pub fn waiter_mut(&mut self, key: &TimerKey) -> Option<&mut W> {
        match key.kind {
            Kind::Coarse => self.wheel.waiter_mut(key.id),
            Kind::Precise => self.heap.waiter_mut(key.id),
        }
    }

    /// Hands every waiter whose deadline has come to `fire`, coarse timers first, each kind by deadline (the coarse ones
    /// by tick), those of the same time in the order in which they were first armed.
    pub fn expire(&mut self, now: Instant, fire: &mut impl FnMut(W)) {
        self.wheel.expire(self.tick_until(now), fire);
        self.heap.expire(now, fire);
    }

    /// When to look again. For a timer that is far away this may come before its deadline, when the wheel has to look at
    /// it more closely: at most once for each of its levels, so a shard that sleeps by it wakes a few times too often.
    pub fn next_deadline(&self) -> Option<Instant> {
        let coarse = self.wheel.next_tick().map(|tick| self.start + duration_of(tick));
        match (coarse, self.heap.next_deadline()) {
            (Some(coarse), Some(precise)) => Some(coarse.min(precise)),
            (coarse, precise) => coarse.or(precise),
        }
    }

    /// Timers armed.
    pub fn len(&self) -> usize {
        self.wheel.len() + self.heap.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first tick that is not before this time.
    fn tick_from(&self, time: Instant) -> u64 {
        tick_after(time.saturating_duration_since(self.start))
    }

    /// The last tick that is not after this time.
    fn tick_until(&self, time: Instant) -> u64 {
        ticks_of(time.saturating_duration_since(self.start))
    }
}

/// The first tick that is not before so long after the start.
fn tick_after(since: Duration) -> u64 {
    let ticks = ticks_of(since);
    if duration_of(ticks) < since { TICKS_MAX.min(ticks + 1) } else { ticks }
}

/// Whole ticks in a duration. A tick is a millisecond, which spares a division of 128 bits.
fn ticks_of(duration: Duration) -> u64 {
    const { assert!(TICK.as_nanos() == Duration::from_millis(1).as_nanos()) };
    let ticks = duration.as_secs().saturating_mul(1000) + u64::from(duration.subsec_millis());
    ticks.min(TICKS_MAX)
}

fn duration_of(ticks: u64) -> Duration {
    Duration::from_millis(ticks)
}

/// An armed timer. There is one key for each, so whoever holds it owns the timer; a key that is dropped leaves its timer
/// armed. Use it only with the timers that it came from.
#[derive(Debug)]
#[must_use = "without its key a timer cannot be cancelled"]
pub struct TimerKey {
    id: Id,
    kind: Kind,
}

/// Where a timer is, and which of those that were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id {
    index: u32,
    generation: u32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Coarse,
    Precise,
}

/// [`TIMERS_MAX`] timers of this kind are armed on this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimersFull;

impl fmt::Display for TimersFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TIMERS_MAX} timers are armed on this shard already")
    }
}

impl std::error::Error for TimersFull {}

#[cfg(test)]
mod tests;
