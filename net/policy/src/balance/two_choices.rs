//! Two of the members, drawn by chance; the better one is picked by whoever asked for them.
//!
//! The one idea: the choice between two is nearly as good as the choice among all, and it does not send all shards to the same
//! member at once. Members are drawn as often as their weights say, by Walker's and Vose's table of aliases, and again if they do
//! not fit, so that nothing is built when one falls ill.

use super::Member;
use crate::chance::{below, unit};
use crate::limits::DRAWS_MAX;

#[derive(Debug, Default)]
pub(super) struct TwoChoices {
    count: usize,
    /// Empty if all are as likely.
    columns: Vec<Column>,
}

/// As wide as all others; a part of it is its member's, the rest is lent to another.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Of 2^32.
    own: u32,
    lent_to: u32,
}

impl TwoChoices {
    pub(super) fn build(&mut self, members: &[Member]) {
        self.count = members.len();
        self.columns.clear();
        let Some(first) = members.first().map(Member::due) else { return };
        if members.iter().all(|member| member.due() == first) {
            return;
        }
        let mean = members.iter().map(Member::due).sum::<f64>() / members.len() as f64;
        let mut parts: Vec<f64> = members.iter().map(|member| member.due() / mean).collect();
        self.columns.extend((0..self.count).map(|at| Column { own: u32::MAX, lent_to: at as u32 }));
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..self.count).partition(|at| parts[*at] < 1.0);
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            self.columns[poor] = Column { own: (parts[poor] * 4_294_967_296.0) as u32, lent_to: rich as u32 };
            parts[rich] -= 1.0 - parts[poor];
            if parts[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
    }

    /// Two that fit, the same one twice if there is but one; none if nobody fits. Those that have not grown up are drawn more
    /// seldom: as the first because others are drawn in their place, as the second because then the first stays alone.
    #[inline]
    pub(super) fn draw(
        &self,
        fits: impl Fn(usize) -> bool,
        grown: impl Fn(usize) -> f64,
        random: &mut impl FnMut() -> u64,
    ) -> Option<(usize, usize)> {
        let mut one = self.draw_one(&fits, random)?;
        for _ in 0..DRAWS_MAX {
            if is_grown(grown(one), random) {
                break;
            }
            one = self.draw_one(&fits, random)?;
        }
        let other = match (self.count, self.columns.is_empty()) {
            (1, _) => None,
            // Any but the first, by one draw for most.
            (_, true) => {
                let at = below(random(), self.count - 1);
                let at = at + usize::from(at >= one);
                if fits(at) { Some(at) } else { self.draw_one(|at| at != one && fits(at), random) }
            }
            (_, false) => self.draw_one(|at| at != one && fits(at), random),
        };
        Some((one, other.filter(|other| is_grown(grown(*other), random)).unwrap_or(one)))
    }

    #[inline]
    fn draw_one(&self, fits: impl Fn(usize) -> bool, random: &mut impl FnMut() -> u64) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        for _ in 0..DRAWS_MAX {
            let at = self.one(random());
            if fits(at) {
                return Some(at);
            }
        }
        let start = below(random(), self.count);
        (start..self.count).chain(0..start).find(|at| fits(*at))
    }

    /// The high bits choose a column, the low ones whose part of it.
    #[inline]
    fn one(&self, random: u64) -> usize {
        let at = below(random, self.count);
        match self.columns.get(at) {
            Some(column) if random as u32 >= column.own => column.lent_to as usize,
            _ => at,
        }
    }
}

#[inline]
fn is_grown(part: f64, random: &mut impl FnMut() -> u64) -> bool {
    part >= 1.0 || unit(random()) < part
}
