//! The executor of one shard: tasks, their wakers and the queue of those that are ready. Its one idea: a waker is a
//! number (world, slot, generation), so cloning it copies a word, dropping it does nothing, and waking an own task pushes
//! a slot on a queue. It knows nothing of I/O or time: the turn hands in what has happened and how long to run.
//!
//! A task's slot is a header in a table and a piece of pooled memory that holds the future, later its result. While the
//! future runs, the poll owns it, out of reach of whatever else the future calls. A slot is used again when the task
//! has ended, its `JoinHandle` is gone, and it stands in no queue; generations only spare a late wake's poll.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::limits::{BEGINS_PER_TURN, OPS_PER_POLL, POLLS_PER_BEGIN, POLLS_PER_CLOCK, TASKS_MAX, UNDER_WAY_WARM};
use crate::models::Footing;
use crate::world::{Claim, World};

pub mod budget;
mod group;
mod join;
mod local;
mod number;
mod raw;
mod slots;
mod yields;

pub use group::TaskGroup;
pub use join::{JoinError, JoinHandle};
pub use local::Locals;
pub use number::TaskNumber;
pub use raw::{Leased, Pooled, current};
pub(crate) use raw::{bury, footing, on_no_shard, with_footing, with_private};
pub use yields::{YieldNow, yield_now};

use raw::{Ended, Pool, RawTask};
use slots::{ABORTED, AT_REST, DONE, Header, JOINABLE, LIVE, Queue, RUNNING, SCHEDULED, Slots, UNDER_WAY};

/// The tasks of one shard. Dropping it drops all futures; their join handles then answer `Cancelled`.
pub struct Tasks {
    core: Rc<Core>,
    claim: Claim,
}

/// What the tasks, their handles and the current shard share.
struct Core {
    world: &'static World,
    slots: Slots,
    /// Those that go on with what they have begun.
    ready: Queue,
    /// Those that were at rest.
    fresh: Queue,
    /// How many have begun something since they were at rest.
    under_way: Cell<u32>,
    /// What is left of the running poll's operation budget.
    ops: Cell<u32>,
    running: Cell<bool>,
    closed: Cell<bool>,
    pool: Rc<Pool>,
    counts: Counts,
    on_panic: RefCell<Option<Rc<PanicHook>>>,
}

type PanicHook = dyn Fn(&(dyn Any + Send));

#[derive(Default)]
struct Counts {
    spawned: Cell<u64>,
    refused: Cell<u64>,
    polls: Cell<u64>,
    panics: Cell<u64>,
    panics_unjoined: Cell<u64>,
}

impl Tasks {
    /// No tasks yet, woken through the world of this claim.
    pub fn new(claim: Claim) -> Self {
        let core = Core {
            world: claim.world(),
            slots: Slots::new(),
            ready: Queue::new(),
            fresh: Queue::new(),
            under_way: Cell::new(0),
            ops: Cell::new(OPS_PER_POLL),
            running: Cell::new(false),
            closed: Cell::new(false),
            pool: Pool::new(),
            counts: Counts::default(),
            on_panic: RefCell::new(None),
        };
        Tasks { core: Rc::new(core), claim }
    }

