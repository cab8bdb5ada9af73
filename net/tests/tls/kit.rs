//! A server of a few routes, its certificate, and clients that speak TLS by rustls's buffered connection.

use std::error::Error;
use std::io::{Read, Write};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderValue, StatusCode};
use platform::sim::Plan;
use platform::{Buf, ListenOptions};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
};
use shards::{Shard, Simulation};
use shardwise_net::{
    BodyStream, Config, Content, NetStats, Piece, Reply, Request, Response, Server, Service, TcpStream, Tunnel,
    Upgraded,
};

const ADDRESS: &str = "127.0.0.1:8443";

/// No wait of a client is longer, in virtual time.
const WAIT_MAX: Duration = Duration::from_secs(1000);

/// What both sides are set up with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    pub(crate) roots: RootCertStore,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = CertificateDer::from(key.cert.der().to_vec());
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let server = server.with_protocol_versions(&[&TLS13, &TLS12]).expect("versions").with_no_client_auth();
        let mut server = server.with_single_cert(vec![certificate.clone()], private).expect("they fit");
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // As a server of ours sets it up.
        server.enable_secret_extraction = true;
        server.send_half_rtt_data = true;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("it can vouch");
        let client = client(&roots, &[&TLS13, &TLS12]);
        Setup { config: Config::default(), server, client, roots }
    }

    /// Lets clients speak no newer version of TLS.
    pub(crate) fn with_tls12(mut self) -> Self {
        self.client = client(&self.roots, &[&TLS12]);
        self
    }

    /// Lets a client's sessions be resumed with early data.
    pub(crate) fn with_early_data(mut self) -> Self {
        self.server.max_early_data_size = 4096;
        self.client.enable_early_data = true;
        self
    }
}

fn client(roots: &RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_by(default_provider(), roots, versions)
}

fn client_by(
    provider: CryptoProvider,
    roots: &RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let client =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).expect("versions");
    client.with_root_certificates(roots.clone()).with_no_client_auth()
}

/// A client's view of everything: its own shard, and what the server counts.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) shard: Shard,
    pub(crate) stats: Arc<NetStats>,
    pub(crate) client: Arc<ClientConfig>,
    roots: RootCertStore,
    /// Lets the server drain.
    pub(crate) drain: Rc<dyn Fn()>,
}

/// Under a few seeds, on a network that cuts everything: serves while `clients` run, drains, and looks at what is left.
#[track_caller]
pub(crate) fn check(setup: Setup, clients: impl AsyncFn(World) + Clone + 'static) {
    for seed in 1..=4 {
        let clients = clients.clone();
        run(seed, if seed == 1 { Plan::CALM } else { Plan::CHOPPY }, setup.clone(), async move |world| {
            clients(world).await;
        });
    }
}

#[track_caller]
fn run(seed: u64, plan: Plan, setup: Setup, clients: impl AsyncFnOnce(World) + 'static) {
    println!("seed {seed}");
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
    let stats = Arc::<NetStats>::default();
    let (counted, Setup { config, server, mut client, roots }) = (Arc::clone(&stats), setup);
    // No session of another run.
    client.resumption = Resumption::in_memory_sessions(32);
    let server = Arc::new(server);
    let program = simulation.start(1, async move |shard: Shard| {
        let (address, options) = (ADDRESS.parse().expect("an address"), ListenOptions::default());
        let bound = Server::bind(&shard, address, &options, Location::caller()).await.map_err(|e| e.to_string())?;
        let (server, counted) = (Arc::clone(&server), Arc::clone(&counted));
        let bound = bound.secured(move || Arc::clone(&server));
        bound.serve(routes(&shard), config.clone(), counted).await.map_err(|e| e.to_string())?;
        // The kernel gives up what it has a moment after it is asked to.
        shard.sleep(Duration::from_millis(10)).await;
        let (pool, holdings) = (shard.pool().stats(), shard.with_reactor(|reactor| reactor.holdings()));
        let left = (pool.pooled_bytes, pool.heads_leased, pool.bulk_leased, holdings.operations, holdings.handles);
        if left == (0, 0, 0, 0, 0) { Ok(()) } else { Err(format!("left: {left:?}")) }
    });
    let program = Rc::new(program);
    let drain = Rc::clone(&program);
    simulation.run(async move |shard| {
        // The server listens by then.
        shard.sleep(Duration::from_millis(10)).await;
        let drain = Rc::new(move || drain.drain());
        clients(World { shard, stats, client: Arc::new(client), roots, drain }).await
    });
    program.drain();
    assert!(simulation.run_until(WAIT_MAX, || program.has_ended()), "the drain ends");
    assert_eq!(program.results(), [Some(Ok(()))], "seed {seed}");
}

