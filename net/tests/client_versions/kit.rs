//! A server of a few routes that speaks as it is told to, and a client to ask it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::ALT_SVC;
use http::{HeaderName, HeaderValue, StatusCode, Version};
use platform::sim::Plan;
use platform::{Buf, ListenOptions};
use proto::head::KnownHead;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use shards::{Shard, Simulation};
use shardwise_net::client::{self, Resolver};
use shardwise_net::tls::{ShardTime, provider};
use shardwise_net::{
    BodyStream, Client, Config, Content, Headers, NetStats, QuicServer, Reply, Request, Response, Server, Service,
};

pub(crate) const ADDRESS: &str = "10.0.0.1:443";

/// No wait is longer, in virtual time.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// A certificate that leaves nothing to chance, and who trusts it.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Rc<Self> {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Rc::new(Identity { certificate, key })
    }

    pub(crate) fn server(&self, shard: &Shard, protocols: &[&str]) -> ServerConfig {
        let builder = ServerConfig::builder_with_details(provider(shard), Arc::new(ShardTime));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).expect("versions").with_no_client_auth();
        let mut config =
            builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key()).expect("it fits");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    pub(crate) fn client(&self, shard: &Shard) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("it can vouch");
        let builder = ClientConfig::builder_with_details(provider(shard), Arc::new(ShardTime));
        let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).expect("versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(32);
        config
    }
}

/// How both sides are set.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) identity: Rc<Identity>,
    /// What the server speaks over TCP, and whether it speaks HTTP/3.
    pub(crate) protocols: &'static [&'static str],
    pub(crate) speaks_h3: bool,
    pub(crate) server: Config,
    pub(crate) client: client::Config,
    /// Shards of the server.
    pub(crate) shards: usize,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let resolver = Resolver::new(|name, port| match name {
            "localhost" => Ok(vec![([10, 0, 0, 1], port).into()]),
            _ => Err(std::io::Error::other("nobody is called so")),
        });
        Setup {
            identity: Identity::new(),
            protocols: &["h2", "http/1.1"],
            speaks_h3: true,
            server: Config::default(),
            client: client::Config { resolver, ..client::Config::default() },
            shards: 1,
        }
    }

    pub(crate) fn speaking(protocols: &'static [&'static str]) -> Self {
        Setup { protocols, speaks_h3: false, ..Setup::new() }
    }
}

/// A client's view of everything.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) shard: Shard,
    pub(crate) client: Client,
    /// What the server counts.
    pub(crate) stats: Arc<NetStats>,
    pub(crate) seen: Seen,
}

/// What handlers have seen.
pub(crate) type Seen = Rc<RefCell<Vec<String>>>;

impl World {
    pub(crate) fn url(path: &str) -> String {
        format!("https://localhost{path}")
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.shard.sleep(time).await;
    }

    /// Asks for a path's text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, client::Error> {
        self.client.get(World::url(path)).send().await?.text().await
    }

    /// Connections of each version that the server has had.
    pub(crate) fn connections(&self) -> (u64, u64, u64) {
        let (h2, h3) = (self.stats.h2_connections.get(), self.stats.h3_connections.get());
        (self.stats.connections.get() - h2 - h3, h2, h3)
    }
}

