//! A certificate that a simulated machine makes.

use rustls::pki_types::ServerName;
use shards::Simulation;
use webpki::EndEntityCert;

use super::*;

fn made(
    seed: u64,
    names: &'static [&'static str],
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), SetupError> {
    Simulation::new(seed)
        .run(async move |shard| make(&shard, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()))
}

#[test]
fn it_stands_for_this_machine_and_for_the_names_that_were_given() {
    let (certificate, _) = made(1, &["dev.example", "10.0.0.7"]).unwrap();
    let parsed = EndEntityCert::try_from(&certificate).unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "dev.example", "10.0.0.7"] {
        parsed.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).expect(name);
    }
    for name in ["example", "10.0.0.8"] {
        parsed.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).expect_err(name);
    }
}

#[test]
fn the_seed_decides_everything() {
    let of = |seed| made(seed, &[]).unwrap();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).0, of(2).0);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let error = made(1, &["näme"]).unwrap_err().to_string();
    assert!(error.contains("näme"), "{error}");
}
