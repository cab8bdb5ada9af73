//! [`Upstream`]: a service behind, as one shard calls it.

use std::rc::Rc;
use std::sync::Arc;

use shardwise::http::Method;
use shardwise::http::header::HOST;
use shardwise::prelude::*;
use shardwise::tls::{Roots, SetupError};
use shardwise::{Client, Content, Headers, client};

use crate::config::{self, HostSent, Protocol};

/// A service, and the connections to it.
pub(crate) struct Upstream {
    pub(crate) name: Rc<str>,
    pub(crate) config: Arc<config::Upstream>,
    client: Client,
    endpoints: Vec<Rc<str>>,
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
}

impl Upstream {
    /// Errors: who is to vouch for it cannot be used.
    pub(crate) fn new(shard: &Shard, config: &Arc<config::Upstream>) -> Result<Rc<Self>, SetupError> {
        let config::Upstream { times, limits, tls, .. } = &**config;
        let authorities = tls.as_ref().and_then(|tls| tls.authorities.as_ref());
        let roots = authorities.map(|(name, bytes)| Roots::from_pem(name, bytes)?.client(shard)).transpose()?;
        let client = client::Config {
            http2: config.protocol == Protocol::Http2,
            connect_time_max: times.connect,
            // The route's limit is the one that counts.
            head_time_max: times.per_try.unwrap_or(*crate::limits::TIMES.end()),
            body_pause_max: times.pause,
            idle_time_max: times.idle,
            connections_per_origin_max: limits.connections as usize,
            idle_per_origin_max: limits.idle as usize,
            idle_max: limits.idle as usize * config.endpoints.len(),
            tls: roots,
            ..client::Config::default()
        };
        Ok(Rc::new(Upstream {
            name: (&*config.name).into(),
            client: Client::with(shard, client),
            endpoints: config.endpoints.iter().map(|endpoint| (&*endpoint.address).into()).collect(),
            config: Arc::clone(config),
        }))
    }

    /// Asks it: what it answers, and who has answered or failed to.
    pub(crate) async fn ask(&self, call: Call<'_>) -> (Rc<str>, Result<client::Response, client::Error>) {
        let Call { method, target, host, headers, content, expects } = call;
        let endpoint = &self.endpoints[0];
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        let mut request = self.client.request(method.clone(), format!("{scheme}://{endpoint}{target}")).body(content);
        request = match &self.config.host {
            HostSent::Kept if !host.is_empty() => request.header(HOST, host),
            HostSent::Named(name) => request.header(HOST, name),
            HostSent::Kept | HostSent::Endpoint => request,
        };
        for (name, value) in headers.iter() {
            request = request.header(name, value);
        }
        if expects {
            request = request.expect_continue();
        }
        (Rc::clone(endpoint), request.send().await)
    }
}
