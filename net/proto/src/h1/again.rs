//! Heads of responses that come again: copied, and not written anew.
//!
//! The one idea: the head of an ordinary answer follows from its status, its fields, its line made beforehand and its length,
//! for as long as the server's name and date stand. A server says the same few of them over and over. Its fields are the first
//! of its lines, so they are compared where they were written.

use std::cell::{Cell, Ref, RefCell};

use http::StatusCode;

use crate::message::Field;

/// Heads as they were last written. Whoever renews the standing lines [`clear`](Self::clear)s them. One for all connections of
/// a shard; some 4 KiB.
#[derive(Debug, Default)]
pub struct Again(RefCell<Heads>);

/// The heads that are kept at this moment.
#[derive(Debug, Default)]
pub struct Heads([Kept; PLACES]);

/// What an ordinary head follows from, besides what stands.
#[derive(Clone)]
pub(super) struct Key<I> {
    pub(super) status: StatusCode,
    pub(super) fields: I,
    pub(super) other: &'static [u8],
    pub(super) length: u64,
}

#[derive(Debug, Default)]
struct Kept {
    status: StatusCode,
    other: &'static [u8],
    length: u64,
    /// Where the fields begin, and where they end.
    fields: [usize; 2],
    /// Empty if there is none.
    head: Vec<u8>,
    /// Others that have come since it was last asked for.
    misses: Cell<u8>,
}

impl Again {
    /// Forgets all, and keeps their memory.
    pub fn clear(&self) {
        self.0.borrow_mut().0.iter_mut().for_each(Kept::clear);
    }

    /// Those that there are. Nothing is to be written meanwhile.
    #[inline(always)]
    pub fn heads(&self) -> Ref<'_, Heads> {
        self.0.borrow()
    }

    /// Remembers a head, in the place of another.
    pub(super) fn keep<F: Field>(&self, key: Key<impl Iterator<Item = F> + Clone>, head: &[u8]) {
        self.0.borrow_mut().0[key.place()].keep(key, head);
    }
}

impl Heads {
    /// Such a head, if it is known.
    #[inline(always)]
    pub(super) fn find<F: Field>(&self, key: Key<impl Iterator<Item = F> + Clone>) -> Option<&[u8]> {
        self.0[key.place()].head(key)
    }
}

impl<F: Field, I: Iterator<Item = F> + Clone> Key<I> {
    /// Where such a head is looked for.
    #[inline(always)]
    fn place(&self) -> usize {
        let place = (self.other.as_ptr().addr() / align_of::<usize>()).wrapping_add(self.length as usize);
        self.fields.clone().fold(place, |place, field| place.wrapping_add(field.value().len())) % PLACES
    }
}

impl Kept {
    fn clear(&mut self) {
        self.head.clear();
        self.misses.set(0);
    }

    /// The head, if it is that of such an answer.
    #[inline(always)]
    fn head<F: Field>(&self, key: Key<impl Iterator<Item = F>>) -> Option<&[u8]> {
        let is_same = self.length == key.length && std::ptr::eq(self.other, key.other) && self.status == key.status;
        let [from, to] = self.fields;
        if !is_same || self.head.is_empty() || end_of_fields(&self.head, from, key.fields) != Some(to) {
            return None;
        }
        self.misses.set(0);
        Some(&self.head)
    }

    /// Takes a head that was written with all of its fields. What comes with others each time is not kept each time.
    fn keep<F: Field>(&mut self, key: Key<impl Iterator<Item = F>>, head: &[u8]) {
        if self.misses.get() == MISSES_MAX || head.len() > HEAD_BYTES_MAX {
            return;
        }
        let from = head.iter().position(|&byte| byte == b'\n').map_or(head.len(), |at| at + 1);
        let Some(to) = end_of_fields(head, from, key.fields) else { return };
        self.misses.set(self.misses.get() + 1);
        (self.status, self.other, self.length, self.fields) = (key.status, key.other, key.length, [from, to]);
        self.head.clear();
        self.head.extend_from_slice(head);
    }
}

/// Where the lines of these fields end in a head, if they stand there from `from` on. As no name holds a colon and no value the end of a
/// line, no other fields make the same lines.
#[inline(always)]
fn end_of_fields<F: Field>(head: &[u8], from: usize, fields: impl Iterator<Item = F>) -> Option<usize> {
    let mut rest = &head[from..];
    for field in fields {
        if !F::IS_CHECKED {
            return None;
        }
        rest = rest.strip_prefix(field.name())?.strip_prefix(b": ")?.strip_prefix(field.value())?;
        rest = rest.strip_prefix(b"\r\n")?;
    }
    Some(head.len() - rest.len())
}

/// So many heads are kept at a time.
const PLACES: usize = 8;

/// Longer heads are not kept.
const HEAD_BYTES_MAX: usize = 512;

/// A place whose head was not asked for while so many others came keeps it until all are cleared: to copy each would cost more than
/// it saves.
const MISSES_MAX: u8 = 8;
