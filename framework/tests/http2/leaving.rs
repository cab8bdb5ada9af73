//! Clients that leave, streams that are reset, connections that end, at every point of an exchange: what the scope of the
//! request says then, and that nothing stays behind, which the test kit looks at after each.

use std::time::Duration;

use proto::h2::{Code, Limits};
use shardwise::http::Method;
use shardwise::{Config, test};

use super::client::Client;
use super::pattern;
use super::streams::leaving::{Log, app};

/// Runs a client against the app, and gives what was said until the server has ended.
#[track_caller]
fn said(config: Config, work: impl AsyncFnOnce(&mut Client, &test::Client) + 'static) -> Vec<String> {
    let log = Log::default();
    let apps = log.clone();
    let server = test::builder().start(move |_| app(&apps, config.clone()));
    server.run(async move |kit| {
        let mut client = Client::open(&kit, Limits::default()).await;
        work(&mut client, &kit).await
    });
    server.end();
    log.take()
}

const WHILE: Duration = Duration::from_millis(20);

#[test]
fn a_reset_cancels_its_request_and_no_other() {
    for (path, expect) in [
        ("/wait", vec!["client disconnected → request 1 → query"]),
        ("/tasks", vec!["client disconnected → request 1"]),
        ("/endless", vec!["client disconnected → request 1"]),
    ] {
        let said = said(Config::default(), async move |client, kit| {
            let id = client.get(path);
            client.flush().await;
            kit.sleep(WHILE).await;
            client.reset(id, Code::CANCEL);
            let next = client.get("/hello");
            assert_eq!(client.answer(next).await.text(), "hello");
            kit.sleep(WHILE).await;
        });
        assert_eq!(said, expect, "{path}");
    }
}

#[test]
fn an_end_of_the_connection_cancels_all_its_requests() {
    let said = said(Config::default(), async |client, kit| {
        client.get("/wait");
        client.get("/tasks");
        client.get("/endless");
        client.flush().await;
        kit.sleep(WHILE).await;
    });
    let mut said: Vec<_> = said.iter().map(String::as_str).collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "client disconnected → request 1 → query",
            "client disconnected → request 3",
            "client disconnected → request 5",
        ]
    );
}

/// As over HTTP/1.1: it may still wait for the answer.
#[test]
fn who_ends_its_side_has_left_and_is_answered_all_the_same() {
    let said = said(Config::default(), async |client, kit| {
        let id = client.get("/wait");
        client.flush().await;
        kit.sleep(WHILE).await;
        client.wire.end();
        assert_eq!(client.answer(id).await.text(), "given up");
        client.end().await;
    });
    assert_eq!(said, ["client disconnected → request 1 → query"]);
}

#[test]
fn a_body_that_is_cut_off_says_so() {
    for (count, expect) in [(10_001, "Ok(())"), (100_001, "Err(Truncated)")] {
        let said = said(Config::default(), async move |client, kit| {
            let id = client.ask(&Method::POST, "/body", &[], &pattern(count), &[]);
            // As much as the window admits.
            client.flush().await;
            kit.sleep(WHILE).await;
            client.reset(id, Code::CANCEL);
            let next = client.get("/hello");
            assert_eq!(client.answer(next).await.text(), "hello");
            kit.sleep(WHILE).await;
        });
        assert_eq!(said, [expect], "{count} bytes");
    }
}

#[test]
fn tasks_of_a_request_end_with_its_answer() {
    let said = said(Config::default(), async |client, _| {
        for _ in 0..2 {
            let id = client.get("/answered");
            assert_eq!(client.answer(id).await.text(), "answered");
        }
    });
    assert_eq!(said, ["its request has ended → request 1", "its request has ended → request 3"]);
}

#[test]
fn what_takes_too_long_is_expired_or_cut_off() {
    let config = Config { request_time_max: Some(Duration::from_secs(2)), ..Config::default() };
    let said = said(config, async |client, kit| {
        let begun = kit.now();
        let (waits, endless) = (client.get("/wait"), client.get("/endless"));
        let answer = client.answer(waits).await;
        assert_eq!((answer.status, answer.text()), (200, "given up"), "the handler's own word");
        assert_eq!(client.answer(endless).await.reset, Some(Code::INTERNAL_ERROR));
        assert_eq!((kit.now() - begun).as_secs(), 2);
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|said| said.starts_with("the deadline passed")), "{said:?}");
}

/// Windows are open, and nothing is read: the connection ends, and all that was asked on it.
#[test]
fn who_reads_nothing_is_given_up() {
    let log = Log::default();
    let apps = log.clone();
    let server = test::builder().start(move |_| app(&apps, Config::default()));
    server.run(async |kit| {
        let limits = Limits { stream_window: 1 << 30, connection_window: 1 << 30, ..Limits::default() };
        let mut client = Client::open(&kit, limits).await;
        client.get("/endless");
        client.get("/wait");
        client.flush().await;
        kit.sleep(Duration::from_secs(40)).await;
        // What the server had sent is still on its way.
        client.end().await;
    });
    server.end();
    let mut said = log.take();
    said.sort_unstable();
    assert_eq!(said, ["the client takes nothing → request 1", "the client takes nothing → request 3 → query"]);
}

#[test]
fn a_stream_is_run_to_its_end_though_its_length_is_told() {
    let said = said(Config::default(), async |client, _| {
        let id = client.get("/told");
        assert_eq!(client.answer(id).await.text(), "hello");
    });
    assert_eq!(said, ["done"]);
}

#[test]
fn a_stream_that_fails_is_reset() {
    said(Config::default(), async |client, _| {
        let id = client.get("/failing");
        assert_eq!(client.answer(id).await.reset, Some(Code::INTERNAL_ERROR));
        let id = client.get("/hello");
        assert_eq!(client.answer(id).await.text(), "hello");
    });
}

/// The rest of a body that nobody reads does not hold up a drain.
#[test]
fn a_drain_waits_for_answers_and_not_for_what_nobody_reads() {
    let log = Log::default();
    let server = test::builder().start(move |_| app(&log, Config::default()).post("/ignored", || "ignored"));
    server.run(async |kit| {
        let mut client = Client::open(&kit, Limits::default()).await;
        let id = client.post("/ignored", b"hello");
        client.wire.send(std::mem::take(&mut client.out)).await.unwrap();
        while client.answers[&id].text() != "ignored" {
            assert!(client.receive().await);
        }
        let begun = kit.now();
        kit.drain();
        while client.receive().await {}
        assert!(kit.now() - begun < Duration::from_secs(5), "{:?}", kit.now() - begun);
    });
}

/// One that has lasted as long as it may is told with the next answer; nothing is lost.
#[test]
fn an_old_connection_is_told_to_go() {
    let config = Config { connection_time_max: Duration::from_secs(100), ..Config::default() };
    said(config, async |client, kit| {
        for _ in 0..3 {
            let id = client.get("/hello");
            assert_eq!(client.answer(id).await.text(), "hello");
            kit.sleep(Duration::from_secs(60)).await;
        }
        client.end().await;
        assert_eq!(client.goaways.last(), Some(&(5, Code::NO_ERROR)));
    });
}
