//! The order of shedding: what a shard gives up, and when, as its pool runs low
//! (`decisions/2026-11-26-order-of-shedding.md`).
//!
//! The pool's bytes are a shard's budget for what is on its way, and three watermarks divide it. Above the first, whoever
//! wants memory costs the peer that is furthest behind its connection, or its stream; above the second nobody is let in; above the third
//! requests are answered 503. Below them nothing of this costs more than a look at one number.
//!
//! The one idea: a peer that is waited for has a time limit, and the one whose limit comes next is furthest behind. Shedding
//! lets limits pass early, in the order in which they would.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use platform::Pool;

use crate::limits::{SHED_PAUSE, WATERMARK_CONNECTIONS, WATERMARK_PARTS, WATERMARK_READERS, WATERMARK_REQUESTS};

/// What a shard sheds, and whom.
pub(crate) struct Shedding {
    pool: Pool,
    /// The watermarks, in bytes.
    readers_at: usize,
    connections_at: usize,
    requests_at: usize,
    /// Connections, and streams of HTTP/2, that hold memory and wait for their peers, by when they would be given up. No more
    /// than there are of them.
    behind: RefCell<BTreeMap<Rank, Waker>>,
    /// Before this no further one is cut: what the last one held is on its way home.
    rests_until: Cell<Option<Instant>>,
}

/// A rank in the order: when the limit passes; the connection's number, and the stream's, if it is one.
pub(crate) type Rank = (Instant, u32, u32);

impl Shedding {
    pub(crate) fn new(pool: Pool) -> Self {
        let [readers_at, connections_at, requests_at] = [WATERMARK_READERS, WATERMARK_CONNECTIONS, WATERMARK_REQUESTS]
            .map(|parts| pool.bytes_max() / WATERMARK_PARTS * parts);
        Shedding {
            pool,
            readers_at,
            connections_at,
            requests_at,
            behind: RefCell::default(),
            rests_until: Cell::default(),
        }
    }

    /// Whether the pool is above the first watermark: one comparison.
    #[inline]
    pub(crate) fn is_low(&self) -> bool {
        self.pool.bytes() > self.readers_at
    }

    /// The first step, for somebody who wants memory: lets the limit pass of the peer that is furthest behind. Whether there
    /// was one.
    pub(crate) fn cut_one(&self, now: Instant) -> bool {
        if self.bytes() <= self.readers_at || self.rests_until.get().is_some_and(|until| now < until) {
            return false;
        }
        let Some((_, waker)) = self.behind.borrow_mut().pop_first() else { return false };
        self.rests_until.set(Some(now + SHED_PAUSE));
        waker.wake();
        true
    }

    /// The second step: whether no connection is to be accepted.
    pub(crate) fn holds_connections(&self) -> bool {
        self.is_low() && self.bytes() > self.connections_at
    }

    /// The third step: whether requests are to be refused.
    pub(crate) fn refuses_requests(&self) -> bool {
        self.bytes() > self.requests_at
    }

    /// Takes a rank in the order.
    pub(crate) fn enter(&self, rank: Rank, waker: &Waker) {
        self.behind.borrow_mut().insert(rank, waker.clone());
    }

    /// Gives it up.
    pub(crate) fn leave(&self, rank: Rank) {
        self.behind.borrow_mut().remove(&rank);
    }

    /// Whether who had that rank was cut.
    pub(crate) fn is_cut(&self, rank: Rank) -> bool {
        !self.behind.borrow().contains_key(&rank)
    }

    /// What is leased, without what has come home.
    fn bytes(&self) -> usize {
        self.pool.stats().pooled_bytes as usize
    }
}
