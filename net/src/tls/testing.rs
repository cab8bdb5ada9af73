//! What the tests of TLS have in common: certificates, and hand-shakes in memory.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, DigitallySignedStruct, Error, HandshakeKind, ServerConfig, ServerConnection, SignatureScheme,
    SupportedProtocolVersion,
};
use shards::Shard;

use super::{ShardTime, provider};

/// A certificate that vouches for itself, and its key.
pub(super) struct Pair {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: Vec<u8>,
}

impl Pair {
    pub(super) fn new(names: &[&str]) -> Pair {
        Pair::with(names, &PKCS_ED25519, |_| {})
    }

    pub(super) fn of_p256(names: &[&str]) -> Pair {
        Pair::with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
    }

    pub(super) fn with(
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        Pair { certificate: params.self_signed(&key).unwrap().der().clone(), key: key.serialize_der() }
    }

    pub(super) fn certificate_pem(&self) -> Vec<u8> {
        pem("CERTIFICATE", &self.certificate)
    }

    pub(super) fn key_pem(&self) -> Vec<u8> {
        pem("PRIVATE KEY", &self.key)
    }
}

pub(super) fn pem(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(bytes);
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n").into_bytes()
}

/// A client that takes any certificate, and resumes what it has begun before.
pub(super) fn client(shard: &Shard) -> ClientConfig {
    client_of(shard, &[&TLS13, &TLS12])
}

/// One that knows these versions only.
pub(super) fn client_of(shard: &Shard, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_by(provider(shard), versions)
}

/// One that makes its hand-shakes so.
pub(super) fn client_by(provider: Arc<CryptoProvider>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(ShardTime));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let anyone = Arc::new(Anyone(provider));
    let mut config = builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(16);
    config.enable_early_data = true;
    config
}

/// What came of a hand-shake.
#[derive(Debug, PartialEq)]
pub(super) struct Shaken {
    pub(super) kind: HandshakeKind,
    pub(super) suite: CipherSuite,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) early: Vec<u8>,
    /// All that went either way.
    pub(super) wire: Vec<u8>,
}

/// Makes a hand-shake, with early data where both agree on that.
pub(super) fn shake(client: &Arc<ClientConfig>, server: Arc<ServerConfig>, name: &str) -> Result<Shaken, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    if let Some(mut early) = client.early_data() {
        std::io::Write::write_all(&mut early, b"early").unwrap();
    }
    let (mut wire, mut received) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        wire.extend_from_slice(&bytes);
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets()?;
        }
        if let Some(mut early) = server.early_data() {
            let _ = std::io::Read::read_to_end(&mut early, &mut received);
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        wire.extend_from_slice(&bytes);
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Shaken {
        kind: server.handshake_kind().unwrap(),
        suite: server.negotiated_cipher_suite().unwrap().suite(),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        certificate: client.peer_certificates().unwrap()[0].clone().into_owned(),
        early: received,
        wire,
    })
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
