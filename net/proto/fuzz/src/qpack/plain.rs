//! QPACK's decoder once more, as RFC 9204 is written, with a list of all entries that there ever were in place of a table that
//! is tuned. Numbers, strings and errors are those of the plain HPACK.

use crate::hpack::plain::{Field, Malformed, integer, size, string_of};

pub(crate) struct Decoder {
    /// All that were inserted; by absolute index.
    entries: Vec<Field>,
    /// So many of them are evicted.
    evicted: usize,
    capacity: usize,
    capacity_max: usize,
}

impl Decoder {
    pub(crate) fn new(capacity_max: usize) -> Decoder {
        Decoder { entries: Vec::new(), evicted: 0, capacity: 0, capacity_max }
    }

    /// How many entries were inserted.
    pub(crate) fn inserted(&self) -> usize {
        self.entries.len()
    }

    /// All whole instructions of the encoder stream (section 4.3), and what is left. It knows nothing of one that is too long
    /// before it has come.
    pub(crate) fn instruct<'b>(&mut self, mut input: &'b [u8]) -> Result<&'b [u8], Malformed> {
        while let Some(&first) = input.first() {
            let result = match first {
                0x80.. => self.insert_named(first, input),
                // Neither string is looked at before both have come.
                0x40.. => skip(input, 5).and_then(|rest| skip(rest, 7)).and_then(|rest| {
                    let (name, value) = string_of(input, 5)?;
                    self.insert(name, string_of(value, 7)?.0).map(|()| rest)
                }),
                0x20.. => integer(input, 5).and_then(|(capacity, rest)| self.resize(capacity).map(|()| rest)),
                _ => integer(input, 5).and_then(|(index, rest)| {
                    let (name, value) = self.relative(index)?;
                    self.insert(name, value).map(|()| rest)
                }),
            };
            match result {
                Ok(rest) => input = rest,
                Err(Malformed::Short) => break,
                Err(Malformed::Wrong) => return Err(Malformed::Wrong),
            }
        }
        Ok(input)
    }

    /// Section 4.3.2.
    fn insert_named<'b>(&mut self, first: u8, input: &'b [u8]) -> Result<&'b [u8], Malformed> {
        let (index, rest) = integer(input, 6)?;
        let (name, _) = if first & 0x40 != 0 { fixed(index)? } else { self.relative(index)? };
        let (value, rest) = string_of(rest, 7)?;
        self.insert(name, value)?;
        Ok(rest)
    }

    fn relative(&self, index: usize) -> Result<Field, Malformed> {
        self.entry((self.entries.len() as u64).checked_sub(index as u64 + 1))
    }

    fn entry(&self, absolute: Option<u64>) -> Result<Field, Malformed> {
        let absolute = absolute.and_then(|absolute| usize::try_from(absolute).ok()).ok_or(Malformed::Wrong)?;
        if absolute < self.evicted {
            return Err(Malformed::Wrong);
        }
        self.entries.get(absolute).cloned().ok_or(Malformed::Wrong)
    }

    /// Section 3.2.2.
    fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), Malformed> {
        if size(&name, &value) > self.capacity {
            return Err(Malformed::Wrong);
        }
        self.entries.push((name, value));
        self.evict();
        Ok(())
    }

    /// Section 3.2.3.
    fn resize(&mut self, capacity: usize) -> Result<(), Malformed> {
        if capacity > self.capacity_max {
            return Err(Malformed::Wrong);
        }
        self.capacity = capacity;
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        let held =
            |evicted: usize| self.entries[evicted..].iter().map(|(name, value)| size(name, value)).sum::<usize>();
        let mut evicted = self.evicted;
        while held(evicted) > self.capacity {
            evicted += 1;
        }
        self.evicted = evicted;
    }

    /// How many inserts a section requires that comes now.
    pub(crate) fn requires(&self, section: &[u8]) -> Result<usize, Malformed> {
        self.required(integer(section, 8)?.0)
    }

    /// All fields of a section that requires so many inserts; nothing if these have not all come.
    pub(crate) fn decode(&self, section: &[u8], required: usize) -> Result<Option<Vec<Field>>, Malformed> {
        let (_, rest) = integer(section, 8)?;
        let (delta, mut left) = integer(rest, 7)?;
        let base = match rest[0] {
            0x80.. => (required as u64).checked_sub(delta as u64 + 1).ok_or(Malformed::Wrong)?,
            _ => (required + delta) as u64,
        };
        if required > self.entries.len() {
            return Ok(None);
        }
        let before = |index: usize| match base.checked_sub(index as u64 + 1) {
            Some(absolute) if absolute < required as u64 => self.entry(Some(absolute)),
            _ => Err(Malformed::Wrong),
        };
        let after = |index: usize| match base + index as u64 {
            absolute if absolute < required as u64 => self.entry(Some(absolute)),
            _ => Err(Malformed::Wrong),
        };
        let mut fields = Vec::new();
        while let Some(&first) = left.first() {
            let ((name, value), rest) = match first {
                0x80.. => {
                    let (index, rest) = integer(left, 6)?;
                    (if first & 0x40 != 0 { fixed(index)? } else { before(index)? }, rest)
                }
                0x10..0x20 => {
                    let (index, rest) = integer(left, 4)?;
                    (after(index)?, rest)
                }
                _ => {
                    let (name, rest) = match first {
                        0x40.. => {
                            let (index, rest) = integer(left, 4)?;
                            (if first & 0x10 != 0 { fixed(index)? } else { before(index)? }.0, rest)
                        }
                        0x20.. => string_of(left, 3)?,
                        _ => {
                            let (index, rest) = integer(left, 3)?;
                            (after(index)?.0, rest)
                        }
                    };
                    let (value, rest) = string_of(rest, 7)?;
                    ((name, value), rest)
                }
            };
            fields.push((name, value));
            left = rest;
        }
        Ok(Some(fields))
    }

    /// Section 4.5.1.1, as its pseudocode has it.
    fn required(&self, encoded: usize) -> Result<usize, Malformed> {
        let entries_max = self.capacity_max / 32;
        let full_range = 2 * entries_max;
        if encoded == 0 {
            return Ok(0);
        }
        if encoded > full_range {
            return Err(Malformed::Wrong);
        }
        let value_max = self.entries.len() + entries_max;
        let wrapped_max = value_max / full_range * full_range;
        let mut required = wrapped_max + encoded - 1;
        if required > value_max {
            if required <= full_range {
                return Err(Malformed::Wrong);
            }
            required -= full_range;
        }
        if required == 0 { Err(Malformed::Wrong) } else { Ok(required) }
    }
}

/// What is behind a string.
fn skip(input: &[u8], bits: u32) -> Result<&[u8], Malformed> {
    let (count, rest) = integer(input, bits)?;
    rest.get(count..).ok_or(Malformed::Short)
}

fn fixed(index: usize) -> Result<Field, Malformed> {
    let (name, value) = FIXED.get(index).ok_or(Malformed::Wrong)?;
    Ok((name.as_bytes().into(), value.as_bytes().into()))
}

/// Appendix A.
#[rustfmt::skip]
pub(crate) const FIXED: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];
