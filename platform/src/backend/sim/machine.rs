//! [`Machine`]: one simulated computer, shared by the reactors on it; and [`World`], its inside.
//!
//! Time stands still unless it is advanced. All that will happen lies in one queue, ordered by when, then by when it was
//! decided; advancing takes events off it one by one, each at its own moment. Whom an event concerns learns it through its
//! shard's news, which the shard reads when it enters.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::datagram::Packet;
use super::disk::Disk;
use super::network::{Kind, Node, Ports};
use super::plan::{Chance, Plan, Random};
use super::stream::Segment;
use super::trace::Trace;
use crate::arena::{Arena, Key};
use crate::limits::HANDLES_MAX;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShardId(u32);

/// Names an event: when, and how many were decided before it.
pub(super) type EventId = (Duration, u64);

/// What will happen.
pub(super) enum Event {
    /// An operation of a shard has reached its time.
    Due { shard: ShardId, operation: Key },
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
}

/// What a shard learns when it enters.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// Operations on this socket may get further.
    Node(Key),
    /// This operation has reached its time.
    Due(Key),
}

#[derive(Default)]
struct Shard {
    news: VecDeque<News>,
    /// When its present wait ends.
    deadline: Option<Duration>,
}

/// The inside of a machine.
pub(super) struct World {
    seed: u64,
    start: Instant,
    start_wall_clock: SystemTime,
    pub(super) now: Duration,
    events: BTreeMap<EventId, Event>,
    decided: u64,
    pub(super) chance: Chance,
    pub(super) trace: Trace,
    pub(super) nodes: Arena<Node>,
    pub(super) ports: Ports,
    pub(super) disk: Disk,
    shards: BTreeMap<ShardId, Shard>,
    shards_made: u32,
    closed: Closed,
}

impl World {
    #[allow(clippy::disallowed_methods, reason = "an instant has no other beginning; only differences are ever shown")]
    fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Random::new(seed);
        let twenty_years = 20 * 365 * 24 * 3600;
        let from_2020 = Duration::from_secs(random.below(twenty_years));
        let start_wall_clock = UNIX_EPOCH + Duration::from_secs(1_577_836_800) + from_2020;
        World {
            seed,
            start: Instant::now(),
            start_wall_clock,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            decided: 0,
            chance: Chance::new(plan, random),
            trace: Trace::new(),
            nodes: Arena::new(HANDLES_MAX),
            ports: Ports::default(),
            disk: Disk::new(start_wall_clock),
            shards: BTreeMap::new(),
            shards_made: 0,
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
        self.start_wall_clock + self.now
    }

    /// Decides that something will happen.
    pub(super) fn schedule(&mut self, at: Duration, event: Event) -> EventId {
        self.decided += 1;
        let id = (at.max(self.now), self.decided);
        self.events.insert(id, event);
        id
    }

    /// Something will not happen after all.
    pub(super) fn call_off(&mut self, id: EventId) {
        self.events.remove(&id);
    }

    fn next_event(&self) -> Option<Duration> {
        if self.shards.values().any(|shard| !shard.news.is_empty()) {
            return Some(self.now);
        }
        let deadlines = self.shards.values().filter_map(|shard| shard.deadline);
        let event = self.events.first_key_value().map(|(id, _)| id.0);
        deadlines.chain(event).min().map(|at| at.max(self.now))
    }

    pub(super) fn advance(&mut self, to: Duration) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= to
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = self.now.max(to);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Due { shard, operation } => {
                self.trace.record(self.now, "due", operation, shard.0.into());
                self.tell(shard, News::Due(operation));
            }
            Event::Knock { from, to, tries } => self.knock(from, to, tries),
            Event::Segment { from, to, segment } => self.segment(from, to, segment),
            Event::Packet(packet) => self.packet(packet),
            Event::Unreachable { to } => self.unreachable(to),
            Event::Resume { node } => self.mark(node),
        }
    }

    // ---- shards ----------------------------------------------------------------------------------------------------

    /// A new shard and its own source of randomness.
    pub(super) fn join(&mut self) -> (ShardId, Random) {
        let shard = ShardId(self.shards_made);
        self.shards_made += 1;
        self.shards.insert(shard, Shard::default());
        (shard, self.chance.fork())
    }

    pub(super) fn leave(&mut self, shard: ShardId) {
        self.shards.remove(&shard);
    }

    /// Notes until when a shard waits.
    pub(super) fn wait(&mut self, shard: ShardId, deadline: Option<Duration>) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.deadline = deadline;
        }
    }

    /// The next thing that a shard has not learnt yet.
    pub(super) fn news(&mut self, shard: ShardId) -> Option<News> {
        let news = self.shards.get_mut(&shard)?.news.pop_front()?;
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

    fn tell(&mut self, shard: ShardId, news: News) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.news.push_back(news);
        }
    }

    // ---- descriptors -----------------------------------------------------------------------------------------------

    /// Puts a socket or file into the table and gives out its one descriptor.
    pub(super) fn open(&mut self, kind: Kind) -> Result<SimDescriptor> {
        let key = self.insert(kind)?;
        Ok(self.descriptor(key))
    }

    pub(super) fn insert(&mut self, kind: Kind) -> Result<Key> {
        self.nodes.insert(Node { kind, shard: None, listed: false }).map_err(|_| Error::Full)
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
struct Closed(Arc<Mutex<Vec<Key>>>);

impl Closed {
    fn put(&self, node: Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(node);
    }

    fn take(&self) -> Vec<Key> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
