//! What one shard does for all: learns which endpoints there are, probes them, and tells the others.
//!
//! The one idea: there is one [`View`], it is replaced as a whole, and whoever gets two keeps the later. Telling is one task's, so
//! that a view which was overtaken while others were told is never sent.

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
    /// How many views were before it.
    pub(super) version: u64,
    /// How many sets of endpoints were before its.
    pub(super) generation: u64,
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
    told: Cell<u64>,
}

impl View {
    /// What every shard knows without being told.
    pub(super) fn first(config: &Config, endpoints: &[Endpoint]) -> Self {
        View::new(1, 1, tidy(endpoints.to_vec()), |_| at_first(config))
    }

    fn new(generation: u64, version: u64, endpoints: Vec<Endpoint>, verdict: impl Fn(&Endpoint) -> Verdict) -> Self {
        let verdicts = endpoints.iter().map(verdict).collect();
        View { version, generation, endpoints: endpoints.into(), verdicts }
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
        let (view, probes, wrong, told) = Default::default();
        Keeper { view, news: Rc::new(Notify::new()), probes, wrong, told }
    }

    /// A shard has made its part and wants to know what is known.
    pub(super) fn asked(&self) {
        self.told.set(0);
        self.news.notify_one();
    }

    fn set(&self, view: View) {
        *self.view.borrow_mut() = Some(view);
        self.news.notify_one();
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
    let (generation, version) = former.as_ref().map_or((1, 1), |former| (former.generation + 1, former.version + 1));
    let first = at_first(&shared.config);
    let known = |endpoint: &Endpoint| {
        let former = former.as_ref()?;
        let at = former.endpoints.iter().position(|known| known.id() == endpoint.id())?;
        Some(former.verdicts[at])
    };
    let view = View::new(generation, version, found, |endpoint| known(endpoint).unwrap_or(first));
    tracing::debug!(upstream = &*shared.name, endpoints = view.endpoints.len(), "endpoints are known");
    let ids: Vec<(u64, Endpoint)> = view.endpoints.iter().map(|endpoint| (endpoint.id(), endpoint.clone())).collect();
    keeper.set(view);
    if shared.config.probe.is_none() {
        return;
    }
    let mut probes = keeper.probes.borrow_mut();
    let gone: Vec<u64> = probes.keys().copied().filter(|id| ids.iter().all(|(known, _)| known != id)).collect();
    let gone: Vec<Scope> = gone.iter().filter_map(|id| probes.remove(id)).collect();
    for (id, endpoint) in ids {
        if probes.contains_key(&id) {
            continue;
        }
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
    drop(gone);
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
            let asked = probe.ask(&shared.client, &shared.config, &endpoint);
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
    if let Some(at) = former.endpoints.iter().position(|known| known.id() == endpoint.id()) {
        verdicts[at] = verdict;
        keeper.set(View { version: former.version + 1, verdicts: verdicts.into(), ..former });
    }
}

/// Tells all shards what is known, whenever there is something new.
pub(super) async fn tell_all(shared: Weak<Shared>, shard: Shard) {
    loop {
        let (view, key, news) = {
            let Some(shared) = shared.upgrade() else { return };
            let Some(keeper) = &shared.keeper else { return };
            let view = keeper.view.borrow().clone().filter(|view| view.version != keeper.told.get());
            view.iter().for_each(|view| keeper.told.set(view.version));
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
