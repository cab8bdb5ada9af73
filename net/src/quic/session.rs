//! The TLS of a server's connection: `rustls` as `quinn-proto` wants it.
//!
//! What `quinn-proto` brings itself would do, but that it keeps which suite was agreed on, whether an earlier session was taken
//! up, and why a hand-shake has failed. The keys of the first packets and Retry are left to it.

use std::any::Any;
use std::io::Cursor;
use std::sync::Arc;

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::ServerConfig;
use rustls::quic::{KeyChange, Secrets, ServerConnection, Version};

use crate::NetStats;
use crate::tls::{Failure, Secured};

/// The version of QUIC that is spoken: the first, which everybody speaks.
pub(super) const VERSION: u32 = 1;

/// What a server's hand-shakes are made with.
pub(super) struct Crypto {
    tls: Arc<ServerConfig>,
    inner: Arc<QuicServerConfig>,
    stats: Arc<NetStats>,
}

/// A hand-shake, and what is left of it.
struct Session {
    inner: ServerConnection,
    crypto: Arc<Crypto>,
    next_secrets: Option<Secrets>,
    has_agreed: bool,
}

impl Crypto {
    /// `None` if there is no cipher suite for the first packets.
    pub(super) fn new(tls: ServerConfig, stats: Arc<NetStats>) -> Option<Self> {
        let tls = Arc::new(tls);
        let inner = Arc::new(QuicServerConfig::try_from(Arc::clone(&tls)).ok()?);
        Some(Crypto { tls, inner, stats })
    }
}

impl crypto::ServerConfig for Crypto {
    fn initial_keys(&self, version: u32, destination: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.inner.initial_keys(version, destination)
    }

    fn retry_tag(&self, version: u32, destination: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, destination, packet)
    }

    fn start_session(self: Arc<Self>, _: u32, parameters: &TransportParameters) -> Box<dyn crypto::Session> {
        let mut bytes = Vec::new();
        parameters.write(&mut bytes);
        let inner = ServerConnection::new(Arc::clone(&self.tls), Version::V1, bytes)
            .expect("a configuration of TLS 1.3, with all early data or none");
        Box::new(Session { inner, crypto: self, next_secrets: None, has_agreed: false })
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, destination: &ConnectionId, _: Side) -> Keys {
        crypto::ServerConfig::initial_keys(&*self.crypto, VERSION, destination)
            .unwrap_or_else(|_| unreachable!("it is spoken"))
    }

    /// A [`Secured`].
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let secured = || -> Box<dyn Any> { Box::new(Secured::of(&self.inner, self.inner.server_name(), false)) };
        self.has_agreed.then(secured)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let keys = self.inner.zero_rtt_keys()?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_hs(bytes).map_err(|error| {
            let reason = error.to_string();
            self.crypto.stats.tls_failed(&Failure::from(error));
            let code = match self.inner.alert() {
                Some(alert) => TransportErrorCode::crypto(alert.into()),
                None => TransportErrorCode::PROTOCOL_VIOLATION,
            };
            TransportError { code, frame: None, reason }
        })?;
        let had_agreed = self.has_agreed;
        self.has_agreed |= self.inner.negotiated_cipher_suite().is_some();
        Ok(self.has_agreed && !had_agreed)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let read = |bytes| TransportParameters::read(Side::Server, &mut Cursor::new(bytes));
        Ok(self.inner.quic_transport_parameters().map(read).transpose()?)
    }

    fn write_handshake(&mut self, into: &mut Vec<u8>) -> Option<Keys> {
        let keys = match self.inner.write_hs(into)? {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                self.next_secrets = Some(next);
                keys
            }
        };
        Some(Keys {
            header: KeyPair { local: Box::new(keys.local.header), remote: Box::new(keys.remote.header) },
            packet: KeyPair { local: Box::new(keys.local.packet), remote: Box::new(keys.remote.packet) },
        })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next_secrets.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    /// Only clients are sent any.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    /// Nobody asks for any.
    fn export_keying_material(&self, _: &mut [u8], _: &[u8], _: &[u8]) -> Result<(), ExportKeyingMaterialError> {
        Err(ExportKeyingMaterialError)
    }
}
