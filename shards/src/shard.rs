//! The shard: one core's world, and its turn.
//!
//! A [`Shard`] is a handle on it, cheap to clone and bound to its thread. Whoever owns the thread drives it by calling
//! [`turn`](Running::turn) and, when that says so, [`park`](Running::park): the thread loop of a [`Runtime`](crate::Runtime),
//! or a simulation. Someone else's event loop, in which the shard is a [`Guest`](crate::Guest), calls
//! [`settle`](Running::settle) instead and waits itself.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use platform::arena::{Arena, Key};
use platform::stack::StackSize;
use platform::{BackendKind, Pool, Reactor, Wait};

use crate::inbox::{Inbox, Remote};
use crate::late::LateTurns;
use crate::limits::{
    LATE_TURN_TIME_MIN, POLLS_PER_CLOCK, SPIN_LOOKS_PER_CLOCK, SPIN_TIME_MIN, STRANGERS_MAX, TURN_POLLS_MAX,
    TURN_TIME_MAX,
};
use crate::mesh::Mesh;
use crate::models::Greens;
use crate::models::offload::Offloader;
use crate::runtime::start::Start;
use crate::scope::{Cause, ScopeHandle, Tree};
use crate::stats::ShardStats;
use crate::task::{self, JoinHandle, Leased, Locals, Pooled, SpawnError, TaskGroup, TaskNumber, Tasks};
use crate::timer;
use crate::world::{Claim, World, WorldsFull};

/// Timers that name who waits.
pub(crate) type Timers = timer::Timers<u64>;

/// A handle on the shard that runs on this thread. Cloning it is free; it is not `Send`, so what holds it stays at home.
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// fn check(shard: &shardwise_shards::Shard) {
///     sent_to_a_thread(shard.clone());
/// }
/// ```
#[derive(Clone)]
pub struct Shard(pub(crate) Rc<Core>);

/// What one core has to itself.
pub(crate) struct Core {
    number: usize,
    count: usize,
    why: Arc<str>,
    tasks: Tasks,
    reactor: RefCell<Reactor>,
    pool: Pool,
    timers: RefCell<Timers>,
    /// Wakers of others' making (of combinators, say), which no number of ours names.
    strangers: RefCell<Arena<Waker>>,
    now: Cell<Instant>,
    world: &'static World,
    inbox: Arc<Inbox>,
    mesh: Mesh,
    offloader: Offloader,
    locals: Locals,
    greens: Greens,
    scopes: Rc<Tree>,
    root: ScopeHandle,
    is_draining: Cell<bool>,
    /// Nobody drives it at this moment: it is a thread's private shard, and the thread does not wait.
    is_left: Cell<bool>,
    start: Arc<Start>,
    declarations: Cell<usize>,
    turn_ends: RefCell<Vec<Rc<dyn TurnEnd>>>,
    late: LateTurns,
    stats: Arc<ShardStats>,
}

/// A shard that is being driven. Dropping it ends the shard: all its tasks are dropped, and what the kernel still holds
/// is given up in order.
pub struct Running {
    shard: Shard,
    /// Who is to be woken; kept for its memory.
    woken: Vec<u64>,
    /// Who is told of the turn's end; likewise.
    ended: Vec<Rc<dyn TurnEnd>>,
    /// The last turn took so long that what it kept waiting in the kernel is looked at before any limit is.
    is_late: bool,
    spin: Spin,
}

/// How long an idle shard looks for something to do before it sleeps. It pays while things come in quick succession, so the
/// time halves with each wait that was longer than it may be, and is back in full with one that was not.
struct Spin {
    time: Duration,
    time_max: Duration,
    /// When the last turn ended, if the shard has waited since.
    waits_since: Option<Instant>,
}

/// Something that wants to be told when the present turn has ended, and how long it took: so that many can be measured
/// with one look at the clock.
pub trait TurnEnd {
    /// The turn has ended. Not called when the shard ends in the middle of one.
    fn turn_ended(&self, elapsed: Duration);
}

/// What a turn leaves its caller to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call again at once: tasks are ready.
    Ready,
    /// Nothing is ready before this moment, unless something arrives.
    At(Instant),
    /// Nothing is ready unless something arrives.
    Idle,
}

