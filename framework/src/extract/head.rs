//! Extractors that copy a part of the head, or name where the request is.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use net::{Body, Client};
use shards::{ScopeHandle, Shard, TraceContext};

use super::{FromHead, Rejection};
use crate::request::Request;

impl FromHead for Method {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(request.method().clone())
    }
}

/// The request target, parsed.
impl FromHead for Uri {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        request.target().parse().map_err(|error| {
            let what = format!("the request target is not a URI: {error}");
            request.refuse(StatusCode::BAD_REQUEST, what, "Percent-encode what a URI may not hold.")
        })
    }
}

/// A map of all headers: an allocation and a copy of each. [`Request::header`](net::Request::header) reads one
/// where it lies.
impl FromHead for HeaderMap {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let mut map = HeaderMap::with_capacity(request.headers().count());
        for (name, value) in request.headers() {
            // The connection has let through what HTTP admits; the types could only be stricter in what nobody sends.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                map.append(name, value);
            }
        }
        Ok(map)
    }
}

/// The shard that runs this handler.
impl FromHead for Shard {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(request.shard().clone())
    }
}

/// The shard's own client, as [`Client::new`] makes it: one for all handlers. One that is set up otherwise is a
/// [`State`](crate::State).
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::{Client, client, test};
///
/// // What a server behind this one answers, passed on piece by piece, both ways.
/// async fn pass_on(client: Client, mut request: Request) -> Result<client::Response> {
///     let url = format!("http://10.0.0.1/inner{}", request.path());
///     Ok(client.request(request.method().clone(), url).pass_on(&mut request).send().await?)
/// }
///
/// let app = App::new()
///     .post("/double", pass_on)
///     .post("/inner/double", |Json(number): Json<u32>| Json(number * 2));
/// let server = test::run(app);
/// assert_eq!(server.send(test::Request::post("/double").json(&21)).json::<u32>(), 42);
/// ```
impl FromHead for Client {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let shard = request.shard();
        Ok((*shard.local(|| Client::new(shard))).clone())
    }
}

/// The scope of this request: what its tasks are spawned in, what tells them that the client has left, and what has the
/// request's deadline.
///
/// ```
/// use shardwise::prelude::*;
/// use std::cell::RefCell;
/// use std::rc::Rc;
///
/// type Log = Rc<RefCell<Vec<String>>>;
///
/// // A query that takes its time, and learns why it must end.
/// async fn report(scope: ScopeHandle, State(log): State<Log>) -> &'static str {
///     let query = scope.child("query").unwrap();
///     let rows = query.run(std::future::pending::<()>()).await;
///     log.borrow_mut().extend(query.reason().map(|reason| reason.to_string()));
///     if rows.is_ok() { "done" } else { "given up" }
/// }
///
/// let log = Log::default();
/// let app = { let log = log.clone(); move |_| App::new().state(log.clone()).get("/report", report) };
/// let server = shardwise::test::builder().start(app);
/// server.run(async |client| {
///     let mut connection = client.open().await;
///     connection.send("GET /report HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
///     client.sleep(std::time::Duration::from_secs(1)).await;
/// }); // it goes without waiting for the answer
/// server.advance(std::time::Duration::from_secs(1));
/// assert_eq!(*log.borrow(), ["client disconnected → request 1 → query"]);
/// ```
impl FromHead for ScopeHandle {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        request
            .scope()
            .map_err(|full| request.refuse(StatusCode::SERVICE_UNAVAILABLE, full.to_string(), "Try again later."))
    }
}

/// The trace that this request belongs to: the client's, by its `traceparent`, in the span that the client has named; or
/// one that begins here, if it sends none or no good one. Calls to other shards take it along.
///
/// ```
/// use shardwise::prelude::*;
///
/// let app = App::new().get("/", |trace: TraceContext| trace.to_string());
/// let server = shardwise::test::run(app);
/// let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let request = shardwise::test::Request::get("/").header("traceparent", sent);
/// assert_eq!(server.send(request).text(), sent);
/// assert_ne!(server.get("/").text(), server.get("/").text());
/// ```
impl FromHead for TraceContext {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        let scope = ScopeHandle::from_head(request)?;
        Ok(scope.trace_or(|| TraceContext::begin(request.shard())))
    }
}

/// The address that the request came from: the client's, or that of the proxy between. One system call.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::ConnectInfo;
///
/// let app = App::new().get("/ip", |ConnectInfo(peer): ConnectInfo| peer.ip().to_string());
/// assert!(shardwise::test::run(app).get("/ip").text().parse::<std::net::IpAddr>().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectInfo(pub SocketAddr);

impl FromHead for ConnectInfo {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        // Nobody reads this answer.
        let gone = || Rejection::new(StatusCode::BAD_REQUEST, "the connection has ended");
        request.peer().remote().map(ConnectInfo).ok_or_else(gone)
    }
}

/// The body as a stream of chunks, without a limit. It is taken: a second one is empty.
impl FromHead for Body {
    fn from_head(request: &mut Request) -> Result<Self, Rejection> {
        Ok(request.take_body())
    }
}
