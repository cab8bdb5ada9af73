//! The operation budget of a poll. Its one idea: an operation that is ready takes one unit, and when none is left it
//! says "later" although it is ready, so that a connection whose peer never pauses yields to the others.

use std::task::{Context, Poll};

use super::raw;

/// Takes one unit of the running poll's budget; false if none is left. Always true outside of a shard.
#[inline]
pub fn consume() -> bool {
    raw::with_core(|core| match core {
        Some(core) => match core.ops.get() {
            0 => false,
            ops => {
                core.ops.set(ops - 1);
                true
            }
        },
        None => true,
    })
}

/// Ready if the poll may go on with one more operation; otherwise the task is woken, to go on behind the others.
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    if consume() {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
