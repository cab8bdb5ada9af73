//! Offload: a bounded pool of threads, one for a runtime, for code that really blocks or burns CPU.
//!
//! The one idea: a job is one piece of memory that two hold, the future on the shard and the pool. Whoever moves it on (begins,
//! ends, cancels it, or gives it up) does so under the job's own lock, and nobody's code runs under a lock: what was taken
//! out runs, or is dropped, afterwards. The result comes home by a wake from outside, which outlives the shard.
//!
//! Each shard has a queue of its own in the pool, and threads serve the queues in turn, so a shard that floods its own keeps
//! nobody else waiting. Threads start when jobs wait that no idle thread is there for; the coordinator starts them, so that
//! they may run on all CPUs of the process, whatever the shards are pinned to.
//!
//! On a simulated machine there are no threads: `seats` take their place, each job takes a time that the seed decides, and
//! runs at the end of it, on a stack of its own where it may wait.
//!
//! ```
//! use shardwise_shards::Simulation;
//!
//! Simulation::new(1).run(async |shard| {
//!     let sum = shard.offload(|| (1..=100_u64).sum::<u64>()).await;
//!     assert_eq!(sum.unwrap(), 5050);
//! });
//! ```

mod seats;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::thread::{self, CancelFlag, on_pool_thread};
use crate::limits::{OFFLOAD_IDLE_TIME_MAX, OFFLOAD_QUEUE_MAX, OFFLOAD_THREADS_MAX, OFFLOAD_THREADS_PER_CPU};
use crate::scope::Cause;
use crate::shard::panic_text;
use crate::stats::ShardStats;
use crate::{Shard, budget, task};
use seats::Seats;
pub(crate) use seats::SimulatedPool;

/// A job on its way: the future of [`Shard::offload`], ready with what the job returns.
///
/// Dropping it cancels the job. One that has not begun is taken out of the queue, never runs, and is dropped here. One that
/// runs cannot be stopped: it sees [`is_cancelled`], and its result is dropped on the pool's thread.
///
/// ```
/// use shardwise_shards::{OffloadError, Simulation};
/// use std::panic::resume_unwind;
///
/// Simulation::new(1).run(async |shard| {
///     match shard.offload(|| -> u32 { panic!("no digits") }).await {
///         Ok(number) => println!("{number}"),
///         Err(OffloadError::Panicked(payload)) if payload.is::<u8>() => resume_unwind(payload),
///         Err(error) => assert_eq!(error.to_string(), "the job panicked: no digits"),
///     }
/// });
/// ```
#[must_use = "a job that nobody waits for is cancelled"]
pub struct Offload<R>(State<R>);

enum State<R> {
    Refused(OffloadError),
    Given(Given<R>),
    /// The result was taken.
    Ended,
}

/// A job in the hands of the pool.
struct Given<R> {
    job: Arc<dyn Answering<R>>,
    ticket: Ticket,
    pool: Arc<Pool>,
}

/// Why a job has no result.
pub enum OffloadError {
    /// As many jobs of this shard wait as may, or the system grants the pool not one thread: an overload, told at once.
    Full,
    /// It was cancelled by [`Offload::cancel`] before it had begun.
    Cancelled,
    /// It panicked, with this payload: [`resume_unwind`] goes on with it here.
    Panicked(Box<dyn Any + Send>),
    /// The shard or its runtime ends, or the shard is of no runtime.
    Stopped,
}

/// Whether whoever waited for the job that calls this has gone or has cancelled it: for jobs that take long, to ask now and
/// then. False outside of a job. Waits by [`.wait()`](super::Wait::wait) end with an error then, by themselves.
pub fn is_cancelled() -> bool {
    thread::is_cancelled()
}

impl Shard {
    /// Runs `job` on a thread of the runtime's pool, and gives what it returns. It is queued at once. For code that really
    /// blocks (a library that reads files, a database without an async driver) or computes for more than a fraction of a
    /// millisecond. An allocation here and one there, and two changes of thread: some tens of microseconds, so not for less.
    ///
    /// Jobs of one shard are taken up in the order given, by several threads, so no order is promised. No job outlives the
    /// drain: the runtime ends when all have, or when the drain limit passes; threads that still run then are left behind,
    /// since a thread cannot be ended from outside.
    ///
    /// Errors: see [`OffloadError`].
    pub fn offload<R, F>(&self, job: F) -> Offload<R>
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        if self.scope().is_cancelled() {
            return Offload(State::Refused(OffloadError::Stopped));
        }
        let Offloader { pool, want_thread } = self.offloader();
        let when = pool.is_simulated.then(|| (self.clock(), self.random()));
        let (offload, needs_thread) = pool.give(self.number(), self.stats(), when, job);
        if needs_thread && !want_thread() {
            pool.lost_thread();
        }
        offload
    }
}

