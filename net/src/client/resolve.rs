//! From a name to addresses: by a function that may block, such as the system's, or by a resolver of our own (`dns/`).

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::dns;
use super::pool::Pool;
use super::{Error, Step};
use crate::conn::client::Shared;
use crate::limits::CLIENT_ADDRESSES_MAX;

/// What gives the addresses of a name: the system, unless said.
#[derive(Clone)]
pub struct Resolver(pub(super) Source);

#[derive(Clone)]
pub(super) enum Source {
    Function(Arc<Function>),
    Own(Arc<dns::Config>),
}

type Function = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Addresses of one server that are tried.
pub(super) type Addresses = SmallVec<[SocketAddr; 1]>;

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// In the order that the resolver prefers.
    pub addresses: Vec<SocketAddr>,
    /// Until when they hold, if whoever gave them says; the next lookup after that finds what has changed.
    pub until: Option<Instant>,
}

impl Resolver {
    /// A resolver by a function of name and port: a table, say, or a test's. It may block: it runs on the runtime's pool of
    /// threads. The addresses are tried in their order.
    pub fn new(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Resolver(Source::Function(Arc::new(lookup)))
    }

    /// A resolver of our own, that asks name servers from the shard and knows how long their answers hold. Of the system's
    /// settings it reads the usual files, and nothing else that a system may have.
    pub fn dns(config: dns::Config) -> Self {
        Resolver(Source::Own(Arc::new(config)))
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

/// The addresses of a name, in time.
pub(super) async fn lookup(pool: &Pool, name: &str, port: u16, deadline: Instant) -> Result<Lookup, Error> {
    let Shared { shard, config, .. } = &*pool.shared;
    let failure = |why: String| Error::Resolve { host: name.into(), why: why.into() };
    let found = async {
        match (&config.resolver.0, &pool.names) {
            (Source::Function(function), _) => {
                let (host, function) = (name.to_owned(), Arc::clone(function));
                match shard.offload(move || function(&host, port)).await {
                    Ok(Ok(addresses)) => Ok(Lookup { addresses, until: None }),
                    Ok(Err(error)) => Err(failure(error.to_string())),
                    Err(error) => Err(failure(error.to_string())),
                }
            }
            (Source::Own(_), names) => {
                let names = names.as_ref().expect("made with the client");
                let (addresses, until) = names.addresses(name).await.map_err(failure)?;
                let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                Ok(Lookup { addresses, until })
            }
        }
    };
    let found = shard.deadline(deadline, found).await.map_err(|_| Error::TimedOut(Step::Connect))??;
    if found.addresses.is_empty() { Err(failure("there is none".to_owned())) } else { Ok(found) }
}

/// Those of them that are tried.
pub(super) async fn addresses(pool: &Pool, name: &str, port: u16, deadline: Instant) -> Result<Addresses, Error> {
    let mut found = lookup(pool, name, port, deadline).await?.addresses;
    found.truncate(CLIENT_ADDRESSES_MAX);
    Ok(found.into())
}
