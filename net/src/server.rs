//! Serving an address: all shards listen on it, each accepts its own connections and runs one task for each.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use platform::ListenOptions;
use shards::{Alarm, Listening, Scope, Shard, SpawnError};

use crate::conn::{Config, Context, h1};
use crate::limits::{ACCEPT_PAUSE, DRAIN_GRACE};
use crate::stats::NetStats;
use crate::{Error, Listener, Result, Service, TcpStream};

/// One shard's part in serving an address.
#[derive(Debug)]
pub struct Server {
    shard: Shard,
    listener: Listener,
    address: SocketAddr,
    is_speaker: bool,
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
        Ok(Server { shard: shard.clone(), listener: Listener::adopt(shard, socket)?, address, is_speaker })
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
        let context = Context::new(service, config, stats, self.shard.pool().clone());
        let connections = self.shard.scope().child("connections").map_err(|_| Error::Spawn(SpawnError::Full))?;
        let mut accepting = Accepting {
            alarm: self.shard.alarm(self.shard.now()),
            shard: self.shard,
            listener: self.listener,
            connections,
            is_pausing: false,
            drain: Cell::new(false),
        };
        let mut number = 0u32;
        while let Some(stream) = poll_fn(|cx| accepting.poll_accept(cx, &context)).await {
            number = number.wrapping_add(1);
            let pass = accepting.connections.pass();
            if let Err(error) = accepting.shard.spawn(h1::serve(Rc::clone(&context), stream, pass, number)) {
                tracing::warn!("a connection was closed: {error}");
            }
        }
        let Accepting { listener, connections, .. } = accepting;
        drop(listener);
        connections.gate().await;
        Ok(())
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

struct Accepting {
    shard: Shard,
    listener: Listener,
    /// Its gate is closed while a connection lives, or a task that a request has left.
    connections: Scope,
    alarm: Alarm,
    /// The alarm rings when accepting may go on.
    is_pausing: bool,
    /// The alarm rings when the accept queue has had its last chance.
    drain: Cell<bool>,
}

impl Accepting {
    /// The next connection; `None` when no more are taken.
    fn poll_accept<S>(&mut self, cx: &mut TaskContext<'_>, context: &Context<S>) -> Poll<Option<TcpStream>> {
        loop {
            if self.shard.is_draining() && !self.drain.replace(true) {
                // Closing one socket of a group resets what waits in its queue, so the queue is emptied first.
                self.is_pausing = false;
                self.alarm.set(self.shard.now() + DRAIN_GRACE);
            }
            if self.is_pausing {
                ready!(self.alarm.poll_rung(cx));
                self.is_pausing = false;
            }
            if context.connections.get() >= context.config.connections_max && !self.drain.get() {
                self.pause(context);
                continue;
            }
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok(stream)) => return Poll::Ready(Some(stream)),
                Poll::Ready(Err(Error::Io(error))) if error.is_scarcity() => {
                    tracing::warn!("accepting pauses: {error}");
                    self.pause(context);
                }
                // A connection that was gone before it was accepted.
                Poll::Ready(Err(Error::Io(platform::Error::Aborted | platform::Error::Reset))) => {}
                Poll::Ready(Err(error)) => {
                    tracing::error!("accepting pauses: {error}");
                    self.pause(context);
                }
                Poll::Pending if self.drain.get() => return self.alarm.poll_rung(cx).map(|()| None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn pause<S>(&mut self, context: &Context<S>) {
        context.stats.accept_pauses.add(1);
        self.is_pausing = true;
        self.alarm.set(self.shard.now() + ACCEPT_PAUSE);
    }
}
