//! How a connection becomes secure before anything of HTTP is spoken on it: what a proxy says of it, a place among the
//! hand-shakes in hand, the hand-shake, and the protocol that this has agreed on.
//!
//! Who speaks HTTP in the clear is let through to the loop, which tells it what is wrong once its request is there.

use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use shards::Leased;

use super::{Connection, End, Then};
use crate::conn::patience::{Patient, Waits};
use crate::tls::Handshakes;
use crate::{Error, Service};

impl<S: Service + 'static> Connection<S> {
    /// What comes before requests, if anything does: gives whether they follow. It is leased, since a connection that has done
    /// with it does not need its room.
    pub(super) fn secure(&mut self) -> Option<Leased<'_, Result<bool, End>>> {
        let handshakes = Rc::clone(self.context.handshakes.as_ref()?);
        let shard = self.shard().clone();
        Some(shard.lease(self.secure_by(handshakes)))
    }

    async fn secure_by(&mut self, handshakes: Rc<Handshakes>) -> Result<bool, End> {
        if !poll_fn(|cx| self.poll_first(cx)).await? {
            return Ok(false);
        }
        // The method of a request; records of TLS begin with other bytes.
        if self.input.as_slice().first().is_some_and(u8::is_ascii_uppercase) {
            self.context.stats.tls_plain.add(1);
            return Ok(true);
        }
        let stats = self.context.stats.clone();
        stats.tls_handshakes_open.add(1);
        let shaken = self.shake_hands(&handshakes).await;
        stats.tls_handshakes_open.subtract(1);
        match shaken {
            Ok(()) => {
                let secured = self.stream.secured().expect("it has just been made so");
                stats.tls_agreed(secured);
                self.is_h2 = self.context.config.accepts_h2 && secured.protocol() == Some(b"h2");
                Ok(!self.is_h2)
            }
            Err(Error::Tls(failure)) => {
                tracing::debug!("a hand-shake has failed: {failure}");
                stats.tls_failed(&failure);
                // As after a last answer: what it still sends must not undo what it was told.
                if self.stream.shutdown(Shutdown::Write).is_ok() {
                    let mut bytes = 0;
                    poll_fn(|cx| self.poll_linger(cx, &mut bytes)).await;
                }
                Ok(false)
            }
            Err(Error::TimedOut) => {
                stats.tls_timed_out.add(1);
                Err(End::TimedOut)
            }
            Err(_) => Err(End::Broken),
        }
    }

    /// Waits for the first byte of the client's own.
    fn poll_first(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<bool, End>> {
        loop {
            if self.awaits_name {
                match self.take_name() {
                    None => continue,
                    Some(Then::More) => {}
                    Some(_) => return Poll::Ready(Ok(false)),
                }
            } else if !self.input.is_empty() {
                return Poll::Ready(Ok(true));
            }
            match self.poll_input(cx)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Ok(false)),
                Poll::Pending => {
                    self.input.settle(self.context.supplies.pool());
                    let is_last = self.shard().is_draining() && self.input.is_empty();
                    ready!(self.poll_alarm(cx, if is_last { Waits::LastRequest } else { Waits::Handshake }));
                    return Poll::Ready(if is_last { Ok(false) } else { Err(End::TimedOut) });
                }
            }
        }
    }

    async fn shake_hands(&mut self, handshakes: &Handshakes) -> crate::Result<()> {
        let place = {
            let mut entering = pin!(handshakes.enter());
            poll_fn(|cx| match entering.as_mut().poll(cx) {
                Poll::Ready(place) => Poll::Ready(place.ok()),
                Poll::Pending => self.poll_alarm(cx, Waits::Handshake).map(|()| None),
            })
            .await
        };
        let Some(place) = place else {
            self.context.stats.tls_crowded.add(1);
            return Err(Error::TimedOut);
        };
        // All of it can be seen: it is one receive, or the end of one.
        let received = self.input.take(self.input.as_slice().len());
        self.stream.accept(handshakes, place, received)?;
        poll_fn(|cx| match self.stream.poll_handshake(cx) {
            Poll::Ready(shaken) => Poll::Ready(shaken),
            Poll::Pending => self.poll_alarm(cx, Waits::Handshake).map(|()| Err(Error::TimedOut)),
        })
        .await
    }
}
