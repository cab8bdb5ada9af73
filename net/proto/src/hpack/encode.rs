//! From fields to a field block.

use super::table::Table;
use super::{Name, TABLE_BYTES, fixed, integer};
use crate::head::Known;
use crate::huffman;

/// The encoder of one direction of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// What the next block must say first: the smallest size since the last, if the present one is not that
    /// (RFC 7541 section 4.2).
    smallest: Option<usize>,
}

/// What is known of a value beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// It comes again.
    Yes,
    /// It is another in most answers, and would push out what does come again.
    No,
    /// It is secret, and nobody on the way may keep it (RFC 7541 section 7.1.3).
    Never,
}

/// The most that a block takes before its fields: two sizes of the table, and a status.
pub const START_BYTES_MAX: usize = 2 * integer::BYTES_MAX + 5;

/// The most that a field takes besides its name and value, whose Huffman code is written only if it is shorter.
const FIELD_OVERHEAD_BYTES_MAX: usize = 1 + 2 * integer::BYTES_MAX;

/// The most that a field takes.
#[inline]
pub fn field_bytes_max(name: &[u8], value: &[u8]) -> usize {
    FIELD_OVERHEAD_BYTES_MAX + name.len() + value.len()
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

impl Encoder {
    /// The encoder of a connection that has just been opened.
    pub fn new() -> Encoder {
        Encoder { table: Table::new(TABLE_BYTES), smallest: None }
    }

    /// The peer's bound of our table: `SETTINGS_HEADER_TABLE_SIZE`. We take no more than [`TABLE_BYTES`] of it.
    pub fn set_size_max(&mut self, size_max: u32) {
        let size = TABLE_BYTES.min(size_max as usize);
        if size != self.table.size_max() {
            let before = self.smallest.unwrap_or(usize::MAX);
            self.smallest = Some(before.min(size));
            self.table.resize(size);
        }
    }

    /// Begins a block. Like all that writes here it must have room, [`START_BYTES_MAX`] or [`field_bytes_max`], and says
    /// how many bytes it took.
    #[inline]
    pub fn begin(&mut self, out: &mut [u8]) -> usize {
        if self.smallest.is_none() {
            return 0;
        }
        self.announce(out)
    }

    #[cold]
    fn announce(&mut self, out: &mut [u8]) -> usize {
        let mut count = 0;
        for size in [self.smallest.take().filter(|&size| size < self.table.size_max()), Some(self.table.size_max())] {
            count += size.map_or(0, |size| integer::write(0x20, 5, size, &mut out[count..]));
        }
        count
    }

    /// A field of the static table with its value: one byte.
    #[inline]
    pub fn fixed(&self, index: usize, out: &mut [u8]) -> usize {
        integer::write(0x80, 7, index, out)
    }

    /// A field with a name of the static table and a value that the table shall not keep.
    #[inline]
    pub fn fixed_name(&self, index: usize, value: &[u8], out: &mut [u8]) -> usize {
        let count = integer::write(0x00, 4, index, out);
        count + string(value, &mut out[count..])
    }

    /// A field with a name of the static table that is no [`Known`], whose value comes again.
    pub fn pseudo(&mut self, index: usize, text: &[u8], value: &[u8], out: &mut [u8]) -> usize {
        let name = Name::of(text);
        if let Some((place, true)) = self.table.find(name, text, value) {
            return integer::write(0x80, 7, fixed::ENTRIES.len() + 1 + place, out);
        }
        let count = integer::write(0x40, 6, index, out);
        self.table.insert(name, text, value);
        count + string(value, &mut out[count..])
    }

    /// A field. Its name is in lower case.
    #[inline]
    pub fn field(&mut self, known: Known, name: &[u8], value: &[u8], out: &mut [u8]) -> usize {
        let number = Name::Field(known);
        let keep = keep(known, value);
        // Most fields are those of the answer before.
        let found = match keep {
            Keep::Yes => self.table.find(number, name, value),
            Keep::No | Keep::Never => None,
        };
        if let Some((place, true)) = found {
            return integer::write(0x80, 7, fixed::ENTRIES.len() + 1 + place, out);
        }
        let fixed = fixed::index_of(known, name);
        let index = fixed.or(found.map(|(place, _)| fixed::ENTRIES.len() + 1 + place));
        let (first, bits) = match keep {
            Keep::Yes => (0x40, 6),
            Keep::No => (0x00, 4),
            Keep::Never => (0x10, 4),
        };
        let mut count = integer::write(first, bits, index.unwrap_or(0), out);
        if index.is_none() {
            count += string(name, &mut out[count..]);
        }
        count += string(value, &mut out[count..]);
        if keep == Keep::Yes {
            self.table.insert(number, name, value);
        }
        count
    }
}

/// A string literal, in the Huffman code if that is shorter.
#[inline]
fn string(value: &[u8], out: &mut [u8]) -> usize {
    let encoded = huffman::encoded_bytes(value);
    if encoded < value.len() {
        let count = integer::write(0x80, 7, encoded, out);
        huffman::encode(value, &mut out[count..count + encoded]);
        return count + encoded;
    }
    let count = integer::write(0x00, 7, value.len(), out);
    out[count..count + value.len()].copy_from_slice(value);
    count + value.len()
}

/// Which values are worth a place in the table.
#[inline]
fn keep(known: Known, value: &[u8]) -> Keep {
    use Known::*;
    match known {
        Authorization | ProxyAuthorization | SetCookie => Keep::Never,
        // Short ones can be guessed by one who sees the length of what is sent.
        Cookie if value.len() < COOKIE_BYTES_MIN => Keep::Never,
        ContentLength | ContentRange | Range | ETag | LastModified | Location | Age | XRequestId | TraceParent => {
            Keep::No
        }
        IfModifiedSince | IfNoneMatch | IfUnmodifiedSince | IfMatch | IfRange => Keep::No,
        _ if value.len() > VALUE_BYTES_MAX => Keep::No,
        _ => Keep::Yes,
    }
}

/// Cookies shorter than this are not kept in the table; others have more to guess than a few requests can try.
const COOKIE_BYTES_MIN: usize = 20;

/// Values longer than this are not: a quarter of the table.
const VALUE_BYTES_MAX: usize = TABLE_BYTES / 4;
