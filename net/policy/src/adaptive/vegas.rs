//! The limit is what keeps a few calls in the server's queue.
//!
//! After Netflix's `VegasLimit`, and TCP Vegas: if answers take `slowdown` times as long as without a queue, then of `limit` calls
//! under way `limit * (1 - 1 / slowdown)` wait in one. Few: the limit grows; many: it shrinks; in between it stays. What few and
//! many are, and how large a step is, grows with the logarithm of the limit.

use crate::limits::{VEGAS_FEW, VEGAS_MANY};

/// The limit after a window in which answers took so many times as long as without a queue.
pub(super) fn next(limit: f64, slowdown: f64) -> f64 {
    let step = step(limit);
    let queue = limit * (1.0 - 1.0 / slowdown);
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

/// The limit after a window in which calls were dropped.
pub(super) fn dropped(limit: f64) -> f64 {
    limit - step(limit)
}

fn step(limit: f64) -> f64 {
    limit.log10().max(1.0)
}

#[cfg(test)]
mod tests;
