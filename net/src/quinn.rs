//! `quinn` on a shard: its [`Runtime`](::quinn::Runtime) and its sockets, so that crates which are built on it run here. A feature.
//!
//! The one idea: what `quinn` holds may go to other threads, and what a shard has may not. So what it holds is names: of a shard, and of
//! a socket or an alarm there. Whatever it asks by a name is looked up in the shard that the thread runs; on any other thread there is
//! no time, no socket and no alarm for it, and nothing panics. `quinn` asks in the tasks that it spawns, and these run on the shard.
//!
//! ```
//! use std::sync::Arc;
//!
//! use quinn::crypto::rustls::QuicClientConfig;
//! use quinn::{ClientConfig, EndpointConfig, ServerConfig};
//! use shards::Simulation;
//! use shardwise_net::quinn::Runtime;
//!
//! Simulation::new(1).run(async |shard| {
//!     let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
//!     let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der().try_into().unwrap());
//!     let runtime = Runtime::new(&shard);
//!
//!     // Made by the runtime, an endpoint of quinn is as any other.
//!     let config = ServerConfig::with_single_cert(vec![certificate.clone()], key).unwrap();
//!     let server = runtime.endpoint("10.0.0.1:443".parse().unwrap(), EndpointConfig::default(), Some(config)).unwrap();
//!     let at = server.local_addr().unwrap();
//!     let serving = shard.spawn(async move {
//!         let connection = server.accept().await.unwrap().await.unwrap();
//!         let (mut send, mut receive) = connection.accept_bi().await.unwrap();
//!         send.write_all(&receive.read_to_end(100).await.unwrap()).await.unwrap();
//!         send.finish().unwrap();
//!         connection.closed().await;
//!     });
//!
//!     let mut roots = rustls::RootCertStore::empty();
//!     roots.add(certificate).unwrap();
//!     let config = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
//!     let client = runtime.endpoint("10.0.0.2:0".parse().unwrap(), EndpointConfig::default(), None).unwrap();
//!     let connection = client.connect_with(config, at, "localhost").unwrap().await.unwrap();
//!     let (mut send, mut receive) = connection.open_bi().await.unwrap();
//!     send.write_all(b"hello").await.unwrap();
//!     send.finish().unwrap();
//!     assert_eq!(receive.read_to_end(100).await.unwrap(), b"hello");
//!     connection.close(0u32.into(), b"");
//!     client.wait_idle().await;
//!     serving.unwrap().await.unwrap();
//! });
//! ```

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ::quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use ::quinn::{AsyncTimer, AsyncUdpSocket, Endpoint, EndpointConfig, ServerConfig, UdpPoller};
use platform::Message;
use shards::{Alarm, Remote, Shard};

use crate::NetStats;
use crate::limits::{QUIC_RECEIVE_PAUSE, QUINN_JOINED_MAX};
use crate::udp::UdpSocket;

/// A shard as `quinn` sees it. Cloning gives another name of it.
#[derive(Clone, Debug)]
pub struct Runtime {
    home: Arc<Home>,
    stats: Arc<NetStats>,
}

/// Names a shard, to any thread.
struct Home {
    remote: Remote,
    since: Instant,
    /// The time when somebody on the shard last asked, in nanoseconds.
    latest: AtomicU64,
}

/// What the shard has that names stand for.
struct Registry {
    home: Arc<Home>,
    next: Cell<u64>,
    seats: RefCell<BTreeMap<u64, Rc<Seat>>>,
    alarms: RefCell<BTreeMap<u64, Alarm>>,
}

/// A socket.
struct Seat {
    socket: UdpSocket,
    /// What was received and did not fit, and where it goes on.
    unread: RefCell<Option<(Box<Message>, usize)>>,
    /// Receiving has failed, and goes on then.
    pause: RefCell<Option<Alarm>>,
    /// Who waits for room. The last of them is woken when there is some, and wakes the others.
    waiting: RefCell<Vec<Waker>>,
    stats: Arc<NetStats>,
}

/// The name of a socket.
#[derive(Debug)]
struct Socket {
    home: Arc<Home>,
    number: u64,
    address: SocketAddr,
    batch_max: usize,
    may_fragment: bool,
}

#[derive(Debug)]
struct Poller(Arc<Socket>);

/// The name of an alarm, and when it is to ring.
#[derive(Debug)]
struct Timer {
    home: Arc<Home>,
    number: Option<u64>,
    at: Instant,
}

impl Runtime {
    /// The shard, which is to be the one that this thread runs, with counts of its own.
    pub fn new(shard: &Shard) -> Self {
        Runtime { home: Arc::clone(&registry(shard).home), stats: Arc::default() }
    }

