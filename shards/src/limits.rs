//! Every bound of this package, with its reason. When one is reached the caller learns it, and so does a counter.

use std::time::Duration;

/// Shards that may run at the same time in one process, simulated ones included.
/// Ten bits of a waker's number; a machine has fewer CPUs, and a simulation rarely wants more machines.
pub const WORLDS_MAX: usize = 1 << 10;

/// Tasks alive on one shard; spawning beyond it is refused.
/// A million connections on one core is more than its memory serves, and every task may own one bit of the wake set.
pub const TASKS_MAX: u32 = 1 << 20;

/// Task slots are added this many at a time: 64 KiB of headers, few enough to be cheap on a small shard and
/// enough that the table of segments stays within two pages.
pub const TASK_SEGMENT: u32 = 1 << 10;
const _: () = assert!(TASKS_MAX.is_multiple_of(TASK_SEGMENT));

/// Ready polls of the operations below a task in one go; an always-ready connection then yields to the others.
/// At about a microsecond an operation this keeps one poll within the time budget of a turn.
pub const OPS_PER_POLL: u32 = 128;

/// Polls between two looks at the clock: at 30 ns a look this adds under one nanosecond to a poll.
pub const POLLS_PER_CLOCK: u32 = 32;

/// How many tasks may be under way, each with what it has begun, before more begin a few at a time: at some ten kilobytes each for a
/// request that is passed on, they fit the cache of a core.
pub const UNDER_WAY_WARM: u32 = 64;

/// So few begin in a turn from then on: what they start reaches the kernel, and what has come to an end meanwhile is seen to, before
/// more is begun.
pub const BEGINS_PER_TURN: u32 = 16;

/// Of so many polls, one is of a task that was at rest, whatever else is ready: those that go on for ever keep nobody out.
pub const POLLS_PER_BEGIN: u32 = 16;

/// The smallest pooled future, one cache line.
pub const BLOCK_BYTES_MIN: usize = 64;

/// The largest pooled future; larger ones are rare, long-lived and boxed.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;

/// From this size on blocks lie an odd number of cache lines apart, and there one line more is little.
pub const STAGGERED_BLOCK_BYTES_MIN: usize = 512;

/// Tasks of a group that are kept in mind before it is looked which of them have ended.
pub const GROUP_TASKS_MIN: usize = 64;

/// Pooled memory is taken from the heap in slabs of this size: four of the largest blocks, with a line behind each, a thousand of
/// the smallest.
pub const SLAB_BYTES: usize = 65 * 1024;
const _: () = assert!(SLAB_BYTES >= 4 * (BLOCK_BYTES_MAX + BLOCK_BYTES_MIN));

/// Timers armed on one shard, of either kind; arming more is refused. Four for each task.
pub const TIMERS_MAX: u32 = 4 * TASKS_MAX;

/// The step of the coarse timers: they fire late by less than this, and never early.
/// Timeouts of connections are measured in seconds; a finer step would only make a sleeping shard wake more often.
pub const TICK: Duration = Duration::from_millis(1);

/// How long a turn runs tasks before it looks at completions and timers again: long enough for a hundred requests, short
/// enough that nobody's answer waits behind another's.
pub const TURN_TIME_MAX: Duration = Duration::from_micros(500);

/// Polls in one turn, for clocks that stand still while a turn runs, as a simulated one does.
pub const TURN_POLLS_MAX: u32 = 8192;
const _: () = assert!(TURN_POLLS_MAX.is_multiple_of(POLLS_PER_CLOCK));

/// What a simulated turn costs when it leaves tasks ready: the clock moves on, so that tasks which wait for time by
/// yielding see it pass.
pub const SIMULATED_TURN: Duration = Duration::from_micros(10);

/// Closures from other threads that wait for a shard. Its users are few (metrics, signals); a full inbox is an error they
/// learn.
pub const INBOX_LEN_MAX: usize = 4096;

/// Wakers of others' making that wait for an operation or a timer of one shard; as many as tasks. Beyond it they are woken
/// at once and ask again.
pub const STRANGERS_MAX: u32 = TASKS_MAX;

/// How long all shards may take to stand: a ring and its pools take a millisecond each.
pub const START_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a drain may take by default, as long as container runtimes wait before they kill.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(30);

/// How long shards may take to stop once the drain limit has passed and their work has been dropped.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// One-shot channels of one type that a shard keeps for the next: as many as requests in hand on a busy shard. What is more
/// goes back to the heap.
pub const ONESHOT_SPARES_MAX: usize = 1024;

