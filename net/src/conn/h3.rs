//! The HTTP/3 connection loop: one task between a connection of QUIC, the engine and the service, and one for each exchange that
//! does not end at once.
//!
//! The one idea: it is the loop of HTTP/2 with the streams of QUIC in place of frames. The connection's task alone receives,
//! and sees that what was written leaves; whoever has something to say writes it to its stream, and wakes that task.

mod answers;
pub(crate) mod client;
mod read;
mod wire;

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use http::StatusCode;
use proto::h3::{self, Code, Engine, Key, Priority, Role};
use proto::proxy::Ends;
use shards::{Entered, Pass, Shard};

pub(super) use self::answers::Answers;
use self::read::{Reading, Reads, Tools};
use self::wire::Carrier;
pub(super) use self::wire::into_bytes;
use super::patience::{Patience, Patient, Waits, Whose};
use super::streams::Wire;
use super::streams::exchange::CLIENT_LEFT;
use super::streams::shared::Shared;
use super::{Counted, Exhausted};
use crate::limits::LINGER_TIME_MAX;
use crate::quic::{self, Closed};
use crate::{Head, Peer, Response, Service};

/// Serves a connection until it ends. Exchanges may go on for a moment, to see it. `number` tells it from the server's others.
// Not an `async fn`, as for HTTP/1.1.
pub(crate) fn serve<S: Service + 'static>(
    context: Counted<S>,
    quic: quic::Connection,
    pass: Pass,
    number: u32,
) -> impl Future<Output = ()> + use<S> {
    let shard = quic.shard().clone();
    context.stats.h3_connections.add(1);
    let since = shard.now();
    let patience = Patience::new(&shard, number, since);
    let engine = Engine::new(Role::Server, &context.config.h3);
    let peer = peer(&shard, &quic);
    let retires = context.age(since).saturating_add(super::nanoseconds(context.config.connection_time_max));
    let shared = Rc::new(Shared::new(Carrier::new(engine, quic), context, peer.clone(), number, pass));
    let mut connection = Connection {
        shared,
        peer,
        reading: Reading::new(since),
        patience,
        retires,
        requests: 0,
        refused: 0,
        knows_of_drain: false,
    };
    async move {
        let ended = poll_fn(|cx| connection.poll(cx)).await;
        connection.stop_waiting();
        let stats = &connection.shared.context.stats;
        let why = match ended {
            Ok(why) => why,
            Err(Exhausted) => {
                stats.exhausted.add(1);
                tracing::warn!("a connection was closed: the shard's buffer pool is exhausted");
                connection.close(Code::EXCESSIVE_LOAD, "no buffer is left");
                "no buffer is left"
            }
        };
        connection.shared.end_all(why);
        poll_fn(|cx| connection.poll_drained(cx)).await;
    }
}

/// What the connection's task has to itself.
struct Connection<S: Service + 'static> {
    shared: Rc<Shared<S, Carrier>>,
    /// Where the client is at this moment.
    peer: Peer,
    reading: Reading,
    patience: Patience,
    /// At which age of the server's the connection takes no further request.
    retires: u64,
    requests: u32,
    /// Streams refused that have been counted.
    refused: u32,
    knows_of_drain: bool,
}

