//! What has come on the streams of a connection is read and shown to the engine, for either end.
//!
//! The one idea: what a stream brings is read when it comes, until its reader falls behind; then it stays with QUIC, whose
//! windows hold up that one stream.
//!
//! Streams are taken by batches: some are read from QUIC, then each of them is looked at and answered, then the answers are given
//! to QUIC. All that a stream goes through has more instructions than a processor's first cache holds; each step has fewer.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Context as TaskContext;
use std::time::{Duration, Instant};

use bytes::Bytes;
use platform::Pool;
use proto::h3::{self, Code, Event, Key, Limits};
use proto::head::HeadTable;
use shards::{Counter, Shard};
use smallvec::SmallVec;

use super::wire::{Carrier, number, stream};
use crate::conn::streams::{Streams, take_block};
use crate::conn::{DecodeRoom, Exhausted};
use crate::limits::{H3_BATCH_MAX, H3_READ_BYTES_MAX};
use crate::quic::{self, Behind, Read, StreamId};
use crate::{Head, HeadSpares, Incoming, Trailers};

/// What a connection's task keeps of what it reads.
pub(super) struct Reading {
    /// Leased while something is received.
    table: Option<Box<HeadTable>>,
    /// When the engine's time began, and what it was at a moment, which is the same for all of a turn.
    since: Instant,
    time: (Instant, Duration),
    /// What was read of streams that wait for the table of fields; as many as the limits admit.
    blocked: Vec<Blocked>,
}

/// What is read at a time.
type Batch = SmallVec<[Came; H3_BATCH_MAX]>;

/// What has come on a stream.
pub(super) struct Came {
    id: StreamId,
    read: Read,
    /// It was only asked whether it has come to its end: no more of it is to be read for now.
    waits: bool,
}

/// What it reads with.
pub(super) struct Tools<'a> {
    pub(super) shard: &'a Shard,
    pub(super) streams: &'a RefCell<Streams<Carrier>>,
    pub(super) limits: &'a Limits,
    pub(super) pool: &'a Pool,
    pub(super) spares: &'a Rc<HeadSpares>,
    pub(super) scratch: &'a DecodeRoom,
    /// Counts the bytes that have come, if anybody does.
    pub(super) received: Option<&'a Counter>,
}

/// What was read of a stream and cannot be looked at yet, and whether that is all.
struct Blocked {
    id: u64,
    pieces: Vec<Bytes>,
    end: bool,
}

/// Whether more of a stream is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    /// Not before somebody has taken of what was.
    Paused,
    /// Not before the table of fields has come so far.
    Blocked,
    /// It has ended, or is of no more use.
    Over,
}

impl Reading {
    pub(super) fn new(since: Instant) -> Self {
        Reading { table: None, since, time: (since, Duration::ZERO), blocked: Vec::new() }
    }

    /// Gives back what is not needed until more comes.
    pub(super) fn settle(&mut self, spares: &HeadSpares) {
        if let Some(table) = self.table.take() {
            spares.put(table);
        }
    }

    /// The engine's time.
    fn time(&mut self, shard: &Shard) -> Duration {
        if self.time.0 != shard.now() {
            self.time = (shard.now(), shard.now().saturating_duration_since(self.since));
        }
        self.time.1
    }

    fn is_blocked(&self, id: StreamId) -> bool {
        self.blocked.iter().any(|blocked| blocked.id == u64::from(id))
    }

    /// Reads some streams, each once: in the order of their numbers, as most of them come.
    fn read_batch(&self, wire: &mut Carrier, batch: &mut Batch) {
        let mut last = None;
        while batch.len() < H3_BATCH_MAX
            && let Some(id) = wire.next_readable()
        {
            if last.replace(id).is_some_and(|last| id <= last) {
                wire.readable_first(id);
                return;
            }
            // What waits is not read, only whether it has come to its end.
            let waits = self.is_blocked(id) || wire.is_paused(id);
            let read = wire.quic.read(id, if waits { 0 } else { H3_READ_BYTES_MAX });
            batch.push(Came { id, read, waits });
        }
    }

