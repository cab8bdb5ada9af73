//! What shards tell of the services that they call.
//!
//! A service that is declared anew stands beside the former until that has no call under way. Both are told as one: what is counted
//! is the sum, with what versions that are gone have counted, so that no counter falls; what is a state is the latest version's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::upstream::policy::breaker;
use net::upstream::{Address, EndpointSurvey, Survey};

use super::store::Kind;

/// One shard's services, as it has told last.
#[derive(Default)]
pub(super) struct Upstreams {
    /// By version, the latest last.
    told: Vec<Survey>,
    /// Of versions that are gone, while there are others.
    gone: Sums,
}

/// One value for each row, by service, and by endpoint: none where there is nothing to tell.
#[derive(Clone, Default)]
pub(super) struct Sums {
    pub(super) services: BTreeMap<Arc<str>, [Option<f64>; SERVICES.len()]>,
    pub(super) endpoints: BTreeMap<(Arc<str>, Address), [Option<f64>; ENDPOINTS.len()]>,
}

impl Upstreams {
    /// Takes over what the shard tells now.
    pub(super) fn keep(&mut self, mut surveys: Vec<Survey>) {
        surveys.sort_by_key(|survey| survey.version);
        let former = std::mem::replace(&mut self.told, surveys);
        let told = &self.told;
        for survey in former {
            let is_same = |other: &Survey| (&other.upstream, other.version) == (&survey.upstream, survey.version);
            if !told.iter().any(is_same) {
                self.gone.add(&survey, |how| how == How::Counter);
            }
        }
        self.gone.services.retain(|name, _| told.iter().any(|survey| survey.upstream == *name));
        self.gone.endpoints.retain(|(name, address), _| {
            let is_there = |survey: &Survey| survey.endpoints.iter().any(|endpoint| endpoint.address == *address);
            told.iter().any(|survey| survey.upstream == *name && is_there(survey))
        });
    }

    /// All values, as they are to be written.
    pub(super) fn sums(&self) -> Sums {
        let mut sums = self.gone.clone();
        self.told.iter().for_each(|survey| sums.add(survey, |_| true));
        sums
    }
}

impl Sums {
    fn add(&mut self, survey: &Survey, is_wanted: impl Fn(How) -> bool) {
        let values = self.services.entry(Arc::clone(&survey.upstream)).or_insert([None; SERVICES.len()]);
        add(values, SERVICES, survey, &is_wanted);
        for endpoint in &survey.endpoints {
            let key = (Arc::clone(&survey.upstream), endpoint.address.clone());
            let values = self.endpoints.entry(key).or_insert([None; ENDPOINTS.len()]);
            add(values, ENDPOINTS, endpoint, &is_wanted);
        }
    }
}

fn add<T>(values: &mut [Option<f64>], rows: &[Row<T>], of: &T, is_wanted: impl Fn(How) -> bool) {
    for (value, (_, how, _, read)) in values.iter_mut().zip(rows).filter(|(_, row)| is_wanted(row.1)) {
        *value = match how {
            How::State => read(of),
            How::Counter | How::Level => read(of).map(|more| value.unwrap_or_default() + more).or(*value),
        };
    }
}

/// What becomes of the values of several versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Their sum, with what was.
    Counter,
    /// Their sum.
    Level,
    /// The last.
    State,
}

impl How {
    pub(super) fn kind(self) -> Kind {
        match self {
            How::Counter => Kind::Counter,
            How::Level | How::State => Kind::Gauge,
        }
    }
}

/// What is told of a service or an endpoint: name, kind, meaning, value.
pub(super) type Row<T> = (&'static str, How, &'static str, fn(&T) -> Option<f64>);

