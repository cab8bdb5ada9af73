//! HPACK (RFC 7541): how HTTP/2 compresses header fields.
//!
//! The one idea: a field is decoded once, to where it stays: the arena of its head. The tables hold copies, and beside each
//! the name's number, so that a field that comes again costs a copy of its value and no search.
//!
//! - [`Decoder`] is one direction of a connection, [`Encoder`] the other. Each has a table of what went before.
//!
//! Names, strings, tables and the [`Arena`] that a head is decoded into are shared with QPACK.
//! What a head must be like is left to the engine; here every sequence of fields is one.

mod decode;
mod encode;
mod fixed;

use std::fmt;

pub use decode::Decoder;
pub use encode::{Encoder, START_BYTES_MAX};

use crate::fields::Malformed;
pub use crate::fields::{Arena, Decoded, ENTRY_OVERHEAD_BYTES, Name, Sink, TABLE_BYTES, field_bytes_max};

/// Why a block cannot be decoded. The tables of the two ends may differ from here on, and the connection with it:
/// `COMPRESSION_ERROR` (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The block ends within a field.
    Truncated,
    /// A number has more bits than anything has bytes.
    Number,
    /// No entry has this index.
    Index,
    /// A string is not of the Huffman code, or its padding is wrong.
    Huffman,
    /// The table is to be larger than was granted, or changes its size after the first field.
    TableSize,
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Error {
        match malformed {
            Malformed::Truncated => Error::Truncated,
            Malformed::Number => Error::Number,
            Malformed::Huffman => Error::Huffman,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Truncated => "a field block ends within a field",
            Error::Number => "a number in a field block is too large",
            Error::Index => "a field block names an entry that its table does not have",
            Error::Huffman => "a string in a field block is not of the Huffman code",
            Error::TableSize => "a field block sets a table size that was not granted, or sets it too late",
        })
    }
}

impl std::error::Error for Error {}

/// A string's length in front of it.
#[cfg(test)]
pub(crate) fn integer_for_tests(number: usize, out: &mut [u8]) -> usize {
    crate::fields::integer::write(0, 7, number, out)
}

#[cfg(test)]
mod tests;
