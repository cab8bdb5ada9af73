//! Again after a failure: with growing pauses of random length, while a budget lasts.
//!
//! The pauses are exponential with full jitter, which spreads a crowd of clients best (Brooker, "Exponential Backoff And
//! Jitter", AWS Architecture Blog, 2015). The budget keeps retries from multiplying an outage: they may be a share of the
//! calls, and a few each second besides (Finagle's `RetryBudget`).

use std::cell::Cell;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::Shard;

/// How often to try, and how long to pause between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Tries in all, the first included; at least one is made.
    pub attempts_max: u32,
    /// The longest pause before the second try; each further one may be twice as long.
    pub pause_first: Duration,
    /// The longest pause of all.
    pub pause_max: Duration,
}

impl Backoff {
    /// Three tries, with pauses of up to 25 ms and 50 ms: Envoy's default interval.
    pub const USUAL: Backoff =
        Backoff { attempts_max: 3, pause_first: Duration::from_millis(25), pause_max: Duration::from_millis(250) };

    /// The pause before try number `next` (the second is 2), by a random number.
    pub fn pause(&self, next: u32, random: u64) -> Duration {
        let doublings = next.saturating_sub(2).min(31);
        let longest = self.pause_first.saturating_mul(1 << doublings).min(self.pause_max);
        // No pause is longer than half a millennium.
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let nanos = (u128::from(random) * (u128::from(longest) + 1)) >> 64;
        Duration::from_nanos(nanos as u64)
    }
}

/// How many retries a client may make: a share of its calls, and some each second. Time is handed in.
#[derive(Debug)]
pub struct RetryBudget {
    /// Thousandths of a retry that each call earns.
    per_call: u64,
    per_second: u64,
    /// Thousandths of retries that may be made, as of `at`.
    balance: Cell<u64>,
    at: Cell<Instant>,
}

impl RetryBudget {
    /// A budget of `share` of the calls and `per_second` retries each second. What is not used is kept for
    /// [`KEPT_TIME`](Self::KEPT_TIME).
    ///
    /// ```
    /// use shardwise_shards::combine::RetryBudget;
    /// use std::time::{Duration, Instant};
    ///
    /// let start = Instant::now();
    /// let budget = RetryBudget::new(0.2, 0, start);
    /// assert!(!budget.withdraw(start), "nothing was earned yet");
    /// for _ in 0..5 {
    ///     budget.deposit();
    /// }
    /// assert!(budget.withdraw(start) && !budget.withdraw(start), "one retry for five calls");
    /// ```
    pub fn new(share: f64, per_second: u32, now: Instant) -> Self {
        RetryBudget {
            per_call: (share.clamp(0.0, 1000.0) * 1000.0) as u64,
            per_second: u64::from(per_second),
            balance: Cell::new(u64::from(per_second) * 1000),
            at: Cell::new(now),
        }
    }

    /// How long what is not used is kept, at the rate of [`RetryBudget::new`]'s `per_second`; and the calls of how many
    /// seconds, at that rate, may be saved up.
    pub const KEPT_TIME: Duration = Duration::from_secs(10);

    /// A call is made.
    pub fn deposit(&self) {
        self.balance.set((self.balance.get() + self.per_call).min(self.most()));
    }

    /// A retry is wanted. True if it may be made.
    pub fn withdraw(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at.get()).as_millis() as u64;
        self.at.set(self.at.get() + Duration::from_millis(passed));
        let balance = self.balance.get().saturating_add(passed.saturating_mul(self.per_second)).min(self.most());
        let granted = balance >= 1000;
        self.balance.set(if granted { balance - 1000 } else { balance });
        granted
    }

    /// Bounded, so that a quiet week does not pay for a storm.
    fn most(&self) -> u64 {
        const CALLS_KEPT: u64 = 1000;
        (self.per_second * 1000 * Self::KEPT_TIME.as_secs()).max(self.per_call * CALLS_KEPT)
    }
}

/// One try, as the work sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from one.
    pub number: u32,
    /// Whether no other follows, whatever becomes of this one.
    pub is_last: bool,
}

/// Does `work` until it succeeds, until `again` says that its error is final, or until tries or budget run out; gives the
/// last result. Each retry takes from `budget`, and the whole call deposits in it once.
///
/// ```
/// use shardwise_shards::combine::{Backoff, retry};
/// use shardwise_shards::Simulation;
///
/// Simulation::new(1).run(async |shard| {
///     let result = retry(&shard, Backoff::USUAL, None, |_: &&str| true, async |attempt| match attempt.number {
///         3 => Ok("at last"),
///         _ => Err("not yet"),
///     });
///     assert_eq!(result.await, Ok("at last"));
/// });
/// ```
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    shard: &Shard,
    backoff: Backoff,
    budget: Option<&RetryBudget>,
    again: impl Fn(&E) -> bool,
    work: impl Fn(Attempt) -> F,
) -> Result<T, E> {
    if let Some(budget) = budget {
        budget.deposit();
    }
    let mut number = 1;
    loop {
        let is_last = number >= backoff.attempts_max;
        let error = match work(Attempt { number, is_last }).await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        if is_last || !again(&error) || !budget.is_none_or(|budget| budget.withdraw(shard.now())) {
            return Err(error);
        }
        number += 1;
        shard.sleep(backoff.pause(number, shard.random())).await;
    }
}
