#![allow(clippy::disallowed_methods, reason = "tests of what threads do to a shard need threads and a clock")]

mod begun;
mod group;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, TASK_SEGMENT};
use crate::tests::Random;

/// A shard that is nothing but its tasks.
struct Shard {
    tasks: Tasks,
    unparks: Arc<AtomicUsize>,
    /// What the hook for unjoined panics was told.
    reports: Rc<RefCell<Vec<String>>>,
}

impl Shard {
    fn new() -> Rc<Shard> {
        let unparks = Arc::new(AtomicUsize::new(0));
        let unpark = (unparks.clone(), thread::current());
        let claim = World::claim(move || {
            unpark.0.fetch_add(1, Ordering::Relaxed);
            unpark.1.unpark();
        });
        let tasks = Tasks::new(claim.expect("a world is free"));
        let reports: Rc<RefCell<Vec<String>>> = Rc::default();
        let told = reports.clone();
        tasks.on_unjoined_panic(move |payload| told.borrow_mut().push(join::message(payload).to_owned()));
        Rc::new(Shard { tasks, unparks, reports })
    }

    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.tasks.spawn(future).expect("there is room")
    }

    /// Runs until nothing is ready.
    fn run(self: &Rc<Self>) -> u32 {
        self.tasks.take_wakes();
        self.tasks.enter(self, || self.tasks.run(|| false))
    }

    /// Runs until the task has ended, and gives its result.
    #[track_caller]
    fn join<T: 'static>(self: &Rc<Self>, handle: JoinHandle<T>) -> Result<T, JoinError> {
        self.run();
        assert!(handle.is_finished(), "the task has not ended");
        match pin!(handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("a task that has ended has a result"),
        }
    }
}

/// Runs a program on a shard and sees to it that everything is as it was before.
#[track_caller]
fn check(program: impl FnOnce(&Rc<Shard>)) {
    let shard = Shard::new();
    program(&shard);
    shard.run();
    let stats = shard.tasks.stats();
    assert_eq!((stats.live, stats.under_way, stats.blocks_used), (0, 0, 0), "slots and memory go back: {stats:?}");
    assert!(!shard.tasks.has_ready());
    assert_eq!(Rc::strong_count(&shard), 1);
}

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn dropped(flag: &Rc<Cell<u32>>) -> OnDrop<impl FnMut() + 'static> {
    let flag = flag.clone();
    OnDrop(move || flag.set(flag.get() + 1))
}

fn panics(on: bool) -> OnDrop<impl FnMut()> {
    OnDrop(move || assert!(!on, "dropped by design"))
}

// ---- one task ----

#[test]
fn gives_its_result() {
    check(|shard| {
        let handle = shard.spawn(async { "result".to_owned() });
        assert!(!handle.is_finished());
        assert_eq!(shard.join(handle).unwrap(), "result");
    });
}

#[test]
fn runs_on_when_detached() {
    check(|shard| {
        let ran = Rc::new(Cell::new(0));
        let guard = dropped(&ran);
        shard
            .spawn(async move {
                let _guard = guard;
                yield_now().await;
            })
            .detach();
        assert_eq!(ran.get(), 0);
        shard.run();
        assert_eq!(ran.get(), 1);
    });
}

