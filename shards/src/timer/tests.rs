#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use super::*;
use crate::tests::Random;

/// What a timer was armed for: whether it is precise, when it is due, and whether it is still armed.
struct Armed {
    key: Option<TimerKey>,
    deadline: Instant,
    precise: bool,
}

/// Arms, disarms, moves and fires at random, next to a list that knows every deadline.
fn check(seed: u64) {
    let mut random = Random::new(seed);
    let start = Instant::now();
    let mut now = start;
    let mut timers = Timers::new(start);
    let mut all: Vec<Armed> = Vec::new();
    for _ in 0..400 {
        let far = 1u64 << random.below(45);
        match random.below(7) {
            6 => {
                // A span whose time begins later, if it is not cancelled or moved before.
                let span = Duration::from_nanos(random.below(far));
                let index = all.len();
                let key = timers.insert_span(span, index).expect("room");
                assert!(timers.has_spans(), "seed {seed}");
                match random.below(4) {
                    0 => assert_eq!(timers.cancel(key), Some(index), "seed {seed}"),
                    1 => {
                        assert!(timers.rearm(&key, now + span), "seed {seed}");
                        all.push(Armed { key: Some(key), deadline: now + span, precise: false });
                    }
                    _ => all.push(Armed { key: Some(key), deadline: now + span, precise: false }),
                }
                timers.begin(now);
                assert!(!timers.has_spans(), "seed {seed}");
            }
            0..=2 => {
                let deadline = now + Duration::from_nanos(random.below(far));
                let precise = random.below(3) == 0;
                let index = all.len();
                let key = if precise { timers.insert_precise(deadline, index) } else { timers.insert(deadline, index) };
                all.push(Armed { key: key.ok(), deadline, precise });
            }
            3 if !all.is_empty() => {
                let index = random.below(all.len() as u64) as usize;
                if let Some(key) = all[index].key.take() {
                    assert_eq!(timers.cancel(key), Some(index), "seed {seed}");
                }
            }
            4 if !all.is_empty() => {
                let index = random.below(all.len() as u64) as usize;
                let armed = &mut all[index];
                if let Some(key) = &armed.key {
                    armed.deadline = now + Duration::from_nanos(random.below(far));
                    assert!(timers.rearm(key, armed.deadline), "seed {seed}");
                    assert_eq!(timers.waiter_mut(key), Some(&mut index.clone()), "seed {seed}");
                }
            }
            _ => {
                now = match timers.next_deadline() {
                    Some(next) if random.below(2) == 0 => now.max(next),
                    _ => now + Duration::from_nanos(random.below(far)),
                };
                let mut fired = Vec::new();
                timers.expire(now, &mut |index| fired.push(index));
                for &index in &fired {
                    let armed = &mut all[index];
                    assert!(armed.deadline <= now, "early by {:?}, seed {seed}", armed.deadline - now);
                    let key = armed.key.take().unwrap_or_else(|| panic!("fired twice, seed {seed}"));
                    assert!(!timers.rearm(&key, now), "seed {seed}");
                    assert_eq!(timers.waiter_mut(&key), None, "seed {seed}");
                    assert_eq!(timers.cancel(key), None, "seed {seed}");
                }
            }
        }
        let armed = || all.iter().filter(|armed| armed.key.is_some());
        assert_eq!(timers.len(), armed().count(), "seed {seed}");
        for armed in armed() {
            let late = now.saturating_duration_since(armed.deadline);
            // What was armed or moved to the past since the last look is due but has not been looked at.
            let latest = armed.deadline + if armed.precise { Duration::ZERO } else { TICK };
            assert!(late < TICK || armed.precise && late.is_zero(), "late by {late:?}, seed {seed}");
            assert!(timers.next_deadline().is_some_and(|next| next <= latest.max(now)), "would oversleep, seed {seed}");
        }
    }
}

#[test]
fn never_early_and_less_than_a_tick_late() {
    (0..3_000).for_each(check);
}

#[test]
fn sleeping_by_the_next_deadline_takes_few_looks() {
    for millis in [0, 1, 63, 64, 65, 4_095, 4_096, 60_000, 3_600_000, 86_400_000 * 365] {
        for offset in [0, 1, 999_999] {
            let start = Instant::now();
            let mut timers = Timers::new(start);
            let mut now = start + Duration::from_nanos(123_456_789);
            let deadline = now + Duration::from_millis(millis) + Duration::from_nanos(offset);
            let _key = timers.insert(deadline, ());
            let mut looks = 0;
            let mut fired = false;
            while !fired {
                let next = timers.next_deadline().expect("the timer is armed");
                now = now.max(next);
                looks += 1;
                timers.expire(now, &mut |()| fired = true);
            }
            assert!(now >= deadline && now - deadline < TICK, "{millis} ms + {offset}: {:?}", now - deadline);
            assert!(looks <= 7, "{millis} ms: {looks} looks");
            assert_eq!(timers.next_deadline(), None);
        }
    }
}

#[test]
fn timers_of_one_time_fire_in_the_order_they_were_armed() {
    let start = Instant::now();
    let mut timers = Timers::new(start);
    for n in 0..1_000 {
        let deadline = start + Duration::from_millis(100_000 - n / 10);
        _ = if n % 2 == 0 { timers.insert(deadline, n) } else { timers.insert_precise(deadline, n) };
    }
    let mut fired = Vec::new();
    timers.expire(start + Duration::from_secs(200), &mut |n| fired.push(n));
    let expect: Vec<u64> = [0, 1]
        .into_iter()
        .flat_map(|kind| {
            (0..100).rev().flat_map(move |tens| (0..10).map(move |n| tens * 10 + n)).filter(move |n| n % 2 == kind)
        })
        .collect();
    assert_eq!(fired, expect);
}

#[test]
fn a_deadline_in_the_past_or_far_beyond_reach_is_taken_as_it_is() {
    let start = Instant::now() + Duration::from_secs(10);
    let mut timers = Timers::new(start);
    let _past = timers.insert(start - Duration::from_secs(5), "past");
    let _far = timers.insert(start + Duration::from_secs(500 * 365 * 86_400), "far");
    let mut fired = Vec::new();
    timers.expire(start - Duration::from_secs(1), &mut |name| fired.push(name));
    timers.expire(start, &mut |name| fired.push(name));
    timers.expire(start + Duration::from_secs(100 * 365 * 86_400), &mut |name| fired.push(name));
    assert_eq!(fired, ["past"]);
    assert_eq!(timers.len(), 1);
}

#[test]
fn what_fires_may_panic_and_the_rest_still_fires() {
    let start = Instant::now();
    let mut timers = Timers::new(start);
    for n in 0..10 {
        _ = timers.insert(start + TICK, n);
    }
    let mut fired = Vec::new();
    while !timers.is_empty() {
        let mut fire = |n| {
            fired.push(n);
            assert!(n % 3 != 0, "by design");
        };
        let expire = std::panic::AssertUnwindSafe(|| timers.expire(start + TICK, &mut fire));
        _ = std::panic::catch_unwind(expire);
    }
    assert_eq!(fired, (0..10).collect::<Vec<_>>());
}
