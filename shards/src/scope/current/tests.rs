//! Who finds which scope, that nothing is made for who does not ask, and that nothing stays behind.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::Demand;
use crate::combine::defer;
use crate::{Cause, Scope, Shard, Simulation, TraceContext, yield_now};

/// Runs a test, and sees that no scope is left but the shard's own.
fn on_a_shard(test: impl AsyncFnOnce(Shard) + 'static) {
    Simulation::new(1).run(async |shard: Shard| {
        test(shard.clone()).await;
        yield_now().await;
        assert_eq!(shard.scopes(), 1, "all scopes are gone");
        assert_eq!(label(&shard), "shard");
    });
}

fn label(shard: &Shard) -> String {
    let text = format!("{:?}", shard.current_scope().unwrap());
    let label = text.split("label: ").nth(1).and_then(|rest| rest.split(',').next());
    label.unwrap().to_owned()
}

/// Runs `work` in a scope on demand, and gives it if it was made.
fn on_demand<R>(around: &Scope, demand: Demand, work: impl FnOnce() -> R) -> (R, Option<Scope>) {
    let entered = around.entered_on_demand(demand);
    let result = work();
    (result, entered.leave())
}

const NAMES: &[&str; 2] = &["connection", "request"];

fn demand() -> Demand {
    Demand { names: NAMES, numbers: [4, 17], deadline: None }
}

#[test]
fn a_task_finds_the_scope_it_was_spawned_in() {
    on_a_shard(async |shard| {
        let outer = shard.scope().child("outer").unwrap();
        let inner = outer.child("inner").unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let look = |wait: u32| {
            let (seen, shard) = (Rc::clone(&seen), shard.clone());
            async move {
                for _ in 0..wait {
                    yield_now().await;
                }
                seen.borrow_mut().push(label(&shard));
            }
        };
        let mut tasks = vec![outer.spawn(look(1)).unwrap(), inner.spawn(look(2)).unwrap()];
        let within = inner.run(look(3));
        let nested = async move { within.await.unwrap() };
        tasks.extend([outer.spawn(nested).unwrap(), outer.spawn(look(4)).unwrap()]);
        shard.spawn(look(5)).unwrap().await.unwrap();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(*seen.borrow(), ["outer", "inner", "inner", "outer", "shard"]);
    });
}

#[test]
fn scopes_nest_and_a_panic_leaves_them() {
    on_a_shard(async |shard| {
        let scope = shard.scope().child("scope").unwrap();
        let inner = scope.child("inner").unwrap();
        scope.enter(|| {
            inner.enter(|| assert_eq!(label(&shard), "inner"));
            let panicked = catch_unwind(AssertUnwindSafe(|| inner.enter(|| std::panic::resume_unwind(Box::new(())))));
            assert!(panicked.is_err());
            assert_eq!(label(&shard), "scope");
        });
    });
}

#[test]
fn a_scope_on_demand_is_made_once_and_only_if_asked_for() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let before = shard.scopes();
        let ((), made) = on_demand(&connections, demand(), || ());
        assert!(made.is_none());
        assert_eq!(shard.scopes(), before);

        let (query, made) = on_demand(&connections, demand(), || {
            assert_eq!(label(&shard), "request 17");
            assert_eq!(label(&shard), "request 17");
            assert_eq!(shard.scopes(), before + 2);
            shard.current_scope().unwrap().child("query").unwrap()
        });
        let request = made.unwrap();
        request.cancel("client disconnected");
        assert_eq!(query.reason().unwrap().to_string(), "client disconnected → request 17 → query");
        drop((query, request));
        assert_eq!(shard.scopes(), before, "and the connection's went with its request's");
    });
}

#[test]
fn a_scope_on_demand_lies_in_its_connection() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let request = connections.on_demand(demand()).unwrap();
        connections.cancel("the server ends");
        assert_eq!(request.reason().unwrap().to_string(), "the server ends → connections → connection 4 → request 17");
    });
}

#[test]
fn what_is_made_on_demand_is_cancelled_when_the_work_panics() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let kept = RefCell::new(None);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            on_demand(&connections, demand(), || {
                *kept.borrow_mut() = Some(shard.current_scope().unwrap());
                std::panic::resume_unwind(Box::new(()))
            })
        }));
        assert!(panicked.is_err());
        let kept = kept.into_inner().unwrap();
        assert_eq!(kept.reason().unwrap().cause, Cause::Dropped);
    });
}

