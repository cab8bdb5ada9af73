//! Bodies that come compressed (RFC 9110 section 8.4.1), as they were before, piece by piece: `gzip` and `deflate`; with the feature
//! `codings` also `br` (RFC 7932) and `zstd` (RFC 8878).
//!
//! The one idea: a piece is made when it is asked for, and no larger than a buffer; so a few bytes that stand for a great many
//! are held up as the reader is, and end at the response's limit. What decodes gives way to others now and then.

#[cfg(feature = "codings")]
mod brotli;
mod inflate;
#[cfg(feature = "codings")]
mod zstd;

use std::task::{Context, Poll, ready};

use platform::{Chunk, ChunkMut, Pool};

use super::Error;
use crate::limits::{DECODED_BYTES_MAX, DECODED_CHUNK_BYTES};

/// What a client offers to take (RFC 9110 section 12.5.3).
pub(super) const OFFER: &str = if cfg!(feature = "codings") { "zstd, br, gzip, deflate" } else { "gzip, deflate" };

/// What makes of the bytes that come those that are meant.
pub(super) struct Decoder {
    pool: Pool,
    coding: Box<dyn Coding>,
    /// What came and was not consumed.
    input: Option<Chunk>,
    /// The last piece was as long as may be, and more may be made of what has come.
    is_full: bool,
    /// Bytes that were made since others had their turn.
    made: usize,
    has_ended: bool,
}

/// One way to compress.
trait Coding {
    /// Consumes of what has come, and puts what that means into the room, until either is used up.
    fn advance(&mut self, input: &mut Option<Chunk>, room: &mut ChunkMut) -> Result<(), Error>;

    /// Whether all is said, if nothing more comes. A body without bytes says what it says.
    fn is_whole(&self) -> bool;
}

impl Decoder {
    /// One for a body of this coding; `None` if it is not coded, or otherwise.
    pub(super) fn of(coding: &[u8], pool: &Pool) -> Option<Self> {
        let name = coding.trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let coding: Box<dyn Coding> = match () {
            () if is("gzip") || is("x-gzip") => Box::new(inflate::Inflate::gzip()),
            () if is("deflate") => Box::new(inflate::Inflate::deflate()),
            #[cfg(feature = "codings")]
            () if is("br") => Box::new(brotli::Brotli::new()),
            #[cfg(feature = "codings")]
            () if is("zstd") => Box::new(zstd::Zstd::new()),
            () => return None,
        };
        Some(Decoder { pool: pool.clone(), coding, input: None, is_full: false, made: 0, has_ended: false })
    }

    /// The next piece of what is meant; `None` at its end. `more` gives what comes.
    pub(super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        mut more: impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>>,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        loop {
            if self.made >= DECODED_BYTES_MAX {
                self.made = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let is_empty = self.input.as_ref().is_none_or(|input| input.is_empty());
            if is_empty && !self.is_full && !self.has_ended {
                let next = more(cx);
                if next.is_pending() {
                    self.made = 0;
                }
                self.input = ready!(next)?;
                self.has_ended = self.input.is_none();
            }
            let mut room = self.pool.lease(DECODED_CHUNK_BYTES).ok_or(Error::Exhausted)?;
            self.coding.advance(&mut self.input, &mut room)?;
            self.is_full = room.room() == 0;
            if !room.is_empty() {
                self.made += room.len();
                return Poll::Ready(Ok(Some(room.freeze())));
            }
            if self.has_ended {
                return Poll::Ready(if self.coding.is_whole() { Ok(None) } else { Err(Error::Truncated) });
            }
        }
    }
}

const DAMAGED: Error = Error::Coding("it is damaged");

#[cfg(test)]
mod tests;
