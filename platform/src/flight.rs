//! Operations in flight: the slots that own an operation's memory and handle until the kernel's last completion.
//!
//! This is the half of the reactor that all backends share. A backend takes [`Entry`]s from the queue, and reports what
//! the kernel said through `land`, `land_part`, `stream_stopped` and `stream_starved`; who waits, what is abandoned, when a
//! descriptor may close and which late result is thrown away is decided here, once, for all of them.
//!
//! ```text
//!            start                take by a backend              last completion
//!   (new) ──────────► Queued ─────────────────────► Running ─────────────────────► Ended ──► slot free
//!                       ▲                              │ the kernel stopped a stream     (once its results are taken)
//!                       └──────────── Idle ◄───────────┘ (paused, out of buffers, one-shot rung)
//! ```

use std::collections::VecDeque;
use std::rc::Rc;

use crate::arena::{Arena, Key};
use crate::buffer::Pool;
use crate::handle::{Handle, Handles, Resource};
use crate::limits::OPERATIONS_MAX;
use crate::op::{Completion, Op, Outcome};
use crate::pipe::Pipes;
use crate::reactor::Stats;
use crate::{Buf, Chunk, Error, Group};

/// Names an operation in flight. It can only be moved: whoever holds it takes the results or abandons them.
#[derive(Debug)]
#[must_use = "a token that is dropped leaves its operation in flight for as long as the reactor lives: abandon it"]
pub struct Token(pub(crate) Key);

/// The waiter that names nobody.
pub const NOBODY: u64 = u64::MAX;

/// What the backend shall do next, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Give the operation to the kernel.
    Start(Key),
    /// Ask the kernel to end it soon.
    Cancel(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the queue; no backend has seen it.
    Queued,
    /// The kernel may look at its memory.
    Running,
    /// A stream that the kernel does not hold now and that starts again when its reader has caught up and asks for more.
    Idle,
    /// A stream that found no buffer and starts again when one has come home.
    Starved,
    /// The kernel is done with it; unread results may remain.
    Ended,
}

/// What the owner of an operation has asked for, besides its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    /// Success needs no telling: the slot is given up with the operation's end, and only a failure is delivered.
    Hush,
    /// The stream draws from this group when it starts again.
    DrawFrom(Group),
}

/// The slot of one operation.
pub(crate) struct Flight {
    /// Owned here from start to the kernel's last completion.
    op: Op,
    /// Whom to name in the list of woken when something lands.
    waiter: u64,
    /// Results that wait to be taken, oldest first: a list in `Core::results`.
    first: Option<Key>,
    last: Option<Key>,
    /// Neighbours in the list of operations on the same handle.
    previous: Option<Key>,
    next: Option<Key>,
    unread: u16,
    stage: Stage,
    /// Nobody will take results: what lands is thrown away.
    abandoned: bool,
    /// An end was asked for by the owner or by close.
    cancelled: bool,
    /// A cancel is on its way only to pause the stream.
    pausing: bool,
    wish: Wish,
    /// The caller's last completion has been queued; the kernel may still hold the memory (zero-copy).
    answered: bool,
}

const _: () = assert!(size_of::<Flight>() <= 128);

impl Flight {
    /// The oldest result has been taken, and this is the next.
    #[inline]
    fn taken(&mut self, next: Option<Key>) {
        self.first = next;
        self.unread -= 1;
        if next.is_none() {
            self.last = None;
        }
    }

    /// Nothing is there to be taken: this waiter is named when something lands. True if the stream is to start again first.
    #[inline]
    fn starts_again_for(&mut self, waiter: u64) -> bool {
        self.waiter = waiter;
        if self.wish == Wish::Hush {
            self.wish = Wish::Nothing;
        }
        self.stage == Stage::Idle
    }

    /// The kernel does not hold the stream.
    fn change_group(&mut self) {
        if let (Wish::DrawFrom(next), Op::Receive { group, .. }) = (self.wish, &mut self.op) {
            *group = next;
            self.wish = Wish::Nothing;
        }
    }
}

/// A result that waits to be taken.
struct Unread {
    completion: Completion,
    next: Option<Key>,
}

/// The state that all backends share.
pub(crate) struct Core {
    flights: Arena<Flight>,
    results: Arena<Unread>,
    pub(crate) handles: Handles,
    pub(crate) pool: Pool,
    pub(crate) pipes: Rc<Pipes>,
    pub(crate) queue: VecDeque<Entry>,
    pub(crate) woken: Vec<u64>,
    /// Streams that found no buffer and wait for one to come home.
    starved: Vec<Key>,
    pub(crate) stats: Stats,
}

