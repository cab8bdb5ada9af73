//! The arena against a model, and the promises that a model cannot show: addresses, bounds, drops.

use super::{Arena, CHUNK_SLOT_COUNT, Key};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Random inserts, removals and look-ups, compared step by step with a map of what must be there.
#[track_caller]
fn check(seed: u64, max: u32) {
    let mut random = seed;
    let mut arena = Arena::new(max);
    let mut model: BTreeMap<Key, u64> = BTreeMap::new();
    let mut dead: Vec<Key> = Vec::new();
    let mut address: BTreeMap<Key, usize> = BTreeMap::new();

    for step in 0..2_000 {
        let context = format!("seed {seed}, max {max}, step {step}");
        let value = next(&mut random);
        // Phases of growing and of shrinking, so that the bound and the empty arena are both reached.
        let grow = (step / 250) % 2 == 0;
        if next(&mut random) % 4 < if grow { 3 } else { 1 } {
            match arena.insert(value) {
                Ok(key) => {
                    assert!(key.index < max, "{context}");
                    assert_eq!(model.insert(key, value), None, "{context}: a key was given out twice");
                    address.insert(key, std::ptr::from_ref(arena.get(key).unwrap()).addr());
                }
                Err(back) => {
                    assert_eq!(back, value, "{context}");
                    assert_eq!(model.len(), max as usize, "{context}: refused although not full");
                }
            }
        } else if let Some((&key, _)) = model.iter().nth(value as usize % model.len().max(1)) {
            assert_eq!(arena.remove(key), model.remove(&key), "{context}");
            address.remove(&key);
            dead.push(key);
        }
        for key in dead.iter().rev().take(8) {
            assert!(!arena.contains(*key), "{context}: {key:?} is stale");
            assert_eq!(arena.get_mut(*key), None, "{context}: {key:?} is stale");
            assert_eq!(arena.remove(*key), None, "{context}: {key:?} is stale");
        }
        assert_eq!((arena.len(), arena.is_empty()), (model.len(), model.is_empty()), "{context}");
    }

    for (key, value) in &model {
        assert_eq!(arena.get(*key), Some(value), "seed {seed}");
        assert_eq!(std::ptr::from_ref(arena.get(*key).unwrap()).addr(), address[key], "seed {seed}: {key:?} has moved");
    }
    assert_eq!(arena.keys().collect::<BTreeSet<_>>(), model.keys().copied().collect(), "seed {seed}");
    assert_eq!(arena.iter_mut().map(|(key, value)| (key, *value)).collect::<BTreeMap<_, _>>(), model, "seed {seed}");
}

/// One step of splitmix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn behaves_like_a_map_that_never_reuses_a_key() {
    let chunk = CHUNK_SLOT_COUNT as u32;
    for seed in 0..8 {
        for max in [1, 2, chunk - 1, chunk, chunk + 1, 5 * chunk] {
            check(seed, max);
        }
    }
}

#[test]
fn an_arena_for_nothing_holds_nothing() {
    let mut arena = Arena::new(0);
    assert_eq!(arena.insert(1), Err(1));
    assert_eq!(arena.keys().count(), 0);
}

#[test]
fn chunks_come_when_needed_and_stay() {
    let mut arena = Arena::new(u32::MAX);
    assert_eq!(arena.chunks.len(), 0);
    let keys: Vec<_> = (0..=CHUNK_SLOT_COUNT).map(|value| arena.insert(value).unwrap()).collect();
    assert_eq!(arena.chunks.len(), 2);
    for key in keys {
        arena.remove(key);
    }
    assert_eq!(arena.chunks.len(), 2);
}

#[test]
fn the_slot_freed_last_is_used_first() {
    let mut arena = Arena::new(8);
    let keys: Vec<_> = (0..4).map(|value| arena.insert(value).unwrap()).collect();
    assert_eq!(keys.iter().map(|key| key.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    arena.remove(keys[1]);
    arena.remove(keys[2]);
    assert_eq!(arena.insert(9).unwrap(), Key { index: 2, generation: 1 });
    assert_eq!(arena.insert(9).unwrap(), Key { index: 1, generation: 1 });
    assert_eq!(arena.insert(9).unwrap(), Key { index: 4, generation: 0 });
}

#[test]
fn generations_wrap() {
    let mut arena = Arena::new(1);
    let key = arena.insert(1).unwrap();
    arena.remove(key);
    arena.chunks[0][0].generation = u32::MAX;
    let last = arena.insert(2).unwrap();
    assert_eq!(last.generation, u32::MAX);
    assert_eq!(arena.remove(last), Some(2));
    assert_eq!(arena.insert(3).unwrap().generation, 0);
    assert!(!arena.contains(last));
}

#[test]
fn keys_of_slots_that_never_were_find_nothing() {
    let mut arena = Arena::new(8);
    arena.insert(1).unwrap();
    for index in [1, 7, 8, 1_000, u32::MAX] {
        let key = Key { index, generation: 0 };
        assert_eq!((arena.get(key), arena.contains(key)), (None, false), "{index}");
        assert_eq!(arena.remove(key), None, "{index}");
    }
    assert_eq!(arena.len(), 1);
}

#[test]
fn keys_survive_packing() {
    for (index, generation) in [(0, 0), (1, 0), (0, 1), (0xdead_beef, 0x0123_4567), (u32::MAX, u32::MAX)] {
        let key = Key { index, generation };
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }
}

#[test]
fn dropping_the_arena_drops_what_it_holds() {
    let value = Rc::new(());
    let mut arena = Arena::new(200);
    let keys: Vec<_> = (0..100).map(|_| arena.insert(value.clone()).unwrap()).collect();
    arena.remove(keys[50]);
    assert_eq!(Rc::strong_count(&value), 100);
    drop(arena);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_slot_costs_eight_bytes_when_the_value_has_a_niche() {
    assert_eq!(size_of::<super::Slot<Box<u64>>>(), size_of::<Box<u64>>() + 8);
}

#[test]
fn a_value_is_not_made_without_room_for_it() {
    let mut arena = Arena::new(1);
    let ada = arena.insert_with(|| "ada").expect("there is room");
    assert!(!arena.has_room());
    assert_eq!(arena.insert_with(|| unreachable!("the arena is full")), None);
    assert_eq!((arena.get(ada), arena.len()), (Some(&"ada"), 1));
    assert_eq!(arena.remove(ada), Some("ada"));
    assert!(arena.has_room());
    let eve = arena.insert_with(|| "eve").expect("there is room again");
    assert_eq!((arena.get(ada), arena.get(eve)), (None, Some(&"eve")));
}
