//! Bytes of one shard's pool in the hands of others: on simulated shards, seed by seed, and on real threads.

#![allow(clippy::disallowed_methods, reason = "threads beside the shards are what is tested")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use platform::limits::{HEAD_BUFFER_BYTES, SHARE_COPY_BYTES_MAX};
use platform::sim::Plan;
use platform::{BackendKind, Choice, Chunk, Config, Group, Handle, ListenOptions, Op, Outcome, PoolSize, select};
use shardwise_shards::{Operation, Runtime, Shard, Simulation};

/// So few receive buffers that a stream waits for one, of which one may be shared.
const BUFFERS: u16 = 4;

fn config() -> Config {
    Config { pool: PoolSize { head_buffers: BUFFERS, bulk_buffers: 1, bytes: 1 << 20 }, ..Config::default() }
}

/// How long another shard holds what this one waits for.
const HELD_TIME: Duration = Duration::from_millis(20);

/// What is waited for takes that time; the rest is a machine under load.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// What other shards hold at a shard.
type Kept = RefCell<Vec<(u8, Bytes)>>;

fn bytes(shard: &Shard, byte: u8, len: usize) -> Bytes {
    let mut chunk = shard.pool().lease(len).expect("the pool has room");
    chunk.spare()[..len].fill(byte);
    chunk.commit(len);
    chunk.freeze().share()
}

fn check_home(shard: &Shard, context: &str) {
    let stats = shard.pool().stats();
    assert_eq!((stats.heads_leased, stats.pooled_bytes, stats.shared), (0, 0, 0), "{context}: {stats:?}");
}

/// Every shard sends bytes of its pool to others, who look at them, pass some on, and keep some for a while.
async fn travel(shard: Shard, rounds: u64) {
    let keep = move |there: &Shard, byte: u8, data: Bytes| {
        assert!(data.iter().all(|&found| found == byte));
        let kept = there.local(Kept::default);
        let mut kept = kept.borrow_mut();
        kept.push((byte, data));
        if kept.len() > 8 {
            let index = there.random() as usize % kept.len();
            kept.swap_remove(index);
        }
        assert!(kept.iter().all(|(byte, data)| data.first().is_none_or(|first| first == byte)));
    };
    for round in 0..rounds {
        let (byte, len) = (round as u8, shard.random() as usize % (4 * SHARE_COPY_BYTES_MAX));
        let data = bytes(&shard, byte, len);
        let (first, second) = (shard.random() as usize % shard.count(), shard.random() as usize % shard.count());
        match round % 3 {
            0 => shard.on(first, move |there| keep(there, byte, data)).await.unwrap(),
            1 => {
                let back = shard.on(first, move |_| data.slice(data.len() / 2..)).await.unwrap();
                assert!(back.len() == len.div_ceil(2) && back.iter().all(|&found| found == byte));
            }
            _ => {
                let pass_on = async move |there: Shard| {
                    let half = data.slice(..data.len() / 2);
                    there.post(second, move |there| keep(there, byte, half)).await.unwrap();
                };
                shard.on_async(first, pass_on).await.unwrap();
            }
        }
    }
}

#[test]
fn bytes_travel_between_simulated_shards_and_come_home() {
    for seed in 0..40 {
        let mut simulation = Simulation::with_plan(seed, Plan::HOSTILE, config());
        let program = simulation.start(4, async move |shard| {
            travel(shard.clone(), 200).await;
            // The others may still be at it.
            shard.sleep(Duration::from_secs(600)).await;
            let shared = shard.pool().stats();
            assert!(shared.shared_returned > 0 || shared.shared > 0, "seed {seed}: {shared:?}");
            shard.local(Kept::default).borrow_mut().clear();
            shard.sleep(Duration::from_secs(1)).await;
            check_home(&shard, &format!("seed {seed}"));
            Ok::<_, String>(())
        });
        simulation.run_to_end();
        assert!(program.results().iter().all(|result| *result == Some(Ok(()))), "seed {seed}: {:?}", program.results());
    }
}

/// Shards end one after another with bytes of each other in hand: what is left of a shard's pool goes with whoever holds it last.
#[test]
fn bytes_outlive_the_shard_that_they_come_from() {
    for seed in 0..10 {
        let left = Rc::new(RefCell::new(Vec::new()));
        let (kept, mut simulation) = (Rc::clone(&left), Simulation::new(seed));
        simulation.start(2, async move |shard| {
            let peer = 1 - shard.number();
            for byte in 0..20 {
                let data = bytes(&shard, byte, 2 * SHARE_COPY_BYTES_MAX);
                kept.borrow_mut().push((byte, data.clone()));
                shard.on(peer, move |there| there.local(Kept::default).borrow_mut().push((byte, data))).await.unwrap();
            }
            Ok::<_, String>(())
        });
        simulation.run_to_end();
        drop(simulation);
        let left = left.take();
        assert_eq!(left.len(), 40);
        std::thread::spawn(move || assert!(left.iter().all(|(byte, data)| data.iter().all(|found| found == byte))))
            .join()
            .unwrap();
    }
}

