//! The closed vocabulary: everything a shard asks of its backend, and every answer.
//!
//! An [`Op`] moves in with the memory it needs and that memory comes back in its [`Completion`]. One-shot operations
//! complete once; *streams* ([`Accept`](Op::Accept), [`Receive`](Op::Receive), [`ReceiveMessage`](Op::ReceiveMessage))
//! complete many times, each completion saying whether more follow. Re-arming, pausing a stream whose reader is slow and
//! recovering from an empty buffer pool happen below this line: a stream ends only with an error, at the end of input, or
//! when it is cancelled.
//!
//! Besides the errors that each operation lists, every operation can end with [`Error::Cancelled`], [`Error::Closed`] (the
//! handle is stale) and [`Error::OutOfMemory`]. The kernel tells why a connection has failed once, to whichever operation meets
//! it first; those that come later end with `EndOfInput` and `BrokenPipe`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use crate::Error;
use crate::buffer::{Buf, BufList, Chunk, ChunkMut};
use crate::handle::Handle;
use crate::limits::{BULK_QUEUE_MAX, STREAM_QUEUE_MAX};
use crate::pipe::Pipe;

/// One request to the backend. At most 64 bytes, so that a queue of them stays dense.
#[derive(Debug)]
#[non_exhaustive]
pub enum Op {
    /// Accepts connections: a stream of [`Outcome::Accepted`].
    ///
    /// Errors: `OutOfDescriptors` and `OutOfMemory` (the connection waits in the accept queue; try again after a pause),
    /// `Aborted`, `Invalid` (not listening).
    Accept {
        /// A listening socket.
        listener: Handle,
    },
    /// Connects a stream socket, or sets the peer of a datagram socket: [`Outcome::Connected`].
    ///
    /// Errors: `Refused`, `Unreachable`, `TimedOut`, `Reset`, `AddressNotAvailable`, `Denied`.
    Connect {
        /// A socket that is not yet connected.
        socket: Handle,
        /// Where to.
        peer: SocketAddr,
    },
    /// Receives from a stream socket into the shard's buffers: a stream of [`Outcome::Received`] that
    /// ends with [`Outcome::EndOfInput`].
    ///
    /// Errors: `Reset`, `TimedOut`, `NotConnected`.
    Receive {
        /// A connected stream socket.
        socket: Handle,
        /// From which buffers.
        group: Group,
    },
    /// Sends all of one buffer unless an error intervenes: [`Outcome::Sent`], with the buffer. One at a time on each socket:
    /// where two have to wait for room, the kernel may mix their bytes.
    ///
    /// Errors: `BrokenPipe`, `Reset`, `TimedOut`, `NotConnected`. A transfer that fails after some bytes have left
    /// reports these bytes, and the next send fails.
    Send {
        /// A connected stream socket.
        socket: Handle,
        /// What to send.
        data: Buf,
        /// Whether the kernel may send straight from the memory; the buffer then stays with it until it says so, which
        /// nobody waits for, and the completion carries an empty one.
        zero_copy: bool,
    },
    /// Sends a list of buffers in order: [`Outcome::SentList`]. Errors as [`Send`](Op::Send).
    SendList {
        /// A connected stream socket.
        socket: Handle,
        /// What to send; at most [`SEND_BUFFERS_MAX`](crate::limits::SEND_BUFFERS_MAX) buffers.
        list: Box<BufList>,
    },
    /// Receives datagrams, each with its sender: a stream of [`Outcome::Message`]. A datagram that does not fit a buffer
    /// of the group is cut and marked.
    ///
    /// Errors: `Refused` (an earlier send met a closed port; the socket goes on), `NotConnected`.
    ReceiveMessage {
        /// A datagram socket.
        socket: Handle,
        /// From which buffers.
        group: Group,
    },
    /// Sends one datagram, or several of equal size as one batch: [`Outcome::SentMessage`].
    ///
    /// Errors: `TooLarge`, `Refused`, `Unreachable`, `Denied`, `Invalid`. A source that this machine has not is
    /// `Invalid` or `Unreachable`, by the kernel.
    SendMessage {
        /// A datagram socket.
        socket: Handle,
        /// What and where to.
        message: Box<Datagram>,
    },
    /// Opens a file: [`Outcome::Opened`].
    ///
    /// Errors: `NotFound`, `Denied`, `OutOfDescriptors`, `NoSpace`, `Invalid`, `Os` (EISDIR). Beneath a directory: `Denied`
    /// also for a path that leads out of it, and for what no file can be read from (a socket); `NotFound` also for a path
    /// through a file, and a name that is too long; `Unsupported` on Windows.
    Open {
        /// Where, and how.
        file: Box<OpenFile>,
    },
    /// Reads from a file at an offset into the spare room of a chunk: [`Outcome::Read`]. No byte read is the end of file.
    ///
    /// Errors: `Invalid` (an offset beyond all files), `Denied` (the file is not open for reading), `Os` (EIO, EISDIR).
    Read {
        /// A file.
        file: Handle,
        /// Bytes from the file's start.
        offset: u64,
        /// Where to; the bytes are appended.
        into: ChunkMut,
    },
    /// Puts references to a file's bytes into an empty pipe, as many as it takes and at most `bytes`: [`Outcome::Loaded`]. No
    /// byte is the end of file.
    ///
    /// Errors: `Invalid` (the pipe is not empty; a file that has no pages), `Denied` (the file is not open for reading), `Os`
    /// (EIO).
    Load {
        /// A file.
        file: Handle,
        /// Bytes from the file's start.
        offset: u64,
        /// How many at most.
        bytes: u32,
        /// Where to: see [`Reactor::pipe`](crate::Reactor::pipe).
        pipe: Pipe,
    },
    /// Sends all that a pipe holds: [`Outcome::SentPipe`]. One at a time on each socket, and none beside it. When it fails,
    /// any part may have left.
    ///
    /// Errors: as [`Send`](Op::Send).
    SendPipe {
        /// A connected stream socket.
        socket: Handle,
        /// What to send.
        pipe: Pipe,
    },
    /// Writes a buffer to a file at an offset: [`Outcome::Sent`] with the number of bytes written, which may be fewer.
    ///
    /// Errors: `NoSpace`, `Denied` (the file is not open for writing), `Invalid` (an offset beyond all files), `Os` (EIO).
    Write {
        /// A file.
        file: Handle,
        /// Bytes from the file's start.
        offset: u64,
        /// What to write.
        data: Buf,
    },
    /// Waits until what was written to a file is on the device: [`Outcome::Synced`].
    ///
    /// Errors: `NoSpace`, `Invalid` (nothing that has a device), `Os` (EIO).
    Sync {
        /// A file.
        file: Handle,
    },
    /// Asks for a file's size, kind and time of change: [`Outcome::Stat`].
    ///
    /// Errors: `Denied`.
    Stat {
        /// A file.
        file: Handle,
    },
    /// Ends at a point in time: [`Outcome::Elapsed`], never early. Shards have a timer wheel for the many; this is for
    /// the few that must wake a backend by themselves.
    ///
    /// Errors: none of its own.
    Sleep {
        /// When.
        until: Instant,
    },
}

