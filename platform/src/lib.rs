//! What the machine gives a shard.

pub mod arena;
