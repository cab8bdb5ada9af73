//! What exploring has found and is kept, and scripts by chance, the same ones each time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::tls_records;

/// Each a line in hexadecimal.
const KEPT: &str = include_str!("../../../../fuzz/kept/tls_records");

/// Scripts; `SHARDWISE_FUZZ_RUNS` says otherwise.
const RUNS: usize = 3_000;

/// Shows all that go wrong.
#[track_caller]
fn check(inputs: impl Iterator<Item = Vec<u8>>) {
    let goes_wrong = |input: &Vec<u8>| {
        let is_wrong = catch_unwind(AssertUnwindSafe(|| tls_records(input))).is_err();
        if is_wrong {
            eprintln!("b\"{}\"", input.escape_ascii());
        }
        is_wrong
    };
    assert_eq!(inputs.filter(goes_wrong).take(WRONG_MAX).count(), 0);
}

/// Inputs that are shown, of those that go wrong.
const WRONG_MAX: usize = 20;

#[test]
fn what_is_kept_holds() {
    let digits = |line: &str| line.chars().filter_map(|digit| digit.to_digit(16)).collect::<Vec<_>>();
    let bytes = |line| digits(line).chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    check(KEPT.lines().map(bytes));
}

#[test]
fn scripts_by_chance_hold() {
    let runs = std::env::var("SHARDWISE_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let mut state = 1_u64;
    let mut random = |below: u64| {
        // Splitmix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    };
    check((0..runs).map(|_| {
        let bytes = 3 + random(120);
        // Small numbers more often than others: most decisions are of a few.
        (0..bytes).map(|_| random(256).min(random(256)) as u8).collect()
    }));
}
