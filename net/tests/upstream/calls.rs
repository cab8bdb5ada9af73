//! One call: its tries, its retries, its hedge, and what is counted of it.

use std::time::Duration;

use platform::sim::Plan;
use shards::combine::all;
use shardwise_net::client::{Error, Step};
use shardwise_net::upstream::policy::{adaptive, budget, hedge, retry};
use shardwise_net::upstream::{Config, Endpoints, Rate};

use super::kit::{Mood, World, text, who};

#[test]
fn calls_go_to_all() {
    let world = World::new(1, Plan::CHOPPY, 4);
    let config = Config { endpoints: world.endpoints(), ..Config::default() };
    world.call(config, async |_, upstream, servers| {
        for _ in 0..400 {
            who(&upstream).await;
        }
        for server in servers.iter() {
            assert!((50..150).contains(&server.requests.get()), "{}: {}", server.number, server.requests.get());
        }
        let survey = upstream.survey();
        assert_eq!((survey.calls, survey.tries, survey.calls_failed), (400, 400, 0));
    });
}

#[test]
fn a_server_that_is_not_there_costs_a_retry() {
    for seed in 1..=8 {
        let world = World::new(seed, Plan::CHOPPY, 2);
        let config = Config { endpoints: world.endpoints(), ..Config::default() };
        world.call(config, async |_, upstream, servers| {
            servers[0].set(Mood::Down);
            for _ in 0..50 {
                assert_eq!(who(&upstream).await, 2);
            }
            let survey = upstream.survey();
            assert!(survey.retries > 0 && survey.retries <= 6, "it is ejected after five: {survey:?}");
            assert_eq!(survey.ejections, 1);
        });
    }
}

#[test]
fn what_may_not_be_asked_twice_is_not() {
    for mood in [Mood::Status(500), Mood::Status(503), Mood::Hangs] {
        let world = World::new(1, Plan::CALM, 2);
        let retry = retry::Policy { try_time: Some(Duration::from_secs(1)), ..retry::Policy::default() };
        let config = Config { endpoints: world.endpoints(), retry, outlier: None, ..Config::default() };
        world.call(config, async move |_, upstream, servers| {
            servers.iter().for_each(|server| server.set(mood));
            let answer = text(upstream.post("/").body("once")).await;
            match mood {
                Mood::Status(status) => assert_eq!(answer.unwrap(), status.to_string()),
                _ => assert!(matches!(answer, Err(Error::TimedOut(Step::Head))), "{answer:?}"),
            }
            assert_eq!(servers.iter().map(|server| server.requests.get()).sum::<u64>(), 1);
        });
    }
}

#[test]
fn what_was_not_sent_may_be_asked_elsewhere() {
    let world = World::new(3, Plan::CALM, 2);
    let config = Config { endpoints: world.endpoints(), outlier: None, ..Config::default() };
    world.call(config, async |_, upstream, servers| {
        servers[0].set(Mood::Down);
        for _ in 0..20 {
            assert_eq!(text(upstream.post("/x").body("once")).await.unwrap(), "2 /x");
        }
        assert_eq!(servers[1].requests.get(), 20);
    });
}

