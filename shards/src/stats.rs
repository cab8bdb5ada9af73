//! What a shard counts about itself, in memory that any thread may read at any time.
//!
//! Each counter has one writer, the shard (those of offloaded jobs: whoever holds the pool's lock), so counting is a plain load
//! and store without a locked instruction. The admin listener reads them even while the shard stalls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::Reactor;

/// A number that one thread writes and any thread reads.
///
/// Two writers at once would lose counts, not memory safety.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// Adds to it; called by its one writer. Two plain instructions.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Takes from it, for gauges.
    #[inline]
    pub fn subtract(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(count), Ordering::Relaxed);
    }

    /// Sets it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Raises it to a value.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }

    /// Its value, from any thread.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one shard.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Turns taken.
    pub turns: Counter,
    /// Polls of tasks.
    pub polls: Counter,
    /// Time spent in turns, in nanoseconds.
    pub busy_nanoseconds: Counter,
    /// The longest turn, in nanoseconds.
    pub turn_nanoseconds_max: Counter,
    /// Waits that ended before the shard slept, as it looked whether something comes.
    pub caught: Counter,
    /// Entries into the kernel to submit or wait.
    pub enters: Counter,
    /// Operations given to the kernel.
    pub submissions: Counter,
    /// Completions landed.
    pub completions: Counter,
    /// Streams given to the kernel again.
    pub restarts: Counter,
    /// Streams paused because their reader was slow.
    pub pauses: Counter,
    /// Times that a stream found no receive buffer.
    pub starved: Counter,
    /// Operations in flight.
    pub operations: Counter,
    /// Open sockets and files.
    pub handles: Counter,
    /// Receive buffers leased.
    pub receive_buffers_leased: Counter,
    /// Bytes of pooled chunks leased.
    pub pooled_bytes: Counter,
    /// Leases of pooled chunks that were refused.
    pub pool_refused: Counter,
    /// Small leases copied out of receive buffers.
    pub compactions: Counter,
    /// Green threads that have not ended.
    pub green_threads: Counter,
    /// Green threads refused, because there was no stack for them.
    pub green_refused: Counter,
    /// Leases that other threads may hold.
    pub shared: Counter,
    /// Those that have come home.
    pub shared_returned: Counter,
    /// Those that were copied, because as many were out as may be.
    pub shared_refused: Counter,
    /// Calls and one-way closures sent to other shards.
    pub mesh_sent: Counter,
    /// Those of other shards that were run.
    pub mesh_run: Counter,
    /// Times that one waited for a credit.
    pub mesh_waits: Counter,
    /// Those refused because a bound was reached.
    pub mesh_refused: Counter,
    /// Casts sent to other shards.
    pub mesh_casts_sent: Counter,
    /// Those of other shards that were run.
    pub mesh_casts_run: Counter,
    /// Those dropped because their lane was full, or the other shard had ended.
    pub mesh_casts_dropped: Counter,
    /// Offloaded jobs that wait for a thread.
    pub offload_queued: Counter,
    /// Those that run.
    pub offload_running: Counter,
    /// Those that have run to their end, or to a panic.
    pub offload_done: Counter,
    /// Those that have panicked.
    pub offload_panicked: Counter,
    /// Those that were cancelled before they began.
    pub offload_cancelled: Counter,
    /// Those refused because a bound was reached, or the runtime ends.
    pub offload_refused: Counter,
}

impl ShardStats {
    pub(crate) fn turned(&self, polls: u32, elapsed: Duration) {
        self.polls.add(u64::from(polls));
        let nanoseconds = elapsed.as_nanos() as u64;
        self.busy_nanoseconds.add(nanoseconds);
        self.turn_nanoseconds_max.raise(nanoseconds);
    }

    pub(crate) fn record_reactor(&self, reactor: &Reactor) {
        let (stats, holdings, pool) = (reactor.stats(), reactor.holdings(), reactor.pool().stats());
        self.enters.set(stats.enters);
        self.submissions.set(stats.submissions);
        self.completions.set(stats.completions);
        self.restarts.set(stats.restarts);
        self.pauses.set(stats.pauses);
        self.starved.set(stats.starved);
        self.operations.set(holdings.operations as u64);
        self.handles.set(holdings.handles as u64);
        self.receive_buffers_leased.set(u64::from(pool.heads_leased + pool.bulk_leased));
        self.pooled_bytes.set(pool.pooled_bytes);
        self.pool_refused.set(pool.refused);
        self.compactions.set(pool.compactions);
        self.shared.set(u64::from(pool.shared));
        self.shared_returned.set(pool.shared_returned);
        self.shared_refused.set(pool.shared_refused);
    }
}
