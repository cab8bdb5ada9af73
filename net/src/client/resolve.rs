//! From a name to addresses: by a function that may block, such as the system's, or by a resolver of our own (`dns/`).

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::Shard;
use smallvec::SmallVec;

use super::dns::{self, Names};
use super::{Config, Error, Step};
use crate::limits::CLIENT_ADDRESSES_MAX;

/// What gives the addresses of a name: the system, unless said.
#[derive(Clone)]
pub struct Resolver(Source);

#[derive(Clone)]
enum Source {
    Function(Arc<Find>),
    Own(Arc<dns::Config>),
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The addresses, in the order that its resolver prefers.
    pub addresses: Vec<SocketAddr>,
    /// How long they hold, if that is known.
    pub time: Option<Duration>,
}

type Find = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Addresses of one server.
pub(super) type Addresses = SmallVec<[SocketAddr; 1]>;

impl Resolver {
    /// A resolver by a function of name and port: a table, say, or a test's. It may block: it runs on the runtime's pool of
    /// threads. The addresses are tried in their order.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Resolver(Source::Function(Arc::new(lookup)))
    }

    /// A resolver of our own, that asks name servers from the shard and knows how long their answers hold. Of the system's
    /// settings it reads the usual files, and nothing else that a system may have. All who have a clone of it on a shard share
    /// what it knows.
    pub fn dns(config: dns::Config) -> Self {
        Resolver(Source::Own(Arc::new(config)))
    }

    /// Looks a name up, as long as that takes.
    ///
    /// Errors: it has no address, or nobody can say; what the resolver says.
    pub(crate) async fn look_up(&self, shard: &Shard, host: &str, port: u16) -> Result<Lookup, String> {
        match &self.0 {
            Source::Function(find) => {
                let (name, find) = (host.to_owned(), Arc::clone(find));
                let found = shard.offload(move || find(&name, port)).await;
                let found = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                Ok(Lookup { addresses: found, time: None })
            }
            Source::Own(config) => {
                let names = Names::of(shard, config);
                let (found, time) = shard.lease(names.addresses(shard, host)).await?;
                let addresses = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                Ok(Lookup { addresses, time })
            }
        }
    }

    /// Where a service is, as long as that takes to find out.
    pub(super) async fn services(&self, shard: &Shard, name: &str) -> Result<(Vec<dns::Service>, Duration), String> {
        match &self.0 {
            Source::Function(_) => Err("services are found by a resolver of our own alone".to_owned()),
            Source::Own(config) => Names::of(shard, config).services(shard, name).await,
        }
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

/// The addresses of a name, in time. There is one at the least.
pub(super) async fn look_up(
    shard: &Shard,
    config: &Config,
    name: &str,
    port: u16,
    deadline: Instant,
) -> Result<Lookup, Error> {
    let failure = |why: String| Error::Resolve { host: name.into(), why: why.into() };
    let found = shard.deadline(deadline, config.resolver.look_up(shard, name, port)).await;
    let found = found.map_err(|_| Error::TimedOut(Step::Connect))?.map_err(failure)?;
    if found.addresses.is_empty() { Err(failure("there is none".to_owned())) } else { Ok(found) }
}

/// Those of them that are tried, in the order that the resolver prefers.
pub(super) async fn addresses(
    shard: &Shard,
    config: &Config,
    name: &str,
    port: u16,
    deadline: Instant,
) -> Result<Addresses, Error> {
    let Lookup { mut addresses, .. } = look_up(shard, config, name, port, deadline).await?;
    addresses.truncate(CLIENT_ADDRESSES_MAX);
    Ok(addresses.into())
}