/// What a shard is made from.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) number: usize,
    pub(crate) count: usize,
    /// Why this backend was chosen.
    pub(crate) why: Arc<str>,
    pub(crate) start: Arc<Start>,
    pub(crate) stats: Arc<ShardStats>,
    /// How long the shard may look for messages before it sleeps; zero if others need the CPU.
    pub(crate) spin_time_max: Duration,
    /// The way to the runtime's pool of threads.
    pub(crate) offloader: Offloader,
    /// For its green threads.
    pub(crate) stacks: StackSize,
}

/// In the number of a waiter: a stranger's waker and not a task. It makes the slot larger than any task's.
const STRANGER: u64 = 1 << 53;

/// The place of a waker that no number of ours names, for whoever waits by it: mostly there is none. Eight bytes, where an
/// `Option<Key>` has twelve.
#[derive(Debug)]
pub(crate) struct Seat(u64);

impl Seat {
    /// No key has this index.
    pub(crate) const NONE: Seat = Seat(u64::MAX);

    #[inline]
    fn key(&self) -> Option<Key> {
        (self.0 != u64::MAX).then(|| Key::from_bits(self.0))
    }
}

impl Next {
    /// The same, with a moment at which it is time in any case.
    pub(crate) fn no_later_than(self, limit: Option<Instant>) -> Next {
        match (self, limit) {
            (Next::At(at), Some(limit)) => Next::At(at.min(limit)),
            (Next::Idle, Some(limit)) => Next::At(limit),
            (next, _) => next,
        }
    }
}

