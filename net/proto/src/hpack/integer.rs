//! Numbers whose first bits share a byte with something else (RFC 7541 section 5.1).

use super::Error;

/// Larger than anything that may be counted here.
const NUMBER_MAX: u64 = u32::MAX as u64;

/// Reads a number from the low `bits` of the first byte and what follows, and what is left after it.
#[inline]
pub(super) fn read(input: &[u8], bits: u32) -> Result<(usize, &[u8]), Error> {
    let (first, mut rest) = input.split_first().ok_or(Error::Truncated)?;
    let mask = (1_u64 << bits) - 1;
    let mut number = u64::from(*first) & mask;
    if number < mask {
        return Ok((number as usize, rest));
    }
    let mut shift = 0;
    loop {
        let (next, after) = rest.split_first().ok_or(Error::Truncated)?;
        rest = after;
        // At most five times, as the bound is one of 32 bits: zeros before the end are a number that nobody writes.
        number += u64::from(next & 0x7f) << shift;
        if number > NUMBER_MAX || shift > 28 {
            return Err(Error::Number);
        }
        if next & 0x80 == 0 {
            return Ok((number as usize, rest));
        }
        shift += 7;
    }
}

/// The most bytes that [`write`] takes for a number that fits an index or a length of ours.
pub(super) const BYTES_MAX: usize = 6;

/// Writes a number behind the upper bits of the first byte and says how many bytes that took.
#[inline]
pub(super) fn write(first: u8, bits: u32, number: usize, out: &mut [u8]) -> usize {
    let mask = (1_usize << bits) - 1;
    if number < mask {
        out[0] = first | number as u8;
        return 1;
    }
    out[0] = first | mask as u8;
    let (mut left, mut count) = (number - mask, 1);
    while left >= 0x80 {
        out[count] = left as u8 | 0x80;
        left >>= 7;
        count += 1;
    }
    out[count] = left as u8;
    count + 1
}
