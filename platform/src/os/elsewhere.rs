//! What all systems but Linux have in common, or do without.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::Descriptor;
use crate::socket::{self, DatagramOptions, ListenOptions};
use crate::{Error, Result, Socket};

/// A number in the kernel that wake-ups go through. There is none: pollers have wake-ups of their own.
#[derive(Debug)]
pub(crate) enum Event {}

impl Event {
    pub(crate) fn new() -> Result<Self> {
        Err(Error::Unsupported)
    }

    pub(crate) fn raise(&self) {
        match *self {}
    }
}

/// Both ends of a pipe between files and sockets. There is none: what a file has is read and sent.
#[derive(Debug)]
pub(crate) enum PipeEnds {}

impl PipeEnds {
    pub(crate) fn open() -> Result<Self> {
        Err(Error::Unsupported)
    }

    pub(crate) fn room(&self) -> usize {
        match *self {}
    }

    pub(crate) fn load(&self, _file: &File, _offset: u64, _bytes: usize) -> io::Result<usize> {
        match *self {}
    }
}

/// Datagrams come without their ECN bits.
pub(crate) fn tell_ecn(_descriptor: &Descriptor, _on: bool) -> Result<()> {
    Err(Error::Unsupported)
}

/// Datagrams come without the address that they went to.
pub(crate) fn tell_local(_descriptor: &Descriptor, _on: bool) -> Result<()> {
    Err(Error::Unsupported)
}

/// Every system has its own way, and none is known here.
pub(crate) fn never_fragment(_descriptor: &Descriptor, _on: bool) -> Result<()> {
    Err(Error::Unsupported)
}

/// Datagrams come one by one.
pub(crate) fn join_datagrams(_descriptor: &Descriptor, _on: bool) -> Result<()> {
    Err(Error::Unsupported)
}

/// Fills it with what nobody can guess.
pub(crate) fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives random numbers");
}

/// One listening socket, which all shards share: SO_REUSEPORT does not exist (Windows), or gives all connections to one of
/// the sockets (macOS). Whichever shard is awake first takes a connection.
pub(crate) fn listeners(address: SocketAddr, count: usize, options: &ListenOptions) -> Result<Vec<socket2::Socket>> {
    let socket = socket::open_listener(address, options, |_| Ok(()))?;
    Ok((0..count).map(|_| socket.try_clone()).collect::<io::Result<_>>()?)
}

/// One datagram socket, which all shards share, for the same reason.
pub(crate) fn datagram_sockets(
    address: SocketAddr,
    count: usize,
    _options: &DatagramOptions,
) -> Result<Vec<socket2::Socket>> {
    let socket = socket::datagram_socket(address)?;
    Ok((0..count).map(|_| socket.try_clone()).collect::<io::Result<_>>()?)
}

pub(super) fn receive_without_waiting(descriptor: &Descriptor, buffer: &mut [u8]) -> io::Result<usize> {
    use std::io::Read;
    (&*socket2::SockRef::from(descriptor)).read(buffer)
}

/// Whether a connection waits to be accepted: not known without an accept.
pub(crate) fn has_connection(_listener: &Descriptor) -> bool {
    false
}

/// There are no groups: nothing spreads connections over several sockets of one address.
pub(crate) fn join_group(_socket: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

/// Connections are accepted as they come.
pub(crate) fn await_first_bytes(_socket: &socket2::Socket, _time: Duration) -> io::Result<()> {
    Ok(())
}

/// Its send buffer alone bounds what the kernel takes of a connection.
pub(crate) fn limit_unsent(_socket: &socket2::Socket, _bytes: u32) -> io::Result<()> {
    Ok(())
}

pub(crate) fn is_in_group(_socket: &Descriptor) -> bool {
    false
}

/// How to find out who listens on a port.
pub(crate) fn find_listener(port: u16) -> String {
    format!("netstat -an | grep {port}")
}

/// Asks for a CPU. macOS takes it as a hint, some systems not at all, so there is nothing to report. Windows knows a CPU as
/// a bit of a word, and one beyond it not at all.
pub(crate) fn pin(cpu: usize) -> bool {
    if cpu < u64::BITS as usize {
        core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    }
    true
}

/// The connection between a process and its successor. There is none here: no process can be started that takes over another's
/// sockets.
#[derive(Debug)]
pub enum Cord {}

impl Cord {
    /// Errors: always `Unsupported`.
    pub fn tie(_successor: &mut Command) -> io::Result<Cord> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux passes listening sockets on here"))
    }

    /// None.
    pub fn of_predecessor() -> io::Result<Option<Cord>> {
        Ok(None)
    }

    /// Never called.
    pub fn send(&self, _text: &str, _sockets: &[Socket]) -> io::Result<()> {
        match *self {}
    }

    /// Never called.
    pub fn receive(&self, _time_max: Option<Duration>) -> io::Result<Option<(String, Vec<Socket>)>> {
        match *self {}
    }
}

/// The way of datagrams between a process and its successor, of which there is none.
#[derive(Debug)]
pub enum Ferry {}

impl Ferry {
    /// Errors: always `Unsupported`.
    pub fn pair() -> Result<(Ferry, Socket)> {
        Err(Error::Unsupported)
    }

    /// Errors: always `Unsupported`.
    pub fn of(_socket: Socket) -> Result<Ferry> {
        Err(Error::Unsupported)
    }

    /// Never called.
    pub fn send(&self, _head: &[u8], _data: &[u8]) -> io::Result<()> {
        match *self {}
    }

    /// Never called.
    pub fn receive(&self, _room: &mut [u8]) -> io::Result<Option<usize>> {
        match *self {}
    }
}

/// The service manager. None speaks as systemd does.
#[derive(Debug)]
pub enum Manager {}

impl Manager {
    /// None.
    pub fn of_process() -> io::Result<Option<Manager>> {
        Ok(None)
    }

    /// Never called.
    pub fn tell(&self, _state: &str) -> io::Result<()> {
        match *self {}
    }

    /// Never called.
    pub fn watchdog_time(&self) -> Option<Duration> {
        match *self {}
    }

    /// Nobody asks.
    pub fn monotonic_time() -> Duration {
        Duration::ZERO
    }
}

/// None.
pub fn service_sockets() -> std::result::Result<Vec<(String, Socket)>, String> {
    Ok(Vec::new())
}

/// There is nothing to keep.
pub fn keep_from(_successor: &mut Command) {}
