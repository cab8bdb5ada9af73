//! [`Stream`]: a body that a handler makes while it is sent.
//!
//! The handler's code pushes pieces into a [`Sink`] and is held up there until the connection has taken the last one, so a
//! slow client slows its producer and no piece is made before there is room for it.

use std::cell::{Cell, RefCell};
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, StatusCode};
use net::{BodyStream, Content, Headers, Response};
use platform::Buf;
use proto::head::Known;
use shards::Shard;

use super::Respond;
use crate::metrics::HttpMetrics;
use crate::{Error, caught};

/// A response whose body is made piece by piece.
///
/// ```
/// use shardwise::{App, Stream, test};
///
/// fn count() -> Stream {
///     Stream::new(async |mut sink| {
///         for number in 1..=3 {
///             sink.send(format!("{number}\n")).await?;
///         }
///         Ok(())
///     })
/// }
/// let server = test::run(App::new().get("/count", count).get("/told", || count().with_length(6)));
/// assert_eq!(server.get("/count").expect(200).header("transfer-encoding"), "chunked");
/// assert_eq!(server.get("/told").header("content-length"), "6");
/// assert_eq!(server.get("/told").text(), "1\n2\n3\n");
/// ```
pub struct Stream {
    body: Pin<Box<dyn BodyStream>>,
    length: Option<u64>,
}

/// The end by which a stream's maker gives its pieces away.
#[derive(Debug)]
pub struct Sink(Rc<Slot>);

/// Nobody will take another piece: the client has gone, or the stream was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamError;

/// The field may not stand behind a body: it says what had to be known before (RFC 9110 section 6.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailerError(HeaderName);

#[derive(Debug, Default)]
struct Slot {
    piece: RefCell<Option<Buf>>,
    trailers: RefCell<Headers>,
    is_closed: Cell<bool>,
}

impl Stream {
    /// A stream made by `make`, which runs as far as the connection asks for. Its end is the body's end; its error ends
    /// the connection, so that the client learns that something is missing.
    pub fn new<F>(make: F) -> Self
    where
        F: AsyncFnOnce(Sink) -> Result<(), Error> + 'static,
    {
        let slot = Rc::new(Slot::default());
        let sink = Sink(Rc::clone(&slot));
        let maker: Maker = Box::pin(async move { make(sink).await });
        Stream { body: Box::pin(Made { slot, maker: Some(maker), failure: None }), length: None }
    }

    /// Announces the number of bytes, and holds the stream to it.
    pub fn with_length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }
}

impl Sink {
    /// Gives the next piece away and waits until the connection has taken it.
    ///
    /// Errors: nobody will take it. Returning that error by `?` is all that is to be done.
    pub async fn send(&mut self, piece: impl Into<Buf>) -> Result<(), StreamError> {
        if self.0.is_closed.get() {
            return Err(StreamError);
        }
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(());
        }
        *self.0.piece.borrow_mut() = Some(piece);
        std::future::poll_fn(|_| match self.0.piece.borrow().is_none() {
            true => Poll::Ready(Ok(())),
            false if self.0.is_closed.get() => Poll::Ready(Err(StreamError)),
            // The connection polls again when it has taken the piece.
            false => Poll::Pending,
        })
        .await
    }
}

impl Sink {
    /// Adds a trailer field, which goes behind the last piece: a checksum, say, or how it went. A client gets it that has
    /// said `TE: trailers`, of a stream without an announced length; for others it is left out.
    ///
    /// Errors: the field would have to be known before the body, as framing, routing and authentication are.
    ///
    /// ```
    /// use shardwise::http::{HeaderName, HeaderValue};
    /// use shardwise::{App, Stream, test};
    ///
    /// fn sum() -> Stream {
    ///     Stream::new(async |mut sink| {
    ///         sink.send("1 2 3").await?;
    ///         sink.trailer(HeaderName::from_static("x-sum"), HeaderValue::from(6))?;
    ///         Ok(())
    ///     })
    /// }
    /// let server = test::run(App::new().get("/sum", sum));
    /// let response = server.send(test::Request::get("/sum").header("TE", "trailers"));
    /// assert_eq!((response.text(), &response.trailers()["x-sum"]), ("1 2 3", &HeaderValue::from(6)));
    /// assert!(server.get("/sum").trailers().is_empty());
    /// ```
    pub fn trailer(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), TrailerError> {
        if !Known::of(name.as_str().as_bytes()).is_allowed_in_trailers() {
            return Err(TrailerError(name));
        }
        self.0.trailers.borrow_mut().append(name, value);
        Ok(())
    }
}

impl Respond for Stream {
    fn respond(self) -> Response {
        let body = match self.length {
            Some(length) => Box::pin(Measured { body: self.body, length }),
            None => self.body,
        };
        Response::new(StatusCode::OK).with_content(Content::Stream(body))
    }
}

/// The answer is under way, so the panic's exchange has been counted; the panic has not.
#[cold]
fn count_panic() {
    if let Some(shard) = Shard::current() {
        HttpMetrics::of(&shard).panics.add(1);
    }
}

/// The code that makes the pieces.
type Maker = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// Pieces as the maker gives them away.
struct Made {
    slot: Rc<Slot>,
    /// `None` once it has ended.
    maker: Option<Maker>,
    /// Why it ended, if it failed.
    failure: Option<Box<dyn StdError>>,
}

impl BodyStream for Made {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn StdError>>>> {
        if let Some(maker) = &mut self.maker
            && let Poll::Ready(end) = caught::poll(maker.as_mut(), cx)
        {
            self.maker = None;
            self.failure = match end {
                Ok(end) => end.err().map(Into::into),
                Err(panic) => {
                    count_panic();
                    Some(panic.into())
                }
            };
        }
        // A maker that did not wait for `send` may have ended and left a piece.
        if let Some(piece) = self.slot.piece.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        match self.maker {
            Some(_) => Poll::Pending,
            None => Poll::Ready(self.failure.take().map(Err)),
        }
    }

    fn trailers(self: Pin<&mut Self>) -> Headers {
        self.slot.trailers.take()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.slot.is_closed.set(true);
    }
}

/// A stream whose length has been announced.
struct Measured {
    body: Pin<Box<dyn BodyStream>>,
    length: u64,
}

impl BodyStream for Measured {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn StdError>>>> {
        self.body.as_mut().poll_next(cx)
    }

    fn length(&self) -> Option<u64> {
        Some(self.length)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("length", &self.length).finish_non_exhaustive()
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody takes this stream any more")
    }
}

impl StdError for StreamError {}

impl fmt::Display for TrailerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be a trailer field: it has to be known before the body", self.0)
    }
}

impl StdError for TrailerError {}
