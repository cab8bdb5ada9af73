//! The server's end of a connection: requests in, responses out.
//!
//! The one idea: one exchange at a time. A request ends with its [`Event::End`], or with its head if it has no body; the
//! next head is parsed when that has been given *and* the response is finished. So a pipeline is answered in order by
//! construction, and the caller gathers the answers in one output buffer.
//!
//! An idle connection is this struct and nothing else: the table is leased from a head's first byte until the
//! exchange ends, the limits are shared by all connections.

use http::{Method, StatusCode, Version};

use super::again::{Heads, Key};
use super::body::{Decoder, Piece};
use super::encode::{Frame, NO_FIELDS, Sending, Standing, Writer};
use super::lines::{self, Progress, RequestLine, Section};
use super::{Body, Error, Event, Head, Limits, Step, framing, takes_trailers};
use crate::head::{HeadTable, Known};
use crate::message::{BodyLength, Field, WriteError};

/// The engine of one server connection.
#[derive(Debug)]
pub struct Server {
    body: Decoder,
    sending: Sending,
    phase: Phase,
    progress: Progress,
    /// Empty lines before the request line at hand.
    empty_lines: u8,
    request: Request,
    /// Whether this connection has had a request line: then an HTTP/2 preface is none.
    is_used: bool,
    /// Whether the connection ends with the response at hand.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before or within a request line.
    RequestLine,
    /// Within a header section.
    Header,
    Body,
    /// The request has ended; its response has not, or nobody has looked at the input since.
    Ended,
    Tunnel,
    Closed,
    /// The same, and the last request had been read to its end.
    ClosedWhole,
}

/// What the response must know of its request: some of the bits below, in one byte, since it is copied with every head.
#[derive(Clone, Copy, Debug)]
struct Request(u8);

/// What a request's head means, for its body and for its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    head: Head,
    request: Request,
}

impl Request {
    /// What an answer to something that never became a request may assume.
    const NONE: Request = Request(0);

    /// It is a `HEAD`.
    const IS_HEAD: u8 = 1;
    /// It is a `CONNECT`.
    const IS_CONNECT: u8 = 1 << 1;
    /// HTTP/1.0: no chunks, no interim responses, and keep-alive must be said aloud.
    const IS_OLD: u8 = 1 << 2;
    /// It asks for another protocol.
    const UPGRADES: u8 = 1 << 3;
    /// The client waits for `100 Continue`, and has sent nothing of the body.
    const EXPECTS_CONTINUE: u8 = 1 << 4;
    /// The client takes trailer fields.
    const TAKES_TRAILERS: u8 = 1 << 5;
    /// The client wishes that the connection ends with it.
    const CLOSES: u8 = 1 << 6;

    /// Of the head in this table.
    fn new(head: &Head, block: &[u8], table: &HeadTable) -> Self {
        let bit = |bit, is_set| if is_set { bit } else { 0 };
        Request(
            bit(Self::IS_HEAD, table.method == Method::HEAD)
                | bit(Self::IS_CONNECT, table.method == Method::CONNECT)
                | bit(Self::IS_OLD, table.version == Version::HTTP_10)
                | bit(Self::UPGRADES, head.upgrade)
                | bit(Self::EXPECTS_CONTINUE, head.expect_continue)
                | bit(Self::TAKES_TRAILERS, takes_trailers(table.all(block, Known::Te)))
                | bit(Self::CLOSES, !head.keep_alive),
        )
    }

    /// Whether one of these is set.
    #[inline(always)]
    fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Whether the client has said that this is its last: it sends nothing after it (RFC 9112 section 9.6). One of HTTP/1.0 need not say
    /// so.
    fn is_last(self) -> bool {
        self.has(Self::CLOSES) && !self.has(Self::IS_OLD)
    }

    fn waits_no_longer(&mut self) {
        self.0 &= !Self::EXPECTS_CONTINUE;
    }
}

/// A head that was written, and what follows from it.
#[derive(PartialEq, Eq)]
struct Written {
    sending: Sending,
    closes: bool,
    switches: bool,
}

