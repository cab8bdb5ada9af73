//! [`Replicated`]: one value that is read on every shard and seldom written.
//!
//! The one idea: every shard has a copy of its own and reads it on the spot; one shard writes, changes one after another,
//! and sends the whole value with a version to the others, who keep the newest they have seen. So a read costs a count, a
//! write a call to each shard, and copies never go back in time.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use super::{CallError, PerShard};
use crate::Shard;
use crate::sync::watch;

/// One value, a copy of it on each shard: settings, routes, a table that many read.
///
/// A change is made on one shard and sent to all. *How stale a copy may be*: once [`update`](Replicated::update) has
/// returned, every shard reads that change or a later one; until then, some read the former. That takes one call to every
/// shard, so a shard that stalls keeps whoever updates waiting, and its own tasks see the former value meanwhile.
///
/// ```
/// use shardwise_shards::{CallError, Replicated, Runtime, Shard};
///
/// Runtime::builder()
///     .shards(2)
///     .oversubscribe(true)
///     .announce(false)
///     .run(async |shard: Shard| {
///         let limits = Replicated::new(&shard, || vec![10]);
///         limits.update(|limits| limits.push(20)).await?;
///         assert!(limits.read()?.len() >= 2);
///         Ok::<_, CallError>(())
///     })
///     .unwrap();
/// ```
pub struct Replicated<T>(PerShard<Replica<T>>);

/// A shard's copy.
struct Replica<T> {
    /// How many changes are in it.
    version: watch::Sender<u64>,
    versions: watch::Receiver<u64>,
    value: Rc<T>,
}

/// The shard that makes all changes. Any would do; this one is always there.
const WRITER: usize = 0;

impl<T: Clone + Send + 'static> Replicated<T> {
    /// Makes this shard's copy, and the handle on all. Every shard must come to this line, as often as the others, and make the
    /// same.
    ///
    /// # Panics
    ///
    /// As [`PerShard::new`].
    #[track_caller]
    pub fn new(shard: &Shard, make: impl FnOnce() -> T) -> Replicated<T> {
        let location = Location::caller();
        let (version, versions) = watch::channel(0);
        Replicated(PerShard::new_at(shard, location, || Replica { version, versions, value: Rc::new(make()) }))
    }

    /// This shard's copy as it is now; it stays as it is, whatever is written meanwhile. Costs a count.
    ///
    /// Errors: [`OffShard`](CallError::OffShard), or [`Stopped`](CallError::Stopped) once the shard has ended.
    pub fn read(self) -> Result<Rc<T>, CallError> {
        self.0.here(|replica| Rc::clone(&replica.value))
    }

    /// How many changes this shard's copy has seen.
    ///
    /// Errors: as of [`read`](Replicated::read).
    pub fn version(self) -> Result<u64, CallError> {
        self.0.here(|replica| *replica.version.get())
    }

    /// Waits until this shard's copy has seen more changes than these: how many. Cancel safe.
    ///
    /// Errors: as of [`read`](Replicated::read).
    ///
    /// ```
    /// use shardwise_shards::{CallError, Replicated, Simulation};
    ///
    /// let mut simulation = Simulation::new(1);
    /// simulation.start(2, async |shard| {
    ///     let text = Replicated::new(&shard, String::new);
    ///     if shard.number() == 0 {
    ///         text.update(|text| text.push_str("told")).await?;
    ///     }
    ///     text.changed(0).await?;
    ///     assert_eq!(*text.read()?, "told");
    ///     Ok::<_, CallError>(())
    /// });
    /// simulation.run_to_end();
    /// ```
    pub async fn changed(self, seen: u64) -> Result<u64, CallError> {
        let mut versions = self.0.here(|replica| replica.versions.clone())?;
        loop {
            let version = *versions.get();
            if version > seen {
                return Ok(version);
            }
            versions.changed().await.map_err(|_| CallError::Stopped)?;
        }
    }

    /// Changes the value, after all changes that came before and before all that come later, and returns once every shard
    /// has it, with its version. A panic of `change` changes nothing and is an error here.
    ///
    /// Errors: see [`CallError`]. Dropping the future may leave some shards with the change and others without, until the
    /// next one. A shard that has ended is not waited for.
    pub async fn update(self, change: impl FnOnce(&mut T) + Send + 'static) -> Result<u64, CallError> {
        let spread = move |part: super::Part<Replica<T>>| async move {
            let (version, value) = part.with_mut(|replica| {
                let mut value = T::clone(&replica.value);
                change(&mut value);
                let version = *replica.version.get() + 1;
                replica.keep(version, value.clone());
                (version, value)
            })?;
            let others = (0..self.0.shards()).filter(|shard| *shard != WRITER);
            let calls = others.map(|shard| {
                let value = value.clone();
                self.0.on_mut(shard, move |replica| replica.keep(version, value))
            });
            for kept in super::per_shard::each(calls.collect()).await {
                match kept {
                    Ok(()) | Err(CallError::Stopped) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(version)
        };
        self.0.on_async(WRITER, spread).await?
    }
}

impl<T> Replica<T> {
    /// Keeps a value unless a newer one has overtaken it.
    fn keep(&mut self, version: u64, value: T) {
        if version > *self.version.get() {
            self.value = Rc::new(value);
            self.version.send(version);
        }
    }
}

impl<T> Clone for Replicated<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Replicated<T> {}

impl<T> fmt::Debug for Replicated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replicated<{}>", std::any::type_name::<T>())
    }
}
