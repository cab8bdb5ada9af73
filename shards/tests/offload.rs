//! Jobs on the runtime's pool of threads, and on a simulated machine: bounds, cancellation before and after a job has begun,
//! panics, ends, counts.

#![allow(clippy::disallowed_methods, reason = "threads beside the shards are what is tested")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use platform::sim::Plan;
use platform::{BackendKind, Config};
use shardwise_shards::models::shielded;
use shardwise_shards::sync::oneshot;
use shardwise_shards::{
    Builder, Cancelled, Cause, Model, Offload, OffloadError, RunError, Runtime, Shard, ShardStats, Simulation, Wait,
    model, offload, panic_text, yield_now,
};

const LONG: Duration = Duration::from_secs(20);

fn shards(count: usize) -> Builder {
    Runtime::builder().shards(count).oversubscribe(true).handle_signals(false).announce(false)
}

/// Runs `main` on real threads and on simulated shards.
#[track_caller]
fn check(builder: impl Fn() -> Builder, simulation: impl Fn(u64) -> Simulation, main: fn(Shard) -> Main) {
    let run = builder().run(async move |shard: Shard| {
        main(shard).0.await;
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
    for seed in 0..20 {
        simulation(seed).run(async move |shard| main(shard).0.await);
    }
}

/// A program, of whichever kind.
struct Main(std::pin::Pin<Box<dyn Future<Output = ()>>>);

fn main(work: impl Future<Output = ()> + 'static) -> Main {
    Main(Box::pin(work))
}

/// A door that jobs wait at. It opens by itself after a long time, so that no test hangs.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (is_open, opens) = &*self.0;
        drop(opens.wait_timeout_while(is_open.lock().unwrap(), LONG, |is_open| !*is_open).unwrap());
    }
}

/// Waits for all jobs, which are under way already.
async fn all<R>(jobs: impl IntoIterator<Item = Offload<R>>) -> Vec<Result<R, OffloadError>> {
    let mut results = Vec::new();
    for job in jobs.into_iter().collect::<Vec<_>>() {
        results.push(job.await);
    }
    results
}

async fn until(shard: &Shard, what: impl Fn() -> bool) {
    let end = shard.now() + LONG;
    while !what() {
        assert!(shard.now() < end, "it takes too long");
        shard.sleep(Duration::from_millis(1)).await;
    }
}

/// Jobs that were taken, by what became of them: they are nowhere else.
fn taken(stats: &ShardStats) -> u64 {
    stats.offload_done.get() + stats.offload_cancelled.get()
}

#[track_caller]
fn check_quiet(stats: &ShardStats) {
    assert_eq!((stats.offload_queued.get(), stats.offload_running.get()), (0, 0), "jobs that wait and run");
}

#[test]
fn a_job_runs_beside_the_shard_and_its_value_comes_home() {
    check(
        || shards(2),
        Simulation::new,
        |shard| {
            main(async move {
                assert!(!offload::is_cancelled());
                for number in 0..50 {
                    let job = move || {
                        assert!(Shard::current().is_none(), "no shard is the current one there");
                        assert!(!offload::is_cancelled());
                        number + 1
                    };
                    assert_eq!(shard.offload(job).await.unwrap(), number + 1);
                    assert!(Shard::current().is_some());
                }
                let jobs = (0..50).map(|number| shard.offload(move || number));
                let all: Vec<u64> = all(jobs).await.into_iter().map(Result::unwrap).collect();
                assert_eq!(all, (0..50).collect::<Vec<_>>());
                assert_eq!(shard.stats().offload_done.get(), 100);
                check_quiet(shard.stats());
            })
        },
    );
}

