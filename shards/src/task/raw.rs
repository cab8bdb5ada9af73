//! The executor's only unsafe code: memory for futures, the waker that is a number, and the current shard. Its one idea:
//! each of the three is closed in itself, so that everything built on them is plain safe Rust that owns what it touches.
//!
//! - [`Pool`]: memory in size classes that is kept; [`PoolBox`] is a `Box` in it, [`Pooled`] such a box of any value, [`Leased`]
//!   a future in one, [`RawTask`] a task.
//! - [`waker`]: a `Waker` whose data word is a number; nothing is dereferenced, so nothing can dangle.
//! - [`enter`]: what a thread keeps: the current shard, as a borrow that holds for as long as a call lasts; where code runs
//!   at this moment; and the shard of the thread's own.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::{Core, JoinError};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, SLAB_BYTES, STAGGERED_BLOCK_BYTES_MIN};
use crate::models::{Footing, Private};

// ---- memory ----

/// Memory for futures, and what else is large, in blocks of a few sizes. Blocks go back to a list and slabs are kept until the pool ends, so a
/// steady server does not touch the heap. What is larger or more aligned than a block comes from the heap.
pub(super) struct Pool {
    classes: [Class; CLASSES],
    slabs: RefCell<Vec<NonNull<u8>>>,
}

/// The blocks of one size: returned ones in a list through the blocks themselves, latest first because it is warm; and
/// the rest of the newest slab, handed out in order so that memory is touched only when used.
struct Class {
    free: Cell<Option<NonNull<FreeBlock>>>,
    fresh: Cell<*mut u8>,
    fresh_blocks: Cell<usize>,
}

struct FreeBlock {
    next: Option<NonNull<FreeBlock>>,
}

impl Pool {
    pub(super) fn new() -> Rc<Pool> {
        Rc::new(Pool {
            classes: std::array::from_fn(|_| Class {
                free: Cell::new(None),
                fresh: Cell::new(ptr::null_mut()),
                fresh_blocks: Cell::new(0),
            }),
            slabs: RefCell::new(Vec::new()),
        })
    }

    /// Blocks and heap pieces that are out, told by an owner of the pool: each has one more reference beside it.
    pub(super) fn blocks_used(this: &Rc<Pool>) -> usize {
        Rc::strong_count(this) - 1
    }

    /// Bytes taken from the heap for blocks, and kept.
    pub(super) fn slab_bytes(&self) -> usize {
        self.slabs.borrow().len() * SLAB_BYTES
    }

    /// Memory for a value of this layout; the caller owns it until it gives it to [`release`](Pool::release).
    #[inline]
    fn allocate(&self, layout: Layout) -> NonNull<u8> {
        let Some(index) = class_of(layout) else { return allocate_heap(heap_layout(layout)) };
        let class = &self.classes[index];
        match class.free.get() {
            Some(block) => {
                // SAFETY: a block in the list belongs to the pool and holds a `FreeBlock` that `release` wrote there;
                // it leaves the list here, before anyone else may write to it.
                class.free.set(unsafe { block.as_ref() }.next);
                block.cast()
            }
            None => self.allocate_fresh(index),
        }
    }

    #[cold]
    fn allocate_fresh(&self, index: usize) -> NonNull<u8> {
        let class = &self.classes[index];
        let block_bytes = pitch(index);
        if class.fresh_blocks.get() == 0 {
            let slab = allocate_heap(SLAB_LAYOUT);
            self.slabs.borrow_mut().push(slab);
            class.fresh.set(slab.as_ptr());
            class.fresh_blocks.set(SLAB_BYTES / block_bytes);
        }
        let block = class.fresh.get();
        class.fresh_blocks.set(class.fresh_blocks.get() - 1);
        // SAFETY: at least one block was left, so the block's end is still within the slab (or at its very end).
        class.fresh.set(unsafe { block.add(block_bytes) });
        // SAFETY: `fresh` points into a slab whenever blocks are left, so it is not null.
        unsafe { NonNull::new_unchecked(block) }
    }

