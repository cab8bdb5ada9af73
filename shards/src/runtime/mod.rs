//! The runtime: starts one pinned thread per shard, all of them or none, runs the same `main` on each, and ends them in
//! order.
//!
//! The thread that calls [`run`](Builder::run) becomes the coordinator: it decides where shards run and on which backend,
//! waits for signals and for shards to end, and serves nobody. The first SIGTERM or SIGINT begins the drain: shards take on
//! no new work and finish what they have, within the drain limit; a second one ends the process at once.

mod signals;
pub mod simulation;
pub(crate) mod start;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use platform::topology::{CpuId, Placement, Topology};
use platform::{BackendKind, Choice, Config, Features, Reactor, Selection, Unparker};

use crate::inbox::Remote;
use crate::limits::{DRAIN_TIME_MAX, OFFLOAD_LOOK_EVERY, SPIN_TIME_MAX, START_TIME_MAX, STOP_TIME_MAX};
use crate::models::offload::{Bounds, Offloader, Pool};
use crate::scope::Cause;
use crate::shard::{Running, Seed, panic_text};
use crate::stats::ShardStats;
use crate::{JoinHandle, Shard};
use start::Start;

/// A set of shards that run one program. See [`Runtime::builder`].
#[derive(Debug)]
pub struct Runtime(());

/// How a runtime is set up.
#[derive(Clone, Debug)]
pub struct Builder {
    shards: Option<usize>,
    choice: Option<Choice>,
    oversubscribe: bool,
    config: Config,
    pub(crate) drain_time_max: Duration,
    handle_signals: bool,
    announce: bool,
    spin: Duration,
    offload_threads: Option<usize>,
    offload_queue: Option<usize>,
}

/// Why a runtime did not start, or did not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError<E> {
    /// It did not start; the text says why and what to do.
    Setup(String),
    /// `main` failed on a shard.
    Main {
        /// The shard's number.
        shard: usize,
        /// What `main` returned.
        error: E,
    },
    /// `main` panicked on a shard.
    Panicked {
        /// The shard's number.
        shard: usize,
        /// The panic's text.
        text: String,
    },
    /// The drain limit passed before everything was finished.
    DrainTimedOut,
}

/// What stands once all shards run: for the start message, and for those outside who ask (metrics, tests).
#[derive(Clone, Debug)]
pub struct Fleet {
    /// One for each shard, in order.
    pub remotes: Vec<Remote>,
    /// One for each shard, in order.
    pub stats: Vec<Arc<ShardStats>>,
    /// Where each runs; `None` is unpinned.
    pub cpus: Vec<Option<CpuId>>,
    /// Which backend, and why.
    pub selection: Selection,
    is_draining: Arc<AtomicBool>,
}

impl Fleet {
    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }
}

/// What reaches the coordinator.
enum Event<E> {
    /// A shard stands.
    Started { shard: usize, remote: Remote },
    /// A shard could not start.
    Failed(String),
    /// `main` has ended on a shard, which goes on for the others.
    Ended { shard: usize, result: Result<Result<(), E>, Box<dyn Any + Send>> },
    /// A shard is gone.
    Gone { shard: usize },
    /// Offloaded jobs wait that no thread is there for.
    ThreadWanted,
    /// The process was told to end.
    Signal(i32),
}

impl Runtime {
    /// Begins to set up a runtime. By default: one shard for each CPU that this process may use, on the fastest backend
    /// that the host offers.
    pub fn builder() -> Builder {
        Builder {
            shards: None,
            choice: None,
            oversubscribe: false,
            config: Config::default(),
            drain_time_max: DRAIN_TIME_MAX,
            handle_signals: true,
            announce: true,
            spin: Duration::ZERO,
            offload_threads: None,
            offload_queue: None,
        }
    }
}

impl Builder {
    /// How many shards; by default one for each CPU that the affinity mask and the cgroup's quota grant.
    pub fn shards(mut self, count: usize) -> Self {
        self.shards = Some(count);
        self
    }

