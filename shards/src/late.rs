//! Turns that have lasted long. What was counted from the beginning of a turn is put right by this, so that nobody has to look at the
//! clock in the middle of one.

use std::cell::Cell;
use std::time::Duration;

use crate::limits::LATE_TURNS_KNOWN;

/// The last few turns that were late, each by its number and how long it has lasted. Numbers wrap.
#[derive(Debug, Default)]
pub(crate) struct LateTurns {
    known: [Cell<(u32, Duration)>; LATE_TURNS_KNOWN],
    count: Cell<usize>,
}

impl LateTurns {
    /// A turn has been late. Its number is higher than those before.
    pub(crate) fn add(&self, turn: u32, lasted: Duration) {
        let count = self.count.get();
        self.known[count % LATE_TURNS_KNOWN].set((turn, lasted));
        self.count.set(count + 1);
    }

    /// How long a turn has lasted, if it was late. One that came before those that are known may have been as late as any of them.
    pub(crate) fn lasted(&self, turn: u32) -> Duration {
        let count = self.count.get();
        let known = self.known[..count.min(LATE_TURNS_KNOWN)].iter().map(Cell::get);
        let oldest = self.known[if count > LATE_TURNS_KNOWN { count % LATE_TURNS_KNOWN } else { 0 }].get().0;
        let is_forgotten = count > LATE_TURNS_KNOWN && (turn.wrapping_sub(oldest) as i32) < 0;
        let may_be_it = known.filter(|(late, _)| is_forgotten || *late == turn);
        may_be_it.map(|(_, lasted)| lasted).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_turn_is_known_and_others_were_not_late() {
        let late = LateTurns::default();
        assert_eq!(late.lasted(7), Duration::ZERO);
        late.add(7, Duration::from_millis(30));
        assert_eq!([6, 7, 8].map(|turn| late.lasted(turn).as_millis()), [0, 30, 0]);
    }

    #[test]
    fn one_that_is_forgotten_may_have_been_as_late_as_any() {
        let late = LateTurns::default();
        // Around the end of the numbers.
        let turn = |nth: usize| u32::MAX.wrapping_sub(3).wrapping_add(10 * nth as u32);
        for nth in 0..=LATE_TURNS_KNOWN {
            late.add(turn(nth), Duration::from_millis(10 + nth as u64));
        }
        let longest = 10 + LATE_TURNS_KNOWN as u128;
        assert_eq!(late.lasted(turn(0)).as_millis(), longest, "the first is forgotten");
        assert_eq!(late.lasted(turn(0) + 1).as_millis(), longest, "who was late before the second is not known");
        assert_eq!(late.lasted(turn(1)).as_millis(), 11);
        assert_eq!(late.lasted(turn(1) + 1).as_millis(), 0);
        assert_eq!(late.lasted(turn(LATE_TURNS_KNOWN)).as_millis(), longest);
    }
}
