//! Serving an address: all shards listen on it and each accepts its own connections, or one accepts for all; each runs one task
//! for each of its connections.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use platform::ListenOptions;
use shards::{Alarm, Listening, OneListening, Scope, Shard, SpawnError, Tally};

use crate::conn::{Config, Context, Counted, h1};
use crate::limits::{ACCEPT_PAUSE, ACCEPT_PAUSE_MIN, DRAIN_GRACE};
use crate::spread::{Arrivals, Seat, Seated, Spread, Spreader};
use crate::stats::NetStats;
use crate::{Error, Listener, Result, Service, TcpStream};

/// One shard's part in serving an address.
#[derive(Debug)]
pub struct Server {
    shard: Shard,
    source: Source,
    address: SocketAddr,
    is_speaker: bool,
}

/// Where a shard's connections come from.
#[derive(Debug)]
enum Source {
    /// A socket of its own.
    Own(Listener),
    /// The one socket, whose connections it assigns to all.
    ForAll { listener: Listener, number: usize, tallies: Arc<[Tally]> },
    /// The shard that has the socket.
    Another(Arrivals),
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
        let Listening { socket, address, is_speaker } = shards::listen(shard, address, options, location).await?;
        let source = Source::Own(Listener::adopt(shard, socket)?);
        Ok(Server { shard: shard.clone(), source, address, is_speaker })
    }

    /// [`bind`](Server::bind), with the connections spread in this way.
    pub async fn bind_spread(
        shard: &Shard,
        address: SocketAddr,
        options: &ListenOptions,
        spread: Spread,
        location: &'static Location<'static>,
    ) -> Result<Self> {
        if spread == Spread::ByKernel {
            return Server::bind(shard, address, options, location).await;
        }
        let OneListening { socket, address, is_speaker, number, tallies } =
            shards::listen_on_one(shard, address, options, location).await?;
        let source = match socket {
            Some(socket) => Source::ForAll { listener: Listener::adopt(shard, socket)?, number, tallies },
            None => Source::Another(Arrivals::new(shard, number, tallies)),
        };
        Ok(Server { shard: shard.clone(), source, address, is_speaker })
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
        let Server { shard, source, .. } = self;
        let context = Context::new(service, config, stats, shard.pool().clone());
        let connections = shard.scope().child("connections").map_err(|_| Error::Spawn(SpawnError::Full))?;
        match source {
            Source::Own(listener) => accept(&shard, listener, None, &connections, &context).await,
            Source::ForAll { listener, number, tallies } => {
                let spreader = Spreader::new(&shard, number, tallies, Arc::clone(&context.stats));
                accept(&shard, listener, Some(spreader), &connections, &context).await;
            }
            Source::Another(mut arrivals) => {
                let mut number = 0;
                while let Some((stream, seat)) = poll_fn(|cx| arrivals.poll_next(cx, &context.stats)).await {
                    number = u32::wrapping_add(number, 1);
                    begin(&connections, &context, stream, Some(seat), number);
                }
            }
        }
        connections.gate().await;
        Ok(())
    }
}

/// Accepts until no more are taken.
async fn accept<S: Service + 'static>(
    shard: &Shard,
    listener: Listener,
    spreader: Option<Spreader>,
    connections: &Scope,
    context: &Rc<Context<S>>,
) {
    let mut accepting = Accepting {
        alarm: shard.alarm(shard.now()),
        shard,
        listener,
        spreader,
        is_pausing: false,
        drain: Cell::new(false),
    };
    let mut number = 0;
    while let Some((stream, seat)) = poll_fn(|cx| accepting.poll_accept(cx, context)).await {
        number = u32::wrapping_add(number, 1);
        begin(connections, context, stream, seat, number);
    }
    let Accepting { listener, spreader, .. } = accepting;
    drop(listener);
    if let Some(mut spreader) = spreader {
        spreader.end().await;
    }
}

/// Starts a connection's task. `number` tells it from the server's others.
fn begin<S: Service + 'static>(
    connections: &Scope,
    context: &Rc<Context<S>>,
    stream: TcpStream,
    seat: Option<Seat>,
    number: u32,
) {
    let shard = stream.shard().clone();
    let mut context = Counted::new(context);
    // Behind a proxy it is not known yet whose it is.
    if !context.config.proxy_protocol && !context.admit(|| Some(stream.peer_address().ok()?.ip())) {
        return;
    }
    let work = h1::serve(context, stream, connections.pass(), number);
    let spawned = match seat {
        None => shard.spawn(work).map(|task| task.detach()),
        Some(seat) => shard.spawn(Seated::new(work, seat)).map(|task| task.detach()),
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
    listener: Listener,
    /// Assigns what is accepted, if that is for all.
    spreader: Option<Spreader>,
    alarm: Alarm,
    /// The alarm rings when accepting may go on.
    is_pausing: bool,
    /// The alarm rings when the accept queue has had its last chance.
    drain: Cell<bool>,
}

impl Accepting<'_> {
    /// The next connection of this shard; `None` when no more are taken.
    fn poll_accept<S>(
        &mut self,
        cx: &mut TaskContext<'_>,
        context: &Context<S>,
    ) -> Poll<Option<(TcpStream, Option<Seat>)>> {
        loop {
            if self.shard.is_draining() && !self.drain.replace(true) {
                // Closing one socket of a group resets what waits in its queue, so the queue is emptied first.
                self.is_pausing = false;
                self.alarm.set(self.shard.now() + DRAIN_GRACE);
            }
            if self.is_pausing {
                if !context.paused.is_waited_for() {
                    // One has ended: what it had is there in a moment.
                    self.alarm.set(self.alarm.deadline().min(self.shard.now() + ACCEPT_PAUSE_MIN));
                }
                ready!(self.alarm.poll_rung(cx));
                self.is_pausing = false;
            }
            if !self.drain.get() && (self.is_full(context) || self.is_shed(context)) {
                self.pause(cx, context);
                continue;
            }
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(stream)) => match &mut self.spreader {
                    None => return Poll::Ready(Some((stream, None))),
                    Some(spreader) => {
                        if let Some((stream, seat)) = spreader.assign(stream) {
                            return Poll::Ready(Some((stream, Some(seat))));
                        }
                    }
                },
                Poll::Ready(Err(Error::Io(error))) if error.is_scarcity() => {
                    tracing::warn!("accepting pauses: {error}");
                    self.pause(cx, context);
                }
                // A connection that was gone before it was accepted.
                Poll::Ready(Err(Error::Io(platform::Error::Aborted | platform::Error::Reset))) => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!("accepting pauses: {error}");
                    self.pause(cx, context);
                }
                Poll::Pending if self.drain.get() => return self.alarm.poll_rung(cx).map(|()| None),
                Poll::Pending => return Poll::Pending,
            }
        }
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