impl<R> Offload<R> {
    /// Cancels the job, and leaves it to the future to say what came of it: `Cancelled` if it had not begun; else it sees
    /// [`is_cancelled`], and its result comes as always.
    pub fn cancel(&self) {
        if let State::Given(Given { job, ticket, pool }) = &self.0 {
            job.cancel(pool, *ticket);
        }
    }
}

impl<R> Future for Offload<R> {
    type Output = Result<R, OffloadError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::poll_proceed(cx));
        let result = match &self.0 {
            State::Given(given) => ready!(given.job.poll_result(cx.waker())),
            State::Refused(_) => match std::mem::replace(&mut self.0, State::Ended) {
                State::Refused(error) => Err(error),
                _ => unreachable!("it was refused a line ago"),
            },
            State::Ended => panic!("a job's future is not polled again after it has ended"),
        };
        self.0 = State::Ended;
        Poll::Ready(result)
    }
}

// Nothing in it is pinned: the job lies elsewhere.
impl<R> Unpin for Offload<R> {}

impl<R> Drop for Given<R> {
    fn drop(&mut self) {
        self.job.abandon(&self.pool, self.ticket);
    }
}

// ---- a job -------------------------------------------------------------------------------------------------------------

/// A job as the pool sees it.
trait Job: Send + Sync {
    fn about(&self) -> &About;

    /// It has begun, and runs later: from here on it is too late to take it back.
    fn begin(&self);

    /// Runs it, unless it was cancelled meanwhile. Called once, by whoever took it out of the queue.
    fn run(&self, pool: &Pool);

    /// Ends a job that has not begun.
    fn refuse(&self, error: OffloadError);
}

/// A job as its future sees it.
trait Answering<R>: Send + Sync {
    fn poll_result(&self, waker: &Waker) -> Poll<Result<R, OffloadError>>;
    fn cancel(&self, pool: &Pool, ticket: Ticket);
    fn abandon(&self, pool: &Pool, ticket: Ticket);
}

/// What a job is, whatever it does.
struct About {
    /// Whose it is.
    shard: usize,
    /// That shard's, of which the pool writes its own under its lock.
    stats: Arc<ShardStats>,
}

/// A job: all of it, in one allocation.
struct Work<F, R> {
    about: About,
    inside: Mutex<Inside<F, R>>,
}

struct Inside<F, R> {
    stage: Stage<F, R>,
    waker: Option<Waker>,
    /// Nobody waits for it any more, and it had begun.
    is_abandoned: bool,
    /// Why it was cancelled, if that was after it had begun.
    cancelled: Option<Cause>,
    /// What tells it, while it runs.
    flag: Option<CancelFlag>,
}

impl<F, R> Inside<F, R> {
    fn new(work: F) -> Self {
        Inside { stage: Stage::Waiting(work), waker: None, is_abandoned: false, cancelled: None, flag: None }
    }

    /// Cancels what has begun. Gives what is to be told of it, outside of the lock.
    fn cancel(&mut self, cause: Cause) -> Option<CancelFlag> {
        self.cancelled.get_or_insert(cause);
        self.flag.clone()
    }
}

enum Stage<F, R> {
    Waiting(F),
    /// On a simulated machine, where a job runs when its time is over.
    Begun(F),
    Running,
    Ended(Result<R, OffloadError>),
    /// Taken by the future, or given up by it.
    Gone,
}

impl<F, R> Work<F, R> {
    fn lock(&self) -> MutexGuard<'_, Inside<F, R>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what has not begun, and leaves `instead`.
    fn take_waiting(&self, instead: Stage<F, R>) -> Option<(F, Option<Waker>)> {
        let mut inside = self.lock();
        match std::mem::replace(&mut inside.stage, Stage::Gone) {
            Stage::Waiting(work) => {
                inside.stage = instead;
                Some((work, inside.waker.take()))
            }
            stage => {
                inside.stage = stage;
                None
            }
        }
    }

