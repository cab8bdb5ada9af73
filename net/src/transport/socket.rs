//! [`Socket`]: a TCP stream, and perhaps TLS over it.

use std::future::poll_fn;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use platform::Chunk;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shards::Operation;
use shards::sync::Permit;

use super::Sent;
use crate::limits::LINGER_BYTES_MAX;
use crate::tcp::{Outgoing, sent, sent_bytes};
use crate::tls::{Channel, Handshakes, Secured};
use crate::{Result, TcpStream};

/// A connection of its own. One send is on its way at a time.
#[derive(Debug)]
pub(super) struct Socket {
    // In this order: what is in flight is given up before the socket closes.
    way: Way,
    pub(super) tcp: TcpStream,
}

#[derive(Debug)]
enum Way {
    Plain(Option<Operation>),
    Tls(Box<Channel>),
}

impl Socket {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Socket { way: Way::Plain(None), tcp }
    }

    pub(super) fn tls(&self) -> Option<&Channel> {
        match &self.way {
            Way::Plain(_) => None,
            Way::Tls(tls) => Some(tls),
        }
    }

    pub(super) fn secured(&self) -> Option<&Rc<Secured>> {
        self.tls()?.secured()
    }

    pub(super) async fn secure(&mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<()> {
        self.way = Way::Tls(Channel::connect(config, name, self.tcp.shard().pool())?);
        poll_fn(|cx| self.poll_handshake(cx)).await
    }

    pub(super) fn accept(&mut self, handshakes: &Handshakes, place: Permit, received: Chunk) -> Result<()> {
        self.way = Way::Tls(Channel::accept(handshakes, place, received)?);
        Ok(())
    }

    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.way {
            Way::Plain(_) => Poll::Ready(Ok(())),
            Way::Tls(tls) => tls.poll_handshake(cx, &mut self.tcp),
        }
    }

    #[inline]
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        match &mut self.way {
            Way::Plain(_) => self.tcp.poll_recv(cx),
            Way::Tls(tls) => tls.poll_recv(cx, &mut self.tcp),
        }
    }

    pub(super) fn start_send(&mut self, outgoing: Outgoing) -> Result<()> {
        match &mut self.way {
            Way::Plain(sending) => *sending = Some(self.tcp.start_send(outgoing)?),
            Way::Tls(tls) => tls.start_send(outgoing, &self.tcp)?,
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn send_quietly(&mut self, chunk: Chunk, waker: &Waker) -> Result<bool> {
        match &mut self.way {
            Way::Plain(sending) => self.tcp.send_quietly(sending, chunk, waker).map(|()| false),
            Way::Tls(tls) => {
                tls.start_send(Outgoing::One(chunk.into()), &self.tcp)?;
                Ok(tls.hush(waker))
            }
        }
    }

    pub(super) fn finish(&mut self, mut outgoing: Outgoing) -> Result<bool> {
        match &mut self.way {
            Way::Plain(_) if outgoing.is_empty() => Ok(true),
            Way::Plain(sending) => {
                self.tcp.send_last(&mut outgoing)?;
                if !outgoing.is_empty() {
                    *sending = Some(self.tcp.start_send(outgoing)?);
                    return Ok(false);
                }
                if let Outgoing::Many(list) = outgoing {
                    self.tcp.shard().pool().reclaim(list);
                }
                Ok(true)
            }
            Way::Tls(tls) => tls.finish(outgoing, &self.tcp),
        }
    }

    #[inline]
    pub(super) fn is_sending(&self) -> bool {
        match &self.way {
            Way::Plain(sending) => sending.as_ref().is_some_and(|sending| !sending.is_spent()),
            Way::Tls(tls) => tls.is_sending(),
        }
    }

    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Sent>>> {
        let sending = match &mut self.way {
            Way::Plain(sending) => sending,
            Way::Tls(tls) => return tls.poll_sent(cx, &mut self.tcp),
        };
        let Some(operation) = sending.as_mut().filter(|operation| !operation.is_spent()) else {
            *sending = None;
            return Poll::Ready(Ok(None));
        };
        let completion = ready!(operation.poll_next(cx));
        *sending = None;
        let bytes = sent_bytes(&completion);
        let mut rest = sent(completion)?;
        if !rest.is_empty() {
            *sending = Some(self.tcp.start_send(std::mem::take(&mut rest))?);
        }
        Poll::Ready(Ok(Some(Sent { bytes, spare: rest })))
    }

    pub(super) fn hush(&mut self, waker: &Waker) -> bool {
        match &mut self.way {
            Way::Plain(sending) => sending.as_mut().is_some_and(|sending| sending.hush(waker)),
            Way::Tls(tls) => tls.hush(waker),
        }
    }

    pub(super) fn shutdown(&mut self, how: Shutdown) -> Result<()> {
        match &mut self.way {
            Way::Tls(tls) if how != Shutdown::Read => tls.shut(&self.tcp),
            _ => self.tcp.shutdown(how),
        }
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Way::Tls(tls) = &mut self.way
            && tls.close(&self.tcp).is_ok()
        {
            while let Ok(Some(_)) = ready!(tls.poll_sent(cx, &mut self.tcp)) {}
        }
        Poll::Ready(())
    }

    /// What comes is read over as it comes: nobody cares what it means.
    pub(super) fn poll_read_over(&mut self, cx: &mut Context<'_>, bytes: &mut usize) -> Poll<()> {
        let closed = self.poll_close(cx);
        loop {
            match ready!(self.tcp.poll_recv(cx)) {
                Ok(Some(chunk)) if *bytes + chunk.len() <= LINGER_BYTES_MAX => *bytes += chunk.len(),
                _ => return closed,
            }
        }
    }
}
