//! Every bound of this package, with its reason.

use std::time::Duration;

/// Operations that one shard may have in flight. Each open connection holds one receive and at times one send, so this
/// admits half a million connections a shard; a slot costs at most 128 bytes and is made when first needed.
pub const OPERATIONS_MAX: u32 = 1 << 20;

/// Sockets and files that one shard may have open; the process's RLIMIT_NOFILE is the usual limit long before.
pub const HANDLES_MAX: u32 = 1 << 20;

/// Completions of one stream (accepts, receives) that wait unread before the stream is paused. A peer that sends faster
/// than its handler reads pins this many receive buffers and little more: on readiness by epoll one, since one call fills two.
/// On io_uring one go of a multishot receive may fill all head buffers that are free, before anybody can ask it
/// to stop; those that make them scarce are copied ([`SCARCE_SHARE`]) and home at once.
pub const STREAM_QUEUE_MAX: u32 = 8;

/// The same for a stream that receives into large buffers: one lands while the one before it is read.
pub const BULK_QUEUE_MAX: u32 = 2;

/// Entries of the submission queue. A turn that starts more operations enters the kernel more than once.
pub const URING_SUBMISSION_ENTRIES: u32 = 1024;

/// Entries that are looked at for sends to be made by plain calls, before a shard sleeps that has no more of them: a call costs
/// less than to be woken by the completion and to enter the kernel again, as long as they are few.
pub const URING_CALLS_MAX: usize = 2;

/// Entries of the completion queue. An overflow is kept by the kernel and costs an extra enter, so this is generous.
pub const URING_COMPLETION_ENTRIES: u32 = 8192;

/// Random numbers that a shard takes from the kernel at a time: 256 bytes, the most that come whole however early (getrandom(2)). A
/// request through a gateway takes some six, and a system call for each of them was a twentieth of its cost.
pub const RANDOM_NUMBERS: usize = 32;

/// Entries into the kernel that the probe of a ring makes while they fail for a passing reason, a millisecond apart: enough
/// to outlast a signal or two, and short beside the start of a process.
pub const PROBE_ENTERS_MAX: u32 = 8;

/// Buffers for request heads and small messages, per shard: one for each connection that has data in the same turn. Beyond that
/// many in one turn, streams wait for a buffer to come home.
/// A power of two, at most 32,768, as the kernel's provided-buffer ring demands.
pub const HEAD_BUFFER_COUNT: u16 = 512;

/// Bytes of one such buffer: a browser's head is 400 to 2,000 bytes, and a post of 16 KiB comes in one piece with its head. What
/// is not written to is not touched.
pub const HEAD_BUFFER_BYTES: u32 = 265 * 64;

/// Bytes before each of them that nothing is received into: an answer's head is written there, before a body that is sent back or
/// passed on from where it lies, though the head that came with it was shorter. Most heads have less than 256 bytes.
pub const HEADROOM_BYTES: u32 = 4 * 64;
// So the first lines of all do not meet in the same few sets of a cache.
const _: () = assert!((HEAD_BUFFER_BYTES + HEADROOM_BYTES) / 64 % 2 == 1, "an odd number of cache lines");

/// The kernel goes round all buffers of its ring, so these are what stays in the cache: it is given one in so many, and more
/// only while these do not suffice. Of those for heads that is half a megabyte if bodies come in them, half of a core's
/// second-level cache; with all of them, posts of 16 KiB cost a tenth more.
pub const RING_SHARE: u16 = 16;

/// And so many at the least.
pub const RING_BUFFERS_MIN: u16 = 8;

/// Turns that gave buffers back to the kernel of which none needed a quarter of its share, before that is halved: some
/// milliseconds under load.
pub const RING_SHARE_TURNS: u16 = 256;

/// Buffers for bodies, per shard; used only while a body is read, so uploads cannot starve heads.
pub const BULK_BUFFER_COUNT: u16 = 32;

/// Bytes of one such buffer: the largest GRO batch, and four 16 KiB writes in one completion.
pub const BULK_BUFFER_BYTES: u32 = 64 * 1024;

/// Below this share of free receive buffers (1 in N), received data is copied into pooled chunks as it lands. So readers
/// that are slow, or peers that do not read their answers, pin pooled memory up to its bound and never the last buffers.
pub const SCARCE_SHARE: u32 = 8;

