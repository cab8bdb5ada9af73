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
use crate::extract::{States, Unmet};
use crate::handler::{self, Endpoint, Handler};
use crate::limits::BODY_BYTES_MAX;
use crate::metrics::{HttpMetrics, ShardMetrics};
use crate::middleware::{self, Layer, Middleware};
use crate::route::Route;
use crate::site::{self, Service, Site};
use crate::table::{self, Refused, Table};

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
    routes: Vec<Declared>,
    fallback: Option<Declared>,
    layers: Vec<DeclaredLayer>,
    states: States,
    body_bytes_max: u64,
    config: Config,
    spread: Spread,
    problems: Vec<Problem>,
}

/// A route as it was declared.
struct Declared {
    /// `None` is any method.
    method: Option<Method>,
    pattern: String,
    endpoint: Box<dyn Endpoint>,
    require: fn(&States) -> Result<(), Unmet>,
    body_bytes_max: Option<u64>,
    location: &'static Location<'static>,
}

/// A layer as it was declared.
struct DeclaredLayer {
    layer: Rc<dyn Layer>,
    require: fn(&States) -> Result<(), Unmet>,
    location: &'static Location<'static>,
}

/// What is wrong with an app's declarations, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    /// What was declared: `GET /items/{id}`.
    place: String,
    location: &'static Location<'static>,
    what: String,
    remedy: String,
}

/// Methods that have a shorthand.
macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident $method:ident)*) => {
        $(
            $(#[$doc])*
            #[track_caller]
            pub fn $name<Shape: 'static>(self, path: &str, handler: impl Handler<Shape>) -> Self {
                self.route(Method::$method, path, handler)
            }
        )*
    };
}

impl App {
    /// An app without routes.
    pub fn new() -> Self {
        App {
            routes: Vec::new(),
            fallback: None,
            layers: Vec::new(),
            states: States::default(),
            body_bytes_max: BODY_BYTES_MAX,
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

    shorthands! {
        /// Answers `GET` at a path, and `HEAD` if nothing else does.
        ///
        /// `{name}` in the path stands for a segment or the end of one, `{*name}` for all that follows.
        get GET
        /// Answers `POST` at a path.
        post POST
        /// Answers `PUT` at a path.
        put PUT
        /// Answers `PATCH` at a path.
        patch PATCH
        /// Answers `DELETE` at a path.
        delete DELETE
        /// Answers `HEAD` at a path in place of the route for `GET`.
        head HEAD
        /// Answers `OPTIONS` at a path.
        options OPTIONS
    }

    /// Answers a method at a path.
    #[track_caller]
    pub fn route<Shape: 'static>(mut self, method: Method, path: &str, handler: impl Handler<Shape>) -> Self {
        self.routes.push(Declared::new(Some(method), path, handler));
        self
    }

    /// Answers every method at a path that has no route of its own there.
    #[track_caller]
    pub fn any<Shape: 'static>(mut self, path: &str, handler: impl Handler<Shape>) -> Self {
        self.routes.push(Declared::new(None, path, handler));
        self
    }

    /// Answers where no route has the path, in place of a plain 404.
    #[track_caller]
    pub fn fallback<Shape: 'static>(mut self, handler: impl Handler<Shape>) -> Self {
        self.fallback = Some(Declared::new(None, "", handler));
        self
    }

    /// Puts a middleware around everything that the app answers: all its routes, declared before or after, the fallback,
    /// and 404 and 405. The first that is declared is the outermost: it sees requests first and responses last.
    ///
    /// ```
    /// use shardwise::prelude::*;
    ///
    /// let told = |name: &'static str| async move |request: Request, next: Next| {
    ///     let mut response = next.run(request).await;
    ///     response.headers.append("x-passed".parse().unwrap(), name.parse().unwrap());
    ///     response
    /// };
    /// let app = App::new().layer(told("outer")).layer(told("inner")).get("/", || "hello");
    /// let response = shardwise::test::run(app).get("/");
    /// let passed: Vec<_> = response.headers().get_all("x-passed").iter().collect();
    /// assert_eq!(passed, ["inner", "outer"]);
    /// ```
    #[track_caller]
    pub fn layer<Shape: 'static, M: Middleware<Shape>>(mut self, middleware: M) -> Self {
        let layer = middleware::layer(middleware);
        self.layers.push(DeclaredLayer { layer, require: M::require, location: Location::caller() });
        self
    }

    /// Bytes of a body that extractors (`Json`, `Bytes`, `String`) may gather, for handlers that do not say so themselves
    /// by [`Handler::body_limit`]; a longer one is answered 413. [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX) if it is not set. A handler that takes
    /// the [`Body`](crate::Body) reads it as it comes, without a limit.
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.body_bytes_max = bytes;
        self
    }

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
        let App { routes, fallback, layers, states, body_bytes_max, config: _, spread: _, mut problems } = self;
        problems.extend(routes.iter().chain(&fallback).filter_map(|declared| declared.unmet(&states)));
        problems.extend(layers.iter().filter_map(|declared| declared.unmet(&states)));
        let metrics = HttpMetrics::of(shard);
        let site = Rc::new(Site { shard: shard.clone(), states, metrics });
        let layers = layers.into_iter().map(|declared| declared.layer).collect();
        let mounting = Mounting { site, layers, body_bytes_max };
        let mut lines: Vec<(String, &'static Location<'static>)> = Vec::new();
        let mut table = Table::new();
        for declared in routes {
            let (method, place, location) = (declared.method.clone(), declared.place(), declared.location);
            let route = mounting.declared(declared);
            let pattern = route.pattern.clone();
            if let Err(refused) = table.add(&pattern, method, route) {
                problems.push(Problem::new(place.clone(), location, refused, &lines));
            }
            lines.push((place, location));
        }
        if !problems.is_empty() {
            return Err(SetupError { problems });
        }
        table.refuse_others(|_, allow| {
            let allow = allow.clone();
            mounting.endpoint("", handler::answer(move |request| site::wrong_method(request, &allow)), None)
        });
        let fallback = match fallback {
            Some(declared) => mounting.declared(declared),
            None => mounting.endpoint("", handler::answer(site::not_found), None),
        };
        Ok(Service { table, fallback })
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

