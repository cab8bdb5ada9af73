//! What a connection's task and those of its exchanges share. Every borrow is short, and none is held while code of a user's
//! runs.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::task::Waker;

use http::StatusCode;
use platform::Buf;
use platform::limits::CHUNK_BYTES_MAX;
use proto::h2::{CONTROL_BYTES_MIN, Code, Engine, Key, Limits};
use proto::message::{BodyLength, Checked, WriteError};
use shards::{Pass, Shard};

use crate::conn::Exhausted;
use crate::conn::outbox::Outbox;
use crate::conn::{Counted, HEAD_BYTES_USUAL};
use crate::limits::{COPY_BODY_BYTES_MAX, DRAIN_BODY_BYTES_MAX};
use crate::tcp::Outgoing;
use crate::{BodyError, Content, Headers, Incoming, Peer, Response, Service};

pub(super) struct Shared<S: Service + 'static> {
    pub(super) state: RefCell<State>,
    pub(super) context: Counted<S>,
    pub(super) peer: Peer,
    /// Which of its server's connections it is.
    pub(super) number: u32,
    /// Holds the drain until all exchanges have ended. The scopes of the requests lie where it does.
    pub(super) pass: Pass,
}

pub(super) struct State {
    pub(super) engine: Engine,
    outbox: Outbox,
    /// Streams that have a task, by their place.
    slots: Vec<Option<Slot>>,
    /// The connection's task.
    waker: Option<Waker>,
    /// How many wait until something has left the outbox.
    awaiting_room: usize,
    /// The client has ended its side.
    pub(super) has_left: bool,
    /// Why the connection has ended, once it has.
    ended: Option<&'static str>,
}

/// One stream that has a task, as both sides see it.
pub(super) struct Slot {
    pub(super) key: Key,
    /// The feeding end of the request's body.
    pub(super) incoming: Option<Rc<Incoming>>,
    /// The client waits to be asked for the body.
    pub(super) expects_continue: bool,
    /// Bytes of the body that were read over.
    pub(super) unread: u64,
    /// What has been offered and not all been written yet, and whether the stream ends with it.
    piece: Option<(Buf, bool)>,
    /// What the peer has sent, and been sent, since the task last looked.
    pub(super) received: usize,
    pub(super) sent: usize,
    awaits_room: bool,
    /// Why the stream has ended before its time.
    ended: Option<&'static str>,
    waker: Option<Waker>,
}

/// Why something was not written.
pub(super) enum Refusal {
    Exhausted,
    /// It is not a response that HTTP can carry: a mistake of the handler's.
    Unwritable(WriteError),
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Refusal::Exhausted
    }
}

