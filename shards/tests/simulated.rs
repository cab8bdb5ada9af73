//! Operations, alarms and scopes on a simulated machine: virtual time, no threads.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use platform::sim::Plan;
use platform::{Config, Group, ListenOptions, Op, Outcome};
use shardwise_shards::{JoinError, Shard, Simulation, TimedOut, yield_now};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn run<T: 'static>(client: impl AsyncFnOnce(Shard) -> T + 'static) -> T {
    Simulation::new(1).run(client)
}

#[test]
fn alarms_ring_in_order_and_never_early() {
    run(async |shard| {
        let start = shard.now();
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = [3, 1, 2, 3600, 0]
            .into_iter()
            .map(|wait| {
                let (order, sleeper) = (Rc::clone(&order), shard.clone());
                let task = async move {
                    sleeper.sleep(seconds(wait)).await;
                    assert!(sleeper.now() >= start + seconds(wait), "never early");
                    assert!(sleeper.now() <= start + seconds(wait) + Duration::from_millis(2), "hardly late");
                    order.borrow_mut().push(wait);
                };
                shard.spawn(task).unwrap()
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 3600]);
    });
}

/// However late it is polled first, and whether it ever is.
#[test]
fn a_sleep_counts_from_the_turn_that_it_was_made_in() {
    run(async |shard| {
        let start = shard.now();
        let (short, long, _never) = (shard.sleep(seconds(1)), shard.sleep(seconds(5)), shard.sleep(seconds(2)));
        shard.sleep(seconds(3)).await;
        short.await;
        let waited = shard.now() - start;
        assert!(waited >= seconds(3) && waited < seconds(3) + Duration::from_millis(5), "{waited:?}");
        long.await;
        let waited = shard.now() - start;
        assert!(waited >= seconds(5) && waited < seconds(5) + Duration::from_millis(5), "{waited:?}");
        // What nobody waits for any more wakes nobody.
        drop(shard.sleep(seconds(1)));
        shard.sleep(Duration::ZERO).await;
        assert_eq!(shard.timeout(seconds(2), std::future::pending::<()>()).await, Err(TimedOut));
    });
}

#[test]
fn an_alarm_can_be_set_later_and_earlier() {
    run(async |shard| {
        for (first, second) in [(1, 10), (10, 1)] {
            let start = shard.now();
            let mut alarm = shard.alarm(start + seconds(first));
            // Armed by a poll, then set anew.
            assert!(shard.timeout(Duration::from_millis(1), &mut alarm).await.is_err());
            alarm.set(start + seconds(second));
            alarm.await;
            let waited = shard.now() - start;
            assert!(waited >= seconds(second) && waited < seconds(second) + Duration::from_millis(5), "{waited:?}");
        }
    });
}

#[test]
fn a_timeout_drops_the_work_where_it_stands() {
    run(async |shard| {
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let work = async move {
            let _held = inside;
            std::future::pending::<()>().await
        };
        assert_eq!(shard.timeout(seconds(5), work).await, Err(TimedOut));
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(shard.timeout(seconds(5), async { 7 }).await, Ok(7));
    });
}

#[test]
fn dropping_an_operation_at_any_poll_gives_everything_back() {
    for polls in 0..6 {
        run(async move |shard| {
            let holdings = |shard: &Shard| shard.with_reactor(|reactor| reactor.holdings());
            let baseline = holdings(&shard);
            let address = "10.0.0.1:80".parse().unwrap();
            let options = ListenOptions::default();
            let listen = |shard: &Shard| {
                shard.with_reactor(|reactor| {
                    let socket = reactor.listen(address, 1, &options).unwrap().remove(0);
                    reactor.adopt(socket).unwrap()
                })
            };
            let listener = listen(&shard);
            {
                let inner = shard.clone();
                let mut work = std::pin::pin!(async move {
                    let mut accepts = inner.start(Op::Accept { listener }).unwrap();
                    let socket = inner.with_reactor(|reactor| reactor.stream_socket(address)).unwrap();
                    inner.start(Op::Connect { socket, peer: address }).unwrap().await.result.unwrap();
                    let Ok(Outcome::Accepted(accepted)) = accepts.next().await.result else { panic!() };
                    let send = Op::Send { socket, data: "hello".into(), zero_copy: false };
                    inner.start(send).unwrap().await.result.unwrap();
                    let mut receive = inner.start(Op::Receive { socket: accepted, group: Group::Heads }).unwrap();
                    let Ok(Outcome::Received(chunk)) = receive.next().await.result else { panic!() };
                    assert_eq!(&*chunk, b"hello");
                    inner.with_reactor(|reactor| reactor.close(socket));
                    inner.with_reactor(|reactor| reactor.close(accepted));
                });
                let mut polled = 0;
                std::future::poll_fn(|cx| {
                    if polled == polls {
                        return std::task::Poll::Ready(());
                    }
                    polled += 1;
                    work.as_mut().poll(cx)
                })
                .await;
            }
            shard.with_reactor(|reactor| reactor.close(listener));
            shard.sleep(seconds(1)).await;
            let after = holdings(&shard);
            assert_eq!(after.operations, baseline.operations, "operations, dropped after {polls} polls");
            let stats = shard.pool().stats();
            assert_eq!((stats.heads_leased, stats.pooled_bytes), (0, 0), "leases, dropped after {polls} polls");
        });
    }
}