impl<S: Service + 'static> Connection<S> {
    /// Ready when the connection has ended, with the reason that its exchanges are told.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<&'static str, Exhausted>> {
        self.shared.state.borrow_mut().attend(cx.waker());
        loop {
            self.see_drain();
            let mut has_changed = false;
            while let Poll::Ready(event) = self.poll_event(cx) {
                has_changed = true;
                if let Some(why) = self.see(event) {
                    return Poll::Ready(Ok(why));
                }
            }
            has_changed |= self.read(cx)?;
            self.count_refused();
            if let Some(error) = self.failure() {
                tracing::debug!(code = %error.code, "a connection has failed: {error}");
                let stats = &self.shared.context.stats;
                match error.code {
                    Code::EXCESSIVE_LOAD => stats.h3_calmed.add(1),
                    _ => stats.h3_failed.add(1),
                }
                self.close(error.code, error.what);
                return Poll::Ready(Ok("its connection has failed"));
            }
            self.gather()?;
            if has_changed || self.shared.state.borrow().wire.has_readable() {
                continue;
            }
            self.reading.settle(&self.shared.context.spares);
            let waits = self.waits();
            if waits == Waits::Nothing {
                self.stop_waiting();
            } else if self.poll_alarm(cx, waits).is_ready() {
                self.stop_waiting();
                match waits {
                    Waits::Head => {
                        self.shared.context.stats.timed_out.add(1);
                        self.close(Code::REQUEST_INCOMPLETE, "the rest of a head does not come");
                        return Poll::Ready(Ok("its connection has failed"));
                    }
                    Waits::Linger if !self.is_over() && self.was_heard_since(LINGER_TIME_MAX) => continue,
                    Waits::Linger => {
                        self.close(Code::NO_ERROR, "");
                        return Poll::Ready(Ok("its connection has ended"));
                    }
                    _ => self.finish(),
                }
                continue;
            }
            self.with_quic(|quic| quic.flush(cx));
            return Poll::Pending;
        }
    }

    /// Ready when the peer knows of the end, or has had the time to.
    fn poll_drained(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.shared.state.borrow_mut().attend(cx.waker());
        self.with_quic(|quic| quic.poll_drained(cx))
    }

    fn poll_event(&self, cx: &mut TaskContext<'_>) -> Poll<quic::Event> {
        self.shared.state.borrow_mut().wire.poll(cx)
    }

    fn with_quic<T>(&self, look: impl FnOnce(&mut quic::Connection) -> T) -> T {
        look(&mut self.shared.state.borrow_mut().wire.quic)
    }

    fn failure(&self) -> Option<h3::Error> {
        self.shared.state.borrow().wire.engine.failure()
    }

    fn close(&self, code: Code, reason: &'static str) {
        self.with_quic(|quic| quic.close(code.0, reason.as_bytes()));
    }

    /// Whether the peer has been heard in this last time.
    fn was_heard_since(&self, time: Duration) -> bool {
        self.with_quic(|quic| quic.heard()) + time > self.shard().now()
    }

    /// What the connection itself waits for; its exchanges have waits of their own, and QUIC has some.
    fn waits(&self) -> Waits {
        let is_over = self.is_over();
        let state = self.shared.state.borrow();
        let engine = &state.wire.engine;
        match () {
            // What closes a connection overtakes the last word, by which its peer knows what has been looked at: that has time
            // to arrive, and most peers close then.
            () if is_over => Waits::Linger,
            // Nor is it closed while its peer takes the last of what it was sent.
            () if engine.is_drained() => Waits::Linger,
            () if engine.is_draining() && engine.takes_streams() => Waits::LastRequest,
            () if state.open_count() > 0 => Waits::Nothing,
            () if engine.stream_count() > 0 => Waits::Head,
            () if engine.takes_streams() => Waits::Idle,
            () => Waits::Nothing,
        }
    }

    /// Begins the graceful end when the shard drains, or the connection has lasted as long as it may.
    fn see_drain(&mut self) {
        if self.shard().is_draining() && !std::mem::replace(&mut self.knows_of_drain, true) {
            // Tunnels end by themselves, when they see it.
            self.shared.state.borrow().wake_all();
        }
        let is_old = self.shared.context.age(self.shard().now()) >= self.retires;
        if is_old || self.shard().is_draining() {
            if is_old && !self.shared.state.borrow().wire.engine.is_draining() {
                self.shared.context.stats.retired.add(1);
            }
            self.retires = u64::MAX;
            self.drain();
        }
    }

    fn drain(&self) {
        let is_news = self.shared.drain();
        self.shared.context.stats.h3_drained.add(is_news.into());
    }

    /// No new stream is looked at any more.
    fn finish(&self) {
        self.drain();
        self.shared.state.borrow_mut().wire.finish();
    }

    /// Whether a graceful end has come, and the peer has all that it was sent.
    fn is_over(&self) -> bool {
        let mut state = self.shared.state.borrow_mut();
        state.wire.engine.is_drained() && !state.wire.has_control() && !state.wire.has_unacknowledged()
    }

    /// Sees to an event. Gives the reason if the connection has ended by it.
    fn see(&mut self, event: quic::Event) -> Option<&'static str> {
        match event {
            quic::Event::Migrated(_) | quic::Event::Connected => {
                self.peer = peer(self.shared.shard(), &self.shared.state.borrow().wire.quic);
            }
            quic::Event::Datagrams => {
                let (limits, stats) = (&self.shared.context.config.h3, &self.shared.context.stats);
                let state = &mut *self.shared.state.borrow_mut();
                while let Some(data) = state.wire.quic.receive_datagram() {
                    // An error is seen to later.
                    let Ok(found) = state.wire.engine.receive_datagram(&data, limits) else { break };
                    let has_come = found.is_some_and(|(key, head)| {
                        let mailbox = state.slot(key).and_then(|slot| slot.mailbox.as_ref());
                        mailbox.is_some_and(|mailbox| mailbox.deliver(&data[head..]))
                    });
                    stats.http_datagrams_dropped.add(u64::from(!has_come));
                }
            }
            quic::Event::Closed(why) => {
                tracing::debug!(?why, "a connection has ended");
                let stats = &self.shared.context.stats;
                match why {
                    Closed::TimedOut => stats.timed_out.add(1),
                    Closed::Broken(..) | Closed::Version | Closed::Reset => stats.broken.add(1),
                    Closed::ByPeer(..) | Closed::ByPeerTransport(..) | Closed::Here => {}
                }
                return Some(CLIENT_LEFT);
            }
            event => self.see_stream(event),
        }
        None
    }

    fn count_refused(&mut self) {
        let refused = self.shared.state.borrow().wire.engine.refused_count();
        self.shared.context.stats.h3_refused.add(refused.wrapping_sub(self.refused).into());
        self.refused = refused;
    }

    // ---- sending -----------------------------------------------------------------------------------------------------

    fn gather(&self) -> Result<(), Exhausted> {
        self.shared.state.borrow_mut().gather(self.shared.means())
    }

    fn shard(&self) -> &Shard {
        self.shared.shard()
    }
}

