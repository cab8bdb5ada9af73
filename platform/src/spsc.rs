//! A bounded ring between two threads: one [`Producer`], one [`Consumer`], in order, without locks.
//!
//! Its one idea: an index has one writer, and the other side looks at it as rarely as it can. Each side keeps a copy of
//! the other's index and reads the real one only when the copy says that the ring is full, or empty. Each side also
//! works ahead of the index that it shows: [`Producer::push`] writes without telling and [`Producer::publish`] shows
//! everything at once; the consumer gives slots back by the batch. So a batch costs a few cache misses, not a few each.
//!
//! An item lies in a slot; in a ring of [`halves`] a slot has half of an item's length, and an item that is short lies in one,
//! any other in two. What a batch costs is the lines that it lies on, so of short items it costs half.
//!
//! Waking the other thread is left to others: nothing here sleeps.
//!
//! # Why it is sound
//!
//! Indices count slots and wrap; a slot is found by its index modulo their number, a power of two, so that wrapping
//! keeps the slots in order. At all times, in wrapping arithmetic,
//!
//! ```text
//! head (shown) ≤ consumer's own head ≤ tail (shown) ≤ producer's own tail ≤ head (shown) + slots
//! ```
//!
//! and each of these indices is one at which an item begins or is to begin, since both sides step over whole items.
//!
//! *Who owns a slot.* The consumer owns those from `head` to `tail`, as shown; the producer owns the others. No slot has
//! two owners, because `head` has one writer, the consumer, and `tail` has one, the producer: [`ring`] makes one handle
//! of each, neither can be cloned, and both demand `&mut self` for whatever moves an index.
//!
//! *How a slot changes hands.* The producer writes slots, then stores `tail` with `Release`. A consumer whose `Acquire`
//! load sees that store also sees the writes before it, so each slot it takes over is initialised. It moves the items
//! out, then stores `head` with `Release`. A producer whose `Acquire` load sees that store knows that those moves have
//! happened, so it does not overwrite an item that is still being read. A copied index can only be out of date, and an
//! old value of the other's index gives a side fewer slots than it owns, never more.
//!
//! *How it ends.* A dropped producer publishes, then stores `producer_gone` with `Release`. A consumer that sees the flag
//! (`Acquire`) therefore sees the last `tail` when it looks next. The ring itself is freed by the handle dropped last;
//! the reference count orders everything either side did before that, so it finds both indices final and drops the
//! items between them. A handle that is forgotten leaks the ring, and leaking is safe.

#![allow(unsafe_code)]

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;

/// Makes a ring that holds up to `capacity` items, and its two ends.
///
/// ```
/// let (mut producer, mut consumer) = shardwise_platform::spsc::ring(4);
/// producer.push("a").unwrap();
/// producer.push("b").unwrap();
/// assert_eq!(consumer.pop(), None, "not published yet");
/// producer.publish();
/// assert_eq!(consumer.drain().collect::<Vec<_>>(), ["a", "b"]);
/// ```
///
/// # Panics
///
/// If `capacity` is not a power of two.
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    shaped(capacity)
}

/// Makes a [`ring`] in which an item that is short takes half the room: it holds up to `capacity` items, and up to twice as many
/// short ones.
///
/// # Panics
///
/// If `capacity` is not a power of two.
pub fn halves<T: Halved>(capacity: usize) -> (Producer<T, Halves>, Consumer<T, Halves>) {
    shaped(capacity)
}

fn shaped<T, S: Shape<T>>(capacity: usize) -> (Producer<T, S>, Consumer<T, S>) {
    const { assert!(size_of::<T>() == S::SLOTS_MAX * size_of::<S::Slot>() && align_of::<T>() >= align_of::<S::Slot>()) };
    assert!(capacity.is_power_of_two(), "the capacity of a ring is a power of two, not {capacity}");
    let ring = Arc::new(Ring {
        head: Line(Shown { index: AtomicUsize::new(0), gone: AtomicBool::new(false) }),
        tail: Line(Shown { index: AtomicUsize::new(0), gone: AtomicBool::new(false) }),
        slots: Slots::new(capacity * S::SLOTS_MAX),
        items: PhantomData,
    });
    let producer = Producer { ring: ring.clone(), tail: 0, tail_shown: 0, head_seen: 0, not_sync: PhantomData };
    let consumer = Consumer { ring, head: 0, head_shown: 0, tail_seen: 0, not_sync: PhantomData };
    (producer, consumer)
}

