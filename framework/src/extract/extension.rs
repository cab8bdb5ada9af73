//! [`Extension`]: what a middleware has handed on with the request.

use std::any::type_name;

use http::StatusCode;

use super::{FromHead, Rejection};
use crate::request::Request;

/// A clone of the value of this type that a middleware has handed on by [`Request::extend`]. Without one the answer is 500,
/// since a layer is missing; `Option<Extension<T>>` does without.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::Extension;
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn known(mut request: Request, next: Next) -> Response {
///     let name = request.header("x-user").map(|name| String::from_utf8_lossy(name).into_owned());
///     if let Some(name) = name {
///         request.extend(User(name));
///     }
///     next.run(request).await
/// }
///
/// let app = App::new()
///     .layer(known)
///     .get("/me", |Extension(user): Extension<User>| user.0)
///     .get("/maybe", |user: Option<Extension<User>>| if user.is_some() { "known" } else { "unknown" });
///
/// let server = shardwise::test::run(app);
/// let ask = |path: &str| server.send(shardwise::test::Request::get(path).header("x-user", "ada"));
/// assert_eq!((ask("/me").text(), ask("/maybe").text()), ("ada", "known"));
/// assert_eq!(server.get("/maybe").text(), "unknown");
/// server.get("/me").expect(500);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension<T>(pub T);

impl<T: Clone + 'static> FromHead for Extension<T> {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        request.extension::<T>().cloned().map(Extension).ok_or_else(|| {
            let what = format!("no layer has handed on the {} that this handler takes", type_name::<T>());
            Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, what).at(request.place())
        })
    }
}
