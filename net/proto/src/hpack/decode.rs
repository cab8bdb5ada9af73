//! From a field block to fields in an arena.

use super::{Error, fixed};
use crate::fields::table::Table;
use crate::fields::{Arena, Decoded, Name, Sink, TABLE_BYTES, integer, string};

/// The decoder of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// The decoder of a connection that has just been opened.
    pub fn new() -> Decoder {
        Decoder { table: Table::new(TABLE_BYTES) }
    }

    /// Decodes a whole block. The table must stay the peer's whatever becomes of the fields, so the arena has room for
    /// [`TABLE_BYTES`] beyond what the sink keeps. After an error the decoder is of no use.
    pub fn decode(&mut self, mut block: &[u8], arena: &mut Arena<'_>, sink: &mut impl Sink) -> Result<(), Error> {
        while let Some(0x20..0x40) = block.first() {
            let (size, rest) = integer::read(block, 5)?;
            if size > TABLE_BYTES {
                return Err(Error::TableSize);
            }
            self.table.resize(size);
            block = rest;
        }
        while let Some(&first) = block.first() {
            let mark = arena.len();
            let (kept, rest) = match first {
                0x80.. => {
                    let (index, rest) = integer::read(block, 7)?;
                    (self.indexed(index, arena)?, rest)
                }
                0x40..0x80 => {
                    let (field, rest) = self.literal(block, 6, arena)?;
                    match field {
                        Some(Decoded { name, text, value }) => {
                            let bytes = arena.as_slice();
                            self.table.insert(name, text.of(bytes), value.of(bytes));
                        }
                        // Larger than the table, since it is larger than the room that is left.
                        None => self.table.clear(),
                    }
                    (field, rest)
                }
                0x20..0x40 => return Err(Error::TableSize),
                // Without indexing, and never to be indexed: we pass nothing on.
                _ => self.literal(block, 4, arena)?,
            };
            block = rest;
            let keeps = match kept {
                Some(field) => sink.field(arena, field),
                None => {
                    sink.overflow();
                    false
                }
            };
            if !keeps {
                arena.truncate(mark);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }

    /// A field of the tables; `None` if it has no room.
    #[inline]
    fn indexed(&self, index: usize, arena: &mut Arena<'_>) -> Result<Option<Decoded>, Error> {
        let (name, text, value) = self.entry(index)?;
        let put = |arena: &mut Arena<'_>| Some(Decoded { name, text: arena.put(text)?, value: arena.put(value)? });
        Ok(put(arena))
    }

    fn entry(&self, index: usize) -> Result<(Name, &[u8], &[u8]), Error> {
        match index.checked_sub(1).ok_or(Error::Index)? {
            place @ 0..61 => {
                let (name, text, value) = fixed::ENTRIES[place];
                Ok((name, text.as_bytes(), value.as_bytes()))
            }
            place => self.table.get(place - fixed::ENTRIES.len()).ok_or(Error::Index),
        }
    }

    /// A field whose value, and perhaps name, is written out.
    #[inline]
    fn literal<'b>(
        &self,
        block: &'b [u8],
        bits: u32,
        arena: &mut Arena<'_>,
    ) -> Result<(Option<Decoded>, &'b [u8]), Error> {
        let (index, rest) = integer::read(block, bits)?;
        let (named, rest) = match index {
            0 => {
                let (text, rest) = string::read(rest, 7, arena)?;
                (text.map(|text| (Name::of(text.of(arena.as_slice())), text)), rest)
            }
            index => {
                let (name, text, _) = self.entry(index)?;
                (arena.put(text).map(|text| (name, text)), rest)
            }
        };
        let (value, rest) = string::read(rest, 7, arena)?;
        let field = named.zip(value).map(|((name, text), value)| Decoded { name, text, value });
        Ok((field, rest))
    }
}
