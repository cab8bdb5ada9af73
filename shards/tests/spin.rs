//! A shard that may look for a while before it sleeps sees what the kernel has for it without sleeping, on every backend;
//! one that may not sleeps each time.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use platform::{BackendKind, Choice, Config, Op, select};
use shardwise_shards::limits::SPIN_TIME_MAX;
use shardwise_shards::{Runtime, Shard};

/// Short beside the time that the shard may look, long beside a turn.
const SLEEP_TIME: Duration = Duration::from_micros(50);

/// One wait in so many is caught on the most loaded machine.
const WAITS: usize = 200;

/// Waits for something that completes in the reactor, again and again. Gives how many of the waits were caught.
fn caught(kind: BackendKind, spin: Duration) -> u64 {
    let caught = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&caught);
    let run = Runtime::builder().shards(1).handle_signals(false).announce(false);
    let run = run.backend(Choice::Force(kind)).spin(spin).run(async move |shard: Shard| {
        for _ in 0..WAITS {
            let until = shard.clock() + SLEEP_TIME;
            let slept = shard.start(Op::Sleep { until }).expect("room for a sleep").await;
            slept.result.expect("it elapses");
        }
        told.store(shard.stats().caught.get(), Relaxed);
        Ok::<_, String>(())
    });
    run.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    caught.load(Relaxed)
}

#[test]
fn completions_are_caught_before_the_shard_sleeps() {
    for kind in [BackendKind::Uring, BackendKind::Epoll, BackendKind::Polling] {
        if let Err(error) = select(Choice::Force(kind), &Config::default()) {
            println!("skipped: {error}");
            continue;
        }
        assert_eq!(caught(kind, Duration::ZERO), 0, "{kind:?}: it may not look");
        let caught = caught(kind, SPIN_TIME_MAX);
        println!("{kind:?}: {caught} of {WAITS} caught");
        assert!((1..=WAITS as u64 + 8).contains(&caught), "{kind:?}: {caught} of {WAITS} caught");
    }
}