    /// Gives the result to whoever waits for it. Nobody may: then it comes back.
    fn publish(&self, result: Result<R, OffloadError>) -> Option<Result<R, OffloadError>> {
        let waker = {
            let mut inside = self.lock();
            if inside.is_abandoned {
                inside.stage = Stage::Gone;
                return Some(result);
            }
            inside.stage = Stage::Ended(result);
            inside.waker.take()
        };
        wake(waker);
        None
    }
}

impl<R, F> Job for Work<F, R>
where
    R: Send,
    F: FnOnce() -> R + Send,
{
    fn about(&self) -> &About {
        &self.about
    }

    fn begin(&self) {
        let mut inside = self.lock();
        inside.stage = match std::mem::replace(&mut inside.stage, Stage::Gone) {
            Stage::Waiting(work) => Stage::Begun(work),
            stage => stage,
        };
    }

    fn run(&self, pool: &Pool) {
        let (work, flag, cancelled) = {
            let mut inside = self.lock();
            match std::mem::replace(&mut inside.stage, Stage::Running) {
                Stage::Waiting(work) | Stage::Begun(work) => {
                    (work, inside.flag.get_or_insert_default().clone(), inside.cancelled)
                }
                stage => {
                    // Cancelled between the queue and here.
                    inside.stage = stage;
                    drop(inside);
                    return pool.ended(&self.about, Ending::Cancelled);
                }
            }
        };
        // What it shares with others is of its own kind: `Send`, and so behind locks of its own, which note a panic.
        if let Some(cause) = cancelled {
            flag.set(cause);
        }
        let (result, ending, unwinding) = match catch_unwind(AssertUnwindSafe(|| on_pool_thread(&flag, work))) {
            Ok(value) => (Ok(value), Ending::Done, None),
            // The simulation ends in the middle of it: nobody's panic, which goes on to whoever unwinds the job.
            Err(unwinding) if thread::is_unwound() => (Err(OffloadError::Stopped), Ending::Done, Some(unwinding)),
            Err(payload) => (Err(OffloadError::Panicked(payload)), Ending::Panicked, None),
        };
        // Counted before it is told, so that whoever has the result finds it counted.
        pool.ended(&self.about, ending);
        if let Some(unwanted) = self.publish(result) {
            discard(unwanted);
        }
        if let Some(unwinding) = unwinding {
            resume_unwind(unwinding);
        }
    }

    fn refuse(&self, error: OffloadError) {
        if let Some((work, waker)) = self.take_waiting(Stage::Ended(Err(error))) {
            wake(waker);
            contain(|| drop(work));
        }
    }
}

impl<R, F> Answering<R> for Work<F, R>
where
    R: Send,
    F: FnOnce() -> R + Send,
{
    fn poll_result(&self, waker: &Waker) -> Poll<Result<R, OffloadError>> {
        // Before the lock: a stranger's waker is somebody's code.
        let waker = waker.clone();
        let mut inside = self.lock();
        let old = match std::mem::replace(&mut inside.stage, Stage::Gone) {
            Stage::Ended(result) => return Poll::Ready(result),
            Stage::Gone => unreachable!("only the future takes the result, and only once"),
            stage => {
                inside.stage = stage;
                inside.waker.replace(waker)
            }
        };
        drop(inside);
        drop(old);
        Poll::Pending
    }

    fn cancel(&self, pool: &Pool, ticket: Ticket) {
        match self.take_waiting(Stage::Ended(Err(OffloadError::Cancelled))) {
            Some((work, waker)) => {
                pool.withdraw(&self.about, ticket);
                wake(waker);
                drop(work);
            }
            None => {
                let flag = self.lock().cancel(Cause::Asked("the job was cancelled"));
                tell(flag, Cause::Asked("the job was cancelled"));
            }
        }
    }

    fn abandon(&self, pool: &Pool, ticket: Ticket) {
        let (stage, waker, flag) = {
            let mut inside = self.lock();
            let (stage, flag) = match std::mem::replace(&mut inside.stage, Stage::Gone) {
                begun @ (Stage::Begun(_) | Stage::Running) => {
                    inside.stage = begun;
                    inside.is_abandoned = true;
                    (Stage::Gone, inside.cancel(Cause::Dropped))
                }
                stage => (stage, None),
            };
            (stage, inside.waker.take(), flag)
        };
        tell(flag, Cause::Dropped);
        if let Stage::Waiting(_) = &stage {
            pool.withdraw(&self.about, ticket);
        }
        drop((stage, waker));
    }
}

