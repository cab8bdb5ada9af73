//! The backends of Linux: io_uring, and readiness where it cannot be had. The one of other systems is here for tests.

use std::time::Instant;

use super::epoll::Epoll;
use super::polling::Polling;
use super::readiness::{Readiness, Watch};
use super::uring::{self, Uring};
use super::{BackendKind, Choice, Config, Selection, SetupError};
use crate::Bell;
use crate::flight::Core;
use crate::handle::Resource;
use crate::op::Wait;
use crate::os::{self, Descriptor};
use crate::unpark::Unparker;

/// What may be chosen by name besides `auto`.
pub(super) fn offered() -> String {
    ", uring or epoll".to_owned()
}

pub(super) fn select(choice: Choice, config: &Config) -> Result<Selection, SetupError> {
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

/// The backend of one shard.
pub(crate) enum Kernel {
    Uring(Box<Uring>),
    Epoll(Box<Readiness<Epoll>>),
    Polling(Box<Readiness<Polling>>),
}

impl Kernel {
    pub(super) fn open(
        kind: BackendKind,
        config: &Config,
        core: &Core,
        unparker: &Unparker,
    ) -> Result<Self, SetupError> {
        match kind {
            BackendKind::Uring => Uring::open(config, core, unparker).map(Box::new).map(Kernel::Uring),
            BackendKind::Epoll => Epoll::open(unparker).map(Box::new).map(Kernel::Epoll),
            BackendKind::Polling => Polling::open(unparker).map(Box::new).map(Kernel::Polling),
            BackendKind::Sim => unreachable!("a simulated machine is no kernel"),
        }
    }

    pub(super) fn kind(&self) -> BackendKind {
        match self {
            Kernel::Uring(_) => BackendKind::Uring,
            Kernel::Epoll(_) => BackendKind::Epoll,
            Kernel::Polling(_) => BackendKind::Polling,
        }
    }

    pub(super) fn enter(&mut self, core: &mut Core, wait: Wait) {
        match self {
            Kernel::Uring(uring) => uring.enter(core, wait),
            Kernel::Epoll(epoll) => epoll.enter(core, wait),
            Kernel::Polling(polling) => polling.enter(core, wait),
        }
    }

    pub(super) fn has_news(&mut self) -> Option<bool> {
        match self {
            Kernel::Uring(uring) => uring.has_news(),
            Kernel::Epoll(_) | Kernel::Polling(_) => None,
        }
    }

    pub(super) fn settle(&mut self, core: &mut Core) -> Option<Instant> {
        match self {
            Kernel::Uring(uring) => uring.settle(core),
            Kernel::Epoll(epoll) => epoll.settle(core),
            Kernel::Polling(polling) => polling.settle(core),
        }
    }

    pub(super) fn bell(&mut self) -> crate::Result<Bell> {
        match self {
            Kernel::Uring(uring) => uring.bell(),
            Kernel::Epoll(epoll) => epoll.watch().bell(),
            Kernel::Polling(polling) => polling.watch().bell(),
        }
    }

    pub(super) fn leak(&mut self) {
        match self {
            Kernel::Uring(uring) => uring.leak(),
            // Readiness lends the kernel no memory.
            Kernel::Epoll(_) | Kernel::Polling(_) => {}
        }
    }

    /// Tells the kernel no more of a socket that leaves the shard.
    pub(super) fn forget(&self, socket: &Descriptor, mark: u32) {
        if let Kernel::Epoll(epoll) = self {
            epoll.watch().forget(socket, mark);
        }
    }

    /// Makes an outside socket fit for this backend.
    pub(super) fn adopt(&self, socket: Descriptor) -> crate::Result<Resource> {
        match self {
            Kernel::Uring(_) => os::set_nonblocking(&socket, false)?,
            Kernel::Epoll(_) => os::set_nonblocking(&socket, true)?,
            Kernel::Polling(polling) => return polling.watch().adopt(socket),
        }
        Ok(Resource::Os(socket))
    }
}
