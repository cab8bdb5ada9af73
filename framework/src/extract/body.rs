//! Extractors that wait for the whole body, up to the route's limit.

use bytes::Bytes;
use http::StatusCode;
#[cfg(doc)]
use platform::Chunk;

use super::{FromRequest, Rejection};
use crate::request::{Collected, Request};

/// The request itself.
impl FromRequest for Request {
    async fn from_request(request: Request) -> Result<Self, Rejection> {
        Ok(request)
    }

    #[inline]
    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        Ok(Ok(request))
    }
}

/// The whole body. If it came in one piece and is large, it stays where it was received, which is not used for anything else as
/// long as the bytes are held: [`Chunk::share`] says when. Otherwise it is copied once out of the receive buffers. Whoever keeps
/// bodies for long copies them.
impl FromRequest for Bytes {
    async fn from_request(mut request: Request) -> Result<Self, Rejection> {
        Ok(match request.collect().await? {
            Collected::Chunk(chunk) => chunk.share(),
            Collected::Vec(bytes) => bytes.into(),
        })
    }

    #[inline]
    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        request.at_once(Self::from_request)
    }
}

/// The whole body as text; it must be UTF-8.
impl FromRequest for String {
    async fn from_request(mut request: Request) -> Result<Self, Rejection> {
        let body = request.collect().await?;
        String::from_utf8(body.into_vec()).map_err(|error| {
            let what = format!("the body is not UTF-8 from byte {} on", error.utf8_error().valid_up_to());
            request.refuse(StatusCode::BAD_REQUEST, what, "Send text as UTF-8.")
        })
    }

    #[inline]
    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        request.at_once(Self::from_request)
    }
}

impl Collected {
    fn into_vec(self) -> Vec<u8> {
        match self {
            Collected::Chunk(chunk) => chunk.to_vec(),
            Collected::Vec(bytes) => bytes,
        }
    }
}
