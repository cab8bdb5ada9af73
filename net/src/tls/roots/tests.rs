//! What is read, and what is wrong with it.

use super::super::testing::{Pair, pem};
use super::*;

#[test]
fn authorities_are_read_or_refused_with_their_file() {
    let (one, other) = (Pair::new(&["a.example"]).certificate_pem(), Pair::new(&["b.example"]).certificate_pem());
    let roots = Roots::from_pem("roots.pem", &[one, other].concat()).expect("both are in order");
    assert_eq!(format!("{roots:?}"), "Roots(2 certificates)");
    for bytes in [b"".to_vec(), pem("CERTIFICATE", b"nonsense")] {
        let error = Roots::from_pem("roots.pem", &bytes).unwrap_err().to_string();
        assert!(error.starts_with("roots.pem: "), "{error}");
    }
}

#[test]
fn a_pair_is_checked_without_a_shard() {
    let (one, other) = (Pair::new(&["a.example"]), Pair::new(&["a.example"]));
    let certificate = one.certificate_pem();
    check(("cert.pem", &certificate), ("key.pem", &one.key_pem())).expect("they belong together");
    let error = check(("cert.pem", &certificate), ("key.pem", &other.key_pem())).unwrap_err().to_string();
    assert!(error.contains("key.pem does not belong"), "{error}");
}
