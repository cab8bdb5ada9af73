//! [`Handshakes`]: what the connections of a server share while they become secure.
//!
//! The one idea: a hand-shake costs as much as a hundred requests, and anybody may ask for one. So a shard has so many in hand
//! at a time, and takes so many steps of them in a turn; between these, its other connections have theirs.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::ServerConfig;
use shards::sync::{Acquire, Permit, Semaphore};
use shards::{Shard, TurnEnd};

use crate::NetStats;
use crate::limits::TLS_STEPS_PER_TURN_MAX;

/// What a hand-shake is made with at this moment.
pub(crate) type Configs = Rc<dyn Fn() -> Arc<ServerConfig>>;

/// Those of one server on one shard.
pub(crate) struct Handshakes {
    configs: Configs,
    permits: Semaphore,
    steps: Rc<Steps>,
    /// What is said first to whoever speaks HTTP/2, if anybody may.
    greeting: Option<Rc<[u8]>>,
    pub(super) stats: Arc<NetStats>,
}

/// The steps of a turn.
#[derive(Default)]
pub(super) struct Steps {
    /// Which turn, and how many it has had.
    turn: Cell<u64>,
    count: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

impl Handshakes {
    pub(crate) fn new(configs: Configs, count_max: usize, greeting: Option<Rc<[u8]>>, stats: Arc<NetStats>) -> Self {
        Handshakes { configs, permits: Semaphore::new(count_max), steps: Rc::default(), greeting, stats }
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        (self.configs)()
    }

    pub(super) fn begin(&self, place: Permit) -> Handshake {
        Handshake { steps: Rc::clone(&self.steps), greeting: self.greeting.clone(), _place: place }
    }

    /// A place among those in hand, in the order of asking.
    pub(crate) fn enter(&self) -> Acquire {
        self.permits.acquire(1)
    }
}

/// A hand-shake in hand: its place, until it is over.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) steps: Rc<Steps>,
    /// Until it has been said.
    pub(super) greeting: Option<Rc<[u8]>>,
    pub(super) _place: Permit,
}

impl Steps {
    /// Ready when this turn has room for another step, which is then taken.
    pub(super) fn poll_step(self: &Rc<Self>, cx: &mut Context<'_>, shard: &Shard) -> Poll<()> {
        if self.turn.replace(shard.turn_number()) != shard.turn_number() {
            self.count.set(0);
        }
        if self.count.get() < TLS_STEPS_PER_TURN_MAX {
            self.count.set(self.count.get() + 1);
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            shard.at_turn_end(Rc::clone(self) as Rc<dyn TurnEnd>);
        }
        waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl TurnEnd for Steps {
    fn turn_ended(&self, _: Duration) {
        // No more than there are hand-shakes in hand. Those whose step is not in the next turn ask again.
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Steps({})", self.count.get())
    }
}

#[cfg(test)]
mod tests;
