//! [`Handler`]: which functions answer requests.
//!
//! Functions and closures, plain or async, whose arguments are extractors and whose result is an answer. Four shapes are
//! told apart at compile time, because they cost differently: a plain function is answered on the spot, unless it is of a body
//! that did not come with its head; everything that waits gets a future in a leased slot. [`green`] wraps plain functions that wait on a stack of their own.
//! Nothing here allocates, and nothing is `Send`.

use std::rc::Rc;

use net::{Reply, Response};
use shards::Shard;

use crate::extract::{FromHead, FromRequest, Rejection, States, Unmet};
use crate::request::Request;
use crate::respond::Respond;

/// A function that answers requests.
///
/// Its arguments are extractors ([`FromHead`]); the last may consume the body ([`FromRequest`]). It returns anything that
/// can [`Respond`]. `Shape` tells the kinds of functions apart and is always inferred.
///
/// ```
/// use shardwise::prelude::*;
///
/// async fn greet(Path(name): Path<String>) -> String {
///     format!("hello {name}")
/// }
/// fn version() -> &'static str {
///     "1"
/// }
/// let app = App::new().get("/hello/{name}", greet).get("/version", version).get("/", async || "home");
///
/// let server = shardwise::test::run(app);
/// assert_eq!(server.get("/hello/ada").text(), "hello ada");
/// assert_eq!(server.get("/version").text(), "1");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "this function cannot answer requests",
    note = "a handler is a function or closure, async or not, of up to twelve extractors: `Path`, `Query`, `State`, `HeaderMap`, …; \
            the last may consume the body: `Json`, `Bytes`, `String`, `Request`",
    note = "and it returns something that implements `Respond`: a string, `Json(value)`, `StatusCode`, a tuple, a `Result` of these"
)]
pub trait Handler<Shape>: Sized + 'static {
    /// Answers a request.
    #[doc(hidden)]
    fn call(self: &Rc<Self>, request: Request) -> Reply;

    /// The same without a request, if it takes nothing of one and answers on the spot: then none need be made.
    #[doc(hidden)]
    fn alone(self: &Rc<Self>) -> Option<Alone> {
        None
    }

    /// What its arguments lack.
    #[doc(hidden)]
    fn require(states: &States) -> Result<(), Unmet>;

    /// Bytes of a body that its arguments may gather, if it says so itself.
    #[doc(hidden)]
    fn body_bytes_max(&self) -> Option<u64> {
        None
    }

    /// Lets the arguments of this handler gather larger (or only smaller) bodies than the app's other handlers.
    ///
    /// ```
    /// use shardwise::prelude::*;
    ///
    /// async fn upload(image: Bytes) -> String {
    ///     format!("{} bytes", image.len())
    /// }
    /// let app = App::new().post("/images", upload.body_limit(4 << 20)).post("/icons", upload.body_limit(1 << 10));
    ///
    /// let (server, image) = (shardwise::test::run(app), vec![0; 3 << 20]);
    /// assert_eq!(server.post("/images", image.clone()).text(), "3145728 bytes");
    /// assert_eq!(server.post("/icons", image).status(), 413);
    /// ```
    fn body_limit(self, bytes: u64) -> Limited<Self> {
        Limited { handler: Rc::new(self), body_bytes_max: bytes }
    }
}

/// A handler with a body limit of its own; see [`Handler::body_limit`].
#[derive(Debug)]
pub struct Limited<H> {
    handler: Rc<H>,
    body_bytes_max: u64,
}

/// The shape of a [`Limited`] handler.
#[derive(Debug)]
pub struct Within<Shape>(Shape);

impl<Shape, H: Handler<Shape>> Handler<Within<Shape>> for Limited<H> {
    fn call(self: &Rc<Self>, request: Request) -> Reply {
        self.handler.call(request)
    }

    fn require(states: &States) -> Result<(), Unmet> {
        H::require(states)
    }

    fn body_bytes_max(&self) -> Option<u64> {
        Some(self.body_bytes_max)
    }
}

/// Shape: a plain function of the head; answered on the spot.
#[derive(Debug)]
pub struct Plain<Types>(Types);
/// Shape: a plain function whose last argument waits for the body, if that has not come with its head.
#[derive(Debug)]
pub struct PlainOfBody<Types>(Types);
/// Shape: an async function of the head.
#[derive(Debug)]
pub struct Async<Types>(Types);
/// Shape: an async function whose last argument waits for the body.
#[derive(Debug)]
pub struct AsyncOfBody<Types>(Types);

/// Takes the arguments of the head, or returns the rejection.
macro_rules! take {
    ($request:ident: $($argument:ident)*) => {
        $(
            let $argument = match $argument::from_head(&mut $request) {
                Ok(argument) => argument,
                Err(rejection) => return $request.reply(|| rejection.respond()),
            };
        )*
    };
}

/// What a plain function of so many arguments does alone, which is nothing if there are any.
macro_rules! alone {
    () => {
        fn alone(self: &Rc<Self>) -> Option<Alone> {
            let handler = Rc::clone(self);
            Some(Box::new(move |shard| Reply::ready(shard, || handler().respond())))
        }
    };
    ($($argument:ident)+) => {};
}

// After the macro that it uses.
mod green;

pub use green::{GreenHandler, green};