impl Server {
    /// The engine of a connection that has just been opened.
    pub fn new() -> Server {
        Server {
            body: Decoder::new(Body::None),
            sending: Sending::Idle,
            phase: Phase::RequestLine,
            progress: Progress::default(),
            empty_lines: 0,
            request: Request::NONE,
            is_used: false,
            is_closing: false,
        }
    }

    /// Looks at all input not yet consumed and says what comes first in it. To be called until it says
    /// [`Event::NeedMore`], and again when there is more, or when a response is finished.
    ///
    /// Heads and trailer sections must be contiguous: what is not consumed must be shown again with more behind it.
    /// Body bytes and chunk framing are always consumed. A request without a body ends with its head: no
    /// [`Event::End`] follows. `table` must be the same from a head's first byte until the
    /// exchange ends. After an error, [`refuse`](Self::refuse) writes the answer.
    #[inline]
    pub fn receive(&mut self, input: &[u8], table: &mut HeadTable, limits: &Limits) -> Result<Step, Error> {
        let result = match self.phase {
            Phase::RequestLine | Phase::Header => self.receive_head(input, table, limits),
            Phase::Body => self.receive_body(input, table, limits),
            Phase::Ended if self.sending == Sending::Done => {
                self.next_exchange();
                self.receive_head(input, table, limits)
            }
            Phase::Ended => Ok(Step { consumed: 0, event: Event::NeedMore }),
            Phase::Tunnel => Ok(Step { consumed: 0, event: Event::Tunnel }),
            Phase::Closed | Phase::ClosedWhole => Ok(Step { consumed: input.len(), event: Event::Closed }),
        };
        if result.is_err() {
            self.close();
            self.is_closing = true;
        }
        result
    }

    fn next_exchange(&mut self) {
        self.sending = Sending::Idle;
        self.phase = Phase::RequestLine;
        self.progress = Progress::default();
        self.empty_lines = 0;
        self.request = Request::NONE;
    }

    #[inline]
    fn receive_head(&mut self, input: &[u8], table: &mut HeadTable, limits: &Limits) -> Result<Step, Error> {
        const NEED_MORE: Step = Step { consumed: 0, event: Event::NeedMore };
        if self.phase == Phase::RequestLine {
            if self.progress == Progress::default()
                && let Some((length, verdict)) = table.again(input, limits)
            {
                table.trailers.clear();
                return Ok(self.accept(length, verdict));
            }
            let at = self.skip_empty_lines(input, limits)?;
            if at == input.len() {
                // Nothing of a head yet: an idle connection need not keep an empty line.
                self.progress = Progress::default();
                return Ok(Step { consumed: at, event: Event::NeedMore });
            }
            match lines::request_line(input, &mut self.progress, table, limits)? {
                RequestLine::Complete => {}
                RequestLine::Partial => return Ok(NEED_MORE),
                RequestLine::Http2Preface if self.is_used => return Err(Error::VersionNotSupported),
                RequestLine::Http2Preface => {
                    self.phase = Phase::Closed;
                    return Ok(Step { consumed: 0, event: Event::Http2Preface });
                }
            }
            self.phase = Phase::Header;
            table.trailers.clear();
            if let Some(end) = table.section_again(input, self.progress.line(), limits) {
                self.progress = Progress::at(end - "\r\n".len());
                return self.head(&input[..end], table);
            }
        }
        match Section::header(limits).read(input, &mut self.progress, &mut table.fields)? {
            Some(end) => {
                table.remember(&input[..end]);
                self.head(&input[..end], table)
            }
            None => Ok(NEED_MORE),
        }
    }

    /// RFC 9112 section 2.2: an empty line or two before a request line are read over.
    #[inline]
    fn skip_empty_lines(&mut self, input: &[u8], limits: &Limits) -> Result<usize, Error> {
        let mut at = self.progress.line();
        while let Some([first @ (b'\r' | b'\n'), rest @ ..]) = input.get(at..) {
            match (first, rest.first()) {
                (b'\n', _) => return Err(Error::BareLf),
                (_, None) => break,
                (_, Some(b'\n')) => {}
                (_, Some(_)) => return Err(Error::BareCr),
            }
            if self.empty_lines == limits.empty_line_count_max {
                return Err(Error::EmptyLines);
            }
            self.empty_lines += 1;
            at += 2;
            self.progress = Progress::at(at);
        }
        Ok(at)
    }

