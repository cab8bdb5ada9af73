//! Scopes: a tree of cancellation and deadlines, and gates that count what must finish first.
//!
//! The one idea: work belongs to a [`Scope`], a scope lies in another, and the outermost is the shard's. Cancelling one
//! cancels all that lies in it; a deadline holds for all that lies in it; and a scope that is dropped is cancelled. What
//! must still finish (a task that cleans up, say) holds a [`Pass`], and is waited for at the gates of all scopes around it,
//! so nothing is left behind that nobody waits for.
//!
//! ```
//! use shardwise_shards::Simulation;
//! use std::time::Duration;
//!
//! Simulation::new(1).run(async |shard| {
//!     let request = shard.scope().child("request").unwrap().numbered(17);
//!     let query = request.child("query").unwrap();
//!     let rows = query.spawn(std::future::pending::<()>()).unwrap();
//!
//!     request.cancel("client disconnected");
//!     assert!(rows.await.unwrap().is_err());
//!     assert_eq!(query.reason().unwrap().to_string(), "client disconnected → request 17 → query");
//!     request.gate().await; // its tasks have ended
//! });
//! ```

mod current;
mod run;
mod tree;

use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use platform::arena::Key;

use crate::sync::Ticket;
use crate::{JoinHandle, Shard, SpawnError, TraceContext};
pub use current::{Demand, Entered};
pub(crate) use current::{Travelling, across};
pub(crate) use run::CancelWait;
pub use run::Run;
pub(crate) use tree::Tree;
use tree::Wait;

/// A scope, and the right to end it: dropping it cancels it. It derefs to its [`ScopeHandle`], which may be cloned; the right
/// is one, and stays on its shard:
///
/// ```compile_fail,E0277
/// fn cloned<T: Clone>(_: &T) {}
/// fn check(scope: &shardwise_shards::Scope) {
///     cloned(scope);
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// fn check(scope: shardwise_shards::Scope) {
///     sent_to_a_thread(scope);
/// }
/// ```
#[must_use = "a scope that is dropped is cancelled"]
pub struct Scope {
    handle: ScopeHandle,
}

/// A scope as it is seen from inside: work that lies in it may start more, wait for its end, or end it. Cloning is cheap.
pub struct ScopeHandle {
    tree: Rc<Tree>,
    key: Key,
}

/// A right to finish: the gates of its scope, and of those around it, wait until it is dropped.
pub struct Pass(ScopeHandle);

/// The scope was cancelled while the work was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Why.
    pub cause: Cause,
}

/// Why a scope was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Someone asked for it, and said why.
    Asked(&'static str),
    /// Its deadline passed.
    Deadline,
    /// Whoever held it let go of it.
    Dropped,
    /// The shard ends.
    ShardEnded,
}

/// Why a scope was cancelled, and the way from the scope that was to this one:
/// `client disconnected → request 17 → query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Why.
    pub cause: Cause,
    /// The outermost scope that was cancelled, and those from it inward.
    pub scopes: Vec<Label>,
}

/// What a scope is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its kind.
    pub name: &'static str,
    /// Which one of that kind.
    pub number: Option<u64>,
}

/// The shard has [`SCOPES_MAX`](crate::limits::SCOPES_MAX) scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopesFull;

/// Calls what was given to [`ScopeHandle::on_cancel`], unless it is dropped before.
#[must_use = "what is not kept is not called"]
pub struct OnCancel {
    scope: ScopeHandle,
    number: u64,
}

impl Scope {
    /// Tells it from others of its kind.
    pub fn numbered(self, number: u64) -> Self {
        self.tree.with(|inside| inside.at(self.key).label.number = Some(number));
        self
    }

    /// Gives all that lies in it, from now on, until then; no later than what is around it.
    pub fn with_deadline(self, deadline: Instant) -> Self {
        self.tree.with(|inside| {
            let node = inside.at(self.key);
            node.deadline = Some(node.deadline.map_or(deadline, |known| known.min(deadline)));
        });
        self.tree.note_change();
        self
    }

    /// Says which trace all that lies in it belongs to, from now on.
    pub fn with_trace(self, trace: TraceContext) -> Self {
        self.tree.with(|inside| inside.at(self.key).trace = Some(Rc::new(trace)));
        self
    }

