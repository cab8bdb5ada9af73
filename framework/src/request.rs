//! [`Request`]: a request at its route: what the connection received, and what its route knows about it.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use net::{Reply, Response};
use platform::Chunk;
use shards::{Pooled, ScopeHandle, ScopesFull, Shard};

use crate::extract::Rejection;
use crate::measure::Measure;
use crate::metrics::MethodLabel;
use crate::route::Route;
use crate::table::Matched;

/// A request as a handler sees it. It derefs to what was received: [`method`](net::Request::method),
/// [`path`](net::Request::path), [`header`](net::Request::header) and the body.
pub struct Request(Pooled<Parts>);

/// What there is of it, in a place of the shard's pool: a request goes through many hands, and into futures.
struct Parts {
    received: net::Request,
    matched: Matched,
    measure: Measure,
    extensions: Extensions,
}

/// What middlewares hand on with a request, by type. A few, so a list; and seldom any.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "nearly all requests have none, and each has room for what this takes")]
struct Extensions(Option<Box<Vec<Extension>>>);

type Extension = (TypeId, Box<dyn Any>);

impl Drop for Extensions {
    // Most requests have none, and are dropped in line.
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(extensions) = self.0.take() {
            drop_extensions(extensions);
        }
    }
}

#[cold]
#[allow(clippy::box_collection, reason = "as it is kept")]
fn drop_extensions(extensions: Box<Vec<Extension>>) {
    drop(extensions);
}

impl Request {
    #[inline(always)]
    pub(crate) fn new(received: net::Request, matched: Matched, route: &Rc<Route>, method: MethodLabel) -> Self {
        Request(received.within(|received| Parts {
            received,
            matched,
            measure: Measure::new(route, method),
            extensions: Extensions::default(),
        }))
    }

    /// An answer that is there at once.
    #[inline(always)]
    pub(crate) fn reply(&self, make: impl FnOnce() -> Response) -> Reply {
        Reply::Ready(self.0.beside(make))
    }

    /// What measures it.
    pub(crate) fn measure(&self) -> &Measure {
        &self.0.measure
    }

    pub(crate) fn measure_mut(&mut self) -> &mut Measure {
        &mut self.0.measure
    }

    /// The route's path as it was declared: `/items/{id}`. Empty for a request that no route was found for.
    pub fn route(&self) -> &str {
        &self.at().pattern
    }

    /// A parameter of the path by its name, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(known, _)| *known == name).map(|(_, sent)| sent)
    }

    /// All parameters of the path, in the order of the route: name, and value as it was sent.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let path = self.0.received.path();
        let names = &self.at().parameters;
        self.0.matched.iter().zip(&names[..]).map(|(range, name)| (&**name, &path[range]))
    }

    /// What the app holds of this type.
    pub fn state<T: 'static>(&self) -> Option<&T> {
        self.at().site.states.get()
    }

    /// Hands a value on to whatever is further in, which takes it by [`extension`](Request::extension) or as
    /// [`Extension`](crate::Extension). One of each type: returns the one that was there. Costs an allocation or two.
    pub fn extend<T: 'static>(&mut self, value: T) -> Option<T> {
        let extensions = self.0.extensions.0.get_or_insert_default();
        let earlier = extensions.iter().position(|(id, _)| *id == TypeId::of::<T>());
        let earlier = earlier.map(|at| extensions.swap_remove(at).1);
        extensions.push((TypeId::of::<T>(), Box::new(value)));
        earlier.and_then(|earlier| earlier.downcast().ok()).map(|earlier| *earlier)
    }

    /// What was handed on of this type.
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        let (_, value) = self.0.extensions.0.as_ref()?.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// The shard that serves it.
    pub fn shard(&self) -> &Shard {
        &self.at().site.shard
    }

    /// The scope of this request, which ends with it: tasks spawned there are cancelled and awaited when the answer has been
    /// made, when the client has left, or when the request takes too long. It is made by whoever first asks. Work that is
    /// spawned elsewhere and takes the request along asks for its own.
    ///
    /// Errors: the shard has as many scopes as it admits.
    pub fn scope(&self) -> Result<ScopeHandle, ScopesFull> {
        self.shard().current_scope()
    }

    /// Reads the body to its end, up to the route's limit.
    ///
    /// Errors: the body is longer, or did not arrive as announced.
    pub(crate) async fn collect(&mut self) -> Result<Collected, Rejection> {
        let bytes_max = self.at().body_bytes_max;
        let body = self.0.received.body_mut();
        body.limit(bytes_max);
        let collected = collect(body).await;
        collected.map_err(|error| Rejection::from(error).at(self.place()))
    }

    /// What becomes of a request whose body is there, by code that waits for nothing else. Any other request is given back.
    #[inline]
    pub(crate) fn at_once<T>(self, make: impl AsyncFnOnce(Request) -> T) -> Result<T, Request> {
        if !self.0.received.body().is_here() {
            return Err(self);
        }
        match pin!(make(self)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(made) => Ok(made),
            Poll::Pending => unreachable!("a body that is there is read without waiting"),
        }
    }

    /// A refusal that names this route.
    pub(crate) fn refuse(
        &self,
        status: StatusCode,
        what: impl Into<Cow<'static, str>>,
        remedy: &'static str,
    ) -> Rejection {
        Rejection::new(status, what).at(self.place()).remedy(remedy)
    }

    /// Where it was sent: method and route.
    pub(crate) fn place(&self) -> String {
        format!("{} {}", self.method(), self.route())
    }

    fn at(&self) -> &Rc<Route> {
        &self.0.measure.route
    }
}

async fn collect(body: &mut net::Body) -> Result<Collected, net::BodyError> {
    let Some(first) = body.chunk().await? else { return Ok(Collected::Vec(Vec::new())) };
    let Some(second) = body.chunk().await? else { return Ok(Collected::Chunk(first)) };
    // What is announced may never come: memory is taken as it does, and at once only for what has.
    let mut gathered = Vec::with_capacity((first.len() + second.len()) * 2);
    gathered.extend_from_slice(&first);
    drop(first);
    gathered.extend_from_slice(&second);
    drop(second);
    while let Some(chunk) = body.chunk().await? {
        gathered.extend_from_slice(&chunk);
    }
    Ok(Collected::Vec(gathered))
}

/// A body in memory: where it lay if it came in one chunk.
pub(crate) enum Collected {
    Chunk(Chunk),
    Vec(Vec<u8>),
}

impl Deref for Collected {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Collected::Chunk(chunk) => chunk,
            Collected::Vec(bytes) => bytes,
        }
    }
}

impl Deref for Request {
    type Target = net::Request;

    fn deref(&self) -> &net::Request {
        &self.0.received
    }
}

impl DerefMut for Request {
    fn deref_mut(&mut self) -> &mut net::Request {
        &mut self.0.received
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("route", &self.route()).field("received", &self.0.received).finish()
    }
}
