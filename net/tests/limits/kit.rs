//! A server of a few routes on a simulated shard, and clients that say whatever bytes they are told to, in whatever pace.

use std::cell::Cell;
use std::error::Error;
use std::fmt::Write;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::StatusCode;
use platform::sim::Plan;
use platform::{Buf, ListenOptions, PoolSize, PoolStats};
use shards::{Shard, Simulation};
use shardwise_net::{
    BodyError, BodyStream, Config, Content, NetStats, Reply, Request, Response, Server, Service, TcpStream,
};

const ADDRESS: &str = "127.0.0.1:8080";

/// No wait of a client is longer, in virtual time.
const WAIT_MAX: Duration = Duration::from_secs(1000);

/// Seeds of each test.
pub(crate) const SEEDS: u64 = 3;

/// How a server is set up.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) config: Config,
    pub(crate) pool: PoolSize,
}

/// A client's view of everything: its own shard, and what the server counts.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) shard: Shard,
    pub(crate) stats: Arc<NetStats>,
    pub(crate) seen: Rc<Seen>,
}

/// What the server's side has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of the pool, at each request: the most.
    pub(crate) pooled_bytes: Cell<u64>,
    pub(crate) heads_leased: Cell<u32>,
    /// Bytes that `/hold` holds.
    pub(crate) held: Cell<usize>,
}

impl Seen {
    fn look(&self, shard: &Shard) {
        let PoolStats { pooled_bytes, heads_leased, .. } = shard.pool().stats();
        self.pooled_bytes.set(self.pooled_bytes.get().max(pooled_bytes));
        self.heads_leased.set(self.heads_leased.get().max(heads_leased));
    }
}

/// Serves while `clients` run, drains, and looks at what is left.
#[track_caller]
pub(crate) fn run<T: 'static>(setup: Setup, clients: impl AsyncFnOnce(World) -> T + 'static) -> T {
    let Setup { seed, plan, config, pool } = setup;
    println!("seed {seed}");
    let mut simulation = Simulation::with_plan(seed, plan, platform::Config { pool, ..platform::Config::default() });
    let (stats, seen) = (Arc::<NetStats>::default(), Rc::<Seen>::default());
    let (served, counted) = (Rc::clone(&seen), Arc::clone(&stats));
    let program = simulation.start(1, async move |shard: Shard| {
        let (address, options) = (ADDRESS.parse().expect("an address"), ListenOptions::default());
        let server = Server::bind(&shard, address, &options, Location::caller()).await.map_err(|e| e.to_string())?;
        let routes = Routes { shard: shard.clone(), seen: Rc::clone(&served) };
        server.serve(routes, config.clone(), Arc::clone(&counted)).await.map_err(|e| e.to_string())?;
        // The kernel gives up what it has a moment after it is asked to.
        shard.sleep(Duration::from_millis(10)).await;
        let (pool, holdings) = (shard.pool().stats(), shard.with_reactor(|reactor| reactor.holdings()));
        let left = (pool.pooled_bytes, pool.heads_leased, pool.bulk_leased, holdings.operations, holdings.handles);
        if left == (0, 0, 0, 0, 0) { Ok(()) } else { Err(format!("left: {left:?}")) }
    });
    let output = simulation.run(async move |shard| {
        // The server listens by then.
        shard.sleep(Duration::from_millis(10)).await;
        clients(World { shard, stats, seen }).await
    });
    program.drain();
    assert!(simulation.run_until(WAIT_MAX, || program.has_ended()), "the drain ends");
    assert_eq!(program.results(), [Some(Ok(()))], "seed {seed}");
    output
}

impl World {
    pub(crate) async fn open(&self) -> Client {
        let stream = TcpStream::connect(&self.shard, ADDRESS.parse().expect("an address")).await.expect("it listens");
        Client { shard: self.shard.clone(), stream, input: Vec::new() }
    }

    pub(crate) fn spawn<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> impl Future<Output = T> {
        let task = self.shard.spawn(work).expect("room for a task");
        async move { task.await.expect("no panic") }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        self.shard.sleep(time).await;
    }

    /// Whether the server accepts and answers within a second.
    pub(crate) async fn is_served(&self) -> bool {
        let mut client = self.open().await;
        client.send(get("/")).await;
        self.shard.timeout(seconds(1), client.until("hello")).await.is_ok()
    }
}

/// A connection of a client's.
pub(crate) struct Client {
    pub(crate) shard: Shard,
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    InOrder,
    Reset,
}

impl Client {
    /// Sends; a connection that is gone does not mind.
    pub(crate) async fn send(&mut self, bytes: impl Into<Vec<u8>>) -> bool {
        self.stream.send(bytes.into()).await.is_ok()
    }

    pub(crate) async fn ask(&mut self, path: &str) -> String {
        self.send(get(path)).await;
        self.answer().await
    }

