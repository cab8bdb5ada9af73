//! A value that changes, and those who want to know: the latest is kept, what came before is not.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::{Closed, Ticket, Waiters};
use crate::budget;

/// Makes a watched value.
///
/// ```
/// use shardwise_shards::{Simulation, sync::watch};
///
/// Simulation::new(1).run(async |_shard| {
///     let (sender, mut receiver) = watch::channel(1);
///     assert_eq!(*receiver.get(), 1);
///     sender.send(2);
///     receiver.changed().await.unwrap();
///     assert_eq!(*receiver.get(), 2);
///     drop(sender);
///     assert!(receiver.changed().await.is_err());
/// });
/// ```
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        value: RefCell::new(Rc::new(value)),
        version: Cell::new(0),
        senders: Cell::new(1),
        waiters: RefCell::new(Waiters::new()),
    });
    (Sender(Rc::clone(&shared)), Receiver { shared, seen: 0 })
}

struct Shared<T> {
    /// Handed out by count: nobody holds a borrow over an await.
    value: RefCell<Rc<T>>,
    version: Cell<u64>,
    senders: Cell<usize>,
    waiters: RefCell<Waiters>,
}

/// The end that changes the value. Cloning gives another.
pub struct Sender<T>(Rc<Shared<T>>);

/// The end that sees it. Cloning gives another, that has seen as much.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    seen: u64,
}

impl<T> Sender<T> {
    /// Sets the value. Without an allocation, unless someone still holds the old one.
    pub fn send(&self, value: T) {
        let old = {
            let mut current = self.0.value.borrow_mut();
            match Rc::get_mut(&mut current) {
                Some(place) => Ok(std::mem::replace(place, value)),
                None => Err(std::mem::replace(&mut *current, Rc::new(value))),
            }
        };
        // Outside the borrow: dropping it runs anyone's code.
        drop(old);
        self.0.version.set(self.0.version.get() + 1);
        self.0.release();
    }

    /// The value as it is.
    pub fn get(&self) -> Rc<T> {
        self.0.value.borrow().clone()
    }
}

impl<T> Shared<T> {
    /// Wakes all that wait.
    fn release(&self) {
        let count = self.waiters.borrow().count();
        for _ in 0..count {
            let Some(waker) = self.waiters.borrow_mut().release() else { return };
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The value as it is; it counts as seen.
    pub fn get(&mut self) -> Rc<T> {
        self.seen = self.shared.version.get();
        self.shared.value.borrow().clone()
    }

    /// Whether it has changed since it was last seen.
    pub fn has_changed(&self) -> bool {
        self.seen != self.shared.version.get()
    }

    /// Waits until it has changed since it was last seen; the new one counts as seen then.
    ///
    /// Errors: all senders are gone, and what they sent has been seen. Cancel safe.
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed { receiver: self, ticket: None }
    }
}

/// The future of [`Receiver::changed`].
#[must_use = "a wait that is not awaited does nothing"]
pub struct Changed<'r, T> {
    receiver: &'r mut Receiver<T>,
    ticket: Option<Ticket>,
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        ready!(budget::poll_proceed(cx));
        let shared = Rc::clone(&self.receiver.shared);
        let mut waiters = shared.waiters.borrow_mut();
        if self.receiver.has_changed() {
            self.receiver.seen = shared.version.get();
            return Poll::Ready(Ok(()));
        }
        if shared.senders.get() == 0 {
            return Poll::Ready(Err(Closed));
        }
        match &self.ticket {
            Some(ticket) if waiters.still_waits(ticket, cx.waker()) => {}
            _ => {
                if let Some(ticket) = self.ticket.take() {
                    waiters.leave(ticket);
                }
                self.ticket = Some(waiters.join(cx.waker(), ()));
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Changed<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.receiver.shared.waiters.borrow_mut().leave(ticket);
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.set(self.0.senders.get() + 1);
        Sender(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.senders.set(self.0.senders.get() - 1);
        if self.0.senders.get() == 0 {
            self.0.release();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { shared: Rc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("version", &self.0.version.get()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("seen", &self.seen).field("version", &self.shared.version.get()).finish()
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").finish_non_exhaustive()
    }
}
