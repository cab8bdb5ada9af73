//! [`Semaphore`]: so many at a time, first come first served.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::{Left, Ticket, Waiters};
use crate::budget;

/// A number of permits that tasks of one shard share. Cloning gives another handle on the same.
///
/// Fair: nobody overtakes, and who wants many permits is not starved by those who want few.
#[derive(Clone)]
pub struct Semaphore(Rc<RefCell<State>>);

struct State {
    permits: usize,
    /// Those who wait, and how many permits each wants.
    waiters: Waiters<usize>,
    is_closed: bool,
}

/// A right to go on, for as long as it lives.
#[must_use = "a permit that is dropped is given back"]
pub struct Permit {
    semaphore: Semaphore,
    count: usize,
}

/// The semaphore, or the other end of a channel, is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Why there is no permit at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// Too few are left, or others wait for them.
    NoPermits,
    /// It is closed.
    Closed,
}

impl Semaphore {
    /// A semaphore with so many permits.
    pub fn new(permits: usize) -> Self {
        Semaphore(Rc::new(RefCell::new(State { permits, waiters: Waiters::new(), is_closed: false })))
    }

    /// Permits that nobody has.
    pub fn available(&self) -> usize {
        self.0.borrow().permits
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.borrow().waiters.count()
    }

    /// Waits for `count` permits.
    ///
    /// Errors: it is closed. Cancel safe: permits that were granted and not yet taken go to the next in the queue; the
    /// place in the queue is lost.
    pub fn acquire(&self, count: usize) -> Acquire {
        Acquire { semaphore: self.clone(), count, ticket: None }
    }

    /// Takes `count` permits if they are there and nobody waits.
    pub fn try_acquire(&self, count: usize) -> Result<Permit, TryAcquireError> {
        match self.0.borrow_mut().take(count) {
            None => Err(TryAcquireError::Closed),
            Some(false) => Err(TryAcquireError::NoPermits),
            Some(true) => Ok(Permit { semaphore: self.clone(), count }),
        }
    }

    /// [`try_acquire`](Semaphore::try_acquire) for one permit that is kept from coming back by itself.
    #[inline]
    pub(crate) fn take_one(&self) -> Result<(), TryAcquireError> {
        match self.0.borrow_mut().take(1) {
            None => Err(TryAcquireError::Closed),
            Some(false) => Err(TryAcquireError::NoPermits),
            Some(true) => Ok(()),
        }
    }

    /// Adds permits.
    pub fn add(&self, count: usize) {
        self.0.borrow_mut().permits += count;
        self.grant();
    }

    /// Gives out no more permits: who waits, or comes later, gets an error.
    pub fn close(&self) {
        self.0.borrow_mut().is_closed = true;
        loop {
            let Some(waker) = self.0.borrow_mut().waiters.release() else { return };
            waker.wake();
        }
    }

    /// Hands permits to those in front, as far as they go.
    fn grant(&self) {
        loop {
            let waker = {
                let mut state = self.0.borrow_mut();
                match state.waiters.first() {
                    Some(&count) if count <= state.permits => {
                        state.permits -= count;
                        state.waiters.choose()
                    }
                    _ => return,
                }
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl State {
    /// Whether `count` permits were taken; `None` if it is closed.
    fn take(&mut self, count: usize) -> Option<bool> {
        if self.is_closed {
            return None;
        }
        let fits = count <= self.permits && self.waiters.count() == 0;
        if fits {
            self.permits -= count;
        }
        Some(fits)
    }
}

impl Permit {
    /// How many permits it stands for.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Keeps the permits from ever coming back.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.add(self.count);
        }
    }
}

/// The future of [`Semaphore::acquire`].
#[must_use = "a wait that is not awaited does nothing"]
pub struct Acquire {
    semaphore: Semaphore,
    count: usize,
    ticket: Option<Ticket>,
}

impl Future for Acquire {
    type Output = Result<Permit, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Permit, Closed>> {
        ready!(budget::poll_proceed(cx));
        let semaphore = self.semaphore.clone();
        let mut state = semaphore.0.borrow_mut();
        let result = match self.ticket.take() {
            None => match state.take(self.count) {
                None => Err(Closed),
                Some(true) => Ok(()),
                Some(false) => {
                    self.ticket = Some(state.waiters.join(cx.waker(), self.count));
                    return Poll::Pending;
                }
            },
            Some(ticket) if state.waiters.still_waits(&ticket, cx.waker()) => {
                self.ticket = Some(ticket);
                return Poll::Pending;
            }
            Some(ticket) => match state.waiters.leave(ticket) {
                Left::Chosen => Ok(()),
                _ => Err(Closed),
            },
        };
        drop(state);
        Poll::Ready(result.map(|()| Permit { semaphore, count: self.count }))
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let left = self.semaphore.0.borrow_mut().waiters.leave(ticket);
        match left {
            Left::Chosen => self.semaphore.add(self.count),
            // It may have stood in the way of those who want less.
            Left::Waiting => self.semaphore.grant(),
            Left::Released => {}
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).field("waiting", &self.waiting()).finish()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({})", self.count)
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("count", &self.count).finish_non_exhaustive()
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is closed")
    }
}

impl std::error::Error for Closed {}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::NoPermits => "too few permits are left",
            TryAcquireError::Closed => "the semaphore is closed",
        })
    }
}

impl std::error::Error for TryAcquireError {}
