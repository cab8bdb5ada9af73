#![allow(unsafe_code)]
//! The bytes that a pool's leases lie in, and [`Shared`]: a lease that may leave its shard.
//!
//! Its one idea: the memory is owned apart from the pool's books. The books are the shard's alone and know no other thread;
//! the memory belongs by an atomic count to the pool and to every shared lease. So a shared lease that outlives its pool
//! keeps the bytes it lies in, and whoever goes last, on whatever thread, frees them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::returns::Returns;
use crate::sync::Arc;

/// Regions start on a page, so that no buffer straddles one more page than it must.
const PAGE_BYTES: usize = 4096;

/// All of a pool's memory, and the way home for what is shared of it.
pub(super) struct Memory {
    /// One for each group of receive buffers, then one for each size of pooled chunks.
    regions: Box<[Region]>,
    pub(super) returns: Returns,
}

impl Memory {
    pub(super) fn new(regions_bytes: impl Iterator<Item = usize>) -> Arc<Self> {
        Arc::new(Memory { regions: regions_bytes.map(Region::new).collect(), returns: Returns::new() })
    }

    /// Where something lies in a region; good for as long as the memory is.
    pub(super) fn at(&self, region: usize, offset: usize) -> NonNull<u8> {
        self.regions[region].at(offset)
    }
}

/// Zeroed memory that is reserved at once and touched when used.
struct Region {
    start: NonNull<u8>,
    raw: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a region owns an allocation and nothing of a thread's own, and it never looks at the bytes itself: it tells where
// they lie and frees them at its end. Who reads and writes them is settled by leases.
unsafe impl Send for Region {}
// SAFETY: as above; its methods by reference only compute an address.
unsafe impl Sync for Region {}

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
        // SAFETY: `raw` was allocated with this layout, and the memory that owns the region ends only when no lease is left,
        // at home or shared; the reactor leaks the pool if the kernel may still write.
        unsafe { dealloc(self.raw.as_ptr(), self.layout) }
    }
}

/// A lease that any thread may hold, as the owner inside a [`Bytes`](bytes::Bytes), which counts its clones and slices. Its
/// end sets one bit; the pool's shard does the rest when it next looks.
pub(super) struct Shared {
    memory: Arc<Memory>,
    start: NonNull<u8>,
    len: u32,
    slot: u16,
}

// SAFETY: it only reads bytes that nobody writes while it exists (contract of `new`); the memory they lie in is kept by an
// atomic count; its drop tells `Returns`, which any thread may do.
unsafe impl Send for Shared {}
// SAFETY: as above: by reference it can only be read.
unsafe impl Sync for Shared {}

impl Shared {
    /// # Safety
    /// `start..start + len` is initialised memory of `memory`, and nobody writes there before `slot` has been taken from
    /// `memory.returns`. The slot is this lease's alone until then.
    pub(super) unsafe fn new(memory: Arc<Memory>, start: NonNull<u8>, len: u32, slot: u16) -> Self {
        Shared { memory, start, len, slot }
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: by the contract of `new`: initialised, and not written to before the slot is given back, which is in
        // `drop`; `memory` keeps the region.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whatever was read through this lease was read before; giving back has release order, and taking acquires.
        self.memory.returns.give_back(self.slot);
    }
}
