//! What passes between two threads on two CPUs: calls and one-way closures over the mesh, and the ring below it, beside
//! channels that others use for the same.
//!
//! Peers without tasks spin on their channels, which is less work than ours: they neither poll a future nor wake a task.
//! A sample starts its threads afresh; connecting and warming up is not counted.

use std::future::Future;
use std::hint::{black_box, spin_loop};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use bench::machine;
use glommio::channels::shared_channel::{self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender};
use glommio::{LocalExecutorBuilder, Placement};
use shardwise_platform::spsc::ring;
use shardwise_shards::{JoinHandle, Runtime, Shard};

use crate::{Aim, Contest, Row, Unit};

pub(crate) fn contests() -> Vec<Contest> {
    vec![
        Contest {
            name: "call and reply, both spin",
            unit: Unit::Nanoseconds,
            aim: Aim::Figure(500.0),
            rows: vec![
                Row::new("shardwise, call", || on_shards(SPIN, |shard| calls(shard, 1, 100_000))),
                Row::new("glommio, shared channels", || glommio_there_and_back(SPIN, 1, 100_000)),
                Row::new("flume, two threads spin", || flume_there_and_back(1, 100_000)),
                Row::new("tokio mpsc, two threads spin", || tokio_there_and_back(1, 100_000)),
                Row::new("rtrb, two threads spin", || rtrb_there_and_back(1, 100_000)),
            ],
        },
        Contest {
            name: "calls, 32 in hand",
            unit: Unit::Millions,
            aim: Aim::Figure(10.0),
            rows: vec![
                Row::new("shardwise, 32 tasks call", || millions(on_shards(SPIN, |shard| calls(shard, 32, 1_000_000)))),
                Row::new("glommio, messages, 32 on the way", || millions(glommio_there_and_back(SPIN, 32, 1_000_000))),
                Row::new("flume, messages, 32 on the way", || millions(flume_there_and_back(32, 300_000))),
                Row::new("tokio mpsc, messages, 32 on the way", || millions(tokio_there_and_back(32, 1_000_000))),
                Row::new("rtrb, messages, 32 on the way", || millions(rtrb_there_and_back(32, 1_000_000))),
            ],
        },
        Contest {
            name: "closures of 16 bytes, one way",
            unit: Unit::Millions,
            aim: Aim::Figure(30.0),
            rows: vec![
                Row::new("shardwise, post", || millions(on_shards(SPIN, |shard| posts(shard, 2_000_000)))),
                Row::new("glommio, shared channel", || millions(glommio_one_way(2_000_000))),
                Row::new("flume", || millions(flume_one_way(500_000))),
                Row::new("tokio mpsc", || millions(tokio_one_way(1_000_000))),
                Row::new("rtrb", || millions(rtrb_one_way(2_000_000, || Job::new(1, 2), Job::run))),
            ],
        },
        Contest {
            name: "the ring alone, numbers",
            unit: Unit::Millions,
            aim: Aim::OfBest(0.5),
            rows: vec![
                Row::new("shardwise, shown one by one", || millions(ring_one_way(4_000_000, 1, || 1, |_: u64| {}))),
                Row::new("rtrb", || millions(rtrb_one_way(4_000_000, || 1, |_: u64| {}))),
            ],
        },
        Contest {
            name: "the ring alone, lines of 64 bytes",
            unit: Unit::Millions,
            aim: Aim::OfBest(0.5),
            rows: vec![
                Row::new("shardwise, shown by 32", || {
                    millions(ring_one_way(4_000_000, 32, || Line([1; 8]), Line::read))
                }),
                Row::new("rtrb", || millions(rtrb_one_way(4_000_000, || Line([1; 8]), Line::read))),
            ],
        },
        Contest {
            name: "call and reply, both sleep",
            unit: Unit::Nanoseconds,
            aim: Aim::None,
            rows: vec![
                Row::new("shardwise, call", || on_shards(Duration::ZERO, |shard| calls(shard, 1, 2_000))),
                Row::new("glommio, shared channels", || glommio_there_and_back(Duration::ZERO, 1, 2_000)),
                Row::new("flume, threads block", || flume_blocking(2_000)),
                Row::new("tokio mpsc, threads block", || tokio_blocking(2_000)),
            ],
        },
    ]
}

