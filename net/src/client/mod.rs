//! The client: requests to other servers, over connections that are kept for the next.
//!
//! Three parts, each without the others. A connection (`conn/client.rs`) serves one exchange at a time, driven by whoever
//! waits for it, or many, driven by a task (`conn/streams/client.rs`). The pool (`pool.rs`) keeps those that are idle, a few for
//! each server. [`Request`] and [`Response`] are what code sees. Between them, `ask.rs` sends one request to one
//! target (`target.rs`): what chooses among several servers, watches their health and gives up on them stands on top of that,
//! in `upstream/`.

mod alternatives;
pub(crate) mod ask;
mod connect;
mod decode;
pub mod dns;
mod error;
mod pool;
mod proxy;
pub(crate) mod quic;
mod redirect;
mod request;
mod resolve;
mod response;
pub(crate) mod target;
mod trust;
pub(crate) mod upgrade;
mod url;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use proto::{h1::Limits, h2::Limits as StreamLimits};
use rustls::ClientConfig;
use shards::Shard;

pub use error::{Code, Error, Step};
pub use proxy::Proxy;
pub use request::Request;
pub(crate) use request::end_to_end;
pub use resolve::{Lookup, Resolver};
pub use response::Response;

use crate::DeadlineField;
use crate::conn::client::Shared;
use crate::limits::{
    BODY_PAUSE_MAX, CLIENT_BODY_BYTES_MAX, CLIENT_CONNECT_TIME_MAX, CLIENT_CONTINUE_TIME_MAX, CLIENT_FAREWELL_TIME,
    CLIENT_HEAD_TIME_MAX, CLIENT_IDLE_MAX, CLIENT_IDLE_PER_ORIGIN_MAX, CLIENT_IDLE_TIME_MAX,
    CLIENT_IN_USE_PER_ORIGIN_MAX, CLIENT_KEEP_ALIVE, CLIENT_STREAMS_MAX, WRITE_STALL_MAX,
};
use pool::Pool;

/// Asks other servers over HTTP/1.1, HTTP/2 or HTTP/3: over TLS, whatever the server chooses of the first two, and the last where
/// it is known to be spoken. It belongs to one shard; cloning gives another handle on the same connections.
///
/// Dropping what a request gives, at any point, ends the exchange and closes its connection, of HTTP/2 and HTTP/3 its stream: a
/// time limit is [`shard.timeout`](Shard::timeout) around it, and work in a scope ends with that scope.
///
/// ```
/// # use std::{panic::Location, time::Duration};
/// # use shards::{Shard, Simulation};
/// use http::StatusCode;
/// use shardwise_net::{Client, Reply, Request, Response, Service};
///
/// struct Greeter;
///
/// impl Service for Greeter {
///     fn call(&self, request: Request) -> Reply {
///         let text = format!("hello {}", &request.path()[1..]);
///         Reply::ready(request.peer().shard(), || Response::new(StatusCode::OK).with_content(text.into_bytes().into()))
///     }
/// }
///
/// # let mut simulation = Simulation::new(1);
/// # let serve = async |shard: Shard| {
/// #     shardwise_net::serve(&shard, ([10, 0, 0, 1], 80).into(), Greeter, Location::caller()).await
/// # };
/// # simulation.start(1, serve);
/// # let text = simulation.run(async |shard| {
/// #     shard.sleep(Duration::from_millis(1)).await;
/// let client = Client::new(&shard);
/// let mut response = client.get("http://10.0.0.1/ada").header("accept", "text/plain").send().await?;
/// assert_eq!(response.status(), 200);
/// let text = response.text().await?;
/// # Ok::<_, shardwise_net::client::Error>(text)
/// # });
/// assert_eq!(text.unwrap(), "hello ada");
/// ```
#[derive(Clone)]
pub struct Client(Rc<Pool>);

