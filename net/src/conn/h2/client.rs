//! The client's end of HTTP/2: one connection to a server, many exchanges at a time.
//!
//! The one idea: the connection's task receives and sends, as the server's does, and whoever waits for a response does the rest:
//! it opens a stream when it is its turn, lets the maker of its body work, and reads. So dropping it ends its stream and nothing
//! else, and a reader that is slow holds up its own stream.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::Instant;

use http::HeaderValue;
use http::header::EXPECT;
use platform::Buf;
use proto::h2::{self, Code, Engine, Event, Key, Pseudo, Role};
use proto::head::HeadTable;
use proto::message::{BodyLength, Checked, WriteError};
use shards::{Alarm, Scope};

use super::wire::{Frames, Means};
use crate::client::{Error, Step};
use crate::conn::client::{HEAD_BYTES_USUAL, Outline, Shared, Upload, Waits};
use crate::conn::input::{Input, Unfilled};
use crate::conn::streams::{Refusal, Slot, Streams, Wire, feed};
use crate::limits::{COPY_BODY_BYTES_MAX, GATHER_BYTES_MAX};
use crate::{Body, BodyError, Content, Head, Trailers, Transport};

/// A connection, as requests see it. It is closed when nobody has it any more.
pub(crate) struct Trunk {
    shared: Rc<Shared>,
    streams: RefCell<Streams<Frames>>,
    /// Requests that wait for a stream, in their order.
    queue: RefCell<BTreeMap<u64, Waker>>,
    tickets: Cell<u64>,
    /// The server takes no further request, or is not to be asked for one.
    is_leaving: Cell<bool>,
    failure: Cell<Option<Failure>>,
    is_secure: bool,
    /// When the server was last heard.
    heard: Cell<Instant>,
    /// Its task's.
    scope: RefCell<Option<Scope>>,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The server has closed it, or it broke.
    Closed,
    /// The server broke the rules of HTTP/2.
    Broken(h2::Error),
    /// The server takes nothing.
    TimedOut,
    Exhausted,
}

/// One exchange. Dropping it ends its stream.
pub(crate) struct Exchange {
    trunk: Rc<Trunk>,
    key: Key,
    alarm: Alarm,
    waits: Waits,
    upload: Upload,
    content: Content,
    /// Bytes of the request's body that are to come, if their number was announced.
    left: Option<u64>,
    body: Body,
    length: Option<u64>,
    has_answer: bool,
}

/// A place in the queue of a connection.
struct Turn<'s> {
    trunk: &'s Trunk,
    ticket: Option<u64>,
}

impl Trunk {
    /// Speaks over a new connection. `over` is called when that has ended.
    ///
    /// Errors: the shard has as many tasks or scopes as it admits.
    pub(crate) fn start(
        shared: &Rc<Shared>,
        stream: Transport,
        over: impl FnOnce() + 'static,
    ) -> Result<Rc<Self>, Error> {
        let shard = &shared.shard;
        let scope = shard.scope().child("client").map_err(|_| Error::Full)?;
        let trunk = Rc::new(Trunk {
            shared: Rc::clone(shared),
            streams: RefCell::new(Streams::new(Frames::new(Engine::new(Role::Client, &shared.config.h2)))),
            queue: RefCell::default(),
            tickets: Cell::new(0),
            is_leaving: Cell::new(false),
            failure: Cell::new(None),
            is_secure: stream.is_secure(),
            heard: Cell::new(shard.now()),
            scope: RefCell::new(None),
        });
        let driver = Driver {
            trunk: Rc::downgrade(&trunk),
            shared: Rc::clone(shared),
            stream,
            input: Input::default(),
            table: None,
            alarm: shard.alarm(shard.now()),
            waits: Waits::Nothing,
            since: shard.now(),
        };
        let work = async move {
            driver.run().await;
            over();
        };
        scope.spawn(work).map_err(|_| Error::Full)?.detach();
        *trunk.scope.borrow_mut() = Some(scope);
        Ok(trunk)
    }

    /// Whether further requests may go over it.
    pub(crate) fn is_usable(&self) -> bool {
        let streams = self.streams.borrow();
        let engine = &streams.wire.engine;
        !self.is_leaving.get() && streams.ended.is_none() && !engine.is_draining() && engine.has_numbers()
    }

