//! Who does worse than the others, seen from the calls that are made anyway, and is left alone for a while.
//!
//! The one idea, Envoy's: a member is compared with itself (errors in a row) and with the others (success rates), and whoever
//! falls behind is ejected: for longer each time, and never too many at once, for if all do badly it is not the members that
//! are ill.
//!
//! A shard sees only its share of the calls. What others have counted is [added](Outlier::add) to what it compares, and whom
//! they have ejected is [ejected](Outlier::adopt) here too.
//!
//! Source: Envoy, architecture overview, "Outlier detection", and `config.cluster.v3.OutlierDetection`. Unlike there, errors of
//! the gateway's kind eject by themselves only if they are asked to (there: `enforcing_consecutive_gateway_failure`, 0 %), and
//! members return when their time is over rather than at the sweep after it.

use std::time::{Duration, Instant};

use crate::chance::up_to;
use crate::limits::{
    EJECTED_PERCENT_MAX, EJECTION_BASE, EJECTION_MAX, OUTLIER_ERRORS, OUTLIER_INTERVAL, SUCCESS_RATE_DEVIATIONS,
    SUCCESS_RATE_MEMBERS_MIN, SUCCESS_RATE_REQUESTS_MIN,
};
use crate::place::{self, Place};

/// When members are ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Errors in a row, of either kind, that eject.
    pub errors: Option<u32>,
    /// Errors of the gateway's kind in a row that eject.
    pub gateway_errors: Option<u32>,
    /// How success rates are compared.
    pub success_rate: Option<SuccessRate>,
    /// How often, and how soon a member that does well is given back a step of its ejection time.
    pub interval: Duration,
    /// How long the first ejection takes; the n-th takes n times as long.
    pub ejection_base: Duration,
    /// No ejection takes longer, unless the first does.
    pub ejection_max: Duration,
    /// So much is added by chance, so that not all shards and processes come back to a member at once. Nothing by default.
    pub ejection_jitter: Duration,
    /// So many of the members may be ejected at a time, in per cent; one always may.
    pub ejected_percent_max: u8,
}

/// How success rates are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// Only if so many members have been asked often enough.
    pub members_min: usize,
    /// Often enough: so often in an interval.
    pub requests_min: u32,
    /// Ejected is who lies more than so many standard deviations below the mean.
    pub deviations: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            errors: Some(OUTLIER_ERRORS),
            gateway_errors: None,
            success_rate: Some(SuccessRate::default()),
            interval: OUTLIER_INTERVAL,
            ejection_base: EJECTION_BASE,
            ejection_max: EJECTION_MAX,
            ejection_jitter: Duration::ZERO,
            ejected_percent_max: EJECTED_PERCENT_MAX,
        }
    }
}

impl Default for SuccessRate {
    fn default() -> SuccessRate {
        SuccessRate {
            members_min: SUCCESS_RATE_MEMBERS_MIN,
            requests_min: SUCCESS_RATE_REQUESTS_MIN,
            deviations: SUCCESS_RATE_DEVIATIONS,
        }
    }
}

impl Settings {
    /// Whether members can be watched so; else what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.errors == Some(0) || self.gateway_errors == Some(0) {
            return Err("the count of errors that eject must be 1 or more");
        }
        if self.interval.is_zero() || self.ejection_base.is_zero() {
            return Err("the interval and the ejection time must be greater than 0");
        }
        if self.ejected_percent_max > 100 {
            return Err("the share of members that may be ejected is in per cent and must be 100 or less");
        }
        if self.success_rate.is_some_and(|rate| !(rate.deviations.is_finite() && rate.deviations > 0.0)) {
            return Err("the factor of the standard deviation must be greater than 0");
        }
        Ok(())
    }
}

/// How a call ended, as far as its endpoint is concerned. A call that its caller gave up is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer below 500.
    Success,
    /// An answer of 500 or above, but for these:
    Error,
    /// An answer of 502, 503 or 504, or none: no connection, a reset, a time-out.
    GatewayError,
}

/// Why a member is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many errors in a row.
    Errors,
    /// Too many in a row of the gateway's kind.
    GatewayErrors,
    /// Its success rate is that of an outlier.
    SuccessRate,
    /// Another shard has ejected it.
    Elsewhere,
}

/// What changes for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It must be left alone.
    Ejected {
        /// Who.
        id: u64,
        /// It returns then.
        until: Instant,
        /// Why.
        reason: Reason,
    },
    /// It may be asked again.
    Returned {
        /// Who.
        id: u64,
    },
}

/// What was counted of a member since it was last [taken](Outlier::take_tally).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All outcomes.
    pub requests: u32,
    /// Those that were successes.
    pub successes: u32,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.requests = self.requests.saturating_add(other.requests);
        self.successes = self.successes.saturating_add(other.successes);
    }
}

