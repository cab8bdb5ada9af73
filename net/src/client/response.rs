//! A response as it comes: a head in place, and a body that is received as it is read.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{HeaderValue, StatusCode, Version};
use platform::{Buf, Chunk, Pool};
use proto::head::Known;
use serde::de::DeserializeOwned;
use shards::{Cancelled, Pooled, ScopeHandle, Shard};

use super::Error;
use super::decode::Decoder;
use super::pool::Place;
use super::request::end_to_end;
use crate::conn::client::Connection;
use crate::conn::streams::client::Answering;
use crate::limits::TUNNEL_SILENCE_MAX;
use crate::upstream::{Address, Held};
use crate::{BodyStream, Content, Fault, Head, Headers, Trailers, Tunnel, Upgraded};

/// A response. Its body is received only as it is read, so a slow reader slows its server and nobody else.
///
/// The connection is kept for the next request when the body has been read to its end. Dropping a response before that
/// closes it; over HTTP/2 and HTTP/3 it ends the stream alone.
pub struct Response(Pooled<Parts>);

/// What it is made of: large, and handed on by all who have asked.
struct Parts {
    head: Head,
    body: Body,
    length: Option<u64>,
    /// Bytes that were read, and the most that may be.
    bytes: u64,
    bytes_max: Option<u64>,
    gathered_max: u64,
    trailers: Option<Trailers>,
    /// What the request was sent in.
    scope: Option<ScopeHandle>,
    endpoint: Option<Address>,
    /// What an upstream counts of it, until its body has ended.
    held: Option<Held>,
    /// What its body goes through.
    decoder: Option<Box<Decoder>>,
    /// What ends it while it is passed on.
    ends: Option<Pin<Box<dyn Future<Output = Cancelled>>>>,
    /// The key that the server has answered was the client's, and nobody behind it has asked.
    has_own_key: bool,
}

/// How far the body is.
enum Body {
    Comes(Source),
    Ended,
    Failed,
    /// There is none: the connection speaks something else.
    Switched(Box<Upgraded>),
}

/// What it comes from.
pub(super) enum Source {
    /// A connection of one exchange at a time.
    Alone(Box<Connection>, Place),
    /// A stream of a connection of many.
    Among(Box<dyn Answering>),
}

impl Source {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        match self {
            Source::Alone(connection, _) => connection.poll_chunk(cx),
            Source::Among(exchange) => exchange.poll_chunk(cx),
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Source::Alone(connection, _) => connection.body_left(),
            Source::Among(exchange) => exchange.length(),
        }
    }

    fn body_bytes_max(&self) -> u64 {
        match self {
            Source::Alone(_, place) => place.body_bytes_max(),
            Source::Among(exchange) => exchange.body_bytes_max(),
        }
    }

    /// All has come. A connection may serve another exchange.
    fn end(self) -> Option<Trailers> {
        match self {
            Source::Alone(mut connection, place) => {
                let trailers = connection.take_trailers();
                if connection.is_done() {
                    place.put(connection);
                }
                trailers
            }
            Source::Among(mut exchange) => exchange.take_trailers(),
        }
    }
}

impl Parts {
    fn of(head: Head, body: Body, length: Option<u64>, gathered_max: u64) -> Self {
        Parts {
            head,
            body,
            length,
            bytes: 0,
            bytes_max: None,
            gathered_max,
            trailers: None,
            scope: None,
            endpoint: None,
            held: None,
            decoder: None,
            ends: None,
            has_own_key: false,
        }
    }

    /// What is left of the body, if all of it is at hand.
    fn whole(&mut self) -> Option<Chunk> {
        let Body::Comes(Source::Alone(connection, _)) = &mut self.body else { return None };
        if self.decoder.is_some() || self.length.is_none_or(|length| length > self.bytes_max.unwrap_or(u64::MAX)) {
            return None;
        }
        let chunk = connection.whole()?;
        self.bytes += chunk.len() as u64;
        self.end();
        Some(chunk)
    }

    /// The body has ended, or there is none.
    fn end(&mut self) {
        if let Body::Comes(source) = std::mem::replace(&mut self.body, Body::Ended) {
            self.trailers = source.end();
            (self.held, self.scope) = (None, None);
        }
    }
}

impl Response {
    pub(super) fn new(shard: &Shard, head: Head, source: Source) -> Self {
        let (length, gathered_max) = (source.length(), source.body_bytes_max());
        let mut response = Response(shard.pooled(Parts::of(head, Body::Comes(source), length, gathered_max)));
        if length == Some(0) {
            // Nothing is waited for: whoever looks at the status alone keeps the connection all the same.
            response.0.end();
        }
        response
    }

