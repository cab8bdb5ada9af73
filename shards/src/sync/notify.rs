//! [`Notify`]: something has happened; whoever waits may look.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Left, Ticket, Waiters};
use crate::budget;

/// Wakes tasks of the same shard. It carries no value: who is woken looks at what it shares with the others.
pub struct Notify(RefCell<State>);

struct State {
    waiters: Waiters,
    /// A notification that found nobody waiting.
    kept: bool,
}

impl Notify {
    /// Nobody waits, nothing has happened.
    pub const fn new() -> Self {
        Notify(RefCell::new(State { waiters: Waiters::new(), kept: false }))
    }

    /// Wakes who has waited longest. If nobody waits, the next one to wait does not have to; that is kept once, however
    /// often this is called.
    pub fn notify_one(&self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            let waker = state.waiters.choose();
            state.kept |= waker.is_none();
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes all that wait now, and nobody who comes later.
    pub fn notify_all(&self) {
        let count = self.0.borrow().waiters.count();
        for _ in 0..count {
            let Some(waker) = self.0.borrow_mut().waiters.release() else { return };
            waker.wake();
        }
    }

    /// Waits for a notification. The place in the queue is taken at the first poll.
    ///
    /// Cancel safe: if a notification had chosen it by then, the next in the queue gets it.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, ticket: None }
    }
}

/// The future of [`Notify::notified`].
#[must_use = "a wait that is not awaited does nothing"]
pub struct Notified<'n> {
    notify: &'n Notify,
    ticket: Option<Ticket>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(budget::poll_proceed(cx));
        let mut state = self.notify.0.borrow_mut();
        match self.ticket.take() {
            None if std::mem::take(&mut state.kept) => Poll::Ready(()),
            None => {
                let ticket = state.waiters.join(cx.waker(), ());
                drop(state);
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Some(ticket) if state.waiters.still_waits(&ticket, cx.waker()) => {
                drop(state);
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Some(ticket) => {
                state.waiters.leave(ticket);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let left = self.notify.0.borrow_mut().waiters.leave(ticket);
        if left == Left::Chosen {
            self.notify.notify_one();
        }
    }
}

impl Default for Notify {
    fn default() -> Self {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").field("waiting", &self.0.borrow().waiters.count()).finish()
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").finish_non_exhaustive()
    }
}
