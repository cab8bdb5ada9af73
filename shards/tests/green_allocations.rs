//! In the steady state a green thread costs no heap allocation and no mapping: counted on a shard's thread.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod counting;

use counting::COUNT;
use shardwise_shards::{Runtime, Shard, Wait, yield_now};

/// Green threads one after another, and at once.
const THREADS: u64 = 1_000;
const AT_ONCE: u64 = 50;

/// Starts green threads, one after another and many at once, each of which waits a few times.
async fn work(shard: &Shard, handles: &mut Vec<shardwise_shards::JoinHandle<u64>>) {
    for number in 0..THREADS {
        let green = shard.green(move || {
            yield_now().wait().expect("nobody cancels");
            number
        });
        assert_eq!(green.expect("a stack").await.expect("it returns"), number);
    }
    let scope = shard.scope().child("crowd").expect("room for a scope");
    for number in 0..AT_ONCE {
        let clock = shard.clone();
        let body = move || {
            for _ in 0..3 {
                clock.sleep(std::time::Duration::from_micros(10 * number)).wait().expect("nobody cancels");
            }
            number
        };
        handles.push(scope.green(body).expect("a stack"));
    }
    for handle in handles.drain(..) {
        handle.await.expect("it returns");
    }
}

#[test]
fn green_threads_use_stacks_and_memory_again() {
    let run = Runtime::builder().shards(1).handle_signals(false).announce(false);
    let run = run.run(async |shard: Shard| {
        let mut handles = Vec::new();
        work(&shard, &mut handles).await;
        let before = shard.green_stats();
        assert_eq!((before.mapped, before.used), (AT_ONCE as usize, 0));
        COUNT.set(Some(0));
        work(&shard, &mut handles).await;
        let allocated = COUNT.take().expect("it counts");
        assert_eq!((allocated, shard.green_stats()), (0, before));
        Ok::<_, String>(())
    });
    run.expect("it runs to its end");
}
