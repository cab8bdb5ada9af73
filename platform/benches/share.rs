//! What it costs to hand a chunk to another thread, shared or copied: `cargo bench -p shardwise-platform --bench share`.
//!
//! One thread leases a chunk, fills it, makes bytes of it and pushes them; the other reads all of them and drops them. The
//! first two CPUs that a server would take are used. Each line is the median of [`ROUNDS`] runs, with the smallest and the
//! largest. The filling is in all of them, since it decides what lies in whose cache. A word after `--` chooses the lines that
//! contain it. To see what sharing would cost below `SHARE_COPY_BYTES_MAX`, set that to zero.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use bytes::Bytes;
use shardwise_platform::spsc::ring;
use shardwise_platform::topology::{CpuId, Topology, pin};
use shardwise_platform::{Chunk, Pool, PoolSize};
use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::Instant;

const CHUNKS: u64 = 20_000;
const ROUNDS: usize = 11;
/// Chunks on their way; fewer than may be out as shared.
const CAPACITY: usize = 64;

fn main() {
    let placement = Topology::read().place(Some(2), false).expect("the benchmark needs two CPUs");
    let cpus = [0, 1].map(|shard| placement.shards[shard].expect("two CPUs are enough for two shards"));
    println!("CPUs {} and {}, {ROUNDS} rounds", cpus[0], cpus[1]);
    let copy = |chunk: Chunk| Bytes::copy_from_slice(&chunk);
    for bytes in [512, 1024, 1536, 2048, 3072, 4096, 8192, 16_384, 65_536] {
        report(&format!("{bytes} bytes, copied, dropped at home"), || at_home(cpus[0], bytes, copy));
        report(&format!("{bytes} bytes, shared, dropped at home"), || at_home(cpus[0], bytes, Chunk::share));
        report(&format!("{bytes} bytes, copied, read and dropped there"), || sent(cpus, bytes, copy));
        report(&format!("{bytes} bytes, shared, read and dropped there"), || sent(cpus, bytes, Chunk::share));
    }
}

fn report(name: &str, nanoseconds: impl Fn() -> f64) {
    let chosen = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    if chosen.is_some_and(|word| !name.contains(&word)) {
        return;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| nanoseconds()).collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:42} {:7.1} ns ({:.1} to {:.1})", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
}

fn filled(pool: &Pool, bytes: usize) -> Chunk {
    let mut chunk = pool.lease(bytes).expect("the pool has room");
    chunk.spare()[..bytes].fill(7);
    chunk.commit(bytes);
    chunk.freeze()
}

fn at_home(cpu: CpuId, bytes: usize, make: fn(Chunk) -> Bytes) -> f64 {
    let pool = Pool::new(PoolSize::default());
    pin(cpu).expect("the CPU may be used");
    let start = Instant::now();
    for _ in 0..CHUNKS {
        drop(black_box(make(filled(&pool, bytes))));
        black_box(pool.stats());
    }
    start.elapsed().as_nanos() as f64 / CHUNKS as f64
}

fn sent(cpus: [CpuId; 2], bytes: usize, make: fn(Chunk) -> Bytes) -> f64 {
    let (mut producer, mut consumer) = ring(CAPACITY);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            pin(cpus[0]).expect("the CPU may be used");
            let pool = Pool::new(PoolSize::default());
            for _ in 0..CHUNKS {
                let mut waiting = make(filled(&pool, bytes));
                while let Err(back) = producer.push(waiting) {
                    waiting = back;
                    spin_loop();
                }
                producer.publish();
                // As an enter does.
                black_box(pool.stats());
            }
        });
        scope.spawn(move || {
            pin(cpus[1]).expect("the CPU may be used");
            let mut left = CHUNKS;
            while left > 0 {
                for shared in consumer.drain() {
                    black_box(shared.iter().map(|&byte| u64::from(byte)).sum::<u64>());
                    left -= 1;
                }
                spin_loop();
            }
        });
    });
    start.elapsed().as_nanos() as f64 / CHUNKS as f64
}
