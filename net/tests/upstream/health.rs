//! Who is well: by probes, by breakers, by comparison.

use std::net::SocketAddr;
use std::time::Duration;

use platform::sim::Plan;
use shardwise_net::upstream::policy::breaker::{self, Mode, State};
use shardwise_net::upstream::policy::retry;
use shardwise_net::upstream::{Config, Probe, Protocol};

use super::kit::{Mood, World, text, who};

#[test]
fn who_fails_its_probes_is_not_asked_until_it_passes_them() {
    for probe in [Probe::http("/healthz"), Probe::connection()] {
        let world = World::new(1, Plan::CHOPPY, 3);
        let config = Config { endpoints: world.endpoints(), probe: Some(probe), outlier: None, ..Config::default() };
        world.call(config, async |shard, upstream, servers| {
            shard.sleep(Duration::from_secs(1)).await;
            assert!(upstream.survey().endpoints.iter().all(|endpoint| endpoint.is_up), "{:?}", upstream.survey());
            servers[1].set(Mood::Down);
            shard.sleep(Duration::from_secs(10)).await;
            assert!(!upstream.survey().endpoints[1].is_up, "{:?}", upstream.survey());
            let before = upstream.survey().tries;
            for _ in 0..30 {
                assert_ne!(who(&upstream).await, 2);
            }
            assert_eq!(upstream.survey().tries, before + 30, "nobody has tried it");
            servers[1].set(Mood::Well);
            shard.sleep(Duration::from_secs(10)).await;
            let mut seen = 0;
            for _ in 0..30 {
                seen += u32::from(who(&upstream).await == 2);
            }
            assert!(seen > 3, "it is asked again");
        });
    }
}

#[test]
fn in_a_panic_all_are_asked() {
    let world = World::new(1, Plan::CALM, 3);
    let config =
        Config { endpoints: world.endpoints(), probe: Some(Probe::http("/sick")), outlier: None, ..Config::default() };
    world.call(config, async |shard, upstream, servers| {
        servers.iter().for_each(|server| server.set(Mood::Status(404)));
        shard.sleep(Duration::from_secs(10)).await;
        servers.iter().for_each(|server| server.set(Mood::Well));
        assert!(upstream.survey().endpoints.iter().all(|endpoint| !endpoint.is_up));
        assert!(upstream.survey().is_panicking);
        who(&upstream).await;
    });
}

#[test]
fn a_breaker_opens_and_closes() {
    for seed in 1..=4 {
        let world = World::new(seed, Plan::CALM, 2);
        let config = Config {
            endpoints: world.endpoints(),
            outlier: None,
            breaker: Some(breaker::Config::default()),
            retry: retry::Policy { tries_max: 1, ..retry::Policy::default() },
            ..Config::default()
        };
        world.call(config, async |shard, upstream, servers| {
            let state = || upstream.survey().endpoints[0].breaker;
            servers[0].set(Mood::Status(500));
            let mut failed = 0;
            for _ in 0..60 {
                failed += u32::from(text(upstream.get("/")).await.unwrap() == "500");
            }
            assert_eq!((failed, state()), (5, Some(State::Open)), "five in a row");
            // It is tried again after its time, and fails again.
            shard.sleep(Duration::from_secs(11)).await;
            let before = servers[0].requests.get();
            for _ in 0..60 {
                let _ = text(upstream.get("/")).await;
            }
            assert_eq!((servers[0].requests.get() - before, state()), (1, Some(State::Open)), "one trial");
            servers[0].set(Mood::Well);
            shard.sleep(Duration::from_secs(21)).await;
            for _ in 0..60 {
                who(&upstream).await;
            }
            assert_eq!(state(), Some(State::Closed));
            assert!(servers[0].requests.get() - before > 10);
            // And by hand.
            assert!(upstream.set_breaker(servers[0].address(), Mode::ForcedOpen));
            for _ in 0..20 {
                assert_eq!(who(&upstream).await, 2);
            }
            assert!(upstream.set_breaker(servers[0].address(), Mode::Automatic));
            let mut seen = 0;
            for _ in 0..20 {
                seen += u32::from(who(&upstream).await == 1);
            }
            assert!(seen > 0);
            assert!(
                !upstream.set_breaker(SocketAddr::from(([10, 0, 0, 9], 80)), Mode::ForcedOpen),
                "there is no such endpoint"
            );
        });
    }
}

#[test]
fn who_answers_errors_is_left_alone_for_a_while() {
    let world = World::new(5, Plan::CALM, 4);
    let config = Config { endpoints: world.endpoints(), ..Config::default() };
    world.call(config, async |shard, upstream, servers| {
        servers[2].set(Mood::Status(500));
        for _ in 0..100 {
            assert_ne!(who(&upstream).await, 3, "its errors are made up for");
        }
        assert_eq!(servers[2].requests.get(), 5);
        assert!(upstream.survey().endpoints[2].is_ejected);
        servers[2].set(Mood::Well);
        shard.sleep(Duration::from_secs(31)).await;
        for _ in 0..100 {
            who(&upstream).await;
        }
        assert!(servers[2].requests.get() > 15, "it is back");
    });
}

#[test]
fn a_breaker_of_all_stops_all_calls() {
    let world = World::new(1, Plan::CALM, 2);
    let config = Config {
        endpoints: world.endpoints(),
        outlier: None,
        breaker_of_all: Some(breaker::Config::default()),
        retry: retry::Policy { tries_max: 1, ..retry::Policy::default() },
        ..Config::default()
    };
    world.call(config, async |shard, upstream, servers| {
        servers.iter().for_each(|server| server.set(Mood::Status(500)));
        for _ in 0..5 {
            assert_eq!(text(upstream.get("/")).await.unwrap(), "500");
        }
        let refused = text(upstream.get("/")).await.unwrap_err();
        let why =
            "no endpoint of \"servers\" can be asked: too many calls have failed, and no more are made for a while";
        assert_eq!(refused.to_string(), why);
        servers.iter().for_each(|server| server.set(Mood::Well));
        shard.sleep(Duration::from_secs(11)).await;
        who(&upstream).await;
        assert_eq!(upstream.survey().breaker_changes, 3, "open, half open, closed");
    });
}

/// Its answers begin well, each time.
#[test]
fn who_breaks_off_its_answers_is_left_alone_for_a_while() {
    let world = World::new(5, Plan::CALM, 4);
    let config = Config { endpoints: world.endpoints(), ..Config::default() };
    world.call(config, async |_, upstream, servers| {
        servers[2].set(Mood::BreaksOff);
        let mut broken = 0;
        for _ in 0..200 {
            broken += u32::from(text(upstream.get("/")).await.is_err());
        }
        assert_eq!((broken, upstream.survey().ejections), (5, 1));
        assert_eq!(upstream.survey().endpoints[2].failures, 5);
    });
}

#[test]
fn a_probe_keeps_no_connection() {
    for protocol in [Protocol::Usual, Protocol::Http2] {
        let world = World::new(1, Plan::CALM, 1);
        let config = Config {
            endpoints: world.endpoints(),
            probe: Some(Probe::http("/healthz")),
            protocol,
            ..Config::default()
        };
        world.call(config, async |shard, upstream, _| {
            shard.sleep(Duration::from_secs(9)).await;
            let survey = upstream.survey();
            assert!(survey.probes >= 4 && survey.probes_failed == 0, "{survey:?}");
            // Between two of them.
            assert_eq!(shard.with_reactor(|reactor| reactor.holdings()).handles, 0);
        });
    }
}
