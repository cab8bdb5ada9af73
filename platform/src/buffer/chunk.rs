#![allow(unsafe_code)]
//! [`Chunk`]: a lease on a piece of the pool's memory, read-only and shared by count, but for one that is alone on its block;
//! [`ChunkMut`]: the same while it has one owner, who may append.
//!
//! The count is not atomic and a chunk is not `Send`: it never leaves its shard, but in the form that
//! [`share`](Chunk::share) makes. The memory goes home when the last lease on its block ends, whichever slice of it that was.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::rc::Rc;

use bytes::Bytes;

use super::pool::{Block, PoolCore};
use crate::limits::{COMPACT_BYTES_MAX, SHARE_COPY_BYTES_MAX};

/// A lease on received or pooled bytes. Cloning and slicing share the memory; 24 bytes.
///
/// It never leaves its shard, and [`share`](Chunk::share) makes a form that may:
///
/// ```compile_fail,E0277
/// let pool = shardwise_platform::Pool::new(Default::default());
/// let chunk = pool.lease(10).unwrap().freeze();
/// std::thread::spawn(move || drop(chunk));
/// ```
pub struct Chunk {
    pool: Rc<PoolCore>,
    start: NonNull<u8>,
    len: u32,
    block: Block,
}

const _: () = assert!(size_of::<Chunk>() == 24);

impl Chunk {
    /// A lease on the first `len` bytes of a block, which the caller has counted for it.
    ///
    /// # Safety
    /// `start..start + len` lies in `block` of `pool`, holds initialised bytes, nobody writes there while the block is
    /// leased but through a lease that is the only one, and the block's count includes this lease.
    pub(super) unsafe fn from_block(pool: Rc<PoolCore>, start: NonNull<u8>, len: u32, block: Block) -> Self {
        Chunk { pool, start, len, block }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops the first `count` bytes from this lease.
    ///
    /// Panics if there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advance by {count} in a chunk of {} bytes", self.len);
        // SAFETY: `count` is at most `len`, so the new start is within the block or one past its end.
        self.start = unsafe { self.start.add(count) };
        self.len -= count as u32;
    }

