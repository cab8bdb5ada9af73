//! [`Measure`]: what is known about an exchange while it runs, and what is done when it ends: count, time, log.

use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use http::Method;
use net::{Reply, Response};

use crate::caught::{self, Panic};
use crate::error::Chain;
use crate::respond::failure;
use crate::route::Route;

/// One exchange in hand.
#[derive(Clone)]
pub(crate) struct Measure {
    pub(crate) route: Rc<Route>,
    method: Method,
    begun: Instant,
}

/// Counts an exchange among the active ones while it lives.
struct Active(Rc<Route>);

impl Measure {
    /// An exchange that begins now, at the time of this turn.
    pub(crate) fn new(route: &Rc<Route>, method: Method) -> Self {
        Measure { route: Rc::clone(route), method, begun: route.site.shard.now() }
    }

    /// Calls what answers on the spot or begins to.
    #[inline]
    pub(crate) fn call(self, call: impl FnOnce() -> Reply) -> Reply {
        let active = Active::new(&self.route);
        match caught::call(call) {
            Ok(Reply::Ready(mut response)) => {
                self.ended(&mut response);
                Reply::Ready(response)
            }
            // It counts for itself.
            Ok(later) => {
                drop(active);
                later
            }
            Err(panic) => {
                let mut response = self.panicked(panic);
                self.ended(&mut response);
                Reply::Ready(response)
            }
        }
    }

    /// An answer that takes its time, in a slot leased from the shard.
    pub(crate) fn later(self, answer: impl Future<Output = Response> + 'static) -> Reply {
        let shard = self.route.site.shard.clone();
        let active = Active::new(&self.route);
        Reply::Later(shard.lease(async move {
            let _active = active;
            let mut response = match caught::run(answer).await {
                Ok(response) => response,
                Err(panic) => self.panicked(panic),
            };
            self.ended(&mut response);
            response
        }))
    }

    #[cold]
    fn panicked(&self, panic: Panic) -> Response {
        self.route.site.metrics.panics.add(1);
        failure(panic)
    }

    /// The response is known: 30 ns to read the clock, some 10 to count and record.
    #[inline]
    fn ended(&self, response: &mut Response) {
        let elapsed = self.route.site.clock().saturating_duration_since(self.begun);
        self.route.metrics.record(&self.method, response.status, elapsed);
        if response.cause.is_some() {
            self.log(response);
        }
    }

    #[cold]
    fn log(&self, response: &mut Response) {
        let Some(cause) = response.cause.take() else { return };
        let (method, route, status) = (&self.method, &*self.route.pattern, response.status.as_u16());
        let error = Chain(&*cause);
        match response.status.is_server_error() {
            true => tracing::error!(%method, route, status, %error, "a request failed"),
            false => tracing::debug!(%method, route, status, %error, "a request was refused"),
        }
    }
}

impl Active {
    fn new(route: &Rc<Route>) -> Self {
        route.site.metrics.active.add(1);
        Active(Rc::clone(route))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.site.metrics.active.subtract(1);
    }
}
