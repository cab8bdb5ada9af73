//! One after the other.
//!
//! The one idea: where the next look starts is behind the member that was picked last, so that whoever comes after one that
//! does not fit gets no more than others. A member that should have less than a whole turn, being new or only partly ours, is
//! passed over as often as that says.

use super::Member;
use crate::chance::{below, unit};

#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// What each has of a turn.
    shares: Vec<f32>,
    next: usize,
}

impl RoundRobin {
    /// Starts anywhere, so that shards do not all ask the same one first.
    pub(super) fn build(&mut self, members: &[Member], random: u64) {
        self.shares.clear();
        self.shares.extend(members.iter().map(Member::share));
        self.next = below(random, members.len().max(1));
    }

    pub(super) fn pick(
        &mut self,
        fits: impl Fn(usize) -> bool,
        grown: impl Fn(usize) -> f64,
        random: &mut impl FnMut() -> u64,
    ) -> Option<usize> {
        let mut passed_over = None;
        let mut at = self.next;
        for _ in 0..self.shares.len() {
            if at >= self.shares.len() {
                at = 0;
            }
            if fits(at) {
                let part = f64::from(self.shares[at]) * grown(at);
                if part >= 1.0 || unit(random()) < part {
                    self.next = at + 1;
                    return Some(at);
                }
                passed_over.get_or_insert(at);
            }
            at += 1;
        }
        // All were passed over. The next look goes on from here, or the first of them would be picked again and again.
        self.next = passed_over? + 1;
        passed_over
    }
}
