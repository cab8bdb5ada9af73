//! Execution models: the four ways in which code runs that waits.
//!
//! The one idea: one body of code, whatever runs it. A library function that ends its waits with [`.wait()`](Wait::wait)
//! runs in a green thread, in the pool of threads, and on a plain thread; `.wait()` asks the thread where it stands, and does
//! what is right there. In a stackless task, which has no stack of its own to leave standing, it panics with the remedy.
//!
//! | model | its code | a wait |
//! |---|---|---|
//! | [`Task`](Model::Task), the default | `async` | `.await` |
//! | [`Offload`](Model::Offload) | blocks, or burns CPU, on a thread of a pool ([`Shard::offload`](crate::Shard::offload)) | `.wait()` drives that thread's private shard |
//! | [`Thread`](Model::Thread) | any thread of one's own | the same |

pub mod offload;
mod thread;
mod wait;

pub(crate) use thread::Private;
pub use thread::{CancelFlag, on_pool_thread};
pub use wait::Wait;

use crate::task;

/// How code runs that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// A stackless task of a shard: `async` code, which waits by `.await`.
    Task,
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
    match task::standing() {
        Standing::Thread => Model::Thread,
        Standing::Pool => Model::Offload,
        // Whatever runs between tasks may wait as little as they.
        Standing::Task | Standing::Between => Model::Task,
    }
}

/// Where a thread's code stands at a moment: what `.wait()` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// On a plain thread.
    Thread,
    /// On a thread of the pool, in what it was given to do.
    Pool,
    /// In the poll of a future.
    Task,
    /// In what runs between the polls of tasks, or is run on the spot as if it did: closures of the mesh, hooks of a turn.
    Between,
}