impl Running {
    /// Brings a shard to life on this thread. `unpark` ends its sleep in the reactor, from any thread.
    ///
    /// Errors: as many shards run in this process as it admits.
    pub(crate) fn new(
        seed: Seed,
        reactor: Reactor,
        unpark: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, WorldsFull> {
        let claim: Claim = World::claim(unpark)?;
        let Seed { number, count, why, start, stats, spin_time_max, offloader, stacks } = seed;
        let tasks = Tasks::new(claim);
        let scopes = Rc::new(Tree::new());
        tasks.on_unjoined_panic(|payload| {
            let text = panic_text(payload);
            tracing::error!(panic = text, "a task panicked, and nobody joins it");
        });
        let core = Core {
            number,
            count,
            why,
            world: tasks.world(),
            pool: reactor.pool().clone(),
            now: Cell::new(reactor.now()),
            timers: RefCell::new(Timers::new(reactor.now())),
            reactor: RefCell::new(reactor),
            strangers: RefCell::new(Arena::new(STRANGERS_MAX)),
            inbox: Inbox::new(),
            mesh: Mesh::new(number, Arc::clone(start.fabric()), tasks.world()),
            offloader,
            tasks,
            locals: Locals::new(),
            greens: Greens::new(stacks),
            root: ScopeHandle::root(&scopes),
            scopes,
            is_draining: Cell::new(false),
            is_left: Cell::new(false),
            start,
            declarations: Cell::new(0),
            turn_ends: RefCell::default(),
            late: LateTurns::default(),
            stats,
        };
        let core = Rc::new(core);
        core.scopes.belongs_to(&core);
        let world = core.world;
        core.pool.wake_by(move || world.notify());
        let spin = Spin { time: spin_time_max, time_max: spin_time_max, waits_since: None };
        Ok(Running { shard: Shard(core), woken: Vec::new(), ended: Vec::new(), is_late: false, spin })
    }

    /// The shard.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// One turn of the shard: the whole machine, in the order it happens. Never blocks; whoever calls it parks.
    pub fn turn(&mut self) -> Next {
        let Shard(core) = self.shard.clone();
        core.tasks.enter(&core, || {
            let started = core.read_clock();
            self.spin.learn(started);
            self.adopt_arrivals();
            if std::mem::take(&mut self.is_late) {
                self.enter(Wait::Until(started));
            }
            self.expire_timers(started);
            let up = started + TURN_TIME_MAX;
            let mut looks = 0;
            let polls = core.tasks.run(|| {
                looks += 1;
                looks == TURN_POLLS_MAX / POLLS_PER_CLOCK || core.read_clock() >= up
            });
            core.mesh.publish();
            self.submit_if_busy();
            if polls > 0 {
                self.end_turn(polls, started);
            }
            core.stats.turns.add(1);
            self.next()
        })
    }

    /// Looks at the clock for whatever wants to know how long the turn took.
    fn end_turn(&mut self, polls: u32, started: Instant) {
        let Shard(core) = &self.shard;
        let elapsed = core.reactor.borrow().now().saturating_duration_since(started);
        core.stats.turned(polls, elapsed);
        self.is_late = elapsed >= LATE_TURN_TIME_MIN;
        if self.is_late {
            core.late.add(core.stats.turns.get() as u32, elapsed);
        }
        // One at a time: each may come back for the next turn.
        while let Some(waiting) = core.turn_ends.borrow_mut().pop() {
            self.ended.push(waiting);
        }
        for waiting in self.ended.drain(..) {
            waiting.turn_ended(elapsed);
        }
    }

    /// Submits what the turn has started and waits for what `next` says, or until something arrives. What has completed
    /// is ready when it returns. One system call at most, and none if tasks are ready.
    pub fn park(&mut self, next: Next) {
        let Shard(core) = self.shard.clone();
        let wait = match next {
            Next::Ready => return,
            Next::At(at) => Wait::Until(at),
            Next::Idle => Wait::Forever,
        };
        core.tasks.enter(&core, || {
            if self.spin(next) {
                core.stats.caught.add(1);
                return;
            }
            // A sender that comes after this look finds the flag and pays for the wake-up.
            let asleep = core.world.sleep().prepare(|| !core.has_arrivals());
            self.enter(if asleep { wait } else { Wait::No });
            core.world.sleep().awake();
        });
    }

    /// Looks for a while whether something has come, in memory as far as that tells. True if something has.
    fn spin(&mut self, next: Next) -> bool {
        if self.spin.time_max.is_zero() {
            return false;
        }
        let Shard(core) = self.shard.clone();
        let begin = core.reactor.borrow().now();
        self.spin.waits_since = Some(begin);
        if self.spin.time < SPIN_TIME_MIN {
            return false;
        }
        let end = match next {
            Next::At(at) => at.min(begin + self.spin.time),
            _ => begin + self.spin.time,
        };
        // What the turn has started is not kept waiting.
        self.enter(Wait::No);
        while !core.tasks.has_ready() {
            for _ in 0..SPIN_LOOKS_PER_CLOCK {
                if core.has_arrivals() {
                    return true;
                }
                if core.reactor.borrow_mut().has_news() == Some(true) {
                    break;
                }
                std::hint::spin_loop();
            }
            let now = core.reactor.borrow().now();
            let news = core.reactor.borrow_mut().has_news();
            match news {
                // What there is now is landed by the entry that is to wait.
                _ if now >= end => return false,
                Some(true) => self.enter(Wait::No),
                Some(false) => {}
                None => self.enter(Wait::Until(now)),
            }
        }
        true
    }

    /// Instead of [`park`](Running::park), for a caller that waits elsewhere, by the reactor's [bell](Reactor::bell): submits
    /// what the turn has started, lands what has completed, and says what is left to wait for. Until the next turn, whatever
    /// comes rings the bell.
    pub fn settle(&mut self, next: Next) -> Next {
        if next == Next::Ready {
            return next;
        }
        let Shard(core) = self.shard.clone();
        core.tasks.enter(&core, || {
            let due = core.reactor.borrow_mut().settle(&mut self.woken);
            core.stats.record_reactor(&core.reactor.borrow());
            self.wake_all();
            // As before a sleep in the reactor: a sender that comes after this look finds the flag, and rings.
            if self.is_ready() || !core.world.sleep().prepare(|| !core.has_arrivals()) {
                return Next::Ready;
            }
            match self.next().no_later_than(due) {
                // A host that is told of a moment that has passed would not let its other work run.
                Next::At(at) if at <= core.reactor.borrow().now() => Next::Ready,
                next => next,
            }
        })
    }

    /// Ends what [`settle`](Running::settle) has begun: nobody needs to ring any more.
    pub(crate) fn rouse(&mut self) {
        self.shard.0.world.sleep().awake();
    }

    /// Polls something for whoever drives the shard: see [`Tasks::poll_for`].
    pub(crate) fn poll_for<R>(&mut self, number: TaskNumber, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let Shard(core) = &self.shard;
        core.tasks.enter(core, || core.tasks.poll_for(number, poll))
    }

    /// Whether a simulated machine keeps it off its CPU: it is not to be turned now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.shard.is_stalled()
    }

