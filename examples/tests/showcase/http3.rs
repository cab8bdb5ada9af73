//! HTTP/3, asked for by quinn and h3: every route, much both ways, sessions that are resumed, a client that moves, and
//! restarts and drains under load.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use h3::error::{Code, StreamError};
use http::{Method, Request, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;

use crate::lineage::Lineage;
use crate::served::showcase;
use crate::tls::{config, counting_config};
use crate::wire::{WAIT_MAX, pattern};

/// How often a server is restarted, unless the environment says otherwise.
const COUNT: usize = 3;

/// Clients of the load, each with a connection of its own.
const CLIENTS: usize = 8;

const PAUSE: Duration = Duration::from_millis(4);

/// Bytes of the large transfers, which are so many times the same piece, and how long both ways may take.
const MUCH: usize = 100 * PIECE;
const PIECE: usize = 1_000_000;
const MUCH_TIME_MAX: Duration = Duration::from_secs(180);

/// A client of one connection.
struct Client {
    asks: SendRequest<h3_quinn::OpenStreams, Bytes>,
    _endpoint: quinn::Endpoint,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// The server has not looked at the request: it may be sent again.
    Refused,
    Lost(StreamError),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Failure {
        match &error {
            StreamError::RemoteClosing { .. } => Failure::Refused,
            StreamError::RemoteTerminate { code, .. } | StreamError::StreamError { code, .. }
                if *code == Code::H3_REQUEST_REJECTED =>
            {
                Failure::Refused
            }
            _ => Failure::Lost(error),
        }
    }
}

type Answer = (StatusCode, Bytes);

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        Client::over(connect(address, "h3").await).await
    }

    async fn over((endpoint, connection): (quinn::Endpoint, quinn::Connection)) -> Client {
        let (mut driver, asks) = h3::client::new(h3_quinn::Connection::new(connection)).await.expect("a connection");
        tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        Client { asks, _endpoint: endpoint }
    }

    async fn try_ask(&mut self, method: Method, path: &str, body: &[u8]) -> Result<Answer, Failure> {
        let request = Request::builder().method(method).uri(format!("https://localhost{path}")).body(());
        let mut stream = self.asks.send_request(request.expect("a sound request")).await?;
        let (mut send, mut receive) = {
            if body.is_empty() {
                stream.finish().await?;
            }
            stream.split()
        };
        // Both ways at a time: an echo is not to wait for its end.
        let body = body.to_vec();
        let sending = async move {
            for piece in body.chunks(64 * 1024) {
                send.send_data(Bytes::copy_from_slice(piece)).await?;
            }
            if !body.is_empty() {
                send.finish().await?;
            }
            Ok::<(), StreamError>(())
        };
        let receiving = async move {
            let status = receive.recv_response().await?.status();
            let mut content = Vec::new();
            while let Some(mut piece) = receive.recv_data().await? {
                content.extend_from_slice(&piece.copy_to_bytes(piece.remaining()));
            }
            Ok::<Answer, StreamError>((status, content.into()))
        };
        let (sent, answer) = tokio::join!(sending, receiving);
        let answer = answer?;
        sent?;
        Ok(answer)
    }

    async fn ask(&mut self, method: Method, path: &str, body: &[u8]) -> Answer {
        let asked = tokio::time::timeout(WAIT_MAX, self.try_ask(method, path, body)).await;
        asked.expect("in time").unwrap_or_else(|failure| panic!("{path}: {failure:?}"))
    }

    /// Has much echoed and compares it as it comes. A third of the way something happens.
    async fn echo_much(&mut self, on_the_way: impl FnOnce()) {
        let piece = Bytes::from(pattern(PIECE));
        let request = Request::post("https://localhost/echo").body(()).expect("a sound request");
        let (mut send, mut receive) = self.asks.send_request(request).await.expect("it is taken").split();
        let sending = async {
            for _ in 0..MUCH / PIECE {
                send.send_data(piece.clone()).await.expect("it is taken");
            }
            send.finish().await.expect("it ends");
        };
        let receiving = async {
            assert_eq!(receive.recv_response().await.expect("an answer").status(), 200);
            let (mut count, mut on_the_way) = (0, Some(on_the_way));
            while let Some(mut got) = receive.recv_data().await.expect("more of the answer") {
                while got.has_remaining() {
                    let at = count % PIECE;
                    let length = got.chunk().len().min(PIECE - at);
                    assert!(got.chunk()[..length] == piece[at..at + length], "what comes back is what was sent");
                    got.advance(length);
                    count += length;
                }
                if count > MUCH / 3
                    && let Some(work) = on_the_way.take()
                {
                    work();
                }
            }
            assert_eq!(count, MUCH);
        };
        tokio::time::timeout(MUCH_TIME_MAX, async { tokio::join!(sending, receiving) }).await.expect("in time");
    }

    /// Has much sent to it. Gives how much came.
    async fn fetch_much(&mut self) -> usize {
        let request = Request::get(format!("https://localhost/bytes/{MUCH}")).body(()).expect("a sound request");
        let fetching = async {
            let mut stream = self.asks.send_request(request).await.expect("it is taken");
            stream.finish().await.expect("it ends");
            assert_eq!(stream.recv_response().await.expect("an answer").status(), 200);
            let mut count = 0;
            while let Some(got) = stream.recv_data().await.expect("more of the answer") {
                count += got.remaining();
            }
            count
        };
        tokio::time::timeout(MUCH_TIME_MAX, fetching).await.expect("in time")
    }

    async fn get(&mut self, path: &str) -> String {
        let (status, content) = self.ask(Method::GET, path, b"").await;
        assert_eq!(status, 200, "{path}");
        String::from_utf8(content.to_vec()).expect("text")
    }
}

