use super::{hash_of, jump};

/// The shares of `count` shards in many keys, in parts of the even share.
#[track_caller]
fn check_even<K: std::hash::Hash>(count: usize, keys: impl Iterator<Item = K>) {
    let (mut owned, mut total) = (vec![0u64; count], 0);
    for key in keys {
        owned[jump(hash_of(&key), count)] += 1;
        total += 1;
    }
    let even = total as f64 / count as f64;
    for share in &owned {
        let share = *share as f64 / even;
        assert!((0.9..1.1).contains(&share), "{share} of the even share, of {count} shards: {owned:?}");
    }
}

#[test]
fn keys_are_spread_evenly() {
    for count in [1, 2, 3, 7, 16, 64] {
        check_even(count, 0..100_000u64);
        check_even(count, (0..100_000u32).map(|number| number << 12));
        check_even(count, (0..100_000).map(|number| format!("user:{number}")));
    }
}

#[test]
fn with_a_shard_more_only_its_own_keys_move() {
    for count in 1..40 {
        for key in 0..2_000u64 {
            let (before, after) = (jump(hash_of(&key), count), jump(hash_of(&key), count + 1));
            assert!(after == before || after == count, "{key} moves from {before} to {after} of {}", count + 1);
        }
    }
}

#[test]
fn a_key_has_the_same_owner_in_every_run() {
    let owners: Vec<usize> = ["", "a", "ada", "bob"].iter().map(|key| jump(hash_of(key), 8)).collect();
    assert_eq!(owners, OWNERS);
    assert_eq!(hash_of("ada"), hash_of(&"ada".to_owned()), "borrowed or owned");
}

const OWNERS: [usize; 4] = [6, 3, 0, 6];
