//! What is left to chance on a simulated machine: a [`Plan`] says how often, one seeded generator says when.
//!
//! Every decision that a network, a disk or a scheduler makes without being asked is a method of [`Chance`], so this file
//! lists all that can go differently from one seed to the next. It leaves what follows from a decision to its callers.

use std::time::Duration;

/// How a machine behaves where it has a choice. The default is a calm one: nothing is ever cut, and times are fixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How long a segment or a datagram travels, at least.
    pub latency: Duration,
    /// How much longer it may travel, drawn for each. Streams stay in order all the same; datagrams overtake each other.
    pub jitter: Duration,
    /// How long the disk takes for an operation.
    pub disk_latency: Duration,
    /// The share of segments that carry less than they could.
    pub short_segments: f64,
    /// The share of receives, and of reads from files, that give less than there is.
    pub short_receives: f64,
    /// The share of sends of which only a part goes at first, and of writes to files that write less than asked.
    pub partial_sends: f64,
}

impl Plan {
    /// Nothing is cut, and times are fixed.
    pub const CALM: Plan = Plan {
        latency: Duration::from_micros(50),
        jitter: Duration::ZERO,
        disk_latency: Duration::from_micros(100),
        short_segments: 0.0,
        short_receives: 0.0,
        partial_sends: 0.0,
    };

    /// All that a healthy network and disk may do: whatever a program reads or writes is cut at any point, and travels
    /// for a different time.
    pub const CHOPPY: Plan = Plan {
        latency: Duration::from_micros(20),
        jitter: Duration::from_micros(500),
        disk_latency: Duration::from_micros(100),
        short_segments: 0.3,
        short_receives: 0.3,
        partial_sends: 0.3,
    };
}

impl Default for Plan {
    fn default() -> Self {
        Plan::CALM
    }
}

/// A plan and the generator that decides by it.
pub(super) struct Chance {
    plan: Plan,
    random: Random,
}

impl Chance {
    pub(super) fn new(plan: Plan, random: Random) -> Self {
        Chance { plan, random }
    }

    /// A generator of its own for a shard's program, so that what the program draws does not change what the network does.
    pub(super) fn fork(&mut self) -> Random {
        Random::new(self.random.next())
    }

    /// How long a segment or datagram travels.
    pub(super) fn travel(&mut self) -> Duration {
        self.plan.latency + self.up_to(self.plan.jitter)
    }

    /// How long an operation on a file takes.
    pub(super) fn disk(&mut self) -> Duration {
        self.plan.disk_latency
    }

    /// How long the machine keeps the memory of a zero-copy send after it has left: until the peer's answer.
    pub(super) fn notification(&mut self) -> Duration {
        self.travel() + self.travel()
    }

    /// How much of `bytes` goes into one segment: at least one byte.
    pub(super) fn segment(&mut self, bytes: usize) -> usize {
        self.cut(self.plan.short_segments, bytes)
    }

    /// How much of `bytes` a receive or read gives: at least one byte.
    pub(super) fn receive(&mut self, bytes: usize) -> usize {
        self.cut(self.plan.short_receives, bytes)
    }

    /// How much of `bytes` a send or write takes: at least one byte.
    pub(super) fn send(&mut self, bytes: usize) -> usize {
        self.cut(self.plan.partial_sends, bytes)
    }

    /// Which of `count` listening sockets gets a connection.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        self.random.below(count as u64) as usize
    }

    fn cut(&mut self, share: f64, bytes: usize) -> usize {
        match bytes > 1 && self.random.hits(share) {
            true => 1 + self.random.below(bytes as u64 - 1) as usize,
            false => bytes,
        }
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.random.below(most.as_nanos() as u64 + 1))
    }
}

/// A small generator (SplitMix64): every seed is good, and 64 bits of state are plenty for tests. No secrets come of it.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, all but evenly; zero if the bound is zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True with this probability.
    fn hits(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 * (0.5f64).powi(53) < share
    }
}
