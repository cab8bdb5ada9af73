//! The HTTP/1.1 connection loop: one task between a stream, the engine and the service.
//!
//! The handler runs inside this task, so that a request costs no spawn. Answers to a pipeline are gathered and leave in
//! one send when no complete request is left in hand; the next send waits for the last, so the kernel cannot reorder them.
//! While a handler waits, what was gathered before is sent, and its request's body is received only as it is read, but for
//! a bounded part that tells whether the client is still there.
//!
//! A request runs in a scope, which is made if someone asks for it. It ends with the request: by the answer, by the client
//! that leaves, by a time limit. Then the tasks in it are cancelled and awaited before the connection goes on.
//!
//! What a response is written as is told in `h1/respond.rs`.
//!
//! Where TLS is spoken, that comes first (`h1/secure.rs`), and nothing here is different for it. A connection that has agreed
//! on HTTP/2 there, or begins with its preface, goes to that loop in the same way as to a tunnel.
//!
//! An answer that ends HTTP brings a [`Tunnel`]. It gets the stream when all that was gathered has been sent, and what
//! the loop was made of is dropped; the task, the connection's place in the counts and its pass stay.

mod respond;
mod secure;

use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Group, SocketOption};
use proto::h1::{self, Event};
use proto::head::{HeadTable, Known};
use proto::proxy::{self, Ends};
use shards::{Alarm, Demand, Entered, Leased, Pass, Pooled, Scope, Shard};

use super::input::{Input, Unfilled};
use super::outbox::Outbox;
use super::patience::{Patience, Patient, Side, Waits, Whose};
use super::{Counted, Exhausted, h2, unavailable};
use crate::limits::{BULK_BODY_BYTES_MIN, DRAIN_BODY_BYTES_MAX, READ_AHEAD_BYTES_MAX, REQUEST_TASKS_TIME_MAX};
use crate::tcp::Outgoing;
use crate::{
    Body, BodyError, Content, Head, Incoming, Reply, Request, Response, Service, Trailers, Transport, Tunnel, Upgraded,
};

/// Serves one connection until it ends. `number` tells it from the server's others; `pass` lets that wait for it.
// Not an `async fn`: that would keep its arguments a second time, next to what they have moved into.
pub(crate) fn serve<S: Service + 'static>(
    context: Counted<S>,
    stream: Transport,
    pass: Pass,
    number: u32,
) -> impl Future<Output = ()> + use<S> {
    let shard = stream.shard().clone();
    let begun = shard.clock();
    let mut connection = Connection {
        patience: Patience::new(&shard, number, begun + context.config.idle_time_max),
        retires: context.age(begun).saturating_add(super::nanoseconds(context.config.connection_time_max)),
        awaits_name: context.config.proxy_protocol,
        stream,
        context,
        engine: h1::Server::new(),
        table: None,
        input: Input::default(),
        outbox: Outbox::default(),
        stage: Stage::Done,
        incoming: None,
        unread: 0,
        request: None,
        has_left: false,
        is_h2: false,
        rare: None,
        requests: 0,
        pass,
    };
    async move {
        let secured = match connection.secure() {
            Some(securing) => securing.await,
            None => Ok(true),
        };
        let ended = match secured {
            Ok(true) => connection.run().await,
            secured => secured.map(drop),
        };
        connection.stop_waiting();
        connection.spare_table();
        poll_fn(|cx| connection.poll_settled(cx)).await;
        let stats = &connection.context.stats;
        match ended {
            Ok(()) if connection.is_h2 || connection.has_tunnel() => connection.hand_over().await,
            Ok(()) => {}
            Err(End::TimedOut | End::Overdue) => stats.timed_out.add(1),
            Err(End::Broken | End::Unfinished) => stats.broken.add(1),
            Err(End::Exhausted) => {
                stats.exhausted.add(1);
                tracing::warn!("a connection was closed: the shard's buffer pool is exhausted");
            }
        }
    }
}

/// One connection. What it holds while idle is what an idle connection costs.
struct Connection<S> {
    stream: Transport,
    context: Counted<S>,
    patience: Patience,
    /// At which age of the server's the connection takes no further request.
    retires: u64,
    /// Whether a proxy has yet to say whose connection it is.
    awaits_name: bool,
    engine: h1::Server,
    /// Leased from a head's first byte until its request is handed out.
    table: Option<Box<HeadTable>>,
    input: Input,
    outbox: Outbox,
    /// Where the present exchange stands, if it did not end at once; and the feeding end of its request's body.
    stage: Stage,
    incoming: Option<Rc<Incoming>>,
    /// Bytes of the present request's body that were read over.
    unread: u64,
    /// The present request's, once someone has asked for it. After `stage`: who works in it is dropped first.
    request: Option<Scope>,
    /// The client has ended its side while a request was in hand.
    has_left: bool,
    /// It has begun with the preface of HTTP/2, and goes on so.
    is_h2: bool,
    /// What few connections have.
    rare: Option<Box<Rare>>,
    /// Requests that have come by this connection: a name, that may come again some day.
    requests: u32,
    /// Holds the drain until the connection has ended. The scopes of its requests lie where it does.
    pass: Pass,
}

