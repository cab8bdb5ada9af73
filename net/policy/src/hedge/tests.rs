use std::time::Duration;

use super::{BUCKETS, Delay, Hedge, Policy, bucket, upper_end};
use crate::budget;
use crate::testing::{Random, for_seeds, start};

const NO_BUDGET: budget::Config = budget::Config { share: 0.0, per_second: 0.0, kept: Duration::from_secs(10) };

fn quantile(of: f64) -> Hedge {
    let delay = Delay::Quantile { of, min: Duration::ZERO, max: Duration::MAX };
    Hedge::new(Policy { delay, budget: NO_BUDGET })
}

#[test]
fn every_time_is_in_a_bucket_that_is_not_much_wider() {
    assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS - 1));
    let mut last = Duration::ZERO;
    for bucket in 0..BUCKETS {
        let end = upper_end(bucket);
        assert!(end > last);
        assert!(bucket == 0 || end - last <= end / 8);
        assert_eq!(super::bucket(last), bucket);
        assert_eq!(super::bucket(end - Duration::from_nanos(1)), bucket);
        last = end;
    }
    assert!(last > Duration::from_secs(60));
    for_seeds(1000, |random| {
        let time = Duration::from_nanos(random.next() >> (28 + random.below(36)));
        assert!(time < upper_end(bucket(time)) || time >= last);
    });
}

#[test]
fn the_quantile_is_that_of_all_recent_calls_within_an_eighth() {
    for_seeds(50, |random| {
        let now = start();
        let of = random.below(1000) as f64 / 1000.0;
        let mut hedge = quantile(of);
        let mut times: Vec<Duration> = (0..40 + random.below(2000)).map(|_| some_time(random)).collect();
        for &time in &times {
            hedge.record(time, now);
        }
        times.sort();
        let exact = times[((of * times.len() as f64).ceil() as usize).max(1) - 1];
        let learned = hedge.begin(now).expect("there were enough");
        assert!(learned > exact && learned <= exact.max(Duration::from_micros(57)) * 9 / 8, "{exact:?} {learned:?}");
    });
}

/// Between a tenth of a millisecond and some seconds, of all magnitudes.
fn some_time(random: &mut Random) -> Duration {
    Duration::from_secs_f64(1e-4 * (random.unit() * 11.0).exp())
}

#[test]
fn what_is_old_counts_no_more() {
    let start = start();
    let mut hedge = quantile(0.5);
    for _ in 0..1000 {
        hedge.record(Duration::from_secs(1), start);
    }
    assert!(hedge.begin(start).unwrap() >= Duration::from_secs(1));
    let later = start + Duration::from_secs(20);
    for _ in 0..100 {
        hedge.record(Duration::from_millis(10), later);
    }
    assert!(hedge.begin(later).unwrap() >= Duration::from_secs(1), "most of the recent calls took that long");
    let much_later = start + Duration::from_secs(30);
    assert!(hedge.begin(much_later).unwrap() <= Duration::from_millis(12));
    assert_eq!(hedge.begin(start + Duration::from_secs(100)), None, "nobody knows any more");
}

#[test]
fn of_few_calls_nothing_is_learned_and_of_many_soon() {
    let start = start();
    let mut hedge = quantile(0.5);
    (0..39).for_each(|_| hedge.record(Duration::from_millis(1), start));
    assert_eq!(hedge.begin(start), None);
    hedge.record(Duration::from_millis(1), start);
    assert!(hedge.begin(start).unwrap() <= Duration::from_millis(2));
    (0..100).for_each(|_| hedge.record(Duration::from_secs(1), start));
    assert!(hedge.begin(start).unwrap() >= Duration::from_secs(1), "most took that long by now");
    let later = start + Duration::from_secs(40);
    hedge.record(Duration::from_millis(1), later);
    assert_eq!(hedge.begin(later), None, "one is few, and the others are old");
}

#[test]
fn a_delay_keeps_to_its_bounds() {
    let now = start();
    let check = |min, max, expect| {
        let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
        let mut hedge = Hedge::new(Policy { delay: Delay::Quantile { of: 0.9, min, max }, budget: NO_BUDGET });
        for _ in 0..100 {
            hedge.record(Duration::from_millis(100), now);
        }
        assert_eq!(hedge.begin(now).unwrap().as_millis(), expect);
    };
    check(0, 50, 50);
    check(200, 300, 200);
    check(200, 100, 200);
    let mut fixed = Hedge::new(Policy { delay: Delay::Fixed(Duration::from_millis(7)), budget: NO_BUDGET });
    assert_eq!(fixed.begin(now), Some(Duration::from_millis(7)));
    assert!(!fixed.send(now), "nothing pays for it");
    for of in [f64::NAN, -1.0, 2.0] {
        let mut hedge = quantile(of);
        (0..100).for_each(|_| hedge.record(Duration::from_millis(1), now));
        assert!(hedge.begin(now).is_some());
    }
}

/// A hundred calls a second to a service whose answers take ten milliseconds, one in `slow` a second. Gives the time that 99 of 100
/// calls took at most, and the load beyond the calls themselves.
fn serve(random: &mut Random, hedge: &mut Hedge, slow: f64) -> (Duration, f64) {
    let start = start();
    let mut answer = || if random.chance(slow) { Duration::from_secs(1) } else { Duration::from_millis(10) };
    let calls = 10_000;
    let (mut times, mut hedges) = (Vec::new(), 0);
    for call in 0..calls {
        let now = start + Duration::from_millis(10) * call;
        let first = answer();
        let time = match hedge.begin(now) {
            Some(delay) if delay < first && hedge.send(now + delay) => {
                hedges += 1;
                first.min(delay + answer())
            }
            _ => first,
        };
        hedge.record(time, now + time);
        times.push(time);
    }
    times.sort();
    (times[times.len() * 99 / 100], f64::from(hedges) / f64::from(calls))
}

#[test]
fn a_tail_is_cut_off_for_little_load() {
    for_seeds(10, |random| {
        let (slow, load) = serve(random, &mut Hedge::default(), 0.02);
        assert!(slow <= Duration::from_millis(30), "{slow:?}, without hedges a second");
        assert!(load <= 0.03, "{load}");
    });
}

#[test]
fn a_service_that_is_slow_as_a_whole_is_not_asked_twice() {
    for_seeds(10, |random| {
        let mut hedge = Hedge::new(Policy {
            delay: Delay::Fixed(Duration::from_millis(20)),
            budget: budget::Config { share: 0.05, per_second: 1.0, kept: Duration::from_secs(10) },
        });
        let (_, load) = serve(random, &mut hedge, 1.0);
        assert!(load <= 0.05 + 0.01 + 0.005, "{load}");
    });
}
