//! Bodies that come compressed (RFC 9110 section 8.4.1), as they were before: `gzip` and `deflate`, piece by piece.
//!
//! The one idea: a piece is made when it is asked for, and no larger than a buffer; so a few bytes that stand for a great many
//! are held up as the reader is, and end at the response's limit. What decodes gives way to others now and then.

use std::task::{Context, Poll, ready};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use platform::{Chunk, Pool};

use super::Error;
use crate::limits::{DECODED_BYTES_MAX, DECODED_CHUNK_BYTES, GZIP_HEAD_BYTES_MAX};

/// What a client offers to take (RFC 9110 section 12.5.3).
pub(super) const OFFER: &str = "gzip, deflate";

/// What makes of the bytes that come those that are meant.
pub(super) struct Decoder {
    pool: Pool,
    format: Format,
    stage: Stage,
    inflate: Box<InflateState>,
    /// What came and was not consumed.
    input: Option<Chunk>,
    /// A gzip member's head or tail, as far as it came.
    held: Vec<u8>,
    sum: u32,
    size: u32,
    /// The last piece was as long as may be, and more may be made of what has come.
    is_full: bool,
    /// Bytes that were made since others had their turn.
    made: usize,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gzip,
    /// With zlib's head and tail (RFC 1950), or as some have misread it, without.
    Deflate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Body,
    Tail,
    /// All was said. Of gzip another member may follow.
    Over,
}

