//! What a balancer knows of one endpoint.

use std::time::{Duration, Instant};

use crate::ewma::PeakEwma;
use crate::limits::{WEIGHT_MAX, WEIGHT_MIN};

/// One endpoint, as it comes into a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The same for as long as the endpoint exists and different from all others: a hash of its name or address. Rings and
    /// tables are made from it, so that they come out alike wherever it is the same.
    pub id: u64,
    /// How much it can take beside the others: one of weight 2 is given twice as much as one of weight 1. Counts as between
    /// [`WEIGHT_MIN`](crate::limits::WEIGHT_MIN) and [`WEIGHT_MAX`](crate::limits::WEIGHT_MAX), and as 1 if it is no number.
    pub weight: f32,
    /// The part of the endpoint that is this shard's, above 0 and up to 1: less than 1 at the edges of a
    /// [subset](crate::subset). Bounded as a weight is.
    pub share: f32,
}

impl Entry {
    /// An endpoint of weight 1, all of it ours.
    pub fn new(id: u64) -> Entry {
        Entry { id, weight: 1.0, share: 1.0 }
    }
}

/// What speaks against asking an endpoint. Nothing, at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Its probes fail.
    pub is_failing: bool,
    /// It does worse than the others, and is left alone for a while.
    pub is_ejected: bool,
    /// Asked only if too few others are well.
    pub is_degraded: bool,
    /// It must not be asked, not even in a panic: its breaker is open.
    pub is_barred: bool,
}

/// What of its health matters to a pick, a bit each. A barred member has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing(u8);

impl Standing {
    pub(super) const BARRED: Standing = Standing(0);
    pub(super) const WELL: Standing = Standing(1);
    pub(super) const DEGRADED: Standing = Standing(2);
    pub(super) const ILL: Standing = Standing(4);
    pub(super) const USABLE: Standing = Standing(1 | 2);
    pub(super) const ANY: Standing = Standing(1 | 2 | 4);

    #[inline]
    pub(super) fn is_among(self, others: Standing) -> bool {
        self.0 & others.0 != 0
    }
}

/// One endpoint in a balancer's set.
#[derive(Clone, Debug)]
pub struct Member {
    id: u64,
    weight: f32,
    share: f32,
    outstanding: u32,
    elsewhere: Option<u32>,
    health: Health,
    standing: Standing,
    since: Instant,
    pub(super) latency: PeakEwma,
}

impl Member {
    pub(super) fn new(id: u64, since: Instant, decay: Duration) -> Member {
        Member {
            id,
            weight: 1.0,
            share: 1.0,
            outstanding: 0,
            elsewhere: None,
            health: Health::default(),
            standing: Standing::WELL,
            since,
            latency: PeakEwma::new(decay, since),
        }
    }

    /// The endpoint's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How much it can take beside the others.
    pub fn weight(&self) -> f32 {
        self.weight
    }

    /// The part of it that is this shard's.
    pub fn share(&self) -> f32 {
        self.share
    }

    /// This shard's calls to it that are under way.
    pub fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// The calls of other shards, as far as they have told.
    pub fn elsewhere(&self) -> Option<u32> {
        self.elsewhere
    }

    /// What speaks against asking it.
    pub fn health(&self) -> Health {
        self.health
    }

    /// How long it takes to answer.
    pub fn latency(&self) -> &PeakEwma {
        &self.latency
    }

    /// From when on it was there, or there again: what its slow start is counted from.
    pub fn since(&self) -> Instant {
        self.since
    }

    #[inline]
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// What it should be given of this shard's calls, beside the others.
    #[inline]
    pub(super) fn due(&self) -> f64 {
        f64::from(self.weight) * f64::from(self.share)
    }

    /// This shard's calls to it for each unit of what is due to it.
    #[inline]
    pub(super) fn load_here(&self) -> f64 {
        f64::from(self.outstanding) / self.due()
    }

    /// All shards' calls to it for each unit of weight, if they have told of theirs.
    #[inline]
    pub(super) fn load_everywhere(&self) -> Option<f64> {
        Some((f64::from(self.outstanding) + f64::from(self.elsewhere?)) / f64::from(self.weight))
    }

    /// All calls to it that are known of.
    #[inline]
    pub(super) fn calls(&self) -> u64 {
        u64::from(self.outstanding) + u64::from(self.elsewhere.unwrap_or(0))
    }

    pub(super) fn weigh(&mut self, entry: &Entry) {
        self.weight = bounded(entry.weight);
        self.share = bounded(entry.share).min(1.0);
    }

    #[inline]
    pub(super) fn begin(&mut self) {
        self.outstanding = self.outstanding.saturating_add(1);
    }

    #[inline]
    pub(super) fn end(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    pub(super) fn hear(&mut self, elsewhere: Option<u32>) {
        self.elsewhere = elsewhere;
    }

    /// Whoever passes its probes again after it has failed them starts slowly.
    pub(super) fn judge(&mut self, health: Health, now: Instant) {
        if self.health.is_failing && !health.is_failing {
            self.since = now;
        }
        self.health = health;
        self.standing = match health {
            Health { is_barred: true, .. } => Standing::BARRED,
            Health { is_failing: true, .. } | Health { is_ejected: true, .. } => Standing::ILL,
            Health { is_degraded: true, .. } => Standing::DEGRADED,
            _ => Standing::WELL,
        };
    }
}

fn bounded(weight: f32) -> f32 {
    if weight.is_nan() { 1.0 } else { weight.clamp(WEIGHT_MIN, WEIGHT_MAX) }
}
