//! Retries, their budget and a breaker around one service that fails: a little, altogether, and no more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use shardwise_policy::breaker::{Breaker, Outcome};
use shardwise_policy::budget::Budget;
use shardwise_policy::retry::{Cause, Decision, Policy, Tries, Verdict};

/// A thousand calls a second, for three minutes.
const CALLS: u64 = 180_000;

const EACH: Duration = Duration::from_millis(1);

const FAILED: Verdict =
    Verdict { cause: Cause::Status(503), is_idempotent: true, did_nothing: false, is_at_hand: true, retry_after: None };

/// What each minute has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    calls: u64,
    succeeded: u64,
    /// What the service was asked, retries included.
    tries: u64,
}

/// Runs the calls against a service that fails that share of its tries, minute by minute.
fn storm(seed: u64, failing: [f64; 3], mut breaker: Option<Breaker>) -> [Minute; 3] {
    let start = now();
    let policy = Policy::default();
    let mut budget = Budget::default();
    let mut random = seed;
    let mut calls: Vec<Tries> = Vec::new();
    // The tries that are due, and of which call.
    let mut due: BinaryHeap<Reverse<(Duration, u64)>> =
        (0..CALLS).map(|call| Reverse((EACH * call as u32, call))).collect();
    let mut minutes = [Minute::default(); 3];
    while let Some(Reverse((at, call))) = due.pop() {
        let (now, minute) = (start + at, (at.as_secs() as usize / 60).min(2));
        let place = call as usize;
        if place == calls.len() {
            calls.push(Tries::new(&policy, now));
            budget.deposit(now);
            minutes[minute].calls += 1;
        }
        let admission = match &mut breaker {
            None => None,
            Some(breaker) => match breaker.admit(now) {
                Ok(admission) => Some(admission),
                Err(_) => continue,
            },
        };
        minutes[minute].tries += 1;
        let fails = unit(&mut random) < failing[minute];
        if let (Some(breaker), Some(admission)) = (&mut breaker, admission) {
            breaker
                .record(admission, if fails { Outcome::Failure } else { Outcome::Success }, now, || next(&mut random));
        }
        if !fails {
            minutes[minute].succeeded += 1;
        } else if let Decision::Retry(pause) = calls[place].failed(&FAILED, now, next(&mut random))
            && budget.withdraw(now)
        {
            due.push(Reverse((at + pause, call)));
        }
    }
    minutes
}

#[test]
fn a_few_failures_are_mended() {
    for seed in 0..3 {
        for minute in storm(seed, [0.02; 3], Some(Breaker::new(Default::default()))) {
            assert!(minute.succeeded * 10_000 >= minute.calls * 9_990, "seed {seed}: {minute:?}");
            assert!(minute.tries * 100 <= minute.calls * 103, "seed {seed}: {minute:?}");
        }
    }
}

#[test]
fn an_outage_is_not_multiplied() {
    for seed in 0..3 {
        let minutes = storm(seed, [0.0, 1.0, 0.0], None);
        // A fifth of the calls, and ten each second: of this minute, and of the ten seconds before.
        assert!(minutes[1].tries <= minutes[1].calls * 12 / 10 + 2_000 + 700, "seed {seed}: {minutes:?}");
        assert!(minutes[1].tries >= minutes[1].calls * 115 / 100, "seed {seed}: {minutes:?}");
        assert!(minutes[2].succeeded >= minutes[2].calls, "seed {seed}: {minutes:?}");
    }
}

#[test]
fn a_breaker_spares_a_service_that_is_down_and_comes_back_to_it() {
    for seed in 0..3 {
        let minutes = storm(seed, [0.0, 1.0, 0.0], Some(Breaker::new(Default::default())));
        assert!(minutes[1].tries <= 20, "seed {seed}: {minutes:?}");
        assert!(minutes[2].succeeded > 0, "seed {seed}: {minutes:?}");
    }
}

/// One step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(state: &mut u64) -> f64 {
    (next(state) >> 11) as f64 / (1u64 << 53) as f64
}

#[allow(
    clippy::disallowed_methods,
    reason = "an `Instant` cannot be had otherwise; nothing depends on which one it is"
)]
fn now() -> Instant {
    Instant::now()
}
