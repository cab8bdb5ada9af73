//! [`Machine`]: one simulated computer, shared by the reactors on it; and [`World`], its inside.
//!
//! Time stands still unless it is advanced. All that will happen lies in one queue, ordered by when, then by when it was
//! decided; advancing takes events off it one by one, each at its own moment. Whom an event concerns learns it through its
//! shard's news, which the shard reads when it enters.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::datagram::Packet;
use super::disk::Disk;
use super::landing::Landing;
use super::network::{Kind, Node, Ports};
use super::plan::{Chance, Plan, Random};
use super::queue::Queue;
use super::stream::Segment;
use super::trace::Trace;
use crate::arena::{Arena, Key};
use crate::limits::HANDLES_MAX;
use crate::op::Op;
use crate::os::{code, error_of};
use crate::socket::{ListenError, ListenOptions, Socket};
use crate::{Error, Result};

/// A simulated computer with its network, disk, clock and randomness, all from one seed. Cloning gives another handle on
/// the same machine; not `Send`. See the [module](super) for how programs run on it.
#[derive(Clone)]
pub struct Machine(Rc<RefCell<World>>);

impl Machine {
    /// A calm machine: see [`Plan::CALM`].
    pub fn new(seed: u64) -> Self {
        Machine::with_plan(seed, Plan::default())
    }

    /// A machine that behaves as planned.
    pub fn with_plan(seed: u64, plan: Plan) -> Self {
        Machine(Rc::new(RefCell::new(World::new(seed, plan))))
    }

    /// The seed that it was made with.
    pub fn seed(&self) -> u64 {
        self.world(|world| world.seed)
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    /// The time on this machine: some moment in the past of the real one, and what has been advanced since.
    pub fn now(&self) -> Instant {
        self.world(|world| world.instant(world.now))
    }

    /// How far time has been advanced since the machine was made.
    pub fn elapsed(&self) -> Duration {
        self.world(|world| world.now)
    }

    /// The time of day on this machine: a date between 2020 and 2040 that follows from the seed, and what has been
    /// advanced since.
    pub fn wall_clock(&self) -> SystemTime {
        self.world(|world| world.wall_clock())
    }

    /// When something will happen next if nobody does anything until then: an arrival, the end of a sleep, or the end of
    /// a shard's wait. It is [`now`](Self::now) if a shard has news that it has not read. `None` if everyone waits for
    /// something that cannot happen, or for nothing.
    pub fn next_event(&self) -> Option<Instant> {
        self.world(|world| world.next_event().map(|at| world.instant(at)))
    }

    /// Lets time pass up to `to`; what happens on the way happens at its own moment. Shards learn of it when they enter,
    /// so advancing beyond [`next_event`](Self::next_event) shows what a stalled shard sees. A moment that has passed
    /// changes nothing.
    pub fn advance(&self, to: Instant) {
        self.world(|world| world.advance(world.offset(to)));
    }

    /// Advances to the next event. False if there is none. To be called when all shards are idle; then they are to be
    /// turned again.
    pub fn advance_to_next(&self) -> bool {
        self.world(|world| match world.next_event() {
            Some(at) => {
                world.advance(at);
                true
            }
            None => false,
        })
    }

    // ---- what stands outside the shards ----------------------------------------------------------------------------

    /// Opens `count` listening sockets at one address, as [`listen`](crate::listen) does on a real machine. Each new
    /// connection goes to one of them by chance. Any address is one of this machine's; port zero lets it choose.
    ///
    /// Errors: `AddressInUse`, `Full`.
    pub fn listen(
        &self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        let fail = |error| ListenError { address, error };
        let listen = |world: &mut World| world.listen(address, count, options);
        let descriptors = self.world(listen).map_err(fail)?;
        Ok(descriptors.into_iter().map(Socket::simulated).collect())
    }

    /// Puts a file on the disk, with the directories it lies in. The disk holds `/` and `/tmp` from the start.
    pub fn write_file(&self, path: impl AsRef<Path>, data: impl Into<Vec<u8>>) {
        self.world(|world| world.disk.put(path.as_ref(), data.into(), world.wall_clock()));
    }

    /// What a file on the disk holds; `None` if there is none.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.world(|world| world.disk.get(path.as_ref()).map(<[u8]>::to_vec))
    }