impl Decoder {
    /// One for a body of this coding; `None` if it is not coded, or otherwise.
    pub(super) fn of(coding: &[u8], pool: &Pool) -> Option<Self> {
        let format = match coding.trim_ascii() {
            name if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => Format::Gzip,
            name if name.eq_ignore_ascii_case(b"deflate") => Format::Deflate,
            _ => return None,
        };
        Some(Decoder {
            pool: pool.clone(),
            format,
            stage: Stage::Head,
            inflate: InflateState::new_boxed(DataFormat::Raw),
            input: None,
            held: Vec::new(),
            sum: 0,
            size: 0,
            is_full: false,
            made: 0,
            has_ended: false,
        })
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
            if let Some(chunk) = self.advance()? {
                return Poll::Ready(Ok(Some(chunk)));
            }
            if self.has_ended && !self.is_full {
                let is_whole = self.stage == Stage::Over || self.stage == Stage::Head && self.is_fresh();
                return Poll::Ready(if is_whole { Ok(None) } else { Err(Error::Truncated) });
            }
        }
    }

    /// Nothing has come at all: a body without bytes, which is what it says.
    fn is_fresh(&self) -> bool {
        self.held.is_empty() && self.size == 0
    }

    /// Goes on with what is there, to the next piece or until more must come.
    fn advance(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            match self.stage {
                Stage::Head => {
                    if !self.head()? {
                        return Ok(None);
                    }
                }
                Stage::Body => return self.body(),
                Stage::Tail => {
                    if !self.tail()? {
                        return Ok(None);
                    }
                }
                Stage::Over => {
                    let Some(input) = self.input.as_ref().filter(|input| !input.is_empty()) else { return Ok(None) };
                    if self.format != Format::Gzip || input[0] != GZIP[0] {
                        // What some put behind it, zeros mostly, is nobody's.
                        self.input = None;
                        return Ok(None);
                    }
                    self.stage = Stage::Head;
                }
            }
        }
    }

    /// Reads what comes before the data. False if more must come.
    fn head(&mut self) -> Result<bool, Error> {
        let Some(input) = self.input.as_mut().filter(|input| !input.is_empty()) else { return Ok(false) };
        let before = self.held.len();
        let taken = input.len().min(GZIP_HEAD_BYTES_MAX - before);
        self.held.extend_from_slice(&input[..taken]);
        let (bytes, format) = match self.format {
            Format::Gzip => (gzip_head(&self.held)?, DataFormat::Raw),
            Format::Deflate if self.held.len() < 2 => (None, DataFormat::Raw),
            Format::Deflate => {
                let word = u16::from_be_bytes([self.held[0], self.held[1]]);
                let is_zlib = self.held[0] & 15 == 8 && word.is_multiple_of(31);
                (Some(0), if is_zlib { DataFormat::Zlib } else { DataFormat::Raw })
            }
        };
        let Some(bytes) = bytes else {
            input.advance(taken);
            if self.held.len() >= GZIP_HEAD_BYTES_MAX {
                return Err(Error::Coding("its head is too long"));
            }
            return Ok(false);
        };
        self.inflate.reset(format);
        (self.sum, self.size, self.stage) = (u32::MAX, 0, Stage::Body);
        match self.format {
            Format::Gzip => {
                input.advance(bytes.saturating_sub(before));
                self.held.clear();
            }
            // Its two bytes are the data's, and the first of them may have come before.
            Format::Deflate => input.advance(taken),
        }
        Ok(true)
    }

    /// Inflates into a buffer.
    fn body(&mut self) -> Result<Option<Chunk>, Error> {
        let mut room = self.pool.lease(DECODED_CHUNK_BYTES).ok_or(Error::Exhausted)?;
        loop {
            let is_held = !self.held.is_empty();
            let input: &[u8] = if is_held { &self.held } else { self.input.as_deref().unwrap_or_default() };
            let result = inflate(&mut self.inflate, input, room.spare(), MZFlush::None);
            match is_held {
                true => drop(self.held.drain(..result.bytes_consumed)),
                false => {
                    if let Some(input) = &mut self.input {
                        input.advance(result.bytes_consumed);
                    }
                }
            }
            room.commit(result.bytes_written);
            let is_stuck = result.bytes_consumed == 0 && result.bytes_written == 0;
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    self.stage = if self.format == Format::Gzip { Stage::Tail } else { Stage::Over };
                    if self.format == Format::Deflate {
                        self.held.clear();
                    }
                    break;
                }
                Ok(MZStatus::Ok) if !is_stuck && room.room() > 0 => {}
                Ok(MZStatus::Ok) | Err(MZError::Buf) => break,
                _ => return Err(Error::Coding("it is damaged")),
            }
        }
        self.is_full = room.room() == 0;
        let chunk = room.freeze();
        if chunk.is_empty() {
            // Of what is stuck with bytes in hand nothing will ever come.
            return match self.stage {
                Stage::Body if self.input.as_ref().is_some_and(|input| !input.is_empty()) => {
                    Err(Error::Coding("it is damaged"))
                }
                Stage::Body => Ok(None),
                _ => self.advance(),
            };
        }
        if self.format == Format::Gzip {
            self.sum = chunk.iter().fold(self.sum, |sum, byte| SUMS[usize::from(sum as u8 ^ byte)] ^ (sum >> 8));
        }
        self.size = self.size.wrapping_add(chunk.len() as u32);
        self.made += chunk.len();
        Ok(Some(chunk))
    }

    /// Compares what stands behind a member of gzip with what came: RFC 1952 section 2.3.1. False if more must come.
    fn tail(&mut self) -> Result<bool, Error> {
        let Some(input) = &mut self.input else { return Ok(false) };
        let taken = input.len().min(8 - self.held.len());
        self.held.extend_from_slice(&input[..taken]);
        input.advance(taken);
        let Some(tail) = self.held.first_chunk::<8>() else { return Ok(false) };
        let number = |at: usize| u32::from_le_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
        if number(0) != !self.sum || number(4) != self.size {
            return Err(Error::Coding("its checksum is not its own"));
        }
        self.held.clear();
        self.stage = Stage::Over;
        Ok(true)
    }
}

/// The length of a member's head, once it is whole.
fn gzip_head(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let begin = bytes.len().min(GZIP.len());
    if bytes[..begin] != GZIP[..begin] {
        return Err(Error::Coding("it is not gzip"));
    }
    let Some(&flags) = bytes.get(3) else { return Ok(None) };
    if flags & 0xe0 != 0 {
        return Err(Error::Coding("it is not gzip as it is known"));
    }
    let mut at = 10;
    if flags & 4 != 0 {
        let Some(length) = bytes.get(at..at + 2) else { return Ok(None) };
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    // A name, and a remark.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let Some(rest) = bytes.get(at..) else { return Ok(None) };
            let Some(end) = rest.iter().position(|byte| *byte == 0) else { return Ok(None) };
            at += end + 1;
        }
    }
    at += if flags & 2 != 0 { 2 } else { 0 };
    Ok((bytes.len() >= at).then_some(at))
}

/// How a member begins: its mark, and the only method.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// What each byte does to a checksum (RFC 1952 section 8).
static SUMS: [u32; 256] = {
    let mut sums = [0; 256];
    let mut number = 0;
    while number < 256 {
        let mut sum = number as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
            bit += 1;
        }
        sums[number] = sum;
        number += 1;
    }
    sums
};

#[cfg(test)]
mod tests;
