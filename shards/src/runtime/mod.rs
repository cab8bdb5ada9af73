//! The runtime: starts one pinned thread per shard, all of them or none, runs the same `main` on each, and ends them in
//! order.
//!
//! The thread that calls [`run`](Builder::run) becomes the coordinator: it decides where shards run and on which backend,
//! waits for signals and for shards to end, and serves nobody. The first SIGTERM or SIGINT begins the drain: for a notice's
//! time the process only says that it is not ready, then shards take on no new work and finish what they have, within the
//! drain limit; a second one ends the process at once. SIGUSR2 starts a successor, which is left the listening sockets; once
//! that serves, this process drains.

pub(crate) mod heritage;
mod manager;
mod restart;
mod signals;
pub mod simulation;
pub(crate) mod start;
pub(crate) mod strays;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use platform::topology::{CpuId, Placement, Topology};
use platform::{BackendKind, Choice, Config, Features, Ferry, Reactor, Selection, Socket, Unparker};

use crate::inbox::Remote;
use crate::limits::{CLAIM_TIME_MAX, DRAIN_TIME_MAX, OFFLOAD_LOOK_EVERY, SPIN_TIME_MAX, START_TIME_MAX, STOP_TIME_MAX};
use crate::models::offload::{Bounds, Offloader, Pool};
use crate::scope::Cause;
use crate::shard::{Running, Seed, panic_text};
use crate::stats::ShardStats;
use crate::{JoinHandle, Shard};
use heritage::{Heritage, Kept, Left, Purpose};
use manager::Managed;
use restart::{Bequest, Predecessor, Program, Successor};
use start::Start;
use strays::Neighbour;

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
    drain_notice: Duration,
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
    phase: Arc<AtomicU8>,
    heritage: Arc<Heritage>,
}

/// How far a runtime's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It starts or serves.
    Serving,
    /// It serves as before, and says that it is not ready, so that no more is sent its way.
    Noticed,
    /// It takes on nothing new and finishes what is in hand.
    Draining,
    /// The drain limit has passed: what is left is dropped.
    Stopping,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Phase; 4] = [Phase::Serving, Phase::Noticed, Phase::Draining, Phase::Stopping];

    /// What it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Serving => "serving",
            Phase::Noticed => "noticed",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
        }
    }
}

/// A listening socket for threads beside the shards, which a successor gets with the others.
#[derive(Debug)]
pub struct Outside {
    /// The socket; calls on it wait.
    pub listener: TcpListener,
    _kept: Vec<Kept>,
}

impl From<TcpListener> for Outside {
    /// One that no successor gets.
    fn from(listener: TcpListener) -> Self {
        Outside { listener, _kept: Vec::new() }
    }
}

