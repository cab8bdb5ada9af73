//! From fields to a field section, and what the table that it refers to is told.
//!
//! The one idea: an entry is inserted when its field is first written, and referred to as soon as nobody has to wait for it,
//! or as far as the peer lets streams wait. What is old and still in use is inserted anew before it is in the way.

use std::collections::VecDeque;

use super::limits::{CAPACITY_MAX, ENCODER_STREAM_BYTES_MAX, SECTIONS_MAX};
use super::{Error, fixed};
use crate::fields::keep::{Keep, keep};
use crate::fields::table::Table;
use crate::fields::{ENTRY_OVERHEAD_BYTES, Malformed, Name, field_bytes_max, integer, string};
use crate::head::Known;

/// The encoder of one direction of a connection. It writes one section at a time.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    /// How many entries of nothing would fill the table that the peer grants: sections count modulo twice as many.
    entries_max: u64,
    /// Sections that may wait at the peer.
    blocked_max: u64,
    /// Entries that have been inserted, ever: the absolute index of the next.
    inserted: u64,
    /// So many of them the peer has acknowledged.
    acknowledged: u64,
    /// Those that refer to entries and are not acknowledged, the oldest first.
    sections: VecDeque<Section>,
    current: Section,
    /// How many entries there were when the current one began: what it counts from.
    base: u64,
    /// Whether the current one may have to wait; it is asked when that matters.
    may_wait: Option<bool>,
    /// For the encoder stream.
    waiting: Vec<u8>,
}

/// What a section refers to.
#[derive(Clone, Copy, Debug)]
struct Section {
    stream: u64,
    /// More inserts than the newest entry's index, or none if it refers to nothing.
    required: u64,
    oldest: u64,
}

impl Section {
    const fn new(stream: u64) -> Section {
        Section { stream, required: 0, oldest: u64::MAX }
    }
}

/// What a section's prefix takes until it is known.
const PREFIX_BYTES: usize = 2;

/// The most that a section takes beside its fields: its prefix, and a status.
pub const START_BYTES_MAX: usize = 2 * integer::LONG_BYTES_MAX + 6;

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

impl Encoder {
    /// The encoder of a connection that has just been opened. Until the peer [allows](Encoder::allow) more it does without a
    /// table.
    pub fn new() -> Encoder {
        Encoder {
            table: Table::new(0),
            entries_max: 0,
            blocked_max: 0,
            inserted: 0,
            acknowledged: 0,
            sections: VecDeque::new(),
            current: Section::new(0),
            base: 0,
            may_wait: None,
            waiting: Vec::new(),
        }
    }

    /// The peer's settings, once: `SETTINGS_QPACK_MAX_TABLE_CAPACITY`, of which we take no more than [`CAPACITY_MAX`], and
    /// `SETTINGS_QPACK_BLOCKED_STREAMS`.
    pub fn allow(&mut self, capacity: u64, blocked_streams: u64) {
        self.entries_max = capacity / ENTRY_OVERHEAD_BYTES as u64;
        self.blocked_max = blocked_streams;
        let capacity = capacity.min(CAPACITY_MAX as u64) as usize;
        if self.entries_max > 0 && capacity != self.table.size_max() {
            self.table.resize(capacity);
            self.put(integer::BYTES_MAX, |out| integer::write(0x20, 5, capacity, out));
        }
    }

    /// Whether the peer has granted a table. Without one, sections say the same on all connections.
    #[inline]
    pub fn has_table(&self) -> bool {
        self.table.size_max() > 0
    }

    /// Begins a section of a stream. Like all that writes here it must have room, [`START_BYTES_MAX`] or [`field_bytes_max`],
    /// and says how many bytes it took. A section that was begun and not [finished](Encoder::finish) is forgotten.
    #[inline]
    pub fn begin(&mut self, stream: u64, out: &mut [u8]) -> usize {
        self.current = Section::new(stream);
        self.base = self.inserted;
        self.may_wait = None;
        out[..PREFIX_BYTES].fill(0);
        PREFIX_BYTES
    }

    /// A field of the static table with its value: one byte, or two.
    #[inline]
    pub fn fixed(&self, index: usize, out: &mut [u8]) -> usize {
        integer::write(0xc0, 6, index, out)
    }

    /// A field with a name of the static table and a value that the table shall not keep.
    #[inline]
    pub fn fixed_name(&self, index: usize, value: &[u8], out: &mut [u8]) -> usize {
        let count = integer::write(0x50, 4, index, out);
        count + string::write(0, 7, value, &mut out[count..])
    }

    /// A field with a name of the static table that is no [`Known`], whose value comes again.
    pub fn pseudo(&mut self, index: usize, text: &[u8], value: &[u8], out: &mut [u8]) -> usize {
        self.line(Name::of(text), text, value, Some(index), Keep::Yes, out)
    }

