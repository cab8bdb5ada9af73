//! Every bound of this package, with its reason.

use std::time::Duration;

use platform::limits::{CHUNK_BYTES_MAX, HEAD_BUFFER_BYTES};

/// Head tables that a shard keeps for the next requests: one is in use for each request in hand, and most requests are
/// answered within their turn.
pub const HEAD_SPARES_MAX: usize = 1024;

/// Feeding ends of bodies that a shard keeps for the next, for the same reason.
pub const BODY_SPARES_MAX: usize = 1024;

/// Bytes of the chunk that answers are gathered in. Sixteen small answers fit; what is larger is sent from where it lies.
pub const WRITE_CHUNK_BYTES: usize = 4096;

/// Bodies up to this size are copied behind their head; larger ones are sent from where they lie, as a further buffer of
/// the same send. A copy of 1 KiB costs less than a buffer more in a vectored send.
pub const COPY_BODY_BYTES_MAX: usize = 1024;

/// HTTP/2: the chunks that bodies are gathered in which nobody waits for. A body in frames of one byte costs no more.
pub const COPIED_CHUNK_BYTES: usize = 4096;

/// A request of whose body so much is still to come receives into large buffers until it has ended. To change over and back
/// costs two cancels, some 2 us; that much is sixteen small buffers.
pub const BULK_BODY_BYTES_MIN: u64 = 64 * 1024;

/// Answers of a pipeline that are gathered before they are sent, in bytes. Beyond it the peer must read first, and no further
/// request of it is taken in hand: a peer that asks and does not read has so much done for it in vain, and no more.
pub const GATHER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a request's body that nobody reads and that are read over so that the connection can go on; a longer rest
/// costs more than a new connection, and the connection closes.
pub const DRAIN_BODY_BYTES_MAX: u64 = 256 * 1024;

/// Bytes read over after an answer that closes the connection, so that the peer gets to read it before a reset.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

/// How long that may take.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a connection may stay open without a request.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(75);

/// How long a request's head may take from its first byte to its last: 408.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a peer may send nothing of a body that is waited for, and how far it may fall behind [`BODY_RATE_MIN`]: 408.
pub const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Bytes of a body that a peer must send for each second that it is waited for, or the wait counts as a pause: 408. The
/// slowest lines that people still use carry a hundred times as much, and one byte now and then would hold a handler for ever.
pub const BODY_RATE_MIN: u32 = 240;

/// How long a peer may take nothing of what is sent to it, and how far it may fall behind [`WRITE_RATE_MIN`]; then the
/// connection is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes that a peer must take for each second that it is waited for, or the wait counts as a stall: as for a body.
pub const WRITE_RATE_MIN: u32 = 240;

/// Requests of one connection; the answer to the last says `Connection: close`. A load balancer that spreads connections can
/// only spread those that begin. At a million, and one each 100 µs, it does so every other minute, which costs nothing.
pub const CONNECTION_REQUESTS_MAX: u32 = 1_000_000;

/// How old a connection may get: the first answer after that says `Connection: close`; one that is idle is closed when it has
/// been so for [`IDLE_TIME_MAX`]. An hour after a server has left a load balancer, nobody speaks to it any more.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(3600);

/// Connections of one client on one shard: no limit unless one is set. Behind a proxy or a shared address all clients look
/// like one, and only the operator knows; who sets one pays a system call for each connection.
pub const CONNECTIONS_PER_CLIENT_MAX: Option<usize> = None;

/// The share of the pool's bytes, in parts of [`WATERMARK_PARTS`], above which each request and each new connection costs
/// the peer that is furthest behind its own: the first step of the order of shedding. A quarter of the pool is
/// left, which is what a thousand full outboxes hold.
pub const WATERMARK_READERS: usize = 12;

/// How long after one such connection the next may be cut: what it held comes home when its send has been cancelled, a turn or
/// two later. At a full outbox each, some 64 MB a second.
pub const SHED_PAUSE: Duration = Duration::from_millis(1);

