//! What every shard, and every process of a line of hot restarts, must have in common: the keys of ids, of stateless resets
//! and of tokens. All are made of one secret that the shards keep together.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use quinn_proto::TimeSource;
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};
use shards::Shard;

/// The keepsake that the keys are made of.
const SECRET: &str = "quic-secret";

/// By what a peer is told that its connection is not known here.
pub(super) fn reset_key(shard: &Shard) -> Arc<dyn HmacKey> {
    Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key(shard, b"reset")))
}

/// By what an id of a connection shows that one of the shards has made it.
pub(super) fn id_key(shard: &Shard) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &key(shard, b"id"))
}

/// By what a client shows that it has received a Retry.
pub(super) fn token_key(shard: &Shard) -> Arc<dyn HandshakeTokenKey> {
    Arc::new(Salt::new(HKDF_SHA256, b"token").extract(&shared(shard)))
}

/// The key for a purpose.
fn key(shard: &Shard, purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let secret = Salt::new(HKDF_SHA256, b"key").extract(&shared(shard));
    let purpose = [purpose];
    let okm = secret.expand(&purpose, HKDF_SHA256).expect("a key is short");
    okm.fill(&mut key).expect("it has the length of what it fills");
    key
}

fn shared(shard: &Shard) -> Arc<[u8]> {
    shard.keepsake(SECRET, || (0..4).flat_map(|_| shard.random().to_le_bytes()).collect())
}

/// What an endpoint's own chance begins with.
pub(super) fn seed(shard: &Shard) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&shard.random().to_le_bytes()));
    seed
}

/// The time of day of the shard that this thread runs.
pub(super) struct Time;

impl TimeSource for Time {
    fn now(&self) -> SystemTime {
        Shard::current().map_or(UNIX_EPOCH, |shard| shard.wall_clock())
    }
}
