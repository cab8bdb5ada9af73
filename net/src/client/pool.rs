//! Connections to servers: those that wait for the next request, a few for each server, for a while; and one of many streams
//! that all requests share.
//!
//! The one idea: of connections of one exchange at a time the pool holds only idle ones. One that is in use is its exchange's,
//! and comes back when both sides have ended in order; whatever else becomes of it, it is closed. A task sleeps while any is
//! idle and closes those that have waited too long; when the shard drains it closes all.
//!
//! What a server of `https` speaks shows when it is connected to. Until that is known, one request at a time connects, and the
//! others wait for what it finds: a server of HTTP/2 has one connection, however many ask at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Instant;

use http::{HeaderValue, StatusCode};
use shards::combine::race;
use shards::sync::{Notify, Permit, Semaphore};
use shards::{Scope, Shard};
use smallvec::SmallVec;

use super::alternatives::{Alternatives, Service};
use super::connect::connect;
use super::dns::Names;
use super::resolve::Source;
use super::response::Response;
use super::target::{self, Protocols, Target};
use super::trust::Trust;
use super::{Error, Step, quic};
use crate::Transport;
use crate::conn::client::{Connection, Shared};
use crate::conn::streams::client::{Asks, Trunk};
use crate::conn::{h2, h3};
use crate::limits::{CLIENT_FAREWELL_TIME, CLIENT_HTTP3_HEAD_START};
use crate::quic::Connection as Connected;

/// The idle connections of a client.
pub(crate) struct Pool {
    pub(super) shared: Rc<Shared>,
    pub(super) trust: Trust,
    alternatives: Alternatives,
    /// What is known of names, if we find out ourselves.
    pub(super) names: Option<Names>,
    /// By the keys of targets. An entry stays while one of its connections is idle or in use.
    origins: RefCell<BTreeMap<Box<str>, Rc<Origin>>>,
    /// How many connections are idle.
    idle: Cell<usize>,
    /// The task that closes those that have waited too long, while there are any.
    sweeper: RefCell<Option<Scope>>,
}

/// One server.
struct Origin {
    name: Box<str>,
    /// Each with the time until which it may wait; the last is the one that was used last.
    idle: RefCell<Vec<(Instant, Box<Connection>)>>,
    /// One for each connection that may be in use.
    permits: Semaphore,
    /// It has chosen HTTP/1.1 when it was last connected to.
    is_plain: Cell<bool>,
    h2: Common<h2::client::Frames>,
    h3: Common<h3::client::Carrier>,
    /// What looks for it by HTTP/3, where it has said that it is, while that goes on.
    search: RefCell<Option<Search>>,
}

/// A task that looks for a server.
struct Search {
    /// Until when others wait for it.
    until: Instant,
    ends: Rc<Notify>,
    _scope: Scope,
}

/// The connection of many streams to a server, which all requests share, and the right to make it.
struct Common<W: Asks> {
    trunk: RefCell<Option<Rc<Trunk<W>>>>,
    connecting: Semaphore,
}

/// A connection to ask over.
pub(super) enum Way {
    /// One of one exchange at a time, and its place among those in use.
    Alone(Box<Connection>, Place),
    Http2(Rc<h2::client::Trunk>),
    Http3(Rc<h3::client::Trunk>),
}

/// A place among the exchanges that go on with one server.
pub(super) struct Place {
    pool: Rc<Pool>,
    origin: Rc<Origin>,
    permit: Option<Permit>,
}

impl Pool {
    pub(super) fn new(shared: Rc<Shared>) -> Rc<Self> {
        let (trust, alternatives, origins, idle, sweeper) = Default::default();
        let names = match &shared.config.resolver.0 {
            Source::Own(config) => Some(Names::new(&shared.shard, config.as_ref().clone())),
            Source::Function(_) => None,
        };
        Rc::new(Pool { shared, trust, alternatives, names, origins, idle, sweeper })
    }

