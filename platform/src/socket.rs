//! Sockets before they belong to a shard: opened once, in order, by whoever starts the shards, then handed to each.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::backend::sim::SimDescriptor;
use crate::handle::Resource;
use crate::limits::{BACKLOG, UNSENT_BYTES_MAX};
use crate::os::{self, Descriptor};
use crate::{Error, Result};

/// An open socket that no shard has adopted yet. It can cross threads; dropping it closes it.
#[derive(Debug)]
pub struct Socket(pub(crate) Resource);

impl Socket {
    pub(crate) fn simulated(socket: SimDescriptor) -> Self {
        Socket(Resource::Sim(socket))
    }

    /// The descriptor, if it is one of the operating system's.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only there do sockets pass between processes"))]
    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        self.0.socket()
    }

    /// A second name of the same socket, which lives as long as any.
    ///
    /// Errors: `OutOfDescriptors`; `Unsupported` on a simulated machine.
    pub fn second_name(&self) -> Result<Socket> {
        let descriptor = self.0.socket().ok_or(Error::Unsupported)?;
        Ok(Socket(Resource::Os(descriptor.try_clone()?)))
    }

    /// A listening socket for threads that wait in the system's calls.
    ///
    /// Errors: `Unsupported` for a socket of a simulated machine, or of a shard.
    pub fn into_listener(self) -> Result<std::net::TcpListener> {
        let Resource::Os(descriptor) = self.0 else { return Err(Error::Unsupported) };
        os::set_nonblocking(&descriptor, false)?;
        Ok(socket2::Socket::from(descriptor).into())
    }

    /// The address of this side.
    pub fn local_address(&self) -> Result<SocketAddr> {
        match (&self.0, self.0.socket()) {
            (Resource::Sim(socket), _) => socket.local_address(),
            (_, Some(descriptor)) => os::local_address(descriptor),
            (_, None) => Err(Error::Unsupported),
        }
    }
}

impl From<socket2::Socket> for Socket {
    fn from(socket: socket2::Socket) -> Self {
        Socket(Resource::Os(Descriptor::from(socket)))
    }
}

impl From<std::net::TcpListener> for Socket {
    fn from(listener: std::net::TcpListener) -> Self {
        socket2::Socket::from(listener).into()
    }
}

/// An option of a socket, in the closed vocabulary that every backend understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// Send small segments at once (TCP_NODELAY).
    NoDelay(bool),
    /// Probe an idle connection after this time (SO_KEEPALIVE, TCP_KEEPIDLE).
    KeepAlive(Option<Duration>),
    /// Bytes of the kernel's send buffer (SO_SNDBUF).
    SendBuffer(usize),
    /// Bytes of the kernel's receive buffer (SO_RCVBUF).
    ReceiveBuffer(usize),
    /// What close does with unsent bytes: `Some(zero)` resets the connection (SO_LINGER).
    Linger(Option<Duration>),
    /// Tell the ECN bits of each datagram that is received: [`Message::ecn`](crate::Message::ecn) (IP_RECVTOS,
    /// IPV6_RECVTCLASS).
    TellEcn(bool),
    /// Join datagrams of one sender and size as they arrive: [`Message::segment`](crate::Message::segment) (UDP_GRO, Linux
    /// 5.0). Whoever asks for it receives into [`Group::Bulk`](crate::Group::Bulk), since a join of 64 KiB does not fit
    /// the others.
    JoinDatagrams(bool),
    /// Tell the address that each datagram went to: [`Message::local`](crate::Message::local) (IP_PKTINFO,
    /// IPV6_RECVPKTINFO).
    TellLocal(bool),
    /// Have no datagram cut into fragments, neither here nor on the way: one that is too large for the path is lost, and one
    /// that is too large for the first link is the error `TooLarge`. What the kernel has heard of the path is not heeded
    /// (IP_PMTUDISC_PROBE, Linux), since whoever asks for this finds out by itself.
    NeverFragment(bool),
}

impl SocketOption {
    /// Whether it asks for something to be told with each datagram.
    pub(crate) fn is_about_datagrams(self) -> bool {
        matches!(self, SocketOption::TellEcn(_) | SocketOption::JoinDatagrams(_) | SocketOption::TellLocal(_))
    }
}

/// How a listening address is opened.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Length of the accept queue; the kernel clips it to net.core.somaxconn.
    pub backlog: i32,
    /// Whether accepted connections send small segments at once. They inherit it, which saves a system call each.
    pub no_delay: bool,
    /// Bytes that the kernel takes of each accepted connection ahead of what it can send, before a send waits (TCP_NOTSENT_LOWAT,
    /// Linux; elsewhere its send buffer alone decides). `None` for as many as its send buffer grows to: megabytes, which a
    /// peer that reads nothing holds, and which count as taken.
    pub unsent_bytes_max: Option<u32>,
    /// How long a connection on which the peer has said nothing may stay the kernel's, in whole seconds, before it is accepted
    /// (TCP_DEFER_ACCEPT, Linux). So whoever accepts one finds its first bytes there, and sleeps once less. For protocols
    /// in which the peer speaks first. `None` for those that are accepted as they come.
    pub silence_max: Option<Duration>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        let unsent_bytes_max = Some(UNSENT_BYTES_MAX);
        ListenOptions { backlog: BACKLOG, no_delay: true, unsent_bytes_max, silence_max: None }
    }
}

