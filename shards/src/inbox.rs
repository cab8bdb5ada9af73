//! Work that other threads send to a shard: a bounded queue of closures, each run on the shard between its tasks.
//!
//! This is the plain way in for threads that serve nobody (the admin listener, signals, a user's own). Shards among
//! themselves have the mesh.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Shard;
use crate::limits::INBOX_LEN_MAX;
use crate::world::World;

type Job = Box<dyn FnOnce(&Shard) + Send>;

/// A handle on a shard that any thread may hold. It outlives the shard, and says so when asked to send.
#[derive(Clone)]
pub struct Remote {
    number: usize,
    world: &'static World,
    inbox: Arc<Inbox>,
}

/// Why a closure could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The shard has ended or is ending.
    Stopped,
    /// [`INBOX_LEN_MAX`] closures wait already; try again later.
    Full,
}

/// The queue itself.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Whether something waits; read by the shard every turn without the lock.
    waiting: AtomicBool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Remote {
    pub(crate) fn new(number: usize, world: &'static World, inbox: Arc<Inbox>) -> Self {
        Remote { number, world, inbox }
    }

    /// The shard's number.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Runs `job` on the shard, soon, between its tasks; it must not block. One allocation, one lock, and a wake-up if the
    /// shard sleeps.
    ///
    /// Errors: the shard has ended, or its inbox is full. A shard that ends drops what it has not run.
    pub fn send(&self, job: impl FnOnce(&Shard) + Send + 'static) -> Result<(), SendError> {
        self.inbox.push(Box::new(job))?;
        self.world.notify();
        Ok(())
    }
}

impl Inbox {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Inbox { queue: Mutex::default(), waiting: AtomicBool::new(false) })
    }

    fn push(&self, job: Job) -> Result<(), SendError> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(SendError::Stopped);
        }
        if queue.jobs.len() >= INBOX_LEN_MAX {
            return Err(SendError::Full);
        }
        queue.jobs.push_back(job);
        self.waiting.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes all that wait now. What they send in turn comes with the next turn.
    pub(crate) fn take(&self) -> VecDeque<Job> {
        let mut queue = self.lock();
        self.waiting.store(false, Ordering::Release);
        std::mem::take(&mut queue.jobs)
    }

    /// Refuses what comes from now on and drops what waits.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut queue = self.lock();
            queue.is_closed = true;
            std::mem::take(&mut queue.jobs)
        };
        // Outside the lock: these are the senders' captures.
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote(shard {})", self.number)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Stopped => "the shard has ended",
            SendError::Full => "the shard's inbox is full",
        })
    }
}

impl std::error::Error for SendError {}
