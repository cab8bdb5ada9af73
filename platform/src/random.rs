//! Numbers that nobody can guess, many for one system call.
//!
//! A shard that balances, jitters and names its requests takes several for each of them. A number is forgotten as it is taken, so
//! whoever reads the memory later learns none that was given before.

use std::mem::{size_of, take};

use crate::limits::RANDOM_NUMBERS;
use crate::os;

/// Those that have not been taken.
pub(crate) struct Random {
    numbers: [u64; RANDOM_NUMBERS],
    left: usize,
}

impl Random {
    pub(crate) fn new() -> Self {
        Random { numbers: [0; RANDOM_NUMBERS], left: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        if self.left == 0 {
            let mut bytes = [0; RANDOM_NUMBERS * size_of::<u64>()];
            os::random(&mut bytes);
            let (words, _) = bytes.as_chunks();
            self.numbers.iter_mut().zip(words).for_each(|(number, word)| *number = u64::from_ne_bytes(*word));
            self.left = RANDOM_NUMBERS;
        }
        self.left -= 1;
        take(&mut self.numbers[self.left])
    }
}

#[cfg(test)]
mod tests;
