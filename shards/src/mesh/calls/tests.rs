use std::task::Waker;

use super::super::CallError;
use super::{Calls, Left, Settled};

const STOPPED: CallError = CallError::Stopped;

#[test]
fn an_answer_finds_its_own_call_and_no_later_one() {
    let mut calls = Calls::default();
    let first = calls.open(Waker::noop()).unwrap();
    assert!(calls.take_answer(first, Waker::noop()).is_none());
    assert!(matches!(calls.settle(first, Err(STOPPED)), Settled::Wake(_)));
    assert!(matches!(calls.settle(first, Err(STOPPED)), Settled::Unknown(_)), "once only");
    assert!(matches!(calls.take_answer(first, Waker::noop()), Some(Err(STOPPED))));
    assert_eq!(calls.count(), 0);

    let second = calls.open(Waker::noop()).unwrap();
    assert_eq!(first.slot(), second.slot());
    assert!(matches!(calls.settle(first, Err(STOPPED)), Settled::Unknown(_)), "the slot is another's");
    assert!(matches!(calls.abandon(first), Left::Nothing));
    assert!(calls.take_answer(second, Waker::noop()).is_none());
}

#[test]
fn the_slot_of_a_call_that_is_given_up_waits_for_the_answer() {
    let mut calls = Calls::default();
    let call = calls.open(Waker::noop()).unwrap();
    assert!(matches!(calls.abandon(call), Left::Unanswered(Some(_))));
    let other = calls.open(Waker::noop()).unwrap();
    assert_ne!(call.slot(), other.slot());
    assert_eq!((calls.count(), calls.unanswered()), (2, vec![call, other]));
    assert!(matches!(calls.settle(call, Err(STOPPED)), Settled::Unwanted(_)));
    assert_eq!((calls.count(), calls.unanswered()), (1, vec![other]));
    assert!(matches!(calls.settle(other, Err(STOPPED)), Settled::Wake(_)));
    assert!(matches!(calls.abandon(other), Left::Answered(Some(_))));
    assert_eq!(calls.count(), 0);
}

#[test]
fn there_are_so_many_slots_and_no_more() {
    let mut calls = Calls::default();
    let all: Vec<_> = std::iter::from_fn(|| calls.open(Waker::noop())).collect();
    assert_eq!(all.len(), crate::limits::MESH_CALLS_MAX);
    assert!(matches!(calls.settle(all[7], Err(STOPPED)), Settled::Wake(_)));
    assert!(calls.take_answer(all[7], Waker::noop()).is_some());
    assert_eq!(calls.open(Waker::noop()).map(|name| name.slot()), Some(7));
}
