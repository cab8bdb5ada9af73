//! Streams that come and go at random, beside a map that cannot be wrong.

use std::collections::BTreeMap;

use super::*;

#[derive(Debug, PartialEq, Eq)]
struct Stream(u64);

impl Numbered for Stream {
    type Number = u64;

    const FREE: u64 = u64::MAX;

    fn number(&self) -> u64 {
        self.0
    }

    fn order(number: u64) -> usize {
        (number >> 2) as usize
    }

    fn clear(&mut self) {
        self.0 = Stream::FREE;
    }
}

#[test]
fn whoever_is_open_is_found_and_nobody_else() {
    for seed in 1..=50 {
        let mut chance: u64 = seed;
        let mut pick = |count: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % count
        };
        let (mut slots, mut known, mut next) = (Slots::default(), BTreeMap::new(), 0);
        for _ in 0..2000 {
            // Up to some number at a time, which differs, and now and then few.
            if pick(1 + seed) as usize >= known.len() {
                // Some numbers are left out.
                next += 4 * (1 + pick(3));
                assert_eq!(slots.find(next), None, "seed {seed}");
                known.insert(next, slots.open(Stream(next)));
            } else {
                let number = *known.keys().nth(pick(known.len() as u64) as usize).expect("there is one");
                slots.close(known.remove(&number).expect("it is open"));
                assert_eq!(slots.find(number), None, "seed {seed}");
            }
            assert_eq!(slots.len(), known.len());
            for (number, slot) in &known {
                assert_eq!(slots.find(*number), Some(*slot), "seed {seed}");
                assert_eq!(slots.get(*slot, *number), Some(&Stream(*number)));
                assert_eq!(slots.get(*slot, number + 1), None, "a stale name");
            }
        }
        assert!(slots.slots.len() <= 2 + seed as usize, "slots are used again");
        assert_eq!(slots.iter().count(), known.len());
    }
}