    /// The next answer, with a length of its own.
    pub(crate) async fn answer(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let length: usize = length.parse().expect("a number");
        while self.input.len() < length {
            assert!(self.read().await.is_ok(), "the rest of {head}");
        }
        let body = self.input.drain(..length).collect();
        head + &String::from_utf8(body).expect("text")
    }

    /// Up to some text, this included.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.input.windows(text.len()).position(|window| window == text.as_bytes()) {
                return String::from_utf8(self.input.drain(..at + text.len()).collect()).expect("text");
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

    /// The frames of HTTP/2 that have come when nothing more does: kind, flags, stream, payload.
    pub(crate) async fn frames(&mut self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let shard = self.shard.clone();
        while let Ok(Ok(_)) = shard.timeout(seconds(1), self.read()).await {}
        let mut frames = Vec::new();
        while let Some(&[a, b, c, kind, flags, d, e, f, g]) = self.input.first_chunk() {
            let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
            let frame: Vec<u8> = self.input.drain(..end).collect();
            frames.push((kind, flags, u32::from_be_bytes([d, e, f, g]), frame[9..].to_vec()));
        }
        frames
    }

    /// One more read.
    pub(crate) async fn read(&mut self) -> Result<usize, Ended> {
        let received = self.shard.timeout(WAIT_MAX, self.stream.recv()).await;
        match received.expect("something happens in time") {
            Ok(Some(chunk)) => {
                self.input.extend_from_slice(&chunk);
                Ok(chunk.len())
            }
            Ok(None) => Err(Ended::InOrder),
            Err(_) => Err(Ended::Reset),
        }
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")
}

/// The head of a request with a body.
pub(crate) fn post(path: &str, bytes: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {bytes}\r\n\r\n")
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the server answers.
struct Routes {
    shard: Shard,
    seen: Rc<Seen>,
}

impl Service for Routes {
    fn call(&self, mut request: Request) -> Reply {
        self.seen.look(&self.shard);
        let path = request.path().to_owned();
        let mut words = path.split('/').skip(1);
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or(0);
        let response = match words.next() {
            // So many bytes out of the pool.
            Some("stream") => stream(&self.shard, number(words.next())),
            Some("text") => text(&"x".repeat(number(words.next()))),
            Some("who") => {
                let peer = request.peer();
                text(&format!("{:?} {:?}", peer.remote(), peer.local()))
            }
            // Reads a body, and takes so many seconds between any two pieces of it.
            Some("body") => {
                let (shard, pause) = (self.shard.clone(), number(words.next()) as u64);
                let mut body = request.take_body();
                return Reply::later(&self.shard, || async move {
                    let mut bytes = 0;
                    loop {
                        match body.chunk().await {
                            Ok(Some(chunk)) => bytes += chunk.len(),
                            Ok(None) => return text(&format!("{bytes} bytes")),
                            Err(BodyError::TimedOut) => return Response::new(StatusCode::REQUEST_TIMEOUT),
                            Err(_) => return Response::new(StatusCode::BAD_REQUEST),
                        }
                        shard.sleep(seconds(pause)).await;
                    }
                });
            }
            // Holds so many KiB of the pool for so many seconds.
            Some("hold") => {
                let (shard, seen) = (self.shard.clone(), Rc::clone(&self.seen));
                let (count, time) = (number(words.next()), seconds(number(words.next()) as u64));
                return Reply::later(&self.shard, || async move {
                    let held: Vec<_> = (0..count).map_while(|_| shard.pool().lease(1024)).collect();
                    seen.held.set(held.len() * 1024);
                    shard.sleep(time).await;
                    seen.held.set(0);
                    text("held")
                });
            }
            _ => text("hello"),
        };
        Reply::ready(&self.shard, || response)
    }
}

fn text(text: &str) -> Response {
    Response::new(StatusCode::OK).with_content(Content::Full(Buf::from(text.as_bytes().to_vec())))
}

fn stream(shard: &Shard, bytes: usize) -> Response {
    struct Pieces(Shard, usize);

    impl BodyStream for Pieces {
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
            if self.1 == 0 {
                return Poll::Ready(None);
            }
            let Some(mut chunk) = self.0.pool().lease(16 * 1024) else {
                return Poll::Ready(Some(Err("the pool is exhausted".into())));
            };
            let bytes = self.1.min(16 * 1024);
            chunk.put(&[b'x'; 16 * 1024][..bytes]);
            self.1 -= bytes;
            Poll::Ready(Some(Ok(Buf::Chunk(chunk.freeze()))))
        }
    }

    Response::new(StatusCode::OK).with_content(Content::Stream(Box::pin(Pieces(shard.clone(), bytes))))
}

/// A line for each counter that is not zero, for comparing.
pub(crate) fn told(counters: &[(&str, &shards::Counter)]) -> String {
    let mut told = String::new();
    for (name, counter) in counters.iter().filter(|(_, counter)| counter.get() > 0) {
        write!(told, "{name} {} ", counter.get()).expect("a string takes it");
    }
    told.trim_end().to_owned()
}

/// The address of the clients' machine.
pub(crate) fn is_loopback(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
}