/// Bytes of pooled chunks that one shard may lease at a time.
pub const POOL_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Largest pooled chunk. Whatever is larger is built of several, or is a `Vec`.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the pooled chunk before that: 16 KiB, as files and bodies are read by, and what frames them. A record of TLS carries
/// so much and 22 bytes of its own, 261 at the most, and would else take the largest chunk.
pub const RECORD_CHUNK_BYTES: usize = 17 * 1024;

/// Buffers of one vectored send; the kernel's UIO_FASTIOV of 8 needs no allocation there, and 64 gather a full pipeline.
pub const SEND_BUFFERS_MAX: usize = 64;

/// Send lists that a pool keeps for the next: a steady server allocates none, and an idle one keeps no more than this.
pub const SEND_LIST_SPARES_MAX: usize = 1024;

/// How long dropping a reactor waits for the kernel to give back what it holds; after that the memory is leaked, never
/// unmapped under the kernel.
pub const TEARDOWN_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often dropping a reactor of a simulated machine looks for what has ended, where no time passes. What has been cancelled
/// ends at the first look, so whoever comes here has lost something.
pub const TEARDOWN_LOOKS_MAX: u32 = 1000;

/// Length of the queue of connections that the kernel has accepted and no shard has yet; the kernel clips it to
/// net.core.somaxconn.
pub const BACKLOG: i32 = 4096;

/// Bytes that the kernel takes of a connection ahead of what the peer and the path let it send: it has something to send while
/// a shard makes more. Measured with answers of 1 MiB over loopback: 128 KiB cost 4 to 7 % of CPU time, 512 KiB nothing, and this
/// is within noise. Without a bound a thousand peers that read nothing hold gigabytes of the kernel's.
pub const UNSENT_BYTES_MAX: u32 = 256 * 1024;

/// Leases on receive buffers up to this size are copied rather than kept when they outlive their turn: a copy of 1 KiB
/// costs some 30 ns, a pinned buffer costs another connection its data.
pub const COMPACT_BYTES_MAX: usize = 1024;

/// Chunks up to this size are copied when they are shared with other threads, and pin nothing. At 1 KiB a copy costs 50 ns and
/// sharing 67, its way home included; at 1.5 KiB 86 and 68, at 4 KiB 133 and 95 (`--bench share`).
pub const SHARE_COPY_BYTES_MAX: usize = 1024;

/// Leases of one pool that may be out as shared; beyond it they are copied. What other threads hold goes by their pace, and
/// nothing but their own limits ends it. The way home is as long as this, in bits.
pub const SHARED_MAX: usize = 1024;

/// The share of a group's receive buffers, and of the pool's bytes, that may be out as shared: 1 in N. Half of the rest can
/// still be leased at home before received data is copied as it lands ([`SCARCE_SHARE`]).
pub const SHARED_SHARE: u32 = 4;
const _: () =
    assert!(SHARED_SHARE < SCARCE_SHARE && SHARED_MAX * CHUNK_BYTES_MAX <= POOL_BYTES_MAX / SHARED_SHARE as usize);

/// Readiness: system calls of one operation (accepts, receives, sends) in one turn. What a stream has more than that waits
/// for the next turn, so a flooding peer gets no more of a turn than a polite one.
pub const TRANSFERS_PER_TURN_MAX: u32 = 4;

/// Readiness by epoll: buffers that one receive fills when the last one has shown that there is more than one holds. A post
/// of 16 KiB and its head lie in one; twice that much is as good as it gets.
pub const RECEIVE_BUFFERS_MAX: usize = 2;

/// Head buffers that one receive fills on a ring at the most, of a socket that has had more to receive than one holds: 265 KiB. Four, a
/// body of 64 KiB and its head, cost posts of 1 MiB 7 %, as each begins with a receive into these.
pub const RECEIVE_BUNDLE_BUFFERS: u32 = 16;
const _: () = assert!(RECEIVE_BUNDLE_BUFFERS * HEAD_BUFFER_BYTES > BULK_BUFFER_BYTES);

/// Bytes of a file that a pipe is to hold: each load costs a hand-over to another thread, some 10 us. More would let a slow
/// peer take longer over one send.
pub const PIPE_BYTES: usize = 128 * 1024;