const _: () = assert!(size_of::<Op>() <= 64);

/// Which of the shard's receive buffers a stream draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Many small buffers, for request heads and small messages.
    Heads = 0,
    /// Few large ones, used only while a body is read.
    Bulk = 1,
}

/// The answer to an operation.
#[derive(Debug)]
pub struct Completion {
    /// What came of it.
    pub result: Result<Outcome, Error>,
    /// Whether more completions of the same operation follow. After the last its token is spent.
    pub more: bool,
}

/// What a successful operation gives back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// A new connection.
    Accepted(Handle),
    /// The connection is established.
    Connected,
    /// A lease on received bytes, at least one.
    Received(Chunk),
    /// The peer sends no more.
    EndOfInput,
    /// How many bytes left, and the buffer they came from (empty after a zero-copy send).
    Sent {
        /// Bytes taken by the kernel.
        bytes: usize,
        /// The buffer, whole.
        data: Buf,
    },
    /// How many bytes left, and the list they came from.
    SentList {
        /// Bytes taken by the kernel.
        bytes: usize,
        /// The list, whole.
        list: Box<BufList>,
    },
    /// A datagram, or a batch of them from one sender.
    Message(Box<Message>),
    /// A datagram has been handed to the kernel; its parts come back.
    SentMessage {
        /// Bytes taken by the kernel.
        bytes: usize,
        /// The datagram, for another use of its memory.
        message: Box<Datagram>,
    },
    /// An open file.
    Opened(Handle),
    /// The chunk, with `bytes` more at its end.
    Read {
        /// Bytes read; none at the end of file.
        bytes: usize,
        /// The chunk.
        chunk: ChunkMut,
    },
    /// The pipe, with what it holds now.
    Loaded(Pipe),
    /// The pipe, empty.
    SentPipe(Pipe),
    /// All that was written is on the device.
    Synced,
    /// A file's facts.
    Stat(Stat),
    /// The time has come.
    Elapsed,
}

/// A datagram to send.
#[derive(Debug)]
pub struct Datagram {
    /// Where to; not needed on a connected socket.
    pub peer: Option<SocketAddr>,
    /// The bytes. Recycled by the sender, so a steady flow allocates nothing.
    pub data: Vec<u8>,
    /// Size of each datagram when `data` holds several of equal size (the last may be shorter): generic segmentation
    /// offload, Linux 4.18; elsewhere they are sent one by one. `None` sends one.
    pub segment: Option<u16>,
    /// The two ECN bits of the IP header (RFC 3168). Set on Linux only.
    pub ecn: u8,
    /// Which address of this machine it comes from, where the socket is bound to no particular one: an answer comes from
    /// where its question went to ([`Message::local`]). Heeded on Linux only; `None` leaves it to the route.
    pub source: Option<IpAddr>,
}

