//! TCP as a program sees it: listening sockets with accept queues, and connections of two ends with bounded buffers.
//!
//! An end takes bytes from its senders into `outgoing`, and moves them off in segments as far as the other end has room.
//! Everything from one end to the other (bytes, end, reset, and the answer to a connection attempt) travels as a
//! [`Segment`], in order; what the other end reads, and so its room, is known at once, as if acknowledgements took no time.
//!
//! Where chance breaks a connection, both ends are reset, or the line goes dead: then what is sent stays unacknowledged,
//! fills the sender's buffer, and an end that has something to send or that probes gives up after as long as Linux would.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;

use super::limits::{
    CONNECT_RETRY, CONNECT_TRIES_MAX, KEEP_ALIVE_PROBE_TIME, ORPHAN_TIME, RECEIVE_BUFFER_BYTES, RETRANSMIT_TIME,
    SEGMENT_BYTES_MAX, SEND_BUFFER_BYTES,
};
use super::machine::{Event, SimDescriptor, World};
use super::network::{Kind, Protocol, bound_for, destination, seen_from};
use super::plan::Passage;
use crate::arena::Key;
use crate::os::{code, error_of};
use crate::socket::ListenOptions;
use crate::{Error, Result};

/// A listening socket.
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    /// Connections that nobody has accepted yet.
    queue: VecDeque<Key>,
    backlog: usize,
}

/// One end of a connection, or a socket that may become one.
pub(super) struct Stream {
    pub(super) local: SocketAddr,
    peer: Option<SocketAddr>,
    stage: Stage,
    /// The end at the other side; its key is stale when that end is gone.
    other: Option<Key>,
    /// Bytes taken from senders and not yet on their way.
    outgoing: VecDeque<u8>,
    /// Bytes on their way.
    travelling: usize,
    /// When the last segment arrives: none may arrive before it.
    last_arrival: Duration,
    ending: Ending,
    /// Bytes that have arrived and nobody has read.
    incoming: VecDeque<u8>,
    /// The peer's end has arrived.
    ended: bool,
    /// Receiving has been shut down from this side.
    deaf: bool,
    /// What has gone wrong, until somebody is told.
    error: Option<Error>,
    /// Nothing arrives here any more, and nothing that is sent arrives there.
    is_dead: bool,
    /// Nothing more is taken in before; [`Duration::MAX`] is for good.
    shut_until: Duration,
    /// How long it is silent before it probes the other end.
    pub(super) keep_alive: Option<Duration>,
    /// When it gives up, if that is foreseen.
    gives_up: Duration,
    pub(super) send_max: usize,
    pub(super) receive_max: usize,
    pub(super) reset_on_close: bool,
    /// The descriptor is gone; the rest leaves on its own.
    pub(super) closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Neither connected nor connecting.
    Fresh,
    Connecting,
    Connected,
    /// Reset, from one side or the other.
    Over,
}

/// How far this side is with ending its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Open,
    /// After the last byte in `outgoing`.
    Asked,
    /// On its way.
    Sent,
    Arrived,
}

/// What travels between two ends.
pub(super) enum Segment {
    /// The answer to a connection attempt.
    Answer(Result<()>),
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// What somebody who wants to receive finds.
pub(super) enum Found {
    Nothing,
    Bytes,
    End,
    Failure(Error),
}

impl Stream {
    pub(super) fn new() -> Box<Self> {
        Box::new(Stream {
            local: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            peer: None,
            stage: Stage::Fresh,
            other: None,
            outgoing: VecDeque::new(),
            travelling: 0,
            last_arrival: Duration::ZERO,
            ending: Ending::Open,
            incoming: VecDeque::new(),
            ended: false,
            deaf: false,
            error: None,
            is_dead: false,
            shut_until: Duration::ZERO,
            keep_alive: None,
            gives_up: Duration::MAX,
            send_max: SEND_BUFFER_BYTES,
            receive_max: RECEIVE_BUFFER_BYTES,
            reset_on_close: false,
            closed: false,
        })
    }

    pub(super) fn connected_peer(&self) -> Option<SocketAddr> {
        self.peer.filter(|_| self.stage == Stage::Connected)
    }

