#![allow(unsafe_code)]
//! What differs between operating systems: the one file of this package with `cfg(target_os)`.

use std::net::{Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::AsRawFd;

use socket2::SockRef;

use crate::socket::SocketOption;
use crate::{Error, Result};

/// An owned descriptor.
#[cfg(unix)]
pub(crate) type Descriptor = std::os::fd::OwnedFd;

/// The name of an error number.
pub(crate) fn error_of(code: i32) -> Error {
    match code {
        libc::ECANCELED => Error::Cancelled,
        libc::EBADF => Error::Closed,
        libc::ECONNREFUSED => Error::Refused,
        libc::ECONNRESET => Error::Reset,
        libc::ECONNABORTED => Error::Aborted,
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN => Error::Unreachable,
        libc::ETIMEDOUT => Error::TimedOut,
        libc::ENOTCONN => Error::NotConnected,
        libc::EPIPE => Error::BrokenPipe,
        libc::EADDRINUSE => Error::AddressInUse,
        libc::EADDRNOTAVAIL => Error::AddressNotAvailable,
        libc::EACCES | libc::EPERM => Error::Denied,
        libc::ENOENT => Error::NotFound,
        libc::EEXIST => Error::Exists,
        libc::EMFILE | libc::ENFILE => Error::OutOfDescriptors,
        libc::ENOMEM | libc::ENOBUFS => Error::OutOfMemory,
        libc::EMSGSIZE => Error::TooLarge,
        libc::ENOSPC | libc::EDQUOT => Error::NoSpace,
        libc::EOPNOTSUPP | libc::ENOSYS => Error::Unsupported,
        libc::EINVAL => Error::Invalid,
        other => Error::Os(other),
    }
}

pub(crate) fn shutdown(descriptor: &Descriptor, how: Shutdown) -> Result<()> {
    Ok(SockRef::from(descriptor).shutdown(how)?)
}

pub(crate) fn local_address(descriptor: &Descriptor) -> Result<SocketAddr> {
    SockRef::from(descriptor).local_addr()?.as_socket().ok_or(Error::Unsupported)
}

pub(crate) fn peer_address(descriptor: &Descriptor) -> Result<SocketAddr> {
    SockRef::from(descriptor).peer_addr()?.as_socket().ok_or(Error::Unsupported)
}

pub(crate) fn set_option(descriptor: &Descriptor, option: SocketOption) -> Result<()> {
    let socket = SockRef::from(descriptor);
    match option {
        SocketOption::NoDelay(on) => socket.set_tcp_nodelay(on)?,
        SocketOption::KeepAlive(None) => socket.set_keepalive(false)?,
        SocketOption::KeepAlive(Some(idle)) => {
            socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(idle))?;
        }
        SocketOption::SendBuffer(bytes) => socket.set_send_buffer_size(bytes)?,
        SocketOption::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(bytes)?,
        SocketOption::Linger(time) => socket.set_linger(time)?,
    }
    Ok(())
}

/// Whether calls on a descriptor return at once with EAGAIN, which readiness needs and io_uring must not have (it would
/// end operations with EAGAIN that it should wait for).
pub(crate) fn set_nonblocking(descriptor: &Descriptor, on: bool) -> Result<()> {
    Ok(SockRef::from(descriptor).set_nonblocking(on)?)
}

/// The number that a shard's wake-ups go through: an eventfd. Its counter is never read; each write is an edge.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Event(Descriptor);

#[cfg(target_os = "linux")]
impl Event {
    pub(crate) fn new() -> Result<Self> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        rustix::event::eventfd(0, flags).map(Event).map_err(|errno| error_of(errno.raw_os_error()))
    }

    pub(crate) fn raise(&self) {
        // The counter would have to be raised 2^64 times to be full, so the write cannot fail.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }
}

/// A number that nobody can guess.
#[cfg(target_os = "linux")]
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Eight bytes come whole once the kernel's generator is ready, which it is before any server starts.
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    assert!(got == Ok(8), "the kernel gives random numbers");
    u64::from_ne_bytes(bytes)
}