    /// Keeps the first `len` bytes only.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// A lease on part of it.
    ///
    /// Panics if the range does not lie within.
    pub fn slice(&self, range: Range<usize>) -> Chunk {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} in a chunk of {} bytes", self.len);
        let mut part = self.clone();
        part.advance(range.start);
        part.truncate(range.end - range.start);
        part
    }

    /// Splits off the first `count` bytes as a lease of their own; `self` keeps the rest.
    ///
    /// Panics if there are fewer.
    pub fn split_to(&mut self, count: usize) -> Chunk {
        assert!(count <= self.len(), "split at {count} in a chunk of {} bytes", self.len);
        self.pool.retain(self.block);
        let pool = Rc::clone(&self.pool);
        let front = Chunk { pool, start: self.start, len: count as u32, block: self.block };
        self.advance(count);
        front
    }

    /// The bytes, to be changed where they lie, if no other lease looks at the same memory: what was received is unmasked so
    /// without a copy. `None` if one does, be it a slice of other bytes of the block, or a [shared](Chunk::share) one.
    pub fn try_mut(&mut self) -> Option<&mut [u8]> {
        if self.pool.leases(self.block) != 1 {
            return None;
        }
        // SAFETY: by the contract of `from_block` the range is initialised memory of a block that this lease keeps alive. Its
        // count says that this lease is the only one: clones, slices and shared forms count from when they are made to when
        // they end, shared ones as seen here, after whoever held them was done (`take_returned` acquires). A further one
        // can only be made of this one, which is borrowed for as long as the slice lives. The kernel writes to a
        // receive buffer only before its completion, and what it is to send is in a lease of its own.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len as usize) })
    }

    /// The bytes, to be changed: where they lie, or, if another lease looks at the same memory, in a copy of their own in a
    /// pooled chunk, which this lease is on from then on. `None` if that is needed and the pool has no room for it, or
    /// the bytes are more than [`CHUNK_BYTES_MAX`](crate::limits::CHUNK_BYTES_MAX): then nothing has changed.
    ///
    /// ```
    /// use shardwise_platform::{Pool, PoolSize};
    ///
    /// let pool = Pool::new(PoolSize::default());
    /// let mut chunk = pool.lease(5).unwrap();
    /// chunk.put(b"hello");
    /// let mut mine = chunk.freeze();
    /// mine.make_mut().unwrap()[0] = b'j';
    /// let kept = mine.clone();
    /// mine.make_mut().unwrap().make_ascii_uppercase();
    /// assert_eq!((&mine[..], &kept[..]), (&b"JELLO"[..], &b"jello"[..]));
    /// ```
    pub fn make_mut(&mut self) -> Option<&mut [u8]> {
        if self.pool.leases(self.block) != 1 {
            let mut copy = PoolCore::lease(&self.pool, self.len())?;
            copy.put(self);
            *self = copy.freeze();
        }
        self.try_mut()
    }

    /// Writes `front` right before the bytes and gives both as one, if the block has that much room before them and no other
    /// lease looks at its memory. So an answer's head goes where the request's was, and leaves in one piece with what came behind
    /// that. Else the chunk comes back as it was. One copy of `front`.
    ///
    /// ```
    /// use shardwise_platform::{Pool, PoolSize};
    ///
    /// let pool = Pool::new(PoolSize::default());
    /// let mut chunk = pool.lease(100).unwrap();
    /// chunk.put(b"POST /echo:text");
    /// let mut body = chunk.freeze();
    /// body.advance(11);
    /// let whole = body.prepend(b"200 OK:").unwrap();
    /// assert_eq!(&whole[..], b"200 OK:text");
    /// assert!(whole.freeze().prepend(b"there is no room for this").is_err());
    /// ```
    pub fn prepend(mut self, front: &[u8]) -> Result<ChunkMut, Chunk> {
        let before = self.start.as_ptr().addr() - self.pool.start_of(self.block).as_ptr().addr();
        if front.len() > before || self.pool.leases(self.block) != 1 {
            return Err(self);
        }
        // SAFETY: the block begins at least that much before `start`, so the new start lies in it.
        self.start = unsafe { self.start.sub(front.len()) };
        self.len += front.len() as u32;
        // The room behind is not given away: of a receive buffer none has been there.
        let mut whole = ChunkMut { capacity: self.len, chunk: self };
        whole[..front.len()].copy_from_slice(front);
        Ok(whole)
    }

    /// Whether this lease keeps one of the kernel's receive buffers from being used again.
    pub fn pins_receive_buffer(&self) -> bool {
        self.block.is_receive()
    }

    /// Moves a small lease on a receive buffer into a pooled chunk of fitting size, so that it no longer pins the large
    /// buffer. To be called for what outlives its turn. One copy of at most
    /// [`COMPACT_BYTES_MAX`](crate::limits::COMPACT_BYTES_MAX) bytes; larger leases, and all when the pool is exhausted,
    /// stay as they are.
    pub fn compact(&mut self) {
        if self.len() <= COMPACT_BYTES_MAX {
            self.move_out();
        }
    }

    /// The bytes in a form that any thread may hold, clone and drop at any time, also after the shard's end. Without a copy:
    /// the memory stays leased, and goes home by one bit when the last clone or slice is gone.
    ///
    /// Copied into memory of their own are chunks of at most
    /// [`SHARE_COPY_BYTES_MAX`](crate::limits::SHARE_COPY_BYTES_MAX) bytes, for which that is cheaper, and all while as much
    /// of the pool is out as [may be](crate::limits::SHARED_SHARE). So what is kept for long, as by a cache, is better copied
    /// by whoever keeps it. Either way costs one small allocation.
    ///
    /// ```
    /// use shardwise_platform::{Pool, PoolSize};
    ///
    /// let pool = Pool::new(PoolSize::default());
    /// let mut chunk = pool.lease(4096).unwrap();
    /// chunk.put(&[7; 4096]);
    /// let shared = chunk.freeze().share();
    /// let sum = std::thread::spawn(move || shared.iter().map(|&byte| u64::from(byte)).sum::<u64>());
    /// assert_eq!(sum.join().unwrap(), 7 * 4096);
    /// assert_eq!(pool.stats().pooled_bytes, 0, "it is home");
    /// ```
    pub fn share(self) -> Bytes {
        if self.len() <= SHARE_COPY_BYTES_MAX {
            return Bytes::copy_from_slice(&self);
        }
        // SAFETY: this lease holds to the contract of `from_block`, and lives until the other has been counted.
        let shared = unsafe { self.pool.share(self.start, self.len, self.block) };
        shared.map_or_else(|| Bytes::copy_from_slice(&self), Bytes::from_owner)
    }

    /// Moves a lease on a receive buffer, whatever its size, into a pooled chunk, if the pool has one.
    pub(super) fn move_out(&mut self) {
        if !self.block.is_receive() {
            return;
        }
        if let Some(mut copy) = PoolCore::lease(&self.pool, self.len()) {
            copy.put(self);
            self.pool.count_compaction();
            *self = copy.freeze();
        }
    }
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        self.pool.retain(self.block);
        Chunk { pool: Rc::clone(&self.pool), start: self.start, len: self.len, block: self.block }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.pool.release(self.block);
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the contract of `from_block`, kept by every method here, the range is initialised memory of a block
        // that this lease keeps alive (`pool` owns the region), and nobody writes to it while it is leased: the kernel
        // writes to a receive buffer only before its completion, a `ChunkMut` ends when it becomes a `Chunk`, and `try_mut`
        // writes only where this is the one lease, which it then borrows.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({:?}, {} bytes)", self.block, self.len)
    }
}

