//! What a request over HTTP/3 costs in heap allocations, in steady state: as many as the bare exchange costs of QUIC, by the same
//! bytes on the same streams, and none of ours. Counted on the server's own thread, over a real socket.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod beside;
#[path = "../../shards/tests/counting/mod.rs"]
mod counting;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use http::{Method, StatusCode};
use platform::BackendKind;
use proto::h3::{CONTROL_BYTES_MIN, Engine, Event, Limits, Own, Pseudo, Role, Scratch};
use proto::head::HeadTable;
use proto::message::BodyLength;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shards::Shard;
use shardwise_net::quic::{self, Behind, Connection, Dir, Endpoint, Event as QuicEvent, Read};
use shardwise_net::tls::{ShardTime, provider};
use shardwise_net::{Config, Content, QuicServer, Reply, Request, Response, Service};

use beside::{is_here, runtime, serve_beside};
use counting::COUNT;

/// Requests that are counted.
const REQUESTS: u64 = 2000;

/// Requests before that: what is made once and kept is made here.
const WARM_UP: u64 = 500;

/// The answer of both.
const HELLO: &[u8] = b"Hello, World!";

fn begin_to_count() {
    COUNT.set(Some(0));
}

fn counted() -> String {
    COUNT.take().expect("it has begun").to_string()
}

struct Counted;

impl Service for Counted {
    fn call(&self, request: Request) -> Reply {
        let content = match request.path() {
            "/begin" => {
                begin_to_count();
                Content::Empty
            }
            "/end" => Content::from(counted().into_bytes()),
            _ => Content::from(HELLO),
        };
        Reply::ready(request.peer().shard(), || Response::new(StatusCode::OK).with_content(content))
    }
}

/// The same of QUIC alone: the answer follows the end of what asks for it.
async fn bare(mut connection: Connection) {
    poll_fn(|cx| {
        while let Poll::Ready(event) = connection.poll(cx) {
            let (QuicEvent::Opened(id) | QuicEvent::Readable(id)) = event else {
                match event {
                    QuicEvent::Closed(_) => return Poll::Ready(()),
                    _ => continue,
                }
            };
            let mut asked = 0;
            while let Read::Chunk(bytes, _) = connection.read(id, usize::MAX) {
                asked = bytes[0];
            }
            let text = match asked {
                b'b' => {
                    begin_to_count();
                    String::new()
                }
                b'e' => counted(),
                _ => {
                    let _ = connection.write(id, &ANSWER);
                    let _ = connection.finish(id);
                    continue;
                }
            };
            let _ = connection.write(id, text.as_bytes());
            let _ = connection.finish(id);
        }
        connection.flush(cx);
        Poll::Pending
    })
    .await;
}

/// As long as the same answer over HTTP/3.
const ANSWER: [u8; 70] = [b'x'; 70];

/// A client of either: each of its exchanges is a stream.
struct Client {
    quic: Connection,
    /// If HTTP/3 is spoken.
    h3: Option<(Engine, Scratch, HeadTable)>,
}