    /// Open sockets and files. Connections that wait in an accept queue count as well.
    pub fn descriptors(&self) -> usize {
        self.world(|world| world.nodes.keys().filter(|&key| !world.is_orphan(key)).count())
    }

    // ---- what happened ---------------------------------------------------------------------------------------------

    /// A hash of all that has happened: when, what, where, and which bytes. The same program with the same seed has the
    /// same hash.
    pub fn trace_hash(&self) -> u64 {
        self.world(|world| world.trace.hash())
    }

    /// From here on keeps what happens as text, one line an event, to find where two runs part.
    pub fn keep_log(&self) {
        self.world(|world| world.trace.keep_log());
    }

    /// The text kept so far: nanoseconds since the start, what, socket or file, and a number that says more.
    pub fn log(&self) -> String {
        self.world(|world| world.trace.log().to_owned())
    }

    /// Looks at the inside, after what has been closed is really closed.
    pub(super) fn world<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.0.borrow_mut();
        world.settle();
        look(&mut world)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("seed", &self.seed()).field("elapsed", &self.elapsed()).finish()
    }
}

/// The number of a reactor on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardId(u32);

/// Names an event that lies ahead.
pub(super) type EventId = Key;

/// What will happen.
pub(super) enum Event {
    /// An operation of a shard has reached its time.
    Due { shard: ShardId, operation: Key },
    /// What an operation has come to reaches its shard.
    Landing { shard: ShardId, node: Option<Key>, operation: Key, landing: Landing },
    /// The cancel of an operation takes effect.
    Cancel { shard: ShardId, operation: Key },
    /// A stream socket asks to be connected.
    Knock { from: Key, to: SocketAddr, tries: u32 },
    /// Something travels from one end of a connection to the other.
    Segment { from: Key, to: Key, segment: Segment },
    /// A datagram arrives.
    Packet(Packet),
    /// A datagram found a closed port, and its sender learns it.
    Unreachable { to: Key },
    /// Operations on a socket go on after a pause.
    Resume { node: Key },
    /// The window at the other end has opened again.
    Reopen { node: Key },
    /// An end that sends or probes in vain gives up.
    GiveUp { node: Key },
}

/// What a shard learns when it enters.
#[derive(Debug)]
pub(super) enum News {
    /// Operations on this socket may get further.
    Node(Key),
    /// This operation has reached its time.
    Due(Key),
    /// This is what an operation has come to, on a socket or on none.
    Landing { node: Option<Key>, operation: Key, landing: Landing },
    /// The cancel of this operation takes effect.
    Cancel(Key),
}

#[derive(Default)]
struct Shard {
    news: VecDeque<News>,
    /// When its present wait ends.
    deadline: Option<Duration>,
    /// It is not turned before.
    stalled_until: Duration,
    /// It finds no descriptor before.
    scarce_until: Duration,
}

