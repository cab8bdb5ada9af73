//! Servers with moods, and shards that call them.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use platform::Buf;
use platform::sim::Plan;
use shards::combine::race;
use shards::sync::Notify;
use shards::{Shard, Simulation, Sleep};
use shardwise_net::client;
use shardwise_net::upstream::{Config, Endpoint, Endpoints, Upstream};
use shardwise_net::{BodyStream, Client, Content, Reply, Request, Response, Service};

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers after a millisecond.
    Well,
    /// It answers after so many milliseconds.
    Slow(u64),
    /// It answers with this status.
    Status(u16),
    /// It answers 503 and asks to be left alone for so many seconds.
    Busy(u64),
    /// It accepts, and answers nothing.
    Hangs,
    /// It answers a part, and breaks off.
    BreaksOff,
    /// It is not there.
    Down,
}

/// One server, as a test steers it.
pub(crate) struct Server {
    pub(crate) number: u8,
    mood: Cell<Mood>,
    changed: Notify,
    /// Requests that have come.
    pub(crate) requests: Cell<u64>,
    /// Requests under way.
    pub(crate) open: Cell<u64>,
    /// The most of them at a time.
    pub(crate) open_max: Cell<u64>,
    /// Of these paths.
    pub(crate) paths: RefCell<Vec<String>>,
    /// How much time was left for them, as their client said.
    pub(crate) times_left: RefCell<Vec<Duration>>,
}

impl Server {
    pub(crate) fn set(&self, mood: Mood) {
        self.mood.set(mood);
        self.changed.notify_all();
    }

    pub(crate) fn mood(&self) -> Mood {
        self.mood.get()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([10, 0, 0, self.number], 80).into()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.address())
    }
}

/// What a server does with a request.
struct Moody(Rc<Server>, Shard);

struct Open(Rc<Server>);

impl Open {
    fn new(server: &Rc<Server>) -> Self {
        server.requests.set(server.requests.get() + 1);
        server.open.set(server.open.get() + 1);
        server.open_max.set(server.open_max.get().max(server.open.get()));
        Open(Rc::clone(server))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

impl Service for Moody {
    fn call(&self, request: Request) -> Reply {
        let Moody(server, shard) = self;
        let text = format!("{} {}", server.number, request.path());
        let (mood, here) = (server.mood(), shard.clone());
        if request.path() == "/healthz" {
            return match mood {
                Mood::Well | Mood::Slow(_) => Reply::ready(shard, || Response::new(StatusCode::OK)),
                Mood::Hangs => Reply::later(shard, std::future::pending),
                _ => Reply::ready(shard, || Response::new(StatusCode::SERVICE_UNAVAILABLE)),
            };
        }
        server.paths.borrow_mut().push(request.path().to_owned());
        server.times_left.borrow_mut().extend(request.time_left());
        let open = Open::new(server);
        // Work for a client that has left ends.
        let scope = shard.current_scope().expect("room for a scope");
        Reply::later(shard, || async move {
            let _open = open;
            let gone = Response::new(StatusCode::INTERNAL_SERVER_ERROR);
            let answered = scope.run(answer(here, mood, text)).await;
            answered.unwrap_or(gone)
        })
    }
}

async fn answer(here: Shard, mood: Mood, text: String) -> Response {
    let wait = match mood {
        Mood::Slow(milliseconds) => milliseconds,
        _ => 1,
    };
    here.sleep(Duration::from_millis(wait)).await;
    match mood {
        Mood::Hangs => std::future::pending().await,
        Mood::Status(status) => Response::new(StatusCode::from_u16(status).unwrap()).with_content("no".into()),
        Mood::Busy(seconds) => {
            let mut response = Response::new(StatusCode::SERVICE_UNAVAILABLE);
            response.headers.set(http::header::RETRY_AFTER, seconds.into());
            response
        }
        Mood::BreaksOff => {
            let half = Half(here.sleep(Duration::from_millis(1)), false);
            Response::new(StatusCode::OK).with_content(Content::Stream(Box::pin(half)))
        }
        _ => Response::new(StatusCode::OK).with_content(text.into_bytes().into()),
    }
}

/// A part of a body, then nothing more.
struct Half(Sleep, bool);

impl BodyStream for Half {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
        if !std::mem::replace(&mut self.1, true) {
            return Poll::Ready(Some(Ok("a part".into())));
        }
        ready!(self.0.poll_rung(cx));
        Poll::Ready(Some(Err("it breaks off".into())))
    }
}

/// Serves while it is there.
async fn live(shard: Shard, server: Rc<Server>) -> Result<(), String> {
    loop {
        while server.mood() == Mood::Down {
            server.changed.notified().await;
        }
        let scope = shard.scope().child("server").map_err(|error| error.to_string())?;
        let service = Moody(Rc::clone(&server), shard.clone());
        let (here, address) = (shard.clone(), server.address());
        let serve = scope.run(async move { shardwise_net::serve(&here, address, service, Location::caller()).await });
        let gone = async {
            while server.mood() != Mood::Down {
                server.changed.notified().await;
            }
            None
        };
        match race((async { Some(serve.await) }, gone)).await {
            // Its connections end with it, as those of a process that was killed.
            None => scope.cancel("it has crashed"),
            Some(Ok(served)) => return served.map_err(|error| error.to_string()),
            Some(Err(cancelled)) => return Err(cancelled.to_string()),
        }
    }
}

/// Servers on one machine, the first of number 1.
pub(crate) struct World {
    pub(crate) simulation: Simulation,
    pub(crate) servers: Rc<Vec<Rc<Server>>>,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, count: u8) -> Self {
        let mut simulation = Simulation::with_plan(seed, plan, platform::Config::default());
        let servers: Vec<_> = (1..=count)
            .map(|number| {
                Rc::new(Server {
                    number,
                    mood: Cell::new(Mood::Well),
                    changed: Notify::new(),
                    requests: Cell::new(0),
                    open: Cell::new(0),
                    open_max: Cell::new(0),
                    paths: RefCell::default(),
                    times_left: RefCell::default(),
                })
            })
            .collect();
        for server in &servers {
            let server = Rc::clone(server);
            simulation.start(1, async move |shard| live(shard, Rc::clone(&server)).await);
        }
        World { simulation, servers: Rc::new(servers) }
    }