/// A connection of this protocol.
async fn connect(address: SocketAddr, alpn: &str) -> (quinn::Endpoint, quinn::Connection) {
    connect_by(config(&[alpn]), address).await
}

async fn connect_by(tls: Arc<ClientConfig>, address: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let crypto = QuicClientConfig::try_from(tls).expect("suites for QUIC");
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut endpoint = quinn::Endpoint::client(any).expect("a socket");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let connecting = endpoint.connect(address, "localhost").expect("a sound configuration");
    let connection = tokio::time::timeout(WAIT_MAX, connecting).await.expect("in time").expect("a hand-shake");
    (endpoint, connection)
}

/// Runs what tokio is needed for.
fn with_tokio<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn start(backend: &str) -> (Lineage, SocketAddr) {
    let arguments = ["--addr", "127.0.0.1:0", "--tls-addr", "127.0.0.1:0", "--shards", "2", "--backend", backend];
    let mut lineage = Lineage::start(&mut showcase(&arguments));
    let address = lineage.hear("listening https://").parse().expect("an address in that line");
    (lineage, address)
}

pub(crate) fn every_route_is_served(backend: &'static str) {
    let (lineage, address) = start(backend);
    with_tokio(async {
        let mut client = Client::connect(address).await;
        assert_eq!(client.get("/plaintext").await, "Hello, World!");
        assert_eq!(client.get("/json").await, r#"{"message":"Hello, World!"}"#);
        let body = pattern(200_000);
        assert_eq!(client.ask(Method::POST, "/echo", &body).await.1, body);
        assert_eq!(client.ask(Method::GET, "/bytes/100000", b"").await.1.len(), 100_000);
        assert_eq!(client.ask(Method::GET, "/stream/5", b"").await.1.len(), 5 * 16 * 1024);
        assert!(client.get("/headers").await.contains("host") || !client.get("/headers").await.is_empty());
        assert_eq!(client.ask(Method::GET, "/sleep/5", b"").await.0, 204);
        let here: usize = client.get("/shard").await.parse().expect("a number");
        assert!(here < 2);
        assert_eq!(client.get("/mesh/1").await, "1");
        assert_eq!(client.ask(Method::GET, "/mesh/2", b"").await.0, 404);
        assert_eq!(client.get("/count/quinn").await, "1");
        assert_eq!(client.get("/count/quinn").await, "2");
        assert_eq!(client.ask(Method::HEAD, "/plaintext", b"").await, (StatusCode::OK, Bytes::new()));
        assert_eq!(client.ask(Method::GET, "/nowhere", b"").await.0, 404);
        assert_eq!(client.ask(Method::DELETE, "/json", b"").await.0, 405);
    });
    lineage.end();
}

pub(crate) fn much_goes_both_ways(backend: &'static str) {
    let (lineage, address) = start(backend);
    with_tokio(async {
        let mut client = Client::connect(address).await;
        let body = pattern(8_000_000);
        let (status, echo) = client.ask(Method::POST, "/echo", &body).await;
        assert_eq!(status, 200);
        assert!(echo == body, "what came back is what was sent");
        assert_eq!(client.ask(Method::GET, "/bytes/20000000", b"").await.1.len(), 20_000_000);
        // Many at a time, on one connection.
        let mut all = Vec::new();
        for size in 0..100 {
            let mut client = Client { asks: client.asks.clone(), _endpoint: client._endpoint.clone() };
            all.push(tokio::spawn(async move {
                let (_, content) = client.ask(Method::GET, &format!("/bytes/{}", size * 999), b"").await;
                assert_eq!(content.len(), size * 999);
            }));
        }
        for one in all {
            one.await.expect("the right answer");
        }
    });
    lineage.end();
}

/// The client goes on from another port in the middle of it, and says so.
pub(crate) fn a_hundred_megabytes_go_both_ways_while_the_client_moves(backend: &'static str) {
    let (lineage, address) = start(backend);
    with_tokio(async {
        let mut client = Client::connect(address).await;
        let endpoint = client._endpoint.clone();
        let here = || endpoint.local_addr().expect("a socket has an address");
        let before = here();
        let moves = || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            endpoint.rebind(socket).expect("it is taken");
        };
        client.echo_much(moves).await;
        assert_ne!(here(), before);
        assert_eq!(client.fetch_much().await, MUCH);
    });
    lineage.end();
}