/// The writing end of a [`ring`].
///
/// It can move to another thread, but there is only ever one, used by one thread at a time. It cannot be cloned,
///
/// ```compile_fail,E0599
/// let (producer, _consumer) = shardwise_platform::spsc::ring::<u8>(4);
/// let _ = producer.clone();
/// ```
///
/// nor shared,
///
/// ```compile_fail,E0277
/// fn shared_by_threads<T: Sync>(_: T) {}
/// let (producer, _consumer) = shardwise_platform::spsc::ring::<u8>(4);
/// shared_by_threads(producer);
/// ```
///
/// nor sent when its items may not be:
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// let (producer, _consumer) = shardwise_platform::spsc::ring::<std::rc::Rc<u8>>(4);
/// sent_to_a_thread(producer);
/// ```
pub struct Producer<T, S: Shape<T> = Whole> {
    ring: Arc<Ring<T, S>>,
    /// The next slot to write.
    tail: usize,
    /// The ring's `tail`, which we alone write.
    tail_shown: usize,
    /// The ring's `head` as it was when last looked at.
    head_seen: usize,
    not_sync: PhantomData<Cell<()>>,
}

/// The reading end of a [`ring`].
///
/// It can move to another thread, but there is only ever one, used by one thread at a time. It cannot be cloned,
///
/// ```compile_fail,E0599
/// let (_producer, consumer) = shardwise_platform::spsc::ring::<u8>(4);
/// let _ = consumer.clone();
/// ```
///
/// nor shared,
///
/// ```compile_fail,E0277
/// fn shared_by_threads<T: Sync>(_: T) {}
/// let (_producer, consumer) = shardwise_platform::spsc::ring::<u8>(4);
/// shared_by_threads(consumer);
/// ```
///
/// nor sent when its items may not be:
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// let (_producer, consumer) = shardwise_platform::spsc::ring::<std::rc::Rc<u8>>(4);
/// sent_to_a_thread(consumer);
/// ```
pub struct Consumer<T, S: Shape<T> = Whole> {
    ring: Arc<Ring<T, S>>,
    /// The next slot to read.
    head: usize,
    /// The ring's `head`, which we alone write.
    head_shown: usize,
    /// The ring's `tail` as it was when last looked at.
    tail_seen: usize,
    not_sync: PhantomData<Cell<()>>,
}

/// How items lie in a ring: [`Whole`] or in [`Halves`].
pub trait Shape<T>: sealed::Sealed {
    /// What a slot holds.
    type Slot;

    /// The most slots that an item takes.
    const SLOTS_MAX: usize;

    /// The slots that this item takes. Looks at no more of it than what lies in the first.
    fn slots(item: &T) -> usize;
}

/// An item in each slot.
#[derive(Clone, Copy, Debug)]
pub enum Whole {}

/// Half an item in each slot.
#[derive(Clone, Copy, Debug)]
pub enum Halves {}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::Whole {}
    impl Sealed for super::Halves {}
}

impl<T> Shape<T> for Whole {
    type Slot = T;

    const SLOTS_MAX: usize = 1;

    #[inline(always)]
    fn slots(_: &T) -> usize {
        1
    }
}

impl<T: Halved> Shape<T> for Halves {
    type Slot = T::Half;

    const SLOTS_MAX: usize = 2;

    #[inline(always)]
    fn slots(item: &T) -> usize {
        if item.is_short() { 1 } else { 2 }
    }
}

/// What can lie in a ring of [`halves`].
///
/// # Safety
///
/// A value stays one of its type whatever becomes of its second half, which may also be uninitialised. While `is_short`, it
/// stays the same value: nobody looks at its second half. `is_short` never does.
pub unsafe trait Halved {
    /// Plain memory of half the length, any bytes or none.
    type Half: Copy;

    /// Whether the value is whole in its first half.
    fn is_short(&self) -> bool;
}

struct Ring<T, S: Shape<T>> {
    /// Written by the consumer: the first slot that it has not given back.
    head: Line<Shown>,
    /// Written by the producer: the first slot that it has not published.
    tail: Line<Shown>,
    slots: Slots<S::Slot>,
    items: PhantomData<T>,
}

