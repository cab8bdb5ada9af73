//! [`Middleware`]: functions around handlers, and [`Next`], by which they go on inward.
//!
//! The one idea: a layered route is an endpoint like any other, which runs its middlewares one within the other and the
//! handler in the middle, each in a slot leased from the shard. So a route without layers knows nothing of them, and one with
//! layers allocates nothing.

use std::rc::Rc;

use net::{Reply, Response};
use shards::Pooled;

use crate::caught;
use crate::extract::{FromHead, States, Unmet};
use crate::handler::{Endpoint, take};
use crate::request::Request;
use crate::respond::Respond;

/// An async function around handlers: it is given a request and what comes [`Next`], and answers.
///
/// It may change the request before, the response after, or answer by itself. Extractors of the head ([`FromHead`]) may come
/// before its two arguments; one that does not fit is answered with its rejection, and nothing further in is asked. It returns
/// anything that can [`Respond`]. Given to [`App::layer`](crate::App::layer), which says where it applies. `Shape` tells the
/// kinds of functions apart and is always inferred.
///
/// ```
/// use shardwise::prelude::*;
///
/// #[derive(Clone)]
/// struct Key(&'static str);
///
/// async fn guard(State(key): State<Key>, request: Request, next: Next) -> Response {
///     match request.header("x-key") {
///         Some(sent) if sent == key.0.as_bytes() => next.run(request).await,
///         _ => StatusCode::UNAUTHORIZED.respond(),
///     }
/// }
///
/// let app = App::new()
///     .state(Key("open sesame"))
///     .get("/cave", || "gold")
///     .layer(async |request: Request, next: Next| {
///         let mut response = next.run(request).await;
///         response.headers.set("x-frame-options".parse()?, "DENY".parse()?);
///         Ok::<_, shardwise::Error>(response)
///     })
///     .layer(guard);
///
/// let server = shardwise::test::run(app);
/// assert_eq!(server.get("/cave").expect(401).header("x-frame-options"), "DENY");
/// let request = shardwise::test::Request::get("/cave").header("x-key", "open sesame");
/// assert_eq!(server.send(request).text(), "gold");
/// ```
///
/// A panic of what is further in comes out of [`Next::run`] as its 500; a panic of the middleware itself is answered like a
/// handler's. When the client leaves, all of them are dropped where they wait.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a middleware",
    label = "this function cannot stand around handlers",
    note = "a middleware is an async function or closure whose last two arguments are `Request` and `Next`, after up to six \
            extractors of the head: `State`, `Path`, `Shard`, …",
    note = "and it returns something that implements `Respond`, such as the `Response` of `next.run(request).await`"
)]
pub trait Middleware<Shape>: Sized + 'static {
    /// Answers a request.
    #[doc(hidden)]
    fn call(self: &Rc<Self>, request: Request, next: Next) -> Reply;

    /// What its arguments lack.
    #[doc(hidden)]
    fn require(states: &States) -> Result<(), Unmet>;

    /// Bytes of a body that is admitted through it, if it says so.
    #[doc(hidden)]
    fn body_bytes_max(&self) -> Option<u64> {
        None
    }
}

/// What is further in: the next middleware, or the handler.
pub struct Next {
    chain: Rc<Chain>,
    at: usize,
}

impl Next {
    /// Lets it answer. A panic there is a response of 500 here.
    pub async fn run(self, request: Request) -> Response {
        let route = Rc::clone(&request.measure().route);
        let answer = match caught::call(|| self.call(request)) {
            Ok(Reply::Ready(response)) => return response.into_inner(),
            Ok(Reply::Later(answer)) => caught::run(answer).await.map(Pooled::into_inner),
            Err(panic) => Err(panic),
        };
        answer.unwrap_or_else(|panic| route.panicked(panic))
    }

    /// The same for a middleware of ours that has nothing to do on the way out; a panic goes through it.
    pub(crate) fn call(self, request: Request) -> Reply {
        let Next { chain, at } = self;
        match chain.layers.get(at) {
            Some(layer) => layer.call(request, Next { chain: Rc::clone(&chain), at: at + 1 }),
            None => chain.endpoint.call(request),
        }
    }
}

/// Shape: an async function of the head's extractors, a request and what comes next.
#[derive(Debug)]
pub struct Around<Types>(Types);

macro_rules! middleware {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)*> Middleware<Around<(R, $($argument,)*)>> for F
        where
            F: AsyncFn($($argument,)* Request, Next) -> R + 'static,
            R: Respond,
            $($argument: FromHead + 'static,)*
        {
            fn call(self: &Rc<Self>, mut request: Request, next: Next) -> Reply {
                take!(request: $($argument)*);
                let middleware = Rc::clone(self);
                let shard = request.shard().clone();
                Reply::later(&shard, || async move { middleware($($argument,)* request, next).await.respond() })
            }

            fn require(_states: &States) -> Result<(), Unmet> {
                $($argument::require(_states)?;)*
                Ok(())
            }
        }
    };
}

middleware!();
middleware!(A);
middleware!(A B);
middleware!(A B C);
middleware!(A B C D);
middleware!(A B C D E);
middleware!(A B C D E G);

/// A middleware whose type is forgotten.
pub(crate) trait Layer {
    fn call(&self, request: Request, next: Next) -> Reply;

    fn body_bytes_max(&self) -> Option<u64>;
}

/// A middleware and its shape.
struct Laid<M, Shape> {
    middleware: Rc<M>,
    shape: std::marker::PhantomData<fn() -> Shape>,
}

impl<Shape, M: Middleware<Shape>> Layer for Laid<M, Shape> {
    fn call(&self, request: Request, next: Next) -> Reply {
        self.middleware.call(request, next)
    }

    fn body_bytes_max(&self) -> Option<u64> {
        self.middleware.body_bytes_max()
    }
}

/// Forgets a middleware's type.
pub(crate) fn layer<Shape: 'static, M: Middleware<Shape>>(middleware: M) -> Rc<dyn Layer> {
    Rc::new(Laid { middleware: Rc::new(middleware), shape: std::marker::PhantomData })
}

/// An endpoint and the layers around it, outermost first.
struct Chain {
    layers: Box<[Rc<dyn Layer>]>,
    endpoint: Box<dyn Endpoint>,
}

/// A chain as an endpoint.
struct Layered(Rc<Chain>);

impl Endpoint for Layered {
    fn call(&self, mut request: Request) -> Reply {
        let measure = request.measure().clone();
        // What is further in answers to the layers, and only what they answer counts.
        request.measure_mut().go_inside();
        let next = Next { chain: Rc::clone(&self.0), at: 0 };
        measure.later(|| next.run(request))
    }
}

/// Puts layers around an endpoint; without layers it stays what it is.
pub(crate) fn around(layers: &[Rc<dyn Layer>], endpoint: Box<dyn Endpoint>) -> Box<dyn Endpoint> {
    match layers {
        [] => endpoint,
        layers => Box::new(Layered(Rc::new(Chain { layers: layers.into(), endpoint }))),
    }
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Next({} layers)", self.chain.layers.len() - self.at)
    }
}

#[cfg(test)]
mod tests;