    /// Which backend; by default `SHARDWISE_BACKEND` decides if it is set, else the fastest that works.
    pub fn backend(mut self, choice: Choice) -> Self {
        self.choice = Some(choice);
        self
    }

    /// Admits more shards than CPUs. They are then not pinned.
    pub fn oversubscribe(mut self, yes: bool) -> Self {
        self.oversubscribe = yes;
        self
    }

    /// Sizes of buffer pools, ring features. `SHARDWISE_URING_MASK` takes further features away.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How long a drain may take; 30 s by default.
    pub fn drain_time_max(mut self, time: Duration) -> Self {
        self.drain_time_max = time;
        self
    }

    /// Whether SIGTERM and SIGINT begin the drain; they do by default.
    pub fn handle_signals(mut self, yes: bool) -> Self {
        self.handle_signals = yes;
        self
    }

    /// Whether a start says in a few log lines what stands; it does by default.
    pub fn announce(mut self, yes: bool) -> Self {
        self.announce = yes;
        self
    }

    /// How long an idle shard looks for messages of other shards before it sleeps; not at all by default, and
    /// [`SPIN_TIME_MAX`] at the most. It saves the wake-up where shards ask each other much, and
    /// costs CPU time and the attention to sockets meanwhile. Shards that outnumber the CPUs never do.
    pub fn spin(mut self, time: Duration) -> Self {
        self.spin = time.min(SPIN_TIME_MAX);
        self
    }

    /// How many threads run what is [offloaded](Shard::offload), at the most: one to
    /// [`OFFLOAD_THREADS_MAX`](crate::limits::OFFLOAD_THREADS_MAX), by default
    /// [`OFFLOAD_THREADS_PER_CPU`](crate::limits::OFFLOAD_THREADS_PER_CPU) for each CPU that may be used. They start when jobs
    /// wait, and end when there are none for a while.
    pub fn offload_threads(mut self, count: usize) -> Self {
        self.offload_threads = Some(count);
        self
    }

    /// How many offloaded jobs of each shard may wait for a thread; one at the least, by default
    /// [`OFFLOAD_QUEUE_MAX`](crate::limits::OFFLOAD_QUEUE_MAX). A further one is refused at once.
    pub fn offload_queue(mut self, count: usize) -> Self {
        self.offload_queue = Some(count);
        self
    }

    /// Bytes of a green thread's stack; 256 KiB by default. Only what is touched costs memory. A green thread that uses more ends
    /// the process, with a message that says so.
    pub fn green_stack_bytes(mut self, bytes: usize) -> Self {
        self.config.stacks.bytes = bytes;
        self
    }

    /// How many green threads each shard admits; 1,024 by default. Each stack takes two mappings, of which Linux admits 65,530
    /// to a process by default (`vm.max_map_count`).
    pub fn green_threads_max(mut self, count: usize) -> Self {
        self.config.stacks.count = count;
        self
    }

    /// Runs `main` on every shard and waits until all have ended, and what they have offloaded with them.
    ///
    /// All shards start or none does. When `main` fails or panics on one shard, the others drain, and the first failure is
    /// returned.
    ///
    /// Errors: see [`RunError`].
    pub fn run<E, F>(self, main: F) -> Result<(), RunError<E>>
    where
        E: Send + 'static,
        F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
    {
        self.run_with(|_| Ok(()), main)
    }

