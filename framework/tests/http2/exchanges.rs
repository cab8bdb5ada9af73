//! One exchange at a time, or a few: what handlers and clients see of them.

use std::time::Duration;

use proto::h2::{Code, Limits};
use shardwise::Config;
use shardwise::http::Method;
use shardwise::test;

use super::client::{Answer, Client};
use super::{app, pattern};

/// Runs a client against the app.
#[track_caller]
fn with<T: 'static>(work: impl AsyncFnOnce(&mut Client, &test::Client) -> T + 'static) -> T {
    let server = test::run(app());
    server.run(async move |kit| {
        let mut client = Client::open(&kit, Limits::default()).await;
        work(&mut client, &kit).await
    })
}

fn get(target: &'static str) -> Answer {
    with(async move |client, _| {
        let id = client.get(target);
        client.answer(id).await
    })
}

fn post(target: &'static str, body: Vec<u8>) -> Answer {
    with(async move |client, _| {
        let id = client.post(target, &body);
        client.answer(id).await
    })
}

#[test]
fn answers_come_as_over_http_1() {
    let answer = get("/");
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    let names: Vec<_> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["content-type", "server", "date", "content-length"]);
    assert_eq!(get("/later").text(), "later");
    assert_eq!(get("/who").text(), "HTTP/2.0 here:80 /who");
    assert_eq!(get("/nothing").status, 404);
    let head = with(async |client, _| {
        let id = client.ask(&Method::HEAD, "/bytes/70000", &[], b"", &[]);
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
        ("/bytes/16385", 16_385),
        ("/bytes/65535", 65_535),
        ("/bytes/1000000", 1_000_000),
        ("/stream/0", 0),
        ("/stream/1", 1),
        ("/stream/300000", 300_000),
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
    for count in [1, 100, 16_384, 70_000, 500_000] {
        assert_eq!(post("/count", pattern(count)).text(), format!("{count} bytes, true, 0 trailers"));
        assert!(post("/echo", pattern(count)).body == pattern(count), "{count}");
    }
    assert_eq!(post("/count", Vec::new()).text(), "0 bytes, true, 0 trailers");
    let answer = with(async |client, _| {
        let id = client.ask(&Method::POST, "/count", &[], &pattern(5), &[("x-a", "1"), ("x-b", "2")]);
        client.answer(id).await
    });
    assert_eq!(answer.text(), "5 bytes, true, 2 trailers");
}

#[test]
fn a_body_that_nobody_reads_is_read_over_up_to_a_bound() {
    for (count, resets) in [(1, vec![]), (200_000, vec![]), (600_000, vec![(1, Code::NO_ERROR)])] {
        with(async move |client, _| {
            let id = client.post("/ignored", &pattern(count));
            let next = client.post("/count", &pattern(100_000));
            assert_eq!(client.answer(id).await.text(), "ignored");
            while client.is_sending(id) {
                assert!(client.receive().await);
                client.flush().await;
            }
            assert_eq!(client.resets, resets, "{count} bytes");
            assert_eq!(client.answer(next).await.text(), "100000 bytes, true, 0 trailers");
        });
    }
}

/// What nobody reads does not hold its stream for ever, if it does not come.
#[test]
fn the_rest_of_a_body_is_not_waited_for_without_end() {
    with(async move |client, kit| {
        let begun = kit.now();
        let id = client.post("/ignored", b"hello");
        client.wire.send(std::mem::take(&mut client.out)).await.unwrap();
        while client.resets.is_empty() {
            assert!(client.receive().await);
        }
        assert_eq!((client.answers[&id].text(), &client.resets[..]), ("ignored", &[(1, Code::NO_ERROR)][..]));
        assert_eq!((kit.now() - begun).as_secs(), 30);
    });
}

#[test]
fn who_waits_to_be_asked_for_a_body_is_asked_if_it_is_wanted() {
    for (target, interim, text) in
        [("/text", vec![100], "hello"), ("/echo", vec![100], "hello"), ("/ignored", vec![], "ignored")]
    {
        let answer = with(async move |client, kit| {
            let fields = [("expect", "100-continue")];
            let id = client.ask(&Method::POST, target, &fields, b"hello", &[]);
            // The head alone.
            client.wire.send(std::mem::take(&mut client.out)).await.unwrap();
            if target != "/ignored" {
                assert!(client.receive().await);
                while client.answers[&id].interim.is_empty() {
                    assert!(client.receive().await);
                }
            }
            kit.sleep(Duration::from_millis(10)).await;
            client.answer(id).await
        });
        assert_eq!((answer.interim.clone(), answer.text()), (interim, text), "{target}");
    }
}

#[test]
fn exchanges_do_not_wait_for_each_other() {
    with(async |client, _| {
        let slow = client.get("/later");
        let large = client.get("/bytes/300000");
        let quick = client.get("/");
        assert_eq!(client.answer(quick).await.text(), "hello");
        assert!(!client.answers[&large].is_over(), "its window is shut");
        assert_eq!(client.answer(large).await.body.len(), 300_000);
        assert_eq!(client.answer(slow).await.text(), "later");
    });
}

#[test]
fn a_reset_ends_the_request() {
    with(async |client, kit| {
        let id = client.get("/for-ever");
        client.flush().await;
        kit.sleep(Duration::from_millis(10)).await;
        client.reset(id, Code::CANCEL);
        let next = client.get("/");
        assert_eq!(client.answer(next).await.text(), "hello");
    });
}

/// Runs a client against the app, served with other limits.
#[track_caller]
fn with_config<T: 'static>(
    change: impl Fn(&mut Config) + 'static,
    work: impl AsyncFnOnce(&mut Client, &test::Client) -> T + 'static,
) -> T {
    let server = test::builder().start(move |_| {
        let mut config = Config::default();
        change(&mut config);
        app().config(config)
    });
    server.run(async move |kit| {
        let mut client = Client::open(&kit, Limits::default()).await;
        work(&mut client, &kit).await
    })
}

