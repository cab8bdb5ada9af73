//! What the service manager is told of this process's life: ready, reloading, stopping, alive. Without one, nothing.
//!
//! Alive means that every shard has answered since it was last said so: a manager that waits for that sees a shard that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use platform::Manager;

use crate::Remote;

/// This process as its service manager's.
#[derive(Debug)]
pub(super) struct Managed {
    manager: Option<Manager>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    every: Duration,
    next: Instant,
    /// Shards that have answered since they were last asked.
    answered: Arc<AtomicUsize>,
    is_asked: bool,
}

impl Managed {
    pub(super) fn of_process(now: Instant) -> Self {
        let manager = Manager::of_process().unwrap_or_else(|error| {
            tracing::warn!("the service manager hears nothing of this process: {error}");
            None
        });
        let watchdog = manager.as_ref().and_then(Manager::watchdog_time).map(|time| Watchdog {
            // Twice within the time, as sd_watchdog_enabled(3) advises; and it takes one to ask and one to tell.
            every: time / 4,
            next: now + time / 4,
            answered: Arc::default(),
            is_asked: false,
        });
        Managed { manager, watchdog }
    }

    /// It serves, or does so again after it was to reload.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// A successor starts.
    pub(super) fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", Manager::monotonic_time().as_micros()));
    }

    /// The successor serves, and is what the manager looks after from now on.
    pub(super) fn succeeded_by(&mut self, id: u32) {
        self.tell(&format!("MAINPID={id}\nREADY=1"));
        // It is told no more of this process.
        self.manager = None;
        self.watchdog = None;
    }

    /// It drains, and nobody follows.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// When to look next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.next)
    }

    /// Says that all shards are alive if they are, and asks them again, when that is due.
    pub(super) fn look(&mut self, now: Instant, shards: &[Option<Remote>]) {
        let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.next <= now) else { return };
        watchdog.next = now + watchdog.every;
        let are_alive = watchdog.answered.load(Ordering::Acquire) >= shards.len();
        if watchdog.is_asked && !are_alive {
            return;
        }
        watchdog.answered = Arc::default();
        for remote in shards.iter().flatten() {
            let answered = Arc::clone(&watchdog.answered);
            // One that has ended in order is no shard that hangs.
            if remote.send(move |_| _ = answered.fetch_add(1, Ordering::AcqRel)).is_err() {
                watchdog.answered.fetch_add(1, Ordering::AcqRel);
            }
        }
        if std::mem::replace(&mut watchdog.is_asked, true) {
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        if let Some(manager) = &self.manager
            && let Err(error) = manager.tell(state)
        {
            tracing::warn!("the service manager does not hear \"{state}\": {error}");
        }
    }
}
