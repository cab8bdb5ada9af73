//! The limit is what keeps a few calls in the server's queue.
//!
//! After Netflix's `VegasLimit`, and TCP Vegas: if an answer takes `shortest` with no queue and `now` with one, then of `limit` calls
//! under way `limit * (1 - shortest / now)` wait in it. Few: the limit grows; many: it shrinks; in between it stays. What few and
//! many are, and how large a step is, grows with the logarithm of the limit, since a large server evens out more.

use super::Seen;
use crate::limits::{VEGAS_FEW, VEGAS_MANY};

#[derive(Debug, Default)]
pub(super) struct Vegas {
    /// What an answer takes at the least, in seconds.
    shortest: Option<f64>,
}

impl Vegas {
    pub(super) fn next(&mut self, limit: f64, seen: &Seen) -> f64 {
        let step = limit.log10().max(1.0);
        if seen.drops > 0 {
            return limit - step;
        }
        let Some(now) = seen.average() else {
            return limit;
        };
        let shortest = self.shortest.get_or_insert(now);
        if now < *shortest {
            *shortest = now;
        }
        if seen.is_idle(limit) {
            return limit;
        }
        let queue = (limit * (1.0 - *shortest / now)).ceil();
        if queue <= step {
            limit + VEGAS_MANY * step
        } else if queue < VEGAS_FEW * step {
            limit + step
        } else if queue > VEGAS_MANY * step {
            limit - step
        } else {
            limit
        }
    }

    /// An unhurried answer takes as long as these.
    pub(super) fn rebase(&mut self, seen: &Seen) {
        self.shortest = seen.average().or(self.shortest);
    }
}

#[cfg(test)]
mod tests;