#[test]
fn a_task_whose_operations_never_wait_gives_way() {
    run(async |shard| {
        let turns = Rc::new(Cell::new(0u32));
        let (greedy, seen) = (shard.clone(), Rc::clone(&turns));
        let greedy = shard
            .spawn(async move {
                // Each of these is ready at once; only the budget makes the task yield.
                for _ in 0..10_000 {
                    greedy.sleep(Duration::ZERO).await;
                }
                seen.get()
            })
            .unwrap();
        let polite = Rc::clone(&turns);
        let _polite = shard.spawn(async move {
            loop {
                polite.set(polite.get() + 1);
                yield_now().await;
            }
        });
        assert!(greedy.await.unwrap() > 50, "others ran in between");
    });
}

#[test]
fn an_aborted_task_is_dropped_and_says_so() {
    run(async |shard| {
        let task = shard.spawn(std::future::pending::<()>()).unwrap();
        task.abort();
        assert!(matches!(task.await, Err(JoinError::Cancelled)));
    });
}

#[test]
fn local_values_are_made_once() {
    run(async |shard| {
        let made = shard.local(|| Cell::new(1));
        made.set(2);
        assert_eq!(shard.local(|| Cell::new(1)).get(), 2);
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| {
        let mut simulation = Simulation::new(seed);
        simulation.run(async |shard| {
            for _ in 0..10 {
                shard.sleep(Duration::from_micros(shard.random() % 1_000_000)).await;
            }
        });
        (simulation.machine().elapsed(), simulation.machine().trace_hash())
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5).0, trace(6).0);
}

/// A program of two shards, each of which notes when it runs, beside a client that waits.
fn notes_of_two_shards(seed: u64, plan: Plan) -> (Vec<Vec<Duration>>, u64) {
    let mut simulation = Simulation::with_plan(seed, plan, Config::default());
    let begin = simulation.machine().now();
    let notes = Rc::new(std::cell::RefCell::new(vec![Vec::new(); 2]));
    let inside = Rc::clone(&notes);
    simulation.start(2, async move |shard| {
        for _ in 0..100 {
            // An operation, so that the shard learns something from its machine.
            let until = shard.now() + Duration::from_millis(1);
            shard.start(Op::Sleep { until }).expect("room for a sleep").await.result.expect("it elapses");
            inside.borrow_mut()[shard.number()].push(shard.now() - begin);
        }
        Ok::<(), ()>(())
    });
    simulation.run_to_end();
    (notes.take(), simulation.machine().trace_hash())
}

#[test]
fn a_stalled_shard_stands_still_while_others_go_on() {
    let plan = Plan { stalls: 0.1, ..Plan::CALM };
    let (notes, _) = notes_of_two_shards(3, plan);
    for own in 0..2 {
        let own_notes = &notes[own];
        assert_eq!(own_notes.len(), 100, "it does all of its work");
        let stalled = own_notes.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(5));
        let meanwhile = stalled.map(|pair| {
            let is_inside = |at: &&Duration| **at > pair[0] && **at < pair[1];
            notes[1 - own].iter().filter(is_inside).count()
        });
        let meanwhile: Vec<usize> = meanwhile.collect();
        assert!(meanwhile.len() > 2 && meanwhile.iter().any(|&count| count > 4), "{meanwhile:?}");
    }
    let (calm, _) = notes_of_two_shards(3, Plan::CALM);
    assert!(calm[0].windows(2).all(|pair| pair[1] - pair[0] < Duration::from_millis(2)));
}

#[test]
fn a_hostile_run_is_the_same_on_another_thread() {
    for seed in 0..5 {
        let here = notes_of_two_shards(seed, Plan::HOSTILE);
        let there = std::thread::scope(|scope| {
            scope.spawn(|| notes_of_two_shards(seed, Plan::HOSTILE)).join().expect("the same run passes")
        });
        assert_eq!(here, there, "seed {seed}");
    }
}

#[test]
#[should_panic(expected = "replay with SHARDWISE_SEED=42")]
fn a_run_that_is_stuck_says_how_to_replay_it() {
    Simulation::new(42).run(async |_| std::future::pending::<()>().await);
}

/// A program that always has something to do, so that only a limit ends a run of it.
#[test]
fn a_run_can_be_bounded_in_time() {
    let mut simulation = Simulation::new(1);
    let beats = Rc::new(Cell::new(0));
    let counted = Rc::clone(&beats);
    simulation.start(2, async move |shard: Shard| -> Result<(), ()> {
        loop {
            shard.sleep(seconds(1)).await;
            counted.set(counted.get() + 1);
        }
    });
    simulation.run_for(seconds(10) + Duration::from_millis(10));
    assert_eq!((beats.get(), simulation.machine().elapsed()), (20, seconds(10) + Duration::from_millis(10)));

    let begin = simulation.machine().elapsed();
    assert!(simulation.run_until(seconds(100), || beats.get() >= 40), "it is done before the limit");
    assert!(simulation.machine().elapsed() < begin + seconds(11));
    assert!(!simulation.run_until(seconds(1), || beats.get() >= 1000), "it is not done");
    assert!(simulation.machine().elapsed() < begin + seconds(13));
}