    /// Like [`run`](Builder::run), and calls `started` once all shards stand, before any `main` runs: for what watches them
    /// from outside.
    pub fn run_with<E, F>(self, started: impl FnOnce(&Fleet) -> Result<(), String>, main: F) -> Result<(), RunError<E>>
    where
        E: Send + 'static,
        F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
    {
        let plan = self.plan().map_err(RunError::Setup)?;
        let main = Arc::new(main);
        let (events, inbox) = channel();
        let is_draining = Arc::new(AtomicBool::new(false));
        let signals = match self.handle_signals {
            true => Some(signals::watch(events.clone()).map_err(RunError::Setup)?),
            false => None,
        };
        let mut gates = Vec::new();
        for (number, &cpu) in plan.placement.shards.iter().enumerate() {
            let (gate, go) = channel::<()>();
            gates.push(gate);
            let (count, why, start) = (plan.placement.shards.len(), Arc::clone(&plan.why), Arc::clone(&plan.start));
            let stats = Arc::clone(&plan.stats[number]);
            let spin_time_max = if plan.placement.may_spin { self.spin } else { Duration::ZERO };
            let stacks = plan.config.stacks;
            let seed = move |offloader| Seed { number, count, why, start, stats, spin_time_max, offloader, stacks };
            let (events, main) = (events.clone(), Arc::clone(&main));
            let (kind, config, pool) = (plan.selection.kind, plan.config, Arc::clone(&plan.pool));
            let thread = move || {
                let wanting = events.clone();
                let offloader = Offloader::new(&pool, move || wanting.send(Event::ThreadWanted).is_ok());
                shard_thread(seed(offloader), cpu, kind, config, events, go, main);
            };
            std::thread::Builder::new()
                .name(format!("shard-{number}"))
                .spawn(thread)
                .map_err(|error| RunError::Setup(format!("no thread for shard {number}: {error}")))?;
        }
        drop(events);
        let mut coordinator = Coordinator {
            plan: &plan,
            inbox,
            remotes: Vec::new(),
            is_draining,
            drain_time_max: self.drain_time_max,
            threads_started: 0,
        };
        let outcome = coordinator.conduct(gates, self.announce, started);
        if let Some(signals) = signals {
            signals.close();
        }
        outcome
    }

    /// Decides what can be decided before any thread starts.
    fn plan(&self) -> Result<Plan, String> {
        let topology = Topology::read();
        let placement = topology.place(self.shards, self.oversubscribe).map_err(|error| error.to_string())?;
        let (selection, config) = self.select()?;
        let count = placement.shards.len();
        Ok(Plan {
            why: Arc::from(selection.why.as_str()),
            start: Start::new(count),
            stats: (0..count).map(|_| Arc::default()).collect(),
            pool: Pool::new(count, self.offload_bounds(&topology)),
            placement,
            selection,
            config,
        })
    }

    /// The bounds of the pool for what is offloaded.
    pub(crate) fn offload_bounds(&self, topology: &Topology) -> Bounds {
        Bounds::new(topology.cpus.len(), self.offload_threads, self.offload_queue)
    }

    /// Which backend, and how it is set up.
    pub(crate) fn select(&self) -> Result<(Selection, Config), String> {
        let choice = match self.choice {
            Some(choice) => choice,
            None => choice_from_environment()?,
        };
        let masked = Features::ALL.without(features_from_environment()?);
        let config = Config { features: self.config.features.without(masked), ..self.config };
        let selection = platform::select(choice, &config).map_err(|error| error.to_string())?;
        Ok((selection, config))
    }
}

/// What was decided before any thread started.
struct Plan {
    placement: Placement,
    selection: Selection,
    config: Config,
    why: Arc<str>,
    start: Arc<Start>,
    stats: Vec<Arc<ShardStats>>,
    pool: Arc<Pool>,
}

struct Coordinator<'a, E> {
    plan: &'a Plan,
    inbox: Receiver<Event<E>>,
    /// Those that stand, by number.
    remotes: Vec<Option<Remote>>,
    is_draining: Arc<AtomicBool>,
    drain_time_max: Duration,
    /// Of the pool, so far.
    threads_started: usize,
}

