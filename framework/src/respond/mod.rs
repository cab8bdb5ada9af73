//! [`Respond`]: what a handler may return.
//!
//! A response's content is whatever owns the bytes already; nothing is copied here, and content types are static.

mod redirect;
mod sse;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use net::{Body, Content, Made, Response, client};
use platform::{Buf, Chunk};

pub use redirect::Redirect;
pub use sse::{Event, EventError, Events, Sse};
pub use stream::{Sink, Stream, StreamError, TrailerError};

use crate::error::INTERNAL;

/// What can be answered with.
///
/// Strings are `text/plain`, bytes `application/octet-stream`, [`Json`](crate::Json) `application/json`. A tuple adds a
/// status, headers or both; what it says takes the place of what the inner answer says.
///
/// ```
/// use shardwise::{Respond, http::StatusCode};
///
/// let response = (StatusCode::CREATED, [("location", "/items/7")], "made").respond();
/// assert_eq!(response.status, StatusCode::CREATED);
/// assert_eq!(response.headers.len(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler can answer with",
    label = "this cannot become a response",
    note = "a handler returns a string, bytes, `Json<T>`, `Html<T>`, `StatusCode`, `()`, `Response`, a tuple such as \
            `(StatusCode, T)` or `(StatusCode, [(name, value)], T)`, or a `Result` of two of these",
    note = "to answer with a type that implements `serde::Serialize`, wrap it: `Json(value)`"
)]
pub trait Respond {
    /// Makes the response.
    fn respond(self) -> Response;
}

/// HTML: answered as `text/html; charset=utf-8`.
#[derive(Clone, Copy, Debug)]
pub struct Html<T>(pub T);

impl Respond for Response {
    #[inline]
    fn respond(self) -> Response {
        self
    }
}

/// What another server answers, passed on as it comes: its status, its headers but for those that were for its connection, its
/// body and what stands behind that.
impl Respond for client::Response {
    fn respond(self) -> Response {
        let mut response = Response::new(self.status());
        response.headers = self.end_to_end();
        response.with_content(self.into())
    }
}

impl Respond for Infallible {
    fn respond(self) -> Response {
        match self {}
    }
}

/// 200 without content.
impl Respond for () {
    fn respond(self) -> Response {
        Response::new(StatusCode::OK)
    }
}

impl Respond for StatusCode {
    fn respond(self) -> Response {
        Response::new(self)
    }
}

impl Respond for &'static str {
    #[inline]
    fn respond(self) -> Response {
        text(self)
    }
}

impl Respond for String {
    #[inline]
    fn respond(self) -> Response {
        text(self)
    }
}

impl Respond for &'static [u8] {
    #[inline]
    fn respond(self) -> Response {
        octets(self)
    }
}

impl Respond for Vec<u8> {
    #[inline]
    fn respond(self) -> Response {
        octets(self)
    }
}

impl Respond for Bytes {
    #[inline]
    fn respond(self) -> Response {
        octets(self)
    }
}

impl Respond for Chunk {
    #[inline]
    fn respond(self) -> Response {
        octets(self)
    }
}

/// A message body handed through, chunk by chunk, with its length if it is known. It has no content type of its own.
impl Respond for Body {
    fn respond(self) -> Response {
        Response::new(StatusCode::OK).with_content(Content::from(self))
    }
}

impl<T: Respond> Respond for Html<T> {
    fn respond(self) -> Response {
        let mut response = self.0.respond();
        response.headers.set(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response
    }
}

impl<T: Respond, E: Respond> Respond for Result<T, E> {
    #[inline]
    fn respond(self) -> Response {
        match self {
            Ok(answer) => answer.respond(),
            Err(error) => error.respond(),
        }
    }
}

impl<T: Respond> Respond for (StatusCode, T) {
    fn respond(self) -> Response {
        let (status, answer) = self;
        let mut response = answer.respond();
        response.status = status;
        response
    }
}

impl<N, V, T, const COUNT: usize> Respond for ([(N, V); COUNT], T)
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
    N::Error: Into<http::Error>,
    V::Error: Into<http::Error>,
    T: Respond,
{
    fn respond(self) -> Response {
        let (lines, answer) = self;
        with_lines(answer.respond(), lines).unwrap_or_else(failure)
    }
}

impl<N, V, T, const COUNT: usize> Respond for (StatusCode, [(N, V); COUNT], T)
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
    N::Error: Into<http::Error>,
    V::Error: Into<http::Error>,
    T: Respond,
{
    fn respond(self) -> Response {
        let (status, lines, answer) = self;
        with_lines((status, answer).respond(), lines).unwrap_or_else(failure)
    }
}

/// A content type in its three forms, from one literal.
macro_rules! content_type {
    ($name:ident, $value:literal) => {
        pub(crate) static $name: Made =
            Made::new(CONTENT_TYPE, HeaderValue::from_static($value), concat!("Content-Type: ", $value, "\r\n"));
    };
}

content_type!(TEXT, "text/plain; charset=utf-8");
content_type!(OCTETS, "application/octet-stream");
content_type!(JSON, "application/json");

#[inline]
fn text(content: impl Into<Buf>) -> Response {
    Response::with_type(&TEXT, Content::Full(content.into()))
}

#[inline]
fn octets(content: impl Into<Buf>) -> Response {
    Response::with_type(&OCTETS, Content::Full(content.into()))
}

/// Lines of the same name all stay (`Set-Cookie`), and together take the place of the inner answer's.
fn with_lines<N, V, const COUNT: usize>(mut response: Response, lines: [(N, V); COUNT]) -> Result<Response, http::Error>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
    N::Error: Into<http::Error>,
    V::Error: Into<http::Error>,
{
    let inner = (!response.headers.is_empty()).then(|| std::mem::take(&mut response.headers));
    for (name, value) in lines {
        response.headers.append(name.try_into().map_err(Into::into)?, value.try_into().map_err(Into::into)?);
    }
    if let Some(inner) = inner {
        response.headers.add_missing(inner);
    }
    Ok(response)
}

/// 500, with the reason for the log.
pub(crate) fn failure(error: impl std::error::Error + 'static) -> Response {
    let mut response = (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL).respond();
    response.cause = Some(Box::new(error));
    response
}
