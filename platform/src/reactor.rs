//! The reactor: one shard's way to the kernel. Operations go in, completions come out, and nothing here blocks but
//! [`enter`](Reactor::enter) when told to wait.
//!
//! It names who waits by a number it does not interpret, so it can serve any executor. It is not `Send`: the thread that
//! makes it is the one that uses it.

use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::backend::{Backend, BackendKind, Config, SetupError, sim};
use crate::buffer::Pool;
use crate::flight::{Core, Refused, Token};
use crate::handle::Handle;
use crate::limits::{TEARDOWN_LOOKS_MAX, TEARDOWN_WAIT_MAX};
use crate::op::{Completion, Op, Wait};
use crate::pipe::Pipe;
use crate::random::Random;
use crate::socket::{DatagramOptions, ListenError, ListenOptions, Socket, SocketOption};
use crate::unpark::Unparker;
use crate::{Bell, Chunk, Error, Group, Result};

/// One shard's connection to the machine: a backend, the operations it has in flight, the handles and buffers they use.
pub struct Reactor {
    // In this order: the ring goes before the memory that the kernel may look at.
    backend: Backend,
    core: Core,
    random: Random,
}

/// What a reactor has done so far. Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// System calls that submitted to, or waited in, the kernel.
    pub enters: u64,
    /// Operations and cancels given to the kernel.
    pub submissions: u64,
    /// Completions landed.
    pub completions: u64,
    /// Times that a stream was given to the kernel again.
    pub restarts: u64,
    /// Times that a stream was paused because its reader was slow.
    pub pauses: u64,
    /// Times that a stream found no receive buffer free.
    pub starved: u64,
    /// Late results thrown away after their operation had been abandoned.
    pub disposed: u64,
    /// Entries into the kernel that failed for a passing reason (EAGAIN, EBUSY, EINTR, ENOMEM) and were repeated.
    pub interrupted: u64,
    /// Times that the completion queue overflowed; nothing is lost, each costs an enter.
    pub overflows: u64,
}

/// What a reactor holds now: for tests that everything comes home, and for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Operations in flight.
    pub operations: usize,
    /// Open sockets and files.
    pub handles: usize,
    /// Pipes that are leased.
    pub pipes: usize,
}

impl Reactor {
    /// Opens a backend of the chosen kind on this thread.
    ///
    /// Errors: the backend cannot be had here; the text says why and what to do.
    pub fn open(kind: BackendKind, config: &Config, unparker: &Unparker) -> std::result::Result<Self, SetupError> {
        let core = Core::new(Pool::new(config.pool));
        let backend = Backend::open(kind, config, &core, unparker)?;
        Ok(Reactor { backend, core, random: Random::new() })
    }

    /// A reactor on a simulated machine.
    pub fn simulated(machine: &sim::Machine, config: &Config) -> Self {
        let core = Core::new(Pool::new(config.pool));
        let backend = Backend::Sim(sim::Sim::new(machine));
        Reactor { backend, core, random: Random::new() }
    }

    /// Which backend it is.
    pub fn kind(&self) -> BackendKind {
        self.backend.kind()
    }

    /// The time, by this backend's clock. About 30 ns on a real machine: read it once a turn.
    pub fn now(&self) -> Instant {
        self.backend.now()
    }

    /// The time of day, by this backend's clock.
    pub fn wall_clock(&self) -> SystemTime {
        self.backend.wall_clock()
    }

    /// A number that nobody can guess on a real machine, and that follows from the seed on a simulated one.
    pub fn random(&mut self) -> u64 {
        self.backend.random(&mut self.random)
    }

    /// The shard's buffers.
    pub fn pool(&self) -> &Pool {
        &self.core.pool
    }

