//! What is measured of requests: by route, method and class of status, under OpenTelemetry's names.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use shards::Shard;

use super::durations::Durations;
use super::store::{Family, Kind, Line, ShardMetrics};

/// What all requests of a shard share.
pub(crate) struct HttpMetrics {
    shard: Rc<ShardMetrics>,
    /// Requests in hand.
    pub(crate) active: Arc<Line>,
    /// Panics of handlers.
    pub(crate) panics: Arc<Line>,
}

/// The series of one route on one shard.
pub(crate) struct RouteMetrics {
    shard: Rc<ShardMetrics>,
    route: Box<str>,
    /// Resolved when first needed, then for good.
    series: [[OnceCell<Series>; CLASSES.len()]; METHODS.len()],
}

struct Series {
    requests: Arc<Line>,
    durations: Rc<Durations>,
}

impl HttpMetrics {
    pub(crate) fn of(shard: &Shard) -> Self {
        let shard = ShardMetrics::of(shard);
        let active = shard.counter(ACTIVE, &[]);
        let panics = shard.counter(PANICS, &[]);
        HttpMetrics { shard, active, panics }
    }

    /// The metrics of a route; an empty one stands for all requests that found none.
    pub(crate) fn route(&self, pattern: &str) -> RouteMetrics {
        RouteMetrics { shard: Rc::clone(&self.shard), route: pattern.into(), series: Default::default() }
    }
}

/// A method as a label: its place in [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodLabel(u8);

impl RouteMetrics {
    /// Counts one request that took some turns: some 10 ns.
    pub(crate) fn record(&self, method: MethodLabel, status: StatusCode, elapsed: Duration) {
        let series = self.series(method, status);
        series.requests.add(1);
        series.durations.record(elapsed);
    }

    /// Counts one request that was answered in the turn it came in: some 3 ns.
    #[inline]
    pub(crate) fn record_in_turn(&self, method: MethodLabel, status: StatusCode, shard: &Shard) {
        let series = self.series(method, status);
        series.requests.add(1);
        Durations::record_in_turn(&series.durations, shard);
    }

    #[inline]
    fn series(&self, method: MethodLabel, status: StatusCode) -> &Series {
        let class = class_index(status);
        self.series[usize::from(method.0)][class].get_or_init(|| self.resolve(method, class))
    }

    #[cold]
    fn resolve(&self, method: MethodLabel, class: usize) -> Series {
        let labels = [
            ("http_request_method", method.name()),
            ("http_response_status_class", CLASSES[class]),
            ("http_route", &*self.route),
        ];
        Series { requests: self.shard.counter(REQUESTS, &labels), durations: self.shard.durations(DURATION, &labels) }
    }
}

impl MethodLabel {
    #[inline]
    pub(crate) fn of(method: &Method) -> Self {
        MethodLabel(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::PATCH => 4,
            Method::DELETE => 5,
            Method::OPTIONS => 6,
            Method::CONNECT => 7,
            Method::TRACE => 8,
            _ => 9,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }
}

pub(super) fn class_index(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

/// Methods as label values; OpenTelemetry's name for all others, so that clients cannot make series.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

const ACTIVE: &str = "http_server_active_requests";
const REQUESTS: &str = "http_server_requests_total";
const PANICS: &str = "shardwise_handler_panics_total";
const DURATION: &str = "http_server_request_duration_seconds";

pub(super) fn describe(families: &mut BTreeMap<String, Family>) {
    for (name, kind, help) in [
        (ACTIVE, Kind::Gauge, "Requests in hand."),
        (REQUESTS, Kind::Counter, "Requests answered."),
        (PANICS, Kind::Counter, "Panics of handlers, each answered with a 500."),
        (
            DURATION,
            Kind::Histogram,
            "Time from the turn in which a request's head was there to the end of the turn that answered it.",
        ),
    ] {
        families.insert(name.to_owned(), Family { kind, help: help.to_owned() });
    }
}