    /// Takes memory back.
    ///
    /// # Safety
    ///
    /// `memory` came from [`allocate`](Pool::allocate) of this pool with this layout, and nothing uses it any more.
    #[inline]
    unsafe fn release(&self, memory: NonNull<u8>, layout: Layout) {
        let Some(index) = class_of(layout) else {
            // SAFETY: `allocate` took this memory from the heap, since the same layout has the same class, and the
            // caller gives up its ownership.
            return unsafe { dealloc(memory.as_ptr(), heap_layout(layout)) };
        };
        let class = &self.classes[index];
        let block = memory.cast::<FreeBlock>();
        if cfg!(debug_assertions) {
            // SAFETY: the block is ours now and has the size of its class. A use after free reads nonsense in tests.
            unsafe { memory.write_bytes(0xDD, BLOCK_BYTES_MIN << index) };
        }
        // SAFETY: the caller gave up the block; it is at least a cache line, large and aligned enough for a `FreeBlock`.
        unsafe { block.write(FreeBlock { next: class.free.get() }) };
        class.free.set(Some(block));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for slab in self.slabs.get_mut() {
            // SAFETY: each slab was allocated with this layout. No block of it is out, because whoever owns a block
            // holds an `Rc` of the pool.
            unsafe { dealloc(slab.as_ptr(), SLAB_LAYOUT) };
        }
    }
}

/// From one block of a class to the next. Of larger ones an odd number of lines: the same field of many futures would else fall
/// into the same few sets of the cache, and drive the others out, though most of it is free.
#[inline]
const fn pitch(index: usize) -> usize {
    let bytes = BLOCK_BYTES_MIN << index;
    if bytes < STAGGERED_BLOCK_BYTES_MIN { bytes } else { bytes + BLOCK_BYTES_MIN }
}

/// The index of the smallest class that a value of this layout fits in; none if it must live on the heap.
#[inline]
fn class_of(layout: Layout) -> Option<usize> {
    let bytes = layout.size().max(BLOCK_BYTES_MIN);
    let index = (bytes.next_power_of_two() / BLOCK_BYTES_MIN).trailing_zeros() as usize;
    (layout.align() <= BLOCK_ALIGN && layout.size() <= BLOCK_BYTES_MAX).then_some(index)
}

/// The heap wants at least one byte; a value may be empty and yet need a large alignment.
fn heap_layout(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size().max(1), layout.align()).unwrap_or(layout)
}

fn allocate_heap(layout: Layout) -> NonNull<u8> {
    debug_assert!(layout.size() > 0);
    // SAFETY: the layout has a size: `heap_layout` and `SLAB_LAYOUT` see to it.
    NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// What lies in a pool's memory: the value, and before it the pool, so that whoever owns it holds one word.
#[repr(C)]
struct Place<T: ?Sized> {
    /// Outlives the value, whose memory goes back to it.
    pool: Rc<Pool>,
    value: T,
}

/// A value in a pool's memory, dropped in place; the memory goes back to its class. It is a pointer and no more, since such boxes go
/// from hand to hand: what is returned and moved as two or three words the processor waits for, as its own stores.
struct PoolBox<T: ?Sized> {
    place: NonNull<Place<T>>,
    owns: PhantomData<T>,
}

impl<T> PoolBox<T> {
    /// The value is made when its place is there, and nothing happens in between: so the compiler makes it in its place. A future
    /// has kilobytes of room for what it will hold, all of which would be copied.
    #[inline(always)]
    fn new(pool: Rc<Pool>, make: impl FnOnce() -> T) -> Self {
        let place = pool.allocate(Layout::new::<Place<T>>()).cast::<Place<T>>();
        // Given back if making the value panics.
        let block = Block(&pool, place.cast(), Layout::new::<Place<T>>());
        // SAFETY: the memory is ours, and large and aligned enough for a `Place<T>`.
        unsafe { (&raw mut (*place.as_ptr()).value).write(make()) };
        mem::forget(block);
        // SAFETY: as above.
        unsafe { (&raw mut (*place.as_ptr()).pool).write(pool) };
        PoolBox { place, owns: PhantomData }
    }
}

impl<T: ?Sized> PoolBox<T> {
    /// The value, pinned: it lives in its block until it is dropped there, and nothing moves it out.
    #[inline]
    fn get(&mut self) -> Pin<&mut T> {
        // SAFETY: the place was written by `new` and ends with the box only, which owns it and is borrowed mutably. The value is
        // pinned because no function of the box moves it.
        unsafe { Pin::new_unchecked(&mut self.place.as_mut().value) }
    }
}

/// Memory without a value, which goes back to its pool when this is dropped: while the value is made, and once it is gone, also when
/// its `drop` panics.
struct Block<'a>(&'a Pool, NonNull<u8>, Layout);

impl Drop for Block<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: made by `PoolBox::new`, of memory that came from this pool with this layout, and forgotten when a value is in it;
        // or by the `drop` of a box or a task, of memory that its `new` got so (what is unsized tells the same layout), in which
        // nothing is left.
        unsafe { self.0.release(self.1, self.2) };
    }
}