#[test]
fn answers_that_are_not_good_are_tried_elsewhere() {
    for (mood, times) in [(Mood::Status(500), 1), (Mood::Status(503), 1), (Mood::BreaksOff, 0)] {
        let world = World::new(2, Plan::CALM, 2);
        let config = Config { endpoints: world.endpoints(), outlier: None, ..Config::default() };
        world.call(config, async move |_, upstream, servers| {
            servers[0].set(mood);
            let mut broken = 0;
            for _ in 0..20 {
                match text(upstream.get("/")).await {
                    Ok(text) => assert_eq!(text, "2 /"),
                    // Nobody can take back what has been read.
                    Err(Error::Truncated) => broken += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(broken == 0, times == 1);
            assert_eq!(upstream.survey().retries > 0, times == 1);
        });
    }
}

/// A retry once said what had been left for the first try.
#[test]
fn each_try_says_how_much_time_is_left() {
    let world = World::new(1, Plan::CALM, 2);
    let retry = retry::Policy { try_time: Some(Duration::from_secs(1)), ..retry::Policy::default() };
    let config = Config { endpoints: world.endpoints(), retry, outlier: None, ..Config::default() };
    world.call(config, async |shard, upstream, servers| {
        servers.iter().for_each(|server| server.set(Mood::Hangs));
        let scope = shard.scope().child("a request").unwrap().with_deadline(shard.now() + Duration::from_secs(9));
        let answer = scope.run(text(upstream.get("/"))).await.unwrap();
        assert!(matches!(answer, Err(Error::TimedOut(Step::Head))), "{answer:?}");
        let mut left: Vec<_> = servers.iter().flat_map(|server| server.times_left.take()).collect();
        left.sort();
        left.reverse();
        assert!(left.len() > 1 && left[0] > Duration::from_secs(8), "{left:?}");
        assert!(left.windows(2).all(|two| two[0] >= two[1] + Duration::from_millis(999)), "{left:?}");
    });
}

#[test]
fn retry_after_is_heard() {
    let world = World::new(1, Plan::CALM, 1);
    let config = Config { endpoints: world.endpoints(), outlier: None, ..Config::default() };
    world.call(config, async |shard, upstream, servers| {
        servers[0].set(Mood::Busy(3));
        let since = shard.clock();
        let later = async {
            shard.sleep(Duration::from_secs(1)).await;
            servers[0].set(Mood::Well);
        };
        let (text, ()) = all((text(upstream.get("/")), later)).await;
        assert_eq!(text.unwrap(), "1 /");
        assert!(shard.clock() - since >= Duration::from_secs(3));
        servers[0].set(Mood::Busy(3600));
        assert_eq!(upstream.get("/").send().await.unwrap().status(), 503, "nobody waits for an hour");
    });
}

#[test]
fn retries_end_with_their_budget() {
    let world = World::new(1, Plan::CALM, 3);
    let budget = budget::Config { share: 0.1, per_second: 0.0, ..budget::Config::default() };
    let config = Config { endpoints: world.endpoints(), budget, outlier: None, ..Config::default() };
    world.call(config, async |_, upstream, servers| {
        servers.iter().for_each(|server| server.set(Mood::Status(500)));
        for _ in 0..100 {
            assert_eq!(text(upstream.get("/")).await.unwrap(), "500");
        }
        let asked: u64 = servers.iter().map(|server| server.requests.get()).sum();
        assert!((101..=110).contains(&asked), "{asked}");
        let survey = upstream.survey();
        assert!(survey.retries_refused > 50, "{survey:?}");
    });
}

#[test]
fn a_second_is_asked_when_the_first_takes_long() {
    let world = World::new(1, Plan::CALM, 2);
    let hedge = hedge::Policy { delay: hedge::Delay::Fixed(Duration::from_millis(20)), ..hedge::Policy::default() };
    let config = Config { endpoints: world.endpoints(), hedge: Some(hedge), outlier: None, ..Config::default() };
    world.call(config, async |shard, upstream, servers| {
        servers[0].set(Mood::Slow(5000));
        for _ in 0..8 {
            let since = shard.clock();
            assert_eq!(who(&upstream).await, 2);
            assert!(shard.clock() - since < Duration::from_millis(40));
        }
        assert!(upstream.survey().hedges > 0);
        // Who has lost is told so.
        shard.sleep(Duration::from_millis(10)).await;
        assert_eq!(servers[0].open.get(), 0);
    });
}

#[test]
fn so_many_at_a_time_and_so_many_wait() {
    let world = World::new(1, Plan::CALM, 1);
    let config = Config {
        endpoints: world.endpoints(),
        calls_max: 2,
        waiting_max: 2,
        wait_max: Duration::from_millis(50),
        ..Config::default()
    };
    world.call(config, async |_, upstream, servers| {
        servers[0].set(Mood::Slow(100));
        let call = || text(upstream.get("/"));
        let (a, b, c, d, e) = all((call(), call(), call(), call(), call())).await;
        assert!(a.is_ok() && b.is_ok());
        // The last finds no room to wait in, the others wait for too long.
        for shed in [c, d, e] {
            assert!(matches!(shed, Err(Error::Limited { after: None, .. })), "{shed:?}");
        }
        assert_eq!((servers[0].open_max.get(), upstream.survey().calls_shed), (2, 3));
    });
}

#[test]
fn so_many_in_so_much_time() {
    let world = World::new(1, Plan::CALM, 1);
    let rate = Rate { count: 10, per: Duration::from_secs(1), burst: 2 };
    let config = Config { endpoints: world.endpoints(), rate: Some(rate), ..Config::default() };
    world.call(config, async |shard, upstream, _| {
        assert!(text(upstream.get("/")).await.is_ok() && text(upstream.get("/")).await.is_ok());
        let Err(Error::Limited { after: Some(after), .. }) = text(upstream.get("/")).await else { panic!("a third") };
        shard.sleep(after).await;
        assert!(text(upstream.get("/")).await.is_ok());
    });
}

#[test]
fn calls_that_are_dropped_leave_nothing() {
    for seed in 1..=8 {
        let world = World::new(seed, Plan::CHOPPY, 3);
        let config =
            Config { endpoints: world.endpoints(), hedge: Some(hedge::Policy::default()), ..Config::default() };
        world.call(config, async move |shard, upstream, servers| {
            servers[0].set(Mood::Hangs);
            servers[1].set(Mood::Slow(30));
            for number in 0..60 {
                let time = Duration::from_millis((number * seed) % 37);
                let _ = shard.timeout(time, text(upstream.get("/"))).await;
            }
            shard.sleep(Duration::from_millis(100)).await;
            assert!(servers.iter().all(|server| server.open.get() == 0));
        });
    }
}

#[test]
fn nobody_to_ask() {
    let world = World::new(1, Plan::CALM, 0);
    let config = Config { endpoints: Endpoints::default(), ..Config::default() };
    world.call(config, async |_, upstream, _| {
        let error = text(upstream.get("/")).await.unwrap_err();
        assert_eq!(error.to_string(), "no endpoint of \"servers\" can be asked: there are none");
        let error = text(upstream.get("x")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the URL \"x\" cannot be asked: of an upstream, a path is asked for, such as /items?by=name"
        );
    });
}

/// A few call, then many, most of whom wait: which says nothing of the server, which takes a millisecond for as many as there are.
#[test]
fn who_waits_for_a_place_does_not_make_the_service_slow() {
    let world = World::new(1, Plan::CALM, 1);
    let adaptive = adaptive::Config { first: 16, min: 1, ..adaptive::Config::default() };
    let config = Config { endpoints: world.endpoints(), adaptive: Some(adaptive), ..Config::default() };
    world.call(config, async |shard, upstream, _| {
        let call = async |callers: usize, calls: usize| {
            let scope = shard.scope().child("callers").unwrap();
            for _ in 0..callers {
                let upstream = upstream.clone();
                let work = async move {
                    for _ in 0..calls {
                        who(&upstream).await;
                    }
                };
                scope.spawn(work).unwrap().detach();
            }
            scope.gate().await;
        };
        call(4, 1000).await;
        let before = upstream.survey().calls_max;
        call(64, 400).await;
        let after = upstream.survey().calls_max;
        assert!(after > before, "{before} and {after}");
    });
}
