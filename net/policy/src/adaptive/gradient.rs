//! The limit follows the ratio of the usual time to the present one.
//!
//! After Netflix's `Gradient2Limit`: while answers take as long as usual, give or take a tolerance, the limit grows by a few calls;
//! when they take longer, it shrinks in proportion, by half at most. Part of each step is taken only, since single windows err.
//!
//! The usual time is an average over many windows, as there; but a window in which the limit was reached does not count for it, since
//! what it shows is partly the queue that the limit has let grow. Nor does Netflix's heed drops; here they shrink the limit by a
//! tenth, as its `AIMDLimit` does.

use super::Seen;
use crate::limits::{
    ADAPTIVE_DROP, GRADIENT_QUEUE, GRADIENT_SHRINK_MAX, GRADIENT_SMOOTHING, GRADIENT_TOLERANCE, GRADIENT_WINDOWS,
};

#[derive(Debug, Default)]
pub(super) struct Gradient {
    /// What an answer usually takes, in seconds.
    usual: Option<f64>,
}

impl Gradient {
    pub(super) fn next(&mut self, limit: f64, seen: &Seen) -> f64 {
        let now = seen.average();
        if let Some(now) = now {
            self.learn(now, f64::from(seen.in_flight_max) >= limit.floor());
        }
        if seen.drops > 0 {
            return limit * ADAPTIVE_DROP;
        }
        match (self.usual, now) {
            (Some(usual), Some(now)) if !seen.is_idle(limit) => {
                let gradient = (GRADIENT_TOLERANCE * usual / now).clamp(GRADIENT_SHRINK_MAX, 1.0);
                let next = limit * gradient + GRADIENT_QUEUE;
                limit + (next - limit) * GRADIENT_SMOOTHING
            }
            _ => limit,
        }
    }

    /// An unhurried answer takes as long as these.
    pub(super) fn rebase(&mut self, seen: &Seen) {
        self.usual = seen.average().or(self.usual);
    }

    fn learn(&mut self, now: f64, is_limited: bool) {
        let usual = self.usual.get_or_insert(now);
        if now * 2.0 < *usual {
            // It was learned in bad times; as with Netflix's, it is unlearned quickly.
            *usual *= 0.9;
        } else if !is_limited {
            *usual += (now - *usual) * 2.0 / (GRADIENT_WINDOWS + 1.0);
        }
    }
}

#[cfg(test)]
mod tests;