    /// Whether a turn would find something to do.
    pub fn is_ready(&self) -> bool {
        self.shard.is_ready()
    }

    /// Wakes by other threads, and what they have sent.
    fn adopt_arrivals(&mut self) {
        let Shard(core) = &self.shard;
        if core.world.has_wakes() {
            core.tasks.take_wakes();
        }
        if core.inbox.is_waiting() {
            for job in core.inbox.take() {
                job(&self.shard);
            }
        }
        if core.pool.has_news() {
            core.reactor.borrow_mut().collect();
        }
        core.mesh.receive(&self.shard);
    }

    fn expire_timers(&mut self, now: Instant) {
        let Shard(core) = &self.shard;
        core.timers.borrow_mut().expire(now, &mut |waiter| self.woken.push(waiter));
        self.wake_all();
    }

    /// With tasks left over, nobody parks: what has been started goes to the kernel now.
    fn submit_if_busy(&mut self) {
        if self.shard.0.tasks.has_ready() {
            self.enter(Wait::No);
        }
    }

    fn enter(&mut self, wait: Wait) {
        let Shard(core) = &self.shard;
        core.reactor.borrow_mut().enter(wait, &mut self.woken);
        core.stats.record_reactor(&core.reactor.borrow());
        self.wake_all();
    }

    fn wake_all(&mut self) {
        let Shard(core) = &self.shard;
        for waiter in self.woken.drain(..) {
            core.wake(waiter);
        }
    }

    fn next(&self) -> Next {
        let Shard(core) = &self.shard;
        if core.timers.borrow().has_spans() {
            let now = core.reactor.borrow().now();
            core.timers.borrow_mut().begin(now);
        }
        if self.is_ready() {
            return Next::Ready;
        }
        match core.timers.borrow().next_deadline() {
            Some(at) => Next::At(at),
            None => Next::Idle,
        }
    }
}

impl Spin {
    /// A turn begins, perhaps after a wait.
    #[inline]
    fn learn(&mut self, now: Instant) {
        if let Some(since) = self.waits_since.take() {
            self.time = match now.saturating_duration_since(since) <= self.time_max {
                true => self.time_max,
                false => self.time / 2,
            };
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Shard(core) = self.shard.clone();
        core.inbox.close();
        core.tasks.enter(&core, || {
            core.root.cancel_for(Cause::ShardEnded);
            core.tasks.close();
            core.mesh.close();
            core.turn_ends.take();
            core.locals.clear();
        });
    }
}

impl Shard {
    /// The shard that this thread runs at this moment.
    pub fn current() -> Option<Shard> {
        task::current::<Core>().map(Shard)
    }

    /// Its number: from zero to [`count`](Shard::count), without gaps.
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// How many shards the runtime has.
    pub fn count(&self) -> usize {
        self.0.count
    }

    /// Which backend it runs on.
    pub fn backend(&self) -> BackendKind {
        self.0.reactor.borrow().kind()
    }

    /// Why it runs on that backend, in one line.
    pub fn backend_reason(&self) -> &str {
        &self.0.why
    }

    /// The time at the start of this turn, or when someone last looked at the [`clock`](Shard::clock). Free; at most a turn
    /// old, which is long if a task blocks.
    pub fn now(&self) -> Instant {
        self.0.now.get()
    }

    /// The time, looked at now: what a wait is counted from, since a turn in which something has blocked began long ago, and
    /// a wait that is counted from there may be over before it has begun. Some 30 ns.
    pub fn clock(&self) -> Instant {
        self.0.read_clock()
    }

    /// How many turns it had taken when this one began: tells whether two things happen in the same turn.
    pub fn turn_number(&self) -> u64 {
        self.0.stats.turns.get()
    }

    /// Tells `waiting` when this turn has ended. Some 5 ns.
    pub fn at_turn_end(&self, waiting: Rc<dyn TurnEnd>) {
        self.0.turn_ends.borrow_mut().push(waiting);
    }

    /// The time of day.
    pub fn wall_clock(&self) -> SystemTime {
        self.0.reactor.borrow().wall_clock()
    }

    /// A random number: nobody can guess it on a real machine, the seed decides it on a simulated one.
    pub fn random(&self) -> u64 {
        self.0.reactor.borrow_mut().random()
    }

