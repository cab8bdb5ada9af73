//! [`Redirect`]: the answer is elsewhere.

use std::fmt;

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use net::Response;

use super::{Respond, failure};

/// Sends the client to another place, which is a URI or a path: what no URI may hold is percent-encoded by whoever makes it.
/// A place that is no URI is a mistake of the handler's, answered 500 with the reason in the log.
///
/// A place that a client has named is to be looked at before: `//elsewhere` is another host.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::Redirect;
///
/// let app = App::new()
///     .post("/orders", || Redirect::to("/orders/7"))
///     .get("/old/{id}", |Path(id): Path<u32>| Redirect::permanent(format!("/new/{id}")))
///     .get("/lost", || Redirect::to("/not a path"));
///
/// let server = shardwise::test::run(app);
/// assert_eq!(server.post("/orders", "tea").expect(303).header("location"), "/orders/7");
/// assert_eq!(server.get("/old/7").expect(308).header("location"), "/new/7");
/// server.get("/lost").expect(500);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    place: String,
}

impl Redirect {
    /// 303: the answer to this request is had from there by `GET`; what a form is answered with.
    pub fn to(place: impl Into<String>) -> Self {
        Redirect { status: StatusCode::SEE_OTHER, place: place.into() }
    }

    /// 307: the same request, body and all, is to be made there this time.
    pub fn temporary(place: impl Into<String>) -> Self {
        Redirect { status: StatusCode::TEMPORARY_REDIRECT, place: place.into() }
    }

    /// 308: the same request is to be made there from now on.
    pub fn permanent(place: impl Into<String>) -> Self {
        Redirect { status: StatusCode::PERMANENT_REDIRECT, place: place.into() }
    }
}

impl Respond for Redirect {
    fn respond(self) -> Response {
        let Redirect { status, place } = self;
        match HeaderValue::try_from(&place) {
            Ok(location) if is_reference(place.as_bytes()) => Response::new(status).with_header(LOCATION, location),
            _ => failure(NoPlace(place)),
        }
    }
}

/// Whether these are characters of a URI or a part of one (RFC 3986 section 2), and its percent signs those of an encoding.
fn is_reference(text: &[u8]) -> bool {
    let is_encoded = |at: usize| text.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    let is_admitted = |(at, byte): (usize, &u8)| match byte {
        b'%' => is_encoded(at),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    };
    !text.is_empty() && text.iter().enumerate().all(is_admitted)
}

/// The mistake, for the log.
#[derive(Debug)]
struct NoPlace(String);

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a redirect leads to {:?}, which is no URI: percent-encode what a URI may not hold", self.0)
    }
}

impl std::error::Error for NoPlace {}