/// Watches the members of one shard's set.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::outlier::{Event, Outcome, Outlier, Reason, Settings};
///
/// let now = Instant::now();
/// let mut outlier = Outlier::new(Settings::default(), now).unwrap();
/// outlier.set(&[1, 2, 3]);
/// let place = outlier.place(2).unwrap();
/// for _ in 0..4 {
///     assert_eq!(outlier.record(place, Outcome::Error, now, || 0), None);
/// }
/// let until = now + Duration::from_secs(30);
/// assert_eq!(outlier.record(place, Outcome::Error, now, || 0), Some(Event::Ejected { id: 2, until, reason: Reason::Errors }));
///
/// let mut events = Vec::new();
/// outlier.tick(until, &mut || 0, |event| events.push(event));
/// assert_eq!(events, [Event::Returned { id: 2 }]);
/// ```
#[derive(Debug)]
pub struct Outlier {
    settings: Settings,
    watched: Vec<Watched>,
    ejected: usize,
    sweep: Instant,
}

#[derive(Debug)]
struct Watched {
    id: u64,
    errors: u32,
    gateway_errors: u32,
    /// Of all shards, in this interval.
    tally: Tally,
    /// Of this shard, since it was taken.
    untold: Tally,
    /// The steps of its next ejection's time, but for one.
    steps: u32,
    ejected_until: Option<Instant>,
    /// Another shard has ejected it.
    is_adopted: bool,
    /// It was ejected, or came back, in this interval.
    is_recent: bool,
}

