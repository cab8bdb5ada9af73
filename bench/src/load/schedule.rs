//! When batches are to be sent.

use std::time::{Duration, Instant};

/// The times of one run's batches.
#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    stop: Instant,
    /// Batches a second of an open load; a closed one sends when it can.
    rate: Option<f64>,
    sent: u64,
}

impl Schedule {
    pub(super) fn new(start: Instant, stop: Instant, rate: Option<f64>) -> Self {
        Self { start, stop, rate, sent: 0 }
    }

    /// The time of the next batch if it has come.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        let time = self.time(now);
        if time > now || time >= self.stop {
            return None;
        }
        self.sent += 1;
        Some(time)
    }

    /// Whether no batch is left to be sent.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.time(now) >= self.stop
    }

    /// Batches whose time was before the stop and that were not sent.
    pub(super) fn left(&self) -> u64 {
        let all = self.rate.map_or(0, |rate| ((self.stop - self.start).as_secs_f64() * rate).ceil() as u64);
        all.saturating_sub(self.sent)
    }

    /// Counted from the start, so that no error adds up.
    fn time(&self, now: Instant) -> Instant {
        self.rate.map_or(now, |rate| self.start + Duration::from_secs_f64(self.sent as f64 / rate))
    }
}
