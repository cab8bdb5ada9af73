//! h3 on quinn, both ends on shards, in the simulator and over loopback; and what comes of names on other threads.

use std::future::poll_fn;

use ::quinn::Runtime as _;
use ::quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use bytes::{Buf, Bytes};
use http::{Request, Response};
use platform::sim::Plan;
use platform::{BackendKind, Choice, select};
use rustls::version::TLS13;
use shards::Simulation;

use super::*;

/// How long all of it may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Of the body that is echoed.
const BYTES: usize = 300_000;

fn configs() -> (ServerConfig, ::quinn::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let server = server.with_protocol_versions(&[&TLS13]).expect("a version").with_no_client_auth();
    let mut server = server.with_single_cert(vec![made.cert.der().clone()], key).expect("they fit");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("it can vouch");
    let client = rustls::ClientConfig::builder_with_provider(provider);
    let client = client.with_protocol_versions(&[&TLS13]).expect("a version");
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    server.alpn_protocols = vec![b"h3".to_vec()];
    client.alpn_protocols = vec![b"h3".to_vec()];
    (
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).expect("suites"))),
        ::quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client).expect("suites"))),
    )
}

/// Answers one connection's requests with what they bring.
async fn serve(connection: ::quinn::Connection) {
    let connection = h3_quinn::Connection::new(connection);
    let mut connection = h3::server::Connection::<_, Bytes>::new(connection).await.expect("a connection");
    while let Ok(Some(request)) = connection.accept().await {
        let (_, mut stream) = request.resolve_request().await.expect("a request");
        stream.send_response(Response::new(())).await.expect("it is taken");
        while let Some(mut piece) = stream.recv_data().await.expect("more") {
            stream.send_data(piece.copy_to_bytes(piece.remaining())).await.expect("it is taken");
        }
        stream.finish().await.expect("it ends");
    }
}