pub(crate) fn routes(shard: &Shard) -> impl Service + 'static {
    Routes(shard.clone())
}

impl World {
    /// A connection on which nothing has been said.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.shard, ADDRESS.parse().expect("an address")).await.expect("it listens")
    }

    /// A connection that has yet to shake hands.
    pub(crate) async fn open_with(&self, config: &Arc<ClientConfig>) -> Client {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a configuration that works");
        let stream = self.connect().await;
        Client { shard: self.shard.clone(), stream, tls, input: Vec::new() }
    }

    pub(crate) async fn open(&self) -> Client {
        self.open_with(&self.client).await
    }

    /// What a client's configuration becomes by a change.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.client);
        change(&mut config);
        Arc::new(config)
    }

    /// A client's configuration with these suites, in its order.
    pub(crate) fn of_suites(&self, suites: &[SupportedCipherSuite]) -> Arc<ClientConfig> {
        let provider = CryptoProvider { cipher_suites: suites.to_vec(), ..default_provider() };
        Arc::new(client_by(provider, &self.roots, &[&TLS13]))
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.shard.sleep(time).await;
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server has said so before.
    InOrder,
    /// The stream has just ended.
    Cut,
    Reset,
    /// The server has told what was wrong.
    Alert(String),
}

/// A connection of a client's.
pub(crate) struct Client {
    pub(crate) shard: Shard,
    pub(crate) stream: TcpStream,
    pub(crate) tls: ClientConnection,
    input: Vec<u8>,
}

impl Client {
    /// Sends what rustls has to say. A connection that is gone does not mind.
    pub(crate) async fn flush(&mut self) -> bool {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("a vector takes it");
        }
        bytes.is_empty() || self.stream.send(bytes).await.is_ok()
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let count = self.tls.writer().write(rest).expect("it takes some");
            rest = &rest[count..];
            if self.tls.is_handshaking() {
                assert!(rest.is_empty(), "a request at most, before the hand-shake");
                continue;
            }
            if !self.flush().await {
                return false;
            }
        }
        true
    }

    pub(crate) async fn ask(&mut self, path: &str) -> String {
        self.send(get(path)).await;
        self.answer().await
    }

    /// The next answer's body, with a length of its own.
    pub(crate) async fn answer(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let length: usize = length.parse().expect("a number");
        self.exactly(length).await
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> String {
        while self.input.len() < length {
            self.read().await.expect("the rest of it");
        }
        String::from_utf8(self.input.drain(..length).collect()).expect("text")
    }

    /// Up to some text, this included.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.input.windows(text.len()).position(|window| window == text.as_bytes()) {
                return String::from_utf8_lossy(&self.input.drain(..at + text.len()).collect::<Vec<_>>()).into_owned();
            }
            let input = String::from_utf8_lossy(&self.input).into_owned();
            self.read().await.unwrap_or_else(|ended| panic!("{ended:?} after {input:?}, before {text:?}"));
        }
    }

    /// All that is still to come, and how it ends.
    pub(crate) async fn rest(&mut self) -> (String, Ended) {
        loop {
            if let Err(ended) = self.read().await {
                return (String::from_utf8_lossy(&std::mem::take(&mut self.input)).into_owned(), ended);
            }
        }
    }

    /// What comes, at least so many bytes of it, to a client that has said its hello and says nothing more: all of it has left with
    /// the server's first flight.
    pub(crate) async fn first_flight(&mut self, length: usize) -> Vec<u8> {
        assert!(self.flush().await);
        let mut heard = Vec::new();
        while heard.len() < length {
            let chunk = self.shard.timeout(WAIT_MAX, self.stream.recv()).await.expect("it comes by itself");
            let chunk = chunk.expect("the connection holds").expect("the server goes on");
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                self.tls.read_tls(&mut rest).expect("there is room");
                let state = self.tls.process_new_packets().expect("nothing is wrong with it");
                let end = heard.len();
                heard.resize(end + state.plaintext_bytes_to_read(), 0);
                self.tls.reader().read_exact(&mut heard[end..]).expect("it said so");
            }
        }
        heard
    }

    /// Shakes hands.
    pub(crate) async fn shake(&mut self) -> Result<(), Ended> {
        while self.tls.is_handshaking() {
            self.read().await?;
        }
        self.flush().await;
        Ok(())
    }

    /// One more read.
    pub(crate) async fn read(&mut self) -> Result<(), Ended> {
        self.flush().await;
        let received = self.shard.timeout(WAIT_MAX, self.stream.recv()).await;
        match received.expect("something happens in time") {
            Ok(Some(chunk)) => {
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    if self.tls.read_tls(&mut rest).expect("there is room") == 0 {
                        return Err(Ended::InOrder);
                    }
                    let state = self.tls.process_new_packets().map_err(|error| Ended::Alert(error.to_string()))?;
                    let end = self.input.len();
                    self.input.resize(end + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut self.input[end..]).expect("it said so");
                    if state.peer_has_closed() {
                        return Err(Ended::InOrder);
                    }
                }
                Ok(())
            }
            Ok(None) => Err(Ended::Cut),
            Err(_) => Err(Ended::Reset),
        }
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The head of a request with a body.
pub(crate) fn post(path: &str, bytes: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n")
}

