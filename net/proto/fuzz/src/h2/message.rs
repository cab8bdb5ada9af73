//! A message as one end has sent or received it, so that both can be compared.

use std::fmt;

use http::HeaderMap;

use crate::hpack::plain::Field;

/// What there is of a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// The last is the message's own, those before are interim.
    pub(super) heads: Vec<Vec<Field>>,
    pub(super) bytes: usize,
    /// Of a body that was received.
    pub(super) hash: u64,
    pub(super) trailers: Vec<Field>,
    pub(super) has_ended: bool,
    /// The code that ended the stream before its time.
    pub(super) reset: Option<u32>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.heads.iter().flatten() {
            write!(f, "{}: {}; ", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, "{} bytes; ", self.bytes)?;
        for (name, value) in &self.trailers {
            write!(f, "{}: {}; ", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, "{}", if self.has_ended { "end" } else { "open" })?;
        self.reset.map_or(Ok(()), |code| write!(f, "; reset {code}"))
    }
}

impl Message {
    /// More of the body was received.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.hash = hash(self.hash, bytes.iter().copied());
    }

    /// What of it both ends know; the body is the one that belongs to this stream.
    pub(super) fn checked(&self, stream: u32) -> Message {
        assert_eq!(self.hash, hash(0, piece(stream, 0, self.bytes)), "{stream}: another body than was sent");
        Message { hash: 0, ..self.clone() }
    }

    /// Whether this may be what there is of `whole` where one of the two has been cut off.
    pub(super) fn begins(&self, whole: &Message) -> bool {
        self.heads.iter().zip(&whole.heads).all(|(one, other)| one == other)
            && self.heads.len() <= whole.heads.len()
            && self.bytes <= whole.bytes
            && (self.trailers.is_empty() || self.trailers == whole.trailers)
    }
}

/// Fields in an order of their own: among those of different names there is none (RFC 9110 section 5.3). Crumbs of cookies
/// are one (RFC 9113 section 8.2.3), and empty ones none.
pub(super) fn sorted(fields: impl IntoIterator<Item = Field>) -> Vec<Field> {
    let mut sorted: Vec<Field> = Vec::new();
    for (name, value) in fields {
        match sorted.iter_mut().find(|(known, _)| known == b"cookie" && *known == name) {
            Some((_, crumbs)) if crumbs.is_empty() => *crumbs = value,
            Some((_, crumbs)) if !value.is_empty() => *crumbs = [&crumbs[..], b"; ", &value].concat(),
            Some(_) => {}
            None => sorted.push((name, value)),
        }
    }
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    sorted
}

pub(super) fn of_map<'m>(pseudo: impl IntoIterator<Item = (&'m str, &'m [u8])>, map: &'m HeaderMap) -> Vec<Field> {
    let pseudo = pseudo.into_iter().map(|(name, value)| (name.as_bytes(), value));
    let fields = map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    sorted(pseudo.chain(fields).map(|(name, value)| (name.to_vec(), value.to_vec())))
}

/// What stands in a body at a place: nothing else can stand there by mistake.
pub(super) fn byte_at(stream: u32, place: usize) -> u8 {
    (stream as usize).wrapping_mul(31).wrapping_add(place.wrapping_mul(7) ^ place >> 8) as u8
}

/// So many bytes of a body from a place on.
pub(super) fn piece(stream: u32, from: usize, count: usize) -> impl Iterator<Item = u8> {
    (from..from + count).map(move |place| byte_at(stream, place))
}

fn hash(seed: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3).wrapping_add(1))
}
