//! Connections that begin with a PROXY header.

use platform::sim::Plan;
use shardwise_net::Config;

use crate::kit::{Ended, SEEDS, Setup, World, get, is_loopback, run, seconds};

fn check(config: Config, clients: impl AsyncFn(World) + Clone + 'static) {
    for seed in 1..=SEEDS {
        let config = Config { proxy_protocol: true, ..config.clone() };
        let clients = clients.clone();
        run(Setup { seed, plan: Plan::CHOPPY, config, ..Setup::default() }, async move |world| clients(world).await);
    }
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Version 2, with something to skip behind the addresses.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x01\0\x02h2";

const NAMED: &str = "Some(192.0.2.7:56324) Some(198.51.100.1:443)";

#[test]
fn requests_are_of_whom_the_proxy_names() {
    check(Config::default(), async |world: World| {
        for header in [LINE, BINARY] {
            let mut client = world.open().await;
            client.send([header, get("/who").as_bytes()].concat()).await;
            assert!(client.answer().await.ends_with(NAMED));
            assert!(client.ask("/who").await.ends_with(NAMED), "all of the connection's");
        }
    });
}

#[test]
fn a_header_may_come_byte_by_byte() {
    check(Config::default(), async |world: World| {
        for header in [LINE, BINARY] {
            let mut client = world.open().await;
            for &byte in header {
                client.send([byte]).await;
                world.sleep(std::time::Duration::from_millis(2)).await;
            }
            assert!(client.ask("/who").await.ends_with(NAMED));
        }
    });
}

#[test]
fn a_connection_of_the_proxys_own_keeps_its_ends() {
    check(Config::default(), async |world: World| {
        for header in [LOCAL, b"PROXY UNKNOWN\r\n"] {
            let mut client = world.open().await;
            client.send([header, get("/who").as_bytes()].concat()).await;
            let answer = client.answer().await;
            let address =
                answer.rsplit_once("\r\nSome(").and_then(|(_, ends)| ends.split_once(')')).expect("two ends").0;
            assert!(is_loopback(address), "{answer}");
        }
    });
}

#[test]
fn who_begins_otherwise_is_closed_without_a_word() {
    check(Config::default(), async |world: World| {
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        let datagrams = [&BINARY[..13], b"\x12", &BINARY[14..]].concat();
        let others = [get("/").into_bytes(), long, datagrams, b"PROXY TCP4 1.2.3.4\r\n".to_vec(), vec![0; 10]];
        for (before, bytes) in others.into_iter().enumerate() {
            let mut client = world.open().await;
            client.send(bytes).await;
            assert_eq!(client.rest().await.0, "");
            assert_eq!(world.stats.proxy_refused.get(), before as u64 + 1);
        }
        assert_eq!(world.stats.requests.get(), 0);
    });
}

#[test]
fn a_header_must_come_in_time() {
    check(Config::default(), async |world: World| {
        for begin in [&b""[..], &LINE[..20], &BINARY[..20]] {
            let (mut client, opened) = (world.open().await, world.shard.now());
            client.send(begin).await;
            assert_eq!(client.rest().await, (String::new(), Ended::InOrder));
            let time = world.shard.now() - opened;
            let short = std::time::Duration::from_millis(10);
            assert!(time > seconds(10) - short && time < seconds(11), "the time limit of a head: {time:?}");
        }
        assert_eq!(world.stats.timed_out.get(), 3);
        // A look whether the port is open is no fault.
        world.open().await;
    });
}

#[test]
fn connections_count_as_those_of_the_client_that_is_named() {
    check(Config { connections_per_client_max: Some(2), ..Config::default() }, async |world: World| {
        let mut clients = Vec::new();
        for (source, is_served) in [
            ("192.0.2.7", true),
            ("192.0.2.7", true),
            ("192.0.2.7", false),
            ("192.0.2.8", true),
            ("192.0.2.8", true),
            ("192.0.2.8", false),
        ] {
            let mut client = world.open().await;
            client.send(format!("PROXY TCP4 {source} 198.51.100.1 1 443\r\n{}", get("/"))).await;
            match is_served {
                true => assert!(client.answer().await.ends_with("hello")),
                false => assert_eq!(client.rest().await.0, ""),
            }
            clients.push(client);
        }
        assert_eq!(world.stats.clients_refused.get(), 2);
    });
}
