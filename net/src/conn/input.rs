//! What has been received and not yet consumed: usually one chunk in place; a head that straddles reads is gathered into a
//! pooled chunk, copied once.

use std::task::{Context, Poll, ready};

use platform::limits::CHUNK_BYTES_MAX;
use platform::{Chunk, ChunkMut, Pool};

use super::Exhausted;
use crate::Transport;

/// The unconsumed input of a connection. An idle one holds no memory.
#[derive(Debug, Default)]
pub(super) enum Input {
    #[default]
    Empty,
    /// As it came.
    Whole(Chunk),
    /// A head in parts.
    Gathered(ChunkMut),
    /// More than one chunk can hold: something that goes on in a large buffer. Boxed, as it is rare.
    Parted(Box<Parted>),
}

/// What comes first, which may be of no use without more, and the rest, from which that is drawn.
#[derive(Debug)]
pub(super) struct Parted {
    first: Chunk,
    rest: Chunk,
}

/// Why nothing more is received.
#[derive(Debug)]
pub(super) enum Unfilled {
    /// The pool has no chunk large enough for what must be contiguous.
    Exhausted,
    /// The connection is gone.
    Broken,
}

/// The first chunk that parts are gathered in; most heads fit.
const GATHER_BYTES_MIN: usize = 1024;

/// How much of a large buffer is copied behind what it continues, when both do not fit one chunk: the rest of a chunk's line,
/// or of most heads.
const PART_BYTES: usize = 4096;

impl Input {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Input::Empty => &[],
            Input::Whole(chunk) => chunk,
            Input::Gathered(chunk) => chunk,
            Input::Parted(parted) => &parted.first,
        }
    }

    /// Bytes in hand, whether they can be seen or not.
    pub(super) fn len(&self) -> usize {
        match self {
            Input::Parted(parted) => parted.first.len() + parted.rest.len(),
            _ => self.as_slice().len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Lets more be seen: of what is in hand, or of what there is to receive. Ready with the number of bytes received, or `None`
    /// at the end of input.
    #[inline]
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        pool: &Pool,
    ) -> Poll<Result<Option<usize>, Unfilled>> {
        if self.draw(pool)? {
            return Poll::Ready(Ok(Some(0)));
        }
        Poll::Ready(match ready!(transport.poll_recv(cx)) {
            Ok(Some(chunk)) => {
                let bytes = chunk.len();
                self.append(chunk, pool)?;
                Ok(Some(bytes))
            }
            Ok(None) => Ok(None),
            Err(_) => Err(Unfilled::Broken),
        })
    }

    /// Lets more of what is in hand be seen, before more is received. False if all of it is.
    fn draw(&mut self, pool: &Pool) -> Result<bool, Exhausted> {
        if !matches!(self, Input::Parted(_)) {
            return Ok(false);
        }
        if let Input::Parted(parted) = std::mem::take(self) {
            let Parted { first, rest } = *parted;
            *self = Input::Whole(first);
            self.append(rest, pool)?;
        }
        Ok(true)
    }

    /// Puts received bytes behind what is there, all of which can be seen.
    #[inline]
    fn append(&mut self, chunk: Chunk, pool: &Pool) -> Result<(), Exhausted> {
        match self.is_empty() {
            true => *self = Input::Whole(chunk),
            false => self.append_behind(chunk, pool)?,
        }
        Ok(())
    }

    fn append_behind(&mut self, mut chunk: Chunk, pool: &Pool) -> Result<(), Exhausted> {
        let bytes = self.as_slice().len() + chunk.len();
        if bytes > CHUNK_BYTES_MAX {
            let first = chunk.split_to(chunk.len().min(PART_BYTES));
            self.append(first, pool)?;
            let first = self.take(self.as_slice().len());
            *self = Input::Parted(Box::new(Parted { first, rest: chunk }));
            return Ok(());
        }
        match self {
            Input::Gathered(gathered) if gathered.room() >= chunk.len() => gathered.put(&chunk),
            _ => {
                // Twice what is needed now, so that a head in many small parts is copied a few times and not many.
                let room = (2 * bytes).max(GATHER_BYTES_MIN);
                let lease = pool.lease(room).or_else(|| pool.lease(bytes));
                let mut gathered = lease.ok_or(Exhausted)?;
                gathered.put(self.as_slice());
                gathered.put(&chunk);
                *self = Input::Gathered(gathered);
            }
        }
        Ok(())
    }

    /// Takes the first `count` bytes out as a lease of their own. Without a copy.
    pub(super) fn take(&mut self, count: usize) -> Chunk {
        if let Input::Whole(chunk) = self
            && count < chunk.len()
        {
            return chunk.split_to(count);
        }
        let mut chunk = match std::mem::take(self) {
            Input::Empty => panic!("nothing to take {count} bytes from"),
            Input::Whole(chunk) => chunk,
            Input::Gathered(chunk) => chunk.freeze(),
            Input::Parted(mut parted) => {
                let front = parted.first.split_to(count);
                *self = match parted.first.is_empty() {
                    true => Input::Whole(parted.rest),
                    false => Input::Parted(parted),
                };
                return front;
            }
        };
        if count == chunk.len() {
            return chunk;
        }
        let front = chunk.split_to(count);
        *self = Input::Whole(chunk);
        front
    }

    /// Drops the first `count` bytes.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) {
        match self {
            Input::Whole(chunk) if count < chunk.len() => chunk.advance(count),
            Input::Whole(chunk) if count == chunk.len() => *self = Input::Empty,
            _ if count == 0 => {}
            _ => drop(self.take(count)),
        }
    }

    /// Whatever stays over the turn must not pin one of the kernel's buffers.
    pub(super) fn settle(&mut self, pool: &Pool) {
        match self {
            Input::Whole(chunk) if chunk.is_empty() => *self = Input::Empty,
            Input::Whole(chunk) if chunk.pins_receive_buffer() => {
                if let Some(mut gathered) = pool.lease((2 * chunk.len()).max(GATHER_BYTES_MIN)) {
                    gathered.put(chunk);
                    *self = Input::Gathered(gathered);
                }
            }
            Input::Gathered(chunk) if chunk.is_empty() => *self = Input::Empty,
            _ => {}
        }
    }
}

impl From<Exhausted> for Unfilled {
    fn from(_: Exhausted) -> Self {
        Unfilled::Exhausted
    }
}