impl<T: ?Sized> Drop for PoolBox<T> {
    #[inline]
    fn drop(&mut self) {
        let place = self.place.as_ptr();
        // SAFETY: the box owns the place, which is whole until the next statement but one.
        let layout = Layout::for_value(unsafe { &*place });
        // SAFETY: the pool is moved out, once: the place ends here. It outlives `_block`, which is dropped before it.
        let pool = unsafe { (&raw const (*place).pool).read() };
        let _block = Block(&pool, self.place.cast(), layout);
        // SAFETY: the box owns the value and is being dropped, so nobody sees it again.
        unsafe { ptr::drop_in_place(&raw mut (*place).value) };
    }
}

impl<T: ?Sized> Unpin for PoolBox<T> {}

/// A value in memory of its shard's pool: a `Box` that costs no heap allocation once the shard has had as many of that size, so that
/// what is large goes from hand to hand as a pointer.
pub struct Pooled<T>(PoolBox<T>);

impl<T> Pooled<T> {
    #[inline(always)]
    pub(super) fn new(pool: Rc<Pool>, make: impl FnOnce() -> T) -> Self {
        Pooled(PoolBox::new(pool, make))
    }

    /// Puts another value into memory of the same pool: what its shard does as well, which is further away.
    #[inline(always)]
    pub fn beside<U>(&self, make: impl FnOnce() -> U) -> Pooled<U> {
        Pooled::new(self.pool(), make)
    }

    /// The same for a value that has this one in it.
    #[inline(always)]
    pub fn within<U>(self, make: impl FnOnce(Self) -> U) -> Pooled<U> {
        Pooled::new(self.pool(), || make(self))
    }

    #[inline(always)]
    fn pool(&self) -> Rc<Pool> {
        // SAFETY: the box owns the place, which is whole until it is dropped.
        Rc::clone(unsafe { &self.0.place.as_ref().pool })
    }

    /// The value, moved out of its place.
    #[inline]
    pub fn into_inner(self) -> T {
        let memory = ManuallyDrop::new(self.0).place;
        // SAFETY: the box is not dropped, so what it owns is moved and not copied.
        let Place { pool, value } = unsafe { memory.read() };
        // SAFETY: `PoolBox::new` took the memory from this pool with this layout, and nothing uses it any more.
        unsafe { pool.release(memory.cast(), Layout::new::<Place<T>>()) };
        value
    }
}

impl<T> Deref for Pooled<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the box owns the value, which is alive until it is dropped, and is borrowed for as long as this.
        unsafe { &self.0.place.as_ref().value }
    }
}

impl<T> DerefMut for Pooled<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and borrowed mutably. Nothing has pinned it: only a `Leased` does that, whose box is its own.
        unsafe { &mut self.0.place.as_mut().value }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        T::fmt(self, f)
    }
}

/// A future in memory leased from the shard's pool, dropped in place when the lease is: what one request's handler runs
/// in. It is `Unpin`, so it may be stored and polled without further pinning.
pub struct Leased<'a, T> {
    future: PoolBox<dyn Future<Output = T> + 'a>,
}

impl<'a, T> Leased<'a, T> {
    #[inline(always)]
    pub(super) fn new<F: Future<Output = T> + 'a>(pool: Rc<Pool>, make: impl FnOnce() -> F) -> Self {
        // The same box, which knows less of what it owns.
        let place: NonNull<Place<dyn Future<Output = T> + 'a>> = ManuallyDrop::new(PoolBox::new(pool, make)).place;
        Leased { future: PoolBox { place, owns: PhantomData } }
    }
}

impl<T> Future for Leased<'_, T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.future.get().poll(cx)
    }
}

impl<T> std::fmt::Debug for Leased<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leased").finish_non_exhaustive()
    }
}

/// A task's future, then its result, with the type erased. None of its methods unwinds, except when it is dropped with a
/// result. It is one word, because a poll takes it out of its slot and puts it back: with three words the processor
/// waited for its own stores (12 ns of a spawn and join).
pub(super) struct RawTask {
    head: NonNull<TaskHead>,
    owns: PhantomData<Box<dyn Cellular>>,
}

/// How a poll of a task ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Returned,
    Panicked,
}

