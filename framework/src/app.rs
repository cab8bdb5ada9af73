//! [`App`]: what is served, declared as a list of routes and then started.
//!
//! `main` runs on every shard, so each shard has an app of its own; nothing in it is `Send`. A mistake in a declaration is
//! not a panic where it stands but an error of [`serve`](App::serve), which lists them all with their lines.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::net::SocketAddr;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderValue, Method};
use net::tls::Tls;
use net::{Config, QuicServer, Server, Spread};
use platform::{BackendKind, ListenOptions};
use shards::{Cancelled, JoinError, JoinHandle, Shard};

use crate::Error;
use crate::extract::States;
use crate::handler::Handler;
use crate::limits::{ALTERNATIVE_TIME, BODY_BYTES_MAX, SILENCE_MAX};
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
    addresses: Vec<Address>,
    problems: Vec<Problem>,
}

/// Where an app is to be served.
struct Address {
    text: String,
    location: &'static Location<'static>,
    /// In the clear unless given.
    tls: Option<Tls>,
}

impl App {
    /// An app without routes.
    pub fn new() -> Self {
        App {
            router: Router::new(),
            states: States::default(),
            config: Config::default(),
            spread: Spread::default(),
            addresses: Vec::new(),
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

    /// An address to serve the app at, beside others: an IP address and a port, `0.0.0.0:8080`; port 0 lets the kernel choose
    /// one for all shards.
    ///
    /// ```
    /// use shardwise::prelude::*;
    ///
    /// let program = async |_| App::new().get("/", || "hello").listen("10.0.0.1:80").listen("10.0.0.1:8080").serve_all().await;
    /// let server = shardwise::test::builder().program("10.0.0.1:8080", program);
    /// assert_eq!(server.get("/").text(), "hello");
    /// ```
    #[track_caller]
    pub fn listen(mut self, address: impl fmt::Display) -> Self {
        self.addresses.push(Address { text: address.to_string(), location: Location::caller(), tls: None });
        self
    }

    /// An address to serve the app at by TLS, beside others: HTTP/2 or HTTP/1.1, as the client likes; and by QUIC under the same
    /// port, of which `Alt-Svc` tells those who come over TCP: HTTP/3.
    ///
    /// ```
    /// use shardwise::Tls;
    /// use shardwise::prelude::*;
    ///
    /// // In earnest: `Tls::new("/etc/tls/cert.pem", "/etc/tls/key.pem")`.
    /// let app = || App::new().get("/", || "hello").listen_tls("10.0.0.1:443", Tls::self_signed(["dev.example"]));
    /// let program = async move |_| app().listen("10.0.0.1:80").serve_all().await;
    /// let server = shardwise::test::builder().program("10.0.0.1:80", program);
    /// assert_eq!(server.get("/").text(), "hello");
    /// ```
    #[track_caller]
    pub fn listen_tls(mut self, address: impl fmt::Display, tls: Tls) -> Self {
        self.addresses.push(Address { text: address.to_string(), location: Location::caller(), tls: Some(tls) });
        self
    }

    /// Serves the app at an address, and at those that it [listens](App::listen) on already: [`serve_all`](App::serve_all).
    #[track_caller]
    pub fn serve(self, address: impl fmt::Display) -> impl Future<Output = Result<(), Error>> {
        self.listen(address).serve_all()
    }

    /// Serves the app at its addresses until the runtime drains: waits until every shard has come to this call, listens on
    /// all of them, says so once (a line `listening http://…` or `https://…` for each address, on standard output, when all are
    /// had), and returns when the last connection of this shard has ended.
    ///
    /// Errors: the routes do not fit together, a handler's state is missing, a certificate is not in order, or an address cannot
    /// be had; the text names the line or the file, and the remedy.
    #[track_caller]
    pub fn serve_all(self) -> impl Future<Output = Result<(), Error>> {
        let location = Location::caller();
        self.serve_for(location)
    }

    async fn serve_for(mut self, location: &'static Location<'static>) -> Result<(), Error> {
        let Some(shard) = Shard::current() else {
            return Err(Error::new(format!(
                "an app was served off a shard, at {location}. Serve it in `#[shardwise::main]`, or in \
                 `Runtime::builder().run(…)`."
            )));
        };
        let mut addresses = std::mem::take(&mut self.addresses);
        if addresses.is_empty() {
            return Err(Error::new(format!(
                "an app is served nowhere, at {location}. Say where: `.listen(\"0.0.0.0:8080\")`."
            )));
        }
        let parsed = addresses.iter().map(Address::parse).collect::<Result<Vec<_>, _>>()?;
        let (config, spread) = (self.config.clone(), self.spread);
        let service = Rc::new(self.build(&shard)?);
        let metrics = ShardMetrics::of(&shard);
        // What is wrong with a certificate is said before anything listens.
        let mut credentials = Vec::new();
        for declared in &mut addresses {
            credentials.push(match declared.tls.take() {
                Some(tls) => Some(tls.open(&shard, config.accepts_h2, Arc::clone(&metrics.net)).await?),
                None => None,
            });
        }
        let mut servers = Vec::new();
        let mut quic_servers = Vec::new();
        for ((address, declared), credentials) in parsed.into_iter().zip(&addresses).zip(credentials) {
            let options = ListenOptions { silence_max: Some(SILENCE_MAX), ..ListenOptions::default() };
            let mut config = config.clone();
            let (server, quic) = match credentials.is_some() && config.accepts_h3 {
                true => {
                    let how = (&options, spread);
                    let both = QuicServer::bind_both(&shard, address, how, &config.quic, declared.location).await?;
                    config.alternative.get_or_insert_with(|| alternative(both.0.address().port()));
                    (both.0, Some(both.1))
                }
                false => (Server::bind_spread(&shard, address, &options, spread, declared.location).await?, None),
            };
            let (scheme, server) = match credentials {
                Some(credentials) => {
                    let credentials = Rc::new(credentials);
                    quic_servers.extend(quic.map(|quic| (quic, Rc::clone(&credentials))));
                    ("https", server.secured(move || credentials.config()))
                }
                None => ("http", server),
            };
            servers.push((scheme, server, config));
        }
        // A simulated server has nobody on the real standard output.
        if shard.backend() != BackendKind::Sim {
            for (scheme, server, _) in servers.iter().filter(|(_, server, _)| server.is_speaker()) {
                announce(scheme, server.address());
            }
        }
        let _serving = metrics.serving();
        // Each is a task of its own: what comes at one address is no news to the others. With the scope they end.
        let scope = shard.scope().child("servers")?;
        let mut serving: Vec<Serving> = Vec::new();
        for (_, server, config) in servers {
            let served = server.serve(Rc::clone(&service), config, Arc::clone(&metrics.net));
            serving.push(scope.spawn(served)?);
        }
        for (server, credentials) in quic_servers {
            let with = move || credentials.config();
            let served = server.serve(Rc::clone(&service), config.clone(), with, Arc::clone(&metrics.net));
            serving.push(scope.spawn(served)?);
        }
        all(serving).await?;
        Ok(())
    }

    /// Checks the declarations and builds what serves them on a shard.
    pub(crate) fn build(self, shard: &Shard) -> Result<Service, SetupError> {
        let App { router, states, problems, .. } = self;
        let metrics = HttpMetrics::of(shard);
        let site = Rc::new(Site { shard: shard.clone(), states, metrics });
        mount(router, site, BODY_BYTES_MAX, problems)
    }
}

impl Address {
    fn parse(&self) -> Result<SocketAddr, Error> {
        let Address { text, location, .. } = self;
        text.parse().map_err(|_| {
            Error::new(format!(
                "cannot listen on \"{text}\" ({location}): it is not an IP address and a port. Write one such as \
                 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080."
            ))
        })
    }
}

/// What clients over TCP are told of an address that is served by QUIC, too, under the same port (RFC 9114 section 3.1.1).
fn alternative(port: u16) -> HeaderValue {
    let value = format!("h3=\":{port}\"; ma={}", ALTERNATIVE_TIME.as_secs());
    HeaderValue::try_from(value).expect("digits and the like")
}

/// One address, being served.
type Serving = JoinHandle<Result<net::Result<()>, Cancelled>>;

/// Waits until all servers have ended, or one has failed.
async fn all(mut serving: Vec<Serving>) -> net::Result<()> {
    poll_fn(|cx| {
        let mut failed = None;
        serving.retain_mut(|server| match Pin::new(server).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(Ok(outcome))) => {
                failed = failed.take().or(outcome.err());
                false
            }
            Poll::Ready(Err(JoinError::Panicked(payload))) => resume_unwind(payload),
            // The shard ends.
            Poll::Ready(Ok(Err(_)) | Err(JoinError::Cancelled)) => false,
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if serving.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

/// The line that scripts wait for. Whoever closed standard output does not want it.
fn announce(scheme: &str, address: SocketAddr) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "listening {scheme}://{address}").and_then(|()| out.flush());
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
