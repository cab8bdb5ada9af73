//! Clients that leave, streams that are reset, connections that end, at every point of an exchange: what the scope of the
//! request says then, and that nothing stays behind, which the test kit looks at after each.

use std::time::Duration;

use proto::h3::Code;
use shardwise::Config;
use shardwise::http::Method;
use shardwise::prelude::*;
use shardwise::test::Plan;

use super::client::{Client, Host, serve};
use super::pattern;
use super::streams::leaving::{Log, app};

/// Runs a client against the app, and gives what was said until the server has ended.
#[track_caller]
fn said(config: Config, work: impl AsyncFnOnce(Client, &Host) + 'static) -> Vec<String> {
    let log = Log::default();
    let apps = log.clone();
    let server = serve(1, Plan::CALM, move || app(&apps, config.clone()));
    server.run(async move |kit| {
        let host = Host::new(&kit).await;
        let client = host.connected().await;
        work(client, &host).await;
    });
    server.end();
    log.take()
}

const WHILE: Duration = Duration::from_millis(20);

#[test]
fn a_reset_cancels_its_request_and_no_other() {
    for (path, expect) in [
        ("/wait", "client disconnected → request 0 → query"),
        ("/tasks", "client disconnected → request 0"),
        ("/endless", "client disconnected → request 0"),
    ] {
        // By the end of its own side, by that of the other, and by both.
        for how in 0..3 {
            let said = said(Config::default(), async move |mut client, _| {
                let id = client.begin(&Method::GET, path, &[]).await;
                client.rest(WHILE).await;
                match how {
                    0 => client.quic.reset(id, Code::REQUEST_CANCELLED.0),
                    1 => client.stop(id, Code::REQUEST_CANCELLED),
                    _ => client.reset(id, Code::REQUEST_CANCELLED),
                }
                let next = client.get("/hello").await;
                assert_eq!(client.answer(next).await.text(), "hello");
                client.rest(WHILE).await;
                client.close().await;
            });
            assert_eq!(said, [expect], "{path} {how}");
        }
    }
}

/// A body that nobody reads is not read from QUIC either; that its client has given it up is seen all the same.
#[test]
fn a_reset_behind_a_body_that_nobody_reads_is_seen() {
    let said = said(Config::default(), async |mut client, _| {
        let id = client.post("/wait", &pattern(1_000_000)).await;
        client.rest(WHILE).await;
        assert!(client.is_sending(id));
        client.reset(id, Code::REQUEST_CANCELLED);
        client.rest(WHILE).await;
        client.close().await;
    });
    assert_eq!(said, ["client disconnected → request 0 → query"]);
}

#[test]
fn an_end_of_the_connection_cancels_all_its_requests() {
    let said = said(Config::default(), async |mut client, _| {
        for path in ["/wait", "/tasks", "/endless"] {
            client.get(path).await;
        }
        client.rest(WHILE).await;
        client.close().await;
    });
    let mut said: Vec<_> = said.iter().map(String::as_str).collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "client disconnected → request 0 → query",
            "client disconnected → request 4",
            "client disconnected → request 8",
        ]
    );
}

/// A client that is silent for ever is found out.
#[test]
fn a_client_that_is_not_there_any_more_has_left() {
    let said = said(Config::default(), async |mut client, host| {
        client.get("/wait").await;
        client.rest(WHILE).await;
        // It does nothing any more, and does not say so.
        host.sleep(Duration::from_secs(100)).await;
        drop(client);
    });
    assert_eq!(said, ["client disconnected → request 0 → query"]);
}

#[test]
fn a_body_that_is_cut_off_says_so() {
    for (count, expect) in [(10_001, "Ok(())"), (3_000_001, "Err(Truncated)")] {
        let said = said(Config::default(), async move |mut client, _| {
            let id = client.post("/body", &pattern(count)).await;
            // As much as goes at once.
            client.rest(Duration::from_micros(if count > 100_000 { 500 } else { 20_000 })).await;
            client.reset(id, Code::REQUEST_CANCELLED);
            let next = client.get("/hello").await;
            assert_eq!(client.answer(next).await.text(), "hello");
            client.rest(WHILE).await;
            client.close().await;
        });
        assert_eq!(said, [expect], "{count} bytes");
    }
}

#[test]
fn tasks_of_a_request_end_with_its_answer() {
    let said = said(Config::default(), async |mut client, _| {
        for _ in 0..2 {
            let id = client.get("/answered").await;
            assert_eq!(client.answer(id).await.text(), "answered");
        }
        client.close().await;
    });
    assert_eq!(said, ["its request has ended → request 0", "its request has ended → request 4"]);
}

