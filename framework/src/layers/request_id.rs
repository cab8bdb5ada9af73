//! [`request_id`]: a name for each request, the client's or one made here.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};
use net::Response;
use shards::Shard;
use tracing::Instrument;

use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::middleware::Next;
use crate::request::Request;

/// Gives each request an id: that of its `x-request-id` if it is sane (of up to 128 letters, digits and `-_.:/+=~`), and
/// otherwise 32 hexadecimal digits that nobody can guess.
///
/// The response has it as `x-request-id`; what is further in takes it as [`Extension`](crate::Extension)`<`[`RequestId`]`>`
/// and logs within a `tracing` span `request` with the field `id`; and the line of a request that failed has it.
pub fn request_id() -> impl AsyncFn(Request, Next) -> Response + 'static {
    async |mut request: Request, next: Next| {
        let sent = request.header("x-request-id").filter(|sent| is_sane(sent));
        let id = sent.and_then(|sent| HeaderValue::from_bytes(sent).ok()).unwrap_or_else(|| make(request.shard()));
        let id = RequestId(id);
        let span = tracing::info_span!("request", id = id.as_str());
        request.extend(id.clone());
        let mut response = next.run(request).instrument(span).await;
        response.headers.set(X_REQUEST_ID.clone(), id.0);
        response
    }
}

/// The id of a request; see [`request_id`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// What comes from outside goes into logs and to other servers: nothing that could be read as something else there.
fn is_sane(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=~".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

fn make(shard: &Shard) -> HeaderValue {
    let mut text = String::with_capacity(32);
    write!(text, "{:016x}{:016x}", shard.random(), shard.random()).expect("a string takes it");
    text.try_into().expect("hexadecimal digits are visible")
}

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
