//! Whose a datagram is, by the id that it begins with.
//!
//! Every version of QUIC has the destination's id in the same place (RFC 8999), with its length in front of it in a long header
//! and without in a short one. So whoever received a datagram can pass it on without a look into the rest.

use super::cid::{GENERATION_BITS, ID_BYTES, Ids, Origin};

/// Who is to have a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The shard that has received it.
    Mine,
    /// This one of the same process.
    Shard(usize),
    /// This one of the process before this one, which drains.
    Predecessor(usize),
    /// This one of the process after this one.
    Successor(usize),
    /// Its id is none of ours: a client that begins has made it, or somebody who means no good. Whoever has received it answers
    /// it, or does not.
    Unknown,
}

/// Says whose a datagram is. The id is checked before anything is passed on, and not where the connection will be looked up
/// anyway.
pub(super) fn whose(ids: &Ids, datagram: &[u8]) -> Whose {
    let Some((id, is_long)) = destination(datagram) else { return Whose::Unknown };
    let (own, origin) = (ids.own(), Origin::of(id));
    if own == origin && !is_long {
        return Whose::Mine;
    }
    if !ids.has_made(id) {
        return Whose::Unknown;
    }
    let ahead = origin.generation.wrapping_sub(own.generation) % (1 << GENERATION_BITS);
    match ahead {
        0 if origin.shard == own.shard => Whose::Mine,
        0 => Whose::Shard(origin.shard),
        1..LATER_MAX => Whose::Successor(origin.shard),
        _ => Whose::Predecessor(origin.shard),
    }
}

/// The id that a datagram is sent to, if it is as long as ours, and whether in a long header.
fn destination(datagram: &[u8]) -> Option<(&[u8; ID_BYTES], bool)> {
    match datagram {
        [first, rest @ ..] if first & LONG == 0 => Some((rest.first_chunk()?, false)),
        // Four bytes name the version.
        [_, _, _, _, _, length, rest @ ..] if usize::from(*length) == ID_BYTES => Some((rest.first_chunk()?, true)),
        _ => None,
    }
}

/// Generations ahead from which on an id is one of before.
const LATER_MAX: u8 = 1 << (GENERATION_BITS - 1);

/// Set in the first byte of a long header.
const LONG: u8 = 0x80;

#[cfg(test)]
mod tests;
