//! The streams of a connection of HTTP/2 and what it is about to send, for either end: what the one task that receives and
//! sends, and those that wait for something of a stream, have between them.

use std::rc::Rc;
use std::task::Waker;

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, Group, Pool};
use proto::h2::{CONTROL_BYTES_MIN, Code, Engine, Key, Limits};
use proto::message::{Checked, WriteError};

use crate::conn::input::Input;
use crate::conn::outbox::{Outbox, Supplies};
use crate::conn::{Exhausted, HEAD_BYTES_USUAL};
use crate::limits::{COPY_BODY_BYTES_MAX, DRAIN_BODY_BYTES_MAX};
use crate::tcp::Outgoing;
use crate::{Head, Headers, Incoming};

/// What the streams of a connection are served with.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) supplies: &'a Supplies,
    pub(super) limits: &'a Limits,
    pub(super) gather_bytes_max: usize,
}

pub(super) struct Streams {
    pub(super) engine: Engine,
    outbox: Outbox,
    /// Streams that somebody waits for, by their place.
    slots: Vec<Option<Slot>>,
    /// The connection's task.
    waker: Option<Waker>,
    /// How many wait until something has left the outbox.
    awaiting_room: usize,
    /// How many receive a large body.
    bulky: usize,
    /// The peer has ended its side.
    pub(super) has_left: bool,
    /// Why the connection has ended, once it has.
    pub(super) ended: Option<&'static str>,
}

/// One stream, as both sides see it.
pub(super) struct Slot {
    pub(super) key: Key,
    /// The feeding end of the body that is received.
    pub(super) incoming: Option<Rc<Incoming>>,
    /// The client waits to be asked for the body, or has been asked.
    pub(super) expects_continue: bool,
    /// More of a large body is to come.
    pub(super) is_bulky: bool,
    /// Bytes of the body that were read over.
    pub(super) unread: u64,
    /// What has been offered and not all been written yet, and whether the stream ends with it.
    piece: Option<(Buf, bool)>,
    /// What the peer has sent, and been sent, since somebody last looked.
    pub(super) received: usize,
    pub(super) sent: usize,
    awaits_room: bool,
    /// Why the stream has ended before its time.
    ended: Option<&'static str>,
    /// By which code it was reset.
    pub(super) code: Option<Code>,
    /// The head of the response, and the length that it declares.
    pub(super) response: Option<(Head, Option<u64>)>,
    waker: Option<Waker>,
}

/// Why something was not written.
pub(super) enum Refusal {
    Exhausted,
    /// It is no message that HTTP can carry: a mistake of whoever made it.
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
            is_bulky: false,
            unread: 0,
            piece: None,
            received: 0,
            sent: 0,
            awaits_room: false,
            ended: None,
            code: None,
            response: None,
            waker: None,
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

impl Streams {
    pub(super) fn new(engine: Engine) -> Self {
        Streams {
            engine,
            outbox: Outbox::default(),
            slots: Vec::new(),
            waker: None,
            awaiting_room: 0,
            bulky: 0,
            has_left: false,
            ended: None,
        }
    }

    // ---- the connection's task ---------------------------------------------------------------------------------------

    /// Has the connection's task woken from now on.
    pub(super) fn attend(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Has everybody look about.
    pub(super) fn wake_all(&self) {
        self.slots.iter().flatten().for_each(Slot::wake);
    }

    /// The peer has ended its side: everybody sees it.
    pub(super) fn leave(&mut self) {
        self.has_left = true;
        self.wake_all();
    }

    /// Ends all streams before their time.
    pub(super) fn end_all(&mut self, why: &'static str) {
        self.ended.get_or_insert(why);
        self.wake_all();
    }

    /// Whether the connection has come to its end and nothing is left to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.has_come_to_its_end() && self.outbox.is_empty() && !self.engine.has_control()
    }

    /// Whether something is done when the present send has ended.
    pub(super) fn awaits_send(&self) -> bool {
        !self.outbox.is_empty() || self.has_come_to_its_end()
    }

    fn has_come_to_its_end(&self) -> bool {
        self.engine.is_closed() || self.engine.is_drained() || self.has_left && self.engine.stream_count() == 0
    }

