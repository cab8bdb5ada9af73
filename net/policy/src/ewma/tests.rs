use std::time::{Duration, Instant};

use super::PeakEwma;
use crate::limits::{EWMA_DECAY, EWMA_PENALTY};
use crate::testing::{for_seeds, start};

const MS: Duration = Duration::from_millis(1);

/// Finagle's arithmetic, written down as its source has it: nanoseconds, and each look at the load is an observation of 0.
struct Finagle {
    stamp: f64,
    cost: f64,
    pending: f64,
}

impl Finagle {
    fn observe(&mut self, rtt: f64, now: f64) {
        let weight = (-(now - self.stamp).max(0.0) / EWMA_DECAY.as_nanos() as f64).exp();
        self.cost = if rtt > self.cost { rtt } else { self.cost * weight + rtt * (1.0 - weight) };
        self.stamp = now;
    }

    fn load(&mut self, now: f64) -> f64 {
        self.observe(0.0, now);
        if self.cost == 0.0 && self.pending != 0.0 {
            (i64::MAX >> 16) as f64 + self.pending
        } else {
            self.cost * (self.pending + 1.0)
        }
    }
}

#[test]
fn is_what_finagle_computes() {
    for_seeds(50, |random| {
        let start = start();
        let mut ours = PeakEwma::new(EWMA_DECAY, start);
        let mut theirs = Finagle { stamp: 0.0, cost: 0.0, pending: 0.0 };
        let mut at = Duration::ZERO;
        for _ in 0..1_000 {
            at += Duration::from_nanos(random.below(3_000_000_000));
            let now = at.as_nanos() as f64;
            match random.below(3) {
                0 => theirs.pending = random.below(5) as f64,
                1 => {
                    let latency = Duration::from_nanos(1 + random.below(2_000_000_000));
                    ours.observe(latency, start + at);
                    theirs.observe(latency.as_nanos() as f64, now);
                }
                _ => {
                    let (ours, theirs) = (ours.load(theirs.pending, start + at) * 1e9, theirs.load(now));
                    let is_penalty = theirs >= EWMA_PENALTY.as_nanos() as f64;
                    assert!(
                        if is_penalty { ours >= theirs } else { (ours - theirs).abs() <= theirs * 1e-9 },
                        "{ours} {theirs}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_peak_counts_at_once_and_fades_by_half_in_the_decay_times_ln_2() {
    let start = start();
    let mut latency = PeakEwma::new(EWMA_DECAY, start);
    latency.observe(MS, start);
    latency.observe(100 * MS, start);
    assert_eq!(latency.latency(start), Some(100 * MS));
    let half = start + EWMA_DECAY.mul_f64(std::f64::consts::LN_2);
    let left = latency.latency(half).unwrap();
    assert!(left.abs_diff(50 * MS) < MS / 1_000, "{left:?}");
}

#[test]
fn nothing_known_is_tried_once_and_then_waited_for() {
    let start = start();
    let mut unknown = PeakEwma::new(EWMA_DECAY, start);
    assert_eq!(unknown.latency(start), None);
    assert_eq!(unknown.load(0.0, start), 0.0);
    assert!(unknown.load(1.0, start) > EWMA_PENALTY.as_secs_f64());
    unknown.observe(MS, start);
    assert_eq!(unknown.load(1.0, start), 0.002);
}

#[test]
fn what_others_saw_counts_only_where_nothing_is_known() {
    let start = start();
    let mut latency = PeakEwma::new(EWMA_DECAY, start);
    latency.suppose(20 * MS, start);
    assert_eq!(latency.latency(start), Some(20 * MS));
    latency.suppose(500 * MS, start);
    assert_eq!(latency.latency(start), Some(20 * MS));
}

#[test]
fn odd_times_do_no_harm() {
    let start = start();
    let mut latency = PeakEwma::new(Duration::ZERO, start);
    latency.observe(Duration::MAX, start);
    assert!(latency.latency(start).is_some());
    latency.observe(MS, start + Duration::from_secs(10));
    let before: Instant = start + Duration::from_secs(5);
    assert_eq!(latency.latency(before), Some(MS), "a time that lies before the last one counts as the same");
    assert!(latency.load(f64::MAX, start + Duration::from_secs(11)).is_finite());
}