    /// An endpoint at an address; port zero lets the kernel choose. It serves if it is told how.
    ///
    /// Errors: the address is in use or not of this machine, no descriptor; another thread.
    pub fn endpoint(
        &self,
        address: SocketAddr,
        config: EndpointConfig,
        server: Option<ServerConfig>,
    ) -> io::Result<Endpoint> {
        Endpoint::new_with_abstract_socket(config, server, self.socket(address)?, Arc::new(self.clone()))
    }

    /// A socket at an address, as for [`rebind_abstract`](Endpoint::rebind_abstract).
    ///
    /// Errors: as [`endpoint`](Runtime::endpoint).
    pub fn socket(&self, address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.seat(|shard| UdpSocket::bind(shard, address, Arc::clone(&self.stats)))
    }

    /// What its sockets have counted.
    pub fn stats(&self) -> &NetStats {
        &self.stats
    }

    fn seat(&self, open: impl FnOnce(&Shard) -> crate::Result<UdpSocket>) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let opened = self.home.look(|shard, registry| {
            let socket = open(shard)?;
            let address = socket.local_address()?;
            let (number, home) = (registry.number(), Arc::clone(&self.home));
            let (batch_max, may_fragment) = (socket.batch_max(), !socket.never_fragments());
            let (unread, pause, waiting) = Default::default();
            let seat = Seat { socket, unread, pause, waiting, stats: Arc::clone(&self.stats) };
            registry.seats.borrow_mut().insert(number, Rc::new(seat));
            Ok(Arc::new(Socket { home, number, address, batch_max, may_fragment }))
        });
        match opened {
            Some(opened) => Ok(opened.map_err(|error: crate::Error| io::Error::other(error.to_string()))?),
            None => Err(elsewhere()),
        }
    }
}

impl ::quinn::Runtime for Runtime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer { home: Arc::clone(&self.home), number: None, at })
    }

    /// On the shard, wherever it is asked.
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let mut future = Some(future);
        if self.home.look(|shard, _| spawn(shard, future.take())).is_none() {
            self.home.send(move |shard| spawn(shard, future));
        }
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket.set_nonblocking(true)?;
        let socket = platform::Socket::from(socket2::Socket::from(socket));
        self.seat(|shard| UdpSocket::adopt(shard, socket, Arc::clone(&self.stats)))
    }

    /// The shard's; on another thread, as it last was.
    fn now(&self) -> Instant {
        self.home.look(|shard, _| self.home.at(shard.now())).unwrap_or_else(|| self.home.latest())
    }
}

fn spawn(shard: &Shard, future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
    if let Err(error) = shard
        .spawn(async move {
            if let Some(future) = future {
                future.await
            }
        })
        .map(|task| task.detach())
    {
        tracing::warn!("a task of quinn's is given up: {error}");
    }
}

// ---- names --------------------------------------------------------------------------------------------------------------

fn registry(shard: &Shard) -> Rc<Registry> {
    shard.local(|| {
        let home = Home { remote: shard.remote(), since: shard.now(), latest: AtomicU64::new(0) };
        let (next, seats, alarms) = Default::default();
        Registry { home: Arc::new(home), next, seats, alarms }
    })
}

impl Registry {
    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }
}

impl Home {
    /// Looks at what the shard has, if it is the one that this thread runs.
    fn look<T>(self: &Arc<Self>, look: impl FnOnce(&Shard, &Registry) -> T) -> Option<T> {
        let shard = Shard::current()?;
        let registry = registry(&shard);
        Arc::ptr_eq(&registry.home, self).then(|| look(&shard, &registry))
    }

    /// Has something done on the shard soon, unless it ends.
    fn send(&self, work: impl FnOnce(&Shard) + Send + 'static) {
        if let Err(error) = self.remote.send(work) {
            tracing::debug!("a shard is not told of what quinn has left: {error:?}");
        }
    }

    /// The same here, or there. A name that is dropped has nothing left to ask.
    fn forget(self: &Arc<Self>, work: impl FnOnce(&Registry) + Clone + Send + 'static) {
        let there = work.clone();
        if self.look(|_, registry| work(registry)).is_none() {
            self.send(move |shard| there(&registry(shard)));
        }
    }

    fn at(&self, now: Instant) -> Instant {
        let nanoseconds = now.saturating_duration_since(self.since).as_nanos();
        self.latest.store(nanoseconds.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        now
    }

    fn latest(&self) -> Instant {
        self.since + Duration::from_nanos(self.latest.load(Ordering::Relaxed))
    }
}

/// What is asked for on the wrong thread is not there.
fn elsewhere() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "this thread does not run the shard that the socket belongs to")
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("shard", &self.remote.number()).finish_non_exhaustive()
    }
}

