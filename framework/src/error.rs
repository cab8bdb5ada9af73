//! [`Error`]: whatever went wrong in a handler or in `main`, kept with its causes until someone logs it.
//!
//! Any error converts into it by `?`. As an answer it is a 500 that tells the client nothing; the reason goes to the log.
//! Errors that know better whose fault they are, a [`Rejection`] or a body that was too large, keep their status.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use net::{BodyError, Response};

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
        if let Some(&error) = error.downcast_ref::<BodyError>() {
            return Rejection::from(error).respond();
        }
        let mut response = INTERNAL.respond();
        response.status = StatusCode::INTERNAL_SERVER_ERROR;
        response.cause = Some(error);
        response
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

/// What a client is told when the fault is ours.
pub(crate) const INTERNAL: &str = "The server failed to answer this request; its log says why.\n";

#[cfg(test)]
mod tests;
