//! [`Path`]: the parameters of the route's path, as a value.

mod de;

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::{FromHead, Rejection};
use crate::request::Request;

/// The parameters of the path that the route names in braces, percent-decoded: one as a scalar, several in order as a
/// tuple, or by name as a struct or a map.
///
/// ```
/// use shardwise::prelude::*;
///
/// fn item(Path((user, id)): Path<(String, u64)>) -> String {
///     format!("item {id} of {user}")
/// }
///
/// let server = shardwise::test::run(App::new().get("/users/{user}/items/{id}", item));
/// assert_eq!(server.get("/users/ada/items/7").text(), "item 7 of ada");
/// assert_eq!(server.get("/users/ada/items/seven").status(), 400);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned> FromHead for Path<T> {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        T::deserialize(de::Parameters::new(request)).map(Path).map_err(|error| match error {
            de::Error::Value(what) => {
                request.refuse(StatusCode::BAD_REQUEST, what, "Use a path whose parameters are of the expected kind.")
            }
            // The route and its handler do not belong together: ours, and not the client's, to mend.
            de::Error::Shape(what) => Rejection::new(StatusCode::INTERNAL_SERVER_ERROR, what)
                .at(request.place())
                .remedy("The handler's `Path` must take as many parameters as the route names."),
        })
    }
}
