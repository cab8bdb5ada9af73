//! Shards on a simulated machine: a whole multi-shard program and its clients in one thread, on virtual time, repeatably.
//!
//! The same `main` that a [`Runtime`](crate::Runtime) runs on threads runs here on as many shards as wanted. Shards are
//! turned one after another until none has anything left to do at this moment; then the clock jumps to whatever comes
//! next. So a timeout of an hour costs nothing, and the same seed gives the same run. A shard that the machine keeps off its
//! CPU is passed over until it may run again.

use std::cell::RefCell;
use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::sim::{Machine, Plan};
use platform::{Config, Reactor};

use super::start::Start;
use super::{finished, spawn_main};
use crate::limits::{SIMULATED_CPUS, SIMULATED_TURN};
use crate::models::offload::{Bounds, Offloader, Pool, SimulatedPool};
use crate::models::{StandIn, StandIns};
use crate::shard::{Running, Seed};
use crate::{JoinHandle, Remote, Shard, SpawnError};

/// A simulated machine and the shards that run on it.
///
/// ```
/// use shardwise_shards::Simulation;
/// use std::time::{Duration, Instant};
///
/// let mut simulation = Simulation::new(7);
/// let slept = simulation.run(async |shard| {
///     let before = shard.now();
///     shard.sleep(Duration::from_secs(3600)).await;
///     shard.now() - before
/// });
/// assert!(slept >= Duration::from_secs(3600), "an hour of virtual time");
/// ```
pub struct Simulation {
    // In this order: shards end before the machine they run on.
    members: Vec<Member>,
    /// What programs have offloaded; it may go on when they have ended.
    pools: Vec<SimulatedPool>,
    /// Plain threads that have not ended.
    threads: Vec<StandIn>,
    stand_ins: StandIns,
    machine: Machine,
    config: Config,
    offload: Bounds,
}

/// One shard of a program.
struct Member {
    running: Running,
    /// Its `main`, until it has ended.
    main: Option<JoinHandle<()>>,
    start: Arc<Start>,
}

/// A program that was started on a number of shards.
#[derive(Debug)]
pub struct Program<E> {
    /// Its shards, in order.
    pub remotes: Vec<Remote>,
    results: Results<E>,
}

/// What `main` returned on each shard, where it has ended.
type Results<E> = Rc<RefCell<Vec<Option<Result<(), E>>>>>;

impl Simulation {
    /// A machine on which nothing goes wrong, with everything else decided by the seed.
    pub fn new(seed: u64) -> Self {
        Simulation::on(Machine::new(seed), Config::default())
    }

    /// A machine on which things go wrong as planned.
    pub fn with_plan(seed: u64, plan: Plan, config: Config) -> Self {
        Simulation::on(Machine::with_plan(seed, plan), config)
    }

    fn on(machine: Machine, config: Config) -> Self {
        let offload = Bounds::new(SIMULATED_CPUS, None, None);
        let stand_ins = StandIns::plain(&machine, config.stacks);
        let (members, pools, threads) = (Vec::new(), Vec::new(), Vec::new());
        Simulation { members, pools, threads, stand_ins, machine, config, offload }
    }

    /// How many threads run what is [offloaded](Shard::offload), and how many jobs of each shard may wait, for programs that
    /// start from now on: as [`Builder::offload_threads`](crate::Builder::offload_threads) and
    /// [`Builder::offload_queue`](crate::Builder::offload_queue), for a machine with [`SIMULATED_CPUS`].
    pub fn set_offload(&mut self, threads: Option<usize>, queue: Option<usize>) {
        self.offload = Bounds::new(SIMULATED_CPUS, threads, queue);
    }

