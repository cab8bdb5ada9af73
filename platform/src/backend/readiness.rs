//! Readiness: what the backends have in common whose kernel tells when something can be done, and leaves the doing to us.
//!
//! Every operation is tried at once, and waits only if the kernel says that it would block; then the kernel is asked for
//! news of the descriptor. What is known of a descriptor is kept in its table entry ([`mark`]). How the kernel is asked, and
//! how one call is made, is a [`Watch`]'s: an epoll file on Linux, a poller elsewhere. Only sockets are ever watched; files
//! go to the threads of [`Files`].

mod files;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use self::files::Files;
use crate::arena::Key;
use crate::flight::{Core, Entry};
use crate::handle::{Handle, Resource};
use crate::limits::{READINESS_BUSY_TURNS_MAX, TRANSFERS_PER_TURN_MAX};
use crate::op::{Op, Outcome, Wait};
use crate::os;
use crate::unpark::Unparker;
use crate::{Bell, Error};

/// What is known of a descriptor: bits of its entry's `mark`. With none set, everything may be tried.
pub(super) mod mark {
    /// There is nothing to read until the kernel says so.
    pub(in super::super) const DRAINED: u32 = 1;
    /// There is no room to write until the kernel says so.
    pub(in super::super) const FULL: u32 = 2;
    /// It stands in the list of descriptors to serve.
    pub(super) const LISTED: u32 = 4;
    /// The first of the bits that a watch may use as it likes.
    pub(in super::super) const OWN: u32 = 8;
}

/// A kernel's way to tell what is ready, and to do what is.
pub(crate) trait Watch {
    /// Takes news from the kernel, after waiting as told, and lists the descriptors they are about. True if the shard was
    /// unparked.
    fn look(&mut self, core: &mut Core, ready: &mut Ready, wait: Wait) -> bool;

    /// What is readable while the kernel has news.
    fn bell(&self) -> Result<Bell, Error>;

    /// Whether the last look took as much as it has room for, so that there may be more.
    fn may_have_more(&self) -> bool;

    /// Makes sure that the kernel tells when what blocks a descriptor has passed, as its marks say. Whatever it is ready for
    /// at this moment counts as news, so nothing is missed between a try and this.
    fn ask(&mut self, core: &mut Core, handle: Handle) -> Result<(), Error>;

    /// Makes one call for one operation, of which `sent` bytes have left before. Operations on the same descriptor that
    /// stand `behind` it may be served by the same call.
    fn attempt(&mut self, core: &mut Core, key: Key, handle: Handle, sent: usize, behind: &[Key]) -> Tried;
}

/// What one try has come to.
pub(crate) enum Tried {
    /// The backend holds the operation no longer.
    Ended,
    /// Something was transferred, or the call was interrupted; there may be more to do.
    Advanced,
    /// The descriptor must become ready first.
    Blocked,
    /// So many bytes of a send have left until now, of so many.
    Sent { bytes: usize, all: usize },
    /// It cannot be done.
    Failed(Error),
}

/// Descriptors on which something may be done now.
#[derive(Default)]
pub(crate) struct Ready(VecDeque<Handle>);

impl Ready {
    /// Puts a descriptor on the list.
    pub(super) fn list(&mut self, core: &mut Core, handle: Handle) {
        if let Some(entry) = core.handles.entry_mut(handle)
            && entry.mark & mark::LISTED == 0
        {
            entry.mark |= mark::LISTED;
            self.0.push_back(handle);
        }
    }
}

/// A backend of readiness.
pub(crate) struct Readiness<W> {
    watch: W,
    ready: Ready,
    /// Bytes that have left of sends that did not leave in one piece.
    progress: BTreeMap<Key, usize>,
    sleeps: BTreeSet<(Instant, Key)>,
    files: Files,
    /// Turns since the kernel was last looked at.
    busy_turns: u32,
    /// Kept for its memory: the operations on the descriptor being served.
    keys: Vec<Key>,
}

impl<W: Watch> Readiness<W> {
    pub(super) fn new(watch: W, unparker: &Unparker) -> Self {
        Readiness {
            watch,
            ready: Ready::default(),
            progress: BTreeMap::new(),
            sleeps: BTreeSet::new(),
            files: Files::new(unparker),
            busy_turns: 0,
            keys: Vec::new(),
        }
    }

    pub(super) fn watch(&self) -> &W {
        &self.watch
    }

    /// Starts what is queued, waits as told and lands. While only results land that nobody waits for, it goes on waiting.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        loop {
            self.work(core);
            let idle = core.woken.is_empty() && core.queue.is_empty() && self.ready.0.is_empty();
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

