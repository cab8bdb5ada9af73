//! The HTTP/2 connection loop: one task between a stream, the engine and the service, and one for each exchange that does
//! not end at once.
//!
//! The one idea: the connection's task alone receives and sends; whoever has something to say writes it into the shared
//! outbox, or offers it to the engine, and wakes that task. What can be answered on the spot is, and costs no task. All else
//! is an [`Exchange`](super::streams::exchange::Exchange), which works and waits as the loop of HTTP/1.1 does for its one request.
//!
//! Whatever comes is received at once, as windows are opened by what comes (RFC 9113 section 5.2.2). So what a peer can make
//! us hold is bounded by the engine: streams that wait for room in the outbox, data within its windows, and pings, settings and
//! resets up to a few, after which a peer that does not read is told to calm down.

pub(crate) mod client;
mod wire;

use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use http::StatusCode;
use platform::Chunk;
use proto::h2::{self, CONTROL_BYTES_MIN, Code, Engine, Event, Key, Role};
use proto::head::HeadTable;
use proto::proxy::Ends;
use shards::{Entered, Pass, Shard};

use self::wire::Frames;
use super::input::{Input, Unfilled};
use super::patience::{Patience, Patient, Side, Waits, Whose};
use super::streams::exchange::CLIENT_LEFT;
use super::streams::shared::Shared;
use super::streams::{Wire, feed, take_block};
use super::{Counted, Exhausted};
use crate::{Head, Response, Service, Trailers, Transport};

/// A connection that the loop of HTTP/1.1 has seen to be one of HTTP/2.
pub(super) struct Handed<S> {
    pub(super) stream: Transport,
    pub(super) context: Counted<S>,
    pub(super) pass: Pass,
    /// All that has come, from the preface on.
    pub(super) input: Input,
    pub(super) number: u32,
    pub(super) named: Option<Rc<Ends>>,
    pub(super) retires: u64,
}

/// Serves a connection until it ends. Exchanges may go on for a moment, to see it.
// Not an `async fn`, as for HTTP/1.1.
pub(super) fn serve<S: Service + 'static>(handed: Handed<S>) -> impl Future<Output = ()> + use<S> {
    let Handed { stream, context, pass, input, number, named, retires } = handed;
    let shard = stream.shard().clone();
    context.stats.h2_connections.add(1);
    let patience = Patience::new(&shard, number, shard.now());
    let mut engine = Engine::new(Role::Server, &context.config.h2);
    if stream.has_greeted() {
        write_greeting(&mut engine, &context.config.h2);
    }
    let peer = stream.peer(named);
    let shared = Rc::new(Shared::new(Frames::new(engine), context, peer, number, pass));
    if stream.is_secure() {
        shared.tells_alternative.set(true);
    }
    let since = shard.now();
    let mut connection = Connection {
        stream,
        shared,
        input,
        table: None,
        patience,
        since,
        retires,
        requests: 0,
        refused: 0,
        knows_of_drain: false,
    };
    async move {
        let ended = poll_fn(|cx| connection.poll(cx)).await;
        connection.stop_waiting();
        let stats = &connection.shared.context.stats;
        match ended {
            Ok(()) => {}
            Err(End::TimedOut) => stats.timed_out.add(1),
            Err(End::Broken) => stats.broken.add(1),
            Err(End::Exhausted) => {
                stats.exhausted.add(1);
                tracing::warn!("a connection was closed: the shard's buffer pool is exhausted");
            }
        }
        let linger = ended.is_ok() && !connection.shared.has_left();
        connection.shared.end_all(match ended {
            Err(End::TimedOut) => "the client takes nothing",
            Err(End::Exhausted) => "no buffer is left",
            Err(End::Broken) => CLIENT_LEFT,
            Ok(()) => "its connection has ended",
        });
        // As for HTTP/1.1: closing at once might reset what the peer has yet to read.
        if linger && connection.stream.shutdown(Shutdown::Write).is_ok() {
            connection.input = Input::default();
            let mut bytes = 0;
            poll_fn(|cx| connection.poll_linger(cx, &mut bytes)).await;
        } else if ended.is_ok() {
            poll_fn(|cx| connection.poll_farewell(cx)).await;
        }
    }
}

