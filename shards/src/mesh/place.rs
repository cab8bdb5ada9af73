//! Which shard owns a key: the same on every shard, in every run. Plain functions of numbers.

use std::hash::{Hash, Hasher};

/// A number for a key, spread evenly. It depends on nothing but the key, so a run can be repeated; whoever chooses keys can
/// therefore choose their shards.
pub(super) fn hash_of<K: Hash + ?Sized>(key: &K) -> u64 {
    let mut hasher = Fnv(FNV_BASIS);
    key.hash(&mut hasher);
    hasher.finish()
}

/// The one of `count` shards that owns a hash, by jump consistent hashing (Lamping and Veach, 2014): even, without a table,
/// and of two counts as many keys move as must.
pub(super) fn jump(hash: u64, count: usize) -> usize {
    let (mut random, mut place, mut next) = (hash, 0u64, 0u64);
    while next < count as u64 {
        place = next;
        random = random.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // How far the next jump goes, from 31 random bits.
        next = ((place + 1) as f64 * ((1u64 << 31) as f64 / ((random >> 33) + 1) as f64)) as u64;
    }
    place as usize
}

/// FNV-1a, with its bits mixed at the end: short keys are the rule, and it is fast for these.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    fn finish(&self) -> u64 {
        // The finaliser of splitmix64: without it, the low bits of similar keys are similar.
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

const FNV_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;

#[cfg(test)]
mod tests;
