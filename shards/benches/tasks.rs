//! What the executor and the timers cost, in nanoseconds: `taskset -c 0 cargo bench -p shardwise-shards --bench tasks`.
//! Each line is the median of several rounds and their range. A word after `--` chooses the lines that contain it.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::waker_clone_wake, reason = "that is what is measured")]
#![allow(missing_docs)]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use platform::stack::{Coroutine, StackSize, Stacks, suspend};
use shardwise_shards::task::{Leased, TaskNumber, Tasks, yield_now};
use shardwise_shards::timer::Timers;
use shardwise_shards::world::World;
use shardwise_shards::{Demand, Shard, Simulation, Wait};

fn main() {
    println!("{:<44} {:>8}   range", "", "ns");
    wakes();
    spawns();
    yields();
    leases();
    greens();
    timers();
    scopes();
}

fn wakes() {
    let shard = shard();
    let number = Rc::new(Cell::new(None));
    let handle = shard.spawn({
        let number = number.clone();
        poll_fn(move |cx| {
            number.set(TaskNumber::of(cx.waker()));
            Poll::<()>::Pending
        })
    });
    shard.run(|| false);
    let number = number.get().expect("the task has run");
    let waker = number.waker();
    // The task is on the queue after the first wake, so the others coalesce.
    measure("wake an own task, coalescing", 1_000_000, |count| {
        shard.enter(&Rc::new(()), || (0..count).for_each(|_| black_box(&waker).wake_by_ref()));
        shard.run(|| false);
    });
    measure("wake an own task by number, and poll it", 1_000_000, |count| {
        shard.enter(&Rc::new(()), || {
            for _ in 0..count {
                shard.wake(black_box(number));
                shard.run(|| false);
            }
        });
    });
    drop(handle);

    // What a wake adds to a poll: each poll clones its waker, wakes and drops the clone, once or nine times.
    for (name, wakes) in [("poll that clones and wakes itself once", 1), ("the same, nine times (coalescing)", 9)] {
        let shard = crate::shard();
        let left = Rc::new(Cell::new(0u64));
        let task = shard.spawn({
            let left = left.clone();
            poll_fn(move |cx| {
                left.set(left.get().saturating_sub(1));
                if left.get() > 0 {
                    (0..wakes).for_each(|_| black_box(cx.waker().clone()).wake());
                }
                Poll::<()>::Pending
            })
        });
        let task_number = task.number();
        shard.run_entered();
        measure(name, 1_000_000, |count| {
            left.set(count);
            shard.wake(task_number);
            shard.run_entered();
            assert_eq!(left.get(), 0);
        });
    }

    // Waking many sleeping tasks that are not in the cache line next door: wake + pop + poll each.
    let shard = crate::shard();
    let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
    for _ in 0..1_000 {
        let wakers = wakers.clone();
        let registered = Cell::new(false);
        shard
            .spawn(poll_fn(move |cx| {
                if !registered.replace(true) {
                    wakers.borrow_mut().push(cx.waker().clone());
                }
                Poll::<()>::Pending
            }))
            .detach();
    }
    shard.run(|| false);
    let wakers = wakers.take();
    let mut waking = Duration::ZERO;
    let mut rounds = 0u32;
    measure("clone + wake + pop + poll, a thousand tasks", 1_000_000, |count| {
        shard.enter(&Rc::new(()), || {
            for _ in 0..count / wakers.len() as u64 {
                let start = Instant::now();
                wakers.iter().for_each(|waker| waker.clone().wake());
                waking += start.elapsed();
                rounds += 1;
                shard.run(|| false);
            }
        });
    });
    println!(
        "{:<44} {:>8.1}",
        "  of which clone + wake",
        waking.as_nanos() as f64 / f64::from(rounds) / wakers.len() as f64
    );
}

fn spawns() {
    let shard = Rc::new(shard());
    measure("spawn + run + join, one by one", 1_000_000, |count| {
        let inner = shard.clone();
        let main = shard.spawn(async move {
            for _ in 0..count {
                inner.spawn(async { black_box(1u64) }).await.expect("the task returns");
            }
        });
        shard.run_entered();
        assert!(main.is_finished());
    });
    measure("spawn + run + join, by the thousand", 1_000_000, |count| {
        let inner = shard.clone();
        let main = shard.spawn(async move {
            let mut handles = Vec::with_capacity(1_000);
            for _ in 0..count / 1_000 {
                handles.extend((0..1_000).map(|_| inner.spawn(async { black_box(1u64) })));
                for handle in handles.drain(..) {
                    handle.await.expect("the task returns");
                }
            }
        });
        shard.run_entered();
        assert!(main.is_finished());
    });
    measure("spawn + detach + run", 1_000_000, |count| {
        for _ in 0..count {
            shard.spawn(async {}).detach();
            shard.run(|| false);
        }
    });
}