/// The outcome of a failed start: the operation, unharmed, and why.
pub type Refused = (Op, Error);

impl Core {
    pub(crate) fn new(pool: Pool) -> Self {
        Core {
            flights: Arena::new(OPERATIONS_MAX),
            results: Arena::new(OPERATIONS_MAX),
            handles: Handles::new(),
            pool,
            pipes: Rc::default(),
            queue: VecDeque::new(),
            woken: Vec::new(),
            starved: Vec::new(),
            stats: Stats::default(),
        }
    }

    // ---- for the owner of the operation -------------------------------------------------------------------------

    pub(crate) fn start(&mut self, op: Op, waiter: u64) -> Result<Token, Refused> {
        let (handle, mut op) = (op.handle(), Some(op));
        let mut take = || op.take().expect("an operation starts once");
        self.start_with(handle, &mut take, waiter, Wish::Nothing).map_err(|error| (take(), error))
    }

    /// Starts to send a chunk, and [hushes](Core::hush) that.
    #[inline(always)]
    pub(crate) fn send_quietly(&mut self, socket: Handle, chunk: Chunk, waiter: u64) -> Result<Token, Error> {
        let op = || Op::Send { socket, data: Buf::Chunk(chunk), zero_copy: false };
        self.start_with(Some(socket), op, waiter, Wish::Hush)
    }

    /// Starts what `op` gives, which is not asked for what cannot start.
    #[inline(always)]
    fn start_with(
        &mut self,
        handle: Option<Handle>,
        op: impl FnOnce() -> Op,
        waiter: u64,
        wish: Wish,
    ) -> Result<Token, Error> {
        let entry = handle.map(|handle| self.handles.open_mut(handle)).transpose()?;
        let next = entry.as_ref().and_then(|entry| entry.first);
        let flight = || Flight {
            op: op(),
            waiter,
            first: None,
            last: None,
            previous: None,
            next,
            unread: 0,
            stage: Stage::Queued,
            abandoned: false,
            cancelled: false,
            pausing: false,
            wish,
            answered: false,
        };
        let key = self.flights.insert_with(flight).ok_or(Error::Full)?;
        if let Some(entry) = entry {
            entry.first = Some(key);
        }
        if let Some(next) = next.and_then(|next| self.flights.get_mut(next)) {
            next.previous = Some(key);
        }
        self.queue.push_back(Entry::Start(key));
        Ok(Token(key))
    }

    /// The oldest unread completion, or nothing yet, in which case `waiter` is named when something lands.
    pub(crate) fn take(&mut self, token: &Token, waiter: u64) -> Option<Completion> {
        let Some(flight) = self.flights.get_mut(token.0) else {
            return Some(Completion { result: Err(Error::Closed), more: false });
        };
        let Some(first) = flight.first else {
            if flight.starts_again_for(waiter) {
                self.restart(token.0);
            }
            return None;
        };
        let Unread { completion, next } = self.results.remove(first).expect("a queued result is in the table");
        flight.taken(next);
        if !completion.more {
            self.disown(token.0);
        }
        Some(completion)
    }

    /// The same of a receive, which mostly has a chunk, and a completion around it is more than there is to say.
    #[inline(always)]
    pub(crate) fn take_chunk(&mut self, token: &Token, waiter: u64) -> Option<Result<Chunk, Completion>> {
        let Some(flight) = self.flights.get_mut(token.0) else { return self.take(token, waiter).map(Err) };
        let Some(first) = flight.first else {
            if flight.starts_again_for(waiter) {
                self.restart(token.0);
            }
            return None;
        };
        let is_chunk =
            |unread: &Unread| matches!(unread.completion, Completion { result: Ok(Outcome::Received(_)), more: true });
        if self.results.get(first).is_some_and(is_chunk)
            && let Some(Unread { completion: Completion { result: Ok(Outcome::Received(chunk)), .. }, next }) =
                self.results.remove(first)
        {
            flight.taken(next);
            return Some(Ok(chunk));
        }
        self.take(token, waiter).map(Err)
    }

