//! A thousand hostile clients at once, of three kinds, beside one that behaves.

use std::time::Duration;

use shardwise_net::Config;

use crate::kit::{Setup, World, get, post, run, seconds};

/// Hostile clients; a third of each kind.
const CROWD: usize = 1000;

/// Requests of the good client, one each 100 ms: for as long as the hostile ones may stay, and after.
const REQUESTS: usize = 600;

/// What one run came to.
#[derive(Debug)]
struct Told {
    /// Of the good client's requests, in order of length.
    times: Vec<Duration>,
    pooled_bytes: u64,
    heads_leased: u32,
    slow: [u64; 3],
}

fn told(seed: u64, crowd: usize) -> Told {
    run(Setup { seed, ..Setup::default() }, async move |world| {
        let hostile: Vec<_> = (0..crowd).map(|number| world.spawn(hostile(world.clone(), number))).collect();
        let mut good = world.open().await;
        let mut times = Vec::new();
        for number in 0..REQUESTS {
            let (path, begin) = (["/", "/text/500"][number % 2], world.shard.now());
            assert!(good.ask(path).await.starts_with("HTTP/1.1 200"), "request {number}");
            times.push(world.shard.now() - begin);
            world.sleep(Duration::from_millis(100)).await;
        }
        for client in hostile {
            client.await;
        }
        times.sort_unstable();
        let stats = &world.stats;
        Told {
            times,
            pooled_bytes: world.seen.pooled_bytes.get(),
            heads_leased: world.seen.heads_leased.get(),
            slow: [stats.timed_out.get(), stats.slow_bodies.get(), stats.slow_readers.get()],
        }
    })
}

/// Comes at some time of the first second, and is slow until the server has had enough, which comes in time.
async fn hostile(world: World, number: usize) {
    world.sleep(Duration::from_micros(world.shard.random() % 1_000_000)).await;
    let mut client = world.open().await;
    let begin = world.shard.now();
    match number % 3 {
        // A head, byte by byte.
        0 => {
            let head = get(&format!("/{}", "x".repeat(200)));
            for &byte in head.as_bytes() {
                if !client.send([byte]).await || world.shard.timeout(seconds(1), client.read()).await.is_ok() {
                    break;
                }
            }
            drop(client.rest().await);
        }
        // A body, byte by byte.
        1 => {
            client.send(post("/body", 1000)).await;
            while client.send(*b"x").await && world.shard.timeout(seconds(1), client.read()).await.is_err() {}
            drop(client.rest().await);
        }
        // An answer that is not read.
        _ => {
            client.send(get("/stream/10000000")).await;
            world.sleep(seconds(35)).await;
            while client.read().await.is_ok() {}
        }
    }
    let time = world.shard.now() - begin;
    assert!(time < seconds(45), "client {number} was ended after {time:?}");
}

#[test]
fn a_thousand_slow_clients_do_not_slow_others_down() {
    for seed in [1, 2] {
        let [alone, beside] = [told(seed, 0), told(seed, CROWD)];
        let p99 = [&alone, &beside].map(|told| told.times[REQUESTS * 99 / 100]);
        println!(
            "p99 alone {:?}, beside {CROWD} {:?}; pooled {}, pinned {}",
            p99[0], p99[1], beside.pooled_bytes, beside.heads_leased
        );
        assert!(p99[1] <= p99[0] * 12 / 10, "{p99:?}");
        let config = Config::default();
        // One outbox on its way and one that is gathered for each reader, and what a task's input holds.
        let bytes_max = CROWD.div_ceil(3) * 2 * (config.gather_bytes_max + 32 * 1024) + CROWD * 4096;
        assert!(beside.pooled_bytes as usize <= bytes_max, "{} of {bytes_max} bytes", beside.pooled_bytes);
        assert!(beside.heads_leased <= 256 / 8, "{} receive buffers are pinned", beside.heads_leased);
        let [timed_out, bodies, readers] = beside.slow;
        let third = CROWD as u64 / 3;
        assert!(bodies == third && readers == third && timed_out >= 2 * third, "each by its limit: {:?}", beside.slow);
    }
}
