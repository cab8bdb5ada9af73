#![allow(unsafe_code)]
//! One shard's memory for bytes on their way: receive buffers that the kernel fills, and pooled chunks by size class.
//!
//! All of it lies in a few regions that are reserved when the shard starts and touched when first used. A region is never
//! unmapped while a lease or the kernel may still look at it: leases own the pool by count, and a reactor that cannot
//! prove the kernel done leaks it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

use super::chunk::{Chunk, ChunkMut};
use crate::limits::{
    BULK_BUFFER_BYTES, BULK_BUFFER_COUNT, CHUNK_BYTES_MAX, HEAD_BUFFER_BYTES, HEAD_BUFFER_COUNT, POOL_BYTES_MAX,
    SCARCE_SHARE,
};
use crate::op::Group;

/// Sizes of pooled chunks. A request takes the smallest that fits.
const CLASS_BYTES: [usize; 5] = [256, 1024, 4096, 16 * 1024, CHUNK_BYTES_MAX];

/// Regions start on a page, so that no buffer straddles one more page than it must.
const PAGE_BYTES: usize = 4096;

/// A shard's buffer memory. Cloning gives another handle on the same pool; not `Send`.
#[derive(Clone)]
pub struct Pool(Rc<PoolCore>);

/// How large a pool is; the defaults are the bounds of [`limits`](crate::limits).
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    /// Receive buffers for heads; a power of two.
    pub head_buffers: u16,
    /// Receive buffers for bodies; a power of two.
    pub bulk_buffers: u16,
    /// Bytes of pooled chunks leased at a time.
    pub bytes: usize,
}

impl Default for PoolSize {
    fn default() -> Self {
        PoolSize { head_buffers: HEAD_BUFFER_COUNT, bulk_buffers: BULK_BUFFER_COUNT, bytes: POOL_BYTES_MAX }
    }
}

/// What a pool holds and what has happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Receive buffers for heads: how many there are.
    pub heads: u32,
    /// How many of them are leased.
    pub heads_leased: u32,
    /// Receive buffers for bodies: how many there are.
    pub bulk: u32,
    /// How many of them are leased.
    pub bulk_leased: u32,
    /// Bytes of pooled chunks leased now.
    pub pooled_bytes: u64,
    /// Leases of pooled chunks refused because the bound was reached.
    pub refused: u64,
    /// Small leases copied out of receive buffers.
    pub compactions: u64,
}

/// Names the memory that a lease keeps: a receive buffer of a group, or a block of a size class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Block(u32);

impl Block {
    const RECEIVE: u32 = 1 << 31;

    fn receive(group: Group, index: u16) -> Self {
        Block(Self::RECEIVE | (group as u32) << 16 | u32::from(index))
    }

    fn pooled(class: usize, index: u32) -> Self {
        debug_assert!(index < 1 << 28);
        Block((class as u32) << 28 | index)
    }

    pub(super) fn is_receive(self) -> bool {
        self.0 & Self::RECEIVE != 0
    }

    fn group(self) -> usize {
        (self.0 >> 16 & 1) as usize
    }

    fn buffer(self) -> u16 {
        self.0 as u16
    }

    fn class(self) -> usize {
        (self.0 >> 28) as usize
    }

    fn index(self) -> u32 {
        self.0 & ((1 << 28) - 1)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_receive() {
            true => write!(f, "receive {}/{}", self.group(), self.buffer()),
            false => write!(f, "pooled {}/{}", CLASS_BYTES[self.class()], self.index()),
        }
    }
}

/// Zeroed memory that is reserved at once and touched when used.
struct Region {
    start: NonNull<u8>,
    raw: NonNull<u8>,
    layout: Layout,
}

impl Region {
    fn new(bytes: usize) -> Self {
        // An alignment of at most 16 keeps the allocator on its path of fresh, untouched zero pages; the page boundary is
        // found by hand within one page more.
        let layout = Layout::from_size_align(bytes.max(1) + PAGE_BYTES, 16).expect("a region's size is bounded");
        // SAFETY: the layout's size is not zero.
        let Some(raw) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        let shift = raw.as_ptr().align_offset(PAGE_BYTES);
        assert!(shift < PAGE_BYTES, "a page boundary lies within a page");
        // SAFETY: the allocation is one page longer than `bytes`, and `shift` is less than a page.
        Region { start: unsafe { raw.add(shift) }, raw, layout }
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.layout.size() - PAGE_BYTES, "an offset lies within its region");
        // SAFETY: just asserted, and `start` is less than a page after the allocation's own start.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `raw` was allocated with this layout, and the pool that owns the region ends only when no lease is
        // left; the reactor leaks the pool if the kernel may still write.
        unsafe { dealloc(self.raw.as_ptr(), self.layout) }
    }
}

