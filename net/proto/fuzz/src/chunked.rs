//! The chunked coding (RFC 9112 section 7.1), beside a decoder that has the whole input and reads it line by line.

use proto::h1::Limits;

use crate::cut::Cut;
use crate::server::{End, transcript};

/// A body in chunks, however cut, is what the plain decoder says; and what we send in chunks is read as it was.
pub fn h1_chunked(input: &[u8]) {
    let whole = [HEAD, input].concat();
    let expect = plain(input);
    for cut in Cut::all(&whole) {
        let came = transcript(&whole, cut);
        match &expect {
            Plain::Body(body, rest) => {
                let [first, ..] = &came.requests[..] else { panic!("{cut:?}: refused as {:?}", came.end) };
                assert_eq!(&first.body, body, "{cut:?}");
                // What follows is read as if it came alone, but for a preface of HTTP/2, which is one only at the beginning.
                let after = transcript(rest, Cut::Whole);
                if after.end != End::Http2 {
                    assert_eq!((&came.requests[1..], came.end), (&after.requests[..], after.end), "{cut:?}");
                }
            }
            Plain::Malformed => {
                assert!(came.requests.is_empty(), "{cut:?}: taken as {:?}", came.requests[0].body.escape_ascii());
                assert!(matches!(came.end, End::Refused(_)), "{cut:?}: {:?}", came.end);
            }
            // An error may show before the input ends, or with what would have followed.
            Plain::Incomplete => {
                assert!(came.requests.is_empty(), "{cut:?}");
                assert!(matches!(came.end, End::Incomplete | End::Refused(_)), "{cut:?}: {:?}", came.end);
            }
            // Which of two faults in a line is met first is not ours to say here.
            Plain::TooMuch => {
                assert!(came.requests.is_empty() && matches!(came.end, End::Refused(_)), "{cut:?}: {:?}", came.end);
            }
        }
    }
}

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

enum Plain<'i> {
    /// The body, and what follows it.
    Body(Vec<u8>, &'i [u8]),
    Malformed,
    Incomplete,
    /// Beyond a bound of ours.
    TooMuch,
}

/// Reads all of a body. Written from the grammar alone.
fn plain(mut input: &[u8]) -> Plain<'_> {
    let limits = Limits::default();
    let (mut body, mut extension_bytes) = (Vec::new(), 0);
    loop {
        let Some((line, rest)) = line(input) else { return Plain::Incomplete };
        let Some(line) = line.strip_suffix(b"\r") else { return Plain::Malformed };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extensions) = line.split_at(digits);
        if size.is_empty() || digits > 16 {
            return Plain::Malformed;
        }
        // The line's CR counts in place of what leads from the size to its first extension.
        extension_bytes += extensions.len();
        if extension_bytes > usize::from(limits.chunk_extension_bytes_max) {
            return Plain::TooMuch;
        }
        if !is_extensions(extensions) {
            return Plain::Malformed;
        }
        let size = u64::from_str_radix(std::str::from_utf8(size).expect("digits"), 16).expect("sixteen digits fit");
        input = rest;
        if size == 0 {
            break;
        }
        let Some(size) = usize::try_from(size).ok().filter(|&size| size <= input.len()) else {
            return Plain::Incomplete;
        };
        body.extend_from_slice(&input[..size]);
        match &input[size..] {
            [b'\r', b'\n', rest @ ..] => input = rest,
            [] | [b'\r'] => return Plain::Incomplete,
            _ => return Plain::Malformed,
        }
    }
    trailers(body, input, &limits)
}

fn trailers<'i>(body: Vec<u8>, input: &'i [u8], limits: &Limits) -> Plain<'i> {
    let (mut rest, mut count) = (input, 0);
    loop {
        let used = input.len() - rest.len();
        let Some((line, after)) = line(rest) else {
            return if input.len() >= usize::from(limits.trailer_bytes_max) {
                Plain::TooMuch
            } else {
                Plain::Incomplete
            };
        };
        if used + line.len() + 1 > usize::from(limits.trailer_bytes_max) {
            return Plain::TooMuch;
        }
        let Some(line) = line.strip_suffix(b"\r") else { return Plain::Malformed };
        if line.is_empty() {
            return Plain::Body(body, after);
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Plain::Malformed };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
        if name.is_empty() || !name.iter().all(is_tchar) || !value.iter().all(is_text) {
            return Plain::Malformed;
        }
        count += 1;
        if count > limits.trailer_count_max {
            return Plain::TooMuch;
        }
        if FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden.as_bytes())) {
            return Plain::Malformed;
        }
        rest = after;
    }
}

/// Up to the next LF, and what follows it.
fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}

fn is_tchar(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn is_extensions(mut rest: &[u8]) -> bool {
    loop {
        if rest.is_empty() {
            return true;
        }
        let Some(after) = skip_space(rest).strip_prefix(b";") else { return false };
        rest = skip_space(after);
        let Some(after) = token(rest) else { return false };
        rest = after;
        let Some(after) = skip_space(rest).strip_prefix(b"=") else { continue };
        rest = skip_space(after);
        let Some(after) = token(rest).or_else(|| quoted(rest)) else { return false };
        rest = after;
    }
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count()..]
}

fn token(bytes: &[u8]) -> Option<&[u8]> {
    let count = bytes.iter().take_while(|byte| is_tchar(byte)).count();
    (count > 0).then(|| &bytes[count..])
}

fn quoted(bytes: &[u8]) -> Option<&[u8]> {
    let is_text = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7f;
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', escaped, after @ ..] if is_text(*escaped) => rest = after,
            [b'\\', ..] => return None,
            [byte, after @ ..] if is_text(*byte) => rest = after,
            _ => return None,
        }
    }
}

/// What RFC 9110 section 6.5.1 keeps out of trailers, as we read it.
const FORBIDDEN: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "expect",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "forwarded",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
