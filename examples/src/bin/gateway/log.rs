//! The access log: one line for each request, when the last byte of its answer has been taken, or when it is given up.
//!
//! The one idea: an [`Entry`] goes along with the exchange, into the body of the answer, and writes its line when it is dropped.
//! So there is one line whatever happens.

use std::cell::Cell;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use shardwise::http::{Method, StatusCode, Version};
use shardwise::layers::RequestId;
use shardwise::prelude::*;
use shardwise::upstream::Address;
use shardwise::{Body, BodyStream, Buf, Content, Headers, Response};

/// What is known of an exchange so far.
pub(crate) struct Entry {
    shard: Shard,
    begun: Instant,
    is_wanted: bool,
    method: Method,
    version: Version,
    host: String,
    path: String,
    id: RequestId,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) upstream: Option<Rc<str>>,
    pub(crate) endpoint: Option<Address>,
    pub(crate) upload: Rc<Progress>,
    status: Option<StatusCode>,
    /// Until the answer's head was there.
    head_time: Duration,
    bytes: u64,
    is_whole: bool,
}

/// How far a request's body is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) bytes: Cell<u64>,
    pub(crate) has_ended: Cell<bool>,
    is_wanted: Cell<bool>,
}

impl Progress {
    /// Whether it is waited for, and nothing of it has come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_wanted.get() && self.bytes.get() == 0 && !self.has_ended.get()
    }
}

impl Entry {
    pub(crate) fn begin(request: &Request, id: &RequestId, is_wanted: bool) -> Self {
        let shard = request.shard().clone();
        let kept = |text: fn(&Request) -> &str| if is_wanted { text(request).to_owned() } else { String::new() };
        Entry {
            begun: shard.clock(),
            is_wanted,
            method: request.method().clone(),
            version: request.version(),
            host: kept(|request| request.authority()),
            path: kept(|request| request.path()),
            id: id.clone(),
            // Asked now: when the exchange has ended, the connection may have too.
            client: request.peer().remote(),
            upstream: None,
            endpoint: None,
            upload: Rc::default(),
            status: None,
            head_time: Duration::ZERO,
            bytes: 0,
            is_whole: true,
            shard,
        }
    }

    /// The answer, which takes the entry along if its body is still to come.
    pub(crate) fn answered(mut self, mut response: Response) -> Response {
        self.status = Some(response.status);
        self.head_time = self.shard.clock() - self.begun;
        response.content = match response.content {
            Content::Stream(stream) => {
                self.is_whole = false;
                Content::Stream(Box::pin(Download { stream, entry: self }))
            }
            content => {
                self.bytes = content.length().unwrap_or_default();
                content
            }
        };
        response
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_wanted {
            return;
        }
        // What a span would say stands in the line.
        tracing::info!(
            parent: None,
            method = self.method.as_str(),
            host = self.host,
            path = self.path,
            version = debug(self.version),
            status = self.status.map(|status| status.as_u16()),
            upstream = self.upstream.as_deref(),
            endpoint = self.endpoint.as_ref().map(display),
            time = debug(self.shard.clock() - self.begun),
            head_time = self.status.map(|_| debug(self.head_time)),
            bytes_in = self.upload.bytes.get(),
            bytes_out = self.bytes,
            client = self.client.map(display),
            request_id = self.id.as_str(),
            "{}",
            match self.status {
                None => "given up",
                Some(_) if !self.is_whole => "cut",
                Some(_) => "answered",
            }
        );
    }
}

/// A body on its way to the client, with its entry.
struct Download {
    stream: Pin<Box<dyn BodyStream>>,
    entry: Entry,
}

impl BodyStream for Download {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
        let next = self.stream.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(piece))) => {
                self.entry.bytes += piece.len() as u64;
                // Whoever has had all that was announced does not ask for the end.
                self.entry.is_whole = self.stream.length() == Some(0);
            }
            Poll::Ready(None) => self.entry.is_whole = true,
            _ => {}
        }
        next
    }

    fn length(&self) -> Option<u64> {
        self.stream.length()
    }

    fn trailers(mut self: Pin<&mut Self>) -> Headers {
        self.stream.as_mut().trailers()
    }
}

/// A body on its way to an upstream.
pub(crate) struct Upload {
    body: Body,
    progress: Rc<Progress>,
}

impl Upload {
    pub(crate) fn of(body: Body, progress: &Rc<Progress>) -> Content {
        match body.length() {
            Some(0) => {
                progress.has_ended.set(true);
                Content::Empty
            }
            _ => Content::Stream(Box::pin(Upload { body, progress: Rc::clone(progress) })),
        }
    }
}

impl BodyStream for Upload {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn Error>>>> {
        self.progress.is_wanted.set(true);
        let Poll::Ready(next) = self.body.poll_chunk(cx) else { return Poll::Pending };
        let Progress { bytes, has_ended, .. } = &*self.progress;
        match &next {
            Ok(Some(chunk)) => bytes.set(bytes.get() + chunk.len() as u64),
            Ok(None) | Err(_) => has_ended.set(true),
        }
        match next {
            Ok(chunk) => Poll::Ready(chunk.map(|chunk| Ok(Buf::Chunk(chunk)))),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    fn length(&self) -> Option<u64> {
        self.body.length()
    }

    fn trailers(self: Pin<&mut Self>) -> Headers {
        self.body.trailers().map(Headers::from).unwrap_or_default()
    }
}