impl RawTask {
    #[inline]
    pub(super) fn new<F: Future + 'static>(pool: Rc<Pool>, future: F) -> Self {
        let memory = pool.allocate(Layout::new::<Task<F>>()).cast::<Task<F>>();
        let head = TaskHead { whole: memory, pool: ManuallyDrop::new(pool) };
        // SAFETY: the memory is ours, and large and aligned enough for a `Task<F>`.
        unsafe { memory.write(Task { head, cell: TaskCell::Running(future) }) };
        RawTask { head: memory.cast(), owns: PhantomData }
    }

    /// Polls the future; when it has ended, its place is taken by its result.
    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.get().poll(cx)
    }

    /// Drops the future; the result is `Cancelled`, or the panic of its `drop`.
    pub(super) fn cancel(&mut self) -> Ended {
        self.get().cancel()
    }

    /// The result of an ended task, whose memory goes back. None if it has none, or if `T` is not its type.
    #[inline]
    pub(super) fn join<T: 'static>(mut self) -> Option<Result<T, JoinError>> {
        let mut result: Option<Result<T, JoinError>> = None;
        // SAFETY: the place is one for results of the type that is named.
        let layout = unsafe { self.get().take(TypeId::of::<T>(), (&raw mut result).cast()) };
        if let Some(layout) = layout {
            let memory = ManuallyDrop::new(self).head;
            // SAFETY: the pool is moved out of the head, where nobody drops it, once: `self` is not dropped.
            let pool = unsafe { ptr::read(&*memory.as_ref().pool) };
            // SAFETY: `new` got the memory from this pool for a task of this layout. What was to be dropped in it has been
            // moved out: the result just now, the pool above.
            unsafe { pool.release(memory.cast(), layout) };
        }
        result
    }

    /// What an ended task that nobody joined panicked with.
    pub(super) fn take_panic(&mut self) -> Option<Box<dyn Any + Send>> {
        self.get().take_panic()
    }

    #[inline]
    fn get(&mut self) -> Pin<&mut dyn Cellular> {
        // SAFETY: the head was written by `new`, stands at the start of the task, and is not changed until the drop.
        let mut whole = unsafe { self.head.as_ref() }.whole;
        // SAFETY: `whole` is the task that `new` wrote and that we own, borrowed mutably as `self` is. It is pinned
        // because nothing moves it out of its memory.
        unsafe { Pin::new_unchecked(whole.as_mut()) }
    }
}

impl Drop for RawTask {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as in `get`. The pool is moved out of the head, where nobody drops it, once; it outlives `_block`.
        let (whole, pool) = unsafe { (self.head.as_ref().whole, ptr::read(&*self.head.as_ref().pool)) };
        // SAFETY: the task is whole until the last statement.
        let _block = Block(&pool, whole.cast(), Layout::for_value(unsafe { whole.as_ref() }));
        // SAFETY: we own the task and are being dropped, so nobody sees it again.
        unsafe { ptr::drop_in_place(whole.as_ptr()) };
    }
}

/// A task's memory: by its head it can be found and freed without knowing its type.
#[repr(C)]
struct Task<F: Future> {
    head: TaskHead,
    cell: TaskCell<F>,
}

struct TaskHead {
    /// The task of which this is the head.
    whole: NonNull<dyn Cellular>,
    /// Outlives the task, whose memory goes back to it.
    pool: ManuallyDrop<Rc<Pool>>,
}

enum TaskCell<F: Future> {
    Running(F),
    Ended(Result<F::Output, JoinError>),
    Taken,
}

trait Cellular {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended>;
    fn cancel(self: Pin<&mut Self>) -> Ended;

    /// Moves the result into `place`, if there is one and `of` is its type. Nothing is left to drop then but the head, in
    /// memory of the layout given.
    ///
    /// # Safety
    ///
    /// `place` points to an `Option<Result<T, JoinError>>` that is `None`, for the `T` that `of` names.
    unsafe fn take(self: Pin<&mut Self>, of: TypeId, place: *mut ()) -> Option<Layout>;

    fn take_panic(self: Pin<&mut Self>) -> Option<Box<dyn Any + Send>>;
}

impl<F: Future + 'static> Task<F> {
    /// The cell without its pin. Whoever has it may replace the whole cell, which drops the future in its place, but
    /// must not move the future out.
    #[inline]
    fn cell(self: Pin<&mut Self>) -> &mut TaskCell<F> {
        // SAFETY: this is private to the methods below. They reach the future only to pin it again or to drop it in
        // place by assigning another state; what they move out is the result, which has never been pinned.
        &mut unsafe { self.get_unchecked_mut() }.cell
    }
}

