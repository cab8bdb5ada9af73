#![allow(unsafe_code)]
//! The way home under loom: every interleaving of an owner and of others who give back, and every value that the memory model
//! lets a load see.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p shardwise-platform --lib loom`

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc as Counted;

use super::super::memory::{Memory, Shared};
use super::{Returns, WORD_BITS};
use crate::sync::{Arc, UnsafeCell};

/// What the leases of these slots keep, so that loom sees who touches it.
struct Buffers {
    returns: Returns,
    bytes: Vec<UnsafeCell<u8>>,
}

impl Buffers {
    fn new(slots: usize) -> Arc<Self> {
        let bytes = (0..slots).map(|_| UnsafeCell::new(0)).collect();
        Arc::new(Buffers { returns: Returns::new(), bytes })
    }

    /// Another thread reads through its lease and drops it.
    fn read_and_give_back(&self, slot: u16) {
        // SAFETY: loom looks whether anybody writes meanwhile; this is what it is asked.
        self.bytes[usize::from(slot)].with(|byte| unsafe { std::ptr::read(byte) });
        self.returns.give_back(slot);
    }

    /// The owner takes what is home, and writes to it as the kernel would.
    fn take(&self, taken: &mut Vec<u16>) {
        self.returns.take(|slot| {
            // SAFETY: as above.
            self.bytes[usize::from(slot)].with_mut(|byte| unsafe { std::ptr::write(byte, 1) });
            taken.push(slot);
        });
    }
}

/// Each of `threads` gives its slots back, in order, while the owner looks a few times: each slot comes home once, and
/// nobody reads any more what the owner writes.
fn check(threads: &'static [&'static [u16]]) {
    loom::model(move || {
        let buffers = Buffers::new(WORD_BITS + 1);
        let others: Vec<_> = threads
            .iter()
            .map(|slots| {
                let buffers = buffers.clone();
                thread::spawn(move || slots.iter().for_each(|&slot| buffers.read_and_give_back(slot)))
            })
            .collect();
        let mut taken = Vec::new();
        buffers.take(&mut taken);
        buffers.take(&mut taken);
        others.into_iter().for_each(|other| other.join().unwrap());
        buffers.take(&mut taken);
        taken.sort_unstable();
        let mut expect = threads.concat();
        expect.sort_unstable();
        assert_eq!(taken, expect);
    });
}

#[test]
fn slots_of_one_word_come_home_once() {
    check(&[&[0, 1], &[2]]);
}

#[test]
fn slots_of_two_words_come_home_once() {
    check(&[&[0, WORD_BITS as u16], &[1]]);
}

/// An owner for whom a receive waits looks, and sleeps if nothing has come. Whatever the interleaving, it is woken then.
#[test]
fn a_sleeping_owner_is_woken() {
    loom::model(|| {
        let (returns, wakes) = (Arc::new(Returns::new()), Arc::new(AtomicUsize::new(0)));
        returns.wake_by({
            let wakes = wakes.clone();
            Box::new(move || _ = wakes.fetch_add(1, Ordering::Relaxed))
        });
        let others = [0, 1].map(|slot| {
            let returns = returns.clone();
            thread::spawn(move || returns.give_back(slot))
        });
        // What has come home before is taken, and was not enough.
        let mut taken = 0;
        returns.take(|_| taken += 1);
        returns.set_awaited(true);
        let sleeps = !returns.has_news();
        others.into_iter().for_each(|other| other.join().unwrap());
        let left = {
            let mut left = 0;
            returns.take(|_| left += 1);
            left
        };
        assert_eq!(taken + left, 2);
        if sleeps && left > 0 {
            assert!(wakes.load(Ordering::Relaxed) > 0, "the owner sleeps, and nobody wakes it");
        }
    });
}

/// The pool's end races those of two shared leases: the memory is freed once, by whoever goes last.
#[test]
fn the_last_reference_frees_the_memory() {
    loom::model(|| {
        let counted = Counted::new(());
        let memory = Memory::new([64].into_iter());
        memory.returns.wake_by({
            let counted = counted.clone();
            Box::new(move || _ = &counted)
        });
        let others = [0, 1].map(|slot| {
            // SAFETY: the region is initialised and nobody writes to it; each slot is used once.
            let shared = unsafe { Shared::new(memory.clone(), memory.at(0, 0), 64, slot) };
            thread::spawn(move || assert_eq!(shared.as_ref(), [0; 64]))
        });
        memory.returns.take(|_| {});
        drop(memory);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(Counted::strong_count(&counted), 1, "what the memory owned is dropped once");
    });
}
