//! Servers that say where else they are found (RFC 7838): they are asked there as soon as that is known to work, and where it does
//! not, nobody waits for long.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use platform::sim::Plan;

use crate::every::every;
use crate::kit::{Setup, World, run};

/// A server of HTTP/2 and HTTP/3 that says this.
fn saying(value: &'static str) -> Setup {
    let mut setup = Setup::new();
    setup.server.alternative = Some(HeaderValue::from_static(value));
    setup
}

impl World {
    /// By what version a request is answered, and how long that takes.
    async fn version(&self) -> (String, Duration) {
        let begun = self.shard.clock();
        let version = self.text("/version").await.expect("an answer");
        (version, self.shard.clock() - begun)
    }

    #[track_caller]
    fn expect(&self, (version, time): (String, Duration), expect: &str, time_max: u64) {
        assert_eq!(version, expect);
        assert!(time <= Duration::from_millis(time_max), "it took {time:?}");
    }
}

#[test]
fn a_server_is_asked_where_it_says_that_it_is() {
    let elsewhere = r#"h2=":9", h3="nowhere.example:443", h3="10.0.0.1:443"; ma=60"#;
    for value in [r#"h3=":443"; ma=3600"#, elsewhere] {
        for seed in 1..=4 {
            run(seed, Plan::CHOPPY, saying(value), async |world: World| {
                assert_eq!(world.version().await.0, "HTTP/2.0");
                // The connection that is at hand serves until the other stands.
                assert_eq!(world.version().await.0, "HTTP/2.0");
                world.sleep(Duration::from_secs(1)).await;
                for _ in 0..3 {
                    assert_eq!(world.version().await.0, "HTTP/3.0");
                }
                let headers = world.text("/headers").await.expect("text");
                assert!(headers.contains("\"alt-used\": "), "{headers}");
                assert_eq!(world.connections(), (0, 1, 1));
            });
        }
    }
}

#[test]
fn where_no_connection_is_at_hand_it_is_waited_for_a_moment() {
    let mut setup = saying(r#"h3=":443""#);
    setup.client.idle_time_max = Duration::from_secs(1);
    run(1, Plan::CALM, setup, async |world: World| {
        assert_eq!(world.version().await.0, "HTTP/2.0");
        world.sleep(Duration::from_secs(3)).await;
        for version in every((0..20).map(|_| world.version())).await {
            world.expect(version, "HTTP/3.0", 300);
        }
        assert_eq!(world.connections(), (0, 1, 1));
    });
}

/// Nothing comes back from there: a firewall, as they are.
#[test]
fn one_that_is_not_there_holds_nobody_up_and_is_left_alone() {
    let mut setup = saying(r#"h3=":444"; ma=1000000"#);
    setup.client.idle_time_max = Duration::from_secs(1);
    run(1, Plan::CALM, setup, async |world: World| {
        assert_eq!(world.version().await.0, "HTTP/2.0");
        for shunned in [300, 600] {
            world.sleep(Duration::from_secs(3)).await;
            world.expect(world.version().await, "HTTP/2.0", 400);
            // It is given up by then.
            world.sleep(Duration::from_secs(10)).await;
            for _ in 0..3 {
                world.expect(world.version().await, "HTTP/2.0", 100);
                world.sleep(Duration::from_secs(3)).await;
            }
            world.sleep(Duration::from_secs(shunned)).await;
        }
        assert_eq!(world.stats.h3_connections.get(), 0);
    });
}

#[test]
fn a_servers_word_holds_as_long_as_it_says() {
    let mut setup = saying(r#"h3=":443"; ma=60"#);
    setup.client.idle_time_max = Duration::from_secs(1);
    setup.server.connection_requests_max = 1;
    run(1, Plan::CALM, setup, async |world: World| {
        assert_eq!(world.version().await.0, "HTTP/2.0");
        world.sleep(Duration::from_secs(30)).await;
        assert_eq!(world.version().await.0, "HTTP/3.0");
        world.sleep(Duration::from_secs(31)).await;
        assert_eq!(world.version().await.0, "HTTP/2.0");
        world.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.version().await.0, "HTTP/3.0", "it has said so again");
        world.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.text("/forget").await.expect("text"), "all is forgotten");
        world.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.version().await.0, "HTTP/2.0");
    });
}

#[test]
fn what_is_misdirected_is_asked_where_it_was_before() {
    let mut setup = saying(r#"h3=":443""#);
    setup.client.idle_time_max = Duration::from_secs(1);
    run(1, Plan::CALM, setup, async |world: World| {
        assert_eq!(world.version().await.0, "HTTP/2.0");
        world.sleep(Duration::from_secs(3)).await;
        assert_eq!(world.version().await.0, "HTTP/3.0");
        let response = world.client.get(World::url("/only-by-tcp")).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        drop(response);
        // The new connection has said it again.
        assert_eq!(world.connections(), (0, 2, 1));
    });
}

#[test]
fn whoever_does_not_want_to_follow_does_not() {
    let mut setup = saying(r#"h3=":443""#);
    setup.client.follows_alternatives = false;
    run(1, Plan::CALM, setup, async |world: World| {
        for _ in 0..3 {
            assert_eq!(world.version().await.0, "HTTP/2.0");
            world.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(world.connections(), (0, 1, 0));
    });
}

/// Where datagrams are lost, requests are answered all the same, by whichever comes to be.
#[test]
fn on_lossy_networks_every_request_is_answered() {
    for seed in 1..=6 {
        let mut setup = saying(r#"h3=":443""#);
        setup.client.idle_time_max = Duration::from_secs(1);
        let plan = Plan { lost_datagrams: 0.3, ..Plan::CHOPPY };
        run(seed, plan, setup, async |world: World| {
            for _ in 0..10 {
                let bytes = async || {
                    let mut response = world.client.get(World::url("/bytes/5000")).send().await.expect("an answer");
                    response.bytes().await.expect("a body").len()
                };
                assert_eq!(every((0..10).map(|_| bytes())).await, [5000; 10]);
                world.sleep(Duration::from_millis(700)).await;
            }
        });
    }
}