    /// The machine: its clock, its files, its trace.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Starts `main` on `count` shards; it runs as time passes, in [`run`](Simulation::run).
    pub fn start<E, F>(&mut self, count: usize, main: F) -> Program<E>
    where
        E: 'static,
        F: AsyncFn(Shard) -> Result<(), E> + 'static,
    {
        let main = Rc::new(main);
        let results = Rc::new(RefCell::new((0..count).map(|_| None).collect::<Vec<_>>()));
        let start = Start::new(count);
        let pool = self.pool(count);
        let mut remotes = Vec::new();
        for number in 0..count {
            let running = self.running(number, count, &start, &pool);
            remotes.push(running.shard().remote());
            let (shard, main, results) = (running.shard().clone(), Rc::clone(&main), Rc::clone(&results));
            let main = spawn_main(&running, async move {
                let result = main(shard).await;
                results.borrow_mut()[number] = Some(result);
            });
            self.members.push(Member { running, main: Some(main), start: Arc::clone(&start) });
        }
        Program { remotes, results }
    }

    /// Starts a plain thread of the machine, which runs no shard of a program: [`Model::Thread`](crate::Model::Thread), whose
    /// waits drive a private shard on the machine. It runs as time passes; a panic of its goes on with whoever lets it pass. It
    /// is unwound where it waits when the simulation ends.
    ///
    /// Errors: there are as many as may be, the system has no memory for a stack, or the processor's cannot be switched.
    ///
    /// ```
    /// use shardwise_shards::{Shard, Simulation, Wait};
    /// use std::time::Duration;
    ///
    /// let mut simulation = Simulation::new(1);
    /// simulation.thread(|| Shard::here().sleep(Duration::from_secs(3600)).wait().unwrap()).unwrap();
    /// simulation.run_to_end();
    /// assert!(simulation.machine().elapsed() >= Duration::from_secs(3600));
    /// ```
    pub fn thread(&mut self, work: impl FnOnce() + 'static) -> Result<(), SpawnError> {
        self.threads.push(self.stand_ins.stand_in(work).map_err(SpawnError::NoStack)?);
        Ok(())
    }

    /// Runs everything until `client`, on a shard of its own, has ended, and returns what it gives.
    ///
    /// Panics if a `main` panics, or when everyone waits for something that cannot happen.
    pub fn run<T, F>(&mut self, client: F) -> T
    where
        T: 'static,
        F: AsyncFnOnce(Shard) -> T + 'static,
    {
        let start = Start::new(1);
        let pool = self.pool(1);
        let running = self.running(0, 1, &start, &pool);
        let shard = running.shard().clone();
        let mut client = spawn_main(&running, async move { client(shard).await });
        self.members.push(Member { running, main: None, start });
        let output = loop {
            self.round();
            if let Some(output) = finished(&mut client) {
                break output;
            }
            if !self.pass_time() {
                panic!("the simulation is stuck: everyone waits for something that cannot happen; {}", self.replay());
            }
        };
        self.members.pop();
        output.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Lets everything run until nothing is left that could happen.
    pub fn run_to_end(&mut self) {
        loop {
            self.round();
            if !self.pass_time() {
                return;
            }
        }
    }

    /// Lets everything run for this long.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, || false);
    }

    /// Lets everything run until `is_done` says so, for `time_max` at the most, and says whether it came to that. Unlike
    /// [`run_to_end`](Simulation::run_to_end) it returns also from a program that never has nothing to do.
    pub fn run_until(&mut self, time_max: Duration, mut is_done: impl FnMut() -> bool) -> bool {
        let end = self.machine.now() + time_max;
        loop {
            self.round();
            if is_done() {
                return true;
            }
            match self.next_moment() {
                Some(at) if at <= end => self.machine.advance(at),
                _ if self.machine.now() >= end => return false,
                _ => self.machine.advance(end),
            }
        }
    }

