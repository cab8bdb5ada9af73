//! When a second try helps though the first has not failed.
//!
//! A few calls take much longer than the others, for reasons of the moment and the place. Whoever asks another endpoint once a
//! call has taken longer than nearly all others do, and takes the answer that comes first, cuts off the tail for little extra
//! load (Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013, "Hedged requests"). How long "nearly all others" take is
//! learned from the recent calls; a [`Budget`] keeps a service that has become slow as a whole from being asked twice for
//! everything.

use std::time::{Duration, Instant};

use crate::budget::{self, Budget};
use crate::limits::{
    HEDGE_CALLS_MIN, HEDGE_DELAY_MAX, HEDGE_DELAY_MIN, HEDGE_KEPT, HEDGE_PER_SECOND, HEDGE_QUANTILE, HEDGE_SHARE,
};
use crate::window::{Tally, Window};

/// When a second try is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// How long the first try has before the second is made.
    pub delay: Delay,
    /// What the second tries may come to; see [`budget::Config`].
    pub budget: budget::Config,
}

impl Default for Policy {
    fn default() -> Self {
        let budget = budget::Config { share: HEDGE_SHARE, per_second: HEDGE_PER_SECOND, ..budget::Config::default() };
        Policy { delay: Delay::default(), budget }
    }
}

/// How long the first try has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delay {
    /// Always this long.
    Fixed(Duration),
    /// As long as this share of the recent calls took at most: 0.95 hedges the slowest twentieth.
    Quantile {
        /// Between 0 and 1.
        of: f64,
        /// But at least this.
        min: Duration,
        /// And at most this.
        max: Duration,
    },
}

impl Default for Delay {
    fn default() -> Self {
        Delay::Quantile { of: HEDGE_QUANTILE, min: HEDGE_DELAY_MIN, max: HEDGE_DELAY_MAX }
    }
}

/// Decides when second tries are made. Some three kilobytes, which lie on the heap from the start; one for each thing that is
/// called.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::hedge::{Hedge, Policy};
///
/// let now = Instant::now();
/// let mut hedge = Hedge::new(Policy::default());
/// assert_eq!(hedge.begin(now), None, "nobody knows yet how long a call takes");
/// for millis in 1..=100 {
///     hedge.record(Duration::from_millis(millis), now);
/// }
/// let delay = hedge.begin(now).unwrap();
/// assert!(delay >= Duration::from_millis(95) && delay <= Duration::from_millis(110), "slower than 95 of 100");
/// assert!(hedge.send(now), "a twentieth of the calls, and ten each second");
/// ```
#[derive(Debug)]
pub struct Hedge {
    delay: Delay,
    budget: Budget,
    times: Box<Times>,
}

impl Hedge {
    /// Nothing is known yet.
    pub fn new(policy: Policy) -> Hedge {
        let quantile = match policy.delay {
            Delay::Fixed(_) => 1.0,
            Delay::Quantile { of, .. } => of,
        };
        Hedge { delay: policy.delay, budget: Budget::new(policy.budget), times: Box::new(Times::new(quantile)) }
    }

    /// A call begins. If it has not been answered after what this gives, [`send`](Self::send) says whether to try a second
    /// time. `None`: too little is known to say.
    pub fn begin(&mut self, now: Instant) -> Option<Duration> {
        self.budget.deposit(now);
        match self.delay {
            Delay::Fixed(delay) => Some(delay),
            Delay::Quantile { min, max, .. } => self.times.quantile(now).map(|delay| delay.min(max).max(min)),
        }
    }

    /// The delay is over, and there is no answer. True if a second try is to be made; then it is paid for. Whoever wants hedges
    /// and retries to stay within one budget withdraws from that of the retries too, as Finagle does.
    pub fn send(&mut self, now: Instant) -> bool {
        self.budget.withdraw(now)
    }

    /// A call was answered, so long after its first try began, whichever try it was that was answered. Measured like this,
    /// hedging does not shorten what it learns its delay from: a call that was hedged has taken longer than the delay.
    pub fn record(&mut self, time: Duration, now: Instant) {
        if let Delay::Quantile { .. } = self.delay {
            self.times.record(time, now);
        }
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Hedge::new(Policy::default())
    }
}

/// How long recent calls took, in buckets that grow with the time they stand for, and one quantile of it.
#[derive(Debug)]
struct Times {
    recent: Window<Buckets, SLICES>,
    quantile: f64,
    /// The quantile as it was when it was last looked for; since then so many calls were recorded.
    known: Option<Duration>,
    stale: u32,
}

impl Times {
    fn new(quantile: f64) -> Times {
        Times { recent: Window::new(HEDGE_KEPT), quantile, known: None, stale: 0 }
    }

    fn record(&mut self, time: Duration, now: Instant) {
        if self.recent.turn(now) {
            self.stale = STALE_MAX;
        }
        let bucket = bucket(time);
        self.recent.count(|buckets| {
            buckets.calls += 1;
            buckets.counts[bucket] += 1;
        });
        self.stale = self.stale.saturating_add(1);
    }

    fn quantile(&mut self, now: Instant) -> Option<Duration> {
        if self.recent.turn(now) || self.stale >= STALE_MAX || self.known.is_none() {
            self.stale = 0;
            self.known = self.look();
        }
        self.known
    }

    fn look(&self) -> Option<Duration> {
        let recent = self.recent.sum();
        if recent.calls < HEDGE_CALLS_MIN {
            return None;
        }
        // The smallest time that so many calls did not exceed.
        let rank = (self.quantile.clamp(0.0, 1.0) * f64::from(recent.calls)).ceil().max(1.0) as u32;
        let mut seen = 0;
        for (bucket, &count) in recent.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(upper_end(bucket));
            }
        }
        None
    }
}

#[derive(Clone, Copy, Debug)]
struct Buckets {
    calls: u32,
    counts: [u32; BUCKETS],
}

impl Tally for Buckets {
    const NOTHING: Buckets = Buckets { calls: 0, counts: [0; BUCKETS] };

    fn subtract(&mut self, other: &Buckets) {
        self.calls -= other.calls;
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count -= other;
        }
    }
}

/// The bucket of a time: eight for each doubling, so that a bucket is at most an eighth wide; all below 64 µs in the first, all
/// beyond a minute in the last.
fn bucket(time: Duration) -> usize {
    let units = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / UNIT_NANOS;
    if units < 8 {
        return 0;
    }
    let doublings = units.ilog2() - 3;
    let eighth = (units >> doublings) & 7;
    (1 + doublings as usize * 8 + eighth as usize).min(BUCKETS - 1)
}

/// The longest time that falls into the bucket.
fn upper_end(bucket: usize) -> Duration {
    let (doublings, eighth) = match bucket {
        0 => return Duration::from_nanos(8 * UNIT_NANOS),
        bucket => ((bucket - 1) / 8, (bucket as u64 - 1) % 8),
    };
    Duration::from_nanos(((8 + eighth + 1) << doublings) * UNIT_NANOS)
}

const UNIT_NANOS: u64 = 8_000;
/// From 64 µs, twenty doublings: to 67 s.
const BUCKETS: usize = 1 + 20 * 8;
/// As Finagle's filter has it.
const SLICES: usize = 3;
/// The quantile is looked for anew after so many calls: it takes about as long as recording some ten of them.
const STALE_MAX: u32 = 32;

#[cfg(test)]
mod tests;
