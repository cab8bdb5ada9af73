//! A request as it is put together.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use http::header::{CONTENT_TYPE, EXPECT, HOST, UPGRADE};
use http::{HeaderName, HeaderValue, Method};
use proto::head::Known;
use serde::Serialize;

use super::Error;
use super::ask::ask;
use super::pool::Pool;
use super::response::Response;
use super::target::{Protocols, Target};
use super::url::Url;
use crate::conn::client::Outline;
use crate::{Content, Headers};

/// A request that has not been sent. What is wrong with it is said by [`send`](Request::send).
#[must_use = "a request goes nowhere until it is sent"]
pub struct Request<'u> {
    pool: Rc<Pool>,
    method: Method,
    url: Cow<'u, str>,
    headers: Headers,
    content: Content,
    expects: bool,
    protocols: Protocols,
    fault: Option<Error>,
}

impl<'u> Request<'u> {
    pub(super) fn new(pool: Rc<Pool>, method: Method, url: Cow<'u, str>) -> Self {
        let (headers, content) = Default::default();
        let protocols = match &pool.shared.config {
            config if config.http3 => Protocols::Http3,
            config if config.http2 => Protocols::Http2,
            _ => Protocols::Usual,
        };
        Request { pool, method, url, headers, content, expects: false, protocols, fault: None }
    }

    /// Adds a header. `Host` takes the place of the URL's. The framing of the body is the connection's to say, and what is
    /// set of it is left out; of `Connection` only `close` is heard, of `TE` only `trailers`.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        HeaderValue: TryFrom<V>,
    {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(EXPECT), _) => self.refuse(EXPECT.as_str(), "call `expect_continue`"),
            (Ok(UPGRADE), _) => self.refuse(UPGRADE.as_str(), "the client speaks nothing but HTTP"),
            (Ok(name), Ok(value)) => self.headers.append(name, value),
            (Ok(name), Err(_)) => self.refuse(name.as_str(), "its value holds a control character"),
            (Err(_), _) => self.refuse("a header", "its name holds a character that is not allowed, or is empty"),
        }
        self
    }

    /// Gives it a body: bytes of any kind, or the [`Body`](crate::Body) of a request that is passed on.
    pub fn body(mut self, content: impl Into<Content>) -> Self {
        self.content = content.into();
        self
    }

    /// Gives it a body of JSON.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => {
                self.headers.set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body(text)
            }
            Err(error) => {
                self.fault.get_or_insert(Error::Body(error.into()));
                self
            }
        }
    }

    /// Holds the body back until the server asks for it, or for a while: a server that does not want it says so first.
    pub fn expect_continue(mut self) -> Self {
        self.expects = true;
        self
    }

    /// Asks over HTTP/1.1 and nothing else, also where the server would speak HTTP/2.
    pub fn http1(mut self) -> Self {
        self.protocols = Protocols::Http1;
        self
    }

    /// Asks over HTTP/2, which the server is known to speak (RFC 9113 section 3.3): many requests at a time go over one connection.
    pub fn http2(mut self) -> Self {
        self.protocols = Protocols::Http2;
        self
    }

    /// Asks over HTTP/3, which the server of an `https` URL is known to speak at the URL's port.
    pub fn http3(mut self) -> Self {
        self.protocols = Protocols::Http3;
        self
    }

    /// Passes on what came in a request: its headers, but for those that were for the connection or for us (RFC 9110 section
    /// 7.6.1), and its body, as it comes.
    pub fn pass_on(mut self, received: &mut crate::Request) -> Self {
        for (name, value) in end_to_end(received.headers()) {
            if name != HOST && name != EXPECT {
                self.headers.append(name, value);
            }
        }
        self.content = Content::from(received.take_body());
        self
    }

    fn refuse(&mut self, name: &str, what: &'static str) {
        self.fault.get_or_insert_with(|| Error::Header { name: name.into(), what });
    }

    /// Sends it, and waits for the head of the response. The body is received as it is read.
    ///
    /// A request that a server may be asked twice (RFC 9110 section 9.2.2) is sent once more, over a new connection, if a kept
    /// one turns out to be closed before anything has come of an answer, and if the body is at hand; any request is that the server
    /// says not to have [looked at](Error::Unprocessed).
    ///
    /// Cancel safe in that nothing is left behind: dropping the future closes the connection, of HTTP/2 and HTTP/3 the stream.
    /// What the server has done of the request by then, nobody knows.
    ///
    /// Errors: see [`Error`].
    pub async fn send(self) -> Result<Response, Error> {
        let Request { pool, method, url, headers, mut content, expects, protocols, fault } = self;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if method == Method::CONNECT || matches!(content, Content::Tunnel(_)) {
            return Err(Error::Header { name: method.as_str().into(), what: "the client speaks nothing but HTTP" });
        }
        let url = Url::parse(&url)?;
        if protocols == Protocols::Http3 && !url.is_secure {
            return Err(Error::Url { url: url.origin.into(), what: "HTTP/3 is spoken with servers of https only" });
        }
        let target = Target::of(&url, protocols);
        let host = headers.get(&HOST).map_or(target.authority.as_bytes(), HeaderValue::as_bytes);
        let outline = Outline { method: &method, target: url.target.as_bytes(), host, headers: &headers, expects };
        ask(&pool, &target, outline, &mut content).await
    }
}

/// Header lines without those that were for one connection: the known ones, and what `Connection` names (RFC 9110 section
/// 7.6.1).
pub(super) fn end_to_end<'h>(
    lines: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let options = lines.clone().filter(|(name, _)| Known::of(name) == Known::Connection);
    let options = options.flat_map(|(_, value)| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    lines.filter_map(move |(name, value)| {
        let is_named = || options.clone().any(|option| option.eq_ignore_ascii_case(name));
        if Known::of(name).is_hop_by_hop() || is_named() {
            return None;
        }
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    })
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}
