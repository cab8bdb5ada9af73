//! What a shard knows of its endpoints, and which of them it asks next.
//!
//! The balancer decides among those that fit; a breaker of each says whether its time has come. A call holds on to its member,
//! whatever becomes of the set meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::Place;
use policy::balance::{self, Balancer, Entry};
use policy::breaker::{self, Admission, Breaker, Mode};
use policy::outlier::{self, Outcome, Outlier};
use policy::probe::Verdict;
use policy::shares::{Report, Shares};
use shards::Shard;
use smallvec::SmallVec;

use super::config::{Config, Protocol};
use super::keeper::View;
use super::survey::{Counts, MemberCounts, count};
use super::{Address, Endpoint, Shared};
use crate::client::target::{self, Protocols, Target};
use crate::limits::UPSTREAM_TRIED_MAX;

/// The endpoints of this shard's subset.
pub(super) struct Members {
    pub(super) balancer: Balancer,
    /// In the balancer's order.
    pub(super) all: Vec<Rc<Member>>,
    outlier: Option<Outlier>,
    /// What other shards have told.
    shares: Shares,
    /// All that there are, as they were told; `None` until then.
    known: Option<Arc<[Endpoint]>>,
}

/// One endpoint, as long as it is in the set or a call to it is under way.
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    pub(super) id: u64,
    pub(super) target: Target<'static>,
    breaker: Option<RefCell<Breaker>>,
    pub(super) counts: MemberCounts,
    /// How many tries others have been told of.
    told: Cell<u64>,
}

/// Endpoints that were asked for a call already.
pub(super) type Tried = SmallVec<[u64; UPSTREAM_TRIED_MAX]>;

/// A member that was picked, with its breaker's leave.
pub(super) struct Picked {
    pub(super) member: Rc<Member>,
    pub(super) place: Place,
    pub(super) admission: Option<Admission>,
}

/// Why nobody was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nobody {
    /// There are no endpoints.
    Known,
    /// None of them may be asked.
    Well,
}

