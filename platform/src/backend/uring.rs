#![allow(unsafe_code)]
//! The io_uring backend: one ring for one shard, entered at most once a turn.
//!
//! Entries are built here from operations that their slots own (`flight.rs`), so a pointer given to the kernel stays good
//! until the kernel's last completion for it has landed; what the kernel needs besides (socket addresses, message headers,
//! paths) lies in a box of the same life. Received bytes come out of two provided-buffer rings, whose memory is the pool's.
//!
//! A turn enters the kernel only if it has entries to submit, the ring's flags say that completions wait in the kernel, or
//! it is about to sleep; otherwise completions are read from memory.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use io_uring::types::{BufRingEntry, Fd, FsyncFlags, OpenHow, RecvMsgOut, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::io::Errno;
use socket2::SockAddr;

use super::{BackendKind, Config, Features, SetupError, refusal};
use crate::arena::Key;
use crate::flight::{Core, Entry};
use crate::handle::Resource;
use crate::limits::{
    MESSAGE_CONTROL_BYTES, OPERATIONS_MAX, PROBE_ENTERS_MAX, RECEIVE_BUNDLE_BUFFERS, RING_BUFFERS_MIN, RING_SHARE,
    RING_SHARE_TURNS, SEND_BUFFERS_MAX, URING_CALLS_MAX, URING_COMPLETION_ENTRIES, URING_SUBMISSION_ENTRIES,
};
use crate::op::{Message, Op, Outcome, Stat, Wait};
use crate::os::{Descriptor, MessageHead, Told, error_of};
use crate::unpark::{Unparker, Wake};
use crate::{Bell, Chunk, ChunkMut, Error, Group, os};

/// User data of the poll that wakes the shard. A key's index is never `u32::MAX`, so this is no key.
const WAKE: u64 = u64::MAX;

/// Marks the user data of a cancel; the rest of it is the key of the operation to end, whose index never has this bit.
const CANCEL: u64 = 1 << 31;
const _: () = assert!((OPERATIONS_MAX as u64) <= CANCEL);

/// Mark of a socket: a receive has filled a head buffer, so from then on each is given as many as it has bytes for. One that has
/// little to receive does without: to choose among several costs the kernel 1 % of a small request.
const WIDE: u32 = 1;

/// How long a failed entry into the kernel (EAGAIN, ENOMEM) keeps the shard from trying again.
const BACK_OFF: Duration = Duration::from_millis(1);

/// The kernel from which on a receive fills several buffers in the order in which they were given to it (6.16), and may be told how
/// many: untold it looks for one, and then for the rest.
const BUNDLE_RELEASE: (u32, u32) = (6, 18);

/// Room for the name before the payload of a received datagram.
const MESSAGE_NAME_BYTES: u32 = 28;

pub(crate) struct Uring {
    ring: IoUring,
    features: Features,
    groups: [BufferRing; 2],
    /// What the kernel needs of each slot besides the operation's own memory, by the slot's index.
    aux: Vec<Option<Aux>>,
    /// Spare memory of vectored sends and of datagrams, so that a steady server allocates none.
    #[allow(clippy::vec_box, reason = "the boxes move between here and the slots' memory; what they hold never does")]
    spare_lists: Vec<Box<ListAux>>,
    #[allow(clippy::vec_box, reason = "as above")]
    spare_messages: Vec<Box<MessageHead>>,
    /// The shape of a received datagram: how much room for its name and control messages.
    message_shape: Box<libc::msghdr>,
    /// Bytes that have left by a call of sends whose rest is the ring's.
    progress: BTreeMap<Key, usize>,
    unparker: Unparker,
    wake_armed: bool,
    /// Somebody else waits for the unparker, and for what completes.
    has_bell: bool,
}

/// Memory of one operation that the kernel reads or writes and that the operation does not own itself. Each kind is on the
/// heap, where it stays while the table of them grows.
#[allow(dead_code, reason = "some is kept for the kernel alone to look at")]
enum Aux {
    Address(Box<SockAddr>),
    List(Box<ListAux>),
    Message(Box<MessageHead>),
    Path(CString),
    Beneath(CString, Box<OpenHow>),
    Time(Box<Timespec>),
    Stat(Box<libc::statx>),
}

struct ListAux {
    header: libc::msghdr,
    slices: [IoSlice<'static>; SEND_BUFFERS_MAX],
}

/// Sets up a ring and runs a no-op through it, and says in one line which rung of the ladder was reached.
pub(crate) fn probe(config: &Config) -> Result<String, SetupError> {
    let (mut ring, features) = build_ring(config.features)?;
    let entry = opcode::Nop::new().build();
    // SAFETY: a no-op has no memory.
    unsafe { ring.submission().push(&entry) }.map_err(|_| refused("its submission queue has no room."))?;
    enter_for_good(&ring).map_err(|error| unavailable(&error))?;
    let completed = ring.completion().next().is_some_and(|completion| completion.result() == 0);
    if !completed {
        return Err(refused("a no-op did not complete."));
    }
    BufferRing::open(&ring, 0, 8).map(|group| group.close(&ring))?;
    let lacking: Vec<&str> =
        Features::each().filter(|(feature, _)| !features.has(*feature)).map(|(_, name)| name).collect();
    Ok(match lacking.is_empty() {
        true => "all ring features".to_owned(),
        false => format!("ring without {}", lacking.join(", ")),
    })
}

/// Submits and waits for one completion. A signal, or a kernel that is short of something at this moment, is no reason to do
/// without io_uring for as long as the process lives.
fn enter_for_good(ring: &IoUring) -> std::io::Result<usize> {
    let passes = |error: &std::io::Error| {
        matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM))
    };
    for _ in 1..PROBE_ENTERS_MAX {
        match ring.submit_and_wait(1) {
            Err(error) if passes(&error) => pause(BACK_OFF),
            result => return result,
        }
    }
    ring.submit_and_wait(1)
}

