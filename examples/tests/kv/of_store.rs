//! The store of one shard: what it keeps, for how long, and that its bound holds at every moment.

#![allow(clippy::disallowed_methods, reason = "a moment to count from; all others are made of it")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::limits::{ENTRY_OVERHEAD_BYTES, SWEEP_ENTRIES_MAX};
use crate::next;
use crate::store::{Changed, Condition, Store};

const SECOND: Duration = Duration::from_secs(1);

/// A store with room for so many entries of one byte for the key and nine for the value.
fn store(entries: usize) -> (Store, Instant) {
    (Store::new(entries * (10 + ENTRY_OVERHEAD_BYTES), 0), Instant::now())
}

fn put(store: &mut Store, key: &str, now: Instant) -> Changed {
    store.put(key.as_bytes(), &[b'v'; 9], None, Condition::Always, now)
}

#[test]
fn a_value_is_kept_until_it_is_replaced_or_deleted() {
    let (mut store, now) = store(3);
    assert_eq!(store.get(b"a", now), None);
    assert_eq!(store.put(b"a", b"one", None, Condition::Always, now), Changed::Created(1));
    assert_eq!(store.put(b"a", b"two", None, Condition::Always, now), Changed::Replaced(2));
    let found = store.get(b"a", now).expect("it was put");
    assert_eq!((&found.value[..], found.version), (&b"two"[..], 2));
    assert!(store.delete(b"a", now) && !store.delete(b"a", now));
    assert_eq!(found.value, "two", "who holds it keeps it");
    assert_eq!((store.stats().keys, store.stats().bytes), (0, 0));
    assert_eq!((store.stats().hits, store.stats().misses), (1, 1));
}

/// All answers to one value are the same memory.
#[test]
fn a_value_is_shared_and_not_copied() {
    let (mut store, now) = store(3);
    put(&mut store, "a", now);
    let mut get = || store.get(b"a", now).expect("it was put").value;
    assert_eq!(get().as_ptr(), get().as_ptr());
}

#[test]
fn conditions_hold_or_nothing_changes() {
    use Condition::{Absent, Always, Present, Version};
    let (mut store, now) = store(3);
    let mut check =
        |condition, expect| assert_eq!(store.put(b"a", b"x", None, condition, now), expect, "{condition:?}");
    check(Present, Changed::Refused);
    check(Version(0), Changed::Refused);
    check(Absent, Changed::Created(1));
    check(Absent, Changed::Refused);
    check(Version(1), Changed::Replaced(2));
    check(Version(1), Changed::Refused);
    check(Present, Changed::Replaced(3));
    check(Always, Changed::Replaced(4));
}

#[test]
fn a_key_that_comes_again_has_another_version() {
    let (mut store, now) = store(3);
    assert_eq!(put(&mut store, "a", now), Changed::Created(1));
    store.delete(b"a", now);
    assert_eq!(put(&mut store, "a", now), Changed::Created(2));
}

#[test]
fn what_is_used_stays_and_what_is_not_goes() {
    let (mut store, now) = store(3);
    for key in ["a", "b", "c"] {
        put(&mut store, key, now);
    }
    store.get(b"a", now);
    assert_eq!(put(&mut store, "d", now), Changed::Created(4));
    assert_eq!(store.stats().evictions, 1);
    assert!(store.get(b"b", now).is_none());
    assert!(["a", "c", "d"].iter().all(|key| store.get(key.as_bytes(), now).is_some()));
}

#[test]
fn what_cannot_fit_is_refused_and_pushes_nobody_out() {
    let (mut store, now) = store(3);
    for key in ["a", "b", "c"] {
        put(&mut store, key, now);
    }
    let large = vec![0; 3 * (10 + ENTRY_OVERHEAD_BYTES)];
    assert_eq!(store.put(b"a", &large, None, Condition::Always, now), Changed::NoRoom);
    assert_eq!((store.stats().keys, store.stats().evictions), (3, 0));
    assert_eq!(store.get(b"a", now).expect("the old one stays").value.len(), 9);
    let all_there_is = &large[..3 * (10 + ENTRY_OVERHEAD_BYTES) - ENTRY_OVERHEAD_BYTES - 1];
    assert_eq!(store.put(b"z", all_there_is, None, Condition::Always, now), Changed::Created(4));
    assert_eq!((store.stats().keys, store.stats().evictions), (1, 3));
}

