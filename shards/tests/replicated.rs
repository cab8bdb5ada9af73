//! One value, a copy on each shard: on simulated shards.

use std::rc::Rc;
use std::time::Duration;

use shardwise_shards::{CallError, Replicated, Shard, Simulation};

#[track_caller]
fn check(seed: u64, count: usize, main: impl AsyncFn(Shard) + 'static) -> Vec<Option<Result<(), String>>> {
    let mut simulation = Simulation::new(seed);
    let program = simulation.start(count, async move |shard| {
        main(shard).await;
        Ok::<_, String>(())
    });
    simulation.run_to_end();
    program.results()
}

#[test]
fn a_change_is_read_everywhere_once_it_is_made() {
    let results = check(1, 3, async |shard| {
        let values = Replicated::new(&shard, Vec::new);
        if shard.number() == 2 {
            let before = values.read().unwrap();
            for number in 1..=100u64 {
                assert_eq!(values.update(move |values| values.push(number)).await, Ok(number));
                for other in 0..3 {
                    let there = shard.on(other, move |_| (values.version(), values.read().unwrap().len() as u64));
                    assert_eq!(there.await, Ok((Ok(number), number)));
                }
            }
            assert!(before.is_empty(), "what was read stays as it was");
        }
    });
    assert!(results.iter().all(|result| *result == Some(Ok(()))), "{results:?}");
}

#[test]
fn copies_never_go_back_and_end_alike_whoever_writes() {
    for seed in 0..20 {
        let results = check(seed, 4, async move |shard| {
            let counts = Replicated::new(&shard, || [0u64; 4]);
            let own = shard.number();
            let watch = shard.clone();
            let watching = shard.spawn(async move {
                let (mut version, mut seen) = (0, Rc::new([0; 4]));
                while seen.iter().sum::<u64>() < 4 * 25 {
                    let (now, next) = (counts.version().unwrap(), counts.read().unwrap());
                    assert!(now >= version && next.iter().zip(&*seen).all(|(new, old)| new >= old), "seed {seed}");
                    assert_eq!(next.iter().sum::<u64>(), now, "seed {seed}: a version is so many changes");
                    (version, seen) = (now, next);
                    watch.sleep(Duration::from_micros(1)).await;
                }
            });
            for _ in 0..25 {
                shard.sleep(Duration::from_micros(shard.random() % 3_000)).await;
                counts.update(move |counts| counts[own] += 1).await.unwrap();
            }
            watching.unwrap().await.unwrap();
            assert_eq!(*counts.read().unwrap(), [25; 4], "seed {seed}");
        });
        assert!(results.iter().all(|result| *result == Some(Ok(()))), "seed {seed}: {results:?}");
    }
}

#[test]
fn a_change_that_panics_changes_nothing_and_an_ended_shard_is_not_waited_for() {
    let results = check(1, 3, async |shard| {
        let value = Replicated::new(&shard, || 1);
        match shard.number() {
            1 => {
                let panics = value.update(|value| {
                    *value = 2;
                    std::panic::resume_unwind(Box::new("as it must"))
                });
                assert_eq!(panics.await, Err(CallError::Panicked("as it must".to_owned())));
                assert_eq!((value.version(), *value.read().unwrap()), (Ok(0), 1));
                shard.sleep(Duration::from_secs(2)).await;
                assert_eq!(value.update(|value| *value = 3).await, Ok(1));
                assert_eq!(*value.read().unwrap(), 3);
            }
            2 => {
                shard.sleep(Duration::from_secs(1)).await;
                shard.scope().cancel("enough");
                std::future::pending().await
            }
            _ => {}
        }
    });
    assert_eq!(results, [Some(Ok(())), Some(Ok(())), None]);
}
