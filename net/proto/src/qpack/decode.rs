//! From a field section to fields in an arena, and what the table they refer to is told.

use super::limits::{BLOCKED_STREAMS_MAX, CAPACITY_MAX, DECODER_STREAM_BYTES_MAX};
use super::{Error, fixed};
use crate::fields::table::Table;
use crate::fields::{Arena, Decoded, ENTRY_OVERHEAD_BYTES, Malformed, Name, Sink, integer, string};

/// The decoder of one direction of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    capacity_max: usize,
    /// Entries that have been inserted, ever: the absolute index of the next.
    inserted: u64,
    /// So many of them the peer knows, or will when it has read what waits.
    told: u64,
    /// Sections that wait, or have waited and have not been shown again.
    blocked: Vec<Blocked>,
    blocked_max: usize,
    /// For the decoder stream, but for the insert count's increment, which is what was inserted and not told.
    waiting: Vec<u8>,
}

/// A field section that waits. What it requires is said modulo what the table holds, so it is kept from when that was clear.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    stream: u64,
    required: u64,
    /// Whether [`Decoder::unblocked`] has said that it waits no longer.
    is_free: bool,
}

/// What became of a field section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has its fields.
    Decoded,
    /// It refers to what has not been inserted yet. Nothing was given to the sink; the same section is to be shown again when
    /// [`Decoder::unblocked`] says its stream, before any other of that stream.
    Blocked,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new(CAPACITY_MAX, BLOCKED_STREAMS_MAX)
    }
}

impl Decoder {
    /// The decoder of a connection that has just been opened, whose peer is told these two as settings: what it may keep in
    /// the table, at most [`CAPACITY_MAX`], and how many of its streams may wait for it.
    pub fn new(capacity_max: usize, blocked_max: usize) -> Decoder {
        let capacity_max = capacity_max.min(CAPACITY_MAX);
        Decoder {
            table: Table::new(0),
            capacity_max,
            inserted: 0,
            told: 0,
            blocked: Vec::new(),
            blocked_max,
            waiting: Vec::new(),
        }
    }

    /// Takes what has come on the peer's encoder stream: as many whole instructions as there are, and says how many bytes
    /// these have. The rest, at most [`INSTRUCTION_BYTES_MAX`](super::limits::INSTRUCTION_BYTES_MAX), is to be shown again
    /// with what follows. The arena needs room for [`TABLE_BYTES`](super::TABLE_BYTES), and is left as it was. After an
    /// error the decoder is of no use.
    pub fn instruct(&mut self, input: &[u8], arena: &mut Arena<'_>) -> Result<usize, Error> {
        let mut left = input;
        while !left.is_empty() {
            let mark = arena.len();
            let result = self.instruction(left, arena);
            arena.truncate(mark);
            match result {
                Ok(rest) => left = rest,
                Err(Stop::Short) => break,
                Err(Stop::Wrong(what)) => return Err(Error::EncoderStream(what)),
            }
        }
        Ok(input.len() - left.len())
    }

