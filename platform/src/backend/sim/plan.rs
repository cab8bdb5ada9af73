//! What is left to chance on a simulated machine: a [`Plan`] says how often, one seeded generator says when.
//!
//! Every decision that a network, a disk, a kernel or a scheduler makes without being asked is a method of [`Chance`], so
//! this file lists all that can go differently from one seed to the next. It leaves what follows from a decision to its
//! callers.

use std::time::Duration;

use super::limits::SUBMISSION_SHORT_MAX;

/// How a machine behaves where it has a choice. The default is a calm one: nothing is ever cut, and times are fixed.
///
/// A share is a number from zero, never, to one, each time; how long something takes is drawn evenly up to the time that
/// stands beside its share. What has a share of zero draws nothing, so a plan with one fault more goes its own way only
/// where that fault is asked about.
///
/// ```
/// use shardwise_platform::sim::{Machine, Plan};
///
/// let plan = Plan { resets: 0.01, lost_datagrams: 0.2, ..Plan::CHOPPY };
/// let machine = Machine::with_plan(1, plan);
/// assert_eq!(machine.seed(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    // ---- the network -------------------------------------------------------------------------------------------------
    /// How long a segment or a datagram travels, at least.
    pub latency: Duration,
    /// How much longer it may travel, drawn for each. Streams stay in order all the same; datagrams overtake each other.
    pub jitter: Duration,
    /// The share of segments that carry less than they could: a path of small packets.
    pub short_segments: f64,
    /// The share of receives, and of reads from files, that give less than there is: a kernel that hands over what has
    /// come so far, a page that is not in its cache.
    pub short_receives: f64,
    /// The share of sends of which only a part goes at first, and of writes to files that write less than asked: a buffer
    /// that is nearly full.
    pub partial_sends: f64,
    /// The share of attempts to connect that are lost on their way and tried again after a second, then two, then four: a
    /// dropped SYN.
    pub lost_connects: f64,
    /// The share of attempts to connect that are refused although somebody listens: a firewall, a listener that is just
    /// being replaced.
    pub refused_connects: f64,
    /// The share of segments instead of which a reset reaches both ends: a middlebox that has forgotten the connection, a
    /// peer that was killed.
    pub resets: f64,
    /// The share of segments with which their connection goes dead: nothing arrives any more at either end, neither an end
    /// nor a reset, until an end's own time-out or its keep-alive gives up. A pulled cable, a host without power.
    pub dead_lines: f64,
    /// The share of segments after which their receiver takes no more: a peer that has stopped reading.
    pub shut_windows: f64,
    /// How long a window stays shut.
    pub shut_time: Duration,
    /// The share of shut windows that never open again.
    pub shut_for_good: f64,
    /// The share of datagrams that do not arrive: a queue on the path was full.
    pub lost_datagrams: f64,
    /// The share of datagrams that arrive twice: a link that repeats what it takes for lost.
    pub doubled_datagrams: f64,
    /// The share of datagrams that others overtake: a path that has changed.
    pub late_datagrams: f64,
    /// How late.
    pub datagram_delay: Duration,
    /// The share of datagrams in which one bit arrives wrong: what a checksum of sixteen bits lets through, or a forger
    /// sends.
    pub corrupt_datagrams: f64,

    // ---- the kernel --------------------------------------------------------------------------------------------------
    /// The share of completions that land after a while, though what they tell has happened: those of other sockets and
    /// files overtake them, those of the same socket stay in order. A kernel thread that was not scheduled.
    pub late_completions: f64,
    /// How late.
    pub completion_delay: Duration,
    /// The share of cancels that take effect after a while. The operation goes on meanwhile, and may end first.
    pub late_cancels: f64,
    /// How late.
    pub cancel_delay: Duration,
    /// The share of zero-copy sends whose memory comes back late, others first: the peer has not acknowledged the bytes.
    pub late_notifications: f64,
    /// How late.
    pub notification_delay: Duration,
    /// The share of enters in which the kernel takes a few entries and leaves the rest queued: a submission queue that is
    /// short, a kernel without memory (EAGAIN).
    pub short_submissions: f64,
    /// The share of receives that find no buffer although there are some, once each: the kernel has not seen yet what was
    /// given back (ENOBUFS). The stream starves, and is revived.
    pub missed_buffers: f64,
    /// The share of accepts, of opened files and of new sockets that find no descriptor left (EMFILE). From then on nobody
    /// on the same shard finds one, for a while: a connection waits in the accept queue.
    pub scarce_descriptors: f64,
    /// For how long.
    pub scarce_time: Duration,

    // ---- the disk ----------------------------------------------------------------------------------------------------
    /// How long the disk takes for an operation.
    pub disk_latency: Duration,
    /// The share of operations for which it takes longer: a device that others keep busy. Operations overtake each other.
    pub slow_disk: f64,
    /// How much longer.
    pub disk_delay: Duration,
    /// The share of writes, of syncs and of created files for which there is no space (ENOSPC). Nothing is written then.
    pub full_disk: f64,
    /// The share of reads, writes and syncs that fail (EIO): a bad block. Nothing is read or written then.
    pub disk_errors: f64,

    // ---- time --------------------------------------------------------------------------------------------------------
    /// How far apart jumps of the wall clock are on average; zero for none. An operator, or a time server.
    pub wall_jump_every: Duration,
    /// How far from the true time of day a jump leads, forward or back.
    pub wall_jump: Duration,
    /// How far apart leaps of all time are on average, in which nobody runs; zero for none. A suspended virtual machine.
    pub leap_every: Duration,
    /// How far a leap goes.
    pub leap: Duration,
    /// The share of a shard's enters with news after which it is not turned for a while: another process has its CPU.
    pub stalls: f64,
    /// For how long.
    pub stall_time: Duration,
}