    /// The header section is complete.
    #[inline]
    fn head(&mut self, block: &[u8], table: &mut HeadTable) -> Result<Step, Error> {
        let head = framing::request(block, table)?;
        let verdict = Verdict { head, request: Request::new(&head, block, table) };
        if self.empty_lines == 0 {
            table.judged(verdict);
        }
        Ok(self.accept(block.len(), verdict))
    }

    /// A head has come, so many bytes of it.
    #[inline(always)]
    fn accept(&mut self, consumed: usize, Verdict { head, request }: Verdict) -> Step {
        self.is_used = true;
        self.body = Decoder::new(head.body);
        self.request = request;
        self.is_closing |= request.has(Request::CLOSES);
        self.sending = Sending::Head;
        self.phase = if head.body == Body::None { Phase::Ended } else { Phase::Body };
        Step { consumed, event: Event::Head(head) }
    }

    #[inline]
    fn receive_body(&mut self, input: &[u8], table: &mut HeadTable, limits: &Limits) -> Result<Step, Error> {
        // One who sends the body without waiting has not waited.
        if !input.is_empty() {
            self.request.waits_no_longer();
        }
        let (consumed, piece) = self.body.receive(input, &mut self.progress, &mut table.trailers, limits)?;
        let event = match piece {
            Piece::NeedMore => Event::NeedMore,
            Piece::Data(range) => Event::Data(range),
            Piece::End(trailers) => {
                self.phase = Phase::Ended;
                Event::End { trailers }
            }
        };
        Ok(Step { consumed, event })
    }

    /// Takes the body of the request that has just come out of the input behind its head, if it says how long it is and all of it is
    /// there: so many bytes, which are done with, and so is the request. If not, [`receive`](Self::receive) gives it in pieces.
    #[inline]
    pub fn take_body(&mut self, input: &[u8]) -> Option<usize> {
        let count = match self.phase {
            Phase::Body => usize::try_from(self.body.left()?).ok().filter(|&count| count <= input.len())?,
            _ => return None,
        };
        self.body = Decoder::new(Body::None);
        // One who sends the body without waiting has not waited.
        self.request.waits_no_longer();
        self.phase = Phase::Ended;
        Some(count)
    }

