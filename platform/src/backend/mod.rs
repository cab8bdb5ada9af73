//! What talks to the kernel for a shard, chosen when the program starts.
//!
//! Each variant is a plain file without `cfg`; this one picks. All of them take entries from the same queue and report to
//! the same slots (see `flight.rs`), so that ownership, cancellation and disposal mean the same everywhere, and only speed
//! differs.

mod epoll;
mod features;
mod readiness;
pub mod sim;
mod uring;

use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::time::{Instant, SystemTime};

pub use features::Features;

use crate::buffer::PoolSize;
use crate::flight::Core;
use crate::handle::Resource;
use crate::op::Wait;
use crate::socket::{self, ListenError, ListenOptions, Socket, SocketOption};
use crate::unpark::Unparker;
use crate::{Error, Result, os};

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The fastest that this host offers.
    #[default]
    Auto,
    /// This one, or an error that says why not.
    Force(BackendKind),
}

/// The kinds of backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// io_uring; Linux 5.19 at least, 6.1 for all that matters.
    Uring,
    /// Readiness by an epoll file; any Linux.
    Epoll,
    /// A simulated machine, for tests.
    Sim,
}

impl BackendKind {
    /// Its name in options, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Uring => "uring",
            BackendKind::Epoll => "epoll",
            BackendKind::Sim => "sim",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Choice::Auto),
            "uring" => Ok(Choice::Force(BackendKind::Uring)),
            "epoll" => Ok(Choice::Force(BackendKind::Epoll)),
            _ => Err(format!("there is no backend \"{text}\": choose auto, uring or epoll")),
        }
    }
}

/// How a reactor is set up. Plain data; the same for all shards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// The size of its buffer pool.
    pub pool: PoolSize,
    /// Ring features that may be used.
    pub features: Features,
}

/// A backend that can be had, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The kind.
    pub kind: BackendKind,
    /// One line for the start message and the info metric.
    pub why: String,
}

/// Why a backend cannot be had, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// Which one.
    pub kind: BackendKind,
    /// What the system said, and the remedy, in whole sentences.
    pub reason: String,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} backend cannot be had here: {}", self.kind, self.reason)
    }
}

impl std::error::Error for SetupError {}

/// Decides on a backend by probing: a ring is set up and a no-op runs through it. Where io_uring cannot be had, readiness
/// takes over and the selection says why; a forced backend that cannot be had is an error.
pub fn select(choice: Choice, config: &Config) -> std::result::Result<Selection, SetupError> {
    match choice {
        Choice::Force(BackendKind::Uring) => {
            let ladder = uring::probe(config)?;
            Ok(Selection { kind: BackendKind::Uring, why: format!("asked for; {ladder}") })
        }
        Choice::Force(kind) => Ok(Selection { kind, why: "asked for".to_owned() }),
        Choice::Auto => Ok(match uring::probe(config) {
            Ok(ladder) => Selection { kind: BackendKind::Uring, why: format!("io_uring works; {ladder}") },
            Err(error) => Selection { kind: BackendKind::Epoll, why: error.reason },
        }),
    }
}

/// The backend of one shard: one match per batch.
pub(crate) enum Backend {
    Uring(Box<uring::Uring>),
    Epoll(Box<epoll::Epoll>),
    Sim(sim::Sim),
}

impl Backend {
    pub(crate) fn open(
        kind: BackendKind,
        config: &Config,
        core: &Core,
        unparker: &Unparker,
    ) -> std::result::Result<Self, SetupError> {
        match kind {
            BackendKind::Uring => Ok(Backend::Uring(Box::new(uring::Uring::open(config, core, unparker)?))),
            BackendKind::Epoll => Ok(Backend::Epoll(Box::new(epoll::Epoll::open(unparker)?))),
            BackendKind::Sim => Err(SetupError {
                kind,
                reason: "a simulated machine is made by a test: use `Reactor::simulated`.".to_owned(),
            }),
        }
    }

    pub(crate) fn kind(&self) -> BackendKind {
        match self {
            Backend::Uring(_) => BackendKind::Uring,
            Backend::Epoll(_) => BackendKind::Epoll,
            Backend::Sim(_) => BackendKind::Sim,
        }
    }

