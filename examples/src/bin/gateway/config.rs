//! The configuration as values: what is to be served, by whom, and how. Nothing in it depends on a shard, so that all of them
//! share one.
//!
//! `read.rs` makes it of a document and judges what it says, `document.rs` reads keys, `fault.rs` says what is wrong and where.

mod document;
mod fault;
mod read;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shardwise::Choice;
use shardwise::http::{HeaderName, HeaderValue, Method};
use shardwise::upstream::policy::{balance, breaker, budget, hedge, outlier, probe, retry};
use shardwise::upstream::{Endpoint, Protocol, Rate};

pub(crate) use fault::{Fault, Faults};

/// A file that is in order.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) process: Process,
    pub(crate) http: Http,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) proxy: Proxy,
    pub(crate) routes: Vec<Route>,
    /// In the order of their names.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// How many were before it.
    generation: u64,
    lines: Lines,
}

/// Where the parts stand that cannot change while it runs.
#[derive(Clone, Copy, Debug)]
struct Lines {
    process: usize,
    http: usize,
    listeners: usize,
}

/// `[process]`: the process itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    /// Unless given, one for each CPU.
    pub(crate) shards: Option<usize>,
    /// Unless given, the environment decides.
    pub(crate) backend: Option<Choice>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) drain_notice: Duration,
    pub(crate) drain_time_max: Duration,
}

/// `[http]`: what clients may be like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Http {
    pub(crate) http2: bool,
    pub(crate) http3: bool,
    /// Whether a proxy in front says whose each connection is.
    pub(crate) proxy_protocol: bool,
    pub(crate) idle_time_max: Duration,
    pub(crate) head_time_max: Duration,
    pub(crate) connections_per_client_max: Option<usize>,
}

/// `[[listeners]]`: an address to serve at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// In the clear unless given.
    pub(crate) tls: Option<Tls>,
}

/// How it is served by TLS.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tls {
    /// Certificates and their keys; one is made if there is none.
    pub(crate) certificates: Vec<(PathBuf, PathBuf)>,
    pub(crate) tls12: bool,
}

/// `[proxy]`: what is said of us and of clients to whoever is behind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proxy {
    /// Our name in `Via`; none is said without.
    pub(crate) via: Option<String>,
    pub(crate) forwarded: Forwarded,
    /// Those whose word of a client is taken.
    pub(crate) trusted: Vec<Network>,
    /// Whether requests are logged.
    pub(crate) access_log: bool,
}

/// By which fields a client is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub(crate) x_forwarded: bool,
    /// RFC 7239.
    pub(crate) forwarded: bool,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

/// `[[routes]]`: which requests, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) host: Host,
    pub(crate) path: Place,
    /// All, if there is none.
    pub(crate) methods: Vec<Method>,
    /// By its place among them.
    pub(crate) upstream: usize,
    /// What takes the place of the prefix, or of the path.
    pub(crate) rewrite: Option<String>,
    /// How long the answer's head may take from the request's end.
    pub(crate) time_max: Option<Duration>,
    pub(crate) body_bytes_max: u64,
    pub(crate) request_headers: Rules,
    pub(crate) response_headers: Rules,
}

/// Whom a request must be for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Any,
    /// In lower case.
    Exactly(String),
    /// Whatever ends so: `.example.org`, in lower case.
    Under(String),
}

/// What its path must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Exactly(String),
    /// This, and what is beneath it. Without a slash at its end, but for `/`.
    Beneath(String),
}

/// What becomes of header lines, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) append: Vec<(HeaderName, HeaderValue)>,
}

/// `[upstreams.NAME]`: a service that we call. What decides has the defaults that `upstream::Config` has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    /// Of one name, another for each time that it was declared anew.
    pub(crate) version: u64,
    pub(crate) endpoints: Endpoints,
    pub(crate) protocol: Protocol,
    /// In the clear unless given.
    pub(crate) tls: Option<UpstreamTls>,
    pub(crate) host: HostSent,
    pub(crate) connections: Connections,
    pub(crate) balance: balance::Settings,
    /// What rules by key look at.
    pub(crate) key: Key,
    pub(crate) subset: Option<usize>,
    pub(crate) health: Option<Health>,
    pub(crate) outliers: Option<outlier::Settings>,
    /// Of each endpoint.
    pub(crate) breaker: Option<breaker::Config>,
    pub(crate) breaker_of_all: Option<breaker::Config>,
    pub(crate) retries: retry::Policy,
    pub(crate) budget: budget::Config,
    pub(crate) hedge: Option<hedge::Policy>,
    pub(crate) limits: Limits,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    Fixed(Vec<Endpoint>),
    /// Each with a port, looked up again and again.
    Names(Vec<String>),
    /// With a line for each, read again and again.
    File(PathBuf),
}

