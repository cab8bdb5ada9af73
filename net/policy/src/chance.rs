//! What is made of a random number.

use std::time::Duration;

/// One of `count`, all as likely. `count` is not 0.
#[inline]
pub(crate) fn below(random: u64, count: usize) -> usize {
    ((u128::from(random) * count as u128) >> 64) as usize
}

/// From 0 to just below 1.
#[inline]
pub(crate) fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// A number in which each bit of `value` has changed about half of the bits: the finaliser of splitmix64.
#[inline]
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Between nothing and `longest`, both included, evenly.
pub(crate) fn up_to(longest: Duration, random: u64) -> Duration {
    // No wait is longer than half a millennium.
    let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(random) * (u128::from(longest) + 1)) >> 64) as u64)
}
