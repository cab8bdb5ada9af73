//! What all sockets have in common: the table of nodes, addresses and ports, options, and what closing means.
//!
//! The network is one host on which every address is local, as on a loopback device: whoever connects to an address is
//! seen to come from that same address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use super::datagram::Datagrams;
use super::disk::Opened;
use super::limits::{BUFFER_BYTES_MIN, PORTS_CHOSEN};
use super::machine::{ShardId, World};
use super::stream::{Listener, Stream};
use crate::arena::Key;
use crate::os::{code, error_of};
use crate::socket::SocketOption;
use crate::{Error, Result};

/// One socket or open file.
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The shard that last began something on it, and is told what happens to it.
    pub(super) shard: Option<ShardId>,
    /// It is among its shard's news already.
    pub(super) listed: bool,
    /// Completions that are on their way to the shard.
    pub(super) landings: u32,
    /// When the last of them lands.
    pub(super) landed_at: Duration,
    /// Its last receive found no buffer by chance: the next does not.
    pub(super) has_starved: bool,
}

impl Node {
    pub(super) fn new(kind: Kind) -> Self {
        Node { kind, shard: None, listed: false, landings: 0, landed_at: Duration::ZERO, has_starved: false }
    }
}

pub(super) enum Kind {
    Stream(Box<Stream>),
    Listener(Listener),
    Datagrams(Box<Datagrams>),
    File(Opened),
}

/// Who is bound to which address.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) listeners: BTreeMap<SocketAddr, Vec<Key>>,
    pub(super) datagrams: BTreeMap<SocketAddr, Vec<Key>>,
    /// Where to look first for the next free port.
    last: u16,
}

/// The two kinds of ports.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    Stream,
    Datagram,
}

impl World {
    /// The address to bind to: with a port if none was named.
    ///
    /// Errors: `AddressInUse`.
    pub(super) fn bindable(&mut self, protocol: Protocol, address: SocketAddr) -> Result<SocketAddr> {
        if address.port() != 0 {
            let free = !self.ports.is_taken(protocol, address);
            return if free { Ok(address) } else { Err(Error::AddressInUse) };
        }
        if self.ports.last == 0 {
            self.ports.last = PORTS_CHOSEN.start + self.chance.pick(PORTS_CHOSEN.len()) as u16;
        }
        for _ in PORTS_CHOSEN {
            let next = self.ports.last + 1;
            self.ports.last = if PORTS_CHOSEN.contains(&next) { next } else { PORTS_CHOSEN.start };
            let address = SocketAddr::new(address.ip(), self.ports.last);
            if !self.ports.is_taken(protocol, address) {
                return Ok(address);
            }
        }
        Err(Error::AddressInUse)
    }

    pub(super) fn local_address(&self, node: Key) -> Result<SocketAddr> {
        match self.kind(node)? {
            Kind::Stream(stream) => Ok(stream.local),
            Kind::Listener(listener) => Ok(listener.local),
            Kind::Datagrams(datagrams) => Ok(datagrams.local),
            Kind::File(_) => Err(error_of(code::ENOTSOCK)),
        }
    }

    pub(super) fn peer_address(&self, node: Key) -> Result<SocketAddr> {
        match self.kind(node)? {
            Kind::Stream(stream) => stream.connected_peer().ok_or(Error::NotConnected),
            Kind::Listener(_) => Err(Error::NotConnected),
            Kind::Datagrams(datagrams) => datagrams.peer.ok_or(Error::NotConnected),
            Kind::File(_) => Err(error_of(code::ENOTSOCK)),
        }
    }

    pub(super) fn shutdown(&mut self, node: Key, how: Shutdown) -> Result<()> {
        match self.kind(node)? {
            Kind::Stream(_) => self.shutdown_stream(node, how),
            Kind::Listener(_) => Err(Error::NotConnected),
            Kind::Datagrams(_) => Err(Error::Unsupported),
            Kind::File(_) => Err(error_of(code::ENOTSOCK)),
        }
    }