#[test]
fn a_result_that_nobody_takes_is_dropped_with_the_handle() {
    check(|shard| {
        let drops = Rc::new(Cell::new(0));
        let result = dropped(&drops);
        let handle = shard.spawn(async { result });
        shard.run();
        assert_eq!((drops.get(), handle.is_finished()), (0, true));
        drop(handle);
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn the_future_is_dropped_when_it_ends_and_not_when_it_is_joined() {
    check(|shard| {
        let drops = Rc::new(Cell::new(0));
        let guard = dropped(&drops);
        let mut polls = 0;
        let handle = shard.spawn(poll_fn(move |_| {
            let _keep = &guard;
            polls += 1;
            Poll::Ready(polls)
        }));
        shard.run();
        assert_eq!(drops.get(), 1);
        assert_eq!(shard.join(handle).unwrap(), 1);
    });
}

#[test]
fn abort_drops_the_future_at_the_tasks_turn() {
    // Whether the task has been polled before, and whether the handle is kept.
    for (polled, kept) in [(false, false), (false, true), (true, false), (true, true)] {
        check(|shard| {
            let drops = Rc::new(Cell::new(0));
            let guard = dropped(&drops);
            let handle = shard.spawn(async move {
                let _guard = guard;
                pending::<()>().await
            });
            if polled {
                shard.run();
            }
            handle.abort();
            handle.abort();
            assert_eq!(drops.get(), 0);
            if kept {
                assert!(matches!(shard.join(handle), Err(JoinError::Cancelled)));
            } else {
                drop(handle);
                shard.run();
            }
            assert_eq!(drops.get(), 1);
        });
    }
}

#[test]
fn a_task_that_returns_before_its_abort_has_a_result() {
    check(|shard| {
        let own: Rc<OnceCell<JoinHandle<u32>>> = Rc::default();
        let handle = shard.spawn({
            let own = own.clone();
            async move {
                own.get().expect("set before the task runs").abort();
                7
            }
        });
        own.set(handle).unwrap();
        shard.run();
        let handle = Rc::into_inner(own).unwrap().into_inner().unwrap();
        handle.abort();
        assert_eq!(shard.join(handle).unwrap(), 7);
    });
}

#[test]
fn a_task_that_aborts_itself_and_waits_is_cancelled() {
    check(|shard| {
        let own: Rc<OnceCell<JoinHandle<u32>>> = Rc::default();
        let handle = shard.spawn({
            let own = own.clone();
            async move {
                own.get().expect("set before the task runs").abort();
                pending().await
            }
        });
        own.set(handle).unwrap();
        shard.run();
        let handle = Rc::into_inner(own).unwrap().into_inner().unwrap();
        assert!(matches!(shard.join(handle), Err(JoinError::Cancelled)));
    });
}

#[test]
fn a_handle_is_awaited_by_another_task() {
    check(|shard| {
        let tasks = shard.clone();
        let handle = shard.spawn(async move {
            let mut sum = 0;
            for n in 0..10 {
                let child = tasks.spawn(async move {
                    yield_now().await;
                    n
                });
                sum += child.await.unwrap();
            }
            sum
        });
        assert_eq!(shard.join(handle).unwrap(), 45);
    });
}

#[test]
fn the_last_waker_of_a_handle_is_woken() {
    check(|shard| {
        let go = Rc::new(Cell::new(false));
        let mut handle = shard.spawn({
            let go = go.clone();
            poll_fn(move |cx| match go.get() {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
        });
        let (first, last) = (CountWakes::new(), CountWakes::new());
        for count in [&first, &last, &last] {
            let waker = Waker::from(count.clone());
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        go.set(true);
        shard.run();
        assert_eq!((first.0.load(Ordering::Relaxed), last.0.load(Ordering::Relaxed)), (0, 1));
    });
}

struct CountWakes(AtomicUsize);

impl CountWakes {
    fn new() -> Arc<CountWakes> {
        Arc::new(CountWakes(AtomicUsize::new(0)))
    }
}

impl std::task::Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn futures_of_every_size_and_alignment() {
    #[repr(align(256))]
    struct Aligned(u8);

    fn one<const BYTES: usize>(shard: &Rc<Shard>) {
        let handle = shard.spawn(async move {
            let bytes = [BYTES as u8; BYTES];
            yield_now().await;
            std::hint::black_box(&bytes).iter().map(|&byte| u64::from(byte)).sum::<u64>()
        });
        assert_eq!(shard.join(handle).unwrap(), (BYTES % 256 * BYTES) as u64);
    }
    check(|shard| {
        one::<0>(shard);
        one::<1>(shard);
        one::<{ BLOCK_BYTES_MIN }>(shard);
        one::<{ BLOCK_BYTES_MIN + 1 }>(shard);
        one::<1000>(shard);
        one::<5000>(shard);
        one::<{ BLOCK_BYTES_MAX - 64 }>(shard);
        one::<{ BLOCK_BYTES_MAX }>(shard);
        one::<{ 4 * BLOCK_BYTES_MAX }>(shard);
        let handle = shard.spawn(async {
            let aligned = Aligned(7);
            yield_now().await;
            assert_eq!((&raw const aligned).addr() % 256, 0);
            aligned
        });
        assert_eq!(shard.join(handle).unwrap().0, 7);
    });
}

#[test]
#[should_panic(expected = "not polled again")]
fn a_handle_gives_its_result_once() {
    let shard = Shard::new();
    let mut handle = shard.spawn(async {});
    shard.run();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut handle).poll(&mut cx).is_ready());
    _ = Pin::new(&mut handle).poll(&mut cx);
}

// ---- panics ----

/// Where a task of the table below panics.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Poll,
    DropAfterReturn,
    DropAfterAbort,
    PollAndDrop,
    DropAndDropOfResult,
    DropOfResult,
    DropOfPayload,
}

#[test]
fn panics_stay_with_the_task() {
    use At::*;
    // What the join handle gets, and what the hook is told when there is no handle.
    for (at, joined, reported) in [
        (Poll, Some("polled by design"), &["polled by design"][..]),
        (DropAfterReturn, Some("dropped by design"), &["dropped by design"]),
        (DropAfterAbort, Some("dropped by design"), &["dropped by design"]),
        (PollAndDrop, Some("polled by design"), &["polled by design"]),
        (DropAndDropOfResult, Some("dropped by design"), &["dropped by design"]),
        (DropOfResult, None, &["dropped by design"]),
        (DropOfPayload, Some("(a panic without a message)"), &["(a panic without a message)"]),
    ] {
        for detach in [false, true] {
            println!("{at:?}, detached: {detach}");
            check(|shard| {
                let guard = panics(matches!(at, DropAfterReturn | DropAfterAbort | PollAndDrop | DropAndDropOfResult));
                let result = panics(matches!(at, DropOfResult | DropAndDropOfResult));
                let mut result = Some(result);
                let mut polled = false;
                let handle = shard.spawn(poll_fn(move |_| {
                    let _keep = &guard;
                    match at {
                        Poll | PollAndDrop => panic!("polled by design"),
                        DropOfPayload => resume_unwind(Box::new(panics_send())),
                        DropAfterAbort => std::task::Poll::Pending,
                        DropAfterReturn | DropOfResult | DropAndDropOfResult => {
                            assert!(!std::mem::replace(&mut polled, true));
                            std::task::Poll::Ready(result.take().expect("polled once"))
                        }
                    }
                }));
                let other = shard.spawn(async {
                    yield_now().await;
                    1
                });
                shard.run();
                if at == DropAfterAbort {
                    handle.abort();
                }
                if detach {
                    handle.detach();
                    shard.run();
                    assert_eq!(*shard.reports.borrow(), reported);
                    assert_eq!(shard.tasks.stats().panics_unjoined, reported.len() as u64);
                } else {
                    match (shard.join(handle), joined) {
                        (Ok(result), None) => raw::bury(catch_unwind(AssertUnwindSafe(|| drop(result))).unwrap_err()),
                        (Err(JoinError::Panicked(payload)), Some(expect)) => {
                            assert_eq!(join::message(&*payload), expect);
                            raw::bury(payload);
                        }
                        (result, _) => panic!("{:?}", result.map(|_| ())),
                    }
                    assert!(shard.reports.borrow().is_empty());
                }
                assert_eq!(shard.tasks.stats().panics, u64::from(detach || joined.is_some()));
                assert_eq!(shard.join(other).unwrap(), 1, "the others run on");
            });
        }
    }
}

fn panics_send() -> OnDrop<impl FnMut() + Send> {
    OnDrop(|| panic!("a payload dropped by design"))
}

#[test]
fn a_hook_that_panics_is_survived() {
    check(|shard| {
        shard.tasks.on_unjoined_panic(|_| panic!("the hook panics by design"));
        shard.spawn(async { panic!("by design") }).detach();
        shard.run();
        let handle = shard.spawn(async { 1 });
        assert_eq!(shard.join(handle).unwrap(), 1);
    });
}

#[test]
fn a_joiners_waker_that_panics_is_survived() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("woken by design");
        }
    }
    check(|shard| {
        let mut handle = shard.spawn(async {});
        let waker = Waker::from(Arc::new(Panics));
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        shard.run();
        assert_eq!(*shard.reports.borrow(), ["woken by design"]);
    });
}

