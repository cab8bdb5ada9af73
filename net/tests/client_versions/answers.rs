//! Exchanges over HTTP/3: they are what they are over the other versions, whatever the network does to datagrams.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::{StatusCode, Version};
use platform::sim::Plan;
use shardwise_net::client::Error;

use crate::every::every;
use crate::kit::{Pieces, Setup, World, pattern, run};

fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.client.http3 = true;
    setup
}

/// Small and large, up and down, one by one and many at a time; all over one connection.
async fn exchange(world: World) {
    let client = &world.client;
    for bytes in [0, 1, 1000, 1025, 20_000, 300_000] {
        let mut response = client.get(World::url(&format!("/bytes/{bytes}"))).send().await.expect("an answer");
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_3));
        assert_eq!(response.length(), Some(bytes as u64));
        assert!(response.bytes().await.expect("a body") == pattern(bytes), "{bytes} bytes come");
        let mut response = client.post(World::url("/echo")).body(pattern(bytes)).send().await.expect("an answer");
        assert!(response.bytes().await.expect("a body") == pattern(bytes), "{bytes} bytes come back");
    }
    let bytes = async |path: &str| {
        let mut response = client.get(World::url(path)).send().await.expect("an answer");
        response.bytes().await.expect("a body").len()
    };
    let all = every((0..130).map(|count| bytes(if count % 2 == 0 { "/bytes/700" } else { "/stream/2" }))).await;
    assert_eq!(all.into_iter().sum::<usize>(), 65 * (700 + 2 * 16 * 1024));
    let body = Pieces { trailers: true, ..Pieces::new(9, 10_000) };
    let mut response = client.post(World::url("/sum")).body(body.content()).send().await.expect("an answer");
    assert_eq!(response.text().await.expect("text"), format!("90000 {} Some(\"42\")", 90_000 * u64::from(b'x')));
    let mut response = client.get(World::url("/trailers")).header("te", "trailers").send().await.expect("an answer");
    assert_eq!(response.text().await.expect("text"), "xxxxxx");
    assert_eq!(response.trailers().and_then(|trailers| trailers.get("x-sum")), Some(&b"42"[..]));
    let mut response = client.head(World::url("/bytes/9")).send().await.expect("an answer");
    assert_eq!(response.bytes().await.expect("none"), &b""[..]);
    assert_eq!(world.connections(), (0, 0, 1));
}

#[test]
fn on_a_calm_network() {
    run(1, Plan::CALM, setup(), exchange);
}

#[test]
fn on_networks_that_cut_and_kernels_that_are_late() {
    for seed in 1..=4 {
        run(seed, Plan::CHOPPY, setup(), exchange);
        run(seed, Plan::LATE, setup(), exchange);
    }
}

#[test]
fn whatever_share_of_datagrams_goes_wrong() {
    for seed in 1..=3 {
        for share in [0.01, 0.05, 0.1] {
            run(seed, Plan::rough(share), setup(), exchange);
        }
    }
}

#[test]
fn a_slow_reader_holds_up_its_own_stream() {
    run(1, Plan::CALM, setup(), async |world: World| {
        let mut slow = world.client.get(World::url("/stream/1000")).send().await.expect("an answer");
        world.sleep(Duration::from_secs(5)).await;
        assert!(world.shard.pool().bytes() < 2 << 20, "{} bytes are held", world.shard.pool().bytes());
        assert_eq!(world.text("/hello").await.expect("text"), "hello");
        let mut bytes = 0;
        while let Some(chunk) = slow.chunk().await.expect("a body") {
            bytes += chunk.len();
        }
        assert_eq!(bytes, 1000 * 16 * 1024);
    });
}

#[test]
fn a_server_that_does_not_read_holds_up_the_maker_of_the_body() {
    run(1, Plan::CALM, setup(), async |world: World| {
        let made = Rc::new(Cell::new(0));
        let body = Pieces { made: Rc::clone(&made), ..Pieces::new(10_000, 16 * 1024) };
        let request = world.client.post(World::url("/slow/20000")).body(body.content());
        let mut response = request.send().await.expect("an answer");
        assert!(made.get() < 256, "{} pieces were made", made.get());
        assert_eq!(response.text().await.expect("text"), "at last");
    });
}

#[test]
fn a_request_that_is_dropped_ends_its_stream_and_no_other() {
    for seed in 1..=4 {
        run(seed, Plan::CHOPPY, setup(), async |world: World| {
            let other = world.client.get(World::url("/slow/3000"));
            let dropped = world.client.get(World::url("/slow/60000"));
            let both = every([other, dropped].map(|request| {
                let world = &world;
                async move { world.shard.timeout(Duration::from_secs(5), request.send()).await }
            }));
            let [other, dropped] = <[_; 2]>::try_from(both.await).expect("two");
            assert!(dropped.is_err());
            assert_eq!(other.expect("in time").expect("an answer").text().await.expect("text"), "at last");
            world.sleep(Duration::from_secs(1)).await;
            assert_eq!(*world.seen.borrow(), ["answered", "dropped"]);
            // In the middle of bodies.
            let response = world.client.get(World::url("/stream/1000")).send().await.expect("an answer");
            drop(response);
            let body = Pieces::new(1_000_000, 16 * 1024).content();
            let request = world.client.post(World::url("/sum")).body(body);
            assert!(world.shard.timeout(Duration::from_secs(1), request.send()).await.is_err());
            world.sleep(Duration::from_secs(1)).await;
            assert_eq!(world.seen.borrow().last().expect("a third"), "sum: Truncated");
            assert_eq!(world.connections(), (0, 0, 1));
        });
    }
}

