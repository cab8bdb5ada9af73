//! Certificates with their keys: read from PEM, checked, and chosen by the name that a client asks for.
//!
//! What is read are bytes that any shard may have ([`Identity`]); what signs is each shard's own ([`ByName`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::SetupError;

/// A certificate, those that vouch for it, and its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// An answer of OCSP, to be shown with it.
    staple: Option<Vec<u8>>,
    /// Whom it stands for, in lower case.
    names: Vec<String>,
    /// When the first certificate of the chain ends, in seconds since 1970.
    pub(super) not_after: u64,
}

impl Identity {
    /// Reads a chain and its key from PEM. `certificate_name` and `key_name` are what errors call them.
    pub(super) fn from_pem(
        (certificate_name, certificate): (&str, &[u8]),
        (key_name, key): (&str, &[u8]),
        staple: Option<Vec<u8>>,
        provider: &CryptoProvider,
    ) -> Result<Self, SetupError> {
        let chain = chain_from_pem(certificate_name, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound if contains(key, b"ENCRYPTED PRIVATE KEY") => SetupError::new(format!(
                "{key_name}: the key is encrypted. Give it as it is, in a file that only this server may read: `openssl \
                 pkey -in {key_name}`."
            )),
            pem::Error::NoItemsFound => SetupError::new(format!(
                "{key_name}: no private key is in it. It must hold one in PEM, which begins with \"-----BEGIN PRIVATE \
                 KEY-----\"."
            )),
            error => broken(key_name, &error),
        })?;
        Identity::new((certificate_name, chain), (key_name, key), staple, provider)
    }

    /// A chain, which has one certificate at the least, and its key.
    pub(super) fn new(
        (certificate_name, chain): (&str, Vec<CertificateDer<'static>>),
        (key_name, key): (&str, PrivateKeyDer<'static>),
        staple: Option<Vec<u8>>,
        provider: &CryptoProvider,
    ) -> Result<Self, SetupError> {
        let unreadable =
            |why: String| SetupError::new(format!("{certificate_name}: the certificate cannot be used: {why}."));
        let mut not_after = u64::MAX;
        for certificate in &chain {
            let until = not_after_of(certificate).ok_or_else(|| unreadable("it does not say until when".to_owned()))?;
            not_after = not_after.min(until);
        }
        let parsed = EndEntityCert::try_from(&chain[0]).map_err(|error| unreadable(error.to_string()))?;
        let names = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let identity = Identity { chain, key, staple, names, not_after };
        identity.certified(provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => SetupError::new(format!(
                "the key of {key_name} does not belong to the first certificate of {certificate_name}. That must be the \
                 server's own, before those that vouch for it; and both must be of the same issue."
            )),
            error => SetupError::new(format!("{key_name}: the key cannot be used: {error}.")),
        })?;
        Ok(identity)
    }

    /// What signs, for one shard.
    fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
        let mut certified = CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), provider)?;
        certified.ocsp.clone_from(&self.staple);
        Ok(certified)
    }
}

/// The certificates of a file in PEM, of which there is one at the least.
pub(super) fn chain_from_pem(name: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let chain = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| broken(name, &error))?;
    match chain.is_empty() {
        false => Ok(chain),
        true => Err(SetupError::new(format!(
            "{name}: no certificate is in it. It must hold one in PEM, which begins with \"-----BEGIN CERTIFICATE-----\", \
             and behind it those that vouch for it."
        ))),
    }
}

fn broken(name: &str, error: &pem::Error) -> SetupError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a section".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section begins with a line that is none".to_owned(),
        error => error.to_string(),
    };
    SetupError::new(format!("{name}: this is no PEM: {why}. Has it been written in whole?"))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// One shard's keys, by the names that they stand for. Where several stand for a name, as of RSA and of ECDSA, the first is
/// taken that the client can check.
#[derive(Debug)]
pub(super) struct ByName {
    names: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// Of those with a wildcard, by what follows it.
    wildcards: BTreeMap<String, Vec<Arc<CertifiedKey>>>,
    /// In the order in which they were declared; for clients that ask for no name, or for one that nobody stands for.
    all: Vec<Arc<CertifiedKey>>,
}

impl ByName {
    pub(super) fn new(identities: &[Identity], provider: &CryptoProvider) -> Result<Self, SetupError> {
        let mut by_name = ByName { names: BTreeMap::new(), wildcards: BTreeMap::new(), all: Vec::new() };
        for identity in identities {
            let certified = identity.certified(provider).map_err(|error| SetupError::new(error.to_string()))?;
            let certified = Arc::new(certified);
            for name in &identity.names {
                let place = match name.strip_prefix("*.") {
                    Some(parent) => by_name.wildcards.entry(parent.to_owned()),
                    None => by_name.names.entry(name.clone()),
                };
                place.or_default().push(Arc::clone(&certified));
            }
            by_name.all.push(certified);
        }
        Ok(by_name)
    }

    /// Those who stand for a name, which is in lower case; a wildcard stands for one label.
    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.all };
        let wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.names.get(name).or_else(wildcard).unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.of(hello.server_name());
        let fits = |candidate: &&Arc<CertifiedKey>| candidate.key.choose_scheme(hello.signature_schemes()).is_some();
        match candidates {
            [only] => Some(only),
            several => several.iter().find(fits).or(several.first()),
        }
        .cloned()
    }
}

/// When a certificate ends, in seconds since 1970 (RFC 5280 section 4.1.2.5); `None` if it is not one.
fn not_after_of(certificate: &[u8]) -> Option<u64> {
    let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
    let (SEQUENCE, signed, _) = element(certificate)? else { return None };
    let (version, _, behind_version) = element(signed)?;
    let serial_number = if version == VERSION { behind_version } else { signed };
    let algorithm = element(serial_number)?.2;
    let issuer = element(algorithm)?.2;
    let (SEQUENCE, validity, _) = element(element(issuer)?.2)? else { return None };
    let (kind, time, _) = element(element(validity)?.2)?;
    let digits = time.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let (year, rest) = match (kind, digits.len()) {
        // Two digits, from 1950 to 2049.
        (UTC_TIME, 12) => (number(&digits[..2]) + if digits[0] < b'5' { 2000 } else { 1900 }, &digits[2..]),
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |index: usize| number(&rest[2 * index..][..2]);
    let days = days_since_1970(year, part(0), part(1))?;
    Some(days * 86_400 + part(2) * 3600 + part(3) * 60 + part(4))
}

/// DER's first element: its tag, what it holds, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        ..=0x7f => (usize::from(first), rest),
        // Longer ones are in so many bytes; no certificate is of more than three.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Of the Gregorian calendar; what ended before 1970 has ended at its beginning.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let before_month = (153 * month + 2) / 5;
    Some((before_year + before_month + day - 1).saturating_sub(DAYS_TO_1970))
}

/// From the first of March of the year zero.
const DAYS_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests;