    /// The world that these tasks are woken through.
    pub fn world(&self) -> &'static World {
        self.claim.world()
    }

    /// Runs `f` with this executor and `shard` as the current ones: wakes of own tasks take the short way, and
    /// [`current`] answers with `shard`. Calls nest, as when several simulated shards share a thread.
    pub fn enter<T: 'static, R>(&self, shard: &Rc<T>, f: impl FnOnce() -> R) -> R {
        raw::enter(&self.core, shard, f)
    }

    /// Whether they are those that this thread has [entered](Tasks::enter).
    #[inline]
    pub(crate) fn are_current(&self) -> bool {
        raw::with_core(|core| core.is_some_and(|core| std::ptr::eq(core, &*self.core)))
    }

    /// Starts a task; it runs at the next [`run`](Tasks::run). Dropping the handle detaches it.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Result<JoinHandle<F::Output>, SpawnError> {
        Core::spawn(&self.core, future)
    }

    /// Puts a value into memory of the pool that tasks use.
    #[inline(always)]
    pub fn pooled<T>(&self, make: impl FnOnce() -> T) -> Pooled<T> {
        Pooled::new(self.core.pool.clone(), make)
    }

    /// Makes a future in memory leased from the pool that tasks use, for one call of a handler.
    #[inline(always)]
    pub fn lease<'a, F: Future + 'a>(&self, make: impl FnOnce() -> F) -> Leased<'a, F::Output> {
        Leased::new(self.core.pool.clone(), make)
    }

    /// Makes the tasks ready that other threads have woken.
    pub fn take_wakes(&self) {
        self.core.world.take_wakes(|slot| {
            if let Some(header) = self.core.slots.get(slot) {
                self.core.schedule(slot, header);
            }
        });
    }

    /// Wakes the task of this number without asking which shard is the current one.
    pub fn wake(&self, number: TaskNumber) {
        match number.world() == self.core.world.number() {
            true => self.core.wake(number),
            false => number.wake(),
        }
    }

    /// Makes every task ready, to see that something has changed for all of them. Costs time with the number of tasks.
    pub fn wake_everyone(&self) {
        for slot in 0..self.core.slots.count() {
            self.core.schedule(slot, self.core.slots.at(slot));
        }
    }

    /// Polls ready tasks, first woken first, until none is ready or `time_is_up`, which is asked once in
    /// [`POLLS_PER_CLOCK`] polls. Tasks woken meanwhile go behind the others. Returns the number of polls.
    ///
    /// Those that were [at rest](Tasks::rest) come behind all others, and once many are under way only few begin in a turn: what has
    /// been begun is finished before more is begun, so that its memory is warm
    /// (`decisions/2026-11-26-what-is-begun-is-finished-first.md`).
    ///
    /// # Panics
    ///
    /// When called from one of the tasks. What a task's own code panics with stays with the task.
    pub fn run(&self, mut time_is_up: impl FnMut() -> bool) -> u32 {
        assert!(!self.core.running.get(), "a task must not run the executor that runs it");
        let _running = Running::start(&self.core.running);
        let (mut polls, mut begun) = (0, 0);
        // Once for all polls: whoever stands elsewhere meanwhile comes back.
        raw::with_footing(Footing::Task, || {
            while let Some((slot, header, is_fresh)) = self.core.pop(polls, begun) {
                self.core.poll(slot, header);
                polls += 1;
                begun += u32::from(is_fresh);
                if polls % POLLS_PER_CLOCK == 0 && time_is_up() {
                    break;
                }
            }
        });
        self.core.counts.polls.set(self.core.counts.polls.get() + u64::from(polls));
        polls
    }

    /// Polls something that is no task of its own, for whoever drives the shard: what wakes it wakes the task of this number.
    /// To be called within [`enter`](Tasks::enter).
    pub(crate) fn poll_for<R>(&self, number: TaskNumber, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        self.core.ops.set(OPS_PER_POLL);
        let poll = || number.with_waker(|waker| poll(&mut Context::from_waker(waker)));
        raw::with_footing(Footing::Task, poll)
    }

    /// Whether a task is ready to run.
    pub fn has_ready(&self) -> bool {
        !self.core.ready.is_empty() || !self.core.fresh.is_empty()
    }

    /// The running task has finished what it was at: whatever wakes it next has it begin something.
    #[inline]
    pub fn rest(&self, waker: &Waker) {
        if let Some(header) = self.header_of(waker) {
            self.core.ends_its_way(header);
            header.flags.set(header.flags.get() | AT_REST);
        }
    }

    /// The running task goes on for good: it has begun nothing that others should wait for.
    pub fn stay(&self, waker: &Waker) {
        if let Some(header) = self.header_of(waker) {
            self.core.ends_its_way(header);
        }
    }

    /// The task that this wakes, if it is one of these.
    #[inline]
    fn header_of(&self, waker: &Waker) -> Option<&Header> {
        let number = TaskNumber::of(waker).filter(|number| number.world() == self.core.world.number())?;
        self.core.slots.get(number.slot()).filter(|header| header.generation.get() == number.generation())
    }

    /// Drops all futures, each contained in case its `drop` panics; nothing can be spawned from now on. A task that calls
    /// this is dropped when its poll returns.
    pub fn close(&self) {
        self.core.close();
    }

    /// What to do with the panic of a task that nobody joins, before it is dropped; it is counted in any case.
    pub fn on_unjoined_panic(&self, hook: impl Fn(&(dyn Any + Send)) + 'static) {
        let old = self.core.on_panic.replace(Some(Rc::new(hook)));
        drop(old);
    }

    /// The counters as they stand.
    pub fn stats(&self) -> TaskStats {
        let (core, counts) = (&*self.core, &self.core.counts);
        TaskStats {
            live: core.slots.live(),
            under_way: core.under_way.get(),
            spawned: counts.spawned.get(),
            refused: counts.refused.get(),
            polls: counts.polls.get(),
            panics: counts.panics.get(),
            panics_unjoined: counts.panics_unjoined.get(),
            blocks_used: Pool::blocks_used(&core.pool),
            slab_bytes: core.pool.slab_bytes(),
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("world", self.core.world).field("stats", &self.stats()).finish()
    }
}

