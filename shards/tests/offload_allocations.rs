//! In the steady state an offloaded job costs two heap allocations: its own, on the shard, and what tells it that it is
//! cancelled, on the pool's thread. Counted on both.

#![allow(clippy::disallowed_macros, reason = "an allocator can ask only its thread whether it counts")]

mod counting;

use counting::COUNT;
use shardwise_shards::{Runtime, Shard};

/// Jobs that are counted, and before that: what is made once and kept is made then.
const JOBS: u64 = 200;

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
