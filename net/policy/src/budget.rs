//! How much may be asked beyond what was asked for.
//!
//! Retries and hedges help while few calls fail, and multiply an outage when all do. So they are paid for: each call earns a
//! share of one, and there are some each second besides, for clients that make few calls. What is not used goes after a while,
//! so that a quiet hour does not pay for a storm (Finagle's user guide, "Clients", "Retries": `RetryBudget`; Oliver, "Retry
//! Budgets", Finagle's blog, 2016).
//!
//! So in any span of time there are no more retries than the share of the calls made in it and in the time before for which
//! savings are kept, and what the rate gives for the span and once that time.

use std::time::{Duration, Instant};

use crate::limits::{BUDGET_KEPT, BUDGET_PER_SECOND, BUDGET_SHARE};
use crate::window::{Tally, Window};

/// What a [`Budget`] grants. The default is Finagle's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// The share of the calls that may be made again: 0.2 is one for five calls. It may be above 1.
    pub share: f64,
    /// How many may be made besides, each second. It may be a fraction: where a client is spread over shards, each has a part.
    pub per_second: f64,
    /// How long what is not used is kept. All that `per_second` gives in this time may be used at once.
    pub kept: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config { share: BUDGET_SHARE, per_second: BUDGET_PER_SECOND, kept: BUDGET_KEPT }
    }
}

/// Grants retries, or hedges, as a share of the calls. Some two hundred bytes; a deposit or a withdrawal costs some ten
/// nanoseconds.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::budget::{Budget, Config};
///
/// let start = Instant::now();
/// let mut budget = Budget::new(Config { per_second: 0.0, ..Config::default() });
/// assert!(!budget.withdraw(start), "nothing was earned yet");
/// for _ in 0..5 {
///     budget.deposit(start);
/// }
/// assert!(budget.withdraw(start) && !budget.withdraw(start), "one retry for five calls");
/// ```
#[derive(Debug)]
pub struct Budget {
    recent: Window<Account, SLICES>,
    /// Millionths that a call earns.
    per_call: u64,
    /// Millionths that there are without any call.
    reserve: u64,
}

/// Millionths of retries. They saturate, which takes 18 billion calls at the largest share within the window; what is left then
/// errs towards refusal.
#[derive(Clone, Copy, Debug)]
struct Account {
    earned: u64,
    spent: u64,
}

impl Budget {
    /// A budget nothing was taken from. What is no number, or below 0, counts as 0.
    pub fn new(config: Config) -> Budget {
        let reserve = config.per_second.clamp(0.0, PER_SECOND_MAX) * config.kept.as_secs_f64();
        Budget {
            recent: Window::new(config.kept),
            // A NaN becomes 0.
            per_call: (config.share.clamp(0.0, SHARE_MAX) * ONE as f64).round() as u64,
            reserve: (reserve * ONE as f64).floor() as u64,
        }
    }

    /// A call is made, for the first time.
    pub fn deposit(&mut self, now: Instant) {
        self.recent.turn(now);
        let per_call = self.per_call;
        self.recent.count(|account| account.earned = account.earned.saturating_add(per_call));
    }

    /// A retry is wanted. True if it may be made; then it is paid for.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let granted = self.balance(now) >= 1;
        if granted {
            self.recent.count(|account| account.spent = account.spent.saturating_add(ONE));
        }
        granted
    }

    /// How many retries may be made now.
    pub fn balance(&mut self, now: Instant) -> u64 {
        self.recent.turn(now);
        let recent = self.recent.sum();
        self.reserve.saturating_add(recent.earned).saturating_sub(recent.spent) / ONE
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new(Config::default())
    }
}

impl Tally for Account {
    const NOTHING: Account = Account { earned: 0, spent: 0 };

    fn subtract(&mut self, other: &Account) {
        self.earned = self.earned.saturating_sub(other.earned);
        self.spent = self.spent.saturating_sub(other.spent);
    }
}

const ONE: u64 = 1_000_000;
/// Finagle's window has ten slices as well.
const SLICES: usize = 10;
/// Finagle's greatest share: that many retries for each call.
const SHARE_MAX: f64 = 1000.0;
/// More than any client makes.
const PER_SECOND_MAX: f64 = 1e9;

#[cfg(test)]
mod tests;
