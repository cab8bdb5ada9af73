//! Every bound of the simulated machine, with its reason.

use std::ops::Range;
use std::time::Duration;

/// Bytes that a stream takes from its senders before they wait, until `SocketOption::SendBuffer` says otherwise. Smaller
/// than a kernel's, so that a test meets a full buffer with little data.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes that arrive at a stream, unread, before its peer must wait.
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// The least that the two above can be set to; a Linux kernel has similar floors.
pub const BUFFER_BYTES_MIN: usize = 2048;

/// Bytes of one segment of a stream: what segmentation offload sends over a loopback device.
pub const SEGMENT_BYTES_MAX: usize = 32 * 1024;

/// Bytes of one datagram: what is left of an IPv4 packet of 65,535 bytes after its headers.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Datagrams of one batch; UDP_MAX_SEGMENTS of kernels before 6.9.
pub const DATAGRAM_SEGMENTS_MAX: usize = 64;

/// Bytes that wait unread at a datagram socket; what comes above it is dropped. Linux's net.core.rmem_default.
pub const DATAGRAM_QUEUE_BYTES_MAX: usize = 212_992;

/// Times that a connection is tried while the accept queue has no room; Linux's net.ipv4.tcp_syn_retries, and one.
pub const CONNECT_TRIES_MAX: u32 = 7;

/// Pause before the second try; it doubles with each.
pub const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// How long an end sends into the void before it gives up: what Linux's net.ipv4.tcp_retries2 of 15 comes to.
pub const RETRANSMIT_TIME: Duration = Duration::from_secs(924);

/// The same for an end whose descriptor is closed: Linux's eight tries of an orphan.
pub const ORPHAN_TIME: Duration = Duration::from_secs(100);

/// From the first probe of a keep-alive to its giving up: Linux's nine probes, 75 seconds apart.
pub const KEEP_ALIVE_PROBE_TIME: Duration = Duration::from_secs(9 * 75);

/// Ports that the machine chooses from: Linux's net.ipv4.ip_local_port_range.
pub const PORTS_CHOSEN: Range<u16> = 32_768..61_000;

/// Bytes of one file. Files live in the test's own memory, and a wild offset must not use it up.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Completions of one socket that are on their way to its shard; above it the socket waits. io_uring gives a multishot
/// receive 32 at a go.
pub const LANDINGS_MAX: u32 = 32;

/// Completions of a stream after somebody has asked for its end, while the cancel is late; the same number.
pub const PARTS_AFTER_CANCEL_MAX: u32 = 32;

/// Entries that a short submission takes at most: so few that whatever starts several operations meets it.
pub const SUBMISSION_SHORT_MAX: u64 = 3;

/// Events that lie ahead at one time. Each operation in flight causes few, and a test has few shards.
pub const EVENTS_MAX: u32 = 1 << 24;

/// Events called off that still have a place in the queue: when they are this many, and more than half of it, they are
/// cleared away.
pub const CALLED_OFF_MAX: usize = 1024;
