//! Stops calling what does not answer, and finds out when it does again.
//!
//! Closed, all calls pass and their outcomes are counted. When too many fail in a row, or too large a share of the recent ones
//! fails or is slow, the breaker opens: nothing passes for a while. Then it is half open: a few trial calls pass, and either
//! they close it or it opens again, for longer (Nygard, "Release It!", 2007, "Circuit Breaker").
//!
//! Each call that is admitted gets an [`Admission`], which says in which of these times it was. It is given back with the
//! call's outcome, or without one; an outcome from an earlier time no longer counts, so that calls that were under way when the
//! breaker opened neither close it nor open it again. An admission that is lost, since its call was dropped, costs nothing
//! while the breaker is closed; while it is half open, its place comes back after [`Config::trial_time`].

use std::time::{Duration, Instant};

use crate::chance;
use crate::limits::{
    BREAKER_CALLS_MIN, BREAKER_ERROR_SHARE, BREAKER_EVENTS_MAX, BREAKER_FAILURES_IN_A_ROW, BREAKER_OPEN_FIRST,
    BREAKER_OPEN_MAX, BREAKER_SLOW_AFTER, BREAKER_SUCCESSES_TO_CLOSE, BREAKER_TRIAL_TIME, BREAKER_TRIALS_MAX,
    BREAKER_WINDOW,
};
use crate::window::{Tally, Window};

/// When a [`Breaker`] opens, for how long, and what closes it. The default is Finagle's failure accrual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Opens after so many failures with no success in between. `None`: never for that.
    pub failures_in_a_row: Option<u32>,
    /// Opens when this share of the recent calls, or more, has failed: 0.2 is one of five. `None`: never for that.
    pub error_share: Option<f64>,
    /// Opens when this share of the recent calls, or more, was slow, whatever their outcome. `None`: never for that.
    pub slow_share: Option<f64>,
    /// A call that took so long, or longer, was slow.
    pub slow_after: Duration,
    /// Which calls are recent.
    pub window: Duration,
    /// Shares say nothing of fewer recent calls than these.
    pub calls_min: u32,
    /// Stays open for at least this time, and for up to twice as long by chance. Each time that it opens again, twice that,
    /// until it has been closed for as long as it was open the last time.
    pub open_first: Duration,
    /// Never stays open for longer.
    pub open_max: Duration,
    /// So many trial calls at a time while it is half open; at least one.
    pub trials_max: u32,
    /// So many trial calls must succeed, and not be slow if `slow_share` is given, to close it; at least one.
    pub successes_to_close: u32,
    /// A trial call that was not heard of for so long is given up, and its place is free.
    pub trial_time: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            failures_in_a_row: Some(BREAKER_FAILURES_IN_A_ROW),
            error_share: Some(BREAKER_ERROR_SHARE),
            slow_share: None,
            slow_after: BREAKER_SLOW_AFTER,
            window: BREAKER_WINDOW,
            calls_min: BREAKER_CALLS_MIN,
            open_first: BREAKER_OPEN_FIRST,
            open_max: BREAKER_OPEN_MAX,
            trials_max: BREAKER_TRIALS_MAX,
            successes_to_close: BREAKER_SUCCESSES_TO_CLOSE,
            trial_time: BREAKER_TRIAL_TIME,
        }
    }
}

/// Whether calls pass, as [`Breaker::state`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All calls pass.
    Closed,
    /// No call passes.
    Open,
    /// A few pass, for trial.
    HalfOpen,
    /// No call passes, by [`Breaker::set_mode`].
    ForcedOpen,
    /// All calls pass, whatever becomes of them, by [`Breaker::set_mode`].
    ForcedClosed,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The breaker, by outcomes.
    Automatic,
    /// Somebody who wants no calls made.
    ForcedOpen,
    /// Somebody who wants calls made, come what may.
    ForcedClosed,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Success,
    /// It was not, or with an error that is the other side's fault.
    Failure,
}

/// A call passed. It goes back with [`Breaker::record`] or [`Breaker::forget`].
#[derive(Debug)]
#[must_use = "the breaker wants to know what became of the call"]
pub struct Admission {
    since: Instant,
    generation: u64,
}

/// A call did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why not.
    pub state: State,
    /// How long until a call may pass; `None` if nobody can know: trial calls are under way, or the breaker is forced open.
    pub after: Option<Duration>,
}

/// The breaker has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counted from one; a gap tells of events that nobody took in time.
    pub number: u64,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// What made it so.
    pub why: Why,
    /// When.
    pub at: Instant,
}

/// Why a breaker has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many calls failed one after the other.
    FailuresInARow,
    /// Too large a share of the recent calls failed.
    ErrorShare,
    /// Too large a share of the recent calls was slow.
    SlowShare,
    /// It has been open for its time.
    TimePassed,
    /// A trial call failed, or was slow.
    TrialFailed,
    /// Enough trial calls succeeded.
    TrialsSucceeded,
    /// [`Breaker::set_mode`].
    Mode,
}

