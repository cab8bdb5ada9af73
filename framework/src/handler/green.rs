//! [`green`]: plain functions that wait, as handlers.
//!
//! The one idea: a green thread is a future like any other, so it runs within the connection's own task, in the slot that an
//! async handler's future would have. Arguments are taken before there is a stack: a request that is rejected costs none.

use std::error::Error;
use std::rc::Rc;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use net::{Reply, Response};
use shards::{Green, Shard};

use super::{Handler, of_body, of_head};
use crate::extract::{FromHead, FromRequest, Rejection, States, Unmet};
use crate::request::Request;
use crate::respond::Respond;

/// Makes a handler of a plain function that waits: it runs in a green thread of its own, where
/// [`.wait()`](shards::Wait::wait) stands in the place of `.await`. Its arguments and its result are those of any
/// [`Handler`].
///
/// ```
/// use shardwise::prelude::*;
/// use std::time::Duration;
///
/// fn slow(Path(name): Path<String>, shard: Shard) -> Result<String> {
///     for _ in 0..3 {
///         shard.sleep(Duration::from_millis(100)).wait()?; // other requests are answered meanwhile
///     }
///     Ok(format!("hello at last, {name}"))
/// }
/// let app = App::new().get("/slow/{name}", green(slow)).post("/count", green(|text: String| text.len().to_string()));
///
/// let server = shardwise::test::run(app);
/// assert_eq!(server.get("/slow/ada").text(), "hello at last, ada");
/// assert_eq!(server.post("/count", "four").text(), "4");
/// ```
///
/// As many run at once on each shard as [`Builder::green_threads_max`](crate::Builder::green_threads_max) says; a request
/// beyond is answered 503. A handler that uses more than
/// [`Builder::green_stack_bytes`](crate::Builder::green_stack_bytes) of its stack ends the process. When the client has gone,
/// or the request takes too long, each wait is an error, which `?` passes on; a handler that waits on all the same, in
/// [`shielded`](crate::models::shielded), is unwound there.
pub fn green<F>(handler: F) -> GreenHandler<F> {
    GreenHandler(handler)
}

/// A plain function that waits; see [`green`].
#[derive(Clone, Copy, Debug)]
pub struct GreenHandler<F>(F);

/// Shape: a plain function of the head, in a green thread.
#[derive(Debug)]
pub struct GreenOfHead<Types>(Types);
/// Shape: a plain function whose last argument waits for the body, in a green thread.
#[derive(Debug)]
pub struct GreenOfBody<Types>(Types);

macro_rules! green_of_head {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)*> Handler<GreenOfHead<(R, $($argument,)*)>> for GreenHandler<F>
        where
            F: Fn($($argument,)*) -> R + 'static,
            R: Respond,
            $($argument: FromHead + 'static,)*
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let handler = Rc::clone(self);
                let (measure, shard) = (request.measure().clone(), request.shard().clone());
                drop(request);
                match start(&shard, move || (handler.0)($($argument,)*).respond()) {
                    Ok(green) => measure.later(|| green),
                    Err(error) => Reply::ready(&shard, || refused(error)),
                }
            }

            fn require(_states: &States) -> Result<(), Unmet> {
                $($argument::require(_states)?;)*
                Ok(())
            }
        }
    };
}

macro_rules! green_of_body {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)* Last> Handler<GreenOfBody<(R, $($argument,)* Last)>> for GreenHandler<F>
        where
            F: Fn($($argument,)* Last) -> R + 'static,
            R: Respond,
            $($argument: FromHead + 'static,)*
            Last: FromRequest + 'static,
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let handler = Rc::clone(self);
                let (measure, shard) = (request.measure().clone(), request.shard().clone());
                measure.later(|| async move {
                    let last = match Last::from_request(request).await {
                        Ok(last) => last,
                        Err(rejection) => return rejection.respond(),
                    };
                    match start(&shard, move || (handler.0)($($argument,)* last).respond()) {
                        Ok(green) => green.await,
                        Err(error) => refused(error),
                    }
                })
            }

            fn require(states: &States) -> Result<(), Unmet> {
                $($argument::require(states)?;)*
                Last::require(states)
            }
        }
    };
}

of_head!(green_of_head);

of_body!(green_of_body);

/// A green thread in the scope of the request that is being polled.
///
/// Errors: there is no stack, or no scope, for it now.
fn start(shard: &Shard, body: impl FnOnce() -> Response + 'static) -> Result<Green<Response>, Box<dyn Error>> {
    Ok(Green::new(&shard.current_scope()?, body)?)
}

/// 503. Why goes to the log.
#[cold]
fn refused(error: Box<dyn Error>) -> Response {
    let rejection =
        Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "as many requests are under way here as are admitted");
    let mut response = rejection.remedy("Try again later.").respond();
    response.headers.set(RETRY_AFTER, HeaderValue::from_static("1"));
    response.cause = Some(error);
    response
}

#[cfg(test)]
mod tests;
