//! [`Mutex`]: one task at a time, across suspension points.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};

use super::{Permit, Semaphore};

/// A value that one task at a time may use, and keep in use while it awaits something else. What is not kept across an
/// await needs a `RefCell` or a `Cell` only.
pub struct Mutex<T: ?Sized> {
    turn: Semaphore,
    value: RefCell<T>,
}

/// The use of a [`Mutex`]'s value; ends when it is dropped.
pub struct MutexGuard<'m, T: ?Sized> {
    // In this order: the value is let go before the next one's turn begins.
    value: RefMut<'m, T>,
    _turn: Permit,
}

impl<T> Mutex<T> {
    /// A mutex around a value.
    pub fn new(value: T) -> Self {
        Mutex { turn: Semaphore::new(1), value: RefCell::new(value) }
    }

    /// The value, for good.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the value, first come first served.
    ///
    /// Cancel safe; the place in the queue is lost.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let turn = self.turn.acquire(1).await.expect("nobody closes it");
        MutexGuard { value: self.value.borrow_mut(), _turn: turn }
    }

    /// The value, if nobody uses it or waits for it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let turn = self.turn.try_acquire(1).ok()?;
        Some(MutexGuard { value: self.value.borrow_mut(), _turn: turn })
    }

    /// The value, without waiting, since nobody else can reach it.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("is_locked", &(self.turn.available() == 0)).finish_non_exhaustive()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