#[test]
fn a_value_is_gone_when_its_time_is_over() {
    let (mut store, now) = store(3);
    store.put(b"a", b"x", Some(10 * SECOND), Condition::Always, now);
    assert!(store.get(b"a", now + 10 * SECOND - Duration::from_nanos(1)).is_some());
    assert!(store.get(b"a", now + 10 * SECOND).is_none());
    assert_eq!((store.stats().keys, store.stats().expiries, store.stats().bytes), (0, 1, 0));
    assert_eq!(store.put(b"a", b"x", None, Condition::Absent, now + 10 * SECOND), Changed::Created(2));
    assert!(store.get(b"a", now + 1000 * SECOND).is_some(), "put anew without a time, it stays");
}

#[test]
fn sweeps_find_what_nobody_asks_for() {
    let count = 3 * SWEEP_ENTRIES_MAX + SWEEP_ENTRIES_MAX / 2;
    let (mut store, now) = store(4 * count);
    for number in 0..count {
        store.put(&number.to_be_bytes(), b"x", (number % 2 == 0).then_some(SECOND), Condition::Always, now);
    }
    store.sweep(now);
    assert_eq!(store.stats().expiries, 0);
    for sweeps in 1..=4 {
        store.sweep(now + SECOND);
        let expiries = store.stats().expiries as usize;
        assert!(expiries <= sweeps * SWEEP_ENTRIES_MAX / 2, "a sweep has a bound");
    }
    assert_eq!((store.stats().keys, store.stats().expiries as usize), (count / 2, count / 2));
}

#[test]
fn numbers_are_added_to() {
    let (mut store, now) = store(3);
    assert_eq!(store.add(b"n", 5, now), Ok(5));
    assert_eq!(store.add(b"n", -7, now), Ok(-2));
    assert_eq!(store.get(b"n", now).expect("it counts").value, "-2");
    store.put(b"n", b"9223372036854775807", Some(SECOND), Condition::Always, now);
    assert!(store.add(b"n", 1, now).unwrap_err().contains("64 bits"));
    assert_eq!(store.add(b"n", -1, now), Ok(i64::MAX - 1));
    assert_eq!(store.add(b"n", 1, now + SECOND), Ok(1), "it lived no longer than before");
    store.put(b"n", b"many", None, Condition::Always, now);
    assert!(store.add(b"n", 1, now).unwrap_err().contains("not a number"));
}

/// Everything at random, against a map: what is found is what was put last, what is gone was evicted or is over, and the books
/// are right to the byte at every step.
#[test]
fn it_keeps_what_it_should_within_its_bound() {
    for seed in 0..50 {
        let bytes_max = 20 * ENTRY_OVERHEAD_BYTES;
        let (mut random, mut now, mut store) = (seed, Instant::now(), Store::new(bytes_max, 0));
        let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<Instant>)> = BTreeMap::new();
        for step in 0..2000 {
            let context = format!("seed {seed}, step {step}");
            let key = format!("key {}", next(&mut random) % 40).into_bytes();
            match next(&mut random) % 8 {
                0..3 => {
                    let value = vec![step as u8; next(&mut random) % 600];
                    let ttl = [None, Some(SECOND), Some(20 * SECOND)][next(&mut random) % 3];
                    store.put(&key, &value, ttl, Condition::Always, now);
                    model.insert(key, (value, ttl.map(|ttl| now + ttl)));
                }
                3..6 => {
                    let known = model.get(&key).filter(|(_, expires)| expires.is_none_or(|expires| now < expires));
                    if let Some(found) = store.get(&key, now) {
                        assert_eq!(Some(&found.value[..]), known.map(|(value, _)| &value[..]), "{context}");
                    }
                }
                6 => {
                    store.delete(&key, now);
                    model.remove(&key);
                }
                _ => {
                    now += Duration::from_millis(next(&mut random) as u64 % 500);
                    store.sweep(now);
                }
            }
            assert!(store.stats().bytes <= bytes_max, "{context}");
        }
        assert!(store.stats().evictions > 0 && store.stats().expiries > 0, "seed {seed}");
        let found: Vec<usize> =
            model.keys().filter_map(|key| store.get(key, now).map(|found| key.len() + found.value.len())).collect();
        assert_eq!(store.stats().keys, found.len(), "seed {seed}");
        let bytes: usize = found.iter().map(|bytes| bytes + ENTRY_OVERHEAD_BYTES).sum();
        assert_eq!(store.stats().bytes, bytes, "seed {seed}: the books are right");
    }
}
