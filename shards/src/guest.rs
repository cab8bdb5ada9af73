//! Guests: shards on threads that belong to somebody else, for moving a service over step by step.
//!
//! A [`Guest`] is a shard like any other, with a backend of its own. Only it has no thread: a host's event loop (a tokio
//! runtime, a glommio executor) calls it and waits in its place, for its [bell](Guest::bell) and for its next moment. Each
//! call is one turn, so the host gets its thread back within [`TURN_TIME_MAX`](crate::limits::TURN_TIME_MAX) unless a task
//! blocks. What a host can do is a [`Host`], a few lines; this crate knows of none.
//!
//! The host keeps what is its own: the thread, where it is pinned, signals. Several guests on as many threads are joined by a
//! mesh as a runtime's shards are, and agree on what they serve.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use platform::topology::Topology;
use platform::{BackendKind, Bell, Config, Error};

use crate::models::offload::{Offloader, Pool};
use crate::runtime::start::Start;
use crate::runtime::{finished, spawn_main, stand, start_pool_thread};
use crate::shard::{Next, Running, Seed, panic_text};
use crate::{Builder, Remote, RunError, Shard};

/// A shard that lives in a host's event loop. Dropping it ends the shard at once: its tasks are dropped, and what the kernel
/// holds is given up in order.
///
/// ```
/// use shardwise_shards::{Guest, Host, Next, Runtime};
/// # struct Now;
/// # impl Host for Now {
/// #     async fn wait(&mut self, _: Next) {}
/// # }
///
/// let guest = Runtime::builder().guest()?;
/// let life = guest.run(Now, async |shard| {
///     shard.sleep(std::time::Duration::from_millis(1)).await;
///     Ok::<_, String>(())
/// });
/// // A host awaits it among its own tasks; `Now` does nothing else, and does not even sleep.
/// # let mut life = std::pin::pin!(life);
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # while life.as_mut().poll(&mut cx).is_pending() {}
/// # Ok::<_, shardwise_shards::RunError<std::convert::Infallible>>(())
/// ```
pub struct Guest {
    running: Running,
    drain_time_max: Duration,
    // After the shard itself, which others may still find until it has ended.
    place: Place,
}

/// What a guest needs of the event loop it lives in.
pub trait Host {
    /// Gives the loop its thread back, and ends when it is time for the guest's next turn:
    ///
    /// - for [`Next::Ready`], when the loop has looked at everything else that it has to do,
    /// - for [`Next::At`], when the [bell](Guest::bell) is readable or the moment has come,
    /// - for [`Next::Idle`], when the bell is readable.
    ///
    /// It may end early, and may be dropped.
    fn wait(&mut self, next: Next) -> impl Future<Output = ()>;
}

/// A place for a guest, to be taken up on the thread where it is to live. If it is dropped instead, the others wait for it no
/// more.
pub struct Invitation {
    seed: Seed,
    kind: BackendKind,
    config: Config,
    drain_time_max: Duration,
    place: Place,
}

/// One guest's place among those that were invited together.
struct Place {
    number: usize,
    company: Arc<Company>,
}

/// What guests that were invited together share.
struct Company {
    start: Arc<Start>,
    /// The threads that run what they offload.
    pool: Arc<Pool>,
    /// Those that stand.
    remotes: Mutex<Vec<Remote>>,
}

impl Builder {
    /// One shard as a guest on this thread. How many shards, where they run, signals and spinning are no matter to it.
    ///
    /// Errors: the backend cannot be had, or cannot be waited for by others (Windows); the text says why.
    pub fn guest(self) -> Result<Guest, RunError<Infallible>> {
        let mut invitations = self.guests(1)?;
        invitations.remove(0).accept()
    }

    /// Shards as guests on `count` threads, with a mesh between them. Each runs `main` to its end and goes on for the
    /// others, as the shards of a runtime do, so each must be [accepted](Invitation::accept) or dropped.
    ///
    /// Errors: no backend can be had; the text says why.
    pub fn guests(self, count: usize) -> Result<Vec<Invitation>, RunError<Infallible>> {
        let (selection, config) = self.select().map_err(RunError::Setup)?;
        let bounds = self.offload_bounds(&Topology::read());
        let pool = Pool::new(count, bounds);
        let company = Arc::new(Company { start: Start::new(count), pool, remotes: Mutex::default() });
        let why: Arc<str> = selection.why.into();
        let invite = |number| Invitation {
            seed: Seed {
                offloader: company.offloader(number),
                stacks: config.stacks,
                number,
                count,
                why: Arc::clone(&why),
                start: Arc::clone(&company.start),
                stats: Arc::default(),
                spin_time_max: Duration::ZERO,
            },
            kind: selection.kind,
            config,
            drain_time_max: self.drain_time_max,
            place: Place { number, company: Arc::clone(&company) },
        };
        Ok((0..count).map(invite).collect())
    }
}

