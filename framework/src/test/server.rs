//! [`Server`]: a program on simulated shards that is asked from outside, and looked at when it has ended.

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use net::TcpStream;
use platform::sim::{Machine, Plan};
use shards::{Program, Shard, Simulation};

use super::client::{self, Served};
use super::{Client, Failure, Request, Response, seeds};
use crate::App;
use crate::limits::{TEST_CONNECT_PAUSE, TEST_SETTLE_TIME, TEST_WAIT_MAX};

/// How a server under test is set up. See [`builder`](super::builder).
#[derive(Clone, Debug)]
pub struct Builder {
    seed: u64,
    shards: usize,
    plan: Plan,
    config: platform::Config,
    offload_threads: Option<usize>,
    offload_queue: Option<usize>,
    wait_max: Duration,
}

/// A server under test.
///
/// Dropping it drains it, and panics if it does not end, if `main` has failed, or if operations, sockets, buffers, tasks or
/// scopes are left. So a test need not look for leaks.
pub struct Server {
    simulation: RefCell<Simulation>,
    program: Program<String>,
    served: Served,
    has_ended: bool,
}

impl Builder {
    pub(super) fn new() -> Self {
        let (plan, config) = Default::default();
        let (seed, wait_max) = (seeds::default_seed(), TEST_WAIT_MAX);
        Builder { seed, shards: 1, plan, config, offload_threads: None, offload_queue: None, wait_max }
    }

    /// The seed that decides all that is left to chance.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many shards; one unless said.
    pub fn shards(mut self, count: usize) -> Self {
        self.shards = count;
        self
    }

    /// How the network and the disk behave; [`Plan::CALM`] unless said.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// Sizes of the shards' buffer pools.
    pub fn config(mut self, config: platform::Config) -> Self {
        self.config = config;
        self
    }

    /// How many threads, simulated ones, run what is [offloaded](crate::offload()), at the most.
    pub fn offload_threads(mut self, count: usize) -> Self {
        self.offload_threads = Some(count);
        self
    }

    /// How many offloaded jobs of each shard may wait for a thread.
    pub fn offload_queue(mut self, count: usize) -> Self {
        self.offload_queue = Some(count);
        self
    }

    /// The longest that a client waits for anything, and a drain for its end, in virtual time: ten minutes unless said.
    pub fn wait_max(mut self, time: Duration) -> Self {
        self.wait_max = time;
        self
    }

    /// Serves an app, which is made once on each shard.
    ///
    /// Panics if the app cannot be served.
    #[track_caller]
    pub fn start(self, app: impl Fn(Shard) -> App + 'static) -> Server {
        self.program(ADDRESS, async move |shard: Shard| app(shard).serve(ADDRESS).await)
    }

    /// Runs a whole `main`, which serves at an address, as [`Runtime`](crate::Runtime) runs it.
    ///
    /// ```
    /// use shardwise::prelude::*;
    ///
    /// async fn program(shard: Shard) -> Result<()> {
    ///     App::new().get("/", move || format!("one of {}", shard.count())).serve("0.0.0.0:8080").await
    /// }
    ///
    /// let server = shardwise::test::builder().shards(3).program("127.0.0.1:8080", program);
    /// assert_eq!(server.get("/").text(), "one of 3");
    /// ```
    ///
    /// Panics if `main` ends before it serves there.
    #[track_caller]
    pub fn program<E, F>(self, address: impl fmt::Display, main: F) -> Server
    where
        E: fmt::Display,
        F: AsyncFn(Shard) -> Result<(), E> + 'static,
    {
        let Builder { seed, shards, plan, config, offload_threads, offload_queue, wait_max } = self;
        let host: Rc<str> = address.to_string().into();
        let known: Result<SocketAddr, _> = host.parse();
        let address = known.unwrap_or_else(|_| panic!("{host:?} is not an IP address and a port"));
        let mut simulation = Simulation::with_plan(seed, plan, config);
        simulation.set_offload(offload_threads, offload_queue);
        let main = async move |shard: Shard| main(shard).await.map_err(|error| error.to_string());
        let program = simulation.start(shards, main);
        let served = Served { seed, address, host, remotes: program.remotes.clone(), wait_max };
        // The server is made when it stands: one that never did has nothing to drain.
        let listens = simulation.run(async move |shard| {
            let deadline = shard.now() + wait_max;
            while shard.now() < deadline {
                if TcpStream::connect(&shard, address).await.is_ok() {
                    return true;
                }
                shard.sleep(TEST_CONNECT_PAUSE).await;
            }
            false
        });
        if let Some(Err(error)) = program.results().into_iter().flatten().find(Result::is_err) {
            panic!("the server does not start: {error}");
        }
        assert!(listens, "the server does not listen on {address} ({})", seeds::again(seed));
        Server { simulation: RefCell::new(simulation), program, served, has_ended: false }
    }
}

