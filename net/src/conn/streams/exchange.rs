//! One request that was not answered on the spot: a task that sees it through, in the request's scope.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use http::StatusCode;
use platform::Buf;
use shards::{Alarm, Demand, Entered, Leased, Pooled, Scope};

use super::shared::Shared;
use super::tunnel::{Next, Outlet, Tube};
use super::{Cut, Key, Mailbox, Refusal, Wire};
use crate::conn::h1::TUNNEL_NAMES;
use crate::conn::patience::{Patience, Patient, Side, Waits, Whose};
use crate::conn::unavailable;
use crate::exchange::Work;
use crate::limits::{DRAIN_BODY_BYTES_MAX, REQUEST_TASKS_TIME_MAX};
use crate::{Body, BodyError, Content, Headers, Response, Service, Transport, Tunnel, Upgraded};

/// An exchange, and the right to its stream: dropping it releases that.
pub(in crate::conn) struct Exchange<S: Service + 'static, W: Wire> {
    shared: Rc<Shared<S, W>>,
    key: W::Key,
    stage: Stage,
    /// Bytes of the content that are to come, if its length was declared.
    left: Option<u64>,
    /// The request's scope, once someone has asked for it. After `stage`: who works in it is dropped first.
    scope: Option<Scope>,
    demand: Demand,
    /// When the request must have been answered.
    limit: Option<Alarm>,
    patience: Patience,
    /// It has been told that the client has ended its side.
    knows_of_leaving: bool,
    /// Of a tunnel: the datagrams that go beside its stream, where any do.
    mailbox: Option<Rc<Mailbox>>,
    /// Of a `CONNECT`: what its tunnel will receive.
    pub(in crate::conn) tunnel: Option<Body>,
}

/// Where an exchange stands.
pub(in crate::conn) enum Stage {
    /// The handler is at work.
    Handler(Leased<'static, Pooled<Response>>),
    /// Its response waits for room in the outbox.
    Response(Pooled<Response>),
    /// The head is written; this is still to come.
    Content(Content),
    /// All of the content is offered, or written; its end is to follow, by itself.
    End(Content),
    /// It is a tunnel, at whose end its code works.
    Tunnel(Option<Work>, Rc<Outlet>),
    /// All is written; of the request's body there may be a rest.
    Done,
}

impl<S: Service + 'static, W: Wire> Exchange<S, W> {
    pub(in crate::conn) fn new(
        shared: Rc<Shared<S, W>>,
        key: W::Key,
        stage: Stage,
        demand: Demand,
        scope: Option<Scope>,
    ) -> Self {
        let shard = shared.shard();
        let limit = demand.deadline.map(|deadline| shard.alarm(deadline));
        let patience = Patience::new(shard, shared.number, shard.now());
        let left = match &stage {
            Stage::Content(content) => content.length(),
            _ => None,
        };
        let knows_of_leaving = false;
        Exchange {
            shared,
            key,
            stage,
            left,
            scope,
            demand,
            limit,
            patience,
            knows_of_leaving,
            mailbox: None,
            tunnel: None,
        }
    }

