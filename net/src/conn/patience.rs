//! How long a peer is waited for: an alarm, set for whatever is waited for at the moment.
//!
//! The one idea: what a wait for bytes has taken of a peer's time counts until the peer has made up for it, at a rate. So
//! one byte now and then buys no more time than none.

use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use shards::{Alarm, Shard};

use super::shed::Rank;
use super::{Config, Context};
use crate::limits::{BEHIND_TIME_MIN, LAST_LOOK_TIME, LINGER_TIME_MAX, REQUEST_TASKS_TIME_MAX};

/// What the alarm is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    Nothing,
    /// A request's first byte.
    Idle,
    /// The same, once the drain has begun.
    LastRequest,
    /// The same, for what the kernel has and the shard has not seen when that is over.
    LastLook,
    /// The end of the hand-shake, from the connection's first moment.
    Handshake,
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
    /// The peer to take what is sent.
    Write,
    /// The peer to read the last answer.
    Linger,
    /// What a request has left running to end.
    Tasks,
}

/// What a peer is slow to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Send a body.
    Body,
    /// Take what is sent.
    Write,
}

impl Waits {
    fn side(self) -> Option<Side> {
        match self {
            Waits::Body => Some(Side::Body),
            Waits::Write => Some(Side::Write),
            _ => None,
        }
    }
}

/// Whose patience it is.
pub(super) struct Whose<'a, S> {
    pub(super) shard: &'a Shard,
    pub(super) context: &'a Context<S>,
    /// Which of the connection's streams it is for, each with a rank of its own; zero for the connection itself.
    pub(super) stream: u32,
}

/// Who has patience with a peer.
pub(super) trait Patient {
    type Service;

