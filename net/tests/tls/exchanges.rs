//! What is asked and answered over TLS is what would be in the clear.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use shardwise_net::Config;

use crate::kit::{Ended, Setup, World, check, get, pattern, post};

#[test]
fn requests_are_answered_on_one_connection() {
    check(Setup::new(), async |world: World| {
        let mut client = world.open().await;
        for round in 0..20 {
            assert_eq!(client.ask("/").await, "hello");
            let bytes = [0, 1, 100, 1400, 5000, 16_352, 70_000][round % 7];
            assert!(client.ask(&format!("/bytes/{bytes}")).await.as_bytes() == pattern(bytes), "{bytes} bytes");
        }
        client.send(get("/").repeat(30)).await;
        for _ in 0..30 {
            assert_eq!(client.answer().await, "hello");
        }
        assert_eq!((world.stats.tls13_full.get(), world.stats.tls_aes256.get()), (1, 1));
        assert_eq!((world.stats.requests.get(), world.stats.tls_handshakes_open.get()), (70, 0));
    });
}

/// The server's order of suites holds, but for who likes ChaCha20 best.
#[test]
fn suites_go_by_the_servers_order_unless_a_client_would_rather_do_without_aes() {
    let mut setup = Setup::new();
    setup.server.ignore_client_order = true;
    check(setup, async |world: World| {
        use rustls::crypto::aws_lc_rs::cipher_suite::{
            TLS13_AES_128_GCM_SHA256 as AES_128, TLS13_AES_256_GCM_SHA384 as AES_256,
            TLS13_CHACHA20_POLY1305_SHA256 as CHACHA20,
        };
        let (mut aes_256, mut chacha20) = (0, 0);
        for suites in [[AES_128, CHACHA20, AES_256], [CHACHA20, AES_128, AES_256], [AES_256, CHACHA20, AES_128]] {
            match suites[0] == CHACHA20 {
                true => chacha20 += 1,
                false => aes_256 += 1,
            }
            let config = world.of_suites(&suites);
            assert_eq!(world.open_with(&config).await.ask("/").await, "hello");
            let stats = &world.stats;
            let agreed = (stats.tls_aes128.get(), stats.tls_aes256.get(), stats.tls_chacha20.get());
            assert_eq!(agreed, (0, aes_256, chacha20), "{suites:?}");
        }
    });
}

#[test]
fn bodies_go_both_ways() {
    check(Setup::new(), async |world: World| {
        let mut client = world.open().await;
        client.shake().await.unwrap();
        for bytes in [1, 5000, 400_000] {
            let body = pattern(bytes);
            client.send(post("/sum", bytes)).await;
            client.send(&body).await;
            let sum: u64 = body.iter().map(|&byte| u64::from(byte)).sum();
            assert_eq!(client.answer().await, sum.to_string());
            // It is sent while it comes: what the client does not read, the server does not send for ever.
            for piece in body.chunks(30_000) {
                client.send(post("/echo", piece.len())).await;
                client.send(piece).await;
                assert!(client.answer().await.as_bytes() == piece);
            }
        }
        assert!(client.ask("/bytes/3000000").await.as_bytes() == pattern(3_000_000));
        // What would go through a pipe in the clear is read.
        assert!(client.ask("/stream/500000").await == "x".repeat(500_000));
    });
}

