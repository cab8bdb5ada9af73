//! No decision allocates, however many are made.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

#[path = "../../../shards/tests/counting/mod.rs"]
mod counting;

use std::time::{Duration, Instant};

use counting::COUNT;
use shardwise_policy::Place;
use shardwise_policy::adaptive::{Limiter, Sample};
use shardwise_policy::balance::{self, Ask, Balancer, Rule, Settings};
use shardwise_policy::breaker::{Breaker, Outcome};
use shardwise_policy::budget::Budget;
use shardwise_policy::bulkhead::{Bulkhead, Entry};
use shardwise_policy::hedge::Hedge;
use shardwise_policy::outlier::{self, Outlier};
use shardwise_policy::rate::Rate;
use shardwise_policy::retry::{Cause, Policy, Tries, Verdict};
use shardwise_policy::slow_start::SlowStart;

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
            breaker.record(call, outcome, now, || u64::from(round));
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

/// Nor does a pick, or what is told of a call, by whatever rule.
#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` cannot be had otherwise; nothing depends on which one it is"
)]
fn no_pick_allocates() {
    let start = Instant::now();
    let entries: Vec<balance::Entry> =
        (0..30).map(|id| balance::Entry { weight: 1.0 + (id % 4) as f32, ..balance::Entry::new(id) }).collect();
    let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
    let rules = [Rule::RoundRobin, Rule::Weighted, Rule::LeastRequests, Rule::PeakEwma, Rule::RING, Rule::MAGLEV];
    for rule in rules {
        let settings = Settings { rule, slow_start: Some(SlowStart::default()), ..Settings::default() };
        let mut balancer = Balancer::new(settings).unwrap();
        let mut outlier = Outlier::new(outlier::Settings::default(), start).unwrap();
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 33)
        };
        balancer.set(&entries, start, &mut random);
        outlier.set(&ids);
        COUNT.set(Some(0));
        let mut last: Option<Place> = None;
        for turn in 0..10_000u32 {
            let now = start + turn * Duration::from_millis(1);
            let id = u64::from(turn) % 30;
            let tried = last.map(|last| last.id);
            let ask = Ask { key: (turn % 2 == 0).then_some(id), tried: tried.as_slice() };
            let place = balancer.pick(ask, now, &mut random).unwrap();
            balancer.begin(place);
            if let Some(last) = last.replace(place) {
                balancer.end(last, Some(Duration::from_micros(u64::from(turn % 700))), now);
                let outcome = if turn % 3 == 0 { outlier::Outcome::Error } else { outlier::Outcome::Success };
                outlier.record(last, outcome, now, &mut random);
            }
            balancer.judge(id, now, |health| health.is_failing = turn % 5 < 2);
            outlier.tick(now, &mut random, |_| {});
        }
        assert_eq!(COUNT.take(), Some(0), "{rule:?}");
    }
}