    /// The peer will send no more. An error if it stops in the middle of a request.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        let is_complete = match self.phase {
            Phase::RequestLine => self.is_idle(),
            Phase::Header => false,
            Phase::Body => self.body.left() == Some(0),
            Phase::Ended | Phase::Tunnel | Phase::Closed | Phase::ClosedWhole => true,
        };
        self.is_closing = true;
        if is_complete { Ok(()) } else { Err(Error::Incomplete) }
    }

    /// Whether nothing is going on: no exchange, and not a byte of the next head. What distinguishes an idle
    /// connection's time-out from a slow head's.
    pub fn is_idle(&self) -> bool {
        match self.phase {
            Phase::RequestLine => self.progress == Progress::default(),
            Phase::Ended => self.sending == Sending::Done,
            _ => false,
        }
    }

    /// Whether the request at hand has been read to its end.
    pub fn is_request_ended(&self) -> bool {
        match self.phase {
            Phase::Ended | Phase::Tunnel | Phase::ClosedWhole => true,
            Phase::Body => self.body.left() == Some(0),
            Phase::RequestLine | Phase::Header | Phase::Closed => false,
        }
    }

    /// Whether the client may still be sending when the response at hand ends the connection: the rest of its request, or
    /// further ones, as it could not know that this was the last. Then closing at once might reset the connection before the
    /// response has arrived (RFC 9112 section 9.6).
    pub fn may_be_sending(&self) -> bool {
        !(self.request.is_last() && self.is_request_ended())
    }

    fn close(&mut self) {
        self.phase = if self.is_request_ended() { Phase::ClosedWhole } else { Phase::Closed };
    }

    /// Bytes of the request's body still to come, if it declared its length: what draining would cost.
    pub fn body_left(&self) -> Option<u64> {
        self.body.left()
    }

    /// The line that lets a waiting client send its body; empty if none waits. To be sent when the body is wanted.
    pub fn continue_line(&mut self) -> &'static [u8] {
        if self.sending == Sending::Head && self.request.has(Request::EXPECTS_CONTINUE) {
            self.request.waits_no_longer();
            return b"HTTP/1.1 100 Continue\r\n\r\n";
        }
        b""
    }

    /// Writes the head of the response to the request at hand, decides how its body is framed, and says how many
    /// bytes that took.
    ///
    /// `Content-Length`, `Transfer-Encoding` and `Connection` are the engine's: what `fields` say of them is left
    /// out, except that `Connection: close` closes, and that an answer to `HEAD` without a body, or a 304, may state
    /// a length. `standing` lines come after the fields. An interim status (other than 101) leaves the
    /// response to come; HTTP/1.0 clients are spared it.
    #[inline]
    pub fn respond<F: Field>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = F, IntoIter: Clone>,
        standing: Standing<'_>,
        body: BodyLength,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let mut writer = Writer::new(out);
        let Some(written) = self.write_head(status, fields.into_iter(), standing, body, &mut writer)? else {
            return Ok(writer.count);
        };
        self.begin(written);
        Ok(writer.count)
    }

    /// Writes a head, or copies what was written before, and changes nothing: the slice may be too small. `None` after an interim
    /// response, whose final one is still to come.
    #[inline(always)]
    fn write_head<F: Field>(
        &mut self,
        status: StatusCode,
        fields: impl Iterator<Item = F> + Clone,
        standing: Standing<'_>,
        body: BodyLength,
        writer: &mut Writer<'_>,
    ) -> Result<Option<Written>, WriteError> {
        let (again, length) = match (standing.again, body) {
            (Some(again), BodyLength::Known(length)) if self.is_plain() => (again, length),
            _ => return self.write_anew(status, fields, standing, body, writer),
        };
        let key = Key { status, fields, other: standing.other, length };
        let ordinary = Written { sending: Sending::Length(length), closes: false, switches: false };
        if let Some(head) = again.heads().find(key.clone()) {
            return writer.put(head).map(|()| Some(ordinary));
        }
        let written = self.write_anew(status, key.fields.clone(), standing, body, writer)?;
        if written.as_ref() == Some(&ordinary) {
            again.keep(key, writer.written());
        }
        Ok(written)
    }

    #[inline]
    fn write_anew<F: Field>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = F>,
        standing: Standing<'_>,
        body: BodyLength,
        writer: &mut Writer<'_>,
    ) -> Result<Option<Written>, WriteError> {
        if self.sending != Sending::Head {
            return Err(WriteError::NotExpected);
        }
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return self.interim(status, fields, writer).map(|()| None);
        }
        let switches =
            status == StatusCode::SWITCHING_PROTOCOLS || self.request.has(Request::IS_CONNECT) && status.is_success();
        if switches && !(self.is_request_ended() && self.request.has(Request::UPGRADES | Request::IS_CONNECT)) {
            return Err(WriteError::Upgrade);
        }
        writer.status_line(status)?;
        let overridden = writer.fields(fields)?;
        writer.standing(standing, &overridden)?;
        let sending = self.frame(status, body, switches, overridden.length, writer)?;
        // A client that still waits may send the body or not: nothing after it could be told from it
        // (RFC 9110 section 10.1.1).
        let closes = self.is_closing
            || overridden.close
            || sending == Sending::UntilClose
            || self.request.has(Request::EXPECTS_CONTINUE);
        if closes || overridden.has_upgrade || self.request.has(Request::IS_OLD) {
            writer.put(self.connection_line(closes, switches, overridden.has_upgrade))?;
        }
        writer.put(b"\r\n")?;
        Ok(Some(Written { sending, closes, switches }))
    }

    /// Whether the head of the response at hand says nothing of its request or of the connection.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        const TELLS: u8 = Request::IS_HEAD | Request::IS_CONNECT | Request::IS_OLD | Request::EXPECTS_CONTINUE;
        self.sending == Sending::Head && !self.is_closing && !self.request.has(TELLS)
    }

    #[cold]
    fn connection_line(&self, closes: bool, switches: bool, has_upgrade: bool) -> &'static [u8] {
        match (closes && !switches, has_upgrade) {
            (true, true) => b"Connection: close, upgrade\r\n",
            (true, false) => b"Connection: close\r\n",
            (false, true) => b"Connection: upgrade\r\n",
            (false, false) if self.request.has(Request::IS_OLD) && !switches => b"Connection: keep-alive\r\n",
            (false, false) => b"",
        }
    }

    /// The head has found room.
    #[inline(always)]
    fn begin(&mut self, head: Written) {
        self.sending = head.sending;
        self.is_closing = head.closes;
        if head.switches {
            self.phase = Phase::Tunnel;
        }
    }

    /// RFC 9110 section 15.2: never to an HTTP/1.0 client.
    #[cold]
    fn interim<F: Field>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = F>,
        writer: &mut Writer<'_>,
    ) -> Result<(), WriteError> {
        if self.request.has(Request::IS_OLD) {
            return Ok(());
        }
        writer.status_line(status)?;
        writer.fields(fields)?;
        writer.put(b"\r\n")?;
        if status == StatusCode::CONTINUE {
            self.request.waits_no_longer();
        }
        Ok(())
    }

    /// Writes the framing fields of RFC 9112 section 6 and says how the body is sent: none for what RFC 9110 sections
    /// 9.3.2, 15.3.5, 15.3.6 and 15.4.5 name.
    #[inline]
    fn frame(
        &self,
        status: StatusCode,
        body: BodyLength,
        switches: bool,
        stated: Option<u64>,
        writer: &mut Writer<'_>,
    ) -> Result<Sending, WriteError> {
        if switches {
            return Ok(Sending::Done);
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Sending::Length(0));
        }
        if status == StatusCode::NOT_MODIFIED || self.request.has(Request::IS_HEAD) {
            // The length that GET would have had, if anyone knows it (RFC 9110 section 8.6). The empty body of a 304
            // says nothing about that.
            let length = match body {
                BodyLength::Known(count) if status != StatusCode::NOT_MODIFIED => Some(count),
                _ => stated,
            };
            if let Some(count) = length {
                writer.content_length(count)?;
            }
            return Ok(Sending::Length(0));
        }
        match body {
            // RFC 9110 section 15.3.6: a 205 has no content.
            _ if status == StatusCode::RESET_CONTENT => {
                writer.content_length(0)?;
                Ok(Sending::Length(0))
            }
            BodyLength::None => {
                writer.content_length(0)?;
                Ok(Sending::Length(0))
            }
            BodyLength::Known(count) => {
                writer.content_length(count)?;
                Ok(Sending::Length(count))
            }
            BodyLength::Unknown if self.request.has(Request::IS_OLD) => Ok(Sending::UntilClose),
            BodyLength::Unknown => {
                writer.put(b"Transfer-Encoding: chunked\r\n")?;
                Ok(Sending::Chunked)
            }
        }
    }

    /// Whether the response, whose head has been written, takes (more) body. Not for `HEAD`, 204, 205 and 304.
    pub fn takes_body(&self) -> bool {
        !matches!(self.sending, Sending::Idle | Sending::Head | Sending::Length(0) | Sending::Done)
    }

    /// Whether the response's body, whose head has been written, goes in chunks. Around any other nothing is written by
    /// [`data`](Self::data) and [`finish`](Self::finish), which then need no room.
    #[inline]
    pub fn sends_chunks(&self) -> bool {
        self.sending == Sending::Chunked
    }

    /// Frames the next `count` bytes of the response's body: what was written to `out` goes before them, the frame's
    /// tail after. [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX) bytes are always enough.
    #[inline]
    pub fn data(&mut self, count: usize, out: &mut [u8]) -> Result<Frame, WriteError> {
        self.sending.data(count, out)
    }

    /// Ends the response; what was written to `out` ends its body. If the body is shorter than declared, the client
    /// can only learn that by the connection's end: [`WriteError::BodyTooShort`].
    #[inline]
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize, WriteError> {
        self.finish_with(NO_FIELDS, out)
    }

    /// [`finish`](Self::finish) with trailer fields behind the body. They are left out where the client has not said that
    /// it takes them (`TE: trailers`), or where the body does not go in chunks. An error changes nothing, but for
    /// [`WriteError::BodyTooShort`].
    pub fn finish_with<F: Field>(
        &mut self,
        trailers: impl IntoIterator<Item = F>,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let result = match self.request.has(Request::TAKES_TRAILERS) {
            true => self.sending.finish(trailers, out),
            false => self.sending.finish(NO_FIELDS, out),
        };
        self.is_closing |= result == Err(WriteError::BodyTooShort);
        if self.is_closing && self.sending == Sending::Done {
            self.close();
        }
        result
    }

    /// [`respond`](Self::respond), the body and [`finish`](Self::finish) in one: the way of every small answer.
    #[inline]
    pub fn respond_whole<F: Field>(
        &mut self,
        status: StatusCode,
        fields: impl IntoIterator<Item = F, IntoIter: Clone>,
        standing: Standing<'_>,
        body: &[u8],
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let mut writer = Writer::new(out);
        let length = BodyLength::Known(body.len() as u64);
        let Some(written) = self.write_head(status, fields.into_iter(), standing, length, &mut writer)? else {
            return Ok(writer.count);
        };
        if let Sending::Length(1..) = written.sending {
            writer.put(body)?;
        }
        let switches = written.switches;
        self.begin(written);
        if !switches {
            self.sending = Sending::Done;
            if self.is_closing {
                self.close();
            }
        }
        Ok(writer.count)
    }

    /// What [`respond_whole`](Self::respond_whole) would write of an answer before a body of `length` bytes, if its head is as one before
    /// it, of these fields and then `other`. Whoever sends both says so by [`answered`](Self::answered).
    #[inline(always)]
    pub fn head_again<'a, F: Field>(
        &self,
        status: StatusCode,
        fields: impl IntoIterator<Item = F, IntoIter: Clone>,
        other: &'static [u8],
        length: u64,
        heads: &'a Heads,
    ) -> Option<&'a [u8]> {
        let key = Key { status, fields: fields.into_iter(), other, length };
        if self.is_plain() { heads.find(key) } else { None }
    }

    /// The answer whose head was [the same again](Self::head_again) is on its way, its body behind it.
    #[inline(always)]
    pub fn answered(&mut self) {
        debug_assert!(self.is_plain(), "its head was asked for");
        self.sending = Sending::Done;
    }

    /// Writes the answer to a fault of the peer, and closes: nothing is parsed afterwards. Not expected, and not
    /// possible, when a response has begun: then closing is all the peer can be told.
    pub fn refuse(&mut self, error: Error, standing: Standing<'_>, out: &mut [u8]) -> Result<usize, WriteError> {
        match self.sending {
            Sending::Head => {}
            Sending::Idle => self.sending = Sending::Head,
            Sending::Done if self.is_idle() => {
                self.next_exchange();
                self.sending = Sending::Head;
            }
            _ => return Err(WriteError::NotExpected),
        }
        self.is_closing = true;
        self.phase = Phase::Closed;
        let fields = [("Content-Type", "text/plain; charset=utf-8")];
        self.respond_whole(error.status(), fields, standing, error.text().as_bytes(), out)
    }

    /// Ends the connection with the response at hand, which says so if its head is still to be written. On an idle
    /// connection: at once.
    pub fn close_after_response(&mut self) {
        self.is_closing = true;
        if self.is_idle() {
            self.phase = Phase::Closed;
        }
    }

    /// Whether the connection stays open: after a response is finished, whether another request may come.
    pub fn keep_alive(&self) -> bool {
        !self.is_closing && !matches!(self.phase, Phase::Closed | Phase::ClosedWhole)
    }

    /// Whether the connection has switched protocols.
    pub fn is_tunnel(&self) -> bool {
        self.phase == Phase::Tunnel
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}

// What an idle connection costs here.
const _: () = assert!(size_of::<Server>() <= 64);
