//! A file on its way out: pieces are read into pooled chunks, or their pages put into pipes, one ahead of the one that is being
//! sent.
//!
//! What was announced is held to: no byte more is sent, and a file that has become shorter is an error, which ends the
//! connection, since no other bytes could take the place of what is missing.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use net::{BodyStream, Content, Piece};
use platform::{Buf, Completion, Error, Op, Outcome};
use shards::Operation;

use super::{Held, busy};
use crate::limits::{FILE_PIECE_BYTES, FILE_PIPE_BYTES_MIN};

/// A body made of pieces of a file, and of text between them.
pub(super) struct Transfer {
    ahead: Ahead,
    /// Dropped after what reads from it.
    file: Held,
    /// What is still to come. A range begins where the next read does.
    segments: VecDeque<Segment>,
    length: u64,
    /// Whether it may go through pipes. Some files have no pages; they are read.
    by_pages: bool,
}

pub(super) enum Segment {
    Text(Vec<u8>),
    Range(Range<u64>),
}

/// What has been made, or is being made, and not been asked for.
enum Ahead {
    Nothing,
    Reading(Operation),
    Loading(Operation),
    Ready(Piece),
}

/// The file has fewer bytes than were announced.
#[derive(Debug)]
struct Shrunk;

impl Transfer {
    pub(super) fn new(file: Held, segments: Vec<Segment>, by_pages: bool) -> Self {
        let length = segments.iter().map(Segment::bytes).sum();
        Transfer { ahead: Ahead::Nothing, file, segments: segments.into(), length, by_pages }
    }

    /// Waits until the first piece is there.
    ///
    /// Errors: it cannot be read.
    pub(super) async fn begin(&mut self) -> Result<(), crate::Error> {
        self.advance(false).map_err(|error| if error.is_scarcity() { busy(error) } else { error.into() })?;
        if let Ahead::Reading(operation) = &mut self.ahead {
            let completion = operation.next().await;
            self.ahead = Ahead::Nothing;
            self.ahead = Ahead::Ready(self.landed(completion).map_err(Failure::into_error)?);
        }
        Ok(())
    }

    /// The content, if what is at hand is all of it.
    pub(super) fn into_last(mut self) -> Result<Content, Self> {
        match self.ahead {
            Ahead::Nothing if self.segments.is_empty() => Ok(Content::Empty),
            Ahead::Ready(_) if self.segments.is_empty() => match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
                Ahead::Ready(Piece::Bytes(buf)) => Ok(Content::Full(buf)),
                _ => unreachable!("a piece is at hand"),
            },
            _ => Err(self),
        }
    }

    /// Begins to make the next piece, if there is one to come and none in hand; by a pipe if that is wanted, and worth it.
    ///
    /// Errors: the pool has no chunk, or the shard no slot for an operation. Nothing is lost by that.
    fn advance(&mut self, takes_pipes: bool) -> Result<(), Error> {
        while let (Ahead::Nothing, Some(segment)) = (&self.ahead, self.segments.front_mut()) {
            match segment {
                Segment::Text(text) => {
                    self.ahead = Ahead::Ready(Piece::Bytes(std::mem::take(text).into()));
                    self.segments.pop_front();
                }
                Segment::Range(range) if range.is_empty() => drop(self.segments.pop_front()),
                Segment::Range(range) => {
                    let (shard, file, left) = (&self.file.shard, self.file.handle, range.end - range.start);
                    // Where no pipe is left, pieces are read: slow clients may hold all of them.
                    if takes_pipes
                        && self.by_pages
                        && left >= FILE_PIPE_BYTES_MIN
                        && let Ok(pipe) = shard.with_reactor(|reactor| reactor.pipe())
                    {
                        let bytes = left.min(pipe.room() as u64) as u32;
                        let load = Op::Load { file, offset: range.start, bytes, pipe };
                        self.ahead = Ahead::Loading(shard.start(load).map_err(|(_, error)| error)?);
                        continue;
                    }
                    let bytes = left.min(FILE_PIECE_BYTES as u64) as usize;
                    let into = shard.pool().lease(bytes).ok_or(Error::OutOfMemory)?;
                    let read = Op::Read { file, offset: range.start, into };
                    self.ahead = Ahead::Reading(shard.start(read).map_err(|(_, error)| error)?);
                }
            }
        }
        Ok(())
    }

    /// Takes what was read into account. A chunk may have had more room than there was left to send.
    fn landed(&mut self, completion: Completion) -> Result<Piece, Failure> {
        let Some(Segment::Range(range)) = self.segments.front_mut() else { return Err(Failure::Read(Error::Invalid)) };
        let left = range.end - range.start;
        let (bytes, piece) = match completion.result.map_err(Failure::Read)? {
            Outcome::Read { bytes, chunk } => {
                let (bytes, mut chunk) = ((bytes as u64).min(left), chunk.freeze());
                chunk.truncate(bytes as usize);
                (bytes, Piece::Bytes(chunk.into()))
            }
            Outcome::Loaded(pipe) => (pipe.bytes() as u64, Piece::Pipe(pipe)),
            _ => return Err(Failure::Read(Error::Invalid)),
        };
        if bytes == 0 {
            return Err(Failure::Shrunk);
        }
        range.start += bytes;
        if range.is_empty() {
            self.segments.pop_front();
        }
        Ok(piece)
    }

    fn poll_any(&mut self, cx: &mut Context<'_>, takes_pipes: bool) -> Poll<Option<Result<Piece, Box<dyn StdError>>>> {
        let piece = loop {
            if let Err(error) = self.advance(takes_pipes) {
                return Poll::Ready(Some(Err(error.into())));
            }
            let completion = match &mut self.ahead {
                Ahead::Nothing => return Poll::Ready(None),
                Ahead::Ready(_) => None,
                Ahead::Reading(operation) | Ahead::Loading(operation) => Some(ready!(operation.poll_next(cx))),
            };
            match (std::mem::replace(&mut self.ahead, Ahead::Nothing), completion) {
                (Ahead::Ready(piece), _) => break Ok(piece),
                // A read says what is wrong, if anything is but this way.
                (Ahead::Loading(_), Some(Completion { result: Err(_), .. })) => self.by_pages = false,
                (_, Some(completion)) => break self.landed(completion),
                (_, None) => return Poll::Ready(None),
            }
        };
        // The next is made while this one is sent. Where there is no memory for that now, it is asked for again.
        let _ = self.advance(takes_pipes);
        Poll::Ready(Some(piece.map_err(|error| error.into_error().into())))
    }
}

impl BodyStream for Transfer {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Buf, Box<dyn StdError>>>> {
        self.poll_any(cx, false).map(|next| {
            next.map(|piece| match piece? {
                Piece::Bytes(buf) => Ok(buf),
                Piece::Pipe(_) => Err(Error::Unsupported.into()),
            })
        })
    }

    fn poll_piece(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, Box<dyn StdError>>>> {
        self.poll_any(cx, true)
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
