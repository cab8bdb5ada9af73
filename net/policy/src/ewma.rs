//! How long an endpoint takes to answer, told pessimistically.
//!
//! The one idea, Finagle's: what is slower than the average is believed at once, what is faster only as time passes. So one slow
//! answer is enough to turn calls away, and trust comes back cautiously. An endpoint that is not asked is forgiven by and by,
//! and is tried again.
//!
//! Source: Finagle, `com.twitter.finagle.loadbalancer.PeakEwma`, whose arithmetic this is.

use std::time::{Duration, Instant};

use crate::limits::EWMA_PENALTY;

/// A moving average of latency that is sensitive to peaks: a few numbers, and nothing on the heap.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::ewma::PeakEwma;
///
/// let start = Instant::now();
/// let mut latency = PeakEwma::new(Duration::from_secs(10), start);
/// latency.observe(Duration::from_millis(10), start);
/// latency.observe(Duration::from_millis(500), start);
/// assert_eq!(latency.latency(start), Some(Duration::from_millis(500)));
///
/// // After one decay time a fast answer weighs 1 - 1/e.
/// latency.observe(Duration::from_millis(10), start + Duration::from_secs(10));
/// assert!(latency.latency(start + Duration::from_secs(10)).unwrap() < Duration::from_millis(191));
/// ```
#[derive(Clone, Debug)]
pub struct PeakEwma {
    /// In seconds; 0 where nothing is known.
    cost: f64,
    /// Of the cost.
    at: Instant,
    /// In seconds: after this a cost has lost all but 1/e of its weight.
    decay: f64,
}

impl PeakEwma {
    /// An average of nothing yet. A `decay` of less than a microsecond counts as one.
    pub fn new(decay: Duration, now: Instant) -> PeakEwma {
        PeakEwma { cost: 0.0, at: now, decay: decay.as_secs_f64().max(1e-6) }
    }

    /// An answer took `latency` and came at `now`.
    #[inline]
    pub fn observe(&mut self, latency: Duration, now: Instant) {
        self.fold(latency.as_secs_f64(), now);
    }

    /// What is believed at `now`; none if nothing was ever observed, or so long ago that nothing is left of it.
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        let cost = self.cost * self.kept(now);
        (cost > 0.0).then(|| Duration::try_from_secs_f64(cost).unwrap_or(Duration::MAX))
    }

    /// Takes over what somebody else has observed, where nothing is known here.
    pub fn suppose(&mut self, latency: Duration, now: Instant) {
        if self.cost == 0.0 {
            self.fold(latency.as_secs_f64(), now);
        }
    }

    /// What one call more would wait for, in seconds: the latency for each call under way and for the new one. Where nothing is
    /// known, the first call is free, so that it is made, and the next wait for what it tells, at
    /// [`EWMA_PENALTY`]. `outstanding` may be a fraction, of calls for each unit of weight.
    ///
    /// It costs one exponential function, some ten nanoseconds.
    #[inline]
    pub fn load(&mut self, outstanding: f64, now: Instant) -> f64 {
        self.fold(0.0, now);
        if self.cost == 0.0 && outstanding > 0.0 {
            EWMA_PENALTY.as_secs_f64() + outstanding
        } else {
            self.cost * (outstanding + 1.0)
        }
    }

    /// Observations come at uneven distances, so that the weight of what was is a function of the time since. A time that lies
    /// before the last one counts as the same.
    #[inline]
    fn fold(&mut self, latency: f64, now: Instant) {
        if latency > self.cost {
            self.cost = latency;
        } else if self.cost > 0.0 {
            let kept = self.kept(now);
            self.cost = self.cost * kept + latency * (1.0 - kept);
        }
        self.at = self.at.max(now);
    }

    /// The part of its weight that what was known has kept.
    #[inline]
    fn kept(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.at).as_secs_f64() / self.decay).exp()
    }
}

#[cfg(test)]
mod tests;
