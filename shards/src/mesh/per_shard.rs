//! [`PerShard`]: one value on each shard, reachable from all.
//!
//! The one idea: the handle is a number that all shards agree on, and a closure goes to the value. So a `T` need not be
//! `Send`, only what is asked of it; and what belongs to a key is found by its hash, on the shard that owns it.
//!
//! All shards come to the same line: the n-th part that a shard makes at a line belongs with the n-th that the others make
//! there. Calls that come before every shard has made its part wait for that.

use std::any::TypeId;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::fabric::Standing;
use super::message::{Request, Visit};
use super::{Call, CallError, Mesh, Post, place};
use crate::Shard;
use crate::limits::PER_SHARDS_MAX;
use crate::models::Footing;
use crate::scope::Travelling;
use crate::sync::{Acquire, Semaphore};
use crate::task::with_footing;

/// One `T` on each shard. The handle is a plain value that any shard may hold and send; the parts never leave their shards.
///
/// Closures run between the tasks of the shard they are sent to, get its part, and return something owned. They cannot
/// await, so no borrow is held while others run; work that awaits takes the [`Part`] along instead, see
/// [`on_async`](PerShard::on_async). A closure that borrows the part it is in again gets
/// [`Nested`](CallError::Nested), and a panic of a closure is an error of its caller.
///
/// ```
/// use shardwise_shards::{CallError, PerShard, Runtime, Shard};
/// use std::collections::BTreeMap;
///
/// Runtime::builder()
///     .shards(2)
///     .oversubscribe(true)
///     .announce(false)
///     .run(async |shard: Shard| {
///         let counts = PerShard::new(&shard, BTreeMap::<String, u64>::new);
///         let count = counts.at_key_mut("ada", |counts| {
///             let count = counts.entry("ada".to_owned()).or_default();
///             *count += 1;
///             *count
///         });
///         assert!((1..=2).contains(&count.await?), "both shards counted on the same one");
///         assert_eq!(counts.on_all(|_| 1).await?, [1, 1]);
///         Ok::<_, CallError>(())
///     })
///     .unwrap();
/// ```
pub struct PerShard<T> {
    /// Which of its runtime's.
    whole: u32,
    /// Which runtime's.
    fabric: u32,
    shards: u32,
    place: fn(u64, usize) -> usize,
    part: PhantomData<fn() -> T>,
}

/// One shard's own part of a [`PerShard`], for tasks of that shard. It is not `Send`:
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// fn check(part: shardwise_shards::Part<u64>) {
///     sent_to_a_thread(part);
/// }
/// ```
pub struct Part<T>(Rc<RefCell<T>>);