    /// Lets a send end without a word if all of it leaves: its token is then spent. A failure, or a transfer cut short, is
    /// delivered to `waiter`; asking for a completion takes the wish back. True if a completion waits to be taken.
    pub(crate) fn hush(&mut self, token: &Token, waiter: u64) -> bool {
        let Some(flight) = self.flights.get_mut(token.0) else { return false };
        flight.wish = Wish::Hush;
        flight.waiter = waiter;
        let Some(first) = flight.first else { return false };
        let unread = self.results.get(first).expect("a queued result is in the table");
        // Bytes of buffers that have come back whole: all of them have left.
        let is_whole = match &unread.completion.result {
            Ok(Outcome::Sent { bytes, data }) => *bytes == data.len(),
            Ok(Outcome::SentList { bytes, list }) => *bytes == list.bytes(),
            _ => false,
        };
        if is_whole && let Some(Ok(Outcome::SentList { list, .. })) = self.take(token, waiter).map(|last| last.result) {
            self.pool.reclaim(list);
        }
        !is_whole
    }

    /// Whether an operation has ended and all of it has been told, or need not be.
    pub(crate) fn is_spent(&self, token: &Token) -> bool {
        !self.flights.contains(token.0)
    }

    /// Has a receiving stream draw from a group from now on. If the kernel holds it, it stops and starts again: what comes
    /// meanwhile waits there, so nothing is lost or told twice.
    pub(crate) fn draw_from(&mut self, token: &Token, group: Group) {
        let Some(flight) = self.flights.get_mut(token.0) else { return };
        if flight.op.group() == Some(group) {
            flight.wish = Wish::Nothing;
            return;
        }
        flight.wish = Wish::DrawFrom(group);
        match flight.stage {
            Stage::Queued => flight.change_group(),
            Stage::Running => _ = self.pause(token.0),
            Stage::Starved => self.restart(token.0),
            Stage::Idle | Stage::Ended => {}
        }
    }

    /// Asks for the operation's end; its last completion still comes.
    pub(crate) fn cancel(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.cancelled {
            return;
        }
        flight.cancelled = true;
        match flight.stage {
            Stage::Queued | Stage::Idle | Stage::Starved => self.land(key, Err(Error::Cancelled)),
            // A pausing stream has its cancel on the way.
            Stage::Running if flight.pausing => {}
            Stage::Running => self.queue.push_back(Entry::Cancel(key)),
            Stage::Ended => {}
        }
    }

    /// Gives the operation up: its memory and handle stay in the slot until the kernel is done, and what still lands is
    /// disposed of.
    pub(crate) fn abandon(&mut self, token: Token) {
        if let Some(flight) = self.flights.get_mut(token.0) {
            flight.abandoned = true;
            self.discard_unread(token.0);
            self.cancel(token.0);
            self.disown(token.0);
        }
    }

    /// Closes a handle once the operations on it, which are cancelled, have ended.
    pub(crate) fn close(&mut self, handle: Handle) {
        let Some(entry) = self.handles.entry_mut(handle) else { return };
        entry.closing = true;
        let mut next = entry.first;
        while let Some(key) = next {
            next = self.flights.get(key).and_then(|flight| flight.next);
            self.cancel(key);
        }
        self.close_if_idle(handle);
    }

    // ---- for the backends ----------------------------------------------------------------------------------------

    /// The next thing to do, with operations that ended while they were queued left out.
    pub(crate) fn next_entry(&mut self) -> Option<Entry> {
        while let Some(entry) = self.queue.pop_front() {
            let (Entry::Start(key) | Entry::Cancel(key)) = entry;
            let Some(flight) = self.flights.get_mut(key) else { continue };
            match (entry, flight.stage) {
                (Entry::Start(_), Stage::Queued) => flight.stage = Stage::Running,
                (Entry::Cancel(_), Stage::Running) => {}
                _ => continue,
            }
            return Some(entry);
        }
        None
    }

    /// Puts an entry back that the backend has no room for; it comes first again.
    #[allow(dead_code, reason = "readiness has room for all")]
    pub(crate) fn return_entry(&mut self, entry: Entry) {
        if let Entry::Start(key) = entry
            && let Some(flight) = self.flights.get_mut(key)
        {
            flight.stage = Stage::Queued;
        }
        self.queue.push_front(entry);
    }

    /// The operation of a running flight, to build a kernel's entry from. The memory it owns does not move or end before
    /// the flight lands.
    pub(crate) fn op(&self, key: Key) -> Option<&Op> {
        self.flights.get(key).map(|flight| &flight.op)
    }

