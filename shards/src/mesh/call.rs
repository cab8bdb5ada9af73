//! [`Call`] and [`Post`]: requests as futures. Its one idea: a request is sent when it is first polled and has a credit, and
//! whoever drops it in between gives back what it had: its place in the queue, the credit, the slot.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::CallError;
use super::link::{Link, run_one_way};
use super::message::{Name, Request};
use crate::models::Footing;
use crate::sync::{Acquire, Closed};
use crate::task::with_footing;
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
    request: Requested,
    value: PhantomData<fn() -> T>,
}

/// A one-way closure on its way out: the future of [`Shard::post`].
#[must_use = "a closure that is not awaited is not sent"]
pub struct Post(Requested);

/// A request, from its making to its answer.
struct Requested {
    shard: Option<Shard>,
    to: usize,
    /// The closure, until it is sent. It stays where it is meanwhile: moving it is a good part of what a call costs.
    unsent: Option<Request>,
    state: State,
}

enum State {
    /// Cannot be sent.
    Refused(CallError),
    /// Not yet polled.
    Unsent,
    /// Waits until every shard has its part of the `PerShard` of this number, once it was polled.
    Awaiting { whole: usize, changed: Option<Acquire> },
    /// In the queue for a credit.
    Waiting { link: Rc<Link>, credit: Acquire },
    /// Out.
    Sent(Sent),
    /// Nothing is left to do.
    Ended,
}

/// A call that is out: its slot is ours until the answer is taken.
struct Sent {
    link: Rc<Link>,
    name: Name,
}

impl<T> Call<T> {
    #[inline]
    pub(super) fn new(shard: &Shard, to: usize, request: Request) -> Self {
        let request = Requested { shard: Some(shard.clone()), to, unsent: Some(request), state: State::Unsent };
        Call { request, value: PhantomData }
    }

    /// A call of a shard's part of the `PerShard` of this number; of a shard, if we are on one.
    #[inline]
    pub(super) fn of_part(shard: Result<Shard, CallError>, to: usize, whole: usize, request: Request) -> Self {
        Call { request: Requested::of_part(shard, to, whole, request), value: PhantomData }
    }
}

impl Post {
    pub(super) fn new(shard: &Shard, to: usize, request: Request) -> Self {
        Post(Requested { shard: Some(shard.clone()), to, unsent: Some(request), state: State::Unsent })
    }

    /// [`Call::of_part`], one way.
    pub(super) fn of_part(shard: Result<Shard, CallError>, to: usize, whole: usize, request: Request) -> Self {
        Post(Requested::of_part(shard, to, whole, request))
    }
}

impl<T: 'static> Future for Call<T> {
    type Output = Result<T, CallError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::poll_proceed(cx));
        let request = &mut self.request;
        if !matches!(request.state, State::Sent(_))
            && let Err(error) = ready!(request.poll_send(cx))
        {
            return Poll::Ready(Err(error));
        }
        let State::Sent(Sent { link, name }) = &request.state else { return Poll::Pending };
        let Some(outcome) = link.take_answer(*name, cx.waker()) else { return Poll::Pending };
        request.state = State::Ended;
        Poll::Ready(outcome)
    }
}

impl Future for Post {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::poll_proceed(cx));
        let Post(request) = &mut *self;
        let link = match ready!(request.poll_credit(cx)) {
            Ok(link) => link,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let shard = request.shard.as_ref().expect("whoever has a credit is on a shard");
        Poll::Ready(send_one_way(shard, request.to, &link, &mut request.unsent))
    }
}

/// Sends a one-way closure if a credit is there at once.
pub(super) fn try_post(shard: &Shard, to: usize, request: &mut Option<Request>) -> Result<(), CallError> {
    let link = shard.mesh().link(to)?;
    if let Err(error) = link.take_credit() {
        shard.stats().mesh_refused.add(u64::from(error == CallError::Overloaded));
        return Err(error);
    }
    send_one_way(shard, to, &link, request)
}

/// Sends what may be dropped, and counts it if it is.
pub(super) fn cast(shard: &Shard, to: usize, cast: &mut Option<Request>) -> Result<(), CallError> {
    let link = shard.mesh().link(to)?;
    if to == shard.number() {
        if let Some(cast) = cast.take() {
            with_footing(Footing::Between, || run_one_way(cast, &link.visit(shard)));
        }
        return Ok(());
    }
    let sent = link.cast(cast);
    match sent {
        Ok(()) => shard.stats().mesh_casts_sent.add(1),
        Err(_) => shard.stats().mesh_casts_dropped.add(1),
    }
    sent
}

