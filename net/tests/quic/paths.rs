//! Clients that show where they are, and clients that move.

use std::time::Duration;

use platform::sim::Plan;
use shardwise_net::quic::Closed;

use crate::kit::{Identity, Relay, Setup, World, check, pattern};

#[test]
fn a_client_shows_where_it_is_if_asked() {
    let mut setup = Setup::new();
    setup.server.unproved_handshakes_max = 0;
    for seed in 1..=4 {
        check(seed, if seed == 1 { Plan::CALM } else { Plan::HOSTILE }, setup.clone(), async |world| {
            let mut client = world.connected().await;
            assert_eq!(client.ask(b"hello").await.expect("an answer"), b"hello");
            assert!(world.served.quic_retries.get() >= 1);
            client.close().await;
        });
    }
}

/// RFC 9000 section 8.1.3: by a token, which every shard knows, and which holds for its address.
#[test]
fn a_client_that_comes_back_has_shown_where_it_is() {
    let mut setup = Setup::new();
    (setup.server.unproved_handshakes_max, setup.shards) = (0, 2);
    check(1, Plan::CALM, setup.clone(), async |world| {
        let relay = Relay::start(&world);
        for count in 0..4 {
            relay.shard.set(count % 2);
            let mut client = world.connected_by(&relay).await;
            client.ask(b"hello").await.expect("an answer");
            client.close().await;
            assert_eq!(world.served.quic_retries.get(), 1, "only who is new is asked");
        }
        relay.end().await;
        // To the server it is somewhere else.
        let mut client = world.connected().await;
        client.ask(b"hello").await.expect("an answer");
        client.close().await;
        assert_eq!(world.served.quic_retries.get(), 2);
    });
    setup.server.tokens_sent = 0;
    check(1, Plan::CALM, setup, async |world| {
        for count in 1..=2 {
            let mut client = world.connected().await;
            client.ask(b"hello").await.expect("an answer");
            client.close().await;
            assert_eq!(world.served.quic_retries.get(), count);
        }
    });
}

#[test]
fn what_it_has_shown_holds_for_its_address_only() {
    let mut setup = Setup::new();
    setup.server.unproved_handshakes_max = 0;
    check(1, Plan::CALM, setup, async |world| {
        let relay = Relay::start(&world);
        // The first packet goes from one address, the one with the token from another.
        relay.moves_after(1);
        let mut client = world.connect_by(&relay);
        // INVALID_TOKEN, RFC 9000 section 20.1.
        assert_eq!(client.closed().await, Closed::ByPeerTransport(0xb, b""[..].into()));
        client.close().await;
        relay.end().await;
    });
}

#[test]
fn what_it_has_shown_one_shard_it_has_shown_all() {
    let mut setup = Setup::new();
    (setup.server.unproved_handshakes_max, setup.shards) = (0, 2);
    check(1, Plan::CALM, setup, async |world| {
        let relay = Relay::start(&world);
        let mut client = world.connect_by(&relay);
        // The packet with the token comes to another shard than the first.
        client.rest(Duration::from_micros(1)).await;
        relay.shard.set(1);
        client.ask(b"hello").await.expect("an answer");
        assert_eq!(world.served.quic_retries.get(), 1);
        client.close().await;
        relay.end().await;
    });
}

#[test]
fn a_client_goes_on_from_another_address() {
    for seed in 1..=4 {
        check(seed, if seed == 1 { Plan::CALM } else { Plan::HOSTILE }, Setup::new(), async |world| {
            let mut client = world.connected().await;
            client.ask(b"here").await.expect("an answer");
            for count in 1..=3 {
                loop {
                    // Descriptors may be scarce.
                    match world.endpoint.rebind("10.0.0.2:0".parse().expect("an address")) {
                        Ok(()) => break,
                        Err(_) => world.sleep(Duration::from_millis(1)).await,
                    }
                }
                let data = pattern(100_000);
                assert!(client.ask(&data).await.expect("an answer") == data, "{count} moves");
                assert!(world.served.quic_migrations.get() >= count);
            }
            client.close().await;
        });
    }
}

#[test]
fn a_router_forgets_a_client_that_is_silent() {
    for seed in 1..=4 {
        check(seed, Plan::CHOPPY, Setup::new(), async |world| {
            let relay = Relay::start(&world);
            let mut client = world.connected_by(&relay).await;
            client.ask(b"here").await.expect("an answer");
            relay.moves_next();
            let data = pattern(100_000);
            assert!(client.ask(&data).await.expect("an answer") == data);
            assert_eq!(world.served.quic_migrations.get(), 1);
            client.close().await;
            relay.end().await;
        });
    }
}

