//! Datagrams as the ring takes and gives them: a message's address, what the kernel says beside it, and the memory that all of it
//! points to while the kernel has it. IPv4 alone, which is what the bench measures by.

#![allow(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use quinn_proto::EcnCodepoint;

/// Of `sockaddr_in`.
const NAME_BYTES: usize = 16;

/// What the kernel says beside a datagram: the size of those it has joined, their traffic class, and where they were sent to, in
/// 24, 24 and 32 bytes.
const CONTROL_BYTES: usize = 128;

/// Of `cmsghdr`, which the value follows.
const CONTROL_HEAD_BYTES: usize = 16;

const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;

/// Bytes that a receive takes before a datagram's own.
pub(crate) const RECEIVED_HEAD_BYTES: usize = 16 + NAME_BYTES + CONTROL_BYTES;

/// What a multishot receive is to bring; the kernel reads it when the entry is submitted.
pub(crate) struct Receive(Box<libc::msghdr>);

/// What came in one receive: datagrams of equal size, the last perhaps shorter, end to end.
#[derive(Debug)]
pub(crate) struct Received<'b> {
    pub(crate) from: SocketAddr,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) datagram_bytes: usize,
    pub(crate) bytes: &'b [u8],
}

/// One send and everything it points to. It must not move for as long as the kernel has it.
pub(crate) struct Send {
    header: libc::msghdr,
    vector: libc::iovec,
    name: [u8; NAME_BYTES],
    control: Control,
    pub(crate) bytes: Vec<u8>,
}

#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Receive {
    pub(crate) fn new() -> Self {
        // SAFETY: null pointers and zeros are a valid header, of a message that has no parts.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_namelen = NAME_BYTES as u32;
        header.msg_controllen = CONTROL_BYTES;
        Self(Box::new(header))
    }

    pub(crate) fn entry(&self, socket: RawFd, group: u16) -> squeue::Entry {
        opcode::RecvMsgMulti::new(types::Fd(socket), &raw const *self.0, group).build()
    }

    /// Reads a buffer that the kernel has filled; `None` if it is not as the kernel fills them.
    pub(crate) fn read<'b>(&self, buffer: &'b [u8]) -> Option<Received<'b>> {
        let message = types::RecvMsgOut::parse(buffer, &self.0).ok()?;
        let name = message.name_data();
        let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
        let ip = Ipv4Addr::from(<[u8; 4]>::try_from(name.get(4..8)?).ok()?);
        let bytes = &buffer[RECEIVED_HEAD_BYTES..];
        let bytes = bytes.get(..message.payload_data().len())?;
        let mut received =
            Received { from: SocketAddrV4::new(ip, port).into(), ecn: None, datagram_bytes: bytes.len().max(1), bytes };
        let mut control = message.control_data();
        while let Some((head, _)) = control.split_at_checked(CONTROL_HEAD_BYTES) {
            let length = usize::from_ne_bytes(head[..8].try_into().ok()?);
            let kind = |at: usize| head[at..at + 4].try_into().map(i32::from_ne_bytes).unwrap_or_default();
            let value = control.get(CONTROL_HEAD_BYTES..length)?;
            match (kind(8), kind(12)) {
                (libc::SOL_UDP, UDP_GRO) => {
                    received.datagram_bytes = i32::from_ne_bytes(value.get(..4)?.try_into().ok()?).try_into().ok()?;
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => received.ecn = EcnCodepoint::from_bits(*value.first()?),
                _ => {}
            }
            control = control.get(length.next_multiple_of(8)..).unwrap_or_default();
        }
        Some(received)
    }
}

impl Send {
    pub(crate) fn new() -> Self {
        Self {
            // SAFETY: null pointers and zeros are a valid header, of a message that has no parts.
            header: unsafe { std::mem::zeroed() },
            vector: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            name: [0; NAME_BYTES],
            control: Control([0; CONTROL_BYTES]),
            bytes: Vec::new(),
        }
    }

    /// The entry that sends so many of the bytes, cut into segments of that size. It points into this.
    pub(crate) fn entry(
        &mut self,
        socket: RawFd,
        to: SocketAddr,
        ecn: Option<EcnCodepoint>,
        size: usize,
        segment_bytes: Option<usize>,
    ) -> squeue::Entry {
        let SocketAddr::V4(to) = to else { panic!("the socket is of IPv4") };
        self.name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        self.name[2..4].copy_from_slice(&to.port().to_be_bytes());
        self.name[4..8].copy_from_slice(&to.ip().octets());
        let mut control_bytes = 0;
        if let Some(ecn) = ecn {
            self.control.put(&mut control_bytes, libc::IPPROTO_IP, libc::IP_TOS, &(ecn as i32).to_ne_bytes());
        }
        if let Some(segment_bytes) = segment_bytes {
            self.control.put(&mut control_bytes, libc::SOL_UDP, UDP_SEGMENT, &(segment_bytes as u16).to_ne_bytes());
        }
        self.vector = libc::iovec { iov_base: self.bytes.as_mut_ptr().cast(), iov_len: size };
        self.header.msg_name = self.name.as_mut_ptr().cast();
        self.header.msg_namelen = NAME_BYTES as u32;
        self.header.msg_iov = &raw mut self.vector;
        self.header.msg_iovlen = 1;
        self.header.msg_control = self.control.0.as_mut_ptr().cast();
        self.header.msg_controllen = control_bytes;
        opcode::SendMsg::new(types::Fd(socket), &raw const self.header).build()
    }
}

impl Control {
    fn put(&mut self, at: &mut usize, level: i32, kind: i32, value: &[u8]) {
        let length = CONTROL_HEAD_BYTES + value.len();
        let item = &mut self.0[*at..*at + length];
        item[..8].copy_from_slice(&length.to_ne_bytes());
        item[8..12].copy_from_slice(&level.to_ne_bytes());
        item[12..16].copy_from_slice(&kind.to_ne_bytes());
        item[16..].copy_from_slice(value);
        *at += length.next_multiple_of(8);
    }
}
