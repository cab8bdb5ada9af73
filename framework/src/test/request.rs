//! [`Request`]: a request as a client makes it. A plain value, to be sent any number of times.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde::Serialize;

/// A request to be sent. A path alone, `"/hello"`, stands for a `GET`.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::test::{self, Request};
///
/// let server = test::run(App::new().put("/items/{id}", |Path(id): Path<u32>, body: String| async move {
///     format!("{id} is {body}")
/// }));
/// let response = server.send(Request::put("/items/7").header("X-Trace", "1").body("a lamp"));
/// assert_eq!(response.text(), "7 is a lamp");
/// ```
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
}

/// What a request carries.
#[derive(Clone)]
pub(super) enum Body {
    None,
    /// With its length.
    Whole(Bytes),
    /// Chunked, a chunk for each.
    Pieces(Vec<Bytes>),
}

impl Request {
    /// A request without headers and body. `target` is a path, with a query or without.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Request { method, target: target.into(), headers: Vec::new(), body: Body::None }
    }

    /// A `GET`.
    pub fn get(target: impl Into<String>) -> Self {
        Request::new(Method::GET, target)
    }

    /// A `HEAD`.
    pub fn head(target: impl Into<String>) -> Self {
        Request::new(Method::HEAD, target)
    }

    /// A `POST`.
    pub fn post(target: impl Into<String>) -> Self {
        Request::new(Method::POST, target)
    }

    /// A `PUT`.
    pub fn put(target: impl Into<String>) -> Self {
        Request::new(Method::PUT, target)
    }

    /// A `PATCH`.
    pub fn patch(target: impl Into<String>) -> Self {
        Request::new(Method::PATCH, target)
    }

    /// A `DELETE`.
    pub fn delete(target: impl Into<String>) -> Self {
        Request::new(Method::DELETE, target)
    }

    /// Adds a header. `Host` and the framing of the body are the client's own; with `Expect: 100-continue` the body waits
    /// to be asked for.
    ///
    /// Panics if name or value is not one: what no client may send goes over a [`Connection`](super::Connection).
    #[track_caller]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let known = HeaderName::from_bytes(name.as_bytes());
        let name = known.unwrap_or_else(|_| panic!("{name:?} is not the name of a header"));
        let value = value.as_ref();
        let known = HeaderValue::from_bytes(value);
        let value =
            known.unwrap_or_else(|_| panic!("{:?} is not the value of a header", String::from_utf8_lossy(value)));
        self.headers.push((name, value));
        self
    }

    /// Gives it a body, sent with its length.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Whole(body.into());
        self
    }

    /// Gives it a body of JSON.
    ///
    /// Panics if the value has no form in JSON.
    #[track_caller]
    pub fn json(self, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_else(|error| panic!("the body has no form in JSON: {error}"));
        self.header("content-type", "application/json").body(text)
    }

    /// Gives it a body whose length is not told: each piece goes as a chunk of its own. More can follow in an
    /// [`Exchange`](super::Exchange). Empty pieces are left out, since an empty chunk is a body's end.
    pub fn pieces<P: Into<Bytes>>(mut self, pieces: impl IntoIterator<Item = P>) -> Self {
        self.body = Body::Pieces(pieces.into_iter().map(Into::into).collect());
        self
    }

    /// Whether the body waits until the server asks for it.
    pub(super) fn expects(&self) -> bool {
        let expects =
            |(name, value): &(HeaderName, HeaderValue)| name == http::header::EXPECT && value == "100-continue";
        !matches!(self.body, Body::None) && self.headers.iter().any(expects)
    }
}

impl From<&str> for Request {
    fn from(target: &str) -> Self {
        Request::get(target)
    }
}

impl From<String> for Request {
    fn from(target: String) -> Self {
        Request::get(target)
    }
}

/// `POST /items`: what a failure calls it.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.headers.iter().try_for_each(|(name, value)| write!(f, "\n{name}: {value:?}"))?;
        match &self.body {
            Body::None => Ok(()),
            Body::Whole(body) => write!(f, "\n\n{} bytes", body.len()),
            Body::Pieces(pieces) => write!(f, "\n\n{} pieces", pieces.len()),
        }
    }
}
