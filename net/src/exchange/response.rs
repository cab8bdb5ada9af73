//! A response on its way out: status, headers in order, and content that is there or still to come.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, StatusCode};
use platform::{Buf, Pipe};
use smallvec::SmallVec;

use super::{Body, Trailers, Tunnel};

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
    made: Option<&'static Made>,
    lines: SmallVec<[Line; 1]>,
}

type Line = (HeaderName, HeaderValue);

/// A header line made beforehand, in a `static`: it costs a response no more than a pointer, and is written as it stands.
///
/// ```
/// use http::HeaderValue;
/// use http::header::CONTENT_TYPE;
/// use shardwise_net::{Content, Made, Response};
///
/// static CSS: Made = Made::new(CONTENT_TYPE, HeaderValue::from_static("text/css"), "Content-Type: text/css\r\n");
/// let response = Response::with_type(&CSS, Content::from("a { color: red }"));
/// assert_eq!(response.headers.get(&CONTENT_TYPE).unwrap(), "text/css");
/// ```
#[derive(Debug)]
pub struct Made {
    line: Line,
    text: &'static str,
}

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
    /// Nothing, and no further HTTP: who owns the connection from then on.
    Tunnel(Tunnel),
}

/// A body that is made while it is sent. It is asked for more only when the last piece has been taken by the kernel.
pub trait BodyStream {
    /// The next piece; `None` at the end. An error ends the connection, so that the client learns that something is
    /// missing.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>>;

    /// [`poll_next`](BodyStream::poll_next) for a connection that takes pipes as well, as one without encryption does.
    fn poll_piece(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Box<dyn Error>>>> {
        self.poll_next(cx).map(|next| next.map(|piece| piece.map(Piece::Bytes)))
    }

    /// The number of bytes to come, if it is known: it becomes `Content-Length`, and is held to.
    fn length(&self) -> Option<u64> {
        None
    }

    /// The trailer fields, asked for once at its end. They are sent where the peer takes them; without a length, that is.
    fn trailers(self: Pin<&mut Self>) -> Headers {
        Headers::default()
    }
}

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// Bytes in memory.
    Bytes(Buf),
    /// Bytes of a file that no memory of ours holds. Only in a body whose length is known.
    Pipe(Pipe),
}

impl Response {
    /// A response with a status and nothing else.
    #[inline]
    pub fn new(status: StatusCode) -> Self {
        Response { status, headers: Headers::default(), content: Content::Empty, cause: None }
    }

    /// A success whose content type was made beforehand: the way of most answers.
    #[inline]
    pub fn with_type(content_type: &'static Made, content: Content) -> Self {
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

impl Made {
    /// A line, and the same as text with its line end. Not for the fields that are the connection's to write.
    ///
    /// Panics (in a `static`: does not compile) if the text is no header line, or is not of that length.
    pub const fn new(name: HeaderName, value: HeaderValue, text: &'static str) -> Self {
        let bytes = text.as_bytes();
        let count = bytes.len();
        assert!(count > 4 && bytes[count - 2] == b'\r' && bytes[count - 1] == b'\n', "the text ends in CR LF");
        let mut at = 0;
        while at < count - 2 {
            assert!(bytes[at] >= b' ' && bytes[at] < 0x7f, "the text is one line of visible characters");
            at += 1;
        }
        Made { line: (name, value), text }
    }
}

impl Headers {
    /// Headers that begin with a line made beforehand.
    pub fn of(made: &'static Made) -> Self {
        Headers { made: Some(made), lines: SmallVec::new() }
    }

    /// None, with room for so many lines.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Headers { made: None, lines: SmallVec::with_capacity(count) }
    }

    /// Adds a line, whatever is there.
    #[inline]
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.lines.push((name, value));
    }

    /// Adds all of these, whatever is there.
    pub(crate) fn add(&mut self, others: Headers) {
        if self.made.is_none() && self.lines.is_empty() {
            *self = others;
            return;
        }
        self.lines.extend(others.made.map(|made| made.line.clone()));
        self.lines.extend(others.lines);
    }

    /// Adds a line, unless there is one of this name.
    pub(crate) fn append_missing(&mut self, name: HeaderName, value: &HeaderValue) {
        if self.get(&name).is_none() {
            self.append(name, value.clone());
        }
    }

