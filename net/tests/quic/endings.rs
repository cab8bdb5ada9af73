//! How connections end, and what is left of them.

use std::future::poll_fn;
use std::time::Duration;

use platform::sim::Plan;
use shardwise_net::quic::{Closed, Event};

use crate::kit::{Relay, Setup, check};

#[test]
fn one_that_says_nothing_ends_by_itself() {
    let mut setup = Setup::new();
    setup.server.idle_time_max = Duration::from_secs(5);
    check(1, Plan::CALM, setup, async |world| {
        let mut client = world.connected().await;
        client.ask(b"hello").await.expect("an answer");
        let since = world.shard.now();
        assert_eq!(client.closed().await, Closed::TimedOut);
        let silent = world.shard.now() - since;
        assert!(silent >= Duration::from_secs(5) && silent < Duration::from_secs(8), "{silent:?}");
        world.sleep(Duration::from_secs(1)).await;
        assert_eq!(world.served.quic_connections_open.get(), 0);
    });
}

#[test]
fn one_that_asks_for_signs_of_life_stays() {
    let mut setup = Setup::new();
    setup.server.idle_time_max = Duration::from_secs(5);
    setup.client.keep_alive = Some(Duration::from_secs(2));
    check(1, Plan::CALM, setup, async |world| {
        let mut client = world.connected().await;
        client.rest(Duration::from_secs(60)).await;
        client.ask(b"still there").await.expect("an answer");
        client.close().await;
    });
}

#[test]
fn a_drain_closes_all_and_refuses_what_comes() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let mut client = world.connected().await;
        // Its hand-shake is over on the server as well: before, the reason would be kept from it.
        client.ask(b"hello").await.expect("an answer");
        (world.drain)();
        assert_eq!(client.closed().await, Closed::ByPeer(0, b"the server drains"[..].into()));
        let mut late = world.connect();
        // CONNECTION_REFUSED, RFC 9000 section 20.1.
        match late.closed().await {
            Closed::ByPeerTransport(2, _) | Closed::TimedOut => {}
            other => panic!("{other:?}"),
        }
        late.close().await;
        client.close().await;
    });
}

/// CONNECTION_REFUSED, RFC 9000 section 20.1.
const REFUSED: u64 = 2;

#[test]
fn clients_beyond_the_bounds_are_refused() {
    let mut setup = Setup::new();
    setup.server.connections_max = 1;
    check(1, Plan::CALM, setup, async |world| {
        let client = world.connected().await;
        let mut further = world.connect();
        assert_eq!(further.closed().await, Closed::ByPeerTransport(REFUSED, b""[..].into()));
        assert_eq!(world.served.quic_refused.get(), 1);
        further.close().await;
        client.close().await;
        // It lingers on the server, for longer since nobody has acknowledged anything for it meanwhile.
        world.sleep(Duration::from_secs(60)).await;
        world.connected().await.close().await;
    });
    let mut setup = Setup::new();
    setup.server.handshakes_max = 0;
    check(1, Plan::CALM, setup, async |world| {
        let mut client = world.connect();
        assert_eq!(client.closed().await, Closed::ByPeerTransport(REFUSED, b""[..].into()));
        client.close().await;
    });
}

/// Its task was woken again and again for a time that had passed.
#[test]
fn one_that_is_closed_lets_its_task_rest() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let mut client = world.connected().await;
        client.ask(b"hello").await.expect("an answer");
        client.0.close(0, b"");
        let mut alarm = world.shard.alarm(world.shard.clock() + Duration::from_secs(10));
        let mut polls = 0;
        poll_fn(|cx| {
            polls += 1;
            assert!(polls < 100, "it does not rest");
            assert!(client.0.poll(cx).is_pending());
            client.0.flush(cx);
            alarm.poll_rung(cx)
        })
        .await;
        poll_fn(|cx| client.0.poll_drained(cx)).await;
    });
}

#[test]
fn one_that_is_dropped_tells_its_peer() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        // At any moment of its hand-shake, and after.
        for steps in 0..6 {
            let mut client = world.connect();
            client.rest(Duration::from_micros(300 * steps)).await;
            drop(client);
            assert_eq!(world.endpoint.connections(), 0);
        }
        world.sleep(Duration::from_secs(40)).await;
        assert_eq!(world.served.quic_connections_open.get(), 0);
        assert_eq!(world.served.quic_handshakes_open.get(), 0);
    });
}

