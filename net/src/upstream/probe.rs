//! [`Probe`]: how an endpoint is asked whether it is well.

use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Method;
use policy::probe::{Finding, Settings};

use super::members::target;
use super::{Endpoint, Shared};
use crate::client::ask;
use crate::conn::client::Outline;
use crate::limits::UPSTREAM_PROBE_BYTES_MAX;
use crate::{Content, Headers};

/// How every endpoint of a service is asked whether it is well: what for, how often, and how many answers count.
///
/// ```
/// use shardwise_net::upstream::Probe;
///
/// let probe = Probe::http("/healthz");
/// assert_eq!(probe.settings.interval.as_secs(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    /// What it is asked.
    pub expect: Expect,
    /// How often, for how long, and how many answers of a kind change what it counts as.
    pub settings: Settings,
}

/// What an endpoint that is well does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Expect {
    /// It accepts a connection.
    Connection,
    /// It answers a `GET` of this path with one of these statuses.
    Status {
        /// The path, with a query if there is one.
        path: Arc<str>,
        /// The statuses, such as `200..=299`.
        statuses: RangeInclusive<u16>,
    },
}

impl Probe {
    /// It is to accept a connection.
    pub fn connection() -> Self {
        Probe { expect: Expect::Connection, settings: Settings::default() }
    }

    /// It is to answer a `GET` of this path with a status from 200 to 299.
    pub fn http(path: impl Into<Arc<str>>) -> Self {
        Probe { expect: Expect::Status { path: path.into(), statuses: 200..=299 }, settings: Settings::default() }
    }

    /// Asks once, over a connection of its own, which is not kept: a server that accepts none is not well.
    pub(super) async fn ask(&self, shared: &Shared, endpoint: &Endpoint) -> Finding {
        let pool = shared.client.pool();
        let target = target(&shared.config, endpoint, &format!("a probe of {}", shared.name));
        let asked = match &self.expect {
            Expect::Connection => ask::reach(pool, &target).await.map(|()| true),
            Expect::Status { path, statuses } => {
                let mut headers = Headers::default();
                headers.set(http::header::CONNECTION, http::HeaderValue::from_static("close"));
                let outline = Outline {
                    method: &Method::GET,
                    target: path.as_bytes(),
                    host: target.authority.as_bytes(),
                    headers: &headers,
                    expects: false,
                    upgrade: None,
                };
                let answer = ask::ask(pool, &target, outline, &mut Content::Empty).await;
                match answer {
                    Ok(response) => {
                        let is_well = statuses.contains(&response.status().as_u16());
                        let mut response = response.limit(UPSTREAM_PROBE_BYTES_MAX);
                        // A body that does not come is not well either.
                        response.bytes().await.map(|_| is_well)
                    }
                    Err(error) => Err(error),
                }
            }
        };
        pool.forget(&target.key);
        match asked {
            Ok(true) => Finding::Pass,
            Ok(false) => Finding::Fail,
            Err(error) => {
                tracing::debug!(%endpoint, "a probe has failed: {error}");
                Finding::Fail
            }
        }
    }
}
