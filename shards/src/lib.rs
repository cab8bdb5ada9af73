//! What does one core do? It runs a [`Shard`]: tasks that need not be `Send`, timers, and operations in flight, in turns
//! that never block; and a [`Runtime`] starts one such shard per core, all of them or none, and ends them in order.
//!
//! It knows nothing of protocols. Everything that comes from outside (time, randomness, I/O) comes through the shard's
//! reactor, so the same program runs on a real machine and on a simulated one.

// What a thread keeps stands in `task/raw.rs`. Clippy judges the attributes in the macro's expansion at
// the crate's root, so a narrower exception has no effect.
#![allow(clippy::disallowed_macros)]

mod alarm;
mod atomics;
pub mod combine;
mod guest;
mod inbox;
mod late;
pub mod limits;
pub mod mesh;
pub mod models;
mod operation;
pub mod park;
pub mod runtime;
mod scope;
mod shard;
mod stats;
pub mod sync;
pub mod task;
pub mod timer;
mod trace;
pub mod world;

pub use alarm::{Alarm, Sleep, TimedOut, Timeout};
pub use guest::{Guest, Host, Invitation};
pub use inbox::{Remote, SendError};
pub use mesh::{Call, CallError, OnAll, Part, PerShard, Post, Replicated};
pub use models::offload::{self, Offload, OffloadError};
pub use models::{Green, Model, Wait, model};
pub use operation::Operation;
pub use runtime::heritage::Kept;
pub use runtime::simulation::{Program, Simulation};
pub use runtime::start::{Declaration, Kind, Listening, StartError, Tally, listen, listen_datagrams, listen_on_one};
pub use runtime::strays::{Neighbour, Stray, Strays};
pub use runtime::{Builder, Fleet, Outside, Phase, RunError, Runtime, features_from_environment};
pub use scope::{
    Cancelled, Cause, Demand, Entered, Label, OnCancel, Pass, Reason, Run, Scope, ScopeHandle, ScopesFull,
};
pub use shard::{Next, Running, Shard, TurnEnd, panic_text};
pub use stats::{Counter, ShardStats};
pub use task::{JoinError, JoinHandle, Leased, Pooled, SpawnError, TaskGroup, budget, yield_now};
pub use trace::TraceContext;

#[cfg(test)]
mod tests;
