//! [`Runtime`]: starts the shards, joined to one store of metrics, and the admin listener beside them.
//!
//! A thin layer over [`shards::Runtime`]. What must happen once (arguments, configuration, a database's preparation) is
//! ordinary code before [`run`](Builder::run).

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use platform::Choice;
use shards::{Fleet, Phase, Shard};

use crate::admin::{Admin, Report};
use crate::metrics::{self, ShardMetrics, Store};
use crate::{Result, log};

/// A set of shards that run one program. See [`Runtime::builder`].
#[derive(Debug)]
pub struct Runtime(());

/// How a runtime is set up.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) shards: shards::Builder,
    pub(crate) admin: Option<SocketAddr>,
}

impl Runtime {
    /// Begins to set up a runtime. By default: one shard for each CPU that this process may use, on the fastest backend
    /// that the host offers, without an admin listener.
    ///
    /// ```no_run
    /// use shardwise::prelude::*;
    ///
    /// fn main() -> Result<()> {
    ///     let greeting = std::env::args().nth(1).unwrap_or("hello".to_owned());
    ///     shardwise::Runtime::builder().shards(2).admin(([127, 0, 0, 1], 9901).into()).run(async move |_shard| {
    ///         App::new().state(greeting.clone()).get("/", async |State(text): State<String>| text).serve("0.0.0.0:8080").await
    ///     })
    /// }
    /// ```
    pub fn builder() -> Builder {
        Builder { shards: shards::Runtime::builder(), admin: None }
    }
}

impl Builder {
    /// How many shards; by default one for each CPU that the affinity mask and the cgroup's quota grant.
    pub fn shards(mut self, count: usize) -> Self {
        self.shards = self.shards.shards(count);
        self
    }

    /// Which backend; by default `SHARDWISE_BACKEND` decides if it is set, else the fastest that works.
    pub fn backend(mut self, choice: Choice) -> Self {
        self.shards = self.shards.backend(choice);
        self
    }

    /// Admits more shards than CPUs. They are then not pinned.
    pub fn oversubscribe(mut self, yes: bool) -> Self {
        self.shards = self.shards.oversubscribe(yes);
        self
    }

    /// Sizes of buffer pools, ring features.
    pub fn config(mut self, config: platform::Config) -> Self {
        self.shards = self.shards.config(config);
        self
    }

    /// How long an idle shard looks for something to do before it sleeps, be it a request or a message of another shard; not at all
    /// by default, half a millisecond at the most. It takes the wake-up, some 20 us, out of the latency of whatever comes in quick
    /// succession, and all of the CPU meanwhile: for those whose CPUs are theirs alone.
    pub fn spin(mut self, time: Duration) -> Self {
        self.shards = self.shards.spin(time);
        self
    }

    /// How many threads run what is [offloaded](crate::offload()), at the most; by default four for each CPU that may be used.
    pub fn offload_threads(mut self, count: usize) -> Self {
        self.shards = self.shards.offload_threads(count);
        self
    }

    /// How many offloaded jobs of each shard may wait for a thread, 1,024 by default; a further one is refused at once.
    pub fn offload_queue(mut self, count: usize) -> Self {
        self.shards = self.shards.offload_queue(count);
        self
    }

    /// Bytes of a green thread's stack; 256 KiB by default. Only what is touched costs memory. A green thread that uses more ends
    /// the process, with a message that says so.
    pub fn green_stack_bytes(mut self, bytes: usize) -> Self {
        self.shards = self.shards.green_stack_bytes(bytes);
        self
    }

    /// How many green threads each shard admits; 1,024 by default.
    pub fn green_threads_max(mut self, count: usize) -> Self {
        self.shards = self.shards.green_threads_max(count);
        self
    }

    /// How long the server goes on as before once it was told to end, while `/readyz` says that it is not ready: as long as
    /// whoever sends requests its way takes to notice that. For Kubernetes that is the readiness probe's period times its
    /// failures, and some seconds for the endpoints to spread: ten to twenty seconds. Not at all by default. The drain begins
    /// after it; a hot restart does without.
    pub fn drain_notice(mut self, time: Duration) -> Self {
        self.shards = self.shards.drain_notice(time);
        self
    }

    /// How long a drain may take; 30 s by default. What is not finished by then is dropped. How long it takes at the least is
    /// the app's: [`Config::drain_time_min`](crate::Config::drain_time_min).
    pub fn drain_time_max(mut self, time: Duration) -> Self {
        self.shards = self.shards.drain_time_max(time);
        self
    }

    /// Whether SIGTERM and SIGINT begin the drain, and SIGUSR2 a hot restart (Linux): this process starts its own program
    /// again, leaves it the listening sockets, and drains once the other serves; if it fails, this one serves on and says why.
    /// They do by default.
    pub fn handle_signals(mut self, yes: bool) -> Self {
        self.shards = self.shards.handle_signals(yes);
        self
    }

    /// Answers `/metrics`, `/healthz` and `/readyz` at this address, on threads of its own.
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// Runs `main` on every shard and waits until all have ended.
    ///
    /// All shards start or none does. When `main` fails or panics on one shard, the others drain, and the first failure is
    /// returned.
    ///
    /// Errors: the runtime did not start, `main` failed, or the drain limit passed; the text says what to do.
    pub fn run<E, F>(self, main: F) -> Result<()>
    where
        E: fmt::Display,
        F: AsyncFn(Shard) -> Result<(), E> + Send + Sync + 'static,
    {
        log::install();
        let store = Store::new();
        metrics::install(&store);
        let Builder { shards, admin } = self;
        let reported = Arc::clone(&store);
        let started = |fleet: &Fleet| {
            let Some(address) = admin else { return Ok(None) };
            let watched = fleet.clone();
            let report = Watch::new(&reported, fleet.remotes.len(), move || watched.phase());
            let admin = Admin::start(address, || fleet.listen(address), Arc::new(report))?;
            tracing::info!("admin http://{}", admin.address());
            Ok(Some(admin))
        };
        let main = async move |shard: Shard| {
            ShardMetrics::join(&shard, &store);
            // An error need not be `Send`; its text is, and that is what is left to do with it.
            main(shard).await.map_err(|error| error.to_string())
        };
        Ok(shards.run_with(started, main)?)
    }
}

/// What the admin listener asks.
pub(crate) struct Watch {
    store: Arc<Store>,
    /// How many shards are to serve.
    count: usize,
    phase: Box<dyn Fn() -> Phase + Send + Sync>,
}

impl Watch {
    pub(crate) fn new(store: &Arc<Store>, count: usize, phase: impl Fn() -> Phase + Send + Sync + 'static) -> Self {
        Watch { store: Arc::clone(store), count, phase: Box::new(phase) }
    }
}

impl Report for Watch {
    fn metrics(&self) -> String {
        self.store.scrape((self.phase)())
    }

    fn unready(&self) -> Option<String> {
        let (serving, count) = (self.store.serving_count(), self.count);
        match serving {
            _ if (self.phase)() > Phase::Serving => Some("draining".to_owned()),
            _ if serving < count => Some(format!("{serving} of {count} shards serve")),
            _ => None,
        }
    }
}

/// Ends a program: says on standard error what went wrong, if anything did.
pub fn conclude(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
