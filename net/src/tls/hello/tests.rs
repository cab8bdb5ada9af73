//! Names and suites in hellos of rustls's client, and in what is left of one when it is cut or changed.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, cipher_suite, default_provider};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite};

use super::{prefers_chacha20, server_name};

fn hello(name: &'static str) -> Vec<u8> {
    hello_with(name, ALL_CIPHER_SUITES)
}

fn hello_with(name: &'static str, suites: &[SupportedCipherSuite]) -> Vec<u8> {
    let provider = Arc::new(CryptoProvider { cipher_suites: suites.to_vec(), ..default_provider() });
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_name_that_is_asked_for_is_found() {
    assert_eq!(server_name(&hello("www.example.org")), Some("www.example.org"));
    assert_eq!(server_name(&[hello("a.example"), b"more".to_vec()].concat()), Some("a.example"));
    assert_eq!(server_name(&hello("192.0.2.1")), None, "an address is no name");
}

#[test]
fn what_is_cut_or_changed_has_a_name_or_none_and_breaks_nothing() {
    let hello = hello("www.example.org");
    for end in 0..hello.len() {
        assert_eq!(server_name(&hello[..end]), None);
    }
    for place in 0..hello.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = hello.clone();
            changed[place] ^= change;
            let _ = (server_name(&changed), prefers_chacha20(&changed));
        }
    }
}

#[test]
fn the_first_suite_that_we_know_says_whether_chacha20_is_preferred() {
    use cipher_suite::{
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 as OLD_AES, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 as OLD_CHACHA20,
        TLS13_AES_128_GCM_SHA256 as AES, TLS13_CHACHA20_POLY1305_SHA256 as CHACHA20,
    };
    for (suites, prefers) in [
        (&[AES, CHACHA20, OLD_CHACHA20][..], false),
        (&[CHACHA20, AES, OLD_AES], true),
        (&[OLD_CHACHA20, AES], true),
        (&[OLD_AES, CHACHA20], false),
    ] {
        let mut hello = hello_with("a.example", suites);
        assert_eq!(prefers_chacha20(&hello), prefers, "{suites:?}");
        // As much as is needed is there, and no more: the rest comes later.
        let behind = 5 + 4 + 2 + 32 + 1 + 32 + 2;
        let end = behind + usize::from(hello[behind - 1]);
        assert_eq!(prefers_chacha20(&hello[..end]), prefers, "{suites:?}");
        assert!(!prefers_chacha20(&hello[..end - 1]), "{suites:?}");
        // What nobody knows, such as grease (RFC 8701), says nothing.
        hello[behind..behind + 2].copy_from_slice(&[0x0a, 0x0a]);
        assert_eq!(prefers_chacha20(&hello[..end]), suites[1].suite() == CHACHA20.suite(), "{suites:?}");
    }
}