    pub(in crate::conn) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
        let was_tunnel = matches!(self.stage, Stage::Tunnel(..));
        self.stage = Stage::Done;
        if let Some(scope) = self.scope.take() {
            scope.cancel(if was_tunnel { "its connection has ended" } else { "its request has ended" });
            let shard = self.shared.shard().clone();
            if scope.passes() > 0 && shard.timeout(REQUEST_TASKS_TIME_MAX, scope.gate()).await.is_err() {
                self.shared.context.stats.tasks_left.add(1);
                tracing::warn!(
                    connection = self.shared.number,
                    stream = self.key.number(),
                    "tasks of a request that has ended do not end; the connection goes on without them"
                );
            }
        }
        self.shared.forsake(self.key);
        // Of a tunnel there is no rest: it has been left to its code.
        if !was_tunnel {
            poll_fn(|cx| self.poll_rest(cx)).await;
        }
    }

    /// Reads over what is left of the request's body, as HTTP/1.1 does: most clients send it to its end before they look at
    /// the answer, and to some a reset is a failure. Ready when it has ended, or is not worth it.
    fn poll_rest(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.shared.watch(self.key, cx.waker());
        self.see_peer(cx);
        let mut state = self.shared.state.borrow_mut();
        let is_coming = state.wire.is_receiving(self.key) && state.ended(self.key).is_none();
        let is_coming = is_coming && !state.has_left && !state.wire.is_draining();
        if !is_coming || state.slot(self.key).is_none_or(|slot| slot.unread > DRAIN_BODY_BYTES_MAX) {
            return Poll::Ready(());
        }
        drop(state);
        self.poll_alarm(cx, Waits::Body)
    }

    /// Ready when the exchange has ended, however it has.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.shared.watch(self.key, cx.waker());
        loop {
            self.see_peer(cx);
            let ended = self.shared.state.borrow_mut().ended(self.key);
            if ended.is_some()
                && let Stage::Tunnel(_, outlet) = &self.stage
            {
                // As that of a connection that is lost, its code goes on until it has seen that.
                outlet.break_off(cx.waker());
                if let Some(mailbox) = &self.mailbox {
                    mailbox.close();
                }
                self.fail_body(BodyError::Truncated);
            } else if let Some(why) = ended {
                self.give_up(cx, |scope| scope.cancel(why), BodyError::Truncated);
                return Poll::Ready(());
            }
            if let Some(limit) = &mut self.limit
                && limit.poll_rung(cx).is_ready()
            {
                self.overdue(cx);
                continue;
            }
            match self.poll_stage(cx) {
                Poll::Ready(Ok(true)) => return Poll::Ready(()),
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(cut)) => {
                    self.shared.reset(self.key, cut);
                    // What has failed is not polled again.
                    if let Some(scope) = &self.scope {
                        scope.cancel("its answer cannot be finished");
                    }
                    return Poll::Ready(());
                }
                Poll::Pending => ready!(self.poll_waits(cx)),
            }
        }
    }

    /// Goes on by one step. Ready with true when all is written, and with how to reset the stream if that cannot be.
    fn poll_stage(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, Cut>> {
        match &mut self.stage {
            Stage::Handler(future) => {
                let entered = enter(&self.shared, &self.scope, self.demand);
                let polled = Pin::new(future).poll(cx);
                self.scope = entered.leave().or(self.scope.take());
                self.consume(cx);
                self.stage = Stage::Response(ready!(polled));
            }
            Stage::Response(_) => ready!(self.poll_respond())?,
            Stage::Content(content) => {
                if self.shared.state.borrow_mut().has_piece(self.key) {
                    return Poll::Pending;
                }
                let has_ended = !self.shared.state.borrow().wire.can_send(self.key);
                if let Content::Full(buf) = content {
                    if has_ended {
                        return Poll::Ready(Ok(true));
                    }
                    let buf = std::mem::take(buf);
                    self.shared.offer(self.key, buf, true);
                    return Poll::Pending;
                }
                let entered = enter(&self.shared, &self.scope, self.demand);
                let polled = content.poll_buf(cx);
                self.scope = entered.leave().or(self.scope.take());
                self.consume(cx);
                match ready!(polled) {
                    Some(Ok(buf)) if buf.is_empty() => {}
                    Some(Ok(buf)) => self.offer(buf)?,
                    Some(Err(error)) => {
                        tracing::warn!("a response ended before its time: {error}");
                        return Poll::Ready(Err(Cut::Internal));
                    }
                    None if self.left.is_some_and(|left| left > 0) => {
                        tracing::error!("a response is shorter than it declared");
                        return Poll::Ready(Err(Cut::Internal));
                    }
                    // It went with the last piece.
                    None if has_ended => return Poll::Ready(Ok(true)),
                    None => {
                        if let Stage::Content(content) = std::mem::replace(&mut self.stage, Stage::Done) {
                            self.stage = Stage::End(content);
                        }
                    }
                }
            }
            Stage::End(content) => {
                if self.shared.with_room(self.key).is_none() {
                    return Poll::Pending;
                }
                let entered = enter(&self.shared, &self.scope, self.demand);
                let trailers = content.trailers();
                self.scope = entered.leave().or(self.scope.take());
                match self.shared.write_end(self.key, &trailers) {
                    Ok(()) => {}
                    Err(Refusal::Exhausted) => return Poll::Ready(Err(Cut::Internal)),
                    Err(Refusal::Unwritable(error)) => {
                        tracing::error!("a response cannot be ended: {error}");
                        return Poll::Ready(Err(Cut::Internal));
                    }
                }
                return Poll::Ready(Ok(true));
            }
            Stage::Tunnel(..) => return self.poll_tunnel(cx),
            Stage::Done => return Poll::Ready(Ok(true)),
        }
        Poll::Ready(Ok(false))
    }

    fn poll_respond(&mut self) -> Poll<Result<(), Cut>> {
        let Some(mut state) = self.shared.with_room(self.key) else { return Poll::Pending };
        let Stage::Response(mut response) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Poll::Pending;
        };
        self.judge(&mut response);
        // The answer is made of the request's body: a client that waits to be asked for it must be asked first.
        let asks = matches!(response.content, Content::Body(_))
            && state.slot(self.key).is_some_and(|slot| std::mem::take(&mut slot.expects_continue));
        if asks && self.shared.ask_for_body(&mut state, self.key).is_err() {
            return Poll::Ready(Err(Cut::Internal));
        }
        drop(state);
        self.left = match &response.content {
            Content::Full(_) => None,
            content => content.length(),
        };
        let Ok(rest) = self.shared.respond(&mut self.key, &mut response, false) else {
            return Poll::Ready(Err(Cut::Internal));
        };
        self.shared.wake();
        match rest {
            Some(Content::Tunnel(tunnel)) => self.begin_tunnel(tunnel),
            Some(content) => self.stage = Stage::Content(content),
            None => {}
        }
        Poll::Ready(Ok(()))
    }

    /// An answer as it can be given: a tunnel is granted to whoever asks for one, by 200 (RFC 8441 section 5); who asks for one and
    /// is answered by content would take that for what the tunnel carries.
    fn judge(&self, response: &mut Response) {
        let grants = response.status.is_success() || response.status == StatusCode::SWITCHING_PROTOCOLS;
        match (&response.content, self.tunnel.is_some()) {
            (Content::Tunnel(_), _) if !grants => response.content = Content::Empty,
            (Content::Tunnel(_), true) => response.status = StatusCode::OK,
            (Content::Tunnel(_), false) => *response = Response::new(StatusCode::NOT_IMPLEMENTED),
            (_, true) if grants => *response = Response::new(StatusCode::NOT_IMPLEMENTED),
            _ => {}
        }
    }

    // ---- a tunnel ----------------------------------------------------------------------------------------------------

    /// Gives the stream to the tunnel's code, as HTTP/1.1 gives the connection: from here no time limit of the server's holds.
    fn begin_tunnel(&mut self, tunnel: Tunnel) {
        if let Some(scope) = self.scope.take() {
            scope.cancel("its request has ended");
        }
        self.limit = None;
        self.demand = Demand { names: &TUNNEL_NAMES, deadline: None, ..self.demand };
        self.scope = self.shared.pass.scope().on_demand(self.demand).ok();
        if self.scope.is_none() {
            tracing::warn!("a tunnel has no scope of its own: the shard has as many as it admits");
        }
        let (tube, outlet) = Tube::new(self.tunnel.take().unwrap_or_default(), self.shared.peer.clone());
        let scope = self.scope.as_ref().map(Scope::handle);
        self.mailbox = self.shared.open_mailbox(self.key);
        let mailbox = self.mailbox.clone();
        let work =
            tunnel.begin(Upgraded { stream: Transport::from(tube), received: None, mailbox, scope, _held: None });
        self.stage = Stage::Tunnel(Some(work), outlet);
    }

    /// Lets the tunnel's code work, and has written what it sends.
    fn poll_tunnel(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, Cut>> {
        self.write_tunnel()?;
        let Stage::Tunnel(work, outlet) = &mut self.stage else { return Poll::Ready(Ok(true)) };
        if let Some(at_work) = work {
            outlet.watch(None);
            self.shared.watch_mailbox(self.key, self.mailbox.as_deref(), None);
            let entered = enter(&self.shared, &self.scope, self.demand);
            if at_work.as_mut().poll(cx).is_ready() {
                *work = None;
            }
            self.scope = entered.leave().or(self.scope.take());
            outlet.watch(Some(cx.waker()));
            self.shared.watch_mailbox(self.key, self.mailbox.as_deref(), Some(cx.waker()));
        }
        let is_at_work = work.is_some();
        if self.shared.is_forsaken(self.key) {
            self.shared.forsake(self.key);
        }
        self.consume(cx);
        let is_written = self.write_tunnel()?;
        let is_over = !is_at_work && (is_written || self.shared.state.borrow_mut().ended(self.key).is_some());
        if is_over { Poll::Ready(Ok(true)) } else { Poll::Pending }
    }

    /// Has written what the tunnel's code has sent, a piece at a time. Whether that was all there can be.
    fn write_tunnel(&mut self) -> Result<bool, Cut> {
        let Stage::Tunnel(_, outlet) = &self.stage else { return Ok(true) };
        if !self.shared.state.borrow().wire.can_send(self.key) {
            return Ok(true);
        }
        if self.shared.state.borrow_mut().has_piece(self.key) {
            return Ok(false);
        }
        match outlet.next() {
            Next::Nothing => return Ok(false),
            Next::Piece(piece, is_last) => {
                self.shared.offer(self.key, piece, is_last);
                return Ok(false);
            }
            Next::End if self.shared.with_room(self.key).is_none() => return Ok(false),
            Next::End => {}
        }
        match self.shared.write_end(self.key, &Headers::default()) {
            Ok(()) => {
                self.shared.wake();
                Ok(true)
            }
            Err(_) => Err(Cut::Internal),
        }
    }

    /// Has the next piece of the content written.
    fn offer(&mut self, buf: Buf) -> Result<(), Cut> {
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(buf.len() as u64) else {
                tracing::error!("a response is longer than it declared");
                return Err(Cut::Internal);
            };
            *left = rest;
        }
        self.shared.offer(self.key, buf, self.left == Some(0));
        Ok(())
    }

    // ---- what is waited for ------------------------------------------------------------------------------------------

    /// What the peer has done since this was last asked.
    fn see_peer(&mut self, cx: &mut TaskContext<'_>) {
        let (received, sent, has_left) = {
            let mut state = self.shared.state.borrow_mut();
            let has_left = state.has_left;
            let Some(slot) = state.slot(self.key) else { return };
            (std::mem::take(&mut slot.received), std::mem::take(&mut slot.sent), has_left)
        };
        for (side, bytes) in [(Side::Body, received), (Side::Write, sent)] {
            if bytes > 0 {
                self.made_up(side, bytes);
            }
        }
        if let Stage::Tunnel(_, outlet) = &self.stage
            && sent > 0
        {
            outlet.written(sent, cx.waker());
        }
        self.consume(cx);
        // As over HTTP/1.1: it may still wait for its answer, if its request is whole.
        if has_left {
            let is_cut = self.fail_body(BodyError::Truncated);
            let ends = is_cut || self.shared.context.config.end_cancels;
            if let Some(scope) = self.scope.as_ref().filter(|_| ends && !self.knows_of_leaving) {
                scope.cancel(CLIENT_LEFT);
                self.knows_of_leaving = true;
            }
        }
    }

    /// Grants the peer what the reader of the body has taken.
    fn consume(&self, cx: &mut TaskContext<'_>) {
        let mut state = self.shared.state.borrow_mut();
        let taken = state.slot(self.key).and_then(|slot| Some(slot.incoming.as_ref()?.taken(cx.waker())));
        drop(state);
        if let Some(count) = taken.filter(|&count| count > 0) {
            self.shared.consume(self.key, count);
        }
    }

    /// Ends the request's body before its time. Whether it had not ended yet.
    fn fail_body(&self, error: BodyError) -> bool {
        let mut state = self.shared.state.borrow_mut();
        let incoming = state.slot(self.key).and_then(|slot| slot.incoming.clone());
        drop(state);
        let Some(incoming) = incoming.filter(|incoming| !incoming.has_ended()) else { return false };
        incoming.finish(Err(error));
        incoming.wake();
        true
    }

    /// Waits for what the peer is to do. Ready when it has taken too long, and that has been seen to.
    fn poll_waits(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if let Stage::Tunnel(..) = self.stage {
            // Its code keeps times of its own.
            self.stop_waiting();
            let mut state = self.shared.state.borrow_mut();
            if state.ended(self.key).is_some() || !state.has_left || !state.wire.is_held(self.key) {
                return Poll::Pending;
            }
            state.end(self.key, CLIENT_LEFT);
            return Poll::Ready(());
        }
        let waits = {
            let mut state = self.shared.state.borrow_mut();
            if state.has_left && state.wire.is_held(self.key) {
                // Nobody opens its window any more.
                state.end(self.key, CLIENT_LEFT);
                return Poll::Ready(());
            }
            let has_piece = state.has_piece(self.key);
            let slot = state.slot(self.key);
            let is_wanted =
                slot.is_some_and(|slot| slot.incoming.as_ref().is_some_and(|incoming| incoming.is_wanted()));
            match (has_piece, is_wanted) {
                (true, _) => Waits::Write,
                (false, true) => Waits::Body,
                (false, false) => Waits::Nothing,
            }
        };
        if waits == Waits::Body {
            self.ask_for_body();
        }
        if waits == Waits::Nothing {
            self.stop_waiting();
            return Poll::Pending;
        }
        ready!(self.poll_alarm(cx, waits));
        self.stop_waiting();
        if waits == Waits::Write && !self.shared.state.borrow().wire.is_held(self.key) {
            // Others were more urgent: that is not its peer's fault.
            let (patience, whose) = self.patience();
            patience.begin(&whose);
            return Poll::Ready(());
        }
        let stats = &self.shared.context.stats;
        if waits == Waits::Body {
            stats.slow_bodies.add(1);
            self.fail_body(BodyError::TimedOut);
        } else {
            stats.slow_readers.add(1);
            self.shared.reset(self.key, Cut::Cancel);
            self.shared.state.borrow_mut().end(self.key, "the client takes nothing");
        }
        Poll::Ready(())
    }

    /// Asks a client for the body that waits for that, once.
    fn ask_for_body(&self) {
        if let Some(mut state) = self.shared.with_room(self.key)
            && state.slot(self.key).is_some_and(|slot| std::mem::take(&mut slot.expects_continue))
        {
            let _ = self.shared.ask_for_body(&mut state, self.key);
            state.wake();
        }
    }

    // ---- the end before its time -------------------------------------------------------------------------------------

    /// The request has taken too long: its handler is dropped and the answer is 503, or what has begun is cut off.
    fn overdue(&mut self, cx: &mut TaskContext<'_>) {
        self.limit = None;
        self.shared.context.stats.overdue.add(1);
        let had_answered = !matches!(self.stage, Stage::Handler(_));
        let answer = self.give_up(cx, |scope| scope.expire(), BodyError::TimedOut);
        if had_answered {
            self.shared.reset(self.key, Cut::Internal);
            return;
        }
        // The handler's own word, unless that takes further time.
        let answer = answer.filter(|response| is_whole(&response.content));
        let refused = || self.shared.shard().pooled(unavailable("the request took too long\n"));
        self.stage = Stage::Response(answer.unwrap_or_else(refused));
    }

    /// Ends the work before its time. Whoever works is told, and polled once more, so that it can see this; then it is dropped
    /// where it stands. Gives what it has answered.
    fn give_up(
        &mut self,
        cx: &mut TaskContext<'_>,
        tell: impl FnOnce(&Scope),
        error: BodyError,
    ) -> Option<Pooled<Response>> {
        let has_body = self.fail_body(error);
        if let Some(scope) = &self.scope {
            tell(scope);
        }
        if !has_body && self.scope.is_none() {
            self.stage = Stage::Done;
            return None;
        }
        let mut answer = None;
        let entered = enter(&self.shared, &self.scope, self.demand);
        match &mut self.stage {
            Stage::Handler(future) => {
                if let Poll::Ready(response) = Pin::new(future).poll(cx) {
                    answer = Some(response);
                }
            }
            Stage::Content(content) => drop(content.poll_buf(cx)),
            Stage::Response(_) | Stage::End(_) | Stage::Tunnel(..) | Stage::Done => {}
        }
        self.scope = entered.leave().or(self.scope.take());
        self.stage = Stage::Done;
        answer
    }
}