#[test]
fn a_router_forgets_a_client_in_the_middle_of_its_hand_shake() {
    for seed in 1..=40 {
        let plan = [Plan::CALM, Plan::LATE, Plan::rough(0.02), Plan::rough(0.05)][(seed / 4 % 4) as usize];
        check(seed, plan, Setup::new(), async move |world| {
            let relay = Relay::start(&world);
            relay.moves_after(1 + (seed % 4) as u32);
            let mut client = world.connect_by(&relay);
            let data = pattern(50_000);
            assert!(client.ask(&data).await.expect("an answer") == data);
            // The old path, which is probed, leads nowhere any more.
            client.rest(Duration::from_secs(3)).await;
            assert!(client.ask(&data).await.expect("an answer") == data);
            // Where its first packets were lost, the hand-shake began at the new address.
            assert!(world.served.quic_migrations.get() == 1 || seed / 4 % 4 > 0);
            client.close().await;
            relay.end().await;
        });
    }
}

/// None of the server's packets reach the client before that: it sends its first once more.
#[test]
fn a_client_that_has_heard_nothing_goes_on_from_another_address() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let relay = Relay::start(&world);
        relay.is_deaf.set(true);
        let mut client = world.connect_by(&relay);
        client.rest(Duration::from_millis(100)).await;
        relay.is_deaf.set(false);
        relay.moves_next();
        assert_eq!(client.ask(b"hello").await.expect("an answer"), b"hello");
        assert_eq!((world.served.quic_handshakes.get(), world.served.quic_migrations.get()), (1, 1));
        client.close().await;
        relay.end().await;
    });
}

#[test]
fn no_new_address_is_sent_more_than_three_times_what_came_from_there() {
    let mut setup = Setup::new();
    setup.identity = Identity::large();
    check(1, Plan::CALM, setup, async |world| {
        let relay = Relay::start(&world);
        // The client never shows that it receives there.
        relay.is_mute.set(true);
        relay.moves_after(1);
        let mut client = world.connect_by(&relay);
        assert_eq!(client.ask(b"hello").await, Err(Closed::TimedOut));
        assert!(relay.from_server.get() > 3 * 1200, "it is sent something there");
        assert_eq!(relay.exceeded.get(), 0);
        client.close().await;
        relay.end().await;
    });
    let mut setup = Setup::new();
    setup.identity = Identity::large();
    check(2, Plan::CALM, setup, async |world| {
        let relay = Relay::start(&world);
        relay.moves_after(1);
        let mut client = world.connect_by(&relay);
        assert_eq!(client.ask(b"hello").await.expect("an answer"), b"hello");
        client.close().await;
        relay.end().await;
    });
}

#[test]
fn a_server_that_does_not_want_to_does_not_follow_a_hand_shake() {
    let mut setup = Setup::new();
    setup.server.migrates = false;
    check(1, Plan::CALM, setup, async |world| {
        let relay = Relay::start(&world);
        relay.moves_after(1);
        let mut client = world.connect_by(&relay);
        assert_eq!(client.ask(b"hello").await, Err(Closed::TimedOut));
        client.close().await;
        relay.end().await;
    });
}

#[test]
fn a_server_that_does_not_want_to_loses_a_client_that_moves() {
    let mut setup = Setup::new();
    setup.server.migrates = false;
    check(1, Plan::CALM, setup, async |world| {
        let mut client = world.connected().await;
        client.ask(b"here").await.expect("an answer");
        world.endpoint.rebind("10.0.0.2:0".parse().expect("an address")).expect("a socket");
        assert_eq!(client.ask(b"there").await, Err(Closed::TimedOut));
        client.close().await;
    });
}

/// More than are admitted without a Retry, and more than a turn has time for.
#[test]
fn many_clients_at_once_all_come_through() {
    let mut setup = Setup::new();
    setup.server.unproved_handshakes_max = 8;
    for (seed, plan) in [(1, Plan::CALM), (2, Plan::LATE), (3, Plan::rough(0.02))] {
        check(seed, plan, setup.clone(), async |world| {
            let data = pattern(20_000);
            let ask = |world: World, data: Vec<u8>| async move {
                let mut client = world.connect();
                let answer = client.ask(&data).await.expect("an answer");
                client.close().await;
                answer == data
            };
            let spawn = |_| world.shard.spawn(ask(world.clone(), data.clone())).expect("room for a task");
            for client in (0..200).map(spawn).collect::<Vec<_>>() {
                assert!(client.await.expect("it ends"));
            }
            assert!(world.served.quic_retries.get() > 0);
            assert_eq!(world.served.quic_handshakes_open.get(), 0);
        });
    }
}
