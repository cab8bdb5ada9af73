//! What one shard does for all: learns which endpoints there are, probes them, and tells the others.
//!
//! The one idea: there is one [`View`], and it is replaced as a whole. Telling is one task's, and the mesh keeps what goes from one shard to
//! another in order, so that nobody goes back to a view that was overtaken.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use policy::probe::{self, Finding, Verdict};
use policy::subset::{Peer, subset};
use shards::sync::Notify;
use shards::{Scope, Shard};

use super::discover::{Discover, Names, Source, tidy};
use super::hub::tell;
use super::{Config, Endpoint, Shared};
use crate::limits::UPSTREAM_LOOK_PAUSE;

/// All endpoints, as the keeper knows them.
#[derive(Clone)]
pub(super) struct View {
    /// In order, without repetitions.
    pub(super) endpoints: Arc<[Endpoint]>,
    /// One for each, by probes.
    pub(super) verdicts: Arc<[Verdict]>,
}

/// What the keeper has besides what every shard has.
pub(super) struct Keeper {
    /// `None` until the endpoints are known.
    view: RefCell<Option<View>>,
    news: Rc<Notify>,
    /// Of the tasks that probe, by the endpoints' ids. Dropping one ends its task.
    probes: RefCell<BTreeMap<u64, Scope>>,
    /// What went wrong last, so that it is said once.
    wrong: RefCell<Option<String>>,
    /// The view is still to be told.
    has_news: Cell<bool>,
}

impl View {
    /// What every shard knows without being told.
    pub(super) fn first(config: &Config, endpoints: &[Endpoint]) -> Self {
        View::new(tidy(endpoints.to_vec()), |_| at_first(config))
    }

    fn new(endpoints: Vec<Endpoint>, verdict: impl Fn(&Endpoint) -> Verdict) -> Self {
        let verdicts = endpoints.iter().map(verdict).collect();
        View { endpoints: endpoints.into(), verdicts }
    }

    /// Where an endpoint stands, whatever its weight.
    fn find(&self, endpoint: &Endpoint) -> Option<usize> {
        let whose = |endpoint: &Endpoint| (endpoint.address.clone(), endpoint.name.clone());
        self.endpoints.binary_search_by_key(&whose(endpoint), whose).ok()
    }

    pub(super) fn verdict(&self, endpoint: &Endpoint) -> Option<Verdict> {
        self.find(endpoint).map(|at| self.verdicts[at])
    }

    /// The endpoints that a shard asks, each with its share.
    pub(super) fn subset(&self, config: &Config, shard: &Shard) -> Vec<(Endpoint, f32)> {
        let Some(min) = config.subset.filter(|min| *min < self.endpoints.len()) else {
            return self.endpoints.iter().map(|endpoint| (endpoint.clone(), 1.0)).collect();
        };
        let ids: Vec<_> = self.endpoints.iter().map(|endpoint| (endpoint.id(), endpoint.weight as f32)).collect();
        let parts = subset(Peer::shard(shard.number(), shard.count()), &ids, min);
        parts.iter().map(|part| (self.endpoints[part.index].clone(), part.share)).collect()
    }
}

impl Keeper {
    pub(super) fn new() -> Self {
        let (view, probes, wrong, has_news) = Default::default();
        Keeper { view, news: Rc::new(Notify::new()), probes, wrong, has_news }
    }

    /// A shard has made its part and wants to know what is known.
    pub(super) fn asked(&self) {
        self.has_news.set(true);
        self.news.notify_one();
    }

    fn set(&self, view: View) {
        *self.view.borrow_mut() = Some(view);
        self.asked();
    }
}

/// Finds endpoints for as long as anybody calls the service.
pub(super) async fn look(shared: Weak<Shared>, shard: Shard) {
    let Some(mut source) = shared.upgrade().map(|shared| Looking::new(&shared)) else {
        return;
    };
    loop {
        let found = source.next(&shard).await;
        let Some(shared) = shared.upgrade() else { return };
        match found {
            Ok(Some(found)) => {
                shared.keeper.as_ref().iter().for_each(|keeper| drop(keeper.wrong.take()));
                adopt(&shared, tidy(found));
            }
            Ok(None) => return,
            Err(error) => {
                let Some(keeper) = &shared.keeper else { return };
                let said = keeper.wrong.replace(Some(error.to_string()));
                if said.as_ref() != keeper.wrong.borrow().as_ref() {
                    tracing::error!(upstream = &*shared.name, "its endpoints stay as they were: {error}");
                }
                drop(shared);
                shard.sleep(UPSTREAM_LOOK_PAUSE).await;
            }
        }
    }
}

/// What endpoints come from, while they do.
enum Looking {
    Fixed(Option<Vec<Endpoint>>),
    Found(Box<dyn Discover>),
}