// ---- sockets ------------------------------------------------------------------------------------------------------------

impl Socket {
    fn look<T>(&self, look: impl FnOnce(&Shard, &Seat) -> T) -> Option<T> {
        self.home
            .look(|shard, registry| {
                let seat = registry.seats.borrow().get(&self.number).map(Rc::clone);
                seat.map(|seat| look(shard, &seat))
            })
            .flatten()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.look(|_, seat| seat.send(transmit)).unwrap_or_else(|| Err(elsewhere()))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.look(|shard, seat| seat.poll_receive(shard, cx, bufs, meta));
        polled.unwrap_or_else(|| Poll::Ready(Err(elsewhere())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn max_transmit_segments(&self) -> usize {
        self.look(|_, seat| seat.socket.batch_max()).unwrap_or(self.batch_max)
    }

    fn max_receive_segments(&self) -> usize {
        QUINN_JOINED_MAX
    }

    fn may_fragment(&self) -> bool {
        self.may_fragment
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let number = self.number;
        self.home.forget(move |registry| {
            let seat = registry.seats.borrow_mut().remove(&number);
            drop(seat);
        });
    }
}

impl Seat {
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(mut datagram) = self.socket.spare() else { return Err(io::ErrorKind::WouldBlock.into()) };
        datagram.data.extend_from_slice(transmit.contents);
        datagram.peer = Some(transmit.destination);
        datagram.source = transmit.src_ip;
        datagram.segment = transmit.segment_size.and_then(|size| u16::try_from(size).ok());
        datagram.ecn = transmit.ecn.map_or(0, |ecn| ecn as u8);
        self.socket.send(datagram);
        Ok(())
    }

    fn poll_receive(
        &self,
        shard: &Shard,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut pause = self.pause.borrow_mut();
        if let Some(alarm) = &mut *pause {
            if alarm.poll_rung(cx).is_pending() {
                return Poll::Pending;
            }
            *pause = None;
        }
        let mut unread = self.unread.borrow_mut();
        let mut count = 0;
        while count < bufs.len().min(meta.len()) {
            let (message, from) = match unread.take() {
                Some(unread) => unread,
                None => match self.socket.poll_receive(cx) {
                    Poll::Ready(Ok(message)) => (message, 0),
                    // It would be the end of the endpoint.
                    Poll::Ready(Err(error)) => {
                        tracing::warn!("receiving of datagrams pauses: {error}");
                        let mut alarm = shard.alarm(shard.now() + QUIC_RECEIVE_PAUSE);
                        let _ = alarm.poll_rung(cx);
                        *pause = Some(alarm);
                        break;
                    }
                    Poll::Pending => break,
                },
            };
            let rest = &message.data[from..];
            let size = message.segment.map_or(rest.len(), usize::from).max(1);
            // Whole datagrams only.
            let length = rest.len().min(bufs[count].len() / size * size);
            if message.truncated || length == 0 {
                self.stats.datagrams_cut.add(1);
                continue;
            }
            bufs[count][..length].copy_from_slice(&rest[..length]);
            let (addr, dst_ip, ecn) = (message.peer, message.local, EcnCodepoint::from_bits(message.ecn));
            meta[count] = RecvMeta { addr, len: length, stride: size.min(length), ecn, dst_ip };
            count += 1;
            self.stats.datagrams_received.add(length.div_ceil(size) as u64);
            self.stats.datagram_bytes_received.add(length as u64);
            if from + length < message.data.len() {
                *unread = Some((message, from + length));
            }
        }
        if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.poll_room(cx).is_ready() {
            self.wake();
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.look(|_, seat| seat.poll_room(cx)).unwrap_or_else(|| Poll::Ready(Err(elsewhere())))
    }
}

/// The others do not wait for one that has gone.
impl Drop for Poller {
    fn drop(&mut self) {
        let number = self.0.number;
        self.0.home.forget(move |registry| {
            if let Some(seat) = registry.seats.borrow().get(&number) {
                seat.wake();
            }
        });
    }
}

// ---- alarms -------------------------------------------------------------------------------------------------------------

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.at = at;
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let polled = this.home.look(|shard, registry| {
            let number = *this.number.get_or_insert_with(|| registry.number());
            let mut alarms = registry.alarms.borrow_mut();
            let alarm = alarms.entry(number).or_insert_with(|| shard.alarm(this.at));
            if alarm.deadline() != this.at {
                alarm.set(this.at);
            }
            alarm.poll_rung(cx)
        });
        polled.unwrap_or(Poll::Pending)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.home.forget(move |registry| {
                let alarm = registry.alarms.borrow_mut().remove(&number);
                drop(alarm);
            });
        }
    }
}

#[cfg(test)]
mod tests;
