//! One exchange at a time, or a few: what handlers and clients see of them.

use std::time::Duration;

use net::quic::{Closed, Config as QuicConfig};
use proto::h3::Code;
use shardwise::Config;
use shardwise::http::Method;
use shardwise::prelude::*;
use shardwise::test::Plan;

use super::client::{Answer, Client, Host, run, serve, serve_on};
use super::{app, pattern};

fn get(target: &'static str) -> Answer {
    run(app, async move |client, _| {
        let id = client.get(target).await;
        client.answer(id).await
    })
}

fn post(target: &'static str, body: Vec<u8>) -> Answer {
    run(app, async move |client, _| {
        let id = client.post(target, &body).await;
        client.answer(id).await
    })
}

/// Runs a client against the app, served with other limits.
#[track_caller]
fn with_config<T: 'static>(
    change: impl Fn(&mut Config) + 'static,
    work: impl AsyncFnOnce(&mut Client, &Host) -> T + 'static,
) -> T {
    let app = move || {
        let mut config = Config::default();
        change(&mut config);
        app().config(config)
    };
    run(app, work)
}

#[test]
fn answers_come_as_over_http_1() {
    let answer = get("/");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    let names: Vec<_> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "server", "date", "content-length"]);
    assert_eq!(get("/later").text(), "later");
    assert_eq!(get("/who").text(), "HTTP/3.0 localhost /who");
    assert_eq!(get("/early").text(), "false");
    assert_eq!(get("/nothing").status, 404);
    let empty = get("/nothing-to-say");
    assert_eq!((empty.status, empty.body.len(), empty.has_ended), (204, 0, true));
    let head = run(app, async |client, _| {
        let id = client.ask(&Method::HEAD, "/bytes/70000", &[], b"", &[]).await;
        client.answer(id).await
    });
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.fields.contains(&("content-length".into(), "70000".into())), "{head:?}");
}

#[test]
fn bodies_of_all_sizes_come_whole() {
    for (target, count) in [
        ("/bytes/0", 0),
        ("/bytes/1024", 1024),
        ("/bytes/1025", 1025),
        ("/bytes/16384", 16_384),
        ("/bytes/1000000", 1_000_000),
        ("/bytes/5000000", 5_000_000),
        ("/stream/0", 0),
        ("/stream/1", 1),
        ("/stream/300000", 300_000),
        ("/stream/3000000", 3_000_000),
        ("/told/0", 0),
        ("/told/300000", 300_000),
    ] {
        let answer = get(target);
        assert_eq!((answer.status, answer.body.len()), (200, count), "{target}");
        assert!(answer.body == pattern(count), "{target}");
        let trailers = usize::from(target.starts_with("/stream"));
        assert_eq!(answer.trailers.len(), trailers, "{target}");
    }
}

#[test]
fn a_length_that_is_not_kept_resets_the_stream() {
    for target in ["/short", "/long"] {
        let answer = get(target);
        assert_eq!(answer.reset, Some(Code::INTERNAL_ERROR), "{target}: {answer:?}");
    }
}

#[test]
fn bodies_are_read_whole() {
    for count in [1, 100, 16_384, 70_000, 500_000, 3_000_000] {
        assert_eq!(post("/count", pattern(count)).text(), format!("{count} bytes, true, 0 trailers"));
        assert!(post("/echo", pattern(count)).body == pattern(count), "{count}");
    }
    assert_eq!(post("/count", Vec::new()).text(), "0 bytes, true, 0 trailers");
    let answer = run(app, async |client, _| {
        let id = client.ask(&Method::POST, "/count", &[], &pattern(5), &[("x-a", "1"), ("x-b", "2")]).await;
        client.answer(id).await
    });
    assert_eq!(answer.text(), "5 bytes, true, 2 trailers");
}

#[test]
fn a_body_that_nobody_reads_is_read_over_up_to_a_bound() {
    for (count, stops) in [(1, vec![]), (200_000, vec![]), (2_000_000, vec![Code::NO_ERROR])] {
        run(app, async move |client, _| {
            let id = client.post("/ignored", &pattern(count)).await;
            let next = client.post("/count", &pattern(100_000)).await;
            assert_eq!(client.answer(id).await.text(), "ignored");
            while client.is_sending(id) {
                assert!(client.turn().await);
            }
            let said: Vec<_> = client.stops.iter().map(|(_, code)| *code).collect();
            assert_eq!(said, stops, "{count} bytes");
            assert_eq!(client.answer(next).await.text(), "100000 bytes, true, 0 trailers");
        });
    }
}

