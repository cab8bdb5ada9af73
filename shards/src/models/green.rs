//! Green threads: closures that run on stacks of their own, on a shard, and wait there.
//!
//! The one idea: a green thread is a future whose poll runs the closure on until it waits. [`.wait()`](super::Wait::wait)
//! pins its future on the green stack, polls it with the waker of the task that the green thread is polled by, and stops in
//! the middle as long as the future is pending. So to the executor green threads are tasks like any other: budgets, joins,
//! aborts, the simulator's order, all are theirs.
//!
//! What a wait asks (the waker, the scope, whether all is over) lies in a [`Berth`], which the one that runs is found by
//! through its shard; whoever resumes a green thread puts it there and takes it away, so the stopped side does neither.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread::panicking;

use platform::stack::{self, Coroutine, StackSize, StackStats, Stacks};

use super::Footing;
use crate::scope::{CancelWait, Cancelled, Cause, Pass, ScopeHandle, across};
use crate::task::{self, bury};
use crate::{JoinHandle, Shard, SpawnError};

/// A green thread, as a future: for a task that exists already, such as a request's. Dropping it before its end unwinds it.
///
/// ```
/// use shardwise_shards::{Green, Simulation, Wait};
/// use std::time::Duration;
///
/// Simulation::new(1).run(async |shard| {
///     let sleeper = shard.clone();
///     let green = Green::new(shard.scope(), move || {
///         sleeper.sleep(Duration::from_secs(1)).wait()?;
///         Ok::<_, shardwise_shards::Cancelled>("slept")
///     });
///     assert_eq!(green.unwrap().await, Ok("slept"));
/// });
/// ```
///
/// It stays on its shard, and so may what it holds:
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// fn check(shard: &shardwise_shards::Shard) {
///     sent_to_a_thread(shardwise_shards::Green::new(shard.scope(), || 1).unwrap());
/// }
/// ```
///
/// What it borrows must outlive it, and it may be forgotten:
///
/// ```compile_fail,E0597
/// fn check(shard: &shardwise_shards::Shard) {
///     let local = 1;
///     let borrowed = &local;
///     let _ = shardwise_shards::Green::new(shard.scope(), move || *borrowed);
/// }
/// ```
#[must_use = "a green thread that is not awaited does not run"]
pub struct Green<R: 'static> {
    coroutine: Coroutine<R>,
    berth: Rc<Berth>,
    scope: ScopeHandle,
    shard: Shard,
    /// Held until it has ended, and all that lived on its stack is gone.
    pass: Option<Pass>,
}

/// What the green threads of a shard have in common.
pub(crate) struct Greens {
    stacks: Stacks,
    /// The berth of the one that runs; of the innermost, if one polls another.
    running: Cell<Option<Rc<Berth>>>,
    /// Berths in no use; never more than there are stacks.
    spare: RefCell<Vec<Rc<Berth>>>,
}

/// What the waits of one green thread ask.
struct Berth {
    /// Of the task that polls it.
    waker: RefCell<Waker>,
    /// Waits for the cancellation of its scope, from the first wait to the end, since a place in a queue for each wait would cost
    /// as much as the wait. `None` while it is spare.
    cancel: RefCell<Option<CancelWait>>,
    /// It waits under another waker than this one, or not yet.
    is_waker_new: Cell<bool>,
    /// How many [`shielded`] calls are under way.
    shields: Cell<u32>,
    /// It is being unwound, for this cause.
    unwound_for: Cell<Option<Cause>>,
    /// Whether any of its code has run.
    has_begun: Cell<bool>,
    /// Whether its thread unwound already when it was last resumed: so it is somebody else's panic.
    was_panicking: Cell<bool>,
}

impl Shard {
    /// Starts a green thread on this shard: `body` runs on a stack of its own, may [`wait`](super::Wait::wait), and need not be
    /// `Send`. It lies in the shard's own scope. Dropping the handle detaches it.
    ///
    /// Errors: the shard has as many green threads, or tasks, as it admits, or is ending.
    ///
    /// ```
    /// use shardwise_shards::{Simulation, Wait, sync::oneshot};
    ///
    /// Simulation::new(1).run(async |shard| {
    ///     let (sender, receiver) = oneshot::channel(&shard);
    ///     let doubled = shard.green(move || receiver.wait().unwrap().map(|number: u32| 2 * number)).unwrap();
    ///     sender.send(21).unwrap();
    ///     assert_eq!(doubled.await.unwrap().ok(), Some(42));
    /// });
    /// ```
    pub fn green<R: 'static>(&self, body: impl FnOnce() -> R + 'static) -> Result<JoinHandle<R>, SpawnError> {
        self.spawn(Green::new(self.scope(), body)?)
    }

    /// The stacks of its green threads.
    pub fn green_stats(&self) -> StackStats {
        self.greens().stacks.stats()
    }
}