/// Scopes alive on one shard; a further one is refused. One for each task, and one for what the task is about.
pub const SCOPES_MAX: u32 = 2 * TASKS_MAX;

/// Wakers for which the memory of a cancellation is kept for the next: a busy connection's worth. A larger crowd's goes
/// back to the heap.
pub const WAKERS_KEPT_MAX: usize = 4096;

/// How often a thread looks whether a signal has come, where none can wait for it. A person does not notice the delay, and
/// ten looks a second cost nothing.
pub const SIGNAL_LOOK_EVERY: Duration = Duration::from_millis(100);

/// A turn that took this long was held up by a task that blocks: twenty times what tasks are given. What has come meanwhile
/// counts as come in time.
pub const LATE_TURN_TIME_MIN: Duration = Duration::from_millis(10);
const _: () = assert!(LATE_TURN_TIME_MIN.as_micros() >= 10 * TURN_TIME_MAX.as_micros());

/// Late turns whose length is known. What was counted from one that is forgotten comes late by the longest of these, and a shard
/// that is late so often has other troubles.
pub const LATE_TURNS_KNOWN: usize = 16;

/// Captures of a closure, or bytes of a value, that lie in a message of the mesh; larger ones are boxed. With a function's
/// address and a label they make a cache line. Up to sixteen bytes make half of one, and cost little more than half.
pub const MESSAGE_INLINE_BYTES: usize = 48;

/// Requests that one shard may have on the way to another: calls that are not answered, closures that are not run. Enough to
/// keep a busy receiver busy for the turn until the next batch of credits.
pub const MESH_CREDITS: usize = 256;

/// One-way closures whose credits come back together, at the latest when the receiver has run all it found: a quarter of all,
/// so that the sender writes the next ones meanwhile.
pub const MESH_CREDITS_BATCH: u32 = MESH_CREDITS as u32 / 4;

/// Messages on a lane of requests, none of them short: one for each credit, and as many whose places the receiver has yet to give
/// back. 32 KiB for each direction between two shards that talk.
pub const MESH_REQUESTS: usize = 2 * MESH_CREDITS;

/// Messages on a lane of answers: those for all credits, and two cancels for each, as `mesh/link.rs` counts them.
/// 64 KiB for each direction.
pub const MESH_ANSWERS: usize = 4 * MESH_CREDITS;

/// Casts that one shard may have on the way to another; a further one is dropped. They stand for datagrams that reached the
/// wrong shard, of which a receive brings some tens: enough for a few of those in a turn, and no more than a socket's queue
/// would hold. 16 KiB for each direction between two shards that talk.
pub const MESH_CASTS: usize = 256;

/// Casts from all peers that a shard runs in one turn, besides requests.
pub const MESH_CASTS_PER_TURN_MAX: usize = 1024;

/// Calls of one link whose slots are in use: those without an answer, and those whose answer nobody has taken yet. A further
/// one is refused. As many as a busy shard has requests in hand.
pub const MESH_CALLS_MAX: usize = 1 << 15;

/// Messages that a link gathers before they are shown: a receiver that is awake begins while more are written, and what
/// showing costs (a line that goes to and fro, since the receiver looks at it) is spread over that many.
pub const MESH_PUBLISH_BATCH: usize = 16;

/// Requests from all peers that a shard runs in one turn before it looks at its own tasks: at 100 ns each a fifth of a turn.
pub const MESH_REQUESTS_PER_TURN_MAX: usize = 1024;

/// `PerShard`s of one runtime. They are declared line by line, and never removed, so more of them are a loop that was not
/// meant; making one more is a panic that says so.
pub const PER_SHARDS_MAX: usize = 1024;

/// The longest that an idle shard may look for something to do before it sleeps: many times what a wake-up takes. What comes
/// later than that is not waited for with a whole CPU.
pub const SPIN_TIME_MAX: Duration = TURN_TIME_MAX;

/// Below this it sleeps at once: about what two looks at the clock cost.
pub const SPIN_TIME_MIN: Duration = Duration::from_nanos(100);

/// Looks into memory between two looks at the clock.
pub const SPIN_LOOKS_PER_CLOCK: u32 = 32;

/// Receive buffers for heads of a thread's private shard: it waits for one thing at a time, seldom for a few. 64 KiB.
pub const PRIVATE_HEAD_BUFFERS: u16 = 16;

/// Receive buffers for bodies of a private shard. 256 KiB: a download keeps two in its hands while the kernel fills two.
pub const PRIVATE_BULK_BUFFERS: u16 = 4;

