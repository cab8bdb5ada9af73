use std::time::Duration;

use super::SlowStart;
use crate::testing::start;

#[track_caller]
fn check(aggression: f64, age: u64, expect: f64) {
    let slow_start = SlowStart { window: Duration::from_secs(60), aggression, floor: 0.1 };
    let since = start();
    let factor = slow_start.factor(since, since + Duration::from_secs(age));
    assert!((factor - expect).abs() < 1e-9, "{factor}");
}

#[test]
fn grows_as_the_formula_says() {
    check(1.0, 0, 0.1);
    check(1.0, 6, 0.1);
    check(1.0, 15, 0.25);
    check(1.0, 59, 59.0 / 60.0);
    check(1.0, 60, 1.0);
    check(1.0, 600, 1.0);
    check(2.0, 15, 0.5);
    check(2.0, 0, (1.0f64 / 60.0).sqrt());
    check(0.5, 30, 0.25);
}

#[test]
fn never_shrinks() {
    for aggression in [0.3, 1.0, 1.5, 10.0] {
        let slow_start = SlowStart { window: Duration::from_secs(20), aggression, floor: 0.05 };
        let since = start();
        let factors: Vec<f64> =
            (0..250).map(|tenths| slow_start.factor(since, since + tenths * Duration::from_millis(100))).collect();
        assert!(factors.is_sorted());
        assert_eq!((factors[0] >= 0.05, factors[249]), (true, 1.0));
    }
}

#[test]
fn an_empty_window_is_no_slow_start() {
    let since = start();
    assert_eq!(SlowStart { window: Duration::ZERO, ..SlowStart::default() }.factor(since, since), 1.0);
}

#[test]
fn refuses_what_makes_no_sense() {
    let check = |aggression, floor| SlowStart { aggression, floor, ..SlowStart::default() }.check();
    assert_eq!(check(1.0, 0.1), Ok(()));
    for (aggression, floor) in [(0.0, 0.1), (f64::NAN, 0.1), (1.0, 0.0), (1.0, 1.1), (1.0, f64::NAN)] {
        assert!(check(aggression, floor).is_err(), "{aggression} {floor}");
    }
}
