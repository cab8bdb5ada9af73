//! Connection loops: one per protocol, each between a stream, an engine of `proto` and a service.

pub(crate) mod client;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod h3;
pub(crate) mod hq;
mod input;
mod outbox;
mod patience;
mod shed;
pub(crate) mod streams;
pub(crate) mod ws;

use std::cell::{Cell, RefCell, RefMut};
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use outbox::Supplies;
use platform::Pool;
use proto::message::Scratch;
use proto::{h1::Limits, h2::Limits as StreamLimits};
use shed::Shedding;

use crate::clients::{Client, Clients};
use crate::limits::{
    BODY_PAUSE_MAX, BODY_RATE_MIN, CONNECTION_REQUESTS_MAX, CONNECTION_TIME_MAX, CONNECTIONS_MAX,
    CONNECTIONS_PER_CLIENT_MAX, DRAIN_TIME_MIN, GATHER_BYTES_MAX, H3_STREAMS_MAX, HEAD_TIME_MAX, IDLE_TIME_MAX,
    TLS_HANDSHAKE_TIME_MAX, TLS_HANDSHAKES_MAX, WRITE_RATE_MIN, WRITE_STALL_MAX,
};
use crate::quic;
use crate::standing::StandingLines;
use crate::stats::NetStats;
use crate::tls::{Configs, Handshakes};
use crate::{Content, HeadSpares, Made, Response, Service};

/// What can be set about serving connections. The defaults are the bounds of [`limits`](crate::limits).
#[derive(Clone, Debug)]
pub struct Config {
    /// What a request may be like.
    pub h1: Limits,
    /// The same over HTTP/2, and what a connection of many streams may be like.
    pub h2: StreamLimits,
    /// And over HTTP/3.
    pub h3: proto::h3::Limits,
    /// What it goes through. How many connections, hand-shakes and requests there may be, and how long a hand-shake may take, is
    /// said by the other fields.
    pub quic: quic::Config,
    /// Whether an address of TLS is served by QUIC, too, and clients are told so (`Alt-Svc`).
    pub accepts_h3: bool,
    /// Whether a connection that begins with the preface of HTTP/2 is served; else it is refused by 505. Where an
    /// answer over HTTP/1.1 would say `Connection: close`, the client is told by GOAWAY.
    pub accepts_h2: bool,
    /// How long a connection may stay open without a request.
    pub idle_time_max: Duration,
    /// How long a request's head may take.
    pub head_time_max: Duration,
    /// Where TLS is spoken: how long that may take to begin, from the connection's first moment to the end of the hand-shake.
    pub handshake_time_max: Duration,
    /// Hand-shakes that one shard has in hand at a time; the others wait, in the order in which they came.
    pub handshakes_max: usize,
    /// How long a peer may send nothing of a body that is waited for.
    pub body_pause_max: Duration,
    /// Bytes of a body that a peer must send for each second that it is waited for; zero for any. What it falls behind adds up
    /// to a pause: a body of one byte a second is given up after `body_pause_max` and a moment, however it is cut. The time in
    /// which nobody reads does not count.
    pub body_rate_min: u32,
    /// How long a peer may take nothing of what is sent to it.
    pub write_stall_max: Duration,
    /// Bytes that a peer must take for each second that it is waited for; zero for any. As `body_rate_min`.
    pub write_rate_min: u32,
    /// How long a request may take, from the end of its head to the end of its answer; `None` for as long as it likes. It is
    /// the deadline of the request's scope. A handler that has not answered by then is dropped, and the answer is 503; an
    /// answer that has begun is cut off.
    pub request_time_max: Option<Duration>,
    /// Whether a client that ends its side of the connection while its request is in hand is taken to have left: then the
    /// request's scope is cancelled (`client disconnected`). The handler goes on, and if it answers all the same, the
    /// answer is sent. With `false`, only a connection that is reset or takes no more cancels.
    pub end_cancels: bool,
    /// When the drain begins, how long connections are still accepted, and idle ones kept for a request that is on its way.
    /// Every answer says `Connection: close` from then on, so clients that ask within this time are told, and lose nothing.
    /// It counts towards the drain's limit.
    pub drain_time_min: Duration,
    /// Connections that one shard serves at a time.
    pub connections_max: usize,
    /// Connections that one client may have on one shard; further ones are closed at once. A client is an IPv4 address, or the
    /// 64 bits in front of an IPv6 address, which are one household's or one host's. With `proxy_protocol` it is the one that
    /// the proxy names.
    pub connections_per_client_max: Option<usize>,
    /// Requests of one connection; the answer to the last says `Connection: close`.
    pub connection_requests_max: u32,
    /// How old a connection may get: the first answer after that says `Connection: close`. One that is idle is closed by
    /// `idle_time_max`. It does not hold for a [`Tunnel`](crate::Tunnel).
    pub connection_time_max: Duration,
    /// Answers of a pipeline that are gathered before they are sent, in bytes. Beyond it no further request is taken in hand
    /// until the peer has read.
    pub gather_bytes_max: usize,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, that says whose it is: then
    /// [`Peer`](crate::Peer) gives the addresses that it names. A connection that begins otherwise, or not within
    /// `head_time_max`, is closed. Only for a server that nobody but a proxy you trust can reach: whoever else can may claim
    /// to be anyone.
    pub proxy_protocol: bool,
    /// The `Server` header of every response that does not bring its own; `None` sends none.
    pub server: Option<HeaderValue>,
    /// What the first answer of each connection over TLS and TCP says in `Alt-Svc`, unless it brings its own (RFC 7838): where
    /// else the server is found. An app says so of each address that it serves by QUIC, too.
    pub alternative: Option<HeaderValue>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            h1: Limits::default(),
            h2: StreamLimits::default(),
            h3: proto::h3::Limits { streams_max: H3_STREAMS_MAX, ..proto::h3::Limits::default() },
            quic: quic::Config::default(),
            accepts_h3: true,
            accepts_h2: true,
            idle_time_max: IDLE_TIME_MAX,
            head_time_max: HEAD_TIME_MAX,
            handshake_time_max: TLS_HANDSHAKE_TIME_MAX,
            handshakes_max: TLS_HANDSHAKES_MAX,
            body_pause_max: BODY_PAUSE_MAX,
            body_rate_min: BODY_RATE_MIN,
            write_stall_max: WRITE_STALL_MAX,
            write_rate_min: WRITE_RATE_MIN,
            request_time_max: None,
            end_cancels: true,
            drain_time_min: DRAIN_TIME_MIN,
            connections_max: CONNECTIONS_MAX,
            connections_per_client_max: CONNECTIONS_PER_CLIENT_MAX,
            connection_requests_max: CONNECTION_REQUESTS_MAX,
            connection_time_max: CONNECTION_TIME_MAX,
            gather_bytes_max: GATHER_BYTES_MAX,
            proxy_protocol: false,
            server: Some(HeaderValue::from_static("shardwise")),
            alternative: None,
        }
    }
}

