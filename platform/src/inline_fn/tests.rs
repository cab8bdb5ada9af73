//! Whatever the size, a closure is consumed exactly once: by a call, by a panic in it, or by being dropped.

use super::{InlineFn, LABEL_MAX};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Runs a closure with `SIZE` bytes of captures besides a counted pointer through every way it can end.
#[track_caller]
fn check<const SIZE: usize>() {
    let counted = Arc::new(());
    let padding: [u8; SIZE] = std::array::from_fn(|index| index as u8);
    let sum = padding.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let make = |panics: bool| {
        let counted = counted.clone();
        InlineFn::<u64, u64, 48>::new(move |argument| {
            assert_eq!(Arc::strong_count(&counted), 2);
            if panics {
                resume_unwind(Box::new("on purpose"));
            }
            argument + padding.iter().map(|byte| u64::from(*byte)).sum::<u64>()
        })
    };

    assert_eq!(make(false).call(&1_000), 1_000 + sum, "{SIZE}: called");
    assert_eq!(Arc::strong_count(&counted), 1, "{SIZE}: called");

    drop(make(false));
    assert_eq!(Arc::strong_count(&counted), 1, "{SIZE}: dropped");

    let closure = make(true);
    let panic = catch_unwind(AssertUnwindSafe(|| closure.call(&1))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"), "{SIZE}: panicked");
    assert_eq!(Arc::strong_count(&counted), 1, "{SIZE}: panicked");

    let closure = make(false);
    let there = std::thread::scope(|scope| scope.spawn(move || closure.call(&2)).join().unwrap());
    assert_eq!((there, Arc::strong_count(&counted)), (2 + sum, 1), "{SIZE}: called on another thread");
}

#[test]
fn is_consumed_once_at_every_size() {
    check::<0>();
    check::<1>();
    check::<38>();
    check::<39>(); // With the pointer and the flag, 48 bytes: the last to lie inline.
    check::<40>();
    check::<1000>();
}

#[test]
fn holds_captures_of_any_alignment() {
    #[repr(align(64))]
    struct Wide(u8);
    let wide = Wide(7);
    let closure = InlineFn::<(), (u8, usize), 128>::new(move |()| {
        let wide = &wide;
        (wide.0, std::ptr::from_ref(wide).addr() % 64)
    });
    assert_eq!(closure.call(&()), (7, 0));
}

#[test]
fn needs_no_captures() {
    assert_eq!(InlineFn::<u8, u8, 8>::new(|argument| argument + 1).call(&1), 2);
    drop(InlineFn::<u8, u8, 8>::new(|argument| argument + 1));
}

#[test]
fn lends_its_argument_for_the_call_only() {
    let closure = InlineFn::<str, usize, 8>::new(str::len);
    let text = String::from("short-lived");
    assert_eq!(closure.call(&text), 11);
}

#[test]
fn is_one_cache_line_with_48_bytes() {
    assert_eq!(size_of::<InlineFn<u8, u8, 48>>(), 64);
    assert_eq!(size_of::<Option<InlineFn<str, String, 42>>>(), 64);
}

#[test]
fn keeps_its_label() {
    let mut closure = InlineFn::<u8, u8, 48>::new(|argument| argument + 1);
    assert_eq!(closure.label(), 0);
    for label in [LABEL_MAX, 0, 7] {
        closure.set_label(label);
        assert_eq!(closure.label(), label);
    }
    assert_eq!(closure.call(&1), 2);
}

#[test]
#[should_panic(expected = "LABEL_MAX")]
fn a_label_has_its_bounds() {
    InlineFn::<u8, u8, 48>::new(|argument| argument + 1).set_label(LABEL_MAX + 1);
}

/// Shifts a closure with `SIZE` bytes of captures besides a counted pointer from place to place, and ends it there.
#[track_caller]
fn check_places<const SIZE: usize>() {
    let counted = Arc::new(());
    let padding: [u8; SIZE] = std::array::from_fn(|index| (index as u8).wrapping_add(1));
    let make = |panics: bool| {
        let counted = counted.clone();
        let mut closure = InlineFn::<u64, u64, 48>::new(move |argument| {
            if panics {
                resume_unwind(Box::new("on purpose"));
            }
            argument + Arc::strong_count(&counted) as u64 + padding.iter().map(|byte| u64::from(*byte)).sum::<u64>()
        });
        closure.set_label(5);
        Some(closure)
    };
    let sum = padding.iter().map(|byte| u64::from(*byte)).sum::<u64>();

    let (mut first, mut second) = (make(false), None);
    InlineFn::shift(&mut first, &mut second);
    assert!(first.is_none());
    assert_eq!(second.as_ref().map(InlineFn::label), Some(5), "{SIZE}");
    InlineFn::shift(&mut first, &mut second);
    assert_eq!(InlineFn::call_in(&mut second, &10), Some(12 + sum), "{SIZE}: nothing is shifted as nothing");
    assert_eq!((InlineFn::call_in(&mut second, &10), Arc::strong_count(&counted)), (None, 1), "{SIZE}");

    let (mut first, mut second) = (make(false), make(false));
    InlineFn::shift(&mut first, &mut second);
    assert_eq!(Arc::strong_count(&counted), 2, "{SIZE}: what was there is dropped");
    drop(second);
    assert_eq!(Arc::strong_count(&counted), 1, "{SIZE}");

    let mut place = make(true);
    assert!(catch_unwind(AssertUnwindSafe(|| InlineFn::call_in(&mut place, &1))).is_err());
    assert!(place.is_none());
    assert_eq!(Arc::strong_count(&counted), 1, "{SIZE}: panicked");
}

#[test]
fn is_consumed_once_wherever_it_lies() {
    check_places::<0>();
    check_places::<7>(); // With the pointer and the flag, 16 bytes: the last to be whole in half a line.
    check_places::<8>();
    check_places::<39>();
    check_places::<1000>();
}
