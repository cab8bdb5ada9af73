//! What is counted, where, and what a scrape tells of it.

#![allow(clippy::disallowed_methods, reason = "threads stand for those that are no shard")]

use std::sync::Arc;
use std::time::Duration;

use ::http::{Method, StatusCode};
use ::metrics::{Key, Label};

use net::Client;
use net::upstream::policy::breaker;
use net::upstream::{Config, Endpoint, Endpoints, Upstream};
use shards::{Phase, Shard, Simulation};

use super::durations::{BOUNDS, Durations};
use super::*;
use crate::testing::{ask, on_a_shard};
use crate::{App, Path};

/// Scrapes from a thread that is no shard, while this one runs on.
async fn scraped(store: &Arc<Store>) -> String {
    let store = Arc::clone(store);
    let thread = std::thread::spawn(move || store.scrape(Phase::Serving));
    while !thread.is_finished() {
        shards::yield_now().await;
    }
    thread.join().expect("a scrape does not panic")
}

/// The value of a series, by its whole name.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().expect("a value is a number")
}

#[test]
fn requests_are_counted_by_route_method_and_class() {
    on_a_shard(async |shard| {
        let store = Store::new();
        ShardMetrics::join(&shard, &store);
        let app = App::new().get("/items/{id}", |Path(id): Path<u8>| id.to_string()).any("/any", async || "any");
        let service = app.build(&shard).expect("the routes fit together");
        for request in
            ["GET /items/1", "GET /items/2", "HEAD /items/3", "GET /items/x", "BREW /any", "GET /none", "POST /items/1"]
        {
            ask(&service, &shard, request).await;
        }
        let text = scraped(&store).await;
        let labels = |method: &str, class: &str, route: &str| {
            format!(
                "http_request_method=\"{method}\",http_response_status_class=\"{class}\",http_route=\"{route}\",shard=\"0\""
            )
        };
        for (method, class, route, count) in [
            ("GET", "2xx", "/items/{id}", 2.0),
            ("HEAD", "2xx", "/items/{id}", 1.0),
            ("GET", "4xx", "/items/{id}", 1.0),
            ("_OTHER", "2xx", "/any", 1.0),
            ("GET", "4xx", "", 1.0),
            ("POST", "4xx", "", 1.0),
        ] {
            let labels = labels(method, class, route);
            assert_eq!(value(&text, &format!("http_server_requests_total{{{labels}}}")), count, "{labels}");
            let histogram = format!("http_server_request_duration_seconds_count{{{labels}}}");
            assert_eq!(value(&text, &histogram), count, "{labels}");
        }
        assert_eq!(value(&text, "http_server_active_requests{shard=\"0\"}"), 0.0);
        assert_eq!(value(&text, "shardwise_snapshot_stale{shard=\"0\"}"), 0.0);
        assert_eq!(value(&text, "shardwise_shards"), 1.0);
        assert!(text.contains("shardwise_backend_info{backend="), "{text}");
    });
}

#[test]
fn a_shard_that_stalls_is_reported_as_stale_with_what_it_last_said() {
    on_a_shard(async |shard| {
        let store = Store::new();
        ShardMetrics::join(&shard, &store);
        let service = App::new().get("/", || "").build(&shard).expect("the routes fit together");
        ask(&service, &shard, "GET /").await;
        let count = "http_server_request_duration_seconds_count{http_request_method=\"GET\",\
                     http_response_status_class=\"2xx\",http_route=\"/\",shard=\"0\"}";
        assert_eq!(value(&scraped(&store).await, count), 1.0);
        ask(&service, &shard, "GET /").await;
        // This thread is the shard's: while it waits for the scrape, the shard stalls.
        let stalled = store.scrape(Phase::Serving);
        assert_eq!(value(&stalled, "shardwise_snapshot_stale{shard=\"0\"}"), 1.0);
        assert_eq!(value(&stalled, count), 1.0, "the histogram is the last one");
        let counter = count.replace("request_duration_seconds_count", "requests_total");
        assert_eq!(value(&stalled, &counter), 2.0, "counters are read where they stand");
        assert_eq!(value(&scraped(&store).await, count), 2.0);
    });
}

#[test]
fn an_ended_shard_does_not_hold_up_a_scrape() {
    let store = Store::new();
    let joined = Arc::clone(&store);
    on_a_shard(async move |shard| ShardMetrics::join(&shard, &joined));
    assert_eq!(value(&store.scrape(Phase::Serving), "shardwise_snapshot_stale{shard=\"0\"}"), 1.0);
}