impl Config {
    /// What holds for every version, said to QUIC.
    pub(crate) fn for_quic(&self) -> quic::Config {
        quic::Config {
            connections_max: self.connections_max,
            handshakes_max: self.handshakes_max,
            handshake_time_max: self.handshake_time_max,
            streams_max: self.h3.streams_max.into(),
            drain_time_min: self.drain_time_min,
            ..self.quic.clone()
        }
    }
}

/// What all connections of a server share on their shard.
pub(crate) struct Context<S> {
    pub(crate) service: S,
    pub(crate) config: Config,
    /// Where TLS is spoken.
    pub(crate) handshakes: Option<Rc<Handshakes>>,
    pub(crate) spares: Rc<HeadSpares>,
    pub(crate) supplies: Supplies,
    pub(crate) standing: StandingLines,
    scratch: DecodeRoom,
    pub(crate) stats: Arc<NetStats>,
    /// How many there are at this moment, and whose.
    pub(crate) connections: Cell<usize>,
    pub(crate) clients: Clients,
    pub(crate) shedding: Shedding,
    pub(crate) paused: Paused,
    begun: Instant,
    /// When its age was last asked for, and what it was.
    age: Cell<(Instant, u64)>,
}

/// Room to decode heads in, of any version but the first. It is made by the first connection that needs it.
struct DecodeRoom {
    made: RefCell<Option<Box<Scratch>>>,
    bytes: u16,
}

impl DecodeRoom {
    fn new(bytes: u16) -> Self {
        DecodeRoom { made: RefCell::default(), bytes }
    }

    #[inline]
    fn borrow(&self) -> RefMut<'_, Scratch> {
        RefMut::map(self.made.borrow_mut(), |made| {
            &mut **made.get_or_insert_with(|| Box::new(Scratch::lending(self.bytes)))
        })
    }
}

