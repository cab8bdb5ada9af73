//! The current scope: which scope the code that runs at this moment belongs to.
//!
//! The one idea: whoever polls work says whose it is, so that the work, and what it calls however far inside, need not be
//! handed its scope to find it. Two polls say so: that of [`ScopeHandle::run`], and with it of every task spawned in a scope;
//! and that of whoever [`enter`](ScopeHandle::enter)s one by himself, as a connection does for its requests. A plain task
//! belongs to the shard's own scope.
//!
//! Much work never asks. So a scope may be on demand: what is entered then is a few numbers, and the nodes are made
//! when someone wants to know.

use std::rc::Rc;
use std::time::Instant;

use platform::arena::Key;

use super::{Label, Scope, ScopeHandle, ScopesFull, Tree};
use crate::{Shard, TraceContext};

/// A scope that is made when someone asks for it, inside one that is made along with it.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// The kind of the outer scope and of the inner one.
    pub names: &'static [&'static str; 2],
    /// Which ones of their kinds.
    pub numbers: [u64; 2],
    /// When the work must be done.
    pub deadline: Option<Instant>,
}

/// Whose the work is that runs now.
#[derive(Clone, Copy)]
pub(super) enum Current {
    Scope(Key),
    /// Of a scope that is to be made in this one.
    Demand(Key, Demand),
}

/// What a call takes along of the work that makes it.
pub(crate) struct Travelling {
    pub(crate) deadline: Option<Instant>,
    /// Behind a pointer, since most calls have none, and room in a message is dear.
    pub(crate) trace: Option<Box<TraceContext>>,
}

impl Shard {
    /// The scope that the caller runs in: of a handler and all that it awaits its request's, of a task that was spawned in a
    /// scope that one, and of a closure or future from another shard its call's. Elsewhere it is the shard's own.
    ///
    /// ```
    /// use shardwise_shards::{Simulation, TraceContext};
    ///
    /// Simulation::new(1).run(async |shard| {
    ///     let trace = TraceContext::begin(&shard);
    ///     let job = shard.scope().child("job").unwrap().with_trace(trace);
    ///     let deep_inside = async || shard.current_scope().unwrap().trace();
    ///     assert_eq!(job.run(deep_inside()).await.unwrap(), Some(trace));
    ///     assert_eq!(deep_inside().await, None);
    /// });
    /// ```
    ///
    /// Errors: it is to be made first, and the shard has as many as it admits.
    pub fn current_scope(&self) -> Result<ScopeHandle, ScopesFull> {
        let tree = self.scope_tree();
        match tree.current.get() {
            Current::Scope(key) => Ok(ScopeHandle::on(tree, key)),
            Current::Demand(within, demand) => {
                let made = ScopeHandle::on(tree, within).on_demand(demand)?;
                let handle = made.handle();
                tree.current.set(Current::Scope(made.into_key()));
                Ok(handle)
            }
        }
    }

    /// What a call takes along. It makes no scope.
    pub(crate) fn travelling(&self) -> Travelling {
        let tree = self.scope_tree();
        match tree.current.get() {
            Current::Scope(key) => Travelling::of(tree, key),
            Current::Demand(within, demand) => {
                let around = Travelling::of(tree, within);
                Travelling { deadline: earlier(around.deadline, demand.deadline), ..around }
            }
        }
    }
}

impl ScopeHandle {
    /// Runs `work` in this scope: it is the [current](Shard::current_scope) one until `work` returns. Nothing ends
    /// `work` when the scope is cancelled.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = Entered::new(&self.tree, Current::Scope(self.key));
        work()
    }

    /// Runs `work` in a scope that is made inside this one if someone asks for it, and is given back then.
    pub fn enter_on_demand<R>(&self, demand: Demand, work: impl FnOnce() -> R) -> (R, Option<Scope>) {
        let mut entered = Entered::new(&self.tree, Current::Demand(self.key, demand));
        let result = work();
        let made = entered.leave();
        (result, made)
    }

    /// Makes such a scope at once.
    ///
    /// Errors: the shard has as many as it admits.
    pub fn on_demand(&self, demand: Demand) -> Result<Scope, ScopesFull> {
        let Demand { names: [outer, inner], numbers: [outer_number, inner_number], deadline } = demand;
        // The inner one holds the outer, which nobody needs by itself.
        let outer = self.labelled_child(Label { name: outer, number: Some(outer_number) })?;
        let made = outer.labelled_child(Label { name: inner, number: Some(inner_number) })?;
        outer.detach();
        Ok(match deadline {
            Some(deadline) => made.with_deadline(deadline),
            None => made,
        })
    }
}

impl Scope {
    /// Leaves the right to end it to whoever makes it a scope again: whoever has entered it, when he leaves.
    fn into_key(self) -> Key {
        let key = self.key;
        self.tree.with(|inside| {
            let node = inside.at(key);
            (node.holders, node.is_detached) = (node.holders + 1, true);
        });
        key
    }

    fn from_key(tree: &Rc<Tree>, key: Key) -> Scope {
        tree.with(|inside| inside.at(key).is_detached = false);
        Scope { handle: ScopeHandle { tree: Rc::clone(tree), key } }
    }
}

impl Travelling {
    pub(crate) const NOTHING: Travelling = Travelling { deadline: None, trace: None };

    fn of(tree: &Rc<Tree>, key: Key) -> Self {
        let (deadline, trace) = tree.with(|inside| {
            let node = inside.at(key);
            (node.deadline, node.trace.as_deref().copied())
        });
        Travelling { deadline, trace: trace.map(Box::new) }
    }

    pub(crate) fn with(scope: &ScopeHandle) -> Self {
        Travelling::of(&scope.tree, scope.key)
    }

    /// Gives it to a scope.
    pub(crate) fn arrive(self, scope: Scope) -> Scope {
        let scope = match self.deadline {
            Some(deadline) => scope.with_deadline(deadline),
            None => scope,
        };
        match self.trace {
            Some(trace) => scope.with_trace(*trace),
            None => scope,
        }
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Puts things back as they were, also when the work panics.
struct Entered<'t> {
    tree: &'t Rc<Tree>,
    /// `None` once it has been left.
    before: Option<Current>,
    is_on_demand: bool,
}

impl<'t> Entered<'t> {
    #[inline]
    fn new(tree: &'t Rc<Tree>, current: Current) -> Self {
        let is_on_demand = matches!(current, Current::Demand(..));
        Entered { tree, before: Some(tree.current.replace(current)), is_on_demand }
    }

    /// Gives the scope that was made meanwhile.
    #[inline]
    fn leave(&mut self) -> Option<Scope> {
        let current = self.tree.current.replace(self.before.take()?);
        match current {
            Current::Scope(key) if self.is_on_demand => Some(Scope::from_key(self.tree, key)),
            _ => None,
        }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        drop(self.leave());
    }
}

#[cfg(test)]
mod tests;
