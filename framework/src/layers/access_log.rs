//! [`access_log`]: one line for each exchange.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use http::Method;
use net::Response;
use shards::{Shard, TraceContext};
use tracing::Level;

use super::{RequestId, X_REQUEST_ID};
use crate::middleware::Next;
use crate::request::Request;
use crate::route::Route;

/// Writes one `tracing` line at the level `info` for each exchange, when its response is known, or when it is dropped before:
/// its connection is gone, or a time limit further out has passed. Its fields, left out where there is nothing to say:
///
/// | field | says |
/// |---|---|
/// | `method`, `path` | what was asked for; without the query, which may hold what is not for logs |
/// | `route` | the route's path as it was declared, empty if none was found |
/// | `status` | how it was answered |
/// | `bytes` | the length of the body, if it is known before it is sent |
/// | `time` | from when the layer was asked until the response was there |
/// | `peer` | the client's address and port |
/// | `request_id` | of [`request_id`](super::request_id), whether it stands further out or further in |
/// | `trace` | the client's `traceparent` |
///
/// If lines of that level go nowhere it costs next to nothing.
pub fn access_log() -> impl AsyncFn(Request, Next) -> Response + 'static {
    async |request: Request, next: Next| {
        if !tracing::enabled!(Level::INFO) {
            return next.run(request).await;
        }
        let line = Line::new(&request);
        let response = next.run(request).await;
        line.answered(&response);
        response
    }
}

/// A line that is written when this is dropped, at the latest.
struct Line {
    shard: Shard,
    begun: Instant,
    method: Method,
    path: String,
    route: Rc<Route>,
    peer: Option<SocketAddr>,
    id: Option<RequestId>,
    trace: Option<TraceContext>,
    is_written: bool,
}

impl Line {
    fn new(request: &Request) -> Self {
        let shard = request.shard().clone();
        Line {
            begun: shard.clock(),
            shard,
            method: request.method().clone(),
            path: request.path().to_owned(),
            route: Rc::clone(&request.measure().route),
            // Asked now: when the exchange has ended, the connection may have too.
            peer: request.peer().remote(),
            id: request.extension::<RequestId>().cloned(),
            trace: request.trace(),
            is_written: false,
        }
    }

    fn answered(mut self, response: &Response) {
        self.is_written = true;
        let answered = response.headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
        tracing::info!(
            method = self.method.as_str(),
            path = self.path,
            route = &*self.route.pattern,
            status = response.status.as_u16(),
            bytes = response.content.length(),
            time = debug(self.shard.clock() - self.begun),
            peer = self.peer.map(display),
            request_id = self.id.as_ref().map(RequestId::as_str).or(answered),
            trace = self.trace.map(display),
            "a request was answered",
        );
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_written {
            return;
        }
        tracing::info!(
            method = self.method.as_str(),
            path = self.path,
            route = &*self.route.pattern,
            time = debug(self.shard.clock() - self.begun),
            peer = self.peer.map(display),
            request_id = self.id.as_ref().map(RequestId::as_str),
            trace = self.trace.map(display),
            "a request was given up",
        );
    }
}
