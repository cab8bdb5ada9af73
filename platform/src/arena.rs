//! The slot arena: a bounded table whose values stay where they are until they are removed.
//!
//! Its one idea: slots live in chunks that are allocated when first needed and then neither moved nor freed while the
//! arena lives. So the address of a value holds from `insert` to `remove`, which is what a kernel that was given a
//! pointer needs. A [`Key`] names a slot and its generation; every removal starts a new generation, so a key that
//! outlives its value finds nothing.
//!
//! Insert and remove are O(1) through a free list that hands out the slot freed last, the one still in the cache.
//!
//! It leaves to others what a value is, who may point into it, and what to do with an arena whose values the kernel
//! still uses (leak it whole: dropping it drops every value).

/// Slots per chunk. Large enough that growing is rare, small enough that a quiet shard holds little memory: with slots
/// of 128 bytes a chunk is two pages.
const CHUNK_SLOT_COUNT: usize = 64;

/// The end of the free list. No slot has this index, since an arena holds at most `u32::MAX` slots.
const NO_SLOT: u32 = u32::MAX;

/// A bounded table of values with stable addresses.
///
/// ```
/// use shardwise_platform::arena::Arena;
///
/// let mut arena = Arena::new(2);
/// let ada = arena.insert("ada").unwrap();
/// let bob = arena.insert("bob").unwrap();
/// assert_eq!(arena.insert("eve"), Err("eve"), "full: the value comes back");
///
/// assert_eq!(arena.remove(ada), Some("ada"));
/// assert_eq!(arena.get(ada), None, "the key is stale");
/// assert_eq!(arena.get(bob), Some(&"bob"));
/// ```
#[derive(Debug)]
pub struct Arena<T> {
    chunks: Vec<Box<[Slot<T>; CHUNK_SLOT_COUNT]>>,
    /// Head of the free list through [`Slot::next_free`].
    free: u32,
    len: u32,
    max: u32,
}

/// Names a value in an [`Arena`]: its slot, and which of the slot's successive values is meant.
///
/// Any key is safe to look up; one that names nothing, or no longer anything, finds nothing. Generations wrap after
/// 2³² values in the same slot, so a stale key can be mistaken only if it is kept for exactly a multiple of that many.
/// Retiring slots instead would use up a busy arena within weeks, because the free list prefers the slot freed last.
/// So whoever keeps keys of dead values for hours must tolerate a false match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The slot; less than the arena's maximum, and so never `u32::MAX`. Low indices are used first.
    pub index: u32,
    /// How many values the slot has held before, modulo 2³².
    pub generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// The next slot in the free list; says something only while `value` is `None`.
    next_free: u32,
    value: Option<T>,
}

impl Key {
    /// Packs the key into one number: the generation above, the index below.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key that [`to_bits`](Self::to_bits) packed.
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl<T> Arena<T> {
    /// An empty arena for at most `max` values. Allocates nothing yet.
    pub const fn new(max: u32) -> Self {
        Self { chunks: Vec::new(), free: NO_SLOT, len: 0, max }
    }

    /// Stores a value and names it, or gives it back if the arena is full.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if !self.has_room() {
            return Err(value);
        }
        Ok(self.insert_with(|| value).expect("there is room"))
    }

    /// Stores the value that `make` gives, which is made where it is to stay: in line, since a large one that is handed on is one for
    /// which the processor waits, as its own stores. `None` without a call if the arena is full.
    #[inline(always)]
    pub fn insert_with(&mut self, make: impl FnOnce() -> T) -> Option<Key> {
        if !self.has_room() {
            return None;
        }
        let index = self.free;
        let (chunk, offset) = place(index);
        let slot = &mut self.chunks[chunk][offset];
        // What was there is nothing, which need not be looked at to be dropped.
        std::mem::forget(slot.value.replace(make()));
        self.free = slot.next_free;
        self.len += 1;
        Some(Key { index, generation: slot.generation })
    }

    /// Whether one more can be stored.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.free != NO_SLOT || self.grow()
    }

    /// Takes the value out, and makes every key to it stale.
    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(key)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    /// The value that `key` names, if it is still there.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        let (chunk, offset) = place(key.index);
        let slot = &self.chunks.get(chunk)?[offset];
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The value that `key` names, to change it in place.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key)?.value.as_mut()
    }

    /// The value in a slot, whichever of its successive values that is.
    #[inline]
    pub fn at(&self, index: u32) -> Option<&T> {
        let (chunk, offset) = place(index);
        self.chunks.get(chunk)?[offset].value.as_ref()
    }

    /// Whether `key` names a value that is still there.
    #[inline]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// How many values are stored.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no value is stored.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many values can be stored at once.
    #[inline]
    pub fn max(&self) -> usize {
        self.max as usize
    }

    /// The keys of all values, by index.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let slots = self.chunks.iter().flat_map(|chunk| &**chunk).zip(0u32..);
        slots.filter(|(slot, _)| slot.value.is_some()).map(|(slot, index)| slot.key(index))
    }

    /// All values with their keys, by index.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> + '_ {
        let slots = self.chunks.iter_mut().flat_map(|chunk| &mut **chunk).zip(0u32..);
        slots.filter_map(|(slot, index)| Some((slot.key(index), slot.value.as_mut()?)))
    }

    #[inline]
    fn slot_mut(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let (chunk, offset) = place(key.index);
        let slot = &mut self.chunks.get_mut(chunk)?[offset];
        (slot.generation == key.generation).then_some(slot)
    }

    /// Adds a chunk and puts its slots on the empty free list, lowest first. False if the arena has its maximum.
    #[cold]
    fn grow(&mut self) -> bool {
        debug_assert_eq!(self.free, NO_SLOT);
        let start = self.chunks.len() * CHUNK_SLOT_COUNT;
        let end = self.max().min(start + CHUNK_SLOT_COUNT);
        if start >= end {
            return false;
        }
        // Both fit, as `end` is at most `max`, a `u32`.
        let (start, end) = (start as u32, end as u32);
        let next_free = |index| if index + 1 < end { index + 1 } else { NO_SLOT };
        // The last chunk is whole too, so that an offset need not be looked at; slots beyond the maximum are never free.
        let slots = (start..).take(CHUNK_SLOT_COUNT);
        let slots = slots.map(|index| Slot { generation: 0, next_free: next_free(index), value: None });
        let chunk = slots.collect::<Box<[_]>>().try_into();
        self.chunks.push(chunk.unwrap_or_else(|_| unreachable!("as many as were taken")));
        self.free = start;
        true
    }
}

impl<T> Slot<T> {
    fn key(&self, index: u32) -> Key {
        Key { index, generation: self.generation }
    }
}

/// The chunk and the offset in it of a slot.
#[inline]
const fn place(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / CHUNK_SLOT_COUNT, index % CHUNK_SLOT_COUNT)
}

#[cfg(test)]
mod tests;
