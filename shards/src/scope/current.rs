//! The current scope: which scope the code that runs at this moment belongs to.
//!
//! The one idea: whoever polls work says whose it is, so that the work, and what it calls however far inside, need not be
//! handed its scope to find it. Two polls say so: that of [`ScopeHandle::run`], and with it of every task spawned in a scope;
//! and that of whoever [`enter`](ScopeHandle::enter)s one by himself, as a connection does for its requests. A plain task
//! belongs to the shard's own scope.
//!
//! Much work never asks. So a scope may be on demand: what is entered then is a few numbers, and the nodes are made
//! when someone wants to know.

use std::cell::Cell;
use std::fmt;
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
    pub numbers: [u32; 2],
    /// When the work must be done.
    pub deadline: Option<Instant>,
}

/// Whose the work is that runs now. To enter a scope on demand writes these and reads one: half the work of a request that
/// asks for nothing would else be to save what nobody wants back.
pub(super) struct Current {
    scope: Cell<Key>,
    /// Scopes on demand that have been entered and not left.
    on_demand: Cell<u32>,
    /// What is to be made, and in which scope, while `scope` says so. In parts, so that nothing is put together first.
    within: Cell<Key>,
    names: Cell<&'static [&'static str; 2]>,
    numbers: Cell<[u32; 2]>,
    deadline: Cell<Option<Instant>>,
}

/// In place of a scope: it is to be made. No scope has this index.
const TO_BE_MADE: Key = Key { index: u32::MAX, generation: 0 };

fn is_to_be_made(key: Key) -> bool {
    key.index == TO_BE_MADE.index
}

impl Current {
    pub(super) fn new(root: Key) -> Self {
        Current {
            scope: Cell::new(root),
            on_demand: Cell::new(0),
            within: Cell::new(root),
            names: Cell::new(&["", ""]),
            numbers: Cell::default(),
            deadline: Cell::default(),
        }
    }

    /// The scope, or what is to be made.
    fn get(&self) -> Result<Key, (Key, Demand)> {
        match self.scope.get() {
            key if is_to_be_made(key) => Err(self.demand()),
            key => Ok(key),
        }
    }

    fn demand(&self) -> (Key, Demand) {
        let (names, numbers, deadline) = (self.names.get(), self.numbers.get(), self.deadline.get());
        (self.within.get(), Demand { names, numbers, deadline })
    }

    #[inline(always)]
    fn set_demand(&self, within: Key, Demand { names, numbers, deadline }: Demand) {
        self.within.set(within);
        self.names.set(names);
        self.numbers.set(numbers);
        self.deadline.set(deadline);
    }
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
            Ok(key) => Ok(ScopeHandle::on(tree, key)),
            Err((within, demand)) => {
                let made = ScopeHandle::on(tree, within).on_demand(demand)?;
                let handle = made.handle();
                tree.current.scope.set(made.into_key());
                Ok(handle)
            }
        }
    }

    /// What a call takes along. It makes no scope.
    pub(crate) fn travelling(&self) -> Travelling {
        let tree = self.scope_tree();
        match tree.current.get() {
            Ok(key) => Travelling::of(tree, key),
            Err((within, demand)) => {
                let around = Travelling::of(tree, within);
                Travelling { deadline: earlier(around.deadline, demand.deadline), ..around }
            }
        }
    }
}

impl ScopeHandle {
    /// Runs `work` in this scope: it is the [current](Shard::current_scope) one until `work` returns. Nothing ends
    /// `work` when the scope is cancelled.
    #[inline]
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let current = &self.tree.current;
        let _back = Back(current, current.scope.replace(self.key));
        work()
    }

    /// Enters this scope until what is returned is dropped, before the task gives way to another.
    #[inline]
    pub fn entered(&self) -> Entered {
        let before = self.tree.current.scope.replace(self.key);
        Entered { tree: Rc::clone(&self.tree), before, is_on_demand: false, has_left: false, kept: None }
    }

    /// Enters a scope that is made inside this one if someone asks for it, and that [`leave`](Entered::leave) gives back.
    #[inline(always)]
    pub fn entered_on_demand(&self, demand: Demand) -> Entered {
        let current = &self.tree.current;
        let before = current.scope.replace(TO_BE_MADE);
        // An outer one may yet have to be made, also if scopes of the usual kind lie between.
        let kept = if current.on_demand.replace(current.on_demand.get() + 1) > 0 { keep(current) } else { None };
        current.set_demand(self.key, demand);
        Entered { tree: Rc::clone(&self.tree), before, is_on_demand: true, has_left: false, kept }
    }

    /// Makes such a scope at once.
    ///
    /// Errors: the shard has as many as it admits.
    pub fn on_demand(&self, demand: Demand) -> Result<Scope, ScopesFull> {
        let Demand { names: [outer, inner], numbers: [outer_number, inner_number], deadline } = demand;
        let label = |name, number: u32| Label { name, number: Some(number.into()) };
        // The inner one holds the outer, which nobody needs by itself.
        let outer = self.labelled_child(label(outer, outer_number))?;
        let made = outer.labelled_child(label(inner, inner_number))?;
        outer.detach();
        Ok(match deadline {
            Some(deadline) => made.with_deadline(deadline),
            None => made,
        })
    }
}

