//! A request as it is put together.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, EXPECT, HOST, PROXY_AUTHORIZATION, UPGRADE};
use http::{HeaderName, HeaderValue, Method};
use proto::head::{Fields, Known};
use serde::Serialize;
use shards::{Pooled, Shard};
use smallvec::SmallVec;

use super::ask::ask;
use super::pool::Pool;
use super::proxy::Proxy;
use super::response::Response;
use super::target::{Protocols, Target};
use super::upgrade::Upgrade;
use super::url::Url;
use super::{Config, Error, decode, redirect};
use crate::conn::client::{Outline, Shared};
use crate::limits::{REDIRECT_BODY_BYTES_MAX, REDIRECT_BODY_TIME_MAX};
use crate::upstream::{Ask, Upstream, twin};
use crate::{Content, Headers};

/// A request that has not been sent. What is wrong with it is said by [`send`](Request::send).
#[must_use = "a request goes nowhere until it is sent"]
pub struct Request<'u>(Pooled<Parts<'u>>);

/// What it is made of: large, and handed on from one word about it to the next.
struct Parts<'u> {
    pool: Rc<Pool>,
    /// Which has the pool, and says whom to ask.
    upstream: Option<Upstream>,
    /// By which an upstream chooses an endpoint.
    key: Option<u64>,
    method: Method,
    url: Cow<'u, str>,
    headers: Headers,
    content: Content,
    expects: bool,
    protocols: Protocols,
    upgrade: Option<Upgrade>,
    path: Option<PathBuf>,
    proxy: Option<Proxy>,
    redirects: u32,
    decompresses: bool,
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
        let (upstream, key) = Default::default();
        let Config { redirects_max: redirects, decompresses, .. } = pool.shared.config;
        let shard = pool.shared.shard.clone();
        Request(shard.pooled(Parts {
            pool,
            upstream,
            key,
            method,
            url,
            headers,
            content,
            expects: false,
            protocols,
            upgrade: None,
            path: None,
            proxy: None,
            redirects,
            decompresses,
            fault: None,
        }))
    }

    /// Asks an upstream for a path.
    pub(crate) fn of(upstream: &Upstream, method: Method, path: Cow<'u, str>) -> Self {
        let pool = Rc::clone(upstream.client().pool());
        let fault = (!path.starts_with('/')).then(|| Error::Url {
            url: (*path).into(),
            what: "of an upstream, a path is asked for, such as /items?by=name",
        });
        let mut request = Request::new(pool, method, path);
        (request.0.upstream, request.0.fault) = (Some(upstream.clone()), fault);
        request
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
            (Ok(UPGRADE), _) => self.refuse(UPGRADE.as_str(), "call `upgrade`"),
            (Ok(name), Ok(value)) => self.0.headers.append(name, value),
            (Ok(name), Err(_)) => self.refuse(name.as_str(), "its value holds a control character"),
            (Err(_), _) => self.refuse("a header", "its name holds a character that is not allowed, or is empty"),
        }
        self
    }

    /// Adds all these headers, as [`header`](Request::header) would one by one.
    pub fn headers(mut self, headers: Headers) -> Self {
        for (name, _) in headers.iter() {
            match *name {
                EXPECT => self.refuse(EXPECT.as_str(), "call `expect_continue`"),
                UPGRADE => self.refuse(UPGRADE.as_str(), "call `upgrade`"),
                _ => {}
            }
        }
        self.0.headers.add(headers);
        self
    }

    /// Gives it a body: bytes of any kind, or the [`Body`](crate::Body) of a request that is passed on.
    pub fn body(mut self, content: impl Into<Content>) -> Self {
        self.0.content = content.into();
        self
    }

    /// Gives it a body of JSON.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => {
                self.0.headers.set(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                self.body(text)
            }
            Err(error) => {
                self.0.fault.get_or_insert(Error::Body(error.into()));
                self
            }
        }
    }

    /// Holds the body back until the server asks for it, or for a while: a server that does not want it says so first.
    pub fn expect_continue(mut self) -> Self {
        self.0.expects = true;
        self
    }

    /// Asks over HTTP/1.1 and nothing else, also where the server would speak HTTP/2.
    pub fn http1(mut self) -> Self {
        self.0.protocols = Protocols::Http1;
        self
    }

    /// Asks over HTTP/2, which the server is known to speak (RFC 9113 section 3.3): many requests at a time go over one connection.
    pub fn http2(mut self) -> Self {
        self.0.protocols = Protocols::Http2;
        self
    }

    /// Asks over HTTP/3, which the server of an `https` URL is known to speak at the URL's port.
    pub fn http3(mut self) -> Self {
        self.0.protocols = Protocols::Http3;
        self
    }

    /// Asks at a socket of this machine, by its path (a Unix socket), whatever host the URL names.
    pub fn unix(mut self, path: impl Into<PathBuf>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// Follows redirects, so many and no more, instead of as many as the [client](super::Config::redirects_max) does. Methods change
    /// as everywhere (RFC 9110 section 15.4): to `GET` after 303, and of `POST` after 301 and 302. Credentials do not go to
    /// another origin; a body goes along if it is at hand, and if it is not the redirect is the answer. What is asked of an
    /// [upstream](crate::upstream) is not led away from it.
    pub fn redirects(mut self, max: u32) -> Self {
        self.0.redirects = max;
        self
    }

    /// Asks for the body compressed, by gzip or deflate, with the feature `codings` also by br and zstd, and decodes it as it is
    /// read. Unless `Accept-Encoding` was set, in which case what comes so coded is decoded all the same. Limits are those of
    /// what is read.
    pub fn decompress(mut self) -> Self {
        self.0.decompresses = true;
        self
    }

    /// Goes through this proxy, instead of the [client's](super::Config::proxy).
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.0.proxy = Some(proxy);
        self
    }

    /// Offers to speak this protocol instead, over HTTP/1.1 whatever else is said (RFC 9110 section 7.8). A server that agrees
    /// answers 101, and [`upgraded`](Response::upgraded) gives the connection; any other answers as ever. Such a request has no
    /// body.
    ///
    /// A WebSocket that is passed on is asked for by `websocket`; its other fields are among the headers. One that has come over
    /// HTTP/2 or HTTP/3 has no key (RFC 8441 section 5), and is given one.
    pub fn upgrade(mut self, protocol: &str) -> Self {
        match Upgrade::offer(protocol) {
            Ok(upgrade) => self.0.upgrade = Some(upgrade),
            Err(what) => self.refuse(UPGRADE.as_str(), what),
        }
        self
    }

    /// Passes on what came in a request: its headers, but for those that were for the connection or for us (RFC 9110 section
    /// 7.6.1), and its body, as it comes.
    pub fn pass_on(mut self, received: &mut crate::Request) -> Self {
        let (block, fields) = received.fields();
        self.0.headers.add(end_to_end(block, fields, |known| !matches!(known, Known::Host | Known::Expect)));
        self.0.content = Content::from(received.take_body());
        self
    }

    fn refuse(&mut self, name: &str, what: &'static str) {
        self.0.fault.get_or_insert_with(|| Error::Header { name: name.into(), what });
    }

    /// Asks the endpoint of an upstream that has all requests with this, where it is balanced by a ring or a table: a hash of a
    /// name, a session, a path.
    pub fn key(mut self, key: u64) -> Self {
        self.0.key = Some(key);
        self
    }

    /// Sends it, and waits for the head of the response. The body is received as it is read.
    ///
    /// A request that a server may be asked twice (RFC 9110 section 9.2.2) is sent once more, over a new connection, if a kept
    /// one turns out to be closed before anything has come of an answer, and if the body is at hand; any request is that the server
    /// says not to have [looked at](Error::Unprocessed), and, unless it is to be of one version, that the server wants over HTTP/1.1
    /// (RFC 9113 section 7).
    ///
    /// Cancel safe in that nothing is left behind: dropping the future closes the connection, of HTTP/2 and HTTP/3 the stream.
    /// What the server has done of the request by then, nobody knows.
    ///
    /// It ends with the [current scope](shards::Shard::current_scope): when the client whose request it is for goes away, or when
    /// the deadline passes; so does the reading of the answer's body.
    ///
    /// Errors: see [`Error`].
    pub async fn send(mut self) -> Result<Response, Error> {
        let shared = Rc::clone(&self.0.pool.shared);
        let Shared { shard, config, .. } = &*shared;
        let scope = shard.current_scope().map_err(|_| Error::Full)?;
        if let (Some(field), Some(deadline)) = (config.deadline_field, scope.deadline()) {
            field.tell(&mut self.0.headers, deadline, shard.now());
        }
        // In a slot of its own, so that whoever sends has no room for all that may become of it.
        let asked = match self.0.upstream.is_some() {
            true => shard.lease_with(|| self.call()),
            false => shard.lease_with(|| self.ask()),
        };
        match scope.run(asked).await {
            Ok(response) => Ok(response?.within(scope)),
            Err(cancelled) => Err(Error::Cancelled(cancelled)),
        }
    }

    /// What can be said before anybody is asked.
    fn prepare(&mut self) -> Result<(), Error> {
        let Parts { pool, method, headers, content, upgrade, decompresses, fault, .. } = &mut *self.0;
        if let Some(fault) = fault.take() {
            return Err(fault);
        }
        if *method == Method::CONNECT || matches!(content, Content::Tunnel(_)) {
            return Err(Error::Header { name: method.as_str().into(), what: "the client speaks nothing but HTTP" });
        }
        if let Some(upgrade) = upgrade {
            upgrade.write(headers, content, || pool.shared.shard.random())?;
        }
        if *decompresses && headers.get(&ACCEPT_ENCODING).is_none() {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(decode::OFFER));
        }
        Ok(())
    }

    /// Asks the upstream.
    async fn call(mut self) -> Result<Response, Error> {
        self.prepare()?;
        let Parts { pool, upstream, key, method, url, headers, content, expects, upgrade, decompresses, .. } =
            &mut *self.0;
        let Some(Upstream(shared)) = upstream else { unreachable!("it was looked at") };
        let (target, upgrade) = (url.as_bytes(), upgrade.as_ref());
        let ask = Ask { method, target, headers, expects: *expects, upgrade, key: *key };
        let response = shared.call(ask, std::mem::take(content)).await?;
        Ok(if *decompresses { response.decoded(pool.shared.shard.pool()) } else { response })
    }

    /// Asks the server that the URL names, and others to which that one leads.
    async fn ask(mut self) -> Result<Response, Error> {
        self.prepare()?;
        let Parts {
            pool,
            method,
            url,
            headers,
            content,
            expects,
            protocols,
            upgrade,
            path,
            proxy,
            redirects,
            decompresses,
            ..
        } = &mut *self.0;
        let Shared { shard, config, .. } = &*pool.shared;
        let (upgrade, mut steps) = (upgrade.as_ref(), 0);
        loop {
            let asked = Url::parse(url)?;
            if *protocols == Protocols::Http3 && !asked.is_secure {
                let what = "HTTP/3 is spoken with servers of https only";
                return Err(Error::Url { url: asked.origin.into(), what });
            }
            let is_plain = upgrade.is_none()
                && matches!(protocols, Protocols::Usual | Protocols::Http1)
                && headers.get(&HOST).is_none_or(|host| host == asked.authority);
            let proxy_asked = match proxy.as_ref().or(config.proxy.as_ref()) {
                Some(proxy) if proxy.is_asked() && is_plain && !asked.is_secure && path.is_none() => Some(proxy),
                _ => None,
            };
            // Goes no further than a server's other lines: `Step::strip`.
            if let Some(login) = proxy_asked.map(Proxy::shows).transpose()?.flatten() {
                headers.set(PROXY_AUTHORIZATION, login);
            }
            let target = match proxy_asked {
                Some(proxy) => Target::asked_for(proxy, asked.authority),
                None => Target::of(&asked, *protocols),
            };
            let target = match &*proxy {
                Some(proxy) if proxy_asked.is_none() => target.through(proxy),
                _ => target,
            };
            let target = if let Some(path) = &*path { target.at(path) } else { target };
            let host = headers.get(&HOST).map_or(target.authority.as_bytes(), HeaderValue::as_bytes);
            let whole = proxy_asked.map(|_| format!("http://{}{}", asked.authority, asked.target));
            let what = whole.as_deref().unwrap_or(&asked.target).as_bytes();
            let outline = Outline { method, target: what, host, headers, expects: *expects, upgrade };
            let copy = if *redirects > 0 { twin(content) } else { None };
            let response = ask(pool, &target, outline, content).await?;
            let step = match *redirects {
                0 => None,
                _ => redirect::step(&response, &asked, method, config.redirects_bare)?,
            };
            // A body that has gone cannot go again, and a socket of this machine has the one server.
            let step = step.filter(|step| !(step.has_body && copy.is_none() || step.is_elsewhere && path.is_some()));
            let Some(step) = step else {
                return Ok(if *decompresses { response.decoded(shard.pool()) } else { response });
            };
            steps += 1;
            if steps > *redirects {
                return Err(Error::Redirect { url: step.url.into(), what: "it is one redirect too many" });
            }
            shard.lease(read_over(shard, response)).await;
            *content = copy.unwrap_or_default();
            step.strip(headers, content);
            (*method, *url) = (step.method, Cow::Owned(step.url));
        }
    }
}