pub(crate) fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + ((at * 7 + at / 251) % 26) as u8).collect()
}

/// What the server answers.
struct Routes(Shard);

impl Service for Routes {
    fn call(&self, mut request: Request) -> Reply {
        let path = request.path().to_owned();
        let mut words = path.split('/').skip(1);
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        let response = match words.next() {
            // So many bytes, by reference.
            Some("bytes") => full(pattern(number(words.next()))),
            Some("who") => {
                let peer = request.peer();
                text(&format!("{:?} {}", peer.remote(), peer.is_secure()))
            }
            Some("agreed") => {
                let secured = request.peer().secured().expect("nothing else is served");
                text(&format!(
                    "{:?} {} {} {:?} {}",
                    secured.version(),
                    if secured.is_resumed() { "resumed" } else { "new" },
                    String::from_utf8_lossy(secured.protocol().unwrap_or(b"none")),
                    secured.server_name(),
                    secured.certificates().len()
                ))
            }
            Some("early") => {
                let text = if request.is_early() { "early" } else { "late" };
                self::text(text)
            }
            Some("echo") => Response::new(StatusCode::OK).with_content(Content::Body(request.take_body())),
            // As many bytes, in pieces.
            Some("stream") => {
                let stream = Pieces(number(words.next()));
                Response::new(StatusCode::OK).with_content(Content::Stream(Box::pin(stream)))
            }
            Some("sum") => {
                let mut body = request.take_body();
                return Reply::later(&self.0, || async move {
                    let mut sum = 0u64;
                    loop {
                        match body.chunk().await {
                            Ok(Some(chunk)) => sum += chunk.iter().map(|&byte| u64::from(byte)).sum::<u64>(),
                            Ok(None) => return text(&sum.to_string()),
                            Err(_) => return Response::new(StatusCode::BAD_REQUEST),
                        }
                    }
                });
            }
            Some("tunnel") => {
                let echo = Tunnel::new(async |Upgraded { mut stream, received, .. }| {
                    if let Some(chunk) = received {
                        let _ = stream.send(chunk).await;
                    }
                    while let Ok(Some(chunk)) = stream.recv().await {
                        if stream.send(chunk).await.is_err() {
                            break;
                        }
                    }
                });
                let response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
                let response = response.with_header(UPGRADE, HeaderValue::from_static("echo"));
                response.with_content(Content::Tunnel(echo))
            }
            _ => text("hello"),
        };
        Reply::ready(&self.0, || response)
    }
}

/// So many bytes, for whom pipes are as well.
struct Pieces(usize);

impl BodyStream for Pieces {
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
        let bytes = self.0.min(20_000);
        self.0 -= bytes;
        Poll::Ready((bytes > 0).then(|| Ok(Buf::from(vec![b'x'; bytes]))))
    }

    fn poll_piece(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Piece, Box<dyn Error>>>> {
        panic!("a pipe was asked for, and nothing could encrypt it");
    }

    fn length(&self) -> Option<u64> {
        Some(self.0 as u64)
    }
}

fn text(text: &str) -> Response {
    full(text.as_bytes().to_vec())
}

fn full(bytes: Vec<u8>) -> Response {
    Response::new(StatusCode::OK).with_content(Content::Full(Buf::from(bytes)))
}
