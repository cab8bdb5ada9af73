//! What is counted of a service on one shard, and how it is read: as plain values, by whoever asks on that shard.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use policy::breaker::{self, Breaker};
use shards::Shard;

use super::hub::Hub;
use super::{Address, Shared};

/// What a shard counts of a service.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: Cell<u64>,
    pub(super) calls_failed: Cell<u64>,
    pub(super) tries: Cell<u64>,
    pub(super) retries: Cell<u64>,
    pub(super) retries_refused: Cell<u64>,
    pub(super) hedges: Cell<u64>,
    pub(super) nobody: Cell<u64>,
    pub(super) shed: Cell<u64>,
    pub(super) limited: Cell<u64>,
    pub(super) ejections: Cell<u64>,
    pub(super) breaker_changes: Cell<u64>,
    pub(super) probes: Cell<u64>,
    pub(super) probes_failed: Cell<u64>,
    pub(super) running: Cell<u64>,
}

/// What it counts of one endpoint.
#[derive(Debug, Default)]
pub(super) struct MemberCounts {
    pub(super) tries: Cell<u64>,
    pub(super) errors: Cell<u64>,
    pub(super) failures: Cell<u64>,
}

/// One more.
pub(super) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// A service as one shard sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Survey {
    /// Its name.
    pub upstream: Arc<str>,
    /// Its version.
    pub version: u64,
    /// Calls that were begun.
    pub calls: u64,
    /// Those that have ended without an answer, or with one of 500 and above.
    pub calls_failed: u64,
    /// Calls under way, with those whose answers are being read.
    pub calls_open: u64,
    /// Calls that wait for one of these to end.
    pub calls_waiting: u64,
    /// Calls refused because as many were under way, and waited, as may.
    pub calls_shed: u64,
    /// Calls refused by the rate limit.
    pub calls_limited: u64,
    /// Calls, and tries, for which there was no endpoint that may be asked.
    pub nobody: u64,
    /// Requests sent, or begun to be.
    pub tries: u64,
    /// Those of them that were sent again.
    pub retries: u64,
    /// Those that would have been, but for the budget.
    pub retries_refused: u64,
    /// Those that were sent to a second endpoint before the first had answered.
    pub hedges: u64,
    /// Times that an endpoint was left alone for what came of requests to it.
    pub ejections: u64,
    /// Times that a breaker, of an endpoint or of all, has opened, closed, or let a trial pass.
    pub breaker_changes: u64,
    /// How the breaker of all stands, if there is one.
    pub breaker: Option<breaker::State>,
    /// Probes, on the shard that makes them.
    pub probes: u64,
    /// Those that have failed.
    pub probes_failed: u64,
    /// Retries that the budget would pay for now.
    pub budget: u64,
    /// How many calls may be under way, as it was learned or declared.
    pub calls_max: u64,
    /// Whether so few endpoints are well that all are asked.
    pub is_panicking: bool,
    /// Those that this shard asks.
    pub endpoints: Vec<EndpointSurvey>,
}

/// An endpoint as one shard sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointSurvey {
    /// Where it listens.
    pub address: Address,
    /// Requests sent to it, or begun to be.
    pub tries: u64,
    /// Answers of 500 and above, but for these:
    pub errors: u64,
    /// No answer, or one of 502, 503 or 504.
    pub failures: u64,
    /// Tries under way, with those whose answers are being read.
    pub open: u64,
    /// How long it takes to answer, told pessimistically; `None` if nobody knows.
    pub latency: Option<Duration>,
    /// Whether it passes its probes, or is not probed.
    pub is_up: bool,
    /// Whether it is left alone for what came of requests to it.
    pub is_ejected: bool,
    /// How its breaker stands, if it has one.
    pub breaker: Option<breaker::State>,
}

/// All services that this shard has a part of, each as it stands. It costs an allocation for each, and is meant for metrics and
/// for people who look.
pub fn survey(shard: &Shard) -> Vec<Survey> {
    Hub::of(shard).all().iter().map(|shared| shared.survey()).collect()
}

impl Shared {
    pub(super) fn survey(&self) -> Survey {
        let now = self.shard.now();
        let counts = &self.counts;
        let mut limits = self.limits.borrow_mut();
        let members = self.members.borrow();
        let endpoint =
            |(member, known): (&std::rc::Rc<super::members::Member>, &policy::balance::Member)| EndpointSurvey {
                address: member.endpoint.address.clone(),
                tries: member.counts.tries.get(),
                errors: member.counts.errors.get(),
                failures: member.counts.failures.get(),
                open: known.outstanding().into(),
                latency: known.latency().latency(now),
                is_up: !known.health().is_failing,
                is_ejected: known.health().is_ejected,
                breaker: member.breaker(),
            };
        Survey {
            upstream: (*self.name).into(),
            version: self.config.version,
            calls: counts.calls.get(),
            calls_failed: counts.calls_failed.get(),
            calls_open: counts.running.get(),
            calls_waiting: self.places.waiting() as u64,
            calls_shed: counts.shed.get(),
            calls_limited: counts.limited.get(),
            nobody: counts.nobody.get(),
            tries: counts.tries.get(),
            retries: counts.retries.get(),
            retries_refused: counts.retries_refused.get(),
            hedges: counts.hedges.get(),
            ejections: counts.ejections.get(),
            breaker_changes: counts.breaker_changes.get(),
            breaker: limits.breaker.as_ref().map(Breaker::state),
            probes: counts.probes.get(),
            probes_failed: counts.probes_failed.get(),
            budget: limits.budget.balance(now),
            calls_max: limits.calls_max().into(),
            is_panicking: members.balancer.is_panicking(),
            endpoints: members.all.iter().zip(members.balancer.members()).map(endpoint).collect(),
        }
    }
}
