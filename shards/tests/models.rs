//! Execution models: the same code under each of them, and what happens to it there.

#![allow(clippy::disallowed_methods, reason = "threads of one's own are among what is tested")]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use platform::sim::Plan;
use platform::stack::StackSize;
use platform::{BackendKind, Config};
use shardwise_shards::models::{CancelFlag, on_pool_thread, shielded};
use shardwise_shards::sync::{mpsc, oneshot};
use shardwise_shards::{
    Cancelled, Cause, Demand, Green, JoinError, Model, OffloadError, PerShard, Runtime, Shard, Simulation, SpawnError,
    Wait, model, yield_now,
};

const NAP: Duration = Duration::from_millis(2);

fn run<T: 'static>(client: impl AsyncFnOnce(Shard) -> T + 'static) -> T {
    Simulation::new(1).run(client)
}

/// A simulation whose shards admit few green threads.
fn with_stacks(count: usize) -> Simulation {
    let config = Config { stacks: StackSize { count, ..StackSize::default() }, ..Config::default() };
    Simulation::with_plan(1, Plan::CALM, config)
}

/// Doubles numbers that come by a channel, and takes its time over each: as a library would, knowing nothing of models.
async fn double(shard: Shard) -> Vec<u32> {
    let (sender, mut receiver) = mpsc::channel(2);
    let other = shard.clone();
    let numbers = async move {
        for number in 0..5 {
            other.sleep(NAP).await;
            sender.send(number).await.expect("somebody listens");
        }
    };
    let sending = shard.spawn(numbers).expect("room for a task");
    let mut doubled = Vec::new();
    while let Some(number) = receiver.recv().await {
        shard.sleep(NAP).await;
        doubled.push(2 * number);
    }
    sending.await.expect("it has sent all");
    doubled
}

/// The same, for code that is not async.
fn double_waiting() -> Result<Vec<u32>, Cancelled> {
    let shard = Shard::here();
    let (sender, mut receiver) = mpsc::channel(2);
    let other = shard.clone();
    let numbers = async move {
        for number in 0..5 {
            other.sleep(NAP).await;
            sender.send(number).await.expect("somebody listens");
        }
    };
    let sending = shard.spawn(numbers).expect("room for a task");
    let mut doubled = Vec::new();
    while let Some(number) = receiver.recv().wait()? {
        shard.sleep(NAP).wait()?;
        doubled.push(2 * number);
    }
    sending.wait()?.expect("it has sent all");
    Ok(doubled)
}

const DOUBLED: [u32; 5] = [0, 2, 4, 6, 8];