    /// Why nothing can be sent.
    fn send_failure(&self) -> Option<Error> {
        match self.stage {
            _ if self.error.is_some() => self.error,
            Stage::Fresh | Stage::Over => Some(Error::BrokenPipe),
            Stage::Connecting | Stage::Connected => (self.ending != Ending::Open).then_some(Error::BrokenPipe),
        }
    }

    /// Whether something that it has sent, or shall send, has not arrived.
    fn is_owing(&self) -> bool {
        let ends = matches!(self.ending, Ending::Asked | Ending::Sent);
        !self.outgoing.is_empty() || self.travelling > 0 || ends
    }

    fn fail(&mut self, error: Error) {
        self.stage = Stage::Over;
        self.error = Some(error);
        self.outgoing.clear();
        self.travelling = 0;
    }
}

// ---- what programs ask for -------------------------------------------------------------------------------------------

impl World {
    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> Result<Vec<SimDescriptor>> {
        let local = self.bindable(Protocol::Stream, address)?;
        let backlog = usize::try_from(options.backlog).unwrap_or(0).max(1);
        let open = |_| {
            let descriptor = self.open(Kind::Listener(Listener { local, queue: VecDeque::new(), backlog }))?;
            self.trace.record(self.now, "listen", descriptor.node, local.port().into());
            self.ports.listeners.entry(local).or_default().push(descriptor.node);
            Ok(descriptor)
        };
        (0..count).map(open).collect()
    }

    /// Whether a connection waits in a queue.
    pub(super) fn has_connection(&mut self, node: Key) -> bool {
        self.listener_mut(node).is_some_and(|listener| !listener.queue.is_empty())
    }

    /// The next connection in a queue.
    pub(super) fn accept(&mut self, node: Key) -> Result<Option<SimDescriptor>> {
        let Some(listener) = self.listener_mut(node) else { return Err(self.unfit(node, Error::Invalid)) };
        let Some(stream) = listener.queue.pop_front() else { return Ok(None) };
        self.trace.record(self.now, "accept", stream, 0);
        Ok(Some(self.descriptor(stream)))
    }

    /// Begins to connect; `connected` tells what came of it.
    pub(super) fn connect(&mut self, node: Key, peer: SocketAddr) -> Result<()> {
        match self.stream(node).ok_or(Error::Closed)?.stage {
            Stage::Fresh => {}
            Stage::Connecting => return Err(error_of(code::EALREADY)),
            Stage::Connected | Stage::Over => return Err(error_of(code::EISCONN)),
        }
        let to = destination(peer);
        let local = self.bindable(Protocol::Stream, SocketAddr::new(to.ip(), 0))?;
        let arrival = self.now + self.chance.travel();
        self.trace.record(self.now, "connect", node, peer.port().into());
        let stream = self.stream_mut(node).ok_or(Error::Closed)?;
        (stream.local, stream.peer) = (seen_from(peer, local), Some(peer));
        (stream.stage, stream.error) = (Stage::Connecting, None);
        self.schedule(arrival, Event::Knock { from: node, to, tries: 1 });
        Ok(())
    }

    /// How an attempt to connect has ended, if it has.
    pub(super) fn connected(&mut self, node: Key) -> Option<Result<()>> {
        let Some(stream) = self.stream_mut(node) else { return Some(Err(Error::Closed)) };
        match stream.stage {
            Stage::Connecting => None,
            Stage::Connected => Some(Ok(())),
            Stage::Fresh | Stage::Over => Some(Err(stream.error.take().unwrap_or(Error::NotConnected))),
        }
    }

