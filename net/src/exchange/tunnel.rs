//! [`Tunnel`]: what becomes of a connection that stops to speak HTTP (RFC 9110 section 7.8, and section 9.3.6 for `CONNECT`).
//!
//! The one idea: whoever answers a request also says who owns the connection afterwards. The answer's head is sent in full;
//! then the stream itself moves to that code, with whatever has come behind the request.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use platform::Chunk;
use shards::ScopeHandle;

use crate::Transport;

/// Who owns a connection once a request is answered by 101, or a `CONNECT` by 2xx: the content of such an answer.
///
/// Over HTTP/2 it owns the stream, and what it sends and receives is the stream's data: where the client has asked by `CONNECT`,
/// with a `:protocol` (RFC 8441) or without; then 101 becomes 200, and a success without a tunnel 501. Anyone else is answered
/// 501. With a status that grants nothing it is dropped, and nothing is sent in its place.
///
/// It runs in the connection's task, in a scope of its own (`tunnel`): what is spawned there is cancelled when it ends, and
/// awaited. The drain waits for it, and so tells it: its task is woken, and
/// [`is_draining`](shards::Shard::is_draining) says so. No time limit of the server's holds for it any more.
pub struct Tunnel(Box<dyn FnOnce(Upgraded) -> Work>);

/// What runs in a tunnel.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()>>>;

/// A connection that no longer speaks HTTP: of a client to us, or ours to a server ([`upgraded`](crate::client::Response::upgraded)).
#[derive(Debug)]
pub struct Upgraded {
    /// The stream. The peer may have ended its side already. Over HTTP/2 an end of one side ends the stream's, and when a peer
    /// resets the stream, that is a connection reset.
    pub stream: Transport,
    /// What was received behind the request: the first bytes of whatever is spoken now. At most what the loop receives ahead,
    /// [`READ_AHEAD_BYTES_MAX`](crate::limits::READ_AHEAD_BYTES_MAX) and one receive more.
    pub received: Option<Chunk>,
    /// Where the work runs, at the server's end.
    pub(crate) scope: Option<ScopeHandle>,
    /// The client's place for it, which counts as in use until this goes.
    pub(crate) _held: Option<Box<dyn Any>>,
}

/// A stream that never spoke HTTP, to be [joined](Upgraded::join) to one that does no more: a proxy's way on.
impl From<Transport> for Upgraded {
    fn from(stream: Transport) -> Self {
        Upgraded { stream, received: None, scope: None, _held: None }
    }
}

impl Tunnel {
    /// Gives the connection to `work`. It ends when `work` does, and is closed.
    ///
    /// ```
    /// use http::{HeaderValue, StatusCode, header::UPGRADE};
    /// use shardwise_net::{Content, Response, Tunnel, Upgraded};
    ///
    /// let echo = Tunnel::new(async |Upgraded { mut stream, received, .. }| {
    ///     if let Some(chunk) = received {
    ///         let _ = stream.send(chunk).await;
    ///     }
    ///     while let Ok(Some(chunk)) = stream.recv().await {
    ///         if stream.send(chunk).await.is_err() {
    ///             break;
    ///         }
    ///     }
    /// });
    /// let response = Response::new(StatusCode::SWITCHING_PROTOCOLS)
    ///     .with_header(UPGRADE, HeaderValue::from_static("echo"))
    ///     .with_content(Content::Tunnel(echo));
    /// assert_eq!(response.content.length(), Some(0));
    /// ```
    pub fn new<F: AsyncFnOnce(Upgraded) + 'static>(work: F) -> Self {
        Tunnel(Box::new(|upgraded| Box::pin(async move { work(upgraded).await })))
    }

    pub(crate) fn begin(self, upgraded: Upgraded) -> Work {
        (self.0)(upgraded)
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}
