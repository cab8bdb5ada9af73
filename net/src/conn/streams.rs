//! The streams of a connection that has many, of HTTP/2 or HTTP/3, for either end: what the one task that receives and sends,
//! and those that wait for something of a stream, have between them.
//!
//! The one idea: what the versions do differently with a stream is a [`Wire`]; who waits for it and what for is the same.

mod begin;
pub(crate) mod client;
pub(super) mod exchange;
mod mailbox;
pub(super) mod shared;
mod tunnel;

use std::rc::Rc;
use std::task::Waker;

use http::StatusCode;
use platform::{Buf, Chunk, Pool};
use proto::h2::Standing;
use proto::message::{BodyLength, Scratch, WriteError};
use shards::Counter;

pub(crate) use self::mailbox::Mailbox;
pub(crate) use self::tunnel::Tube;
use super::Config;
use super::Exhausted;
use super::input::Input;
use super::outbox::Supplies;
use crate::limits::DRAIN_BODY_BYTES_MAX;
use crate::stats::NetStats;
use crate::{Head, Headers, Incoming};

/// An engine of many streams, and what takes what it writes.
pub(crate) trait Wire: 'static {
    /// Names a stream that was handed out.
    type Key: Key;
    /// Why a stream is reset, as the version says it.
    type Code: Copy + PartialEq;
    /// What bounds the engine.
    type Limits;

    /// These, of a server's configuration.
    fn limits(config: &Config) -> &Self::Limits;

    /// Counts the streams that have tasks.
    fn streams_open(stats: &NetStats) -> &Counter;

    /// Whether something can still be sent on a stream: it has neither ended here nor been reset.
    fn can_send(&self, key: Self::Key) -> bool;

    /// Whether more of the peer's message may come.
    fn is_receiving(&self, key: Self::Key) -> bool;

    /// Whether what was offered waits for the peer to open a window.
    fn is_held(&self, key: Self::Key) -> bool;

    /// Whether a graceful end has begun.
    fn is_draining(&self) -> bool;

    /// Whether no more is written until something has left.
    fn is_full(&self, means: Means<'_, Self>) -> bool;

    /// Whether the connection itself has something to say.
    fn has_control(&self) -> bool;

    /// Writes that, as far as there is room.
    fn control(&mut self, means: Means<'_, Self>) -> Result<(), Exhausted>;

    /// Keeps a stream of which the engine keeps nothing, so that all below can be done with it, and names it from now on.
    fn keep(&mut self, key: Self::Key) -> Self::Key {
        key
    }

    /// Writes a whole answer as it was written before, if it was and this stream's would be no other. Whether it did: then nothing is
    /// left of its content, and nothing more is sent.
    fn repeat(
        &mut self,
        _: Means<'_, Self>,
        _: Self::Key,
        _: (StatusCode, &Headers),
        _: Standing<'_>,
        _: &mut Buf,
    ) -> bool {
        false
    }

    /// Writes an answer's head. Where it costs less than by itself its content may be written with it: then nothing is left of that.
    /// Whether anything [can be sent](Wire::can_send) after it.
    fn head(
        &mut self,
        means: Means<'_, Self>,
        key: Self::Key,
        answer: Answer<'_>,
        standing: Standing<'_>,
        content: &mut Buf,
    ) -> Result<bool, Refusal>;

    /// Writes of a piece what is admitted now, and leaves the rest; nothing is left if nobody wants it. With the last the stream
    /// ends.
    fn piece(&mut self, means: Means<'_, Self>, key: Self::Key, buf: &mut Buf, is_last: bool) -> Result<(), Exhausted>;

    /// Ends a stream whose content has been written: by trailer fields, or by itself.
    fn end(&mut self, means: Means<'_, Self>, key: Self::Key, trailers: &Headers) -> Result<(), Refusal>;

    /// A stream has a piece to be written.
    fn offer(&mut self, key: Self::Key);

    /// Whose piece is to be written next.
    fn pick(&mut self) -> Option<Self::Key>;

    /// Ends a stream at once; it is still to be released.
    fn reset(&mut self, key: Self::Key, cut: Cut);

    /// So many bytes of a stream's data have found their reader, or nobody wants them.
    fn consume(&mut self, key: Self::Key, count: usize, limits: &Self::Limits);

    /// Whether datagrams go beside streams.
    fn carries_datagrams(&self) -> bool {
        false
    }

    /// Bytes of a datagram of a stream's at this moment; `None` if none can be sent.
    fn datagram_bytes_max(&mut self, _: Self::Key) -> Option<usize> {
        None
    }

    /// Sends a datagram of a stream's. Whether it goes.
    fn datagram(&mut self, _: Self::Key, _: &[u8]) -> bool {
        false
    }

    /// There is no more use for a stream.
    fn release(&mut self, key: Self::Key, limits: &Self::Limits);

    /// Begins the graceful end: the peer is told to open no more streams. Whether that was news.
    fn drain(&mut self) -> bool;

    /// Ends the grace: no new stream is looked at.
    fn finish(&mut self);
}

/// What names a stream.
pub(crate) trait Key: Copy + Eq {
    /// A small number that no other stream of the connection has while this one is open.
    fn place(self) -> usize;

    /// The stream's number on the wire, or the end of it, for logs and ranks.
    fn number(self) -> u32;
}

/// The head of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a Headers,
    pub(super) length: BodyLength,
}

/// Why a stream of ours is ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// We have failed.
    Internal,
    /// Nobody wants it any more.
    Cancel,
}

/// What the streams of a connection are served with.
pub(crate) struct Means<'a, W: Wire + ?Sized> {
    pub(super) supplies: &'a Supplies,
    pub(super) limits: &'a W::Limits,
    pub(super) gather_bytes_max: usize,
}

