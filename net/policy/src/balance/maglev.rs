//! Members by key, in a table that they share evenly.
//!
//! The one idea: each member has an order of its own in which it likes the entries of the table, made from nothing but its id.
//! They take turns at taking the entry they like best of those that are free. So all have the same number of entries, to one,
//! and most entries stay whose they are when a member leaves.
//!
//! Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4. Members of
//! less weight take part in fewer rounds, as in Envoy.

use super::Member;
use crate::chance::{below, mix};
use crate::limits::{MAGLEV_TABLE_MAX, MEMBERS_MAX, WALK_MAX};

/// Entries are numbers of members.
const _: () = assert!(MEMBERS_MAX < FREE as usize);
const FREE: u16 = u16::MAX;

#[derive(Debug)]
pub(super) struct Maglev {
    size: u32,
    count: usize,
    owners: Vec<u16>,
}

/// The order in which a member likes entries: all of them, since the size is a prime.
struct Liking {
    at: u64,
    skip: u64,
}

/// A prime within bounds.
pub(super) fn is_size(size: u32) -> bool {
    (2..=MAGLEV_TABLE_MAX).contains(&size)
        && (2..).take_while(|factor| factor * factor <= size).all(|factor| !size.is_multiple_of(factor))
}

impl Maglev {
    pub(super) fn new(size: u32) -> Maglev {
        Maglev { size, count: 0, owners: Vec::new() }
    }

    pub(super) fn build(&mut self, members: &[Member]) {
        let size = u64::from(self.size);
        self.count = members.len();
        self.owners.clear();
        let heaviest = members.iter().map(Member::due).fold(0.0, f64::max);
        if members.is_empty() {
            return;
        }
        self.owners.resize(self.size as usize, FREE);
        let liking = |member: &Member| Liking { at: mix(member.id()) % size, skip: mix(!member.id()) % (size - 1) + 1 };
        let mut likings: Vec<Liking> = members.iter().map(liking).collect();
        // What each may still take: a whole entry in each round for the heaviest, less for others.
        let mut credits = vec![0.0; members.len()];
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_unstable_by_key(|at| members[*at].id());
        let mut free = self.size;
        while free > 0 {
            for &at in &order {
                credits[at] += members[at].due() / heaviest;
                if credits[at] < 1.0 || free == 0 {
                    continue;
                }
                credits[at] -= 1.0;
                let liking = &mut likings[at];
                while self.owners[liking.at as usize] != FREE {
                    liking.step(size);
                }
                self.owners[liking.at as usize] = at as u16;
                liking.step(size);
                free -= 1;
            }
        }
    }

    /// The member at the key's entry, or at the first one after it that fits.
    #[inline]
    pub(super) fn pick(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        if self.owners.is_empty() {
            return None;
        }
        let (before, after) = self.owners.split_at(below(key, self.owners.len()));
        let walk = after.iter().chain(before).map(|owner| usize::from(*owner));
        walk.take(WALK_MAX).find(|at| fits(*at)).or_else(|| {
            let start = below(key, self.count);
            (start..self.count).chain(0..start).find(|at| fits(*at))
        })
    }
}

#[cfg(test)]
impl Maglev {
    /// How many entries each has.
    pub(super) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.count];
        self.owners.iter().for_each(|owner| counts[usize::from(*owner)] += 1);
        counts
    }
}

impl Liking {
    fn step(&mut self, size: u64) {
        self.at += self.skip;
        if self.at >= size {
            self.at -= size;
        }
    }
}
