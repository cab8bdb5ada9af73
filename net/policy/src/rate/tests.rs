use std::time::{Duration, Instant};

use super::Rate;
use crate::testing::{for_seeds, start};

#[test]
fn no_span_of_time_sees_more_than_the_burst_and_the_rate() {
    for_seeds(200, |random| {
        let start = start();
        let (count, burst) = (1 + random.below(50) as u32, random.below(10) as u32);
        let per = Duration::from_micros(1 + random.below(1_000_000));
        let mut rate = Rate::new(count, per, burst);
        let mut now = start;
        let mut admitted: Vec<Duration> = Vec::new();
        for _ in 0..400 {
            now += per.mul_f64(random.unit() * 2.0 / f64::from(count));
            if rate.admit(now).is_ok() {
                admitted.push(now - start);
            }
        }
        for (first, &from) in admitted.iter().enumerate() {
            for (last, &to) in admitted.iter().enumerate().skip(first) {
                let most = f64::from(burst.max(1)) + f64::from(count) * (to - from).as_secs_f64() / per.as_secs_f64();
                assert!((last - first + 1) as f64 <= most + 1e-6, "{first} to {last} of {count} per {per:?}, {burst}");
            }
        }
    });
}

#[test]
fn who_asks_all_the_time_gets_the_whole_rate() {
    let start = start();
    let mut rate = Rate::new(100, Duration::from_secs(1), 5);
    let admitted = (0..10_000).filter(|millis| rate.admit(start + Duration::from_millis(*millis)).is_ok()).count();
    assert_eq!(admitted, 5 - 1 + 1000);
}

#[test]
fn who_waits_as_long_as_told_is_admitted_and_not_before() {
    for_seeds(200, |random| {
        let mut now = start();
        let mut rate = Rate::new(1 + random.below(1000) as u32, Duration::from_secs(1), 1 + random.below(5) as u32);
        for _ in 0..100 {
            now += Duration::from_micros(random.below(500));
            if let Err(after) = rate.admit(now) {
                assert!(after > Duration::ZERO);
                assert_eq!(rate.clone().admit(now + after - Duration::from_nanos(1)), Err(Duration::from_nanos(1)));
                assert_eq!(rate.clone().admit(now + after), Ok(()));
            }
        }
    });
}

#[test]
fn odd_rates_do_no_harm() {
    let now = start();
    let check = |count, per, burst, expect: &[Result<(), Duration>]| {
        let mut rate = Rate::new(count, per, burst);
        let got: Vec<_> = expect.iter().map(|_| rate.admit(now)).collect();
        assert_eq!(got, expect, "{count} per {per:?}, {burst}");
    };
    check(0, Duration::from_secs(1), 10, &[Err(Duration::MAX), Err(Duration::MAX)]);
    check(1, Duration::from_secs(1), 0, &[Ok(()), Err(Duration::from_secs(1))]);
    check(u32::MAX, Duration::ZERO, 1, &[Ok(()), Ok(()), Ok(())]);
    check(3, Duration::from_secs(1), 1, &[Ok(()), Err(Duration::from_nanos(333_333_334))]);
    check(1, Duration::MAX, u32::MAX, &[Err(Duration::MAX)]);
}

#[test]
fn a_clock_that_steps_back_admits_nothing_twice() {
    let now: Instant = start() + Duration::from_secs(10);
    let mut rate = Rate::new(1, Duration::from_secs(1), 1);
    assert_eq!(rate.admit(now), Ok(()));
    assert_eq!(rate.admit(now - Duration::from_secs(5)), Err(Duration::from_secs(6)));
}
