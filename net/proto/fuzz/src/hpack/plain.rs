//! HPACK once more, as RFC 7541 is written: field by field and bit by bit, with lists in place of tables that are tuned.

use std::collections::VecDeque;

/// Name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Any of the errors: the connection fails with each, but where more may come for what is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Short,
    Wrong,
}

pub(crate) struct Decoder {
    /// The newest is the first.
    entries: VecDeque<Field>,
    size: usize,
    size_max: usize,
    granted: usize,
    /// The smallest size that was granted since the last block, if the table must come down to it (section 4.2).
    required: Option<usize>,
}

impl Decoder {
    pub(crate) fn new(granted: usize) -> Decoder {
        Decoder { entries: VecDeque::new(), size: 0, size_max: 4096.min(granted), granted, required: None }
    }

    /// The peer has taken note of another bound of the table.
    pub(crate) fn grant(&mut self, size: usize) {
        self.granted = size;
        if size < self.size_max {
            self.required = Some(self.required.map_or(size, |before| before.min(size)));
        }
    }

    /// How many entries the table has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All fields of a block.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Result<Vec<Field>, Malformed> {
        let mut fields = Vec::new();
        while let Some(0x20..0x40) = block.first() {
            let (size, rest) = integer(block, 5)?;
            if size > self.granted || self.required.is_some_and(|required| size > required) {
                return Err(Malformed::Wrong);
            }
            self.required = None;
            self.size_max = size;
            self.evict();
            block = rest;
        }
        if self.required.is_some() {
            return Err(Malformed::Wrong);
        }
        while let Some(&first) = block.first() {
            let bits = match first {
                0x80.. => 7,
                0x40.. => 6,
                0x20.. => return Err(Malformed::Wrong),
                _ => 4,
            };
            let (index, rest) = integer(block, bits)?;
            if bits == 7 {
                fields.push(self.entry(index)?);
                block = rest;
                continue;
            }
            let (name, rest) = match index {
                0 => string(rest)?,
                _ => (self.entry(index)?.0, rest),
            };
            let (value, rest) = string(rest)?;
            if bits == 6 {
                self.size += size(&name, &value);
                self.entries.push_front((name.clone(), value.clone()));
                self.evict();
            }
            fields.push((name, value));
            block = rest;
        }
        Ok(fields)
    }

    fn entry(&self, index: usize) -> Result<Field, Malformed> {
        match index {
            0 => Err(Malformed::Wrong),
            1..=61 => Ok((FIXED[index - 1].0.into(), FIXED[index - 1].1.into())),
            _ => self.entries.get(index - 62).cloned().ok_or(Malformed::Wrong),
        }
    }

    /// Section 4.4: so one that is too large empties the table.
    fn evict(&mut self) {
        while self.size > self.size_max
            && let Some((name, value)) = self.entries.pop_back()
        {
            self.size -= size(&name, &value);
        }
    }
}

/// Section 4.1.
pub(crate) fn size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + 32
}

/// Section 5.1. Numbers of more than 32 bits, and with more bytes than these take, are nobody's.
pub(crate) fn integer(input: &[u8], bits: u32) -> Result<(usize, &[u8]), Malformed> {
    let (&first, mut rest) = input.split_first().ok_or(Malformed::Short)?;
    let mask = (1 << bits) - 1;
    let mut number = u64::from(first) & mask;
    if number < mask {
        return Ok((number as usize, rest));
    }
    for place in 0..5 {
        let (&byte, after) = rest.split_first().ok_or(Malformed::Short)?;
        rest = after;
        number += u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return if number <= u32::MAX.into() { Ok((number as usize, rest)) } else { Err(Malformed::Wrong) };
        }
    }
    Err(Malformed::Wrong)
}

/// Section 5.2.
fn string(input: &[u8]) -> Result<(Vec<u8>, &[u8]), Malformed> {
    string_of(input, 7)
}

/// The same behind the upper bits of a byte (RFC 9204 section 4.1.2).
pub(crate) fn string_of(input: &[u8], bits: u32) -> Result<(Vec<u8>, &[u8]), Malformed> {
    let (count, rest) = integer(input, bits)?;
    let (text, rest) = rest.split_at_checked(count).ok_or(Malformed::Short)?;
    match input[0] >> bits & 1 {
        1 => Ok((huffman(text)?, rest)),
        _ => Ok((text.into(), rest)),
    }
}

/// The code is canonical: among codes of one length they count up with the bytes, and go on from those that are shorter.
fn huffman(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut decoded = Vec::new();
    // The code so far, and how many places there are before it among codes of its length and among all symbols.
    let (mut code, mut bits, mut first, mut before) = (0_usize, 0, 0, 0);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)) {
        code = code << 1 | usize::from(bit);
        bits += 1;
        first <<= 1;
        if code - first < COUNTS[bits] {
            decoded.push(u8::try_from(SYMBOLS[before + code - first]).map_err(|_| Malformed::Wrong)?);
            (code, bits, first, before) = (0, 0, 0, 0);
        } else {
            first += COUNTS[bits];
            before += COUNTS[bits];
        }
    }
    // What is left is the beginning of the end's code, which is of ones.
    if bits < 8 && code == (1 << bits) - 1 { Ok(decoded) } else { Err(Malformed::Wrong) }
}

/// How many codes are of so many bits, and whose they are, the shortest first.
const CODES: ([usize; 31], [u16; 257]) = {
    let (mut counts, mut symbols, mut place) = ([0; 31], [0; 257], 0);
    let mut bits = 0;
    while bits < counts.len() {
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == bits {
                counts[bits] += 1;
                symbols[place] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    (counts, symbols)
};
static COUNTS: [usize; 31] = CODES.0;
static SYMBOLS: [u16; 257] = CODES.1;

/// Bits of each byte's code, and last of the end's (appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6,
    6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8,
    13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15,
    11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23,
    23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26,
    26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21,
    22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27,
    27, 26, 30,
];

/// Appendix A.
#[rustfmt::skip]
pub(crate) const FIXED: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