/// The recent calls that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Recent {
    /// All of them.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that were slow, failed or not.
    pub slow: u64,
}

/// A circuit breaker for whatever is called. Some 650 bytes; to admit a call and to record its outcome costs some twenty
/// nanoseconds.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::breaker::{Breaker, Config, Outcome, State, Why};
///
/// let mut now = Instant::now();
/// let mut breaker = Breaker::new(Config { failures_in_a_row: Some(2), ..Config::default() });
/// for _ in 0..2 {
///     let call = breaker.admit(now).unwrap();
///     breaker.record(call, Outcome::Failure, now, || 0);
/// }
/// let refused = breaker.admit(now).unwrap_err();
/// assert_eq!((refused.state, refused.after), (State::Open, Some(Duration::from_secs(5))));
/// assert_eq!(breaker.next_event().unwrap().why, Why::FailuresInARow);
///
/// now += Duration::from_secs(5);
/// let trial = breaker.admit(now).unwrap();
/// breaker.record(trial, Outcome::Success, now, || 0);
/// assert_eq!(breaker.state(), State::Closed);
/// ```
#[derive(Debug)]
pub struct Breaker {
    config: Config,
    phase: Phase,
    /// How often the phase has changed: admissions of an earlier one do not count.
    generation: u64,
    recent: Window<Recent, SLICES>,
    failures_in_a_row: u32,
    /// How often it has opened since it was last well.
    openings: u32,
    /// For how long it was open the last time.
    last_open: Duration,
    events: Events,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Since its trials succeeded, if they had to.
    Closed {
        since: Option<Instant>,
    },
    /// `None`: until somebody decides.
    Open {
        until: Option<Instant>,
    },
    /// With so many trials under way, the last of which began then.
    HalfOpen {
        under_way: u32,
        successes: u32,
        last: Option<Instant>,
    },
    ForcedOpen,
    ForcedClosed,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(config: Config) -> Breaker {
        Breaker {
            config,
            phase: Phase::Closed { since: None },
            generation: 0,
            recent: Window::new(config.window),
            failures_in_a_row: 0,
            openings: 0,
            last_open: Duration::ZERO,
            events: Events { ring: [None; BREAKER_EVENTS_MAX], told: 0, happened: 0 },
        }
    }

    /// A call wants to be made. If it passes, its outcome is to be told.
    pub fn admit(&mut self, now: Instant) -> Result<Admission, Refused> {
        if let Phase::Open { until: Some(until) } = self.phase
            && now >= until
        {
            self.change(Phase::HalfOpen { under_way: 0, successes: 0, last: None }, Why::TimePassed, now);
        }
        if let Some(refused) = self.refusal(now) {
            return Err(refused);
        }
        if let Phase::HalfOpen { under_way, last, .. } = &mut self.phase {
            if *under_way >= self.config.trials_max.max(1) {
                // Those trials were dropped. Should one of them be heard of yet, it is too late.
                *under_way = 0;
                self.generation += 1;
            }
            *under_way += 1;
            *last = Some(now);
        }
        Ok(Admission { since: now, generation: self.generation })
    }

    /// Whether [`admit`](Self::admit) would let a call pass. Changes nothing: for whoever chooses among several.
    pub fn admits(&self, now: Instant) -> bool {
        self.refusal(now).is_none()
    }

    /// A call has ended. If the breaker opens by it, a random number is drawn, which decides for how long.
    pub fn record(&mut self, call: Admission, outcome: Outcome, now: Instant, random: impl FnOnce() -> u64) {
        if call.generation != self.generation {
            return;
        }
        let failed = outcome == Outcome::Failure;
        let slow = now.saturating_duration_since(call.since) >= self.config.slow_after;
        match &mut self.phase {
            Phase::Closed { .. } => {
                self.recent.turn(now);
                self.recent.count(|recent| {
                    recent.calls += 1;
                    recent.failures += u64::from(failed);
                    recent.slow += u64::from(slow);
                });
                self.failures_in_a_row = if failed { self.failures_in_a_row.saturating_add(1) } else { 0 };
                if let Some(why) = self.too_bad() {
                    self.open(why, now, random);
                }
            }
            Phase::HalfOpen { under_way, successes, .. } => {
                *under_way = under_way.saturating_sub(1);
                if failed || slow && self.config.slow_share.is_some() {
                    self.open(Why::TrialFailed, now, random);
                    return;
                }
                *successes += 1;
                if *successes >= self.config.successes_to_close {
                    self.change(Phase::Closed { since: Some(now) }, Why::TrialsSucceeded, now);
                }
            }
            // While it is open nothing is admitted, so that no admission is of this generation; or nobody asks.
            Phase::Open { .. } | Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
    }

    /// A call was given up for reasons that say nothing of the other side, such as a caller who went away: its place is free.
    pub fn forget(&mut self, call: Admission) {
        if let (true, Phase::HalfOpen { under_way, .. }) = (call.generation == self.generation, &mut self.phase) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// Says who decides from now on. A breaker that becomes automatic again begins closed, with nothing counted.
    pub fn set_mode(&mut self, mode: Mode, now: Instant) {
        let phase = match (mode, self.phase) {
            (Mode::ForcedOpen, Phase::ForcedOpen) | (Mode::ForcedClosed, Phase::ForcedClosed) => return,
            (Mode::ForcedOpen, _) => Phase::ForcedOpen,
            (Mode::ForcedClosed, _) => Phase::ForcedClosed,
            (Mode::Automatic, Phase::ForcedOpen | Phase::ForcedClosed) => Phase::Closed { since: None },
            (Mode::Automatic, _) => return,
        };
        self.change(phase, Why::Mode, now);
    }

    /// Whether calls pass. An open breaker becomes half open when the first call wants to pass after its time.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::ForcedOpen => State::ForcedOpen,
            Phase::ForcedClosed => State::ForcedClosed,
        }
    }

