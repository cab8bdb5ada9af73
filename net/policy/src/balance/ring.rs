//! Members by key, on a ring of points.
//!
//! The one idea: each member has its points, which depend on nothing but its id, and a key belongs to the first point from it
//! on. Whoever leaves takes its points along, and only their keys move, each to the point that comes next.

use super::Member;
use crate::chance::mix;
use crate::limits::{RING_POINTS_MAX, WALK_MAX};

#[derive(Debug)]
pub(super) struct Ring {
    /// Of a member of average weight.
    each: u32,
    count: usize,
    /// In order, and whose each is.
    points: Vec<u64>,
    owners: Vec<u32>,
}

impl Ring {
    pub(super) fn new(each: u32) -> Ring {
        Ring { each, count: 0, points: Vec::new(), owners: Vec::new() }
    }

    /// Where points are too many all members have half of them: that happens seldom, and so few keys move in between.
    pub(super) fn build(&mut self, members: &[Member]) {
        self.count = members.len();
        let mean = members.iter().map(Member::due).sum::<f64>() / members.len().max(1) as f64;
        let mut each = f64::from(self.each);
        while each > 1.0 && each * members.len() as f64 > RING_POINTS_MAX as f64 {
            each /= 2.0;
        }
        let mut points: Vec<(u64, u32)> = Vec::with_capacity((each * members.len() as f64) as usize + members.len());
        for (owner, member) in members.iter().enumerate() {
            let count = (member.due() / mean * each).round().max(1.0) as u64;
            points.extend((0..count).map(|point| (mix(member.id() ^ mix(point)), owner as u32)));
        }
        points.sort_unstable();
        (self.points, self.owners) = points.into_iter().unzip();
    }

    /// The member of the first point from the key on that fits.
    #[inline]
    pub(super) fn pick(&self, key: u64, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|point| *point < key);
        let (before, after) = self.owners.split_at(start);
        let walk = after.iter().chain(before).map(|owner| *owner as usize);
        walk.take(WALK_MAX).find(|at| fits(*at)).or_else(|| {
            let start = crate::chance::below(key, self.count.max(1));
            (start..self.count).chain(0..start).find(|at| fits(*at))
        })
    }
}