fn yields() {
    for tasks in [1, 10, 1_000, 10_000, 100_000] {
        let shard = shard();
        measure(&format!("yield among {tasks}"), 2_000_000, |count| {
            for _ in 0..tasks {
                shard
                    .spawn(async move {
                        for _ in 0..count / tasks {
                            yield_now().await;
                        }
                    })
                    .detach();
            }
            shard.run_entered();
            assert_eq!(shard.stats().live, 0);
        });
    }
}

fn leases() {
    let shard = shard();
    let mut cx = std::task::Context::from_waker(Waker::noop());
    measure("lease + poll + drop of a handler", 1_000_000, |count| {
        for n in 0..count {
            let handler = async move {
                black_box([n; 32]);
                n
            };
            let mut leased: Leased<'_, u64> = shard.lease(|| handler);
            let polled = std::pin::Pin::new(black_box(&mut leased)).poll(&mut cx);
            assert_eq!(polled, Poll::Ready(n));
        }
    });
    measure("the same in a Box", 1_000_000, |count| {
        for n in 0..count {
            let handler = async move {
                black_box([n; 32]);
                n
            };
            let mut boxed: std::pin::Pin<Box<dyn Future<Output = u64>>> = Box::pin(handler);
            let polled = black_box(&mut boxed).as_mut().poll(&mut cx);
            assert_eq!(polled, Poll::Ready(n));
        }
    });
}

fn greens() {
    let stacks = Stacks::new(StackSize::default());
    let mut switching = Coroutine::<()>::new(stacks.take().expect("a stack"), || {
        loop {
            suspend()
        }
    });
    measure("green switch there and back", 1_000_000, |count| {
        (0..count).for_each(|_| assert!(switching.resume().is_none()));
    });
    drop(switching);

    // Through a whole shard, whose clock stands still; a turn of 8,192 polls adds next to nothing.
    type Body = fn(Shard, u64) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;
    let rows: [(&str, Body); 5] = [
        ("a stackless task that yields, whole shard", |_, count| {
            Box::pin(async move {
                for _ in 0..count {
                    yield_now().await;
                }
            })
        }),
        ("green wait that is pending once", |shard, count| {
            let body = move || (0..count).for_each(|_| yield_now().wait().expect("nobody cancels"));
            Box::pin(async move { shard.green(body).expect("a stack").await.expect("it returns") })
        }),
        ("green wait that is ready", |shard, count| {
            let body = move || (0..count).for_each(|n| assert_eq!(black_box(std::future::ready(n)).wait(), Ok(n)));
            Box::pin(async move { shard.green(body).expect("a stack").await.expect("it returns") })
        }),
        ("green start + run + join, one by one", |shard, count| {
            Box::pin(async move {
                for n in 0..count {
                    let green = shard.green(move || black_box(n)).expect("a stack");
                    assert_eq!(green.await.expect("it returns"), n);
                }
            })
        }),
        ("the same with one wait that is pending", |shard, count| {
            Box::pin(async move {
                for _ in 0..count {
                    let green = shard.green(|| yield_now().wait()).expect("a stack");
                    assert!(green.await.is_ok());
                }
            })
        }),
    ];
    for (name, body) in rows {
        let mut simulation = Simulation::new(1);
        measure(name, 500_000, |count| simulation.run(async move |shard| body(shard, count).await));
    }
}

fn timers() {
    for armed in [0u64, 20_000, 1_000_000] {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        let mut random = 0x9E37_79B9_7F4A_7C15u64;
        for n in 0..armed {
            _ = timers.insert(start + Duration::from_millis(1 + next(&mut random) % 60_000), n);
        }
        measure(&format!("timer insert + cancel, {armed} armed"), 1_000_000, |count| {
            for n in 0..count {
                let deadline = start + Duration::from_millis(5_000 + n % 50_000);
                let key = timers.insert(black_box(deadline), n).expect("there is room");
                assert_eq!(timers.cancel(black_box(key)), Some(n));
            }
        });
        let key = timers.insert(start, 0).expect("there is room");
        measure(&format!("timer re-arm, {armed} armed"), 1_000_000, |count| {
            for n in 0..count {
                assert!(timers.rearm(&key, black_box(start + Duration::from_millis(5_000 + n % 50_000))));
            }
        });
    }
    measure("timer insert + expire, by the thousand", 1_000_000, |count| {
        let start = Instant::now();
        let (mut timers, mut now, mut fired) = (Timers::new(start), start, 0);
        for n in 0..count {
            _ = timers.insert(now + Duration::from_millis(n % 1_000), n);
            if n % 1_000 == 999 {
                now += Duration::from_millis(1_000);
                timers.expire(now, &mut |_| fired += 1);
            }
        }
        assert_eq!(fired, count);
    });
    measure("precise timer insert + cancel, 1000 armed", 1_000_000, |count| {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        (0..1_000).for_each(|n| _ = timers.insert_precise(start + Duration::from_micros(n), n));
        for n in 0..count {
            let key = timers.insert_precise(start + Duration::from_micros(n % 1_000), n).expect("there is room");
            assert_eq!(timers.cancel(black_box(key)), Some(n));
        }
    });
    measure("next deadline, 1000 armed", 1_000_000, |count| {
        let start = Instant::now();
        let mut timers = Timers::new(start);
        (0..1_000).for_each(|n| _ = timers.insert(start + Duration::from_millis(n + 9_000), n));
        (0..count).for_each(|_| _ = black_box(timers.next_deadline()));
    });
}

