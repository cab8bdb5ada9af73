//! [`Credentials`]: what a shard makes hand-shakes with at this moment.
//!
//! One shard reads and checks. What is in order goes to all; each makes its own configuration of it, and connections that have
//! begun keep theirs. So a bad file is seen once, before anyone has it, and a hand-shake counts on nothing that shards share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use shards::combine::race;
use shards::sync::Mutex;
use shards::{CallError, Replicated, Scope, Shard, SpawnError};

use super::SetupError;
use super::config::{Contents, Material, Tls};
use crate::NetStats;

/// A shard's part of a [`Tls`] that was opened. Cloning gives another name of the same; the last that is dropped ends the looking
/// at files.
#[derive(Clone)]
pub struct Credentials(Rc<Shared>);

struct Shared {
    shard: Shard,
    tls: Tls,
    accepts_h2: bool,
    config: RefCell<Arc<ServerConfig>>,
    /// When the first of its certificates ends.
    not_after: Cell<u64>,
    /// Of the shard that reads.
    reader: Option<Reader>,
    stats: Arc<NetStats>,
    /// Of the tasks that keep it up to date, which end with it.
    scope: Scope,
}

/// What the shard that reads has read last, and by what it tells all.
struct Reader {
    known: Mutex<Contents>,
    told: Replicated<Told>,
}

/// All that are open on a shard.
#[derive(Default)]
struct Opened(RefCell<Vec<Weak<Shared>>>);

/// What the shard that reads tells all.
type Told = Option<Result<Arc<Material>, SetupError>>;

/// The shard that reads. Any would do; this one is always there.
const READER: usize = 0;

impl Tls {
    /// Comes to what it declares: on every shard, at the same point of the program. HTTP/2 is offered if `accepts_h2`.
    ///
    /// Errors: a file cannot be read, is not in order, or does not fit another; the same on every shard.
    pub async fn open(self, shard: &Shard, accepts_h2: bool, stats: Arc<NetStats>) -> Result<Credentials, SetupError> {
        let told = Replicated::new(shard, || Told::None);
        let scope = shard.scope().child("tls").map_err(|error| SetupError::new(error.to_string()))?;
        let mut contents = None;
        let first = async {
            if shard.number() == READER {
                let first = match self.read(shard).await {
                    Ok(read) => self.material(shard, contents.insert(read)),
                    Err(error) => Err(error),
                };
                let first = first.map(Arc::new);
                told.update(move |told| *told = Some(first)).await.map_err(ended)?;
            }
            told.changed(0).await.map_err(ended)
        };
        // If a shard never comes to this line, all drain.
        let drained = async {
            shard.drained().await;
            Err(SetupError::new("the shards drain before a certificate was read"))
        };
        let version = race((first, drained)).await?;
        let material = match &*told.read().map_err(ended)? {
            Some(told) => told.clone()?,
            None => return Err(SetupError::new("the shard that reads certificates has told nothing")),
        };
        let config = self.config(shard, &material, accepts_h2)?;
        let reader = contents.map(|known| Reader { known: Mutex::new(known), told });
        let shared = Rc::new(Shared {
            shard: shard.clone(),
            config: RefCell::new(config),
            tls: self,
            accepts_h2,
            not_after: Cell::new(material.not_after()),
            reader,
            stats,
            scope,
        });
        let opened = shard.local(Opened::default);
        opened.0.borrow_mut().push(Rc::downgrade(&shared));
        opened.tell(&shared.stats);
        let full = |error: SpawnError| SetupError::new(error.to_string());
        if let (Some(_), Some(time)) = (&shared.reader, shared.tls.look_time()) {
            shared.scope.spawn(look_on(Rc::downgrade(&shared), shard.clone(), time)).map_err(full)?.detach();
        }
        shared.scope.spawn(adopt(Rc::downgrade(&shared), told, version)).map_err(full)?.detach();
        Ok(Credentials(shared))
    }
}

fn ended(_: CallError) -> SetupError {
    SetupError::new("the shards have ended before a certificate was read")
}

