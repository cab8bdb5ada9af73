//! What happened in the last while, and nothing older.
//!
//! Time is cut into a few slices; a slice that has grown too old goes as a whole, and a sum of all slices is kept, so that both
//! adding and asking cost the same however much happened.

use std::time::{Duration, Instant};

/// What can be counted.
pub(crate) trait Tally: Copy {
    const NOTHING: Self;

    /// Takes away what was counted before.
    fn subtract(&mut self, other: &Self);
}

#[derive(Debug)]
pub(crate) struct Window<T, const SLICES: usize> {
    slices: [T; SLICES],
    sum: T,
    current: usize,
    /// When the current slice began.
    since: Option<Instant>,
    slice: Duration,
}

impl<T: Tally, const SLICES: usize> Window<T, SLICES> {
    /// Looks back over `length`: what happened goes when that has passed, or up to one slice earlier.
    pub(crate) fn new(length: Duration) -> Self {
        let slice = (length / SLICES as u32).max(Duration::from_nanos(1));
        Window { slices: [T::NOTHING; SLICES], sum: T::NOTHING, current: 0, since: None, slice }
    }

    /// Forgets what has become too old. True if a new slice has begun.
    pub(crate) fn turn(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        // A clock that steps back counts in the slice that is open.
        let passed = now.saturating_duration_since(since).as_nanos();
        let slice = self.slice.as_nanos();
        if passed < slice {
            return false;
        }
        // Less than a slice, which is a `Duration`; and slices keep their beat.
        let into = Duration::new(((passed % slice) / 1_000_000_000) as u64, ((passed % slice) % 1_000_000_000) as u32);
        self.since = now.checked_sub(into);
        for _ in 0..(passed / slice).min(SLICES as u128) {
            self.current = (self.current + 1) % SLICES;
            self.sum.subtract(&self.slices[self.current]);
            self.slices[self.current] = T::NOTHING;
        }
        true
    }

    /// Counts in the slice that is open, and in the sum: [`turn`](Self::turn) comes first.
    pub(crate) fn count(&mut self, add: impl Fn(&mut T)) {
        add(&mut self.slices[self.current]);
        add(&mut self.sum);
    }

    pub(crate) fn sum(&self) -> &T {
        &self.sum
    }

    /// Nothing has happened.
    pub(crate) fn clear(&mut self) {
        *self = Window { slices: [T::NOTHING; SLICES], sum: T::NOTHING, current: 0, since: None, slice: self.slice };
    }
}

#[cfg(test)]
mod tests;
