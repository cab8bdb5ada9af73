//! [`WebSocket`]: the application's end of a connection, and the state between it and the loop.
//!
//! The one idea: two small queues. What was received waits here to be asked for, and what is to be sent waits here to be
//! written; each has a bound, and what waits at it is a future that may be dropped at any time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use proto::ws::{self, CloseCode, REASON_BYTES_MAX};

use super::Message;
use crate::limits::{WEB_SOCKET_INBOX_BYTES_MAX, WEB_SOCKET_INBOX_COUNT_MAX};

/// A connection that speaks WebSocket, on its shard.
///
/// Pings are answered, and the peer's close is, without anybody's doing. The connection ends when the function that was given
/// it does, or its peer closes or goes; the halves of a [split](Self::split) one do not keep it.
#[derive(Debug)]
pub struct WebSocket {
    sender: Sender,
    receiver: Receiver,
}

/// The half of a [`WebSocket`] that sends.
#[derive(Debug)]
pub struct Sender(Rc<Shared>);

/// The half of a [`WebSocket`] that receives. Once it is dropped, what comes is read over.
#[derive(Debug)]
pub struct Receiver(Rc<Shared>);

/// How a peer closed: what it gave as its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code, if it gave one.
    pub code: Option<CloseCode>,
    /// The words. Not for the end user's eyes.
    pub reason: String,
}

/// Why a connection ended other than by a close of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol, or went beyond the limits; it has been told.
    Peer(ws::Error),
    /// The connection broke, or ended without a close.
    Lost,
    /// The peer sent nothing, not even the answer to a ping, or took nothing, for too long.
    TimedOut,
    /// No memory is left in the shard's buffer pool.
    Exhausted,
}

/// Nothing more can be sent: the connection closes, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// What the loop and the application's end have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) inside: RefCell<Inside>,
    /// The loop is being polled: it looks again before it gives way, and need not be woken.
    pub(super) is_polled: Cell<bool>,
    /// Something was done that the loop must see.
    pub(super) is_stirred: Cell<bool>,
}

#[derive(Debug, Default)]
pub(super) struct Inside {
    /// Messages that were received and not asked for, and their bytes.
    inbox: VecDeque<Message>,
    inbox_bytes: usize,
    /// Nobody asks for them.
    pub(super) is_unread: bool,
    /// No more come.
    pub(super) has_ended: bool,
    /// The code has nothing to say after that: it has seen the end, or can send nothing.
    pub(super) is_end_seen: bool,
    /// The halves are apart: who has seen the end is not who sends.
    is_split: bool,
    /// Why, until that was told.
    pub(super) failure: Option<Error>,
    pub(super) peer_close: Option<Close>,
    receives: Option<Waker>,
    /// The message to be written next.
    pub(super) outgoing: Option<Message>,
    /// So much was gathered that no further one is taken.
    pub(super) is_full: bool,
    /// No further one is ever taken.
    pub(super) is_closed: bool,
    sends: Option<Waker>,
    /// The close that is wanted.
    pub(super) closing: Option<(CloseCode, String)>,
    /// The connection has ended.
    pub(super) is_over: bool,
    closes: Option<Waker>,
    pub(super) drives: Option<Waker>,
}

impl WebSocket {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        WebSocket { sender: Sender(Rc::clone(shared)), receiver: Receiver(Rc::clone(shared)) }
    }

    /// The next message: as [`Receiver::recv`].
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        self.receiver.recv().await
    }

    /// Sends a message: as [`Sender::send`].
    ///
    /// Errors: the connection closes, or has ended.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Closed> {
        self.sender.send(message).await
    }

    /// Closes the connection: as [`Sender::close`].
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        self.sender.close(code, reason).await;
    }

    /// How the peer closed, once it has.
    pub fn peer_close(&self) -> Option<Close> {
        self.receiver.peer_close()
    }

    /// Its two halves, for two tasks of this shard. The peer's close is then answered when the sender is dropped, as it may
    /// still have something to say when the receiver has seen the end.
    pub fn split(self) -> (Sender, Receiver) {
        self.sender.0.inside.borrow_mut().is_split = true;
        (self.sender, self.receiver)
    }
}

