//! The dynamic table of one direction (RFC 7541 section 2.3.2): the last fields, newest first.
//!
//! The one idea: names and values lie end to end in one buffer that is twice as long as the table may be, each entry in one
//! piece. What is evicted is a hole at the beginning, and when the end is reached all is moved down over it: once for as
//! many bytes as the table holds.

use std::collections::VecDeque;

use super::{ENTRY_OVERHEAD_BYTES, Name};

/// An entry: where it lies.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    start: u16,
    name_bytes: u16,
    value_bytes: u16,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The newest is the first.
    entries: VecDeque<Entry>,
    bytes: Vec<u8>,
    /// As the RFC counts.
    size: usize,
    size_max: usize,
}

impl Table {
    /// A table that may hold so much, and has no memory yet. At most [`TABLE_BYTES`](super::TABLE_BYTES).
    pub(crate) fn new(size_max: usize) -> Table {
        debug_assert!(size_max <= super::TABLE_BYTES);
        Table { size_max, ..Table::default() }
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn size_max(&self) -> usize {
        self.size_max
    }

    /// The entry at this place, the newest being at zero.
    #[inline]
    pub(crate) fn get(&self, place: usize) -> Option<(Name, &[u8], &[u8])> {
        let entry = self.entries.get(place)?;
        let (name, value) = self.bytes[usize::from(entry.start)..][..entry.bytes()].split_at(entry.name_bytes.into());
        Some((entry.name, name, value))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the entry at this place and all newer ones count for.
    pub(crate) fn depth(&self, place: usize) -> usize {
        let bytes = self.entries.get(place).map_or(0, |entry| self.bytes.len() - usize::from(entry.start));
        bytes + (place + 1) * ENTRY_OVERHEAD_BYTES
    }

    /// How many of the oldest entries must go before one with so many bytes is inserted; `None` if it is too large.
    pub(crate) fn evictions(&self, bytes: usize) -> Option<usize> {
        let room = self.size_max.checked_sub(bytes + ENTRY_OVERHEAD_BYTES)?;
        let (mut size, mut count) = (self.size, 0);
        let mut oldest = self.entries.iter().rev();
        while size > room {
            size -= oldest.next()?.bytes() + ENTRY_OVERHEAD_BYTES;
            count += 1;
        }
        Some(count)
    }

    /// Where an entry with this name is, and whether it has this value too; one with both if there is one.
    #[inline]
    pub(crate) fn find(&self, name: Name, text: &[u8], value: &[u8]) -> Option<(usize, bool)> {
        self.find_from(0, name, text, value)
    }

    /// The same among the entries from a place on.
    #[inline]
    pub(crate) fn find_from(&self, from: usize, name: Name, text: &[u8], value: &[u8]) -> Option<(usize, bool)> {
        let mut named = None;
        for (place, entry) in self.entries.iter().enumerate().skip(from) {
            if entry.name != name || usize::from(entry.name_bytes) != text.len() {
                continue;
            }
            let start = usize::from(entry.start);
            // Two names with the same number are the same name, unless it is that of all others.
            if name == Name::Field(crate::head::Known::Other) && self.bytes[start..start + text.len()] != *text {
                continue;
            }
            if self.bytes[start + text.len()..start + entry.bytes()] == *value {
                return Some((place, true));
            }
            named = named.or(Some((place, false)));
        }
        named
    }

    /// Sets the bound, and evicts what is too much.
    pub(crate) fn resize(&mut self, size_max: usize) {
        debug_assert!(size_max <= super::TABLE_BYTES);
        self.size_max = size_max;
        self.evict(0);
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.size = 0;
    }

    /// Makes an entry the newest. One that is too large empties the table, and is not kept (RFC 7541 section 4.4).
    pub(crate) fn insert(&mut self, name: Name, text: &[u8], value: &[u8]) {
        let count = text.len() + value.len();
        self.evict(count + ENTRY_OVERHEAD_BYTES);
        if count + ENTRY_OVERHEAD_BYTES > self.size_max {
            return;
        }
        if self.bytes.len() + count > 2 * super::TABLE_BYTES {
            self.compact();
        }
        let start = self.bytes.len() as u16;
        self.bytes.extend_from_slice(text);
        self.bytes.extend_from_slice(value);
        let (name_bytes, value_bytes) = (text.len() as u16, value.len() as u16);
        self.entries.push_front(Entry { name, start, name_bytes, value_bytes });
        self.size += count + ENTRY_OVERHEAD_BYTES;
    }

    /// Makes room for an entry of this size.
    fn evict(&mut self, size: usize) {
        while self.size + size > self.size_max
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.bytes() + ENTRY_OVERHEAD_BYTES;
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    fn compact(&mut self) {
        let start = self.entries.back().map_or(self.bytes.len(), |oldest| oldest.start.into());
        self.bytes.drain(..start);
        self.entries.iter_mut().for_each(|entry| entry.start -= start as u16);
    }
}

impl Entry {
    fn bytes(self) -> usize {
        usize::from(self.name_bytes) + usize::from(self.value_bytes)
    }
}

// Positions are of 16 bits.
const _: () = assert!(3 * super::TABLE_BYTES < u16::MAX as usize);
