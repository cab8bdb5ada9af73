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

/// By what an exchange is measured.
#[derive(Clone)]
pub(crate) struct Measure {
    pub(crate) route: Rc<Route>,
    method: MethodLabel,
    /// Whether layers around measure it, and not the place where it is answered.
    is_inside: bool,
}

/// An exchange that takes its time, and is counted among the active ones while this lives.
struct Active {
    route: Rc<Route>,
    method: MethodLabel,
    /// The turn that its request came in, and that turn's time.
    turn: u64,
    begun: Instant,
}

/// Lets something answer on the spot or begin to, and measures what it answers on the spot.
#[inline]
pub(crate) fn call(route: &Rc<Route>, method: MethodLabel, call: impl FnOnce() -> Reply) -> Reply {
    let active = &route.site.metrics.active;
    active.add(1);
    let answered = |mut reply| {
        if let Reply::Ready(response) = &mut reply {
            route.ended_in_turn(method, response);
        }
        reply
    };
    let panicked = |panic| answered(Reply::ready(&route.site.shard, || route.panicked(panic)));
    let reply = caught::call_or(|| answered(call()), panicked);
    // What takes its time counts for itself.
    active.subtract(1);
    reply
}

impl Measure {
    #[inline]
    pub(crate) fn new(route: &Rc<Route>, method: MethodLabel) -> Self {
        Measure { route: Rc::clone(route), method, is_inside: false }
    }

    /// The shard that serves it.
    pub(crate) fn shard(&self) -> &Shard {
        &self.route.site.shard
    }

    /// From here on the exchange is measured by the layers around, and not where it is answered.
    pub(crate) fn go_inside(&mut self) {
        self.is_inside = true;
    }

    /// An answer that takes its time, in a slot leased from the shard; said in the turn that the request came in.
    #[inline(always)]
    pub(crate) fn later<F: Future<Output = Response> + 'static>(self, answer: impl FnOnce() -> F) -> Reply {
        let shard = self.route.site.shard.clone();
        if self.is_inside {
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
        let active: &Active = this.active;
        let shard = &active.route.site.shard;
        let polled = caught::call(|| this.answer.poll(cx).map(|response| shard.pooled(response)));
        let mut response = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => shard.pooled(active.route.panicked(panic)),
        };
        active.ended(&mut response);
        Poll::Ready(response)
    }
}

impl Route {
    #[cold]
    pub(crate) fn panicked(&self, panic: Panic) -> Response {
        self.site.metrics.panics.add(1);
        failure(panic)
    }

    /// The response is known in the turn that the request came in, as most are: nobody looks at the clock.
    #[inline]
    fn ended_in_turn(&self, method: MethodLabel, response: &mut Response) {
        self.metrics.record_in_turn(method, response.status, &self.site.shard);
        if response.cause.is_some() {
            self.log(method, response);
        }
    }

    #[cold]
    fn log(&self, method: MethodLabel, response: &mut Response) {
        let Some(cause) = response.cause.take() else { return };
        let (method, route, status) = (method.name(), &*self.pattern, response.status.as_u16());
        let error = Chain(&*cause);
        let request_id = response.headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
        match response.status.is_server_error() {
            true => tracing::error!(method, route, status, request_id, %error, "a request failed"),
            false => tracing::debug!(method, route, status, request_id, %error, "a request was refused"),
        }
    }
}

impl Active {
    fn new(Measure { route, method, .. }: Measure) -> Self {
        route.site.metrics.active.add(1);
        let (turn, begun) = (route.site.shard.turn_number(), route.site.shard.now());
        Active { route, method, turn, begun }
    }

    /// The response is known.
    fn ended(&self, response: &mut Response) {
        let (route, shard) = (&self.route, &self.route.site.shard);
        if self.turn == shard.turn_number() {
            return route.ended_in_turn(self.method, response);
        }
        route.metrics.record(self.method, response.status, shard.clock().saturating_duration_since(self.begun));
        if response.cause.is_some() {
            route.log(self.method, response);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.route.site.metrics.active.subtract(1);
    }
}