#[test]
fn the_same_code_runs_under_every_model() {
    assert_eq!(model(), Model::Thread);
    assert_eq!(double_waiting().unwrap(), DOUBLED);
    let on_a_thread = std::thread::spawn(double_waiting);
    assert_eq!(on_a_thread.join().unwrap().unwrap(), DOUBLED);
    assert_eq!(double(Shard::here()).wait().unwrap(), DOUBLED);

    let in_a_pool = std::thread::spawn(|| on_pool_thread(&CancelFlag::new(), || (model(), double_waiting())));
    assert_eq!(in_a_pool.join().unwrap(), (Model::Offload, Ok(DOUBLED.to_vec())));

    let both = async |shard: Shard| {
        let job = shard.offload(|| (model(), double_waiting()));
        assert_eq!(job.await.unwrap(), (Model::Offload, Ok(DOUBLED.to_vec())));
        let green = shard.green(|| (model(), double_waiting())).unwrap();
        assert_eq!(green.await.unwrap(), (Model::Green, Ok(DOUBLED.to_vec())));
        assert_eq!((model(), double(shard).await), (Model::Task, DOUBLED.to_vec()));
    };
    run(both);
    let on_shards = Runtime::builder().shards(2).oversubscribe(true).handle_signals(false).announce(false);
    let outcome = on_shards.run(async move |shard| {
        both(shard).await;
        Ok::<_, String>(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// Many green threads and tasks beside each other, on a machine where everything goes wrong that can.
fn trace_of_many(seed: u64) -> (Vec<u64>, u64) {
    let mut simulation = Simulation::with_plan(seed, Plan::HOSTILE, Config::default());
    let order = simulation.run(async |shard| {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut greens = Vec::new();
        for number in 0..50 {
            let (order, inside) = (Rc::clone(&order), shard.clone());
            let body = move || {
                for round in 0..4 {
                    inside.sleep(Duration::from_micros(inside.random() % 5000)).wait().unwrap();
                    if inside.random() % 2 == 0 {
                        yield_now().wait().unwrap();
                    }
                    order.borrow_mut().push(10 * number + round);
                }
            };
            greens.push(shard.green(body).unwrap());
        }
        for green in greens {
            green.await.unwrap();
        }
        order.take()
    });
    (order, simulation.machine().trace_hash())
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = trace_of_many(11);
    assert_eq!(first, trace_of_many(11));
    assert_eq!(first, std::thread::spawn(|| trace_of_many(11)).join().unwrap(), "on another thread too");
    assert_ne!(first, trace_of_many(12));
    let mut sorted = first.0;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).flat_map(|number| (0..4).map(move |round| 10 * number + round)).collect::<Vec<_>>());
}

#[test]
fn ten_thousand_in_sequence_share_a_stack() {
    with_stacks(4).run(async |shard| {
        for number in 0..10_000u32 {
            let green = shard.green(move || yield_now().wait().map(|()| number));
            assert_eq!(green.unwrap().await.unwrap(), Ok(number));
        }
        let stats = shard.green_stats();
        assert_eq!((stats.mapped, stats.used, stats.refused), (1, 0, 0));
        assert_eq!(shard.stats().green_threads.get(), 0);
    });
}

#[test]
fn more_green_threads_than_admitted_are_an_error() {
    with_stacks(3).run(async |shard| {
        let waiting: Vec<_> = (0..3).map(|_| shard.green(|| yield_now().wait()).unwrap()).collect();
        assert_eq!(shard.stats().green_threads.get(), 3);
        let refused = shard.green(|| ()).map(drop).unwrap_err();
        assert_eq!(refused, SpawnError::NoStack(platform::Error::Full));
        assert!(refused.to_string().contains("green_threads_max"), "{refused}");
        assert_eq!((shard.stats().green_refused.get(), shard.green_stats().refused), (1, 1));
        for green in waiting {
            assert_eq!(green.await.unwrap(), Ok(()));
        }
        assert_eq!(shard.green(|| 5).unwrap().await.unwrap(), 5, "there is room again");
    });
}

#[test]
fn a_panic_goes_to_the_join_handle() {
    run(async |shard| {
        let early = shard.green(|| panic!("before a wait")).unwrap();
        let late = shard.green(|| {
            yield_now().wait().unwrap();
            panic!("after a wait");
        });
        let inside = shard.green(|| async { panic!("in a wait") }.wait()).unwrap();
        let text = |error: JoinError| match error {
            JoinError::Panicked(payload) => *payload.downcast_ref::<&str>().unwrap(),
            JoinError::Cancelled => "cancelled",
        };
        assert_eq!(text(early.await.map(|never: ()| never).unwrap_err()), "before a wait");
        assert_eq!(text(late.unwrap().await.map(|never: ()| never).unwrap_err()), "after a wait");
        assert_eq!(text(inside.await.unwrap_err()), "in a wait");
        assert_eq!(shard.green_stats().used, 0);
    });
}

#[test]
fn a_panic_may_be_caught_around_a_wait() {
    run(async |shard| {
        let caught = shard.green(|| {
            let caught = catch_unwind(|| async { panic!("caught") }.wait());
            yield_now().wait().unwrap();
            caught.is_err()
        });
        assert!(caught.unwrap().await.unwrap());
    });
}

#[test]
fn a_cancelled_scope_ends_waits_and_not_the_thread() {
    run(async |shard| {
        let scope = shard.scope().child("work").unwrap();
        let clock = shard.clone();
        let green = scope.green(move || {
            let first = clock.sleep(Duration::from_secs(3600)).wait();
            let second = async { 1 }.wait();
            let shielded = shielded(|| clock.sleep(NAP).wait());
            let third = yield_now().wait();
            (first, second, shielded, third)
        });
        shard.sleep(NAP).await;
        assert_eq!(scope.passes(), 1);
        scope.cancel("enough");
        let enough = Cancelled { cause: Cause::Asked("enough") };
        assert_eq!(green.unwrap().await.unwrap(), (Err(enough), Err(enough), Ok(()), Err(enough)));
        scope.gate().await;
    });
}

#[test]
fn a_deadline_ends_waits() {
    run(async |shard| {
        let scope = shard.scope().child("work").unwrap().with_deadline(shard.clock() + 10 * NAP);
        let clock = shard.clone();
        let green = scope.green(move || (clock.sleep(NAP).wait(), clock.sleep(100 * NAP).wait())).unwrap();
        assert_eq!(green.await.unwrap(), (Ok(()), Err(Cancelled { cause: Cause::Deadline })));
    });
}

#[test]
fn a_deadline_that_is_given_between_two_waits_ends_the_second() {
    run(async |shard| {
        let scope = shard.scope().child("work").unwrap();
        let clock = shard.clone();
        let green = scope.green(move || (clock.sleep(NAP).wait(), clock.sleep(100 * NAP).wait())).unwrap();
        yield_now().await;
        let _scope = scope.with_deadline(shard.clock() + 10 * NAP);
        assert_eq!(green.await.unwrap(), (Ok(()), Err(Cancelled { cause: Cause::Deadline })));
    });
}

#[test]
fn a_cancellation_wakes_whoever_polled_it_last() {
    run(async |shard| {
        let scope = shard.scope().child("work").unwrap();
        let mut green = Green::new(&scope, || pending::<()>().wait()).unwrap();
        // A few times by this task, so that it knows its waker; then it moves to another.
        for _ in 0..3 {
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut green).poll(cx)));
            assert!(polled.await.is_pending());
        }
        let moved = shard.spawn(green).unwrap();
        shard.sleep(NAP).await;
        scope.cancel("enough");
        assert_eq!(moved.await.unwrap(), Err(Cancelled { cause: Cause::Asked("enough") }));
    });
}