#[test]
fn a_request_knows_what_was_agreed_on() {
    let mut setup = Setup::new();
    setup.server.send_tls13_tickets = 1;
    check(setup, async |world: World| {
        for (version, protocol, name) in
            [(&rustls::version::TLS13, "http/1.1", "TLSv1_3"), (&rustls::version::TLS12, "none", "TLSv1_2")]
        {
            let config = world.changed(|config| {
                let provider = Arc::clone(config.crypto_provider());
                let verifier = rustls::ClientConfig::builder_with_provider(provider);
                let fresh = verifier.with_protocol_versions(&[version]).unwrap();
                let roots = config.clone();
                *config =
                    fresh.dangerous().with_custom_certificate_verifier(Arc::new(Trusting(roots))).with_no_client_auth();
                config.alpn_protocols = if protocol == "none" { vec![] } else { vec![protocol.into()] };
            });
            for kind in ["new", "resumed"] {
                let mut client = world.open_with(&config).await;
                let agreed = client.ask("/agreed").await;
                assert_eq!(agreed, format!("{name} {kind} {protocol} Some(\"localhost\") 0"));
                assert!(client.ask("/who").await.ends_with(" true"));
                // Resources of https are ours.
                client.send("GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                assert_eq!(client.answer().await, "hello");
                client.tls.send_close_notify();
                assert_eq!(client.rest().await, (String::new(), Ended::InOrder));
            }
        }
        let stats = &world.stats;
        let counts = [&stats.tls13_full, &stats.tls13_resumed, &stats.tls12_full, &stats.tls12_resumed];
        assert_eq!(counts.map(|counter| counter.get()), [1; 4]);
        assert_eq!(stats.broken.get(), 0);
    });
}

/// Trusts whoever it is: certificates are another's matter.
#[derive(Debug)]
struct Trusting(rustls::ClientConfig);

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A preface, settings, and `GET /` of `https` on stream 1.
const H2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x0e\x01\x05\0\0\0\x01\x82\x87\x84\x41\x09localhost";

#[test]
fn http2_is_spoken_where_it_was_agreed_on() {
    check(Setup::new(), async |world: World| {
        let config = world.changed(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
        let mut client = world.open_with(&config).await;
        client.send(H2).await;
        let got = client.until("hello").await;
        assert!(got.contains('\u{88}') || got.contains("\u{fffd}"), "a status 200, by its number: {got:?}");
        assert_eq!((world.stats.h2_connections.get(), world.stats.requests.get()), (1, 1));
        // Its preface is enough where no protocol was named.
        let mut client = world.open().await;
        client.send(H2).await;
        client.until("hello").await;
        assert_eq!(world.stats.h2_connections.get(), 2);
    });
}

/// A client that waits for settings, as for a WebSocket it must, has them before it can ask for anything.
#[test]
fn settings_come_with_the_first_flight() {
    const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;
    check(Setup::new(), async |world: World| {
        let config = world.changed(|config| config.alpn_protocols = vec![b"h2".to_vec()]);
        for round in 0..2 {
            let mut client = world.open_with(&config).await;
            let heard = client.first_flight(9).await;
            let (settings, window) = heard.split_at(9 + usize::from(heard[2]));
            assert_eq!((settings[3], settings[4]), (SETTINGS, 0), "round {round}");
            assert_eq!((window.len(), window[3]), (13, WINDOW_UPDATE), "and the connection's window, and nothing else");
            assert_eq!(world.stats.h2_connections.get(), round, "nobody has proved anything yet");
            client.send(H2).await;
            let got = client.until("hello").await.into_bytes();
            assert_eq!(
                (got[3], got[4] & 1),
                (SETTINGS, 1),
                "they are not said twice, and the client's are acknowledged"
            );
        }
        // Who offers HTTP/1.1 is told nothing.
        let mut client = world.open().await;
        assert_eq!(client.ask("/").await, "hello");
    });
}

/// The answer is there a round trip before the client's last word on the hand-shake is.
#[test]
fn early_requests_are_answered_with_the_first_flight() {
    check(Setup::new().with_early_data(), async |world: World| {
        assert_eq!(world.open().await.ask("/early").await, "late");
        let mut client = world.open().await;
        client.tls.early_data().expect("a session to resume").write_all(get("/early").as_bytes()).unwrap();
        let heard = client.first_flight(b"HTTP/1.1 200 OK\r\n".len()).await;
        assert!(heard.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", heard.escape_ascii());
    });
}

/// What the client has yet to say of the hand-shake does not meet a closed socket, which would undo the answer.
#[test]
fn a_last_answer_that_comes_early_is_not_cut_off() {
    check(Setup::new().with_early_data(), async |world: World| {
        assert_eq!(world.open().await.ask("/early").await, "late");
        let mut client = world.open().await;
        let request = "GET /early HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.tls.early_data().expect("a session to resume").write_all(request.as_bytes()).unwrap();
        let (answer, ended) = client.rest().await;
        assert!(answer.ends_with("early") && ended == Ended::InOrder, "{answer:?}, {ended:?}");
        assert!(client.flush().await, "there is somebody who takes it");
        assert!(matches!(client.stream.recv().await, Ok(None)));
    });
}

#[test]
fn early_requests_are_marked_and_answered() {
    check(Setup::new().with_early_data(), async |world: World| {
        for (round, expect) in [(0, "late"), (1, "early"), (2, "early")] {
            let mut client = world.open().await;
            match client.tls.early_data() {
                Some(mut early) => early.write_all(get("/early").as_bytes()).unwrap(),
                None => assert!(client.send(get("/early")).await),
            }
            assert_eq!(client.answer().await, expect, "round {round}");
            client.shake().await.unwrap();
            assert_eq!(client.ask("/early").await, "late");
            assert_eq!(world.stats.tls_early.get(), round);
        }
    });
}

#[test]
fn a_tunnel_goes_through_tls() {
    check(Setup::new(), async |world: World| {
        let mut client = world.open().await;
        client
            .send("GET /tunnel HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nahead ")
            .await;
        assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101"));
        client.send("and behind").await;
        client.until("ahead and behind").await;
        client.send(pattern(50_000)).await;
        assert!(client.exactly(50_000).await.as_bytes() == pattern(50_000));
        client.tls.send_close_notify();
        client.rest().await;
    });
}

#[test]
fn a_proxys_header_comes_before_tls() {
    let config = Config { proxy_protocol: true, ..Config::default() };
    check(Setup { config, ..Setup::new() }, async |world: World| {
        for together in [false, true] {
            let mut client = world.open().await;
            let mut first = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec();
            if together {
                client.tls.write_tls(&mut first).unwrap();
            }
            client.stream.send(first).await.unwrap();
            assert_eq!(client.ask("/who").await, "Some(192.0.2.7:56324) true");
        }
    });
}

#[test]
fn keys_may_change_under_way() {
    check(Setup::new(), async |world: World| {
        let mut client = world.open().await;
        client.shake().await.unwrap();
        for _ in 0..5 {
            client.tls.refresh_traffic_keys().unwrap();
            assert_eq!(client.ask("/").await, "hello");
            world.sleep(Duration::from_millis(100)).await;
        }
    });
}
