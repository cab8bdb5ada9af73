//! Records on their way out.

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Chunk, ChunkMut, Pool};

use super::Failure;

/// Records on their way out.
#[derive(Default)]
pub(super) struct Output(Option<ChunkMut>);

impl Output {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chunk| chunk.len())
    }

    /// Makes room for so many bytes, or for as many as a chunk holds.
    pub(super) fn reserve(&mut self, bytes: usize, pool: &Pool) -> Result<(), Failure> {
        let bytes = bytes.min(CHUNK_BYTES_MAX - self.len());
        self.room(bytes, pool).map(drop)
    }

    /// The chunk that they are in, with room for so many bytes more.
    pub(super) fn room(&mut self, bytes: usize, pool: &Pool) -> Result<&mut ChunkMut, Failure> {
        with_room(&mut self.0, bytes, pool)
    }

    pub(super) fn take(&mut self) -> Option<Chunk> {
        self.0.take().map(ChunkMut::freeze)
    }
}

/// The chunk, with room for so many bytes more: in a larger one if need be.
pub(super) fn with_room<'a>(
    chunk: &'a mut Option<ChunkMut>,
    bytes: usize,
    pool: &Pool,
) -> Result<&'a mut ChunkMut, Failure> {
    let len = chunk.as_ref().map_or(0, |chunk| chunk.len());
    if chunk.as_ref().is_none_or(|chunk| chunk.room() < bytes) {
        if len + bytes > CHUNK_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        let mut larger = pool.lease(len + bytes).ok_or(Failure::Exhausted)?;
        larger.put(chunk.as_deref().unwrap_or_default());
        *chunk = Some(larger);
    }
    Ok(chunk.as_mut().expect("it has been made"))
}