/// How the datagram sockets of one address are opened. What is said to each by itself is a [`SocketOption`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramOptions {
    /// Have datagrams name their socket: the byte at this offset, in those whose first bit is not set, is the socket's number
    /// among all of the address. Those that begin otherwise, are too short, or name none that is there, go where the kernel's
    /// hash of both addresses leads, as all do without (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5; no privilege needed). It is a
    /// short cut: elsewhere, and where the kernel refuses, none is taken.
    pub numbered_at: Option<u32>,
}

/// Why an address cannot be listened on, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub error: Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListenError { address, error } = self;
        write!(f, "cannot listen on {address}: {error}. ")?;
        match error {
            Error::AddressInUse => write!(
                f,
                "Another process serves on port {}; stop it (find it with `{}`) or choose another port.",
                address.port(),
                os::find_listener(address.port())
            ),
            Error::Denied => write!(
                f,
                "Ports below 1024 need the capability CAP_NET_BIND_SERVICE or a lower \
                 net.ipv4.ip_unprivileged_port_start."
            ),
            Error::AddressNotAvailable => write!(f, "Use an address of this machine, or 0.0.0.0 for all."),
            Error::OutOfDescriptors => write!(f, "Raise the limit with `ulimit -n`."),
            _ => write!(f, "Check the address."),
        }
    }
}

impl std::error::Error for ListenError {}

/// Opens `count` listening sockets at one address, in order, one for each shard. Port zero is resolved once, and all have
/// the port that the kernel chose. On Linux the kernel spreads connections over them; elsewhere they are names of one
/// socket, and whichever shard is awake first takes a connection. A port in use is an error everywhere.
pub fn listen(
    address: SocketAddr,
    count: usize,
    options: &ListenOptions,
) -> std::result::Result<Vec<Socket>, ListenError> {
    let sockets = os::listeners(address, count, options).map_err(|error| ListenError { address, error })?;
    Ok(sockets.into_iter().map(Socket::from).collect())
}

/// Opens `count` more listening sockets in the group of one that listens already, as another process has left it: the kernel
/// spreads connections over all of them.
///
/// Errors: `Unsupported` where the socket is in no group (SO_REUSEPORT is not set, or is not there); what binding gives.
pub fn listen_beside(socket: &Socket, count: usize, options: &ListenOptions) -> Result<Vec<Socket>> {
    let descriptor = socket.0.socket().ok_or(Error::Unsupported)?;
    if !os::is_in_group(descriptor) {
        return Err(Error::Unsupported);
    }
    let address = os::local_address(descriptor)?;
    let open = |_| open_listener(address, options, os::join_group).map(Socket::from);
    (0..count).map(open).collect()
}

/// Opens `count` datagram sockets at one address, in order, one for each shard. Port zero is resolved once, and all have the
/// port that the kernel chose. On Linux the kernel spreads datagrams over them, by their two addresses or as `options` say;
/// elsewhere they are names of one socket, and whichever shard is awake first takes a datagram, whoever it is meant for. A
/// port in use is an error everywhere.
pub fn datagram_sockets(
    address: SocketAddr,
    count: usize,
    options: &DatagramOptions,
) -> std::result::Result<Vec<Socket>, ListenError> {
    let sockets = os::datagram_sockets(address, count, options).map_err(|error| ListenError { address, error })?;
    Ok(sockets.into_iter().map(Socket::from).collect())
}

/// Opens `count` more datagram sockets at the address of one that another process has left: their numbers follow on, and what
/// was said of numbers when the first was opened holds for them too.
///
/// Errors: as [`listen_beside`].
pub fn datagram_sockets_beside(socket: &Socket, count: usize) -> Result<Vec<Socket>> {
    let descriptor = socket.0.socket().ok_or(Error::Unsupported)?;
    if !os::is_in_group(descriptor) {
        return Err(Error::Unsupported);
    }
    let address = os::local_address(descriptor)?;
    (0..count).map(|_| open_datagram_socket(address, os::join_group).map(Socket::from)).collect()
}

/// Opens one listening socket, after what is still to be said to it.
pub(crate) fn open_listener(
    address: SocketAddr,
    options: &ListenOptions,
    prepare: impl FnOnce(&socket2::Socket) -> io::Result<()>,
) -> Result<socket2::Socket> {
    let socket = stream_socket(address)?;
    os::reuse_address(&socket)?;
    prepare(&socket)?;
    socket.set_tcp_nodelay(options.no_delay)?;
    if let Some(bytes) = options.unsent_bytes_max {
        os::limit_unsent(&socket, bytes)?;
    }
    if let Some(time) = options.silence_max {
        os::await_first_bytes(&socket, time)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

pub(crate) fn stream_socket(address: SocketAddr) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A stream socket that is connected to one of this machine, which takes no time: it is in the other's queue or is not.
pub(crate) fn unix_stream(path: &Path) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(socket),
        // What Linux says where the queue is full (connect(2), EAGAIN), and others refuse.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Full),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn datagram_socket(local: SocketAddr) -> Result<socket2::Socket> {
    open_datagram_socket(local, |_| Ok(()))
}

/// Opens one datagram socket, after what is still to be said to it.
pub(crate) fn open_datagram_socket(
    local: SocketAddr,
    prepare: impl FnOnce(&socket2::Socket) -> io::Result<()>,
) -> Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    prepare(&socket)?;
    socket.bind(&local.into())?;
    Ok(socket)
}
