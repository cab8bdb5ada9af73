//! What talks to the kernel for a shard, chosen when the program starts.
//!
//! Each is a plain file without `cfg`; this one picks those that the system has. All of them take entries from the same
//! queue and report to the same slots (see `flight.rs`), so that ownership, cancellation and disposal mean the same
//! everywhere, and only speed differs.

#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod kernel;
#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod kernel;

#[cfg(target_os = "linux")]
mod epoll;
mod features;
mod polling;
mod readiness;
#[cfg(target_os = "linux")]
mod refusal;
pub mod sim;
#[cfg(target_os = "linux")]
mod uring;
mod watched;

use std::fmt;
use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::time::{Instant, SystemTime};

pub use features::Features;
pub(crate) use watched::Watched;

use self::kernel::Kernel;
use crate::buffer::PoolSize;
use crate::flight::Core;
use crate::handle::{Entry, Resource};
use crate::op::Wait;
use crate::random::Random;
use crate::socket::{self, DatagramOptions, ListenError, ListenOptions, Socket, SocketOption};
use crate::stack::StackSize;
use crate::unpark::Unparker;
use crate::{Bell, Error, Result, os};

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
    /// Readiness by what the system has for it: kqueue on macOS and the BSDs, IOCP on Windows.
    Polling,
    /// A simulated machine, for tests.
    Sim,
}

impl BackendKind {
    /// Its name in options, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Uring => "uring",
            BackendKind::Epoll => "epoll",
            BackendKind::Polling => os::POLLING,
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
            _ if text == os::POLLING => Ok(Choice::Force(BackendKind::Polling)),
            _ => Err(format!("there is no backend \"{text}\": choose auto{}", kernel::offered())),
        }
    }
}

/// How a shard is set up on its machine. Plain data; the same for all shards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// The size of its buffer pool.
    pub pool: PoolSize,
    /// Ring features that may be used.
    pub features: Features,
    /// The stacks of its green threads.
    pub stacks: StackSize,
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

/// Decides on a backend by probing: on Linux a ring is set up and a no-op runs through it. Where io_uring cannot be had,
/// readiness takes over and the selection says why; a forced backend that cannot be had is an error.
pub fn select(choice: Choice, config: &Config) -> std::result::Result<Selection, SetupError> {
    kernel::select(choice, config)
}

/// A backend that another kind's unparker cannot wake.
fn wrong_unparker(kind: BackendKind) -> SetupError {
    SetupError { kind, reason: "its unparker was made for another kind of backend.".to_owned() }
}

