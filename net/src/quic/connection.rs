//! [`Connection`]: one connection of QUIC, as part of the task that speaks a protocol over it.
//!
//! That task does the same in each of its polls: it asks [`poll`](Connection::poll) for events until there are none, reads and
//! writes streams as they say, and calls [`flush`](Connection::flush) last, which sends and sets the alarm. Everything that it
//! has to be woken for is seen to by these two.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use platform::Datagram;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{
    ConnectionError, ConnectionEvent, ConnectionHandle, Dir, EndpointEvent, FinishError, ReadError, ReadableError,
    SendDatagramError, StreamEvent, StreamId, VarInt, WriteError,
};
use rustls::AlertDescription;
use shards::{Alarm, Shard};

use super::detour::{Detour, Sender};
use super::endpoint::{Handshake, Shared};
use crate::limits::{QUIC_BATCHES_PER_FLUSH_MAX, QUIC_INBOX_COUNT_MAX, QUIC_STREAMS_AT_FIRST};
use crate::tls::{Failure, Secured};

/// A connection of QUIC, of either side. It belongs to one task, which in each of its polls asks [`poll`](Connection::poll) for
/// events until there are none, reads and writes streams as they say, and calls [`flush`](Connection::flush) last.
///
/// Dropping it ends it: the peer is told, once. Who wants to be sure that the peer learns of the end waits for
/// [`poll_drained`](Connection::poll_drained) first.
pub struct Connection {
    inner: Box<quinn_proto::Connection>,
    handle: ConnectionHandle,
    endpoint: Rc<Shared>,
    inlet: Rc<Inlet>,
    alarm: Alarm,
    /// While it lasts, and until when it may.
    handshake: Option<(Handshake, Instant)>,
    /// Of a server's: the client is not where its hand-shake began.
    detour: Option<Detour>,
    /// Streams of the peer's have been opened and not been told of.
    has_opened: [bool; 2],
    /// The peer may open more streams at a time than were granted so far.
    holds_back: bool,
    peer: SocketAddr,
    packets_lost: u64,
    /// When something of the peer's last came.
    heard: Instant,
    /// Something was read before the hand-shake was over.
    had_early_data: bool,
    /// Somebody wants to know when all of a stream has been acknowledged.
    tells_finished: bool,
    /// Why it was closed here, if nobody has been told.
    untold: Option<Closed>,
    end: End,
}

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    NotYet,
    /// It is closed; packets of the peer may still be on their way, and are answered by saying so.
    Closed,
    /// Nothing is left of it.
    Drained,
}

/// What has become of a connection since it was asked last.
#[derive(Debug)]
pub enum Event {
    /// It is known which protocol is spoken, and what the client has asked for. The first event of all.
    Agreed,
    /// The hand-shake is over, and each side is who it says. A client's streams may be used before if
    /// [`is_early`](Connection::is_early).
    Connected,
    /// The peer has opened a stream, which may have something to be read already.
    Opened(StreamId),
    /// There is something to be read on a stream from which nothing could be, or the peer has reset it.
    Readable(StreamId),
    /// A stream that took no more takes something again.
    Writable(StreamId),
    /// All that was written to a stream that was finished has been acknowledged.
    Finished(StreamId),
    /// The peer wants no more of a stream, for this reason. It is still to be [reset](Connection::reset).
    Stopped(StreamId, u64),
    /// Streams may be opened again.
    Available(Dir),
    /// Datagrams have come.
    Datagrams,
    /// Datagrams may be sent again.
    DatagramRoom,
    /// The peer is found at another address.
    Migrated(SocketAddr),
    /// It has ended. Nothing is left to do but [`poll_drained`](Connection::poll_drained), or to drop it.
    Closed(Closed),
}

