//! [`Rejection`]: why a request was not admitted to its handler, in words for the one who sent it.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode};
use net::{BodyError, Response};

use crate::respond::Respond;

/// A refusal with a clear text: what is wrong, where, and what to do. It is an answer, and an error for `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: StatusCode,
    what: Cow<'static, str>,
    place: Option<String>,
    remedy: Option<Cow<'static, str>>,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Rejection {
    /// A refusal with this status because of `what`: a clause without a capital or a full stop.
    pub fn new(status: StatusCode, what: impl Into<Cow<'static, str>>) -> Self {
        Rejection { status, what: what.into(), place: None, remedy: None, fields: Vec::new() }
    }

    /// Says where it happened, such as the route.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Says what to do about it, in a whole sentence.
    pub fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds a header line, such as one that says what would have been right.
    pub fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl Respond for Rejection {
    fn respond(self) -> Response {
        let mut response = (self.status, format!("{self}\n")).respond();
        self.fields.into_iter().for_each(|(name, value)| response.headers.append(name, value));
        response
    }
}

impl From<BodyError> for Rejection {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TimedOut => StatusCode::REQUEST_TIMEOUT,
            BodyError::Malformed(error) => error.status(),
            _ => StatusCode::BAD_REQUEST,
        };
        Rejection::new(status, error.to_string())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejection { status, what, place, remedy, .. } = self;
        f.write_str(status.canonical_reason().unwrap_or("Refused"))?;
        if let Some(place) = place {
            write!(f, " at {place}")?;
        }
        write!(f, ": {what}.")?;
        remedy.iter().try_for_each(|remedy| write!(f, " {remedy}"))
    }
}

impl std::error::Error for Rejection {}
