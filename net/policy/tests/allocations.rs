//! No decision allocates, however many are made.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

#[path = "../../../shards/tests/counting/mod.rs"]
mod counting;

use std::time::{Duration, Instant};

use counting::COUNT;
use shardwise_policy::adaptive::{Limiter, Sample};
use shardwise_policy::breaker::{Breaker, Outcome};
use shardwise_policy::budget::Budget;
use shardwise_policy::bulkhead::{Bulkhead, Entry};
use shardwise_policy::hedge::Hedge;
use shardwise_policy::rate::Rate;
use shardwise_policy::retry::{Cause, Policy, Tries, Verdict};

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` cannot be had otherwise; nothing depends on which one it is"
)]
fn no_decision_allocates() {
    let start = Instant::now();
    let policy = Policy::default();
    let (mut breaker, mut budget, mut bulkhead) =
        (Breaker::new(Default::default()), Budget::default(), Bulkhead::default());
    let (mut hedge, mut rate) = (Hedge::default(), Rate::new(100, Duration::from_secs(1), 10));
    let mut limiter = Limiter::new(Default::default(), 0);
    let verdict =
        Verdict { cause: Cause::Reset, is_idempotent: true, did_nothing: false, is_at_hand: true, retry_after: None };

    COUNT.set(Some(0));
    // Two minutes, with good times and bad ones.
    for round in 0..12_000 {
        let now = start + Duration::from_millis(10) * round;
        let outcome = if round / 3000 % 2 == 0 { Outcome::Success } else { Outcome::Failure };
        if let Ok(call) = breaker.admit(now) {
            breaker.record(call, outcome, now, u64::from(round));
        }
        breaker.next_event();
        budget.deposit(now);
        budget.withdraw(now);
        if bulkhead.enter() == Entry::Admitted {
            assert!(!bulkhead.leave());
        }
        hedge.begin(now);
        hedge.send(now);
        let time = Duration::from_millis(u64::from(round % 100));
        hedge.record(time, now);
        let _ = rate.admit(now);
        limiter.sample(Sample { time, in_flight: 20, dropped: round % 1000 == 0 }, now);
        Tries::new(&policy, now).failed(&verdict, now, u64::from(round));
    }
    assert_eq!(COUNT.take(), Some(0));
}
