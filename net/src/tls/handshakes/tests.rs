//! How many steps a turn takes, and that all are taken.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;

use shards::{Shard, Simulation};

use super::Steps;
use crate::limits::TLS_STEPS_PER_TURN_MAX;

#[test]
fn a_turn_takes_so_many_steps_and_others_are_not_kept_waiting() {
    Simulation::new(1).run(async |shard: Shard| {
        let (steps, taken) = (Rc::<Steps>::default(), Rc::<RefCell<BTreeMap<u64, u32>>>::default());
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (steps, taken, shard) = (Rc::clone(&steps), Rc::clone(&taken), shard.clone());
                let task = shard.clone().spawn(async move {
                    for _ in 0..3 {
                        poll_fn(|cx| steps.poll_step(cx, &shard)).await;
                        *taken.borrow_mut().entry(shard.turn_number()).or_default() += 1;
                    }
                });
                task.expect("room for a task")
            })
            .collect();
        // Some of those who wait leave.
        let mut tasks = tasks.into_iter();
        for task in tasks.by_ref().take(5) {
            task.abort();
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        let taken = taken.borrow();
        assert!(taken.values().all(|&count| count <= TLS_STEPS_PER_TURN_MAX), "{taken:?}");
        assert!(taken.values().sum::<u32>() >= 135);
        // Nothing is wasted either, but at the end.
        assert!(taken.len() as u32 <= 150 / TLS_STEPS_PER_TURN_MAX + 4, "{taken:?}");
    });
}
