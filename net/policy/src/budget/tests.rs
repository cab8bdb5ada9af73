use std::time::Duration;

use super::{Budget, Config};
use crate::testing::{for_seeds, start};

/// Asks for as many retries as may be, at random times, and gives in which tenth of `kept` calls and retries were made.
fn spend(random: &mut crate::testing::Random, config: Config, steps: u32) -> (Vec<u64>, Vec<u64>) {
    let start = start();
    let mut budget = Budget::new(config);
    let slice = config.kept / 10;
    let (mut calls, mut retries) = (vec![0; 1], vec![0; 1]);
    let mut at = Duration::ZERO;
    budget.deposit(start);
    calls[0] += 1;
    for _ in 0..steps {
        let pause = if random.chance(0.02) { 3.0 } else { 0.02 };
        at += slice.mul_f64(random.unit() * pause);
        let place = (at.as_nanos() / slice.as_nanos()) as usize;
        calls.resize(place + 1, 0);
        retries.resize(place + 1, 0);
        if random.chance(0.7) {
            budget.deposit(start + at);
            calls[place] += 1;
        }
        for _ in 0..random.below(4) {
            let balance = budget.balance(start + at);
            let granted = budget.withdraw(start + at);
            assert_eq!(granted, balance >= 1);
            retries[place] += u64::from(granted);
        }
    }
    (calls, retries)
}

#[test]
fn no_more_than_the_share_of_the_calls_and_the_rate_in_any_time() {
    for_seeds(100, |random| {
        let config = Config {
            share: random.below(2000) as f64 / 1000.0,
            per_second: random.below(200) as f64 / 10.0,
            kept: Duration::from_secs(1 + random.below(60)),
        };
        let (calls, retries) = spend(random, config, 5000);
        for _ in 0..300 {
            let to = random.below(calls.len() as u64) as usize + 1;
            let from = random.below(to as u64) as usize;
            let retries: u64 = retries[from..to].iter().sum();
            let calls: u64 = calls[from.saturating_sub(9)..to].iter().sum();
            let seconds = config.kept.as_secs_f64() * (to - from).div_ceil(10) as f64;
            let most = config.per_second * seconds + config.share * calls as f64;
            assert!(retries as f64 <= most + 1e-6, "{retries} for {calls} in {seconds} s by {config:?}");
        }
        let (calls, retries): (u64, u64) = (calls.iter().sum(), retries.iter().sum());
        assert!(calls > 0 && (retries > 0 || config.share * calls as f64 + config.per_second < 2.0));
    });
}

#[test]
fn under_load_that_never_ends_it_grants_just_its_share() {
    let start = start();
    let mut budget = Budget::new(Config { per_second: 10.0, ..Config::default() });
    let (mut calls, mut retries) = (0u32, 0u32);
    for millis in 0..60_000 {
        let now = start + Duration::from_millis(millis);
        budget.deposit(now);
        calls += 1;
        retries += u32::from(budget.withdraw(now));
    }
    let expected = 0.2 * f64::from(calls) + 10.0 * 60.0;
    assert!((f64::from(retries) - expected).abs() < 0.05 * expected, "{retries} of {calls}, not {expected}");
}

#[test]
fn savings_go_after_their_time() {
    let start = start();
    let mut budget = Budget::new(Config { per_second: 0.0, ..Config::default() });
    for _ in 0..1000 {
        budget.deposit(start);
    }
    assert_eq!(budget.balance(start + Duration::from_millis(8_999)), 200);
    assert_eq!(budget.balance(start + Duration::from_millis(10_000)), 0);
}

#[test]
fn what_was_spent_weighs_as_long_as_what_was_earned() {
    let start = start();
    let mut budget = Budget::new(Config { share: 0.0, per_second: 1.0, kept: Duration::from_secs(10) });
    let granted = |budget: &mut Budget, seconds| {
        let now = start + Duration::from_secs(seconds);
        (0..100).filter(|_| budget.withdraw(now)).count()
    };
    assert_eq!(granted(&mut budget, 0), 10, "all of it at once");
    assert_eq!(granted(&mut budget, 9), 0);
    assert_eq!(granted(&mut budget, 10), 10);
}

#[test]
fn a_share_is_exact() {
    let now = start();
    for percent in 1..=100 {
        let mut budget =
            Budget::new(Config { share: f64::from(percent) / 100.0, per_second: 0.0, ..Config::default() });
        (0..100).for_each(|_| budget.deposit(now));
        assert_eq!((0..200).filter(|_| budget.withdraw(now)).count(), percent as usize);
    }
}

#[test]
fn fractions_of_a_rate_add_up() {
    let start = start();
    let mut budget = Budget::new(Config { share: 0.0, per_second: 0.3, kept: Duration::from_secs(10) });
    let granted = (0..100).filter(|second| budget.withdraw(start + Duration::from_secs(*second))).count();
    assert_eq!(granted, 30);
}

#[test]
fn odd_configurations_grant_nothing_or_much_and_do_no_harm() {
    let now = start();
    let check = |share, per_second, kept, expect: bool| {
        let mut budget = Budget::new(Config { share, per_second, kept });
        budget.deposit(now);
        assert_eq!(budget.withdraw(now), expect, "{share} {per_second} {kept:?}");
    };
    check(f64::NAN, f64::NAN, Duration::from_secs(10), false);
    check(-1.0, -1.0, Duration::from_secs(10), false);
    check(f64::INFINITY, 0.0, Duration::from_secs(10), true);
    check(0.0, f64::INFINITY, Duration::MAX, true);
    check(1.0, 0.0, Duration::ZERO, true);
    check(0.0, 10.0, Duration::ZERO, false);
}
