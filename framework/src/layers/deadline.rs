//! [`deadline`]: the time that a client says is left for its request, as the deadline of the work on it.

use std::rc::Rc;
use std::time::Duration;

use net::Response;

use super::timeout::late;
use crate::middleware::Next;
use crate::request::Request;

/// Gives a request the time that its client says is left for it ([`Request::time_left`](net::Request::time_left)), and no more
/// than `time_max`; that much also if it says nothing. The work is in a scope with that deadline, which the `Client` tells the
/// next server. When it has passed, what works on the answer is dropped, and it is 503 as of
/// [`timeout`](super::timeout()); a body that comes from another server ends with it too.
pub fn deadline(time_max: Duration) -> impl AsyncFn(Request, Next) -> Response + 'static {
    async move |request: Request, next: Next| {
        let time = request.time_left().map_or(time_max, |time| time.min(time_max));
        let (shard, route) = (request.shard().clone(), Rc::clone(&request.measure().route));
        let Ok(scope) = shard.current_scope().and_then(|scope| scope.child("deadline")) else {
            // The shard has as many scopes as it admits: others keep the time.
            return next.run(request).await;
        };
        let scope = scope.with_deadline(shard.now() + time);
        match scope.handle().run(next.run(request)).await {
            Ok(response) => {
                // Its body may still come in it.
                scope.detach();
                response
            }
            Err(_) => late(&route.pattern),
        }
    }
}
