//! What one core does.

// The one thread-local is the current shard, in `task/raw.rs`. Clippy judges the attributes in the macro's expansion at
// the crate's root, so a narrower exception has no effect.
#![allow(clippy::disallowed_macros)]

pub mod limits;
pub mod park;
pub mod task;
pub mod timer;
pub mod world;

mod sync;

#[cfg(test)]
mod tests;