/// Accepting pauses until a connection has ended.
#[derive(Default)]
pub(crate) struct Paused(Cell<Option<Waker>>);

impl Paused {
    pub(crate) fn wait_for(&self, waker: &Waker) {
        self.0.set(Some(waker.clone()));
    }

    /// Whether none has ended since then.
    pub(crate) fn is_waited_for(&self) -> bool {
        let waker = self.0.take();
        let is_waited_for = waker.is_some();
        self.0.set(waker);
        is_waited_for
    }

    fn one_has_ended(&self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

impl<S: Service> Context<S> {
    pub(crate) fn new(
        service: S,
        config: Config,
        tls: Option<Configs>,
        stats: Arc<NetStats>,
        pool: Pool,
        begun: Instant,
    ) -> Rc<Self> {
        let greeting = config.accepts_h2.then(|| h2::greeting(&config.h2));
        let handshakes =
            tls.map(|configs| Rc::new(Handshakes::new(configs, config.handshakes_max, greeting, Arc::clone(&stats))));
        let standing = StandingLines::new(config.server.as_ref());
        let (spares, shedding, supplies) = (Rc::default(), Shedding::new(pool.clone()), Supplies::new(pool));
        let (connections, clients, paused) = Default::default();
        let scratch = DecodeRoom::new(config.h2.head_bytes_max.max(config.h3.head_bytes_max));
        Rc::new(Context {
            service,
            config,
            handshakes,
            spares,
            supplies,
            standing,
            scratch,
            stats,
            connections,
            clients,
            shedding,
            paused,
            begun,
            age: Cell::new((begun, 0)),
        })
    }
}

impl<S> Context<S> {
    /// How long it has been there, in nanoseconds: a moment in half the room. Reckoned once for all that ask in the same turn.
    #[inline]
    pub(crate) fn age(&self, now: Instant) -> u64 {
        match self.age.get() {
            (at, age) if at == now => age,
            _ => {
                let age = nanoseconds(now.saturating_duration_since(self.begun));
                self.age.set((now, age));
                age
            }
        }
    }

    /// The first step of the order of shedding, for somebody who wants memory.
    #[inline]
    pub(crate) fn shed(&self, now: Instant) {
        if self.shedding.is_low() && self.shedding.cut_one(now) {
            self.stats.shed_readers.add(1);
        }
    }
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a connection shares with the others of its server. It counts among them while this lives.
pub(crate) struct Counted<S> {
    context: Rc<Context<S>>,
    /// Whose it counts as, where clients are counted.
    client: Option<Client>,
}

impl<S> Counted<S> {
    pub(crate) fn new(context: &Rc<Context<S>>) -> Self {
        context.connections.set(context.connections.get() + 1);
        context.stats.connections.add(1);
        context.stats.connections_open.add(1);
        Counted { context: Rc::clone(context), client: None }
    }

    /// Counts it as its client's. False if that has as many as it may have, and is to have no further one.
    pub(crate) fn admit(&mut self, address: impl FnOnce() -> Option<IpAddr>) -> bool {
        let Some(count_max) = self.config.connections_per_client_max else { return true };
        // Who has no address any more is gone.
        let Some(address) = address() else { return true };
        self.client = self.clients.enter(address, count_max);
        if self.client.is_none() {
            self.stats.clients_refused.add(1);
        }
        self.client.is_some()
    }
}

impl<S> Deref for Counted<S> {
    type Target = Context<S>;

    #[inline(always)]
    fn deref(&self) -> &Context<S> {
        &self.context
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.clients.leave(client);
        }
        self.stats.connections_open.subtract(1);
        self.connections.set(self.connections.get() - 1);
        self.paused.one_has_ended();
    }
}

/// The shard's pool has no chunk as large as is needed.
#[derive(Debug)]
pub(crate) struct Exhausted;

/// Bytes that the heads of most responses fit in.
const HEAD_BYTES_USUAL: usize = 256;

/// What is answered in place of a handler that takes too long, or is not asked.
#[cold]
fn unavailable(why: &'static str) -> Response {
    static TEXT: Made = Made::new(CONTENT_TYPE, HeaderValue::from_static("text/plain"), "Content-Type: text/plain\r\n");
    let mut response = Response::with_type(&TEXT, Content::from(why));
    response.status = StatusCode::SERVICE_UNAVAILABLE;
    response
}
