//! Every bound of the WebSocket engine, with its reason.

/// What one peer may make us hold or do. Shared by all connections of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The payload of one frame, as it is sent: 1009. Judged by the frame's head, before any of it has arrived. Nothing
    /// is held of a frame, so this need not be less than what a message may have.
    pub frame_bytes_max: u64,
    /// A message, inflated: 1009. Checked while it is inflated, so that one who sends a kilobyte of zeros' compression
    /// makes us do no more than this. Bounds what [`Assembly`](super::Assembly) holds.
    pub message_bytes_max: u64,
    /// Frames of a message: 1008. Empty ones cost us work and count nowhere else. As many as a mebibyte takes in pieces of
    /// 64 bytes, four times over.
    pub fragment_count_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20, fragment_count_max: 1 << 16 }
    }
}

/// The head of a frame: two bytes, a length of eight, a key of four (RFC 6455 section 5.2). What is held of a head that is
/// cut by the end of the input.
pub const HEAD_BYTES_MAX: usize = 14;

/// The payload of a control frame (RFC 6455 section 5.5). What is held of one: it is reported whole, and a ping's is
/// kept until it is answered.
pub const CONTROL_BYTES_MAX: usize = 125;

/// The reason of a close: what its code leaves of a control frame.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Room in which any control frame can be written: see [`Engine::transmit`](super::Engine::transmit).
pub const CONTROL_FRAME_BYTES_MAX: usize = 2 + 4 + CONTROL_BYTES_MAX;

/// The least room for a frame of a compressed message: its head, four bytes held back, and something that gets on.
pub const COMPRESSED_FRAME_BYTES_MIN: usize = 64;

/// Bytes of a message that one call compresses, at the most: some hundred microseconds, after which others want a turn.
pub(crate) const DEFLATED_BYTES_MAX: usize = 16 * 1024;

/// Bytes that one call writes of a compressed message, at the most; what is written larger than it came is no more than this.
pub(crate) const COMPRESSED_FRAME_BYTES_MAX: usize = 32 * 1024;

/// Compressed bytes that are unmasked and given to the inflater at a time: it stops when it has a piece, and what it has
/// not taken is shown again.
pub(crate) const INFLATER_INPUT_BYTES_MAX: usize = 4 * 1024;

/// Inflaters without a connection that a shard keeps: one is needed while a compressed message arrives, and most
/// arrive in one read. 43 KiB each.
pub(crate) const SPARE_INFLATERS_MAX: usize = 4;

/// The same of deflaters. One is needed while a message is compressed, which mostly ends in one go. 312 KiB each.
pub(crate) const SPARE_DEFLATERS_MAX: usize = 2;

/// What an [`Assembly`](super::Assembly) keeps of its memory when a message is done with: an idle connection should not pin what its largest
/// message took.
pub(crate) const ASSEMBLY_BYTES_KEPT: usize = 4 * 1024;

/// Members of `Sec-WebSocket-Protocol`, and of `Sec-WebSocket-Extensions`, over all fields of the name. They are compared with
/// each other, so the work grows with the square.
pub(crate) const OFFER_COUNT_MAX: usize = 32;

/// The `Sec-WebSocket-Extensions` that we write, with all four parameters.
pub(crate) const EXTENSION_BYTES_MAX: usize = 144;
