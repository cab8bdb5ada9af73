//! What the executor and the timers cost beside those of other runtimes, each driven as its users drive it: tasks on a running
//! runtime of one thread, with its reactor, its timers and whatever it does between polls.
//!
//! A sample starts its runtime afresh, on the CPU that ours is pinned to; starting, and a first round, are not counted.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bench::machine;
use shardwise_shards::{Runtime, Shard};

use crate::{Aim, Contest, Row, Unit};

pub(crate) fn contests() -> Vec<Contest> {
    vec![
        contest("spawn, run and join, one by one", Aim::Figure(45.0), || everyone(OneByOne)),
        contest("spawn, run and join, by the thousand", Aim::Figure(45.0), || everyone(ByTheThousand)),
        contest("yield among 10 ready tasks", Aim::Figure(20.0), || everyone(Yields { tasks: 10 })),
        contest("yield among 10,000 ready tasks", Aim::Figure(20.0), || everyone(Yields { tasks: 10_000 })),
        contest("timer insert and cancel, 1,000 armed", Aim::Figure(40.0), || everyone(Timers { armed: 1_000 })),
        contest("timer insert and cancel, 20,000 armed", Aim::Figure(40.0), || everyone(Timers { armed: 20_000 })),
        contest("timer insert and cancel, 1,000,000 armed", Aim::Figure(40.0), || {
            everyone(Timers { armed: 1_000_000 })
        }),
        contest("a request's future of 1 KiB, made, polled and dropped", Aim::Figure(100.0), || {
            vec![
                Row::new("shardwise, leased slot", || Shardwise::run(|shard| async move { leases(&shard) })),
                Row::new("everyone else, Box", boxes),
            ]
        }),
    ]
}

fn contest(name: &'static str, aim: Aim, rows: fn() -> Vec<Row>) -> Contest {
    Contest { name, unit: Unit::Nanoseconds, aim, rows: rows() }
}

fn everyone(job: impl Job) -> Vec<Row> {
    vec![
        row::<Shardwise>("shardwise", job),
        row::<Tokio>("tokio, current thread", job),
        row::<Glommio>("glommio", job),
        row::<Monoio>("monoio", job),
        row::<Compio>("compio", job),
    ]
}

fn row<E: Executor>(name: &'static str, job: impl Job) -> Row {
    Row::new(name, move || E::run(move |executor| job.measure(executor)))
}

// ---- the jobs ----------------------------------------------------------------------------------------------------------

/// What a sample does within a runtime; it gives nanoseconds for one operation.
trait Job: Copy + Send + Sync + 'static {
    fn measure<E: Executor>(self, executor: E) -> impl Future<Output = f64> + 'static;
}

#[derive(Clone, Copy)]
struct OneByOne;

impl Job for OneByOne {
    async fn measure<E: Executor>(self, executor: E) -> f64 {
        let mut time = 0.0;
        for count in [20_000, 200_000] {
            let start = Instant::now();
            for _ in 0..count {
                executor.spawn(async { black_box(1_u64) }).await;
            }
            time = each(start, count);
        }
        time
    }
}

#[derive(Clone, Copy)]
struct ByTheThousand;

impl Job for ByTheThousand {
    async fn measure<E: Executor>(self, executor: E) -> f64 {
        let mut handles = Vec::with_capacity(1_000);
        let mut time = 0.0;
        for count in [20_000, 200_000] {
            let start = Instant::now();
            for _ in 0..count / 1_000 {
                handles.extend((0..1_000).map(|_| executor.spawn(async { black_box(1_u64) })));
                for handle in handles.drain(..) {
                    handle.await;
                }
            }
            time = each(start, count);
        }
        time
    }
}

#[derive(Clone, Copy)]
struct Yields {
    tasks: u64,
}

impl Job for Yields {
    async fn measure<E: Executor>(self, executor: E) -> f64 {
        let mut time = 0.0;
        for count in [100_000, 1_000_000] {
            let turns = count / self.tasks;
            let start = Instant::now();
            let work = |_| {
                executor.spawn(async move {
                    for _ in 0..turns {
                        E::yield_now().await;
                    }
                })
            };
            let handles: Vec<_> = (0..self.tasks).map(work).collect();
            for handle in handles {
                handle.await;
            }
            time = each(start, count);
        }
        time
    }
}

#[derive(Clone, Copy)]
struct Timers {
    armed: u64,
}

impl Job for Timers {
    async fn measure<E: Executor>(self, executor: E) -> f64 {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        // None of them comes before the sample has ended.
        let mut later = move || Duration::from_secs(600) + Duration::from_millis(next(&mut random) % 60_000);
        poll_fn(|cx| {
            let mut armed: Vec<Pin<Box<_>>> = (0..self.armed).map(|_| Box::pin(executor.sleep(later()))).collect();
            // With nobody's waker: a task of glommio panics when it has 32,767 of its own.
            let mut nobody = Context::from_waker(Waker::noop());
            armed.iter_mut().for_each(|sleep| assert!(sleep.as_mut().poll(&mut nobody).is_pending()));
            let mut time = 0.0;
            for count in [10_000, 100_000] {
                let start = Instant::now();
                for n in 0..count {
                    let sleep = pin!(executor.sleep(Duration::from_millis(605_000 + n % 50_000)));
                    assert!(black_box(sleep).poll(cx).is_pending());
                }
                time = each(start, count);
            }
            Poll::Ready(time)
        })
        .await
    }
}