/// A peer that has taken nothing for so long is behind, and may be cut. Most take what they are sent within a turn or two, and
/// the slowest line's acknowledgement is here by then.
pub const BEHIND_TIME_MIN: Duration = Duration::from_secs(1);

/// The second step: above this share no connections are accepted. They wait in the kernel's queue and lose nothing.
pub const WATERMARK_CONNECTIONS: usize = 14;

/// The third step: above this share requests are answered 503 and their connections closed. What is left is for these
/// answers, and for those that have begun.
pub const WATERMARK_REQUESTS: usize = 15;

/// What the watermarks are parts of.
pub const WATERMARK_PARTS: usize = 16;
const _: () = assert!(
    WATERMARK_READERS < WATERMARK_CONNECTIONS
        && WATERMARK_CONNECTIONS < WATERMARK_REQUESTS
        && WATERMARK_REQUESTS < WATERMARK_PARTS
);

/// Connections that one shard serves at a time; beyond it new ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 262_144;

/// When a drain begins, an idle connection waits this long for a request that was already on its way, and a listener for
/// connections that come all the same: a round trip round the world.
pub const DRAIN_TIME_MIN: Duration = Duration::from_millis(250);

/// How much longer it waits when that time is over, for a request that has come to the kernel and not to the shard: a turn.
pub const LAST_LOOK_TIME: Duration = Duration::from_millis(1);

/// When accepting ends, how long a listener in whose queue a connection is left goes on for it. What waits is accepted at once.
pub const LAST_ACCEPT_TIME: Duration = Duration::from_millis(1);

/// How often it does so. Where connections never stop coming, the last of them find nobody whatever is done.
pub const LAST_ACCEPTS_MAX: u32 = 16;

/// How long accepting pauses when descriptors or memory have run out, and no connection ends.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long it pauses still when one has ended: its descriptor is closed a turn or two later. A queue of connections whose
/// clients have left is gone through as fast as that, as many at a time as there are descriptors.
pub const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(2);

/// When accepting should have ended in a drain, how long a shard waits for the one that accepts to say that it hands over no
/// more connections. That one may be in the middle of a long turn.
pub const HAND_OVER_WAIT_MAX: Duration = Duration::from_secs(1);
const _: () = assert!(HAND_OVER_WAIT_MAX.as_millis() >= 4 * LAST_ACCEPTS_MAX as u128 * LAST_ACCEPT_TIME.as_millis());

/// Bytes that are received of what follows a request while its handler is at work, to learn whether the client has left:
/// the next requests of most pipelines, or the beginning of a body. Beyond it nothing is received, and so a client that says
/// so much is seen to leave only by its next answer. It must be contiguous, with one receive more.
pub const READ_AHEAD_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(READ_AHEAD_BYTES_MAX + HEAD_BUFFER_BYTES as usize <= CHUNK_BYTES_MAX);

/// How long the tasks that a request has left may take to end when they are cancelled. Most end in a turn; the time is
/// for those that clean up. A connection that has waited so long goes on, and the drain waits for them.
pub const REQUEST_TASKS_TIME_MAX: Duration = Duration::from_secs(5);

/// How long two connections that are passed on to each other may both be silent, unless said. Whoever keeps a connection that
/// it seldom uses asks for a sign of life within the hour; a peer that is gone without a word is found out so.
pub const TUNNEL_SILENCE_MAX: Duration = Duration::from_secs(3600);

/// WebSocket: messages that were received and that nobody has asked for yet. A few, so that a code on another task need not
/// be woken for each; then the peer waits.
pub const WEB_SOCKET_INBOX_COUNT_MAX: usize = 16;

/// The bytes of these, after which no further message is received: one more may be as long as a message may be.
pub const WEB_SOCKET_INBOX_BYTES_MAX: usize = 64 * 1024;

/// Messages shorter than this are sent as they are where compression was agreed on: they seldom get shorter.
pub const WEB_SOCKET_COMPRESS_BYTES_MIN: usize = 128;