impl Plan {
    /// Nothing is cut, nothing goes wrong, and times are fixed. The times beside shares of zero are what a plan gets that
    /// sets the share alone.
    pub const CALM: Plan = Plan {
        latency: Duration::from_micros(50),
        jitter: Duration::ZERO,
        short_segments: 0.0,
        short_receives: 0.0,
        partial_sends: 0.0,
        lost_connects: 0.0,
        refused_connects: 0.0,
        resets: 0.0,
        dead_lines: 0.0,
        shut_windows: 0.0,
        shut_time: Duration::from_secs(2),
        shut_for_good: 0.0,
        lost_datagrams: 0.0,
        doubled_datagrams: 0.0,
        late_datagrams: 0.0,
        datagram_delay: Duration::from_millis(20),
        corrupt_datagrams: 0.0,
        late_completions: 0.0,
        completion_delay: Duration::from_millis(1),
        late_cancels: 0.0,
        cancel_delay: Duration::from_millis(1),
        late_notifications: 0.0,
        notification_delay: Duration::from_millis(200),
        short_submissions: 0.0,
        missed_buffers: 0.0,
        scarce_descriptors: 0.0,
        scarce_time: Duration::from_millis(100),
        disk_latency: Duration::from_micros(100),
        slow_disk: 0.0,
        disk_delay: Duration::from_millis(100),
        full_disk: 0.0,
        disk_errors: 0.0,
        wall_jump_every: Duration::ZERO,
        wall_jump: Duration::from_secs(24 * 3600),
        leap_every: Duration::ZERO,
        leap: Duration::from_secs(60),
        stalls: 0.0,
        stall_time: Duration::from_millis(20),
    };

    /// All that a healthy network and disk may do: whatever a program reads or writes is cut at any point, and travels
    /// for a different time.
    pub const CHOPPY: Plan = Plan {
        latency: Duration::from_micros(20),
        jitter: Duration::from_micros(500),
        short_segments: 0.3,
        short_receives: 0.3,
        partial_sends: 0.3,
        ..Plan::CALM
    };

    /// [`CHOPPY`](Self::CHOPPY), where this share of the datagrams is lost, as many come twice, as many are overtaken, and as many
    /// arrive wrong.
    pub const fn rough(share: f64) -> Plan {
        Plan {
            lost_datagrams: share,
            doubled_datagrams: share,
            late_datagrams: share,
            corrupt_datagrams: share,
            ..Plan::CHOPPY
        }
    }