    /// A place, once one is free; `None` if that takes as long as a connection may.
    async fn place(self: &Rc<Self>, origin: &Rc<Origin>) -> Option<Place> {
        let Shared { shard, config, .. } = &*self.shared;
        let mut place = Place { pool: Rc::clone(self), origin: Rc::clone(origin), permit: None };
        let permit = shard.timeout(config.connect_time_max, place.origin.permits.acquire(1)).await;
        place.permit = Some(permit.ok()?.ok()?);
        Some(place)
    }

    fn origin(&self, name: &str) -> Rc<Origin> {
        let mut origins = self.origins.borrow_mut();
        if let Some(origin) = origins.get(name) {
            return Rc::clone(origin);
        }
        let permits = Semaphore::new(self.shared.config.connections_per_origin_max.max(1));
        let (idle, is_plain) = Default::default();
        let (h2, h3, search) = (Common::new(), Common::new(), RefCell::default());
        let origin = Rc::new(Origin { name: name.into(), idle, permits, is_plain, h2, h3, search });
        origins.insert(name.into(), Rc::clone(&origin));
        origin
    }

    /// A connection to ask over, made if there is none; and whether it was kept. Whoever has a place has found that a kept
    /// connection was closed, and is given a new one.
    pub(super) async fn way(
        self: &Rc<Self>,
        target: &Target<'_>,
        protocols: Protocols,
        place: &mut Option<Place>,
    ) -> Result<(Way, bool), Error> {
        // It is forgotten with this, unless there is something in it.
        let visit = Place { pool: Rc::clone(self), origin: self.origin(&target.key), permit: None };
        let origin = &visit.origin;
        match protocols {
            Protocols::Http1 => self.alone(target, protocols, origin, place).await,
            Protocols::Usual if !target.is_secure => self.alone(target, protocols, origin, place).await,
            Protocols::Usual => self.agreed(target, origin, place).await,
            Protocols::Http2 => match self.turn(&origin.h2).await? {
                Ok(trunk) => Ok((Way::Http2(trunk), true)),
                Err(_turn) => {
                    let stream = Box::pin(connect(self, target, protocols)).await?;
                    Ok((Way::Http2(self.start_h2(origin, stream)?), false))
                }
            },
            Protocols::Http3 => match self.turn(&origin.h3).await? {
                Ok(trunk) => Ok((Way::Http3(trunk), true)),
                Err(_turn) => {
                    let quic = Box::pin(quic::connect(self, target, &target.place)).await?;
                    Ok((Way::Http3(self.start_h3(origin, quic, None)?), false))
                }
            },
        }
    }

    /// A connection of one exchange at a time, as far as the server does not choose another.
    async fn alone(
        self: &Rc<Self>,
        target: &Target<'_>,
        protocols: Protocols,
        origin: &Rc<Origin>,
        place: &mut Option<Place>,
    ) -> Result<(Way, bool), Error> {
        let place = match place.take() {
            Some(place) => place,
            None => {
                let place = self.place(origin).await.ok_or(Error::Busy)?;
                if let Some(connection) = place.take().await {
                    return Ok((Way::Alone(connection, place), true));
                }
                place
            }
        };
        // Rare and large: it is not to be a part of every request.
        let stream = Box::pin(connect(self, target, protocols)).await?;
        self.chosen(protocols, origin, stream, async || Ok(place)).await
    }

    /// A connection of what the server chooses.
    async fn agreed(
        self: &Rc<Self>,
        target: &Target<'_>,
        origin: &Rc<Origin>,
        place: &mut Option<Place>,
    ) -> Result<(Way, bool), Error> {
        if let Some(trunk) = self.alternative(target, origin).await {
            return Ok((Way::Http3(trunk), true));
        }
        if let Some(trunk) = origin.h2.usable() {
            return Ok((Way::Http2(trunk), true));
        }
        if !origin.is_plain.get() {
            let turn = match self.turn(&origin.h2).await? {
                Ok(trunk) => return Ok((Way::Http2(trunk), true)),
                Err(turn) => turn,
            };
            // Whoever was before us may have found out.
            if !origin.is_plain.get() {
                let stream = Box::pin(connect(self, target, Protocols::Usual)).await?;
                let place = async || {
                    drop(turn);
                    self.place(origin).await.ok_or(Error::Busy)
                };
                return self.chosen(Protocols::Usual, origin, stream, place).await;
            }
        }
        self.alone(target, Protocols::Usual, origin, place).await
    }

