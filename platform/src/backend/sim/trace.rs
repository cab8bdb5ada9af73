//! What happened on a machine, as one number: two runs of the same program with the same seed have the same trace, and the
//! first difference between two logs is where they parted.

use std::fmt::Write;
use std::time::Duration;

use crate::arena::Key;

/// A running hash of all events, and their text if someone wants to read it.
pub(super) struct Trace {
    hash: u64,
    log: Option<String>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Trace { hash: 0, log: None }
    }

    pub(super) fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn log(&self) -> &str {
        self.log.as_deref().unwrap_or_default()
    }

    /// Appends an event: when, what, with which socket, file or operation, and a number that says more (a length, a port).
    pub(super) fn record(&mut self, at: Duration, what: &'static str, name: Key, detail: u64) {
        let at = at.as_nanos() as u64;
        let word = digest(what.as_bytes());
        for part in [at, word, name.to_bits(), detail] {
            self.hash = mix(self.hash ^ part);
        }
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{at:>12} {what} {}.{} {detail}", name.index, name.generation);
        }
    }

    /// Appends an event that carries bytes: their number, and what they are.
    pub(super) fn record_bytes(&mut self, at: Duration, what: &'static str, name: Key, bytes: &[u8]) {
        self.record(at, what, name, bytes.len() as u64);
        self.hash = mix(self.hash ^ digest(bytes));
    }
}

/// Spreads each bit over the word.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    word ^ (word >> 32)
}

/// Four words at a time, none of which waits for another: most of what a busy network costs is this.
fn digest(bytes: &[u8]) -> u64 {
    let mut lanes = [bytes.len() as u64, 1, 2, 3];
    let mut block_of = |block: &[u8; 32]| {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = mix(lane.rotate_left(5) ^ u64::from_le_bytes(*word));
        }
    };
    let (blocks, rest) = bytes.as_chunks::<32>();
    blocks.iter().for_each(&mut block_of);
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    block_of(&last);
    lanes.into_iter().fold(0, |hash, lane| mix(hash ^ lane))
}