    /// Sets the only line of this name.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.remove(&name);
        self.lines.push((name, value));
    }

    /// Takes all lines of this name out.
    pub fn remove(&mut self, name: &HeaderName) {
        self.made = self.made.filter(|made| made.line.0 != name);
        self.lines.retain(|(present, _)| present != name);
    }

    /// Keeps the lines of these names alone.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&HeaderName) -> bool) {
        self.made = self.made.filter(|made| is_kept(&made.line.0));
        self.lines.retain(|(name, _)| is_kept(name));
    }

    /// Takes over the lines of names that are not here yet.
    pub fn add_missing(&mut self, others: Headers) {
        let is_missing = |headers: &Headers, name: &HeaderName| headers.get(name).is_none();
        let kept: SmallVec<[Line; 1]> = others.lines.into_iter().filter(|(name, _)| is_missing(self, name)).collect();
        match others.made {
            Some(made) if !is_missing(self, &made.line.0) => {}
            Some(made) if self.made.is_some() => self.lines.push(made.line.clone()),
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
        self.made.map(|made| &made.line).into_iter().chain(&self.lines).map(|(name, value)| (name, value))
    }

    /// Whether both say the same in the same order.
    pub(crate) fn is_same(&self, other: &Headers) -> bool {
        let is_same_made = match (self.made, other.made) {
            (Some(made), Some(other)) => std::ptr::eq(made, other),
            (made, other) => made.is_none() && other.is_none(),
        };
        is_same_made && self.lines == other.lines
    }

    /// A number that those have in common that say the same, and seldom others.
    pub(crate) fn mark(&self) -> usize {
        let first = self.made.map_or(0, |made| made.text.len());
        self.lines.iter().fold(first, |mark, (_, value)| mark.wrapping_mul(31).wrapping_add(value.len() + 1))
    }

    /// The line made beforehand, as text, and the others.
    pub(crate) fn parts(&self) -> (&'static [u8], &[(HeaderName, HeaderValue)]) {
        let text = self.made.map_or("", |made| made.text);
        (text.as_bytes(), &self.lines)
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
            Content::Empty | Content::Tunnel(_) => Some(0),
            Content::Full(buf) => Some(buf.len() as u64),
            Content::Body(body) => body.length(),
            Content::Stream(stream) => stream.length(),
        }
    }

    /// The next piece of what comes bit by bit; nothing of what does not. By a pipe only where one can be sent.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        takes_pipes: bool,
    ) -> Poll<Option<Result<Piece, Box<dyn Error>>>> {
        match self {
            Content::Stream(stream) if takes_pipes => stream.as_mut().poll_piece(cx),
            _ => self.poll_buf(cx).map(|next| next.map(|piece| piece.map(Piece::Bytes))),
        }
    }

    /// The same for a connection that takes no pipes.
    pub(crate) fn poll_buf(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
        match self {
            Content::Body(body) => match ready!(body.poll_chunk(cx)) {
                Ok(chunk) => Poll::Ready(chunk.map(|chunk| Ok(Buf::Chunk(chunk)))),
                Err(error) => Poll::Ready(Some(Err(error.into()))),
            },
            Content::Stream(stream) => stream.as_mut().poll_next(cx),
            Content::Empty | Content::Full(_) | Content::Tunnel(_) => Poll::Ready(None),
        }
    }

    /// What stands behind it, when its last piece has been taken.
    pub(crate) fn trailers(&mut self) -> Headers {
        match self {
            Content::Body(body) => body.trailers().map(Headers::from).unwrap_or_default(),
            Content::Stream(stream) => stream.as_mut().trailers(),
            Content::Empty | Content::Full(_) | Content::Tunnel(_) => Headers::default(),
        }
    }
}

/// As they were received. What no type of ours admits is left out; an engine admits less.
impl From<&Trailers> for Headers {
    fn from(trailers: &Trailers) -> Self {
        let lines = trailers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        Headers { made: None, lines: lines.collect() }
    }
}

impl From<Body> for Content {
    fn from(body: Body) -> Self {
        match body.into_whole() {
            Ok(chunk) => Content::Full(Buf::Chunk(chunk)),
            Err(body) if body.length() == Some(0) => Content::Empty,
            Err(body) => Content::Body(body),
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
            Content::Tunnel(_) => f.write_str("Tunnel"),
        }
    }
}

impl<B: Into<Buf>> From<B> for Content {
    fn from(buf: B) -> Self {
        Content::Full(buf.into())
    }
}