    /// What a new connection is one of. `place` gives one of one exchange at a time its place.
    async fn chosen(
        self: &Rc<Self>,
        protocols: Protocols,
        origin: &Rc<Origin>,
        stream: Transport,
        place: impl AsyncFnOnce() -> Result<Place, Error>,
    ) -> Result<(Way, bool), Error> {
        let protocol = stream.secured().and_then(|secured| secured.protocol());
        let is_plain = protocol != Some(b"h2");
        if protocols == Protocols::Usual {
            origin.is_plain.set(is_plain);
        }
        if is_plain {
            let connection = Connection::new(&self.shared, stream);
            return Ok((Way::Alone(connection, place().await?), false));
        }
        match origin.h2.usable() {
            // Somebody was faster, and one is enough.
            Some(trunk) => Ok((Way::Http2(trunk), true)),
            None => Ok((Way::Http2(self.start_h2(origin, stream)?), false)),
        }
    }

    fn start_h2(self: &Rc<Self>, origin: &Rc<Origin>, stream: Transport) -> Result<Rc<h2::client::Trunk>, Error> {
        let over = self.over(origin, |origin| &origin.h2);
        Ok(origin.h2.put(h2::client::start(&self.shared, stream, over)?))
    }

    fn start_h3(
        self: &Rc<Self>,
        origin: &Rc<Origin>,
        quic: Connected,
        alternative: Option<HeaderValue>,
    ) -> Result<Rc<h3::client::Trunk>, Error> {
        let over = self.over(origin, |origin| &origin.h3);
        Ok(origin.h3.put(h3::client::start(&self.shared, quic, alternative, over)?))
    }

    /// The connection of many streams; or the right to make it, which nobody else has meanwhile.
    async fn turn<W: Asks>(&self, common: &Common<W>) -> Result<Result<Rc<Trunk<W>>, Permit>, Error> {
        if let Some(trunk) = common.usable() {
            return Ok(Ok(trunk));
        }
        let Shared { shard, config, .. } = &*self.shared;
        let turn = shard.timeout(config.connect_time_max, common.connecting.acquire(1)).await;
        let late = Error::TimedOut(Step::Connect);
        let Ok(Ok(turn)) = turn else { return Err(late) };
        Ok(common.usable().ok_or(turn))
    }

    // ---- alternatives ------------------------------------------------------------------------------------------------

    /// A connection of HTTP/3 to where the server has said that it is, too. If there is none yet, it is looked for; that is waited
    /// for a moment, where no other connection is at hand.
    async fn alternative(self: &Rc<Self>, target: &Target<'_>, origin: &Rc<Origin>) -> Option<Rc<h3::client::Trunk>> {
        let Shared { shard, config, .. } = &*self.shared;
        let is_beside = target.proxy(config.proxy.as_ref()).is_some() || matches!(target.place, target::Place::Unix(_));
        if !config.follows_alternatives || is_beside {
            return None;
        }
        if let Some(trunk) = origin.h3.usable() {
            return Some(trunk);
        }
        let found = self.alternatives.of(&target.key, shard.now());
        if found.is_empty() {
            return None;
        }
        if origin.search.borrow().is_none() {
            self.search(target, origin, found);
        }
        if origin.h2.usable().is_some() || !origin.idle.borrow().is_empty() {
            return None;
        }
        let (until, ends) = origin.search.borrow().as_ref().map(|search| (search.until, Rc::clone(&search.ends)))?;
        let _ = shard.deadline(until, ends.notified()).await;
        origin.h3.usable()
    }

