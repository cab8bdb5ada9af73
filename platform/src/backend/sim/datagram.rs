//! UDP: datagrams that arrive whole, late, out of order, or not at all.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use super::limits::{BUFFER_BYTES_MIN, DATAGRAM_BYTES_MAX, DATAGRAM_QUEUE_BYTES_MAX, DATAGRAM_SEGMENTS_MAX};
use super::machine::{Event, SimDescriptor, World};
use super::network::{Kind, Protocol, bound_for, destination, seen_from};
use crate::arena::Key;
use crate::op::Datagram;
use crate::os::{code, error_of};
use crate::socket::SocketOption;
use crate::{Error, Result};

/// A datagram socket.
pub(super) struct Datagrams {
    pub(super) local: SocketAddr,
    /// Where it sends to, and whom alone it hears, once it is connected.
    pub(super) peer: Option<SocketAddr>,
    queue: VecDeque<Packet>,
    /// Bytes in the queue.
    queued_bytes: usize,
    queued_bytes_max: usize,
    /// Messages come with the address that they went to.
    tells_local: bool,
    /// A closed port was met, and nobody has been told.
    error: Option<Error>,
}

impl Datagrams {
    fn new(local: SocketAddr) -> Self {
        Datagrams {
            local,
            peer: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_bytes_max: DATAGRAM_QUEUE_BYTES_MAX,
            tells_local: false,
            error: None,
        }
    }

    pub(super) fn set_option(&mut self, option: SocketOption) {
        match option {
            SocketOption::ReceiveBuffer(bytes) => self.queued_bytes_max = bytes.max(BUFFER_BYTES_MIN),
            SocketOption::TellLocal(on) => self.tells_local = on,
            // ECN bits are always told, and no datagram is too large for any path here.
            _ => {}
        }
    }
}

/// A datagram on its way or in a queue.
#[derive(Clone)]
pub(super) struct Packet {
    sender: Key,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) data: Vec<u8>,
    pub(super) ecn: u8,
}

impl World {
    /// Opens sockets that share an address.
    pub(super) fn bind_datagrams(&mut self, local: SocketAddr, count: usize) -> Result<Vec<SimDescriptor>> {
        let local = self.bindable(Protocol::Datagram, local)?;
        let open = |_| {
            let descriptor = self.open(Kind::Datagrams(Box::new(Datagrams::new(local))))?;
            self.trace.record(self.now, "bind", descriptor.node, local.port().into());
            self.ports.datagrams.entry(local).or_default().push(descriptor.node);
            Ok(descriptor)
        };
        (0..count).map(open).collect()
    }

    /// One of the sockets that share the address where a datagram leads, always the same for the same two addresses.
    fn choose_socket(&self, packet: &Packet) -> Option<Key> {
        let sockets = bound_for(packet.to).into_iter().find_map(|bound| self.ports.datagrams.get(&bound))?;
        let hears = |node: &Key| match self.kind(*node) {
            Ok(Kind::Datagrams(socket)) => socket.peer.is_none_or(|peer| destination(peer) == packet.from),
            _ => false,
        };
        let hearing: Vec<Key> = sockets.iter().copied().filter(hears).collect();
        let place = hash(&[packet.from, packet.to]).checked_rem(hearing.len() as u64)?;
        hearing.get(place as usize).copied()
    }

    /// A datagram socket is closed.
    pub(super) fn close_datagrams(&mut self, node: Key) {
        let Some(Kind::Datagrams(socket)) = self.nodes.remove(node).map(|node| node.kind) else { return };
        if let Some(sockets) = self.ports.datagrams.get_mut(&socket.local) {
            sockets.retain(|&other| other != node);
            if sockets.is_empty() {
                self.ports.datagrams.remove(&socket.local);
            }
        }
    }

    pub(super) fn connect_datagrams(&mut self, node: Key, peer: SocketAddr) -> Result<()> {
        self.datagrams_mut(node)?.peer = Some(peer);
        Ok(())
    }

    /// Sends a datagram, or each of a batch, and says how many bytes that were.
    pub(super) fn send_message(&mut self, node: Key, message: &Datagram) -> Result<usize> {
        let socket = self.datagrams_mut(node)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let (local, peer) = (socket.local, message.peer.or(socket.peer));
        let to = destination(peer.ok_or(error_of(code::EDESTADDRREQ))?);
        if local.is_ipv4() && to.is_ipv6() {
            return Err(error_of(code::EAFNOSUPPORT));
        }
        if message.data.len() > DATAGRAM_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let size = message.segment.map_or(DATAGRAM_BYTES_MAX, usize::from).max(1);
        if message.data.len().div_ceil(size) > DATAGRAM_SEGMENTS_MAX {
            return Err(Error::Invalid);
        }
        let from = match message.source {
            Some(source) => destination(SocketAddr::new(source, local.port())),
            None => source(local, to),
        };
        let mut parts = message.data.chunks(size);
        // A datagram without bytes is a datagram.
        let first = parts.next().unwrap_or_default();
        for data in std::iter::once(first).chain(parts) {
            let packet = Packet { sender: node, from, to, data: data.to_vec(), ecn: message.ecn & 3 };
            self.carry(packet);
        }
        self.trace.record(self.now, "send-message", node, message.data.len() as u64);
        Ok(message.data.len())
    }

