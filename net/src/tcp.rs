//! TCP: listeners and streams on a shard.
//!
//! A stream receives into the shard's own buffers and lends them out, so an idle connection holds no buffer; it sends what
//! it is given from where it lies. Dropping one at any point gives everything back.

use std::io::IoSlice;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use platform::limits::SEND_BUFFERS_MAX;
use platform::{Buf, BufList, Chunk, Completion, Group, Handle, Op, Outcome, Pipe, Socket, SocketOption};
use proto::proxy::Ends;
use shards::{Operation, Shard};

use crate::tls::Secured;
use crate::{Error, Peer, Result};

/// A connected TCP stream. Dropping it closes the connection once the kernel is done with what was started.
#[derive(Debug)]
pub struct TcpStream {
    // In this order: the receive is given up before its handle is closed.
    receiving: Receive,
    socket: Owned,
    /// What it receives into.
    group: Group,
}

/// What has become of a stream's receive. Its end stays what it was, however often it is asked for: a reset must not be
/// taken for a clean end by whoever asks once more.
#[derive(Debug)]
enum Receive {
    /// Of a connection that has been accepted, which mostly comes with its first bytes.
    Arrived,
    NotStarted,
    Armed(Operation),
    Ended,
    Failed(platform::Error),
}

/// A socket that is closed when dropped.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) shard: Shard,
    pub(crate) handle: Handle,
}

/// The direction of a [`TcpStream`] that comes in: see [`TcpStream::split`].
#[derive(Debug)]
pub struct Receiving<'a> {
    receive: &'a mut Receive,
    socket: &'a Owned,
    group: Group,
}

/// The direction of a [`TcpStream`] that goes out: see [`TcpStream::split`].
#[derive(Debug)]
pub struct Sending<'a>(&'a Owned);

/// A listening TCP socket of one shard.
#[derive(Debug)]
pub struct Listener {
    accepting: Option<Operation>,
    socket: Owned,
}

impl TcpStream {
    /// Connects to an address.
    ///
    /// Cancel safe: dropping the future ends the attempt.
    ///
    /// Errors: refused, unreachable, timed out by the kernel (some two minutes: wrap it in `shard.timeout`), no descriptor.
    pub async fn connect(shard: &Shard, peer: SocketAddr) -> Result<Self> {
        let handle = shard.with_reactor(|reactor| reactor.stream_socket(peer))?;
        let socket = Owned { shard: shard.clone(), handle };
        match start(shard, Op::Connect { socket: handle, peer })?.await.result? {
            Outcome::Connected => Ok(TcpStream { receiving: Receive::NotStarted, socket, group: Group::Heads }),
            other => unreachable!("a connect ends with {other:?}"),
        }
    }

    /// Connects to a socket of this machine, by its path: a stream like any other from there on.
    ///
    /// Errors: those of [`unix_stream`](platform::Reactor::unix_stream).
    pub(crate) fn at_path(shard: &Shard, path: &Path) -> Result<Self> {
        let handle = shard.with_reactor(|reactor| reactor.unix_stream(path))?;
        Ok(TcpStream::over(shard, handle, Receive::NotStarted))
    }

    /// A connection that another shard has accepted, or given up.
    ///
    /// Errors: the shard has as many handles as it admits; the connection is closed.
    pub(crate) fn arrived(shard: &Shard, socket: Socket) -> Result<Self> {
        let handle = shard.with_reactor(|reactor| reactor.adopt(socket))?;
        Ok(TcpStream::over(shard, handle, Receive::Arrived))
    }

    /// Gives the connection up to another shard; here it is closed from then on.
    ///
    /// Errors: something is in flight on it, as on one that has received; or no descriptor is left where one is needed.
    pub(crate) fn release(&self) -> Result<Socket> {
        let Owned { shard, handle } = &self.socket;
        Ok(shard.with_reactor(|reactor| reactor.release(*handle))?)
    }

    fn over(shard: &Shard, handle: Handle, receiving: Receive) -> Self {
        let socket = Owned { shard: shard.clone(), handle };
        TcpStream { receiving, socket, group: Group::Heads }
    }