    /// Has a task look for a server where it has said that it is. Without room for one nothing happens.
    fn search(self: &Rc<Self>, target: &Target<'_>, origin: &Rc<Origin>, found: SmallVec<[Service; 1]>) {
        let shard = &self.shared.shard;
        let Ok(scope) = shard.scope().child("client") else { return };
        let ends = Rc::<Notify>::default();
        let (target, told) = (target.clone().into_owned(), Rc::clone(&ends));
        let (pool, origin_of) = (Rc::clone(self), Rc::downgrade(origin));
        let work = async move {
            let mut made = Err(Error::TimedOut(Step::Connect));
            for service in found {
                let Some(at) = service.place(&target) else { continue };
                made = quic::connect(&pool, &target, &at).await.map(|quic| (quic, service));
                if made.is_ok() {
                    break;
                }
            }
            let Some(origin) = origin_of.upgrade() else { return };
            match made {
                Ok((quic, service)) => {
                    pool.alternatives.found(&target.key);
                    let authority = HeaderValue::try_from(service.authority(&target)).ok();
                    if origin.h3.usable().is_none()
                        && let Some(authority) = authority
                    {
                        let _ = pool.start_h3(&origin, quic, Some(authority));
                    }
                }
                // That is no fault of the server's.
                Err(Error::Full | Error::Exhausted) => {}
                Err(error) => {
                    tracing::debug!(server = &*target.key, "nothing is found by HTTP/3: {error}");
                    pool.alternatives.shun(&target.key, pool.shared.shard.now());
                }
            }
            told.notify_all();
            let search = origin.search.take();
            drop(Place { pool, origin, permit: None });
            drop(search);
        };
        if scope.spawn(work).is_ok() {
            let until = shard.clock() + CLIENT_HTTP3_HEAD_START;
            *origin.search.borrow_mut() = Some(Search { until, ends, _scope: scope });
        }
    }

    /// Takes in what a server says of its alternatives.
    pub(super) fn learn(&self, target: &Target<'_>, response: &Response) {
        let Shared { shard, config, .. } = &*self.shared;
        if target.is_secure && target.protocols == Protocols::Usual && config.follows_alternatives {
            self.alternatives.learn(&target.key, response, shard.now());
        }
    }

    /// Whether a request was not to be sent to the alternative that it was sent to. That, or one that has fallen silent, is not
    /// asked again.
    pub(super) fn judge(
        &self,
        target: &Target<'_>,
        trunk: &h3::client::Trunk,
        tried: Option<Result<&Response, &Error>>,
    ) -> bool {
        match tried {
            // RFC 7838 section 6.
            Some(Ok(response)) if response.status() == StatusCode::MISDIRECTED_REQUEST => {
                self.alternatives.forget(&target.key);
                trunk.leave();
                return true;
            }
            Some(Err(error)) if error.is_timeout() && !trunk.is_usable() => {
                self.alternatives.shun(&target.key, self.shared.shard.now());
            }
            _ => {}
        }
        false
    }

    /// What is to be done when a connection of many streams has ended.
    fn over<W: Asks>(
        self: &Rc<Self>,
        origin: &Rc<Origin>,
        common: fn(&Origin) -> &Common<W>,
    ) -> impl FnOnce() + use<W> {
        let (pool, origin) = (Rc::downgrade(self), Rc::downgrade(origin));
        move || {
            if let (Some(pool), Some(origin)) = (pool.upgrade(), origin.upgrade())
                && common(&origin).usable().is_none()
            {
                drop(common(&origin).trunk.take());
                drop(Place { pool, origin, permit: None });
            }
        }
    }

    /// Closes the connections to a server that wait; those in use end with their exchanges.
    pub(crate) fn forget(&self, key: &str) {
        let Some(origin) = self.origins.borrow().get(key).cloned() else { return };
        let closed = std::mem::take(&mut *origin.idle.borrow_mut());
        self.idle.set(self.idle.get() - closed.len());
        let trunks = (origin.h2.trunk.take(), origin.h3.trunk.take());
        if Rc::strong_count(&origin) == 2 && !origin.has_trunk() {
            self.origins.borrow_mut().remove(key);
        }
        drop((closed, trunks));
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.get()
    }

    /// Takes out what has waited until `now`, or all. Gives the time of the next, too.
    fn expire(&self, now: Option<Instant>) -> (Option<Instant>, Vec<(Instant, Box<Connection>)>) {
        let (mut next, mut expired) = (None, Vec::new());
        self.origins.borrow_mut().retain(|_, origin| {
            let mut idle = origin.idle.borrow_mut();
            let late = now.map_or(idle.len(), |now| idle.partition_point(|(until, _)| *until <= now));
            expired.extend(idle.drain(..late));
            next = idle.first().map(|(until, _)| *until).into_iter().chain(next).min();
            !idle.is_empty() || origin.has_trunk() || Rc::strong_count(origin) > 1
        });
        self.idle.set(self.idle.get() - expired.len());
        (next, expired)
    }

