use super::{Bulkhead, Entry};
use crate::testing::for_seeds;

#[test]
fn bounds_hold_whatever_happens() {
    for_seeds(300, |random| {
        let (mut running_max, waiting_max) = (random.below(6) as u32, random.below(6) as u32);
        let mut bulkhead = Bulkhead::new(running_max, waiting_max);
        let (mut running, mut waiting) = (0u32, 0u32);
        for _ in 0..300 {
            match random.below(8) {
                0..=3 => match bulkhead.enter() {
                    Entry::Admitted => {
                        assert!(running < running_max && waiting == 0, "nobody overtakes");
                        running += 1;
                    }
                    Entry::Queued => {
                        assert!(running >= running_max && waiting < waiting_max);
                        waiting += 1;
                    }
                    Entry::Refused => assert!(running >= running_max && waiting == waiting_max),
                },
                4..=5 if running > 0 => {
                    running -= 1;
                    let passed = bulkhead.leave();
                    assert_eq!(passed, waiting > 0 && running < running_max);
                    running += u32::from(passed);
                    waiting -= u32::from(passed);
                }
                6 if waiting > 0 => {
                    bulkhead.give_up();
                    waiting -= 1;
                }
                7 => {
                    running_max = random.below(6) as u32;
                    let woken = bulkhead.resize(running_max);
                    assert_eq!(woken, waiting.min(running_max.saturating_sub(running)));
                    running += woken;
                    waiting -= woken;
                }
                _ => {}
            }
            assert_eq!((bulkhead.running(), bulkhead.waiting()), (running, waiting));
            assert!(waiting == 0 || running >= running_max, "nobody waits while there is room");
        }
    });
}

#[test]
fn a_smaller_bulkhead_lets_those_that_run_end() {
    let mut bulkhead = Bulkhead::new(3, 1);
    assert_eq!([(); 4].map(|()| bulkhead.enter()), [Entry::Admitted, Entry::Admitted, Entry::Admitted, Entry::Queued]);
    assert_eq!(bulkhead.resize(1), 0);
    assert!(!bulkhead.leave() && !bulkhead.leave(), "there are still more than may be");
    assert!(bulkhead.leave());
    assert_eq!((bulkhead.running(), bulkhead.waiting()), (1, 0));
}

#[test]
fn envoy_by_default() {
    let mut bulkhead = Bulkhead::default();
    assert!((0..1024).all(|_| bulkhead.enter() == Entry::Admitted));
    assert!((0..1024).all(|_| bulkhead.enter() == Entry::Queued));
    assert_eq!(bulkhead.enter(), Entry::Refused);
}

#[test]
#[should_panic(expected = "a call that leaves has entered")]
fn who_was_not_in_cannot_leave() {
    let _ = Bulkhead::new(1, 1).leave();
}

#[test]
#[should_panic(expected = "a call that gives up has waited")]
fn who_did_not_wait_cannot_give_up() {
    Bulkhead::new(1, 1).give_up();
}
