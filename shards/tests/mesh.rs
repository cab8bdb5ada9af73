//! Shards that call each other: on simulated shards with everything that can go wrong, decided by a seed, and on real
//! threads, more of them than CPUs.

#![allow(clippy::disallowed_methods, reason = "a soak on real threads is bounded by a real clock")]

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use shardwise_shards::limits::{MESH_CASTS, MESH_CREDITS, MESSAGE_INLINE_BYTES};
use shardwise_shards::{
    CallError, JoinHandle, PerShard, Program, Runtime, Shard, Simulation, TraceContext, TurnEnd, yield_now,
};

/// Runs `main` on simulated shards until it has ended on all of them that live.
#[track_caller]
fn simulate(seed: u64, count: usize, main: impl AsyncFn(Shard) + 'static) -> (Simulation, Program<String>) {
    let mut simulation = Simulation::new(seed);
    let program = simulation.start(count, async move |shard| {
        main(shard).await;
        Ok::<_, String>(())
    });
    simulation.run_to_end();
    (simulation, program)
}

/// The same, for programs in which no shard ends early.
#[track_caller]
fn check(count: usize, main: impl AsyncFn(Shard) + 'static) {
    let (_simulation, program) = simulate(1, count, main);
    assert!(program.has_ended(), "{:?}", program.results());
}

#[test]
fn a_call_runs_where_it_is_sent_and_its_value_comes_home() {
    check(3, async |shard| {
        for number in 0..3 {
            assert_eq!(shard.on(number, |there| there.number()).await, Ok(number));
            let text = format!("from {}", shard.number());
            assert_eq!(shard.on(number, move |_| text).await, Ok(format!("from {}", shard.number())));
            assert_eq!(shard.on(number, |_| ()).await, Ok(()));
        }
        assert_eq!(shard.on(3, |_| ()).await, Err(CallError::NoShard));
        assert_eq!(shard.post(3, |_| ()).await, Err(CallError::NoShard));
        assert_eq!(shard.try_post(3, |_| ()), Err(CallError::NoShard));
        assert_eq!(shard.calls_out(), 0);
    });
}

#[test]
fn what_does_not_fit_into_a_message_is_carried_all_the_same() {
    check(2, async |shard| {
        let peer = 1 - shard.number();
        let large = [7u8; 10 * MESSAGE_INLINE_BYTES];
        assert_eq!(shard.on(peer, move |_| large).await, Ok(large));
        #[repr(align(64))]
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct Aligned(u8);
        let aligned = Aligned(3);
        assert_eq!(shard.on(peer, move |_| aligned).await, Ok(aligned));
    });
}

#[test]
fn closures_from_one_shard_to_another_run_in_the_order_sent() {
    check(2, async |shard| {
        let peer = 1 - shard.number();
        const COUNT: u64 = 10 * MESH_CREDITS as u64;
        for number in 0..COUNT {
            let next = move |there: &Shard| {
                let seen = there.local(|| Cell::new(0));
                assert_eq!(seen.replace(number + 1), number);
            };
            match number % 2 {
                0 => shard.post(peer, next).await.unwrap(),
                _ => shard.on(peer, next).await.unwrap(),
            }
        }
        let seen = shard.on(peer, |there| there.local(|| Cell::new(0)).get()).await;
        assert_eq!(seen, Ok(COUNT));
    });
}

#[test]
fn a_panic_comes_back_to_its_caller_and_harms_nobody_else() {
    check(2, async |shard| {
        for number in 0..2 {
            let panics = shard.on(number, |_| -> u8 { panic!("no {}", 7) }).await;
            assert_eq!(panics, Err(CallError::Panicked("no 7".to_owned())));
            let panics = shard.on_async(number, async |_| -> u8 { panic!("later") }).await;
            assert_eq!(panics, Err(CallError::Panicked("later".to_owned())));
            shard.post(number, |_| panic!("nobody hears this")).await.unwrap();
            assert_eq!(shard.on(number, |_| 1).await, Ok(1));
        }
    });
}

#[test]
fn a_future_runs_there_as_a_task_and_need_not_be_send() {
    check(2, async |shard| {
        for number in 0..2 {
            let waited = shard.on_async(number, async |there: Shard| {
                let local = Rc::new(there.number());
                let start = there.now();
                there.sleep(Duration::from_secs(3)).await;
                (*local, there.now() - start)
            });
            let (there, waited) = waited.await.unwrap();
            assert!(there == number && waited >= Duration::from_secs(3));
        }
    });
}