/// Looks at all files of certificates and keys at once, instead of at their time: whether there was something new, which is
/// told to all shards by then.
///
/// Errors: what is new is not in order, and the former stays.
///
/// ```
/// use shardwise_net::{NetStats, tls};
/// use shards::Simulation;
///
/// Simulation::new(1).run(async |shard| {
///     let credentials = tls::Tls::self_signed([]).open(&shard, true, Default::default()).await.unwrap();
///     assert_eq!(tls::reload(&shard).await, Ok(false));
///     # drop(credentials);
/// });
/// ```
pub async fn reload(shard: &Shard) -> Result<bool, SetupError> {
    let look = async |shard: Shard| {
        let all: Vec<_> = shard.local(Opened::default).all().collect();
        let (mut any, mut wrong) = (false, None);
        for shared in all {
            match shared.look().await {
                Ok(news) => any |= news,
                Err(error) => {
                    shared.stats.tls_reloads_refused.add(1);
                    wrong = Some(error);
                }
            }
        }
        wrong.map_or(Ok(any), Err)
    };
    shard.on_async(READER, look).await.map_err(ended)?
}

impl Credentials {
    /// What the next hand-shake is made with: a count, and no more.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config.borrow())
    }
}

impl Opened {
    fn all(&self) -> impl Iterator<Item = Rc<Shared>> {
        self.0.borrow_mut().retain(|shared| shared.strong_count() > 0);
        let all = self.0.borrow().clone();
        all.into_iter().filter_map(|shared| shared.upgrade())
    }

    /// When the first certificate of all ends.
    fn tell(&self, stats: &NetStats) {
        stats.tls_not_after.set(self.all().map(|shared| shared.not_after.get()).min().unwrap_or_default());
    }
}

impl Shared {
    /// On the shard that reads: looks at the files, and tells all what is new in them. Whether there was something.
    async fn look(&self) -> Result<bool, SetupError> {
        let Some(Reader { known, told }) = &self.reader else { return Ok(false) };
        let mut known = known.lock().await;
        let found = async {
            let contents = self.tls.read(&self.shard).await?;
            Ok(match contents == *known {
                true => None,
                false => Some((self.tls.material(&self.shard, &contents)?, contents)),
            })
        };
        let Some((material, contents)) = found.await? else { return Ok(false) };
        *known = contents;
        let found = Ok(Arc::new(material));
        told.update(move |told| *told = Some(found)).await.map_err(ended)?;
        self.stats.tls_reloads.add(1);
        tracing::info!("certificates were read anew, and hold for new connections");
        Ok(true)
    }

    fn adopt(&self, material: &Material) {
        match self.tls.config(&self.shard, material, self.accepts_h2) {
            Ok(config) => {
                let old = self.config.replace(config);
                drop(old);
                self.not_after.set(material.not_after());
                self.shard.local(Opened::default).tell(&self.stats);
            }
            Err(error) => tracing::error!("certificates stay as they were on this shard: {error}"),
        }
    }
}

/// Looks at the files now and then.
async fn look_on(shared: Weak<Shared>, shard: Shard, time: Duration) {
    // What was wrong the last time, so that it is said once.
    let mut wrong = None;
    loop {
        shard.sleep(time).await;
        let Some(shared) = shared.upgrade() else { return };
        let found = shared.look().await.err();
        if let Some(error) = found.as_ref().filter(|error| wrong.as_ref() != Some(*error)) {
            shared.stats.tls_reloads_refused.add(1);
            tracing::error!("certificates stay as they were: {error}");
        }
        wrong = found;
    }
}

/// Makes this shard's configuration anew whenever there is news.
async fn adopt(shared: Weak<Shared>, told: Replicated<Told>, mut version: u64) {
    while let Ok(news) = told.changed(version).await {
        version = news;
        let (Some(shared), Ok(told)) = (shared.upgrade(), told.read()) else { return };
        if let Some(Ok(material)) = &*told {
            shared.adopt(material);
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("tls", &self.0.tls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