#[test]
fn bytes_travel_between_real_shards_and_come_home() {
    let run = Runtime::builder().shards(3).oversubscribe(true).handle_signals(false).announce(false);
    let run = run.run(async |shard: Shard| {
        travel(shard.clone(), 3000).await;
        for number in 0..shard.count() {
            // Nobody sends any more once each has been here.
            shard
                .on(number, |there| there.local(Kept::default).borrow_mut().clear())
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    });
    run.expect("it runs to its end");
}

/// A connection of a shard with itself: one end receives.
async fn connect(shard: &Shard, address: &str) -> (Handle, Operation) {
    let listener = shard.with_reactor(|reactor| {
        let address = address.parse().expect("an address");
        let socket = reactor.listen(address, 1, &ListenOptions::default()).expect("a free port").remove(0);
        reactor.adopt(socket).expect("it fits")
    });
    let address = shard.with_reactor(|reactor| reactor.local_address(listener)).expect("a bound socket");
    let mut accepts = shard.start(Op::Accept { listener }).expect("it starts");
    let client = shard.with_reactor(|reactor| reactor.stream_socket(address)).expect("a socket");
    let connect = shard.start(Op::Connect { socket: client, peer: address }).expect("it starts");
    connect.await.result.expect("it connects");
    let Ok(Outcome::Accepted(server)) = accepts.next().await.result else { panic!("an accept gives connections") };
    (client, shard.start(Op::Receive { socket: server, group: Group::Heads }).expect("it starts"))
}

async fn received(shard: &Shard, client: Handle, at_server: &mut Operation, data: Vec<u8>) -> Chunk {
    let send = Op::Send { socket: client, data: data.into(), zero_copy: false };
    shard.start(send).expect("it starts").await.result.expect("it is sent");
    match at_server.next().await.result {
        Ok(Outcome::Received(chunk)) => chunk,
        other => panic!("a receive gives chunks, not {other:?}"),
    }
}

/// A shard waits for a buffer, and has nothing else to do; the last one is at another shard, which drops it after a while.
async fn wait_for_the_last_buffer(shard: Shard, address: &'static str) {
    if shard.number() != 0 {
        return;
    }
    let (client, mut at_server) = connect(&shard, address).await;
    let mut held = Vec::new();
    for byte in 1..=BUFFERS as u8 {
        held.push(received(&shard, client, &mut at_server, vec![byte; HEAD_BUFFER_BYTES as usize]).await);
    }
    let there = held.pop().expect("it was just pushed").share();
    assert_eq!(shard.pool().stats().shared, 1);
    // A task of its own there, so that no answer of its comes at the same time and wakes this shard.
    let hold = move |other: &Shard| {
        let holder = other.clone();
        let held = async move {
            holder.sleep(HELD_TIME).await;
            assert!(there.iter().all(|&byte| byte == BUFFERS as u8));
        };
        other.spawn(held).map(drop).expect("it is spawned");
    };
    let next = shard.spawn({
        let shard = shard.clone();
        async move { received(&shard, client, &mut at_server, vec![9; 100]).await }
    });
    let next = next.expect("it is spawned");
    while shard.with_reactor(|reactor| reactor.stats().starved) == 0 {
        shard.sleep(Duration::from_millis(1)).await;
    }
    let before = shard.clock();
    shard.on(1, hold).await.expect("the other shard lives");
    let next = shard.timeout(WAIT_MAX, next).await.expect("it is woken for the buffer");
    assert_eq!(next.expect("it ran")[..], [9; 100]);
    let waited = shard.clock() - before;
    // The timer wheel may have it up once on the way, at more than half the time.
    assert!(
        waited >= HELD_TIME && waited < WAIT_MAX / 4,
        "it is woken for the buffer, and not by an alarm: {waited:?}"
    );
    assert_eq!(shard.pool().stats().shared_returned, 1);
}

#[test]
fn a_simulated_shard_gets_its_last_buffer_back() {
    for seed in 0..10 {
        let mut simulation = Simulation::with_plan(seed, Plan::CALM, config());
        let program = simulation.start(2, async |shard| {
            wait_for_the_last_buffer(shard, "10.0.0.1:80").await;
            Ok::<_, String>(())
        });
        simulation.run_to_end();
        assert!(program.has_ended(), "seed {seed}: {:?}", program.results());
    }
}

#[test]
fn a_sleeping_shard_gets_its_last_buffer_back() {
    for kind in [BackendKind::Uring, BackendKind::Epoll, BackendKind::Polling] {
        let choice = Choice::Force(kind);
        if let Err(error) = select(choice, &config()) {
            println!("skipped: {error}");
            continue;
        }
        let run = Runtime::builder().shards(2).oversubscribe(true).handle_signals(false).announce(false);
        let run = run.backend(choice).config(config()).spin(Duration::ZERO).run(async |shard: Shard| {
            wait_for_the_last_buffer(shard, "127.0.0.1:0").await;
            Ok::<_, String>(())
        });
        run.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}
