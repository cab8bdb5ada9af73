//! What is cancelled with what, who waits at which gate, and that nothing stays behind.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::{Cancelled, Cause, Scope};
use crate::combine::defer;
use crate::limits::WAKERS_KEPT_MAX;
use crate::{JoinError, Shard, Simulation, yield_now};

/// Runs a test, and sees that no scope is left but the shard's own.
fn on_a_shard(test: impl AsyncFnOnce(Shard) + 'static) {
    Simulation::new(1).run(async |shard: Shard| {
        test(shard.clone()).await;
        yield_now().await;
        assert_eq!(shard.scopes(), 1, "all scopes are gone");
    });
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn asked(why: &'static str) -> Cancelled {
    Cancelled { cause: Cause::Asked(why) }
}

#[test]
fn cancelling_reaches_all_inside_and_nothing_outside() {
    on_a_shard(async |shard| {
        let outer = shard.scope().child("outer").unwrap();
        let inner = outer.child("inner").unwrap();
        let beside = shard.scope().child("beside").unwrap();
        let tasks: Vec<_> = [&*outer, &*inner, &*beside].map(|scope| scope.spawn(pending::<()>()).unwrap()).into();
        yield_now().await;
        outer.cancel("enough");
        outer.cancel("more than enough");
        let mut ended = tasks.into_iter();
        assert_eq!(ended.next().unwrap().await.unwrap(), Err(asked("enough")), "the first cause stays");
        assert_eq!(ended.next().unwrap().await.unwrap(), Err(asked("enough")));
        assert!(!beside.is_cancelled() && beside.check().is_ok());
        assert_eq!(inner.child("late").unwrap().check(), Err(asked("enough")), "a late child is cancelled");
        assert_eq!(inner.run(async { panic!("what is cancelled does not begin") }).await, Err(asked("enough")));
    });
}

#[test]
fn a_reason_reads_from_where_it_was_cancelled_inward() {
    on_a_shard(async |shard| {
        let connection = shard.scope().child("connection").unwrap().numbered(4);
        let request = connection.child("request").unwrap().numbered(17);
        let query = request.child("query").unwrap();
        assert_eq!(query.reason(), None);
        request.cancel("client disconnected");
        assert_eq!(query.reason().unwrap().to_string(), "client disconnected → request 17 → query");
        assert_eq!(connection.reason(), None);
        connection.cancel("shutdown");
        assert_eq!(query.reason().unwrap().cause, Cause::Asked("client disconnected"), "the first cause stays");
    });
}

#[test]
fn a_deadline_ends_all_that_has_it() {
    on_a_shard(async |shard| {
        let start = shard.now();
        let request = shard.scope().child("request").unwrap().with_deadline(start + seconds(2));
        let later = request.child("later").unwrap().with_deadline(start + seconds(9));
        let sooner = request.child("sooner").unwrap().with_deadline(start + seconds(1));
        assert_eq!(later.deadline(), Some(start + seconds(2)), "no later than what is around it");
        let tasks = [&later, &sooner].map(|scope| scope.spawn(pending::<()>()).unwrap());
        let [later_task, sooner_task] = tasks;
        assert_eq!(sooner_task.await.unwrap(), Err(Cancelled { cause: Cause::Deadline }));
        assert!(shard.now() - start < seconds(2) && !request.is_cancelled(), "its own deadline is its own");
        assert_eq!(later_task.await.unwrap(), Err(Cancelled { cause: Cause::Deadline }));
        assert!(shard.now() - start >= seconds(2) && shard.now() - start < seconds(3));
        assert_eq!(later.reason().unwrap().to_string(), "the deadline passed → request → later");
    });
}

#[test]
fn who_awaits_nothing_sees_the_deadline_all_the_same() {
    on_a_shard(async |shard| {
        let scope = shard.scope().child("work").unwrap().with_deadline(shard.now() + seconds(1));
        assert!(scope.check().is_ok());
        shard.sleep(seconds(2)).await;
        assert_eq!(scope.check(), Err(Cancelled { cause: Cause::Deadline }));
    });
}

#[test]
fn a_scope_that_is_dropped_is_cancelled_and_its_parent_waits_for_what_remains() {
    on_a_shard(async |shard| {
        let outer = shard.scope().child("outer").unwrap();
        let cleaned = Rc::new(Cell::new(false));
        let inner = outer.child("inner").unwrap();
        let task = {
            let (pass, cleaned, inside, shard) = (inner.pass(), Rc::clone(&cleaned), inner.handle(), shard.clone());
            shard.clone().spawn(async move {
                let cancelled = inside.cancelled().await;
                shard.sleep(seconds(1)).await;
                cleaned.set(true);
                drop(pass);
                cancelled
            })
        };
        yield_now().await;
        drop(inner);
        assert_eq!(outer.passes(), 1);
        outer.gate().await;
        assert!(cleaned.get(), "the gate waited");
        assert_eq!(task.unwrap().await.unwrap(), Cancelled { cause: Cause::Dropped });
    });
}

#[test]
fn a_detached_scope_ends_with_its_parent() {
    on_a_shard(async |shard| {
        let outer = shard.scope().child("outer").unwrap();
        let inner = outer.child("inner").unwrap();
        let task = inner.spawn(pending::<()>()).unwrap();
        inner.detach();
        yield_now().await;
        assert!(!task.is_finished());
        outer.cancel("enough");
        assert_eq!(task.await.unwrap(), Err(asked("enough")));
    });
}

#[test]
fn gates_wait_for_passes_at_any_depth() {
    on_a_shard(async |shard| {
        let outer = shard.scope().child("outer").unwrap();
        outer.gate().await;
        let mut scopes = vec![outer.handle()];
        for _ in 0..10 {
            let inner = scopes.last().unwrap().child("inner").unwrap();
            scopes.push(inner.handle());
            inner.detach();
        }
        for wait in 1..=3 {
            let (pass, sleeper) = (scopes.last().unwrap().pass(), shard.clone());
            let held = async move {
                sleeper.sleep(seconds(wait)).await;
                drop(pass);
            };
            shard.spawn(held).unwrap().detach();
        }
        assert_eq!((outer.passes(), scopes.last().unwrap().passes()), (1, 3));
        let start = shard.now();
        outer.gate().await;
        assert!(shard.now() - start >= seconds(3));
        assert_eq!(outer.passes(), 0);
    });
}

#[test]
fn calls_are_made_once_and_only_on_cancellation() {
    on_a_shard(async |shard| {
        let said = Rc::new(RefCell::new(Vec::new()));
        let say = |text: &'static str| {
            let said = Rc::clone(&said);
            move || said.borrow_mut().push(text)
        };
        let scope = shard.scope().child("scope").unwrap();
        let kept = scope.on_cancel(say("kept"));
        drop(scope.on_cancel(say("let go")));
        scope.cancel("enough");
        scope.cancel("enough");
        let late = scope.on_cancel(say("late"));
        drop((kept, late));
        assert_eq!(*said.borrow(), ["kept", "late"]);
    });
}