#[inline]
fn send_one_way(shard: &Shard, to: usize, link: &Rc<Link>, request: &mut Option<Request>) -> Result<(), CallError> {
    if to == shard.number() {
        if let Some(request) = request.take() {
            with_footing(Footing::Between, || run_one_way(request, &link.visit(shard)));
        }
        link.credits().add(1);
        return Ok(());
    }
    shard.stats().mesh_sent.add(1);
    link.send(Name::ONE_WAY, request)
}

impl Requested {
    fn of_part(shard: Result<Shard, CallError>, to: usize, whole: usize, request: Request) -> Self {
        match shard {
            Ok(shard) => Requested {
                shard: Some(shard),
                to,
                unsent: Some(request),
                state: State::Awaiting { whole, changed: None },
            },
            Err(error) => Requested { shard: None, to, unsent: None, state: State::Refused(error) },
        }
    }

    /// Sends the call once it can be. Ready if its answer may be there.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let link = match ready!(self.poll_credit(cx)) {
            Ok(link) => link,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let shard = self.shard.as_ref().expect("whoever has a credit is on a shard");
        let is_here = self.to == shard.number();
        let opened = match is_here {
            // Answered at once, nobody needs to be woken.
            true => link.open(Waker::noop()),
            false => link.open(cx.waker()),
        };
        let name = match opened {
            Ok(name) => name,
            Err(error) => {
                link.credits().add(1);
                shard.stats().mesh_refused.add(1);
                return Poll::Ready(Err(error));
            }
        };
        if is_here {
            if let Some(request) = self.unsent.take() {
                link.run_here(name, request, shard);
            }
            self.state = State::Sent(Sent { link, name });
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = link.send(name, &mut self.unsent) {
            link.give_back(name);
            return Poll::Ready(Err(error));
        }
        shard.stats().mesh_sent.add(1);
        self.state = State::Sent(Sent { link, name });
        Poll::Pending
    }

    /// Gives the link, once a credit was taken for the request.
    #[inline]
    fn poll_credit(&mut self, cx: &mut Context<'_>) -> Poll<Result<Rc<Link>, CallError>> {
        if let (State::Unsent, Some(shard)) = (&self.state, &self.shard) {
            // The common way, in which nothing is waited for.
            let link = match shard.mesh().link(self.to) {
                Ok(link) => link,
                Err(error) => return self.ended(Err(error)),
            };
            match link.take_credit() {
                Err(CallError::Overloaded) => {
                    shard.stats().mesh_waits.add(1);
                    let credit = link.credits().acquire(1);
                    self.state = State::Waiting { link, credit };
                }
                taken => return self.ended(taken.map(|()| link)),
            }
        }
        self.poll_slowly(cx)
    }

    fn ended<R>(&mut self, result: R) -> Poll<R> {
        self.state = State::Ended;
        Poll::Ready(result)
    }

    #[inline(never)]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Result<Rc<Link>, CallError>> {
        match &mut self.state {
            State::Refused(error) => {
                let error = error.clone();
                self.ended(Err(error))
            }
            State::Awaiting { whole, changed } => {
                let Some(shard) = &self.shard else { return self.ended(Err(CallError::OffShard)) };
                match ready!(shard.mesh().poll_whole(*whole, changed, cx)) {
                    Ok(()) => {
                        self.state = State::Unsent;
                        self.poll_credit(cx)
                    }
                    Err(error) => self.ended(Err(error)),
                }
            }
            State::Waiting { link, credit } => match ready!(Pin::new(credit).poll(cx)) {
                Ok(permit) => {
                    permit.forget();
                    let link = Rc::clone(link);
                    self.ended(Ok(link))
                }
                Err(Closed) => self.ended(Err(CallError::Stopped)),
            },
            State::Unsent | State::Sent(_) | State::Ended => {
                panic!("a call is not polled again after it has ended")
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // Finds nothing once the answer was taken.
        self.link.abandon(self.name);
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.show("Call", f)
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show("Post", f)
    }
}

impl Requested {
    fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("to", &self.to).field("state", &self.state.name()).finish()
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Refused(_) => "refused",
            State::Unsent | State::Awaiting { .. } => "unsent",
            State::Waiting { .. } => "waiting for a credit",
            State::Sent(_) => "sent",
            State::Ended => "ended",
        }
    }
}
