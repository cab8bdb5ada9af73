//! How many calls at a time a server can take, learned from how long it takes to answer.
//!
//! As long as a server has room, more calls at a time do not make it slower; once it has none, they queue there, and each takes
//! longer. So a limit may grow while answers take as long as usual, and falls when they take longer. [`Limiter`] gathers what
//! answers tell into short windows and asks one of two algorithms what the limit should be after each:
//! [`Algorithm::Gradient`] goes by how much slower answers have become, [`Algorithm::Vegas`] by how many calls must be
//! queueing.
//!
//! Both need to know how long an answer takes that is not kept waiting, and a server that is always busy never shows it.
//! Netflix's algorithms then take the queue for normal, sooner or later, and the limit creeps up for as long as there is
//! demand. Here the limit is halved once a minute, until calls that had at most half as much before them have been answered;
//! what they took is the new measure, up or down. (Envoy's adaptive concurrency does the same with a fixed low limit.) In
//! between, windows in which the limit was not reached count for it, slowly; one in which it was shows, in part, the queue that
//! the limit has let grow.

mod gradient;
mod vegas;

use std::time::{Duration, Instant};

use crate::chance;
use crate::limits::{
    ADAPTIVE_FIRST, ADAPTIVE_MAX, ADAPTIVE_MIN, ADAPTIVE_PROBE_EVERY, ADAPTIVE_PROBE_MAX, ADAPTIVE_PROBE_TIMES,
    ADAPTIVE_SAMPLES_MIN, ADAPTIVE_UNLEARN, ADAPTIVE_WINDOW, ADAPTIVE_WINDOWS,
};

/// What a limit is learned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// The limit follows the ratio of the usual time to the present one; after Netflix's `Gradient2Limit`. Suits calls that
    /// differ much from each other.
    #[default]
    Gradient,
    /// The limit is what keeps a few calls in the server's queue; after Netflix's `VegasLimit`, which is after TCP Vegas
    /// (Brakmo and Peterson, 1995). Holds answers closer to their shortest time, and suits calls that are alike.
    Vegas,
}

/// How a [`Limiter`] learns, and within which bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// By what.
    pub algorithm: Algorithm,
    /// The limit to begin with.
    pub first: u32,
    /// Never below this; at least one.
    pub min: u32,
    /// Never above this.
    pub max: u32,
    /// How often the limit is looked at, if there are enough answers.
    pub window: Duration,
    /// How often the limit is halved for a moment, to see what an answer takes that is not kept waiting. The moment lasts
    /// twenty times as long as an answer, but no longer than five seconds.
    pub probe_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            algorithm: Algorithm::default(),
            first: ADAPTIVE_FIRST,
            min: ADAPTIVE_MIN,
            max: ADAPTIVE_MAX,
            window: ADAPTIVE_WINDOW,
            probe_every: ADAPTIVE_PROBE_EVERY,
        }
    }
}

/// What one call has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it took.
    pub time: Duration,
    /// How many calls were under way when it began, itself among them.
    pub in_flight: u32,
    /// Whether it was dropped: it timed out, or the server refused it because it has too much to do. What it took then says
    /// nothing.
    pub dropped: bool,
}

/// A limit for the calls under way at a time, which learns. Some 150 bytes; a sample costs a few nanoseconds.
///
/// It only says the number; a [`Bulkhead`](crate::bulkhead::Bulkhead) of that size keeps it.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::adaptive::{Config, Limiter, Sample};
///
/// let mut now = Instant::now();
/// let mut limiter = Limiter::new(Config::default(), 0);
/// for _ in 0..1000 {
///     now += Duration::from_millis(1);
///     let in_flight = limiter.limit();
///     limiter.sample(Sample { time: Duration::from_millis(10), in_flight, dropped: false }, now);
/// }
/// assert!(limiter.limit() > 20, "as fast as ever, with as many calls as may be");
/// ```
#[derive(Debug)]
pub struct Limiter {
    config: Config,
    limit: f64,
    /// What an answer takes that is not kept waiting, in seconds.
    unhurried: Option<f64>,
    seen: Seen,
    /// When the window or the probe began.
    since: Option<Instant>,
    probe: Probe,
    /// A part of the time to the first probe, so that many limiters do not probe together.
    random: u64,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    /// The next one is due then; `None`: never.
    At(Option<Instant>),
    /// One goes on for so long.
    Runs(Duration),
}

impl Limiter {
    /// Nothing is known yet. The random number decides when the first probe is.
    pub fn new(config: Config, random: u64) -> Limiter {
        let seen = Seen::default();
        let probe = Probe::At(None);
        let mut limiter = Limiter { config, limit: 0.0, unhurried: None, seen, since: None, probe, random };
        limiter.set(f64::from(config.first));
        limiter
    }

