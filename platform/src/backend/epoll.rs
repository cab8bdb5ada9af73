//! The readiness backend: an epoll file for one shard, for hosts where io_uring cannot be had.
//!
//! Every operation is tried at once, and waits only if the kernel says that it would block. A descriptor is registered once,
//! edge-triggered, when something first has to wait for it, and what the edges have told is kept in its table entry
//! ([`mark`]), so that a steady connection costs a receive, a send and its share of a wait, and no other system call. Only
//! sockets are ever registered; regular files go to the threads of [`Files`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, accept_with, connect, recv, send, sendmsg};

use super::readiness::files::Files;
use super::{BackendKind, SetupError};
use crate::arena::Key;
use crate::flight::{Core, Entry};
use crate::handle::{Handle, Resource};
use crate::limits::{
    READINESS_BUSY_TURNS_MAX, READINESS_EVENTS_MAX, READINESS_WAIT_MAX, SEND_BUFFERS_MAX, TRANSFERS_PER_TURN_MAX,
};
use crate::op::{Op, Outcome, Wait};
use crate::os::{self, Descriptor, error_of};
use crate::unpark::Unparker;

/// What is known of a descriptor: bits of its entry's `mark`. With none set, everything may be tried.
mod mark {
    /// The epoll file reports its edges.
    pub(super) const REGISTERED: u32 = 1;
    /// There is nothing to read until an edge says so.
    pub(super) const DRAINED: u32 = 2;
    /// There is no room to write until an edge says so.
    pub(super) const FULL: u32 = 4;
    /// The peer sends no more, or the connection has failed. No further edge is certain to come, so from here on only the
    /// kernel's own word ends reading.
    pub(super) const HUNG_UP: u32 = 8;
    /// It stands in the list of descriptors to serve.
    pub(super) const LISTED: u32 = 16;
}

/// Event data of the unparker. A key's index is never `u32::MAX`, so this is none.
const WAKE: u64 = u64::MAX;

pub(crate) struct Epoll {
    epoll: Descriptor,
    events: Vec<epoll::Event>,
    /// Descriptors on which something may be done now.
    ready: VecDeque<Handle>,
    /// Bytes that have left of sends that did not leave in one piece.
    progress: BTreeMap<Key, usize>,
    sleeps: BTreeSet<(Instant, Key)>,
    files: Files,
    /// Turns since the kernel was last looked at.
    busy_turns: u32,
    /// Kept for its memory: the operations on the descriptor being served.
    keys: Vec<Key>,
}

/// What one try has come to.
enum Step {
    /// The backend holds the operation no longer.
    Ended,
    /// Something was transferred; there may be more to do.
    Advanced,
    /// The descriptor must become ready first.
    Blocked,
}

