//! [`Endpoint`]: one socket of QUIC, all connections that go through it, and the task that receives for them.
//!
//! The one idea: a datagram is copied once, out of the shard's buffers into memory that goes round, and is decrypted there by
//! the task of the connection that it is for. The endpoint's own task looks only at whose it is; what belongs to nobody it
//! answers itself: clients that come, versions that are not spoken, connections that are not known any more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use platform::{Datagram, Message};
use quinn_proto::{
    ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint, EndpointEvent, Incoming, ServerConfig,
    TokenMemoryCache, Transmit, TransportConfig,
};
use rustls::ClientConfig;
use shards::{Alarm, Listening, Shard, Stray};

use super::config::{Config, client};
use super::connection::{Connection, Inlet};
use super::detour::{Sender, is_long};
use super::neighbours::{Label, Neighbours};
use super::tokens::Tokens;
use crate::limits::{
    CLIENT_SESSIONS_MAX, QUIC_ARRIVALS_MAX, QUIC_BLOCK_BYTES, QUIC_RECEIVE_PAUSE, QUIC_RECEIVES_PER_POLL_MAX,
    QUIC_TOKENS_SENT, TLS_STEPS_PER_TURN_MAX,
};
use crate::udp::UdpSocket;
use crate::{Error, NetStats, Result};

/// One socket of QUIC on a shard. Cloning gives another name of it.
///
/// A server's is driven by [`serve`](Endpoint::serve), a client's by [`drive`](Endpoint::drive): one of them, in a task of its
/// own. The socket is closed when the last name and the last connection are gone.
#[derive(Clone)]
pub struct Endpoint(Rc<Shared>);

/// Why a connection cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The name is none of a server.
    Name(String),
    /// Nobody can be at this address: port zero, or no address in particular.
    Address(SocketAddr),
    /// What is to secure it has no cipher suite for QUIC.
    Suites,
    /// As many connections are there as may be, or the shard drains.
    Full,
}

/// What the connections of an endpoint share.
pub(super) struct Shared {
    pub(super) shard: Shard,
    pub(super) config: Config,
    pub(super) stats: Arc<NetStats>,
    transport: Arc<TransportConfig>,
    /// Of a server's: those that were used.
    used_tokens: Arc<Tokens>,
    /// Of a client's: those that servers have given.
    tokens: Arc<TokenMemoryCache>,
    socket: RefCell<Rc<UdpSocket>>,
    /// More sockets of the same address that another process has left. They are received from.
    others: Vec<UdpSocket>,
    /// Of a server's: where what has come to the wrong place belongs.
    neighbours: Option<Neighbours>,
    state: RefCell<State>,
    handshakes: Cell<usize>,
    /// Connections that wait for room to send, in the order of asking.
    waiting: RefCell<VecDeque<Rc<Inlet>>>,
    /// The task that drives it.
    driver: RefCell<Option<Waker>>,
}

struct State {
    inner: quinn_proto::Endpoint,
    /// By the numbers of their connections.
    inlets: Vec<Option<Rc<Inlet>>>,
    /// Clients whose hand-shake has not begun.
    arrivals: VecDeque<Incoming>,
    /// What is received is copied here, and split off.
    block: BytesMut,
    /// What the endpoint says itself.
    answer: Vec<u8>,
}

/// A hand-shake in hand: it counts while this lives.
pub(super) struct Handshake(Rc<Shared>);

/// What drives an endpoint has to itself.
struct Driver<'e> {
    shared: &'e Rc<Shared>,
    /// Of a server's: what hand-shakes are made with.
    configs: Option<&'e dyn Fn() -> Arc<rustls::ServerConfig>>,
    /// The same, as it was made of the last that was given.
    made: Option<(Arc<rustls::ServerConfig>, Arc<ServerConfig>)>,
    /// The turn, and how many hand-shakes it has begun.
    turn: u64,
    begun: u32,
    alarm: Alarm,
    is_pausing: bool,
    /// When the drain's grace is over, once it has begun.
    grace: Option<Alarm>,
}