    /// The shard's buffers.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Starts a task on this shard; it need not be `Send`. Dropping the handle detaches it. Without an allocation once the
    /// shard has had as many tasks of that size before.
    ///
    /// Errors: the shard has as many tasks as it admits, or is ending.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Result<JoinHandle<F::Output>, SpawnError> {
        self.0.tasks.spawn(future)
    }

    /// A group of tasks that end with it.
    pub fn task_group(&self) -> TaskGroup {
        self.0.tasks.group()
    }

    /// Puts a future into a pooled slot, for one call of something whose type is not known.
    pub fn lease<'a, F: Future + 'a>(&self, future: F) -> Leased<'a, F::Output> {
        self.0.tasks.lease(|| future)
    }

    /// The same for a future that is large: it is made in its slot, and not copied there.
    #[inline(always)]
    pub fn lease_with<'a, F: Future + 'a>(&self, make: impl FnOnce() -> F) -> Leased<'a, F::Output> {
        self.0.tasks.lease(make)
    }

    /// Puts a value into a pooled slot.
    #[inline]
    pub fn pooled<T>(&self, value: T) -> Pooled<T> {
        self.0.tasks.pooled(|| value)
    }

    /// The same for a value that is large: it is made in its slot, and not copied there.
    #[inline(always)]
    pub fn pooled_with<T>(&self, make: impl FnOnce() -> T) -> Pooled<T> {
        self.0.tasks.pooled(make)
    }

    /// The shard's one value of this type, made when first asked for. It takes the place of a thread-local.
    pub fn local<T: 'static>(&self, make: impl FnOnce() -> T) -> Rc<T> {
        self.0.locals.get_or_init(make)
    }

    /// A handle on this shard for other threads.
    pub fn remote(&self) -> Remote {
        Remote::new(self.0.number, self.0.world, Arc::clone(&self.0.inbox))
    }

    /// The scope that all of the shard's work descends from; it is cancelled when the shard ends.
    pub fn scope(&self) -> &ScopeHandle {
        &self.0.root
    }

    pub(crate) fn scope_tree(&self) -> &Rc<Tree> {
        &self.0.scopes
    }

    /// Scopes that are alive, the shard's own included.
    pub fn scopes(&self) -> usize {
        self.0.scopes.count()
    }

    /// What the shard counts, readable from any thread.
    pub fn stats(&self) -> &Arc<ShardStats> {
        &self.0.stats
    }

    /// Counters of its tasks.
    pub fn task_stats(&self) -> task::TaskStats {
        self.0.tasks.stats()
    }

    /// The running task has finished what it was at, and waits for something new, such as the next request of a connection: when that
    /// comes, tasks that go on with what they have begun are polled before it.
    #[inline]
    pub fn rest(&self, waker: &Waker) {
        self.0.tasks.rest(waker);
    }

    /// The running task goes on for good, as a tunnel does: it no longer counts among those that have begun something since they were
    /// [at rest](Shard::rest), which others wait for once they are many.
    pub fn stay(&self, waker: &Waker) {
        self.0.tasks.stay(waker);
    }

    /// Begins the drain: every task is woken once, to see [`is_draining`](Shard::is_draining) and finish its work.
    pub fn drain(&self) {
        if !self.0.is_draining.replace(true) {
            self.0.tasks.wake_everyone();
        }
    }

    /// Whether the shard takes on no new work and finishes what it has. A task that asks is woken when it begins.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.get()
    }

    /// Tells the runtime that this shard serves. When all do, the process is ready: its service manager is told, and a
    /// predecessor may go. A server says so by itself; this is for programs without one.
    pub fn serves(&self) {
        self.0.start.serves(self.number());
    }

    /// Waits until the drain begins.
    pub async fn drained(&self) {
        std::future::poll_fn(|_| match self.is_draining() {
            true => std::task::Poll::Ready(()),
            // `drain` wakes every task.
            false => std::task::Poll::Pending,
        })
        .await
    }

    /// Uses the reactor. It must not be entered twice at once: `f` starts, takes or asks, and calls nobody else's code.
    #[inline(always)]
    pub fn with_reactor<R>(&self, f: impl FnOnce(&mut Reactor) -> R) -> R {
        let result = f(&mut self.0.reactor.borrow_mut());
        if self.0.is_left.get() {
            self.0.submit();
        }
        result
    }

    /// Says that nobody drives the shard from here on, or that somebody does again. Meanwhile everything is submitted on the
    /// spot: what is given up (a socket that is closed, say) does not wait until somebody comes.
    pub(crate) fn leave(&self, is_left: bool) {
        self.0.is_left.set(is_left);
        if is_left {
            self.0.submit();
        }
    }

    /// See [`Running::is_stalled`].
    pub(crate) fn is_stalled(&self) -> bool {
        self.0.reactor.borrow().is_stalled()
    }

    /// See [`Running::is_ready`].
    pub(crate) fn is_ready(&self) -> bool {
        self.0.tasks.has_ready() || self.0.has_arrivals()
    }

    pub(crate) fn with_timers<R>(&self, f: impl FnOnce(&mut Timers) -> R) -> R {
        f(&mut self.0.timers.borrow_mut())
    }

    pub(crate) fn late_turns(&self) -> &LateTurns {
        &self.0.late
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        &self.0.mesh
    }

    pub(crate) fn offloader(&self) -> &Offloader {
        &self.0.offloader
    }

    pub(crate) fn greens(&self) -> &Greens {
        &self.0.greens
    }

    /// Runs `f` with this shard as the current one, which it mostly is already.
    #[inline]
    pub(crate) fn entered<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.0.tasks.are_current() {
            true => f(),
            false => self.0.tasks.enter(&self.0, f),
        }
    }

    pub(crate) fn start_state(&self) -> Arc<Start> {
        Arc::clone(&self.0.start)
    }

    /// The ordinal of this shard's next call at the start barrier.
    pub(crate) fn next_declaration(&self) -> usize {
        self.0.declarations.replace(self.0.declarations.get() + 1)
    }

    /// The number by which a waker is named to the reactor and the timers. `seat` keeps a stranger's place between calls.
    pub(crate) fn waiter_of(&self, waker: &Waker, seat: &mut Seat) -> u64 {
        match TaskNumber::of(waker) {
            Some(number) => number.to_bits(),
            None => self.seat_stranger(waker, seat),
        }
    }

    #[cold]
    fn seat_stranger(&self, waker: &Waker, seat: &mut Seat) -> u64 {
        let mut strangers = self.0.strangers.borrow_mut();
        if let Some(key) = seat.key()
            && let Some(seated) = strangers.get_mut(key)
        {
            seated.clone_from(waker);
            return STRANGER | u64::from(key.index);
        }
        match strangers.insert(waker.clone()) {
            Ok(key) => {
                *seat = Seat(key.to_bits());
                STRANGER | u64::from(key.index)
            }
            Err(waker) => {
                // Without a seat it is woken at once, to ask again: slow, but never lost.
                waker.wake();
                platform::NOBODY
            }
        }
    }

    /// Gives up a stranger's place.
    pub(crate) fn unseat(&self, seat: &mut Seat) {
        if let Some(key) = std::mem::replace(seat, Seat::NONE).key() {
            let waker = self.0.strangers.borrow_mut().remove(key);
            drop(waker);
        }
    }
}

