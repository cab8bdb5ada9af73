//! The load of hand-shakes: one after the other, full or resumed, and nothing else on the connection.
//!
//! A hand-shake ends when the client has a ticket, so that whatever the server does for it is counted.

use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::ServerName;

use crate::trusting::trusting;
use crate::{Result, limits};

/// As browsers offer them, and servers take the first: the hybrid, which is the dearest.
pub const GROUPS: [&dyn SupportedKxGroup; 3] = [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];

/// A client that comes again and again.
#[derive(Debug)]
pub struct Handshakes {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    kind: HandshakeKind,
}

impl Handshakes {
    /// One that takes its session up again each time, or never.
    pub fn new(addr: SocketAddr, resumes: bool) -> Result<Self> {
        let provider = CryptoProvider { kx_groups: GROUPS.to_vec(), ..default_provider() };
        let mut config = trusting(Arc::new(provider))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = if resumes { Resumption::in_memory_sessions(4) } else { Resumption::disabled() };
        let kind = if resumes { HandshakeKind::Resumed } else { HandshakeKind::Full };
        let handshakes = Self { addr, config: Arc::new(config), kind };
        if resumes {
            handshakes.shake()?;
        }
        Ok(handshakes)
    }

    /// Makes them for so long: how many.
    pub fn run(&self, time: Duration) -> Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            let kind = self.shake()?;
            if kind != Some(self.kind) {
                return Err(format!("a hand-shake was {kind:?} and should be {:?}", self.kind).into());
            }
            count += 1;
        }
        Ok(count)
    }

    fn shake(&self) -> Result<Option<HandshakeKind>> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limits::FETCH_TIMEOUT))?;
        let mut tls = ClientConnection::new(Arc::clone(&self.config), ServerName::try_from("localhost")?)?;
        tls.complete_io(&mut stream)?;
        while tls.tls13_tickets_received() == 0 {
            if tls.read_tls(&mut stream)? == 0 {
                return Err("the server has left before it gave a ticket".into());
            }
            tls.process_new_packets()?;
        }
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut stream)?;
        }
        stream.shutdown(Shutdown::Write)?;
        // What the server does until its end is counted too.
        io::copy(&mut stream.take(limits::READ_BYTES as u64), &mut io::sink())?;
        Ok(tls.handshake_kind())
    }
}
