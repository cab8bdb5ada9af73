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

/// `[upstreams.NAME]`: a service that we call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) protocol: Protocol,
    /// In the clear unless given.
    pub(crate) tls: Option<UpstreamTls>,
    pub(crate) host: HostSent,
    pub(crate) times: Times,
    pub(crate) balance: Balance,
    pub(crate) health: Option<Health>,
    pub(crate) outliers: Option<Outliers>,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) retries: Retries,
    pub(crate) hedging: Option<Hedging>,
    pub(crate) limits: Limits,
}

/// One address of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub(crate) address: String,
    pub(crate) weight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// In the clear by prior knowledge, by TLS agreed on.
    Http2,
    /// By TLS, whichever is agreed on.
    Agreed,
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
    /// The endpoint's address.
    Endpoint,
    Named(HeaderValue),
}

/// `[upstreams.NAME.times]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Times {
    /// To accept a connection: Envoy's default (`Cluster.connect_timeout`), five seconds.
    pub(crate) connect: Duration,
    /// Of one try, to the answer's head; as long as the route admits unless given (`RetryPolicy.per_try_timeout`).
    pub(crate) per_try: Option<Duration>,
    /// Without a byte of a body that is waited for.
    pub(crate) pause: Duration,
    /// A connection that waits for its next request.
    pub(crate) idle: Duration,
}

/// `[upstreams.NAME.balance]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Balance {
    pub(crate) by: By,
    /// What ring and Maglev hash.
    pub(crate) key: Key,
    /// Below which share of healthy endpoints all are asked: Envoy's default (`healthy_panic_threshold`), half.
    pub(crate) panic: f64,
    /// For how long a new endpoint's share grows; not at all by default, as Envoy's (`slow_start_config`).
    pub(crate) slow_start: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    RoundRobin,
    LeastRequests,
    PeakEwma,
    RingHash,
    Maglev,
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
    pub(crate) interval: Duration,
    /// By how much of it the next probe may come earlier or later.
    pub(crate) jitter: f64,
    pub(crate) timeout: Duration,
    /// Failures in a row that make an endpoint unhealthy, and successes that make it healthy.
    pub(crate) unhealthy: u32,
    pub(crate) healthy: u32,
}

/// `[upstreams.NAME.outliers]`: endpoints that fail where others do not. Defaults are Envoy's (`OutlierDetection`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outliers {
    /// Failures in a row.
    pub(crate) consecutive: u32,
    pub(crate) interval: Duration,
    pub(crate) ejection: Duration,
    pub(crate) ejection_max: Duration,
    /// The largest share of endpoints that may be out.
    pub(crate) ejected_max: f64,
    /// By how many standard deviations below the mean a success rate is an outlier.
    pub(crate) deviations: f64,
    /// How many endpoints there must be, with how many requests each, for a mean.
    pub(crate) endpoints_min: u32,
    pub(crate) requests_min: u32,
}

/// `[upstreams.NAME.breaker]`: for each endpoint. Defaults are resilience4j's (`CircuitBreakerConfig`), but for failures in a
/// row, which are Finagle's (`failureAccrual`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Breaker {
    /// Failures in a row that open it.
    pub(crate) consecutive: u32,
    /// The share of failures that does, of so many requests at the least.
    pub(crate) failures: f64,
    pub(crate) requests_min: u32,
    /// The share of calls slower than this that does.
    pub(crate) slow: f64,
    pub(crate) slow_time: Duration,
    /// How long it stays open, and how many requests then find out.
    pub(crate) open: Duration,
    pub(crate) trials: u32,
}

/// `[upstreams.NAME.retries]`. Defaults are Envoy's (`RetryPolicy`); the budget is Finagle's (`RetryBudget`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Retries {
    /// Tries after the first.
    pub(crate) count: u32,
    /// What an idempotent request is asked again for.
    pub(crate) on: Vec<RetryOn>,
    /// The share of requests that may be retries, and how many a second besides.
    pub(crate) budget: f64,
    pub(crate) budget_floor: u32,
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryOn {
    /// No connection, or a request that was not looked at: whatever its method.
    Connect,
    /// A connection that ends before the answer.
    Reset,
    /// 502, 503 or 504.
    GatewayError,
    /// Any status from 500.
    ServerError,
    /// No answer in the time of one try.
    Timeout,
}

/// `[upstreams.NAME.hedging]`: a second try while the first has not answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hedging {
    /// After which share of answers would have come: Finagle's `BackupRequestFilter` takes 99 %.
    pub(crate) quantile: f64,
    /// The share of requests that may be hedged: Finagle's default, 1 %.
    pub(crate) budget: f64,
}

/// `[upstreams.NAME.limits]`, on each shard. Defaults are Envoy's (`CircuitBreakers.Thresholds`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// Connections to each endpoint.
    pub(crate) connections: u32,
    /// Requests that wait for one.
    pub(crate) pending: u32,
    /// Requests in hand.
    pub(crate) requests: u32,
    /// Connections to each endpoint that wait for their next request.
    pub(crate) idle: u32,
    /// Requests a second; any number unless given.
    pub(crate) rate: Option<u32>,
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
