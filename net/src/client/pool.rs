//! Connections that wait for the next request: a few for each server, for a while.
//!
//! The one idea: the pool holds only idle connections. One that is in use is its exchange's, and comes back when both
//! sides have ended in order; whatever else becomes of it, it is closed. A task sleeps while any is idle and closes those
//! that have waited too long; when the shard drains it closes all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Instant;

use shards::combine::race;
use shards::sync::{Permit, Semaphore};
use shards::{Scope, Shard};

use super::Error;
use super::connect::connect;
use super::dns::Names;
use super::resolve::Source;
use super::target::{Protocols, Target};
use super::trust::Trust;
use crate::conn::client::{Connection, Shared};
use crate::conn::h2::client::Trunk;

/// The idle connections of a client.
pub(crate) struct Pool {
    pub(super) shared: Rc<Shared>,
    pub(super) trust: Trust,
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
    /// The connection of HTTP/2, which all requests share, and the right to make it.
    trunk: RefCell<Option<Rc<Trunk>>>,
    connecting: Semaphore,
}

/// A place among the exchanges that go on with one server.
pub(super) struct Place {
    pool: Rc<Pool>,
    origin: Rc<Origin>,
    permit: Option<Permit>,
}

impl Pool {
    pub(super) fn new(shared: Rc<Shared>) -> Rc<Self> {
        let (trust, origins, idle, sweeper) = Default::default();
        let names = match &shared.config.resolver.0 {
            Source::Own(config) => Some(Names::new(&shared.shard, config.as_ref().clone())),
            Source::Function(_) => None,
        };
        Rc::new(Pool { shared, trust, names, origins, idle, sweeper })
    }

    /// A place, once one is free; `None` if that takes as long as a connection may.
    pub(super) async fn place(self: &Rc<Self>, name: &str) -> Option<Place> {
        let Shared { shard, config, .. } = &*self.shared;
        let mut place = Place { pool: Rc::clone(self), origin: self.origin(name), permit: None };
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
        let (idle, trunk) = Default::default();
        let connecting = Semaphore::new(1);
        let origin = Rc::new(Origin { name: name.into(), idle, permits, trunk, connecting });
        origins.insert(name.into(), Rc::clone(&origin));
        origin
    }

    /// A connection of HTTP/2, made if there is none; and whether it was there.
    pub(super) async fn trunk(self: &Rc<Self>, target: &Target<'_>) -> Result<(Rc<Trunk>, bool), Error> {
        let Shared { shard, config, .. } = &*self.shared;
        // It is forgotten with this, unless there is something in it.
        let place = Place { pool: Rc::clone(self), origin: self.origin(&target.key), permit: None };
        if let Some(trunk) = place.origin.trunk() {
            return Ok((trunk, true));
        }
        let turn = shard.timeout(config.connect_time_max, place.origin.connecting.acquire(1)).await;
        let _turn = turn.map_err(|_| Error::Busy)?;
        if let Some(trunk) = place.origin.trunk() {
            return Ok((trunk, true));
        }
        let stream = Box::pin(connect(self, target, Protocols::Http2)).await?;
        let (pool, origin) = (Rc::downgrade(self), Rc::downgrade(&place.origin));
        let over = move || {
            if let (Some(pool), Some(origin)) = (pool.upgrade(), origin.upgrade())
                && origin.trunk().is_none()
            {
                drop(origin.trunk.take());
                drop(Place { pool, origin, permit: None });
            }
        };
        let trunk = Trunk::start(&self.shared, stream, over)?;
        *place.origin.trunk.borrow_mut() = Some(Rc::clone(&trunk));
        Ok((trunk, false))
    }

    /// Closes the connections to a server that wait; those in use end with their exchanges.
    pub(crate) fn forget(&self, key: &str) {
        let Some(origin) = self.origins.borrow().get(key).cloned() else { return };
        let closed = std::mem::take(&mut *origin.idle.borrow_mut());
        self.idle.set(self.idle.get() - closed.len());
        let trunk = origin.trunk.take();
        if Rc::strong_count(&origin) == 2 {
            self.origins.borrow_mut().remove(key);
        }
        drop((closed, trunk));
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.get()
    }

    /// Closes what has waited until `now`. Gives the time of the next.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let (mut next, mut expired) = (None, Vec::new());
        self.origins.borrow_mut().retain(|_, origin| {
            let mut idle = origin.idle.borrow_mut();
            let late = idle.partition_point(|(until, _)| *until <= now);
            expired.extend(idle.drain(..late));
            next = idle.first().map(|(until, _)| *until).into_iter().chain(next).min();
            !idle.is_empty() || origin.trunk.borrow().is_some() || Rc::strong_count(origin) > 1
        });
        self.idle.set(self.idle.get() - expired.len());
        next
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
    while let Some(pool) = pool.upgrade() {
        let until = if shard.is_draining() { None } else { Some(shard.now()) };
        let next = match until {
            Some(now) => pool.expire(now),
            None => {
                drop(pool.origins.take());
                pool.idle.set(0);
                None
            }
        };
        let Some(next) = next else {
            drop(pool.sweeper.take());
            return;
        };
        drop(pool);
        race((shard.drained(), shard.alarm(next))).await;
    }
}

impl Origin {
    /// The connection of HTTP/2, if further requests may go over it.
    fn trunk(&self) -> Option<Rc<Trunk>> {
        self.trunk.borrow().clone().filter(|trunk| trunk.is_usable())
    }
}

impl Place {
    pub(super) fn body_bytes_max(&self) -> u64 {
        self.pool.shared.config.body_bytes_max
    }

    /// An idle connection that the server has not closed meanwhile.
    pub(super) async fn take(&self) -> Option<Box<Connection>> {
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
        if is_last && self.origin.idle.borrow().is_empty() && self.origin.trunk.borrow().is_none() {
            self.pool.origins.borrow_mut().remove(&self.origin.name);
        }
    }
}

#[cfg(test)]
mod tests;
