//! Every bound of this server, with its reason.

use std::time::Duration;

/// Bytes of a key, once its percent-encoding is undone; a longer one is answered 414. Keys lie in memory beside their values,
/// and in every request that asks for them.
pub(crate) const KEY_BYTES_MAX: usize = 512;

/// Bytes of a value; a longer one is answered 413. A shard answers others meanwhile, and copies a megabyte in some 100 µs.
pub(crate) const VALUE_BYTES_MAX: u64 = 1024 * 1024;

/// Memory of one shard's entries unless `--memory` says otherwise.
pub(crate) const MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// What an entry costs besides the bytes of its key and value: its place in the queue (which may stand half empty after it
/// has grown), the map's record of it, and what the heap and `Bytes` keep beside two pieces of memory.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 384;

/// The longest time that a value may be given to live: a year. What shall live longer needs no limit.
pub(crate) const TTL_SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// How often a shard looks for values whose time is over and that nobody asks for.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// Entries that one such look may look at: some 20 µs. A million entries are gone through in a hundred seconds.
pub(crate) const SWEEP_ENTRIES_MAX: usize = 1000;
