//! Again after a failure: with growing pauses of random length, while a budget lasts.
//!
//! The pauses are exponential with full jitter, which spreads a crowd of clients best (Brooker, "Exponential Backoff And
//! Jitter", AWS Architecture Blog, 2015). The [`Budget`] keeps retries from multiplying an outage.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use policy::budget::Budget;

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

/// One try, as the work sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from one.
    pub number: u32,
    /// Whether no other follows, whatever becomes of this one.
    pub is_last: bool,
}

/// Does `work` until it succeeds, until `again` says that its error is final, or until tries or budget run out; gives the
/// last result. Each retry takes from `budget`, which the calls of a client share, and the whole call deposits in it once.
///
/// ```
/// use std::cell::RefCell;
///
/// use shardwise_shards::combine::budget::Budget;
/// use shardwise_shards::combine::{Backoff, retry};
/// use shardwise_shards::Simulation;
///
/// Simulation::new(1).run(async |shard| {
///     let budget = RefCell::new(Budget::default());
///     let result = retry(&shard, Backoff::USUAL, Some(&budget), |_: &&str| true, async |attempt| match attempt.number {
///         3 => Ok("at last"),
///         _ => Err("not yet"),
///     });
///     assert_eq!(result.await, Ok("at last"));
/// });
/// ```
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    shard: &Shard,
    backoff: Backoff,
    budget: Option<&RefCell<Budget>>,
    again: impl Fn(&E) -> bool,
    work: impl Fn(Attempt) -> F,
) -> Result<T, E> {
    if let Some(budget) = budget {
        budget.borrow_mut().deposit(shard.now());
    }
    let mut number = 1;
    loop {
        let is_last = number >= backoff.attempts_max;
        let error = match work(Attempt { number, is_last }).await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        if is_last || !again(&error) || !budget.is_none_or(|budget| budget.borrow_mut().withdraw(shard.now())) {
            return Err(error);
        }
        number += 1;
        shard.sleep(backoff.pause(number, shard.random())).await;
    }
}
