//! As much of HTTP/3 as a load and a ceiling need: bytes made beforehand, and answers that are counted rather than read.
//!
//! Neither side grants a dynamic table, so that field sections stand by themselves and a status of 200 is always one byte.

use crate::Result;

/// The protocol's name in the hand-shake.
pub const ALPN: &[u8] = b"h3";

/// What either side says on its control stream: the stream's type and an empty SETTINGS frame.
pub const CONTROL: &[u8] = &[0x00, 0x04, 0x00];

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;

/// Places in QPACK's static table (RFC 9204, appendix A): of names, and of whole fields.
const AUTHORITY: u8 = 0;
const PATH: u8 = 1;
const CONTENT_LENGTH: u8 = 4;
const DATE: u8 = 6;
const METHOD_GET: u8 = 17;
const SCHEME_HTTPS: u8 = 23;
const STATUS_200: u8 = 25;
const CONTENT_TYPE: u8 = 44;
const SERVER: u8 = 92;

/// A GET as one HEADERS frame.
pub fn request(authority: &str, path: &str) -> Vec<u8> {
    let mut section = vec![0, 0, whole(METHOD_GET), whole(SCHEME_HTTPS)];
    put_field(&mut section, AUTHORITY, authority);
    put_field(&mut section, PATH, path);
    frame(HEADERS, &section)
}

/// A good answer's HEADERS frame, and the head of the DATA frame behind it.
pub fn answer_head(content_type: &str, date: &str, body: usize) -> Vec<u8> {
    let mut section = vec![0, 0, whole(STATUS_200)];
    put_field(&mut section, CONTENT_TYPE, content_type);
    put_field(&mut section, CONTENT_LENGTH, &body.to_string());
    put_field(&mut section, SERVER, "shardwise");
    put_field(&mut section, DATE, date);
    let mut head = frame(HEADERS, &section);
    put_integer(&mut head, DATA);
    put_integer(&mut head, body as u64);
    head
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_integer(&mut frame, kind);
    put_integer(&mut frame, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// A field that stands in the static table as it is, in its low 63 places.
fn whole(place: u8) -> u8 {
    assert!(place < 0x3f, "it takes more than a byte");
    0xc0 | place
}

/// A field whose name stands in the static table.
fn put_field(section: &mut Vec<u8>, name: u8, value: &str) {
    match name.checked_sub(0x0f) {
        None => section.push(0x50 | name),
        Some(rest) => section.extend_from_slice(&[0x5f, rest]),
    }
    match value.len().checked_sub(0x7f) {
        None => section.push(value.len() as u8),
        Some(rest) => {
            assert!(rest < 0x80, "the value is too long for the bench");
            section.extend_from_slice(&[0x7f, rest as u8]);
        }
    }
    section.extend_from_slice(value.as_bytes());
}

/// In as few bytes as there can be (RFC 9000, section 16).
fn put_integer(bytes: &mut Vec<u8>, value: u64) {
    match value {
        0..0x40 => bytes.push(value as u8),
        0x40..0x4000 => bytes.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..0x4000_0000 => bytes.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => bytes.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// The integer at the front of these bytes and how many it took, or `None` if it is not whole.
fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    Some((rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)), length))
}

/// An answer that is coming in.
#[derive(Debug, Default)]
pub struct Answer {
    /// Of frames' heads and of HEADERS: what has not come in whole.
    carry: Vec<u8>,
    /// Bytes of the frame that are still to come, and whether they count as body.
    left: u64,
    is_data: bool,
    /// Whether the first field section says 200.
    pub is_good: bool,
    has_head: bool,
    /// Bytes of the body so far.
    pub body: usize,
    /// All bytes so far.
    pub bytes: usize,
}

impl Answer {
    /// Takes the next bytes; those of the body are also given to `body`.
    pub fn take(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<()> {
        self.bytes += bytes.len();
        let joined = match self.carry.is_empty() {
            true => None,
            false => {
                self.carry.extend_from_slice(bytes);
                Some(std::mem::take(&mut self.carry))
            }
        };
        let mut rest = joined.as_deref().unwrap_or(bytes);
        while !rest.is_empty() {
            if self.left > 0 {
                let (now, later) = rest.split_at(rest.len().min(usize::try_from(self.left)?));
                self.left -= now.len() as u64;
                if self.is_data {
                    self.body += now.len();
                    body(now);
                }
                rest = later;
                continue;
            }
            let head =
                integer(rest).and_then(|(kind, at)| integer(&rest[at..]).map(|(size, more)| (kind, size, at + more)));
            let Some((kind, size, head_bytes)) = head else { break };
            if kind == HEADERS && !self.has_head {
                let size = usize::try_from(size)?;
                if size > crate::limits::ANSWER_HEAD_BYTES_MAX {
                    return Err("a field section as large as no server needs".into());
                }
                let Some(section) = rest[head_bytes..].get(..size) else { break };
                self.has_head = true;
                self.is_good = section.get(2) == Some(&whole(STATUS_200));
                rest = &rest[head_bytes + size..];
            } else {
                (self.left, self.is_data) = (size, kind == DATA);
                rest = &rest[head_bytes..];
            }
        }
        self.carry = rest.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_however_it_is_cut() {
        let mut bytes = answer_head("text/plain", "Thu, 26 Nov 2026 09:00:00 GMT", 300);
        bytes.extend_from_slice(&[b'x'; 300]);
        bytes.extend_from_slice(&[0x21, 0x03, 1, 2, 3]); // a frame that nobody knows
        for cut in 1..bytes.len() {
            let (mut answer, mut body) = (Answer::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                answer.take(piece, |bytes| body.extend_from_slice(bytes)).unwrap();
            }
            assert_eq!((answer.is_good, answer.body, answer.bytes), (true, 300, bytes.len()), "cut by {cut}");
            assert_eq!(body, [b'x'; 300]);
        }
    }

    #[test]
    fn integers_are_read_as_they_are_written() {
        for value in [0, 63, 64, 16_383, 16_384, 1 << 29, 1 << 30, (1 << 62) - 1] {
            let mut bytes = Vec::new();
            put_integer(&mut bytes, value);
            assert_eq!(integer(&bytes), Some((value, bytes.len())));
            assert_eq!(integer(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn another_status_is_not_good() {
        let mut answer = Answer::default();
        answer.take(&[0x01, 0x03, 0, 0, 0xdb], |_| ()).unwrap();
        assert!(!answer.is_good);
    }
}