impl<E> Coordinator<'_, E> {
    /// Sees the shards through their life.
    fn conduct(
        &mut self,
        gates: Vec<Sender<()>>,
        announce: bool,
        started: impl FnOnce(&Fleet) -> Result<(), String>,
    ) -> Result<(), RunError<E>> {
        self.gather()?;
        let fleet = self.fleet();
        if announce {
            self.announce();
        }
        started(&fleet).map_err(RunError::Setup)?;
        for gate in gates {
            // A shard that has ended meanwhile reports it.
            let _ = gate.send(());
        }
        let mut deadline = None;
        let outcome = self.attend(&mut deadline);
        outcome.and(self.end_jobs(deadline))
    }

    /// Waits until all shards stand. Without their gate's word, those that do end again when the gates are dropped.
    fn gather(&mut self) -> Result<(), RunError<E>> {
        let count = self.plan.placement.shards.len();
        self.remotes.resize_with(count, || None);
        let deadline = now() + START_TIME_MAX;
        while self.remotes.iter().any(Option::is_none) {
            match self.inbox.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(Event::Started { shard, remote }) => self.remotes[shard] = Some(remote),
                Ok(Event::Failed(reason)) => return Err(RunError::Setup(reason)),
                Ok(Event::Ended { shard, .. } | Event::Gone { shard }) => {
                    return Err(RunError::Setup(format!("shard {shard} ended while it started")));
                }
                Ok(Event::Signal(_)) => return Err(RunError::Setup("told to end while starting".to_owned())),
                // No shard runs anything yet.
                Ok(Event::ThreadWanted) => {}
                Err(_) => return Err(RunError::Setup("the shards did not start in time".to_owned())),
            }
        }
        Ok(())
    }

    /// Waits until all shards have ended, and begins the drain when a signal or a failure says so.
    fn attend(&mut self, deadline: &mut Option<Instant>) -> Result<(), RunError<E>> {
        let mut running = self.remotes.len();
        let mut outcome = Ok(());
        let mut is_stopping = false;
        while running > 0 {
            let event = match *deadline {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.inbox.recv_timeout(at.saturating_duration_since(now())),
            };
            match event {
                Ok(Event::Gone { shard }) => {
                    running -= 1;
                    self.plan.start.ended(shard);
                }
                Ok(Event::Ended { shard, result }) => {
                    self.plan.start.ended(shard);
                    let failure = match result {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => RunError::Main { shard, error },
                        Err(panic) => RunError::Panicked { shard, text: panic_text(&*panic).to_owned() },
                    };
                    outcome = outcome.and(Err(failure));
                    deadline.get_or_insert_with(|| now() + self.drain_time_max);
                    self.begin_drain();
                }
                Ok(Event::Signal(signal)) if deadline.is_some() => end_at_once(signal),
                Ok(Event::Signal(signal)) => {
                    tracing::info!(signal, limit = ?self.drain_time_max, "draining; a second signal ends at once");
                    *deadline = Some(now() + self.drain_time_max);
                    self.begin_drain();
                }
                Ok(Event::ThreadWanted) => self.start_thread(),
                Ok(Event::Started { .. } | Event::Failed(_)) => {}
                Err(RecvTimeoutError::Timeout) if !is_stopping => {
                    is_stopping = true;
                    tracing::warn!(shards = running, "the drain limit has passed: what is left is dropped");
                    outcome = outcome.and(Err(RunError::DrainTimedOut));
                    *deadline = Some(now() + STOP_TIME_MAX);
                    self.stop();
                }
                // A shard whose code never yields cannot be stopped; the process ends without it.
                Err(_) => return outcome.and(Err(RunError::DrainTimedOut)),
            }
        }
        outcome
    }

    /// One more thread for the pool. This thread is not pinned, so that one is not either.
    fn start_thread(&mut self) {
        match start_pool_thread(&self.plan.pool, format!("offload-{}", self.threads_started)) {
            Ok(()) => self.threads_started += 1,
            Err(error) => {
                tracing::warn!("no further thread for offloaded jobs: {error}");
                self.plan.pool.lost_thread();
            }
        }
    }

    /// All shards have ended, and nobody waits any more for what they have offloaded; but what runs is given the rest of the
    /// drain's time to finish.
    fn end_jobs(&mut self, deadline: Option<Instant>) -> Result<(), RunError<E>> {
        let pool = &self.plan.pool;
        pool.close();
        let mut is_told = deadline.is_some();
        let deadline = deadline.unwrap_or_else(|| now() + self.drain_time_max);
        loop {
            let left = deadline.saturating_duration_since(now());
            match pool.wait_for_threads(left.min(OFFLOAD_LOOK_EVERY)) {
                0 => return Ok(()),
                threads if left.is_zero() => {
                    tracing::warn!(
                        threads,
                        "the drain limit has passed: threads that run offloaded jobs are left behind"
                    );
                    return Err(RunError::DrainTimedOut);
                }
                _ => {}
            }
            while let Ok(event) = self.inbox.try_recv() {
                match event {
                    Event::Signal(signal) if is_told => end_at_once(signal),
                    Event::Signal(_) => is_told = true,
                    // A shard has asked for it and ended.
                    Event::ThreadWanted => pool.lost_thread(),
                    _ => {}
                }
            }
        }
    }

    fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        for remote in self.remotes.iter().flatten() {
            // A shard that has stopped has nothing to drain.
            let _ = remote.send(Shard::drain);
        }
    }

    fn stop(&self) {
        for remote in self.remotes.iter().flatten() {
            let _ = remote.send(|shard| shard.scope().cancel_for(Cause::ShardEnded));
        }
    }

    fn fleet(&self) -> Fleet {
        Fleet {
            remotes: self.remotes.iter().flatten().cloned().collect(),
            stats: self.plan.stats.clone(),
            cpus: self.plan.placement.shards.clone(),
            selection: self.plan.selection.clone(),
            is_draining: Arc::clone(&self.is_draining),
        }
    }

    fn announce(&self) {
        let Plan { placement, selection, .. } = self.plan;
        tracing::info!("shardwise {}: {}", env!("CARGO_PKG_VERSION"), placement.why);
        match selection.kind {
            BackendKind::Epoll if &*selection.why != "asked for" => {
                tracing::warn!("backend epoll: {}", selection.why);
            }
            kind => tracing::info!("backend {kind}: {}", selection.why),
        }
    }
}