#[test]
fn the_current_scope_is_its_own_across_waits() {
    let deadline = |shard: &Shard| shard.current_scope().unwrap().deadline();
    run(async move |shard| {
        let far = shard.now() + Duration::from_secs(3600);
        let outer = shard.scope().child("outer").unwrap().with_deadline(far);
        let inside = shard.clone();
        let work = outer.green(move || {
            assert_eq!(deadline(&inside), Some(far));
            let near = far - Duration::from_secs(60);
            let inner = inside.current_scope().unwrap().child("inner").unwrap().with_deadline(near);
            inner.enter(|| {
                inside.sleep(NAP).wait().unwrap();
                assert_eq!(deadline(&inside), Some(near), "what was entered stays so");
            });
            let demand = Demand { names: &["request", "handler"], numbers: [1, 2], deadline: Some(near) };
            let entered = inside.scope().entered_on_demand(demand);
            inside.sleep(NAP).wait().unwrap();
            assert_eq!(deadline(&inside), Some(near));
            inside.sleep(NAP).wait().unwrap();
            assert!(entered.leave().unwrap().check().is_ok());
            assert_eq!((deadline(&inside), inside.scopes()), (Some(far), 3), "as it was");
            // Unwound in the middle of it.
            inner.enter(|| {
                let _entered = inside.scope().entered_on_demand(demand);
                deadline(&inside).map(|_| pending::<()>().wait())
            });
        });
        for _ in 0..10 {
            shard.sleep(NAP).await;
            assert_eq!(deadline(&shard), None, "others have theirs");
        }
        let work = work.unwrap();
        work.abort();
        assert!(work.await.is_err());
        outer.gate().await;
        drop(outer);
        assert_eq!(shard.scopes(), 1, "all are given back");
    });
}

