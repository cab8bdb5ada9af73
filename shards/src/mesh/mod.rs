//! The mesh: how shards ask each other for something without sharing anything.
//!
//! The one idea: a shard writes only its own memory. To have something done elsewhere it sends a closure over a ring of
//! which it is the one writer, and the other the one reader; what the closure returns comes back as a message that names a
//! slot of the caller's. So there are no locks, and in the steady state no allocations: closures and values that fit into
//! a message ([`MESSAGE_INLINE_BYTES`]) lie in it.
//!
//! Two shards that talk have a *link*: in each direction a lane of requests and a lane of answers. A request takes one of the
//! link's *credits*; without one its sender waits its turn, and nobody overtakes. Answers need no credit, so a shard that
//! is flooded goes on answering; `link.rs` says why.
//!
//! A shard runs what others send between its tasks, in its turn, and shows what it sends in batches. Whether the receiver
//! sleeps it asks at the end, and pays for a wake-up only then; the hand-shake is that of [`park`](crate::park), where what
//! was published is a ring's index.
//!
//! ```
//! use shardwise_shards::{CallError, Runtime, Shard};
//!
//! Runtime::builder()
//!     .shards(2)
//!     .oversubscribe(true)
//!     .announce(false)
//!     .run(async |shard: Shard| {
//!         let number = shard.on(1, |there| there.number()).await?;
//!         assert_eq!(number, 1);
//!         assert_eq!(shard.on(2, |_| ()).await, Err(CallError::NoShard));
//!         Ok::<_, CallError>(())
//!     })
//!     .unwrap();
//! ```

mod call;
mod calls;
pub(crate) mod fabric;
mod link;
mod message;
mod per_shard;
mod place;
mod replicated;

pub use crate::limits::MESSAGE_INLINE_BYTES;
pub use call::{Call, Post};
pub use per_shard::{OnAll, Part, PerShard};
pub use replicated::Replicated;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::Shard;
use crate::limits::{MESH_CASTS_PER_TURN_MAX, MESH_REQUESTS_PER_TURN_MAX};
use crate::scope::{Cancelled, ScopeHandle, Travelling};
use crate::shard::panic_text;
use crate::sync::Semaphore;
use crate::task::bury;
use crate::world::World;
use fabric::{Fabric, News, Standing};
use link::Link;
use message::{Answer, Name, Request, Visit, failed, put};

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// There is no shard of that number.
    NoShard,
    /// It was made on a thread that runs no shard, or none of the runtime that a [`PerShard`] belongs to.
    OffShard,
    /// It would borrow a part of a [`PerShard`] that is borrowed further up, by a closure that has not returned.
    Nested,
    /// One of the two shards has ended. Whether the closure has run is not known.
    Stopped,
    /// Its task was cancelled, or its deadline passed.
    Cancelled,
    /// A bound of one of the two shards is reached: calls, tasks or scopes; or, where waiting was not wanted, credits.
    Overloaded,
    /// The closure panicked, with this text.
    Panicked(String),
}

/// One shard's place in the mesh.
pub(crate) struct Mesh {
    number: usize,
    fabric: Arc<Fabric>,
    /// By the peer's number; the shard's own is the link to itself.
    links: RefCell<Vec<Option<Rc<Link>>>>,
    has_unpublished: Rc<Cell<bool>>,
    /// What is here of each `PerShard`, by its number.
    parts: RefCell<Vec<Here>>,
    /// Which peer's requests are run first in the next turn.
    first: Cell<usize>,
    is_closed: Cell<bool>,
}

/// What one shard has and knows of a `PerShard`.
#[derive(Clone)]
struct Here {
    /// Its own part, an `Rc<RefCell<T>>`.
    part: Option<Rc<dyn Any>>,
    standing: Standing,
    /// Closed when the standing changes; nobody gets a permit.
    changed: Semaphore,
}

impl Mesh {
    pub(crate) fn new(number: usize, fabric: Arc<Fabric>, world: &'static World) -> Mesh {
        fabric.join(number, world);
        let has_unpublished = Rc::default();
        let mut links = vec![None; fabric.count()];
        links[number] = Some(Link::to_oneself(number, &fabric, &has_unpublished));
        Mesh {
            number,
            fabric,
            links: RefCell::new(links),
            has_unpublished,
            parts: RefCell::default(),
            first: Cell::new(0),
            is_closed: Cell::new(false),
        }
    }