impl Fleet {
    /// How far its life has come.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// Listens for threads beside the shards: on a socket that another process has left for this address, or a new one.
    ///
    /// Errors: the address cannot be had.
    pub fn listen(&self, address: SocketAddr) -> std::io::Result<Outside> {
        let socket = match self.heritage.claim(Purpose::Outside, address).into_iter().next() {
            Some(socket) => socket,
            None => TcpListener::bind(address)?.into(),
        };
        let (_, _kept) = self.heritage.hold(Purpose::Outside, address, std::slice::from_ref(&socket));
        let listener = socket.into_listener().map_err(std::io::Error::other)?;
        Ok(Outside { listener, _kept })
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
    /// The process was told to end, or to restart.
    Signal(i32),
    /// All shards serve.
    AllServe,
    /// What has become of the successor: it serves, with these of what it was left; or it does not, and why.
    Successor(Result<Vec<usize>, String>),
    /// The predecessor was told to end, and takes this process with it.
    Stop,
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
            drain_notice: Duration::ZERO,
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

    /// How long it serves as before once it was told to end, and only says that it is not ready: as long as whoever sends
    /// requests its way (a load balancer, Kubernetes) takes to notice that. Not at all by default. The drain begins after it.
    /// A successor that serves makes it needless: a hot restart does without.
    pub fn drain_notice(mut self, time: Duration) -> Self {
        self.drain_notice = time;
        self
    }

    /// How long a drain may take; 30 s by default. What is not finished by then is dropped.
    pub fn drain_time_max(mut self, time: Duration) -> Self {
        self.drain_time_max = time;
        self
    }

    /// Whether SIGTERM and SIGINT begin the drain, and SIGUSR2 a hot restart; they do by default.
    pub fn handle_signals(mut self, yes: bool) -> Self {
        self.handle_signals = yes;
        self
    }

    /// Whether a start says in a few log lines what stands; it does by default.
    pub fn announce(mut self, yes: bool) -> Self {
        self.announce = yes;
        self
    }

    /// How long an idle shard looks for something to do before it sleeps, be it a message of another shard or a completion; not
    /// at all by default, and [`SPIN_TIME_MAX`] at the most. It saves the wake-up where things come in quick succession, some 20 us
    /// of each answer, and takes all of the CPU meanwhile. After a wait that was longer than this it looks half as long.
    /// Shards that outnumber the CPUs never do.
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
        E: fmt::Display + Send + 'static,
        F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
    {
        self.run_with(|_| Ok(()), main)
    }

    /// Like [`run`](Builder::run), and calls `started` once all shards stand, before any `main` runs: for what watches them
    /// from outside. What it gives is dropped when the shards have ended, or a successor has taken over.
    pub fn run_with<E, F, W>(
        self,
        started: impl FnOnce(&Fleet) -> Result<W, String>,
        main: F,
    ) -> Result<(), RunError<E>>
    where
        E: fmt::Display + Send + 'static,
        F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
    {
        let predecessor = Predecessor::find().map_err(RunError::Setup)?;
        let outcome = self.run_after(predecessor.as_ref(), started, main);
        if let (Some(predecessor), Err(error)) = (predecessor, &outcome) {
            predecessor.failed(&error.to_string());
        }
        outcome
    }

    fn run_after<E, F, W>(
        self,
        predecessor: Option<&Predecessor>,
        started: impl FnOnce(&Fleet) -> Result<W, String>,
        main: F,
    ) -> Result<(), RunError<E>>
    where
        E: fmt::Display + Send + 'static,
        F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
    {
        let program = Program::of_process();
        let plan = self.plan(predecessor).map_err(RunError::Setup)?;
        let managed = Managed::of_process(now());
        let main = Arc::new(main);
        let (events, inbox) = channel();
        let serving = events.clone();
        // Without a coordinator nobody wants to know.
        plan.start.when_all_serve(move || _ = serving.send(Event::AllServe));
        if let Some(predecessor) = predecessor {
            predecessor.listen(events.clone()).map_err(RunError::Setup)?;
        }
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
        let mut coordinator = Coordinator {
            plan: &plan,
            inbox,
            events,
            remotes: Vec::new(),
            phase: Arc::default(),
            drain_notice: self.drain_notice,
            drain_time_max: self.drain_time_max,
            notice_end: None,
            drain_end: None,
            claim_end: None,
            threads_started: 0,
            managed,
            program,
            predecessor,
            successor: None,
            watcher: None,
        };
        let outcome = coordinator.conduct(gates, self.announce, started);
        if let Some(signals) = signals {
            signals.close();
        }
        outcome
    }

    /// Decides what can be decided before any thread starts.
    fn plan(&self, predecessor: Option<&Predecessor>) -> Result<Plan, String> {
        let topology = Topology::read();
        let placement = topology.place(self.shards, self.oversubscribe).map_err(|error| error.to_string())?;
        let (selection, config) = self.select()?;
        let count = placement.shards.len();
        let (mut left, keepsakes, ferry) = match predecessor {
            Some(predecessor) => predecessor.leaves(selection.kind)?,
            None => Default::default(),
        };
        left.extend(of_service_manager()?);
        let heritage = Heritage::new(self.handle_signals, left, keepsakes);
        if let Some(ferry) = ferry {
            let tied = heritage.ferries().tie_to_predecessor(ferry);
            tied.map_err(|error| format!("no thread for datagrams of the process before this one: {error}"))?;
        }
        Ok(Plan {
            why: Arc::from(selection.why.as_str()),
            start: Start::with(count, Arc::clone(&heritage)),
            heritage,
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
    heritage: Arc<Heritage>,
    stats: Vec<Arc<ShardStats>>,
    pool: Arc<Pool>,
}

struct Coordinator<'a, E, W> {
    plan: &'a Plan,
    inbox: Receiver<Event<E>>,
    events: Sender<Event<E>>,
    /// Those that stand, by number.
    remotes: Vec<Option<Remote>>,
    phase: Arc<AtomicU8>,
    drain_notice: Duration,
    drain_time_max: Duration,
    /// When the notice is over.
    notice_end: Option<Instant>,
    /// When the drain must have ended, once it has begun; then, when the stop must.
    drain_end: Option<Instant>,
    /// When what nobody has claimed of what was left is let go.
    claim_end: Option<Instant>,
    /// Of the pool, so far.
    threads_started: usize,
    managed: Managed,
    program: std::io::Result<Program>,
    predecessor: Option<&'a Predecessor>,
    /// One that was started and has not said what has become of it.
    successor: Option<Successor>,
    /// What watches the shards from outside.
    watcher: Option<W>,
}

impl<E: Send + 'static, W> Coordinator<'_, E, W> {
    /// Sees the shards through their life.
    fn conduct(
        &mut self,
        gates: Vec<Sender<()>>,
        announce: bool,
        started: impl FnOnce(&Fleet) -> Result<W, String>,
    ) -> Result<(), RunError<E>> {
        self.gather()?;
        let fleet = self.fleet();
        if announce {
            self.announce();
        }
        self.watcher = Some(started(&fleet).map_err(RunError::Setup)?);
        for gate in gates {
            // A shard that has ended meanwhile reports it.
            let _ = gate.send(());
        }
        let outcome = self.attend();
        outcome.and(self.end_jobs())
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
                Ok(Event::Signal(signal)) if Some(signal) == signals::RESTART => {
                    tracing::warn!("no restart: this process is starting");
                }
                Ok(Event::Signal(_) | Event::Stop) => {
                    return Err(RunError::Setup("told to end while starting".to_owned()));
                }
                // No shard runs anything yet, and none is told of a successor.
                Ok(Event::ThreadWanted | Event::AllServe | Event::Successor(_)) => {}
                Err(_) => return Err(RunError::Setup("the shards did not start in time".to_owned())),
            }
        }
        Ok(())
    }

    /// Waits until all shards have ended, and begins the drain when a signal, a failure or a successor says so.
    fn attend(&mut self) -> Result<(), RunError<E>> {
        let mut running = self.remotes.len();
        let mut outcome = Ok(());
        while running > 0 {
            match self.next_event() {
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
                    self.drain();
                }
                Ok(Event::Signal(signal)) if Some(signal) == signals::RESTART => self.restart(),
                Ok(Event::Signal(signal)) if self.phase() > Phase::Serving => end_at_once(signal),
                Ok(Event::Signal(signal)) => self.end_in_order(signal),
                Ok(Event::Stop) if self.phase() == Phase::Serving => {
                    tracing::info!("draining: the process before this one was told to end");
                    self.drain();
                }
                Ok(Event::AllServe) => {
                    self.claim_end = Some(now() + CLAIM_TIME_MAX);
                    self.look_whether_ready();
                }
                Ok(Event::Successor(told)) => self.hear_of_successor(told),
                Ok(Event::ThreadWanted) => self.start_thread(),
                Ok(Event::Started { .. } | Event::Failed(_) | Event::Stop) => {}
                Err(RecvTimeoutError::Timeout) => match self.phase() {
                    _ if self.has_passed(self.drain_end) && self.phase() == Phase::Stopping => {
                        // A shard whose code never yields cannot be stopped; the process ends without it.
                        return outcome.and(Err(RunError::DrainTimedOut));
                    }
                    _ if self.has_passed(self.drain_end) => {
                        tracing::warn!(shards = running, "the drain limit has passed: what is left is dropped");
                        outcome = outcome.and(Err(RunError::DrainTimedOut));
                        self.enter(Phase::Stopping);
                        self.drain_end = Some(now() + STOP_TIME_MAX);
                        self.stop();
                    }
                    Phase::Noticed if self.has_passed(self.notice_end) => self.drain(),
                    _ => {
                        self.look_whether_ready();
                        self.managed.look(now(), &self.remotes);
                    }
                },
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread has a sender"),
            }
        }
        if self.phase() > Phase::Serving {
            tracing::info!("drained");
        }
        outcome
    }

