//! [`Tls`]: what a server proves itself by and what it admits, as a declaration; and what comes of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, Digest, SHA256};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use shards::Shard;

use super::certificates::{ByName, Identity, chain_from_pem};
use super::early::Sessions;
use super::tickets::Tickets;
use super::{SetupError, ShardTime, development, provider};
use crate::files;
use crate::limits::{EARLY_BYTES_MAX, TICKET_SECRET_BYTES_MIN, TLS_LOOK_EVERY};

/// How an address is served by TLS: certificates with their keys, and what is admitted.
///
/// TLS 1.3, key exchange by X25519MLKEM768 where the client can; HTTP/2 and HTTP/1.1, as the client likes; session tickets
/// that every shard takes. Files are looked at every few seconds: what is new in them holds for the connections that begin from
/// then on, on all shards. If it is not in order, what was good before stays, and a line of the log and a metric say so.
///
/// The n-th certificate is shown to clients that ask for a name that it stands for, exactly or by a wildcard; the first to all
/// others.
#[derive(Clone, Debug)]
pub struct Tls {
    certificates: Vec<Declared>,
    /// Of the certificate that is made where none is declared.
    names: Vec<String>,
    clients: Option<(FileOrBytes, Clients)>,
    tls12: bool,
    ticket_secret: Option<FileOrBytes>,
    early_bytes_max: u32,
    /// Whether the client's order of cipher suites decides.
    client_order: bool,
    look_every: Duration,
}

/// A certificate as it is declared.
#[derive(Clone, Debug)]
struct Declared {
    certificate: FileOrBytes,
    key: FileOrBytes,
    staple: Option<FileOrBytes>,
}

impl Declared {
    fn sources(&self) -> impl Iterator<Item = &FileOrBytes> {
        [Some(&self.certificate), Some(&self.key), self.staple.as_ref()].into_iter().flatten()
    }
}

/// Where something is read from: a file, or bytes at hand.
#[derive(Clone)]
pub enum FileOrBytes {
    /// A file, which is looked at again now and then.
    File(PathBuf),
    /// Bytes, for good.
    Bytes(Arc<[u8]>),
}

/// Whether clients must prove themselves as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Those that do are checked.
    Optional,
    /// Those that do not are refused.
    Required,
}

impl Tls {
    /// By this certificate, with those that vouch for it, and its key, in PEM: names of files, or their bytes.
    ///
    /// ```
    /// let tls = shardwise_net::tls::Tls::new("/etc/tls/cert.pem", "/etc/tls/key.pem").tls12(true);
    /// ```
    pub fn new(certificate: impl Into<FileOrBytes>, key: impl Into<FileOrBytes>) -> Self {
        Tls::self_signed([]).certificate(certificate, key)
    }

    /// By a certificate that is made at the start and that nobody vouches for, for development: for `localhost`, `127.0.0.1`,
    /// `::1` and these names. A line of the log gives its fingerprint.
    pub fn self_signed<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Tls {
            certificates: Vec::new(),
            names: names.into_iter().map(str::to_owned).collect(),
            clients: None,
            tls12: false,
            ticket_secret: None,
            early_bytes_max: 0,
            client_order: false,
            look_every: TLS_LOOK_EVERY,
        }
    }

    /// A further certificate, for clients that ask for a name that it stands for.
    pub fn certificate(mut self, certificate: impl Into<FileOrBytes>, key: impl Into<FileOrBytes>) -> Self {
        self.certificates.push(Declared { certificate: certificate.into(), key: key.into(), staple: None });
        self
    }

    /// An answer of OCSP, in DER, that is shown with the certificate that was declared last. Whoever fetches it writes the file
    /// anew before it ends.
    ///
    /// # Panics
    ///
    /// If no certificate was declared.
    pub fn staple(mut self, answer: impl Into<FileOrBytes>) -> Self {
        self.certificates.last_mut().expect("a certificate comes before its staple").staple = Some(answer.into());
        self
    }

    /// Whether clients prove themselves too, by certificates that these vouch for: one or more in PEM.
    pub fn clients(mut self, roots: impl Into<FileOrBytes>, clients: Clients) -> Self {
        self.clients = Some((roots.into(), clients));
        self
    }

    /// Whether TLS 1.2 is spoken with clients that know no other; not unless said.
    pub fn tls12(mut self, yes: bool) -> Self {
        self.tls12 = yes;
        self
    }

    /// The secret of session tickets, for fleets: who has the same takes the tickets of all others. At least 32 bytes that nobody
    /// can guess, as by `openssl rand`. Unless given, each start makes one, which a hot restart hands on.
    pub fn ticket_secret(mut self, secret: impl Into<FileOrBytes>) -> Self {
        self.ticket_secret = Some(secret.into());
        self
    }

    /// Admits so many bytes, 64 KiB at the most, that a client sends before the hand-shake is over, as it may when it comes back: a round trip less.
    /// Not at all unless said.
    ///
    /// *Such a request may be one that was recorded.* Each session is resumed once, and to that end every shard keeps those
    /// that it began, instead of tickets that every shard takes: a client that comes to another shard, or after a restart,
    /// makes a whole hand-shake.
    pub fn early_data(mut self, bytes_max: u32) -> Self {
        self.early_bytes_max = bytes_max.min(EARLY_BYTES_MAX);
        self
    }

    /// Whether the client's order of cipher suites decides. Unless said it is ours that does: AES-128, which makes a hand-shake
    /// cost a seventh less, then AES-256; and ChaCha20 for clients that like that best, as those without instructions for AES
    /// do. HTTP/3 goes by the client's order in any case.
    pub fn client_order(mut self, yes: bool) -> Self {
        self.client_order = yes;
        self
    }

    /// How often files are looked at; every five seconds unless said.
    pub fn look_every(mut self, time: Duration) -> Self {
        self.look_every = time;
        self
    }
}

