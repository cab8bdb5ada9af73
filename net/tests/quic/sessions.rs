//! Keys: new ones, those of an earlier connection, and what is said before there are any.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use platform::sim::Plan;
use rustls::CipherSuite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use shardwise_net::quic::{Behind, Closed, Dir, Event, Read};
use shardwise_net::tls::provider;

use crate::kit::{ADDRESS, Client, Setup, World, check, pattern};

#[test]
fn keys_change_while_much_is_said() {
    for seed in 1..=4 {
        check(seed, Plan::rough(if seed == 1 { 0.0 } else { 0.03 }), Setup::new(), async |world| {
            let mut client = world.connected().await;
            let data = pattern(200_000);
            for _ in 0..5 {
                client.0.update_keys();
                assert!(client.ask(&data).await.expect("an answer") == data);
                // Nobody changes them again before those of before are forgotten (RFC 9001 section 6.5).
                client.rest(Duration::from_secs(5)).await;
                assert_eq!(client.ask(b"new keys").await.expect("an answer"), b"new keys");
                assert!(client.ask(&data).await.expect("an answer") == data);
                client.rest(Duration::from_secs(5)).await;
            }
            client.close().await;
        });
    }
}

/// Asks on one stream before anything has come back, and gives what is said to whether that was early.
async fn ask_early(world: &World) -> (bool, String) {
    let mut client = world.connect();
    let is_early = client.0.is_early();
    if !is_early {
        client.until(|event| matches!(event, Event::Connected)).await.expect("a hand-shake");
    }
    let id = client.0.open(Dir::Bi).expect("the server admits one");
    client.0.write(id, b"early?").expect("it is open");
    client.0.finish(id).expect("it is open");
    let mut answer = Vec::new();
    loop {
        match client.0.read(id, 100) {
            Read::Chunk(chunk, behind) => {
                answer.extend_from_slice(&chunk);
                if behind == Behind::End {
                    break;
                }
            }
            Read::Pending => {
                client.until(|event| matches!(event, Event::Readable(_))).await.expect("an answer");
            }
            Read::End | Read::Closed => break,
            Read::Reset(code) => panic!("reset with {code}"),
        }
    }
    assert_eq!(client.0.was_early_taken(), is_early);
    // Tickets come behind the hand-shake.
    client.ask(b"hello").await.expect("an answer");
    client.close().await;
    (is_early, String::from_utf8(answer).expect("text"))
}

#[test]
fn who_comes_back_may_ask_before_the_hand_shake_is_over() {
    let mut setup = Setup::new();
    setup.early = true;
    check(1, Plan::CALM, setup, async |world| {
        assert_eq!(ask_early(&world).await, (false, "no".to_owned()));
        assert_eq!(ask_early(&world).await, (true, "yes".to_owned()));
        assert_eq!(ask_early(&world).await, (true, "yes".to_owned()));
        let served = &world.served;
        let counts = (served.tls13_full.get(), served.tls13_resumed.get(), served.tls_early.get());
        assert_eq!(counts, (1, 2, 2));
    });
}

#[test]
fn nobody_does_unless_the_server_admits_it() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        for _ in 0..3 {
            assert_eq!(ask_early(&world).await, (false, "no".to_owned()));
        }
    });
}

/// Who would rather do without AES is not seen in time, and so every client has its way.
#[test]
fn suites_go_by_the_clients_order() {
    let setup = Setup::new();
    let identity = Rc::clone(&setup.identity);
    check(1, Plan::CALM, setup, async move |world| {
        let ours = provider(&world.shard);
        let agreed = |suite| match suite {
            TLS13_AES_128_GCM_SHA256 => world.served.tls_aes128.get(),
            TLS13_AES_256_GCM_SHA384 => world.served.tls_aes256.get(),
            _ => world.served.tls_chacha20.get(),
        };
        for first in [TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256] {
            let mut provider = CryptoProvider::clone(&ours);
            provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
            let tls = Arc::new(identity.client_by(Arc::new(provider)));
            let mut client = World { tls, ..world.clone() }.connected().await;
            client.ask(b"hello").await.expect("an answer");
            client.close().await;
            assert_eq!(agreed(first), 1, "{first:?}");
        }
    });
}

#[test]
fn what_does_not_come_to_be_is_counted_by_its_cause() {
    check(1, Plan::CALM, Setup::new(), async |world| {
        let peer = ADDRESS.parse().expect("an address");
        // The certificate is for another name.
        let mut client = Client(world.endpoint.connect(peer, "elsewhere", &world.tls).expect("a connection"));
        assert!(matches!(client.closed().await, Closed::Broken(0x100..0x200, _)));
        client.close().await;
        assert_eq!(world.served.tls_distrusted.get(), 1);
        // Nothing in common is spoken.
        let mut tls = ClientConfig::clone(&world.tls);
        tls.alpn_protocols = vec![b"nothing".to_vec()];
        let mut client = Client(world.endpoint.connect(peer, "localhost", &Arc::new(tls)).expect("a connection"));
        // no_application_protocol, RFC 7301 section 3.2.
        assert!(matches!(client.closed().await, Closed::ByPeerTransport(0x178, _)));
        client.close().await;
        assert_eq!(world.served.tls_nothing_shared.get(), 1);
        assert_eq!(world.served.quic_handshakes.get(), 0);
        assert_eq!(world.served.quic_handshakes_failed.get(), 2);
    });
}
