//! What a connection is about to send: answers gathered in one pooled chunk, and large bodies by reference between them.
//! It leaves as one send, and a pipe behind it as another.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use platform::limits::{CHUNK_BYTES_MAX, SEND_BUFFERS_MAX};
use platform::{Buf, BufList, Chunk, ChunkMut, Pipe, Pool};

use super::Exhausted;
use super::h3::Answers;
use crate::limits::{BODY_SPARES_MAX, COPY_BODY_BYTES_MAX, H3_BLOCK_BYTES, WRITE_CHUNK_BYTES};
use crate::tcp::Outgoing;
use crate::{Body, Incoming};

/// Answers on their way out. An idle connection holds no memory here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Filled before anything else; leased with the first byte.
    chunk: Option<ChunkMut>,
    /// What comes before `chunk`.
    list: Option<Box<BufList>>,
    /// What comes after all. Boxed, as few connections ever have one.
    pipe: Option<Box<Pipe>>,
}

/// Where all connections of a shard get the memory of what they hold for a moment.
pub(crate) struct Supplies {
    pool: Pool,
    /// Feeding ends of bodies, with the memory of their queues.
    incomings: RefCell<Vec<Rc<Incoming>>>,
    /// Of HTTP/3: what answers were written as.
    answers: RefCell<Answers>,
    /// What they are written to: as each is split off, their streams keep it until their peers have them.
    block: Cell<BytesMut>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.pipe.is_none() && !self.has_bytes()
    }

    /// Whether so much is gathered that it must leave before more is added.
    pub(super) fn is_full(&self, bytes_max: usize) -> bool {
        self.pipe.is_some()
            || self.chunk.as_ref().map_or(0, ChunkMut::len) >= bytes_max
            || self.list.as_ref().is_some_and(|list| {
                // An answer, or a piece of one, takes at most four buffers: what is gathered, head, body, what ends it.
                list.len() + 4 > SEND_BUFFERS_MAX || list.bytes() >= bytes_max
            })
    }

    /// Room to write to, at least `bytes`.
    pub(super) fn room(&mut self, bytes: usize, supplies: &Supplies) -> Result<&mut [u8], Exhausted> {
        if self.chunk.as_ref().is_none_or(|chunk| chunk.room() < bytes) {
            self.seal(supplies);
            self.chunk = supplies.pool.lease(bytes.clamp(WRITE_CHUNK_BYTES, CHUNK_BYTES_MAX));
        }
        Ok(self.chunk.as_mut().ok_or(Exhausted)?.spare())
    }

    /// Copies a small answer behind what is there. False, and nothing is written, if there is no room.
    #[inline(always)]
    pub(super) fn put_both(&mut self, head: &[u8], body: &[u8], supplies: &Supplies) -> bool {
        let count = head.len() + body.len();
        if self.chunk.is_none() {
            self.chunk = supplies.pool.lease(WRITE_CHUNK_BYTES);
        }
        let Some(chunk) = &mut self.chunk else { return false };
        let Some((front, rest)) = chunk.spare().get_mut(..count).map(|room| room.split_at_mut(head.len())) else {
            return false;
        };
        front.copy_from_slice(head);
        rest.copy_from_slice(body);
        chunk.commit(count);
        true
    }

    /// Puts an answer's head [before](Chunk::prepend) its body, if that has room there and nothing else is gathered. Else false, and nothing
    /// has happened.
    pub(super) fn put_in_front(&mut self, head: &[u8], body: &mut Buf) -> bool {
        if !self.is_empty() {
            return false;
        }
        match prepended(head, std::mem::take(body)) {
            Ok(whole) => {
                self.chunk = Some(whole);
                true
            }
            Err(alone) => {
                *body = alone;
                false
            }
        }
    }

    /// Room for what goes around a body that is sent in chunks. Around others goes nothing, and for that nothing is leased.
    pub(super) fn frame_room(
        &mut self,
        is_chunked: bool,
        bytes: usize,
        supplies: &Supplies,
    ) -> Result<&mut [u8], Exhausted> {
        if is_chunked { self.room(bytes, supplies) } else { Ok(&mut []) }
    }

    /// Counts bytes written to the room.
    #[inline(always)]
    pub(super) fn commit(&mut self, count: usize) {
        if count > 0 {
            self.chunk.as_mut().expect("room was asked for first").commit(count);
        }
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
        if let Some(buf) = self.put_before(buf) {
            self.seal(supplies);
            self.list_push(buf, supplies);
        }
    }

    /// Copies what is gathered into the room before a buffer, where that has some: what leaves in one piece costs the kernel a
    /// twentieth less. Else the buffer comes back.
    fn put_before(&mut self, buf: Buf) -> Option<Buf> {
        let gathered = match (&self.chunk, &self.list) {
            (Some(gathered), None) if gathered.len() <= COPY_BODY_BYTES_MAX => gathered,
            _ => return Some(buf),
        };
        match prepended(gathered, buf) {
            Ok(whole) => {
                self.chunk = Some(whole);
                None
            }
            Err(buf) => Some(buf),
        }
    }

    /// Adds what a pipe holds. Nothing is added behind it.
    pub(super) fn push_pipe(&mut self, pipe: Pipe) {
        self.pipe = Some(Box::new(pipe));
    }

    /// Whether a pipe comes after all.
    pub(super) fn has_pipe(&self) -> bool {
        self.pipe.is_some()
    }

    fn has_bytes(&self) -> bool {
        self.list.is_some() || self.chunk.as_ref().is_some_and(|chunk| !chunk.is_empty())
    }

    /// Takes what is gathered, if it is one chunk and no more.
    #[inline(always)]
    pub(super) fn take_chunk(&mut self) -> Option<Chunk> {
        match self {
            Outbox { chunk: Some(_), list: None, pipe: None } => self.chunk.take().map(ChunkMut::freeze),
            _ => None,
        }
    }

    /// Takes what leaves as one send: everything, but for a pipe behind it, which is the next.
    pub(super) fn take(&mut self, supplies: &Supplies) -> Outgoing {
        if !self.has_bytes()
            && let Some(pipe) = self.pipe.take()
        {
            return Outgoing::Pipe(*pipe);
        }
        if self.list.is_some() {
            self.seal(supplies);
        }
        match (self.list.take(), self.chunk.take()) {
            (Some(list), _) => Outgoing::Many(list),
            (None, Some(chunk)) => Outgoing::One(Buf::Chunk(chunk.freeze())),
            (None, None) => Outgoing::default(),
        }
    }

    /// Puts what was written on the list. The room behind it is written to next: what frames a piece of body takes a few
    /// bytes, and must not take a chunk.
    fn seal(&mut self, supplies: &Supplies) {
        if let Some(chunk) = &mut self.chunk
            && !chunk.is_empty()
        {
            let written = Buf::Chunk(chunk.split());
            self.list_push(written, supplies);
        }
    }

    fn list_push(&mut self, buf: Buf, supplies: &Supplies) {
        let list = self.list.get_or_insert_with(|| supplies.pool.list());
        list.push(buf).expect("`is_full` is asked before each answer");
    }
}