    /// Decodes a whole field section of a stream, or as much of it as the sink [wants](Sink::has_enough). What has no room in the
    /// arena goes to [`Sink::overflow`]. After an error the decoder is of no use.
    pub fn decode(
        &mut self,
        stream: u64,
        section: &[u8],
        arena: &mut Arena<'_>,
        sink: &mut impl Sink,
    ) -> Result<Outcome, Error> {
        let waited = self.blocked.iter().position(|blocked| blocked.stream == stream);
        let known = waited.map(|place| self.blocked[place].required);
        let (required, base, mut rest) = self.prefix(section, known)?;
        match waited {
            _ if required > self.inserted => return self.block(stream, required, waited).map(|()| Outcome::Blocked),
            Some(place) => drop(self.blocked.swap_remove(place)),
            None => {}
        }
        let lines = Lines { table: &self.table, inserted: self.inserted, required, base };
        while !rest.is_empty() && !sink.has_enough() {
            let mark = arena.len();
            let (field, after) = lines.line(rest, arena).map_err(|stop| Error::Decompression(stop.in_section()))?;
            rest = after;
            let keeps = match field {
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
        if required > 0 {
            self.put(0x80, 7, stream)?;
            self.told = self.told.max(required);
        }
        Ok(Outcome::Decoded)
    }

    /// A stream whose field section waited and need not wait any longer; each is said once.
    pub fn unblocked(&mut self) -> Option<u64> {
        let inserted = self.inserted;
        let blocked = self.blocked.iter_mut().find(|blocked| !blocked.is_free && blocked.required <= inserted)?;
        blocked.is_free = true;
        Some(blocked.stream)
    }

    /// A stream was reset, or nobody reads it any more: the field sections that it may still have had are not decoded
    /// (RFC 9204 section 2.2.2.2).
    pub fn cancel(&mut self, stream: u64) -> Result<(), Error> {
        self.blocked.retain(|blocked| blocked.stream != stream);
        if self.capacity_max == 0 {
            return Ok(());
        }
        self.put(0x40, 6, stream)
    }

    /// Whether there is something for the decoder stream.
    #[inline]
    pub fn has_to_say(&self) -> bool {
        !self.waiting.is_empty() || self.told < self.inserted
    }

    /// Writes the next bytes of our decoder stream, without its type, and says how many. Those that have no room come next
    /// time.
    pub fn say(&mut self, out: &mut [u8]) -> usize {
        // Acknowledgements have said part of it; and when all is full there is no hurry.
        if self.told < self.inserted && self.put(0x00, 6, self.inserted - self.told).is_ok() {
            self.told = self.inserted;
        }
        super::say(&mut self.waiting, out)
    }

    /// Queues an instruction of the decoder stream.
    fn put(&mut self, first: u8, bits: u32, number: u64) -> Result<(), Error> {
        let mut bytes = [0; integer::LONG_BYTES_MAX];
        let count = integer::write_long(first, bits, number, &mut bytes);
        if self.waiting.len() + count > DECODER_STREAM_BYTES_MAX {
            return Err(Error::Unread("the decoder stream is not read"));
        }
        self.waiting.extend_from_slice(&bytes[..count]);
        Ok(())
    }
}

impl Decoder {
    /// The first instruction of the peer's encoder stream (RFC 9204 section 4.3), and what is left after it.
    fn instruction<'b>(&mut self, input: &'b [u8], arena: &mut Arena<'_>) -> Result<&'b [u8], Stop> {
        let (name, text, value, rest) = match input[0] {
            first @ 0x80.. => {
                let (index, rest) = integer::read(input, 6)?;
                let (name, text, _) = if first & 0x40 != 0 { fixed_entry(index) } else { self.table.get(index) }
                    .ok_or(Stop::Wrong("an insert takes its name from an entry that is not there"))?;
                let least = text.len() + string::least(rest, 7)?;
                self.check(least)?;
                let (value, rest) = string::parse(rest, 7)?;
                let text = arena.put(text).ok_or(TOO_LARGE)?;
                (name, text, value.put(arena)?.ok_or(TOO_LARGE)?, rest)
            }
            0x40..0x80 => {
                let least = string::least(input, 5)?;
                self.check(least)?;
                let (text, rest) = string::parse(input, 5)?;
                let least = least + string::least(rest, 7)?;
                self.check(least)?;
                let (value, rest) = string::parse(rest, 7)?;
                let text = text.put(arena)?.ok_or(TOO_LARGE)?;
                let value = value.put(arena)?.ok_or(TOO_LARGE)?;
                (Name::of(text.of(arena.as_slice())), text, value, rest)
            }
            0x20..0x40 => {
                let (capacity, rest) = integer::read(input, 5)?;
                if capacity > self.capacity_max {
                    return Err(Stop::Wrong("the table is to be larger than was granted"));
                }
                self.table.resize(capacity);
                return Ok(rest);
            }
            _ => {
                let (index, rest) = integer::read(input, 5)?;
                let (name, text, value) =
                    self.table.get(index).ok_or(Stop::Wrong("an entry that is not there is duplicated"))?;
                (name, arena.put(text).ok_or(TOO_LARGE)?, arena.put(value).ok_or(TOO_LARGE)?, rest)
            }
        };
        self.check(usize::from(text.len) + usize::from(value.len))?;
        let bytes = arena.as_slice();
        self.table.insert(name, text.of(bytes), value.of(bytes));
        self.inserted += 1;
        Ok(rest)
    }

    /// Whether an entry of so many bytes may be inserted. It is asked before the strings have come, since whoever holds what
    /// is not complete must know that it will be of use.
    fn check(&self, bytes: usize) -> Result<(), Stop> {
        if bytes + ENTRY_OVERHEAD_BYTES > self.table.size_max() { Err(TOO_LARGE) } else { Ok(()) }
    }

    /// The required insert count, unless it is known, and the base (RFC 9204 section 4.5.1), and the field lines.
    #[inline]
    fn prefix<'b>(&self, section: &'b [u8], known: Option<u64>) -> Result<(u64, u64, &'b [u8]), Error> {
        let read = |input, bits| {
            integer::read(input, bits).map_err(|malformed| Error::Decompression(Stop::from(malformed).in_section()))
        };
        let (encoded, rest) = read(section, 8)?;
        let required = known.map_or_else(|| self.required(encoded as u64), Ok)?;
        let (delta, after) = read(rest, 7)?;
        let base = match rest[0] {
            0x80.. => required.checked_sub(delta as u64 + 1),
            _ => required.checked_add(delta as u64),
        };
        Ok((required, base.ok_or(Error::Decompression("the base of a field section is negative"))?, after))
    }

    /// RFC 9204 section 4.5.1.1: only its last digits are sent, so to say, the others follow from how many entries there are.
    #[inline]
    fn required(&self, encoded: u64) -> Result<u64, Error> {
        const WRONG: Error = Error::Decompression("no field section can require so many inserts");
        if encoded == 0 {
            return Ok(0);
        }
        let entries_max = (self.capacity_max / ENTRY_OVERHEAD_BYTES) as u64;
        let range = 2 * entries_max;
        if encoded > range {
            return Err(WRONG);
        }
        let most = self.inserted + entries_max;
        let required = most / range * range + encoded - 1;
        if required <= most {
            return if required == 0 { Err(WRONG) } else { Ok(required) };
        }
        required.checked_sub(range).filter(|&required| required > 0).ok_or(WRONG)
    }

    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Notes that a stream waits, if it is not known.
    fn block(&mut self, stream: u64, required: u64, known: Option<usize>) -> Result<(), Error> {
        if known.is_some() {
            return Ok(());
        }
        if self.blocked.iter().filter(|blocked| !blocked.is_free).count() >= self.blocked_max {
            return Err(Error::Decompression("more streams wait for the table than may"));
        }
        self.blocked.push(Blocked { stream, required, is_free: false });
        Ok(())
    }
}

/// What the field lines of a section may refer to.
struct Lines<'t> {
    table: &'t Table,
    inserted: u64,
    required: u64,
    base: u64,
}