#[test]
fn threads_of_the_pool_have_names_and_may_run_on_all_cpus() {
    let allowed = || std::fs::read_to_string("/proc/thread-self/status").ok().map(|status| cpus_of(&status));
    fn cpus_of(status: &str) -> String {
        status.lines().find(|line| line.starts_with("Cpus_allowed:")).unwrap_or_default().to_owned()
    }
    let everywhere = allowed();
    // As many shards as CPUs, so that they are pinned.
    let run = Runtime::builder().handle_signals(false).announce(false).run(async move |shard: Shard| {
        let (name, cpus) = shard
            .offload(move || (thread::current().name().map(str::to_owned), allowed()))
            .await
            .expect("there is room for a job");
        assert!(name.as_ref().is_some_and(|name| name.starts_with("offload-")), "{name:?}");
        assert_eq!(cpus, everywhere);
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
}

#[test]
fn no_more_jobs_run_at_once_than_there_may_be_threads() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let run = shards(2).offload_threads(3).run(async move |shard: Shard| {
        let jobs = (0..50).map(|_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            shard.offload(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(1));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        assert!(all(jobs).await.iter().all(Result::is_ok));
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_jobs_again_later() {
    let door = Door::default();
    let run = shards(1).offload_threads(1).offload_queue(3).run(async move |shard: Shard| {
        let stats = Arc::clone(shard.stats());
        let held = door.clone();
        let running = shard.offload(move || held.pass());
        until(&shard, || stats.offload_running.get() == 1).await;
        let mut waiting: Vec<Offload<u32>> = (0..3).map(|number| shard.offload(move || number)).collect();
        assert_eq!(stats.offload_queued.get(), 3);
        let began = shard.clock();
        assert!(matches!(shard.offload(|| 0).await, Err(OffloadError::Full)));
        assert!(shard.clock() - began < LONG / 4, "at once");
        assert_eq!(stats.offload_refused.get(), 1);
        // One that is given up makes room.
        drop(waiting.remove(1));
        waiting.push(shard.offload(|| 7));
        assert_eq!((stats.offload_queued.get(), stats.offload_cancelled.get()), (3, 1));
        door.open();
        assert!(running.await.is_ok());
        let results: Vec<u32> = all(waiting).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, [0, 2, 7]);
        assert_eq!(stats.offload_done.get(), 4);
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
}

/// Says on which thread it is dropped.
struct Traced(Arc<Mutex<Vec<String>>>);

impl Drop for Traced {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().name().unwrap_or_default().to_owned());
    }
}

#[test]
fn a_job_that_is_given_up_before_it_begins_never_runs() {
    let door = Door::default();
    let run = shards(1).offload_threads(1).run(async move |shard: Shard| {
        let (held, ran, dropped) = (door.clone(), Arc::new(AtomicBool::new(false)), Arc::default());
        let running = shard.offload(move || held.pass());
        until(&shard, || shard.stats().offload_running.get() == 1).await;
        let (seen, capture) = (Arc::clone(&ran), Traced(Arc::clone(&dropped)));
        let waiting = shard.offload(move || {
            drop(capture);
            seen.store(true, Ordering::SeqCst);
        });
        drop(waiting);
        assert_eq!(*dropped.lock().unwrap(), ["shard-0"], "dropped at once, here");
        // One that is cancelled says so.
        let cancelled = shard.offload(|| ());
        cancelled.cancel();
        assert!(matches!(cancelled.await, Err(OffloadError::Cancelled)));
        assert_eq!((shard.stats().offload_cancelled.get(), shard.stats().offload_queued.get()), (2, 0));
        door.open();
        assert!(running.await.is_ok());
        assert!(shard.offload(|| ()).await.is_ok(), "what was behind it has had its chance");
        assert!(!ran.load(Ordering::SeqCst));
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
}

#[test]
fn a_job_that_is_given_up_while_it_runs_sees_that_and_its_result_is_dropped_there() {
    let run = shards(1).run(async move |shard: Shard| {
        let stats = Arc::clone(shard.stats());
        for by_scope in [false, true] {
            let (begun, dropped) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<String>>>::default());
            let (begins, result) = (Arc::clone(&begun), Traced(Arc::clone(&dropped)));
            let done = stats.offload_done.get();
            let job = shard.offload(move || {
                begins.store(true, Ordering::SeqCst);
                let end = Instant::now() + LONG;
                while !offload::is_cancelled() && Instant::now() < end {
                    thread::sleep(Duration::from_millis(1));
                }
                assert!(offload::is_cancelled(), "it is told");
                result
            });
            match by_scope {
                false => {
                    until(&shard, || begun.load(Ordering::SeqCst)).await;
                    drop(job);
                }
                true => {
                    let scope = shard.scope().child("request").unwrap();
                    let task = scope.spawn(scope.run(job)).unwrap();
                    until(&shard, || begun.load(Ordering::SeqCst)).await;
                    scope.cancel("the client is gone");
                    assert!(task.await.unwrap().is_err());
                }
            }
            until(&shard, || dropped.lock().unwrap().len() == 1).await;
            assert!(dropped.lock().unwrap()[0].starts_with("offload-"), "{dropped:?}");
            assert_eq!((stats.offload_done.get(), stats.offload_panicked.get()), (done + 1, 0));
        }
        // A cancelled one that is still waited for gives what it has.
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let job = shard.offload(move || {
            begins.store(true, Ordering::SeqCst);
            let end = Instant::now() + LONG;
            while !offload::is_cancelled() && Instant::now() < end {
                thread::yield_now();
            }
            "half of it"
        });
        until(&shard, || begun.load(Ordering::SeqCst)).await;
        job.cancel();
        assert_eq!(job.await.unwrap(), "half of it");
        check_quiet(&stats);
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
}

#[test]
fn a_job_may_wait_until_it_is_cancelled() {
    check(
        || shards(1),
        Simulation::new,
        |shard| {
            main(async move {
                let (begun, waited) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
                let (begins, outcome) = (Arc::clone(&begun), Arc::clone(&waited));
                let kind = shard.backend();
                let job = shard.offload(move || {
                    assert_eq!(model(), Model::Offload);
                    let here = Shard::here();
                    assert_eq!((here.number(), here.count()), (0, 1), "a shard of its own");
                    assert_eq!(here.backend() == BackendKind::Sim, kind == BackendKind::Sim);
                    assert_eq!(here.sleep(Duration::from_millis(1)).wait(), Ok(()));
                    let refused = here.offload(|| ()).wait().unwrap();
                    assert!(matches!(refused, Err(OffloadError::Stopped)), "a thread's own shard is of no runtime");
                    assert!(Shard::current().is_none());
                    begins.store(true, Ordering::SeqCst);
                    let cancelled = here.sleep(Duration::from_secs(3600)).wait();
                    assert_eq!(here.sleep(Duration::from_millis(1)).wait(), cancelled, "once and for all");
                    assert!(offload::is_cancelled());
                    let before = here.clock();
                    assert_eq!(shielded(|| here.sleep(Duration::from_millis(1)).wait()), Ok(()));
                    assert!(here.clock() - before >= Duration::from_millis(1));
                    *outcome.lock().unwrap() = Some(cancelled);
                });
                until(&shard, || begun.load(Ordering::SeqCst)).await;
                drop(job);
                until(&shard, || waited.lock().unwrap().is_some()).await;
                assert_eq!(*waited.lock().unwrap(), Some(Err(Cancelled { cause: Cause::Dropped })));
                until(&shard, || shard.stats().offload_running.get() == 0).await;
                check_quiet(shard.stats());
                assert_eq!((shard.stats().offload_done.get(), shard.stats().offload_panicked.get()), (1, 0));
                // One that is cancelled and still waited for says what its waits gave.
                let job = shard.offload(|| Shard::here().sleep(Duration::from_secs(3600)).wait());
                until(&shard, || shard.stats().offload_running.get() == 1).await;
                job.cancel();
                let asked = Cancelled { cause: Cause::Asked("the job was cancelled") };
                assert_eq!(job.await.unwrap(), Err(asked));
            })
        },
    );
}

#[test]
fn a_job_that_waits_keeps_its_thread_and_lets_the_shards_go_on() {
    check(
        || shards(1).offload_threads(1),
        |seed| {
            let mut simulation = Simulation::new(seed);
            simulation.set_offload(Some(1), None);
            simulation
        },
        |shard| {
            main(async move {
                let (order, let_go) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
                let (notes, door) = (Arc::clone(&order), Arc::clone(&let_go));
                let waits = shard.offload(move || {
                    notes.lock().unwrap().push("begins");
                    while !door.load(Ordering::Relaxed) {
                        Shard::here().sleep(Duration::from_millis(1)).wait().unwrap();
                    }
                    notes.lock().unwrap().push("ends");
                });
                until(&shard, || !order.lock().unwrap().is_empty()).await;
                let notes = Arc::clone(&order);
                let next = shard.offload(move || notes.lock().unwrap().push("next"));
                shard.sleep(Duration::from_millis(30)).await;
                assert_eq!(*order.lock().unwrap(), ["begins"], "the shard goes on, and the next job does not begin");
                let_go.store(true, Ordering::Relaxed);
                assert!(waits.await.is_ok() && next.await.is_ok());
                assert_eq!(*order.lock().unwrap(), ["begins", "ends", "next"]);
            })
        },
    );
}

#[test]
fn tasks_of_a_jobs_own_shard_run_while_it_waits() {
    check(
        || shards(1),
        Simulation::new,
        |shard| {
            main(async move {
                let sum = shard.offload(|| {
                    let here = Shard::here();
                    let (sender, receiver) = oneshot::channel(&here);
                    let sleeper = here.clone();
                    let green = here.green(move || {
                        sleeper.sleep(Duration::from_millis(2)).wait().unwrap();
                        sender.send(3).unwrap();
                        4
                    });
                    let (green, sleeper) = (green.unwrap(), here.clone());
                    let task = here.spawn(async move { sleeper.sleep(Duration::from_millis(1)).await });
                    let task = task.unwrap();
                    // Left behind: it ends with the thread.
                    here.spawn(std::future::pending::<()>()).unwrap().detach();
                    task.wait().unwrap().unwrap();
                    receiver.wait().unwrap().unwrap() + green.wait().unwrap().unwrap()
                });
                assert_eq!(sum.await.unwrap(), 7);
            })
        },
    );
}

#[test]
fn a_panic_after_a_wait_comes_back_and_its_destructors_run() {
    check(
        || shards(1),
        Simulation::new,
        |shard| {
            main(async move {
                let dropped = Arc::<Mutex<Vec<String>>>::default();
                let traced = Traced(Arc::clone(&dropped));
                let panicked = shard.offload(move || {
                    let _traced = traced;
                    Shard::here().sleep(Duration::from_millis(1)).wait().unwrap();
                    let caught = catch_unwind(|| async { panic!("caught") }.wait());
                    assert!(caught.is_err());
                    yield_now().wait().unwrap();
                    panic!("late");
                });
                let Err(OffloadError::Panicked(payload)) = panicked.await.map(|never: ()| never) else { panic!() };
                assert_eq!((panic_text(&*payload), dropped.lock().unwrap().len()), ("late", 1));
                assert_eq!(shard.stats().offload_panicked.get(), 1);
                assert_eq!(shard.offload(|| yield_now().wait()).await.unwrap(), Ok(()), "the pool goes on");
            })
        },
    );
}

#[test]
fn a_panic_comes_back_to_whoever_waits_who_may_go_on_with_it() {
    check(
        || shards(1),
        Simulation::new,
        |shard| {
            main(async move {
                let panicked = shard.offload(|| -> u32 { panic!("no {}", 7) }).await;
                let Err(error @ OffloadError::Panicked(_)) = panicked else { panic!("{panicked:?}") };
                assert_eq!(error.to_string(), "the job panicked: no 7");
                let OffloadError::Panicked(payload) = error else { unreachable!() };
                let again = catch_unwind(AssertUnwindSafe(|| resume_unwind(payload))).unwrap_err();
                assert_eq!(panic_text(&*again), "no 7");
                assert_eq!(shard.offload(|| 8).await.unwrap(), 8, "the pool goes on");
                let stats = shard.stats();
                assert_eq!((stats.offload_done.get(), stats.offload_panicked.get()), (2, 1));
            })
        },
    );
}

#[test]
fn a_result_that_comes_to_a_shard_that_has_ended_harms_nobody() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&ended);
    let run = shards(2).run(async move |shard: Shard| {
        for _ in 0..3 {
            let ended = Arc::clone(&ended);
            let job = shard.offload(move || {
                // Until the shard's end drops whoever waits, and a moment longer.
                let end = Instant::now() + LONG;
                while !offload::is_cancelled() && Instant::now() < end {
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_millis(30));
                ended.fetch_add(1, Ordering::SeqCst);
                Traced(Arc::default())
            });
            shard.spawn(job).unwrap().detach();
        }
        until(&shard, || shard.stats().offload_running.get() > 0).await;
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
    assert!(seen.load(Ordering::SeqCst) >= 2, "the runtime has waited for what ran");
}

#[test]
fn what_is_not_done_when_the_drain_limit_passes_is_left_behind() {
    let (door, ended) = (Door::default(), Arc::new(AtomicBool::new(false)));
    let (held, seen) = (door.clone(), Arc::clone(&ended));
    let began = Instant::now();
    let run = shards(1).drain_time_max(Duration::from_millis(300)).run(async move |shard: Shard| {
        let (held, seen) = (held.clone(), Arc::clone(&seen));
        let job = shard.offload(move || {
            held.pass();
            seen.store(true, Ordering::SeqCst);
        });
        until(&shard, || shard.stats().offload_running.get() == 1).await;
        drop(job);
        Ok::<_, String>(())
    });
    assert!(matches!(run, Err(RunError::DrainTimedOut)), "{run:?}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(300) && waited < LONG / 2, "{waited:?}");
    assert!(!ended.load(Ordering::SeqCst));
    door.open();
    let end = Instant::now() + LONG;
    while !ended.load(Ordering::SeqCst) {
        assert!(Instant::now() < end, "it runs to its end all the same");
        thread::yield_now();
    }
}

#[test]
fn a_shard_that_ends_takes_no_more_jobs() {
    /// Offloads when it is dropped.
    struct Late(Shard, Rc<RefCell<Option<Offload<()>>>>);

    impl Drop for Late {
        fn drop(&mut self) {
            *self.1.borrow_mut() = Some(self.0.offload(|| ()));
        }
    }

    let mut simulation = Simulation::new(1);
    let late = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&late);
    let program = simulation.start(1, async move |shard| {
        let late = Late(shard.clone(), Rc::clone(&seen));
        shard.spawn(async move { drop((std::future::pending::<()>().await, late)) }).unwrap().detach();
        Ok::<_, String>(())
    });
    simulation.run_to_end();
    program.remotes[0].send(|shard| shard.scope().cancel("enough")).unwrap();
    simulation.run_to_end();
    let late = late.borrow_mut().take().expect("its task was dropped");
    let result = simulation.run(async move |_| late.await);
    assert!(matches!(result, Err(OffloadError::Stopped)), "{result:?}");
}

/// As many jobs as the environment asks for.
fn job_count() -> usize {
    std::env::var("SHARDWISE_OFFLOAD_JOBS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000)
}

#[test]
fn a_hundred_thousand_jobs_are_each_run_or_given_up_and_counted_once() {
    let (ran, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));

    /// Counts its end.
    struct Capture(Arc<AtomicUsize>);

    impl Drop for Capture {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let stats = Arc::new(Mutex::new(Vec::new()));
    let each = job_count() / 4;
    let (ran_there, dropped_there, stats_of) = (Arc::clone(&ran), Arc::clone(&dropped), Arc::clone(&stats));
    let run = shards(4).offload_threads(3).offload_queue(100).run(async move |shard: Shard| {
        stats_of.lock().unwrap().push(Arc::clone(shard.stats()));
        let tasks: Vec<_> = (0..90)
            .map(|task| {
                let (there, ran, dropped) = (shard.clone(), Arc::clone(&ran_there), Arc::clone(&dropped_there));
                let count = each / 90 + usize::from(task < each % 90);
                let work = async move {
                    for number in 0..count {
                        let (ran, capture) = (Arc::clone(&ran), Capture(Arc::clone(&dropped)));
                        let job = there.offload(move || {
                            let _capture = capture;
                            ran.fetch_add(1, Ordering::Relaxed);
                            number
                        });
                        match there.random() % 4 {
                            0 => drop(job),
                            1 => {
                                let _ = there.timeout(Duration::from_micros(50), job).await;
                            }
                            2 => {
                                yield_now().await;
                                job.cancel();
                                assert!(matches!(job.await, Ok(_) | Err(OffloadError::Cancelled)));
                            }
                            _ => assert_eq!(job.await.unwrap(), number),
                        }
                    }
                };
                shard.spawn(work).unwrap()
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        Ok::<_, String>(())
    });
    assert!(run.is_ok(), "{run:?}");
    let stats = stats.lock().unwrap();
    let sum = |read: fn(&ShardStats) -> u64| stats.iter().map(|stats| read(stats)).sum::<u64>() as usize;
    let total = 4 * each;
    let (done, cancelled, refused) = (
        sum(|stats| stats.offload_done.get()),
        sum(|stats| stats.offload_cancelled.get()),
        sum(|stats| stats.offload_refused.get()),
    );
    assert_eq!((done + cancelled, refused), (total, 0), "each is counted once");
    assert_eq!(done, ran.load(Ordering::Relaxed), "those that are done have run");
    assert_eq!(dropped.load(Ordering::Relaxed), total, "nothing is kept");
    stats.iter().for_each(|stats| check_quiet(stats));
    println!("{total} jobs: {done} done, {cancelled} cancelled before they began");
}

/// A program of three shards whose jobs end, panic, are given up or refused, as the seed decides. Gives what it has noted, and
/// the machine's trace.
fn noted(seed: u64) -> (Vec<(Duration, usize, usize, &'static str)>, u64) {
    let mut simulation = Simulation::new(seed);
    simulation.set_offload(Some(2), Some(6));
    let begin = simulation.machine().now();
    let (notes, running) = (Rc::new(RefCell::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let inside = Rc::clone(&notes);
    let program = simulation.start(3, async move |shard| {
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let (there, notes, running) = (shard.clone(), Rc::clone(&inside), Arc::clone(&running));
                let work = async move {
                    there.sleep(Duration::from_micros(there.random() % 30_000)).await;
                    let (limit, panics) = (Duration::from_micros(there.random() % 30_000), there.random() % 8 == 0);
                    let job = there.offload(move || {
                        assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "all is one thread");
                        let is_cancelled = offload::is_cancelled();
                        running.fetch_sub(1, Ordering::Relaxed);
                        assert!(!panics, "by chance");
                        is_cancelled
                    });
                    let what = match there.timeout(limit, job).await {
                        Ok(Ok(false)) => "done",
                        Ok(Ok(true)) => unreachable!("nobody has cancelled it"),
                        Ok(Err(OffloadError::Panicked(_))) => "panicked",
                        Ok(Err(OffloadError::Full)) => "refused",
                        Ok(Err(error)) => panic!("{error}"),
                        Err(_) => "given up",
                    };
                    notes.borrow_mut().push((there.clock() - begin, there.number(), task, what));
                };
                shard.spawn(work).unwrap()
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        // What was given up and had begun goes on.
        until(&shard, || shard.stats().offload_running.get() == 0).await;
        let stats = shard.stats();
        assert_eq!(taken(stats) + stats.offload_refused.get(), 20);
        check_quiet(stats);
        Ok::<_, String>(())
    });
    simulation.run_to_end();
    assert!(program.results().into_iter().all(|result| result == Some(Ok(()))), "seed {seed}");
    (notes.take(), simulation.machine().trace_hash())
}

#[test]
fn a_simulated_run_is_the_same_whenever_it_runs_and_all_that_may_happen_does() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (notes, trace) = noted(seed);
        assert_eq!((notes.clone(), trace), noted(seed), "seed {seed}");
        assert_eq!(notes.len(), 60);
        seen.extend(notes.into_iter().map(|(_, _, _, what)| what));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["done", "given up", "panicked", "refused"]);
    assert_ne!(noted(1).0, noted(2).0);
}

#[test]
fn a_simulated_job_takes_time_in_which_it_may_be_cancelled() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut simulation = Simulation::new(seed);
        let seen = Arc::new(Mutex::new(None));
        let job_sees = Arc::clone(&seen);
        simulation.set_offload(Some(1), None);
        let began = simulation.machine().now();
        let stats = simulation.run(async move |shard| {
            let before = shard.spawn(shard.offload(|| ())).unwrap();
            let job = shard.offload(move || *job_sees.lock().unwrap() = Some(offload::is_cancelled()));
            shard.sleep(Duration::from_micros(shard.random() % 25_000)).await;
            drop((job, before));
            Arc::clone(shard.stats())
        });
        // The shard is gone; its jobs are not.
        simulation.run_to_end();
        let saw = *seen.lock().unwrap();
        check_quiet(&stats);
        assert_eq!(taken(&stats), 2, "seed {seed}");
        assert!(saw.is_some() || stats.offload_cancelled.get() > 0, "seed {seed}");
        assert_eq!(Arc::strong_count(&seen), 1, "nothing is left, seed {seed}");
        assert!(simulation.machine().now() - began < Duration::from_millis(50));
        outcomes.insert(saw);
    }
    assert_eq!(outcomes.len(), 3, "before, during and after: {outcomes:?}");
}

#[test]
fn one_seed_lets_jobs_overtake_each_other() {
    let orders = |seed| {
        let mut simulation = Simulation::new(seed);
        simulation.set_offload(Some(1), None);
        simulation.run(async |shard| {
            let order = Arc::new(Mutex::new(Vec::new()));
            let jobs = (0..5).map(|number| {
                let order = Arc::clone(&order);
                shard.offload(move || order.lock().unwrap().push(number))
            });
            assert!(all(jobs).await.iter().all(Result::is_ok));
            Arc::try_unwrap(order).unwrap().into_inner().unwrap()
        })
    };
    let all: std::collections::BTreeSet<Vec<u32>> = (0..30).map(orders).collect();
    assert!(all.len() > 10, "{all:?}");
    assert_eq!(orders(3), orders(3));
}

/// Notes what a wait in its destructor gives.
struct WaitsInDrop(Arc<Mutex<Vec<Result<(), Cancelled>>>>);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        let waited = Shard::here().sleep(Duration::from_millis(1)).wait();
        self.0.lock().unwrap().push(waited);
    }
}

#[test]
fn the_end_of_a_simulation_unwinds_jobs_that_wait() {
    let found = Arc::<Mutex<Vec<_>>>::default();
    let mut simulation = Simulation::new(1);
    let caught = Arc::new(AtomicUsize::new(0));
    let (held, stubborn) = (WaitsInDrop(Arc::clone(&found)), Arc::clone(&caught));
    let (stats, waiting) = simulation.run(async move |shard| {
        let (polite, stubborn) = (
            shard.offload(move || {
                let _held = held;
                Shard::here().sleep(Duration::from_secs(3600)).wait()
            }),
            shard.offload(move || {
                while stubborn.load(Ordering::Relaxed) < 3 {
                    let waited = catch_unwind(|| Shard::here().sleep(Duration::from_secs(3600)).wait());
                    assert!(waited.is_err(), "it is unwound, again and again");
                    stubborn.fetch_add(1, Ordering::Relaxed);
                }
                Shard::here().sleep(Duration::from_secs(3600)).wait()
            }),
        );
        until(&shard, || shard.stats().offload_running.get() == 2).await;
        shard.sleep(Duration::from_millis(50)).await;
        (Arc::clone(shard.stats()), [polite, stubborn])
    });
    assert!(found.lock().unwrap().is_empty(), "they go on without their shard");
    drop(simulation);
    assert_eq!(*found.lock().unwrap(), [Err(Cancelled { cause: Cause::ShardEnded })]);
    assert_eq!(caught.load(Ordering::Relaxed), 3);
    check_quiet(&stats);
    assert_eq!(stats.offload_panicked.get(), 0, "that is nobody's panic");
    let outcomes = Simulation::new(2).run(async move |_| all(waiting).await);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(OffloadError::Stopped))), "{outcomes:?}");
}

#[test]
fn destructors_of_a_simulated_job_wait_when_nothing_unwinds_and_not_after_a_panic() {
    let found = Arc::<Mutex<Vec<_>>>::default();
    let (calm, panicked) = (WaitsInDrop(Arc::clone(&found)), WaitsInDrop(Arc::clone(&found)));
    Simulation::new(1).run(async move |shard| {
        shard.offload(move || drop(calm)).await.unwrap();
        let job = shard.offload(move || {
            let _held = panicked;
            panic!("its destructors run");
        });
        assert!(matches!(job.await.map(|never: ()| never), Err(OffloadError::Panicked(_))));
    });
    assert_eq!(*found.lock().unwrap(), [Ok(()), Err(Cancelled { cause: Cause::Asked("the thread panics") })]);
}

#[test]
fn a_simulated_job_whose_waits_are_over_at_once_lets_time_pass() {
    Simulation::new(1).run(async |shard| {
        let job = shard.offload(|| {
            let here = Shard::here();
            let end = here.clock() + Duration::from_millis(1);
            let mut waits = 0;
            while here.clock() < end {
                async { waits += 1 }.wait().unwrap();
            }
            waits
        });
        assert!(job.await.unwrap() > 128);
    });
}

#[test]
fn a_simulation_inside_another_ones_job_or_task_keeps_jobs_apart() {
    let inner = |seed| {
        move || {
            Simulation::new(seed).run(async |shard: Shard| {
                let nap = || {
                    assert!(Shard::current().is_none());
                    (model(), Shard::here().sleep(Duration::from_secs(1)).wait())
                };
                assert_eq!(shard.offload(nap).await.unwrap(), (Model::Offload, Ok(())));
            });
        }
    };
    Simulation::new(1).run(async move |shard: Shard| {
        inner(2)();
        let job = shard.offload(move || {
            let before = Shard::here().clock();
            yield_now().wait().unwrap();
            inner(3)();
            assert!(Shard::current().is_none());
            Shard::here().sleep(Duration::from_millis(1)).wait().unwrap();
            (model(), Shard::here().clock() - before < Duration::from_millis(10))
        });
        assert_eq!(job.await.unwrap(), (Model::Offload, true));
    });
}

/// Jobs that sleep, each other's and their own tasks' time, and are cancelled while they do, on a machine that goes wrong; gives
/// what came of them and when, and the machine's trace.
fn waited(seed: u64) -> (Vec<(Duration, usize, String)>, u64) {
    let mut simulation = Simulation::with_plan(seed, Plan::HOSTILE, Config::default());
    simulation.set_offload(Some(3), None);
    let begin = simulation.machine().now();
    let notes = Rc::new(RefCell::new(Vec::new()));
    let inside = Rc::clone(&notes);
    let program = simulation.start(2, async move |shard| {
        let tasks: Vec<_> = (0..10)
            .map(|task| {
                let (there, notes) = (shard.clone(), Rc::clone(&inside));
                let work = async move {
                    there.sleep(Duration::from_micros(there.random() % 30_000)).await;
                    let limit = Duration::from_micros(there.random() % 100_000);
                    let (is_cancelled, panics) = (there.random() % 2 == 0, there.random() % 8 == 0);
                    let job = there.offload(move || {
                        let here = Shard::here();
                        let random = here.random();
                        for _ in 0..random % 4 {
                            here.sleep(Duration::from_micros(here.random() % 30_000)).wait()?;
                        }
                        assert!(!panics, "by chance");
                        Ok::<_, Cancelled>(random)
                    });
                    let mut job = job;
                    let in_time = there.timeout(limit, &mut job).await;
                    let what = match in_time {
                        Ok(what) => format!("{what:?}"),
                        Err(_) if is_cancelled => {
                            job.cancel();
                            format!("cancelled, {:?}", job.await)
                        }
                        Err(_) => "given up".to_owned(),
                    };
                    notes.borrow_mut().push((there.clock() - begin, task, what));
                };
                shard.spawn(work).unwrap()
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        until(&shard, || shard.stats().offload_running.get() == 0).await;
        assert_eq!(taken(shard.stats()), 10);
        check_quiet(shard.stats());
        Ok::<_, String>(())
    });
    simulation.run_to_end();
    assert!(program.results().into_iter().all(|result| result == Some(Ok(()))), "seed {seed}");
    (notes.take(), simulation.machine().trace_hash())
}

#[test]
fn simulated_jobs_that_wait_do_the_same_whenever_they_run() {
    let mut seen = [0; 5];
    for seed in 0..100 {
        let (notes, trace) = waited(seed);
        assert_eq!((notes.clone(), trace), waited(seed), "seed {seed}");
        let kinds = ["Ok(Ok(", "cancelled, Ok(Err(", "cancelled, Err(Cancelled", "Err(Panicked", "given up"];
        for (kind, seen) in kinds.iter().zip(&mut seen) {
            *seen += notes.iter().filter(|(_, _, what)| what.starts_with(kind)).count();
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    println!("done, cancelled while they wait and before they begin, panicked, given up: {seen:?}");
}
