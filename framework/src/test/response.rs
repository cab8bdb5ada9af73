//! [`Response`]: what a client has received, to be looked at. A look that does not find what it says shows the response.

use std::fmt;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use crate::limits::SHOWN_BYTES_MAX;

/// A response, whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// What was asked: `GET /hello`.
    pub(super) asked: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
}

impl Response {
    pub(super) fn new(asked: String) -> Self {
        let (headers, trailers) = Default::default();
        Response { asked, status: StatusCode::OK, headers, body: Vec::new(), trailers }
    }

    /// The status; it compares with numbers.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The response itself, which must have this status.
    ///
    /// ```
    /// # let server = shardwise::test::run(shardwise::App::new());
    /// assert!(server.get("/nowhere").expect(404).text().contains("nothing is served at /nowhere"));
    /// ```
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert!(self.status.as_u16() == status, "the status should be {status}:\n{self:?}");
        self
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The value of a header, which must be there once and be text.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            panic!("there should be one header {name}:\n{self:?}");
        };
        value.to_str().unwrap_or_else(|_| panic!("the header {name} should be text:\n{self:?}"))
    }

    /// The trailers: headers that came after a chunked body.
    pub fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body, which must be text.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.body) {
            Ok(text) => text,
            Err(error) => panic!("the body should be text, but {error}:\n{self:?}"),
        }
    }

    /// The value in the body, which must be JSON of that shape.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("the body should be JSON of another shape ({error}):\n{self:?}"),
        }
    }
}

/// As people read it: what was asked, then the response as it came, a long body cut short.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.asked, self.status)?;
        let show = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        self.headers.iter().try_for_each(|(name, value)| write!(f, "\n{name}: {}", show(value)))?;
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES_MAX)];
        write!(f, "\n\n{}", String::from_utf8_lossy(shown))?;
        match self.body.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "… and {more} bytes more"),
        }
    }
}
