//! From a name to addresses.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use shards::Shard;
use smallvec::SmallVec;

use super::{Config, Error, Step};
use crate::limits::CLIENT_ADDRESSES_MAX;

/// What gives the addresses of a name: the system, unless said. It may block: it runs on the runtime's pool of threads.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Addresses of one server.
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

/// The addresses of a name, in the order that its resolver prefers.
pub(super) async fn addresses(
    shard: &Shard,
    config: &Config,
    name: &str,
    port: u16,
    deadline: Instant,
) -> Result<Addresses, Error> {
    let failure = |why: String| Error::Resolve { host: name.into(), why: why.into() };
    let (host, Resolver(lookup)) = (name.to_owned(), config.resolver.clone());
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
