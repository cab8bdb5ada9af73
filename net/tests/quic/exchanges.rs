//! What is said arrives, whole and in order, whatever the network does.

use std::time::Duration;

use platform::sim::Plan;
use shardwise_net::limits::QUIC_STREAMS_AT_FIRST;
use shardwise_net::quic::{Dir, Event};

use crate::kit::{Client, Setup, World, check, pattern, run};

/// Small and large, one by one and many at a time.
async fn exchange(world: World) {
    let mut client = world.connected().await;
    assert_eq!(client.0.protocol().as_deref(), Some(&b"h3"[..]));
    for bytes in [0, 1, 1200, 100_000, 700_000] {
        let data = pattern(bytes);
        assert!(client.ask(&data).await.expect("an answer") == data, "{bytes} bytes come back");
    }
    let all: Vec<_> = (0..150).map(|count| pattern(count * 40)).collect();
    let all: Vec<_> = all.iter().map(Vec::as_slice).collect();
    assert!(client.ask_all(&all).await.expect("answers") == all, "all of many come back");
    client.close().await;
}

#[test]
fn on_a_calm_network() {
    check(1, Plan::CALM, Setup::new(), exchange);
}

#[test]
fn who_asks_much_at_a_time_is_granted_more_streams() {
    let mut setup = Setup::new();
    setup.server.streams_max = 200;
    let open_all = |client: &mut Client| std::iter::from_fn(|| client.0.open(Dir::Bi)).count() as u32;
    check(1, Plan::CALM, setup, async move |world: World| {
        for (asked, expect) in [(1, QUIC_STREAMS_AT_FIRST - 1..=QUIC_STREAMS_AT_FIRST), (100, 170..=200)] {
            let mut client = world.connected().await;
            client.ask_all(&vec![&b"one"[..]; asked]).await.expect("answers");
            client.rest(Duration::from_secs(1)).await;
            let open = open_all(&mut client);
            assert!(expect.contains(&open), "{open} can be open");
            client.close().await;
        }
    });
}

#[test]
fn on_networks_that_cut_and_kernels_that_are_late() {
    for seed in 1..=4 {
        check(seed, Plan::CHOPPY, Setup::new(), exchange);
        check(seed, Plan::LATE, Setup::new(), exchange);
    }
}

#[test]
fn on_hostile_machines() {
    // None of them sleeps for longer than a connection may be silent.
    let plan = Plan { leap_every: Plan::CALM.leap_every, ..Plan::HOSTILE };
    for seed in 1..=8 {
        check(seed, plan, Setup::new(), exchange);
    }
}

#[test]
fn whatever_share_of_datagrams_goes_wrong() {
    for seed in 1..=4 {
        for share in [0.01, 0.05, 0.1] {
            check(seed, Plan::rough(share), Setup::new(), exchange);
        }
        let plans = [
            Plan { lost_datagrams: 0.2, ..Plan::CHOPPY },
            Plan { doubled_datagrams: 0.2, ..Plan::CHOPPY },
            Plan { late_datagrams: 0.2, ..Plan::CHOPPY },
            Plan { corrupt_datagrams: 0.2, ..Plan::CHOPPY },
        ];
        for plan in plans {
            check(seed, plan, Setup::new(), exchange);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let setup = Setup::new();
    let hash = |seed, plan| run(seed, plan, setup.clone(), exchange);
    for seed in 1..=2 {
        for plan in [Plan::CALM, Plan::HOSTILE] {
            assert_eq!(hash(seed, plan), hash(seed, plan), "seed {seed}");
        }
    }
    assert_ne!(hash(1, Plan::CALM), hash(2, Plan::CALM), "another seed gives another");
}

#[test]
fn datagrams_come_back() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let mut client = world.connected().await;
        let max = client.0.datagram_bytes_max().expect("both take datagrams");
        let data = pattern(max);
        client.0.send_datagram(data.clone().into()).expect("there is room");
        client.until(|event| matches!(event, Event::Datagrams)).await.expect("an answer");
        assert!(client.0.receive_datagram().expect("it has come") == data);
        client.close().await;
    });
}
