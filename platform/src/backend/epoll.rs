//! The readiness backend of Linux, for hosts where io_uring cannot be had: an epoll file for one shard.
//!
//! A descriptor is registered once, edge-triggered, when something first has to wait for it, so that a steady connection costs
//! a receive, a send and its share of a wait, and no other system call. It is registered for room to write only when a send
//! has found none: nearly every socket has room at once, and a wait would end to tell that. Everything else is [`Readiness`]'s.

use std::io::{IoSlice, IoSliceMut};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::{Errno, readv};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, accept_with, connect, recv, send, sendmsg};

use super::readiness::{Readiness, Ready, Tried, Watch, land_accepted, land_received, mark, now, starve};
use super::{BackendKind, SetupError};
use crate::arena::Key;
use crate::flight::Core;
use crate::handle::{Handle, Resource};
use crate::limits::{
    DATAGRAMS_PER_CALL_MAX, READINESS_EVENTS_MAX, READINESS_WAIT_MAX, RECEIVE_BUFFERS_MAX, SEND_BUFFERS_MAX,
};
use crate::op::{Message, Op, Outcome, Wait};
use crate::os::{self, Descriptor, error_of};
use crate::unpark::{Unparker, Wake};
use crate::{Bell, Chunk, Error, Group};

/// The epoll file reports the descriptor's edges: those of reading.
const REGISTERED: u32 = mark::OWN;
/// And those of writing.
const TELLS_ROOM: u32 = mark::OWN << 3;
/// The peer sends no more, or the connection has failed. No further edge is certain to come, so from here on only the
/// kernel's own word ends reading.
const HUNG_UP: u32 = mark::OWN << 1;
/// The last receive brought more than a head buffer holds, so the next is given several.
const WIDE: u32 = mark::OWN << 2;

/// Event data of the unparker. A key's index is never `u32::MAX`, so this is none.
const WAKE: u64 = u64::MAX;

pub(crate) struct Epoll {
    epoll: Descriptor,
    events: Vec<epoll::Event>,
}