    /// An operation whose success nobody is told of.
    #[allow(dead_code, reason = "readiness sends everything by calls")]
    pub(crate) fn hushed(&self, key: Key) -> Option<&Op> {
        self.flights.get(key).filter(|flight| flight.wish == Wish::Hush).map(|flight| &flight.op)
    }

    pub(crate) fn op_mut(&mut self, key: Key) -> Option<&mut Op> {
        self.flights.get_mut(key).map(|flight| &mut flight.op)
    }

    /// Whether the backend holds the operation now.
    pub(crate) fn is_running(&self, key: Key) -> bool {
        self.flights.get(key).is_some_and(|flight| flight.stage == Stage::Running)
    }

    /// Appends the operations on a handle, in the order in which they were started.
    pub(crate) fn operations_on(&self, handle: Handle, keys: &mut Vec<Key>) {
        let begin = keys.len();
        let mut next = self.handles.entry(handle).and_then(|entry| entry.first);
        while let Some(key) = next {
            keys.push(key);
            next = self.flights.get(key).and_then(|flight| flight.next);
        }
        keys[begin..].reverse();
    }

    /// Lands the kernel's last word on an operation.
    pub(crate) fn land(&mut self, key: Key, result: Result<Outcome, Error>) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Ended;
        self.stats.completions += 1;
        let result = match result {
            // What is in the table of handles is open, so EBADF says that the file was not opened for this.
            Err(Error::Closed) if flight.op.is_on_file() => Err(Error::Denied),
            result => result,
        };
        if !flight.answered {
            flight.answered = true;
            self.deliver(key, Completion { result, more: false });
        }
        if let Some(flight) = self.flights.get_mut(key) {
            let (handle, previous, next) = (flight.op.handle(), flight.previous.take(), flight.next.take());
            self.unlink(handle, previous, next);
        }
        self.free_if_done(key);
    }

    /// Lands the end of a send or write, with the buffer that the slot has kept.
    pub(crate) fn land_sent(&mut self, key: Key, bytes: usize) {
        if let Some(flight) = self.flights.get(key)
            && flight.wish == Wish::Hush
            && flight.first.is_none()
            && flight.op.bytes_to_send() == Some(bytes)
            && let Some(flight) = self.flights.remove(key)
        {
            // The slot goes at once, and the buffer with it.
            self.stats.completions += 1;
            self.unlink(flight.op.handle(), flight.previous, flight.next);
            if let Op::SendList { list, .. } = flight.op {
                self.pool.reclaim(list);
            }
            return;
        }
        let outcome = match self.take_op(key) {
            Some(Op::Send { data, .. } | Op::Write { data, .. }) => Outcome::Sent { bytes, data },
            Some(Op::SendList { list, .. }) => Outcome::SentList { bytes, list },
            Some(Op::SendMessage { message, .. }) => Outcome::SentMessage { bytes, message },
            Some(Op::SendPipe { pipe, .. }) => Outcome::SentPipe(pipe),
            _ => return,
        };
        self.land(key, Ok(outcome));
    }

    /// Lands the end of a read, with the chunk that the slot has kept.
    pub(crate) fn land_read(&mut self, key: Key, bytes: usize) {
        let Some(Op::Read { into: mut chunk, .. }) = self.take_op(key) else { return };
        chunk.commit(bytes);
        self.land(key, Ok(Outcome::Read { bytes, chunk }));
    }

    /// Lands the end of a load, with the pipe that the slot has kept.
    pub(crate) fn land_loaded(&mut self, key: Key, bytes: usize) {
        let Some(Op::Load { mut pipe, .. }) = self.take_op(key) else { return };
        pipe.filled(bytes);
        self.land(key, Ok(Outcome::Loaded(pipe)));
    }

    /// Bytes of a pipe have left; those that are still in it.
    pub(crate) fn emptied(&mut self, key: Key, bytes: usize) -> usize {
        let Some(Op::SendPipe { pipe, .. }) = self.op_mut(key) else { return 0 };
        pipe.emptied(bytes);
        pipe.bytes()
    }

    /// What an operation has waited for has come: the backend is to look at it again.
    #[allow(dead_code, reason = "readiness keeps what waits")]
    pub(crate) fn go_on(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.cancelled {
            return self.land(key, Err(Error::Cancelled));
        }
        flight.stage = Stage::Queued;
        self.queue.push_back(Entry::Start(key));
    }

    /// Takes the operation out of a slot that the kernel is done with. One without memory, on the same handle, stays.
    fn take_op(&mut self, key: Key) -> Option<Op> {
        let flight = self.flights.get_mut(key)?;
        let file = flight.op.handle()?;
        Some(std::mem::replace(&mut flight.op, Op::Sync { file }))
    }

    /// Answers a zero-copy send while the kernel keeps its buffer; `land` follows with the notification.
    pub(crate) fn answer_early(&mut self, key: Key, bytes: usize, error: Option<Error>) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.answered = true;
            let sent = Outcome::Sent { bytes, data: crate::Buf::EMPTY };
            self.deliver(key, Completion { result: error.map_or(Ok(sent), Err), more: false });
        }
    }

    /// Lands one of a stream's results while the kernel still holds the stream.
    pub(crate) fn land_part(&mut self, key: Key, outcome: Outcome) {
        self.stats.completions += 1;
        let is_behind = self.deliver(key, Completion { result: Ok(outcome), more: true });
        if is_behind && self.pause(key) {
            self.stats.pauses += 1;
        }
    }

    /// The same for a chunk that was received, which is told of where it is to lie.
    #[inline(always)]
    pub(crate) fn land_chunk(&mut self, key: Key, chunk: Chunk) {
        self.stats.completions += 1;
        let is_behind = self.deliver_with(key, || Completion { result: Ok(Outcome::Received(chunk)), more: true });
        if is_behind && self.pause(key) {
            self.stats.pauses += 1;
        }
    }

    /// Has the kernel give back a stream that it holds. It starts again when its reader has caught up, which may be at once: then as
    /// the backend builds it by then. False if its end is on the way already.
    pub(crate) fn pause(&mut self, key: Key) -> bool {
        let Some(flight) = self.flights.get_mut(key) else { return false };
        let is_held = flight.stage == Stage::Running && !flight.pausing && !flight.cancelled;
        if is_held {
            flight.pausing = true;
            self.queue.push_back(Entry::Cancel(key));
        }
        is_held
    }

    /// The kernel holds the stream no longer, though it has not ended: it is started again now, or when its reader has
    /// caught up.
    pub(crate) fn stream_stopped(&mut self, key: Key) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.pausing = false;
        flight.stage = Stage::Idle;
        if flight.cancelled {
            self.land(key, Err(Error::Cancelled));
        } else if u32::from(flight.unread) < flight.op.queue_max() {
            self.restart(key);
        }
    }

    /// The stream found no free buffer: it is started again when one has come home.
    pub(crate) fn stream_starved(&mut self, key: Key) {
        self.stats.starved += 1;
        let Some(flight) = self.flights.get_mut(key) else { return };
        if u32::from(flight.unread) >= flight.op.queue_max() || flight.wish != Wish::Nothing {
            // It was to be paused anyway. The next buffer is not for one whose reader has not caught up, or of another group.
            return self.stream_stopped(key);
        }
        flight.pausing = false;
        flight.stage = Stage::Starved;
        if flight.cancelled {
            self.land(key, Err(Error::Cancelled));
        } else {
            self.starved.push(key);
            // Before anyone looks for what has come home, and then sleeps.
            self.pool.set_awaited(true);
        }
    }

    /// Whether the kernel has been asked to end the operation, by its owner or to pause it.
    pub(crate) fn is_ending(&self, key: Key) -> bool {
        self.flights.get(key).is_none_or(|flight| flight.cancelled || flight.pausing)
    }

    /// Whether the kernel has been asked to end the operation and has not said its last word. One that waits only for its
    /// memory to come back (zero-copy) has.
    #[allow(dead_code, reason = "readiness ends what it is told to at once")]
    pub(crate) fn awaits_end(&self, key: Key) -> bool {
        self.is_running(key) && self.is_ending(key) && self.flights.get(key).is_some_and(|flight| !flight.answered)
    }

    /// Starts starved streams again if their group has a buffer that nobody leases.
    pub(crate) fn revive_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        // Takes in what has come home from other threads.
        let stats = self.pool.stats();
        let free = [stats.heads > stats.heads_leased, stats.bulk > stats.bulk_leased];
        for key in std::mem::take(&mut self.starved) {
            // One that was cancelled or abandoned while it waited is not in this stage any more.
            let group = match self.flights.get(key) {
                Some(Flight { stage: Stage::Starved, op, .. }) => op.group().map_or(0, |group| group as usize),
                _ => continue,
            };
            match free[group] {
                true => self.restart(key),
                false => self.starved.push(key),
            }
        }
        self.pool.set_awaited(!self.starved.is_empty());
    }

    /// Registers what an accept or open has brought. Without room in the table it is closed at once.
    pub(crate) fn admit(&mut self, resource: Resource) -> Result<Handle, Error> {
        self.handles.insert(resource)
    }

    // ---- bookkeeping ---------------------------------------------------------------------------------------------

    /// Operations that the kernel may still hold.
    pub(crate) fn in_kernel(&self) -> usize {
        self.flights
            .keys()
            .filter(|&key| self.flights.get(key).is_some_and(|flight| flight.stage == Stage::Running))
            .count()
    }

    /// Slots in use.
    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Asks for the end of everything.
    pub(crate) fn cancel_all(&mut self) {
        let keys: Vec<Key> = self.flights.keys().collect();
        for key in keys {
            self.cancel(key);
        }
    }

    /// Forgets all memory that the kernel may look at, without freeing it.
    pub(crate) fn leak(&mut self) {
        self.pool.leak();
        std::mem::forget(std::mem::replace(&mut self.flights, Arena::new(0)));
        std::mem::forget(std::mem::replace(&mut self.handles, Handles::new()));
    }

    fn restart(&mut self, key: Key) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.stage = Stage::Queued;
            flight.change_group();
            self.stats.restarts += 1;
            self.queue.push_back(Entry::Start(key));
        }
    }

    fn deliver(&mut self, key: Key, completion: Completion) -> bool {
        self.deliver_with(key, || completion)
    }

    /// Keeps a result until it is taken. True if as many wait as may.
    #[inline(always)]
    fn deliver_with(&mut self, key: Key, completion: impl FnOnce() -> Completion) -> bool {
        let flight = match self.flights.get_mut(key) {
            Some(flight) if !flight.abandoned && self.results.has_room() => flight,
            _ => return self.dispose(completion()),
        };
        let unread = self.results.insert_with(|| Unread { completion: completion(), next: None });
        let unread = unread.expect("there is room");
        match flight.last.replace(unread) {
            Some(last) => self.results.get_mut(last).expect("a queued result is in the table").next = Some(unread),
            None => flight.first = Some(unread),
        }
        flight.unread += 1;
        if flight.waiter != NOBODY {
            self.woken.push(flight.waiter);
        }
        u32::from(flight.unread) >= flight.op.queue_max()
    }

    /// Throws a result away, and closes what it carries. Nothing waits for it: false.
    fn dispose(&mut self, completion: Completion) -> bool {
        if let Ok(Outcome::Accepted(handle) | Outcome::Opened(handle)) = completion.result {
            self.stats.disposed += 1;
            self.close(handle);
        }
        false
    }

    fn discard_unread(&mut self, key: Key) {
        while let Some(flight) = self.flights.get_mut(key)
            && let Some(first) = flight.first
        {
            let unread = self.results.remove(first).expect("a queued result is in the table");
            flight.taken(unread.next);
            self.dispose(unread.completion);
        }
    }

    /// The token is gone: the slot is free as soon as the kernel is done.
    fn disown(&mut self, key: Key) {
        if let Some(flight) = self.flights.get_mut(key) {
            flight.abandoned = true;
            flight.waiter = NOBODY;
            self.free_if_done(key);
        }
    }

    fn free_if_done(&mut self, key: Key) {
        if self.flights.get(key).is_some_and(|flight| flight.abandoned && flight.stage == Stage::Ended) {
            self.discard_unread(key);
            self.flights.remove(key);
        }
    }

    /// Takes an operation out of the list of those on its handle, by its neighbours there.
    fn unlink(&mut self, handle: Option<Handle>, previous: Option<Key>, next: Option<Key>) {
        let Some(handle) = handle else { return };
        if let Some(next) = next.and_then(|next| self.flights.get_mut(next)) {
            next.previous = previous;
        }
        match previous.and_then(|previous| self.flights.get_mut(previous)) {
            Some(previous) => previous.next = next,
            None => {
                if let Some(entry) = self.handles.entry_mut(handle) {
                    entry.first = next;
                }
                if next.is_none() {
                    self.close_if_idle(handle);
                }
            }
        }
    }

    fn close_if_idle(&mut self, handle: Handle) {
        if self.handles.entry(handle).is_some_and(|entry| entry.closing && entry.first.is_none()) {
            self.handles.remove(handle);
        }
    }

    /// Buffers of a group, for backends.
    pub(crate) fn receive(&self, group: Group) -> crate::buffer::ReceiveGroup<'_> {
        self.pool.receive(group)
    }
}
