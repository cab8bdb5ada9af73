//! A bounded channel between the tasks of one shard: many senders, one receiver.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::{Closed, Permit, Semaphore, TryAcquireError};
use crate::budget;

/// Makes a channel that holds up to `capacity` values. Allocates here, and not again.
///
/// # Panics
///
/// If `capacity` is zero.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel holds at least one value");
    let queue = Queue { values: VecDeque::with_capacity(capacity), senders: 1, receiver: None, is_abandoned: false };
    let shared = Rc::new(Shared { room: Semaphore::new(capacity), queue: RefCell::new(queue) });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

struct Shared<T> {
    /// A permit for each value that may still be put in.
    room: Semaphore,
    queue: RefCell<Queue<T>>,
}

struct Queue<T> {
    values: VecDeque<T>,
    senders: usize,
    receiver: Option<Waker>,
    /// The receiver is gone.
    is_abandoned: bool,
}

/// The end that values are put in at. Cloning gives another.
pub struct Sender<T>(Rc<Shared<T>>);

/// The end that values come out of.
pub struct Receiver<T>(Rc<Shared<T>>);

/// Room for one value.
#[must_use = "room that is dropped goes to the next sender"]
pub struct Slot<'s, T> {
    sender: &'s Sender<T>,
    room: Permit,
}

/// A value could not be put in: here it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room, or others wait for it.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

impl<T> Sender<T> {
    /// Puts a value in, after waiting for room.
    ///
    /// Errors: the receiver is gone; the value comes back. Dropping the future before it is ready drops the value; to keep
    /// it, [`reserve`](Sender::reserve) first.
    pub async fn send(&self, value: T) -> Result<(), T> {
        match self.reserve().await {
            Ok(slot) => {
                slot.send(value);
                Ok(())
            }
            Err(Closed) => Err(value),
        }
    }

    /// Waits for room for one value.
    ///
    /// Errors: the receiver is gone. Cancel safe; the place in the queue is lost.
    pub async fn reserve(&self) -> Result<Slot<'_, T>, Closed> {
        let room = self.0.room.acquire(1).await?;
        Ok(Slot { sender: self, room })
    }

    /// Puts a value in if there is room and nobody waits for it.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.0.room.try_acquire(1) {
            Ok(room) => {
                Slot { sender: self, room }.send(value);
                Ok(())
            }
            Err(TryAcquireError::NoPermits) => Err(TrySendError::Full(value)),
            Err(TryAcquireError::Closed) => Err(TrySendError::Closed(value)),
        }
    }
}

impl<T> Slot<'_, T> {
    /// Puts the value in. If the receiver has gone meanwhile, the value is dropped.
    pub fn send(self, value: T) {
        let receiver = {
            let mut queue = self.sender.0.queue.borrow_mut();
            if queue.is_abandoned {
                return;
            }
            queue.values.push_back(value);
            queue.receiver.take()
        };
        // The receiver gives the room back when it has taken the value.
        self.room.forget();
        if let Some(waker) = receiver {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next value; `None` once all senders are gone and nothing is left.
    ///
    /// Cancel safe: a value is either returned or still there.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Receiver::recv) as a poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(budget::poll_proceed(cx));
        if let Some(value) = self.try_recv() {
            return Poll::Ready(Some(value));
        }
        let mut queue = self.0.queue.borrow_mut();
        if queue.senders == 0 {
            return Poll::Ready(None);
        }
        match &mut queue.receiver {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next value, if there is one now.
    pub fn try_recv(&mut self) -> Option<T> {
        let value = self.0.queue.borrow_mut().values.pop_front()?;
        self.0.room.add(1);
        Some(value)
    }

    /// Values that wait.
    pub fn len(&self) -> usize {
        self.0.queue.borrow().values.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.queue.borrow_mut().senders += 1;
        Sender(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let receiver = {
            let mut queue = self.0.queue.borrow_mut();
            queue.senders -= 1;
            if queue.senders == 0 { queue.receiver.take() } else { None }
        };
        if let Some(waker) = receiver {
            waker.wake();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (values, waker) = {
            let mut queue = self.0.queue.borrow_mut();
            queue.is_abandoned = true;
            (std::mem::take(&mut queue.values), queue.receiver.take())
        };
        self.0.room.close();
        // Outside the borrow: dropping them runs anyone's code.
        drop((values, waker));
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("room", &self.0.room.available()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}

impl<T> fmt::Debug for Slot<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full",
            TrySendError::Closed(_) => "Closed",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full",
            TrySendError::Closed(_) => "the receiver is gone",
        })
    }
}

impl<T> std::error::Error for TrySendError<T> {}