    /// Whether no more is gathered until something has left.
    pub(super) fn is_full(&self, means: Means<'_>) -> bool {
        self.outbox.is_full(means.gather_bytes_max)
    }

    /// Gathers what may be sent: what the connection has to say, then data as windows and priorities admit.
    pub(super) fn gather(&mut self, means: Means<'_>) -> Result<(), Exhausted> {
        while self.engine.has_control() && !self.is_full(means) {
            let room = self.outbox.room(CONTROL_BYTES_MIN, means.supplies)?;
            let count = self.engine.control(means.limits, room);
            self.outbox.commit(count);
        }
        while !self.is_full(means)
            && let Some(key) = self.engine.pick()
        {
            let Some((mut buf, is_last)) = self.slot(key).and_then(|slot| slot.piece.take()) else { continue };
            let bytes = buf.len();
            self.write_piece(means, key, &mut buf, is_last)?;
            let rest = buf.len();
            let Some(slot) = self.slot(key) else { continue };
            slot.sent += bytes - rest;
            if rest > 0 {
                slot.piece = Some((buf, is_last));
                self.engine.offer(key);
            }
            // Its time begins anew with what the peer has been sent.
            if rest == 0 || self.engine.is_held(key) {
                self.slot(key).iter().for_each(|slot| slot.wake());
            }
        }
        Ok(())
    }

    /// Takes what is gathered. Who waited for room is told.
    pub(super) fn take_outbox(&mut self, means: Means<'_>) -> Option<Outgoing> {
        if self.outbox.is_empty() {
            return None;
        }
        if std::mem::take(&mut self.awaiting_room) > 0 {
            for slot in self.slots.iter_mut().flatten() {
                if std::mem::take(&mut slot.awaits_room) {
                    slot.wake();
                }
            }
        }
        Some(self.outbox.take(means.supplies))
    }

    /// Something has come of a body: who is fed with it, if anyone.
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

    /// The peer has not looked at requests above `last`, and will not.
    pub(super) fn refuse_above(&mut self, last: u32) {
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.key.id() > last) {
            (slot.code, slot.ended, slot.piece) = (Some(Code::REFUSED_STREAM), Some("the peer takes no more"), None);
            slot.wake();
        }
    }

    // ---- what is written ---------------------------------------------------------------------------------------------

    /// Lets the engine write into the outbox, with a chunk of its own if the present one has too little room.
    pub(super) fn write<T>(
        &mut self,
        means: Means<'_>,
        mut bytes: usize,
        write: impl Fn(&mut Engine, &mut [u8]) -> Result<(T, usize), WriteError>,
    ) -> Result<T, Refusal> {
        loop {
            let room = self.outbox.room(bytes, means.supplies)?;
            match write(&mut self.engine, room) {
                Ok((written, count)) => {
                    self.outbox.commit(count);
                    return Ok(written);
                }
                Err(WriteError::Full) if bytes < CHUNK_BYTES_MAX => bytes = (4 * bytes).min(CHUNK_BYTES_MAX),
                Err(error) => return Err(Refusal::Unwritable(error)),
            }
        }
    }

    /// Writes of a piece what one frame takes and windows admit, and leaves the rest; nothing is left if nobody wants it.
    pub(super) fn write_piece(
        &mut self,
        means: Means<'_>,
        key: Key,
        buf: &mut Buf,
        is_last: bool,
    ) -> Result<(), Exhausted> {
        let room = self.outbox.room(CONTROL_BYTES_MIN, means.supplies)?;
        let Ok(data) = self.engine.data(key, buf.len(), is_last, room) else {
            *buf = Buf::EMPTY;
            return Ok(());
        };
        self.outbox.commit(data.head);
        if data.count > 0 {
            let front = buf.split_to(data.count);
            match front.len() <= COPY_BODY_BYTES_MAX {
                true => self.outbox.put(&front, means.supplies)?,
                false => self.outbox.push(front, means.supplies),
            }
        }
        Ok(())
    }

