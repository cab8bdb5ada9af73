//! How a connection comes to be: from a place to a stream that a protocol can be spoken over.
//!
//! Addresses race (`race.rs`); whichever answers first is secured, if it must be, and the others are dropped. If it turns out
//! not to be who it should, those that are left race again.

mod race;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use platform::SocketOption;
use shards::Shard;

use super::pool::Pool;
use super::resolve::{self, Addresses};
use super::target::{Place, Protocols, Target};
use super::trust::Expected;
use super::{Error, Step};
use crate::conn::client::Shared;
use crate::limits::CLIENT_UNIX_PAUSE;
use crate::{TcpStream, Transport};

/// Connects to a server, over TLS if it is of `https`, within the time that the client gives it.
pub(super) async fn connect(pool: &Pool, target: &Target<'_>, protocols: Protocols) -> Result<Transport, Error> {
    let Shared { shard, config, .. } = &*pool.shared;
    let deadline = shard.clock() + config.connect_time_max;
    let secured = match target.is_secure {
        true => Some(pool.trust.expects(shard, config, target, protocols).await?),
        false => None,
    };
    let late = |_| Error::TimedOut(Step::Connect);
    let stream = match (&target.place, target.proxy(config.proxy.as_ref())) {
        (Place::Unix(path), _) => shard.deadline(deadline, at_path(shard, path)).await.map_err(late)??,
        (Place::Fixed(address), None) => {
            return open(shard, Addresses::from([*address]), secured.as_ref(), deadline).await;
        }
        (Place::Name(name, port), None) => {
            let addresses = resolve::addresses(pool, name, *port, deadline).await?;
            return open(shard, addresses, secured.as_ref(), deadline).await;
        }
        (place, Some(proxy)) => {
            let addresses = match proxy.host.parse() {
                Ok(ip) => Addresses::from([SocketAddr::new(ip, proxy.port)]),
                Err(_) => resolve::addresses(pool, &proxy.host, proxy.port, deadline).await?,
            };
            let stream = open(shard, addresses, None, deadline).await?;
            shard.deadline(deadline, proxy.through(pool, stream, place)).await.map_err(late)??
        }
    };
    let Some(expects) = secured else { return Ok(stream) };
    let secured = shard.deadline(deadline, expects.secure(stream)).await.map_err(late)?;
    secured.map_err(|error| match &target.place {
        Place::Unix(path) => Error::Unix { path: path.as_ref().into(), error: Box::new(error) },
        _ => Error::Proxy { why: format!("behind it, {error}").into() },
    })
}

/// A connection to a socket of this machine, once its queue has room.
async fn at_path(shard: &Shard, path: &Path) -> Result<Transport, Error> {
    loop {
        match TcpStream::at_path(shard, path) {
            Ok(stream) => return Ok(stream.into()),
            Err(crate::Error::Io(platform::Error::Full)) => shard.sleep(CLIENT_UNIX_PAUSE).await,
            Err(error) => return Err(Error::Unix { path: path.into(), error: Box::new(error) }),
        }
    }
}

/// A connection to one of these addresses.
async fn open(
    shard: &Shard,
    addresses: Addresses,
    secured: Option<&Expected>,
    deadline: Instant,
) -> Result<Transport, Error> {
    let mut left = race::interleave(addresses);
    let mut failure = Error::TimedOut(Step::Connect);
    while !left.is_empty() {
        let first = shard.deadline(deadline, race::first(shard, &mut left)).await;
        let (address, tcp) = match first {
            Ok(Ok(first)) => first,
            Ok(Err(refused)) => return Err(refused),
            Err(_) => return Err(failure),
        };
        let stream = ready_to_speak(tcp);
        let Some(expects) = secured else { return Ok(stream) };
        // One that accepts and then says nothing does not hide the others.
        let time = deadline.saturating_duration_since(shard.clock()) / (1 + left.len()) as u32;
        failure = match shard.timeout(time, expects.secure(stream)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Error::Connect { address, error: Box::new(error) },
            Err(_) => Error::TimedOut(Step::Connect),
        };
    }
    Err(failure)
}

/// What is gathered leaves as one; nothing is gained by waiting for more.
fn ready_to_speak(tcp: TcpStream) -> Transport {
    let stream = Transport::from(tcp);
    let _ = stream.set_option(SocketOption::NoDelay(true));
    stream
}

#[cfg(test)]
mod tests;
