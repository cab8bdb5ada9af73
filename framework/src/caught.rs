//! Panics of code that users write: caught where it is called, so that they end one exchange and not the shard.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A panic that was caught, as an error with the panic's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panic(String);

impl Panic {
    fn new(payload: Box<dyn Any + Send>) -> Self {
        let literal = payload.downcast_ref::<&str>().copied();
        let text = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let panic = Panic(text.unwrap_or("(no text)").to_owned());
        // A payload is the user's value: even dropping it may panic.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        panic
    }
}

/// Calls `f`, and catches its panic.
///
/// What `f` borrowed may be left in between two states. That is the user's own state, which a handler reaches only through
/// `Rc` and `Cell`; ours is not touched while theirs runs.
#[inline]
pub(crate) fn call<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    call_or(|| Ok(f()), Err)
}

/// The same where a panic has a result too.
#[inline(always)]
pub(crate) fn call_or<T>(f: impl FnOnce() -> T, otherwise: impl FnOnce(Panic) -> T) -> T {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => otherwise(Panic::new(payload)),
    }
}

/// Polls `future` once, and catches its panic. It must not be polled again after one.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Panic>> {
    match call(|| future.poll(cx)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Runs `future` to its end or its panic.
pub(crate) async fn run<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| poll(future.as_mut(), cx)).await
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for Panic {}
