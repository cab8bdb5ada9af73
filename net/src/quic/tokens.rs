//! [`Tokens`]: those by which clients have shown where they are when they came back (RFC 9000 section 8.1.3), each of which is taken
//! once.
//!
//! The one idea: what was used is remembered for as long as a token is good, in two sets that take turns. A shard that has no room for
//! more takes no more tokens, and their clients show where they are in another way. Every shard remembers by itself, so that whoever
//! has seen a token may use it once on each: that is a bound, too.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use quinn_proto::{TimeSource, TokenLog, TokenReuseError};

use super::secrets::Time;
use crate::limits::QUIC_TOKENS_USED_MAX;

/// `quinn-proto` wants what any thread may use; the one that does runs the shard.
#[derive(Default)]
pub(super) struct Tokens(Mutex<Used>);

#[derive(Default)]
struct Used {
    young: BTreeSet<u128>,
    old: BTreeSet<u128>,
    /// When the young were none.
    since: Option<SystemTime>,
}

impl TokenLog for Tokens {
    fn check_and_insert(&self, nonce: u128, _: SystemTime, lifetime: Duration) -> Result<(), TokenReuseError> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.take(nonce, Time.now(), lifetime).then_some(()).ok_or(TokenReuseError)
    }
}

impl Used {
    /// Whether a token is taken that is good for so long at the most.
    fn take(&mut self, nonce: u128, now: SystemTime, lifetime: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        // Clocks may be set back; then what is young stays so for longer.
        if now.duration_since(since).is_ok_and(|age| age > lifetime) {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        let has_room = self.young.len() < QUIC_TOKENS_USED_MAX;
        has_room && !self.old.contains(&nonce) && self.young.insert(nonce)
    }
}

#[cfg(test)]
mod tests;
