//! [`Mailbox`]: the datagrams of a tunnel, between its code and the exchange. Both ways have a bound, and what is beyond it is
//! dropped, as a queue on the way would.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;

use crate::limits::HTTP_DATAGRAMS_QUEUED_MAX;

#[derive(Debug, Default)]
pub(crate) struct Mailbox(RefCell<Inside>);

#[derive(Debug, Default)]
struct Inside {
    received: VecDeque<Bytes>,
    outgoing: VecDeque<Bytes>,
    /// Those that were to be sent, and there was no room for.
    dropped: u64,
    /// Bytes of one that goes by itself at this moment; `None` if none does.
    bytes_max: Option<usize>,
    /// Nothing more comes or goes.
    is_closed: bool,
    code: Option<Waker>,
    exchange: Option<Waker>,
}

impl Mailbox {
    // ---- the code's end ----------------------------------------------------------------------------------------------

    /// The next that has come; `None` when nothing more comes.
    pub(crate) fn poll_recv(&self, cx: &TaskContext<'_>) -> Poll<Option<Bytes>> {
        let inside = &mut *self.0.borrow_mut();
        match inside.received.pop_front() {
            Some(datagram) => Poll::Ready(Some(datagram)),
            None if inside.is_closed => Poll::Ready(None),
            None => {
                inside.code = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn bytes_max(&self) -> Option<usize> {
        self.0.borrow().bytes_max
    }

    /// Has one sent, if there is room for it.
    pub(crate) fn send(&self, datagram: Bytes) {
        let inside = &mut *self.0.borrow_mut();
        if inside.is_closed || inside.outgoing.len() >= HTTP_DATAGRAMS_QUEUED_MAX {
            inside.dropped += 1;
            return;
        }
        inside.outgoing.push_back(datagram);
        if let Some(waker) = &inside.exchange {
            waker.wake_by_ref();
        }
    }

    // ---- the connection's --------------------------------------------------------------------------------------------

    /// One has come. Whether there is room for it. It is copied: it lies in memory that is shared with much else.
    pub(in crate::conn) fn deliver(&self, datagram: &[u8]) -> bool {
        let inside = &mut *self.0.borrow_mut();
        let has_room = !inside.is_closed && inside.received.len() < HTTP_DATAGRAMS_QUEUED_MAX;
        if has_room {
            inside.received.push_back(Bytes::copy_from_slice(datagram));
            inside.wake_code();
        }
        has_room
    }

    /// Says how long one may be, and has the exchange's task woken from now on when there is one to be sent; or not, since it looks
    /// anyway.
    pub(super) fn watch(&self, bytes_max: Option<usize>, waker: Option<&Waker>) {
        let inside = &mut *self.0.borrow_mut();
        (inside.bytes_max, inside.exchange) = (bytes_max, waker.cloned());
    }

    /// How many there was no room for, since somebody last asked.
    pub(super) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().dropped)
    }

    /// The next to be sent.
    pub(super) fn next(&self) -> Option<Bytes> {
        self.0.borrow_mut().outgoing.pop_front()
    }

    pub(super) fn close(&self) {
        let inside = &mut *self.0.borrow_mut();
        inside.is_closed = true;
        inside.outgoing.clear();
        inside.wake_code();
    }
}

impl Inside {
    fn wake_code(&mut self) {
        if let Some(waker) = self.code.take() {
            waker.wake();
        }
    }
}
