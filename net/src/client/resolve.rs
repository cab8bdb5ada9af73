//! From a name to a connection: the addresses of a host, and a connection to the first that accepts one.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use platform::SocketOption;
use shards::Shard;
use smallvec::{SmallVec, smallvec};

use super::pool::Pool;
use super::target::{Target, Where};
use super::{Config, Error, Step};
use crate::conn::client::Shared;
use crate::limits::CLIENT_ADDRESSES_MAX;
use crate::{TcpStream, Transport};

/// What gives the addresses of a name: the system, unless said. It may block: it runs on the runtime's pool of threads.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

pub(super) type Addresses = SmallVec<[SocketAddr; 1]>;

impl Resolver {
    /// A resolver by a function of name and port: a table, say, or a test's. The addresses are tried in their order.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Resolver(Arc::new(lookup))
    }
}

/// The system's, as other programs ask it: its files, then its name servers, in the order that it prefers.
impl Default for Resolver {
    fn default() -> Self {
        Resolver::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Connects to a server by TCP, over TLS if it is of `https`.
pub(super) async fn connect(pool: &Pool, target: &Target<'_>) -> Result<Transport, Error> {
    let Shared { shard, config, .. } = &*pool.shared;
    let deadline = shard.clock() + config.connect_time_max;
    let secured = match target.is_secure {
        true => Some(pool.trust.expects(shard, config, target).await?),
        false => None,
    };
    let addresses = addresses(shard, config, &target.at, deadline).await?;
    first(shard, &addresses, deadline, async |address| {
        let opened = async {
            let stream = Transport::from(TcpStream::connect(shard, address).await?);
            // What is gathered leaves as one; nothing is gained by waiting for more.
            let _ = stream.set_option(SocketOption::NoDelay(true));
            match &secured {
                None => Ok(stream),
                Some(expects) => expects.secure(stream).await,
            }
        };
        opened.await.map_err(|error| Error::Connect { address, error: Box::new(error) })
    })
    .await
}

/// The first connection that comes to be. The addresses are tried one after the other, each for its share of the time that is
/// left, so that one that swallows everything does not hide the others.
pub(super) async fn first<T>(
    shard: &Shard,
    addresses: &[SocketAddr],
    deadline: Instant,
    connect: impl AsyncFn(SocketAddr) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut failure = Error::TimedOut(Step::Connect);
    for (tried, &address) in addresses.iter().enumerate() {
        let time = deadline.saturating_duration_since(shard.clock()) / (addresses.len() - tried) as u32;
        failure = match shard.timeout(time, connect(address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => Error::TimedOut(Step::Connect),
        };
    }
    Err(failure)
}

pub(super) async fn addresses(
    shard: &Shard,
    config: &Config,
    at: &Where<'_>,
    deadline: Instant,
) -> Result<Addresses, Error> {
    let (name, port) = match at {
        Where::Name(name, port) => (name, *port),
        Where::Fixed(address) => return Ok(smallvec![*address]),
    };
    let failure = |why: String| Error::Resolve { host: (&**name).into(), why: why.into() };
    let (host, Resolver(lookup)) = (name.to_string(), config.resolver.clone());
    let found = shard.deadline(deadline, shard.offload(move || lookup(&host, port))).await;
    let mut found = match found.map_err(|_| Error::TimedOut(Step::Connect))? {
        Ok(found) => found.map_err(|error| failure(error.to_string()))?,
        Err(error) => return Err(failure(error.to_string())),
    };
    found.truncate(CLIENT_ADDRESSES_MAX);
    if found.is_empty() {
        return Err(failure("there is none".to_owned()));
    }
    Ok(found.into())
}
