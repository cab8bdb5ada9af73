//! One shard's side of the link to another: its ends of the lanes, the calls it has out, and those it serves.
//!
//! # Why answering never waits
//!
//! Each direction has a lane of requests and a lane of answers. Whoever sends a request has taken one of the link's
//! [`MESH_CREDITS`](crate::limits::MESH_CREDITS), which comes back with the answer (of calls), or in a batch (of one-way
//! closures). A lane of requests has twice as many places: a place is given back some time after the request was taken, as
//! the ring does it by the half, and an answer may be faster. So whoever has a credit finds a place.
//!
//! What can be on the way on a lane of answers at one time:
//!
//! - *answers and credits*, to the peer's requests: each stands for at least one credit that the peer has out, so there are at
//!   most `MESH_CREDITS`;
//! - *cancels* of our own calls: at most two for each credit. A shard takes everything from this lane at the start of its
//!   turn, before any request. A credit goes round once in a turn at the most, since the request that uses it again is not
//!   taken before the next one; so of three cancels in a row under the same credit the receiver has taken the first when it
//!   answers the call of the second.
//!
//! A lane of [`MESH_ANSWERS`](crate::limits::MESH_ANSWERS), which is at least three times the credits, is therefore never full.
//! Two shards that flood each other wait for credits as tasks, and both go on answering.
//!
//! # Casts
//!
//! A third lane in each direction has closures that may be dropped: neither answered nor paid for by a credit, and not sent
//! when the lane is full. A peer that floods us makes nobody wait for a credit, and we send it nothing back. A cast has a place of
//! its own there however short it is, so that as many are dropped of the short as of the long.
//!
//! # What a name means
//!
//! A call's slot is kept until its answer has come, whoever waits for it, so an answer finds its call and a name means one
//! call at a time. A cancel may cross the answer on the way, or overtake the request, which is on another lane: the receiver
//! compares generations to tell a call that it has answered from one that it has yet to see.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use platform::spsc::{Consumer, Full, Producer, Shape};

use super::calls::{Calls, Left, Settled};
use super::fabric::{Ends, Fabric};
use super::message::{Answer, LaneIn, LaneOut, Name, Note, Request, Visit, failed, nothing, take};
use super::{CallError, contain, text_of};
use crate::limits::{MESH_ANSWERS, MESH_CREDITS, MESH_CREDITS_BATCH, MESH_PUBLISH_BATCH, MESH_REQUESTS};
use crate::models::Footing;
use crate::sync::{Semaphore, TryAcquireError};
use crate::task::with_footing;
use crate::{Scope, Shard};

/// A link, as one of its two shards has it; or a shard's link to itself, which has no lanes.
pub(super) struct Link {
    peer: usize,
    is_to_oneself: bool,
    /// Where messages go. `None` of a shard's link to itself, and when one of the two has ended.
    out: RefCell<Option<Out>>,
    requests_in: RefCell<Option<LaneIn<Request>>>,
    answers_in: RefCell<Option<LaneIn<Answer>>>,
    casts_in: RefCell<Option<Consumer<Request>>>,
    credits: Semaphore,
    calls: RefCell<Calls>,
    served: RefCell<Vec<Served>>,
    fabric: Arc<Fabric>,
    /// The peer has been shown something, and was not told since, that is, asked whether it sleeps.
    is_untold: Cell<bool>,
    /// Shared by the links of a shard: some lane has messages that were not published, or some peer is untold.
    has_unpublished: Rc<Cell<bool>>,
}

struct Out {
    requests: LaneOut<Request>,
    answers: LaneOut<Answer>,
    casts: Producer<Request>,
    /// Messages that were not published, on all three.
    unpublished: usize,
}

/// What is known of the peer's calls under one slot.
#[derive(Default)]
struct Served {
    /// The generation of the latest that was run.
    seen: Option<u32>,
    /// The generation of one that was cancelled before it came.
    cancelled: Option<u32>,
    /// The scope of one that runs as a task.
    scope: Option<Scope>,
}

const _: () = assert!(MESH_REQUESTS >= 2 * MESH_CREDITS && MESH_ANSWERS >= 3 * MESH_CREDITS);

impl Link {
    pub(super) fn new(peer: usize, ends: Ends, fabric: &Arc<Fabric>, has_unpublished: &Rc<Cell<bool>>) -> Rc<Link> {
        let Ends { requests_out, answers_out, casts_out, requests_in, answers_in, casts_in } = ends;
        Rc::new(Link {
            is_to_oneself: false,
            out: RefCell::new(Some(Out {
                requests: requests_out,
                answers: answers_out,
                casts: casts_out,
                unpublished: 0,
            })),
            requests_in: RefCell::new(Some(requests_in)),
            answers_in: RefCell::new(Some(answers_in)),
            casts_in: RefCell::new(Some(casts_in)),
            ..Link::without_lanes(peer, fabric, has_unpublished)
        })
    }

