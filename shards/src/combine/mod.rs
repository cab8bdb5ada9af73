//! Futures made of futures: several at once, the first of several, again after a failure, and what must not be cut short.
//!
//! The one idea: the branches live inside the combined future and are polled by the task that awaits it, with its own
//! waker, so a tuple of up to [`BRANCHES_MAX`] branches needs neither memory nor a task of its own. Whatever wakes the task
//! makes all unfinished branches be asked, in order: right for a handful. Many belong into tasks of a
//! [`Scope`](crate::Scope).
//!
//! Dropping a combined future drops its branches where they stand; the losers of a race are dropped when it is won. What
//! they had in flight is abandoned to the reactor, which disposes of what still lands: no descriptor and no buffer is lost.

mod all;
mod defer;
mod race;
mod retry;

pub use all::{All, TryAll, all, try_all};
pub use defer::{Defer, defer};
pub use policy::budget;
pub use race::{Race, RaceOk, race, race_ok};
pub use retry::{Attempt, Backoff, retry};

use std::future::Future;
use std::time::Instant;

use crate::{JoinError, Shard, SpawnError, TimedOut};

/// The largest tuple of branches. Each costs an instruction or two in every poll of the others.
pub const BRANCHES_MAX: usize = 8;

impl Shard {
    /// Runs `work`, but not beyond `deadline`; then it is dropped where it stands.
    pub async fn deadline<F: Future>(&self, deadline: Instant, work: F) -> Result<F::Output, TimedOut> {
        self.timeout(deadline.saturating_duration_since(self.now()), work).await
    }

    /// Runs `work` to its end, whatever becomes of whoever waits for it: as a task of its own. Dropping the future that this
    /// returns lets it run on.
    ///
    /// Errors: the shard ends first, or has as many tasks as it admits (then `work` is dropped). A panic of `work` comes back
    /// as one.
    pub async fn shield<F: Future + 'static>(&self, work: F) -> Result<F::Output, SpawnError> {
        match self.spawn(work)?.await {
            Ok(output) => Ok(output),
            Err(JoinError::Panicked(payload)) => std::panic::resume_unwind(payload),
            Err(JoinError::Cancelled) => Err(SpawnError::Closed),
        }
    }
}

#[cfg(test)]
mod tests;
