//! In the steady state an offloaded job costs two heap allocations: its own, on the shard, and what tells it that it is
//! cancelled, on the pool's thread. Counted on both.

#![allow(unsafe_code)]
#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use shardwise_shards::{Runtime, Shard};

/// Jobs that are counted, and before that: what is made once and kept is made then.
const JOBS: u64 = 1_000;

/// The system's allocator, which counts on threads that have asked for it.
struct Counting;

thread_local! {
    /// Allocations since the thread began to count; `None` if it does not.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
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

async fn jobs(shard: &Shard) {
    for number in 0..JOBS {
        assert_eq!(shard.offload(move || number).await.expect("there is room for a job"), number);
    }
}

#[test]
fn a_job_costs_an_allocation_here_and_one_there() {
    let run = Runtime::builder().shards(1).handle_signals(false).announce(false).offload_threads(1);
    let run = run.run(async |shard: Shard| {
        jobs(&shard).await;
        shard.offload(|| COUNT.set(Some(0))).await.expect("there is room for a job");
        COUNT.set(Some(0));
        jobs(&shard).await;
        let here = COUNT.take().expect("it counts");
        let there = shard.offload(|| COUNT.take().expect("it counts")).await.expect("there is room for a job");
        // The job that asks has been told how it is cancelled, too.
        assert_eq!((here, there), (JOBS, JOBS + 1), "allocations of the shard and of the pool's thread");
        Ok::<_, String>(())
    });
    run.expect("it runs to its end");
}
