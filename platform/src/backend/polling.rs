//! The readiness backend of all systems but Linux, on the `polling` crate: kqueue for macOS and the BSDs, IOCP for Windows.
//! On Linux it runs in tests only, where `polling` stands on an epoll file with some system calls more for each wait.
//!
//! A poller is asked for one report at a time, since that is what all systems have. It reports what a socket is ready for at
//! the moment of asking too, so there is no edge to miss. Everything else is [`Readiness`]'s.

use std::io::{self, IoSlice, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polling::{Event, Events, Poller};
use socket2::SockRef;

use super::readiness::{Readiness, Ready, Tried, Watch, land_accepted, land_message, land_received, mark, now, starve};
use super::{BackendKind, SetupError, Watched};
use crate::arena::Key;
use crate::flight::Core;
use crate::handle::{Handle, Resource};
use crate::limits::{READINESS_EVENTS_MAX, READINESS_WAIT_MAX, SEGMENTS_MAX, SEND_BUFFERS_MAX, SEND_BYTES_MAX};
use crate::op::{Datagram, Op, Outcome, Wait};
use crate::os::{self, Descriptor, error_of};
use crate::unpark::{Unparker, Wake};
use crate::{Bell, BufList, Error, Result};

/// The poller has been asked to tell when there is something to read.
const ASKED_READ: u32 = mark::OWN;
/// The poller has been asked to tell when there is room to write.
const ASKED_WRITE: u32 = mark::OWN << 1;
/// A connection is on its way.
const CONNECTING: u32 = mark::OWN << 2;

/// Keys of events are handles.
const _: () = assert!(usize::BITS >= u64::BITS);

pub(crate) struct Polling {
    poller: Arc<Poller>,
    unparker: Unparker,
    events: Events,
}

impl Polling {
    pub(crate) fn open(unparker: &Unparker) -> std::result::Result<Readiness<Polling>, SetupError> {
        let Wake::Poller { poller, .. } = unparker.wake() else {
            return Err(super::wrong_unparker(BackendKind::Polling));
        };
        let room = NonZeroUsize::new(READINESS_EVENTS_MAX).expect("room for events");
        let events = Events::with_capacity(room);
        let polling = Polling { poller: Arc::clone(poller), unparker: unparker.clone(), events };
        Ok(Readiness::new(polling, unparker))
    }

    pub(crate) fn adopt(&self, socket: Descriptor) -> Result<Resource> {
        os::set_nonblocking(&socket, true)?;
        Ok(Resource::Watched(Watched::new(socket, &self.poller)))
    }

    /// Takes a connection; none if it has ended before it could be made fit for this backend, which some systems tell by an
    /// error of every call.
    fn accept(&self, listener: &SockRef<'_>) -> io::Result<Option<Resource>> {
        let (accepted, _) = listener.accept()?;
        // Not every system hands this down from the listener.
        if matches!(listener.tcp_nodelay(), Ok(true)) {
            let _ = accepted.set_tcp_nodelay(true);
        }
        Ok(self.adopt(accepted.into()).ok())
    }
}

impl Watch for Polling {
    fn look(&mut self, core: &mut Core, ready: &mut Ready, wait: Wait) -> bool {
        let time = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::Forever => None,
            Wait::Until(at) => Some(at.saturating_duration_since(now()).min(READINESS_WAIT_MAX)),
        };
        self.events.clear();
        if let Err(error) = self.poller.wait(&mut self.events, time) {
            core.stats.interrupted += 1;
            tracing::error!(%error, "the poller does not wait");
            pause(BACK_OFF);
        }
        for event in self.events.iter() {
            // It may be stale, when its socket was closed after the kernel had reported it.
            let handle = Handle(Key::from_bits(event.key as u64));
            let Some(entry) = core.handles.entry_mut(handle) else { continue };
            // The one report has been made; whoever is still blocked asks again.
            entry.mark &= !(ASKED_READ | ASKED_WRITE);
            // A report of neither is of something else that has happened, which trying tells.
            if event.readable || !event.writable {
                entry.mark &= !mark::DRAINED;
            }
            if event.writable || !event.readable {
                entry.mark &= !mark::FULL;
            }
            ready.list(core, handle);
        }
        match self.unparker.wake() {
            Wake::Poller { raised, .. } => raised.swap(false, Ordering::AcqRel),
            Wake::Event(_) | Wake::Nobody => false,
        }
    }

    fn bell(&self) -> Result<Bell> {
        os::bell_of(&self.poller)
    }

    fn may_have_more(&self) -> bool {
        self.events.len() >= READINESS_EVENTS_MAX
    }

    fn ask(&mut self, core: &mut Core, handle: Handle) -> Result<()> {
        let Some(entry) = core.handles.entry_mut(handle) else { return Ok(()) };
        let (reads, writes) = (entry.mark & mark::DRAINED != 0, entry.mark & mark::FULL != 0);
        let asked = if reads { ASKED_READ } else { 0 } | if writes { ASKED_WRITE } else { 0 };
        if entry.mark & asked == asked {
            return Ok(());
        }
        let Resource::Watched(watched) = &mut entry.resource else { return Ok(()) };
        watched.ask(Event::new(handle.0.to_bits() as usize, reads, writes))?;
        entry.mark |= asked;
        Ok(())
    }

    fn attempt(&mut self, core: &mut Core, key: Key, handle: Handle, sent: usize, _behind: &[Key]) -> Tried {
        let Some(op) = core.op(key) else { return Tried::Ended };
        let Some(entry) = core.handles.entry(handle) else { return Tried::Ended };
        let Some(descriptor) = entry.resource.socket() else { return Tried::Failed(error_of(os::code::ENOTSOCK)) };
        let socket = SockRef::from(descriptor);
        let tried = match op {
            Op::Accept { .. } => self.accept(&socket).map(|accepted| match accepted {
                Some(accepted) => land_accepted(core, key, accepted),
                None => Tried::Advanced,
            }),
            Op::Receive { group, .. } => {
                let receive = core.receive(*group);
                let drained_by = receive.buffer_bytes() as usize;
                match receive.fill(|buffer| Ok(((&*socket).read(buffer)?, ()))) {
                    None => return starve(core, key),
                    Some(filled) => filled.map(|(chunk, ())| land_received(core, key, chunk, drained_by)),
                }
            }
            Op::ReceiveMessage { group, .. } => {
                match core.receive(*group).fill(|buffer| os::receive_from(&socket, buffer)) {
                    None => return starve(core, key),
                    Some(filled) => filled.map(|(data, received)| land_message(core, key, data, received)),
                }
            }
            Op::Send { data, .. } => socket
                .send_with_flags(&data[sent..data.len().min(sent + SEND_BYTES_MAX)], os::SEND_FLAGS)
                .map(|bytes| Tried::Sent { bytes: sent + bytes, all: data.len() }),
            Op::SendList { list, .. } => {
                let mut slices = [IoSlice::new(&[]); SEND_BUFFERS_MAX];
                let count = gather(list, sent, &mut slices);
                socket
                    .send_vectored_with_flags(&slices[..count], os::SEND_FLAGS)
                    .map(|bytes| Tried::Sent { bytes: sent + bytes, all: list.bytes() })
            }
            Op::SendMessage { message, .. } => send_message(&socket, message, sent),
            Op::Connect { peer, .. } if entry.mark & CONNECTING == 0 => {
                let tried = socket.connect(&(*peer).into());
                if let Some(entry) = core.handles.entry_mut(handle) {
                    entry.mark |= CONNECTING;
                }
                tried.map(|()| land_connected(core, key, handle))
            }
            Op::Connect { .. } => match connected(&socket) {
                Ok(()) => Ok(land_connected(core, key, handle)),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Tried::Blocked,
                Err(error) => Err(error),
            },
            Op::SendPipe { .. } => return Tried::Failed(Error::Unsupported),
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
        tried.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Tried::Blocked,
            io::ErrorKind::Interrupted => Tried::Advanced,
            _ if os::is_under_way(&error) => Tried::Blocked,
            _ => failed(core, key, handle, error.into()),
        })
    }
}

