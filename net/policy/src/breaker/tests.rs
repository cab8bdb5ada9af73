use std::time::{Duration, Instant};

use super::{Admission, Breaker, Config, Event, Mode, Outcome, Recent, Refused, State, Why};
use crate::testing::{Random, for_seeds, start};

const SECOND: Duration = Duration::from_secs(1);

/// One that opens for two failures in a row, for five to ten seconds.
fn two_failures() -> Breaker {
    Breaker::new(Config { failures_in_a_row: Some(2), ..Config::default() })
}

/// Makes a call that takes no time.
#[track_caller]
fn call(breaker: &mut Breaker, outcome: Outcome, now: Instant) {
    let call = breaker.admit(now).expect("it should pass");
    breaker.record(call, outcome, now, || 0);
}

fn fail(breaker: &mut Breaker, count: u32, now: Instant) {
    (0..count).for_each(|_| call(breaker, Outcome::Failure, now));
}

fn whys(breaker: &mut Breaker) -> Vec<Why> {
    std::iter::from_fn(|| breaker.next_event()).map(|event| event.why).collect()
}

#[test]
fn failures_in_a_row_open_it() {
    let now = start();
    let mut breaker = Breaker::new(Config::default());
    fail(&mut breaker, 4, now);
    call(&mut breaker, Outcome::Success, now);
    fail(&mut breaker, 4, now);
    assert_eq!(breaker.state(), State::Closed);
    fail(&mut breaker, 1, now);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.admit(now).unwrap_err(), Refused { state: State::Open, after: Some(5 * SECOND) });
    let event = Event { number: 1, from: State::Closed, to: State::Open, why: Why::FailuresInARow, at: now };
    assert_eq!((breaker.next_event(), breaker.next_event()), (Some(event), None));
}

#[test]
fn a_share_of_errors_opens_it_once_there_are_enough_calls() {
    for_seeds(100, |random| {
        let (share, calls_min) = (0.1 + 0.8 * random.unit(), 1 + random.below(60));
        let mut breaker = Breaker::new(Config {
            failures_in_a_row: None,
            error_share: Some(share),
            calls_min: calls_min as u32,
            ..Config::default()
        });
        let (mut calls, mut failures) = (0u64, 0u64);
        for _ in 0..500 {
            // Everything happens within the window.
            let now = start() + Duration::from_millis(calls);
            let failed = random.chance(share * 1.1);
            calls += 1;
            failures += u64::from(failed);
            call(&mut breaker, if failed { Outcome::Failure } else { Outcome::Success }, now);
            if calls >= calls_min && failures > 0 && failures as f64 >= share * calls as f64 {
                assert_eq!((breaker.state(), whys(&mut breaker)), (State::Open, vec![Why::ErrorShare]));
                return;
            }
            assert_eq!(breaker.recent(now), Recent { calls, failures, slow: 0 });
            assert_eq!(breaker.state(), State::Closed, "{failures} of {calls}, {share}, {calls_min}");
        }
    });
}