/// Room for one frame of a compressed message: what one call of the engine compresses fits nearly always.
pub const WEB_SOCKET_COMPRESSED_CHUNK_BYTES: usize = 16 * 1024;

/// Bytes that one connection inflates before it gives way to others: some hundred microseconds. A kilobyte may stand for a
/// mebibyte.
pub const WEB_SOCKET_INFLATED_BYTES_MAX: usize = 128 * 1024;

/// After so long without a byte from its peer a WebSocket asks for a sign of life: less than the minute after which many
/// proxies forget a silent connection.
pub const WEB_SOCKET_PING_PAUSE: Duration = Duration::from_secs(30);

/// How long the answer may take: a mobile network's worst round trips, several times.
pub const WEB_SOCKET_PONG_TIME_MAX: Duration = Duration::from_secs(20);

/// How long each half of the closing hand-shake may take. Less than a drain may, so that it ends in order.
pub const WEB_SOCKET_CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The client: how long a server may take to be found and to accept a connection. A lost packet is sent again after one
/// second, and once more after two.
pub const CLIENT_CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How long a server may take to answer. Slower ones are asked with a limit of one's own.
pub const CLIENT_HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a body waits to be asked for: a round trip to the other side of the world, several times. Many servers never ask.
pub const CLIENT_CONTINUE_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a connection waits for its next request. Less than most servers wait, so that they seldom close one as a request
/// begins.
pub const CLIENT_IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Connections of one client that wait, in all: a descriptor each.
pub const CLIENT_IDLE_MAX: usize = 256;

/// Connections that wait for each server.
pub const CLIENT_IDLE_PER_ORIGIN_MAX: usize = 32;

/// Connections to each server that are in use at a time. Further requests wait, as long as for a connection.
pub const CLIENT_IN_USE_PER_ORIGIN_MAX: usize = 256;

/// HTTP/3: after how long a silence a server is asked for a sign of life, so that a connection lasts while an answer is waited for
/// (RFC 9114 section 5.1): before half of [`QUIC_IDLE_TIME_MAX`] is over.
pub const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long the end of a connection takes at the most, so that what is said last leaves: some turns. As long a client's socket of
/// QUIC stays open when nobody uses it any more.
pub const CLIENT_FAREWELL_TIME: Duration = Duration::from_millis(10);

/// HTTP/2 and HTTP/3: requests that go over one connection at a time, if the server admits as many. As many as RFC 9113 section
/// 6.5.2 asks servers to admit at least, since the first leave before the server has said.
pub const CLIENT_STREAMS_MAX: u16 = 100;

/// HTTP/2 and HTTP/3: connections that a request waits on for its turn, one after the other as they end, before it is given up. A
/// server that takes a few hundred requests on each has a thousand served by then.
pub const CLIENT_TURNS_MAX: u32 = 16;

/// Servers of which a client remembers where they are found by HTTP/3 (RFC 7838): a few hundred bytes each. The one whose word
/// holds the shortest makes room.
pub const CLIENT_ALTERNATIVES_MAX: usize = 256;

/// Places that are remembered of each. Most servers name one.
pub const CLIENT_ALTERNATIVES_PER_ORIGIN_MAX: usize = 4;