/// What one shard's thread does.
/// A thread for the pool, which runs where the thread may run that calls this.
pub(crate) fn start_pool_thread(pool: &Arc<Pool>, name: String) -> std::io::Result<()> {
    let pool = Arc::clone(pool);
    std::thread::Builder::new().name(name).spawn(move || pool.work()).map(drop)
}

fn shard_thread<E, F>(
    seed: Seed,
    cpu: Option<CpuId>,
    kind: BackendKind,
    config: Config,
    events: Sender<Event<E>>,
    go: Receiver<()>,
    main: Arc<F>,
) where
    E: Send + 'static,
    F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
{
    let number = seed.number;
    let mut running = match set_up(seed, cpu, kind, &config) {
        Ok(running) => running,
        Err(reason) => {
            let _ = events.send(Event::Failed(format!("shard {number} cannot start: {reason}")));
            return;
        }
    };
    let remote = running.shard().remote();
    // The coordinator is gone only if the start has failed; then the gate is closed too.
    let _ = events.send(Event::Started { shard: number, remote });
    if go.recv().is_err() {
        return;
    }
    let shard = running.shard().clone();
    let ended = |result| _ = events.send(Event::Ended { shard: number, result });
    let driven = catch_unwind(AssertUnwindSafe(|| drive(&mut running, async move { main(shard).await }, ended)));
    if let Err(panic) = driven {
        // Not `main`'s, which is its task's: the shard's own, by a mistake of ours.
        let _ = events.send(Event::Ended { shard: number, result: Err(panic) });
    }
    drop(running);
    let _ = events.send(Event::Gone { shard: number });
}