/// A pooled chunk while its room has one owner, who appends to it. Its spare room is initialised memory, so it can be handed
/// out as a plain slice.
pub struct ChunkMut {
    chunk: Chunk,
    capacity: u32,
}

impl ChunkMut {
    /// # Safety
    /// As [`Chunk::from_block`] for `capacity` bytes from `start`, and the block has no other lease.
    pub(super) unsafe fn from_block(pool: Rc<PoolCore>, start: NonNull<u8>, capacity: u32, block: Block) -> Self {
        ChunkMut { chunk: Chunk { pool, start, len: 0, block }, capacity }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// Bytes that fit in all.
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        (self.capacity - self.chunk.len) as usize
    }

    /// The room after what has been written. Its content is unspecified but initialised.
    pub fn spare(&mut self) -> &mut [u8] {
        // SAFETY: `len..capacity` lies in the block; the pool's regions are initialised when made; a `ChunkMut` is the
        // only lease on these bytes (what was split off lies before them), so nobody reads or writes them while the slice
        // lives.
        unsafe {
            let start = self.chunk.start.add(self.chunk.len as usize);
            std::slice::from_raw_parts_mut(start.as_ptr(), self.room())
        }
    }

    /// Counts the first `count` bytes of the spare room as written.
    ///
    /// Panics if there is less room.
    pub fn commit(&mut self, count: usize) {
        assert!(count <= self.room(), "commit of {count} bytes with room for {}", self.room());
        self.chunk.len += count as u32;
    }

    /// Appends `bytes`.
    ///
    /// Panics if there is less room.
    pub fn put(&mut self, bytes: &[u8]) {
        self.spare()[..bytes.len()].copy_from_slice(bytes);
        self.commit(bytes.len());
    }

    /// Appends as much of `bytes` as fits and returns how much that was.
    pub fn put_some(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.put(&bytes[..count]);
        count
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.chunk.len = 0;
    }

    /// Takes what has been written as a lease of its own, and goes on behind it, in the room that is left.
    pub fn split(&mut self) -> Chunk {
        let written = self.chunk.clone();
        // SAFETY: `len` bytes were written, and no more than the block has from `start`. The other lease is on bytes before
        // that, and no lease grows.
        self.chunk.start = unsafe { self.chunk.start.add(written.len()) };
        self.capacity -= self.chunk.len;
        self.chunk.len = 0;
        written
    }

    /// Ends writing: from here on the bytes are shared and do not change.
    pub fn freeze(self) -> Chunk {
        self.chunk
    }
}

impl Deref for ChunkMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk
    }
}

impl DerefMut for ChunkMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes from `start` were written (or, by `prepend`, are part of a block that was initialised when
        // it was made), lie in the block, and a `ChunkMut` is the only lease on them: what was split off lies before them,
        // `prepend` has seen that there is no other, and it ends when it becomes a `Chunk`.
        unsafe { std::slice::from_raw_parts_mut(self.chunk.start.as_ptr(), self.chunk.len()) }
    }
}

impl fmt::Debug for ChunkMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkMut({} of {} bytes)", self.len(), self.capacity)
    }
}