impl Looking {
    fn new(shared: &Shared) -> Self {
        match &shared.config.endpoints.0 {
            Source::Fixed(endpoints) => Looking::Fixed(Some(endpoints.to_vec())),
            Source::Names(names) => Looking::Found(Box::new(Names::new(&shared.client, names))),
            Source::Found(make) => Looking::Found(make()),
        }
    }

    /// `None` when nothing will ever change again.
    async fn next(&mut self, shard: &Shard) -> Result<Option<Vec<Endpoint>>, Box<dyn std::error::Error>> {
        match self {
            Looking::Fixed(endpoints) => Ok(endpoints.take()),
            Looking::Found(discover) => discover.next(shard).await.map(Some),
        }
    }
}

/// These are the endpoints from now on.
fn adopt(shared: &Rc<Shared>, found: Vec<Endpoint>) {
    let Some(keeper) = &shared.keeper else { return };
    let former = keeper.view.borrow().clone();
    if former.as_ref().is_some_and(|former| *former.endpoints == *found) {
        return;
    }
    let first = at_first(&shared.config);
    let known = |endpoint: &Endpoint| former.as_ref()?.verdict(endpoint);
    let view = View::new(found, |endpoint| known(endpoint).unwrap_or(first));
    tracing::debug!(upstream = &*shared.name, endpoints = view.endpoints.len(), "endpoints are known");
    let endpoints = Arc::clone(&view.endpoints);
    keeper.set(view);
    if shared.config.probe.is_none() {
        return;
    }
    let mut probes = keeper.probes.borrow_mut();
    let mut former = std::mem::take(&mut *probes);
    for endpoint in &*endpoints {
        let id = endpoint.id();
        if let Some(scope) = former.remove(&id) {
            probes.insert(id, scope);
            continue;
        }
        let endpoint = endpoint.clone();
        let probing = probe_on(Rc::downgrade(shared), shared.shard.clone(), endpoint);
        let begun = shared.scope.child("probe").ok().filter(|scope| scope.spawn(probing).is_ok());
        match begun {
            Some(scope) => drop(probes.insert(id, scope)),
            None => tracing::error!(
                upstream = &*shared.name,
                "an endpoint is not probed: the shard has too many tasks or scopes"
            ),
        }
    }
    drop(probes);
    // Those that are gone are probed no more.
    drop(former);
}

/// What an endpoint counts as before anything is known.
fn at_first(config: &Config) -> Verdict {
    match &config.probe {
        Some(probe) if !probe.settings.starts_up => Verdict::Down,
        _ => Verdict::Up,
    }
}

/// Probes one endpoint again and again.
async fn probe_on(shared: Weak<Shared>, shard: Shard, endpoint: Endpoint) {
    let Some(settings) = shared.upgrade().and_then(|shared| shared.config.probe.as_ref().map(|probe| probe.settings))
    else {
        return;
    };
    // They were checked when the service was set up.
    let Ok(mut probes) = probe::Probe::new(settings, shard.now(), shard.random()) else { return };
    loop {
        shard.alarm(probes.due()).await;
        let finding = {
            let Some(shared) = shared.upgrade() else { return };
            let Some(probe) = shared.config.probe.clone() else { return };
            let asked = probe.ask(&shared, &endpoint);
            shard.timeout(probes.timeout(), asked).await.unwrap_or(Finding::Fail)
        };
        let changed = probes.tell(finding, shard.now(), shard.random());
        let Some(shared) = shared.upgrade() else { return };
        let counts = &shared.counts;
        counts.probes.set(counts.probes.get() + 1);
        if matches!(finding, Finding::Fail | Finding::Refusal) {
            counts.probes_failed.set(counts.probes_failed.get() + 1);
        }
        if let Some(verdict) = changed {
            tracing::info!(upstream = &*shared.name, %endpoint, ?verdict, "probes have found");
            judge(&shared, &endpoint, verdict);
        }
    }
}

fn judge(shared: &Shared, endpoint: &Endpoint, verdict: Verdict) {
    let Some(keeper) = &shared.keeper else { return };
    let Some(former) = keeper.view.borrow().clone() else { return };
    let mut verdicts = former.verdicts.to_vec();
    if let Some(at) = former.find(endpoint) {
        verdicts[at] = verdict;
        keeper.set(View { verdicts: verdicts.into(), ..former });
    }
}

/// Tells all shards what is known, whenever there is something new.
pub(super) async fn tell_all(shared: Weak<Shared>, shard: Shard) {
    loop {
        let (view, key, news) = {
            let Some(shared) = shared.upgrade() else { return };
            let Some(keeper) = &shared.keeper else { return };
            let view = keeper.view.borrow().clone().filter(|_| keeper.has_news.replace(false));
            (view, shared.key, Rc::clone(&keeper.news))
        };
        match view {
            // It is not held on to meanwhile: who drops the last handle ends this task.
            None => news.notified().await,
            Some(view) => {
                for to in 0..shard.count() {
                    let view = view.clone();
                    tell(&shard, to, key, move |there| there.adopt(&view)).await;
                }
            }
        }
    }
}
