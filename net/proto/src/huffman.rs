//! The Huffman code of field compression (RFC 7541 appendix B), which QPACK shares (RFC 9204 section 4.1.2).
//!
//! The one idea: the code is canonical, so its 257 lengths are all of it. The codes, and the tables that decode them, are
//! made from the lengths at compile time. Codes of up to eight bits, which nearly all text is made of, take one look-up.

/// The end of a string, of which only a beginning may appear: as padding.
const EOS: u16 = 256;

/// Bits of each byte's code; the last is that of [`EOS`].
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

/// No code is longer.
pub(crate) const BITS_MAX: usize = 30;

/// Why a string cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// There is no room for what it decodes to.
    Full,
    /// It holds the end of the string, or its padding is not the beginning of that, or is longer than it needs to be.
    Invalid,
}

/// The symbols in the order of their codes, and where those of each length begin.
struct Canonical {
    symbols: [u16; 257],
    /// For each length: the first code, at the top of 32 bits.
    first: [u32; BITS_MAX + 2],
    /// And which symbol it is of.
    index: [u16; BITS_MAX + 2],
}

const CANONICAL: Canonical = {
    let mut canonical = Canonical { symbols: [0; 257], first: [0; BITS_MAX + 2], index: [0; BITS_MAX + 2] };
    // Of one more bit than the longest, so that every code is below the first of the next length.
    let (mut bits, mut count, mut code) = (1, 0, 0_u64);
    while bits <= BITS_MAX + 1 {
        canonical.first[bits] = if code >> 32 == 0 { code as u32 } else { u32::MAX };
        canonical.index[bits] = count as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == bits {
                canonical.symbols[count] = symbol as u16;
                count += 1;
                code += 1 << (32 - bits);
            }
            symbol += 1;
        }
        bits += 1;
    }
    canonical
};

/// Each byte's code, in the low bits.
const CODES: [u32; 256] = {
    let mut codes = [0; 256];
    let mut count = 0;
    while count < LENGTHS.len() {
        let symbol = CANONICAL.symbols[count];
        if symbol != EOS {
            let bits = LENGTHS[symbol as usize] as usize;
            let first = CANONICAL.first[bits] >> (32 - bits);
            codes[symbol as usize] = first + (count - CANONICAL.index[bits] as usize) as u32;
        }
        count += 1;
    }
    codes
};

/// What begins with these eight bits: a symbol and its length, or zero if its code is longer.
const SHORT: [(u8, u8); 256] = {
    let mut short = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < 256 {
        let bits = LENGTHS[symbol];
        if bits <= 8 {
            let start = (CODES[symbol] as usize) << (8 - bits);
            let mut after = 0;
            while after < 1 << (8 - bits) {
                short[start + after] = (symbol as u8, bits);
                after += 1;
            }
        }
        symbol += 1;
    }
    short
};

/// Decodes a whole string into the beginning of `out` and says how many bytes it has. Costs one look-up a byte.
pub(crate) fn decode(mut input: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    let mut count = 0;
    // What is to be decoded next, at the top, and how many bits of it there are.
    let (mut word, mut bits) = (0_u64, 0_usize);
    loop {
        if let Some(next) = input.first_chunk::<8>() {
            word |= u64::from_be_bytes(*next) >> bits;
            let bytes = (63 - bits) / 8;
            input = &input[bytes..];
            bits += 8 * bytes;
        } else {
            while bits <= 56
                && let [next, rest @ ..] = input
            {
                word |= u64::from(*next) << (56 - bits);
                input = rest;
                bits += 8;
            }
        }
        // Until a longer code than what is at hand might come.
        while bits >= BITS_MAX || input.is_empty() {
            let (mut symbol, mut length) = SHORT[(word >> 56) as usize];
            if length == 0 {
                (symbol, length) = long((word >> 32) as u32)?;
            }
            let Some(left) = bits.checked_sub(usize::from(length)) else {
                return is_padding(word, bits).then_some(count).ok_or(DecodeError::Invalid);
            };
            *out.get_mut(count).ok_or(DecodeError::Full)? = symbol;
            count += 1;
            bits = left;
            word <<= length;
        }
    }
}

/// A symbol of more than eight bits, and how many.
#[cold]
fn long(word: u32) -> Result<(u8, u8), DecodeError> {
    let bits = (9..=BITS_MAX).find(|bits| word < CANONICAL.first[bits + 1]).unwrap_or(BITS_MAX);
    let place = (word - CANONICAL.first[bits]) >> (32 - bits);
    match u8::try_from(CANONICAL.symbols[usize::from(CANONICAL.index[bits]) + place as usize]) {
        Ok(symbol) => Ok((symbol, bits as u8)),
        // Fewer than eight of its bits are padding, and never come here.
        Err(_) => Err(DecodeError::Invalid),
    }
}

/// Whether what is left is a beginning of [`EOS`], shorter than a byte.
fn is_padding(word: u64, bits: usize) -> bool {
    bits < 8 && word == !(u64::MAX >> bits)
}

/// How many bytes a string has once it is encoded.
pub(crate) fn encoded_bytes(value: &[u8]) -> usize {
    value.iter().map(|&byte| usize::from(LENGTHS[usize::from(byte)])).sum::<usize>().div_ceil(8)
}

/// Encodes a string into `out`, which is as long as [`encoded_bytes`] says.
pub(crate) fn encode(value: &[u8], out: &mut [u8]) {
    let (mut word, mut bits, mut count) = (0_u64, 0, 0);
    for &byte in value {
        let length = u32::from(LENGTHS[usize::from(byte)]);
        word = word << length | u64::from(CODES[usize::from(byte)]);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out[count] = (word >> bits) as u8;
            count += 1;
        }
    }
    if bits > 0 {
        out[count] = (word << (8 - bits)) as u8 | (0xff >> bits);
    }
}

#[cfg(test)]
mod tests;
