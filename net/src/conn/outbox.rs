//! What a connection is about to send: answers gathered in one pooled chunk, and large bodies by reference between them.
//! It leaves as one send.

use std::cell::RefCell;

use platform::limits::{CHUNK_BYTES_MAX, SEND_BUFFERS_MAX};
use platform::{Buf, BufList, ChunkMut, Pool};

use crate::limits::{SEND_LIST_SPARES_MAX, WRITE_CHUNK_BYTES};
use crate::tcp::Outgoing;

/// Answers on their way out. An idle connection holds no memory here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Filled before anything else; leased with the first byte.
    chunk: Option<ChunkMut>,
    /// What comes before `chunk`.
    list: Option<Box<BufList>>,
}

/// Where all outboxes of a shard get their memory.
pub(crate) struct Supplies {
    pool: Pool,
    /// Lists that wait for the next large answer; boxed, as an operation takes them.
    #[allow(clippy::vec_box, reason = "the boxes themselves are what is kept")]
    lists: RefCell<Vec<Box<BufList>>>,
}

/// The pool has no chunk to write to.
#[derive(Debug)]
pub(super) struct Exhausted;

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_none() && self.chunk.as_ref().is_none_or(ChunkMut::is_empty)
    }

    /// Whether so much is gathered that it must leave before more is added.
    pub(super) fn is_full(&self, bytes_max: usize) -> bool {
        self.list.as_ref().is_some_and(|list| {
            // An answer, or a piece of one, takes at most four buffers: what is gathered, head, body, what ends it.
            list.len() + 4 > SEND_BUFFERS_MAX || list.bytes() >= bytes_max
        })
    }

    /// Room to write to, at least `bytes`.
    pub(super) fn room(&mut self, bytes: usize, supplies: &Supplies) -> Result<&mut [u8], Exhausted> {
        if self.chunk.as_ref().is_none_or(|chunk| chunk.room() < bytes) {
            self.seal(supplies);
            let bytes = bytes.clamp(WRITE_CHUNK_BYTES, CHUNK_BYTES_MAX);
            self.chunk = Some(supplies.pool.lease(bytes).ok_or(Exhausted)?);
        }
        Ok(self.chunk.as_mut().expect("just leased").spare())
    }

    /// Counts bytes written to the room.
    pub(super) fn commit(&mut self, count: usize) {
        self.chunk.as_mut().expect("room was asked for first").commit(count);
    }

    /// Copies bytes behind what is there.
    pub(super) fn put(&mut self, bytes: &[u8], supplies: &Supplies) -> Result<(), Exhausted> {
        if !bytes.is_empty() {
            self.room(bytes.len(), supplies)?[..bytes.len()].copy_from_slice(bytes);
            self.commit(bytes.len());
        }
        Ok(())
    }

    /// Adds a buffer by reference.
    pub(super) fn push(&mut self, buf: Buf, supplies: &Supplies) {
        self.seal(supplies);
        self.list_push(buf, supplies);
    }

    /// Takes everything, as one send.
    pub(super) fn take(&mut self, supplies: &Supplies) -> Outgoing {
        if self.list.is_some() {
            self.seal(supplies);
        }
        match (self.list.take(), self.chunk.take()) {
            (Some(list), _) => Outgoing::Many(list),
            (None, Some(chunk)) => Outgoing::One(Buf::Chunk(chunk.freeze())),
            (None, None) => Outgoing::default(),
        }
    }

    /// Ends the present chunk and puts it on the list.
    fn seal(&mut self, supplies: &Supplies) {
        if let Some(chunk) = self.chunk.take()
            && !chunk.is_empty()
        {
            self.list_push(Buf::Chunk(chunk.freeze()), supplies);
        }
    }

    fn list_push(&mut self, buf: Buf, supplies: &Supplies) {
        let list = self.list.get_or_insert_with(|| supplies.take_list());
        list.push(buf).expect("`is_full` is asked before each answer");
    }
}

impl Supplies {
    pub(super) fn new(pool: Pool) -> Self {
        Supplies { pool, lists: RefCell::default() }
    }

    fn take_list(&self) -> Box<BufList> {
        self.lists.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps what a send has left for the next.
    pub(super) fn reclaim(&self, outgoing: Outgoing) {
        if let Outgoing::Many(mut list) = outgoing {
            let mut lists = self.lists.borrow_mut();
            if lists.len() < SEND_LIST_SPARES_MAX {
                list.clear();
                lists.push(list);
            }
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}
