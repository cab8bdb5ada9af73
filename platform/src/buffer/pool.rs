#![allow(unsafe_code)]
//! One shard's memory for bytes on their way: receive buffers that the kernel fills, and pooled chunks by size class.
//!
//! All of it lies in a few regions that are reserved when the shard starts and touched when first used. A region is never
//! unmapped while a lease or the kernel may still look at it: leases own it by count (`memory.rs`), and a reactor that
//! cannot prove the kernel done leaks it.
//!
//! A lease that is shared with other threads stays in the books by its slot, until that comes home (`returns.rs`).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

use super::BufList;
use super::chunk::{Chunk, ChunkMut};
use super::memory::{Memory, Shared};
use crate::limits::{
    BULK_BUFFER_BYTES, BULK_BUFFER_COUNT, CHUNK_BYTES_MAX, HEAD_BUFFER_BYTES, HEAD_BUFFER_COUNT, HEADROOM_BYTES,
    POOL_BYTES_MAX, RECORD_CHUNK_BYTES, SCARCE_SHARE, SEND_LIST_SPARES_MAX, SHARED_MAX, SHARED_SHARE,
};
use crate::op::Group;
use crate::sync::Arc;

/// Sizes of pooled chunks. A request takes the smallest that fits.
const CLASS_BYTES: [usize; 5] = [256, 1024, 4096, RECORD_CHUNK_BYTES, CHUNK_BYTES_MAX];

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
    /// Leases that other threads may hold: how many are out now.
    pub shared: u32,
    /// How many of them have come home.
    pub shared_returned: u64,
    /// How many were copied instead, because as many were out as may be.
    pub shared_refused: u64,
}

/// Names the memory that a lease keeps: a receive buffer of a group, or a block of a size class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Block(u32);

impl Block {
    const RECEIVE: u32 = 1 << 31;

    /// Of a slot whose lease is home.
    const NONE: Block = Block(u32::MAX);

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

/// The receive buffers of one group.
struct Receive {
    /// What is received into each.
    buffer_bytes: u32,
    /// What stays free before that.
    headroom: u32,
    /// Leases on each buffer; zero while the kernel or the free list has it.
    leases: Box<[Cell<u32>]>,
    /// Buffers that have come home and wait to be given to the kernel again, or to be taken by a readiness backend.
    home: RefCell<Vec<u16>>,
    leased: Cell<u32>,
    /// How many of the leases are shared.
    shared: Cell<u32>,
}

impl Receive {
    fn new(count: u16, buffer_bytes: u32, headroom: u32) -> Self {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} receive buffers: a power of two up to 32,768");
        Receive {
            buffer_bytes,
            headroom,
            leases: (0..count).map(|_| Cell::new(0)).collect(),
            // In ascending order from the end, so that the first to be taken is the first in memory.
            home: RefCell::new((0..count).rev().collect()),
            leased: Cell::new(0),
            shared: Cell::new(0),
        }
    }

    /// Where a buffer begins, with its headroom.
    fn offset(&self, buffer: u16) -> usize {
        usize::from(buffer) * (self.headroom + self.buffer_bytes) as usize
    }

    fn bytes(&self) -> usize {
        self.leases.len() * (self.headroom + self.buffer_bytes) as usize
    }
}

/// The blocks of one size.
struct Class {
    block_bytes: usize,
    count: u32,
    /// Leases on each block that was ever used.
    leases: RefCell<Vec<Cell<u32>>>,
    /// Blocks that have come home, the latest last: it is the one most likely still in the cache.
    free: RefCell<Vec<u32>>,
}

/// The leases that are out as shared, by the slot that each comes home through.
#[derive(Default)]
struct Slots {
    /// What each slot that was ever used keeps.
    blocks: Vec<Block>,
    free: Vec<u16>,
}