    pub(super) fn set_option(&mut self, node: Key, option: SocketOption) -> Result<()> {
        let stream = match &mut self.nodes.get_mut(node).ok_or(Error::Closed)?.kind {
            Kind::Stream(stream) => stream,
            Kind::Listener(_) => return Ok(()),
            Kind::Datagrams(datagrams) => {
                datagrams.set_option(option);
                return Ok(());
            }
            Kind::File(_) => return Err(error_of(code::ENOTSOCK)),
        };
        match option {
            SocketOption::SendBuffer(bytes) => stream.send_max = bytes.max(BUFFER_BYTES_MIN),
            SocketOption::ReceiveBuffer(bytes) => stream.receive_max = bytes.max(BUFFER_BYTES_MIN),
            SocketOption::Linger(time) => stream.reset_on_close = time.is_some_and(|time| time.is_zero()),
            SocketOption::KeepAlive(idle) => {
                stream.keep_alive = idle;
                self.foresee_end(node);
            }
            // Segments are never held back here.
            SocketOption::NoDelay(_) => {}
            SocketOption::TellEcn(_)
            | SocketOption::JoinDatagrams(_)
            | SocketOption::TellLocal(_)
            | SocketOption::NeverFragment(_) => return Err(Error::Unsupported),
        }
        Ok(())
    }

    /// The descriptor is gone.
    pub(super) fn close(&mut self, key: Key) {
        let Some(node) = self.nodes.get(key) else { return };
        self.trace.record(self.now, "close", key, 0);
        match &node.kind {
            Kind::Stream(_) => self.close_stream(key),
            Kind::Listener(_) => self.close_listener(key),
            Kind::Datagrams(_) => self.close_datagrams(key),
            Kind::File(_) => drop(self.nodes.remove(key)),
        }
    }

    /// Whether a node lives on though its descriptor is closed.
    pub(super) fn is_orphan(&self, node: Key) -> bool {
        matches!(self.kind(node), Ok(Kind::Stream(stream)) if stream.closed)
    }

    pub(super) fn kind(&self, node: Key) -> Result<&Kind> {
        self.nodes.get(node).map(|node| &node.kind).ok_or(Error::Closed)
    }
}

impl Ports {
    /// Whether somebody is bound to an address that has an address in common with this one.
    fn is_taken(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let overlaps = |bound: &SocketAddr| covers(*bound, address) || covers(address, *bound);
        match protocol {
            Protocol::Stream => self.listeners.keys().any(overlaps),
            Protocol::Datagram => self.datagrams.keys().any(overlaps),
        }
    }
}

/// The addresses under which somebody may be bound who is reached at `to`, the most precise first.
pub(super) fn bound_for(to: SocketAddr) -> [SocketAddr; 3] {
    let any = |ip: IpAddr| SocketAddr::new(ip, to.port());
    let same = if to.is_ipv4() { any(Ipv4Addr::UNSPECIFIED.into()) } else { any(Ipv6Addr::UNSPECIFIED.into()) };
    [SocketAddr::new(to.ip(), to.port()), same, any(Ipv6Addr::UNSPECIFIED.into())]
}

/// Whether a socket bound here is reached at `to`.
fn covers(bound: SocketAddr, to: SocketAddr) -> bool {
    bound_for(to).iter().any(|reached| reached.ip() == bound.ip() && reached.port() == bound.port())
}

/// Where a packet to this address really goes: an unspecified address is this host, and an IPv4 address in IPv6 form is
/// an IPv4 address.
pub(super) fn destination(to: SocketAddr) -> SocketAddr {
    let ip = match to.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, to.port())
}

/// How an address looks to a socket that is bound here: an IPv6 socket sees IPv4 addresses in IPv6 form.
pub(super) fn seen_from(bound: SocketAddr, address: SocketAddr) -> SocketAddr {
    match (bound, address.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    }
}