impl<S: Service + 'static, W: Wire> Patient for Exchange<S, W> {
    type Service = S;

    fn patience(&mut self) -> (&mut Patience, Whose<'_, S>) {
        let stream = self.key.number();
        let whose = Whose { shard: self.shared.shard(), context: &self.shared.context, stream };
        (&mut self.patience, whose)
    }
}

impl<S: Service + 'static, W: Wire> Drop for Exchange<S, W> {
    fn drop(&mut self) {
        self.stop_waiting();
        if let Some(mailbox) = &self.mailbox {
            mailbox.close();
        }
        self.shared.forsake(self.key);
        self.shared.release(self.key);
    }
}

/// What the scopes of requests are called.
pub(in crate::conn) static SCOPE_NAMES: [&str; 2] = ["connection", "request"];

/// Why a request's scope is cancelled, in most cases.
pub(in crate::conn) const CLIENT_LEFT: &str = "client disconnected";

/// Whether nothing of it is still to come.
pub(in crate::conn) fn is_whole(content: &Content) -> bool {
    matches!(content, Content::Empty | Content::Full(_))
}

/// Enters a request's scope, which is made if someone asks for it.
fn enter<S: Service + 'static, W: Wire>(shared: &Shared<S, W>, scope: &Option<Scope>, demand: Demand) -> Entered {
    match scope {
        Some(scope) => scope.entered(),
        None => shared.pass.scope().entered_on_demand(demand),
    }
}