/// A received datagram, or several of one sender that the kernel has joined.
#[derive(Debug)]
pub struct Message {
    /// The bytes.
    pub data: Chunk,
    /// Who sent them.
    pub peer: SocketAddr,
    /// Size of each datagram when the kernel joined several (generic receive offload, Linux 5.0).
    pub segment: Option<u16>,
    /// The two ECN bits of the IP header, where the socket asks for them; zero on other systems than Linux.
    pub ecn: u8,
    /// Whether the datagram was longer than the buffer and has been cut.
    pub truncated: bool,
    /// Which address of this machine it went to, in the form that `peer` has, where the socket asks for it
    /// ([`SocketOption::TellLocal`](crate::SocketOption::TellLocal)).
    pub local: Option<IpAddr>,
}

/// How to open a file.
#[derive(Debug)]
pub struct OpenFile {
    /// Where.
    pub path: PathBuf,
    /// The open directory that the path begins in and must not leave, neither by `..` nor by an absolute path nor by a
    /// symbolic link; links that stay within are followed on Linux 5.6, and none elsewhere. A pipe or a device is opened
    /// without waiting for its other side. `None` opens any path.
    pub beneath: Option<Handle>,
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Make it if it is missing.
    pub create: bool,
    /// Empty it first.
    pub truncate: bool,
}

/// Facts about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes.
    pub bytes: u64,
    /// A regular file, and not a directory or a device.
    pub is_file: bool,
    /// A directory.
    pub is_directory: bool,
    /// Time of the last change of its content.
    pub modified: SystemTime,
    /// The number by which its file system knows it; zero where that is not told.
    pub inode: u64,
}

/// How long [`Reactor::enter`](crate::Reactor::enter) may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: submit, and land what is there.
    No,
    /// Until something completes or this moment has come.
    Until(Instant),
    /// Until something completes or the shard is unparked.
    Forever,
}

impl Op {
    /// The handle that the operation works on.
    pub fn handle(&self) -> Option<Handle> {
        match self {
            Op::Accept { listener: handle }
            | Op::Connect { socket: handle, .. }
            | Op::Receive { socket: handle, .. }
            | Op::Send { socket: handle, .. }
            | Op::SendList { socket: handle, .. }
            | Op::ReceiveMessage { socket: handle, .. }
            | Op::SendMessage { socket: handle, .. }
            | Op::SendPipe { socket: handle, .. }
            | Op::Load { file: handle, .. }
            | Op::Read { file: handle, .. }
            | Op::Write { file: handle, .. }
            | Op::Sync { file: handle }
            | Op::Stat { file: handle } => Some(*handle),
            Op::Open { file } => file.beneath,
            Op::Sleep { .. } => None,
        }
    }

    /// The buffers that a receiving stream draws from.
    pub(crate) fn group(&self) -> Option<Group> {
        match self {
            Op::Receive { group, .. } | Op::ReceiveMessage { group, .. } => Some(*group),
            _ => None,
        }
    }

    /// Completions of a stream that may wait unread before it is paused.
    pub(crate) fn queue_max(&self) -> u32 {
        match self {
            Op::Receive { group: Group::Bulk, .. } => BULK_QUEUE_MAX,
            _ => STREAM_QUEUE_MAX,
        }
    }

    /// Bytes of the buffers that are to be sent on a connection.
    pub(crate) fn bytes_to_send(&self) -> Option<usize> {
        match self {
            Op::Send { data, .. } => Some(data.len()),
            Op::SendList { list, .. } => Some(list.bytes()),
            _ => None,
        }
    }

    /// Whether the operation completes many times.
    pub fn is_stream(&self) -> bool {
        matches!(self, Op::Accept { .. } | Op::Receive { .. } | Op::ReceiveMessage { .. })
    }

    /// Whether the operation works on a socket, and so can wait for another machine.
    pub(crate) fn is_on_socket(&self) -> bool {
        match self {
            Op::Accept { .. }
            | Op::Connect { .. }
            | Op::Receive { .. }
            | Op::Send { .. }
            | Op::SendList { .. }
            | Op::ReceiveMessage { .. }
            | Op::SendMessage { .. }
            | Op::SendPipe { .. } => true,
            Op::Open { .. }
            | Op::Load { .. }
            | Op::Read { .. }
            | Op::Write { .. }
            | Op::Sync { .. }
            | Op::Stat { .. }
            | Op::Sleep { .. } => false,
        }
    }

    /// Whether the operation works on an open file.
    pub(crate) fn is_on_file(&self) -> bool {
        matches!(self, Op::Load { .. } | Op::Read { .. } | Op::Write { .. } | Op::Sync { .. } | Op::Stat { .. })
    }

    /// A short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Accept { .. } => "accept",
            Op::Connect { .. } => "connect",
            Op::Receive { .. } => "receive",
            Op::Send { .. } => "send",
            Op::SendList { .. } => "send-list",
            Op::ReceiveMessage { .. } => "receive-message",
            Op::SendMessage { .. } => "send-message",
            Op::Open { .. } => "open",
            Op::Load { .. } => "load",
            Op::SendPipe { .. } => "send-pipe",
            Op::Read { .. } => "read",
            Op::Write { .. } => "write",
            Op::Sync { .. } => "sync",
            Op::Stat { .. } => "stat",
            Op::Sleep { .. } => "sleep",
        }
    }
}