/// A ring's slots, in memory of their own that begins with a cache line: so an item of 64 bytes is a line and not the halves
/// of two, without being aligned so wherever else it lies.
struct Slots<P> {
    start: NonNull<Slot<P>>,
    count: usize,
    owns: PhantomData<Slot<P>>,
}

type Slot<P> = UnsafeCell<MaybeUninit<P>>;

/// What one side shows the other.
struct Shown {
    index: AtomicUsize,
    /// The side has been dropped, and its index is final.
    gone: AtomicBool,
}

/// Keeps what different threads write on different cache lines. Two lines, since processors fetch them in pairs.
#[repr(align(128))]
struct Line<T>(T);

// SAFETY: a ring owns its slots, and the items in them, as a box would.
unsafe impl<T: Send, S: Shape<T>> Send for Ring<T, S> {}

// SAFETY: both threads hold the ring by reference. The atomics are made for that; a slot is touched only by the side
// that owns it, which the module's proof shows to be one at a time, with a happens-before edge between owners. An item
// is thereby moved from one thread to another, and perhaps dropped there, which is what `T: Send` allows; it is never
// used by two threads at once, so `T: Sync` is not needed.
unsafe impl<T: Send, S: Shape<T>> Sync for Ring<T, S> {}

impl<T, S: Shape<T>> Producer<T, S> {
    /// Writes an item, which the consumer does not see before [`publish`](Self::publish). Gives it back if the ring is
    /// full; what was written is published then, as otherwise the consumer could not make room.
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let mut item = Some(item);
        _ = self.push_from(&mut item);
        item.map_or(Ok(()), Err)
    }

    /// Pushes the item that is in `item`, from where it lies into its slot without a move in between, and leaves nothing
    /// there. Does nothing if there is nothing.
    ///
    /// Errors: the ring is full, and the item is where it was; as of [`push`](Self::push).
    #[inline]
    pub fn push_from(&mut self, item: &mut Option<T>) -> Result<(), Full> {
        let Some(from) = item else { return Ok(()) };
        let slots = S::slots(from);
        if self.slots_free() < slots && self.look() < slots {
            self.publish();
            return Err(Full);
        }
        let from = std::ptr::from_mut(from).cast::<S::Slot>();
        for place in 0..slots {
            // SAFETY: the slot is ours: it lies beyond the shown `tail` and, as just seen, before `head` plus all slots. What it
            // held has been moved out, so writing over it loses nothing. `from` is borrowed by us alone, and is so many slots
            // long; what it points to is given up by the next statement, and nothing between can unwind.
            self.ring.slot(self.tail.wrapping_add(place)).with_mut(|slot| unsafe {
                copy_by_words(from.add(place), (*slot).as_mut_ptr());
            });
        }
        // SAFETY: `item` is a valid place that we borrow alone. What was in it lies in the slots now, so it is not dropped.
        unsafe { std::ptr::write(item, None) };
        self.tail = self.tail.wrapping_add(slots);
        Ok(())
    }

    /// Shows the consumer everything that was pushed. True if there was anything to show.
    #[inline]
    pub fn publish(&mut self) -> bool {
        let news = self.tail != self.tail_shown;
        if news {
            self.ring.tail.0.index.store(self.tail, Ordering::Release);
            self.tail_shown = self.tail;
        }
        news
    }

    /// How many slots were written but not yet published: as many as items where each takes one.
    #[inline]
    pub fn unpublished(&self) -> usize {
        self.tail.wrapping_sub(self.tail_shown)
    }

    /// How many pushes are sure to succeed now. Looks at the consumer's index, so it costs what a cache miss costs.
    #[inline]
    pub fn room(&mut self) -> usize {
        self.look() / S::SLOTS_MAX
    }

    /// How many items the ring holds when full, at least.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Slots that are ours to write, as far as we know.
    #[inline]
    fn slots_free(&self) -> usize {
        self.ring.slots.len() - self.tail.wrapping_sub(self.head_seen)
    }

    /// Looks at the consumer's index. Gives the slots that are ours to write.
    #[inline]
    fn look(&mut self) -> usize {
        self.head_seen = self.ring.head.0.index.load(Ordering::Acquire);
        self.slots_free()
    }

    /// Whether the consumer has been dropped. What is pushed from then on is never read; it is dropped with the ring.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.ring.head.0.gone.load(Ordering::Acquire)
    }
}