/// Sets a ring up with as many of the wanted features as the kernel has, by leaving out the newest until it agrees.
fn build_ring(wanted: Features) -> Result<(IoUring, Features), SetupError> {
    let mut features = wanted;
    if !features.has(Features::SINGLE_ISSUER) {
        features = features.without(Features::DEFER_TASKRUN);
    }
    if !features.has(Features::DEFER_TASKRUN) && !features.has(Features::COOP_TASKRUN) {
        // The flag only has a meaning with one of the two.
        features = features.without(Features::TASKRUN_FLAG);
    }
    let newest_first = [Features::NO_SQARRAY, Features::DEFER_TASKRUN, Features::SINGLE_ISSUER, Features::TASKRUN_FLAG];
    let mut rungs = newest_first.iter();
    let ring = loop {
        match try_build(features) {
            Ok(ring) => break ring,
            // EINVAL is a flag that this kernel does not know.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match rungs.next() {
                Some(newest) => features = features.without(*newest),
                None => return Err(unavailable(&error)),
            },
            Err(error) => return Err(unavailable(&error)),
        }
    };
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
        return Err(refused("the kernel is older than 5.19. Run on Linux 5.19 or newer to use it."));
    }
    if features.has(Features::REGISTERED_RING) && ring.submitter().register_ring_fd().is_err() {
        features = features.without(Features::REGISTERED_RING);
    }
    if !ring.params().is_feature_recvsend_bundle() || os::kernel_release() < BUNDLE_RELEASE {
        features = features.without(Features::RECEIVE_BUNDLE);
    }
    if !features.has(Features::SINGLE_ISSUER) && wanted.has(Features::SINGLE_ISSUER) {
        // The kernel does not know the flag of 6.0, so it has no multishot receive either.
        features = features.without(Features::MULTISHOT_RECEIVE).without(Features::ZERO_COPY);
    }
    if !features.has(Features::MULTISHOT_RECEIVE) {
        features = features.without(Features::RECEIVE_BUNDLE);
    }
    Ok((ring, features))
}

fn try_build(features: Features) -> std::io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_clamp().setup_cqsize(URING_COMPLETION_ENTRIES).dontfork();
    if features.has(Features::SUBMIT_ALL) {
        builder.setup_submit_all();
    }
    if features.has(Features::COOP_TASKRUN) {
        builder.setup_coop_taskrun();
    }
    if features.has(Features::TASKRUN_FLAG) {
        builder.setup_taskrun_flag();
    }
    if features.has(Features::SINGLE_ISSUER) {
        builder.setup_single_issuer();
    }
    if features.has(Features::DEFER_TASKRUN) {
        builder.setup_defer_taskrun();
    }
    if features.has(Features::NO_SQARRAY) {
        builder.setup_no_sqarray();
    }
    builder.build(URING_SUBMISSION_ENTRIES)
}

fn refused(reason: &str) -> SetupError {
    SetupError { kind: BackendKind::Uring, reason: format!("io_uring does not work here: {reason}") }
}

/// A failed set-up, with its cause and remedy.
fn unavailable(error: &std::io::Error) -> SetupError {
    let switch = std::fs::read_to_string(refusal::SWITCH).unwrap_or_default();
    SetupError { kind: BackendKind::Uring, reason: refusal::reason(error, &switch) }
}

impl Uring {
    pub(crate) fn open(config: &Config, core: &Core, unparker: &Unparker) -> Result<Self, SetupError> {
        if !matches!(unparker.wake(), Wake::Event(_)) {
            return Err(super::wrong_unparker(BackendKind::Uring));
        }
        let (ring, features) = build_ring(config.features)?;
        let group = |group: Group| BufferRing::open(&ring, group as u16, core.receive(group).count());
        let groups = [group(Group::Heads)?, group(Group::Bulk)?];
        // SAFETY: all zeroes is a valid message header: no name, no slices, no control.
        let mut message_shape: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        message_shape.msg_namelen = MESSAGE_NAME_BYTES;
        message_shape.msg_controllen = MESSAGE_CONTROL_BYTES as _;
        Ok(Uring {
            ring,
            features,
            groups,
            aux: Vec::new(),
            spare_lists: Vec::new(),
            spare_messages: Vec::new(),
            message_shape,
            progress: BTreeMap::new(),
            unparker: unparker.clone(),
            wake_armed: false,
            has_bell: false,
        })
    }