impl Server {
    /// Asks by `GET`, over a connection of its own.
    ///
    /// Panics if there is no whole response.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send(Request::get(target))
    }

    /// Asks by `POST`, over a connection of its own.
    ///
    /// Panics if there is no whole response.
    #[track_caller]
    pub fn post(&self, target: &str, body: impl Into<Bytes>) -> Response {
        self.send(Request::post(target).body(body))
    }

    /// Sends a request, over a connection of its own, and waits for the response.
    ///
    /// Panics if there is no whole response.
    #[track_caller]
    pub fn send(&self, request: impl Into<Request>) -> Response {
        let request = request.into();
        let asked = request.to_string();
        match self.try_send(request) {
            Ok(response) => response,
            Err(failure) => panic!("{asked}: {failure} ({})", self.again()),
        }
    }

    /// Sends a request, over a connection of its own, and waits for the response.
    ///
    /// Errors: there is no whole response.
    pub fn try_send(&self, request: impl Into<Request>) -> Result<Response, Failure> {
        let request = request.into();
        self.run(async move |client| client.try_send(request).await)
    }

    /// Sends requests at the same time, each over a connection of its own, and waits for all responses. They are in the
    /// order of the requests.
    ///
    /// Panics if one has no whole response.
    #[track_caller]
    pub fn all<R: Into<Request>>(&self, requests: impl IntoIterator<Item = R>) -> Vec<Response> {
        let requests: Vec<Request> = requests.into_iter().map(Into::into).collect();
        let all = self.run(async move |client| {
            let spawn = |request: Request| {
                let (client, asked) = (client.clone(), request.to_string());
                client.clone().spawn(async move { (asked, client.try_send(request).await) })
            };
            let sent: Vec<_> = requests.into_iter().map(spawn).collect();
            let mut all = Vec::new();
            for response in sent {
                all.push(response.await);
            }
            all
        });
        let mut responses = Vec::new();
        for (asked, result) in all {
            match result {
                Ok(response) => responses.push(response),
                Err(failure) => panic!("{asked}: {failure} ({})", self.again()),
            }
        }
        responses
    }

    /// Runs a client until it is done, and gives what it returns. Its connections end with it.
    ///
    /// Panics if the client or the server does, and when everybody waits for something that cannot happen.
    pub fn run<T: 'static>(&self, work: impl AsyncFnOnce(Client) -> T + 'static) -> T {
        let served = self.served.clone();
        self.simulation.borrow_mut().run(async move |shard| work(Client::new(shard, served)).await)
    }

    /// Lets virtual time pass, and happen what will.
    pub fn advance(&self, time: Duration) {
        self.simulation.borrow_mut().run_for(time);
    }

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.machine(Machine::now)
    }

    /// Puts a file on the simulated disk.
    pub fn write_file(&self, path: &str, data: impl Into<Vec<u8>>) {
        self.machine(|machine| machine.write_file(path, data));
    }

    /// What a file on the simulated disk holds.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        self.machine(|machine| machine.read_file(path))
    }

    /// Begins the drain, which a signal begins in a real process: it runs as time passes.
    pub fn drain(&self) {
        client::drain(&self.served.remotes);
    }

    /// Drains the server and looks at what is left, as dropping it does. Gives a hash of all that has happened: the same
    /// program with the same seed has the same.
    ///
    /// Panics as dropping it does.
    #[track_caller]
    pub fn end(mut self) -> u64 {
        match self.finish() {
            Ok(hash) => hash,
            Err(what) => panic!("{what} ({})", self.again()),
        }
    }

    fn finish(&mut self) -> Result<u64, String> {
        self.has_ended = true;
        let Server { simulation, program, served, .. } = self;
        let simulation = simulation.get_mut();
        program.drain();
        simulation.run_until(served.wait_max, || program.has_ended());
        for (number, result) in program.results().into_iter().enumerate() {
            match result {
                None => {
                    return Err(format!("shard {number} has not ended {:?} after the drain began", served.wait_max));
                }
                Some(Err(error)) => return Err(format!("`main` failed on shard {number}: {error}")),
                Some(Ok(())) => {}
            }
        }
        // What has been closed is on its way to the other end.
        simulation.run_for(TEST_SETTLE_TIME);
        let found = Arc::new(Mutex::new(Vec::new()));
        for remote in &program.remotes {
            let found = Arc::clone(&found);
            let look = move |shard: &Shard| found.lock().unwrap_or_else(PoisonError::into_inner).push(Left::of(shard));
            remote.send(look).map_err(|error| format!("shard {} is gone: {error}", remote.number()))?;
        }
        let have_all_looked = || found.lock().unwrap_or_else(PoisonError::into_inner).len() == program.remotes.len();
        if !simulation.run_until(TEST_SETTLE_TIME, have_all_looked) {
            return Err("a shard does not answer after the drain".to_owned());
        }
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let left: Vec<String> = found.iter().filter(|left| !left.is_nothing()).map(Left::to_string).collect();
        match simulation.machine().descriptors() {
            0 if left.is_empty() => Ok(simulation.machine().trace_hash()),
            0 => Err(format!("after the drain {}", left.join("; "))),
            count => Err(format!("after the drain {count} descriptors are open; {}", left.join("; "))),
        }
    }

    fn machine<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(self.simulation.borrow().machine())
    }

    fn again(&self) -> String {
        seeds::again(self.served.seed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if std::thread::panicking() {
            eprintln!("a server was under test with {}", self.again());
            return;
        }
        if let Err(what) = self.finish() {
            panic!("{what} ({})", self.again());
        }
    }
}