impl Supplies {
    pub(super) fn new(pool: Pool) -> Self {
        let (incomings, answers, block) = Default::default();
        Supplies { pool, incomings, answers, block }
    }

    /// What answers over HTTP/3 were written as.
    pub(super) fn answers(&self) -> RefMut<'_, Answers> {
        self.answers.borrow_mut()
    }

    /// Memory to write answers to, for streams that keep what they are given.
    pub(super) fn take_block(&self) -> BytesMut {
        match self.block.take() {
            block if block.capacity() > 0 => block,
            _ => BytesMut::with_capacity(H3_BLOCK_BYTES),
        }
    }

    /// What was written to it. What is left of it is kept for the next.
    pub(super) fn split_block(&self, mut block: BytesMut) -> Bytes {
        let written = block.split().freeze();
        self.block.set(block);
        written
    }

    /// Keeps what a send has left for the next.
    pub(super) fn reclaim(&self, outgoing: Outgoing) {
        if let Outgoing::Many(list) = outgoing {
            self.pool.reclaim(list);
        }
    }

    /// Both ends of a body of that length, if it has one.
    pub(super) fn body(&self, length: Option<u64>) -> (Rc<Incoming>, Body) {
        match self.incomings.borrow_mut().pop() {
            Some(incoming) => {
                let body = Body::fed_by(&incoming, length);
                (incoming, body)
            }
            None => Body::channel(length),
        }
    }

    /// Keeps the feeding end of a body that is over for the next, unless somebody still reads.
    pub(super) fn reclaim_body(&self, incoming: Option<Rc<Incoming>>) {
        let mut incomings = self.incomings.borrow_mut();
        if let Some(incoming) = incoming
            && incomings.len() < BODY_SPARES_MAX
            && incoming.renew()
        {
            incomings.push(incoming);
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// Writes before what a buffer holds, if there is room. Else it comes back.
fn prepended(front: &[u8], buf: Buf) -> Result<ChunkMut, Buf> {
    match buf {
        Buf::Chunk(chunk) => chunk.prepend(front).map_err(Buf::Chunk),
        buf => Err(buf),
    }
}

#[cfg(test)]
mod tests;