    /// Submits, waits as told and lands. While only results land that nobody waits for, or the kernel could not be entered,
    /// it goes on waiting.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        loop {
            self.submit(core, wait);
            let unparked = self.land(core);
            let timed_out = || matches!(wait, Wait::Until(at) if now() >= at);
            if wait == Wait::No || unparked || !core.woken.is_empty() || timed_out() {
                return;
            }
            core.revive_starved();
        }
    }

    /// What completions wait, in the ring or in the kernel; `None` without the flag that tells of the latter.
    pub(crate) fn has_news(&mut self) -> Option<bool> {
        let is_told = self.features.has(Features::TASKRUN_FLAG);
        is_told.then(|| !self.ring.completion().is_empty() || self.ring.submission().taskrun())
    }

    /// Submits and lands without waiting. What could not be submitted, or was not read, the caller comes back for.
    pub(crate) fn settle(&mut self, core: &mut Core) -> Option<Instant> {
        self.submit(core, Wait::No);
        self.land(core);
        // What has rung until now is landed. What comes between that and this is seen below, and what comes after rings.
        if self.has_bell
            && let Wake::Event(event) = self.unparker.wake()
        {
            event.clear();
        }
        if !self.features.has(Features::TASKRUN_FLAG) {
            self.call(core, Wait::No);
            self.land(core);
        }
        let (is_submitted, is_flagged) = {
            let queue = self.ring.submission();
            (queue.is_empty(), queue.taskrun() || queue.cq_overflow())
        };
        match is_submitted && core.queue.is_empty() {
            true if !is_flagged && self.ring.completion().is_empty() => None,
            true => Some(now()),
            false => Some(now() + BACK_OFF),
        }
    }

    /// The unparker's eventfd, which from now on the kernel raises too, with each completion; so the ring need not wait for it
    /// any more. The ring's own descriptor will not do: with DEFER_TASKRUN nobody who polls it is told of what comes before
    /// we enter the kernel. Nor will an eventfd besides: one is not raised from another's wake-up, or only once, on 6.18
    /// (`platform/decisions/2026-11-25-the-bell-is-the-unparkers.md`).
    pub(crate) fn bell(&mut self) -> Result<Bell, Error> {
        let Wake::Event(event) = self.unparker.wake() else { return Err(Error::Unsupported) };
        let bell = Bell(event.descriptor().try_clone()?);
        if !self.has_bell {
            self.ring.submitter().register_eventfd(event.descriptor().as_raw_fd())?;
            self.has_bell = true;
        }
        Ok(bell)
    }

    /// Fills the submission queue and enters the kernel if there is a reason to.
    fn submit(&mut self, core: &mut Core, wait: Wait) {
        self.arm_wake();
        self.publish_buffers(core);
        let is_calm = wait != Wait::No && core.queue.len() <= URING_CALLS_MAX;
        while let Some(entry) = core.next_entry() {
            if is_calm && self.send_by_call(core, entry) {
                continue;
            }
            if self.ring.submission().is_full() {
                self.call(core, Wait::No);
                if self.ring.submission().is_full() {
                    // The kernel wants its completions read first, or is short of memory.
                    return core.return_entry(entry);
                }
            }
            self.push(core, entry);
        }
        let (queued, flagged) = {
            let queue = self.ring.submission();
            (!queue.is_empty(), queue.taskrun() || queue.cq_overflow())
        };
        // What could not even be built has landed already.
        let news = !core.woken.is_empty() || !self.ring.completion().is_empty();
        let wait = if news { Wait::No } else { wait };
        // Without the flag, only an enter tells whether completions wait in the kernel.
        let blind = !self.features.has(Features::TASKRUN_FLAG);
        if queued || flagged || blind || wait != Wait::No {
            self.call(core, wait);
        }
    }

    /// The one system call of a turn.
    fn call(&mut self, core: &mut Core, wait: Wait) {
        let queue = self.ring.submission();
        let (before, overflow) = (queue.len(), queue.cq_overflow());
        drop(queue);
        core.stats.enters += 1;
        core.stats.overflows += u64::from(overflow);
        let result = match wait {
            Wait::No if self.features.has(Features::TASKRUN_FLAG) => self.ring.submit(),
            // SAFETY: the entries in the queue were built by `push`, whose operands live in their slots until they land;
            // no argument structure is passed.
            Wait::No => unsafe { self.ring.submitter().enter::<libc::sigset_t>(before as u32, 0, GETEVENTS, None) },
            Wait::Forever => self.ring.submit_and_wait(1),
            Wait::Until(at) => {
                let timeout = Timespec::from(at.saturating_duration_since(now()));
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        core.stats.submissions += before.saturating_sub(self.ring.submission().len()) as u64;
        let Err(error) = result else { return };
        core.stats.interrupted += u64::from(error.raw_os_error() != Some(libc::ETIME));
        match error.raw_os_error() {
            // A wait that ran out; a signal; completions that must be read first: read them, and come again.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY) => {}
            // The kernel is short of memory: what was not submitted stays queued.
            Some(libc::EAGAIN | libc::ENOMEM) => pause(BACK_OFF),
            _ => {
                tracing::error!(%error, "io_uring_enter failed");
                pause(BACK_OFF);
            }
        }
    }

    fn arm_wake(&mut self) {
        if self.wake_armed || self.has_bell {
            return;
        }
        let Wake::Event(event) = self.unparker.wake() else { return };
        let descriptor = event.descriptor().as_raw_fd();
        let entry = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).multi(true).build().user_data(WAKE);
        // SAFETY: a poll has no memory; the unparker keeps the descriptor open as long as this ring lives.
        self.wake_armed = unsafe { self.ring.submission().push(&entry) }.is_ok();
    }

    fn publish_buffers(&mut self, core: &Core) {
        for (ring, group) in self.groups.iter_mut().zip([Group::Heads, Group::Bulk]) {
            ring.publish(core, group);
        }
    }

    // ---- building entries ------------------------------------------------------------------------------------------

    fn push(&mut self, core: &mut Core, entry: Entry) {
        if let Entry::Start(key) = entry
            && let Some(result) = send_pipe(core, key)
        {
            return match result {
                Ok(()) => core.land_sent(key, 0),
                Err(error) => core.land(key, Err(error)),
            };
        }
        let built = match entry {
            Entry::Cancel(key) => Ok(opcode::AsyncCancel::new(key.to_bits()).build().user_data(key.to_bits() | CANCEL)),
            Entry::Start(key) => self.build(core, key).map(|built| built.user_data(key.to_bits())),
        };
        match (built, entry) {
            (Ok(built), _) => {
                // SAFETY: the entry points only into the operation in its slot, or into its `aux` box, and both stay
                // until the kernel's last completion for this key has landed.
                let pushed = unsafe { self.ring.submission().push(&built) };
                debug_assert!(pushed.is_ok(), "there was room");
            }
            (Err(error), Entry::Start(key) | Entry::Cancel(key)) => core.land(key, Err(error)),
        }
    }

    /// Sends by a call of its own what nobody waits to hear of. In the ring its completion would end the wait that is to follow
    /// at once, to begin another. False if the ring is to see to it, or to the rest of it: it is no such send, or would have to
    /// wait.
    fn send_by_call(&mut self, core: &mut Core, entry: Entry) -> bool {
        let Entry::Start(key) = entry else { return false };
        let Some(op) = core.hushed(key) else { return false };
        let Some(Resource::Os(socket)) =
            op.handle().and_then(|handle| core.handles.entry(handle)).map(|entry| &entry.resource)
        else {
            return false;
        };
        let sent = match op {
            Op::Send { data, zero_copy: false, .. } => os::send_now(socket, &[IoSlice::new(data)]),
            Op::SendList { list, .. } => os::send_now(socket, list.slices(&mut [IoSlice::new(&[]); SEND_BUFFERS_MAX])),
            _ => return false,
        };
        match sent {
            Ok(None) => return false,
            Ok(Some(bytes)) if op.bytes_to_send() > Some(bytes) => {
                self.progress.insert(key, bytes);
                return false;
            }
            Ok(Some(bytes)) => core.land_sent(key, bytes),
            Err(error) => core.land(key, Err(error)),
        }
        true
    }

    fn build(&mut self, core: &mut Core, key: Key) -> Result<squeue::Entry, Error> {
        let (fd, mark) = match core.op(key).ok_or(Error::Closed)?.handle() {
            None => (-1, 0),
            Some(handle) => {
                let entry = core.handles.entry(handle).ok_or(Error::Closed)?;
                let Resource::Os(descriptor) = &entry.resource else { return Err(Error::Unsupported) };
                (descriptor.as_raw_fd(), entry.mark)
            }
        };
        let (fd, features) = (Fd(fd), self.features);
        let sent = self.progress.get(&key).copied().unwrap_or(0);
        Ok(match core.op_mut(key).ok_or(Error::Closed)? {
            Op::Accept { .. } if features.has(Features::MULTISHOT_ACCEPT) => {
                opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()
            }
            Op::Accept { .. } => {
                opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build()
            }
            Op::Connect { peer, .. } => {
                let address = Box::new(SockAddr::from(*peer));
                let entry = opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build();
                self.keep(key, Aux::Address(address));
                entry
            }
            // Of bulk buffers one at a time: each is large beside an entry, and so no upload takes more than its share of them.
            Op::Receive { group: Group::Heads, .. } if features.has(Features::MULTISHOT_RECEIVE) => match mark & WIDE {
                0 => opcode::RecvMulti::new(fd, Group::Heads as u16).build(),
                _ => {
                    // One that finds fewer than it is told of ends its stream, so not more than half of what the ring has.
                    let buffers = RECEIVE_BUNDLE_BUFFERS.min(u32::from(self.groups[Group::Heads as usize].share) / 2);
                    receive_bundle(fd, Group::Heads, buffers * core.receive(Group::Heads).buffer_bytes())
                }
            },
            Op::Receive { group, .. } => opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .buf_group(*group as u16)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            Op::Send { data, zero_copy, .. } => {
                let rest = &data[sent..];
                let (start, len) = (rest.as_ptr(), rest.len() as u32);
                match *zero_copy && features.has(Features::ZERO_COPY) {
                    true => opcode::SendZc::new(fd, start, len).flags(SEND_FLAGS).build(),
                    false => opcode::Send::new(fd, start, len).flags(SEND_FLAGS).build(),
                }
            }
            Op::SendList { list, .. } => {
                let mut aux = self.spare_lists.pop().unwrap_or_else(ListAux::new);
                let ListAux { header, slices } = &mut *aux;
                for (slice, buf) in slices.iter_mut().zip(list.iter()) {
                    // SAFETY: the bytes belong to the list in this operation's slot, which neither moves them nor lets
                    // them go before the operation has landed, and the slices are not looked at after that.
                    *slice = IoSlice::new(unsafe { std::slice::from_raw_parts(buf.as_ptr(), buf.len()) });
                }
                let mut rest = &mut slices[..list.len()];
                IoSlice::advance_slices(&mut rest, sent);
                header.msg_iov = rest.as_mut_ptr().cast();
                header.msg_iovlen = rest.len() as _;
                let entry = opcode::SendMsg::new(fd, header).flags(SEND_FLAGS as u32).build();
                self.keep(key, Aux::List(aux));
                entry
            }
            Op::ReceiveMessage { group, .. } if features.has(Features::MULTISHOT_RECEIVE) => {
                opcode::RecvMsgMulti::new(fd, &*self.message_shape, *group as u16).build()
            }
            Op::ReceiveMessage { group, .. } => {
                let group = *group as u16;
                let mut aux = self.spare_messages.pop().unwrap_or_else(MessageHead::boxed);
                let entry = opcode::RecvMsg::new(fd, aux.set_to_receive()).buf_group(group).build();
                self.keep(key, Aux::Message(aux));
                entry.flags(squeue::Flags::BUFFER_SELECT)
            }
            Op::SendMessage { message, .. } => {
                let mut aux = self.spare_messages.pop().unwrap_or_else(MessageHead::boxed);
                let entry = opcode::SendMsg::new(fd, aux.set_to_send(message)).flags(libc::MSG_NOSIGNAL as u32).build();
                self.keep(key, Aux::Message(aux));
                entry
            }
            Op::Open { file } => {
                let path = CString::new(file.path.as_os_str().as_bytes()).map_err(|_| Error::Invalid)?;
                let flags = os::open_flags(file);
                if file.beneath.is_none() {
                    let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).flags(flags).mode(0o666).build();
                    self.keep(key, Aux::Path(path));
                    return Ok(entry);
                }
                // The kernel refuses a mode for what is not made.
                let mode = if file.create { 0o666 } else { 0 };
                let how = OpenHow::new().flags((flags | libc::O_NONBLOCK) as u64).mode(mode).resolve(os::BENEATH);
                let how = Box::new(how);
                let entry = opcode::OpenAt2::new(fd, path.as_ptr(), &*how).build();
                self.keep(key, Aux::Beneath(path, how));
                entry
            }
            Op::Load { pipe, .. } if pipe.bytes() > 0 => return Err(Error::Invalid),
            Op::Load { offset, bytes, pipe, .. } => {
                let offset = offset_of(*offset)? as i64;
                opcode::Splice::new(fd, offset, Fd(pipe.ends().writing().as_raw_fd()), -1, *bytes).build()
            }
            // The kernel would give it to a thread, which a peer that does not read would keep. So it is waited for here,
            // and then done in one call.
            Op::SendPipe { .. } => opcode::PollAdd::new(fd, libc::POLLOUT as u32).build(),
            Op::Read { offset, into, .. } => {
                let offset = offset_of(*offset)?;
                let spare = into.spare();
                opcode::Read::new(fd, spare.as_mut_ptr(), spare.len() as u32).offset(offset).build()
            }
            Op::Write { offset, data, .. } => {
                let offset = offset_of(*offset)?;
                opcode::Write::new(fd, data.as_ptr(), data.len() as u32).offset(offset).build()
            }
            Op::Sync { .. } => opcode::Fsync::new(fd).flags(FsyncFlags::empty()).build(),
            Op::Stat { .. } => {
                // SAFETY: all zeroes is a valid statx, which the kernel overwrites.
                let mut stat: Box<libc::statx> = Box::new(unsafe { std::mem::zeroed() });
                let place: *mut libc::statx = &mut *stat;
                self.keep(key, Aux::Stat(stat));
                opcode::Statx::new(fd, c"".as_ptr(), place.cast())
                    .flags(libc::AT_EMPTY_PATH)
                    .mask(libc::STATX_BASIC_STATS)
                    .build()
            }
            Op::Sleep { until } => {
                let time = Box::new(Timespec::from(until.saturating_duration_since(now())));
                let entry = opcode::Timeout::new(&*time).build();
                self.keep(key, Aux::Time(time));
                entry
            }
        })
    }

    /// Keeps memory for a slot until its operation has landed.
    fn keep(&mut self, key: Key, aux: Aux) {
        let index = key.index as usize;
        if index >= self.aux.len() {
            self.aux.resize_with(index + 1, || None);
        }
        self.aux[index] = Some(aux);
    }

    fn release_aux(&mut self, key: Key) -> Option<Aux> {
        self.aux.get_mut(key.index as usize)?.take()
    }

    // ---- landing completions ---------------------------------------------------------------------------------------

    /// Lands what is there now; what lands meanwhile is for the next round. True if the shard was unparked.
    fn land(&mut self, core: &mut Core) -> bool {
        let mut unparked = false;
        let ready = self.ring.completion().len();
        for _ in 0..ready {
            let Some(entry) = self.ring.completion().next() else { break };
            match entry.user_data() {
                WAKE => {
                    unparked = true;
                    self.wake_armed = cqueue::more(entry.flags());
                }
                bits if bits & CANCEL != 0 => land_cancel(core, Key::from_bits(bits & !CANCEL), entry.result()),
                bits => self.land_one(core, Key::from_bits(bits), entry.result(), entry.flags()),
            }
        }
        unparked
    }

    fn land_one(&mut self, core: &mut Core, key: Key, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        let Some(op) = core.op(key) else {
            debug_assert!(false, "a completion of a slot that is not in flight");
            return;
        };
        match op {
            Op::Receive { group, .. } => {
                let group = *group;
                self.land_received(core, key, group, result, flags);
            }
            Op::ReceiveMessage { group, .. } => {
                let group = *group;
                self.land_message(core, key, group, result, flags);
            }
            Op::Accept { .. } => self.land_accepted(core, key, result, more),
            Op::Send { .. } if cqueue::notif(flags) => {
                self.release_aux(key);
                // The buffer goes with the slot; the caller has had its answer.
                core.land_sent(key, 0);
            }
            Op::Send { .. } if more => core.answer_early(key, result.max(0) as usize, error_in(result)),
            Op::Send { .. } | Op::SendList { .. } | Op::SendMessage { .. } | Op::Write { .. } => {
                match self.release_aux(key) {
                    Some(Aux::List(aux)) => self.spare_lists.push(aux),
                    Some(Aux::Message(aux)) => self.spare_messages.push(aux),
                    _ => {}
                }
                let sent = if self.progress.is_empty() { 0 } else { self.progress.remove(&key).unwrap_or(0) };
                match error_in(result) {
                    None => core.land_sent(key, sent + result as usize),
                    Some(_) if sent > 0 => core.land_sent(key, sent),
                    Some(error) => core.land(key, Err(error)),
                }
            }
            Op::SendPipe { .. } => match error_in(result) {
                None => core.go_on(key),
                Some(error) => core.land(key, Err(error)),
            },
            Op::Load { .. } => match error_in(result) {
                None => core.land_loaded(key, result as usize),
                Some(error) => core.land(key, Err(error)),
            },
            Op::Read { .. } => match error_in(result) {
                None => core.land_read(key, result as usize),
                Some(error) => core.land(key, Err(error)),
            },
            Op::Connect { .. } | Op::Sync { .. } | Op::Open { .. } | Op::Stat { .. } | Op::Sleep { .. } => {
                let aux = self.release_aux(key);
                let outcome = outcome_of(core, key, result, aux);
                core.land(key, outcome);
            }
        }
    }

    fn land_accepted(&mut self, core: &mut Core, key: Key, result: i32, more: bool) {
        match error_in(result) {
            None => {
                // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
                let descriptor = unsafe { Descriptor::from_raw_fd(result as RawFd) };
                match core.admit(Resource::Os(descriptor)) {
                    Ok(handle) => core.land_part(key, Outcome::Accepted(handle)),
                    Err(_) => core.stats.disposed += 1,
                }
                if !more {
                    core.stream_stopped(key);
                }
            }
            Some(Error::Cancelled) if !more => core.stream_stopped(key),
            Some(error) => core.land(key, Err(error)),
        }
    }

    fn land_received(&mut self, core: &mut Core, key: Key, group: Group, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        if result > 0 {
            let mut buffer = cqueue::buffer_select(flags).expect("received bytes lie in a buffer");
            let mut left = result as u32;
            loop {
                let bytes = left.min(core.receive(group).buffer_bytes());
                // SAFETY: the kernel has taken this buffer out of the ring, to which `publish` gave it, and has filled
                // `bytes` of it; without incremental consumption it writes there no more. What did not fit one buffer
                // went on in those that were published next.
                let chunk = unsafe { core.receive(group).lease(buffer, 0, bytes) };
                core.land_chunk(key, chunk);
                left -= bytes;
                if left == 0 {
                    break;
                }
                buffer = self.groups[group as usize].after(buffer);
            }
            if group == Group::Heads && result as u32 >= core.receive(group).buffer_bytes() {
                self.widen(core, key);
            }
            if !more {
                core.stream_stopped(key);
            }
            return;
        }
        if let Some(buffer) = cqueue::buffer_select(flags) {
            core.receive(group).put_back(buffer);
        }
        match error_in(result) {
            None => core.land(key, Ok(Outcome::EndOfInput)),
            Some(_) if more => {}
            Some(Error::OutOfMemory) if result == -libc::ENOBUFS => self.starve(core, key, group),
            Some(Error::Cancelled) => core.stream_stopped(key),
            Some(error) => core.land(key, Err(error)),
        }
    }

    /// The socket has more to receive than a head buffer holds.
    fn widen(&self, core: &mut Core, key: Key) {
        let handle = core.op(key).and_then(Op::handle);
        if self.features.has(Features::RECEIVE_BUNDLE)
            && let Some(entry) = handle.and_then(|handle| core.handles.entry_mut(handle))
            && entry.mark & WIDE == 0
        {
            entry.mark |= WIDE;
            core.pause(key);
        }
    }

    fn starve(&mut self, core: &mut Core, key: Key, group: Group) {
        self.groups[group as usize].is_short = true;
        core.stream_starved(key);
    }

    fn land_message(&mut self, core: &mut Core, key: Key, group: Group, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        let inbox = match self.release_aux(key) {
            Some(Aux::Message(inbox)) => Some(inbox),
            _ => None,
        };
        let buffer = cqueue::buffer_select(flags);
        if let Some(error) = error_in(result) {
            self.spare_messages.extend(inbox);
            if let Some(buffer) = buffer {
                core.receive(group).put_back(buffer);
            }
            return match error {
                _ if more => {}
                Error::OutOfMemory if result == -libc::ENOBUFS => self.starve(core, key, group),
                Error::Cancelled => core.stream_stopped(key),
                error => core.land(key, Err(error)),
            };
        }
        let data = match buffer {
            // SAFETY: as in `land_received`: the kernel has filled this buffer and writes there no more.
            Some(buffer) => Some(unsafe { core.receive(group).lease(buffer, 0, result as u32) }),
            // A single receive of an empty datagram gives its buffer back.
            None => core.pool.lease(0).map(ChunkMut::freeze),
        };
        let message = match (data, inbox) {
            (Some(data), Some(inbox)) => {
                let received = inbox.received();
                self.spare_messages.push(inbox);
                received.into_message(data)
            }
            (Some(data), None) => self.read_message(data),
            (None, inbox) => {
                self.spare_messages.extend(inbox);
                None
            }
        };
        if let Some(message) = message {
            core.land_part(key, Outcome::Message(Box::new(message)));
        }
        if !more {
            core.stream_stopped(key);
        }
    }

    /// Reads the layout that a multishot receive-message leaves in its buffer: header, name, control, payload.
    fn read_message(&self, chunk: Chunk) -> Option<Message> {
        let parsed = RecvMsgOut::parse(&chunk, &self.message_shape).ok()?;
        let peer = os::address_of(parsed.name_data())?;
        let Told { segment, ecn, local } = os::read_control(parsed.control_data());
        let truncated = parsed.is_payload_truncated();
        let offset = parsed.payload_data().as_ptr() as usize - chunk.as_ptr() as usize;
        let data = chunk.slice(offset..offset + parsed.payload_data().len());
        Some(Message { data, peer, segment, ecn, truncated, local })
    }

    pub(crate) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.aux));
        for group in &mut self.groups {
            group.leak();
        }
    }
}

