//! Those who wait, first come first served. The one idea: a place is kept from the first wait until its holder leaves,
//! whether it was woken or not, so a future that is dropped after it was woken can pass on what it was woken for.
//!
//! Places lie in one list that grows to the largest crowd and is used again. Wakers are handed out and not called: calling
//! one may run anyone's code, and the list is borrowed.

use std::task::Waker;

/// A queue of wakers, each with what its holder waits for.
#[derive(Debug)]
pub(crate) struct Waiters<T = ()> {
    places: Places<T>,
    queue: Queue,
}

/// Places of any number of queues.
#[derive(Debug)]
pub(crate) struct Places<T = ()> {
    list: Vec<Place<T>>,
    /// A place that nobody holds.
    free: u32,
}

/// The order in which those wait who wait for the same.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The longest and the latest to wait.
    first: u32,
    last: u32,
    count: u32,
}

#[derive(Debug)]
struct Place<T> {
    state: State<T>,
    before: u32,
    after: u32,
}

#[derive(Debug)]
enum State<T> {
    Free,
    Waiting(Waker, T),
    /// Woken as the first in the queue: what it was woken for is its own.
    Chosen,
    /// Woken with all others.
    Released,
}

/// A place, to be given back by [`leave`](Waiters::leave).
#[derive(Debug)]
#[must_use = "a place that is not given back is never used again"]
pub(crate) struct Ticket(u32);

/// How a holder stood when it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Waiting,
    Chosen,
    Released,
}

impl<T> Waiters<T> {
    pub(crate) const fn new() -> Self {
        Waiters { places: Places::new(), queue: Queue::new() }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.queue.count as usize
    }

    /// What the first waits for.
    pub(crate) fn first(&self) -> Option<&T> {
        self.places.first(&self.queue)
    }

    /// Goes to the end of the queue.
    pub(crate) fn join(&mut self, waker: &Waker, wants: T) -> Ticket {
        self.places.join(&mut self.queue, waker, wants)
    }

    /// Whether the holder still waits; then it is this waker that will be called.
    pub(crate) fn still_waits(&mut self, ticket: &Ticket, waker: &Waker) -> bool {
        self.places.still_waits(ticket, waker)
    }

    /// Chooses the first: the caller wakes it.
    pub(crate) fn choose(&mut self) -> Option<Waker> {
        self.places.take_first(&mut self.queue, State::Chosen)
    }

    /// Releases the first, as one of many: the caller wakes it.
    pub(crate) fn release(&mut self) -> Option<Waker> {
        self.places.release(&mut self.queue)
    }

    /// Gives a place up.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Left {
        self.places.leave(&mut self.queue, ticket)
    }
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Queue { first: NONE, last: NONE, count: 0 }
    }
}

impl<T> Places<T> {
    pub(crate) const fn new() -> Self {
        Places { list: Vec::new(), free: NONE }
    }

    fn first(&self, queue: &Queue) -> Option<&T> {
        match &self.list.get(queue.first as usize)?.state {
            State::Waiting(_, wants) => Some(wants),
            _ => None,
        }
    }

    /// [`Waiters::join`] for one of several queues.
    pub(crate) fn join(&mut self, queue: &mut Queue, waker: &Waker, wants: T) -> Ticket {
        let place = Place { state: State::Waiting(waker.clone(), wants), before: queue.last, after: NONE };
        let index = match self.free {
            NONE => {
                self.list.push(place);
                // A place is held by a future, and no machine has memory for as many as there are numbers.
                u32::try_from(self.list.len() - 1).expect("fewer waiters than numbers")
            }
            index => {
                self.free = self.at(index).after;
                *self.at(index) = place;
                index
            }
        };
        match queue.last {
            NONE => queue.first = index,
            last => self.at(last).after = index,
        }
        queue.last = index;
        queue.count += 1;
        Ticket(index)
    }

    /// [`Waiters::still_waits`].
    pub(crate) fn still_waits(&mut self, ticket: &Ticket, waker: &Waker) -> bool {
        match &mut self.at(ticket.0).state {
            State::Waiting(known, _) => {
                known.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    /// [`Waiters::release`] for one of several queues.
    pub(crate) fn release(&mut self, queue: &mut Queue) -> Option<Waker> {
        self.take_first(queue, State::Released)
    }

    fn take_first(&mut self, queue: &mut Queue, state: State<T>) -> Option<Waker> {
        let index = queue.first;
        if index == NONE {
            return None;
        }
        self.unlink(queue, index);
        match std::mem::replace(&mut self.at(index).state, state) {
            State::Waiting(waker, _) => Some(waker),
            _ => unreachable!("who stands in the queue waits"),
        }
    }

    /// [`Waiters::leave`] for one of several queues.
    pub(crate) fn leave(&mut self, queue: &mut Queue, ticket: Ticket) -> Left {
        let index = ticket.0;
        let left = match self.at(index).state {
            State::Waiting(..) => {
                self.unlink(queue, index);
                Left::Waiting
            }
            State::Chosen => Left::Chosen,
            State::Released => Left::Released,
            State::Free => unreachable!("a ticket is given back once"),
        };
        let free = self.free;
        *self.at(index) = Place { state: State::Free, before: NONE, after: free };
        self.free = index;
        left
    }

    fn unlink(&mut self, queue: &mut Queue, index: u32) {
        let Place { before, after, .. } = *self.at(index);
        match before {
            NONE => queue.first = after,
            before => self.at(before).after = after,
        }
        match after {
            NONE => queue.last = before,
            after => self.at(after).before = before,
        }
        queue.count -= 1;
    }

    fn at(&mut self, index: u32) -> &mut Place<T> {
        &mut self.list[index as usize]
    }
}

/// No place.
const NONE: u32 = u32::MAX;
