//! What shards ask of each other costs, on two pinned threads: `cargo bench -p shardwise-shards --bench mesh`. A word after
//! `--` chooses the lines that contain it; the first two CPUs that a server would take are used.
//!
//! Each line is the median of [`ROUNDS`] rounds, with the smallest and the largest.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(missing_docs)]

use std::future::{Future, poll_fn};
use std::hint::{black_box, spin_loop};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use platform::spsc::{Consumer, ring};
use shardwise_shards::{JoinHandle, Runtime, Shard};

const ROUNDS: usize = 11;

fn main() {
    println!("{:<44} {:>8}   range", "", "ns");
    with_shards(Duration::from_millis(1), async |shard| {
        measure("the ring alone, there and back", 200_000, async |count| ring_there_and_back(&shard, count).await)
            .await;
        measure("the ring alone, lines shown by 32", 2_000_000, async |count| ring_one_way(&shard, count).await).await;
        measure("call and reply, both spin", 200_000, async |count| one_by_one(&shard, 1, count).await).await;
        for tasks in [8, 32, 128] {
            let name = format!("calls, {tasks} in hand, both spin");
            measure(&name, 2_000_000, async |count| pipelined(&shard, tasks, count).await).await;
        }
        measure("one way, 16 bytes, both spin", 4_000_000, async |count| one_way(&shard, count).await).await;
        measure("call of the own shard", 1_000_000, async |count| one_by_one(&shard, 0, count).await).await;
    });
    with_shards(Duration::ZERO, async |shard| {
        measure("call and reply, both sleep", 10_000, async |count| one_by_one(&shard, 1, count).await).await;
        let name = "calls, 32 in hand, both sleep";
        measure(name, 1_000_000, async |count| pipelined(&shard, 32, count).await).await;
        measure("one way, 16 bytes, both sleep", 2_000_000, async |count| one_way(&shard, count).await).await;
    });
}

/// Runs `main` on the first of two pinned shards, which look for messages for so long before they sleep.
fn with_shards(spin: Duration, main: impl AsyncFn(Shard) + Send + Sync + 'static) {
    Runtime::builder()
        .shards(2)
        .spin(spin)
        .handle_signals(false)
        .announce(false)
        .run(async move |shard| {
            if shard.number() == 0 {
                main(shard).await;
            }
            Ok::<_, String>(())
        })
        .expect("the benchmark needs two CPUs");
}

async fn one_by_one(shard: &Shard, peer: usize, count: u64) {
    for number in 0..count {
        let answer = shard.on(peer, move |_| black_box(number)).await;
        assert_eq!(answer, Ok(number));
    }
}

async fn pipelined(shard: &Shard, tasks: u64, count: u64) {
    let calls = |_| {
        let inner = shard.clone();
        shard.spawn(async move { one_by_one(&inner, 1, count / tasks).await }).expect("there is room")
    };
    let tasks: Vec<JoinHandle<()>> = (0..tasks).map(calls).collect();
    for task in tasks {
        task.await.expect("it ends");
    }
}

async fn one_way(shard: &Shard, count: u64) {
    for number in 0..count {
        let pair = (number, number + 1);
        let add = move |there: &Shard| {
            black_box(there);
            black_box(pair);
        };
        if shard.try_post(1, add).is_err() {
            shard.post(1, add).await.expect("the peer lives");
        }
    }
    assert_eq!(shard.on(1, |_| 1).await, Ok(1), "all have been run");
}

/// What two threads pay for the cache lines, whatever is built upon them: an item there and back. The other end is the
/// other shard, which does nothing else meanwhile.
fn ring_there_and_back(shard: &Shard, count: u64) -> impl Future<Output = ()> + use<> {
    let ((mut out, mut there), (mut back, mut home)) = (ring::<u64>(256), ring::<u64>(256));
    let echo = shard.on(1, move |_| {
        for _ in 0..count {
            let item = receive(&mut there);
            _ = back.push(item);
            back.publish();
        }
    });
    let shard = shard.clone();
    async move {
        let mut echo = pin!(echo);
        send_now(&shard, &mut echo).await;
        for number in 0..count {
            _ = out.push(number);
            out.publish();
            assert_eq!(receive(&mut home), number);
        }
        echo.await.expect("the peer lives");
    }
}

/// Messages as large as those of the mesh, shown by 32.
fn ring_one_way(shard: &Shard, count: u64) -> impl Future<Output = ()> + use<> {
    let (mut out, mut there) = ring::<[u64; 8]>(512);
    let drain = shard.on(1, move |_| (0..count).for_each(|_| _ = black_box(receive(&mut there))));
    let shard = shard.clone();
    async move {
        let mut drain = pin!(drain);
        send_now(&shard, &mut drain).await;
        for number in 0..count {
            let mut item = [number; 8];
            while let Err(full) = out.push(item) {
                item = full;
                spin_loop();
            }
            if number % 32 == 31 {
                out.publish();
            }
        }
        out.publish();
        drain.await.expect("the peer lives");
    }
}

fn receive<T>(consumer: &mut Consumer<T>) -> T {
    loop {
        if let Some(item) = consumer.pop() {
            return item;
        }
        spin_loop();
    }
}

/// Sends a call, and lets the turn end that shows it.
async fn send_now<F: Future>(shard: &Shard, call: &mut Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    shard.sleep(Duration::from_millis(1)).await;
}

/// Runs rounds of `count` operations and prints the median cost of one.
async fn measure(name: &str, count: u64, round: impl AsyncFn(u64)) {
    if std::env::args().skip(1).any(|word| !word.starts_with('-') && !name.contains(&word)) {
        return;
    }
    round(count / 10).await;
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round(count).await;
        costs.push(start.elapsed().as_nanos() as f64 / count as f64);
    }
    costs.sort_by(f64::total_cmp);
    println!("{name:<44} {:>8.1}   {:.1}–{:.1}", costs[ROUNDS / 2], costs[0], costs[ROUNDS - 1]);
}
