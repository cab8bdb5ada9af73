//! Every bound of this package, with its reason.

use std::time::Duration;

use net::limits::IDLE_TIME_MAX;
use platform::limits::CHUNK_BYTES_MAX;

/// Bytes of a body that extractors gather in memory, unless the app or the route says otherwise. A form or a JSON
/// document is far smaller, and a thousand clients that send as much at once cost two gigabytes and not the machine.
pub const BODY_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// How long clients may go on by what `Alt-Svc` tells them: RFC 7838's own default, a day.
pub const ALTERNATIVE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a connection stays the kernel's while its client says nothing. A client of HTTP or TLS speaks first, and mostly at once,
/// so nearly every connection is accepted with its first request or hello, without a sleep between the two; and who says nothing
/// costs nothing for a moment. Any longer, and the kernel would ask the client once more that it is there.
pub const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Parameters in one route's path. They are kept as positions inside the request, so that matching needs no heap.
pub const PATH_PARAMETERS_MAX: usize = 8;

/// Bytes of a request id that is taken over from a client; it goes into every line of the log. Those in use have some 40.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Bytes of a file that are read at a time: the largest chunk of a pool, and as much as leaves in one send. A download holds
/// two of them, one being sent and one being read.
pub const FILE_PIECE_BYTES: usize = CHUNK_BYTES_MAX;

/// Where at least so much of a file is still to come, its pages go to the connection through a pipe, where there are any;
/// what is less is read: the hand-over costs as much as the copies of some 64 KiB.
pub const FILE_PIPE_BYTES_MIN: u64 = 128 * 1024;

/// How long a stream of server-sent events says nothing before a comment is sent, unless it says so itself: what the HTML
/// standard advises, since some proxies end a connection that is silent for longer.
pub const SSE_SILENCE_MAX: Duration = Duration::from_secs(15);

/// First lease for a JSON answer: most fit, and the pool has more of these than of larger ones. An answer that outgrows
/// it moves to a larger chunk, and beyond the largest to the heap.
pub const JSON_CHUNK_BYTES: usize = 1024;

/// Durations longer than this are recorded as this long. It bounds a histogram to some 20 KiB.
pub const DURATION_MAX: Duration = Duration::from_secs(60);

/// Durations are recorded in steps of about this: half of what a request costs at the least.
pub const DURATION_STEP: Duration = Duration::from_nanos(500);

/// How long a scrape waits for the shards' histograms in all. A shard that is later gives its last snapshot, marked stale.
pub const SCRAPE_WAIT_MAX: Duration = Duration::from_millis(250);

/// How long the admin listener gives one client from its connection to the end of the answer.
pub const ADMIN_EXCHANGE_TIME_MAX: Duration = Duration::from_secs(2);

/// How often the end of the admin listener is told to threads that wait for a client: as long as they may take for one they
/// have, at [`ADMIN_END_PAUSE`] each.
pub const ADMIN_END_TRIES_MAX: u32 = 150;

/// The pause between.
pub const ADMIN_END_PAUSE: Duration = Duration::from_millis(20);
const _: () = assert!(ADMIN_END_PAUSE.as_millis() * ADMIN_END_TRIES_MAX as u128 > ADMIN_EXCHANGE_TIME_MAX.as_millis());

/// Bytes of a request head that the admin listener reads; scrapers send some two hundred.
pub const ADMIN_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Threads that answer on the admin listener, so that one slow client does not keep a probe waiting.
pub const ADMIN_THREADS: usize = 2;

/// Series in the metrics store. Labels made of what clients send would grow without end; what comes beyond is not
/// recorded, and counted in `shardwise_metrics_refused_total`.
pub const SERIES_MAX: usize = 10_000;

/// Test kit: the longest that a client waits for anything, or a drain for its end, in virtual time. Longer than any time
/// limit of a server; a test of a longer one says so.
pub const TEST_WAIT_MAX: Duration = Duration::from_secs(600);

/// Test kit: pause before a client tries again whether the server listens yet.
pub const TEST_CONNECT_PAUSE: Duration = Duration::from_millis(1);

/// Test kit: how long a client keeps a connection without a request. Shorter than a server's [`IDLE_TIME_MAX`], so that no
/// request crosses the end of its connection on the way; real clients see that happen, and send the request again.
pub const TEST_IDLE_TIME_MAX: Duration = Duration::from_secs(30);
const _: () = assert!(TEST_IDLE_TIME_MAX.as_secs() < IDLE_TIME_MAX.as_secs());

/// Test kit: how long connections that were closed have, in virtual time, to come to their end before what is left counts
/// as left.
pub const TEST_SETTLE_TIME: Duration = Duration::from_secs(5);

/// Test kit: bytes that a client takes in while it is still sending; then its server waits.
pub const TEST_INPUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Test kit: first try at the bytes of a request's head.
pub const TEST_HEAD_BYTES: usize = 1024;

/// Test kit: bytes of a request's head. Far more than a server admits, so that a test can show that.
pub const TEST_HEAD_BYTES_MAX: usize = 1024 * 1024;

/// Test kit: bytes of a response's body that a failure shows.
pub const SHOWN_BYTES_MAX: usize = 1000;