impl Core {
    fn read_clock(&self) -> Instant {
        let now = self.reactor.borrow().now();
        self.now.set(now);
        now
    }

    /// Whether something waits to be adopted or shown that does not come from this shard's own tasks.
    fn has_arrivals(&self) -> bool {
        self.world.has_wakes() || self.inbox.is_waiting() || self.mesh.is_ready() || self.pool.has_news()
    }

    /// Submits and lands without a turn.
    #[cold]
    fn submit(&self) {
        let mut woken = Vec::new();
        self.reactor.borrow_mut().enter(Wait::No, &mut woken);
        woken.into_iter().for_each(|waiter| self.wake(waiter));
    }

    fn wake(&self, waiter: u64) {
        if waiter & STRANGER == 0 {
            return self.tasks.wake(TaskNumber::from_bits(waiter));
        }
        let waker = {
            let strangers = self.strangers.borrow();
            strangers.at(waiter as u32).cloned()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The text of a panic, as far as it has one.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let literal = payload.downcast_ref::<&str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

/// The longest that a turn's tasks run before completions are looked at.
const _: () = assert!(TURN_TIME_MAX.as_micros() <= Duration::from_millis(10).as_micros());

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({} of {})", self.0.number, self.0.count)
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("shard", &self.shard).finish()
    }
}