/// Why a connection has ended, if not by [`close`](Connection::close).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer's protocol has closed it, with its code and reason.
    ByPeer(u64, Bytes),
    /// The peer's QUIC has, or its TLS, with a code of RFC 9000 section 20.1.
    ByPeerTransport(u64, Bytes),
    /// It has broken the rules, and was told so by this code; or it cannot be agreed with.
    Broken(u64, String),
    /// The peer does not know of it any more, as after a restart.
    Reset,
    /// The peer has been silent for too long, or the hand-shake took too long.
    TimedOut,
    /// The peer speaks no version of QUIC that is spoken here.
    Version,
    /// Here: it was closed, or no id is left.
    Here,
}

/// What can be read of a stream at this moment.
#[derive(Debug)]
pub enum Read {
    /// Bytes, the next ones, and what comes behind them.
    Chunk(Bytes, Behind),
    /// Nothing; [`Event::Readable`] will say when.
    Pending,
    /// All was read. It is said once.
    End,
    /// Nothing is left of it: its end, or its being reset, has been told, or it was stopped here. Events may still name it.
    Closed,
    /// The peer has reset it, for this reason.
    Reset(u64),
}

/// What comes behind bytes that were read: for those to whom it makes a difference whether these are the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// More bytes, which are there.
    More,
    /// Nothing yet.
    Pending,
    /// Nothing: all was read, and [`Read::End`] will not be said.
    End,
}

/// Why nothing can be written to a stream any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// The peer wants no more of it, for this reason.
    Stopped(u64),
    /// It was finished or reset here, or is not open.
    Ended,
}

/// Why a datagram is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramRefused {
    /// As many wait as may; [`Event::DatagramRoom`] will say when. It comes back.
    Full(Bytes),
    /// It is longer than [`datagram_bytes_max`](Connection::datagram_bytes_max).
    TooLong,
    /// One of the sides does without datagrams.
    Unsupported,
}

/// The queue between the endpoint and a connection.
pub(super) struct Inlet {
    /// Whom to wake.
    waker: RefCell<Option<Waker>>,
    inbox: RefCell<VecDeque<(ConnectionEvent, Option<Sender>)>>,
    /// Of a server's, while its hand-shake lasts or the client is not found there: where it began.
    pub(super) begun_at: Cell<Option<SocketAddr>>,
    /// It waits for room to send.
    pub(super) waits: Cell<bool>,
    /// The endpoint has another socket.
    has_moved: Cell<bool>,
}

impl Inlet {
    /// Puts something into the queue, unless that is full; and who has sent it, if that matters.
    pub(super) fn put(&self, event: ConnectionEvent, sender: Option<Sender>) -> bool {
        let mut inbox = self.inbox.borrow_mut();
        let has_room = inbox.len() < QUIC_INBOX_COUNT_MAX;
        if has_room {
            inbox.push_back((event, sender));
        }
        has_room
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn moved(&self) {
        self.has_moved.set(true);
        self.wake();
    }

    fn take(&self) -> Option<(ConnectionEvent, Option<Sender>)> {
        self.inbox.borrow_mut().pop_front()
    }

    fn attend(&self, waker: &Waker) {
        let mut attending = self.waker.borrow_mut();
        if !attending.as_ref().is_some_and(|attending| attending.will_wake(waker)) {
            *attending = Some(waker.clone());
        }
    }
}

impl Connection {
    pub(super) fn new(
        endpoint: &Rc<Shared>,
        handle: ConnectionHandle,
        inner: quinn_proto::Connection,
        handshake: Handshake,
    ) -> (Self, Rc<Inlet>) {
        let (waker, inbox, waits, has_moved) = Default::default();
        let follows = inner.side().is_server() && endpoint.config.migrates;
        let begun_at = Cell::new(follows.then(|| inner.remote_address()));
        let inlet = Rc::new(Inlet { waker, inbox, begun_at, waits, has_moved });
        let shard = &endpoint.shard;
        let connection = Connection {
            peer: inner.remote_address(),
            inner: Box::new(inner),
            handle,
            endpoint: Rc::clone(endpoint),
            inlet: Rc::clone(&inlet),
            alarm: shard.alarm(shard.now()),
            handshake: Some((handshake, shard.now() + endpoint.config.handshake_time_max)),
            detour: None,
            has_opened: [false; 2],
            holds_back: endpoint.config.streams_max > QUIC_STREAMS_AT_FIRST,
            packets_lost: 0,
            heard: shard.now(),
            had_early_data: false,
            tells_finished: true,
            untold: None,
            end: End::NotYet,
        };
        (connection, inlet)
    }