    /// Endpoints of all servers.
    pub(crate) fn endpoints(&self) -> Endpoints {
        Endpoints::fixed(self.servers.iter().map(|server| server.endpoint()))
    }

    /// Calls from one shard.
    #[track_caller]
    pub(crate) fn call<T: 'static>(
        self,
        config: Config,
        work: impl AsyncFnOnce(Shard, Upstream, Rc<Vec<Rc<Server>>>) -> T + 'static,
    ) -> T {
        self.call_by(client::Config::default(), config, work)
    }

    /// The same, by a client that is set up otherwise.
    #[track_caller]
    pub(crate) fn call_by<T: 'static>(
        mut self,
        by: client::Config,
        config: Config,
        work: impl AsyncFnOnce(Shard, Upstream, Rc<Vec<Rc<Server>>>) -> T + 'static,
    ) -> T {
        let servers = Rc::clone(&self.servers);
        self.simulation.run(async move |shard| {
            // The servers listen by then.
            shard.sleep(Duration::from_millis(5)).await;
            let before = shard.with_reactor(|reactor| reactor.holdings());
            let client = Client::with(&shard, by);
            let upstream = Upstream::new(&client, "servers", config).expect("it is in order");
            let output = work(shard.clone(), upstream.clone(), servers).await;
            let survey = upstream.survey();
            assert_eq!((survey.calls_open, survey.calls_waiting), (0, 0), "{survey:?}");
            assert!(survey.endpoints.iter().all(|endpoint| endpoint.open == 0), "{survey:?}");
            drop((upstream, client));
            shard.sleep(Duration::from_secs(1)).await;
            let after = shard.with_reactor(|reactor| reactor.holdings());
            assert_eq!(
                (after.operations, after.handles),
                (before.operations, before.handles),
                "operations and sockets"
            );
            output
        })
    }
}

/// All of an answer, as text.
pub(crate) async fn text(request: client::Request<'_>) -> Result<String, client::Error> {
    let mut response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    Ok(if status.is_success() { text } else { status.as_str().to_owned() })
}

/// Which server has answered.
pub(crate) async fn who(upstream: &Upstream) -> u8 {
    let text = text(upstream.get("/")).await.expect("an answer");
    text.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{text:?} is no answer of a server that is well"))
}

/// So many seeds, unless `SHARDWISE_SEEDS` asks for more, or `SHARDWISE_SEED` for one.
pub(crate) fn seeds(count: u64) -> std::ops::RangeInclusive<u64> {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match asked("SHARDWISE_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=asked("SHARDWISE_SEEDS").unwrap_or(count),
    }
}