/// Passes on to its socket what a pipe holds. `None` if the operation is another, or has to wait for room.
fn send_pipe(core: &mut Core, key: Key) -> Option<Result<(), Error>> {
    loop {
        let Some(Op::SendPipe { socket, pipe }) = core.op(key) else { return None };
        let Some(Resource::Os(socket)) = core.handles.entry(*socket).map(|entry| &entry.resource) else {
            return Some(Err(Error::Unsupported));
        };
        if pipe.bytes() == 0 {
            return Some(Ok(()));
        }
        // For this call alone: operations of the ring are to wait for what would block them.
        let sent = os::set_nonblocking(socket, true).map(|()| pipe.ends().send(socket, pipe.bytes()));
        let restored = os::set_nonblocking(socket, false);
        match (sent, restored) {
            (Ok(Ok(0)), Ok(())) => return Some(Err(Error::BrokenPipe)),
            (Ok(Ok(bytes)), Ok(())) => {
                core.emptied(key, bytes);
            }
            (Ok(Err(Errno::AGAIN)), Ok(())) => return None,
            (Ok(Err(Errno::INTR)), Ok(())) => {}
            (Ok(Err(errno)), Ok(())) => return Some(Err(error_of(errno.raw_os_error()))),
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
        }
    }
}

/// A receive that comes again and fills as many buffers of the group as there are bytes for, up to `bytes` at a time.
fn receive_bundle(fd: Fd, group: Group, bytes: u32) -> squeue::Entry {
    /// Where the kernel's `io_uring_sqe` has its length, which the library leaves alone here: words from the beginning.
    const LENGTH: usize = 6;
    const { assert!(size_of::<squeue::Entry>() == 64 && align_of::<squeue::Entry>() >= align_of::<u32>()) };
    let mut entry = opcode::RecvMultiBundle::new(fd, group as u16).build();
    // SAFETY: an entry is `repr(C)` around that structure and nothing else, so this word is its length.
    unsafe { std::ptr::from_mut(&mut entry).cast::<u32>().add(LENGTH).write(bytes) };
    entry
}

