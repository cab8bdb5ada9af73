//! The client's end of a connection: requests out, responses in.
//!
//! The one idea: the mirror of the [server](super::Server), of the same parts. One exchange at a time; the response
//! may begin, and end, before the request's body has been sent. What is wrong with a response is an [`Error`] whose
//! status is of no use here: the fault is the upstream's.

use http::{Method, StatusCode};

use super::body::{Decoder, Piece};
use super::encode::{Frame, NO_FIELDS, Sending, Writer};
use super::lines::{self, Progress, Section};
use super::{Body, Error, Event, Limits, Step, framing, takes_trailers};
use crate::head::{HeadTable, Known};
use crate::message::{BodyLength, Field, WriteError, authority};

/// The engine of one client connection.
#[derive(Debug)]
pub struct Client {
    body: Decoder,
    sending: Sending,
    phase: Phase,
    progress: Progress,
    /// Interim responses to the request at hand.
    interims: u8,
    /// What the request at hand was: it decides how the response is read.
    is_head: bool,
    is_connect: bool,
    offers_upgrade: bool,
    /// Whether the connection ends with the exchange at hand.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request has been written: nothing may come.
    Idle,
    StatusLine,
    Header,
    Body,
    Tunnel,
    Closed,
}

impl Client {
    /// The engine of a connection that has just been opened.
    pub fn new() -> Client {
        Client {
            body: Decoder::new(Body::None),
            sending: Sending::Done,
            phase: Phase::Idle,
            progress: Progress::default(),
            interims: 0,
            is_head: false,
            is_connect: false,
            offers_upgrade: false,
            is_closing: false,
        }
    }

    /// Writes the head of a request, decides how its body is framed, and says how many bytes that took.
    ///
    /// `Host`, `Content-Length`, `Transfer-Encoding`, `TE` and `Connection` are the engine's: what `fields` say of
    /// them is left out, except that `Connection: close` closes, and that `TE` may say that trailer fields are taken.
    /// `Upgrade` among them offers to switch protocols.
    pub fn request<F: Field>(
        &mut self,
        method: &Method,
        target: &[u8],
        host: &[u8],
        fields: impl IntoIterator<Item = F>,
        body: BodyLength,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        if !self.is_idle() || self.is_closing {
            return Err(WriteError::NotExpected);
        }
        if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return Err(WriteError::Target);
        }
        if !authority::is_host(host) {
            return Err(WriteError::FieldValue);
        }
        let mut writer = Writer::new(out);
        writer.put(method.as_str().as_bytes())?;
        writer.put(b" ")?;
        writer.put(target)?;
        writer.put(b" HTTP/1.1\r\n")?;
        writer.field(b"Host", host)?;
        let mut trailers = false;
        let overridden = writer.fields(fields.into_iter().filter(|field| match Known::of(field.name()) {
            Known::Te => {
                trailers |= takes_trailers([field.value()].into_iter());
                false
            }
            known => known != Known::Host,
        }))?;
        let sending = match body {
            BodyLength::None => Sending::Length(0),
            BodyLength::Known(count) => Sending::Length(count),
            BodyLength::Unknown => Sending::Chunked,
        };
        match sending {
            // RFC 9110 section 8.6: a length is expected with methods that have a meaning for content.
            Sending::Length(0)
                if body == BodyLength::None && !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
            Sending::Length(count) => writer.content_length(count)?,
            _ => writer.put(b"Transfer-Encoding: chunked\r\n")?,
        }
        // RFC 9110 section 10.1.4: what `TE` says is for the next hop alone.
        writer.put(if trailers { b"TE: trailers\r\nConnection: TE\r\n" } else { b"" })?;
        writer.put(match (overridden.close, overridden.has_upgrade) {
            (true, true) => b"Connection: close, upgrade\r\n",
            (true, false) => b"Connection: close\r\n",
            (false, true) => b"Connection: upgrade\r\n",
            (false, false) => b"",
        })?;
        writer.put(b"\r\n")?;
        let count = writer.count;