/// Everything that a declaration names, as bytes.
#[derive(PartialEq, Eq)]
pub(super) struct Contents(Vec<Arc<[u8]>>);

/// What has come of them: in order, and of use to any shard.
pub(super) struct Material {
    identities: Vec<Identity>,
    client_roots: Option<(Vec<CertificateDer<'static>>, Clients)>,
    ticket_secret: Option<Arc<[u8]>>,
}

impl Tls {
    pub(super) fn look_time(&self) -> Option<Duration> {
        self.sources().any(|source| matches!(source, FileOrBytes::File(_))).then_some(self.look_every)
    }

    /// All that is read, in the order in which it is taken up again.
    fn sources(&self) -> impl Iterator<Item = &FileOrBytes> {
        let roots = self.clients.iter().map(|(roots, _)| roots);
        self.certificates.iter().flat_map(Declared::sources).chain(roots).chain(&self.ticket_secret)
    }

    /// Reads everything.
    pub(super) async fn read(&self, shard: &Shard) -> Result<Contents, SetupError> {
        let mut contents = Vec::new();
        for source in self.sources() {
            contents.push(source.read(shard).await?);
        }
        Ok(Contents(contents))
    }

    /// Makes of it what any shard can use, and checks it.
    pub(super) fn material(&self, shard: &Shard, contents: &Contents) -> Result<Material, SetupError> {
        let provider = provider(shard);
        let mut contents = contents.0.iter();
        let mut next = || Arc::clone(contents.next().expect("each source was read"));
        let mut identities = Vec::new();
        for Declared { certificate, key, staple } in &self.certificates {
            let (certificate_bytes, key_bytes) = (next(), next());
            let staple = staple.as_ref().map(|_| next().to_vec());
            identities.push(Identity::from_pem(
                (&certificate.to_string(), &certificate_bytes),
                (&key.to_string(), &key_bytes),
                staple,
                &provider,
            )?);
        }
        if identities.is_empty() {
            let (certificate, key) = development::make(shard, &self.names)?;
            let name = "the certificate for development";
            identities.push(Identity::new((name, vec![certificate]), (name, key), None, &provider)?);
        }
        let roots = self.clients.as_ref();
        let client_roots = roots.map(|(roots, clients)| Ok((chain_from_pem(&roots.to_string(), &next())?, *clients)));
        let ticket_secret = self.ticket_secret.as_ref().map(|source| match next() {
            secret if secret.len() < TICKET_SECRET_BYTES_MIN => Err(SetupError::new(format!(
                "{source}: a secret of {} bytes can be guessed. Make one of {TICKET_SECRET_BYTES_MIN} at the least: `openssl \
                 rand {TICKET_SECRET_BYTES_MIN}`.",
                secret.len()
            ))),
            secret => Ok(secret),
        });
        let material =
            Material { identities, client_roots: client_roots.transpose()?, ticket_secret: ticket_secret.transpose()? };
        self.config(shard, &material, true)?;
        Ok(material)
    }

