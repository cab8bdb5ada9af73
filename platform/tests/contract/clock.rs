//! Waiting: it ends when something happens, when its time has come, or when somebody says so, and neither early nor never.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shardwise_platform::{NOBODY, Op, Outcome, Wait};

use crate::bed::{Bed, WAIT_MAX, clock, pattern};

/// How late a wait may end on a machine that also runs all the other tests. Backends themselves are late by at most the
/// millisecond to which readiness rounds up, and by what the scheduler adds.
const LATE_MAX: Duration = Duration::from_millis(500);

pub(crate) fn an_unpark_before_the_wait_is_not_lost(bed: &mut Bed) {
    for round in 0..50 {
        for _ in 0..=round % 3 {
            bed.unparker.unpark();
        }
        assert!(bed.enter(Wait::Forever).is_empty());
    }
    // The same after a wait that ended otherwise.
    let until = bed.now();
    let sleep = bed.start(Op::Sleep { until });
    assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
    bed.unparker.unpark();
    bed.enter(Wait::Forever);
}

/// A shard with nothing in flight sleeps until another thread wakes it.
pub(crate) fn another_thread_unparks(bed: &mut Bed) {
    const ROUNDS: usize = 50;
    let flags: Vec<AtomicBool> = (0..ROUNDS).map(|_| AtomicBool::new(false)).collect();
    let unparker = bed.unparker.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (round, flag) in flags.iter().enumerate() {
                if round % 2 == 0 {
                    pause(Duration::from_micros(200));
                }
                flag.store(true, Ordering::SeqCst);
                unparker.unpark();
            }
        });
        for flag in &flags {
            while !flag.load(Ordering::SeqCst) {
                bed.enter(Wait::Forever);
            }
        }
    });
}

#[allow(clippy::disallowed_methods, reason = "a thread that stands for the outside world")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Who can tell without the kernel tells of it, and of nothing before or after.
pub(crate) fn what_has_completed_is_news(bed: &mut Bed) {
    let until = bed.now() + Duration::from_millis(30);
    let sleep = bed.start(Op::Sleep { until });
    bed.enter(Wait::No);
    let news = bed.has_news();
    if bed.now() < until {
        assert_ne!(news, Some(true), "{}: nothing has completed", bed.rung.name);
    }
    if news.is_some() {
        let limit = clock() + WAIT_MAX;
        while bed.has_news() != Some(true) {
            assert!(clock() < limit, "{}: it has completed, and nobody is told", bed.rung.name);
            std::hint::spin_loop();
        }
        assert!(bed.now() >= until, "{}: news of nothing", bed.rung.name);
    }
    assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
    assert_ne!(bed.has_news(), Some(true), "{}: all has landed", bed.rung.name);
}

pub(crate) fn a_wait_ends_at_its_time(bed: &mut Bed) {
    for time in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(3), Duration::from_micros(10_500)] {
        let until = bed.now() + time;
        assert!(bed.enter(Wait::Until(until)).is_empty());
        let now = bed.now();
        assert!(now >= until, "{}: {time:?} ended {:?} early", bed.rung.name, until - now);
        assert!(now - until < LATE_MAX, "{}: {time:?} ended {:?} late", bed.rung.name, now - until);
    }
    // A time that is over is no wait.
    let over = bed.now() - Duration::from_secs(1);
    bed.enter(Wait::Until(over));
    assert!(bed.now() - over < Duration::from_secs(1) + LATE_MAX);
}

pub(crate) fn a_sleep_is_never_early(bed: &mut Bed) {
    for time in [0, 1, 50, 999, 1000, 1001, 2500, 7300].map(Duration::from_micros) {
        let until = bed.now() + time;
        let sleep = bed.start(Op::Sleep { until });
        assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
        let now = bed.now();
        assert!(now >= until, "{}: {time:?} ended {:?} early", bed.rung.name, until - now);
        assert!(now - until < LATE_MAX, "{}: {time:?} ended {:?} late", bed.rung.name, now - until);
    }
    let over = bed.now() - Duration::from_secs(1);
    let sleep = bed.start(Op::Sleep { until: over });
    assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
}

pub(crate) fn sleeps_end_in_order(bed: &mut Bed) {
    let begin = bed.now();
    let order = [3u64, 1, 5, 2, 4];
    let start = |&place: &u64| bed.start_for(Op::Sleep { until: begin + Duration::from_millis(3 * place) }, place);
    let sleeps: Vec<_> = order.iter().map(start).collect();
    let mut named = Vec::new();
    let deadline = bed.now() + WAIT_MAX;
    while named.len() < order.len() {
        assert!(bed.now() < deadline);
        named.extend(bed.enter(Wait::Forever));
    }
    assert_eq!(named, [1, 2, 3, 4, 5]);
    for sleep in sleeps {
        assert!(matches!(bed.end(sleep), Ok(Outcome::Elapsed)));
    }
}

