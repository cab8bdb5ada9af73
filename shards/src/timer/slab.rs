//! Timers by number. Its one idea: a place is used again, with a higher generation, so a key of an earlier timer finds
//! nothing there.

use super::Id;
use crate::limits::TIMERS_MAX;

#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// The first free entry; each names the next.
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Used(T),
    Free { next: u32 },
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { entries: Vec::new(), free: NONE, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// None if there are [`TIMERS_MAX`] already.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> Option<Id> {
        let index = self.free;
        if let Some(entry) = self.entries.get_mut(index as usize) {
            if let Content::Free { next } = std::mem::replace(&mut entry.content, Content::Used(value)) {
                self.free = next;
            }
            self.len += 1;
            return Some(Id { index, generation: entry.generation });
        }
        let index = self.entries.len() as u32;
        if index == TIMERS_MAX {
            return None;
        }
        self.entries.push(Entry { generation: 0, content: Content::Used(value) });
        self.len += 1;
        Some(Id { index, generation: 0 })
    }

    /// The value, if it is still the one that `id` was given for.
    #[inline]
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.entries.get_mut(id.index as usize)? {
            Entry { generation, content: Content::Used(value) } if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The value in a place that is known to be in use.
    #[inline]
    pub(super) fn at(&mut self, index: u32) -> &mut T {
        match &mut self.entries[index as usize].content {
            Content::Used(value) => value,
            Content::Free { .. } => unreachable!("lists and heaps name only timers that are armed"),
        }
    }

    /// Takes the value out of a place that is known to be in use.
    #[inline]
    pub(super) fn take(&mut self, index: u32) -> T {
        let entry = &mut self.entries[index as usize];
        match std::mem::replace(&mut entry.content, Content::Free { next: self.free }) {
            Content::Used(value) => {
                entry.generation = entry.generation.wrapping_add(1);
                self.free = index;
                self.len -= 1;
                value
            }
            Content::Free { .. } => unreachable!("lists and heaps name only timers that are armed"),
        }
    }
}

const NONE: u32 = u32::MAX;