/// Tells a job that runs.
fn tell(flag: Option<CancelFlag>, cause: Cause) {
    if let Some(flag) = flag {
        flag.set(cause);
    }
}

/// Drops a result that nobody waits for, and says so if it is a panic.
fn discard<R>(result: Result<R, OffloadError>) {
    if let Err(OffloadError::Panicked(payload)) = result {
        let panic = panic_text(&*payload);
        tracing::error!(panic, "an offloaded job panicked, and nobody waits for it");
        return task::bury(payload);
    }
    contain(|| drop(result));
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        contain(|| waker.wake());
    }
}

/// Runs code of somebody's that has no one to unwind to: a waker, a value's `drop`.
fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        let panic = panic_text(&*payload);
        tracing::error!(panic, "dropping what an offloaded job left panicked");
        task::bury(payload);
    }
}

// ---- the pool ----------------------------------------------------------------------------------------------------------

/// A shard's side of the pool.
pub(crate) struct Offloader {
    pool: Arc<Pool>,
    /// Asks for one more thread. False if nobody is there to start it.
    want_thread: Box<dyn Fn() -> bool + Send>,
}

impl Offloader {
    pub(crate) fn new(pool: &Arc<Pool>, want_thread: impl Fn() -> bool + Send + 'static) -> Self {
        Offloader { pool: Arc::clone(pool), want_thread: Box::new(want_thread) }
    }

    /// For a shard that is of no runtime: everything is refused.
    pub(crate) fn closed() -> Self {
        let pool = Pool::new(1, Bounds::new(1, None, None));
        pool.close();
        Offloader::new(&pool, || false)
    }

    /// For a shard on a simulated machine, whose driver has the jobs run.
    pub(crate) fn simulated(pool: &Arc<Pool>) -> Self {
        Offloader::new(pool, || false)
    }
}

/// The threads of a runtime, and what waits for them.
pub(crate) struct Pool {
    bounds: Bounds,
    is_simulated: bool,
    inside: Mutex<Waiting>,
    /// A job waits, or the pool is closed.
    has_work: Condvar,
    /// A thread has ended.
    has_ended: Condvar,
}

/// What a pool admits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) threads_max: usize,
    /// Jobs that wait, for each shard.
    pub(crate) queue_max: usize,
    pub(crate) idle_time_max: Duration,
}

impl Bounds {
    /// For so many CPUs, unless something else is asked for.
    pub(crate) fn new(cpus: usize, threads: Option<usize>, queue: Option<usize>) -> Self {
        Bounds {
            threads_max: threads.unwrap_or(cpus * OFFLOAD_THREADS_PER_CPU).clamp(1, OFFLOAD_THREADS_MAX),
            queue_max: queue.unwrap_or(OFFLOAD_QUEUE_MAX).max(1),
            idle_time_max: OFFLOAD_IDLE_TIME_MAX,
        }
    }
}

/// The inside of a pool.
#[derive(Default)]
struct Waiting {
    /// One for each shard.
    queues: Vec<VecDeque<Queued>>,
    /// Whose queue is looked at first.
    first: usize,
    /// In all queues.
    queued: usize,
    tickets: u64,
    /// Those that run, and those that were asked for.
    threads: usize,
    /// Those that wait for a job.
    idle: usize,
    /// Jobs that have begun.
    running: usize,
    is_closed: bool,
    seats: Seats,
}

struct Queued {
    ticket: u64,
    /// What a simulation decides by.
    chance: u64,
    job: Arc<dyn Job>,
}

/// A job's place in its shard's queue.
#[derive(Clone, Copy)]
struct Ticket(u64);

/// How a job has ended that was taken out of the queue.
enum Ending {
    Done,
    Panicked,
    Cancelled,
}

impl Pool {
    pub(crate) fn new(shards: usize, bounds: Bounds) -> Arc<Self> {
        Arc::new(Pool::with(shards, bounds, false))
    }

    /// A pool without threads, for a [`SimulatedPool`].
    fn simulated(shards: usize, bounds: Bounds) -> Arc<Self> {
        Arc::new(Pool::with(shards, bounds, true))
    }

