#![allow(unsafe_code)]
//! Closures on stacks of their own, which can stop in the middle: what green threads are built from.
//!
//! The one idea: whoever resumes a [`Coroutine`] waits in that call until it suspends itself, so on each thread they form a
//! chain, of which the innermost runs. [`suspend`] is a plain function that suspends the innermost: it needs no handle, and
//! can reach no other. The switch itself is the `corosensei` crate's.
//!
//! Stacks come from a bounded pool and go back to it when their coroutine has ended, so a steady program maps nothing and
//! allocates nothing. Each has a guard page; running into it is named (see `os/overflow.rs`) and ends the process.
//!
//! # Why it is sound
//!
//! *Nothing of a stack is used after it.* A stack goes back to its pool only when its coroutine has returned or was unwound,
//! so nothing lives on it. A coroutine that is forgotten keeps its stack for ever, and leaking is safe.
//!
//! *Nothing moves to another thread.* Neither pools nor coroutines are `Send`, whatever they hold.
//!
//! *The chain is true.* `INNERMOST` points into the coroutine that is borrowed by the innermost [`resume`](Coroutine::resume)
//! of this thread, which puts the former pointer back when the switch returns, also by a panic. So whenever code runs, it
//! runs on the stack of `INNERMOST`, or on the thread's own if that is null.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::rc::Rc;

use crate::limits::{GREEN_STACK_BYTES, GREEN_STACK_BYTES_MIN, GREEN_STACKS_MAX};
use crate::os::{self, Memory, Switch, Yielder};
use crate::{Error, Result};

/// Stacks of one size for the coroutines of one thread, a bounded number. Cloning gives another handle on the same pool.
#[derive(Clone)]
pub struct Stacks(Rc<Inside>);

/// How large stacks are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackSize {
    /// Bytes of each, without the guard page. Only what is touched costs memory.
    pub bytes: usize,
    /// How many at the most.
    pub count: usize,
}

impl Default for StackSize {
    fn default() -> Self {
        StackSize { bytes: GREEN_STACK_BYTES, count: GREEN_STACKS_MAX }
    }
}

/// What a pool of stacks holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackStats {
    /// Stacks that are mapped.
    pub mapped: usize,
    /// Those of them that are in use.
    pub used: usize,
    /// Stacks that were refused.
    pub refused: u64,
}

struct Inside {
    size: StackSize,
    /// Those in no use, the latest last: it is the one most likely still in the cache.
    spare: RefCell<Vec<Memory>>,
    mapped: Cell<usize>,
    refused: Cell<u64>,
    /// Held while this thread may overflow a stack of ours; none before the first stack, or if the system refuses.
    signal_stack: RefCell<Option<os::SignalStack>>,
}

/// The right to a stack; it goes home when dropped.
#[must_use]
pub struct Stack {
    /// Gone when a coroutine has taken it.
    memory: Option<Memory>,
    home: Stacks,
}

impl Stacks {
    /// A pool without a stack.
    pub fn new(size: StackSize) -> Self {
        let size = StackSize { bytes: size.bytes.max(GREEN_STACK_BYTES_MIN), ..size };
        Stacks(Rc::new(Inside {
            size,
            spare: RefCell::default(),
            mapped: Cell::new(0),
            refused: Cell::new(0),
            signal_stack: RefCell::default(),
        }))
    }

    /// A stack: the one that came back last, or a new one.
    ///
    /// Errors: `Full`, `OutOfMemory`, `Unsupported` (a processor whose stacks we cannot switch).
    pub fn take(&self) -> Result<Stack> {
        let spare = self.0.spare.borrow_mut().pop();
        match spare.map_or_else(|| self.map(), Ok) {
            Ok(memory) => Ok(Stack { memory: Some(memory), home: self.clone() }),
            Err(error) => {
                self.0.refused.set(self.0.refused.get() + 1);
                Err(error)
            }
        }
    }

    #[cold]
    fn map(&self) -> Result<Memory> {
        let Inside { size, mapped, signal_stack, spare, .. } = &*self.0;
        if mapped.get() >= size.count {
            return Err(Error::Full);
        }
        let memory = Memory::new(size.bytes)?;
        if mapped.replace(mapped.get() + 1) == 0 {
            *signal_stack.borrow_mut() = os::name_overflows(size_of_overflowed);
        }
        // Room for all, so that giving one back never allocates.
        spare.borrow_mut().reserve(mapped.get());
        Ok(memory)
    }

    fn put_back(&self, memory: Memory) {
        self.0.spare.borrow_mut().push(memory);
    }

    /// What the pool holds.
    pub fn stats(&self) -> StackStats {
        let (mapped, refused) = (self.0.mapped.get(), self.0.refused.get());
        StackStats { mapped, used: mapped - self.0.spare.borrow().len(), refused }
    }

    /// How large its stacks are, and how many at the most.
    pub fn size(&self) -> StackSize {
        self.0.size
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.home.put_back(memory);
        }
    }
}

/// A closure on a stack of its own.
///
/// ```
/// use shardwise_platform::stack::{Coroutine, StackSize, Stacks, suspend};
///
/// let stacks = Stacks::new(StackSize::default());
/// let mut halves = Coroutine::new(stacks.take().unwrap(), || {
///     suspend();
///     "done"
/// });
/// assert_eq!(halves.resume(), None);
/// assert_eq!(halves.resume(), Some("done"));
/// assert_eq!(stacks.stats().used, 0);
/// ```
///
/// It stays on its thread, whatever it holds:
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// let stacks = shardwise_platform::stack::Stacks::new(Default::default());
/// sent_to_a_thread(shardwise_platform::stack::Coroutine::new(stacks.take().unwrap(), || ()));
/// ```
pub struct Coroutine<R: 'static> {
    /// `None` once it has ended.
    switch: Option<Switch<R>>,
    here: Here,
    home: Stacks,
}

