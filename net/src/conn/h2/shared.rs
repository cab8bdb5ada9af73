//! What a connection's task and those of its exchanges share. Every borrow is short, and none is held while code of a user's
//! runs.

use std::cell::{RefCell, RefMut};
use std::task::Waker;

use http::StatusCode;
use platform::Buf;
use proto::h2::{Code, Engine, Key, Limits};
use proto::message::{BodyLength, Checked, WriteError};
use shards::{Pass, Shard};

use super::streams::{Means, Refusal, Slot, Streams};
use crate::conn::{Context, Counted, Exhausted, HEAD_BYTES_USUAL};
use crate::{BodyError, Content, Headers, Incoming, Peer, Response, Service};

pub(super) struct Shared<S: Service + 'static> {
    pub(super) state: RefCell<Streams>,
    pub(super) context: Counted<S>,
    pub(super) peer: Peer,
    /// Which of its server's connections it is.
    pub(super) number: u32,
    /// Holds the drain until all exchanges have ended. The scopes of the requests lie where it does.
    pub(super) pass: Pass,
}

impl<S: Service + 'static> Shared<S> {
    pub(super) fn new(engine: Engine, context: Counted<S>, peer: Peer, number: u32, pass: Pass) -> Self {
        Shared { state: RefCell::new(Streams::new(engine)), context, peer, number, pass }
    }

    pub(super) fn shard(&self) -> &Shard {
        self.peer.shard()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.context.config.h2
    }

    pub(super) fn means(&self) -> Means<'_> {
        let Context { supplies, config, .. } = &*self.context;
        Means { supplies, limits: &config.h2, gather_bytes_max: config.gather_bytes_max }
    }

    // ---- the connection's task ---------------------------------------------------------------------------------------

    /// Whether an answer can be written now.
    pub(super) fn has_room(&self) -> bool {
        !self.state.borrow().is_full(self.means())
    }

    pub(super) fn drain(&self) {
        let mut state = self.state.borrow_mut();
        if !state.engine.is_draining() && !state.engine.is_closed() {
            self.context.stats.h2_drained.add(1);
            state.engine.drain();
        }
    }

    /// No new stream is looked at any more.
    pub(super) fn finish(&self) {
        self.drain();
        self.state.borrow_mut().engine.finish();
    }

    pub(super) fn has_left(&self) -> bool {
        self.state.borrow().has_left
    }

    /// Ends all exchanges before their time.
    pub(super) fn end_all(&self, why: &'static str) {
        self.state.borrow_mut().end_all(why);
    }

    // ---- answers -----------------------------------------------------------------------------------------------------

    /// Writes an answer's head, and of what is there of its content as much as one frame takes and windows admit. Gives what
    /// is left. The outbox must have room.
    pub(super) fn respond(&self, key: Key, response: Response) -> Result<Option<Content>, Exhausted> {
        let Response { status, headers, mut content, .. } = response;
        let length = match &content {
            Content::Empty => BodyLength::None,
            Content::Tunnel(_) => BodyLength::Unknown,
            content => content.length().map_or(BodyLength::Unknown, BodyLength::Known),
        };
        let mut state = self.state.borrow_mut();
        let written = match status.is_informational() {
            true => Err(Refusal::Unwritable(WriteError::Upgrade)),
            false => self.write_head(&mut state, key, status, &headers, length),
        };
        match written {
            Ok(()) => {}
            Err(Refusal::Exhausted) => return Err(Exhausted),
            // It was reset meanwhile.
            Err(Refusal::Unwritable(WriteError::NotExpected)) => {}
            Err(Refusal::Unwritable(error)) => {
                tracing::error!(%status, "a response cannot be sent: {error}");
                // This one has nothing in it that could be refused.
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let _ = self.write_head(&mut state, key, status, &Headers::default(), BodyLength::None);
            }
        }
        if state.engine.can_send(key)
            && let Content::Full(buf) = &mut content
        {
            state.write_piece(self.means(), key, buf, true)?;
        }
        let goes_on = state.engine.can_send(key);
        drop(state);
        Ok(goes_on.then_some(content))
    }

    /// Asks for the body of a client that waits to be asked.
    pub(super) fn ask_for_body(&self, state: &mut Streams, key: Key) -> Result<(), Exhausted> {
        match self.write_head(state, key, StatusCode::CONTINUE, &Headers::default(), BodyLength::None) {
            Err(Refusal::Exhausted) => Err(Exhausted),
            _ => Ok(()),
        }
    }

    fn write_head(
        &self,
        state: &mut Streams,
        key: Key,
        status: StatusCode,
        headers: &Headers,
        length: BodyLength,
    ) -> Result<(), Refusal> {
        let fields = headers.iter().map(|(name, value)| Checked(name, value));
        state.write(self.means(), HEAD_BYTES_USUAL, |engine, room| {
            self.context.standing.with_values(self.shard(), |standing| {
                engine.respond(key, status, fields.clone(), standing, length, room).map(|count| ((), count))
            })
        })
    }

    /// Ends a stream whose content has been written: by trailer fields, or by itself. The outbox must have room.
    pub(super) fn write_end(&self, key: Key, trailers: &Headers) -> Result<(), Refusal> {
        self.state.borrow_mut().write_end(self.means(), key, trailers)
    }

    // ---- the tasks of exchanges --------------------------------------------------------------------------------------

    /// The state, for the task of an exchange that has room in the outbox. `None`: it is woken when there is.
    pub(super) fn with_room(&self, key: Key) -> Option<RefMut<'_, Streams>> {
        let mut state = self.state.borrow_mut();
        state.has_room_for(key, self.means()).then_some(state)
    }

    /// Has a stream's task woken from now on when something becomes of the stream.
    pub(super) fn watch(&self, key: Key, waker: &Waker) {
        self.state.borrow_mut().watch(key, waker);
    }

    /// Has a piece written when it is its turn.
    pub(super) fn offer(&self, key: Key, buf: Buf, is_last: bool) {
        self.state.borrow_mut().offer(key, buf, is_last);
    }

    pub(super) fn reset(&self, key: Key, code: Code) {
        self.state.borrow_mut().reset(key, code);
    }

    /// The reader of a stream's body has taken so much.
    pub(super) fn consume(&self, key: Key, count: usize) {
        self.state.borrow_mut().consume(key, count, self.limits());
    }

    pub(super) fn wake(&self) {
        self.state.borrow().wake();
    }

    /// Whether nobody reads on in a stream's body.
    pub(super) fn is_forsaken(&self, key: Key) -> bool {
        let mut state = self.state.borrow_mut();
        state.slot(key).is_some_and(|slot| slot.incoming.as_ref().is_some_and(Incoming::is_forsaken))
    }

    /// Nobody is to read on in a stream's body; what is there is as good as read.
    pub(super) fn forsake(&self, key: Key) {
        let incoming = self.state.borrow_mut().slot(key).and_then(|slot| slot.incoming.take());
        if let Some(incoming) = incoming {
            incoming.finish(Err(BodyError::Truncated));
            incoming.wake();
            self.context.supplies.reclaim_body(Some(incoming));
            self.consume(key, usize::MAX);
        }
    }

    /// Is done with a stream.
    pub(super) fn release(&self, key: Key) {
        if self.state.borrow_mut().release(key, self.limits()) {
            self.context.stats.h2_streams_open.subtract(1);
        }
    }

    /// Counts a stream that gets a task.
    pub(super) fn open(&self, slot: Slot) {
        self.context.stats.h2_streams_open.add(1);
        self.state.borrow_mut().open(slot);
    }
}