/// Pipes of one shard. Linux lets a user without privileges have 64 MiB of them in all (fs.pipe-user-pages-soft), which is
/// enough for eight shards; then they are given a page or two each, and do with that.
pub const PIPES_MAX: usize = 64;
const _: () = assert!(8 * PIPES_MAX * PIPE_BYTES <= 64 << 20);

/// Room for the control messages of one datagram, each a header of 16 bytes and its data in multiples of 8: how large its
/// segments are (24), its ECN bits (24), and which of our addresses it is about (40).
pub const MESSAGE_CONTROL_BYTES: usize = 24 + 24 + 40;

/// Readiness: datagrams taken by one system call (recvmmsg), or sent by one (sendmmsg) if as many wait on their socket. Four cost a quarter less than one by one (580 ns instead of
/// 790 for each of 1,200 bytes, loopback), eight would save little more and fill a stream's queue at once. Fewer than asked
/// for mean that there are no more, which saves the look that finds nothing.
pub const DATAGRAMS_PER_CALL_MAX: usize = 4;
const _: () = assert!(DATAGRAMS_PER_CALL_MAX < STREAM_QUEUE_MAX as usize);
/// Bytes that one call is given to send, where a poller tells of room: Windows takes all that it is given in one call, however
/// full its buffer is, and a peer that does not read would have it keep all of a response.
pub const SEND_BYTES_MAX: usize = 256 * 1024;

/// Datagrams of one batch, where they are sent one by one: as many as Linux takes in one call (UDP_MAX_SEGMENTS).
pub const SEGMENTS_MAX: usize = 128;

/// Readiness: events taken from the kernel at once; more are taken by the next look.
pub const READINESS_EVENTS_MAX: usize = 256;

/// Readiness: turns of a busy shard between two looks at the kernel. A look costs a system call (250 ns) in a turn that may
/// be far shorter; a shard that is about to sleep always looks.
pub const READINESS_BUSY_TURNS_MAX: u32 = 8;

/// Readiness: the longest single wait in the kernel, whose time-out is an `int` of milliseconds. Longer waits are several.
pub const READINESS_WAIT_MAX: Duration = Duration::from_secs(3600);

/// Readiness: threads of one shard for files, which are never ready and always block. Each is made when it is first needed.
/// Work that waits for a thread is bounded by [`OPERATIONS_MAX`], since each operation is queued once.
pub const FILE_THREADS_MAX: usize = 4;

/// Bytes of a green thread's stack. Only what is touched costs memory; deep calls of libraries (a panic's backtrace, a parser)
/// take some tens of KiB, and twice that without optimisation.
pub const GREEN_STACK_BYTES: usize = 256 * 1024;

/// The smallest stack: with less, a panic could not be formatted.
pub const GREEN_STACK_BYTES_MIN: usize = 32 * 1024;
const _: () = assert!(GREEN_STACK_BYTES >= GREEN_STACK_BYTES_MIN);

/// Green threads of one shard. Each stack is two mappings of the process, its guard page one of them, and Linux admits 65,530
/// (vm.max_map_count): enough for thirty shards.
pub const GREEN_STACKS_MAX: usize = 1024;

/// Bytes of the stack on which a thread learns that it has overflowed another, if it has none of its own: for a signal's frame,
/// which is 12 KiB where registers are widest, and Rust's handler.
pub const SIGNAL_STACK_BYTES: usize = 64 * 1024;

/// Sockets that go with one message between a process and its successor: well below the kernel's SCM_MAX_FD, 253.
pub const CORD_SOCKETS_MAX: usize = 64;

/// Bytes of such a message. The longest says why a start has failed.
pub const CORD_BYTES_MAX: usize = 4096;

/// How long one end of it waits until the other reads, or a process that was just started until it is told what it inherits.
/// Both are local and have nothing else to do.
pub const CORD_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes that may be on the way from a process to its successor, or back, of datagrams that reached the wrong one: some hundred.
/// What does not fit is dropped, as a socket's queue would drop it.
pub const FERRY_BYTES_MAX: usize = 1 << 20;

/// Sockets that a service manager may pass: more addresses than any program serves.
pub const SERVICE_SOCKETS_MAX: usize = 256;
