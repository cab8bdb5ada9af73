//! What an operation has come to, on its way from the machine to its shard. It has happened: no cancel changes it any
//! more, and bytes that it carries are no longer in the socket.

use super::machine::SimDescriptor;
use crate::arena::Key;
use crate::flight::Core;
use crate::handle::Resource;
use crate::op::Outcome;
use crate::{Error, Result};

/// A completion, in the words of the slots that it lands in (`flight.rs`).
#[derive(Debug)]
pub(super) enum Landing {
    /// One of a stream's results; the stream goes on.
    Part(Outcome),
    /// A connection, likewise.
    Accepted(SimDescriptor),
    /// The machine holds the stream no longer.
    Stopped,
    /// The stream found no buffer.
    Starved,
    /// A zero-copy send has left, and the machine keeps its memory.
    Early(usize),
    /// So many bytes of a send or write have left; with none of a zero-copy send, its memory is free.
    Sent(usize),
    /// So many bytes have been read into the operation's chunk.
    Read(usize),
    /// A file has been opened.
    Opened(SimDescriptor),
    /// Anything else, good or bad.
    Ended(Result<Outcome>),
}

impl Landing {
    pub(super) fn land(self, core: &mut Core, operation: Key) {
        match self {
            Landing::Part(outcome) => core.land_part(operation, outcome),
            Landing::Accepted(descriptor) => match core.admit(Resource::Sim(descriptor)) {
                Ok(handle) => core.land_part(operation, Outcome::Accepted(handle)),
                Err(_) => core.stats.disposed += 1,
            },
            Landing::Stopped => core.stream_stopped(operation),
            Landing::Starved => core.stream_starved(operation),
            Landing::Early(bytes) => core.answer_early(operation, bytes, None),
            Landing::Sent(bytes) => core.land_sent(operation, bytes),
            Landing::Read(bytes) => core.land_read(operation, bytes),
            Landing::Opened(descriptor) => {
                let opened = core.admit(Resource::Sim(descriptor)).map(Outcome::Opened);
                core.land(operation, opened);
            }
            Landing::Ended(result) => core.land(operation, result),
        }
    }
}

impl From<Error> for Landing {
    fn from(error: Error) -> Self {
        Landing::Ended(Err(error))
    }
}
