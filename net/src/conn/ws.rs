//! The WebSocket connection loop: a future between a stream, the engine and the code that was given the connection.
//!
//! The one idea: the loop and that code take turns within one task. The loop receives as long as somebody has room for
//! messages, writes as long as the peer takes them, and keeps the times; the code sees two queues (`ws/socket.rs`). Its
//! halves may be on other tasks, which then wake the loop.
//!
//! A message that came in one piece is handed on where it lies, if it is not so small that a copy is cheaper; one that came
//! in several is gathered once. A large message is sent from where it lies, behind a head of a few bytes.
//!
//! The close is a hand-shake. What the peer has sent before its close is still given to the code, and may be answered: our
//! close leaves when the code has seen the end, or takes too long. Then what the peer may still be sending is
//! read over for a while, since what is unread would cost it our last words.

mod message;
mod socket;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use platform::{Buf, Chunk};
pub use proto::ws::{Accepted, Agreed, CloseCode, Compression, Limits, Refusal, Upgrade};
use proto::ws::{
    COMPRESSED_FRAME_BYTES_MIN, CONTROL_FRAME_BYTES_MAX, Contexts, Engine, Event, HEAD_BYTES_MAX, Piece, Role, Wait,
};
use shards::{Alarm, ScopeHandle, Shard};

pub use message::{Message, Text};
pub use socket::{Close, Closed, Error, Receiver, Sender, WebSocket};
use socket::{Inside, Shared};

use super::Exhausted;
use super::outbox::{Outbox, Supplies};
use crate::limits::{
    COPY_BODY_BYTES_MAX, GATHER_BYTES_MAX, LINGER_TIME_MAX, WEB_SOCKET_CLOSE_TIME_MAX, WEB_SOCKET_COMPRESS_BYTES_MIN,
    WEB_SOCKET_COMPRESSED_CHUNK_BYTES, WEB_SOCKET_INFLATED_BYTES_MAX, WEB_SOCKET_PING_PAUSE, WEB_SOCKET_PONG_TIME_MAX,
    WRITE_STALL_MAX,
};
use crate::{Transport, Upgraded};

/// What one connection may cost and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the peer may send.
    pub limits: Limits,
    /// After so long without a byte from the peer it is sent a ping.
    pub ping_pause: Duration,
    /// So long it may then stay silent before the connection is given up.
    pub pong_time_max: Duration,
    /// How long each half of the closing hand-shake may take: the code, to ask for what came before the peer's close; the
    /// peer, to answer ours.
    pub close_time_max: Duration,
    /// How long the peer may take nothing of what is sent to it.
    pub write_stall_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            limits: Limits::default(),
            ping_pause: WEB_SOCKET_PING_PAUSE,
            pong_time_max: WEB_SOCKET_PONG_TIME_MAX,
            close_time_max: WEB_SOCKET_CLOSE_TIME_MAX,
            write_stall_max: WRITE_STALL_MAX,
        }
    }
}

