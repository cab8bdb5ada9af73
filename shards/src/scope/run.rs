//! [`Run`]: work inside a scope.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::tree::Wait;
use super::{Cancelled, Cause, Pass, ScopeHandle};
use crate::Alarm;
use crate::sync::Ticket;

pin_project! {
    /// The future of [`ScopeHandle::run`]. Dropping it drops the work.
    #[must_use = "futures do nothing unless polled"]
    pub struct Run<F> {
        // `None` once it has been cancelled.
        #[pin]
        work: Option<F>,
        waiting: CancelWait,
    }
}

/// Who waits for the cancellation. What it holds is let go of after the work: the gate waits until that is dropped.
pub(crate) struct CancelWait {
    ticket: Option<Ticket>,
    /// The tree's last change when it was neither cancelled nor had a deadline.
    seen: u64,
    alarm: Option<Alarm>,
    scope: ScopeHandle,
    pass: Option<Pass>,
}

impl<F> Run<F> {
    pub(super) fn new(scope: ScopeHandle, work: F) -> Self {
        Run { work: Some(work), waiting: CancelWait::new(scope) }
    }

    /// Holds the scope's gate until the work is dropped.
    pub(super) fn with_pass(mut self, pass: Pass) -> Self {
        self.waiting.pass = Some(pass);
        self
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(cause) = this.waiting.cause(cx) {
            this.work.set(None);
            return Poll::Ready(Err(Cancelled { cause }));
        }
        let work = this.work.as_pin_mut().expect("it is not polled after its end");
        if let Poll::Ready(output) = this.waiting.scope.enter(|| work.poll(cx)) {
            return Poll::Ready(Ok(output));
        }
        this.waiting.wait(cx);
        Poll::Pending
    }
}

impl CancelWait {
    pub(crate) fn new(scope: ScopeHandle) -> Self {
        CancelWait { ticket: None, seen: u64::MAX, alarm: None, scope, pass: None }
    }

    /// Why the work must end, if it must. The deadline of a scope ends all that has it.
    /// Most polls find that no scope has changed since the last, and look no further.
    #[inline]
    pub(crate) fn cause(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        match self.seen == self.scope.tree.changes() {
            true => None,
            false => self.look(cx),
        }
    }

    fn look(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        let scope = &self.scope;
        let changes = scope.tree.changes();
        let (cause, deadline) = scope.tree.standing(scope.key);
        if cause.is_some() {
            return cause;
        }
        let Some(deadline) = deadline else {
            self.seen = changes;
            return None;
        };
        let shard = scope.shard()?;
        let alarm = self.alarm.get_or_insert_with(|| shard.alarm(deadline));
        if alarm.poll_rung(cx).is_pending() {
            return None;
        }
        let owner = scope.tree.owner_of_deadline(scope.key);
        scope.tree.cancel(owner, Cause::Deadline);
        Some(Cause::Deadline)
    }

    /// Whether the waker that was last given to [`wait`](CancelWait::wait) is certain to be woken by the cancellation.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.ticket.is_some() && self.seen == self.scope.tree.changes()
    }

    /// Sees to it that the task is woken by the cancellation. Asking again costs little.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>) {
        let (scope, ticket) = (&self.scope, &mut self.ticket);
        scope.tree.with(|inside| match inside.at(scope.key).cancelled {
            None => inside.wait(scope.key, Wait::Cancellation, ticket, cx.waker()),
            // The work itself has cancelled its scope.
            Some(_) => cx.waker().wake_by_ref(),
        });
    }
}

impl Drop for CancelWait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.scope.tree.with(|inside| inside.leave(self.scope.key, Wait::Cancellation, ticket));
        }
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("scope", &self.waiting.scope).finish_non_exhaustive()
    }
}
