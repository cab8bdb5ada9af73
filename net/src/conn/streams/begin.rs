//! How an exchange begins: the service is asked, and what can be answered on the spot is, and costs no task.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use proto::head::Known;
use proto::message;
use shards::{Demand, Entered, Shard};

use super::exchange::{Exchange, SCOPE_NAMES, Stage, is_whole};
use super::shared::Shared;
use super::{Key, Slot, Wire};
use crate::conn::{Exhausted, unavailable};
use crate::limits::BULK_BODY_BYTES_MIN;
use crate::{Body, Head, Peer, Reply, Request, Response, Service};

impl<S: Service + 'static, W: Wire> Shared<S, W> {
    /// Enters the scopes of requests that [begin](Shared::begin): each is made if its request asks for it.
    pub(in crate::conn) fn enter(&self) -> Entered {
        self.pass.scope().entered_on_demand(self.demand(0, None))
    }

    fn demand(&self, stream: u32, deadline: Option<Instant>) -> Demand {
        Demand { names: &SCOPE_NAMES, numbers: [self.number, stream], deadline }
    }

    /// Lets the service answer the request of a new stream, in the scope that it may ask for.
    pub(in crate::conn) fn begin(
        self: &Rc<Self>,
        cx: &mut TaskContext<'_>,
        entered: &Entered,
        mut key: W::Key,
        said: &message::Head,
        head: Head,
        (peer, is_early): (&Peer, bool),
    ) -> Result<(), Exhausted> {
        let context = &self.context;
        let (incoming, body) = match said.end {
            true => (None, Body::empty()),
            false => {
                let (incoming, body) = context.supplies.body(said.length);
                (Some(incoming), body)
            }
        };
        // What a tunnel receives is no body of the request that asks for it.
        let (body, tunnel) = match said.is_connect {
            true => (Body::empty(), Some(body)),
            false => (body, None),
        };
        let deadline = context.config.request_time_max.map(|time| self.shard().clock() + time);
        entered.next(key.number(), deadline);
        let by_head = match head.known() {
            Some(known) if said.end && known.table().get(known.block(), Known::TraceParent).is_none() => {
                context.service.call_by_head(known)
            }
            _ => None,
        };
        let mut reply = by_head.unwrap_or_else(|| {
            let request = Request::in_place(self.shard(), || (head, body, peer.clone(), is_early));
            if request.known(Known::TraceParent).is_some() {
                trace(self.shard(), &request);
            }
            context.service.call(request)
        });
        // Most handlers have answered when they are polled once, and need no task. Who reads a body has one.
        if said.end
            && tunnel.is_none()
            && self.has_room()
            && let Reply::Later(future) = &mut reply
            && let Poll::Ready(response) = Pin::new(future).poll(cx)
        {
            reply = Reply::Ready(response);
        }
        let scope = entered.take_made();
        let stage = match reply {
            Reply::Ready(mut response)
                if scope.is_none() && tunnel.is_none() && is_whole(&response.content) && self.has_room() =>
            {
                match self.respond(&mut key, &mut response, said.end)? {
                    None if said.end => return Ok(()),
                    None => Stage::Done,
                    Some(content) => Stage::Content(content),
                }
            }
            Reply::Ready(response) => Stage::Response(response),
            Reply::Later(future) => Stage::Handler(future),
        };
        key = self.keep(key);
        let mut slot = Slot::new(key, incoming, said.expect_continue);
        slot.is_bulky = !said.end && said.length.is_some_and(|bytes| bytes >= BULK_BODY_BYTES_MIN);
        let demand = self.demand(key.number(), deadline);
        let mut exchange = Exchange::new(Rc::clone(self), key, stage, demand, scope);
        exchange.tunnel = tunnel;
        self.go_on(slot, exchange);
        Ok(())
    }

    /// Makes a task of what does not end at once. Without room for one the stream is reset.
    fn go_on(&self, slot: Slot<W>, exchange: Exchange<S, W>) {
        self.open(slot);
        if let Err(error) = self.shard().spawn(exchange.run()).map(|task| task.detach()) {
            tracing::warn!("a request was given up: {error}");
        }
    }

    /// Answers without asking the service, by something small.
    pub(in crate::conn) fn answer(self: &Rc<Self>, key: W::Key, mut response: Response) -> Result<(), Exhausted> {
        let mut key = self.keep(key);
        let stage = match self.has_room() {
            true => match self.respond(&mut key, &mut response, false)? {
                None if !self.state.borrow().wire.is_receiving(key) => {
                    self.release(key);
                    return Ok(());
                }
                None => Stage::Done,
                Some(content) => Stage::Content(content),
            },
            false => Stage::Response(self.shard().pooled(response)),
        };
        let demand = self.demand(key.number(), None);
        self.go_on(Slot::new(key, None, false), Exchange::new(Rc::clone(self), key, stage, demand, None));
        Ok(())
    }

    /// The order of shedding, as over HTTP/1.1: what a request is answered by where there is no memory for it.
    pub(in crate::conn) fn sheds(&self) -> Option<Response> {
        if self.context.shedding.is_low() { self.shed() } else { None }
    }

    #[cold]
    fn shed(&self) -> Option<Response> {
        let context = &self.context;
        context.shed(self.shard().now());
        context.shedding.refuses_requests().then(|| {
            context.stats.shed_requests.add(1);
            unavailable("the server is short of memory\n")
        })
    }
}

/// Makes the scope at once, as it is known only here what is said of a trace. Without room for a scope there is no trace.
#[cold]
fn trace(shard: &Shard, request: &Request) {
    if let (Some(trace), Ok(scope)) = (request.trace(), shard.current_scope()) {
        scope.trace_or(|| trace);
    }
}
