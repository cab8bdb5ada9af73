//! In the steady state the mesh costs no heap allocation, on neither side, where closures and values fit into a message:
//! counted on two shards' threads while one calls the other.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod counting;

use counting::COUNT;
use shardwise_shards::{PerShard, Runtime, Shard, yield_now};

/// Calls of each kind that are counted, and before that: what is made once and kept is made then.
const CALLS: u64 = 2_000;

/// What both shards allocate while `work` runs for the second time.
async fn check(shard: &Shard, name: &str, expect: u64, work: impl AsyncFn()) {
    for is_counted in [false, true] {
        shard.on(1, |_| COUNT.set(Some(0))).await.expect("the peer lives");
        COUNT.set(Some(0));
        work().await;
        let here = COUNT.take().expect("it counts");
        let there = shard.on(1, |_| COUNT.take().expect("it counts")).await.expect("the peer lives");
        if is_counted {
            assert_eq!((here, there), (expect, 0), "{name}: allocations of the caller and of the other shard");
        }
    }
}

#[test]
fn what_fits_into_a_message_never_touches_the_heap() {
    let run = Runtime::builder().shards(2).oversubscribe(true).handle_signals(false).announce(false);
    let run = run.run(async |shard: Shard| {
        let numbers = PerShard::new(&shard, || 0u64);
        if shard.number() == 1 {
            return Ok(());
        }
        check(&shard, "calls", 0, async || {
            for number in 0..CALLS {
                let captures = [number; 6];
                assert_eq!(shard.on(1, move |_| captures).await, Ok(captures));
            }
        })
        .await;
        check(&shard, "one-way closures", 0, async || {
            for number in 0..CALLS {
                let add = move |there: &Shard| _ = std::hint::black_box((there, [number; 6]));
                shard.post(1, add).await.expect("the peer lives");
            }
        })
        .await;
        check(&shard, "calls that run as tasks", 0, async || {
            for number in 0..CALLS {
                let later = async move |_| {
                    yield_now().await;
                    number
                };
                assert_eq!(shard.on_async(1, later).await, Ok(number));
            }
        })
        .await;
        check(&shard, "calls of a part", 0, async || {
            for number in 0..CALLS {
                let set = move |part: &mut u64| std::mem::replace(part, number);
                assert!(numbers.on_mut(1, set).await.is_ok());
                assert!(numbers.at_key(&number, |part| *part).await.is_ok());
            }
        })
        .await;
        check(&shard, "what is too large", CALLS, async || {
            for number in 0..CALLS {
                let captures = [number; 7];
                assert_eq!(shard.on(1, move |_| captures[6]).await, Ok(number));
            }
        })
        .await;
        Ok::<_, String>(())
    });
    run.expect("it runs to its end");
}