/// Makes this scope, or that one is to be made, the current one again when dropped.
struct Back<'t>(&'t Current, Key);

impl Drop for Back<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.scope.set(self.1);
    }
}

/// Runs `stop`, in which a green thread stops and others run: the current scope is the same again afterwards, also if it is
/// unwound from there.
#[inline]
pub(crate) fn across(shard: &Shard, stop: impl FnOnce()) {
    let current = &shard.scope_tree().current;
    let _back = Back(current, current.scope.get());
    match current.on_demand.get() {
        0 => stop(),
        _ => across_on_demand(current, stop),
    }
}

/// The same for what is to be made, there or around it.
#[cold]
fn across_on_demand(current: &Current, stop: impl FnOnce()) {
    struct BackOnDemand<'t>(&'t Current, (Key, Demand));

    impl Drop for BackOnDemand<'_> {
        fn drop(&mut self) {
            let (within, demand) = self.1;
            self.0.set_demand(within, demand);
        }
    }

    let _back = BackOnDemand(current, current.demand());
    stop();
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

    #[cold]
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

/// A scope that has been entered. Dropping it puts things back as they were, also when the work panics.
#[must_use = "what is dropped at once has not been entered"]
pub struct Entered {
    tree: Rc<Tree>,
    before: Key,
    is_on_demand: bool,
    has_left: bool,
    /// What is to be made outside, where there is such a thing.
    kept: Option<Box<(Key, Demand)>>,
}

impl Entered {
    /// What follows is the next of its kind: the inner scope on demand has this number, and when its work must be done.
    #[inline]
    pub fn next(&self, number: u32, deadline: Option<Instant>) {
        let Current { numbers, deadline: known, .. } = &self.tree.current;
        let [outer, _] = numbers.get();
        numbers.set([outer, number]);
        known.set(deadline);
    }

    /// Whether someone has asked for the scope on demand.
    #[inline]
    pub fn has_made(&self) -> bool {
        self.is_on_demand && !is_to_be_made(self.tree.current.scope.get())
    }

    /// Gives the scope on demand if someone has asked for it: what follows is the next of its kind, and another scope.
    #[inline]
    pub fn take_made(&self) -> Option<Scope> {
        if self.has_made() {
            Some(Scope::from_key(&self.tree, self.tree.current.scope.replace(TO_BE_MADE)))
        } else {
            None
        }
    }

    /// Puts things back as they were, and gives the scope that was made meanwhile.
    #[inline]
    pub fn leave(mut self) -> Option<Scope> {
        self.put_back()
    }

    #[inline]
    fn put_back(&mut self) -> Option<Scope> {
        self.has_left = true;
        let current = &self.tree.current;
        if let Some(kept) = self.kept.take() {
            let (within, demand) = *kept;
            current.set_demand(within, demand);
        }
        let key = current.scope.replace(self.before);
        if !self.is_on_demand {
            return None;
        }
        current.on_demand.set(current.on_demand.get() - 1);
        if is_to_be_made(key) { None } else { Some(Scope::from_key(&self.tree, key)) }
    }
}

/// Work on demand inside work on demand.
#[cold]
fn keep(current: &Current) -> Option<Box<(Key, Demand)>> {
    Some(Box::new(current.demand()))
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if !self.has_left {
            drop(self.put_back());
        }
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("is_on_demand", &self.is_on_demand).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