impl Endpoint {
    /// Opens a socket at an address; port zero lets the kernel choose.
    ///
    /// Errors: the address is in use or not of this machine, no descriptor.
    pub fn bind(shard: &Shard, address: SocketAddr, config: Config, stats: Arc<NetStats>) -> Result<Self> {
        let socket = UdpSocket::bind(shard, address, Arc::clone(&stats))?;
        Ok(Self::new(shard, socket, Vec::new(), None, config, stats))
    }

    /// Takes over the sockets of an address that all shards receive at ([`shards::listen_datagrams`]). Shards and processes pass on
    /// to each other what belongs to another.
    ///
    /// Errors: the shard has as many handles as it admits; the sockets are closed.
    pub fn adopt(shard: &Shard, listening: Listening, config: Config, stats: Arc<NetStats>) -> Result<Self> {
        let Listening { sockets, number, strays, kept, .. } = listening;
        let mut sockets = sockets.into_iter().map(|socket| UdpSocket::adopt(shard, socket, Arc::clone(&stats)));
        let socket = sockets.next().ok_or(Error::Io(platform::Error::Closed))??;
        let others = sockets.collect::<Result<Vec<_>>>()?;
        let neighbours = Neighbours::new(shard, number, strays, kept);
        let endpoint = Self::new(shard, socket, others, Some(neighbours), config, stats);
        if let Some(neighbours) = &endpoint.0.neighbours {
            neighbours.enter(&endpoint.0);
        }
        Ok(endpoint)
    }

    fn new(
        shard: &Shard,
        socket: UdpSocket,
        others: Vec<UdpSocket>,
        neighbours: Option<Neighbours>,
        config: Config,
        stats: Arc<NetStats>,
    ) -> Self {
        let state = State {
            // Only then are paths tried with larger packets.
            inner: quinn_proto::Endpoint::new(Arc::new(config.endpoint(shard)), None, socket.never_fragments(), None),
            inlets: Vec::new(),
            arrivals: VecDeque::new(),
            block: BytesMut::with_capacity(QUIC_BLOCK_BYTES),
            answer: Vec::new(),
        };
        Endpoint(Rc::new(Shared {
            shard: shard.clone(),
            transport: Arc::new(config.transport()),
            used_tokens: Arc::default(),
            tokens: Arc::new(TokenMemoryCache::new(CLIENT_SESSIONS_MAX as u32, QUIC_TOKENS_SENT as usize)),
            config,
            stats,
            socket: RefCell::new(Rc::new(socket)),
            others,
            neighbours,
            state: RefCell::new(state),
            handshakes: Cell::default(),
            waiting: RefCell::default(),
            driver: RefCell::default(),
        }))
    }