/// Looks at what a cancel has come to. When the kernel has not found an operation on a socket, that has ended, or is on its
/// way between two places where it would be found and must be asked for again. One on a file is not found while the device
/// works on it, and ends by itself.
fn land_cancel(core: &mut Core, key: Key, result: i32) {
    let on_socket = core.op(key).is_some_and(Op::is_on_socket);
    if result == -libc::ENOENT && on_socket && core.awaits_end(key) {
        core.queue.push_back(Entry::Cancel(key));
    }
}

const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// IORING_ENTER_GETEVENTS.
const GETEVENTS: u32 = 1;

/// An offset as the kernel takes it. To a ring, -1 means wherever the file's own position is.
fn offset_of(offset: u64) -> Result<u64, Error> {
    i64::try_from(offset).map(|_| offset).map_err(|_| Error::Invalid)
}

fn error_in(result: i32) -> Option<Error> {
    (result < 0).then(|| error_of(-result))
}

/// The outcome of the operations that end with no more than a status.
fn outcome_of(core: &mut Core, key: Key, result: i32, aux: Option<Aux>) -> Result<Outcome, Error> {
    let op = core.op(key).ok_or(Error::Closed)?;
    match (error_in(result), op) {
        (Some(_), Op::Sleep { .. }) if result == -libc::ETIME => Ok(Outcome::Elapsed),
        (Some(_), Op::Open { file }) if file.beneath.is_some() => Err(error_of(os::as_beneath(-result))),
        (Some(error), _) => Err(error),
        (None, Op::Connect { .. }) => Ok(Outcome::Connected),
        (None, Op::Sync { .. }) => Ok(Outcome::Synced),
        (None, Op::Sleep { .. }) => Ok(Outcome::Elapsed),
        (None, Op::Open { file }) => {
            let is_beneath = file.beneath.is_some();
            // SAFETY: the kernel has just made this descriptor for us, and nothing else knows its number.
            let descriptor = unsafe { Descriptor::from_raw_fd(result as RawFd) };
            if is_beneath {
                // It was opened without waiting; a ring waits for reads by itself.
                os::set_nonblocking(&descriptor, false)?;
            }
            core.admit(Resource::Os(descriptor)).map(Outcome::Opened)
        }
        (None, Op::Stat { .. }) => match aux {
            Some(Aux::Stat(stat)) => Ok(Outcome::Stat(stat_of(&stat))),
            _ => Err(Error::Invalid),
        },
        (None, op) => unreachable!("{} does not end with a status", op.name()),
    }
}