    /// An answer that has ended HTTP.
    pub(super) fn switched(shard: &Shard, head: Head, upgraded: Upgraded, has_own_key: bool) -> Self {
        let parts = Parts::of(head, Body::Switched(Box::new(upgraded)), Some(0), 0);
        Response(shard.pooled(Parts { has_own_key, ..parts }))
    }

    /// The connection of a request that has [offered](super::Request::upgrade) to speak something else, once the server agrees:
    /// after a 101, when it has not been taken yet. It counts as one that is in use until it is dropped.
    ///
    /// As [`Content`], such a response is the [`Tunnel`] that [joins](Upgraded::join) it to whoever is answered by it.
    pub fn upgraded(&mut self) -> Option<Upgraded> {
        match std::mem::replace(&mut self.0.body, Body::Ended) {
            Body::Switched(upgraded) => Some(*upgraded),
            other => {
                self.0.body = other;
                None
            }
        }
    }

    /// Its body as it was before it was compressed, if it was in a way that is known; of the coding and of the length that it
    /// came in nothing is said any more.
    pub(super) fn decoded(mut self, pool: &Pool) -> Self {
        let coding = self.known(Known::ContentEncoding);
        if let (Body::Comes(_), Some(decoder)) = (&self.0.body, coding.and_then(|coding| Decoder::of(coding, pool))) {
            (self.0.decoder, self.0.length) = (Some(Box::new(decoder)), None);
        }
        self
    }

    /// What reads its body ends with this.
    pub(super) fn within(mut self, scope: ScopeHandle) -> Self {
        self.0.scope = matches!(self.0.body, Body::Comes(_)).then_some(scope);
        self
    }

    /// Holds on to this until the body has ended.
    pub(crate) fn held(mut self, held: Held) -> Self {
        self.0.endpoint = Some(held.endpoint().clone());
        match &mut self.0.body {
            Body::Comes(_) => self.0.held = Some(held),
            Body::Switched(upgraded) => upgraded._held = Some(Box::new((upgraded._held.take(), held))),
            Body::Ended | Body::Failed => {}
        }
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.head.table().status()
    }

    /// The endpoint that has answered, of an upstream.
    pub fn endpoint(&self) -> Option<&Address> {
        self.0.endpoint.as_ref()
    }

    /// The version of HTTP that the server speaks.
    pub fn version(&self) -> Version {
        self.0.head.table().version()
    }

