//! The suites of TLS 1.3, made so that rustls may give its keys away without making them twice.
//!
//! Two ideas. rustls keeps of a direction the secret alone, so whoever takes its keys has them derived once more, which costs four
//! keyed hashes: [`Remembering`] notes what was derived in a hand-shake ([`Derived`]), and finds it there. And of keys that are given
//! away rustls has a cipher that it never uses: [`Late`] makes one when the first record comes.
//!
//! Whose hand-shake it is that derives, rustls does not say; but it is that of the session that calls it, which
//! [puts its notes out](Derived::during) for as long as the call lasts. Where none are out nothing is noted: QUIC has its keys from
//! here too, and keeps them.

use std::cell::RefCell;
use std::mem;
use std::sync::OnceLock;

use rustls::crypto::aws_lc_rs;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundOpaqueMessage,
    OutboundPlainMessage, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::{CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls13CipherSuite};
use shards::Shard;

use super::record::TAG_BYTES;
use crate::limits::TLS_DERIVED_COUNT_MAX;

/// All suites, those of TLS 1.2 as they are, in the order in which they are preferred: those of AES-128 first, whose hand-shakes cost
/// a seventh less, as most CPUs have instructions for SHA-256 and none for SHA-384
/// (`decisions/2026-11-27-aes-128-first.md`).
pub(super) fn suites() -> &'static [SupportedCipherSuite] {
    static SUITES: OnceLock<Vec<SupportedCipherSuite>> = OnceLock::new();
    SUITES.get_or_init(|| {
        let mut suites = aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec();
        suites.sort_by_key(|suite| !is_aes_128(suite));
        suites.into_iter().map(|suite| suite.tls13().map_or(suite, ours)).collect()
    })
}

fn is_aes_128(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Made once, and never dropped: suites are told by their addresses.
fn ours(suite: &Tls13CipherSuite) -> SupportedCipherSuite {
    let CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit } = suite.common;
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit },
        hkdf_provider: Box::leak(Box::new(Remembering(suite.hkdf_provider))),
        aead_alg: Box::leak(Box::new(LateCiphers(suite.aead_alg))),
        quic: suite.quic,
    })))
}

// ---- what was derived ----

/// What was derived last in a session's hand-shake: keys and nonces. It is wiped when it is dropped.
#[derive(Default)]
pub(super) struct Derived(Vec<Note>);

struct Note {
    secret: OkmBlock,
    info: Info,
    output: OkmBlock,
}

/// What something is derived for; what is longer is not noted.
type Info = smallvec::SmallVec<[u8; INFO_BYTES_MAX]>;

/// As of a key and a nonce: length, `tls13 key`, no context, each with its length (RFC 8446 section 7.1).
const INFO_BYTES_MAX: usize = 16;

/// A shard's notes that are out.
#[derive(Default)]
struct Out(RefCell<Option<Derived>>);

impl Derived {
    /// Calls rustls, which notes here what it derives, and finds what it has derived before.
    pub(super) fn during<R>(&mut self, call: impl FnOnce() -> R) -> R {
        /// Takes the notes back, also when the call panics.
        struct Back<'d>(&'d mut Derived, std::rc::Rc<Out>);

        impl Drop for Back<'_> {
            fn drop(&mut self) {
                *self.0 = self.1.0.take().unwrap_or_default();
            }
        }

        let Some(shard) = Shard::current() else { return call() };
        let out = shard.local(Out::default);
        out.0.replace(Some(mem::take(self)));
        let _back = Back(self, out);
        call()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    fn find(&self, secret: &OkmBlock, info: &[u8], output: &mut [u8]) -> bool {
        let is_it = |note: &&Note| {
            note.secret.as_ref() == secret.as_ref()
                && note.info[..] == *info
                && note.output.as_ref().len() == output.len()
        };
        let found = self.0.iter().rev().find(is_it);
        found.inspect(|note| output.copy_from_slice(note.output.as_ref())).is_some()
    }

    fn note(&mut self, secret: &OkmBlock, info: Info, output: &[u8]) {
        // A list that grows would leave secrets behind where it lay.
        self.0.reserve_exact(TLS_DERIVED_COUNT_MAX - self.0.len());
        if self.0.len() == TLS_DERIVED_COUNT_MAX {
            self.0.remove(0);
        }
        self.0.push(Note { secret: secret.clone(), info, output: OkmBlock::new(output) });
    }
}

