//! A file on its way out: pieces are read into pooled chunks, one ahead of the one that is being sent.
//!
//! What was announced is held to: no byte more is sent, and a file that has become shorter is an error, which ends the
//! connection, since no other bytes could take the place of what is missing.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use net::{BodyStream, Content};
use platform::{Buf, Completion, Error, Op, Outcome};
use shards::Operation;

use super::{Held, busy};
use crate::limits::FILE_PIECE_BYTES;

/// A body made of pieces of a file, and of text between them.
pub(super) struct Transfer {
    ahead: Ahead,
    /// Dropped after what reads from it.
    file: Held,
    /// What is still to come. A range begins where the next read does.
    segments: VecDeque<Segment>,
    length: u64,
}

pub(super) enum Segment {
    Text(Vec<u8>),
    Range(Range<u64>),
}

/// What has been made, or is being made, and not been asked for.
enum Ahead {
    Nothing,
    Reading(Operation),
    Ready(Buf),
}

/// The file has fewer bytes than were announced.
#[derive(Debug)]
struct Shrunk;

impl Transfer {
    pub(super) fn new(file: Held, segments: Vec<Segment>) -> Self {
        let length = segments.iter().map(Segment::bytes).sum();
        Transfer { ahead: Ahead::Nothing, file, segments: segments.into(), length }
    }

    /// Waits until the first piece is there.
    ///
    /// Errors: it cannot be read.
    pub(super) async fn begin(&mut self) -> Result<(), crate::Error> {
        self.advance().map_err(|error| if error.is_scarcity() { busy(error) } else { error.into() })?;
        if let Ahead::Reading(operation) = &mut self.ahead {
            let completion = operation.next().await;
            self.ahead = Ahead::Nothing;
            self.ahead = Ahead::Ready(self.landed(completion).map_err(|error| error.into_error())?);
        }
        Ok(())
    }

    /// The content, if what is at hand is all of it.
    pub(super) fn into_last(mut self) -> Result<Content, Self> {
        match self.ahead {
            Ahead::Nothing if self.segments.is_empty() => Ok(Content::Empty),
            Ahead::Ready(_) if self.segments.is_empty() => match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
                Ahead::Ready(buf) => Ok(Content::Full(buf)),
                _ => unreachable!("a piece is at hand"),
            },
            _ => Err(self),
        }
    }

    /// Begins to make the next piece, if there is one to come and none in hand.
    ///
    /// Errors: the pool has no chunk, or the shard no slot for an operation. Nothing is lost by that.
    fn advance(&mut self) -> Result<(), Error> {
        while let (Ahead::Nothing, Some(segment)) = (&self.ahead, self.segments.front_mut()) {
            match segment {
                Segment::Text(text) => {
                    self.ahead = Ahead::Ready(std::mem::take(text).into());
                    self.segments.pop_front();
                }
                Segment::Range(range) if range.is_empty() => drop(self.segments.pop_front()),
                Segment::Range(range) => {
                    let bytes = (range.end - range.start).min(FILE_PIECE_BYTES as u64) as usize;
                    let shard = &self.file.shard;
                    let into = shard.pool().lease(bytes).ok_or(Error::OutOfMemory)?;
                    let read = Op::Read { file: self.file.handle, offset: range.start, into };
                    self.ahead = Ahead::Reading(shard.start(read).map_err(|(_, error)| error)?);
                }
            }
        }
        Ok(())
    }

    /// Takes what was read into account. A chunk may have had more room than there was left to send.
    fn landed(&mut self, completion: Completion) -> Result<Buf, Failure> {
        let (bytes, chunk) = match completion.result.map_err(Failure::Read)? {
            Outcome::Read { bytes, chunk } => (bytes, chunk),
            _ => return Err(Failure::Read(Error::Invalid)),
        };
        let Some(Segment::Range(range)) = self.segments.front_mut() else { return Err(Failure::Read(Error::Invalid)) };
        if bytes == 0 {
            return Err(Failure::Shrunk);
        }
        let bytes = (bytes as u64).min(range.end - range.start);
        range.start += bytes;
        if range.is_empty() {
            self.segments.pop_front();
        }
        let mut chunk = chunk.freeze();
        chunk.truncate(bytes as usize);
        Ok(chunk.into())
    }
}

impl BodyStream for Transfer {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn StdError>>>> {
        if let Err(error) = self.advance() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let piece = match &mut self.ahead {
            Ahead::Nothing => return Poll::Ready(None),
            Ahead::Ready(_) => None,
            Ahead::Reading(operation) => Some(ready!(operation.poll_next(cx))),
        };
        let piece = match (std::mem::replace(&mut self.ahead, Ahead::Nothing), piece) {
            (Ahead::Ready(buf), _) => Ok(buf),
            (_, Some(completion)) => self.landed(completion),
            (_, None) => return Poll::Ready(None),
        };
        // The next is read while this one is sent. Where there is no memory for that now, it is asked for again.
        let _ = self.advance();
        Poll::Ready(Some(piece.map_err(|error| error.into_error().into())))
    }

    fn length(&self) -> Option<u64> {
        Some(self.length)
    }
}

impl Segment {
    fn bytes(&self) -> u64 {
        match self {
            Segment::Text(text) => text.len() as u64,
            Segment::Range(range) => range.end - range.start,
        }
    }
}

/// Why a piece could not be made.
enum Failure {
    Read(Error),
    Shrunk,
}

impl Failure {
    fn into_error(self) -> crate::Error {
        match self {
            Failure::Read(error) => error.into(),
            Failure::Shrunk => Shrunk.into(),
        }
    }
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file has become shorter while it was sent")
    }
}

impl StdError for Shrunk {}