/// What a connection mostly does without, and so has no room for.
#[derive(Default)]
struct Rare {
    /// Whose it is, if a proxy has said so.
    named: Option<Rc<Ends>>,
    /// When the present request must have been answered. Made by the first request of a connection that has such a limit.
    limit: Option<Alarm>,
    /// Who gets the stream.
    tunnel: Option<Tunnel>,
}

/// Why a connection ends before its time. There is nobody left to tell.
#[derive(Debug)]
enum End {
    /// A time limit passed.
    TimedOut,
    /// The transport failed, or the peer left in the middle.
    Broken,
    /// No memory is left in the pool.
    Exhausted,
    /// The request took too long, and its answer had begun.
    Overdue,
    /// The answer has begun and cannot be finished.
    Unfinished,
}

/// What waiting between requests ended with.
enum More {
    /// More input.
    Input,
    /// The peer sends no more, or has sent nothing for so long that the connection is given up.
    End,
    /// A head has begun and does not come to its end in time.
    TooSlow,
}

/// How an exchange stands when it has begun.
enum Begun {
    /// All is written.
    Ended,
    /// It waits for something.
    GoesOn,
}

/// What the loop has to wait for, or to end with.
enum Then {
    /// More input.
    More,
    /// An exchange that did not end at once.
    Exchange,
    /// The peer to read what is gathered for it.
    Flush,
    /// Nothing: the connection ends, lingering or not.
    Finish { linger: bool },
    /// Nothing: the peer is told what it did wrong.
    Refuse(h1::Error),
}

