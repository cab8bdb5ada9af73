//! What is derived once and what anew, and that both are the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use shards::Simulation;

use super::*;

/// Counts what is expanded.
struct Counting(&'static dyn Hkdf, &'static AtomicUsize);

struct CountingExpander(Box<dyn HkdfExpander>, &'static AtomicUsize);

impl Hkdf for Counting {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(CountingExpander(self.0.expander_for_okm(okm), self.1))
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        self.0.hmac_sign(key, message)
    }
}

impl HkdfExpander for CountingExpander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        self.0.expand_block(info)
    }

    fn hash_len(&self) -> usize {
        self.0.hash_len()
    }
}

/// One that remembers, above one that counts and one that does neither.
struct Above {
    remembering: Remembering,
    plain: &'static dyn Hkdf,
    count: &'static AtomicUsize,
}

impl Above {
    fn new() -> Self {
        let suite = aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().find_map(|suite| suite.tls13()).unwrap();
        let count: &AtomicUsize = Box::leak(Box::default());
        let counting = Box::leak(Box::new(Counting(suite.hkdf_provider, count)));
        Above { remembering: Remembering(counting), plain: suite.hkdf_provider, count }
    }

    /// Derives so many bytes, sees that they are the right ones, and says how often anything was expanded for it.
    #[track_caller]
    fn check(&self, secret: u8, label: &[u8], bytes: usize) -> usize {
        let (secret, before) = (OkmBlock::new(&[secret; 48]), self.count.load(Ordering::Relaxed));
        let info = [&[0, bytes as u8][..], &[6 + label.len() as u8], b"tls13 ", label, &[0]];
        let (mut output, mut expect) = (vec![0; bytes], vec![0; bytes]);
        self.remembering.expander_for_okm(&secret).expand_slice(&info, &mut output).unwrap();
        self.plain.expander_for_okm(&secret).expand_slice(&info, &mut expect).unwrap();
        assert_eq!(output, expect);
        self.count.load(Ordering::Relaxed) - before
    }
}

#[test]
fn what_was_derived_in_a_hand_shake_is_not_derived_again() {
    Simulation::new(1).run(async |_| {
        let above = Above::new();
        let mut derived = Derived::default();
        derived.during(|| {
            assert_eq!((above.check(1, b"key", 32), above.check(1, b"iv", 12)), (1, 1));
            assert_eq!((above.check(2, b"key", 32), above.check(2, b"iv", 12)), (1, 1), "of another secret");
            assert_eq!((above.check(1, b"iv", 12), above.check(2, b"key", 32)), (0, 0));
            assert_eq!(above.check(1, b"key", 16), 1, "of another length");
            assert_eq!(
                (above.check(1, b"finished", 48), above.check(1, b"finished", 48)),
                (1, 1),
                "too long a purpose"
            );
        });
        assert_eq!(derived.0.len(), 5);
        derived.during(|| assert_eq!(above.check(2, b"iv", 12), 0, "nor in a later call"));
    });
}

#[test]
fn each_session_has_its_own_and_without_one_nothing_is_noted() {
    Simulation::new(1).run(async |shard| {
        let above = Above::new();
        let (mut one, mut other) = (Derived::default(), Derived::default());
        assert_eq!((above.check(1, b"key", 32), above.check(1, b"key", 32)), (1, 1), "none is out");
        one.during(|| assert_eq!(above.check(1, b"key", 32), 1));
        other.during(|| assert_eq!(above.check(1, b"key", 32), 1));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            one.during(|| {
                assert_eq!(above.check(2, b"key", 32), 1);
                std::panic::resume_unwind(Box::new(()))
            })
        }));
        assert!(panicked.is_err());
        assert!(shard.local(Out::default).0.borrow().is_none(), "they are taken back");
        one.during(|| assert_eq!((above.check(1, b"key", 32), above.check(2, b"key", 32)), (0, 0)));
        assert_eq!((one.0.len(), other.0.len()), (2, 1));
    });
    let above = Above::new();
    Derived::default()
        .during(|| assert_eq!((above.check(1, b"iv", 12), above.check(1, b"iv", 12)), (1, 1), "no shard"));
}

#[test]
fn the_oldest_is_forgotten() {
    Simulation::new(1).run(async |shard| {
        let above = Above::new();
        Derived::default().during(|| {
            for secret in 0..=TLS_DERIVED_COUNT_MAX as u8 {
                assert_eq!(above.check(secret, b"iv", 12), 1);
                let out = shard.local(Out::default);
                let capacity = out.0.borrow().as_ref().map(|notes| notes.0.capacity());
                assert_eq!(capacity, Some(TLS_DERIVED_COUNT_MAX), "they never move");
            }
            assert_eq!((above.check(1, b"iv", 12), above.check(0, b"iv", 12)), (0, 1));
        });
    });
}

#[test]
fn the_suites_are_those_of_the_provider_and_aes_128_comes_first() {
    use rustls::CipherSuite as Suite;
    let names: Vec<_> = suites().iter().map(|suite| suite.suite()).collect();
    let first = [
        Suite::TLS13_AES_128_GCM_SHA256,
        Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    assert_eq!(names[..first.len()], first);
    assert_eq!(names.len(), aws_lc_rs::DEFAULT_CIPHER_SUITES.len());
    for theirs in aws_lc_rs::DEFAULT_CIPHER_SUITES {
        let ours = suites().iter().find(|ours| ours.suite() == theirs.suite()).expect("it is there");
        let same = |one: &Tls13CipherSuite, other: &Tls13CipherSuite| {
            one.quic.is_some() == other.quic.is_some() && one.aead_alg.key_len() == other.aead_alg.key_len()
        };
        let (Some(one), Some(other)) = (ours.tls13(), theirs.tls13()) else { continue };
        assert!(same(one, other));
        assert_eq!(one.common.confidentiality_limit, other.common.confidentiality_limit);
    }
}
