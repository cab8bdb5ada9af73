//! Session tickets without state: who resumes brings back what the server needs, sealed.
//!
//! The one idea: a ticket's key is made of a secret and of what stands in the ticket in the clear, an epoch and a salt. So
//! whoever has the secret opens it: every shard, every process of a line of hot restarts, every machine of a fleet.
//!
//! The keys of a hand-shake's two tickets would cost a thirtieth of it. So a shard seals by the same key for a while, and each
//! ticket has a nonce left to chance: by a counter tickets could be told by their order. What one sees of a ticket is which
//! others were sealed by the same shard in the same time.

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use crate::limits::{TICKET_BYTES_MAX, TICKET_EPOCH_TIME, TICKET_KEYS_KNOWN_MAX, TICKETS_PER_KEY_MAX};

/// Seals and opens tickets. In the clear stand the secret's name, so that tickets of another are told at once; the key's origin,
/// which is the epoch, the time of day in periods of [`TICKET_EPOCH_TIME`], and the salt; and the nonce.
pub(super) struct Tickets {
    secret: Prk,
    name: [u8; NAME_BYTES],
    random: &'static dyn SecureRandom,
    time: Arc<dyn TimeProvider>,
    /// Of the one shard whose tickets these are, so nobody waits for it; whoever would, does without.
    keys: Mutex<Keys>,
}

/// Keys that were made lately.
#[derive(Default)]
struct Keys {
    sealing: Option<Sealing>,
    /// Keys that have opened a ticket, or have sealed those before; the latest last.
    opening: Vec<Arc<Key>>,
}

/// What new tickets are sealed by, and how many were.
struct Sealing {
    key: Arc<Key>,
    count: u32,
}

struct Key {
    origin: Origin,
    key: LessSafeKey,
}

type Origin = [u8; EPOCH_BYTES + SALT_BYTES];

const NAME_BYTES: usize = 8;
const EPOCH_BYTES: usize = 4;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = NAME_BYTES + EPOCH_BYTES + SALT_BYTES + NONCE_LEN;
const SEAL_BYTES: usize = 16;

impl Tickets {
    /// By this secret, under these terms: a ticket of other terms is as one of another secret.
    pub(super) fn new(
        secret: &[u8],
        terms: &[u8],
        random: &'static dyn SecureRandom,
        time: Arc<dyn TimeProvider>,
    ) -> Self {
        let secret = Salt::new(HKDF_SHA256, terms).extract(secret);
        let mut name = [0; NAME_BYTES];
        secret.expand(&[b"name"], Bytes(NAME_BYTES)).and_then(|okm| okm.fill(&mut name)).expect("a name is short");
        Tickets { secret, name, random, time, keys: Mutex::default() }
    }

    fn epoch(&self) -> Option<u32> {
        u32::try_from(self.time.current_time()?.as_secs() / TICKET_EPOCH_TIME.as_secs()).ok()
    }

    fn key(&self, origin: Origin) -> Option<Arc<Key>> {
        let info = [b"key", &origin[..]];
        let okm = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(Arc::new(Key { origin, key: LessSafeKey::new(UnboundKey::from(okm)) }))
    }

    /// A key to seal one ticket by.
    fn sealing_key(&self) -> Option<Arc<Key>> {
        let epoch = self.epoch()?.to_be_bytes();
        let mut keys = self.keys.try_lock().ok();
        if let Some(Keys { sealing: Some(sealing), .. }) = keys.as_deref_mut()
            && sealing.key.origin.starts_with(&epoch)
            && sealing.count < TICKETS_PER_KEY_MAX
        {
            sealing.count += 1;
            return Some(Arc::clone(&sealing.key));
        }
        let mut origin = Origin::default();
        origin[..EPOCH_BYTES].copy_from_slice(&epoch);
        self.random.fill(&mut origin[EPOCH_BYTES..]).ok()?;
        let key = self.key(origin)?;
        if let Some(keys) = &mut keys {
            let before = keys.sealing.replace(Sealing { key: Arc::clone(&key), count: 1 });
            before.into_iter().for_each(|before| keys.keep(before.key));
        }
        Some(key)
    }

    /// The key of this origin, and whether it was known.
    fn opening_key(&self, origin: &Origin) -> Option<(Arc<Key>, bool)> {
        if let Ok(keys) = self.keys.try_lock() {
            let sealing = keys.sealing.iter().map(|sealing| &sealing.key);
            if let Some(known) = sealing.chain(keys.opening.iter().rev()).find(|known| known.origin == *origin) {
                return Some((Arc::clone(known), true));
            }
        }
        Some((self.key(*origin)?, false))
    }
}

impl Keys {
    fn keep(&mut self, key: Arc<Key>) {
        if self.opening.len() >= TICKET_KEYS_KNOWN_MAX {
            self.opening.remove(0);
        }
        self.opening.push(key);
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// What is sealed at the end of an epoch is opened until the end of the next.
    fn lifetime(&self) -> u32 {
        TICKET_EPOCH_TIME.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if HEAD_BYTES + plain.len() + SEAL_BYTES > TICKET_BYTES_MAX {
            return None;
        }
        let key = self.sealing_key()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(HEAD_BYTES + plain.len() + SEAL_BYTES);
        [&self.name[..], &key.origin, &nonce, plain].iter().for_each(|part| ticket.extend_from_slice(part));
        let (head, sealed) = ticket.split_at_mut(HEAD_BYTES);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.key.seal_in_place_separate_tag(nonce, Aad::from(&*head), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (head, sealed) = ticket.split_at_checked(HEAD_BYTES)?;
        let (name, rest) = head.split_at(NAME_BYTES);
        let (origin, nonce) = rest.split_first_chunk()?;
        let age = self.epoch()?.checked_sub(u32::from_be_bytes(*origin.first_chunk()?))?;
        if name != self.name || age > 1 {
            return None;
        }
        let (key, is_known) = self.opening_key(origin)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let bytes = key.key.open_in_place(nonce, Aad::from(head), &mut plain).ok()?.len();
        plain.truncate(bytes);
        // Only now: made-up origins drive out nothing.
        if !is_known && let Ok(mut keys) = self.keys.try_lock() {
            keys.keep(key);
        }
        Some(plain)
    }
}

/// So many bytes out of a secret.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
