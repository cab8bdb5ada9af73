//! The client's end of HTTP/1.1: one connection to a server, one exchange at a time.
//!
//! The one idea: whoever waits for the response drives the exchange. There is no task and no queue: a poll for the head, or
//! for the next piece of the body, also sends what is left of the request. So a reader that is slow holds up the server, a
//! maker of the request's body is asked for more only when the last piece has left, and who drops the exchange closes the
//! connection. The server may answer before it has read all; its answer counts even where it takes no more.

use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use http::header::EXPECT;
use http::{HeaderValue, Method};
use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, Chunk};
use proto::h1::{self, Event, FRAME_BYTES_MAX};
use proto::head::HeadTable;
use proto::message::{BodyLength, Checked, WriteError};
use shards::{Alarm, Shard};

use super::input::{Input, Unfilled};
use super::outbox::{Outbox, Supplies};
use super::{DecodeRoom, Exhausted};
use crate::client::quic::Endpoints;
use crate::client::upgrade::Upgrade;
use crate::client::{Config, Error, Step};
use crate::limits::{COPY_BODY_BYTES_MAX, GATHER_BYTES_MAX};
use crate::tcp::Outgoing;
use crate::{Content, Head, HeadSpares, Headers, Trailers, Transport};

/// What all connections of a client share.
pub(crate) struct Shared {
    pub(crate) shard: Shard,
    pub(crate) config: Config,
    pub(super) spares: Rc<HeadSpares>,
    pub(super) supplies: Supplies,
    pub(super) scratch: DecodeRoom,
    /// Here, so that they are there as long as any connection.
    pub(crate) endpoints: Endpoints,
}

/// A connection. What it holds while idle is what an idle connection costs.
pub(crate) struct Connection {
    since: Instant,
    stream: Transport,
    shared: Rc<Shared>,
    alarm: Alarm,
    waits: Waits,
    engine: h1::Client,
    table: Option<Box<HeadTable>>,
    input: Input,
    outbox: Outbox,
    upload: Upload,
    content: Content,
    trailers: Option<Trailers>,
    /// Something of an answer to the request at hand has come.
    has_received: bool,
    /// The server takes no more.
    is_broken: bool,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// All of it has been gathered, or no more will be.
    Done,
    /// The body waits until it is asked for.
    Waits,
    /// The body goes as it comes.
    Goes,
}

/// What the alarm is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// The server is not to blame: the body's maker is asked for more.
    Nothing,
    /// The next request.
    Idle,
    Continue,
    Write,
    Head,
    Body,
}

impl Waits {
    /// How long that may take, and what the server is slow at if it does.
    pub(super) fn limit(self, config: &Config) -> Option<(Duration, Step)> {
        match self {
            Waits::Nothing => None,
            Waits::Idle => Some((config.idle_time_max, Step::Head)),
            Waits::Continue => Some((config.continue_time_max, Step::Write)),
            Waits::Write => Some((config.write_stall_max, Step::Write)),
            Waits::Head => Some((config.head_time_max, Step::Head)),
            Waits::Body => Some((config.body_pause_max, Step::Body)),
        }
    }
}

/// A request as it is written.
#[derive(Clone, Copy)]
pub(crate) struct Outline<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) headers: &'a Headers,
    /// The body waits to be asked for.
    pub(crate) expects: bool,
    /// What is offered to be spoken instead; it is among the headers.
    pub(crate) upgrade: Option<&'a Upgrade>,
}

impl Shared {
    pub(crate) fn new(shard: &Shard, config: Config) -> Rc<Self> {
        let supplies = Supplies::new(shard.pool().clone());
        let scratch = DecodeRoom::new(config.h2.head_bytes_max.max(config.h3.head_bytes_max));
        let (spares, endpoints) = Default::default();
        Rc::new(Shared { shard: shard.clone(), config, spares, supplies, scratch, endpoints })
    }

    /// Whether a connection has lasted as long as it may.
    pub(super) fn is_old(&self, since: Instant) -> bool {
        self.config.age_max.is_some_and(|max| self.shard.now().saturating_duration_since(since) >= max)
    }
}

impl Connection {
    pub(crate) fn new(shared: &Rc<Shared>, stream: Transport) -> Box<Self> {
        Box::new(Connection {
            since: shared.shard.now(),
            stream,
            alarm: shared.shard.alarm(shared.shard.now()),
            shared: Rc::clone(shared),
            waits: Waits::Nothing,
            engine: h1::Client::new(),
            table: None,
            input: Input::default(),
            outbox: Outbox::default(),
            upload: Upload::Done,
            content: Content::Empty,
            trailers: None,
            has_received: false,
            is_broken: false,
        })
    }

