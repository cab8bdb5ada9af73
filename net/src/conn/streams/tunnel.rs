//! A tunnel over one stream of a connection that has many: what its code has in a connection's place, and what the exchange sees of it.
//!
//! The one idea: what comes is a body, and what is sent waits in between until the exchange has had it written. So both ways
//! keep to the windows of the stream, and neither end knows the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use crate::tcp::Outgoing;
use crate::transport::Sent;
use crate::{Body, BodyError, Error, Peer, Result};
use platform::{Buf, Chunk};

/// The end of the tunnel's code.
#[derive(Debug)]
pub(crate) struct Tube {
    body: Body,
    peer: Peer,
    outlet: Rc<Outlet>,
}

/// What the code sends, on its way to the exchange.
#[derive(Debug, Default)]
pub(in crate::conn) struct Outlet(RefCell<Inside>);

#[derive(Debug, Default)]
struct Inside {
    /// What the exchange has not taken, piece by piece.
    pieces: VecDeque<Buf>,
    /// Of the send that is on its way: what is not written yet, what is and has not been told, and the list that it came in.
    unsent: usize,
    sent: usize,
    spare: Outgoing,
    /// Nobody asks how it ends.
    is_hushed: bool,
    /// Nothing more is sent.
    is_shut: bool,
    /// Nothing more can be.
    is_broken: bool,
    code: Option<Waker>,
    exchange: Option<Waker>,
}

impl Tube {
    /// Both ends of a tunnel, whose code receives `body`.
    pub(super) fn new(body: Body, peer: Peer) -> (Tube, Rc<Outlet>) {
        let outlet = Rc::new(Outlet::default());
        (Tube { body, peer, outlet: Rc::clone(&outlet) }, outlet)
    }

    pub(crate) fn poll_recv(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Chunk>>> {
        self.body.poll_chunk(cx).map_err(|error| match error {
            BodyError::TimedOut => Error::TimedOut,
            _ => Error::Io(platform::Error::Reset),
        })
    }

    pub(crate) fn start_send(&self, outgoing: Outgoing) -> Result<()> {
        let inside = &mut *self.outlet.0.borrow_mut();
        if inside.is_broken || inside.is_shut {
            return Err(Error::Io(platform::Error::BrokenPipe));
        }
        (inside.unsent, inside.is_hushed) = (outgoing.bytes(), false);
        match outgoing {
            Outgoing::One(buf) => inside.pieces.push_back(buf),
            Outgoing::Many(mut list) => {
                inside.pieces.extend(list.drain());
                inside.spare = Outgoing::Many(list);
            }
            Outgoing::Pipe(_) => unreachable!("pipes are for bodies of HTTP/1.1"),
        }
        inside.pieces.retain(|piece| !piece.is_empty());
        inside.wake_exchange();
        Ok(())
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.outlet.0.borrow().is_sending()
    }

    pub(crate) fn poll_sent(&self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Sent>>> {
        let inside = &mut *self.outlet.0.borrow_mut();
        if !inside.is_sending() {
            return Poll::Ready(Ok(None));
        }
        if inside.is_broken {
            (inside.unsent, inside.sent) = (0, 0);
            return Poll::Ready(Err(Error::Io(platform::Error::Reset)));
        }
        if inside.sent == 0 {
            (inside.is_hushed, inside.code) = (false, Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let spare = if inside.unsent == 0 { std::mem::take(&mut inside.spare) } else { Outgoing::default() };
        Poll::Ready(Ok(Some(Sent { bytes: std::mem::take(&mut inside.sent), spare })))
    }

    pub(crate) fn hush(&self, waker: &Waker) -> bool {
        let inside = &mut *self.outlet.0.borrow_mut();
        let has_news = inside.is_sending() && (inside.is_broken || inside.sent > 0);
        if !has_news {
            (inside.is_hushed, inside.code) = (true, Some(waker.clone()));
        }
        has_news
    }

    pub(crate) fn shutdown(&mut self, how: Shutdown) -> Result<()> {
        if how != Shutdown::Write {
            // What comes is read over.
            self.body = Body::empty();
        }
        let inside = &mut *self.outlet.0.borrow_mut();
        if inside.is_broken {
            return Err(Error::Io(platform::Error::NotConnected));
        }
        if how != Shutdown::Read {
            inside.is_shut = true;
            inside.wake_exchange();
        }
        Ok(())
    }

    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}

/// What was started is still sent.
impl Drop for Tube {
    fn drop(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

/// What is to be written next.
pub(super) enum Next {
    /// This piece, and whether it is the last.
    Piece(Buf, bool),
    /// The end by itself.
    End,
    Nothing,
}

impl Outlet {
    /// Has the exchange's task woken from now on when there is something to write; or not, since it looks anyway.
    pub(super) fn watch(&self, waker: Option<&Waker>) {
        self.0.borrow_mut().exchange = waker.cloned();
    }

    pub(super) fn next(&self) -> Next {
        let inside = &mut *self.0.borrow_mut();
        match inside.pieces.pop_front() {
            Some(piece) => Next::Piece(piece, inside.is_shut && inside.pieces.is_empty()),
            None if inside.is_shut => Next::End,
            None => Next::Nothing,
        }
    }

    /// So much of what was taken has been written. Whoever waits for that is told, unless that is `by`, who looks anyway.
    pub(super) fn written(&self, bytes: usize, by: &Waker) {
        let inside = &mut *self.0.borrow_mut();
        inside.unsent = inside.unsent.saturating_sub(bytes);
        if !inside.is_hushed {
            inside.sent += bytes;
            inside.wake_code(by);
        }
    }

    /// Nothing more is written, whatever is said.
    pub(super) fn break_off(&self, by: &Waker) {
        let inside = &mut *self.0.borrow_mut();
        inside.is_broken = true;
        inside.pieces.clear();
        inside.wake_code(by);
    }
}

impl Inside {
    fn is_sending(&self) -> bool {
        self.unsent > 0 || self.sent > 0
    }

    fn wake_exchange(&self) {
        if let Some(waker) = &self.exchange {
            waker.wake_by_ref();
        }
    }

    fn wake_code(&mut self, by: &Waker) {
        if let Some(waker) = self.code.take()
            && !waker.will_wake(by)
        {
            waker.wake();
        }
    }
}
