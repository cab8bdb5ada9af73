//! The HTTP/3 connection loop: one task between a connection of QUIC, the engine and the service, and one for each exchange that
//! does not end at once.
//!
//! The one idea: it is the loop of HTTP/2 with the streams of QUIC in place of frames. The connection's task alone receives,
//! and sees that what was written leaves; whoever has something to say writes it to its stream, and wakes that task.
//!
//! What a stream brings is read when it comes, until its reader falls behind; then it stays with QUIC, whose windows hold up
//! that one stream.

mod wire;

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use proto::h3::{self, Code, Engine, Event, Key, Priority, Role};
use proto::head::HeadTable;
use proto::proxy::Ends;
use shards::{Pass, Shard};

pub(super) use self::wire::into_bytes;
use self::wire::{Carrier, number, stream};
use super::patience::{Patience, Patient, Waits, Whose};
use super::streams::exchange::CLIENT_LEFT;
use super::streams::shared::Shared;
use super::streams::{Wire, take_block};
use super::{Counted, Exhausted};
use crate::limits::{H3_READ_BYTES_MAX, LINGER_TIME_MAX};
use crate::quic::{self, Behind, Closed, Read, StreamId};
use crate::{Head, Incoming, Peer, Response, Service, Trailers};

/// Serves a connection until it ends. Exchanges may go on for a moment, to see it. `number` tells it from the server's others.
// Not an `async fn`, as for HTTP/1.1.
pub(crate) fn serve<S: Service + 'static>(
    context: Counted<S>,
    quic: quic::Connection,
    pass: Pass,
    number: u32,
) -> impl Future<Output = ()> + use<S> {
    let shard = quic.shard().clone();
    context.stats.h3_connections.add(1);
    let since = shard.now();
    let patience = Patience::new(&shard, number, since);
    let engine = Engine::new(Role::Server, &context.config.h3);
    let peer = peer(&shard, &quic);
    let retires = context.age(since).saturating_add(super::nanoseconds(context.config.connection_time_max));
    let shared = Rc::new(Shared::new(Carrier::new(engine, quic), context, peer.clone(), number, pass));
    let mut connection = Connection {
        shared,
        peer,
        table: None,
        patience,
        since,
        retires,
        requests: 0,
        refused: 0,
        blocked: Vec::new(),
        knows_of_drain: false,
    };
    async move {
        let ended = poll_fn(|cx| connection.poll(cx)).await;
        connection.stop_waiting();
        let stats = &connection.shared.context.stats;
        let why = match ended {
            Ok(why) => why,
            Err(Exhausted) => {
                stats.exhausted.add(1);
                tracing::warn!("a connection was closed: the shard's buffer pool is exhausted");
                connection.close(Code::EXCESSIVE_LOAD, "no buffer is left");
                "no buffer is left"
            }
        };
        connection.shared.end_all(why);
        poll_fn(|cx| connection.poll_drained(cx)).await;
    }
}

/// What the connection's task has to itself.
struct Connection<S: Service + 'static> {
    shared: Rc<Shared<S, Carrier>>,
    /// Where the client is at this moment.
    peer: Peer,
    /// Leased while something is received.
    table: Option<Box<HeadTable>>,
    patience: Patience,
    /// When the engine's time began.
    since: Instant,
    /// At which age of the server's the connection takes no further request.
    retires: u64,
    requests: u32,
    /// Streams refused that have been counted.
    refused: u32,
    /// What was read of streams that wait for the table of fields; as many as the limits admit.
    blocked: Vec<Blocked>,
    knows_of_drain: bool,
}

/// What was read of a stream and cannot be looked at yet, and whether that is all.
struct Blocked {
    id: u64,
    pieces: Vec<Bytes>,
    end: bool,
}

/// Whether more of a stream is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    On,
    /// Not before somebody has taken of what was.
    Paused,
    /// Not before the table of fields has come so far.
    Blocked,
    /// It has ended, or is of no more use.
    Over,
}