/// The receive buffers of one group.
struct Receive {
    region: Region,
    buffer_bytes: u32,
    /// Leases on each buffer; zero while the kernel or the free list has it.
    leases: Box<[Cell<u32>]>,
    /// Buffers that have come home and wait to be given to the kernel again, or to be taken by a readiness backend.
    home: RefCell<Vec<u16>>,
    leased: Cell<u32>,
}

impl Receive {
    fn new(count: u16, buffer_bytes: u32) -> Self {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} receive buffers: a power of two up to 32,768");
        Receive {
            region: Region::new(usize::from(count) * buffer_bytes as usize),
            buffer_bytes,
            leases: (0..count).map(|_| Cell::new(0)).collect(),
            // In ascending order from the end, so that the first to be taken is the first in memory.
            home: RefCell::new((0..count).rev().collect()),
            leased: Cell::new(0),
        }
    }

    fn start(&self, buffer: u16) -> NonNull<u8> {
        self.region.at(usize::from(buffer) * self.buffer_bytes as usize)
    }
}

/// The blocks of one size.
struct Class {
    region: Region,
    block_bytes: usize,
    count: u32,
    /// Leases on each block that was ever used.
    leases: RefCell<Vec<Cell<u32>>>,
    /// Blocks that have come home, the latest last: it is the one most likely still in the cache.
    free: RefCell<Vec<u32>>,
}

/// What all leases of a shard share.
pub(super) struct PoolCore {
    receive: [Receive; 2],
    classes: [Class; CLASS_BYTES.len()],
    bytes_max: usize,
    bytes: Cell<usize>,
    refused: Cell<u64>,
    compactions: Cell<u64>,
}

impl PoolCore {
    /// A chunk with room for at least `bytes`; `None` when the pool is exhausted or no class is that large.
    pub(super) fn lease(this: &Rc<PoolCore>, bytes: usize) -> Option<ChunkMut> {
        let class_index = CLASS_BYTES.iter().position(|&class| bytes <= class)?;
        let class = &this.classes[class_index];
        let index = this.take(class);
        if index.is_none() {
            this.refused.set(this.refused.get() + 1);
        }
        let index = index?;
        let block = Block::pooled(class_index, index);
        let start = class.region.at(index as usize * class.block_bytes);
        // SAFETY: the block lies in its class's region, which was zeroed when it was made, and `take` has just given it
        // to this lease alone with a count of one.
        Some(unsafe { ChunkMut::from_block(Rc::clone(this), start, class.block_bytes as u32, block) })
    }

    /// Takes a block out of its class, with a count of one.
    fn take(&self, class: &Class) -> Option<u32> {
        let bytes = self.bytes.get() + class.block_bytes;
        if bytes > self.bytes_max {
            return None;
        }
        let mut leases = class.leases.borrow_mut();
        let index = match class.free.borrow_mut().pop() {
            Some(index) => {
                leases[index as usize].set(1);
                index
            }
            None if (leases.len() as u32) < class.count => {
                leases.push(Cell::new(1));
                leases.len() as u32 - 1
            }
            None => return None,
        };
        self.bytes.set(bytes);
        Some(index)
    }

    pub(super) fn retain(&self, block: Block) {
        if block.is_receive() {
            let count = &self.receive[block.group()].leases[usize::from(block.buffer())];
            count.set(count.get().checked_add(1).expect("fewer than 2^32 leases on one block"));
        } else {
            let leases = self.classes[block.class()].leases.borrow();
            let count = &leases[block.index() as usize];
            count.set(count.get().checked_add(1).expect("fewer than 2^32 leases on one block"));
        }
    }

    pub(super) fn release(&self, block: Block) {
        if block.is_receive() {
            let receive = &self.receive[block.group()];
            let count = &receive.leases[usize::from(block.buffer())];
            count.set(count.get() - 1);
            if count.get() == 0 {
                receive.leased.set(receive.leased.get() - 1);
                receive.home.borrow_mut().push(block.buffer());
            }
        } else {
            let class = &self.classes[block.class()];
            let leases = class.leases.borrow();
            let count = &leases[block.index() as usize];
            count.set(count.get() - 1);
            if count.get() == 0 {
                self.bytes.set(self.bytes.get() - class.block_bytes);
                class.free.borrow_mut().push(block.index());
            }
        }
    }