impl Epoll {
    pub(crate) fn open(unparker: &Unparker) -> Result<Readiness<Epoll>, SetupError> {
        let Wake::Event(event) = unparker.wake() else {
            return Err(super::wrong_unparker(BackendKind::Epoll));
        };
        let open = || {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            epoll::add(&epoll, event.descriptor(), EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
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
        Ok(Readiness::new(Epoll { epoll, events: Vec::with_capacity(READINESS_EVENTS_MAX) }, unparker))
    }

    /// Ends the edges of a socket that lives on elsewhere: closing this name of it would not.
    pub(super) fn forget(&self, socket: &Descriptor, marks: u32) {
        if marks & REGISTERED != 0 {
            // What the epoll file does not know after all has no edges.
            let _ = epoll::delete(&self.epoll, socket);
        }
    }

    /// Keeps what an edge has told. The handle may be stale by now, when another process shares the socket.
    fn note_edge(core: &mut Core, ready: &mut Ready, handle: Handle, flags: EventFlags) {
        let Some(entry) = core.handles.entry_mut(handle) else { return };
        let over = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if over {
            entry.mark |= HUNG_UP;
        }
        if over || flags.contains(EventFlags::IN) {
            entry.mark &= !mark::DRAINED;
        }
        if over || flags.contains(EventFlags::OUT) {
            entry.mark &= !mark::FULL;
        }
        ready.list(core, handle);
    }
}

impl Watch for Epoll {
    fn look(&mut self, core: &mut Core, ready: &mut Ready, wait: Wait) -> bool {
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        if let Err(errno) = epoll::wait(&self.epoll, room, timeout(wait).as_ref()) {
            assert!(errno == Errno::INTR, "the epoll file is ours and open: {errno}");
            core.stats.interrupted += 1;
            return false;
        }
        let mut unparked = false;
        for event in &self.events {
            match event.data.u64() {
                WAKE => unparked = true,
                bits => Epoll::note_edge(core, ready, Handle(Key::from_bits(bits)), event.flags),
            }
        }
        unparked
    }

    fn bell(&self) -> Result<Bell, Error> {
        Ok(Bell(self.epoll.try_clone()?))
    }

    fn may_have_more(&self) -> bool {
        self.events.len() >= READINESS_EVENTS_MAX
    }

    fn ask(&mut self, core: &mut Core, handle: Handle) -> Result<(), Error> {
        let Some(entry) = core.handles.entry_mut(handle) else { return Ok(()) };
        let Resource::Os(descriptor) = &entry.resource else { return Ok(()) };
        let (mut wanted, mut flags) = (REGISTERED, EventFlags::IN | EventFlags::RDHUP | EventFlags::ET);
        if entry.mark & mark::FULL != 0 {
            wanted |= TELLS_ROOM;
            flags |= EventFlags::OUT;
        }
        let data = EventData::new_u64(handle.0.to_bits());
        let asked = match entry.mark & REGISTERED {
            _ if entry.mark & wanted == wanted => return Ok(()),
            0 => epoll::add(&self.epoll, descriptor, data, flags),
            _ => epoll::modify(&self.epoll, descriptor, data, flags),
        };
        asked.map_err(|errno| error_of(errno.raw_os_error()))?;
        entry.mark |= wanted;
        Ok(())
    }

    fn attempt(&mut self, core: &mut Core, key: Key, handle: Handle, sent: usize, behind: &[Key]) -> Tried {
        let Some(op) = core.op(key) else { return Tried::Ended };
        let Some(entry) = core.handles.entry(handle) else { return Tried::Ended };
        let Resource::Os(descriptor) = &entry.resource else {
            return Tried::Failed(error_of(os::code::ENOTSOCK));
        };
        let result = match op {
            Op::Accept { .. } => match accept_with(descriptor, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(accepted) => {
                    // An accept that finds nothing makes a socket first and costs ten times a look (3.6 us and 0.3). What
                    // comes after the look is an edge.
                    let is_last = !os::has_connection(descriptor);
                    land_accepted(core, key, Resource::Os(accepted));
                    return if is_last { Tried::Blocked } else { Tried::Advanced };
                }
                Err(errno) => Err(errno),
            },
            Op::Receive { group, .. } if entry.mark & WIDE == 0 || *group == Group::Bulk => {
                let receive = core.receive(*group);
                let buffer_bytes = receive.buffer_bytes() as usize;
                let drained_by = if entry.mark & HUNG_UP == 0 { buffer_bytes } else { 0 };
                match receive.fill(|buffer| Ok((recv(descriptor, buffer, RecvFlags::empty())?.1, ()))) {
                    None => return starve(core, key),
                    Some(Ok((chunk, ()))) => {
                        set_wide(core, handle, chunk.len() == buffer_bytes);
                        return land_received(core, key, chunk, drained_by);
                    }
                    Some(Err(errno)) => Err(errno),
                }
            }
            Op::Receive { group, .. } => {
                let edges_tell = entry.mark & HUNG_UP == 0;
                let (mut room, mut bytes) = (0, 0);
                let mut chunks: [Option<Chunk>; RECEIVE_BUFFERS_MAX] = [const { None }; RECEIVE_BUFFERS_MAX];
                let mut place = chunks.iter_mut();
                let filled = core.receive(*group).fill_some(
                    |rooms, told: &mut [_; RECEIVE_BUFFERS_MAX]| {
                        room = rooms.iter().map(|room| room.len()).sum();
                        bytes = receive_into(descriptor, rooms, told)?;
                        Ok(())
                    },
                    |chunk, ()| {
                        if let Some(place) = place.next() {
                            *place = Some(chunk);
                        }
                    },
                );
                match filled {
                    None => return starve(core, key),
                    Some(Ok(_)) => {
                        set_wide(core, handle, chunks[1].is_some());
                        return land_chunks(core, key, chunks, bytes < room && edges_tell);
                    }
                    Some(Err(errno)) => Err(errno),
                }
            }
            Op::ReceiveMessage { group, .. } => {
                // A failure of the socket may be next in line, and no further edge is certain to tell of it.
                let edges_tell = entry.mark & HUNG_UP == 0;
                let mut messages: [Option<Message>; DATAGRAMS_PER_CALL_MAX] = [const { None }; DATAGRAMS_PER_CALL_MAX];
                let mut place = messages.iter_mut();
                let filled = core.receive(*group).fill_some(
                    |rooms, told: &mut [_; DATAGRAMS_PER_CALL_MAX]| os::receive_messages(descriptor, rooms, told),
                    |data, received| {
                        if let Some(place) = place.next() {
                            *place = received.into_message(data);
                        }
                    },
                );
                match filled {
                    None => return starve(core, key),
                    Some(Ok(fewer)) => return land_messages(core, key, messages, fewer && edges_tell),
                    Some(Err(errno)) => Err(errno),
                }
            }
            Op::Send { data, .. } => {
                send(descriptor, &data[sent..], SendFlags::NOSIGNAL).map(|bytes| (sent + bytes, data.len()))
            }
            Op::SendList { list, .. } => {
                let mut slices = [IoSlice::new(&[]); SEND_BUFFERS_MAX];
                let mut rest = list.slices(&mut slices);
                IoSlice::advance_slices(&mut rest, sent);
                sendmsg(descriptor, rest, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
                    .map(|bytes| (sent + bytes, list.bytes()))
            }
            Op::SendMessage { message, .. } => {
                let (keys, count) = messages_behind(core, key, behind);
                if count == 1 {
                    os::send_message(descriptor, message).map(|bytes| (bytes, bytes))
                } else {
                    let messages = keys.map(|key| match core.op(key) {
                        Some(Op::SendMessage { message, .. }) => &**message,
                        _ => &**message,
                    });
                    match os::send_messages::<DATAGRAMS_PER_CALL_MAX>(descriptor, &messages[..count]) {
                        Ok(sent) => return land_sent_messages(core, &keys, &sent),
                        Err(errno) => Err(errno),
                    }
                }
            }
            Op::SendPipe { pipe, .. } => match pipe.ends().send(descriptor, pipe.bytes()) {
                Ok(0) if pipe.bytes() > 0 => return Tried::Failed(Error::BrokenPipe),
                Ok(bytes) => {
                    if core.emptied(key, bytes) > 0 {
                        return Tried::Advanced;
                    }
                    core.land_sent(key, 0);
                    return Tried::Ended;
                }
                Err(errno) => Err(errno),
            },
            // A second call tells how the first has ended.
            Op::Connect { peer, .. } => match connect(descriptor, peer) {
                Ok(()) => {
                    core.land(key, Ok(Outcome::Connected));
                    return Tried::Ended;
                }
                Err(errno) => Err(errno),
            },
            Op::Open { .. }
            | Op::Load { .. }
            | Op::Read { .. }
            | Op::Write { .. }
            | Op::Sync { .. }
            | Op::Stat { .. }
            | Op::Sleep { .. } => {
                unreachable!("{} waits for no descriptor", op.name())
            }
        };
        match result {
            Ok((bytes, all)) => Tried::Sent { bytes, all },
            Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY) => Tried::Blocked,
            Err(Errno::INTR) => Tried::Advanced,
            Err(errno) => Tried::Failed(error_of(errno.raw_os_error())),
        }
    }
}

fn timeout(wait: Wait) -> Option<Timespec> {
    match wait {
        Wait::No => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
        Wait::Forever => None,
        Wait::Until(at) => {
            // The call rounds up to whole milliseconds, so nothing ends early.
            let time = at.saturating_duration_since(now()).min(READINESS_WAIT_MAX);
            Some(Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() })
        }
    }
}

fn set_wide(core: &mut Core, handle: Handle, is_wide: bool) {
    if let Some(entry) = core.handles.entry_mut(handle) {
        entry.mark = if is_wide { entry.mark | WIDE } else { entry.mark & !WIDE };
    }
}

/// Receives into several buffers, tells how many bytes lie in each that has some, and gives the bytes in all.
fn receive_into(
    descriptor: &Descriptor,
    rooms: &mut [&mut [u8]],
    told: &mut [Option<(usize, ())>; RECEIVE_BUFFERS_MAX],
) -> Result<usize, Errno> {
    let mut room = rooms.iter_mut();
    let mut slices: [_; RECEIVE_BUFFERS_MAX] =
        std::array::from_fn(|_| IoSliceMut::new(room.next().map_or(&mut [], |room| room)));
    let bytes = readv(descriptor, &mut slices)?;
    let mut left = bytes;
    for (told, room) in told.iter_mut().zip(&slices) {
        let filled = left.min(room.len());
        left -= filled;
        *told = (filled > 0).then_some((filled, ()));
    }
    Ok(bytes)
}

/// Lands received bytes that lie in several buffers, and says whether there were no more.
fn land_chunks(core: &mut Core, key: Key, chunks: [Option<Chunk>; RECEIVE_BUFFERS_MAX], drained: bool) -> Tried {
    if chunks[0].is_none() {
        core.land(key, Ok(Outcome::EndOfInput));
        return Tried::Ended;
    }
    for chunk in chunks.into_iter().flatten() {
        core.land_part(key, Outcome::Received(chunk));
    }
    if drained { Tried::Blocked } else { Tried::Advanced }
}

/// Lands received datagrams, and says whether there were no more.
fn land_messages(
    core: &mut Core,
    key: Key,
    messages: [Option<Message>; DATAGRAMS_PER_CALL_MAX],
    drained: bool,
) -> Tried {
    for message in messages.into_iter().flatten() {
        core.land_part(key, Outcome::Message(Box::new(message)));
    }
    if drained { Tried::Blocked } else { Tried::Advanced }
}

/// The datagrams that one call sends: the one at hand, and those right behind it. Places that are not needed name the first.
fn messages_behind(core: &Core, key: Key, behind: &[Key]) -> ([Key; DATAGRAMS_PER_CALL_MAX], usize) {
    let mut keys = [key; DATAGRAMS_PER_CALL_MAX];
    let is_one = |key: &&Key| core.is_running(**key) && matches!(core.op(**key), Some(Op::SendMessage { .. }));
    let mut count = 1;
    for (place, key) in keys[1..].iter_mut().zip(behind.iter().take_while(is_one)) {
        *place = *key;
        count += 1;
    }
    (keys, count)
}

/// Lands datagrams that have left, each with its bytes. At least one has.
fn land_sent_messages(core: &mut Core, keys: &[Key], sent: &[Option<usize>]) -> Tried {
    for (key, bytes) in keys.iter().zip(sent) {
        if let Some(bytes) = bytes {
            core.land_sent(*key, *bytes);
        }
    }
    Tried::Ended
}
