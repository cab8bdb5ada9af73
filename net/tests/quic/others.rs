//! With an implementation of others: `quinn`, on a runtime of its own, in a thread.

#![allow(clippy::disallowed_methods, reason = "a peer outside of any shard: a real thread")]

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::Choice;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shards::{Remote, Runtime, Shard};
use shardwise_net::quic::{Config, Endpoint, Event};

use crate::kit::{Client, Identity, echo, pattern};

const BYTES: usize = 20_000_000;
const TIME_MAX: Duration = Duration::from_secs(60);

fn others<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(TIME_MAX, work).await.expect("it ends in time") })
}

fn runtime() -> shards::Builder {
    Runtime::builder().shards(1).backend(Choice::Auto).handle_signals(false).announce(false)
}

#[test]
fn their_client_asks_our_server() {
    let (told, heard) = channel::<(SocketAddr, CertificateDer<'static>, Remote)>();
    let asking = std::thread::spawn(move || {
        let (address, certificate, remote) = heard.recv().expect("it serves");
        others(async move {
            let mut roots = RootCertStore::empty();
            roots.add(certificate).expect("it can vouch");
            let tls = ClientConfig::builder_with_provider(default_provider().into());
            let tls = tls.with_protocol_versions(&[&TLS13]).expect("a version").with_root_certificates(roots);
            let mut tls = tls.with_no_client_auth();
            tls.alpn_protocols = vec![b"h3".to_vec()];
            let any = "127.0.0.1:0".parse().expect("an address");
            let mut endpoint = quinn::Endpoint::client(any).expect("a socket");
            let config = QuicClientConfig::try_from(tls).expect("it has the suites");
            endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
            let connection = endpoint.connect(address, "localhost").expect("a name").await.expect("a hand-shake");
            let (mut sending, mut receiving) = connection.open_bi().await.expect("a stream");
            let data = pattern(BYTES);
            let sent = data.clone();
            let send = tokio::spawn(async move {
                sending.write_all(&sent).await.expect("it is taken");
                sending.finish().expect("it is open");
            });
            assert!(receiving.read_to_end(BYTES).await.expect("an answer") == data);
            send.await.expect("all is sent");
            // It moves.
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            endpoint.rebind(socket).expect("a socket");
            let (mut sending, mut receiving) = connection.open_bi().await.expect("a stream");
            sending.write_all(&data[..100_000]).await.expect("it is taken");
            sending.finish().expect("it is open");
            assert!(receiving.read_to_end(BYTES).await.expect("an answer") == data[..100_000]);
            connection.close(0u32.into(), b"all is said");
            endpoint.wait_idle().await;
        });
        remote.send(Shard::drain).expect("it runs");
    });
    let told = Mutex::new(told);
    let main = async move |shard: Shard| {
        let identity = Identity::new();
        let (tls, tasks) = (Arc::new(identity.server(&shard)), shard.clone());
        let any = "127.0.0.1:0".parse().expect("an address");
        let server = Endpoint::bind(&shard, any, Config::default(), Arc::default()).expect("a socket");
        let address = server.local_address().expect("an address");
        let news = (address, identity.certificate.clone(), shard.remote());
        told.lock().expect("nobody panics").send(news).expect("the client waits");
        let begin = |connection| tasks.spawn(echo(connection)).expect("room for a task").detach();
        server.serve(move || Arc::clone(&tls), begin).await.map_err(|error| error.to_string())
    };
    runtime().run(main).expect("it serves and drains");
    asking.join().expect("every answer is right");
}

#[test]
fn our_client_asks_their_server() {
    let (told, heard) = channel::<SocketAddr>();
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = identity.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(identity.signing_key.serialize_der()).expect("a key");
    let chain = vec![certificate.clone()];
    let serving = std::thread::spawn(move || {
        others(async move {
            let tls = ServerConfig::builder_with_provider(default_provider().into());
            let tls = tls.with_protocol_versions(&[&TLS13]).expect("a version").with_no_client_auth();
            let mut tls = tls.with_single_cert(chain, key).expect("they fit");
            tls.alpn_protocols = vec![b"h3".to_vec()];
            let config = QuicServerConfig::try_from(tls).expect("it has the suites");
            let config = quinn::ServerConfig::with_crypto(Arc::new(config));
            let any = "127.0.0.1:0".parse().expect("an address");
            let endpoint = quinn::Endpoint::server(config, any).expect("a socket");
            told.send(endpoint.local_addr().expect("an address")).expect("the client waits");
            let connection = endpoint.accept().await.expect("a client").await.expect("a hand-shake");
            let (mut sending, mut receiving) = connection.accept_bi().await.expect("a stream");
            while let Some(chunk) = receiving.read_chunk(64 * 1024, true).await.expect("bytes") {
                sending.write_chunk(chunk.bytes).await.expect("it is taken");
            }
            sending.finish().expect("it is open");
            connection.closed().await;
        });
    });
    let heard = Mutex::new(heard);
    let main = async move |shard: Shard| {
        let peer = heard.lock().expect("nobody panics").recv().map_err(|error| error.to_string())?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("it can vouch");
        let tls = ClientConfig::builder_with_provider(shardwise_net::tls::provider(&shard));
        let tls = tls.with_protocol_versions(&[&TLS13]).expect("a version").with_root_certificates(roots);
        let mut tls = tls.with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let any = "127.0.0.1:0".parse().expect("an address");
        let endpoint = Endpoint::bind(&shard, any, Config::default(), Arc::default()).expect("a socket");
        let driven = endpoint.clone();
        shard.spawn(async move { driven.drive().await }).expect("room for a task").detach();
        let mut client = Client(endpoint.connect(peer, "localhost", &Arc::new(tls)).expect("a connection"));
        let talk = async {
            client.until(|event| matches!(event, Event::Connected)).await.expect("a hand-shake");
            let data = pattern(BYTES);
            assert!(client.ask(&data).await.expect("an answer") == data);
            client.close().await;
        };
        let talked = shard.timeout(TIME_MAX, talk).await.map_err(|error| error.to_string());
        shard.drain();
        talked
    };
    runtime().run(main).expect("every answer is right");
    serving.join().expect("it serves");
}
