//! Connection ids: what peers call our connections by, and all that a datagram says of whose it is.
//!
//! ```text
//! byte    0        1                     2  3  4  5     6  7  8  9
//!         shard    shard, generation     chance         check
//! ```
//!
//! The number of the shard lies where the kernel's program finds it ([`NUMBERED_AT`]), so that a datagram reaches the shard that
//! has its connection whatever address it comes from; bits beyond a byte lie in the next one. The *generation* tells the
//! processes of a hot restart apart. The check is a keyed hash of the rest: an id that we have not made is seen to be none, so
//! that nobody has us pass on what he makes up, or answer it by resets. The key is common to all shards and to all processes of a line.
//!
//! # What an id shows
//!
//! Whoever watches a connection change its address and id at once cannot tell that it is the same, but for the shard and the
//! generation, which stay: of connections on N shards one in N looks like it. QUIC-LB (draft-ietf-quic-load-balancers) hides
//! the server in an encrypted block; a classic BPF program can decrypt nothing, and one that may needs privileges. Hidden from
//! the kernel, datagrams of a client that has moved would cross from shard to shard for the rest of the connection. The number
//! of shards shows too, to whoever makes connections enough. Both are taken for the short cut.

use std::time::Duration;

use aws_lc_rs::hmac;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use shards::Shard;

use super::secrets;

/// Makes the ids of one shard, and reads those of all.
#[derive(Clone)]
pub(super) struct Ids {
    key: hmac::Key,
    own: Origin,
}

/// Where an id was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) shard: usize,
    /// The last bits of [`Shard::generation`].
    pub(super) generation: u8,
}

/// The generations that are told apart: 64. Of two processes that both live the later is fewer than half of that ahead.
pub(super) const GENERATION_BITS: u32 = 6;

/// Long enough that nobody guesses one or meets the check by chance, and that no two are the same.
pub(super) const ID_BYTES: usize = 10;

/// Where the number of the shard lies in a datagram with a short header: behind the first byte.
pub(crate) const NUMBERED_AT: u32 = 1;

const CHANCE: usize = 2;
const CHECK: usize = 6;

const _: () = assert!(shards::limits::WORLDS_MAX <= 1 << (u16::BITS - GENERATION_BITS));

impl Ids {
    pub(super) fn of(shard: &Shard) -> Self {
        Ids::new(secrets::id_key(shard), Origin::new(shard.number(), shard.generation()))
    }

    fn new(key: hmac::Key, own: Origin) -> Self {
        Ids { key, own }
    }

    /// Whose ids it makes.
    pub(super) fn own(&self) -> Origin {
        self.own
    }

    fn make(&self, chance: u32) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        id[..CHANCE].copy_from_slice(&self.own.to_bytes());
        id[CHANCE..CHECK].copy_from_slice(&chance.to_be_bytes());
        let check = self.check(&id);
        id[CHECK..].copy_from_slice(&check);
        id
    }

    /// Whether an id is one that was made with this key.
    pub(super) fn has_made(&self, id: &[u8; ID_BYTES]) -> bool {
        id[CHECK..] == self.check(id)
    }

    fn check(&self, id: &[u8; ID_BYTES]) -> [u8; ID_BYTES - CHECK] {
        let tag = hmac::sign(&self.key, &id[..CHECK]);
        *tag.as_ref().first_chunk().expect("a hash is longer than that")
    }
}

impl Origin {
    fn new(shard: usize, generation: u64) -> Self {
        Origin { shard, generation: (generation % (1 << GENERATION_BITS)) as u8 }
    }

    /// What an id says of it, if it is one of ours.
    pub(super) fn of(id: &[u8; ID_BYTES]) -> Self {
        let high = usize::from(id[1] >> GENERATION_BITS);
        Origin::new(high << u8::BITS | usize::from(id[0]), id[1].into())
    }

    fn to_bytes(self) -> [u8; CHANCE] {
        [self.shard as u8, ((self.shard >> u8::BITS) as u8) << GENERATION_BITS | self.generation]
    }
}

impl ConnectionIdGenerator for Ids {
    /// `quinn-proto` wants what any thread may use; the one that does runs the shard.
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.make(chance() as u32))
    }

    /// Asked before an unknown id is answered by a reset: nobody speaks for another shard, or another process.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match <&[u8; ID_BYTES]>::try_from(&id[..]) {
            Ok(id) if self.has_made(id) => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// What a client calls the server before that has said how it wants to be called.
pub(super) fn first_destination() -> ConnectionId {
    ConnectionId::new(&[chance().to_le_bytes(), chance().to_le_bytes()].concat())
}

fn chance() -> u64 {
    Shard::current().expect("a connection is made by a task of a shard").random()
}

#[cfg(test)]
pub(super) mod tests;
