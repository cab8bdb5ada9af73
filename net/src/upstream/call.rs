//! One call: a place among those under way, then its tries, one after the other or two at a time, until an answer is good enough.
//!
//! The one idea: what is counted is given back by values that are dropped. A [`Held`] stands for a call that is under way and for
//! the endpoint that answers it; it goes with the response, so that who reads slowly, or goes away, is counted for what it is.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{HOST, RETRY_AFTER};
use http::{HeaderValue, Method};
use policy::adaptive::Sample;
use policy::breaker::{self, Admission};
use policy::outlier::Outcome;
use policy::retry::{Cause, Decision, Tries, Verdict};
use shards::combine::race;
use shards::sync::Permit;
use shards::{Pooled, Shard};

use super::members::{Nobody, Picked, Tried};
use super::survey::count;
use super::{Address, Shared};
use crate::client::upgrade::Upgrade;
use crate::client::{Error, Response, Step, ask};
use crate::conn::client::Outline;
use crate::limits::UPSTREAM_DRAIN_BYTES_MAX;
use crate::{Content, Fault, Headers};

/// What is asked, whoever is asked for it.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a [u8],
    pub(crate) headers: &'a Headers,
    pub(crate) expects: bool,
    pub(crate) upgrade: Option<&'a Upgrade>,
    /// Calls with the same go to the same endpoint, where the balancing looks at it.
    pub(crate) key: Option<u64>,
}

/// A call that is under way. It ends when this is dropped.
struct Place {
    shared: Rc<Shared>,
    /// Of the breaker of all.
    admission: Option<Admission>,
    permit: Option<Permit>,
    /// What came of it, if that is the service's doing, and how long its last try took.
    ended: Option<(Ended, Duration)>,
    in_flight: u32,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    /// It was too much for the service.
    Overloaded,
}

/// A try at an endpoint. It ends when this is dropped; what comes of it is not settled before, since a body may break off.
struct Try {
    shared: Rc<Shared>,
    picked: Picked,
    since: Instant,
    /// What has come of it so far; `None` until it is answered, or if that is nobody's fault there.
    outcome: Option<Outcome>,
}

/// What goes with a response until its body has ended.
pub(crate) struct Held {
    tried: Try,
    _place: Place,
}

impl Shared {
    /// Calls the service: see [`Request::send`](crate::client::Request::send).
    pub(crate) async fn call(self: &Rc<Self>, ask: Ask<'_>, mut content: Content) -> Result<Response, Error> {
        let counts = &self.counts;
        count(&counts.calls);
        let called = async {
            let place = self.enter().await?;
            self.known().await?;
            self.go(&ask, &mut content, place).await
        };
        let response = called.await;
        if response.as_ref().map_or(true, |response| response.status().is_server_error()) {
            count(&counts.calls_failed);
        }
        response
    }

    /// A place among the calls that are under way.
    async fn enter(self: &Rc<Self>) -> Result<Place, Error> {
        let (shard, config, counts) = (&self.shard, &self.config, &self.counts);
        self.stir();
        let limited = self.limits.borrow_mut().rate.as_mut().and_then(|rate| rate.admit(shard.now()).err());
        if let Some(after) = limited {
            count(&counts.limited);
            return Err(Error::Limited { upstream: self.name.clone(), after: Some(after) });
        }
        let admitted = self.limits.borrow_mut().breaker.as_mut().map(|breaker| breaker.admit(shard.now())).transpose();
        let Ok(admission) = admitted else {
            count(&counts.nobody);
            return Err(Error::NoEndpoint {
                upstream: self.name.clone(),
                why: "too many calls have failed, and no more are made for a while",
            });
        };
        let mut place = Place { shared: Rc::clone(self), admission, permit: None, ended: None, in_flight: 0 };
        let permit = match self.places.try_acquire(1) {
            Ok(permit) => permit,
            Err(_) if self.places.waiting() >= config.waiting_max as usize => {
                count(&counts.shed);
                return Err(Error::Limited { upstream: self.name.clone(), after: None });
            }
            Err(_) => match shard.timeout(config.wait_max, self.places.acquire(1)).await {
                Ok(Ok(permit)) => permit,
                _ => {
                    count(&counts.shed);
                    return Err(Error::Limited { upstream: self.name.clone(), after: None });
                }
            },
        };
        counts.running.set(counts.running.get() + 1);
        place.in_flight = counts.running.get() as u32;
        place.permit = Some(permit);
        Ok(place)
    }

