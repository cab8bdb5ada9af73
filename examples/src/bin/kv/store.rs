//! [`Store`]: the entries of one shard. Keys, values and the time come in as arguments; it knows nothing of HTTP or of other
//! shards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shardwise::Bytes;

use crate::limits::{ENTRY_OVERHEAD_BYTES, SWEEP_ENTRIES_MAX};
use crate::sieve::{Place, Sieve};

/// Entries by their keys, within a bound on memory.
#[derive(Debug)]
pub(crate) struct Store {
    entries: Sieve<Entry>,
    /// A map whose cost no choice of keys can raise, and which needs no secret for that.
    places: BTreeMap<Bytes, Place>,
    bytes_max: usize,
    /// Of the change made last.
    version: u64,
    /// Entries that do not live for ever.
    mortal: usize,
    /// Where the next sweep goes on.
    swept: usize,
    stats: Stats,
}

/// What has happened, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Stats {
    pub(crate) keys: usize,
    /// Memory of keys and values, and of what keeps them.
    pub(crate) bytes: usize,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Entries that had to go because there was no room.
    pub(crate) evictions: u64,
    /// Entries whose time was over.
    pub(crate) expiries: u64,
}

#[derive(Debug)]
struct Entry {
    key: Bytes,
    value: Bytes,
    version: u64,
    expires: Option<Instant>,
}

/// A value, shared with the store: whoever holds it keeps it alive, on whatever shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Bytes,
    pub(crate) version: u64,
}

/// What must be true of a key before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    Absent,
    Present,
    /// It has not changed since this version.
    Version(u64),
}

/// What became of a change; the numbers are versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Created(u64),
    Replaced(u64),
    /// The condition does not hold.
    Refused,
    /// It would not fit if it were alone.
    NoRoom,
}

impl Store {
    /// A store for so many bytes. Versions begin after `version`.
    pub(crate) fn new(bytes_max: usize, version: u64) -> Self {
        let (entries, places, stats) = (Sieve::new(), BTreeMap::new(), Stats::default());
        Store { entries, places, bytes_max, version, mortal: 0, swept: 0, stats }
    }

    /// The value of a key. Without a copy.
    pub(crate) fn get(&mut self, key: &[u8], now: Instant) -> Option<Found> {
        let place = self.find(key, now);
        let entry = place.and_then(|place| self.entries.use_at(place));
        let counter = if entry.is_some() { &mut self.stats.hits } else { &mut self.stats.misses };
        *counter += 1;
        entry.map(|entry| Found { value: entry.value.clone(), version: entry.version })
    }

    /// Sets the value of a key, for ever or for a time, and makes room for it.
    pub(crate) fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        condition: Condition,
        now: Instant,
    ) -> Changed {
        let before = self.find(key, now);
        let version = before.and_then(|place| self.entries.get(place)).map(|entry| entry.version);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => version.is_none(),
            Condition::Present => version.is_some(),
            Condition::Version(expected) => version == Some(expected),
        };
        if !holds {
            return Changed::Refused;
        }
        self.set(before, key, value, ttl.map(|ttl| now + ttl))
    }

    /// Adds to a value that is a decimal number, zero if there is none, and gives the sum. It lives as long as before.
    ///
    /// Errors: why that cannot be, in words.
    pub(crate) fn add(&mut self, key: &[u8], step: i64, now: Instant) -> Result<i64, &'static str> {
        let place = self.find(key, now);
        let (number, expires) = match place.and_then(|place| self.entries.get(place)) {
            None => (0, None),
            Some(entry) => {
                let text = std::str::from_utf8(&entry.value).ok();
                let number = text.and_then(|text| text.parse().ok()).ok_or("the value is not a number of 64 bits")?;
                (number, entry.expires)
            }
        };
        let sum = step.checked_add(number).ok_or("the sum does not fit into 64 bits")?;
        match self.set(place, key, sum.to_string().as_bytes(), expires) {
            Changed::NoRoom => Err("there is no room for a number"),
            _ => Ok(sum),
        }
    }

    /// Removes a key. True if it was there.
    pub(crate) fn delete(&mut self, key: &[u8], now: Instant) -> bool {
        let place = self.find(key, now);
        place.and_then(|place| self.take(place)).is_some()
    }

    /// Removes some of the entries whose time is over and that nobody asks for; the next call goes on from there.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.mortal == 0 {
            return;
        }
        for _ in 0..self.entries.places().min(SWEEP_ENTRIES_MAX) {
            if let Some(place) = self.entries.nth(self.swept) {
                self.expire(place, now);
            }
            self.swept = self.swept.wrapping_add(1);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { keys: self.entries.len(), ..self.stats }
    }

    /// Where a key stands, unless its time is over.
    fn find(&mut self, key: &[u8], now: Instant) -> Option<Place> {
        let place = *self.places.get(key)?;
        if self.expire(place, now) { None } else { Some(place) }
    }

    /// Removes an entry whose time is over, and says whether it was.
    fn expire(&mut self, place: Place, now: Instant) -> bool {
        let expires = self.entries.get(place).and_then(|entry| entry.expires);
        let is_over = expires.is_some_and(|expires| now >= expires);
        if is_over {
            self.take(place);
            self.stats.expiries += 1;
        }
        is_over
    }

    /// Puts an entry in the place of what was there before. Room is made first, so the bound holds at every moment.
    fn set(&mut self, before: Option<Place>, key: &[u8], value: &[u8], expires: Option<Instant>) -> Changed {
        let bytes = cost(key, value);
        if bytes > self.bytes_max {
            return Changed::NoRoom;
        }
        let is_new = before.and_then(|place| self.take(place)).is_none();
        while self.stats.bytes + bytes > self.bytes_max
            && let Some(evicted) = self.entries.evict()
        {
            self.forget(&evicted);
            self.stats.evictions += 1;
        }
        self.version += 1;
        // Copied into memory of their own size: what came in may be shared with the buffers that it was received in, and those
        // are wanted for what comes next (`Chunk::share`).
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        self.stats.bytes += bytes;
        self.mortal += usize::from(expires.is_some());
        let place = self.entries.insert(Entry { key: key.clone(), value, version: self.version, expires });
        self.places.insert(key, place);
        if is_new { Changed::Created(self.version) } else { Changed::Replaced(self.version) }
    }

    fn take(&mut self, place: Place) -> Option<Entry> {
        let entry = self.entries.remove(place)?;
        self.forget(&entry);
        Some(entry)
    }

    /// Takes an entry that is no longer in the queue off the books.
    fn forget(&mut self, entry: &Entry) {
        self.places.remove(&entry.key);
        self.mortal -= usize::from(entry.expires.is_some());
        self.stats.bytes -= cost(&entry.key, &entry.value);
    }
}

/// The memory that an entry takes.
fn cost(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

/// Twice an entry's place (a vector that has just grown stands half empty), its record in the map as often, and some sixty bytes
/// for each of two pieces of memory.
const _: () = assert!(ENTRY_OVERHEAD_BYTES >= 2 * Sieve::<Entry>::PLACE_BYTES + 2 * size_of::<(Bytes, Place)>() + 60);