    /// All that a healthy kernel may do: it takes what it is given bit by bit, answers late and in another order,
    /// cancels too late, and at times does not see a buffer. Nothing is lost, and nobody fails.
    pub const LATE: Plan = Plan {
        late_completions: 0.3,
        late_cancels: 0.5,
        late_notifications: 0.5,
        notification_delay: Duration::from_millis(2),
        short_submissions: 0.5,
        missed_buffers: 0.1,
        slow_disk: 0.1,
        disk_delay: Duration::from_millis(1),
        stalls: 0.01,
        ..Plan::CALM
    };

    /// Everything at once: connections break, go dead or stand still, descriptors run out, the disk fails, clocks jump.
    /// Seldom enough that a server which keeps its promises gets most of its work done: of a hundred small requests, two or
    /// three are lost with their connection.
    pub const HOSTILE: Plan = Plan {
        latency: Plan::CHOPPY.latency,
        jitter: Plan::CHOPPY.jitter,
        short_segments: Plan::CHOPPY.short_segments,
        short_receives: Plan::CHOPPY.short_receives,
        partial_sends: Plan::CHOPPY.partial_sends,
        lost_connects: 0.02,
        refused_connects: 0.02,
        resets: 0.001,
        dead_lines: 0.0005,
        shut_windows: 0.002,
        shut_for_good: 0.1,
        lost_datagrams: 0.05,
        doubled_datagrams: 0.02,
        late_datagrams: 0.05,
        corrupt_datagrams: 0.01,
        notification_delay: Duration::from_millis(200),
        scarce_descriptors: 0.01,
        disk_delay: Duration::from_millis(100),
        full_disk: 0.01,
        disk_errors: 0.01,
        wall_jump_every: Duration::from_secs(5),
        leap_every: Duration::from_secs(30),
        ..Plan::LATE
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

/// What becomes of a segment with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Arrives,
    /// Both ends are reset instead.
    Resets,
    /// It is lost, and so is all that follows.
    Dies,
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) is_lost: bool,
    pub(super) is_doubled: bool,
    /// The bit that arrives wrong.
    pub(super) wrong_bit: Option<usize>,
}

impl Chance {
    pub(super) fn new(plan: Plan, random: Random) -> Self {
        Chance { plan, random }
    }

    /// A generator of its own for a shard's program, so that what the program draws does not change what the network does.
    pub(super) fn fork(&mut self) -> Random {
        Random::new(self.random.next())
    }

    // ---- the network -------------------------------------------------------------------------------------------------

