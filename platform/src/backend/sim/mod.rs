//! A simulated machine: network, disk, clock and randomness from one seed, in one thread.
//!
//! A [`Machine`] stands for the computer and its kernel; [`Reactor::simulated`](crate::Reactor::simulated) opens a shard's
//! reactor on it. Nothing blocks and time stands still, so whoever runs the shards lets it pass:
//!
//! 1. Turn every shard, in a fixed order, until none of them has anything left to do at this moment. A turn enters its
//!    reactor, which delivers what has arrived and never waits; `Wait::Until` notes when the shard wants to be turned again
//!    at the latest, `Wait::Forever` that it does not mind, and `Wait::No` that its driver keeps its deadlines.
//! 2. Call [`Machine::advance_to_next`]: time jumps to the next arrival, end of a sleep or noted deadline, and it goes on
//!    at 1. A driver that keeps deadlines of its own compares them with [`Machine::next_event`] and calls
//!    [`Machine::advance`] with the earlier moment. If there is no next event, everyone waits for something that cannot
//!    happen: the program has ended, or is stuck.
//!
//! The same program with the same seed does the same to the byte, and [`Machine::trace_hash`] shows it.
//!
//! ```
//! use shardwise_platform::sim::Machine;
//! use shardwise_platform::{Config, Group, ListenOptions, Op, Outcome, Reactor, Wait};
//!
//! let machine = Machine::new(1);
//! let mut server = Reactor::simulated(&machine, &Config::default());
//! let mut client = Reactor::simulated(&machine, &Config::default());
//!
//! let address = "10.0.0.1:80".parse().unwrap();
//! let socket = machine.listen(address, 1, &ListenOptions::default()).unwrap().remove(0);
//! let listener = server.adopt(socket).unwrap();
//! let accept = server.start(Op::Accept { listener }, 1).unwrap();
//! let socket = client.stream_socket(address).unwrap();
//! let connect = client.start(Op::Connect { socket, peer: address }, 1).unwrap();
//!
//! // Turns both until nobody has news, then lets time pass, until the end of all events.
//! let run = |server: &mut Reactor, client: &mut Reactor| loop {
//!     let mut woken = Vec::new();
//!     server.enter(Wait::Forever, &mut woken);
//!     client.enter(Wait::Forever, &mut woken);
//!     if !machine.advance_to_next() {
//!         break;
//!     }
//! };
//! run(&mut server, &mut client);
//!
//! let Ok(Outcome::Accepted(accepted)) = server.take(&accept, 1).unwrap().result else { panic!() };
//! let Ok(Outcome::Connected) = client.take(&connect, 1).unwrap().result else { panic!() };
//! let receive = server.start(Op::Receive { socket: accepted, group: Group::Heads }, 2).unwrap();
//! let send = client.start(Op::Send { socket, data: "hello".into(), zero_copy: false }, 2).unwrap();
//! run(&mut server, &mut client);
//!
//! assert!(matches!(client.take(&send, 2).unwrap().result, Ok(Outcome::Sent { bytes: 5, .. })));
//! let Ok(Outcome::Received(chunk)) = server.take(&receive, 2).unwrap().result else { panic!() };
//! assert_eq!(&*chunk, b"hello");
//! assert!(machine.elapsed().as_millis() < 1, "virtual time");
//! # for token in [accept, receive] { server.abandon(token) }
//! ```

mod datagram;
mod disk;
pub mod limits;
mod machine;
mod network;
mod plan;
mod stream;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

pub use machine::Machine;
pub(crate) use machine::SimDescriptor;
use machine::{Event, EventId, News, ShardId, World};
use network::Kind;
pub use plan::Plan;
use plan::Random;
use stream::{Found, Stream};

use crate::arena::Key;
use crate::flight::{Core, Entry};
use crate::handle::Resource;
use crate::op::{Message, Op, Outcome, Wait};
use crate::os::{code, error_of};
use crate::socket::{ListenError, ListenOptions, Socket, SocketOption};
use crate::{Buf, Error, Group, Result};

/// One shard's backend: the operations that it has begun on the machine and that have not ended.
pub(crate) struct Sim {
    machine: Machine,
    shard: ShardId,
    /// What the shard's program draws from.
    random: Random,
    ongoing: Ongoing,
}