    fn means(&self) -> Means<'_> {
        let Shared { supplies, config, .. } = &*self.shared;
        Means { supplies, limits: &config.h2, gather_bytes_max: GATHER_BYTES_MAX }
    }

    /// Sends a request's head, as soon as there is a stream for it, and its body if that is short; `None` if the connection takes
    /// no further request. True beside the exchange if the body stays with the caller, who may send the request again; any other
    /// is taken.
    pub(crate) async fn begin(
        self: &Rc<Self>,
        outline: Outline<'_>,
        content: &mut Content,
    ) -> Result<Option<(Exchange, bool)>, Error> {
        let Shared { shard, config, .. } = &*self.shared;
        let mut turn = Turn { trunk: self, ticket: None };
        let turned = shard.timeout(config.connect_time_max, poll_fn(|cx| turn.poll(cx))).await;
        let has_come = turned.map_err(|_| Error::Busy)?;
        drop(turn);
        if has_come { self.open(outline, content).map(Some) } else { Ok(None) }
    }

    fn open(self: &Rc<Self>, outline: Outline<'_>, content: &mut Content) -> Result<(Exchange, bool), Error> {
        let length = match &*content {
            Content::Empty => BodyLength::None,
            content => content.length().map_or(BodyLength::Unknown, BodyLength::Known),
        };
        let waits = outline.expects && !matches!(length, BodyLength::None | BodyLength::Known(0));
        let copy = match &*content {
            Content::Full(buf) if !waits && !buf.is_empty() && buf.len() <= COPY_BODY_BYTES_MAX => {
                let mut copy = self.shared.supplies.pool().lease(buf.len()).ok_or(Error::Exhausted)?;
                copy.put(buf);
                Some(Buf::Chunk(copy.freeze()))
            }
            _ => None,
        };
        let streams = &mut *self.streams.borrow_mut();
        // Nothing goes before the preface.
        streams.gather(self.means())?;
        let key = self.write_head(streams, &outline, waits, length)?;
        let (incoming, body) = self.shared.supplies.body(None);
        streams.open(Slot::new(key, Some(incoming), waits));
        let mut exchange = Exchange {
            trunk: Rc::clone(self),
            key,
            alarm: self.shared.shard.alarm(self.shared.shard.now()),
            waits: Waits::Nothing,
            upload: Upload::Done,
            content: Content::Empty,
            left: content.length(),
            body,
            length: None,
            has_answer: false,
        };
        streams.wake();
        // From here nothing fails, which would end the exchange while its streams are borrowed.
        match copy {
            _ if !streams.wire.engine.can_send(key) => {}
            Some(copy) => streams.offer(key, copy, true),
            None => {
                exchange.content = std::mem::take(content);
                exchange.upload = if waits { Upload::Waits } else { Upload::Goes };
                return Ok((exchange, false));
            }
        }
        Ok((exchange, true))
    }

    fn write_head(
        &self,
        streams: &mut Streams<Frames>,
        outline: &Outline<'_>,
        waits: bool,
        length: BodyLength,
    ) -> Result<Key, Error> {
        let asks = HeaderValue::from_static("100-continue");
        let Outline { method, target, host, headers, .. } = *outline;
        let pseudo = Pseudo { method, is_secure: self.is_secure, authority: host, path: target, protocol: None };
        let lines = headers.iter().chain(waits.then_some((&EXPECT, &asks)));
        let lines = lines.map(|(name, value)| Checked(name, value));
        let written = streams.wire.write(self.means(), HEAD_BYTES_USUAL, |engine, room| {
            engine.request(pseudo, lines.clone(), length, &self.shared.config.h2, room)
        });
        written.map_err(Error::from)
    }

    /// Whether the server takes more of a request.
    fn takes_more(&self, key: Key) -> bool {
        let mut streams = self.streams.borrow_mut();
        streams.wire.engine.can_send(key) && streams.ended(key).is_none()
    }

    /// Whoever is next in the queue looks whether it is its turn.
    fn call_next(&self) {
        if let Some(waker) = self.queue.borrow().values().next() {
            waker.wake_by_ref();
        }
    }

    /// No further request goes over it: whoever waits looks for another connection.
    fn leave(&self) {
        self.is_leaving.set(true);
        self.queue.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// The connection has ended, and all that is on it.
    fn fail(&self, failure: Failure) {
        if self.failure.get().is_none() {
            self.failure.set(Some(failure));
        }
        self.streams.borrow_mut().end_all("its connection has ended");
        self.leave();
    }

    fn is_idle(&self) -> bool {
        self.streams.borrow().wire.engine.stream_count() == 0 && self.queue.borrow().is_empty()
    }
}

