//! [`Call`] and [`Post`]: requests as futures. Its one idea: a request is sent when it is first polled and has a credit, and
//! whoever drops it in between gives back what it had: its place in the queue, the credit, the slot.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use platform::arena::Key;

use super::CallError;
use super::link::{Link, run_one_way};
use super::message::{Name, Returned, Run, take};
use crate::sync::{Acquire, Closed};
use crate::{Shard, budget};

/// A call of another shard: the future of [`Shard::on`]. It belongs to its shard and is not `Send`.
///
/// ```compile_fail,E0277
/// fn sent_to_a_thread<T: Send>(_: T) {}
/// fn check(shard: &shardwise_shards::Shard) {
///     sent_to_a_thread(shard.on(0, |_| 1));
/// }
/// ```
///
/// What it carries is sent, so it must be `Send`: the closure,
///
/// ```compile_fail,E0277
/// fn check(shard: &shardwise_shards::Shard) {
///     let local = std::rc::Rc::new(1);
///     let _ = shard.on(0, move |_| *local);
/// }
/// ```
///
/// and what it returns:
///
/// ```compile_fail,E0277
/// fn check(shard: &shardwise_shards::Shard) {
///     let _ = shard.on(0, |_| std::rc::Rc::new(1));
/// }
/// ```
///
/// and neither may borrow from the caller, who may be gone by then:
///
/// ```compile_fail,E0597
/// fn check(shard: &shardwise_shards::Shard) {
///     let local = 1;
///     let borrowed = &local;
///     let _ = shard.on(0, move |_| *borrowed);
/// }
/// ```
#[must_use = "a call that is not awaited is not made"]
pub struct Call<T> {
    shard: Option<Shard>,
    to: usize,
    state: State,
    value: PhantomData<fn() -> T>,
}

/// A one-way closure on its way out: the future of [`Shard::post`].
#[must_use = "a closure that is not awaited is not sent"]
pub struct Post {
    shard: Option<Shard>,
    to: usize,
    state: State,
}

enum State {
    /// Cannot be sent.
    Refused(CallError),
    /// Not yet polled.
    Unsent(Run),
    /// Waits until every shard has its part of the `PerShard` of this number, once it was polled.
    Awaiting { run: Run, whole: usize, changed: Option<Acquire> },
    /// In the queue for a credit.
    Waiting { run: Run, link: Rc<Link>, credit: Acquire },
    /// Out.
    Sent(Sent),
    /// Nothing is left to do.
    Ended,
}

/// A call that is out: its slot is ours until the answer is taken.
struct Sent {
    link: Rc<Link>,
    key: Key,
}

impl<T> Call<T> {
    pub(super) fn new(shard: &Shard, to: usize, run: Run) -> Self {
        Call { shard: Some(shard.clone()), to, state: State::Unsent(run), value: PhantomData }
    }

    /// A call of a shard's part of the `PerShard` of this number; of a shard, if we are on one.
    pub(super) fn of_part(shard: Result<Shard, CallError>, to: usize, whole: usize, run: Run) -> Self {
        let (shard, state) = State::of_part(shard, whole, run);
        Call { shard, to, state, value: PhantomData }
    }
}

impl Post {
    pub(super) fn new(shard: &Shard, to: usize, run: Run) -> Self {
        Post { shard: Some(shard.clone()), to, state: State::Unsent(run) }
    }

    /// [`Call::of_part`], one way.
    pub(super) fn of_part(shard: Result<Shard, CallError>, to: usize, whole: usize, run: Run) -> Self {
        let (shard, state) = State::of_part(shard, whole, run);
        Post { shard, to, state }
    }
}

impl<T: 'static> Future for Call<T> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::poll_proceed(cx));
        let Call { shard, to, state, .. } = &mut *self;
        if let State::Sent(Sent { link, key }) = state {
            let Some(answer) = link.take_answer(*key, cx.waker()) else { return Poll::Pending };
            *state = State::Ended;
            return Poll::Ready(answer.map(take));
        }
        let (shard, link, run) = match ready!(state.poll_credit(shard, *to, cx)) {
            Ok(credited) => credited,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let key = match link.open(cx.waker()) {
            Ok(key) => key,
            Err(error) => {
                link.credits().add(1);
                return Poll::Ready(Err(error));
            }
        };
        if *to == shard.number() {
            return match link.run_here(Name::of(key), run, &link.visit(shard)) {
                Returned::Later => {
                    *state = State::Sent(Sent { link, key });
                    Poll::Pending
                }
                Returned::Value(put) => {
                    link.close_slot(key);
                    Poll::Ready(Ok(take(put)))
                }
                Returned::Failed(error) => {
                    link.close_slot(key);
                    Poll::Ready(Err(error))
                }
            };
        }
        if let Err(error) = link.send(Name::of(key), run) {
            link.close_slot(key);
            return Poll::Ready(Err(error));
        }
        *state = State::Sent(Sent { link, key });
        Poll::Pending
    }
}

