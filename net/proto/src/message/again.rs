//! Sections of requests that come again, and are not decoded and judged once more.
//!
//! The one idea: clients send the same fields with many of their requests, and comparing bytes costs a tenth of what is done with
//! them else. It is done where a section refers to no table, which is a connection's: then it means the same on all connections
//! of a shard.

use std::rc::Rc;

use super::Priority;
use super::head::{Bounds, Head};
use crate::head::{HeadTable, Known, KnownHead};

/// Sections of requests, and what they were decoded to.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// By [`place`]; none until one is remembered.
    slots: Vec<Request>,
}

/// What a section was decoded to, by which bounds.
#[derive(Debug, Default)]
pub(crate) struct Request {
    section: Vec<u8>,
    judged_by: Option<(Bounds, bool)>,
    pub(crate) head: Rc<KnownHead>,
    /// What it says of its answer's priority.
    pub(crate) priority: Option<Priority>,
}

impl Requests {
    /// What this section was decoded to, if it has come before.
    #[inline]
    pub(crate) fn recall(&self, section: &[u8], judged_by: (Bounds, bool)) -> Option<&Request> {
        let known = self.slots.get(place(section))?;
        (known.section == section && known.judged_by == Some(judged_by)).then_some(known)
    }

    /// A section without references was decoded to this. It is remembered if it says no more of its message than that it has
    /// this head, which is what most requests say.
    pub(crate) fn remember(
        &mut self,
        section: &[u8],
        judged_by: (Bounds, bool),
        said: Head,
        table: &HeadTable,
        block: &[u8],
    ) {
        let says_more = said != (Head { end: said.end, ..Head::default() }) || table.fields().contains(Known::Expect);
        if says_more || section.len().max(block.len()) > SECTION_BYTES_MAX {
            return;
        }
        self.slots.resize_with(SLOTS, Request::default);
        let slot = &mut self.slots[place(section)];
        slot.section.clear();
        slot.section.extend_from_slice(section);
        slot.judged_by = Some(judged_by);
        KnownHead::fill(&mut slot.head, block, table);
        slot.priority = table.get(block, Known::Priority).map(Priority::of);
    }
}

/// Where something is remembered. What has the same place takes it from the other, which costs time and nothing else: so it need
/// not be hard to find such.
#[inline]
fn place(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    let mix = |hash: u64, word: &[u8; 8]| hash.rotate_left(5) ^ u64::from_le_bytes(*word);
    let hash = words.iter().fold(bytes.len() as u64, mix);
    let hash = match bytes.last_chunk() {
        // Some of them once more, which is quicker than one by one.
        Some(last) => mix(hash, last),
        None => rest.iter().fold(hash, |hash, byte| hash.rotate_left(5) ^ u64::from(*byte)),
    };
    // All of the bytes have a part in the highest bits.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.ilog2())) as usize
}

/// How many sections are remembered: those of the requests that a shard is asked most.
const SLOTS: usize = 32;
const _: () = assert!(SLOTS.is_power_of_two());

/// Longer ones are not: hardly any come again.
const SECTION_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests;