#[test]
fn a_clock_that_panics_leaves_the_executor_usable() {
    check(|shard| {
        let handles: Vec<_> = (0..2 * POLLS_PER_CLOCK).map(|_| shard.spawn(async {})).collect();
        let run = AssertUnwindSafe(|| shard.tasks.run(|| panic!("by design")));
        assert!(catch_unwind(run).is_err());
        for handle in handles {
            shard.join(handle).unwrap();
        }
    });
}

#[test]
fn a_task_cannot_run_its_executor() {
    check(|shard| {
        let tasks = shard.clone();
        let handle = shard.spawn(async move { tasks.tasks.run(|| false) });
        assert!(matches!(shard.join(handle), Err(JoinError::Panicked(_))));
    });
}

// ---- queue and budgets ----

#[test]
fn first_woken_runs_first_and_the_woken_go_behind() {
    check(|shard| {
        let log: Rc<RefCell<Vec<(u32, u32)>>> = Rc::default();
        for task in 0..3 {
            let log = log.clone();
            shard
                .spawn(async move {
                    for round in 0..3 {
                        log.borrow_mut().push((round, task));
                        yield_now().await;
                    }
                })
                .detach();
        }
        shard.run();
        let expect: Vec<_> = (0..3).flat_map(|round| (0..3).map(move |task| (round, task))).collect();
        assert_eq!(*log.borrow(), expect);
    });
}