/// Of several requests in a row each has a scope of its own, if it asks.
#[test]
fn what_follows_a_scope_that_was_made_makes_another() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let entered = connections.entered_on_demand(demand());
        assert!(entered.take_made().is_none());
        assert_eq!(label(&shard), "request 17");
        let first = entered.take_made().unwrap();
        entered.next(18, Some(shard.now()));
        assert!(!entered.has_made() && entered.take_made().is_none());
        let second = shard.current_scope().unwrap();
        assert_eq!((label(&shard), second.deadline()), ("request 18".to_owned(), Some(shard.now())));
        first.cancel("client disconnected");
        assert_eq!(second.reason(), None);
        drop(entered.take_made().unwrap());
        assert_eq!(second.reason().unwrap().cause, Cause::Dropped);
        assert!(entered.leave().is_none());
        assert_eq!(label(&shard), "shard");
    });
}

/// A nested scope is another one: asking there makes nothing outside.
#[test]
fn work_inside_work_asks_for_itself() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let inner: Scope = shard.scope().child("inner").unwrap();
        let ((), made) = on_demand(&connections, demand(), || inner.enter(|| assert_eq!(label(&shard), "inner")));
        assert!(made.is_none());
        let ((), made) = inner.enter(|| {
            let entered = on_demand(&connections, demand(), || assert_eq!(label(&shard), "request 17"));
            assert_eq!(label(&shard), "inner");
            entered
        });
        assert!(made.is_some());
    });
}

#[test]
fn deadline_and_trace_are_those_of_what_is_around() {
    on_a_shard(async |shard| {
        let trace = TraceContext::begin(&shard);
        let soon = shard.now() + Duration::from_secs(1);
        let connections = shard.scope().child("connections").unwrap().with_trace(trace);
        let limited = Demand { deadline: Some(soon), ..demand() };
        let ((), made) = on_demand(&connections, limited, || {
            // Known before anything is made.
            let before = shard.scopes();
            let along = shard.travelling();
            assert_eq!((along.deadline, along.trace.as_deref()), (Some(soon), Some(&trace)));
            assert_eq!(shard.scopes(), before);
            let scope = shard.current_scope().unwrap();
            assert_eq!((scope.deadline(), scope.trace()), (Some(soon), Some(trace)));
            let along = shard.travelling();
            assert_eq!((along.deadline, along.trace.as_deref()), (Some(soon), Some(&trace)));
        });
        let request = made.unwrap();
        let other = trace.child(&shard);
        let span = request.child("span").unwrap().with_trace(other);
        assert_eq!(span.child("inside").unwrap().trace(), Some(other));
        assert_eq!(request.trace(), Some(trace));
    });
}

#[test]
fn scopes_on_demand_nest() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let other = Demand { names: &["outer", "inner"], numbers: [1, 2], deadline: None };
        let ((), made) = on_demand(&connections, demand(), || {
            let ((), made) = on_demand(&connections, other, || assert_eq!(label(&shard), "inner 2"));
            assert!(made.is_some());
            let ((), made) = on_demand(&connections, other, || ());
            assert!(made.is_none());
            assert_eq!(label(&shard), "request 17");
            let ((), made) = on_demand(&connections, other, || assert_eq!(label(&shard), "inner 2"));
            assert!(made.is_some());
            assert_eq!(label(&shard), "request 17");
        });
        assert!(made.is_some());
    });
}

/// The outer one was made with the inner one's name and deadline.
#[test]
fn scopes_on_demand_nest_with_another_between() {
    on_a_shard(async |shard| {
        let connections = shard.scope().child("connections").unwrap();
        let between = connections.child("between").unwrap();
        let other = Demand { names: &["outer", "inner"], numbers: [1, 2], deadline: Some(shard.now()) };
        let (deadline, made) = on_demand(&connections, demand(), || {
            between.enter(|| {
                let (deadline, made) = on_demand(&connections, other, || shard.current_scope().unwrap().deadline());
                assert_eq!((deadline, made.is_some(), label(&shard)), (other.deadline, true, "between".to_owned()));
            });
            assert_eq!(label(&shard), "request 17");
            shard.current_scope().unwrap().deadline()
        });
        assert_eq!((deadline, made.is_some()), (None, true));
    });
}

/// What is dropped with a task runs no more in its scope.
#[test]
fn what_is_dropped_by_a_cancellation_belongs_to_nobody() {
    on_a_shard(async |shard| {
        let scope = shard.scope().child("scope").unwrap();
        let seen = Rc::new(RefCell::new(String::new()));
        let drops = {
            let (seen, shard) = (Rc::clone(&seen), shard.clone());
            defer(move || *seen.borrow_mut() = label(&shard))
        };
        let task = scope.spawn(async move {
            let _drops = drops;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        scope.cancel("enough");
        assert!(task.unwrap().await.unwrap().is_err());
        assert_eq!(*seen.borrow(), "shard");
    });
}
