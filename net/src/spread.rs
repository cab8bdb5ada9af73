//! How the connections of an address come to the shards: by the kernel's choice, or by ours.
//!
//! The kernel spreads connections over the sockets of a group without knowing how many each shard has, so long-lived ones may
//! pile up on one. The other way, one shard accepts and hands each connection to the shard that has the fewest.
//!
//! The one idea of that: the shard that accepts counts a connection when it assigns it, not when it arrives, so a burst is
//! spread although none has arrived yet; and each shard counts those that have ended in a counter of its own, which the other
//! reads. What is open is the difference, and no message says so. The socket itself travels over the mesh.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use platform::Socket;
use shards::{Shard, Sleep, Tally};

use crate::TcpStream;
use crate::limits::HAND_OVER_WAIT_MAX;
use crate::stats::NetStats;

/// How the connections of an address are spread over the shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// Each shard listens, and the kernel chooses among them (on Linux; elsewhere whichever is awake first accepts). The
    /// cheapest, and even enough where connections are many or short.
    #[default]
    ByKernel,
    /// The first shard accepts for all, and each connection goes to the shard that has the fewest open. For connections that
    /// last. It costs a message and a wake-up for each connection.
    ByLoad,
}

// ---- the shard that accepts --------------------------------------------------------------------------------------------

/// Assigns connections to shards.
#[derive(Debug)]
pub(crate) struct Spreader {
    shard: Shard,
    number: usize,
    tallies: Arc<[Tally]>,
    /// How many each shard was given.
    assigned: Vec<u64>,
    stats: Arc<NetStats>,
    has_said_end: bool,
}

impl Spreader {
    pub(crate) fn new(shard: &Shard, number: usize, tallies: Arc<[Tally]>, stats: Arc<NetStats>) -> Self {
        let assigned = vec![0; tallies.len()];
        Spreader { shard: shard.clone(), number, tallies, assigned, stats, has_said_end: false }
    }

    /// Whether every shard that takes connections has as many as it admits.
    pub(crate) fn is_full(&self, connections_max: usize) -> bool {
        self.open().all(|(_, open)| open >= connections_max as u64)
    }

    /// Gives a connection to the shard with the fewest. It comes back, with its seat, if that is this one.
    pub(crate) fn assign(&mut self, stream: TcpStream) -> Option<(TcpStream, Seat)> {
        let here = self.shard.number();
        let mut refused = Vec::new();
        let mut shard = self.choose(&refused);
        if shard == here {
            return Some((stream, self.seat_here()));
        }
        let mut socket = match stream.release() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!("a connection stays where it was accepted: {error}");
                return Some((stream, self.seat_here()));
            }
        };
        while shard != here {
            match self.hand_over(shard, socket) {
                Ok(()) => {
                    self.assigned[shard] += 1;
                    self.stats.handed_over.add(1);
                    self.count_lost();
                    return None;
                }
                Err(back) => socket = back,
            }
            self.stats.hand_overs_refused.add(1);
            refused.push(shard);
            shard = self.choose(&refused);
        }
        let seat = self.seat_here();
        match TcpStream::arrived(&self.shard, socket) {
            Ok(stream) => Some((stream, seat)),
            Err(error) => {
                tracing::warn!("a connection was closed: {error}");
                None
            }
        }
    }

    /// The shard that takes the next connection: this one if no other is left.
    fn choose(&self, refused: &[usize]) -> usize {
        let open = self.open().filter(|(shard, _)| !refused.contains(shard));
        least(open, || self.shard.random()).unwrap_or(self.shard.number())
    }

    /// The shards that take connections, and how many each has or is about to get.
    fn open(&self) -> impl Iterator<Item = (usize, u64)> {
        let shards = self.tallies.iter().zip(&self.assigned).enumerate();
        let takes = shards.filter(|(_, (tally, _))| !tally.is_closed.load(Ordering::Acquire));
        takes.map(|(shard, (tally, assigned))| (shard, assigned.saturating_sub(tally.ended.get())))
    }

    fn seat_here(&mut self) -> Seat {
        let here = self.shard.number();
        self.assigned[here] += 1;
        Seat { tallies: Arc::clone(&self.tallies), shard: here }
    }

    /// Sends a connection to a shard. It comes back if that cannot be now: the shard has ended, or the way there is full.
    fn hand_over(&self, shard: usize, socket: Socket) -> Result<(), Socket> {
        let letter = Letter { socket: Some(socket), tallies: Arc::clone(&self.tallies), shard };
        // Shared, so that it is still in hand if it is not sent.
        let letter = Arc::new(Mutex::new(Some(letter)));
        let (number, sent) = (self.number, Arc::clone(&letter));
        let arrive = move |there: &Shard| {
            let letter = sent.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(letter) = letter {
                Inbound::of(there, number).arrive(letter);
            }
        };
        self.shard.try_post(shard, arrive).map_err(|_| {
            let letter = letter.lock().unwrap_or_else(PoisonError::into_inner).take();
            letter.and_then(Letter::open).expect("what was not sent is still here")
        })
    }

    /// Tells all others that no more connections come.
    pub(crate) async fn end(&mut self) {
        self.has_said_end = true;
        for shard in self.others() {
            let number = self.number;
            // A shard that has ended needs no telling.
            let _ = self.shard.post(shard, move |there| Inbound::of(there, number).end()).await;
        }
        self.count_lost();
    }

    /// What the other shards tell, where it can be read with the rest.
    fn count_lost(&self) {
        self.stats.hand_overs_lost.set(self.tallies.iter().map(|tally| tally.lost.get()).sum());
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let here = self.shard.number();
        (0..self.tallies.len()).filter(move |shard| *shard != here)
    }
}