impl<S: Service + 'static> Reads for Connection<S> {
    type Entered = Entered;

    fn reading(&mut self) -> (&mut Reading, Tools<'_>) {
        let Shared { state: streams, context, .. } = &*self.shared;
        let tools = Tools {
            shard: self.shared.shard(),
            streams,
            limits: &context.config.h3,
            pool: context.supplies.pool(),
            spares: &context.spares,
            scratch: &context.scratch,
            received: Some(&context.stats.bytes_received),
        };
        (&mut self.reading, tools)
    }

    fn enter(&mut self) -> Entered {
        self.shared.enter()
    }

    /// Lets the service answer a request.
    fn begin(
        &mut self,
        cx: &mut TaskContext<'_>,
        entered: &Entered,
        key: Key,
        said: &h3::Head,
        head: Head,
    ) -> Result<(), Exhausted> {
        if matches!(self.patience.waits(), Waits::Idle | Waits::Head) {
            self.stop_waiting();
        }
        self.requests = self.requests.wrapping_add(1);
        let shared = &self.shared;
        let context = &shared.context;
        context.stats.requests.add(1);
        if self.requests >= context.config.connection_requests_max {
            context.stats.retired.add(u64::from(self.requests == context.config.connection_requests_max));
            self.drain();
        }
        if let Some(response) = shared.sheds() {
            self.drain();
            return shared.answer(key, response);
        }
        let is_early = {
            let wire = &mut shared.state.borrow_mut().wire;
            if wire.engine.priority(key) != Priority::default() {
                wire.prioritize(key);
            }
            wire.quic.is_early()
        };
        shared.begin(cx, entered, key, said, head, (&self.peer, is_early))
    }

    fn refuse(&mut self, key: Key) -> Result<(), Exhausted> {
        self.shared.context.stats.refused.add(1);
        self.shared.answer(key, Response::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
    }

    fn was_reset(&mut self, key: Key, _: Code) {
        self.shared.context.stats.h3_resets.add(1);
        let mut state = self.shared.state.borrow_mut();
        state.end(key, CLIENT_LEFT);
        state.body_ended(key);
        if state.slot(key).is_none() {
            // It was answered on the spot, and nobody else releases it.
            drop(state);
            self.shared.release(key);
        }
    }

    fn was_stopped(&mut self, _: u64, cut: Option<Key>, code: Code) {
        if let Some(key) = cut {
            self.see_reset(key, code);
        }
    }

    /// It opens no more streams, or none that are to be looked at; what is in hand goes on.
    fn goes_away(&mut self, _: u64) {}
}

impl<S: Service> Patient for Connection<S> {
    type Service = S;

    fn patience(&mut self) -> (&mut Patience, Whose<'_, S>) {
        let shared = &self.shared;
        let whose = Whose { shard: shared.shard(), context: &shared.context, stream: 0 };
        (&mut self.patience, whose)
    }
}

/// Also when it panics: no exchange waits for a connection that has gone.
impl<S: Service + 'static> Drop for Connection<S> {
    fn drop(&mut self) {
        self.shared.end_all("its connection has ended");
        self.reading.settle(&self.shared.context.spares);
    }
}

/// The two ends of a connection, as they are at this moment.
pub(super) fn peer(shard: &Shard, quic: &quic::Connection) -> Peer {
    let source = quic.peer_address();
    let destination = quic.local_address().unwrap_or(source);
    Peer::at(shard, Ends { source, destination }, quic.secured())
}
