//! `br` (RFC 7932), by the crate `brotli-decompressor`.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use platform::{Chunk, ChunkMut};

use super::{Coding, DAMAGED};
use crate::client::Error;

/// It remembers up to 16 MiB of what it has made, as much as the format has words for; large windows, which are none of the content
/// coding's, are refused.
pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Begun,
    Over,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let [bytes, words, codes] = [(); 3].map(|()| StandardAlloc::default());
        Brotli { state: Box::new(BrotliState::new_strict(bytes, words, codes)), stage: Stage::Fresh }
    }
}

impl Coding for Brotli {
    fn advance(&mut self, input: &mut Option<Chunk>, room: &mut ChunkMut) -> Result<(), Error> {
        let bytes = input.as_deref().unwrap_or_default();
        match self.stage {
            Stage::Fresh if bytes.is_empty() => return Ok(()),
            Stage::Over => {
                *input = None;
                return Ok(());
            }
            Stage::Fresh | Stage::Begun => self.stage = Stage::Begun,
        }
        let (mut left, mut consumed) = (bytes.len(), 0);
        let spare = room.spare();
        let (mut space, mut made, mut made_in_all) = (spare.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut consumed,
            bytes,
            &mut space,
            &mut made,
            spare,
            &mut made_in_all,
            &mut self.state,
        );
        room.commit(made);
        if let Some(input) = input {
            input.advance(consumed);
        }
        match result {
            BrotliResult::ResultSuccess => self.stage = Stage::Over,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
            BrotliResult::ResultFailure => return Err(DAMAGED),
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.stage != Stage::Begun
    }
}
