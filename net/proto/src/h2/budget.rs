//! What a peer may ask of us that serves nobody.
//!
//! The one idea: frames that cost work and bring nothing (a ping, a stream that is reset, settings over and over) are paid
//! from one budget. What is of use gives some of it back, and so does time; who has spent it all is told to calm down. So
//! no flood needs a rule of its own, and whoever works much may also err much.

use std::time::Duration;

use super::limits::Limits;

#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    max: u32,
    /// When time last gave something back.
    since: Option<Duration>,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Budget {
        Budget { left: limits.idle_work_max, max: limits.idle_work_max, since: None }
    }

    /// Pays; false if there is not enough left.
    pub(super) fn spend(&mut self, cost: u32, now: Duration, limits: &Limits) -> bool {
        let since = *self.since.get_or_insert(now);
        let seconds = now.saturating_sub(since).as_secs();
        if seconds > 0 {
            let refill = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(limits.idle_work_per_second);
            self.left = self.left.saturating_add(refill).min(self.max);
            self.since = Some(since + Duration::from_secs(seconds));
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// An exchange was completed.
    #[inline]
    pub(super) fn earn(&mut self) {
        self.left = self.left.saturating_add(1).min(self.max);
    }
}
