//! The client's end of a connection of many streams: many exchanges at a time with one server, over HTTP/2 or HTTP/3.
//!
//! The one idea: the connection's task receives and sends, as the server's does, and whoever waits for a response does the rest:
//! it opens a stream when it is its turn, lets the maker of its body work, and reads. So dropping it ends its stream and nothing
//! else, and a reader that is slow holds up its own stream.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::Instant;

use http::header::EXPECT;
use http::{HeaderName, HeaderValue, StatusCode};
use platform::{Buf, Chunk};
use proto::message::{self, BodyLength, Pseudo, WriteError};
use shards::{Alarm, Scope};

use super::{Means, Refusal, Slot, Streams, Wire};
use crate::client::{Code, Config, Error, Step};
use crate::conn::client::{Outline, Shared, Upload, Waits};
use crate::limits::{COPY_BODY_BYTES_MAX, GATHER_BYTES_MAX};
use crate::{Body, BodyError, Content, Head, Trailers};

/// What a client does with a wire beside.
pub(crate) trait Asks: Wire {
    /// What is said of a stream that was not looked at.
    const UNPROCESSED: Self::Code;

    /// These, of a client's configuration.
    fn limits_of(config: &Config) -> &Self::Limits;

    /// A code, as whoever asks sees it.
    fn code(code: Self::Code) -> Code;

    /// Whether further requests may go over it, now or when others have ended.
    fn takes_requests(&self) -> bool;

    /// Whether one may go at this moment.
    fn can_ask(&mut self, limits: &Self::Limits) -> bool;

    /// Writes a request's head on a stream of its own.
    fn ask(&mut self, means: Means<'_, Self>, asked: Asked<'_>) -> Result<Self::Key, Refusal>;

    /// Streams that have not been released.
    fn stream_count(&self) -> usize;

    /// Nobody has the connection any more.
    fn close(&mut self);
}

/// The head of a request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(in crate::conn) pseudo: Pseudo<'a>,
    outline: Outline<'a>,
    /// The body waits to be asked for.
    waits: bool,
    alternative: Option<&'a HeaderValue>,
    pub(in crate::conn) length: BodyLength,
}

/// A connection, as requests see it. It is closed when nobody has it any more.
pub(crate) struct Trunk<W: Asks> {
    pub(in crate::conn) shared: Rc<Shared>,
    pub(in crate::conn) streams: RefCell<Streams<W>>,
    /// Requests that wait for a stream, in their order.
    queue: RefCell<BTreeMap<u64, Waker>>,
    tickets: Cell<u64>,
    /// The server takes no further request, or is not to be asked for one.
    is_leaving: Cell<bool>,
    failure: Cell<Option<Failure>>,
    is_secure: bool,
    /// Where it is, if that is not where the URL says (RFC 7838).
    alternative: Option<HeaderValue>,
    since: Instant,
    /// When the server was last heard.
    pub(in crate::conn) heard: Cell<Instant>,
    /// Its task's.
    scope: RefCell<Option<Scope>>,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// The server has closed it, or it broke.
    Closed,
    /// The server broke the rules of the connection, and was told so.
    Broken(Code, &'static str),
    /// The server takes nothing.
    TimedOut,
    Exhausted,
}

/// One exchange. Dropping it ends its stream.
pub(crate) struct Exchange<W: Asks> {
    trunk: Rc<Trunk<W>>,
    key: W::Key,
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

/// The body of an exchange's answer, whatever the version.
pub(crate) trait Answering {
    /// The next piece; `None` at its end.
    fn poll_chunk(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Chunk>, Error>>;

    /// Bytes of it, if the server has said.
    fn length(&self) -> Option<u64>;

    fn body_bytes_max(&self) -> u64;

    /// What stood behind it, when it has ended.
    fn take_trailers(&mut self) -> Option<Trailers>;
}

/// A place in the queue of a connection.
struct Turn<'s, W: Asks> {
    trunk: &'s Trunk<W>,
    ticket: Option<u64>,
}

impl<'a> Asked<'a> {
    /// The fields that go with it.
    pub(in crate::conn) fn lines(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + Clone + use<'a> {
        static ASKS: HeaderValue = HeaderValue::from_static("100-continue");
        static ALT_USED: HeaderName = HeaderName::from_static("alt-used");
        let lines = self.outline.headers.iter().chain(self.waits.then_some((&EXPECT, &ASKS)));
        lines.chain(self.alternative.map(|value| (&ALT_USED, value)))
    }
}

impl<W: Asks> Trunk<W> {
    /// Speaks over a new connection, by the task that `drive` gives. `over` is called when that has ended.
    ///
    /// Errors: the shard has as many tasks or scopes as it admits.
    pub(in crate::conn) fn start<D: Future<Output = ()> + 'static>(
        shared: &Rc<Shared>,
        wire: W,
        (is_secure, alternative): (bool, Option<HeaderValue>),
        drive: impl FnOnce(Weak<Self>) -> D,
        over: impl FnOnce() + 'static,
    ) -> Result<Rc<Self>, Error> {
        let shard = &shared.shard;
        let scope = shard.scope().child("client").map_err(|_| Error::Full)?;
        let trunk = Rc::new(Trunk {
            shared: Rc::clone(shared),
            streams: RefCell::new(Streams::new(wire)),
            queue: RefCell::default(),
            tickets: Cell::new(0),
            is_leaving: Cell::new(false),
            failure: Cell::new(None),
            is_secure,
            alternative,
            since: shard.now(),
            heard: Cell::new(shard.now()),
            scope: RefCell::new(None),
        });
        let driven = drive(Rc::downgrade(&trunk));
        let work = async move {
            driven.await;
            over();
        };
        scope.spawn(work).map_err(|_| Error::Full)?.detach();
        *trunk.scope.borrow_mut() = Some(scope);
        Ok(trunk)
    }