#[test]
fn shards_that_flood_each_other_do_not_stop() {
    check(4, async |shard| {
        let tasks: Vec<JoinHandle<()>> = (0..4 * MESH_CREDITS)
            .map(|task| {
                let inner = shard.clone();
                let work = async move {
                    for round in 0..20 {
                        let peer = (task + round) % inner.count();
                        match task % 3 {
                            0 => inner.post(peer, |_| ()).await.unwrap(),
                            1 => assert_eq!(inner.on(peer, move |_| round).await, Ok(round)),
                            _ => {
                                let later = async move |_| {
                                    yield_now().await;
                                    round
                                };
                                assert_eq!(inner.on_async(peer, later).await, Ok(round));
                            }
                        }
                    }
                };
                shard.spawn(work).unwrap()
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        settle(&shard).await;
        at_baseline(&shard);
    });
}

#[test]
fn a_full_lane_makes_senders_wait_and_is_said_to_who_cannot() {
    check(2, async |shard| {
        if shard.number() == 1 {
            return;
        }
        for _ in 0..MESH_CREDITS {
            shard.try_post(1, |_| ()).unwrap();
        }
        assert_eq!(shard.try_post(1, |_| ()), Err(CallError::Overloaded));
        let stats = shard.stats();
        assert_eq!((stats.mesh_sent.get(), stats.mesh_refused.get()), (MESH_CREDITS as u64, 1));
        // Both wait, first come first served; who gives up lets the next go on.
        let mut first = std::pin::pin!(shard.on(1, |_| 1));
        let mut second = Box::pin(shard.on(1, |_| 2));
        let mut third = std::pin::pin!(shard.on(1, |_| 3));
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        assert!(poll_once(&mut third).await.is_none());
        assert_eq!(stats.mesh_waits.get(), 3);
        drop(second);
        assert_eq!(first.await, Ok(1));
        assert_eq!(third.await, Ok(3));
        settle(&shard).await;
        at_baseline(&shard);
    });
}

#[test]
fn casts_run_in_order_and_wake_who_sleeps() {
    check(3, async |shard| {
        let peer = (shard.number() + 1) % 3;
        for number in 0..10 * MESH_CASTS as u64 {
            let next = move |there: &Shard| {
                let seen = there.local(|| Cell::new(0));
                assert_eq!(seen.replace(number + 1), number);
            };
            while shard.cast(peer, next) == Err(CallError::Overloaded) {
                yield_now().await;
            }
            if number % 1000 == 0 {
                // All sleep, and the next one wakes its peer.
                shard.sleep(Duration::from_secs(1)).await;
            }
        }
        shard.sleep(Duration::from_secs(1)).await;
        assert_eq!(shard.local(|| Cell::new(0)).get(), 10 * MESH_CASTS as u64);
        let stats = shard.stats();
        assert_eq!(stats.mesh_casts_sent.get(), stats.mesh_casts_run.get());
        assert_eq!(shard.cast(3, |_| ()), Err(CallError::NoShard));
    });
}

#[test]
fn what_a_lane_of_casts_has_no_room_for_is_dropped_and_holds_up_no_call() {
    let run = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&run);
    check(2, async move |shard| {
        if shard.number() == 1 {
            return;
        }
        let held = Arc::new(());
        for number in 0..MESH_CASTS + 10 {
            let (run, held) = (Arc::clone(&run), Arc::clone(&held));
            let cast = move |_: &Shard| {
                run.fetch_add(1, Ordering::Relaxed);
                drop(held);
            };
            let expect = if number < MESH_CASTS { Ok(()) } else { Err(CallError::Overloaded) };
            assert_eq!(shard.cast(1, cast), expect, "{number}");
        }
        assert_eq!(Arc::strong_count(&held), 1 + MESH_CASTS, "what is dropped is dropped at once");
        assert_eq!(shard.stats().mesh_casts_dropped.get(), 10);
        assert_eq!(shard.try_post(1, |_| ()), Ok(()), "no credit is taken");
        assert_eq!(shard.on(1, |there| there.number()).await, Ok(1));
        settle(&shard).await;
        assert_eq!(Arc::strong_count(&held), 1);
        at_baseline(&shard);
    });
    assert_eq!(seen.load(Ordering::Relaxed), MESH_CASTS as u64);
}

#[test]
fn dropping_a_call_ends_its_task_on_the_other_shard() {
    let ended = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&ended);
    check(2, async move |shard| {
        if shard.number() == 1 {
            return;
        }
        for number in 0..2 {
            struct Ends(Arc<AtomicU64>);
            impl Drop for Ends {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::Relaxed);
                }
            }
            let ends = Ends(Arc::clone(&seen));
            let call = shard.on_async(number, async move |_| {
                let _ends = ends;
                std::future::pending::<()>().await
            });
            assert!(shard.timeout(Duration::from_secs(1), call).await.is_err());
            settle(&shard).await;
            assert_eq!(seen.load(Ordering::Relaxed), number as u64 + 1);
        }
        let live = shard.on(1, |there| there.task_stats().live).await;
        assert_eq!(live, Ok(0));
        at_baseline(&shard);
    });
    assert_eq!(ended.load(Ordering::Relaxed), 2);
}