    /// The address of the socket.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.0.local_address()
    }

    /// Accepts connections and receives for them, until the drain begins, then until the last of them has ended. Each that
    /// begins asks what with, and is handed to `on_connection` before its hand-shake is over, which starts its task.
    ///
    /// Errors: what hand-shakes are made with has no cipher suite for QUIC.
    pub async fn serve(
        &self,
        configs: impl Fn() -> Arc<rustls::ServerConfig>,
        mut on_connection: impl FnMut(Connection),
    ) -> Result<()> {
        let mut driver = Driver::new(&self.0, Some(&configs));
        let made = driver.config().ok_or(Error::Io(platform::Error::Unsupported))?;
        self.0.state.borrow_mut().inner.set_server_config(Some(made));
        poll_fn(|cx| driver.poll(cx, &mut on_connection)).await;
        self.0.state.borrow_mut().inner.set_server_config(None);
        Ok(())
    }

    /// Receives for the connections that were made here, until the drain begins, then until the last of them has ended.
    pub async fn drive(&self) {
        let mut driver = Driver::new(&self.0, None);
        poll_fn(|cx| driver.poll(cx, &mut |_| unreachable!("nobody serves"))).await;
    }

    /// Begins a connection to the server of this name at this address. It can be used for early data at once if
    /// [`is_early`](Connection::is_early), and for all else when it is [connected](super::Event::Connected).
    ///
    /// # Panics
    ///
    /// If `tls` does without TLS 1.3.
    pub fn connect(
        &self,
        peer: SocketAddr,
        name: &str,
        tls: &Arc<ClientConfig>,
    ) -> std::result::Result<Connection, ConnectError> {
        let config = client(&self.0.transport, &self.0.tokens, Arc::clone(tls)).ok_or(ConnectError::Suites)?;
        let mut state = self.0.state.borrow_mut();
        if self.0.shard.is_draining() || state.inner.open_connections() >= self.0.config.connections_max {
            return Err(ConnectError::Full);
        }
        let (handle, inner) = state.inner.connect(self.0.shard.now(), config, peer, name).map_err(|error| {
            use quinn_proto::ConnectError as Inner;
            match error {
                Inner::InvalidServerName(name) => ConnectError::Name(name),
                Inner::InvalidRemoteAddress(address) => ConnectError::Address(address),
                Inner::EndpointStopping
                | Inner::CidsExhausted
                | Inner::NoDefaultClientConfig
                | Inner::UnsupportedVersion => ConnectError::Full,
            }
        })?;
        Ok(self.0.begin(&mut state, handle, inner))
    }

    /// Goes on from another address: all connections tell their peers.
    ///
    /// Errors: as [`bind`](Endpoint::bind); then all stays as it was.
    pub fn rebind(&self, address: SocketAddr) -> Result<()> {
        let socket = UdpSocket::bind(&self.0.shard, address, Arc::clone(&self.0.stats))?;
        self.0.socket.replace(Rc::new(socket));
        self.0.wake_driver();
        self.0.state.borrow().inlets.iter().flatten().for_each(|inlet| inlet.moved());
        Ok(())
    }

    /// Connections that are there, with those that linger.
    pub fn connections(&self) -> usize {
        self.0.state.borrow().inner.open_connections()
    }
}

impl<'e> Driver<'e> {
    fn new(shared: &'e Rc<Shared>, configs: Option<&'e dyn Fn() -> Arc<rustls::ServerConfig>>) -> Self {
        let alarm = shared.shard.alarm(shared.shard.now());
        Driver { shared, configs, made: None, turn: 0, begun: 0, alarm, is_pausing: false, grace: None }
    }

    /// Ready when the shard drains, has taken those who did not know, and no connection is left.
    fn poll(&mut self, cx: &mut Context<'_>, on_connection: &mut dyn FnMut(Connection)) -> Poll<()> {
        let shared = self.shared;
        shared.attend(cx.waker());
        let is_over = self.poll_grace(cx).is_ready();
        if let Some(neighbours) = &shared.neighbours {
            for _ in 0..QUIC_RECEIVES_PER_POLL_MAX {
                let Poll::Ready(stray) = neighbours.poll_next(cx) else { break };
                shared.receive_stray(&stray);
            }
        }
        self.receive(cx);
        self.accept(cx, on_connection, is_over);
        shared.give_room(cx);
        match is_over && shared.state.borrow().inner.open_connections() == 0 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Ready when no more connections are taken: the shard drains, and a while has passed since, or another process takes them.
    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared;
        if !shared.shard.is_draining() {
            return Poll::Pending;
        }
        if shared.neighbours.as_ref().is_some_and(Neighbours::has_successor) {
            // What the kernel has taken already is still looked at.
            shared.sockets(|socket| socket.stop());
            return Poll::Ready(());
        }
        let begins = || shared.shard.alarm(shared.shard.now() + shared.config.drain_time_min);
        self.grace.get_or_insert_with(begins).poll_rung(cx)
    }

