//! Connection loops: one per protocol, each between a stream, an engine of `proto` and a service.

pub(crate) mod client;
pub(crate) mod h1;
mod input;
mod outbox;
pub(crate) mod ws;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use outbox::Supplies;
use platform::Pool;
use proto::h1::Limits;

use crate::limits::{BODY_PAUSE_MAX, CONNECTIONS_MAX, HEAD_TIME_MAX, IDLE_TIME_MAX, WRITE_STALL_MAX};
use crate::standing::StandingLines;
use crate::stats::NetStats;
use crate::{HeadSpares, Service};

/// What can be set about serving connections. The defaults are the bounds of [`limits`](crate::limits).
#[derive(Clone, Debug)]
pub struct Config {
    /// What a request may be like.
    pub h1: Limits,
    /// How long a connection may stay open without a request.
    pub idle_time_max: Duration,
    /// How long a request's head may take.
    pub head_time_max: Duration,
    /// How long a peer may send nothing of a body that is waited for.
    pub body_pause_max: Duration,
    /// How long a peer may take nothing of what is sent to it.
    pub write_stall_max: Duration,
    /// How long a request may take, from the end of its head to the end of its answer; `None` for as long as it likes. It is
    /// the deadline of the request's scope. A handler that has not answered by then is dropped, and the answer is 503; an
    /// answer that has begun is cut off.
    pub request_time_max: Option<Duration>,
    /// Whether a client that ends its side of the connection while its request is in hand is taken to have left: then the
    /// request's scope is cancelled (`client disconnected`). The handler goes on, and if it answers all the same, the
    /// answer is sent. With `false`, only a connection that is reset or takes no more cancels.
    pub end_cancels: bool,
    /// Connections that one shard serves at a time.
    pub connections_max: usize,
    /// The `Server` header of every response that does not bring its own; `None` sends none.
    pub server: Option<HeaderValue>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            h1: Limits::default(),
            idle_time_max: IDLE_TIME_MAX,
            head_time_max: HEAD_TIME_MAX,
            body_pause_max: BODY_PAUSE_MAX,
            write_stall_max: WRITE_STALL_MAX,
            request_time_max: None,
            end_cancels: true,
            connections_max: CONNECTIONS_MAX,
            server: Some(HeaderValue::from_static("shardwise")),
        }
    }
}

/// What all connections of a server share on their shard.
pub(crate) struct Context<S> {
    pub(crate) service: S,
    pub(crate) config: Config,
    pub(crate) spares: Rc<HeadSpares>,
    pub(crate) supplies: Supplies,
    pub(crate) standing: StandingLines,
    pub(crate) stats: Arc<NetStats>,
    /// How many there are at this moment.
    pub(crate) connections: Cell<usize>,
}

impl<S: Service> Context<S> {
    pub(crate) fn new(service: S, config: Config, stats: Arc<NetStats>, pool: Pool) -> Rc<Self> {
        let standing = StandingLines::new(config.server.as_ref());
        let (spares, supplies, connections) = (Rc::default(), Supplies::new(pool), Cell::new(0));
        Rc::new(Context { service, config, spares, supplies, standing, stats, connections })
    }
}
