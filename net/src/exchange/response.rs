//! A response on its way out: status, headers in order, and content that is there or still to come.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, StatusCode};
use platform::Buf;
use smallvec::SmallVec;

use super::Body;

/// One response. Framing (`Content-Length`, `Transfer-Encoding`, `Connection`), `Date` and `Server` are the connection's
/// to write; what is set here under those names, except `Server`, is ignored.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: Headers,
    /// The content.
    pub content: Content,
    /// Why it is not what the client hoped for: for whoever logs the exchange, never for the wire.
    pub cause: Option<Box<dyn Error>>,
}

/// Header lines in the order they were added, after one that was made beforehand. A list, not a map: looking one up is
/// linear, adding is constant. Two lines (a content type and one more) need no heap.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Usually the content type: a pointer, where a line of its own has 72 bytes to be moved about and dropped.
    made: Option<&'static Line>,
    lines: SmallVec<[Line; 1]>,
}

/// One header line.
pub type Line = (HeaderName, HeaderValue);

/// What a response carries.
#[derive(Default)]
pub enum Content {
    /// Nothing.
    #[default]
    Empty,
    /// All of it, in one buffer.
    Full(Buf),
    /// A message body handed through, chunk by chunk.
    Body(Body),
    /// A stream made by the handler.
    Stream(Pin<Box<dyn BodyStream>>),
}

/// A body that is made while it is sent. It is asked for more only when the last piece has been taken by the kernel.
pub trait BodyStream {
    /// The next piece; `None` at the end. An error ends the connection, so that the client learns that something is
    /// missing.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>>;

    /// The number of bytes to come, if it is known: it becomes `Content-Length`, and is held to.
    fn length(&self) -> Option<u64> {
        None
    }
}

impl Response {
    /// A response with a status and nothing else.
    #[inline]
    pub fn new(status: StatusCode) -> Self {
        Response { status, headers: Headers::default(), content: Content::Empty, cause: None }
    }

    /// A success whose content type was made beforehand: the way of most answers.
    #[inline]
    pub fn with_type(content_type: &'static Line, content: Content) -> Self {
        Response { status: StatusCode::OK, headers: Headers::of(content_type), content, cause: None }
    }

    /// Sets the content.
    #[inline]
    pub fn with_content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// Adds a header line.
    #[inline]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

impl Headers {
    /// Headers that begin with a line made beforehand.
    pub fn of(made: &'static Line) -> Self {
        Headers { made: Some(made), lines: SmallVec::new() }
    }

    /// Adds a line, whatever is there.
    #[inline]
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.lines.push((name, value));
    }

    /// Sets the only line of this name.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.made = self.made.filter(|(present, _)| *present != name);
        self.lines.retain(|(present, _)| *present != name);
        self.lines.push((name, value));
    }

    /// Takes over the lines of names that are not here yet.
    pub fn add_missing(&mut self, others: Headers) {
        let is_missing = |headers: &Headers, name: &HeaderName| headers.get(name).is_none();
        let kept: SmallVec<[Line; 1]> = others.lines.into_iter().filter(|(name, _)| is_missing(self, name)).collect();
        match others.made {
            Some(made) if !is_missing(self, &made.0) => {}
            Some(made) if self.made.is_some() => self.lines.push(made.clone()),
            made => self.made = self.made.or(made),
        }
        self.lines.extend(kept);
    }

    /// The first value of a name.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.iter().find(|(present, _)| *present == name).map(|(_, value)| value)
    }

    /// All lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> + Clone {
        self.made.into_iter().chain(&self.lines).map(|(name, value)| (name, value))
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        usize::from(self.made.is_some()) + self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Content {
    /// The number of bytes to come, if it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Content::Empty => Some(0),
            Content::Full(buf) => Some(buf.len() as u64),
            Content::Body(body) => body.length(),
            Content::Stream(stream) => stream.length(),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Empty => f.write_str("Empty"),
            Content::Full(buf) => write!(f, "Full({} bytes)", buf.len()),
            Content::Body(_) => f.write_str("Body"),
            Content::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl<B: Into<Buf>> From<B> for Content {
    fn from(buf: B) -> Self {
        Content::Full(buf.into())
    }
}