    /// Whether further requests may go over it.
    pub(crate) fn is_usable(&self) -> bool {
        let streams = self.streams.borrow();
        !self.is_leaving.get()
            && !self.shared.is_old(self.since)
            && streams.ended.is_none()
            && streams.wire.takes_requests()
    }

    /// Whether it goes to where the server has said that it is, too.
    pub(crate) fn is_alternative(&self) -> bool {
        self.alternative.is_some()
    }

    fn limits(&self) -> &W::Limits {
        W::limits_of(&self.shared.config)
    }

    pub(in crate::conn) fn means(&self) -> Means<'_, W> {
        Means { supplies: &self.shared.supplies, limits: self.limits(), gather_bytes_max: GATHER_BYTES_MAX }
    }

    /// Sends a request's head, as soon as there is a stream for it, and its body if that is short; `None` if the connection takes
    /// no further request. True beside the exchange if the body stays with the caller, who may send the request again; any other
    /// is taken.
    pub(crate) async fn begin(
        self: &Rc<Self>,
        outline: Outline<'_>,
        content: &mut Content,
    ) -> Result<Option<(Exchange<W>, bool)>, Error> {
        let Shared { shard, config, .. } = &*self.shared;
        let mut turn = Turn { trunk: self, ticket: None };
        let turned = shard.timeout(config.connect_time_max, poll_fn(|cx| turn.poll(cx))).await;
        let has_come = turned.map_err(|_| Error::Busy)?;
        drop(turn);
        if has_come { self.open(outline, content).map(Some) } else { Ok(None) }
    }

    fn open(self: &Rc<Self>, outline: Outline<'_>, content: &mut Content) -> Result<(Exchange<W>, bool), Error> {
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
        let Outline { method, target, host, .. } = outline;
        let pseudo = Pseudo { method, is_secure: self.is_secure, authority: host, path: target, protocol: None };
        let key = streams
            .wire
            .ask(self.means(), Asked { pseudo, outline, waits, alternative: self.alternative.as_ref(), length })?;
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
            _ if !streams.wire.can_send(key) => {}
            Some(copy) => streams.offer(key, copy, true),
            None => {
                exchange.content = std::mem::take(content);
                exchange.upload = if waits { Upload::Waits } else { Upload::Goes };
                return Ok((exchange, false));
            }
        }
        Ok((exchange, true))
    }

    /// Whether the server takes more of a request.
    fn takes_more(&self, key: W::Key) -> bool {
        let mut streams = self.streams.borrow_mut();
        streams.wire.can_send(key) && streams.ended(key).is_none()
    }

    /// Whoever is next in the queue looks whether it is its turn.
    pub(in crate::conn) fn call_next(&self) {
        if let Some(waker) = self.queue.borrow().values().next() {
            waker.wake_by_ref();
        }
    }

    /// No further request goes over it: whoever waits looks for another connection.
    pub(crate) fn leave(&self) {
        self.is_leaving.set(true);
        self.queue.borrow().values().for_each(Waker::wake_by_ref);
    }

    /// Whether no further request goes over it.
    pub(in crate::conn) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// The connection has ended, and all that is on it.
    pub(in crate::conn) fn fail(&self, failure: Failure) {
        self.fail_after_all(failure, "its connection has ended");
    }

    /// The same for a server that broke the rules. It may still have to be told.
    pub(in crate::conn) fn broke(&self, code: W::Code, what: &'static str) {
        self.fail_after_all(Failure::Broken(W::code(code), what), "its connection has failed");
    }

    fn fail_after_all(&self, failure: Failure, why: &'static str) {
        if self.failure.get().is_none() {
            self.failure.set(Some(failure));
        }
        self.streams.borrow_mut().end_all(why);
        self.leave();
    }

    pub(in crate::conn) fn is_idle(&self) -> bool {
        self.streams.borrow().wire.stream_count() == 0 && self.queue.borrow().is_empty()
    }
}