    /// A pipe for bytes of files on their way to sockets.
    ///
    /// Errors: `Unsupported` (this backend reads and sends), `Full` (as many are out as may be), `OutOfDescriptors`.
    pub fn pipe(&mut self) -> Result<Pipe> {
        match self.kind() {
            BackendKind::Uring | BackendKind::Epoll => self.core.pipes.lease(),
            BackendKind::Polling | BackendKind::Sim => Err(Error::Unsupported),
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.core.stats
    }

    /// What it holds now.
    pub fn holdings(&self) -> Holdings {
        let core = &self.core;
        Holdings { operations: core.in_flight(), handles: core.handles.len(), pipes: core.pipes.leased() }
    }

    // ---- operations ------------------------------------------------------------------------------------------------

    /// Starts an operation. It reaches the kernel with the next [`enter`](Reactor::enter); `waiter` is named there when
    /// something lands ([`NOBODY`](crate::NOBODY) is not). The operation comes back if it cannot start.
    ///
    /// Errors: `Closed`, `Full`.
    pub fn start(&mut self, op: Op, waiter: u64) -> std::result::Result<Token, Refused> {
        if let Op::Connect { socket, .. } = op
            && let Some(entry) = self.core.handles.entry(socket)
        {
            entry.peer.set(None);
        }
        self.core.start(op, waiter)
    }

    /// Starts to send a chunk, and [hushes](Reactor::hush) that: for less than one after the other.
    ///
    /// Errors: as [`start`](Reactor::start). The chunk is gone then.
    #[inline(always)]
    pub fn send_quietly(&mut self, socket: Handle, chunk: Chunk, waiter: u64) -> Result<Token> {
        self.core.send_quietly(socket, chunk, waiter)
    }

    /// Takes the oldest unread completion. With none, `waiter` is named when one lands. After a completion without `more`
    /// the token is spent, and asking again gives `Closed`.
    pub fn take(&mut self, token: &Token, waiter: u64) -> Option<Completion> {
        self.core.take(token, waiter)
    }

    /// [`take`](Reactor::take) of a receive: for less where what comes is a chunk, as it mostly is. Another completion is the error.
    #[inline(always)]
    pub fn take_chunk(&mut self, token: &Token, waiter: u64) -> Option<std::result::Result<Chunk, Completion>> {
        self.core.take_chunk(token, waiter)
    }

    /// Lets a send end without a word if all of it leaves: its slot and buffer are then free at once, and
    /// [`is_spent`](Reactor::is_spent) tells. A failure, or a transfer cut short, is a completion as always, for `waiter`.
    /// [`take`](Reactor::take) takes the wish back. It saves the completion of what mostly goes well. True if a completion
    /// waits to be taken already.
    pub fn hush(&mut self, token: &Token, waiter: u64) -> bool {
        self.core.hush(token, waiter)
    }

    /// Whether an operation has ended and nothing of it is left to take.
    pub fn is_spent(&self, token: &Token) -> bool {
        self.core.is_spent(token)
    }

    /// Has a stream of [`Op::Receive`] draw from this group from now on: large buffers while a large body
    /// comes, small ones otherwise. What was received before stays where it is.
    pub fn draw_from(&mut self, token: &Token, group: Group) {
        self.core.draw_from(token, group);
    }

    /// Asks for an operation's end. Its last completion comes as always: what it still achieved, or `Cancelled`.
    pub fn cancel(&mut self, token: &Token) {
        self.core.cancel(token.0);
    }

    /// Gives an operation up. The slot keeps its memory and handle until the kernel is done with them, and disposes of
    /// what still lands: an accepted socket is closed, a leased buffer goes home.
    pub fn abandon(&mut self, token: Token) {
        self.core.abandon(token);
    }

    /// Submits what has been started, waits as told, lands what has completed, and appends to `woken` the waiters it
    /// concerns, in order, possibly more than once. Enters the kernel at most once, and not at all when there is nothing
    /// to submit, nothing to collect and no wait.
    pub fn enter(&mut self, wait: Wait, woken: &mut Vec<u64>) {
        self.collect();
        // What has landed already is news: whoever waits for it must run before anyone sleeps.
        let wait = if self.core.woken.is_empty() { wait } else { Wait::No };
        self.backend.enter(&mut self.core, wait);
        woken.append(&mut self.core.woken);
    }

    /// Whether something has completed that [`enter`](Reactor::enter) would land, as far as memory tells: a ring says so there,
    /// in some 10 ns. `None` if only the kernel knows.
    pub fn has_news(&mut self) -> Option<bool> {
        self.backend.has_news()
    }

    /// Submits and lands like [`enter`](Reactor::enter), and does not wait: the caller has its own way to, and waits for the
    /// [bell](Reactor::bell). It rings for all that comes after this call. Gives the moment at which the caller must come
    /// again though it has not rung: what the kernel had no room for, say.
    pub fn settle(&mut self, woken: &mut Vec<u64>) -> Option<Instant> {
        self.collect();
        let due = self.backend.settle(&mut self.core);
        // What landed may be that a stream found no buffer, and one may be home by now.
        self.core.revive_starved();
        woken.append(&mut self.core.woken);
        due.or_else(|| (!self.core.queue.is_empty()).then(|| self.now()))
    }

    /// What is readable when something has come: a completion, or an [`Unparker`]'s call. It may be so without cause, and is
    /// silenced by [`settle`](Reactor::settle) alone. Ask for it before the reactor is first
    /// entered, and do not wait in it any more. It may outlive the reactor, and
    /// means nothing then.
    ///
    /// Errors: `Unsupported` (Windows, where nobody but the reactor can wait for its completions; a simulated machine),
    /// `OutOfDescriptors`, `OutOfMemory`.
    pub fn bell(&mut self) -> Result<Bell> {
        self.backend.bell()
    }

    /// Takes in what was [shared](crate::Chunk::share) and has come home, and starts the streams again that have waited for it,
    /// with the next [`enter`](Reactor::enter). Entering does it too; this is for whoever has been woken for it and does not
    /// enter at once.
    pub fn collect(&mut self) {
        self.core.pool.collect();
        self.core.revive_starved();
    }

    /// Whether a simulated machine keeps this shard off its CPU at this moment: whoever drives it does not turn it, and
    /// lets time pass. Never so on a real machine.
    pub fn is_stalled(&self) -> bool {
        self.backend.is_stalled()
    }

    // ---- handles ---------------------------------------------------------------------------------------------------

    /// Takes over a socket that was opened outside, such as a listener from the start coordinator.
    pub fn adopt(&mut self, socket: Socket) -> Result<Handle> {
        let resource = self.backend.adopt(socket)?;
        self.core.admit(resource)
    }

    /// Gives up a socket, for another shard to [`adopt`](Reactor::adopt), on another thread if need be. What has arrived there
    /// and was not received goes with it. The handle is stale from here on, as after a close.
    ///
    /// Errors: `Closed`; `Invalid` while an operation on it has not ended, an abandoned one included; `Unsupported` for a file;
    /// `OutOfDescriptors` on readiness by a poller, which needs a second name of the socket for a moment. The handle is then
    /// what it was.
    pub fn release(&mut self, handle: Handle) -> Result<Socket> {
        let entry = self.core.handles.open(handle)?;
        if entry.first.is_some() {
            return Err(Error::Invalid);
        }
        let renamed = self.backend.release(entry)?;
        let entry = self.core.handles.remove(handle).ok_or(Error::Closed)?;
        Ok(Socket(renamed.unwrap_or(entry.resource)))
    }

    /// Opens `count` listening sockets at one address, for this shard and others: see [`listen`](crate::listen).
    pub fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        self.backend.listen(address, count, options)
    }