impl ScopeHandle {
    /// Starts a green thread in this scope, which its gate waits for. When the scope is cancelled, its waits are errors; it is
    /// not ended by force.
    ///
    /// Errors: as of [`Shard::green`].
    pub fn green<R: 'static>(&self, body: impl FnOnce() -> R + 'static) -> Result<JoinHandle<R>, SpawnError> {
        let mut green = Green::new(self, body)?;
        green.pass = Some(self.pass());
        green.shard.clone().spawn(green)
    }
}

impl<R: 'static> Green<R> {
    /// Puts `body` on a stack, to run in `scope` when this is awaited.
    ///
    /// Errors: the scope's shard has as many green threads as it admits, or has ended.
    pub fn new(scope: &ScopeHandle, body: impl FnOnce() -> R + 'static) -> Result<Green<R>, SpawnError> {
        let shard = scope.shard().ok_or(SpawnError::Closed)?;
        let stack = match shard.greens().stacks.take() {
            Ok(stack) => stack,
            Err(error) => {
                shard.stats().green_refused.add(1);
                return Err(SpawnError::NoStack(error));
            }
        };
        let berth = shard.greens().berth(scope.clone());
        shard.stats().green_threads.add(1);
        Ok(Green { coroutine: Coroutine::new(stack, body), berth, scope: scope.clone(), shard, pass: None })
    }

    /// Runs `f`, in which its code runs on, with everything in its place.
    #[inline]
    fn resume<T>(&mut self, f: impl FnOnce(&mut Coroutine<R>) -> T) -> T {
        /// Puts back whoever ran before, also when the code panics.
        struct Outer<'a>(&'a Greens, Option<Rc<Berth>>);

        impl Drop for Outer<'_> {
            fn drop(&mut self) {
                self.0.running.set(self.1.take());
            }
        }

        let Green { coroutine, berth, scope, shard, .. } = self;
        berth.was_panicking.set(panicking());
        shard.entered(|| {
            let running = &shard.greens().running;
            let _outer = Outer(shard.greens(), running.replace(Some(Rc::clone(berth))));
            scope.enter(|| task::with_footing(Footing::Green, || f(coroutine)))
        })
    }
}

impl<R: 'static> Future for Green<R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        self.berth.take_waker(cx.waker());
        self.berth.has_begun.set(true);
        match self.resume(Coroutine::resume) {
            Some(value) => Poll::Ready(value),
            None => Poll::Pending,
        }
    }
}

/// Nothing is pinned by its place: what is lies on the stack.
impl<R> Unpin for Green<R> {}

impl<R: 'static> Drop for Green<R> {
    fn drop(&mut self) {
        let unwound = match self.coroutine.has_ended() {
            true => Ok(()),
            false => {
                let shard_ends = self.shard.scope().is_cancelled();
                let cause = if shard_ends { Cause::ShardEnded } else { Cause::Dropped };
                self.berth.unwound_for.set(Some(cause));
                self.resume(Coroutine::unwind)
            }
        };
        self.shard.stats().green_threads.subtract(1);
        self.shard.greens().put_back(&self.berth);
        if let Err(payload) = unwound {
            match panicking() {
                // A second panic would end the process.
                true => bury(payload),
                false => resume_unwind(payload),
            }
        }
    }
}

impl Greens {
    pub(crate) fn new(size: StackSize) -> Self {
        Greens { stacks: Stacks::new(size), running: Cell::new(None), spare: RefCell::default() }
    }

