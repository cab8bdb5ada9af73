//! Every bound of the bench, with its reason.

use std::time::Duration;

/// Connections that wait to be accepted. A load opens its connections faster than one turn accepts them; a full
/// queue would cost a second's retransmission.
pub const BACKLOG: i32 = 1024;

/// Answers in one send of a ceiling. A client that pipelines deeper gets more than one send.
pub const ANSWERS_PER_SEND: usize = 64;

/// Bytes of a ceiling's answers that lie ready. Answers with bodies are fewer to a send, and at least one.
pub const ANSWER_BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// Events taken from one wait on epoll: as many as a figure has connections, a few times over.
pub const EVENTS_PER_WAIT: usize = 256;

/// What one read takes. Sixteen pipelined requests or answers of usual size fit several times.
pub const READ_BYTES: usize = 64 * 1024;

/// Of what is sealed as one record of TLS (RFC 8446 section 5.1).
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// What a record has besides: its head, the kind within, the tag.
pub const RECORD_OVERHEAD_BYTES_MAX: usize = 5 + 1 + 16;

/// Requests in flight on one connection of the load: deeper than any client goes.
pub const PIPELINE_MAX: usize = 128;

/// Bytes of a batch of requests, bodies included: the load keeps one batch in memory for all its connections.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests a second of an open load. The load's thread cannot send more.
pub const RATE_MAX: f64 = 1_000_000.0;

/// Source addresses of connections that each serve one request, in turn: a port that has been used rests for as long as
/// the other addresses' ports last, 200,000 connections, so no connection meets the rests of an earlier one.
pub const CLOSE_SOURCES: usize = 8;

/// Of a socket of UDP, in the load and in a ceiling: what a megabyte's answer brings at once, as far as the kernel grants it.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What a server may send on one of the load's streams before it is told to go on: a few of the largest answers.
pub const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Datagrams in one send of QUIC: what the kernel takes as one, 64 KiB, at the usual 1,452 bytes and more.
pub const SEGMENTS_MAX: usize = 32;

/// The load over HTTP/3 looks around so often though nothing has come.
pub const IDLE_WAIT: Duration = Duration::from_millis(100);

/// Head of an answer. Larger ones are a broken server.
pub const ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;

/// After so many errors a run ends: what it would report says nothing about speed.
pub const ERRORS_MAX: u64 = 1000;

/// How long a run waits after its last request for answers that are still due.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a single request outside a run may take: it fails instead of waiting for ever on a server that hangs.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take until it prints where it listens.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a server may take to end after SIGTERM, before SIGKILL.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Load before the measured part: connections are open, buffers touched, branches learnt.
pub const WARM_UP: Duration = Duration::from_millis(300);

/// Length of the run in which system calls are counted: long enough for tens of thousands of requests.
pub const SYSCALLS_RUN: Duration = Duration::from_secs(1);

/// Length of the run in which instructions are counted: long enough for half a million, which are more than a hundred requests.
pub const INSTRUCTIONS_RUN: Duration = Duration::from_secs(10);

/// Connections of that run at the most: all that they have sent is answered within [`DRAIN_TIMEOUT`], one step at a time.
pub const INSTRUCTIONS_CONNECTIONS_MAX: usize = 8;

/// How long `perf` may take to open its counters before that run.
pub const PERF_START_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle connections from one loopback address: few of the 28,232 ports the kernel has for each, so that it finds a
/// free one at once.
pub const IDLE_PER_SOURCE: usize = 4000;

/// Descriptors a process needs beside its connections.
pub const DESCRIPTORS_BESIDE: usize = 64;

/// A metrics page larger than this is not one.
pub const METRICS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of a UDP datagram over IPv4, at the most: 65,535 less both headers.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