    /// Opens `count` datagram sockets at one address, for this shard and others: see
    /// [`datagram_sockets`](crate::datagram_sockets). A simulated machine spreads datagrams by their addresses, whatever the
    /// options say.
    pub fn datagram_sockets(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &DatagramOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        self.backend.datagram_sockets(address, count, options)
    }

    /// Whether a connection waits to be accepted, as far as the system tells without an accept (Linux, and a simulated machine;
    /// `false` elsewhere).
    pub fn has_connection(&self, listener: Handle) -> bool {
        self.core.handles.open(listener).is_ok_and(|entry| self.backend.has_connection(&entry.resource))
    }

    /// Opens a stream socket that can reach `peer`, to be connected by [`Op::Connect`].
    pub fn stream_socket(&mut self, peer: SocketAddr) -> Result<Handle> {
        let socket = self.backend.stream_socket(peer)?;
        self.adopt(socket)
    }

    /// Opens a stream socket that is connected to the one that listens at this path (a Unix socket), at once.
    ///
    /// Errors: `NotFound`, `Denied`, `Refused`; `Full` while its queue is, or as many handles are open as may be: pause, and
    /// try again. `Unsupported` on a simulated machine.
    pub fn unix_stream(&mut self, path: &Path) -> Result<Handle> {
        let socket = self.backend.unix_stream(path)?;
        self.adopt(socket)
    }

    /// Opens a datagram socket at `local`; port zero lets the kernel choose.
    pub fn datagram_socket(&mut self, local: SocketAddr) -> Result<Handle> {
        let socket = self.backend.datagram_socket(local)?;
        self.adopt(socket)
    }

