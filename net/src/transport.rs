//! [`Transport`]: what the bytes of a connection go through: TCP, perhaps with TLS over it, or one stream of a connection of
//! HTTP/2.
//!
//! The one idea: whoever speaks a protocol over it has one send on its way at a time, and does not see what becomes of its
//! bytes below: a part that the kernel has left is sent again from here.

mod socket;

use std::future::poll_fn;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use platform::{Buf, BufList, Chunk, Group, SocketOption};
use proto::proxy::Ends;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use shards::Shard;
use shards::sync::Permit;
use socket::Socket;

use crate::conn::streams::Tube;
use crate::limits::LINGER_BYTES_MAX;
use crate::tcp::Outgoing;
use crate::tls::{Channel, Handshakes, Secured};
use crate::{Error, Peer, Result, TcpStream};

/// What the bytes of a connection go through. Dropping it closes the connection once the kernel is done with what was started.
#[derive(Debug)]
pub struct Transport(Way);

#[derive(Debug)]
enum Way {
    Socket(Socket),
    /// Boxed, since it is larger than what nearly all connections have, and few.
    Stream(Box<Tube>),
}

/// What the peer has taken of a send.
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    /// An empty list, if the send was one and has ended, for another use.
    pub(crate) spare: Outgoing,
}

impl Transport {
    /// The next bytes, as a lease on the shard's buffers; `None` once the peer has ended its side.
    ///
    /// Cancel safe: bytes are either returned or still there for the next call.
    ///
    /// Errors: the peer reset the connection, or it timed out; then every later call gives the same error.
    pub async fn recv(&mut self) -> Result<Option<Chunk>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Transport::recv) as a poll. The receive stays armed between calls.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        match &mut self.0 {
            Way::Socket(socket) => socket.poll_recv(cx),
            Way::Stream(tube) => tube.poll_recv(cx),
        }
    }

    /// Sends one buffer, whole.
    ///
    /// Not cancel safe: dropping the future may leave any part of the buffer unsent, or on its way; another send waits for that.
    ///
    /// Errors: the peer has reset the connection or this side has been shut down.
    pub async fn send(&mut self, buf: impl Into<Buf>) -> Result<()> {
        self.send_outgoing(Outgoing::One(buf.into())).await?;
        Ok(())
    }

    /// Sends a list of buffers in order, whole, and leaves it empty for another use.
    ///
    /// Not cancel safe: as [`send`](Transport::send).
    pub async fn send_all(&mut self, list: Box<BufList>) -> Result<Box<BufList>> {
        match self.send_outgoing(Outgoing::Many(list)).await? {
            Outgoing::Many(list) => Ok(list),
            Outgoing::One(_) | Outgoing::Pipe(_) => Ok(Box::default()),
        }
    }

    async fn send_outgoing(&mut self, outgoing: Outgoing) -> Result<Outgoing> {
        let mut spare = Outgoing::default();
        // One that was dropped may still be on its way.
        while poll_fn(|cx| self.poll_sent(cx)).await?.is_some() {}
        self.start_send(outgoing)?;
        while let Some(sent) = poll_fn(|cx| self.poll_sent(cx)).await? {
            spare = sent.spare;
        }
        Ok(spare)
    }

    /// Ends one or both directions. Over TLS the peer is told so first: that leaves as what follows is polled, or with the end
    /// of the turn; and what it still sends comes all the same.
    ///
    /// Errors: the connection is gone.
    pub fn shutdown(&mut self, how: Shutdown) -> Result<()> {
        match &mut self.0 {
            Way::Socket(socket) => socket.shutdown(how),
            Way::Stream(tube) => tube.shutdown(how),
        }
    }

    /// Ready when the peer has been told that nothing more is sent, where there is a way to tell beside the end of the stream:
    /// over TLS.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Way::Socket(socket) => socket.poll_close(cx),
            Way::Stream(_) => Poll::Ready(()),
        }
    }

    /// The address of this side.
    pub fn local_address(&self) -> Result<SocketAddr> {
        match &self.0 {
            Way::Socket(socket) => socket.tcp.local_address(),
            Way::Stream(tube) => tube.peer().local().ok_or(Error::Io(platform::Error::NotConnected)),
        }
    }

    /// The address of the other side. One system call.
    pub fn peer_address(&self) -> Result<SocketAddr> {
        match &self.0 {
            Way::Socket(socket) => socket.tcp.peer_address(),
            Way::Stream(tube) => tube.peer().remote().ok_or(Error::Io(platform::Error::NotConnected)),
        }
    }

    /// Sets an option of the socket. One system call. A stream of a connection of HTTP/2 has none of its own.
    pub fn set_option(&self, option: SocketOption) -> Result<()> {
        match &self.0 {
            Way::Socket(socket) => socket.tcp.set_option(option),
            Way::Stream(_) => Err(Error::Io(platform::Error::Unsupported)),
        }
    }

    /// The shard that the connection belongs to.
    #[inline]
    pub fn shard(&self) -> &Shard {
        match &self.0 {
            Way::Socket(socket) => socket.tcp.shard(),
            Way::Stream(tube) => tube.peer().shard(),
        }
    }

    /// Receives into large buffers from now on, while a large body comes, or into small ones.
    pub(crate) fn draw_from(&mut self, group: Group) {
        if let Way::Socket(socket) = &mut self.0 {
            socket.tcp.draw_from(group);
        }
    }

    /// Both ends, as requests carry them; those that a proxy has named, if it has.
    #[inline(always)]
    pub(crate) fn peer(&self, named: Option<Rc<Ends>>) -> Peer {
        match &self.0 {
            Way::Socket(socket) => socket.tcp.peer(socket.secured().cloned(), named),
            Way::Stream(tube) => tube.peer().clone(),
        }
    }

    /// Whether TLS is spoken.
    #[inline]
    pub(crate) fn is_secure(&self) -> bool {
        self.tls().is_some()
    }

    /// What TLS has agreed on, if it is spoken.
    pub fn secured(&self) -> Option<&Secured> {
        match &self.0 {
            Way::Socket(socket) => socket.secured().map(Rc::as_ref),
            Way::Stream(tube) => tube.peer().secured(),
        }
    }

    fn tls(&self) -> Option<&Channel> {
        match &self.0 {
            Way::Socket(socket) => socket.tls(),
            Way::Stream(_) => None,
        }
    }

    /// Whether what is received may have been sent before, by anybody: until the hand-shake is over.
    #[inline]
    pub(crate) fn is_early(&self) -> bool {
        self.tls().is_some_and(Channel::is_early)
    }

    /// Whether what a server says first in HTTP/2 has been said, in the hand-shake.
    pub(crate) fn has_greeted(&self) -> bool {
        self.tls().is_some_and(Channel::has_greeted)
    }

    /// Whether the peer's side has ended without its last word, where TLS has one: then somebody may have cut off what was to
    /// follow.
    pub fn is_cut(&self) -> bool {
        self.tls().is_some_and(Channel::is_cut)
    }

    /// Shakes hands with a server, which is to prove that it is whom `name` names, and speaks TLS from then on. What
    /// [`Server::secured`](crate::Server::secured) says of records holds here too.
    ///
    /// Not cancel safe: dropping the future leaves a hand-shake that nobody can go on with.
    ///
    /// Errors: it does not prove that, or does not speak TLS in a way that is spoken here; or the connection is gone. A stream
    /// of a connection of HTTP/2 is `Unsupported`.
    pub async fn secure(mut self, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self> {
        match &mut self.0 {
            Way::Socket(socket) => socket.secure(config, name).await?,
            Way::Stream(_) => return Err(Error::Io(platform::Error::Unsupported)),
        }
        Ok(self)
    }

    /// Speaks TLS from here on, as a server; these bytes have come already.
    ///
    /// Errors: the configuration is of no use.
    pub(crate) fn accept(&mut self, handshakes: &Handshakes, place: Permit, received: Chunk) -> Result<()> {
        match &mut self.0 {
            Way::Socket(socket) => socket.accept(handshakes, place, received),
            Way::Stream(_) => Err(Error::Io(platform::Error::Unsupported)),
        }
    }

    /// Ready when data may be received.
    ///
    /// Errors: the peer does not speak TLS in a way that is spoken here, or left.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.0 {
            Way::Socket(socket) => socket.poll_handshake(cx),
            Way::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    /// Starts a send. None may be [on its way](Transport::is_sending).
    pub(crate) fn start_send(&mut self, outgoing: Outgoing) -> Result<()> {
        match &mut self.0 {
            Way::Socket(socket) => socket.start_send(outgoing),
            Way::Stream(tube) => tube.start_send(outgoing),
        }
    }

    /// Starts to send a chunk and [hushes](Transport::hush) that. True if there is something to hear of it at once.
    #[inline(always)]
    pub(crate) fn send_quietly(&mut self, chunk: Chunk, waker: &Waker) -> Result<bool> {
        match &mut self.0 {
            Way::Socket(socket) => socket.send_quietly(chunk, waker),
            Way::Stream(tube) => {
                tube.start_send(Outgoing::One(chunk.into()))?;
                Ok(tube.hush(waker))
            }
        }
    }

    /// Sends the last of this side, and its end, if all of that leaves at once: true, and nothing is left but to drop it. What
    /// does not is on its way as after [`start_send`](Transport::start_send), and is to be [closed](Transport::poll_close) after
    /// that. None may be [on its way](Transport::is_sending) before.
    ///
    /// Errors: the connection is gone.
    pub(crate) fn finish(&mut self, outgoing: Outgoing) -> Result<bool> {
        match &mut self.0 {
            Way::Socket(socket) => socket.finish(outgoing),
            Way::Stream(tube) => tube.start_send(outgoing).map(|()| false),
        }
    }

    /// Whether the last send has not ended, or its end has not been [taken](Transport::poll_sent).
    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        match &self.0 {
            Way::Socket(socket) => socket.is_sending(),
            Way::Stream(tube) => tube.is_sending(),
        }
    }

    /// What the peer has taken of the last send since this was last asked; `None` when nothing is on its way.
    ///
    /// Errors: the connection is gone.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Sent>>> {
        match &mut self.0 {
            Way::Socket(socket) => socket.poll_sent(cx),
            Way::Stream(tube) => tube.poll_sent(cx),
        }
    }

    /// Asks not to be woken when the send on its way ends as it should: its memory goes back by itself, and nothing is on its way
    /// any more. True if there is something to hear of it at once.
    pub(crate) fn hush(&mut self, waker: &Waker) -> bool {
        match &mut self.0 {
            Way::Socket(socket) => socket.hush(waker),
            Way::Stream(tube) => tube.hush(waker),
        }
    }

    /// Reads over what the peer still sends, after `bytes`, and [closes](Transport::poll_close) meanwhile. Ready when that is the
    /// end of it, or as much as is waited for.
    pub(crate) fn poll_read_over(&mut self, cx: &mut Context<'_>, bytes: &mut usize) -> Poll<()> {
        let tube = match &mut self.0 {
            Way::Socket(socket) => return socket.poll_read_over(cx, bytes),
            Way::Stream(tube) => tube,
        };
        loop {
            match ready!(tube.poll_recv(cx)) {
                Ok(Some(chunk)) if *bytes + chunk.len() <= LINGER_BYTES_MAX => *bytes += chunk.len(),
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl From<TcpStream> for Transport {
    fn from(tcp: TcpStream) -> Self {
        Transport(Way::Socket(Socket::new(tcp)))
    }
}

impl From<Tube> for Transport {
    fn from(tube: Tube) -> Self {
        Transport(Way::Stream(Box::new(tube)))
    }
}
