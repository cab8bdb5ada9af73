//! A request, once through: its route, what is told to whoever is behind, the call, and the answer on its way back.

use std::future::{Future, poll_fn};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use shardwise::http::header::{ALLOW, MAX_FORWARDS};
use shardwise::http::{HeaderValue, Method};
use shardwise::layers::RequestId;
use shardwise::prelude::*;
use shardwise::{Body, BodyError, Known, Rejection, Response, client, yield_now};

use crate::config::{Key, Route};
use crate::headers;
use crate::limits::ROUNDS_MAX;
use crate::log::{Entry, Progress, Upload};
use crate::site::{Running, Site};
use crate::table::{Found, is_in_doubt};
use crate::upstream::{Call, Upstream};

/// The handler of all requests.
pub(crate) async fn forward(State(running): State<Running>, request: Request) -> Response {
    // A request goes by the configuration that it came under, to its end.
    let site = running.site();
    let id = RequestId::of(&request);
    let mut entry = Entry::begin(&request, &id, site.config.proxy.access_log);
    let mut answer = answer(&site, &id, request, &mut entry).await.respond();
    answer.headers.set(headers::X_REQUEST_ID, id.value().clone());
    entry.answered(answer)
}

async fn answer(site: &Site, id: &RequestId, mut request: Request, entry: &mut Entry) -> Result<Response> {
    if let Some(response) = own_answer(&request) {
        return Ok(response);
    }
    let proxy = &site.config.proxy;
    let path = if request.path_bytes().is_empty() { "/" } else { request.path() };
    let route = find(site, &request, path)?;
    let target = target(route, path, request.query());
    let upstream = &site.upstreams[route.upstream];
    entry.upstream = Some(Rc::clone(&upstream.name));

    let mut body = request.take_body();
    body.limit(route.body_bytes_max);
    if body.length().is_some_and(|bytes| bytes > route.body_bytes_max) {
        return Err(BodyError::TooLarge { max: route.body_bytes_max }.into());
    }
    let protocol = protocol(&request, &body);
    let mut headers = headers::outward(&request, proxy, entry.client.map(|client| client.ip()), id);
    count_down(&request, &mut headers);
    route.request_headers.apply(&mut headers);
    let call = Call {
        method: request.method(),
        target: &target,
        host: request.authority(),
        headers,
        content: Upload::of(body, &entry.upload),
        expects: request.known(Known::Expect).is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
        protocol,
        key: key(upstream, &request, entry.client),
    };
    let asked = pin!(upstream.ask(call));
    let answer = match in_time(request.shard(), route.time_max, &entry.upload, asked).await {
        Some(Ok(answer)) => answer,
        // A call ends with its request's scope: when the client has left, nobody is asked on.
        Some(Err(client::Error::Cancelled(_))) => {
            return Err(Rejection::new(CLIENT_LEFT, "the client has left").into());
        }
        Some(Err(error)) => return Err(error.into()),
        None => {
            let what = format!("the server behind has not answered within {:?}", route.time_max.unwrap_or_default());
            return Err(Rejection::new(StatusCode::GATEWAY_TIMEOUT, what).into());
        }
    };
    entry.endpoint = answer.endpoint().cloned();
    if entry.upload.is_awaited() {
        // Whoever waits to be asked for its body is asked for it before it is answered.
        yield_now().await;
    }
    Ok(passed_back(answer, site, route))
}

/// What is not for those behind.
fn own_answer(request: &Request) -> Option<Response> {
    match *request.method() {
        // A tunnel to anywhere is none of a reverse proxy's business, and an echo of cookies nobody's.
        Method::CONNECT | Method::TRACE => {
            let what = format!("{} is not passed on", request.method());
            Some(
                Rejection::new(StatusCode::METHOD_NOT_ALLOWED, what)
                    .field(ALLOW, HeaderValue::from_static(""))
                    .respond(),
            )
        }
        // RFC 9110 section 7.6.2.
        Method::OPTIONS if request.header(MAX_FORWARDS.as_str()) == Some(b"0") => {
            Some(Response::new(StatusCode::NO_CONTENT))
        }
        _ => None,
    }
}