/// Notes what its drop finds: the model, and what a wait gives.
struct WaitsInDrop {
    shard: Shard,
    found: Rc<RefCell<Vec<Found>>>,
}

type Found = (Model, Result<(), Cancelled>);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        let waited = self.shard.sleep(NAP).wait();
        self.found.borrow_mut().push((model(), waited));
    }
}

#[test]
fn a_dropped_green_thread_is_unwound_and_its_destructors_do_not_wait() {
    run(async |shard| {
        for polls in 0..4 {
            let found = Rc::new(RefCell::new(Vec::new()));
            let held = |shard: &Shard| WaitsInDrop { shard: shard.clone(), found: Rc::clone(&found) };
            let (captured, local) = (held(&shard), held(&shard));
            let mut green = Green::new(shard.scope(), move || {
                let _captured = captured;
                yield_now().wait().unwrap();
                let _local = local;
                loop {
                    yield_now().wait().unwrap();
                }
            })
            .unwrap();
            for _ in 0..polls {
                let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut green).poll(cx)));
                assert!(polled.await.is_pending());
            }
            drop(green);
            let dropped = Cancelled { cause: Cause::Dropped };
            assert_eq!(*found.borrow(), [(Model::Green, Err(dropped)); 2], "after {polls} polls");
        }
        assert_eq!(shard.green_stats().used, 0);
        assert_eq!((model(), shard.stats().green_threads.get()), (Model::Task, 0));
    });
}

#[test]
fn destructors_wait_when_nothing_unwinds_and_not_after_a_panic() {
    run(async |shard| {
        let found = Rc::new(RefCell::new(Vec::new()));
        let held = |shard: &Shard| WaitsInDrop { shard: shard.clone(), found: Rc::clone(&found) };
        let (calm, panicked) = (held(&shard), held(&shard));
        shard.green(move || drop(calm)).unwrap().await.unwrap();
        let panicked = shard.green(move || {
            let _held = panicked;
            panic!("its destructors run");
        });
        assert!(panicked.unwrap().await.map(|never: ()| never).is_err());
        let panics = Cancelled { cause: Cause::Asked("the green thread panics") };
        assert_eq!(*found.borrow(), [(Model::Green, Ok(())), (Model::Green, Err(panics))]);
    });
}

#[test]
fn a_teardown_that_is_caught_goes_on() {
    run(async |shard| {
        let (caught, seen) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (counted, survived) = (Rc::clone(&caught), Rc::clone(&seen));
        let stubborn = shard.green(move || {
            while counted.get() < 3 {
                let waited = catch_unwind(|| pending::<()>().wait());
                counted.set(counted.get() + u32::from(waited.is_err()));
            }
            survived.set(1);
            let _ = pending::<()>().wait();
            survived.set(2);
        });
        let stubborn = stubborn.unwrap();
        yield_now().await;
        stubborn.abort();
        assert!(matches!(stubborn.await, Err(JoinError::Cancelled)), "the unwinding is nobody's panic");
        assert_eq!((caught.get(), seen.get()), (3, 1));
        assert_eq!(shard.task_stats().panics, 0);
    });
}

#[test]
fn the_end_of_the_shard_unwinds_what_is_left() {
    let found = Rc::new(RefCell::new(Vec::new()));
    let held = Rc::clone(&found);
    run(async move |shard| {
        let held = WaitsInDrop { shard: shard.clone(), found: held };
        let left = shard.green(move || {
            let _held = held;
            pending::<()>().wait()
        });
        left.unwrap().detach();
        yield_now().await;
    });
    assert_eq!(*found.borrow(), [(Model::Green, Err(Cancelled { cause: Cause::ShardEnded }))]);
}

#[test]
fn a_dropped_handle_lets_the_thread_run_on() {
    run(async |shard| {
        let (sender, receiver) = oneshot::channel(&shard);
        let clock = shard.clone();
        drop(shard.green(move || {
            clock.sleep(NAP).wait().unwrap();
            sender.send("on").unwrap();
        }));
        assert_eq!(receiver.await.unwrap(), "on");
    });
}