#[test]
fn a_call_that_is_given_up_before_it_came_is_not_made() {
    check(2, async |shard| {
        if shard.number() == 1 {
            return;
        }
        let mut call = Box::pin(shard.on(1, |there| there.local(|| Cell::new(0)).set(1)));
        assert!(poll_once(&mut call).await.is_none());
        drop(call);
        let unsent = shard.on(1, |there| there.local(|| Cell::new(0)).set(2));
        drop(unsent);
        settle(&shard).await;
        assert_eq!(shard.on(1, |there| there.local(|| Cell::new(0)).get()).await, Ok(0));
        at_baseline(&shard);
    });
}

#[test]
fn a_deadline_travels_with_a_call() {
    check(2, async |shard| {
        let peer = 1 - shard.number();
        let scope = shard.scope().child("request").unwrap().with_deadline(shard.now() + Duration::from_secs(2));
        let start = shard.now();
        let forever = async |there: Shard| {
            let gone = there.local(|| Cell::new(false));
            let _gone = shardwise_shards::combine::defer(move || gone.set(true));
            std::future::pending::<()>().await
        };
        assert_eq!(scope.on_async(peer, forever).await, Err(CallError::Cancelled));
        let waited = shard.now() - start;
        assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(3), "{waited:?}");
        settle(&shard).await;
        assert_eq!(shard.on(peer, |there| there.local(|| Cell::new(false)).get()).await, Ok(true));
    });
}

#[test]
fn calls_to_a_shard_that_ends_are_answered() {
    let results = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&results);
    let (_simulation, program) = simulate(1, 3, async move |shard| {
        match shard.number() {
            0 => {
                let long = shard.on_async(1, async |there: Shard| there.sleep(Duration::from_secs(60)).await);
                let result = long.await;
                seen.borrow_mut().push(result);
                assert_eq!(shard.on(1, |_| ()).await, Err(CallError::Stopped));
                assert_eq!(shard.on_async(1, async |_| ()).await, Err(CallError::Stopped));
                assert_eq!(shard.scope().on_async(1, async |_| ()).await, Err(CallError::Stopped));
                assert_eq!(shard.post(1, |_| ()).await, Err(CallError::Stopped));
                assert_eq!(shard.try_post(1, |_| ()), Err(CallError::Stopped));
                assert_eq!(shard.cast(1, |_| ()), Err(CallError::Stopped));
                assert_eq!(shard.on(2, |there| there.number()).await, Ok(2));
                at_baseline_with(&shard, &[0, 2]);
            }
            1 => {
                shard.sleep(Duration::from_secs(1)).await;
                shard.scope().cancel("enough");
                std::future::pending::<()>().await;
            }
            _ => {
                // The first call to a shard that has ended already.
                shard.sleep(Duration::from_secs(2)).await;
                assert_eq!(shard.on(1, |_| ()).await, Err(CallError::Stopped));
            }
        }
    });
    assert_eq!(program.results(), [Some(Ok(())), None, Some(Ok(()))]);
    assert_eq!(*results.borrow(), [Err(CallError::Stopped)]);
}

#[test]
fn a_call_that_outlives_its_shard_is_harmless() {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&kept);
    let (simulation, _) = simulate(1, 2, async move |shard| {
        if shard.number() == 0 {
            let mut call = Box::pin(shard.on_async(1, async |_| std::future::pending::<u8>().await));
            assert!(poll_once(&mut call).await.is_none());
            let unsent = Box::pin(shard.on_async(1, async |_| 1));
            keep.borrow_mut().extend([call, unsent]);
        }
    });
    drop(simulation);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut kept = kept.take();
    for call in &mut kept {
        assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(Err(CallError::Stopped)));
    }
}

