//! [`Measure`]: what is known about an exchange while it runs, and what is done when it ends: count, time, log.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use net::{Reply, Response};
use pin_project_lite::pin_project;
use shards::{Pooled, Shard};

use crate::caught::{self, Panic};
use crate::error::Chain;
use crate::layers::X_REQUEST_ID;
use crate::metrics::MethodLabel;
use crate::respond::failure;
use crate::route::Route;

/// One exchange in hand.
#[derive(Clone)]
pub(crate) struct Measure {
    pub(crate) route: Rc<Route>,
    begun: Begun,
}

/// When an exchange began, and by which method.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    method: MethodLabel,
    turn: u64,
    at: Instant,
}

/// Counts an exchange among the active ones while it lives.
struct Active(Measure);

/// Lets something answer on the spot or begin to, and measures what it answers on the spot.
#[inline]
pub(crate) fn call(route: &Rc<Route>, begun: Begun, call: impl FnOnce() -> Reply) -> Reply {
    let active = &route.site.metrics.active;
    active.add(1);
    let mut reply = caught::call_or(call, |panic| Reply::ready(&route.site.shard, || route.panicked(panic)));
    if let Reply::Ready(response) = &mut reply {
        route.ended(begun, response);
    }
    // What takes its time counts for itself.
    active.subtract(1);
    reply
}

impl Begun {
    /// An exchange begins at the time of this turn.
    #[inline]
    pub(crate) fn now(shard: &Shard, method: MethodLabel) -> Self {
        Begun { method, turn: shard.turn_number(), at: shard.now() }
    }
}

impl Measure {
    #[inline]
    pub(crate) fn new(route: &Rc<Route>, begun: Begun) -> Self {
        Measure { route: Rc::clone(route), begun }
    }

    /// From here on the exchange is measured by the layers around, and not where it is answered.
    pub(crate) fn go_inside(&mut self) {
        self.begun.turn = INSIDE;
    }

    /// An answer that takes its time, in a slot leased from the shard.
    #[inline(always)]
    pub(crate) fn later<F: Future<Output = Response> + 'static>(self, answer: impl FnOnce() -> F) -> Reply {
        let shard = self.route.site.shard.clone();
        if self.begun.turn == INSIDE {
            return Reply::later(&shard, answer);
        }
        let active = Active::new(self);
        Reply::Later(shard.lease_with(|| Later { answer: answer(), active }))
    }
}

pin_project! {
    /// An answer that takes its time. Not an async block, which would have room for it twice: as what it was given and as what it runs.
    struct Later<F> {
        #[pin]
        answer: F,
        active: Active,
    }
}

impl<F: Future<Output = Response>> Future for Later<F> {
    type Output = Pooled<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pooled<Response>> {
        let this = self.project();
        let Active(Measure { route, begun }) = this.active;
        let shard = &route.site.shard;
        let polled = caught::call(|| this.answer.poll(cx).map(|response| shard.pooled(response)));
        let mut response = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => shard.pooled(route.panicked(panic)),
        };
        route.ended(*begun, &mut response);
        Poll::Ready(response)
    }
}

impl Route {
    #[cold]
    pub(crate) fn panicked(&self, panic: Panic) -> Response {
        self.site.metrics.panics.add(1);
        failure(panic)
    }

    /// The response is known. If it is in the turn that the request came in, as most are, nobody looks at the clock.
    #[inline]
    fn ended(&self, begun: Begun, response: &mut Response) {
        let shard = &self.site.shard;
        match begun.turn == shard.turn_number() {
            true => self.metrics.record_in_turn(begun.method, response.status, shard),
            false => {
                let elapsed = self.site.shard.clock().saturating_duration_since(begun.at);
                self.metrics.record(begun.method, response.status, elapsed);
            }
        }
        if response.cause.is_some() {
            self.log(begun, response);
        }
    }

    #[cold]
    fn log(&self, begun: Begun, response: &mut Response) {
        let Some(cause) = response.cause.take() else { return };
        let (method, route, status) = (begun.method.name(), &*self.pattern, response.status.as_u16());
        let error = Chain(&*cause);
        let request_id = response.headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
        match response.status.is_server_error() {
            true => tracing::error!(method, route, status, request_id, %error, "a request failed"),
            false => tracing::debug!(method, route, status, request_id, %error, "a request was refused"),
        }
    }
}

impl Active {
    fn new(measure: Measure) -> Self {
        measure.route.site.metrics.active.add(1);
        Active(measure)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.route.site.metrics.active.subtract(1);
    }
}

/// The turn of an exchange that layers measure: none that a shard comes to. Not a field of its own, which every request would
/// have to set.
const INSIDE: u64 = u64::MAX;