#[test]
fn green_threads_run_green_threads() {
    run(async |shard| {
        let inside = shard.clone();
        let outer = shard.green(move || {
            let clock = inside.clone();
            // In a task of its own, and in this one: a future whose poll resumes another green thread.
            let spawned = inside.green(move || clock.sleep(NAP).wait().map(|()| 1)).unwrap();
            let clock = inside.clone();
            let polled = Green::new(inside.scope(), move || clock.sleep(NAP).wait().map(|()| 2)).unwrap();
            let polled = polled.wait().unwrap().unwrap();
            (spawned.wait().unwrap().unwrap().unwrap(), polled, model())
        });
        assert_eq!(outer.unwrap().await.unwrap(), (1, 2, Model::Green));
    });
}

#[test]
fn another_shard_may_be_driven_from_a_green_thread() {
    run(async |shard| {
        let outer = shard.green(|| {
            let inner = Simulation::new(2).run(async |shard| {
                let modest = shard.green(|| (model(), double_waiting())).unwrap();
                (model(), modest.await.unwrap())
            });
            yield_now().wait().unwrap();
            (model(), inner)
        });
        let inner = (Model::Task, (Model::Green, Ok(DOUBLED.to_vec())));
        assert_eq!(outer.unwrap().await.unwrap(), (Model::Green, inner));
    });
}

#[test]
fn a_thread_that_always_could_go_on_gives_way() {
    run(async |shard| {
        let turns = Rc::new(Cell::new(0));
        let (clock, seen) = (shard.clone(), Rc::clone(&turns));
        let greedy = shard.green(move || {
            for _ in 0..10_000 {
                clock.sleep(Duration::ZERO).wait().unwrap();
            }
            seen.get()
        });
        let polite = Rc::clone(&turns);
        let _polite = shard.spawn(async move {
            loop {
                polite.set(polite.get() + 1);
                yield_now().await;
            }
        });
        assert!(greedy.unwrap().await.unwrap() > 50, "others ran in between");
    });
}

/// What `f` panics with.
#[track_caller]
fn panic_of(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    shardwise_shards::panic_text(&*payload).to_owned()
}

const IN_A_TASK: &str = "write `.await`, or make the handler `green(…)`";
const BETWEEN: &str = "no borrow may be held over a suspension point; use the `_async` form";

fn forbidden() {
    let _ = async {}.wait();
}

#[test]
fn waiting_in_the_wrong_place_names_the_remedy() {
    run(async |shard| {
        assert!(panic_of(forbidden).contains(IN_A_TASK), "in a task");
        let nested = shard.green(|| async { panic_of(forbidden) }.wait().unwrap()).unwrap().await.unwrap();
        assert!(nested.contains(IN_A_TASK), "in a future that a green thread waits for");

        struct Hook(Rc<RefCell<String>>);
        impl shardwise_shards::TurnEnd for Hook {
            fn turn_ended(&self, _elapsed: Duration) {
                *self.0.borrow_mut() = panic_of(forbidden);
            }
        }
        let found = Rc::new(RefCell::new(String::new()));
        shard.at_turn_end(Rc::new(Hook(Rc::clone(&found))));
        shard.sleep(NAP).await;
        assert!(found.borrow().contains(BETWEEN), "in a hook of a turn");
    });
    let plain = async { panic_of(forbidden) }.wait().unwrap();
    assert!(plain.contains(IN_A_TASK), "in a future that a thread waits for");
    assert_eq!(async { 1 }.wait(), Ok(1), "which may wait for the next");
}

