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

/// Ports that the machine chooses from: Linux's net.ipv4.ip_local_port_range.
pub const PORTS_CHOSEN: Range<u16> = 32_768..61_000;

/// Bytes of one file. Files live in the test's own memory, and a wild offset must not use it up.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
