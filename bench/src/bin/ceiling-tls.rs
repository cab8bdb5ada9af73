//! The ceiling of hand-shakes: rustls alone over blocking sockets, one connection after the other, set up as the real server is.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bench::args::Args;
use bench::handshakes::GROUPS;
use bench::{Result, limits};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ServerConfig, ServerConnection};

const USAGE: &str = "\
usage: ceiling-tls --cert PEM --key PEM [--tls-addr 127.0.0.1:0] [--aes-128]
Makes hand-shakes of TLS 1.3, and answers nothing. With --aes-128 it prefers that, as the showcase does, and otherwise goes by the
client's order, as rustls does unless told. It prints `listening https://ADDR:PORT`.";

fn main() -> ExitCode {
    bench::run(serve)
}

fn serve() -> Result<()> {
    let mut args = Args::from_env(USAGE);
    let (cert, key): (PathBuf, PathBuf) = (args.required("--cert")?, args.required("--key")?);
    let addr: SocketAddr = args.value("--tls-addr", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let prefers_aes_128 = args.flag("--aes-128");
    args.finish()?;
    let mut provider = CryptoProvider { kx_groups: GROUPS.to_vec(), ..default_provider() };
    if prefers_aes_128 {
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    }
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.ignore_client_order = prefers_aes_128;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    let config = Arc::new(config);
    let listener = TcpListener::bind(addr)?;
    println!("listening https://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(error) = shake(stream?, &config) {
            eprintln!("a hand-shake has failed: {error}");
        }
    }
    Ok(())
}

/// Makes one, and waits for the client's end.
fn shake(mut stream: TcpStream, config: &Arc<ServerConfig>) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limits::FETCH_TIMEOUT))?;
    let mut tls = ServerConnection::new(Arc::clone(config))?;
    tls.complete_io(&mut stream)?;
    while tls.read_tls(&mut stream)? > 0 {
        if tls.process_new_packets().map_err(io::Error::other)?.peer_has_closed() {
            tls.send_close_notify();
            tls.write_tls(&mut stream)?;
        }
    }
    Ok(())
}