impl Members {
    /// Errors: what is wrong with the settings.
    pub(super) fn new(config: &Config, now: Instant) -> Result<Self, &'static str> {
        let balancer = Balancer::new(config.balance)?;
        let outlier = config.outlier.map(|settings| Outlier::new(settings, now)).transpose()?;
        Ok(Members { balancer, all: Vec::new(), outlier, shares: Shares::default(), known: None })
    }

    /// Whether it is known which endpoints there are.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// Takes over what the keeper tells. Returns the members that are gone.
    pub(super) fn adopt(&mut self, view: &View, shared: &Shared) -> Vec<Rc<Member>> {
        let Shared { shard, config, counts, .. } = shared;
        let now = shard.now();
        let mut gone = Vec::new();
        if self.known.as_deref() != Some(&*view.endpoints) {
            self.known = Some(Arc::clone(&view.endpoints));
            let chosen = view.subset(config, shard);
            let mut former: BTreeMap<_, _> = self.all.drain(..).map(|member| (member.id, member)).collect();
            let mut entries = Vec::with_capacity(chosen.len());
            for (endpoint, share) in chosen {
                let id = endpoint.id();
                entries.push(Entry { id, weight: endpoint.weight as f32, share });
                let known = former.remove(&id);
                self.all.push(known.unwrap_or_else(|| Rc::new(Member::new(endpoint, id, config, &shared.name))));
            }
            gone.extend(former.into_values());
            self.balancer.set(&entries, now, &mut || shard.random());
            if let Some(outlier) = &mut self.outlier {
                outlier.set(&entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
            }
        }
        for index in 0..self.all.len() {
            let member = &self.all[index];
            let place = Place { index, id: member.id };
            let Some(verdict) = view.verdict(&member.endpoint) else { continue };
            let (is_failing, is_degraded) = (verdict == Verdict::Down, verdict == Verdict::Degraded);
            if self.balancer.members()[index].health().is_failing && !is_failing {
                // What was seen of it before its probes found it well again says nothing any more.
                let pardoned = self.outlier.as_mut().and_then(|outlier| outlier.pardon(place));
                pardoned.into_iter().for_each(|event| self.heed(event, now, counts));
            }
            self.judge(place, now, |health| (health.is_failing, health.is_degraded) = (is_failing, is_degraded));
        }
        gone
    }

    /// Another shard tells what is so with it.
    pub(super) fn hear(&mut self, from: usize, reports: &[Report], now: Instant) {
        self.shares.hear(from, reports, now);
        let Some(outlier) = &mut self.outlier else { return };
        for report in reports {
            if let Some(place) = outlier.place(report.id) {
                outlier.add(place, report.tally);
            }
        }
    }

    /// What this shard tells the others; nothing if there is nothing to tell.
    pub(super) fn reports(&mut self, now: Instant) -> Vec<Report> {
        let mut reports = Vec::new();
        for (index, member) in self.all.iter().enumerate() {
            let place = Place { index, id: member.id };
            let known = &self.balancer.members()[index];
            let (outstanding, latency) = (known.outstanding(), known.latency().latency(now));
            let outlier = self.outlier.as_mut();
            let (tally, ejected_until) = outlier
                .map(|outlier| (outlier.take_tally(place), outlier.ejected_here_until(place)))
                .unwrap_or_default();
            let tries = member.counts.tries.get();
            let was_asked = member.told.replace(tries) != tries;
            if was_asked || outstanding > 0 || tally.requests > 0 || ejected_until.is_some() {
                reports.push(Report { id: member.id, outstanding, latency, ejected_until, tally });
            }
        }
        reports
    }

    /// Whether nothing becomes of time that passes: nobody is left alone, and no breaker is to be looked at.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_well = |member: &balance::Member| !member.health().is_ejected;
        let is_closed = |member: &Rc<Member>| member.breaker().is_none_or(|state| state == breaker::State::Closed);
        self.balancer.members().iter().all(is_well) && self.all.iter().all(is_closed)
    }

    /// Now and then: what others have told is taken over, who was ejected returns, and open breakers are looked at.
    pub(super) fn tick(&mut self, shard: &Shard, counts: &Counts) {
        let now = shard.now();
        let mut events: SmallVec<[outlier::Event; 4]> = SmallVec::new();
        for (index, member) in self.all.iter().enumerate() {
            let place = Place { index, id: member.id };
            let elsewhere = self.shares.elsewhere(member.id, now);
            self.balancer.hear(place, elsewhere.outstanding, elsewhere.latency, elsewhere.as_of.unwrap_or(now));
            if let (Some(outlier), Some(until)) = (&mut self.outlier, elsewhere.ejected_until) {
                events.extend(outlier.adopt(place, until, now));
            }
        }
        if let Some(outlier) = &mut self.outlier {
            outlier.tick(now, &mut || shard.random(), |event| events.push(event));
        }
        for event in events {
            self.heed(event, now, counts);
        }
        for index in 0..self.all.len() {
            self.look_at_breaker(index, now);
        }
    }

    /// An endpoint is barred as long as its breaker lets no call pass.
    fn look_at_breaker(&mut self, index: usize, now: Instant) {
        let member = &self.all[index];
        if let Some(breaker) = &member.breaker {
            let (id, is_barred) = (member.id, !breaker.borrow().admits(now));
            self.judge(Place { index, id }, now, |health| health.is_barred = is_barred);
        }
    }

    /// Somebody was ejected, or has returned.
    fn heed(&mut self, event: outlier::Event, now: Instant, counts: &Counts) {
        let (id, is_ejected) = match event {
            outlier::Event::Ejected { id, reason, .. } => {
                count(&counts.ejections);
                tracing::info!(endpoint = %self.label(id), ?reason, "an endpoint is left alone for a while");
                (id, true)
            }
            outlier::Event::Returned { id } => {
                tracing::info!(endpoint = %self.label(id), "an endpoint is asked again");
                (id, false)
            }
        };
        if let Some(index) = self.all.iter().position(|member| member.id == id) {
            self.judge(Place { index, id }, now, |health| health.is_ejected = is_ejected);
        }
    }

    pub(super) fn set_breaker(&mut self, address: &Address, mode: Mode, now: Instant) -> bool {
        let at = self.all.iter().position(|member| member.endpoint.address == *address);
        let Some((index, breaker)) = at.and_then(|at| Some((at, self.all[at].breaker.as_ref()?))) else { return false };
        breaker.borrow_mut().set_mode(mode, now);
        self.look_at_breaker(index, now);
        true
    }

    fn label(&self, id: u64) -> String {
        let member = self.all.iter().find(|member| member.id == id);
        member.map(|member| member.endpoint.to_string()).unwrap_or_default()
    }

    /// Changes what speaks against a member, unless it has left. It costs a look at every member, if there is a change.
    fn judge(&mut self, place: Place, now: Instant, change: impl Fn(&mut balance::Health)) {
        let Some(at) = self.balancer.find(place) else { return };
        let before = self.balancer.members()[at].health();
        let mut health = before;
        change(&mut health);
        if health != before {
            self.balancer.judge(place.id, now, change);
        }
    }

    /// Picks one, with its breaker's leave, and counts the call that begins.
    pub(super) fn pick(&mut self, key: Option<u64>, tried: &mut Tried, shard: &Shard) -> Result<Picked, Nobody> {
        if self.all.is_empty() {
            return Err(Nobody::Known);
        }
        let now = shard.now();
        loop {
            let ask = balance::Ask { key, tried };
            let place = self.balancer.pick(ask, now, &mut || shard.random()).ok_or(Nobody::Well)?;
            let member = &self.all[place.index];
            let admission = match &member.breaker {
                None => None,
                Some(breaker) => match breaker.borrow_mut().admit(now) {
                    Ok(admission) => Some(admission),
                    Err(_) => {
                        // It is at its trials.
                        self.balancer.judge(place.id, now, |health| health.is_barred = true);
                        continue;
                    }
                },
            };
            if tried.len() < UPSTREAM_TRIED_MAX {
                tried.push(place.id);
            }
            self.balancer.begin(place);
            return Ok(Picked { member: Rc::clone(member), place, admission });
        }
    }

    /// Whether there is an endpoint that may be asked and has not been tried.
    pub(super) fn has_others(&self, tried: &Tried) -> bool {
        let is_well = |health: balance::Health| !(health.is_failing || health.is_ejected || health.is_barred);
        self.balancer.members().iter().any(|member| is_well(member.health()) && !tried.contains(&member.id()))
    }

    /// A try has been answered, or was not: for its breaker, and if it says how long that took. Without an outcome it was given up.
    pub(super) fn tell(
        &mut self,
        picked: &mut Picked,
        outcome: Option<Outcome>,
        took: Option<Duration>,
        shared: &Shared,
    ) {
        let Shared { shard, counts, .. } = shared;
        let now = shard.now();
        let Picked { member, place, admission } = picked;
        if let Some(took) = took {
            self.balancer.observe(*place, took, now);
        }
        let (Some(breaker), Some(admission)) = (&member.breaker, admission.take()) else { return };
        let mut breaker = breaker.borrow_mut();
        match outcome {
            None => breaker.forget(admission),
            Some(Outcome::Success) => breaker.record(admission, breaker::Outcome::Success, now, || shard.random()),
            Some(_) => breaker.record(admission, breaker::Outcome::Failure, now, || shard.random()),
        }
        while let Some(event) = breaker.next_event() {
            count(&counts.breaker_changes);
            tracing::info!(endpoint = %member.endpoint, from = ?event.from, to = ?event.to, why = ?event.why, "a breaker has changed");
        }
        let is_barred = !breaker.admits(now);
        self.judge(*place, now, |health| health.is_barred = is_barred);
    }

    /// Nothing is under way of a try any more. What has come of it is compared with what comes of others, unless it was given up.
    pub(super) fn end(&mut self, place: Place, outcome: Option<Outcome>, shared: &Shared) {
        let now = shared.shard.now();
        self.balancer.end(place, None, now);
        let ejected =
            outcome.and_then(|outcome| self.outlier.as_mut()?.record(place, outcome, now, || shared.shard.random()));
        ejected.into_iter().for_each(|event| self.heed(event, now, &shared.counts));
    }
}

