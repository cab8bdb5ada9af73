//! Extractors that copy a part of the head, or name where the request is.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use net::Body;
use shards::Shard;

use super::{FromHead, Rejection};
use crate::request::Request;

impl FromHead for Method {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(request.method().clone())
    }
}

/// The request target, parsed.
impl FromHead for Uri {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        request.target().parse().map_err(|error| {
            let what = format!("the request target is not a URI: {error}");
            request.refuse(StatusCode::BAD_REQUEST, what, "Percent-encode what a URI may not hold.")
        })
    }
}

/// A map of all headers: an allocation and a copy of each. [`Request::header`](net::Request::header) reads one
/// where it lies.
impl FromHead for HeaderMap {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let mut map = HeaderMap::with_capacity(request.headers().count());
        for (name, value) in request.headers() {
            // The connection has let through what HTTP admits; the types could only be stricter in what nobody sends.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        Ok(map)
    }
}

/// The shard that runs this handler.
impl FromHead for Shard {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(request.shard().clone())
    }
}

/// The body as a stream of chunks, without a limit. It is taken: a second one is empty.
impl FromHead for Body {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(request.take_body())
    }
}