/// A pool's books, for the leases that stay on its shard.
pub(super) struct PoolCore {
    memory: Arc<Memory>,
    receive: [Receive; 2],
    classes: [Class; CLASS_BYTES.len()],
    bytes_max: usize,
    bytes: Cell<usize>,
    refused: Cell<u64>,
    compactions: Cell<u64>,
    slots: RefCell<Slots>,
    /// Bytes of pooled chunks that are shared.
    shared_bytes: Cell<usize>,
    shared: Cell<u32>,
    shared_returned: Cell<u64>,
    shared_refused: Cell<u64>,
    /// Empty lists that wait for the next send; boxed, as an operation takes them.
    #[allow(clippy::vec_box, reason = "the boxes themselves are what is kept")]
    lists: RefCell<Vec<Box<BufList>>>,
}

impl PoolCore {
    /// A chunk with room for at least `bytes`; `None` when the pool is exhausted or no class is that large.
    // Put together in line, where it is kept: handed on as a whole, the processor would wait for its own stores.
    #[inline(always)]
    pub(super) fn lease(this: &Rc<PoolCore>, bytes: usize) -> Option<ChunkMut> {
        let (start, block) = this.take_block(bytes)?;
        let capacity = CLASS_BYTES[block.class()] as u32;
        // SAFETY: the block lies in its class's region, which was zeroed when it was made, and `take_block` has just given it
        // to this lease alone with a count of one.
        Some(unsafe { ChunkMut::from_block(Rc::clone(this), start, capacity, block) })
    }