impl Turn<'_> {
    /// Ready when a stream may be opened, and nobody has waited for that longer; with false when none may any more.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<bool> {
        let Trunk { streams, queue, tickets, shared, .. } = self.trunk;
        if !self.trunk.is_usable() {
            return Poll::Ready(false);
        }
        let streams = streams.borrow();
        let mut queue = queue.borrow_mut();
        let is_next = queue.first_key_value().is_none_or(|(first, _)| Some(*first) == self.ticket);
        if is_next && streams.wire.engine.can_open(&shared.config.h2) && !streams.wire.is_full(self.trunk.means()) {
            return Poll::Ready(true);
        }
        let ticket = *self.ticket.get_or_insert_with(|| tickets.replace(tickets.get() + 1));
        queue.insert(ticket, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.trunk.queue.borrow_mut().remove(&ticket);
        }
        self.trunk.call_next();
    }
}

impl Exchange {
    // ---- the request -------------------------------------------------------------------------------------------------

    /// Has written what there is to send, as far as it goes without waiting. An error is the body's maker's.
    fn send(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Error> {
        let trunk = Rc::clone(&self.trunk);
        {
            let streams = &mut *trunk.streams.borrow_mut();
            streams.watch(self.key, cx.waker());
            let Some(slot) = streams.slot(self.key) else { return Ok(()) };
            if std::mem::take(&mut slot.sent) > 0 {
                self.waits = Waits::Nothing;
            }
            if self.upload == Upload::Waits && !slot.expects_continue {
                self.go_on();
            }
        }
        // No borrow is held while the maker works, or is dropped: it may itself be a response that came by this connection.
        while self.upload == Upload::Goes {
            if !trunk.takes_more(self.key) {
                // Its answer counts all the same.
                self.end_upload();
                break;
            }
            if trunk.streams.borrow_mut().has_piece(self.key) {
                break;
            }
            if let Content::Full(buf) = &mut self.content {
                let buf = std::mem::take(buf);
                self.end_upload();
                trunk.streams.borrow_mut().offer(self.key, buf, true);
                break;
            }
            match self.content.poll_buf(cx) {
                Poll::Ready(Some(Ok(buf))) if buf.is_empty() => {}
                Poll::Ready(Some(Ok(buf))) => {
                    if let Some(left) = &mut self.left {
                        let rest = left.checked_sub(buf.len() as u64);
                        *left = rest.ok_or(Error::Request(WriteError::BodyTooLong))?;
                    }
                    trunk.streams.borrow_mut().offer(self.key, buf, false);
                }
                Poll::Ready(Some(Err(error))) => return Err(Error::Body(error)),
                Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                    return Err(Error::Request(WriteError::BodyTooShort));
                }
                Poll::Ready(None) if trunk.streams.borrow_mut().has_room_for(self.key, trunk.means()) => {
                    let trailers = self.content.trailers();
                    self.end_upload();
                    let streams = &mut *trunk.streams.borrow_mut();
                    streams.wire.end(trunk.means(), self.key, &trailers)?;
                    streams.wake();
                }
                Poll::Ready(None) => break,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// The server asks for the body, or has not said that it does not want it.
    fn go_on(&mut self) {
        self.upload = Upload::Goes;
        self.waits = Waits::Nothing;
    }

    fn end_upload(&mut self) {
        self.upload = Upload::Done;
        self.content = Content::Empty;
    }

    // ---- the response ------------------------------------------------------------------------------------------------

    /// The head of the response. Of interim ones only 100 is heard, which lets the body go.
    pub(crate) fn poll_head(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Head, Error>> {
        loop {
            self.send(cx)?;
            let response = self.trunk.streams.borrow_mut().slot(self.key).and_then(|slot| slot.response.take());
            if let Some((head, length)) = response {
                (self.length, self.has_answer, self.waits) = (length, true, Waits::Nothing);
                if self.upload == Upload::Waits {
                    // RFC 9110 section 10.1.1: it is not wanted.
                    self.end_upload();
                }
                return Poll::Ready(Ok(head));
            }
            if let Some(error) = self.failure() {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_alarm(cx, Waits::Head))?;
        }
    }

    /// The next piece of the response's body; `None` at its end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<platform::Chunk>, Error>> {
        loop {
            self.send(cx)?;
            match self.body.poll_chunk(cx) {
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(Some(chunk))) => {
                    self.waits = Waits::Nothing;
                    let limits = &self.trunk.shared.config.h2;
                    self.trunk.streams.borrow_mut().consume(self.key, chunk.len(), limits);
                    return Poll::Ready(Ok(Some(chunk)));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(self.failure().unwrap_or(Error::Truncated))),
                Poll::Pending => {}
            }
            if let Some(error) = self.failure() {
                return Poll::Ready(Err(error));
            }
            ready!(self.poll_alarm(cx, Waits::Body))?;
        }
    }

    /// Bytes of the body, if the server has said.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(crate) fn body_bytes_max(&self) -> u64 {
        self.trunk.shared.config.body_bytes_max
    }

    /// What stood behind the body that has ended.
    pub(crate) fn take_trailers(&mut self) -> Option<Trailers> {
        self.body.take_trailers()
    }

    /// Why nothing more comes of it, if something is missing.
    fn failure(&self) -> Option<Error> {
        let mut streams = self.trunk.streams.borrow_mut();
        streams.ended(self.key)?;
        match (streams.slot(self.key)?.code, self.trunk.failure.get()) {
            (Some(Code::REFUSED_STREAM), _) => Some(Error::Unprocessed),
            (Some(code), _) => Some(Error::Reset(code)),
            (None, Some(Failure::Broken(error))) => Some(Error::Broken(error)),
            (None, Some(Failure::TimedOut)) => Some(Error::TimedOut(Step::Write)),
            (None, Some(Failure::Exhausted)) => Some(Error::Exhausted),
            (None, _) if self.has_answer => Some(Error::Truncated),
            (None, _) => Some(Error::Closed),
        }
    }

    /// Ready when what is waited for has taken too long: as over HTTP/1.1.
    fn poll_alarm(&mut self, cx: &mut TaskContext<'_>, reads: Waits) -> Poll<Result<(), Error>> {
        let waits = match self.upload {
            _ if self.trunk.streams.borrow_mut().has_piece(self.key) => Waits::Write,
            Upload::Goes => Waits::Nothing,
            Upload::Waits => Waits::Continue,
            Upload::Done => reads,
        };
        let Shared { shard, config, .. } = &*self.trunk.shared;
        let Some((time, step)) = waits.limit(config) else {
            self.waits = waits;
            return Poll::Pending;
        };
        if self.waits != waits {
            self.waits = waits;
            self.alarm.set(shard.clock() + time);
        }
        ready!(self.alarm.poll_rung(cx));
        if waits == Waits::Continue {
            self.go_on();
            return Poll::Ready(Ok(()));
        }
        if shard.now() >= self.trunk.heard.get() + time / 2 {
            // Nothing at all has come for a while: others are not to wait for the same.
            self.trunk.leave();
        }
        Poll::Ready(Err(Error::TimedOut(step)))
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Shared { supplies, config, .. } = &*self.trunk.shared;
        self.body = Body::empty();
        let streams = &mut *self.trunk.streams.borrow_mut();
        supplies.reclaim_body(streams.slot(self.key).and_then(|slot| slot.incoming.take()));
        streams.release(self.key, &config.h2);
        self.trunk.call_next();
    }
}

// ---- the connection's task -------------------------------------------------------------------------------------------

/// What receives and sends.
struct Driver {
    trunk: Weak<Trunk>,
    shared: Rc<Shared>,
    stream: Transport,
    input: Input,
    /// Leased while something is received.
    table: Option<Box<HeadTable>>,
    alarm: Alarm,
    waits: Waits,
    /// When the engine's time began.
    since: Instant,
}

impl Driver {
    async fn run(mut self) {
        let shard = self.shared.shard.clone();
        let mut drained = pin!(shard.drained());
        let mut drains = false;
        poll_fn(|cx| {
            drains = drains || drained.as_mut().poll(cx).is_ready();
            self.poll(cx, drains)
        })
        .await;
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut TaskContext<'_>, drains: bool) -> Poll<()> {
        let Some(trunk) = self.trunk.upgrade() else { return Poll::Ready(()) };
        trunk.streams.borrow_mut().attend(cx.waker());
        match self.poll_trunk(cx, &trunk, drains) {
            Ok(polled) => polled,
            Err(failure) => {
                trunk.fail(failure);
                Poll::Ready(())
            }
        }
    }