impl Core {
    fn spawn<F: Future + 'static>(this: &Rc<Self>, future: F) -> Result<JoinHandle<F::Output>, SpawnError> {
        let (slot, header) = this.reserve()?;
        let task = RawTask::new(this.pool.clone(), future);
        this.start(slot, header, task);
        Ok(JoinHandle::new(this.clone(), slot))
    }

    fn reserve(&self) -> Result<(u32, &Header), SpawnError> {
        let slot = match self.closed.get() {
            true => Err(SpawnError::Closed),
            false => self.slots.reserve().ok_or(SpawnError::Full),
        };
        if slot.is_err() {
            self.counts.refused.set(self.counts.refused.get() + 1);
        }
        slot
    }

    fn start(&self, slot: u32, header: &Header, task: RawTask) {
        header.task.set(Some(task));
        header.flags.set(LIVE | JOINABLE | SCHEDULED);
        self.ready.push(&self.slots, slot, header);
        self.counts.spawned.set(self.counts.spawned.get() + 1);
    }

    fn wake(&self, number: TaskNumber) {
        if let Some(header) = self.named(number) {
            self.schedule(number.slot(), header);
        }
    }

    /// The header that this number names, or whose task it named last.
    #[inline]
    fn named(&self, number: TaskNumber) -> Option<&Header> {
        self.slots.get(number.slot()).filter(|header| header.generation.get() == number.generation())
    }

    /// The header of the task of this number, if that has not ended.
    fn live(&self, number: TaskNumber) -> Option<&Header> {
        self.named(number).filter(|header| header.flags.get() & (LIVE | DONE) == LIVE)
    }

    /// Puts a task on the queue unless it stands there already or has nothing left to do.
    #[inline]
    fn schedule(&self, slot: u32, header: &Header) {
        let flags = header.flags.get();
        if flags & (LIVE | DONE | SCHEDULED) == LIVE {
            header.flags.set(flags | SCHEDULED);
            let queue = if flags & AT_REST == 0 { &self.ready } else { &self.fresh };
            queue.push(&self.slots, slot, header);
        }
    }

    /// The task is at rest again, or has ended.
    #[inline]
    fn ends_its_way(&self, header: &Header) {
        let flags = header.flags.get();
        if flags & UNDER_WAY != 0 {
            header.flags.set(flags & !UNDER_WAY);
            self.under_way.set(self.under_way.get() - 1);
        }
    }

    /// The next task to poll in a turn that has polled and begun so much; and whether it was at rest.
    #[inline]
    fn pop(&self, polls: u32, begun: u32) -> Option<(u32, &Header, bool)> {
        let is_due = polls % POLLS_PER_BEGIN == POLLS_PER_BEGIN - 1;
        if is_due && let Some((slot, header)) = self.fresh.pop(&self.slots) {
            return Some((slot, header, true));
        }
        if let Some((slot, header)) = self.ready.pop(&self.slots) {
            return Some((slot, header, false));
        }
        if begun >= BEGINS_PER_TURN && self.under_way.get() >= UNDER_WAY_WARM {
            return None;
        }
        self.fresh.pop(&self.slots).map(|(slot, header)| (slot, header, true))
    }

    /// Polls the task that has just left the queue. The future is in our hands meanwhile, so whatever it calls finds its
    /// slot without one.
    #[inline]
    fn poll(&self, slot: u32, header: &Header) {
        let mut flags = header.flags.get() & !SCHEDULED;
        if flags & (AT_REST | DONE) == AT_REST {
            flags = flags & !AT_REST | UNDER_WAY;
            self.under_way.set(self.under_way.get() + 1);
        }
        header.flags.set(flags);
        if flags & DONE != 0 {
            return self.slots.release(slot, header);
        }
        let Some(mut task) = header.task.take() else { return };
        header.flags.set(flags | RUNNING);
        self.ops.set(OPS_PER_POLL);
        let polled = match flags & ABORTED == 0 {
            true => self.number(slot, header).with_waker(|waker| task.poll(&mut Context::from_waker(waker))),
            false => Poll::Ready(task.cancel()),
        };
        let ended = match polled {
            Poll::Ready(ended) => ended,
            Poll::Pending if self.closed.get() => task.cancel(),
            Poll::Pending => {
                header.flags.set(header.flags.get() & !RUNNING);
                header.task.set(Some(task));
                return;
            }
        };
        self.finish(slot, header, task, ended);
    }

    /// The task has ended: leaves its result to the join handle, or the slot to the next task.
    fn finish(&self, slot: u32, header: &Header, task: RawTask, ended: Ended) {
        if ended == Ended::Panicked {
            self.counts.panics.set(self.counts.panics.get() + 1);
        }
        self.ends_its_way(header);
        let flags = header.flags.get() & !RUNNING | DONE;
        header.flags.set(flags);
        if flags & JOINABLE != 0 {
            header.task.set(Some(task));
            if let Some(joiner) = header.joiner.take() {
                self.wake_joiner(joiner);
            }
        } else {
            // The slot first: dropping the result runs the user's code, which must find everything in order.
            self.slots.release(slot, header);
            self.discard(task);
        }
    }

    fn wake_joiner(&self, joiner: Waker) {
        match TaskNumber::of(&joiner) {
            Some(number) if number.world() == self.world.number() => {
                // It is a number and holds nothing, so the call of its `drop` is spared.
                std::mem::forget(joiner);
                self.wake(number);
            }
            _ => self.contain(|| joiner.wake()),
        }
    }

    /// The join handle is dropped, with the result or without it.
    fn unjoin(&self, slot: u32) {
        let header = self.slots.at(slot);
        let flags = header.flags.get() & !JOINABLE;
        header.flags.set(flags);
        let joiner = header.joiner.take();
        if flags & DONE != 0 {
            let task = header.task.take();
            self.slots.release(slot, header);
            if let Some(task) = task {
                self.discard(task);
            }
        }
        drop(joiner);
    }

    /// Drops a result that nobody wants; a panic is reported.
    fn discard(&self, mut task: RawTask) {
        if let Some(payload) = task.take_panic() {
            self.report(payload);
        }
        self.contain(|| drop(task));
    }

    /// Runs code of the user's that has no one to unwind to.
    fn contain(&self, f: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
            self.counts.panics.set(self.counts.panics.get() + 1);
            self.report(payload);
        }
    }

    #[cold]
    fn report(&self, payload: Box<dyn Any + Send>) {
        self.counts.panics_unjoined.set(self.counts.panics_unjoined.get() + 1);
        let hook = self.on_panic.borrow().clone();
        if let Some(hook) = hook
            && let Err(second) = catch_unwind(AssertUnwindSafe(|| hook(&*payload)))
        {
            raw::bury(second);
        }
        raw::bury(payload);
    }

    fn close(&self) {
        self.closed.set(true);
        for slot in 0..self.slots.count() {
            let header = self.slots.at(slot);
            let flags = header.flags.get();
            if flags & (LIVE | DONE | RUNNING) == LIVE
                && let Some(mut task) = header.task.take()
            {
                header.flags.set(flags | RUNNING);
                let ended = task.cancel();
                self.finish(slot, header, task, ended);
            }
        }
        while let Some((slot, header)) = self.ready.pop(&self.slots).or_else(|| self.fresh.pop(&self.slots)) {
            header.flags.set(header.flags.get() & !SCHEDULED);
            self.slots.release(slot, header);
        }
    }

    fn number(&self, slot: u32, header: &Header) -> TaskNumber {
        TaskNumber::new(self.world.number(), slot, header.generation.get())
    }
}