/// Which shard has the next connection is left to chance.
pub(crate) fn sessions_are_resumed(backend: &'static str) {
    let (lineage, address) = start(backend);
    let (tls, anyone) = counting_config(&["h3"]);
    with_tokio(async {
        for count in 1..=6 {
            let (endpoint, connection) = connect_by(Arc::clone(&tls), address).await;
            let mut client = Client::over((endpoint.clone(), connection.clone())).await;
            assert_eq!(client.get("/plaintext").await, "Hello, World!", "connection {count}");
            connection.close(0x100u32.into(), b"");
            endpoint.wait_idle().await;
        }
    });
    // Whoever resumes is shown no certificate again.
    assert_eq!(anyone.shown.load(Ordering::Relaxed), 1);
    lineage.end();
}

pub(crate) fn http_0_9_is_spoken_to_be_tried(backend: &'static str) {
    let (lineage, address) = start(backend);
    with_tokio(async {
        let (_endpoint, connection) = connect(address, "hq-interop").await;
        let ask = async |line: &[u8]| {
            let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
            send.write_all(line).await.expect("it is taken");
            send.finish().expect("it ends");
            receive.read_to_end(4_000_000).await
        };
        assert_eq!(ask(b"GET /plaintext\r\n").await.expect("an answer"), b"Hello, World!");
        assert_eq!(ask(b"GET /plaintext").await.expect("an answer"), b"Hello, World!", "as some do");
        assert_eq!(ask(b"GET /bytes/3000000\r\n").await.expect("an answer").len(), 3_000_000);
        assert_eq!(ask(b"GET /stream/3\n").await.expect("an answer").len(), 3 * 16 * 1024);
        for wrong in [&b"GET /nowhere\r\n"[..], b"POST /echo\r\n", b"\r\n", b"", &[b'x'; 5000]] {
            assert!(ask(wrong).await.is_err(), "{wrong:?}");
        }
        assert_eq!(ask(b"GET /plaintext\r\n").await.expect("an answer"), b"Hello, World!", "and goes on");
        connection.close(0u32.into(), b"");
    });
    lineage.end();
}

/// Does something while clients ask without a pause that is worth the name, half of them each time by another connection. Gives the
/// number of answers. A request that a server has looked at is answered; others go to whoever serves by then.
fn under_load(address: SocketAddr, work: impl FnOnce()) -> usize {
    let answers = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (counted, stopping) = (Arc::clone(&answers), Arc::clone(&stop));
    let load = thread::spawn(move || {
        with_tokio(async move {
            let clients = (0..CLIENTS).map(|number| {
                let (counted, stopping) = (Arc::clone(&counted), Arc::clone(&stopping));
                tokio::spawn(async move {
                    let mut client = Client::connect(address).await;
                    while !stopping.load(Ordering::Relaxed) {
                        match tokio::time::timeout(WAIT_MAX, client.try_ask(Method::GET, "/count/load", b"")).await {
                            Ok(Ok((status, _))) => {
                                assert_eq!(status, 200);
                                counted.fetch_add(1, Ordering::Relaxed);
                                tokio::time::sleep(PAUSE).await;
                                if number % 2 == 0 {
                                    client = Client::connect(address).await;
                                }
                            }
                            Ok(Err(Failure::Refused)) => client = Client::connect(address).await,
                            Ok(Err(Failure::Lost(error))) => panic!("a request was lost: {error:?}"),
                            Err(_) => panic!("a request was not answered in time"),
                        }
                    }
                })
            });
            for client in clients.collect::<Vec<_>>() {
                client.await.expect("nothing is lost");
            }
        });
    });
    thread::sleep(Duration::from_millis(100));
    work();
    stop.store(true, Ordering::Relaxed);
    load.join().expect("nothing is lost");
    answers.load(Ordering::Relaxed)
}

pub(crate) fn restarts_lose_no_request(backend: &'static str) {
    let count = std::env::var("SHARDWISE_RESTARTS").ok().map_or(COUNT, |count| count.parse().expect("a number"));
    let (mut lineage, address) = start(backend);
    let answers = under_load(address, || {
        for _ in 0..count {
            lineage.restart();
            thread::sleep(Duration::from_millis(200));
        }
    });
    println!("{backend}: {count} restarts, {answers} answers over HTTP/3, none lost");
    assert!(answers > 50 * count, "there was load: {answers} answers");
    lineage.outlive();
    let log = lineage.end();
    assert!(!log.contains("limit has passed") && !log.contains("ERROR"), "{log}");
}

pub(crate) fn a_drain_finishes_what_has_begun(backend: &'static str) {
    let (lineage, address) = start(backend);
    let slow = thread::spawn(move || {
        with_tokio(async move {
            let mut client = Client::connect(address).await;
            client.get("/plaintext").await;
            client.ask(Method::GET, "/sleep/500", b"").await.0
        })
    });
    thread::sleep(Duration::from_millis(250));
    let log = lineage.end();
    assert_eq!(slow.join().expect("an answer"), 204);
    assert!(log.contains("drained") && !log.contains("limit has passed"), "{log}");
}