impl Slot {
    pub(super) fn new(key: Key, incoming: Option<Rc<Incoming>>, expects_continue: bool) -> Self {
        Slot {
            key,
            incoming,
            expects_continue,
            unread: 0,
            piece: None,
            received: 0,
            sent: 0,
            awaits_room: false,
            ended: None,
            waker: None,
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl<S: Service + 'static> Shared<S> {
    pub(super) fn new(engine: Engine, context: Counted<S>, peer: Peer, number: u32, pass: Pass) -> Self {
        let state = State {
            engine,
            outbox: Outbox::default(),
            slots: Vec::new(),
            waker: None,
            awaiting_room: 0,
            has_left: false,
            ended: None,
        };
        Shared { state: RefCell::new(state), context, peer, number, pass }
    }

    pub(super) fn shard(&self) -> &Shard {
        self.peer.shard()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.context.config.h2
    }

    // ---- the connection's task ---------------------------------------------------------------------------------------

    /// Has the connection's task woken from now on.
    pub(super) fn attend(&self, waker: &Waker) {
        match &mut self.state.borrow_mut().waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Whether an answer can be written now.
    pub(super) fn has_room(&self) -> bool {
        !self.is_full(&self.state.borrow().outbox)
    }

    fn is_full(&self, outbox: &Outbox) -> bool {
        outbox.is_full(self.context.config.gather_bytes_max)
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

    /// The client has ended its side: exchanges see it.
    pub(super) fn leave(&self) {
        let mut state = self.state.borrow_mut();
        state.has_left = true;
        state.slots.iter().flatten().for_each(Slot::wake);
    }

    pub(super) fn has_left(&self) -> bool {
        self.state.borrow().has_left
    }

    /// Ends all exchanges before their time.
    pub(super) fn end_all(&self, why: &'static str) {
        let mut state = self.state.borrow_mut();
        state.ended.get_or_insert(why);
        state.slots.iter().flatten().for_each(Slot::wake);
    }

    /// Whether the connection has come to its end and nothing is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.has_come_to_its_end() && state.outbox.is_empty() && !state.engine.has_control()
    }

    /// Whether something is done when the present send has ended.
    pub(super) fn awaits_send(&self) -> bool {
        let state = self.state.borrow();
        !state.outbox.is_empty() || state.has_come_to_its_end()
    }

    /// Gathers what may be sent: what the connection has to say, then data as windows and priorities admit.
    pub(super) fn gather(&self) -> Result<(), Exhausted> {
        let state = &mut *self.state.borrow_mut();
        while state.engine.has_control() && !self.is_full(&state.outbox) {
            let room = state.outbox.room(CONTROL_BYTES_MIN, &self.context.supplies)?;
            let count = state.engine.control(self.limits(), room);
            state.outbox.commit(count);
        }
        while !self.is_full(&state.outbox)
            && let Some(key) = state.engine.pick()
        {
            let Some((mut buf, is_last)) = state.slot(key).and_then(|slot| slot.piece.take()) else { continue };
            let bytes = buf.len();
            self.write_piece(state, key, &mut buf, is_last)?;
            let rest = buf.len();
            let Some(slot) = state.slot(key) else { continue };
            slot.sent += bytes - rest;
            if rest > 0 {
                slot.piece = Some((buf, is_last));
                state.engine.offer(key);
            }
            // Its time begins anew with what the peer has been sent.
            if rest == 0 || state.engine.is_held(key) {
                state.slot(key).iter().for_each(|slot| slot.wake());
            }
        }
        Ok(())
    }

    /// Takes what is gathered. Who waited for room is told.
    pub(super) fn take_outbox(&self) -> Option<Outgoing> {
        let mut state = self.state.borrow_mut();
        if state.outbox.is_empty() {
            return None;
        }
        if std::mem::take(&mut state.awaiting_room) > 0 {
            for slot in state.slots.iter_mut().flatten() {
                if std::mem::take(&mut slot.awaits_room) {
                    slot.wake();
                }
            }
        }
        Some(state.outbox.take(&self.context.supplies))
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
            self.write_piece(&mut state, key, buf, true)?;
        }
        let goes_on = state.engine.can_send(key);
        drop(state);
        Ok(goes_on.then_some(content))
    }

    /// Asks for the body of a client that waits to be asked.
    pub(super) fn ask_for_body(&self, state: &mut State, key: Key) -> Result<(), Exhausted> {
        match self.write_head(state, key, StatusCode::CONTINUE, &Headers::default(), BodyLength::None) {
            Err(Refusal::Exhausted) => Err(Exhausted),
            _ => Ok(()),
        }
    }

    fn write_head(
        &self,
        state: &mut State,
        key: Key,
        status: StatusCode,
        headers: &Headers,
        length: BodyLength,
    ) -> Result<(), Refusal> {
        let fields = headers.iter().map(|(name, value)| Checked(name, value));
        self.write(state, HEAD_BYTES_USUAL, |engine, room| {
            self.context.standing.with_values(self.shard(), |standing| {
                engine.respond(key, status, fields.clone(), standing, length, room)
            })
        })
    }

    /// Ends a stream whose content has been written: by trailer fields, or by itself. The outbox must have room.
    pub(super) fn write_end(&self, key: Key, trailers: &Headers) -> Result<(), Refusal> {
        let state = &mut *self.state.borrow_mut();
        let fields = trailers.iter().map(|(name, value)| Checked(name, value));
        self.write(state, HEAD_BYTES_USUAL, |engine, room| match trailers.is_empty() {
            true => engine.data(key, 0, true, room).map(|data| data.head),
            false => engine.trailers(key, fields.clone(), room),
        })
    }

    /// Lets the engine write into the outbox, with a chunk of its own if the present one has too little room.
    fn write(
        &self,
        state: &mut State,
        mut bytes: usize,
        write: impl Fn(&mut Engine, &mut [u8]) -> Result<usize, WriteError>,
    ) -> Result<(), Refusal> {
        loop {
            let room = state.outbox.room(bytes, &self.context.supplies)?;
            match write(&mut state.engine, room) {
                Ok(count) => {
                    state.outbox.commit(count);
                    return Ok(());
                }
                Err(WriteError::Full) if bytes < CHUNK_BYTES_MAX => bytes = (4 * bytes).min(CHUNK_BYTES_MAX),
                Err(error) => return Err(Refusal::Unwritable(error)),
            }
        }
    }

    /// Writes of a piece what one frame takes and windows admit, and leaves the rest; nothing is left if nobody wants it.
    fn write_piece(&self, state: &mut State, key: Key, buf: &mut Buf, is_last: bool) -> Result<(), Exhausted> {
        let supplies = &self.context.supplies;
        let room = state.outbox.room(CONTROL_BYTES_MIN, supplies)?;
        let Ok(data) = state.engine.data(key, buf.len(), is_last, room) else {
            *buf = Buf::EMPTY;
            return Ok(());
        };
        state.outbox.commit(data.head);
        if data.count > 0 {
            let front = buf.split_to(data.count);
            match front.len() <= COPY_BODY_BYTES_MAX {
                true => state.outbox.put(&front, supplies)?,
                false => state.outbox.push(front, supplies),
            }
        }
        Ok(())
    }

    // ---- the tasks of exchanges --------------------------------------------------------------------------------------

    /// The state, for the task of an exchange that has room in the outbox. `None`: it is woken when there is.
    pub(super) fn with_room(&self, key: Key) -> Option<RefMut<'_, State>> {
        let mut state = self.state.borrow_mut();
        if !self.is_full(&state.outbox) {
            return Some(state);
        }
        if let Some(slot) = state.slot(key)
            && !std::mem::replace(&mut slot.awaits_room, true)
        {
            state.awaiting_room += 1;
        }
        None
    }

    /// Has a stream's task woken from now on when something becomes of the stream.
    pub(super) fn watch(&self, key: Key, waker: &Waker) {
        if let Some(slot) = self.state.borrow_mut().slot(key) {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// Has a piece written when it is its turn.
    pub(super) fn offer(&self, key: Key, buf: Buf, is_last: bool) {
        let mut state = self.state.borrow_mut();
        if let Some(slot) = state.slot(key) {
            slot.piece = Some((buf, is_last));
            state.engine.offer(key);
            state.wake();
        }
    }

    pub(super) fn reset(&self, key: Key, code: Code) {
        let mut state = self.state.borrow_mut();
        state.engine.reset(key, code);
        state.wake();
    }

    /// The reader of a stream's body has taken so much.
    pub(super) fn consume(&self, key: Key, count: usize) {
        let mut state = self.state.borrow_mut();
        state.engine.consume(key, count, self.limits());
        if state.engine.has_control() {
            state.wake();
        }
    }

    pub(super) fn wake(&self) {
        self.state.borrow().wake();
    }

    /// Has all exchanges look about.
    pub(super) fn wake_all(&self) {
        self.state.borrow().slots.iter().flatten().for_each(Slot::wake);
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
        let mut state = self.state.borrow_mut();
        if let Some(slot) = state.slot(key) {
            let awaits_room = slot.awaits_room;
            state.awaiting_room -= usize::from(awaits_room);
            state.slots[key.place()] = None;
            self.context.stats.h2_streams_open.subtract(1);
            state.wake();
        }
        state.engine.release(key, self.limits());
    }

    /// Counts a stream that gets a task.
    pub(super) fn open(&self, slot: Slot) {
        self.context.stats.h2_streams_open.add(1);
        let mut state = self.state.borrow_mut();
        let place = slot.key.place();
        if state.slots.len() <= place {
            state.slots.resize_with(place + 1, || None);
        }
        state.slots[place] = Some(slot);
    }
}

impl State {
    pub(super) fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.place())?.as_mut().filter(|slot| slot.key == key)
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    fn has_come_to_its_end(&self) -> bool {
        self.engine.is_closed() || self.engine.is_drained() || self.has_left && self.engine.stream_count() == 0
    }

    /// Something has come of a request's body: who is fed with it, if anyone.
    pub(super) fn feeds(&mut self, key: Key, count: usize, limits: &Limits) -> Option<Rc<Incoming>> {
        let slot = self.slots.get_mut(key.place())?.as_mut().filter(|slot| slot.key == key)?;
        slot.received += count;
        slot.expects_continue = false;
        slot.wake();
        let incoming =
            slot.incoming.as_ref().filter(|incoming| !incoming.is_forsaken() && !incoming.has_ended()).cloned();
        if incoming.is_none() {
            slot.unread += count as u64;
            if slot.unread <= DRAIN_BODY_BYTES_MAX {
                self.engine.consume(key, count, limits);
            }
        }
        incoming
    }

    /// Ends a stream before its time.
    pub(super) fn end(&mut self, key: Key, why: &'static str) {
        if let Some(slot) = self.slot(key) {
            slot.ended = Some(why);
            slot.piece = None;
            slot.wake();
        }
    }

    /// Why a stream has ended before its time, if it has.
    pub(super) fn ended(&mut self, key: Key) -> Option<&'static str> {
        let ended = self.ended;
        ended.or(self.slot(key)?.ended)
    }

    /// Whether a stream's piece is still to be written.
    pub(super) fn has_piece(&mut self, key: Key) -> bool {
        self.slot(key).is_some_and(|slot| slot.piece.is_some())
    }
}
