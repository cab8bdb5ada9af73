//! [`UdpSocket`]: datagrams on a shard.
//!
//! It receives into the shard's large buffers, where the kernel may have joined several datagrams of one sender, and lends
//! them out. What it sends lies in datagrams that go round: whoever has something to send asks for a spare one, and gets
//! none while as many are on their way as may be. Nobody is woken when one has left; it is taken back when the next is asked
//! for, or when somebody waits for room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use platform::{Completion, Datagram, Group, Message, Op, Outcome, Socket, SocketOption};
use shards::{Operation, Shard};

use crate::limits::{
    DATAGRAM_RECEIVE_BUFFER_BYTES, DATAGRAM_SPARE_BYTES_MAX, DATAGRAMS_IN_FLIGHT_MAX, QUIC_SEGMENTS_MAX,
};
use crate::tcp::{Owned, start};
use crate::{NetStats, Result};

/// A UDP socket. Dropping it closes it once the kernel is done with what was started.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    // In this order: what is in flight is given up before the handle is closed.
    receiving: RefCell<Option<Operation>>,
    sending: RefCell<Sending>,
    socket: Owned,
    /// No datagram is cut into fragments on its way.
    never_fragments: bool,
    /// The way out takes several datagrams as one.
    takes_batches: Cell<bool>,
    /// No more is received than what the kernel has taken already.
    is_stopped: Cell<bool>,
    stats: Arc<NetStats>,
}

#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "a datagram moves between here and the kernel by pointer, not by copy")]
struct Sending {
    /// In the order in which they were started, which is nearly always that in which they end; whether each is a batch.
    in_flight: VecDeque<(Operation, bool)>,
    spares: Vec<Box<Datagram>>,
}

impl UdpSocket {
    /// Opens a socket at an address; port zero lets the kernel choose.
    ///
    /// Errors: the address is in use or not of this machine, no descriptor.
    pub(crate) fn bind(shard: &Shard, address: SocketAddr, stats: Arc<NetStats>) -> Result<Self> {
        let handle = shard.with_reactor(|reactor| reactor.datagram_socket(address))?;
        Ok(Self::new(Owned { shard: shard.clone(), handle }, stats))
    }

    /// Takes over a socket that was opened elsewhere.
    ///
    /// Errors: the shard has as many handles as it admits; the socket is closed.
    pub(crate) fn adopt(shard: &Shard, socket: Socket, stats: Arc<NetStats>) -> Result<Self> {
        let handle = shard.with_reactor(|reactor| reactor.adopt(socket))?;
        Ok(Self::new(Owned { shard: shard.clone(), handle }, stats))
    }

    fn new(socket: Owned, stats: Arc<NetStats>) -> Self {
        let can = |option| socket.shard.with_reactor(|reactor| reactor.set_option(socket.handle, option)).is_ok();
        // Where the system cannot, datagrams come one by one and tell less: slower, and all the same.
        let options = [
            SocketOption::TellEcn(true),
            SocketOption::TellLocal(true),
            SocketOption::JoinDatagrams(true),
            SocketOption::ReceiveBuffer(DATAGRAM_RECEIVE_BUFFER_BYTES),
        ];
        for option in options {
            can(option);
        }
        let never_fragments = can(SocketOption::NeverFragment(true));
        let (receiving, sending, takes_batches) = (RefCell::default(), RefCell::default(), Cell::new(true));
        let is_stopped = Cell::default();
        UdpSocket { receiving, sending, socket, never_fragments, takes_batches, is_stopped, stats }
    }

    /// Whether a datagram that is too large for the path is lost, instead of cut: then larger ones may be tried.
    pub(crate) fn never_fragments(&self) -> bool {
        self.never_fragments
    }

    /// Datagrams that a batch may have.
    pub(crate) fn batch_max(&self) -> usize {
        if self.takes_batches.get() { QUIC_SEGMENTS_MAX } else { 1 }
    }

