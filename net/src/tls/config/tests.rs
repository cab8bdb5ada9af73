//! What a declaration comes to, on simulated shards, by hand-shakes in memory.

use rustls::{CipherSuite, HandshakeKind};
use shards::Simulation;

use super::super::testing::{Pair, client, client_by, client_of, shake};
use super::*;

/// Runs a test on one simulated shard.
fn on_a_shard(test: impl AsyncFnOnce(Shard) + 'static) {
    Simulation::new(1).run(test);
}

async fn config(shard: &Shard, tls: Tls) -> Result<Arc<ServerConfig>, SetupError> {
    let contents = tls.read(shard).await?;
    tls.config(shard, &tls.material(shard, &contents)?, true)
}

fn pair() -> Tls {
    let pair = Pair::new(&["a.example"]);
    Tls::new(pair.certificate_pem(), pair.key_pem())
}

#[test]
fn the_seed_decides_every_byte_of_a_hand_shake() {
    let run = |seed| {
        Simulation::new(seed).run(async move |shard| {
            let server = config(&shard, Tls::self_signed([])).await.unwrap();
            let client = Arc::new(client(&shard));
            let first = shake(&client, Arc::clone(&server), "localhost").unwrap();
            let second = shake(&client, server, "localhost").unwrap();
            assert_eq!((first.kind, second.kind), (HandshakeKind::Full, HandshakeKind::Resumed));
            [first.wire, second.wire].concat()
        })
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn the_same_secret_resumes_and_another_falls_back() {
    on_a_shard(async |shard| {
        let with = |secret: u8| pair().ticket_secret(vec![secret; 32]);
        let (one, same) = (config(&shard, with(1)).await.unwrap(), config(&shard, with(1)).await.unwrap());
        let other = config(&shard, with(2)).await.unwrap();
        let client = Arc::new(client(&shard));
        let kind = |server: &Arc<ServerConfig>| shake(&client, Arc::clone(server), "a.example").unwrap().kind;
        assert_eq!(kind(&one), HandshakeKind::Full);
        assert_eq!(kind(&same), HandshakeKind::Resumed);
        assert_eq!(kind(&other), HandshakeKind::Full);
        assert_eq!(kind(&other), HandshakeKind::Resumed);
    });
}

/// The sessions of an address that asks for no proof were good at one that does, and has the same secret.
#[test]
fn a_session_without_proof_is_none_where_clients_must_prove_themselves() {
    on_a_shard(async |shard| {
        let roots = Pair::new(&["clients.example"]).certificate_pem();
        let (open, strict) = (pair(), pair().clients(roots.clone(), Clients::Required));
        let (open, strict) = (config(&shard, open).await.unwrap(), config(&shard, strict).await.unwrap());
        let lax = config(&shard, pair().clients(roots, Clients::Optional)).await.unwrap();
        let client = Arc::new(client(&shard));
        for begun in [open, lax] {
            assert_eq!(shake(&client, begun, "a.example").unwrap().kind, HandshakeKind::Full);
            let refused = shake(&client, Arc::clone(&strict), "a.example");
            assert_eq!(refused, Err(rustls::Error::NoCertificatesPresented));
        }
    });
}

#[test]
fn tickets_end_with_the_epoch_after_theirs() {
    on_a_shard(async |shard| {
        let server = config(&shard, pair()).await.unwrap();
        let client = Arc::new(client(&shard));
        let kind = || shake(&client, Arc::clone(&server), "a.example").unwrap().kind;
        assert_eq!(kind(), HandshakeKind::Full);
        shard.sleep(crate::limits::TICKET_EPOCH_TIME / 2).await;
        assert_eq!(kind(), HandshakeKind::Resumed);
        shard.sleep(2 * crate::limits::TICKET_EPOCH_TIME).await;
        assert_eq!(kind(), HandshakeKind::Full);
    });
}

#[test]
fn suites_go_by_our_order_or_by_the_clients() {
    on_a_shard(async |shard| {
        let mut provider = CryptoProvider::clone(&provider(&shard));
        provider.cipher_suites.reverse();
        let client = Arc::new(client_by(Arc::new(provider), &[&TLS13]));
        let suite = async |tls| shake(&client, config(&shard, tls).await.unwrap(), "a.example").unwrap().suite;
        assert_eq!(suite(pair()).await, CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(suite(pair().client_order(true)).await, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    });
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    on_a_shard(async |shard| {
        let error = config(&shard, pair().ticket_secret(vec![1; 31])).await.unwrap_err().to_string();
        assert!(error.contains("31 bytes") && error.contains("openssl rand 32"), "{error}");
    });
}

#[test]
fn what_both_speak_is_agreed_on() {
    on_a_shard(async |shard| {
        let alpn = async |accepts_h2, offered: &[&[u8]]| {
            let tls = pair();
            let material = tls.material(&shard, &tls.read(&shard).await.unwrap()).unwrap();
            let server = tls.config(&shard, &material, accepts_h2).unwrap();
            let mut client = client(&shard);
            client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            shake(&Arc::new(client), server, "a.example").map(|shaken| shaken.alpn.unwrap_or_default()).ok()
        };
        assert_eq!(alpn(true, &[b"http/1.1", b"h2"]).await.as_deref(), Some(&b"h2"[..]));
        assert_eq!(alpn(false, &[b"http/1.1", b"h2"]).await.as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(alpn(true, &[]).await.as_deref(), Some(&b""[..]));
        assert_eq!(alpn(true, &[b"smtp"]).await, None);
        assert_eq!(alpn(false, &[b"h2"]).await, None);
    });
}

#[test]
fn the_old_version_is_spoken_when_asked_for() {
    on_a_shard(async |shard| {
        let old = Arc::new(client_of(&shard, &[&TLS12]));
        let refused = shake(&old, config(&shard, pair()).await.unwrap(), "a.example");
        assert!(matches!(refused, Err(rustls::Error::PeerIncompatible(_))), "{refused:?}");
        let server = config(&shard, pair().tls12(true)).await.unwrap();
        let kind = || shake(&old, Arc::clone(&server), "a.example").unwrap().kind;
        assert_eq!((kind(), kind()), (HandshakeKind::Full, HandshakeKind::Resumed));
    });
}

#[test]
fn early_data_comes_once() {
    on_a_shard(async |shard| {
        let server = config(&shard, pair().early_data(1024)).await.unwrap();
        let client = Arc::new(client(&shard));
        let early = || shake(&client, Arc::clone(&server), "a.example").unwrap();
        assert_eq!(early().early, b"");
        let again = early();
        assert_eq!((again.kind, &again.early[..]), (HandshakeKind::Resumed, &b"early"[..]));
        let without = config(&shard, pair()).await.unwrap();
        assert_eq!(shake(&client, Arc::clone(&without), "a.example").unwrap().early, b"");
        assert_eq!(shake(&client, without, "a.example").unwrap().early, b"", "tickets bring none");
    });
}
