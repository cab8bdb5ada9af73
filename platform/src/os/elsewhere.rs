//! What all systems but Linux have in common, or do without.

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use super::Descriptor;
use crate::socket::{self, ListenOptions};
use crate::{Error, Result};

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

/// Datagrams come one by one.
pub(crate) fn join_datagrams(_descriptor: &Descriptor, _on: bool) -> Result<()> {
    Err(Error::Unsupported)
}

/// A number that nobody can guess.
pub(crate) fn random() -> u64 {
    getrandom::u64().expect("the system gives random numbers")
}

/// One listening socket, which all shards share: SO_REUSEPORT does not exist (Windows), or gives all connections to one of
/// the sockets (macOS). Whichever shard is awake first takes a connection.
pub(crate) fn listeners(address: SocketAddr, count: usize, options: &ListenOptions) -> Result<Vec<socket2::Socket>> {
    let socket = socket::open_listener(address, options, |_| Ok(()))?;
    Ok((0..count).map(|_| socket.try_clone()).collect::<std::io::Result<_>>()?)
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