impl<T: 'static> PerShard<T> {
    /// Makes this shard's part, and the handle on all. Every shard must come to this line, as often as the others.
    ///
    /// # Panics
    ///
    /// If the runtime has [`PER_SHARDS_MAX`] of them.
    #[track_caller]
    pub fn new(shard: &Shard, make: impl FnOnce() -> T) -> PerShard<T> {
        PerShard::new_at(shard, Location::caller(), make)
    }

    pub(super) fn new_at(shard: &Shard, location: &'static Location<'static>, make: impl FnOnce() -> T) -> PerShard<T> {
        // Made first: it may make others.
        let part = Rc::new(RefCell::new(make()));
        let mesh = shard.mesh();
        let declared = mesh.fabric.declare(shard.number(), location, TypeId::of::<T>());
        let Some(whole) = declared else {
            panic!(
                "this runtime has {PER_SHARDS_MAX} `PerShard`s already; make one before a loop, not one in each round"
            )
        };
        mesh.with_part(whole, |here| here.part = Some(part));
        PerShard {
            whole: whole as u32,
            fabric: mesh.fabric.number(),
            shards: shard.count() as u32,
            place: place::jump,
            part: PhantomData,
        }
    }

    pub(super) fn shards(self) -> usize {
        self.shards as usize
    }

    /// Decides otherwise which shard owns a key: by a function of its hash and the number of shards that gives a number less
    /// than that. Every shard must be given the same.
    pub fn placed_by(self, place: fn(u64, usize) -> usize) -> Self {
        PerShard { place, ..self }
    }

    /// The number of the shard that owns a key. It depends on nothing but the key and the number of shards, so it is the same
    /// in every run; a program whose peers choose keys, and mean harm, hashes them first with a secret of its own.
    pub fn owner<K: Hash + ?Sized>(self, key: &K) -> usize {
        (self.place)(place::hash_of(key), self.shards as usize)
    }

    /// Runs `call` with a shard's part.
    ///
    /// Errors: see [`CallError`]. Dropping the call means what it does for [`Shard::on`].
    pub fn on<R, F>(self, shard: usize, call: F) -> Call<R>
    where
        R: Send + 'static,
        F: FnOnce(&T) -> R + Send + 'static,
    {
        self.call(shard, self.run(move |part: &RefCell<T>| read(part, call)))
    }

    /// Runs `call` with a shard's part, which it may change.
    pub fn on_mut<R, F>(self, shard: usize, call: F) -> Call<R>
    where
        R: Send + 'static,
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        self.call(shard, self.run(move |part: &RefCell<T>| write(part, call)))
    }

    /// Runs a future on another shard, as a task there, which takes that shard's part along; in a scope of its own, which has
    /// the caller's deadline and trace: see [`Shard::on_async`].
    pub fn on_async<R, F, Fut>(self, shard: usize, call: F) -> Call<R>
    where
        R: Send + 'static,
        F: FnOnce(Part<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
    {
        let caller = self.caller();
        let along = caller.as_ref().map_or(Travelling::NOTHING, Shard::travelling);
        let begin = move |visit: &Visit| match self.part(&visit.shard) {
            Ok(part) => visit.start(along, || call(Part(part))),
            Err(error) => visit.fail(error),
        };
        Call::of_part(caller, shard, self.whole as usize, Request::new(begin))
    }

    /// Sends a closure to a shard's part, which it may change, and does not wait for that: see [`Shard::post`].
    pub fn post<F>(self, shard: usize, closure: F) -> Post
    where
        F: FnOnce(&mut T) + Send + 'static,
    {
        Post::of_part(
            self.caller(),
            shard,
            self.whole as usize,
            self.run(move |part: &RefCell<T>| write(part, closure)),
        )
    }

    /// Runs `call` with the part of the shard that owns the key.
    pub fn at_key<K, R, F>(self, key: &K, call: F) -> Call<R>
    where
        K: Hash + ?Sized,
        R: Send + 'static,
        F: FnOnce(&T) -> R + Send + 'static,
    {
        self.on(self.owner(key), call)
    }

    /// Runs `call` with the part of the shard that owns the key, which it may change.
    pub fn at_key_mut<K, R, F>(self, key: &K, call: F) -> Call<R>
    where
        K: Hash + ?Sized,
        R: Send + 'static,
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        self.on_mut(self.owner(key), call)
    }

    /// Runs a future on the shard that owns the key, as a task there.
    pub fn at_key_async<K, R, F, Fut>(self, key: &K, call: F) -> Call<R>
    where
        K: Hash + ?Sized,
        R: Send + 'static,
        F: FnOnce(Part<T>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
    {
        self.on_async(self.owner(key), call)
    }

    /// Runs `call` with every shard's part, at the same time; gives the values in the order of the shards.
    ///
    /// Errors: the first that comes; the other calls are dropped then.
    pub fn on_all<R, F>(self, call: F) -> OnAll<R>
    where
        R: Send + 'static,
        F: FnOnce(&T) -> R + Clone + Send + 'static,
    {
        OnAll(each((0..self.shards()).map(|shard| self.on(shard, call.clone())).collect()))
    }

    /// Runs a future on every shard, as a task there, at the same time; gives the values in the order of the shards.
    ///
    /// Errors: as of [`on_all`](PerShard::on_all). The tasks of calls that are dropped are cancelled.
    pub fn on_all_async<R, F, Fut>(self, call: F) -> OnAll<R>
    where
        R: Send + 'static,
        F: FnOnce(Part<T>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = R> + 'static,
    {
        OnAll(each((0..self.shards()).map(|shard| self.on_async(shard, call.clone())).collect()))
    }

    /// Runs `map` with every shard's part, and makes one value of all, here, in the order of the shards.
    ///
    /// Errors: as of [`on_all`](PerShard::on_all).
    pub async fn map_reduce<R, F>(self, map: F, reduce: impl FnMut(R, R) -> R) -> Result<R, CallError>
    where
        R: Send + 'static,
        F: FnOnce(&T) -> R + Clone + Send + 'static,
    {
        let values = self.on_all(map).await?;
        // There is no runtime without a shard.
        values.into_iter().reduce(reduce).ok_or(CallError::NoShard)
    }

    /// Runs `call` with this shard's own part, on the spot. What it returns stays here, so it need not be `Send`.
    ///
    /// Errors: [`OffShard`](CallError::OffShard), [`Nested`](CallError::Nested), or [`Stopped`](CallError::Stopped) once the
    /// shard has ended.
    pub fn here<R>(self, call: impl FnOnce(&T) -> R) -> Result<R, CallError> {
        read_here(&*self.part(&self.caller()?)?, call)
    }

    /// Runs `call` with this shard's own part, which it may change, on the spot.
    pub fn here_mut<R>(self, call: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        write_here(&*self.part(&self.caller()?)?, call)
    }

    fn call<R: Send + 'static>(self, shard: usize, request: Request) -> Call<R> {
        Call::of_part(self.caller(), shard, self.whole as usize, request)
    }

    /// What runs `call` with the part of the shard that it comes to.
    fn run<R, F>(self, call: F) -> Request
    where
        R: Send + 'static,
        F: FnOnce(&RefCell<T>) -> Result<R, CallError> + Send + 'static,
    {
        Request::new(move |visit: &Visit| match self.part(&visit.shard).and_then(|part| call(&part)) {
            Ok(value) => visit.answer(value),
            Err(error) => visit.fail(error),
        })
    }

    /// The shard that this thread runs, if it belongs to the same runtime.
    fn caller(self) -> Result<Shard, CallError> {
        let shard = Shard::current().ok_or(CallError::OffShard)?;
        match shard.mesh().fabric.number() == self.fabric {
            true => Ok(shard),
            false => Err(CallError::OffShard),
        }
    }

    fn part(self, shard: &Shard) -> Result<Rc<RefCell<T>>, CallError> {
        let parts = shard.mesh().parts.borrow();
        let part = parts.get(self.whole as usize).and_then(|here| here.part.clone());
        // Calls wait until it is there, and it goes when the shard ends.
        let part = part.ok_or(CallError::Stopped)?;
        Ok(part.downcast().expect("all parts of one number have one type"))
    }
}

