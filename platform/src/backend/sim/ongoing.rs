//! The operations that a shard has begun on the machine and that have not ended: what they wait for, how far they are, and
//! how they end. What happens to a socket or a file is asked of the [`World`]; what it has come to goes to the shard as a
//! [`Landing`], at once or late.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use super::landing::Landing;
use super::limits::{LANDINGS_MAX, PARTS_AFTER_CANCEL_MAX};
use super::machine::{Event, EventId, News, ShardId, World};
use super::network::Kind;
use super::stream::Found;
use crate::arena::Key;
use crate::flight::{Core, Entry};
use crate::handle::Resource;
use crate::op::{Message, Op, Outcome};
use crate::os::{code, error_of};
use crate::{Buf, Error, Group, Result};

/// The operations of one shard.
pub(super) struct Ongoing {
    shard: ShardId,
    /// Operations that wait for something to happen to a socket, by the index of its node.
    lines: Vec<Line>,
    /// Operations that wait for a point in time (sleeps, files, and zero-copy sends whose memory is still in use), by the
    /// index of their slot.
    due: Vec<Option<(Key, EventId)>>,
}

/// Who waits for one socket.
struct Line {
    node: Key,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
}

/// An operation that waits for something to happen to a socket.
struct Waiting {
    operation: Key,
    /// Bytes that a send has got rid of.
    sent: usize,
    /// A cancel is on its way to it, and until then it goes on.
    is_doomed: bool,
    /// Its completions since.
    parts_since: u32,
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

impl Ongoing {
    pub(super) fn new(shard: ShardId) -> Self {
        Ongoing { shard, lines: Vec::new(), due: Vec::new() }
    }

    // ---- what the shard asks for -----------------------------------------------------------------------------------

    pub(super) fn submit(&mut self, core: &mut Core, world: &mut World, entry: Entry) {
        match entry {
            Entry::Start(operation) => self.begin(core, world, operation),
            Entry::Cancel(operation) => self.ask_for_end(core, world, operation),
        }
    }

    fn begin(&mut self, core: &mut Core, world: &mut World, operation: Key) {
        let Some(op) = core.op(operation) else { return };
        let at = match op {
            Op::Sleep { until } => world.offset(*until),
            Op::Open { .. } => world.now + world.chance.disk(),
            op => match (node_of(core, op), is_for_files(op)) {
                (Ok(_), true) => world.now + world.chance.disk(),
                (Ok(node), false) => return self.begin_on(core, world, node, operation),
                (Err(error), _) => return core.land(operation, Err(error)),
            },
        };
        self.at(world, at, operation);
    }