    /// The next bytes, as a lease on the shard's buffers; `None` once the peer has ended its side.
    ///
    /// Cancel safe: bytes are either returned or still there for the next call.
    ///
    /// Errors: the peer reset the connection, or it timed out; then every later call gives the same error.
    pub async fn recv(&mut self) -> Result<Option<Chunk>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](TcpStream::recv) as a poll. The receive stays armed between calls.
    #[inline(always)]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        self.split().0.poll_recv(cx)
    }

    /// Receives into large buffers from now on, while a large body comes, or into small ones.
    pub(crate) fn draw_from(&mut self, group: Group) {
        if self.group == group {
            return;
        }
        self.group = group;
        if let Receive::Armed(operation) = &mut self.receiving {
            operation.draw_from(group);
        }
    }

    /// Its two directions, so that one task can receive while it sends.
    pub fn split(&mut self) -> (Receiving<'_>, Sending<'_>) {
        let receiving = Receiving { receive: &mut self.receiving, socket: &self.socket, group: self.group };
        (receiving, Sending(&self.socket))
    }

    /// Sends one buffer, whole.
    ///
    /// Not cancel safe: dropping the future may leave any part of the buffer sent.
    ///
    /// Errors: the peer has reset the connection or this side has been shut down.
    pub async fn send(&mut self, buf: impl Into<Buf>) -> Result<()> {
        self.split().1.send(buf).await
    }

    /// Sends a list of buffers in order, whole, and leaves it empty for another use.
    ///
    /// Not cancel safe: as [`send`](TcpStream::send).
    pub async fn send_all(&mut self, list: Box<BufList>) -> Result<Box<BufList>> {
        self.split().1.send_all(list).await
    }

    /// Starts a send without waiting for it. Until it has ended, no other may be started: the kernel may reorder them.
    pub(crate) fn start_send(&self, outgoing: Outgoing) -> Result<Operation> {
        self.socket.start_send(outgoing)
    }

    /// The same with one chunk, in `place`, where the last send was; if it leaves as it should, nobody is woken to hear of it.
    #[inline(always)]
    pub(crate) fn send_quietly(&self, place: &mut Option<Operation>, chunk: Chunk, waker: &Waker) -> Result<()> {
        Ok(self.socket.shard.send_quietly(place, self.socket.handle, chunk, waker)?)
    }

    /// Sends what the kernel takes at once, and this side's end with it if that is all; what has not left is to be sent as
    /// always, a pipe among it. Not while a send is on its way.
    ///
    /// Errors: the connection is gone.
    pub(crate) fn send_last(&self, outgoing: &mut Outgoing) -> Result<()> {
        let sent = self.send_now(outgoing)?;
        if sent > 0 {
            outgoing.advance(sent);
        }
        Ok(())
    }

    fn send_now(&self, outgoing: &Outgoing) -> Result<usize> {
        let send = |data: &[IoSlice<'_>]| {
            Ok(self.socket.shard.with_reactor(|reactor| reactor.send_last(self.socket.handle, data))?)
        };
        match outgoing {
            Outgoing::One(buf) => send(&[IoSlice::new(buf)]),
            Outgoing::Many(list) => send(list.slices(&mut [IoSlice::new(&[]); SEND_BUFFERS_MAX])),
            Outgoing::Pipe(_) => Ok(0),
        }
    }

    /// Ends one or both directions.
    ///
    /// Errors: the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        let handle = self.socket.handle;
        Ok(self.socket.shard.with_reactor(|reactor| reactor.shutdown(handle, how))?)
    }

    /// The address of this side.
    pub fn local_address(&self) -> Result<SocketAddr> {
        let handle = self.socket.handle;
        Ok(self.socket.shard.with_reactor(|reactor| reactor.local_address(handle))?)
    }

    /// The address of the other side. One system call.
    pub fn peer_address(&self) -> Result<SocketAddr> {
        let handle = self.socket.handle;
        Ok(self.socket.shard.with_reactor(|reactor| reactor.peer_address(handle))?)
    }

    /// Sets an option of the socket. One system call.
    pub fn set_option(&self, option: SocketOption) -> Result<()> {
        let handle = self.socket.handle;
        Ok(self.socket.shard.with_reactor(|reactor| reactor.set_option(handle, option))?)
    }

    /// Both ends, as requests carry them; those that a proxy has named, if it has.
    #[inline(always)]
    pub(crate) fn peer(&self, secured: Option<Rc<Secured>>, named: Option<Rc<Ends>>) -> Peer {
        Peer::new(self.socket.shard.clone(), self.socket.handle, secured, named)
    }

    /// The shard that the stream belongs to.
    pub fn shard(&self) -> &Shard {
        &self.socket.shard
    }
}

