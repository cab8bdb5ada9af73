//! One request and its response, whatever the HTTP version: the vocabulary between connection loops and services.
//!
//! A connection loop builds a [`Request`] from one contiguous head block and its table, calls the [`Service`], and encodes
//! the [`Response`]. No header map is built on the way in either direction.

mod body;
mod join;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod tunnel;

use std::rc::Rc;

use shards::Leased;

pub use body::{Body, BodyError, Incoming, Trailers};
pub use join::Joined;
pub use request::{Head, HeadSpares, Peer, Request};
pub use response::{BodyStream, Content, Headers, Made, Piece, Response};
pub(crate) use tunnel::Work;
pub use tunnel::{Tunnel, Upgraded};

/// Answers requests. One value per shard serves all of that shard's connections.
pub trait Service {
    /// Answers one request. It runs on the connection's shard and may keep the request for as long as it likes.
    ///
    /// A service catches its own panics; one that escapes ends the connection.
    fn call(&self, request: Request) -> Reply;
}

/// For several servers of one shard.
impl<S: Service> Service for Rc<S> {
    #[inline]
    fn call(&self, request: Request) -> Reply {
        S::call(self, request)
    }
}

/// What a service gives back: most answers are there at once and need no future.
#[derive(Debug)]
pub enum Reply {
    /// The answer.
    Ready(Response),
    /// A future of it, in a slot leased from the shard's size classes.
    Later(Leased<'static, Response>),
}
