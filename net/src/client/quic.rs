//! Connections of QUIC: through one socket of a client's for each family of addresses, opened when it is first needed.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;
use shards::Shard;
use shards::combine::race;
use shards::sync::Notify;

use super::pool::Pool;
use super::resolve::{Addresses, addresses};
use super::target::{Place, Target};
use super::{Config, Error, Step};
use crate::NetStats;
use crate::conn::client::Shared;
use crate::conn::h3::client::shake_hands;
use crate::limits::CLIENT_FAREWELL_TIME;
use crate::quic::{self, ConnectError, Connection, Endpoint};

/// A client's sockets.
#[derive(Default)]
pub(crate) struct Endpoints {
    /// For addresses of IPv4, and of IPv6.
    bound: [RefCell<Option<Bound>>; 2],
    stats: Arc<NetStats>,
}

struct Bound {
    endpoint: Endpoint,
    /// Tells the task that receives.
    is_gone: Rc<Notify>,
}

impl Endpoints {
    /// Begins a connection to the server of this name at this address.
    fn connect(
        &self,
        shared: &Shared,
        address: SocketAddr,
        name: &str,
        tls: &Arc<ClientConfig>,
    ) -> Result<Connection, Error> {
        let refused = |error| Error::Connect { address, error: Box::new(error) };
        let mut bound = self.bound[usize::from(address.is_ipv6())].borrow_mut();
        let endpoint = match &*bound {
            Some(Bound { endpoint, .. }) => endpoint,
            None => {
                let from = match address {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let config = for_quic(&shared.config);
                let endpoint = Endpoint::bind(&shared.shard, from, config, Arc::clone(&self.stats)).map_err(refused)?;
                &bound.insert(Bound::drive(&shared.shard, endpoint)?).endpoint
            }
        };
        endpoint.connect(address, name, tls).map_err(|error| match error {
            ConnectError::Full => Error::Full,
            ConnectError::Name(_) | ConnectError::Address(_) | ConnectError::Suites => {
                refused(crate::Error::Io(platform::Error::Invalid))
            }
        })
    }
}

impl Bound {
    /// Receives by a task of its own, which lasts a moment longer than all that uses it: what was said last is to leave.
    fn drive(shard: &Shard, endpoint: Endpoint) -> Result<Self, Error> {
        let (driven, here, is_gone) = (endpoint.clone(), shard.clone(), Rc::<Notify>::default());
        let told = Rc::clone(&is_gone);
        let work = async move {
            race((driven.drive(), told.notified())).await;
            here.sleep(CLIENT_FAREWELL_TIME).await;
        };
        shard.spawn(work).map_err(|_| Error::Full)?.detach();
        Ok(Bound { endpoint, is_gone })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.is_gone.notify_one();
    }
}

/// What holds for every version, said to QUIC.
fn for_quic(config: &Config) -> quic::Config {
    quic::Config {
        handshake_time_max: config.connect_time_max,
        // Servers open none (RFC 9114 section 6.1).
        streams_max: 0,
        datagram_bytes_max: config.quic.datagram_bytes_max.filter(|_| config.h3.datagrams),
        ..config.quic.clone()
    }
}

/// Connects to a server by QUIC, where it is or at another place that it has named. The addresses are tried one after the other,
/// each for its share of the time that is left.
pub(super) async fn connect(pool: &Pool, target: &Target<'_>, place: &Place<'_>) -> Result<Connection, Error> {
    let Shared { shard, config, endpoints, .. } = &*pool.shared;
    let deadline = shard.clock() + config.connect_time_max;
    if target.proxy(config.proxy.as_ref()).is_some() {
        return Err(Error::Proxy { why: "HTTP/3 does not go through one".into() });
    }
    let tls = pool.trust.of_quic(shard, config, target).await?;
    let addresses = match place {
        Place::Fixed(address) => Addresses::from([*address]),
        Place::Name(name, port) => addresses(pool, name, *port, deadline).await?,
        Place::Unix(path) => {
            let error = Box::new(crate::Error::Io(platform::Error::Unsupported));
            return Err(Error::Unix { path: path.as_ref().into(), error });
        }
    };
    let mut failure = Error::TimedOut(Step::Connect);
    for (tried, &address) in addresses.iter().enumerate() {
        let time = deadline.saturating_duration_since(shard.clock()) / (addresses.len() - tried) as u32;
        let quic = endpoints.connect(&pool.shared, address, &target.name, &tls)?;
        failure = match shard.timeout(time, shake_hands(quic)).await {
            Ok(Ok(quic)) => return Ok(quic),
            Ok(Err(error)) => Error::Connect { address, error: Box::new(error) },
            Err(_) => Error::TimedOut(Step::Connect),
        };
    }
    Err(failure)
}