    /// Keeps what was read of a stream that has to wait.
    fn block(&mut self, id: u64, bytes: Bytes, end: bool) {
        let blocked = match self.blocked.iter_mut().find(|blocked| blocked.id == id) {
            Some(blocked) => blocked,
            None => {
                self.blocked.push(Blocked { id, pieces: Vec::new(), end });
                self.blocked.last_mut().expect("just pushed")
            }
        };
        blocked.end |= end;
        if !bytes.is_empty() {
            blocked.pieces.push(bytes);
        }
    }
}

/// Whose task reads: what is found is told to it.
pub(super) trait Reads {
    /// What is entered while a batch of streams is looked at.
    type Entered;

    fn reading(&mut self) -> (&mut Reading, Tools<'_>);

    fn enter(&mut self) -> Self::Entered;

    /// A message begins.
    fn begin(
        &mut self,
        cx: &mut TaskContext<'_>,
        entered: &Self::Entered,
        key: Key,
        said: &h3::Head,
        head: Head,
    ) -> Result<(), Exhausted>;

    /// A request's head was too large.
    fn refuse(&mut self, key: Key) -> Result<(), Exhausted>;

    /// A stream has come to its end before its time. Both its ways are over.
    fn was_reset(&mut self, key: Key, code: Code);

    /// The peer wants no more of what is sent on a stream, and all that the engine has to do with that is done. `cut` is whose
    /// piece was cut off by it, if one was.
    fn was_stopped(&mut self, id: u64, cut: Option<Key>, code: Code);

    /// The peer looks at no stream from this one on.
    fn goes_away(&mut self, from: u64);

    // ---- what QUIC tells ---------------------------------------------------------------------------------------------

    /// Sees to an event of a stream's.
    fn see_stream(&mut self, event: quic::Event) {
        let (reading, tools) = self.reading();
        let mut streams = tools.streams.borrow_mut();
        match event {
            quic::Event::Writable(id) => streams.wire.writable(id),
            quic::Event::Stopped(id, code) => {
                let (now, code) = (reading.time(tools.shard), Code(code));
                let cut = streams.wire.stopped(id, code);
                let event = streams.wire.engine.peer_stopped(id.into(), code, now, tools.limits);
                drop(streams);
                match event {
                    Ok(None) => self.was_stopped(id.into(), cut, code),
                    event => self.see_end(event),
                }
            }
            quic::Event::Datagrams => while streams.wire.quic.receive_datagram().is_some() {},
            _ => {}
        }
    }

    /// What the engine says of a stream that its peer has given up. An error is seen to later.
    fn see_end(&mut self, event: Result<Option<Event>, h3::Error>) {
        match event {
            Ok(Some(Event::Reset { key, code })) => self.see_reset(key, code),
            Ok(Some(Event::Refused { id, code })) => self.see_refused(id, code),
            _ => {}
        }
    }

    fn see_reset(&mut self, key: Key, code: Code) {
        tracing::debug!(stream = key.id(), %code, "a stream was reset");
        let (reading, tools) = self.reading();
        reading.blocked.retain(|blocked| blocked.id != key.id());
        let rest = h3::Rest { stop: Some(code), reset: Some(code) };
        tools.streams.borrow_mut().wire.end_stream(number(key), rest);
        self.was_reset(key, code);
    }

    fn see_refused(&mut self, id: u64, code: Code) {
        let (reading, tools) = self.reading();
        reading.blocked.retain(|blocked| blocked.id != id);
        let rest = h3::Rest { stop: Some(code), reset: (id & 2 == 0).then_some(code) };
        tools.streams.borrow_mut().wire.end_stream(stream(id), rest);
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    /// Reads what there is on all streams. Whether there was anything.
    fn read(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, Exhausted> {
        let (mut has_read, mut batch) = (false, Batch::new());
        loop {
            while let Some(id) = self.next_unblocked() {
                let entered = self.enter();
                self.unblock(cx, &entered, id)?;
                has_read = true;
            }
            let (reading, tools) = self.reading();
            reading.read_batch(&mut tools.streams.borrow_mut().wire, &mut batch);
            if batch.is_empty() {
                return Ok(has_read);
            }
            let entered = self.enter();
            for came in batch.drain(..) {
                self.look_at(cx, &entered, came)?;
            }
            has_read = true;
        }
    }

    /// The next stream that has waited for the table of fields, and has not to any more.
    fn next_unblocked(&mut self) -> Option<u64> {
        self.reading().1.streams.borrow_mut().wire.engine.unblocked()
    }

    /// Goes on with what has come on a stream, and reads that as far as it goes.
    #[inline]
    fn look_at(&mut self, cx: &mut TaskContext<'_>, entered: &Self::Entered, came: Came) -> Result<(), Exhausted> {
        let Came { id, read: mut next, waits } = came;
        let (reading, tools) = self.reading();
        let mut streams = tools.streams.borrow_mut();
        let known = match &next {
            Read::Chunk(bytes, Behind::End) if !waits => {
                let scratch = tools.scratch.borrow();
                let known = streams.wire.engine.receive_known(id.into(), bytes, &scratch, tools.limits);
                known.map(|(key, head)| (key, head, bytes.len()))
            }
            _ => None,
        };
        if let Some((key, head, bytes)) = known {
            if let Some(received) = tools.received {
                received.add(bytes as u64);
            }
            drop(streams);
            let said = h3::Head { end: true, ..h3::Head::default() };
            return self.begin(cx, entered, key, &said, Head::shared(head));
        }
        drop(streams);
        match next {
            Read::Closed => return Ok(()),
            Read::Chunk(..) | Read::Pending if waits => return Ok(()),
            Read::End if reading.is_blocked(id) => {
                reading.block(id.into(), Bytes::new(), true);
                return Ok(());
            }
            // A stream counts from its first moment.
            Read::Pending => return self.show(cx, entered, id.into(), Bytes::new(), false).map(drop),
            _ => {}
        }
        loop {
            match next {
                Read::Chunk(bytes, behind) => {
                    let goes = self.show(cx, entered, id.into(), bytes, behind == Behind::End)?;
                    if goes != Goes::On || behind != Behind::More {
                        return Ok(());
                    }
                    next = self.reading().1.streams.borrow_mut().wire.quic.read(id, H3_READ_BYTES_MAX);
                }
                Read::End => return self.show(cx, entered, id.into(), Bytes::new(), true).map(drop),
                Read::Reset(code) => {
                    let (reading, tools) = self.reading();
                    let now = reading.time(tools.shard);
                    let mut streams = tools.streams.borrow_mut();
                    let event = streams.wire.engine.peer_reset(id.into(), Code(code), now, tools.limits);
                    drop(streams);
                    self.see_end(event);
                    return Ok(());
                }
                Read::Pending | Read::Closed => return Ok(()),
            }
        }
    }

    /// A stream has not to wait any more.
    fn unblock(&mut self, cx: &mut TaskContext<'_>, entered: &Self::Entered, id: u64) -> Result<(), Exhausted> {
        let blocked = &mut self.reading().0.blocked;
        let Some(place) = blocked.iter().position(|blocked| blocked.id == id) else { return Ok(()) };
        let Blocked { pieces, end, .. } = blocked.swap_remove(place);
        let mut pieces = pieces.into_iter().peekable();
        let mut goes = self.show(cx, entered, id, pieces.next().unwrap_or_default(), end && pieces.peek().is_none())?;
        while let Some(piece) = pieces.next() {
            let is_last = end && pieces.peek().is_none();
            match goes {
                Goes::Blocked => self.reading().0.block(id, piece, is_last),
                Goes::On | Goes::Paused => goes = self.show(cx, entered, id, piece, is_last)?,
                Goes::Over => return Ok(()),
            }
        }
        if !end && goes == Goes::On {
            self.reading().1.streams.borrow_mut().wire.readable(stream(id));
        }
        Ok(())
    }

    /// Shows the engine what has come on a stream.
    fn show(
        &mut self,
        cx: &mut TaskContext<'_>,
        entered: &Self::Entered,
        id: u64,
        bytes: Bytes,
        end: bool,
    ) -> Result<Goes, Exhausted> {
        if let Some(received) = self.reading().1.received {
            received.add(bytes.len() as u64);
        }
        let mut input = &bytes[..];
        let mut goes = Goes::On;
        loop {
            let (reading, tools) = self.reading();
            let now = reading.time(tools.shard);
            let table = reading.table.get_or_insert_with(|| tools.spares.take());
            let mut streams = tools.streams.borrow_mut();
            let mut scratch = tools.scratch.borrow();
            let Ok(step) = streams.wire.engine.receive(id, input, end, &mut scratch, table, now, tools.limits) else {
                // It is seen to by whoever asks for the failure.
                return Ok(Goes::Over);
            };
            let shown = input;
            input = &input[step.consumed..];
            match step.event {
                Event::NeedMore => return Ok(goes),
                Event::Closed => return Ok(Goes::Over),
                Event::Head { key, head: said } => {
                    let head = match scratch.lent() {
                        Some(head) => Head::shared(head),
                        None => {
                            let block = take_block(tools.pool, &scratch)?;
                            let table = reading.table.take().expect("the engine has filled it");
                            Head::new(block, table, Rc::clone(tools.spares))
                        }
                    };
                    drop((streams, scratch));
                    self.begin(cx, entered, key, &said, head)?;
                    if said.end {
                        return Ok(Goes::Over);
                    }
                }
                Event::HeadTooLarge { key } => {
                    drop((streams, scratch));
                    self.refuse(key)?;
                    return Ok(Goes::Over);
                }
                Event::Data { key, range, end } => {
                    let pauses = streams.wire.fed(key, range.len(), end);
                    let incoming = streams.feeds(key, range.len(), tools.limits);
                    if end {
                        streams.body_ended(key);
                    } else if pauses {
                        goes = Goes::Paused;
                    }
                    if let Some(incoming) = incoming {
                        if !incoming.put(&shown[range], tools.pool) {
                            return Err(Exhausted);
                        }
                        if end {
                            incoming.finish(Ok(()));
                        }
                        drop((streams, scratch));
                        incoming.wake();
                    }
                    if end {
                        return Ok(Goes::Over);
                    }
                }
                Event::Trailers { key } => {
                    let incoming = streams.feeds(key, 0, tools.limits);
                    streams.body_ended(key);
                    if let Some(incoming) = incoming {
                        let block = take_block(tools.pool, &scratch)?;
                        let table = reading.table.take().expect("the engine has filled it");
                        incoming.trail(Trailers::new(Head::new(block, table, Rc::clone(tools.spares))));
                        drop((streams, scratch));
                        finish(&incoming);
                    }
                }
                Event::Ended { key } => {
                    let incoming = streams.feeds(key, 0, tools.limits);
                    streams.body_ended(key);
                    drop((streams, scratch));
                    if let Some(incoming) = incoming {
                        finish(&incoming);
                    }
                    return Ok(Goes::Over);
                }
                Event::Blocked { id } => {
                    drop((streams, scratch));
                    reading.block(id, bytes.slice_ref(input), end);
                    return Ok(Goes::Blocked);
                }
                Event::Reset { key, code } => {
                    drop((streams, scratch));
                    self.see_reset(key, code);
                    return Ok(Goes::Over);
                }
                Event::Refused { id, code } => {
                    drop((streams, scratch));
                    self.see_refused(id, code);
                    return Ok(Goes::Over);
                }
                Event::Priority { key } => streams.wire.prioritize(key),
                Event::GoAway { from } => {
                    drop((streams, scratch));
                    self.goes_away(from);
                }
            }
        }
    }
}

/// Says that a body has ended.
fn finish(incoming: &Incoming) {
    incoming.finish(Ok(()));
    incoming.wake();
}