    pub(super) fn count_compaction(&self) {
        self.compactions.set(self.compactions.get() + 1);
    }
}

impl Pool {
    /// Reserves the memory of one shard.
    ///
    /// Panics if a number of receive buffers is not a power of two up to 32,768.
    pub fn new(size: PoolSize) -> Self {
        let bytes_max = size.bytes.max(CHUNK_BYTES_MAX);
        Pool(Rc::new(PoolCore {
            receive: [
                Receive::new(size.head_buffers, HEAD_BUFFER_BYTES),
                Receive::new(size.bulk_buffers, BULK_BUFFER_BYTES),
            ],
            classes: CLASS_BYTES.map(|block_bytes| Class {
                region: Region::new(bytes_max),
                block_bytes,
                count: u32::try_from(bytes_max / block_bytes).unwrap_or(u32::MAX).min(1 << 28),
                leases: RefCell::default(),
                free: RefCell::default(),
            }),
            bytes_max,
            bytes: Cell::new(0),
            refused: Cell::new(0),
            compactions: Cell::new(0),
        }))
    }

    /// A chunk with room for at least `bytes`, to be written and then frozen. `None` when the pool has reached its bound
    /// (counted in [`PoolStats::refused`]) or `bytes` is more than
    /// [`CHUNK_BYTES_MAX`](crate::limits::CHUNK_BYTES_MAX). About 10 ns.
    pub fn lease(&self, bytes: usize) -> Option<ChunkMut> {
        PoolCore::lease(&self.0, bytes)
    }

    /// What it holds and what has happened to it.
    pub fn stats(&self) -> PoolStats {
        let core = &self.0;
        PoolStats {
            heads: core.receive[0].leases.len() as u32,
            heads_leased: core.receive[0].leased.get(),
            bulk: core.receive[1].leases.len() as u32,
            bulk_leased: core.receive[1].leased.get(),
            pooled_bytes: core.bytes.get() as u64,
            refused: core.refused.get(),
            compactions: core.compactions.get(),
        }
    }

    /// The receive buffers of a group, for a backend.
    pub(crate) fn receive(&self, group: Group) -> ReceiveGroup<'_> {
        ReceiveGroup { pool: self, group }
    }

    /// Gives up this handle without ever freeing the memory: for a reactor whose kernel may still write to it.
    pub(crate) fn leak(&self) {
        std::mem::forget(Rc::clone(&self.0));
    }
}

/// A backend's view of one group of receive buffers.
pub(crate) struct ReceiveGroup<'a> {
    pool: &'a Pool,
    group: Group,
}