/// What a thread keeps of the coroutine that it runs.
struct Here {
    /// Set by the coroutine itself when it begins.
    yielder: Cell<*const Yielder>,
    /// Where its guard page lies.
    guard: Range<usize>,
    stack_bytes: usize,
}

// Const-initialised and without a destructor, so that a signal handler may read it, and destructors of a thread that ends.
thread_local! {
    static INNERMOST: Cell<*const Here> = const { Cell::new(ptr::null()) };
}

impl<R: 'static> Coroutine<R> {
    /// Puts `body` on the stack, to run when it is resumed.
    pub fn new(mut stack: Stack, body: impl FnOnce() -> R + 'static) -> Self {
        let home = stack.home.clone();
        let memory = stack.memory.take().expect("a stack has memory until a coroutine takes it");
        let stack_bytes = home.size().bytes;
        let here = Here { yielder: Cell::new(ptr::null()), guard: memory.guard(stack_bytes), stack_bytes };
        let begin = move |yielder: &Yielder| {
            // SAFETY: this is the beginning of the coroutine, so the innermost is the one that resumes it: it is borrowed by
            // that call for longer than this line.
            unsafe { &*INNERMOST.get() }.yielder.set(yielder);
            body()
        };
        Coroutine { switch: Some(Switch::new(memory, begin)), here, home }
    }

    /// Runs it until it suspends itself, or ends: then this is what it returns. A panic of its comes through, and ends it.
    ///
    /// # Panics
    ///
    /// If it has ended before.
    pub fn resume(&mut self) -> Option<R> {
        assert!(!self.has_ended(), "a coroutine that has ended is not resumed");
        /// When the switch comes back, by a panic too, its stack goes home if it has ended.
        struct Ending<'a, R: 'static>(&'a mut Option<Switch<R>>, &'a Stacks);

        impl<R> Drop for Ending<'_, R> {
            fn drop(&mut self) {
                if self.0.as_ref().is_some_and(Switch::is_done)
                    && let Some(switch) = self.0.take()
                {
                    self.1.put_back(switch.into_memory());
                }
            }
        }

        let ending = Ending(&mut self.switch, &self.home);
        let _chain = Chain::enter(&self.here);
        ending.0.as_mut().and_then(Switch::resume)
    }

    /// Whether it has returned or panicked.
    pub fn has_ended(&self) -> bool {
        self.switch.is_none()
    }

    /// Ends it where it stands: what lives on its stack is dropped, by an unwinding that no `catch_unwind` ends for good,
    /// since a [`suspend`] goes on with it. What it panics with on the way comes back.
    pub fn unwind(&mut self) -> std::result::Result<(), Box<dyn Any + Send>> {
        let Some(mut switch) = self.switch.take() else { return Ok(()) };
        let unwound = {
            let _chain = Chain::enter(&self.here);
            catch_unwind(AssertUnwindSafe(|| switch.unwind()))
        };
        self.home.put_back(switch.into_memory());
        unwound
    }
}

impl<R> Drop for Coroutine<R> {
    fn drop(&mut self) {
        if let Err(payload) = self.unwind() {
            match std::thread::panicking() {
                // A second panic would end the process.
                true => std::mem::forget(payload),
                false => resume_unwind(payload),
            }
        }
    }
}

/// Makes a coroutine the innermost, until it is dropped.
struct Chain<'a> {
    outer: *const Here,
    inner: PhantomData<&'a Here>,
}

impl<'a> Chain<'a> {
    #[inline]
    fn enter(here: &'a Here) -> Self {
        Chain { outer: INNERMOST.replace(here), inner: PhantomData }
    }
}

impl Drop for Chain<'_> {
    #[inline]
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

/// Suspends the coroutine that calls this, until it is resumed; if it is unwound instead, this does not return.
///
/// # Panics
///
/// On a thread's own stack, and while something is dropped that a coroutine has captured which never ran.
#[inline]
pub fn suspend() {
    let here = INNERMOST.get();
    assert!(!here.is_null(), "only a coroutine can be suspended, and this code runs on its thread's own stack");
    // SAFETY: it points into the coroutine that the innermost `resume` or `unwind` of this thread borrows, for as long as
    // this code runs.
    let yielder = unsafe { (*here).yielder.get() };
    assert!(!yielder.is_null(), "a coroutine that has not begun is not suspended: what it captured is being dropped");
    // SAFETY: the coroutine that runs has set it when it began, to what lies at the root of its stack, and it has not ended.
    os::suspend(unsafe { &*yielder });
}

/// Whether this code runs on a coroutine's stack.
pub fn is_on_coroutine() -> bool {
    !INNERMOST.get().is_null()
}

/// See [`os::GuardLookup`]: called from a signal handler.
fn size_of_overflowed(address: usize) -> Option<usize> {
    let here = INNERMOST.get();
    if here.is_null() {
        return None;
    }
    // SAFETY: as in `suspend`: the handler runs on the thread whose code was interrupted, within that code.
    let here = unsafe { &*here };
    here.guard.contains(&address).then_some(here.stack_bytes)
}

impl fmt::Debug for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stacks").field("size", &self.size()).field("stats", &self.stats()).finish()
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Coroutine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coroutine").field("has_ended", &self.has_ended()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