impl Future for Post {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::poll_proceed(cx));
        let Post { shard, to, state } = &mut *self;
        let credited = ready!(state.poll_credit(shard, *to, cx));
        Poll::Ready(credited.and_then(|(shard, link, run)| send_one_way(shard, *to, &link, run)))
    }
}

/// Sends a one-way closure if a credit is there at once.
pub(super) fn try_post(shard: &Shard, to: usize, run: Run) -> Result<(), CallError> {
    let link = shard.mesh().link(to)?;
    link.take_credit()?;
    send_one_way(shard, to, &link, run)
}

fn send_one_way(shard: &Shard, to: usize, link: &Rc<Link>, run: Run) -> Result<(), CallError> {
    if to == shard.number() {
        run_one_way(run, &link.visit(shard));
        link.credits().add(1);
        return Ok(());
    }
    link.send(Name::ONE_WAY, run)
}

impl State {
    fn of_part(shard: Result<Shard, CallError>, whole: usize, run: Run) -> (Option<Shard>, State) {
        match shard {
            Ok(shard) => (Some(shard), State::Awaiting { run, whole, changed: None }),
            Err(error) => (None, State::Refused(error)),
        }
    }

    /// Gives the link and the closure, once a credit was taken for it.
    fn poll_credit<'s>(&mut self, shard: &'s Option<Shard>, to: usize, cx: &mut Context<'_>) -> Poll<Credited<'s>> {
        let state = std::mem::replace(self, State::Ended);
        let shard = match (shard, &state) {
            (_, State::Refused(error)) => return Poll::Ready(Err(error.clone())),
            (None, _) => return Poll::Ready(Err(CallError::OffShard)),
            (Some(shard), _) => shard,
        };
        let (run, link, mut credit) = match state {
            State::Unsent(run) => match shard.mesh().link(to) {
                Ok(link) => (run, link, None),
                Err(error) => return Poll::Ready(Err(error)),
            },
            State::Awaiting { run, whole, mut changed } => {
                match shard.mesh().poll_whole(whole, &mut changed, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        *self = State::Awaiting { run, whole, changed };
                        return Poll::Pending;
                    }
                }
                match shard.mesh().link(to) {
                    Ok(link) => (run, link, None),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            State::Waiting { run, link, credit } => (run, link, Some(credit)),
            State::Refused(_) | State::Sent(_) | State::Ended => {
                panic!("a call is not polled again after it has ended")
            }
        };
        match poll_credit(&link, &mut credit, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok((shard, link, run))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let credit = credit.expect("whoever waits stands in the queue");
                *self = State::Waiting { run, link, credit };
                Poll::Pending
            }
        }
    }
}

/// What it takes to send.
type Credited<'s> = Result<(&'s Shard, Rc<Link>, Run), CallError>;

/// Takes a credit: at once, or by waiting in the queue.
fn poll_credit(link: &Link, credit: &mut Option<Acquire>, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
    if credit.is_none() {
        match link.take_credit() {
            Err(CallError::Overloaded) => {}
            taken => return Poll::Ready(taken),
        }
    }
    let waiting = credit.get_or_insert_with(|| link.credits().acquire(1));
    Pin::new(waiting).poll(cx).map(|result| match result {
        Ok(permit) => {
            permit.forget();
            Ok(())
        }
        Err(Closed) => Err(CallError::Stopped),
    })
}

impl Drop for Sent {
    fn drop(&mut self) {
        // Finds nothing once the answer was taken.
        self.link.abandon(self.key);
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("to", &self.to).field("state", &self.state.name()).finish()
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("to", &self.to).field("state", &self.state.name()).finish()
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Refused(_) => "refused",
            State::Unsent(_) | State::Awaiting { .. } => "unsent",
            State::Waiting { .. } => "waiting for a credit",
            State::Sent(_) => "sent",
            State::Ended => "ended",
        }
    }
}
