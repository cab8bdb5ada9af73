//! An allocator that counts: what a program has not asked the heap for shows in no test otherwise.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts on threads that have asked for it.
struct Counting;

thread_local! {
    /// Allocations since the thread began to count; `None` if it does not.
    pub(crate) static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

fn count() {
    COUNT.set(COUNT.get().map(|count| count + 1));
}

// SAFETY: every call goes to the system's allocator as it came, so its promises are kept by that one; counting touches a
// thread-local that is made at compile time and has no destructor, so it neither allocates nor is ever gone.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises; `start` came from the system's allocator, as all do.
        unsafe { System.realloc(start, layout, bytes) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises; `start` came from the system's allocator, as all do.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
