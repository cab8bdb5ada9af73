//! How shards speak of a service: by its key, in closures that look it up where they arrive.
//!
//! A shard that has not made its part yet, or has dropped it, does not find it; then nothing happens. Whoever makes its part asks
//! the keeper for what is known, and the keeper tells all when it makes its own, so nobody misses what was said before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use shards::Shard;

use super::Shared;
use super::endpoint::Fnv;
use crate::limits::UPSTREAMS_MAX;

/// All services that a shard has a part of.
#[derive(Default)]
pub(super) struct Hub(RefCell<BTreeMap<u64, Weak<Shared>>>);

impl Hub {
    pub(super) fn of(shard: &Shard) -> Rc<Hub> {
        shard.local(Hub::default)
    }

    /// Errors: what speaks against one more.
    pub(super) fn join(&self, shared: &Rc<Shared>) -> Result<(), &'static str> {
        let mut known = self.0.borrow_mut();
        known.retain(|_, shared| shared.strong_count() > 0);
        if known.len() >= UPSTREAMS_MAX {
            return Err("the shard has as many upstreams as may be");
        }
        if known.contains_key(&shared.key) {
            return Err("the shard has one of this name and version already: clone it, or give another version");
        }
        known.insert(shared.key, Rc::downgrade(shared));
        Ok(())
    }

    pub(super) fn find(&self, key: u64) -> Option<Rc<Shared>> {
        self.0.borrow().get(&key).and_then(Weak::upgrade)
    }

    pub(super) fn all(&self) -> Vec<Rc<Shared>> {
        self.0.borrow().values().filter_map(Weak::upgrade).collect()
    }
}

/// What shards call a service of this name and version.
pub(super) fn key(name: &str, version: u64) -> u64 {
    let mut hash = Fnv::default();
    hash.add(name.as_bytes());
    hash.add(&version.to_be_bytes());
    hash.0
}

/// Which shard is the keeper of a service: any would do, and different services have different ones.
pub(super) fn keeper(key: u64, count: usize) -> usize {
    (key % count as u64) as usize
}

/// Does something with another shard's part of a service, if it has one. A shard that has ended has none.
pub(super) async fn tell(shard: &Shard, to: usize, key: u64, what: impl FnOnce(&Rc<Shared>) + Send + 'static) {
    let told = shard.post(to, move |shard| {
        if let Some(there) = Hub::of(shard).find(key) {
            what(&there);
        }
    });
    let _ = told.await;
}
