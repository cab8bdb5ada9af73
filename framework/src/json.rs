//! [`Json`]: as an extractor and as an answer.
//!
//! An answer is written straight into a pooled chunk, which the kernel then sends from; it touches the heap only if it
//! outgrows the largest chunk. A body that came in one chunk is parsed where it lies.

use std::io;

use http::StatusCode;
use net::{Content, Response};
use platform::limits::CHUNK_BYTES_MAX;
use platform::{Buf, ChunkMut, Pool};
use proto::head::Known;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shards::Shard;

use crate::extract::{FromRequest, Rejection};
use crate::limits::JSON_CHUNK_BYTES;
use crate::request::Request;
use crate::respond::{JSON, Respond, failure};

/// JSON. As the last argument of a handler it reads the body; as an answer it is `application/json`.
///
/// ```
/// use shardwise::prelude::*;
///
/// async fn double(Json(number): Json<u32>) -> Json<u32> {
///     Json(number * 2)
/// }
///
/// let server = shardwise::test::run(App::new().post("/double", double));
/// let request = shardwise::test::Request::post("/double");
/// assert_eq!(server.send(request.clone().json(&21)).json::<u32>(), 42);
/// assert_eq!(server.send(request.json(&"many")).status(), 400);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> Respond for Json<T> {
    fn respond(self) -> Response {
        let shard = Shard::current();
        let mut out = Output::new(shard.as_ref().map(Shard::pool));
        match serde_json::to_writer(&mut out, &self.0) {
            Ok(()) => Response::with_type(&JSON, Content::Full(out.finish())),
            Err(error) => failure(error),
        }
    }
}

impl<T: DeserializeOwned> FromRequest for Json<T> {
    async fn from_request(mut request: Request) -> Result<Self, Rejection> {
        let content_type = request.known(Known::ContentType);
        if !content_type.is_some_and(is_json) {
            let sent = match content_type {
                Some(text) => format!("is `{}`", String::from_utf8_lossy(text)),
                None => "is missing".to_owned(),
            };
            let what = format!("the content type of the body {sent}");
            let remedy = "Send JSON, with `Content-Type: application/json`.";
            return Err(request.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, remedy));
        }
        let body = request.collect().await?;
        serde_json::from_slice(&body).map(Json).map_err(|error| {
            let (what, remedy) = match error.classify() {
                serde_json::error::Category::Data => ("the JSON in the body does not fit", "Send what it asks for."),
                _ => ("the body is not JSON", "Send one whole JSON document."),
            };
            request.refuse(StatusCode::BAD_REQUEST, format!("{what}: {error}"), remedy)
        })
    }

    #[inline]
    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        request.at_once(Self::from_request)
    }
}

/// `application/json` or anything that says of itself that it is JSON (RFC 6839), whatever its parameters.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let is_structured = |suffix: &[u8]| {
        let at = essence.len().checked_sub(suffix.len());
        at.is_some_and(|at| essence[at..].eq_ignore_ascii_case(suffix))
    };
    essence.eq_ignore_ascii_case(b"application/json") || is_structured(b"+json")
}

/// Where an answer is written: a pooled chunk that is exchanged for a larger one when it is full, and in the end a vector.
struct Output<'a> {
    pool: Option<&'a Pool>,
    chunk: Option<ChunkMut>,
    vec: Vec<u8>,
}

impl<'a> Output<'a> {
    fn new(pool: Option<&'a Pool>) -> Self {
        Output { pool, chunk: pool.and_then(|pool| pool.lease(JSON_CHUNK_BYTES)), vec: Vec::new() }
    }

    fn finish(self) -> Buf {
        match self.chunk {
            Some(chunk) => chunk.freeze().into(),
            None => self.vec.into(),
        }
    }

    /// Moves to the next larger chunk that has room for `count` more bytes, or to the heap.
    #[cold]
    fn grow(&mut self, count: usize) {
        let Some(full) = self.chunk.take() else { return };
        let bytes = full.len() + count;
        let next = bytes.max(full.capacity() + 1);
        let larger = if next <= CHUNK_BYTES_MAX { self.pool.and_then(|pool| pool.lease(next)) } else { None };
        match larger {
            Some(mut larger) => {
                larger.put(&full);
                self.chunk = Some(larger);
            }
            None => {
                self.vec.reserve(bytes * 2);
                self.vec.extend_from_slice(&full);
            }
        }
    }
}

impl io::Write for Output<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.as_ref().is_some_and(|chunk| chunk.room() < bytes.len()) {
            self.grow(bytes.len());
        }
        match &mut self.chunk {
            Some(chunk) => chunk.put(bytes),
            None => self.vec.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
