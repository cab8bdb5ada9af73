//! From a name to addresses.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::Shard;
use smallvec::SmallVec;

use super::{Config, Error, Step};
use crate::limits::CLIENT_ADDRESSES_MAX;

/// What gives the addresses of a name: the system, unless said. It may block: it runs on the runtime's pool of threads.
#[derive(Clone)]
pub struct Resolver(Arc<Find>);

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
    /// A resolver by a function of name and port: a table, say, or a test's. The addresses are tried in their order.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Resolver(Arc::new(lookup))
    }

    /// Looks a name up, as long as that takes.
    ///
    /// Errors: it has no address, or nobody can say; what the resolver says.
    pub(crate) async fn look_up(&self, shard: &Shard, host: &str, port: u16) -> Result<Lookup, String> {
        let (name, Resolver(find)) = (host.to_owned(), self.clone());
        let found = shard.offload(move || find(&name, port)).await;
        let found = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Lookup { addresses: found, time: None })
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

/// The addresses of a name, in the order that its resolver prefers.
pub(super) async fn addresses(
    shard: &Shard,
    config: &Config,
    name: &str,
    port: u16,
    deadline: Instant,
) -> Result<Addresses, Error> {
    let failure = |why: String| Error::Resolve { host: name.into(), why: why.into() };
    let found = shard.deadline(deadline, config.resolver.look_up(shard, name, port)).await;
    let Lookup { addresses: mut found, .. } = found.map_err(|_| Error::TimedOut(Step::Connect))?.map_err(failure)?;
    found.truncate(CLIENT_ADDRESSES_MAX);
    if found.is_empty() {
        return Err(failure("there is none".to_owned()));
    }
    Ok(found.into())
}
