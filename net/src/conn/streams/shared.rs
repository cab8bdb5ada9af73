//! What a connection's task and those of its exchanges share. Every borrow is short, and none is held while code of a user's
//! runs.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::task::Waker;

use http::StatusCode;
use http::header::ALT_SVC;
use platform::Buf;
use proto::message::{BodyLength, WriteError};
use shards::{Pass, Shard};

use super::{Answer, Cut, Mailbox, Means, Refusal, Slot, Streams, Wire};
use crate::conn::{Context, Counted, Exhausted};
use crate::{BodyError, Content, Headers, Incoming, Peer, Response, Service};

pub(in crate::conn) struct Shared<S: Service + 'static, W: Wire> {
    pub(in crate::conn) state: RefCell<Streams<W>>,
    pub(in crate::conn) context: Counted<S>,
    pub(in crate::conn) peer: Peer,
    /// Which of its server's connections it is.
    pub(in crate::conn) number: u32,
    /// Holds the drain until all exchanges have ended. The scopes of the requests lie where it does.
    pub(in crate::conn) pass: Pass,
    /// The first answer is still to say where else the server is.
    pub(in crate::conn) tells_alternative: Cell<bool>,
}

impl<S: Service + 'static, W: Wire> Shared<S, W> {
    pub(in crate::conn) fn new(wire: W, context: Counted<S>, peer: Peer, number: u32, pass: Pass) -> Self {
        let (state, tells_alternative) = (RefCell::new(Streams::new(wire)), Cell::default());
        Shared { state, context, peer, number, pass, tells_alternative }
    }

    pub(in crate::conn) fn shard(&self) -> &Shard {
        self.peer.shard()
    }

    pub(in crate::conn) fn limits(&self) -> &W::Limits {
        W::limits(&self.context.config)
    }

    pub(in crate::conn) fn means(&self) -> Means<'_, W> {
        let Context { supplies, config, .. } = &*self.context;
        Means { supplies, limits: W::limits(config), gather_bytes_max: config.gather_bytes_max }
    }

    // ---- the connection's task ---------------------------------------------------------------------------------------

    /// Whether an answer can be written now.
    pub(in crate::conn) fn has_room(&self) -> bool {
        !self.state.borrow().wire.is_full(self.means())
    }

    /// Begins the graceful end. Whether that was news.
    pub(in crate::conn) fn drain(&self) -> bool {
        self.state.borrow_mut().wire.drain()
    }

    pub(in crate::conn) fn has_left(&self) -> bool {
        self.state.borrow().has_left
    }

    /// Ends all exchanges before their time.
    pub(in crate::conn) fn end_all(&self, why: &'static str) {
        self.state.borrow_mut().end_all(why);
    }

    // ---- answers -----------------------------------------------------------------------------------------------------

    /// Writes an answer's head, and of what is there of its content as much as one frame takes and windows admit. Gives what
    /// is left. The outbox must have room. With nothing left, a stream that `is_unwaited` is done with: nobody waits for it, and no more of
    /// its request is to come. Else it is [kept](Wire::keep) unless the answer is repeated.
    pub(in crate::conn) fn respond(
        &self,
        key: &mut W::Key,
        response: &mut Response,
        is_unwaited: bool,
    ) -> Result<Option<Content>, Exhausted> {
        if self.repeat(*key, response) {
            if is_unwaited {
                self.state.borrow_mut().wire.release(*key, self.limits());
            }
            return Ok(None);
        }
        *key = self.keep(*key);
        self.respond_anew(*key, response, is_unwaited)
    }

    /// Writes a whole answer as it was written before, if it was and may be.
    fn repeat(&self, key: W::Key, response: &mut Response) -> bool {
        let Response { status, headers, content: Content::Full(buf), .. } = response else { return false };
        if self.tells_alternative.get() {
            return false;
        }
        let (said, means, state) = ((*status, &*headers), self.means(), &self.state);
        let standing = &self.context.standing;
        standing.with_values(self.shard(), |standing| state.borrow_mut().wire.repeat(means, key, said, standing, buf))
    }

    fn respond_anew(
        &self,
        key: W::Key,
        response: &mut Response,
        is_unwaited: bool,
    ) -> Result<Option<Content>, Exhausted> {
        let Response { status, headers, content, .. } = response;
        let status = *status;
        if self.tells_alternative.take()
            && let Some(value) = &self.context.config.alternative
        {
            headers.append_missing(ALT_SVC, value);
        }
        let length = match &*content {
            Content::Empty => BodyLength::None,
            Content::Tunnel(_) => BodyLength::Unknown,
            content => content.length().map_or(BodyLength::Unknown, BodyLength::Known),
        };
        let mut state = self.state.borrow_mut();
        let written = match status.is_informational() {
            true => Err(Refusal::Unwritable(WriteError::Upgrade)),
            false => {
                let answer = Answer { status, headers, length };
                match content {
                    Content::Full(buf) => self.write_head(&mut state, key, answer, buf),
                    _ => self.write_head(&mut state, key, answer, &mut Buf::default()),
                }
            }
        };
        let mut goes_on = match written {
            Ok(goes_on) => goes_on,
            Err(Refusal::Exhausted) => return Err(Exhausted),
            // It was reset meanwhile.
            Err(Refusal::Unwritable(WriteError::NotExpected)) => state.wire.can_send(key),
            Err(Refusal::Unwritable(error)) => {
                tracing::error!(%status, "a response cannot be sent: {error}");
                // This one has nothing in it that could be refused.
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let answer = Answer { status, headers: &Headers::default(), length: BodyLength::None };
                let _ = self.write_head(&mut state, key, answer, &mut Buf::default());
                state.wire.can_send(key)
            }
        };
        if goes_on && let Content::Full(buf) = content {
            state.wire.piece(self.means(), key, buf, true)?;
            goes_on = state.wire.can_send(key);
        }
        if !goes_on && is_unwaited {
            state.wire.release(key, self.limits());
        }
        drop(state);
        Ok(goes_on.then(|| std::mem::take(content)))
    }

    /// Asks for the body of a client that waits to be asked.
    pub(in crate::conn) fn ask_for_body(&self, state: &mut Streams<W>, key: W::Key) -> Result<(), Exhausted> {
        let (status, length) = (StatusCode::CONTINUE, BodyLength::None);
        match self.write_head(state, key, Answer { status, headers: &Headers::default(), length }, &mut Buf::default())
        {
            Err(Refusal::Exhausted) => Err(Exhausted),
            _ => Ok(()),
        }
    }

    fn write_head(
        &self,
        state: &mut Streams<W>,
        key: W::Key,
        answer: Answer<'_>,
        content: &mut Buf,
    ) -> Result<bool, Refusal> {
        let means = self.means();
        let standing = &self.context.standing;
        standing.with_values(self.shard(), |standing| state.wire.head(means, key, answer, standing, content))
    }

    /// Ends a stream whose content has been written: by trailer fields, or by itself. The outbox must have room.
    pub(in crate::conn) fn write_end(&self, key: W::Key, trailers: &Headers) -> Result<(), Refusal> {
        self.state.borrow_mut().wire.end(self.means(), key, trailers)
    }

    // ---- the tasks of exchanges --------------------------------------------------------------------------------------

    /// The state, for the task of an exchange that has room in the outbox. `None`: it is woken when there is.
    pub(in crate::conn) fn with_room(&self, key: W::Key) -> Option<RefMut<'_, Streams<W>>> {
        let mut state = self.state.borrow_mut();
        state.has_room_for(key, self.means()).then_some(state)
    }

    /// Has a stream's task woken from now on when something becomes of the stream.
    pub(in crate::conn) fn watch(&self, key: W::Key, waker: &Waker) {
        self.state.borrow_mut().watch(key, waker);
    }

    /// Has a piece written when it is its turn.
    pub(in crate::conn) fn offer(&self, key: W::Key, buf: Buf, is_last: bool) {
        self.state.borrow_mut().offer(key, buf, is_last);
    }

    pub(in crate::conn) fn reset(&self, key: W::Key, cut: Cut) {
        self.state.borrow_mut().reset(key, cut);
    }

    /// The reader of a stream's body has taken so much.
    pub(in crate::conn) fn consume(&self, key: W::Key, count: usize) {
        self.state.borrow_mut().consume(key, count, self.limits());
    }

    pub(in crate::conn) fn wake(&self) {
        self.state.borrow().wake();
    }

    /// Whether nobody reads on in a stream's body.
    pub(in crate::conn) fn is_forsaken(&self, key: W::Key) -> bool {
        let mut state = self.state.borrow_mut();
        state.slot(key).is_some_and(|slot| slot.incoming.as_ref().is_some_and(Incoming::is_forsaken))
    }

    /// Nobody is to read on in a stream's body; what is there is as good as read.
    pub(in crate::conn) fn forsake(&self, key: W::Key) {
        let incoming = self.state.borrow_mut().slot(key).and_then(|slot| slot.incoming.take());
        if let Some(incoming) = incoming {
            incoming.finish(Err(BodyError::Truncated));
            incoming.wake();
            self.context.supplies.reclaim_body(Some(incoming));
            self.consume(key, usize::MAX);
        }
    }

    /// What a tunnel's datagrams go through, where any go beside its stream.
    pub(in crate::conn) fn open_mailbox(&self, key: W::Key) -> Option<Rc<Mailbox>> {
        let mut state = self.state.borrow_mut();
        let mailbox = state.wire.carries_datagrams().then(Rc::<Mailbox>::default)?;
        state.slot(key)?.mailbox = Some(Rc::clone(&mailbox));
        Some(mailbox)
    }

    /// Sends what a tunnel's code has put there, and has its task woken from now on when there is more; or not, since it looks anyway.
    pub(in crate::conn) fn watch_mailbox(&self, key: W::Key, mailbox: Option<&Mailbox>, waker: Option<&Waker>) {
        let Some(mailbox) = mailbox else { return };
        let mut state = self.state.borrow_mut();
        while let Some(datagram) = mailbox.next() {
            let goes = state.wire.datagram(key, &datagram);
            self.context.stats.http_datagrams_dropped.add(u64::from(!goes));
            state.wake();
        }
        self.context.stats.http_datagrams_dropped.add(mailbox.take_dropped());
        mailbox.watch(state.wire.datagram_bytes_max(key), waker);
    }

    /// Is done with a stream.
    pub(in crate::conn) fn release(&self, key: W::Key) {
        if self.state.borrow_mut().release(key, self.limits()) {
            W::streams_open(&self.context.stats).subtract(1);
        }
    }

    /// Has a stream kept that is not done with at once.
    pub(in crate::conn) fn keep(&self, key: W::Key) -> W::Key {
        self.state.borrow_mut().wire.keep(key)
    }

    /// Counts a stream that gets a task.
    pub(in crate::conn) fn open(&self, slot: Slot<W>) {
        W::streams_open(&self.context.stats).add(1);
        self.state.borrow_mut().open(slot);
    }
}