/// An entry of a table, or an error.
type Entry<'t> = Result<(Name, &'t [u8], &'t [u8]), Stop>;

impl Lines<'_> {
    /// The first field line (RFC 9204 section 4.5.2 and what follows it), and what is left after it; `None` if it has no
    /// room.
    #[inline]
    fn line<'b>(&self, input: &'b [u8], arena: &mut Arena<'_>) -> Result<(Option<Decoded>, &'b [u8]), Stop> {
        let named = |entry: (Name, &[u8], &[u8]), arena: &mut Arena<'_>| Some((entry.0, arena.put(entry.1)?));
        let (named, rest) = match input[0] {
            first @ 0x80.. => {
                let (index, rest) = integer::read(input, 6)?;
                let entry = if first & 0x40 != 0 { self.fixed(index)? } else { self.before(index)? };
                return Ok((whole(entry, arena), rest));
            }
            // We pass nothing on, so that whether a field must never be indexed makes no difference.
            first @ 0x40..0x80 => {
                let (index, rest) = integer::read(input, 4)?;
                let entry = if first & 0x10 != 0 { self.fixed(index)? } else { self.before(index)? };
                (named(entry, arena), rest)
            }
            0x20..0x40 => {
                let (text, rest) = string::read(input, 3, arena)?;
                (text.map(|text| (Name::of(text.of(arena.as_slice())), text)), rest)
            }
            0x10..0x20 => {
                let (index, rest) = integer::read(input, 4)?;
                return Ok((whole(self.after(index)?, arena), rest));
            }
            _ => {
                let (index, rest) = integer::read(input, 3)?;
                (named(self.after(index)?, arena), rest)
            }
        };
        let (value, rest) = string::read(rest, 7, arena)?;
        Ok((named.zip(value).map(|((name, text), value)| Decoded { name, text, value }), rest))
    }

    fn fixed(&self, index: usize) -> Entry<'static> {
        fixed_entry(index).ok_or(Stop::Wrong("the static table has no such entry"))
    }

    /// Counted backwards from the base.
    fn before(&self, index: usize) -> Entry<'_> {
        self.entry(self.base.checked_sub(index as u64 + 1))
    }

    /// Counted on from it.
    fn after(&self, index: usize) -> Entry<'_> {
        self.entry(self.base.checked_add(index as u64))
    }

    fn entry(&self, absolute: Option<u64>) -> Entry<'_> {
        let absolute = absolute
            .filter(|&absolute| absolute < self.required)
            .ok_or(Stop::Wrong("a field line refers to an entry beyond what its section requires"))?;
        let place = self.inserted - 1 - absolute;
        usize::try_from(place)
            .ok()
            .and_then(|place| self.table.get(place))
            .ok_or(Stop::Wrong("a field line refers to an entry that was evicted"))
    }
}

/// A whole entry as a field; `None` if it has no room.
#[inline]
fn whole((name, text, value): (Name, &[u8], &[u8]), arena: &mut Arena<'_>) -> Option<Decoded> {
    Some(Decoded { name, text: arena.put(text)?, value: arena.put(value)? })
}

fn fixed_entry(index: usize) -> Option<(Name, &'static [u8], &'static [u8])> {
    let (name, text, value) = *fixed::ENTRIES.get(index)?;
    Some((name, text.as_bytes(), value.as_bytes()))
}

/// Why reading does not go on.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// What has come ends here.
    Short,
    Wrong(&'static str),
}

const TOO_LARGE: Stop = Stop::Wrong("an entry is larger than the table");

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Stop {
        match malformed {
            Malformed::Truncated => Stop::Short,
            Malformed::Number => Stop::Wrong("a number is too large"),
            Malformed::Huffman => Stop::Wrong("a string is not of the Huffman code"),
        }
    }
}

impl Stop {
    /// What it is where all has come.
    fn in_section(self) -> &'static str {
        match self {
            Stop::Short => "a field section ends within a field line",
            Stop::Wrong(what) => what,
        }
    }
}