    fn patience(&mut self) -> (&mut Patience, Whose<'_, Self::Service>);

    /// Ready when what is waited for has taken too long. The time counts from the first call for the same thing.
    fn poll_alarm(&mut self, cx: &mut TaskContext<'_>, waits: Waits) -> Poll<()> {
        let (patience, whose) = self.patience();
        patience.poll(cx, waits, &whose)
    }

    /// Ends a wait: see [`Patience::stop`].
    fn stop_waiting(&mut self) {
        let (patience, whose) = self.patience();
        patience.stop(&whose);
    }

    /// The peer has sent, or taken, so much: see [`Patience::made_up`].
    fn made_up(&mut self, side: Side, bytes: usize) {
        let (patience, whose) = self.patience();
        patience.made_up(side, bytes, &whose);
    }
}

/// The patience with one peer, or with one of its streams.
#[derive(Debug)]
pub(super) struct Patience {
    alarm: Alarm,
    waits: Waits,
    /// The peer has a rank among those who are behind: by the alarm's time.
    is_behind: bool,
    /// How far the peer has fallen behind with the present exchange, in microseconds, by [`Side`].
    fallen: [u32; 2],
    /// Which of its server's connections it is.
    number: u32,
}

impl Patience {
    /// With a connection or one of its streams, ranked among those who are behind. The number tells it from the server's others, and
    /// may come again some day.
    pub(super) fn new(shard: &Shard, number: u32, until: Instant) -> Self {
        Patience { alarm: shard.alarm(until), waits: Waits::Nothing, is_behind: false, fallen: [0; 2], number }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Ready when what is waited for has taken too long. The time counts from the first call for the same thing.
    pub(super) fn poll<S>(&mut self, cx: &mut TaskContext<'_>, waits: Waits, whose: &Whose<'_, S>) -> Poll<()> {
        let config = &whose.context.config;
        if self.waits != waits {
            self.stop(whose);
            self.waits = waits;
            let limit = self.limit(waits, config);
            match waits {
                // Once for every request.
                Waits::Idle => self.alarm.set_after(limit),
                // A handler may have blocked since this turn began, for longer than the limit.
                _ => self.alarm.set(whose.shard.clock() + limit - self.later(whose)),
            }
        }
        if self.is_behind && whose.context.shedding.is_cut(self.rank(whose)) {
            return Poll::Ready(());
        }
        ready!(self.alarm.poll_rung(cx));
        let later = self.later(whose);
        if later.is_zero() {
            return Poll::Ready(());
        }
        self.alarm.set(self.alarm.deadline() + later);
        self.is_behind = true;
        whose.context.shedding.enter(self.rank(whose), cx.waker());
        self.alarm.poll_rung(cx)
    }

    /// From the alarm's time to the end of the limit. A peer that takes nothing is looked at before that, to be ranked
    /// among those who are behind: most take what they are sent within a turn or two, and need none.
    fn later<S>(&self, whose: &Whose<'_, S>) -> Duration {
        match self.waits {
            Waits::Write if !self.is_behind => {
                self.limit(Waits::Write, &whose.context.config).saturating_sub(BEHIND_TIME_MIN)
            }
            _ => Duration::ZERO,
        }
    }

    fn rank<S>(&self, whose: &Whose<'_, S>) -> Rank {
        (self.alarm.deadline(), self.number, whose.stream)
    }

    /// Ends a wait. What it has taken of a peer's time counts until the peer has made up for it, or the exchange has ended.
    #[inline(always)]
    pub(super) fn stop<S>(&mut self, whose: &Whose<'_, S>) {
        if self.is_behind || self.waits.side().is_some() {
            self.settle(whose);
        }
        self.waits = Waits::Nothing;
    }

    fn settle<S>(&mut self, whose: &Whose<'_, S>) {
        if let Some(side) = self.waits.side() {
            let end = self.alarm.deadline() + self.later(whose);
            let left = end.saturating_duration_since(whose.shard.now());
            let fallen = patience(side, &whose.context.config).saturating_sub(left).as_micros();
            self.fallen[side as usize] = u32::try_from(fallen).unwrap_or(u32::MAX);
        }
        if std::mem::take(&mut self.is_behind) {
            whose.context.shedding.leave(self.rank(whose));
        }
    }

    /// Another exchange begins.
    #[inline(always)]
    pub(super) fn begin<S>(&mut self, whose: &Whose<'_, S>) {
        self.stop(whose);
        self.fallen = [0; 2];
    }

    /// The peer has sent, or taken, so much: each second's worth makes up for a second.
    pub(super) fn made_up<S>(&mut self, side: Side, bytes: usize, whose: &Whose<'_, S>) {
        if self.waits.side() == Some(side) {
            self.stop(whose);
        }
        let fallen = self.fallen[side as usize];
        if fallen > 0 {
            let rate = match side {
                Side::Body => whose.context.config.body_rate_min,
                Side::Write => whose.context.config.write_rate_min,
            };
            let worth = (bytes as u64 * 1_000_000).checked_div(rate.into()).unwrap_or(u64::MAX);
            self.fallen[side as usize] = u64::from(fallen).saturating_sub(worth) as u32;
        }
    }

    fn limit(&self, waits: Waits, config: &Config) -> Duration {
        let left = |side: Side| {
            let fallen = Duration::from_micros(self.fallen[side as usize].into());
            patience(side, config).saturating_sub(fallen)
        };
        match waits {
            Waits::Nothing | Waits::Idle => config.idle_time_max,
            Waits::LastRequest => config.drain_time_min,
            Waits::LastLook => LAST_LOOK_TIME,
            Waits::Handshake => config.handshake_time_max,
            Waits::Head => config.head_time_max,
            Waits::Body => left(Side::Body),
            Waits::Write => left(Side::Write),
            Waits::Linger => LINGER_TIME_MAX,
            Waits::Tasks => REQUEST_TASKS_TIME_MAX,
        }
    }
}

/// How far a peer may fall behind in all.
fn patience(side: Side, config: &Config) -> Duration {
    match side {
        Side::Body => config.body_pause_max,
        Side::Write => config.write_stall_max,
    }
}