/// The bytes of a list that come after the first `sent`, as many as one call is given, and in how many slices: one at least,
/// since some systems take no list without a buffer.
fn gather<'a>(list: &'a BufList, sent: usize, slices: &mut [IoSlice<'a>; SEND_BUFFERS_MAX]) -> usize {
    let (mut skip, mut room, mut count) = (sent, SEND_BYTES_MAX, 0);
    for buf in list.iter() {
        let rest = &buf[skip.min(buf.len())..];
        skip -= buf.len() - rest.len();
        let taken = &rest[..rest.len().min(room)];
        if !taken.is_empty() {
            slices[count] = IoSlice::new(taken);
            (count, room) = (count + 1, room - taken.len());
        }
    }
    count.max(1)
}

/// Sends one datagram, or a batch of them one by one, and says how far it has come. ECN bits are not set: the portable
/// call has no place for them.
fn send_message(socket: &SockRef<'_>, message: &Datagram, mut sent: usize) -> io::Result<Tried> {
    let all = message.data.len();
    let segment = message.segment.map_or(all, usize::from).max(1);
    if all.div_ceil(segment) > SEGMENTS_MAX {
        return Ok(Tried::Failed(Error::Invalid));
    }
    let begin = sent;
    loop {
        let data = &message.data[sent..all.min(sent + segment)];
        let result = match message.peer {
            Some(peer) => socket.send_to_with_flags(data, &peer.into(), os::SEND_FLAGS),
            None => socket.send_with_flags(data, os::SEND_FLAGS),
        };
        match result {
            Ok(bytes) => sent += bytes,
            // The next try meets the error again, or waits.
            Err(_) if sent > begin => return Ok(Tried::Sent { bytes: sent, all }),
            Err(error) => return Err(error),
        }
        if sent >= all {
            return Ok(Tried::Sent { bytes: sent, all });
        }
    }
}