impl Receiving<'_> {
    /// The next bytes: as [`TcpStream::recv`].
    pub async fn recv(&mut self) -> Result<Option<Chunk>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`recv`](Receiving::recv) as a poll. The receive stays armed between calls.
    #[inline(always)]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Chunk>>> {
        let receive = &mut *self.receive;
        if let Receive::Arrived = receive {
            *receive = Receive::NotStarted;
            let Owned { shard, handle } = self.socket;
            match shard.with_reactor(|reactor| reactor.receive_now(*handle, self.group)) {
                Ok(None) => {}
                Ok(first) => return Poll::Ready(Ok(first)),
                Err(error) => *receive = Receive::Failed(error),
            }
        }
        if let Receive::NotStarted = receive {
            let op = Op::Receive { socket: self.socket.handle, group: self.group };
            *receive = Receive::Armed(start(&self.socket.shard, op)?);
        }
        if let Receive::Armed(operation) = receive {
            let other = match ready!(operation.poll_chunk(cx)) {
                Ok(chunk) => return Poll::Ready(Ok(Some(chunk))),
                Err(other) => other,
            };
            match other.result {
                Ok(Outcome::EndOfInput) => *receive = Receive::Ended,
                Ok(other) => unreachable!("a receive gives {other:?}"),
                Err(error) => *receive = Receive::Failed(error),
            }
        }
        match receive {
            Receive::Failed(error) => Poll::Ready(Err((*error).into())),
            _ => Poll::Ready(Ok(None)),
        }
    }
}

impl Sending<'_> {
    /// Sends one buffer, whole: as [`TcpStream::send`].
    pub async fn send(&mut self, buf: impl Into<Buf>) -> Result<()> {
        let mut outgoing = Outgoing::One(buf.into());
        self.send_outgoing(&mut outgoing).await
    }

    /// Sends a list of buffers in order, whole: as [`TcpStream::send_all`].
    pub async fn send_all(&mut self, list: Box<BufList>) -> Result<Box<BufList>> {
        let mut outgoing = Outgoing::Many(list);
        self.send_outgoing(&mut outgoing).await?;
        match outgoing {
            Outgoing::Many(list) => Ok(list),
            Outgoing::One(_) | Outgoing::Pipe(_) => unreachable!("a list comes back as a list"),
        }
    }

    async fn send_outgoing(&mut self, outgoing: &mut Outgoing) -> Result<()> {
        while !outgoing.is_empty() {
            let sending = self.0.start_send(std::mem::take(outgoing))?;
            *outgoing = sent(sending.await)?;
        }
        Ok(())
    }
}

impl Owned {
    fn start_send(&self, outgoing: Outgoing) -> Result<Operation> {
        let socket = self.handle;
        let op = match outgoing {
            Outgoing::One(data) => Op::Send { socket, data, zero_copy: false },
            Outgoing::Many(list) => Op::SendList { socket, list },
            Outgoing::Pipe(pipe) => Op::SendPipe { socket, pipe },
        };
        start(&self.shard, op)
    }
}

impl Listener {
    /// Takes over a listening socket from the start coordinator.
    pub fn adopt(shard: &Shard, socket: Socket) -> Result<Self> {
        let handle = shard.with_reactor(|reactor| reactor.adopt(socket))?;
        Ok(Listener { accepting: None, socket: Owned { shard: shard.clone(), handle } })
    }