/// Speaks WebSocket over a connection whose hand-shake has ended, until it ends and `work` has. If `work` ends first, the
/// connection is closed with the code that it gives. When the drain begins, the peer is told so (1001).
pub async fn serve<F>(upgraded: Upgraded, agreed: Option<Agreed>, config: Config, work: F)
where
    F: AsyncFnOnce(WebSocket) -> CloseCode,
{
    let mut link = Link::new(upgraded, agreed, config);
    let mut work = pin!(work(WebSocket::new(&link.shared)));
    let mut is_at_work = true;
    poll_fn(|cx| {
        let shared = Rc::clone(&link.shared);
        let _polled = Polled::new(&shared);
        loop {
            shared.is_stirred.set(false);
            let polled = link.poll(cx);
            if is_at_work && let Poll::Ready(code) = work.as_mut().poll(cx) {
                is_at_work = false;
                let inside = &mut *shared.inside.borrow_mut();
                inside.give_up_reading();
                inside.close(code, "");
                continue;
            }
            if polled.is_ready() && !is_at_work {
                return Poll::Ready(());
            }
            if !shared.is_stirred.get() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// The loop's end of a connection.
struct Link {
    /// `None` once the connection has ended.
    stream: Option<Transport>,
    shard: Shard,
    common: Rc<Common>,
    config: Config,
    shared: Rc<Shared>,
    engine: Engine,
    /// What was received and not consumed; whether the engine has something to say without more.
    input: Option<Chunk>,
    has_more: bool,
    /// What has arrived of a message that comes in pieces.
    held: Vec<u8>,
    outbox: Outbox,
    /// So much of the message that is compressed at present is done with.
    compressed: usize,
    /// Whether messages may be compressed; whether that has taken so long that others want a turn.
    is_compressed: bool,
    gives_way: bool,
    /// Bytes that were inflated in this poll.
    inflated: usize,
    phase: Phase,
    /// Nothing is received, since nobody asks for what was.
    is_paused: bool,
    wants_ping: bool,
    alarm: Alarm,
    /// When the peer was last heard, when it was asked for a sign of life, when it last took something of a send.
    heard: Instant,
    asked: Option<Instant>,
    taken: Instant,
    /// When the peer closed, and when we did.
    peer_closed: Option<Instant>,
    closed: Option<Instant>,
    /// Where the code works.
    scope: Option<ScopeHandle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The engine speaks, and hears.
    Open,
    /// It hears no more, since the peer did something wrong, which it is told.
    Refused,
    /// All is said; so many bytes have been read over since.
    Linger(usize),
    Over,
}

/// What all connections of a shard share.
struct Common {
    supplies: Supplies,
    contexts: RefCell<Contexts>,
}

impl Link {
    fn new(upgraded: Upgraded, agreed: Option<Agreed>, config: Config) -> Self {
        let Upgraded { stream, received, scope, .. } = upgraded;
        let shard = stream.shard().clone();
        let common = shard.local(|| Common {
            supplies: Supplies::new(shard.pool().clone()),
            contexts: RefCell::new(Contexts::new()),
        });
        let now = shard.now();
        Link {
            stream: Some(stream),
            common,
            config,
            shared: Rc::default(),
            engine: Engine::new(Role::Server, agreed),
            has_more: received.is_some(),
            input: received,
            held: Vec::new(),
            outbox: Outbox::default(),
            compressed: 0,
            is_compressed: agreed.is_some(),
            gives_way: false,
            inflated: 0,
            phase: Phase::Open,
            is_paused: false,
            wants_ping: false,
            scope,
            alarm: shard.alarm(now),
            heard: now,
            asked: None,
            taken: now,
            peer_closed: None,
            closed: None,
            shard,
        }
    }

    /// Gets on as far as it can. Ready when the connection has ended.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.phase == Phase::Over {
            return Poll::Ready(());
        }
        (self.gives_way, self.inflated) = (false, 0);
        self.inside(|inside| match &mut inside.drives {
            Some(drives) => drives.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        });
        if self.shard.is_draining() {
            self.inside(|inside| inside.close(CloseCode::GOING_AWAY, ""));
        }
        match self.poll_phases(cx) {
            Ok(polled) => polled,
            Err(error) => {
                if let Some(scope) = &self.scope {
                    scope.cancel("client disconnected");
                }
                self.inside(|inside| inside.end(Some(error), cx.waker()));
                self.over(cx.waker());
                Poll::Ready(())
            }
        }
    }

    fn poll_phases(&mut self, cx: &mut TaskContext<'_>) -> Result<Poll<()>, Error> {
        // Each round but the last ends a wait, of which there are a few.
        loop {
            match self.phase {
                Phase::Open | Phase::Refused => {}
                Phase::Linger(bytes) => return Ok(self.poll_linger(cx, bytes)),
                Phase::Over => return Ok(Poll::Ready(())),
            }
            self.receive(cx)?;
            if self.phase == Phase::Over {
                return Ok(Poll::Ready(()));
            }
            if self.write(cx)? && self.engine.wait() == Wait::HangUp {
                self.linger(cx.waker());
            } else if self.poll_alarm(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
        }
    }

    fn inside<R>(&self, look: impl FnOnce(&mut Inside) -> R) -> R {
        look(&mut self.shared.inside.borrow_mut())
    }

    // ---- receiving ---------------------------------------------------------------------------------------------------

    /// Takes in what has come, while there is room for messages.
    fn receive(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Error> {
        while self.phase == Phase::Open && self.peer_closed.is_none() {
            if !self.inside(|inside| inside.drops_messages()) && self.inside(|inside| inside.is_inbox_full()) {
                // What is not read is the code's to answer for, not the peer's.
                self.is_paused = true;
                self.settle();
                return Ok(());
            }
            if std::mem::take(&mut self.is_paused) {
                (self.heard, self.asked) = (self.shard.now(), None);
            }
            if self.inflated >= WEB_SOCKET_INFLATED_BYTES_MAX {
                // A few bytes may stand for a great many, and others want a turn.
                cx.waker().wake_by_ref();
                return Ok(());
            }
            if self.has_more {
                self.step(cx.waker())?;
                continue;
            }
            let Some(stream) = &mut self.stream else { return Ok(()) };
            match stream.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    (self.heard, self.asked) = (self.shard.now(), None);
                    (self.input, self.has_more) = (Some(chunk), true);
                }
                // It was told that nothing more is wanted.
                Poll::Ready(_) if self.closed.is_some() => self.over(cx.waker()),
                Poll::Ready(_) => return Err(Error::Lost),
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }

    /// Lets the engine say what comes next in the input.
    fn step(&mut self, by: &Waker) -> Result<(), Error> {
        let input = match &mut self.input {
            Some(chunk) => chunk.make_mut().ok_or(Error::Exhausted)?,
            None => &mut [],
        };
        let received = self.engine.receive(input, &mut self.common.contexts.borrow_mut(), &self.config.limits);
        let step = match received {
            Ok(step) => step,
            Err(error) => {
                tracing::debug!("a WebSocket is closed: {error}");
                (self.phase, self.closed) = (Phase::Refused, Some(self.shard.now()));
                (self.input, self.has_more, self.held) = (None, false, Vec::new());
                self.inside(|inside| {
                    inside.end(Some(Error::Peer(error)), by);
                    inside.shut(by);
                });
                return Ok(());
            }
        };
        match step.event {
            Event::NeedMore | Event::Closed => self.has_more = false,
            Event::Data(piece) => self.piece(&piece, by),
            // Each is answered, as long as the peer takes the answers; then the latest.
            Event::Ping if !self.outbox.is_full(GATHER_BYTES_MAX) => self.transmit()?,
            Event::Ping | Event::Pong => {}
            Event::Close(code) => {
                self.peer_closed = Some(self.shard.now());
                (self.has_more, self.held) = (false, Vec::new());
                let close = Close { code, reason: self.engine.reason().to_owned() };
                self.inside(|inside| {
                    inside.peer_close = Some(close);
                    inside.end(None, by);
                });
            }
        }
        if let Some(chunk) = &mut self.input {
            chunk.advance(step.consumed);
            if chunk.is_empty() {
                self.input = None;
            }
        }
        Ok(())
    }

    /// Adds a piece to its message, and delivers that if it is complete.
    fn piece(&mut self, piece: &Piece, by: &Waker) {
        let input = self.input.as_deref().unwrap_or_default();
        let bytes = match &self.input {
            // Where it lies, or a copy if that is cheaper.
            Some(chunk) if piece.is_first && piece.is_final && !piece.is_inflated => {
                chunk.slice(piece.range.clone()).share()
            }
            _ => {
                let bytes = self.engine.bytes(piece, input);
                self.inflated += if piece.is_inflated { bytes.len() } else { 0 };
                self.held.extend_from_slice(bytes);
                if !piece.is_final {
                    return;
                }
                Bytes::from(std::mem::take(&mut self.held))
            }
        };
        self.inside(|inside| inside.deliver(Message::new(piece.kind, bytes), by));
    }

    /// Whatever stays over the turn must not pin one of the kernel's buffers.
    fn settle(&mut self) {
        if let Some(chunk) = &mut self.input {
            chunk.compact();
        }
    }

    // ---- writing -----------------------------------------------------------------------------------------------------

    /// Writes what there is to be said, and sends it. True if all of it has left.
    fn write(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, Error> {
        loop {
            while !self.outbox.is_full(GATHER_BYTES_MAX) && !self.gives_way && self.write_next(cx)? {}
            let is_full = self.outbox.is_full(GATHER_BYTES_MAX);
            self.inside(|inside| inside.set_full(is_full, cx.waker()));
            let has_left = self.poll_send(cx)?;
            if !has_left || self.outbox.is_empty() {
                return Ok(has_left);
            }
            self.send_gathered()?;
        }
    }

    /// Writes one frame, or some of a message that is compressed. False if there is nothing to write.
    fn write_next(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, Error> {
        let supplies = &self.common.supplies;
        let has_closed = self.peer_closed.is_some() || self.phase == Phase::Refused;
        if self.engine.wants_transmit() && !has_closed {
            self.transmit()?;
            return Ok(true);
        }
        if std::mem::take(&mut self.wants_ping) {
            let count = self.engine.ping(b"", self.outbox.room(CONTROL_FRAME_BYTES_MAX, supplies)?);
            self.outbox.commit(count.unwrap_or_default());
            return Ok(true);
        }
        if let Some(message) = self.inside(|inside| inside.outgoing.take()) {
            self.write_message(message, cx)?;
            return Ok(true);
        }
        if self.engine.wants_transmit() && !self.holds_close() {
            self.transmit()?;
            self.has_closed(cx.waker());
            return Ok(true);
        }
        if !has_closed
            && self.closed.is_none()
            && let Some((code, reason)) = self.inside(|inside| inside.closing.clone())
        {
            let count = self.engine.close(code, &reason, self.outbox.room(CONTROL_FRAME_BYTES_MAX, supplies)?);
            self.outbox.commit(count.unwrap_or_default());
            self.has_closed(cx.waker());
            return Ok(true);
        }
        Ok(false)
    }

    /// Writes what the engine itself has to say.
    fn transmit(&mut self) -> Result<(), Error> {
        let count = self.engine.transmit(self.outbox.room(CONTROL_FRAME_BYTES_MAX, &self.common.supplies)?);
        self.outbox.commit(count.unwrap_or_default());
        Ok(())
    }

    /// Whether the answer to the peer's close waits for the code.
    fn holds_close(&self) -> bool {
        self.phase == Phase::Open
            && !self.inside(|inside| inside.is_end_seen)
            && self.peer_closed.is_some_and(|at| self.shard.now() < at + self.config.close_time_max)
    }

    fn has_closed(&mut self, by: &Waker) {
        self.closed = Some(self.closed.unwrap_or(self.shard.now()));
        self.inside(|inside| inside.shut(by));
    }

    fn write_message(&mut self, message: Message, cx: &mut TaskContext<'_>) -> Result<(), Error> {
        let supplies = &self.common.supplies;
        let (kind, bytes) = message.into_parts();
        if self.compressed > 0 || self.compresses(&bytes) {
            let room_bytes = (bytes.len() + COMPRESSED_FRAME_BYTES_MIN).min(WEB_SOCKET_COMPRESSED_CHUNK_BYTES);
            let room = self.outbox.room(room_bytes, supplies)?;
            let contexts = &mut *self.common.contexts.borrow_mut();
            let done = self.engine.compress(kind, &bytes[self.compressed..], true, contexts, room);
            let Ok(done) = done else {
                self.compressed = 0;
                return Ok(());
            };
            self.outbox.commit(done.written);
            self.compressed += done.taken;
            if done.is_end {
                self.compressed = 0;
            } else {
                // Others want a turn.
                self.inside(|inside| inside.outgoing = Some(Message::new(kind, bytes)));
                self.gives_way = true;
                cx.waker().wake_by_ref();
            }
            return Ok(());
        }
        if bytes.len() <= COPY_BODY_BYTES_MAX {
            let room = self.outbox.room(HEAD_BYTES_MAX + bytes.len(), supplies)?;
            let count = self.engine.message(kind, &bytes, room);
            self.outbox.commit(count.unwrap_or_default());
            return Ok(());
        }
        let frame = self.engine.fragment(kind, bytes.len(), true, self.outbox.room(HEAD_BYTES_MAX, supplies)?);
        if let Ok(frame) = frame {
            self.outbox.commit(frame.head);
            self.outbox.push(Buf::from(bytes), supplies);
        }
        Ok(())
    }

    fn compresses(&self, bytes: &Bytes) -> bool {
        self.is_compressed && bytes.len() >= WEB_SOCKET_COMPRESS_BYTES_MIN
    }

    fn send_gathered(&mut self) -> Result<(), Error> {
        let outgoing = self.outbox.take(&self.common.supplies);
        self.taken = self.shard.now();
        self.stream.as_mut().ok_or(Error::Lost)?.start_send(outgoing).map_err(|_| Error::Lost)
    }

    /// Waits for the send that is on its way, or, if nothing is to follow it, lets it end without a word. True if nothing is
    /// on its way any more.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Result<bool, Error> {
        let Some(stream) = &mut self.stream else { return Ok(true) };
        while stream.is_sending() {
            if self.outbox.is_empty() && self.closed.is_none() && !stream.hush(cx.waker()) {
                return Ok(!stream.is_sending());
            }
            let Poll::Ready(sent) = stream.poll_sent(cx) else { return Ok(false) };
            if let Some(sent) = sent.map_err(|_| Error::Lost)? {
                self.taken = self.shard.now();
                self.common.supplies.reclaim(sent.spare);
            }
        }
        Ok(true)
    }

    // ---- times -------------------------------------------------------------------------------------------------------

    /// Ready if a time has come that gives the loop something to do.
    fn poll_alarm(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        let Some((deadline, waits)) = self.deadline() else { return Poll::Pending };
        self.alarm.set(deadline);
        ready!(self.alarm.poll_rung(cx));
        match waits {
            Waits::Write | Waits::Pong => return Poll::Ready(Err(Error::TimedOut)),
            Waits::Silence => (self.wants_ping, self.asked) = (true, Some(self.shard.now())),
            Waits::Code => {}
            Waits::Close => self.linger(cx.waker()),
        }
        Poll::Ready(Ok(()))
    }

    /// What comes next if nothing else happens.
    fn deadline(&self) -> Option<(Instant, Waits)> {
        let config = &self.config;
        let is_sending = self.stream.as_ref().is_some_and(Transport::is_sending);
        let write = is_sending.then(|| (self.taken + config.write_stall_max, Waits::Write));
        let other = match (self.peer_closed, self.closed) {
            (Some(at), _) => self.holds_close().then(|| (at + config.close_time_max, Waits::Code)),
            (None, Some(at)) => Some((at + config.close_time_max, Waits::Close)),
            (None, None) if self.is_paused => None,
            (None, None) => Some(match self.asked {
                Some(at) => (at + config.pong_time_max, Waits::Pong),
                None => (self.heard + config.ping_pause, Waits::Silence),
            }),
        };
        write.into_iter().chain(other).min_by_key(|(deadline, _)| *deadline)
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    /// All is said. The peer is left some time to hear it.
    fn linger(&mut self, by: &Waker) {
        let is_shut = self.stream.as_mut().is_some_and(|stream| stream.shutdown(Shutdown::Write).is_ok());
        if !is_shut {
            return self.over(by);
        }
        (self.input, self.has_more) = (None, false);
        self.phase = Phase::Linger(0);
        self.alarm.set(self.shard.now() + LINGER_TIME_MAX);
        self.inside(|inside| inside.over(by));
    }

    /// Reads over what the peer still sends.
    fn poll_linger(&mut self, cx: &mut TaskContext<'_>, mut bytes: usize) -> Poll<()> {
        if let Some(stream) = &mut self.stream
            && stream.poll_read_over(cx, &mut bytes).is_pending()
        {
            self.phase = Phase::Linger(bytes);
            ready!(self.alarm.poll_rung(cx));
        }
        self.over(cx.waker());
        Poll::Ready(())
    }

    fn over(&mut self, by: &Waker) {
        self.phase = Phase::Over;
        (self.input, self.has_more, self.held) = (None, false, Vec::new());
        self.stream = None;
        self.inside(|inside| inside.over(by));
    }
}

/// What the alarm is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The peer to take what is sent.
    Write,
    /// The peer to have been silent for so long that it is asked for a sign of life.
    Silence,
    /// That sign.
    Pong,
    /// The code to have seen what came before the peer's close.
    Code,
    /// The peer's answer to our close.
    Close,
}

/// The loop is being polled while this lives.
struct Polled<'s>(&'s Shared);

impl<'s> Polled<'s> {
    fn new(shared: &'s Shared) -> Self {
        shared.is_polled.set(true);
        Polled(shared)
    }
}

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.0.is_polled.set(false);
    }
}

impl From<Exhausted> for Error {
    fn from(_: Exhausted) -> Self {
        Error::Exhausted
    }
}
