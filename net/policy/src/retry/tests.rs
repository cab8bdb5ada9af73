use std::time::Duration;

use super::{Cause, Causes, Decision, Policy, Statuses, Tries, Verdict, Why};
use crate::testing::{for_seeds, start};

const IDEMPOTENT: Verdict =
    Verdict { cause: Cause::Reset, is_idempotent: true, did_nothing: false, is_at_hand: true, retry_after: None };

#[track_caller]
fn check(verdict: Verdict, expect: Decision) {
    let policy = Policy::default();
    let now = start();
    assert_eq!(Tries::new(&policy, now).failed(&verdict, now, u64::MAX), expect);
}

#[test]
fn what_is_tried_again() {
    let retry = Decision::Retry(Duration::from_millis(25));
    for cause in [Cause::Connect, Cause::Unprocessed, Cause::Reset, Cause::TryTime] {
        check(Verdict { cause, ..IDEMPOTENT }, retry);
    }
    check(Verdict { cause: Cause::Other, ..IDEMPOTENT }, Decision::Stop(Why::Cause));
    for status in [500, 502, 503, 504] {
        check(Verdict { cause: Cause::Status(status), ..IDEMPOTENT }, retry);
    }
    for status in [0, 200, 304, 399, 400, 404, 408, 429, 499, 501, 505, 599, 600, u16::MAX] {
        check(Verdict { cause: Cause::Status(status), ..IDEMPOTENT }, Decision::Stop(Why::Cause));
    }
    let once = Verdict { is_idempotent: false, ..IDEMPOTENT };
    check(once, Decision::Stop(Why::NotIdempotent));
    check(Verdict { did_nothing: true, ..once }, retry);
    check(Verdict { is_at_hand: false, ..IDEMPOTENT }, Decision::Stop(Why::NotAtHand));
}

#[test]
fn nothing_that_may_have_been_done_is_done_twice() {
    for_seeds(2000, |random| {
        let causes = [Cause::Connect, Cause::Unprocessed, Cause::Reset, Cause::TryTime, Cause::Status(503)];
        let verdict = Verdict {
            cause: causes[random.below(5) as usize],
            is_idempotent: random.chance(0.5),
            did_nothing: random.chance(0.5),
            is_at_hand: random.chance(0.5),
            retry_after: random.chance(0.5).then_some(Duration::from_secs(random.below(10))),
        };
        let policy = Policy { tries_max: random.below(5) as u32, ..Policy::default() };
        let now = start();
        let mut tries = Tries::new(&policy, now);
        let mut retries = 0;
        while let Decision::Retry(_) = tries.failed(&verdict, now, random.next()) {
            retries += 1;
            assert!((verdict.is_idempotent || verdict.did_nothing) && verdict.is_at_hand);
            assert!(retries < policy.tries_max, "the first try counts");
        }
    });
}

#[test]
fn pauses_grow_to_their_bound_and_are_of_any_length() {
    let policy = Policy::default();
    // Envoy's documentation: 25 ms, 75 ms, 175 ms, then the cap.
    let longest = [25, 75, 175, 250, 250, 250];
    for (retry, longest) in (1..).zip(longest) {
        assert_eq!(policy.pause(retry, u64::MAX), Duration::from_millis(longest));
        assert_eq!(policy.pause(retry, u64::MAX / 2), Duration::from_millis(longest) / 2);
        assert_eq!(policy.pause(retry, 0), Duration::ZERO);
    }
    assert_eq!(policy.pause(0, u64::MAX), Duration::ZERO);
    assert_eq!(policy.pause(u32::MAX, u64::MAX), Duration::from_millis(250));
    for_seeds(1000, |random| {
        assert!(policy.pause(random.next() as u32, random.next()) <= policy.pause_max);
    });
}

#[test]
fn a_server_that_says_when_is_obeyed() {
    let asked =
        |seconds| Verdict { cause: Cause::Status(503), retry_after: Some(Duration::from_secs(seconds)), ..IDEMPOTENT };
    check(asked(2), Decision::Retry(Duration::from_secs(3)));
    check(asked(0), Decision::Retry(Duration::ZERO));
    check(asked(300), Decision::Stop(Why::Time));
    check(asked(301), Decision::Stop(Why::RetryAfter));
    check(asked(u64::MAX), Decision::Stop(Why::RetryAfter));

    let (policy, now) = (Policy { time_max: None, ..Policy::default() }, start());
    for_seeds(1000, |random| {
        let seconds = random.below(300);
        match Tries::new(&policy, now).failed(&asked(seconds), now, random.next()) {
            Decision::Retry(pause) => {
                let asked = Duration::from_secs(seconds);
                assert!(pause >= asked && pause <= asked * 3 / 2);
            }
            decision => panic!("{decision:?}"),
        }
    });
}

#[test]
fn tries_share_the_time_of_the_call() {
    let start = start();
    let policy =
        Policy { try_time: Some(Duration::from_secs(2)), time_max: Some(Duration::from_secs(5)), ..Policy::default() };
    let mut tries = Tries::new(&policy, start);
    assert_eq!((tries.number(), tries.try_time(start)), (1, Some(Duration::from_secs(2))));
    let now = start + Duration::from_secs(4);
    assert!(matches!(tries.failed(&IDEMPOTENT, now, 0), Decision::Retry(_)));
    assert_eq!((tries.number(), tries.try_time(now)), (2, Some(Duration::from_secs(1))));
    let late = start + Duration::from_secs(5);
    assert_eq!(tries.time_left(late), Some(Duration::ZERO));
    assert_eq!(tries.failed(&IDEMPOTENT, late, 0), Decision::Stop(Why::Time));

    let check = |try_time, time_max, expect| {
        let policy = Policy { try_time, time_max, ..Policy::default() };
        assert_eq!(Tries::new(&policy, start).try_time(start), expect);
    };
    let second = Some(Duration::from_secs(1));
    check(None, None, None);
    check(second, None, second);
    check(None, second, second);
    check(second, Some(Duration::from_millis(1)), Some(Duration::from_millis(1)));
}

#[test]
fn one_try_is_made_at_least_and_no_count_overflows() {
    let now = start();
    for tries_max in [0, 1] {
        let policy = Policy { tries_max, ..Policy::default() };
        assert_eq!(Tries::new(&policy, now).failed(&IDEMPOTENT, now, 0), Decision::Stop(Why::Tries));
    }
    let policy = Policy { tries_max: u32::MAX, time_max: None, ..Policy::default() };
    let mut tries = Tries { policy: &policy, since: now, failed: u32::MAX - 1 };
    assert_eq!(tries.failed(&IDEMPOTENT, now, 0), Decision::Stop(Why::Tries));
    assert_eq!(tries.failed(&IDEMPOTENT, now, 0), Decision::Stop(Why::Tries));
    assert_eq!(tries.number(), u32::MAX);
}

#[test]
fn sets_of_statuses_hold_what_they_were_given() {
    for status in 0..=1000 {
        let statuses = Statuses::NONE.with(status);
        for other in 0..=1000 {
            assert_eq!(statuses.contains(other), other == status && (400..600).contains(&status), "{status} {other}");
        }
    }
    assert!(!Causes::NONE.contains(Cause::Connect) && !Causes::NONE.contains(Cause::Status(500)));
}
