//! What is spoken with a server that is asked over TLS and has said nothing before: what it chooses.

use std::time::Duration;

use platform::sim::Plan;

use crate::every::every;
use crate::kit::{Setup, World, run};

/// So many requests at once, to a server of these protocols.
#[track_caller]
fn check(protocols: &'static [&'static str], at_once: usize, version: &str, connections: (u64, u64, u64)) {
    for seed in 1..=8 {
        let version = version.to_owned();
        run(seed, Plan::CHOPPY, Setup::speaking(protocols), async move |world: World| {
            for round in 0..3 {
                let asked = every((0..at_once).map(|_| world.text("/version"))).await;
                for answer in asked {
                    assert_eq!(answer.expect("an answer"), version, "round {round}");
                }
            }
            assert_eq!(world.connections(), connections);
        });
    }
}

#[test]
fn a_server_of_http2_has_one_connection_however_many_ask_at_once() {
    check(&["h2", "http/1.1"], 1, "HTTP/2.0", (0, 1, 0));
    check(&["h2", "http/1.1"], 50, "HTTP/2.0", (0, 1, 0));
    check(&["h2"], 50, "HTTP/2.0", (0, 1, 0));
}

#[test]
fn a_server_of_http1_has_as_many_as_ask_at_once() {
    check(&["http/1.1"], 1, "HTTP/1.1", (1, 0, 0));
    check(&["http/1.1"], 20, "HTTP/1.1", (20, 0, 0));
    check(&["http/1.1", "h2"], 20, "HTTP/1.1", (20, 0, 0));
}

#[test]
fn who_chooses_nothing_speaks_http1() {
    check(&[], 5, "HTTP/1.1", (5, 0, 0));
}

#[test]
fn a_request_may_ask_for_one_version() {
    for seed in 1..=4 {
        run(seed, Plan::CHOPPY, Setup::new(), async |world: World| {
            let get = || world.client.get(World::url("/version"));
            let [one, two, three] = ["HTTP/1.1", "HTTP/2.0", "HTTP/3.0"];
            for (request, version) in [
                (get().http1(), one),
                (get(), two),
                (get().http2(), two),
                (get().http1(), one),
                (get().http3(), three),
                // There is a connection of that now.
                (get(), three),
                (get().http2(), two),
                (get().http1(), one),
            ] {
                assert_eq!(request.send().await.expect("an answer").text().await.expect("text"), version);
            }
            assert_eq!(world.connections(), (1, 1, 1));
            let error = world.client.get("http://localhost/").http3().send().await.expect_err("not secure");
            assert!(error.to_string().contains("https only"), "{error}");
        });
    }
}

/// Whoever waits for the first connection waits no longer than for one of its own.
#[test]
fn a_server_that_is_not_there_is_given_up_by_all() {
    let setup = Setup { speaks_h3: false, ..Setup::new() };
    run(1, Plan::CALM, setup, async |world: World| {
        let begun = world.shard.clock();
        let asked = every((0..10).map(|_| world.client.get("https://localhost:444/").send())).await;
        assert!(asked.iter().all(|answer| answer.as_ref().is_err_and(|error| error.can_retry())));
        assert!(world.shard.clock() - begun < Duration::from_secs(6));
    });
}
