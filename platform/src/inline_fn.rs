//! An owned closure without a heap allocation, for messages between shards.
//!
//! Its one idea: a closure is its captures and one function that consumes them. [`InlineFn`] keeps the captures in a
//! small array of its own and a pointer to that function beside it. A closure too large for the array, or with an
//! unusual alignment, is boxed, and the box is what lies in the array.
//!
//! A *label*, a number for whoever sends the closure, lies before both. So a closure with few captures is whole in its first
//! half, and a [ring of halves](crate::spsc::halves) carries two of those in a cache line.
//!
//! Every closure in here is `Send`, since moving to another shard is what these are for. Closures that stay at home are
//! generic parameters or plain boxes and need no such type.

#![allow(unsafe_code)]

use crate::spsc::Halved;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

/// An owned `FnOnce(&A) -> R + Send` whose captures lie inline when they fit in `N` bytes aligned to eight.
///
/// It is called once, or dropped, which drops the captures. `N` must hold a pointer; the whole value then has `N` bytes
/// rounded up to a multiple of eight, and sixteen more.
///
/// ```
/// use shardwise_platform::inline_fn::InlineFn;
///
/// let name = String::from("ada");
/// let greet = InlineFn::<str, String, 48>::new(move |greeting| format!("{greeting}, {name}"));
///
/// let there = std::thread::scope(|scope| scope.spawn(move || greet.call("hello")).join());
/// assert_eq!(there.unwrap(), "hello, ada");
/// ```
///
/// A closure that must stay on its thread is refused:
///
/// ```compile_fail,E0277
/// # use shardwise_platform::inline_fn::InlineFn;
/// let local = std::rc::Rc::new(1);
/// InlineFn::<(), usize, 48>::new(move |_| *local);
/// ```
///
/// and so is one that borrows what may be gone when it is called:
///
/// ```compile_fail,E0373
/// # use shardwise_platform::inline_fn::InlineFn;
/// let local = 1;
/// InlineFn::<(), usize, 48>::new(|_| local + 1);
/// ```
// In this order: see `Halved` below.
#[repr(C)]
pub struct InlineFn<A: ?Sized, R, const N: usize> {
    /// The label, and [`LONG`]. One word, as which it is written and read: what is written in parts cannot be read as a whole
    /// at once.
    label: u64,
    consume: Consume<A, R>,
    captures: Captures<N>,
    /// Takes away the automatic `Send` and `Sync`, so that only what is proven below holds.
    raw: PhantomData<*mut ()>,
}

/// Moves the closure out of the memory given, which is uninitialised afterwards, then calls the closure with the
/// argument, or drops it if there is none. Answers `Some` exactly if there is an argument.
type Consume<A, R> = unsafe fn(*mut u8, Option<&A>) -> Option<R>;

/// Aligned like a pointer or a `u64`, as nearly all captures are; sixteen would pad every message for the sake of a few.
#[repr(C, align(8))]
struct Captures<const N: usize>(MaybeUninit<[u8; N]>);

// SAFETY: the only thing inside that is not plain data is the closure, and `new` takes none that is not `Send`.
// The argument and the result are not inside: they exist only during `call`, on the thread that calls.
unsafe impl<A: ?Sized, R, const N: usize> Send for InlineFn<A, R, N> {}

impl<A: ?Sized, R, const N: usize> InlineFn<A, R, N> {
    /// Takes the closure: inline if it fits, else in a box.
    #[inline]
    pub fn new<F>(closure: F) -> Self
    where
        F: FnOnce(&A) -> R + Send + 'static,
    {
        const { assert!(N >= size_of::<Box<F>>(), "an InlineFn holds at least a pointer") };
        if const { fits::<F, N>() } {
            Self::inline(closure)
        } else {
            let closure = Box::new(closure);
            Self::inline(move |argument: &A| (*closure)(argument))
        }
    }

    /// Its label: zero, or what was set.
    #[inline]
    pub fn label(&self) -> u64 {
        self.label & LABEL_MAX
    }

    /// Labels it.
    ///
    /// # Panics
    ///
    /// If the label is larger than [`LABEL_MAX`].
    #[inline]
    pub fn set_label(&mut self, label: u64) {
        assert!(label <= LABEL_MAX);
        self.label = self.label & LONG | label;
    }

    /// Calls the closure. A panic in it passes through, and the captures are dropped on the way.
    #[inline]
    pub fn call(self, argument: &A) -> R {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `captures` holds the closure that `consume` was made for, since `inline` sets the two together and
        // nothing changes them. We own `self`, and `ManuallyDrop` keeps its `drop` from running, even when the closure
        // unwinds, so the closure is moved out this once only.
        let result = unsafe { (this.consume)(this.captures.address(), Some(argument)) };
        result.expect("a call with an argument has a result")
    }