    /// A field. Its name is in lower case.
    #[inline]
    pub fn field(&mut self, known: Known, name: &[u8], value: &[u8], out: &mut [u8]) -> usize {
        let keep = keep(known, value);
        let found = fixed::find(known, name, value);
        match found {
            Some((index, true)) if keep != Keep::Never => self.fixed(index, out),
            _ => self.line(Name::Field(known), name, value, found.map(|(index, _)| index), keep, out),
        }
    }

    /// Ends the section of `count` bytes, and says how many it has now that its prefix is known.
    #[inline]
    pub fn finish(&mut self, out: &mut [u8], count: usize) -> usize {
        if self.current.required == 0 {
            return count;
        }
        self.sections.push_back(self.current);
        let required = self.current.required;
        let mut prefix = [0; 2 * integer::LONG_BYTES_MAX];
        let mut bytes = integer::write_long(0x00, 8, required % (2 * self.entries_max) + 1, &mut prefix);
        bytes += match self.base.checked_sub(required) {
            Some(delta) => integer::write_long(0x00, 7, delta, &mut prefix[bytes..]),
            None => integer::write_long(0x80, 7, required - self.base - 1, &mut prefix[bytes..]),
        };
        if bytes != PREFIX_BYTES {
            out.copy_within(PREFIX_BYTES..count, bytes);
        }
        out[..bytes].copy_from_slice(&prefix[..bytes]);
        count - PREFIX_BYTES + bytes
    }

    /// Takes what has come on the peer's decoder stream: as many whole instructions as there are, and says how many bytes
    /// these have. The rest, fewer than eleven, is to be shown again with what follows. That a stream was reset is said
    /// there too, by the peer: until then it may still decode what it has of it.
    pub fn acknowledge(&mut self, input: &[u8]) -> Result<usize, Error> {
        let mut left = input;
        while let Some(&first) = left.first() {
            let bits = if first & 0x80 != 0 { 7 } else { 6 };
            let (number, rest) = match integer::read_long(left, bits) {
                Ok(read) => read,
                Err(Malformed::Truncated) => break,
                Err(_) => return Err(Error::DecoderStream("a number is too large")),
            };
            match first {
                0x80.. => {
                    let place = self.sections.iter().position(|section| section.stream == number);
                    let section = place.and_then(|place| self.sections.remove(place)).ok_or(Error::DecoderStream(
                        "a field section is acknowledged that was not sent, or refers to nothing",
                    ))?;
                    self.acknowledged = self.acknowledged.max(section.required);
                }
                0x40..0x80 => self.sections.retain(|section| section.stream != number),
                _ => {
                    if number == 0 || number > self.inserted - self.acknowledged {
                        return Err(Error::DecoderStream("more inserts are acknowledged than there were, or none"));
                    }
                    self.acknowledged += number;
                }
            }
            left = rest;
        }
        Ok(input.len() - left.len())
    }