    /// Begins what happens to a socket.
    fn begin_on(&mut self, core: &mut Core, world: &mut World, node: Key, operation: Key) {
        if let Some(node) = world.nodes.get_mut(node) {
            node.shard = Some(self.shard);
        }
        if let Some(&Op::Connect { peer, .. }) = core.op(operation) {
            let begun = match world.kind(node) {
                Ok(Kind::Stream(_)) => world.connect(node, peer),
                _ => match world.connect_datagrams(node, peer) {
                    Ok(()) => return self.post(core, world, node, operation, Landing::Ended(Ok(Outcome::Connected))),
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = begun {
                return self.post(core, world, node, operation, error.into());
            }
        }
        let waiting = Waiting { operation, sent: 0, is_doomed: false, parts_since: 0 };
        self.line(node).waiting.push_back(waiting);
        self.progress(core, world, node);
    }

    /// Somebody wants an operation to end. That takes effect now or, if chance will have it, later; an operation whose
    /// result is on its way has ended already. A late cancel may find a stream that has stopped by itself meanwhile and runs
    /// anew, which then is stopped and started once more.
    fn ask_for_end(&mut self, core: &mut Core, world: &mut World, operation: Key) {
        if self.waiting(core, operation).is_none() && !self.is_due(operation) {
            return;
        }
        let delay = world.chance.cancel();
        if delay.is_zero() {
            return self.end(core, world, operation);
        }
        if let Some(waiting) = self.waiting(core, operation) {
            (waiting.is_doomed, waiting.parts_since) = (true, 0);
        }
        world.trace.record(world.now, "late-cancel", operation, delay.as_nanos() as u64);
        world.schedule(world.now + delay, Event::Cancel { shard: self.shard, operation });
    }

    // ---- what the machine tells ------------------------------------------------------------------------------------

    pub(super) fn learn(&mut self, core: &mut Core, world: &mut World, news: News) {
        match news {
            News::Node(node) => self.progress(core, world, node),
            News::Due(operation) => self.due(core, world, operation),
            News::Cancel(operation) => self.end(core, world, operation),
            News::Landing { node, operation, landing } => {
                landing.land(core, operation);
                if let Some(node) = node {
                    let was_full = world.landings(node) >= LANDINGS_MAX;
                    world.landed(node);
                    if was_full {
                        self.progress(core, world, node);
                    }
                }
            }
        }
    }

    /// Sees what the operations on a socket can do now.
    fn progress(&mut self, core: &mut Core, world: &mut World, node: Key) {
        let Some(line) = self.lines.get_mut(node.index as usize).filter(|line| line.node == node) else { return };
        let mut waiting = std::mem::take(&mut line.waiting);
        let mut blocked = [false; 2];
        waiting.retain_mut(|waiting| {
            let Some(op) = core.op(waiting.operation) else { return false };
            let blocked = &mut blocked[direction(op) as usize];
            if !*blocked {
                *blocked = self.step(core, world, node, waiting) == Step::Waits;
                return *blocked;
            }
            true
        });
        self.line(node).waiting = waiting;
    }

    fn step(&mut self, core: &mut Core, world: &mut World, node: Key, waiting: &mut Waiting) -> Step {
        let operation = waiting.operation;
        let landing = match core.op(operation) {
            Some(Op::Accept { .. }) => return self.accept(core, world, node, waiting),
            Some(&Op::Receive { group, .. }) => return self.receive(core, world, node, waiting, group),
            Some(&Op::ReceiveMessage { group, .. }) => return self.receive_message(core, world, node, waiting, group),
            Some(Op::Send { .. } | Op::SendList { .. }) => return self.send(core, world, node, waiting),
            Some(Op::Connect { .. }) => match world.connected(node) {
                None => return Step::Waits,
                Some(result) => Landing::Ended(result.map(|()| Outcome::Connected)),
            },
            Some(Op::SendMessage { message, .. }) => match world.send_message(node, message) {
                Ok(bytes) => Landing::Sent(bytes),
                Err(error) => error.into(),
            },
            _ => Error::Unsupported.into(),
        };
        self.done(core, world, node, operation, landing)
    }

    /// Gets rid of as much of a send as the socket takes.
    fn send(&mut self, core: &mut Core, world: &mut World, node: Key, waiting: &mut Waiting) -> Step {
        let operation = waiting.operation;
        let Some(op) = core.op(operation) else { return Step::Done };
        let zero_copy = matches!(op, Op::Send { zero_copy: true, .. });
        let landing = match send(world, node, op, &mut waiting.sent) {
            Ok(Step::Waits) => return Step::Waits,
            Ok(Step::Done) if zero_copy => {
                self.post(core, world, node, operation, Landing::Early(waiting.sent));
                let notified = (world.now + world.chance.notification()).max(world.landed_at(node));
                self.at(world, notified, operation);
                return Step::Done;
            }
            Ok(Step::Done) => Landing::Sent(waiting.sent),
            // What has left is told first; the error comes with the next send.
            Err(_) if waiting.sent > 0 => Landing::Sent(waiting.sent),
            Err(error) => error.into(),
        };
        self.done(core, world, node, operation, landing)
    }

    fn accept(&mut self, core: &mut Core, world: &mut World, node: Key, waiting: &mut Waiting) -> Step {
        let operation = waiting.operation;
        while waiting.goes_on(core, world, node) {
            if world.has_connection(node) && world.lacks_descriptors(self.shard) {
                return self.done(core, world, node, operation, Error::OutOfDescriptors.into());
            }
            match world.accept(node) {
                Ok(None) => break,
                Ok(Some(descriptor)) => self.part(core, world, node, waiting, Landing::Accepted(descriptor)),
                Err(error) => return self.done(core, world, node, operation, error.into()),
            }
        }
        Step::Waits
    }

    fn receive(&mut self, core: &mut Core, world: &mut World, node: Key, waiting: &mut Waiting, group: Group) -> Step {
        let operation = waiting.operation;
        while waiting.goes_on(core, world, node) {
            match world.find(node) {
                Found::Nothing => break,
                Found::End => {
                    return self.done(core, world, node, operation, Landing::Ended(Ok(Outcome::EndOfInput)));
                }
                Found::Failure(error) => return self.done(core, world, node, operation, error.into()),
                Found::Bytes => {}
            }
            let filled = match world.misses_buffer(node) {
                true => None,
                false => core.receive(group).fill(|room| Ok::<_, Infallible>((world.receive(node, room), ()))),
            };
            let Some(Ok((chunk, ()))) = filled else {
                return self.done(core, world, node, operation, Landing::Starved);
            };
            self.part(core, world, node, waiting, Landing::Part(Outcome::Received(chunk)));
        }
        Step::Waits
    }

    fn receive_message(
        &mut self,
        core: &mut Core,
        world: &mut World,
        node: Key,
        waiting: &mut Waiting,
        group: Group,
    ) -> Step {
        let operation = waiting.operation;
        while waiting.goes_on(core, world, node) {
            match world.find_packet(node) {
                Ok(None) => break,
                Ok(Some(_)) => {}
                Err(error) => return self.done(core, world, node, operation, error.into()),
            }
            let filled = match world.misses_buffer(node) {
                true => None,
                false => core.receive(group).fill(|room| {
                    let (packet, local) = world.take_packet(node).ok_or(Error::Closed)?;
                    let count = packet.data.len().min(room.len());
                    room[..count].copy_from_slice(&packet.data[..count]);
                    Ok::<_, Error>((count, (packet, local)))
                }),
            };
            let Some(Ok((data, (packet, local)))) = filled else {
                return self.done(core, world, node, operation, Landing::Starved);
            };
            let truncated = data.len() < packet.data.len();
            let message = Message { data, peer: packet.from, segment: None, ecn: packet.ecn, truncated, local };
            self.part(core, world, node, waiting, Landing::Part(Outcome::Message(Box::new(message))));
        }
        Step::Waits
    }

    /// The time of an operation has come. One that has been cancelled meanwhile is no more.
    fn due(&mut self, core: &mut Core, world: &mut World, operation: Key) {
        if self.take_due(operation).is_none() {
            return;
        }
        let landing = match core.op(operation) {
            None => return,
            Some(Op::Sleep { .. }) => Landing::Ended(Ok(Outcome::Elapsed)),
            // The notification of a zero-copy send.
            Some(Op::Send { .. }) => return core.land_sent(operation, 0),
            Some(_) => file(core, world, self.shard, operation).unwrap_or_else(Landing::from),
        };
        self.post_on(core, world, None, operation, landing);
    }

    // ---- how operations end ----------------------------------------------------------------------------------------

    /// Ends an operation that was cancelled, unless it has ended by itself.
    fn end(&mut self, core: &mut Core, world: &mut World, operation: Key) {
        let Some(op) = core.op(operation) else { return };
        let (node, is_send, is_stream) = (node_of(core, op), matches!(op, Op::Send { .. }), op.is_stream());
        if self.is_due(operation) {
            // A zero-copy send has had its answer, and nothing brings its memory back earlier.
            if !is_send && let Some(event) = self.take_due(operation) {
                world.call_off(event);
                self.post_on(core, world, None, operation, Error::Cancelled.into());
            }
            return;
        }
        let Ok(node) = node else { return };
        let waiting = &mut self.line(node).waiting;
        let Some(index) = waiting.iter().position(|waiting| waiting.operation == operation) else {
            return;
        };
        let landing = match waiting.remove(index).map_or(0, |waiting| waiting.sent) {
            _ if is_stream => Landing::Stopped,
            0 => Error::Cancelled.into(),
            sent => Landing::Sent(sent),
        };
        self.post(core, world, node, operation, landing);
    }

    /// Ends everything at once, and lands what is on its way: nobody waits any more, and the clock stands still.
    pub(super) fn give_up(&mut self, core: &mut Core, world: &mut World) {
        for (operation, landing) in world.take_landings(self.shard) {
            landing.land(core, operation);
        }
        for (operation, event) in std::mem::take(&mut self.due).into_iter().flatten() {
            world.call_off(event);
            match core.op(operation) {
                Some(Op::Send { .. }) => core.land_sent(operation, 0),
                _ => core.land(operation, Err(Error::Cancelled)),
            }
        }
        let lines = std::mem::take(&mut self.lines);
        for waiting in lines.into_iter().flat_map(|line| line.waiting) {
            match (core.op(waiting.operation).is_some_and(Op::is_stream), waiting.sent) {
                (true, _) => core.stream_stopped(waiting.operation),
                (_, 0) => core.land(waiting.operation, Err(Error::Cancelled)),
                (_, sent) => core.land_sent(waiting.operation, sent),
            }
        }
    }

    fn part(&mut self, core: &mut Core, world: &mut World, node: Key, waiting: &mut Waiting, landing: Landing) {
        waiting.parts_since += 1;
        self.post(core, world, node, waiting.operation, landing);
    }

    fn done(&mut self, core: &mut Core, world: &mut World, node: Key, operation: Key, landing: Landing) -> Step {
        self.post(core, world, node, operation, landing);
        Step::Done
    }

    fn post(&mut self, core: &mut Core, world: &mut World, node: Key, operation: Key, landing: Landing) {
        self.post_on(core, world, Some(node), operation, landing);
    }

    /// Sends what an operation has come to on its way to the shard. Mostly it is there at once.
    fn post_on(&mut self, core: &mut Core, world: &mut World, node: Option<Key>, operation: Key, landing: Landing) {
        match world.delay_landing(node) {
            None => landing.land(core, operation),
            Some(at) => drop(world.schedule(at, Event::Landing { shard: self.shard, node, operation, landing })),
        }
    }

    // ---- who waits for what ----------------------------------------------------------------------------------------

    /// The line at a socket. A node that is gone has left an empty one behind.
    fn line(&mut self, node: Key) -> &mut Line {
        let index = node.index as usize;
        if index >= self.lines.len() {
            self.lines.resize_with(index + 1, || Line { node, waiting: VecDeque::new() });
        }
        let line = &mut self.lines[index];
        if line.node != node {
            debug_assert!(line.waiting.is_empty(), "a socket is closed when its last operation has ended");
            line.node = node;
        }
        line
    }

    /// The place of an operation in the line at its socket, if it waits there.
    fn waiting(&mut self, core: &Core, operation: Key) -> Option<&mut Waiting> {
        let node = node_of(core, core.op(operation)?).ok()?;
        self.line(node).waiting.iter_mut().find(|waiting| waiting.operation == operation)
    }

    /// An operation waits for a point in time.
    fn at(&mut self, world: &mut World, at: Duration, operation: Key) {
        let event = world.schedule(at, Event::Due { shard: self.shard, operation });
        let index = operation.index as usize;
        if index >= self.due.len() {
            self.due.resize(index + 1, None);
        }
        self.due[index] = Some((operation, event));
    }

    fn is_due(&self, operation: Key) -> bool {
        let due = self.due.get(operation.index as usize);
        matches!(due, Some(Some((key, _))) if *key == operation)
    }

    fn take_due(&mut self, operation: Key) -> Option<EventId> {
        if !self.is_due(operation) {
            return None;
        }
        self.due[operation.index as usize].take().map(|(_, event)| event)
    }
}

impl Waiting {
    /// Whether a stream may give more at this moment. One whose end was asked for gives no more: its cancel is in the
    /// queue. If that is late, it goes on until then, as far as a kernel would.
    fn goes_on(&self, core: &Core, world: &World, node: Key) -> bool {
        let may_overrun = self.is_doomed && self.parts_since < PARTS_AFTER_CANCEL_MAX;
        world.landings(node) < LANDINGS_MAX && (may_overrun || !core.is_ending(self.operation))
    }
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
    matches!(
        op,
        Op::Open { .. } | Op::Load { .. } | Op::Read { .. } | Op::Write { .. } | Op::Sync { .. } | Op::Stat { .. }
    )
}

fn direction(op: &Op) -> Direction {
    match op {
        Op::Send { .. } | Op::SendList { .. } | Op::SendMessage { .. } | Op::SendPipe { .. } | Op::Connect { .. } => {
            Direction::Out
        }
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

/// Does what an operation asks of the disk, or not: what fails has had no effect.
fn file(core: &mut Core, world: &mut World, shard: ShardId, operation: Key) -> Result<Landing> {
    let now = world.wall_clock();
    let op = core.op(operation).ok_or(Error::Closed)?;
    if let Op::Open { file } = op {
        if world.lacks_descriptors(shard) {
            return Err(Error::OutOfDescriptors);
        }
        if file.create && world.chance.fills_disk() {
            return Err(Error::NoSpace);
        }
        let beneath = match file.beneath {
            None => None,
            Some(_) => match world.kind(node_of(core, op)?)? {
                Kind::File(opened) => Some(opened.clone()),
                _ => return Err(Error::NotFound),
            },
        };
        let opened = world.disk.open(file, beneath.as_ref(), now)?;
        let descriptor = world.open(Kind::File(opened))?;
        world.trace.record(world.now, "open", descriptor.node, 0);
        return Ok(Landing::Opened(descriptor));
    }
    let node = node_of(core, op)?;
    let opened = match world.kind(node)? {
        Kind::File(opened) => opened.clone(),
        _ if matches!(op, Op::Stat { .. }) => return Err(Error::Unsupported),
        _ if matches!(op, Op::Sync { .. }) => return Err(Error::Invalid),
        _ => return Err(error_of(code::ESPIPE)),
    };
    if let Some(failure) = world.disk_failure(node, op) {
        return Err(failure);
    }
    match core.op_mut(operation).ok_or(Error::Closed)? {
        Op::Read { offset, into, .. } => {
            let available = world.disk.available(&opened, *offset)?.min(into.room());
            let count = world.chance.receive(available);
            world.disk.read(&opened, *offset, &mut into.spare()[..count]);
            world.trace.record(world.now, "read", node, count as u64);
            Ok(Landing::Read(count))
        }
        Op::Write { offset, data, .. } => {
            let count = world.chance.send(data.len());
            world.disk.write(&opened, *offset, &data[..count], now)?;
            world.trace.record_bytes(world.now, "write", node, &data[..count]);
            Ok(Landing::Sent(count))
        }
        Op::Sync { .. } => Ok(Landing::Ended(Ok(Outcome::Synced))),
        Op::Stat { .. } => Ok(Landing::Ended(Ok(Outcome::Stat(world.disk.stat(&opened))))),
        _ => Err(Error::Unsupported),
    }
}