    /// How long a segment travels, or an attempt to connect.
    pub(super) fn travel(&mut self) -> Duration {
        self.plan.latency + self.up_to(self.plan.jitter)
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

    /// Whether an attempt to connect is lost.
    pub(super) fn loses_connect(&mut self) -> bool {
        self.random.hits(self.plan.lost_connects)
    }

    /// Whether an attempt to connect is refused.
    pub(super) fn refuses_connect(&mut self) -> bool {
        self.random.hits(self.plan.refused_connects)
    }

    /// What becomes of a segment with bytes.
    pub(super) fn passage(&mut self) -> Passage {
        if self.random.hits(self.plan.resets) {
            Passage::Resets
        } else if self.random.hits(self.plan.dead_lines) {
            Passage::Dies
        } else {
            Passage::Arrives
        }
    }

    /// For how long a receiver takes no more from now on; [`Duration::MAX`] is for good.
    pub(super) fn shuts_window(&mut self) -> Option<Duration> {
        if !self.random.hits(self.plan.shut_windows) {
            return None;
        }
        let for_good = self.random.hits(self.plan.shut_for_good);
        Some(if for_good { Duration::MAX } else { self.up_to(self.plan.shut_time) })
    }

    /// What becomes of a datagram of so many bytes.
    pub(super) fn delivery(&mut self, bytes: usize) -> Delivery {
        if self.random.hits(self.plan.lost_datagrams) {
            return Delivery { is_lost: true, ..Delivery::default() };
        }
        let is_wrong = self.random.hits(self.plan.corrupt_datagrams) && bytes > 0;
        let wrong_bit = is_wrong.then(|| self.random.below(8 * bytes as u64) as usize);
        Delivery { is_lost: false, is_doubled: self.random.hits(self.plan.doubled_datagrams), wrong_bit }
    }

    /// How long a datagram travels.
    pub(super) fn datagram_travel(&mut self) -> Duration {
        self.travel() + self.late(self.plan.late_datagrams, self.plan.datagram_delay)
    }

    // ---- the kernel --------------------------------------------------------------------------------------------------

    /// How late a completion lands.
    pub(super) fn completion(&mut self) -> Duration {
        self.late(self.plan.late_completions, self.plan.completion_delay)
    }

    /// How late a cancel takes effect.
    pub(super) fn cancel(&mut self) -> Duration {
        self.late(self.plan.late_cancels, self.plan.cancel_delay)
    }

    /// How long the machine keeps the memory of a zero-copy send after it has left: until the peer's answer.
    pub(super) fn notification(&mut self) -> Duration {
        let there_and_back = self.travel() + self.travel();
        there_and_back + self.late(self.plan.late_notifications, self.plan.notification_delay)
    }

    /// How many entries this enter takes.
    pub(super) fn submissions(&mut self) -> usize {
        match self.random.hits(self.plan.short_submissions) {
            true => 1 + self.random.below(SUBMISSION_SHORT_MAX) as usize,
            false => usize::MAX,
        }
    }

    /// Whether a receive finds no buffer although there are some.
    pub(super) fn misses_buffer(&mut self) -> bool {
        self.random.hits(self.plan.missed_buffers)
    }

    /// For how long no descriptor is left from now on.
    pub(super) fn lacks_descriptors(&mut self) -> Option<Duration> {
        self.random.hits(self.plan.scarce_descriptors).then(|| self.up_to(self.plan.scarce_time))
    }

    // ---- the disk ----------------------------------------------------------------------------------------------------

    /// How long an operation on a file takes.
    pub(super) fn disk(&mut self) -> Duration {
        self.plan.disk_latency + self.late(self.plan.slow_disk, self.plan.disk_delay)
    }

    /// Whether there is no space for what is to be written.
    pub(super) fn fills_disk(&mut self) -> bool {
        self.random.hits(self.plan.full_disk)
    }

    /// Whether the disk fails.
    pub(super) fn breaks_disk(&mut self) -> bool {
        self.random.hits(self.plan.disk_errors)
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    /// How long it is to the next jump of the wall clock; [`Duration::MAX`] if there is none.
    pub(super) fn until_wall_jump(&mut self) -> Duration {
        self.until(self.plan.wall_jump_every)
    }

    /// How far the wall clock is from the true time after a jump, and whether ahead of it.
    pub(super) fn wall_jump(&mut self) -> (Duration, bool) {
        (self.up_to(self.plan.wall_jump), self.random.hits(0.5))
    }

    /// How long it is to the next leap of all time; [`Duration::MAX`] if there is none.
    pub(super) fn until_leap(&mut self) -> Duration {
        self.until(self.plan.leap_every)
    }

    /// How far time leaps.
    pub(super) fn leap(&mut self) -> Duration {
        self.up_to(self.plan.leap)
    }

    /// For how long a shard is not turned from now on.
    pub(super) fn stall(&mut self) -> Duration {
        self.late(self.plan.stalls, self.plan.stall_time)
    }

    // ---- drawing -----------------------------------------------------------------------------------------------------

    fn cut(&mut self, share: f64, bytes: usize) -> usize {
        match bytes > 1 && self.random.hits(share) {
            true => 1 + self.random.below(bytes as u64 - 1) as usize,
            false => bytes,
        }
    }

    fn late(&mut self, share: f64, most: Duration) -> Duration {
        if self.random.hits(share) { self.up_to(most) } else { Duration::ZERO }
    }

    /// A time whose average is `mean`.
    fn until(&mut self, mean: Duration) -> Duration {
        if mean.is_zero() { Duration::MAX } else { self.up_to(mean.saturating_mul(2)) }
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        match most.as_nanos().min(u64::MAX.into()) as u64 {
            0 => Duration::ZERO,
            most => Duration::from_nanos(self.random.below(most.saturating_add(1))),
        }
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

    /// True with this probability. What cannot happen draws nothing.
    fn hits(&mut self, share: f64) -> bool {
        share > 0.0 && ((self.next() >> 11) as f64 * (0.5f64).powi(53)) < share
    }
}
