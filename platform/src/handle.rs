//! The name of an open socket or file, and the table that owns what it names.
//!
//! A [`Handle`] is a number with a generation: copying it is free, and using it after close gives
//! [`Error::Closed`](crate::Error::Closed) instead of somebody else's descriptor. The table closes a descriptor only when
//! the last operation on it has ended, so the kernel never finds a reused number under a pending entry.

use std::cell::Cell;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Error;
use crate::arena::{Arena, Key};
use crate::backend::Watched;
use crate::backend::sim::SimDescriptor;
use crate::limits::HANDLES_MAX;
use crate::os::Descriptor;

/// Names a socket or file of one shard. `Copy`, eight bytes; meaningless on any other shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub(crate) Key);

/// What a handle stands for.
#[derive(Debug)]
pub(crate) enum Resource {
    /// A socket of the operating system; on io_uring a file too.
    Os(Descriptor),
    /// A socket that the backend's poller may know of.
    Watched(Watched),
    /// A file that threads read and write; they hold it as long as they do.
    File(Arc<File>),
    /// A socket or file of a simulated machine.
    Sim(SimDescriptor),
}

impl Resource {
    /// The socket, if it is one of the operating system's.
    pub(crate) fn socket(&self) -> Option<&Descriptor> {
        match self {
            Resource::Os(socket) => Some(socket),
            Resource::Watched(watched) => Some(watched.socket()),
            Resource::File(_) | Resource::Sim(_) => None,
        }
    }
}

/// One open socket or file.
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    /// First of the operations in flight on this handle; the rest follow through `Flight::next`.
    pub(crate) first: Option<Key>,
    /// Close was asked for: nothing new starts, and the descriptor goes with the last operation.
    pub(crate) closing: bool,
    /// For the backend's own use (the readiness backend keeps what it knows of the descriptor here).
    pub(crate) mark: u32,
    /// The address of the other side, once it has been asked for: it stays the same until the socket is connected elsewhere.
    pub(crate) peer: Cell<Option<SocketAddr>>,
}

/// All handles of a shard.
pub(crate) struct Handles(Arena<Entry>);

impl Handles {
    pub(crate) fn new() -> Self {
        Handles(Arena::new(HANDLES_MAX))
    }

    pub(crate) fn insert(&mut self, resource: Resource) -> Result<Handle, Error> {
        let entry = Entry { resource, first: None, closing: false, mark: 0, peer: Cell::new(None) };
        self.0.insert(entry).map(Handle).map_err(|_| Error::Full)
    }

    /// The entry of a handle that is open, closing or not.
    pub(crate) fn entry(&self, handle: Handle) -> Option<&Entry> {
        self.0.get(handle.0)
    }

    pub(crate) fn entry_mut(&mut self, handle: Handle) -> Option<&mut Entry> {
        self.0.get_mut(handle.0)
    }

    /// The entry of a handle on which new work may start.
    pub(crate) fn open(&self, handle: Handle) -> Result<&Entry, Error> {
        self.0.get(handle.0).filter(|entry| !entry.closing).ok_or(Error::Closed)
    }

    /// The same, to change it.
    pub(crate) fn open_mut(&mut self, handle: Handle) -> Result<&mut Entry, Error> {
        self.0.get_mut(handle.0).filter(|entry| !entry.closing).ok_or(Error::Closed)
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<Entry> {
        self.0.remove(handle.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
