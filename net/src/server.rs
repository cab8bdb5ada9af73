//! Serving an address: all shards listen on it and each accepts its own connections, or one accepts for all; each runs one task
//! for each of its connections.

mod quic;

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use platform::ListenOptions;
use rustls::ServerConfig;
use shards::combine::race;
use shards::{Alarm, Kept, Listening, Scope, Shard, SpawnError, Tally, TaskGroup};

use crate::conn::{Config, Context, Counted, h1};
use crate::limits::{ACCEPT_PAUSE, ACCEPT_PAUSE_MIN, LAST_ACCEPT_TIME, LAST_ACCEPTS_MAX};
use crate::spread::{Arrivals, Seat, Seated, Spread, Spreader};
use crate::stats::NetStats;
use crate::{Error, Listener, Result, Service, TcpStream, tls};

pub use self::quic::QuicServer;

/// One shard's part in serving an address.
pub struct Server {
    shard: Shard,
    source: Source,
    tls: Option<tls::Configs>,
    address: SocketAddr,
    is_speaker: bool,
}

/// Where a shard's connections come from.
#[derive(Debug)]
enum Source {
    /// Sockets of its own; one, unless another process has left more.
    Own(Listeners),
    /// All sockets, whose connections it assigns to all.
    ForAll { listeners: Listeners, number: usize, tallies: Arc<[Tally]> },
    /// The shard that has the sockets.
    Another(Arrivals),
}

/// What one shard accepts from.
#[derive(Debug)]
struct Listeners {
    all: Vec<Listener>,
    /// What a successor gets of them, as long as this process accepts.
    kept: Kept,
}

impl Server {
    /// Waits until every shard has come to the same call, then listens: see [`shards::listen`].
    ///
    /// Errors: the address cannot be had, or the shards do not agree.
    pub async fn bind(
        shard: &Shard,
        address: SocketAddr,
        options: &ListenOptions,
        location: &'static Location<'static>,
    ) -> Result<Self> {
        Server::bind_spread(shard, address, options, Spread::ByKernel, location).await
    }

    /// [`bind`](Server::bind), with the connections spread in this way.
    pub async fn bind_spread(
        shard: &Shard,
        address: SocketAddr,
        options: &ListenOptions,
        spread: Spread,
        location: &'static Location<'static>,
    ) -> Result<Self> {
        let listening = match spread {
            Spread::ByKernel => shards::listen(shard, address, options, location).await?,
            Spread::ByLoad => shards::listen_on_one(shard, address, options, location).await?,
        };
        let Listening { sockets, on_one, address, is_speaker, number, tallies, kept, .. } = listening;
        let all = sockets.into_iter().map(|socket| Listener::adopt(shard, socket)).collect::<Result<Vec<_>>>()?;
        let source = match (on_one, all.is_empty()) {
            (false, _) => Source::Own(Listeners { all, kept }),
            (true, false) => Source::ForAll { listeners: Listeners { all, kept }, number, tallies },
            (true, true) => Source::Another(Arrivals::new(shard, number, tallies)),
        };
        Ok(Server { shard: shard.clone(), source, tls: None, address, is_speaker })
    }

    /// Speaks TLS: each connection that begins asks what with. Records of TLS 1.3 are cheaper if `enable_secret_extraction` is
    /// set there: they are then neither allocated nor copied.
    pub fn secured(self, with: impl Fn() -> Arc<ServerConfig> + 'static) -> Self {
        Server { tls: Some(Rc::new(with)), ..self }
    }

    /// The address, with the port that the kernel chose for port zero.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether this shard is the one to speak of it for all.
    pub fn is_speaker(&self) -> bool {
        self.is_speaker
    }