    // ---- what the task does in each poll -----------------------------------------------------------------------------

    /// The next event. Takes in what has come and what time has brought. The task is woken when there may be another. None comes after
    /// the end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if self.end != End::NotYet {
            self.wind_down(cx);
            return Poll::Pending;
        }
        // What has come is taken in when all is told that came before.
        let event = self.next_event().or_else(|| {
            self.inlet.attend(cx.waker());
            self.take_in();
            self.change().or_else(|| self.next_event())
        });
        event.map_or(Poll::Pending, Poll::Ready)
    }

    /// Sends what there is to send, as far as the path and the socket take it, and sees to it that the task is woken when
    /// there is more to do. The last that a poll of the task does, after whatever it has read or written.
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        self.inlet.attend(cx.waker());
        self.grant();
        self.transmit(cx);
        self.tell_endpoint();
        self.arm(cx);
    }

    /// Ready when nothing is left of a connection that is closed: its peer knows, or has had the time to (RFC 9000 section
    /// 10.2), which is three times the time after which a packet is sent again. Instead of the other two.
    pub fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.close(0, b"");
        self.wind_down(cx);
        if self.end != End::Drained {
            self.flush(cx);
        }
        if self.end == End::Drained { Poll::Ready(()) } else { Poll::Pending }
    }

    /// It has ended: what comes and what time brings only count for its draining.
    fn wind_down(&mut self, cx: &mut Context<'_>) {
        self.inlet.attend(cx.waker());
        if self.end != End::Drained {
            self.take_in();
            while self.inner.poll().is_some() {}
        }
    }

    /// What has come, and what time has brought.
    fn take_in(&mut self) {
        let now = self.shard().now();
        if self.inlet.has_moved.take() {
            self.inner.local_address_changed();
        }
        while let Some((event, sender)) = self.inlet.take() {
            self.heard = now;
            let frames = sender.map(|_| self.frames());
            self.inner.handle_event(event);
            if let Some(sender) = sender
                && frames != Some(self.frames())
            {
                self.follow(sender);
            }
        }
        if self.inner.poll_timeout().is_some_and(|at| at <= now) {
            self.inner.handle_timeout(now);
            self.count_losses();
        }
        if self.handshake.as_ref().is_some_and(|(_, until)| *until <= now) && self.end == End::NotYet {
            // A peer may keep its hand-shake alive with something else.
            self.inner.close(now, VarInt::from_u32(0), Bytes::new());
            self.untold = Some(Closed::TimedOut);
        }
        self.tell_endpoint();
    }

    /// Something of the client's has come, which was new: during the hand-shake it is answered to where it came from.
    fn follow(&mut self, sender: Sender) {
        let Some(begun_at) = self.inlet.begun_at.get() else { return };
        let (is_over, is_found) = (!self.inner.is_handshaking(), self.inner.remote_address() != begun_at);
        self.detour = match sender.peer == begun_at || is_found {
            true => None,
            false => Some(Detour::after(self.detour.take(), sender, is_over)),
        };
        if is_over && self.detour.is_none() {
            self.inlet.begun_at.set(None);
        }
    }

    /// Frames that have come in packets that were new.
    fn frames(&self) -> u64 {
        let frames = self.inner.stats().frame_rx;
        frames.acks + frames.crypto + frames.ping + frames.stream + frames.connection_close
    }

    /// What has become of the whole of it by what was taken in.
    fn change(&mut self) -> Option<Event> {
        if let Some(closed) = self.untold.take() {
            return Some(self.closed(closed));
        }
        if self.peer != self.inner.remote_address() {
            self.peer = self.inner.remote_address();
            self.endpoint.stats.quic_migrations.add(1);
            return Some(Event::Migrated(self.peer));
        }
        None
    }

    /// Has [`Event::Finished`] left out from now on: where streams are many and short, there are as many of them.
    pub fn without_finished(&mut self) {
        self.tells_finished = false;
    }

    /// The next stream that the peer has opened, without looking for anything else: where many are opened at a time, that is
    /// quicker than [`Event::Opened`] for each.
    #[inline]
    pub fn next_opened(&mut self) -> Option<StreamId> {
        for dir in [Dir::Bi, Dir::Uni] {
            if self.has_opened[dir as usize] {
                match self.inner.streams().accept(dir) {
                    None => self.has_opened[dir as usize] = false,
                    opened => return opened,
                }
            }
        }
        None
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(id) = self.next_opened() {
                return Some(Event::Opened(id));
            }
            return Some(match self.inner.poll()? {
                quinn_proto::Event::HandshakeDataReady => Event::Agreed,
                quinn_proto::Event::Connected => {
                    self.handshake = None;
                    self.endpoint.stats.quic_handshakes.add(1);
                    if self.inner.side().is_server() {
                        self.endpoint.stats.tls_agreed(&self.secured());
                    }
                    Event::Connected
                }
                quinn_proto::Event::ConnectionLost { reason } => self.closed(reason.into()),
                quinn_proto::Event::Stream(StreamEvent::Opened { dir }) => {
                    self.has_opened[dir as usize] = true;
                    continue;
                }
                quinn_proto::Event::Stream(StreamEvent::Readable { id }) => Event::Readable(id),
                quinn_proto::Event::Stream(StreamEvent::Writable { id }) => Event::Writable(id),
                quinn_proto::Event::Stream(StreamEvent::Finished { .. }) if !self.tells_finished => continue,
                quinn_proto::Event::Stream(StreamEvent::Finished { id }) => Event::Finished(id),
                quinn_proto::Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    Event::Stopped(id, error_code.into_inner())
                }
                quinn_proto::Event::Stream(StreamEvent::Available { dir }) => Event::Available(dir),
                quinn_proto::Event::DatagramReceived => Event::Datagrams,
                quinn_proto::Event::DatagramsUnblocked => Event::DatagramRoom,
            });
        }
    }

    fn closed(&mut self, closed: Closed) -> Event {
        let stats = &self.endpoint.stats;
        match &closed {
            // An alert of TLS (RFC 9001 section 4.8).
            &Closed::ByPeerTransport(code @ 0x100..0x200, _) if self.inner.side().is_server() => {
                let alert = AlertDescription::from(code as u8);
                stats.tls_failed(&Failure::from(rustls::Error::AlertReceived(alert)));
            }
            Closed::TimedOut => stats.quic_timed_out.add(1),
            Closed::Broken(..) => stats.quic_failed.add(1),
            _ => {}
        }
        self.end = self.end.max(End::Closed);
        self.end_handshake();
        Event::Closed(closed)
    }

    /// Grants the peer all streams that it may have, once it has shown that it needs many. QUIC counts a stream until the answer on
    /// it is acknowledged, so who asks as much as it may at a time would wait for that with every round.
    fn grant(&mut self) {
        let open = if self.holds_back { self.inner.streams().remote_open_streams(Dir::Bi) } else { 0 };
        if open >= u64::from(QUIC_STREAMS_AT_FIRST / 2) {
            self.inner.set_max_concurrent_streams(Dir::Bi, self.endpoint.config.streams_max.into());
            self.holds_back = false;
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>) {
        for _ in 0..QUIC_BATCHES_PER_FLUSH_MAX {
            let Some(datagram) = self.endpoint.spare_for(&self.inlet) else { return };
            if !self.transmit_batch(datagram, self.endpoint.batch_max()) {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Sends so many datagrams at the most. Whether there was something to send.
    fn transmit_batch(&mut self, mut datagram: Box<Datagram>, count_max: usize) -> bool {
        let room = self.detour.as_ref().map_or(count_max, |detour| detour.room().min(count_max));
        let transmit = match room {
            0 => None,
            room => self.inner.poll_transmit(self.endpoint.shard.now(), room, &mut datagram.data),
        };
        let Some(mut transmit) = transmit else {
            self.endpoint.keep(datagram);
            return false;
        };
        if let Some(detour) = &mut self.detour
            && Some(transmit.destination) == self.inlet.begun_at.get()
        {
            transmit.destination = detour.send(transmit.size);
        }
        self.endpoint.send(transmit, datagram);
        true
    }

    /// What the endpoint needs to know to find the connection, and what it answers.
    fn tell_endpoint(&mut self) {
        while let Some(event) = self.inner.poll_endpoint_events() {
            if event.is_drained() {
                self.end = End::Drained;
            }
            if let Some(answer) = self.endpoint.tell(self.handle, event) {
                self.inner.handle_event(answer);
            }
        }
    }

    fn arm(&mut self, cx: &mut Context<'_>) {
        let until = self.handshake.as_ref().map(|(_, until)| *until).filter(|_| self.end == End::NotYet);
        let Some(at) = self.inner.poll_timeout().into_iter().chain(until).min() else { return };
        if at != self.alarm.deadline() {
            self.alarm.set(at);
        }
        if self.alarm.poll_rung(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn count_losses(&mut self) {
        let lost = self.inner.stats().path.lost_packets;
        self.endpoint.stats.quic_packets_lost.add(lost - self.packets_lost);
        self.packets_lost = lost;
    }

    fn end_handshake(&mut self) {
        if self.handshake.take().is_some() {
            self.endpoint.stats.quic_handshakes_failed.add(1);
        }
    }

    // ---- streams -----------------------------------------------------------------------------------------------------

    /// Opens a stream. The peer learns of it by what is written to it. `None` if as many are open as the peer admits;
    /// [`Event::Available`] will say when there may be more.
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        self.inner.streams().open(dir)
    }

    /// The next bytes of a stream, so many at the most. What has come lies in memory shared with other packets, and should not
    /// be kept for long.
    pub fn read(&mut self, id: StreamId, bytes_max: usize) -> Read {
        let is_early = self.is_early();
        let mut stream = self.inner.recv_stream(id);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream) => return Read::Closed,
            Err(ReadableError::IllegalOrderedRead) => unreachable!("streams are read in order only"),
        };
        // Whether windows are to be opened is found out by the flush that follows.
        match chunks.next(bytes_max) {
            Ok(Some(chunk)) => {
                self.had_early_data |= is_early;
                // Asked for nothing, it says whether there is something.
                let behind = match chunks.next(0) {
                    Ok(Some(_)) => Behind::More,
                    Ok(None) => Behind::End,
                    Err(_) => Behind::Pending,
                };
                Read::Chunk(chunk.bytes, behind)
            }
            Ok(None) => Read::End,
            Err(ReadError::Blocked) => Read::Pending,
            Err(ReadError::Reset(code)) => Read::Reset(code.into_inner()),
        }
    }

    /// Writes to a stream as much as it takes, and says how much; zero if nothing, and [`Event::Writable`] will say when.
    ///
    /// Errors: nothing can be written to it any more.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, Unwritable> {
        written(self.inner.send_stream(id).write(data))
    }

    /// As [`write`](Connection::write), without a copy. What was written is taken off the front of the buffers, which are left
    /// empty where all of them was. Memory is held until the peer has acknowledged.
    pub fn write_chunks(&mut self, id: StreamId, data: &mut [Bytes]) -> Result<usize, Unwritable> {
        written(self.inner.send_stream(id).write_chunks(data).map(|written| written.bytes))
    }

    /// As [`write_chunks`](Connection::write_chunks) for the last that is written to a stream, which is finished with it if all of it
    /// was taken.
    pub fn write_last(&mut self, id: StreamId, data: &mut [Bytes]) -> Result<usize, Unwritable> {
        let mut stream = self.inner.send_stream(id);
        let written = written(stream.write_chunks(data).map(|written| written.bytes));
        if written.is_ok() && data.iter().all(Bytes::is_empty) {
            let _ = stream.finish();
        }
        written
    }

    /// Says that nothing more is written to a stream. [`Event::Finished`] tells when the peer has all of it.
    ///
    /// Errors: nothing can be written to it any more.
    pub fn finish(&mut self, id: StreamId) -> Result<(), Unwritable> {
        self.inner.send_stream(id).finish().map_err(|error| match error {
            FinishError::Stopped(code) => Unwritable::Stopped(code.into_inner()),
            FinishError::ClosedStream => Unwritable::Ended,
        })
    }

    /// Gives up writing to a stream; what the peer has not got it does not get. Nothing if that is over already.
    pub fn reset(&mut self, id: StreamId, code: u64) {
        let _ = self.inner.send_stream(id).reset(varint(code));
    }

    /// Asks the peer to write no more to a stream, of which no more is read. Nothing if that is over already.
    pub fn stop(&mut self, id: StreamId, code: u64) {
        let _ = self.inner.recv_stream(id).stop(varint(code));
    }

    /// Says which streams go first: those of a higher number; those of the same take turns. All begin at zero.
    pub fn set_priority(&mut self, id: StreamId, priority: i32) {
        let _ = self.inner.send_stream(id).set_priority(priority);
    }

    // ---- datagrams ---------------------------------------------------------------------------------------------------

    /// Sends a datagram, which may be lost.
    ///
    /// Errors: it does not fit, as many wait as may, or the peer takes none.
    pub fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramRefused> {
        self.inner.datagrams().send(data, false).map_err(|error| match error {
            SendDatagramError::Blocked(data) => DatagramRefused::Full(data),
            SendDatagramError::TooLarge => DatagramRefused::TooLong,
            SendDatagramError::Disabled | SendDatagramError::UnsupportedByPeer => DatagramRefused::Unsupported,
        })
    }

    /// The next datagram that has come.
    pub fn receive_datagram(&mut self) -> Option<Bytes> {
        self.inner.datagrams().recv()
    }

    /// Bytes that a datagram may have at this moment; `None` if one of the sides does without.
    pub fn datagram_bytes_max(&mut self) -> Option<usize> {
        self.inner.datagrams().max_size()
    }

    // ---- the whole of it ---------------------------------------------------------------------------------------------

    /// Ends the connection, and tells the peer this code and reason. What was not acknowledged may not arrive. No event
    /// follows.
    pub fn close(&mut self, code: u64, reason: &'static [u8]) {
        if self.end == End::NotYet {
            self.inner.close(self.shard().now(), varint(code), Bytes::from_static(reason));
            self.end = End::Closed;
            self.end_handshake();
        }
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.end != End::NotYet
    }

    /// Whether what is read may have been sent by anyone who has seen it sent before, and what is written goes to one who has
    /// not shown who it is: the hand-shake is not over (RFC 9001 section 9.2).
    pub fn is_early(&self) -> bool {
        self.inner.is_handshaking() && (self.inner.side().is_server() || self.inner.has_0rtt())
    }

    /// Of a client's connection that was early: whether the server has taken what was sent so. If not, all its streams are
    /// gone, and are to be opened again.
    pub fn was_early_taken(&self) -> bool {
        self.inner.accepted_0rtt()
    }

    /// The peer's address at this moment.
    pub fn peer_address(&self) -> SocketAddr {
        self.inner.remote_address()
    }

    /// The address of this side, as far as the socket knows it.
    pub fn local_address(&self) -> Option<SocketAddr> {
        let socket = self.endpoint.local_address().ok()?;
        Some(self.inner.local_ip().map_or(socket, |ip| SocketAddr::new(ip, socket.port())))
    }

    /// The protocol that was agreed on (ALPN), once it was.
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.secured().protocol().map(<[u8]>::to_vec)
    }

    /// What TLS has agreed on so far. Of a client's, only the protocol and whom the server has shown itself to be.
    pub fn secured(&self) -> Secured {
        let session = self.inner.crypto_session();
        let secured = match session.handshake_data().map(|data| data.downcast::<Secured>()) {
            Some(Ok(secured)) => *secured,
            Some(Err(data)) => {
                let chain = session.peer_identity().and_then(|chain| chain.downcast().ok());
                let protocol = data.downcast::<HandshakeData>().ok().and_then(|data| data.protocol);
                Secured::by_quic(protocol, chain.map(|chain| *chain).unwrap_or_default())
            }
            None => Secured::by_quic(None, Vec::new()),
        };
        secured.early(self.had_early_data || self.is_early())
    }

    /// When something of the peer's last came.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Streams of which not all that was written has been acknowledged, or that are not finished.
    pub fn unacknowledged_streams(&mut self) -> usize {
        self.inner.streams().send_streams()
    }

    /// Changes the keys that packets are sealed by from now on (RFC 9001 section 6). It does so by itself long before they are
    /// worn.
    pub fn update_keys(&mut self) {
        self.inner.force_key_update();
    }

    /// The shard that it belongs to.
    pub fn shard(&self) -> &Shard {
        &self.endpoint.shard
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close(0, b"");
        if self.end == End::Closed {
            if let Some(datagram) = self.endpoint.spare() {
                self.transmit_batch(datagram, 1);
            }
            self.tell_endpoint();
        }
        if self.end != End::Drained {
            self.endpoint.tell(self.handle, EndpointEvent::drained());
        }
        self.count_losses();
    }
}