/// What nobody reads does not hold its stream for ever, if it does not come.
#[test]
fn the_rest_of_a_body_is_not_waited_for_without_end() {
    run(app, async |client, host| {
        let begun = host.kit.now();
        let id = client.begin(&Method::POST, "/ignored", &[]).await;
        assert_eq!(client.answer(id).await.text(), "ignored");
        while client.stops.is_empty() {
            assert!(client.turn().await);
        }
        assert_eq!(client.stops, [(id, Code::NO_ERROR)]);
        assert_eq!((host.kit.now() - begun).as_secs(), 30);
    });
}

#[test]
fn who_waits_to_be_asked_for_a_body_is_asked_if_it_is_wanted() {
    for (target, interim, text) in
        [("/text", vec![100], "hello"), ("/echo", vec![100], "hello"), ("/ignored", vec![], "ignored")]
    {
        let answer = run(app, async move |client, _| {
            let fields = [("expect", "100-continue")];
            let id = client.begin(&Method::POST, target, &fields).await;
            match target {
                "/ignored" => client.rest(Duration::from_millis(10)).await,
                _ => drop(client.until(id, |answer| !answer.interim.is_empty()).await),
            }
            client.tell(id, b"hello");
            client.hang_up(id);
            client.answer(id).await
        });
        assert_eq!((answer.interim.clone(), answer.text()), (interim, text), "{target}");
    }
}

#[test]
fn exchanges_do_not_wait_for_each_other() {
    run(app, async |client, _| {
        client.reads_at_once = false;
        let slow = client.get("/later").await;
        let large = client.get("/bytes/3000000").await;
        let quick = client.get("/").await;
        while client.answers[&quick].text() != "hello" {
            assert!(client.turn().await);
            client.read(quick);
        }
        assert!(!client.answers[&large].is_over(), "its window is shut");
        client.reads_at_once = true;
        assert_eq!(client.answer(large).await.body.len(), 3_000_000);
        assert_eq!(client.answer(slow).await.text(), "later");
    });
}

#[test]
fn a_hundred_at_once_and_then_more() {
    run(app, async |client, _| {
        for _ in 0..5 {
            let mut all = Vec::new();
            for count in 0..150 {
                let target = ["/", "/later", "/bytes/3000", "/stream/20000"][count % 4];
                all.push((target, client.get(target).await));
            }
            for (target, id) in all {
                let answer = client.answer(id).await;
                assert_eq!(answer.status, 200, "{target}");
            }
        }
    });
}

#[test]
fn many_connections() {
    let server = serve(1, Plan::CALM, app);
    server.run(async |kit| {
        let host = Host::new(&kit).await;
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(host.connected().await);
        }
        for client in &mut clients {
            let (one, other) = (client.get("/").await, client.post("/echo", &pattern(50_000)).await);
            assert_eq!(client.answer(one).await.text(), "hello");
            assert!(client.answer(other).await.body == pattern(50_000));
        }
        for client in clients {
            client.close().await;
        }
    });
}