impl<T, S: Shape<T>> Drop for Producer<T, S> {
    fn drop(&mut self) {
        self.publish();
        self.ring.tail.0.gone.store(true, Ordering::Release);
    }
}

/// The ring has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<T, S: Shape<T>> Consumer<T, S> {
    /// The oldest published item. Its slot goes back to the producer later: when the ring is found empty, when half of
    /// its slots are due, or at [`release`](Self::release).
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen && !self.look() {
            self.release();
            return None;
        }
        Some(self.take())
    }

    /// All items published so far, oldest first, but none that arrive meanwhile; so it ends. What is not taken from the
    /// iterator stays in the ring. Slots go back to the producer when the iterator is dropped, and earlier if half of
    /// them are due.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, T, S> {
        self.look();
        Drain { consumer: self }
    }

    /// Gives the slots of all items taken so far back to the producer.
    #[inline]
    pub fn release(&mut self) {
        if self.head != self.head_shown {
            self.ring.head.0.index.store(self.head, Ordering::Release);
            self.head_shown = self.head;
        }
    }

    /// Whether nothing is published that has not been taken. Another thread may publish at any moment.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail_seen && self.head == self.ring.tail.0.index.load(Ordering::Acquire)
    }

    /// How many items the ring holds when full, at least.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// Whether the producer has been dropped. Whoever sees this and then finds the ring empty has had everything.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.ring.tail.0.gone.load(Ordering::Acquire)
    }

    /// Looks at the producer's index. True if there is something to take.
    #[inline]
    fn look(&mut self) -> bool {
        self.tail_seen = self.ring.tail.0.index.load(Ordering::Acquire);
        self.head != self.tail_seen
    }

    /// Moves the item at `head` out. There must be one.
    #[inline]
    fn take(&mut self) -> T {
        assert!(self.head != self.tail_seen);
        // SAFETY: the slots from `head` are ours: they lie at or beyond the shown `head` and, as just asserted, before a `tail`
        // that was shown, so an item begins there. `head` moves on at once, so the item is read this once only.
        let (item, slots) = unsafe { self.ring.read(self.head) };
        self.head = self.head.wrapping_add(slots);
        if self.head.wrapping_sub(self.head_shown) * 2 >= self.ring.slots.len() {
            self.release();
        }
        item
    }
}

impl<T, S: Shape<T>> Drop for Consumer<T, S> {
    fn drop(&mut self) {
        self.release();
        self.ring.head.0.gone.store(true, Ordering::Release);
    }
}

/// The items of [`Consumer::drain`].
pub struct Drain<'a, T, S: Shape<T> = Whole> {
    /// Its `tail_seen` is where the iterator ends; nobody else can move it meanwhile.
    consumer: &'a mut Consumer<T, S>,
}

impl<T, S: Shape<T>> Drain<'_, T, S> {
    fn slots_left(&self) -> usize {
        self.consumer.tail_seen.wrapping_sub(self.consumer.head)
    }
}

impl<T, S: Shape<T>> Iterator for Drain<'_, T, S> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        (self.consumer.head != self.consumer.tail_seen).then(|| self.consumer.take())
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.slots_left().div_ceil(S::SLOTS_MAX), Some(self.slots_left()))
    }
}

impl<T> ExactSizeIterator for Drain<'_, T> {}

impl<T, S: Shape<T>> std::iter::FusedIterator for Drain<'_, T, S> {}

impl<T, S: Shape<T>> Drop for Drain<'_, T, S> {
    fn drop(&mut self) {
        self.consumer.release();
    }
}

impl<T, S: Shape<T>> Ring<T, S> {
    #[inline]
    fn capacity(&self) -> usize {
        self.slots.len() / S::SLOTS_MAX
    }

    #[inline]
    fn slot(&self, index: usize) -> &Slot<S::Slot> {
        &self.slots[index & (self.slots.len() - 1)]
    }

    /// Moves the item that begins at `index` out. Gives it and the slots that it took.
    ///
    /// # Safety
    ///
    /// An item begins there that was pushed and not read, and the caller owns its slots.
    #[inline]
    unsafe fn read(&self, index: usize) -> (T, usize) {
        let mut item = MaybeUninit::<T>::uninit();
        let parts = item.as_mut_ptr().cast::<S::Slot>();
        let copy = |place: usize| {
            // SAFETY: the slot holds a part of the item, written by `push_from` and owned by our caller; `item` has room for
            // `SLOTS_MAX` of them.
            self.slot(index.wrapping_add(place)).with(|slot| unsafe {
                parts.add(place).copy_from_nonoverlapping((*slot).as_ptr(), 1);
            });
        };
        copy(0);
        // SAFETY: the item is whole, or it is of a type whose second half may be anything. (See `Halved`.)
        let slots = S::slots(unsafe { item.assume_init_ref() });
        (1..slots).for_each(copy);
        // SAFETY: all its parts have been copied, once, as our caller promises.
        (unsafe { item.assume_init() }, slots)
    }
}