    /// Whether others have sent something, or something of ours was not shown to them yet.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_unpublished.get() || self.has_arrivals()
    }

    /// Whether others have sent something.
    pub(crate) fn has_arrivals(&self) -> bool {
        self.fabric.has_news(self.number) || self.is_any_busy()
    }

    fn is_any_busy(&self) -> bool {
        self.links.borrow().iter().flatten().any(|link| link.has_arrivals())
    }

    /// Adopts what others have sent: all answers, then requests and casts, as many as a turn may run, each peer first in its
    /// turn.
    pub(crate) fn receive(&self, shard: &Shard) {
        if self.fabric.has_news(self.number) {
            self.adopt_news();
        }
        // In most turns nothing has come, and one look at each link is enough.
        if self.is_any_busy() {
            self.receive_in_turn(shard);
        }
        self.publish();
    }

    fn receive_in_turn(&self, shard: &Shard) {
        let count = self.fabric.count();
        for peer in 0..count {
            if let Some(link) = self.busy(peer) {
                link.receive_answers();
            }
        }
        let first = self.first.replace((self.first.get() + 1) % count);
        let mut left = MESH_REQUESTS_PER_TURN_MAX;
        for step in 0..count {
            if let Some(link) = self.busy((first + step) % count) {
                left -= link.receive_requests(shard, left);
            }
        }
        shard.stats().mesh_run.add((MESH_REQUESTS_PER_TURN_MAX - left) as u64);
        let mut left = MESH_CASTS_PER_TURN_MAX;
        for step in 0..count {
            if let Some(link) = self.busy((first + step) % count) {
                left -= link.receive_casts(shard, left);
            }
        }
        shard.stats().mesh_casts_run.add((MESH_CASTS_PER_TURN_MAX - left) as u64);
    }

    /// Shows others what was sent to them since the last time, and wakes those that sleep.
    pub(crate) fn publish(&self) {
        if self.has_unpublished.replace(false) {
            self.links.borrow().iter().flatten().for_each(|link| link.publish());
        }
    }

    /// The link to a peer, if something has come over it.
    fn busy(&self, peer: usize) -> Option<Rc<Link>> {
        let links = self.links.borrow();
        links[peer].as_ref().filter(|link| link.has_arrivals()).cloned()
    }

    #[cold]
    fn adopt_news(&self) {
        let News { ends, wholes } = self.fabric.news(self.number);
        for (peer, ends) in ends {
            let link = Link::new(peer, ends, &self.fabric, &self.has_unpublished);
            self.links.borrow_mut()[peer].get_or_insert(link);
        }
        for (number, standing) in wholes.into_iter().enumerate() {
            let changed = self.with_part(number, |here| {
                let is_new = std::mem::replace(&mut here.standing, standing) != standing;
                is_new.then(|| here.changed.clone())
            });
            if let Some(changed) = changed {
                changed.close();
            }
        }
    }

    fn with_part<R>(&self, number: usize, f: impl FnOnce(&mut Here) -> R) -> R {
        let mut parts = self.parts.borrow_mut();
        if parts.len() <= number {
            let nothing = || Here { part: None, standing: Standing::Awaited, changed: Semaphore::new(0) };
            parts.resize_with(number + 1, nothing);
        }
        f(&mut parts[number])
    }

    /// The link to a shard, made if there is none.
    fn link(&self, peer: usize) -> Result<Rc<Link>, CallError> {
        if self.is_closed.get() {
            return Err(CallError::Stopped);
        }
        let known = self.links.borrow().get(peer).ok_or(CallError::NoShard)?.clone();
        match known {
            Some(link) => Ok(link),
            None => self.connect(peer),
        }
    }

    #[cold]
    fn connect(&self, peer: usize) -> Result<Rc<Link>, CallError> {
        let ends = self.fabric.connect(self.number, peer)?;
        let link = Link::new(peer, ends, &self.fabric, &self.has_unpublished);
        self.links.borrow_mut()[peer] = Some(Rc::clone(&link));
        Ok(link)
    }

    /// `main` has ended on this shard, which goes on for the others.
    pub(crate) fn retire(&self) {
        self.fabric.retire(self.number);
    }

    /// Whether `main` has ended on all shards.
    pub(crate) fn all_are_retired(&self) -> bool {
        self.fabric.all_are_retired()
    }

    /// The shard ends: its calls are answered `Stopped` on both sides, and it is nobody's peer any more.
    pub(crate) fn close(&self) {
        self.is_closed.set(true);
        self.fabric.end(self.number);
        let links = self.links.take();
        links.into_iter().flatten().for_each(|link| link.close());
        for Here { part, changed, .. } in self.parts.take() {
            changed.close();
            contain(|| drop(part));
        }
    }

    /// Calls whose slots are in use.
    fn calls_out(&self) -> usize {
        self.links.borrow().iter().flatten().map(|link| link.calls_out()).sum()
    }
}