/// How long those spin that can sleep: for as long as a sample takes.
const SPIN: Duration = Duration::from_secs(1);

/// What a channel holds, as many as one of our links has credits.
const CAPACITY: usize = 256;

/// What one of a million in a second costs.
fn millions(ns: f64) -> f64 {
    1000.0 / ns
}

/// A closure by hand, as peers carry it: the fewest bytes it can have, on no heap.
struct Job {
    function: fn(u64, u64),
    captures: (u64, u64),
}

impl Job {
    fn new(first: u64, second: u64) -> Job {
        Job { function: |first, second| _ = black_box((first, second)), captures: (first, second) }
    }

    fn run(self) {
        let (first, second) = self.captures;
        (self.function)(first, second);
    }
}

#[repr(align(64))]
struct Line([u64; 8]);

impl Line {
    fn read(self) {
        black_box(self.0);
    }
}

// ---- shards -----------------------------------------------------------------------------------------------------------

/// Runs `work` on the first of two pinned shards; gives what it gives.
fn on_shards<F>(spin: Duration, work: impl Fn(Shard) -> F + Send + Sync + 'static) -> f64
where
    F: Future<Output = f64>,
{
    let (told, result) = channel();
    let run = Runtime::builder().shards(2).spin(spin).handle_signals(false).announce(false).run(async move |shard| {
        if shard.number() == 0 {
            tell(&told, work(shard).await);
        }
        Ok::<_, String>(())
    });
    run.expect("the benchmark needs two CPUs");
    result.recv().expect("shard 0 has told it")
}

async fn calls(shard: Shard, tasks: u64, count: u64) -> f64 {
    async fn round(shard: &Shard, tasks: u64, count: u64) {
        let work = |_| {
            let inner = shard.clone();
            let calls = async move {
                for number in 0..count / tasks {
                    assert_eq!(inner.on(1, move |_| black_box(number)).await, Ok(number));
                }
            };
            shard.spawn(calls).expect("there is room")
        };
        let tasks: Vec<JoinHandle<()>> = (0..tasks).map(work).collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    }
    round(&shard, tasks, count / 10).await;
    let start = Instant::now();
    round(&shard, tasks, count).await;
    each(start, count)
}

async fn posts(shard: Shard, count: u64) -> f64 {
    async fn round(shard: &Shard, count: u64) {
        for number in 0..count {
            let pair = (number, number + 1);
            let read = move |_: &Shard| _ = black_box(pair);
            if shard.try_post(1, read).is_err() {
                shard.post(1, read).await.expect("the peer lives");
            }
        }
        assert_eq!(shard.on(1, |_| 1).await, Ok(1), "all have been run");
    }
    round(&shard, count / 10).await;
    let start = Instant::now();
    round(&shard, count).await;
    each(start, count)
}

fn ring_one_way<T: Send + 'static>(count: u64, batch: u64, make: fn() -> T, read: fn(T)) -> f64 {
    let (mut out, mut there) = ring(CAPACITY);
    let receive = move || {
        for _ in 0..count {
            read(spin_until(|| there.pop()));
        }
    };
    between_threads(count, receive, move || {
        for number in 1..=count {
            let mut item = make();
            while let Err(full) = out.push(item) {
                item = full;
                spin_loop();
            }
            if number % batch == 0 {
                out.publish();
            }
        }
        out.publish();
    })
}

// ---- threads that spin ------------------------------------------------------------------------------------------------

