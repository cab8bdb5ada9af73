//! Our client, where servers must prove who they are.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use platform::ListenOptions;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use shards::Shard;
use shardwise_net::client::{Config, Error, Proxy, Resolver};
use shardwise_net::{Client, Fault, Listener, TcpStream, Transport, Upgraded};

use crate::kit::{Setup, World, check, pattern};

/// Names lead to this machine, whatever they are.
fn client(world: &World, change: impl FnOnce(&mut Config)) -> Client {
    let resolver = Resolver::new(|_, port| Ok(vec![([127, 0, 0, 1], port).into()]));
    let mut config = Config { resolver, tls: Some(Arc::clone(&world.client)), ..Config::default() };
    change(&mut config);
    Client::with(&world.shard, config)
}

#[test]
fn a_server_that_proves_itself_is_asked_over_one_connection() {
    check(Setup::new(), async |world: World| {
        let client = client(&world, |_| ());
        for bytes in [0, 1, 5000, 300_000] {
            let mut response =
                client.get(format!("https://localhost:8443/bytes/{bytes}")).http1().send().await.unwrap();
            assert!(response.bytes().await.unwrap() == pattern(bytes));
            let body = pattern(bytes);
            let mut response =
                client.post("https://localhost:8443/echo").http1().body(body.clone()).send().await.unwrap();
            assert!(response.bytes().await.unwrap() == body);
        }
        assert_eq!((client.idle(), world.stats.tls13_full.get()), (1, 1));
        let mut response = client.get("https://localhost:8443/agreed").http1().send().await.unwrap();
        let agreed = response.text().await.unwrap();
        assert_eq!(agreed, "TLSv1_3 new http/1.1 Some(\"localhost\") 0");
    });
}

#[test]
fn sessions_are_taken_up_again() {
    for (setup, version) in [(Setup::new(), "TLSv1_3"), (Setup::new().with_tls12(), "TLSv1_2")] {
        check(setup, async move |world: World| {
            let client = client(&world, |_| ());
            for (round, kind) in ["new", "resumed", "resumed"].into_iter().enumerate() {
                let request = client.get("https://localhost:8443/agreed").http1().header("connection", "close");
                let agreed = request.send().await.unwrap().text().await.unwrap();
                assert_eq!(agreed, format!("{version} {kind} http/1.1 Some(\"localhost\") 0"), "round {round}");
            }
        });
    }
}

/// A proxy written with this package's own parts, that leads wherever it is asked to. What goes through it, it cannot read.
#[test]
fn a_proxy_leads_to_a_server_that_proves_itself() {
    check(Setup::new(), async |world: World| {
        let (proxied, heard) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let (shard, count, log) = (world.shard.clone(), Rc::clone(&proxied), Rc::clone(&heard));
        let work = async move {
            let address = ([127, 0, 0, 1], 3128).into();
            let sockets = shard.with_reactor(|reactor| reactor.listen(address, 1, &ListenOptions::default()));
            let mut listener = Listener::adopt(&shard, sockets.unwrap().remove(0)).unwrap();
            loop {
                let mut here = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.extend_from_slice(&here.recv().await.unwrap().unwrap());
                }
                log.borrow_mut().push(String::from_utf8(head).unwrap());
                let there = TcpStream::connect(&shard, ([127, 0, 0, 1], 8443).into()).await.unwrap();
                here.send("HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let (here, there) = (Upgraded::from(Transport::from(here)), Upgraded::from(Transport::from(there)));
                let joined = here.join(there, Duration::from_secs(60)).await;
                count.set(count.get() + joined.back);
            }
        };
        let proxy = world.shard.spawn(work).unwrap();
        let client = client(&world, |config| config.proxy = Some(Proxy::http("127.0.0.1", 3128)));
        let mut response = client
            .get("https://localhost:8443/bytes/300000")
            .http1()
            .header("connection", "close")
            .send()
            .await
            .unwrap();
        assert!(response.bytes().await.unwrap() == pattern(300_000));
        world.shard.sleep(Duration::from_secs(1)).await;
        assert!(proxied.get() > 300_000, "{} bytes came through it", proxied.get());
        let error = client.get("https://elsewhere:8443/").send().await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
        assert_eq!(heard.borrow()[0], "CONNECT localhost:8443 HTTP/1.1\r\nHost: localhost:8443\r\n\r\n");
        proxy.abort();
    });
}

#[test]
fn http2_goes_through_tls_too() {
    check(Setup::new(), async |world: World| {
        let client = client(&world, |config| config.http2 = true);
        for _ in 0..3 {
            let mut response = client.get("https://localhost:8443/agreed").send().await.unwrap();
            assert_eq!(response.text().await.unwrap(), "TLSv1_3 new h2 Some(\"localhost\") 0");
        }
        let body = pattern(200_000);
        let mut response = client.post("https://localhost:8443/echo").body(body.clone()).send().await.unwrap();
        assert!(response.bytes().await.unwrap() == body);
        assert_eq!(world.stats.h2_connections.get(), 1);
    });
}

