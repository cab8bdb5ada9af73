//! Every bound of QPACK, with its reason. Those of a peer's making are told to it as settings.

use crate::fields::{TABLE_BYTES, integer};
use crate::huffman;

/// What the peer may keep in our table if nobody says otherwise: `SETTINGS_QPACK_MAX_TABLE_CAPACITY`. Nobody may say more.
pub const CAPACITY_MAX: usize = TABLE_BYTES;

/// Streams of the peer's that may wait for our table if nobody says otherwise: `SETTINGS_QPACK_BLOCKED_STREAMS`. Each holds a
/// field section until what it refers to has come; browsers offer as many.
pub const BLOCKED_STREAMS_MAX: usize = 100;

/// The longest instruction that a peer may send before it is complete: whoever feeds [`instruct`](super::Decoder::instruct)
/// holds no more of it than that. A name and a value that fit the table, in the worst of the Huffman code, and their lengths.
pub const INSTRUCTION_BYTES_MAX: usize = CAPACITY_MAX * huffman::BITS_MAX / 8 + 3 * integer::BYTES_MAX;

/// What waits to be sent on the decoder stream: some five hundred acknowledgements. A peer that leaves more of them unread
/// keeps us from telling it what it must know.
pub(super) const DECODER_STREAM_BYTES_MAX: usize = 4096;

/// What waits to be sent on the encoder stream: beyond that nothing is inserted. Enough to fill the table, since what the
/// peer does not take in helps nobody.
pub(super) const ENCODER_STREAM_BYTES_MAX: usize = 2 * TABLE_BYTES;

/// Sections that refer to the table and that the peer has not acknowledged. Further ones do without it: by then it holds
/// what was of use a long time ago.
pub(super) const SECTIONS_MAX: usize = 256;