    /// Takes as many bytes as there is room for. `begun` says that others of the same operation have been taken before:
    /// an error then waits for the next.
    pub(super) fn send(&mut self, node: Key, bytes: &[u8], begun: bool) -> Result<usize> {
        let Some(stream) = self.stream_mut(node) else { return Err(self.unfit(node, Error::BrokenPipe)) };
        if let Some(failure) = stream.send_failure() {
            if !begun {
                stream.error = None;
            }
            return Err(failure);
        }
        let room = stream.send_max.saturating_sub(stream.outgoing.len() + stream.travelling);
        let fitting = bytes.len().min(room);
        if stream.stage == Stage::Connecting || fitting == 0 {
            return Ok(0);
        }
        let count = self.chance.send(fitting);
        if let Some(stream) = self.stream_mut(node) {
            stream.outgoing.extend(&bytes[..count]);
        }
        self.trace.record(self.now, "send", node, count as u64);
        if count < fitting {
            // There is room for the rest: it follows after a moment.
            let at = self.now + self.chance.travel();
            self.schedule(at, Event::Resume { node });
        }
        self.pump(node);
        Ok(count)
    }

    /// What somebody who wants to receive finds. A failure is told once.
    pub(super) fn find(&mut self, node: Key) -> Found {
        let Some(stream) = self.stream_mut(node) else {
            return Found::Failure(self.unfit(node, Error::NotConnected));
        };
        match stream.stage {
            _ if !stream.incoming.is_empty() => Found::Bytes,
            _ if stream.error.is_some() => Found::Failure(stream.error.take().unwrap_or(Error::Reset)),
            Stage::Fresh => Found::Failure(Error::NotConnected),
            Stage::Connecting => Found::Nothing,
            Stage::Connected if !stream.ended && !stream.deaf => Found::Nothing,
            Stage::Connected | Stage::Over => Found::End,
        }
    }

    /// Moves what has arrived, as far as it fits.
    pub(super) fn receive(&mut self, node: Key, into: &mut [u8]) -> usize {
        let Some(Kind::Stream(stream)) = self.nodes.get_mut(node).map(|node| &mut node.kind) else { return 0 };
        let count = self.chance.receive(stream.incoming.len().min(into.len()));
        take_front(&mut stream.incoming, &mut into[..count]);
        let other = stream.other;
        self.trace.record(self.now, "receive", node, count as u64);
        if let Some(other) = other {
            self.pump(other);
        }
        count
    }

    pub(super) fn shutdown_stream(&mut self, node: Key, how: Shutdown) -> Result<()> {
        let stream = self.stream_mut(node).filter(|stream| stream.stage == Stage::Connected);
        let stream = stream.ok_or(Error::NotConnected)?;
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            stream.deaf = true;
        }
        if matches!(how, Shutdown::Write | Shutdown::Both) && stream.ending == Ending::Open {
            stream.ending = Ending::Asked;
        }
        self.trace.record(self.now, "shutdown", node, 0);
        self.pump(node);
        self.mark(node);
        Ok(())
    }

    /// The descriptor is gone. What has been sent still goes out, unless bytes that nobody read, or the option, make it a
    /// reset.
    pub(super) fn close_stream(&mut self, node: Key) {
        let Some(stream) = self.stream_mut(node) else { return };
        match stream.stage {
            Stage::Connected if stream.reset_on_close || !stream.incoming.is_empty() => self.reset(node),
            Stage::Connected if stream.ending == Ending::Arrived => drop(self.nodes.remove(node)),
            Stage::Connected => {
                stream.closed = true;
                if stream.ending == Ending::Open {
                    stream.ending = Ending::Asked;
                }
                self.pump(node);
                self.foresee_end(node);
            }
            Stage::Fresh | Stage::Connecting | Stage::Over => drop(self.nodes.remove(node)),
        }
    }

    /// Nobody will accept what waits: it is reset.
    pub(super) fn close_listener(&mut self, node: Key) {
        let Some(Kind::Listener(listener)) = self.nodes.remove(node).map(|node| node.kind) else { return };
        if let Some(listeners) = self.ports.listeners.get_mut(&listener.local) {
            listeners.retain(|&other| other != node);
            if listeners.is_empty() {
                self.ports.listeners.remove(&listener.local);
            }
        }
        for waiting in listener.queue {
            self.reset(waiting);
        }
    }
}

// ---- what the network does -------------------------------------------------------------------------------------------

