//! What admits calls on this shard: a rate, and so many at a time, declared or learned.
//!
//! There is one permit for each call that may ever be under way. While fewer are borne, those that are too many are kept here as they
//! come back, so that who waits, waits for one queue.

use std::time::Instant;

use policy::adaptive::{Limiter, Sample};
use policy::breaker::Breaker;
use policy::budget::{self, Budget};
use policy::hedge::Hedge;
use policy::rate::Rate;
use shards::Shard;
use shards::sync::{Permit, Semaphore};
use smallvec::{SmallVec, smallvec};

use super::Config;

pub(super) struct Limits {
    pub(super) budget: Budget,
    pub(super) hedge: Option<Hedge>,
    pub(super) rate: Option<Rate>,
    /// Of the service as a whole.
    pub(super) breaker: Option<Breaker>,
    limiter: Option<Limiter>,
    calls_max: u32,
    /// As many as there are calls too many.
    kept: Vec<Permit>,
}

impl Limits {
    pub(super) fn new(config: &Config, shard: &Shard) -> Self {
        // What is granted each second is granted to all shards together.
        let per_second = config.budget.per_second / shard.count() as f64;
        Limits {
            budget: Budget::new(budget::Config { per_second, ..config.budget }),
            hedge: config.hedge.map(Hedge::new),
            rate: config.rate.map(|rate| Rate::new(rate.count, rate.per, rate.burst)),
            breaker: config.breaker_of_all.map(Breaker::new),
            limiter: config.adaptive.map(|adaptive| Limiter::new(adaptive, shard.random())),
            calls_max: config.calls_max,
            kept: Vec::new(),
        }
    }

    /// How many calls may be under way.
    pub(super) fn calls_max(&self) -> u32 {
        self.limiter.as_ref().map_or(self.calls_max, |limiter| limiter.limit().clamp(1, self.calls_max))
    }

    /// Whether a second endpoint may be asked; then it is paid for, as a hedge and as a retry: both together are to stay within one
    /// budget, as with Finagle.
    pub(super) fn may_hedge(&mut self, now: Instant) -> bool {
        self.hedge.as_mut().is_some_and(|hedge| hedge.send(now)) && self.budget.withdraw(now)
    }

    /// A call has ended, and tells of the load.
    pub(super) fn sample(&mut self, sample: Sample, now: Instant) {
        if let Some(limiter) = &mut self.limiter {
            limiter.sample(sample, now);
        }
    }

    /// A call has ended. Gives permits that are to be dropped, once nothing here is borrowed: others go on with them.
    pub(super) fn give_back(&mut self, permit: Permit, places: &Semaphore) -> SmallVec<[Permit; 1]> {
        if self.limiter.is_none() {
            return smallvec![permit];
        }
        let many = (self.calls_max - self.calls_max()) as usize;
        self.kept.push(permit);
        while self.kept.len() < many
            && let Ok(permit) = places.try_acquire(1)
        {
            self.kept.push(permit);
        }
        self.kept.drain(many.min(self.kept.len())..).collect()
    }
}