/// How open(2) is told what [`OpenFile`](crate::OpenFile) says.
#[cfg(target_os = "linux")]
pub(crate) fn open_flags(file: &crate::OpenFile) -> i32 {
    let access = match (file.read, file.write) {
        (_, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        (true, true) => libc::O_RDWR,
    };
    let create = if file.create { libc::O_CREAT } else { 0 };
    let truncate = if file.truncate { libc::O_TRUNC } else { 0 };
    access | create | truncate | libc::O_CLOEXEC
}

/// Reads a socket address as the kernel writes it.
#[cfg(target_os = "linux")]
pub(crate) fn address_of(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(name.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(name.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = name.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((octets, port)))
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = name.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(name.get(24..28)?.try_into().ok()?);
            Some(std::net::SocketAddrV6::new(octets.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

/// Length of a control message's header, which is also the alignment of what follows: cmsg(3).
const CONTROL_HEADER_BYTES: usize = 16;

/// Finds the segment size and the ECN bits among received control messages.
#[cfg(target_os = "linux")]
pub(crate) fn read_control(mut control: &[u8]) -> (Option<u16>, u8) {
    let (mut segment, mut ecn) = (None, 0);
    while control.len() > CONTROL_HEADER_BYTES {
        let len = usize::from_ne_bytes(control[..8].try_into().expect("eight bytes"));
        let level = i32::from_ne_bytes(control[8..12].try_into().expect("four bytes"));
        let kind = i32::from_ne_bytes(control[12..16].try_into().expect("four bytes"));
        let Some(data) = control.get(CONTROL_HEADER_BYTES..len) else { break };
        match (level, kind, data) {
            (libc::SOL_UDP, libc::UDP_GRO, [low, high, ..]) => segment = Some(u16::from_ne_bytes([*low, *high])),
            (libc::SOL_IP, libc::IP_TOS, [tos, ..]) => ecn = tos & 3,
            (libc::SOL_IPV6, libc::IPV6_TCLASS, [class, ..]) => ecn = class & 3,
            _ => {}
        }
        control = control.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    (segment, ecn)
}

/// Writes the control messages of a datagram and returns how many bytes they take.
#[cfg(target_os = "linux")]
pub(crate) fn write_control(control: &mut [u8; 64], message: &crate::Datagram) -> usize {
    let mut used = 0;
    let mut put = |level: i32, kind: i32, data: &[u8]| {
        let len = CONTROL_HEADER_BYTES + data.len();
        control[used..used + 8].copy_from_slice(&len.to_ne_bytes());
        control[used + 8..used + 12].copy_from_slice(&level.to_ne_bytes());
        control[used + 12..used + 16].copy_from_slice(&kind.to_ne_bytes());
        control[used + 16..used + len].copy_from_slice(data);
        used += len.next_multiple_of(8);
    };
    if let Some(segment) = message.segment {
        put(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
    }
    if message.ecn != 0 {
        let value = i32::from(message.ecn & 3).to_ne_bytes();
        match message.peer {
            Some(SocketAddr::V6(_)) => put(libc::SOL_IPV6, libc::IPV6_TCLASS, &value),
            _ => put(libc::SOL_IP, libc::IP_TOS, &value),
        }
    }
    used
}

/// What came with a datagram.
#[cfg(target_os = "linux")]
pub(crate) struct Received {
    pub(crate) bytes: usize,
    peer: Option<SocketAddr>,
    segment: Option<u16>,
    ecn: u8,
    truncated: bool,
}

#[cfg(target_os = "linux")]
impl Received {
    /// The message, once its bytes are leased. A datagram without an address that we know could not be answered, and is
    /// not ours.
    pub(crate) fn into_message(self, data: crate::Chunk) -> Option<crate::Message> {
        let Received { peer, segment, ecn, truncated, .. } = self;
        Some(crate::Message { data, peer: peer?, segment, ecn, truncated })
    }
}

/// The header of one datagram for sendmsg(2) or recvmsg(2), and all that it points to besides the bytes themselves.
#[cfg(target_os = "linux")]
pub(crate) struct MessageHead {
    header: libc::msghdr,
    slice: libc::iovec,
    /// Where a datagram goes to.
    peer: socket2::SockAddr,
    /// Where one came from.
    name: [u8; size_of::<libc::sockaddr_in6>()],
    control: Control,
}

/// Room for control messages, aligned as their headers are.
#[cfg(target_os = "linux")]
#[repr(C, align(8))]
struct Control([u8; 64]);

#[cfg(target_os = "linux")]
impl MessageHead {
    pub(crate) fn new() -> Self {
        MessageHead {
            // SAFETY: all zeroes is a valid message header.
            header: unsafe { std::mem::zeroed() },
            slice: libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 },
            peer: SocketAddr::from(([0; 4], 0)).into(),
            name: [0; size_of::<libc::sockaddr_in6>()],
            control: Control([0; 64]),
        }
    }

    pub(crate) fn boxed() -> Box<Self> {
        Box::new(MessageHead::new())
    }

    /// The header for sending; it points into `self` and to the datagram's bytes, and holds while neither moves.
    pub(crate) fn set_to_send(&mut self, message: &crate::Datagram) -> *const libc::msghdr {
        self.slice = libc::iovec { iov_base: message.data.as_ptr().cast_mut().cast(), iov_len: message.data.len() };
        self.header.msg_iov = &mut self.slice;
        self.header.msg_iovlen = 1;
        (self.header.msg_name, self.header.msg_namelen) = (std::ptr::null_mut(), 0);
        if let Some(peer) = message.peer {
            self.peer = peer.into();
            self.header.msg_name = self.peer.as_ptr().cast_mut().cast();
            self.header.msg_namelen = self.peer.len();
        }
        self.header.msg_control = self.control.0.as_mut_ptr().cast();
        self.header.msg_controllen = write_control(&mut self.control.0, message) as _;
        &self.header
    }

    /// The header for receiving, into a buffer that the kernel selects; it points into `self` and holds while that does not
    /// move.
    pub(crate) fn set_to_receive(&mut self) -> *mut libc::msghdr {
        self.header.msg_iovlen = 0;
        self.header.msg_name = self.name.as_mut_ptr().cast();
        self.header.msg_namelen = self.name.len() as _;
        self.header.msg_control = self.control.0.as_mut_ptr().cast();
        self.header.msg_controllen = self.control.0.len() as _;
        &mut self.header
    }

    /// What the kernel has written into the header.
    pub(crate) fn received(&self, bytes: usize) -> Received {
        let name = &self.name[..self.name.len().min(self.header.msg_namelen as usize)];
        let control = &self.control.0[..self.control.0.len().min(self.header.msg_controllen)];
        let (segment, ecn) = read_control(control);
        let truncated = self.header.msg_flags & libc::MSG_TRUNC != 0;
        Received { bytes, peer: address_of(name), segment, ecn, truncated }
    }
}

/// Receives one datagram, or several that the kernel has joined.
#[cfg(target_os = "linux")]
pub(crate) fn receive_message(
    descriptor: &Descriptor,
    buffer: &mut [u8],
) -> std::result::Result<Received, rustix::io::Errno> {
    let mut head = MessageHead::new();
    head.set_to_receive();
    head.slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    (head.header.msg_iov, head.header.msg_iovlen) = (&mut head.slice, 1);
    // SAFETY: the header points into `head`, which does not move, and to the caller's buffer, with their lengths; both
    // outlive the call.
    let bytes = unsafe { libc::recvmsg(descriptor.as_raw_fd(), &mut head.header, 0) };
    usize::try_from(bytes).map(|bytes| head.received(bytes)).map_err(|_| last_errno())
}

/// Sends one datagram, or a batch of equal ones.
#[cfg(target_os = "linux")]
pub(crate) fn send_message(
    descriptor: &Descriptor,
    message: &crate::Datagram,
) -> std::result::Result<usize, rustix::io::Errno> {
    let mut head = MessageHead::new();
    let header = head.set_to_send(message);
    // SAFETY: the header points into `head`, which does not move, and to the message's own bytes, with their lengths; the
    // call only reads them, and both outlive it.
    let bytes = unsafe { libc::sendmsg(descriptor.as_raw_fd(), header, libc::MSG_NOSIGNAL) };
    usize::try_from(bytes).map_err(|_| last_errno())
}

#[cfg(target_os = "linux")]
fn last_errno() -> rustix::io::Errno {
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    rustix::io::Errno::from_raw_os_error(code)
}
