//! A task as a number. Its one idea: the number names the task to any thread for ever, and holds no memory; a number
//! whose task, shard or world is gone names nobody.

use std::task::Waker;

use super::raw;
use crate::limits::{TASKS_MAX, WORLDS_MAX};
use crate::world::World;

/// Who is to be woken: ten bits of world, twenty-two of slot, thirty-two of generation. It is what a waker of ours
/// holds, for whoever stores many of them and would rather keep eight bytes than sixteen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskNumber(u64);

impl TaskNumber {
    #[inline]
    pub(super) fn new(world: u32, slot: u32, generation: u32) -> Self {
        TaskNumber(u64::from(world) << 54 | u64::from(slot) << 32 | u64::from(generation))
    }

    /// The number in this waker. None if the waker belongs to someone else, as those of combinators do.
    #[inline]
    pub fn of(waker: &Waker) -> Option<Self> {
        raw::number_of(waker).map(TaskNumber)
    }

    /// The number from its bits.
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        TaskNumber(bits)
    }

    /// The bits of the number.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// A waker for the task.
    pub fn waker(self) -> Waker {
        raw::waker(self.0)
    }

    /// Wakes the task: at home, when its shard is the current one of this thread, by putting it on the run queue; from
    /// anywhere else through its world.
    #[inline]
    pub fn wake(self) {
        let at_home = raw::with_core(|core| match core {
            Some(core) if core.world.number() == self.world() => {
                core.wake(self);
                true
            }
            _ => false,
        });
        if !at_home {
            self.wake_foreign();
        }
    }

    #[cold]
    fn wake_foreign(self) {
        if let Some(world) = World::get(self.world()) {
            world.wake(self.slot());
        }
    }

    #[inline]
    pub(super) fn with_waker<T>(self, f: impl FnOnce(&Waker) -> T) -> T {
        raw::with_waker(self.0, f)
    }

    /// The number of the world that the task's shard runs in.
    #[inline]
    pub fn world(self) -> u32 {
        (self.0 >> 54) as u32
    }

    #[inline]
    pub(super) fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & (SLOTS - 1)
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        self.0 as u32
    }
}

const SLOTS: u32 = 1 << 22;
const _: () = assert!(TASKS_MAX <= SLOTS && WORLDS_MAX <= 1 << 10);