    fn with(shards: usize, bounds: Bounds, is_simulated: bool) -> Self {
        let queues = (0..shards).map(|_| VecDeque::new()).collect();
        Pool {
            bounds,
            is_simulated,
            inside: Mutex::new(Waiting { queues, ..Waiting::default() }),
            has_work: Condvar::new(),
            has_ended: Condvar::new(),
        }
    }

    /// Makes a job of a shard's, and queues it. True if it wants a further thread.
    fn give<R, F>(
        self: &Arc<Self>,
        shard: usize,
        stats: &Arc<ShardStats>,
        when: Option<(Instant, u64)>,
        job: F,
    ) -> (Offload<R>, bool)
    where
        R: Send + 'static,
        F: FnOnce() -> R + Send + 'static,
    {
        let about = About { shard, stats: Arc::clone(stats) };
        let job = Arc::new(Work { about, inside: Mutex::new(Inside::new(job)) });
        match self.submit(Arc::clone(&job) as Arc<dyn Job>, when) {
            Ok((ticket, needs_thread)) => {
                (Offload(State::Given(Given { job, ticket, pool: Arc::clone(self) })), needs_thread)
            }
            Err(error) => (Offload(State::Refused(error)), false),
        }
    }

    /// Queues a job; on a simulated machine at this time, and with this to decide by. True if it wants a further thread.
    fn submit(&self, job: Arc<dyn Job>, when: Option<(Instant, u64)>) -> Result<(Ticket, bool), OffloadError> {
        let mut inside = self.lock();
        let stats = &job.about().stats;
        if inside.is_closed {
            stats.offload_refused.add(1);
            return Err(OffloadError::Stopped);
        }
        let shard = job.about().shard;
        if inside.queues[shard].len() >= self.bounds.queue_max {
            stats.offload_refused.add(1);
            return Err(OffloadError::Full);
        }
        stats.offload_queued.add(1);
        let ticket = inside.tickets;
        inside.tickets += 1;
        inside.queued += 1;
        let chance = when.map_or(0, |(_, chance)| chance);
        inside.queues[shard].push_back(Queued { ticket, chance, job });
        if let Some((now, chance)) = when {
            inside.seats.wake(self.bounds.threads_max, now, chance);
            return Ok((Ticket(ticket), false));
        }
        // A thread that was told of a job counts as idle until it has taken it.
        let needs_thread = inside.idle < inside.queued && inside.threads < self.bounds.threads_max;
        inside.threads += usize::from(needs_thread);
        drop(inside);
        self.has_work.notify_one();
        Ok((Ticket(ticket), needs_thread))
    }

    /// Takes a job out of the queue that was cancelled. It may have left already: then whoever took it finds that out.
    fn withdraw(&self, about: &About, Ticket(ticket): Ticket) {
        let mut inside = self.lock();
        let queue = &mut inside.queues[about.shard];
        let Ok(place) = queue.binary_search_by_key(&ticket, |queued| queued.ticket) else { return };
        let husk = queue.remove(place);
        inside.queued -= 1;
        about.stats.offload_queued.subtract(1);
        about.stats.offload_cancelled.add(1);
        drop(inside);
        drop(husk);
    }

    /// A job that was taken out of the queue has ended.
    fn ended(&self, about: &About, ending: Ending) {
        let mut inside = self.lock();
        inside.running -= 1;
        let stats = &about.stats;
        stats.offload_running.subtract(1);
        match ending {
            Ending::Done => stats.offload_done.add(1),
            Ending::Panicked => {
                stats.offload_done.add(1);
                stats.offload_panicked.add(1);
            }
            Ending::Cancelled => stats.offload_cancelled.add(1),
        }
    }

    /// What a thread of the pool does, from its start to its end.
    pub(crate) fn work(&self) {
        /// Counts the thread out, whatever ends it.
        struct Leaving<'a>(&'a Pool);