impl Client {
    async fn ask(&mut self, path: &str) -> Vec<u8> {
        let limits = limits();
        let mut asked = None;
        let mut answer = Vec::new();
        poll_fn(|cx| {
            let Client { quic, h3 } = self;
            // What a client has to say first. Its tables stay empty.
            if let Some((engine, ..)) = h3
                && engine.has_to_say(Own::Control)
                && let Some(id) = quic.open(Dir::Uni)
            {
                let mut room = [0; CONTROL_BYTES_MIN];
                let count = engine.say(Own::Control, &limits, &mut room);
                quic.write(id, &room[..count]).expect("it is taken");
            }
            if asked.is_none()
                && let Some(id) = quic.open(Dir::Bi)
            {
                asked = Some(id);
                match h3 {
                    Some((engine, ..)) => {
                        let mut room = [0; 1024];
                        let (method, path) = (&Method::GET, path.as_bytes());
                        let pseudo = Pseudo { method, is_secure: true, authority: b"localhost", path, protocol: None };
                        let fields = std::iter::empty::<(&str, &str)>();
                        let written = engine.request(id.into(), pseudo, fields, BodyLength::None, &limits, &mut room);
                        let (_, count) = written.expect("it can be asked");
                        quic.write(id, &room[..count]).expect("it is taken");
                    }
                    None => drop(quic.write(id, &path.as_bytes()[1..]).expect("it is taken")),
                }
                quic.finish(id).expect("it is open");
            }
            while let Poll::Ready(event) = quic.poll(cx) {
                let (QuicEvent::Opened(id) | QuicEvent::Readable(id)) = event else {
                    assert!(!matches!(event, QuicEvent::Closed(_)), "{event:?}");
                    continue;
                };
                loop {
                    let (bytes, end) = match quic.read(id, usize::MAX) {
                        Read::Chunk(bytes, behind) => (bytes, behind == Behind::End),
                        Read::End => (bytes::Bytes::new(), true),
                        Read::Pending | Read::Closed => break,
                        Read::Reset(code) => panic!("reset by {code}"),
                    };
                    match h3 {
                        Some((engine, scratch, table)) => {
                            let mut input = &bytes[..];
                            loop {
                                let now = Duration::ZERO;
                                let step = engine.receive(id.into(), input, end, scratch, table, now, &limits);
                                let step = step.expect("the server keeps the rules");
                                match step.event {
                                    Event::NeedMore => break,
                                    Event::Data { key, range, end } => {
                                        answer.extend_from_slice(&input[range]);
                                        if end {
                                            let _ = engine.release(key);
                                        }
                                    }
                                    Event::Ended { key } => drop(engine.release(key)),
                                    _ => {}
                                }
                                input = &input[step.consumed..];
                            }
                        }
                        None => answer.extend_from_slice(&bytes),
                    }
                    if end {
                        if Some(id) == asked {
                            quic.flush(cx);
                            return Poll::Ready(());
                        }
                        break;
                    }
                }
            }
            quic.flush(cx);
            if asked.is_none() {
                // It may be connected since.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        answer
    }

    async fn allocations(&mut self, count: u64) -> u64 {
        self.ask("/begin").await;
        for _ in 0..count {
            self.ask("/plaintext").await;
        }
        String::from_utf8(self.ask("/end").await).expect("text").parse().expect("a number")
    }
}

/// Neither side refers to rows of a table, of which the client would have to be told, and tell.
fn limits() -> Limits {
    Limits { table_bytes_max: 0, ..Limits::default() }
}

/// For how much a request is answered, once everything has been made that is kept.
fn measure(kind: BackendKind, is_bare: bool) -> f64 {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate: CertificateDer<'static> = params.self_signed(&key).expect("a certificate").der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("it can vouch");
    let key = key.serialize_der();
    let serve = async move |shard: Shard, tell: &dyn Fn(SocketAddr)| {
        let key = PrivateKeyDer::try_from(key.clone()).expect("a key");
        let builder = ServerConfig::builder_with_details(provider(&shard), Arc::new(ShardTime));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
        let tls = builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).expect("they fit");
        let tls = Arc::new(tls);
        let any = "127.0.0.1:0".parse().expect("an address");
        if is_bare {
            let endpoint = Endpoint::bind(&shard, any, quic::Config::default(), Arc::default());
            let endpoint = endpoint.map_err(|error| error.to_string())?;
            tell(endpoint.local_address().map_err(|error| error.to_string())?);
            let tasks = shard.clone();
            let begin = move |connection| tasks.spawn(bare(connection)).expect("room for a task").detach();
            return endpoint.serve(move || Arc::clone(&tls), begin).await.map_err(|error| error.to_string());
        }
        let config = Config { h3: limits(), ..Config::default() };
        let bound = QuicServer::bind(&shard, any, &config.quic, Location::caller()).await;
        let bound = bound.map_err(|error| error.to_string())?;
        tell(bound.address());
        let with = move || Arc::clone(&tls);
        bound.serve(Counted, config, with, Arc::default()).await.map_err(|error| error.to_string())
    };
    serve_beside(kind, serve, move |address| {
        let (result, found) = channel();
        let result = Mutex::new(result);
        let main = async move |shard: Shard| {
            let builder = ClientConfig::builder_with_details(provider(&shard), Arc::new(ShardTime));
            let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("a version");
            let mut tls = builder.with_root_certificates(roots.clone()).with_no_client_auth();
            tls.alpn_protocols = vec![b"h3".to_vec()];
            let any = "127.0.0.1:0".parse().expect("an address");
            let endpoint = Endpoint::bind(&shard, any, quic::Config::default(), Arc::default());
            let endpoint = endpoint.map_err(|error| error.to_string())?;
            let driven = endpoint.clone();
            let driver = shard.spawn(async move { driven.drive().await }).expect("room for a task");
            let quic = endpoint.connect(address, "localhost", &Arc::new(tls)).expect("a connection");
            let limits = limits();
            let engine = Engine::new(Role::Client, &limits);
            let h3 = (!is_bare).then(|| (engine, Scratch::new(limits.head_bytes_max), HeadTable::new()));
            let mut client = Client { quic, h3 };
            client.allocations(WARM_UP).await;
            let own = client.allocations(0).await;
            let count = client.allocations(REQUESTS).await - own;
            result.lock().expect("nobody panics").send(count as f64 / REQUESTS as f64).expect("it is waited for");
            client.quic.close(0x100, b"");
            poll_fn(|cx| client.quic.poll_drained(cx)).await;
            driver.abort();
            Ok::<(), String>(())
        };
        runtime(kind).run(main).expect("it asks");
        found.recv().expect("it has counted")
    })
}

fn check(kind: BackendKind) {
    if !is_here(kind) {
        return;
    }
    let (quic, ours) = (measure(kind, true), measure(kind, false));
    println!("allocations for each request: {quic:.3} of QUIC's alone, {ours:.3} with HTTP/3");
    assert!(ours <= quic + 0.1, "{ours} for each request, {quic} of QUIC's alone");
}

#[test]
fn on_uring() {
    check(BackendKind::Uring);
}

#[test]
fn on_epoll() {
    check(BackendKind::Epoll);
}
