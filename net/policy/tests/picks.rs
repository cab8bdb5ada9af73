//! No pick allocates, nor does what is told of a call, by whatever rule.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

#[path = "../../../shards/tests/counting/mod.rs"]
mod counting;

use std::time::{Duration, Instant};

use counting::COUNT;
use shardwise_policy::Place;
use shardwise_policy::balance::{Ask, Balancer, Entry, Rule, Settings};
use shardwise_policy::outlier::{self, Outcome, Outlier};
use shardwise_policy::slow_start::SlowStart;

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` cannot be had otherwise; nothing depends on which one it is"
)]
fn no_pick_allocates() {
    let start = Instant::now();
    let entries: Vec<Entry> = (0..30).map(|id| Entry { weight: 1.0 + (id % 4) as f32, ..Entry::new(id) }).collect();
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
                let outcome = if turn % 3 == 0 { Outcome::Error } else { Outcome::Success };
                outlier.record(last, outcome, now, random());
            }
            balancer.judge(id, now, |health| health.is_failing = turn % 5 < 2);
            outlier.tick(now, &mut random, |_| {});
        }
        assert_eq!(COUNT.take(), Some(0), "{rule:?}");
    }
}