    /// Has a task see to it that no connection is idle for too long. False without room for one.
    fn watch(self: &Rc<Self>) -> bool {
        let mut sweeper = self.sweeper.borrow_mut();
        if sweeper.is_none() {
            let shard = &self.shared.shard;
            let Ok(scope) = shard.scope().child("client") else { return false };
            let sweep = sweep(shard.clone(), Rc::downgrade(self));
            *sweeper = scope.spawn(sweep).is_ok().then_some(scope);
        }
        sweeper.is_some()
    }
}

/// Sleeps until a connection has been idle for too long; ends with the last, with the client, or when the shard drains.
async fn sweep(shard: Shard, pool: Weak<Pool>) {
    while let Some(kept) = pool.upgrade() {
        let (next, expired) = kept.expire((!shard.is_draining()).then(|| shard.now()));
        drop(kept);
        for (_, mut connection) in expired {
            // Its server is to know that nothing was cut off.
            let _ = shard.timeout(CLIENT_FAREWELL_TIME, poll_fn(|cx| connection.poll_close(cx))).await;
        }
        match next {
            Some(next) => {
                race((shard.drained(), shard.alarm(next))).await;
            }
            None => {
                let Some(kept) = pool.upgrade() else { return };
                if kept.idle() == 0 || shard.is_draining() {
                    drop(kept.sweeper.take());
                    return;
                }
            }
        }
    }
}

impl Origin {
    /// Whether there is a connection of many streams, or may be in a moment.
    fn has_trunk(&self) -> bool {
        self.h2.trunk.borrow().is_some() || self.h3.trunk.borrow().is_some() || self.search.borrow().is_some()
    }
}

impl<W: Asks> Common<W> {
    fn new() -> Self {
        Common { trunk: RefCell::default(), connecting: Semaphore::new(1) }
    }

    /// The connection, if further requests may go over it.
    fn usable(&self) -> Option<Rc<Trunk<W>>> {
        self.trunk.borrow().clone().filter(|trunk| trunk.is_usable())
    }

    /// Keeps a new connection.
    fn put(&self, trunk: Rc<Trunk<W>>) -> Rc<Trunk<W>> {
        let last = self.trunk.replace(Some(Rc::clone(&trunk)));
        drop(last);
        trunk
    }
}

impl Place {
    pub(super) fn body_bytes_max(&self) -> u64 {
        self.pool.shared.config.body_bytes_max
    }

    /// An idle connection that the server has not closed meanwhile.
    async fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (_, mut connection) = self.origin.idle.borrow_mut().pop()?;
            self.pool.idle.set(self.pool.idle.get() - 1);
            if poll_fn(|cx| Poll::Ready(connection.is_quiet(cx))).await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request, if it can serve one and there is room.
    pub(super) fn put(&self, mut connection: Box<Connection>) {
        let Pool { shared, idle: count, .. } = &*self.pool;
        let Shared { shard, config, .. } = &**shared;
        if !connection.is_reusable() || shard.is_draining() || config.idle_per_origin_max == 0 {
            return;
        }
        connection.settle();
        let mut idle = self.origin.idle.borrow_mut();
        let oldest = (idle.len() >= config.idle_per_origin_max).then(|| idle.remove(0));
        if oldest.is_none() {
            if count.get() >= config.idle_max {
                return;
            }
            count.set(count.get() + 1);
        }
        idle.push((shard.now() + config.idle_time_max, connection));
        drop(idle);
        drop(oldest);
        if !self.pool.watch() {
            count.set(count.get() - 1);
            self.origin.idle.borrow_mut().pop();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The map has one, and this.
        let is_last = Rc::strong_count(&self.origin) == 2;
        if is_last && self.origin.idle.borrow().is_empty() && !self.origin.has_trunk() {
            self.pool.origins.borrow_mut().remove(&self.origin.name);
        }
    }
}
