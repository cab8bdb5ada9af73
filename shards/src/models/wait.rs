//! [`Wait`]: `.wait()`, in the place of `.await`.

use std::future::Future;

use super::{Footing, green, thread};
use crate::scope::Cancelled;
use crate::task;

/// Waiting for a future by a plain call, in code that is not `async`.
///
/// ```
/// use shardwise_shards::{Cancelled, Shard, Wait};
/// use std::time::Duration;
///
/// fn nap() -> Result<(), Cancelled> {
///     Shard::here().sleep(Duration::from_millis(1)).wait()
/// }
/// assert_eq!(nap(), Ok(()));
/// ```
pub trait Wait: Future {
    /// Runs the future to its end, and gives its output. What it means depends on the [model](super::Model): in a green
    /// thread, the shard's other tasks run meanwhile; on a plain thread or a pool's, it drives the thread's private shard. An
    /// offloaded job of a simulation has one on the simulated machine, and the simulation goes on meanwhile.
    ///
    /// Errors: whatever the code runs in was cancelled; the future is dropped where it stands. Every later wait is the same
    /// error, unless [shielded](super::shielded). A destructor that
    /// waits while its green thread, or simulated job, unwinds gets one at once, whatever it waits for.
    ///
    /// # Panics
    ///
    /// In a stackless task, and in a closure that runs between a shard's tasks; the text says what to write instead. On a
    /// thread whose private shard cannot be made: see [`Shard::here`](crate::Shard::here). In a simulated job, on a processor
    /// whose stacks cannot be switched. What the future panics with.
    #[track_caller]
    fn wait(self) -> Result<Self::Output, Cancelled>
    where
        Self: Sized,
    {
        match task::footing() {
            Footing::Thread => thread::wait(self),
            Footing::Pool => thread::wait_in_pool(self),
            Footing::Green => green::wait(self),
            Footing::Task => in_a_task(),
            Footing::Between => in_a_closure(),
        }
    }
}

impl<F: Future> Wait for F {}

#[cold]
#[track_caller]
fn in_a_task() -> ! {
    panic!(
        "`.wait()` inside a stackless task would block the shard: write `.await`, or make the handler `green(…)`, \
         the task a green thread (`shard.green(…)`)"
    )
}

#[cold]
#[track_caller]
fn in_a_closure() -> ! {
    panic!(
        "`.wait()` inside a closure that runs between a shard's tasks: no borrow may be held over a suspension point; \
         use the `_async` form, or spawn a task"
    )
}