    /// What a shard calls itself by.
    pub(super) fn to_oneself(number: usize, fabric: &Arc<Fabric>, has_unpublished: &Rc<Cell<bool>>) -> Rc<Link> {
        Rc::new(Link::without_lanes(number, fabric, has_unpublished))
    }

    fn without_lanes(peer: usize, fabric: &Arc<Fabric>, has_unpublished: &Rc<Cell<bool>>) -> Link {
        Link {
            peer,
            is_to_oneself: true,
            out: RefCell::new(None),
            requests_in: RefCell::new(None),
            answers_in: RefCell::new(None),
            casts_in: RefCell::new(None),
            credits: Semaphore::new(MESH_CREDITS),
            calls: RefCell::default(),
            served: RefCell::default(),
            fabric: Arc::clone(fabric),
            is_untold: Cell::new(false),
            has_unpublished: Rc::clone(has_unpublished),
        }
    }

    /// The rights to have a request on its way.
    pub(super) fn credits(&self) -> &Semaphore {
        &self.credits
    }

    /// Takes one of them if it is there at once.
    ///
    /// Errors: `Overloaded` when all are out or others wait for them, `Stopped` when one of the two shards has ended.
    pub(super) fn take_credit(&self) -> Result<(), CallError> {
        self.credits.take_one().map_err(|error| match error {
            TryAcquireError::NoPermits => CallError::Overloaded,
            TryAcquireError::Closed => CallError::Stopped,
        })
    }

    /// Calls whose slots are in use.
    pub(super) fn calls_out(&self) -> usize {
        self.calls.borrow().count()
    }

    /// Sends a request whose credit was taken.
    ///
    /// Errors: one of the two shards has ended.
    #[inline]
    pub(super) fn send(&self, name: Name, request: &mut Option<Request>) -> Result<(), CallError> {
        let mut out = self.out.borrow_mut();
        let (Some(out), Some(named)) = (out.as_mut(), request.as_mut()) else { return Err(CallError::Stopped) };
        named.set_label(name.to_label());
        let pushed = out.requests.push_from(request);
        assert!(pushed.is_ok(), "a credit stands for a place on the lane");
        self.sent(out);
        Ok(())
    }

    #[inline]
    pub(super) fn answer(&self, note: Note, mut answer: Answer) {
        if self.is_to_oneself {
            return self.adopt(note, &mut Some(answer));
        }
        answer.set_label(note.to_label());
        let mut answer = Some(answer);
        if let Some(out) = &mut *self.out.borrow_mut() {
            let pushed = out.answers.push_from(&mut answer);
            assert!(pushed.is_ok(), "the lane of answers has room for all that can be on the way");
            self.sent(out);
        }
        // The peer has ended and wants no answer.
        if let Some(answer) = answer {
            contain(|| drop(answer));
        }
    }

    /// Sends what may be dropped, if there is a place.
    ///
    /// Errors: there is none; one of the two shards has ended. The closure is where it was.
    pub(super) fn cast(&self, cast: &mut Option<Request>) -> Result<(), CallError> {
        let mut out = self.out.borrow_mut();
        let Some(out) = out.as_mut() else { return Err(CallError::Stopped) };
        let pushed = out.casts.push_from(cast).map_err(|Full| CallError::Overloaded);
        if pushed.is_err() {
            // The ring has shown what is in it.
            self.is_untold.set(true);
        }
        self.sent(out);
        pushed
    }

    #[inline]
    fn sent(&self, out: &mut Out) {
        out.unpublished += 1;
        if out.unpublished >= MESH_PUBLISH_BATCH {
            self.show(out);
        }
        self.has_unpublished.set(true);
    }

    /// Shows the peer what was sent. Answers first: a cancel shall not come after the next request under its slot.
    #[inline]
    fn show(&self, out: &mut Out) {
        out.unpublished = 0;
        if out.answers.publish() | out.requests.publish() | out.casts.publish() {
            self.is_untold.set(true);
        }
    }

    /// Shows the peer what was sent, and wakes it if it sleeps.
    pub(super) fn publish(&self) {
        if let Some(out) = &mut *self.out.borrow_mut() {
            self.show(out);
        }
        if self.is_untold.replace(false) {
            self.fabric.notify(self.peer);
        }
    }

    /// Whether there is something to receive.
    pub(super) fn has_arrivals(&self) -> bool {
        fn has_any<T, S: Shape<T>>(lane: &RefCell<Option<Consumer<T, S>>>) -> bool {
            lane.borrow().as_ref().is_some_and(|lane| !lane.is_empty() || lane.is_closed())
        }
        has_any(&self.answers_in) || has_any(&self.requests_in) || has_any(&self.casts_in)
    }