    /// How many calls may be under way.
    pub fn limit(&self) -> u32 {
        match self.probe {
            Probe::At(_) => self.limit as u32,
            Probe::Runs(_) => (self.limit as u32 / 2).max(self.config.min).max(1),
        }
    }

    /// A call has ended. Gives the limit from now on.
    pub fn sample(&mut self, sample: Sample, now: Instant) -> u32 {
        let since = match self.since {
            Some(since) => since,
            None => {
                let wait = chance::up_to(self.config.probe_every, self.random).max(self.config.probe_every / 2);
                self.probe = Probe::At(now.checked_add(wait));
                *self.since.insert(now)
            }
        };
        let passed = now.saturating_duration_since(since);
        match self.probe {
            Probe::Runs(time) => {
                // Of the calls that began in its first half; of those that began later, only the fast ones would be seen.
                let counts = sample.time <= passed && passed - sample.time <= time / 2;
                if counts && sample.in_flight <= self.limit() && !sample.dropped {
                    self.seen.add(&sample);
                }
                if passed >= time {
                    if self.seen.answers >= ADAPTIVE_SAMPLES_MIN {
                        self.unhurried = self.seen.average();
                    }
                    self.begin(Probe::At(now.checked_add(self.config.probe_every)), now);
                }
            }
            Probe::At(due) => {
                self.seen.add(&sample);
                if passed >= self.config.window && self.seen.answers + self.seen.drops >= ADAPTIVE_SAMPLES_MIN {
                    self.look();
                    let probe = match (due, self.seen.average()) {
                        (Some(due), Some(average)) if now >= due => Probe::Runs(probe_time(average)),
                        _ => self.probe,
                    };
                    self.begin(probe, now);
                }
            }
        }
        self.limit()
    }

    /// What the window has shown.
    fn look(&mut self) {
        let slowdown = self.seen.average().map(|now| now / self.learn(now));
        let limit = match (self.config.algorithm, slowdown) {
            (Algorithm::Gradient, _) if self.seen.drops > 0 => gradient::dropped(self.limit),
            (Algorithm::Vegas, _) if self.seen.drops > 0 => vegas::dropped(self.limit),
            // So few calls were under way that the limit cannot be why.
            _ if f64::from(self.seen.in_flight_max) < self.limit / 2.0 => self.limit,
            (Algorithm::Gradient, Some(slowdown)) => gradient::next(self.limit, slowdown),
            (Algorithm::Vegas, Some(slowdown)) => vegas::next(self.limit, slowdown),
            (_, None) => self.limit,
        };
        self.set(limit);
    }

    /// What an answer takes that is not kept waiting, now that some took so long.
    fn learn(&mut self, now: f64) -> f64 {
        let unhurried = self.unhurried.get_or_insert(now);
        if now * 2.0 < *unhurried {
            // It was learned in bad times, and is unlearned quickly, as with `Gradient2Limit`.
            *unhurried *= ADAPTIVE_UNLEARN;
        } else if self.seen.in_flight_max < self.limit as u32 {
            *unhurried += (now - *unhurried) * 2.0 / (ADAPTIVE_WINDOWS + 1.0);
        }
        *unhurried
    }

    fn set(&mut self, limit: f64) {
        // Within the bounds, whichever of them is the wrong one.
        self.limit = limit.min(f64::from(self.config.max)).max(f64::from(self.config.min)).max(1.0);
    }

    fn begin(&mut self, probe: Probe, now: Instant) {
        self.probe = probe;
        self.since = Some(now);
        self.seen = Seen::default();
    }
}

/// How long a probe lasts where answers take so many seconds.
fn probe_time(average: f64) -> Duration {
    Duration::try_from_secs_f64(average * ADAPTIVE_PROBE_TIMES)
        .map_or(ADAPTIVE_PROBE_MAX, |time| time.min(ADAPTIVE_PROBE_MAX))
}

/// What a window has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    answers: u32,
    drops: u32,
    seconds: f64,
    in_flight_max: u32,
}

impl Seen {
    fn add(&mut self, sample: &Sample) {
        self.in_flight_max = self.in_flight_max.max(sample.in_flight);
        if sample.dropped {
            self.drops = self.drops.saturating_add(1);
        } else {
            self.answers = self.answers.saturating_add(1);
            self.seconds += sample.time.as_secs_f64();
        }
    }

    /// What an answer took, in seconds, and never nothing; `None` if there was none.
    fn average(&self) -> Option<f64> {
        (self.answers > 0).then(|| (self.seconds / f64::from(self.answers)).max(1e-9))
    }
}

#[cfg(test)]
mod tests;