    /// Waits until it is known which endpoints there are.
    async fn known(&self) -> Result<(), Error> {
        if self.members.borrow().is_known() {
            return Ok(());
        }
        let waited = self.shard.timeout(self.config.wait_max, self.found()).await;
        waited.map_err(|_| Error::NoEndpoint { upstream: self.name.clone(), why: "none is known yet" })
    }

    async fn go(self: &Rc<Self>, ask: &Ask<'_>, content: &mut Content, mut place: Place) -> Result<Response, Error> {
        let (shard, counts) = (&self.shard, &self.counts);
        self.limits.borrow_mut().budget.deposit(shard.now());
        let mut tries = Tries::new(&self.config.retry, shard.now());
        let mut tried = Tried::default();
        let is_empty = matches!(content, Content::Empty);
        let mut renewed = None::<Pooled<Headers>>;
        loop {
            let ask = &Ask { headers: renewed.as_deref().unwrap_or(ask.headers), ..*ask };
            let since = shard.now();
            let time = tries.try_time(since);
            let result = self.one_or_two(ask, content, time, &mut tried).await;
            let is_at_hand = is_empty || !matches!(content, Content::Empty);
            let verdict = |cause, did_nothing, retry_after| Verdict {
                cause,
                is_idempotent: ask.method.is_idempotent(),
                did_nothing,
                is_at_hand,
                retry_after,
            };
            let failed = match &result {
                Ok((response, _)) if !is_failure(response) => None,
                Ok((response, _)) => {
                    let cause = Cause::Status(response.status().as_u16());
                    // What one endpoint asks for does not hold for the others.
                    let is_last = !self.members.borrow().has_others(&tried);
                    let after = is_last.then(|| retry_after(response, shard.wall_clock())).flatten();
                    Some(verdict(cause, false, after))
                }
                Err(error) => Some(verdict(cause_of(error), error.can_retry(), None)),
            };
            let mut pause = None;
            if let Some(verdict) = failed
                && let Decision::Retry(after) = tries.failed(&verdict, shard.now(), shard.random())
            {
                match self.limits.borrow_mut().budget.withdraw(shard.now()) {
                    true => pause = Some(after),
                    false => count(&counts.retries_refused),
                }
            }
            let Some(pause) = pause else {
                let ended = match &result {
                    Ok((response, _)) if is_overload(response) => Some(Ended::Overloaded),
                    Ok((response, _)) if is_failure(response) => Some(Ended::Badly),
                    Ok(_) => Some(Ended::Well),
                    Err(error) if error.is_timeout() => Some(Ended::Overloaded),
                    Err(error) => (error.fault() == Fault::Upstream).then_some(Ended::Badly),
                };
                // The wait for a place, earlier tries and the reading of the answer are not the service's.
                place.ended = ended.map(|ended| (ended, shard.now().saturating_duration_since(since)));
                place.tell_breaker();
                let (response, tried) = result?;
                return Ok(response.held(Held { tried, _place: place }));
            };
            count(&counts.retries);
            match result {
                // In a slot of its own, so that a call which succeeds has no room for it.
                Ok(failed) => shard.lease(read_over(shard, failed, pause)).await,
                Err(_) => shard.sleep(pause).await,
            }
            renewed = self.with_time_left(ask.headers);
        }
    }

    /// The headers with the time that is left by now, if servers are told of it: the first try was told of all.
    fn with_time_left(&self, headers: &Headers) -> Option<Pooled<Headers>> {
        let field = self.client.deadline_field()?;
        let deadline = self.shard.current_scope().ok()?.deadline()?;
        let mut headers = headers.clone();
        field.tell(&mut headers, deadline, self.shard.now());
        Some(self.shard.pooled(headers))
    }

    /// One try, or a second beside it when the first takes long.
    async fn one_or_two(
        self: &Rc<Self>,
        ask: &Ask<'_>,
        content: &mut Content,
        time: Option<Duration>,
        tried: &mut Tried,
    ) -> Result<(Response, Try), Error> {
        let shard = &self.shard;
        let now = shard.now();
        let delay = self.limits.borrow_mut().hedge.as_mut().and_then(|hedge| hedge.begin(now));
        let can_hedge = ask.method.is_idempotent() && ask.upgrade.is_none() && !ask.expects;
        let second = delay.filter(|_| can_hedge).and_then(|delay| Some((delay, twin(content)?)));
        let picked = self.pick(ask, tried)?;
        let result = match second {
            None => self.one(ask, content, time, picked).await,
            // In a slot of its own, so that a call which is not hedged has no room for a second try.
            Some((delay, other)) => {
                shard.lease(self.two(ask, [content, &mut { other }], time, tried, picked, delay)).await
            }
        };
        self.learn(now, &result);
        result
    }

