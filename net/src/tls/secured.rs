//! [`Secured`]: what a connection's two ends have agreed on.

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// What TLS has agreed on for a connection. The same for all its requests.
#[derive(Debug)]
pub struct Secured {
    version: ProtocolVersion,
    suite: CipherSuite,
    is_resumed: bool,
    protocol: Option<Box<[u8]>>,
    server_name: Option<Box<str>>,
    certificates: Box<[CertificateDer<'static>]>,
    is_early: bool,
}

impl Secured {
    /// Of what two ends have come so far with that data may be received; early, if the hand-shake is not over.
    pub(crate) fn of(agreed: &CommonState, server_name: Option<&str>, is_early: bool) -> Self {
        Secured {
            version: agreed.protocol_version().unwrap_or(ProtocolVersion::Unknown(0)),
            suite: agreed.negotiated_cipher_suite().map_or(CipherSuite::Unknown(0), |suite| suite.suite()),
            is_resumed: agreed.handshake_kind() == Some(HandshakeKind::Resumed),
            protocol: agreed.alpn_protocol().map(Into::into),
            server_name: server_name.map(Into::into),
            certificates: agreed.peer_certificates().map(Into::into).unwrap_or_default(),
            is_early,
        }
    }

    /// Of a client's connection of QUIC, of which it is not known what else was agreed on.
    pub(crate) fn by_quic(protocol: Option<Vec<u8>>, certificates: Vec<CertificateDer<'static>>) -> Self {
        Secured {
            version: ProtocolVersion::TLSv1_3,
            suite: CipherSuite::Unknown(0),
            is_resumed: false,
            protocol: protocol.map(Into::into),
            server_name: None,
            certificates: certificates.into(),
            is_early: false,
        }
    }

    pub(crate) fn early(self, is_early: bool) -> Self {
        Secured { is_early, ..self }
    }

    /// The version of TLS.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The cipher suite.
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// Whether an earlier session was taken up again, and nobody has proved anything anew.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The protocol that was agreed on (ALPN), such as `h2`; `None` if the client offered none.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }

    /// The name that the client has asked for (SNI); `None` if it has not, or in a hello of more than one record.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The chain by which the other side has proved who it is, its own certificate first; empty if it has not.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Whether data came before the hand-shake was over.
    pub fn had_early_data(&self) -> bool {
        self.is_early
    }
}
