//! Waiting on a thread that runs no shard: a private one, which is driven as long as a wait lasts.
//!
//! The one idea: a thread that waits is the thread loop of a shard of its own, number 0 of 1, made at first use and kept until
//! the thread ends. So timers, sockets and channels are what they are everywhere. Between two waits nobody drives it, and what was
//! spawned there stands still; what is begun or given up (a socket is closed, say) is submitted on the spot then.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use platform::{BackendKind, Choice, Config, PoolSize, Selection};

use super::Footing;
use super::offload::Offloader;
use super::stand_in::Post;
use crate::limits::{PRIVATE_BULK_BUFFERS, PRIVATE_HEAD_BUFFERS, PRIVATE_POOL_BYTES_MAX};
use crate::runtime::start::Start;
use crate::runtime::{choice_from_environment, features_from_environment, stand};
use crate::scope::{Cancelled, Cause};
use crate::shard::{Running, Seed};
use crate::{JoinHandle, Shard, task};

/// Ends what a thread of a pool was given to do: its waits are errors from then on, the present one at once. Whoever
/// gave it the work holds the one end, the pool's thread the other.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<Mutex<Flag>>);

#[derive(Debug, Default)]
struct Flag {
    cause: Option<Cause>,
    /// Who waits at this moment.
    waiting: Option<Waker>,
}

impl CancelFlag {
    /// Nothing is cancelled yet.
    pub fn new() -> Self {
        CancelFlag::default()
    }