    /// A try, and a second beside it after a while.
    async fn two(
        self: &Rc<Self>,
        ask: &Ask<'_>,
        [content, other]: [&mut Content; 2],
        time: Option<Duration>,
        tried: &mut Tried,
        picked: Try,
        delay: Duration,
    ) -> Result<(Response, Try), Error> {
        let shard = &self.shard;
        let mut first = pin!(self.one(ask, content, time, picked));
        let early = race((async { Some(first.as_mut().await) }, async {
            shard.sleep(delay).await;
            None
        }));
        if let Some(result) = early.await {
            return result;
        }
        let may = self.limits.borrow_mut().may_hedge(shard.now());
        match self.pick(ask, tried) {
            Ok(picked) if may => {
                count(&self.counts.hedges);
                first_good(first, self.one(ask, other, time, picked)).await
            }
            _ => first.await,
        }
    }

    fn learn(&self, since: Instant, result: &Result<(Response, Try), Error>) {
        if let (Ok(_), Some(hedge)) = (result, &mut self.limits.borrow_mut().hedge) {
            let now = self.shard.now();
            hedge.record(now.saturating_duration_since(since), now);
        }
    }

    fn pick(self: &Rc<Self>, ask: &Ask<'_>, tried: &mut Tried) -> Result<Try, Error> {
        let picked = self.members.borrow_mut().pick(ask.key, tried, &self.shard);
        match picked {
            Ok(picked) => {
                count(&self.counts.tries);
                count(&picked.member.counts.tries);
                Ok(Try { shared: Rc::clone(self), picked, since: self.shard.now(), outcome: None })
            }
            Err(nobody) => {
                count(&self.counts.nobody);
                let why = match nobody {
                    Nobody::Known => "there are none",
                    Nobody::Well => "none of them may be asked now",
                };
                Err(Error::NoEndpoint { upstream: self.name.clone(), why })
            }
        }
    }

    /// One try.
    async fn one(
        &self,
        ask: &Ask<'_>,
        content: &mut Content,
        time: Option<Duration>,
        mut tried: Try,
    ) -> Result<(Response, Try), Error> {
        let member = Rc::clone(&tried.picked.member);
        let host = ask.headers.get(&HOST).map_or(member.target.authority.as_bytes(), HeaderValue::as_bytes);
        let Ask { method, target, headers, expects, upgrade, .. } = *ask;
        let outline = Outline { method, target, host, headers, expects, upgrade };
        let asked = ask::ask(self.client.pool(), &member.target, outline, content);
        let result = match time {
            Some(time) => self.shard.timeout(time, asked).await.unwrap_or(Err(Error::TimedOut(Step::Head))),
            None => asked.await,
        };
        match &result {
            Ok(response) => match response.status().as_u16() {
                502..=504 => tried.answered(Outcome::GatewayError),
                500.. => tried.answered(Outcome::Error),
                _ => tried.answered(Outcome::Success),
            },
            // What is not the endpoint's fault says nothing of it.
            Err(error) if error.fault() != Fault::Upstream => {}
            Err(_) => tried.answered(Outcome::GatewayError),
        }
        result.map(|response| (response, tried))
    }
}

impl Try {
    /// An answer has begun, or there is none.
    fn answered(&mut self, outcome: Outcome) {
        let Try { shared, picked, since, .. } = self;
        let took = match outcome {
            // Who fails fast is not fast.
            Outcome::GatewayError => shared.config.retry.try_time,
            Outcome::Success | Outcome::Error => Some(shared.shard.now().saturating_duration_since(*since)),
        };
        shared.members.borrow_mut().tell(picked, Some(outcome), took, shared);
        self.came_to(outcome);
    }

    fn came_to(&mut self, outcome: Outcome) {
        let counts = &self.picked.member.counts;
        match outcome {
            Outcome::Success => {}
            Outcome::Error => count(&counts.errors),
            Outcome::GatewayError => count(&counts.failures),
        }
        self.outcome = Some(outcome);
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let Try { shared, picked, outcome, .. } = self;
        let mut members = shared.members.borrow_mut();
        members.tell(picked, None, None, shared);
        members.end(picked.place, *outcome, shared);
    }
}

