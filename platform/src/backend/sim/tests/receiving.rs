//! Receiving with a slow reader and with too few buffers.

use super::*;

#[test]
fn a_slow_reader_pauses_its_stream_and_loses_nothing() {
    for seed in 0..20 {
        let mut fixture = Fixture::with_pool(
            seed,
            PLANS[seed as usize % PLANS.len()],
            PoolSize { head_buffers: 32, bulk_buffers: 1, bytes: 1 << 20 },
        );
        let (client, server) = fixture.pair();
        let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
        let mut sent = Vec::new();
        for round in 0..100 {
            let data = pattern(seed ^ round, 1 + 11 * round as usize);
            assert_eq!(fixture.send(CLIENT, client, &data), Ok(data.len()));
            sent.extend_from_slice(&data);
            while fixture.step() {}
        }
        assert_eq!(fixture.shards[SERVER].stats().pauses, 1, "seed {seed}");
        // A late cancel lets a stream go on for a while, as a kernel would.
        let late = if seed as usize % PLANS.len() == 2 { limits::PARTS_AFTER_CANCEL_MAX } else { 0 };
        assert!(fixture.shards[SERVER].pool().stats().heads_leased <= STREAM_QUEUE_MAX + late);
        fixture.shards[CLIENT].close(client);
        let mut received = Vec::new();
        loop {
            match fixture.result(SERVER, &token) {
                Ok(Outcome::Received(chunk)) => received.extend_from_slice(&chunk),
                Ok(Outcome::EndOfInput) => break,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(received == sent, "seed {seed}");
        fixture.finish(&[(SERVER, server)]);
    }
}

#[test]
fn a_pool_of_one_buffer_starves_and_recovers() {
    let mut fixture = Fixture::with_pool(12, Plan::CALM, PoolSize { head_buffers: 1, bulk_buffers: 1, bytes: 1 << 20 });
    let pairs = [fixture.pair(), fixture.pair()];
    let data = [pattern(1, 30_000), pattern(2, 30_000)];
    let tokens = pairs.map(|(_, server)| fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads }));
    for ((client, _), data) in pairs.iter().zip(&data) {
        assert_eq!(fixture.send(CLIENT, *client, data), Ok(data.len()));
    }
    while fixture.step() {}
    assert!(fixture.shards[SERVER].stats().starved >= 2);
    let mut received = [Vec::new(), Vec::new()];
    while received != data {
        let before = received.clone();
        for (token, received) in tokens.iter().zip(&mut received) {
            while let Some(completion) = fixture.shards[SERVER].take(token, 1) {
                let Ok(Outcome::Received(chunk)) = completion.result else { panic!() };
                received.extend_from_slice(&chunk);
            }
        }
        assert!(fixture.step() || received != before, "stuck");
    }
    for token in tokens {
        fixture.shards[SERVER].abandon(token);
    }
    let sockets = pairs.iter().flat_map(|&(client, server)| [(CLIENT, client), (SERVER, server)]);
    let sockets: Vec<_> = sockets.collect();
    fixture.finish(&sockets);
}

/// A stream was started again when a buffer came home, though its reader had not caught up, and pinned one buffer more
/// each time.
#[test]
fn a_starved_stream_waits_for_its_reader_too() {
    for seed in 0..50 {
        let plan = Plan { missed_buffers: 0.5, late_completions: 0.5, ..Plan::CALM };
        let pool = PoolSize { head_buffers: 32, bulk_buffers: 1, bytes: 1 << 20 };
        let mut fixture = Fixture::with_pool(seed, plan, pool);
        let (client, server) = fixture.pair();
        let token = fixture.start(SERVER, Op::Receive { socket: server, group: Group::Heads });
        let mut sent = Vec::new();
        for round in 0..40 {
            let data = pattern(seed ^ round, 100);
            assert_eq!(fixture.send(CLIENT, client, &data), Ok(data.len()));
            sent.extend_from_slice(&data);
        }
        while fixture.step() {}
        assert_eq!(fixture.shards[SERVER].stats().pauses, 1, "seed {seed}: it is paused once");
        fixture.shards[CLIENT].close(client);
        let mut received = Vec::new();
        while let Ok(Outcome::Received(chunk)) = fixture.result(SERVER, &token) {
            received.extend_from_slice(&chunk);
        }
        assert!(received == sent, "seed {seed}");
        fixture.finish(&[(SERVER, server)]);
    }
}

#[test]
fn a_buffer_that_the_machine_does_not_see_delays_and_loses_nothing() {
    for seed in 0..20 {
        let mut fixture = Fixture::new(seed, Plan { missed_buffers: 1.0, ..Plan::CALM });
        let (client, server) = fixture.pair();
        let data = pattern(seed, 2 * ROOM + 1000);
        assert_eq!(fixture.send(CLIENT, client, &data), Ok(data.len()));
        fixture.shards[CLIENT].close(client);
        assert!(fixture.drain(SERVER, server) == (data, None), "seed {seed}");
        let (missed, starved) = (fixture.count("missed-buffer"), fixture.shards[SERVER].stats().starved);
        assert!(missed >= 3, "each of three buffers is missed once: {missed}");
        assert!(starved >= missed as u64);
        fixture.finish(&[(SERVER, server)]);
    }
}