/// Polls `work`, and gives its output if it is there.
async fn poll_once<F: Future + Unpin>(work: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *work).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Lets what was given up come to its end.
async fn settle(shard: &Shard) {
    shard.sleep(Duration::from_secs(1)).await;
}

/// Nothing of the mesh is held any more, and every credit is back.
#[track_caller]
fn at_baseline(shard: &Shard) {
    at_baseline_with(shard, &(0..shard.count()).collect::<Vec<_>>());
}

#[track_caller]
fn at_baseline_with(shard: &Shard, peers: &[usize]) {
    assert_eq!(shard.calls_out(), 0, "calls of shard {}", shard.number());
    for &peer in peers {
        if peer == shard.number() {
            continue;
        }
        for count in 0..MESH_CREDITS {
            assert_eq!(shard.try_post(peer, |_| ()), Ok(()), "{count} credits of shard {} to {peer}", shard.number());
        }
        assert_eq!(shard.try_post(peer, |_| ()), Err(CallError::Overloaded));
    }
}

#[test]
fn what_is_sent_when_a_turn_has_ended_is_shown_before_the_shard_sleeps() {
    /// Sends when the turn in which it was asked for has ended, after which the shard has nothing else to do.
    struct Sends(Shard, Arc<AtomicU64>);
    impl TurnEnd for Sends {
        fn turn_ended(&self, _: Duration) {
            let (sent, came) = (self.0.now(), Arc::clone(&self.1));
            let note = move |there: &Shard| came.store((there.now() - sent).as_micros() as u64, Ordering::Relaxed);
            self.0.try_post(1, note).unwrap();
        }
    }
    let waited = Arc::new(AtomicU64::new(u64::MAX));
    let seen = Arc::clone(&waited);
    check(2, async move |shard| {
        if shard.number() == 0 {
            // The link stands, so nothing else tells the peer.
            shard.on(1, |_| ()).await.unwrap();
            shard.at_turn_end(Rc::new(Sends(shard.clone(), Arc::clone(&seen))));
        }
        shard.sleep(Duration::from_secs(10)).await;
    });
    let waited = waited.load(Ordering::Relaxed);
    assert!(waited < 1_000_000, "it came after {waited} us");
}

/// What is counted while everything goes wrong.
#[derive(Default)]
struct Ledger {
    /// Captures that were made and not dropped.
    alive: AtomicI64,
    /// Closures run.
    run: AtomicU64,
    /// Calls that gave a value, or one of each error; calls given up.
    outcomes: [AtomicU64; 7],
}

impl Ledger {
    fn count(&self, outcome: usize) {
        self.outcomes[outcome].fetch_add(1, Ordering::Relaxed);
    }
}

/// A capture, or a value, that must be dropped once.
struct Counted(Arc<Ledger>);

