//! The one backend of all systems but Linux.

use std::time::Instant;

use super::polling::Polling;
use super::readiness::{Readiness, Watch};
use super::{BackendKind, Choice, Config, Selection, SetupError};
use crate::Bell;
use crate::flight::Core;
use crate::handle::Resource;
use crate::op::Wait;
use crate::os::{self, Descriptor};
use crate::unpark::Unparker;

/// What may be chosen by name besides `auto`.
pub(super) fn offered() -> String {
    format!(" or {}", os::POLLING)
}

pub(super) fn select(choice: Choice, _config: &Config) -> Result<Selection, SetupError> {
    match choice {
        Choice::Force(kind @ (BackendKind::Uring | BackendKind::Epoll)) => Err(not_here(kind)),
        Choice::Force(kind) => Ok(Selection { kind, why: "asked for".to_owned() }),
        Choice::Auto => Ok(Selection { kind: BackendKind::Polling, why: "what this system has for it".to_owned() }),
    }
}

fn not_here(kind: BackendKind) -> SetupError {
    SetupError { kind, reason: format!("it is part of Linux. Use {}.", os::POLLING) }
}

/// The backend of one shard.
pub(crate) struct Kernel(Box<Readiness<Polling>>);

impl Kernel {
    pub(super) fn open(
        kind: BackendKind,
        _config: &Config,
        _core: &Core,
        unparker: &Unparker,
    ) -> Result<Self, SetupError> {
        match kind {
            BackendKind::Polling => Polling::open(unparker).map(Box::new).map(Kernel),
            kind => Err(not_here(kind)),
        }
    }

    pub(super) fn kind(&self) -> BackendKind {
        BackendKind::Polling
    }

    pub(super) fn enter(&mut self, core: &mut Core, wait: Wait) {
        self.0.enter(core, wait);
    }

    pub(super) fn has_news(&mut self) -> Option<bool> {
        None
    }

    pub(super) fn settle(&mut self, core: &mut Core) -> Option<Instant> {
        self.0.settle(core)
    }

    pub(super) fn bell(&mut self) -> crate::Result<Bell> {
        self.0.watch().bell()
    }

    /// Readiness lends the kernel no memory.
    pub(super) fn leak(&mut self) {}

    /// A poller's sockets forget themselves.
    pub(super) fn forget(&self, _socket: &Descriptor, _mark: u32) {}

    /// Makes an outside socket fit for this backend.
    pub(super) fn adopt(&self, socket: Descriptor) -> crate::Result<Resource> {
        self.0.watch().adopt(socket)
    }
}