#[test]
fn closures_of_the_mesh_do_not_wait() {
    let mut simulation = Simulation::new(3);
    let program = simulation.start(2, async |shard: Shard| {
        let parts = PerShard::new(&shard, || 7);
        if shard.number() == 1 {
            shard.drained().await;
            return Ok(());
        }
        let found = |text: Result<String, shardwise_shards::CallError>| text.unwrap().contains(BETWEEN);
        let local = shard.clone();
        let body = move || {
            for to in 0..2 {
                assert!(found(local.on(to, |_| panic_of(forbidden)).wait().unwrap()), "on {to}");
                assert!(found(parts.on(to, |_| panic_of(forbidden)).wait().unwrap()), "a part on {to}");
                assert!(found(parts.on_mut(to, |_| panic_of(forbidden)).wait().unwrap()), "to change a part on {to}");
                let waits = parts.on_async(to, |part| async move { part.with(|_| panic_of(forbidden)).unwrap() });
                assert!(found(waits.wait().unwrap()), "in a part on {to}");
                let posted = Rc::new(());
                local.post(to, |_| assert!(panic_of(forbidden).contains(BETWEEN))).wait().unwrap().unwrap();
                drop(posted);
            }
            // On the spot, in the green thread itself.
            assert!(found(parts.here(|_| panic_of(forbidden))));
            assert!(found(parts.here_mut(|_| panic_of(forbidden))));
            assert_eq!(parts.on(1, |part| *part).wait().unwrap(), Ok(7), "itself it may wait");
            model()
        };
        assert_eq!(shard.green(body).unwrap().await.unwrap(), Model::Green);
        Ok::<(), ()>(())
    });
    simulation.run_for(Duration::from_secs(1));
    program.drain();
    simulation.run_for(Duration::from_secs(1));
    assert_eq!(program.results(), [Some(Ok(())); 2]);
}

#[test]
fn plain_threads_of_a_simulated_machine_wait_on_virtual_time() {
    let mut simulation = Simulation::new(1);
    let found = Rc::new(RefCell::new(Vec::new()));
    for seconds in [3600, 60] {
        let found = Rc::clone(&found);
        let thread = move || {
            assert!(Shard::current().is_none());
            let here = Shard::here();
            let before = here.clock();
            here.sleep(Duration::from_secs(seconds)).wait().unwrap();
            assert!(matches!(here.offload(|| ()).wait().unwrap(), Err(OffloadError::Stopped)), "it is of no runtime");
            let slept = (here.clock() - before).as_secs();
            found.borrow_mut().push((model(), here.backend(), slept, double_waiting()));
        };
        simulation.thread(thread).unwrap();
    }
    assert!(found.borrow().is_empty(), "they run as time passes");
    simulation.run_to_end();
    let expected = |seconds| (Model::Thread, BackendKind::Sim, seconds, Ok(DOUBLED.to_vec()));
    assert_eq!(*found.borrow(), [expected(60), expected(3600)]);
}

#[test]
fn a_panic_of_a_simulated_thread_goes_on_with_whoever_lets_time_pass() {
    let mut simulation = Simulation::new(1);
    let sleeper = || Shard::here().sleep(NAP).wait().unwrap();
    let panics = move || {
        sleeper();
        panic!("late");
    };
    simulation.thread(panics).unwrap();
    simulation.thread(move || (0..10).for_each(|_| sleeper())).unwrap();
    assert_eq!(panic_of(|| simulation.run_to_end()), "late");
    simulation.run_to_end();
    assert!(simulation.machine().elapsed() >= 10 * NAP, "the other one goes on");
}

#[test]
fn the_end_of_a_simulation_unwinds_threads_that_wait_and_drops_those_that_never_ran() {
    struct Waits(Rc<RefCell<Vec<Found>>>);

    impl Drop for Waits {
        fn drop(&mut self) {
            let waited = Shard::here().sleep(NAP).wait();
            self.0.borrow_mut().push((model(), waited));
        }
    }

    let found = Rc::new(RefCell::new(Vec::new()));
    let mut simulation = Simulation::new(1);
    let held = Waits(Rc::clone(&found));
    let waits = move || {
        let _held = held;
        Shard::here().sleep(Duration::from_secs(3600)).wait().unwrap();
    };
    simulation.thread(waits).unwrap();
    simulation.run_for(NAP);
    let captured = Waits(Rc::clone(&found));
    simulation.thread(move || drop(captured)).unwrap();
    drop(simulation);
    assert_eq!(*found.borrow(), [(Model::Thread, Err(Cancelled { cause: Cause::ShardEnded })); 2]);
}
