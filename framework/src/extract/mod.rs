//! Extractors: what a handler may take as its arguments.
//!
//! Two traits. [`FromHead`] looks at the request and leaves it in place, so that several may follow one another and a
//! plain function is answered at once. [`FromRequest`] takes the whole request, usually to wait for its body, so it comes
//! last.

mod body;
mod extension;
mod form;
mod head;
mod path;
mod query;
mod rejection;
mod state;
#[cfg(test)]
mod tests;

pub use extension::Extension;
pub use form::Form;
pub use head::ConnectInfo;
pub use path::Path;
pub use query::Query;
pub use rejection::Rejection;
pub use state::{State, States, Unmet};

use crate::request::Request;

/// Taken from a request without consuming it: any argument of a handler.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::{FromHead, Rejection, http::StatusCode};
///
/// struct ApiKey(String);
///
/// impl FromHead for ApiKey {
///     fn from_head(request: &mut Request) -> Result<Self, Rejection> {
///         let key = request.header("x-api-key").and_then(|key| std::str::from_utf8(key).ok());
///         let key = key.map(|key| ApiKey(key.to_owned()));
///         key.ok_or_else(|| Rejection::new(StatusCode::UNAUTHORIZED, "the header `x-api-key` is missing"))
///     }
/// }
///
/// async fn whoami(ApiKey(key): ApiKey) -> String {
///     format!("you are {key}")
/// }
///
/// let server = shardwise::test::run(App::new().get("/whoami", whoami));
/// let request = shardwise::test::Request::get("/whoami").header("X-API-Key", "ada");
/// assert_eq!(server.send(request).text(), "you are ada");
/// assert!(server.get("/whoami").expect(401).text().contains("`x-api-key` is missing"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken from a request's head",
    label = "not an extractor",
    note = "extractors are `Path`, `Query`, `State`, `HeaderMap`, `Method`, `Uri`, `Shard`, `Client`, `ScopeHandle`, `TraceContext`, `ConnectInfo`, `Extension`, `Body`, an `Option` or a `Result` of these, and what implements `FromHead`",
    note = "`Json`, `Form`, `Bytes`, `String` and `Request` consume the request and must be the last argument"
)]
pub trait FromHead: Sized {
    /// Takes it, or says with what the request is answered instead.
    fn from_head(request: &mut Request) -> Result<Self, Rejection>;

    /// Says at the start, before the first request, what the app lacks for this.
    fn require(_states: &States) -> Result<(), Unmet> {
        Ok(())
    }
}

/// Made of a whole request: the last argument of a handler. It may wait, and build on those that are there.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::{FromRequest, Rejection, http::StatusCode};
///
/// /// Text of three lines at the most.
/// struct Verse(String);
///
/// impl FromRequest for Verse {
///     async fn from_request(request: Request) -> Result<Self, Rejection> {
///         let text = String::from_request(request).await?;
///         match text.lines().count() {
///             0..=3 => Ok(Verse(text)),
///             _ => Err(Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "a verse has three lines at the most")),
///         }
///     }
/// }
///
/// let app = App::new()
///     .post("/verses", |Verse(text): Verse| text.lines().count().to_string())
///     .post("/checks", |verse: Result<Verse, Rejection>| if verse.is_ok() { "good" } else { "too long" });
/// let server = shardwise::test::run(app);
/// assert_eq!(server.post("/verses", "one\ntwo").text(), "2");
/// server.post("/verses", "1\n2\n3\n4").expect(422);
/// assert_eq!(server.post("/checks", "1\n2\n3\n4").text(), "too long");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made of a request",
    label = "not an extractor",
    note = "the last argument of a handler is `Json`, `Form`, `Bytes`, `String`, `Request`, or what implements `FromRequest` or `FromHead`"
)]
pub trait FromRequest: Sized {
    /// Makes it, or says with what the request is answered instead.
    #[expect(async_fn_in_trait, reason = "nothing is `Send` here, and nobody needs to name the future")]
    async fn from_request(request: Request) -> Result<Self, Rejection>;

    /// The same without waiting, where nothing has to be waited for; else the request is given back, as always unless this is
    /// written. A handler that is no `async fn` answers on the spot then, without a future: so do those of `Json`, `Form`,
    /// `Bytes` and `String` when the body came with its head, as those of a few KiB do. What is made of these joins in:
    ///
    /// ```
    /// use shardwise::prelude::*;
    /// use shardwise::{FromRequest, Rejection};
    ///
    /// struct Loud(String);
    ///
    /// impl FromRequest for Loud {
    ///     async fn from_request(request: Request) -> Result<Self, Rejection> {
    ///         String::from_request(request).await.map(|text| Loud(text.to_uppercase()))
    ///     }
    ///
    ///     fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
    ///         let text = String::at_once(request)?;
    ///         Ok(text.map(|text| Loud(text.to_uppercase())))
    ///     }
    /// }
    ///
    /// let server = shardwise::test::run(App::new().post("/", |Loud(text): Loud| text));
    /// assert_eq!(server.post("/", "hear").text(), "HEAR");
    /// ```
    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        Err(request)
    }

    /// Says at the start, before the first request, what the app lacks for this.
    fn require(_states: &States) -> Result<(), Unmet> {
        Ok(())
    }
}

/// `None` where a request does not fit, whatever the reason: a `Result` tells it.
impl<T: FromHead> FromHead for Option<T> {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(T::from_head(request).ok())
    }

    fn require(states: &States) -> Result<(), Unmet> {
        T::require(states)
    }
}

/// `None` where a request does not fit, whatever the reason: a `Result` tells it.
impl<T: FromRequest> FromRequest for Option<T> {
    async fn from_request(request: Request) -> Result<Self, Rejection> {
        Ok(T::from_request(request).await.ok())
    }

    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        Ok(Ok(T::at_once(request)?.ok()))
    }

    fn require(states: &States) -> Result<(), Unmet> {
        T::require(states)
    }
}

/// The handler decides what becomes of a request that does not fit.
impl<T: FromHead> FromHead for Result<T, Rejection> {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(T::from_head(request))
    }

    fn require(states: &States) -> Result<(), Unmet> {
        T::require(states)
    }
}

/// The handler decides what becomes of a request that does not fit.
impl<T: FromRequest> FromRequest for Result<T, Rejection> {
    async fn from_request(request: Request) -> Result<Self, Rejection> {
        Ok(T::from_request(request).await)
    }

    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        Ok(Ok(T::at_once(request)?))
    }

    fn require(states: &States) -> Result<(), Unmet> {
        T::require(states)
    }
}