fn read<T, R>(part: &RefCell<T>, call: impl FnOnce(&T) -> R) -> Result<R, CallError> {
    part.try_borrow().map(|part| call(&part)).map_err(|_| CallError::Nested)
}

fn write<T, R>(part: &RefCell<T>, call: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
    part.try_borrow_mut().map(|mut part| call(&mut part)).map_err(|_| CallError::Nested)
}

/// [`read`], on the spot: a green thread that waited in `call` would keep the part borrowed.
fn read_here<T, R>(part: &RefCell<T>, call: impl FnOnce(&T) -> R) -> Result<R, CallError> {
    read(part, |part| with_footing(Footing::Between, || call(part)))
}

/// [`write`], likewise.
fn write_here<T, R>(part: &RefCell<T>, call: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
    write(part, |part| with_footing(Footing::Between, || call(part)))
}

impl<T> Part<T> {
    /// Runs `call` with the part.
    ///
    /// Errors: [`Nested`](CallError::Nested).
    pub fn with<R>(&self, call: impl FnOnce(&T) -> R) -> Result<R, CallError> {
        read_here(&self.0, call)
    }

    /// Runs `call` with the part, which it may change.
    ///
    /// Errors: [`Nested`](CallError::Nested).
    pub fn with_mut<R>(&self, call: impl FnOnce(&mut T) -> R) -> Result<R, CallError> {
        write_here(&self.0, call)
    }
}