fn stat_of(stat: &libc::statx) -> Stat {
    let kind = u32::from(stat.stx_mode) & libc::S_IFMT;
    let seconds = Duration::new(stat.stx_mtime.tv_sec.max(0) as u64, stat.stx_mtime.tv_nsec);
    Stat {
        bytes: stat.stx_size,
        is_file: kind == libc::S_IFREG,
        is_directory: kind == libc::S_IFDIR,
        modified: UNIX_EPOCH + seconds,
        inode: stat.stx_ino,
    }
}

impl ListAux {
    fn new() -> Box<Self> {
        // SAFETY: all zeroes is a valid message header.
        let header = unsafe { std::mem::zeroed() };
        Box::new(ListAux { header, slices: [IoSlice::new(&[]); SEND_BUFFERS_MAX] })
    }
}

#[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "a kernel out of memory is given a moment; nothing else can be done")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A ring of buffers that the kernel takes from when data arrives.
struct BufferRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    count: u16,
    tail: u16,
    /// Of each buffer, the one that was published after it. It stays so until the buffer itself is published again.
    next: Box<[u16]>,
    last: u16,
    /// As many as the kernel is given. It goes round all that it has, so they are no more than a turn needs: the rest stays
    /// home, where the latest to come is the first to go, still in the cache.
    share: u16,
    /// A receive has found none since the last turn.
    is_short: bool,
    /// The fewest that the kernel had left in the last so many turns.
    least: u16,
    turns: u16,
    group: u16,
    leaked: bool,
}