impl World {
    /// A connection attempt has arrived. With a full accept queue it is as if it were lost, and the client tries again.
    pub(super) fn knock(&mut self, from: Key, to: SocketAddr, tries: u32) {
        let Some(client) = self.stream(from).filter(|client| client.stage == Stage::Connecting) else { return };
        let client_address = client.local;
        if self.chance.refuses_connect() {
            self.trace.record(self.now, "refuse-by-chance", from, to.port().into());
            return self.dispatch(from, from, Segment::Answer(Err(Error::Refused)));
        }
        if self.chance.loses_connect() {
            self.trace.record(self.now, "lost-connect", from, tries.into());
            return self.knock_again(from, to, tries);
        }
        let Some(listener) = self.choose_listener(to) else {
            self.trace.record(self.now, "refuse", from, to.port().into());
            return self.dispatch(from, from, Segment::Answer(Err(Error::Refused)));
        };
        let local = match self.listener_mut(listener) {
            Some(listener) if listener.queue.len() < listener.backlog => listener.local,
            _ => {
                self.trace.record(self.now, "no-room", listener, tries.into());
                return self.knock_again(from, to, tries);
            }
        };
        let mut server = Stream::new();
        (server.local, server.peer) = (seen_from(local, to), Some(seen_from(local, destination(client_address))));
        (server.stage, server.other) = (Stage::Connected, Some(from));
        let Ok(server) = self.insert(Kind::Stream(server)) else { return };
        self.trace.record(self.now, "connection", server, from.to_bits());
        if let Some(listener) = self.listener_mut(listener) {
            listener.queue.push_back(server);
        }
        self.mark(listener);
        self.dispatch(server, from, Segment::Answer(Ok(())));
    }

    /// The client hears nothing, and tries again after a pause, or gives up.
    fn knock_again(&mut self, from: Key, to: SocketAddr, tries: u32) {
        if tries >= CONNECT_TRIES_MAX {
            self.trace.record(self.now, "give-up", from, tries.into());
            return self.dispatch(from, from, Segment::Answer(Err(Error::TimedOut)));
        }
        let again = self.now + CONNECT_RETRY * 2u32.pow(tries - 1);
        self.schedule(again, Event::Knock { from, to, tries: tries + 1 });
    }

    /// One of those who listen where this address leads: those bound most precisely, and among them by chance.
    fn choose_listener(&mut self, to: SocketAddr) -> Option<Key> {
        let listeners = bound_for(to).into_iter().find_map(|bound| self.ports.listeners.get(&bound))?;
        Some(listeners[self.chance.pick(listeners.len())])
    }

    /// Sends a segment on its way, behind all that went before it.
    fn dispatch(&mut self, from: Key, to: Key, segment: Segment) {
        if self.is_dead(from) || self.is_dead(to) {
            return self.foresee_end(from);
        }
        let mut arrival = self.now + self.chance.travel();
        if let Some(stream) = self.stream_mut(from) {
            arrival = arrival.max(stream.last_arrival);
            stream.last_arrival = arrival;
        }
        self.schedule(arrival, Event::Segment { from, to, segment });
    }

    /// Sends off what the other end has room for, and after the last byte the end if it was asked for.
    fn pump(&mut self, node: Key) {
        while let Some(stream) = self.stream(node)
            && let (Stage::Connected, Some(to)) = (stream.stage, stream.other)
        {
            // An end that is gone takes everything, and answers with a reset.
            let window = self.stream(to).map_or(SEGMENT_BYTES_MAX, |other| match other.shut_until > self.now {
                true => 0,
                false => other.receive_max.saturating_sub(other.incoming.len() + stream.travelling),
            });
            let most = stream.outgoing.len().min(window).min(SEGMENT_BYTES_MAX);
            let (drained, asked) = (stream.outgoing.is_empty(), stream.ending == Ending::Asked);
            if most == 0 {
                if drained && asked {
                    self.dispatch(node, to, Segment::End);
                    self.stream_mut(node).expect("just seen").ending = Ending::Sent;
                }
                return;
            }
            match self.chance.passage() {
                Passage::Arrives => {}
                Passage::Resets => return self.sever(node, to),
                Passage::Dies => self.die(node, to),
            }
            let count = self.chance.segment(most);
            let stream = self.stream_mut(node).expect("just seen");
            let bytes = split_front(&mut stream.outgoing, count);
            stream.travelling += count;
            self.dispatch(node, to, Segment::Bytes(bytes));
        }
    }