    fn poll_trunk(&mut self, cx: &mut TaskContext<'_>, trunk: &Trunk, drains: bool) -> Result<Poll<()>, Failure> {
        loop {
            self.advance(trunk)?;
            if drains && trunk.is_idle() {
                trunk.streams.borrow_mut().wire.engine.finish();
            }
            if !trunk.streams.borrow().wire.engine.is_closed() {
                match self.input.poll_fill(cx, &mut self.stream, self.shared.supplies.pool()) {
                    Poll::Ready(Ok(Some(_))) => {
                        trunk.heard.set(self.shared.shard.now());
                        continue;
                    }
                    Poll::Ready(Ok(None) | Err(Unfilled::Broken)) => return Err(Failure::Closed),
                    Poll::Ready(Err(Unfilled::Exhausted)) => return Err(Failure::Exhausted),
                    Poll::Pending => {}
                }
            }
            let gathered = trunk.streams.borrow_mut().gather(trunk.means());
            gathered.map_err(|_| Failure::Exhausted)?;
            if self.poll_send(cx, trunk)? {
                continue;
            }
            if !self.stream.is_sending() && trunk.streams.borrow().is_over() {
                return Ok(Poll::Ready(()));
            }
            self.input.settle(self.shared.supplies.pool());
            if self.input.is_empty()
                && let Some(table) = self.table.take()
            {
                self.shared.spares.put(table);
            }
            let waits = match () {
                () if trunk.streams.borrow().awaits_send() && self.stream.is_sending() => Waits::Write,
                () if trunk.is_idle() => Waits::Idle,
                () => Waits::Nothing,
            };
            let limit = waits.limit(&self.shared.config);
            if self.waits != waits {
                self.waits = waits;
                limit.iter().for_each(|(time, _)| self.alarm.set(self.shared.shard.clock() + *time));
            }
            if limit.is_none() || self.alarm.poll_rung(cx).is_pending() {
                return Ok(Poll::Pending);
            }
            if waits == Waits::Write {
                return Err(Failure::TimedOut);
            }
            trunk.streams.borrow_mut().wire.engine.finish();
            self.waits = Waits::Nothing;
        }
    }

