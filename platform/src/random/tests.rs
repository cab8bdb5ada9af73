use std::collections::BTreeSet;

use super::Random;
use crate::limits::RANDOM_NUMBERS;

#[test]
fn numbers_differ_and_are_forgotten_as_they_are_taken() {
    let mut random = Random::new();
    let count = 3 * RANDOM_NUMBERS + 1;
    let mut seen = BTreeSet::new();
    for _ in 0..count {
        seen.insert(random.next());
        assert!(random.numbers[random.left..].iter().all(|number| *number == 0));
    }
    assert_eq!(seen.len(), count, "two alike among so few come once in 10^15 runs");
}
