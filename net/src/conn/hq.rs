//! HTTP/0.9 over QUIC (`hq-interop`): what implementations of QUIC try each other by. A line names a path, and the answer is what
//! lies there, on the same stream, with nothing around it.
//!
//! The one idea: it is there to be tried and not to be fast. So one task does all of a connection's work, and looks at each of
//! its exchanges whenever it is woken; there are at most as many as QUIC admits streams.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use platform::Buf;
use proto::h1::{self, Server as Lines};
use shards::{Alarm, Leased, Pass, Pooled};

use super::Counted;
use super::h3::peer;
use crate::limits::{H3_READ_BYTES_MAX, HQ_LINE_BYTES_MAX, LINGER_TIME_MAX};
use crate::quic::{self, Behind, Dir, Read, StreamId};
use crate::{Body, Content, Head, Reply, Request, Response, Service};

/// As ALPN has it.
pub(crate) const PROTOCOL: &[u8] = b"hq-interop";

/// Code by which what cannot be answered is reset. HTTP/0.9 has none of its own.
const FAILED: u64 = 1;

/// Serves a connection until it ends.
pub(crate) fn serve<S: Service + 'static>(
    context: Counted<S>,
    quic: quic::Connection,
    pass: Pass,
) -> impl Future<Output = ()> + use<S> {
    let mut connection = Connection { context, quic, exchanges: Vec::new(), linger: None, _pass: pass };
    async move {
        poll_fn(|cx| connection.poll(cx)).await;
        connection.exchanges.clear();
        poll_fn(|cx| connection.quic.poll_drained(cx)).await;
    }
}

struct Connection<S: Service + 'static> {
    context: Counted<S>,
    quic: quic::Connection,
    exchanges: Vec<Exchange>,
    /// Once the drain has begun and nothing is in hand.
    linger: Option<Alarm>,
    /// Holds the drain until it has ended.
    _pass: Pass,
}

struct Exchange {
    id: StreamId,
    stage: Stage,
    /// What was given to be written and is not.
    piece: Bytes,
}