#[test]
fn wakes_coalesce() {
    check(|shard| {
        let polls = Rc::new(Cell::new(0));
        let handle = shard.spawn({
            let polls = polls.clone();
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                if polls.get() < 3 {
                    (0..5).for_each(|_| cx.waker().wake_by_ref());
                }
                if polls.get() == 4 { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        shard.run();
        assert_eq!(polls.get(), 3);
        let number = handle.number();
        shard.tasks.enter(shard, || (0..5).for_each(|_| number.wake()));
        number.wake();
        shard.tasks.wake(number);
        assert_eq!(shard.run(), 1);
        assert_eq!(polls.get(), 4);
        assert_eq!(shard.run(), 0);
    });
}

#[test]
fn a_woken_task_that_returns_leaves_nothing_in_the_queue() {
    check(|shard| {
        for _ in 0..3 {
            let handle = shard.spawn(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            }));
            let number = handle.number();
            handle.detach();
            shard.run();
            assert_eq!(shard.tasks.stats().live, 0);
            shard.tasks.wake(number);
            assert!(!shard.tasks.has_ready(), "the number is of the past");
        }
    });
}

#[test]
fn time_is_asked_once_in_a_number_of_polls_and_ends_the_run() {
    check(|shard| {
        for _ in 0..10 * POLLS_PER_CLOCK {
            shard.spawn(async {}).detach();
        }
        let mut asked = 0;
        let polls = shard.tasks.run(|| {
            asked += 1;
            asked == 3
        });
        assert_eq!((asked, polls), (3, 3 * POLLS_PER_CLOCK));
        assert!(shard.tasks.has_ready());
    });
}

#[test]
fn an_always_ready_task_yields_when_its_budget_is_spent() {
    check(|shard| {
        let done = Rc::new(Cell::new(0));
        let greedy = shard.spawn({
            let done = done.clone();
            async move {
                for _ in 0..3 * OPS_PER_POLL {
                    poll_fn(budget::poll_proceed).await;
                    done.set(done.get() + 1);
                }
            }
        });
        let seen = shard.spawn({
            let done = done.clone();
            async move { done.get() }
        });
        assert_eq!(shard.join(seen).unwrap(), OPS_PER_POLL);
        shard.join(greedy).unwrap();
        assert_eq!(done.get(), 3 * OPS_PER_POLL);
    });
    assert!((0..10 * OPS_PER_POLL).all(|_| budget::consume()), "there is no budget outside of a shard");
}

#[test]
fn a_hundred_thousand_tasks() {
    check(|shard| {
        let sum = Rc::new(Cell::new(0u64));
        for round in 1..=2 {
            let handles: Vec<_> = (0..100_000u64)
                .map(|n| {
                    let sum = sum.clone();
                    shard.spawn(async move {
                        yield_now().await;
                        sum.set(sum.get() + n);
                    })
                })
                .collect();
            assert_eq!(shard.tasks.stats().live, 100_000);
            assert_eq!(shard.run(), 200_000);
            drop(handles);
            assert_eq!(sum.get(), round * (0..100_000).sum::<u64>());
        }
        let slabs = shard.tasks.stats().slab_bytes;
        assert!(slabs <= 100_000 * 256 + 4 * 64 * 1024, "memory of the first round serves the second: {slabs}");
    });
}

#[test]
fn one_task_too_many_is_refused() {
    check(|shard| {
        let handles: Vec<_> = (0..TASKS_MAX).map(|_| shard.spawn(async {})).collect();
        let drops = Rc::new(Cell::new(0));
        let guard = dropped(&drops);
        let refused = shard.tasks.spawn(async move { drop(guard) });
        assert_eq!(refused.map(|_| ()), Err(SpawnError::Full));
        assert_eq!((drops.get(), shard.tasks.stats().refused), (1, 1));
        shard.run();
        drop(handles);
        let handle = shard.spawn(async { 1 });
        assert_eq!(shard.join(handle).unwrap(), 1);
    });
}

// ---- the current shard ----

#[test]
fn the_current_shard_is_the_innermost_one() {
    let (outer, inner) = (Shard::new(), Shard::new());
    let is = |shard: &Rc<Shard>| current::<Shard>().is_some_and(|current| Rc::ptr_eq(&current, shard));
    assert!(current::<Shard>().is_none());
    outer.tasks.enter(&outer, || {
        assert!(is(&outer) && current::<u32>().is_none());
        inner.tasks.enter(&inner, || assert!(is(&inner)));
        assert!(is(&outer));
        inner.tasks.enter(&Rc::new(5u32), || {
            assert_eq!(current::<u32>().as_deref(), Some(&5));
            assert!(current::<Shard>().is_none());
        });
        let panics = catch_unwind(AssertUnwindSafe(|| inner.tasks.enter(&inner, || panic!("by design"))));
        assert!(panics.is_err() && is(&outer));
    });
    assert!(current::<Shard>().is_none());
}

#[test]
fn shards_on_one_thread_wake_each_other_through_their_worlds() {
    let (first, second) = (Shard::new(), Shard::new());
    let woken = Rc::new(Cell::new(false));
    let waits = second.spawn({
        let woken = woken.clone();
        poll_fn(move |_| if woken.get() { Poll::Ready(()) } else { Poll::Pending })
    });
    second.run();
    let number = waits.number();
    let wakes = first.spawn(async move {
        woken.set(true);
        number.wake();
    });
    assert!(second.tasks.world().sleep().prepare(|| true));
    first.join(wakes).unwrap();
    assert_eq!(second.unparks.load(Ordering::Relaxed), 1);
    assert!(!second.tasks.has_ready() && second.tasks.world().has_wakes());
    second.join(waits).unwrap();
}

#[test]
fn numbers_and_wakers_turn_into_each_other() {
    check(|shard| {
        let handle = shard.spawn(poll_fn(|cx| Poll::Ready(TaskNumber::of(cx.waker()))));
        let number = handle.number();
        assert_eq!(shard.join(handle).unwrap(), Some(number));
        assert_eq!(TaskNumber::of(&number.waker()), Some(number));
        assert_eq!(TaskNumber::from_bits(number.to_bits()), number);
        assert!(number.waker().will_wake(&number.waker().clone()));
        assert_eq!(number.world(), shard.tasks.world().number());
        assert_eq!(TaskNumber::of(Waker::noop()), None);
    });
}

#[test]
fn a_number_of_any_bits_may_be_woken() {
    let mut random = Random::new(1);
    check(|shard| {
        shard.tasks.enter(shard, || {
            for _ in 0..100_000 {
                let bits = random.below(1 << 53) << 11 | random.below(1 << 11);
                // Not the worlds of other tests, which may count their polls.
                let number = TaskNumber::from_bits(bits | 0x3F << 58);
                number.wake();
                let home = TaskNumber::new(shard.tasks.world().number(), number.slot(), number.generation());
                home.wake();
                home.waker().wake();
            }
        });
    });
}

// ---- wakes from elsewhere ----

/// Tasks that wait until other threads have counted far enough. The threads count, then wake; the shard parks when it
/// has nothing to do, so a lost wake shows as a sleep that does not end.
fn stress(seed: u64, tasks: usize, threads: u64, target: u64) {
    let shard = Shard::new();
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..tasks).map(|_| AtomicU64::new(0)).collect());
    let handles: Vec<_> = (0..tasks)
        .map(|task| {
            let counts = counts.clone();
            shard.spawn(poll_fn(move |_| match counts[task].load(Ordering::Relaxed) {
                count if count == target * threads => Poll::Ready(()),
                _ => Poll::Pending,
            }))
        })
        .collect();
    let wakers: Vec<Waker> = handles.iter().map(|handle| handle.number().waker()).collect();
    let threads: Vec<_> = (0..threads)
        .map(|thread| {
            let (counts, wakers) = (counts.clone(), wakers.clone());
            thread::spawn(move || {
                let mut random = Random::new(seed * 100 + thread);
                let mut left: Vec<(usize, u64)> = (0..counts.len()).map(|task| (task, target)).collect();
                while !left.is_empty() {
                    let index = random.below(left.len() as u64) as usize;
                    let task = left[index].0;
                    left[index].1 -= 1;
                    if left[index].1 == 0 {
                        left.swap_remove(index);
                    }
                    counts[task].fetch_add(1, Ordering::Relaxed);
                    match random.below(3) {
                        0 => wakers[task].wake_by_ref(),
                        1 => {
                            let own = wakers[task].clone();
                            own.wake()
                        }
                        _ => TaskNumber::of(&wakers[task]).expect("it is ours").wake(),
                    }
                    if random.below(50) == 0 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let world = shard.tasks.world();
    loop {
        shard.run();
        if handles.iter().all(|handle| handle.is_finished()) {
            break;
        }
        if world.sleep().prepare(|| !shard.tasks.has_ready() && !world.has_wakes()) {
            let asleep = Instant::now();
            thread::park_timeout(Duration::from_secs(30));
            assert!(asleep.elapsed() < Duration::from_secs(30), "a wake was lost, seed {seed}");
            world.sleep().awake();
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(handles);
    shard.run();
    assert_eq!(shard.tasks.stats().live, 0);
}

#[test]
fn no_wake_of_another_thread_is_lost() {
    for seed in 0..20 {
        stress(seed, 1, 3, 2_000);
        stress(seed, 100, 3, 30);
    }
    stress(100, 2 * TASK_SEGMENT as usize + 5_000, 3, 3);
}

#[test]
fn wakes_after_the_shards_end_are_harmless() {
    let stop = Arc::new(AtomicBool::new(false));
    let (send, receive) = std::sync::mpsc::channel::<Waker>();
    let waker_thread = thread::spawn({
        let stop = stop.clone();
        move || {
            let mut wakers = VecDeque::new();
            while !stop.load(Ordering::Relaxed) {
                wakers.extend(receive.try_iter());
                wakers.iter().for_each(|waker: &Waker| waker.wake_by_ref());
                let keep = wakers.len().min(1_000);
                wakers.drain(..wakers.len() - keep);
            }
        }
    });
    for _ in 0..300 {
        check(|shard| {
            for _ in 0..10 {
                let handle = shard.spawn(pending::<()>());
                send.send(handle.number().waker()).unwrap();
                handle.number().wake();
                shard.run();
                // At home: from outside, it could coalesce with a wake that the other thread has begun and not yet
                // published, and would then come with that one, after this check.
                shard.tasks.enter(shard, || handle.abort());
            }
        });
    }
    stop.store(true, Ordering::Relaxed);
    waker_thread.join().unwrap();
}

#[test]
fn wakes_from_thread_local_destructors() {
    type Late = OnDrop<Box<dyn FnMut()>>;
    thread_local! {
        static LATE: RefCell<Vec<Late>> = const { RefCell::new(Vec::new()) };
    }

    fn wake_late(waker: Waker) {
        LATE.with_borrow_mut(|late| late.push(OnDrop(Box::new(move || waker.wake_by_ref()))));
    }

    // From another thread's end, while the shard runs.
    check(|shard| {
        let polls = Rc::new(Cell::new(0));
        let handle = shard.spawn({
            let polls = polls.clone();
            poll_fn(move |_| {
                polls.set(polls.get() + 1);
                if polls.get() == 2 { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        shard.run();
        let waker = handle.number().waker();
        thread::spawn(move || wake_late(waker)).join().unwrap();
        shard.join(handle).unwrap();
    });
    // From the own thread's end, after the shard and, on the way, the current shard have gone.
    let alive = thread::spawn(|| {
        let shard = Shard::new();
        let handle = shard.spawn(pending::<()>());
        shard.tasks.enter(&shard, || wake_late(handle.number().waker()));
        shard.run();
        handle.number().waker()
    });
    alive.join().unwrap().wake();
}

// ---- the end ----

#[test]
fn close_drops_futures_and_cancels_their_handles() {
    check(|shard| {
        let drops = Rc::new(Cell::new(0));
        let handles: Vec<_> = (0..100)
            .map(|n| {
                let guard = dropped(&drops);
                shard.spawn(async move {
                    let _guard = guard;
                    if n % 3 == 0 {
                        pending::<()>().await;
                    }
                    n
                })
            })
            .collect();
        shard.tasks.run(|| true);
        let ended = drops.get();
        assert!(ended > 0 && ended < 67);
        shard.tasks.close();
        shard.tasks.close();
        assert_eq!(drops.get(), 100);
        let results: Vec<_> = handles.into_iter().map(|handle| shard.join(handle)).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), ended as usize);
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(JoinError::Cancelled))));
        assert_eq!(shard.tasks.spawn(async {}).map(|_| ()), Err(SpawnError::Closed));
    });
}

#[test]
fn close_contains_what_dropped_futures_do() {
    check(|shard| {
        let handles: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        for n in 0..60 {
            let (tasks, others) = (shard.clone(), handles.clone());
            let guard = OnDrop(move || {
                assert!(tasks.tasks.spawn(async {}).is_err());
                let count = others.borrow().len();
                let other = others.borrow().get((n * 7) % count.max(1)).map(JoinHandle::number);
                if let Some(other) = other {
                    other.wake();
                    tasks.tasks.wake(other);
                }
                match n % 5 {
                    0 => tasks.tasks.close(),
                    1 => others.borrow().iter().for_each(JoinHandle::abort),
                    2 => drop(others.borrow_mut().pop()),
                    3 => panic!("dropped by design"),
                    _ => {}
                }
            });
            let handle = shard.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            if n % 2 == 0 {
                handles.borrow_mut().push(handle);
            }
        }
        shard.run();
        shard.tasks.enter(shard, || shard.tasks.close());
        assert_eq!(shard.tasks.stats().panics, 12);
        handles.take();
    });
}

#[test]
fn a_task_may_close_its_executor() {
    for waits in [false, true] {
        check(|shard| {
            let drops = Rc::new(Cell::new(0));
            let (own, other) = (dropped(&drops), dropped(&drops));
            let tasks = shard.clone();
            let closes = shard.spawn(async move {
                let _own = own;
                tasks.tasks.close();
                if waits {
                    yield_now().await;
                }
            });
            let other = shard.spawn(async move {
                let _other = other;
                pending::<()>().await;
            });
            let result = shard.join(closes);
            assert_eq!(result.is_ok(), !waits);
            assert!(matches!(shard.join(other), Err(JoinError::Cancelled)));
            assert_eq!(drops.get(), 2);
        });
    }
}

#[test]
fn handles_outlive_the_tasks() {
    let shard = Shard::new();
    let (ended, waits) = (shard.spawn(async { vec![1, 2, 3] }), shard.spawn(pending::<()>()));
    let mut leased = shard.tasks.lease(|| async { vec![4] });
    shard.run();
    drop(shard);
    waits.abort();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(pin!(waits).poll(&mut cx), Poll::Ready(Err(JoinError::Cancelled))));
    assert!(matches!(pin!(ended).poll(&mut cx), Poll::Ready(Ok(result)) if result == [1, 2, 3]));
    assert_eq!(Pin::new(&mut leased).poll(&mut cx), Poll::Ready(vec![4]));
}

// ---- everything at once ----

/// What the tasks of a random program share.
struct Chaos {
    shard: std::rc::Weak<Shard>,
    random: RefCell<Random>,
    handles: RefCell<Vec<JoinHandle<u64>>>,
    numbers: RefCell<Vec<TaskNumber>>,
    spawns_left: Cell<u32>,
    alive: Cell<i64>,
}

impl Chaos {
    fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    fn spawn(self: &Rc<Self>) {
        let Some(shard) = self.shard.upgrade() else { return };
        if self.spawns_left.get() == 0 {
            return;
        }
        self.spawns_left.set(self.spawns_left.get() - 1);
        // Made before the task, so it is dropped even if the task is refused or never polled.
        self.alive.set(self.alive.get() + 1);
        let guard = OnDrop({
            let this = self.clone();
            move || {
                this.alive.set(this.alive.get() - 1);
                this.step(thread::panicking());
            }
        });
        let this = self.clone();
        let handle = match self.below(2) {
            0 => shard.tasks.spawn(actor(this, guard)),
            _ => shard.tasks.spawn(async move {
                let large = [7u64; 200];
                actor(this, guard).await + large[std::hint::black_box(3)] - 7
            }),
        };
        if let Ok(handle) = handle {
            self.numbers.borrow_mut().push(handle.number());
            self.handles.borrow_mut().push(handle);
        }
    }

    fn take_handle(&self) -> Option<JoinHandle<u64>> {
        let mut handles = self.handles.borrow_mut();
        let index = (!handles.is_empty()).then(|| self.below(handles.len() as u64) as usize)?;
        Some(handles.swap_remove(index))
    }

    /// One thing that needs no waiting; it may be done in a `drop` too.
    fn step(self: &Rc<Self>, calmly: bool) {
        match self.below(8) {
            0 | 1 => self.spawn(),
            2 => drop(self.take_handle()),
            3 => {
                if let Some(handle) = self.take_handle() {
                    handle.abort();
                    self.handles.borrow_mut().push(handle);
                }
            }
            4 | 5 => {
                let count = self.numbers.borrow().len() as u64;
                if count > 0 {
                    let number = self.numbers.borrow()[self.below(count) as usize];
                    number.wake();
                }
            }
            6 if !calmly && self.below(4) == 0 => panic!("by design"),
            _ => {}
        }
    }
}

fn actor<G: 'static>(chaos: Rc<Chaos>, guard: G) -> Pin<Box<dyn Future<Output = u64>>> {
    Box::pin(async move {
        let _guard = guard;
        let mut steps = 0;
        while chaos.below(12) > 0 {
            steps += 1;
            chaos.step(false);
            match chaos.below(6) {
                0 | 1 => yield_now().await,
                2 => {
                    let handle = chaos.take_handle();
                    if let Some(handle) = handle {
                        _ = handle.await;
                    }
                }
                3 if chaos.below(5) == 0 => pending().await,
                4 => {
                    let (shard, inner) = (chaos.shard.upgrade(), chaos.clone());
                    if let Some(shard) = shard {
                        let leased = shard.tasks.lease(|| async move { inner.step(false) });
                        drop(shard);
                        leased.await;
                    }
                }
                _ => {}
            }
        }
        steps
    })
}

fn chaos(seed: u64) {
    let shard = Shard::new();
    let chaos = Rc::new(Chaos {
        shard: Rc::downgrade(&shard),
        random: RefCell::new(Random::new(seed)),
        handles: RefCell::default(),
        numbers: RefCell::default(),
        spawns_left: Cell::new(200),
        alive: Cell::new(0),
    });
    (0..10).for_each(|_| chaos.spawn());
    for _ in 0..50 {
        shard.tasks.take_wakes();
        let mut clock = 20;
        shard.tasks.enter(&shard, || {
            shard.tasks.run(|| {
                clock -= 1;
                clock == 0
            })
        });
    }
    match seed % 3 {
        0 => shard.tasks.close(),
        1 => shard.tasks.enter(&shard, || shard.tasks.close()),
        _ => {}
    }
    if seed % 3 < 2 {
        assert_eq!(chaos.alive.get(), 0, "a future was leaked, seed {seed}");
        while let Some(handle) = chaos.take_handle() {
            drop(handle);
        }
        shard.run();
        let stats = shard.tasks.stats();
        assert_eq!((stats.live, stats.blocks_used), (0, 0), "seed {seed}");
    }
    drop(shard);
    chaos.handles.take();
    assert_eq!(chaos.alive.get(), 0, "a future was leaked, seed {seed}");
    assert_eq!(Rc::strong_count(&chaos), 1, "seed {seed}");
}

#[test]
fn random_programs_leave_nothing_behind() {
    // Panics by design would print tens of thousands of lines.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match info.payload().downcast_ref::<&str>() {
        Some(&"by design") => {}
        _ => print(info),
    }));
    for seed in 0..2_000 {
        chaos(seed);
    }
}

// ---- leases and locals ----

#[test]
fn a_pooled_value_is_owned_and_its_memory_goes_back() {
    check(|shard| {
        let drops = Rc::new(Cell::new(0));
        for round in 1..=3 {
            let mut pooled = shard.tasks.pooled(|| (vec![round], dropped(&drops)));
            let large = shard.tasks.pooled(|| [round; BLOCK_BYTES_MAX]);
            assert_eq!(shard.tasks.stats().blocks_used, 2);
            pooled.0.push(large[BLOCK_BYTES_MAX - 1]);
            drop(large);
            let (numbers, _guard) = pooled.into_inner();
            assert_eq!((numbers, shard.tasks.stats().blocks_used), (vec![round, round], 0));
            assert_eq!(drops.get(), round - 1, "what was moved out is not dropped");
        }
        drop(shard.tasks.pooled(|| dropped(&drops)));
        assert_eq!(drops.get(), 4);
    });
}

#[test]
fn a_value_whose_making_panics_leaves_its_place() {
    check(|shard| {
        let fails = |make: &dyn Fn()| {
            let panicked = catch_unwind(AssertUnwindSafe(make));
            assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"it cannot be made"));
        };
        let one = || -> [u8; 200] { resume_unwind(Box::new("it cannot be made")) };
        let future = || -> std::future::Ready<()> { resume_unwind(Box::new("it cannot be made")) };
        fails(&|| drop(shard.tasks.pooled(one)));
        fails(&|| drop(shard.tasks.lease(future)));
        let slabs = shard.tasks.stats().slab_bytes;
        // A handler's answer is made so: whoever makes it panic must not take memory with each request.
        for _ in 0..10_000 {
            fails(&|| drop(shard.tasks.pooled(one)));
            fails(&|| drop(shard.tasks.lease(future)));
        }
        let stats = shard.tasks.stats();
        assert_eq!((stats.blocks_used, stats.slab_bytes), (0, slabs));
    });
}