/// The head of a request that came in two packets had once its stream looked at again after its answer.
#[test]
fn heads_and_bodies_may_be_cut_anywhere() {
    run(app, async |client, host| {
        let value = "v".repeat(3000);
        for count in 0..20 {
            let fields = [("x-long", &value[..count * 150])];
            let id = client.ask(&Method::GET, "/", &fields, b"", &[]).await;
            assert_eq!(client.answer(id).await.text(), "hello");
        }
        // Nothing of that counts as work that serves nobody: 600 such requests would end the connection.
        for _ in 0..600 {
            let id = client.ask(&Method::GET, "/", &[("x-long", &value)], b"", &[]).await;
            assert_eq!(client.answer(id).await.text(), "hello");
        }
        host.sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn a_reset_ends_the_request() {
    run(app, async |client, _| {
        let id = client.get("/for-ever").await;
        client.rest(Duration::from_millis(10)).await;
        client.reset(id, Code::REQUEST_CANCELLED);
        let next = client.get("/").await;
        assert_eq!(client.answer(next).await.text(), "hello");
    });
}

/// Without bound once: what had come was put into the pool whether somebody read it or not.
#[test]
fn a_body_that_nobody_reads_holds_up_its_client() {
    run(app, async |client, _| {
        let id = client.post("/held", &pattern(5_000_000)).await;
        client.rest(Duration::from_secs(5)).await;
        assert!(client.is_sending(id), "its window is shut");
        let pool = client.get("/pool").await;
        let bytes: usize = client.answer(pool).await.text().parse().unwrap();
        assert!(bytes < 300_000, "{bytes} bytes of the pool are in use");
        assert_eq!(client.answer(id).await.status, 200);
    });
}

/// Of an answer whose reader is slow there is as much as is sent ahead, and no more. What the window of the connection had cut
/// was once not told of room, and waited until its reader was given up.
#[test]
fn slow_readers_hold_little() {
    run(app, async |client, host| {
        client.reads_at_once = false;
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(client.get("/stream/1000000").await);
        }
        client.rest(Duration::from_secs(1)).await;
        let mut other = host.connected().await;
        let pool = other.get("/pool").await;
        let bytes: usize = other.answer(pool).await.text().parse().unwrap();
        assert!(bytes < 1_000_000, "{bytes} bytes of the pool are in use");
        other.close().await;
        client.reads_at_once = true;
        for id in all {
            let answer = client.answer(id).await;
            assert_eq!((answer.body.len(), answer.reset), (1_000_000, None), "{id}");
        }
    });
}

#[test]
fn a_handler_that_takes_too_long_is_answered_for() {
    with_config(
        |config| config.request_time_max = Some(Duration::from_secs(2)),
        async |client, host| {
            let begun = host.kit.now();
            let id = client.get("/for-ever").await;
            let answer = client.answer(id).await;
            assert_eq!((answer.status, answer.text()), (503, "the request took too long\n"));
            assert_eq!((host.kit.now() - begun).as_secs(), 2);
        },
    );
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    run(app, async |client, host| {
        let begun = host.kit.now();
        let id = client.begin(&Method::POST, "/text", &[]).await;
        assert_eq!(client.until(id, |answer| answer.status != 0).await.status, 408);
        assert_eq!((host.kit.now() - begun).as_secs(), 30);
        client.reset(id, Code::REQUEST_CANCELLED);
    });
}

#[test]
fn a_window_that_stays_shut_is_not_waited_for_without_end() {
    run(app, async |client, host| {
        client.reads_at_once = false;
        let begun = host.kit.now();
        let id = client.get("/bytes/3000000").await;
        client.rest(Duration::from_secs(29)).await;
        assert!(!client.answers[&id].is_over());
        client.reads_at_once = true;
        while !client.answers[&id].is_over() {
            client.read(id);
            assert!(client.turn().await);
        }
        assert!(client.answers[&id].has_ended, "it has gone on in time");
        client.reads_at_once = false;
        let id = client.get("/bytes/3000000").await;
        client.rest(Duration::from_secs(32)).await;
        client.reads_at_once = true;
        client.read(id);
        let answer = client.answer(id).await;
        assert_eq!(answer.reset, Some(Code::REQUEST_CANCELLED));
        assert!((host.kit.now() - begun).as_secs() >= 61);
    });
}

#[test]
fn a_silent_connection_is_over() {
    let server = serve(1, Plan::CALM, app);
    server.run(async |kit| {
        let host = Host::with(&kit, QuicConfig::default()).await;
        let mut client = host.connected().await;
        let id = client.get("/").await;
        client.answer(id).await;
        let begun = host.kit.now();
        while client.turn().await {}
        assert_eq!(client.closed, Some(Closed::TimedOut));
        assert_eq!((host.kit.now() - begun).as_secs(), 30);
        client.close().await;
    });
}

/// A peer that says that it lives and asks for nothing is idle all the same.
#[test]
fn a_sign_of_life_is_no_request() {
    run(app, async |client, host| {
        for _ in 0..3 {
            client.rest(Duration::from_secs(60)).await;
            let id = client.get("/").await;
            assert_eq!(client.answer(id).await.text(), "hello");
        }
        let begun = host.kit.now();
        while client.goaways.is_empty() {
            assert!(client.turn().await);
        }
        assert_eq!(client.goaways.last(), Some(&12));
        assert_eq!((host.kit.now() - begun).as_secs(), 75);
        // It has time to close by itself.
        assert_eq!(client.end().await, Code::NO_ERROR);
        assert_eq!((host.kit.now() - begun).as_secs(), 77);
    });
}

/// Nor is a head of which the rest does not come.
#[test]
fn a_head_that_does_not_come_is_not_waited_for_without_end() {
    run(app, async |client, host| {
        let begun = host.kit.now();
        // A head of a hundred bytes, of which ten come.
        client.raw(net::quic::Dir::Bi, &[1, 0x40, 100, 0, 0, 0, 0, 0, 0, 0], true).await;
        assert_eq!(client.end().await, Code::REQUEST_INCOMPLETE);
        assert_eq!((host.kit.now() - begun).as_secs(), 10);
    });
}

#[test]
fn who_has_had_as_many_requests_as_it_may_is_told() {
    with_config(
        |config| config.connection_requests_max = 3,
        async |client, _| {
            for _ in 0..3 {
                let id = client.get("/").await;
                assert_eq!(client.answer(id).await.text(), "hello");
            }
            assert_eq!(client.end().await, Code::NO_ERROR);
            assert_eq!(client.goaways.last(), Some(&12));
        },
    );
}

#[test]
fn without_it_nobody_listens() {
    let server = serve(1, Plan::CALM, || app().config(Config { accepts_h3: false, ..Config::default() }));
    server.run(async |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connect();
        while client.turn().await {}
        assert_eq!(client.closed, Some(Closed::TimedOut));
        client.close().await;
    });
}

#[test]
fn what_comes_early_is_marked() {
    let server = serve(1, Plan::CALM, app);
    server.run(async |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connected().await;
        let id = client.get("/early").await;
        assert_eq!(client.answer(id).await.text(), "false");
        client.close().await;
        let mut client = host.connect();
        assert!(client.quic.is_early());
        let id = client.get("/early").await;
        assert_eq!(client.answer(id).await.text(), "true");
        assert!(client.quic.was_early_taken());
        let id = client.get("/early").await;
        assert_eq!(client.answer(id).await.text(), "false");
        client.close().await;
    });
}

