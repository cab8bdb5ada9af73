use std::rc::Rc;

use super::super::fabric::Fabric;
use super::super::message::Name;
use super::Link;

/// Names of one slot by generation: which calls are run after these cancels. `true` is a cancel.
#[track_caller]
fn check(arrivals: &[(u32, bool)], cancelled: &[u32]) {
    let link = Link::to_oneself(0, &Fabric::new(1), &Rc::default());
    let mut unwanted = Vec::new();
    for &(generation, is_cancel) in arrivals {
        let name = Name::new(3, generation);
        match is_cancel {
            true => link.cancel_served(name),
            false if link.see(name) => unwanted.push(generation),
            false => {}
        }
    }
    assert_eq!(unwanted, cancelled);
}

#[test]
fn a_cancel_ends_the_call_that_it_means() {
    check(&[(0, false), (1, false)], &[]);
    // Before its call, which is on another lane.
    check(&[(0, true), (0, false), (1, false)], &[0]);
    check(&[(0, false), (1, true), (1, false), (2, false)], &[1]);
    // After its answer, which crossed it: the next call is another's.
    check(&[(0, false), (0, true), (1, false)], &[]);
    check(&[(0, false), (1, false), (0, true), (1, true), (2, false)], &[]);
    // One late, one early.
    check(&[(0, false), (1, true), (0, true), (1, false)], &[1]);
    // Generations go round.
    check(&[(u32::MAX, false), (0, true), (0, false), (1, false)], &[0]);
    check(&[(0, false), (u32::MAX, true), (1, false)], &[]);
}