    /// The address of this side.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        Ok(self.socket.shard.with_reactor(|reactor| reactor.local_address(self.socket.handle))?)
    }

    /// The next datagram, or several of one sender. The receive stays armed between calls.
    ///
    /// Errors: memory or buffers have run out. The next call begins anew, so pause before it.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<Box<Message>>> {
        let mut receiving = self.receiving.borrow_mut();
        loop {
            if receiving.is_none() {
                if self.is_stopped.get() {
                    return Poll::Pending;
                }
                let op = Op::ReceiveMessage { socket: self.socket.handle, group: Group::Bulk };
                *receiving = Some(start(&self.socket.shard, op)?);
            }
            let Some(operation) = &mut *receiving else { unreachable!("it has been started") };
            let completion = ready!(operation.poll_next(cx));
            if !completion.more {
                *receiving = None;
            }
            match completion.result {
                Ok(Outcome::Message(message)) => return Poll::Ready(Ok(message)),
                Ok(other) => unreachable!("a receive of datagrams gives {other:?}"),
                // An earlier send met a closed port: its sender learns that by silence.
                Err(platform::Error::Refused) => {}
                Err(_) if self.is_stopped.get() => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Receives no more than what the kernel has taken already, which is still to be asked for.
    pub(crate) fn stop(&self) {
        if !self.is_stopped.replace(true)
            && let Some(operation) = &mut *self.receiving.borrow_mut()
        {
            operation.cancel();
        }
    }

    /// Whether nothing more comes of it.
    pub(crate) fn has_stopped(&self) -> bool {
        self.is_stopped.get() && self.receiving.borrow().is_none()
    }

    /// An empty datagram to send, used before if there is one; `None` while as many are on their way as may be: then
    /// [`poll_room`](UdpSocket::poll_room) says when to ask again.
    pub(crate) fn spare(&self) -> Option<Box<Datagram>> {
        let mut sending = self.sending.borrow_mut();
        if sending.in_flight.len() >= DATAGRAMS_IN_FLIGHT_MAX || sending.spares.is_empty() {
            while let Some((first, is_batch)) = sending.in_flight.front_mut()
                && let Some(completion) = first.try_next()
            {
                let is_batch = *is_batch;
                sending.in_flight.pop_front();
                self.sent(&mut sending, completion, is_batch);
            }
        }
        if sending.in_flight.len() >= DATAGRAMS_IN_FLIGHT_MAX {
            return None;
        }
        let spare = sending.spares.pop();
        Some(spare.unwrap_or_else(|| {
            Box::new(Datagram { peer: None, source: None, data: Vec::new(), segment: None, ecn: 0 })
        }))
    }

    /// Takes back one that was not sent.
    pub(crate) fn keep(&self, spare: Box<Datagram>) {
        self.sending.borrow_mut().keep(spare);
    }

    /// Sends a datagram that was a spare. It leaves with the end of the turn; if it does not, that is as if it were lost on
    /// the way.
    pub(crate) fn send(&self, message: Box<Datagram>) {
        let count = message.segment.map_or(1, |size| message.data.len().div_ceil(usize::from(size).max(1)));
        self.stats.datagrams_sent.add(count as u64);
        self.stats.datagram_bytes_sent.add(message.data.len() as u64);
        self.stats.datagram_batches_sent.add(u64::from(count > 1));
        match start(&self.socket.shard, Op::SendMessage { socket: self.socket.handle, message }) {
            Ok(operation) => self.sending.borrow_mut().in_flight.push_back((operation, count > 1)),
            Err(_) => self.stats.datagrams_unsent.add(1),
        }
    }

    /// Ready once a datagram can be sent.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut sending = self.sending.borrow_mut();
        while sending.in_flight.len() >= DATAGRAMS_IN_FLIGHT_MAX {
            let Some((first, is_batch)) = sending.in_flight.front_mut() else { break };
            let (completion, is_batch) = (ready!(first.poll_next(cx)), *is_batch);
            sending.in_flight.pop_front();
            self.sent(&mut sending, completion, is_batch);
        }
        Poll::Ready(())
    }

    fn sent(&self, sending: &mut Sending, completion: Completion, is_batch: bool) {
        match completion.result {
            Ok(Outcome::SentMessage { message, .. }) => sending.keep(message),
            Ok(other) => unreachable!("a send of datagrams ends with {other:?}"),
            // A device that computes no checksums takes none (EIO), nor does one whose packets have become smaller (EINVAL).
            Err(platform::Error::Invalid | platform::Error::Os(_)) if is_batch => {
                if self.takes_batches.replace(false) {
                    tracing::warn!("datagrams leave one by one from here on: the way out takes no batches");
                }
                self.stats.datagrams_unsent.add(1);
            }
            // No way to there, or too large for the way: as good as lost, and whoever counts on it has a timer.
            Err(_) => self.stats.datagrams_unsent.add(1),
        }
    }
}

impl Sending {
    fn keep(&mut self, mut spare: Box<Datagram>) {
        if self.spares.len() < DATAGRAMS_IN_FLIGHT_MAX && spare.data.capacity() <= DATAGRAM_SPARE_BYTES_MAX {
            spare.data.clear();
            self.spares.push(spare);
        }
    }
}

#[cfg(test)]
mod tests;