    fn receive(&mut self, cx: &mut Context<'_>) {
        let shared = self.shared;
        if self.is_pausing {
            if self.alarm.poll_rung(cx).is_pending() {
                return;
            }
            self.is_pausing = false;
        }
        if shared.neighbours.as_ref().is_some_and(|neighbours| neighbours.poll_begin(cx).is_pending()) {
            return;
        }
        let first = Rc::clone(&shared.socket.borrow());
        for socket in std::iter::once(&*first).chain(&shared.others) {
            let mut left = QUIC_RECEIVES_PER_POLL_MAX;
            while let Poll::Ready(received) = socket.poll_receive(cx) {
                match received {
                    Ok(message) => shared.route(&message),
                    Err(error) => {
                        tracing::warn!("receiving of datagrams pauses: {error}");
                        self.is_pausing = true;
                        self.alarm.set(shared.shard.now() + QUIC_RECEIVE_PAUSE);
                        let _ = self.alarm.poll_rung(cx);
                        return;
                    }
                }
                left -= 1;
                if left == 0 {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        if let Some(neighbours) = &shared.neighbours
            && shared.has_stopped()
        {
            neighbours.stop();
        }
    }

    fn make(&self, tls: &rustls::ServerConfig) -> Option<Arc<ServerConfig>> {
        let Shared { shard, config, stats, transport, used_tokens, .. } = &**self.shared;
        config.server(shard, transport, tls, used_tokens, Arc::clone(stats))
    }

    /// What the next hand-shake is made with. What cannot be used is as if it had not come.
    fn config(&mut self) -> Option<Arc<ServerConfig>> {
        let tls = (self.configs?)();
        if self.made.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &tls))
            && let Some(made) = self.make(&tls)
        {
            self.made = Some((tls, made));
        }
        self.made.as_ref().map(|(_, made)| Arc::clone(made))
    }

    /// Decides on the clients that have come, as many of them as a turn has time for.
    fn accept(&mut self, cx: &mut Context<'_>, on_connection: &mut dyn FnMut(Connection), is_over: bool) {
        let shared = self.shared;
        if self.turn != shared.shard.turn_number() {
            (self.turn, self.begun) = (shared.shard.turn_number(), 0);
        }
        loop {
            let Some(incoming) = shared.state.borrow_mut().arrivals.pop_front() else { return };
            let config = &shared.config;
            let handshakes = shared.handshakes.get();
            let is_full = handshakes >= config.handshakes_max
                || shared.state.borrow().inner.open_connections() >= config.connections_max;
            // Who has come before the sockets went to another process is served, and leaves when it is told to.
            let is_late = is_over && !shared.neighbours.as_ref().is_some_and(Neighbours::has_successor);
            if is_full || is_late {
                shared.stats.quic_refused.add(1);
                shared.answer(|state| Some(state.inner.refuse(incoming, &mut state.answer)));
            } else if handshakes >= config.unproved_handshakes_max && !incoming.remote_address_validated() {
                shared.stats.quic_retries.add(1);
                shared.answer(|state| state.inner.retry(incoming, &mut state.answer).ok());
            } else if self.begun < TLS_STEPS_PER_TURN_MAX {
                self.begun += 1;
                let made = self.config();
                if let Some(connection) = shared.accept(incoming, made) {
                    on_connection(connection);
                }
            } else {
                shared.state.borrow_mut().arrivals.push_front(incoming);
                return cx.waker().wake_by_ref();
            }
        }
    }
}

impl Shared {
    pub(super) fn local_address(&self) -> Result<SocketAddr> {
        self.socket.borrow().local_address()
    }

    fn sockets(&self, see: impl Fn(&UdpSocket)) {
        see(&self.socket.borrow());
        self.others.iter().for_each(see);
    }

    /// Whether nothing more is received.
    fn has_stopped(&self) -> bool {
        self.socket.borrow().has_stopped() && self.others.iter().all(UdpSocket::has_stopped)
    }