    /// Ends a stream whose content has been written: by trailer fields, or by itself. The outbox must have room.
    pub(super) fn write_end(&mut self, means: Means<'_>, key: Key, trailers: &Headers) -> Result<(), Refusal> {
        let fields = trailers.iter().map(|(name, value)| Checked(name, value));
        self.write(means, HEAD_BYTES_USUAL, |engine, room| match trailers.is_empty() {
            true => engine.data(key, 0, true, room).map(|data| ((), data.head)),
            false => engine.trailers(key, fields.clone(), room).map(|count| ((), count)),
        })
    }

    // ---- who waits for a stream --------------------------------------------------------------------------------------

    pub(super) fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.place())?.as_mut().filter(|slot| slot.key == key)
    }

    pub(super) fn open(&mut self, slot: Slot) {
        let place = slot.key.place();
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        self.bulky += usize::from(slot.is_bulky);
        self.slots[place] = Some(slot);
    }

    /// No more of a stream's body is to come.
    pub(super) fn body_ended(&mut self, key: Key) {
        let was_bulky = self.slot(key).is_some_and(|slot| std::mem::take(&mut slot.is_bulky));
        self.bulky -= usize::from(was_bulky);
    }

    /// What is best received into.
    pub(super) fn group(&self) -> Group {
        if self.bulky > 0 { Group::Bulk } else { Group::Heads }
    }

    /// Is done with a stream. Whether somebody waited for it.
    pub(super) fn release(&mut self, key: Key, limits: &Limits) -> bool {
        self.body_ended(key);
        let slot = self.slot(key);
        let (is_open, awaits_room) = (slot.is_some(), slot.is_some_and(|slot| slot.awaits_room));
        if is_open {
            self.awaiting_room -= usize::from(awaits_room);
            self.slots[key.place()] = None;
            self.wake();
        }
        self.engine.release(key, limits);
        is_open
    }

    /// Whether the outbox has room. If not, the stream's task is woken when it has.
    pub(super) fn has_room_for(&mut self, key: Key, means: Means<'_>) -> bool {
        if !self.is_full(means) {
            return true;
        }
        if let Some(slot) = self.slot(key)
            && !std::mem::replace(&mut slot.awaits_room, true)
        {
            self.awaiting_room += 1;
        }
        false
    }

    /// Has a stream's task woken from now on when something becomes of the stream.
    pub(super) fn watch(&mut self, key: Key, waker: &Waker) {
        if let Some(slot) = self.slot(key) {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// Has a piece written when it is its turn.
    pub(super) fn offer(&mut self, key: Key, buf: Buf, is_last: bool) {
        if let Some(slot) = self.slot(key) {
            slot.piece = Some((buf, is_last));
            self.engine.offer(key);
            self.wake();
        }
    }

    /// Whether a stream's piece is still to be written.
    pub(super) fn has_piece(&mut self, key: Key) -> bool {
        self.slot(key).is_some_and(|slot| slot.piece.is_some())
    }

    pub(super) fn reset(&mut self, key: Key, code: Code) {
        self.engine.reset(key, code);
        self.wake();
    }

    /// The reader of a stream's body has taken so much.
    pub(super) fn consume(&mut self, key: Key, count: usize, limits: &Limits) {
        self.engine.consume(key, count, limits);
        if self.engine.has_control() {
            self.wake();
        }
    }

    /// Why a stream has ended before its time, if it has.
    pub(super) fn ended(&mut self, key: Key) -> Option<&'static str> {
        let ended = self.ended;
        ended.or(self.slot(key)?.ended)
    }
}

/// Gives a reader the next bytes of the input, where they lie if it waits for them; with no reader they are read over.
pub(super) fn feed(input: &mut Input, incoming: Option<&Incoming>, count: usize, pool: &Pool) -> Result<(), Exhausted> {
    match incoming {
        // Nobody keeps what has been read at once, so it may lie in the receive buffer.
        Some(incoming) if incoming.is_wanted() && count > 0 => incoming.push(input.take(count)),
        Some(incoming) => {
            let is_put = incoming.put(&input.as_slice()[..count], pool);
            input.skip(count);
            if !is_put {
                return Err(Exhausted);
            }
        }
        None => input.skip(count),
    }
    Ok(())
}
