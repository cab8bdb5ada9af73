//! Memory that travels with operations: leases on pooled memory, and what a send takes.

mod chunk;
mod memory;
mod pool;
mod returns;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::IoSlice;

use bytes::Bytes;

pub use chunk::{Chunk, ChunkMut};
pub(crate) use pool::ReceiveGroup;
pub use pool::{Pool, PoolSize, PoolStats};

use crate::limits::SEND_BUFFERS_MAX;

/// One buffer of a send: whatever owns its bytes.
pub enum Buf {
    /// A lease on the shard's pool.
    Chunk(Chunk),
    /// The ecosystem's shared bytes.
    Bytes(Bytes),
    /// Bytes that live as long as the program.
    Static(&'static [u8]),
    /// A plain vector.
    Vec(Vec<u8>),
}

impl Buf {
    /// A buffer without bytes.
    pub const EMPTY: Buf = Buf::Static(&[]);

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Buf::Chunk(chunk) => chunk,
            Buf::Bytes(bytes) => bytes,
            Buf::Static(bytes) => bytes,
            Buf::Vec(bytes) => bytes,
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The bytes as shared ones, which are copied by a count: see [`Chunk::share`] for what lies in the pool.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Buf::Chunk(chunk) => chunk.share(),
            Buf::Bytes(bytes) => bytes,
            Buf::Static(bytes) => Bytes::from_static(bytes),
            Buf::Vec(bytes) => bytes.into(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first `count` bytes out as a buffer of their own, without a copy. Of a vector the rest becomes shared bytes.
    ///
    /// Panics if there are fewer.
    pub fn split_to(&mut self, count: usize) -> Buf {
        if count == self.len() {
            return std::mem::take(self);
        }
        if let Buf::Vec(bytes) = self {
            *self = Buf::Bytes(std::mem::take(bytes).into());
        }
        match self {
            Buf::Chunk(chunk) => Buf::Chunk(chunk.split_to(count)),
            Buf::Bytes(bytes) => Buf::Bytes(bytes.split_to(count)),
            Buf::Static(bytes) => {
                let (front, rest) = bytes.split_at(count);
                *bytes = rest;
                Buf::Static(front)
            }
            Buf::Vec(_) => unreachable!("it has just become shared bytes"),
        }
    }

    /// Drops the first `count` bytes, without moving the rest. Of a vector that becomes shared bytes.
    ///
    /// Panics if there are fewer.
    pub fn advance(&mut self, count: usize) {
        if let Buf::Vec(bytes) = self {
            *self = Buf::Bytes(std::mem::take(bytes).into());
        }
        match self {
            Buf::Chunk(chunk) => chunk.advance(count),
            Buf::Bytes(bytes) => bytes::Buf::advance(bytes, count),
            Buf::Static(bytes) => *bytes = &bytes[count..],
            Buf::Vec(_) => unreachable!("it has just become shared bytes"),
        }
    }
}

impl std::ops::Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Buf::Chunk(_) => "chunk",
            Buf::Bytes(_) => "bytes",
            Buf::Static(_) => "static",
            Buf::Vec(_) => "vec",
        };
        write!(f, "Buf({kind}, {} bytes)", self.len())
    }
}

impl Default for Buf {
    fn default() -> Self {
        Buf::EMPTY
    }
}

impl From<Chunk> for Buf {
    fn from(chunk: Chunk) -> Self {
        Buf::Chunk(chunk)
    }
}

impl From<Bytes> for Buf {
    fn from(bytes: Bytes) -> Self {
        Buf::Bytes(bytes)
    }
}

impl From<&'static [u8]> for Buf {
    fn from(bytes: &'static [u8]) -> Self {
        Buf::Static(bytes)
    }
}

impl From<&'static str> for Buf {
    fn from(text: &'static str) -> Self {
        Buf::Static(text.as_bytes())
    }
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Self {
        Buf::Vec(bytes)
    }
}

impl From<String> for Buf {
    fn from(text: String) -> Self {
        Buf::Vec(text.into_bytes())
    }
}

/// The buffers of a vectored send, in order. Its memory is meant to be kept and filled again by whoever sends.
#[derive(Debug, Default)]
pub struct BufList {
    bufs: Vec<Buf>,
}

impl BufList {
    /// A list without buffers.
    pub fn new() -> Self {
        BufList::default()
    }

    /// Adds a buffer at the end, or gives it back when the list holds
    /// [`SEND_BUFFERS_MAX`](crate::limits::SEND_BUFFERS_MAX) already.
    pub fn push(&mut self, buf: Buf) -> Result<(), Buf> {
        if self.bufs.len() == SEND_BUFFERS_MAX {
            return Err(buf);
        }
        self.bufs.push(buf);
        Ok(())
    }

    /// Drops the first `count` bytes, and with them the buffers they empty.
    ///
    /// Panics if there are fewer.
    pub fn advance(&mut self, mut count: usize) {
        let mut emptied = 0;
        for buf in &mut self.bufs {
            if count < buf.len() {
                buf.advance(count);
                count = 0;
                break;
            }
            count -= buf.len();
            emptied += 1;
        }
        assert!(count == 0, "a send took no more bytes than it was given");
        self.bufs.drain(..emptied);
    }

    /// Takes all buffers out, in order, and keeps the list's own memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Buf> {
        self.bufs.drain(..)
    }

    /// What a call takes: a slice for each buffer, in the place given.
    pub fn slices<'a>(&'a self, place: &'a mut [IoSlice<'a>; SEND_BUFFERS_MAX]) -> &'a mut [IoSlice<'a>] {
        for (slice, buf) in place.iter_mut().zip(&self.bufs) {
            *slice = IoSlice::new(buf);
        }
        &mut place[..self.bufs.len()]
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> usize {
        self.bufs.iter().map(Buf::len).sum()
    }

    /// How many buffers.
    pub fn len(&self) -> usize {
        self.bufs.len()
    }

    /// Whether no buffer is in the list.
    pub fn is_empty(&self) -> bool {
        self.bufs.is_empty()
    }

    /// Whether no further buffer fits.
    pub fn is_full(&self) -> bool {
        self.bufs.len() == SEND_BUFFERS_MAX
    }

    /// Gives up all buffers and keeps the list's own memory.
    pub fn clear(&mut self) {
        self.bufs.clear();
    }

    /// The buffers.
    pub fn iter(&self) -> impl Iterator<Item = &Buf> {
        self.bufs.iter()
    }
}