impl Held {
    pub(crate) fn endpoint(&self) -> &Address {
        &self.tried.picked.member.endpoint.address
    }

    /// The body has broken off.
    pub(crate) fn fail(&mut self) {
        self.tried.came_to(Outcome::GatewayError);
    }
}

impl Place {
    /// What the call has come to, for the breaker of all. It is not told of bodies.
    fn tell_breaker(&mut self) {
        let Place { shared, admission, ended, .. } = self;
        let shard = &shared.shard;
        let limits = &mut *shared.limits.borrow_mut();
        let (Some(breaker), Some(admission)) = (&mut limits.breaker, admission.take()) else { return };
        match ended {
            None => breaker.forget(admission),
            Some((Ended::Well, _)) => {
                breaker.record(admission, breaker::Outcome::Success, shard.now(), || shard.random())
            }
            Some(_) => breaker.record(admission, breaker::Outcome::Failure, shard.now(), || shard.random()),
        }
        while let Some(event) = breaker.next_event() {
            count(&shared.counts.breaker_changes);
            tracing::info!(upstream = &*shared.name, from = ?event.from, to = ?event.to, why = ?event.why, "the breaker of all has changed");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tell_breaker();
        let Place { shared, permit, ended, in_flight, .. } = self;
        // It may have ended before it was under way.
        let Some(permit) = permit.take() else { return };
        let counts = &shared.counts;
        counts.running.set(counts.running.get() - 1);
        let mut limits = shared.limits.borrow_mut();
        if let Some((ended, time)) = *ended {
            let dropped = ended == Ended::Overloaded;
            limits.sample(Sample { time, in_flight: *in_flight, dropped }, shared.shard.now());
        }
        let given = limits.give_back(permit, &shared.places);
        drop(limits);
        // Whoever is let in by it may be polled at once.
        drop(given);
    }
}

/// An answer that is not good enough, for as long as the pause before the next try: its connection is worth a short body.
async fn read_over(shard: &Shard, (response, tried): (Response, Try), pause: Duration) {
    let mut response = response.limit(UPSTREAM_DRAIN_BYTES_MAX);
    let until = shard.clock() + pause;
    let _ = shard.deadline(until, response.bytes()).await;
    drop((response, tried));
    shard.alarm(until).await;
}

/// The first that is answered well; if neither is, what came of the first.
async fn first_good(
    mut first: Pin<&mut impl Future<Output = Result<(Response, Try), Error>>>,
    second: impl Future<Output = Result<(Response, Try), Error>>,
) -> Result<(Response, Try), Error> {
    let is_good =
        |result: &Result<(Response, Try), Error>| matches!(result, Ok((response, _)) if !is_failure(response));
    let mut second = pin!(second);
    let (is_first, result) =
        race((async { (true, first.as_mut().await) }, async { (false, second.as_mut().await) })).await;
    match is_first {
        _ if is_good(&result) => result,
        true => {
            let other = second.await;
            if is_good(&other) { other } else { result }
        }
        false => first.await,
    }
}

/// Whether it is worth another try, or says something of its endpoint.
fn is_failure(response: &Response) -> bool {
    response.status().as_u16() >= 500 || response.status() == http::StatusCode::TOO_MANY_REQUESTS
}

fn is_overload(response: &Response) -> bool {
    matches!(response.status().as_u16(), 429 | 503)
}

fn cause_of(error: &Error) -> Cause {
    match error {
        Error::Resolve { .. } | Error::Connect { .. } | Error::TimedOut(Step::Connect) | Error::NoEndpoint { .. } => {
            Cause::Connect
        }
        Error::Unprocessed | Error::Busy => Cause::Unprocessed,
        Error::TimedOut(_) => Cause::TryTime,
        error if error.fault() == Fault::Upstream => Cause::Reset,
        _ => Cause::Other,
    }
}

/// How long the server asks to be left alone (RFC 9110 section 10.2.3).
fn retry_after(response: &Response, wall_clock: std::time::SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(response.header(RETRY_AFTER.as_str())?).ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(wall_clock).unwrap_or_default())
}

/// The same content again, if that costs next to nothing. What lies in a buffer of the pool is shared from then on.
pub(crate) fn twin(content: &mut Content) -> Option<Content> {
    match content {
        Content::Empty => Some(Content::Empty),
        Content::Full(buf) => {
            let bytes = std::mem::take(buf).into_bytes();
            *buf = bytes.clone().into();
            Some(Content::Full(bytes.into()))
        }
        _ => None,
    }
}