/// What a server says first, whoever the client is: its settings.
pub(super) fn greeting(limits: &h2::Limits) -> Rc<[u8]> {
    let (bytes, count) = write_greeting(&mut Engine::new(Role::Server, limits), limits);
    bytes[..count].into()
}

fn write_greeting(engine: &mut Engine, limits: &h2::Limits) -> ([u8; CONTROL_BYTES_MIN], usize) {
    let mut room = [0; CONTROL_BYTES_MIN];
    let count = engine.control(limits, &mut room);
    assert!(!engine.has_control(), "there is room for all that comes first");
    (room, count)
}

/// What the connection's task has to itself.
struct Connection<S: Service + 'static> {
    stream: Transport,
    shared: Rc<Shared<S, Frames>>,
    input: Input,
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
    knows_of_drain: bool,
}

/// Why a connection ends before its time. There is nobody left to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    TimedOut,
    Broken,
    Exhausted,
}

impl<S: Service + 'static> Connection<S> {
    /// Ready when the connection has ended, and all has been sent that there was to say.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), End>> {
        self.shared.state.borrow_mut().attend(cx.waker());
        // Our settings go before everything else.
        self.gather()?;
        loop {
            self.see_drain();
            self.advance(cx)?;
            let group = self.shared.state.borrow().group();
            self.stream.draw_from(group);
            if self.is_receiving()
                && let Poll::Ready(received) = self.poll_input(cx)?
            {
                if !received {
                    self.input = Input::default();
                    self.shared.state.borrow_mut().leave();
                }
                continue;
            }
            self.gather()?;
            if self.poll_send(cx)? {
                // There is room again, and what waited for it may be here already.
                continue;
            }
            if !self.stream.is_sending() && self.shared.state.borrow().is_over() {
                return Poll::Ready(Ok(()));
            }
            self.input.settle(self.shared.context.supplies.pool());
            if self.input.is_empty()
                && let Some(table) = self.table.take()
            {
                self.shared.context.spares.put(table);
            }
            let waits = self.waits();
            if waits == Waits::Nothing {
                self.stop_waiting();
                return Poll::Pending;
            }
            ready!(self.poll_alarm(cx, waits));
            match waits {
                Waits::Write => {
                    self.shared.context.stats.slow_readers.add(1);
                    return Poll::Ready(Err(End::TimedOut));
                }
                Waits::Head => return Poll::Ready(Err(End::TimedOut)),
                _ => self.finish(),
            }
            self.stop_waiting();
        }
    }

    /// What the connection itself waits for; its exchanges have waits of their own.
    fn waits(&self) -> Waits {
        // Of a send that is hushed nobody knows; where that stands still, what comes next will.
        let is_sending = self.shared.state.borrow().awaits_send() && self.stream.is_sending();
        let state = self.shared.state.borrow();
        let engine = &state.wire.engine;
        match () {
            () if is_sending => Waits::Write,
            () if engine.is_in_head() || !self.input.is_empty() => Waits::Head,
            () if engine.is_draining() && engine.takes_streams() => Waits::LastRequest,
            () if engine.stream_count() == 0 && engine.takes_streams() => Waits::Idle,
            () => Waits::Nothing,
        }
    }

    /// Begins the graceful end when the shard drains, or the connection has lasted as long as it may.
    fn see_drain(&mut self) {
        if self.shard().is_draining() && !std::mem::replace(&mut self.knows_of_drain, true) {
            // Tunnels end by themselves, when they see it.
            self.shared.state.borrow().wake_all();
        }
        if self.shared.state.borrow().wire.engine.is_in_head() {
            // Whoever has just come may have a request on its way.
            return;
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
        self.shared.context.stats.h2_drained.add(is_news.into());
    }

    /// No new stream is looked at any more.
    fn finish(&self) {
        self.drain();
        self.shared.state.borrow_mut().wire.finish();
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    fn is_receiving(&self) -> bool {
        let state = self.shared.state.borrow();
        !state.has_left && !state.wire.engine.is_closed()
    }

    /// Receives what there is. Ready with false at the end of input.
    fn poll_input(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, End>> {
        let context = &self.shared.context;
        let received = ready!(self.input.poll_fill(cx, &mut self.stream, context.supplies.pool()))?;
        context.stats.bytes_received.add(received.unwrap_or_default() as u64);
        Poll::Ready(Ok(received.is_some()))
    }

    /// Takes what is in hand as far as it goes, and answers on the spot what can be.
    fn advance(&mut self, cx: &mut TaskContext<'_>) -> Result<(), End> {
        let shared = Rc::clone(&self.shared);
        let context = &shared.context;
        let entered = shared.enter();
        while !self.input.is_empty() {
            let table = self.table.get_or_insert_with(|| context.spares.take());
            let mut state = shared.state.borrow_mut();
            let mut scratch = context.scratch.borrow();
            let now = shared.shard().now().saturating_duration_since(self.since);
            let step =
                match state.wire.engine.receive(self.input.as_slice(), &mut scratch, table, now, &context.config.h2) {
                    Ok(step) => step,
                    Err(error) => {
                        drop(state);
                        tracing::debug!(code = %error.code, "a connection has failed: {error}");
                        match error.code {
                            Code::ENHANCE_YOUR_CALM => context.stats.h2_calmed.add(1),
                            _ => context.stats.h2_failed.add(1),
                        }
                        self.input = Input::default();
                        shared.end_all("its connection has failed");
                        return Ok(());
                    }
                };
            let has_block = matches!(step.event, Event::Head { .. } | Event::Trailers { .. });
            let block = has_block.then(|| take_block(context.supplies.pool(), &scratch)).transpose()?;
            drop(scratch);
            match step.event {
                Event::NeedMore => {
                    drop(state);
                    self.input.skip(step.consumed);
                    break;
                }
                Event::Closed => self.input = Input::default(),
                Event::Head { key, head } => {
                    drop(state);
                    let block = self.head(block);
                    self.input.skip(step.consumed);
                    self.begin(cx, &entered, key, &head, block)?;
                }
                Event::HeadTooLarge { key } => {
                    drop(state);
                    self.input.skip(step.consumed);
                    context.stats.refused.add(1);
                    shared.answer(key, Response::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))?;
                }
                Event::Data { key, range, end } => {
                    let incoming = state.feeds(key, range.len(), &context.config.h2);
                    if end {
                        state.body_ended(key);
                    }
                    drop(state);
                    self.input.skip(range.start);
                    feed(&mut self.input, incoming.as_deref(), range.len(), context.supplies.pool())?;
                    self.input.skip(step.consumed - range.end);
                    if let Some(incoming) = incoming {
                        if end {
                            incoming.finish(Ok(()));
                        }
                        incoming.wake();
                    }
                }
                Event::Trailers { key } => {
                    let incoming = state.feeds(key, 0, &context.config.h2);
                    state.body_ended(key);
                    drop(state);
                    self.input.skip(step.consumed);
                    if let Some(incoming) = incoming {
                        incoming.trail(Trailers::new(self.head(block)));
                        incoming.finish(Ok(()));
                        incoming.wake();
                    }
                }
                Event::Reset { key, code } => {
                    context.stats.h2_resets.add(1);
                    tracing::debug!(stream = key.id(), %code, "a stream was reset");
                    state.end(key, CLIENT_LEFT);
                    state.body_ended(key);
                    drop(state);
                    self.input.skip(step.consumed);
                }
                Event::GoAway { .. } => {
                    // It opens no more streams, or none that are to be looked at; what is in hand goes on.
                    drop(state);
                    self.input.skip(step.consumed);
                }
            }
        }
        let refused = shared.state.borrow().wire.engine.refused_count();
        context.stats.h2_refused.add(refused.wrapping_sub(self.refused).into());
        self.refused = refused;
        Ok(())
    }

    /// A block that the engine has decoded, with the table that it has filled.
    fn head(&mut self, block: Option<Chunk>) -> Head {
        let (block, table) = (block.expect("it was taken"), self.table.take().expect("the engine has filled it"));
        Head::new(block, table, Rc::clone(&self.shared.context.spares))
    }

    /// Lets the service answer a request.
    fn begin(
        &mut self,
        cx: &mut TaskContext<'_>,
        entered: &Entered,
        key: Key,
        said: &h2::Head,
        head: Head,
    ) -> Result<(), End> {
        let shared = Rc::clone(&self.shared);
        let context = &shared.context;
        context.stats.requests.add(1);
        if self.patience.waits() == Waits::Idle {
            self.stop_waiting();
        }
        self.requests = self.requests.wrapping_add(1);
        if self.requests >= context.config.connection_requests_max {
            context.stats.retired.add(u64::from(self.requests == context.config.connection_requests_max));
            self.drain();
        }
        // RFC 9110 section 7.4, as over HTTP/1.1.
        let is_of_https = head.table().scheme(head.block()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
        if is_of_https && !self.stream.is_secure() {
            context.stats.refused.add(1);
            return Ok(shared.answer(key, Response::new(StatusCode::MISDIRECTED_REQUEST))?);
        }
        if let Some(response) = shared.sheds() {
            self.drain();
            return Ok(shared.answer(key, response)?);
        }
        let from = (&shared.peer, self.stream.is_early());
        Ok(shared.begin(cx, entered, key, said, head, from)?)
    }

    // ---- sending -----------------------------------------------------------------------------------------------------

    fn gather(&self) -> Result<(), Exhausted> {
        self.shared.state.borrow_mut().gather(self.shared.means())
    }

    /// Sends what is gathered, one send at a time. True if it has begun one: then there is room for more.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, End> {
        while self.stream.is_sending() {
            // Nobody need hear that it has left, unless something waits for that.
            if !self.shared.state.borrow().awaits_send() && !self.stream.hush(cx.waker()) {
                return Ok(false);
            }
            let Poll::Ready(sent) = self.stream.poll_sent(cx) else { return Ok(false) };
            if let Some(sent) = sent.map_err(|_| End::Broken)? {
                self.made_up(Side::Write, sent.bytes);
                self.shared.context.supplies.reclaim(sent.spare);
            }
        }
        let outgoing = self.shared.state.borrow_mut().take_outbox(self.shared.means());
        let Some(outgoing) = outgoing else { return Ok(false) };
        self.shared.context.stats.bytes_sent.add(outgoing.bytes() as u64);
        self.stream.start_send(outgoing).map_err(|_| End::Broken)?;
        Ok(true)
    }

    /// The connection's last word, where it has one.
    fn poll_farewell(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.stream.poll_close(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_alarm(cx, Waits::Linger)
    }

    /// Reads over what the peer still sends.
    fn poll_linger(&mut self, cx: &mut TaskContext<'_>, bytes: &mut usize) -> Poll<()> {
        if self.stream.poll_read_over(cx, bytes).is_ready() {
            return Poll::Ready(());
        }
        self.poll_alarm(cx, Waits::Linger)
    }

    fn shard(&self) -> &Shard {
        self.stream.shard()
    }
}

impl<S: Service> Patient for Connection<S> {
    type Service = S;

    fn patience(&mut self) -> (&mut Patience, Whose<'_, S>) {
        let shared = &self.shared;
        let whose = Whose { shard: self.stream.shard(), context: &shared.context, stream: 0 };
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

impl From<Exhausted> for End {
    fn from(_: Exhausted) -> Self {
        End::Exhausted
    }
}

impl From<Unfilled> for End {
    fn from(why: Unfilled) -> Self {
        match why {
            Unfilled::Exhausted => End::Exhausted,
            Unfilled::Broken => End::Broken,
        }
    }
}
