//! Times of random length, from a random number that is handed in.

use std::time::Duration;

/// Between nothing and `longest`, both included, evenly.
pub(crate) fn up_to(longest: Duration, random: u64) -> Duration {
    // No wait is longer than half a millennium.
    let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(random) * (u128::from(longest) + 1)) >> 64) as u64)
}
