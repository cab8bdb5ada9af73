//! Where cryptography comes from, and the time of day for it.
//!
//! `rustls` wants values that any thread may use, while chance and time are the shard's. The way between them is the shard that
//! this thread runs: whoever makes a hand-shake is one of its tasks.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use platform::BackendKind;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{Error, NamedGroup, PeerMisbehaved};
use shards::Shard;

use super::suites::suites;

/// What a shard's hand-shakes are made with. On a simulated machine the seed decides all that is left to chance, so that the
/// same seed gives the same bytes; there, keys are exchanged by X25519 alone, since nothing else takes its chance from us, and
/// certificates ought to be Ed25519's, whose signatures leave nothing to chance.
pub fn provider(shard: &Shard) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider { cipher_suites: suites().to_vec(), ..default_provider() };
    match shard.backend() {
        BackendKind::Sim => {
            provider.kx_groups = vec![&SeededX25519];
            provider.secure_random = &Seeded;
        }
        // The hybrid first: what is recorded today stays secret when X25519 alone can be broken.
        _ => {
            provider.kx_groups =
                vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
        }
    }
    Arc::new(provider)
}

/// The time of day, by the clock of the shard that this thread runs.
#[derive(Clone, Copy, Debug)]
pub struct ShardTime;

impl TimeProvider for ShardTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = Shard::current()?.wall_clock().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// The chance of the shard that this thread runs.
#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let shard = Shard::current().ok_or(GetRandomFailed)?;
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&shard.random().to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

/// X25519 with private keys by that chance.
#[derive(Debug)]
struct SeededX25519;

impl SupportedKxGroup for SeededX25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        Seeded.fill(&mut secret)?;
        let key = PrivateKey::from_private_key(&X25519, &secret).map_err(|_| GetRandomFailed)?;
        let public = key.compute_public_key().map_err(|_| GetRandomFailed)?.as_ref().to_vec();
        Ok(Box::new(Exchange { key, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    key: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let refused = Error::from(PeerMisbehaved::InvalidKeyShare);
        agree(&self.key, UnparsedPublicKey::new(&X25519, peer), refused, |secret| Ok(SharedSecret::from(secret)))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