    /// Closes a handle. Operations on it are cancelled; the descriptor is closed when the last of them has ended. A stale
    /// handle is no error.
    pub fn close(&mut self, handle: Handle) {
        self.core.close(handle);
    }

    /// What has come to a stream socket by now, up to one buffer of the group; `None` if that is nothing, for whatever reason a
    /// [receive](Op::Receive) is to tell. For the first bytes of a connection, which mostly come with it: one system call, where
    /// a receive takes a turn. Not while a receive is in flight there: who of the two gets which bytes is not said.
    ///
    /// Errors: as [`Op::Receive`].
    pub fn receive_now(&mut self, socket: Handle, group: Group) -> Result<Option<Chunk>> {
        let entry = self.core.handles.open(socket)?;
        let receive = self.core.receive(group);
        let filled = receive.fill(|buffer| match self.backend.receive_now(&entry.resource, buffer) {
            Ok(Some(bytes)) if bytes > 0 => Ok((bytes, ())),
            Ok(_) => Err(None),
            Err(error) => Err(Some(error)),
        });
        match filled {
            Some(Ok((chunk, ()))) => Ok(Some(chunk)),
            Some(Err(Some(error))) => Err(error),
            // Nothing, or no buffer.
            Some(Err(None)) | None => Ok(None),
        }
    }

    /// Sends what the kernel takes of some bytes without a wait, and gives their number; if those are all, this side's direction
    /// ends with them, and mostly in one packet. Two system calls, and nothing to hear of. Not while a send is in flight there.
    ///
    /// Errors: as [`Op::Send`].
    pub fn send_last(&mut self, socket: Handle, data: &[IoSlice<'_>]) -> Result<usize> {
        let resource = &self.core.handles.open(socket)?.resource;
        let sent = self.backend.send_last(resource, data)?;
        if sent == data.iter().map(|slice| slice.len()).sum() {
            // A connection that is gone by now has nothing to end.
            let _ = self.backend.shutdown(resource, Shutdown::Write);
        }
        Ok(sent)
    }

    /// Shuts down one or both directions of a stream, at once.
    pub fn shutdown(&mut self, handle: Handle, how: Shutdown) -> Result<()> {
        self.backend.shutdown(&self.core.handles.open(handle)?.resource, how)
    }

    /// The address of this side.
    pub fn local_address(&self, handle: Handle) -> Result<SocketAddr> {
        self.backend.local_address(&self.core.handles.open(handle)?.resource)
    }

    /// The address of the other side: one system call for each connection.
    pub fn peer_address(&self, handle: Handle) -> Result<SocketAddr> {
        let entry = self.core.handles.open(handle)?;
        if let Some(peer) = entry.peer.get() {
            return Ok(peer);
        }
        let peer = self.backend.peer_address(&entry.resource)?;
        entry.peer.set(Some(peer));
        Ok(peer)
    }

    /// Sets an option of a socket.
    pub fn set_option(&mut self, handle: Handle, option: SocketOption) -> Result<()> {
        self.backend.set_option(&self.core.handles.open(handle)?.resource, option)
    }

    /// Cancels everything and waits, bounded, until the kernel is done. True if it is.
    fn quiesce(&mut self) -> bool {
        self.core.cancel_all();
        let deadline = self.now() + TEARDOWN_WAIT_MAX;
        let mut looks = 0;
        loop {
            self.backend.enter(&mut self.core, Wait::No);
            self.backend.give_up(&mut self.core);
            if self.core.in_kernel() == 0 {
                return true;
            }
            let now = self.now();
            // A simulated clock stands still meanwhile.
            looks += 1;
            if now >= deadline || (self.kind() == BackendKind::Sim && looks >= TEARDOWN_LOOKS_MAX) {
                return false;
            }
            let soon = now + Duration::from_millis(10).min(deadline - now);
            self.backend.enter(&mut self.core, Wait::Until(soon));
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        if !self.quiesce() {
            // The kernel may still read or write: what it may touch is never freed.
            tracing::error!(operations = self.core.in_kernel(), "operations did not end: their memory is leaked");
            self.backend.leak();
            self.core.leak();
        }
    }
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("kind", &self.kind()).field("holdings", &self.holdings()).finish()
    }
}