impl Declared {
    #[track_caller]
    fn new<Shape: 'static, H: Handler<Shape>>(method: Option<Method>, pattern: &str, handler: H) -> Self {
        Declared {
            method,
            pattern: pattern.to_owned(),
            require: H::require,
            body_bytes_max: handler.body_bytes_max(),
            endpoint: handler::endpoint(handler),
            location: Location::caller(),
        }
    }

    /// How people call it.
    fn place(&self) -> String {
        match (&self.method, &*self.pattern) {
            (None, "") => "the fallback".to_owned(),
            (None, pattern) => format!("any {pattern}"),
            (Some(method), pattern) => format!("{method} {pattern}"),
        }
    }

    fn unmet(&self, states: &States) -> Option<Problem> {
        let Unmet { what, remedy } = (self.require)(states).err()?;
        Some(Problem { place: self.place(), location: self.location, what, remedy })
    }
}

impl DeclaredLayer {
    fn unmet(&self, states: &States) -> Option<Problem> {
        let Unmet { what, remedy } = (self.require)(states).err()?;
        Some(Problem { place: "a layer".to_owned(), location: self.location, what, remedy })
    }
}

/// What routes are made routes with.
struct Mounting {
    site: Rc<Site>,
    layers: Vec<Rc<dyn Layer>>,
    body_bytes_max: u64,
}

impl Mounting {
    fn declared(&self, Declared { pattern, endpoint, body_bytes_max, .. }: Declared) -> Rc<Route> {
        self.endpoint(&pattern, endpoint, body_bytes_max)
    }

    fn endpoint(&self, pattern: &str, endpoint: Box<dyn Endpoint>, body_bytes_max: Option<u64>) -> Rc<Route> {
        let admitted = self.layers.iter().filter_map(|layer| layer.body_bytes_max());
        Rc::new(Route {
            pattern: pattern.into(),
            parameters: table::parameters(pattern).map(Into::into).collect(),
            endpoint: middleware::around(&self.layers, endpoint),
            body_bytes_max: admitted.fold(body_bytes_max.unwrap_or(self.body_bytes_max), u64::min),
            metrics: self.site.metrics.route(pattern),
            site: Rc::clone(&self.site),
        })
    }
}

impl Problem {
    fn new(
        place: String,
        location: &'static Location<'static>,
        refused: Refused,
        lines: &[(String, &'static Location<'static>)],
    ) -> Self {
        let earlier = |suffix: &str| {
            let line = lines.iter().find(|(place, _)| place.ends_with(suffix));
            line.map(|(_, location)| format!(" ({location})")).unwrap_or_default()
        };
        let (what, remedy) = match refused {
            Refused::Pattern(what) => (format!("the path cannot be matched: {what}"), "Correct the path.".to_owned()),
            Refused::Taken => {
                (format!("this route is declared already{}", earlier(&place)), "Remove one of the two.".to_owned())
            }
            Refused::Conflict(with) => (
                format!("it matches the same paths as {with}{}", earlier(&format!(" {with}"))),
                "Give their parameters the same names, or the paths a part in which they differ.".to_owned(),
            ),
        };
        Problem { place, location, what, remedy }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the app cannot be served:")?;
        for Problem { place, location, what, remedy } in &self.problems {
            write!(f, "\n  {place} at {location}: {what}. {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SetupError {}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(Declared::place)).finish()
    }
}

#[cfg(test)]
mod tests;