#[test]
fn a_body_waits_until_it_is_asked_for() {
    for seed in 1..=4 {
        run(seed, Plan::CHOPPY, setup(), async |world: World| {
            let request = world.client.post(World::url("/sum")).body(pattern(5000)).expect_continue();
            let begun = world.shard.clock();
            assert!(request.send().await.expect("an answer").text().await.expect("text").starts_with("5000 "));
            assert!(world.shard.clock() - begun < Duration::from_secs(1), "it was asked for");
            let made = Rc::new(Cell::new(0));
            let body = Pieces { made: Rc::clone(&made), ..Pieces::new(10, 1000) };
            let request = world.client.post(World::url("/refuse")).body(body.content()).expect_continue();
            assert_eq!(request.send().await.expect("an answer").status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_eq!(made.get(), 0, "it was not wanted");
        });
    }
}

/// An answer may be whole before the request is: what is left of that is not wanted (RFC 9114 section 4.1).
#[test]
fn an_answer_before_the_request_has_ended_counts() {
    for seed in 1..=4 {
        run(seed, Plan::CHOPPY, setup(), async |world: World| {
            for _ in 0..3 {
                let body = Pieces::new(10_000, 16 * 1024);
                let request = world.client.post(World::url("/refuse")).body(body.content());
                let mut response = request.send().await.expect("an answer");
                assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
                assert_eq!(response.text().await.expect("text"), "no");
            }
            assert_eq!(world.connections(), (0, 0, 1));
        });
    }
}

#[test]
fn a_body_that_is_not_as_long_as_announced_ends_its_stream() {
    run(1, Plan::CALM, setup(), async |world: World| {
        for length in [5000, 15_000] {
            let body = Pieces { length: Some(length), ..Pieces::new(10, 1000) };
            let error = world.client.post(World::url("/sum")).body(body.content()).send().await.expect_err("no");
            assert!(matches!(error, Error::Request(_)), "{error}");
        }
        assert_eq!(world.text("/hello").await.expect("text"), "hello");
        assert_eq!(world.connections(), (0, 0, 1));
    });
}

#[test]
fn sessions_are_taken_up_again_and_idle_connections_closed() {
    let mut setup = setup();
    setup.client.idle_time_max = Duration::from_secs(3);
    run(1, Plan::CALM, setup, async |world: World| {
        for (round, kind) in ["new", "resumed", "resumed"].into_iter().enumerate() {
            let agreed = format!("TLSv1_3 {kind} Some(\"localhost\")");
            assert_eq!(world.text("/agreed").await.expect("text"), agreed);
            world.sleep(Duration::from_secs(2)).await;
            assert_eq!(world.text("/agreed").await.expect("text"), agreed, "it is kept for a while");
            assert_eq!(world.stats.h3_connections.get(), round as u64 + 1);
            world.sleep(Duration::from_secs(4)).await;
            assert_eq!(world.stats.quic_connections_open.get(), 0, "it is closed");
        }
    });
}

/// Nothing is lost between the connections of a server that takes a few requests on each.
#[test]
fn a_server_that_leaves_is_asked_over_a_new_connection() {
    let mut setup = setup();
    setup.server.connection_requests_max = 5;
    for seed in 1..=4 {
        run(seed, Plan::CHOPPY, setup.clone(), async |world: World| {
            for _ in 0..3 {
                for answer in every((0..20).map(|_| world.text("/hello"))).await {
                    assert_eq!(answer.expect("text"), "hello");
                }
            }
            assert!(world.stats.h3_connections.get() >= 3, "{}", world.stats.h3_connections.get());
        });
    }
}

#[test]
fn what_the_server_admits_is_kept_to() {
    let mut setup = setup();
    setup.server.h3.streams_max = 3;
    run(1, Plan::CHOPPY, setup, async |world: World| {
        let begun = world.shard.clock();
        for answer in every((0..30).map(|_| world.text("/slow/100"))).await {
            assert_eq!(answer.expect("text"), "at last");
        }
        assert!(world.shard.clock() - begun >= Duration::from_millis(1000));
        assert_eq!((world.stats.h3_refused.get(), world.connections()), (0, (0, 0, 1)));
    });
}

#[test]
fn a_connection_lasts_while_an_answer_is_waited_for() {
    let mut setup = setup();
    setup.client.head_time_max = Duration::from_secs(200);
    run(1, Plan::CALM, setup, async |world: World| {
        assert_eq!(world.text("/slow/100000").await.expect("text"), "at last");
    });
}