/// Bytes of pooled chunks that a private shard may lease at a time: what one thread sends or holds of what it received. Only
/// what is leased costs memory. Beyond 32 MiB an allocator maps such a region afresh (glibc's M_MMAP_THRESHOLD_MAX); below, it
/// takes what the last thread has left and clears it, which cost 50 ms a thread.
pub const PRIVATE_POOL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Threads of the pool for offloaded jobs, for each CPU that the process may use, unless the builder says otherwise. Most of
/// such jobs wait for a disk or a lock; those that compute should not crowd out the shards by more than that.
pub const OFFLOAD_THREADS_PER_CPU: usize = 4;

/// The most that a builder may ask for. Each is a stack and a place in the kernel's tables; code that wants more of them wants to
/// be asynchronous.
pub const OFFLOAD_THREADS_MAX: usize = 1024;

/// Offloaded jobs of one shard that wait for a thread, unless the builder says otherwise: as many as requests in hand on a busy
/// shard. A further one is refused.
pub const OFFLOAD_QUEUE_MAX: usize = 1024;

/// How long a thread of the pool waits for a job before it ends. Starting one costs some 50 µs, keeping it a stack: ten seconds
/// span the gaps of a steady load.
pub const OFFLOAD_IDLE_TIME_MAX: Duration = Duration::from_secs(10);

/// While the end waits for offloaded jobs: how often it looks whether a second signal has come.
pub const OFFLOAD_LOOK_EVERY: Duration = Duration::from_millis(50);

/// A simulated thread takes up to this to come for a job: what waking one costs on a busy machine.
pub const SIMULATED_THREAD_WAKE_MAX: Duration = Duration::from_micros(200);

/// An offloaded job takes up to this on a simulated machine: a few reads of a disk.
pub const SIMULATED_JOB_TIME_MAX: Duration = Duration::from_millis(10);

/// Plain threads of a simulated machine: more than a test has use for. Each is a stack.
pub const SIMULATED_PLAIN_THREADS_MAX: usize = 1024;

/// Bytes of the stack that stands in for a thread's on a simulated machine: as many as the standard library gives a thread. Only
/// what is touched costs memory.
pub const SIMULATED_THREAD_STACK_BYTES: usize = 2 * 1024 * 1024;

/// CPUs of a simulated machine, as far as the pool of threads goes: two, so that jobs overtake each other and also wait.
pub const SIMULATED_CPUS: usize = 2;

/// How long a successor may take until it serves: an application that reads much before it does. The process before it serves
/// meanwhile.
pub const SUCCESSOR_START_TIME_MAX: Duration = Duration::from_secs(120);

/// How long a successor that has failed may take to end before it is killed: a drain's usual limit, and some.
pub const SUCCESSOR_END_TIME_MAX: Duration = Duration::from_secs(60);
const _: () = assert!(SUCCESSOR_END_TIME_MAX.as_secs() > DRAIN_TIME_MAX.as_secs() + STOP_TIME_MAX.as_secs());

/// How often it is looked whether it has.
pub const SUCCESSOR_LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a process that serves on all shards waits for further addresses to be served, while it was left sockets that none has
/// claimed. Only who drops an address from a configuration waits so long, while the process before it serves.
pub const CLAIM_TIME_MAX: Duration = Duration::from_secs(5);

/// Sockets that a process may be left: as many addresses as shards on a large machine, several times.
pub const LEFT_SOCKETS_MAX: usize = 4096;

/// Datagrams that a neighbour has passed on and that wait for one shard; what is more is dropped. As many as wait in a socket's
/// queue (net.core.rmem_default), when each is as long as a packet.
pub const STRAYS_MAX: usize = 128;

/// Bytes of one on its way: the longest datagram of UDP, and what is said of it.
pub const STRAY_BYTES_MAX: usize = 65_507 + crate::runtime::strays::HEAD_BYTES;

/// Keepsakes of a process: secrets that it shares with its successor. A program has one or two.
pub const KEEPSAKES_MAX: usize = 64;

/// Bytes of a keepsake: a key or a secret. With its name, and in hexadecimal, it goes through the cord as one message.
pub const KEEPSAKE_BYTES_MAX: usize = 1024;

/// Bytes of a keepsake's name.
pub const KEEPSAKE_NAME_BYTES_MAX: usize = 64;
const _: () =
    assert!("keep  ".len() + KEEPSAKE_NAME_BYTES_MAX + 2 * KEEPSAKE_BYTES_MAX <= platform::limits::CORD_BYTES_MAX);
