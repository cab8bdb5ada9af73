//! One value, once, from one task of a shard to another.
//!
//! What sender and receiver share comes from the shard's spares and goes back there, so a steady program makes and uses
//! such pairs without touching the heap.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Closed;
use crate::Shard;
use crate::limits::ONESHOT_SPARES_MAX;

/// Makes a pair.
pub fn channel<T: 'static>(shard: &Shard) -> (Sender<T>, Receiver<T>) {
    let spares = shard.local(|| Spares { list: RefCell::new(Vec::new()) });
    let spare = spares.list.borrow_mut().pop();
    let shared = spare.unwrap_or_default();
    shared.ends.set(2);
    let end = End { shared: Some(shared), spares };
    (Sender(end.clone()), Receiver(end))
}

struct Shared<T> {
    ends: Cell<u8>,
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

struct Spares<T> {
    list: RefCell<Vec<Rc<Shared<T>>>>,
}

/// What both ends have.
struct End<T> {
    /// Always there until `drop`.
    shared: Option<Rc<Shared<T>>>,
    spares: Rc<Spares<T>>,
}

/// The end that the value is sent by. Dropping it tells the receiver that none comes.
pub struct Sender<T>(End<T>);

/// The end that the value comes out of: a future, ready with it. Cancel safe.
///
/// Errors: the sender is gone.
#[must_use = "a wait that is not awaited does nothing"]
pub struct Receiver<T>(End<T>);

impl<T> Sender<T> {
    /// Sends the value. It comes back if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let shared = self.0.get();
        if shared.ends.get() < 2 {
            return Err(value);
        }
        shared.value.set(Some(value));
        Ok(())
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.0.get().ends.get() < 2
    }
}

impl<T> Receiver<T> {
    /// The value, if it is there.
    pub fn try_recv(&mut self) -> Option<T> {
        self.0.get().value.take()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Closed>> {
        let shared = self.0.get();
        if let Some(value) = shared.value.take() {
            return Poll::Ready(Ok(value));
        }
        if shared.ends.get() < 2 {
            return Poll::Ready(Err(Closed));
        }
        shared.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = self.0.get().waker.take();
        self.0.leave();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let (value, waker) = (self.0.get().value.take(), self.0.get().waker.take());
        self.0.leave();
        // Last: dropping them runs anyone's code.
        drop((value, waker));
    }
}

impl<T> End<T> {
    fn get(&self) -> &Shared<T> {
        self.shared.as_ref().expect("an end is there until it is dropped")
    }

    fn clone(&self) -> Self {
        End { shared: self.shared.clone(), spares: Rc::clone(&self.spares) }
    }

    /// The last to leave puts what they shared back.
    fn leave(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        shared.ends.set(shared.ends.get() - 1);
        let mut spares = self.spares.list.borrow_mut();
        if shared.ends.get() == 0 && spares.len() < ONESHOT_SPARES_MAX {
            spares.push(shared);
        }
    }
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Shared { ends: Cell::new(0), value: Cell::new(None), waker: Cell::new(None) }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