/// A request's future, made with all that it holds.
async fn request(held: [u64; 128]) -> u64 {
    let held = black_box(held);
    held[0] + held[127]
}
const _: () = assert!(size_of::<[u64; 128]>() == 1024);

fn leases(shard: &Shard) -> f64 {
    polled(|n| {
        let mut leased = shard.lease(request([n; 128]));
        Pin::new(black_box(&mut leased)).poll(&mut Context::from_waker(Waker::noop()))
    })
}

fn boxes() -> f64 {
    machine::pin(0).expect("a CPU");
    polled(|n| {
        let mut boxed: Pin<Box<dyn Future<Output = u64>>> = Box::pin(request([n; 128]));
        black_box(&mut boxed).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    })
}

fn polled(mut request: impl FnMut(u64) -> Poll<u64>) -> f64 {
    let mut time = 0.0;
    for count in [20_000, 200_000] {
        let start = Instant::now();
        for n in 0..count {
            assert_eq!(request(n), Poll::Ready(2 * n));
        }
        time = each(start, count);
    }
    time
}

fn each(start: Instant, count: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

// ---- who does them -----------------------------------------------------------------------------------------------------

/// A runtime of one thread, from within. Tasks are `Send` because tokio's plain `spawn`, its fastest, asks for it.
trait Executor: Clone + 'static {
    /// Runs `work` in a runtime of its own.
    fn run<F: Future<Output = f64> + 'static>(work: impl Fn(Self) -> F + Send + Sync + 'static) -> f64;

    /// Starts a task; the future gives its result.
    fn spawn<F>(&self, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static;

    fn yield_now() -> impl Future<Output = ()> + Send;

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static;
}

#[derive(Clone)]
struct Shardwise(Shard);

impl std::ops::Deref for Shardwise {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.0
    }
}

impl Executor for Shardwise {
    fn run<F: Future<Output = f64> + 'static>(work: impl Fn(Self) -> F + Send + Sync + 'static) -> f64 {
        let (told, result) = channel();
        let run = Runtime::builder().shards(1).handle_signals(false).announce(false).run(async move |shard| {
            machine::pin(0).map_err(|error| error.to_string())?;
            told.send(work(Shardwise(shard)).await).map_err(|error| error.to_string())
        });
        run.expect("a shard");
        result.recv().expect("the shard has told it")
    }

    fn spawn<F>(&self, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = self.0.spawn(future).expect("room for a task");
        async move { task.await.expect("it ends") }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        shardwise_shards::yield_now()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        let shard = self.0.clone();
        async move { shard.sleep(time).await }
    }
}

#[derive(Clone)]
struct Tokio;

impl Executor for Tokio {
    fn run<F: Future<Output = f64> + 'static>(work: impl Fn(Self) -> F + Send + Sync + 'static) -> f64 {
        machine::pin(0).expect("a CPU");
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work(Tokio))
    }

    fn spawn<F>(&self, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = tokio::spawn(future);
        async move { task.await.expect("it ends") }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(time)
    }
}

#[derive(Clone)]
struct Glommio;

impl Executor for Glommio {
    fn run<F: Future<Output = f64> + 'static>(work: impl Fn(Self) -> F + Send + Sync + 'static) -> f64 {
        glommio::LocalExecutorBuilder::new(glommio::Placement::Fixed(0)).make().expect("an executor").run(work(Glommio))
    }

    fn spawn<F>(&self, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        glommio::spawn_local(future)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        again_once()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        let timer = glommio::timer::Timer::new(time);
        async move { _ = timer.await }
    }
}

#[derive(Clone)]
struct Monoio;

impl Executor for Monoio {
    fn run<F: Future<Output = f64> + 'static>(work: impl Fn(Self) -> F + Send + Sync + 'static) -> f64 {
        machine::pin(0).expect("a CPU");
        let builder = monoio::RuntimeBuilder::<monoio::FusionDriver>::new().enable_timer();
        builder.build().expect("a runtime").block_on(work(Monoio))
    }

    fn spawn<F>(&self, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        monoio::spawn(future)
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        again_once()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(time)
    }
}

#[derive(Clone)]
struct Compio;

impl Executor for Compio {
    fn run<F: Future<Output = f64> + 'static>(work: impl Fn(Self) -> F + Send + Sync + 'static) -> f64 {
        machine::pin(0).expect("a CPU");
        compio::runtime::Runtime::new().expect("a runtime").block_on(work(Compio))
    }

    fn spawn<F>(&self, future: F) -> impl Future<Output = F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = compio::runtime::spawn(future);
        async move { task.await.unwrap_or_else(|_| panic!("it ends")) }
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        again_once()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + 'static {
        compio::time::sleep(time)
    }
}

/// Lets the others run, where a runtime has no call for it of its own, or one that is this.
async fn again_once() {
    let mut is_again = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_again, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