    /// Submits what is queued, waits as told, and lands what has completed.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        match self {
            Backend::Uring(uring) => uring.enter(core, wait),
            Backend::Epoll(epoll) => epoll.enter(core, wait),
            Backend::Sim(sim) => sim.enter(core, wait),
        }
    }

    /// Forgets memory that the kernel may look at, without freeing it.
    pub(crate) fn leak(&mut self) {
        match self {
            Backend::Uring(uring) => uring.leak(),
            // Readiness lends the kernel no memory, and a simulated kernel has none.
            Backend::Epoll(_) | Backend::Sim(_) => {}
        }
    }

    /// Ends what no waiting would: a simulated clock stands still while a reactor is dropped.
    pub(crate) fn give_up(&mut self, core: &mut Core) {
        if let Backend::Sim(sim) = self {
            sim.give_up(core);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Backend::Uring(_) | Backend::Epoll(_) => Instant::now(),
            Backend::Sim(sim) => sim.now(),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
    pub(crate) fn wall_clock(&self) -> SystemTime {
        match self {
            Backend::Uring(_) | Backend::Epoll(_) => SystemTime::now(),
            Backend::Sim(sim) => sim.wall_clock(),
        }
    }

    pub(crate) fn random(&mut self) -> u64 {
        match self {
            Backend::Uring(_) | Backend::Epoll(_) => os::random(),
            Backend::Sim(sim) => sim.random(),
        }
    }

    /// Makes an outside socket fit for this backend.
    ///
    /// Errors: `Unsupported` (a socket of another machine).
    pub(crate) fn adopt(&self, socket: Socket) -> Result<Resource> {
        match (self, &socket.0) {
            (Backend::Uring(_), Resource::Os(descriptor)) => os::set_nonblocking(descriptor, false)?,
            (Backend::Epoll(_), Resource::Os(descriptor)) => os::set_nonblocking(descriptor, true)?,
            (Backend::Sim(sim), Resource::Sim(descriptor)) if sim.owns(descriptor) => {}
            _ => return Err(Error::Unsupported),
        }
        Ok(socket.0)
    }

    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        match self {
            Backend::Uring(_) | Backend::Epoll(_) => socket::listen(address, count, options),
            Backend::Sim(sim) => sim.listen(address, count, options),
        }
    }

    pub(crate) fn stream_socket(&mut self, peer: SocketAddr) -> Result<Socket> {
        match self {
            Backend::Uring(_) | Backend::Epoll(_) => socket::stream_socket(peer).map(Socket::from),
            Backend::Sim(sim) => sim.stream_socket().map(Socket::simulated),
        }
    }

    pub(crate) fn datagram_socket(&mut self, local: SocketAddr) -> Result<Socket> {
        match self {
            Backend::Uring(_) | Backend::Epoll(_) => socket::datagram_socket(local).map(Socket::from),
            Backend::Sim(sim) => sim.datagram_socket(local).map(Socket::simulated),
        }
    }

    // ---- inline calls on open sockets --------------------------------------------------------------------------------

    pub(crate) fn shutdown(&self, resource: &Resource, how: Shutdown) -> Result<()> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.shutdown(descriptor, how),
            (_, Resource::Os(descriptor)) => os::shutdown(descriptor, how),
            (_, Resource::Sim(_)) => Err(Error::Unsupported),
        }
    }

    pub(crate) fn local_address(&self, resource: &Resource) -> Result<SocketAddr> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.local_address(descriptor),
            (_, Resource::Os(descriptor)) => os::local_address(descriptor),
            (_, Resource::Sim(_)) => Err(Error::Unsupported),
        }
    }

    pub(crate) fn peer_address(&self, resource: &Resource) -> Result<SocketAddr> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.peer_address(descriptor),
            (_, Resource::Os(descriptor)) => os::peer_address(descriptor),
            (_, Resource::Sim(_)) => Err(Error::Unsupported),
        }
    }

    pub(crate) fn set_option(&self, resource: &Resource, option: SocketOption) -> Result<()> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.set_option(descriptor, option),
            (_, Resource::Os(descriptor)) => os::set_option(descriptor, option),
            (_, Resource::Sim(_)) => Err(Error::Unsupported),
        }
    }
}
