//! Stand-ins: what takes a thread's place on a simulated machine, where there are none.
//!
//! The one idea: a stand-in runs on a stack of its own and finds what a thread keeps (its private shard, what cancels its work)
//! in place whenever it runs. So code that waits is the same as on a thread, but for two things: the private shard is one
//! of the simulated machine, and where a thread parks, a stand-in stops until whoever drives the simulation has it go on.
//! That is for one piece of work; threads of a pool may end between two as well, and their shards with them.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::thread::panicking;

use platform::sim::Machine;
use platform::stack::{self, Coroutine, Stack, StackSize, Stacks};
use platform::{Config, Reactor};

use super::Footing;
use super::thread::Kept;
use crate::limits::{OPS_PER_POLL, SIMULATED_PLAIN_THREADS_MAX, SIMULATED_THREAD_STACK_BYTES};
use crate::scope::{Cancelled, Cause};
use crate::shard::{Running, Seed};
use crate::task::{self, bury};

/// What the stand-ins of one kind have in common.
#[derive(Debug)]
pub(crate) struct StandIns {
    machine: Machine,
    /// For the green threads of their shards.
    green_stacks: StackSize,
    stacks: Stacks,
    footing: Footing,
}

/// One that has not ended. Dropping it unwinds its work.
pub(crate) struct StandIn {
    coroutine: Coroutine<()>,
    footing: Footing,
    post: Rc<Post>,
    /// What a thread keeps, while it does not run.
    kept: Kept,
}

/// What the waits of one stand-in ask.
#[derive(Debug)]
pub(super) struct Post {
    machine: Machine,
    green_stacks: StackSize,
    /// Why it has no stack to stop on, if it has none.
    stack: Result<(), platform::Error>,
    /// Whether any of it has run.
    has_begun: Cell<bool>,
    /// How often it has polled what it waits for since it last stopped.
    polls: Cell<u32>,
    is_unwound: Cell<bool>,
    /// Whether its thread unwound already when it last went on: so it is somebody else's panic.
    was_panicking: Cell<bool>,
}

impl StandIns {
    /// In the place of a pool's threads, as many as `count` at a time.
    pub(super) fn in_pool(machine: &Machine, green_stacks: StackSize, count: usize) -> Self {
        StandIns::new(machine, green_stacks, count, Footing::Pool)
    }

    /// In the place of plain threads.
    pub(crate) fn plain(machine: &Machine, green_stacks: StackSize) -> Self {
        StandIns::new(machine, green_stacks, SIMULATED_PLAIN_THREADS_MAX, Footing::Thread)
    }

    fn new(machine: &Machine, green_stacks: StackSize, count: usize, footing: Footing) -> Self {
        let stacks = Stacks::new(StackSize { bytes: SIMULATED_THREAD_STACK_BYTES, count });
        StandIns { machine: machine.clone(), green_stacks, stacks, footing }
    }

    /// Puts `work` on a stack, to run when it goes on for the first time.
    ///
    /// Errors: there is no stack.
    pub(crate) fn stand_in(&self, work: impl FnOnce() + 'static) -> Result<StandIn, platform::Error> {
        Ok(self.on_stack(self.stacks.take()?, work))
    }

    /// Runs `work` until it stops; `None` if it has ended without. Where there is no stack for it, it runs on this one, and a
    /// wait panics.
    pub(super) fn run(&self, work: impl FnOnce() + 'static) -> Option<StandIn> {
        match self.stacks.take() {
            Ok(stack) => {
                let mut stand_in = self.on_stack(stack, work);
                (!stand_in.go_on()).then_some(stand_in)
            }
            Err(error) => {
                let post = self.post(Err(error));
                in_place(&mut Kept::on_post(&post), self.footing, work);
                None
            }
        }
    }

    fn on_stack(&self, stack: Stack, work: impl FnOnce() + 'static) -> StandIn {
        let post = self.post(Ok(()));
        let kept = Kept::on_post(&post);
        StandIn { coroutine: Coroutine::new(stack, work), footing: self.footing, post, kept }
    }

