//! A pipe of the kernel's: bytes of a file on their way to a socket, by reference and without a copy.
//!
//! It moves in with [`Op::Load`](crate::Op::Load), which puts a file's pages into it and may wait for a disk, and with
//! [`Op::SendPipe`](crate::Op::SendPipe), which passes them on to a socket and may wait for a peer; neither waits for the
//! other's. A shard has a few. One that comes to its end empty is for the next; one with bytes left is closed, and they go
//! with it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits::PIPES_MAX;
use crate::os::PipeEnds;
use crate::{Error, Result};

/// A lease on one of a shard's pipes.
pub struct Pipe {
    ends: Arc<PipeEnds>,
    bytes: usize,
    home: Rc<Pipes>,
}

/// The pipes of a shard.
#[derive(Default)]
pub(crate) struct Pipes {
    spare: RefCell<Vec<Arc<PipeEnds>>>,
    leased: Cell<usize>,
}

impl Pipe {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that it can hold.
    pub fn room(&self) -> usize {
        self.ends.room()
    }

    /// Shared with whichever thread works on it.
    pub(crate) fn ends(&self) -> &Arc<PipeEnds> {
        &self.ends
    }

    pub(crate) fn filled(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(crate) fn emptied(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }
}

impl Pipes {
    /// An empty pipe.
    ///
    /// Errors: `Full`, `OutOfDescriptors`, `Unsupported`.
    pub(crate) fn lease(self: &Rc<Self>) -> Result<Pipe> {
        if self.leased.get() >= PIPES_MAX {
            return Err(Error::Full);
        }
        let spare = self.spare.borrow_mut().pop();
        let ends = spare.map_or_else(|| PipeEnds::open().map(Arc::new), Ok)?;
        self.leased.set(self.leased.get() + 1);
        Ok(Pipe { ends, bytes: 0, home: Rc::clone(self) })
    }

    /// How many are leased.
    pub(crate) fn leased(&self) -> usize {
        self.leased.get()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.home.leased.set(self.home.leased.get() - 1);
        // While a thread works on it nobody knows what is in it.
        if self.bytes == 0 && Arc::strong_count(&self.ends) == 1 {
            self.home.spare.borrow_mut().push(Arc::clone(&self.ends));
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
