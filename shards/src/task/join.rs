//! The other end of a task. Its one idea: the handle owns the right to the result, so the slot stays the task's until
//! the handle is gone.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::slots::{ABORTED, DONE};
use super::{Core, TaskNumber};

/// Waits for a task and gives its result. Dropping it detaches the task, which runs on. It belongs to its shard, and there is
/// one of it for a task:
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// fn check(shard: &shardwise_shards::Shard) {
///     sent_to_a_thread(shard.spawn(async {}).unwrap());
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn check(shard: &shardwise_shards::Shard) {
///     let _ = shard.spawn(async {}).unwrap().clone();
/// }
/// ```
#[must_use = "awaiting the handle gives the task's result; `detach` lets the task run on by itself"]
pub struct JoinHandle<T> {
    core: Rc<Core>,
    slot: u32,
    result: PhantomData<fn() -> T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(core: Rc<Core>, slot: u32) -> Self {
        JoinHandle { core, slot, result: PhantomData }
    }

    /// Lets the task run on by itself.
    pub fn detach(self) {}

    /// Asks the task to end: its future is dropped when its turn comes, unless it has returned by then.
    pub fn abort(&self) {
        let header = self.core.slots.at(self.slot);
        if header.flags.get() & DONE == 0 {
            header.flags.set(header.flags.get() | ABORTED);
            // The usual way to wake, since the handle may be in the hands of another shard on this thread.
            self.number().wake();
        }
    }

    /// Whether the task has ended, so that awaiting the handle does not wait.
    pub fn is_finished(&self) -> bool {
        self.core.slots.at(self.slot).flags.get() & DONE != 0
    }

    /// The task's number.
    pub fn number(&self) -> TaskNumber {
        self.core.number(self.slot, self.core.slots.at(self.slot))
    }
}

impl<T: 'static> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let header = self.core.slots.at(self.slot);
        if header.flags.get() & DONE == 0 {
            let joiner = match header.joiner.take() {
                Some(joiner) if joiner.will_wake(cx.waker()) => joiner,
                // A task's waker is its number, which is made again for less than a call of its `clone`.
                _ => TaskNumber::of(cx.waker()).map_or_else(|| cx.waker().clone(), TaskNumber::waker),
            };
            header.joiner.set(Some(joiner));
            return Poll::Pending;
        }
        let task = header.task.take().expect("a join handle is not polled again after it has given the result");
        Poll::Ready(task.join().expect("an ended task has a result of the handle's type"))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        self.core.unjoin(self.slot);
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("task", &self.number()).field("finished", &self.is_finished()).finish()
    }
}

/// Why a task has no result.
pub enum JoinError {
    /// It panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
    /// It was aborted, or its shard ended.
    Cancelled,
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => f.debug_tuple("Panicked").field(&message(&**payload)).finish(),
            JoinError::Cancelled => f.write_str("Cancelled"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => write!(f, "the task panicked: {}", message(&**payload)),
            JoinError::Cancelled => f.write_str("the task was cancelled"),
        }
    }
}

impl std::error::Error for JoinError {}

/// What a panic says, if it says it in words.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(a panic without a message)")
}