#[derive(Default)]
struct Ongoing {
    /// Operations that wait for something to happen to a socket, oldest first.
    waiting: BTreeMap<Key, VecDeque<Waiting>>,
    /// Operations that wait for a point in time: sleeps, files, and zero-copy sends whose memory is still in use.
    due: BTreeMap<Key, EventId>,
}

/// An operation that waits for something to happen to a socket.
struct Waiting {
    operation: Key,
    /// Bytes that a send has got rid of.
    sent: usize,
}

/// Whether an operation goes on waiting.
#[derive(PartialEq, Eq)]
enum Step {
    Waits,
    Done,
}

/// The two directions of a socket: operations of one direction take turns, those of different ones do not wait for each
/// other.
#[derive(Clone, Copy)]
enum Direction {
    In = 0,
    Out = 1,
}

impl Sim {
    pub(crate) fn new(machine: &Machine) -> Self {
        let (shard, random) = machine.world(World::join);
        Sim { machine: machine.clone(), shard, random, ongoing: Ongoing::default() }
    }

    /// Begins what is queued and lands what has happened. Never waits: notes until when the shard would.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        let (shard, ongoing) = (self.shard, &mut self.ongoing);
        core.stats.enters += 1;
        self.machine.world(|world| {
            loop {
                while let Some(entry) = core.next_entry() {
                    core.stats.submissions += 1;
                    match entry {
                        Entry::Start(operation) => ongoing.begin(core, world, shard, operation),
                        Entry::Cancel(operation) => ongoing.cancel(core, world, operation),
                    }
                }
                // What has just ended may have closed something, and what has just begun may be due already.
                world.settle();
                world.advance(world.now);
                match world.news(shard) {
                    Some(News::Node(node)) => ongoing.progress(core, world, shard, node),
                    Some(News::Due(operation)) => ongoing.due(core, world, operation),
                    None => break,
                }
            }
            world.wait(
                shard,
                match wait {
                    Wait::Until(at) => Some(world.offset(at)),
                    Wait::No | Wait::Forever => None,
                },
            );
        });
    }

    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        self.machine.listen(address, count, options)
    }

    /// Ends what only time would end: the clock does not move while a reactor is dropped.
    pub(crate) fn give_up(&mut self, core: &mut Core) {
        self.machine.world(|world| {
            for (operation, event) in std::mem::take(&mut self.ongoing.due) {
                world.call_off(event);
                core.land_sent(operation, 0);
            }
        });
    }

    pub(crate) fn now(&self) -> Instant {
        self.machine.now()
    }

    pub(crate) fn wall_clock(&self) -> SystemTime {
        self.machine.wall_clock()
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random.next()
    }

    pub(crate) fn stream_socket(&mut self) -> Result<SimDescriptor> {
        self.machine.world(|world| world.open(Kind::Stream(Stream::new())))
    }

    pub(crate) fn datagram_socket(&mut self, local: SocketAddr) -> Result<SimDescriptor> {
        self.machine.world(|world| world.bind_datagrams(local))
    }

    /// Whether a descriptor is one of this machine's.
    pub(crate) fn owns(&self, descriptor: &SimDescriptor) -> bool {
        self.machine.world(|world| world.owns(descriptor))
    }

    pub(crate) fn shutdown(&self, descriptor: &SimDescriptor, how: Shutdown) -> Result<()> {
        self.machine.world(|world| world.shutdown(descriptor.node, how))
    }

    pub(crate) fn local_address(&self, descriptor: &SimDescriptor) -> Result<SocketAddr> {
        self.machine.world(|world| world.local_address(descriptor.node))
    }

    pub(crate) fn peer_address(&self, descriptor: &SimDescriptor) -> Result<SocketAddr> {
        self.machine.world(|world| world.peer_address(descriptor.node))
    }

    pub(crate) fn set_option(&self, descriptor: &SimDescriptor, option: SocketOption) -> Result<()> {
        self.machine.world(|world| world.set_option(descriptor.node, option))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.machine.world(|world| world.leave(self.shard));
    }
}