    /// Does what can be done at once. What is left comes soon, or at the next sleep's end, or with news from the kernel.
    pub(crate) fn settle(&mut self, core: &mut Core) -> Option<Instant> {
        self.work(core);
        self.look(core, Wait::No);
        self.work(core);
        match core.queue.is_empty() && self.ready.0.is_empty() && !self.watch.may_have_more() {
            true => self.sleeps.first().map(|(until, _)| *until),
            false => Some(now()),
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
        for _ in 0..self.ready.0.len() {
            let Some(handle) = self.ready.0.pop_front() else { break };
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
            (op, Some(handle)) if op.is_on_socket() => self.ready.list(core, handle),
            _ => self.files.start(core, key),
        }
    }

    fn cancel(&mut self, core: &mut Core, key: Key) {
        let Some(op) = core.op(key) else { return };
        match op {
            Op::Accept { .. } | Op::Receive { .. } | Op::ReceiveMessage { .. } => core.stream_stopped(key),
            Op::Sleep { until } => {
                self.sleeps.remove(&(*until, key));
                core.land(key, Err(Error::Cancelled));
            }
            Op::Open { .. }
            | Op::Load { .. }
            | Op::Read { .. }
            | Op::Write { .. }
            | Op::Sync { .. }
            | Op::Stat { .. } => {
                self.files.cancel(core, key);
            }
            Op::Connect { .. }
            | Op::Send { .. }
            | Op::SendList { .. }
            | Op::SendMessage { .. }
            | Op::SendPipe { .. } => {
                self.fail(core, key, Error::Cancelled);
            }
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

    /// Takes news from the kernel; no wait is longer than the next sleep.
    fn look(&mut self, core: &mut Core, wait: Wait) -> bool {
        self.busy_turns = 0;
        core.stats.enters += 1;
        let next_sleep = self.sleeps.first().map(|(until, _)| *until);
        let wait = match (wait, next_sleep) {
            (Wait::Until(at), Some(until)) => Wait::Until(at.min(until)),
            (Wait::Forever, Some(until)) => Wait::Until(until),
            (wait, _) => wait,
        };
        self.watch.look(core, &mut self.ready, wait)
    }

    // ---- serving a descriptor --------------------------------------------------------------------------------------

    /// Tries the operations on a descriptor, oldest first.
    fn serve(&mut self, core: &mut Core, handle: Handle) {
        let Some(entry) = core.handles.entry_mut(handle) else { return };
        entry.mark &= !mark::LISTED;
        let mut keys = std::mem::take(&mut self.keys);
        core.operations_on(handle, &mut keys);
        let mut rest = &keys[..];
        while let [key, behind @ ..] = rest {
            if core.is_running(*key) {
                self.advance(core, *key, handle, behind);
            }
            rest = behind;
        }
        keys.clear();
        self.keys = keys;
    }

    /// Does what can be done for one operation now, within its share of the turn.
    fn advance(&mut self, core: &mut Core, key: Key, handle: Handle, behind: &[Key]) {
        let receives = core.op(key).is_some_and(Op::is_stream);
        let direction = if receives { mark::DRAINED } else { mark::FULL };
        for _ in 0..TRANSFERS_PER_TURN_MAX {
            if core.is_ending(key) {
                return;
            }
            let Some(entry) = core.handles.entry_mut(handle) else { return };
            if entry.mark & direction != 0 {
                if let Err(error) = self.watch.ask(core, handle) {
                    // No news will come to say otherwise, so the next operation asks the kernel again.
                    if let Some(entry) = core.handles.entry_mut(handle) {
                        entry.mark &= !(mark::DRAINED | mark::FULL);
                    }
                    self.fail(core, key, error);
                }
                return;
            }
            match self.step(core, key, handle, behind) {
                Tried::Blocked => {
                    if let Some(entry) = core.handles.entry_mut(handle) {
                        entry.mark |= direction;
                    }
                }
                Tried::Advanced => {}
                _ => return,
            }
        }
        self.ready.list(core, handle);
    }

    /// One try of one operation: afterwards it has ended, advanced, or is blocked.
    fn step(&mut self, core: &mut Core, key: Key, handle: Handle, behind: &[Key]) -> Tried {
        let sent = self.progress.get(&key).copied().unwrap_or(0);
        match self.watch.attempt(core, key, handle, sent, behind) {
            Tried::Sent { bytes, all } if bytes < all => {
                self.progress.insert(key, bytes);
                Tried::Advanced
            }
            Tried::Sent { bytes, .. } => {
                self.progress.remove(&key);
                core.land_sent(key, bytes);
                Tried::Ended
            }
            Tried::Failed(error) => {
                self.fail(core, key, error);
                Tried::Ended
            }
            tried => tried,
        }
    }

    /// Ends an operation with an error, unless some of its bytes have left: then the caller learns how many, and meets the
    /// error with the next send.
    fn fail(&mut self, core: &mut Core, key: Key, error: Error) {
        match self.progress.remove(&key) {
            Some(sent) => core.land_sent(key, sent),
            None => core.land(key, Err(error)),
        }
    }
}

// ---- what tries have in common -----------------------------------------------------------------------------------------

pub(super) fn land_accepted(core: &mut Core, key: Key, accepted: Resource) -> Tried {
    match core.admit(accepted) {
        Ok(handle) => core.land_part(key, Outcome::Accepted(handle)),
        Err(_) => core.stats.disposed += 1,
    }
    Tried::Advanced
}

/// Lands received bytes. Fewer than `drained_by` mean that there were no more, and that the kernel will tell of the next.
pub(super) fn land_received(core: &mut Core, key: Key, chunk: crate::Chunk, drained_by: usize) -> Tried {
    if chunk.is_empty() {
        core.land(key, Ok(Outcome::EndOfInput));
        return Tried::Ended;
    }
    let drained = chunk.len() < drained_by;
    core.land_chunk(key, chunk);
    if drained { Tried::Blocked } else { Tried::Advanced }
}

pub(super) fn land_message(core: &mut Core, key: Key, data: crate::Chunk, received: os::Received) -> Tried {
    if let Some(message) = received.into_message(data) {
        core.land_part(key, Outcome::Message(Box::new(message)));
    }
    Tried::Advanced
}

pub(super) fn starve(core: &mut Core, key: Key) -> Tried {
    core.stream_starved(key);
    Tried::Ended
}

#[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
pub(super) fn now() -> Instant {
    Instant::now()
}
