//! What takes the place of threads on a simulated machine. The one idea: a seat is free, comes for a job at a moment that
//! the seed decides, or has one until another such moment; then the job runs, on the simulation's own thread, as if others had
//! worked on it meanwhile. So a job that has begun and not ended can be cancelled, as on a real machine, and which of those
//! that wait begins first is left to chance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Job, Pool, Waiting};
use crate::limits::{SIMULATED_JOB_TIME_MAX, SIMULATED_THREAD_WAKE_MAX};

/// All seats of a pool; as many as were needed at the same time.
#[derive(Default)]
pub(super) struct Seats(Vec<Seat>);

enum Seat {
    Free,
    /// Takes a job at this time.
    Comes(Instant),
    /// Runs it at this time.
    Busy(Instant, Arc<dyn Job>),
}

impl Seats {
    /// A job waits: lets a free seat come for it, if there is one or may be one more.
    pub(super) fn wake(&mut self, count_max: usize, now: Instant, chance: u64) {
        let at = now + part(SIMULATED_THREAD_WAKE_MAX, chance);
        match self.0.iter().position(|seat| matches!(seat, Seat::Free)) {
            Some(free) => self.0[free] = Seat::Comes(at),
            None if self.0.len() < count_max => self.0.push(Seat::Comes(at)),
            // One that is busy looks for the next job when it has ended.
            None => {}
        }
    }

    /// The seat for which something happens first, and when.
    fn next(&self) -> Option<(Instant, usize)> {
        let due = |(index, seat): (usize, &Seat)| match seat {
            Seat::Free => None,
            Seat::Comes(at) | Seat::Busy(at, _) => Some((*at, index)),
        };
        self.0.iter().enumerate().filter_map(due).min()
    }
}

impl Pool {
    /// When something happens next in a simulated pool.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.lock().seats.next().map(|(at, _)| at)
    }

    /// Lets happen what happens until now.
    pub(crate) fn happen(&self, now: Instant) {
        loop {
            let mut inside = self.lock();
            let Some((at, index)) = inside.seats.next().filter(|(at, _)| *at <= now) else { return };
            let seat = std::mem::replace(&mut inside.seats.0[index], Seat::Free);
            if let Seat::Busy(_, job) = seat {
                drop(inside);
                job.run(self);
                inside = self.lock();
            }
            if let Some((chance, job)) = inside.begin_by_chance() {
                job.begin();
                inside.seats.0[index] = Seat::Busy(at + part(SIMULATED_JOB_TIME_MAX, chance.rotate_left(32)), job);
            }
        }
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
