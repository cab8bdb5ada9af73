//! The `metrics` facade's recorder: whatever any crate counts by `metrics::counter!` lands in the same store.
//!
//! A handle made on a shard is that shard's: it counts there as plainly as our own counters. A handle that is used
//! elsewhere, from a static say, still counts right, with a locked instruction.

use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::formatting::sanitize_metric_name;
use shards::Shard;

use super::store::{Float, Kind, Series, ShardMetrics, Shared, Store, Summary};

/// Makes the store of this process's first runtime the facade's; on a shard, its own runtime's store is used. A recorder
/// that is set already stays, and keeps what it gets.
pub(crate) fn install(store: &Arc<Store>) {
    if metrics::set_global_recorder(Facade(Arc::clone(store))).is_err() {
        tracing::debug!("a recorder of metrics is set already: what others count does not appear at /metrics");
    }
}

struct Facade(Arc<Store>);

impl Facade {
    /// The series of a key, where it is counted: on this shard, or off all shards.
    fn resolve(&self, key: &Key, make: impl FnOnce(&Store, Key, Option<&Shard>) -> Series) -> Series {
        let Some(shard) = Shard::current() else { return make(&self.0, sanitized(key, None), None) };
        let own = ShardMetrics::of(&shard);
        if let Some(series) = own.facade.borrow().get(key) {
            return series.clone();
        }
        let series = make(&own.store, sanitized(key, Some(&own)), Some(&shard));
        own.facade.borrow_mut().insert(key.clone(), series.clone());
        series
    }
}

impl Recorder for Facade {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(key.as_str(), Kind::Counter, &help);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(key.as_str(), Kind::Gauge, &help);
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(key.as_str(), Kind::Summary, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.resolve(key, |store, key, shard| Series::Shared(store.shared(key, shard))) {
            Series::Shared(shared) => Counter::from_arc(shared),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.resolve(key, |store, key, _| Series::Float(store.float(key))) {
            Series::Float(float) => Gauge::from_arc(float),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.resolve(key, |store, key, _| Series::Summary(store.summary(key))) {
            Series::Summary(summary) => Histogram::from_arc(Arc::new(Samples(summary))),
            _ => Histogram::noop(),
        }
    }
}

/// The key as Prometheus admits it, with the shard's label.
fn sanitized(key: &Key, shard: Option<&ShardMetrics>) -> Key {
    let labels: Vec<_> = key.labels().cloned().chain(shard.map(ShardMetrics::shard_label)).collect();
    Key::from_parts(sanitize_metric_name(key.name()), labels)
}

struct Samples(Arc<Mutex<Summary>>);

impl metrics::CounterFn for Shared {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, value: u64) {
        self.raise(value);
    }
}

impl metrics::GaugeFn for Float {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, value: f64) {
        self.set(value);
    }
}

impl metrics::HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(value);
    }
}
