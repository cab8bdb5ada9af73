//! The way home for leases that have left their shard: a set of slots that any thread adds to and the owner empties.
//!
//! Its one idea: a bit for each slot under one word of summary bits, so that coming home is an atomic or, without a lock and
//! without memory, and the owner's look costs one load when nothing has come. It knows slots only; what they keep stands
//! in the pool's books.
//!
//! # Why nothing is lost
//!
//! Every step is a read-modify-write with acquire and release. A returner sets its bit, and then the word's bit in the
//! summary if the word was empty before. The owner clears the summary first and the words after. If it clears the word
//! after the returner has set its bit, it finds it. If it cleared the word before, the word was empty, so the returner goes
//! on to the summary, for the owner's next look. A word that is not empty is on its way to the summary, by whoever set its
//! first bit, or the owner has seen the summary and is about to clear the word.
//!
//! # Why a sleeping owner does not starve
//!
//! A returner pays for a wake-up only while a receive waits for a buffer, which the owner says by `is_awaited`. Each side
//! writes, then passes a sequentially consistent fence, then looks at what the other has written:
//!
//! ```text
//! owner                                        returner
//! O1  is_awaited := true                       R1  set the bits
//! O2  fence(SeqCst)                            R2  fence(SeqCst)
//! O3  any bits? then take them                 R3  is_awaited? then wake the owner
//! O4  otherwise sleep
//! ```
//!
//! The fences stand in one order. If O2 comes first, R3 sees `true`; if R2 comes first, O3 sees the bits. A wake-up must
//! stick if it comes before the sleep, as an [`Unparker`](crate::Unparker)'s does. A returner that stops early because its
//! word was not empty leaves R2 and R3 to the one that set the word's first bit.

use std::sync::OnceLock;

use crate::limits::SHARED_MAX;
use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};

const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = SHARED_MAX / WORD_BITS;
const _: () = assert!(SHARED_MAX.is_multiple_of(WORD_BITS) && WORDS <= WORD_BITS);

pub(super) struct Returns {
    /// A bit for each word that has a bit set.
    summary: AtomicU64,
    words: [AtomicU64; WORDS],
    /// A receive waits for a buffer, and what is out may be it.
    is_awaited: AtomicBool,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Returns {
    pub(super) fn new() -> Self {
        Returns {
            summary: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            is_awaited: AtomicBool::new(false),
            wake: OnceLock::new(),
        }
    }

    /// Says how the owner's sleep is ended. The first call counts.
    pub(super) fn wake_by(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // A second driver of one pool cannot be: the first one's way stays.
        let _ = self.wake.set(wake);
    }

    /// Any thread, at any time: the slot is the owner's again.
    pub(super) fn give_back(&self, slot: u16) {
        let (word, bit) = (usize::from(slot) / WORD_BITS, usize::from(slot) % WORD_BITS);
        if self.words[word].fetch_or(1 << bit, Ordering::AcqRel) != 0 {
            return;
        }
        self.summary.fetch_or(1 << word, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if self.is_awaited.load(Ordering::Relaxed)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// The owner takes all that has come home, each slot once.
    pub(super) fn take(&self, mut found: impl FnMut(u16)) {
        for word in take_bits(&self.summary) {
            for bit in take_bits(&self.words[word]) {
                found((word * WORD_BITS + bit) as u16);
            }
        }
    }

    /// The owner says whether a receive waits. It looks for what has come home afterwards, and sleeps only then.
    pub(super) fn set_awaited(&self, is_awaited: bool) {
        if self.is_awaited.load(Ordering::Relaxed) != is_awaited {
            self.is_awaited.store(is_awaited, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    /// Whether a receive waits and something has come home. One load while none waits.
    pub(super) fn has_news(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed) && self.summary.load(Ordering::Relaxed) != 0
    }
}

/// Clears a word and walks through the bits it had. A plain look comes first: it leaves the cache line where it is.
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

#[cfg(all(test, loom))]
mod loom;