#[test]
fn a_call_may_use_the_scopes() {
    on_a_shard(async |shard| {
        let scope = shard.scope().child("scope").unwrap();
        let made = Rc::new(RefCell::new(None::<Scope>));
        let call = {
            let (inside, made) = (scope.handle(), Rc::clone(&made));
            scope.on_cancel(move || *made.borrow_mut() = Some(inside.child("made while cancelling").unwrap()))
        };
        scope.cancel("enough");
        assert!(made.take().unwrap().is_cancelled());
        drop(call);
    });
}

#[test]
fn work_that_cancels_its_own_scope_ends() {
    on_a_shard(async |shard| {
        let scope = shard.scope().child("scope").unwrap();
        let inside = scope.handle();
        let task = scope.spawn(async move {
            inside.cancel("myself");
            pending::<()>().await;
        });
        assert_eq!(task.unwrap().await.unwrap(), Err(asked("myself")));
    });
}

#[test]
fn a_task_that_panics_opens_its_gate() {
    on_a_shard(async |shard| {
        let scope = shard.scope().child("scope").unwrap();
        let task = scope.spawn(async { std::panic::resume_unwind(Box::new("on purpose")) }).unwrap();
        scope.gate().await;
        assert!(matches!(task.await, Err(JoinError::Panicked(_))));
    });
}

/// A hundred thousand tasks in scopes nested anyhow: all are dropped, and their gate opens.
#[test]
fn cancelling_a_tree_of_many_tasks_leaves_nothing() {
    const COUNT: usize = 100_000;
    on_a_shard(async |shard| {
        let root = shard.scope().child("root").unwrap();
        let dropped = Rc::new(Cell::new(0));
        let mut scopes = vec![root.handle()];
        for number in 0..COUNT {
            if number % 100 == 0 {
                let around = &scopes[shard.random() as usize % scopes.len()];
                let scope = around.child("branch").unwrap();
                scopes.push(scope.handle());
                scope.detach();
            }
            let drops = {
                let dropped = Rc::clone(&dropped);
                defer(move || dropped.set(dropped.get() + 1))
            };
            let work = async move {
                let _drops = drops;
                pending::<()>().await;
            };
            scopes.last().unwrap().spawn(work).unwrap().detach();
        }
        drop(scopes);
        yield_now().await;
        const { assert!(COUNT > WAKERS_KEPT_MAX, "more than memory is kept for") };
        root.cancel("enough");
        root.gate().await;
        assert_eq!(dropped.get(), COUNT);
    });
}

/// A chain deeper than a stack is cancelled and let go of without recursion.
#[test]
fn a_deep_chain_is_cancelled_and_let_go() {
    on_a_shard(async |shard| {
        let root = shard.scope().child("root").unwrap();
        let mut innermost = root.handle();
        for _ in 0..100_000 {
            let scope = innermost.child("deeper").unwrap();
            innermost = scope.handle();
            scope.detach();
        }
        let pass = innermost.pass();
        root.cancel("enough");
        assert!(innermost.is_cancelled());
        drop(pass);
        root.gate().await;
        drop((innermost, root));
    });
}