        impl Drop for Leaving<'_> {
            fn drop(&mut self) {
                self.0.lock().threads -= 1;
                self.0.has_ended.notify_all();
            }
        }

        let _leaving = Leaving(self);
        while let Some(job) = self.next_job() {
            job.run(self);
        }
    }

    /// The next job; `None` when the thread has been idle for so long, or the pool is closed.
    fn next_job(&self) -> Option<Arc<dyn Job>> {
        let mut inside = self.lock();
        loop {
            if let Some(job) = inside.begin_next() {
                return Some(job);
            }
            if inside.is_closed {
                return None;
            }
            inside.idle += 1;
            let waited = self.has_work.wait_timeout(inside, self.bounds.idle_time_max);
            let (again, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            inside = again;
            inside.idle -= 1;
            if timed_out.timed_out() && inside.queued == 0 {
                return None;
            }
        }
    }

    /// A thread that was asked for does not come. If there is no other, nobody would begin what waits.
    pub(crate) fn lost_thread(&self) {
        let mut inside = self.lock();
        inside.threads -= 1;
        if inside.threads > 0 {
            return;
        }
        let waiting = inside.take_all(|stats| &stats.offload_refused);
        drop(inside);
        waiting.into_iter().for_each(|job| job.refuse(OffloadError::Full));
    }

    /// Begins nothing more: what waits ends as `Stopped`, and idle threads end.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut inside = self.lock();
            inside.is_closed = true;
            inside.take_all(|stats| &stats.offload_cancelled)
        };
        self.has_work.notify_all();
        waiting.into_iter().for_each(|job| job.refuse(OffloadError::Stopped));
    }

    /// Waits until the threads of a closed pool have ended, for this long at the most. Gives how many have not.
    pub(crate) fn wait_for_threads(&self, time_max: Duration) -> usize {
        let inside = self.lock();
        let waited = self.has_ended.wait_timeout_while(inside, time_max, |inside| inside.threads > 0);
        let (inside, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inside.threads
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Takes a job out of the queue: of each shard in its turn, the oldest first.
    fn begin_next(&mut self) -> Option<Arc<dyn Job>> {
        if self.queued == 0 {
            return None;
        }
        let count = self.queues.len();
        let shard = (0..count).map(|step| (self.first + step) % count).find(|&shard| !self.queues[shard].is_empty())?;
        self.first = (shard + 1) % count;
        self.begin(shard, 0)
    }

    /// Takes the job at a place in a shard's queue.
    fn begin(&mut self, shard: usize, place: usize) -> Option<Arc<dyn Job>> {
        let Queued { job, .. } = self.queues[shard].remove(place)?;
        self.queued -= 1;
        self.running += 1;
        let stats = &job.about().stats;
        stats.offload_queued.subtract(1);
        stats.offload_running.add(1);
        Some(job)
    }

    /// Takes all out that wait, and counts them.
    fn take_all(&mut self, counter: fn(&ShardStats) -> &crate::Counter) -> Vec<Arc<dyn Job>> {
        self.queued = 0;
        let jobs: Vec<_> = self.queues.iter_mut().flat_map(|queue| queue.drain(..)).map(|queued| queued.job).collect();
        for job in &jobs {
            let stats = &job.about().stats;
            stats.offload_queued.subtract(1);
            counter(stats).add(1);
        }
        jobs
    }
}

impl fmt::Display for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffloadError::Full => f.write_str("as many offloaded jobs of this shard wait for a thread as may"),
            OffloadError::Cancelled => f.write_str("the job was cancelled before it had begun"),
            OffloadError::Panicked(payload) => write!(f, "the job panicked: {}", panic_text(&**payload)),
            OffloadError::Stopped => f.write_str("the shard or its runtime ends"),
        }
    }
}

impl fmt::Debug for OffloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffloadError::Full => f.write_str("Full"),
            OffloadError::Cancelled => f.write_str("Cancelled"),
            OffloadError::Panicked(payload) => f.debug_tuple("Panicked").field(&panic_text(&**payload)).finish(),
            OffloadError::Stopped => f.write_str("Stopped"),
        }
    }
}

impl std::error::Error for OffloadError {}

impl<R> fmt::Debug for Offload<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            State::Refused(_) => "refused",
            State::Given(_) => "given to the pool",
            State::Ended => "ended",
        };
        f.debug_tuple("Offload").field(&format_args!("{state}")).finish()
    }
}

impl fmt::Debug for Offloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offloader").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.lock();
        f.debug_struct("Pool")
            .field("bounds", &self.bounds)
            .field("threads", &inside.threads)
            .field("queued", &inside.queued)
            .field("running", &inside.running)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
