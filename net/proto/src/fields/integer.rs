//! Numbers whose first bits share a byte with something else (RFC 7541 section 5.1).

use super::Malformed;

/// Larger than anything that may be counted here.
const NUMBER_MAX: u64 = u32::MAX as u64;

/// Reads a number from the low `bits` of the first byte and what follows, and what is left after it.
#[inline]
pub(crate) fn read(input: &[u8], bits: u32) -> Result<(usize, &[u8]), Malformed> {
    // At most five more bytes, as the bound is one of 32 bits: zeros before the end are a number that nobody writes.
    let (number, rest) = read_up_to(NUMBER_MAX, 28, input, bits)?;
    Ok((number as usize, rest))
}

/// Reads a number of up to 62 bits: that of a stream of QUIC (RFC 9204 section 4.1.1).
#[inline]
pub(crate) fn read_long(input: &[u8], bits: u32) -> Result<(u64, &[u8]), Malformed> {
    read_up_to((1 << 62) - 1, 56, input, bits)
}

#[inline(always)]
fn read_up_to(number_max: u64, shift_max: u32, input: &[u8], bits: u32) -> Result<(u64, &[u8]), Malformed> {
    let (first, mut rest) = input.split_first().ok_or(Malformed::Truncated)?;
    let mask = (1_u64 << bits) - 1;
    let mut number = u64::from(*first) & mask;
    if number < mask {
        return Ok((number, rest));
    }
    let mut shift = 0;
    loop {
        let (next, after) = rest.split_first().ok_or(Malformed::Truncated)?;
        rest = after;
        number += u64::from(next & 0x7f) << shift;
        let ends = next & 0x80 == 0;
        if number > number_max || shift == shift_max && !ends {
            return Err(Malformed::Number);
        }
        if ends {
            return Ok((number, rest));
        }
        shift += 7;
    }
}

/// The most bytes that [`write`] takes for a number that fits an index or a length of ours.
pub(crate) const BYTES_MAX: usize = 6;

/// The most bytes that [`write_long`] takes for any number.
pub(crate) const LONG_BYTES_MAX: usize = 11;

/// Writes a number behind the upper bits of the first byte and says how many bytes that took.
#[inline]
pub(crate) fn write(first: u8, bits: u32, number: usize, out: &mut [u8]) -> usize {
    write_long(first, bits, number as u64, out)
}

/// The same for one of more than 32 bits.
#[inline]
pub(crate) fn write_long(first: u8, bits: u32, number: u64, out: &mut [u8]) -> usize {
    let mask = (1_u64 << bits) - 1;
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
