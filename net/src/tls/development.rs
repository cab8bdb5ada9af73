//! A certificate that vouches for itself: for development, made at each start.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::Ed25519KeyPair;
use platform::BackendKind;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use shards::Shard;

use super::SetupError;
use crate::limits::{DEVELOPMENT_TIME, DEVELOPMENT_TIME_BEFORE};

/// A certificate for this machine and for these names, with its key: of P-256, or on a simulated machine Ed25519 by its seed.
pub(super) fn make(
    shard: &Shard,
    names: &[String],
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), SetupError> {
    let failed = |error: rcgen::Error| SetupError::new(format!("no certificate for {}: {error}", names.join(", ")));
    let key = match shard.backend() {
        BackendKind::Sim => seeded_key(shard),
        _ => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    };
    let key = key.map_err(failed)?;
    let usual = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new([&usual[..], names].concat()).map_err(failed)?;
    let now = shard.wall_clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = |since: Duration| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs());
    params.not_before = at(now.saturating_sub(DEVELOPMENT_TIME_BEFORE));
    params.not_after = at(now + DEVELOPMENT_TIME);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "shardwise, for development");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).map_err(failed)?.der().clone();
    tracing::warn!(
        "the certificate is self-signed, for development: SHA-256 fingerprint {}, valid for {} days",
        fingerprint(&certificate),
        DEVELOPMENT_TIME.as_secs() / (24 * 60 * 60)
    );
    Ok((certificate, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
}

fn seeded_key(shard: &Shard) -> Result<KeyPair, rcgen::Error> {
    let seed: Vec<u8> = (0..4).flat_map(|_| shard.random().to_le_bytes()).collect();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let pair = pair.to_pkcs8v1().map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    KeyPair::try_from(pair.as_ref())
}

/// As browsers and `openssl x509 -fingerprint -sha256` show it.
fn fingerprint(certificate: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in digest(&SHA256, certificate).as_ref().iter().enumerate() {
        let _ = write!(text, "{}{byte:02X}", if index == 0 { "" } else { ":" });
    }
    text
}

#[cfg(test)]
mod tests;