#[test]
fn what_is_old_counts_no_more() {
    let start = start();
    let mut breaker = Breaker::new(Config { failures_in_a_row: None, calls_min: 10, ..Config::default() });
    for second in 0..100 {
        // One of three fails, but never ten are recent.
        let outcome = if second % 3 == 0 { Outcome::Failure } else { Outcome::Success };
        call(&mut breaker, outcome, start + 4 * SECOND * second);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn slow_calls_open_it_whatever_comes_of_them() {
    let start = start();
    let mut breaker =
        Breaker::new(Config { slow_share: Some(0.5), slow_after: SECOND, calls_min: 10, ..Config::default() });
    for call in 0..10 {
        let call = (breaker.admit(start).unwrap(), call);
        let took = if call.1 % 2 == 0 { SECOND } else { SECOND - Duration::from_nanos(1) };
        breaker.record(call.0, Outcome::Success, start + took, || 0);
    }
    assert_eq!((breaker.state(), whys(&mut breaker)), (State::Open, vec![Why::SlowShare]));

    // A trial that is slow opens it again.
    let now = start + 10 * SECOND;
    let trial = breaker.admit(now).unwrap();
    breaker.record(trial, Outcome::Success, now + SECOND, || 0);
    assert_eq!((breaker.state(), whys(&mut breaker)), (State::Open, vec![Why::TimePassed, Why::TrialFailed]));

    // Where slow calls do not count, neither do slow trials.
    let mut breaker = two_failures();
    fail(&mut breaker, 2, start);
    let trial = breaker.admit(now).unwrap();
    breaker.record(trial, Outcome::Success, now + 60 * SECOND, || 0);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn it_stays_open_for_longer_each_time_and_for_a_time_of_chance() {
    for_seeds(100, |random| {
        let mut now = start();
        let mut breaker = two_failures();
        fail(&mut breaker, 1, now);
        for opening in 0..20 {
            let trial = breaker.admit(now).expect("it should pass");
            breaker.record(trial, Outcome::Failure, now, || random.next());
            let after = breaker.admit(now).unwrap_err().after.expect("it is open for a time");
            let least = (5 * SECOND * (1 << opening.min(10))).min(300 * SECOND);
            assert!(after >= least && after <= (2 * least).min(300 * SECOND), "{opening}: {after:?}");
            assert!(!breaker.admits(now + after - Duration::from_nanos(1)));
            now += after;
            assert!(breaker.admits(now));
        }
    });
}

#[test]
fn once_it_was_well_for_as_long_as_it_was_open_it_begins_anew() {
    let check = |well: Duration, expect: Duration| {
        let mut now = start();
        let mut breaker = two_failures();
        fail(&mut breaker, 2, now);
        now += 5 * SECOND;
        fail(&mut breaker, 1, now);
        now += 10 * SECOND;
        call(&mut breaker, Outcome::Success, now);
        assert_eq!(breaker.state(), State::Closed);
        now += well;
        fail(&mut breaker, 2, now);
        assert_eq!(breaker.admit(now).unwrap_err().after, Some(expect));
    };
    check(10 * SECOND - Duration::from_nanos(1), 20 * SECOND);
    check(10 * SECOND, 5 * SECOND);
}

#[test]
fn an_hour_without_an_answer_costs_few_calls_and_is_soon_forgotten() {
    for_seeds(20, |random| {
        let start = start();
        let mut breaker = Breaker::new(Config::default());
        let (mut calls, mut back) = (0, None);
        for second in 0..3600 * 2 {
            let now = start + SECOND * second;
            let up = second >= 3600;
            if let Ok(call) = breaker.admit(now) {
                calls += u32::from(!up);
                let outcome = if up { Outcome::Success } else { Outcome::Failure };
                breaker.record(call, outcome, now, || random.next());
                if up {
                    back.get_or_insert(second - 3600);
                }
            }
        }
        // Five that opened it, seven while its times grew to the longest, then one for each 150 to 300 seconds.
        assert!((15..=35).contains(&calls), "{calls}");
        assert!(back.unwrap() <= 300, "{back:?}");
        assert_eq!(breaker.state(), State::Closed);
    });
}

#[test]
fn half_open_admits_no_more_trials_than_it_may_and_closes_after_enough() {
    let start = start();
    let mut breaker =
        Breaker::new(Config { failures_in_a_row: Some(1), trials_max: 2, successes_to_close: 3, ..Config::default() });
    fail(&mut breaker, 1, start);
    let now = start + 5 * SECOND;
    assert!(breaker.admits(now));
    assert_eq!(breaker.state(), State::Open, "to ask changes nothing");
    let (first, second) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
    assert_eq!(breaker.admit(now).unwrap_err(), Refused { state: State::HalfOpen, after: None });
    breaker.record(first, Outcome::Success, now, || 0);
    let third = breaker.admit(now).unwrap();
    assert!(!breaker.admits(now));
    breaker.record(second, Outcome::Success, now, || 0);
    breaker.forget(third);
    assert_eq!(breaker.state(), State::HalfOpen, "what was forgotten is no success");
    call(&mut breaker, Outcome::Success, now);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(whys(&mut breaker), [Why::FailuresInARow, Why::TimePassed, Why::TrialsSucceeded]);
}

#[test]
fn a_trial_that_is_dropped_gives_its_place_back_in_time() {
    let start = start();
    let mut breaker = two_failures();
    fail(&mut breaker, 2, start);
    let now = start + 5 * SECOND;
    let lost = breaker.admit(now).unwrap();
    assert!(!breaker.admits(now + 15 * SECOND - Duration::from_nanos(1)));
    let later = now + 15 * SECOND;
    let trial = breaker.admit(later).expect("the first trial has had its time");
    breaker.record(lost, Outcome::Failure, later, || 0);
    assert_eq!(breaker.state(), State::HalfOpen, "it comes too late to count");
    assert!(!breaker.admits(later), "and gives no place back twice");
    breaker.record(trial, Outcome::Success, later, || 0);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn outcomes_of_an_earlier_state_do_not_count() {
    let start = start();
    let mut breaker = two_failures();
    let early: Vec<Admission> = (0..10).map(|_| breaker.admit(start).unwrap()).collect();
    fail(&mut breaker, 2, start);
    let now = start + 5 * SECOND;
    let trial = breaker.admit(now).unwrap();
    let mut early = early.into_iter();
    breaker.record(early.next().unwrap(), Outcome::Success, now, || 0);
    breaker.record(early.next().unwrap(), Outcome::Failure, now, || 0);
    breaker.forget(early.next().unwrap());
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(!breaker.admits(now), "the place is the trial's");
    breaker.record(trial, Outcome::Success, now, || 0);
    for call in early {
        breaker.record(call, Outcome::Failure, now, || 0);
    }
    assert_eq!((breaker.state(), breaker.recent(now)), (State::Closed, Recent::default()));
}

#[test]
fn somebody_may_decide_in_its_place() {
    let now = start();
    let mut breaker = two_failures();
    breaker.set_mode(Mode::ForcedOpen, now);
    assert_eq!(breaker.admit(now).unwrap_err(), Refused { state: State::ForcedOpen, after: None });
    assert!(!breaker.admits(now + 10_000 * SECOND));

    breaker.set_mode(Mode::ForcedClosed, now);
    breaker.set_mode(Mode::ForcedClosed, now);
    fail(&mut breaker, 100, now);
    let under_way = breaker.admit(now).unwrap();
    assert_eq!(breaker.state(), State::ForcedClosed);

    breaker.set_mode(Mode::Automatic, now);
    breaker.record(under_way, Outcome::Failure, now, || 0);
    fail(&mut breaker, 1, now);
    assert_eq!(breaker.state(), State::Closed, "what was counted before counts no more");
    fail(&mut breaker, 1, now);
    let events: Vec<_> = std::iter::from_fn(|| breaker.next_event()).map(|event| (event.to, event.why)).collect();
    assert_eq!(
        events,
        [
            (State::ForcedOpen, Why::Mode),
            (State::ForcedClosed, Why::Mode),
            (State::Closed, Why::Mode),
            (State::Open, Why::FailuresInARow),
        ]
    );
}

#[test]
fn events_that_nobody_took_leave_a_gap() {
    let mut now = start();
    let mut breaker = two_failures();
    fail(&mut breaker, 2, now);
    for _ in 0..10 {
        now += 300 * SECOND;
        fail(&mut breaker, 1, now);
    }
    let numbers: Vec<_> = std::iter::from_fn(|| breaker.next_event()).map(|event| event.number).collect();
    assert_eq!(numbers, [18, 19, 20, 21], "one and ten times two, of which four are kept");
}

#[test]
fn odd_configurations_do_no_harm() {
    let now = start();
    let check = |config: Config, expect: State| {
        let mut breaker = Breaker::new(config);
        for _ in 0..100 {
            if let Ok(call) = breaker.admit(now) {
                breaker.record(call, Outcome::Failure, now, || u64::MAX);
            }
        }
        assert_eq!(breaker.state(), expect, "{config:?}");
    };
    let none = Config { failures_in_a_row: None, error_share: None, slow_share: None, ..Config::default() };
    check(none, State::Closed);
    check(Config { failures_in_a_row: Some(0), ..none }, State::Open);
    check(Config { error_share: Some(f64::NAN), ..none }, State::Closed);
    check(Config { error_share: Some(1.5), ..none }, State::Closed);
    check(Config { error_share: Some(0.0), calls_min: 0, ..none }, State::Open);
    let mut breaker = Breaker::new(Config { error_share: Some(0.0), calls_min: 0, ..none });
    call(&mut breaker, Outcome::Success, now);
    assert_eq!(breaker.state(), State::Closed, "a success opens nothing");
    check(Config { window: Duration::ZERO, error_share: Some(0.5), calls_min: 1, ..none }, State::Open);
    let forever = Config { failures_in_a_row: Some(1), open_first: Duration::MAX, open_max: Duration::MAX, ..none };
    check(forever, State::Open);
    // Open for no time at all, one trial at least.
    let flapping = Config { open_max: Duration::ZERO, trials_max: 0, successes_to_close: 0, ..forever };
    check(flapping, State::Open);
    let mut breaker = Breaker::new(flapping);
    call(&mut breaker, Outcome::Failure, now);
    call(&mut breaker, Outcome::Success, now);
    assert_eq!(breaker.state(), State::Closed);
}

/// What must hold, after whatever happened. The model knows nothing but admissions and events.
#[test]
fn whatever_happens_the_promises_hold() {
    for_seeds(300, |random| {
        let config = some_config(random);
        let mut breaker = Breaker::new(config);
        let mut now = start();
        let mut state = State::Closed;
        let mut opened = now;
        const UNKNOWN: u64 = u64::MAX;
        let mut number = 0;
        // Calls under way, with the number of the event that began the state in which they were admitted.
        let mut calls: Vec<(Admission, u64)> = Vec::new();
        for _ in 0..2000 {
            now += Duration::from_millis(random.below(400));
            let admits = breaker.admits(now);
            if random.chance(0.5) {
                match breaker.admit(now) {
                    Ok(call) => {
                        assert!(admits);
                        assert!(!matches!(breaker.state(), State::Open | State::ForcedOpen));
                        calls.push((call, UNKNOWN));
                    }
                    Err(refused) => {
                        assert!(!admits);
                        assert_eq!(refused.state, breaker.state());
                        if let Some(after) = refused.after {
                            assert!(breaker.admits(now + after), "who waits as long as told passes");
                        }
                    }
                }
            } else if !calls.is_empty() {
                let (call, at) = calls.swap_remove(random.below(calls.len() as u64) as usize);
                let outcome = if random.chance(0.3) { Outcome::Failure } else { Outcome::Success };
                let before = breaker.state();
                match random.below(10) {
                    0 => breaker.forget(call),
                    1 => drop(call),
                    _ => breaker.record(call, outcome, now, || random.next()),
                }
                assert!(at == number || breaker.state() == before, "a late outcome changed it");
            } else if random.chance(0.02) {
                let modes = [Mode::Automatic, Mode::Automatic, Mode::ForcedOpen, Mode::ForcedClosed];
                breaker.set_mode(modes[random.below(4) as usize], now);
            }
            while let Some(event) = breaker.next_event() {
                assert_eq!((event.number, event.from, event.at), (number + 1, state, now), "one after the other");
                match event.why {
                    Why::TimePassed => {
                        assert_eq!((state, event.to), (State::Open, State::HalfOpen));
                        assert!(now - opened >= config.open_first.min(config.open_max), "not before its time");
                    }
                    Why::TrialsSucceeded => assert_eq!((state, event.to), (State::HalfOpen, State::Closed)),
                    Why::TrialFailed => assert_eq!((state, event.to), (State::HalfOpen, State::Open)),
                    Why::FailuresInARow | Why::ErrorShare | Why::SlowShare => {
                        assert_eq!((state, event.to), (State::Closed, State::Open));
                    }
                    Why::Mode => {}
                }
                state = event.to;
                number = event.number;
                opened = if state == State::Open { now } else { opened };
            }
            assert_eq!(state, breaker.state());
            // Admitted in this round, in the state that it has led to.
            if let Some((_, at @ UNKNOWN)) = calls.last_mut() {
                *at = number;
            }
            let trials = calls.iter().filter(|(_, at)| *at == number).count() as u32;
            if state == State::HalfOpen && config.trial_time == Duration::MAX {
                assert!(trials <= config.trials_max);
            }
        }
    });
}

fn some_config(random: &mut Random) -> Config {
    Config {
        failures_in_a_row: random.chance(0.7).then(|| 1 + random.below(5) as u32),
        error_share: random.chance(0.7).then(|| random.unit()),
        slow_share: random.chance(0.3).then(|| random.unit()),
        slow_after: SECOND,
        window: Duration::from_millis(random.below(60_000)),
        calls_min: random.below(20) as u32,
        open_first: Duration::from_millis(random.below(5_000)),
        open_max: Duration::from_millis(1 + random.below(20_000)),
        trials_max: 1 + random.below(4) as u32,
        successes_to_close: 1 + random.below(4) as u32,
        trial_time: if random.chance(0.5) { Duration::MAX } else { 2 * SECOND },
    }
}
