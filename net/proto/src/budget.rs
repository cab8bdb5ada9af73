//! What a peer may ask of us that serves nobody.
//!
//! The one idea: what costs work and bring nothing (a ping, a stream that is reset, settings over and over) are paid
//! from one budget. What is of use gives some of it back, and so does time; who has spent it all is told to calm down. So
//! no flood needs a rule of its own, and whoever works much may also err much.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Budget {
    left: u32,
    max: u32,
    /// When time last gave something back.
    since: Option<Duration>,
}

impl Budget {
    pub(crate) fn new(max: u32) -> Budget {
        Budget { left: max, max, since: None }
    }

    /// Pays; false if there is not enough left. So much comes back in a second.
    pub(crate) fn spend(&mut self, cost: u32, now: Duration, per_second: u32) -> bool {
        let since = *self.since.get_or_insert(now);
        let seconds = now.saturating_sub(since).as_secs();
        if seconds > 0 {
            let refill = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(per_second);
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
    pub(crate) fn earn(&mut self) {
        self.left = self.left.saturating_add(1).min(self.max);
    }
}
