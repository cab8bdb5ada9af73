//! Tasks that end with their group.

use super::*;
use crate::limits::GROUP_TASKS_MIN;

#[test]
fn a_group_ends_its_tasks_and_no_others() {
    let shard = Shard::new();
    let mut group = shard.tasks.group();
    let ended = Rc::new(Cell::new(0));
    let note = |ended: &Rc<Cell<u32>>| {
        OnDrop({
            let ended = Rc::clone(ended);
            move || ended.set(ended.get() + 1)
        })
    };
    for _ in 0..3 {
        let noted = note(&ended);
        group
            .spawn(async move {
                let _noted = noted;
                pending().await
            })
            .unwrap();
    }
    group.spawn(async {}).unwrap();
    shard.run();
    // It has the slot of the one that has ended.
    let other = shard.spawn(async {
        yield_now().await;
        7
    });
    assert_eq!(ended.get(), 0);
    drop(group);
    shard.run();
    assert_eq!(ended.get(), 3);
    assert_eq!(shard.join(other).unwrap(), 7);
    assert_eq!(shard.tasks.stats().live, 0);
}

#[test]
fn a_group_forgets_those_that_have_ended() {
    let shard = Shard::new();
    let mut group = shard.tasks.group();
    let kept: Vec<_> = (0..100).map(|_| Rc::new(())).collect();
    for kept in &kept {
        let kept = Rc::clone(kept);
        group
            .spawn(async move {
                pending::<()>().await;
                drop(kept);
            })
            .unwrap();
    }
    for _ in 0..10_000 {
        group.spawn(async {}).unwrap();
        shard.run();
        assert!(group.len() <= 2 * (100 + GROUP_TASKS_MIN), "{} are kept in mind", group.len());
    }
    assert!(kept.iter().all(|kept| Rc::strong_count(kept) == 2));
    drop(group);
    shard.run();
    assert!(kept.iter().all(|kept| Rc::strong_count(kept) == 1));
}
