//! Which shard gets a connection is a function of counts and chance.

use super::*;

#[test]
fn the_least_is_chosen_and_equals_by_chance() {
    let choose = |counts: &[u64], chance| least(counts.iter().copied().enumerate(), || chance);
    assert_eq!(choose(&[], 0), None);
    assert_eq!(choose(&[7], 5), Some(0));
    assert_eq!(choose(&[3, 1, 2], 9), Some(1));
    let among = |counts: &[u64]| (0..6).map(|chance| choose(counts, chance).unwrap()).collect::<Vec<_>>();
    assert_eq!(among(&[0, 4, 0, 0]), [0, 2, 3, 0, 2, 3]);
    assert_eq!(among(&[u64::MAX, u64::MAX]), [0, 1, 0, 1, 0, 1]);
}