    /// The first value of a well-known header.
    pub fn known(&self, name: Known) -> Option<&[u8]> {
        let is_hidden = self.0.decoder.is_some() && matches!(name, Known::ContentEncoding | Known::ContentLength);
        self.0.head.table().get(self.0.head.block(), name).filter(|_| !is_hidden)
    }

    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.head.table().find(self.0.head.block(), name).filter(|_| !self.hides(name.as_bytes()))
    }

    /// All headers in the order received: name as sent, value.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.0.head.table().iter(self.0.head.block()).filter(|(name, _)| !self.hides(name))
    }

    /// What was true of a body before it was decoded.
    fn hides(&self, name: &[u8]) -> bool {
        self.0.decoder.is_some() && matches!(Known::of(name), Known::ContentEncoding | Known::ContentLength)
    }

    /// The headers for whoever is behind us: without those that were for this connection (RFC 9110 section 7.6.1). Of a 101 the
    /// protocol stays, which is spoken there too.
    pub fn end_to_end(&self) -> Headers {
        let is_kept = |known| match known {
            Known::SecWebSocketAccept => !self.0.has_own_key,
            Known::ContentEncoding | Known::ContentLength => self.0.decoder.is_none(),
            _ => true,
        };
        let mut headers = end_to_end(self.0.head.block(), self.0.head.table().fields(), is_kept);
        if self.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(Ok(protocol)) = self.known(Known::Upgrade).map(HeaderValue::from_bytes)
        {
            headers.append(UPGRADE, protocol);
        }
        headers
    }

    /// The length of the body that is still to come, if the server has said; of an answer to `HEAD`, zero.
    pub fn length(&self) -> Option<u64> {
        self.0.length
    }

    /// What an answer without a body, to `HEAD`, says of the one that it would have.
    fn stated(&self) -> Option<u64> {
        std::str::from_utf8(self.known(Known::ContentLength)?).ok()?.parse().ok()
    }

    /// Admits at most this many bytes of body in all; a longer one fails with [`Error::TooLarge`]. Without it, pieces come
    /// without end, and what is gathered has [`Config::body_bytes_max`](super::Config::body_bytes_max).
    pub fn limit(mut self, bytes_max: u64) -> Self {
        self.0.bytes_max = Some(bytes_max);
        self
    }

    /// The next piece of the body, in order; `None` at the end.
    ///
    /// Cancel safe: a piece is either returned or still there for the next call.
    ///
    /// Errors: the connection ended or broke its framing, the server was too slow, or the body is longer than the limit.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>, Error> {
        let Some(scope) = self.0.scope.clone() else { return poll_fn(|cx| self.poll_chunk(cx)).await };
        let chunk = scope.run(poll_fn(|cx| self.poll_chunk(cx))).await;
        chunk.unwrap_or_else(|cancelled| Err(Error::Cancelled(cancelled)))
    }

    /// [`chunk`](Response::chunk) as a poll.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        let parts = &mut *self.0;
        let source = match &mut parts.body {
            Body::Comes(source) => source,
            Body::Ended | Body::Switched(_) => return Poll::Ready(Ok(None)),
            Body::Failed => return Poll::Ready(Err(Error::Truncated)),
        };
        let max = parts.bytes_max.unwrap_or(u64::MAX);
        let mut read = match &mut parts.decoder {
            _ if parts.length > Some(max) => Err(Error::TooLarge { max }),
            Some(decoder) => ready!(decoder.poll_chunk(cx, |cx| source.poll_chunk(cx))),
            None => ready!(source.poll_chunk(cx)),
        };
        match &read {
            Ok(Some(chunk)) => parts.bytes += chunk.len() as u64,
            Ok(None) => parts.end(),
            Err(_) => {}
        }
        if parts.bytes > max {
            read = Err(Error::TooLarge { max });
        }
        if let Err(error) = &read {
            parts.body = Body::Failed;
            if let Some(mut held) = parts.held.take()
                && error.fault() == Fault::Upstream
            {
                held.fail();
            }
        }
        Poll::Ready(read)
    }

    /// The trailer fields, if there are any and the body has been read to its end. Ask for them by `TE: trailers`.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.0.trailers.as_ref()
    }

    /// The rest of the body, up to the limit.
    ///
    /// Errors: as [`chunk`](Response::chunk).
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let gathered_max = self.0.gathered_max;
        self.0.bytes_max.get_or_insert(gathered_max);
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first.share()) };
        // What is announced may never come: memory is taken as it does.
        let mut gathered = Vec::with_capacity((first.len() + second.len()) * 2);
        gathered.extend_from_slice(&first);
        gathered.extend_from_slice(&second);
        drop((first, second));
        while let Some(chunk) = self.chunk().await? {
            gathered.extend_from_slice(&chunk);
        }
        Ok(gathered.into())
    }

    /// The rest of the body as text; it must be UTF-8.
    ///
    /// Errors: as [`chunk`](Response::chunk), and that it is not.
    pub async fn text(&mut self) -> Result<String, Error> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|error| Error::Unreadable(error.into()))
    }

    /// The rest of the body as a value of JSON.
    ///
    /// Errors: as [`chunk`](Response::chunk), and that it is none of that shape.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Unreadable(error.into()))
    }
}

/// Passed on to another, piece by piece: the server is read from only as that one takes what came.
impl BodyStream for Response {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn StdError>>>> {
        if let Some(ends) = &mut self.0.ends
            && let Poll::Ready(cancelled) = ends.as_mut().poll(cx)
        {
            return Poll::Ready(Some(Err(Error::Cancelled(cancelled).into())));
        }
        match ready!(self.poll_chunk(cx)) {
            Ok(chunk) => Poll::Ready(chunk.map(|chunk| Ok(Buf::Chunk(chunk)))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn length(&self) -> Option<u64> {
        match self.0.body {
            Body::Ended => self.stated(),
            _ => self.0.length,
        }
    }

    fn trailers(self: Pin<&mut Self>) -> Headers {
        self.0.trailers.as_ref().map(Headers::from).unwrap_or_default()
    }
}

/// Its body, to be passed on; or the connection that no longer speaks HTTP.
impl From<Response> for Content {
    fn from(mut response: Response) -> Self {
        // Most that is short has come with its head: it is sent in one, and its connection is free at once.
        if let Some(chunk) = response.0.whole() {
            return Content::Full(chunk.into());
        }
        match std::mem::replace(&mut response.0.body, Body::Ended) {
            Body::Switched(there) => Content::Tunnel(Tunnel::new(async move |here: Upgraded| {
                here.join(*there, TUNNEL_SILENCE_MAX).await;
            })),
            Body::Ended if response.stated().is_none_or(|bytes| bytes == 0) => Content::Empty,
            body => {
                response.0.body = body;
                // Whoever polls it does not look at that.
                response.0.ends = response.0.scope.take().map(|scope| {
                    let ends: Pin<Box<dyn Future<Output = Cancelled>>> =
                        Box::pin(async move { scope.cancelled().await });
                    ends
                });
                Content::Stream(Box::pin(response))
            }
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("length", &self.0.length)
            .finish_non_exhaustive()
    }
}