#[test]
fn what_other_crates_count_lands_in_the_same_store() {
    // The facade's recorder is the process's: one test installs it.
    let store = Store::new();
    install(&store);
    ::metrics::describe_counter!("test.jobs", "Jobs done.");
    ::metrics::counter!("test.jobs", "kind" => "off").increment(3);
    let joined = Arc::clone(&store);
    on_a_shard(async move |shard| {
        ShardMetrics::join(&shard, &joined);
        for _ in 0..2 {
            ::metrics::counter!("test.jobs", "kind" => "on").increment(1);
        }
        let handle = ::metrics::counter!("test.jobs", "kind" => "shared");
        handle.increment(1);
        std::thread::spawn(move || handle.increment(10)).join().expect("counting does not panic");
        ::metrics::gauge!("test.level").set(1.5);
        ::metrics::gauge!("test.level").decrement(1.0);
        for sample in 1..=100 {
            ::metrics::histogram!("test.seconds").record(f64::from(sample) / 1000.0);
        }
    });
    let text = store.scrape(Phase::Serving);
    assert!(text.contains("# HELP test_jobs Jobs done.\n# TYPE test_jobs counter\n"), "{text}");
    assert_eq!(value(&text, "test_jobs{kind=\"off\"}"), 3.0);
    assert_eq!(value(&text, "test_jobs{kind=\"on\",shard=\"0\"}"), 2.0);
    assert_eq!(value(&text, "test_jobs{kind=\"shared\",shard=\"0\"}"), 11.0);
    assert_eq!(value(&text, "test_level{shard=\"0\"}"), 0.5);
    assert_eq!(value(&text, "test_seconds_count{shard=\"0\"}"), 100.0);
    assert!((value(&text, "test_seconds_sum{shard=\"0\"}") - 5.05).abs() < 1e-9);
    assert!((value(&text, "test_seconds{shard=\"0\",quantile=\"0.5\"}") - 0.05).abs() < 0.001);
}

/// This shard's part of a service at a port where a server answers, and at another where nobody listens.
fn greeters(shard: &Shard, version: u64) -> Upstream {
    let endpoints = [80, 81].map(|port| Endpoint::new(([10, 0, 0, 1], port).into()));
    let (endpoints, breaker) = (Endpoints::fixed(endpoints), Some(breaker::Config::default()));
    let config = Config { endpoints, breaker, version, ..Config::default() };
    Upstream::new(&Client::new(shard), "greeters", config).expect("it can be declared so")
}

/// On a shard beside a server's.
fn with_greeters(test: impl AsyncFnOnce(Shard, Arc<Store>) + 'static) {
    let mut simulation = Simulation::new(1);
    simulation.start(1, async |_| App::new().get("/", || "hello").serve("10.0.0.1:80").await);
    simulation.run(async move |shard: Shard| {
        shard.sleep(Duration::from_millis(1)).await;
        let store = Store::new();
        ShardMetrics::join(&shard, &store);
        test(shard, store).await;
    });
}

async fn greet(upstream: &Upstream) {
    let mut response = upstream.get("/").send().await.expect("one of them answers");
    assert_eq!(response.text().await.expect("it is whole"), "hello");
}

#[test]
fn services_are_told_with_their_endpoints() {
    with_greeters(async |shard, store| {
        let upstream = greeters(&shard, 0);
        for _ in 0..40 {
            greet(&upstream).await;
        }
        let text = scraped(&store).await;
        let of = |name: &str| value(&text, &format!("shardwise_upstream_{name}{{upstream=\"greeters\",shard=\"0\"}}"));
        let at = |port: u16, name: &str| {
            let labels = format!("upstream=\"greeters\",endpoint=\"10.0.0.1:{port}\",shard=\"0\"");
            value(&text, &format!("shardwise_upstream_endpoint_{name}{{{labels}}}"))
        };
        assert_eq!((of("calls_total"), of("calls_failed_total"), of("calls_open")), (40.0, 0.0, 0.0));
        assert_eq!(of("tries_total"), 40.0 + of("retries_total"));
        assert_eq!((at(80, "tries_total"), at(80, "failures_total")), (40.0, 0.0));
        assert_eq!((at(81, "tries_total"), at(81, "failures_total")), (of("retries_total"), of("retries_total")));
        assert!(at(81, "failures_total") >= 5.0, "it was asked until its breaker opened");
        assert_eq!((at(80, "breaker"), at(81, "breaker")), (0.0, 2.0));
        assert_eq!((of("breaker_changes_total"), at(80, "up"), at(80, "tries_open")), (1.0, 1.0, 0.0));
        assert!((0.0..1.0).contains(&at(80, "latency_seconds")) && of("retry_budget") > 0.0);
        for line in text.lines().filter(|line| line.starts_with("shardwise_upstream")) {
            let name = line.split(['{', ' ']).next().expect("a name");
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name} is described, and stands together");
        }
    });
}

