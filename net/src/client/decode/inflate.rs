//! `gzip` (RFC 1952) and `deflate` (RFC 1950, or as some have misread it, RFC 1951).

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use platform::{Chunk, ChunkMut};

use super::{Coding, DAMAGED};
use crate::client::Error;
use crate::limits::GZIP_HEAD_BYTES_MAX;

pub(super) struct Inflate {
    format: Format,
    stage: Stage,
    inflate: Box<InflateState>,
    /// A gzip member's head or tail, as far as it came.
    held: Vec<u8>,
    sum: u32,
    size: u32,
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

impl Coding for Inflate {
    fn advance(&mut self, input: &mut Option<Chunk>, room: &mut ChunkMut) -> Result<(), Error> {
        loop {
            let goes_on = match self.stage {
                Stage::Head => self.head(input)?,
                Stage::Body => self.body(input, room)?,
                Stage::Tail => self.tail(input)?,
                Stage::Over => self.begins_anew(input),
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn is_whole(&self) -> bool {
        // Nothing has come at all, or all has.
        self.stage == Stage::Over || self.stage == Stage::Head && self.held.is_empty() && self.size == 0
    }
}

/// Each step is false if it waits: for more to come, or for room.
impl Inflate {
    pub(super) fn gzip() -> Self {
        Inflate::new(Format::Gzip)
    }

    pub(super) fn deflate() -> Self {
        Inflate::new(Format::Deflate)
    }

    fn new(format: Format) -> Self {
        let inflate = InflateState::new_boxed(DataFormat::Raw);
        Inflate { format, stage: Stage::Head, inflate, held: Vec::new(), sum: 0, size: 0 }
    }

    /// Reads what comes before the data.
    fn head(&mut self, input: &mut Option<Chunk>) -> Result<bool, Error> {
        let Some(input) = input.as_mut().filter(|input| !input.is_empty()) else { return Ok(false) };
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

    /// Inflates.
    fn body(&mut self, input: &mut Option<Chunk>, room: &mut ChunkMut) -> Result<bool, Error> {
        let begin = room.len();
        let had_room = room.room() > 0;
        loop {
            let is_held = !self.held.is_empty();
            let bytes: &[u8] = if is_held { &self.held } else { input.as_deref().unwrap_or_default() };
            let result = inflate(&mut self.inflate, bytes, room.spare(), MZFlush::None);
            match is_held {
                true => drop(self.held.drain(..result.bytes_consumed)),
                false => {
                    if let Some(input) = input {
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
                _ => return Err(DAMAGED),
            }
        }
        let made = &room[begin..];
        if made.is_empty()
            && had_room
            && self.stage == Stage::Body
            && input.as_ref().is_some_and(|input| !input.is_empty())
        {
            // Of what is stuck with bytes in hand nothing will ever come.
            return Err(DAMAGED);
        }
        if self.format == Format::Gzip {
            self.sum = made.iter().fold(self.sum, |sum, byte| SUMS[usize::from(sum as u8 ^ byte)] ^ (sum >> 8));
        }
        self.size = self.size.wrapping_add(made.len() as u32);
        Ok(self.stage != Stage::Body)
    }

    /// Compares what stands behind a member of gzip with what came: RFC 1952 section 2.3.1.
    fn tail(&mut self, input: &mut Option<Chunk>) -> Result<bool, Error> {
        let Some(input) = input else { return Ok(false) };
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

    /// What follows may be another member of gzip. Whatever else some put behind one, zeros mostly, is nobody's.
    fn begins_anew(&mut self, input: &mut Option<Chunk>) -> bool {
        let Some(first) = input.as_ref().and_then(|input| input.first().copied()) else { return false };
        if self.format != Format::Gzip || first != GZIP[0] {
            *input = None;
            return false;
        }
        self.stage = Stage::Head;
        true
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
pub(super) static SUMS: [u32; 256] = {
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
