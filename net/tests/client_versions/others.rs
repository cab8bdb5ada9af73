//! With a server of others: `h3` on `quinn`, on a runtime of its own, in a thread.

#![allow(clippy::disallowed_methods, reason = "a peer outside of any shard: a real thread")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::server::Connection;
use platform::Choice;
use quinn::ConnectionError;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shards::{Runtime, Shard};
use shardwise_net::Client;
use shardwise_net::client::{Config, Resolver};

use crate::every::every;
use crate::kit::pattern;

const TIME_MAX: Duration = Duration::from_secs(60);
const BYTES: usize = 3_000_000;

/// Sends back what it is sent, until nobody asks any more.
async fn serve(tls: ServerConfig, told: Sender<SocketAddr>) {
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("the suites")));
    let any = "127.0.0.1:0".parse().expect("an address");
    let endpoint = quinn::Endpoint::server(config, any).expect("a socket");
    told.send(endpoint.local_addr().expect("an address")).expect("somebody waits");
    for _ in 0..2 {
        let quic = endpoint.accept().await.expect("a client").await.expect("a hand-shake");
        let mut connection: Connection<_, Bytes> =
            Connection::new(h3_quinn::Connection::new(quic.clone())).await.expect("h3");
        while let Ok(Some(resolver)) = connection.accept().await {
            tokio::spawn(async move {
                let (request, mut stream) = resolver.resolve_request().await.expect("a request");
                let response = http::Response::builder().header("x-path", request.uri().path());
                stream.send_response(response.body(()).expect("a response")).await.expect("it is taken");
                while let Some(mut data) = stream.recv_data().await.expect("a body") {
                    let bytes = data.copy_to_bytes(data.remaining());
                    stream.send_data(bytes).await.expect("it is taken");
                }
                stream.finish().await.expect("it is taken");
            });
        }
        let reason = quic.close_reason();
        assert!(
            matches!(reason, Some(ConnectionError::ApplicationClosed(_))),
            "it does not say that it ends: {reason:?}"
        );
    }
    endpoint.wait_idle().await;
}

#[test]
fn their_server_is_asked() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = CertificateDer::from(key.cert.der().to_vec());
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let tls = ServerConfig::builder_with_provider(default_provider().into());
    let tls = tls.with_protocol_versions(&[&TLS13]).expect("a version").with_no_client_auth();
    let mut tls = tls.with_single_cert(vec![certificate.clone()], private).expect("they fit");
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let (told, heard) = channel();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(TIME_MAX, serve(tls, told)).await.expect("it ends in time") });
    });
    let address = heard.recv().expect("it serves");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("it can vouch");
    let tls = ClientConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
    let tls = Arc::new(tls.expect("versions").with_root_certificates(roots).with_no_client_auth());
    let main = async move |shard: Shard| {
        let resolver = Resolver::new(move |_, _| Ok(vec![address]));
        let config = Config { http3: true, tls: Some(Arc::clone(&tls)), resolver, ..Config::default() };
        // Twice, so that a session is taken up again.
        for _ in 0..2 {
            let client = Client::with(&shard, config.clone());
            let asked = async {
                for bytes in [0, 10, BYTES] {
                    let url = format!("https://localhost/{bytes}");
                    let mut response = client.post(url).body(pattern(bytes)).send().await.expect("an answer");
                    assert_eq!(response.header("x-path"), Some(format!("/{bytes}").as_bytes()));
                    assert!(response.bytes().await.expect("a body") == pattern(bytes), "{bytes} bytes come back");
                }
                let one = async |count: usize| {
                    let request = client.post("https://localhost/many").body(pattern(count * 100));
                    let mut response = request.send().await.expect("an answer");
                    assert!(response.bytes().await.expect("a body") == pattern(count * 100));
                };
                every((0..150).map(one)).await;
            };
            shard.timeout(TIME_MAX, asked).await.expect("it ends in time");
            client.close().await;
        }
        shard.drain();
        Ok::<_, String>(())
    };
    let runtime = Runtime::builder().shards(1).backend(Choice::Auto).handle_signals(false).announce(false);
    runtime.run(main).expect("it serves");
    serving.join().expect("their server is content");
}
