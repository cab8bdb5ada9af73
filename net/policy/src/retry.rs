//! Whether a call that failed is tried again, and after which pause.
//!
//! A try may be repeated if the request may be made twice (it is idempotent, RFC 9110, section 9.2.2) or surely was not made at
//! all (no connection, a stream that was refused); if its cause is one that another try may mend; and if tries and time are
//! left. The pause before it grows, and is of random length, which spreads a crowd of clients best (Brooker, "Exponential
//! Backoff And Jitter", AWS Architecture Blog, 2015); a server that says when to come back (`Retry-After`) is obeyed.
//!
//! Whoever retries pays from a [`Budget`](crate::budget::Budget), last of all, so that nothing is paid for a retry that is not
//! made.

use std::time::{Duration, Instant};

use crate::chance;
use crate::limits::{RETRY_AFTER_MAX, RETRY_PAUSE_FIRST, RETRY_PAUSE_MAX, RETRY_TIME_MAX, RETRY_TRIES_MAX};

/// How often a call is tried, for which causes, and how long all that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Tries in all, the first included; at least one is made.
    pub tries_max: u32,
    /// What may be mended by another try.
    pub causes: Causes,
    /// The longest pause before the second try. Each further one may be longer by twice as much as the last:
    /// before try `n + 1` at most `(2ⁿ - 1) * pause_first`.
    pub pause_first: Duration,
    /// The longest pause of all.
    pub pause_max: Duration,
    /// A server that asks to be left alone for longer than this is not asked again.
    pub retry_after_max: Duration,
    /// How long one try may take. `None`: as long as all of them.
    pub try_time: Option<Duration>,
    /// How long the call may take, with all tries and pauses. `None`: as long as it takes.
    pub time_max: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            tries_max: RETRY_TRIES_MAX,
            causes: Causes::USUAL,
            pause_first: RETRY_PAUSE_FIRST,
            pause_max: RETRY_PAUSE_MAX,
            retry_after_max: RETRY_AFTER_MAX,
            try_time: None,
            time_max: Some(RETRY_TIME_MAX),
        }
    }
}

/// Why a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection came to be.
    Connect,
    /// The other side said that it has not done anything: HTTP/2's `REFUSED_STREAM`, a stream beyond a `GOAWAY`, HTTP/3's
    /// `H3_REQUEST_REJECTED`.
    Unprocessed,
    /// The connection or the stream ended before the answer began.
    Reset,
    /// The try took longer than [`Policy::try_time`].
    TryTime,
    /// An answer came, with this status.
    Status(u16),
    /// What another try cannot mend: the request cannot be written, the answer is larger than it may be.
    Other,
}

/// The causes that are worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Causes {
    /// [`Cause::Connect`]; Envoy's `connect-failure`.
    pub connect: bool,
    /// [`Cause::Unprocessed`]; Envoy's `refused-stream`.
    pub unprocessed: bool,
    /// [`Cause::Reset`]; Envoy's `reset`.
    pub reset: bool,
    /// [`Cause::TryTime`]; part of Envoy's `reset`.
    pub try_time: bool,
    /// [`Cause::Status`]; Envoy's `retriable-status-codes`.
    pub statuses: Statuses,
}

impl Causes {
    /// None at all.
    pub const NONE: Causes =
        Causes { connect: false, unprocessed: false, reset: false, try_time: false, statuses: Statuses::NONE };

    /// Envoy's `5xx`, which includes `connect-failure`, `refused-stream` and `reset`, but for the answers that say that they
    /// would be the same again, such as 501: of the statuses, 500, 502, 503 and 504.
    pub const USUAL: Causes = Causes {
        connect: true,
        unprocessed: true,
        reset: true,
        try_time: true,
        statuses: Statuses::NONE.with(500).with(502).with(503).with(504),
    };

    /// Whether it is among them.
    pub const fn contains(&self, cause: Cause) -> bool {
        match cause {
            Cause::Connect => self.connect,
            Cause::Unprocessed => self.unprocessed,
            Cause::Reset => self.reset,
            Cause::TryTime => self.try_time,
            Cause::Status(status) => self.statuses.contains(status),
            Cause::Other => false,
        }
    }
}

/// A set of statuses from 400 to 599.
///
/// ```
/// use shardwise_policy::retry::Statuses;
///
/// const STATUSES: Statuses = Statuses::NONE.with(429).with(503);
/// assert!(STATUSES.contains(429) && !STATUSES.contains(430));
/// assert_eq!(STATUSES.with(200), STATUSES, "a success is no reason to try again");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses([u64; 4]);

impl Statuses {
    /// None at all.
    pub const NONE: Statuses = Statuses([0; 4]);

    /// This one too. What is no error is left out.
    pub const fn with(mut self, status: u16) -> Statuses {
        if let Some(bit) = Statuses::bit(status) {
            self.0[bit / 64] |= 1 << (bit % 64);
        }
        self
    }

