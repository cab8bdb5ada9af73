#![allow(unsafe_code)]
//! Datagrams as every system has them: bytes and a sender.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};

use socket2::{MaybeUninitSlice, SockRef};

/// What came with a datagram.
pub(crate) struct Received {
    pub(super) peer: Option<SocketAddr>,
    pub(super) told: Told,
    pub(super) truncated: bool,
}

/// What the system tells of a datagram beside its bytes and its sender, if it is asked.
#[derive(Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) segment: Option<u16>,
    pub(crate) ecn: u8,
    pub(crate) local: Option<IpAddr>,
}

impl Received {
    /// The message, once its bytes are leased. A datagram without an address that we know could not be answered, and is
    /// not ours.
    pub(crate) fn into_message(self, data: crate::Chunk) -> Option<crate::Message> {
        let Received { peer, told: Told { segment, ecn, local }, truncated } = self;
        Some(crate::Message { data, peer: peer?, segment, ecn, truncated, local })
    }
}

/// Receives one datagram, and says how many bytes it has. The portable call tells no more than that, and from whom.
pub(crate) fn receive_from(socket: &SockRef<'_>, buffer: &mut [u8]) -> io::Result<(usize, Received)> {
    // SAFETY: bytes and bytes that may be uninitialised have the same layout. The slice ends with this call, which hands
    // it on to the kernel alone, and the kernel writes only what is initialised, so the caller's bytes stay such.
    let room = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<MaybeUninit<u8>>(), buffer.len()) };
    let (bytes, flags, peer) = socket.recv_from_vectored(&mut [MaybeUninitSlice::new(room)])?;
    let truncated = flags.is_truncated();
    // What is cut fills the buffer; not every system counts it.
    let bytes = if truncated { buffer.len() } else { bytes };
    Ok((bytes, Received { peer: peer.as_socket(), told: Told::default(), truncated }))
}
