//! The table of task slots and the queue of ready ones. Its one idea: headers stay where they are, a cache line each, and
//! link to each other by number; a slot stands in the free list or in the queue but never in both, so one link serves
//! both and neither ever allocates or overflows.

use std::cell::{Cell, OnceCell};
use std::task::Waker;

use super::raw::RawTask;
use crate::limits::{TASK_SEGMENT, TASKS_MAX};

/// What the executor keeps of a task besides its future.
#[repr(align(64))]
pub(super) struct Header {
    pub(super) flags: Cell<u32>,
    /// Raised when the slot is released, so that wakers of earlier tasks no longer match.
    pub(super) generation: Cell<u32>,
    /// The next slot in the free list or in the queue.
    next: Cell<u32>,
    /// The future, or the result until it is joined; none while it is being polled.
    pub(super) task: Cell<Option<RawTask>>,
    /// Whoever polled the join handle last.
    pub(super) joiner: Cell<Option<Waker>>,
}
const _: () = assert!(size_of::<Header>() == 64);

/// The slot has a task.
pub(super) const LIVE: u32 = 1;
/// The slot stands in the queue.
pub(super) const SCHEDULED: u32 = 1 << 1;
/// The future is out of its slot, being polled or dropped.
pub(super) const RUNNING: u32 = 1 << 2;
/// The future is gone.
pub(super) const DONE: u32 = 1 << 3;
/// There is a join handle.
pub(super) const JOINABLE: u32 = 1 << 4;
/// The next poll drops the future instead.
pub(super) const ABORTED: u32 = 1 << 5;
/// Whatever wakes the task next has it begin something: it comes behind those that go on.
pub(super) const AT_REST: u32 = 1 << 6;
/// It was at rest, and has begun something.
pub(super) const UNDER_WAY: u32 = 1 << 7;

pub(super) struct Slots {
    /// Arrays, whose lengths are known, and not slices: a header is looked up nine times between a spawn and its join.
    segments: Box<[OnceCell<Box<Segment>>; SEGMENTS]>,
    /// Slots ever used; those above have never had a task.
    count: Cell<u32>,
    free: Cell<u32>,
    live: Cell<u32>,
}

type Segment = [Header; TASK_SEGMENT as usize];

const SEGMENTS: usize = (TASKS_MAX / TASK_SEGMENT) as usize;

impl Slots {
    pub(super) fn new() -> Self {
        Slots { segments: array(OnceCell::new), count: Cell::new(0), free: Cell::new(NONE), live: Cell::new(0) }
    }

    /// The header of this slot, if it has ever been used.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Header> {
        let segment = self.segments.get((slot / TASK_SEGMENT) as usize)?.get()?;
        Some(&segment[(slot % TASK_SEGMENT) as usize])
    }

    /// The header of a slot that is in use.
    #[inline]
    pub(super) fn at(&self, slot: u32) -> &Header {
        self.get(slot).expect("a slot in use has a header")
    }

    /// Slots ever used.
    pub(super) fn count(&self) -> u32 {
        self.count.get()
    }

    /// Slots in use.
    pub(super) fn live(&self) -> u32 {
        self.live.get()
    }

    /// A slot for a new task: the one released last, because it is warm. None if all are in use.
    #[inline]
    pub(super) fn reserve(&self) -> Option<(u32, &Header)> {
        let (slot, header) = match self.free.get() {
            NONE => self.fresh()?,
            slot => {
                let header = self.at(slot);
                self.free.set(header.next.get());
                (slot, header)
            }
        };
        self.live.set(self.live.get() + 1);
        Some((slot, header))
    }

    #[cold]
    fn fresh(&self) -> Option<(u32, &Header)> {
        let slot = self.count.get();
        let segment = self.segments.get((slot / TASK_SEGMENT) as usize)?.get_or_init(|| array(Header::new));
        self.count.set(slot + 1);
        Some((slot, &segment[(slot % TASK_SEGMENT) as usize]))
    }

    /// Makes the slot free if nothing holds it any more: the task has ended, its handle is gone, no queue names it.
    #[inline]
    pub(super) fn release(&self, slot: u32, header: &Header) {
        if header.flags.get() & (LIVE | SCHEDULED | RUNNING | DONE | JOINABLE) == LIVE | DONE {
            header.flags.set(0);
            header.generation.set(header.generation.get().wrapping_add(1));
            header.next.set(self.free.replace(slot));
            self.live.set(self.live.get() - 1);
        }
    }
}

/// An array on the heap, made there: it is too large for a stack.
fn array<T, const N: usize>(make: impl Fn() -> T) -> Box<[T; N]> {
    let values: Box<[T]> = (0..N).map(|_| make()).collect();
    values.try_into().unwrap_or_else(|_| unreachable!("as many values as places"))
}

impl Header {
    fn new() -> Self {
        Header {
            flags: Cell::new(0),
            generation: Cell::new(0),
            next: Cell::new(NONE),
            task: Cell::new(None),
            joiner: Cell::new(None),
        }
    }
}

/// The slots that are ready, first come first served. Who pushes a slot has set its `SCHEDULED`, who pops it clears it.
pub(super) struct Queue {
    head: Cell<u32>,
    tail: Cell<u32>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue { head: Cell::new(NONE), tail: Cell::new(NONE) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.get() == NONE
    }

    #[inline]
    pub(super) fn push(&self, slots: &Slots, slot: u32, header: &Header) {
        header.next.set(NONE);
        match self.tail.replace(slot) {
            NONE => self.head.set(slot),
            tail => slots.at(tail).next.set(slot),
        }
    }

    #[inline]
    pub(super) fn pop<'a>(&self, slots: &'a Slots) -> Option<(u32, &'a Header)> {
        let slot = self.head.get();
        if slot == NONE {
            return None;
        }
        let header = slots.at(slot);
        self.head.set(header.next.get());
        if header.next.get() == NONE {
            self.tail.set(NONE);
        }
        Some((slot, header))
    }
}

const NONE: u32 = u32::MAX;