    /// Whether it is among them.
    pub const fn contains(&self, status: u16) -> bool {
        match Statuses::bit(status) {
            Some(bit) => self.0[bit / 64] & (1 << (bit % 64)) != 0,
            None => false,
        }
    }

    const fn bit(status: u16) -> Option<usize> {
        match status {
            400..=599 => Some(status as usize - 400),
            _ => None,
        }
    }
}

/// What is known of a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why it failed.
    pub cause: Cause,
    /// Whether making the request twice does what making it once does.
    pub is_idempotent: bool,
    /// Whether the request surely did nothing: it was not sent, or refused before anybody looked at it.
    pub did_nothing: bool,
    /// Whether the request is still at hand to be sent again, its body too.
    pub is_at_hand: bool,
    /// How long the server asked to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
}

/// What to do after a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this pause, if a budget pays for it.
    Retry(Duration),
    /// Be content with what came.
    Stop(Why),
}

/// Why a call is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No other try is worth it for such a cause.
    Cause,
    /// It may have been done already, and must not be done twice.
    NotIdempotent,
    /// The body has gone.
    NotAtHand,
    /// All tries have been made.
    Tries,
    /// The server wants to be left alone for longer than we are ready to wait.
    RetryAfter,
    /// The pause would last until after the call's end.
    Time,
}

/// The tries of one call. Thirty-two bytes; a decision costs a few nanoseconds.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::budget::Budget;
/// use shardwise_policy::retry::{Cause, Decision, Policy, Tries, Verdict, Why};
///
/// let now = Instant::now();
/// let (policy, mut budget) = (Policy::default(), Budget::default());
/// let verdict =
///     Verdict { cause: Cause::Reset, is_idempotent: true, did_nothing: false, is_at_hand: true, retry_after: None };
///
/// budget.deposit(now);
/// let mut tries = Tries::new(&policy, now);
/// let decision = tries.failed(&verdict, now, u64::MAX);
/// assert_eq!(decision, Decision::Retry(Duration::from_millis(25)), "the longest pause, as chance had it");
/// assert!(budget.withdraw(now), "now it may be made");
///
/// let once = Verdict { is_idempotent: false, ..verdict };
/// assert_eq!(Tries::new(&policy, now).failed(&once, now, 0), Decision::Stop(Why::NotIdempotent));
/// ```
#[derive(Clone, Debug)]
pub struct Tries<'a> {
    policy: &'a Policy,
    since: Instant,
    failed: u32,
}

impl<'a> Tries<'a> {
    /// The first try begins.
    pub fn new(policy: &'a Policy, now: Instant) -> Tries<'a> {
        Tries { policy, since: now, failed: 0 }
    }

    /// The number of the try that is under way, counted from one.
    pub fn number(&self) -> u32 {
        self.failed.saturating_add(1)
    }

    /// How long a try that begins now may take: its own time, or what is left of the call's if that is less. `None`: as long as
    /// it takes.
    pub fn try_time(&self, now: Instant) -> Option<Duration> {
        match (self.policy.try_time, self.time_left(now)) {
            (Some(own), Some(left)) => Some(own.min(left)),
            (own, left) => own.or(left),
        }
    }

    /// What is left of the call's time. `None`: it has no end.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.policy.time_max.map(|time| time.saturating_sub(now.saturating_duration_since(self.since)))
    }

    /// A try has failed. Decides what comes now; the random number decides how long the pause is.
    pub fn failed(&mut self, verdict: &Verdict, now: Instant, random: u64) -> Decision {
        self.failed = self.failed.saturating_add(1);
        if !self.policy.causes.contains(verdict.cause) {
            return Decision::Stop(Why::Cause);
        }
        if !verdict.is_idempotent && !verdict.did_nothing {
            return Decision::Stop(Why::NotIdempotent);
        }
        if !verdict.is_at_hand {
            return Decision::Stop(Why::NotAtHand);
        }
        if self.failed >= self.policy.tries_max {
            return Decision::Stop(Why::Tries);
        }
        let pause = match verdict.retry_after {
            Some(asked) if asked > self.policy.retry_after_max => return Decision::Stop(Why::RetryAfter),
            // A crowd that was told the same time comes back over half as much again, as with Envoy.
            Some(asked) => asked.saturating_add(chance::up_to(asked / 2, random)),
            None => self.policy.pause(self.failed, random),
        };
        if self.time_left(now).is_some_and(|left| left <= pause) {
            return Decision::Stop(Why::Time);
        }
        Decision::Retry(pause)
    }
}

impl Policy {
    /// The pause before retry number `retry`, counted from one, by a random number.
    pub fn pause(&self, retry: u32, random: u64) -> Duration {
        let factor = ((1u64 << retry.min(31)) - 1) as u32;
        chance::up_to(self.pause_first.saturating_mul(factor).min(self.pause_max), random)
    }
}

#[cfg(test)]
mod tests;
