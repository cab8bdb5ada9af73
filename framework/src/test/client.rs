//! [`Client`]: who asks, on a shard of its own beside the server's.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{Location, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::TcpStream;
use shards::{JoinError, Remote, Shard};

use super::connection::Wire;
use super::{Connection, Exchange, Failure, Request, Response, seeds};
use crate::limits::TEST_IDLE_TIME_MAX;

/// A client of the server, in [`Server::run`](super::Server::run). Cloning it gives the same client.
///
/// Requests that are under way at the same time have a connection each; connections are used again while they live.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

struct Inner {
    shard: Shard,
    served: Served,
    /// Connections that wait for the next request, and since when.
    idle: RefCell<Vec<(Instant, Wire)>>,
}

/// What is known of the server.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) seed: u64,
    pub(super) address: SocketAddr,
    pub(super) host: Rc<str>,
    pub(super) remotes: Vec<Remote>,
    pub(super) wait_max: Duration,
}

impl Client {
    pub(super) fn new(shard: Shard, served: Served) -> Self {
        Client(Rc::new(Inner { shard, served, idle: RefCell::default() }))
    }

    /// Asks by `GET`.
    ///
    /// Panics if there is no whole response.
    #[track_caller]
    pub fn get(&self, target: &str) -> impl Future<Output = Response> + use<> {
        self.send(Request::get(target))
    }

    /// Asks by `POST`.
    ///
    /// Panics if there is no whole response.
    #[track_caller]
    pub fn post<B: Into<Bytes>>(&self, target: &str, body: B) -> impl Future<Output = Response> + use<B> {
        self.send(Request::post(target).body(body.into()))
    }

    /// Sends a request, and waits for the response.
    ///
    /// Panics if there is no whole response.
    #[track_caller]
    pub fn send<R: Into<Request>>(&self, request: R) -> impl Future<Output = Response> + use<R> {
        let (client, location) = (self.clone(), Location::caller());
        send(client, request.into(), location)
    }

    /// Sends a request, and waits for the response.
    ///
    /// Errors: there is no whole response.
    pub async fn try_send(&self, request: impl Into<Request>) -> Result<Response, Failure> {
        self.begin(request).await?.response().await
    }

    /// Sends requests at the same time, each over a connection of its own, and waits for all responses. They are in the
    /// order of the requests.
    ///
    /// Panics if one has no whole response.
    #[track_caller]
    pub fn all<R: Into<Request>>(&self, requests: impl IntoIterator<Item = R>) -> impl Future<Output = Vec<Response>> {
        let location = Location::caller();
        let spawn = |request: R| self.spawn(send(self.clone(), request.into(), location));
        let sent: Vec<_> = requests.into_iter().map(spawn).collect();
        async move {
            let mut responses = Vec::with_capacity(sent.len());
            for response in sent {
                responses.push(response.await);
            }
            responses
        }
    }

    /// Begins an exchange: sends the request as far as it goes, for what follows to be done bit by bit.
    ///
    /// Errors: there is no connection, or it takes nothing.
    pub async fn begin(&self, request: impl Into<Request>) -> Result<Exchange, Failure> {
        let wire = self.wire().await?;
        Exchange::begin(self.clone(), wire, request.into()).await
    }

    /// Opens a connection, for bytes by hand.
    ///
    /// Panics if there is none to be had.
    #[track_caller]
    pub fn open(&self) -> impl Future<Output = Connection> + use<> {
        let (client, location) = (self.clone(), Location::caller());
        async move {
            let connection = client.try_open().await;
            connection.unwrap_or_else(|failure| panic!("{failure} (at {location}; {})", client.again()))
        }
    }

    /// Opens a connection, for bytes by hand.
    ///
    /// Errors: there is none to be had.
    pub async fn try_open(&self) -> Result<Connection, Failure> {
        self.connect().await.map(Connection::new)
    }

    /// Runs something beside the rest, and gives what it comes to. It runs whether that is awaited or not.
    ///
    /// Panics, when awaited, if it panicked.
    pub fn spawn<F: Future + 'static>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let task = self.0.shard.spawn(work).expect("a client's shard has room for a task");
        async move {
            match task.await {
                Ok(output) => output,
                Err(JoinError::Panicked(panic)) => resume_unwind(panic),
                Err(JoinError::Cancelled) => unreachable!("nobody cancels it"),
            }
        }
    }

    /// Lets virtual time pass.
    pub async fn sleep(&self, time: Duration) {
        self.0.shard.sleep(time).await;
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.0.shard.now()
    }

    /// The client's shard: its random numbers follow from the seed.
    pub fn shard(&self) -> &Shard {
        &self.0.shard
    }

    /// Begins the server's drain.
    pub fn drain(&self) {
        drain(&self.0.served.remotes);
    }

    pub(super) fn host(&self) -> &str {
        &self.0.served.host
    }

    /// Takes a connection back that can serve another request.
    pub(super) fn put_back(&self, wire: Wire) {
        self.0.idle.borrow_mut().push((self.now(), wire));
    }

    /// A connection: one that was used before, unless the server has closed it meanwhile, or is about to.
    async fn wire(&self) -> Result<Wire, Failure> {
        loop {
            let Some((since, mut wire)) = self.0.idle.borrow_mut().pop() else { return self.connect().await };
            if self.now() - since < TEST_IDLE_TIME_MAX && !wire.is_stale().await {
                return Ok(wire);
            }
        }
    }

    async fn connect(&self) -> Result<Wire, Failure> {
        let Inner { shard, served: Served { address, wait_max, .. }, .. } = &*self.0;
        match shard.timeout(*wait_max, TcpStream::connect(shard, *address)).await {
            Ok(Ok(stream)) => Ok(Wire::new(shard, stream, *wait_max)),
            Ok(Err(error)) => Err(Failure::Connect(error.to_string())),
            Err(_) => Err(Failure::TimedOut(*wait_max)),
        }
    }

    fn again(&self) -> String {
        seeds::again(self.0.served.seed)
    }
}

async fn send(client: Client, request: Request, location: &'static Location<'static>) -> Response {
    let asked = request.to_string();
    match client.try_send(request).await {
        Ok(response) => response,
        Err(failure) => panic!("{asked}: {failure} (at {location}; {})", client.again()),
    }
}

/// Begins the drain on all of a server's shards.
pub(super) fn drain(remotes: &[Remote]) {
    for remote in remotes {
        // A shard that has ended has nothing to drain.
        let _ = remote.send(Shard::drain);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.0.served.address).finish_non_exhaustive()
    }
}
