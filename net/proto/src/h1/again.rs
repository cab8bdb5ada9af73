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
        match self.0.borrow()[place(other, length)].head(status, other, length) {
            Some(head) => writer.put(head).map(|()| true),
            None => Ok(false),
        }
    }

    /// Writes such a head and the body behind it, if it is known and there is room for both, and says how many bytes they are.
    #[inline(always)]
    pub(super) fn write_whole(
        &self,
        status: StatusCode,
        other: &'static [u8],
        body: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let all = self.0.borrow();
        let length = body.len() as u64;
        let head = all[place(other, length)].head(status, other, length)?;
        let count = head.len() + body.len();
        let (front, rest) = out.get_mut(..count)?.split_at_mut(head.len());
        front.copy_from_slice(head);
        rest.copy_from_slice(body);
        Some(count)
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

impl Kept {
    /// The head, if it is that of such an answer.
    #[inline(always)]
    fn head(&self, status: StatusCode, other: &'static [u8], length: u64) -> Option<&[u8]> {
        let is_same = self.length == length && std::ptr::eq(self.other, other) && self.status == status;
        (is_same && !self.head.is_empty()).then_some(&self.head)
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
