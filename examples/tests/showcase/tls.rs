//! TLS: what is agreed on, what is refused, sessions that are resumed by whichever shard and process, and certificates that
//! change while it serves. The client is rustls's, over a plain socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    DigitallySignedStruct, Error, HandshakeKind, NamedGroup, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion, version,
};

use crate::lineage::Lineage;
use crate::options;
use crate::served::{Served, showcase};
use crate::wire::{Answer, WAIT_MAX, parse, pattern, request};

/// A client of one connection.
struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    input: Vec<u8>,
}

impl Client {
    /// Connects, and makes the hand-shake.
    fn try_connect(config: &Arc<ClientConfig>, address: SocketAddr) -> std::io::Result<Client> {
        let mut socket = TcpStream::connect_timeout(&address, WAIT_MAX)?;
        socket.set_read_timeout(Some(WAIT_MAX))?;
        socket.set_write_timeout(Some(WAIT_MAX))?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a sound configuration");
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Client { stream: StreamOwned::new(connection, socket), input: Vec::new() })
    }

    #[track_caller]
    fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> Client {
        Client::try_connect(config, address).expect("a hand-shake")
    }

    #[track_caller]
    fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
        let mut room = vec![0; 64 * 1024];
        loop {
            if let Some((answer, bytes)) = parse(&self.input, false, false).expect("a correct answer") {
                self.input.drain(..bytes);
                return answer;
            }
            let count = self.stream.read(&mut room).expect("the server answers");
            assert!(count > 0, "the connection ended within an answer");
            self.input.extend_from_slice(&room[..count]);
        }
    }

    fn kind(&self) -> HandshakeKind {
        self.stream.conn.handshake_kind().expect("the hand-shake is over")
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().expect("the server has one")[0].clone().into_owned()
    }
}