impl<F: Future> TaskCell<F> {
    /// The future has panicked in `poll` or `drop`: drops what is left of it, and keeps the first panic as the result.
    #[cold]
    fn panicked(&mut self, payload: Box<dyn Any + Send>) -> Ended {
        let panicked = TaskCell::Ended(Err(JoinError::Panicked(payload)));
        // An assignment writes the new value even when dropping the old one panics.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| *self = panicked)) {
            bury(second);
        }
        Ended::Panicked
    }
}

impl<F: Future + 'static> Cellular for Task<F> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.cell();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let TaskCell::Running(future) = &mut *this else { return Poll::Ready(Ended::Returned) };
            // SAFETY: the cell is pinned, and the future in it is not moved until it is dropped (see `cell`).
            let Poll::Ready(output) = unsafe { Pin::new_unchecked(future) }.poll(cx) else { return Poll::Pending };
            *this = TaskCell::Ended(Ok(output));
            Poll::Ready(Ended::Returned)
        }));
        polled.unwrap_or_else(|payload| Poll::Ready(this.panicked(payload)))
    }

    fn cancel(self: Pin<&mut Self>) -> Ended {
        let this = self.cell();
        match catch_unwind(AssertUnwindSafe(|| *this = TaskCell::Ended(Err(JoinError::Cancelled)))) {
            Ok(()) => Ended::Returned,
            Err(payload) => this.panicked(payload),
        }
    }

    unsafe fn take(self: Pin<&mut Self>, of: TypeId, place: *mut ()) -> Option<Layout> {
        let this = self.cell();
        if of != TypeId::of::<F::Output>() || !matches!(this, TaskCell::Ended(_)) {
            return None;
        }
        let TaskCell::Ended(ended) = mem::replace(this, TaskCell::Taken) else { return None };
        // SAFETY: our caller's promise, for the type that has just been compared. What is written over is a `None`.
        unsafe { place.cast::<Option<Result<F::Output, JoinError>>>().write(Some(ended)) };
        Some(Layout::new::<Self>())
    }

    fn take_panic(self: Pin<&mut Self>) -> Option<Box<dyn Any + Send>> {
        let this = self.cell();
        match this {
            TaskCell::Ended(Err(JoinError::Panicked(_))) => match mem::replace(this, TaskCell::Taken) {
                TaskCell::Ended(Err(JoinError::Panicked(payload))) => Some(payload),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Drops what somebody panicked with. Its own `drop` may panic, with something whose `drop` panics, and so on: whoever
/// does that a few times over is leaked.
pub(crate) fn bury(mut payload: Box<dyn Any + Send>) {
    for _ in 0..4 {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
}

// ---- the waker that is a number ----

/// Calls `f` with the waker of this number.
#[inline]
pub(super) fn with_waker<T>(number: u64, f: impl FnOnce(&Waker) -> T) -> T {
    f(&ManuallyDrop::new(waker(number)))
}

/// The waker of this number. Cloning it copies the number, dropping it does nothing.
#[inline]
pub(super) fn waker(number: u64) -> Waker {
    // SAFETY: the functions of `VTABLE` only ever read the data word as a number, which is valid in every thread and for
    // ever, so the contract of `RawWaker` (thread-safe, usable until dropped) holds.
    unsafe { Waker::from_raw(raw_waker(number)) }
}

/// The number of a waker, if it is one of ours.
#[inline]
pub(super) fn number_of(waker: &Waker) -> Option<u64> {
    ptr::eq(waker.vtable(), &VTABLE).then(|| waker.data().addr() as u64)
}

#[inline]
fn raw_waker(number: u64) -> RawWaker {
    RawWaker::new(ptr::without_provenance(number as usize), &VTABLE)
}

const _: () = assert!(usize::BITS >= u64::BITS, "a waker's data word must hold a whole number: 64-bit targets only");

/// A `static`, not a constant, so that it has one address by which a waker of ours is recognised.
static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| super::TaskNumber::from_bits(data.addr() as u64).wake(),
    |data| super::TaskNumber::from_bits(data.addr() as u64).wake(),
    |_| {},
);

// ---- the current shard ----

// All that a thread keeps. The first two are const-initialised and have no destructors, so they can be read at any time, also
// while the thread ends; the third is what it ends.
thread_local! {
    static CURRENT: Cell<*const Entered> = const { Cell::new(ptr::null()) };
    static FOOTING: Cell<Footing> = const { Cell::new(Footing::Thread) };
    static PRIVATE: Private = const { Private::new() };
}

/// What a shard has entered with. It lives in the frame of [`enter`].
struct Entered {
    core: NonNull<Core>,
    /// Points to an `Rc<T>` for the `T` of `shard_type`.
    shard: NonNull<()>,
    shard_type: TypeId,
}

/// Runs `f` with `core` and `shard` as the current ones of this thread, and restores the previous ones afterwards. Until
/// a task is polled, `f` stands between tasks.
pub(super) fn enter<T: 'static, R>(core: &Core, shard: &Rc<T>, f: impl FnOnce() -> R) -> R {
    /// Restores what was current before, also when `f` panics.
    struct Guard<'a> {
        entered: &'a Entered,
        outer: *const Entered,
    }

    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            // Frames end in reverse order, unless somebody switches stacks inside `f` and does not come back before this
            // frame ends. Then `outer` may be gone, and there is no safe way on.
            if CURRENT.get() != ptr::from_ref(self.entered) {
                std::process::abort();
            }
            CURRENT.set(self.outer);
        }
    }

    let entered =
        Entered { core: NonNull::from(core), shard: NonNull::from(shard).cast(), shard_type: TypeId::of::<T>() };
    let _guard = Guard { entered: &entered, outer: CURRENT.replace(&entered) };
    with_footing(Footing::Between, f)
}

