//! So many calls in so much time.
//!
//! One moment is all that is kept: the one by which everything admitted so far is paid off, if each call pays for an equal part
//! of the time (the generic cell rate algorithm of ITU-T I.371, which admits what a token bucket of the same rate and size
//! would, and never has to refill). Whoever comes too early learns how long to wait.

use std::time::{Duration, Instant};

/// Admits calls at a rate, and some at once.
///
/// In any span of time it admits at most `burst` calls and those that the rate gives for that span. A decision costs a few
/// nanoseconds.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shardwise_policy::rate::Rate;
///
/// let start = Instant::now();
/// let mut rate = Rate::new(10, Duration::from_secs(1), 2);
/// assert_eq!(rate.admit(start), Ok(()));
/// assert_eq!(rate.admit(start), Ok(()), "two at once");
/// assert_eq!(rate.admit(start), Err(Duration::from_millis(100)), "then one each tenth of a second");
/// assert_eq!(rate.admit(start + Duration::from_millis(100)), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct Rate {
    /// The time that one call pays for; none if no call may ever be made.
    each: Option<Duration>,
    /// How far ahead of its time a call may be.
    ahead_max: Duration,
    /// When all that was admitted is paid off.
    paid_by: Option<Instant>,
}

impl Rate {
    /// `count` calls in `per`, and up to `burst` at once (at least one). A count of 0 admits nothing. Where several have a part
    /// of one rate each, `per` is as many times as long.
    pub fn new(count: u32, per: Duration, burst: u32) -> Rate {
        let each = match count {
            0 => None,
            // Rounded up, so that it is never more than the rate.
            count => Some(per.saturating_add(Duration::from_nanos(u64::from(count) - 1)) / count),
        };
        let ahead_max = each.unwrap_or_default().saturating_mul(burst.saturating_sub(1));
        Rate { each, ahead_max, paid_by: None }
    }

    /// A call wants to be made. It may, or it may try again after so long, when it will be admitted unless another came first.
    /// [`Duration::MAX`] says never.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let each = self.each.ok_or(Duration::MAX)?;
        let paid_by = self.paid_by.map_or(now, |paid_by| paid_by.max(now));
        let ahead = paid_by.saturating_duration_since(now);
        if ahead > self.ahead_max {
            return Err(ahead - self.ahead_max);
        }
        // A moment beyond what the system's clock can name is as good as never.
        self.paid_by = Some(paid_by.checked_add(each).ok_or(Duration::MAX)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