/// `[upstreams.NAME.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamTls {
    /// Who vouches for it, in PEM, and the file's name; those that the system trusts unless given.
    pub(crate) authorities: Option<(String, Vec<u8>)>,
}

/// What `Host` an upstream is asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostSent {
    /// The client's.
    Kept,
    /// The endpoint's name, or its address.
    Endpoint,
    Named(String),
}

/// `[upstreams.NAME.connections]`: of each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    /// How long one may take to be accepted: Envoy's default (`Cluster.connect_timeout`), five seconds.
    pub(crate) connect_time_max: Duration,
    /// How long one may give nothing of a body that is waited for.
    pub(crate) pause_max: Duration,
    /// How long one may wait for its next request.
    pub(crate) idle_time_max: Duration,
    /// How many may wait for it, for each endpoint.
    pub(crate) idle_max: usize,
    /// How many there may be to each endpoint: Envoy's default (`max_connections`), 1,024.
    pub(crate) count_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Client,
    Path,
    Header(HeaderName),
}

/// `[upstreams.NAME.health]`: probes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    /// By HTTP; whether a connection is accepted, without.
    pub(crate) path: Option<String>,
    pub(crate) settings: probe::Settings,
}

/// `[upstreams.NAME.limits]`: of each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Calls under way.
    pub(crate) calls_max: u32,
    /// Calls that wait for one to end, and how long.
    pub(crate) waiting_max: u32,
    pub(crate) wait_max: Duration,
    /// Whether it is learned how many calls there should be, below that.
    pub(crate) adaptive: bool,
    /// Calls a second; any number unless given.
    pub(crate) rate: Option<Rate>,
}

impl Config {
    /// Judges a file's text. Files that it names are read, beside it unless they say otherwise; that blocks.
    pub(crate) fn of(path: &Path, text: &str) -> Result<Config, Faults> {
        let beside = path.parent().unwrap_or(Path::new(""));
        document::parse(&path.display().to_string(), text, |file| read::config(file, beside))
    }

    /// What of it could only hold after a restart, as faults.
    pub(crate) fn beyond_reload(&self, running: &Config) -> Vec<Fault> {
        let Config { process, http, listeners, lines, .. } = self;
        let changed = [
            ("[process]", *process != running.process, lines.process),
            ("[http]", *http != running.http, lines.http),
            ("[[listeners]]", *listeners != running.listeners, lines.listeners),
        ];
        let changed = changed.into_iter().filter(|(_, is_changed, _)| *is_changed);
        let faults = changed.map(|(name, _, line)| {
            let what = format!(
                "{name} cannot change while it runs. Put back what was there, or restart by SIGUSR2, which refuses nobody."
            );
            Fault { line, what }
        });
        faults.collect()
    }

    /// Takes over from the one that runs: an upstream of which nothing else is said is the same as before, and another one of the
    /// same name is told apart from it.
    pub(crate) fn succeed(&mut self, running: &Config) {
        self.generation = running.generation + 1;
        for upstream in &mut self.upstreams {
            let before = running.upstreams.iter().find(|before| before.name == upstream.name);
            Arc::make_mut(upstream).version = before.map_or(self.generation, |before| before.version);
            match before {
                Some(before) if before == upstream => *upstream = Arc::clone(before),
                _ => Arc::make_mut(upstream).version = self.generation,
            }
        }
    }
}

/// What a configuration's file holds.
pub(crate) fn text_of(path: &Path) -> Result<String, Faults> {
    let bytes = read::file(path, crate::limits::FILE_BYTES_MAX);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
    text.map_err(|why| {
        let what = format!("the file cannot be read: {why}.");
        Faults { file: path.display().to_string(), faults: vec![Fault { line: 0, what }] }
    })
}

impl Network {
    /// Whether an address is among them. One of IPv4 in IPv6's clothes is taken for what it is.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
