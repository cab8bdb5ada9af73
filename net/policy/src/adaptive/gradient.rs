//! The limit follows the ratio of the usual time to the present one.
//!
//! After Netflix's `Gradient2Limit`: while answers take as long as usual, give or take a tolerance, the limit grows by a few calls;
//! when they take longer, it shrinks in proportion, by half at most. Part of each step is taken only, since single windows err.
//! `Gradient2Limit` does not heed drops; here they shrink the limit by a tenth, as with Netflix's `AIMDLimit`.

use crate::limits::{ADAPTIVE_DROP, GRADIENT_QUEUE, GRADIENT_SHRINK_MAX, GRADIENT_SMOOTHING, GRADIENT_TOLERANCE};

/// The limit after a window in which answers took so many times as long as usual.
pub(super) fn next(limit: f64, slowdown: f64) -> f64 {
    let gradient = (GRADIENT_TOLERANCE / slowdown).clamp(GRADIENT_SHRINK_MAX, 1.0);
    let next = limit * gradient + GRADIENT_QUEUE;
    limit + (next - limit) * GRADIENT_SMOOTHING
}

/// The limit after a window in which calls were dropped.
pub(super) fn dropped(limit: f64) -> f64 {
    limit * ADAPTIVE_DROP
}

#[cfg(test)]
mod tests;