/// Runs both on pinned threads; gives the time of one of `count` operations, until both have ended.
fn between_threads(count: u64, there: impl FnOnce() + Send, here: impl FnOnce() + Send) -> f64 {
    std::thread::scope(|scope| {
        let (ready, is_ready) = channel();
        let peer = scope.spawn(move || {
            machine::pin(1).expect("the benchmark needs two CPUs");
            tell(&ready, ());
            there();
        });
        let timed = scope.spawn(move || {
            machine::pin(0).expect("a CPU");
            is_ready.recv().expect("the peer stands");
            let start = Instant::now();
            here();
            peer.join().expect("the peer ends");
            each(start, count)
        });
        timed.join().expect("it ends")
    })
}

fn spin_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        match look() {
            Some(found) => return found,
            None => spin_loop(),
        }
    }
}

/// Numbers there and back, `window` of them on the way.
fn there_and_back(
    window: u64,
    count: u64,
    mut send: impl FnMut(u64) + Send,
    mut receive: impl FnMut() -> u64 + Send,
    mut echo: impl FnMut() + Send,
) -> f64 {
    let there = move || (0..count).for_each(|_| echo());
    between_threads(count, there, move || {
        (0..window).for_each(&mut send);
        for number in 0..count {
            assert_eq!(receive(), number);
            if number + window < count {
                send(number + window);
            }
        }
    })
}

fn flume_there_and_back(window: u64, count: u64) -> f64 {
    let ((out, there), (back, home)) = (flume::bounded(CAPACITY), flume::bounded(CAPACITY));
    let echo = move || back.try_send(spin_until(|| there.try_recv().ok())).expect("there is room");
    let send = move |number| out.try_send(number).expect("there is room");
    there_and_back(window, count, send, move || spin_until(|| home.try_recv().ok()), echo)
}

fn tokio_there_and_back(window: u64, count: u64) -> f64 {
    use tokio::sync::mpsc::channel;
    let ((out, mut there), (back, mut home)) = (channel(CAPACITY), channel(CAPACITY));
    let echo = move || back.try_send(spin_until(|| there.try_recv().ok())).expect("there is room");
    let send = move |number| out.try_send(number).expect("there is room");
    there_and_back(window, count, send, move || spin_until(|| home.try_recv().ok()), echo)
}

fn rtrb_there_and_back(window: u64, count: u64) -> f64 {
    let ((mut out, mut there), (mut back, mut home)) =
        (rtrb::RingBuffer::new(CAPACITY), rtrb::RingBuffer::new(CAPACITY));
    let echo = move || back.push(spin_until(|| there.pop().ok())).expect("there is room");
    let send = move |number| out.push(number).expect("there is room");
    there_and_back(window, count, send, move || spin_until(|| home.pop().ok()), echo)
}

fn flume_one_way(count: u64) -> f64 {
    let (out, there) = flume::bounded::<Job>(CAPACITY);
    let receive = move || (0..count).for_each(|_| spin_until(|| there.try_recv().ok()).run());
    between_threads(count, receive, move || {
        for number in 0..count {
            spin_until(|| out.try_send(Job::new(number, number + 1)).ok());
        }
    })
}

fn tokio_one_way(count: u64) -> f64 {
    let (out, mut there) = tokio::sync::mpsc::channel::<Job>(CAPACITY);
    let receive = move || (0..count).for_each(|_| spin_until(|| there.try_recv().ok()).run());
    between_threads(count, receive, move || {
        for number in 0..count {
            spin_until(|| out.try_send(Job::new(number, number + 1)).ok());
        }
    })
}

fn rtrb_one_way<T: Send + 'static>(count: u64, make: fn() -> T, read: fn(T)) -> f64 {
    let (mut out, mut there) = rtrb::RingBuffer::new(CAPACITY);
    let receive = move || (0..count).for_each(|_| read(spin_until(|| there.pop().ok())));
    between_threads(count, receive, move || {
        for _ in 0..count {
            spin_until(|| out.push(make()).ok());
        }
    })
}

// ---- threads that block -----------------------------------------------------------------------------------------------

