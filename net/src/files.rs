//! Small files, read whole through the shard's backend.

use std::path::Path;

use platform::{Error, Handle, Op, OpenFile, Outcome};
use shards::Shard;

use crate::limits::{FILE_BYTES_MAX, FILE_PIECE_BYTES};

/// What a file holds.
///
/// Errors: it cannot be read; it is larger than [`FILE_BYTES_MAX`] (`Full`).
pub(crate) async fn read(shard: &Shard, path: &Path) -> Result<Vec<u8>, Error> {
    let file =
        OpenFile { path: path.to_owned(), beneath: None, read: true, write: false, create: false, truncate: false };
    let Outcome::Opened(handle) = run(shard, Op::Open { file: Box::new(file) }).await? else {
        return Err(Error::Invalid);
    };
    let file = Held { shard, handle };
    let mut bytes = Vec::new();
    loop {
        let into = shard.pool().lease(FILE_PIECE_BYTES).ok_or(Error::OutOfMemory)?;
        let read = Op::Read { file: file.handle, offset: bytes.len() as u64, into };
        let Outcome::Read { bytes: count, chunk } = run(shard, read).await? else { return Err(Error::Invalid) };
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&chunk.freeze()[..count]);
        if bytes.len() > FILE_BYTES_MAX {
            return Err(Error::Full);
        }
    }
}

/// An open file, which is closed when it is dropped.
struct Held<'s> {
    shard: &'s Shard,
    handle: Handle,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shard.with_reactor(|reactor| reactor.close(self.handle));
    }
}

async fn run(shard: &Shard, op: Op) -> Result<Outcome, Error> {
    shard.start(op).map_err(|(_, error)| error)?.await.result
}