#[test]
fn the_breaker_of_all_is_told() {
    with_greeters(async |shard, store| {
        let endpoints = Endpoints::fixed([Endpoint::new(([10, 0, 0, 1], 81).into())]);
        let breaker_of_all = Some(breaker::Config::default());
        let config = Config { endpoints, breaker_of_all, outlier: None, ..Config::default() };
        let nobody = Upstream::new(&Client::new(&shard), "nobody", config).expect("it can be declared so");
        let plain = greeters(&shard, 0);
        let name = |upstream: &str| format!("shardwise_upstream_breaker{{upstream=\"{upstream}\",shard=\"0\"}}");
        let text = scraped(&store).await;
        assert_eq!(value(&text, &name("nobody")), 0.0);
        assert!(!text.contains(&name("greeters")), "it has none");
        for _ in 0..10 {
            nobody.get("/").send().await.expect_err("nobody listens there");
        }
        assert_eq!(value(&scraped(&store).await, &name("nobody")), 2.0);
        drop((nobody, plain));
    });
}

#[test]
fn a_service_that_is_declared_anew_counts_on() {
    with_greeters(async |shard, store| {
        let calls = "shardwise_upstream_calls_total{upstream=\"greeters\",shard=\"0\"}";
        let tries =
            "shardwise_upstream_endpoint_tries_total{upstream=\"greeters\",endpoint=\"10.0.0.1:80\",shard=\"0\"}";
        let (former, latter) = (greeters(&shard, 1), greeters(&shard, 2));
        greet(&former).await;
        greet(&latter).await;
        let both = scraped(&store).await;
        assert_eq!((value(&both, calls), value(&both, tries)), (2.0, 2.0));
        drop(former);
        greet(&latter).await;
        let latter_alone = scraped(&store).await;
        assert_eq!((value(&latter_alone, calls), value(&latter_alone, tries)), (3.0, 3.0));
        drop(latter);
        assert!(!scraped(&store).await.contains("shardwise_upstream"), "nothing is told of what nobody calls");
    });
}

#[test]
fn a_full_store_refuses_and_says_so() {
    let store = Store::new();
    for number in 0..crate::limits::SERIES_MAX + 5 {
        let key = Key::from_parts("many", vec![Label::new("number", number.to_string())]);
        store.own(key).add(1);
    }
    assert_eq!(value(&store.scrape(Phase::Serving), "shardwise_metrics_refused_total"), 5.0);
}

#[test]
fn durations_fall_into_their_buckets() {
    let durations = Durations::new();
    assert!(durations.snapshot().is_none(), "nothing to tell yet");
    for micros in [1, 9, 20, 300, 300, 80_000, 120_000_000] {
        durations.record(Duration::from_micros(micros));
    }
    let snapshot = durations.snapshot().expect("something was recorded");
    assert!(durations.snapshot().is_none(), "nothing has changed since");
    let counts: Vec<_> = snapshot.cumulative().collect();
    assert_eq!(counts.len(), BOUNDS.len());
    let at = |bound: f64| counts.iter().find(|(known, _)| *known == bound).expect("it is a bound").1;
    assert_eq!((at(0.000_01), at(0.000_025), at(0.000_25), at(0.000_5), at(0.1), at(10.0)), (2, 3, 3, 5, 6, 6));
    assert_eq!(snapshot.count(), 7);
    assert!((snapshot.seconds - 120.080_63).abs() < 1e-6);
}

#[test]
fn statuses_fall_into_their_classes() {
    let class =
        |status: u16| super::http::class_index(StatusCode::from_u16(status).expect("a status has three digits"));
    assert_eq!((class(100), class(204), class(304), class(404), class(599), class(999)), (0, 1, 2, 3, 4, 4));
}

#[test]
fn methods_that_nobody_registered_share_a_label() {
    let label = |method: &str| MethodLabel::of(&method.parse::<Method>().expect("a token")).name();
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"] {
        assert_eq!(label(method), method);
    }
    assert_eq!((label("BREW"), label("get")), ("_OTHER", "_OTHER"));
}
