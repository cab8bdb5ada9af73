//! [`Config`]: what is declared of a service.

use std::sync::Arc;
use std::time::Duration;

use policy::{adaptive, balance, breaker, budget, hedge, outlier, retry};

use super::{Endpoints, Probe};
use crate::limits::{UPSTREAM_CALLS_MAX, UPSTREAM_SHARE_TIME, UPSTREAM_WAIT_MAX, UPSTREAM_WAITING_MAX};

/// What is declared of a service. Every shard declares the same.
///
/// The defaults of what decides are Envoy's and Finagle's; each says so where it stands.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its endpoints, or how they are found.
    pub endpoints: Endpoints,
    /// What it is asked as: the `Host` of requests that bring none. `None` for the name of the endpoint asked, or its address.
    pub authority: Option<Arc<str>>,
    /// Whether it is asked over TLS. Who its endpoints must show themselves to be is their [`name`](super::Endpoint::name), or that of
    /// `authority`, or their address.
    pub is_secure: bool,
    /// What it speaks.
    pub protocol: Protocol,
    /// Tells declarations of one name apart: shards speak about a service with those that have declared the same name and version. What
    /// is declared anew, as when a configuration is read again, has another.
    pub version: u64,

    /// Which endpoint is asked.
    pub balance: balance::Settings,
    /// How many endpoints each shard asks, at least, where there are more: so many that all shards together ask each alike. `None`
    /// for all of them.
    pub subset: Option<usize>,

    /// How one shard asks every endpoint whether it is well. `None`: nobody does.
    pub probe: Option<Probe>,
    /// When an endpoint is left alone for a while because of what came of requests to it, on all shards together. `None`: never.
    pub outlier: Option<outlier::Settings>,
    /// When a shard stops asking an endpoint because of what came of its own requests. `None`: never.
    pub breaker: Option<breaker::Config>,

    /// When a shard makes no more calls at all because of what came of them, with all their tries. `None`: never.
    pub breaker_of_all: Option<breaker::Config>,

    /// When a request is sent again, and how long one try, and all of them, may take until the head of an answer.
    pub retry: retry::Policy,
    /// How many requests may be sent again: a share of this shard's, and so many a second on all shards together.
    pub budget: budget::Config,
    /// When a second endpoint is asked before the first has answered. `None`: never.
    pub hedge: Option<hedge::Policy>,

    /// How many calls a shard may have under way, and how many may wait for one to end.
    pub calls_max: u32,
    /// See `calls_max`.
    pub waiting_max: u32,
    /// How long one may wait, and how long the first endpoints are waited for.
    pub wait_max: Duration,
    /// Learns how many calls the service bears, below `calls_max`. `None`: it is not learned.
    pub adaptive: Option<adaptive::Config>,
    /// How many calls a shard begins. `None`: as many as there are.
    pub rate: Option<Rate>,

    /// How often shards tell each other what they have under way and have seen: 10 to 100 ms.
    pub share_time: Duration,
}

/// So many calls in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; with 0, none ever.
    pub count: u32,
    /// In what time.
    pub per: Duration,
    /// How many at once, at least one.
    pub burst: u32,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1; over TLS, HTTP/2 where its endpoint has it.
    #[default]
    Usual,
    /// HTTP/2, without asking.
    Http2,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            endpoints: Endpoints::default(),
            authority: None,
            is_secure: false,
            protocol: Protocol::Usual,
            version: 0,
            balance: balance::Settings::default(),
            subset: None,
            probe: None,
            outlier: Some(outlier::Settings::default()),
            breaker: None,
            breaker_of_all: None,
            retry: retry::Policy::default(),
            budget: budget::Config::default(),
            hedge: None,
            calls_max: UPSTREAM_CALLS_MAX,
            waiting_max: UPSTREAM_WAITING_MAX,
            wait_max: UPSTREAM_WAIT_MAX,
            adaptive: None,
            rate: None,
            share_time: UPSTREAM_SHARE_TIME,
        }
    }
}

impl Config {
    /// Whether a service can be declared so; else what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        self.balance.check()?;
        self.outlier.map_or(Ok(()), |outlier| outlier.check())?;
        self.probe.as_ref().map_or(Ok(()), |probe| probe.settings.check())?;
        if self.calls_max == 0 {
            return Err("`calls_max` is 0, so that no call could ever be made");
        }
        if self.share_time.is_zero() {
            return Err("`share_time` is 0, so that shards would do nothing but tell each other");
        }
        if self.subset == Some(0) {
            return Err("`subset` is 0, so that no endpoint would be asked");
        }
        Ok(())
    }
}
