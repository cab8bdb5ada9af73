//! The hand-shake between a shard that goes to sleep and whoever has something for it. Its one idea: both sides write
//! first and look afterwards, so at least one of them sees the other, and a sender pays for a system call only if the
//! receiver really sleeps. How a shard sleeps and how it is notified is left to the caller (`World::notify`).
//!
//! # The protocol
//!
//! ```text
//! receiver (the shard)                         sender (any thread)
//! R1  asleep := true                           S1  publish: set a wake bit, push to an inbox
//! R2  fence(SeqCst)                            S2  fence(SeqCst)
//! R3  anything published? then asleep := false S3  asleep = true? then asleep := false and unpark
//! R4  otherwise sleep until unparked
//! ```
//!
//! # Why no wake-up is lost
//!
//! All sequentially consistent fences stand in one total order, so either S2 comes before R2 or R2 before S2.
//!
//! - *S2 before R2.* S1 is before S2 and R3 after R2, so R3 sees what S1 wrote (or something newer): the receiver does
//!   not sleep.
//! - *R2 before S2.* R1 is before R2 and S3 after S2, so S3 sees `true`, or a later value. The only later values are the
//!   `false` of another sender, which then unparks for both of them, or the `false` of the receiver itself, which it
//!   writes only when it is up again and is going to look at everything before it next comes to R1.
//!
//! Publishing may be relaxed for this argument; the publisher's data needs its own release and acquire.
//!
//! # Why one unpark suffices, and why a late one is harmless
//!
//! S3 takes `true` away with a swap, so of many senders one unparks. The unpark must stick if it comes before the sleep
//! (an eventfd does, a thread's token does), because a sender may stand between S3 and its unpark while the receiver
//! stands between R3 and R4. A sender delayed there for longer unparks a receiver that is up already: the next sleep
//! ends at once, and the receiver, finding nothing, goes back to R1. That is why a sleep may always end early.

use crate::atomics::{AtomicBool, Ordering, fence};

/// The sleep state of one receiver. The receiver calls [`prepare`](Sleep::prepare) and [`awake`](Sleep::awake), anyone
/// calls [`wake`](Sleep::wake).
#[derive(Debug)]
pub struct Sleep {
    asleep: AtomicBool,
}

impl Sleep {
    /// A receiver that is awake.
    pub fn new() -> Self {
        Sleep { asleep: AtomicBool::new(false) }
    }

    /// The receiver wants to sleep: announces it, then looks once more with `nothing_pending`. When true comes back it
    /// may sleep, and must call [`awake`](Sleep::awake) afterwards; otherwise it stays up.
    pub fn prepare(&self, nothing_pending: impl FnOnce() -> bool) -> bool {
        // A swap, not a store: C++ puts a store after the swaps of earlier senders anyway, loom's model does not.
        self.asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_sleep = nothing_pending();
        if !may_sleep {
            self.awake();
        }
        may_sleep
    }

    /// The receiver is up again, for whatever reason, and will look at everything before it sleeps the next time.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// A sender has published something. True means that the receiver sleeps and this sender must unpark it.
    #[must_use = "when true, the receiver sleeps until it is unparked"]
    pub fn wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }
}

impl Default for Sleep {
    fn default() -> Self {
        Sleep::new()
    }
}

#[cfg(test)]
mod tests;
