use std::task::Waker;

use super::super::CallError;
use super::super::message::{Answer, Name, failed, put, take};
use super::{Calls, Left, Settled};

fn answer() -> Option<Answer> {
    Some(put(7))
}

fn taken(calls: &mut Calls, name: Name) -> Option<Result<i32, CallError>> {
    calls.take_answer(name, Waker::noop(), take)
}

#[test]
fn an_answer_finds_its_own_call_and_no_later_one() {
    let mut calls = Calls::default();
    let first = calls.open(Waker::noop()).unwrap();
    assert_eq!(taken(&mut calls, first), None);
    let (mut once, mut twice) = (answer(), Some(failed(CallError::Stopped)));
    assert!(matches!(calls.settle(first, &mut once), Settled::Wake(_)));
    assert!(matches!(calls.settle(first, &mut twice), Settled::Unknown), "once only");
    assert_eq!((once.is_some(), twice.is_some()), (false, true), "what nobody takes stays");
    assert_eq!(taken(&mut calls, first), Some(Ok(7)));
    assert_eq!(calls.count(), 0);

    let second = calls.open(Waker::noop()).unwrap();
    assert_eq!(first.slot(), second.slot());
    assert!(matches!(calls.settle(first, &mut answer()), Settled::Unknown), "the slot is another's");
    assert!(matches!(calls.abandon(first), Left::Nothing));
    assert_eq!(taken(&mut calls, second), None);
    assert!(matches!(calls.settle(second, &mut twice), Settled::Wake(_)));
    assert_eq!(taken(&mut calls, second), Some(Err(CallError::Stopped)));
}

#[test]
fn the_slot_of_a_call_that_is_given_up_waits_for_the_answer() {
    let mut calls = Calls::default();
    let call = calls.open(Waker::noop()).unwrap();
    assert!(matches!(calls.abandon(call), Left::Unanswered(Some(_))));
    let other = calls.open(Waker::noop()).unwrap();
    assert_ne!(call.slot(), other.slot());
    assert_eq!((calls.count(), calls.unanswered()), (2, vec![call, other]));
    assert!(matches!(calls.settle(call, &mut answer()), Settled::Unwanted));
    assert_eq!((calls.count(), calls.unanswered()), (1, vec![other]));
    assert!(matches!(calls.settle(other, &mut answer()), Settled::Wake(_)));
    assert!(matches!(calls.abandon(other), Left::Answered(Some(_))));
    assert_eq!(calls.count(), 0);
}

#[test]
fn there_are_so_many_slots_and_no_more() {
    let mut calls = Calls::default();
    let all: Vec<_> = std::iter::from_fn(|| calls.open(Waker::noop())).collect();
    assert_eq!(all.len(), crate::limits::MESH_CALLS_MAX);
    assert!(matches!(calls.settle(all[7], &mut answer()), Settled::Wake(_)));
    assert_eq!(taken(&mut calls, all[7]), Some(Ok(7)));
    assert_eq!(calls.open(Waker::noop()).map(|name| name.slot()), Some(7));
}
