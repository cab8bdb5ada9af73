//! When an endpoint is probed, and what its answers say of it.
//!
//! The one idea: one answer says little, so that a verdict changes only after several in a row; but whoever has never been
//! probed is believed at once when it is well. What a probe is made of, and who makes it, is left to others.
//!
//! Sources: Envoy, `config.core.v3.HealthCheck`, which asks for thresholds and intervals; HAProxy, `rise`, `fall` and `inter` of
//! `server`, for their defaults.

use std::time::{Duration, Instant};

use crate::chance::up_to;
use crate::limits::{PROBE_FAILURES, PROBE_INTERVAL, PROBE_JITTER, PROBE_PASSES, PROBE_TIMEOUT};

/// How an endpoint is probed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// From a probe's end to the next one.
    pub interval: Duration,
    /// The same while the endpoint is down. Envoy's `unhealthy_interval`; as the other, by default.
    pub interval_down: Duration,
    /// Chance adds up to so much of the interval to it.
    pub jitter: f64,
    /// A probe that takes longer has failed. Whoever makes it watches that.
    pub timeout: Duration,
    /// So many in a row must pass before the endpoint is up again.
    pub passes: u32,
    /// So many in a row must fail before it is down.
    pub failures: u32,
    /// What it counts as before anything is known. Down by default, as in Envoy: its first pass puts it up.
    pub starts_up: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: PROBE_INTERVAL,
            interval_down: PROBE_INTERVAL,
            jitter: PROBE_JITTER,
            timeout: PROBE_TIMEOUT,
            passes: PROBE_PASSES,
            failures: PROBE_FAILURES,
            starts_up: false,
        }
    }
}

impl Settings {
    /// Whether an endpoint can be probed so; else what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.interval.is_zero() || self.interval_down.is_zero() || self.timeout.is_zero() {
            return Err("the intervals and the time-out of probes must be greater than 0");
        }
        if self.passes == 0 || self.failures == 0 {
            return Err("the counts of probes that put an endpoint up or down must be 1 or more");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err("the jitter of probes is a part of their interval, from 0 to 1");
        }
        Ok(())
    }
}

/// What a probe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is well.
    Pass,
    /// It is well, and asks to be left alone as long as others are.
    Degraded,
    /// No connection, no answer in time: it may be the network.
    Fail,
    /// It says itself that it should not be asked. Counts as all the failures that are needed, as in Envoy.
    Refusal,
}

/// What an endpoint counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Up,
    /// Asked only if too few others are up.
    Degraded,
    /// Not to be asked.
    Down,
}

/// The probes of one endpoint.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::probe::{Finding, Probe, Settings, Verdict};
///
/// let now = Instant::now();
/// let mut probe = Probe::new(Settings::default(), now, 0).unwrap();
/// assert_eq!((probe.verdict(), probe.due()), (Verdict::Down, now));
/// assert_eq!(probe.tell(Finding::Pass, now, 0), Some(Verdict::Up));
/// assert_eq!(probe.due(), now + Duration::from_secs(2));
///
/// assert_eq!(probe.tell(Finding::Fail, now, 0), None);
/// assert_eq!(probe.tell(Finding::Fail, now, 0), None);
/// assert_eq!(probe.tell(Finding::Fail, now, 0), Some(Verdict::Down));
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    settings: Settings,
    verdict: Verdict,
    is_known: bool,
    /// Findings in a row that speak against the verdict.
    against: u32,
    due: Instant,
}

impl Probe {
    /// The first probe is due now, or later by up to the jitter, so that those of many endpoints do not all leave at once. An
    /// error if the settings are [no good](Settings::check).
    pub fn new(settings: Settings, now: Instant, random: u64) -> Result<Probe, &'static str> {
        settings.check()?;
        let verdict = if settings.starts_up { Verdict::Up } else { Verdict::Down };
        let due = now + up_to(settings.interval.mul_f64(settings.jitter), random);
        Ok(Probe { settings, verdict, is_known: false, against: 0, due })
    }

    /// What the endpoint counts as.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// When to probe next. It stays so until a finding is [told](Probe::tell).
    pub fn due(&self) -> Instant {
        self.due
    }

    /// How long the probe may take.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// A probe has found this, and the next is due an interval from now. Returns the verdict if it has changed.
    pub fn tell(&mut self, finding: Finding, now: Instant, random: u64) -> Option<Verdict> {
        let before = self.verdict;
        let (verdict, needed) = match finding {
            Finding::Pass => (Verdict::Up, self.settings.passes),
            Finding::Degraded => (Verdict::Degraded, self.settings.passes),
            Finding::Fail => (Verdict::Down, self.settings.failures),
            Finding::Refusal => (Verdict::Down, 1),
        };
        if (verdict == Verdict::Down) == (before == Verdict::Down) {
            self.against = 0;
            self.verdict = verdict;
        } else {
            self.against += 1;
            let is_first_pass = !self.is_known && verdict != Verdict::Down;
            if self.against >= needed || is_first_pass {
                self.against = 0;
                self.verdict = verdict;
            }
        }
        self.is_known = true;
        let interval = if self.verdict == Verdict::Down { self.settings.interval_down } else { self.settings.interval };
        self.due = now + interval + up_to(interval.mul_f64(self.settings.jitter), random);
        (self.verdict != before).then_some(self.verdict)
    }
}

#[cfg(test)]
mod tests;