impl Member {
    fn new(endpoint: Endpoint, id: u64, config: &Config, upstream: &str) -> Self {
        let target = target(config, &endpoint, upstream);
        let breaker = config.breaker.map(|config| RefCell::new(Breaker::new(config)));
        let (counts, told) = Default::default();
        Member { endpoint, id, target, breaker, counts, told }
    }

    pub(super) fn breaker(&self) -> Option<breaker::State> {
        self.breaker.as_ref().map(|breaker| breaker.borrow().state())
    }
}

/// How an endpoint is asked; `whose` keeps the connections of one service apart from those of others.
pub(super) fn target(config: &Config, endpoint: &Endpoint, whose: &str) -> Target<'static> {
    let Endpoint { address, name, .. } = endpoint;
    // What listens at a path goes by no name that others know.
    let (authority_usual, name_usual, place) = match address {
        Address::Ip(address) => (address.to_string(), address.ip().to_string(), target::Place::Fixed(*address)),
        Address::Unix(path) => {
            let place = target::Place::Unix(path.to_path_buf().into());
            ("localhost".to_owned(), "localhost".to_owned(), place)
        }
    };
    let authority = config.authority.as_ref().or(name.as_ref()).map_or(authority_usual, |name| name.to_string());
    let name = match (name, &config.authority) {
        (Some(name), _) => name.to_string(),
        (None, Some(authority)) => host_of(authority).to_owned(),
        (None, None) => name_usual,
    };
    Target {
        // Who declares it anew may say otherwise what it speaks.
        key: format!("{whose} {}@{address}/{name}", config.version).into(),
        authority: authority.into(),
        name: name.into(),
        is_secure: config.is_secure,
        protocols: match config.protocol {
            Protocol::Usual => Protocols::Usual,
            Protocol::Http1 => Protocols::Http1,
            Protocol::Http2 => Protocols::Http2,
            Protocol::Http3 => Protocols::Http3,
        },
        place,
        by: target::By::Usual,
    }
}

/// Without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
