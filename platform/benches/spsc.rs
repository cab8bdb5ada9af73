//! What an item costs on its way from one pinned thread to another: `cargo bench -p shardwise-platform --bench spsc`.
//!
//! The first two CPUs that a server would take are used. Each line is the median of [`ROUNDS`] runs, with the smallest
//! and the largest.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use shardwise_platform::spsc::ring;
use shardwise_platform::topology::{CpuId, Topology, pin};
use std::hint::spin_loop;
use std::thread;
use std::time::Instant;

const CAPACITY: usize = 1024;
const ITEM_COUNT: u64 = 4_000_000;
const TURN_COUNT: u64 = 200_000;
const ROUNDS: usize = 11;

fn main() {
    let placement = Topology::read().place(Some(2), false).expect("the benchmark needs two CPUs");
    let cpus = [0, 1].map(|shard| placement.shards[shard].expect("two CPUs are enough for two shards"));
    println!("CPUs {} and {}, items of 8 and of 64 bytes, {CAPACITY} slots, {ROUNDS} rounds", cpus[0], cpus[1]);
    for batch in [1, 8, 32, 256] {
        report(&format!("one way, 8 bytes, published by {batch}"), || one_way(cpus, batch, |number| number));
        report(&format!("one way, 64 bytes, published by {batch}"), || one_way(cpus, batch, |number| [number; 8]));
    }
    report("one thread, 8 bytes, published by 32", || one_thread(|number| number));
    report("one thread, 64 bytes, published by 32", || one_thread(|number| [number; 8]));
    report("there and back, one at a time", || there_and_back(cpus));
}

fn report(name: &str, nanoseconds: impl Fn() -> f64) {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| nanoseconds()).collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:42} {:7.2} ns ({:.2} to {:.2})", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
}

/// Nanoseconds per item when one thread pushes as fast as the other drains.
fn one_way<T: Send + 'static>(cpus: [CpuId; 2], batch: u64, item: impl Fn(u64) -> T + Sync) -> f64 {
    let (mut producer, mut consumer) = ring(CAPACITY);
    let start = Instant::now();
    thread::scope(|scope| {
        let item = &item;
        scope.spawn(move || {
            pin(cpus[0]).expect("the CPU may be used");
            for number in 0..ITEM_COUNT {
                let mut waiting = item(number);
                while let Err(back) = producer.push(waiting) {
                    waiting = back;
                    spin_loop();
                }
                if number % batch == batch - 1 {
                    producer.publish();
                }
            }
        });
        scope.spawn(move || {
            pin(cpus[1]).expect("the CPU may be used");
            let mut left = ITEM_COUNT;
            while left > 0 {
                left -= consumer.drain().map(std::hint::black_box).count() as u64;
                spin_loop();
            }
        });
    });
    start.elapsed().as_nanos() as f64 / ITEM_COUNT as f64
}

/// Nanoseconds per item when both ends take turns on one thread: the instructions alone, without a cache line moving.
fn one_thread<T>(item: impl Fn(u64) -> T) -> f64 {
    let (mut producer, mut consumer) = ring(CAPACITY);
    let start = Instant::now();
    for batch in 0..ITEM_COUNT / 32 {
        for number in 0..32 {
            assert!(producer.push(item(batch + number)).is_ok(), "the ring is empty");
        }
        producer.publish();
        consumer.drain().for_each(|item| drop(std::hint::black_box(item)));
    }
    start.elapsed().as_nanos() as f64 / ITEM_COUNT as f64
}

/// Nanoseconds for one item to go over one ring and come back over another.
fn there_and_back(cpus: [CpuId; 2]) -> f64 {
    let (mut requests, mut arrivals) = ring(CAPACITY);
    let (mut replies, mut answers) = ring(CAPACITY);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            pin(cpus[0]).expect("the CPU may be used");
            for number in 0..TURN_COUNT {
                requests.push(number).expect("the ring is empty");
                requests.publish();
                while answers.pop().is_none() {
                    spin_loop();
                }
            }
        });
        scope.spawn(move || {
            pin(cpus[1]).expect("the CPU may be used");
            for _ in 0..TURN_COUNT {
                let number = loop {
                    match arrivals.pop() {
                        Some(number) => break number,
                        None => spin_loop(),
                    }
                };
                replies.push(number).expect("the ring is empty");
                replies.publish();
            }
        });
    });
    start.elapsed().as_nanos() as f64 / TURN_COUNT as f64
}