impl Shard {
    /// Runs `call` on the shard of this number, between its tasks, and gives what it returns. On the own shard it runs when
    /// the call is first polled. Nothing is sent before.
    ///
    /// It may wait: for one of the credits of the link between the two shards, first come first served; then for the other
    /// shard's next turn. It must not block, as it holds up all of that shard's tasks.
    ///
    /// Errors: see [`CallError`]. Dropping the call before it has been taken up makes it not happen; a closure that has begun
    /// runs to its end, and its value is dropped here.
    pub fn on<T, F>(&self, number: usize, call: F) -> Call<T>
    where
        T: Send + 'static,
        F: FnOnce(&Shard) -> T + Send + 'static,
    {
        Call::new(self, number, Request::new(move |visit: &Visit| visit.answer(call(&visit.shard))))
    }

    /// Like [`on`](Shard::on) for a closure that returns a future: it runs as a task of the other shard, in a scope of its
    /// own, and need not be `Send`. Dropping the call cancels that scope.
    ///
    /// The deadline and the trace of the caller's [current scope](Shard::current_scope) travel along, and are those of the
    /// task's.
    ///
    /// ```
    /// use shardwise_shards::{CallError, Runtime, Shard, TraceContext};
    ///
    /// Runtime::builder()
    ///     .shards(2)
    ///     .oversubscribe(true)
    ///     .announce(false)
    ///     .run(async |shard: Shard| {
    ///         let trace = TraceContext::begin(&shard);
    ///         let job = shard.scope().child("job").unwrap().with_trace(trace);
    ///         let peer = 1 - shard.number();
    ///         let call = async { shard.on_async(peer, async |there: Shard| there.current_scope().unwrap().trace()).await };
    ///         assert_eq!(job.run(call).await.unwrap()?, Some(trace));
    ///         Ok::<_, CallError>(())
    ///     })
    ///     .unwrap();
    /// ```
    pub fn on_async<T, F, Fut>(&self, number: usize, call: F) -> Call<T>
    where
        T: Send + 'static,
        F: FnOnce(Shard) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        self.call_with(number, self.travelling(), call)
    }

    fn call_with<T, F, Fut>(&self, number: usize, along: Travelling, call: F) -> Call<T>
    where
        T: Send + 'static,
        F: FnOnce(Shard) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let begin = move |visit: &Visit| visit.start(along, || call(visit.shard.clone()));
        Call::new(self, number, Request::new(begin))
    }

    /// Sends `closure` to run on the shard of this number, between its tasks, and does not wait for that; only for a credit.
    /// It costs less than a call, and tells less: a panic of the closure is logged there.
    ///
    /// Closures from one shard to another run in the order sent. Dropping the future before it is ready sends nothing.
    ///
    /// Errors: there is no such shard, or it has ended. One that ends later drops what it has not run.
    pub fn post<F>(&self, number: usize, closure: F) -> Post
    where
        F: FnOnce(&Shard) + Send + 'static,
    {
        Post::new(self, number, one_way(closure))
    }

    /// [`post`](Shard::post) for those who cannot wait, such as a closure from another shard.
    ///
    /// Errors: also [`Overloaded`](CallError::Overloaded), when all credits are out or others wait for them.
    pub fn try_post<F>(&self, number: usize, closure: F) -> Result<(), CallError>
    where
        F: FnOnce(&Shard) + Send + 'static,
    {
        // Not moved from here on, but into its message.
        let mut request = Some(one_way(closure));
        call::try_post(self, number, &mut request)
    }

    /// Sends `closure` to run on the shard of this number, between its tasks, or drops it if as many are on the way as may be
    /// ([`MESH_CASTS`](crate::limits::MESH_CASTS)): the way of a datagram, which may be lost on any other. It takes no credit, so
    /// a flood of casts holds up nobody's calls. A panic of it is logged there.
    ///
    /// Casts from one shard to another run in the order sent, in no order with calls. One that captures more than
    /// [`MESSAGE_INLINE_BYTES`] is boxed.
    ///
    /// Errors: [`Overloaded`](CallError::Overloaded) when it is dropped; there is no such shard, or it has ended.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// shardwise_shards::Simulation::new(1).run(async |shard| {
    ///     shard.cast(0, |here| here.local(|| Cell::new(0)).set(7)).unwrap();
    ///     assert_eq!(shard.local(|| Cell::new(0)).get(), 7);
    /// });
    /// ```
    pub fn cast<F>(&self, number: usize, closure: F) -> Result<(), CallError>
    where
        F: FnOnce(&Shard) + Send + 'static,
    {
        let mut cast = Some(one_way(closure));
        call::cast(self, number, &mut cast)
    }

    /// Calls of this shard that have not been answered, or whose answer was not taken yet.
    pub fn calls_out(&self) -> usize {
        self.mesh().calls_out()
    }
}

