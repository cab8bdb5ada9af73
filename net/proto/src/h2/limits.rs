//! Every bound of the HTTP/2 engine, with its reason.

use super::frame::HEAD_BYTES;
use crate::hpack::TABLE_BYTES;

/// What one peer may make us hold, search or do. The first six are told to it as settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that are open at a time, or have a handler that works on: RFC 9113 section 5.1.2 recommends at least 100. A
    /// further one is refused, and its request may be sent again.
    pub streams_max: u16,
    /// A head once it is decoded, each field counted with 32 bytes more (RFC 9113 section 6.5.2): 431. At most
    /// [`HEAD_BYTES_MAX`].
    pub head_bytes_max: u16,
    /// What a stream may send before anyone has read of it. The default of RFC 9113; it grows with what is read.
    pub stream_window: u32,
    /// To what it grows.
    pub stream_window_max: u32,
    /// What all streams of a connection may, together: what one connection can make us hold.
    pub connection_window: u32,
    /// To what it grows.
    pub connection_window_max: u32,
    /// Header fields, crumbs of cookies counted one by one: 431.
    pub field_count_max: u16,
    /// A field block as it is sent, in all its frames: ENHANCE_YOUR_CALM. Beyond what [`head_bytes_max`](Self::head_bytes_max)
    /// admits there is no reason for it to be longer.
    pub block_bytes_max: u32,
    /// CONTINUATION frames of one block: ENHANCE_YOUR_CALM.
    pub continuation_count_max: u8,
    /// How much a peer may ask of us that serves nobody, at once: pings, settings, streams that are reset or break the rules,
    /// and the like, each as one. Every exchange that is completed gives one back.
    pub idle_work_max: u32,
    /// How much of it comes back in a second.
    pub idle_work_per_second: u32,
    /// Whether a client may ask for another protocol on a stream (RFC 8441), and is told so.
    pub connects: bool,
}

/// Heads are indexed by 16-bit positions, and while one is decoded that is too large the room behind it is needed.
pub const HEAD_BYTES_MAX: usize = u16::MAX as usize - TABLE_BYTES;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            streams_max: 128,
            head_bytes_max: 16 * 1024,
            stream_window: 64 * 1024 - 1,
            stream_window_max: 1024 * 1024,
            connection_window: 256 * 1024,
            connection_window_max: 4 * 1024 * 1024,
            field_count_max: 100,
            block_bytes_max: 32 * 1024,
            continuation_count_max: 8,
            idle_work_max: 500,
            idle_work_per_second: 20,
            connects: true,
        }
    }
}

/// The longest frame that a peer may send us: the least that RFC 9113 section 4.2 admits, and so the default. A head in a
/// frame must be contiguous, and longer frames of data would only hold up those of other streams.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;

/// The longest frame of data that we send, whatever the peer admits, for the same reason.
pub(super) const DATA_BYTES_MAX: usize = 16 * 1024;

/// Pings that wait for room to be answered. A peer that does not read its answers needs no more.
pub(super) const PINGS_MAX: usize = 16;

/// Streams that were refused or reset and whose frames are still to be written.
pub(super) const RESETS_MAX: usize = 256;

/// Settings that wait for room to be acknowledged.
pub(super) const SETTINGS_MAX: u8 = 16;

/// Streams that were reset here a short time ago: what the peer had sent before it heard of it is no mistake.
pub(super) const RECENT_MAX: usize = 32;

/// Room for whatever [`Engine::control`](super::Engine::control) writes at once, and for what goes before data: its frame's
/// head, behind all acknowledgements.
pub const CONTROL_BYTES_MIN: usize = 160;
const _: () = assert!(CONTROL_BYTES_MIN >= HEAD_BYTES * (SETTINGS_MAX as usize + 1));