    /// Takes everything from the lane of answers.
    pub(super) fn receive_answers(&self) {
        {
            let mut lane = self.answers_in.borrow_mut();
            let Some(lane) = lane.as_mut() else { return };
            // What comes after this look stays for the next turn, as the bound on cancels demands.
            let is_closed = lane.is_closed();
            for answer in lane.drain() {
                let note = Note::from_label(answer.label());
                self.adopt(note, &mut Some(answer));
            }
            if !is_closed {
                return;
            }
        }
        self.end_calls();
        self.answers_in.take();
    }

    /// Runs requests, `max` at the most. Gives how many.
    pub(super) fn receive_requests(self: &Rc<Self>, shard: &Shard, max: usize) -> usize {
        let (mut count, mut one_way) = (0, 0);
        let has_ended = {
            let mut lane = self.requests_in.borrow_mut();
            let Some(lane) = lane.as_mut() else { return 0 };
            let is_closed = lane.is_closed();
            let visit = self.visit(shard);
            for request in lane.drain().take(max) {
                count += 1;
                match Name::from_label(request.label()) {
                    Name::ONE_WAY => {
                        run_one_way(request, &visit);
                        one_way += 1;
                        if one_way == MESH_CREDITS_BATCH {
                            // Shown at once: the peer goes on while the rest is run.
                            self.answer(Note::Credits(one_way), nothing());
                            self.publish();
                            one_way = 0;
                        }
                    }
                    name => self.serve(name, request, &visit),
                }
            }
            is_closed && lane.is_empty()
        };
        if one_way > 0 {
            self.answer(Note::Credits(one_way), nothing());
        }
        if has_ended {
            self.requests_in.take();
        }
        count
    }

    /// Runs casts, `max` at the most. Gives how many.
    pub(super) fn receive_casts(self: &Rc<Self>, shard: &Shard, max: usize) -> usize {
        let mut count = 0;
        let has_ended = {
            let mut lane = self.casts_in.borrow_mut();
            let Some(lane) = lane.as_mut() else { return 0 };
            let is_closed = lane.is_closed();
            let visit = self.visit(shard);
            for cast in lane.drain().take(max) {
                count += 1;
                run_one_way(cast, &visit);
            }
            is_closed && lane.is_empty()
        };
        if has_ended {
            self.casts_in.take();
        }
        count
    }

    /// A visit of this link's peer, to be named for each call.
    pub(super) fn visit(self: &Rc<Self>, shard: &Shard) -> Visit {
        let (name, is_answered) = (Cell::new(Name::ONE_WAY), Cell::new(false));
        Visit { shard: shard.clone(), link: Rc::clone(self), name, is_answered }
    }

    /// Runs a call and answers it, unless a task will.
    fn serve(&self, name: Name, request: Request, visit: &Visit) {
        let is_unwanted = self.see(name) || self.out.borrow().is_none();
        if is_unwanted {
            contain(|| drop(request));
            return self.answer(Note::Answered(name), failed(CallError::Cancelled));
        }
        run_call(name, request, visit);
    }

    /// Runs a call of this shard's own.
    pub(super) fn run_here(self: &Rc<Self>, name: Name, request: Request, shard: &Shard) {
        self.see(name);
        // Whoever makes the call runs it, and may stand where code may wait.
        with_footing(Footing::Between, || run_call(name, request, &self.visit(shard)));
    }

    /// Notes that a call has come. True if it was cancelled before.
    fn see(&self, name: Name) -> bool {
        self.with_served(name, |served| {
            served.seen = Some(name.generation());
            served.cancelled.take_if(|generation| *generation == name.generation()).is_some()
        })
    }

    /// The task that answers a call has started in this scope.
    pub(super) fn started(&self, name: Name, scope: Scope) {
        self.with_served(name, |served| served.scope = Some(scope));
    }

    /// The task that was to answer a call has ended, with an outcome or without: cancelled, or not even started.
    pub(super) fn finished(&self, name: Name, outcome: Option<Answer>) {
        // The scope is dropped outside the borrow: it wakes whoever waits in it.
        let scope = self.with_served(name, |served| served.scope.take());
        let cut_short = if scope.is_some() { CallError::Cancelled } else { CallError::Overloaded };
        drop(scope);
        self.answer(Note::Answered(name), outcome.unwrap_or_else(|| failed(cut_short)));
    }

    fn with_served<R>(&self, name: Name, f: impl FnOnce(&mut Served) -> R) -> R {
        let mut served = self.served.borrow_mut();
        let slot = name.slot();
        if served.len() <= slot {
            served.resize_with(slot + 1, Served::default);
        }
        f(&mut served[slot])
    }