impl Invitation {
    /// Brings the guest to life on this thread.
    ///
    /// Errors: the backend cannot be had, or cannot be waited for by others (Windows); the text says why.
    pub fn accept(self) -> Result<Guest, RunError<Infallible>> {
        let Invitation { seed, kind, config, drain_time_max, place } = self;
        let running = stand(seed, kind, &config).map_err(RunError::Setup)?;
        let guest = Guest { running, drain_time_max, place };
        guest.bell().map_err(|error| RunError::Setup(no_bell(kind, error)))?;
        guest.place.company.joined(guest.remote());
        Ok(guest)
    }
}

impl Guest {
    /// The shard. Tasks of the host's own must not use it but through [`remote`](Guest::remote): what they did to it would be
    /// seen with its next turn only.
    pub fn shard(&self) -> &Shard {
        self.running.shard()
    }

    /// A handle on the shard for whoever is not one of its tasks, on this thread or another: `remote.send(Shard::drain)`
    /// begins its orderly end.
    pub fn remote(&self) -> Remote {
        self.shard().remote()
    }

    /// What the host waits for: readable when the guest has something to do. Each call gives a descriptor more for the same.
    ///
    /// Errors: `OutOfDescriptors`.
    pub fn bell(&self) -> Result<Bell, Error> {
        self.shard().with_reactor(|reactor| reactor.bell())
    }

    /// One turn, for a host that does without [`run`](Guest::run), and what to wait for until the next. Never blocks.
    pub fn turn(&mut self) -> Next {
        self.running.rouse();
        let next = self.running.turn();
        self.running.settle(next)
    }

    /// Runs `main` in the host's event loop, and ends when it has ended on all guests that were invited together: by itself,
    /// or because it was told to [drain](Shard::drain). Dropping it drops the guest.
    ///
    /// Errors: `main` failed or panicked, and then the others drain; or the drain took longer than it may.
    pub async fn run<E, F>(mut self, mut host: impl Host, main: F) -> Result<(), RunError<E>>
    where
        E: 'static,
        F: AsyncFnOnce(Shard) -> Result<(), E> + 'static,
    {
        let shard = self.shard().clone();
        let mut main = spawn_main(&self.running, {
            let shard = shard.clone();
            async move { main(shard).await }
        });
        let mut outcome = None;
        let mut drain_end: Option<Instant> = None;
        loop {
            let next = self.turn();
            if outcome.is_none()
                && let Some(result) = finished(&mut main)
            {
                outcome = Some(self.place.ended(&shard, result));
            }
            if shard.scope().is_cancelled() || shard.mesh().all_are_retired() {
                return outcome.unwrap_or(Ok(()));
            }
            if shard.is_draining() {
                let end = *drain_end.get_or_insert_with(|| shard.clock() + self.drain_time_max);
                if shard.now() >= end {
                    tracing::warn!(shard = shard.number(), "the drain limit has passed: what is left is dropped");
                    return Err(RunError::DrainTimedOut);
                }
            }
            host.wait(next.no_later_than(drain_end)).await;
        }
    }
}

impl Place {
    /// `main` has ended on this guest, which goes on for the others.
    fn ended<E>(&self, shard: &Shard, result: std::thread::Result<Result<(), E>>) -> Result<(), RunError<E>> {
        self.company.start.ended(self.number);
        shard.mesh().retire();
        let failure = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => RunError::Main { shard: self.number, error },
            Err(panic) => RunError::Panicked { shard: self.number, text: panic_text(&*panic).to_owned() },
        };
        self.company.drain();
        Err(failure)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.company.start.ended(self.number);
        self.company.start.fabric().end(self.number);
    }
}

impl Company {
    /// One guest's way to the threads. It starts them itself, so they run where the host lets that guest's thread run.
    fn offloader(&self, number: usize) -> Offloader {
        let pool = Arc::clone(&self.pool);
        Offloader::new(&self.pool, move || match start_pool_thread(&pool, format!("offload-guest-{number}")) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("no further thread for offloaded jobs: {error}");
                false
            }
        })
    }

    fn joined(&self, remote: Remote) {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner).push(remote);
    }

    fn drain(&self) {
        let remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for remote in remotes {
            // A shard that has ended has nothing to drain.
            let _ = remote.send(Shard::drain);
        }
    }
}

impl Drop for Company {
    /// Nobody waits for jobs that run: whoever they are for is gone.
    fn drop(&mut self) {
        self.pool.close();
    }
}

fn no_bell(kind: BackendKind, error: Error) -> String {
    match error {
        Error::Unsupported => {
            format!("a guest needs a host that can wait for its {kind} backend, which this system has not.")
        }
        error => format!("the host gets nothing to wait for: {error}"),
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("shard", self.shard()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("number", &self.place.number).finish_non_exhaustive()
    }
}