/// What a shard holds that should have come home.
struct Left {
    shard: usize,
    tasks: usize,
    /// But for the shard's own.
    scopes: usize,
    operations: usize,
    handles: usize,
    receive_buffers: usize,
    pooled_bytes: usize,
}

impl Left {
    fn of(shard: &Shard) -> Left {
        let (holdings, pool) = (shard.with_reactor(|reactor| reactor.holdings()), shard.pool().stats());
        Left {
            shard: shard.number(),
            tasks: shard.task_stats().live as usize,
            scopes: shard.scopes() - 1,
            operations: holdings.operations,
            handles: holdings.handles,
            receive_buffers: (pool.heads_leased + pool.bulk_leased) as usize,
            pooled_bytes: pool.pooled_bytes as usize,
        }
    }

    fn counts(&self) -> [(usize, &'static str); 6] {
        let Left { shard: _, tasks, scopes, operations, handles, receive_buffers, pooled_bytes } = *self;
        [
            (tasks, "tasks"),
            (scopes, "scopes"),
            (operations, "operations"),
            (handles, "sockets or files"),
            (receive_buffers, "receive buffers"),
            (pooled_bytes, "bytes of its pool"),
        ]
    }

    fn is_nothing(&self) -> bool {
        self.counts().iter().all(|(count, _)| *count == 0)
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} still has", self.shard)?;
        let mut joint = "";
        for (count, what) in self.counts().into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{joint} {count} {what}")?;
            joint = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served { seed, address, .. } = &self.served;
        f.debug_struct("Server").field("seed", seed).field("address", address).finish_non_exhaustive()
    }
}

/// Where apps are served: any address is the simulated machine's own.
const ADDRESS: &str = "10.0.0.1:80";
