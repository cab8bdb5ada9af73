//! [`body_limit`]: bodies of a size, for all that reads them.

use std::rc::Rc;

use net::{BodyError, Reply};

use crate::extract::{Rejection, States, Unmet};
use crate::middleware::{Middleware, Next};
use crate::request::Request;
use crate::respond::Respond;

/// Admits bodies of so many bytes. One that is announced to be longer is answered 413 before anything further in is asked; one
/// that becomes longer fails where it is read, also by those who take the [`Body`](crate::Body) as it comes. A route may admit
/// less ([`Handler::body_limit`](crate::Handler::body_limit)), never more.
pub fn body_limit(bytes: u64) -> BodyLimit {
    BodyLimit { bytes_max: bytes }
}

/// A limit on bodies as a layer; made by [`body_limit`].
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    bytes_max: u64,
}

/// Shape: a [`BodyLimit`].
#[derive(Debug)]
pub struct Limiting(());

impl Middleware<Limiting> for BodyLimit {
    /// Goes on without a future of its own: there is nothing to do on the way out.
    fn call(self: &Rc<Self>, mut request: Request, next: Next) -> Reply {
        let max = self.bytes_max;
        let body = request.body_mut();
        if body.length().is_some_and(|length| length > max) {
            let rejection = Rejection::from(BodyError::TooLarge { max }).at(request.place());
            return request.reply(|| rejection.respond());
        }
        body.limit(max);
        next.call(request)
    }

    fn require(_states: &States) -> Result<(), Unmet> {
        Ok(())
    }

    fn body_bytes_max(&self) -> Option<u64> {
        Some(self.bytes_max)
    }
}
