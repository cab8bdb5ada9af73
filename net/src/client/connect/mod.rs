//! How a connection comes to be: from a place to a stream that a protocol can be spoken over.
//!
//! Addresses race (`race.rs`); whichever answers first is secured, if it must be, and the others are dropped. If it turns out
//! not to be who it should, those that are left race again.

mod race;

use std::time::Instant;

use platform::SocketOption;
use shards::Shard;

use super::pool::Pool;
use super::resolve::{self, Addresses};
use super::target::{Place, Protocols, Target};
use super::trust::Expected;
use super::{Error, Step};
use crate::conn::client::Shared;
use crate::{TcpStream, Transport};

/// Connects to a server, over TLS if it is of `https`, within the time that the client gives it.
pub(super) async fn connect(pool: &Pool, target: &Target<'_>, protocols: Protocols) -> Result<Transport, Error> {
    let Shared { shard, config, .. } = &*pool.shared;
    let deadline = shard.clock() + config.connect_time_max;
    let secured = match target.is_secure {
        true => Some(pool.trust.expects(shard, config, target, protocols == Protocols::Http2).await?),
        false => None,
    };
    let addresses = match &target.place {
        Place::Fixed(address) => Addresses::from([*address]),
        Place::Name(name, port) => resolve::addresses(pool, name, *port, deadline).await?,
    };
    open(shard, addresses, secured.as_ref(), deadline).await
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