#[inline]
fn one_way(closure: impl FnOnce(&Shard) + Send + 'static) -> Request {
    Request::new(move |visit: &Visit| closure(&visit.shard))
}

impl ScopeHandle {
    /// [`Shard::on_async`] on behalf of this scope: its deadline and its trace travel with the call, and its cancellation
    /// ends the call on both sides.
    ///
    /// Errors: also [`Cancelled`](CallError::Cancelled), when the scope is cancelled or its deadline passes.
    pub async fn on_async<T, F, Fut>(&self, number: usize, call: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(Shard) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
    {
        let shard = self.shard().ok_or(CallError::Stopped)?;
        match self.run(shard.call_with(number, Travelling::with(self), call)).await {
            Ok(result) => result,
            Err(Cancelled { .. }) => Err(CallError::Cancelled),
        }
    }
}

impl Visit {
    /// Starts the task that answers the call, in a scope of its own. `begin` runs in that too.
    fn start<T, W>(&self, along: Travelling, begin: impl FnOnce() -> W)
    where
        T: Send + 'static,
        W: Future<Output = T> + 'static,
    {
        let Ok(scope) = self.shard.scope().child("call") else { return self.refuse() };
        let scope = along.arrive(scope);
        let work = scope.enter(begin);
        let (shard, link) = (self.shard.clone(), Rc::clone(&self.link));
        self.is_answered.set(true);
        let reply = Reply { shard, link, name: self.name.get(), outcome: None };
        let task = scope.spawn(async move {
            let mut reply = reply;
            reply.outcome = Some(match caught(work).await {
                Ok(value) => put(value),
                Err(panic) => failed(CallError::Panicked(panic)),
            });
        });
        match task {
            Ok(_) => self.link.started(self.name.get(), scope),
            // The task was dropped, and has answered.
            Err(_) => self.shard.stats().mesh_refused.add(1),
        }
    }

    fn refuse(&self) {
        self.shard.stats().mesh_refused.add(1);
        self.fail(CallError::Overloaded);
    }
}

/// The duty to answer a call. Whatever becomes of the task that has it, it answers once: when it is dropped.
struct Reply {
    shard: Shard,
    link: Rc<Link>,
    name: Name,
    outcome: Option<Answer>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        let has_ended = || self.shard.scope().is_cancelled().then(|| failed(CallError::Stopped));
        let outcome = self.outcome.take().or_else(has_ended);
        self.link.finished(self.name, outcome);
    }
}

/// Runs a future whose panics are its caller's; gives the text of one.
async fn caught<F: Future>(work: F) -> Result<F::Output, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(payload) => std::task::Poll::Ready(Err(text_of(payload))),
    })
    .await
}

/// Runs code of a user's that has no one to unwind to: a waker, a value's `drop`.
fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        let panic = text_of(payload);
        tracing::error!(panic, "dropping a message of the mesh panicked");
    }
}

/// The text of a panic, whose payload is dropped.
fn text_of(payload: Box<dyn Any + Send>) -> String {
    let text = panic_text(&*payload).to_owned();
    bury(payload);
    text
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NoShard => f.write_str("there is no shard of that number"),
            CallError::OffShard => f.write_str("it was not called on a shard of this runtime"),
            CallError::Nested => f.write_str(
                "this part is borrowed further up: a closure must return before the same part is borrowed again",
            ),
            CallError::Stopped => f.write_str("the shard has ended"),
            CallError::Cancelled => f.write_str("the call was cancelled, or its deadline passed"),
            CallError::Overloaded => f.write_str("the shard has as many calls, tasks or scopes as it admits"),
            CallError::Panicked(text) => write!(f, "the closure panicked on the other shard: {text}"),
        }
    }
}

impl std::error::Error for CallError {}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("number", &self.number)
            .field("calls_out", &self.calls_out())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
