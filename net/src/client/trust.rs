//! `https`: who a server must be, and who vouches for that.
//!
//! What the system trusts is read when it is first needed, on the runtime's pool of threads, and kept for the client. Sessions
//! are kept with it, so that a server which was asked before is asked again in fewer round trips.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use shards::Shard;

use super::target::{Protocols, Target};
use super::{Config, Error};
use crate::Transport;
use crate::limits::CLIENT_SESSIONS_MAX;
use crate::quic;
use crate::tls::{Failure, ShardTime, provider};

/// What a client's connections are secured with, once one was.
#[derive(Default)]
pub(super) struct Trust(RefCell<Option<Rc<Secrets>>>);

/// The same in all, but for the protocols that are offered.
struct Secrets {
    usual: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// `None` if it cannot be spoken: it takes TLS 1.3.
    http3: Option<Arc<ClientConfig>>,
}

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
        protocols: Protocols,
    ) -> Result<Expected, Error> {
        let name = name(target)?;
        let secrets = self.secrets(shard, config).await?;
        let (config, is_h2) = match protocols {
            Protocols::Usual => (&secrets.usual, false),
            Protocols::Http2 => (&secrets.http2, true),
            Protocols::Http1 | Protocols::Http3 => (&secrets.http1, false),
        };
        Ok(Expected { config: Arc::clone(config), name, is_h2 })
    }

    /// What hand-shakes of QUIC are made with.
    ///
    /// Errors: the same; or what was set does without TLS 1.3.
    pub(super) async fn of_quic(
        &self,
        shard: &Shard,
        config: &Config,
        target: &Target<'_>,
    ) -> Result<Arc<ClientConfig>, Error> {
        name(target)?;
        let secrets = self.secrets(shard, config).await?;
        let why = || Error::Trust { why: "HTTP/3 takes TLS 1.3 and its suites, and `tls` is set without".into() };
        secrets.http3.clone().ok_or_else(why)
    }

    async fn secrets(&self, shard: &Shard, config: &Config) -> Result<Rc<Secrets>, Error> {
        let known = self.0.borrow().clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let config = match &config.tls {
            Some(config) => ClientConfig::clone(config),
            None => of_system(shard).await?,
        };
        let secrets = Rc::new(Secrets::new(&config));
        *self.0.borrow_mut() = Some(Rc::clone(&secrets));
        Ok(secrets)
    }
}

impl Secrets {
    fn new(config: &ClientConfig) -> Self {
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            config.enable_secret_extraction = true;
            Arc::new(config)
        };
        let [usual, http1, http2, http3] =
            [&[&b"h2"[..], b"http/1.1"][..], &[b"http/1.1"], &[b"h2"], &[b"h3"]].map(offering);
        Secrets { usual, http1, http2, http3: quic::takes(&http3).then_some(http3) }
    }
}

fn name(target: &Target<'_>) -> Result<ServerName<'static>, Error> {
    let what = "the host is neither a name nor an address, so nobody can vouch for it";
    ServerName::try_from(target.name.to_string()).map_err(|_| Error::Url { url: (&*target.key).into(), what })
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
