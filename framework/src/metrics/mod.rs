//! Metrics: what each shard counts, and how it is read.
//!
//! A shard writes its own counters, plainly: a load and a store, through handles resolved once. Any thread may read them,
//! even while the shard stalls. Histograms are the shard's alone and come as snapshots when a scrape asks for them. Every
//! series carries the number of its shard; sums are Prometheus's work.

mod durations;
mod http;
mod recorder;
mod scrape;
mod store;
#[cfg(test)]
mod tests;
mod upstreams;

pub(crate) use http::{HttpMetrics, MethodLabel, RouteMetrics};
pub(crate) use recorder::install;
pub(crate) use store::{ShardMetrics, Store};
