//! The store of one runtime: every series by its name and labels, readable from any thread.
//!
//! The lock is taken to add a series and to read them all, never to count.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use metrics::{Key, Label};
use metrics_exporter_prometheus::formatting::sanitize_metric_name;
use net::NetStats;
use shards::{Counter, Remote, Shard, ShardStats};

use super::durations::{Durations, Snapshot};
use super::scrape::Answers;
use super::upstreams::Upstreams;
use crate::limits::SERIES_MAX;

/// All series of one runtime.
pub(crate) struct Store {
    state: Mutex<State>,
    pub(super) answers: Mutex<Answers>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) series: BTreeMap<Key, Series>,
    pub(super) families: BTreeMap<String, Family>,
    pub(super) shards: BTreeMap<usize, ShardEntry>,
    pub(super) refused: u64,
}

/// What is said of all series of one name.
#[derive(Clone)]
pub(super) struct Family {
    pub(super) kind: Kind,
    pub(super) help: String,
}

/// Prometheus's kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Summary,
    Histogram,
}

/// A series of numbers, and how it is read.
#[derive(Clone)]
pub(super) enum Series {
    /// Written by one shard.
    Own(Arc<Line>),
    /// Written by one shard, or by whoever got hold of the handle.
    Shared(Arc<Shared>),
    Float(Arc<Float>),
    Summary(Arc<Mutex<Summary>>),
}

/// A shard as the scraper knows it.
pub(super) struct ShardEntry {
    pub(super) remote: Remote,
    pub(super) stats: Arc<ShardStats>,
    pub(super) net: Arc<NetStats>,
    serving: Arc<Line>,
    pub(super) backend: String,
    pub(super) why: String,
    /// The latest snapshot of each histogram.
    pub(super) snapshots: BTreeMap<Key, Snapshot>,
    /// The services that it calls.
    pub(super) upstreams: Upstreams,
    /// Whether the shard has been asked and has not answered yet.
    pub(super) is_asked: bool,
    /// Whether the shard did not answer the latest scrape in time.
    pub(super) is_stale: bool,
}

impl ShardEntry {
    /// Whether the shard serves an address.
    pub(super) fn is_serving(&self) -> bool {
        self.serving.get() > 0
    }
}

/// A counter on a cache line of its own, so that two shards never write to the same one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Line(Counter);

/// A counter that its home shard writes plainly and everyone else with a locked instruction.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Shared {
    /// The address of the home shard's statistics, which tells shards apart; zero is none.
    home: usize,
    own: Counter,
    others: AtomicU64,
}

/// A floating-point gauge.
#[derive(Debug, Default)]
pub(crate) struct Float(AtomicU64);