    fn attend(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    fn wake_driver(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    // ---- what comes --------------------------------------------------------------------------------------------------

    /// Puts what has come into the queues of those that it is for.
    fn route(self: &Rc<Self>, message: &Message) {
        let stats = &self.stats;
        let size = message.segment.map_or(message.data.len(), usize::from).max(1);
        stats.datagrams_received.add(message.data.len().div_ceil(size) as u64);
        stats.datagram_bytes_received.add(message.data.len() as u64);
        stats.datagram_batches_received.add(u64::from(message.segment.is_some()));
        if message.truncated {
            return stats.datagrams_cut.add(1);
        }
        let label = Label { peer: message.peer, local: message.local, ecn: message.ecn };
        self.take(&message.data, size, label, self.neighbours.as_ref());
    }

    /// The same for one datagram that somebody has passed on.
    pub(super) fn receive_stray(self: &Rc<Self>, stray: &Stray) {
        let Stray { data, peer, local, ecn } = stray;
        let label = Label { peer: *peer, local: *local, ecn: *ecn };
        self.take(data, data.len().max(1), label, None);
        // It may be a client's that begins.
        self.wake_driver();
    }

    fn take(self: &Rc<Self>, bytes: &[u8], size: usize, label: Label, neighbours: Option<&Neighbours>) {
        let stats = &self.stats;
        let (now, ecn) = (self.shard.now(), EcnCodepoint::from_bits(label.ecn));
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.block.reserve(bytes.len());
        state.block.extend_from_slice(bytes);
        let mut batch = state.block.split();
        let mut woken: Option<Rc<Inlet>> = None;
        while !batch.is_empty() {
            let data = batch.split_to(size.min(batch.len()));
            if neighbours.is_some_and(|neighbours| neighbours.pass_on(self, &data, label)) {
                continue;
            }
            let sender = Sender::new(label.peer, &data);
            // It may have to be shown once more.
            let copy = (self.handshakes.get() > 0 && is_long(&data)).then(|| data.clone());
            match state.inner.handle(now, label.peer, label.local, ecn, data, &mut state.answer) {
                Some(DatagramEvent::ConnectionEvent(handle, mut event)) => {
                    let Some(Some(inlet)) = state.inlets.get(handle.0) else { continue };
                    let begun_at = inlet.begun_at.get();
                    if let (Some(begun_at), Some(copy)) = (begun_at.filter(|address| *address != label.peer), copy)
                        && let Some(DatagramEvent::ConnectionEvent(_, as_from_there)) =
                            state.inner.handle(now, begun_at, label.local, ecn, copy, &mut state.answer)
                    {
                        event = as_from_there;
                    }
                    if !inlet.put(event, begun_at.map(|_| sender)) {
                        stats.datagrams_crowded.add(1);
                    }
                    // All of a batch are one connection's, but for those that share a socket.
                    if !woken.as_ref().is_some_and(|woken| Rc::ptr_eq(woken, inlet)) {
                        inlet.wake();
                        woken = Some(Rc::clone(inlet));
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) if state.arrivals.len() < QUIC_ARRIVALS_MAX => {
                    state.arrivals.push_back(incoming);
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    state.inner.ignore(incoming);
                    stats.datagrams_crowded.add(1);
                }
                Some(DatagramEvent::Response(transmit)) => {
                    stats.quic_answers.add(1);
                    self.say(transmit, &mut state.answer);
                }
                None => stats.datagrams_unwanted.add(1),
            }
        }
    }

    fn accept(self: &Rc<Self>, incoming: Incoming, config: Option<Arc<ServerConfig>>) -> Option<Connection> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        match state.inner.accept(incoming, self.shard.now(), &mut state.answer, config) {
            Ok((handle, inner)) => Some(self.begin(state, handle, inner)),
            Err(error) => {
                self.stats.quic_handshakes_failed.add(1);
                if let Some(transmit) = error.response {
                    self.say(transmit, &mut state.answer);
                }
                None
            }
        }
    }

    fn begin(
        self: &Rc<Self>,
        state: &mut State,
        handle: ConnectionHandle,
        inner: quinn_proto::Connection,
    ) -> Connection {
        self.stats.quic_connections.add(1);
        self.stats.quic_connections_open.add(1);
        let (connection, inlet) = Connection::new(self, handle, inner, Handshake::new(self));
        if state.inlets.len() <= handle.0 {
            state.inlets.resize_with(handle.0 + 1, || None);
        }
        state.inlets[handle.0] = Some(inlet);
        connection
    }

    // ---- what goes ---------------------------------------------------------------------------------------------------

    /// Something to say that belongs to no connection.
    fn answer(&self, make: impl FnOnce(&mut State) -> Option<Transmit>) {
        let mut state = self.state.borrow_mut();
        if let Some(transmit) = make(&mut state) {
            self.say(transmit, &mut state.answer);
        }
    }

    fn say(&self, transmit: Transmit, answer: &mut Vec<u8>) {
        match self.spare() {
            Some(mut datagram) => {
                datagram.data.extend_from_slice(answer);
                self.send(transmit, datagram);
            }
            None => self.stats.quic_answers_dropped.add(1),
        }
        answer.clear();
    }

    /// An empty datagram to send, if there is room.
    pub(super) fn spare(&self) -> Option<Box<Datagram>> {
        self.socket.borrow().spare()
    }

    /// The same for a connection, which is woken when there is room again.
    pub(super) fn spare_for(&self, inlet: &Rc<Inlet>) -> Option<Box<Datagram>> {
        let spare = self.spare();
        if spare.is_none() && !inlet.waits.replace(true) {
            self.waiting.borrow_mut().push_back(Rc::clone(inlet));
            self.wake_driver();
        }
        spare
    }

    /// Datagrams that a batch may have.
    pub(super) fn batch_max(&self) -> usize {
        self.socket.borrow().batch_max()
    }

    pub(super) fn keep(&self, datagram: Box<Datagram>) {
        self.socket.borrow().keep(datagram);
    }

    pub(super) fn send(&self, transmit: Transmit, mut datagram: Box<Datagram>) {
        datagram.peer = Some(transmit.destination);
        datagram.source = transmit.src_ip;
        datagram.segment = transmit.segment_size.and_then(|size| u16::try_from(size).ok());
        datagram.ecn = transmit.ecn.map_or(0, |ecn| ecn as u8);
        self.socket.borrow().send(datagram);
    }

    /// Wakes those that wait for room, once there is some.
    fn give_room(&self, cx: &mut Context<'_>) {
        if self.waiting.borrow().is_empty() {
            return;
        }
        let socket = Rc::clone(&self.socket.borrow());
        if socket.poll_room(cx).is_ready() {
            for inlet in self.waiting.take() {
                inlet.waits.set(false);
                inlet.wake();
            }
        }
    }

    // ---- what connections tell ---------------------------------------------------------------------------------------

    pub(super) fn tell(&self, handle: ConnectionHandle, event: EndpointEvent) -> Option<ConnectionEvent> {
        let mut state = self.state.borrow_mut();
        if event.is_drained() {
            state.inlets[handle.0] = None;
            self.stats.quic_connections_open.subtract(1);
            self.wake_driver();
        }
        state.inner.handle_event(handle, event)
    }
}

impl Handshake {
    fn new(shared: &Rc<Shared>) -> Self {
        shared.handshakes.set(shared.handshakes.get() + 1);
        shared.stats.quic_handshakes_open.add(1);
        Handshake(Rc::clone(shared))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.set(self.0.handshakes.get() - 1);
        self.0.stats.quic_handshakes_open.subtract(1);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        for incoming in self.arrivals.drain(..) {
            self.inner.ignore(incoming);
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Name(name) => write!(f, "no server can have the name {name:?}"),
            ConnectError::Address(address) => write!(f, "no server can be at {address}"),
            ConnectError::Suites => f.write_str("TLS is to be spoken without the cipher suites of QUIC"),
            ConnectError::Full => f.write_str("as many connections are there as may be"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