/// Serves while `work` runs, drains, and looks at what is left.
#[track_caller]
pub(crate) fn run(seed: u64, plan: Plan, setup: Setup, work: impl AsyncFnOnce(World) + 'static) {
    println!("seed {seed}");
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
    let (stats, seen) = (Arc::<NetStats>::default(), Seen::default());
    let (counted, noted, served) = (Arc::clone(&stats), Rc::clone(&seen), setup.clone());
    let program = simulation.start(setup.shards, async move |shard: Shard| {
        serve(&shard, served.clone(), Arc::clone(&counted), Rc::clone(&noted)).await?;
        nothing_is_left(&shard, (0, 0)).await
    });
    simulation.run(async move |shard| {
        // The server listens by then.
        shard.sleep(Duration::from_millis(10)).await;
        let mut config = setup.client.clone();
        config.tls.get_or_insert_with(|| Arc::new(setup.identity.client(&shard)));
        let client = Client::with(&shard, config);
        work(World { shard: shard.clone(), client, stats, seen }).await;
        // What was given up comes home in its time.
        shard.sleep(Duration::from_secs(10)).await;
        nothing_is_left(&shard, (1, 1)).await.expect("nothing is left of the client");
    });
    program.drain();
    assert!(simulation.run_until(WAIT_MAX, || program.has_ended()), "the drain ends");
    for result in program.results() {
        assert_eq!(result, Some(Ok(())), "seed {seed}");
    }
}

async fn serve(shard: &Shard, setup: Setup, stats: Arc<NetStats>, seen: Seen) -> Result<(), String> {
    let Setup { identity, protocols, speaks_h3, server: config, .. } = setup;
    let address: SocketAddr = ADDRESS.parse().expect("an address");
    let tls = Arc::new(identity.server(shard, protocols));
    let by_quic = Arc::clone(&tls);
    let routes = Routes(shard.clone(), seen);
    let location = Location::caller();
    let quic = match speaks_h3 {
        true => Some(QuicServer::bind(shard, address, &config.quic, location).await.map_err(|e| e.to_string())?),
        false => None,
    };
    let tcp = Server::bind(shard, address, &ListenOptions::default(), location).await.map_err(|e| e.to_string())?;
    let tcp = tcp.secured(move || Arc::clone(&tls));
    let others = quic.map(|quic| {
        let work = quic.serve(routes.clone(), config.clone(), move || Arc::clone(&by_quic), Arc::clone(&stats));
        shard.spawn(work).expect("room for a task")
    });
    tcp.serve(routes, config, stats).await.map_err(|error| error.to_string())?;
    if let Some(others) = others {
        others.await.expect("it does not panic").map_err(|error| error.to_string())?;
    }
    Ok(())
}

pub(crate) async fn nothing_is_left(shard: &Shard, tasks: (usize, usize)) -> Result<(), String> {
    shard.sleep(Duration::from_millis(500)).await;
    let (pool, holdings) = (shard.pool().stats(), shard.with_reactor(|reactor| reactor.holdings()));
    let left = (pool.pooled_bytes, pool.heads_leased, pool.bulk_leased, holdings.operations, holdings.handles);
    if left != (0, 0, 0, 0, 0) {
        return Err(format!("left: {left:?}"));
    }
    let live = (shard.task_stats().live as usize, shard.scopes());
    if tasks == (0, 0) || live == tasks { Ok(()) } else { Err(format!("tasks and scopes: {live:?}")) }
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A body of pieces, which counts those that were asked for.
pub(crate) struct Pieces {
    pub(crate) left: usize,
    pub(crate) size: usize,
    pub(crate) made: Rc<Cell<usize>>,
    pub(crate) trailers: bool,
    /// As many bytes are announced.
    pub(crate) length: Option<u64>,
}

impl Pieces {
    pub(crate) fn new(left: usize, size: usize) -> Pieces {
        Pieces { left, size, made: Rc::default(), trailers: false, length: None }
    }

    pub(crate) fn content(self) -> Content {
        Content::Stream(Box::pin(self))
    }
}

impl BodyStream for Pieces {
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.made.set(self.made.get() + 1);
        Poll::Ready(Some(Ok(Buf::from(vec![b'x'; self.size]))))
    }

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn trailers(self: Pin<&mut Self>) -> Headers {
        let mut trailers = Headers::default();
        if self.trailers {
            trailers.append(HeaderName::from_static("x-sum"), HeaderValue::from_static("42"));
        }
        trailers
    }
}

/// What the server answers.
#[derive(Clone)]
struct Routes(Shard, Seen);

/// Noted of a head that is answered without a request.
const KNOWN: [u32; 2] = [1, 1];