impl<W: Wire + ?Sized> Copy for Means<'_, W> {}

impl<W: Wire + ?Sized> Clone for Means<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

pub(crate) struct Streams<W: Wire> {
    pub(super) wire: W,
    /// Streams that somebody waits for, by their place.
    slots: Vec<Option<Slot<W>>>,
    /// How many these are.
    open: usize,
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
pub(super) struct Slot<W: Wire> {
    pub(super) key: W::Key,
    /// The feeding end of the body that is received.
    pub(super) incoming: Option<Rc<Incoming>>,
    /// Of a tunnel, where datagrams go beside streams: who gets those that come.
    pub(super) mailbox: Option<Rc<Mailbox>>,
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
    pub(super) code: Option<W::Code>,
    /// The head of the response, and the length that it declares.
    pub(super) response: Option<(Head, Option<u64>)>,
    waker: Option<Waker>,
}

/// Why something was not written.
pub(crate) enum Refusal {
    Exhausted,
    /// It is no message that HTTP can carry: a mistake of whoever made it.
    Unwritable(WriteError),
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        Refusal::Unwritable(error)
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Refusal::Exhausted
    }
}

impl<W: Wire> Slot<W> {
    pub(super) fn new(key: W::Key, incoming: Option<Rc<Incoming>>, expects_continue: bool) -> Self {
        Slot {
            key,
            incoming,
            mailbox: None,
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

impl<W: Wire> Streams<W> {
    pub(super) fn new(wire: W) -> Self {
        Streams {
            wire,
            slots: Vec::new(),
            open: 0,
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

    /// Gathers what may be sent: what the connection has to say, then pieces as windows and priorities admit.
    pub(super) fn gather(&mut self, means: Means<'_, W>) -> Result<(), Exhausted> {
        self.wire.control(means)?;
        while !self.wire.is_full(means)
            && let Some(key) = self.wire.pick()
        {
            let Some((mut buf, is_last)) = self.slot(key).and_then(|slot| slot.piece.take()) else { continue };
            let bytes = buf.len();
            self.wire.piece(means, key, &mut buf, is_last)?;
            let rest = buf.len();
            let Some(slot) = self.slot(key) else { continue };
            slot.sent += bytes - rest;
            if rest > 0 {
                slot.piece = Some((buf, is_last));
                self.wire.offer(key);
            }
            // Its time begins anew with what the peer has been sent.
            if rest == 0 || self.wire.is_held(key) {
                self.slot(key).iter().for_each(|slot| slot.wake());
            }
        }
        Ok(())
    }

    /// Something has left: who waited for room is told.
    pub(super) fn make_room(&mut self) {
        if std::mem::take(&mut self.awaiting_room) > 0 {
            for slot in self.slots.iter_mut().flatten() {
                if std::mem::take(&mut slot.awaits_room) {
                    slot.wake();
                }
            }
        }
    }

    /// Something has come of a body: who is fed with it, if anyone.
    pub(super) fn feeds(&mut self, key: W::Key, count: usize, limits: &W::Limits) -> Option<Rc<Incoming>> {
        let slot = self.slots.get_mut(key.place())?.as_mut().filter(|slot| slot.key == key)?;
        slot.received += count;
        slot.expects_continue = false;
        slot.wake();
        let incoming =
            slot.incoming.as_ref().filter(|incoming| !incoming.is_forsaken() && !incoming.has_ended()).cloned();
        if incoming.is_none() {
            slot.unread += count as u64;
            if slot.unread <= DRAIN_BODY_BYTES_MAX {
                self.wire.consume(key, count, limits);
            }
        }
        incoming
    }

    /// Ends a stream before its time.
    pub(super) fn end(&mut self, key: W::Key, why: &'static str) {
        if let Some(slot) = self.slot(key) {
            slot.ended = Some(why);
            slot.piece = None;
            slot.wake();
        }
    }

    /// The peer wants no more of what is sent on these streams.
    pub(super) fn stop(&mut self, is_stopped: impl Fn(W::Key) -> bool) {
        for slot in self.slots.iter_mut().flatten().filter(|slot| is_stopped(slot.key)) {
            slot.piece = None;
            slot.wake();
        }
    }

    /// Ends the streams of which this is true before their time: the peer has not looked at them, and will not.
    pub(super) fn refuse(&mut self, code: W::Code, is_refused: impl Fn(W::Key) -> bool) {
        for slot in self.slots.iter_mut().flatten().filter(|slot| is_refused(slot.key)) {
            (slot.code, slot.ended, slot.piece) = (Some(code), Some("the peer takes no more"), None);
            slot.wake();
        }
    }

    // ---- who waits for a stream --------------------------------------------------------------------------------------

    pub(super) fn slot(&mut self, key: W::Key) -> Option<&mut Slot<W>> {
        self.slots.get_mut(key.place())?.as_mut().filter(|slot| slot.key == key)
    }

    pub(super) fn open(&mut self, slot: Slot<W>) {
        let place = slot.key.place();
        if self.slots.len() <= place {
            self.slots.resize_with(place + 1, || None);
        }
        self.bulky += usize::from(slot.is_bulky);
        self.open += 1;
        self.slots[place] = Some(slot);
    }

    /// Streams that somebody waits for.
    pub(super) fn open_count(&self) -> usize {
        self.open
    }

    /// No more of a stream's body is to come.
    pub(super) fn body_ended(&mut self, key: W::Key) {
        let was_bulky = self.slot(key).is_some_and(|slot| std::mem::take(&mut slot.is_bulky));
        self.bulky -= usize::from(was_bulky);
    }

    /// Whether a large body is being received.
    pub(super) fn is_bulky(&self) -> bool {
        self.bulky > 0
    }

    /// Is done with a stream. Whether somebody waited for it.
    pub(super) fn release(&mut self, key: W::Key, limits: &W::Limits) -> bool {
        self.body_ended(key);
        let slot = self.slot(key);
        let (is_open, awaits_room) = (slot.is_some(), slot.is_some_and(|slot| slot.awaits_room));
        if is_open {
            self.awaiting_room -= usize::from(awaits_room);
            self.open -= 1;
            self.slots[key.place()] = None;
            self.wake();
        }
        self.wire.release(key, limits);
        is_open
    }

    /// Whether the outbox has room. If not, the stream's task is woken when it has.
    pub(super) fn has_room_for(&mut self, key: W::Key, means: Means<'_, W>) -> bool {
        if !self.wire.is_full(means) {
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
    pub(super) fn watch(&mut self, key: W::Key, waker: &Waker) {
        if let Some(slot) = self.slot(key) {
            match &mut slot.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// Has a piece written when it is its turn.
    pub(super) fn offer(&mut self, key: W::Key, buf: Buf, is_last: bool) {
        if let Some(slot) = self.slot(key) {
            slot.piece = Some((buf, is_last));
            self.wire.offer(key);
            self.wake();
        }
    }

    /// Whether a stream's piece is still to be written.
    pub(super) fn has_piece(&mut self, key: W::Key) -> bool {
        self.slot(key).is_some_and(|slot| slot.piece.is_some())
    }

    pub(super) fn reset(&mut self, key: W::Key, cut: Cut) {
        self.wire.reset(key, cut);
        self.wake();
    }

    /// The reader of a stream's body has taken so much.
    pub(super) fn consume(&mut self, key: W::Key, count: usize, limits: &W::Limits) {
        self.wire.consume(key, count, limits);
        if self.wire.has_control() {
            self.wake();
        }
    }

    /// Why a stream has ended before its time, if it has.
    pub(super) fn ended(&mut self, key: W::Key) -> Option<&'static str> {
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

/// The block that the engine has decoded, as a lease of its own.
pub(super) fn take_block(pool: &Pool, scratch: &Scratch) -> Result<Chunk, Exhausted> {
    let block = scratch.block();
    let mut chunk = pool.lease(block.len().max(1)).ok_or(Exhausted)?;
    chunk.put(block);
    Ok(chunk.freeze())
}