    /// Calls the closure in `place`, if there is one, where it lies, and leaves nothing there.
    #[inline]
    pub fn call_in(place: &mut Option<Self>, argument: &A) -> Option<R> {
        /// Leaves nothing, also when the closure unwinds.
        struct Emptied<T>(*mut Option<T>);

        impl<T> Drop for Emptied<T> {
            #[inline]
            fn drop(&mut self) {
                // SAFETY: made below, from a place that is borrowed for as long. What was in it has been moved out.
                unsafe { self.0.write(None) };
            }
        }

        let place: *mut Option<Self> = place;
        // SAFETY: `place` was a mutable borrow until here, and is used as no other while this one lives.
        let closure = unsafe { (*place).as_mut() }?;
        let (consume, captures) = (closure.consume, closure.captures.address());
        let _emptied = Emptied(place);
        // SAFETY: as in `call`: `captures` holds the closure that `consume` was made for. It is moved out this once only: nobody
        // looks at the place before `_emptied` has written over it.
        unsafe { consume(captures, Some(argument)) }
    }

    /// Moves the closure in `from`, if there is one, into `to`, and no more memory than it takes.
    #[inline]
    pub fn shift(from: &mut Option<Self>, to: &mut Option<Self>) {
        let Some(closure) = from else { return };
        let (label, consume) = (closure.label, closure.consume);
        let mut captures = Captures(MaybeUninit::uninit());
        let (source, target) = (closure.captures.address(), captures.address());
        let moved = match label & LONG {
            0 => {
                // SAFETY: both are captures, which are at least as long, and different ones.
                unsafe {
                    source.copy_to_nonoverlapping(target, const { if N < SHORT_BYTES { N } else { SHORT_BYTES } })
                };
                InlineFn { label, consume, captures, raw: PhantomData }
            }
            _ => {
                // SAFETY: as above.
                unsafe { source.copy_to_nonoverlapping(target, N) };
                InlineFn { label, consume, captures, raw: PhantomData }
            }
        };
        // SAFETY: `from` is a place that we borrow alone. The closure in it has been moved, so it is not dropped.
        unsafe { std::ptr::write(from, None) };
        *to = Some(moved);
    }

    fn inline<F>(closure: F) -> Self
    where
        F: FnOnce(&A) -> R + Send + 'static,
    {
        // Not a `const` block, which would refuse the branch of `new` that is never taken; it folds away all the same.
        assert!(fits::<F, N>());
        let mut captures = Captures(MaybeUninit::uninit());
        // SAFETY: `captures` is ours, and is large enough and aligned for an `F`, as asserted above. It holds nothing
        // that the write could forget to drop.
        unsafe { captures.address().cast::<F>().write(closure) };
        let label = if size_of::<F>() <= SHORT_BYTES { 0 } else { LONG };
        Self { label, consume: consume::<F, A, R>, captures, raw: PhantomData }
    }
}

// SAFETY: a closure of a line's length has its label, its function and `SHORT_BYTES` of captures in its first half, in this
// order. Any bytes are captures to the type system, also none; and a closure that `inline` has not marked as long has its
// captures in the first of them, which is all that `consume` reads.
unsafe impl<A: ?Sized, R> Halved for InlineFn<A, R, 48> {
    type Half = [MaybeUninit<u64>; 4];

    #[inline]
    fn is_short(&self) -> bool {
        self.label & LONG == 0
    }
}

impl<A: ?Sized, R, const N: usize> Drop for InlineFn<A, R, N> {
    fn drop(&mut self) {
        // SAFETY: as in `call`: the closure is still in `captures`, because only `call` moves it out, and a value that
        // was called is not dropped. After this the value is gone, so the closure is moved out this once only.
        unsafe { (self.consume)(self.captures.address(), None) };
    }
}

impl<A: ?Sized, R, const N: usize> std::fmt::Debug for InlineFn<A, R, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineFn").finish_non_exhaustive()
    }
}

impl<const N: usize> Captures<N> {
    fn address(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

const fn fits<F, const N: usize>() -> bool {
    size_of::<F>() <= N && align_of::<F>() <= align_of::<Captures<N>>()
}

/// The [`Consume`] for captures of type `F`.
///
/// # Safety
///
/// `captures` points to an initialised `F`, aligned, which the caller owns and treats as moved away afterwards.
unsafe fn consume<F, A: ?Sized, R>(captures: *mut u8, argument: Option<&A>) -> Option<R>
where
    F: FnOnce(&A) -> R,
{
    // SAFETY: our caller hands over the `F` that `captures` points to.
    let closure = unsafe { captures.cast::<F>().read() };
    argument.map(closure)
}

/// The largest label.
pub const LABEL_MAX: u64 = LONG - 1;

/// In the word of the label: there are more captures than a short closure has.
const LONG: u64 = 1 << 63;

/// Captures of a short closure: what is left of half a line.
const SHORT_BYTES: usize = 16;
const _: () = assert!(std::mem::offset_of!(InlineFn<(), (), 48>, captures) + SHORT_BYTES == 32);

#[cfg(test)]
mod tests;
