//! One request and its response, whatever the HTTP version: the vocabulary between connection loops and services.
//!
//! A connection loop builds a [`Request`] from one contiguous head block and its table, calls the [`Service`], and encodes
//! the [`Response`]. No header map is built on the way in either direction.

mod body;
mod datagrams;
mod join;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod tunnel;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use proto::head::KnownHead;
use shards::{Leased, Pooled, Shard};

pub use body::{Body, BodyError, Incoming, Trailers};
pub use datagrams::Datagrams;
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

    /// Answers a request that has nothing but a head, which keeps coming, if no more than the head is wanted for that: then no
    /// request is made, nor dropped: in a pipeline a fifth of the instructions. What it has [noted](Request::note) of earlier
    /// requests tells whether it may. `None` has the request made, and [called](Service::call).
    fn call_by_head(&self, head: &KnownHead) -> Option<Reply> {
        let _ = head;
        None
    }
}

/// For several servers of one shard.
impl<S: Service> Service for Rc<S> {
    #[inline]
    fn call(&self, request: Request) -> Reply {
        S::call(self, request)
    }

    #[inline]
    fn call_by_head(&self, head: &KnownHead) -> Option<Reply> {
        S::call_by_head(self, head)
    }
}

/// What a service gives back: most answers are there at once and need no future.
#[derive(Debug)]
pub enum Reply {
    /// The answer, in a place of the shard's pool: it goes through many hands.
    Ready(Pooled<Response>),
    /// A future of it, in a slot leased from the shard's size classes.
    Later(Leased<'static, Pooled<Response>>),
}

impl Reply {
    /// An answer that is there at once, made where it lies.
    #[inline(always)]
    pub fn ready(shard: &Shard, make: impl FnOnce() -> Response) -> Self {
        Reply::Ready(shard.pooled_with(make))
    }

    /// An answer that takes its time: a future of it, made where it lies.
    #[inline(always)]
    pub fn later<F: Future<Output = Response> + 'static>(shard: &Shard, make: impl FnOnce() -> F) -> Self {
        Reply::Later(shard.lease_with(|| Pooling { answer: make(), shard: shard.clone() }))
    }
}

pin_project! {
    /// A future of an answer that goes to its place as soon as it is there. Not an async block, which would have room for the future
    /// twice.
    struct Pooling<F> {
        #[pin]
        answer: F,
        shard: Shard,
    }
}

impl<F: Future<Output = Response>> Future for Pooling<F> {
    type Output = Pooled<Response>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Pooled<Response>> {
        let this = self.project();
        this.answer.poll(cx).map(|response| this.shard.pooled(response))
    }
}
