//! Capsules (RFC 9297 section 3): what the bytes of a tunnel are made of where both ends have agreed on it, and in what datagrams
//! go that cannot go by themselves.
//!
//! The one idea: a capsule is handed out in pieces, where they lie, and never held; a declared length is a number like any other. Who
//! reads says of each whether it is of use, and what is not is read over.
//!
//! ```
//! use shardwise_proto::capsule::{DATAGRAM, Event, Reader, put_head};
//!
//! let mut said = [0; 32];
//! let count = put_head(DATAGRAM, 5, &mut said).unwrap();
//! said[count..count + 5].copy_from_slice(b"hello");
//!
//! let mut reader = Reader::new();
//! let step = reader.receive(&said[..count + 5]);
//! assert_eq!(step.event, Event::Begins { kind: DATAGRAM, length: 5 });
//! let rest = &said[step.consumed..count + 5];
//! assert_eq!(reader.receive(rest).event, Event::Piece { count: 5, is_last: true });
//! ```

use crate::h3::{NUMBER_MAX, number, number_bytes, put_number};

/// The kind of a capsule that carries a datagram (RFC 9297 section 3.5).
pub const DATAGRAM: u64 = 0;

/// Bytes of what goes before a capsule's payload, at the most: two numbers.
pub const HEAD_BYTES_MAX: usize = 16;

/// Reads capsules out of a stream.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Of a head that has not come in whole.
    head: [u8; HEAD_BYTES_MAX],
    head_count: usize,
    /// Bytes of the present capsule that are to come. `None` between capsules.
    left: Option<u64>,
    skips: bool,
}

/// What some input says, and how many of its bytes say that. The others are shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What they say.
    pub event: Event,
}

/// What has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All of the input has been looked at.
    NeedMore,
    /// A capsule of this kind begins, with so many bytes. Who has no use for it [skips](Reader::skip) it.
    Begins {
        /// Its kind.
        kind: u64,
        /// Bytes of its payload.
        length: u64,
    },
    /// So many bytes of its payload, at the front of the input. An empty capsule has one such piece, too.
    Piece {
        /// Bytes of it.
        count: usize,
        /// Whether these are the last.
        is_last: bool,
    },
}

impl Reader {
    /// Before the first capsule.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the input, as far as the next event.
    pub fn receive(&mut self, input: &[u8]) -> Step {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            if let Some(left) = self.left {
                let count = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                if count == 0 && left > 0 {
                    return Step { consumed, event: Event::NeedMore };
                }
                let is_last = count as u64 == left;
                self.left = (!is_last).then_some(left - count as u64);
                consumed += count;
                if self.skips {
                    continue;
                }
                return Step { consumed, event: Event::Piece { count, is_last } };
            }
            let Some(((kind, length), count)) = self.begin(rest) else {
                return Step { consumed: input.len(), event: Event::NeedMore };
            };
            (self.left, self.skips) = (Some(length), false);
            return Step { consumed: consumed + count, event: Event::Begins { kind, length } };
        }
    }

    /// Has the rest of the capsule that has just begun read over.
    pub fn skip(&mut self) {
        self.skips = true;
    }

    /// Whether a stream may end here: not within a capsule (RFC 9297 section 3.3).
    pub fn is_between(&self) -> bool {
        self.left.is_none() && self.head_count == 0
    }

    /// A capsule's head, out of what came before and the input, and how much of the input it takes. `None`: all is taken.
    fn begin(&mut self, input: &[u8]) -> Option<((u64, u64), usize)> {
        for (place, &byte) in input.iter().enumerate() {
            self.head[self.head_count] = byte;
            self.head_count += 1;
            if let Some(found) = head(&self.head[..self.head_count]) {
                self.head_count = 0;
                return Some((found, place + 1));
            }
        }
        None
    }
}

fn head(bytes: &[u8]) -> Option<(u64, u64)> {
    let (kind, first) = number(bytes)?;
    let (length, _) = number(&bytes[first..])?;
    Some((kind, length))
}

/// Writes what goes before a payload of so many bytes, and says how many bytes that took. `None` if there is no room
/// ([`HEAD_BYTES_MAX`] is enough), or a number is larger than there are.
pub fn put_head(kind: u64, length: u64, out: &mut [u8]) -> Option<usize> {
    if kind.max(length) > NUMBER_MAX || out.len() < number_bytes(kind) + number_bytes(length) {
        return None;
    }
    let count = put_number(kind, out);
    Some(count + put_number(length, &mut out[count..]))
}

#[cfg(test)]
mod tests;