    /// Sends what is gathered, one send at a time. True if it has begun one: then there is room for more.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>, trunk: &Trunk) -> Result<bool, Failure> {
        while self.stream.is_sending() {
            // Nobody need hear that it has left, unless something waits for that.
            if !trunk.streams.borrow().awaits_send() && !self.stream.hush(cx.waker()) {
                return Ok(false);
            }
            let Poll::Ready(sent) = self.stream.poll_sent(cx) else { return Ok(false) };
            if let Some(sent) = sent.map_err(|_| Failure::Closed)? {
                self.shared.supplies.reclaim(sent.spare);
                self.waits = Waits::Nothing;
            }
        }
        let outgoing = trunk.streams.borrow_mut().take_outbox(trunk.means());
        let Some(outgoing) = outgoing else { return Ok(false) };
        self.stream.start_send(outgoing).map_err(|_| Failure::Closed)?;
        trunk.call_next();
        Ok(true)
    }

    /// Takes what is in hand as far as it goes.
    fn advance(&mut self, trunk: &Trunk) -> Result<(), Failure> {
        let shared = Rc::clone(&self.shared);
        let (limits, pool) = (&shared.config.h2, shared.supplies.pool());
        while !self.input.is_empty() {
            let table = self.table.get_or_insert_with(|| shared.spares.take());
            let streams = &mut *trunk.streams.borrow_mut();
            let mut lent = shared.scratch.borrow_mut();
            let scratch = lent.get_or_insert_with(|| Box::new(h2::Scratch::new(limits.head_bytes_max)));
            let now = shared.shard.now().saturating_duration_since(self.since);
            let step = match streams.wire.engine.receive(self.input.as_slice(), scratch, table, now, limits) {
                Ok(step) => step,
                Err(error) => {
                    tracing::debug!(code = %error.code, "a server broke the rules of HTTP/2: {error}");
                    self.input = Input::default();
                    trunk.failure.set(Some(Failure::Broken(error)));
                    streams.end_all("its connection has failed");
                    trunk.leave();
                    return Ok(());
                }
            };
            match step.event {
                Event::NeedMore => {
                    self.input.skip(step.consumed);
                    break;
                }
                Event::Closed => {
                    self.input = Input::default();
                    break;
                }
                Event::Head { key, head } => {
                    self.input.skip(step.consumed);
                    let status = table.status();
                    let Some(slot) = streams.slot(key) else { continue };
                    if !status.is_informational() {
                        let block = super::take_block(pool, scratch).map_err(|_| Failure::Exhausted)?;
                        let table = self.table.take().expect("the engine has filled it");
                        let length = if head.end { Some(0) } else { head.length };
                        slot.response = Some((Head::new(block, table, Rc::clone(&shared.spares)), length));
                        if let Some(incoming) = slot.incoming.as_ref().filter(|_| head.end) {
                            incoming.finish(Ok(()));
                        }
                    } else if status == http::StatusCode::CONTINUE {
                        slot.expects_continue = false;
                    }
                    slot.wake();
                }
                Event::Data { key, range, end } => {
                    let incoming = streams.feeds(key, range.len(), limits);
                    self.input.skip(range.start);
                    feed(&mut self.input, incoming.as_deref(), range.len(), pool).map_err(|_| Failure::Exhausted)?;
                    self.input.skip(step.consumed - range.end);
                    if let Some(incoming) = incoming {
                        if end {
                            incoming.finish(Ok(()));
                        }
                        incoming.wake();
                    }
                }
                Event::Trailers { key } => {
                    self.input.skip(step.consumed);
                    if let Some(incoming) = streams.feeds(key, 0, limits) {
                        let block = super::take_block(pool, scratch).map_err(|_| Failure::Exhausted)?;
                        let table = self.table.take().expect("the engine has filled it");
                        incoming.trail(Trailers::new(Head::new(block, table, Rc::clone(&shared.spares))));
                        incoming.finish(Ok(()));
                        incoming.wake();
                    }
                }
                Event::Reset { key, code } => {
                    self.input.skip(step.consumed);
                    let Some(slot) = streams.slot(key) else { continue };
                    let incoming = slot.incoming.clone();
                    if incoming.as_ref().is_some_and(|incoming| incoming.has_ended()) {
                        // Its answer is whole: the rest of the request is not wanted (RFC 9113 section 8.1).
                        slot.wake();
                        continue;
                    }
                    slot.code = Some(code);
                    streams.end(key, "its stream was reset");
                    if let Some(incoming) = incoming {
                        incoming.finish(Err(BodyError::Truncated));
                        incoming.wake();
                    }
                }
                Event::GoAway { last, code } => {
                    tracing::debug!(last, %code, "a server takes no more requests");
                    self.input.skip(step.consumed);
                    streams.refuse(Code::REFUSED_STREAM, |key| key.id() > last);
                    trunk.leave();
                }
                // Only of requests.
                Event::HeadTooLarge { .. } => self.input.skip(step.consumed),
            }
        }
        trunk.call_next();
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(trunk) = self.trunk.upgrade() {
            trunk.fail(Failure::Closed);
        }
        if let Some(table) = self.table.take() {
            self.shared.spares.put(table);
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exhausted => Error::Exhausted,
            Refusal::Unwritable(error) => Error::Request(error),
        }
    }
}
