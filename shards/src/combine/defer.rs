//! What is done on the way out, whichever way that is.

use std::fmt;

/// Calls `last` when the guard is dropped: at the end of the block, on an early return, on a panic, when the future that it
/// lives in is cancelled.
///
/// ```
/// use shardwise_shards::combine::defer;
/// use std::cell::Cell;
///
/// let open = Cell::new(true);
/// {
///     let _close = defer(|| open.set(false));
///     assert!(open.get());
/// }
/// assert!(!open.get());
/// ```
pub fn defer<F: FnOnce()>(last: F) -> Defer<F> {
    Defer(Some(last))
}

/// The guard of [`defer`].
#[must_use = "a guard that is not kept calls at once"]
pub struct Defer<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Defer<F> {
    /// Gives the call up.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Defer<F> {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

impl<F: FnOnce()> fmt::Debug for Defer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Defer").finish_non_exhaustive()
    }
}
