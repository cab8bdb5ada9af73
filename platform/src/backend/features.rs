//! The ladder: which features of io_uring may be used, from which kernel each stands, and how to do without it.
//!
//! | feature | kernel | without it |
//! |---|---|---|
//! | io_uring itself, with extended-argument waits and provided-buffer rings | 5.19 | the readiness backend |
//! | multishot accept | 5.19 | one accept at a time, armed again |
//! | `COOP_TASKRUN`, `TASKRUN_FLAG` | 5.19 | the kernel interrupts the shard for every completion |
//! | `SUBMIT_ALL`, registered ring descriptor | 5.18 | a bad entry stops its batch; a descriptor look-up each enter |
//! | multishot receive | 6.0 | one receive at a time, armed again |
//! | `SINGLE_ISSUER`, zero-copy send | 6.0 | locks in the kernel; copying send |
//! | `DEFER_TASKRUN` | 6.1 | completions land when the kernel likes (5 to 10 % more CPU) |
//! | `NO_SQARRAY` | 6.6 | an indirection for each submission |
//! | several head buffers by one receive | 6.18 | a receive and a completion for each |
//!
//! Known defects that the code keeps clear of: `DEFER_TASKRUN` with linked, silent entries never completes (we link
//! nothing); a receive that finds no buffer ends its multishot, also as a positive completion without "more" (expected and
//! re-armed); receives into several buffers came with 6.10, give them in another order from 6.13.11 on, until 6.16
//! (liburing issue 1409), and refuse to be told how many before 6.17 (we do without them before 6.18, which is what was tried);
//! `IORING_OP_SHUTDOWN` goes through the worker pool (we call shutdown inline).

use std::str::FromStr;

/// A set of ring features. The default allows all; what the kernel lacks is left out by probing.
///
/// The environment variable `SHARDWISE_URING_MASK` names features to switch off, separated by commas, so that every rung
/// of the ladder can be tested on one kernel.
///
/// ```
/// use shardwise_platform::Features;
///
/// let features: Features = "defer_taskrun,multishot_receive".parse().unwrap();
/// assert!(!features.has(Features::DEFER_TASKRUN) && features.has(Features::MULTISHOT_ACCEPT));
/// assert!("teleport".parse::<Features>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// Every feature.
    pub const ALL: Features = Features((1 << NAMES.len()) - 1);
    /// Only this thread submits (6.0).
    pub const SINGLE_ISSUER: Features = Features(1 << 0);
    /// Completions land only when asked for (6.1); needs `SINGLE_ISSUER`.
    pub const DEFER_TASKRUN: Features = Features(1 << 1);
    /// Completions do not interrupt the shard (5.19).
    pub const COOP_TASKRUN: Features = Features(1 << 2);
    /// A flag in memory says that completions wait (5.19).
    pub const TASKRUN_FLAG: Features = Features(1 << 3);
    /// A bad entry does not stop its batch (5.18).
    pub const SUBMIT_ALL: Features = Features(1 << 4);
    /// No indirection array (6.6).
    pub const NO_SQARRAY: Features = Features(1 << 5);
    /// The ring's own descriptor is registered (5.18).
    pub const REGISTERED_RING: Features = Features(1 << 6);
    /// One accept gives many connections (5.19).
    pub const MULTISHOT_ACCEPT: Features = Features(1 << 7);
    /// One receive gives many chunks (6.0).
    pub const MULTISHOT_RECEIVE: Features = Features(1 << 8);
    /// Sends may read from our memory until notified (6.0).
    pub const ZERO_COPY: Features = Features(1 << 9);
    /// One receive fills as many head buffers as there are bytes for (6.18).
    pub const RECEIVE_BUNDLE: Features = Features(1 << 10);

    /// Whether all of `other` are in the set.
    pub fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set without `other`.
    pub fn without(self, other: Features) -> Features {
        Features(self.0 & !other.0)
    }

    /// Each feature alone, with its name, in the order of the ladder.
    pub fn each() -> impl Iterator<Item = (Features, &'static str)> {
        NAMES.iter().enumerate().map(|(bit, name)| (Features(1 << bit), *name))
    }
}

const NAMES: [&str; 11] = [
    "single_issuer",
    "defer_taskrun",
    "coop_taskrun",
    "taskrun_flag",
    "submit_all",
    "no_sqarray",
    "registered_ring",
    "multishot_accept",
    "multishot_receive",
    "zero_copy",
    "receive_bundle",
];

impl Default for Features {
    fn default() -> Self {
        Features::ALL
    }
}

/// Reads a mask: the names of features to leave out.
impl FromStr for Features {
    type Err = String;

    fn from_str(mask: &str) -> Result<Self, String> {
        mask.split(',').map(str::trim).filter(|name| !name.is_empty()).try_fold(Features::ALL, |features, name| {
            match NAMES.iter().position(|known| *known == name) {
                Some(bit) => Ok(features.without(Features(1 << bit))),
                None => Err(format!("there is no ring feature \"{name}\"; the features are {}", NAMES.join(", "))),
            }
        })
    }
}
