//! Processors that `corosensei` has no switch for: there are no stacks to be had, and so no coroutines.

use std::marker::PhantomData;
use std::ops::Range;

use crate::{Error, Result};

/// Memory for a stack.
pub(crate) enum Memory {}

/// What suspends a coroutine.
pub(crate) enum Yielder {}

/// A closure on a stack of its own.
pub(crate) struct Switch<R>(Memory, PhantomData<R>);

impl Memory {
    pub(crate) fn new(_bytes: usize) -> Result<Self> {
        Err(Error::Unsupported)
    }

    pub(crate) fn guard(&self, _bytes: usize) -> Range<usize> {
        match *self {}
    }
}

impl<R: 'static> Switch<R> {
    pub(crate) fn new(memory: Memory, _body: impl FnOnce(&Yielder) -> R + 'static) -> Self {
        Switch(memory, PhantomData)
    }

    pub(crate) fn resume(&mut self) -> Option<R> {
        match self.0 {}
    }

    pub(crate) fn unwind(&mut self) {
        match self.0 {}
    }
}

impl<R> Switch<R> {
    pub(crate) fn is_done(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn into_memory(self) -> Memory {
        self.0
    }
}

pub(crate) fn suspend(yielder: &Yielder) {
    match *yielder {}
}