    /// Cancels the work, from any thread. The first cause stays.
    pub fn set(&self, cause: Cause) {
        let waiting = {
            let mut flag = self.lock();
            flag.cause.get_or_insert(cause);
            flag.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// An error if the work has been cancelled.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.lock().cause.map_or(Ok(()), |cause| Err(Cancelled { cause }))
    }

    /// [`check`](CancelFlag::check); if it is not cancelled, `waker` is woken when it is.
    fn check_or_wake(&self, waker: &Waker) -> Result<(), Cancelled> {
        let mut flag = self.lock();
        match flag.cause {
            Some(cause) => Err(Cancelled { cause }),
            None => {
                flag.waiting = Some(waker.clone());
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Flag> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` as a pool's thread does: its [model](super::model) is [`Offload`](super::Model::Offload), and its waits are
/// errors once `cancel` is set.
///
/// ```
/// use shardwise_shards::models::{CancelFlag, on_pool_thread};
/// use shardwise_shards::{Cause, Model, Shard, Wait, model};
/// use std::time::Duration;
///
/// let cancel = CancelFlag::new();
/// let outcome = on_pool_thread(&cancel, || {
///     assert_eq!(model(), Model::Offload);
///     let nap = Shard::here().sleep(Duration::from_secs(3600));
///     cancel.set(Cause::Asked("nobody waits for it"));
///     nap.wait()
/// });
/// assert_eq!(outcome.unwrap_err().to_string(), "cancelled: nobody waits for it");
/// ```
pub fn on_pool_thread<R>(cancel: &CancelFlag, work: impl FnOnce() -> R) -> R {
    task::with_footing(Footing::Pool, || with_flag(Some(cancel.clone()), work))
}

/// [`shielded`](super::shielded) on a thread of the pool.
pub(super) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    with_flag(None, f)
}

/// Runs `f` with a flag that cancels this thread's waits, or without.
fn with_flag<R>(flag: Option<CancelFlag>, f: impl FnOnce() -> R) -> R {
    /// What was there before comes back, also when `f` panics.
    struct Guard(Option<CancelFlag>);

    impl Drop for Guard {
        fn drop(&mut self) {
            task::with_private(|private| private.replace_cancel(self.0.take()));
        }
    }

    let before = task::with_private(|private| private.replace_cancel(flag));
    let _guard = Guard(before.flatten());
    f()
}

/// Waits on a plain thread.
#[track_caller]
pub(super) fn wait<F: Future>(work: F) -> Result<F::Output, Cancelled> {
    check_post()?;
    Ok(on_own(|own| own.drive(work)))
}

/// Waits on a thread of the pool, until the work is cancelled.
#[track_caller]
pub(super) fn wait_in_pool<F: Future>(work: F) -> Result<F::Output, Cancelled> {
    let Some(cancel) = cancel_flag() else { return wait(work) };
    check_post()?;
    cancel.check()?;
    let mut work = pin!(work);
    on_own(|own| {
        own.drive(poll_fn(|cx| {
            // The work first: what has come in time counts. The flag after it, each time, so that it is never missed.
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            match cancel.check_or_wake(cx.waker()) {
                Ok(()) => Poll::Pending,
                Err(cancelled) => Poll::Ready(Err(cancelled)),
            }
        }))
    })
}

/// Whether the work that this thread of a pool is doing has been cancelled. False elsewhere.
pub(super) fn is_cancelled() -> bool {
    cancel_flag().is_some_and(|cancel| cancel.check().is_err())
}

fn cancel_flag() -> Option<CancelFlag> {
    task::with_private(|private| private.0.borrow().cancel.clone()).flatten()
}

/// Whether the work that asks is that of a [stand-in](super::stand_in) that is being unwound.
pub(super) fn is_unwound() -> bool {
    post().is_some_and(|post| post.is_unwound())
}

/// An error if whoever asks may not wait, being a [stand-in](super::stand_in).
#[track_caller]
fn check_post() -> Result<(), Cancelled> {
    post().map_or(Ok(()), |post| post.check())
}

fn post() -> Option<Rc<Post>> {
    task::with_private(|private| private.0.borrow().post.clone()).flatten()
}

/// What a thread keeps for its waits, or the stand-in that runs on it at this moment.
#[derive(Debug)]
pub(crate) struct Private(RefCell<Kept>);

#[derive(Debug)]
pub(super) struct Kept {
    own: Option<Rc<Own>>,
    /// What ends the work that this thread of a pool is doing.
    cancel: Option<CancelFlag>,
    /// Of a stand-in.
    post: Option<Rc<Post>>,
}

impl Private {
    pub(crate) const fn new() -> Self {
        Private(RefCell::new(Kept { own: None, cancel: None, post: None }))
    }

    /// Has another keep its own here, and keeps for it what was here.
    pub(super) fn exchange(&self, kept: &mut Kept) {
        std::mem::swap(&mut *self.0.borrow_mut(), kept);
    }

    fn replace_cancel(&self, flag: Option<CancelFlag>) -> Option<CancelFlag> {
        std::mem::replace(&mut self.0.borrow_mut().cancel, flag)
    }

    /// The private shard, which is made if it is not there.
    fn own(&self) -> Result<Rc<Own>, String> {
        let (known, post) = {
            let kept = self.0.borrow();
            (kept.own.clone(), kept.post.clone())
        };
        known.map_or_else(
            || {
                let own = Rc::new(Own::new(post)?);
                self.0.borrow_mut().own = Some(Rc::clone(&own));
                Ok(own)
            },
            Ok,
        )
    }
}

impl Kept {
    /// For a stand-in that begins.
    pub(super) fn on_post(post: &Rc<Post>) -> Self {
        Kept { own: None, cancel: None, post: Some(Rc::clone(post)) }
    }

    /// Whether the private shard has something to do, or whoever drives it.
    pub(super) fn is_ready(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.is_woken.get() || own.shard.is_ready())
    }

    pub(super) fn shard(&self) -> Option<&Shard> {
        self.own.as_ref().map(|own| &own.shard)
    }
}

/// A thread's own shard.
#[derive(Debug)]
struct Own {
    shard: Shard,
    running: RefCell<Running>,
    /// A task that only notes that it was woken: whoever drives the shard waits under its number.
    pilot: JoinHandle<()>,
    is_woken: Rc<Cell<bool>>,
    /// Of a stand-in, which stops where a thread would park.
    post: Option<Rc<Post>>,
}

impl Shard {
    /// The shard of this thread: the one that it runs at this moment, else the thread's private shard, which
    /// [`.wait()`](super::Wait::wait) drives. That is made at first use, on the backend that a runtime would choose
    /// (`SHARDWISE_BACKEND` decides if it is set), with small pools; where the chosen backend cannot be had by one more shard
    /// (a limit on locked memory, say), on the one that takes its place. In an offloaded job of a
    /// [simulation](crate::Simulation) it is a shard of the simulated machine, and ends with the job.
    ///
    /// # Panics
    ///
    /// If the private shard cannot be made; the text says why and what to do. If the thread is ending.
    #[track_caller]
    pub fn here() -> Shard {
        Shard::current().unwrap_or_else(|| on_own(|own| own.shard.clone()))
    }
}

/// Calls `f` with this thread's shard, which is made if it is not there.
#[track_caller]
fn on_own<R>(f: impl FnOnce(&Own) -> R) -> R {
    match task::with_private(Private::own) {
        Some(Ok(own)) => f(&own),
        Some(Err(reason)) => panic!("this thread cannot wait, since it cannot have a shard of its own: {reason}"),
        None => panic!("`.wait()` on a thread that is ending: wait before its last destructors"),
    }
}

impl Own {
    fn new(post: Option<Rc<Post>>) -> Result<Own, String> {
        let pool = PoolSize {
            head_buffers: PRIVATE_HEAD_BUFFERS,
            bulk_buffers: PRIVATE_BULK_BUFFERS,
            bytes: PRIVATE_POOL_BYTES_MAX,
        };
        let config = Config { pool, ..Config::default() };
        let running = match &post {
            Some(post) => post.stand(seed("a simulation", &config), &config)?,
            None => {
                let config = Config { features: features_from_environment()?, ..config };
                start(choice_from_environment()?, &config)?
            }
        };
        let shard = running.shard().clone();
        let is_woken = Rc::new(Cell::new(false));
        let noted = Rc::clone(&is_woken);
        let pilot = shard.spawn(poll_fn(move |_| {
            noted.set(true);
            Poll::Pending
        }));
        let pilot = pilot.map_err(|error| error.to_string())?;
        shard.leave(true);
        Ok(Own { shard, running: RefCell::new(running), pilot, is_woken, post })
    }

    /// Runs `work` to its end, and the shard's tasks meanwhile.
    #[track_caller]
    fn drive<F: Future>(&self, work: F) -> F::Output {
        /// Nobody drives the shard when this is dropped.
        struct Driving<'a>(&'a Shard);

        impl Drop for Driving<'_> {
            fn drop(&mut self) {
                self.0.leave(true);
            }
        }

        // The work first, so that it is dropped last, when what it gives up is submitted at once.
        let mut work = pin!(work);
        let Ok(mut running) = self.running.try_borrow_mut() else {
            // Only what the thread's shard runs could come here, and that stands in a task or between tasks.
            unreachable!("a private shard is driven by one wait at a time");
        };
        self.shard.leave(false);
        let _driving = Driving(&self.shard);
        self.is_woken.set(true);
        loop {
            if self.may_poll()
                && self.is_woken.take()
                && let Poll::Ready(output) = running.poll_for(self.pilot.number(), |cx| work.as_mut().poll(cx))
            {
                return output;
            }
            let next = running.turn();
            match &self.post {
                Some(post) => {
                    running.park(next);
                    post.stop();
                }
                None if self.is_woken.get() => {}
                None => running.park(next),
            }
        }
    }

    fn may_poll(&self) -> bool {
        self.post.as_ref().is_none_or(|post| post.may_poll())
    }
}

/// Starts a shard on the backend that a runtime would choose, or, if that lacks what one more shard needs, on the one that
/// takes its place.
fn start(choice: Choice, config: &Config) -> Result<Running, String> {
    let selection = platform::select(choice, config).map_err(|error| error.to_string())?;
    let started = open(&selection, config);
    match (choice, selection.kind) {
        (Choice::Auto, BackendKind::Uring) => started.or_else(|why| {
            let instead = Selection { kind: BackendKind::Epoll, why };
            open(&instead, config)
        }),
        _ => started,
    }
}

fn open(selection: &Selection, config: &Config) -> Result<Running, String> {
    stand(seed(&selection.why, config), selection.kind, config)
}

/// What a private shard is made from, but for its reactor.
fn seed(why: &str, config: &Config) -> Seed {
    Seed {
        number: 0,
        count: 1,
        why: Arc::from(why),
        start: Start::new(1),
        stats: Arc::default(),
        spin_time_max: Duration::ZERO,
        offloader: Offloader::closed(),
        stacks: config.stacks,
    }
}

#[cfg(test)]
mod tests;