/// The same: one less may pass it on.
fn count_down(request: &Request, headers: &mut shardwise::Headers) {
    if *request.method() == Method::OPTIONS
        && let Some(left) = headers.get(&MAX_FORWARDS).and_then(|value| value.to_str().ok()?.parse::<u32>().ok())
    {
        headers.set(MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

fn find<'s>(site: &'s Site, request: &Request, path: &str) -> Result<&'s Route, Rejection> {
    if is_in_doubt(path) {
        let what =
            "a path with `.` or `..`, or what is no percent-encoding, could mean something else to whoever is behind";
        return Err(Rejection::new(StatusCode::BAD_REQUEST, what).remedy("Send it as it is meant."));
    }
    if headers::rounds(request, &site.config.proxy) >= ROUNDS_MAX {
        return Err(Rejection::new(StatusCode::LOOP_DETECTED, "the request goes round in a circle"));
    }
    match site.table.find(request.authority(), request.method(), path) {
        Found::Route(route) => Ok(&site.config.routes[route]),
        Found::Nothing => Err(Rejection::new(StatusCode::NOT_FOUND, "no route leads there")),
        Found::Methods(methods) => {
            let names: Vec<_> = methods.iter().map(Method::as_str).collect();
            let allow = HeaderValue::try_from(names.join(", ")).expect("methods are visible");
            let what = format!("{} is not for this path", request.method());
            Err(Rejection::new(StatusCode::METHOD_NOT_ALLOWED, what).field(ALLOW, allow))
        }
    }
}

/// What is to be spoken instead of HTTP, if the client asks for it and may have it. HTTP/2 in the clear is none of that: what came
/// then would be requests that nobody here has looked at.
fn protocol<'r>(request: &'r Request, body: &Body) -> Option<&'r str> {
    let protocol = std::str::from_utf8(request.asks_for()?).ok()?;
    let is_one = protocol.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let is_http = protocol.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("h2c"));
    (is_one && !is_http && body.length() == Some(0)).then_some(protocol)
}

/// What the endpoint is chosen by, where one is.
fn key(upstream: &Upstream, request: &Request, client: Option<SocketAddr>) -> Option<u64> {
    if !upstream.config.balance.rule.is_keyed() {
        return None;
    }
    let mut hash = Fnv::default();
    match &upstream.config.key {
        Key::Client => client?.ip().hash(&mut hash),
        Key::Path => request.path().hash(&mut hash),
        Key::Header(name) => request.header(name.as_str())?.hash(&mut hash),
    }
    Some(hash.finish())
}

/// FNV-1a of 64 bits: the same in every process, and spread further by those who take it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Path and query as they go on.
fn target(route: &Route, path: &str, query: Option<&str>) -> String {
    let mut target = route.rewritten(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// Waits for an answer; `None` if it takes longer than that from the end of the request. While the client sends, or takes its
/// time to, the server behind is not to blame.
///
/// The work stands where it was made: as an argument of its own kind it would have room here twice.
async fn in_time<F: Future>(
    shard: &Shard,
    time: Option<Duration>,
    upload: &Progress,
    mut work: Pin<&mut F>,
) -> Option<F::Output> {
    let Some(time) = time else { return Some(work.await) };
    let mut alarm = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !upload.has_ended.get() {
            return Poll::Pending;
        }
        alarm.get_or_insert_with(|| shard.alarm(shard.now() + time)).poll_rung(cx).map(|()| None)
    })
    .await
}

/// An answer on its way to the client.
fn passed_back(answer: client::Response, site: &Site, route: &Route) -> Response {
    let version = answer.version();
    let mut response = answer.respond();
    headers::tell_way(&mut response.headers, &site.config.proxy, version);
    route.response_headers.apply(&mut response.headers);
    response
}

/// nginx's, for its log: nobody is there to read it, but for clients that have only ended their side.
const CLIENT_LEFT: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};