impl Outlier {
    /// Watches nobody yet; an error if the settings are [no good](Settings::check).
    pub fn new(settings: Settings, now: Instant) -> Result<Outlier, &'static str> {
        settings.check()?;
        Ok(Outlier { settings, watched: Vec::new(), ejected: 0, sweep: now + settings.interval })
    }

    /// Watches these, in their order. What is known of a member stays with its id. Ids are distinct. This allocates.
    pub fn set(&mut self, ids: &[u64]) {
        let make = |id| Watched {
            id,
            errors: 0,
            gateway_errors: 0,
            tally: Tally::default(),
            untold: Tally::default(),
            steps: 0,
            ejected_until: None,
            is_adopted: false,
            is_recent: false,
        };
        place::succeed(&mut self.watched, ids.iter().copied(), |watched| watched.id, make);
        self.ejected = self.watched.iter().filter(|watched| watched.ejected_until.is_some()).count();
    }

    /// Where a member stands; none if it is not watched. The same as a balancer's of the same set. Linear.
    pub fn place(&self, id: u64) -> Option<Place> {
        let index = self.watched.iter().position(|watched| watched.id == id)?;
        Some(Place { index, id })
    }

    /// Until when a member is ejected, if it is.
    pub fn ejected_until(&self, place: Place) -> Option<Instant> {
        self.watched[place.find(&self.watched, |watched| watched.id)?].ejected_until
    }

    /// Until when a member is ejected for what this shard has seen: what others should be told. What they have told is not told
    /// back, or shards would remind each other of an ejection after it was [pardoned](Outlier::pardon).
    pub fn ejected_here_until(&self, place: Place) -> Option<Instant> {
        let watched = &self.watched[place.find(&self.watched, |watched| watched.id)?];
        watched.ejected_until.filter(|_| !watched.is_adopted)
    }

    /// How many are ejected.
    pub fn ejected(&self) -> usize {
        self.ejected
    }

    /// A call to a member has ended so. Returns whether that ejects it. Constant time; chance is for the jitter.
    pub fn record(
        &mut self,
        place: Place,
        outcome: Outcome,
        now: Instant,
        random: impl FnOnce() -> u64,
    ) -> Option<Event> {
        let at = place.find(&self.watched, |watched| watched.id)?;
        let watched = &mut self.watched[at];
        let tally = Tally { requests: 1, successes: u32::from(outcome == Outcome::Success) };
        watched.tally.add(tally);
        watched.untold.add(tally);
        watched.errors = if outcome == Outcome::Success { 0 } else { watched.errors.saturating_add(1) };
        let is_gateway = outcome == Outcome::GatewayError;
        watched.gateway_errors = if is_gateway { watched.gateway_errors.saturating_add(1) } else { 0 };
        let reason = if self.settings.errors.is_some_and(|max| watched.errors >= max) {
            Reason::Errors
        } else if self.settings.gateway_errors.is_some_and(|max| watched.gateway_errors >= max) {
            Reason::GatewayErrors
        } else {
            return None;
        };
        self.eject(at, reason, now, random())
    }

    /// What another shard has counted of a member since it told last.
    pub fn add(&mut self, place: Place, tally: Tally) {
        if let Some(at) = place.find(&self.watched, |watched| watched.id) {
            self.watched[at].tally.add(tally);
        }
    }

    /// What this shard has counted of a member since it was last asked, for others to [add](Outlier::add).
    pub fn take_tally(&mut self, place: Place) -> Tally {
        let at = place.find(&self.watched, |watched| watched.id);
        at.map_or(Tally::default(), |at| std::mem::take(&mut self.watched[at].untold))
    }

    /// Another shard has ejected a member until then. Returns whether that ejects it here too: not if it is so already, nor if too
    /// many are.
    pub fn adopt(&mut self, place: Place, until: Instant, now: Instant) -> Option<Event> {
        let at = place.find(&self.watched, |watched| watched.id)?;
        if until <= now { None } else { self.eject_until(at, until, Reason::Elsewhere) }
    }

    /// A member has passed its probe: it returns if it was ejected, and what was counted against it is forgotten. Envoy's
    /// `successful_active_health_check_uneject_host`.
    pub fn pardon(&mut self, place: Place) -> Option<Event> {
        let at = place.find(&self.watched, |watched| watched.id)?;
        if self.watched[at].ejected_until.is_some() {
            return Some(self.let_return(at));
        }
        self.watched[at].forget();
        None
    }

    /// When to [tick](Outlier::tick) next.
    pub fn next_tick(&self) -> Instant {
        self.watched.iter().filter_map(|watched| watched.ejected_until).fold(self.sweep, Instant::min)
    }

    /// Lets members return whose time is over, and compares success rates when an interval is over. Linear.
    pub fn tick(&mut self, now: Instant, random: &mut impl FnMut() -> u64, mut on: impl FnMut(Event)) {
        for at in 0..self.watched.len() {
            if self.watched[at].ejected_until.is_some_and(|until| until <= now) {
                on(self.let_return(at));
            }
        }
        if now < self.sweep {
            return;
        }
        self.sweep = if now < self.sweep + self.settings.interval { self.sweep } else { now } + self.settings.interval;
        for watched in &mut self.watched {
            if watched.ejected_until.is_none() && !std::mem::take(&mut watched.is_recent) {
                watched.steps = watched.steps.saturating_sub(1);
            }
        }
        if let Some(floor) = self.success_floor() {
            for at in 0..self.watched.len() {
                let rate = self.success_rate(&self.watched[at]);
                if rate.is_some_and(|rate| rate < floor) {
                    self.eject(at, Reason::SuccessRate, now, random()).into_iter().for_each(&mut on);
                }
            }
        }
        for watched in &mut self.watched {
            watched.tally = Tally::default();
        }
    }

    /// Below this a success rate is that of an outlier, if enough is known to tell.
    fn success_floor(&self) -> Option<f64> {
        let settings = self.settings.success_rate?;
        let rates = || self.watched.iter().filter_map(|watched| self.success_rate(watched));
        let count = rates().count();
        if count == 0 || count < settings.members_min {
            return None;
        }
        let mean = rates().sum::<f64>() / count as f64;
        let variance = rates().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count as f64;
        Some(mean - settings.deviations * variance.sqrt())
    }

    fn success_rate(&self, watched: &Watched) -> Option<f64> {
        let Tally { requests, successes } = watched.tally;
        let is_enough = requests > 0 && requests >= self.settings.success_rate?.requests_min;
        (is_enough && watched.ejected_until.is_none()).then(|| f64::from(successes) / f64::from(requests))
    }

    fn eject(&mut self, at: usize, reason: Reason, now: Instant, random: u64) -> Option<Event> {
        let Settings { ejection_base, ejection_max, ejection_jitter, .. } = self.settings;
        let time = ejection_base.saturating_mul(self.watched[at].steps + 1).min(ejection_max.max(ejection_base));
        self.eject_until(at, now + time + up_to(ejection_jitter, random), reason)
    }

    fn eject_until(&mut self, at: usize, until: Instant, reason: Reason) -> Option<Event> {
        let percent = (self.ejected + 1) * 100;
        let is_allowed =
            self.ejected == 0 || percent <= self.watched.len() * usize::from(self.settings.ejected_percent_max);
        let watched = &mut self.watched[at];
        if watched.ejected_until.is_some() || !is_allowed {
            return None;
        }
        self.ejected += 1;
        watched.ejected_until = Some(until);
        watched.is_adopted = reason == Reason::Elsewhere;
        watched.is_recent = true;
        // More steps than lead to the longest time would only have to be gone back again.
        if self.settings.ejection_base * watched.steps < self.settings.ejection_max {
            watched.steps += 1;
        }
        Some(Event::Ejected { id: watched.id, until, reason })
    }

    fn let_return(&mut self, at: usize) -> Event {
        self.ejected -= 1;
        let watched = &mut self.watched[at];
        watched.ejected_until = None;
        watched.is_recent = true;
        watched.forget();
        Event::Returned { id: watched.id }
    }
}

impl Watched {
    fn forget(&mut self) {
        self.errors = 0;
        self.gateway_errors = 0;
        self.tally = Tally::default();
    }
}

#[cfg(test)]
mod tests;
