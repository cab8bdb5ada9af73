//! The client's end of HTTP/2: the task of one connection to a server.
//!
//! The one idea: it receives and sends, as the server's does. What it receives for, and who has something to send, is the
//! [trunk](Trunk)'s.

use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use proto::h2::{Code, Engine, Event, Role};
use proto::head::HeadTable;
use shards::Alarm;

pub(crate) use super::wire::Frames;
use crate::client::Error;
use crate::conn::client::{Shared, Waits};
use crate::conn::input::{Input, Unfilled};
use crate::conn::streams::client::{self, Failure};
use crate::conn::streams::{feed, take_block};
use crate::limits::CLIENT_FAREWELL_TIME;
use crate::{Head, Trailers, Transport};

/// A connection of HTTP/2, as requests see it.
pub(crate) type Trunk = client::Trunk<Frames>;

/// Speaks over a new connection. `over` is called when that has ended.
///
/// Errors: the shard has as many tasks or scopes as it admits.
pub(crate) fn start(shared: &Rc<Shared>, stream: Transport, over: impl FnOnce() + 'static) -> Result<Rc<Trunk>, Error> {
    let frames = Frames::new(Engine::new(Role::Client, &shared.config.h2));
    let is_secure = stream.is_secure();
    let drive = |trunk| {
        let now = shared.shard.now();
        let driver = Driver {
            trunk,
            shared: Rc::clone(shared),
            stream,
            input: Input::default(),
            table: None,
            alarm: shared.shard.alarm(now),
            waits: Waits::Nothing,
            since: now,
        };
        driver.run()
    };
    Trunk::start(shared, frames, (is_secure, None), drive, over)
}

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
        let _ = shard.timeout(CLIENT_FAREWELL_TIME, poll_fn(|cx| self.stream.poll_close(cx))).await;
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
            let mut borrowed = trunk.streams.borrow_mut();
            let streams = &mut *borrowed;
            let mut scratch = shared.scratch.borrow();
            let now = shared.shard.now().saturating_duration_since(self.since);
            let step = match streams.wire.engine.receive(self.input.as_slice(), &mut scratch, table, now, limits) {
                Ok(step) => step,
                Err(error) => {
                    tracing::debug!(code = %error.code, "a server broke the rules of HTTP/2: {error}");
                    self.input = Input::default();
                    drop(borrowed);
                    trunk.broke(error.code, error.what);
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
                    let block = take_block(pool, &scratch).map_err(|_| Failure::Exhausted)?;
                    let table = self.table.take().expect("the engine has filled it");
                    streams.answered(key, &head, Head::new(block, table, Rc::clone(&shared.spares)));
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
                        let block = take_block(pool, &scratch).map_err(|_| Failure::Exhausted)?;
                        let table = self.table.take().expect("the engine has filled it");
                        incoming.trail(Trailers::new(Head::new(block, table, Rc::clone(&shared.spares))));
                        incoming.finish(Ok(()));
                        incoming.wake();
                    }
                }
                Event::Reset { key, code } => {
                    self.input.skip(step.consumed);
                    streams.was_reset(key, code);
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
