//! The bounds of placement.

/// The most shards that a process may run, and the number of CPUs that can be told apart.
///
/// The plain affinity call of Linux names CPUs 0 to 1,023, so no more can be pinned to; and every pair of shards has
/// rings, whose number grows with the square.
pub const SHARD_COUNT_MAX: usize = 1024;
