//! A set of task slots that any thread adds to and one shard empties. Its one idea: a bit per slot under two levels of
//! summary bits, written from below and read from above, so that a wake coalesces, cannot overflow, and taking all wakes
//! costs by what is set and not by how many tasks there could be.
//!
//! Every step on either side is a read-modify-write with acquire and release. Say a sender sets a bit below, then its
//! summary bit. If the reader clears the summary after that, it sees the bit below as well. If it cleared the summary
//! before, the sender finds the summary bit clear, sets it, and goes on to the level above. Either way the bit is found
//! now or has a summary set for the next look. A sender that finds its bit set already stops there: whoever set it is on
//! its way up, and the reader's clearing of that bit comes after both.

use std::sync::OnceLock;

use crate::atomics::{AtomicU64, Ordering};
use crate::limits::TASKS_MAX;

#[repr(align(64))]
pub(super) struct WakeSet {
    /// A bit for each segment that has a bit set.
    summary: [AtomicU64; SEGMENTS / 64],
    segments: Box<[OnceLock<Box<Segment>>]>,
}

/// The bits of 4096 slots; made at the first wake of one of them and kept for good.
struct Segment {
    /// A bit for each word that has a bit set.
    summary: AtomicU64,
    words: [AtomicU64; 64],
}

impl WakeSet {
    pub(super) fn new() -> Self {
        WakeSet {
            summary: std::array::from_fn(|_| AtomicU64::new(0)),
            segments: (0..SEGMENTS).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Adds a slot. True if the reader may not know yet that there is something, so that the caller must tell it.
    pub(super) fn insert(&self, slot: u32) -> bool {
        let (segment, word, bit) = (slot as usize / SEGMENT_SLOTS, slot as usize / 64 % 64, slot as usize % 64);
        let Some(entry) = self.segments.get(segment) else { return false };
        let entry = entry.get_or_init(Segment::new);
        newly_set(&entry.words[word], bit)
            && newly_set(&entry.summary, word)
            && newly_set(&self.summary[segment / 64], segment % 64)
    }

    /// Takes every slot out, in rising order.
    pub(super) fn take(&self, mut found: impl FnMut(u32)) {
        for (group, summary) in self.summary.iter().enumerate() {
            for segment in take_bits(summary) {
                let segment = group * 64 + segment;
                let Some(entry) = self.segments[segment].get() else { continue };
                for word in take_bits(&entry.summary) {
                    for bit in take_bits(&entry.words[word]) {
                        found((segment * SEGMENT_SLOTS + word * 64 + bit) as u32);
                    }
                }
            }
        }
    }

    pub(super) fn has_any(&self) -> bool {
        self.summary.iter().any(|summary| summary.load(Ordering::Relaxed) != 0)
    }
}

impl Segment {
    fn new() -> Box<Segment> {
        Box::new(Segment { summary: AtomicU64::new(0), words: std::array::from_fn(|_| AtomicU64::new(0)) })
    }
}

fn newly_set(word: &AtomicU64, bit: usize) -> bool {
    word.fetch_or(1 << bit, Ordering::AcqRel) & (1 << bit) == 0
}

/// Clears a word and walks through the bits it had. A plain look comes first: most words are empty most of the time, and
/// a read leaves the cache line shared.
fn take_bits(word: &AtomicU64) -> impl Iterator<Item = usize> + use<> {
    let mut bits = match word.load(Ordering::Relaxed) {
        0 => 0,
        _ => word.swap(0, Ordering::AcqRel),
    };
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(bit)
    })
}

const SEGMENT_SLOTS: usize = 64 * 64;
const SEGMENTS: usize = TASKS_MAX as usize / SEGMENT_SLOTS;