/// What can be set about a client. The defaults are the bounds of [`limits`](crate::limits).
#[derive(Clone, Debug)]
pub struct Config {
    /// What a response may be like.
    pub h1: Limits,
    /// The same over HTTP/2, and what a connection of many streams may be like: how many requests go over one at a time, if the
    /// server admits as many. Further ones wait, as long as for a connection.
    pub h2: StreamLimits,
    /// And over HTTP/3.
    pub h3: proto::h3::Limits,
    /// What HTTP/3 goes through.
    pub quic: crate::quic::Config,
    /// Whether all servers are asked over HTTP/2, which they are known to speak ([`Request::http2`] for one).
    pub http2: bool,
    /// Whether all servers are asked over HTTP/3, which they are known to speak ([`Request::http3`] for one).
    pub http3: bool,
    /// Whether a server of `https` is asked over HTTP/3 once it has said that it is found by that (`Alt-Svc`, RFC 7838): as soon
    /// as a connection stands, which is waited for no longer than [`CLIENT_HTTP3_HEAD_START`](crate::limits::CLIENT_HTTP3_HEAD_START); until
    /// then, and where none comes to be, by TCP.
    pub follows_alternatives: bool,
    /// How long a server may take to be found and to accept a connection, over all its addresses.
    pub connect_time_max: Duration,
    /// How long a server may take from the end of a request to the end of its answer's head.
    pub head_time_max: Duration,
    /// How long a server may send nothing of a body that is waited for.
    pub body_pause_max: Duration,
    /// How long a server may take nothing of what is sent to it.
    pub write_stall_max: Duration,
    /// How long a body that waits to be asked for waits, before it goes unasked (RFC 9110 section 10.1.1).
    pub continue_time_max: Duration,
    /// How long a connection may wait for its next request.
    pub idle_time_max: Duration,
    /// How long a connection may serve requests; then it ends with those that it has, and the next make another. A server behind a
    /// name that leads elsewhere by then, or behind a balancer, is found anew. `None`: as long as it lasts.
    pub age_max: Option<Duration>,
    /// How many connections may wait, in all.
    pub idle_max: usize,
    /// How many connections may wait for each server.
    pub idle_per_origin_max: usize,
    /// How many connections to each server may be in use; further requests wait, as long as for a connection.
    pub connections_per_origin_max: usize,
    /// How long a body may be that [`bytes`](Response::bytes), [`text`](Response::text) and [`json`](Response::json) gather.
    pub body_bytes_max: u64,
    /// What gives the addresses of a name.
    pub resolver: Resolver,
    /// What all connections go through, but those to a socket of this machine ([`Request::proxy`] for one).
    pub proxy: Option<Proxy>,
    /// How many redirects are followed for one request ([`Request::redirects`] for one). None unless said: a service passes
    /// them on, or is not to be led where its client likes.
    pub redirects_max: u32,
    /// Whether a redirect may lead from `https` to `http`.
    pub redirects_bare: bool,
    /// Whether bodies are asked for compressed, and decoded ([`Request::decompress`] for one). Not unless said, since who passes
    /// them on needs them as they are.
    pub decompresses: bool,
    /// The field by which servers are told how much time is left, where the scope of a request has a deadline; as it stands
    /// when the request begins.
    pub deadline_field: Option<DeadlineField>,
    /// How servers of `https` are to prove who they are, and what is agreed on with them; `None` for what the authorities that the
    /// system trusts vouch for, by TLS 1.3 or 1.2. The protocols of ALPN are the client's to say.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            h1: Limits::default(),
            h2: StreamLimits { streams_max: CLIENT_STREAMS_MAX, ..StreamLimits::default() },
            h3: proto::h3::Limits {
                streams_max: CLIENT_STREAMS_MAX,
                connects: false,
                datagrams: false,
                ..proto::h3::Limits::default()
            },
            quic: crate::quic::Config { keep_alive: Some(CLIENT_KEEP_ALIVE), ..crate::quic::Config::default() },
            http2: false,
            http3: false,
            follows_alternatives: true,
            connect_time_max: CLIENT_CONNECT_TIME_MAX,
            head_time_max: CLIENT_HEAD_TIME_MAX,
            body_pause_max: BODY_PAUSE_MAX,
            write_stall_max: WRITE_STALL_MAX,
            continue_time_max: CLIENT_CONTINUE_TIME_MAX,
            idle_time_max: CLIENT_IDLE_TIME_MAX,
            age_max: None,
            idle_max: CLIENT_IDLE_MAX,
            idle_per_origin_max: CLIENT_IDLE_PER_ORIGIN_MAX,
            connections_per_origin_max: CLIENT_IN_USE_PER_ORIGIN_MAX,
            body_bytes_max: CLIENT_BODY_BYTES_MAX,
            resolver: Resolver::default(),
            proxy: None,
            redirects_max: 0,
            redirects_bare: false,
            decompresses: false,
            deadline_field: Some(DeadlineField::default()),
            tls: None,
        }
    }
}

