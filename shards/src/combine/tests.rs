//! Which branch wins, what is dropped when, and that nothing stays behind.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::budget::{self, Budget};
use super::{Backoff, all, defer, race, race_ok, retry, try_all};
use crate::{Shard, Simulation, SpawnError, TimedOut};

fn on_a_shard(test: impl AsyncFnOnce(Shard) + 'static) {
    Simulation::new(1).run(test);
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Sleeps, then says so; and says when it is dropped.
fn told(
    shard: &Shard,
    said: &Rc<RefCell<Vec<String>>>,
    name: &'static str,
    time: u64,
) -> impl Future<Output = &'static str> + use<> {
    let (shard, said) = (shard.clone(), Rc::clone(said));
    let drops = defer(move || said.borrow_mut().push(format!("{name} dropped")));
    async move {
        let _drops = drops;
        shard.sleep(seconds(time)).await;
        name
    }
}

#[test]
fn the_losers_of_a_race_are_dropped_when_it_is_won() {
    on_a_shard(async |shard| {
        let said = Rc::default();
        let before = shard.now();
        assert_eq!(race((told(&shard, &said, "a", 9), told(&shard, &said, "b", 1), pending())).await, "b");
        assert_eq!(*said.borrow(), ["b dropped", "a dropped"]);
        assert!(shard.now() - before < seconds(2));
        assert_eq!(race((async { 1 }, async { 2 })).await, 1, "of several that are ready the first");
    });
}

#[test]
fn a_race_for_a_success_gives_all_errors() {
    on_a_shard(async |shard| {
        let late = |time, result: Result<u8, u8>| {
            let shard = shard.clone();
            async move {
                shard.sleep(seconds(time)).await;
                result
            }
        };
        assert_eq!(race_ok((late(1, Err(1)), late(3, Ok(3)), late(2, Err(2)))).await, Ok(3));
        assert_eq!(race_ok((late(2, Err(1)), late(1, Err(2)))).await, Err([1, 2]), "in the order of the tuple");
    });
}

#[test]
fn all_wait_for_all_and_each_is_dropped_when_it_is_done() {
    on_a_shard(async |shard| {
        let said = Rc::default();
        let outputs = all((told(&shard, &said, "a", 2), told(&shard, &said, "b", 1), async { 3 })).await;
        assert_eq!(outputs, ("a", "b", 3));
        assert_eq!(*said.borrow(), ["b dropped", "a dropped"]);
    });
}

#[test]
fn one_failure_ends_all() {
    on_a_shard(async |shard| {
        let said = Rc::default();
        let slow = {
            let slow = told(&shard, &said, "slow", 9);
            async { Ok::<_, &str>(slow.await) }
        };
        let failed = try_all((slow, async {
            shard.sleep(seconds(1)).await;
            Err::<(), _>("failed")
        }));
        assert_eq!(failed.await, Err("failed"));
        assert_eq!(*said.borrow(), ["slow dropped"]);
    });
}

#[test]
fn a_combined_future_that_is_dropped_drops_its_branches() {
    let dropped = Cell::new(0);
    let branch = || {
        let drops = defer(|| dropped.set(dropped.get() + 1));
        async move {
            let _drops = drops;
            pending::<()>().await;
        }
    };
    {
        let mut combined = pin!(all((branch(), race((branch(), branch())))));
        assert!(combined.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(dropped.get(), 3);
}

#[test]
fn what_is_shielded_runs_to_its_end() {
    on_a_shard(async |shard| {
        let done = Rc::new(Cell::new(false));
        let work = {
            let (done, shard) = (Rc::clone(&done), shard.clone());
            async move {
                shard.sleep(seconds(2)).await;
                done.set(true);
            }
        };
        assert_eq!(shard.timeout(seconds(1), shard.shield(work)).await, Err(TimedOut));
        assert!(!done.get());
        shard.sleep(seconds(2)).await;
        assert!(done.get());
        assert_eq!(shard.shield(async { 5 }).await, Ok::<_, SpawnError>(5));
    });
}

#[test]
fn a_deadline_that_has_passed_lets_what_is_ready_through() {
    on_a_shard(async |shard| {
        let past = shard.now();
        shard.sleep(seconds(1)).await;
        assert_eq!(shard.deadline(past, async { 1 }).await, Ok(1));
        assert_eq!(shard.deadline(past, pending::<()>()).await, Err(TimedOut));
    });
}

#[test]
fn a_deferred_call_is_made_on_any_exit() {
    let calls = Cell::new(0);
    let count = || defer(|| calls.set(calls.get() + 1));
    drop(count());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _count = count();
        std::panic::resume_unwind(Box::new(()));
    }));
    count().forget();
    assert_eq!(calls.get(), 2);
}

