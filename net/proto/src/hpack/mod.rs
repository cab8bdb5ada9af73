//! HPACK (RFC 7541): how HTTP/2 compresses header fields.
//!
//! The one idea: a field is decoded once, to where it stays: the arena of its head. The tables hold copies, and beside each
//! the name's number, so that a field that comes again costs a copy of its value and no search.
//!
//! - [`Decoder`] is one direction of a connection, [`Encoder`] the other. Each has a table of what went before.
//! - [`Arena`] is the room that a head is decoded into.
//!
//! What a head must be like is left to the engine; here every sequence of fields is one.

mod decode;
mod encode;
mod fixed;
mod integer;
mod table;

use std::fmt;

pub use decode::{Decoded, Decoder, Sink};
pub use encode::{Encoder, START_BYTES_MAX, field_bytes_max};

use crate::head::{Known, Span};

/// What each end's table holds unless settings say otherwise (RFC 9113 section 6.5.2), and the most that ours do.
pub const TABLE_BYTES: usize = 4096;

/// What an entry counts for beyond its name and value (RFC 7541 section 4.1).
pub const ENTRY_OVERHEAD_BYTES: usize = 32;

/// Whose name a field has, where someone may want to know without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `:authority`
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:protocol` (RFC 8441 section 4)
    Protocol,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// Another that begins with a colon.
    OtherPseudo,
    /// A field's.
    Field(Known),
}

impl Name {
    /// The name that is written so.
    pub fn of(name: &[u8]) -> Name {
        match name {
            b":authority" => Name::Authority,
            b":method" => Name::Method,
            b":path" => Name::Path,
            b":protocol" => Name::Protocol,
            b":scheme" => Name::Scheme,
            b":status" => Name::Status,
            [b':', ..] => Name::OtherPseudo,
            _ => Name::Field(Known::of(name)),
        }
    }
}

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

/// Room for one head, filled from its beginning. At most 65,535 bytes, since [`Span`]s are that short.
#[derive(Debug)]
pub struct Arena<'a> {
    room: &'a mut [u8],
    count: usize,
}

impl<'a> Arena<'a> {
    /// An empty one.
    pub fn new(room: &'a mut [u8]) -> Arena<'a> {
        let count_max = room.len().min(usize::from(u16::MAX));
        Arena { room: &mut room[..count_max], count: 0 }
    }

    /// Copies bytes behind what is there; `None` if they do not fit.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<Span> {
        let end = self.count + bytes.len();
        self.room.get_mut(self.count..end)?.copy_from_slice(bytes);
        let span = Span::between(self.count, end);
        self.count = end;
        Some(span)
    }

    /// How many bytes are filled.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is filled.
    pub fn as_slice(&self) -> &[u8] {
        &self.room[..self.count]
    }

    /// Copies a piece of it behind what is there.
    pub(crate) fn put_again(&mut self, piece: Span) -> Option<Span> {
        let start = usize::from(piece.start);
        let end = self.count + usize::from(piece.len);
        self.room.get(..end)?;
        self.room.copy_within(start..start + usize::from(piece.len), self.count);
        let span = Span::between(self.count, end);
        self.count = end;
        Some(span)
    }

    fn spare(&mut self) -> &mut [u8] {
        &mut self.room[self.count..]
    }

    fn commit(&mut self, count: usize) -> Span {
        let span = Span::between(self.count, self.count + count);
        self.count += count;
        span
    }

    /// Forgets all but the first `count` bytes.
    pub fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count);
    }
}

/// A string's length in front of it.
#[cfg(test)]
pub(crate) fn integer_for_tests(number: usize, out: &mut [u8]) -> usize {
    integer::write(0, 7, number, out)
}

#[cfg(test)]
mod tests;