/// Whoever stops accepting out of turn says so as far as there is room; those who wait learn it at the drain otherwise.
impl Drop for Spreader {
    fn drop(&mut self) {
        if self.has_said_end {
            return;
        }
        for shard in self.others() {
            let number = self.number;
            let _ = self.shard.try_post(shard, move |there| Inbound::of(there, number).end());
        }
    }
}

/// The number of whoever has the least; by chance among equals.
fn least(all: impl Iterator<Item = (usize, u64)>, chance: impl FnOnce() -> u64) -> Option<usize> {
    let (mut fewest, mut equals) = (u64::MAX, Vec::new());
    for (number, count) in all {
        if count < fewest {
            fewest = count;
            equals.clear();
        }
        if count == fewest {
            equals.push(number);
        }
    }
    match equals[..] {
        [] => None,
        [only] => Some(only),
        _ => Some(equals[(chance() % equals.len() as u64) as usize]),
    }
}

// ---- a connection on its way -------------------------------------------------------------------------------------------

/// A connection's place on a shard: it counts as open there until this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    tallies: Arc<[Tally]>,
    shard: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tallies[self.shard].ended.add(1);
    }
}

/// A connection on its way. One that is dropped there has nowhere to go: its shard has ended. That is counted.
#[derive(Debug)]
struct Letter {
    /// There until it is opened.
    socket: Option<Socket>,
    tallies: Arc<[Tally]>,
    /// To whom it goes.
    shard: usize,
}

impl Letter {
    fn open(mut self) -> Option<Socket> {
        self.socket.take()
    }

    /// The place of what was in it.
    fn seat(&self) -> Seat {
        Seat { tallies: Arc::clone(&self.tallies), shard: self.shard }
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        if self.socket.is_some() {
            self.tallies[self.shard].lost.add(1);
            self.tallies[self.shard].ended.add(1);
            tracing::warn!(shard = self.shard, "a connection was closed: the shard that it was given to has ended");
        }
    }
}

// ---- the other shards --------------------------------------------------------------------------------------------------

/// Where connections arrive that another shard has accepted for an address.
#[derive(Debug, Default)]
struct Inbound {
    /// Bounded by what the accepting shard assigns: no more than a shard's connections.
    letters: RefCell<VecDeque<Letter>>,
    waker: RefCell<Option<Waker>>,
    /// No more come.
    has_ended: Cell<bool>,
    /// Nobody takes them any more.
    is_closed: Cell<bool>,
}

/// A shard's inbound places, by the addresses' numbers.
#[derive(Default)]
struct Inbounds(RefCell<BTreeMap<usize, Rc<Inbound>>>);

impl Inbound {
    /// Made by whoever comes first: the one who waits there, or the first connection.
    fn of(shard: &Shard, number: usize) -> Rc<Inbound> {
        let all = shard.local(Inbounds::default);
        let mut all = all.0.borrow_mut();
        Rc::clone(all.entry(number).or_default())
    }

    fn arrive(&self, letter: Letter) {
        if self.is_closed.get() {
            // Between the last look of the one who accepts and here.
            return drop(letter);
        }
        self.letters.borrow_mut().push_back(letter);
        self.wake();
    }

    fn end(&self) {
        self.has_ended.set(true);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The connections that arrive on a shard. Dropping it lets none come any more.
#[derive(Debug)]
pub(crate) struct Arrivals {
    shard: Shard,
    inbound: Rc<Inbound>,
    tallies: Arc<[Tally]>,
    /// When it has waited long enough for the end, once the drain has begun.
    patience: Option<Sleep>,
}

impl Arrivals {
    pub(crate) fn new(shard: &Shard, number: usize, tallies: Arc<[Tally]>) -> Self {
        Arrivals { shard: shard.clone(), inbound: Inbound::of(shard, number), tallies, patience: None }
    }

    /// The next connection; `None` when no more come.
    /// Once the drain has begun, accepting goes on for `drain_time_min`.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        drain_time_min: Duration,
        stats: &NetStats,
    ) -> Poll<Option<(TcpStream, Seat)>> {
        loop {
            let letter = self.inbound.letters.borrow_mut().pop_front();
            if let Some(letter) = letter {
                let seat = letter.seat();
                let Some(socket) = letter.open() else { continue };
                stats.taken_over.add(1);
                match TcpStream::arrived(&self.shard, socket) {
                    Ok(stream) => return Poll::Ready(Some((stream, seat))),
                    Err(error) => tracing::warn!("a connection was closed: {error}"),
                }
                continue;
            }
            if self.inbound.has_ended.get() {
                return Poll::Ready(None);
            }
            self.inbound.waker.replace(Some(cx.waker().clone()));
            if self.shard.is_draining() {
                let shard = &self.shard;
                let patience = self.patience.get_or_insert_with(|| shard.sleep(drain_time_min + HAND_OVER_WAIT_MAX));
                return patience.poll_rung(cx).map(|()| None);
            }
            return Poll::Pending;
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.tallies[self.shard.number()].is_closed.store(true, Ordering::Release);
        self.inbound.is_closed.set(true);
        // Told apart from the queue's borrow: a letter that is dropped says so.
        let left = std::mem::take(&mut *self.inbound.letters.borrow_mut());
        drop(left);
    }
}

pin_project! {
    /// A connection's task, and its place on the shard.
    pub(crate) struct Seated<F> {
        #[pin]
        work: F,
        seat: Seat,
    }
}

impl<F> Seated<F> {
    pub(crate) fn new(work: F, seat: Seat) -> Self {
        Seated { work, seat }
    }
}

impl<F: Future> Future for Seated<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().work.poll(cx)
    }
}

#[cfg(test)]
mod tests;
