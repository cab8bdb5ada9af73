//! UTF-8 over pieces (RFC 6455 section 8.1): text is refused at the first byte that no continuation can mend.
//!
//! The one idea: the standard library judges whole pieces; only the character that a piece ends within is held, and
//! judged again with each byte that is added to it.

use std::str;

use super::Error;

/// The end of the text so far, if that is within a character.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8 {
    held: [u8; 4],
    count: u8,
}

impl Utf8 {
    /// Judges the next piece.
    #[inline]
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), Error> {
        while self.count > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.held[self.count as usize] = byte;
            self.count += 1;
            piece = rest;
            match str::from_utf8(&self.held[..self.count as usize]) {
                Ok(_) => self.count = 0,
                Err(error) if error.error_len().is_some() => return Err(Error::Utf8),
                // Not yet four bytes: a character has no more.
                Err(_) => {}
            }
        }
        match str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Error::Utf8),
            Err(error) => {
                let tail = &piece[error.valid_up_to()..];
                self.held[..tail.len()].copy_from_slice(tail);
                self.count = tail.len() as u8;
                Ok(())
            }
        }
    }

    /// The text has ended.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.count == 0 { Ok(()) } else { Err(Error::Utf8Incomplete) }
    }
}
