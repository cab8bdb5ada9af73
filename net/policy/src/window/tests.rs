use std::collections::VecDeque;
use std::time::Duration;

use super::{Tally, Window};
use crate::testing::{for_seeds, start};

impl Tally for u64 {
    const NOTHING: u64 = 0;

    fn subtract(&mut self, other: &u64) {
        *self -= other;
    }
}

#[test]
fn agrees_with_a_list_of_all_that_happened() {
    for_seeds(200, |random| {
        let start = start();
        let mut window: Window<u64, 5> = Window::new(Duration::from_millis(50));
        let mut happened: VecDeque<(u64, u64)> = VecDeque::new();
        let mut millis = 0;
        window.turn(start);
        for _ in 0..500 {
            let pause = if random.chance(0.05) { 200 } else { 12 };
            millis += random.below(pause);
            window.turn(start + Duration::from_millis(millis));
            while happened.front().is_some_and(|&(slice, _)| slice + 5 <= millis / 10) {
                happened.pop_front();
            }
            assert_eq!(*window.sum(), happened.iter().map(|&(_, count)| count).sum::<u64>(), "at {millis} ms");
            let count = random.below(4);
            window.count(|sum| *sum += count);
            happened.push_back((millis / 10, count));
        }
    });
}

#[test]
fn a_clock_that_steps_back_and_one_that_leaps_do_no_harm() {
    let start = start() + Duration::from_secs(10);
    let mut window: Window<u64, 5> = Window::new(Duration::from_millis(50));
    window.turn(start);
    window.count(|sum| *sum += 1);
    assert!(!window.turn(start - Duration::from_secs(5)));
    assert_eq!(*window.sum(), 1);
    assert!(window.turn(start + Duration::from_secs(100_000_000)));
    assert_eq!(*window.sum(), 0);
    assert!(!window.turn(start + Duration::from_secs(100_000_000)));
}

#[test]
fn a_window_of_no_length_forgets_at_once() {
    let start = start();
    let mut window: Window<u64, 5> = Window::new(Duration::ZERO);
    window.turn(start);
    window.count(|sum| *sum += 1);
    window.turn(start + Duration::from_nanos(5));
    assert_eq!(*window.sum(), 0);
}
