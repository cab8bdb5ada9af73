//! [`App`]: what is served, declared as a list of routes and then started.
//!
//! `main` runs on every shard, so each shard has an app of its own; nothing in it is `Send`. A mistake in a declaration is
//! not a panic where it stands but an error of [`serve`](App::serve), which lists them all with their lines.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use http::Method;
use net::{Config, Server, Spread};
use platform::{BackendKind, ListenOptions};
use shards::Shard;

use crate::Error;
use crate::extract::States;
use crate::handler::Handler;
use crate::limits::BODY_BYTES_MAX;
use crate::metrics::{HttpMetrics, ShardMetrics};
use crate::middleware::Middleware;
use crate::mount::{Problem, SetupError, mount};
use crate::router::{Declared, DeclaredLayer, Nested, Router, declarations};
use crate::site::{Service, Site};

/// A set of routes, and what their handlers share.
///
/// ```
/// use shardwise::prelude::*;
///
/// let app = App::new()
///     .state(42_u32)
///     .get("/", || "hello")
///     .get("/answer", |State(answer): State<u32>| answer.to_string())
///     .post("/echo", async |body: Bytes| body);
///
/// let server = shardwise::test::run(app);
/// assert_eq!(server.get("/answer").text(), "42");
/// assert_eq!(server.post("/echo", "as it came").text(), "as it came");
/// assert_eq!(server.get("/echo").expect(405).header("allow"), "POST");
/// ```
pub struct App {
    router: Router,
    states: States,
    config: Config,
    spread: Spread,
    problems: Vec<Problem>,
}

impl App {
    /// An app without routes.
    pub fn new() -> Self {
        App {
            router: Router::new(),
            states: States::default(),
            config: Config::default(),
            spread: Spread::default(),
            problems: Vec::new(),
        }
    }

    /// Keeps a value for the handlers of this shard, who get a clone of it as [`State`](crate::State). One of each type; it
    /// may hold `Rc` and `Cell`.
    #[track_caller]
    pub fn state<T: Clone + 'static>(mut self, value: T) -> Self {
        if !self.states.put(value) {
            let name = std::any::type_name::<T>();
            self.problems.push(Problem {
                place: format!("the state {name}"),
                location: Location::caller(),
                what: "the app holds a value of this type already".to_owned(),
                remedy: "Give each a type of its own: `struct Primary(Pool)`.".to_owned(),
            });
        }
        self
    }

    declarations!(.router);

    /// What connections are admitted: time limits, sizes of heads, how many, the `Server` header.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How connections come to the shards: by the kernel's choice unless said, or each to the shard that has the fewest.
    ///
    /// ```
    /// use shardwise::prelude::*;
    /// use shardwise::Spread;
    ///
    /// let app = |shard: Shard| App::new().spread(Spread::ByLoad).get("/", move || shard.number().to_string());
    /// let server = shardwise::test::builder().shards(2).start(app);
    /// let (one, other) = server.run(async |client| {
    ///     let (mut one, mut other) = (client.open().await, client.open().await);
    ///     let ask = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    ///     one.send(ask).await.unwrap();
    ///     other.send(ask).await.unwrap();
    ///     let (one, other) = (one.response(&Method::GET).await.unwrap(), other.response(&Method::GET).await.unwrap());
    ///     (one.text().to_owned(), other.text().to_owned())
    /// });
    /// assert_ne!(one, other);
    /// ```
    pub fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    /// Serves the app at an address until the runtime drains: waits until every shard has come to this call, listens on
    /// all of them, says so once (`listening http://…` on standard output), and returns when the last connection of this
    /// shard has ended.
    ///
    /// `address` is an IP address and a port, `0.0.0.0:8080`; port 0 lets the kernel choose one for all shards.
    ///
    /// Errors: the routes do not fit together, a handler's state is missing, or the address cannot be had; the text names
    /// the line and the remedy.
    #[track_caller]
    pub fn serve(self, address: impl fmt::Display) -> impl Future<Output = Result<(), Error>> {
        let location = Location::caller();
        self.serve_at(address.to_string(), location)
    }

    async fn serve_at(self, address: String, location: &'static Location<'static>) -> Result<(), Error> {
        let Some(shard) = Shard::current() else {
            return Err(Error::new(format!(
                "an app was served off a shard, at {location}. Serve it in `#[shardwise::main]`, or in \
                 `Runtime::builder().run(…)`."
            )));
        };
        let address = parse(&address, location)?;
        let (config, spread) = (self.config.clone(), self.spread);
        let service = self.build(&shard)?;
        let metrics = ShardMetrics::of(&shard);
        let server = Server::bind_spread(&shard, address, &ListenOptions::default(), spread, location).await?;
        // A simulated server has nobody on the real standard output.
        if server.is_speaker() && shard.backend() != BackendKind::Sim {
            announce(server.address());
        }
        let _serving = metrics.serving();
        server.serve(service, config, Arc::clone(&metrics.net)).await?;
        Ok(())
    }

    /// Checks the declarations and builds what serves them on a shard.
    pub(crate) fn build(self, shard: &Shard) -> Result<Service, SetupError> {
        let App { router, states, config: _, spread: _, problems } = self;
        let metrics = HttpMetrics::of(shard);
        let site = Rc::new(Site { shard: shard.clone(), states, metrics });
        mount(router, site, BODY_BYTES_MAX, problems)
    }
}

fn parse(address: &str, location: &'static Location<'static>) -> Result<SocketAddr, Error> {
    address.parse().map_err(|_| {
        Error::new(format!(
            "cannot listen on \"{address}\" ({location}): it is not an IP address and a port. Write one such as \
             0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080."
        ))
    })
}

/// The one line that scripts wait for. Whoever closed standard output does not want it.
fn announce(address: SocketAddr) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "listening http://{address}").and_then(|()| out.flush());
}

impl Default for App {
    fn default() -> Self {
        App::new()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.router.fmt(f)
    }
}

#[cfg(test)]
mod tests;