impl<S: Service + 'static> Connection<S> {
    /// Ready when the connection has ended, with the reason that its exchanges are told.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<&'static str, Exhausted>> {
        self.shared.state.borrow_mut().attend(cx.waker());
        loop {
            self.see_drain();
            let mut has_changed = false;
            while let Poll::Ready(event) = self.with_quic(|quic| quic.poll(cx)) {
                has_changed = true;
                if let Some(why) = self.see(event) {
                    return Poll::Ready(Ok(why));
                }
            }
            has_changed |= self.read(cx)?;
            if let Some(error) = self.failure() {
                tracing::debug!(code = %error.code, "a connection has failed: {error}");
                let stats = &self.shared.context.stats;
                match error.code {
                    Code::EXCESSIVE_LOAD => stats.h3_calmed.add(1),
                    _ => stats.h3_failed.add(1),
                }
                self.close(error.code, error.what);
                return Poll::Ready(Ok("its connection has failed"));
            }
            self.gather()?;
            if has_changed || self.shared.state.borrow().wire.has_readable() {
                continue;
            }
            if let Some(table) = self.table.take() {
                self.shared.context.spares.put(table);
            }
            let waits = self.waits();
            if waits == Waits::Nothing {
                self.stop_waiting();
            } else if self.poll_alarm(cx, waits).is_ready() {
                self.stop_waiting();
                match waits {
                    Waits::Head => {
                        self.shared.context.stats.timed_out.add(1);
                        self.close(Code::REQUEST_INCOMPLETE, "the rest of a head does not come");
                        return Poll::Ready(Ok("its connection has failed"));
                    }
                    Waits::Linger if !self.is_over() && self.was_heard_since(LINGER_TIME_MAX) => continue,
                    Waits::Linger => {
                        self.close(Code::NO_ERROR, "");
                        return Poll::Ready(Ok("its connection has ended"));
                    }
                    _ => self.finish(),
                }
                continue;
            }
            self.with_quic(|quic| quic.flush(cx));
            return Poll::Pending;
        }
    }

    /// Ready when the peer knows of the end, or has had the time to.
    fn poll_drained(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.shared.state.borrow_mut().attend(cx.waker());
        self.with_quic(|quic| quic.poll_drained(cx))
    }

    fn with_quic<T>(&self, look: impl FnOnce(&mut quic::Connection) -> T) -> T {
        look(&mut self.shared.state.borrow_mut().wire.quic)
    }

    fn failure(&self) -> Option<h3::Error> {
        self.shared.state.borrow().wire.engine.failure()
    }

    fn close(&self, code: Code, reason: &'static str) {
        self.with_quic(|quic| quic.close(code.0, reason.as_bytes()));
    }

    /// Whether the peer has been heard in this last time.
    fn was_heard_since(&self, time: Duration) -> bool {
        self.with_quic(|quic| quic.heard()) + time > self.shard().now()
    }

    /// What the connection itself waits for; its exchanges have waits of their own, and QUIC has some.
    fn waits(&self) -> Waits {
        let is_over = self.is_over();
        let state = self.shared.state.borrow();
        let engine = &state.wire.engine;
        match () {
            // What closes a connection overtakes the last word, by which its peer knows what has been looked at: that has time
            // to arrive, and most peers close then.
            () if is_over => Waits::Linger,
            // Nor is it closed while its peer takes the last of what it was sent.
            () if engine.is_drained() => Waits::Linger,
            () if engine.is_draining() && engine.takes_streams() => Waits::LastRequest,
            () if state.open_count() > 0 => Waits::Nothing,
            () if engine.stream_count() > 0 => Waits::Head,
            () if engine.takes_streams() => Waits::Idle,
            () => Waits::Nothing,
        }
    }

    /// Begins the graceful end when the shard drains, or the connection has lasted as long as it may.
    fn see_drain(&mut self) {
        if self.shard().is_draining() && !std::mem::replace(&mut self.knows_of_drain, true) {
            // Tunnels end by themselves, when they see it.
            self.shared.state.borrow().wake_all();
        }
        let is_old = self.shared.context.age(self.shard().now()) >= self.retires;
        if is_old || self.shard().is_draining() {
            if is_old && !self.shared.state.borrow().wire.engine.is_draining() {
                self.shared.context.stats.retired.add(1);
            }
            self.retires = u64::MAX;
            self.drain();
        }
    }

    fn drain(&self) {
        let is_news = self.shared.drain();
        self.shared.context.stats.h3_drained.add(is_news.into());
    }

    /// No new stream is looked at any more.
    fn finish(&self) {
        self.drain();
        self.shared.state.borrow_mut().wire.finish();
    }

    /// Whether a graceful end has come, and the peer has all that it was sent.
    fn is_over(&self) -> bool {
        let mut state = self.shared.state.borrow_mut();
        state.wire.engine.is_drained() && !state.wire.has_control() && !state.wire.has_unacknowledged()
    }

    // ---- what QUIC tells ---------------------------------------------------------------------------------------------

    /// Sees to an event. Gives the reason if the connection has ended by it.
    fn see(&mut self, event: quic::Event) -> Option<&'static str> {
        let mut state = self.shared.state.borrow_mut();
        match event {
            quic::Event::Opened(id) | quic::Event::Readable(id) => state.wire.readable(id),
            quic::Event::Writable(id) => state.wire.writable(id),
            quic::Event::Stopped(id, code) => {
                let (now, limits, code) = (self.time(), &self.shared.context.config.h3, Code(code));
                let cut = state.wire.stopped(id, code);
                let event = state.wire.engine.peer_stopped(id.into(), code, now, limits);
                drop(state);
                match (event, cut) {
                    (Ok(None), Some(key)) => self.was_reset(key, code),
                    (event, _) => self.see_end(event),
                }
            }
            quic::Event::Migrated(_) | quic::Event::Connected => {
                self.peer = peer(self.shared.shard(), &state.wire.quic)
            }
            quic::Event::Datagrams => {
                let (limits, stats) = (&self.shared.context.config.h3, &self.shared.context.stats);
                while let Some(data) = state.wire.quic.receive_datagram() {
                    // An error is seen to later.
                    let Ok(found) = state.wire.engine.receive_datagram(&data, limits) else { break };
                    let has_come = found.is_some_and(|(key, head)| {
                        let mailbox = state.slot(key).and_then(|slot| slot.mailbox.as_ref());
                        mailbox.is_some_and(|mailbox| mailbox.deliver(&data[head..]))
                    });
                    stats.http_datagrams_dropped.add(u64::from(!has_come));
                }
            }
            quic::Event::Agreed | quic::Event::Finished(_) | quic::Event::Available(_) | quic::Event::DatagramRoom => {}
            quic::Event::Closed(why) => {
                drop(state);
                tracing::debug!(?why, "a connection has ended");
                let stats = &self.shared.context.stats;
                match why {
                    Closed::TimedOut => stats.timed_out.add(1),
                    Closed::Broken(..) | Closed::Version | Closed::Reset => stats.broken.add(1),
                    Closed::ByPeer(..) | Closed::ByPeerTransport(..) | Closed::Here => {}
                }
                return Some(CLIENT_LEFT);
            }
        }
        None
    }

    /// What the engine says of a stream that its peer has given up. An error is seen to later.
    fn see_end(&mut self, event: Result<Option<Event>, h3::Error>) {
        match event {
            Ok(Some(Event::Reset { key, code })) => self.was_reset(key, code),
            Ok(Some(Event::Refused { id, code })) => self.was_refused(id, code),
            _ => {}
        }
    }

    fn was_reset(&mut self, key: Key, code: Code) {
        self.shared.context.stats.h3_resets.add(1);
        tracing::debug!(stream = key.id(), %code, "a stream was reset");
        self.blocked.retain(|blocked| blocked.id != key.id());
        let mut state = self.shared.state.borrow_mut();
        state.wire.end_stream(number(key), h3::Rest { stop: Some(code), reset: Some(code) });
        state.end(key, CLIENT_LEFT);
        state.body_ended(key);
        if state.slot(key).is_none() {
            // It was answered on the spot, and nobody else releases it.
            drop(state);
            self.shared.release(key);
        }
    }

    fn was_refused(&mut self, id: u64, code: Code) {
        self.blocked.retain(|blocked| blocked.id != id);
        let rest = h3::Rest { stop: Some(code), reset: (id & 2 == 0).then_some(code) };
        self.shared.state.borrow_mut().wire.end_stream(stream(id), rest);
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    /// Reads what there is on all streams. Whether there was anything.
    fn read(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, Exhausted> {
        let mut has_read = false;
        loop {
            let unblocked = self.shared.state.borrow_mut().wire.engine.unblocked();
            if let Some(id) = unblocked {
                has_read = true;
                self.unblock(cx, id)?;
                continue;
            }
            let next = self.shared.state.borrow_mut().wire.next_readable();
            let Some(id) = next else { break };
            has_read = true;
            self.read_stream(cx, id)?;
        }
        let refused = self.shared.state.borrow().wire.engine.refused_count();
        self.shared.context.stats.h3_refused.add(refused.wrapping_sub(self.refused).into());
        self.refused = refused;
        Ok(has_read)
    }

    /// Reads a stream as far as it goes.
    fn read_stream(&mut self, cx: &mut TaskContext<'_>, id: StreamId) -> Result<(), Exhausted> {
        let is_blocked = self.blocked.iter().any(|blocked| blocked.id == u64::from(id));
        // What waits is not read, only whether it has come to its end.
        let waits = is_blocked || self.shared.state.borrow().wire.is_paused(id);
        let read = |this: &Self| this.with_quic(|quic| quic.read(id, if waits { 0 } else { H3_READ_BYTES_MAX }));
        let mut next = read(self);
        match next {
            Read::Closed => return Ok(()),
            Read::Chunk(..) | Read::Pending if waits => return Ok(()),
            Read::End if is_blocked => {
                self.block(id.into(), Bytes::new(), true);
                return Ok(());
            }
            // A stream counts from its first moment.
            Read::Pending => return self.show(cx, id.into(), Bytes::new(), false).map(drop),
            _ => {}
        }
        loop {
            match next {
                Read::Chunk(bytes, behind) => {
                    let goes = self.show(cx, id.into(), bytes, behind == Behind::End)?;
                    if goes != Goes::On || behind != Behind::More {
                        return Ok(());
                    }
                    next = read(self);
                }
                Read::End => return self.show(cx, id.into(), Bytes::new(), true).map(drop),
                Read::Reset(code) => {
                    let (now, limits) = (self.time(), &self.shared.context.config.h3);
                    let event =
                        self.shared.state.borrow_mut().wire.engine.peer_reset(id.into(), Code(code), now, limits);
                    self.see_end(event);
                    return Ok(());
                }
                Read::Pending | Read::Closed => return Ok(()),
            }
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

    /// A stream has not to wait any more.
    fn unblock(&mut self, cx: &mut TaskContext<'_>, id: u64) -> Result<(), Exhausted> {
        let Some(place) = self.blocked.iter().position(|blocked| blocked.id == id) else { return Ok(()) };
        let Blocked { pieces, end, .. } = self.blocked.swap_remove(place);
        let mut pieces = pieces.into_iter().peekable();
        let mut goes = self.show(cx, id, pieces.next().unwrap_or_default(), end && pieces.peek().is_none())?;
        while let Some(piece) = pieces.next() {
            let is_last = end && pieces.peek().is_none();
            match goes {
                Goes::Blocked => self.block(id, piece, is_last),
                Goes::On | Goes::Paused => goes = self.show(cx, id, piece, is_last)?,
                Goes::Over => return Ok(()),
            }
        }
        if !end && goes == Goes::On {
            self.shared.state.borrow_mut().wire.readable(stream(id));
        }
        Ok(())
    }

    /// Shows the engine what has come on a stream, and answers on the spot what can be.
    fn show(&mut self, cx: &mut TaskContext<'_>, id: u64, bytes: Bytes, end: bool) -> Result<Goes, Exhausted> {
        let shared = Rc::clone(&self.shared);
        let context = &shared.context;
        let limits = &context.config.h3;
        context.stats.bytes_received.add(bytes.len() as u64);
        let mut input = &bytes[..];
        let mut goes = Goes::On;
        loop {
            let table = self.table.get_or_insert_with(|| context.spares.take());
            let mut state = shared.state.borrow_mut();
            let mut lent = context.scratch.borrow_mut();
            let scratch = lent.get_or_insert_with(|| Box::new(context.config.scratch()));
            let now = shared.shard().now().saturating_duration_since(self.since);
            let Ok(step) = state.wire.engine.receive(id, input, end, scratch, table, now, limits) else {
                // It is seen to by whoever asks for the failure.
                return Ok(Goes::Over);
            };
            let has_block = matches!(step.event, Event::Head { .. } | Event::Trailers { .. });
            let block = has_block.then(|| take_block(context.supplies.pool(), scratch)).transpose()?;
            drop(lent);
            let shown = input;
            input = &input[step.consumed..];
            match step.event {
                Event::NeedMore => return Ok(goes),
                Event::Closed => return Ok(Goes::Over),
                Event::Head { key, head } => {
                    if state.wire.engine.priority(key) != Priority::default() {
                        state.wire.prioritize(key);
                    }
                    drop(state);
                    let block = self.head(block);
                    self.begin(cx, key, &head, block)?;
                    if head.end {
                        return Ok(Goes::Over);
                    }
                }
                Event::HeadTooLarge { key } => {
                    drop(state);
                    context.stats.refused.add(1);
                    shared.answer(key, Response::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))?;
                    return Ok(Goes::Over);
                }
                Event::Data { key, range, end } => {
                    let pauses = state.wire.fed(key, range.len(), end);
                    let incoming = state.feeds(key, range.len(), limits);
                    if end {
                        state.body_ended(key);
                    } else if pauses {
                        goes = Goes::Paused;
                    }
                    drop(state);
                    if let Some(incoming) = incoming {
                        if !incoming.put(&shown[range], context.supplies.pool()) {
                            return Err(Exhausted);
                        }
                        if end {
                            incoming.finish(Ok(()));
                        }
                        incoming.wake();
                    }
                    if end {
                        return Ok(Goes::Over);
                    }
                }
                Event::Trailers { key } => {
                    let incoming = state.feeds(key, 0, limits);
                    state.body_ended(key);
                    drop(state);
                    if let Some(incoming) = incoming {
                        incoming.trail(Trailers::new(self.head(block)));
                        finish(&incoming);
                    }
                }
                Event::Ended { key } => {
                    let incoming = state.feeds(key, 0, limits);
                    state.body_ended(key);
                    drop(state);
                    if let Some(incoming) = incoming {
                        finish(&incoming);
                    }
                    return Ok(Goes::Over);
                }
                Event::Blocked { id } => {
                    drop(state);
                    let rest = bytes.slice_ref(input);
                    self.block(id, rest, end);
                    return Ok(Goes::Blocked);
                }
                Event::Reset { key, code } => {
                    drop(state);
                    self.was_reset(key, code);
                    return Ok(Goes::Over);
                }
                Event::Refused { id, code } => {
                    drop(state);
                    self.was_refused(id, code);
                    return Ok(Goes::Over);
                }
                Event::Priority { key } => state.wire.prioritize(key),
                Event::GoAway { .. } => {}
            }
        }
    }

    /// A block that the engine has decoded, with the table that it has filled.
    fn head(&mut self, block: Option<platform::Chunk>) -> Head {
        let (block, table) = (block.expect("it was taken"), self.table.take().expect("the engine has filled it"));
        Head::new(block, table, Rc::clone(&self.shared.context.spares))
    }

    /// Lets the service answer a request.
    fn begin(&mut self, cx: &mut TaskContext<'_>, key: Key, said: &h3::Head, head: Head) -> Result<(), Exhausted> {
        let shared = Rc::clone(&self.shared);
        let context = &shared.context;
        context.stats.requests.add(1);
        if matches!(self.patience.waits(), Waits::Idle | Waits::Head) {
            self.stop_waiting();
        }
        self.requests = self.requests.wrapping_add(1);
        if self.requests >= context.config.connection_requests_max {
            context.stats.retired.add(u64::from(self.requests == context.config.connection_requests_max));
            self.drain();
        }
        if let Some(response) = shared.sheds() {
            self.drain();
            return shared.answer(key, response);
        }
        let is_early = self.with_quic(|quic| quic.is_early());
        shared.begin(cx, key, said, head, (self.peer.clone(), is_early))
    }

    // ---- sending -----------------------------------------------------------------------------------------------------

    fn gather(&self) -> Result<(), Exhausted> {
        self.shared.state.borrow_mut().gather(self.shared.means())
    }

    fn time(&self) -> Duration {
        self.shard().now().saturating_duration_since(self.since)
    }

    fn shard(&self) -> &Shard {
        self.shared.shard()
    }
}

impl<S: Service> Patient for Connection<S> {
    type Service = S;

    fn patience(&mut self) -> (&mut Patience, Whose<'_, S>) {
        let shared = &self.shared;
        let whose = Whose { shard: shared.shard(), context: &shared.context, stream: 0 };
        (&mut self.patience, whose)
    }
}

/// Also when it panics: no exchange waits for a connection that has gone.
impl<S: Service + 'static> Drop for Connection<S> {
    fn drop(&mut self) {
        self.shared.end_all("its connection has ended");
        if let Some(table) = self.table.take() {
            self.shared.context.spares.put(table);
        }
    }
}

/// Says that a body has ended.
fn finish(incoming: &Incoming) {
    incoming.finish(Ok(()));
    incoming.wake();
}

/// The two ends of a connection, as they are at this moment.
pub(super) fn peer(shard: &Shard, quic: &quic::Connection) -> Peer {
    let source = quic.peer_address();
    let destination = quic.local_address().unwrap_or(source);
    Peer::at(shard, Ends { source, destination }, quic.secured())
}
