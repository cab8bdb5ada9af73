//! Switching stacks, by the `corosensei` crate, on the processors that it has a switch for.

use std::ops::Range;

use corosensei::stack::{DefaultStack, Stack};

use crate::Result;

/// Memory for a stack: mapped, with a page at its low end that must not be touched.
pub(crate) struct Memory(DefaultStack);

/// What code that runs on a stack of its own suspends itself by.
pub(crate) type Yielder = corosensei::Yielder<(), ()>;

/// A closure on a stack of its own.
pub(crate) struct Switch<R>(corosensei::Coroutine<(), (), R, DefaultStack>);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        Ok(Memory(DefaultStack::new(bytes)?))
    }

    /// Where the page lies that must not be touched, of a stack that was made with so many bytes. If they are no whole pages,
    /// it includes a few of its bytes more, which may be touched.
    pub(crate) fn guard(&self, bytes: usize) -> Range<usize> {
        self.0.limit().get()..self.0.base().get().saturating_sub(bytes)
    }
}

impl<R: 'static> Switch<R> {
    pub(crate) fn new(memory: Memory, body: impl FnOnce(&Yielder) -> R + 'static) -> Self {
        Switch(corosensei::Coroutine::with_stack(memory.0, |yielder, ()| body(yielder)))
    }

    /// Runs it until it suspends itself, or returns, or panics.
    #[inline]
    pub(crate) fn resume(&mut self) -> Option<R> {
        self.0.resume(()).as_return()
    }

    /// Drops all that lives on its stack. A panic on the way comes through.
    pub(crate) fn unwind(&mut self) {
        self.0.force_unwind();
    }
}

impl<R> Switch<R> {
    pub(crate) fn is_done(&self) -> bool {
        self.0.done()
    }

    /// The memory of one that is done.
    pub(crate) fn into_memory(self) -> Memory {
        Memory(self.0.into_stack())
    }
}

/// Suspends the code that runs on the yielder's stack until it is resumed, or unwinds it.
#[inline]
pub(crate) fn suspend(yielder: &Yielder) {
    yielder.suspend(());
}