impl Receiver {
    /// The next message, in order; `None` once the peer has closed, or after the error that ended the connection.
    ///
    /// Cancel safe: a message is either returned or still there for the next call.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Self::recv) as a poll.
    pub fn poll_recv(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Result<Message, Error>>> {
        let inside = &mut *self.0.inside.borrow_mut();
        if let Some(message) = inside.inbox.pop_front() {
            // The loop reads on when there is room again.
            if inside.is_inbox_full_with(message.as_bytes().len()) {
                self.0.stir(inside);
            }
            inside.inbox_bytes -= message.as_bytes().len();
            return Poll::Ready(Some(Ok(message)));
        }
        if inside.has_ended {
            if !inside.is_end_seen && !inside.is_split {
                inside.is_end_seen = true;
                self.0.stir(inside);
            }
            return Poll::Ready(inside.failure.take().map(Err));
        }
        inside.receives = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How the peer closed, once it has.
    pub fn peer_close(&self) -> Option<Close> {
        self.0.inside.borrow().peer_close.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let inside = &mut *self.0.inside.borrow_mut();
        inside.give_up_reading();
        self.0.stir(inside);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let inside = &mut *self.0.inside.borrow_mut();
        inside.is_end_seen = true;
        self.0.stir(inside);
    }
}

impl Sender {
    /// Sends a message, as soon as there is room for it: a peer that reads slowly holds this up. Ready when it will be
    /// sent unless the connection ends first. What is large is sent from where it lies.
    ///
    /// Cancel safe: if the future is dropped, the message is either sent whole or not at all.
    ///
    /// Errors: the connection closes, or has ended.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Closed> {
        let mut message = Some(message.into());
        poll_fn(|cx| self.poll_send(cx, &mut message)).await
    }

    /// [`send`](Self::send) as a poll, which takes the message when it is ready.
    pub fn poll_send(&mut self, cx: &mut TaskContext<'_>, message: &mut Option<Message>) -> Poll<Result<(), Closed>> {
        let inside = &mut *self.0.inside.borrow_mut();
        if inside.is_closed || inside.closing.is_some() {
            return Poll::Ready(Err(Closed));
        }
        if inside.outgoing.is_some() || inside.is_full {
            inside.sends = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inside.outgoing = message.take();
        self.0.stir(inside);
        Poll::Ready(Ok(()))
    }

    /// Closes the connection: what was sent goes before, what is still received is dropped. Ready when the peer has answered,
    /// or has not for too long, and the connection has ended. The first close counts. `reason` has
    /// [`REASON_BYTES_MAX`] bytes at the most; what is more is left out.
    ///
    /// Cancel safe: the close goes on without the future.
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        {
            let inside = &mut *self.0.inside.borrow_mut();
            inside.close(code, reason);
            self.0.stir(inside);
        }
        poll_fn(|cx| {
            let inside = &mut *self.0.inside.borrow_mut();
            if inside.is_over {
                return Poll::Ready(());
            }
            inside.closes = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Shared {
    /// Lets the loop look again.
    pub(super) fn stir(&self, inside: &Inside) {
        self.is_stirred.set(true);
        if !self.is_polled.get()
            && let Some(drives) = &inside.drives
        {
            drives.wake_by_ref();
        }
    }
}

impl Inside {
    /// Whether nothing more is to be received for now.
    pub(super) fn is_inbox_full(&self) -> bool {
        self.inbox.len() >= WEB_SOCKET_INBOX_COUNT_MAX || self.inbox_bytes >= WEB_SOCKET_INBOX_BYTES_MAX
    }

    /// Whether that was so before the message that was just taken out.
    fn is_inbox_full_with(&self, bytes: usize) -> bool {
        debug_assert!(bytes <= self.inbox_bytes);
        self.inbox.len() + 1 >= WEB_SOCKET_INBOX_COUNT_MAX || self.inbox_bytes >= WEB_SOCKET_INBOX_BYTES_MAX
    }

    /// Whether what comes is for nobody.
    pub(super) fn drops_messages(&self) -> bool {
        self.is_unread || self.closing.is_some()
    }

    pub(super) fn deliver(&mut self, message: Message, by: &Waker) {
        if self.drops_messages() {
            return;
        }
        self.inbox_bytes += message.as_bytes().len();
        self.inbox.push_back(message);
        wake(&mut self.receives, by);
    }

    /// Nobody asks for messages any more.
    pub(super) fn give_up_reading(&mut self) {
        self.is_unread = true;
        self.inbox.clear();
        self.inbox_bytes = 0;
    }

    /// Wants a close, unless one is wanted already.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        if self.closing.is_none() {
            let bytes = (0..=reason.len().min(REASON_BYTES_MAX)).rev().find(|&bytes| reason.is_char_boundary(bytes));
            self.closing = Some((code, reason[..bytes.unwrap_or_default()].to_owned()));
            self.is_end_seen = true;
        }
    }

    /// No more comes; `failure` says why, if that is not a close.
    pub(super) fn end(&mut self, failure: Option<Error>, by: &Waker) {
        if !self.has_ended {
            self.has_ended = true;
            self.failure = failure;
        }
        wake(&mut self.receives, by);
    }

    /// Nothing more is sent.
    pub(super) fn shut(&mut self, by: &Waker) {
        self.is_closed = true;
        self.outgoing = None;
        wake(&mut self.sends, by);
    }

    /// The connection has ended.
    pub(super) fn over(&mut self, by: &Waker) {
        self.end(None, by);
        self.shut(by);
        self.is_over = true;
        wake(&mut self.closes, by);
    }

    /// Whether there is room is known.
    pub(super) fn set_full(&mut self, is_full: bool, by: &Waker) {
        self.is_full = is_full;
        if !is_full && self.outgoing.is_none() {
            wake(&mut self.sends, by);
        }
    }
}

/// Wakes whoever waits, unless that is the task of the loop itself: it polls its work after each of its own steps.
fn wake(waits: &mut Option<Waker>, by: &Waker) {
    if let Some(waker) = waits.take()
        && !waker.will_wake(by)
    {
        waker.wake();
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Peer(error) => error.fmt(f),
            Error::Lost => f.write_str("the connection was lost"),
            Error::TimedOut => f.write_str("the peer does not answer"),
            Error::Exhausted => f.write_str("the shard's buffer pool is exhausted"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the WebSocket is closed")
    }
}

impl std::error::Error for Closed {}
