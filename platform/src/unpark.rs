//! Waking a shard that sleeps in its backend, from any thread.

use std::sync::Arc;

use crate::{Result, os};

/// Wakes one reactor that waits in [`enter`](crate::Reactor::enter). It outlives the reactor, is kept by whoever may have
/// to wake it, and does no harm afterwards. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Unparker(Arc<os::Event>);

impl Unparker {
    /// Makes the wake-up primitive of one shard (Linux: an eventfd).
    ///
    /// Errors: `OutOfDescriptors`, `OutOfMemory`.
    pub fn new() -> Result<Self> {
        os::Event::new().map(|event| Unparker(Arc::new(event)))
    }

    /// Ends the reactor's present wait, or the next one if it does not wait now. One system call: ask first whether the
    /// shard sleeps.
    pub fn unpark(&self) {
        self.0.raise();
    }

    pub(crate) fn event(&self) -> &os::Event {
        &self.0
    }
}
