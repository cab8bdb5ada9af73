//! What a client's first message says that rustls's unbuffered interface does not tell: the name that it asks for, and the
//! cipher suite that it likes best.

use std::sync::Arc;

use rustls::{CipherSuite, ServerConfig};

/// The DNS name of a client's hello (RFC 8446 section 4.1.2, RFC 6066 section 3) that lies whole in the record that `bytes`
/// begin with. `None` if there is none, or it lies otherwise: rustls says what is wrong with it.
pub(super) fn server_name(bytes: &[u8]) -> Option<&str> {
    let mut hello = Reader(bytes);
    hello.expect(&[22])?;
    hello.take(2)?;
    let mut record = hello.block(2)?;
    record.expect(&[1])?;
    let mut message = record.block(3)?;
    message.suites()?;
    // Ways to compress.
    message.block(1)?;
    let mut extensions = message.block(2)?;
    while let Some(kind) = extensions.number(2) {
        let mut content = extensions.block(2)?;
        if kind == 0 {
            let mut names = content.block(2)?;
            names.expect(&[0])?;
            return std::str::from_utf8(names.block(2)?.0).ok();
        }
    }
    None
}

/// What a server answers such a hello by. Who likes ChaCha20 best has no instructions for AES, which it would pay for more than a
/// server saves by it: so where the order of suites is the server's, these have their own.
pub(super) fn in_order(mut config: Arc<ServerConfig>, bytes: &[u8]) -> Arc<ServerConfig> {
    if config.ignore_client_order && prefers_chacha20(bytes) {
        Arc::make_mut(&mut config).ignore_client_order = false;
    }
    config
}

/// Whether the first suite that we know is by ChaCha20. The suites are at the front of a hello, which may not be there as a whole.
fn prefers_chacha20(bytes: &[u8]) -> bool {
    let suites = || {
        let mut hello = Reader(bytes);
        hello.expect(&[22])?;
        hello.take(2 + 2)?;
        hello.expect(&[1])?;
        hello.take(3)?;
        hello.suites()
    };
    let Some(suites) = suites() else { return false };
    let mut known =
        suites.0.as_chunks().0.iter().filter_map(|&suite| match CipherSuite::from(u16::from_be_bytes(suite)) {
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some(true),
            CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS13_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(false),
            _ => None,
        });
    known.next() == Some(true)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        (self.take(bytes.len())? == bytes).then_some(())
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// The cipher suites of a hello, behind its header.
    fn suites(&mut self) -> Option<Reader<'a>> {
        // Its version, and what chance has given it; a session to be resumed.
        self.take(2 + 32)?;
        self.block(1)?;
        self.block(2)
    }

    /// What has its length before it.
    fn block(&mut self, length_bytes: usize) -> Option<Reader<'a>> {
        let length = self.number(length_bytes)?;
        self.take(length).map(Reader)
    }
}

#[cfg(test)]
mod tests;