    /// A reset is on its way to both ends.
    fn sever(&mut self, node: Key, to: Key) {
        self.trace.record(self.now, "sever", node, to.to_bits());
        self.dispatch(node, to, Segment::Reset);
        self.dispatch(to, node, Segment::Reset);
    }

    /// The line goes dead: what is on its way is lost as well.
    fn die(&mut self, node: Key, to: Key) {
        self.trace.record(self.now, "dead-line", node, to.to_bits());
        for end in [node, to] {
            if let Some(stream) = self.stream_mut(end) {
                stream.is_dead = true;
            }
            self.foresee_end(end);
        }
    }

    fn is_dead(&self, node: Key) -> bool {
        self.stream(node).is_some_and(|stream| stream.is_dead)
    }

    /// Whether what this end sends will never be taken in, though the line is good.
    fn is_shut_out(&self, node: Key) -> bool {
        let other = self.stream(node).and_then(|stream| stream.other).and_then(|other| self.stream(other));
        other.is_some_and(|other| other.shut_until == Duration::MAX)
    }

    /// Sees to it that an end whose peer will not answer gives up some time: at once would be too early, never is what a
    /// silent reader without keep-alive does.
    pub(super) fn foresee_end(&mut self, node: Key) {
        let is_shut_out = self.is_shut_out(node);
        let Some(stream) = self.stream(node).filter(|stream| stream.stage == Stage::Connected) else { return };
        let wait = match stream.is_dead {
            _ if stream.closed && (stream.is_dead || is_shut_out) => Some(ORPHAN_TIME),
            true if stream.is_owing() => Some(RETRANSMIT_TIME),
            true => stream.keep_alive.map(|idle| idle.saturating_add(KEEP_ALIVE_PROBE_TIME)),
            false => None,
        };
        let Some(at) = wait.map(|wait| self.now.saturating_add(wait)).filter(|at| *at < stream.gives_up) else {
            return;
        };
        self.stream_mut(node).expect("just seen").gives_up = at;
        self.schedule(at, Event::GiveUp { node });
    }

    /// An end that has waited in vain gives up. The other end learns of it if the line is good.
    pub(super) fn give_up(&mut self, node: Key) {
        let Some(stream) = self.stream_mut(node).filter(|stream| stream.stage == Stage::Connected) else { return };
        if stream.closed {
            self.trace.record(self.now, "forget", node, 0);
            return self.reset(node);
        }
        stream.fail(Error::TimedOut);
        self.trace.record(self.now, "time-out", node, 0);
        self.mark(node);
    }

    /// A window has opened again.
    pub(super) fn reopen(&mut self, node: Key) {
        if let Some(other) = self.stream(node).and_then(|stream| stream.other) {
            self.trace.record(self.now, "reopen", node, 0);
            self.pump(other);
        }
    }

    /// Something has arrived at one end.
    pub(super) fn segment(&mut self, from: Key, to: Key, segment: Segment) {
        // The answer left before anything else could, so it passes.
        let is_answer = matches!(segment, Segment::Answer(_));
        if !is_answer && (self.is_dead(from) || self.is_dead(to)) {
            return;
        }
        match segment {
            Segment::Answer(answer) => self.answer(from, to, answer),
            Segment::Bytes(bytes) => self.bytes(from, to, &bytes),
            Segment::End => self.end(from, to),
            Segment::Reset => self.reset_arrived(to),
        }
    }

    fn answer(&mut self, from: Key, to: Key, answer: Result<()>) {
        let Some(client) = self.stream_mut(to).filter(|client| client.stage == Stage::Connecting) else {
            // The client has gone away meanwhile.
            if from != to {
                self.dispatch(to, from, Segment::Reset);
            }
            return;
        };
        match answer {
            Ok(()) => (client.stage, client.other) = (Stage::Connected, Some(from)),
            Err(error) => (client.stage, client.error) = (Stage::Fresh, Some(error)),
        }
        self.trace.record(self.now, "answer", to, from.to_bits());
        self.foresee_end(to);
        self.mark(to);
    }

