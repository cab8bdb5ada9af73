//! Upstreams: services that we call, each at many endpoints.
//!
//! The one idea: every shard decides for itself whom to ask, by what it knows; one shard of all, the service's *keeper*, learns for
//! all which endpoints there are and how they are, from those who know, from its probes, and from what all shards have seen. So a
//! call crosses no shard, each endpoint is probed once, and what is seldom seen by one shard is judged by the sum of all.
//!
//! What decides is `policy`'s: plain state machines. How a request goes to an endpoint is the client's. This ties them: `call.rs`
//! makes a call of tries, `members.rs` is what a shard knows of its endpoints, `keeper.rs` what the keeper does, `hub.rs` how
//! shards speak of a service.

mod call;
mod config;
mod discover;
mod endpoint;
mod hub;
mod keeper;
mod limits;
mod members;
mod probe;
mod survey;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::Method;
use policy::breaker;
use policy::shares::Report;
use shards::sync::{Notify, Semaphore};
use shards::{Scope, Shard, SpawnError};

pub use config::{Config, Protocol, Rate};
pub use discover::{Discover, Endpoints, News};
pub use endpoint::{Address, Endpoint};
pub use policy;
pub use probe::{Expect, Probe};
pub use survey::{EndpointSurvey, Survey, survey};

pub(crate) use call::{Ask, Held, twin};

use crate::client::{self, Client};
use discover::Source;
use hub::Hub;
use keeper::{Keeper, View};
use limits::Limits;
use members::Members;
use survey::Counts;

/// A service that this shard calls. Cloning gives another handle on the same; the last that is dropped ends what is done for it.
///
/// Every shard makes one of the same name and [version](Config::version) with the same [`Config`]; they find each other by that.
///
/// ```
/// # use std::{panic::Location, time::Duration};
/// # use shards::{Shard, Simulation};
/// # use http::StatusCode;
/// # use shardwise_net::{Reply, Request, Response, Service};
/// use shardwise_net::Client;
/// use shardwise_net::upstream::{Config, Endpoint, Endpoints, Upstream};
///
/// # struct Greeter;
/// # impl Service for Greeter {
/// #     fn call(&self, request: Request) -> Reply {
/// #         let text = format!("hello {}", &request.path()[1..]);
/// #         Reply::ready(request.peer().shard(), || Response::new(StatusCode::OK).with_content(text.into_bytes().into()))
/// #     }
/// # }
/// # let mut simulation = Simulation::new(1);
/// # let serve = async |shard: Shard| {
/// #     shardwise_net::serve(&shard, ([10, 0, 0, 1], 80).into(), Greeter, Location::caller()).await
/// # };
/// # simulation.start(1, serve);
/// # let text = simulation.run(async |shard| {
/// #     shard.sleep(Duration::from_millis(1)).await;
/// let endpoints = ["10.0.0.1:80", "10.0.0.2:80"].map(|text| Endpoint::parse(text).unwrap());
/// let config = Config { endpoints: Endpoints::fixed(endpoints), ..Config::default() };
/// let greeters = Upstream::new(&Client::new(&shard), "greeters", config)?;
/// let text = greeters.get("/ada").send().await?.text().await?;
/// # Ok::<_, Box<dyn std::error::Error>>(text)
/// # });
/// assert_eq!(text.unwrap(), "hello ada", "nobody listens at the second, so the first was asked");
/// ```
#[derive(Clone)]
pub struct Upstream(pub(crate) Rc<Shared>);

/// A shard's part of a service.
pub(crate) struct Shared {
    name: Box<str>,
    /// What shards call it among each other.
    key: u64,
    shard: Shard,
    client: Client,
    config: Config,
    members: RefCell<Members>,
    /// Told when endpoints become known.
    news: Notify,
    keeper: Option<Keeper>,
    limits: RefCell<Limits>,
    /// One for each call that may be under way.
    places: Semaphore,
    counts: Counts,
    /// Others have been told that there is nothing to tell.
    is_silent: Cell<bool>,
    /// What wakes the task that tells others, once it rests.
    stirred: Rc<Notify>,
    rests: Cell<bool>,
    /// Of the tasks that work for it, which end with it.
    scope: Scope,
}

/// Why a service cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    upstream: Box<str>,
    why: Box<str>,
}

