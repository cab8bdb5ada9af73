//! [`WebSocketUpgrade`]: how a handler lets a client speak WebSocket.
//!
//! The extractor judges the request and refuses what is none; [`on_upgrade`](WebSocketUpgrade::on_upgrade) makes the answer
//! and says who speaks from then on. What goes over the wire is `net`'s.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use http::header::{ALLOW, HeaderName, HeaderValue};
use net::{Content, Response, Tunnel};

pub use net::ws::{
    Close, CloseCode, Closed, Compression, Config, Error, Limits, Message, Receiver, Sender, Text, WebSocket,
};

use crate::extract::{FromRequest, Rejection};
use crate::metrics::HttpMetrics;
use crate::request::Request;
use crate::respond::{Respond, failure};
use crate::{caught, error};

/// A request to speak WebSocket, which may be granted: the last argument of a handler.
///
/// Whether its `Origin` is one that may ask is the application's to judge: a browser sends its cookies along whichever page
/// asks (RFC 6455 section 10.2). [`request`](Self::request) has it.
///
/// ```
/// use shardwise::prelude::*;
/// use shardwise::ws::{WebSocket, WebSocketUpgrade};
///
/// fn echo(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(async |mut socket: WebSocket| {
///         while let Some(Ok(message)) = socket.recv().await {
///             if socket.send(message).await.is_err() {
///                 break;
///             }
///         }
///     })
/// }
///
/// let server = shardwise::test::run(App::new().get("/ws", echo));
/// assert_eq!(server.get("/ws").status(), 426, "and the answer says what would have been right");
/// let text = server.run(async |client| {
///     let mut connection = client.open().await;
///     let head = "GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
///         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
///     connection.send([head.as_bytes(), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"].concat()).await.unwrap();
///     let mut said = Vec::new();
///     while !said.ends_with(b"\x81\x05Hello") {
///         said.extend(connection.receive().await.unwrap().expect("the echo comes"));
///     }
///     String::from_utf8_lossy(&said).into_owned()
/// });
/// assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
/// assert!(text.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
/// ```
pub struct WebSocketUpgrade {
    request: Request,
    protocols: Vec<&'static str>,
    compression: Option<Compression>,
    config: Config,
}

impl WebSocketUpgrade {
    /// The request that asks.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The subprotocols that are spoken here, those liked best first. The first that the client speaks too is chosen; if
    /// there is none, the client learns that by its absence, and may go.
    pub fn protocols(mut self, protocols: impl IntoIterator<Item = &'static str>) -> Self {
        self.protocols = protocols.into_iter().collect();
        self
    }

    /// The subprotocol that will be spoken, as the wishes stand.
    pub fn protocol(&self) -> Option<&'static str> {
        let upgrade = self.request.upgrade().ok()?;
        upgrade.accept(&self.protocols, None).protocol
    }

    /// Compresses messages, if the client can: permessage-deflate. Without this nothing is compressed.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// What the client may send.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// After how long a silence the client is sent a ping, and how long it may then stay silent before it is given up.
    pub fn keep_alive(mut self, pause: Duration, pong_time_max: Duration) -> Self {
        (self.config.ping_pause, self.config.pong_time_max) = (pause, pong_time_max);
        self
    }

    /// All that can be set, the limits and times above included.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The answer that grants the request. `work` is given the connection when that has been sent, and runs in the
    /// connection's task, in a scope of its own: what is spawned there ends with it. When `work` ends, the connection is
    /// closed (1000); when it panics, too (1011). When the connection is lost, the scope is cancelled.
    ///
    /// When the drain begins the client is told so (1001): [`recv`](WebSocket::recv) gives `None` and sending an error.
    pub fn on_upgrade<F>(self, work: F) -> Response
    where
        F: AsyncFnOnce(WebSocket) + 'static,
    {
        let Self { request, protocols, compression, config } = self;
        let accepted = match request.upgrade() {
            Ok(upgrade) => upgrade.accept(&protocols, compression.as_ref()),
            // It was judged when it was extracted.
            Err(refusal) => return Rejection::new(refusal.status(), refusal.text()).respond(),
        };
        let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS);
        for (name, value) in accepted.fields() {
            match (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                (Ok(name), Ok(value)) => response.headers.append(name, value),
                (Err(error), _) => return failure(error),
                (_, Err(error)) => return failure(error),
            }
        }
        let (agreed, shard) = (accepted.agreed, request.shard().clone());
        response.content = Content::Tunnel(Tunnel::new(async move |upgraded| {
            let work = async move |socket: WebSocket| match caught::run(work(socket)).await {
                Ok(()) => CloseCode::NORMAL,
                Err(panic) => {
                    HttpMetrics::of(&shard).panics.add(1);
                    tracing::error!(error = %error::Chain(&panic), "a WebSocket's work failed");
                    CloseCode::INTERNAL
                }
            };
            net::ws::serve(upgraded, agreed, config, work).await;
        }));
        response
    }
}

/// Refused is what is no request for WebSocket, with the status that says why: 426 where it does not ask for an upgrade.
impl FromRequest for WebSocketUpgrade {
    async fn from_request(mut request: Request) -> Result<Self, Rejection> {
        if let Err(refusal) = request.upgrade() {
            let rejection = request.refuse(refusal.status(), refusal.text(), "Open it with a WebSocket client.");
            return Err(refusal.fields().iter().fold(rejection, |rejection, (name, value)| {
                rejection
                    .field(HeaderName::from_bytes(name.as_bytes()).unwrap_or(ALLOW), HeaderValue::from_static(value))
            }));
        }
        if request.body_mut().length() != Some(0) {
            let remedy = "Send nothing before the answer.";
            return Err(request.refuse(StatusCode::BAD_REQUEST, "a request for WebSocket has no body", remedy));
        }
        Ok(WebSocketUpgrade { request, protocols: Vec::new(), compression: None, config: Config::default() })
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade").field("request", &self.request).finish_non_exhaustive()
    }
}