/// A redirect's own body, if it is short: its connection is worth that.
async fn read_over(shard: &Shard, mut response: Response) {
    if response.length().is_some_and(|bytes| bytes <= REDIRECT_BODY_BYTES_MAX) {
        let _ = shard.timeout(REDIRECT_BODY_TIME_MAX, response.bytes()).await;
    }
}

/// Header lines without those that were for one connection: the known ones, and what `Connection` names (RFC 9110 section
/// 7.6.1); and only those that are kept besides.
pub(crate) fn end_to_end(block: &[u8], fields: &Fields, mut is_kept: impl FnMut(Known) -> bool) -> Headers {
    let options = fields.all(block, Known::Connection).flat_map(|value| value.split(|byte| *byte == b','));
    let options: SmallVec<[&[u8]; 4]> = options.map(<[u8]>::trim_ascii).collect();
    let lines = fields.as_slice().iter().filter_map(|field| {
        let name = field.name.of(block);
        let is_named = || options.iter().any(|option| option.eq_ignore_ascii_case(name));
        if field.known.is_hop_by_hop() || is_named() || !is_kept(field.known) {
            return None;
        }
        let name = match field.known.header_name() {
            Some(name) => name.clone(),
            None => HeaderName::from_bytes(name).ok()?,
        };
        Some((name, HeaderValue::from_bytes(field.value.of(block)).ok()?))
    });
    let mut headers = Headers::with_capacity(fields.len() + LINES_PUT_MAX);
    lines.for_each(|(name, value)| headers.append(name, value));
    headers
}

/// As many lines as a proxy usually puts beside those that it passes on.
const LINES_PUT_MAX: usize = 6;

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.method, self.0.url)
    }
}