/// Says that the executor runs, until it is dropped.
struct Running<'a>(&'a Cell<bool>);

impl<'a> Running<'a> {
    fn start(running: &'a Cell<bool>) -> Self {
        running.set(true);
        Running(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// The counters of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStats {
    /// Tasks that have not ended, or whose result waits for its join handle.
    pub live: u32,
    /// Those of them that were [at rest](crate::Shard::rest) and have begun something.
    pub under_way: u32,
    /// Tasks ever started.
    pub spawned: u64,
    /// Tasks refused, because there were too many or the executor was closed.
    pub refused: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Panics caught, in a poll or a drop.
    pub panics: u64,
    /// Those of them that no join handle got.
    pub panics_unjoined: u64,
    /// Pieces of memory that hold a task or a leased future.
    pub blocks_used: usize,
    /// Bytes taken from the heap for such pieces, and kept.
    pub slab_bytes: usize,
}

/// Why a task was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnError {
    /// [`TASKS_MAX`] tasks are alive on this shard.
    Full,
    /// The shard is stopping.
    Closed,
    /// There is no stack for a green thread: as many are in use as the shard admits (`Full`), the system has no memory, or
    /// the processor's stacks cannot be switched.
    NoStack(platform::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Full => write!(f, "{TASKS_MAX} tasks are alive on this shard already"),
            SpawnError::Closed => f.write_str("the shard is stopping and starts no more tasks"),
            SpawnError::NoStack(platform::Error::Full) => f.write_str(
                "the shard has as many green threads as it admits; `Builder::green_threads_max` admits more",
            ),
            SpawnError::NoStack(error) => write!(f, "no stack for a green thread: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {}

#[cfg(test)]
mod tests;
