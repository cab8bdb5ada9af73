//! Compression of messages (RFC 7692 section 7.2): the two machines, and the spare ones of a shard.
//!
//! The one idea: who keeps nothing between messages holds nothing between messages. A deflater has 312 KiB and an inflater
//! 43, so they belong to the [`Contexts`] of a shard, and a connection has one only while a message is on its way,
//! unless it has agreed to keep the context.
//!
//! The inflater writes into its window, and pieces are read there: what is inflated is copied by nobody. All is bounded a
//! call at a time, by the caller's limits.

use std::fmt;
use std::mem;
use std::ops::Range;

use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, TDEFLStatus, compress};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress_with_limit, inflate_flags as flags};
use miniz_oxide::{DataFormat, inflate::TINFLStatus};

use super::limits::{DEFLATED_BYTES_MAX, SPARE_DEFLATERS_MAX, SPARE_INFLATERS_MAX};
use super::{Error, Terms};

/// The spare inflaters and deflaters of a shard, for all its connections. Empty, and free, until a message is compressed.
#[derive(Debug, Default)]
pub struct Contexts {
    pub(super) inflaters: Vec<Box<Inflater>>,
    pub(super) deflaters: Vec<Box<Deflater>>,
}

impl Contexts {
    /// None yet.
    pub fn new() -> Contexts {
        Contexts::default()
    }

    pub(crate) fn lease_inflater(&mut self, terms: Terms) -> Box<Inflater> {
        let spare = if terms.window_bits == WINDOW_BITS_MAX { self.inflaters.pop() } else { None };
        spare.unwrap_or_else(|| Box::new(Inflater::new(terms.window_bits)))
    }

    pub(crate) fn give_inflater(&mut self, mut inflater: Box<Inflater>) {
        if inflater.window.len() == 1 << WINDOW_BITS_MAX && self.inflaters.len() < SPARE_INFLATERS_MAX {
            inflater.reset();
            self.inflaters.push(inflater);
        }
    }

    pub(crate) fn lease_deflater(&mut self) -> Box<Deflater> {
        self.deflaters.pop().unwrap_or_else(|| Box::new(Deflater::new()))
    }

    /// Takes one back whose message has ended, and with it its context.
    pub(crate) fn give_deflater(&mut self, deflater: Box<Deflater>) {
        debug_assert!(deflater.is_clean());
        if self.deflaters.len() < SPARE_DEFLATERS_MAX {
            self.deflaters.push(deflater);
        }
    }
}

/// Inflates the messages of one direction.
pub(crate) struct Inflater {
    core: DecompressorOxide,
    /// What was inflated last, in a circle.
    window: Box<[u8]>,
    at: usize,
    /// Whether the window has been filled. Until then what lies before its beginning is nobody's, or was another
    /// connection's, and a distance that reaches there is refused.
    is_filled: bool,
    /// Whether there may be more to come without more input.
    has_more: bool,
    /// Whether what comes next cannot be inflated.
    has_failed: bool,
    /// Whether the end of the input was the end of a block.
    is_between_blocks: bool,
}

impl Inflater {
    /// What one with the largest window holds.
    #[cfg(test)]
    pub(super) const BYTES: usize = size_of::<Inflater>() + (1 << WINDOW_BITS_MAX);

    fn new(window_bits: u8) -> Inflater {
        Inflater {
            core: DecompressorOxide::new(),
            window: vec![0; 1 << window_bits].into_boxed_slice(),
            at: 0,
            is_filled: false,
            has_more: false,
            has_failed: false,
            is_between_blocks: false,
        }
    }

    fn reset(&mut self) {
        self.core.init();
        self.at = 0;
        self.is_filled = false;
        self.has_more = false;
        self.has_failed = false;
    }

    /// Whether [`inflate`](Self::inflate) may have more to give without more input.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    /// What was inflated.
    pub(crate) fn piece(&self, range: Range<usize>) -> &[u8] {
        &self.window[range]
    }

    /// Takes in what it can of `input` and says how much, and where in the window the piece is that came of it: of
    /// `bytes_max` at the most, and up to the window's end. What comes before something that cannot be inflated is given
    /// first, so that it is judged first, however the input is cut.
    pub(crate) fn inflate(&mut self, input: &[u8], bytes_max: usize) -> Result<(usize, Range<usize>), Error> {
        if self.has_failed {
            return Err(Error::Deflate);
        }
        if self.at == self.window.len() {
            self.at = 0;
            self.is_filled = true;
        }
        let flags = flags::TINFL_FLAG_HAS_MORE_INPUT
            | flags::TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY
            | if self.is_filled { 0 } else { flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF };
        let (start, mut taken) = (self.at, 0);
        self.has_more = false;
        // Ends: a block takes ten bits at least, of the input or of the eight bytes that the machine looks ahead.
        loop {
            let room = bytes_max - (self.at - start);
            let rest = &input[taken..];
            let (status, took, gave) =
                decompress_with_limit(&mut self.core, rest, &mut self.window, self.at, room, flags);
            taken += took;
            self.at += gave;
            self.is_between_blocks = false;
            match status {
                TINFLStatus::BlockBoundary if taken < input.len() => {}
                TINFLStatus::BlockBoundary => {
                    self.is_between_blocks = true;
                    break;
                }
                // RFC 7692 section 7.2.3.4: a sender may mark a block as the last one. More follow all the same.
                TINFLStatus::Done => self.core.init(),
                TINFLStatus::NeedsMoreInput => break,
                TINFLStatus::HasMoreOutput => {
                    self.has_more = true;
                    break;
                }
                _ if self.at == start => return Err(Error::Deflate),
                _ => {
                    self.has_failed = true;
                    self.has_more = true;
                    break;
                }
            }
        }
        Ok((taken, start..self.at))
    }