#[test]
fn http2_must_have_been_agreed_on() {
    let mut setup = Setup::new();
    setup.server.alpn_protocols = vec![];
    check(setup, async |world: World| {
        let client = client(&world, |config| config.http2 = true);
        let error = client.get("https://localhost:8443/").send().await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }) && error.fault() == Fault::Upstream, "{error}");
    });
}

#[test]
fn who_does_not_prove_to_be_whom_the_url_names_is_not_asked() {
    check(Setup::new(), async |world: World| {
        for (url, names) in
            [("https://elsewhere:8443/", "not valid for name"), ("https://127.0.0.1:8443/", "not valid for name")]
        {
            let error = client(&world, |_| ()).get(url).send().await.unwrap_err();
            assert!(error.to_string().contains(names), "{error}");
            assert!(error.can_retry() && error.fault() == Fault::Upstream);
        }
        let strict = world.changed(|config| {
            let provider = Arc::clone(config.crypto_provider());
            let strict = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            *config = strict.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        });
        let error = client(&world, |config| config.tls = Some(strict)).get("https://localhost:8443/").send().await;
        assert!(error.unwrap_err().to_string().contains("UnknownIssuer"));
        let error = client(&world, |_| ()).get("https://a_b..c/").send().await.unwrap_err();
        assert!(matches!(error, Error::Url { .. }), "{error}");
        assert_eq!(world.stats.requests.get(), 0);
    });
}

/// Takes in what has come, and gives what it says; whether the client has said that nothing follows.
fn take_in(tls: &mut ServerConnection, bytes: &[u8], heard: &mut Vec<u8>) -> bool {
    let (mut rest, mut has_closed) = (bytes, false);
    while !rest.is_empty() {
        tls.read_tls(&mut rest).unwrap();
        let state = tls.process_new_packets().unwrap();
        has_closed |= state.peer_has_closed();
        let end = heard.len();
        heard.resize(end + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut heard[end..]).unwrap();
    }
    has_closed
}

/// Answers one request by this, says that it is all or not, and reads until the connection ends. Whether the client has ended its
/// side in order.
async fn answer(shard: Shard, config: Arc<ServerConfig>, port: u16, text: &'static str, says_so: bool) -> bool {
    let sockets =
        shard.with_reactor(|reactor| reactor.listen(([127, 0, 0, 1], port).into(), 1, &ListenOptions::default()));
    let mut listener = Listener::adopt(&shard, sockets.unwrap().remove(0)).unwrap();
    let mut stream = listener.accept().await.unwrap();
    let mut tls = ServerConnection::new(config).unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        let mut bytes = Vec::new();
        tls.write_tls(&mut bytes).unwrap();
        if !bytes.is_empty() {
            stream.send(bytes).await.unwrap();
            continue;
        }
        let chunk = stream.recv().await.unwrap().expect("a request");
        take_in(&mut tls, &chunk, &mut heard);
    }
    tls.writer().write_all(text.as_bytes()).unwrap();
    if says_so {
        tls.send_close_notify();
    }
    let mut bytes = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).unwrap();
    }
    stream.send(bytes).await.unwrap();
    if !text.contains("Content-Length") {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let mut has_closed = false;
    while let Ok(Some(chunk)) = stream.recv().await {
        has_closed |= take_in(&mut tls, &chunk, &mut heard);
    }
    has_closed
}

#[test]
fn an_idle_connection_is_closed_in_order() {
    let setup = Setup::new();
    let server = Arc::new(setup.server.clone());
    check(setup, async move |world: World| {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let answering = answer(world.shard.clone(), Arc::clone(&server), 9001, text, false);
        let answering = world.shard.spawn(answering).unwrap();
        world.sleep(Duration::from_millis(1)).await;
        let client = client(&world, |config| config.idle_time_max = Duration::from_secs(1));
        let mut response = client.get("https://localhost:9001/").http1().send().await.unwrap();
        assert_eq!((response.text().await.unwrap().as_str(), client.idle()), ("hi", 1));
        assert!(answering.await.unwrap(), "the server was told");
        assert_eq!(client.idle(), 0);
    });
}

const ALL: &str = "HTTP/1.1 200 OK\r\n\r\nall that there is";
const SOME: &str = "HTTP/1.1 200 OK\r\n\r\nall that there";

#[test]
fn a_body_that_ends_with_the_connection_must_end_by_the_servers_word() {
    let setup = Setup::new();
    let server = Arc::new(setup.server.clone());
    check(setup, async move |world: World| {
        for (port, says_so) in [(9001, true), (9002, false)] {
            let text = if says_so { ALL } else { SOME };
            let answering = answer(world.shard.clone(), Arc::clone(&server), port, text, says_so);
            let answering = world.shard.spawn(answering).unwrap();
            world.sleep(Duration::from_millis(1)).await;
            let client = client(&world, |_| ());
            let mut response = client.get(format!("https://localhost:{port}/")).http1().send().await.unwrap();
            match (says_so, response.text().await) {
                (true, Ok(text)) => assert_eq!(text, "all that there is"),
                (false, Err(Error::Truncated)) => {}
                (_, read) => panic!("{says_so}: {read:?}"),
            }
            drop((response, client));
            answering.await.unwrap();
        }
    });
}
