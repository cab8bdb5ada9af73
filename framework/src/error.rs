//! [`Error`]: whatever went wrong in a handler or in `main`, kept with its causes until someone logs it.
//!
//! Any error converts into it by `?`. As an answer it is a 500 that tells the client nothing; the reason goes to the log.
//! Errors that know better whose fault they are keep their status: a [`Rejection`], a body that was too large, a server that
//! was asked and did not answer (502, 504).

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use net::{BodyError, Fault, Response, client};

use crate::extract::Rejection;
use crate::respond::Respond;

/// What handlers and `main` return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, with its causes.
///
/// It does not implement [`std::error::Error`] itself, so that everything that does can be converted.
///
/// ```
/// fn parse(text: &str) -> shardwise::Result<u16> {
///     Ok(text.parse()?)
/// }
/// let error = parse("many").unwrap_err();
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// ```
pub struct Error(Box<dyn StdError>);

impl Error {
    /// An error that is only a text, for people.
    pub fn new(text: impl Into<String>) -> Self {
        Error(text.into().into())
    }

    /// The error inside.
    pub fn get_ref(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }
}

impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Error(Box::new(error))
    }
}

impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl Respond for Error {
    fn respond(self) -> Response {
        let error = match self.0.downcast::<Rejection>() {
            Ok(rejection) => return rejection.respond(),
            Err(error) => error,
        };
        let upstream = error.downcast_ref::<client::Error>();
        // A request's body that is passed on may be what has failed.
        let body = match upstream {
            Some(client::Error::Body(error)) => error.downcast_ref::<BodyError>(),
            _ => error.downcast_ref::<BodyError>(),
        };
        if let Some(&error) = body {
            return Rejection::from(error).respond();
        }
        let (status, text) = upstream.map_or((StatusCode::INTERNAL_SERVER_ERROR, INTERNAL), of_upstream);
        let mut response = text.respond();
        response.status = status;
        response.cause = Some(error);
        response
    }
}

/// What is answered where another server has not answered us as it should (RFC 9110 sections 15.6.3 to 15.6.5).
fn of_upstream(error: &client::Error) -> (StatusCode, &'static str) {
    match error.fault() {
        Fault::Upstream if error.is_timeout() => (StatusCode::GATEWAY_TIMEOUT, UPSTREAM),
        Fault::Upstream => (StatusCode::BAD_GATEWAY, UPSTREAM),
        Fault::Operator => (StatusCode::SERVICE_UNAVAILABLE, UPSTREAM),
        Fault::Us | Fault::Peer => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL),
    }
}

/// An error, then its causes, each after a colon.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Chain(&*self.0))
    }
}

/// As people read it: `fn main() -> Result<()>` prints its error by this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Shows an error with its causes in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What a client is told when the fault is a server's that we ask.
const UPSTREAM: &str = "A server that this one asks has not answered as it should; the log says how.\n";

/// What a client is told when the fault is ours.
pub(crate) const INTERNAL: &str = "The server failed to answer this request; its log says why.\n";

#[cfg(test)]
mod tests;
