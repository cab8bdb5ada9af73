//! Heads of responses that come again: copied, and not written anew.
//!
//! The one idea: the head of an ordinary answer follows from its status, its line made beforehand and its length, for as long
//! as the server's name and date stand. A server says the same few of them over and over.

use std::cell::RefCell;

use http::StatusCode;

use super::encode::Writer;
use crate::message::WriteError;

/// Heads as they were last written. Whoever renews the standing lines [`clear`](Self::clear)s them. One for all connections of
/// a shard; some 2 KiB.
#[derive(Debug, Default)]
pub struct Again(RefCell<[Kept; PLACES]>);

#[derive(Debug, Default)]
struct Kept {
    status: StatusCode,
    other: &'static [u8],
    length: u64,
    /// Empty if there is none.
    head: Vec<u8>,
}

impl Again {
    /// Forgets all, and keeps their memory.
    pub fn clear(&self) {
        self.0.borrow_mut().iter_mut().for_each(|kept| kept.head.clear());
    }

    /// Writes such a head, if it is known.
    #[inline(always)]
    pub(super) fn write(
        &self,
        status: StatusCode,
        other: &'static [u8],
        length: u64,
        writer: &mut Writer<'_>,
    ) -> Result<bool, WriteError> {
        let all = self.0.borrow();
        let kept = &all[place(other, length)];
        let is_same = kept.length == length && std::ptr::eq(kept.other, other) && kept.status == status;
        if !is_same || kept.head.is_empty() {
            return Ok(false);
        }
        writer.put(&kept.head)?;
        Ok(true)
    }

    /// Remembers a head, in the place of another.
    pub(super) fn keep(&self, status: StatusCode, other: &'static [u8], length: u64, head: &[u8]) {
        let kept = &mut self.0.borrow_mut()[place(other, length)];
        (kept.status, kept.other, kept.length) = (status, other, length);
        kept.head.clear();
        if head.len() <= HEAD_BYTES_MAX {
            kept.head.extend_from_slice(head);
        }
    }
}

/// Where such a head is looked for.
#[inline(always)]
fn place(other: &'static [u8], length: u64) -> usize {
    (other.as_ptr().addr() / align_of::<usize>()).wrapping_add(length as usize) % PLACES
}

/// So many heads are kept at a time.
const PLACES: usize = 8;

/// Longer heads are not kept: names of servers and types of content are short.
const HEAD_BYTES_MAX: usize = 256;
