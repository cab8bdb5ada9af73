//! From fields to a field block.

use super::fixed;
use crate::fields::keep::{Keep, keep};
use crate::fields::table::Table;
use crate::fields::{Name, TABLE_BYTES, integer, string};
use crate::head::Known;

/// The encoder of one direction of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// What the next block must say first: the smallest size since the last, if the present one is not that
    /// (RFC 7541 section 4.2).
    smallest: Option<usize>,
}

/// The most that a block takes before its fields: two sizes of the table, and a status.
pub const START_BYTES_MAX: usize = 2 * integer::BYTES_MAX + 5;

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

    /// Begins a block. Like all that writes here it must have room, [`START_BYTES_MAX`] or [`field_bytes_max`](super::field_bytes_max), and says
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
        count + string::write(0, 7, value, &mut out[count..])
    }

    /// A field with a name of the static table that is no [`Known`], whose value comes again.
    pub fn pseudo(&mut self, index: usize, text: &[u8], value: &[u8], out: &mut [u8]) -> usize {
        let name = Name::of(text);
        if let Some((place, true)) = self.table.find(name, text, value) {
            return integer::write(0x80, 7, fixed::ENTRIES.len() + 1 + place, out);
        }
        let count = integer::write(0x40, 6, index, out);
        self.table.insert(name, text, value);
        count + string::write(0, 7, value, &mut out[count..])
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
            count += string::write(0, 7, name, &mut out[count..]);
        }
        count += string::write(0, 7, value, &mut out[count..]);
        if keep == Keep::Yes {
            self.table.insert(number, name, value);
        }
        count
    }
}