    /// Lets it go on although nobody holds it any more: it ends with its parent.
    pub fn detach(self) {
        self.tree.with(|inside| inside.at(self.key).is_detached = true);
    }

    /// A handle on it, for those inside.
    pub fn handle(&self) -> ScopeHandle {
        self.handle.clone()
    }
}

impl ScopeHandle {
    /// A scope inside this one.
    ///
    /// Errors: the shard has as many as it admits. A child of a cancelled scope is cancelled.
    pub fn child(&self, name: &'static str) -> Result<Scope, ScopesFull> {
        self.labelled_child(Label { name, number: None })
    }

    fn labelled_child(&self, label: Label) -> Result<Scope, ScopesFull> {
        let key = self.tree.child(self.key, label)?;
        Ok(Scope { handle: ScopeHandle { tree: Rc::clone(&self.tree), key } })
    }

    /// Cancels it and all inside it. The first cause stays.
    pub fn cancel(&self, why: &'static str) {
        self.tree.cancel(self.key, Cause::Asked(why));
    }

    /// Cancels it, and all that has the same deadline, because that has passed: for those who keep the time of work that
    /// they do not [`run`](Self::run) in it. Before that time nothing happens.
    pub fn expire(&self) {
        if self.cause() == Some(Cause::Deadline) {
            self.tree.cancel(self.tree.owner_of_deadline(self.key), Cause::Deadline);
        }
    }

    pub(crate) fn cancel_for(&self, cause: Cause) {
        self.tree.cancel(self.key, cause);
    }

    /// Whether it has been cancelled, or its deadline has passed: for work that has nothing to await.
    pub fn is_cancelled(&self) -> bool {
        self.cause().is_some()
    }

    /// An error if it has been cancelled, or its deadline has passed.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.cause().map_or(Ok(()), |cause| Err(Cancelled { cause }))
    }

    fn cause(&self) -> Option<Cause> {
        let (cause, deadline) = self.tree.standing(self.key);
        let is_over = || deadline.is_some_and(|deadline| self.shard().is_some_and(|shard| shard.now() >= deadline));
        cause.or_else(|| is_over().then_some(Cause::Deadline))
    }

    /// Why it was cancelled; `None` if it was not.
    pub fn reason(&self) -> Option<Reason> {
        self.tree.reason(self.key)
    }

    /// When its work must be done.
    pub fn deadline(&self) -> Option<Instant> {
        self.tree.with(|inside| inside.at(self.key).deadline)
    }

    /// The trace that its work belongs to, if that is known.
    pub fn trace(&self) -> Option<TraceContext> {
        self.tree.with(|inside| inside.at(self.key).trace.as_deref().copied())
    }

    /// The same; if it is not known, this one from now on.
    pub fn trace_or(&self, begin: impl FnOnce() -> TraceContext) -> TraceContext {
        self.trace().unwrap_or_else(|| {
            let trace = begin();
            self.tree.with(|inside| inside.at(self.key).trace = Some(Rc::new(trace)));
            trace
        })
    }

    /// Waits until it is cancelled, or its deadline passes. Cancel safe.
    pub async fn cancelled(&self) -> Cancelled {
        match self.run(std::future::pending::<std::convert::Infallible>()).await {
            Err(cancelled) => cancelled,
            Ok(never) => match never {},
        }
    }

    /// Runs `work` unless the scope is cancelled or its deadline passes first; then `work` is dropped where it stands.
    pub fn run<F: Future>(&self, work: F) -> Run<F> {
        Run::new(self.clone(), work)
    }

    /// Runs `work` as a task in this scope, which its gate waits for. Dropping the handle detaches it; it ends with the
    /// scope all the same.
    ///
    /// Errors: the shard has as many tasks as it admits, or is ending.
    pub fn spawn<F>(&self, work: F) -> Result<JoinHandle<Result<F::Output, Cancelled>>, SpawnError>
    where
        F: Future + 'static,
    {
        let shard = self.shard().ok_or(SpawnError::Closed)?;
        shard.spawn(self.run(work).with_pass(self.pass()))
    }

    /// Calls `call` when the scope is cancelled; at once if it is already. Not when its deadline passes unnoticed: whoever
    /// runs work in it notices.
    pub fn on_cancel(&self, call: impl FnOnce() + 'static) -> OnCancel {
        let number = self.tree.on_cancel(self.key, Box::new(call));
        OnCancel { scope: self.clone(), number }
    }

    /// A right to finish; [`gate`](Self::gate) waits until it is dropped.
    pub fn pass(&self) -> Pass {
        self.tree.with(|inside| inside.enter(self.key));
        Pass(self.clone())
    }

    /// How many passes are out, of this scope and, one for each that has any, of those directly inside it.
    pub fn passes(&self) -> usize {
        self.tree.with(|inside| inside.at(self.key).passes as usize)
    }

    /// Waits until all passes of this scope and of all inside it are dropped. Cancel safe.
    pub async fn gate(&self) {
        let mut waiting = Waiting { scope: self, ticket: None };
        poll_fn(|cx| waiting.poll(cx)).await;
    }

    /// The shard that it belongs to; `None` once that has ended.
    pub(crate) fn shard(&self) -> Option<Shard> {
        self.tree.shard()
    }

    /// A further handle on a node that someone holds.
    fn on(tree: &Rc<Tree>, key: Key) -> ScopeHandle {
        tree.with(|inside| inside.at(key).holders += 1);
        ScopeHandle { tree: Rc::clone(tree), key }
    }

    /// The outermost scope of a shard. To be called once: the tree is made with one handle on it.
    pub(crate) fn root(tree: &Rc<Tree>) -> ScopeHandle {
        ScopeHandle { tree: Rc::clone(tree), key: tree.root() }
    }
}

