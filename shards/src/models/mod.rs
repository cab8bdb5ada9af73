//! Execution models: the ways in which code runs on a shard, or beside it.

pub mod offload;
