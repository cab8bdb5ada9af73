//! What a wake-up costs by itself: two threads that wake each other in turns, each asleep in the kernel meanwhile, by every
//! means that ends a shard's sleep in its backend; beside a call between two shards that sleep, which needs two of them.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};
use rustix::event::epoll;
use rustix::thread::futex;

use crate::mesh::{between_threads, calls, on_shards, spin_until};
use crate::{Aim, Contest, Row, Unit};

pub(crate) fn contests() -> Vec<Contest> {
    vec![Contest {
        name: "call and reply beside two wake-ups alone, both sleep",
        unit: Unit::Nanoseconds,
        aim: Aim::OfBest(1.2),
        rows: vec![
            Row::new("shardwise, call", || on_shards(Duration::ZERO, |shard| calls(shard, 1, COUNT))),
            Row::new("eventfd, polled by the ring", || by_eventfd(OnRing::new)),
            Row::new("eventfd, by epoll", || by_eventfd(OnEpoll::new)),
            Row::new("a message from ring to ring", by_message),
            Row::new("futex, waited for by the ring", by_futex),
        ],
    }]
}

/// Wake-ups there and back in one sample.
const COUNT: u64 = 2_000;

/// One of two threads that wake each other. A wake-up that comes before the sleep ends it at once.
trait Sleeper {
    fn sleep(&mut self);
    fn wake_peer(&mut self);
}

/// The cost of waking the peer and being woken by it.
fn in_turns<S: Sleeper>(make: impl Fn(usize) -> S + Sync) -> f64 {
    let (there, here) = (|| make(1), || make(0));
    between_threads(
        COUNT,
        move || {
            let mut sleeper = there();
            for _ in 0..COUNT {
                sleeper.sleep();
                sleeper.wake_peer();
            }
        },
        move || {
            let mut sleeper = here();
            for _ in 0..COUNT {
                sleeper.wake_peer();
                sleeper.sleep();
            }
        },
    )
}

/// A ring as shards have it. It belongs to the thread that makes it.
fn ring() -> IoUring {
    let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(8);
    ring.expect("a kernel of 6.1 or newer, with io_uring")
}

/// # Safety
///
/// What the entry points to outlives its completion.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: our caller's promise.
    unsafe { ring.submission().push(entry) }.expect("the queue has room");
}

/// Submits, waits for a completion and takes all that are there; gives how many.
fn wait(ring: &mut IoUring) -> usize {
    ring.submit_and_wait(1).expect("a completion");
    ring.completion().count()
}

// ---- eventfd ----------------------------------------------------------------------------------------------------------

fn by_eventfd<W: FnMut()>(waiter: impl Fn(RawFd) -> W + Sync) -> f64 {
    let events: [OwnedFd; 2] =
        std::array::from_fn(|_| rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd"));
    in_turns(|place| Eventful { wait: waiter(events[place].as_raw_fd()), peer: &events[1 - place] })
}

struct Eventful<'a, W> {
    wait: W,
    peer: &'a OwnedFd,
}

impl<W: FnMut()> Sleeper for Eventful<'_, W> {
    fn sleep(&mut self) {
        (self.wait)();
    }

    fn wake_peer(&mut self) {
        rustix::io::write(self.peer, &1u64.to_ne_bytes()).expect("a number is added");
    }
}

/// Who waits for an eventfd by a multishot poll of its ring, which tells of every write.
struct OnRing;

impl OnRing {
    #[allow(clippy::new_ret_no_self, reason = "the waiting is a closure")]
    fn new(event: RawFd) -> impl FnMut() {
        let mut ring = ring();
        let mut is_armed = false;
        move || {
            if !is_armed {
                let entry = opcode::PollAdd::new(Fd(event), rustix::event::PollFlags::IN.bits().into()).multi(true);
                // SAFETY: a poll points to nothing.
                unsafe { push(&mut ring, &entry.build()) };
                is_armed = true;
            }
            ring.submit_and_wait(1).expect("a completion");
            for completion in ring.completion() {
                is_armed = io_uring::cqueue::more(completion.flags());
            }
        }
    }
}

/// Who waits for an eventfd by epoll, which tells of its edges.
struct OnEpoll;

impl OnEpoll {
    #[allow(clippy::new_ret_no_self, reason = "the waiting is a closure")]
    fn new(event: RawFd) -> impl FnMut() {
        let file = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll file");
        // SAFETY: the eventfd is open until both threads have ended.
        let event = unsafe { std::os::fd::BorrowedFd::borrow_raw(event) };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&file, event, epoll::EventData::new_u64(0), flags).expect("it is watched");
        move || {
            let mut events = Vec::<epoll::Event>::with_capacity(4);
            epoll::wait(&file, rustix::buffer::spare_capacity(&mut events), None).expect("an event");
        }
    }
}

// ---- ring to ring -----------------------------------------------------------------------------------------------------

fn by_message() -> f64 {
    let rings: [OnceLock<RawFd>; 2] = Default::default();
    in_turns(|place| {
        let ring = ring();
        rings[place].get_or_init(|| ring.as_raw_fd());
        let peer = spin_until(|| rings[1 - place].get().copied());
        Messages { ring, peer, came: 0, left: COUNT }
    })
}

/// Sends a completion into the peer's ring with what it submits when it goes to sleep: one entry into the kernel for both.
struct Messages {
    ring: IoUring,
    peer: RawFd,
    /// Messages that have come and not ended a sleep.
    came: usize,
    left: u64,
}

/// Of a message; other completions are those of what was sent.
const MESSAGE: u64 = 1;

impl Sleeper for Messages {
    fn sleep(&mut self) {
        while self.came == 0 {
            self.ring.submit_and_wait(1).expect("a completion");
            self.came += self.ring.completion().filter(|completion| completion.user_data() == MESSAGE).count();
        }
        self.came -= 1;
    }

    fn wake_peer(&mut self) {
        let entry = opcode::MsgRingData::new(Fd(self.peer), 0, MESSAGE, None).build();
        // SAFETY: a message to a ring points to nothing. The peer's ring is open until it has had the last.
        unsafe { push(&mut self.ring, &entry.flags(squeue::Flags::SKIP_SUCCESS)) };
        self.left -= 1;
        if self.left == 0 {
            self.ring.submit().expect("it is sent, since no sleep may follow");
        }
    }
}

// ---- futex ------------------------------------------------------------------------------------------------------------

fn by_futex() -> f64 {
    let words: [AtomicU32; 2] = Default::default();
    in_turns(|place| Futexes { ring: ring(), own: &words[place], peer: &words[1 - place] })
}

/// The ring waits for a word that is no longer zero.
struct Futexes<'a> {
    ring: IoUring,
    own: &'a AtomicU32,
    peer: &'a AtomicU32,
}

impl Sleeper for Futexes<'_> {
    fn sleep(&mut self) {
        while self.own.swap(0, Ordering::Acquire) == 0 {
            let entry = opcode::FutexWait::new(self.own.as_ptr(), 0, u32::MAX.into(), FUTEX_PRIVATE_U32);
            // SAFETY: the word outlives both threads, and this ring is waited on until the entry has completed.
            unsafe { push(&mut self.ring, &entry.build()) };
            wait(&mut self.ring);
        }
    }

    fn wake_peer(&mut self) {
        self.peer.store(1, Ordering::Release);
        futex::wake(self.peer, futex::Flags::PRIVATE, 1).expect("a wake-up");
    }
}

/// FUTEX2_SIZE_U32 | FUTEX2_PRIVATE.
const FUTEX_PRIVATE_U32: u32 = 2 | 128;
