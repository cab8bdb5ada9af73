//! What both compressions of header fields are made of, [HPACK](crate::hpack) and [QPACK](crate::qpack).
//!
//! The one idea: a name's number stays with it from the table to the arena, so that nobody looks a name up twice.

pub(crate) mod integer;
pub(crate) mod keep;
pub(crate) mod string;
pub(crate) mod table;

use crate::head::{Known, Span};

/// The most that a table of ours holds, of either end and either version: what HTTP/2 begins with (RFC 9113 section 6.5.2).
pub const TABLE_BYTES: usize = 4096;

/// What an entry counts for beyond its name and value (RFC 7541 section 4.1, RFC 9204 section 3.2.1).
pub const ENTRY_OVERHEAD_BYTES: usize = 32;

/// The most that a field takes besides its name and value, whose Huffman code is written only if it is shorter.
const FIELD_OVERHEAD_BYTES_MAX: usize = 1 + 2 * integer::BYTES_MAX;

/// The most that a field takes.
#[inline]
pub fn field_bytes_max(name: &[u8], value: &[u8]) -> usize {
    FIELD_OVERHEAD_BYTES_MAX + name.len() + value.len()
}

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

/// What cannot be read of a number or a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The input ends within it.
    Truncated,
    /// A number has more bits than anything has bytes.
    Number,
    /// A string is not of the Huffman code, or its padding is wrong.
    Huffman,
}

/// A field that was decoded.
#[derive(Clone, Copy, Debug)]
pub struct Decoded {
    /// Whose name it has.
    pub name: Name,
    /// Where its name lies in the arena.
    pub text: Span,
    /// And its value.
    pub value: Span,
}

/// Takes the fields of a block as they come.
pub trait Sink {
    /// The next field. With false it is not kept in the arena.
    fn field(&mut self, arena: &Arena<'_>, field: Decoded) -> bool;

    /// The next field has no room in the arena.
    fn overflow(&mut self);

    /// Whether it makes no difference what else comes. Where nothing depends on it but this head, as in QPACK, the rest is not
    /// decoded: a byte may stand for a field as large as the table.
    fn has_enough(&self) -> bool {
        false
    }
}

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

    pub(crate) fn spare(&mut self) -> &mut [u8] {
        &mut self.room[self.count..]
    }

    pub(crate) fn commit(&mut self, count: usize) -> Span {
        let span = Span::between(self.count, self.count + count);
        self.count += count;
        span
    }

    /// Forgets all but the first `count` bytes.
    pub fn truncate(&mut self, count: usize) {
        self.count = self.count.min(count);
    }
}