#[test]
fn a_handler_that_takes_too_long_is_answered_for() {
    with_config(
        |config| config.request_time_max = Some(Duration::from_secs(2)),
        async |client, kit| {
            let begun = kit.now();
            let id = client.get("/for-ever");
            let answer = client.answer(id).await;
            assert_eq!((answer.status, answer.text()), (503, "the request took too long\n"));
            assert_eq!((kit.now() - begun).as_secs(), 2);
        },
    );
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    with(async |client, kit| {
        let begun = kit.now();
        let id = client.post("/text", &pattern(100));
        // The head alone.
        client.wire.send(std::mem::take(&mut client.out)).await.unwrap();
        while !client.answers[&id].is_over() {
            assert!(client.receive().await);
        }
        assert_eq!(client.answers[&id].status, 408);
        assert_eq!((kit.now() - begun).as_secs(), 30);
    });
}

#[test]
fn a_window_that_stays_shut_is_not_waited_for_without_end() {
    with(async |client, kit| {
        client.reads_at_once = false;
        let begun = kit.now();
        let id = client.get("/bytes/300000");
        let answer = client.answer(id).await;
        assert_eq!((answer.reset, answer.body.len()), (Some(Code::CANCEL), 65_535));
        assert_eq!((kit.now() - begun).as_secs(), 30);
    });
}

#[test]
fn an_idle_connection_is_told_and_closed() {
    with(async |client, kit| {
        let id = client.get("/");
        client.answer(id).await;
        let begun = kit.now();
        client.end().await;
        assert_eq!(client.goaways.last(), Some(&(1, Code::NO_ERROR)));
        assert_eq!((kit.now() - begun).as_secs(), 75);
    });
}

/// A connection was once as good as idle when each of its requests was answered on the spot.
#[test]
fn a_connection_that_asks_now_and_then_is_not_idle() {
    with(async |client, kit| {
        for _ in 0..10 {
            kit.sleep(Duration::from_secs(60)).await;
            let id = client.get("/");
            assert_eq!(client.answer(id).await.text(), "hello");
        }
        assert_eq!(client.goaways, []);
    });
}

#[test]
fn who_has_had_as_many_requests_as_it_may_is_told() {
    with_config(
        |config| config.connection_requests_max = 3,
        async |client, _| {
            for _ in 0..3 {
                let id = client.get("/");
                assert_eq!(client.answer(id).await.text(), "hello");
            }
            client.end().await;
            assert_eq!(client.goaways.last(), Some(&(5, Code::NO_ERROR)));
        },
    );
}

#[test]
fn without_it_the_preface_is_refused() {
    let server = test::builder().start(|_| app().config(Config { accepts_h2: false, ..Config::default() }));
    server.run(async |kit| {
        let mut connection = kit.open().await;
        connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(connection.response(&Method::GET).await.unwrap().status(), 505);
    });
}

#[test]
fn a_proxy_may_say_whose_connection_it_is() {
    with_config(
        |config| config.proxy_protocol = true,
        async |client, _| {
            client.out.extend_from_slice(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n");
            let id = client.get("/peer");
            assert_eq!(client.answer(id).await.text(), "192.0.2.7:1234");
        },
    );
}

#[test]
fn a_drain_finishes_what_is_in_hand() {
    let server = test::run(app());
    server.run(async |kit| {
        let mut client = Client::open(&kit, Limits::default()).await;
        let first = client.get("/");
        client.answer(first).await;
        let later = client.get("/later");
        let large = client.get("/bytes/300000");
        client.flush().await;
        kit.drain();
        assert_eq!(client.answer(later).await.text(), "later");
        assert_eq!(client.answer(large).await.body.len(), 300_000);
        client.end().await;
        assert_eq!(client.goaways.first(), Some(&((1 << 31) - 1, Code::NO_ERROR)));
        assert_eq!(client.goaways.last(), Some(&(5, Code::NO_ERROR)));
    });
}