impl Service for Routes {
    fn call_by_head(&self, head: &KnownHead) -> Option<Reply> {
        (head.note().get() == KNOWN).then(|| Reply::ready(&self.0, || full("by its head")))
    }

    fn call(&self, mut request: Request) -> Reply {
        let (shard, seen, path) = (self.0.clone(), Rc::clone(&self.1), request.path().to_owned());
        let mut words = path.split('/').skip(1);
        let route = words.next().unwrap_or_default();
        let number: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let response = Response::new(StatusCode::OK);
        let response = match route {
            "bytes" => full(pattern(number)),
            "known" => {
                if let Some(note) = request.note() {
                    note.set(KNOWN);
                }
                full("by a request")
            }
            "version" => full(format!("{:?}", request.version())),
            "agreed" => {
                let secured = request.peer().secured().expect("nothing else is served");
                let kind = if secured.is_resumed() { "resumed" } else { "new" };
                full(format!("{:?} {kind} {:?}", secured.version(), secured.server_name()))
            }
            "headers" => {
                let lines = request.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec()));
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let lines: BTreeMap<_, _> = lines.map(|(name, value)| (text(&name), text(&value))).collect();
                full(format!("{lines:?}"))
            }
            "status" => full("so it is").with_status(number as u16),
            "echo" => response.with_content(Content::Body(request.take_body())),
            // So many pieces of 16 KiB.
            "stream" => response.with_content(Pieces::new(number, 16 * 1024).content()),
            "trailers" => {
                let pieces = Pieces { trailers: true, ..Pieces::new(2, 3) };
                response.with_content(pieces.content())
            }
            "sum" => {
                let mut body = request.take_body();
                return Reply::later(&self.0, || async move {
                    let (mut sum, mut bytes) = (0u64, 0);
                    loop {
                        match body.chunk().await {
                            Ok(Some(chunk)) => {
                                bytes += chunk.len();
                                sum += chunk.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                            }
                            Ok(None) => break,
                            Err(error) => {
                                seen.borrow_mut().push(format!("sum: {error:?}"));
                                return Response::new(StatusCode::BAD_REQUEST);
                            }
                        }
                    }
                    let trailer = body.trailers().and_then(|trailers| trailers.get("x-sum").map(<[u8]>::to_vec));
                    let trailer = trailer.map(|value| String::from_utf8_lossy(&value).into_owned());
                    response.with_content(Content::from(format!("{bytes} {sum} {trailer:?}").into_bytes()))
                });
            }
            // Answers after so many milliseconds.
            "slow" => {
                struct Dropped(Seen, bool);
                impl Drop for Dropped {
                    fn drop(&mut self) {
                        self.0.borrow_mut().push(if self.1 { "answered" } else { "dropped" }.to_owned());
                    }
                }
                return Reply::later(&self.0, || async move {
                    let mut dropped = Dropped(seen, false);
                    shard.sleep(Duration::from_millis(number as u64)).await;
                    dropped.1 = true;
                    Response::new(StatusCode::OK).with_content(Content::from("at last"))
                });
            }
            "forget" => {
                let response = response.with_content(Content::from("all is forgotten"));
                response.with_header(ALT_SVC, HeaderValue::from_static("clear"))
            }
            "only-by-tcp" => full("here").with_status(if request.version() == Version::HTTP_3 { 421 } else { 200 }),
            // Answers without a look at the body.
            "refuse" => full("no").with_status(413),
            _ => full("hello"),
        };
        Reply::ready(&self.0, || response)
    }
}

fn full(bytes: impl Into<Vec<u8>>) -> Response {
    Response::new(StatusCode::OK).with_content(Content::Full(Buf::from(bytes.into())))
}

trait WithStatus {
    fn with_status(self, status: u16) -> Response;
}

impl WithStatus for Response {
    fn with_status(mut self, status: u16) -> Response {
        self.status = StatusCode::from_u16(status).expect("a status");
        self
    }
}