impl From<ConnectionError> for Closed {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Closed::ByPeer(close.error_code.into_inner(), close.reason),
            ConnectionError::ConnectionClosed(close) => Closed::ByPeerTransport(close.error_code.into(), close.reason),
            ConnectionError::TransportError(error) => Closed::Broken(error.code.into(), error.reason),
            ConnectionError::Reset => Closed::Reset,
            ConnectionError::TimedOut => Closed::TimedOut,
            ConnectionError::VersionMismatch => Closed::Version,
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Closed::Here,
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |reason: &Bytes| String::from_utf8_lossy(reason).escape_debug().to_string();
        match self {
            Closed::ByPeer(code, reason) => {
                write!(f, "the peer has closed the connection ({code:#x}): {}", text(reason))
            }
            Closed::ByPeerTransport(code, reason) => {
                write!(f, "the peer's QUIC or TLS has closed the connection ({code:#x}): {}", text(reason))
            }
            Closed::Broken(code, what) => write!(f, "{what} ({code:#x})"),
            Closed::Reset => f.write_str("the peer does not know of the connection any more"),
            Closed::TimedOut => f.write_str("the peer was silent for too long"),
            Closed::Version => f.write_str("the peer speaks no version of QUIC that is spoken here"),
            Closed::Here => f.write_str("the connection was closed"),
        }
    }
}

fn written(result: Result<usize, WriteError>) -> Result<usize, Unwritable> {
    match result {
        Ok(bytes) => Ok(bytes),
        Err(WriteError::Blocked) => Ok(0),
        Err(WriteError::Stopped(code)) => Err(Unwritable::Stopped(code.into_inner())),
        Err(WriteError::ClosedStream) => Err(Unwritable::Ended),
    }
}

/// A code as it goes over the wire, which has room for less than all numbers.
fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("side", &self.inner.side())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