pub(super) const SERVICES: &[Row<Survey>] = &[
    ("shardwise_upstream_calls_total", How::Counter, "Calls of the service that were begun.", |service| {
        count(service.calls)
    }),
    (
        "shardwise_upstream_calls_failed_total",
        How::Counter,
        "Calls that have ended without an answer, or with one of 500 and above.",
        |service| count(service.calls_failed),
    ),
    (
        "shardwise_upstream_calls_open",
        How::Level,
        "Calls under way, with those whose answers are being read.",
        |service| count(service.calls_open),
    ),
    ("shardwise_upstream_calls_waiting", How::Level, "Calls that wait for one of these to end.", |service| {
        count(service.calls_waiting)
    }),
    (
        "shardwise_upstream_calls_shed_total",
        How::Counter,
        "Calls refused because as many were under way, and waited, as may.",
        |service| count(service.calls_shed),
    ),
    ("shardwise_upstream_calls_limited_total", How::Counter, "Calls refused by the rate limit.", |service| {
        count(service.calls_limited)
    }),
    (
        "shardwise_upstream_calls_max",
        How::State,
        "How many calls may be under way, as it was learned or declared.",
        |service| count(service.calls_max),
    ),
    (
        "shardwise_upstream_nobody_total",
        How::Counter,
        "Calls and tries for which there was no endpoint that may be asked.",
        |service| count(service.nobody),
    ),
    ("shardwise_upstream_tries_total", How::Counter, "Requests sent, or begun to be.", |service| count(service.tries)),
    ("shardwise_upstream_retries_total", How::Counter, "Requests that were sent again.", |service| {
        count(service.retries)
    }),
    (
        "shardwise_upstream_retries_refused_total",
        How::Counter,
        "Requests that would have been sent again, but for the budget.",
        |service| count(service.retries_refused),
    ),
    ("shardwise_upstream_retry_budget", How::State, "Retries that the budget would pay for now.", |service| {
        count(service.budget)
    }),
    (
        "shardwise_upstream_hedges_total",
        How::Counter,
        "Requests sent to a second endpoint before the first had answered.",
        |service| count(service.hedges),
    ),
    (
        "shardwise_upstream_ejections_total",
        How::Counter,
        "Times that an endpoint was left alone for what came of requests to it.",
        |service| count(service.ejections),
    ),
    (
        "shardwise_upstream_breaker_changes_total",
        How::Counter,
        "Times that a breaker, of an endpoint or of all calls, has opened, closed, or let a trial pass.",
        |service| count(service.breaker_changes),
    ),
    (
        "shardwise_upstream_breaker",
        How::State,
        "How the breaker of all calls stands, by itself or by force: 0 closed, 1 half open, 2 open; nothing without one.",
        |service| service.breaker.map(position),
    ),
    ("shardwise_upstream_probes_total", How::Counter, "Probes, on the shard that makes them.", |service| {
        count(service.probes)
    }),
    ("shardwise_upstream_probes_failed_total", How::Counter, "Probes that have failed.", |service| {
        count(service.probes_failed)
    }),
    ("shardwise_upstream_panicking", How::State, "1 while so few endpoints are well that all are asked.", |service| {
        flag(service.is_panicking)
    }),
];

pub(super) const ENDPOINTS: &[Row<EndpointSurvey>] = &[
    (
        "shardwise_upstream_endpoint_tries_total",
        How::Counter,
        "Requests sent to the endpoint, or begun to be.",
        |endpoint| count(endpoint.tries),
    ),
    (
        "shardwise_upstream_endpoint_errors_total",
        How::Counter,
        "Its answers of 500 and above, but for those that are failures.",
        |endpoint| count(endpoint.errors),
    ),
    (
        "shardwise_upstream_endpoint_failures_total",
        How::Counter,
        "Requests to it without an answer, or with one of 502, 503 or 504.",
        |endpoint| count(endpoint.failures),
    ),
    (
        "shardwise_upstream_endpoint_tries_open",
        How::Level,
        "Requests to it under way, with those whose answers are being read.",
        |endpoint| count(endpoint.open),
    ),
    (
        "shardwise_upstream_endpoint_latency_seconds",
        How::State,
        "How long it takes to answer: a moving average that rises at once and falls slowly.",
        |endpoint| endpoint.latency.as_ref().map(Duration::as_secs_f64),
    ),
    ("shardwise_upstream_endpoint_up", How::State, "1 if it passes its probes, or is not probed.", |endpoint| {
        flag(endpoint.is_up)
    }),
    (
        "shardwise_upstream_endpoint_ejected",
        How::State,
        "1 while it is left alone for what came of requests to it.",
        |endpoint| flag(endpoint.is_ejected),
    ),
    (
        "shardwise_upstream_endpoint_breaker",
        How::State,
        "How its breaker stands, by itself or by force: 0 closed, 1 half open, 2 open; nothing without one.",
        |endpoint| endpoint.breaker.map(position),
    ),
];

fn position(state: breaker::State) -> f64 {
    match state {
        breaker::State::Closed | breaker::State::ForcedClosed => 0.0,
        breaker::State::HalfOpen => 1.0,
        breaker::State::Open | breaker::State::ForcedOpen => 2.0,
    }
}

fn count(count: u64) -> Option<f64> {
    Some(count as f64)
}

fn flag(flag: bool) -> Option<f64> {
    Some(u8::from(flag).into())
}
