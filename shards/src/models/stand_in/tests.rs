//! Stand-ins by themselves: one that has a stack stops, and one that has none says what to do.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{Model, Shard, Wait, model, panic_text, yield_now};

#[test]
fn it_stops_where_a_thread_would_park_and_goes_on() {
    let stand_ins = StandIns::in_pool(&Machine::new(1), StackSize::default(), 1);
    for _ in 0..3 {
        let passed = Rc::new(Cell::new(0));
        let inside = Rc::clone(&passed);
        let work = move || {
            inside.set(1);
            yield_now().wait().unwrap();
            inside.set(2);
        };
        let mut stand_in = stand_ins.run(work).expect("it waits");
        assert_eq!((passed.get(), model(), stand_in.is_ready()), (1, Model::Thread, true));
        assert!(stand_in.go_on());
        assert_eq!((passed.get(), stand_ins.stacks.stats().used), (2, 0));
    }
    assert!(stand_ins.run(|| ()).is_none(), "it has not waited");
    assert_eq!(stand_ins.stacks.stats().mapped, 1);
}

#[test]
fn without_a_stack_work_that_does_not_wait_runs_and_a_wait_names_the_remedy() {
    let stand_ins = StandIns::in_pool(&Machine::new(1), StackSize::default(), 0);
    let found = Rc::new(Cell::new(None));
    let inside = Rc::clone(&found);
    let stopped = stand_ins.run(move || {
        let here = Shard::here();
        let waited = catch_unwind(AssertUnwindSafe(|| yield_now().wait()));
        inside.set(Some((model(), here.backend(), waited)));
    });
    assert!(stopped.is_none());
    let (model, backend, waited) = found.take().expect("it has run");
    assert_eq!((model, backend), (Model::Offload, platform::BackendKind::Sim));
    let text = panic_text(&*waited.expect_err("it cannot wait")).to_owned();
    assert!(text.contains("needs a stack to stop on") && text.contains("await the rest in the task"), "{text}");
}
