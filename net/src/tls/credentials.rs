//! [`Credentials`]: what a shard makes hand-shakes with at this moment.
//!
//! One shard reads and checks. What is in order goes to all; each makes its own configuration of it, and connections that have
//! begun keep theirs. So a bad file is seen once, before anyone has it, and a hand-shake counts on nothing that shards share.

use std::cell::RefCell;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use shards::combine::race;
use shards::{Replicated, Scope, Shard, SpawnError};

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
    stats: Arc<NetStats>,
    /// Of the tasks that keep it up to date, which end with it.
    scope: Scope,
}

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
        let ended = |_| SetupError::new("the shards have ended before a certificate was read");
        let scope = shard.scope().child("tls").map_err(|error| SetupError::new(error.to_string()))?;
        let mut contents = None;
        if shard.number() == READER {
            let first = match self.read(shard).await {
                Ok(read) => self.material(shard, contents.insert(read)),
                Err(error) => Err(error),
            };
            let first = first.map(Arc::new);
            told.update(move |told| *told = Some(first)).await.map_err(ended)?;
        }
        // If the reader never comes to this line, all shards drain.
        let told_first = async { told.changed(0).await.map_err(ended) };
        let drained = async {
            shard.drained().await;
            Err(SetupError::new("the shards drain before a certificate was read"))
        };
        let version = race((told_first, drained)).await?;
        let material = match &*told.read().map_err(ended)? {
            Some(told) => told.clone()?,
            None => return Err(SetupError::new("the shard that reads certificates has told nothing")),
        };
        let config = RefCell::new(self.config(shard, &material, accepts_h2)?);
        stats.tls_not_after.set(material.not_after());
        let shared = Rc::new(Shared { shard: shard.clone(), tls: self, accepts_h2, config, stats, scope });
        let full = |error: SpawnError| SetupError::new(error.to_string());
        if let (Some(time), Some(contents)) = (shared.tls.look_time(), contents) {
            let look = look(Rc::downgrade(&shared), shard.clone(), time, contents, told);
            shared.scope.spawn(look).map_err(full)?.detach();
        }
        shared.scope.spawn(adopt(Rc::downgrade(&shared), told, version)).map_err(full)?.detach();
        Ok(Credentials(shared))
    }
}

impl Credentials {
    /// What the next hand-shake is made with: a count, and no more.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config.borrow())
    }
}

/// On the shard that reads: looks at the files now and then, and tells all what is new in them.
async fn look(shared: Weak<Shared>, shard: Shard, time: Duration, mut known: Contents, told: Replicated<Told>) {
    // What was wrong the last time, so that it is said once.
    let mut wrong = None;
    loop {
        shard.sleep(time).await;
        let Some(shared) = shared.upgrade() else { return };
        let found = match shared.tls.read(&shard).await {
            Ok(contents) if contents == known => {
                wrong = None;
                continue;
            }
            Ok(contents) => shared.tls.material(&shard, &contents).map(|material| (contents, material)),
            Err(error) => Err(error),
        };
        match found {
            Ok((contents, material)) => {
                (known, wrong) = (contents, None);
                let found = Ok(Arc::new(material));
                if told.update(move |told| *told = Some(found)).await.is_err() {
                    return;
                }
                shared.stats.tls_reloads.add(1);
                tracing::info!("certificates were read anew, and hold for new connections");
            }
            Err(error) if wrong.as_ref() == Some(&error) => {}
            Err(error) => {
                shared.stats.tls_reloads_refused.add(1);
                tracing::error!("certificates stay as they were: {error}");
                wrong = Some(error);
            }
        }
    }
}

/// Makes this shard's configuration anew whenever there is news.
async fn adopt(shared: Weak<Shared>, told: Replicated<Told>, mut version: u64) {
    while let Ok(news) = told.changed(version).await {
        version = news;
        let (Some(shared), Ok(told)) = (shared.upgrade(), told.read()) else { return };
        if let Some(Ok(material)) = &*told {
            match shared.tls.config(&shared.shard, material, shared.accepts_h2) {
                Ok(config) => {
                    shared.stats.tls_not_after.set(material.not_after());
                    let old = shared.config.replace(config);
                    drop(old);
                }
                Err(error) => tracing::error!("certificates stay as they were on this shard: {error}"),
            }
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