    /// A block of at least so many bytes, and where it is.
    fn take_block(&self, bytes: usize) -> Option<(NonNull<u8>, Block)> {
        let class_index = CLASS_BYTES.iter().position(|&class| bytes <= class)?;
        let class = &self.classes[class_index];
        let index = self.take(class).or_else(|| {
            // What is missing may have come home.
            self.take_returned();
            self.take(class)
        });
        if index.is_none() {
            self.refused.set(self.refused.get() + 1);
        }
        let index = index?;
        let start = self.memory.at(self.receive.len() + class_index, index as usize * class.block_bytes);
        Some((start, Block::pooled(class_index, index)))
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

    /// How many leases there are on `block`. One that is shared counts until the pool has seen that it came home.
    pub(super) fn leases(&self, block: Block) -> u32 {
        let count = |block: Block| match block.is_receive() {
            true => self.receive[block.group()].leases[usize::from(block.buffer())].get(),
            false => self.classes[block.class()].leases.borrow()[block.index() as usize].get(),
        };
        match count(block) {
            // Some may have come home.
            2.. if self.shared.get() > 0 => {
                self.take_returned();
                count(block)
            }
            leases => leases,
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

    /// Where a block begins.
    pub(super) fn start_of(&self, block: Block) -> NonNull<u8> {
        if block.is_receive() {
            return self.memory.at(block.group(), self.receive[block.group()].offset(block.buffer()));
        }
        let offset = block.index() as usize * self.classes[block.class()].block_bytes;
        self.memory.at(self.receive.len() + block.class(), offset)
    }

    /// Where bytes of a receive buffer lie.
    fn at(&self, group: Group, buffer: u16, offset: u32) -> NonNull<u8> {
        let receive = &self.receive[group as usize];
        self.memory.at(group as usize, receive.offset(buffer) + (receive.headroom + offset) as usize)
    }

    /// Makes a further lease on `block` that other threads may hold, on `len` bytes from `start`. `None`, and counted, if as
    /// many are out as may be.
    ///
    /// # Safety
    /// As [`Chunk::from_block`], but for the count, which this adds to.
    pub(super) unsafe fn share(&self, start: NonNull<u8>, len: u32, block: Block) -> Option<Shared> {
        let Some(slot) = self.slot(block) else {
            self.shared_refused.set(self.shared_refused.get() + 1);
            return None;
        };
        self.retain(block);
        self.count_shared(block, true);
        // SAFETY: the caller vouches for the range. The lease just counted ends only when the slot has been taken from the
        // memory's returns, and until then nobody writes to the block; the slot was free, so no other lease comes home by it.
        Some(unsafe { Shared::new(Arc::clone(&self.memory), start, len, slot) })
    }

    /// A slot for a lease on `block` to come home by, if the bounds admit one.
    fn slot(&self, block: Block) -> Option<u16> {
        if !self.may_share(block) {
            // Those that have come home meanwhile do not count.
            self.take_returned();
        }
        if !self.may_share(block) {
            return None;
        }
        let slots = &mut *self.slots.borrow_mut();
        if let Some(slot) = slots.free.pop() {
            slots.blocks[usize::from(slot)] = block;
            return Some(slot);
        }
        slots.blocks.push(block);
        Some((slots.blocks.len() - 1) as u16)
    }

    fn may_share(&self, block: Block) -> bool {
        let is_below_share = if block.is_receive() {
            let receive = &self.receive[block.group()];
            receive.shared.get() < receive.leases.len() as u32 / SHARED_SHARE
        } else {
            let bytes = self.shared_bytes.get() + self.classes[block.class()].block_bytes;
            bytes <= self.bytes_max / SHARED_SHARE as usize
        };
        is_below_share && (self.shared.get() as usize) < SHARED_MAX
    }

    fn count_shared(&self, block: Block, is_out: bool) {
        let step = |cell: &Cell<u32>| cell.set(if is_out { cell.get() + 1 } else { cell.get() - 1 });
        step(&self.shared);
        if block.is_receive() {
            return step(&self.receive[block.group()].shared);
        }
        let (bytes, block_bytes) = (self.shared_bytes.get(), self.classes[block.class()].block_bytes);
        self.shared_bytes.set(if is_out { bytes + block_bytes } else { bytes - block_bytes });
    }

    /// Ends the leases that have come home from wherever they were dropped. A load if there are none.
    fn take_returned(&self) {
        self.memory.returns.take(|slot| {
            let slots = &mut *self.slots.borrow_mut();
            let block = std::mem::replace(&mut slots.blocks[usize::from(slot)], Block::NONE);
            assert!(block != Block::NONE, "a shared lease comes home once");
            slots.free.push(slot);
            self.count_shared(block, false);
            self.shared_returned.set(self.shared_returned.get() + 1);
            self.release(block);
        });
    }
}

impl Pool {
    /// Reserves the memory of one shard.
    ///
    /// Panics if a number of receive buffers is not a power of two up to 32,768.
    pub fn new(size: PoolSize) -> Self {
        let bytes_max = size.bytes.max(CHUNK_BYTES_MAX);
        let receive = [
            Receive::new(size.head_buffers, HEAD_BUFFER_BYTES, HEADROOM_BYTES),
            Receive::new(size.bulk_buffers, BULK_BUFFER_BYTES, 0),
        ];
        let classes = CLASS_BYTES.map(|block_bytes| Class {
            block_bytes,
            count: u32::try_from(bytes_max / block_bytes).unwrap_or(u32::MAX).min(1 << 28),
            leases: RefCell::default(),
            free: RefCell::default(),
        });
        let regions_bytes = receive.iter().map(Receive::bytes).chain(CLASS_BYTES.map(|_| bytes_max));
        Pool(Rc::new(PoolCore {
            memory: Memory::new(regions_bytes),
            receive,
            classes,
            bytes_max,
            bytes: Cell::new(0),
            refused: Cell::new(0),
            compactions: Cell::new(0),
            slots: RefCell::default(),
            shared_bytes: Cell::new(0),
            shared: Cell::new(0),
            shared_returned: Cell::new(0),
            shared_refused: Cell::new(0),
            lists: RefCell::default(),
        }))
    }

    /// An empty list for a vectored send, used before if there is one.
    pub fn list(&self) -> Box<BufList> {
        self.0.lists.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives up a list's buffers and keeps its memory for the next, up to
    /// [`SEND_LIST_SPARES_MAX`](crate::limits::SEND_LIST_SPARES_MAX) lists.
    pub fn reclaim(&self, mut list: Box<BufList>) {
        list.clear();
        let mut lists = self.0.lists.borrow_mut();
        if lists.len() < SEND_LIST_SPARES_MAX {
            lists.push(list);
        }
    }

    /// A chunk with room for at least `bytes`, to be written and then frozen. `None` when the pool has reached its bound
    /// (counted in [`PoolStats::refused`]) or `bytes` is more than
    /// [`CHUNK_BYTES_MAX`](crate::limits::CHUNK_BYTES_MAX). About 10 ns.
    #[inline(always)]
    pub fn lease(&self, bytes: usize) -> Option<ChunkMut> {
        PoolCore::lease(&self.0, bytes)
    }

    /// Bytes of pooled chunks that are leased now: one load. What was shared and has come home still counts until somebody
    /// [looks](Pool::stats).
    #[inline]
    pub fn bytes(&self) -> usize {
        self.0.bytes.get()
    }

    /// The most that may be leased at a time.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// What it holds and what has happened to it. What was shared and has been dropped is home.
    pub fn stats(&self) -> PoolStats {
        let core = &self.0;
        core.take_returned();
        PoolStats {
            heads: core.receive[0].leases.len() as u32,
            heads_leased: core.receive[0].leased.get(),
            bulk: core.receive[1].leases.len() as u32,
            bulk_leased: core.receive[1].leased.get(),
            pooled_bytes: core.bytes.get() as u64,
            refused: core.refused.get(),
            compactions: core.compactions.get(),
            shared: core.shared.get(),
            shared_returned: core.shared_returned.get(),
            shared_refused: core.shared_refused.get(),
        }
    }

    /// Says how the shard's sleep is ended, if need be, when a [shared](Chunk::share) lease comes home for which a receive
    /// waits. `wake` is called from any thread, from destructors of thread-locals too, and after the pool's end; it does not
    /// hurt where nobody sleeps. Called once, by whoever drives the reactor; without it a receive that has found no buffer
    /// waits until the reactor is entered for another reason.
    pub fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.0.memory.returns.wake_by(Box::new(wake));
    }

    /// Whether a receive waits for a buffer and something shared has come home: the reactor is to
    /// [collect](crate::Reactor::collect) it, and not to sleep. One load while none waits.
    pub fn has_news(&self) -> bool {
        self.0.memory.returns.has_news()
    }

    /// Takes in what was shared and has come home. A load if nothing has.
    pub(crate) fn collect(&self) {
        self.0.take_returned();
    }

    /// A receive waits for a buffer, or none does any more.
    pub(crate) fn set_awaited(&self, is_awaited: bool) {
        self.0.memory.returns.set_awaited(is_awaited);
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
        self.pool.0.at(self.group, buffer, 0)
    }

    /// Takes a buffer that is home, to be filled.
    pub(crate) fn take(&self) -> Option<u16> {
        self.receive().home.borrow_mut().pop()
    }

    /// How many are taken and not leased: the kernel has them.
    #[allow(dead_code, reason = "only a ring of buffers has to know")]
    pub(crate) fn taken(&self) -> u16 {
        let receive = self.receive();
        self.count() - receive.leased.get() as u16 - receive.home.borrow().len() as u16
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
    #[inline(always)]
    pub(crate) unsafe fn lease(&self, buffer: u16, offset: u32, len: u32) -> Chunk {
        let receive = self.receive();
        assert!(
            u64::from(offset) + u64::from(len) <= u64::from(receive.buffer_bytes),
            "the kernel stays in its buffer"
        );
        assert!(receive.leases[usize::from(buffer)].get() == 0, "a buffer is leased once at a time");
        receive.leases[usize::from(buffer)].set(1);
        receive.leased.set(receive.leased.get() + 1);
        let start = self.pool.0.at(self.group, buffer, offset);
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