/// Runs `f` with no shard as the current one, and restores what was before: for what stands for another thread's code. `f`
/// may stop on a stack of its own, if nothing that it has entered is left by then.
pub(crate) fn on_no_shard<R>(f: impl FnOnce() -> R) -> R {
    /// Restores it, also when `f` panics.
    struct Guard(*const Entered);

    impl Drop for Guard {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }

    let _guard = Guard(CURRENT.replace(ptr::null()));
    f()
}

/// Where the code that asks runs.
#[inline]
pub(crate) fn footing() -> Footing {
    FOOTING.get()
}

/// Runs `f` as code that stands there, and restores what was before.
#[inline]
pub(crate) fn with_footing<R>(footing: Footing, f: impl FnOnce() -> R) -> R {
    /// Restores it, also when `f` panics.
    struct Guard(Footing);

    impl Drop for Guard {
        #[inline]
        fn drop(&mut self) {
            FOOTING.set(self.0);
        }
    }

    let _guard = Guard(FOOTING.replace(footing));
    f()
}

/// Calls `f` with the shard of this thread's own. `None` while the thread ends.
pub(crate) fn with_private<R>(f: impl FnOnce(&Private) -> R) -> Option<R> {
    PRIVATE.try_with(f).ok()
}

/// The shard that this thread has entered, if it is a `T`.
#[inline]
pub fn current<T: 'static>() -> Option<Rc<T>> {
    let entered = NonNull::new(CURRENT.get().cast_mut())?;
    // SAFETY: only `enter` sets the pointer, to a local of its frame, and resets it before the frame ends (or aborts).
    let entered = unsafe { entered.as_ref() };
    if entered.shard_type != TypeId::of::<T>() {
        return None;
    }
    // SAFETY: `enter` made the pointer from an `&Rc<T>` with the `T` of `shard_type`, and that borrow outlives its frame.
    // The reference is used for this clone only, so it does not outlive the frame either.
    Some(unsafe { entered.shard.cast::<Rc<T>>().as_ref() }.clone())
}

/// Calls `f` with the executor of the shard that this thread has entered. For the few words of this module's parent that
/// must not cost a reference count; `f` runs none of the user's code.
#[inline]
pub(super) fn with_core<R>(f: impl FnOnce(Option<&Core>) -> R) -> R {
    let entered = NonNull::new(CURRENT.get().cast_mut());
    // SAFETY: as in `current`: the frame of `enter` is alive, and with it the borrow of the core that it was given. `f`
    // is ours and returns before anything else runs on this thread, so the reference does not outlive the frame.
    f(entered.map(|entered| unsafe { entered.as_ref().core.as_ref() }))
}

const CLASSES: usize = (BLOCK_BYTES_MAX / BLOCK_BYTES_MIN).trailing_zeros() as usize + 1;
const BLOCK_ALIGN: usize = BLOCK_BYTES_MIN;
const SLAB_LAYOUT: Layout = match Layout::from_size_align(SLAB_BYTES, BLOCK_ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("a slab's size and alignment make a layout"),
};
const _: () = assert!(BLOCK_BYTES_MIN >= size_of::<FreeBlock>());