/// The inside of a machine.
pub(super) struct World {
    seed: u64,
    start: Instant,
    start_wall_clock: SystemTime,
    pub(super) now: Duration,
    /// How far the wall clock is from the true time of day, and whether ahead of it.
    wall_error: (Duration, bool),
    next_wall_jump: Duration,
    next_leap: Duration,
    events: Queue<Event>,
    pub(super) chance: Chance,
    pub(super) trace: Trace,
    pub(super) nodes: Arena<Node>,
    pub(super) ports: Ports,
    pub(super) disk: Disk,
    /// By number; those that have left are none.
    shards: Vec<Option<Shard>>,
    closed: Closed,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "an instant has no other beginning; only differences are ever shown")]
    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Random::new(seed);
        let twenty_years = 20 * 365 * 24 * 3600;
        let from_2020 = Duration::from_secs(random.below(twenty_years));
        let start_wall_clock = UNIX_EPOCH + Duration::from_secs(1_577_836_800) + from_2020;
        let mut chance = Chance::new(plan, random);
        World {
            seed,
            start: Instant::now(),
            start_wall_clock,
            now: Duration::ZERO,
            wall_error: (Duration::ZERO, true),
            next_wall_jump: chance.until_wall_jump(),
            next_leap: chance.until_leap(),
            events: Queue::new(),
            chance,
            trace: Trace::new(),
            nodes: Arena::new(HANDLES_MAX),
            ports: Ports::default(),
            disk: Disk::new(start_wall_clock),
            shards: Vec::new(),
            closed: Closed::default(),
        }
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    pub(super) fn offset(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    pub(super) fn wall_clock(&self) -> SystemTime {
        let true_time = self.start_wall_clock + self.now;
        match self.wall_error {
            (error, true) => true_time + error,
            (error, false) => true_time - error,
        }
    }

    /// Decides that something will happen.
    pub(super) fn schedule(&mut self, at: Duration, event: Event) -> EventId {
        self.events.push(at.max(self.now), event)
    }

    /// Something will not happen after all.
    pub(super) fn call_off(&mut self, id: EventId) {
        self.events.call_off(id);
    }

    fn next_event(&self) -> Option<Duration> {
        let shards = self.shards.iter().flatten().filter_map(|shard| {
            let next = if shard.news.is_empty() { shard.deadline } else { Some(self.now) };
            match shard.stalled_until > self.now {
                // It may have more to do than its machine knows.
                true => Some(next.map_or(shard.stalled_until, |at| at.max(shard.stalled_until))),
                false => next,
            }
        });
        shards.chain(self.events.next_at()).min().map(|at| at.max(self.now))
    }

    pub(super) fn advance(&mut self, to: Duration) {
        while let Some((at, event)) = self.events.pop(to) {
            self.pass(at);
            self.happen(event);
        }
        self.pass(to);
    }

    /// Moves the clock, which jumps where chance will have it.
    fn pass(&mut self, to: Duration) {
        if to <= self.now {
            return;
        }
        self.now = to;
        if self.now >= self.next_wall_jump {
            self.wall_error = self.chance.wall_jump();
            self.next_wall_jump = self.now.saturating_add(self.chance.until_wall_jump());
            self.trace.record(self.now, "wall-jump", NOTHING, self.wall_error.0.as_nanos() as u64);
        }
        if self.now >= self.next_leap {
            let leap = self.chance.leap();
            self.trace.record(self.now, "leap", NOTHING, leap.as_nanos() as u64);
            self.now += leap;
            self.next_leap = self.now.saturating_add(self.chance.until_leap());
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Due { shard, operation } => {
                self.trace.record(self.now, "due", operation, shard.0.into());
                self.tell(shard, News::Due(operation));
            }
            Event::Landing { shard, node, operation, landing } => {
                self.trace.record(self.now, "landing", operation, shard.0.into());
                self.tell(shard, News::Landing { node, operation, landing });
            }
            Event::Cancel { shard, operation } => self.tell(shard, News::Cancel(operation)),
            Event::Knock { from, to, tries } => self.knock(from, to, tries),
            Event::Segment { from, to, segment } => self.segment(from, to, segment),
            Event::Packet(packet) => self.packet(packet),
            Event::Unreachable { to } => self.unreachable(to),
            Event::Resume { node } => self.mark(node),
            Event::Reopen { node } => self.reopen(node),
            Event::GiveUp { node } => self.give_up(node),
        }
    }

    // ---- shards ----------------------------------------------------------------------------------------------------

    /// A new shard and its own source of randomness.
    pub(super) fn join(&mut self) -> (ShardId, Random) {
        let shard = ShardId(self.shards.len() as u32);
        self.shards.push(Some(Shard::default()));
        (shard, self.chance.fork())
    }

    pub(super) fn leave(&mut self, shard: ShardId) {
        self.shards[shard.0 as usize] = None;
    }

    fn shard_mut(&mut self, shard: ShardId) -> Option<&mut Shard> {
        self.shards.get_mut(shard.0 as usize)?.as_mut()
    }

    /// Notes until when a shard waits. After it has learnt something it may not be turned for a while.
    pub(super) fn wait(&mut self, shard: ShardId, deadline: Option<Duration>, has_learnt: bool) {
        let stall = if has_learnt { self.chance.stall() } else { Duration::ZERO };
        let until = self.now + stall;
        if let Some(shard) = self.shard_mut(shard) {
            shard.deadline = deadline;
            shard.stalled_until = until;
        }
        if !stall.is_zero() {
            self.trace.record(self.now, "stall", NOTHING, shard.0.into());
        }
    }

    /// Whether a shard is not to be turned now.
    pub(super) fn is_stalled(&self, shard: ShardId) -> bool {
        let shard = self.shards.get(shard.0 as usize).and_then(Option::as_ref);
        shard.is_some_and(|shard| shard.stalled_until > self.now)
    }

    /// How many entries a shard's enter takes.
    pub(super) fn submissions(&mut self, shard: ShardId) -> usize {
        let room = self.chance.submissions();
        if room < usize::MAX {
            self.trace.record(self.now, "short-submission", NOTHING, shard.0.into());
        }
        room
    }

    /// Whether a shard finds no descriptor now.
    pub(super) fn lacks_descriptors(&mut self, shard: ShardId) -> bool {
        let now = self.now;
        let is_scarce = self.shard_mut(shard).is_some_and(|shard| shard.scarce_until > now);
        if !is_scarce && let Some(time) = self.chance.lacks_descriptors() {
            self.trace.record(now, "no-descriptors", NOTHING, time.as_nanos() as u64);
            if let Some(shard) = self.shard_mut(shard) {
                shard.scarce_until = now + time;
            }
            return true;
        }
        is_scarce
    }

    /// Whether a receive finds no buffer by chance: each finds one when it comes again.
    pub(super) fn misses_buffer(&mut self, node: Key) -> bool {
        let Some(entry) = self.nodes.get_mut(node) else { return false };
        if std::mem::take(&mut entry.has_starved) || !self.chance.misses_buffer() {
            return false;
        }
        entry.has_starved = true;
        self.trace.record(self.now, "missed-buffer", node, 0);
        true
    }

    /// How the disk fails an operation, if it does.
    pub(super) fn disk_failure(&mut self, node: Key, op: &Op) -> Option<Error> {
        let (writes, works) = match op {
            Op::Write { .. } | Op::Sync { .. } => (true, true),
            Op::Read { .. } => (false, true),
            _ => (false, false),
        };
        let (what, failure) = if writes && self.chance.fills_disk() {
            ("full-disk", Error::NoSpace)
        } else if works && self.chance.breaks_disk() {
            ("disk-error", error_of(code::EIO))
        } else {
            return None;
        };
        self.trace.record(self.now, what, node, 0);
        Some(failure)
    }

    /// The next thing that a shard has not learnt yet.
    pub(super) fn news(&mut self, shard: ShardId) -> Option<News> {
        let news = self.shard_mut(shard)?.news.pop_front()?;
        if let News::Node(node) = news
            && let Some(node) = self.nodes.get_mut(node)
        {
            node.listed = false;
        }
        Some(news)
    }

    /// Operations on a socket may get further: its shard shall look.
    pub(super) fn mark(&mut self, key: Key) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        if let (Some(shard), false) = (node.shard, node.listed) {
            node.listed = true;
            self.tell(shard, News::Node(key));
        }
    }

    /// A socket leaves its shard. A file does not.
    pub(super) fn release(&mut self, key: Key) -> Result<()> {
        match self.nodes.get_mut(key) {
            Some(Node { kind: Kind::File(_), .. }) => Err(Error::Unsupported),
            Some(node) => {
                // News of it that its shard has yet to read find nothing there.
                (node.shard, node.listed) = (None, false);
                Ok(())
            }
            None => Err(Error::Closed),
        }
    }

    fn tell(&mut self, shard: ShardId, news: News) {
        if let Some(shard) = self.shard_mut(shard) {
            shard.news.push_back(news);
        }
    }

    // ---- landings --------------------------------------------------------------------------------------------------

    /// When a completion lands if that is not now: behind all of the same socket that are on their way. It is then one of
    /// them.
    pub(super) fn delay_landing(&mut self, node: Option<Key>) -> Option<Duration> {
        let delay = self.chance.completion();
        if !delay.is_zero() {
            self.trace.record(self.now, "late", node.unwrap_or(NOTHING), delay.as_nanos() as u64);
        }
        let at = self.now + delay;
        let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) else {
            return (at > self.now).then_some(at);
        };
        let at = at.max(node.landed_at);
        if node.landings == 0 && at <= self.now {
            return None;
        }
        node.landings += 1;
        node.landed_at = at;
        Some(at)
    }

    /// When all completions of a socket that are on their way will have landed.
    pub(super) fn landed_at(&self, node: Key) -> Duration {
        self.nodes.get(node).map_or(Duration::ZERO, |node| node.landed_at)
    }

    /// Completions of a socket that are on their way.
    pub(super) fn landings(&self, node: Key) -> u32 {
        self.nodes.get(node).map_or(0, |node| node.landings)
    }

    /// A completion of a socket is no longer on its way.
    pub(super) fn landed(&mut self, node: Key) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.landings = node.landings.saturating_sub(1);
        }
    }

    /// Takes all that a shard has not learnt, and all that was on its way to it.
    pub(super) fn take_landings(&mut self, shard: ShardId) -> Vec<(Key, Landing)> {
        let news = self.shard_mut(shard).map(|shard| std::mem::take(&mut shard.news)).unwrap_or_default();
        let news = news.into_iter().filter_map(|news| match news {
            News::Landing { operation, landing, .. } => Some((operation, landing)),
            _ => None,
        });
        let is_ours = |event: &Event| matches!(event, Event::Landing { shard: of, .. } if *of == shard);
        let events = self.events.take_all(is_ours).into_iter().filter_map(|event| match event {
            Event::Landing { operation, landing, .. } => Some((operation, landing)),
            _ => None,
        });
        news.chain(events).collect()
    }

    // ---- descriptors -----------------------------------------------------------------------------------------------

    /// Puts a socket or file into the table and gives out its one descriptor.
    pub(super) fn open(&mut self, kind: Kind) -> Result<SimDescriptor> {
        let key = self.insert(kind)?;
        Ok(self.descriptor(key))
    }

    pub(super) fn insert(&mut self, kind: Kind) -> Result<Key> {
        self.nodes.insert(Node::new(kind)).map_err(|_| Error::Full)
    }

    pub(super) fn descriptor(&self, node: Key) -> SimDescriptor {
        SimDescriptor { node, local: self.local_address(node).ok(), closed: self.closed.clone() }
    }

    /// Whether a descriptor is one of this machine's.
    pub(super) fn owns(&self, descriptor: &SimDescriptor) -> bool {
        Arc::ptr_eq(&self.closed.0, &descriptor.closed.0)
    }

    /// Really closes what has been closed since the last look.
    pub(super) fn settle(&mut self) {
        if !self.closed.has_any() {
            return;
        }
        for node in self.closed.take() {
            self.close(node);
        }
    }
}

