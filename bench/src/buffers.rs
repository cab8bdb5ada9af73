//! The provided-buffer ring: the kernel takes a buffer for each receive, the loop gives it back when it has read
//! what is in it.
//!
//! Both the ring and the buffers are allocated once and never freed, so no proof below has to speak of their end.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::Result;

/// The number under which the ring is registered.
pub const GROUP: u16 = 0;

const RING_BYTES: usize = 8192;

/// The kernel wants the ring on a page boundary.
#[repr(C, align(4096))]
struct RingMemory([u8; RING_BYTES]);

/// The buffers and the ring that lends them to the kernel.
#[derive(Debug)]
pub struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    /// How many, a power of two.
    count: u16,
    /// Of each.
    bytes: usize,
    tail: u16,
}

impl Buffers {
    /// Allocates, registers and lends all buffers.
    pub fn register(submitter: &Submitter<'_>, count: u16, bytes: usize) -> Result<Self> {
        assert!(count.is_power_of_two() && usize::from(count) * size_of::<BufRingEntry>() <= RING_BYTES);
        let ring = Box::leak(Box::new(RingMemory([0; RING_BYTES])));
        let memory = Box::leak(vec![0; usize::from(count) * bytes].into_boxed_slice());
        let entries = ring.0.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the memory is page-aligned, has room for `count` entries (asserted above) and is leaked, so it
        // outlives the ring it is registered with. Zeroed bytes are valid entries.
        unsafe { submitter.register_buf_ring_with_flags(entries as u64, count, GROUP, 0) }
            .map_err(|error| format!("cannot register provided buffers: {error}"))?;
        let mut buffers = Self { entries, memory: memory.as_mut_ptr(), count, bytes, tail: 0 };
        (0..count).for_each(|id| buffers.give_back(id));
        buffers.publish();
        Ok(buffers)
    }

    /// The memory of a buffer that a completion named.
    pub fn bytes(&self, id: u16) -> &[u8] {
        assert!(id < self.count, "the kernel named a buffer it was never lent");
        // SAFETY: `id` is in range and the memory is initialised and never freed. The kernel named this buffer in a
        // completion, so it is ours, and the kernel writes to it again only after `give_back`, which wants `&mut self`
        // and so cannot happen while the slice lives.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(id) * self.bytes), self.bytes) }
    }

    /// Lends a buffer to the kernel again, from the next [`Buffers::publish`] on.
    pub fn give_back(&mut self, id: u16) {
        assert!(id < self.count, "no such buffer");
        let place = usize::from(self.tail & (self.count - 1));
        // SAFETY: `place` is below `count`, so inside the ring memory. The kernel reads entries only between its head
        // and the published tail; this one is beyond the tail, because at most `count` buffers are lent at a time.
        let entry = unsafe { &mut *self.entries.add(place) };
        // SAFETY: `id` is in range, so the result stays within the leaked memory.
        entry.set_addr(unsafe { self.memory.add(usize::from(id) * self.bytes) } as u64);
        entry.set_len(self.bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given back.
    pub fn publish(&mut self) {
        // SAFETY: `entries` is the first entry of the ring that was registered, whose last field is the tail; it is
        // two-byte aligned and lives for ever. We are its only writer, and the kernel reads it with acquire order.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