    /// The recent calls that count; those since the last change of state.
    pub fn recent(&mut self, now: Instant) -> Recent {
        self.recent.turn(now);
        *self.recent.sum()
    }

    /// Takes the oldest change of state that was not taken yet. The last four are kept; a call causes at most one.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.next()
    }

    fn refusal(&self, now: Instant) -> Option<Refused> {
        let after = match self.phase {
            Phase::Closed { .. } | Phase::ForcedClosed => return None,
            Phase::Open { until: Some(until) } if now >= until => return None,
            Phase::Open { until } => until.map(|until| until.saturating_duration_since(now)),
            Phase::HalfOpen { under_way, last, .. } if self.has_place(under_way, last, now) => return None,
            Phase::HalfOpen { .. } | Phase::ForcedOpen => None,
        };
        Some(Refused { state: self.state(), after })
    }

    /// Whether another trial call may pass: fewer are under way than may, or they have been dropped.
    fn has_place(&self, under_way: u32, last: Option<Instant>, now: Instant) -> bool {
        under_way < self.config.trials_max.max(1)
            || last.is_some_and(|last| now.saturating_duration_since(last) >= self.config.trial_time)
    }

    /// Why the breaker should open, if it should.
    fn too_bad(&self) -> Option<Why> {
        if self.config.failures_in_a_row.is_some_and(|most| self.failures_in_a_row >= most.max(1)) {
            return Some(Why::FailuresInARow);
        }
        let recent = self.recent.sum();
        let reaches = |count: u64, share: Option<f64>| {
            count > 0 && share.is_some_and(|share| count as f64 >= share * recent.calls as f64)
        };
        if recent.calls < u64::from(self.config.calls_min) {
            None
        } else if reaches(recent.failures, self.config.error_share) {
            Some(Why::ErrorShare)
        } else if reaches(recent.slow, self.config.slow_share) {
            Some(Why::SlowShare)
        } else {
            None
        }
    }

    fn open(&mut self, why: Why, now: Instant, random: impl FnOnce() -> u64) {
        if let Phase::Closed { since } = self.phase {
            let well = since.is_none_or(|since| now.saturating_duration_since(since) >= self.last_open);
            self.openings = if well { 0 } else { self.openings };
        }
        let least = self.config.open_first.saturating_mul(1 << self.openings.min(31));
        let least = least.min(self.config.open_max);
        let open = least.saturating_add(chance::up_to(least, random())).min(self.config.open_max);
        self.openings = self.openings.saturating_add(1);
        self.last_open = open;
        // Who is open for longer than the clock can name stays so until somebody decides.
        self.change(Phase::Open { until: now.checked_add(open) }, why, now);
    }

    /// Nothing that was counted or admitted before counts any more.
    fn change(&mut self, phase: Phase, why: Why, now: Instant) {
        let from = self.state();
        self.phase = phase;
        self.generation += 1;
        self.failures_in_a_row = 0;
        self.recent.clear();
        self.events.push(from, self.state(), why, now);
    }
}

impl Tally for Recent {
    const NOTHING: Recent = Recent { calls: 0, failures: 0, slow: 0 };

    fn subtract(&mut self, other: &Recent) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }
}

/// The latest changes of state, by their number.
#[derive(Debug)]
struct Events {
    ring: [Option<Event>; BREAKER_EVENTS_MAX],
    told: u64,
    happened: u64,
}

impl Events {
    fn push(&mut self, from: State, to: State, why: Why, at: Instant) {
        self.happened += 1;
        let place = self.happened as usize % BREAKER_EVENTS_MAX;
        self.ring[place] = Some(Event { number: self.happened, from, to, why, at });
    }

    fn next(&mut self) -> Option<Event> {
        self.told = self.told.max(self.happened.saturating_sub(BREAKER_EVENTS_MAX as u64));
        if self.told == self.happened {
            return None;
        }
        self.told += 1;
        self.ring[self.told as usize % BREAKER_EVENTS_MAX]
    }
}

/// A slice is a tenth of the window: so much earlier than it says a call may be forgotten.
const SLICES: usize = 10;

#[cfg(test)]
mod tests;