/// An open socket or file of a simulated machine: plain data, so that sockets can be handed from thread to thread like
/// real ones. Dropping it closes it; the machine learns that before it does anything else.
#[derive(Debug)]
pub(crate) struct SimDescriptor {
    pub(super) node: Key,
    local: Option<SocketAddr>,
    closed: Closed,
}

impl SimDescriptor {
    /// The address that it was opened with.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        self.local.ok_or(Error::NotConnected)
    }
}

impl Drop for SimDescriptor {
    fn drop(&mut self) {
        self.closed.put(self.node);
    }
}

/// The list on which descriptors leave their number when they are dropped.
#[derive(Clone, Debug, Default)]
struct Closed(Arc<ClosedList>);

#[derive(Debug, Default)]
struct ClosedList {
    /// So that a look at an empty list costs no lock.
    has_any: AtomicBool,
    list: Mutex<Vec<Key>>,
}

impl Closed {
    fn put(&self, node: Key) {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner).push(node);
        self.0.has_any.store(true, Ordering::Release);
    }

    fn has_any(&self) -> bool {
        self.0.has_any.load(Ordering::Acquire)
    }

    fn take(&self) -> Vec<Key> {
        let mut list = self.0.list.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.has_any.store(false, Ordering::Release);
        std::mem::take(&mut *list)
    }
}

/// What an event of the machine as a whole is about.
const NOTHING: Key = Key { index: u32::MAX, generation: 0 };