    /// Accepts and serves until the drain begins, then until the last connection has ended.
    pub async fn serve<S: Service + 'static>(self, service: S, config: Config, stats: Arc<NetStats>) -> Result<()> {
        let Server { shard, source, tls, .. } = self;
        let context = Context::new(service, config, tls, stats, shard.pool().clone(), shard.now());
        let connections = shard.scope().child("connections").map_err(|_| Error::Spawn(SpawnError::Full))?;
        shard.serves();
        // Who drops the server ends them; and who ends the shard, which is heard here for all of them.
        let mut tasks = shard.task_group();
        let serving = async {
            match source {
                Source::Own(listeners) => accept(&shard, listeners, None, &connections, &mut tasks, &context).await,
                Source::ForAll { listeners, number, tallies } => {
                    let spreader = Spreader::new(&shard, number, tallies, Arc::clone(&context.stats));
                    accept(&shard, listeners, Some(spreader), &connections, &mut tasks, &context).await;
                }
                Source::Another(mut arrivals) => {
                    let (mut number, drain_time_min) = (0, context.config.drain_time_min);
                    while let Some((stream, seat)) =
                        poll_fn(|cx| arrivals.poll_next(cx, drain_time_min, &context.stats)).await
                    {
                        number = u32::wrapping_add(number, 1);
                        begin(&connections, &mut tasks, &context, stream, Some(seat), number);
                    }
                }
            }
            connections.gate().await;
        };
        race((serving, async {
            let _ = connections.cancelled().await;
        }))
        .await;
        drop(tasks);
        connections.gate().await;
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_secured = self.tls.is_some();
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("is_secured", &is_secured)
            .finish_non_exhaustive()
    }
}

/// Accepts until no more are taken.
async fn accept<S: Service + 'static>(
    shard: &Shard,
    listeners: Listeners,
    spreader: Option<Spreader>,
    connections: &Scope,
    tasks: &mut TaskGroup,
    context: &Rc<Context<S>>,
) {
    let mut accepting = Accepting {
        alarm: shard.alarm(shard.now()),
        shard,
        listeners,
        first: 0,
        spreader,
        is_pausing: false,
        leave: Leave::NotYet,
        last_accepts: 0,
    };
    let mut number = 0;
    while let Some((stream, seat)) = poll_fn(|cx| accepting.poll_accept(cx, context)).await {
        number = u32::wrapping_add(number, 1);
        begin(connections, tasks, context, stream, seat, number);
    }
    let Accepting { listeners, spreader, .. } = accepting;
    drop(listeners);
    if let Some(mut spreader) = spreader {
        spreader.end().await;
    }
}

/// Starts a connection's task. `number` tells it from the server's others.
fn begin<S: Service + 'static>(
    connections: &Scope,
    tasks: &mut TaskGroup,
    context: &Rc<Context<S>>,
    stream: TcpStream,
    seat: Option<Seat>,
    number: u32,
) {
    let mut context = Counted::new(context);
    // Behind a proxy it is not known yet whose it is.
    if !context.config.proxy_protocol && !context.admit(|| Some(stream.peer_address().ok()?.ip())) {
        return;
    }
    let work = h1::serve(context, stream.into(), connections.pass(), number);
    let spawned = match seat {
        None => tasks.spawn(work),
        Some(seat) => tasks.spawn(Seated::new(work, seat)),
    };
    if let Err(error) = spawned {
        tracing::warn!("a connection was closed: {error}");
    }
}

/// Listens and serves in one call: what a `main` without further wishes needs.
pub async fn serve<S: Service + 'static>(
    shard: &Shard,
    address: SocketAddr,
    service: S,
    location: &'static Location<'static>,
) -> Result<()> {
    let server = Server::bind(shard, address, &ListenOptions::default(), location).await?;
    server.serve(service, Config::default(), Arc::default()).await
}

struct Accepting<'s> {
    shard: &'s Shard,
    listeners: Listeners,
    /// Which listener is asked first: each in turn.
    first: usize,
    /// Assigns what is accepted, if that is for all.
    spreader: Option<Spreader>,
    alarm: Alarm,
    /// The alarm rings when accepting may go on.
    is_pausing: bool,
    leave: Leave,
    /// How often a connection was found in a queue after accepting had stopped.
    last_accepts: u32,
}

/// How far the end of accepting has come. Closing one socket of a group resets what waits in its queue, and what the kernel
/// has accepted already would be closed unseen: so the queue is emptied first, and every answer of the kernel's awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    NotYet,
    /// Accepting goes on until then.
    At(Instant),
    /// No more are asked for; those that the kernel has accepted are still to come.
    Stopped,
}

