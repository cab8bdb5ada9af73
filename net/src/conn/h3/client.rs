//! The client's end of HTTP/3: the hand-shake with a server, and the task of one connection to it.
//!
//! The one idea: as over HTTP/2, with the streams of QUIC in place of frames. What the task receives for, and who has something
//! to send, is the [trunk](Trunk)'s.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll};

use http::HeaderValue;
use proto::h3::{self, Code, Engine, Key, Role};
use shards::Alarm;

use super::read::{Reading, Reads, Tools};
pub(crate) use super::wire::Carrier;
use crate::client::Error;
use crate::conn::Exhausted;
use crate::conn::client::{Shared, Waits};
use crate::conn::streams::client::{self, Asks, Failure};
use crate::quic::{self, Closed, Dir};
use crate::{Head, Result as NetResult};

/// A connection of HTTP/3, as requests see it.
pub(crate) type Trunk = client::Trunk<Carrier>;

/// Waits until the server has shown who it is.
///
/// Errors: why that came not to be.
pub(crate) async fn shake_hands(mut quic: quic::Connection) -> NetResult<quic::Connection> {
    let shaken = poll_fn(|cx| {
        while let Poll::Ready(event) = quic.poll(cx) {
            match event {
                quic::Event::Connected => return Poll::Ready(Ok(())),
                quic::Event::Closed(why) => return Poll::Ready(Err(why)),
                _ => {}
            }
        }
        quic.flush(cx);
        Poll::Pending
    });
    match shaken.await {
        Ok(()) => Ok(quic),
        Err(why) => Err(crate::Error::Quic(why)),
    }
}

/// Speaks over a connection whose hand-shake is over. `alternative` is where the server is, if that is not where its URLs say;
/// `over` is called when the connection has ended.
///
/// Errors: the shard has as many tasks or scopes as it admits.
pub(crate) fn start(
    shared: &Rc<Shared>,
    quic: quic::Connection,
    alternative: Option<HeaderValue>,
    over: impl FnOnce() + 'static,
) -> Result<Rc<Trunk>, Error> {
    let carrier = Carrier::new(Engine::new(Role::Client, &shared.config.h3), quic);
    let drive = |trunk| {
        let now = shared.shard.now();
        let (alarm, reading) = (shared.shard.alarm(now), Reading::new(now));
        Driver { trunk, shared: Rc::clone(shared), reading, alarm, waits: Waits::Nothing }.run()
    };
    Trunk::start(shared, carrier, (true, alternative), drive, over)
}

/// What receives and sends.
struct Driver {
    trunk: Weak<Trunk>,
    shared: Rc<Shared>,
    reading: Reading,
    alarm: Alarm,
    waits: Waits,
}

/// The same, while it is at work.
struct Working<'d> {
    trunk: &'d Trunk,
    reading: &'d mut Reading,
}

