//! [`Roots`]: authorities of one's own choice, for a client that asks servers which nobody else vouches for; and [`check`], which
//! looks at a server's files before there is a shard to serve by them.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use shards::Shard;

use super::certificates::{Identity, chain_from_pem};
use super::{SetupError, ShardTime, provider};
use crate::limits::CLIENT_SESSIONS_MAX;

/// Who may vouch for a server: the certificates of a file in PEM. Any thread may hold it; each shard makes its client's part.
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads them. `name` is what errors call the file.
    ///
    /// Errors: it holds no certificate, or one that cannot vouch for anybody.
    pub fn from_pem(name: &str, bytes: &[u8]) -> Result<Self, SetupError> {
        let mut store = RootCertStore::empty();
        for certificate in chain_from_pem(name, bytes)? {
            store
                .add(certificate)
                .map_err(|error| SetupError::new(format!("{name}: the certificate cannot be used: {error}.")))?;
        }
        Ok(Roots(Arc::new(store)))
    }

    /// What a client of this shard speaks TLS with, for [`client::Config::tls`](crate::client::Config::tls).
    pub fn client(&self, shard: &Shard) -> Result<Arc<ClientConfig>, SetupError> {
        let config = ClientConfig::builder_with_details(provider(shard), Arc::new(ShardTime))
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::new(error.to_string()))?;
        let mut config = config.with_root_certificates(Arc::clone(&self.0)).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
        Ok(Arc::new(config))
    }
}

/// Whether a certificate, with those that vouch for it, and its key are in order and belong together. Names are what errors call
/// the files; both are PEM.
///
/// ```
/// let error = shardwise_net::tls::check(("cert.pem", b""), ("key.pem", b"")).unwrap_err();
/// assert!(error.to_string().starts_with("cert.pem: no certificate is in it."));
/// ```
pub fn check(certificate: (&str, &[u8]), key: (&str, &[u8])) -> Result<(), SetupError> {
    Identity::from_pem(certificate, key, None, &default_provider()).map(drop)
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({} certificates)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
