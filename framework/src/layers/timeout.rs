//! [`timeout`]: an answer in time, or 503.

use std::rc::Rc;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use net::Response;

use crate::extract::Rejection;
use crate::middleware::Next;
use crate::request::Request;
use crate::respond::Respond;

/// Answers 503 with `Retry-After` if there is no response in time, and drops what has worked on it: tasks in the scope of the
/// request are cancelled with it. Not 504, which a gateway says of another server. A stream that is the response's body has the
/// time that it takes; [`Config::request_time_max`](crate::Config::request_time_max) bounds that too.
pub fn timeout(time: Duration) -> impl AsyncFn(Request, Next) -> Response + 'static {
    async move |request: Request, next: Next| {
        let (shard, route) = (request.shard().clone(), Rc::clone(&request.measure().route));
        match shard.timeout(time, next.run(request)).await {
            Ok(response) => response,
            Err(_) => late(&route.pattern),
        }
    }
}

#[cold]
pub(super) fn late(pattern: &str) -> Response {
    let rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "the answer was not ready in time").at(pattern);
    rejection.remedy("Try again later.").respond().with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}
