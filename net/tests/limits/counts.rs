//! How many: requests of a connection and its age, requests of a pipeline that nobody reads, connections of a client.

use platform::limits::HEAD_BUFFER_BYTES;
use shardwise_net::Config;

use crate::kit::{Ended, SEEDS, Setup, get, run, seconds};

fn setup(seed: u64, config: Config) -> Setup {
    Setup { seed, plan: platform::sim::Plan::CHOPPY, config, ..Setup::default() }
}

/// The last answer says so, and arrives although more was asked.
#[test]
fn a_connection_has_so_many_requests() {
    for seed in 1..=SEEDS {
        for asked in [3, 5, 2000] {
            let config = Config { connection_requests_max: 3, ..Config::default() };
            run(setup(seed, config), async move |world| {
                let mut client = world.open().await;
                client.send(get("/").repeat(asked)).await;
                for left in [2, 1, 0] {
                    let answer = client.answer().await;
                    assert_eq!(answer.contains("Connection: close"), left == 0, "{answer}");
                }
                assert_eq!(client.rest().await, (String::new(), Ended::InOrder));
                assert_eq!((world.stats.requests.get(), world.stats.retired.get()), (3, 1));
                assert!(world.is_served().await, "another connection is another matter");
            });
        }
    }
}

#[test]
fn a_connection_gets_so_old() {
    for seed in 1..=SEEDS {
        let config = Config { connection_time_max: seconds(100), idle_time_max: seconds(60), ..Config::default() };
        run(setup(seed, config), async move |world| {
            let [mut busy, mut idle] = [world.open().await, world.open().await];
            for _ in 0..3 {
                world.sleep(seconds(33)).await;
                assert!(!busy.ask("/").await.contains("Connection: close"));
                assert!(!idle.ask("/").await.contains("Connection: close"));
            }
            world.sleep(seconds(2)).await;
            assert!(busy.ask("/").await.contains("Connection: close"), "older than 100 seconds");
            assert_eq!(busy.rest().await, (String::new(), Ended::InOrder));
            assert_eq!(world.stats.retired.get(), 1);
            // Who asks nothing is not cut off at once: its next request may be on its way.
            let begin = world.shard.now();
            assert_eq!(idle.rest().await, (String::new(), Ended::InOrder));
            assert!(world.shard.now() - begin > seconds(50), "it was idle for so long");
        });
    }
}

/// Sends 1,500 requests for a KiB each and reads nothing for a time. Gives how many were taken in hand until then.
fn taken_in_hand(seed: u64, gather_bytes_max: usize) -> u64 {
    run(setup(seed, Config { gather_bytes_max, ..Config::default() }), async move |world| {
        let mut client = world.open().await;
        client.send(get("/text/1000").repeat(1500)).await;
        world.sleep(seconds(20)).await;
        let (taken, held) = (world.stats.requests.get(), world.stats.pipelines_held.get());
        assert!(held > 0);
        for _ in 0..1500 {
            assert!(client.answer().await.starts_with("HTTP/1.1 200"));
        }
        taken
    })
}

/// What nobody reads is in the kernel, in one send, and gathered for the next: then no further request is looked at.
#[test]
fn a_pipeline_whose_answers_are_not_read_is_not_answered_further() {
    /// In the sender's and the receiver's half of the network, and what the client's shard receives ahead.
    const NETWORK_BYTES: usize = (64 + 64) * 1024 + 33 * HEAD_BUFFER_BYTES as usize;
    for seed in 1..=SEEDS {
        let taken = [16 * 1024, 256 * 1024].map(|bytes| (bytes, taken_in_hand(seed, bytes)));
        for (bytes, taken) in taken {
            let bytes_max = 2 * (bytes + 8 * 1024) + NETWORK_BYTES;
            assert!(taken as usize * 1100 <= bytes_max, "{taken} requests in hand with {bytes} bytes");
        }
        // Of limits that the network takes several times over, it depends on how they add up.
        assert!(taken[0].1 < taken[1].1, "the limit is what holds them: {taken:?}");
    }
}

#[test]
fn a_client_has_so_many_connections() {
    for seed in 1..=SEEDS {
        let config = Config { connections_per_client_max: Some(3), ..Config::default() };
        run(setup(seed, config), async move |world| {
            let mut clients = Vec::new();
            for _ in 0..3 {
                let mut client = world.open().await;
                assert!(client.ask("/").await.ends_with("hello"));
                clients.push(client);
            }
            for refused in 1..=10 {
                assert_eq!(world.open().await.rest().await, (String::new(), Ended::InOrder));
                assert_eq!(world.stats.clients_refused.get(), refused);
            }
            assert!(clients[0].ask("/").await.ends_with("hello"), "the others do not notice");
            clients.pop();
            world.sleep(seconds(1)).await;
            assert!(world.is_served().await, "one has left");
        });
    }
}