/// A client of these versions that takes what these vouch for; anything if none does.
fn config_of(
    versions: &[&'static SupportedProtocolVersion],
    root: Option<&CertificateDer<'static>>,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    // As browsers do: the hybrid is offered first.
    let provider = CryptoProvider { kx_groups: vec![X25519MLKEM768, X25519], ..default_provider() };
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
    let builder = builder.expect("sound versions");
    let mut config = match root {
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone()).expect("a certificate");
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None => {
            let anyone = Arc::new(Anyone { provider, shown: AtomicUsize::new(0) });
            builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(64);
    Arc::new(config)
}

pub(crate) fn config(alpn: &[&str]) -> Arc<ClientConfig> {
    config_of(&[&version::TLS13, &version::TLS12], None, alpn)
}

/// The same, and who is shown the certificates.
pub(crate) fn counting_config(alpn: &[&str]) -> (Arc<ClientConfig>, Arc<Anyone>) {
    let mut config = ClientConfig::clone(&config(alpn));
    let anyone = Arc::new(Anyone { provider: Arc::clone(config.crypto_provider()), shown: AtomicUsize::new(0) });
    config.dangerous().set_certificate_verifier(Arc::<Anyone>::clone(&anyone));
    (Arc::new(config), anyone)
}

const TLS: [&str; 2] = ["--tls-addr", "127.0.0.1:0"];

#[track_caller]
fn start(backend: &'static str, more: &[&str]) -> (Served, SocketAddr) {
    let served = Served::start(backend, &[&TLS[..], more].concat());
    let address = served.next_address("https://");
    (served, address)
}

pub(crate) fn all_is_served_as_in_the_clear(backend: &'static str) {
    let (served, address) = start(backend, &["--shards", "2"]);
    let begin = Instant::now();
    let mut client = Client::connect(&config(&["http/1.1"]), address);
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(
        client.stream.conn.negotiated_key_exchange_group().map(|group| group.name()),
        Some(NamedGroup::X25519MLKEM768)
    );
    for _ in 0..3 {
        assert_eq!(client.ask(request("GET /plaintext")).text(), "Hello, World!");
    }
    let body = pattern(3_000_000);
    let head = format!("POST /echo HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n", body.len());
    assert!(client.ask([head.as_bytes(), &body].concat()).body == body);
    assert_eq!(client.ask(request("GET /bytes/1000000")).body.len(), 1_000_000);
    assert_eq!(client.ask(request("GET /stream/10")).body.len(), 10 * 16 * 1024);
    let pipeline = client.ask([request("GET /json"), request("GET /shard")].concat());
    assert_eq!(pipeline.text(), r#"{"message":"Hello, World!"}"#);
    assert!(matches!(&*client.ask("").text(), "0" | "1"));
    // Without a word of what is spoken it is HTTP/1.1, as over TCP.
    let mut client = Client::connect(&config(&[]), address);
    assert_eq!(client.ask(request("GET /plaintext")).text(), "Hello, World!");
    assert!(begin.elapsed() < WAIT_MAX / 4, "nothing waits for a clock: {:?}", begin.elapsed());
    // And in the clear beside it.
    assert_eq!(served.client().ask("GET /plaintext").status, 200);
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn the_second_version_of_http_is_agreed_on(backend: &'static str) {
    let (served, address) = start(backend, &[]);
    let mut client = Client::connect(&config(&["http/1.1", "h2"]), address);
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    client.stream.write_all(&preface).expect("the server takes it");
    let mut head = [0; 9];
    client.stream.read_exact(&mut head).expect("the server's first frame");
    assert_eq!(head[3..5], [4, 0], "SETTINGS");
    drop(client);
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn what_is_no_tls_13_is_refused(backend: &'static str) {
    let (served, address) = start(backend, &[]);
    let old = config_of(&[&version::TLS12], None, &[]);
    let error = Client::try_connect(&old, address).err().expect("it is refused").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    let other = Client::try_connect(&config(&["smtp"]), address).err().expect("it is refused").to_string();
    assert!(other.contains("NoApplicationProtocol"), "{other}");
    // Who speaks in the clear is told.
    let mut plain = crate::wire::Client::connect(address);
    assert_eq!(plain.ask("GET /plaintext").status, 400);
    plain.expect_end();
    assert_eq!(Client::connect(&config(&[]), address).ask(request("GET /plaintext")).status, 200);
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn a_session_is_resumed_by_any_shard(backend: &'static str) {
    let (served, address) = start(backend, &["--shards", "2"]);
    let config = config(&["http/1.1"]);
    let mut shards = std::collections::BTreeSet::new();
    for number in 0..32 {
        let mut client = Client::connect(&config, address);
        let expect = if number == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
        assert_eq!(client.kind(), expect, "connection {number}");
        shards.insert(client.ask(request("GET /shard")).text());
    }
    assert_eq!(shards.len(), 2, "both shards have answered");
    assert_eq!(served.stopped().0, Some(0));
}

pub(crate) fn a_session_is_resumed_by_the_successor(backend: &'static str) {
    let arguments = [&["--addr", "127.0.0.1:0", "--backend", backend], &TLS[..]].concat();
    let mut lineage = Lineage::start(&mut showcase(&arguments));
    let address = lineage.hear("listening https://").parse().expect("an address in that line");
    let config = config(&["http/1.1"]);
    let ask = || {
        let mut client = Client::connect(&config, address);
        assert_eq!(client.ask(request("GET /plaintext")).text(), "Hello, World!");
        client.kind()
    };
    assert_eq!((ask(), ask()), (HandshakeKind::Full, HandshakeKind::Resumed));
    for _ in 0..2 {
        lineage.restart();
        lineage.outlive();
        assert_eq!(ask(), HandshakeKind::Resumed);
    }
    lineage.end();
}

/// A folder of certificates that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder of the tests' own");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path of ours").to_owned()
    }

    /// Puts a new certificate and its key there, each at once.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
        let put = |name: &str, text: String| {
            fs::write(self.path("next"), text).expect("a file of the tests' own");
            fs::rename(self.path("next"), self.path(name)).expect("the same folder");
        };
        put("key.pem", pem("PRIVATE KEY", signing_key.serialized_der()));
        put("cert.pem", pem("CERTIFICATE", cert.der()));
        cert.der().clone()
    }

    fn arguments(&self) -> Vec<String> {
        ["--cert", &self.path("cert.pem"), "--key", &self.path("key.pem")].map(str::to_owned).to_vec()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pem(kind: &str, bytes: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64_STANDARD.encode(bytes))
}

pub(crate) fn certificates_change_while_it_serves(backend: &'static str) {
    let folder = Folder::new(&format!("renewed-{backend}"));
    let first = folder.renew();
    let arguments = folder.arguments();
    let mut arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
    arguments.extend(["--admin", "127.0.0.1:0"]);
    let (served, address) = start(backend, &arguments);
    // One that asks who vouches for it.
    let checks = config_of(&[&version::TLS13], Some(&first), &["http/1.1"]);
    let mut open = Client::connect(&checks, address);
    assert_eq!(open.ask(request("GET /plaintext")).status, 200);
    let second = folder.renew();
    let deadline = Instant::now() + WAIT_MAX;
    while Client::connect(&config(&[]), address).certificate() != second {
        assert!(Instant::now() < deadline, "the new certificate is shown");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(open.ask(request("GET /plaintext")).status, 200, "what is open goes on");
    let metrics = served.admin_client().ask("GET /metrics").text();
    let loaded = metrics.lines().any(|line| {
        line.starts_with("shardwise_tls_certificate_reloads_total{result=\"loaded\"") && line.ends_with(" 1")
    });
    assert!(loaded, "{metrics}");
    assert_eq!(served.stopped().0, Some(0));
}

#[test]
fn certificates_that_are_not_in_order_are_refused_in_words() {
    let folder = Folder::new("refused");
    folder.renew();
    let arguments = folder.arguments();
    let arguments: Vec<&str> = arguments.iter().map(|argument| &**argument).collect();
    let arguments = [&["--addr", "127.0.0.1:0"], &TLS[..], &arguments].concat();
    fs::rename(folder.path("key.pem"), folder.path("other.pem")).expect("it is there");
    options::check(&mut showcase(&arguments), &["key.pem cannot be read", "no such file"]);
    fs::copy(folder.path("cert.pem"), folder.path("key.pem")).expect("it is there");
    options::check(&mut showcase(&arguments), &["key.pem", "no private key is in it"]);
    folder.renew();
    fs::rename(folder.path("other.pem"), folder.path("key.pem")).expect("it is there");
    options::check(&mut showcase(&arguments), &["key.pem does not belong to the first certificate", "cert.pem"]);
}

/// Takes any certificate, and checks that the server has its key.
#[derive(Debug)]
pub(crate) struct Anyone {
    provider: Arc<CryptoProvider>,
    /// Certificates that it was shown.
    pub(crate) shown: AtomicUsize,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown.fetch_add(1, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
