//! QPACK (RFC 9204): how HTTP/3 compresses header fields, whose streams arrive in any order.
//!
//! The one idea is HPACK's: a field is decoded once, to where it stays, and its name's number stays with it. What is new is
//! that the tables are changed by a stream of their own, so that a field section may come before what it refers to, and
//! that an entry is evicted only when nobody can refer to it any more.
//!
//! - [`Decoder`] is one direction of a connection: it [takes](Decoder::instruct) the peer's encoder stream,
//!   [decodes](Decoder::decode) field sections, and [says](Decoder::say) on our decoder stream how far it is.
//! - [`Encoder`] is the other: it writes field sections, [says](Encoder::say) on our encoder stream what it inserts, and
//!   [takes](Encoder::acknowledge) the peer's decoder stream.
//!
//! Neither holds what it cannot use yet: a section that waits for inserts, or an instruction that has not come whole, is
//! shown again by whoever has the stream. What a head must be like is left to the engine.
//!
//! ```
//! use shardwise_proto::qpack::{Decoder, Encoder, START_BYTES_MAX, field_bytes_max};
//!
//! let (mut encoder, mut out) = (Encoder::new(), [0; 256]);
//! let (name, value) = (b"x-from".as_slice(), b"ada".as_slice());
//! assert!(out.len() >= START_BYTES_MAX + field_bytes_max(name, value));
//!
//! let mut count = encoder.begin(0, &mut out);
//! count += encoder.fixed(25, &mut out[count..]);
//! count += encoder.field(shardwise_proto::head::Known::of(name), name, value, &mut out[count..]);
//! let count = encoder.finish(&mut out, count);
//! // No table was granted: an index, and a name and a value in the Huffman code.
//! assert_eq!(&out[..4], b"\0\0\xd9\x2d");
//! # let _ = (count, Decoder::default());
//! ```

mod decode;
mod encode;
mod fixed;
pub mod limits;

use std::fmt;

pub use decode::{Decoder, Outcome};
pub use encode::{Encoder, START_BYTES_MAX};

pub use crate::fields::{Arena, Decoded, ENTRY_OVERHEAD_BYTES, Name, Sink, TABLE_BYTES, field_bytes_max};

/// What a peer did wrong, in words. The tables of the two ends may differ from here on, and the connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A field section cannot be decoded: `QPACK_DECOMPRESSION_FAILED`.
    Decompression(&'static str),
    /// Its encoder stream: `QPACK_ENCODER_STREAM_ERROR`.
    EncoderStream(&'static str),
    /// Its decoder stream: `QPACK_DECODER_STREAM_ERROR`.
    DecoderStream(&'static str),
    /// It does not read what it must know: `H3_EXCESSIVE_LOAD`.
    Unread(&'static str),
}

impl Error {
    /// The code that the peer is told (RFC 9204 section 6, RFC 9114 section 8.1).
    pub fn code(self) -> u64 {
        match self {
            Error::Decompression(_) => 0x200,
            Error::EncoderStream(_) => 0x201,
            Error::DecoderStream(_) => 0x202,
            Error::Unread(_) => 0x107,
        }
    }

    /// What it did.
    pub fn what(self) -> &'static str {
        match self {
            Error::Decompression(what)
            | Error::EncoderStream(what)
            | Error::DecoderStream(what)
            | Error::Unread(what) => what,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())
    }
}

impl std::error::Error for Error {}

/// Moves what waits into `out`, as much as has room, and says how many bytes that is.
fn say(waiting: &mut Vec<u8>, out: &mut [u8]) -> usize {
    let count = waiting.len().min(out.len());
    out[..count].copy_from_slice(&waiting[..count]);
    waiting.drain(..count);
    count
}

#[cfg(test)]
mod tests;
