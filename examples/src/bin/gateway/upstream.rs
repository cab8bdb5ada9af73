//! An upstream as one shard calls it: what is declared, made to what `shardwise::upstream` wants; and the call.

use std::rc::Rc;
use std::sync::Arc;

use shardwise::http::Method;
use shardwise::http::header::HOST;
use shardwise::prelude::*;
use shardwise::tls::Roots;
use shardwise::upstream::policy::adaptive;
use shardwise::upstream::{self, Probe};
use shardwise::{Client, Content, Headers, client};

use crate::config::{self, Connections, Endpoints, Health, HostSent, Limits};

/// A service, and the connections to it.
pub(crate) struct Upstream {
    pub(crate) name: Rc<str>,
    pub(crate) config: Arc<config::Upstream>,
    called: upstream::Upstream,
}

/// A request as it goes on.
pub(crate) struct Call<'c> {
    pub(crate) method: &'c Method,
    /// Path and query.
    pub(crate) target: &'c str,
    /// The client's, which may be none.
    pub(crate) host: &'c str,
    pub(crate) headers: Headers,
    pub(crate) content: Content,
    /// The body is to wait until it is asked for.
    pub(crate) expects: bool,
    /// What is to be spoken instead, if that is asked for.
    pub(crate) protocol: Option<&'c str>,
    /// Those of one key go to one endpoint, where that is wanted.
    pub(crate) key: Option<u64>,
}

impl Upstream {
    /// Errors: who is to vouch for it cannot be used, or what is declared cannot be.
    pub(crate) fn new(shard: &Shard, config: &Arc<config::Upstream>) -> Result<Rc<Self>> {
        let authorities = config.tls.as_ref().and_then(|tls| tls.authorities.as_ref());
        let roots = authorities.map(|(name, bytes)| Roots::from_pem(name, bytes)?.client(shard)).transpose()?;
        let Connections { connect_time_max, pause_max, idle_time_max, idle_max, count_max } = config.connections;
        let usual = client::Config::default();
        let client = client::Config {
            connect_time_max,
            // The time of a try and of the route are what counts.
            head_time_max: *crate::limits::TIMES.end(),
            body_pause_max: pause_max,
            idle_time_max,
            idle_per_origin_max: idle_max,
            idle_max: usual.idle_max.max(idle_max),
            connections_per_origin_max: count_max,
            tls: roots,
            ..usual
        };
        let called = upstream::Upstream::new(&Client::with(shard, client), &config.name, declared(config))?;
        Ok(Rc::new(Upstream { name: (&*config.name).into(), called, config: Arc::clone(config) }))
    }

    /// Asks it.
    pub(crate) async fn ask(&self, call: Call<'_>) -> Result<client::Response, client::Error> {
        let Call { method, target, host, headers, content, expects, protocol, key } = call;
        let mut request = self.called.request(method.clone(), target).body(content);
        if self.config.host == HostSent::Kept && !host.is_empty() {
            request = request.header(HOST, host);
        }
        request = request.headers(headers);
        if expects {
            request = request.expect_continue();
        }
        if let Some(protocol) = protocol {
            request = request.upgrade(protocol);
        }
        if let Some(key) = key {
            request = request.key(key);
        }
        request.send().await
    }
}

fn declared(config: &config::Upstream) -> upstream::Config {
    let Limits { calls_max, waiting_max, wait_max, adaptive, rate } = config.limits;
    upstream::Config {
        endpoints: match &config.endpoints {
            Endpoints::Fixed(endpoints) => upstream::Endpoints::fixed(endpoints.iter().cloned()),
            Endpoints::Names(names) => upstream::Endpoints::names(names.iter().cloned()),
            Endpoints::File(path) => upstream::Endpoints::file(path),
        },
        authority: match &config.host {
            HostSent::Named(name) => Some((&**name).into()),
            HostSent::Kept | HostSent::Endpoint => None,
        },
        is_secure: config.tls.is_some(),
        protocol: config.protocol,
        version: config.version,
        balance: config.balance,
        subset: config.subset,
        probe: config.health.as_ref().map(|Health { path, settings }| {
            let probe = path.as_ref().map_or_else(Probe::connection, |path| Probe::http(&**path));
            Probe { settings: *settings, ..probe }
        }),
        outlier: config.outliers,
        breaker: config.breaker,
        breaker_of_all: config.breaker_of_all,
        retry: config.retries,
        budget: config.budget,
        hedge: config.hedge,
        calls_max,
        waiting_max,
        wait_max,
        adaptive: adaptive.then(adaptive::Config::default),
        rate,
        ..upstream::Config::default()
    }
}