impl Pass {
    /// The scope whose gate it holds.
    pub fn scope(&self) -> &ScopeHandle {
        &self.0
    }
}

/// Who waits at a gate.
struct Waiting<'s> {
    scope: &'s ScopeHandle,
    ticket: Option<Ticket>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Waiting { scope, ticket } = self;
        scope.tree.with(|inside| match inside.at(scope.key).passes {
            0 => Poll::Ready(()),
            _ => {
                inside.wait(scope.key, Wait::Gate, ticket, cx.waker());
                Poll::Pending
            }
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.scope.tree.with(|inside| inside.leave(self.scope.key, Wait::Gate, ticket));
        }
    }
}

impl Deref for Scope {
    type Target = ScopeHandle;

    fn deref(&self) -> &ScopeHandle {
        &self.handle
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if !self.tree.with(|inside| inside.at(self.key).is_detached) {
            self.cancel_for(Cause::Dropped);
        }
    }
}

impl Clone for ScopeHandle {
    fn clone(&self) -> Self {
        ScopeHandle::on(&self.tree, self.key)
    }
}

impl Drop for ScopeHandle {
    fn drop(&mut self) {
        self.tree.let_go(self.key);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.tree.exit(self.0.key);
    }
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        self.scope.tree.forget_call(self.scope.key, self.number);
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{} {number}", self.name),
            None => f.write_str(self.name),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Asked(why) => why,
            Cause::Deadline => "the deadline passed",
            Cause::Dropped => "nobody waits for it",
            Cause::ShardEnded => "the shard ends",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        self.scopes.iter().try_for_each(|label| write!(f, " → {label}"))
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.cause)
    }
}

impl std::error::Error for Cancelled {}

impl fmt::Display for ScopesFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shard has {} scopes, and admits no more", crate::limits::SCOPES_MAX)
    }
}

impl std::error::Error for ScopesFull {}

impl fmt::Debug for ScopeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (label, cancelled, passes) = self.tree.with(|inside| {
            let node = inside.at(self.key);
            (node.label, node.cancelled, node.passes)
        });
        f.debug_struct("Scope")
            .field("label", &format_args!("{label}"))
            .field("cancelled", &cancelled)
            .field("passes", &passes)
            .finish()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt(f)
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pass({:?})", self.0)
    }
}

impl fmt::Debug for OnCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnCancel({:?})", self.scope)
    }
}

#[cfg(test)]
mod tests;
