//! Every bound of the HTTP/3 engine, with its reason.

use crate::qpack;

/// What one peer may make us hold, search or do. QUIC bounds how much is sent, and on how many streams at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that are being received, or have a handler that works on: RFC 9114 section 6.1 recommends at least 100. A
    /// further one is refused, and may be sent again. QUIC must grant no more streams than this at a time: what is said of
    /// a stream that cannot have been granted is an error.
    pub streams_max: u16,
    /// A head once it is decoded, each field counted with 32 bytes more (RFC 9114 section 4.2.2): 431. The peer is told. At
    /// most [`HEAD_BYTES_MAX`].
    pub head_bytes_max: u16,
    /// Header fields, crumbs of cookies counted one by one: 431.
    pub field_count_max: u16,
    /// A field section as it is sent: 431, before any of it is held. Beyond what [`head_bytes_max`](Self::head_bytes_max)
    /// admits there is no reason for it to be longer.
    pub section_bytes_max: u32,
    /// Field sections of all streams together that are held because they have not come whole, or wait for the table. Whoever
    /// needs more is refused, and may send its request again.
    pub held_bytes_max: u32,
    /// What a peer may keep in our table of fields (RFC 9204 section 3.2.3). It is told.
    pub table_bytes_max: u16,
    /// Streams that may wait for that table (RFC 9204 section 2.1.2). The peer is told.
    pub blocked_streams_max: u16,
    /// How much a peer may ask of us that serves nobody, at once: streams that are reset or break the rules, unknown frames,
    /// changed priorities and the like, each as one. Every exchange that is completed gives one back.
    pub idle_work_max: u32,
    /// How much of it comes back in a second.
    pub idle_work_per_second: u32,
    /// Whether a client may ask for another protocol on a stream (RFC 9220), and is told so.
    pub connects: bool,
    /// Whether datagrams are taken (RFC 9297), and the peer is told so. Only where QUIC takes them (RFC 9221).
    pub datagrams: bool,
}

/// Heads are indexed by 16-bit positions.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            streams_max: 128,
            head_bytes_max: 16 * 1024,
            field_count_max: 100,
            section_bytes_max: 32 * 1024,
            held_bytes_max: 128 * 1024,
            table_bytes_max: qpack::limits::CAPACITY_MAX as u16,
            blocked_streams_max: 16,
            idle_work_max: 500,
            idle_work_per_second: 20,
            connects: true,
            datagrams: true,
        }
    }
}

/// Field sections of answers that are longer are not kept for the next: hardly any come again.
pub(super) const SECTION_BYTES_MAX: usize = 1024;

/// The longest payload of a frame of the control stream that means something, and so is held until it is whole: settings of
/// some thirty entries. Longer settings are H3_EXCESSIVE_LOAD; longer priorities are read over, as such that cannot be
/// understood.
pub(super) const CONTROL_PAYLOAD_BYTES_MAX: usize = 512;

/// Unidirectional streams of the peer's whose type has not come whole. There are three that it needs, and a few that
/// grease; their types come with their first bytes.
pub(super) const UNTYPED_MAX: usize = 8;

/// Priorities of requests that have not come yet, the last ones (RFC 9218 section 7).
pub(super) const EARLY_PRIORITIES_MAX: usize = 16;

/// What serves nobody counts as one piece of work for each frame, and for each of so many bytes that are read over.
pub(super) const SKIPPED_BYTES_PER_WORK: u64 = 4096;

/// What comes on the streams of the tables counts as work by its length: its use is seen by the exchanges that follow.
pub(super) const TABLE_BYTES_PER_WORK: u64 = 1024;

/// Pieces of a body that are so small that nobody would send many of them count as work, a few at a time. Those of a tunnel
/// are what its ends have to say, and do not.
pub(super) const TINY_DATA_BYTES: u64 = 8;
pub(super) const TINY_DATA_PER_WORK: u8 = 64;

/// Room for whatever [`Engine::data`](super::Engine::data) and [`Engine::datagram`](super::Engine::datagram) write, and for
/// the settings.
pub const CONTROL_BYTES_MIN: usize = 96;
