#![allow(unsafe_code)]
//! Datagrams as every system has them: bytes and a sender.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use socket2::{MaybeUninitSlice, SockRef};

/// What came with a datagram.
pub(crate) struct Received {
    pub(super) peer: Option<SocketAddr>,
    pub(super) segment: Option<u16>,
    pub(super) ecn: u8,
    pub(super) truncated: bool,
}

impl Received {
    /// The message, once its bytes are leased. A datagram without an address that we know could not be answered, and is
    /// not ours.
    pub(crate) fn into_message(self, data: crate::Chunk) -> Option<crate::Message> {
        let Received { peer, segment, ecn, truncated } = self;
        Some(crate::Message { data, peer: peer?, segment, ecn, truncated })
    }
}

/// Receives one datagram, and says how many bytes it has. Neither joined datagrams nor ECN bits, which the portable call does
/// not tell.
pub(crate) fn receive_from(socket: &SockRef<'_>, buffer: &mut [u8]) -> io::Result<(usize, Received)> {
    // SAFETY: bytes and bytes that may be uninitialised have the same layout. The slice ends with this call, which hands
    // it on to the kernel alone, and the kernel writes only what is initialised, so the caller's bytes stay such.
    let room = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<MaybeUninit<u8>>(), buffer.len()) };
    let (bytes, flags, peer) = socket.recv_from_vectored(&mut [MaybeUninitSlice::new(room)])?;
    let truncated = flags.is_truncated();
    // What is cut fills the buffer; not every system counts it.
    let bytes = if truncated { buffer.len() } else { bytes };
    Ok((bytes, Received { peer: peer.as_socket(), segment: None, ecn: 0, truncated }))
}