/// A wait goes on while only results land that nobody waits for.
pub(crate) fn what_nobody_waits_for_wakes_nobody(bed: &mut Bed) {
    let begin = bed.now();
    let until = begin + Duration::from_millis(10);
    let quiet = bed.start_for(Op::Sleep { until: begin + Duration::from_millis(1) }, NOBODY);
    let given_up = bed.start_for(Op::Sleep { until: begin + Duration::from_millis(2) }, 7);
    bed.abandon(given_up);
    assert!(bed.enter(Wait::Until(until)).is_empty());
    assert!(bed.now() >= until);
    assert!(matches!(bed.take(&quiet, 1).map(|completion| completion.result), Some(Ok(Outcome::Elapsed))));
    bed.abandon(quiet);
}

pub(crate) fn waiters_are_named(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let token = bed.receive(server);
    bed.enter(Wait::No);
    assert!(bed.take(&token, 17).is_none());
    let one = bed.start_for(Op::Send { socket: client, data: "one".into(), zero_copy: false }, NOBODY);
    let deadline = bed.now() + WAIT_MAX;
    assert_eq!(bed.enter(Wait::Until(deadline)), [17]);
    assert!(bed.take(&token, 17).is_some());
    assert!(bed.take(&token, 18).is_none(), "asking again changes whom to name");
    let send = bed.start_for(Op::Send { socket: client, data: "two".into(), zero_copy: false }, NOBODY);
    assert_eq!(bed.enter(Wait::Until(deadline)), [18]);
    bed.abandon_all([one, send, token]);
    bed.close(client);
    bed.close(server);
}

/// A shard that is never idle never waits, and still hears from the kernel.
pub(crate) fn a_busy_shard_still_lands_completions(bed: &mut Bed) {
    let (client, server) = bed.pair();
    let token = bed.receive(server);
    let until = bed.now() + Duration::from_millis(2);
    let sleep = bed.start(Op::Sleep { until });
    let send = bed.start(Op::Send { socket: client, data: pattern(10).into(), zero_copy: false });
    let begin = clock();
    let mut left = vec![token, sleep, send];
    while !left.is_empty() {
        assert!(begin.elapsed() < WAIT_MAX, "{}: {} are left", bed.rung.name, left.len());
        bed.enter(Wait::No);
        let mut rest = Vec::new();
        for token in left {
            match bed.take(&token, 1) {
                Some(completion) if completion.more => bed.abandon(token),
                Some(completion) => assert!(completion.result.is_ok(), "{completion:?}"),
                None => rest.push(token),
            }
        }
        left = rest;
    }
    bed.close(client);
    bed.close(server);
}

/// One peer that always has more to give does not keep another's few bytes waiting.
pub(crate) fn flooding_starves_nobody(bed: &mut Bed) {
    let (flooder, flooded) = bed.pair();
    let (client, server) = bed.pair();
    let flood = bed.start(Op::Send { socket: flooder, data: vec![1; 64 << 20].into(), zero_copy: false });
    let at_flooded = bed.receive(flooded);
    let at_server = bed.receive(server);
    for _ in 0..20 {
        let polite = bed.start(Op::Send { socket: client, data: "please".into(), zero_copy: false });
        let mut turns = 0;
        let mut answered = false;
        while !answered {
            turns += 1;
            assert!(turns < 1000, "{}: the polite client has waited {turns} turns", bed.rung.name);
            bed.enter(Wait::No);
            while let Some(completion) = bed.take(&at_flooded, 1) {
                assert!(matches!(completion.result, Ok(Outcome::Received(_))), "{completion:?}");
            }
            answered = bed.take(&at_server, 1).is_some();
        }
        assert!(matches!(bed.end(polite), Ok(Outcome::Sent { bytes: 6, .. })));
    }
    bed.abandon_all([flood, at_flooded, at_server]);
    bed.close_all([flooder, flooded, client, server]);
}

/// Nor does it keep anyone from coming in: connections are accepted, served and closed while the flood goes on.
pub(crate) fn flooding_keeps_no_new_client_waiting(bed: &mut Bed) {
    let (flooder, flooded) = bed.pair();
    let (listener, address) = bed.listener();
    let accept = bed.start(Op::Accept { listener });
    let flood = bed.start(Op::Send { socket: flooder, data: vec![1; 64 << 20].into(), zero_copy: false });
    let at_flooded = bed.receive(flooded);
    let mut flooded_bytes = 0;
    for _ in 0..10 {
        let client = bed.stream_socket(address).unwrap();
        let connect = bed.start(Op::Connect { socket: client, peer: address });
        let mut turns = 0;
        let server = loop {
            turns += 1;
            assert!(turns < 1000, "{}: the new client has waited {turns} turns", bed.rung.name);
            bed.enter(Wait::No);
            while let Some(completion) = bed.take(&at_flooded, 1) {
                let Ok(Outcome::Received(chunk)) = completion.result else { panic!("{completion:?}") };
                flooded_bytes += chunk.len();
            }
            match bed.take(&accept, 1).map(|completion| completion.result) {
                None => {}
                Some(Ok(Outcome::Accepted(server))) => break server,
                Some(other) => panic!("{}: {other:?}", bed.rung.name),
            }
        };
        assert!(matches!(bed.end(connect), Ok(Outcome::Connected)));
        bed.close_all([client, server]);
    }
    assert!(flooded_bytes > 0, "{}: the flood goes on", bed.rung.name);
    bed.abandon_all([flood, at_flooded, accept]);
    bed.close_all([flooder, flooded, listener]);
}