/// Samples of unknown unit and range.
pub(crate) struct Summary {
    /// Samples in millionths.
    histogram: Histogram<u64>,
    pub(super) sum: f64,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        let mut state = State::default();
        super::scrape::describe(&mut state.families);
        super::http::describe(&mut state.families);
        Arc::new(Store { state: Mutex::new(state), answers: Mutex::default() })
    }

    /// A counter of one shard.
    pub(crate) fn own(&self, key: Key) -> Arc<Line> {
        match self.series(key, || Series::Own(Arc::default())) {
            Some(Series::Own(line)) => line,
            _ => Arc::default(),
        }
    }

    pub(super) fn shared(&self, key: Key, home: Option<&Shard>) -> Arc<Shared> {
        let home = home.map_or(0, identity);
        match self.series(key, || Series::Shared(Arc::new(Shared { home, ..Shared::default() }))) {
            Some(Series::Shared(shared)) => shared,
            _ => Arc::default(),
        }
    }

    pub(super) fn float(&self, key: Key) -> Arc<Float> {
        match self.series(key, || Series::Float(Arc::default())) {
            Some(Series::Float(float)) => float,
            _ => Arc::default(),
        }
    }

    pub(super) fn summary(&self, key: Key) -> Arc<Mutex<Summary>> {
        match self.series(key, || Series::Summary(Arc::default())) {
            Some(Series::Summary(summary)) => summary,
            _ => Arc::default(),
        }
    }

    /// The series of this key; `None`, and counted, if the store is full.
    fn series(&self, key: Key, make: impl FnOnce() -> Series) -> Option<Series> {
        let mut state = self.lock();
        if let Some(series) = state.series.get(&key) {
            return Some(series.clone());
        }
        if state.series.len() >= SERIES_MAX {
            state.refused += 1;
            return None;
        }
        let series = make();
        state.series.insert(key, series.clone());
        Some(series)
    }

    /// How many shards serve an address.
    pub(crate) fn serving_count(&self) -> usize {
        self.lock().shards.values().filter(|entry| entry.is_serving()).count()
    }

    /// Says what a name means. The first word stands.
    pub(super) fn describe(&self, name: &str, kind: Kind, help: &str) {
        self.lock()
            .families
            .entry(sanitize_metric_name(name))
            .or_insert_with(|| Family { kind, help: help.to_owned() });
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard's own side of the store.
pub(crate) struct ShardMetrics {
    pub(super) store: Arc<Store>,
    /// What the shard's servers count.
    pub(crate) net: Arc<NetStats>,
    /// Addresses that the shard serves.
    serving: Arc<Line>,
    shard: String,
    durations: RefCell<Vec<(Key, Rc<Durations>)>>,
    /// Handles by the key that the facade gives, so that looking one up takes no lock.
    pub(super) facade: RefCell<BTreeMap<Key, Series>>,
}

impl ShardMetrics {
    /// The shard's metrics; they go to a store of their own if no runtime has joined the shard to its store.
    pub(crate) fn of(shard: &Shard) -> Rc<Self> {
        shard.local(|| ShardMetrics::new(shard, Store::new()))
    }

    /// Joins a shard to a store, before anything on the shard counts.
    pub(crate) fn join(shard: &Shard, store: &Arc<Store>) {
        shard.local(|| ShardMetrics::new(shard, Arc::clone(store)));
    }

    fn new(shard: &Shard, store: Arc<Store>) -> Self {
        let (net, serving): (Arc<NetStats>, Arc<Line>) = Default::default();
        let entry = ShardEntry {
            net: Arc::clone(&net),
            serving: Arc::clone(&serving),
            remote: shard.remote(),
            stats: Arc::clone(shard.stats()),
            backend: shard.backend().to_string(),
            why: shard.backend_reason().to_owned(),
            snapshots: BTreeMap::new(),
            upstreams: Upstreams::default(),
            is_asked: false,
            is_stale: false,
        };
        store.lock().shards.insert(shard.number(), entry);
        ShardMetrics {
            store,
            net,
            serving,
            shard: shard.number().to_string(),
            durations: RefCell::default(),
            facade: RefCell::default(),
        }
    }

    /// Counts an address among those served, while the value lives.
    pub(crate) fn serving(&self) -> Serving {
        self.serving.add(1);
        Serving(Arc::clone(&self.serving))
    }

    /// A key with this shard's label.
    pub(crate) fn key(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Key {
        let mut labels: Vec<Label> = labels.iter().map(|&(name, value)| Label::new(name, value.to_owned())).collect();
        labels.push(Label::new("shard", self.shard.clone()));
        Key::from_parts(name, labels)
    }

    pub(super) fn shard_label(&self) -> Label {
        Label::new("shard", self.shard.clone())
    }

    pub(crate) fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Arc<Line> {
        self.store.own(self.key(name, labels))
    }

    pub(crate) fn durations(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Rc<Durations> {
        let key = self.key(name, labels);
        let mut all = self.durations.borrow_mut();
        if let Some((_, known)) = all.iter().find(|(known, _)| *known == key) {
            return Rc::clone(known);
        }
        let durations = Rc::new(Durations::new());
        all.push((key, Rc::clone(&durations)));
        durations
    }

    /// Copies of the histograms that have changed since the last time.
    pub(super) fn snapshot(&self) -> Vec<(Key, Snapshot)> {
        let all = self.durations.borrow();
        all.iter().filter_map(|(key, durations)| Some((key.clone(), durations.snapshot()?))).collect()
    }
}

/// An address is served while this lives.
pub(crate) struct Serving(Arc<Line>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// Tells running shards apart, those of different runtimes too.
fn identity(shard: &Shard) -> usize {
    Arc::as_ptr(shard.stats()).addr()
}

impl Deref for Line {
    type Target = Counter;

    #[inline]
    fn deref(&self) -> &Counter {
        &self.0
    }
}

impl Shared {
    pub(super) fn add(&self, count: u64) {
        match self.home != 0 && Shard::current().is_some_and(|shard| identity(&shard) == self.home) {
            true => self.own.add(count),
            false => drop(self.others.fetch_add(count, Ordering::Relaxed)),
        }
    }

    /// Raises it to a value counted elsewhere.
    pub(super) fn raise(&self, value: u64) {
        self.others.fetch_max(value.saturating_sub(self.own.get()), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.own.get().wrapping_add(self.others.load(Ordering::Relaxed))
    }
}

impl Float {
    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn add(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).expect("the closure always gives a value");
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Summary {
    pub(super) fn record(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        // It grows as needed up to the whole range of a u64, which the cast saturates at.
        self.histogram.record((value.max(0.0) * MILLIONTHS) as u64).expect("a growing histogram takes any value");
        self.sum += value;
    }

    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        self.histogram.value_at_quantile(quantile) as f64 / MILLIONTHS
    }

    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }
}

impl Default for Summary {
    fn default() -> Self {
        let histogram = Histogram::new(2).expect("two digits are admissible");
        Summary { histogram, sum: 0.0 }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        })
    }
}

/// Samples of the facade are floating-point numbers, of seconds mostly; a histogram counts whole ones.
const MILLIONTHS: f64 = 1e6;