impl BufferRing {
    fn open(ring: &IoUring, group: u16, count: u16) -> Result<Self, SetupError> {
        let layout = Layout::array::<BufRingEntry>(usize::from(count))
            .and_then(|layout| layout.align_to(4096))
            .expect("a ring of at most 32,768 entries");
        // SAFETY: the layout's size is not zero: a group has at least one buffer.
        let Some(entries) = NonNull::new(unsafe { alloc_zeroed(layout) }.cast()) else { handle_alloc_error(layout) };
        let next = vec![0; usize::from(count)].into_boxed_slice();
        let this = BufferRing {
            entries,
            layout,
            count,
            tail: 0,
            next,
            last: 0,
            share: least_share(count),
            is_short: false,
            least: count,
            turns: 0,
            group,
            leaked: false,
        };
        // SAFETY: the memory is page-aligned, as large as `count` entries, and is freed only in `drop`, which runs after
        // the ring itself is gone (fields of `Uring` drop in order, `ring` first; a probe closes the group before).
        unsafe { ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count, group, 0) }
            .map_err(|error| unavailable(&error))?;
        Ok(this)
    }

    /// Gives the group up before the ring.
    fn close(self, ring: &IoUring) {
        let _ = ring.submitter().unregister_buf_ring(self.group);
    }

    /// Gives the kernel buffers that are home, up to its share.
    fn publish(&mut self, core: &Core, group: Group) {
        let receive = core.receive(group);
        let held = receive.taken();
        if held == self.share && !self.is_short {
            return;
        }
        self.adjust(held);
        for _ in held..self.share {
            let Some(buffer) = receive.take() else { break };
            self.next[usize::from(self.last)] = buffer;
            self.last = buffer;
            // SAFETY: the index is masked by the ring's power-of-two size; the kernel reads an entry only after the tail
            // has passed it, which happens below.
            let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & (self.count - 1))) };
            entry.set_addr(receive.start(buffer).as_ptr() as u64);
            entry.set_len(receive.buffer_bytes());
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: the tail lies in the first entry of the ring, aligned for `u16`, and is read by the kernel with acquire
        // semantics; only this thread writes it.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) }
            .store(self.tail, Ordering::Release);
    }

    /// Doubles the share when it was too small, and halves it when little of it was used for a good while.
    fn adjust(&mut self, held: u16) {
        self.least = self.least.min(held);
        self.turns += 1;
        if self.is_short {
            self.share = (2 * self.share).min(self.count);
        } else if self.turns < RING_SHARE_TURNS {
            return;
        } else if self.least > self.share / 4 * 3 {
            self.share = (self.share / 2).max(least_share(self.count));
        }
        (self.is_short, self.least, self.turns) = (false, self.count, 0);
    }

    /// The buffer that was published after this one, in which the kernel goes on.
    fn after(&self, buffer: u16) -> u16 {
        self.next[usize::from(buffer)]
    }

    fn leak(&mut self) {
        self.leaked = true;
    }
}

fn least_share(count: u16) -> u16 {
    (count / RING_SHARE).max(RING_BUFFERS_MIN).min(count)
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated in `open` with this layout; the ring that knew it is gone or has unregistered it.
            unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) }
        }
    }
}
