//! Names in hellos of rustls's client, and in what is left of one when it is cut or changed.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::server_name;

fn hello(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
            let _ = server_name(&changed);
        }
    }
}
