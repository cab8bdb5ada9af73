//! [`Query`]: what follows the question mark, as a value.

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::{FromHead, Rejection};
use crate::request::Request;

/// The query string, read as a form: fields by name, a repeated name as a list.
///
/// ```
/// use shardwise::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Page {
///     #[serde(default)]
///     offset: u32,
///     tag: Vec<String>,
/// }
///
/// fn list(Query(page): Query<Page>) -> String {
///     format!("from {} with {:?}", page.offset, page.tag)
/// }
///
/// let server = shardwise::test::run(App::new().get("/list", list));
/// assert_eq!(server.get("/list?tag=a&tag=b%20c").text(), r#"from 0 with ["a", "b c"]"#);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromHead for Query<T> {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        serde_html_form::from_str(request.query().unwrap_or_default()).map(Query).map_err(|error| {
            let what = format!("the query does not fit: {error}");
            request.refuse(StatusCode::BAD_REQUEST, what, "Give each parameter as `name=value`, joined by `&`.")
        })
    }
}
