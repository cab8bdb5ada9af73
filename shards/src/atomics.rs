//! Atomics and threads as the hand-shakes use them: the standard ones, or loom's when it explores their interleavings
//! (`RUSTFLAGS="--cfg loom" cargo test -p shardwise-shards --lib loom`). The only file that knows the difference.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// What the tests of a hand-shake stand on: `explore` runs a small concurrent program through all its interleavings
/// under loom, and a few hundred times with real threads otherwise.
#[cfg(test)]
pub(crate) mod model {
    #[cfg(loom)]
    pub(crate) use loom::{sync::Arc, thread::spawn};
    #[cfg(not(loom))]
    pub(crate) use std::sync::Arc;

    /// Three preemptions find what is to be found in programs of this size, in seconds;
    /// `LOOM_MAX_PREEMPTIONS=100` explores everything, in minutes.
    #[cfg(loom)]
    pub(crate) fn explore(program: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound.get_or_insert(3);
        builder.check(program);
    }

    #[cfg(not(loom))]
    pub(crate) fn explore(program: impl Fn() + Send + Sync + 'static) {
        (0..300).for_each(|_| program());
    }

    #[cfg(not(loom))]
    #[expect(clippy::disallowed_methods, reason = "a test of what threads do to each other needs threads")]
    pub(crate) fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> std::thread::JoinHandle<T> {
        std::thread::spawn(body)
    }
}
