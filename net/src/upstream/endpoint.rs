//! [`Endpoint`]: one address of a service, as it is declared or found.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::limits::UPSTREAM_WEIGHT_MAX;

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// At an IP address and a port.
    Ip(SocketAddr),
    /// At a socket of this machine, by its path.
    Unix(Arc<Path>),
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// The name that it goes by: what its certificate must be of and, unless the request or
    /// [`Config::authority`](super::Config::authority) says another, the `Host` that it is asked as. `None` for the address.
    pub name: Option<Arc<str>>,
    /// Its share of what is asked beside those of the others, from 1 to [`UPSTREAM_WEIGHT_MAX`].
    pub weight: u32,
}

impl Endpoint {
    /// An endpoint without a name, with a weight of 1.
    pub fn new(address: SocketAddr) -> Self {
        Endpoint { address: Address::Ip(address), name: None, weight: 1 }
    }

    /// The same at a socket of this machine, by its path.
    pub fn at_path(path: impl Into<Arc<Path>>) -> Self {
        Endpoint { address: Address::Unix(path.into()), name: None, weight: 1 }
    }

    /// Sets the name.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the weight; what is out of bounds becomes the nearest bound.
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight.clamp(1, UPSTREAM_WEIGHT_MAX);
        self
    }

    /// Reads `ADDRESS[ WEIGHT]`, as lists and files write it. An address is `IP:PORT`, or `unix:PATH` with a whole path that has no
    /// spaces.
    ///
    /// Errors: what is wrong with it, in words.
    ///
    /// ```
    /// use shardwise_net::upstream::Endpoint;
    ///
    /// let endpoint = Endpoint::parse("10.0.0.7:8080 3").unwrap();
    /// assert_eq!((endpoint.address.to_string(), endpoint.weight), ("10.0.0.7:8080".into(), 3));
    /// assert_eq!(Endpoint::parse("unix:/run/items.sock").unwrap().to_string(), "unix:/run/items.sock");
    /// assert_eq!(Endpoint::parse("10.0.0.7").unwrap_err(), "\"10.0.0.7\" is no address with a port, such as 10.0.0.7:8080");
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let parsed = Address::parse(words.next().unwrap_or_default())?;
        let weight = match words.next().map(str::parse) {
            None => 1,
            Some(Ok(weight @ 1..=UPSTREAM_WEIGHT_MAX)) => weight,
            Some(_) => return Err(format!("the weight is no number from 1 to {UPSTREAM_WEIGHT_MAX}")),
        };
        match words.next() {
            Some(word) => Err(format!("{word:?} is too much: there is an address, and perhaps its weight")),
            None => Ok(Endpoint { address: parsed, name: None, weight }),
        }
    }

    /// A number that it has in every process, by address and name: what rings and tables place it by.
    pub(super) fn id(&self) -> u64 {
        let mut hash = Fnv::default();
        match &self.address {
            Address::Ip(address) => {
                match address {
                    SocketAddr::V4(address) => hash.add(&address.ip().octets()),
                    SocketAddr::V6(address) => hash.add(&address.ip().octets()),
                }
                hash.add(&address.port().to_be_bytes());
            }
            Address::Unix(path) => {
                hash.add(path.as_os_str().as_encoded_bytes());
                hash.add(b"\0");
            }
        }
        hash.add(self.name.as_deref().unwrap_or_default().as_bytes());
        hash.0
    }
}

impl Address {
    /// Reads `IP:PORT` or `unix:PATH`.
    ///
    /// Errors: what is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return match path.is_absolute() {
                true => Ok(path.into()),
                false => Err(format!("{text:?} is no whole path, such as unix:/run/items.sock")),
            };
        }
        let parsed = text.parse::<SocketAddr>().ok().filter(|address| address.port() > 0);
        parsed.map(Into::into).ok_or_else(|| format!("{text:?} is no address with a port, such as 10.0.0.7:8080"))
    }

    /// Its IP address and port, if it has any.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Ip(address)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Address::Unix(path.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// FNV-1a of 64 bits: nobody chooses what goes in to do harm, and it is the same everywhere.
pub(super) struct Fnv(pub(super) u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