    /// Whether there is something for the encoder stream.
    #[inline]
    pub fn has_to_say(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes the next bytes of our encoder stream, without its type, and says how many. Those that have no room come next
    /// time. It is best sent before the sections that were written meanwhile, which may refer to it.
    pub fn say(&mut self, out: &mut [u8]) -> usize {
        super::say(&mut self.waiting, out)
    }

    // ---- the table ---------------------------------------------------------------------------------------------------

    /// A field line for what is not in the static table.
    fn line(
        &mut self,
        name: Name,
        text: &[u8],
        value: &[u8],
        fixed: Option<usize>,
        keep: Keep,
        out: &mut [u8],
    ) -> usize {
        let mut named = None;
        if keep == Keep::Yes && self.table.size_max() > 0 && self.sections.len() < SECTIONS_MAX {
            let found = self.table.find(name, text, value);
            let index = match found {
                Some((place, true)) => self.entry(place, name, text, value),
                _ => {
                    let place = found.map(|(place, _)| place);
                    let lasting = place.filter(|&place| fixed.is_none() && !self.is_draining(place));
                    named = lasting.map(|place| self.index_of(place));
                    self.insert(name, text, value, fixed, place).filter(|&index| self.refer(index))
                }
            };
            if let Some(index) = index {
                return self.indexed(index, out);
            }
        }
        let never = keep == Keep::Never;
        let named = named.filter(|&index| index >= self.oldest() && self.refer(index));
        let count = match (fixed, named) {
            (Some(index), _) => integer::write(if never { 0x70 } else { 0x50 }, 4, index, out),
            (None, Some(index)) => match self.base.checked_sub(index + 1) {
                Some(before) => integer::write_long(0x40, 4, before, out),
                None => integer::write_long(0x00, 3, index - self.base, out),
            },
            (None, None) => string::write(if never { 0x30 } else { 0x20 }, 3, text, out),
        };
        count + string::write(0, 7, value, &mut out[count..])
    }

    /// A field line that is a whole entry.
    #[inline]
    fn indexed(&self, index: u64, out: &mut [u8]) -> usize {
        match self.base.checked_sub(index + 1) {
            Some(before) => integer::write_long(0x80, 6, before, out),
            None => integer::write_long(0x10, 4, index - self.base, out),
        }
    }

    /// An entry like the one at this place, the newest such, that the section may refer to.
    #[inline]
    fn entry(&mut self, place: usize, name: Name, text: &[u8], value: &[u8]) -> Option<u64> {
        let index = self.index_of(place);
        if self.is_draining(place)
            && let Some(duplicate) = self.duplicate(place, name, text, value)
            && self.refer(duplicate)
        {
            return Some(duplicate);
        }
        if index >= self.oldest() && self.refer(index) {
            return Some(index);
        }
        // It has not been acknowledged. One that was there before may be there still.
        let from = (self.inserted - self.acknowledged) as usize;
        let (place, _) = self.table.find_from(from, name, text, value).filter(|&(_, is_whole)| is_whole)?;
        Some(self.index_of(place)).filter(|&index| self.refer(index))
    }

    /// Refers to an entry, if nobody has to wait for it, or may.
    #[inline]
    fn refer(&mut self, index: u64) -> bool {
        if index >= self.acknowledged && !self.may_wait() {
            return false;
        }
        self.current.required = self.current.required.max(index + 1);
        self.current.oldest = self.current.oldest.min(index);
        true
    }

    /// Whether the section may refer to what the peer may not have yet. So many streams may wait; each section counts as one,
    /// which is never too few.
    fn may_wait(&mut self) -> bool {
        *self.may_wait.get_or_insert_with(|| {
            let mut waiting = self.sections.iter().filter(|section| section.required > self.acknowledged);
            waiting.clone().any(|section| section.stream == self.current.stream)
                || (waiting.by_ref().count() as u64) < self.blocked_max
        })
    }

    /// Inserts an entry and says its index, if it can be done.
    fn insert(
        &mut self,
        name: Name,
        text: &[u8],
        value: &[u8],
        fixed: Option<usize>,
        place: Option<usize>,
    ) -> Option<u64> {
        let bytes = text.len() + value.len();
        if !self.has_room(bytes) {
            return None;
        }
        self.put(field_bytes_max(text, value), |out| {
            let count = match (fixed, place) {
                (Some(index), _) => integer::write(0xc0, 6, index, out),
                (None, Some(place)) => integer::write(0x80, 6, place, out),
                (None, None) => string::write(0x40, 5, text, out),
            };
            count + string::write(0, 7, value, &mut out[count..])
        });
        self.table.insert(name, text, value);
        self.inserted += 1;
        Some(self.inserted - 1)
    }

    /// Inserts an entry of the table anew, so that the old one is in nobody's way, and says its index.
    fn duplicate(&mut self, place: usize, name: Name, text: &[u8], value: &[u8]) -> Option<u64> {
        if !self.has_room(text.len() + value.len()) {
            return None;
        }
        self.put(integer::BYTES_MAX, |out| integer::write(0x00, 5, place, out));
        self.table.insert(name, text, value);
        self.inserted += 1;
        Some(self.inserted - 1)
    }

    /// Whether an entry of so many bytes can be inserted: it may evict only what the peer has acknowledged and no section
    /// refers to any more (RFC 9204 section 2.1.1).
    fn has_room(&self, bytes: usize) -> bool {
        if self.waiting.len() + bytes + field_bytes_max(&[], &[]) > ENCODER_STREAM_BYTES_MAX {
            return false;
        }
        match self.table.evictions(bytes) {
            Some(0) => true,
            Some(count) => {
                let sections = self.sections.iter().map(|section| section.oldest);
                let kept = sections.min().unwrap_or(u64::MAX).min(self.current.oldest).min(self.acknowledged);
                self.oldest() + count as u64 <= kept
            }
            None => false,
        }
    }

    /// Whether an entry is among the last quarter of the table: what refers to it would keep it from being evicted
    /// (RFC 9204 section 2.1.1.1).
    fn is_draining(&self, place: usize) -> bool {
        self.table.depth(place) > self.table.size_max() / 4 * 3
    }

    fn index_of(&self, place: usize) -> u64 {
        self.inserted - 1 - place as u64
    }

    /// The index of the oldest entry that is left.
    fn oldest(&self) -> u64 {
        self.inserted - self.table.len() as u64
    }

    /// Queues an instruction of the encoder stream of at most so many bytes.
    fn put(&mut self, bytes_max: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let before = self.waiting.len();
        self.waiting.resize(before + bytes_max, 0);
        let count = write(&mut self.waiting[before..]);
        self.waiting.truncate(before + count);
    }
}
