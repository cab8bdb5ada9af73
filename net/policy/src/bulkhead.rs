//! So many calls at a time, and so many that wait for their turn.
//!
//! A service that has become slow ties up whoever calls it; the bulkhead bounds how much of us that may be. It only counts: the
//! queue in which calls wait is the caller's. A place that becomes free passes straight to one that waits, so that no newcomer
//! takes it in between.
//!
//! Envoy's "circuit breakers" are bulkheads: connections, requests that wait, requests and retries under way
//! ([`limits`](crate::limits) has its defaults).

use crate::limits::{REQUESTS_MAX, WAITING_MAX};

/// Counts the calls that run and those that wait.
///
/// ```
/// use shardwise_policy::bulkhead::{Bulkhead, Entry};
///
/// let mut bulkhead = Bulkhead::new(1, 1);
/// assert_eq!(bulkhead.enter(), Entry::Admitted);
/// assert_eq!(bulkhead.enter(), Entry::Queued);
/// assert_eq!(bulkhead.enter(), Entry::Refused);
/// assert!(bulkhead.leave(), "the first who waits runs in the place of the one that left");
/// assert!(!bulkhead.leave(), "nobody waits");
/// ```
#[derive(Clone, Debug)]
pub struct Bulkhead {
    running_max: u32,
    waiting_max: u32,
    running: u32,
    waiting: u32,
}

/// What became of a call that wants to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It runs; [`Bulkhead::leave`] when it has ended.
    Admitted,
    /// It waits. Either a place passes to it ([`Bulkhead::leave`], [`Bulkhead::resize`]) and it runs, or it gives up
    /// ([`Bulkhead::give_up`]).
    Queued,
    /// There is room for it nowhere. It has nothing to give back.
    Refused,
}

impl Default for Bulkhead {
    /// Envoy's defaults: 1024 requests, and 1024 that wait.
    fn default() -> Self {
        Bulkhead::new(REQUESTS_MAX, WAITING_MAX)
    }
}

impl Bulkhead {
    /// At most `running_max` calls at a time, and `waiting_max` that wait for them.
    pub fn new(running_max: u32, waiting_max: u32) -> Bulkhead {
        Bulkhead { running_max, waiting_max, running: 0, waiting: 0 }
    }

    /// A call wants to be made. Whoever comes while others wait, waits behind them.
    #[must_use = "whoever was admitted or queued has something to give back"]
    pub fn enter(&mut self) -> Entry {
        // Nobody waits while there is room.
        if self.running < self.running_max {
            self.running += 1;
            Entry::Admitted
        } else if self.waiting < self.waiting_max {
            self.waiting += 1;
            Entry::Queued
        } else {
            Entry::Refused
        }
    }

    /// A call that ran has ended. True if its place has passed to one that waits: it runs now, and is to be woken.
    ///
    /// # Panics
    ///
    /// If no call runs.
    #[must_use = "one that waits has been given the place, and is to be woken"]
    pub fn leave(&mut self) -> bool {
        assert!(self.running > 0, "a call that leaves has entered");
        self.running -= 1;
        self.pass_on()
    }

    /// A call that waited waits no longer, and does not run.
    ///
    /// # Panics
    ///
    /// If no call waits.
    pub fn give_up(&mut self) {
        assert!(self.waiting > 0, "a call that gives up has waited");
        self.waiting -= 1;
    }

    /// From now on so many at a time. Gives how many of those that wait run now, and are to be woken. Calls that run already are
    /// not stopped.
    #[must_use = "so many that wait have been given a place, and are to be woken"]
    pub fn resize(&mut self, running_max: u32) -> u32 {
        self.running_max = running_max;
        let free = running_max.saturating_sub(self.running).min(self.waiting);
        self.running += free;
        self.waiting -= free;
        free
    }

    /// How many calls run.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// How many calls wait.
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// How many calls may run at a time.
    pub fn running_max(&self) -> u32 {
        self.running_max
    }

    fn pass_on(&mut self) -> bool {
        let passes = self.waiting > 0 && self.running < self.running_max;
        if passes {
            self.waiting -= 1;
            self.running += 1;
        }
        passes
    }
}

#[cfg(test)]
mod tests;