#[test]
fn a_lease_is_a_future_whose_memory_goes_back() {
    check(|shard| {
        let name = "borrowed".to_owned();
        for round in 0..3 {
            let borrowed = &name;
            let mut small = shard.tasks.lease(|| async move { borrowed.len() });
            let large = shard.tasks.lease(|| async {
                let bytes = [1u8; 2 * BLOCK_BYTES_MAX];
                yield_now().await;
                bytes.len()
            });
            assert_eq!(shard.tasks.stats().blocks_used, 2);
            assert_eq!(Pin::new(&mut small).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(8));
            if round == 1 {
                drop(small);
                let handle = shard.spawn(large);
                assert_eq!(shard.join(handle).unwrap(), 2 * BLOCK_BYTES_MAX);
            }
        }
        let drops = Rc::new(Cell::new(0));
        let (guard, bad) = (dropped(&drops), panics(true));
        let leased = shard.tasks.lease(|| async move {
            let _both = (guard, bad);
        });
        assert!(catch_unwind(AssertUnwindSafe(|| drop(leased))).is_err());
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn locals_are_made_once_and_may_use_each_other() {
    let locals = Rc::new(Locals::new());
    assert_eq!(locals.get::<u32>(), None);
    assert_eq!(*locals.get_or_init(|| 5u32), 5);
    assert_eq!(*locals.get_or_init(|| 6u32), 5);
    let text = locals.get_or_init({
        let locals = locals.clone();
        move || {
            assert_eq!(*locals.get_or_init(|| "inner".to_owned()), "inner");
            "outer".to_owned()
        }
    });
    assert_eq!(*text, "inner", "the first that was stored is kept");

    let inner = locals.clone();
    locals.get_or_init(move || OnDrop(move || _ = inner.get_or_init(|| 7u64)));
    locals.clear();
    assert_eq!(locals.get::<u32>(), None);
    assert_eq!(locals.get::<u64>().as_deref(), Some(&7), "made while the others were dropped");
}
