//! Whatever the size, a closure is consumed exactly once: by a call, by a panic in it, or by being dropped.

use super::InlineFn;
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
fn is_one_cache_line_with_56_bytes() {
    assert_eq!(size_of::<InlineFn<u8, u8, 56>>(), 64);
    assert_eq!(size_of::<InlineFn<str, String, 50>>(), 64);
}