    fn berth(&self, scope: ScopeHandle) -> Rc<Berth> {
        let berth = self.spare.borrow_mut().pop().unwrap_or_else(|| {
            Rc::new(Berth {
                waker: RefCell::new(Waker::noop().clone()),
                cancel: RefCell::default(),
                is_waker_new: Cell::new(true),
                shields: Cell::new(0),
                unwound_for: Cell::new(None),
                has_begun: Cell::new(false),
                was_panicking: Cell::new(false),
            })
        });
        *berth.cancel.borrow_mut() = Some(CancelWait::new(scope));
        berth
    }

    fn put_back(&self, berth: &Rc<Berth>) {
        let cancel = berth.cancel.take();
        let waker = berth.waker.replace(Waker::noop().clone());
        berth.is_waker_new.set(true);
        berth.shields.set(0);
        berth.has_begun.set(false);
        berth.unwound_for.set(None);
        self.spare.borrow_mut().push(Rc::clone(berth));
        // Outside of all borrows: a stranger's waker is anyone's code.
        drop((cancel, waker));
    }

    /// The berth of the green thread that asks.
    fn own(&self) -> Rc<Berth> {
        let own = self.running.take().expect("code that stands in a green thread has a berth");
        self.running.set(Some(Rc::clone(&own)));
        own
    }
}

/// The shard of the green thread that asks.
fn own_shard() -> Shard {
    Shard::current().expect("a green thread runs on its shard")
}

/// Waits in a green thread.
pub(super) fn wait<F: Future>(work: F) -> Result<F::Output, Cancelled> {
    let shard = own_shard();
    let berth = shard.greens().own();
    berth.check_unwinding()?;
    let mut work = pin!(work);
    loop {
        let polled = task::with_footing(Footing::Task, || berth.poll(work.as_mut()));
        if let Poll::Ready(result) = polled {
            return result;
        }
        across(&shard, stack::suspend);
    }
}

/// [`shielded`] in a green thread.
pub(super) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    struct Shield(Rc<Berth>);

    impl Drop for Shield {
        fn drop(&mut self) {
            self.0.shields.set(self.0.shields.get() - 1);
        }
    }

    let berth = own_shard().greens().own();
    berth.shields.set(berth.shields.get() + 1);
    let _shield = Shield(berth);
    f()
}

impl Berth {
    /// Mostly it is the same.
    #[inline]
    fn take_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.will_wake(waker) {
            known.clone_from(waker);
            self.is_waker_new.set(true);
        }
    }

    /// Polls `work`, unless its scope is cancelled.
    fn poll<F: Future>(&self, work: Pin<&mut F>) -> Poll<Result<F::Output, Cancelled>> {
        let waker = self.waker.borrow();
        let mut cx = Context::from_waker(&waker);
        if self.shields.get() > 0 {
            return work.poll(&mut cx).map(Ok);
        }
        if let Some(cause) = self.with_cancel(|cancel| cancel.cause(&mut cx)) {
            return Poll::Ready(Err(Cancelled { cause }));
        }
        let polled = work.poll(&mut cx);
        if polled.is_pending() {
            let is_new = self.is_waker_new.take();
            self.with_cancel(|cancel| {
                if is_new || !cancel.is_waiting() {
                    cancel.wait(&mut cx);
                }
            });
        }
        polled.map(Ok)
    }

    fn with_cancel<R>(&self, f: impl FnOnce(&mut CancelWait) -> R) -> R {
        f(self.cancel.borrow_mut().as_mut().expect("a berth in use has a scope"))
    }

    /// A destructor of a stack that is unwound does not wait: whoever drops the green thread would wait with it, and after a
    /// panic the whole shard would be taken for panicking meanwhile. It is told so at once. So is the destructor of something
    /// that a green thread has captured which never ran. Code that has caught the unwinding of a teardown is unwound on.
    fn check_unwinding(&self) -> Result<(), Cancelled> {
        let is_own = panicking() && !self.was_panicking.get();
        match self.unwound_for.get() {
            Some(_) if self.has_begun.get() && !panicking() => {
                stack::suspend();
                unreachable!("who unwinds a green thread does not resume it");
            }
            Some(cause) => Err(Cancelled { cause }),
            None if is_own => Err(Cancelled { cause: Cause::Asked("the green thread panics") }),
            None => Ok(()),
        }
    }
}

impl<R> fmt::Debug for Green<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Green").field("coroutine", &self.coroutine).finish_non_exhaustive()
    }
}

impl fmt::Debug for Greens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stacks.fmt(f)
    }
}
