//! What is read of certificates, what is wrong with them, and whose turn it is.

use rcgen::{PKCS_ED25519, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;

use super::super::testing::{Pair, pem};
use super::*;

fn read(certificate: &[u8], key: &[u8]) -> Result<Identity, SetupError> {
    Identity::from_pem(("cert.pem", certificate), ("key.pem", key), None, &default_provider())
}

#[test]
fn the_end_of_a_certificate_is_read() {
    #[track_caller]
    fn check(year: i32, month: u8, day: u8, expect: u64) {
        let pair = Pair::with(&["a.example"], &PKCS_ED25519, |params| {
            params.not_after = date_time_ymd(year, month, day);
        });
        assert_eq!(not_after_of(&pair.certificate), Some(expect));
    }
    // As `date -u -d 2030-01-02 +%s` says.
    check(2030, 1, 2, 1_893_542_400);
    check(2024, 2, 29, 1_709_164_800);
    check(2000, 3, 1, 951_868_800);
    check(2049, 12, 31, 2_524_521_600);
    check(2050, 1, 1, 2_524_608_000);
    check(2100, 3, 1, 4_107_542_400);
    check(1970, 1, 1, 0);
    check(1955, 5, 5, 0);
    let whole = Pair::new(&["a.example"]).certificate;
    for length in 0..whole.len() {
        assert_eq!(not_after_of(&whole[..length]), None, "{length} bytes");
    }
}

#[test]
fn what_is_wrong_is_said_with_the_file_and_the_remedy() {
    #[track_caller]
    fn check(certificate: &[u8], key: &[u8], texts: &[&str]) {
        let error = read(certificate, key).err().expect("it is wrong").to_string();
        assert!(texts.iter().all(|text| error.contains(text)), "{texts:?} in {error:?}");
    }
    let (one, other) = (Pair::new(&["a.example"]), Pair::new(&["a.example"]));
    let (certificate, key) = (one.certificate_pem(), one.key_pem());
    check(b"", &key, &["cert.pem", "no certificate", "BEGIN CERTIFICATE"]);
    check(&key, &key, &["cert.pem", "no certificate"]);
    check(&certificate, b"", &["key.pem", "no private key", "BEGIN PRIVATE KEY"]);
    check(&certificate, &certificate, &["key.pem", "no private key"]);
    check(&certificate, &pem("ENCRYPTED PRIVATE KEY", b"sealed"), &["key.pem", "encrypted", "openssl pkey"]);
    check(&certificate, &other.key_pem(), &["key.pem does not belong", "cert.pem"]);
    check(&certificate, &pem("PRIVATE KEY", b"nonsense"), &["key.pem", "cannot be used"]);
    check(&pem("CERTIFICATE", b"nonsense"), &key, &["cert.pem", "cannot be used"]);
    check(b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", &key, &["cert.pem", "no PEM"]);
    check(b"-----BEGIN CERTIFICATE\n", &key, &["cert.pem", "no PEM"]);
    // The server's own comes first.
    let swapped = [other.certificate_pem(), certificate.clone()].concat();
    check(&swapped, &key, &["does not belong to the first certificate"]);
    // Half written, wherever that is.
    for length in 1..certificate.len() - 1 {
        read(&certificate[..length], &key).err().expect("half of it is no certificate");
    }
    for length in 1..key.len() - 1 {
        read(&certificate, &key[..length]).err().expect("half of it is no key");
    }
    assert!(read(&certificate, &key).is_ok());
}

#[test]
fn the_certificate_is_chosen_by_the_name() {
    let names: [&[&str]; 4] =
        [&["first.example"], &["a.example", "*.a.example"], &["b.a.example", "B.Example"], &["*.a.example"]];
    let of = |pair: Pair| read(&pair.certificate_pem(), &pair.key_pem()).unwrap();
    let identities: Vec<Identity> = names.iter().map(|names| of(Pair::of_p256(names))).collect();
    let by_name = ByName::new(&identities, &default_provider()).unwrap();
    let check = |name: Option<&str>, expect: &[usize]| {
        let index = |found: &Arc<CertifiedKey>| by_name.all.iter().position(|one| Arc::ptr_eq(one, found)).unwrap();
        assert_eq!(by_name.of(name).iter().map(index).collect::<Vec<_>>(), expect, "{name:?}");
    };
    check(None, &[0, 1, 2, 3]);
    check(Some("first.example"), &[0]);
    check(Some("a.example"), &[1]);
    check(Some("x.a.example"), &[1, 3]);
    check(Some("b.a.example"), &[2]);
    check(Some("b.example"), &[2]);
    check(Some("x.y.a.example"), &[0, 1, 2, 3]);
    check(Some("example"), &[0, 1, 2, 3]);
}