fn set_up(seed: Seed, cpu: Option<CpuId>, kind: BackendKind, config: &Config) -> Result<Running, String> {
    // A thread that the system does not let pin serves all the same.
    if let Some(Err(error)) = cpu.map(platform::topology::pin) {
        tracing::warn!(shard = seed.number, "{error}");
    }
    stand(seed, kind, config)
}

/// Brings a shard to life on this thread.
pub(crate) fn stand(seed: Seed, kind: BackendKind, config: &Config) -> Result<Running, String> {
    let unparker = Unparker::new(kind).map_err(|error| format!("no wake-up descriptor: {error}"))?;
    let reactor = Reactor::open(kind, config, &unparker).map_err(|error| error.to_string())?;
    Running::new(seed, reactor, move || unparker.unpark()).map_err(|error| error.to_string())
}

/// Drives a shard on this thread until `main` has ended on all shards, or the shard's scope is cancelled: what others have
/// to finish may need this one's part of it. `ended` is told what its own `main` gave; a panic of `main` is the error.
fn drive<E: 'static>(
    running: &mut Running,
    main: impl Future<Output = Result<(), E>> + 'static,
    ended: impl FnOnce(Result<Result<(), E>, Box<dyn Any + Send>>),
) {
    let (mut main, mut ended) = (spawn_main(running, main), Some(ended));
    loop {
        let next = running.turn();
        if ended.is_some()
            && let Some(result) = finished(&mut main)
            && let Some(ended) = ended.take()
        {
            running.shard().mesh().retire();
            ended(result);
        }
        if ended.is_none() && running.shard().mesh().all_are_retired() {
            return;
        }
        if running.shard().scope().is_cancelled() {
            if let Some(ended) = ended.take() {
                ended(Ok(Ok(())));
            }
            return;
        }
        running.park(next);
    }
}

pub(crate) fn spawn_main<T: 'static>(running: &Running, main: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    running.shard().spawn(main).expect("a new shard has room for a task")
}

/// The result of a task that has ended. A panic is handed on as such.
pub(crate) fn finished<T: 'static>(task: &mut JoinHandle<T>) -> Option<Result<T, Box<dyn Any + Send>>> {
    if !task.is_finished() {
        return None;
    }
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(task).poll(&mut cx) {
        Poll::Ready(Ok(value)) => Some(Ok(value)),
        Poll::Ready(Err(crate::JoinError::Panicked(payload))) => Some(Err(payload)),
        Poll::Ready(Err(crate::JoinError::Cancelled)) => Some(Err(Box::new("the shard ended first"))),
        Poll::Pending => None,
    }
}

#[allow(clippy::disallowed_methods, reason = "the coordinator is no shard: it waits on a real clock")]
fn now() -> Instant {
    Instant::now()
}

/// The second signal: nothing is finished any more. The exit status is the shell's for a death by signal.
fn end_at_once(signal: i32) -> ! {
    tracing::warn!(signal, "a second signal: ending at once");
    std::process::exit(128 + signal)
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Setup(reason) => f.write_str(reason),
            RunError::Main { error, .. } => write!(f, "{error}"),
            RunError::Panicked { shard, text } => write!(f, "`main` panicked on shard {shard}: {text}"),
            RunError::DrainTimedOut => f.write_str("the drain limit passed before all work was finished"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for RunError<E> {}

/// Reads the backend to take from `SHARDWISE_BACKEND`; the fastest if it is not set.
pub(crate) fn choice_from_environment() -> Result<Choice, String> {
    match std::env::var("SHARDWISE_BACKEND") {
        Ok(name) => name.parse().map_err(|error| format!("SHARDWISE_BACKEND: {error}")),
        Err(_) => Ok(Choice::Auto),
    }
}

/// Reads the ring features to leave out from `SHARDWISE_URING_MASK`.
pub fn features_from_environment() -> Result<Features, String> {
    match std::env::var("SHARDWISE_URING_MASK") {
        Ok(mask) => mask.parse().map_err(|error| format!("SHARDWISE_URING_MASK: {error}")),
        Err(_) => Ok(Features::ALL),
    }
}
