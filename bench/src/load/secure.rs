//! TLS 1.3 between a connection of the load and its socket: what is sent is sealed, what comes is opened where it lies.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::{ClientConnection, Resumption, UnbufferedClientConnection};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::unbuffered::ConnectionState;
use rustls::{ClientConfig, StreamOwned};

use crate::trusting::trusting;
use crate::{Result, limits};

/// What every connection of a load shakes hands by: HTTP/1.1, any certificate, no session taken up again.
pub(super) fn config() -> Result<Arc<ClientConfig>> {
    let mut config = trusting(Arc::new(default_provider()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A stream over TLS for a single request.
pub(super) fn stream(stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    Ok(StreamOwned::new(ClientConnection::new(config()?, ServerName::try_from("localhost")?)?, stream))
}

/// A connection's TLS, its hand-shake done.
pub(super) struct Secure {
    session: UnbufferedClientConnection,
    /// The batch as it goes to the socket.
    sealed: Vec<u8>,
    /// The beginning of a record whose end has not come yet.
    carry: Vec<u8>,
}

impl Secure {
    /// Shakes hands, waiting as long as the socket does.
    pub(super) fn shake(stream: &mut TcpStream, config: &Arc<ClientConfig>) -> Result<Self> {
        let mut session = UnbufferedClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
        let (mut flight, mut written) = (vec![0; limits::READ_BYTES], 0);
        let mut come = Vec::new();
        loop {
            let status = session.process_tls_records(&mut come);
            let (discard, mut done) = (status.discard, false);
            match status.state? {
                ConnectionState::EncodeTlsData(mut state) => written += state.encode(&mut flight[written..])?,
                ConnectionState::TransmitTlsData(state) => {
                    stream.write_all(&flight[..std::mem::take(&mut written)])?;
                    state.done();
                }
                ConnectionState::BlockedHandshake => {
                    let mut buffer = [0; 4096];
                    let count = stream.read(&mut buffer)?;
                    if count == 0 {
                        return Err("the server closed in the hand-shake".into());
                    }
                    come.extend_from_slice(&buffer[..count]);
                }
                ConnectionState::WriteTraffic(_) => done = true,
                state => return Err(format!("{state:?} in the hand-shake").into()),
            }
            come.drain(..discard);
            if done {
                return Ok(Self { session, sealed: Vec::new(), carry: come });
            }
        }
    }

    /// Seals the next batch in place of the last: how many bytes it is then.
    pub(super) fn seal(&mut self, batch: &[u8]) -> Result<usize> {
        let records = batch.len().div_ceil(limits::RECORD_BYTES_MAX);
        self.sealed.resize(batch.len() + records * limits::RECORD_OVERHEAD_BYTES_MAX, 0);
        let mut sealed = 0;
        match self.session.process_tls_records(&mut []).state? {
            ConnectionState::WriteTraffic(mut state) => {
                for piece in batch.chunks(limits::RECORD_BYTES_MAX) {
                    sealed += state.encrypt(piece, &mut self.sealed[sealed..])?;
                }
            }
            state => return Err(format!("{state:?} as a batch is to be sent").into()),
        }
        self.sealed.truncate(sealed);
        Ok(sealed)
    }

    /// The batch that was sealed last.
    pub(super) fn sealed(&self) -> &[u8] {
        &self.sealed
    }

    /// Opens what has come from the socket, record by record.
    pub(super) fn open(&mut self, come: &mut [u8], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut joined = std::mem::take(&mut self.carry);
        let mut rest = come;
        if !joined.is_empty() {
            joined.extend_from_slice(rest);
            rest = &mut joined;
        }
        loop {
            let status = self.session.process_tls_records(rest);
            let (discard, mut all) = (status.discard, false);
            match status.state? {
                ConnectionState::ReadTraffic(mut state) => {
                    while let Some(record) = state.next_record() {
                        take(record?.payload)?;
                    }
                }
                ConnectionState::WriteTraffic(_) => all = true,
                ConnectionState::PeerClosed | ConnectionState::Closed => return Err("closed by the server".into()),
                state => return Err(format!("{state:?} as answers are awaited").into()),
            }
            rest = &mut rest[discard..];
            if all {
                self.carry = rest.to_vec();
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secure({} bytes sealed, {} of a record)", self.sealed.len(), self.carry.len())
    }
}