/// Copies an item as it was most likely written a moment ago, in words. A copy in wider pieces reads two stores with one
/// load, which the processor can only do when both have reached the cache: behind the stores to a line that another CPU
/// has, in the order of the program. A message that waited so took as long as a line takes.
///
/// # Safety
///
/// As of [`std::ptr::copy_nonoverlapping`] for one `T`.
#[inline(always)]
unsafe fn copy_by_words<T>(from: *const T, to: *mut T) {
    type Word = MaybeUninit<usize>;
    if !size_of::<T>().is_multiple_of(size_of::<Word>()) || align_of::<T>() < align_of::<Word>() {
        // SAFETY: our caller's promise.
        return unsafe { std::ptr::copy_nonoverlapping(from, to, 1) };
    }
    let (from, to) = (from.cast::<Word>(), to.cast::<Word>());
    for word in 0..size_of::<T>() / size_of::<Word>() {
        // SAFETY: an item is so many words, aligned as such; a word may hold anything, also nothing. Volatile, so that
        // the compiler does not make wider pieces of them again.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

impl<P> Slots<P> {
    fn new(count: usize) -> Self {
        let layout = Self::layout(count);
        // SAFETY: the layout has a size: at least one byte.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }.cast::<Slot<P>>()) else { handle_alloc_error(layout) };
        for place in 0..count {
            // SAFETY: the memory is ours, aligned for slots, and has room for `count`.
            unsafe { start.add(place).write(UnsafeCell::new(MaybeUninit::uninit())) };
        }
        Slots { start, count, owns: PhantomData }
    }

    fn layout(count: usize) -> Layout {
        let layout = Layout::array::<Slot<P>>(count).and_then(|layout| layout.align_to(LINE_BYTES));
        // At least one byte, where items have none.
        let layout = layout.and_then(|layout| Layout::from_size_align(layout.size().max(1), layout.align()));
        layout.expect("a ring that fits into memory")
    }
}

impl<P> Deref for Slots<P> {
    type Target = [Slot<P>];

    #[inline]
    fn deref(&self) -> &[Slot<P>] {
        // SAFETY: `new` has written so many slots there, which are ours until we are dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<P> Drop for Slots<P> {
    fn drop(&mut self) {
        for place in 0..self.count {
            // SAFETY: `new` has written a slot there, which is dropped this once. What is in it is not: the ring has seen to it.
            unsafe { self.start.add(place).drop_in_place() };
        }
        // SAFETY: allocated in `new` with this layout, and nobody sees it again.
        unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.count)) };
    }
}

impl<T, S: Shape<T>> Drop for Ring<T, S> {
    fn drop(&mut self) {
        // Both sides are gone, and showed their indices before they went.
        let mut head = self.head.0.index.load(Ordering::Acquire);
        let tail = self.tail.0.index.load(Ordering::Acquire);
        while head != tail {
            // SAFETY: we are the ring's last owner. The slots from `head` to `tail` hold items that no one has taken,
            // and each is visited once.
            let (item, slots) = unsafe { self.read(head) };
            head = head.wrapping_add(slots);
            drop(item);
        }
    }
}

impl<T, S: Shape<T>> fmt::Debug for Producer<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (capacity, unpublished) = (self.capacity(), self.unpublished());
        f.debug_struct("Producer")
            .field("capacity", &capacity)
            .field("unpublished", &unpublished)
            .finish_non_exhaustive()
    }
}

impl<T, S: Shape<T>> fmt::Debug for Consumer<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

impl<T, S: Shape<T>> fmt::Debug for Drain<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("slots_left", &self.slots_left()).finish_non_exhaustive()
    }
}

/// What moves between caches as one.
const LINE_BYTES: usize = 64;

#[cfg(all(test, loom))]
mod loom;
#[cfg(all(test, not(loom)))]
mod tests;
