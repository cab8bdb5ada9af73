//! What the machine gives a shard.
