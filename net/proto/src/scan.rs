//! Byte classes, and the search for the first byte that does not belong.
//!
//! The one idea: a class is a bit in a table of 256, so a scanner asks one question a byte; long runs of field text
//! are asked eight bytes at a time within one machine word. What the runs mean is left to the parsers.

/// `tchar` of RFC 9110 section 5.6.2: methods, field names, codings, extension names.
pub(crate) const TOKEN: u8 = 1;
/// What we accept in the path of a request target: the `pchar` and `/` of RFC 3986, and the visible characters that
/// browsers send raw all the same (`|`, `[`, `]` ...). Never `?`, `#`, white space, controls or bytes over 0x7e.
pub(crate) const PATH: u8 = 2;
/// The same for the query.
pub(crate) const QUERY: u8 = 4;
/// `reg-name` of RFC 3986 without the percent sign: unreserved characters and sub-delims.
pub(crate) const REG_NAME: u8 = 8;
/// `field-vchar`, space and tab of RFC 9110 section 5.5: all that a field value may hold.
pub(crate) const TEXT: u8 = 16;

/// Whether `byte` is in one of the classes of `mask`.
#[inline(always)]
pub(crate) const fn is(mask: u8, byte: u8) -> bool {
    CLASSES[byte as usize] & mask != 0
}

/// Whether all of `bytes` is in the class.
#[inline]
pub(crate) fn all(mask: u8, bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is(mask, byte))
}

/// Where the run of the class that starts at `at` ends; the length of `bytes` if nothing ends it. Asks four bytes between
/// two looks at the bound.
#[inline(always)]
pub(crate) fn end_of(mask: u8, bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let [first, second, third, fourth, after @ ..] = rest {
        let ends = bytes.len() - rest.len();
        if !is(mask, *first) {
            return ends;
        }
        if !is(mask, *second) {
            return ends + 1;
        }
        if !is(mask, *third) {
            return ends + 2;
        }
        if !is(mask, *fourth) {
            return ends + 3;
        }
        rest = after;
    }
    bytes.len() - rest.len() + rest.iter().take_while(|&&byte| is(mask, byte)).count()
}

/// [`end_of`] for [`TEXT`], eight bytes at a time: header values are the greater part of a head.
#[inline(always)]
pub(crate) fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let mut rest = bytes.get(at..).unwrap_or_default();
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let stops = controls(u64::from_le_bytes(*word));
        if stops == 0 {
            rest = after;
            continue;
        }
        let count = stops.trailing_zeros() as usize / 8;
        if word[count & 7] != b'\t' {
            return bytes.len() - rest.len() + count;
        }
        rest = &rest[count + 1..];
    }
    end_of(TEXT, bytes, bytes.len() - rest.len())
}

/// Marks with its top bit the bytes below 0x20, and 0x7f. A borrow only travels upwards, so the lowest mark is exact.
#[inline(always)]
const fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let low = word.wrapping_sub(ONES * 0x20);
    let delete = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    (low | delete) & !word & (ONES * 0x80)
}

/// `bytes` without spaces and tabs at either end (OWS, RFC 9110 section 5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed; empty ones included, so that a strict caller may refuse them.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u8);
        byte += 1;
    }
    classes
};

const fn class(byte: u8) -> u8 {
    let alphanumeric = byte.is_ascii_alphanumeric();
    let unreserved = alphanumeric || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let sub_delim = matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
    let token = alphanumeric
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`')
        || matches!(byte, b'|' | b'~');
    let query = byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'"');
    let path = query && !matches!(byte, b'?' | b'`');
    let text = byte == b'\t' || byte == b' ' || byte.is_ascii_graphic() || byte >= 0x80;
    (token as u8 * TOKEN)
        | (path as u8 * PATH)
        | (query as u8 * QUERY)
        | ((unreserved || sub_delim) as u8 * REG_NAME)
        | (text as u8 * TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_agree_on_text() {
        for byte in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = [b'x'; 20];
                bytes[at] = byte;
                bytes[(at + 3) % 20] = 0xff;
                assert_eq!(end_of_text(&bytes, 0), end_of(TEXT, &bytes, 0), "byte {byte:#x} at {at}");
            }
        }
    }

    /// Whatever target passes here must be a `http::Uri` for those who ask for one.
    #[test]
    fn what_targets_may_hold_is_a_uri() {
        for byte in 0..=255u8 {
            let path = [b'/', byte];
            assert!(!is(PATH, byte) || http::Uri::try_from(&path[..]).is_ok(), "path {byte:#x}");
            let query = [b'/', b'?', byte];
            assert!(!is(QUERY, byte) || http::Uri::try_from(&query[..]).is_ok(), "query {byte:#x}");
        }
    }
}
