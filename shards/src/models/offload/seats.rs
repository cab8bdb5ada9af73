//! What takes the place of threads on a simulated machine. The one idea: a seat is free, comes for a job at a moment that
//! the seed decides, or has one until another such moment; then the job runs, on the simulation's own thread, as if others had
//! worked on it meanwhile. So a job that has begun and not ended can be cancelled, as on a real machine, and which of those
//! that wait begins first is left to chance. A job that waits stops there, as a [`StandIn`], and keeps its seat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::sim::Machine;
use platform::stack::StackSize;

use super::{Bounds, Job, Pool, Waiting};
use crate::limits::{SIMULATED_JOB_TIME_MAX, SIMULATED_THREAD_WAKE_MAX};
use crate::models::stand_in::{StandIn, StandIns};

/// A simulated pool as whoever drives the simulation has it: what is shared, and the jobs that wait.
#[derive(Debug)]
pub(crate) struct SimulatedPool {
    pool: Arc<Pool>,
    stand_ins: StandIns,
    /// By the seats that they have.
    stopped: BTreeMap<usize, StandIn>,
}

/// All seats of a pool; as many as were needed at the same time. They never get fewer.
#[derive(Default)]
pub(super) struct Seats(Vec<Seat>);

enum Seat {
    Free,
    /// Takes a job at this time.
    Comes(Instant),
    /// Runs it at this time.
    Busy(Instant, Arc<dyn Job>),
    /// Its job runs, or has stopped and waits.
    Running,
}

/// What happens with a seat, and when.
struct Due {
    at: Instant,
    index: usize,
    /// What it runs, if it has anything.
    job: Option<Arc<dyn Job>>,
}

impl Seats {
    /// A job waits: lets a free seat come for it, if there is one or may be one more.
    pub(super) fn wake(&mut self, count_max: usize, now: Instant, chance: u64) {
        let at = now + part(SIMULATED_THREAD_WAKE_MAX, chance);
        match self.0.iter().position(|seat| matches!(seat, Seat::Free)) {
            Some(free) => self.0[free] = Seat::Comes(at),
            None if self.0.len() < count_max => self.0.push(Seat::Comes(at)),
            // One that has a job looks for the next job when it has ended.
            None => {}
        }
    }

    /// The seat for which something happens first, and when.
    fn next(&self) -> Option<(Instant, usize)> {
        let due = |(index, seat): (usize, &Seat)| match seat {
            Seat::Free | Seat::Running => None,
            Seat::Comes(at) | Seat::Busy(at, _) => Some((*at, index)),
        };
        self.0.iter().enumerate().filter_map(due).min()
    }
}

impl SimulatedPool {
    /// The pool of a program that begins on this machine.
    pub(crate) fn new(shards: usize, bounds: Bounds, machine: &Machine, green_stacks: StackSize) -> Self {
        let stand_ins = StandIns::in_pool(machine, green_stacks, bounds.threads_max);
        SimulatedPool { pool: Pool::simulated(shards, bounds), stand_ins, stopped: BTreeMap::new() }
    }

    /// What the shards have of it.
    pub(crate) fn shared(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether anyone may still give it jobs, or it has any.
    pub(crate) fn is_needed(&self) -> bool {
        Arc::strong_count(&self.pool) > 1 || !self.stopped.is_empty() || self.next_at().is_some()
    }

    /// When something happens next that is its own doing: what jobs wait for is the machine's.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.pool.lock().seats.next().map(|(at, _)| at)
    }

    /// Whether a job that waits could go on at this moment.
    pub(crate) fn is_ready(&self) -> bool {
        self.stopped.values().any(|job| job.is_ready() && !job.is_stalled())
    }

    /// Lets happen what happens until now: jobs that wait go on, seats come, and jobs run whose time has come.
    pub(crate) fn happen(&mut self, now: Instant) {
        let SimulatedPool { pool, stand_ins, stopped } = self;
        stopped.retain(|index, job| {
            let has_ended = !job.is_stalled() && job.go_on();
            if has_ended {
                pool.begin_next(*index, now);
            }
            !has_ended
        });
        while let Some(Due { at, index, job }) = pool.next_due(now) {
            let shared = Arc::clone(pool);
            let stops = job.and_then(|job| stand_ins.run(move || job.run(&shared)));
            match stops {
                Some(stand_in) => drop(stopped.insert(index, stand_in)),
                None => pool.begin_next(index, at),
            }
        }
    }
}

impl Pool {
    /// The seat for which something happens until now. It is taken until [`begin_next`](Pool::begin_next).
    fn next_due(&self, now: Instant) -> Option<Due> {
        let mut inside = self.lock();
        let (at, index) = inside.seats.next().filter(|(at, _)| *at <= now)?;
        let job = match std::mem::replace(&mut inside.seats.0[index], Seat::Running) {
            Seat::Busy(_, job) => Some(job),
            Seat::Free | Seat::Comes(_) | Seat::Running => None,
        };
        Some(Due { at, index, job })
    }

    /// Gives a seat one of the jobs that wait, if there are any, from this moment on.
    fn begin_next(&self, index: usize, at: Instant) {
        let mut inside = self.lock();
        inside.seats.0[index] = match inside.begin_by_chance() {
            Some((chance, job)) => {
                job.begin();
                Seat::Busy(at + part(SIMULATED_JOB_TIME_MAX, chance.rotate_left(32)), job)
            }
            None => Seat::Free,
        };
    }
}

impl Waiting {
    /// Takes one of those that wait.
    fn begin_by_chance(&mut self) -> Option<(u64, Arc<dyn Job>)> {
        let queues = self.queues.iter().enumerate();
        let all =
            queues.flat_map(|(shard, queue)| queue.iter().enumerate().map(move |(place, job)| (job, shard, place)));
        let (queued, shard, place) = all.min_by_key(|(queued, _, _)| (queued.chance.rotate_left(16), queued.ticket))?;
        let chance = queued.chance;
        Some((chance, self.begin(shard, place)?))
    }
}

/// Some part of a time.
fn part(time: Duration, chance: u64) -> Duration {
    Duration::from_nanos(1 + chance % time.as_nanos() as u64)
}
