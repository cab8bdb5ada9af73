//! Operations as futures: the bridge between a task and the reactor's slots.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use platform::{Chunk, Completion, Error, Group, Handle, NOBODY, Op, Refused, Token};

use crate::Shard;
use crate::budget;
use crate::shard::Seat;

/// An operation in flight, as seen by the task that waits for it.
///
/// Awaiting it gives the next completion: the only one of a one-shot operation, or one of many of a stream, see
/// [`next`](Operation::next). Dropping it abandons the operation to its slot, which keeps memory and handle until the
/// kernel is done with them, and disposes of what still lands. Nothing is lost that was not yet received.
#[derive(Debug)]
pub struct Operation {
    shard: Shard,
    /// `None` once the last completion has been taken.
    token: Option<Token>,
    /// Its place among the strangers, if a waker not of ours waits for it.
    seat: Seat,
}

impl Shard {
    /// Starts an operation; it reaches the kernel at the end of this turn.
    ///
    /// Errors: the handle is closed, or a bound of the shard is reached. The operation comes back with its memory.
    pub fn start(&self, op: Op) -> Result<Operation, Refused> {
        let token = self.with_reactor(|reactor| reactor.start(op, NOBODY))?;
        Ok(Operation { shard: self.clone(), token: Some(token), seat: Seat::NONE })
    }

    /// Starts to send a chunk and [hushes](Operation::hush) that, in `place`, where the last send was: what stands there is given up.
    ///
    /// Errors: as [`start`](Shard::start). The chunk is gone then.
    #[inline(always)]
    pub fn send_quietly(
        &self,
        place: &mut Option<Operation>,
        socket: Handle,
        chunk: Chunk,
        waker: &Waker,
    ) -> Result<(), Error> {
        let operation = place.get_or_insert_with(|| Operation { shard: self.clone(), token: None, seat: Seat::NONE });
        let waiter = self.waiter_of(waker, &mut operation.seat);
        self.with_reactor(|reactor| {
            let token = reactor.send_quietly(socket, chunk, waiter)?;
            // Which mostly has ended, and is nothing to be given up.
            if let Some(last) = operation.token.replace(token)
                && !reactor.is_spent(&last)
            {
                reactor.abandon(last);
            }
            Ok(())
        })
    }
}

impl Operation {
    /// The next completion. After one without `more`, asking again gives [`Error::Closed`].
    ///
    /// Cancel safe: a completion is either returned or still there for the next call.
    pub async fn next(&mut self) -> Completion {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Operation::next) as a poll. About 10 ns.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Completion> {
        // A task whose operations always complete at once gives way when its budget for this poll is spent.
        std::task::ready!(budget::poll_proceed(cx));
        let Some(token) = &self.token else { return Poll::Ready(SPENT) };
        let waiter = self.shard.waiter_of(cx.waker(), &mut self.seat);
        match self.shard.with_reactor(|reactor| reactor.take(token, waiter)) {
            Some(completion) => Poll::Ready(self.taken(completion)),
            None => Poll::Pending,
        }
    }

    /// The same of a receive, whose completions are mostly chunks: what it is else is the error.
    #[inline(always)]
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Chunk, Completion>> {
        std::task::ready!(budget::poll_proceed(cx));
        let Some(token) = &self.token else { return Poll::Ready(Err(SPENT)) };
        let waiter = self.shard.waiter_of(cx.waker(), &mut self.seat);
        match self.shard.with_reactor(|reactor| reactor.take_chunk(token, waiter)) {
            Some(taken) => Poll::Ready(taken.map_err(|other| self.taken(other))),
            None => Poll::Pending,
        }
    }

    /// The next completion if it has landed. The task is not woken for one that lands later: for operations, such as a
    /// send, whose end matters only when something else happens.
    pub fn try_next(&mut self) -> Option<Completion> {
        let Some(token) = &self.token else { return Some(SPENT) };
        let completion = self.shard.with_reactor(|reactor| reactor.take(token, NOBODY))?;
        Some(self.taken(completion))
    }

    /// Lets a send end without a word if all of it leaves: see [`Reactor::hush`](platform::Reactor::hush). The task of
    /// `waker` is woken only if something goes wrong. True if a completion waits to be taken already.
    pub fn hush(&mut self, waker: &Waker) -> bool {
        let Some(token) = &self.token else { return false };
        let waiter = self.shard.waiter_of(waker, &mut self.seat);
        self.shard.with_reactor(|reactor| reactor.hush(token, waiter))
    }

    /// Whether it has ended and nothing of it is left to take. Of a hushed send: whether all of it has left.
    pub fn is_spent(&self) -> bool {
        self.token.as_ref().is_none_or(|token| self.shard.with_reactor(|reactor| reactor.is_spent(token)))
    }

    /// Has a receiving stream draw from this group: see [`Reactor::draw_from`](platform::Reactor::draw_from).
    pub fn draw_from(&mut self, group: Group) {
        if let Some(token) = &self.token {
            self.shard.with_reactor(|reactor| reactor.draw_from(token, group));
        }
    }

    /// Asks for the operation's end. Its last completion still comes: what it achieved, or `Cancelled`.
    pub fn cancel(&mut self) {
        if let Some(token) = &self.token {
            self.shard.with_reactor(|reactor| reactor.cancel(token));
        }
    }

    fn taken(&mut self, completion: Completion) -> Completion {
        if !completion.more {
            // A spent token names nothing and holds nothing.
            self.token = None;
        }
        completion
    }
}

const SPENT: Completion = Completion { result: Err(Error::Closed), more: false };

impl Future for Operation {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        self.poll_next(cx)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.shard.with_reactor(|reactor| reactor.abandon(token));
        }
        self.shard.unseat(&mut self.seat);
    }
}