impl Out {
    /// Derives as `expand` does, and notes it; or finds what was derived before. Without notes it is only derived.
    fn expand(
        &self,
        secret: &OkmBlock,
        info: Info,
        output: &mut [u8],
        expand: impl FnOnce(&mut [u8]) -> Result<(), OutputLengthError>,
    ) -> Result<(), OutputLengthError> {
        let mut notes = self.0.borrow_mut();
        let Some(notes) = notes.as_mut() else { return expand(output) };
        if !notes.find(secret, &info, output) {
            expand(output)?;
            notes.note(secret, info, output);
        }
        Ok(())
    }
}

/// Derives as the other does, and what was derived before not again.
struct Remembering(&'static dyn Hkdf);

impl Hkdf for Remembering {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(Expander { secret: okm.clone(), inner: self.0.expander_for_okm(okm) })
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        self.0.hmac_sign(key, message)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Expander {
    secret: OkmBlock,
    inner: Box<dyn HkdfExpander>,
}

impl HkdfExpander for Expander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        let bytes: usize = info.iter().map(|part| part.len()).sum();
        if bytes > INFO_BYTES_MAX || output.len() > OkmBlock::MAX_LEN {
            return self.inner.expand_slice(info, output);
        }
        let whole: Info = info.iter().flat_map(|part| part.iter().copied()).collect();
        let expand = |output: &mut [u8]| self.inner.expand_slice(info, output);
        match Shard::current() {
            Some(shard) => shard.local(Out::default).expand(&self.secret, whole, output, expand),
            None => expand(output),
        }
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        self.inner.expand_block(info)
    }

    fn hash_len(&self) -> usize {
        self.inner.hash_len()
    }
}

// ---- ciphers that may never be needed ----

/// Makes the other's ciphers when they are needed.
struct LateCiphers(&'static dyn Tls13AeadAlgorithm);

/// A cipher, or what it is to be made of.
enum Late<C: ?Sized> {
    Key(&'static dyn Tls13AeadAlgorithm, Option<(AeadKey, Iv)>),
    Cipher(Box<C>),
}

impl Tls13AeadAlgorithm for LateCiphers {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Late::<dyn MessageEncrypter>::Key(self.0, Some((key, iv))))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Late::<dyn MessageDecrypter>::Key(self.0, Some((key, iv))))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

impl<C: ?Sized> Late<C> {
    fn get(&mut self, make: fn(&'static dyn Tls13AeadAlgorithm, AeadKey, Iv) -> Box<C>) -> &mut C {
        if let Late::Key(algorithm, key) = self {
            let (key, iv) = key.take().expect("it is taken once");
            *self = Late::Cipher(make(*algorithm, key, iv));
        }
        match self {
            Late::Cipher(cipher) => cipher,
            Late::Key(..) => unreachable!("it was just made"),
        }
    }
}

impl MessageEncrypter for Late<dyn MessageEncrypter> {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, sequence: u64) -> Result<OutboundOpaqueMessage, Error> {
        self.get(|algorithm, key, iv| algorithm.encrypter(key, iv)).encrypt(message, sequence)
    }

    /// With the content's type, as of every suite.
    fn encrypted_payload_len(&self, bytes: usize) -> usize {
        bytes + 1 + TAG_BYTES
    }
}

impl MessageDecrypter for Late<dyn MessageDecrypter> {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        self.get(|algorithm, key, iv| algorithm.decrypter(key, iv)).decrypt(message, sequence)
    }
}

#[cfg(test)]
mod tests;
