//! How connections fail to begin, and how they end.

use std::time::Duration;

use rustls::RootCertStore;
use shardwise_net::Config;

use crate::kit::{Ended, Setup, World, check, get, post};

/// All that is counted of hand-shakes that have not ended well.
fn failures(world: &World) -> Vec<(&'static str, u64)> {
    let stats = &world.stats;
    let counters = [
        ("timed out", &stats.tls_timed_out),
        ("crowded", &stats.tls_crowded),
        ("distrusted", &stats.tls_distrusted),
        ("alerted", &stats.tls_alerted),
        ("nothing shared", &stats.tls_nothing_shared),
        ("bad certificate", &stats.tls_bad_certificates),
        ("broken rules", &stats.tls_broken_rules),
        ("left", &stats.tls_left),
        ("here", &stats.tls_failed_here),
        ("plain", &stats.tls_plain),
    ];
    counters.map(|(name, counter)| (name, counter.get())).into_iter().filter(|&(_, count)| count > 0).collect()
}

#[test]
fn who_speaks_in_the_clear_is_told_so() {
    check(Setup::new(), async |world: World| {
        for request in [get("/"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "GET bad HTTP/1.1\r\n\r\n".into()] {
            let mut stream = world.connect().await;
            stream.send(request.into_bytes()).await.unwrap();
            let mut answer = String::new();
            while let Ok(Some(chunk)) = stream.recv().await {
                answer += &String::from_utf8_lossy(&chunk);
            }
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
            assert!(answer.contains("Connection: close\r\n"), "{answer}");
        }
        assert_eq!(failures(&world), [("plain", 3)]);
        assert_eq!((world.stats.requests.get(), world.stats.refused.get()), (0, 3));
    });
}

#[test]
fn what_is_neither_is_refused_by_an_alert() {
    check(Setup::new(), async |world: World| {
        for bytes in [&b"\x16\x03\x01\xff\xff"[..], b"\x80\x2e\x01\x03\x01\0\x15", b"{\"json\": true}"] {
            let mut stream = world.connect().await;
            stream.send(bytes.to_vec()).await.unwrap();
            let mut answer = Vec::new();
            while let Ok(Some(chunk)) = stream.recv().await {
                answer.extend_from_slice(&chunk);
            }
            assert_eq!(answer[..6], *b"\x15\x03\x03\0\x02\x02", "a fatal alert, then the end");
        }
        assert_eq!(failures(&world), [("broken rules", 3)]);
    });
}

#[test]
fn a_hand_shake_must_come_to_its_end_in_time() {
    check(Setup::new(), async |world: World| {
        let begun = world.shard.now();
        // One says nothing, one half a hello, one a hello and no more.
        let mut silent = world.connect().await;
        let (mut half, mut whole) = (world.open().await, world.open().await);
        let mut hello = Vec::new();
        half.tls.write_tls(&mut hello).unwrap();
        half.stream.send(hello[..hello.len() / 2].to_vec()).await.unwrap();
        whole.flush().await;
        while let Ok(Some(_)) = whole.stream.recv().await {}
        assert!(matches!(half.stream.recv().await, Ok(None)));
        assert!(matches!(silent.recv().await, Ok(None)));
        let time = (world.shard.now() - begun).as_secs_f32();
        assert!((10.0..11.0).contains(&time), "{time}");
        assert_eq!(failures(&world), [("timed out", 2)]);
        assert_eq!(world.stats.timed_out.get(), 3);
    });
}

#[test]
fn hand_shakes_wait_for_their_turn() {
    let config = Config { handshakes_max: 1, ..Config::default() };
    check(Setup { config, ..Setup::new() }, async |world: World| {
        let mut first = world.open().await;
        first.flush().await;
        world.sleep(Duration::from_secs(4)).await;
        let mut second = world.open().await;
        second.flush().await;
        world.sleep(Duration::from_secs(4)).await;
        let mut third = world.open().await;
        third.flush().await;
        assert_eq!(second.ask("/").await, "hello", "when the first is given up");
        assert_eq!(third.ask("/").await, "hello");
        assert_eq!(failures(&world), [("timed out", 1)]);
        // Nobody waits for one that says nothing.
        let _silent = world.connect().await;
        let mut fourth = world.open().await;
        assert_eq!(fourth.ask("/").await, "hello");
    });
}

#[test]
fn who_waits_for_a_turn_too_long_is_given_up() {
    let config = Config { handshakes_max: 1, ..Config::default() };
    check(Setup { config, ..Setup::new() }, async |world: World| {
        let mut late = world.open().await;
        world.sleep(Duration::from_secs(1)).await;
        let mut first = world.open().await;
        first.flush().await;
        world.sleep(Duration::from_secs(1)).await;
        late.flush().await;
        while let Ok(Some(_)) = late.stream.recv().await {}
        assert_eq!(failures(&world), [("timed out", 1), ("crowded", 1)]);
        while let Ok(Some(_)) = first.stream.recv().await {}
        assert_eq!(failures(&world), [("timed out", 2), ("crowded", 1)]);
        assert_eq!(world.stats.tls_handshakes_open.get(), 0);
    });
}

#[test]
fn who_has_nothing_in_common_is_told_so() {
    check(Setup::new(), async |world: World| {
        let config = world.changed(|config| config.alpn_protocols = vec![b"smtp".to_vec()]);
        let ended = world.open_with(&config).await.shake().await.unwrap_err();
        assert_eq!(ended, Ended::Alert("received fatal alert: NoApplicationProtocol".into()));
        assert_eq!(failures(&world), [("nothing shared", 1)]);
    });
}

#[test]
fn who_trusts_nobody_is_counted_as_such() {
    check(Setup::new(), async |world: World| {
        let config = world.changed(|config| {
            let provider = std::sync::Arc::clone(config.crypto_provider());
            let strict = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            *config = strict.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        });
        let mut client = world.open_with(&config).await;
        assert!(matches!(client.shake().await, Err(Ended::Alert(_))));
        client.flush().await;
        while let Ok(Some(_)) = client.stream.recv().await {}
        assert_eq!(failures(&world), [("distrusted", 1)]);
    });
}

#[test]
fn who_leaves_in_the_middle_is_forgotten() {
    check(Setup::new(), async |world: World| {
        for part in [1, 5, 100] {
            let mut client = world.open().await;
            let mut hello = Vec::new();
            client.tls.write_tls(&mut hello).unwrap();
            client.stream.send(hello[..part].to_vec()).await.unwrap();
            drop(client);
            world.sleep(Duration::from_secs(1)).await;
        }
        let mut client = world.open().await;
        client.flush().await;
        client.stream.recv().await.unwrap();
        drop(client);
        world.sleep(Duration::from_secs(1)).await;
        let left: u64 = failures(&world).iter().map(|&(_, count)| count).sum();
        assert!(left + world.stats.broken.get() >= 4, "{:?}", failures(&world));
        assert_eq!(world.stats.tls_handshakes_open.get(), 0);
    });
}

#[test]
fn the_server_says_its_last_word_before_it_closes() {
    check(Setup::new(), async |world: World| {
        // By the request, by the idle time, by the drain.
        let mut client = world.open().await;
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        let (rest, ended) = client.rest().await;
        assert!(rest.ends_with("hello"));
        assert_eq!(ended, Ended::InOrder);
        let mut client = world.open().await;
        assert_eq!(client.ask("/").await, "hello");
        assert_eq!(client.rest().await, (String::new(), Ended::InOrder));
        let config = world.changed(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
        let (mut client, mut other) = (world.open().await, world.open_with(&config).await);
        assert_eq!(client.ask("/").await, "hello");
        other.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        other.shake().await.unwrap();
        let silent = world.connect().await;
        world.sleep(Duration::from_secs(1)).await;
        (world.drain)();
        assert_eq!(client.rest().await, (String::new(), Ended::InOrder));
        assert_eq!(other.rest().await.1, Ended::InOrder);
        drop(silent);
        assert_eq!((failures(&world), world.stats.broken.get()), (vec![], 0));
    });
}

#[test]
fn a_clients_last_word_ends_its_side_and_nothing_else_need_follow() {
    check(Setup::new(), async |world: World| {
        // In the middle of a body: it is not whole, whoever ends it and how.
        for says_so in [true, false] {
            let mut client = world.open().await;
            client.send(post("/sum", 1000)).await;
            client.shake().await.unwrap();
            client.send(vec![b'x'; 500]).await;
            if says_so {
                client.tls.send_close_notify();
                client.flush().await;
            } else {
                client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            assert!(client.rest().await.0.starts_with("HTTP/1.1 400 "));
        }
        // Between two requests it is nobody's fault.
        for says_so in [true, false] {
            let mut client = world.open().await;
            assert_eq!(client.ask("/").await, "hello");
            if says_so {
                client.tls.send_close_notify();
                client.flush().await;
            } else {
                client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            assert_eq!(client.rest().await, (String::new(), Ended::InOrder));
        }
        assert_eq!(world.stats.broken.get(), 0);
    });
}

#[test]
fn who_does_not_read_makes_the_server_hold_little() {
    check(Setup::new(), async |world: World| {
        let mut client = world.open().await;
        client.shake().await.unwrap();
        client.send(get("/bytes/20000000")).await;
        client.until("\r\n\r\n").await;
        world.sleep(Duration::from_secs(5)).await;
        let begun = world.shard.now();
        let ended = loop {
            match client
                .shard
                .timeout(Duration::from_secs(600), async { world.sleep(Duration::from_secs(60)).await })
                .await
            {
                Ok(()) if world.stats.slow_readers.get() > 0 => break world.shard.now() - begun,
                Ok(()) => {}
                Err(_) => panic!("it waits for ever"),
            }
        };
        assert!(ended <= Duration::from_secs(120), "{ended:?}");
    });
}