impl Mesh {
    /// Ready once every shard has its part of a whole.
    ///
    /// Errors: some shard has ended without making one.
    pub(super) fn poll_whole(
        &self,
        number: usize,
        changed: &mut Option<Acquire>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        if self.is_closed.get() {
            return Poll::Ready(Err(CallError::Stopped));
        }
        match self.with_part(number, |here| (here.standing, here.changed.clone())) {
            (Standing::Complete, _) => Poll::Ready(Ok(())),
            (Standing::Broken, _) => Poll::Ready(Err(CallError::Stopped)),
            (Standing::Awaited, change) => self.poll_change(number, change, changed, cx),
        }
    }

    #[cold]
    fn poll_change(
        &self,
        number: usize,
        change: Semaphore,
        changed: &mut Option<Acquire>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        match Pin::new(changed.get_or_insert_with(|| change.acquire(1))).poll(cx) {
            Poll::Pending => Poll::Pending,
            // Nobody gets a permit: it was closed, and tells of a change once.
            Poll::Ready(_) => {
                *changed = None;
                self.poll_whole(number, changed, cx)
            }
        }
    }
}

/// The future of [`PerShard::on_all`].
#[must_use = "calls that are not awaited are not made"]
pub struct OnAll<R>(Each<R>);

/// Makes all calls at the same time, and gives all results in their order.
pub(super) fn each<R>(calls: Vec<Call<R>>) -> Each<R> {
    Each { results: calls.iter().map(|_| None).collect(), calls }
}

/// The future of [`each`].
pub(super) struct Each<R> {
    calls: Vec<Call<R>>,
    results: Vec<Option<Result<R, CallError>>>,
}

impl<R: 'static> Each<R> {
    /// Asks those that have no result. True if all have one, or one has failed.
    fn ask(&mut self, cx: &mut Context<'_>, to_first_error: bool) -> bool {
        let mut is_done = true;
        for (call, result) in self.calls.iter_mut().zip(&mut self.results) {
            if result.is_none() {
                match Pin::new(call).poll(cx) {
                    Poll::Ready(Err(error)) if to_first_error => {
                        *result = Some(Err(error));
                        return true;
                    }
                    Poll::Ready(answer) => *result = Some(answer),
                    Poll::Pending => is_done = false,
                }
            }
        }
        is_done
    }
}

impl<R: 'static> Future for Each<R> {
    type Output = Vec<Result<R, CallError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.ask(cx, false) {
            true => Poll::Ready(self.results.drain(..).flatten().collect()),
            false => Poll::Pending,
        }
    }
}

impl<R: 'static> Future for OnAll<R> {
    type Output = Result<Vec<R>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let OnAll(each) = &mut *self;
        if !each.ask(cx, true) {
            return Poll::Pending;
        }
        // Of those without a result one other has failed; they are given up.
        each.calls.clear();
        let mut results: Vec<_> = each.results.drain(..).flatten().collect();
        match results.iter().position(Result::is_err) {
            Some(failed) => Poll::Ready(results.swap_remove(failed).map(|_| Vec::new())),
            None => Poll::Ready(results.into_iter().collect()),
        }
    }
}

impl<R> Unpin for Each<R> {}

impl<R> Unpin for OnAll<R> {}

impl<T> Clone for PerShard<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for PerShard<T> {}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Self {
        Part(Rc::clone(&self.0))
    }
}

impl<T> fmt::Debug for PerShard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerShard<{}>({})", std::any::type_name::<T>(), self.whole)
    }
}

impl<T> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part<{}>", std::any::type_name::<T>())
    }
}

impl<R> fmt::Debug for OnAll<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.0.results.iter().filter(|result| result.is_none()).count();
        f.debug_struct("OnAll").field("left", &left).finish_non_exhaustive()
    }
}
