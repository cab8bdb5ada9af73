//! [`request_id`]: a name for each request, the client's or one made here.

use http::{HeaderName, HeaderValue};
use net::Response;
use proto::head::Known;
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
        let id = RequestId::of(&request);
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
    /// The id that a request has brought, if it is sane, or else a new one: what [`request_id`] gives it, for a handler that does
    /// without the span.
    pub fn of(request: &Request) -> RequestId {
        let sent = request.known(Known::XRequestId).filter(|sent| is_sane(sent));
        let sent = sent.and_then(|sent| HeaderValue::from_bytes(sent).ok());
        RequestId(sent.unwrap_or_else(|| make(request.shard())))
    }

    /// As the value of a header.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }

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
    let mut digits = [0; 32];
    for (word, digits) in [shard.random(), shard.random()].into_iter().zip(digits.chunks_exact_mut(16)) {
        let nibbles = (0..16).map(|at| (word >> (60 - 4 * at)) as usize & 0xf);
        digits.iter_mut().zip(nibbles).for_each(|(digit, nibble)| *digit = b"0123456789abcdef"[nibble]);
    }
    HeaderValue::from_bytes(&digits).expect("hexadecimal digits are visible")
}

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
