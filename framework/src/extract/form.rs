//! [`Form`]: the body of an HTML form, as a value.

use http::StatusCode;
use proto::head::Known;
use serde::de::DeserializeOwned;

use super::{FromRequest, Rejection};
use crate::request::Request;

/// The body as a form (`application/x-www-form-urlencoded`, what an HTML form sends by POST), up to the route's body limit:
/// fields by name, a repeated name as a list. A form that is sent by GET is a [`Query`](crate::Query).
///
/// ```
/// use shardwise::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     what: String,
///     #[serde(default)]
///     with: Vec<String>,
/// }
///
/// async fn order(Form(order): Form<Order>) -> String {
///     format!("{} with {:?}", order.what, order.with)
/// }
///
/// let server = shardwise::test::run(App::new().post("/orders", order));
/// let request = shardwise::test::Request::post("/orders").header("content-type", "application/x-www-form-urlencoded");
/// assert_eq!(server.send(request.body("what=tea&with=milk&with=a%20biscuit")).text(), r#"tea with ["milk", "a biscuit"]"#);
/// server.post("/orders", "what=tea").expect(415);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Form<T> {
    async fn from_request(mut request: Request) -> Result<Self, Rejection> {
        let content_type = request.known(Known::ContentType);
        if !content_type.is_some_and(is_form) {
            let sent = match content_type {
                Some(text) => format!("is `{}`", String::from_utf8_lossy(text)),
                None => "is missing".to_owned(),
            };
            let what = format!("the content type of the body {sent}");
            let remedy = "Send a form, with `Content-Type: application/x-www-form-urlencoded`.";
            return Err(request.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, remedy));
        }
        let body = request.collect().await?;
        serde_html_form::from_bytes(&body).map(Form).map_err(|error| {
            let what = format!("the form in the body does not fit: {error}");
            request.refuse(StatusCode::BAD_REQUEST, what, "Give each field as `name=value`, joined by `&`.")
        })
    }

    #[inline]
    fn at_once(request: Request) -> Result<Result<Self, Rejection>, Request> {
        request.at_once(Self::from_request)
    }
}

fn is_form(content_type: &[u8]) -> bool {
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}