impl Upstream {
    /// This shard's part of a service, whose connections are the client's. Endpoints that are declared are known at once, others
    /// soon after: calls wait for them.
    ///
    /// Errors: what is declared cannot be; the shard has one of this name and version already, or as many tasks, scopes or upstreams as may be.
    pub fn new(client: &Client, name: &str, config: Config) -> Result<Self, SetupError> {
        let refused = |why: &str| SetupError { upstream: name.into(), why: why.into() };
        config.check().map_err(refused)?;
        let shard = client.shard().clone();
        let key = hub::key(name, config.version);
        let scope = shard.scope().child("upstream").map_err(|error| refused(&error.to_string()))?;
        let keeper = hub::keeper(key, shard.count());
        let shared = Rc::new(Shared {
            name: name.into(),
            key,
            members: RefCell::new(Members::new(&config, shard.now()).map_err(refused)?),
            news: Notify::new(),
            keeper: (keeper == shard.number()).then(Keeper::new),
            places: Semaphore::new(config.calls_max as usize),
            limits: RefCell::new(Limits::new(&config, &shard)),
            counts: Counts::default(),
            is_silent: Cell::new(true),
            stirred: Rc::default(),
            rests: Cell::new(false),
            client: client.clone(),
            config,
            shard: shard.clone(),
            scope,
        });
        Hub::of(&shard).join(&shared).map_err(refused)?;
        if let Source::Fixed(endpoints) = &shared.config.endpoints.0 {
            shared.adopt(&View::first(&shared.config, endpoints));
        }
        let weak = || Rc::downgrade(&shared);
        let full = |error: SpawnError| refused(&error.to_string());
        if shared.keeper.is_some() {
            shared.scope.spawn(keeper::look(weak(), shard.clone())).map_err(full)?.detach();
            shared.scope.spawn(keeper::tell_all(weak(), shard.clone())).map_err(full)?.detach();
        } else {
            let asked = |there: &Rc<Shared>| there.keeper.iter().for_each(Keeper::asked);
            let shard = shard.clone();
            let ask = async move { hub::tell(&shard, keeper, key, asked).await };
            shared.scope.spawn(ask).map_err(full)?.detach();
        }
        shared.scope.spawn(share(weak(), shard)).map_err(full)?.detach();
        Ok(Upstream(shared))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The client that has its connections.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Begins a request for a path, with a query if there is one. Its `Host` is what the endpoint, or [`Config::authority`], says, unless a
    /// header does.
    pub fn request<'u>(&self, method: Method, path: impl Into<Cow<'u, str>>) -> client::Request<'u> {
        client::Request::of(self, method, path.into())
    }

    /// Begins a `GET`.
    pub fn get<'u>(&self, path: impl Into<Cow<'u, str>>) -> client::Request<'u> {
        self.request(Method::GET, path)
    }

    /// Begins a `POST`.
    pub fn post<'u>(&self, path: impl Into<Cow<'u, str>>) -> client::Request<'u> {
        self.request(Method::POST, path)
    }

    /// As it stands on this shard.
    pub fn survey(&self) -> Survey {
        self.0.survey()
    }

    /// Waits until it is known which endpoints there are. Cancel safe.
    pub async fn ready(&self) {
        self.0.found().await;
    }

    /// Takes an endpoint out of use on this shard, or has it used come what may, or leaves it to its breaker again, which it must
    /// have. False if there is no such endpoint here.
    pub fn set_breaker(&self, address: impl Into<Address>, mode: breaker::Mode) -> bool {
        let has_set = self.0.members.borrow_mut().set_breaker(&address.into(), mode, self.0.shard.now());
        self.0.stir();
        has_set
    }
}

impl Shared {
    /// Takes over what the keeper tells.
    fn adopt(&self, view: &View) {
        let gone = self.members.borrow_mut().adopt(view, self);
        gone.iter().for_each(|member| self.client.pool().forget(&member.target.key));
        self.news.notify_all();
    }

    /// Another shard tells what is so with it.
    fn hear(&self, from: usize, reports: &[Report]) {
        self.members.borrow_mut().hear(from, reports, self.shard.now());
        self.stir();
    }

    /// There is something to tell, or to look after.
    fn stir(&self) {
        if self.rests.replace(false) {
            self.stirred.notify_one();
        }
    }

    async fn found(&self) {
        while !self.members.borrow().is_known() {
            self.news.notified().await;
        }
    }
}

/// Tells the others what is so here, now and then, and takes over what they have told. It rests while nobody calls the service and
/// nothing is to be looked after.
async fn share(shared: Weak<Shared>, shard: Shard) {
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let (time, key, stirred) = (strong.config.share_time, strong.key, Rc::clone(&strong.stirred));
        let rests = strong.rests.get();
        // It is not held on to meanwhile: who drops the last handle ends this task.
        drop(strong);
        if rests {
            stirred.notified().await;
        }
        shard.sleep(time).await;
        let Some(strong) = shared.upgrade() else { return };
        strong.members.borrow_mut().tick(&shard, &strong.counts);
        let reports: Arc<[Report]> = match shard.count() {
            1 => Arc::default(),
            _ => strong.members.borrow_mut().reports(shard.now()).into(),
        };
        // That there is nothing any more is told once.
        let was_silent = strong.is_silent.replace(reports.is_empty());
        if reports.is_empty() && was_silent {
            strong.rests.set(strong.counts.running.get() == 0 && strong.members.borrow().is_at_rest());
            continue;
        }
        drop(strong);
        for to in (0..shard.count()).filter(|to| *to != shard.number()) {
            let (from, reports) = (shard.number(), Arc::clone(&reports));
            hub::tell(&shard, to, key, move |there| there.hear(from, &reports)).await;
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream {:?}: {}", self.upstream, self.why)
    }
}

impl std::error::Error for SetupError {}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.0.name)
            .field("version", &self.0.config.version)
            .finish_non_exhaustive()
    }
}
