//! An endpoint that has just come is given little, then more.
//!
//! The one idea, Envoy's: its weight is multiplied by a factor that grows with time, from a floor to 1. Caches fill and code is
//! compiled meanwhile.
//!
//! Source: Envoy, architecture overview, "Slow start mode".

use std::time::{Duration, Instant};

use crate::limits::{SLOW_START_AGGRESSION, SLOW_START_FLOOR, SLOW_START_STEP, SLOW_START_WINDOW};

/// How fast an endpoint that has just come, or come back, gets to its full weight.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::slow_start::SlowStart;
///
/// let slow_start = SlowStart { window: Duration::from_secs(60), ..SlowStart::default() };
/// let since = Instant::now();
/// assert_eq!(slow_start.factor(since, since), 0.1);
/// assert_eq!(slow_start.factor(since, since + Duration::from_secs(30)), 0.5);
/// assert_eq!(slow_start.factor(since, since + Duration::from_secs(60)), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// After this an endpoint has its full weight.
    pub window: Duration,
    /// 1: the weight grows evenly. More: faster at first.
    pub aggression: f64,
    /// The least factor, above 0 and up to 1.
    pub floor: f64,
}

impl Default for SlowStart {
    fn default() -> SlowStart {
        SlowStart { window: SLOW_START_WINDOW, aggression: SLOW_START_AGGRESSION, floor: SLOW_START_FLOOR }
    }
}

impl SlowStart {
    /// Whether this can be used; else what is wrong with it.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(self.aggression.is_finite() && self.aggression > 0.0) {
            return Err("the aggression of a slow start must be greater than 0");
        }
        if !(self.floor > 0.0 && self.floor <= 1.0) {
            return Err("the floor of a slow start must be greater than 0 and at most 1");
        }
        Ok(())
    }

    /// What to multiply the weight of an endpoint with that is there `since` then: from the floor to 1.
    #[inline]
    pub fn factor(&self, since: Instant, now: Instant) -> f64 {
        let age = now.saturating_duration_since(since);
        if age >= self.window {
            return 1.0;
        }
        let time = age.max(SLOW_START_STEP).as_secs_f64() / self.window.as_secs_f64();
        let grown = if self.aggression == 1.0 { time } else { time.powf(1.0 / self.aggression) };
        grown.max(self.floor).min(1.0)
    }
}

#[cfg(test)]
mod tests;