    /// Whether the answer has ended HTTP: the connection is no longer ours to speak over.
    pub(crate) fn is_switched(&self) -> bool {
        self.engine.is_tunnel()
    }

    /// The stream of a connection that [no longer speaks HTTP](Connection::is_switched), with what has come behind the answer.
    /// `None` if the server has answered before it had the request whole, or has sent ahead more than can be handed on.
    pub(crate) fn into_stream(mut self) -> Option<(Transport, Option<Chunk>)> {
        if self.is_broken || self.upload != Upload::Done || !self.outbox.is_empty() {
            return None;
        }
        let received = match self.input.len() {
            0 => None,
            bytes if bytes == self.input.as_slice().len() => Some(self.input.take(bytes)),
            _ => return None,
        };
        Some((self.stream, received))
    }

    /// Whether another request can be sent: the last exchange has ended on both sides, and nothing has come unasked.
    pub(crate) fn is_reusable(&self) -> bool {
        self.engine.is_idle()
            && self.engine.keep_alive()
            && !self.is_broken
            && self.input.is_empty()
            && self.outbox.is_empty()
            && !self.shared.is_old(self.since)
    }

    /// Whether the server has neither closed it nor said something unasked since.
    pub(crate) fn is_quiet(&mut self, cx: &mut TaskContext<'_>) -> bool {
        self.stream.poll_recv(cx).is_pending()
    }

    /// Ready when the server has been told that nothing more is asked, where there is a way to tell.
    pub(crate) fn poll_close(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.stream.poll_close(cx)
    }

    /// Gives back what an idle connection does not need.
    pub(crate) fn settle(&mut self) {
        if let Some(table) = self.table.take() {
            self.shared.spares.put(table);
        }
        self.input = Input::default();
        self.content = Content::Empty;
    }

    // ---- the request -------------------------------------------------------------------------------------------------

