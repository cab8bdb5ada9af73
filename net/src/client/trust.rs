//! `https`: who a server must be, and who vouches for that.
//!
//! What the system trusts is read when it is first needed, on the runtime's pool of threads, and kept for the client. Sessions
//! are kept with it, so that a server which was asked before is asked again in fewer round trips.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use shards::Shard;

use super::target::Target;
use super::{Config, Error};
use crate::Transport;
use crate::limits::CLIENT_SESSIONS_MAX;
use crate::tls::{Failure, ShardTime, provider};

/// What a client's connections are secured with, once one was: over HTTP/1.1, and over HTTP/2.
#[derive(Default)]
pub(super) struct Trust(RefCell<Option<[Arc<ClientConfig>; 2]>>);

/// Who a server must be.
pub(super) struct Expected {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    is_h2: bool,
}

impl Trust {
    /// Errors: the host is nothing that can be vouched for; or the system's authorities cannot be read.
    pub(super) async fn expects(
        &self,
        shard: &Shard,
        config: &Config,
        target: &Target<'_>,
        is_h2: bool,
    ) -> Result<Expected, Error> {
        let what = "the host is neither a name nor an address, so nobody can vouch for it";
        let name = ServerName::try_from(target.name.to_string());
        let name = name.map_err(|_| Error::Url { url: (&*target.key).into(), what })?;
        let known = self.0.borrow().as_ref().map(|configs| Arc::clone(&configs[usize::from(is_h2)]));
        if let Some(config) = known {
            return Ok(Expected { config, name, is_h2 });
        }
        let config = match &config.tls {
            Some(config) => ClientConfig::clone(config),
            None => of_system(shard).await?,
        };
        let configs = [&b"http/1.1"[..], b"h2"].map(|protocol| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        });
        let config = Arc::clone(&configs[usize::from(is_h2)]);
        *self.0.borrow_mut() = Some(configs);
        Ok(Expected { config, name, is_h2 })
    }
}

/// With the authorities that the system trusts.
async fn of_system(shard: &Shard) -> Result<ClientConfig, Error> {
    let refused = |why: String| Error::Trust { why: why.into() };
    let found =
        shard.offload(rustls_native_certs::load_native_certs).await.map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // Some systems have one or two that are not in order.
    let (count, _) = roots.add_parsable_certificates(found.certs);
    if count == 0 {
        let first = found.errors.first().map_or_else(|| "the system has none".to_owned(), |error| error.to_string());
        return Err(refused(first));
    }
    let config = ClientConfig::builder_with_details(provider(shard), Arc::new(ShardTime))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
    Ok(config)
}

impl Expected {
    /// Has the other side prove itself.
    pub(super) async fn secure(&self, stream: Transport) -> crate::Result<Transport> {
        let stream = stream.secure(Arc::clone(&self.config), self.name.clone()).await?;
        let protocol = stream.secured().and_then(|secured| secured.protocol());
        if self.is_h2 && protocol != Some(b"h2") {
            // RFC 9113 section 3.3: there, HTTP/2 is spoken only where it was agreed on.
            return Err(crate::Error::Tls(Failure::from(rustls::Error::NoApplicationProtocol)));
        }
        Ok(stream)
    }
}
