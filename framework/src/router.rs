//! [`Router`]: routes as they are declared, with what stands around them.
//!
//! Declarations only: nothing is checked here and nothing runs. `mount.rs` makes of a router, and of those nested in it, what
//! serves on a shard. An [`App`](crate::App) is a router with what a server needs beside.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;

use http::Method;

use crate::extract::{States, Unmet};
use crate::handler::{self, Endpoint, Handler};
use crate::middleware::{self, Layer, Middleware};

/// A set of routes that is given to an [`App`](crate::App), or to another router, under a prefix or as it is.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::Router;
///
/// fn items() -> Router {
///     Router::new()
///         .get("/", || "all items")
///         .get("/{id}", |Path(id): Path<u32>| format!("item {id}"))
///         .fallback(|| (StatusCode::NOT_FOUND, "no such thing among the items"))
/// }
///
/// let api = Router::new().nest("/items", items()).layer(async |request: Request, next: Next| {
///     match request.header("authorization") {
///         Some(_) => next.run(request).await,
///         None => StatusCode::UNAUTHORIZED.respond(),
///     }
/// });
/// let server = shardwise::test::run(App::new().nest("/api", api).get("/", || "open to all"));
/// assert_eq!(server.get("/").text(), "open to all");
/// server.get("/api/items/7").expect(401);
///
/// let ask = |path: &str| server.send(shardwise::test::Request::get(path).header("authorization", "me"));
/// assert_eq!(ask("/api/items").text(), "all items");
/// assert_eq!(ask("/api/items/7").text(), "item 7");
/// assert_eq!(ask("/api/items/7/8").expect(404).text(), "no such thing among the items");
/// ```
#[derive(Default)]
pub struct Router {
    pub(crate) routes: Vec<Declared>,
    pub(crate) nested: Vec<Nested>,
    pub(crate) layers: Vec<DeclaredLayer>,
    /// Answers where no route has the path.
    pub(crate) fallback: Option<Declared>,
    /// Answers where a route has the path, and none the method.
    pub(crate) method_fallback: Option<Declared>,
    pub(crate) body_bytes_max: Option<u64>,
}

/// A route as it was declared.
pub(crate) struct Declared {
    /// `None` is any method.
    pub(crate) method: Option<Method>,
    pub(crate) pattern: String,
    pub(crate) endpoint: Box<dyn Endpoint>,
    pub(crate) require: fn(&States) -> Result<(), Unmet>,
    pub(crate) body_bytes_max: Option<u64>,
    pub(crate) location: &'static Location<'static>,
}

/// A router within another.
pub(crate) struct Nested {
    /// `None` if it was merged.
    pub(crate) prefix: Option<String>,
    pub(crate) router: Router,
    pub(crate) location: &'static Location<'static>,
}

/// A layer as it was declared.
pub(crate) struct DeclaredLayer {
    pub(crate) layer: Rc<dyn Layer>,
    pub(crate) require: fn(&States) -> Result<(), Unmet>,
    pub(crate) location: &'static Location<'static>,
}

