//! Time for tasks: an alarm that can be set again and again, and what is built of it.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use platform::NOBODY;

use crate::Shard;
use crate::budget;
use crate::shard::Seat;
use crate::timer::TimerKey;

/// A point in time that a task waits for: a future that is ready once it has come, never early and at most a tick of the
/// timer wheel late ([`TICK`](crate::limits::TICK)).
///
/// Setting it further off costs nothing until the old time has come, so a timeout that is pushed back with every request
/// is cheap.
#[derive(Debug)]
pub struct Alarm {
    shard: Shard,
    deadline: Instant,
    /// In the wheel while it waits, possibly for an earlier time than `deadline`.
    key: Option<TimerKey>,
    seat: Seat,
    /// The turn from whose beginning the deadline counts, if it does.
    turn: Option<NonZeroU32>,
}

/// The future of [`Shard::sleep`]: ready once its time has passed, never early and at most a turn and a tick of the timer wheel
/// ([`TICK`](crate::limits::TICK)) late.
#[derive(Debug)]
pub struct Sleep {
    /// Of a span only what is in the wheel counts, until that has fired.
    alarm: Alarm,
    is_span: bool,
}

/// The time limit passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl Shard {
    /// Waits for a time to pass. It counts from the end of the turn that this is called in, so never from before the call,
    /// however long the turn has lasted by then; and costs no look at the clock.
    pub fn sleep(&self, time: Duration) -> Sleep {
        // What is over at once, and what finds no room in the wheel, is counted from now.
        let span =
            (!time.is_zero()).then(|| self.with_timers(|timers| timers.insert_span(time, NOBODY)).ok()).flatten();
        let deadline = if span.is_some() { self.now() } else { self.clock() + time };
        let alarm = Alarm { shard: self.clone(), deadline, key: span, seat: Seat::NONE, turn: None };
        Sleep { is_span: alarm.key.is_some(), alarm }
    }

    /// Waits for a moment to come.
    pub fn alarm(&self, deadline: Instant) -> Alarm {
        Alarm { shard: self.clone(), deadline, key: None, seat: Seat::NONE, turn: None }
    }

    /// Runs `work`, but no longer than `time`; then it is dropped where it stands. The time counts from the first poll, and what does
    /// not have to wait costs no look at the clock.
    pub fn timeout<F: Future>(&self, time: Duration, work: F) -> Timeout<F> {
        Timeout { work, shard: self.clone(), time, alarm: None }
    }
}

pin_project! {
    /// The future of [`Shard::timeout`]. Dropping it drops the work.
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        work: F,
        shard: Shard,
        time: Duration,
        // Set once there is something to wait for.
        alarm: Option<Sleep>,
    }
}

/// Not an `async fn`, which would have room for the work twice: as its argument and as what it runs.
impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.work.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let alarm = this.alarm.get_or_insert_with(|| this.shard.sleep(*this.time));
        alarm.poll_rung(cx).map(|()| Err(TimedOut))
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Alarm {
    /// Sets it to another time. To a later one for free: the wheel is told when the old time has come.
    pub fn set(&mut self, deadline: Instant) {
        if deadline < self.deadline
            && let Some(key) = self.key.take()
        {
            self.shard.with_timers(|timers| timers.cancel(key));
        }
        self.deadline = deadline;
        self.turn = None;
    }

    /// Sets it to so long from now without a look at the clock, for waits that are many and long. It counts from the beginning of
    /// the turn; if that lasts long by then (a task has blocked, for [`LATE_TURN_TIME_MIN`](crate::limits::LATE_TURN_TIME_MIN) or
    /// more), from its end. So it may ring that much early.
    pub fn set_after(&mut self, time: Duration) {
        let turn = NonZeroU32::new(self.shard.turn_number() as u32);
        // One turn of four thousand million has a number that says nothing: the first is one.
        let now = if turn.is_some() { self.shard.now() } else { self.shard.clock() };
        self.set(now + time);
        self.turn = turn;
    }

    /// When it rings.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready once the time has come.
    pub fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shard.now() >= self.deadline && !self.is_put_off() {
            ready!(budget::poll_proceed(cx));
            self.disarm();
            return Poll::Ready(());
        }
        let waiter = self.shard.waiter_of(cx.waker(), &mut self.seat);
        let deadline = self.deadline;
        let key = &mut self.key;
        self.shard.with_timers(|timers| {
            match key.as_ref().and_then(|key| timers.waiter_mut(key)) {
                Some(waiting) => *waiting = waiter,
                // Without room in the wheel the task asks again at once: slow, but not late.
                None => match timers.insert(deadline, waiter) {
                    Ok(armed) => *key = Some(armed),
                    Err(_) => cx.waker().wake_by_ref(),
                },
            }
        });
        Poll::Pending
    }

    /// Whether it counts from the beginning of a turn that has lasted long, or is not over, and so is not to ring yet.
    #[cold]
    fn is_put_off(&mut self) -> bool {
        let Some(turn) = self.turn else { return false };
        if turn.get() == self.shard.turn_number() as u32 {
            return true;
        }
        self.turn = None;
        self.deadline += self.shard.late_turns().lasted(turn.get());
        self.shard.now() < self.deadline
    }

    fn disarm(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.with_timers(|timers| timers.cancel(key));
        }
        self.shard.unseat(&mut self.seat);
    }
}

impl Sleep {
    /// Ready once the time has passed.
    pub fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Alarm { shard, key, seat, .. } = &mut self.alarm;
        if !self.is_span {
            return self.alarm.poll_rung(cx);
        }
        let waiter = shard.waiter_of(cx.waker(), seat);
        let is_armed = shard.with_timers(|timers| match key.as_ref().and_then(|key| timers.waiter_mut(key)) {
            Some(waiting) => {
                *waiting = waiter;
                true
            }
            None => false,
        });
        if is_armed {
            return Poll::Pending;
        }
        ready!(budget::poll_proceed(cx));
        self.alarm.disarm();
        Poll::Ready(())
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_rung(cx)
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_rung(cx)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit has passed")
    }
}

impl std::error::Error for TimedOut {}