        self.sending = sending;
        self.phase = Phase::StatusLine;
        self.progress = Progress::default();
        self.interims = 0;
        self.is_head = *method == Method::HEAD;
        self.is_connect = *method == Method::CONNECT;
        self.offers_upgrade = overridden.has_upgrade;
        self.is_closing = overridden.close;
        Ok(count)
    }

    /// Whether the request's body, whose head has been written, goes in chunks. Around any other nothing is written by
    /// [`data`](Self::data) and [`finish`](Self::finish), which then need no room.
    #[inline]
    pub fn sends_chunks(&self) -> bool {
        self.sending == Sending::Chunked
    }

    /// Frames the next `count` bytes of the request's body: what was written to `out` goes before them, the frame's
    /// tail after. [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX) bytes are always enough.
    pub fn data(&mut self, count: usize, out: &mut [u8]) -> Result<Frame, WriteError> {
        self.sending.data(count, out)
    }

    /// Ends the request; what was written to `out` ends its body. To be called for every request. If the body is
    /// shorter than declared, the connection must be closed: [`WriteError::BodyTooShort`].
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize, WriteError> {
        self.finish_with(NO_FIELDS, out)
    }

    /// [`finish`](Self::finish) with trailer fields behind the body, which are left out if it does not go in chunks.
    pub fn finish_with<F: Field>(
        &mut self,
        trailers: impl IntoIterator<Item = F>,
        out: &mut [u8],
    ) -> Result<usize, WriteError> {
        let result = self.sending.finish(trailers, out);
        self.is_closing |= result == Err(WriteError::BodyTooShort);
        result
    }

    /// Looks at all input not yet consumed and says what comes first in it, as the server's
    /// [`receive`](super::Server::receive) does.
    ///
    /// An interim response (status 1xx other than 101) is an [`Event::Head`] of its own, without an end; the response
    /// proper is still to come. A response that switches protocols is followed by [`Event::Tunnel`].
    pub fn receive(&mut self, input: &[u8], table: &mut HeadTable, limits: &Limits) -> Result<Step, Error> {
        let result = match self.phase {
            Phase::Idle if input.is_empty() => Ok(NEED_MORE),
            Phase::Idle => Err(Error::Unexpected),
            Phase::StatusLine | Phase::Header => self.receive_head(input, table, limits),
            Phase::Body => self.receive_body(input, table, limits),
            Phase::Tunnel => Ok(Step { consumed: 0, event: Event::Tunnel }),
            Phase::Closed => Ok(Step { consumed: input.len(), event: Event::Closed }),
        };
        if result.is_err() {
            self.phase = Phase::Closed;
            self.is_closing = true;
        }
        result
    }

    fn receive_head(&mut self, input: &[u8], table: &mut HeadTable, limits: &Limits) -> Result<Step, Error> {
        if self.phase == Phase::StatusLine {
            if !lines::status_line(input, &mut self.progress, table, limits)? {
                return Ok(NEED_MORE);
            }
            self.phase = Phase::Header;
            table.clear_fields();
            table.trailers.clear();
        }
        match Section::header(limits).read(input, &mut self.progress, &mut table.fields)? {
            Some(end) => self.head(&input[..end], table, limits),
            None => Ok(NEED_MORE),
        }
    }

    /// The header section is complete.
    fn head(&mut self, block: &[u8], table: &HeadTable, limits: &Limits) -> Result<Step, Error> {
        let head = framing::response(block, table, self.is_head, self.is_connect)?;
        self.progress = Progress::default();
        self.phase = match table.status {
            StatusCode::SWITCHING_PROTOCOLS if !self.offers_upgrade => return Err(Error::Unexpected),
            _ if head.upgrade => Phase::Tunnel,
            status if status.is_informational() => {
                if self.interims == limits.interim_count_max {
                    return Err(Error::TooManyInterims);
                }
                self.interims += 1;
                Phase::StatusLine
            }
            _ => {
                self.is_closing |= !head.keep_alive;
                self.body = Decoder::new(head.body);
                Phase::Body
            }
        };
        Ok(Step { consumed: block.len(), event: Event::Head(head) })
    }

    fn receive_body(&mut self, input: &[u8], table: &mut HeadTable, limits: &Limits) -> Result<Step, Error> {
        let (consumed, piece) = self.body.receive(input, &mut self.progress, &mut table.trailers, limits)?;
        let event = match piece {
            Piece::NeedMore => Event::NeedMore,
            Piece::Data(range) => Event::Data(range),
            Piece::End(trailers) => {
                self.phase = if self.is_closing { Phase::Closed } else { Phase::Idle };
                Event::End { trailers }
            }
        };
        Ok(Step { consumed, event })
    }

    /// The server will send no more. That may be how a body ends: then [`receive`](Self::receive), without input,
    /// gives its [`Event::End`]. An error if it stops in the middle of a response, or before one.
    pub fn end_of_input(&mut self) -> Result<(), Error> {
        self.is_closing = true;
        let is_complete = match self.phase {
            Phase::StatusLine | Phase::Header => false,
            Phase::Body => self.body.end_of_input(),
            Phase::Idle | Phase::Tunnel | Phase::Closed => true,
        };
        if is_complete { Ok(()) } else { Err(Error::Incomplete) }
    }

    /// Whether no exchange is going on: the request has been sent and the response has ended.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.sending == Sending::Done
    }

    /// Whether the connection can serve another request, now or after the exchange at hand.
    pub fn keep_alive(&self) -> bool {
        !self.is_closing && self.phase != Phase::Closed
    }

    /// Bytes of the response's body still to come, if it declared its length.
    pub fn body_left(&self) -> Option<u64> {
        self.body.left()
    }

    /// Whether the connection has switched protocols.
    pub fn is_tunnel(&self) -> bool {
        self.phase == Phase::Tunnel
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

const NEED_MORE: Step = Step { consumed: 0, event: Event::NeedMore };

// A pool holds many of these.
const _: () = assert!(size_of::<Client>() <= 64);