#[test]
fn a_retry_stops_at_a_final_error_and_after_the_last_try() {
    on_a_shard(async |shard| {
        let tries = Cell::new(0);
        let fail = async |attempt: super::Attempt| {
            tries.set(tries.get() + 1);
            assert_eq!(attempt.is_last, attempt.number == 3);
            Err::<(), _>(attempt.number)
        };
        assert_eq!(retry(&shard, Backoff::USUAL, None, |_| true, fail).await, Err(3));
        assert_eq!(retry(&shard, Backoff::USUAL, None, |error| *error < 2, fail).await, Err(2));
        assert_eq!(tries.get(), 5);
        let broke = RefCell::new(Budget::new(budget::Config { share: 0.0, per_second: 0.0, ..Default::default() }));
        assert_eq!(retry(&shard, Backoff::USUAL, Some(&broke), |_| true, fail).await, Err(1));
    });
}

#[test]
fn pauses_grow_to_a_bound_and_are_spread_over_all_of_it() {
    let backoff =
        Backoff { attempts_max: 9, pause_first: Duration::from_millis(10), pause_max: Duration::from_millis(60) };
    let longest: Vec<_> = (2..=6).map(|next| backoff.pause(next, u64::MAX).as_millis()).collect();
    assert_eq!(longest, [10, 20, 40, 60, 60]);
    assert_eq!(backoff.pause(4, 0), Duration::ZERO);
    assert_eq!(backoff.pause(4, u64::MAX / 2).as_millis(), 20);
    assert_eq!(backoff.pause(u32::MAX, u64::MAX).as_millis(), 60);
    let endless = Backoff { attempts_max: 2, pause_first: Duration::MAX, pause_max: Duration::MAX };
    assert_eq!(endless.pause(9, u64::MAX), Duration::from_nanos(u64::MAX));
}

/// How budgets grow and wane is tried in the policies; here, that a call pays and is paid for.
#[test]
fn a_call_deposits_once_and_each_retry_withdraws() {
    on_a_shard(async |shard| {
        let half = budget::Config { share: 0.5, per_second: 0.0, ..Default::default() };
        let budget = RefCell::new(Budget::new(half));
        for _ in 0..5 {
            let done = async |_| Ok::<_, ()>(());
            assert_eq!(retry(&shard, Backoff::USUAL, Some(&budget), |()| true, done).await, Ok(()));
        }
        let fail = async |attempt: super::Attempt| Err::<(), _>(attempt.number);
        assert_eq!(
            retry(&shard, Backoff::USUAL, Some(&budget), |_| true, fail).await,
            Err(3),
            "six calls pay for three"
        );
        assert_eq!(retry(&shard, Backoff::USUAL, Some(&budget), |_| true, fail).await, Err(2));
    });
}

/// A branch is asked again only by the task's own wakes, and never after its end.
#[test]
fn a_branch_is_not_polled_after_its_end() {
    on_a_shard(async |shard| {
        let ended = Cell::new(false);
        let once = poll_fn(|_| {
            assert!(!ended.replace(true), "polled after its end");
            Poll::Ready(())
        });
        all((once, shard.sleep(seconds(1)), shard.sleep(seconds(2)))).await;
    });
}
