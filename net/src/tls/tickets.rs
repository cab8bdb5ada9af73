//! Session tickets without state: who resumes brings back what the server needs, sealed.
//!
//! The one idea: a ticket's key is made of a secret and of what stands in the ticket in the clear, an epoch and a salt. So
//! whoever has the secret opens it: every shard, every process of a line of hot restarts, every machine of a fleet. Each
//! ticket has a key of its own, which seals once, so that no number of tickets wears a key out.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use crate::limits::{TICKET_BYTES_MAX, TICKET_EPOCH_TIME};

/// Seals and opens tickets. In the clear stand the secret's name, so that tickets of another are told at once; the epoch, the
/// time of day in periods of [`TICKET_EPOCH_TIME`]; and the salt.
pub(super) struct Tickets {
    secret: Prk,
    name: [u8; NAME_BYTES],
    random: &'static dyn SecureRandom,
    time: Arc<dyn TimeProvider>,
}

const NAME_BYTES: usize = 8;
const EPOCH_BYTES: usize = 4;
const SALT_BYTES: usize = 16;
const HEAD_BYTES: usize = NAME_BYTES + EPOCH_BYTES + SALT_BYTES;
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
        Tickets { secret, name, random, time }
    }

    fn epoch(&self) -> Option<u32> {
        u32::try_from(self.time.current_time()?.as_secs() / TICKET_EPOCH_TIME.as_secs()).ok()
    }

    fn key(&self, epoch: &[u8], salt: &[u8]) -> Option<LessSafeKey> {
        let info = [b"key", epoch, salt];
        let okm = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }

    /// The same for every ticket: none has its key in common with another.
    fn nonce() -> Nonce {
        Nonce::assume_unique_for_key([0; 12])
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
        let epoch = self.epoch()?.to_be_bytes();
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt).ok()?;
        let head = [&self.name[..], &epoch, &salt].concat();
        let mut sealed = plain.to_vec();
        self.key(&epoch, &salt)?.seal_in_place_append_tag(Self::nonce(), Aad::from(&head), &mut sealed).ok()?;
        Some([head, sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (head, sealed) = ticket.split_at_checked(HEAD_BYTES)?;
        let (name, rest) = head.split_at(NAME_BYTES);
        let (epoch, salt) = rest.split_at(EPOCH_BYTES);
        let age = self.epoch()?.checked_sub(u32::from_be_bytes(epoch.try_into().ok()?))?;
        if name != self.name || age > 1 {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let plain = self.key(epoch, salt)?.open_in_place(Self::nonce(), Aad::from(head), &mut sealed).ok()?;
        Some(plain.to_vec())
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