/// Whether the connection that was on its way stands.
fn connected(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.take_error()? {
        Some(error) => Err(error),
        None => socket.peer_addr().map(drop),
    }
}

fn land_connected(core: &mut Core, key: Key, handle: Handle) -> Tried {
    if let Some(entry) = core.handles.entry_mut(handle) {
        entry.mark &= !CONNECTING;
    }
    core.land(key, Ok(Outcome::Connected));
    Tried::Ended
}

fn failed(core: &mut Core, key: Key, handle: Handle, error: Error) -> Tried {
    let (Some(op), Some(entry)) = (core.op(key), core.handles.entry(handle)) else { return Tried::Failed(error) };
    let is_connected = || entry.resource.socket().is_some_and(|socket| os::peer_address(socket).is_ok());
    match (op, error) {
        // Windows calls it a reset when a datagram met a closed port, and tells even those who send to many.
        (Op::SendMessage { .. }, Error::Reset) => Tried::Failed(Error::Refused),
        (Op::ReceiveMessage { .. }, Error::Reset) if is_connected() => Tried::Failed(Error::Refused),
        (Op::ReceiveMessage { .. }, Error::Reset) => Tried::Advanced,
        (Op::Connect { .. }, error) => {
            if let Some(entry) = core.handles.entry_mut(handle) {
                entry.mark &= !CONNECTING;
            }
            Tried::Failed(error)
        }
        (_, error) => Tried::Failed(error),
    }
}

#[allow(clippy::disallowed_methods, reason = "a kernel that cannot wait is given a moment; nothing else can be done")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The pause after a wait that failed.
const BACK_OFF: Duration = Duration::from_millis(1);