    #[inline]
    fn adopt(&self, note: Note, answer: &mut Option<Answer>) {
        match note {
            Note::Answered(name) => self.settle(name, answer),
            Note::Cancel(name) => self.cancel_served(name),
            Note::Credits(count) => self.credits.add(count as usize),
        }
    }

    /// The peer does not wait for this call any more: ends its task if it has one, and remembers it if it has yet to come.
    fn cancel_served(&self, name: Name) {
        let scope = self.with_served(name, |served| {
            let age = served.seen.map_or(1, |seen| name.generation().wrapping_sub(seen).cast_signed());
            match age {
                0 => served.scope.as_ref().map(|scope| scope.handle()),
                1.. => {
                    served.cancelled = Some(name.generation());
                    None
                }
                // Its answer crossed the cancel.
                ..0 => None,
            }
        });
        if let Some(scope) = scope {
            scope.cancel("the caller has gone");
        }
    }

    /// Takes a slot for a call, whose credit was taken.
    ///
    /// Errors: there are as many calls as a link admits.
    #[inline]
    pub(super) fn open(&self, waker: &Waker) -> Result<Name, CallError> {
        self.calls.borrow_mut().open(waker).ok_or(CallError::Overloaded)
    }

    /// What a call has come to, once its answer is there; its slot is free then. Otherwise this waker will be called.
    #[inline]
    pub(super) fn take_answer<T: 'static>(&self, name: Name, waker: &Waker) -> Option<Result<T, CallError>> {
        self.calls.borrow_mut().take_answer(name, waker, take::<T>)
    }

    /// Nobody waits for a call any more. Its peer is told, unless it has answered.
    pub(super) fn abandon(&self, name: Name) {
        // What comes back holds values of the user's, and is dropped outside the borrow.
        let left = self.calls.borrow_mut().abandon(name);
        match left {
            Left::Nothing => {}
            Left::Unanswered(waker) => {
                drop(waker);
                self.answer(Note::Cancel(name), nothing());
            }
            Left::Answered(answer) => contain(|| drop(answer)),
        }
    }

    /// A call that was never sent.
    pub(super) fn give_back(&self, name: Name) {
        self.settle(name, &mut Some(failed(CallError::Stopped)));
        self.abandon(name);
    }

    /// An answer has come.
    #[inline]
    fn settle(&self, name: Name, answer: &mut Option<Answer>) {
        let settled = self.calls.borrow_mut().settle(name, answer);
        match settled {
            Settled::Wake(waker) => {
                self.credits.add(1);
                return contain(|| waker.wake());
            }
            Settled::Unwanted => self.credits.add(1),
            // One of the two shards has ended, and with it all its calls; an answer that came before holds.
            Settled::Unknown => {}
        }
        contain(|| drop(answer.take()));
    }

    /// The peer has ended, or this shard ends: every call that is out is answered `Stopped`, whoever waits for a credit is
    /// told, and what the peer has running here is cancelled.
    fn end_calls(&self) {
        let out = self.out.take();
        contain(|| drop(out));
        self.credits.close();
        let out = self.calls.borrow().unanswered();
        for name in out {
            self.settle(name, &mut Some(failed(CallError::Stopped)));
        }
        let served = self.served.take();
        contain(|| drop(served));
    }

    /// This shard ends. What has come and was not run is dropped; the peer sees the lanes closed, and answers its calls by
    /// itself.
    pub(super) fn close(&self) {
        self.end_calls();
        let (requests, answers, casts) = (self.requests_in.take(), self.answers_in.take(), self.casts_in.take());
        contain(|| drop(requests));
        contain(|| drop(casts));
        contain(|| drop(answers));
        self.fabric.notify(self.peer);
    }
}

/// Runs a closure that is not answered. A panic of it is reported: nobody else learns of it.
#[inline]
pub(super) fn run_one_way(request: Request, visit: &Visit) {
    visit.name.set(Name::ONE_WAY);
    let mut request = Some(request);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| Request::call_in(&mut request, visit))) {
        report(text_of(payload), visit);
    }
}

/// Runs a call's closure, which answers. A panic of it is its caller's.
#[inline]
fn run_call(name: Name, request: Request, visit: &Visit) {
    visit.name.set(name);
    visit.is_answered.set(false);
    let mut request = Some(request);
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| Request::call_in(&mut request, visit))) {
        let panic = text_of(payload);
        match visit.is_answered.get() {
            false => visit.fail(CallError::Panicked(panic)),
            // What it held panicked when it was dropped.
            true => report(panic, visit),
        }
    }
    assert!(visit.is_answered.get(), "a call is answered");
}

#[cold]
fn report(panic: String, visit: &Visit) {
    tracing::error!(panic, shard = visit.shard.number(), "a closure from another shard panicked");
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("peer", &self.peer)
            .field("credits", &self.credits.available())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