impl Ongoing {
    fn begin(&mut self, core: &mut Core, world: &mut World, shard: ShardId, operation: Key) {
        let Some(op) = core.op(operation) else { return };
        let at = match op {
            Op::Sleep { until } => world.offset(*until),
            Op::Open { .. } => world.now + world.chance.disk(),
            op => match (node_of(core, op), is_for_files(op)) {
                (Ok(_), true) => world.now + world.chance.disk(),
                (Ok(node), false) => return self.begin_on(core, world, shard, node, operation),
                (Err(error), _) => return core.land(operation, Err(error)),
            },
        };
        self.at(world, shard, at, operation);
    }

    /// Begins what happens to a socket.
    fn begin_on(&mut self, core: &mut Core, world: &mut World, shard: ShardId, node: Key, operation: Key) {
        if let Some(node) = world.nodes.get_mut(node) {
            node.shard = Some(shard);
        }
        if let Some(&Op::Connect { peer, .. }) = core.op(operation) {
            let begun = match world.kind(node) {
                Ok(Kind::Stream(_)) => world.connect(node, peer),
                _ => match world.connect_datagrams(node, peer) {
                    Ok(()) => return core.land(operation, Ok(Outcome::Connected)),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = begun {
                return core.land(operation, Err(error));
            }
        }
        self.waiting.entry(node).or_default().push_back(Waiting { operation, sent: 0 });
        self.progress(core, world, shard, node);
    }

    /// Sees what the operations on a socket can do now.
    fn progress(&mut self, core: &mut Core, world: &mut World, shard: ShardId, node: Key) {
        let Some(mut list) = self.waiting.remove(&node) else { return };
        let mut blocked = [false; 2];
        list.retain_mut(|waiting| {
            let Some(op) = core.op(waiting.operation) else { return false };
            let blocked = &mut blocked[direction(op) as usize];
            if !*blocked {
                *blocked = self.step(core, world, shard, node, waiting) == Step::Waits;
                return *blocked;
            }
            true
        });
        if !list.is_empty() {
            self.waiting.insert(node, list);
        }
    }

    fn step(&mut self, core: &mut Core, world: &mut World, shard: ShardId, node: Key, waiting: &mut Waiting) -> Step {
        let operation = waiting.operation;
        match core.op(operation) {
            Some(Op::Accept { .. }) => accept(core, world, node, operation),
            Some(&Op::Receive { group, .. }) => receive(core, world, node, operation, group),
            Some(&Op::ReceiveMessage { group, .. }) => receive_message(core, world, node, operation, group),
            Some(Op::Connect { .. }) => match world.connected(node) {
                None => Step::Waits,
                Some(result) => land(core, operation, result.map(|()| Outcome::Connected)),
            },
            Some(Op::SendMessage { message, .. }) => match world.send_message(node, message) {
                Ok(bytes) => land_sent(core, operation, bytes),
                Err(error) => land(core, operation, Err(error)),
            },
            Some(Op::Send { .. } | Op::SendList { .. }) => self.send(core, world, shard, node, waiting),
            _ => land(core, operation, Err(Error::Invalid)),
        }
    }

    /// Gets rid of as much of a send as the socket takes.
    fn send(&mut self, core: &mut Core, world: &mut World, shard: ShardId, node: Key, waiting: &mut Waiting) -> Step {
        let operation = waiting.operation;
        let Some(op) = core.op(operation) else { return Step::Done };
        let zero_copy = matches!(op, Op::Send { zero_copy: true, .. });
        match send(world, node, op, &mut waiting.sent) {
            Ok(Step::Waits) => Step::Waits,
            Ok(Step::Done) if zero_copy => {
                core.answer_early(operation, waiting.sent, None);
                let notified = world.now + world.chance.notification();
                self.at(world, shard, notified, operation);
                Step::Done
            }
            Ok(Step::Done) => land_sent(core, operation, waiting.sent),
            // What has left is told first; the error comes with the next send.
            Err(_) if waiting.sent > 0 => land_sent(core, operation, waiting.sent),
            Err(error) => land(core, operation, Err(error)),
        }
    }

    /// An operation waits for a point in time.
    fn at(&mut self, world: &mut World, shard: ShardId, at: Duration, operation: Key) {
        let event = world.schedule(at, Event::Due { shard, operation });
        self.due.insert(operation, event);
    }

    /// The time of an operation has come. One that has been cancelled meanwhile is no more.
    fn due(&mut self, core: &mut Core, world: &mut World, operation: Key) {
        if self.due.remove(&operation).is_none() {
            return;
        }
        match core.op(operation) {
            None => {}
            Some(Op::Sleep { .. }) => core.land(operation, Ok(Outcome::Elapsed)),
            // The notification of a zero-copy send.
            Some(Op::Send { .. }) => core.land_sent(operation, 0),
            Some(_) => file(core, world, operation),
        }
    }

    fn cancel(&mut self, core: &mut Core, world: &mut World, operation: Key) {
        let Some(op) = core.op(operation) else { return };
        let (node, is_send, is_stream) = (node_of(core, op), matches!(op, Op::Send { .. }), op.is_stream());
        if let Some(&event) = self.due.get(&operation) {
            // A zero-copy send has had its answer, and nothing brings its memory back earlier.
            if !is_send {
                self.due.remove(&operation);
                world.call_off(event);
                core.land(operation, Err(Error::Cancelled));
            }
            return;
        }
        let Ok(node) = node else { return };
        let Some(list) = self.waiting.get_mut(&node) else { return };
        let Some(index) = list.iter().position(|waiting| waiting.operation == operation) else { return };
        let sent = list.remove(index).map_or(0, |waiting| waiting.sent);
        if list.is_empty() {
            self.waiting.remove(&node);
        }
        match sent {
            _ if is_stream => core.stream_stopped(operation),
            0 => core.land(operation, Err(Error::Cancelled)),
            sent => core.land_sent(operation, sent),
        }
    }
}

fn land(core: &mut Core, operation: Key, result: Result<Outcome>) -> Step {
    core.land(operation, result);
    Step::Done
}

fn land_sent(core: &mut Core, operation: Key, bytes: usize) -> Step {
    core.land_sent(operation, bytes);
    Step::Done
}

/// The node that an operation works on.
fn node_of(core: &Core, op: &Op) -> Result<Key> {
    let handle = op.handle().ok_or(Error::Invalid)?;
    match &core.handles.entry(handle).ok_or(Error::Closed)?.resource {
        Resource::Sim(descriptor) => Ok(descriptor.node),
        _ => Err(Error::Unsupported),
    }
}

fn is_for_files(op: &Op) -> bool {
    matches!(op, Op::Open { .. } | Op::Read { .. } | Op::Write { .. } | Op::Sync { .. } | Op::Stat { .. })
}

fn direction(op: &Op) -> Direction {
    match op {
        Op::Send { .. } | Op::SendList { .. } | Op::SendMessage { .. } | Op::Connect { .. } => Direction::Out,
        _ => Direction::In,
    }
}

/// Gives a socket what it takes of a send's buffers, after the `sent` bytes that it has taken already.
fn send(world: &mut World, node: Key, op: &Op, sent: &mut usize) -> Result<Step> {
    let mut skip = *sent;
    for buf in bufs(op) {
        let rest = &buf[skip.min(buf.len())..];
        skip -= buf.len() - rest.len();
        let taken = world.send(node, rest, *sent > 0)?;
        *sent += taken;
        if taken < rest.len() {
            return Ok(Step::Waits);
        }
    }
    Ok(Step::Done)
}

/// What a send carries.
fn bufs(op: &Op) -> impl Iterator<Item = &Buf> {
    let (one, list) = match op {
        Op::Send { data, .. } => (Some(data), None),
        Op::SendList { list, .. } => (None, Some(list.iter())),
        _ => (None, None),
    };
    one.into_iter().chain(list.into_iter().flatten())
}

fn accept(core: &mut Core, world: &mut World, node: Key, operation: Key) -> Step {
    while !core.is_ending(operation) {
        match world.accept(node) {
            Ok(None) => return Step::Waits,
            Ok(Some(descriptor)) => match core.admit(Resource::Sim(descriptor)) {
                Ok(handle) => core.land_part(operation, Outcome::Accepted(handle)),
                Err(_) => core.stats.disposed += 1,
            },
            Err(error) => return land(core, operation, Err(error)),
        }
    }
    core.stream_stopped(operation);
    Step::Done
}

fn receive(core: &mut Core, world: &mut World, node: Key, operation: Key, group: Group) -> Step {
    while !core.is_ending(operation) {
        match world.find(node) {
            Found::Nothing => return Step::Waits,
            Found::End => return land(core, operation, Ok(Outcome::EndOfInput)),
            Found::Failure(error) => return land(core, operation, Err(error)),
            Found::Bytes => {}
        }
        let filled = core.receive(group).fill(|room| Ok::<_, Infallible>((world.receive(node, room), ())));
        let Some(Ok((chunk, ()))) = filled else {
            core.stream_starved(operation);
            return Step::Done;
        };
        core.land_part(operation, Outcome::Received(chunk));
    }
    core.stream_stopped(operation);
    Step::Done
}

fn receive_message(core: &mut Core, world: &mut World, node: Key, operation: Key, group: Group) -> Step {
    while !core.is_ending(operation) {
        match world.find_packet(node) {
            Ok(None) => return Step::Waits,
            Ok(Some(_)) => {}
            Err(error) => return land(core, operation, Err(error)),
        }
        let filled = core.receive(group).fill(|room| {
            let packet = world.take_packet(node).ok_or(Error::Closed)?;
            let count = packet.data.len().min(room.len());
            room[..count].copy_from_slice(&packet.data[..count]);
            Ok::<_, Error>((count, packet))
        });
        let Some(Ok((data, packet))) = filled else {
            core.stream_starved(operation);
            return Step::Done;
        };
        let truncated = data.len() < packet.data.len();
        let message = Message { data, peer: packet.from, segment: None, ecn: packet.ecn, truncated };
        core.land_part(operation, Outcome::Message(Box::new(message)));
    }
    core.stream_stopped(operation);
    Step::Done
}

/// Does what an operation asks of the disk.
fn file(core: &mut Core, world: &mut World, operation: Key) {
    match try_file(core, world, operation) {
        Ok(Done::Read(bytes)) => core.land_read(operation, bytes),
        Ok(Done::Written(bytes)) => core.land_sent(operation, bytes),
        Ok(Done::Outcome(outcome)) => core.land(operation, Ok(outcome)),
        Err(error) => core.land(operation, Err(error)),
    }
}

/// What an operation on a file has brought.
enum Done {
    Read(usize),
    Written(usize),
    Outcome(Outcome),
}

fn try_file(core: &mut Core, world: &mut World, operation: Key) -> Result<Done> {
    let now = world.wall_clock();
    let op = core.op(operation).ok_or(Error::Closed)?;
    if let Op::Open { file } = op {
        let opened = world.disk.open(file, now)?;
        let descriptor = world.open(Kind::File(opened))?;
        world.trace.record(world.now, "open", descriptor.node, 0);
        return core.admit(Resource::Sim(descriptor)).map(|handle| Done::Outcome(Outcome::Opened(handle)));
    }
    let node = node_of(core, op)?;
    let opened = match world.kind(node)? {
        Kind::File(opened) => opened.clone(),
        _ if matches!(op, Op::Stat { .. }) => return Err(Error::Unsupported),
        _ if matches!(op, Op::Sync { .. }) => return Err(Error::Invalid),
        _ => return Err(error_of(code::ESPIPE)),
    };
    match core.op_mut(operation).ok_or(Error::Closed)? {
        Op::Read { offset, into, .. } => {
            let available = world.disk.available(&opened, *offset)?.min(into.room());
            let count = world.chance.receive(available);
            world.disk.read(&opened, *offset, &mut into.spare()[..count]);
            world.trace.record(world.now, "read", node, count as u64);
            Ok(Done::Read(count))
        }
        Op::Write { offset, data, .. } => {
            let count = world.chance.send(data.len());
            world.disk.write(&opened, *offset, &data[..count], now)?;
            world.trace.record_bytes(world.now, "write", node, &data[..count]);
            Ok(Done::Written(count))
        }
        Op::Sync { .. } => Ok(Done::Outcome(Outcome::Synced)),
        Op::Stat { .. } => Ok(Done::Outcome(Outcome::Stat(world.disk.stat(&opened)))),
        _ => Err(Error::Invalid),
    }
}
