//! Where the streams of a connection lie that has many, of HTTP/2 or HTTP/3: in slots that are used again, found by their numbers.
//!
//! The one idea: numbers come one after the other, so the low bits of what is left of them without the kind of stream are nearly a
//! place of their own, and a table of slots by these, at most half full, is searched in a step or two.

use std::ops::{Index, IndexMut};

/// What has a number of its own while it is open.
pub(crate) trait Numbered {
    /// As the version has it.
    type Number: Copy + Eq;

    /// None has this.
    const FREE: Self::Number;

    /// Its number; [`FREE`](Numbered::FREE) once it was [cleared](Numbered::clear).
    fn number(&self) -> Self::Number;

    /// How many of its kind were opened before it.
    fn order(number: Self::Number) -> usize;

    /// Forgets its number, and gives up what it holds.
    fn clear(&mut self);
}

#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<T>,
    free: Vec<u16>,
    /// Slots by number: open addressing.
    index: Vec<u16>,
    count: usize,
}

/// No slot.
pub(crate) const NONE: u16 = u16::MAX;

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new(), index: Vec::new(), count: 0 }
    }
}

impl<T: Numbered> Slots<T> {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    fn home(&self, number: T::Number) -> usize {
        T::order(number) & (self.index.len() - 1)
    }

    /// The slot of this number, if it has one.
    #[inline]
    pub(crate) fn find(&self, number: T::Number) -> Option<u16> {
        if self.index.is_empty() {
            return None;
        }
        let mut at = self.home(number);
        loop {
            match self.index[at] {
                NONE => return None,
                slot if self[slot].number() == number => return Some(slot),
                _ => at = (at + 1) & (self.index.len() - 1),
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: u16, number: T::Number) -> Option<&T> {
        self.slots.get(usize::from(slot)).filter(|stream| stream.number() == number)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u16, number: T::Number) -> Option<&mut T> {
        self.slots.get_mut(usize::from(slot)).filter(|stream| stream.number() == number)
    }

    /// All that are open, with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, stream)| stream.number() != T::FREE)
            .map(|(slot, stream)| (slot as u16, stream))
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter(|stream| stream.number() != T::FREE)
    }

    /// Adds what has a new number. It is made in its slot.
    #[inline(always)]
    pub(crate) fn open(&mut self, stream: T) -> u16 {
        if 2 * (self.count + 1) > self.index.len() {
            self.grow();
        }
        let number = stream.number();
        let slot = match self.free.pop() {
            Some(slot) => {
                self[slot] = stream;
                slot
            }
            None => {
                self.slots.push(stream);
                (self.slots.len() - 1) as u16
            }
        };
        self.place(slot, number);
        self.count += 1;
        slot
    }

    #[inline]
    fn place(&mut self, slot: u16, number: T::Number) {
        let mut at = self.home(number);
        while self.index[at] != NONE {
            at = (at + 1) & (self.index.len() - 1);
        }
        self.index[at] = slot;
    }

    /// As many as are open at once are few on most connections.
    #[cold]
    fn grow(&mut self) {
        self.index = vec![NONE; (4 * (self.count + 1)).next_power_of_two()];
        for slot in 0..self.slots.len() {
            let number = self.slots[slot].number();
            if number != T::FREE {
                self.place(slot as u16, number);
            }
        }
    }

    /// Forgets what is in a slot.
    pub(crate) fn close(&mut self, slot: u16) {
        let mask = self.index.len() - 1;
        let mut hole = self.home(self[slot].number());
        while self.index[hole] != slot {
            hole = (hole + 1) & mask;
        }
        // Whoever comes after and would rather stand here moves up.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let next = self.index[at];
            if next == NONE {
                break;
            }
            let home = self.home(self[next].number());
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.index[hole] = next;
                hole = at;
            }
        }
        self.index[hole] = NONE;
        self[slot].clear();
        self.free.push(slot);
        self.count -= 1;
    }
}

impl<T> Index<u16> for Slots<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: u16) -> &T {
        &self.slots[usize::from(slot)]
    }
}

impl<T> IndexMut<u16> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, slot: u16) -> &mut T {
        &mut self.slots[usize::from(slot)]
    }
}

#[cfg(test)]
mod tests;