impl Accepting<'_> {
    /// The next connection of this shard; `None` when no more are taken.
    fn poll_accept<S>(
        &mut self,
        cx: &mut TaskContext<'_>,
        context: &Context<S>,
    ) -> Poll<Option<(TcpStream, Option<Seat>)>> {
        loop {
            if self.shard.is_draining() && self.leave == Leave::NotYet {
                // A successor accepts from the same queue.
                let goes_on = !self.listeners.kept.is_taken();
                self.is_pausing = false;
                self.leave_after(if goes_on { context.config.drain_time_min } else { Duration::ZERO });
            }
            if self.is_pausing {
                if !context.paused.is_waited_for() {
                    // One has ended: what it had is there in a moment.
                    self.alarm.set(self.alarm.deadline().min(self.shard.now() + ACCEPT_PAUSE_MIN));
                }
                ready!(self.alarm.poll_rung(cx));
                self.is_pausing = false;
                if let Leave::At(at) = self.leave {
                    self.alarm.set(at);
                }
            }
            if self.leave == Leave::NotYet && (self.is_full(context) || self.is_shed(context)) {
                self.pause(cx, context);
                continue;
            }
            match self.poll_listeners(cx) {
                Poll::Ready(Some(Ok(stream))) => match &mut self.spreader {
                    None => return Poll::Ready(Some((stream, None))),
                    Some(spreader) => {
                        if let Some((stream, seat)) = spreader.assign(stream) {
                            return Poll::Ready(Some((stream, Some(seat))));
                        }
                    }
                },
                Poll::Ready(Some(Err(Error::Io(error)))) if error.is_scarcity() => {
                    tracing::warn!("accepting pauses: {error}");
                    self.pause(cx, context);
                }
                // A connection that was gone before it was accepted.
                Poll::Ready(Some(Err(Error::Io(platform::Error::Aborted | platform::Error::Reset)))) => {}
                Poll::Ready(Some(Err(error))) => {
                    tracing::error!("accepting pauses: {error}");
                    self.pause(cx, context);
                }
                Poll::Ready(None) if self.last_accepts < LAST_ACCEPTS_MAX && self.has_connection() => {
                    // One that came as accepting stopped. Its coming may have woken nobody else who accepts from this queue.
                    self.last_accepts += 1;
                    self.leave_after(LAST_ACCEPT_TIME);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    let Leave::At(_) = self.leave else { return Poll::Pending };
                    ready!(self.alarm.poll_rung(cx));
                    self.leave = Leave::Stopped;
                    self.listeners.all.iter_mut().for_each(Listener::stop);
                }
            }
        }
    }

    /// What comes of any listener; `None` when nothing more does.
    fn poll_listeners(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<TcpStream>>> {
        let (count, has_stopped) = (self.listeners.all.len(), self.leave == Leave::Stopped);
        let mut have_ended = true;
        for place in (0..count).map(|offset| (self.first + offset) % count) {
            let listener = &mut self.listeners.all[place];
            let polled = match has_stopped {
                true => listener.poll_rest(cx),
                false => listener.poll_accept(cx).map(Some),
            };
            match polled {
                Poll::Ready(Some(accepted)) => {
                    self.first = place + 1;
                    return Poll::Ready(Some(accepted));
                }
                Poll::Ready(None) => {}
                Poll::Pending => have_ended = false,
            }
        }
        if have_ended { Poll::Ready(None) } else { Poll::Pending }
    }

    fn leave_after(&mut self, time: Duration) {
        let at = self.shard.now() + time;
        self.leave = Leave::At(at);
        self.alarm.set(at);
    }

    fn has_connection(&self) -> bool {
        self.listeners.all.iter().any(Listener::has_connection)
    }

    fn is_full<S>(&self, context: &Context<S>) -> bool {
        let connections_max = context.config.connections_max;
        match &self.spreader {
            None => context.connections.get() >= connections_max,
            Some(spreader) => spreader.is_full(connections_max),
        }
    }

    /// The order of shedding, for a connection more.
    fn is_shed<S>(&self, context: &Context<S>) -> bool {
        context.shed(self.shard.now());
        let is_shed = context.shedding.holds_connections();
        if is_shed {
            context.stats.shed_accepts.add(1);
        }
        is_shed
    }

    /// Accepts nothing for a while, or until a connection has ended.
    fn pause<S>(&mut self, cx: &TaskContext<'_>, context: &Context<S>) {
        context.stats.accept_pauses.add(1);
        context.paused.wait_for(cx.waker());
        self.is_pausing = true;
        self.alarm.set(self.shard.now() + ACCEPT_PAUSE);
    }
}
