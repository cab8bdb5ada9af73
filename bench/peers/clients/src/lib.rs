//! Two clients of HTTP/3 that are not ours, for tests: h3 on quinn, and h3 on s2n-quic. Each fetches the paths of its command line,
//! all at a time, then has a large body echoed, and says how much came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::client::SendRequest;
use h3::quic::OpenStreams;
use http::{Method, Request, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::task::{JoinSet, LocalSet};

/// What a client's functions return.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long all of it may take.
pub const TIME_MAX: Duration = Duration::from_secs(110);

/// Of the body that is echoed.
const ECHO_BYTES: usize = 100_000_000;

/// Of one of its DATA frames.
const PIECE_BYTES: usize = 100_000;

/// The server's address and the paths to fetch.
pub fn options() -> Result<(SocketAddr, Vec<String>)> {
    let mut words = std::env::args().skip(1);
    let usage = "usage: client-NAME ADDR:PORT PATH...";
    let addr = words.next().ok_or(usage)?.parse()?;
    let paths: Vec<String> = words.collect();
    if paths.is_empty() { Err(usage.into()) } else { Ok((addr, paths)) }
}

/// Fetches all of it on one connection.
pub async fn fetch<T>(send: SendRequest<T, Bytes>, addr: SocketAddr, paths: Vec<String>) -> Result<()>
where
    T: OpenStreams<Bytes> + Clone + 'static,
    T::BidiStream: h3::quic::BidiStream<Bytes> + 'static,
    <T::BidiStream as h3::quic::BidiStream<Bytes>>::SendStream: 'static,
    <T::BidiStream as h3::quic::BidiStream<Bytes>>::RecvStream: 'static,
{
    let local = LocalSet::new();
    local
        .run_until(async move {
            let mut all = JoinSet::new();
            for path in paths {
                let send = send.clone();
                all.spawn_local(async move {
                    let got = get(send, addr, &path).await.map_err(|error| format!("{path}: {error}"))?;
                    std::result::Result::<_, String>::Ok((path, got))
                });
            }
            while let Some(done) = all.join_next().await {
                let (path, (status, bytes)) = done??;
                println!("{path}: {} {bytes} bytes", status.as_u16());
            }
            Ok(())
        })
        .await
}

async fn get<T: OpenStreams<Bytes>>(
    mut send: SendRequest<T, Bytes>,
    addr: SocketAddr,
    path: &str,
) -> Result<(StatusCode, usize)> {
    let mut stream = send.send_request(Request::get(format!("https://{addr}{path}")).body(())?).await?;
    stream.finish().await?;
    let (status, mut bytes) = (stream.recv_response().await?.status(), 0);
    while let Some(piece) = stream.recv_data().await? {
        bytes += piece.remaining();
    }
    Ok((status, bytes))
}

/// Sends and receives at the same time, and compares as the answer comes. A third of the way something happens.
pub async fn echo<T>(mut send: SendRequest<T, Bytes>, addr: SocketAddr, on_the_way: impl FnOnce()) -> Result<()>
where
    T: OpenStreams<Bytes>,
    T::BidiStream: h3::quic::BidiStream<Bytes>,
{
    let body: Bytes = (0..ECHO_BYTES).map(|at| ((at * 31) >> 3) as u8).collect::<Vec<_>>().into();
    let request = Request::builder().method(Method::POST).uri(format!("https://{addr}/echo")).body(())?;
    let (mut there, mut back) = send.send_request(request).await?.split();
    let sending = async {
        let mut rest = body.clone();
        while !rest.is_empty() {
            there.send_data(rest.split_to(PIECE_BYTES.min(rest.len()))).await?;
        }
        there.finish().await
    };
    let receiving = async {
        let response = back.recv_response().await?;
        let (mut rest, mut on_the_way) = (body.clone(), Some(on_the_way));
        while let Some(mut piece) = back.recv_data().await? {
            let piece = piece.copy_to_bytes(piece.remaining());
            if response.status() != StatusCode::OK || rest.len() < piece.len() || rest.split_to(piece.len()) != piece {
                return Err(Box::<dyn std::error::Error>::from("/echo answers something else"));
            }
            if rest.len() < ECHO_BYTES * 2 / 3
                && let Some(work) = on_the_way.take()
            {
                work();
            }
        }
        if rest.is_empty() { Ok(()) } else { Err("/echo answers less".into()) }
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent?;
    received?;
    println!("/echo: {ECHO_BYTES} bytes, as they were sent");
    Ok(())
}

/// TLS that trusts every certificate, and who is shown them: a session that is resumed brings none.
pub fn tls() -> Result<(ClientConfig, Arc<Anyone>)> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let anyone = Arc::new(Anyone { provider: Arc::clone(&provider), shown: AtomicUsize::new(0) });
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Anyone>::clone(&anyone))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    Ok((tls, anyone))
}

/// Takes every certificate.
#[derive(Debug)]
pub struct Anyone {
    provider: Arc<CryptoProvider>,
    shown: AtomicUsize,
}

impl Anyone {
    /// Says that a session was resumed.
    ///
    /// Errors: it was not, since there was more than one certificate.
    pub fn has_resumed(&self) -> Result<()> {
        match self.shown.load(Ordering::Relaxed) {
            1 => println!("a session is resumed"),
            count => return Err(format!("no session is resumed: {count} certificates were shown").into()),
        }
        Ok(())
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        self.shown.fetch_add(1, Ordering::Relaxed);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC has TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