impl Client {
    /// A client without connections.
    pub fn new(shard: &Shard) -> Self {
        Client::with(shard, Config::default())
    }

    /// The same, set up otherwise.
    pub fn with(shard: &Shard, config: Config) -> Self {
        Client(Pool::new(Shared::new(shard, config)))
    }

    pub(crate) fn pool(&self) -> &Rc<Pool> {
        &self.0
    }

    /// By which field servers are told how much time is left.
    pub(crate) fn deadline_field(&self) -> Option<DeadlineField> {
        self.0.shared.config.deadline_field
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.0.shared.shard
    }

    /// Begins a request. `url` is a whole one: `http://10.0.0.7:8080/items?by=name`.
    pub fn request<'u>(&self, method: Method, url: impl Into<Cow<'u, str>>) -> Request<'u> {
        Request::new(Rc::clone(&self.0), method, url.into())
    }

    /// Begins a `GET`.
    pub fn get<'u>(&self, url: impl Into<Cow<'u, str>>) -> Request<'u> {
        self.request(Method::GET, url)
    }

    /// Begins a `HEAD`.
    pub fn head<'u>(&self, url: impl Into<Cow<'u, str>>) -> Request<'u> {
        self.request(Method::HEAD, url)
    }

    /// Begins a `POST`.
    pub fn post<'u>(&self, url: impl Into<Cow<'u, str>>) -> Request<'u> {
        self.request(Method::POST, url)
    }

    /// Begins a `PUT`.
    pub fn put<'u>(&self, url: impl Into<Cow<'u, str>>) -> Request<'u> {
        self.request(Method::PUT, url)
    }

    /// Begins a `DELETE`.
    pub fn delete<'u>(&self, url: impl Into<Cow<'u, str>>) -> Request<'u> {
        self.request(Method::DELETE, url)
    }

    /// The addresses of a name, as the client's [`Resolver`] gives them, and until when they hold.
    ///
    /// Errors: there is none, nobody could say, or not [in time](Config::connect_time_max).
    pub async fn lookup(&self, name: &str, port: u16) -> Result<Lookup, Error> {
        let Shared { shard, config, .. } = &*self.0.shared;
        resolve::lookup(&self.0, name, port, shard.clock() + config.connect_time_max).await
    }

    /// Where a service is, by its name `_service._proto.domain` (RFC 2782), and until when that holds.
    ///
    /// Errors: as [`lookup`](Client::lookup); and only a resolver of our own can say ([`Resolver::dns`]).
    pub async fn services(&self, name: &str) -> Result<(Vec<dns::Service>, Instant), Error> {
        let Shared { shard, config, .. } = &*self.0.shared;
        let failure = |why: &str| Error::Resolve { host: name.into(), why: why.into() };
        let names =
            self.0.names.as_ref().ok_or_else(|| failure("services are found by a resolver of our own alone"))?;
        let found = shard.timeout(config.connect_time_max, names.services(name)).await;
        found.map_err(|_| Error::TimedOut(Step::Connect))?.map_err(|why| failure(&why))
    }

    /// How many connections of HTTP/1.1 wait for their next request.
    pub fn idle(&self) -> usize {
        self.0.idle()
    }

    /// Drops it, and gives its connections the [time](crate::limits::CLIENT_FAREWELL_TIME) to say that they end, if no other clone
    /// and no request is left. For the end of a program: its shard then stops, and with it whatever was still to be said, so
    /// that a server keeps a connection of QUIC until that has been silent for long enough (RFC 9000 section 10.1).
    ///
    /// Cancel safe: then it is dropped.
    pub async fn close(self) {
        let shard = self.0.shared.shard.clone();
        drop(self);
        shard.sleep(CLIENT_FAREWELL_TIME).await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("idle", &self.idle()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