impl<W: Asks> Drop for Trunk<W> {
    fn drop(&mut self) {
        self.streams.get_mut().wire.close();
    }
}

/// What has come.
impl<W: Asks> Streams<W> {
    /// A response's head. Of interim ones only 100 is heard, which lets the body go.
    pub(in crate::conn) fn answered(&mut self, key: W::Key, said: &message::Head, head: Head) {
        let status = head.table().status();
        let Some(slot) = self.slot(key) else { return };
        if !status.is_informational() {
            slot.response = Some((head, if said.end { Some(0) } else { said.length }));
            if let Some(incoming) = slot.incoming.as_ref().filter(|_| said.end) {
                incoming.finish(Ok(()));
            }
        } else if status == StatusCode::CONTINUE {
            slot.expects_continue = false;
        }
        slot.wake();
    }

    /// The server, or what it did, has ended a stream.
    pub(in crate::conn) fn was_reset(&mut self, key: W::Key, code: W::Code) {
        let Some(slot) = self.slot(key) else { return };
        let incoming = slot.incoming.clone();
        if incoming.as_ref().is_some_and(|incoming| incoming.has_ended()) {
            // Its answer is whole: the rest of the request is not wanted (RFC 9113 section 8.1, RFC 9114 section 4.1).
            slot.wake();
            return;
        }
        slot.code = Some(code);
        self.end(key, "its stream was reset");
        if let Some(incoming) = incoming {
            incoming.finish(Err(BodyError::Truncated));
            incoming.wake();
        }
    }
}

impl<W: Asks> Turn<'_, W> {
    /// Ready when a stream may be opened, and nobody has waited for that longer; with false when none may any more.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<bool> {
        let Trunk { streams, queue, tickets, .. } = self.trunk;
        if !self.trunk.is_usable() {
            return Poll::Ready(false);
        }
        let mut streams = streams.borrow_mut();
        let mut queue = queue.borrow_mut();
        let is_next = queue.first_key_value().is_none_or(|(first, _)| Some(*first) == self.ticket);
        if is_next && !streams.wire.is_full(self.trunk.means()) && streams.wire.can_ask(self.trunk.limits()) {
            return Poll::Ready(true);
        }
        let ticket = *self.ticket.get_or_insert_with(|| tickets.replace(tickets.get() + 1));
        queue.insert(ticket, cx.waker().clone());
        Poll::Pending
    }
}

impl<W: Asks> Drop for Turn<'_, W> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.trunk.queue.borrow_mut().remove(&ticket);
        }
        self.trunk.call_next();
    }
}

impl<W: Asks> Exchange<W> {
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
            // Where its answer is here, it is not wanted.
            if self.upload == Upload::Waits && !slot.expects_continue && slot.response.is_none() {
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

    /// Why nothing more comes of it, if something is missing.
    fn failure(&self) -> Option<Error> {
        let mut streams = self.trunk.streams.borrow_mut();
        streams.ended(self.key)?;
        match (streams.slot(self.key)?.code, self.trunk.failure.get()) {
            (Some(code), _) if code == W::UNPROCESSED => Some(Error::Unprocessed),
            (Some(code), _) => Some(Error::Reset(W::code(code))),
            (None, Some(Failure::Broken(code, what))) => Some(Error::Broken { code, what }),
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

impl<W: Asks> Answering for Exchange<W> {
    fn poll_chunk(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        loop {
            self.send(cx)?;
            match self.body.poll_chunk(cx) {
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(Some(chunk))) => {
                    self.waits = Waits::Nothing;
                    self.trunk.streams.borrow_mut().consume(self.key, chunk.len(), self.trunk.limits());
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

    fn length(&self) -> Option<u64> {
        self.length
    }

    fn body_bytes_max(&self) -> u64 {
        self.trunk.shared.config.body_bytes_max
    }

    fn take_trailers(&mut self) -> Option<Trailers> {
        self.body.take_trailers()
    }
}

impl<W: Asks> Drop for Exchange<W> {
    fn drop(&mut self) {
        self.body = Body::empty();
        let streams = &mut *self.trunk.streams.borrow_mut();
        let incoming = streams.slot(self.key).and_then(|slot| slot.incoming.take());
        self.trunk.shared.supplies.reclaim_body(incoming);
        streams.release(self.key, self.trunk.limits());
        self.trunk.call_next();
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
