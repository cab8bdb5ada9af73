use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use super::wakes::WakeSet;
use super::*;
use crate::atomics::model::{self, explore, spawn};
use crate::limits::TASKS_MAX;

/// Senders add slots while the reader takes once and then wants to sleep. Whatever the interleaving: no slot is lost
/// or found more often than it was added, and a reader that sleeps while slots are there is woken.
fn check(senders: &'static [&'static [u32]]) {
    explore(move || {
        let shared = model::Arc::new((WakeSet::new(), Sleep::new()));
        for slot in senders.iter().copied().flatten() {
            // Makes the segments, which is not what is tested here.
            shared.0.insert(*slot);
        }
        shared.0.take(|_| {});

        let threads: Vec<_> = senders
            .iter()
            .map(|slots| {
                let shared = shared.clone();
                spawn(move || slots.iter().filter(|&&slot| shared.0.insert(slot) && shared.1.wake()).count())
            })
            .collect();
        let (wakes, sleep) = &*shared;
        let mut found = Vec::new();
        wakes.take(|slot| found.push(slot));
        let sleeps = sleep.prepare(|| !wakes.has_any());
        let woken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(!sleeps || !wakes.has_any() || woken == 1, "asleep with wakes pending, {woken} unparks");
        wakes.take(|slot| found.push(slot));
        let added = || senders.iter().copied().flatten().copied();
        assert!(found.len() <= added().count());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), added().collect());
    });
}

#[test]
fn loom_one_sender() {
    check(&[&[7]]);
}

#[test]
fn loom_two_senders_of_one_slot() {
    check(&[&[7], &[7]]);
}

#[test]
fn loom_two_senders_in_one_word() {
    check(&[&[7], &[8]]);
}

#[test]
fn loom_two_senders_in_one_segment() {
    check(&[&[7], &[70]]);
}

#[test]
fn loom_two_senders_in_two_segments() {
    check(&[&[7], &[5000]]);
}

#[test]
fn loom_one_sender_of_two_slots() {
    check(&[&[7, 8]]);
}

#[test]
fn takes_each_slot_once_in_rising_order() {
    for seed in 1..200u64 {
        let mut random = crate::tests::Random::new(seed);
        let wakes = WakeSet::new();
        let mut expect = BTreeSet::new();
        for _ in 0..random.below(300) {
            let bits = 1 + random.below(20);
            let slot = random.below(1 << bits) as u32;
            let first_ever = expect.is_empty();
            expect.insert(slot);
            let told = wakes.insert(slot);
            assert!(told || !first_ever, "the first wake must be told, seed {seed}");
        }
        assert_eq!(wakes.has_any(), !expect.is_empty(), "seed {seed}");
        let mut found = Vec::new();
        wakes.take(|slot| found.push(slot));
        assert_eq!(found, expect.into_iter().collect::<Vec<_>>(), "seed {seed}");
        assert!(!wakes.has_any(), "seed {seed}");
    }
}

#[test]
fn a_slot_beyond_all_tasks_is_ignored() {
    let wakes = WakeSet::new();
    assert!(wakes.insert(TASKS_MAX - 1));
    assert!(!wakes.insert(TASKS_MAX));
    assert!(!wakes.insert(u32::MAX));
}

#[test]
fn unparks_a_sleeper_only_and_once() {
    let unparks = Arc::new(AtomicUsize::new(0));
    let claim = claim(&unparks);
    let count = || unparks.load(Ordering::Relaxed);
    claim.wake(1);
    claim.notify();
    assert_eq!(count(), 0, "the shard is awake");
    assert!(!claim.sleep().prepare(|| !claim.has_wakes()), "a wake is pending");
    claim.take_wakes(|slot| assert_eq!(slot, 1));
    assert!(claim.sleep().prepare(|| !claim.has_wakes()));
    claim.wake(2);
    claim.wake(3);
    claim.notify();
    assert_eq!(count(), 1);
}

#[test]
fn a_world_is_claimed_again_without_the_wakes_of_its_past() {
    // Other tests claim worlds at the same time, so it may take a few turns until one comes back.
    for _ in 0..10_000 {
        let unparks = Arc::new(AtomicUsize::new(0));
        let past = claim(&unparks);
        let world = past.world();
        drop(past);
        world.wake(9);
        let next = claim(&unparks);
        if std::ptr::eq(next.world(), world) {
            assert!(!next.has_wakes());
            return;
        }
    }
    panic!("no world was ever claimed again");
}

#[test]
fn nothing_happens_to_a_world_that_nobody_holds() {
    let unparks = Arc::new(AtomicUsize::new(0));
    let claim = claim(&unparks);
    let world = claim.world();
    assert!(claim.sleep().prepare(|| true));
    drop(claim);
    world.wake(1);
    world.notify();
    assert_eq!(unparks.load(Ordering::Relaxed), 0);
    assert_eq!(Arc::strong_count(&unparks), 1, "the unparker is gone");
}

fn claim(unparks: &Arc<AtomicUsize>) -> Claim {
    let unparks = unparks.clone();
    World::claim(move || _ = unparks.fetch_add(1, Ordering::Relaxed)).expect("a world is free")
}