impl Driver {
    async fn run(mut self) {
        let shard = self.shared.shard.clone();
        let mut drained = pin!(shard.drained());
        let mut drains = false;
        poll_fn(|cx| {
            drains = drains || drained.as_mut().poll(cx).is_ready();
            self.poll(cx, drains)
        })
        .await;
        // The server is to know.
        poll_fn(|cx| match self.trunk.upgrade() {
            Some(trunk) => trunk.streams.borrow_mut().wire.quic.poll_drained(cx),
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut TaskContext<'_>, drains: bool) -> Poll<()> {
        let Some(trunk) = self.trunk.upgrade() else { return Poll::Ready(()) };
        trunk.streams.borrow_mut().attend(cx.waker());
        let ended = self.poll_trunk(cx, &trunk, drains);
        trunk.heard.set(trunk.with_quic(|quic| quic.heard()));
        match ended {
            Ok(()) => Poll::Pending,
            Err(failure) => {
                if matches!(failure, Failure::Exhausted) {
                    trunk.close(Code::INTERNAL_ERROR, "no buffer is left");
                }
                trunk.fail(failure);
                Poll::Ready(())
            }
        }
    }

    fn poll_trunk(&mut self, cx: &mut TaskContext<'_>, trunk: &Trunk, drains: bool) -> Result<(), Failure> {
        loop {
            let mut working = Working { trunk, reading: &mut self.reading };
            let mut has_changed = false;
            while let Poll::Ready(event) = trunk.poll_event(cx) {
                has_changed = true;
                match event {
                    quic::Event::Closed(why) => {
                        tracing::debug!(?why, "a server's connection has ended");
                        return Err(if why == Closed::TimedOut { Failure::TimedOut } else { Failure::Closed });
                    }
                    quic::Event::Available(Dir::Bi) => trunk.call_next(),
                    event => working.see_stream(event),
                }
            }
            has_changed |= working.read(cx).map_err(|_| Failure::Exhausted)?;
            if let Some(error) = trunk.engine(|engine| engine.failure()) {
                tracing::debug!(code = %error.code, "a server broke the rules of HTTP/3: {error}");
                trunk.close(error.code, error.what);
                return Err(Failure::Broken(Carrier::code(error.code), error.what));
            }
            let gathered = trunk.streams.borrow_mut().gather(trunk.means());
            gathered.map_err(|_| Failure::Exhausted)?;
            if has_changed || trunk.streams.borrow().wire.has_readable() {
                trunk.call_next();
                continue;
            }
            self.reading.settle(&self.shared.spares);
            if self.poll_idle(cx, trunk, drains).is_ready() {
                trunk.close(Code::NO_ERROR, "");
                return Err(Failure::Closed);
            }
            trunk.with_quic(|quic| quic.flush(cx));
            return Ok(());
        }
    }

    /// Ready when nobody uses the connection, and it is not kept any longer.
    fn poll_idle(&mut self, cx: &mut TaskContext<'_>, trunk: &Trunk, drains: bool) -> Poll<()> {
        if !trunk.is_idle() {
            self.waits = Waits::Nothing;
            return Poll::Pending;
        }
        if drains || trunk.is_leaving() {
            return Poll::Ready(());
        }
        if self.waits != Waits::Idle {
            self.waits = Waits::Idle;
            self.alarm.set(self.shared.shard.clock() + self.shared.config.idle_time_max);
        }
        self.alarm.poll_rung(cx)
    }
}

impl Trunk {
    fn poll_event(&self, cx: &mut TaskContext<'_>) -> Poll<quic::Event> {
        self.streams.borrow_mut().wire.poll(cx)
    }

    fn with_quic<T>(&self, look: impl FnOnce(&mut quic::Connection) -> T) -> T {
        look(&mut self.streams.borrow_mut().wire.quic)
    }

    fn engine<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        look(&self.streams.borrow().wire.engine)
    }

    fn close(&self, code: Code, reason: &'static str) {
        self.with_quic(|quic| quic.close(code.0, reason.as_bytes()));
    }
}

impl Reads for Working<'_> {
    type Entered = ();

    fn reading(&mut self) -> (&mut Reading, Tools<'_>) {
        let Shared { shard, config, supplies, spares, scratch, .. } = &*self.trunk.shared;
        let (streams, pool) = (&self.trunk.streams, supplies.pool());
        (self.reading, Tools { shard, streams, limits: &config.h3, pool, spares, scratch, received: None })
    }

    fn enter(&mut self) {}

    fn begin(
        &mut self,
        _: &mut TaskContext<'_>,
        _: &(),
        key: Key,
        said: &h3::Head,
        head: Head,
    ) -> Result<(), Exhausted> {
        self.trunk.streams.borrow_mut().answered(key, said, head);
        Ok(())
    }

    /// Only of requests.
    fn refuse(&mut self, _: Key) -> Result<(), Exhausted> {
        Ok(())
    }

    fn was_reset(&mut self, key: Key, code: Code) {
        self.trunk.streams.borrow_mut().was_reset(key, code);
    }

    /// Its answer counts all the same.
    fn was_stopped(&mut self, id: u64, _: Option<Key>, _: Code) {
        self.trunk.streams.borrow_mut().stop(|key| key.id() == id);
    }

    fn goes_away(&mut self, from: u64) {
        tracing::debug!(from, "a server takes no more requests");
        self.trunk.streams.borrow_mut().refuse(Code::REQUEST_REJECTED, |key| key.id() >= from);
        self.trunk.leave();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(trunk) = self.trunk.upgrade() {
            trunk.fail(Failure::Closed);
        }
        self.reading.settle(&self.shared.spares);
    }
}
