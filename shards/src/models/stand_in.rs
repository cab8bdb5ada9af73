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
use platform::stack::{self, Coroutine, StackSize, Stacks};
use platform::{Config, Reactor};

use super::Footing;
use super::thread::Kept;
use crate::limits::{OPS_PER_POLL, SIMULATED_JOB_STACK_BYTES};
use crate::scope::{Cancelled, Cause};
use crate::shard::{Running, Seed};
use crate::task::{self, bury};

/// What the stand-ins of a simulated pool have in common.
#[derive(Debug)]
pub(super) struct StandIns {
    machine: Machine,
    /// For the green threads of their shards.
    green_stacks: StackSize,
    stacks: Stacks,
}

/// One that has stopped in the middle of its work. Dropping it unwinds that.
pub(super) struct StandIn {
    coroutine: Coroutine<()>,
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
    /// How often it has polled what it waits for since it last stopped.
    polls: Cell<u32>,
    is_unwound: Cell<bool>,
    /// Whether its thread unwound already when it last went on: so it is somebody else's panic.
    was_panicking: Cell<bool>,
}

impl StandIns {
    /// As many as `count` at a time.
    pub(super) fn new(machine: &Machine, green_stacks: StackSize, count: usize) -> Self {
        let stacks = Stacks::new(StackSize { bytes: SIMULATED_JOB_STACK_BYTES, count });
        StandIns { machine: machine.clone(), green_stacks, stacks }
    }

    /// Runs `work` until it stops; `None` if it has ended without. Where there is no stack for it, it runs on this one, and a
    /// wait panics.
    pub(super) fn run(&self, work: impl FnOnce() + 'static) -> Option<StandIn> {
        let stack = self.stacks.take();
        let post = Rc::new(Post {
            machine: self.machine.clone(),
            green_stacks: self.green_stacks,
            stack: stack.as_ref().map(drop).map_err(|error| *error),
            polls: Cell::new(0),
            is_unwound: Cell::new(false),
            was_panicking: Cell::new(panicking()),
        });
        let mut kept = Kept::on_post(&post);
        match stack {
            Ok(stack) => {
                let mut stand_in = StandIn { coroutine: Coroutine::new(stack, work), post, kept };
                (!stand_in.go_on()).then_some(stand_in)
            }
            Err(_) => {
                in_place(&mut kept, work);
                None
            }
        }
    }
}

impl StandIn {
    /// Runs it on until it stops again. True if it has ended instead.
    pub(super) fn go_on(&mut self) -> bool {
        self.post.polls.set(0);
        self.post.was_panicking.set(panicking());
        let coroutine = &mut self.coroutine;
        in_place(&mut self.kept, || coroutine.resume()).is_some()
    }

    /// Whether it would find something to do at this moment.
    pub(super) fn is_ready(&self) -> bool {
        self.kept.is_ready()
    }

    /// Whether the simulated machine keeps it off its CPU.
    pub(super) fn is_stalled(&self) -> bool {
        self.kept.shard().is_some_and(|shard| shard.is_stalled())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.post.is_unwound.set(true);
        self.post.was_panicking.set(panicking());
        let coroutine = &mut self.coroutine;
        if let Err(payload) = in_place(&mut self.kept, || coroutine.unwind()) {
            // Nobody is left who could be told of it.
            bury(payload);
        }
    }
}

/// Runs `f` where a thread of the pool would run it: with what that keeps, and on no shard.
fn in_place<R>(kept: &mut Kept, f: impl FnOnce() -> R) -> R {
    /// Takes it away again, also when `f` panics.
    struct Guard<'a>(&'a mut Kept);

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            task::with_private(|private| private.exchange(self.0));
        }
    }

    task::with_private(|private| private.exchange(kept));
    let _guard = Guard(kept);
    task::on_no_shard(|| task::with_footing(Footing::Pool, f))
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
            true if !panicking() => {
                stack::suspend();
                unreachable!("who unwinds a stand-in does not let it go on");
            }
            true => Err(Cancelled { cause: Cause::ShardEnded }),
            false if is_own => Err(Cancelled { cause: Cause::Asked("the job panics") }),
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
