//! [`offload`]: a handler whose body runs on the runtime's pool of threads.
//!
//! The one idea: what is of the shard stays there. The arguments are taken from the request on the shard, travel to a thread,
//! and the function's value comes back to be made a response on the shard. So only these must be `Send`.

use std::error::Error;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use net::{Reply, Response};
use shards::OffloadError;

use crate::extract::{FromHead, FromRequest, Rejection, States, Unmet};
use crate::handler::{Handler, of_body, of_head, take};
use crate::measure::Measure;
use crate::request::Request;
use crate::respond::Respond;

/// A handler that blocks, or computes for long: a plain function that runs on a thread of the runtime's pool while the
/// shard serves others. See [`Shard::offload`](crate::Shard::offload).
///
/// Its arguments are extractors, as of any [`Handler`], and must be `Send`, like what it returns; the function itself is
/// shared by the threads, so what it captures must be `Sync`. An error that it returns must be `Send` too: a
/// [`Rejection`](crate::Rejection), a tuple of status and text, a type of one's own, but not [`Error`](crate::Error), which
/// may hold what is of the shard.
///
/// With as many jobs waiting as may, the answer is 503 with `Retry-After`. A panic answers 500. When the client has left,
/// or the request takes too long, the job is cancelled: it is not begun, or sees [`is_cancelled`](crate::is_cancelled).
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::offload;
///
/// fn digits(Path(count): Path<u32>) -> String {
///     (0..count).map(|number| char::from(b'0' + (number * number % 10) as u8)).collect() // imagine it takes long
/// }
/// let server = shardwise::test::run(App::new().get("/digits/{count}", offload(digits)));
/// assert_eq!(server.get("/digits/5").text(), "01496");
/// ```
pub fn offload<F>(handler: F) -> Offloaded<F> {
    Offloaded(Arc::new(handler))
}

/// A handler that runs on the pool's threads; made by [`offload`].
#[derive(Debug)]
pub struct Offloaded<F>(Arc<F>);

/// Shape: a function of the head.
#[derive(Debug)]
pub struct Beside<Types>(Types);
/// Shape: a function whose last argument waits for the body.
#[derive(Debug)]
pub struct BesideOfBody<Types>(Types);

/// Lets `job` run on a thread as long as the request lives, and makes its value the response.
async fn answer<R: Respond + Send + 'static>(measure: Measure, job: impl FnOnce() -> R + Send + 'static) -> Response {
    let shard = &measure.route.site.shard;
    let request = match shard.current_scope() {
        Ok(request) => request,
        Err(error) => return unavailable(&measure, &error),
    };
    match request.run(shard.offload(job)).await {
        Ok(Ok(value)) => value.respond(),
        // Goes on here as a panic of any handler: answered, counted and logged as such.
        Ok(Err(OffloadError::Panicked(payload))) => resume_unwind(payload),
        Ok(Err(error)) => unavailable(&measure, &error),
        // Mostly since the client has left, and reads no answer.
        Err(cancelled) => unavailable(&measure, &cancelled),
    }
}

/// An overload, or the end: another time, or another server, may do better.
fn unavailable(measure: &Measure, error: &dyn Error) -> Response {
    let rejection = Rejection::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).at(&*measure.route.pattern);
    rejection.remedy("Try again later.").respond().with_header(RETRY_AFTER, OFFLOAD_RETRY_AFTER)
}

/// Seconds after which a client may try again: by then a queue of short jobs has been worked off.
const OFFLOAD_RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

macro_rules! offloaded_of_head {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)*> Handler<Beside<(R, $($argument,)*)>> for Offloaded<F>
        where
            F: Fn($($argument,)*) -> R + Send + Sync + 'static,
            R: Respond + Send + 'static,
            $($argument: FromHead + Send + 'static,)*
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let (handler, measure) = (Arc::clone(&self.0), request.measure().clone());
                drop(request);
                measure.clone().later(|| answer(measure, move || handler($($argument,)*)))
            }

            fn require(_states: &States) -> Result<(), Unmet> {
                $($argument::require(_states)?;)*
                Ok(())
            }
        }
    };
}

macro_rules! offloaded_of_body {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)* Last> Handler<BesideOfBody<(R, $($argument,)* Last)>> for Offloaded<F>
        where
            F: Fn($($argument,)* Last) -> R + Send + Sync + 'static,
            R: Respond + Send + 'static,
            $($argument: FromHead + Send + 'static,)*
            Last: FromRequest + Send + 'static,
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let (handler, measure) = (Arc::clone(&self.0), request.measure().clone());
                measure.clone().later(|| async move {
                    let last = match Last::from_request(request).await {
                        Ok(last) => last,
                        Err(rejection) => return rejection.respond(),
                    };
                    answer(measure, move || handler($($argument,)* last)).await
                })
            }

            fn require(states: &States) -> Result<(), Unmet> {
                $($argument::require(states)?;)*
                Last::require(states)
            }
        }
    };
}

of_head!(offloaded_of_head);

of_body!(offloaded_of_body);

#[cfg(test)]
mod tests;