fn flume_blocking(count: u64) -> f64 {
    let ((out, there), (back, home)) = (flume::bounded(CAPACITY), flume::bounded(CAPACITY));
    let echo = move || back.send(there.recv().expect("a number")).expect("it waits");
    let send = move |number| out.send(number).expect("it waits");
    there_and_back(1, count, send, move || home.recv().expect("a number"), echo)
}

fn tokio_blocking(count: u64) -> f64 {
    use tokio::sync::mpsc::channel;
    let ((out, mut there), (back, mut home)) = (channel(CAPACITY), channel(CAPACITY));
    let echo = move || back.blocking_send(there.blocking_recv().expect("a number")).expect("it waits");
    let send = move |number| out.blocking_send(number).expect("it waits");
    there_and_back(1, count, send, move || home.blocking_recv().expect("a number"), echo)
}

// ---- glommio ----------------------------------------------------------------------------------------------------------

/// An executor on a CPU, which looks for messages for so long before it sleeps.
fn glommio_on(cpu: usize, spin: Duration) -> LocalExecutorBuilder {
    let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu));
    match spin.is_zero() {
        true => builder,
        false => builder.spin_before_park(spin),
    }
}

/// Runs `here` on one executor, with the ends of two connected channels, and `there` on another.
fn on_glommio<T, H, R>(
    spin: Duration,
    there: impl FnOnce(ConnectedReceiver<T>, ConnectedSender<T>) -> R + Send + 'static,
    here: impl FnOnce(ConnectedSender<T>, ConnectedReceiver<T>) -> H + Send + 'static,
) -> f64
where
    T: Send + 'static,
    H: Future<Output = f64>,
    R: Future<Output = ()>,
{
    let (out, to_peer): (SharedSender<T>, SharedReceiver<T>) = shared_channel::new_bounded(CAPACITY);
    let (back, to_us): (SharedSender<T>, SharedReceiver<T>) = shared_channel::new_bounded(CAPACITY);
    let peer =
        glommio_on(1, spin).spawn(move || async move { there(to_peer.connect().await, back.connect().await).await });
    let ours = glommio_on(0, spin).spawn(move || async move { here(out.connect().await, to_us.connect().await).await });
    let cost = ours.expect("an executor").join().expect("it ends");
    peer.expect("an executor").join().expect("it ends");
    cost
}

fn glommio_there_and_back(spin: Duration, window: u64, count: u64) -> f64 {
    let echo = |there: ConnectedReceiver<u64>, back: ConnectedSender<u64>| async move {
        while let Some(number) = there.recv().await {
            if back.send(number).await.is_err() {
                return;
            }
        }
    };
    on_glommio(spin, echo, move |out, home| async move {
        let start = Instant::now();
        for number in 0..window {
            out.send(number).await.expect("the peer lives");
        }
        for number in 0..count {
            assert_eq!(home.recv().await, Some(number));
            if number + window < count {
                out.send(number + window).await.expect("the peer lives");
            }
        }
        each(start, count)
    })
}

fn glommio_one_way(count: u64) -> f64 {
    let receive = move |there: ConnectedReceiver<Job>, back: ConnectedSender<Job>| async move {
        for _ in 0..count {
            if let Some(job) = there.recv().await {
                job.run();
            }
        }
        _ = back.send(Job::new(0, 0)).await;
    };
    on_glommio(SPIN, receive, move |out, home| async move {
        let start = Instant::now();
        for number in 0..count {
            _ = out.send(Job::new(number, number + 1)).await;
        }
        home.recv().await.expect("all have been run");
        each(start, count)
    })
}

// ---- what all need ----------------------------------------------------------------------------------------------------

/// Nanoseconds for one of `count` since then.
fn each(start: Instant, count: u64) -> f64 {
    start.elapsed().as_nanos() as f64 / count as f64
}

/// Tells the thread that waits for it.
fn tell<T>(to: &Sender<T>, value: T) {
    // Whoever has stopped waiting has failed already, with a message.
    _ = to.send(value);
}
