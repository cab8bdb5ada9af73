//! Strays: datagrams that reached one of two processes while the other has their connection, during a hot restart.
//!
//! Both have the same sockets, and only one receives from them: the predecessor until it drains, then the successor, which
//! begins when all shards of the other have stopped. So no datagram of a client that begins goes to one process, and the next of
//! the same client to the other. From then on the predecessor has its datagrams from the successor, over a [`Ferry`], and sends by
//! its own names of the sockets. What the ferry has no room for, or a shard's queue, is dropped.
//!
//! Whose a datagram is says whoever knows the protocol. Here a stray goes to a shard of the same address's, in the other process.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use platform::{Ferry, Socket};

use crate::limits::{STRAY_BYTES_MAX, STRAYS_MAX};

/// A datagram that reached the wrong process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The bytes of one datagram.
    pub data: Bytes,
    /// Who sent them.
    pub peer: SocketAddr,
    /// Which address of this machine it went to, if that is known.
    pub local: Option<IpAddr>,
    /// The two ECN bits of its IP header.
    pub ecn: u8,
}

/// The processes beside this one in a line of hot restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The one that this one takes over from.
    Predecessor,
    /// The one that takes over from this one.
    Successor,
}

/// One shard's part in the passing on of datagrams that came to an address.
pub struct Strays {
    ferries: Arc<Ferries>,
    crossing: Arc<Crossing>,
    shard: usize,
}

/// The ways to both neighbours, and all addresses that datagrams come to.
#[derive(Debug, Default)]
pub(crate) struct Ferries {
    /// By `Neighbour`.
    ends: Mutex<[Option<Arc<Ferry>>; 2]>,
    crossings: Mutex<Vec<Arc<Crossing>>>,
}

/// What the shards share of one address.
#[derive(Debug)]
struct Crossing {
    /// Its number among what this process keeps for a successor, and among what the predecessor has kept.
    number: usize,
    left_as: Option<usize>,
    boxes: Box<[Mailbox]>,
    /// Shards that may still receive from the sockets.
    receiving: AtomicUsize,
    /// The predecessor, if there was one, receives no more.
    may_begin: AtomicBool,
}

/// What has come for one shard.
#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<Mail>,
    dropped: AtomicU64,
    has_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Mail {
    strays: VecDeque<Stray>,
    /// Of the task that waits, for either.
    waker: Option<Waker>,
}