impl Epoll {
    pub(crate) fn open(unparker: &Unparker) -> Result<Self, SetupError> {
        let open = || {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&epoll, unparker.event().descriptor(), EventData::new_u64(WAKE), flags)?;
            Ok(epoll)
        };
        let epoll = open().map_err(|errno: Errno| SetupError {
            kind: BackendKind::Epoll,
            reason: match errno {
                Errno::MFILE | Errno::NFILE => {
                    "no file descriptor is left. Raise RLIMIT_NOFILE (`ulimit -n`).".to_owned()
                }
                _ => format!("an epoll file cannot be made: {errno}."),
            },
        })?;
        Ok(Epoll {
            epoll,
            events: Vec::with_capacity(READINESS_EVENTS_MAX),
            ready: VecDeque::new(),
            progress: BTreeMap::new(),
            sleeps: BTreeSet::new(),
            files: Files::new(unparker),
            busy_turns: 0,
            keys: Vec::new(),
        })
    }

    /// Starts what is queued, waits as told and lands. While only results land that nobody waits for, it goes on waiting.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        loop {
            self.work(core);
            let idle = core.woken.is_empty() && core.queue.is_empty() && self.ready.is_empty();
            let wait_now = if idle { wait } else { Wait::No };
            let mut unparked = false;
            self.busy_turns += 1;
            if wait_now != Wait::No || self.busy_turns >= READINESS_BUSY_TURNS_MAX {
                unparked = self.look(core, wait_now);
                self.work(core);
            }
            let timed_out = || matches!(wait, Wait::Until(at) if now() >= at);
            if wait == Wait::No || unparked || !core.woken.is_empty() || timed_out() {
                return;
            }
            core.revive_starved();
        }
    }

    /// Everything that can be done without waiting.
    fn work(&mut self, core: &mut Core) {
        while let Some(entry) = core.next_entry() {
            core.stats.submissions += 1;
            match entry {
                Entry::Start(key) => self.start(core, key),
                Entry::Cancel(key) => self.cancel(core, key),
            }
        }
        // What becomes ready meanwhile is for the next round.
        for _ in 0..self.ready.len() {
            let Some(handle) = self.ready.pop_front() else { break };
            self.serve(core, handle);
        }
        self.files.land(core);
        self.expire(core);
    }

    // ---- starting and ending ---------------------------------------------------------------------------------------

    fn start(&mut self, core: &mut Core, key: Key) {
        let Some(op) = core.op(key) else { return };
        match (op, op.handle()) {
            (Op::Sleep { until }, _) => {
                self.sleeps.insert((*until, key));
            }
            (op, Some(handle)) if op.is_on_socket() => self.list(core, handle),
            _ => self.files.start(core, key),
        }
    }

    fn cancel(&mut self, core: &mut Core, key: Key) {
        let Some(op) = core.op(key) else { return };
        match op {
            Op::Accept { .. } | Op::Receive { .. } | Op::ReceiveMessage { .. } => core.stream_stopped(key),
            Op::Sleep { until } => {
                self.sleeps.remove(&(*until, key));
                core.land(key, Err(crate::Error::Cancelled));
            }
            Op::Open { .. } | Op::Read { .. } | Op::Write { .. } | Op::Sync { .. } | Op::Stat { .. } => {
                self.files.cancel(core, key);
            }
            Op::Connect { .. } | Op::Send { .. } | Op::SendList { .. } | Op::SendMessage { .. } => {
                self.fail(core, key, Errno::CANCELED);
            }
        }
    }

    /// Puts a descriptor on the list of those to serve.
    fn list(&mut self, core: &mut Core, handle: Handle) {
        if let Some(entry) = core.handles.entry_mut(handle)
            && entry.mark & mark::LISTED == 0
        {
            entry.mark |= mark::LISTED;
            self.ready.push_back(handle);
        }
    }

    fn expire(&mut self, core: &mut Core) {
        if self.sleeps.is_empty() {
            return;
        }
        let now = now();
        while let Some(&(until, key)) = self.sleeps.first()
            && until <= now
        {
            self.sleeps.pop_first();
            core.land(key, Ok(Outcome::Elapsed));
        }
    }

    // ---- the kernel's news -----------------------------------------------------------------------------------------

    /// Takes edges from the kernel, after waiting as told. True if the shard was unparked.
    fn look(&mut self, core: &mut Core, wait: Wait) -> bool {
        self.busy_turns = 0;
        let timeout = self.timeout(wait);
        core.stats.enters += 1;
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        if let Err(errno) = epoll::wait(&self.epoll, room, timeout.as_ref()) {
            assert!(errno == Errno::INTR, "the epoll file is ours and open: {errno}");
            core.stats.interrupted += 1;
            return false;
        }
        let events = std::mem::take(&mut self.events);
        let mut unparked = false;
        for event in &events {
            match event.data.u64() {
                WAKE => unparked = true,
                bits => self.note_edge(core, Handle(Key::from_bits(bits)), event.flags),
            }
        }
        self.events = events;
        unparked
    }

    fn timeout(&self, wait: Wait) -> Option<Timespec> {
        let next_sleep = self.sleeps.first().map(|(until, _)| *until);
        let until = match wait {
            Wait::No => return Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            Wait::Until(at) => Some(next_sleep.map_or(at, |until| at.min(until))),
            Wait::Forever => next_sleep,
        };
        // The call rounds up to whole milliseconds, so nothing ends early.
        let time = until?.saturating_duration_since(now()).min(READINESS_WAIT_MAX);
        Some(Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() })
    }

    /// Keeps what an edge has told. The handle may be stale by now, when another process shares the socket.
    fn note_edge(&mut self, core: &mut Core, handle: Handle, flags: EventFlags) {
        let Some(entry) = core.handles.entry_mut(handle) else { return };
        let over = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if over {
            entry.mark |= mark::HUNG_UP;
        }
        if over || flags.contains(EventFlags::IN) {
            entry.mark &= !mark::DRAINED;
        }
        if over || flags.contains(EventFlags::OUT) {
            entry.mark &= !mark::FULL;
        }
        self.list(core, handle);
    }

    // ---- serving a descriptor --------------------------------------------------------------------------------------

    /// Tries the operations on a descriptor, oldest first.
    fn serve(&mut self, core: &mut Core, handle: Handle) {
        let Some(entry) = core.handles.entry_mut(handle) else { return };
        entry.mark &= !mark::LISTED;
        let mut keys = std::mem::take(&mut self.keys);
        core.operations_on(handle, &mut keys);
        for key in keys.drain(..) {
            if core.is_running(key) {
                self.advance(core, key, handle);
            }
        }
        self.keys = keys;
    }

    /// Does what can be done for one operation now, within its share of the turn.
    fn advance(&mut self, core: &mut Core, key: Key, handle: Handle) {
        let receives = core.op(key).is_some_and(Op::is_stream);
        let direction = if receives { mark::DRAINED } else { mark::FULL };
        for _ in 0..TRANSFERS_PER_TURN_MAX {
            if core.is_ending(key) {
                return;
            }
            let Some(entry) = core.handles.entry_mut(handle) else { return };
            if entry.mark & direction != 0 {
                return self.register(core, key, handle);
            }
            match self.step(core, key) {
                Step::Ended => return,
                Step::Advanced => {}
                Step::Blocked => {
                    if let Some(entry) = core.handles.entry_mut(handle) {
                        entry.mark |= direction;
                    }
                }
            }
        }
        self.list(core, handle);
    }

    /// Makes sure that the descriptor's edges are reported. Whatever it is ready for at this moment counts as an edge, so
    /// nothing is missed between a try and this.
    fn register(&mut self, core: &mut Core, key: Key, handle: Handle) {
        let Some(entry) = core.handles.entry_mut(handle) else { return };
        if entry.mark & mark::REGISTERED != 0 {
            return;
        }
        let Resource::Os(descriptor) = &entry.resource else { return };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        match epoll::add(&self.epoll, descriptor, EventData::new_u64(handle.0.to_bits()), flags) {
            Ok(()) => entry.mark |= mark::REGISTERED,
            Err(errno) => {
                self.fail(core, key, errno);
            }
        }
    }

    /// One system call for one operation.
    fn step(&mut self, core: &mut Core, key: Key) -> Step {
        let Some(op) = core.op(key) else { return Step::Ended };
        let Some(entry) = op.handle().and_then(|handle| core.handles.entry(handle)) else { return Step::Ended };
        let Resource::Os(descriptor) = &entry.resource else {
            return self.fail(core, key, Errno::OPNOTSUPP);
        };
        let sent = self.progress.get(&key).copied().unwrap_or(0);
        let result = match op {
            Op::Accept { .. } => match accept_with(descriptor, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(accepted) => return land_accepted(core, key, accepted),
                Err(errno) => Err(errno),
            },
            Op::Receive { group, .. } => {
                let filled =
                    core.receive(*group).fill(|buffer| Ok((recv(descriptor, buffer, RecvFlags::empty())?.1, ())));
                let drained_by = match entry.mark & mark::HUNG_UP {
                    0 => core.receive(*group).buffer_bytes() as usize,
                    _ => 0,
                };
                match filled {
                    None => return starve(core, key),
                    Some(Ok((chunk, ()))) => return land_received(core, key, chunk, drained_by),
                    Some(Err(errno)) => Err(errno),
                }
            }
            Op::ReceiveMessage { group, .. } => {
                match core.receive(*group).fill(|buffer| {
                    let received = os::receive_message(descriptor, buffer)?;
                    Ok((received.bytes, received))
                }) {
                    None => return starve(core, key),
                    Some(Ok((data, received))) => return land_message(core, key, data, received),
                    Some(Err(errno)) => Err(errno),
                }
            }
            Op::Send { data, .. } => {
                send(descriptor, &data[sent..], SendFlags::NOSIGNAL).map(|bytes| (sent + bytes, data.len()))
            }
            Op::SendList { list, .. } => {
                let mut slices = [IoSlice::new(&[]); SEND_BUFFERS_MAX];
                for (slice, buf) in slices.iter_mut().zip(list.iter()) {
                    *slice = IoSlice::new(buf);
                }
                let mut rest = &mut slices[..list.len()];
                IoSlice::advance_slices(&mut rest, sent);
                sendmsg(descriptor, rest, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
                    .map(|bytes| (sent + bytes, list.bytes()))
            }
            Op::SendMessage { message, .. } => os::send_message(descriptor, message).map(|bytes| (bytes, bytes)),
            // A second call tells how the first has ended.
            Op::Connect { peer, .. } => match connect(descriptor, peer) {
                Ok(()) => {
                    core.land(key, Ok(Outcome::Connected));
                    return Step::Ended;
                }
                Err(errno) => Err(errno),
            },
            Op::Open { .. }
            | Op::Read { .. }
            | Op::Write { .. }
            | Op::Sync { .. }
            | Op::Stat { .. }
            | Op::Sleep { .. } => {
                unreachable!("{} waits for no descriptor", op.name())
            }
        };
        match result {
            Ok((bytes, all)) if bytes < all => {
                self.progress.insert(key, bytes);
                Step::Advanced
            }
            Ok((bytes, _)) => {
                self.progress.remove(&key);
                core.land_sent(key, bytes);
                Step::Ended
            }
            Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY) => Step::Blocked,
            Err(Errno::INTR) => Step::Advanced,
            Err(errno) => self.fail(core, key, errno),
        }
    }

    /// Ends an operation with an error, unless some of its bytes have left: then the caller learns how many, and meets the
    /// error with the next send.
    fn fail(&mut self, core: &mut Core, key: Key, errno: Errno) -> Step {
        match self.progress.remove(&key) {
            Some(sent) => core.land_sent(key, sent),
            None => core.land(key, Err(error_of(errno.raw_os_error()))),
        }
        Step::Ended
    }
}

fn land_accepted(core: &mut Core, key: Key, accepted: Descriptor) -> Step {
    match core.admit(Resource::Os(accepted)) {
        Ok(handle) => core.land_part(key, Outcome::Accepted(handle)),
        Err(_) => core.stats.disposed += 1,
    }
    Step::Advanced
}

/// Lands received bytes. Fewer than `drained_by` mean that there were no more, and that an edge will tell of the next.
fn land_received(core: &mut Core, key: Key, chunk: crate::Chunk, drained_by: usize) -> Step {
    if chunk.is_empty() {
        core.land(key, Ok(Outcome::EndOfInput));
        return Step::Ended;
    }
    let drained = chunk.len() < drained_by;
    core.land_part(key, Outcome::Received(chunk));
    if drained { Step::Blocked } else { Step::Advanced }
}

fn land_message(core: &mut Core, key: Key, data: crate::Chunk, received: os::Received) -> Step {
    if let Some(message) = received.into_message(data) {
        core.land_part(key, Outcome::Message(Box::new(message)));
    }
    Step::Advanced
}

fn starve(core: &mut Core, key: Key) -> Step {
    core.stream_starved(key);
    Step::Ended
}

#[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
fn now() -> Instant {
    Instant::now()
}