/// The backend of one shard: one match per batch.
pub(crate) enum Backend {
    Kernel(Kernel),
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
            BackendKind::Sim => Err(SetupError {
                kind,
                reason: "a simulated machine is made by a test: use `Reactor::simulated`.".to_owned(),
            }),
            kind => Kernel::open(kind, config, core, unparker).map(Backend::Kernel),
        }
    }

    pub(crate) fn kind(&self) -> BackendKind {
        match self {
            Backend::Kernel(kernel) => kernel.kind(),
            Backend::Sim(_) => BackendKind::Sim,
        }
    }

    /// Submits what is queued, waits as told, and lands what has completed.
    pub(crate) fn enter(&mut self, core: &mut Core, wait: Wait) {
        match self {
            Backend::Kernel(kernel) => kernel.enter(core, wait),
            Backend::Sim(sim) => sim.enter(core, wait),
        }
    }

    /// Submits and lands without waiting, as far as that goes at once, so that the bell tells of everything that comes
    /// later. Gives the moment at which it must be called again all the same.
    pub(crate) fn settle(&mut self, core: &mut Core) -> Option<Instant> {
        match self {
            Backend::Kernel(kernel) => kernel.settle(core),
            Backend::Sim(sim) => {
                sim.enter(core, Wait::No);
                None
            }
        }
    }

    pub(crate) fn has_news(&mut self) -> Option<bool> {
        match self {
            Backend::Kernel(kernel) => kernel.has_news(),
            Backend::Sim(_) => None,
        }
    }

    pub(crate) fn bell(&mut self) -> Result<Bell> {
        match self {
            Backend::Kernel(kernel) => kernel.bell(),
            // Whoever runs a simulated machine sees what is next on it.
            Backend::Sim(_) => Err(Error::Unsupported),
        }
    }

    /// Forgets memory that the kernel may look at, without freeing it.
    pub(crate) fn leak(&mut self) {
        match self {
            Backend::Kernel(kernel) => kernel.leak(),
            // A simulated kernel has no memory of ours.
            Backend::Sim(_) => {}
        }
    }

    /// Ends what no waiting would: a simulated clock stands still while a reactor is dropped.
    pub(crate) fn give_up(&mut self, core: &mut Core) {
        if let Backend::Sim(sim) = self {
            sim.give_up(core);
        }
    }

    /// Whether a simulated machine keeps the shard from running now.
    pub(crate) fn is_stalled(&self) -> bool {
        matches!(self, Backend::Sim(sim) if sim.is_stalled())
    }

    #[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Backend::Kernel(_) => Instant::now(),
            Backend::Sim(sim) => sim.now(),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the platform reads the clock for everyone")]
    pub(crate) fn wall_clock(&self) -> SystemTime {
        match self {
            Backend::Kernel(_) => SystemTime::now(),
            Backend::Sim(sim) => sim.wall_clock(),
        }
    }

    pub(crate) fn random(&mut self, kept: &mut Random) -> u64 {
        match self {
            Backend::Kernel(_) => kept.next(),
            Backend::Sim(sim) => sim.random(),
        }
    }

    /// Makes an outside socket fit for this backend.
    ///
    /// Errors: `Unsupported` (a socket of another machine).
    pub(crate) fn adopt(&self, socket: Socket) -> Result<Resource> {
        match (self, socket.0) {
            (Backend::Kernel(kernel), Resource::Os(descriptor)) => kernel.adopt(descriptor),
            (Backend::Sim(sim), Resource::Sim(descriptor)) if sim.owns(&descriptor) => Ok(Resource::Sim(descriptor)),
            _ => Err(Error::Unsupported),
        }
    }

    /// Lets go of a socket that leaves the shard. Gives what it goes by elsewhere, if that is something else.
    ///
    /// Errors: `Unsupported` (a file), `OutOfDescriptors`.
    pub(crate) fn release(&self, entry: &Entry) -> Result<Option<Resource>> {
        match (self, &entry.resource) {
            (_, Resource::File(_)) => Err(Error::Unsupported),
            (_, Resource::Watched(watched)) => Ok(Some(Resource::Os(watched.second_name()?))),
            (Backend::Kernel(kernel), Resource::Os(descriptor)) => {
                kernel.forget(descriptor, entry.mark);
                Ok(None)
            }
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.release(descriptor).map(|()| None),
            _ => Err(Error::Unsupported),
        }
    }

    pub(crate) fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &ListenOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        match self {
            Backend::Kernel(_) => socket::listen(address, count, options),
            Backend::Sim(sim) => sim.listen(address, count, options),
        }
    }

    pub(crate) fn datagram_sockets(
        &mut self,
        address: SocketAddr,
        count: usize,
        options: &DatagramOptions,
    ) -> std::result::Result<Vec<Socket>, ListenError> {
        match self {
            Backend::Kernel(_) => socket::datagram_sockets(address, count, options),
            Backend::Sim(sim) => sim.datagram_sockets(address, count),
        }
    }

    pub(crate) fn has_connection(&self, resource: &Resource) -> bool {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.has_connection(descriptor),
            (_, resource) => resource.socket().is_some_and(os::has_connection),
        }
    }

    pub(crate) fn stream_socket(&mut self, peer: SocketAddr) -> Result<Socket> {
        match self {
            Backend::Kernel(_) => socket::stream_socket(peer).map(Socket::from),
            Backend::Sim(sim) => sim.stream_socket().map(Socket::simulated),
        }
    }

    pub(crate) fn unix_stream(&self, path: &Path) -> Result<Socket> {
        match self {
            Backend::Kernel(_) => socket::unix_stream(path).map(Socket::from),
            Backend::Sim(_) => Err(Error::Unsupported),
        }
    }

    pub(crate) fn datagram_socket(&mut self, local: SocketAddr) -> Result<Socket> {
        match self {
            Backend::Kernel(_) => socket::datagram_socket(local).map(Socket::from),
            Backend::Sim(sim) => sim.datagram_socket(local).map(Socket::simulated),
        }
    }

    // ---- inline calls on open sockets --------------------------------------------------------------------------------

    pub(crate) fn receive_now(&self, resource: &Resource, buffer: &mut [u8]) -> Result<Option<usize>> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.receive_now(descriptor, buffer),
            _ => os::receive_now(socket_of(resource)?, buffer),
        }
    }

    pub(crate) fn send_last(&self, resource: &Resource, data: &[IoSlice<'_>]) -> Result<usize> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.send_last(descriptor, data),
            _ => os::send_last(socket_of(resource)?, data),
        }
    }

    pub(crate) fn shutdown(&self, resource: &Resource, how: Shutdown) -> Result<()> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.shutdown(descriptor, how),
            _ => os::shutdown(socket_of(resource)?, how),
        }
    }

    pub(crate) fn local_address(&self, resource: &Resource) -> Result<SocketAddr> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.local_address(descriptor),
            _ => os::local_address(socket_of(resource)?),
        }
    }

    pub(crate) fn peer_address(&self, resource: &Resource) -> Result<SocketAddr> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.peer_address(descriptor),
            _ => os::peer_address(socket_of(resource)?),
        }
    }

    pub(crate) fn set_option(&self, resource: &Resource, option: SocketOption) -> Result<()> {
        match (self, resource) {
            (Backend::Sim(sim), Resource::Sim(descriptor)) => sim.set_option(descriptor, option),
            // Its calls do not tell what came with a datagram.
            _ if self.kind() == BackendKind::Polling && option.is_about_datagrams() => Err(Error::Unsupported),
            _ => os::set_option(socket_of(resource)?, option),
        }
    }
}

/// The socket of a resource that the operating system has.
fn socket_of(resource: &Resource) -> Result<&os::Descriptor> {
    match resource {
        Resource::File(_) => Err(os::error_of(os::code::ENOTSOCK)),
        _ => resource.socket().ok_or(Error::Unsupported),
    }
}