/// Scopes that nobody asks for, and a tree of many tasks: a thousand scopes, nested anyhow, of a hundred tasks each.
fn scopes() {
    const TASKS: usize = 100_000;
    Simulation::new(1).run(async |shard| {
        let demand = Demand { names: &["connection", "request"], numbers: [1, 2], deadline: None };
        let around = shard.scope().child("connections").expect("there is room");
        measure("enter and leave a scope on demand", 1_000_000, |count| {
            (0..count).for_each(|_| drop(black_box(around.entered_on_demand(black_box(demand)).leave())));
        });
        measure("the same, asked for", 1_000_000, |count| {
            for _ in 0..count {
                let entered = around.entered_on_demand(black_box(demand));
                drop(black_box(shard.current_scope()));
                drop(black_box(entered.leave()));
            }
        });
    });
    const NAME: &str = "cancel 100,000 tasks in a tree, to its gate";
    if is_left_out(NAME) {
        return;
    }
    Simulation::new(1).run(async |shard| {
        let mut costs = Vec::new();
        for _ in 0..7 {
            let root = shard.scope().child("root").expect("there is room");
            let mut scopes = vec![root.handle()];
            let mut random = 1;
            for number in 0..TASKS {
                if number % 100 == 0 {
                    let around = &scopes[next(&mut random) as usize % scopes.len()];
                    let scope = around.child("branch").expect("there is room");
                    scopes.push(scope.handle());
                    scope.detach();
                }
                let task = scopes[scopes.len() - 1].spawn(std::future::pending::<()>());
                task.expect("there is room").detach();
            }
            drop(scopes);
            yield_now().await;
            let start = Instant::now();
            root.cancel("enough");
            root.gate().await;
            costs.push(start.elapsed().as_nanos() as f64 / TASKS as f64);
            drop(root);
            yield_now().await;
            assert_eq!(shard.scopes(), 1, "all scopes are gone");
        }
        costs.sort_by(f64::total_cmp);
        println!("{NAME:<44} {:>8.1}   {:.1}–{:.1}", costs[3], costs[0], costs[6]);
    });
}

fn is_left_out(name: &str) -> bool {
    std::env::args().skip(1).any(|word| !word.starts_with('-') && !name.contains(&word))
}

/// Runs rounds of `count` operations and prints the median cost of one.
fn measure(name: &str, count: u64, mut round: impl FnMut(u64)) {
    if is_left_out(name) {
        return;
    }
    round(count / 10);
    let mut costs: Vec<f64> = (0..11)
        .map(|_| {
            let start = Instant::now();
            round(count);
            start.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    costs.sort_by(f64::total_cmp);
    println!("{name:<44} {:>8.1}   {:.1}–{:.1}", costs[5], costs[0], costs[10]);
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// A shard's tasks, entered when run, as a turn does.
struct Executor {
    tasks: Tasks,
    own: Rc<()>,
}

fn shard() -> Executor {
    let claim = World::claim(|| {}).expect("a world is free");
    Executor { tasks: Tasks::new(claim), own: Rc::new(()) }
}

impl Executor {
    fn run_entered(&self) {
        self.tasks.enter(&self.own, || self.tasks.run(|| false));
    }

    fn run(&self, time_is_up: impl FnMut() -> bool) -> u32 {
        self.tasks.run(time_is_up)
    }

    fn spawn<F: Future + 'static>(&self, future: F) -> shardwise_shards::task::JoinHandle<F::Output> {
        self.tasks.spawn(future).expect("there is room")
    }
}

impl std::ops::Deref for Executor {
    type Target = Tasks;

    fn deref(&self) -> &Tasks {
        &self.tasks
    }
}