    /// Gathers a request's head, and its body if that is short; it leaves with the first poll. True if the body stays with the
    /// caller, who may send the request again; any other is taken.
    pub(crate) fn begin(&mut self, outline: Outline<'_>, content: &mut Content) -> Result<bool, Error> {
        (self.has_received, self.trailers) = (false, None);
        let length = match &*content {
            Content::Empty => BodyLength::None,
            content => content.length().map_or(BodyLength::Unknown, BodyLength::Known),
        };
        let waits = outline.expects && length != BodyLength::None;
        self.write_head(&outline, waits, length)?;
        match content {
            Content::Empty => self.write_end(&Headers::default())?,
            Content::Full(buf) if !waits && buf.len() <= COPY_BODY_BYTES_MAX => {
                self.write_piece(Piece::Copied(buf))?;
                self.write_end(&Headers::default())?;
            }
            content => {
                self.content = std::mem::take(content);
                self.upload = if waits { Upload::Waits } else { Upload::Goes };
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_head(&mut self, outline: &Outline<'_>, waits: bool, length: BodyLength) -> Result<(), Error> {
        let asks = HeaderValue::from_static("100-continue");
        let Outline { method, target, host, headers, .. } = *outline;
        let mut bytes = HEAD_BYTES_USUAL;
        loop {
            let lines = headers.iter().chain(waits.then_some((&EXPECT, &asks)));
            let lines = lines.map(|(name, value)| Checked(name, value));
            let room = self.outbox.room(bytes, &self.shared.supplies)?;
            match self.engine.request(method, target, host, lines, length, room) {
                Ok(count) => {
                    self.outbox.commit(count);
                    return Ok(());
                }
                Err(WriteError::Full) if bytes < CHUNK_BYTES_MAX => bytes = CHUNK_BYTES_MAX,
                Err(error) => return Err(Error::Request(error)),
            }
        }
    }

    fn write_piece(&mut self, piece: Piece<'_>) -> Result<(), Error> {
        let supplies = &self.shared.supplies;
        let room = self.outbox.frame_room(self.engine.sends_chunks(), FRAME_BYTES_MAX, supplies)?;
        let frame = self.engine.data(piece.len(), room).map_err(Error::Request)?;
        self.outbox.commit(frame.head);
        match piece {
            Piece::Copied(bytes) => self.outbox.put(bytes, supplies)?,
            Piece::Moved(buf) => self.outbox.push(buf, supplies),
        }
        self.outbox.put(frame.tail, supplies)?;
        Ok(())
    }

    fn write_end(&mut self, trailers: &Headers) -> Result<(), Error> {
        let bytes = if trailers.is_empty() { FRAME_BYTES_MAX } else { CHUNK_BYTES_MAX };
        let room = self.outbox.frame_room(self.engine.sends_chunks(), bytes, &self.shared.supplies)?;
        let trailers = trailers.iter().map(|(name, value)| Checked(name, value));
        let count = self.engine.finish_with(trailers, room).map_err(Error::Request)?;
        self.outbox.commit(count);
        self.upload = Upload::Done;
        Ok(())
    }

    /// Sends what there is to send, as far as it goes without waiting. An error is the body's maker's: that of a server that
    /// takes no more shows in what it answers.
    fn send(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Error> {
        loop {
            if self.stream.is_sending() {
                let Poll::Ready(sent) = self.stream.poll_sent(cx) else { return Ok(()) };
                self.waits = Waits::Nothing;
                match sent {
                    Ok(Some(sent)) => self.shared.supplies.reclaim(sent.spare),
                    Ok(None) => {}
                    Err(_) => self.break_off(),
                }
            } else if !self.outbox.is_empty() {
                let outgoing = self.outbox.take(&self.shared.supplies);
                self.start_send(outgoing);
            } else if self.upload == Upload::Goes {
                self.gather(cx)?;
                if self.outbox.is_empty() {
                    return Ok(());
                }
            } else {
                return Ok(());
            }
        }
    }

    fn start_send(&mut self, outgoing: Outgoing) {
        if self.stream.start_send(outgoing).is_err() {
            self.break_off();
        }
    }

    /// Takes what the body's maker has ready.
    fn gather(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Error> {
        if let Content::Full(buf) = &mut self.content {
            let buf = std::mem::replace(buf, Buf::EMPTY);
            self.write_piece(Piece::Moved(buf))?;
            return self.write_end(&Headers::default());
        }
        while !self.outbox.is_full(GATHER_BYTES_MAX) {
            match self.content.poll_buf(cx) {
                Poll::Ready(Some(Ok(buf))) if buf.is_empty() => {}
                Poll::Ready(Some(Ok(buf))) if buf.len() <= COPY_BODY_BYTES_MAX => {
                    self.write_piece(Piece::Copied(&buf))?
                }
                Poll::Ready(Some(Ok(buf))) => self.write_piece(Piece::Moved(buf))?,
                Poll::Ready(Some(Err(error))) => return Err(Error::Body(error)),
                Poll::Ready(None) => {
                    let trailers = self.content.trailers();
                    return self.write_end(&trailers);
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Nothing more of the request is sent. The connection ends with the exchange.
    fn break_off(&mut self) {
        self.is_broken = true;
        self.upload = Upload::Done;
        self.content = Content::Empty;
        self.outbox = Outbox::default();
    }

    // ---- the response ------------------------------------------------------------------------------------------------

    /// The head of the response. Interim ones are read over, but that 100 lets the body go.
    pub(crate) fn poll_head(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Head, Error>> {
        loop {
            self.send(cx)?;
            let step = self.receive()?;
            match step.event {
                Event::Head(_) => {
                    let block = self.input.take(step.consumed);
                    let status = self.table.as_ref().expect("just filled").status();
                    if status.is_informational() && !self.engine.is_tunnel() {
                        self.go_on();
                        continue;
                    }
                    let table = self.table.take().expect("just filled");
                    self.answered(status.is_client_error() || status.is_server_error());
                    return Poll::Ready(Ok(Head::new(block, table, Rc::clone(&self.shared.spares))));
                }
                _ => self.input.skip(step.consumed),
            }
            match self.poll_input(cx)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Err(self.cut())),
                Poll::Pending => ready!(self.poll_alarm(cx, Waits::Head))?,
            }
        }
    }

    /// The server asks for the body, or has not said that it does not want it.
    fn go_on(&mut self) {
        if self.upload == Upload::Waits {
            self.upload = Upload::Goes;
            self.waits = Waits::Nothing;
        }
    }

    /// The response proper has begun. A body that still waits is not wanted (RFC 9110 section 10.1.1); nor is the rest of one
    /// where the server has refused it and will close (RFC 9112 section 9.5).
    fn answered(&mut self, is_refused: bool) {
        self.waits = Waits::Nothing;
        if self.upload == Upload::Waits || is_refused && !self.engine.keep_alive() {
            self.upload = Upload::Done;
            self.content = Content::Empty;
        }
    }

    /// The next piece of the response's body; `None` at its end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        loop {
            self.send(cx)?;
            let step = self.receive()?;
            match step.event {
                Event::Data(range) => {
                    self.input.skip(range.start);
                    let chunk = self.input.take(range.len());
                    self.input.skip(step.consumed - range.end);
                    self.waits = Waits::Nothing;
                    return Poll::Ready(Ok(Some(chunk)));
                }
                Event::End { trailers } if trailers.is_empty() => {
                    self.input.skip(step.consumed);
                    return Poll::Ready(Ok(None));
                }
                Event::End { trailers } => {
                    self.input.skip(trailers.start);
                    let (block, table) = (self.input.take(trailers.len()), self.table.take().expect("just filled"));
                    self.trailers = Some(Trailers::new(Head::new(block, table, Rc::clone(&self.shared.spares))));
                    return Poll::Ready(Ok(None));
                }
                _ => self.input.skip(step.consumed),
            }
            match self.poll_input(cx)? {
                Poll::Ready(true) => self.waits = Waits::Nothing,
                // Somebody may have cut off what was to follow.
                Poll::Ready(false) if self.stream.is_cut() => return Poll::Ready(Err(Error::Truncated)),
                // It may be how the body ends, which the engine says next.
                Poll::Ready(false) => self.engine.end_of_input().map_err(|_| Error::Truncated)?,
                Poll::Pending => ready!(self.poll_alarm(cx, Waits::Body))?,
            }
        }
    }

    /// What is left of the body, if its length is known, all of it has come, and the request has left: without a wait.
    pub(crate) fn whole(&mut self) -> Option<Chunk> {
        let left = usize::try_from(self.engine.body_left()?).ok().filter(|left| *left > 0)?;
        let has_left = self.upload == Upload::Done && self.outbox.is_empty() && !self.stream.is_sending();
        if !has_left || self.input.as_slice().len() < left {
            return None;
        }
        let step = self.receive().ok()?;
        let Event::Data(range) = step.event else { return None };
        self.input.skip(range.start);
        let chunk = self.input.take(range.len());
        self.input.skip(step.consumed - range.end);
        Some(chunk)
    }

    /// The body is known to have ended, perhaps with the head, but nobody has looked: whether it has, in order.
    pub(crate) fn is_done(&mut self) -> bool {
        if !self.engine.is_idle() {
            let step = self.receive();
            if !step.is_ok_and(|step| step.consumed == 0 && matches!(step.event, Event::End { .. })) {
                return false;
            }
        }
        true
    }

    /// What stood behind the body that has ended.
    pub(crate) fn take_trailers(&mut self) -> Option<Trailers> {
        self.trailers.take()
    }

    /// Bytes of the body still to come, if the server has said.
    pub(crate) fn body_left(&self) -> Option<u64> {
        self.engine.body_left()
    }

    fn receive(&mut self) -> Result<h1::Step, Error> {
        let table = self.table.get_or_insert_with(|| self.shared.spares.take());
        let step = self.engine.receive(self.input.as_slice(), table, &self.shared.config.h1);
        step.map_err(Error::Malformed)
    }

    /// Receives what there is. Ready with false at the end of input.
    fn poll_input(&mut self, cx: &mut TaskContext<'_>) -> Result<Poll<bool>, Error> {
        match self.input.poll_fill(cx, &mut self.stream, self.shared.supplies.pool()) {
            Poll::Ready(Ok(received)) => {
                self.has_received |= received.is_some();
                Ok(Poll::Ready(received.is_some()))
            }
            Poll::Ready(Err(Unfilled::Broken)) => Err(self.cut()),
            Poll::Ready(Err(Unfilled::Exhausted)) => Err(Error::Exhausted),
            Poll::Pending => {
                self.input.settle(self.shared.supplies.pool());
                Ok(Poll::Pending)
            }
        }
    }

    fn cut(&self) -> Error {
        if self.has_received { Error::Truncated } else { Error::Closed }
    }

    /// Ready when what is waited for has taken too long: an error, or for one who waits to be asked for the body, the time to
    /// send it unasked. The time counts from the first call for the same thing.
    fn poll_alarm(&mut self, cx: &mut TaskContext<'_>, reads: Waits) -> Poll<Result<(), Error>> {
        let waits = match self.upload {
            _ if self.stream.is_sending() => Waits::Write,
            Upload::Goes => Waits::Nothing,
            Upload::Waits => Waits::Continue,
            Upload::Done => reads,
        };
        let Some((time, step)) = waits.limit(&self.shared.config) else {
            self.waits = waits;
            return Poll::Pending;
        };
        if self.waits != waits {
            self.waits = waits;
            self.alarm.set(self.shared.shard.clock() + time);
        }
        ready!(self.alarm.poll_rung(cx));
        if waits == Waits::Continue {
            self.go_on();
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(Error::TimedOut(step)))
    }
}

/// A piece of body to be written.
enum Piece<'b> {
    Copied(&'b [u8]),
    Moved(Buf),
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Piece::Copied(bytes) => bytes.len(),
            Piece::Moved(buf) => buf.len(),
        }
    }
}

/// Bytes that the heads of most requests fit in.
pub(super) const HEAD_BYTES_USUAL: usize = 512;

impl From<Exhausted> for Error {
    fn from(_: Exhausted) -> Self {
        Error::Exhausted
    }
}