impl<S: Service + 'static> Connection<S> {
    // One async function and no more: each further level is kept in every idle connection.
    async fn run(&mut self) -> Result<(), End> {
        // Whether the peer may still be sending.
        let linger = loop {
            match self.advance()? {
                Then::More => match poll_fn(|cx| self.poll_more(cx)).await? {
                    More::Input => {}
                    More::End => break false,
                    More::TooSlow => {
                        self.context.stats.timed_out.add(1);
                        self.refuse(h1::Error::HeadTimeout)?;
                        break true;
                    }
                },
                Then::Exchange => {
                    poll_fn(|cx| self.poll_exchange(cx)).await?;
                    if !self.engine.keep_alive() {
                        break self.may_be_sending();
                    }
                }
                Then::Flush => poll_fn(|cx| self.poll_flush_all(cx)).await?,
                Then::Finish { linger } => break linger,
                Then::Refuse(error) => {
                    self.refuse(error)?;
                    break true;
                }
            }
        };
        if !linger && self.finish()? {
            return Ok(());
        }
        // Closing at once would reset the connection, and the last answer might be lost with it (RFC 9112 section 9.6).
        poll_fn(|cx| self.poll_flush_all(cx)).await?;
        if linger && self.stream.shutdown(Shutdown::Write).is_ok() {
            self.input = Input::default();
            let mut bytes = 0;
            poll_fn(|cx| self.poll_linger(cx, &mut bytes)).await;
        } else if !self.is_h2 && !self.has_tunnel() {
            poll_fn(|cx| self.poll_farewell(cx)).await;
        }
        Ok(())
    }

    /// Takes what is in hand as far as it goes without waiting. A pipeline that is answered on the spot is answered here,
    /// away from any future.
    fn advance(&mut self) -> Result<Then, End> {
        if self.awaits_name
            && let Some(then) = self.take_name()
        {
            return Ok(then);
        }
        // For all requests that are answered here, of which few ask for their scope: a number is all that each costs.
        let entered = self.pass.scope().entered_on_demand(self.demand());
        let then = self.advance_in(&entered);
        if let Some(made) = entered.leave() {
            self.request_scope_made(made);
        }
        then
    }

    #[inline(always)]
    fn advance_in(&mut self, entered: &Entered) -> Result<Then, End> {
        // Where TLS is spoken, nothing else is served.
        let is_in_the_clear = self.context.handshakes.is_some() && !self.stream.is_secure();
        loop {
            if self.outbox.is_full(self.context.config.gather_bytes_max) {
                self.context.stats.pipelines_held.add(1);
                return Ok(Then::Flush);
            }
            let input = self.input.as_slice();
            if input.is_empty() && self.engine.is_idle() {
                return Ok(Then::More);
            }
            let table = self.table.get_or_insert_with(|| self.context.spares.take());
            let step = match self.engine.receive(input, table, &self.context.config.h1) {
                Ok(step) => step,
                Err(error) => return Ok(Then::Refuse(error)),
            };
            match &step.event {
                Event::Head(_) | Event::Http2Preface if is_in_the_clear => {
                    return Ok(Then::Refuse(h1::Error::InTheClear));
                }
                // RFC 9110 section 7.4: the stream is not secured, and a gateway that we could trust says nothing of it.
                Event::Head(_) if !self.stream.is_secure() && is_of_https(table, &input[..step.consumed]) => {
                    return Ok(Then::Refuse(h1::Error::Misdirected));
                }
                Event::Head(head) => match self.begin(head, step.consumed, entered)? {
                    Begun::Ended if self.engine.keep_alive() => continue,
                    Begun::Ended => return Ok(Then::Finish { linger: self.may_be_sending() }),
                    Begun::GoesOn => return Ok(Then::Exchange),
                },
                Event::NeedMore => {
                    self.input.skip(step.consumed);
                    return Ok(Then::More);
                }
                // What is left of a request that was answered before its body had been read.
                Event::Data(range) => self.unread += range.len() as u64,
                Event::End { .. } => {}
                Event::Http2Preface if self.context.config.accepts_h2 => {
                    self.is_h2 = true;
                    return Ok(Then::Finish { linger: false });
                }
                Event::Http2Preface => return Ok(Then::Refuse(h1::Error::VersionNotSupported)),
                Event::Tunnel | Event::Closed => return Ok(Then::Finish { linger: false }),
            }
            self.input.skip(step.consumed);
            if self.unread > DRAIN_BODY_BYTES_MAX {
                return Ok(Then::Finish { linger: true });
            }
        }
    }

    /// Takes the header by which a proxy says whose connection this is. Gives what there is to do instead, if it has not come
    /// or is none.
    #[cold]
    fn take_name(&mut self) -> Option<Then> {
        match proxy::parse(self.input.as_slice()) {
            Ok(None) => return Some(Then::More),
            Ok(Some(header)) => {
                self.awaits_name = false;
                self.input.skip(header.bytes);
                let ends = header.ends?;
                self.rare().named = Some(Rc::new(ends));
                if self.context.admit(|| Some(ends.source.ip())) {
                    return None;
                }
            }
            Err(error) => {
                self.context.stats.proxy_refused.add(1);
                tracing::debug!("a connection was closed: {error}");
            }
        }
        Some(Then::Finish { linger: false })
    }

    #[cold]
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    #[inline]
    fn named(&self) -> Option<Rc<Ends>> {
        self.rare.as_ref()?.named.clone()
    }

    /// When the present request must have been answered.
    #[inline]
    fn deadline(&self) -> Option<Instant> {
        Some(self.rare.as_ref()?.limit.as_ref()?.deadline())
    }

    #[inline]
    fn has_tunnel(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.tunnel.is_some())
    }

    // ---- waiting between requests ------------------------------------------------------------------------------------

    /// Sends what is gathered and waits for input.
    fn poll_more(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<More, End>> {
        // The answers gathered so far leave now; their end is awaited along with the next request.
        let is_sent = self.flush_quietly(cx)?;
        if let Poll::Ready(received) = self.poll_input(cx)? {
            return Poll::Ready(Ok(if received { More::Input } else { More::End }));
        }
        let is_idle = self.engine.is_idle() && !self.awaits_name;
        if is_idle {
            self.stream.draw_from(Group::Heads);
            self.spare_table();
        }
        self.input.settle(self.context.supplies.pool());
        let waits = match is_idle {
            true if self.shard().is_draining() && self.patience.waits() == Waits::LastLook => Waits::LastLook,
            true if self.shard().is_draining() => Waits::LastRequest,
            true => Waits::Idle,
            false if self.engine.is_request_ended() || self.unread == 0 => Waits::Head,
            false => Waits::Body,
        };
        if is_idle {
            self.shard().rest(cx.waker());
        }
        let mut rung = self.poll_alarm(cx, waits);
        if rung.is_ready() && waits == Waits::LastRequest {
            // This thread may have been kept off its CPU, and the request be in the kernel, which is asked before that rings.
            rung = self.poll_alarm(cx, Waits::LastLook);
        }
        match rung {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if !is_sent => Poll::Ready(Err(self.takes_too_little())),
            Poll::Ready(()) if self.awaits_name => Poll::Ready(Err(End::TimedOut)),
            Poll::Ready(()) if is_idle => Poll::Ready(Ok(More::End)),
            Poll::Ready(()) => Poll::Ready(Ok(More::TooSlow)),
        }
    }

    /// Keeps the table for the next head, of whichever connection: it knows the last one.
    fn spare_table(&mut self) {
        if let Some(table) = self.table.take() {
            self.context.spares.put(table);
        }
    }

    /// Receives what there is. Ready with false at the end of input.
    fn poll_input(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, End>> {
        let received = ready!(self.input.poll_fill(cx, &mut self.stream, self.context.supplies.pool()))?;
        self.context.stats.bytes_received.add(received.unwrap_or_default() as u64);
        Poll::Ready(Ok(received.is_some()))
    }

    // ---- one exchange ------------------------------------------------------------------------------------------------

    /// Lets the service answer the request whose head is the first `bytes` of the input. Most answers are written when this
    /// returns, and nothing of them has been near a future.
    fn begin(&mut self, head: &h1::Head, bytes: usize, entered: &Entered) -> Result<Begun, End> {
        self.take_up();
        entered.next(self.requests, self.deadline());
        let (mut reply, incoming) = match self.call_by_head(head, bytes) {
            Some(reply) => (reply, None),
            None => self.call(head, bytes),
        };
        match reply {
            Reply::Ready(ref mut response) => {
                self.respond(response, incoming.as_ref())?;
                if matches!(self.stage, Stage::Done) && !entered.has_made() {
                    return Ok(Begun::Ended);
                }
            }
            Reply::Later(future) => self.stage = Stage::Handler(future),
        }
        self.incoming = incoming;
        Ok(Begun::GoesOn)
    }

    /// A request is taken in hand.
    fn take_up(&mut self) {
        let (patience, whose) = self.patience();
        patience.begin(&whose);
        self.unread = 0;
        self.requests = self.requests.wrapping_add(1);
        if let Some(time) = self.context.config.request_time_max {
            self.set_limit(time);
        }
        self.context.stats.requests.add(1);
    }

    /// Lets the service answer without a request, if it can.
    #[inline(always)]
    fn call_by_head(&mut self, head: &h1::Head, bytes: usize) -> Option<Reply> {
        let known = self.table.as_ref()?.shared()?;
        if !matches!(head.body, h1::Body::None)
            || known.table().get(known.block(), Known::TraceParent).is_some()
            || self.context.shedding.is_low()
        {
            return None;
        }
        let reply = self.context.service.call_by_head(known)?;
        self.input.skip(bytes);
        Some(reply)
    }

    /// Lets the service answer the request whose head is the first `bytes` of the input. Gives the feeding end of its body too.
    fn call(&mut self, head: &h1::Head, bytes: usize) -> (Reply, Option<Rc<Incoming>>) {
        let (request, incoming) = self.request(head, bytes);
        if request.known(Known::TraceParent).is_some() {
            self.trace(&request);
        }
        let reply = match self.context.shedding.is_low() && self.must_shed() {
            false => self.context.service.call(request),
            true => Reply::ready(self.shard(), || unavailable("the server is short of memory\n")),
        };
        (reply, incoming)
    }

    /// The order of shedding, before a request is taken in hand. Whether it is refused, and the connection with it.
    #[cold]
    fn must_shed(&mut self) -> bool {
        self.context.shed(self.shard().now());
        let is_refused = self.context.shedding.refuses_requests();
        if is_refused {
            self.context.stats.shed_requests.add(1);
            self.engine.close_after_response();
        }
        is_refused
    }

    /// Sees an exchange through that did not end at once.
    fn poll_exchange(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), End>> {
        loop {
            let (mut stage, incoming) = (std::mem::replace(&mut self.stage, Stage::Done), self.incoming.take());
            let mut polled = self.poll_stage(cx, &mut stage, incoming.as_ref());
            if polled.is_pending() && !matches!(stage, Stage::Ending(_)) {
                polled = self.poll_interrupted(cx);
            }
            match polled {
                Poll::Pending => {
                    (self.stage, self.incoming) = (stage, incoming);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => {
                    self.context.supplies.reclaim_body(incoming);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(end)) => self.stage = self.give_up(cx, end, stage, incoming)?,
            }
        }
    }

    /// What of an exchange does not end at once.
    fn poll_stage(
        &mut self,
        cx: &mut TaskContext<'_>,
        stage: &mut Stage,
        incoming: Option<&Rc<Incoming>>,
    ) -> Poll<Result<(), End>> {
        loop {
            *stage = match stage {
                Stage::Handler(future) => {
                    let mut response = ready!(self.poll_handler(cx, future, incoming))?;
                    // It is not to be polled again, whatever comes now.
                    *stage = Stage::Done;
                    self.respond(&mut response, incoming)?;
                    std::mem::replace(&mut self.stage, Stage::Done)
                }
                Stage::Content(content) => {
                    ready!(self.poll_content(cx, content, incoming))?;
                    Stage::Done
                }
                Stage::Done => match self.end_request("its request has ended") {
                    Some(gate) => Stage::Ending(gate),
                    None => return Poll::Ready(Ok(())),
                },
                Stage::Ending(gate) => {
                    let _ = self.poll_flush(cx)?;
                    return self.poll_gate(cx, gate).map(Ok);
                }
            };
        }
    }

    fn request(&mut self, head: &h1::Head, bytes: usize) -> (Request, Option<Rc<Incoming>>) {
        let head_block = match (self.table.as_ref().and_then(|table| table.shared().cloned()), head.body) {
            // What most requests are, of which nothing has to be put together and moved.
            (Some(known), h1::Body::None) => {
                self.input.skip(bytes);
                let stream = &self.stream;
                let make = || (Head::shared(known), Body::empty(), stream.peer(self.named()), stream.is_early());
                return (Request::in_place(stream.shard(), make), None);
            }
            (Some(known), _) => {
                self.input.skip(bytes);
                Head::shared(known)
            }
            (None, _) => {
                let table = self.table.take().expect("the engine has filled it");
                Head::new(self.input.take(bytes), table, Rc::clone(&self.context.spares))
            }
        };
        let mut incoming = None;
        let body = match head.body {
            h1::Body::None => Body::empty(),
            length => match self.engine.take_body(self.input.as_slice()) {
                Some(count) => Body::whole(self.input.take(count)),
                None => {
                    let length = if let h1::Body::Length(bytes) = length { Some(bytes) } else { None };
                    let (feeding, body) = self.context.supplies.body(length);
                    incoming = Some(feeding);
                    body
                }
            },
        };
        let stream = &self.stream;
        let make = || (head_block, body, stream.peer(self.named()), stream.is_early());
        (Request::in_place(stream.shard(), make), incoming)
    }

    fn poll_handler(
        &mut self,
        cx: &mut TaskContext<'_>,
        future: &mut Leased<'static, Pooled<Response>>,
        incoming: Option<&Rc<Incoming>>,
    ) -> Poll<Result<Pooled<Response>, End>> {
        loop {
            if let Poll::Ready(response) = self.in_request(|| Pin::new(&mut *future).poll(cx)) {
                return Poll::Ready(Ok(response));
            }
            // What was answered before need not wait for this handler.
            let _ = self.poll_flush(cx)?;
            match incoming {
                Some(incoming) if incoming.is_wanted() => ready!(self.poll_feed(cx, incoming))?,
                _ => return Poll::Pending,
            }
        }
    }

    /// Hands the next piece of the request's body, its end, or its failure to the reader.
    fn poll_feed(&mut self, cx: &mut TaskContext<'_>, incoming: &Incoming) -> Poll<Result<(), End>> {
        loop {
            let table = self.table.get_or_insert_with(|| self.context.spares.take());
            let step = match self.engine.receive(self.input.as_slice(), table, &self.context.config.h1) {
                Ok(step) => step,
                Err(error) => {
                    self.context.stats.refused.add(1);
                    incoming.finish(Err(BodyError::Malformed(error)));
                    return Poll::Ready(Ok(()));
                }
            };
            match step.event {
                Event::Data(range) => {
                    self.input.skip(range.start);
                    incoming.push(self.input.take(range.len()));
                    self.input.skip(step.consumed - range.end);
                    return Poll::Ready(Ok(()));
                }
                Event::End { trailers } => {
                    if trailers.is_empty() {
                        self.input.skip(step.consumed);
                    } else {
                        // They are the last that is consumed.
                        self.input.skip(trailers.start);
                        let (block, table) = (self.input.take(trailers.len()), self.table.take().expect("just filled"));
                        incoming.trail(Trailers::new(Head::new(block, table, Rc::clone(&self.context.spares))));
                    }
                    incoming.finish(Ok(()));
                    return Poll::Ready(Ok(()));
                }
                _ => self.input.skip(step.consumed),
            }
            self.outbox.put(self.engine.continue_line(), &self.context.supplies)?;
            // Of a body in chunks, what has come says how much may be expected.
            if self.engine.body_left().unwrap_or(incoming.bytes()) >= BULK_BODY_BYTES_MIN {
                self.stream.draw_from(Group::Bulk);
            }
            let bytes = self.input.len();
            match self.poll_input(cx)? {
                Poll::Ready(true) => self.made_up(Side::Body, self.input.len() - bytes),
                Poll::Ready(false) => {
                    self.engine.close_after_response();
                    incoming.finish(Err(BodyError::Truncated));
                    // Who ends in the middle of a request does not wait for its answer.
                    self.client_left(true);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {
                    // Not before: an answer made of what has come by now leaves as one send.
                    let _ = self.poll_flush(cx)?;
                    ready!(self.poll_alarm(cx, Waits::Body));
                    self.context.stats.slow_bodies.add(1);
                    self.engine.close_after_response();
                    incoming.finish(Err(BodyError::TimedOut));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    // ---- the request's scope, and what ends it before its time -----------------------------------------------------------

    /// Runs something of the request's in its scope, which is made if that asks for it.
    fn in_request<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let entered = self.enter_request();
        let result = work();
        if let Some(made) = entered.leave() {
            self.request_scope_made(made);
        }
        result
    }

    fn enter_request(&self) -> Entered {
        match &self.request {
            Some(request) => request.entered(),
            None => self.pass.scope().entered_on_demand(self.demand()),
        }
    }

    /// Makes the scope at once, as it is known only here what is said of a trace. Without room for a scope there is no trace.
    #[cold]
    fn trace(&mut self, request: &Request) {
        if let (Some(trace), Ok(scope)) = (request.trace(), self.shard().current_scope()) {
            scope.trace_or(|| trace);
        }
    }

    #[cold]
    fn request_scope_made(&mut self, made: Scope) {
        self.request = Some(made);
        if self.has_left {
            self.client_left(false);
        }
    }

    #[inline(always)]
    fn demand(&self) -> Demand {
        Demand { names: &SCOPE_NAMES, numbers: [self.patience.number(), self.requests], deadline: self.deadline() }
    }

    #[cold]
    fn set_limit(&mut self, time: Duration) {
        let deadline = self.shard().clock() + time;
        let shard = self.shard().clone();
        self.rare().limit.get_or_insert_with(|| shard.alarm(deadline)).set(deadline);
    }

    fn shard(&self) -> &Shard {
        self.stream.shard()
    }

    /// What may end an exchange that waits.
    fn poll_interrupted(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), End>> {
        if let Some(limit) = self.rare.as_mut().and_then(|rare| rare.limit.as_mut())
            && limit.poll_rung(cx).is_ready()
        {
            return Poll::Ready(Err(End::Overdue));
        }
        // Who is there, says what comes next, or nothing.
        while !self.has_left && self.input.len() < READ_AHEAD_BYTES_MAX {
            match self.poll_input(cx)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => self.client_left(false),
                Poll::Pending => break,
            }
        }
        self.input.settle(self.context.supplies.pool());
        Poll::Pending
    }

    /// The client has ended its side. It may still wait for an answer, if its request is whole; nearly all that do this have
    /// left (`decisions/2026-11-25-a-client-that-ends-has-left.md`).
    fn client_left(&mut self, is_certain: bool) {
        self.has_left = true;
        if let Some(request) = &self.request
            && (is_certain || self.context.config.end_cancels)
        {
            request.cancel(CLIENT_LEFT);
        }
    }

    /// Ends an exchange before its time. Whoever works for it is told, and polled once more, so that it can see this; then
    /// it is dropped where it stands. Gives what there is to do instead.
    fn give_up(
        &mut self,
        cx: &mut TaskContext<'_>,
        end: End,
        mut stage: Stage,
        incoming: Option<Rc<Incoming>>,
    ) -> Result<Stage, End> {
        if let Stage::Ending(_) = stage {
            self.stage = stage;
            return Err(end);
        }
        if let Some(incoming) = &incoming {
            let is_late = matches!(end, End::Overdue);
            incoming.finish(Err(if is_late { BodyError::TimedOut } else { BodyError::Truncated }));
        }
        if let Some(request) = &self.request {
            match end {
                End::Broken => request.cancel(CLIENT_LEFT),
                End::TimedOut => request.cancel("the client takes nothing"),
                End::Exhausted => request.cancel("no buffer is left"),
                End::Overdue => request.expire(),
                End::Unfinished => request.cancel("its answer cannot be finished"),
            }
        }
        let is_seen = self.request.is_some() || incoming.is_some();
        let mut answer = None;
        match &mut stage {
            Stage::Handler(future) if is_seen => {
                if let Poll::Ready(response) = self.in_request(|| Pin::new(future).poll(cx)) {
                    answer = Some(response);
                }
            }
            Stage::Content(content) if is_seen && !matches!(end, End::Unfinished) => {
                drop(self.in_request(|| content.poll_piece(cx, false)))
            }
            _ => {}
        }
        if !matches!((&end, &stage), (End::Overdue, Stage::Handler(_))) {
            return Err(end);
        }
        drop(stage);
        self.context.stats.overdue.add(1);
        self.engine.close_after_response();
        // The handler's own word, unless that takes further time.
        let is_whole = |response: &Response| matches!(response.content, Content::Empty | Content::Full(_));
        let refused = || self.shard().pooled(unavailable("the request took too long\n"));
        let mut answer = answer.filter(|answer| is_whole(answer)).unwrap_or_else(refused);
        self.respond(&mut answer, None)?;
        Ok(std::mem::replace(&mut self.stage, Stage::Done))
    }

    /// The request has ended: so does what it has left running. Gives the gate at which that is waited for.
    fn end_request(&mut self, why: &'static str) -> Option<Leased<'static, ()>> {
        let request = self.request.take()?;
        request.cancel(why);
        match request.passes() {
            0 => None,
            _ => Some(self.shard().lease(async move { request.gate().await })),
        }
    }

    /// Ready when the tasks of a request have ended, or will not.
    fn poll_gate(&mut self, cx: &mut TaskContext<'_>, gate: &mut Leased<'static, ()>) -> Poll<()> {
        if Pin::new(gate).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(self.poll_alarm(cx, Waits::Tasks));
        self.context.stats.tasks_left.add(1);
        tracing::warn!(
            connection = self.patience.number(),
            request = self.requests,
            "tasks of a request that has ended do not end; the connection goes on without them"
        );
        Poll::Ready(())
    }

    /// The connection has ended. Ready when the tasks of its last request have.
    fn poll_settled(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.is_h2 || self.has_tunnel() {
            self.shard().stay(cx.waker());
        }
        self.incoming = None;
        let mut gate = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Ending(gate) => gate,
            _ => match self.end_request("its connection has ended") {
                Some(gate) => {
                    // The peer need not wait for them.
                    let _ = self.stream.shutdown(Shutdown::Both);
                    gate
                }
                None => return Poll::Ready(()),
            },
        };
        let polled = self.poll_gate(cx, &mut gate);
        self.stage = Stage::Ending(gate);
        polled
    }

    // ---- the end of HTTP ---------------------------------------------------------------------------------------------

    /// Ends the loop and gives the stream away: all that was gathered has been sent, and the request's tasks have ended.
    fn hand_over(mut self) -> Leased<'static, ()> {
        if self.is_h2 {
            return self.speak_h2();
        }
        let received = match self.input.len() {
            0 => None,
            bytes if bytes == self.input.as_slice().len() => Some(self.input.take(bytes)),
            bytes => {
                tracing::warn!("a tunnel was closed: its client sent {bytes} bytes ahead");
                return self.shard().lease(async {});
            }
        };
        let tunnel = self.rare().tunnel.take().expect("there is one");
        let demand = Demand { names: &TUNNEL_NAMES, numbers: [self.patience.number(), self.requests], deadline: None };
        let scope = self.pass.scope().on_demand(demand);
        // The alarm goes with the rest.
        let Connection { stream, context, pass, .. } = self;
        let shard = stream.shard().clone();
        let within = scope.as_ref().ok().map(|scope| scope.handle());
        let mut work = tunnel.begin(Upgraded { stream, received, mailbox: None, scope: within, _held: None });
        shard.clone().lease(async move {
            let _held = (context, pass);
            let Ok(scope) = scope else {
                tracing::warn!("a tunnel has no scope of its own: the shard has as many as it admits");
                return work.await;
            };
            poll_fn(|cx| scope.enter(|| work.as_mut().poll(cx))).await;
            drop(work);
            scope.cancel("its connection has ended");
            if scope.passes() > 0 && shard.timeout(REQUEST_TASKS_TIME_MAX, scope.gate()).await.is_err() {
                tracing::warn!("tasks of a tunnel that has ended do not end; the drain waits for them");
            }
        })
    }

    /// Gives the connection to the loop of HTTP/2, from its first byte.
    fn speak_h2(self) -> Leased<'static, ()> {
        let shard = self.shard().clone();
        // The alarm goes with the rest.
        let number = self.patience.number();
        let named = self.named();
        let Connection { stream, context, pass, input, retires, .. } = self;
        shard.lease(h2::serve(h2::Handed { stream, context, pass, input, number, named, retires }))
    }

    // ---- sending -----------------------------------------------------------------------------------------------------

    /// Sends what is gathered, one send at a time. Ready when all of it has left.
    fn poll_flush(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), End>> {
        loop {
            while let Some(sent) = ready!(self.stream.poll_sent(cx)).map_err(|_| End::Broken)? {
                self.made_up(Side::Write, sent.bytes);
                self.context.supplies.reclaim(sent.spare);
            }
            if self.outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.send_gathered()?;
        }
    }

    /// Starts to send what is gathered. If it leaves as it should, nobody is woken to hear of it. True if all has left.
    fn flush_quietly(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, End> {
        let is_heard_of = match (self.stream.is_sending(), self.outbox.is_empty()) {
            (false, true) => return Ok(true),
            (false, false) => match self.outbox.take_chunk() {
                // What most answers are.
                Some(chunk) => {
                    self.context.stats.bytes_sent.add(chunk.len() as u64);
                    if !self.stream.send_quietly(chunk, cx.waker()).map_err(|_| End::Broken)? {
                        // It has only begun.
                        return Ok(false);
                    }
                    true
                }
                None => {
                    self.send_gathered()?;
                    self.stream.hush(cx.waker())
                }
            },
            (true, true) => self.stream.hush(cx.waker()),
            // More is to follow, so the end of this one must be awaited after all.
            (true, false) => true,
        };
        match is_heard_of {
            true => Ok(self.poll_flush(cx)?.is_ready()),
            false => Ok(!self.stream.is_sending()),
        }
    }

    fn send_gathered(&mut self) -> Result<(), End> {
        let outgoing = self.gathered();
        self.stream.start_send(outgoing).map_err(|_| End::Broken)
    }

    /// What leaves next.
    fn gathered(&mut self) -> Outgoing {
        let outgoing = self.outbox.take(&self.context.supplies);
        self.context.stats.bytes_sent.add(outgoing.bytes() as u64);
        outgoing
    }

    /// The same, and gives up on a peer that takes nothing.
    fn poll_flush_all(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), End>> {
        if let Poll::Ready(flushed) = self.poll_flush(cx) {
            return Poll::Ready(flushed);
        }
        ready!(self.poll_alarm(cx, Waits::Write));
        Poll::Ready(Err(self.takes_too_little()))
    }

    /// The peer is given up. What it has not taken is in the kernel as well, megabytes perhaps, and would stay there for minutes
    /// after the connection is closed in order: so it is reset.
    #[cold]
    fn takes_too_little(&self) -> End {
        self.context.stats.slow_readers.add(1);
        // A connection that is gone holds nothing any more.
        let _ = self.stream.set_option(SocketOption::Linger(Some(Duration::ZERO)));
        End::TimedOut
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    /// Tells the peer what was wrong.
    fn refuse(&mut self, error: h1::Error) -> Result<(), End> {
        self.context.stats.refused.add(1);
        tracing::debug!(status = %error.status(), "a request was refused: {error}");
        let room = self.outbox.room(CHUNK_BYTES_MAX, &self.context.supplies)?;
        let engine = &mut self.engine;
        if let Ok(count) =
            self.context.standing.with(self.stream.shard(), |standing| engine.refuse(error, standing, room))
        {
            self.outbox.commit(count);
        }
        Ok(())
    }

    /// Sends what is gathered, and the connection's end with it, where all of that leaves at once.
    fn finish(&mut self) -> Result<bool, End> {
        // With a pipe behind it, it is not the last.
        if self.is_h2 || self.has_tunnel() || self.stream.is_sending() || self.outbox.has_pipe() {
            return Ok(false);
        }
        let outgoing = self.gathered();
        self.stream.finish(outgoing).map_err(|_| End::Broken)
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
}

impl<S> Patient for Connection<S> {
    type Service = S;

    fn patience(&mut self) -> (&mut Patience, Whose<'_, S>) {
        let whose = Whose { shard: self.stream.shard(), context: &self.context, stream: 0 };
        (&mut self.patience, whose)
    }
}

/// Where an exchange stands.
enum Stage {
    /// The handler is at work.
    Handler(Leased<'static, Pooled<Response>>),
    /// The head is written; this is still to come.
    Content(Content),
    /// All is written.
    Done,
    /// Tasks that the request has left are to end.
    Ending(Leased<'static, ()>),
}

/// Whether the request's target is a resource of `https`.
#[inline]
fn is_of_https(table: &HeadTable, head: &[u8]) -> bool {
    table.scheme(head).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"))
}

/// What the scopes of requests are called.
static SCOPE_NAMES: [&str; 2] = ["connection", "request"];
pub(super) static TUNNEL_NAMES: [&str; 2] = ["connection", "tunnel"];

/// Why a request's scope is cancelled, in most cases.
const CLIENT_LEFT: &str = "client disconnected";

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

#[cfg(test)]
mod tests;