#[test]
fn a_peer_has_its_address() {
    let answer = get("/peer");
    assert!(answer.text().starts_with("10.0.0.2:"), "{}", answer.text());
}

#[test]
fn a_drain_finishes_what_is_in_hand() {
    let server = serve(1, Plan::CALM, app);
    server.run(async |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connected().await;
        let first = client.get("/").await;
        client.answer(first).await;
        let later = client.get("/later").await;
        let large = client.get("/bytes/3000000").await;
        client.rest(Duration::from_millis(1)).await;
        kit.drain();
        // What is on its way when the drain begins is answered, too.
        let last = client.get("/").await;
        assert_eq!(client.answer(last).await.text(), "hello");
        assert_eq!(client.answer(later).await.text(), "later");
        assert_eq!(client.answer(large).await.body.len(), 3_000_000);
        assert_eq!(client.end().await, Code::NO_ERROR);
        assert_eq!((client.goaways.len(), client.goaways.last()), (2, Some(&16)));
        client.close().await;
    });
}

/// What was sent in one piece was once taken for sent, and held its stream until the time for slow readers was over.
#[test]
fn an_answer_that_is_not_wanted_any_more_ends_at_once() {
    let server = serve(1, Plan::CALM, app);
    server.run(async |kit| {
        let host = Host::new(&kit).await;
        let mut client = host.connected().await;
        client.reads_at_once = false;
        let id = client.get("/bytes/3000000").await;
        client.rest(Duration::from_millis(10)).await;
        client.stop(id, Code::REQUEST_CANCELLED);
        client.rest(Duration::from_millis(10)).await;
        let begun = host.kit.now();
        kit.drain();
        assert_eq!(client.end().await, Code::NO_ERROR);
        assert!(host.kit.now() - begun < Duration::from_secs(5));
        client.close().await;
    });
}

/// The simulated network gives a datagram to a shard by the addresses at both ends, and knows no ids: so most that come from a new
/// port come to a shard that has not the connection, and are passed on.
#[test]
fn a_client_that_moves_keeps_its_connection_whatever_shard_it_comes_to() {
    for seed in 1..=6 {
        println!("seed {seed}");
        let plan = if seed % 2 == 1 { Plan::CALM } else { Plan::LATE };
        let server = serve_on(4, seed, plan, || App::new().get("/", |shard: Shard| shard.number().to_string()));
        server.run(async move |kit| {
            let host = Host::new(&kit).await;
            let mut client = host.connected().await;
            let id = client.get("/").await;
            let first = client.answer(id).await.text().to_owned();
            for _ in 0..8 {
                host.moves();
                let id = client.get("/").await;
                assert_eq!(client.answer(id).await.text(), first, "it has the same connection");
            }
            client.close().await;
        });
    }
}