#[test]
fn one_that_the_server_does_not_know_any_more_is_reset() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let relay = Relay::start(&world);
        let mut client = world.connected_by(&relay).await;
        client.ask(b"hello").await.expect("an answer");
        // The server forgets it at once, and what it says of that does not arrive.
        relay.is_deaf.set(true);
        let asked = client.ask(b"forget me");
        assert!(world.shard.timeout(Duration::from_millis(100), asked).await.is_err(), "nothing comes back");
        relay.is_deaf.set(false);
        assert_eq!(client.ask(b"are you there?").await, Err(Closed::Reset));
        client.close().await;
        relay.end().await;
    });
}

#[test]
fn a_version_that_is_not_spoken_is_answered_by_those_that_are() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        // A long header of version 0x0a0a0a0a with ids of 8 bytes, as long as a first packet is.
        let mut packet = vec![0xc0, 0x0a, 0x0a, 0x0a, 0x0a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 5, 4, 3, 2, 1];
        packet.resize(1200, 0);
        let answer = world.answer_to(packet.clone()).await.expect("an answer");
        assert_eq!(answer[1..5], [0; 4], "it is no version's");
        assert_eq!(answer[5..23], [8, 8, 7, 6, 5, 4, 3, 2, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8], "its ids are turned");
        assert!(answer[23..].chunks(4).any(|version| version == [0, 0, 0, 1]), "it offers version 1");
        packet.truncate(1199);
        assert_eq!(world.answer_to(packet).await, None, "a short one might have been made up by somebody else");
    });
}

#[test]
fn what_is_no_quic_is_not_answered() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        for packet in [vec![], vec![0; 1], b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 1200], vec![0xc0; 1400]] {
            assert_eq!(world.answer_to(packet).await, None);
        }
        // A packet of a connection by an id that nobody here has made: who makes ids up gets no resets for them.
        for bytes in [30, 60, 1200] {
            assert_eq!(world.answer_to(vec![0x40; bytes]).await, None);
        }
        world.connected().await.close().await;
    });
}

#[test]
fn a_client_that_has_not_shown_where_it_is_gets_three_times_what_it_sends() {
    for seed in 1..=4 {
        check(seed, Plan::CHOPPY, Setup::new(), async |world| {
            let relay = Relay::start(&world);
            // The client never hears from the server.
            relay.is_deaf.set(true);
            let mut client = world.connect_by(&relay);
            client.closed().await;
            let (sent, received) = (relay.to_server.get(), relay.from_server.get());
            assert!(received > 0 && relay.exceeded.get() == 0, "{sent} bytes sent, {received} received");
            client.close().await;
            relay.end().await;
            world.sleep(Duration::from_secs(40)).await;
        });
    }
}

#[test]
fn a_client_that_vanishes_is_forgotten() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let relay = Relay::start(&world);
        let mut client = world.connected_by(&relay).await;
        client.ask(b"hello").await.expect("an answer");
        relay.is_cut.set(true);
        drop(client);
        world.sleep(Duration::from_secs(60)).await;
        assert_eq!(world.served.quic_connections_open.get(), 0);
        assert_eq!(world.served.quic_timed_out.get(), 1);
        relay.end().await;
    });
}

#[test]
fn a_hand_shake_that_does_not_end_is_ended() {
    let mut setup = Setup::new();
    setup.server.handshake_time_max = Duration::from_secs(3);
    check(1, Plan::CALM, setup, async |world| {
        let relay = Relay::start(&world);
        relay.is_deaf.set(true);
        let mut client = world.connect_by(&relay);
        let closed =
            world.shard.timeout(Duration::from_secs(5), client.until(|event| matches!(event, Event::Connected)));
        closed.await.expect_err("it goes on trying");
        assert_eq!(world.served.quic_handshakes_failed.get(), 1);
        assert_eq!(world.served.quic_timed_out.get(), 1);
        drop(client);
        relay.end().await;
        world.sleep(Duration::from_secs(40)).await;
    });
}