    /// The message has ended: takes in the four bytes that its sender has left away (section 7.2.2). They must end a block,
    /// and give nothing.
    pub(crate) fn end(&mut self, takeover: bool) -> Result<(), Error> {
        let (taken, piece) = self.inflate(&TAIL, 1)?;
        if taken < TAIL.len() || !piece.is_empty() || !self.is_between_blocks {
            return Err(Error::Deflate);
        }
        if !takeover {
            // The window stays as it is: its last piece is still to be read.
            self.core.init();
        }
        Ok(())
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("window_bytes", &self.window.len()).finish_non_exhaustive()
    }
}

/// Compresses the messages of one direction.
pub(crate) struct Deflater {
    core: CompressorOxide,
    /// Bytes since the context was dropped.
    context_bytes: usize,
    /// The last four bytes of what was compressed: they are the tail, unless more follow.
    held: [u8; 4],
    held_count: usize,
    /// The library's last call filled what it was given, and may have had no room for more.
    has_filled: bool,
}

/// What one call has compressed.
pub(crate) struct Deflated {
    /// So many bytes of the message are done with.
    pub(crate) taken: usize,
    /// So many were written.
    pub(crate) written: usize,
    /// Whether the message has ended.
    pub(crate) is_end: bool,
}

impl Deflater {
    /// What one holds: itself, and what the library allocates: an output buffer, the dictionary, two tables of hashes,
    /// the Huffman codes.
    #[cfg(test)]
    pub(super) const BYTES: usize = size_of::<Deflater>() + 85_196 + 33_026 + 2 * 65_536 + 4_320;

    fn new() -> Deflater {
        let mut core = CompressorOxide::default();
        core.set_format_and_level(DataFormat::Raw, LEVEL);
        Deflater { core, context_bytes: 0, held: [0; 4], held_count: 0, has_filled: false }
    }

    fn is_clean(&self) -> bool {
        self.context_bytes == 0 && self.held_count == 0
    }

    /// Compresses some of `message` into `out`, which has room for [`ROOM_BYTES_MIN`] at least. If that is all of it and
    /// `is_last`, the message is ended.
    ///
    /// The library knows one size of window. A smaller one is kept to by dropping the context whenever it is full: no
    /// distance reaches further back than to there.
    pub(crate) fn deflate(&mut self, message: &[u8], is_last: bool, terms: Terms, out: &mut [u8]) -> Deflated {
        debug_assert!(out.len() >= ROOM_BYTES_MIN);
        let window = 1 << terms.window_bits;
        out[..self.held_count].copy_from_slice(&self.held[..self.held_count]);
        let (mut at, mut taken) = (mem::take(&mut self.held_count), 0);
        let mut is_end = false;
        while at < out.len() && !is_end && taken < DEFLATED_BYTES_MAX {
            let room = window - self.context_bytes;
            let rest = &message[taken..message.len().min(DEFLATED_BYTES_MAX)];
            let is_over = is_last && taken == message.len();
            let flush = match (is_over, room) {
                (true, _) if terms.takeover => TDEFLFlush::Sync,
                (true, _) => TDEFLFlush::Full,
                (false, 0) if terms.window_bits < WINDOW_BITS_MAX => TDEFLFlush::Full,
                (false, _) if rest.is_empty() => break,
                (false, _) => TDEFLFlush::None,
            };
            let rest = match flush {
                TDEFLFlush::None if terms.window_bits < WINDOW_BITS_MAX => &rest[..rest.len().min(room)],
                TDEFLFlush::None => rest,
                _ => &[],
            };
            // Then this one gives what is left, and does nothing of what it is asked for besides.
            let gives_rest = self.has_filled;
            let (status, took, gave) = compress(&mut self.core, rest, &mut out[at..], flush);
            // Any other is a mistake in how we call it.
            assert_eq!(status, TDEFLStatus::Okay);
            taken += took;
            self.context_bytes = (self.context_bytes + took).min(window);
            at += gave;
            self.has_filled = at == out.len();
            // A flush whose end just filled the slice is flushed again, which adds an empty block.
            if flush != TDEFLFlush::None && !gives_rest && !self.has_filled {
                is_end = is_over;
                if flush == TDEFLFlush::Full {
                    self.context_bytes = 0;
                }
            }
        }
        let count = at.min(TAIL.len());
        if is_end {
            debug_assert_eq!(out[at - count..at], TAIL);
        } else {
            self.held[..count].copy_from_slice(&out[at - count..at]);
            self.held_count = count;
        }
        Deflated { taken, written: at - count, is_end }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("context_bytes", &self.context_bytes).finish_non_exhaustive()
    }
}

/// What a flush ends with, and every message is sent without.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The four bytes held back, and enough that a flush comes to its end.
pub(crate) const ROOM_BYTES_MIN: usize = 32;

/// The window of RFC 1951, 32 KiB.
pub(crate) const WINDOW_BITS_MAX: u8 = 15;

/// The least window that can be agreed on.
pub(crate) const WINDOW_BITS_MIN: u8 = 8;

/// Of ten. The third takes three times as long and gains a percent or two, where small messages are much alike: see
/// `decisions/2026-11-25-websocket-compression.md`.
const LEVEL: u8 = 1;
