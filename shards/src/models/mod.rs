//! Execution models: the four ways in which code runs that waits.
//!
//! The one idea: one body of code, whatever runs it. A library function that ends its waits with [`.wait()`](Wait::wait)
//! runs in a green thread, in the pool of threads, and on a plain thread; `.wait()` asks the thread where it stands, and does
//! what is right there. In a stackless task, which has no stack of its own to leave standing, it panics with the remedy.
//! On a simulated machine stand-ins take the place of threads, and wait on it.
//!
//! | model | its code | a wait |
//! |---|---|---|
//! | [`Task`](Model::Task), the default | `async` | `.await` |
//! | [`Green`](Model::Green) | reads as if it blocked | `.wait()` lets the shard's other tasks run |
//! | [`Offload`](Model::Offload) | blocks, or burns CPU ([`Shard::offload`](crate::Shard::offload)) | `.wait()` drives the private shard of a pool's thread |
//! | [`Thread`](Model::Thread) | any thread of one's own | the same |

mod green;
pub mod offload;
mod stand_in;
mod thread;
mod wait;

pub use green::Green;
pub(crate) use green::Greens;
pub(crate) use stand_in::{StandIn, StandIns};
pub(crate) use thread::Private;
pub use thread::{CancelFlag, on_pool_thread};
pub use wait::Wait;

use crate::task;

/// How code runs that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// A stackless task of a shard: `async` code, which waits by `.await`.
    Task,
    /// A green thread: a closure on a stack of its own, on a shard.
    Green,
    /// A thread of the pool for what really blocks.
    Offload,
    /// A thread that runs no shard of a runtime.
    Thread,
}

/// The model in force where this is called.
///
/// ```
/// use shardwise_shards::{Model, Simulation, model};
///
/// assert_eq!(model(), Model::Thread);
/// Simulation::new(1).run(async |_shard| assert_eq!(model(), Model::Task));
/// ```
pub fn model() -> Model {
    match task::footing() {
        Footing::Thread => Model::Thread,
        Footing::Pool => Model::Offload,
        Footing::Green => Model::Green,
        // Whatever runs between tasks may wait as little as they.
        Footing::Task | Footing::Between => Model::Task,
    }
}

/// Runs `f`, whose waits go on although the [scope](crate::ScopeHandle) around them, or the work that a pool's thread does, is
/// cancelled: for what must be finished all the same, such as undoing half of something. Only the end of the green thread
/// itself, with its shard or whoever held it, ends them.
///
/// ```
/// use shardwise_shards::{Simulation, Wait, models::shielded};
/// use std::time::Duration;
///
/// Simulation::new(1).run(async |shard| {
///     let (scope, inside) = (shard.scope().child("work").unwrap(), shard.clone());
///     let work = scope.green(move || {
///         let cancelled = inside.sleep(Duration::from_secs(60)).wait();
///         let undone = shielded(|| inside.sleep(Duration::from_secs(1)).wait());
///         (cancelled.is_err(), undone.is_ok())
///     });
///     shard.sleep(Duration::from_secs(1)).await;
///     scope.cancel("no longer wanted");
///     assert_eq!(work.unwrap().await.unwrap(), (true, true));
/// });
/// ```
pub fn shielded<R>(f: impl FnOnce() -> R) -> R {
    match task::footing() {
        Footing::Green => green::shielded(f),
        Footing::Pool => thread::shielded(f),
        // Nothing cancels what waits here, or nothing waits.
        Footing::Thread | Footing::Task | Footing::Between => f(),
    }
}

/// Where a thread's code stands at a moment: what `.wait()` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footing {
    /// On a plain thread.
    Thread,
    /// On a thread of the pool, in what it was given to do.
    Pool,
    /// In a green thread's own code.
    Green,
    /// In the poll of a future.
    Task,
    /// In what runs between the polls of tasks, or is run on the spot as if it did: closures of the mesh, hooks of a turn.
    Between,
}