impl Strays {
    /// Ready when this process may receive from the sockets of the address: at once, unless a predecessor does, until that has
    /// stopped or ended. To be asked by the task that asks for [strays](Strays::poll_next).
    pub fn poll_begin(&self, cx: &mut Context<'_>) -> Poll<()> {
        let may_begin = || self.crossing.may_begin.load(Ordering::Acquire);
        if !may_begin() {
            self.mail().waker = Some(cx.waker().clone());
            // It may have been told in between.
            if !may_begin() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// This shard receives no more from the sockets that a successor has [taken](crate::Kept::is_taken), and nothing of what it
    /// has received is left. Dropping this says so too. Once all shards have, the successor begins.
    pub fn stop(&self) {
        let crossing = &self.crossing;
        if !crossing.boxes[self.shard].has_stopped.swap(true, Ordering::AcqRel)
            && crossing.receiving.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(ferry) = self.ferries.end(Neighbour::Successor)
        {
            // Without the successor nobody needs to know. One that has no room is told by the end of this process.
            let _ = ferry.send(&head(OVER, crossing.number, 0, None), &[]);
        }
    }

    /// Whether there is such a neighbour, as far as this process knows.
    pub fn has(&self, neighbour: Neighbour) -> bool {
        self.ferries.end(neighbour).is_some()
    }

    /// Passes a datagram on to a shard of a neighbour. False if it was dropped: there is no such neighbour, or no room.
    pub fn forward(&self, to: Neighbour, shard: usize, stray: &Stray) -> bool {
        let number = match to {
            Neighbour::Predecessor => self.crossing.left_as,
            Neighbour::Successor => Some(self.crossing.number),
        };
        let (Some(number), Some(ferry)) = (number, self.ferries.end(to)) else { return false };
        ferry.send(&head(STRAY, number, shard, Some(stray)), &stray.data).is_ok()
    }

    /// The next datagram that a neighbour has passed on to this shard.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Stray> {
        let mut mail = self.mail();
        match mail.strays.pop_front() {
            Some(stray) => Poll::Ready(stray),
            None => {
                mail.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        lock(&self.crossing.boxes[self.shard].state)
    }

    /// Datagrams for this shard that were dropped since as many waited as may.
    pub fn dropped(&self) -> u64 {
        self.crossing.boxes[self.shard].dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Strays {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ferries {
    /// Begins to pass on datagrams of an address, which a predecessor has left by a number of its own: each shard's part.
    pub(crate) fn cross(self: &Arc<Self>, number: usize, left_as: Option<usize>, shards: usize) -> Vec<Strays> {
        let mut crossings = lock(&self.crossings);
        let has_predecessor = left_as.is_some() && self.end(Neighbour::Predecessor).is_some();
        let crossing = Arc::new(Crossing {
            number,
            left_as,
            boxes: (0..shards).map(|_| Mailbox::default()).collect(),
            receiving: AtomicUsize::new(shards),
            may_begin: AtomicBool::new(!has_predecessor),
        });
        crossings.push(Arc::clone(&crossing));
        let part = |shard| Strays { ferries: Arc::clone(self), crossing: Arc::clone(&crossing), shard };
        (0..shards).map(part).collect()
    }

    /// Whether datagrams come to any address.
    pub(crate) fn is_needed(&self) -> bool {
        !lock(&self.crossings).is_empty()
    }

    /// Ties this process to a neighbour, and has a thread receive what that passes on, until it has gone.
    pub(crate) fn tie(self: &Arc<Self>, neighbour: Neighbour, ferry: Ferry) -> std::io::Result<()> {
        let (ferries, ferry) = (Arc::clone(self), Arc::new(ferry));
        lock(&self.ends)[neighbour as usize] = Some(Arc::clone(&ferry));
        let receive = move || {
            let mut room = vec![0; STRAY_BYTES_MAX];
            while let Ok(Some(bytes)) = ferry.receive(&mut room) {
                ferries.arrive(neighbour, &room[..bytes]);
            }
            ferries.untie(neighbour, &ferry);
        };
        let thread = std::thread::Builder::new().name("strays".to_owned()).spawn(receive);
        thread.map(drop).inspect_err(|_| lock(&self.ends)[neighbour as usize] = None)
    }

    /// The same with the end that a predecessor has left.
    pub(crate) fn tie_to_predecessor(self: &Arc<Self>, socket: Socket) -> std::io::Result<()> {
        let ferry = Ferry::of(socket).map_err(|error| std::io::Error::other(error.to_string()))?;
        self.tie(Neighbour::Predecessor, ferry)
    }

    fn untie(&self, neighbour: Neighbour, ferry: &Arc<Ferry>) {
        // Another successor may have been started since.
        lock(&self.ends)[neighbour as usize].take_if(|end| Arc::ptr_eq(end, ferry));
        if neighbour == Neighbour::Predecessor {
            // Those of the barrier that come later see that there is none.
            lock(&self.crossings).iter().for_each(|crossing| crossing.begin());
        }
    }

    fn end(&self, neighbour: Neighbour) -> Option<Arc<Ferry>> {
        lock(&self.ends)[neighbour as usize].clone()
    }

    /// Something has come from a neighbour. What is not understood is nothing.
    fn arrive(&self, from: Neighbour, message: &[u8]) {
        let Some((kind, number, shard, stray)) = read(message) else { return };
        let is_meant = |crossing: &&Arc<Crossing>| match from {
            Neighbour::Predecessor => crossing.left_as == Some(number),
            Neighbour::Successor => crossing.number == number,
        };
        let Some(crossing) = lock(&self.crossings).iter().find(is_meant).cloned() else { return };
        match (kind, stray) {
            (STRAY, Some(stray)) => crossing.deliver(shard, stray),
            (OVER, _) if from == Neighbour::Predecessor => crossing.begin(),
            _ => {}
        }
    }
}

impl Crossing {
    fn begin(&self) {
        self.may_begin.store(true, Ordering::Release);
        let waiting = self.boxes.iter().filter_map(|mailbox| lock(&mailbox.state).waker.take());
        waiting.for_each(Waker::wake);
    }

    fn deliver(&self, shard: usize, stray: Stray) {
        let Some(mailbox) = self.boxes.get(shard) else { return };
        let waker = {
            let mut mail = lock(&mailbox.state);
            if mail.strays.len() >= STRAYS_MAX {
                mailbox.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            mail.strays.push_back(stray);
            mail.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- what crosses ------------------------------------------------------------------------------------------------------

/// A datagram follows.
const STRAY: u8 = 0;
/// All shards of the predecessor have stopped.
const OVER: u8 = 1;

/// What comes before a datagram: what it is, the number of the address with the earlier of the two processes, the shard; then
/// the ECN bits, the peer's address, port and scope, and the local address, each address in IPv6 form behind its family.
pub(crate) const HEAD_BYTES: usize = 1 + 4 + 2 + 1 + 17 + 2 + 4 + 17;

fn head(kind: u8, number: usize, shard: usize, stray: Option<&Stray>) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let mut place = 0;
    let mut put = |bytes: &[u8]| {
        head[place..place + bytes.len()].copy_from_slice(bytes);
        place += bytes.len();
    };
    put(&[kind]);
    put(&(number as u32).to_be_bytes());
    put(&(shard as u16).to_be_bytes());
    if let Some(stray) = stray {
        put(&[stray.ecn]);
        put(&address(Some(stray.peer.ip())));
        put(&stray.peer.port().to_be_bytes());
        put(&if let SocketAddr::V6(peer) = stray.peer { peer.scope_id() } else { 0 }.to_be_bytes());
        put(&address(stray.local));
    }
    head
}

fn read(message: &[u8]) -> Option<(u8, usize, usize, Option<Stray>)> {
    let (mut head, data) = message.split_at_checked(HEAD_BYTES)?;
    let kind = u8::from_be_bytes(take(&mut head)?);
    let number = u32::from_be_bytes(take(&mut head)?) as usize;
    let shard = usize::from(u16::from_be_bytes(take(&mut head)?));
    let [ecn] = take(&mut head)?;
    let ip = read_address(take(&mut head)?);
    let port = u16::from_be_bytes(take(&mut head)?);
    let scope = u32::from_be_bytes(take(&mut head)?);
    let local = read_address(take(&mut head)?);
    let stray = ip.map(|ip| {
        let peer = match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
        };
        Stray { data: Bytes::copy_from_slice(data), peer, local, ecn: ecn & 3 }
    });
    Some((kind, number, shard, stray))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

fn address(ip: Option<IpAddr>) -> [u8; 17] {
    let (family, octets) = match ip {
        None => (0, [0; 16]),
        Some(IpAddr::V4(ip)) => (4, ip.to_ipv6_mapped().octets()),
        Some(IpAddr::V6(ip)) => (6, ip.octets()),
    };
    let mut bytes = [family; 17];
    bytes[1..].copy_from_slice(&octets);
    bytes
}

fn read_address([family, octets @ ..]: [u8; 17]) -> Option<IpAddr> {
    let ip = Ipv6Addr::from(octets);
    match family {
        4 => ip.to_ipv4_mapped().map(IpAddr::V4),
        6 => Some(ip.into()),
        _ => None,
    }
}

impl fmt::Debug for Strays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strays")
            .field("number", &self.crossing.number)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
