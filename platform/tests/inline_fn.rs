//! What fits inline costs no heap: counted by the allocator.

#![allow(unsafe_code)]
// One count per thread, or the test harness's own allocations would be counted too.
#![allow(clippy::disallowed_macros)]

use shardwise_platform::inline_fn::InlineFn;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

// SAFETY: every call goes on to the system's allocator as it came. The count is a thread-local without destructor or
// lazy initialisation, so touching it neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: our caller promises what `System` demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: our caller promises what `System` demands, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Makes, moves, calls and drops closures with `SIZE` bytes of captures, each of which may allocate `expect` times.
#[track_caller]
fn check<const SIZE: usize>(expect: usize) {
    let make = || {
        let captures = [1u8; SIZE];
        InlineFn::<usize, usize, 48>::new(move |argument| {
            argument + captures.iter().map(|c| usize::from(*c)).sum::<usize>()
        })
    };
    let before = ALLOCATIONS.get();
    let called = std::hint::black_box(make()).call(&1);
    drop(std::hint::black_box(make()));
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(called, 1 + SIZE);
    assert_eq!(allocations, 2 * expect, "{SIZE} bytes");
}

#[test]
fn only_what_does_not_fit_is_boxed() {
    check::<0>(0);
    check::<1>(0);
    check::<48>(0);
    check::<49>(1);
    check::<4096>(1);
}
