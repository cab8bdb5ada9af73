//! Waking a shard that sleeps in its backend, from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polling::Poller;

use crate::backend::BackendKind;
use crate::{Result, os};

/// Wakes one reactor that waits in [`enter`](crate::Reactor::enter). It outlives the reactor, is kept by whoever may have
/// to wake it, and does no harm afterwards. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Unparker(Arc<Wake>);

/// By what the backend of a kind is woken.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A number in the kernel that the ring or the epoll file looks at.
    Event(os::Event),
    /// The poller that the backend waits with. A poller that is notified ends its wait without a word, so why it ended is
    /// kept beside it.
    Poller { poller: Arc<Poller>, raised: AtomicBool },
    /// Nothing sleeps on a simulated machine.
    Nobody,
}

impl Unparker {
    /// Makes the wake-up primitive of one shard, for a reactor of that kind.
    ///
    /// Errors: `OutOfDescriptors`, `OutOfMemory`, `Unsupported` (a kind that this system has not).
    pub fn new(kind: BackendKind) -> Result<Self> {
        let wake = match kind {
            BackendKind::Uring | BackendKind::Epoll => Wake::Event(os::Event::new()?),
            BackendKind::Polling => Wake::Poller { poller: Arc::new(Poller::new()?), raised: AtomicBool::new(false) },
            BackendKind::Sim => Wake::Nobody,
        };
        Ok(Unparker(Arc::new(wake)))
    }

    /// Ends the reactor's present wait, or the next one if it does not wait now. One system call: ask first whether the
    /// shard sleeps.
    pub fn unpark(&self) {
        match &*self.0 {
            Wake::Event(event) => event.raise(),
            Wake::Poller { poller, raised } => {
                // Before the poller is notified: a wait that ends by it must find the reason.
                raised.store(true, Ordering::Release);
                // It fails only if the kernel has no memory for it. The next wake-up or time-out ends the wait.
                let _ = poller.notify();
            }
            Wake::Nobody => {}
        }
    }

    pub(crate) fn wake(&self) -> &Wake {
        &self.0
    }
}
