//! What all shards of one runtime share of the mesh. Its one idea: whoever needs a link first makes both sides of it,
//! under the lock, keeps its own and leaves the other's here; the other finds it in its next turn. So two shards that
//! never talk have no rings between them, and whichever of two comes first, there is one link.
//!
//! The lock is taken when a link or a part is made and when a shard ends, never for a message.

use std::any::TypeId;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use platform::spsc::{Consumer, Producer, halves, ring};

use super::CallError;
use super::message::{Answer, LaneIn, LaneOut, Request};
use crate::limits::{MESH_ANSWERS, MESH_CASTS, MESH_REQUESTS, PER_SHARDS_MAX};
use crate::world::World;

/// Where the shards of one runtime find each other.
pub(crate) struct Fabric {
    /// Tells runtimes of this process apart.
    number: u32,
    posts: Box<[Post]>,
    state: Mutex<State>,
}

/// What others may touch of one shard's place here.
#[derive(Default)]
struct Post {
    /// Whom to notify; not there before the shard stands.
    world: OnceLock<&'static World>,
    /// `main` has ended on the shard.
    is_retired: AtomicBool,
    /// Something was left here that the shard has not looked at. Published before the notification, like a message.
    has_news: AtomicBool,
}

struct State {
    /// For each shard the ends that others have made for it, with their makers' numbers.
    left: Vec<Vec<(usize, Ends)>>,
    has_ended: Vec<bool>,
    wholes: Vec<Whole>,
}

/// One side of a link: its ends of six rings.
pub(super) struct Ends {
    pub(super) requests_out: LaneOut<Request>,
    pub(super) answers_out: LaneOut<Answer>,
    pub(super) casts_out: Producer<Request>,
    pub(super) requests_in: LaneIn<Request>,
    pub(super) answers_in: LaneIn<Answer>,
    pub(super) casts_in: Consumer<Request>,
}

/// One value on each shard, as far as all must agree on it.
struct Whole {
    location: &'static Location<'static>,
    kind: TypeId,
    /// Which shards have made their part.
    made: Vec<bool>,
}

/// How far the parts of a whole are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Some shard has yet to make its part.
    #[default]
    Awaited,
    /// Every shard has its part.
    Complete,
    /// `main` has ended on a shard without making its part.
    Broken,
}

/// What was left for a shard.
pub(super) struct News {
    pub(super) ends: Vec<(usize, Ends)>,
    pub(super) wholes: Vec<Standing>,
}

impl Fabric {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        let left = (0..count).map(|_| Vec::new()).collect();
        let state = State { left, has_ended: vec![false; count], wholes: Vec::new() };
        let number = FABRICS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Fabric { number, posts: (0..count).map(|_| Post::default()).collect(), state: Mutex::new(state) })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
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
        // A swap: what was there before the flag was set is seen after it was taken away.
        self.posts[number].has_news.swap(false, Ordering::Acquire);
        let mut ends = std::mem::take(&mut state.left[number]);
        ends.sort_by_key(|(maker, _)| *maker);
        News { ends, wholes: state.wholes.iter().map(|whole| whole.standing(&self.posts)).collect() }
    }

    /// A shard makes its part of the whole of this line and type: the first such that it has no part of yet. Gives its
    /// number; `None` if there are as many as a runtime admits.
    pub(super) fn declare(&self, shard: usize, location: &'static Location<'static>, kind: TypeId) -> Option<usize> {
        let (number, standing) = {
            let mut state = self.lock();
            let State { wholes, has_ended, .. } = &mut *state;
            let is_next = |whole: &Whole| whole.location == location && whole.kind == kind && !whole.made[shard];
            let number = match wholes.iter().position(is_next) {
                Some(number) => number,
                None if wholes.len() >= PER_SHARDS_MAX => return None,
                None => {
                    wholes.push(Whole { location, kind, made: vec![false; has_ended.len()] });
                    wholes.len() - 1
                }
            };
            wholes[number].made[shard] = true;
            (number, wholes[number].standing(&self.posts))
        };
        if standing == Standing::Complete {
            self.tell_everyone();
        }
        Some(number)
    }

    /// How many parts a shard has made.
    pub(crate) fn parts_of(&self, shard: usize) -> usize {
        self.lock().wholes.iter().filter(|whole| whole.made[shard]).count()
    }

    /// Of shards that had made so many parts when they came to the same call: one that lacks a part which another has made,
    /// and where that was.
    pub(crate) fn lacking(&self, parts: &[usize]) -> Option<(usize, &'static Location<'static>)> {
        let most = parts.iter().max()?;
        let (with, lacking) =
            (parts.iter().position(|count| count == most)?, parts.iter().position(|count| count < most)?);
        let state = self.lock();
        let whole = state.wholes.iter().find(|whole| whole.made[with] && !whole.made[lacking])?;
        Some((lacking, whole.location))
    }

    /// `main` has ended on a shard. Others may wait for a part that it has not made, or for the last one to come to its end.
    pub(super) fn retire(&self, number: usize) {
        if !self.posts[number].is_retired.swap(true, Ordering::AcqRel) {
            self.tell_everyone();
        }
    }

    pub(super) fn all_are_retired(&self) -> bool {
        self.posts.iter().all(|post| post.is_retired.load(Ordering::Acquire))
    }

    /// A shard ends: nobody gets a link to it any more, and those that it has not adopted are closed.
    pub(crate) fn end(&self, number: usize) {
        let left = {
            let mut state = self.lock();
            state.has_ended[number] = true;
            std::mem::take(&mut state.left[number])
        };
        // Outside the lock: a ring holds others' closures. Closing these is what their makers are told of.
        super::contain(|| drop(left));
        self.retire(number);
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
        let (there_requests, here_requests_in) = halves(MESH_REQUESTS);
        let (here_requests, there_requests_in) = halves(MESH_REQUESTS);
        let (there_answers, here_answers_in) = halves(MESH_ANSWERS);
        let (here_answers, there_answers_in) = halves(MESH_ANSWERS);
        let (there_casts, here_casts_in) = ring(MESH_CASTS);
        let (here_casts, there_casts_in) = ring(MESH_CASTS);
        let here = Ends {
            requests_out: here_requests,
            answers_out: here_answers,
            casts_out: here_casts,
            requests_in: here_requests_in,
            answers_in: here_answers_in,
            casts_in: here_casts_in,
        };
        let there = Ends {
            requests_out: there_requests,
            answers_out: there_answers,
            casts_out: there_casts,
            requests_in: there_requests_in,
            answers_in: there_answers_in,
            casts_in: there_casts_in,
        };
        (here, there)
    }
}

impl Whole {
    fn standing(&self, posts: &[Post]) -> Standing {
        let missing = || self.made.iter().zip(posts).filter(|(made, _)| !**made);
        match missing().count() {
            0 => Standing::Complete,
            _ if missing().any(|(_, post)| post.is_retired.load(Ordering::Acquire)) => Standing::Broken,
            _ => Standing::Awaited,
        }
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fabric").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// Fabrics made so far.
static FABRICS: AtomicU32 = AtomicU32::new(0);