    fn post(&self, stack: Result<(), platform::Error>) -> Rc<Post> {
        Rc::new(Post {
            machine: self.machine.clone(),
            green_stacks: self.green_stacks,
            stack,
            polls: Cell::new(0),
            has_begun: Cell::new(false),
            is_unwound: Cell::new(false),
            was_panicking: Cell::new(panicking()),
        })
    }
}

impl StandIn {
    /// Runs it on until it stops again. True if it has ended instead; with its panic, if it panics.
    pub(crate) fn go_on(&mut self) -> bool {
        self.post.polls.set(0);
        self.post.has_begun.set(true);
        // It has panicked, and whoever caught that lets time pass again.
        if self.coroutine.has_ended() {
            return true;
        }
        self.post.was_panicking.set(panicking());
        let coroutine = &mut self.coroutine;
        in_place(&mut self.kept, self.footing, || coroutine.resume()).is_some()
    }

    /// Whether it would find something to do at this moment.
    pub(crate) fn is_ready(&self) -> bool {
        !self.post.has_begun.get() || self.kept.is_ready()
    }

    /// Whether the simulated machine keeps it off its CPU.
    pub(crate) fn is_stalled(&self) -> bool {
        self.kept.shard().is_some_and(|shard| shard.is_stalled())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.post.is_unwound.set(true);
        self.post.was_panicking.set(panicking());
        let coroutine = &mut self.coroutine;
        if let Err(payload) = in_place(&mut self.kept, self.footing, || coroutine.unwind()) {
            // Nobody is left who could be told of it.
            bury(payload);
        }
    }
}

/// Runs `f` as the thread would run it that this takes the place of: with what that keeps, and on no shard.
fn in_place<R>(kept: &mut Kept, footing: Footing, f: impl FnOnce() -> R) -> R {
    /// Takes it away again, also when `f` panics.
    struct Guard<'a>(&'a mut Kept);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            task::with_private(|private| private.exchange(self.0));
        }
    }

    task::with_private(|private| private.exchange(kept));
    let _guard = Guard(kept);
    task::on_no_shard(|| task::with_footing(footing, f))
}

impl Post {
    /// Brings its shard to life.
    pub(super) fn stand(&self, seed: Seed, config: &Config) -> Result<Running, String> {
        let config = Config { stacks: self.green_stacks, ..*config };
        let seed = Seed { stacks: self.green_stacks, ..seed };
        let reactor = Reactor::simulated(&self.machine, &config);
        // Nobody sleeps in a system call.
        Running::new(seed, reactor, || {}).map_err(|error| error.to_string())
    }

    /// Whether it may wait: a destructor may not while its work unwinds, since it would stop there, and the whole thread
    /// would be taken for panicking meanwhile. Code that has caught the unwinding of a teardown is unwound on.
    #[track_caller]
    pub(super) fn check(&self) -> Result<(), Cancelled> {
        if let Err(error) = self.stack {
            panic!(
                "`.wait()` in an offloaded job of a simulation needs a stack to stop on, and there is none: {error}; let \
                 the job do what does not wait, and await the rest in the task that offloads it"
            );
        }
        let is_own = panicking() && !self.was_panicking.get();
        match self.is_unwound.get() {
            true if self.has_begun.get() && !panicking() => {
                stack::suspend();
                unreachable!("who unwinds a stand-in does not let it go on");
            }
            true => Err(Cancelled { cause: Cause::ShardEnded }),
            false if is_own => Err(Cancelled { cause: Cause::Asked("the thread panics") }),
            false => Ok(()),
        }
    }

    /// Whether it may poll what it waits for once more before it stops. Time stands still until it does, so one whose waits
    /// are all over at once would go on for ever.
    pub(super) fn may_poll(&self) -> bool {
        let polls = self.polls.get();
        self.polls.set(polls + 1);
        polls < OPS_PER_POLL
    }

    /// In the place of a thread's sleep.
    pub(super) fn stop(&self) {
        stack::suspend();
    }

    pub(super) fn is_unwound(&self) -> bool {
        self.is_unwound.get()
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").field("kept", &self.kept).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