/// What can be declared, for whatever is a router or has one: `self` and the way from it to the router.
macro_rules! declarations {
    ($($router:tt)*) => {
        $crate::router::shorthands! {
            /// Answers `GET` at a path, and `HEAD` if nothing else does.
            ///
            /// `{name}` in the path stands for a segment or the end of one, `{*name}` for all that follows.
            get GET
            /// Answers `POST` at a path.
            post POST
            /// Answers `PUT` at a path.
            put PUT
            /// Answers `PATCH` at a path.
            patch PATCH
            /// Answers `DELETE` at a path.
            delete DELETE
            /// Answers `HEAD` at a path in place of the route for `GET`.
            head HEAD
            /// Answers `OPTIONS` at a path.
            options OPTIONS
        }

        /// Answers a method at a path.
        #[track_caller]
        pub fn route<Shape: 'static>(mut self, method: Method, path: &str, handler: impl Handler<Shape>) -> Self {
            self $($router)* .routes.push(Declared::new(Some(method), path, handler));
            self
        }

        /// Answers every method at a path that has no route of its own there.
        #[track_caller]
        pub fn any<Shape: 'static>(mut self, path: &str, handler: impl Handler<Shape>) -> Self {
            self $($router)* .routes.push(Declared::new(None, path, handler));
            self
        }

        /// Answers where no route has the path, in place of a plain 404. Of nested routers, the innermost whose prefix the
        /// path has and that says so answers, within its own layers.
        #[track_caller]
        pub fn fallback<Shape: 'static>(mut self, handler: impl Handler<Shape>) -> Self {
            self $($router)* .fallback = Some(Declared::new(None, "", handler));
            self
        }

        /// Answers where a route of this router has the path, and none the method, in place of a plain 405. The status is
        /// the handler's to say; `Allow` is added if it says none. Nested routers without their own have it too.
        ///
        /// ```
        /// use shardwise::prelude::*;
        ///
        /// let app = App::new()
        ///     .get("/items", || "all")
        ///     .method_fallback(|method: Method| (StatusCode::METHOD_NOT_ALLOWED, format!("no {method} here")));
        /// let response = shardwise::test::run(app).post("/items", "").expect(405);
        /// assert_eq!(response.header("allow"), "GET, HEAD");
        /// assert_eq!(response.text(), "no POST here");
        /// ```
        #[track_caller]
        pub fn method_fallback<Shape: 'static>(mut self, handler: impl Handler<Shape>) -> Self {
            self $($router)* .method_fallback = Some(Declared::new(None, "", handler));
            self
        }

        /// Serves a router beneath a prefix. Its `/` is the prefix itself, its `/items` the prefix and `/items`; parameters
        /// may stand in the prefix. Layers, fallbacks and the body limit that it declares are for what is in it.
        #[track_caller]
        pub fn nest(mut self, prefix: &str, router: Router) -> Self {
            let nested = Nested { prefix: Some(prefix.to_owned()), router, location: Location::caller() };
            self $($router)* .nested.push(nested);
            self
        }

        /// Takes over the routes of a router, each within the layers that it was declared with, and its fallback if there is
        /// one.
        #[track_caller]
        pub fn merge(mut self, router: Router) -> Self {
            self $($router)* .nested.push(Nested { prefix: None, router, location: Location::caller() });
            self
        }

        /// Puts a middleware around everything that is answered here: all routes, declared before or after, nested ones
        /// included, the fallback, and 404 and 405. The first that is declared is the outermost: it sees requests first and
        /// responses last.
        ///
        /// A router that is nested and has no fallback leaves 404 to the one that it is in, and to the layers there.
        ///
        /// ```
        /// use shardwise::prelude::*;
        ///
        /// let told = |name: &'static str| async move |request: Request, next: Next| {
        ///     let mut response = next.run(request).await;
        ///     response.headers.append("x-passed".parse().unwrap(), name.parse().unwrap());
        ///     response
        /// };
        /// let app = App::new().layer(told("outer")).layer(told("inner")).get("/", || "hello");
        /// let response = shardwise::test::run(app).get("/");
        /// let passed: Vec<_> = response.headers().get_all("x-passed").iter().collect();
        /// assert_eq!(passed, ["inner", "outer"]);
        /// ```
        #[track_caller]
        pub fn layer<Shape: 'static>(mut self, middleware: impl Middleware<Shape>) -> Self {
            self $($router)* .layers.push(DeclaredLayer::new(middleware));
            self
        }

        /// Bytes of a body that extractors (`Json`, `Bytes`, `String`) may gather, for handlers that do not say so themselves
        /// by [`Handler::body_limit`], here and in nested routers that do not say so either; a longer one is answered 413.
        /// [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX) if it is not set. A handler that takes the
        /// [`Body`](crate::Body) reads it as it comes, without a limit.
        pub fn body_limit(mut self, bytes: u64) -> Self {
            self $($router)* .body_bytes_max = Some(bytes);
            self
        }
    };
}

/// Methods that have a shorthand.
macro_rules! shorthands {
    ($($(#[$doc:meta])* $name:ident $method:ident)*) => {
        $(
            $(#[$doc])*
            #[track_caller]
            pub fn $name<Shape: 'static>(self, path: &str, handler: impl Handler<Shape>) -> Self {
                self.route(Method::$method, path, handler)
            }
        )*
    };
}

pub(crate) use {declarations, shorthands};

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Router::default()
    }

    declarations!();
}

impl Declared {
    #[track_caller]
    pub(crate) fn new<Shape: 'static, H: Handler<Shape>>(method: Option<Method>, pattern: &str, handler: H) -> Self {
        Declared {
            method,
            pattern: pattern.to_owned(),
            require: H::require,
            body_bytes_max: handler.body_bytes_max(),
            endpoint: handler::endpoint(handler),
            location: Location::caller(),
        }
    }
}

impl DeclaredLayer {
    #[track_caller]
    pub(crate) fn new<Shape: 'static, M: Middleware<Shape>>(middleware: M) -> Self {
        DeclaredLayer { layer: middleware::layer(middleware), require: M::require, location: Location::caller() }
    }
}

/// Where it is declared, as people call it: `GET /items/{id}`, behind the prefix of a router.
pub(crate) fn place(method: Option<&Method>, path: &str) -> String {
    match method {
        None => format!("any {path}"),
        Some(method) => format!("{method} {path}"),
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        list.entries(self.routes.iter().map(|declared| place(declared.method.as_ref(), &declared.pattern)));
        list.entries(self.nested.iter().map(|nested| (&nested.prefix, &nested.router)));
        list.finish()
    }
}

#[cfg(test)]
mod tests;
