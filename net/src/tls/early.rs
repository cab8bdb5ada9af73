//! Sessions that may bring early data: each is kept here until it is resumed, once.
//!
//! What a client sends before the hand-shake is over can be recorded and sent again by anyone. A session that is gone once it
//! was resumed cannot be resumed again, on no shard, so nothing is taken twice (RFC 8446 section 8.1).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

use crate::limits::{EARLY_SESSIONS_MAX, TICKET_BYTES_MAX};

/// One shard's sessions. `rustls` wants what any thread may use; nobody but the shard does, so the lock is free.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    values: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    /// The oldest first.
    names: BTreeMap<u64, Vec<u8>>,
    count: u64,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, name: Vec<u8>, value: Vec<u8>) -> bool {
        if value.len() > TICKET_BYTES_MAX {
            return false;
        }
        let mut kept = self.lock();
        kept.take(&name);
        if kept.values.len() >= EARLY_SESSIONS_MAX
            && let Some((_, oldest)) = kept.names.pop_first()
        {
            kept.values.remove(&oldest);
        }
        let number = kept.count;
        kept.count += 1;
        kept.names.insert(number, name.clone());
        kept.values.insert(name, (number, value));
        true
    }

    /// By TLS 1.2, which has no early data and may resume a session more than once.
    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.lock().values.get(name).map(|(_, value)| value.clone())
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.lock().take(name)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl Kept {
    fn take(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let (number, value) = self.values.remove(name)?;
        self.names.remove(&number);
        Some(value)
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sessions", self.values.len())
    }
}

#[cfg(test)]
mod tests;
