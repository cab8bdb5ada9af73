//! `zstd` (RFC 8878, and RFC 9659 for the window), by the crate `ruzstd`.
//!
//! A block goes to the decoder once it is there as a whole, and what it means is taken out before the next: so no more is ever made
//! ahead than one block, however little it came as. The decoder gives out what lies further back than its window, and the rest at
//! a frame's end: so of a body that comes slowly the last of it, up to [`ZSTD_WINDOW_BYTES_MAX`], is held back until all is there.

use std::io::Read;

use platform::{Chunk, ChunkMut};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Coding, DAMAGED};
use crate::client::Error;
use crate::limits::ZSTD_WINDOW_BYTES_MAX;

pub(super) struct Zstd {
    decoder: FrameDecoder,
    stage: Stage,
    /// A head or a block, as far as it came.
    held: Vec<u8>,
    /// A sum stands behind the frame's last block.
    has_sum: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Between frames.
    Frame,
    Block,
    /// So many bytes that are for somebody else.
    Skipped(u32),
}

/// How a frame begins, and how one that is to be skipped does, but for four bits (RFC 8878 section 3.1).
const FRAME: u32 = 0xfd2f_b528;
const SKIPPED: u32 = 0x184d_2a50;

/// The longest block: section 3.1.1.2.4.
const BLOCK_BYTES_MAX: usize = 128 * 1024;

impl Zstd {
    pub(super) fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Zstd { decoder, stage: Stage::Frame, held: Vec::new(), has_sum: false }
    }

    /// Holds so many bytes. False if more must come.
    fn hold(&mut self, count: usize, input: &mut Option<Chunk>) -> bool {
        if let Some(input) = input {
            let taken = input.len().min(count.saturating_sub(self.held.len()));
            self.held.extend_from_slice(&input[..taken]);
            input.advance(taken);
        }
        self.held.len() >= count
    }

    /// Reads the head of a frame. False if more must come.
    fn frame(&mut self, input: &mut Option<Chunk>) -> Result<bool, Error> {
        if !self.hold(4, input) {
            return Ok(false);
        }
        let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match number(&self.held) {
            FRAME => {}
            skipped if skipped & !15 == SKIPPED => {
                if !self.hold(8, input) {
                    return Ok(false);
                }
                self.stage = Stage::Skipped(number(&self.held[4..]));
                self.held.clear();
                return Ok(true);
            }
            _ => return Err(Error::Coding("it is not zstd")),
        }
        // Section 3.1.1.1: a byte says what else there is of window, dictionary and length.
        if !self.hold(5, input) {
            return Ok(false);
        }
        let flags = self.held[4];
        let is_single = flags & 0x20 != 0;
        let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
        let length = match flags >> 6 {
            0 => usize::from(is_single),
            power => 1 << power,
        };
        if !self.hold(5 + usize::from(!is_single) + dictionary + length, input) {
            return Ok(false);
        }
        let too_wide = Error::Coding("it is not zstd as it is known, or refers further back than it may");
        self.decoder.reset(&self.held[..]).map_err(|_| too_wide)?;
        self.has_sum = flags & 4 != 0;
        self.held.clear();
        self.stage = Stage::Block;
        Ok(true)
    }

    /// Decodes a block. False if more must come.
    fn block(&mut self, input: &mut Option<Chunk>) -> Result<bool, Error> {
        if !self.hold(3, input) {
            return Ok(false);
        }
        // Section 3.1.1.2: whether it is the last, its kind and its length, which of a repeated byte is not that of what comes.
        let head = u32::from_le_bytes([self.held[0], self.held[1], self.held[2], 0]);
        let (is_last, kind, length) = (head & 1 == 1, head >> 1 & 3, (head >> 3) as usize);
        if length > BLOCK_BYTES_MAX {
            return Err(DAMAGED);
        }
        let sum = if is_last && self.has_sum { 4 } else { 0 };
        if !self.hold(3 + if kind == 1 { 1 } else { length } + sum, input) {
            return Ok(false);
        }
        let decoded = self.decoder.decode_blocks(&self.held[..], BlockDecodingStrategy::UptoBlocks(1));
        decoded.map_err(|_| DAMAGED)?;
        self.held.clear();
        Ok(true)
    }
}

impl Coding for Zstd {
    fn advance(&mut self, input: &mut Option<Chunk>, room: &mut ChunkMut) -> Result<(), Error> {
        loop {
            let goes_on = match self.stage {
                Stage::Frame => self.frame(input)?,
                Stage::Block if self.decoder.can_collect() > 0 => {
                    let made = self.decoder.read(room.spare()).map_err(|_| DAMAGED)?;
                    room.commit(made);
                    room.room() > 0
                }
                Stage::Block if self.decoder.is_finished() => {
                    let (said, is) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
                    if said.is_some() && said != is {
                        return Err(Error::Coding("its checksum is not its own"));
                    }
                    self.stage = Stage::Frame;
                    true
                }
                Stage::Block => self.block(input)?,
                Stage::Skipped(0) => {
                    self.stage = Stage::Frame;
                    true
                }
                Stage::Skipped(left) => match input.as_mut().filter(|input| !input.is_empty()) {
                    None => false,
                    Some(input) => {
                        let taken = input.len().min(left as usize);
                        input.advance(taken);
                        self.stage = Stage::Skipped(left - taken as u32);
                        true
                    }
                },
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.stage == Stage::Frame && self.held.is_empty()
    }
}