/// A client's way through: requests one after the other on one connection, and perhaps it moves in between.
async fn exchange(shard: Shard, here: SocketAddr, there: SocketAddr, moves: bool) {
    let runtime = Runtime::new(&shard);
    let (server, client) = configs();
    let server = runtime.endpoint(here, EndpointConfig::default(), Some(server)).expect("an address");
    let at = server.local_addr().expect("an address");
    let serving = shard.spawn(async move {
        let connection = server.accept().await.expect("a client").await.expect("a hand-shake");
        serve(connection).await;
        server.wait_idle().await;
    });
    let mut endpoint = runtime.endpoint(there, EndpointConfig::default(), None).expect("an address");
    endpoint.set_default_client_config(client);
    let connection = endpoint.connect(at, "localhost").expect("a connection").await.expect("a hand-shake");
    let (mut driver, mut asks) = h3::client::new(h3_quinn::Connection::new(connection.clone())).await.expect("h3");
    let driving = shard.spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
    let body: Bytes = (0..BYTES as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for count in 0..3 {
        let request = Request::post("https://localhost/echo").body(()).expect("a request");
        let (mut send, mut receive) = asks.send_request(request).await.expect("it is taken").split();
        let sent = body.clone();
        let sending = shard.spawn(async move {
            send.send_data(sent).await.expect("it is taken");
            send.finish().await.expect("it ends");
        });
        assert_eq!(receive.recv_response().await.expect("an answer").status(), 200);
        let mut got = Vec::new();
        while let Some(mut piece) = receive.recv_data().await.expect("more") {
            got.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
        }
        assert!(got == body, "exchange {count}");
        sending.expect("room for a task").await.expect("it is sent");
        if moves {
            endpoint.rebind_abstract(runtime.socket(there).expect("an address")).expect("a socket");
        }
    }
    assert!(runtime.stats().datagrams_received.get() > 0);
    drop(asks);
    connection.close(0x100u32.into(), b"");
    drop(connection);
    endpoint.wait_idle().await;
    drop(endpoint);
    serving.expect("room for a task").await.expect("it ends");
    driving.expect("room for a task").await.expect("it ends");
    // What quinn spawned ends a moment later.
    shard.sleep(Duration::from_millis(100)).await;
    let registry = registry(&shard);
    assert_eq!((registry.seats.borrow().len(), registry.alarms.borrow().len()), (0, 0), "every name has gone");
}

#[test]
fn both_ends_on_a_simulated_shard() {
    for seed in 1..=8 {
        println!("seed {seed}");
        let lossy = Plan { lost_datagrams: 0.02, late_datagrams: 0.02, doubled_datagrams: 0.02, ..Plan::CHOPPY };
        let plan = [Plan::CALM, lossy][seed as usize % 2];
        let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
        simulation.run(async move |shard| {
            let (here, there) = ("10.0.0.1:443", "10.0.0.2:0");
            // A move whose challenges are lost can end a connection of quinn's, which draws its own chance.
            let moves = plan == Plan::CALM;
            exchange(shard, here.parse().expect("an address"), there.parse().expect("an address"), moves).await;
        });
    }
}

#[test]
fn both_ends_over_loopback() {
    for kind in [BackendKind::Uring, BackendKind::Epoll, BackendKind::Polling] {
        if let Err(error) = select(Choice::Force(kind), &platform::Config::default()) {
            println!("skipped: {error}");
            continue;
        }
        let runtime = shards::Runtime::builder().shards(1).backend(Choice::Force(kind));
        let main = async |shard: Shard| {
            let any = "127.0.0.1:0".parse().expect("an address");
            shard.timeout(TIME_MAX, exchange(shard.clone(), any, any, true)).await.map_err(|error| error.to_string())
        };
        runtime.handle_signals(false).announce(false).run(main).expect("it ends well");
    }
}

/// A socket of the system's is taken over; and a name is of no use on another thread, and does no harm there.
#[test]
#[allow(clippy::disallowed_methods, reason = "another thread, which is no shard")]
fn names_lead_nowhere_on_other_threads() {
    let runtime = shards::Runtime::builder().shards(1).handle_signals(false).announce(false);
    let main = async |shard: Shard| {
        let runtime = Runtime::new(&shard);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address = socket.local_addr().expect("an address");
        let socket = runtime.wrap_udp_socket(socket).expect("it is taken over");
        assert_eq!(socket.local_addr().expect("an address"), address);
        let mut timer = runtime.new_timer(shard.now());
        poll_fn(|cx| timer.as_mut().poll(cx)).await;
        let (now, spawned) = (runtime.now(), Arc::new(AtomicU64::new(0)));
        let (elsewhere, count) = (runtime.clone(), Arc::clone(&spawned));
        let thread = std::thread::spawn(move || {
            assert_eq!(elsewhere.now(), now, "as it last was");
            assert!(elsewhere.socket(address).is_err());
            let transmit =
                Transmit { destination: address, ecn: None, contents: b"x", segment_size: None, src_ip: None };
            assert_eq!(socket.try_send(&transmit).expect_err("no socket").kind(), io::ErrorKind::NotConnected);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(timer.as_mut().poll(&mut cx).is_pending());
            elsewhere.spawn(Box::pin(async move {
                assert!(Shard::current().is_some());
                count.fetch_add(1, Ordering::Relaxed);
            }));
        });
        shard.sleep(Duration::from_millis(50)).await;
        thread.join().map_err(|_| "the thread has failed".to_owned())?;
        for _ in 0..100 {
            shard.sleep(Duration::from_millis(10)).await;
            if spawned.load(Ordering::Relaxed) == 1 && registry(&shard).seats.borrow().is_empty() {
                assert!(registry(&shard).alarms.borrow().is_empty());
                return Ok(());
            }
        }
        Err("what was dropped there is still here".to_owned())
    };
    runtime.run(main).expect("it ends well");
}