    /// A configuration of a shard's own.
    pub(super) fn config(
        &self,
        shard: &Shard,
        material: &Material,
        accepts_h2: bool,
    ) -> Result<Arc<ServerConfig>, SetupError> {
        let provider = provider(shard);
        let versions: &[_] = if self.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
        let time = Arc::new(ShardTime);
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time.clone());
        let builder = builder.with_protocol_versions(versions).map_err(|error| SetupError::new(error.to_string()))?;
        let builder = match &material.client_roots {
            None => builder.with_no_client_auth(),
            Some((roots, clients)) => builder.with_client_cert_verifier(verifier(roots, *clients, &provider)?),
        };
        let by_name = ByName::new(&material.identities, &provider)?;
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.enable_secret_extraction = true;
        config.ignore_client_order = !self.client_order;
        // An answer to an early request, and the settings of HTTP/2, need not wait for the client's last word: without that, a request
        // gains nothing by being early. Where clients are to prove who they are, nothing is sent before they have.
        config.send_half_rtt_data = true;
        config.alpn_protocols = ALPN[usize::from(!accepts_h2)..].iter().map(|name| name.to_vec()).collect();
        if self.early_bytes_max > 0 {
            config.max_early_data_size = self.early_bytes_max;
            config.session_storage = Arc::new(Sessions::default());
        } else {
            let secret = material.ticket_secret.clone();
            let secret = secret.unwrap_or_else(|| shard.keepsake(TICKET_SECRET, || secret_of(shard)));
            config.session_storage = Arc::new(NoServerSessionStorage {});
            let terms = material.terms();
            config.ticketer = Arc::new(Tickets::new(&secret, terms.as_ref(), provider.secure_random, time));
        }
        Ok(Arc::new(config))
    }
}

/// In the order in which they are preferred.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The keepsake that tickets are sealed by.
const TICKET_SECRET: &str = "tls-ticket-secret";

fn secret_of(shard: &Shard) -> Vec<u8> {
    (0..4).flat_map(|_| shard.random().to_le_bytes()).collect()
}

fn verifier(
    roots: &[CertificateDer<'static>],
    clients: Clients,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, SetupError> {
    let mut store = RootCertStore::empty();
    let failed = |error: &dyn fmt::Display| {
        SetupError::new(format!("a certificate that is to vouch for clients cannot be used: {error}."))
    };
    for root in roots {
        store.add(root.clone()).map_err(|error| failed(&error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
    let builder = match clients {
        Clients::Optional => builder.allow_unauthenticated(),
        Clients::Required => builder,
    };
    builder.build().map_err(|error| failed(&error))
}

impl Material {
    /// What whoever takes a ticket must have in common with whoever has sealed it: a session that was begun with no proof, or
    /// with one that does not hold any more, must not stand for one where it is asked for.
    fn terms(&self) -> Digest {
        let mut terms = digest::Context::new(&SHA256);
        if let Some((roots, clients)) = &self.client_roots {
            terms.update(&[*clients as u8]);
            roots.iter().for_each(|root| terms.update(digest::digest(&SHA256, root).as_ref()));
        }
        terms.finish()
    }

    /// When the first of its certificates ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> u64 {
        self.identities.iter().map(|identity| identity.not_after).min().unwrap_or_default()
    }
}

impl FileOrBytes {
    async fn read(&self, shard: &Shard) -> Result<Arc<[u8]>, SetupError> {
        match self {
            FileOrBytes::Bytes(bytes) => Ok(Arc::clone(bytes)),
            FileOrBytes::File(path) => match files::read(shard, path).await {
                Ok(bytes) => Ok(bytes.into()),
                Err(platform::Error::Full) => Err(SetupError::new(format!(
                    "{self} is too large for a certificate or a key. Is it the right file?"
                ))),
                Err(error) => Err(SetupError::new(format!(
                    "{self} cannot be read: {error}. Name a file that this process may read."
                ))),
            },
        }
    }
}

impl From<&str> for FileOrBytes {
    fn from(path: &str) -> Self {
        FileOrBytes::File(path.into())
    }
}

impl From<&Path> for FileOrBytes {
    fn from(path: &Path) -> Self {
        FileOrBytes::File(path.into())
    }
}

impl From<PathBuf> for FileOrBytes {
    fn from(path: PathBuf) -> Self {
        FileOrBytes::File(path)
    }
}

impl From<Vec<u8>> for FileOrBytes {
    fn from(bytes: Vec<u8>) -> Self {
        FileOrBytes::Bytes(bytes.into())
    }
}

impl From<&[u8]> for FileOrBytes {
    fn from(bytes: &[u8]) -> Self {
        FileOrBytes::Bytes(bytes.into())
    }
}

impl fmt::Display for FileOrBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileOrBytes::File(path) => path.display().fmt(f),
            FileOrBytes::Bytes(bytes) => write!(f, "what was given in {} bytes", bytes.len()),
        }
    }
}

/// Not what it holds, which may be a key.
impl fmt::Debug for FileOrBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