impl Counted {
    fn new(ledger: &Arc<Ledger>) -> Counted {
        ledger.alive.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(ledger))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

const GIVEN_UP: usize = 6;

fn place(result: &Result<u64, CallError>) -> usize {
    match result {
        Ok(_) => 0,
        Err(CallError::NoShard) => 1,
        Err(CallError::Stopped) => 2,
        Err(CallError::Cancelled) => 3,
        Err(CallError::Overloaded) => 4,
        Err(CallError::Panicked(_)) => 5,
        Err(other) => panic!("{other:?}"),
    }
}

/// A source of numbers of one task's own.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Awaits `work`, or gives it up after a number of polls.
async fn give_up<T>(polls: u64, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (std::pin::pin!(work), polls);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        if left == 0 {
            // Not woken by the answer, it gives up after others have run.
            cx.waker().wake_by_ref();
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// One call of any kind.
async fn any_call(shard: &Shard, random: &mut Random, ledger: &Arc<Ledger>) {
    let peer = random.below(shard.count() as u64) as usize;
    let number = random.below(1000);
    let captured = Counted::new(ledger);
    let result = match random.below(10) {
        0 => match shard.post(peer, move |_| drop(captured)).await {
            Ok(()) => Ok(number),
            Err(error) => Err(error),
        },
        1 => {
            shard
                .on(peer, move |_| -> u64 {
                    let _captured = captured;
                    // Without the hook that prints: there are many.
                    std::panic::resume_unwind(Box::new("as it must"))
                })
                .await
        }
        2 => {
            let later = move |there: Shard| async move {
                there.sleep(Duration::from_micros(number)).await;
                captured.0.run.fetch_add(1, Ordering::Relaxed);
                (number, captured)
            };
            shard.on_async(peer, later).await.map(|(number, _)| number)
        }
        3 => {
            // A call within a call, which comes back to where it started.
            let home = shard.number();
            let around = move |there: Shard| async move {
                let captured = captured;
                captured.0.run.fetch_add(1, Ordering::Relaxed);
                there.on(home, move |_| number).await
            };
            shard.on_async(peer, around).await.and_then(|inner| inner)
        }
        4 => {
            let call = shard.on(peer, move |_| (number, captured));
            match give_up(random.below(3), call).await {
                Some(result) => result.map(|(number, _)| number),
                None => return ledger.count(GIVEN_UP),
            }
        }
        5 => {
            let call = shard.on_async(peer, move |there| async move {
                there.sleep(Duration::from_micros(number % 100)).await;
                (number, captured)
            });
            match give_up(random.below(4), call).await {
                Some(result) => result.map(|(number, _)| number),
                None => return ledger.count(GIVEN_UP),
            }
        }
        6 => match shard.try_post(peer, move |_| drop(captured)) {
            Ok(()) => Ok(number),
            Err(error) => Err(error),
        },
        _ => {
            let call = shard.on(peer, move |_| {
                captured.0.run.fetch_add(1, Ordering::Relaxed);
                (number, captured)
            });
            call.await.map(|(number, _)| number)
        }
    };
    if let Ok(value) = result {
        assert_eq!(value, number, "an answer goes to its own call");
    }
    ledger.count(place(&result));
}

/// Tasks that call at random on each shard of the program.
async fn calls_at_random(shard: &Shard, seed: u64, ledger: &Arc<Ledger>, tasks: u64, calls: u64) {
    let handles: Vec<_> = (0..tasks)
        .map(|task| {
            let (inner, ledger) = (shard.clone(), Arc::clone(ledger));
            let mut random = Random::new(seed ^ (shard.number() as u64) << 32 ^ task << 40);
            let work = async move {
                for _ in 0..calls {
                    any_call(&inner, &mut random, &ledger).await;
                }
            };
            shard.spawn(work).unwrap()
        })
        .collect();
    for handle in handles {
        handle.await.unwrap();
    }
}

/// A run of one seed, with a shard that ends in the middle in every second one: what has happened, as numbers.
fn soak(seed: u64) -> Vec<u64> {
    let ledger = Arc::new(Ledger::default());
    let (counting, stops) = (Arc::clone(&ledger), seed % 2 == 1);
    const SHARDS: usize = 4;
    let (simulation, program) = simulate(seed, SHARDS, async move |shard| {
        if stops && shard.number() == SHARDS - 1 {
            let inner = shard.clone();
            let ending = async move {
                inner.sleep(Duration::from_micros(seed * 37 % 3000)).await;
                inner.scope().cancel("the seed says so");
            };
            shard.spawn(ending).unwrap().detach();
        }
        calls_at_random(&shard, seed, &counting, 24, 40).await;
        // All others have come to their end, and what was given up too.
        shard.sleep(Duration::from_secs(10)).await;
        let peers: Vec<usize> = (0..SHARDS - usize::from(stops)).collect();
        if shard.number() != SHARDS - 1 || !stops {
            at_baseline_with(&shard, &peers);
        }
        shard.sleep(Duration::from_secs(10)).await;
        assert_eq!(shard.scopes(), 1, "seed {seed}: the shard's own");
        assert_eq!(shard.task_stats().live, 1, "seed {seed}: this one");
    });
    let ended = program.results().iter().filter(|result| **result == Some(Ok(()))).count();
    let expect = SHARDS - usize::from(stops);
    assert!(ended >= expect, "seed {seed}: {:?}", program.results());
    let elapsed = simulation.machine().elapsed();
    drop(simulation);
    assert_eq!(ledger.alive.load(Ordering::Relaxed), 0, "seed {seed}: every capture and value is dropped once");
    let mut happened: Vec<u64> = ledger.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    happened.push(ledger.run.load(Ordering::Relaxed));
    happened.push(elapsed.as_nanos() as u64);
    happened
}

/// Seeds of the simulated soak: `SHARDWISE_MESH_SEEDS` makes them more.
const SEEDS: u64 = 1_000;

/// Runs every second seed, from the given one on; sums up what has happened.
fn soak_seeds(first: u64, seeds: u64) -> [u64; 7] {
    let mut total = [0; 7];
    for seed in (first..seeds).step_by(2) {
        let happened = soak(seed);
        total.iter_mut().zip(&happened).for_each(|(total, count)| *total += count);
        if seed % 10 == 1 {
            assert_eq!(happened, soak(seed), "seed {seed}: the same again");
        }
    }
    total
}

#[test]
fn whatever_happens_every_call_ends_once() {
    let seeds = std::env::var("SHARDWISE_MESH_SEEDS").map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    let begin = Instant::now();
    // Two threads, since a simulation has one.
    let [even, odd] = std::thread::scope(|scope| {
        [0, 1].map(|first| scope.spawn(move || soak_seeds(first, seeds))).map(|half| half.join().expect("seeds pass"))
    });
    let total: [u64; 7] = std::array::from_fn(|outcome| even[outcome] + odd[outcome]);
    println!("{seeds} seeds, {} calls in {:?}: {total:?}", total.iter().sum::<u64>(), begin.elapsed());
    let [values, no_shard, stopped, cancelled, overloaded, panicked, given_up] = total;
    assert!(values > 0 && stopped > 0 && panicked > 0 && given_up > 0, "{total:?}");
    assert_eq!((no_shard, cancelled, overloaded), (0, 0, 0), "{total:?}");
}

/// Calls of the soak on real threads: `SHARDWISE_MESH_CALLS` makes it longer.
const CALLS: u64 = 2_000_000;

#[test]
fn millions_of_calls_on_more_threads_than_cpus() {
    let calls = std::env::var("SHARDWISE_MESH_CALLS").map_or(CALLS, |text| text.parse().expect("a number of calls"));
    const SHARDS: u64 = 4;
    const TASKS: u64 = 250;
    let seed = Instant::now().elapsed().subsec_nanos() as u64 ^ std::process::id() as u64;
    println!("seed {seed}, {calls} calls");
    let ledger = Arc::new(Ledger::default());
    let counting = Arc::clone(&ledger);
    let waiting = Arc::new(AtomicU64::new(SHARDS));
    let run = Runtime::builder().shards(SHARDS as usize).oversubscribe(true).handle_signals(false).announce(false);
    let begin = Instant::now();
    run.run(async move |shard: Shard| {
        calls_at_random(&shard, seed, &counting, TASKS, calls / SHARDS / TASKS).await;
        // Whoever ends takes its part of the mesh with it, so all wait for all.
        waiting.fetch_sub(1, Ordering::Relaxed);
        while waiting.load(Ordering::Relaxed) > 0 {
            shard.sleep(Duration::from_millis(1)).await;
        }
        shard.sleep(Duration::from_millis(100)).await;
        assert_eq!(shard.calls_out(), 0);
        Ok::<_, String>(())
    })
    .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let outcomes: Vec<u64> = ledger.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    println!("{:?}: {outcomes:?}", begin.elapsed());
    assert_eq!(outcomes.iter().sum::<u64>(), calls / SHARDS / TASKS * TASKS * SHARDS, "seed {seed}");
    assert_eq!(ledger.alive.load(Ordering::Relaxed), 0, "seed {seed}: every capture and value is dropped once");
}

#[test]
fn a_shard_that_sleeps_is_woken_by_a_call_and_by_its_answer() {
    let run = Runtime::builder().shards(2).oversubscribe(true).handle_signals(false).announce(false);
    let run = run.run(async |shard: Shard| {
        if shard.number() == 0 {
            for _ in 0..10 {
                // The other has nothing to do meanwhile, and no timer that would wake it.
                shard.sleep(Duration::from_millis(5)).await;
                let answer = shard.timeout(Duration::from_secs(10), shard.on(1, |there| there.number())).await;
                assert!(matches!(answer, Ok(Ok(1))), "nobody has woken it");
            }
        }
        Ok::<_, String>(())
    });
    run.unwrap();
}

#[test]
fn a_shard_whose_main_has_ended_answers_until_all_have() {
    let run = Runtime::builder().shards(3).oversubscribe(true).handle_signals(false).announce(false);
    let run = run.run(async |shard: Shard| {
        let numbers = shardwise_shards::PerShard::new(&shard, || shard.number());
        if shard.number() == 1 {
            return Err("the first to end".to_owned());
        }
        shard.drained().await;
        for _ in 0..10 {
            shard.sleep(Duration::from_millis(2)).await;
            assert_eq!(numbers.on(1, |number| *number).await, Ok(1));
        }
        Ok(())
    });
    assert_eq!(run.unwrap_err().to_string(), "the first to end");
}

#[test]
fn a_call_that_its_peer_never_took_up_is_answered_when_that_ends() {
    let (_simulation, program) = simulate(1, 3, async |shard| {
        match shard.number() {
            1 => {
                shard.sleep(Duration::from_millis(5)).await;
                shard.scope().cancel("enough");
                std::future::pending().await
            }
            // Its turn comes after that of the shard that ends, so one call is on the lane then.
            2 => loop {
                match shard.on(1, |_| ()).await {
                    Ok(()) => yield_now().await,
                    Err(error) => return assert_eq!(error, CallError::Stopped),
                }
            },
            _ => {}
        }
    });
    assert_eq!(program.results(), [Some(Ok(())), None, Some(Ok(()))]);
}

/// What a call's task sees of its caller: when it must be done, for whom it works, and the name of its own scope.
type Seen = (Option<Instant>, Option<TraceContext>, String);

fn look(there: &Shard) -> Seen {
    let scope = there.current_scope().unwrap();
    (scope.deadline(), scope.trace(), format!("{scope:?}"))
}

#[test]
fn deadline_and_trace_travel_with_whatever_is_called_in_a_scope() {
    check(2, async |shard| {
        let counts = PerShard::new(&shard, || Cell::new(0));
        let (peer, here) = (1 - shard.number(), shard.number());
        let (deadline, trace) = (shard.now() + Duration::from_secs(9), TraceContext::begin(&shard));
        let request = shard.scope().child("request").unwrap().with_deadline(deadline).with_trace(trace);
        let calls = async {
            let mut seen = Vec::new();
            for number in [peer, here] {
                seen.push(shard.on_async(number, async |there: Shard| look(&there)).await);
                // What the closure does before its future is of the same call.
                seen.push(shard.on_async(number, |there| std::future::ready(look(&there))).await);
                seen.push(counts.on_async(number, async |_| look(&Shard::current().unwrap())).await);
                // Over two shards.
                let further =
                    async move |there: Shard| there.on_async(here, async |home: Shard| look(&home)).await.unwrap();
                seen.push(shard.on_async(number, further).await);
            }
            seen.push(counts.at_key_async("ada", async |_| look(&Shard::current().unwrap())).await);
            let all = counts.on_all_async(async |_| look(&Shard::current().unwrap())).await.unwrap();
            seen.extend(all.into_iter().map(Ok));
            seen
        };
        for seen in request.run(calls).await.unwrap() {
            let (seen_deadline, seen_trace, scope) = seen.unwrap();
            assert_eq!((seen_deadline, seen_trace), (Some(deadline), Some(trace)), "{scope}");
            assert!(scope.contains("label: call"), "{scope}");
        }
        let outside = shard.on_async(peer, async |there: Shard| look(&there)).await.unwrap();
        assert_eq!((outside.0, outside.1), (None, None), "{}", outside.2);
        let explicit = request.on_async(peer, async |there: Shard| look(&there)).await.unwrap();
        assert_eq!((explicit.0, explicit.1), (Some(deadline), Some(trace)), "{}", explicit.2);
        drop(request);
        settle(&shard).await;
        assert_eq!((shard.scopes(), shard.calls_out()), (1, 0));
    });
}

/// Cancelling the scope that a task calls in cancels what it has called, over any number of shards.
#[test]
fn cancelling_a_caller_cancels_what_it_called() {
    let ended = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ended);
    check(3, async move |shard| {
        if shard.number() > 0 {
            return;
        }
        let request = shard.scope().child("request").unwrap();
        let ended = Arc::clone(&counted);
        let (caller, ends) = (shard.clone(), Arc::clone(&ended));
        let task = request.spawn(async move {
            let second = async move |there: Shard| {
                let _ends = count_when_dropped(&ends);
                let last = async move |_: Shard| {
                    let _ends = count_when_dropped(&ends);
                    std::future::pending::<()>().await;
                };
                let last_ends = there.on_async(2, last);
                last_ends.await
            };
            caller.on_async(1, second).await
        });
        settle(&shard).await;
        request.cancel("client disconnected");
        assert!(task.unwrap().await.unwrap().is_err());
        drop(request);
        settle(&shard).await;
        assert_eq!(ended.load(Ordering::Relaxed), 2);
        for number in 0..3 {
            let left = shard.on(number, |there| (there.scopes(), there.calls_out())).await.unwrap();
            // The call that asks is out itself, on its own shard.
            assert_eq!((left.0, left.1 - usize::from(number == 0)), (1, 0), "shard {number}");
        }
    });
    assert_eq!(ended.load(Ordering::Relaxed), 2);
}

fn count_when_dropped(count: &Arc<AtomicU64>) -> impl Drop + use<> {
    let count = Arc::clone(count);
    shardwise_shards::combine::defer(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })
}

#[test]
fn a_call_of_a_future_ends_with_every_error_there_is() {
    check(2, async |shard| {
        let parts = PerShard::new(&shard, || Cell::new(0));
        let peer = 1 - shard.number();
        assert_eq!(shard.on_async(9, async |_| ()).await, Err(CallError::NoShard));
        assert_eq!(parts.on_async(9, async |_| ()).await, Err(CallError::NoShard));
        for number in [shard.number(), peer] {
            let panics = Err(CallError::Panicked("on purpose".to_owned()));
            assert_eq!(shard.on_async(number, async |_| -> () { panic!("on purpose") }).await, panics);
            let at_once = |_: Shard| -> std::future::Ready<()> { panic!("on purpose") };
            assert_eq!(shard.on_async(number, at_once).await, panics, "before there is a future");
            assert_eq!(parts.on_async(number, async |_| -> () { panic!("on purpose") }).await, panics);
            // A callee may give itself up.
            let gives_up = async |there: Shard| {
                there.current_scope().unwrap().cancel("no more");
                yield_now().await;
            };
            assert_eq!(shard.on_async(number, gives_up).await, Err(CallError::Cancelled));
            let over = shard.scope().child("request").unwrap().with_deadline(shard.now() + Duration::from_secs(1));
            let called = over.run(shard.on_async(number, async |_| std::future::pending::<()>().await)).await;
            assert!(called.is_err(), "the caller's own deadline");
            let cancelled = shard.scope().child("request").unwrap();
            cancelled.cancel("enough");
            assert_eq!(cancelled.on_async(number, async |_| ()).await, Err(CallError::Cancelled));
        }
        settle(&shard).await;
        assert_eq!((shard.scopes(), shard.calls_out()), (1, 0));
    });
}

/// The deadline ends the task on the other shard even if its caller does not see to it.
#[test]
fn a_callee_keeps_its_callers_deadline_by_itself() {
    check(2, async |shard| {
        let peer = 1 - shard.number();
        let request = shard.scope().child("request").unwrap().with_deadline(shard.now() + Duration::from_secs(1));
        let call = request.enter(|| shard.on_async(peer, async |_| std::future::pending::<()>().await));
        assert_eq!(call.await, Err(CallError::Cancelled));
    });
}

#[test]
fn a_shard_that_is_full_says_so_to_who_calls_it() {
    check(2, async |shard| {
        if shard.number() == 1 {
            return;
        }
        // `main` has ended there, and leaves its place. Then the other shard spends all it has.
        settle(&shard).await;
        let fill = |there: &Shard| {
            let mut tasks = Vec::new();
            while let Ok(task) = there.spawn(std::future::pending::<()>()) {
                tasks.push(task);
            }
            let count = tasks.len();
            there.local(|| RefCell::new(Vec::new())).replace(tasks);
            count
        };
        assert!(shard.on(1, fill).await.unwrap() > 0);
        assert_eq!(shard.on_async(1, async |_| ()).await, Err(CallError::Overloaded));
        assert_eq!(shard.scope().on_async(1, async |_| ()).await, Err(CallError::Overloaded));
        let free = |there: &Shard| {
            let tasks = there.local(|| RefCell::new(Vec::<JoinHandle<()>>::new())).take();
            tasks.iter().for_each(JoinHandle::abort);
        };
        shard.on(1, free).await.unwrap();
        settle(&shard).await;
        assert_eq!(shard.on_async(1, async |_| 7).await, Ok(7));
    });
}