/// How long a server's word on that may hold. Most say a day or a month.
pub const CLIENT_ALTERNATIVE_TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a request without a connection at hand waits for one of HTTP/3 before it connects by TCP, as Envoy has it (its
/// documentation's "HTTP/3 upstream": 300 ms).
pub const CLIENT_HTTP3_HEAD_START: Duration = Duration::from_millis(300);

/// How long a server is not looked for by HTTP/3 where it was not there; each further time twice as long, as Envoy has it (its
/// HTTP/3 status tracker: five minutes, and up to a day).
pub const CLIENT_SHUN_TIME_MIN: Duration = Duration::from_secs(300);

/// How often that is doubled.
pub const CLIENT_SHUN_DOUBLINGS_MAX: u32 = 8;

/// Bytes of a response's body that are gathered in memory unless a limit is said.
pub const CLIENT_BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long an address is tried before the next is tried beside it, unless it fails sooner: RFC 8305 section 8 recommends that
/// much. Nearly all that will ever answer have done so by then.
pub const CLIENT_HEAD_START: Duration = Duration::from_millis(250);

/// How long it takes until a Unix socket whose queue was full is tried again. Its server takes thousands in that time.
pub const CLIENT_UNIX_PAUSE: Duration = Duration::from_millis(5);

/// Bytes of what a proxy of SOCKS answers at a time: its longest answer has a name of 255.
pub const SOCKS_ANSWER_BYTES_MAX: usize = 512;

/// How much of a compressed body is made at a time: a buffer, which most answers fit.
pub const DECODED_CHUNK_BYTES: usize = 16 * 1024;
const _: () = assert!(DECODED_CHUNK_BYTES <= CHUNK_BYTES_MAX);

/// How much of one is made before others have a turn: some hundred microseconds. A kilobyte may stand for a mebibyte.
pub const DECODED_BYTES_MAX: usize = 128 * 1024;

/// How far back a body of `zstd` may refer, which is memory that its decoder keeps: what every client takes and no server exceeds
/// (RFC 9659 section 3). Of `br` the format says it: 16 MiB.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of what comes before the data of gzip: a name and a remark, which hardly any has.
pub const GZIP_HEAD_BYTES_MAX: usize = 4096;

/// Bytes of a redirect's own body that are read over so that its connection is kept, and how long that may take. What is said
/// there is a line for people.
pub const REDIRECT_BODY_BYTES_MAX: u64 = 16 * 1024;
/// See [`REDIRECT_BODY_BYTES_MAX`].
pub const REDIRECT_BODY_TIME_MAX: Duration = Duration::from_millis(100);

/// Addresses of one name that are tried.
pub const CLIENT_ADDRESSES_MAX: usize = 8;

/// DNS: names that a client remembers, some hundred bytes each. Services call a few hosts; who crawls the web forgets.
pub const DNS_NAMES_MAX: usize = 1024;

/// How long an answer holds at the most, whatever it says of itself: what has moved is found within the hour.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(3600);

/// How long it holds at the least, though it say that it does not: a storm of requests is one question a second.
pub const DNS_TTL_MIN: Duration = Duration::from_secs(1);

/// How long it holds that there is nothing, at the most. A name that has just been made is asked for before it is known.
pub const DNS_NOTHING_TTL_MAX: Duration = Duration::from_secs(300);

/// How long it holds that nobody could say. RFC 2308 section 7 admits five minutes; a second keeps a storm from the server.
pub const DNS_FAILURE_TIME: Duration = Duration::from_secs(1);

/// How long it holds what was said of one family of addresses while nothing was of the other.
pub const DNS_HALF_TTL_MAX: Duration = Duration::from_secs(10);

/// How long the addresses of one family wait for those of the other: RFC 8305 section 3 recommends that much.
pub const DNS_OTHER_HALF_TIME: Duration = Duration::from_millis(50);

/// How long a name server may take to answer when it is first asked, and twice as long each time after that. A datagram is lost
/// now and then, and the answer to most questions is there within some tens of milliseconds.
pub const DNS_TRY_TIME: Duration = Duration::from_secs(1);

/// Datagrams that are read over where one answer is waited for. Whoever sends as many would have us take his for it.
pub const DNS_STRAYS_MAX: usize = 32;

/// Ports that are tried by chance, before the system chooses one.
pub const DNS_PORTS_TRIED_MAX: usize = 4;

/// Name servers of a `resolv.conf`, as its other readers have it (resolv.conf(5)).
pub const DNS_SERVERS_MAX: usize = 3;

/// Domains of its list, of which other readers have had six.
pub const DNS_DOMAINS_MAX: usize = 6;

/// The most of its `ndots`, of its `attempts` and of its `timeout`, by the same manual.
pub const DNS_DOTS_MAX: usize = 15;
/// See [`DNS_DOTS_MAX`].
pub const DNS_ATTEMPTS_MAX: u32 = 5;
/// See [`DNS_DOTS_MAX`].
pub const DNS_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Addresses of one name in a file of hosts.
pub const DNS_HOST_ADDRESSES_MAX: usize = 16;

/// How often files of certificates and keys are looked at. They are small, and nobody renews one that ends sooner.
pub const TLS_LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bytes of a file of certificates, of keys or of endpoints: some hundred certificates.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// How much of such a file is read at a time; most are shorter.
pub const FILE_PIECE_BYTES: usize = 16 * 1024;
const _: () = assert!(FILE_PIECE_BYTES <= CHUNK_BYTES_MAX);

/// Bytes of the secret that session tickets are sealed by: as strong as the keys that are made of it.
pub const TICKET_SECRET_BYTES_MIN: usize = 32;

/// A ticket is taken until the end of the epoch after its own: for six hours at the least, twelve at the most. Who learns
/// the secret of a process can read what was resumed; a client that comes back later makes a whole hand-shake.
pub const TICKET_EPOCH_TIME: Duration = Duration::from_secs(6 * 60 * 60);

/// Keys and nonces that are remembered of a session's hand-shake until its keys are taken: those of the hand-shake, and those after
/// it, of two directions.
pub const TLS_DERIVED_COUNT_MAX: usize = 8;

/// Tickets that are sealed by one key, far below 2^32, which nonces left to chance admit (NIST SP 800-38D section 8.3): that two of
/// them are alike has one chance in 2^49.
pub const TICKETS_PER_KEY_MAX: u32 = 1 << 24;

/// Keys of tickets that were opened and are known to the next: other shards' and those of the process before, of some epochs.
pub const TICKET_KEYS_KNOWN_MAX: usize = 64;

/// Bytes of a ticket, or of a session that is kept: some 200, and what a client has proved itself by. One with more gets none,
/// and makes a whole hand-shake again.
pub const TICKET_BYTES_MAX: usize = 8 * 1024;

/// Sessions that a shard keeps for early data; the oldest is forgotten. Some hundred bytes each.
pub const EARLY_SESSIONS_MAX: usize = 4096;

/// Bytes of early data that may be admitted: requests, and no uploads. They wait in memory until the hand-shake is over.
pub const EARLY_BYTES_MAX: u32 = 64 * 1024;

/// How long a certificate that was made at the start is good for. A process for development is started more often.
pub const DEVELOPMENT_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long before it was made it is good already: for clients whose clocks are behind.
pub const DEVELOPMENT_TIME_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// TLS: bytes of a record's content once a transfer is under way: as many as make four records fill the largest chunk, which
/// is what one send takes, and a few dozen less than there may be.
pub const TLS_RECORD_BYTES_MAX: usize = CHUNK_BYTES_MAX / 4 - TLS_OVERHEAD_BYTES_MAX;
const _: () = assert!(TLS_RECORD_BYTES_MAX <= 16 * 1024);

/// Bytes of a record's content at the beginning of one: with what belongs to it, it fits a segment of most lines.
pub const TLS_RECORD_BYTES_MIN: usize = 1400;

/// Bytes that are sent in such records: twice what a new connection sends before it hears from its peer.
pub const TLS_BURST_BYTES_MIN: usize = 32 * 1024;

/// A transfer that has paused for so long begins again: by then a connection's window has shrunk.
pub const TLS_BURST_PAUSE: Duration = Duration::from_secs(1);

/// Bytes that a record has beside its content, at the most: header, type, tag, and with TLS 1.2 a nonce.
pub const TLS_OVERHEAD_BYTES_MAX: usize = 32;

/// Bytes of a record that is received, with its header, at the most (RFC 5246 section 6.2.3; RFC 8446 section 5.2 has less).
pub const TLS_RECEIVED_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;
const _: () = assert!(TLS_RECEIVED_BYTES_MAX <= CHUNK_BYTES_MAX);

/// Bytes of a message that comes after the hand-shake, which is a ticket: others have some hundred, and those that carry a chain of
/// certificates a few thousand.
pub const TLS_MESSAGE_BYTES_MAX: usize = 16 * 1024;
const _: () = assert!(4 + TLS_MESSAGE_BYTES_MAX + TLS_RECEIVED_BYTES_MAX <= CHUNK_BYTES_MAX);

/// Messages in a row that bring no content: updates of keys, each of which costs some 10 us, tickets, records without anything in
/// them. So many others take.
pub const TLS_VAIN_MESSAGES_MAX: u32 = 32;

/// Records that are sealed by one key before the next is taken: for AES-GCM what leaves whoever listens as good as no chance to tell
/// them from noise (RFC 8446 section 5.5 has a little more), and little enough for every other suite.
pub const TLS_RECORDS_PER_KEY_MAX: u64 = 1 << 24;

/// How long a hand-shake may take, from the first byte of the connection: as long as a request's head.
pub const TLS_HANDSHAKE_TIME_MAX: Duration = HEAD_TIME_MAX;

/// Hand-shakes that one shard has in hand at a time; the others wait, in the order in which they came. Each holds some 10 KiB, so
/// that they are 40 MiB at the most. One that says nothing has not begun.
pub const TLS_HANDSHAKES_MAX: usize = 4096;

/// Steps of hand-shakes that one turn takes: each costs some 200 us with a key of elliptic curves, a millisecond with one of RSA.
/// So a storm of them leaves the shard's other connections half of its time at the least.
pub const TLS_STEPS_PER_TURN_MAX: u32 = 4;

/// Sessions of servers that a client keeps, to take them up again: some 2 KiB each.
pub const CLIENT_SESSIONS_MAX: usize = 256;

/// UDP: datagrams of one socket that are on their way to the kernel, or batches of them. What a socket's send buffer takes is
/// gone at the end of the turn; beyond that whoever sends waits until the kernel has room, instead of filling memory.
pub const DATAGRAMS_IN_FLIGHT_MAX: usize = 64;

/// Bytes of what comes between two turns that the kernel keeps for a socket, as far as it is allowed to (net.core.rmem_max):
/// what 10 Gbit/s bring in a millisecond and a half.
pub const DATAGRAM_RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of the memory of a datagram that is kept for the next: a batch of [`QUIC_SEGMENTS_MAX`] in the largest packets of a
/// common line.
pub const DATAGRAM_SPARE_BYTES_MAX: usize = 32 * 1024;
const _: () = assert!(QUIC_SEGMENTS_MAX * 1500 <= DATAGRAM_SPARE_BYTES_MAX);

/// QUIC: datagrams that are handed to the kernel as one batch: segmentation offload. Ten cost about twice what one does, and
/// the pacer seldom lets more go at once.
pub const QUIC_SEGMENTS_MAX: usize = 10;

/// Batches that one connection sends before it gives way to others.
pub const QUIC_BATCHES_PER_FLUSH_MAX: usize = 16;

/// Receives of the endpoint, each a batch of one sender's, before it gives way to the connections that they are for.
pub const QUIC_RECEIVES_PER_POLL_MAX: usize = 16;

/// Bytes of the memory that received datagrams are copied to and decrypted in; used again when all that lay in it has been read.
/// One receive fits, whatever the kernel has joined.
pub const QUIC_BLOCK_BYTES: usize = 64 * 1024;

/// Datagrams that wait for the task of their connection; what is more is dropped, as a queue on the way would. All that comes
/// in one turn fits: the task runs in the same turn or the next.
pub const QUIC_INBOX_COUNT_MAX: usize = 1024;

/// Hand-shakes in hand on a shard from which on a client that begins one must first show that it is where it says: by a Retry,
/// which costs it a round trip and us no memory. Below it nobody floods us.
pub const QUIC_UNPROVED_HANDSHAKES_MAX: usize = 256;

/// Clients that wait for the first step of their hand-shake, of which each turn takes [`TLS_STEPS_PER_TURN_MAX`]. Those that
/// come when so many wait are dropped, and send again.
pub const QUIC_ARRIVALS_MAX: usize = 256;

/// Bytes of a client's further packets that are kept until then; it sends again what is dropped.
pub const QUIC_ARRIVAL_BYTES_MAX: u64 = 16 * 1024;

/// How long a Retry may be answered: some round trips.
pub const QUIC_RETRY_TIME_MAX: Duration = Duration::from_secs(15);

/// Tokens that a client is given on each connection, to show where it is when it comes back (RFC 9000 section 8.1.3): for two
/// connections, as browsers like to begin.
pub const QUIC_TOKENS_SENT: u32 = 2;

/// How long such a token is good: as long as a session ticket is at the most.
pub const QUIC_TOKEN_TIME_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Used ones that a shard remembers, for as long as they are good or twice that: half a megabyte. Further ones are not taken.
pub const QUIC_TOKENS_USED_MAX: usize = 16_384;

/// Bytes that are sent to an address for each that came from there, before it is known that the client receives there (RFC 9000
/// section 8.1).
pub const QUIC_AMPLIFICATION_MAX: u64 = 3;

/// Bytes of a datagram during a hand-shake: larger ones are tried only when it is over.
pub const QUIC_HANDSHAKE_PAYLOAD_BYTES: u64 = 1200;

/// How often a packet of no connection is answered by a stateless reset: a flood of them makes no flood of ours.
pub const QUIC_RESET_PAUSE: Duration = Duration::from_millis(20);

/// Streams in both directions that a peer may have open at a time: requests. As over HTTP/2.
pub const QUIC_STREAMS_MAX: u32 = 100;

/// Of these, so many are granted at first. A peer that has half of them open gets them all: each that is granted takes some forty
/// bytes, and most connections never have more than a few.
pub const QUIC_STREAMS_AT_FIRST: u32 = 128;

/// Streams in one direction that a peer may have open at a time. HTTP/3 needs three, and some of no meaning come and go.
pub const QUIC_UNI_STREAMS_MAX: u32 = 16;

/// Bytes of one stream that are received ahead of who reads it: half of what all streams of a connection may have.
pub const QUIC_STREAM_WINDOW_BYTES: u32 = 512 * 1024;

/// Bytes of all streams of a connection that are received ahead of who reads them. It is what one peer can make us hold, and
/// at a round trip of 50 ms it lets 160 Mbit/s come.
pub const QUIC_WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes that a connection has sent or will send and that the peer has not acknowledged. What is more waits with whoever
/// writes it.
pub const QUIC_SEND_WINDOW_BYTES: u64 = 2 * 1024 * 1024;

/// How long a connection may be silent (RFC 9308 section 3.2 has thirty seconds).
pub const QUIC_IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// A round trip as it is taken for before one was measured (RFC 9002 section 6.2.2).
pub const QUIC_FIRST_ROUND_TRIP: Duration = Duration::from_millis(333);

/// Bytes of datagrams (RFC 9221) of one connection that wait to be read, and of those that wait to be sent.
pub const QUIC_DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a datagram that is accepted: what fits a packet of Ethernet.
pub const QUIC_PAYLOAD_BYTES_MAX: u16 = 1472;

/// How long receiving pauses when it fails, as when memory has run out.
pub const QUIC_RECEIVE_PAUSE: Duration = Duration::from_millis(50);

/// quinn: datagrams of one sender that it is handed as one, at the most; it makes room for so many. The kernel joins no more.
pub const QUINN_JOINED_MAX: usize = 64;

/// HTTP/3: bytes of one body that are read ahead of who takes them, in the shard's buffers. What is more stays with QUIC, and
/// its windows hold up the peer.
pub const H3_BODY_AHEAD_BYTES_MAX: usize = 128 * 1024;

/// HTTP/3: requests of one connection at a time. Twice as many as over HTTP/2, since QUIC has as many streams, and counts each until
/// the answer on it is acknowledged: who asks a hundred at a time would wait for that with every round.
pub const H3_STREAMS_MAX: u16 = 256;

/// HTTP/3: answers of which a shard knows how their fields are written: those that are given most, of as many kinds.
pub const H3_ANSWERS_KNOWN_MAX: usize = 16;

/// HTTP/3: bytes of the memory that heads and short bodies are written to, of some forty answers. It is used again when the peers
/// have acknowledged all that lies in it; one that is slow to do so can keep so much for an answer.
pub const H3_BLOCK_BYTES: usize = 4096;

/// HTTP/3: bytes that are read of a stream at a time; a packet has less.
pub const H3_READ_BYTES_MAX: usize = 64 * 1024;

/// HTTP/3: streams that are read before the first of them is looked at, and answers that are kept until they are given to QUIC. With
/// as many the code of each step is fetched for some, and what is kept meanwhile lies in the first cache.
pub const H3_BATCH_MAX: usize = 16;

/// HTTP datagrams of one tunnel that wait to be read, and of those that wait to leave, where they go by themselves. As many as come or
/// go in a turn; who is slower than that would get them late.
pub const HTTP_DATAGRAMS_QUEUED_MAX: usize = 64;

/// Bytes of an HTTP datagram in a capsule: what UDP carries. Longer ones are read over, and not sent.
pub const HTTP_DATAGRAM_BYTES_MAX: usize = 65_535;

/// HTTP/0.9 over QUIC: bytes of a line that names a path.
pub const HQ_LINE_BYTES_MAX: usize = 2048;

/// Ports of the kernel's choice that are tried for an address of TCP and UDP. It chooses for the one without a look at the other.
pub const PORTS_TRIED_MAX: usize = 8;

/// Upstreams: endpoints of one; those beyond are left out, with a line in the log. A shard that knows so many wants a subset of them.
pub const UPSTREAM_ENDPOINTS_MAX: usize = 4096;

/// Upstreams: the weight of an endpoint.
pub const UPSTREAM_WEIGHT_MAX: u32 = 65_536;

/// Upstreams that a shard has a part of: names and versions. What is counted of each is told to whoever scrapes.
pub const UPSTREAMS_MAX: usize = 1024;

/// Upstreams: calls under way on one shard, as Envoy's `max_requests`.
pub const UPSTREAM_CALLS_MAX: u32 = policy::limits::REQUESTS_MAX;

/// Upstreams: calls that wait for one of these to end, as Envoy's `max_pending_requests`.
pub const UPSTREAM_WAITING_MAX: u32 = policy::limits::WAITING_MAX;

/// Upstreams: how long a call may wait for that, and for the first endpoints to be known: as long as for a connection.
pub const UPSTREAM_WAIT_MAX: Duration = CLIENT_CONNECT_TIME_MAX;

/// Upstreams: how often shards tell each other what they have under way. A twentieth of a second is short beside what an
/// endpoint's state lasts, and costs a shard of 32 some six hundred short messages a second when all are busy.
pub const UPSTREAM_SHARE_TIME: Duration = Duration::from_millis(50);

/// Upstreams: endpoints that one call has tried; it goes to others first.
pub const UPSTREAM_TRIED_MAX: usize = 8;
const _: () = assert!(UPSTREAM_TRIED_MAX <= policy::limits::TRIED_MAX);

/// Upstreams: how often names are looked up whose resolver does not say how long they hold: Envoy's `dns_refresh_rate`. What their
/// records say is heard down to a fifth of it.
pub const UPSTREAM_NAMES_LOOK_TIME: Duration = Duration::from_secs(5);

/// Upstreams: how often a file of endpoints is looked at.
pub const UPSTREAM_FILE_LOOK_TIME: Duration = Duration::from_secs(1);

/// Upstreams: how long after a failure endpoints are looked for again.
pub const UPSTREAM_LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Upstreams: bytes of the answer to a probe.
pub const UPSTREAM_PROBE_BYTES_MAX: u64 = 64 * 1024;

/// Upstreams: bytes that are read of an answer which is not good enough, so that its connection can be kept.
pub const UPSTREAM_DRAIN_BYTES_MAX: u64 = 16 * 1024;
