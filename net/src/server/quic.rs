//! Serving an address by QUIC: each shard has a socket of its own there, and runs one task for each of its connections.

use std::fmt;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::Arc;
use std::task::Poll;

use platform::{DatagramOptions, ListenOptions};
use rustls::ServerConfig;
use shards::combine::race;
use shards::{Listening, Pass, Shard, SpawnError, StartError};

use super::Server;
use crate::conn::{Config, Context, Counted, h3, hq};
use crate::limits::PORTS_TRIED_MAX;
use crate::quic::{self, Endpoint};
use crate::stats::NetStats;
use crate::{Error, Result, Service, Spread};

/// One shard's part in serving an address by QUIC.
pub struct QuicServer {
    shard: Shard,
    listening: Listening,
}

impl QuicServer {
    /// Waits until every shard has come to the same call, then opens its socket: see [`shards::listen_datagrams`].
    ///
    /// Errors: the address cannot be had, or the shards do not agree.
    pub async fn bind(
        shard: &Shard,
        address: SocketAddr,
        config: &quic::Config,
        location: &'static Location<'static>,
    ) -> Result<Self> {
        let options = DatagramOptions { numbered_at: config.is_steered.then_some(quic::NUMBERED_AT) };
        let listening = shards::listen_datagrams(shard, address, &options, location).await?;
        Ok(QuicServer { shard: shard.clone(), listening })
    }

    /// Listens for connections and opens the sockets of QUIC at one address. Where the kernel is to choose the port, it must be free
    /// for both, and so it is asked again, a few times, if what it has chosen for the one is taken for the other.
    ///
    /// Errors: as [`bind`](QuicServer::bind), for either.
    pub async fn bind_both(
        shard: &Shard,
        address: SocketAddr,
        (options, spread): (&ListenOptions, Spread),
        config: &quic::Config,
        location: &'static Location<'static>,
    ) -> Result<(Server, Self)> {
        let mut left = PORTS_TRIED_MAX;
        loop {
            left -= 1;
            let server = Server::bind_spread(shard, address, options, spread, location).await?;
            match QuicServer::bind(shard, server.address(), config, location).await {
                // It is the same for all shards.
                Err(Error::Start(StartError::Listen(error)))
                    if error.error == platform::Error::AddressInUse && address.port() == 0 && left > 0 => {}
                bound => return bound.map(|quic| (server, quic)),
            }
        }
    }

    /// The address, with the port that the kernel chose for port zero.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// Whether this shard is the one to speak of it for all.
    pub fn is_speaker(&self) -> bool {
        self.listening.is_speaker
    }

    /// Serves HTTP/3 until the drain begins, then until the last connection has ended. Each that begins asks what with.
    ///
    /// Errors: what hand-shakes are made with has no cipher suite for QUIC.
    pub async fn serve<S: Service + 'static>(
        self,
        service: S,
        config: Config,
        with: impl Fn() -> Arc<ServerConfig>,
        stats: Arc<NetStats>,
    ) -> Result<()> {
        let QuicServer { shard, listening } = self;
        let quic = config.for_quic();
        let context = Context::new(service, config, None, Arc::clone(&stats), shard.pool().clone(), shard.now());
        let connections = shard.scope().child("connections").map_err(|_| Error::Spawn(SpawnError::Full))?;
        shard.serves();
        let endpoint = Endpoint::adopt(&shard, listening, quic, stats)?;
        let mut number = 0;
        let begin = |connection: quic::Connection| {
            let mut context = Counted::new(&context);
            if context.admit(|| Some(connection.peer_address().ip())) {
                number = u32::wrapping_add(number, 1);
                let work = speak(context, connection, connections.pass(), number);
                // As over TCP: who drops the server is heard.
                let over = connections.run(pending::<()>());
                let work = race((work, async { over.await.unwrap_or(()) }));
                if let Err(error) = shard.spawn(work).map(|task| task.detach()) {
                    tracing::warn!("a connection was closed: {error}");
                }
            }
        };
        endpoint.serve(with, begin).await?;
        connections.gate().await;
        Ok(())
    }
}

/// Serves a connection by the protocol that is agreed on.
async fn speak<S: Service + 'static>(context: Counted<S>, mut connection: quic::Connection, pass: Pass, number: u32) {
    let first = poll_fn(|cx| match connection.poll(cx) {
        Poll::Ready(event) => Poll::Ready(event),
        Poll::Pending => {
            connection.flush(cx);
            Poll::Pending
        }
    });
    if let quic::Event::Closed(_) = first.await {
        return poll_fn(|cx| connection.poll_drained(cx)).await;
    }
    if connection.protocol().as_deref() == Some(hq::PROTOCOL) {
        hq::serve(context, connection, pass).await;
    } else {
        h3::serve(context, connection, pass, number).await;
    }
}

impl fmt::Debug for QuicServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicServer").field("address", &self.listening.address).finish_non_exhaustive()
    }
}
