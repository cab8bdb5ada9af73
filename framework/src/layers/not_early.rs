//! [`not_early`]: 425 for what may have been sent before.

use std::rc::Rc;

use http::StatusCode;
use net::Reply;

use crate::extract::{Rejection, States, Unmet};
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::respond::Respond;

/// Answers 425 (RFC 8470) to requests that came as [early data](net::Request::is_early), which anyone who saw them may send
/// again: the client asks once more when the hand-shake is over. It belongs around whatever a second request would do harm
/// to; where it does not stand, a route says that it is safe.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::{Router, layers, test};
///
/// let app = App::new()
///     .get("/price", || "3 pounds") // safe
///     .merge(Router::new().layer(layers::not_early()).post("/pay", || "paid"));
///
/// let server = test::run(app);
/// // As a proxy says that speaks TLS in the server's place.
/// let early = |request: test::Request| request.header("early-data", "1");
/// server.send(early(test::Request::get("/price"))).expect(200);
/// server.send(early(test::Request::post("/pay"))).expect(425);
/// server.post("/pay", "").expect(200);
/// ```
pub fn not_early() -> NotEarly {
    NotEarly(())
}

/// A layer that refuses early data; made by [`not_early`].
#[derive(Clone, Copy, Debug)]
pub struct NotEarly(());

/// Shape: a [`NotEarly`].
#[derive(Debug)]
pub struct Refusing(());

impl Middleware<Refusing> for NotEarly {
    /// Goes on without a future of its own: there is nothing to do on the way out.
    fn call(self: &Rc<Self>, request: Request, next: Next) -> Reply {
        match request.is_early() {
            false => next.call(request),
            true => {
                let status = StatusCode::from_u16(425).expect("a status code");
                let what = "the request came before the hand-shake was over";
                let rejection = Rejection::new(status, what).at(request.place()).remedy("Send it again now.");
                request.reply(|| rejection.respond())
            }
        }
    }

    fn require(_states: &States) -> Result<(), Unmet> {
        Ok(())
    }
}