    /// The next connection.
    ///
    /// Cancel safe: a connection is either returned or still there for the next call.
    ///
    /// Errors: descriptors or memory have run out; the connection waits in the kernel's queue, so pause and call again.
    pub async fn accept(&mut self) -> Result<TcpStream> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// [`accept`](Listener::accept) as a poll.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<TcpStream>> {
        if self.accepting.is_none() {
            self.accepting = Some(start(&self.socket.shard, Op::Accept { listener: self.socket.handle })?);
        }
        self.poll_rest(cx).map(|accepted| accepted.unwrap_or(Err(Error::Io(platform::Error::Cancelled))))
    }

    /// Asks for no more connections. The kernel may have accepted some already, which [`poll_rest`](Listener::poll_rest) gives;
    /// to drop the listener instead would close them.
    pub(crate) fn stop(&mut self) {
        if let Some(accepting) = &mut self.accepting {
            accepting.cancel();
        }
    }

    /// The next connection of those that were asked for; `None` when no more come, until
    /// [`poll_accept`](Listener::poll_accept) asks again.
    pub(crate) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<TcpStream>>> {
        let Some(accepting) = &mut self.accepting else { return Poll::Ready(None) };
        let completion = ready!(accepting.poll_next(cx));
        if !completion.more {
            // Stopped, or ended by an error.
            self.accepting = None;
        }
        Poll::Ready(match completion.result {
            Ok(Outcome::Accepted(handle)) => Some(Ok(TcpStream::over(&self.socket.shard, handle, Receive::Arrived))),
            Ok(other) => unreachable!("an accept gives {other:?}"),
            Err(platform::Error::Cancelled) => None,
            Err(error) => Some(Err(error.into())),
        })
    }

    /// Whether a connection waits to be accepted, as far as that can be told.
    pub(crate) fn has_connection(&self) -> bool {
        let handle = self.socket.handle;
        self.socket.shard.with_reactor(|reactor| reactor.has_connection(handle))
    }

    /// The address listened on.
    pub fn local_address(&self) -> Result<SocketAddr> {
        let handle = self.socket.handle;
        Ok(self.socket.shard.with_reactor(|reactor| reactor.local_address(handle))?)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.shard.with_reactor(|reactor| reactor.close(self.handle));
    }
}

/// What one send takes.
#[derive(Debug)]
pub(crate) enum Outgoing {
    One(Buf),
    Many(Box<BufList>),
    Pipe(Pipe),
}

impl Outgoing {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Outgoing::One(buf) => buf.len(),
            Outgoing::Many(list) => list.bytes(),
            Outgoing::Pipe(pipe) => pipe.bytes(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// The first buffer.
    pub(crate) fn front(&self) -> &[u8] {
        match self {
            Outgoing::One(buf) => buf,
            Outgoing::Many(list) => list.iter().next().map_or(&[], |buf| buf.as_slice()),
            Outgoing::Pipe(_) => unreachable!("a pipe gives its bytes to a socket only"),
        }
    }

    /// Copies the first bytes, as many as there is place for.
    pub(crate) fn copy_to(&self, mut place: &mut [u8]) {
        let mut copy = |buf: &Buf| {
            let count = buf.len().min(place.len());
            let (now, later) = mem::take(&mut place).split_at_mut(count);
            now.copy_from_slice(&buf[..count]);
            place = later;
        };
        match self {
            Outgoing::One(buf) => copy(buf),
            Outgoing::Many(list) => list.iter().for_each(copy),
            Outgoing::Pipe(_) => unreachable!("a pipe gives its bytes to a socket only"),
        }
    }

    /// Drops the first `count` bytes. Those of a pipe are the kernel's to take.
    pub(crate) fn advance(&mut self, count: usize) {
        match self {
            Outgoing::One(buf) => buf.advance(count),
            Outgoing::Many(list) => list.advance(count),
            Outgoing::Pipe(_) => unreachable!("a pipe gives its bytes to a socket only"),
        }
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing::One(Buf::EMPTY)
    }
}

/// How much the peer has taken of a send.
pub(crate) fn sent_bytes(completion: &Completion) -> usize {
    match &completion.result {
        Ok(Outcome::Sent { bytes, .. } | Outcome::SentList { bytes, .. }) => *bytes,
        // All that was in it, which is as much as it holds but for a file's end.
        Ok(Outcome::SentPipe(pipe)) => pipe.room(),
        _ => 0,
    }
}

/// What a send has left to send.
pub(crate) fn sent(completion: Completion) -> Result<Outgoing> {
    match completion.result? {
        Outcome::Sent { bytes, mut data } => {
            data.advance(bytes);
            Ok(Outgoing::One(data))
        }
        Outcome::SentList { bytes, mut list } => {
            list.advance(bytes);
            Ok(Outgoing::Many(list))
        }
        Outcome::SentPipe(pipe) => Ok(Outgoing::Pipe(pipe)),
        other => unreachable!("a send ends with {other:?}"),
    }
}

/// Starts an operation whose memory, if it cannot start, nobody needs.
pub(crate) fn start(shard: &Shard, op: Op) -> Result<Operation> {
    shard.start(op).map_err(|(_, error)| Error::Io(error))
}

#[cfg(test)]
mod tests;
