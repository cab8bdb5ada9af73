//! String literals (RFC 7541 section 5.2), whose first bits may share a byte with something else (RFC 9204 section 4.1.2).

use super::{Arena, Malformed, integer};
use crate::head::Span;
use crate::huffman::{self, DecodeError};

/// A string as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Literal<'b> {
    bytes: &'b [u8],
    is_huffman: bool,
}

impl Literal<'_> {
    /// Decodes it into the arena; `None` if it has no room.
    #[inline]
    pub(crate) fn put(self, arena: &mut Arena<'_>) -> Result<Option<Span>, Malformed> {
        if !self.is_huffman {
            return Ok(arena.put(self.bytes));
        }
        match huffman::decode(self.bytes, arena.spare()) {
            Ok(count) => Ok(Some(arena.commit(count))),
            Err(DecodeError::Full) => Ok(None),
            Err(DecodeError::Invalid) => Err(Malformed::Huffman),
        }
    }
}

/// Finds a string, whose length has the low `bits` of the first byte, with the bit above them for the Huffman code, and what is
/// left after it.
#[inline]
pub(crate) fn parse(input: &[u8], bits: u32) -> Result<(Literal<'_>, &[u8]), Malformed> {
    let is_huffman = is_huffman(input, bits);
    let (count, rest) = integer::read(input, bits)?;
    let (bytes, rest) = rest.split_at_checked(count).ok_or(Malformed::Truncated)?;
    Ok((Literal { bytes, is_huffman }, rest))
}

/// How many bytes such a string has at least once it is decoded, whether it has come or not.
pub(crate) fn least(input: &[u8], bits: u32) -> Result<usize, Malformed> {
    let (count, _) = integer::read(input, bits)?;
    Ok(if is_huffman(input, bits) { count * 8 / huffman::BITS_MAX } else { count })
}

fn is_huffman(input: &[u8], bits: u32) -> bool {
    input.first().is_some_and(|first| first >> bits & 1 != 0)
}

/// Reads such a string into the arena; `None` if it has no room.
#[inline]
pub(crate) fn read<'b>(
    input: &'b [u8],
    bits: u32,
    arena: &mut Arena<'_>,
) -> Result<(Option<Span>, &'b [u8]), Malformed> {
    let (literal, rest) = parse(input, bits)?;
    Ok((literal.put(arena)?, rest))
}

/// Writes a string behind the upper bits of the first byte, in the Huffman code if that is shorter, and says how many bytes
/// that took.
#[inline]
pub(crate) fn write(first: u8, bits: u32, value: &[u8], out: &mut [u8]) -> usize {
    let encoded = huffman::encoded_bytes(value);
    if encoded < value.len() {
        let count = integer::write(first | 1 << bits, bits, encoded, out);
        huffman::encode(value, &mut out[count..count + encoded]);
        return count + encoded;
    }
    let count = integer::write(first, bits, value.len(), out);
    out[count..count + value.len()].copy_from_slice(value);
    count + value.len()
}
