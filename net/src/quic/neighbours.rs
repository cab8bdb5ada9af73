//! Datagrams that have come to the wrong place, on their way to the right one: the endpoint of another shard at the same address,
//! or that of the process before or after this one.
//!
//! The one idea: an id says who has made it, so whoever receives a datagram knows where it belongs without a table. Between shards
//! it goes by a cast, and between processes by a ferry; both have a bound, and drop what is beyond it, as any queue on the way
//! would.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use shards::{Kept, Neighbour, Shard, Stray, Strays};

use super::cid::Ids;
use super::endpoint::Shared;
use super::steer::{Whose, whose};

/// Where datagrams of a server's address belong that have come here.
pub(super) struct Neighbours {
    ids: Ids,
    /// Tells the address from others: the same on every shard.
    number: usize,
    strays: Option<Strays>,
    /// What a successor gets of the sockets.
    kept: Kept,
}

/// What is known of a datagram besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) peer: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) ecn: u8,
}

/// The endpoints of a shard, by the numbers of their addresses.
#[derive(Default)]
struct Directory(RefCell<Vec<(usize, Weak<Shared>)>>);

impl Neighbours {
    pub(super) fn new(shard: &Shard, number: usize, strays: Option<Strays>, kept: Kept) -> Self {
        Neighbours { ids: Ids::of(shard), number, strays, kept }
    }

    /// From now on the endpoint gets what other shards have received for it.
    pub(super) fn enter(&self, endpoint: &Rc<Shared>) {
        let directory = endpoint.shard.local(Directory::default);
        let mut all = directory.0.borrow_mut();
        all.retain(|(number, known)| *number != self.number && known.strong_count() > 0);
        all.push((self.number, Rc::downgrade(endpoint)));
    }

    /// Passes a datagram on that belongs to another. False if it belongs here, or to nobody: also one of a process that is gone,
    /// whose peer learns that here.
    pub(super) fn pass_on(&self, endpoint: &Shared, data: &[u8], label: Label) -> bool {
        let stats = &endpoint.stats;
        let Label { peer, local, ecn } = label;
        let stray = || Stray { data: Bytes::copy_from_slice(data), peer, local, ecn };
        match whose(&self.ids, data) {
            Whose::Mine | Whose::Unknown => false,
            Whose::Shard(shard) => {
                let (number, stray) = (self.number, Box::new(stray()));
                let has_gone = endpoint.shard.cast(shard, move |there| receive(there, number, &stray)).is_ok();
                if has_gone {
                    stats.quic_passed_on.add(1)
                } else {
                    stats.quic_lost_on_the_way.add(1)
                }
                true
            }
            Whose::Predecessor(shard) => self.forward(endpoint, Neighbour::Predecessor, shard, &stray()),
            Whose::Successor(shard) => self.forward(endpoint, Neighbour::Successor, shard, &stray()),
        }
    }

    fn forward(&self, endpoint: &Shared, to: Neighbour, shard: usize, stray: &Stray) -> bool {
        let Some(strays) = self.strays.as_ref().filter(|strays| strays.has(to)) else { return false };
        match strays.forward(to, shard, stray) {
            true => endpoint.stats.quic_ferried.add(1),
            false => endpoint.stats.quic_lost_on_the_way.add(1),
        }
        true
    }

    // ---- beside another process --------------------------------------------------------------------------------------

    /// Ready when the sockets may be received from.
    pub(super) fn poll_begin(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.strays.as_ref().map_or(Poll::Ready(()), |strays| strays.poll_begin(cx))
    }

    /// The next datagram that another process has passed on.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Stray> {
        self.strays.as_ref().map_or(Poll::Pending, |strays| strays.poll_next(cx))
    }

    /// Whether a successor has the sockets, and waits until nobody here receives.
    pub(super) fn has_successor(&self) -> bool {
        self.kept.is_taken()
    }

    /// Nobody here receives any more.
    pub(super) fn stop(&self) {
        if let Some(strays) = &self.strays {
            strays.stop();
        }
    }
}

/// On the shard that a datagram belongs to.
fn receive(shard: &Shard, number: usize, stray: &Stray) {
    let directory = shard.local(Directory::default);
    let endpoint =
        directory.0.borrow().iter().find(|(known, _)| *known == number).and_then(|(_, known)| known.upgrade());
    if let Some(endpoint) = endpoint {
        endpoint.receive_stray(stray);
    }
}