#[test]
fn what_takes_too_long_is_expired_or_cut_off() {
    let config = Config { request_time_max: Some(Duration::from_secs(2)), ..Config::default() };
    let said = said(config, async |mut client, _| {
        let (waits, endless) = (client.get("/wait").await, client.get("/endless").await);
        client.reads_at_once = false;
        client.rest(Duration::from_millis(2100)).await;
        client.reads_at_once = true;
        let answer = client.answer(waits).await;
        assert_eq!((answer.status, answer.text()), (200, "given up"), "the handler's own word");
        assert_eq!(client.answer(endless).await.reset, Some(Code::INTERNAL_ERROR));
        client.close().await;
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|said| said.starts_with("the deadline passed")), "{said:?}");
}

#[test]
fn a_stream_is_run_to_its_end_though_its_length_is_told() {
    let said = said(Config::default(), async |mut client, _| {
        let id = client.get("/told").await;
        assert_eq!(client.answer(id).await.text(), "hello");
        client.close().await;
    });
    assert_eq!(said, ["done"]);
}

#[test]
fn a_stream_that_fails_is_reset() {
    said(Config::default(), async |mut client, _| {
        let id = client.get("/failing").await;
        assert_eq!(client.answer(id).await.reset, Some(Code::INTERNAL_ERROR));
        let id = client.get("/hello").await;
        assert_eq!(client.answer(id).await.text(), "hello");
        client.close().await;
    });
}

/// The rest of a body that nobody reads does not hold up a drain.
#[test]
fn a_drain_waits_for_answers_and_not_for_what_nobody_reads() {
    let log = Log::default();
    let server = serve(1, Plan::CALM, move || app(&log, Config::default()).post("/ignored", || "ignored"));
    server.run(async |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connected().await;
        let id = client.begin(&Method::POST, "/ignored", &[]).await;
        assert_eq!(client.answer(id).await.text(), "ignored");
        let begun = kit.now();
        kit.drain();
        assert_eq!(client.end().await, Code::NO_ERROR);
        assert!(kit.now() - begun < Duration::from_secs(5), "{:?}", kit.now() - begun);
        client.close().await;
    });
}

/// One that has lasted as long as it may is told as soon as something comes; nothing is lost.
#[test]
fn an_old_connection_is_told_to_go() {
    let config = Config { connection_time_max: Duration::from_secs(100), ..Config::default() };
    said(config, async |mut client, host| {
        let begun = host.kit.now();
        for _ in 0..2 {
            let id = client.get("/hello").await;
            assert_eq!(client.answer(id).await.text(), "hello");
            client.rest(Duration::from_secs(45)).await;
        }
        assert_eq!(client.end().await, Code::NO_ERROR);
        assert_eq!(client.goaways.last(), Some(&8));
        assert!((100..115).contains(&(host.kit.now() - begun).as_secs()));
        client.close().await;
    });
}

/// However the drain falls into what is under way, each request is answered whole or refused such that it may be sent again.
#[test]
fn a_drain_at_any_moment_loses_nothing() {
    for moment in 0..12 {
        let log = Log::default();
        let app = move || {
            app(&log, Config::default()).get("/bytes", || pattern(200_000)).get("/later", async |shard: Shard| {
                shard.sleep(Duration::from_millis(2)).await;
                "later"
            })
        };
        let server = serve(moment, Plan::CHOPPY, app);
        server.run(async move |kit| {
            let host = Host::new(&kit).await;
            let mut client = host.connected().await;
            let drains = kit.clone();
            drop(kit.spawn(async move {
                drains.sleep(Duration::from_micros(moment * 700)).await;
                drains.drain();
            }));
            let mut all = Vec::new();
            'all: for count in 0..200 {
                let target = ["/hello", "/later", "/bytes"][count % 3];
                if client.goaways.is_empty() && client.closed.is_none() {
                    all.push((target, client.get(target).await));
                }
                client.rest(Duration::from_micros(100)).await;
                if client.closed.is_some() {
                    break 'all;
                }
            }
            for (target, id) in all {
                let answer = client.answer(id).await;
                let length = match target {
                    "/bytes" => 200_000,
                    _ => 5,
                };
                let is_whole = (answer.status, answer.body.len(), answer.reset) == (200, length, None);
                assert!(is_whole || answer.reset == Some(Code::REQUEST_REJECTED), "{target} at {moment}: {answer:?}");
            }
            client.close().await;
        });
    }
}
