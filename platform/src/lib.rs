//! What the machine gives a shard.

pub mod arena;
pub mod inline_fn;
pub mod spsc;
mod sync;
pub mod topology;