    /// What is offloaded and due, threads that may run, and one turn of every shard that may.
    fn round(&mut self) {
        let now = self.machine.now();
        self.pools.iter_mut().for_each(|pool| pool.happen(now));
        self.threads.retain_mut(|thread| thread.is_stalled() || !thread.go_on());
        for member in self.members.iter_mut().filter(|member| !member.running.is_stalled()) {
            let next = member.running.turn();
            member.running.park(next);
        }
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if let Some(main) = &mut member.main
                && let Some(result) = finished(main)
            {
                member.main = None;
                member.running.shard().mesh().retire();
                member.start.ended(member.running.shard().number());
                if let Err(panic) = result {
                    resume_unwind(panic);
                }
            }
        }
        self.end_cancelled();
    }

    /// A shard whose scope is cancelled ends, as on a thread of its own.
    fn end_cancelled(&mut self) {
        self.members.retain(|member| {
            let is_cancelled = member.running.shard().scope().is_cancelled();
            if is_cancelled {
                member.start.ended(member.running.shard().number());
            }
            !is_cancelled
        });
    }

    /// Lets the clock move on to the next moment. False if there is none.
    fn pass_time(&self) -> bool {
        let next = self.next_moment();
        if let Some(at) = next {
            self.machine.advance(at);
        }
        next.is_some()
    }

    /// When it goes on: a little later while tasks are ready, else when something comes next.
    fn next_moment(&self) -> Option<Instant> {
        let is_ready = |member: &Member| member.running.is_ready() && !member.running.is_stalled();
        let may_go_on = |thread: &StandIn| thread.is_ready() && !thread.is_stalled();
        let is_ready = self.members.iter().any(is_ready)
            || self.pools.iter().any(SimulatedPool::is_ready)
            || self.threads.iter().any(may_go_on);
        match is_ready {
            true => Some(self.machine.now() + SIMULATED_TURN),
            false => {
                self.machine.next_event().into_iter().chain(self.pools.iter().filter_map(SimulatedPool::next_at)).min()
            }
        }
    }

    /// The threads of a program that begins; those of programs that have ended are forgotten.
    fn pool(&mut self, shards: usize) -> Arc<Pool> {
        self.pools.retain(SimulatedPool::is_needed);
        let pool = SimulatedPool::new(shards, self.offload, &self.machine, self.config.stacks);
        let shared = Arc::clone(pool.shared());
        self.pools.push(pool);
        shared
    }

    fn running(&self, number: usize, count: usize, start: &Arc<Start>, pool: &Arc<Pool>) -> Running {
        let seed = Seed {
            number,
            count,
            why: Arc::from("a simulation"),
            start: Arc::clone(start),
            stats: Arc::default(),
            spin_time_max: Duration::ZERO,
            offloader: Offloader::simulated(pool),
            stacks: self.config.stacks,
        };
        let reactor = Reactor::simulated(&self.machine, &self.config);
        // Shards of one thread wake each other through their worlds; nobody sleeps in a system call.
        Running::new(seed, reactor, || {}).expect("a free world for a simulated shard")
    }

    /// How whoever reads of a failure sees it happen again.
    fn replay(&self) -> String {
        format!("replay with SHARDWISE_SEED={}", self.seed())
    }

    fn seed(&self) -> u64 {
        self.machine.seed()
    }
}

/// A failing test names its seed, whoever has failed: a shard, a client, or the test that looked at what came of them.
impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation has failed; {}", self.replay());
        }
    }
}

impl<E> Program<E> {
    /// Begins the drain on all shards.
    pub fn drain(&self) {
        for remote in &self.remotes {
            // A shard that has ended has nothing to drain.
            let _ = remote.send(Shard::drain);
        }
    }

    /// What `main` returned on each shard so far; `None` where it still runs.
    pub fn results(&self) -> Vec<Option<Result<(), E>>>
    where
        E: Clone,
    {
        self.results.borrow().clone()
    }

    /// Whether `main` has ended on all shards.
    pub fn has_ended(&self) -> bool {
        self.results.borrow().iter().all(Option::is_some)
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("seed", &self.seed()).field("shards", &self.members.len()).finish()
    }
}