    fn bytes(&mut self, from: Key, to: Key, bytes: &[u8]) {
        self.trace.record_bytes(self.now, "bytes", to, bytes);
        if let Some(sender) = self.stream_mut(from) {
            sender.travelling = sender.travelling.saturating_sub(bytes.len());
        }
        match self.stream_mut(to) {
            Some(receiver) if receiver.closed => self.reset(to),
            Some(receiver) if receiver.stage == Stage::Connected => {
                receiver.incoming.extend(bytes);
                self.mark(to);
                self.mark(from);
                if let Some(time) = self.chance.shuts_window() {
                    self.shut(from, to, time);
                }
            }
            Some(_) => {}
            None => self.dispatch(to, from, Segment::Reset),
        }
    }

    /// The receiver stops reading for a while, or for good.
    fn shut(&mut self, from: Key, to: Key, time: Duration) {
        self.trace.record(self.now, "shut", to, time.as_nanos() as u64);
        let until = self.now.saturating_add(time);
        let Some(receiver) = self.stream_mut(to) else { return };
        receiver.shut_until = receiver.shut_until.max(until);
        match until {
            Duration::MAX => self.foresee_end(from),
            until => {
                self.schedule(until, Event::Reopen { node: to });
            }
        }
    }

    fn end(&mut self, from: Key, to: Key) {
        self.trace.record(self.now, "end", to, 0);
        if let Some(receiver) = self.stream_mut(to) {
            receiver.ended = true;
            self.mark(to);
        }
        match self.stream_mut(from) {
            Some(sender) if sender.closed => drop(self.nodes.remove(from)),
            Some(sender) => sender.ending = Ending::Arrived,
            None => {}
        }
    }

    fn reset_arrived(&mut self, to: Key) {
        let Some(stream) = self.stream_mut(to).filter(|stream| stream.stage != Stage::Over) else { return };
        let closed = stream.closed;
        // As Linux has it: after the peer's end, a reset says that it does not read what we send.
        stream.fail(if stream.ended { Error::BrokenPipe } else { Error::Reset });
        self.trace.record(self.now, "reset", to, 0);
        match closed {
            true => drop(self.nodes.remove(to)),
            false => self.mark(to),
        }
    }

    /// Ends a connection at once, and tells the other end.
    fn reset(&mut self, node: Key) {
        if let Some(other) = self.stream(node).and_then(|stream| stream.other) {
            self.dispatch(node, other, Segment::Reset);
        }
        self.nodes.remove(node);
    }

    /// Why an operation fails on a socket that is not of its kind; what is no socket at all says so.
    fn unfit(&self, node: Key, error: Error) -> Error {
        match self.kind(node) {
            Ok(Kind::File(_)) => error_of(code::ENOTSOCK),
            _ => error,
        }
    }

    fn stream(&self, node: Key) -> Option<&Stream> {
        match &self.nodes.get(node)?.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn stream_mut(&mut self, node: Key) -> Option<&mut Stream> {
        match &mut self.nodes.get_mut(node)?.kind {
            Kind::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    fn listener_mut(&mut self, node: Key) -> Option<&mut Listener> {
        match &mut self.nodes.get_mut(node)?.kind {
            Kind::Listener(listener) => Some(listener),
            _ => None,
        }
    }
}

/// Moves the first bytes of a queue out, into a vector.
fn split_front(queue: &mut VecDeque<u8>, count: usize) -> Vec<u8> {
    let (front, back) = queue.as_slices();
    let middle = front.len().min(count);
    let bytes = [&front[..middle], &back[..count - middle]].concat();
    queue.drain(..count);
    bytes
}

/// The same into a place that is there.
fn take_front(queue: &mut VecDeque<u8>, into: &mut [u8]) {
    let (front, back) = queue.as_slices();
    let (into_front, into_back) = into.split_at_mut(front.len().min(into.len()));
    into_front.copy_from_slice(&front[..into_front.len()]);
    into_back.copy_from_slice(&back[..into_back.len()]);
    queue.drain(..into.len());
}
