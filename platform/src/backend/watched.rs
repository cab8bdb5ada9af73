#![allow(unsafe_code)]
//! A socket that a poller may know of, and that the poller forgets before it closes.

use std::io;
use std::sync::Arc;

use polling::{Event, Poller};

use crate::os::Descriptor;

/// An open socket, and the poller that may tell of it.
#[derive(Debug)]
pub(crate) struct Watched {
    socket: Descriptor,
    poller: Arc<Poller>,
    /// Whether the poller knows the socket, or may.
    is_known: bool,
}

impl Watched {
    pub(super) fn new(socket: Descriptor, poller: &Arc<Poller>) -> Self {
        Watched { socket, poller: Arc::clone(poller), is_known: false }
    }

    pub(crate) fn socket(&self) -> &Descriptor {
        &self.socket
    }

    /// The socket under another name, which no poller knows. This one goes when it is dropped, and the socket stays.
    pub(crate) fn second_name(&self) -> io::Result<Descriptor> {
        self.socket.try_clone()
    }

    /// Asks for one report of what the socket is ready for, now or later; it replaces what was asked before.
    pub(super) fn ask(&mut self, interest: Event) -> io::Result<()> {
        if self.is_known {
            return self.poller.modify(&self.socket, interest);
        }
        // Before the call, as one that fails may have left something behind.
        self.is_known = true;
        // SAFETY: the poller demands that a source be deleted from it before it is dropped. `self` owns the socket, lends
        // it only by shared reference and never gives it up; `drop` deletes it, and fields are dropped after `drop`. Who
        // leaks `self` instead leaks the socket too.
        unsafe { self.poller.add(&self.socket, interest) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.is_known {
            // A source that is not known after all is an error that says what was wanted.
            let _ = self.poller.delete(&self.socket);
        }
    }
}
