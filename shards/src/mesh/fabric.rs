//! What all shards of one runtime share of the mesh. Its one idea: whoever needs a link first makes both sides of it,
//! under the lock, keeps its own and leaves the other's here; the other finds it in its next turn. So two shards that
//! never talk have no rings between them, and whichever of two comes first, there is one link.
//!
//! The lock is taken when a link is made and when a shard ends, never for a message.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use platform::spsc::{Consumer, Producer, ring};

use super::CallError;
use super::message::{Answer, Request};
use crate::limits::{MESH_ANSWERS, MESH_REQUESTS};
use crate::world::World;

/// Where the shards of one runtime find each other.
pub(crate) struct Fabric {
    posts: Box<[Post]>,
    state: Mutex<State>,
}

/// What others may touch of one shard's place here.
#[derive(Default)]
struct Post {
    /// Whom to notify; not there before the shard stands.
    world: OnceLock<&'static World>,
    /// Something was left here that the shard has not looked at. Published before the notification, like a message.
    has_news: AtomicBool,
}

struct State {
    /// For each shard the ends that others have made for it, with their makers' numbers.
    left: Vec<Vec<(usize, Ends)>>,
    has_ended: Vec<bool>,
}

/// One side of a link: its ends of four rings.
pub(super) struct Ends {
    pub(super) requests_out: Producer<Request>,
    pub(super) answers_out: Producer<Answer>,
    pub(super) requests_in: Consumer<Request>,
    pub(super) answers_in: Consumer<Answer>,
}

/// What was left for a shard.
pub(super) struct News {
    pub(super) ends: Vec<(usize, Ends)>,
}

impl Fabric {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let left = (0..count).map(|_| Vec::new()).collect();
        let state = State { left, has_ended: vec![false; count] };
        Arc::new(Fabric { posts: (0..count).map(|_| Post::default()).collect(), state: Mutex::new(state) })
    }

    pub(super) fn count(&self) -> usize {
        self.posts.len()
    }

    /// A shard stands, and is notified from now on.
    pub(super) fn join(&self, number: usize, world: &'static World) {
        // A shard is made once; a second one of its number would be a mistake of the runtime's, and be notified by nobody.
        let _ = self.posts[number].world.set(world);
    }

    /// Ends a shard's sleep, after something was published to it.
    pub(super) fn notify(&self, number: usize) {
        if let Some(world) = self.posts[number].world.get() {
            world.notify();
        }
    }

    /// One side of the link between two shards: the one left for us, or a new one.
    ///
    /// Errors: one of the two has ended.
    pub(super) fn connect(&self, from: usize, to: usize) -> Result<Ends, CallError> {
        let mine = {
            let mut state = self.lock();
            if state.has_ended[from] || state.has_ended[to] {
                return Err(CallError::Stopped);
            }
            if let Some(place) = state.left[from].iter().position(|(maker, _)| *maker == to) {
                return Ok(state.left[from].swap_remove(place).1);
            }
            let (mine, theirs) = Ends::pair();
            state.left[to].push((from, theirs));
            mine
        };
        self.tell(to);
        Ok(mine)
    }

    /// Whether something was left for a shard.
    pub(super) fn has_news(&self, number: usize) -> bool {
        self.posts[number].has_news.load(Ordering::Acquire)
    }

    /// Takes what was left for a shard.
    pub(super) fn news(&self, number: usize) -> News {
        let mut state = self.lock();
        self.posts[number].has_news.store(false, Ordering::Relaxed);
        let mut ends = std::mem::take(&mut state.left[number]);
        ends.sort_by_key(|(maker, _)| *maker);
        News { ends }
    }

    /// A shard ends: nobody gets a link to it any more, and those that it has not adopted are closed.
    pub(super) fn end(&self, number: usize) {
        let left = {
            let mut state = self.lock();
            state.has_ended[number] = true;
            std::mem::take(&mut state.left[number])
        };
        // Outside the lock: a ring holds others' closures. Closing these is what their makers are told of.
        super::contain(|| drop(left));
        self.tell_everyone();
    }

    fn tell_everyone(&self) {
        (0..self.count()).for_each(|number| self.tell(number));
    }

    fn tell(&self, number: usize) {
        self.posts[number].has_news.store(true, Ordering::Release);
        self.notify(number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    fn pair() -> (Ends, Ends) {
        let (there_requests, here_requests_in) = ring(MESH_REQUESTS);
        let (here_requests, there_requests_in) = ring(MESH_REQUESTS);
        let (there_answers, here_answers_in) = ring(MESH_ANSWERS);
        let (here_answers, there_answers_in) = ring(MESH_ANSWERS);
        let here = Ends {
            requests_out: here_requests,
            answers_out: here_answers,
            requests_in: here_requests_in,
            answers_in: here_answers_in,
        };
        let there = Ends {
            requests_out: there_requests,
            answers_out: there_answers,
            requests_in: there_requests_in,
            answers_in: there_answers_in,
        };
        (here, there)
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fabric").field("count", &self.count()).finish_non_exhaustive()
    }
}