enum Stage {
    /// The line is to come; so much of it has.
    Line(Vec<u8>),
    Handler(Leased<'static, Pooled<Response>>),
    Content(Content),
}

impl<S: Service + 'static> Connection<S> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        while let Poll::Ready(event) = self.quic.poll(cx) {
            match event {
                quic::Event::Opened(id) if id.dir() == Dir::Bi => {
                    self.exchanges.push(Exchange { id, stage: Stage::Line(Vec::new()), piece: Bytes::new() });
                }
                quic::Event::Opened(id) => self.quic.stop(id, FAILED),
                quic::Event::Stopped(id, code) => {
                    self.quic.reset(id, code);
                    self.exchanges.retain(|exchange| exchange.id != id);
                }
                quic::Event::Closed(_) => return Poll::Ready(()),
                _ => {}
            }
        }
        let mut at = 0;
        while at < self.exchanges.len() {
            match self.step(cx, at) {
                Poll::Pending => at += 1,
                Poll::Ready(outcome) => {
                    let id = self.exchanges.swap_remove(at).id;
                    match outcome {
                        Ok(()) => drop(self.quic.finish(id)),
                        Err(()) => {
                            self.quic.stop(id, FAILED);
                            self.quic.reset(id, FAILED);
                        }
                    }
                }
            }
        }
        if self.exchanges.is_empty() && self.quic.shard().is_draining() {
            // The client takes the last of what it was sent, or is not heard any more.
            let at = self.quic.heard() + LINGER_TIME_MAX;
            let linger = self.linger.get_or_insert_with(|| self.quic.shard().alarm(at));
            linger.set(at);
            if self.quic.unacknowledged_streams() == 0 || linger.poll_rung(cx).is_ready() {
                self.quic.close(0, b"");
                return Poll::Ready(());
            }
        }
        self.quic.flush(cx);
        Poll::Pending
    }

    /// Goes on with an exchange as far as it goes. An error ends it without an answer.
    fn step(&mut self, cx: &mut TaskContext<'_>, at: usize) -> Poll<Result<(), ()>> {
        loop {
            let exchange = &mut self.exchanges[at];
            match &mut exchange.stage {
                Stage::Line(line) => match self.quic.read(exchange.id, H3_READ_BYTES_MAX) {
                    Read::Chunk(bytes, behind) => {
                        line.extend_from_slice(&bytes);
                        // As many clients end with the line as without one.
                        let is_whole = behind == Behind::End;
                        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
                            line.truncate(end + 1);
                        } else if line.len() > HQ_LINE_BYTES_MAX {
                            return Poll::Ready(Err(()));
                        } else if !is_whole {
                            continue;
                        }
                        let line = std::mem::take(line);
                        self.quic.stop(self.exchanges[at].id, 0);
                        self.exchanges[at].stage = self.ask(&line).ok_or(())?;
                    }
                    Read::End if !line.is_empty() => {
                        let line = std::mem::take(line);
                        self.exchanges[at].stage = self.ask(&line).ok_or(())?;
                    }
                    Read::End | Read::Closed | Read::Reset(_) => return Poll::Ready(Err(())),
                    Read::Pending => return Poll::Pending,
                },
                Stage::Handler(future) => match Pin::new(future).poll(cx) {
                    Poll::Ready(response) => exchange.stage = content(response.into_inner())?,
                    Poll::Pending => return Poll::Pending,
                },
                Stage::Content(content) => {
                    if !exchange.piece.is_empty() {
                        let mut pieces = [std::mem::take(&mut exchange.piece)];
                        let written = self.quic.write_chunks(exchange.id, &mut pieces).map_err(drop)?;
                        [exchange.piece] = pieces;
                        if written == 0 {
                            return Poll::Pending;
                        }
                        continue;
                    }
                    let next = match content {
                        Content::Full(buf) if buf.is_empty() => None,
                        Content::Full(buf) => Some(Ok(std::mem::take(buf))),
                        content => match content.poll_buf(cx) {
                            Poll::Ready(next) => next,
                            Poll::Pending => return Poll::Pending,
                        },
                    };
                    match next {
                        Some(Ok(buf)) => exchange.piece = super::h3::into_bytes(buf),
                        Some(Err(_)) => return Poll::Ready(Err(())),
                        None => return Poll::Ready(Ok(())),
                    }
                }
            }
        }
    }

    /// Lets the service answer what a line asks for, as if it were asked by HTTP/1.1.
    fn ask(&mut self, line: &[u8]) -> Option<Stage> {
        let target = line.trim_ascii().strip_prefix(b"GET ")?.trim_ascii();
        let head = [b"GET ", target, b" HTTP/1.1\r\nHost: hq\r\n\r\n"].concat();
        let mut table = self.context.spares.take();
        let step = Lines::new().receive(&head, &mut table, &self.context.config.h1).ok()?;
        let h1::Event::Head(_) = step.event else { return None };
        let mut block = self.context.supplies.pool().lease(head.len())?;
        block.put(&head);
        let head = Head::new(block.freeze(), table, Rc::clone(&self.context.spares));
        let from = peer(self.quic.shard(), &self.quic);
        self.context.stats.requests.add(1);
        let is_early = self.quic.is_early();
        let request = Request::in_place(self.quic.shard(), || (head, Body::empty(), from, is_early));
        match self.context.service.call(request) {
            Reply::Ready(response) => content(response.into_inner()).ok(),
            Reply::Later(future) => Some(Stage::Handler(future)),
        }
    }
}

/// What is sent of an answer. What is none that was hoped for is not told apart by a client, and so is not given.
fn content(response: Response) -> Result<Stage, ()> {
    let is_full = matches!(response.content, Content::Full(_) | Content::Body(_) | Content::Stream(_));
    if !response.status.is_success() || !is_full && response.content.length() != Some(0) {
        return Err(());
    }
    Ok(Stage::Content(match response.content {
        Content::Empty | Content::Tunnel(_) => Content::Full(Buf::EMPTY),
        content => content,
    }))
}
