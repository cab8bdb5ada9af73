//! Durations of one series on one shard, and their snapshot as the buckets that Prometheus expects.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use shards::{Shard, TurnEnd};

use crate::limits::{DURATION_MAX, DURATION_STEP};

/// A histogram that its shard alone touches. Two significant digits: within one per cent, in some 20 KiB.
pub(crate) struct Durations {
    histogram: RefCell<Histogram<u64>>,
    nanoseconds: Cell<u64>,
    /// Those that ended in the turn they began in, until it ends: their duration is the turn's.
    in_turn: Cell<u64>,
    /// How many there were at the last snapshot.
    taken: Cell<u64>,
}

/// What a histogram held when it was asked.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    histogram: Histogram<u64>,
    pub(crate) seconds: f64,
}

impl Durations {
    pub(crate) fn new() -> Self {
        let (step, max) = (DURATION_STEP.as_nanos() as u64, DURATION_MAX.as_nanos() as u64);
        let histogram = Histogram::new_with_bounds(step, max, 2).expect("the bounds are constants that fit");
        Durations {
            histogram: RefCell::new(histogram),
            nanoseconds: Cell::new(0),
            in_turn: Cell::new(0),
            taken: Cell::new(0),
        }
    }

    /// Some 5 ns.
    #[inline]
    pub(crate) fn record(&self, elapsed: Duration) {
        let nanoseconds = elapsed.as_nanos() as u64;
        self.histogram.borrow_mut().saturating_record(nanoseconds);
        self.nanoseconds.set(self.nanoseconds.get().wrapping_add(nanoseconds));
    }

    /// Records what began and ended in this turn: its answer leaves with the turn's end, so that is how long it took. One
    /// look at the clock does for all of them.
    #[inline]
    pub(crate) fn record_in_turn(this: &Rc<Self>, shard: &Shard) {
        let count = this.in_turn.get();
        this.in_turn.set(count + 1);
        if count == 0 {
            shard.at_turn_end(Rc::clone(this) as Rc<dyn TurnEnd>);
        }
    }

    /// A copy, if anything was recorded since the last one.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let histogram = self.histogram.borrow();
        if self.taken.replace(histogram.len()) == histogram.len() {
            return None;
        }
        Some(Snapshot { histogram: histogram.clone(), seconds: self.nanoseconds.get() as f64 / 1e9 })
    }
}

impl TurnEnd for Durations {
    fn turn_ended(&self, elapsed: Duration) {
        let (count, nanoseconds) = (self.in_turn.take(), elapsed.as_nanos() as u64);
        self.histogram.borrow_mut().saturating_record_n(nanoseconds, count);
        self.nanoseconds.set(self.nanoseconds.get().wrapping_add(nanoseconds.wrapping_mul(count)));
    }
}

impl Snapshot {
    /// How many durations were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// For each of [`BOUNDS`], how many were not longer.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut recorded = self.histogram.iter_recorded().peekable();
        let mut count = 0;
        BOUNDS.iter().map(move |&seconds| {
            let bound = (seconds * 1e9) as u64;
            while let Some(step) = recorded.next_if(|step| step.value_iterated_to() <= bound) {
                count += step.count_since_last_iteration();
            }
            (seconds, count)
        })
    }
}

/// Upper ends of the buckets in seconds: OpenTelemetry's advice for requests from 5 ms on, and as many below, where this
/// server lives.
pub(crate) const BOUNDS: [f64; 22] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
    0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