impl ReceiveGroup<'_> {
    fn receive(&self) -> &Receive {
        &self.pool.0.receive[self.group as usize]
    }

    /// How many buffers there are.
    #[allow(dead_code, reason = "only a ring of buffers has to know")]
    pub(crate) fn count(&self) -> u16 {
        self.receive().leases.len() as u16
    }

    /// Bytes of each.
    pub(crate) fn buffer_bytes(&self) -> u32 {
        self.receive().buffer_bytes
    }

    /// Where a buffer lies. It may be written to through this pointer while it has been taken and not yet leased.
    pub(crate) fn start(&self, buffer: u16) -> NonNull<u8> {
        self.receive().start(buffer)
    }

    /// Takes a buffer that is home, to be filled.
    pub(crate) fn take(&self) -> Option<u16> {
        self.receive().home.borrow_mut().pop()
    }

    /// Whether a buffer is home.
    #[allow(dead_code, reason = "only a ring of buffers has to know")]
    pub(crate) fn has_home(&self) -> bool {
        !self.receive().home.borrow().is_empty()
    }

    /// Puts back a taken buffer that was not filled.
    pub(crate) fn put_back(&self, buffer: u16) {
        self.receive().home.borrow_mut().push(buffer);
    }

    /// Has a buffer that is home filled, and leases what was filled: the way of a readiness backend. `fill` says how many
    /// bytes it has written, and whatever else it has to tell. `None` if no buffer is home.
    pub(crate) fn fill<T, E>(
        &self,
        fill: impl FnOnce(&mut [u8]) -> Result<(usize, T), E>,
    ) -> Option<Result<(Chunk, T), E>> {
        let buffer = self.take()?;
        // SAFETY: the buffer lies in its region, which was initialised when made; it was home, so no lease on it is left,
        // and it has just been taken, so nobody else writes to it or reads it while the slice lives.
        let room = unsafe { std::slice::from_raw_parts_mut(self.start(buffer).as_ptr(), self.buffer_bytes() as usize) };
        Some(match fill(room) {
            // SAFETY: the buffer has been taken and not been leased since, and `fill`, which wrote to it, is over.
            Ok((bytes, told)) => Ok((unsafe { self.lease(buffer, 0, bytes as u32) }, told)),
            Err(error) => {
                self.put_back(buffer);
                Err(error)
            }
        })
    }

    /// Like [`fill`](Self::fill) with several buffers, as many as are home and at most `N`: `fill` fills the first of them, says
    /// of each how many bytes and what else there is to tell, and how many there are. Gives the leases in order, and whether
    /// there were fewer than buffers.
    #[allow(dead_code, reason = "only epoll's calls take several")]
    pub(crate) fn fill_some<const N: usize, T, E>(
        &self,
        fill: impl FnOnce(&mut [&mut [u8]], &mut [Option<(usize, T)>; N]) -> Result<(), E>,
        mut each: impl FnMut(Chunk, T),
    ) -> Option<Result<bool, E>> {
        let mut buffers = [0; N];
        let count = (0..N).map_while(|place| self.take().map(|buffer| buffers[place] = buffer)).count();
        let buffers = &buffers[..count];
        if buffers.is_empty() {
            return None;
        }
        let mut places = buffers.iter();
        let mut rooms: [&mut [u8]; N] = std::array::from_fn(|_| match places.next() {
            None => &mut [][..],
            // SAFETY: as in `fill`, for each: taken out of the home list once, so they are different buffers that nobody
            // else looks at while the slices live.
            Some(&buffer) => unsafe {
                std::slice::from_raw_parts_mut(self.start(buffer).as_ptr(), self.buffer_bytes() as usize)
            },
        });
        let mut told: [Option<(usize, T)>; N] = std::array::from_fn(|_| None);
        let filled = fill(&mut rooms[..count], &mut told);
        let mut filled_count = 0;
        let mut unfilled = buffers.iter();
        for (bytes, what) in told.into_iter().map_while(|told| told) {
            let Some(&buffer) = unfilled.next() else { break };
            filled_count += 1;
            // SAFETY: the buffer has been taken and not been leased since, and `fill`, which wrote to it, is over.
            each(unsafe { self.lease(buffer, 0, bytes as u32) }, what);
        }
        // The other way round, so that they are taken in the same order again.
        unfilled.rev().for_each(|&buffer| self.put_back(buffer));
        Some(filled.map(|()| filled_count < count))
    }

    /// A lease on `offset..offset + len` of a taken buffer.
    ///
    /// When buffers are scarce, the bytes are copied into a pooled chunk and the buffer is home at once.
    ///
    /// # Safety
    /// The buffer has been taken and not been put back or leased since; the kernel has filled the range and writes no
    /// more to the buffer.
    pub(crate) unsafe fn lease(&self, buffer: u16, offset: u32, len: u32) -> Chunk {
        let receive = self.receive();
        assert!(
            u64::from(offset) + u64::from(len) <= u64::from(receive.buffer_bytes),
            "the kernel stays in its buffer"
        );
        assert!(receive.leases[usize::from(buffer)].get() == 0, "a buffer is leased once at a time");
        receive.leases[usize::from(buffer)].set(1);
        receive.leased.set(receive.leased.get() + 1);
        let start = receive.region.at(usize::from(buffer) * receive.buffer_bytes as usize + offset as usize);
        let block = Block::receive(self.group, buffer);
        // SAFETY: the range lies in the buffer (asserted) and was initialised with the region; the count is one, just
        // set; the caller vouches that nobody writes there any more.
        let mut chunk = unsafe { Chunk::from_block(Rc::clone(&self.pool.0), start, len, block) };
        let count = receive.leases.len() as u32;
        if receive.leased.get() > count - count / SCARCE_SHARE {
            // However slowly these bytes are read, others go on receiving; the bound is now the pool's, in bytes.
            chunk.move_out();
        }
        chunk
    }
}
