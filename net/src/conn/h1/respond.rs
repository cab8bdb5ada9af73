//! The response of an exchange: its head and whatever is there of its content go through the engine into the outbox; what is still
//! to come is the next stage, and is sent as it comes.

use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use http::header::ALT_SVC;
use http::{HeaderName, HeaderValue, StatusCode};
use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, Pipe};
use proto::h1::{self, FRAME_BYTES_MAX, Standing};
use proto::message::{BodyLength, Checked, WriteError};

use super::{Connection, End, Stage};
use crate::conn::patience::Waits;
use crate::conn::{Exhausted, HEAD_BYTES_USUAL};
use crate::limits::{COPY_BODY_BYTES_MAX, DRAIN_BODY_BYTES_MAX};
use crate::{Content, Headers, Incoming, Piece, Response, Service};

impl<S: Service + 'static> Connection<S> {
    /// Writes the head, and the content if it is there as a whole. What is still to come is the next stage.
    pub(super) fn respond(&mut self, response: &mut Response, incoming: Option<&Rc<Incoming>>) -> Result<(), End> {
        self.prepare(&response.content, incoming)?;
        if self.requests == 1
            && self.stream.is_secure()
            && let Some(value) = &self.context.config.alternative
        {
            response.headers.append_missing(ALT_SVC, value);
        }
        if self.respond_again(response) {
            return Ok(());
        }
        let written = match &response.content {
            Content::Empty | Content::Tunnel(_) => self.write_whole(response.status, &response.headers, &[]),
            Content::Full(buf) if buf.len() <= COPY_BODY_BYTES_MAX => {
                self.write_whole(response.status, &response.headers, buf)
            }
            _ => {
                let content = std::mem::take(&mut response.content);
                self.write_begin(response.status, &response.headers, content)
            }
        };
        match written {
            Ok(()) => {
                if self.engine.is_tunnel()
                    && let Content::Tunnel(tunnel) = std::mem::take(&mut response.content)
                {
                    self.rare().tunnel = Some(tunnel);
                }
                Ok(())
            }
            Err(Refusal::Exhausted) => Err(End::Exhausted),
            Err(Refusal::Unwritable(error)) => {
                tracing::error!(status = %response.status, "a response cannot be sent: {error}");
                // This one has nothing in it that could be refused, unless a response has begun.
                let written = self.write_whole(StatusCode::INTERNAL_SERVER_ERROR, &Headers::default(), &[]);
                written.map_err(|_| End::Broken)
            }
        }
    }

    /// Writes an answer whose head is as one before it, which most are, where both find room without more ado.
    #[inline(always)]
    fn respond_again(&mut self, response: &mut Response) -> bool {
        let Response { status, headers, content: Content::Full(body), .. } = response else { return false };
        let ((other, lines), heads) = (headers.parts(), self.context.standing.again(self.stream.shard()).heads());
        let (bytes, lines) = (body.as_slice(), Lines(lines.iter()));
        let Some(head) = self.engine.head_again(*status, lines, other, bytes.len() as u64, &heads) else {
            return false;
        };
        let is_put = match bytes.len() <= COPY_BODY_BYTES_MAX {
            true => self.outbox.put_both(head, bytes, &self.context.supplies),
            false => self.outbox.put_in_front(head, body),
        };
        if is_put {
            self.engine.answered();
        }
        is_put
    }

    /// Decides what becomes of the connection, before the head says it.
    #[inline]
    fn prepare(&mut self, content: &Content, incoming: Option<&Rc<Incoming>>) -> Result<(), End> {
        let is_echo = matches!(content, Content::Body(_));
        // Whoever passes it on to a third reads it while it answers.
        let is_read = |incoming: &Rc<Incoming>| is_echo || !incoming.is_forsaken();
        // What is not fed came with its head, and has been read.
        let too_much_left = incoming.is_some_and(|incoming| {
            !self.engine.is_request_ended()
                && self.engine.body_left().is_some_and(|left| left > DRAIN_BODY_BYTES_MAX)
                && !is_read(incoming)
        });
        if self.shard().is_draining() || too_much_left {
            self.engine.close_after_response();
        } else if self.is_retiring() && !matches!(content, Content::Tunnel(_)) {
            self.context.stats.retired.add(1);
            self.engine.close_after_response();
        }
        if is_echo && self.input.is_empty() {
            // The answer is made of the request's body: a client that waits to be asked for it must be asked first.
            self.outbox.put(self.engine.continue_line(), &self.context.supplies)?;
        }
        Ok(())
    }

    /// Whether the connection has had as many requests, or lasted as long, as it may.
    #[inline]
    fn is_retiring(&self) -> bool {
        self.requests >= self.context.config.connection_requests_max
            || self.context.age(self.shard().now()) >= self.retires
    }

    /// Whether the peer may still be sending when the last answer is written, or has sent what nobody has looked at. Who asks early
    /// has yet to end its hand-shake.
    pub(super) fn may_be_sending(&self) -> bool {
        self.engine.may_be_sending() || !self.input.is_empty() || self.stream.is_early()
    }

    /// A small answer, in one go.
    fn write_whole(&mut self, status: StatusCode, headers: &Headers, body: &[u8]) -> Result<(), Refusal> {
        self.write_head(headers, HEAD_BYTES_USUAL + body.len(), |engine, fields, standing, room| {
            engine.respond_whole(status, fields, standing, body, room)
        })
    }

    /// The head of an answer whose content is large, or still to come, and what is there of that.
    fn write_begin(&mut self, status: StatusCode, headers: &Headers, content: Content) -> Result<(), Refusal> {
        let length = content.length().map_or(BodyLength::Unknown, BodyLength::Known);
        self.write_head(headers, HEAD_BYTES_USUAL, |engine, fields, standing, room| {
            engine.respond(status, fields, standing, length, room)
        })?;
        match content {
            content if !self.engine.takes_body() => drop(content),
            Content::Full(buf) => self.write_piece(buf)?,
            content => {
                self.stage = Stage::Content(content);
                return Ok(());
            }
        }
        self.write_end(&Headers::default())
    }

    /// Lets the engine write into the outbox, with a chunk of its own if the present one has too little room.
    #[inline(always)]
    fn write_head<'h>(
        &mut self,
        headers: &'h Headers,
        mut bytes: usize,
        write: impl Fn(&mut h1::Server, Lines<'h>, Standing<'_>, &mut [u8]) -> Result<usize, WriteError>,
    ) -> Result<(), Refusal> {
        loop {
            let (other, lines) = headers.parts();
            let room = self.outbox.room(bytes, &self.context.supplies)?;
            let engine = &mut self.engine;
            let count = self.context.standing.with(self.stream.shard(), |standing| {
                write(engine, Lines(lines.iter()), Standing { other, ..standing }, room)
            });
            match count {
                Ok(count) => {
                    self.outbox.commit(count);
                    return Ok(());
                }
                Err(WriteError::Full) if bytes < CHUNK_BYTES_MAX => bytes = CHUNK_BYTES_MAX,
                Err(error) => return Err(Refusal::Unwritable(error)),
            }
        }
    }

    fn write_piece(&mut self, buf: Buf) -> Result<(), Refusal> {
        let is_chunked = self.engine.sends_chunks();
        let room = self.outbox.frame_room(is_chunked, FRAME_BYTES_MAX, &self.context.supplies)?;
        let frame = self.engine.data(buf.len(), room)?;
        self.outbox.commit(frame.head);
        match buf.len() <= COPY_BODY_BYTES_MAX {
            true => self.outbox.put(&buf, &self.context.supplies)?,
            false => self.outbox.push(buf, &self.context.supplies),
        }
        self.outbox.put(frame.tail, &self.context.supplies)?;
        Ok(())
    }

    fn write_pipe(&mut self, pipe: Pipe) -> Result<(), Refusal> {
        let frame = self.engine.data(pipe.bytes(), &mut [])?;
        assert!(frame.head == 0 && frame.tail.is_empty(), "a body that comes in pipes has a known length");
        self.outbox.push_pipe(pipe);
        Ok(())
    }

    fn write_end(&mut self, trailers: &Headers) -> Result<(), Refusal> {
        let bytes = if trailers.is_empty() { FRAME_BYTES_MAX } else { CHUNK_BYTES_MAX };
        let room = self.outbox.frame_room(self.engine.sends_chunks(), bytes, &self.context.supplies)?;
        let count = self.engine.finish_with(trailers.iter().map(|(name, value)| Checked(name, value)), room)?;
        self.outbox.commit(count);
        Ok(())
    }

    /// Sends content as it comes: what is ready is gathered, and more is asked for when the kernel has taken that.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut TaskContext<'_>,
        content: &mut Content,
        incoming: Option<&Rc<Incoming>>,
    ) -> Poll<Result<(), End>> {
        // What is to be encrypted is read.
        let takes_pipes = !self.stream.is_secure();
        loop {
            if self.patience.waits() == Waits::Write {
                // Woken while the peer takes nothing: the alarm is looked at before more is asked for.
                ready!(self.poll_flush_all(cx))?;
            }
            let mut waits = false;
            while !self.outbox.is_full(self.context.config.gather_bytes_max) && !waits {
                match self.in_request(|| content.poll_piece(cx, takes_pipes)) {
                    Poll::Ready(Some(Ok(Piece::Bytes(buf)))) if buf.is_empty() => {}
                    Poll::Ready(Some(Ok(Piece::Pipe(pipe)))) => self.write_pipe(pipe).map_err(Refusal::fatal)?,
                    Poll::Ready(Some(Ok(Piece::Bytes(buf)))) => self.write_piece(buf).map_err(Refusal::fatal)?,
                    Poll::Ready(None) => {
                        let trailers = content.trailers();
                        return Poll::Ready(self.write_end(&trailers).map_err(Refusal::fatal));
                    }
                    Poll::Ready(Some(Err(error))) => {
                        tracing::warn!("a response ended before its time: {error}");
                        return Poll::Ready(Err(End::Unfinished));
                    }
                    Poll::Pending => match incoming {
                        Some(incoming) if incoming.is_wanted() => waits = self.poll_feed(cx, incoming)?.is_pending(),
                        _ => waits = true,
                    },
                }
            }
            ready!(self.poll_flush_all(cx))?;
            if waits {
                return Poll::Pending;
            }
        }
    }
}

/// A response's lines as the engine takes them: their types have checked them.
#[derive(Clone)]
struct Lines<'h>(std::slice::Iter<'h, (HeaderName, HeaderValue)>);

impl<'h> Iterator for Lines<'h> {
    type Item = Checked<'h>;

    #[inline(always)]
    fn next(&mut self) -> Option<Checked<'h>> {
        self.0.next().map(|(name, value)| Checked(name, value))
    }

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// Why a response was not written.
enum Refusal {
    Exhausted,
    /// It is not a response that HTTP can carry: a mistake of the handler's.
    Unwritable(WriteError),
}

impl Refusal {
    /// What it means once a response has begun: the peer can only be told by the connection's end.
    fn fatal(self) -> End {
        match self {
            Refusal::Exhausted => End::Exhausted,
            Refusal::Unwritable(error) => {
                tracing::error!("a response broke its own framing: {error}");
                End::Unfinished
            }
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Refusal::Exhausted
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        Refusal::Unwritable(error)
    }
}
