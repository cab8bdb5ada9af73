//! The process-wide registry of worlds, one per running shard: what other threads may touch of a shard. Its one idea:
//! entries are never freed, so a waker that holds a world's number may be used from anywhere at any time, after the
//! shard's end and from a thread's last destructors too; the worst that a late wake does is a poll too many.
//! What a wake means is left to [`task`](crate::task); how a shard sleeps, to whoever runs it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::atomics::{AtomicBool, Ordering};
use crate::limits::WORLDS_MAX;
use crate::park::Sleep;

mod wakes;
use wakes::WakeSet;

/// What other threads may touch of a shard: its foreign wakes, its sleep state, and the way to end its sleep.
pub struct World {
    number: u32,
    claimed: AtomicBool,
    wakes: WakeSet,
    sleep: Sleep,
    unpark: Mutex<Option<Unpark>>,
}

type Unpark = Arc<dyn Fn() + Send + Sync>;

impl World {
    /// Takes a free world for a shard that is about to run. `unpark` ends the shard's sleep; it may be called from any
    /// thread while the claim lasts and a moment longer, and an unpark that comes before the sleep must stick.
    pub fn claim(unpark: impl Fn() + Send + Sync + 'static) -> Result<Claim, WorldsFull> {
        let unpark: Unpark = Arc::new(unpark);
        for (number, entry) in WORLDS.iter().enumerate() {
            let world = entry.get_or_init(|| World::new(number as u32));
            if !world.claimed.load(Ordering::Relaxed) && !world.claimed.swap(true, Ordering::Acquire) {
                world.wakes.take(|_| {});
                world.sleep.awake();
                world.set_unpark(Some(unpark));
                return Ok(Claim { world });
            }
        }
        Err(WorldsFull)
    }

    /// The world of this number, if one has ever been claimed.
    pub(crate) fn get(number: u32) -> Option<&'static World> {
        WORLDS.get(number as usize)?.get()
    }

    fn new(number: u32) -> World {
        World {
            number,
            claimed: AtomicBool::new(false),
            wakes: WakeSet::new(),
            sleep: Sleep::new(),
            unpark: Mutex::new(None),
        }
    }

    /// The number that this world's wakers carry.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Wakes the task in `slot` from anywhere: sets its bit, and ends the shard's sleep if it sleeps. Whatever was
    /// written before is seen by the shard when it takes the bit. Wakes of one slot coalesce.
    pub fn wake(&self, slot: u32) {
        if self.wakes.insert(slot) {
            self.notify();
        }
    }

    /// The shard takes the wakes of others, each slot once, in rising order.
    pub fn take_wakes(&self, wake: impl FnMut(u32)) {
        self.wakes.take(wake);
    }

    /// Whether others have set wakes that the shard has not taken.
    pub fn has_wakes(&self) -> bool {
        self.wakes.has_any()
    }

    /// Ends the shard's sleep if it sleeps. Call it after publishing something that the shard's look before sleeping
    /// finds.
    pub fn notify(&self) {
        if self.sleep.wake() {
            let unpark = self.unpark.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(unpark) = unpark {
                unpark();
            }
        }
    }

    /// The shard's side of the hand-shake before a sleep.
    pub fn sleep(&self) -> &Sleep {
        &self.sleep
    }

    fn set_unpark(&self, unpark: Option<Unpark>) {
        // The old one is dropped outside the lock: it is the caller's code.
        let old = std::mem::replace(&mut *self.unpark.lock().unwrap_or_else(PoisonError::into_inner), unpark);
        drop(old);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A shard's hold on its world; dropping it frees the world for another shard.
#[derive(Debug)]
pub struct Claim {
    world: &'static World,
}

impl Claim {
    /// The world itself, for whoever needs it longer than the claim lasts.
    pub fn world(&self) -> &'static World {
        self.world
    }
}

impl Deref for Claim {
    type Target = World;

    fn deref(&self) -> &World {
        self.world
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.world.set_unpark(None);
        self.world.claimed.store(false, Ordering::Release);
    }
}

/// [`WORLDS_MAX`] shards run in this process already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldsFull;

impl fmt::Display for WorldsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORLDS_MAX} shards run in this process already; end one before starting another")
    }
}

impl std::error::Error for WorldsFull {}

static WORLDS: [OnceLock<World>; WORLDS_MAX] = [const { OnceLock::new() }; WORLDS_MAX];

#[cfg(test)]
mod tests;
