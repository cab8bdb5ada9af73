//! Connection ids, by the chance of the shard.

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use shards::Shard;

/// Ids of nothing but chance. `quinn-proto` wants what any thread may use; the one that does runs the shard.
pub(super) struct Ids;

/// As many as nobody guesses, and as are the same twice in no lifetime.
const ID_BYTES: usize = 8;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&chance().to_le_bytes())
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
