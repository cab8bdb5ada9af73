//! One after the other, as often as weights say.
//!
//! The one idea: each member has a next turn on a time line of its own making, in steps of one by its weight, and the earliest
//! is picked. So turns of heavy members are spread evenly among those of light ones. Turns of a member that does not fit pass
//! as if it had been picked, which leaves its part to all others.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::Member;
use crate::chance::unit;

#[derive(Debug, Default)]
pub(super) struct Weighted {
    turns: BinaryHeap<Reverse<Turn>>,
    /// Turns of those that did not fit, until one is found that does. As large as there are members, so that a pick allocates
    /// nothing.
    passed: Vec<Turn>,
    dues: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    at: f64,
    member: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Turn) -> Ordering {
        self.at.total_cmp(&other.at).then(self.member.cmp(&other.member))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Turn) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Turn) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

impl Weighted {
    /// First turns lie anywhere in a member's first step, so that shards do not all ask the heaviest first.
    pub(super) fn build(&mut self, members: &[Member], random: &mut impl FnMut() -> u64) {
        self.dues = members.iter().map(Member::due).collect();
        let first = |(member, due): (usize, &f64)| Reverse(Turn { at: unit(random()) / due, member });
        self.turns = self.dues.iter().enumerate().map(first).collect();
        self.passed = Vec::with_capacity(members.len());
    }

    pub(super) fn pick(&mut self, fits: impl Fn(usize) -> bool, grown: impl Fn(usize) -> f64) -> Option<usize> {
        let step = |member: usize| 1.0 / (self.dues[member] * grown(member));
        let picked = loop {
            match self.turns.peek_mut() {
                None => break None,
                Some(mut turn) if fits(turn.0.member) => {
                    let picked = turn.0;
                    turn.0.at += step(picked.member);
                    break Some(picked);
                }
                Some(turn) => self.passed.push(std::collections::binary_heap::PeekMut::pop(turn).0),
            }
        };
        for mut turn in self.passed.drain(..) {
            if let Some(picked) = picked {
                let step = step(turn.member);
                turn.at += ((picked.at - turn.at) / step).ceil().max(1.0) * step;
            }
            self.turns.push(Reverse(turn));
        }
        picked.map(|turn| turn.member)
    }
}