    /// Waits for what comes next, until something is due at the longest.
    fn next_event(&self) -> Result<Event<E>, RecvTimeoutError> {
        let ends = [self.notice_end, self.drain_end, self.claim_end, self.managed.due()];
        match ends.into_iter().flatten().min() {
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => self.inbox.recv_timeout(at.saturating_duration_since(now())),
        }
    }

    fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn has_passed(&self, end: Option<Instant>) -> bool {
        end.is_some_and(|end| now() >= end)
    }

    /// All shards serve: whoever waits for that is told once everything that was left is claimed, or has waited long enough.
    fn look_whether_ready(&mut self) {
        let Some(end) = self.claim_end else { return };
        if !self.plan.heritage.is_claimed() && now() < end {
            return;
        }
        self.claim_end = None;
        let (claimed, unclaimed) = self.plan.heritage.settle();
        for address in unclaimed {
            tracing::warn!("no shard serves {address}, for which another process has left sockets");
        }
        match self.predecessor {
            Some(predecessor) => predecessor.ready(&claimed),
            None => self.managed.ready(),
        }
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    /// The first signal.
    fn end_in_order(&mut self, signal: i32) {
        if let Some(successor) = self.successor.take() {
            successor.stop();
        }
        self.managed.stopping();
        // What is said has happened: whoever reads it may look.
        if self.drain_notice.is_zero() {
            self.drain();
            tracing::info!(signal, limit = ?self.drain_time_max, "draining; a second signal ends at once");
            return;
        }
        let notice = self.drain_notice;
        self.enter(Phase::Noticed);
        self.notice_end = Some(now() + notice);
        tracing::info!(signal, ?notice, "not ready any more, and serving as before; a second signal ends at once");
    }

    /// Begins the drain.
    fn drain(&mut self) {
        if self.phase() >= Phase::Draining {
            return;
        }
        let was_noticed = self.notice_end.take().is_some();
        self.enter(Phase::Draining);
        self.drain_end = Some(now() + self.drain_time_max);
        for remote in self.remotes.iter().flatten() {
            // A shard that has stopped has nothing to drain.
            let _ = remote.send(Shard::drain);
        }
        if was_noticed {
            tracing::info!(limit = ?self.drain_time_max, "draining");
        }
    }

    fn stop(&self) {
        for remote in self.remotes.iter().flatten() {
            let _ = remote.send(|shard| shard.scope().cancel_for(Cause::ShardEnded));
        }
    }

    // ---- the hot restart ---------------------------------------------------------------------------------------------

    /// Starts a successor.
    fn restart(&mut self) {
        if self.phase() > Phase::Serving {
            return tracing::warn!("no restart: this process is ending");
        }
        if self.successor.is_some() {
            return tracing::warn!("no restart: one is under way");
        }
        let started = match &self.program {
            Ok(program) => {
                self.managed.reloading();
                let left = self.plan.heritage.bequeath();
                let bequest = Bequest { left, keepsakes: self.plan.heritage.keepsakes(), ferry: self.ferry() };
                Successor::start(program, bequest, self.plan.selection.kind, self.events.clone())
            }
            Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
        };
        match started {
            Ok(successor) => {
                tracing::info!(id = successor.id, "a successor starts");
                self.successor = Some(successor);
            }
            Err(error) => {
                tracing::error!("no successor, and this process serves on: {error}");
                self.managed.ready();
            }
        }
    }

    /// The other end of the way of datagrams to a successor, if any come here.
    fn ferry(&self) -> Option<Socket> {
        let ferries = self.plan.heritage.ferries();
        let tie = || {
            let (here, there) = Ferry::pair().map_err(|error| std::io::Error::other(error.to_string()))?;
            ferries.tie(Neighbour::Successor, here).map(|()| there)
        };
        let tied = ferries.is_needed().then(tie)?;
        tied.inspect_err(|error| tracing::warn!("connections over datagrams will be lost to the successor: {error}"))
            .ok()
    }

    fn hear_of_successor(&mut self, told: Result<Vec<usize>, String>) {
        // This process was told to end meanwhile, and has told the successor.
        let Some(successor) = self.successor.take() else { return };
        match told {
            Ok(claimed) => {
                // It watches its own shards. What is asked here until then finds a process that serves.
                self.watcher = None;
                tracing::info!(id = successor.id, limit = ?self.drain_time_max, "draining: the successor serves");
                self.plan.heritage.taken(&claimed);
                self.managed.succeeded_by(successor.id);
                successor.go();
                self.drain();
            }
            Err(why) => {
                tracing::error!(id = successor.id, "the successor has failed, and this process serves on: {why}");
                self.managed.ready();
            }
        }
    }

    // ---- offloaded jobs ----------------------------------------------------------------------------------------------

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
    fn end_jobs(&mut self) -> Result<(), RunError<E>> {
        let pool = &self.plan.pool;
        pool.close();
        let mut is_told = self.drain_end.is_some();
        let deadline = self.drain_end.unwrap_or_else(|| now() + self.drain_time_max);
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

    fn fleet(&self) -> Fleet {
        Fleet {
            remotes: self.remotes.iter().flatten().cloned().collect(),
            stats: self.plan.stats.clone(),
            cpus: self.plan.placement.shards.clone(),
            selection: self.plan.selection.clone(),
            phase: Arc::clone(&self.phase),
            heritage: Arc::clone(&self.plan.heritage),
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

/// What a service manager has opened for this process.
fn of_service_manager() -> Result<Vec<Left>, String> {
    let sockets = platform::service_sockets()?;
    let mut all = Vec::<Left>::new();
    for (name, socket) in sockets {
        let address = socket.local_address().map_err(|error| format!("the socket \"{name}\": {error}"))?;
        tracing::info!("the service manager has opened {address} (\"{name}\")");
        match all.iter_mut().find(|left| left.address == address) {
            Some(left) => left.sockets.push(socket),
            // No predecessor numbers as high.
            None => all.push(Left { number: usize::MAX, purpose: None, address, sockets: vec![socket] }),
        }
    }
    Ok(all)
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Main { error, .. } => write!(f, "{error}"),
            RunError::Setup(reason) => f.write_str(reason),
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
