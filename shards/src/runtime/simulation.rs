//! Shards on a simulated machine: a whole multi-shard program and its clients in one thread, on virtual time, repeatably.
//!
//! The same `main` that a [`Runtime`](crate::Runtime) runs on threads runs here on as many shards as wanted. Shards are
//! turned one after another until none has anything left to do at this moment; then the clock jumps to whatever comes
//! next. So a timeout of an hour costs nothing, and the same seed gives the same run.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;

use platform::sim::{Machine, Plan};
use platform::{BackendKind, Config, Reactor, Unparker};

use super::start::Start;
use super::{finished, spawn_main};
use crate::limits::SIMULATED_TURN;
use crate::shard::{Running, Seed};
use crate::{JoinHandle, Remote, Shard};

/// A simulated machine and the shards that run on it.
///
/// ```
/// use shardwise_shards::Simulation;
/// use std::time::Duration;
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
    machine: Machine,
    config: Config,
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
        Simulation { members: Vec::new(), machine, config }
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
        let mut remotes = Vec::new();
        for number in 0..count {
            let running = self.running(number, count, &start);
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

    /// Runs everything until `client`, on a shard of its own, has ended, and returns what it gives.
    ///
    /// Panics if a `main` panics, or when everyone waits for something that cannot happen; the text names the seed.
    pub fn run<T, F>(&mut self, client: F) -> T
    where
        T: 'static,
        F: AsyncFnOnce(Shard) -> T + 'static,
    {
        let start = Start::new(1);
        let running = self.running(0, 1, &start);
        let shard = running.shard().clone();
        let mut client = spawn_main(&running, async move { client(shard).await });
        self.members.push(Member { running, main: None, start });
        let output = loop {
            self.round();
            if let Some(output) = finished(&mut client) {
                break output;
            }
            if !self.pass_time() {
                panic!(
                    "the simulation is stuck (seed {}): everyone waits for something that cannot happen",
                    self.seed()
                );
            }
        };
        self.members.pop();
        output.unwrap_or_else(|panic| self.fail(panic))
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

    /// One turn of every shard.
    fn round(&mut self) {
        for member in &mut self.members {
            let next = member.running.turn();
            member.running.park(next);
        }
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if let Some(main) = &mut member.main
                && let Some(result) = finished(main)
            {
                member.main = None;
                member.start.ended(member.running.shard().number());
                if let Err(panic) = result {
                    self.fail(panic);
                }
            }
        }
    }

    /// Lets the clock move on: a little while tasks are ready, else to whatever comes next. False if nothing does.
    fn pass_time(&self) -> bool {
        if self.members.iter().any(|member| member.running.is_ready()) {
            self.machine.advance(self.machine.now() + SIMULATED_TURN);
            return true;
        }
        self.machine.advance_to_next()
    }

    fn running(&self, number: usize, count: usize, start: &Arc<Start>) -> Running {
        let seed =
            Seed { number, count, why: Arc::from("a simulation"), start: Arc::clone(start), stats: Arc::default() };
        let reactor = Reactor::simulated(&self.machine, &self.config);
        // Shards of one thread wake each other through their worlds; nobody sleeps in a system call.
        let unparker = Unparker::new(BackendKind::Sim).expect("nothing is needed");
        Running::new(seed, reactor, unparker).expect("a free world for a simulated shard")
    }

    fn seed(&self) -> u64 {
        self.machine.seed()
    }

    fn fail(&self, panic: Box<dyn Any + Send>) -> ! {
        eprintln!("the simulation failed with seed {}", self.seed());
        resume_unwind(panic)
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