    /// Sends a datagram on its way, on which it may be lost, doubled or spoilt.
    fn carry(&mut self, mut packet: Packet) {
        let delivery = self.chance.delivery(packet.data.len());
        if delivery.is_lost {
            return self.trace.record(self.now, "lost", packet.sender, packet.data.len() as u64);
        }
        if let Some(bit) = delivery.wrong_bit {
            packet.data[bit / 8] ^= 1 << (bit % 8);
            self.trace.record(self.now, "corrupt", packet.sender, bit as u64);
        }
        if delivery.is_doubled {
            self.trace.record(self.now, "doubled", packet.sender, packet.data.len() as u64);
            let arrival = self.now + self.chance.datagram_travel();
            self.schedule(arrival, Event::Packet(packet.clone()));
        }
        let arrival = self.now + self.chance.datagram_travel();
        self.schedule(arrival, Event::Packet(packet));
    }

    /// The size of the next datagram to read, if there is one. A failure is told once.
    pub(super) fn find_packet(&mut self, node: Key) -> Result<Option<usize>> {
        let socket = self.datagrams_mut(node)?;
        match socket.error.take() {
            Some(error) => Err(error),
            None => Ok(socket.queue.front().map(|packet| packet.data.len())),
        }
    }

    /// Takes the next datagram, and the address that it went to if the socket tells that.
    pub(super) fn take_packet(&mut self, node: Key) -> Option<(Packet, Option<IpAddr>)> {
        let socket = self.datagrams_mut(node).ok()?;
        let packet = socket.queue.pop_front()?;
        socket.queued_bytes -= packet.data.len();
        let local = socket.tells_local.then(|| packet.to.ip());
        Some((packet, local))
    }

    /// A datagram has arrived.
    pub(super) fn packet(&mut self, mut packet: Packet) {
        let Some(receiver) = self.choose_socket(&packet) else {
            self.trace.record(self.now, "no-port", packet.sender, packet.to.port().into());
            let at = self.now + self.chance.travel();
            self.schedule(at, Event::Unreachable { to: packet.sender });
            return;
        };
        let Ok(socket) = self.datagrams_mut(receiver) else { return };
        if socket.queued_bytes + packet.data.len() > socket.queued_bytes_max {
            self.trace.record(self.now, "drop", receiver, packet.data.len() as u64);
            return;
        }
        (packet.from, packet.to) = (seen_from(socket.local, packet.from), seen_from(socket.local, packet.to));
        socket.queued_bytes += packet.data.len();
        self.trace.record_bytes(self.now, "message", receiver, &packet.data);
        let Ok(socket) = self.datagrams_mut(receiver) else { return };
        socket.queue.push_back(packet);
        self.mark(receiver);
    }

    /// The sender learns of a closed port, if it is connected; others are not told, as on Linux.
    pub(super) fn unreachable(&mut self, to: Key) {
        let Ok(socket) = self.datagrams_mut(to) else { return };
        if socket.peer.is_some() {
            socket.error = Some(Error::Refused);
            self.trace.record(self.now, "unreachable", to, 0);
            self.mark(to);
        }
    }

    fn datagrams_mut(&mut self, node: Key) -> Result<&mut Datagrams> {
        match &mut self.nodes.get_mut(node).ok_or(Error::Closed)?.kind {
            Kind::Datagrams(datagrams) => Ok(datagrams),
            Kind::File(_) => Err(error_of(code::ENOTSOCK)),
            Kind::Stream(_) | Kind::Listener(_) => Err(Error::NotConnected),
        }
    }
}

/// A number that differs when any of the addresses does (FNV-1a, its best bits).
fn hash(addresses: &[SocketAddr]) -> u64 {
    let bytes = addresses.iter().flat_map(|address| {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        ip.octets().into_iter().chain(address.port().to_be_bytes())
    });
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// Where a datagram comes from: the address its sender is bound to, or where it goes if that is none in particular.
fn source(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if local.ip().is_unspecified() { to.ip() } else { local.ip() };
    SocketAddr::new(ip, local.port())
}
