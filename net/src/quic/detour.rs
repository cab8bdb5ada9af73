//! [`Detour`]: where a client is heard from whose address has changed in the middle of its hand-shake, as a router's does that
//! forgets.
//!
//! `quinn-proto` keeps to the address that a connection began with until the hand-shake is over, and drops what comes from any
//! other. So it is shown what comes of a hand-shake as if it came from there, and what it sends there goes to where something of
//! the client's last came from. When the hand-shake is over it follows the client by itself, and probes the new path.
//!
//! Whoever sees a client's packets can have the answers sent elsewhere by sending a copy from there that arrives first, until
//! the next of the client's; he could as well end the hand-shake (RFC 9000 section 21.5). So where it goes is bounded: as long as
//! nothing that only the client can say has come from there, it is sent three times what came (section 8.1).

use std::net::SocketAddr;

use crate::limits::{QUIC_AMPLIFICATION_MAX, QUIC_HANDSHAKE_PAYLOAD_BYTES};

/// Where a datagram came from, and what it is to be counted for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) peer: SocketAddr,
    bytes: u64,
    /// It begins with a packet whose keys only those have who have received what was sent to them.
    is_of_handshake: bool,
}

/// The way to a client that is not where the hand-shake began.
#[derive(Debug)]
pub(super) struct Detour {
    peer: SocketAddr,
    received: u64,
    sent: u64,
    is_proved: bool,
}

impl Sender {
    pub(super) fn new(peer: SocketAddr, datagram: &[u8]) -> Self {
        let is_of_handshake = datagram.first().is_some_and(|first| first & FORM_AND_TYPE == HANDSHAKE);
        Sender { peer, bytes: datagram.len() as u64, is_of_handshake }
    }
}

impl Detour {
    /// After something of the client's has come from there, which was new.
    pub(super) fn after(before: Option<Detour>, sender: Sender, is_over: bool) -> Self {
        let new = Detour { peer: sender.peer, received: 0, sent: 0, is_proved: false };
        let mut detour = before.filter(|before| before.peer == sender.peer).unwrap_or(new);
        detour.received += sender.bytes;
        detour.is_proved |= sender.is_of_handshake || is_over;
        detour
    }

    /// Datagrams that may be sent there.
    pub(super) fn room(&self) -> usize {
        if self.is_proved {
            return usize::MAX;
        }
        let bytes = (QUIC_AMPLIFICATION_MAX * self.received).saturating_sub(self.sent);
        (bytes / QUIC_HANDSHAKE_PAYLOAD_BYTES) as usize
    }

    /// So much is sent, and to this address.
    pub(super) fn send(&mut self, bytes: usize) -> SocketAddr {
        self.sent += bytes as u64;
        self.peer
    }
}

/// Of the first byte (RFC 9000 section 17.2): the form of the header, and the type of a long one.
const FORM_AND_TYPE: u8 = 0xb0;

/// A Handshake packet's.
const HANDSHAKE: u8 = 0xa0;

/// Whether a header is a long one, as all are before the hand-shake is over.
pub(super) fn is_long(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}