macro_rules! handler_of_head {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)*> Handler<Plain<(R, $($argument,)*)>> for F
        where
            F: Fn($($argument,)*) -> R + 'static,
            R: Respond,
            $($argument: FromHead,)*
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                request.reply(|| self($($argument,)*).respond())
            }

            alone!($($argument)*);

            fn require(_states: &States) -> Result<(), Unmet> {
                $($argument::require(_states)?;)*
                Ok(())
            }
        }

        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)*> Handler<Async<(R, $($argument,)*)>> for F
        where
            F: AsyncFn($($argument,)*) -> R + 'static,
            R: Respond,
            $($argument: FromHead + 'static,)*
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let handler = Rc::clone(self);
                request.measure().clone().later(|| async move { handler($($argument,)*).await.respond() })
            }

            fn require(_states: &States) -> Result<(), Unmet> {
                $($argument::require(_states)?;)*
                Ok(())
            }
        }
    };
}

macro_rules! handler_of_body {
    ($($argument:ident)*) => {
        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)* Last> Handler<PlainOfBody<(R, $($argument,)* Last)>> for F
        where
            F: Fn($($argument,)* Last) -> R + 'static,
            R: Respond,
            $($argument: FromHead + 'static,)*
            Last: FromRequest + 'static,
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let measure = request.measure().clone();
                let request = match Last::at_once(request) {
                    Ok(last) => return Reply::ready(measure.shard(), || respond(last, |last| self($($argument,)* last))),
                    Err(request) => request,
                };
                let handler = Rc::clone(self);
                measure.later(|| async move {
                    let last = Last::from_request(request).await;
                    respond(last, |last| handler($($argument,)* last))
                })
            }

            fn require(states: &States) -> Result<(), Unmet> {
                $($argument::require(states)?;)*
                Last::require(states)
            }
        }

        #[allow(non_snake_case, unused_mut, reason = "an argument is named as its type")]
        impl<F, R, $($argument,)* Last> Handler<AsyncOfBody<(R, $($argument,)* Last)>> for F
        where
            F: AsyncFn($($argument,)* Last) -> R + 'static,
            R: Respond,
            $($argument: FromHead + 'static,)*
            Last: FromRequest + 'static,
        {
            fn call(self: &Rc<Self>, mut request: Request) -> Reply {
                take!(request: $($argument)*);
                let handler = Rc::clone(self);
                let measure = request.measure().clone();
                measure.later(|| async move {
                    let last = match Last::from_request(request).await {
                        Ok(last) => last,
                        Err(rejection) => return rejection.respond(),
                    };
                    handler($($argument,)* last).await.respond()
                })
            }

            fn require(states: &States) -> Result<(), Unmet> {
                $($argument::require(states)?;)*
                Last::require(states)
            }
        }
    };
}

/// Writes an implementation for each number of arguments taken from the head: none to twelve.
macro_rules! of_head {
    ($of:ident) => {
        $of!();
        $of!(A);
        $of!(A B);
        $of!(A B C);
        $of!(A B C D);
        $of!(A B C D E);
        $of!(A B C D E G);
        $of!(A B C D E G H);
        $of!(A B C D E G H I);
        $of!(A B C D E G H I J);
        $of!(A B C D E G H I J K);
        $of!(A B C D E G H I J K L);
        $of!(A B C D E G H I J K L M);
    };
}

/// The same with one more behind them that takes the body: none to eleven from the head.
macro_rules! of_body {
    ($of:ident) => {
        $of!();
        $of!(A);
        $of!(A B);
        $of!(A B C);
        $of!(A B C D);
        $of!(A B C D E);
        $of!(A B C D E G);
        $of!(A B C D E G H);
        $of!(A B C D E G H I);
        $of!(A B C D E G H I J);
        $of!(A B C D E G H I J K);
        $of!(A B C D E G H I J K L);
    };
}

pub(crate) use {of_body, of_head, take};

of_head!(handler_of_head);

of_body!(handler_of_body);

/// What a handler makes of its last argument, or the rejection of that.
#[inline(always)]
fn respond<T, R: Respond>(last: Result<T, Rejection>, handler: impl FnOnce(T) -> R) -> Response {
    match last {
        Ok(last) => handler(last).respond(),
        Err(rejection) => rejection.respond(),
    }
}

/// A handler whose type is forgotten.
pub(crate) trait Endpoint {
    /// Answers a request.
    fn call(&self, request: Request) -> Reply;

    /// What answers in its place without a request, if it takes nothing of one.
    fn alone(&self) -> Option<Alone> {
        None
    }
}

/// Answers without a request.
pub(crate) type Alone = Box<dyn Fn(&Shard) -> Reply>;

/// A handler and its shape.
struct Mounted<H, Shape> {
    handler: Rc<H>,
    shape: std::marker::PhantomData<fn() -> Shape>,
}

impl<Shape, H: Handler<Shape>> Endpoint for Mounted<H, Shape> {
    fn call(&self, request: Request) -> Reply {
        self.handler.call(request)
    }

    fn alone(&self) -> Option<Alone> {
        self.handler.alone()
    }
}

/// Forgets a handler's type.
pub(crate) fn endpoint<Shape: 'static, H: Handler<Shape>>(handler: H) -> Box<dyn Endpoint> {
    Box::new(Mounted { handler: Rc::new(handler), shape: std::marker::PhantomData })
}

/// A plain answer to every request, for what the framework says itself.
pub(crate) fn answer(make: impl Fn(&Request) -> Response + 'static) -> Box<dyn Endpoint> {
    struct Answer<F>(F);

    impl<F: Fn(&Request) -> Response> Endpoint for Answer<F> {
        fn call(&self, request: Request) -> Reply {
            request.reply(|| (self.0)(&request))
        }
    }

    Box::new(Answer(make))
}

#[cfg(test)]
mod tests;
